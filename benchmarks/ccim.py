"""CCIM as matrix products against the weighted sum as one [B, N, d] product: forward and backward.

python benchmarks/ccim.py                       # --batch 256 --prototypes 1024 --width 2048
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from emodo.methods.ccim import Intervention


def broadcast(module: Intervention, h: Tensor) -> Tensor:
    """The same intervention, each prototype weighed for each image: [B, N, d], and [B, N, d_n] where additive."""
    query, keys = module.query(h), module.key(module.prototypes)
    if module.attention == "dot_product":
        scores = query @ keys.T / module.root
    else:
        scores = module.energy(torch.tanh(query[:, None] + keys)).squeeze(2)
    weights = scores.softmax(dim=1)[:, :, None]  # [B, N, 1]
    expected = (weights * module.prototypes * module.prior[:, None]).sum(dim=1)
    return module.joint(h) + module.context(expected)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--prototypes", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048, help="of a prototype")
    parser.add_argument("--joint", type=int, default=256, help="width of the joint feature")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    z = torch.rand(options.prototypes, options.width)
    prior = torch.full((options.prototypes,), 1 / options.prototypes)
    h = torch.randn(options.batch, options.joint, device=options.device)
    for attention in ("dot_product", "additive"):
        module = Intervention(options.joint, z, prior, 128, 256, attention, "prototype", True).to(options.device)
        torch.testing.assert_close(module(h[:2]), broadcast(module, h[:2]), rtol=1e-3, atol=1e-5)
        compare(attention, lambda x, m=module: m(x), lambda x, m=module: broadcast(m, x), module, h, options)


def compare(
    what: str,
    product: Callable[[Tensor], Tensor],
    plain: Callable[[Tensor], Tensor],
    module: Intervention,
    h: Tensor,
    options: argparse.Namespace,
) -> None:
    """Time both in turn and print medians, ratio and what each raised the peak of memory by, which only rises."""
    times: dict[str, list[float]] = {"product": [], "plain": []}
    peaks: dict[str, float] = {}
    runs = {"product": product, "plain": plain}
    for i in range(options.rounds + 1):
        for name, run in runs.items():
            before = memory(options.device)
            start = time.perf_counter()
            module.zero_grad()
            x = h.clone().requires_grad_()
            run(x).square().sum().backward()
            if options.device == "cuda":
                torch.cuda.synchronize()
            if i:  # the first round warms up, and shows what memory each asks for
                times[name].append(time.perf_counter() - start)
            else:
                peaks[name] = memory(options.device) - before
    fast, slow = (statistics.median(times[name]) for name in ("product", "plain"))
    print(
        f"CCIM {what}, B = {options.batch}, N = {options.prototypes}, d = {options.width}, {options.device}: "
        f"broadcast {1e3 * slow:.0f} ms, product {1e3 * fast:.1f} ms, ratio {slow / fast:.1f}; "
        f"memory {peaks['plain']:.0f} and {peaks['product']:.0f} MB more"
    )


def memory(device: str) -> float:
    """Peak memory so far in MB: of the process, or allocated on the GPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
