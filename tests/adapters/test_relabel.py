from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from emodo import manifest
from emodo.__main__ import main
from emodo.adapters.relabel import relabel
from emodo.records import InputError


def written(folder: Path, *emotions: str, name: str = "in.csv", **columns: list[str]) -> Path:
    for row in range(len(emotions)):
        (folder / f"{row}.jpg").touch()
    frame = pd.DataFrame({"path": [f"{row}.jpg" for row in range(len(emotions))], "emotion": emotions, **columns})
    frame.to_csv(folder / name, index=False)
    return folder / name


def labels(file: Path, *own: str) -> list[str]:
    known = tuple(manifest.EMOTIONS) + own
    return manifest.load(file, known)["emotion"].tolist()


def problem(file: Path, **options: object) -> str:
    out = file.parent / "refused.csv"
    with pytest.raises(InputError) as caught:
        relabel(file, out, **options)  # type: ignore[arg-type]
    assert not out.exists()
    return str(caught.value)


def yaml(folder: Path, text: str) -> Path:
    (folder / "my.yaml").write_text(text, encoding="utf-8")
    return folder / "my.yaml"


def test_a_finer_set_is_read_as_a_coarser_one_and_the_rest_stays(tmp_path: Path, capsys) -> None:
    file = written(tmp_path, "rage", "zest", "surprise", "rage", source=["a", "b", "c", "a"], split=["train"] * 4)
    out = relabel(file, tmp_path / "two.csv", to="2")
    frame = manifest.load(out)
    assert frame["emotion"].tolist() == ["negative", "positive", "positive", "negative"]
    assert frame.columns.tolist() == ["path", "emotion", "source", "split", "file"]
    assert frame["source"].tolist() == ["a", "b", "c", "a"]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"{out}: 4 of 4 rows"
    assert said[1:3] == ["  negative: rage 2", "  positive: zest 1, surprise 1"]
    assert said[3].startswith("  debatable, surprise as positive: it may be good or bad")


def test_rows_without_a_counterpart_go_and_are_counted(tmp_path: Path, capsys) -> None:
    file = written(tmp_path, "neutral", "anger", "neutral", "contempt", "happiness")
    assert labels(relabel(file, tmp_path / "a.csv", to="basic6")) == ["anger", "happiness"]
    said = capsys.readouterr().err
    assert "a.csv: 2 of 5 rows\n" in said
    assert "  dropped: neutral 2, contempt 1\n" in said
    assert labels(relabel(file, tmp_path / "b.csv", to="polarity")) == ["negative", "negative", "positive"]


def test_rows_with_several_labels_keep_the_distinct_ones(tmp_path: Path, capsys) -> None:
    file = written(tmp_path, "affection|happiness", "engagement|fear|pain", "engagement", "esteem|fear|surprise")
    out = relabel(file, tmp_path / "two.csv", to="2")
    assert labels(out) == ["positive", "negative", "negative|positive"]
    said = capsys.readouterr().err
    assert "3 of 4 rows" in said
    assert "  dropped: engagement 2, surprise 1" in said
    assert "  negative: fear 2, pain 1" in said


def test_a_file_of_ones_own_overrules_single_labels(tmp_path: Path) -> None:
    file = written(tmp_path, "sympathy", "surprise", "rage")
    own = yaml(tmp_path, "sympathy: positive\nsurprise: null\n")
    assert labels(relabel(file, tmp_path / "a.csv", to="2", map=own)) == ["positive", "negative"]
    assert labels(relabel(file, tmp_path / "b.csv", to="2")) == ["negative", "positive", "negative"]


def test_a_file_of_ones_own_alone(tmp_path: Path) -> None:
    file = written(tmp_path, "sleepy", "anger", "fear")
    own = yaml(
        tmp_path, "sleepy: calm\nanger: ~\nfear: fear\nlove: null\n"
    )  # love is in no row: the file serves others
    out = relabel(file, tmp_path / "a.csv", map=own, emotions=["sleepy", "calm"])
    assert labels(out, "calm") == ["calm", "fear"]
    assert problem(file, map=yaml(tmp_path, "anger: fear"), emotions=["sleepy"]).endswith(
        "my.yaml has no line for fear, sleepy: add one each, `null` drops a label"
    )


def test_what_is_wrong_in_a_file_is_told_line_by_line(tmp_path: Path) -> None:
    file = written(tmp_path, "sympathy", "surprise")
    own = yaml(tmp_path, "sympaty: positive\nsurprise: nul\nsurprise: yes\n# so\nanger: [negative]\n? [a]\n: b\n")
    assert problem(file, to="2", map=own).split("\n") == [
        f"{own}: line 1: 'sympaty' is no known label: did you mean 'sympathy'?",
        f"{own}: line 2: 'nul' is no known label: positive, negative",
        f"{own}: line 3: 'yes' is no known label: positive, negative",
        f"{own}: line 3: 'surprise' has a line already",
        f"{own}: line 5: write `label: new label`, or `label: null`",
        f"{own}: line 6: write `label: new label`, or `label: null`",
    ]
    assert "no known label (--emotions names your own)" in problem(file, map=yaml(tmp_path, "surprise: xyz\n"))


@pytest.mark.parametrize("text", ["", "- a\n", "just words", "a: b: c\n", "a: {\n", "!!python/name:os.system x"])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, "surprise")
    said = problem(file, to="2", map=yaml(tmp_path, text))
    assert said.startswith(f"{tmp_path}/my.yaml ")
    assert "no table" in said or "cannot be read as YAML" in said
    assert "cannot be read as YAML" in problem(file, to="2", map=tmp_path / "absent.yaml")


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    file = written(tmp_path, "neutral", "anger")
    assert "say which labels are wanted" in problem(file)
    assert "2 sets have 6 labels" in problem(file, to="6")
    assert "--map" in problem(file, to="mikels")
    assert "no set of labels is called 'basic'" in problem(file, to="2", labels="basic")
    only = written(tmp_path, "neutral", name="only.csv")
    assert problem(only, to="2") == f"{only}: no row has a label left: no counterpart for neutral"
    assert "unknown emotion 'angr'" in problem(written(tmp_path, "angr", name="bad.csv"), to="2")


def test_labels_of_two_sets_need_the_sets_name(tmp_path: Path) -> None:
    file = written(tmp_path, "fear", "surprise")
    assert "--labels" in problem(file, to="2")
    assert labels(relabel(file, tmp_path / "a.csv", to="2", labels="emotic")) == ["negative"]
    assert labels(relabel(file, tmp_path / "b.csv", to="2", labels="basic6")) == ["negative", "positive"]


def test_the_command_line(tmp_path: Path, capsys) -> None:
    file, out = written(tmp_path, "rage"), tmp_path / "out.csv"
    assert main(["prepare", "relabel", str(file), str(out), "--to", "2"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert main(["prepare", "relabel", str(file), str(out), "--to", "2"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["prepare", "relabel", str(file), str(out), "--to", "2", "--overwrite"]) == 0
