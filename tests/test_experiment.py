"""Cross-dataset: every run is tested on every data set, nothing is run twice, and the matrix is the predictions'."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from emodo import experiment, manifest, runs
from emodo.__main__ import main
from emodo.experiment import cross_dataset
from emodo.parallel import Died
from emodo.records import InputError, Unfinished

SETTINGS = {
    "backbone": "small",
    "size": 32,
    "epochs": 1,
    "batch_size": 8,
    "augmentation": "none",
    "accelerator": "cpu",
    "method.lr": 1e-3,
}


def write(folder, name, count=12, emotions=("joy", "fear"), sources=("x", "y"), seed=0):
    """A data set of noise: 3/4 train, 1/4 test of every emotion."""
    (folder / name).mkdir(parents=True)
    rng = np.random.default_rng([seed, *map(ord, name)])
    rows = []
    for at in range(count):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / name / f"{at}.png")
        emotion = emotions[at % len(emotions)]
        split = "test" if at // len(emotions) % 4 == 0 else "train"
        rows.append((f"{name}/{at}.png", emotion, sources[at // 2 % len(sources)], split))
    frame = pd.DataFrame(rows, columns=["path", "emotion", "source", "split"])
    frame.to_csv(folder / f"{name}.csv", index=False)
    return folder / f"{name}.csv"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return [write(folder, name) for name in "abc"]


def one_by_one(function, jobs, processes, gpus):
    """In place of `on_this_machine`: in this process."""
    for at, job in enumerate(jobs):
        yield at, function(job)


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    """The whole experiment."""
    out = tmp_path_factory.mktemp("made") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "on_this_machine", one_by_one)
        cross_dataset(data, out=out, seeds=[0, 1], settings=SETTINGS)
    return out


@pytest.fixture
def out(made, tmp_path):
    return shutil.copytree(made, tmp_path / "out")


@pytest.fixture
def here(monkeypatch):
    """Run jobs in this process, and name them."""
    ran = []

    def noted(function, jobs, processes, gpus):
        ran.extend(job.cell.run.name for job in jobs)
        return one_by_one(function, jobs, processes, gpus)

    monkeypatch.setattr(experiment, "on_this_machine", noted)
    return ran


def table(out):
    return json.loads((out / "table.json").read_text())


def accuracy(folder):
    predictions = pd.read_parquet(folder / runs.PREDICTIONS)
    return float((predictions["emotion"] == predictions["predicted"]).mean()), set(predictions["path"])


def written(folder):
    return {
        str(file.relative_to(folder)): file.stat().st_mtime_ns
        for file in (folder / "runs").rglob("*")
        if file.is_file() and file.suffix in (".safetensors", ".parquet", ".json")
    }


# -------------------------------------------------------------------------------------- what is made


def test_every_run_is_tested_on_the_test_part_of_every_data_set(made, data):
    for name, file in zip("abc", data, strict=True):
        for seed in (0, 1):
            run = made / "runs" / f"{name}-seed{seed}"
            config = runs.config(run)
            assert (config["seed"], config["manifest"]) == (seed, str(file))
            assert config["method"]["init_args"]["lr"] == 1e-3
            for other, other_file in zip("abc", data, strict=True):
                frame = manifest.load(other_file)
                folder = run if other == name else run / f"evaluation-{other}"
                assert accuracy(folder)[1] == set(frame.loc[frame["split"] == "test", "path"])


def test_the_table_is_what_was_predicted(made):
    found = table(made)
    assert (found["method"], found["seeds"], found["data"]) == ("ERM", [0, 1], ["a", "b", "c"])
    assert found["failures"] == found["copies"] == []
    for row in found["rows"]:
        name = row["train"]
        seeds = {
            test: [
                accuracy(made / "runs" / f"{name}-seed{seed}" / ("" if test == name else f"evaluation-{test}"))[0]
                for seed in (0, 1)
            ]
            for test in "abc"
        }
        for test in "abc":
            assert list(row["tests"][test]["seeds"].values()) == seeds[test]
            assert row["tests"][test]["mean"] == pytest.approx(np.mean(seeds[test]))
        assert row["self_test"] == row["tests"][name]
        others = np.mean([seeds[test] for test in "abc" if test != name], axis=0)
        assert list(row["mean_others"]["seeds"].values()) == pytest.approx(others)
        assert row["mean_others"]["mean"] == pytest.approx(others.mean())
        reach = 12.706204736432095 * others.std(ddof=1) / 2**0.5  # Student's t, one degree of freedom
        assert row["mean_others"]["high"] - row["mean_others"]["mean"] == pytest.approx(reach)


def test_the_files_hold_the_same_matrix(made):
    found = table(made)
    rows = list(csv.reader((made / "table.csv").read_text().splitlines()))
    assert rows[0] == ["train", "a", "b", "c", "self_test", "mean_others"]
    for line, row in zip(rows[1:], found["rows"], strict=True):
        cells = [*row["tests"].values(), row["self_test"], row["mean_others"]]
        assert line[0] == row["train"]
        assert [float(each) for each in line[1:]] == [cell["mean"] for cell in cells]
    page = (made / "table.md").read_text().splitlines()
    assert page[0] == "| train on \\ test on | a | b | c | Self Test | Mean Others |"
    first = found["rows"][0]["tests"]["a"]
    assert page[2].startswith(
        f"| a | {100 * first['mean']:.1f} [{100 * first['low']:.1f}, {100 * first['high']:.1f}] |"
    )
    assert page[6].startswith("- ERM, seeds 0, 1. Accuracy in %")


# ------------------------------------------------------------------------------------------ again


def test_what_is_finished_is_never_run_again(out, data, here, capsys):
    before = written(out)
    cross_dataset(data, out=out, seeds=[0, 1], settings=SETTINGS, json=True)
    told = capsys.readouterr()
    assert "6 of 6 runs are finished already" in told.err
    assert json.loads(told.out) == table(out)
    assert written(out) == before
    assert here == []


def test_what_was_cut_short_is_finished(out, data, here):
    whole, before = table(out), written(out)
    (out / "runs/b-seed1/evaluation-c/scores.json").unlink()  # killed between predictions and scores
    shutil.rmtree(out / "runs/c-seed0/evaluation-a")
    (out / "runs/a-seed0/scores.json").unlink()  # killed in its training's end
    cross_dataset(data, out=out, seeds=[0, 1], settings=SETTINGS)
    assert sorted(here) == ["a-seed0", "b-seed1", "c-seed0"]
    assert table(out) == whole
    changed = {name for name, time in written(out).items() if time != before[name]}
    assert {name for name in changed if name.endswith(".safetensors")} == {"runs/a-seed0/weights.safetensors"}
    assert {name.split("/")[1] for name in changed} == {"a-seed0", "b-seed1", "c-seed0"}


def test_what_is_left_is_done_in_processes_of_its_own(out, data, capsys):
    whole = table(out)
    shutil.rmtree(out / "runs/c-seed0/evaluation-a")
    cross_dataset(data, out=out, seeds=[0, 1], settings=SETTINGS, processes=1)
    told = capsys.readouterr().err
    assert "5 of 6 runs are finished already\n" in told
    assert "1/1, c-seed0: c " in told
    assert table(out) == whole


def test_data_sets_and_seeds_are_added_later(data, tmp_path, here):
    out = tmp_path / "out"
    cross_dataset(data[:2], out=out, seeds=[0], settings=SETTINGS)
    before = written(out)
    cross_dataset(data, out=out, seeds=[0, 1], settings=SETTINGS)
    assert len(here) == 2 + 6
    assert before.items() <= written(out).items()
    assert table(out)["seeds"] == [0, 1]
    assert all(len(cell["seeds"]) == 2 for row in table(out)["rows"] for cell in row["tests"].values())


def test_an_interrupt_says_how_to_continue(data, tmp_path, here, monkeypatch, capsys):
    def interrupted(job):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "_train_and_test", interrupted)
    words = ["experiment", "cross-dataset", *map(str, data), "--out", str(tmp_path / "out"), "--settings"]
    assert main([*words, *(f"{name}={value}" for name, value in SETTINGS.items())]) == 130
    assert "interrupted: the same command continues; what is finished stays" in capsys.readouterr().err


# --------------------------------------------------------------------------------- what goes wrong


def test_a_refused_training_is_listed_and_the_others_finish(tmp_path, here, capsys):
    files = [write(tmp_path, "two", 24), write(tmp_path, "one", 24, sources=("x",))]
    out = tmp_path / "out"
    words = ["experiment", "cross-dataset", *map(str, files), "--method", "Resampling", "--seeds", "3"]
    words += ["--out", str(out), "--settings", *(f"{name}={value}" for name, value in SETTINGS.items())]
    assert main(words) == 1
    told = capsys.readouterr()
    assert "2 of 4 cells could not be made, see above; the same command tries them again" in told.err
    assert "- one on two, seed 3: not possible: " in told.out
    found = table(out)
    assert [(each["train"], each["test"], each["status"]) for each in found["failures"]] == [
        ("one", "one", "refused"),
        ("one", "two", "refused"),
    ]
    assert "one value in the training rows" in found["failures"][0]["reason"]
    two, one = found["rows"]
    assert (two["train"], list(two["tests"]["one"]["seeds"])) == ("two", ["3"])
    assert (one["train"], one["tests"], one["mean_others"]) == ("one", {"two": None, "one": None}, None)
    assert (out / "table.csv").read_text().splitlines()[2] == "one,,,,"
    assert "| one | - | - | - | - |" in (out / "table.md").read_text()


def test_a_failed_evaluation_leaves_its_cell_empty_and_its_traceback(out, data, here, monkeypatch):
    import emodo.evaluation

    for name in ("b", "c"):
        shutil.rmtree(out / f"runs/a-seed0/evaluation-{name}")
    evaluate = emodo.evaluation.evaluate

    def broken(run, file, **options):
        if file.stem == "b":
            raise RuntimeError("no memory")
        return evaluate(run, file, **options)

    monkeypatch.setattr(emodo.evaluation, "evaluate", broken)
    with pytest.raises(Unfinished, match=r"1 of 18 cells could not be made, see above and .*failures"):
        cross_dataset(data, out=out, seeds=[0, 1], settings=SETTINGS)
    row = table(out)["rows"][0]
    assert [list(row["tests"][name]["seeds"]) for name in "abc"] == [["0", "1"], ["1"], ["0", "1"]]
    assert list(row["mean_others"]["seeds"]) == ["1"]
    assert "Traceback" in (out / "failures/a-seed0.txt").read_text()
    assert [each["reason"] for each in table(out)["failures"]] == ["RuntimeError: no memory"]
    monkeypatch.setattr(emodo.evaluation, "evaluate", evaluate)
    cross_dataset(data, out=out, seeds=[0, 1], settings=SETTINGS)
    assert table(out)["failures"] == []
    assert not (out / "failures/a-seed0.txt").exists()


def test_a_process_that_dies_is_a_failed_run(data, tmp_path, monkeypatch):
    def dying(function, jobs, processes, gpus):
        for at in range(len(jobs)):
            yield at, Died("its process was ended by SIGKILL")

    monkeypatch.setattr(experiment, "on_this_machine", dying)
    with pytest.raises(Unfinished, match="4 of 4 cells"):
        cross_dataset(data[:2], out=tmp_path / "out", seeds=[0], settings=SETTINGS)
    assert {each["reason"] for each in table(tmp_path / "out")["failures"]} == {"its process was ended by SIGKILL"}


def test_images_that_one_data_set_tests_and_another_learns_are_told(tmp_path, here, capsys):
    files = [write(tmp_path, name) for name in "ab"]
    (tmp_path / "b/0.png").write_bytes((tmp_path / "a/5.png").read_bytes())  # test of b, train of a
    (tmp_path / "b/11.png").write_bytes((tmp_path / "a/3.png").read_bytes())  # train of both
    cross_dataset(files, out=tmp_path / "out", seeds=[0], settings=SETTINGS)
    assert table(tmp_path / "out")["copies"] == [{"train": "a", "test": "b", "images": 1, "of": 4}]
    assert (
        "1 of 4 test images of b are byte for byte in the training or validation part of a" in capsys.readouterr().out
    )


def refused(message, data, out, **options):
    with pytest.raises(InputError, match=message):
        cross_dataset(data, out=out, **({"settings": SETTINGS} | options))


def test_what_does_not_fit_together_is_refused_before_anything_is_written(data, tmp_path):
    out = tmp_path / "out"
    refused("name two or more data sets", data[:1], out)
    refused("name two or more data sets", [data[0], data[0]], out)
    refused("--seeds 0 0: name one or more different numbers", data, out, seeds=[0, 0])
    refused("--processes is 0: it must be 1 or more", data, out, processes=0)
    refused("no method is called 'IERM'", data, out, method="IERM")
    refused("no setting epohcs|there is no setting 'epohcs'", data, out, settings={"epohcs": 3})
    other = write(tmp_path, "other", emotions=("joy", "anger"))
    refused(r"a\.csv and .*other\.csv need the same emotions, and only one .* has anger, fear", [data[0], other], out)
    frame = pd.read_csv(other)
    frame.drop(columns="split").to_csv(other, index=False)
    refused(r"other\.csv has no column split: make one, as with `emodo split random`", [data[0], other], out)
    frame.assign(split="train").to_csv(other, index=False)
    refused(r"other\.csv: the test part is empty", [data[0], other], out)
    refused(r"none\.csv is missing", [data[0], tmp_path / "none.csv"], out)
    assert not out.exists()


def test_a_folder_of_something_else_is_refused(out, data, tmp_path):
    options = {"seeds": [0, 1]}
    refused(r"holds runs of something else \(method ERM -> DACL\)", data, out, method="DACL", settings={}, **options)
    settings = SETTINGS | {"epochs": 2, "method.lr": 1e-2}
    refused(r"something else \(lr 0\.001 -> 0\.01, epochs 1 -> 2\)", data, out, settings=settings, **options)
    moved = write(tmp_path, "a", seed=1)
    pd.read_csv(moved).iloc[1:].to_csv(moved, index=False)
    refused(r"holds runs of something else \(manifest a\)", [moved, *data[1:]], out, **options)
    (out / "experiment.json").write_text("{}")
    refused(r"experiment\.json is damaged", data, out, **options)
    (out / "experiment.json").unlink()
    refused(r"is not an experiment \(it has no experiment\.json\)", data, out, **options)


def test_manifests_of_one_name_are_named_by_their_folders(tmp_path):
    files = [Path(f"{tmp_path}/{name}/split.csv") for name in ("web", "lab")]
    assert list(experiment._named(files)) == ["web-split", "lab-split"]
