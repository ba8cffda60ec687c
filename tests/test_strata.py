"""`emodo strata`: a column that any method takes, from style, from a reference's errors, or from contexts."""

import hashlib
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from emodo import confounders, manifest, runs
from emodo.__main__ import main
from emodo.data import Images, define_task
from emodo.inference import predict
from emodo.methods import ERM, Disentanglement
from emodo.networks import create_backbone
from emodo.records import InputError, Task
from emodo.strata import strata
from emodo.training import train
from emodo.weights import fingerprint

NET = {"backbone": "small", "size": 32, "accelerator": "cpu"}


def read(file):
    return pd.read_csv(file, dtype=str)


@pytest.fixture(scope="session")
def erm(faces, tmp_path_factory):
    """A reference of one epoch, which still makes mistakes in training."""
    folder = tmp_path_factory.mktemp("runs")
    return train(faces, ERM(lr=1e-3), run=folder / "erm", **NET, augmentation="none", epochs=1, batch_size=16)


@pytest.fixture(scope="session")
def disentanglement(faces, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    method = Disentanglement(channels=16, init="default")
    return train(faces, method, run=folder / "run", **NET, augmentation="none", epochs=1, batch_size=16)


def with_boxes(faces, out, rows=slice(None)):
    """The same images with a person's box in the middle, in some of the rows."""
    frame = manifest.load(faces)
    for name, value in (("x1", 8), ("y1", 8), ("x2", 24), ("y2", 24)):
        frame[name] = np.nan
        frame.loc[frame.index[rows], name] = value
    manifest.save(frame, out)
    return out


# ------------------------------------------------------------------------------------------ clusters


def test_clusters_of_an_untrained_net_find_the_three_sources(faces, tmp_path, capsys):
    out = strata(faces, tmp_path / "out.csv", clusters=3, **NET)
    frame = read(out)
    shown = capsys.readouterr()
    assert sorted(set(frame["stratum"])) == ["cluster1", "cluster2", "cluster3"]
    assert adjusted_rand_score(frame["source"], frame["stratum"]) > 0.6
    assert abs(adjusted_rand_score(frame["emotion"], frame["stratum"])) < 0.1
    assert "stability over three seeds: adjusted Rand index" in shown.out
    assert "adjusted Rand index with known columns: emotion" in shown.out
    task = define_task(manifest.load(out), out, None, None, needs_strata=True)
    assert task.strata == ("cluster1", "cluster2", "cluster3")


def test_a_run_that_learned_other_labels_describes_the_images_all_the_same(erm, faces, tmp_path):
    frame = manifest.load(faces)
    manifest.save(frame.assign(emotion=np.where(frame["emotion"] == "happiness", "joy", "awe")), tmp_path / "in.csv")
    out = strata(tmp_path / "in.csv", tmp_path / "out.csv", run=erm, clusters=2, accelerator="cpu")
    assert set(read(out)["emotion"]) == {"joy", "awe"}
    with pytest.raises(InputError, match="unknown emotion 'awe'"):
        strata(tmp_path / "in.csv", tmp_path / "wrong.csv", by="errors", run=erm, accelerator="cpu")


def test_the_number_of_clusters_is_chosen_by_silhouette_and_the_table_counts_the_training_rows(faces, tmp_path, capsys):
    frame = read(strata(faces, tmp_path / "out.csv", **NET))
    out = capsys.readouterr().out
    table = [line.split() for line in out.split("clusters  silhouette\n")[1].split("\n\n")[0].splitlines()]
    assert [int(line[0]) for line in table] == list(range(2, 11))
    [best] = [int(line[0]) for line in table if line[-1] == "<-"]
    assert best == frame["stratum"].nunique()
    assert float(table[best - 2][1]) == max(float(line[1]) for line in table)
    training = frame[frame["split"] == "train"]
    [first] = [line.split() for line in out.splitlines() if line.startswith("cluster1 ")]
    emotions = sorted(set(frame["emotion"]))
    own = training[training["stratum"] == "cluster1"]
    assert [int(n) for n in first[1:7]] == [(own["emotion"] == emotion).sum() for emotion in emotions]
    assert int(first[7]) == len(own)
    assert first[8] == f"{len(own) / len(training):.3f}"
    cells = pd.crosstab(training["stratum"], training["emotion"])
    assert f"{(cells == 0).to_numpy().sum()} of {cells.size} cells" in out


def test_the_same_seed_gives_the_same_file(faces, tmp_path):
    one, two = (strata(faces, tmp_path / f"{i}.csv", clusters=4, seed=7, **NET) for i in range(2))
    assert one.read_bytes() == two.read_bytes()


def test_what_is_tested_decides_no_cluster(faces, tmp_path):
    frame = manifest.load(faces)
    part = tmp_path / "part.csv"
    manifest.save(frame[frame["split"] == "train"], part)
    whole = read(strata(faces, tmp_path / "whole.csv", clusters=3, **NET))
    alone = read(strata(part, tmp_path / "alone.csv", clusters=3, **NET))
    assert whole.loc[whole["split"] == "train", "stratum"].tolist() == alone["stratum"].tolist()
    assert whole["stratum"].notna().all()


def test_a_manifest_without_a_split_is_clustered_whole(faces, tmp_path):
    source = faces.parent / "manifest.csv"
    frame = read(strata(source, tmp_path / "out.csv", clusters=3, **NET))
    assert "split" not in frame
    assert frame["stratum"].notna().all()


def test_a_runs_backbone_is_used_with_the_runs_size(faces, erm, tmp_path):
    frame = read(strata(faces, tmp_path / "out.csv", run=erm, clusters=3, accelerator="cpu"))
    assert frame["stratum"].nunique() == 3


def test_of_a_disentangling_run_the_context_features_are_clustered(faces, disentanglement, tmp_path, monkeypatch):
    seen = {}

    def note(blocks, train):
        seen["blocks"] = blocks
        return np.concatenate(blocks, axis=1)

    monkeypatch.setattr("emodo.clusters.standardised", note)
    strata(faces, tmp_path / "out.csv", run=disentanglement, clusters=2, accelerator="cpu")
    method = runs.load_method(disentanglement)
    frame = manifest.load(faces)
    with torch.no_grad():
        image = Images(frame, Task(()), 32)[5][0]["images"][None]
        maps = method.context_generator(method.backbone(image))[0].flatten(1)
    [block] = seen["blocks"]
    expected = [*maps.mean(dim=1), *((maps - maps.mean(dim=1, keepdim=True)) ** 2).mean(dim=1).sqrt()]
    np.testing.assert_allclose(block[5], expected, rtol=1e-3, atol=1e-5)


# ----------------------------------------------------------------------------------------- dictionary


def test_a_dictionary_holds_the_mean_context_of_each_cluster(faces, tmp_path, capsys):
    boxed = with_boxes(faces, tmp_path / "boxed.csv")
    out = strata(boxed, tmp_path / "out.csv", by="dictionary", clusters=5, **NET)
    shown = capsys.readouterr()
    assert "out.safetensors: 5 prototypes" in shown.err
    assert "no box" not in shown.err
    confounder = confounders.load(tmp_path / "out.safetensors")
    frame = manifest.load(out)
    assert confounder.column == "stratum"
    assert confounder.strata == tuple(f"cluster{i}" for i in range(1, 6))
    training = frame[frame["split"] == "train"]
    assert confounder.prior == pytest.approx([(training["stratum"] == s).mean() for s in confounder.strata])

    torch.manual_seed(0)
    net = create_backbone("small", 32, False).eval()
    images = Images(training, Task(()), 32, views=("context",), crop=False)
    with torch.no_grad():
        features = torch.stack([net(images[i][0]["context"][None])[0].mean(dim=(1, 2)) for i in range(len(training))])
    for i, stratum in enumerate(confounder.strata):
        mean = features[torch.tensor((training["stratum"] == stratum).to_numpy(copy=True))].mean(dim=0)
        torch.testing.assert_close(confounder.prototypes[i], mean, rtol=1e-4, atol=1e-6)
    assert "small" in confounder.how
    made = confounder.provenance
    assert made["manifest_sha256"] == hashlib.sha256(boxed.read_bytes()).hexdigest()
    assert made["weights_sha256"] == fingerprint(net)
    expected = {"backbone": "small", "view": "context", "clusters": "5", "components": "50", "seed": "0", "size": "32"}
    assert expected.items() <= made.items()
    assert made["torch"] == version("torch")


def test_where_there_is_no_box_nothing_is_masked_and_it_is_said(faces, tmp_path, capsys):
    some = with_boxes(faces, tmp_path / "some.csv", slice(10))
    strata(some, tmp_path / "out.csv", by="dictionary", clusters=2, **NET)
    assert f"some.csv: {len(read(some)) - 10} of {len(read(some))} rows have no box" in capsys.readouterr().err
    assert set(read(tmp_path / "out.csv")["x1"].dropna()) == {"8.0"}  # the manifest's boxes stay as they were


def test_a_large_dictionary_is_streamed_and_is_the_same(faces, tmp_path, monkeypatch):
    held = strata(faces, tmp_path / "held.csv", by="dictionary", clusters=3, **NET)
    monkeypatch.setattr("emodo.clusters.IN_MEMORY", 50)
    monkeypatch.setattr("emodo.clusters.PIECE", 20)
    streamed = strata(faces, tmp_path / "streamed.csv", by="dictionary", clusters=3, **NET)
    one, two = read(held), read(streamed)
    assert adjusted_rand_score(one["stratum"], two["stratum"]) == 1
    assert confounders.load(tmp_path / "streamed.safetensors").prototypes.shape == (3, 128)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "held.csv",
        "held.safetensors",
        "streamed.csv",
        "streamed.safetensors",
    ]


# --------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("rule", ["jtt", "eiil"])
def test_errors_are_strata_of_the_training_rows(faces, erm, tmp_path, rule):
    out = strata(faces, tmp_path / "out.csv", by="errors", rule=rule, run=erm, accelerator="cpu")
    frame = read(out)
    training = frame[frame["split"] == "train"]
    assert frame.loc[frame["split"] == "test", "stratum"].isna().all()
    task, loaded = runs.task(erm), manifest.load(faces)
    said = predict(runs.load_method(erm), task, loaded[loaded["split"] == "train"], 32, accelerator="cpu")
    if rule == "jtt":
        assert ((training["stratum"] == "wrong").to_numpy() == (said["predicted"] != said["emotion"])).all()
        assert set(training["stratum"]) == {"right", "wrong"}
    else:
        logits = torch.tensor(said[[f"logit:{e}" for e in task.emotions]].to_numpy(copy=True))
        label = torch.tensor([task.emotions.index(e) for e in said["emotion"]])
        slope = (logits.softmax(1) * logits).sum(1) - logits[torch.arange(len(label)), label]
        assert ((training["stratum"] == "environment2").to_numpy() == (slope > 0).numpy()).all()
        assert set(training["stratum"]) == {"environment1", "environment2"}
    assert define_task(manifest.load(out), out, None, None, needs_strata=True).strata == tuple(
        sorted(set(training["stratum"]))
    )


def test_a_reference_without_mistakes_tells_nothing_apart(faces, erm, tmp_path, monkeypatch):
    def perfect(method, task, frame, *rest):
        return pd.DataFrame({"emotion": frame["emotion"].to_numpy(), "predicted": frame["emotion"].to_numpy()})

    monkeypatch.setattr("emodo.inference.predict", perfect)
    with pytest.raises(InputError, match=r"training images are 'right' to .*few epochs"):
        strata(faces, tmp_path / "out.csv", by="errors", run=erm, accelerator="cpu")
    assert not (tmp_path / "out.csv").exists()


# -------------------------------------------------------------------------------------------- columns


def test_a_column_or_a_product_becomes_strata(faces, tmp_path, capsys):
    out = strata(faces, tmp_path / "source.csv", by="column", column=["source"])
    frame = read(out)
    assert (frame["stratum"] == frame["source"]).all()
    shown = capsys.readouterr().out
    assert "source 1.00" in shown
    assert "P(d)" in shown
    people = manifest.load(faces)
    ages = [str(15 + i % 60) if i % 9 else None for i in range(len(people))]
    manifest.save(people.assign(age=ages), tmp_path / "people.csv")
    words = [
        "strata",
        "people.csv",
        "out.csv",
        "--by",
        "column",
        "--column",
        "source",
        "age",
        "--bins",
        "18",
        "40",
        "60",
    ]
    words = [str(tmp_path / word) if word.endswith(".csv") else word for word in words]
    assert main(words) == 0
    frame = read(tmp_path / "out.csv")
    for source, age, stratum in zip(frame["source"], frame["age"], frame["stratum"], strict=True):
        group = (
            "unknown age"
            if pd.isna(age)
            else next(
                name for name, low in (("60+", 60), ("40-60", 40), ("18-40", 18), ("under 18", 0)) if int(age) >= low
            )
        )
        assert stratum == f"{source} x {group}"


def test_where_nobody_is_known_agreement_is_told_of_those_who_are(faces, tmp_path, capsys):
    people = manifest.load(faces)
    known = people["subject"].where(np.arange(len(people)) % 2 == 0)
    manifest.save(people.assign(subject=known), tmp_path / "in.csv")
    strata(tmp_path / "in.csv", tmp_path / "out.csv", by="column", column=["subject"])
    assert "subject 1.00" in capsys.readouterr().out
    manifest.save(people.assign(subject=None), tmp_path / "none.csv")
    strata(tmp_path / "none.csv", tmp_path / "o.csv", by="column", column=["source"])
    assert "subject" not in capsys.readouterr().out


# ------------------------------------------------------------------------------------ the command line


def test_the_command_line_prints_data_on_stdout_and_the_rest_on_stderr(faces, tmp_path, capsys):
    words = ["strata", faces, tmp_path / "out.csv", "--clusters=2", "--backbone=small", "--size=32"]
    assert main([str(word) for word in words]) == 0
    shown = capsys.readouterr()
    assert shown.out.endswith(f"{tmp_path / 'out.csv'}\n")
    assert not shown.err
    assert main([str(word) for word in words]) == 2
    assert "exists already" in capsys.readouterr().err
    again = [str(tmp_path / "out.csv") if word == faces else str(word) for word in words]
    assert main([*again, "--overwrite"]) == 0
    assert "the column stratum of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clusters": 1}, "--clusters is 1: it must be 2 or more"),
        ({"components": 0}, "--components is 0: it must be 1 or more"),
        ({"batch_size": 0}, "--batch_size is 0"),
        ({"size": 8}, "--size is 8: it must be 16 or more"),
        ({"clusters": 500}, r"fold1.csv has \d+ training images, fewer than 500 clusters"),
        ({"by": "dictionary"}, r"fewer than 256 clusters: ask for fewer with --clusters"),
        ({"by": "errors"}, "--by errors needs a reference"),
        ({"by": "column"}, "--by column needs a column that holds the strata: .* with --column"),
        ({"by": "column", "column": ["age"]}, "fold1.csv has no column 'age'"),
        ({"by": "degradation"}, "--by degradation needs to know which: .* with --of"),
        ({"by": "degradation", "of": ["blur"], "view": "context"}, "--view context cannot be measured"),
        ({"backbone": "resnetty"}, "no backbone is called 'resnetty'"),
        ({"run": "nowhere"}, "nowhere is not a run"),
        ({"by": "errors", "run": "nowhere"}, "nowhere is not a run"),
        ({"emotions": ["joy"]}, "unknown emotion 'anger'"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(faces, tmp_path, options, message):
    from pathlib import Path

    options = {**NET, **options}
    if "run" in options:
        options["run"] = Path(options["run"])
    with pytest.raises(InputError, match=message):
        strata(faces, tmp_path / "out.csv", **options)
    assert not list(tmp_path.iterdir())


def test_a_broken_image_is_named_before_anything_is_written(faces, tmp_path):
    frame = manifest.load(faces)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    frame.loc[3, "file"] = str(broken)
    manifest.save(frame, tmp_path / "in.csv")
    with pytest.raises(InputError, match=r"in\.csv, row 4: the image broken\.png is empty"):
        strata(tmp_path / "in.csv", tmp_path / "out.csv", clusters=2, **NET)
    assert not (tmp_path / "out.csv").exists()


def test_a_split_without_training_rows_is_refused(faces, tmp_path):
    frame = manifest.load(faces)
    manifest.save(frame.assign(split="test"), tmp_path / "in.csv")
    with pytest.raises(InputError, match="no row whose split is `train`"):
        strata(tmp_path / "in.csv", tmp_path / "out.csv", **NET)


def test_an_existing_dictionary_is_kept(faces, tmp_path):
    (tmp_path / "out.safetensors").write_text("somebody's")
    with pytest.raises(InputError, match=r"out.safetensors exists already"):
        strata(faces, tmp_path / "out.csv", by="dictionary", clusters=3, **NET)
    assert (tmp_path / "out.safetensors").read_text() == "somebody's"
