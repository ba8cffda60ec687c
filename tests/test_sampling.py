"""What holds for every order of training images, over many random data sets."""

import numpy as np
import pytest

from emodo.sampling import balanced, shard, shuffled

CASES = [np.random.default_rng([11, case]) for case in range(60)]


def random_cells(draw):
    """Cells of random sizes, from even to very uneven, each with an image."""
    sizes = draw.integers(1, draw.choice([3, 30, 200]), draw.integers(1, 20))
    return draw.permutation(np.repeat(np.arange(len(sizes)), sizes))


@pytest.mark.parametrize("draw", CASES[:20])
def test_shuffled_shows_every_image_once(draw):
    rows, seed, epoch = draw.integers(1, 500), draw.integers(0, 2**31), draw.integers(0, 1000)
    order = shuffled(rows, seed, epoch)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(rows))


def test_an_order_is_a_function_of_seed_and_epoch():
    cells = np.arange(300) % 7
    for sample in (lambda seed, epoch: shuffled(300, seed, epoch), lambda seed, epoch: balanced(cells, seed, epoch)):
        orders = {(seed, epoch): tuple(sample(seed, epoch)) for seed in range(4) for epoch in range(4)}
        assert len(set(orders.values())) == 16  # (0, 1) is not (1, 0) either
        assert all(tuple(sample(*key)) == order for key, order in orders.items())


def test_an_order_leaves_the_global_generator_alone():
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    shuffled(10, 0, 0)
    balanced(np.arange(10) % 3, 0, 0)
    assert np.random.random() == expected


@pytest.mark.parametrize("draw", CASES)
def test_balanced_draws_every_cell_equally_often(draw):
    cells = random_cells(draw)
    order = balanced(cells, int(draw.integers(0, 2**31)), int(draw.integers(0, 1000)))
    assert order.shape == cells.shape
    assert order.min() >= 0
    assert order.max() < len(cells)
    members, counts = np.bincount(cells), np.bincount(cells[order], minlength=cells.max() + 1)
    # The quota is a whole number, and what is beyond the length of the data is cut off at random.
    quota = -(-len(cells) // len(members))
    assert counts.max() <= quota
    assert (quota - counts).sum() == quota * len(members) - len(cells)


@pytest.mark.parametrize("draw", CASES)
def test_balanced_uses_a_cells_images_evenly(draw):
    cells = random_cells(draw)
    order = balanced(cells, int(draw.integers(0, 2**31)), 0)
    quota = -(-len(cells) // (cells.max() + 1))
    cut = quota * (cells.max() + 1) - len(cells)
    for cell in range(cells.max() + 1):
        members = np.flatnonzero(cells == cell)
        uses = np.bincount(order, minlength=len(cells))[members]
        # all are used k times before one is used k + 1 times; `cut` draws are taken away at the end
        assert uses.max() <= -(-quota // len(members))
        assert np.maximum(quota // len(members) - uses, 0).sum() <= cut


def test_balanced_draws_exactly_equally_where_the_cells_divide_the_images():
    cells = np.array([0] * 50 + [1] * 7 + [2] * 3)
    counts = np.bincount(cells[balanced(cells, 3, 4)])
    assert counts.tolist() == [20, 20, 20]
    uses = np.bincount(balanced(cells, 3, 4), minlength=60)
    assert set(uses[:50]) == {0, 1}  # 20 of the 50, none of them twice
    assert sorted(uses[50:57]) == [2] + [3] * 6
    assert sorted(uses[57:]) == [6, 7, 7]


def test_over_the_epochs_balanced_shows_every_image():
    cells = np.array([0] * 50 + [1] * 7 + [2] * 3)
    seen = {row for epoch in range(20) for row in balanced(cells, 0, epoch)}
    assert seen == set(range(60))


@pytest.mark.parametrize("draw", CASES)
def test_shards_are_whole_batches_of_different_images_as_many_in_every_process(draw):
    ranks, batch = int(draw.integers(1, 9)), int(draw.integers(1, 33))
    order = shuffled(int(draw.integers(ranks, 400)), 0, int(draw.integers(0, 99)))
    parts = [shard(order, batch, rank, ranks) for rank in range(ranks)]
    assert len({len(part) for part in parts}) == 1
    own = len(order) // ranks
    assert len(parts[0]) == (own if own < batch else own // batch * batch)
    together = np.concatenate(parts)
    assert len(set(together)) == len(together)
    assert set(together) <= set(order)


def test_one_process_with_whole_batches_sees_the_order_as_it_is():
    order = shuffled(96, 0, 0)
    assert shard(order, 32, 0, 1).tolist() == order.tolist()
    assert shard(order, 36, 0, 1).tolist() == order[:72].tolist()
    assert shard(order, 1000, 0, 1).tolist() == order.tolist()


def test_processes_take_turns():
    assert [shard(np.arange(11), 2, rank, 2).tolist() for rank in (0, 1)] == [[0, 2, 4, 6], [1, 3, 5, 7]]
