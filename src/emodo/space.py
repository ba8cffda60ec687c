"""What a sweep varies: the values of a grid, or ranges to search in. A setting is one value of each parameter."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import yaml

from emodo.cells import SHARED, Entry, entries
from emodo.records import InputError

Part = Literal["held_out", "test"]  # what a setting is scored on
Setting = dict[str, Any]  # parameter, named as in --settings -> value
LONGEST_NAME = 100  # of a setting, as it becomes a folder
RANGE = re.compile(r"(.+?)\.\.(.+?)(:log)?")


@dataclass(frozen=True)
class Range:
    """A parameter's lowest and highest value; both whole where the parameter is. log: drawn by the logarithm."""

    low: float
    high: float
    log: bool

    def __str__(self) -> str:
        """The range as it is typed."""
        return f"{self.low:g}..{self.high:g}" + ":log" * self.log

    def rounded(self, drawn: float) -> float:
        """A value drawn from the range, to three digits: no more of it is known, and people will type it."""
        if isinstance(self.low, int):
            return drawn
        return min(max(float(f"{drawn:.3g}"), self.low), self.high)


def values(given: Mapping[str, Any], method: str, settings: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Read a grid: {parameter: "1e-4,1e-3", or a list}; its values have the parameters' types then.

    Raises InputError for a parameter or value that there is not, one value alone, or one twice.
    """
    base = _check(given, "--grid", method, settings)
    found: dict[str, list[Any]] = {}
    for name, written in given.items():
        try:
            each = written if isinstance(written, list) else yaml.safe_load(f"[{written}]")
        except yaml.YAMLError:
            raise InputError(f"--grid {name}={written}: write the values as 1,2,3") from None
        of_type = [_typed("--grid", name, value, base, settings) for value in each]
        if any(value in of_type[:at] for at, value in enumerate(of_type)):
            raise InputError(f"--grid {name}={text(written)}: a value is there twice")
        if len(of_type) < 2:
            raise InputError(f"--grid {name}={text(written)}: name two values or more; a single one is for --settings")
        found[name] = of_type
    return found


def ranges(given: Mapping[str, str], method: str, settings: Mapping[str, Any]) -> dict[str, Range]:
    """Read ranges to search in: {parameter: "1e-6..1e-1:log"}.

    Raises InputError for a parameter that there is not or that is no number, and for an impossible range.
    """
    base = _check(given, "--ranges", method, settings)
    return {name: _range(name, str(written), base, settings) for name, written in given.items()}


def combinations(grid: Mapping[str, list[Any]]) -> list[Setting]:
    """Every combination of a grid's values, the last parameter changing first; none of a grid of nothing."""
    return [dict(zip(grid, chosen, strict=True)) for chosen in itertools.product(*grid.values()) if grid]


def setting_entries(method: str, settings: Mapping[str, Any], found: Iterable[Setting]) -> list[Entry]:
    """Complete settings to entries of a grid, each under its own name.

    Raises InputError for values that the method or `emodo train` refuses.
    """
    named = {
        setting_name(setting): {
            "method": method,
            **{name.removeprefix(SHARED): value for name, value in setting.items() if name.startswith(SHARED)},
            "settings": {name: value for name, value in setting.items() if not name.startswith(SHARED)},
        }
        for setting in found
    }
    return entries(named, settings)


def setting_name(setting: Setting) -> str:
    """The name of a setting, which its runs' folder has too: the same for the same values, whoever asks."""
    name = ",".join(f"{parameter}={text(value)}" for parameter, value in setting.items())
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[:LONGEST_NAME]}-{blake2b(name.encode(), digest_size=4).hexdigest()}"


def value_of(entry: Entry, name: str) -> Any:
    """What an entry has for a parameter that is named as in --settings."""
    return entry.init_args[name.removeprefix(SHARED)] if name.startswith(SHARED) else entry.settings[name]


def _check(given: Mapping[str, Any], flag: str, method: str, settings: Mapping[str, Any]) -> Entry:
    """Refuse parameters that cannot be varied; returns the method with the settings that stay."""
    base = entries([method], settings)[0]
    for name in given:
        if name in settings:
            raise InputError(f"{flag} {name}: it is in --settings too: leave it out there")
        if name.startswith(SHARED):
            if name.removeprefix(SHARED) not in base.init_args:
                known = ", ".join(f"{SHARED}{each}" for each in base.init_args)
                raise InputError(f"{flag} {name}: {base.method} has no such setting, but {known or 'none at all'}")
        elif name not in base.settings or name == "emotions":  # other emotions are another task
            hint = f": it is {SHARED}{name}" if name in base.init_args else ""
            raise InputError(f"{flag} {name}: that is no setting of a training that can be varied{hint}")
    return base


def _typed(flag: str, name: str, value: Any, base: Entry, settings: Mapping[str, Any]) -> Any:
    try:
        return value_of(entries([base.method], {**settings, name: value})[0], name)
    except InputError as error:
        raise InputError(f"{flag} {name}={text(value)}: {error}") from None


def _range(name: str, written: str, base: Entry, settings: Mapping[str, Any]) -> Range:
    parts = RANGE.fullmatch(written)
    if parts is None:
        raise InputError(f"--ranges {name}={written}: write it as 0.1..0.9, or as 1e-6..1e-1:log")
    low, high = (_typed("--ranges", name, end, base, settings) for end in parts.groups()[:2])
    ends = (low, high)
    if any(isinstance(end, bool) or not isinstance(end, int | float) or not math.isfinite(end) for end in ends):
        raise InputError(f"--ranges {name}={written}: its ends are not numbers; name the values of it in a --grid")
    if low >= high:
        raise InputError(f"--ranges {name}={written}: the first number must be below the second")
    if parts[3] and low <= 0:
        raise InputError(f"--ranges {name}={written}: a logarithm needs numbers above 0")
    if type(low) is not type(high):
        low, high = float(low), float(high)
    return Range(low, high, bool(parts[3]))


def text(value: Any) -> str:
    """A value as it is typed after a flag."""
    return value if isinstance(value, str) else json.dumps(value)
