"""One training step of IERN: the product against a plain transcription of Algorithm 1.

python benchmarks/train_step.py --strata 3 10 --batch 8
"""

from __future__ import annotations

import torch

from timing import alternate, arguments, contenders

if __name__ == "__main__":
    options = arguments(__doc__ or "")
    for strata in options.strata:
        method, plain, batch = contenders(options, strata)
        method.train()
        plain.train()
        method.to(memory_format=torch.channels_last)
        fast = type(batch)(
            batch.images.contiguous(memory_format=torch.channels_last), batch.emotion, batch.stratum, batch.row
        )
        optimizers = {name: torch.optim.Adam(groups, fused=True) for name, groups in method.phases().items()}

        def product(method=method, optimizers=optimizers, fast=fast) -> None:
            with torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16"):
                for phase, terms in method.losses(fast):
                    optimizers[phase].zero_grad()
                    torch.stack(list(terms.values())).sum().backward()
                    optimizers[phase].step()

        print(
            f"training step, {options.backbone}, {options.size} px, batch {options.batch}, N_c = {strata}, "
            f"{options.device} {options.precision}: ",
            end="",
            flush=True,
        )
        alternate(product, lambda plain=plain, b=batch: plain.step(b.images, b.emotion, b.stratum), options)
