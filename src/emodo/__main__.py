"""The command line: verbs -> functions, nothing else.

A verb's flags, its --help and its YAML are the signature of its function. Modules are imported when their verb is
called, so that `emodo --help` answers at once.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable
from importlib import import_module
from itertools import takewhile
from typing import Any

VERBS = {
    "prepare table": ("emodo.adapters", "table", "a CSV or TSV with named columns -> manifest"),
    "prepare folder": ("emodo.adapters", "folder", "class folders -> manifest"),
    "prepare ckplus": ("emodo.adapters", "ckplus", "CK+ -> manifest of its peak frames"),
    "prepare mmi": ("emodo.adapters", "mmi", "MMI -> manifest, peak frames of its videos"),
    "prepare oulucasia": ("emodo.adapters", "oulucasia", "Oulu-CASIA -> manifest of its peak frames"),
    "prepare mixbasic": ("emodo.adapters", "mixbasic", "MixBasic (the three, as IERN's release has them) -> manifest"),
    "prepare fer2013": ("emodo.adapters", "fer2013", "FER2013 -> manifest, and images from its table"),
    "prepare ferplus": ("emodo.adapters", "ferplus", "FER+ -> manifest by majority vote"),
    "prepare rafdb": ("emodo.adapters", "rafdb", "RAF-DB -> manifest with gender, race and age"),
    "prepare affectnet": ("emodo.adapters", "affectnet", "AffectNet, any release -> manifest"),
    "prepare expw": ("emodo.adapters", "expw", "ExpW -> manifest with boxes"),
    "prepare sfew": ("emodo.adapters", "sfew", "SFEW 2.0 -> manifest"),
    "prepare jaffe": ("emodo.adapters", "jaffe", "JAFFE -> manifest"),
    "prepare kdef": ("emodo.adapters", "kdef", "KDEF -> manifest with gender and angle"),
    "prepare deepsentiment": ("emodo.adapters", "deepsentiment", "Deep Sentiment (Twitter I) -> manifest"),
    "prepare emotion6panda": ("emodo.adapters", "emotion6panda", "Emotion-6 of Panda et al. -> manifest"),
    "prepare emotion6": ("emodo.adapters", "emotion6", "Emotion6 of Peng et al. -> manifest"),
    "prepare webemo": ("emodo.adapters", "webemo", "WEBEmo -> manifest of the images that are there"),
    "prepare emotic": ("emodo.adapters", "emotic", "EMOTIC, any release -> manifest with boxes"),
    "prepare caers": ("emodo.adapters", "caers", "CAER-S -> manifest, with boxes from lists of faces"),
    "prepare groupwalk": ("emodo.adapters", "groupwalk", "GroupWalk, from a table -> manifest with boxes"),
    "prepare emoset": ("emodo.adapters", "emoset", "EmoSet-118K -> manifest with attributes"),
    "prepare fi": ("emodo.adapters", "fi", "FI (Flickr and Instagram) -> manifest"),
    "prepare relabel": ("emodo.adapters.relabel", "relabel", "a manifest under coarser labels, or your own"),
    "prepare merge": ("emodo.adapters.merge", "merge", "several manifests as one"),
    "generate faces": ("emodo.synthetic.faces", "generate", "schematic faces from three data sets, with manifest"),
    "generate scenes": ("emodo.synthetic.scenes", "generate", "people in scenes that go with the emotion in training"),
    "generate degradations": ("emodo.synthetic.degradations", "degrade", "a manifest's images blurred, noisy, as is"),
    "faces": ("emodo.faces", "faces", "faces found, turned until their eyes are level, and cut out"),
    "split table1": ("emodo.splitting", "split_table1", "a fold of the IERN paper's Table 1: o.o.d. by source"),
    "split degradations": ("emodo.synthetic.degradations", "split_degradations", "the toy experiment of Figure 1"),
    "split random": ("emodo.splitting", "split_random", "at random, by sequence"),
    "split subject": ("emodo.splitting", "split_subject", "no subject on both sides"),
    "split kfold": ("emodo.splitting", "split_kfold", "one of k folds, by sequence or by subject"),
    "split source": ("emodo.splitting", "split_source", "leave one source out"),
    "split cell": ("emodo.splitting", "split_cell", "leave (emotion x stratum) cells out"),
    "split official": ("emodo.splitting", "split_official", "the manifest's own split, checked"),
    "leakage": ("emodo.leakage", "leakage", "what test shares with train: sequences, people, copies of images"),
    "audit": ("emodo.audit", "audit", "what a model could cheat with in this data, before any training"),
    "strata": ("emodo.strata", "strata", "strata from columns, scenes, looks or errors; a dictionary of contexts"),
    "train": ("emodo.training", "train", "train a method on a manifest, predict and score its test rows"),
    "evaluate": ("emodo.evaluation", "evaluate", "predict and score other rows with a trained run"),
    "gap": ("emodo.gap", "gap", "why a run fails in the field: what differs, and which difference costs accuracy"),
    "repair": ("emodo.repair", "repair", "four cheap repairs of a run from labelled field images, each measured"),
    "predict": ("emodo.prediction", "predict", "what a trained run says of any images; a million in resumable parts"),
    "monitor": ("emodo.monitor", "monitor", "predictions over time against the test rows: drift, stratum by stratum"),
    "export": ("emodo.export", "export", "a run as one ONNX or torch.export file, the intervention inside"),
    "import-official": ("emodo.official", "import_official", "the checkpoints of IERN's authors -> run"),
    "save-pretrained": ("emodo.exchange", "save_pretrained", "a run to share: safetensors, JSON and a model card"),
    "serve": ("emodo.serving.server", "serve", "runs on a web page and behind HTTP: the context swung by a slider"),
    "probe": ("emodo.probing", "command", "do(gray), do(blur), do(background) ...: what any model leans on"),
    "report": ("emodo.reporting", "report", "one HTML page that compares runs"),
    "benchmark": ("emodo.benchmark", "benchmark", "methods x folds x seeds: runs, and a table with intervals"),
    "compare": ("emodo.verdict", "compare", "which method to use: a verdict in words, calibration, cost"),
    "sweep": ("emodo.sweep", "sweep", "one method's settings varied: a grid's curve, or a search over ranges"),
    "experiment cross-dataset": ("emodo.experiment", "cross_dataset", "train on each data set, test on all: a matrix"),
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
    return "\n".join(lines + [f"  {verb:24} {what}" for verb, (_, _, what) in verbs.items()])


def _run(verb: str, words: list[str]) -> int:
    from emodo.records import InputError, Unfinished

    try:
        from jsonargparse import DefaultHelpFormatter, auto_cli, set_parsing_settings

        class _Paragraphs(DefaultHelpFormatter):
            def _fill_text(self, text: str, width: int, indent: str) -> str:
                return "\n\n".join(_filled(paragraph, width) for paragraph in text.split("\n\n"))

            def _metavar_formatter(self, action: Any, default_metavar: str) -> Callable[[int], tuple[str, ...]]:
                if not str(action.metavar).startswith(("[", "'[")):
                    return super()._metavar_formatter(action, default_metavar)
                name = str(action.dest).upper() if action.option_strings else str(action.dest)
                return lambda size: (f"{name} [{name} ...]",) * size  # as `_spelled` takes a list

        set_parsing_settings(import_path_allowlist=["emodo"])  # a configuration names no classes but ours
        module, name, _ = VERBS[verb]
        function = getattr(import_module(module), name)
        result = auto_cli(
            function,
            args=_spelled(words, function),
            prog=f"emodo {verb}",
            as_positional=True,
            allow_abbrev=False,
            description=_sheet(function),
            formatter_class=_Paragraphs,
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


def _sheet(function: Callable[..., Any]) -> str:
    """What a verb's --help says of it: its docstring up to the arguments."""
    return re.split(r"\n\n(?:Args|Returns|Raises):\n", inspect.getdoc(function) or "")[0]


def _filled(paragraph: str, width: int) -> str:
    """The paragraph in lines of this width; lists, tables and examples keep their own lines."""
    if any(line.startswith((" ", "-", "|")) for line in paragraph.splitlines()):
        return paragraph
    return textwrap.fill(paragraph, width, break_on_hyphens=False, break_long_words=False)


def _spelled(words: list[str], function: Callable[..., Any]) -> list[str]:
    """What people type, as jsonargparse reads it.

    --batch-size is --batch_size, --overwrite is --overwrite true, --emotions joy fear is a list, --rename
    happy=happiness is a mapping, and the first words go by their places even where they have defaults.

    Raises InputError where nothing follows the flag of a list or mapping.
    """
    from emodo.records import InputError

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
            many = "list[" in kind or "dict[" in kind
            if many and not following:
                raise InputError(f"{flag} is empty: name one or more after it")
            most = len(following) if many else 1
            values = following[:most] if kind != "bool" or following[:1] in (["true"], ["false"]) else []
            rest = rest[len(values) :]
        if kind == "bool" and not values:
            values = ["true"]
        flags += [flag, *([_gathered(values, kind)] if values else [])]
    places = [p for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    many = next((at for at, place in enumerate(places) if "list[" in str(place.annotation)), len(placed))
    if many < len(placed):  # a list takes all words from its place on
        placed = [*placed[:many], _gathered(placed[many:], "list[")]
    first: list[str] = []
    for place, word in zip(places, placed, strict=False):
        first += [word] if place.default is place.empty else [f"--{place.name}", word]
    return [*first, *placed[len(places) :], *flags]


def _is_flag(word: str) -> bool:
    return word.startswith("-") and word != "-" and not word[1:2].isdigit()


def _gathered(values: list[str], kind: str) -> str:
    """The words after a flag as one value: a list, a mapping, or the word itself."""
    if "dict[" in kind and not values[0].startswith("{") and ("=" in values[0] or "list[" not in kind):
        return json.dumps({name: new for name, _, new in (value.partition("=") for value in values)})
    if "list[" in kind and (len(values) > 1 or not values[0].startswith("[")):
        return json.dumps(values)
    return values[0]


if __name__ == "__main__":
    sys.exit(main())
