"""What a verdict promises, in 1,000 simulated experiments whose truth is known (see benchmarks/coverage.py).

Every method answers three images of each of 100 people, from five seeds; an answer is right where a sum of normal parts
is above zero: of the person, of the method on the person, of the training, and of the image in that training.
"""

import numpy as np
import pytest
from scipy.stats import norm

from emodo.claims import decided
from emodo.statistics import differences, holm

EXPERIMENTS, SEEDS, PEOPLE, IMAGES = 1000, 5, 100, 3
PERSON, OWN = 0.6, 0.3
CLUSTER = np.repeat(np.arange(PEOPLE), IMAGES)
POINTS = {0.03: 1, 0.15: 6, 0.4: 15}  # by how many points trainings move an accuracy, by their spread


def simulated(means, spread):
    """The differences of each method to the first, with Holm's p, one list an experiment."""
    generator = np.random.default_rng(0)
    rest = (1 - PERSON**2 - OWN**2 - spread**2) ** 0.5
    for at in range(EXPERIMENTS):
        person = generator.normal(0, PERSON, PEOPLE)
        right = []
        for mean in means:
            own = person + generator.normal(0, OWN, PEOPLE)
            training = generator.normal(0, spread, (SEEDS, 1, 1))
            total = mean + own[:, None] + training + generator.normal(0, rest, (SEEDS, PEOPLE, IMAGES))
            right.append((total > 0).reshape(SEEDS, -1))
        rows = differences(right, 0, CLUSTER, np.zeros(len(CLUSTER), int), 0, 400, seed=at)
        found = [each for (each,) in rows if each is not None]
        corrected = holm([each.p for each in found])
        yield [vars(each) | {"p_holm": p} for each, p in zip(found, corrected, strict=True)]


@pytest.mark.parametrize("spread", [0.15, 0.4])
def test_the_interval_of_a_difference_holds_the_truth_in_93_to_97_percent(spread):
    truth = norm.cdf(0.5) - norm.cdf(0.3)
    covered = np.mean([each["low"] <= truth <= each["high"] for (each,) in simulated((0.3, 0.5), spread)])
    print(f"spread by {POINTS[spread]} points: {100 * covered:.1f} %")
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize("methods", [1, 4, 15])
@pytest.mark.parametrize("spread", POINTS)
def test_where_no_method_differs_one_table_in_twenty_at_most_calls_one_better(spread, methods):
    words = [{decided(each) for each in found} for found in simulated([0.4] * (1 + methods), spread)]
    better, worse = (np.mean([word in said for said in words]) for word in ("better", "worse"))
    print(
        f"spread by {POINTS[spread]} points, {methods} methods: {100 * better:.1f} % better, {100 * worse:.1f} % worse"
    )
    assert better <= 0.05
