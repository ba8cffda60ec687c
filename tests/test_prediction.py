"""emodo predict: the same rows in every form, parts that no kill loses or doubles, one message for what is wrong."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import SMALL
from emodo import parts, prediction, runs
from emodo.__main__ import main
from emodo.methods import IERN, CAERNet
from emodo.prediction import load, predict
from emodo.records import InputError, Unfinished
from emodo.training import train


@pytest.fixture(scope="module")
def run(faces, tmp_path_factory):
    settings = SMALL | {"epochs": 1}
    return train(faces, IERN(channels=16, init="default"), run=tmp_path_factory.mktemp("runs") / "iern", **settings)


@pytest.fixture
def images(faces, tmp_path):
    """A table of 40 images: the twelfth is no image, and the thirtieth is not there."""
    frame = pd.read_csv(faces, dtype=str).iloc[:40]
    paths = [str(faces.parent / path) for path in frame["path"]]
    (tmp_path / "page.jpg").write_text("<html>")
    paths[11], paths[29] = "page.jpg", "none.png"
    pd.DataFrame({"path": paths}).to_csv(tmp_path / "images.csv", index=False)
    return tmp_path / "images.csv"


def rows(run, images, tmp_path, **options):
    return pd.read_parquet(predict(run, [images], tmp_path / "reference.parquet", accelerator="cpu", **options))


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.glob("part-*")}


# ------------------------------------------------------------------------------------- one file, stdout


def test_a_manifest_is_predicted_as_its_run_predicted_it(run, faces, tmp_path):
    table = pd.read_parquet(predict(run, [faces], tmp_path / "all.parquet", strata=True, accelerator="cpu"))
    own = runs.predictions(run).set_index("path")
    again = table.set_index("path").loc[own.index]
    assert again["predicted"].tolist() == own["predicted"].tolist()
    for column in [name for name in again if name.startswith("p:")]:
        np.testing.assert_allclose(again[column], own[column], atol=1e-5)
    assert len(table) == 108
    assert table["error"].isna().all()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_every_form_holds_the_same(run, images, tmp_path, suffix):
    expected = rows(run, images, tmp_path)
    out = predict(run, [images], tmp_path / f"out{suffix}", accelerator="cpu")
    read = pd.read_csv(out) if suffix == ".csv" else pd.read_json(out, lines=True)
    assert list(read) == list(expected)
    for column in expected:
        if column.startswith("p:") or column == "disagreement":
            np.testing.assert_array_equal(read[column].astype(np.float32), expected[column])
        else:
            assert read[column].astype("str").fillna("").tolist() == expected[column].fillna("").tolist()
    assert expected["error"].dropna().tolist() == ["is not a readable image", "does not exist"]
    assert expected.index[expected["error"].notna()].tolist() == [11, 29]


def test_json_lines_on_stdout_and_all_else_on_stderr(run, images, tmp_path, capsys):
    expected = rows(run, images, tmp_path)
    capsys.readouterr()
    assert predict(run, [images], Path("-"), accelerator="cpu", batch_size=16) is None
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["path"] for line in lines] == expected["path"].tolist()
    assert lines[11]["error"] == "is not a readable image"
    assert lines[11]["predicted"] is lines[11]["p:anger"] is None
    assert lines[0]["error"] is None
    assert lines[0]["p:anger"] == pytest.approx(expected["p:anger"][0], abs=1e-6)
    assert "40 images, 2 of them with an error" in err


def test_without_out_a_table_is_printed(run, images, capsys):
    assert main(["predict", str(run), str(images), "--accelerator", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert "disagreement" in out
    assert "is not a readable image" in out
    assert "40 images, 2 of them with an error" in err


def test_paths_come_on_stdin_and_a_reader_may_leave(run, images):
    paths = pd.read_csv(images)["path"]
    command = [sys.executable, "-m", "emodo", "predict", str(run), "-", "--out", "-", "--batch-size", "1"]
    given = "\n".join(paths).encode()
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, **pipes) as process:
        process.stdin.write(given)
        process.stdin.close()
        assert json.loads(process.stdout.readline())["path"] == sorted(paths)[0]
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
        assert process.wait() == 0


# -------------------------------------------------------------------------------------- a folder of parts


def test_parts_are_the_whole_in_its_order(run, images, tmp_path, capsys):
    expected = rows(run, images, tmp_path, strata=True, batch_size=8)
    capsys.readouterr()
    out = predict(run, [images], tmp_path / "parts", strata=True, batch_size=8, part=16, accelerator="cpu")
    assert sorted(contents(out)) == [f"part-0000{at}.parquet" for at in range(3)]
    assert [len(pd.read_parquet(out / name)) for name in sorted(contents(out))] == [16, 16, 8]
    pd.testing.assert_frame_equal(pd.read_parquet(out), expected)
    err = capsys.readouterr().err
    assert "part-00001.parquet is done" in err
    assert "40 images, 2 of them with an error" in err
    assert "3 of 3 parts are in" in err


def test_the_shards_make_the_whole(run, images, tmp_path):
    whole = predict(run, [images], tmp_path / "whole", part=6, accelerator="cpu")
    out = tmp_path / "shards"
    for shard, there in (("2/3", [1, 4]), ("3/3", [1, 2, 4, 5]), ("1/3", range(7))):
        predict(run, [images], out, part=6, shard=shard, accelerator="cpu")
        assert sorted(contents(out)) == [f"part-0000{at}.parquet" for at in there]
    assert contents(out) == contents(whole)


def test_what_is_there_is_not_done_again(run, images, tmp_path, monkeypatch):
    out = predict(run, [images], tmp_path / "parts", part=16, accelerator="cpu")
    before = contents(out)
    (out / "part-00001.parquet").unlink()
    done = []
    write = parts.write
    monkeypatch.setattr(prediction, "write", lambda *words: done.append(words[2].name) or write(*words))
    predict(run, [images], out, part=16, accelerator="cpu")
    assert done == ["part-00001.parquet"]
    assert contents(out) == before


def test_a_part_that_another_process_has_done_meanwhile_is_left(run, images, tmp_path):
    out = predict(run, [images], tmp_path / "parts", part=40, accelerator="cpu")
    [file] = out.glob("part-*")
    assert parts.write(None, None, file, 0, None) == (0, 0)


@pytest.mark.parametrize("overwrite", [False, True])
def test_another_job_is_refused_or_replaces_it(run, images, tmp_path, overwrite):
    out = predict(run, [images], tmp_path / "parts", part=16, accelerator="cpu")
    before = contents(out)
    retrained = shutil.copytree(run, tmp_path / "retrained")
    (retrained / runs.WEIGHTS).write_bytes((run / runs.WEIGHTS).read_bytes() + b"")
    config = (retrained / runs.CONFIG).read_text().replace("epochs: 1", "epochs: 2")
    (retrained / runs.CONFIG).write_text(config)
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("".join(images.read_text().splitlines(keepends=True)[:-1]))
    changes = [
        (run, images, {"part": 20}, "part: 16 there, 20 here"),
        (run, images, {"strata": True}, "strata: False there, True here"),
        (run, images, {"precision": "bf16"}, "precision: fp32 there, bf16 here"),
        (run, fewer, {}, "images: 40 there, 39 here; list: .* there, .* here"),
        (retrained, images, {}, "run: .* there, .* here"),
    ]
    for other, table, options, message in changes:
        words = {"part": 16, "accelerator": "cpu", "overwrite": overwrite} | options
        if overwrite:
            predict(other, [table], out, **words)
            assert sum(len(pd.read_parquet(out / name)) for name in contents(out)) == len(pd.read_csv(table))
        else:
            with pytest.raises(InputError, match=rf"holds the predictions of another job \({message}\)"):
                predict(other, [table], out, **words)
            assert contents(out) == before


def test_killed_it_goes_on_and_no_image_is_lost_or_twice(run, images, tmp_path):
    whole = predict(run, [images], tmp_path / "whole", part=2, accelerator="cpu")
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "emodo", "predict", str(run), str(images), "--out", str(out), "--part", "2"]
    for more in (1, 4):  # parts that are there when it is killed
        process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        before = len(contents(out))
        while len(contents(out)) < before + more and process.poll() is None:
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert len(contents(out)) < 20
    predict(run, [images], out, part=2, accelerator="cpu")
    assert contents(out) == contents(whole)
    table = pd.read_parquet(out)
    assert len(table) == table["path"].nunique() == 40


def test_the_parts_may_be_spread_over_ray(run, images, tmp_path):
    pytest.importorskip("ray")
    whole = predict(run, [images], tmp_path / "whole", part=20, accelerator="cpu")
    out = predict(run, [images], tmp_path / "ray", part=20, accelerator="cpu", engine="ray", processes=1)
    assert contents(out) == contents(whole)


def test_a_process_that_dies_on_ray_is_told(run, images, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction, "find_ray", lambda: None)
    monkeypatch.setattr(prediction, "on_ray", lambda *_: (job for job in [(1, prediction.Died("out of memory"))]))
    with pytest.raises(Unfinished, match=r"part-00001\.parquet: out of memory; the same command goes on"):
        predict(run, [images], tmp_path / "ray", part=20, accelerator="cpu", engine="ray")


def test_an_interrupt_says_how_to_go_on(run, images, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(prediction, "write", interrupted)
    assert main(["predict", str(run), str(images), "--out", str(tmp_path / "parts")]) == 130
    assert "interrupted: the same command goes on; parts that are done stay" in capsys.readouterr().err


def test_a_worker_that_dies_is_told(run, images, tmp_path, monkeypatch):
    def died(*_):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    monkeypatch.setattr(prediction, "write", died)
    with pytest.raises(Unfinished, match="try fewer --workers; parts that are done stay"):
        predict(run, [images], tmp_path / "parts", accelerator="cpu")


# ---------------------------------------------------------------------------------------- boxes, Python


def test_a_run_that_looks_at_the_context_needs_boxes(faces, tmp_path):
    frame = pd.read_csv(faces, dtype=str).assign(x1="2", y1="2", x2="30", y2="30")
    frame["path"] = [str(faces.parent / path) for path in frame["path"]]
    boxed = tmp_path / "boxed.csv"
    frame.to_csv(boxed, index=False)
    run = train(boxed, CAERNet(width=8), run=tmp_path / "caernet", **(SMALL | {"epochs": 1}))
    with pytest.raises(InputError, match="looks at a person and what is around, and no image has a box"):
        predict(run, [faces], tmp_path / "out.csv", accelerator="cpu")
    assert not (tmp_path / "out.csv").exists()
    frame.loc[3, ["x1", "y1", "x2", "y2"]] = None
    frame.to_csv(boxed, index=False)
    table = pd.read_csv(predict(run, [boxed], tmp_path / "out.csv", accelerator="cpu"))
    assert table["error"].notna().to_numpy().nonzero()[0].tolist() == [3]
    assert table.loc[0, ["x1", "y1", "x2", "y2"]].tolist() == [2, 2, 30, 30]
    assert "disagreement" not in table


def test_from_python_any_images_are_predicted(run, faces):
    files = [faces.parent / path for path in pd.read_csv(faces)["path"][:3]]
    [table] = load(run, accelerator="cpu")(files)
    assert table["path"].tolist() == [str(file) for file in files]
    assert table["p:anger"].between(0, 1).all()


# ------------------------------------------------------------------------------------------ what is wrong

REFUSED = {
    "no run": ({"run": "none"}, "none is not a run"),
    "no suffix of ours": (
        {"out": "a.xlsx"},
        r"a\.xlsx is no table by its suffix: use \.parquet, \.csv, \.jsonl, or none",
    ),
    "shard of a file": ({"out": "a.csv", "shard": "1/2"}, "--shard and --engine ray write parts: name a folder"),
    "shard 0": ({"shard": "0/2"}, "--shard is '0/2': it is I/N with I from 1 to N"),
    "shard 3/2": ({"shard": "3/2"}, "--shard is '3/2'"),
    "shard of words": ({"shard": "one"}, "--shard is 'one'"),
    "overwritten shard": ({"shard": "1/2", "overwrite": True}, "--overwrite with --shard would remove"),
    "too many for a file": (
        {"out": "a.csv", "part": 10},
        "40 images are more than the 10 that a file holds: name a folder",
    ),
    "part": ({"part": 0}, "--part is 0: it must be 1 or more"),
    "batch": ({"batch_size": 0}, "--batch_size is 0: it must be 1 or more"),
    "workers": ({"workers": -1}, "--workers is -1: it must be 0 or more"),
    "images": ({"images": ["none"]}, "none is missing: no such file or folder"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_and_nothing_is_written(run, images, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    words, message = REFUSED[case]
    given = {"run": run, "images": [str(images)], "out": "parts", "accelerator": "cpu"} | words
    given["run"], given["out"] = Path(given["run"]), Path(given["out"])
    with pytest.raises(InputError, match=message):
        predict(**given)
    assert sorted(tmp_path.rglob("*")) == before


def test_too_many_for_the_eye_are_refused(run, images, monkeypatch):
    monkeypatch.setattr(prediction, "SHOWN", 39)
    with pytest.raises(InputError, match="40 images are more than the 39 that a table holds: name a folder"):
        predict(run, [str(images)])


def test_files_of_somebody_else_are_never_replaced(run, images, tmp_path):
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(InputError, match=r"a\.csv exists already: choose another --out"):
        predict(run, [images], tmp_path / "a.csv", accelerator="cpu")
    folder = tmp_path / "folder"
    for content in (None, "{}", '{"command": "emodo faces"}', "[]", "\udcff"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "mine.txt").touch()
        if content is not None:
            (folder / parts.RECORD).write_bytes(content.encode("utf-8", "surrogateescape"))
        with pytest.raises(InputError, match="folder holds files that emodo predict has not made"):
            predict(run, [images], folder, accelerator="cpu", overwrite=True)
        assert (folder / "mine.txt").is_file()
    (tmp_path / "plain").write_text("mine")
    with pytest.raises(InputError, match="plain is a file, and without a suffix a folder is meant"):
        predict(run, [images], tmp_path / "plain", accelerator="cpu")
    predict(run, [images], tmp_path / "a.csv", accelerator="cpu", overwrite=True)
    assert len(pd.read_csv(tmp_path / "a.csv")) == 40


def test_as_people_type_it(run, images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    paths = pd.read_csv(images)["path"].iloc[:3].tolist()
    assert main(["predict", str(run), *paths, "--out", "a.csv", "--batch-size", "2"]) == 0
    assert capsys.readouterr().out == "a.csv\n"
    assert pd.read_csv("a.csv")["path"].tolist() == sorted(paths)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(paths).encode())))
    assert main(["predict", str(run), "-", "--out", "b.csv"]) == 0
    assert pd.read_csv("b.csv")["path"].tolist() == sorted(paths)
    assert main(["predict", str(run), "*.jpg", "page.jpg", "--out", "c.jsonl", "--strata"]) == 0
    assert pd.read_json("c.jsonl", lines=True)["error"].tolist() == ["is not a readable image"]


def test_the_commands_and_the_python_of_its_page_run(run, faces, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "runs/iern")
    shutil.copytree(faces.parent / "images" / "gray", "photos")
    for name, file in zip("ab", sorted(Path("photos").glob("*.png")), strict=False):
        file.rename(f"photos/{name}.jpg")
    page = (Path(__file__).parents[1] / "docs" / "predict.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("    emodo predict ")]
    assert len(lines) == 3
    for line in lines:
        assert main(shlex.split(line, comments=True)[1:]) == 0, line
    assert len(pd.read_parquet("predictions")) == len(pd.read_parquet("predictions.parquet")) == 36
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    capsys.readouterr()
    exec(compile(code, "predict.md", "exec"), {})  # the page is ours
    assert "photos/a.jpg" in capsys.readouterr().out
