"""`emodo audit`: the planted bias is named, none is named where none is, and bad input ends in one message."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from emodo import manifest
from emodo.__main__ import main
from emodo.audit import audit
from emodo.records import InputError
from emodo.splitting import split_subject, split_table1
from emodo.synthetic.faces import generate


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """324 faces of 18 people, with columns that have nothing to do with the emotion."""
    file = generate(tmp_path_factory.mktemp("faces") / "faces", subjects=6, size=32)
    frame, random = manifest.load(file), np.random.default_rng(0)
    subject, sequence = (frame.groupby(by).ngroup().to_numpy() for by in ("subject", "sequence"))
    frame["age"] = random.integers(18, 80, subject.max() + 1)[subject].astype(str)
    frame["camera"] = random.choice(["a", "b"], sequence.max() + 1)[sequence]
    manifest.save(frame, file.parent / "faces.csv")
    return file.parent / "faces.csv"


@pytest.fixture(scope="module")
def biased(made):
    return split_table1(made, made.parent / "fold1.csv", fold=1)


@pytest.fixture
def found(capsys):
    """Audit as a program does."""

    def run(file, **settings):
        capsys.readouterr()
        audit(file, json=True, **settings)
        return json.loads(capsys.readouterr().out)

    return run


def table(folder, **columns):
    """A manifest of 40 rows without images."""
    frame = pd.DataFrame({"path": [f"{at}.png" for at in range(40)], "emotion": ["anger", "joy"] * 20} | columns)
    frame.to_csv(folder / "m.csv", index=False)
    return folder / "m.csv"


# ----------------------------------------------------------------------------------------------- bias


def test_the_planted_confounder_is_named_with_all_that_goes_with_it(biased, found):
    result = found(biased)
    assert [one["column"] for one in result["columns"][:1]] == ["source"]
    assert {one["column"] for one in result["columns"]} == {"source", "frame", "glasses", "skin", "age", "camera"}
    assert result["verdict"].startswith("source is the most dangerous: it goes with the emotion")
    assert (result["rows"], result["of"], result["split"], result["cluster"]) == (216, 324, "train", "subject")
    source = result["columns"][0]
    assert source["biased"]
    assert source["association"]["cramers_v"]["value"] == pytest.approx(0.5, abs=0.02)
    assert source["image"]["accuracy"] > 0.9
    assert np.sum(source["image"]["confusion"]) == 216
    assert (source["gaps"]["empty"], source["gaps"]["missing"]) == (6, 6 * 12)
    assert source["bayes"] == {"accuracy": pytest.approx(0.25), "majority": pytest.approx(1 / 6)}
    assert "Resampling" not in source["methods"]["possible"]
    assert {leak["gate"]: leak["rows"] for leak in result["leakage"]} == {
        "sequence": 0,
        "subject": 108,
        "identical": 0,
        "near": 0,
    }


def test_without_bias_no_column_is_named(made, found):
    result = found(made)
    assert result["verdict"] == "no column goes with the emotion beyond chance (6 columns, 18 subjects)"
    assert not any(one["biased"] for one in result["columns"])
    assert result["split"] is None
    image = {one["column"]: one["image"] for one in result["columns"]}
    assert image["source"]["low"] > 0.9  # told, and yet no danger
    assert image["camera"]["low"] < 0.5 < image["camera"]["high"]


def test_a_confounder_that_the_image_does_not_tell_is_less_dangerous(biased, found, tmp_path):
    frame = manifest.load(biased)
    sure = frame["emotion"].map({"anger": "kim", "fear": "kim"}).fillna("lou")
    frame["rater"] = sure.where(frame.groupby("sequence").ngroup() % 5 > 0, "mia")
    manifest.save(frame, tmp_path / "m.csv")
    ranked = {one["column"]: one for one in found(tmp_path / "m.csv")["columns"]}
    assert list(ranked)[:2] == ["source", "rater"]
    value = {column: one["association"]["cramers_v"]["value"] for column, one in ranked.items()}
    assert value["rater"] > value["source"]
    assert ranked["rater"]["danger"] < ranked["source"]["danger"]


def test_a_numeric_column_that_is_biased_is_found_by_its_groups(tmp_path, found):
    random = np.random.default_rng(0)
    age = np.where(np.arange(40) % 2, 60, 30) + random.integers(0, 20, 40)
    result = found(table(tmp_path, age=age), images=False)
    assert result["columns"][0]["biased"]
    assert len(result["columns"][0]["strata"]) == 5


def test_two_runs_say_the_same_and_other_rows_can_be_asked(biased, found):
    assert found(biased, images=False) == found(biased, images=False)
    assert found(biased, images=False, split="all")["rows"] == 324
    assert found(biased, images=False, split="test")["rows"] == 108


# --------------------------------------------------------------------------------------------- images


def test_without_images_none_is_opened_nor_need_be_there(biased, found, tmp_path):
    shutil.copy(biased, tmp_path / "m.csv")
    result = found(tmp_path / "m.csv", images=False)
    source = result["columns"][0]
    assert (source["column"], source["image"], result["images"]) == ("source", None, None)
    assert source["danger"] == source["association"]["cramers_v"]["value"]
    assert [(leak["gate"], leak["rows"]) for leak in result["leakage"]] == [("subject", 108)]
    with pytest.raises(InputError, match="no image"):
        audit(tmp_path / "m.csv")


def test_some_of_the_images_can_be_looked_at(biased, found):
    result = found(biased, sample=100)
    assert 100 <= result["images"]["looked_at"] < 120
    assert result["columns"][0]["image"]["images"] <= result["images"]["looked_at"]
    assert [leak["gate"] for leak in result["leakage"]] == ["sequence", "subject", "identical"]


def test_a_backbone_can_be_asked(biased, found):
    result = found(biased, backbone="small", size=32, accelerator="cpu", columns=["source"])
    assert result["images"]["features"] == "features of small"
    assert result["columns"][0]["image"]["accuracy"] > 0.9


def test_copies_are_found(made, found, tmp_path):
    for at in range(40):
        Image.new("RGB", (20, 20), (6 * at, 9, 99)).save(tmp_path / f"{at}.png")
    shutil.copy(tmp_path / "3.png", tmp_path / "8.png")
    result = found(table(tmp_path, source=["a", "b"] * 20))
    same = next(leak for leak in result["leakage"] if leak["gate"] == "identical")
    assert (same["rows"], same["pairs"]) == (2, [[4, 9], [9, 4]])


# ------------------------------------------------------------------------------------- what is written


def test_the_folder_holds_all_numbers_and_a_page(biased, tmp_path, capsys):
    assert main(["audit", str(biased), "--images", "false", "--out", str(tmp_path / "a")]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0].startswith("source is the most dangerous")
    assert "audit.json, audit.md" in shown.err
    result = json.loads((tmp_path / "a" / "audit.json").read_text())
    assert result["verdict"] == shown.out.splitlines()[0]
    page = (tmp_path / "a" / "audit.md").read_text()
    assert result["verdict"] in page
    assert page.count("| rows | P(d) | importance |") == 6
    assert main(["audit", str(biased), "--images", "false", "--out", str(tmp_path / "a")]) == 2
    assert "exists and is not an empty folder" in capsys.readouterr().err


def test_several_emotions_a_row_are_each_counted(tmp_path, found):
    source = np.repeat(["a", "b"], 20)
    emotion = np.where(source == "a", "anger|joy", "joy")
    result = found(table(tmp_path, emotion=emotion, source=source), images=False)
    assert result["emotions"] == {"anger": 20, "joy": 40}
    source = result["columns"][0]
    assert (source["column"], source["biased"], source["counts"]) == ("source", True, [[20, 20], [0, 20]])
    assert source["methods"]["possible"] == ["ERM"]


def test_names_and_values_are_text_whatever_they_hold(tmp_path, capsys):
    evil = "<script>alert(1)</script>"
    columns = {evil: [evil, "b"] * 20, "source": [evil, "[red]b"] * 20, "title": [f"{evil}{at}" for at in range(40)]}
    file = table(tmp_path, **columns)
    audit(file, columns=[evil, "source"], images=False, out=tmp_path / "a")
    assert evil in capsys.readouterr().out
    page = (tmp_path / "a" / "audit.md").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert evil in json.loads((tmp_path / "a" / "audit.json").read_text())["columns"][0]["strata"]


def test_what_is_unknown_and_what_may_be_the_label_is_said(tmp_path, capsys):
    polarity = ["low", "high"] * 20
    emotion = np.where(np.array(polarity) == "low", np.where(np.arange(40) % 4, "fear", "anger"), "joy")
    file = table(tmp_path, emotion=emotion, polarity=polarity, gender=["f", None, "m", "f"] * 10)
    audit(file, images=False)
    out = " ".join(capsys.readouterr().out.split())
    assert "polarity: every emotion has one value of it" in out
    assert "gender: 10 rows have no value, and are a stratum here" in out


# ------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("columns", "words", "said"),
    [
        ({"emotion": "joy", "source": ["a", "b"] * 20}, [], "has one emotion, 'joy', in all rows"),
        ({}, [], "has no column to audit: add one, such as source"),
        ({"title": [f"t{at}" for at in range(40)]}, [], "has no column to audit (title: a value of its own"),
        ({"source": ["a", "b"] * 20}, ["--columns", "gender"], "has no column 'gender' to audit; it has source"),
        ({"source": ["a", "b"] * 20}, ["--split", "trian"], "--split is 'trian'"),
        ({"source": ["a", "b"] * 20, "split": "test"}, [], "has no row whose split is 'train'"),
        ({"source": ["a", "b"] * 20}, ["--replicates", "5"], "--replicates is 5: it must be 100 or more"),
        ({"source": ["a", "b"] * 20}, ["--sample", "30000"], "--sample is 30000: it is 20000 at most"),
        ({"source": ["a", "b"] * 20}, ["--backbone", "small"], "--backbone looks at images"),
    ],
)
def test_bad_input_is_one_message_and_nothing_is_written(tmp_path, capsys, columns, words, said):
    file = table(tmp_path, **columns)
    assert main(["audit", str(file), "--images", "false", "--out", str(tmp_path / "a"), *words]) == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert not (tmp_path / "a").exists()


def test_a_subject_split_without_leaks_says_so(made, tmp_path, capsys):
    audit(split_subject(made, made.parent / "people.csv"), images=False, columns=["camera"])
    assert "nothing leaks, by these gates: subject" in capsys.readouterr().out
