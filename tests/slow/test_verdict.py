"""What a verdict promises, in 1,000 simulated experiments whose truth is known (see benchmarks/coverage.py).

Every method answers three images of each of 100 people, from five seeds; an answer is right where a sum of normal parts is
above zero: of the person, of the method on the person, of the training, and of the image in that training.
"""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from emodo.claims import sentences
from emodo.comparison import compare

EXPERIMENTS, SEEDS, PEOPLE, IMAGES = 1000, 5, 100, 3
PERSON, OWN = 0.6, 0.3
EMOTIONS = ("anger", "joy")
FRAME = pd.DataFrame(
    {
        "path": [f"{at}" for at in range(PEOPLE * IMAGES)],
        "emotion": "anger",
        "stratum": "lab",
        "sequence": np.repeat(np.arange(PEOPLE), IMAGES).astype(str),
    }
)


def experiment(generator, means, spread):
    """What each method predicts, {method: {seed: {fold: table}}}; `spread` is that of the training's part."""
    person = generator.normal(0, PERSON, PEOPLE)
    rest = (1 - PERSON**2 - OWN**2 - spread**2) ** 0.5
    grid = {}
    for name, mean in means.items():
        own = person + generator.normal(0, OWN, PEOPLE)
        tables = {}
        for seed in range(SEEDS):
            image = generator.normal(0, rest, (PEOPLE, IMAGES))
            right = (mean + own[:, None] + generator.normal(0, spread) + image > 0).ravel()
            tables[seed] = {"fold": FRAME.assign(predicted=np.where(right, "anger", "joy"))}
        grid[name] = tables
    return grid


def simulated(means, spread, replicates=300):
    generator = np.random.default_rng(0)
    for _ in range(EXPERIMENTS):
        yield compare(experiment(generator, means, spread), ["fold"], EMOTIONS, "ERM", replicates=replicates)


@pytest.mark.parametrize("spread", [0.15, 0.4])
def test_the_interval_of_a_difference_holds_the_truth_in_93_to_97_percent(spread):
    truth = norm.cdf(0.5) - norm.cdf(0.3)
    found = [table["methods"][1]["difference"] for table in simulated({"ERM": 0.3, "A": 0.5}, spread)]
    covered = np.mean([each["low"] <= truth <= each["high"] for each in found])
    print(f"spread {spread}: {100 * covered:.1f} %")
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize("spread", [0.03, 0.15, 0.4])
def test_where_no_method_differs_one_in_twenty_verdicts_at_most_calls_one_better(spread):
    methods = dict.fromkeys(["ERM", "A", "B", "C", "D"], 0.4)
    better = np.mean([any("is better than" in said for said in sentences(t)) for t in simulated(methods, spread)])
    print(f"spread {spread}: {100 * better:.1f} %")
    assert better <= 0.05
