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
    "split table1": ("emodo.splits", "split_table1", "a fold of the IERN paper's Table 1: o.o.d. by source"),
    "split degradations": ("emodo.synthetic.degradations", "split_degradations", "the toy experiment of Figure 1"),
    "split random": ("emodo.splits", "split_random", "at random, by sequence"),
    "split subject": ("emodo.splits", "split_subject", "no subject on both sides"),
    "train": ("emodo.training", "train", "train a method on a manifest, predict and score its test rows"),
    "evaluate": ("emodo.evaluation", "evaluate", "predict and score other rows with a trained run"),
    "report": ("emodo.reporting", "report", "one HTML page that compares runs"),
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
    from emodo.records import InputError

    try:
        from jsonargparse import auto_cli, set_parsing_settings

        set_parsing_settings(import_path_allowlist=["emodo"])  # a configuration names no classes but ours
        module, name, _ = VERBS[verb]
        function = getattr(import_module(module), name)
        result = auto_cli(function, args=_spelled(words, function), prog=f"emodo {verb}", as_positional=True)
    except InputError as error:
        print(f"emodo {verb}: {error}", file=sys.stderr)
        return 2
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
    places = [p for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    placed = list(takewhile(lambda word: not word.startswith("-"), words))
    words = words[len(placed) :]
    if "list[" in str(places[0].annotation) and placed:
        placed = [json.dumps(placed)]
    for place, word in reversed(list(zip(places, placed, strict=False))):
        words = [word, *words] if place.default is place.empty else [f"--{place.name}", word, *words]
    words = [*placed[len(places) :], *words]
    spelled: list[str] = []
    rest = iter(words)
    word = next(rest, None)
    while word is not None:
        if not word.startswith("--"):
            spelled.append(word)
            word = next(rest, None)
            continue
        flag, equals, value = word.partition("=")
        flag = flag[:2] + flag[2:].replace("-", "_")
        spelled.append(flag + equals + value)
        annotation = str(parameters[flag[2:]].annotation) if flag[2:] in parameters else ""
        values: list[str] = []
        while (word := next(rest, None)) is not None and not word.startswith("--"):
            values.append(word)
        if annotation in ("bool", str(bool)) and not equals and not values:
            values = ["true"]
        elif "list[" in annotation and values and not values[0].startswith("["):
            values = [json.dumps(values)]
        elif "dict[" in annotation and values and all("=" in value for value in values):
            values = [json.dumps(dict(value.split("=", 1) for value in values))]
        spelled += values
    return spelled


if __name__ == "__main__":
    sys.exit(main())
