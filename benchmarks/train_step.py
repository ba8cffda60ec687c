"""One training step of IERN: the product against a plain transcription of Algorithm 1.

python benchmarks/train_step.py --strata 3 10 --batch 8
"""

from __future__ import annotations

import torch

from timing import alternate, arguments, contenders

if __name__ == "__main__":
    options = arguments(__doc__ or "")
    for strata in options.strata:
        method, fast, plain, batch = contenders(options, strata, train=True)
        optimizers = {name: torch.optim.Adam(groups, fused=True) for name, groups in method.phases().items()}

        def product(method=method, optimizers=optimizers, fast=fast) -> None:
            with torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16"):
                for phase, terms in method.losses(fast):
                    optimizers[phase].zero_grad()
                    torch.stack(list(terms.values())).sum().backward()
                    optimizers[phase].step()

        def reference(plain=plain, batch=batch) -> None:
            plain.step(batch.images, batch.emotion, batch.stratum)

        alternate("training step", strata, product, reference, options)
