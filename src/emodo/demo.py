"""`emodo demo`: the main job on generated faces, from nothing to an honest comparison."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from emodo.records import InputError

# What was chosen on ERM alone (docs/results.md) is the same for every method.
SETTINGS: dict[str, Any] = {
    "backbone": "small",
    "size": 48,
    "augmentation": "light",
    "epochs": 40,
    "batch_size": 32,
    "accelerator": "cpu",
    "workers": 1,
}
RATES: dict[str, Any] = {"lr": 1e-3, "backbone_lr": 1e-3}
NARROW: dict[str, Any] = {"channels": 64, "init": "default"}  # N(0, 0.02) is made for 512 channels


def demo(out: Path = Path("runs/demo"), fold: int = 1, seed: int = 0, subjects: int = 40, epochs: int = 40) -> Path:
    """emodo demo

    Generate faces from three data sets in which emotion and data set are confounded, train without (ERM) and with a
    causal intervention (IERN, and what helped most here, StyleIntervention) on a fold of Table 1, and show what happens
    out of distribution.
    Interrupted, it continues where it stopped; finished, it only prints the comparison again.

    Args:
        out: Folder for the data, the runs and the report.
        fold: Fold of Table 1: 1, 2 or 3.
        seed: Decides initial weights, order and augmentation.
        subjects: Generated people in each of the three data sets.
        epochs: Length of each training.

    Returns:
        The report, one HTML page.

    Raises:
        InputError: OUT holds something else.
    """
    import torch

    from emodo import runs
    from emodo.evaluation import evaluate
    from emodo.methods import ERM, IERN, StyleIntervention
    from emodo.reporting import report
    from emodo.splitting import split_table1
    from emodo.synthetic.faces import generate
    from emodo.training import train

    if out.is_file():
        raise InputError(f"{out} is a file: name a folder with --out")
    torch.set_num_threads(1)  # a net this small is slower on two; the other core decodes the images
    data, name = out / f"faces-{subjects}", f"fold{fold}"
    if not data.exists():
        _say(f"generating {subjects * 3 * 6 * 3} faces of three data sets")
        generate(data, subjects=subjects)
    manifest = data / f"{name}.csv"
    if not manifest.exists():
        split_table1(data / "manifest.csv", manifest, fold=fold, validation=0.1)

    folders: list[Path] = []
    compared: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    for method in (ERM(**RATES), IERN(**NARROW, **RATES), StyleIntervention(**RATES)):
        run = out / f"{name}-seed{seed}-{subjects}-{epochs}" / type(method).__name__
        if run.exists():
            train(resume=run)
        else:
            _say(f"training {type(method).__name__}, {epochs} epochs")
            settings: dict[str, Any] = SETTINGS | {"epochs": epochs}
            train(manifest, method, run=run, seed=seed, **settings)
        inside = evaluate(run, split="validation", out=run / "validation", accelerator="cpu", overwrite=True)
        folders.append(run)
        compared.append((type(method).__name__, runs.scores(run), json.loads((inside / runs.SCORES).read_text())))
    _compare(compared)
    page = out / "report.html"
    report(folders, page, accelerator="cpu", overwrite=True)
    return page


def _say(text: str) -> None:
    print(f"emodo demo: {text}", file=sys.stderr, flush=True)


def _compare(compared: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> None:
    """Print accuracies and confusion matrices on stdout."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 100)
    n, known = compared[0][1]["n"], compared[0][2]["n"]
    table = Table(title="The same nets, inside and outside the distribution they were trained on", box=box.SIMPLE)
    for heading in (
        "method",
        f"in distribution\n({known} images)",
        f"out of distribution\n({n} images)",
        "macro\no.o.d.",
        "worst cell o.o.d.",
    ):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for method, test, validation in compared:
        worst = test["worst_cell"]
        cell = f"{worst['emotion']} x {worst['stratum']}: {worst['accuracy']:.1%}"
        table.add_row(
            method, f"{validation['accuracy']:.1%}", f"{test['accuracy']:.1%}", f"{test['macro_accuracy']:.1%}", cell
        )
    console.print(table)
    for method, test, _ in compared:
        counts = test["confusion"]
        table = Table(title=f"{method}, out of distribution: % of each true emotion", box=box.SIMPLE)
        table.add_column("true, predicted as")
        for emotion in counts["columns"]:
            table.add_column(emotion, justify="right")
        for emotion, row in zip(counts["rows"], counts["counts"], strict=True):
            total = sum(row)
            table.add_row(emotion, *(f"{100 * count / total:.0f}" if total else "-" for count in row))
        console.print(table)
    first, *others = compared
    differences: list[str] = []
    for method, test, _ in others:
        points = 100 * (test["accuracy"] - first[1]["accuracy"])
        differences.append(f"{method} is {_difference(points)} {first[0]}")
    console.print(
        f"On the {n} test images of this fold, {' and '.join(differences)}. "
        "One fold and one seed prove little: docs/results.md has all folds and five seeds.",
        soft_wrap=True,
    )


def _difference(points: float) -> str:
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'}" if points else "as good as"
