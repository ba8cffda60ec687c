"""Prediction by Eq. 9: the product against the strata one after the other.

python benchmarks/predict.py --strata 3 10 --batch 8
"""

from __future__ import annotations

import torch

from timing import alternate, arguments, contenders

if __name__ == "__main__":
    options = arguments(__doc__ or "")
    for strata in options.strata:
        method, plain, batch = contenders(options, strata)
        method.fold()
        plain.eval()
        method.to(memory_format=torch.channels_last)
        fast = type(batch)(
            batch.images.contiguous(memory_format=torch.channels_last), batch.emotion, batch.stratum, batch.row
        )

        def product(method=method, fast=fast) -> None:
            with (
                torch.inference_mode(),
                torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16"),
            ):
                method(fast)

        def reference(plain=plain, batch=batch) -> None:
            with torch.inference_mode():
                plain.predict(batch.images)

        print(
            f"prediction, {options.backbone}, {options.size} px, batch {options.batch}, N_c = {strata}, "
            f"{options.device} {options.precision}: ",
            end="",
            flush=True,
        )
        alternate(product, reference, options)
