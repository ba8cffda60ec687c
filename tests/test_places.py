"""Scenes by a network of the Places365 project, from files in its formats, and scenes that are there already."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import torchvision
from PIL import Image
from sklearn.metrics import adjusted_rand_score
from torch.nn import functional as F

from emodo import manifest, places
from emodo.__main__ import main
from emodo.data import define_task, look_at
from emodo.records import InputError, Reading
from emodo.strata import strata
from emodo.synthetic.scenes import SCENES, generate
from released import categories, checkpoint, glove, group, inside_or_out, meanings, numbered, setting

CLASSES = tuple(SCENES)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Manifest of 72 generated scenes."""
    return generate(tmp_path_factory.mktemp("drawn") / "scenes", images=72, size=64, validation=0)


@pytest.fixture(scope="module")
def files(tmp_path_factory, drawn):
    """The four files; the network's last layer is solved for, so that it knows the scenes of these very images."""
    folder = tmp_path_factory.mktemp("places365")
    torch.manual_seed(0)
    net = timm.create_model("test_resnet", num_classes=12).eval()
    frame = manifest.load(drawn)
    with torch.no_grad():
        seen = torch.cat(list(look_at(frame, places.prepare, 30, 0)))
        pooled = net.forward_head(net.forward_features(seen), pre_logits=True).double()  # [72, 96]
        known = F.one_hot(torch.tensor([CLASSES.index(scene) for scene in frame["scene"]]), 12).double() - 1 / 12
        middle, spread = pooled.mean(dim=0), pooled.std(dim=0).clamp_min(1e-6)
        table = (pooled - middle) / spread
        weight = torch.linalg.solve(table.T @ table + 0.01 * torch.eye(96), table.T @ known).T / spread  # [12, 96]
        net.fc.weight.copy_(weight)
        net.fc.bias.copy_(-weight @ middle)
    return {
        "network": checkpoint(folder / "resnet_places365.pth.tar", net, "test_resnet"),
        "categories": categories(folder / "categories_places365.txt"),
        "io": inside_or_out(folder / "IO_places365.txt"),
        "vectors": glove(folder / "glove.txt", meanings()),
    }


def without(files, *names):
    return {name: file for name, file in files.items() if name not in names}


def test_scenes_are_predicted_grouped_by_meaning_and_kept_for_another_try(drawn, files, tmp_path, capsys, monkeypatch):
    out = strata(drawn, tmp_path / "out.csv", by="scene", clusters=5, keep=5, accelerator="cpu", **files)
    shown = capsys.readouterr()
    assert "predicted anew, and replaced: scene" in shown.err
    known, frame = manifest.load(drawn), manifest.load(out)
    assert (frame["scene"] == known["scene"]).mean() > 0.95
    assert adjusted_rand_score([group(scene) for scene in known["scene"]], frame["stratum"]) >= 0.9
    assert "stability over three seeds: adjusted Rand index 1.00" in shown.out
    assert "printed" in shown.out
    assert "importance" in shown.out
    assert len(define_task(frame, out, None, None, needs_strata=True).strata) == 5

    monkeypatch.setattr("emodo.places.network", None)  # no network now
    again = strata(
        out, tmp_path / "again.csv", by="scene", clusters=6, keep=2, **without(files, "network", "categories")
    )
    second = manifest.load(again)
    assert second["scene"].equals(frame["scene"])
    assert {"indoor", "outdoor"} < set(second["stratum"])
    assert second["stratum"].nunique() == 4


def test_the_scenes_of_a_column_recover_their_groups(drawn, files, tmp_path):
    frame = manifest.load(drawn)
    manifest.save(frame.rename(columns={"scene": "place"}), tmp_path / "in.csv")
    few = without(files, "network", "categories")
    out = strata(tmp_path / "in.csv", tmp_path / "out.csv", by="scene", scenes="place", clusters=5, keep=5, **few)
    found = manifest.load(out)
    assert "scene" not in found
    assert adjusted_rand_score([group(scene) for scene in frame["scene"]], found["stratum"]) == 1


def test_which_clusters_are_kept_is_what_the_training_rows_say(drawn, files, tmp_path):
    out = strata(drawn, tmp_path / "o.csv", by="scene", clusters=5, keep=2, **without(files, "network", "categories"))
    frame = manifest.load(out)
    train = frame[frame["split"] == "train"]
    score = {}
    for name, rows in train.groupby(train["scene"].map(group)):
        p = (rows["emotion"] == "positive").mean()
        terms = [x * np.log2(2 * x) for x in (p, 1 - p) if x]
        score[name] = len(rows) / len(train) * sum(terms)
    kept = sorted(score, key=score.get)[-2:]
    expected = [group(scene) if group(scene) in kept else setting(scene) for scene in frame["scene"]]
    assert adjusted_rand_score(expected, frame["stratum"]) == 1


def test_the_network_sees_the_whole_image_as_the_project_shows_it(drawn, files, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (90, 60, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    frame = pd.DataFrame({"path": ["a.png"], "emotion": ["joy"], "x1": 5, "y1": 5, "x2": 20, "y2": 20})
    frame.to_csv(tmp_path / "m.csv", index=False)
    [seen] = look_at(manifest.load(tmp_path / "m.csv"), places.prepare, 1, 0)
    with Image.open(tmp_path / "a.png") as image:
        resized = np.asarray(image.resize((256, 384), Image.Resampling.BILINEAR), np.float32) / 255
    middle = torch.tensor(resized[80:304, 16:240]).permute(2, 0, 1)
    expected = (middle - torch.tensor(places.MEAN)[:, None, None]) / torch.tensor(places.STD)[:, None, None]
    assert seen.shape == (1, 3, 224, 224)
    assert (seen[0] - expected).abs().max() < 0.02  # a rounded gray level is 1/255, over a deviation of 0.22

    net = places.network(files["network"], 12)
    reading = Reading(drawn, 224, 50_000_000, 16, 0, "cpu")
    rows = manifest.load(drawn).iloc[:9]
    with torch.no_grad():
        best = net(torch.cat(list(look_at(rows, places.prepare, 4, 0)))).argmax(dim=1)
    assert places.predict(rows, net, CLASSES, reading).tolist() == [CLASSES[i] for i in best]


# --------------------------------------------------------------------------------------------- files


def test_the_files_of_the_project_are_read(tmp_path):
    scenes = {"airfield": 0, "basketball_court/indoor": 2, "stage/outdoor": 1}
    file = numbered(tmp_path / "categories.txt", scenes)
    assert file.read_bytes().startswith(b"/a/airfield 0\n/b/basketball_court/indoor 2\n")
    assert not file.read_bytes().endswith(b"\n")
    assert places.categories(file) == ("airfield", "stage/outdoor", "basketball_court/indoor")
    io = numbered(tmp_path / "io.txt", {"airfield": 2, "stage/indoor": 1})
    assert places.settings(io) == {"airfield": "outdoor", "stage/indoor": "indoor"}


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (places.categories, "/a/airfield 1", "does not number its 1 scenes 0 to 0"),
        (places.categories, "/a/airfield 0\n/a/alley 0", "does not number its 2 scenes"),
        (places.categories, "/a/airfield 0\nalley 1", "line 2: 'alley 1' is no scene with its number"),
        (places.categories, "<html>", "line 1: '<html>' is no scene"),
        (places.categories, "", "holds no scene"),
        (places.categories, "/a/alley 0\n/a/alley 1", "line 2: the scene 'alley' is there twice"),
        (places.settings, "/a/airfield 0", "gives 'airfield' the number 0: 1 is indoor, 2 is outdoor"),
        (places.settings, None, "there is no file .*: it is part of the Places365 project"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, read, text, message):
    file = tmp_path / "file.txt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=message):
        read(file)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_the_projects_networks_are_torchvisions(arch, tmp_path):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, arch)(num_classes=7).eval()
    torch.save({"arch": arch, "state_dict": theirs.state_dict()}, tmp_path / "net.pth.tar")
    ours = places.network(tmp_path / "net.pth.tar", 7)
    assert not ours.training
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image), rtol=1e-4, atol=1e-5)


def test_a_network_that_is_none_of_the_project_is_refused(files, tmp_path):
    with pytest.raises(InputError, match=r"does not fit test_resnet with 365 scenes: 2 of .* the first is fc\.weight"):
        places.network(files["network"], 365)
    for number, content in enumerate([{}, {"arch": "resnet9999", "state_dict": {}}, {"arch": "vgg16"}]):
        torch.save(content, tmp_path / f"{number}.pth.tar")
        with pytest.raises(InputError, match=r"is no network of Places365 that emodo knows .*use the project's"):
            places.network(tmp_path / f"{number}.pth.tar", 12)


# --------------------------------------------------------------------------------- what is lacking


def test_all_that_lacks_is_named_with_where_it_comes_from(drawn, tmp_path, capsys):
    frame = manifest.load(drawn)
    manifest.save(frame.drop(columns="scene"), tmp_path / "in.csv")
    assert main(["strata", str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), "--by", "scene"]) == 2
    said = capsys.readouterr().err
    for word in (
        "--scenes",
        "--network",
        "resnet18_places365.pth.tar",
        "--io",
        "IO_places365.txt",
        "--vectors",
        "github.com/CSAILVision/places365",
        "nlp.stanford.edu/projects/glove",
    ):
        assert word in said
    assert "--categories" not in said  # which only a network needs
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"categories": None}, r"lacks the scenes' order, categories_places365.txt \(--categories\)\. The project"),
        ({"io": None}, r"lacks which scenes are indoors, IO_places365.txt \(--io\)\. The project"),
        ({"scenes": "scene"}, "--network predicts the column scene, and --scenes names one"),
        ({"network": None, "scenes": "place"}, "has no column 'place' of scenes"),
        ({"network": Path("none.pth.tar")}, "there is no file none.pth.tar"),
        ({"clusters": 13}, "has 12 scene classes that differ by their vectors, fewer than 13 clusters"),
        ({"keep": 0}, "--keep is 0: it must be 1 or more"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(drawn, files, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        strata(drawn, tmp_path / "out.csv", by="scene", accelerator="cpu", **{"clusters": 5, **files, **change})
    assert not list(tmp_path.iterdir())


def test_classes_that_the_other_file_does_not_know_are_refused(drawn, files, tmp_path):
    io = inside_or_out(tmp_path / "io.txt", CLASSES[:10])
    with pytest.raises(InputError, match=r"io.txt has no scene 'mountain_snowy', which .*categories_places365.txt has"):
        strata(drawn, tmp_path / "out.csv", by="scene", clusters=5, accelerator="cpu", **{**files, "io": io})


def test_a_scene_that_nobody_knows_is_named_by_row(drawn, files, tmp_path):
    few = without(files, "network", "categories")
    frame = manifest.load(drawn)
    frame.loc[4, "scene"] = "kitchn"
    manifest.save(frame, tmp_path / "in.csv")
    with pytest.raises(InputError, match=r"in.csv, row 5: the scene 'kitchn' is not in .*did you mean 'kitchen'\?"):
        strata(tmp_path / "in.csv", tmp_path / "out.csv", by="scene", clusters=5, **few)
    frame.loc[4, "scene"] = None
    manifest.save(frame, tmp_path / "in.csv")
    with pytest.raises(InputError, match=r"row 5: no scene in column 'scene' \(1 such rows\)"):
        strata(tmp_path / "in.csv", tmp_path / "out.csv", by="scene", clusters=5, **few)


def test_words_that_are_missing_are_named(drawn, files, tmp_path, capsys):
    vectors = {word: vector for word, vector in meanings().items() if word not in ("snowy", "amusement")}
    few = without(files, "network", "categories") | {"vectors": glove(tmp_path / "few.txt", vectors)}
    strata(drawn, tmp_path / "out.csv", by="scene", clusters=5, **few)
    assert "few.txt has no amusement, snowy: other words of these scenes stand for them" in capsys.readouterr().err
