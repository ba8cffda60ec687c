"""`emodo compare` on runs that were made up, whose right verdict is known."""

import json
import math
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from emodo import assessment, calibration, comparison, runs, statistics
from emodo.__main__ import main
from emodo.compared import comparable
from emodo.grid import GRID
from emodo.records import Confounder, Task

EMOTIONS = ("anger", "fear", "joy")
TASK = Task(EMOTIONS, Confounder("source", ("lab", "web"), (0.5, 0.5)))
SURE = 0.8


def manifest(folder, name, people, unseen=True):
    """A fold: the test part has two frames of each of these people; training lacks the cells of web, or nothing."""
    rows = [
        (f"{name}-{person}-{frame}.png", EMOTIONS[person % 3], "web", f"{name}-{person}", "test")
        for person in range(people)
        for frame in range(2)
    ]
    rows += [
        (f"train-{source}-{e}.png", e, source, f"t-{source}-{e}", "train") for e in EMOTIONS for source in TASK.strata
    ]
    table = pd.DataFrame(rows, columns=["path", "emotion", "source", "sequence", "split"])
    if unseen:
        table = table[(table["split"] == "test") | (table["source"] == "lab")]
    table.to_csv(folder / f"{name}.csv", index=False)
    return folder / f"{name}.csv"


def predicted(file, seed, shares, emotions=EMOTIONS):
    """Predictions that are right on this share of the people of each emotion, with confidence 0.8."""
    test = pd.read_csv(file).query("split == 'test'").reset_index(drop=True)
    truth = np.array([emotions.index(emotion) for emotion in test["emotion"]])
    people = np.random.default_rng([seed, len(test), int(100 * shares[0])]).random(len(test) // 2)
    hit = np.repeat(people, 2) < np.array(shares)[truth]
    guess = np.where(hit, truth, (truth + 1) % len(emotions))
    table = test[["path", "emotion", "source", "sequence", "split"]].assign(stratum=test["source"])
    table["predicted"] = np.array(emotions, dtype=object)[guess]
    for at, emotion in enumerate(emotions):
        table[f"p:{emotion}"] = np.where(guess == at, SURE, (1 - SURE) / (len(emotions) - 1))
    return table


def made(run, file, table, method="ERM", seed=0, task=TASK, cost=None, **settings):
    config = {
        "manifest": str(file),
        "method": {"class_path": f"emodo.methods.{method}", "init_args": {"lr": 1e-3} | settings},
        "backbone": "small",
        "seed": seed,
    }
    runs.create(run, config, task, {})
    table.to_parquet(run / runs.PREDICTIONS)
    (run / runs.COST).write_text(json.dumps(cost or {"seconds": 10.0 + seed, "memory": 2e9, "gpu_memory": None}))
    (run / runs.SCORES).write_text("{}")
    return run


def grid_of(folder, methods, files, seeds=(0, 1, 2), **more):
    """Runs of methods, {name: shares}, over folds and seeds, in the order of their names."""
    return [
        made(folder / f"{method}-{file.stem}-{seed}", file, predicted(file, seed, shares), method, seed, **more)
        for method, shares in methods.items()
        for file in files
        for seed in seeds
    ]


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds")
    return [manifest(folder, "one", 60), manifest(folder, "two", 48)]


BETTER = {"ERM": (0.2, 0.8, 0.3), "IERN": (0.95, 0.15, 0.95), "DANN": (0.21, 0.8, 0.3)}


@pytest.fixture(scope="module")
def six(tmp_path_factory, folds):
    """Three methods, two folds, three seeds: IERN is better than ERM, and worse on fear."""
    return grid_of(tmp_path_factory.mktemp("runs"), BETTER, folds)


def words(folders, *more):
    return [str(word) for word in ("compare", *folders, "--replicates", 400, *more)]


def told(capsys, folders, *more):
    assert main(words(folders, "--json", *more)) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, folders, *more):
    assert main(words(folders, *more)) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    return err


# -------------------------------------------------------------------------------------- the verdict


def test_the_words_come_first_and_are_those_of_the_numbers(six, capsys):
    table = told(capsys, six)
    rows = {row["name"]: row for row in table["methods"]}
    assert list(rows) == ["ERM", "IERN", "DANN"]
    found = rows["IERN"]["difference"]
    fear = rows["IERN"]["emotion_differences"]["fear"]
    points = [f"{100 * found[name]:.1f}" for name in ("estimate", "low", "high")]
    harm = [f"{-100 * fear[name]:.1f}" for name in ("estimate", "high", "low")]
    assert table["sentences"][0] == (
        f"IERN is better than ERM out of distribution by {points[0]} points [{points[1]}, {points[2]}], 3 seeds; "
        f"fear gets worse by {harm[0]} [{harm[1]}, {harm[2]}]."
    )
    assert table["sentences"][1].startswith("No difference to ERM out of distribution beyond chance: DANN (")
    assert table["sentences"][2:] == [
        "All 216 test images show an emotion in a stratum (source) in which training never showed it.",
        "A run of IERN took 11 s and 2.0 GB, one of ERM 11 s and 2.0 GB.",
    ]
    assert main(words(six)) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[: len(table["sentences"])] == table["sentences"]


def test_the_table_is_the_benchmarks(six, folds, capsys):
    predictions = {
        method: {seed: {file.stem: predicted(file, seed, shares) for file in folds} for seed in (0, 1, 2)}
        for method, shares in BETTER.items()
    }
    sort = {
        method: {
            seed: {fold: table.sort_values("path", ignore_index=True) for fold, table in of.items()}
            for seed, of in seeds.items()
        }
        for method, seeds in predictions.items()
    }
    expected = comparison.compare(sort, ["one", "two"], EMOTIONS, "ERM", replicates=400)
    found = told(capsys, six)
    assert (found["images"], found["cluster"], found["clusters"]) == (216, "sequence", 108)
    for ours, theirs in zip(found["methods"], expected["methods"], strict=True):
        for name in ("seeds", "accuracy", "macro_accuracy", "worst_cell", "emotions", "folds"):
            assert ours[name] == theirs[name]
        assert ours.get("difference") == theirs.get("difference")
        assert ours.get("emotion_differences") == theirs.get("emotion_differences")


def test_calibration_and_coverage_are_those_of_the_predictions(six, folds, capsys):
    row = told(capsys, six)["methods"][1]
    for at, seed in enumerate(row["seeds"]):
        table = pd.concat([predicted(file, seed, BETTER["IERN"]) for file in folds])
        right = (table["predicted"] == table["emotion"]).to_numpy()
        # one confidence, one bin: the error is the distance of the accuracy to it
        assert row["calibration"]["ece"]["seeds"][at] == pytest.approx(abs(SURE - right.mean()))
        chance = math.sqrt(2 / math.pi * SURE * (1 - SURE) / 216)
        assert row["calibration"]["ece_by_chance"]["seeds"][at] == pytest.approx(chance)
        off = (1 - SURE) ** 2 + 2 * 0.1**2, SURE**2 + (1 - 0.1) ** 2 + 0.1**2
        assert row["calibration"]["brier"]["seeds"][at] == pytest.approx(
            right.mean() * off[0] + (1 - right.mean()) * off[1]
        )
        # nothing tells right from wrong: the risk is the same at every coverage
        assert row["calibration"]["aurc"]["seeds"][at] == pytest.approx(1 - right.mean())
    (point,) = row["reliability"]
    assert (point["n"], point["confidence"]) == (3 * 216, pytest.approx(SURE))
    assert point["accuracy"] == pytest.approx(row["accuracy"]["mean"])
    # 216 images of 108 sequences in three trainings count as 108
    assert (point["low"], point["high"]) == pytest.approx(calibration.wilson(point["accuracy"], 108))
    assert row["risk_coverage"]["coverage"] == [pytest.approx(at / 20) for at in range(1, 21)]
    assert row["risk_coverage"]["risk"] == pytest.approx([1 - row["accuracy"]["mean"]] * 20)


def test_mcnemar_is_of_each_seed_and_corrected_over_methods(six, folds, capsys):
    rows = {row["name"]: row for row in told(capsys, six)["methods"]}
    assert "mcnemar" not in rows["ERM"]
    for name in ("IERN", "DANN"):
        for each in rows[name]["mcnemar"]["seeds"]:
            pair = []
            for method in (name, "ERM"):
                table = pd.concat([predicted(file, each["seed"], BETTER[method]) for file in folds])
                pair.append((table["predicted"] == table["emotion"]).to_numpy(bool))
            expected = statistics.mcnemar(*pair)
            assert (each["gained"], each["lost"], each["p"]) == (expected.gained, expected.lost, expected.p)
        seeds = [each["p"] for each in rows[name]["mcnemar"]["seeds"]]
        assert rows[name]["mcnemar"]["p"] == statistics.combined(seeds)
    p = [rows[name]["mcnemar"]["p"] for name in ("IERN", "DANN")]
    assert [rows[name]["mcnemar"]["p_holm"] for name in ("IERN", "DANN")] == statistics.holm(p)


def test_costs_are_medians(tmp_path, folds, capsys):
    costs = [
        {"seconds": seconds, "memory": 1e9, "gpu_memory": gpu} for seconds, gpu in ((9, 5e9), (30, 7e9), (None, 6e9))
    ]
    folders = [
        made(tmp_path / f"erm-{seed}", folds[0], predicted(folds[0], seed, BETTER["ERM"]), seed=seed, cost=cost)
        for seed, cost in enumerate(costs)
    ]
    (row,) = told(capsys, folders)["methods"]
    assert row["cost"] == {"seconds": 19.5, "memory": 1e9, "gpu_memory": 6e9}


def test_one_seed_says_what_it_cannot(six, capsys):
    first = [run for run in six if run.name.endswith("-0") and not run.name.startswith("DANN")]
    said = told(capsys, first)["sentences"][0]
    assert said.startswith("IERN is better than ERM out of distribution by ")
    assert "], one seed: this says nothing about training again; fear gets worse by " in said


def test_no_method_is_better(six, capsys):
    level = [run for run in six if not run.name.startswith("IERN")]
    assert told(capsys, level)["sentences"][0] == (
        "No method here is better than ERM beyond chance, out of distribution."
    )


def test_another_baseline(six, capsys):
    table = told(capsys, six, "--baseline", "IERN")
    assert table["baseline"] == "IERN"
    assert {said.split(" than ")[0] for said in table["sentences"][1:3]} == {"ERM is worse", "DANN is worse"}


def test_one_run_alone_has_its_numbers_and_no_comparison(six, capsys):
    table = told(capsys, six[:1])
    assert table["sentences"] == ["Nothing is compared with ERM."]
    assert table["methods"][0]["calibration"]["ece"]["low"] is None
    assert main(words(six[:1])) == 0


# ---------------------------------------------------------------------------------- the distribution


def test_in_distribution_is_not_called_out_of_it(tmp_path, capsys):
    file = manifest(tmp_path, "in", 60, unseen=False)
    said = told(capsys, grid_of(tmp_path, BETTER, [file]))["sentences"]
    assert said[0].startswith("IERN is better than ERM by ")
    assert "Training showed the emotion of every test image in its stratum (source): nothing is said of others." in said


def test_some_images_out_of_distribution_are_judged_by_themselves(tmp_path, capsys):
    file = manifest(tmp_path, "some", 60)
    table = pd.read_csv(file)
    lab = table["path"].str.contains("-[0-2]?[0-9]-") & (table["split"] == "test")
    table.loc[lab, "source"] = "lab"
    table.to_csv(file, index=False)
    found = told(capsys, grid_of(tmp_path, BETTER, [file]))
    assert found["unseen"] == 60
    assert "unseen_difference" in found["methods"][1]
    assert any("out of distribution (60 of 120 images)" in said for said in found["sentences"])
    assert main(words(sorted(tmp_path.glob("*-some-*")))) == 0
    # a table of its own, after the others
    assert "out of distribution" in capsys.readouterr().out.split("ECE")[1]


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_a_manifest_that_tells_nothing_leaves_it_open(tmp_path, capsys, what):
    file = manifest(tmp_path, "one", 60)
    folders = grid_of(tmp_path, BETTER, [file])
    if what == "gone":
        file.unlink()
    else:
        table = pd.read_csv(file)
        table[table["path"] != table["path"][0]].to_csv(file, index=False)
    said = told(capsys, folders)["sentences"]
    assert said[0].startswith("IERN is better than ERM by ")
    assert any(each.startswith("Whether the test images are out of distribution is not known: ") for each in said)


# -------------------------------------------------------------------------------- the names of methods


def test_methods_of_one_class_are_told_apart_by_what_differs(tmp_path, folds, capsys):
    folders = [
        made(tmp_path / f"{at}-{seed}", folds[0], predicted(folds[0], seed, BETTER["IERN"]), "IERN", seed, **settings)
        for at, settings in enumerate(({"adjust": True}, {"adjust": False}))
        for seed in (0, 1)
    ]
    table = told(capsys, folders)
    assert [(row["name"], row["seeds"]) for row in table["methods"]] == [
        ("IERN, adjust true", [0, 1]),
        ("IERN, adjust false", [0, 1]),
    ]
    assert table["methods"][0]["runs"] == ["0-0", "0-1"]


def test_the_report_gets_the_same_from_the_runs_it_has(six, folds, capsys):
    one = [run for run in six if "-one-" in run.name]
    expected = told(capsys, one)
    found = assessment.of_runs({"one": comparable(one)}, replicates=400)
    assert json.loads(json.dumps(found, allow_nan=False)) == expected


# ------------------------------------------------------------------------------------------ the files


def test_the_folder_holds_the_same_words_numbers_and_two_figures(six, tmp_path, capsys):
    out = tmp_path / "verdict"
    table = told(capsys, six, "--out", out)
    assert sorted(file.name for file in out.iterdir()) == [
        "compare.json",
        "compare.md",
        "reliability.svg",
        "risk-coverage.svg",
    ]
    assert json.loads((out / "compare.json").read_text()) == table
    page = (out / "compare.md").read_text().splitlines()
    assert page[: len(table["sentences"])] == [f"- {said}" for said in table["sentences"]]
    assert "| method | ECE | by chance | Brier | AURC | excess |" in "\n".join(page)
    for name in ("reliability", "risk-coverage"):
        ElementTree.parse(out / f"{name}.svg")


def test_a_folder_that_holds_anything_is_left_as_it_is(six, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    err = refused(capsys, six, "--out", tmp_path)
    assert err == f"emodo compare: {tmp_path} exists and is not an empty folder: choose another --out\n"
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


# ------------------------------------------------------------------------------------ of a benchmark


@pytest.fixture
def benchmark(tmp_path, folds):
    """A benchmark's folder: a method that is not possible, and a run that is not finished."""
    out = tmp_path / "grid"
    names = {"ERM": "ERM", "IERN": "IERN, adjusted"}
    for method, name in names.items():
        for file in folds:
            for seed in (0, 1, 2, 10):
                run = out / "runs" / name.replace(", ", "-") / f"{file.stem}-seed{seed}"
                made(run, file, predicted(file, seed, BETTER[method]), method, seed)
    (out / "runs/IERN-adjusted/two-seed2" / runs.SCORES).unlink()
    grid = {"folds": {"one": {}, "two": {}}, "methods": {name: {} for name in (*names.values(), "DFR")}}
    (out / GRID).write_text(json.dumps(grid))
    return out


def test_all_finished_runs_of_a_benchmark_are_taken(benchmark, capsys):
    table = told(capsys, [benchmark])
    assert [(row["name"], row["seeds"]) for row in table["methods"]] == [
        ("ERM", [0, 1, 2, 10]),
        ("IERN, adjusted", [0, 1, 10]),
        ("DFR", []),
    ]
    assert "IERN, adjusted is better than ERM out of distribution by " in table["sentences"][0]
    assert ", 3 seeds (ERM 4); fear gets worse by " in table["sentences"][0]
    assert table["sentences"][-1] == "Without a result: DFR (not finished)."


def test_what_the_benchmarks_table_says_is_kept(benchmark, capsys):
    table = {
        "baseline": "IERN, adjusted",
        "folds": ["one"],
        "cluster": "image",
        "methods": [{"name": "DFR", "seeds": [], "note": "not possible"}],
        "search": {"note": "Searched.", "chosen": {}},
    }
    (benchmark / "table.json").write_text(json.dumps(table))
    found = told(capsys, [benchmark])
    assert (found["baseline"], found["folds"], found["cluster"]) == ("IERN, adjusted", ["one"], "image")
    assert found["images"] == 120
    assert found["sentences"][-1] == "Without a result: DFR (not possible)."
    assert main(words([benchmark])) == 0
    assert "- Searched.\n" in capsys.readouterr().out


def test_an_older_benchmark_has_its_seconds_in_its_cells(benchmark, capsys):
    for run in benchmark.glob("runs/*/*"):
        (run / runs.COST).unlink()
        (run / "cell.json").write_text(json.dumps({"seconds": 7.0}))
    for row in told(capsys, [benchmark])["methods"][:2]:
        assert row["cost"] == {"seconds": 7.0, "memory": None, "gpu_memory": None}


def test_a_benchmark_of_nothing_or_beside_runs_is_refused(benchmark, six, capsys):
    assert "is the folder of a benchmark: give it alone" in refused(capsys, [six[0], benchmark])
    assert "--baseline CCIM is not in this benchmark: it has ERM, IERN, adjusted, DFR" in refused(
        capsys, [benchmark], "--baseline", "CCIM"
    )
    (benchmark / "table.json").write_text("[]")
    assert "table.json is damaged" in refused(capsys, [benchmark])
    (benchmark / "table.json").unlink()
    shutil.rmtree(benchmark / "runs")
    assert "has no finished run: run its benchmark to the end" in refused(capsys, [benchmark])
    (benchmark / GRID).write_text('{"folds": {}}')
    assert "is damaged: run the benchmark again" in refused(capsys, [benchmark])


# ------------------------------------------------------------------------------------------ bad input


def test_runs_over_different_test_rows_are_named(six, tmp_path, folds, capsys):
    fewer = predicted(folds[0], 0, BETTER["IERN"])[4:].reset_index(drop=True)
    run = made(tmp_path / "fewer", folds[0], fewer, "IERN")
    err = refused(capsys, [six[0], run])
    assert err == (
        f"emodo compare: {run} and {six[0]} were tested on different rows that overlap (116 and 120 rows, and only one "
        "of them has one-0-0.png): compare runs over the same test rows\n"
    )


def test_methods_over_different_folds_are_named(six, capsys):
    erm, iern = six[0], next(run for run in six if run.name == "IERN-two-0")
    assert refused(capsys, [erm, iern]) == (
        "emodo compare: ERM, seed 0, was not tested on the rows of IERN-two-0: give its run on them, or compare the "
        "runs of the same test rows alone\n"
    )


def test_other_labels_are_named(six, tmp_path, folds, capsys):
    emotions = (*EMOTIONS, "awe")
    task = Task(emotions, TASK.confounder)
    run = made(tmp_path / "more", folds[0], predicted(folds[0], 0, (0.9, 0.9, 0.9, 0.9), emotions), "IERN", task=task)
    assert f"{run} and {six[0]} do not have the same emotions (awe): compare runs of the same labels" in refused(
        capsys, [six[0], run]
    )
    relabelled = predicted(folds[0], 0, BETTER["IERN"]).replace({"emotion": {"anger": "fear"}})
    run = made(tmp_path / "relabelled", folds[0], relabelled, "IERN")
    assert "relabelled has another true emotion than ERM-one-0 in 40 rows (one-0-0.png is fear, not anger)" in refused(
        capsys, [six[0], run]
    )


def without(name):
    return lambda run: (run / name).unlink()


def broken(text):
    return lambda run: (run / runs.PREDICTIONS).write_text(text)


def columns(change):
    def changed(run):
        change(pd.read_parquet(run / runs.PREDICTIONS)).to_parquet(run / runs.PREDICTIONS)

    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(runs.PREDICTIONS), "has no predictions.parquet: its training has not finished; continue it with"),
        (without(runs.SCORES), "has no scores.json: its training has not finished"),
        (without(runs.CONFIG), "is not a run: it has no config.yaml"),
        (broken("no parquet"), "predictions.parquet cannot be read (ArrowInvalid"),
        (columns(lambda table: table.drop(columns="path")), "is damaged: it has no column path"),
        (columns(lambda table: table.drop(columns="p:joy")), "the predictions of IERN have no column p:joy"),
        (columns(lambda table: table.assign(**{"p:joy": np.nan})), "hold a probability that is no number"),
    ],
)
def test_a_run_that_cannot_be_compared_is_named(six, tmp_path, capsys, change, message):
    run = shutil.copytree(next(run for run in six if run.name == "IERN-one-0"), tmp_path / "broken")
    change(run)
    out = tmp_path / "out"
    err = refused(capsys, [six[0], run], "--out", out)
    assert message in err
    assert "IERN" in err or "broken" in err
    assert not out.exists()


def test_a_run_given_twice_and_a_seed_given_twice_are_named(six, tmp_path, capsys):
    assert "is given twice: give each run once" in refused(capsys, [six[0], six[0]])
    copy = shutil.copytree(six[0], tmp_path / "copy")
    assert "ERM-one-0 and copy are the same method, seed and test rows: give one" in refused(capsys, [six[0], copy])


def test_several_emotions_a_row_are_for_the_report(tmp_path, folds, capsys):
    task = Task(EMOTIONS, TASK.confounder, multilabel=True)
    table = predicted(folds[0], 0, BETTER["ERM"])
    logits = {f"logit:{emotion}": np.linspace(-1, 1, len(table)) for emotion in EMOTIONS}
    run = made(tmp_path / "several", folds[0], table.assign(**logits), task=task)
    err = refused(capsys, [run])
    assert "several recognises several emotions a row: compare such runs with `emodo report`" in err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--baseline", "CCIM"], "--baseline CCIM is not among the methods: they are ERM, IERN, DANN"),
        (["--replicates", "99"], "--replicates is 99: it must be 100 or more"),
        (["--cluster", "subject"], "--cluster subject: no test image has a subject; choose another"),
    ],
)
def test_impossible_settings_are_refused(six, capsys, more, message):
    assert message in refused(capsys, six, *more)


def test_a_folder_that_is_not_there(capsys):
    assert "nowhere is not a run: it has no config.yaml" in refused(capsys, [Path("nowhere")])
