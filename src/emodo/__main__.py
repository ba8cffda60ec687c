"""The command line: verbs -> functions, nothing else.

A verb's flags, its --help and its YAML are the signature of its function. Modules are imported when their verb is
called, so that `emodo --help` answers at once.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import takewhile
from typing import Any

VERBS = {
    "prepare table": ("emodo.adapters", "table", "a CSV or TSV with named columns -> manifest"),
    "prepare folder": ("emodo.adapters", "folder", "class folders -> manifest"),
    "generate faces": ("emodo.synthetic.faces", "generate", "schematic faces from three data sets, with manifest"),
    "generate degradations": ("emodo.synthetic.degradations", "degrade", "a manifest's images blurred, noisy, as is"),
    "faces": ("emodo.faces", "faces", "faces found, turned until their eyes are level, and cut out"),
    "split table1": ("emodo.splits", "split_table1", "a fold of the IERN paper's Table 1: o.o.d. by source"),
    "split degradations": ("emodo.synthetic.degradations", "split_degradations", "the toy experiment of Figure 1"),
    "split random": ("emodo.splits", "split_random", "at random, by sequence"),
    "split subject": ("emodo.splits", "split_subject", "no subject on both sides"),
    "strata": ("emodo.strata", "strata", "strata for confounders that nobody named, or a dictionary of contexts"),
    "train": ("emodo.training", "train", "train a method on a manifest, predict and score its test rows"),
    "evaluate": ("emodo.evaluation", "evaluate", "predict and score other rows with a trained run"),
    "report": ("emodo.reporting", "report", "one HTML page that compares runs"),
    "benchmark": ("emodo.benchmark", "benchmark", "methods x folds x seeds: runs, and a table with intervals"),
    "demo": ("emodo.demo", "demo", "the main job on generated faces, in a few minutes"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0 done, 1 failed, 2 wrong input or usage, 130 interrupted."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ("-h", "--help"):
        print(_usage(VERBS))
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from emodo import __version__

        print(f"emodo {__version__}")
        return 0
    for length in (1, 2):
        verb = " ".join(words[:length])
        if verb in VERBS:
            return _run(verb, words[length:])
    family = {verb: entry for verb, entry in VERBS.items() if verb.split()[0] == words[0]}
    if family:
        print(_usage(family), file=sys.stdout if words[1:] in (["-h"], ["--help"]) else sys.stderr)
        return 0 if words[1:] in (["-h"], ["--help"]) else 2
    print(f"emodo: no verb is called {words[0]!r}: see emodo --help", file=sys.stderr)
    return 2


def _usage(verbs: dict[str, tuple[str, str, str]]) -> str:
    lines = ["usage: emodo VERB ... [--help]", "", "Visual emotion recognition under P(Y | do(X)).", ""]
    return "\n".join(lines + [f"  {verb:22} {what}" for verb, (_, _, what) in verbs.items()])


def _run(verb: str, words: list[str]) -> int:
    from emodo.records import InputError, Unfinished

    try:
        from jsonargparse import auto_cli, set_parsing_settings

        set_parsing_settings(import_path_allowlist=["emodo"])  # a configuration names no classes but ours
        module, name, _ = VERBS[verb]
        function = getattr(import_module(module), name)
        result = auto_cli(
            function, args=_spelled(words, function), prog=f"emodo {verb}", as_positional=True, allow_abbrev=False
        )
    except InputError as error:
        print(f"emodo {verb}: {error}", file=sys.stderr)
        return 2
    except Unfinished as error:
        print(f"emodo {verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print(": ".join([f"emodo {verb}", "interrupted", *map(str, interrupt.args)]), file=sys.stderr)
        return 130
    if result is not None:
        print(result)
    return 0


def _spelled(words: list[str], function: Callable[..., Any]) -> list[str]:
    """What people type, as jsonargparse reads it.

    --batch-size is --batch_size, --overwrite is --overwrite true, --emotions joy fear is a list, --rename
    happy=happiness is a mapping, and the first words go by their places even where they have defaults.
    """
    parameters = inspect.signature(function).parameters
    flags: list[str] = []
    placed: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not _is_flag(word):
            placed.append(word)
            continue
        flag, equals, value = word.partition("=")
        flag = flag[:2] + flag[2:].replace("-", "_")
        kind = str(parameters[flag[2:]].annotation) if flag[2:] in parameters else ""
        values = [value]
        if not equals:
            following = list(takewhile(lambda word: not _is_flag(word), rest))
            most = len(following) if "list[" in kind or "dict[" in kind else 1
            values = following[:most] if kind != "bool" or following[:1] in (["true"], ["false"]) else []
            rest = rest[len(values) :]
        if kind == "bool" and not values:
            values = ["true"]
        flags += [flag, *([_gathered(values, kind)] if values else [])]
    places = [p for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    if placed and "list[" in str(places[0].annotation):
        placed = [_gathered(placed, "list[")]
    first: list[str] = []
    for place, word in zip(places, placed, strict=False):
        first += [word] if place.default is place.empty else [f"--{place.name}", word]
    return [*first, *placed[len(places) :], *flags]


def _is_flag(word: str) -> bool:
    return word.startswith("-") and not word[1:2].isdigit()


def _gathered(values: list[str], kind: str) -> str:
    """The words after a flag as one value: a list, a mapping, or the word itself."""
    if "dict[" in kind and not values[0].startswith("{") and ("=" in values[0] or "list[" not in kind):
        return json.dumps({name: new for name, _, new in (value.partition("=") for value in values)})
    if "list[" in kind and not values[0].startswith("["):
        return json.dumps(values)
    return values[0]


if __name__ == "__main__":
    sys.exit(main())
