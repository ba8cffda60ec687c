"""The test rejects as often as it should where there is nothing, and the intervals hold the truth as often as said."""

import numpy as np
import pytest

from emodo.associations import associate, conditional_entropy, mutual_information, phi_square

SIMULATIONS = 1000


def truth(strength, strata=3, emotions=6, seed=1):
    """A distribution of stratum and emotion, [D, E], between independence (0) and each stratum having its own (1)."""
    random = np.random.default_rng(seed)
    d, e = random.dirichlet(np.full(strata, 5)), random.dirichlet(np.full(emotions, 5))
    own = random.dirichlet(np.ones(emotions), strata)
    return d[:, None] * (0.85 * ((1 - strength) * e + strength * own) + 0.15 / emotions)


def rows(of, number):
    """Independent rows, each its own cluster."""

    def draw(random):
        cell = random.choice(of.size, number, p=of.ravel())
        return np.eye(of.size)[cell].reshape(number, *of.shape)

    return draw


def sequences(of, number, frames=3):
    """Sequences of equal frames."""
    return lambda random: rows(of, number)(random) * frames


def subjects(of, number, shown=10, alike=3.0):
    """Subjects in one stratum each, who show some emotions more often than others of their stratum do."""
    share = of.sum(axis=1)

    def draw(random):
        counts = np.zeros((number, *of.shape))
        for one, d in enumerate(random.choice(len(of), number, p=share)):
            counts[one, d] = random.multinomial(shown, random.dirichlet(alike * of[d] / share[d]))
        return counts

    return draw


def simulated(draw, of, independent=False):
    """The share of simulations that reject independence, and for each measure of those whose interval holds it."""
    random = np.random.default_rng(0)
    most = min(of.shape) - 1
    true = {
        "cramers_v": float(phi_square(of) / most) ** 0.5,
        "mutual_information": float(mutual_information(of)),
        "conditional_entropy": float(conditional_entropy(of)),
    }
    rejected, held = 0, dict.fromkeys(true, 0)
    for number in range(SIMULATIONS):
        counts = draw(random)
        counts = counts[:, counts.sum(axis=(0, 2)) > 0][:, :, counts.sum(axis=(0, 1)) > 0]
        found = associate(counts, 1000, number, independent)
        rejected += found.p < 0.05
        for name, value in true.items():
            estimate = getattr(found, name)
            held[name] += estimate.low - 1e-9 <= value <= estimate.high + 1e-9
    return rejected / SIMULATIONS, {name: count / SIMULATIONS for name, count in held.items()}


CASES = {
    "rows": lambda of: (rows(of, 400), True),
    "sequences": lambda of: (sequences(of, 300), False),
    "subjects": lambda of: (subjects(of, 100), False),
}


@pytest.mark.parametrize("strength", [0.7, 1.0])
@pytest.mark.parametrize("case", CASES)
def test_intervals_hold_what_is_there_in_93_to_97_percent(case, strength):
    of = truth(strength)
    draw, independent = CASES[case](of)
    rejected, held = simulated(draw, of, independent)
    print(f"{case}, strength {strength}: rejected {rejected:.3f}, {held}")
    assert all(0.93 <= share <= 0.97 for share in held.values())


@pytest.mark.parametrize("case", CASES)
def test_intervals_hold_what_is_hardly_there_no_less_often(case):
    of = truth(0.4)
    draw, independent = CASES[case](of)
    rejected, held = simulated(draw, of, independent)
    print(f"{case}, strength 0.4: rejected {rejected:.3f}, {held}")
    assert all(share >= 0.93 for share in held.values())


@pytest.mark.parametrize("case", CASES)
def test_where_nothing_is_there_one_in_twenty_rejects_and_the_intervals_hold_nothing(case):
    of = truth(0.4)
    of = np.outer(of.sum(axis=1), of.sum(axis=0))
    draw, independent = CASES[case](of)
    rejected, held = simulated(draw, of, independent)
    print(f"{case}, independent: rejected {rejected:.3f}, {held}")
    assert 0.03 <= rejected <= 0.07
    assert all(share >= 0.95 for share in held.values())
