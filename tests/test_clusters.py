"""Clusters, dictionaries and environments from arrays whose strata are known."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from emodo import clusters as module
from emodo import confounders
from emodo.clusters import Streamed, cluster, environments, prototypes, standardise, standardised
from emodo.records import InputError

NAME = Path("faces.csv")


def groups(n=60, width=12, strata=3, seed=0):
    """Features of `strata` well separated groups, of unequal size, with their labels."""
    random = np.random.default_rng(seed)
    labels = random.choice(strata, n, p=np.arange(strata, 0, -1) / (strata * (strata + 1) / 2))
    centers = random.normal(0, 4, (strata, width))
    return (centers[labels] + random.normal(0, 0.5, (n, width))).astype(np.float32), labels


def same(names, labels):
    """Whether two partitions are one."""
    return len(set(zip(names, labels, strict=True))) == len(set(names)) == len(set(labels))


@pytest.mark.parametrize("clusters", [None, 3])
def test_separate_groups_are_found_and_named_by_their_size(clusters):
    features, labels = groups()
    found = cluster(features, np.ones(60, bool), NAME, clusters, 5, 0)
    assert same(found.names, labels)
    names, sizes = np.unique(found.names, return_counts=True)
    assert names.tolist() == ["cluster1", "cluster2", "cluster3"]
    assert sizes.tolist() == sorted(sizes, reverse=True)
    assert found.agreement == (1, 1, 1)
    assert 0.9 < found.kept <= 1
    assert sorted(found.silhouettes) == ([] if clusters else list(range(2, 11)))
    assert clusters or max(found.silhouettes, key=found.silhouettes.get) == 3


def test_clusters_are_fitted_on_the_training_rows_alone_and_given_to_all():
    features, labels = groups(80)
    train = np.arange(80) < 50
    found = cluster(features, train, NAME, 3, 5, 0)
    assert same(found.names, labels)
    moved = features.copy()
    moved[60:] += 100  # what is tested decides nothing
    again = cluster(moved, train, NAME, 3, 5, 0)
    assert (again.names[:60] == found.names[:60]).all()
    assert again.kept == found.kept


def test_a_seed_gives_the_same_clusters_again():
    random = np.random.default_rng(1)
    features = random.normal(0, 1, (90, 6)).astype(np.float32)  # nothing to find
    one, two = (cluster(features, np.ones(90, bool), NAME, 7, 6, 3) for _ in range(2))
    assert (one.names == two.names).all()
    assert one.agreement == two.agreement
    assert max(one.agreement) < 1  # and this is what instability looks like


def test_ten_clusters_or_more_are_named_in_the_order_of_the_alphabet():
    features = np.repeat(np.eye(12, dtype=np.float32) * 9, 12, axis=0)[: 12 * 11 + 1]
    features += np.random.default_rng(0).normal(0, 0.01, features.shape).astype(np.float32)
    names, sizes = np.unique(cluster(features, np.ones(133, bool), NAME, 12, 12, 0).names, return_counts=True)
    assert names[0] == "cluster01"
    assert sizes.tolist() == [12] * 11 + [1]


@pytest.mark.parametrize(
    ("rows", "clusters", "message"),
    [
        (4, 5, "faces.csv has 4 training images, fewer than 5 clusters: ask for fewer with --clusters"),
        (2, None, "faces.csv has 2 training images, fewer than 3 clusters: they are too few to find any"),
    ],
)
def test_fewer_images_than_clusters_are_refused(rows, clusters, message):
    features, _ = groups(20)
    with pytest.raises(InputError, match=message):
        cluster(features, np.arange(20) < rows, NAME, clusters, 5, 0)


def test_the_same_image_again_is_no_further_image():
    features = np.repeat(groups(3)[0], 10, axis=0)
    with pytest.raises(InputError, match="has 3 training images that differ, fewer than 4 clusters"):
        cluster(features, np.ones(30, bool), NAME, 4, 5, 0)


def test_every_column_and_every_block_weighs_the_same():
    random = np.random.default_rng(0)
    narrow = random.normal(5, 1000, (40, 2)).astype(np.float32)
    wide = random.normal(0, 0.001, (40, 8)).astype(np.float32)
    wide[:, 3] = 7  # says nothing
    train = np.arange(40) < 30
    table = standardised([narrow, wide], train)
    assert table.shape == (40, 10)
    np.testing.assert_allclose(table[train].mean(axis=0), 0, atol=1e-5)
    variance = table[train].var(axis=0)
    np.testing.assert_allclose(variance[:2], 1 / 2, rtol=1e-4)
    np.testing.assert_allclose(np.delete(variance[2:], 3), 1 / 8, rtol=1e-3)
    assert not table[:, 5].any()


def test_a_dictionary_holds_the_means_of_the_clusters_and_their_shares(tmp_path):
    random = np.random.default_rng(0)
    features = random.normal(3, 2, (10, 4)).astype(np.float32)
    names = np.array(["b", "a", "b", "c", "b", "a", "b", "b", "c", "b"], object)
    confounder = prototypes(features, names, "by hand")
    assert confounder.strata == ("a", "b", "c")
    assert confounder.prior == (0.2, 0.6, 0.2)
    for i, name in enumerate("abc"):
        rows = [features[j].astype(float) for j in range(10) if names[j] == name]
        np.testing.assert_allclose(confounder.prototypes[i].numpy(), sum(rows) / len(rows), rtol=1e-6)
    confounders.save(confounder, tmp_path / "z.safetensors")
    again = confounders.load(tmp_path / "z.safetensors")
    assert again == confounder
    assert torch.equal(again.prototypes, confounder.prototypes)


def test_a_row_without_a_name_counts_for_no_prototype():
    features = np.arange(8, dtype=np.float32).reshape(4, 2)
    confounder = prototypes(features, np.array(["a", None, "b", "a"], object), "by hand", {"seed": "3"})
    assert confounder.prototypes.tolist() == [[3, 4], [4, 5]]
    assert confounder.prior == (2 / 3, 1 / 3)
    assert confounder.provenance == {"seed": "3"}


# ------------------------------------------------------------------------------------------- streamed


@pytest.fixture
def streamed(tmp_path, monkeypatch):
    """Features as a streamed table, read 16 rows at a time."""
    monkeypatch.setattr(module, "PIECE", 16)

    def write(features):
        table = Streamed(tmp_path, features.shape[1])
        for start in range(0, len(features), 7):
            table.append(features[start : start + 7])
        return table

    return write


def test_a_streamed_table_is_read_as_it_was_written(streamed, tmp_path):
    features, _ = groups()
    table = streamed(features)
    assert len(table) == 60
    for _ in range(2):
        rows, pieces = zip(*table.pieces(), strict=True)
        assert [(one.start, one.stop) for one in rows] == [(0, 16), (16, 32), (32, 48), (48, 60)]
        assert (np.concatenate(pieces) == features).all()
    assert not list(tmp_path.iterdir())


def test_streamed_components_are_those_of_the_whole_table(streamed):
    random = np.random.default_rng(0)
    features = (1000 + random.normal(0, 1, (90, 12)) * np.arange(1, 13)).astype(np.float32)
    train = np.arange(90) % 3 > 0
    train[:20] = False  # a whole piece is not for training
    held, kept = module._reduced(features, train, 5, 0)
    reduced, share = module._reduced(streamed(features), train, 5, 0)
    signs = np.sign((held * reduced).sum(axis=0))  # an axis has no direction
    np.testing.assert_allclose(reduced * signs, held, atol=0.02)
    assert share == pytest.approx(kept, rel=1e-4)


def test_streamed_groups_are_found_and_named_the_same_way(streamed):
    features, labels = groups(200)
    train = np.arange(200) < 150
    found = cluster(streamed(features), train, NAME, 3, 5, 0)
    held = cluster(features, train, NAME, 3, 5, 0)
    assert same(found.names, labels)
    assert found.names.tolist() == held.names.tolist()
    assert found.agreement == (1, 1, 1)
    assert found.kept == pytest.approx(held.kept, rel=1e-4)
    again = cluster(streamed(features), train, NAME, None, 5, 0)
    assert max(again.silhouettes, key=again.silhouettes.get) == 3
    assert again.names.tolist() == found.names.tolist()


def test_streamed_prototypes_are_the_means_in_the_original_space(streamed):
    features, labels = groups(100)
    names = np.array([None if i % 5 == 0 else "abc"[label] for i, label in enumerate(labels)], object)
    one, two = prototypes(features, names, ""), prototypes(streamed(features), names, "")
    assert one == two
    torch.testing.assert_close(one.prototypes, two.prototypes, rtol=1e-6, atol=1e-6)


def test_a_streamed_table_is_standardised_as_one_in_memory(streamed):
    random = np.random.default_rng(0)
    narrow, wide = random.normal(5, 1000, (40, 2)), random.normal(0, 0.001, (40, 8))
    wide[:, 3] = 7.3
    blocks = [block.astype(np.float32) for block in (narrow, wide)]
    train = np.arange(40) < 30
    table = streamed(np.concatenate(blocks, axis=1))
    standardise(table, [2, 8], train)
    read = np.concatenate([piece for _, piece in table.pieces()])
    held = standardised(blocks, train)
    np.testing.assert_allclose(read - read[train].mean(axis=0), held - held[train].mean(axis=0), rtol=1e-3, atol=1e-4)
    assert table.scale[5] == pytest.approx(1 / math.sqrt(8))  # what never changes is not blown up


def test_of_a_streamed_table_too_few_different_images_are_refused(streamed):
    features = np.repeat(groups(3)[0], 10, axis=0)
    with pytest.raises(InputError, match="has 3 training images that differ, fewer than 4 clusters"):
        cluster(streamed(features), np.ones(30, bool), NAME, 4, 5, 0)


# --------------------------------------------------------------------------------------- environments


def biased(n=400, emotions=2, strength=2.0, seed=0):
    """A reference that leans on a bias: logits favour the emotion that the bias points at, right 80 times in 100."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, emotions, n)
    agrees = random.random(n) < 0.8
    pointed = np.where(agrees, labels, (labels + 1) % emotions)
    logits = random.normal(0, 0.2, (n, emotions))
    logits[np.arange(n), pointed] += strength
    return logits, labels, agrees


@pytest.mark.parametrize("emotions", [2, 4])
def test_environments_are_where_the_bias_helps_and_where_it_misleads(emotions):
    logits, labels, agrees = biased(emotions=emotions)
    second = environments(logits, labels)
    assert (second == ~agrees).mean() > 0.98
    assert 0 < second.sum() < len(second)


def climbed(logits, labels, seed, steps=300):
    """EIIL as printed: soft assignments climb the IRM penalty with Adam, and are cut at 1/2."""
    torch.manual_seed(seed)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(torch.tensor(logits) * scale, torch.tensor(labels), reduction="none")
    # the loss of each row is differentiated once: both environments weigh the same slopes
    slopes = torch.stack([torch.autograd.grad(one, scale, retain_graph=True)[0] for one in loss])
    weights = torch.randn(len(labels), dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([weights], lr=0.05)
    for _ in range(steps):
        q = weights.sigmoid()
        penalty = (q * slopes).mean() ** 2 + ((1 - q) * slopes).mean() ** 2
        adam.zero_grad()
        (-penalty).backward()
        adam.step()
    return (weights > 0).numpy(), penalty.item()


@pytest.mark.parametrize("seed", range(3))
def test_environments_are_what_climbing_the_penalty_ends_in(seed):
    logits, labels, _ = biased(n=80, emotions=3, seed=seed)
    ours = environments(logits, labels)
    theirs, height = climbed(logits, labels, seed)
    assert (ours == theirs).all() or (ours == ~theirs).all()
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    slopes = (p * logits).sum(axis=1) - logits[np.arange(80), labels]
    reached = (ours * slopes).mean() ** 2 + (~ours * slopes).mean() ** 2
    assert reached >= height
    assert reached == pytest.approx(height, rel=0.02)


def test_with_two_opposite_logits_environments_are_the_mistakes():
    random = np.random.default_rng(0)
    z = random.normal(0, 2, 50)
    labels = random.integers(0, 2, 50)
    logits = np.stack([-z, z], axis=1)
    assert (environments(logits, labels) == (logits.argmax(axis=1) != labels)).all()
