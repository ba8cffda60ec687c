"""`emodo probe` finds what was planted and nothing else, in runs and in any model; what does not fit is refused."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import emodo
from conftest import SMALL
from emodo import Model, runs
from emodo.__main__ import main
from emodo.changes import Changed
from emodo.data import GRAY
from emodo.interventions import INTERVENTIONS
from emodo.leaning import Images
from emodo.methods import ERM
from emodo.probing import probe
from emodo.records import InputError
from emodo.training import train

PAGE = (Path(__file__).parents[1] / "docs" / "probe.md").read_text(encoding="utf-8")
PAIR = ("fear", "joy")
FEW = {"replicates": 200}


def saturation(images):
    """Logits of fear and joy: how colourful the mean colour is."""
    mean = images.float().mean(dim=(2, 3))
    colour = (mean.max(dim=1).values - mean.min(dim=1).values) / mean.max(dim=1).values.clamp_min(1)
    return 30 * torch.stack([0.2 - colour, colour - 0.2], dim=1)


PLANTED = Model("planted", PAIR, saturation, size=32)


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """Manifest of 60 images of 30 people, all with boxes: joy is colourful, fear is nearly gray."""
    folder = tmp_path_factory.mktemp("colours")
    random = np.random.default_rng(0)
    rows = []
    for row in range(60):
        emotion = PAIR[row % 2]
        y, x = np.mgrid[:40, :40] / 40
        light = 100 + 30 * np.sin(6 * (x * random.normal() + y * random.normal()))
        colour = random.permutation([1.0, 1.0, 0.4 if emotion == "joy" else 0.95])
        image = (light[..., None] * colour).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{row}.png")
        rows.append({"path": f"{row}.png", "emotion": emotion, "subject": f"s{row // 2}", "source": "ab"[row // 30]})
    box = {"x1": 2, "y1": 2, "x2": 38, "y2": 38}
    pd.DataFrame(rows).assign(**box).to_csv(folder / "m.csv", index=False)
    return folder / "m.csv"


@pytest.fixture(scope="module")
def table(colours):
    return probe(PLANTED, colours, **FEW)


@pytest.fixture(scope="module")
def run(faces, tmp_path_factory):
    return train(faces, ERM(), run=tmp_path_factory.mktemp("runs") / "erm", **SMALL | {"epochs": 1})


def dose(table, name, strength, model=0):
    [row] = [
        row for row in table["models"][model]["doses"] if (row["intervention"], row["strength"]) == (name, strength)
    ]
    return row


# ------------------------------------------------------------------------------------- what is found


def test_a_model_of_saturation_leans_on_colour_and_on_nothing_else(table):
    [model] = table["models"]
    assert model["accuracy"]["value"] == 1
    assert [(each["kind"], each["intervention"]) for each in model["findings"]] == [("leans", "gray")]
    gray = dose(table, "gray", 1)
    assert gray["flip"]["value"] == 0.5  # the colourful half
    assert gray["emotions"]["joy"]["flip"]["value"] == 1
    assert gray["emotions"]["fear"]["flip"]["value"] == 0
    assert (gray["lost"], gray["gained"]) == (30, 0)
    others = {row["intervention"] for row in model["doses"]} - {"gray", "mask", "background"}
    assert others == {"brightness", "blur", "noise", "compression", "mirror"}
    for row in model["doses"]:
        if row["intervention"] in others:
            assert row["flip"]["value"] == 0, row["intervention"]
    assert model["verdict"].startswith("planted leans on colour: gray 1 changes 50.0 % [")
    assert model["verdict"].endswith(
        "no sign of how bright the image is, the background, fine detail, noise or compression."
    )


def test_what_is_asked_for_is_what_is_probed(table):
    assert table["doses"] == [
        {"intervention": name, "strength": strength}
        for name, each in INTERVENTIONS.items()
        for strength in each.strengths
    ]
    assert (table["images"], table["cluster"], table["clusters"], table["stratum"]) == (60, "subject", 30, "source")
    assert list(table["models"][0]["strata"]) == ["a", "b"]
    assert not table["skipped"]


def test_strengths_are_the_users_and_the_control_is_always_there(colours):
    found = probe([PLANTED], colours, interventions=["gray"], strengths={"gray": "0.9,1"}, **FEW)
    assert [(each["intervention"], each["strength"]) for each in found["doses"]] == [
        ("gray", 0.9),
        ("gray", 1.0),
        ("mirror", 1.0),
    ]


def test_a_limit_draws_as_many_of_each_emotion(colours):
    found = probe(PLANTED, colours, interventions=["gray"], limit=11, **FEW)
    assert found["images"] == 11
    counts = [each["n"] for each in found["models"][0]["emotions"].values()]
    assert sorted(counts) == [5, 6]
    again = probe(PLANTED, colours, interventions=["gray"], limit=11, **FEW)
    assert again == found
    assert probe(PLANTED, colours, interventions=["gray"], limit=99, **FEW)["images"] == 60


def test_the_numbers_are_those_of_the_predictions_that_are_kept(colours, tmp_path):
    found = probe(PLANTED, colours, interventions=["noise", "gray"], out=tmp_path / "out", **FEW)
    kept = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert len(kept) == 60 * (1 + 4 + 3 + 1)
    before = kept[kept["intervention"] == "as is"].set_index("path")
    gray = kept[(kept["intervention"] == "gray") & (kept["strength"] == 1)].set_index("path")
    assert (before["predicted"] != gray["predicted"]).mean() == dose(found, "gray", 1)["flip"]["value"]
    shift = (before[["p:fear", "p:joy"]] - gray[["p:fear", "p:joy"]]).abs().sum(axis=1).mean() / 2
    assert shift == pytest.approx(dose(found, "gray", 1)["shift"]["value"])
    assert set(kept["stratum"]) == {"a", "b"}


def test_a_callable_without_a_size_gets_the_images_as_they_are(colours):
    seen = []

    def function(images):
        seen.extend(images)
        return torch.cat([saturation(image[None]) for image in images])

    found = probe(Model("whole", PAIR, function, crop=False), colours, interventions=["gray"], **FEW)
    assert {tuple(image.shape) for image in seen} == {(3, 40, 40)}
    assert dose(found, "gray", 1)["flip"]["value"] == 0.5


def test_models_with_their_emotions_in_another_order_are_compared(colours):
    other = Model("turned", PAIR[::-1], lambda images: saturation(images).flip(1), size=32)
    blind = Model("blind", PAIR, lambda images: torch.tensor([[2.0, 1.0]]).expand(len(images), 2), size=32)
    found = probe([PLANTED, other, blind], colours, interventions=["gray"], **FEW)
    first, second, third = found["models"]
    assert first["doses"] == second["doses"]
    assert third["doses"][2]["flip"]["value"] == 0
    same, less = found["comparisons"]
    assert all(row["flip"]["estimate"] == 0 for row in same["doses"])
    assert less["doses"][2]["flip"]["estimate"] == -0.5
    assert less["said"][0].startswith("blind leans less on colour than planted")


def test_images_are_changed_before_they_are_cropped_and_resized(colours):
    frame = emodo.probing.manifests.load(colours)
    images = Images(PAIR, np.arange(60) % 2, np.arange(60), (), np.full(60, -1))
    doses = [("mask", 1.0), ("background", 1.0), ("mirror", 1.0)]
    models = [Model("person", PAIR, saturation, None), Model("both", PAIR, saturation, None, False, ("context",))]
    changed = Changed(frame, doses, images, models, 0, 50_000_000)
    found = dict(zip([sight.crop for sight in changed.sights], changed[4], strict=True))
    as_is, masked, moved, mirrored = found[True]["images"]
    assert as_is.shape == (3, 36, 36)
    assert (masked == GRAY).all()
    assert torch.equal(moved, as_is)
    assert torch.equal(mirrored, as_is.flip(-1))
    whole, _, moved, _ = found[False]["images"]
    assert not torch.equal(moved, whole)
    assert (found[False]["context"][0][:, 2:38, 2:38] == GRAY).all()
    assert (frame["emotion"].iloc[changed.partner] != frame["emotion"].to_numpy()).all()


def test_a_run_is_probed_and_answers_as_in_its_predictions(run, tmp_path, capsys):
    assert main(["probe", str(run), "--out", str(tmp_path / "out"), "--limit", "12", "--replicates", "100"]) == 0
    out, err = capsys.readouterr()
    assert str(run) in out.replace("\n", "")
    assert "mask is left out" in out
    assert "s left" in err
    kept = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    before = kept[kept["intervention"] == "as is"].set_index("path")
    own = runs.predictions(run).set_index("path").loc[before.index]
    columns = [name for name in own if name.startswith("p:")]
    assert before[columns].to_numpy() == pytest.approx(own[columns].to_numpy(), abs=1e-5)
    assert before["emotion"].value_counts().tolist() == [2] * 6
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "predictions.parquet",
        "probe.json",
        "probe.md",
        "probe.svg",
    ]


def test_the_command_prints_json_and_takes_the_manifest_last(run, faces, capsys):
    words = ["probe", str(run), str(faces), "--interventions", "gray", "--limit", "6", "--replicates", "100", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["manifest"] == str(faces)
    assert found["images"] == 6
    assert found["stratum"] == "source"


def test_an_onnx_file_is_probed_as_its_flags_say(colours, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from onnxfiles import WEIGHTS, built

    file = built(tmp_path / "model.onnx", ("batch", 3, "h", "w"))
    three = copied(colours, tmp_path, lambda frame: frame)
    words = ["--emotions", "fear", "joy", "anger", "--onnx", "size=32", "range=0,255", "mean=127.5", "std=10"]
    assert main(["probe", str(file), str(three), *words, "--replicates", "100", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    def function(images):
        return (images.float().mean(dim=(2, 3)) - 127.5) / 10 @ torch.from_numpy(WEIGHTS)

    itself = probe(Model(str(file), ("fear", "joy", "anger"), function, size=32), three, replicates=100)
    for one, other in zip(found["models"][0]["doses"], itself["models"][0]["doses"], strict=True):
        assert one["flip"]["value"] == other["flip"]["value"]
        assert one["shift"]["value"] == pytest.approx(other["shift"]["value"], abs=1e-5)
    assert main(["probe", str(file), str(three), "--onnx", "size=32"]) == 2
    assert "name them in their order with --emotions" in capsys.readouterr().err


def test_an_exported_run_answers_as_the_run_itself(run, faces, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from emodo.export import export

    file = export(run, tmp_path / "erm.onnx")
    found = probe([run, file], faces, interventions=["gray", "noise"], limit=12, accelerator="cpu", **FEW)
    itself, exported = found["models"]
    for one, other in zip(itself["doses"], exported["doses"], strict=True):
        assert one["flip"]["value"] == other["flip"]["value"]
        assert one["shift"]["value"] == pytest.approx(other["shift"]["value"], abs=1e-4)
    assert itself["strata"].keys() == exported["strata"].keys()


# --------------------------------------------------------------------------------------- what is refused


def copied(colours, tmp_path, change):
    frame = pd.read_csv(colours)
    frame["path"] = [str(colours.parent / path) for path in frame["path"]]
    change(frame).to_csv(tmp_path / "m.csv", index=False)
    return tmp_path / "m.csv"


def without_boxes(frame):
    return frame.drop(columns=["x1", "y1", "x2", "y2"])


def test_without_boxes_what_needs_them_is_left_out_or_refused_by_name(colours, tmp_path):
    file = copied(colours, tmp_path, without_boxes)
    found = probe(PLANTED, file, limit=4, **FEW)
    assert set(found["skipped"]) == {"background", "mask"}
    assert "has no boxes (x1, y1, x2, y2)" in found["skipped"]["mask"]
    with pytest.raises(InputError, match=r"mask cannot be done: .*m\.csv has no boxes"):
        probe(PLANTED, file, interventions=["mask"], **FEW)
    file = copied(colours, tmp_path, lambda frame: boxed_only(frame, frame.index == 7))
    assert "background" in probe(PLANTED, file, **FEW)["skipped"]
    with pytest.raises(InputError, match=r"background cannot be done: .*m\.csv holds one image with a box"):
        probe(PLANTED, file, interventions=["background"], **FEW)


def boxed_only(frame, rows):
    return frame.assign(**{side: frame[side].where(rows) for side in ("x1", "y1", "x2", "y2")})


def surrounded(images):
    """Logits of fear and joy: how colourful the two outermost rows are, and nothing of the person."""
    return saturation(images[:, :, :2])


def test_where_some_rows_have_a_box_what_needs_it_is_done_to_these(colours, tmp_path, capsys):
    some = np.arange(60) % 3 != 0  # 40 of 60, people of both emotions among them
    file = copied(colours, tmp_path, lambda frame: boxed_only(frame, some))
    (tmp_path / "only").mkdir()
    only = copied(colours, tmp_path / "only", lambda frame: frame[some])
    models = [
        Model("outside", PAIR, surrounded, crop=False, size=40),
        Model("blind", PAIR, lambda images: torch.tensor([[2.0, 1.0]]).expand(len(images), 2), crop=False, size=40),
    ]
    options = {"interventions": ["background", "mask", "gray"], "cluster": "subject", **FEW}
    found = probe(models, file, out=tmp_path / "out", **options)
    expected = probe(models, only, **options)
    assert (found["images"], found["boxed"], expected["images"], expected["boxed"]) == (60, 40, 40, 40)
    assert not found["skipped"]
    for one, other in zip(found["models"], expected["models"], strict=True):
        for row, same in zip(one["doses"], other["doses"], strict=True):
            assert row["n"] == (40 if row["intervention"] in ("background", "mask") else 60)
            if row["n"] == 40:  # all but Holm's p, which is over other doses as well
                for key in ("flip", "shift", "before", "after", "effect", "lost", "gained", "emotions", "strata"):
                    assert row[key] == same[key], key
                for key in ("change", "excess"):
                    assert row[key] is same[key] is None or row[key]["p"] == same[key]["p"]
    pair, same = (each["comparisons"][0]["doses"][0] for each in (found, expected))
    assert pair["flip"]["low"] == same["flip"]["low"]
    assert found["models"][0]["verdict"].startswith("outside leans on the background")
    kept = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert kept.groupby("intervention").size().to_dict() == {
        "as is": 120,
        **{"background": 240, "gray": 360, "mask": 240, "mirror": 120},
    }
    page = (tmp_path / "out" / "probe.md").read_text()
    assert "background and mask: done to the 40 of 60 images that have a box" in page
    assert "background (40 images)" in page


def test_emotions_of_which_no_row_has_a_box_are_empty_in_the_table(colours, tmp_path):
    file = copied(colours, tmp_path, lambda frame: boxed_only(frame, frame["emotion"] == "joy"))
    found = probe(PLANTED, file, interventions=["background", "mask"], out=tmp_path / "out", **FEW)
    assert list(dose(found, "mask", 1)["emotions"]) == ["joy"]
    line = next(line for line in (tmp_path / "out" / "probe.md").read_text().splitlines() if "| mask 1 |" in line)
    assert line.split("|")[2].strip() == ""


def test_boxes_of_one_person_say_nothing_of_the_background_and_the_rest_is_said(colours, tmp_path):
    file = copied(colours, tmp_path, lambda frame: boxed_only(frame, frame["subject"] == "s3"))
    found = probe(PLANTED, file, interventions=["background", "gray"], **FEW)
    assert found["boxed"] == 2
    assert dose(found, "background", 1)["excess"]["p"] is None
    assert found["models"][0]["verdict"].startswith("planted leans on colour")
    assert "background" not in found["models"][0]["verdict"]


REFUSED = {
    "unknown label": (
        lambda frame: frame.assign(emotion=["awe", *frame["emotion"][1:]]),
        {},
        r"row 1: unknown emotion",
    ),
    "several": (lambda frame: frame.assign(emotion=["fear|joy", *frame["emotion"][1:]]), {}, "are several emotions"),
    "missing": (lambda frame: frame.assign(path=["no.png", *frame["path"][1:]]), {}, r"row 1: no image 'no\.png'"),
    "intervention": (None, {"interventions": ["sepia"]}, "there is no intervention 'sepia': there are gray"),
    "strength": (None, {"strengths": {"gray": "2"}}, "gray=2: give different numbers from 0 to 1"),
    "no number": (None, {"strengths": {"blur": "a"}}, "blur=a: give different numbers"),
    "nothing done": (None, {"strengths": {"brightness": [1]}}, "1 changes nothing, and is always there"),
    "not done": (None, {"interventions": ["gray"], "strengths": {"blur": "0.1"}}, "names blur, which is not done"),
    "of the mirror": (None, {"strengths": {"mirror": "1"}}, "names mirror, which has none"),
    "stratum": (None, {"stratum": "camera"}, r"has no column 'camera' \(found: path, emotion"),
    "cluster": (None, {"cluster": "sequence"}, "no test image has a sequence"),
    "limit": (None, {"limit": 0}, "--limit 0"),
    "onnx": (None, {"onnx": {"size": 3}}, "no ONNX file is probed"),
    "accelerator": (None, {"accelerator": "tpu"}, "--accelerator is 'tpu'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_and_nothing_is_written(colours, tmp_path, case):
    change, options, wanted = REFUSED[case]
    file = copied(colours, tmp_path, change) if change else colours
    with pytest.raises(InputError, match=wanted):
        probe(PLANTED, file, out=tmp_path / "out", **FEW | options)
    assert not (tmp_path / "out").exists()


def test_models_that_do_not_fit_are_refused(colours, tmp_path):
    other = Model("other", ("anger", "joy"), saturation, size=32)
    with pytest.raises(InputError, match="other knows anger, joy, and planted knows fear, joy"):
        probe([PLANTED, other], colours)
    with pytest.raises(InputError, match="a model is named twice: planted, planted"):
        probe([PLANTED, PLANTED], colours)
    with pytest.raises(InputError, match="no model is named"):
        probe([], colours)
    with pytest.raises(InputError, match="no manifest is named"):
        probe(PLANTED)
    with pytest.raises(InputError, match="is not a run"):
        probe(tmp_path, colours)


def test_a_truncated_image_is_named_by_its_row(colours, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes((colours.parent / "3.png").read_bytes()[:60])
    file = copied(colours, tmp_path, lambda frame: without_boxes(frame).assign(path=[*frame["path"][:59], str(broken)]))
    with pytest.raises(InputError, match=r"m\.csv, row 60: the image .*broken\.png is truncated"):
        probe(PLANTED, file, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_interrupted_probe_leaves_nothing(colours, tmp_path):
    def interrupted(images):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probe(Model("mine", PAIR, interrupted, size=8), colours, out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_is_replaced_only_where_it_is_a_probes_and_on_demand(colours, tmp_path):
    options = {"interventions": ["gray"], "limit": 4, "out": tmp_path / "out", **FEW}
    probe(PLANTED, colours, **options)
    with pytest.raises(InputError, match="exists already: choose another --out, or replace it with --overwrite"):
        probe(PLANTED, colours, **options)
    probe(PLANTED, colours, overwrite=True, **options | {"limit": 6})
    assert json.loads((tmp_path / "out" / "probe.json").read_text())["images"] == 6
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(InputError, match="is not the folder of a probe"):
        probe(PLANTED, colours, overwrite=True, **options | {"out": tmp_path / "mine"})


def test_file_names_that_look_like_html_are_text(colours, tmp_path):
    nasty = tmp_path / "<script>alert(1)<"
    nasty.mkdir()
    name = nasty / "m.csv"
    copied(colours, tmp_path, lambda frame: frame).rename(name)
    probe(Model("<script>x", PAIR, saturation, size=32), name, interventions=["gray"], out=tmp_path / "out", **FEW)
    for file in ("probe.md", "probe.svg"):
        text = (tmp_path / "out" / file).read_text()
        assert "<script" not in text
        assert "&lt;script&gt;x" in text
    assert set(pd.read_parquet(tmp_path / "out" / "predictions.parquet")["model"]) == {"<script>x"}


# -------------------------------------------------------------------------------------------- the page


def test_the_python_of_the_page_runs(colours, monkeypatch, capsys):
    monkeypatch.chdir(colours.parent)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(code.strip().splitlines()) <= 14
    code = code.replace("faces.csv", "m.csv")
    exec(compile(code, "probe.md", "exec"), {})  # the page is ours
    assert "leans on colour" in capsys.readouterr().out


def test_the_commands_of_the_page_run_in_their_order(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    lines = [line for kind, block in blocks if not kind for line in block.replace("\\\n", "").splitlines()]
    assert [line.split()[1] for line in lines] == [
        *("generate", "split", "train", "train", "probe"),
        *("generate", "train", "train", "probe"),
    ]
    small = {
        "generate faces": ["--subjects", "2", "--size", "32"],
        "generate scenes": ["--images", "240"],
        "train": ["--epochs", "1", "--size", "32"],
        "probe": ["--limit", "6", "--replicates", "100", "--accelerator", "cpu"],
    }
    for line in lines:
        words = shlex.split(line)[1:]
        more = small.get(words[0], small.get(" ".join(words[:2]), []))
        assert main(words + more) == 0, line
    faces, scenes = (json.loads(Path(f"runs/{name}/probe.json").read_text()) for name in ("probe", "background"))
    assert set(faces["skipped"]) == {"background", "mask"}
    whole, person = scenes["models"]
    assert [row["flip"]["value"] for row in person["doses"] if row["intervention"] == "background"] == [0, 0, 0]
    assert any(row["shift"]["value"] > 0 for row in whole["doses"] if row["intervention"] == "background")


def test_the_page_names_every_intervention_with_its_strengths():
    for name, each in INTERVENTIONS.items():
        (line,) = re.findall(rf"^\| `{name}` \|([^|]*)\|", PAGE, re.MULTILINE)
        told = [float(number) for number in re.findall(r"[\d.]+", line.rpartition(":")[2])]
        assert told == ([] if name == "mirror" else list(each.strengths)), name
