"""Prediction by Eq. 9: the product against the strata one after the other.

python benchmarks/predict.py --strata 3 10 --batch 8
"""

from __future__ import annotations

import torch

from timing import alternate, arguments, contenders

if __name__ == "__main__":
    options = arguments(__doc__ or "")
    for strata in options.strata:
        method, fast, plain, batch = contenders(options, strata, train=False)

        def product(method=method, fast=fast) -> None:
            with (
                torch.inference_mode(),
                torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16"),
            ):
                method(fast)

        def reference(plain=plain, batch=batch) -> None:
            with torch.inference_mode():
                plain.predict(batch.images)

        alternate("prediction", strata, product, reference, options)
