"""The confounder file: a dictionary of prototypes with its prior and its strata's names, whole or absent.

One safetensors file: `prototypes` [K, D] float32, `prior` [K] float64, and as metadata, under the key
`emodo_confounder`, JSON with `column`, `strata`, `how`, a sentence on how the dictionary was made, and `provenance`:
the backbone and the sha256 of its weights, the sha256 of the manifest, view, components, seed and versions, as text.
"""

from __future__ import annotations

import json
from pathlib import Path

from emodo.files import atomic
from emodo.records import Confounder, InputError

MARK = "emodo_confounder"  # how a confounder file is told from other tensors
TOLERANCE = 1e-6  # a prior of a thousand strata sums to one as nearly as this


def save(confounder: Confounder, file: Path) -> None:
    """Write a confounder with prototypes to `file`, whole or not at all.

    The same confounder gives the same bytes.

    Raises:
        InputError: It has no prototypes, or is none that `load` would read.
    """
    import torch
    from safetensors.torch import save_file

    if confounder.prototypes is None:
        raise InputError(f"{file} is not written: the confounder {confounder.column!r} has no prototypes")
    _check(confounder, file)
    tensors = {
        "prototypes": confounder.prototypes.detach().to("cpu", torch.float32).contiguous(),
        "prior": torch.tensor(confounder.prior, dtype=torch.float64),
    }
    said = {
        "column": confounder.column,
        "strata": list(confounder.strata),
        "how": confounder.how,
        "provenance": confounder.provenance,
    }
    with atomic(file) as temporary:
        save_file(tensors, temporary, {MARK: json.dumps(said)})


def load(file: Path) -> Confounder:
    """Read a confounder file. Nothing in it is executed.

    Raises:
        InputError: There is no such file, it is none of emodo's, or its dictionary cannot be one: fewer than two
            strata, a number that is not finite, a prior that is not positive or does not sum to one.
    """
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise InputError(f"there is no confounder file {file}: make one with `emodo strata`")
    try:
        with safe_open(file, framework="pt") as found:
            said = json.loads((found.metadata() or {})[MARK])
            tensors = {name: found.get_tensor(name) for name in ("prototypes", "prior")}
        confounder = Confounder(
            str(said["column"]),
            tuple(str(stratum) for stratum in said["strata"]),
            tuple(tensors["prior"].double().flatten().tolist()),
            tensors["prototypes"].float(),
            str(said["how"]),
            {str(key): str(value) for key, value in dict(said.get("provenance", {})).items()},  # older files have none
        )
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not a confounder file of emodo ({type(error).__name__}): make one with `emodo strata`"
        ) from error
    _check(confounder, file)
    return confounder


def _check(confounder: Confounder, file: Path) -> None:
    """Raise InputError unless a method can use this dictionary."""
    strata, prior, prototypes = confounder.strata, confounder.prior, confounder.prototypes
    assert prototypes is not None
    shape = tuple(prototypes.shape)
    problem = None
    if len(strata) < 2:
        problem = f"has {len(strata)} strata: an intervention needs two or more"
    elif len(set(strata)) < len(strata):
        problem = f"names the stratum {next(s for s in strata if strata.count(s) > 1)!r} twice"
    elif len(shape) != 2 or shape[0] != len(strata) or not shape[1]:
        problem = f"has prototypes of shape {shape} for {len(strata)} strata: they must be [K, D]"
    elif len(prior) != len(strata):
        problem = f"has a prior of {len(prior)} numbers for {len(strata)} strata"
    elif not prototypes.isfinite().all():
        row = int((~prototypes.isfinite().all(dim=1)).nonzero()[0])
        problem = f"has a number that is not finite in the prototype of stratum {strata[row]!r}"
    elif not all(p > 0 for p in prior) or abs(sum(prior) - 1) > TOLERANCE:
        problem = f"has a prior that is no distribution (it sums to {sum(prior):g}, its least is {min(prior):g})"
    if problem:
        raise InputError(f"{file} {problem}: make the dictionary anew with `emodo strata`")
