"""On generated faces whose bias is known, the audit names it, and names none where there is none: 20 seeds each."""

import numpy as np
import pytest

from emodo import manifest
from emodo.audit import examine
from emodo.records import Reading
from emodo.splits import table1
from emodo.synthetic.faces import generate
from emodo.telling import looks

SEEDS = range(20)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """432 faces of 24 people for each seed, with columns that have nothing to do with the emotion."""
    folder = tmp_path_factory.mktemp("faces")

    def drawn(seed):
        frame = manifest.load(generate(folder / str(seed), subjects=8, size=48, seed=seed))
        random = np.random.default_rng(seed)
        subject, sequence = (frame.groupby(by).ngroup().to_numpy() for by in ("subject", "sequence"))
        return frame.assign(
            age=random.integers(18, 80, subject.max() + 1)[subject].astype(str),
            camera=random.choice(["a", "b"], sequence.max() + 1)[sequence],
            rater=random.choice(["kim", "lou", "mia"], len(frame)),
        )

    return [drawn(seed) for seed in SEEDS]


def audited(frame, folder):
    reading = Reading(folder / "m.csv", 224, 50_000_000, 64, 0, "cpu")
    return examine(frame, folder / "m.csv", features=lambda rows: looks(rows, reading), how="looks")["columns"]


def test_the_planted_confounder_comes_first_among_seven_columns(faces, tmp_path):
    ranked = [audited(table1(frame, fold=1), tmp_path) for frame in faces]
    print("told, at least:", [round(columns[0]["image"]["low"], 2) for columns in ranked])
    print("p:", [round(columns[0]["association"]["p_holm"], 4) for columns in ranked])
    print("second:", [f"{columns[1]['column']} {columns[1]['danger']:.2f}" for columns in ranked])
    assert {len(columns) for columns in ranked} == {7}
    assert [columns[0]["column"] for columns in ranked] == ["source"] * len(SEEDS)
    assert all(
        columns[0]["biased"] and columns[0]["image"]["low"] > columns[0]["image"]["chance"] for columns in ranked
    )


@pytest.mark.parametrize("kept", [1.0, 0.5])
def test_without_bias_no_column_is_named_in_19_of_20(faces, tmp_path, kept):
    """Whole, every subject shows every emotion; of half of the sequences at random, cells differ by chance."""
    named = []
    for seed, frame in zip(SEEDS, faces, strict=True):
        sequence = frame.groupby("sequence").ngroup().to_numpy()
        chosen = np.random.default_rng(seed).random(sequence.max() + 1) < kept
        columns = audited(frame.loc[chosen[sequence]].reset_index(drop=True), tmp_path)
        named.append(" ".join(one["column"] for one in columns if one["biased"]))
    print(f"{kept} of the sequences:", named)
    assert sum(map(bool, named)) <= 1
