"""The generated faces are as hard as they should be: easy within, confounded across, the source easily seen."""

import pandas as pd
import pytest

from emodo import demo, runs
from emodo.manifest import load, save
from emodo.methods import ERM
from emodo.metrics import pool, score
from emodo.splitting import split_random, split_table1
from emodo.synthetic.faces import generate
from emodo.training import train


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("calibration") / "faces")


def trained(manifest, name, **options):
    return train(manifest, ERM(**demo.RATES), run=manifest.parent.parent / name, **demo.SETTINGS, **options)


def test_at_random_erm_recognises_the_emotion(faces):
    run = trained(split_random(faces, faces.parent / "random.csv"), "random")
    accuracy = runs.scores(run)["accuracy"]
    print(f"random split: {accuracy:.3f}")
    assert accuracy >= 0.95


def test_over_the_folds_of_table_1_erm_fails(faces):
    folds = [
        trained(split_table1(faces, faces.parent / f"fold{fold}.csv", fold=fold), f"fold{fold}") for fold in (1, 2, 3)
    ]
    each = [runs.scores(run)["accuracy"] for run in folds]
    pooled = score(pool([runs.predictions(run) for run in folds]), runs.task(folds[0]))["accuracy"]
    print(f"Table 1: {pooled:.3f} pooled, folds {', '.join(f'{accuracy:.3f}' for accuracy in each)}")
    assert 0.25 <= pooled <= 0.45


def test_the_source_is_easily_recognised(faces):
    manifest = split_random(faces, faces.parent / "sources.csv")
    frame = load(manifest)
    sources = sorted(frame["source"].unique())
    # the emotion column holds what is to be learnt: here the source, which then cannot be the confounder
    save(frame.assign(emotion=frame["source"]).drop(columns="source"), manifest)
    assert set(pd.read_csv(manifest)["emotion"]) == set(sources)
    accuracy = runs.scores(trained(manifest, "sources", emotions=sources))["accuracy"]
    print(f"source: {accuracy:.3f}")
    assert accuracy >= 0.90
