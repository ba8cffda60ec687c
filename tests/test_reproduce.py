"""docs/reproduce.md: its face sets in miniature, from the data sets' own layouts to scores; the flags of every line."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import adjusted_rand_score

from emodo import runs
from emodo.__main__ import main
from emodo.synthetic.faces import generate
from emodo.synthetic.scenes import generate as generate_scenes
from released import glove, group, inside_or_out, meanings

PAGE = (Path(__file__).parents[1] / "docs" / "reproduce.md").read_text(encoding="utf-8")
SMALL = ["--backbone", "small", "--pretrained", "false", "--size", "32", "--accelerator", "cpu", "--epochs", "1"]
CKPLUS = {"anger": 1, "disgust": 3, "fear": 4, "happiness": 5, "sadness": 6, "surprise": 7}
MMI = {"anger": 1, "disgust": 2, "fear": 3, "happiness": 4, "sadness": 5, "surprise": 6}


def commands(page: str = PAGE) -> list[str]:
    blocks = "".join(re.findall(r"```\n(.*?)```", page, re.DOTALL)).replace("\\\n", " ")
    return [line for line in blocks.splitlines() if line.startswith("emodo ")]


def section(title: str) -> str:
    return PAGE.split(f"## {title}")[1].split("\n## ")[0]


def ckplus(sequence: Path, rows: pd.DataFrame, number: int) -> None:
    """Ten frames, the last three of which are the peak, and a label beside them."""
    subject, name = f"S{number:03d}", f"S{number:03d}_001"
    frames = sequence / "cohn-kanade-images" / subject / "001"
    label = sequence / "Emotion" / subject / "001" / f"{name}_00000004_emotion.txt"
    frames.mkdir(parents=True)
    label.parent.mkdir(parents=True)
    for at, file in enumerate([rows["file"].iloc[0], *rows["file"]], 1):
        Image.open(file).save(frames / f"{name}_{at:08d}.png")
    label.write_text(f"   {CKPLUS[rows['emotion'].iloc[0]]:.7e}\n")


def mmi(root: Path, rows: pd.DataFrame, number: int) -> None:
    """A video, its frames from the same face, and its two XML files."""
    folder = root / "Sessions" / str(number)
    folder.mkdir(parents=True)
    name = f"S{number:03d}-001"
    with av.open(str(folder / f"{name}.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = 48, 48, "yuv420p"
        for file in rows["file"].repeat(2):
            frame = av.VideoFrame.from_ndarray(np.asarray(Image.open(file).convert("RGB")), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    tag = f'<Metatag Name="Emotion" Value="{MMI[rows["emotion"].iloc[0]]}"/>'
    (folder / f"{name}.xml").write_text(f"<?xml version='1.0'?><Session>{tag}</Session>")
    (folder / "session.xml").write_text('<session><track view="0"><annotation filename="x.xml"/></track></session>')


def oulu(root: Path, rows: pd.DataFrame, number: int) -> None:
    folder = root / "OriginalImg" / "VL" / "Strong" / f"P{number:03d}" / rows["emotion"].iloc[0].title()
    folder.mkdir(parents=True)
    for at, file in enumerate(rows["file"]):
        Image.open(file).convert("RGB").save(folder / f"{at:03d}.jpeg")


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """CK+, MMI and Oulu-CASIA as they lie on a disk: 2 generated people x 6 emotions in the look of each."""
    folder = tmp_path_factory.mktemp("user")
    manifest = generate(tmp_path_factory.mktemp("generated") / "faces", subjects=2, size=48)
    table = pd.read_csv(manifest, dtype=str)
    table["file"] = [str(manifest.parent / path) for path in table["path"]]
    layouts = {"gray": (ckplus, "CK+"), "blue": (mmi, ""), "dim": (oulu, "Oulu-CASIA")}
    for source, of_source in table.groupby("source"):
        write, name = layouts[str(source)]
        for number, (_, rows) in enumerate(of_source.groupby("sequence"), 1):
            write(folder / name, rows, number)
    (folder / "recipes").mkdir()
    for recipe in Path(__file__).parents[1].glob("recipes/table*.yaml"):
        (folder / "recipes" / recipe.name).write_text(recipe.read_text())
    return folder


def test_the_three_face_sets_in_miniature(disk, monkeypatch):
    """Every command of the section in its order, but faces (it needs a file of others) and the grids."""
    monkeypatch.chdir(disk)
    lines = commands(section("Three face sets"))
    verbs = [" ".join(line.split()[1:3]) for line in lines]
    assert verbs[:6] == [
        *("prepare ckplus", "prepare mmi", "prepare oulucasia", "prepare merge"),
        "faces frames.csv",
        "strata aligned.csv",
    ]
    assert verbs[12:] == ["train fold1.csv", "evaluate runs/iern1", "benchmark --config", "benchmark --config"]
    for line in lines[:14]:
        words = shlex.split(line)[1:]
        if words[0] == "faces":
            Path("aligned.csv").write_bytes(Path("frames.csv").read_bytes())
            continue
        words = [word for at, word in enumerate(words) if "--epochs" not in words[max(at - 1, 0) : at + 1]]
        assert main(words + (SMALL if words[0] == "train" else [])) == 0, line
    merged = pd.read_csv("faces.csv", dtype=str)
    assert merged["stratum"].value_counts().to_dict() == {"CK+": 36, "MMI": 36, "Oulu-CASIA": 36}
    assert len(pd.read_csv("fold1.csv")) == len(merged) == 108
    tested = pd.read_csv("fold1.csv", dtype=str).query("split == 'test'")
    assert set(zip(tested["source"], tested["emotion"], strict=True)) == {
        *(("CK+", "anger"), ("CK+", "happiness"), ("MMI", "disgust"), ("MMI", "sadness")),
        *(("Oulu-CASIA", "fear"), ("Oulu-CASIA", "surprise")),
    }
    scores = runs.scores(Path("runs/iern1"))
    assert scores["n"] == 36
    assert sorted(scores["strata"]) == ["CK+", "MMI", "Oulu-CASIA"]
    assert json.loads(Path("runs/iern1/all/scores.json").read_text())["n"] == 108


def test_figure_7_is_drawn_from_the_two_steps_strata_of_generated_scenes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manifest = generate_scenes(Path("scenes"), images=240, size=64)
    vectors, io = glove(Path("glove.txt"), meanings()), inside_or_out(Path("IO_places365.txt"))
    steps = ["--by", "scene", "--vectors", str(vectors), "--io", str(io), "--clusters", "5", "--keep", "5"]
    assert main(["strata", str(manifest), "strata.csv", *steps]) == 0
    table = pd.read_csv("strata.csv", dtype=str)
    assert adjusted_rand_score([group(scene) for scene in table["scene"]], table["stratum"]) >= 0.9
    assert main(["train", "strata.csv", "--method", "ERM", "--run", "runs/erm", "--crop", "false", *SMALL]) == 0
    assert main(["report", "runs/erm", "--out", "report.html"]) == 0
    page = Path("report.html").read_text(encoding="utf-8")
    figure = re.search(r'<svg[^>]*aria-labelledby="spread-title".*?</svg>', page, re.DOTALL)
    assert figure, "the page has no Figure 7"
    assert all(f">{stratum}<" in figure[0] for stratum in table["stratum"].unique())
    train = table[table["split"] == "train"]
    shares = train.groupby("stratum")["emotion"].apply(lambda rows: 100 * (rows == "negative").mean())
    assert shares.max() - shares.min() > 50  # the scenes go with the emotion in training, and the page's numbers say so
    assert all(re.search(rf"{share:.0f} / \d+ %", page) for share in shares)


@pytest.mark.parametrize("line", commands())
def test_every_line_has_flags_that_there_are(line, disk, monkeypatch, capsys):
    monkeypatch.chdir(disk)
    words = shlex.split(line)[1:]
    try:
        code = main([*words, "--print_config"])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 0, capsys.readouterr().err
