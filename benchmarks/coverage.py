"""How often the 95 % interval of a difference holds the truth, in simulated experiments whose truth is known.

python benchmarks/coverage.py                   # --experiments 1000 --seeds 1 2 3 5 10 --people 10 30 100

Two methods answer the same images, three of each person, from several seeds. An answer is right where a sum of normal
parts is above zero: of the person, of the method on the person, of the training, and of the image in that training.
Compared are the interval that `emodo benchmark` uses and percentiles of a bootstrap that draws people and seeds.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import norm

from emodo.statistics import differences

MEANS = (0.3, 0.5)  # of the sums of the baseline and of the method: right on 61.8 and 69.1 % of the images
PERSON, OWN = 0.6, 0.3  # standard deviations; the sum has 1
IMAGES = 3


def experiment(generator: np.random.Generator, seeds: int, people: int, spread: float) -> list[np.ndarray]:
    """Whether each method is right, [S, C * 3] each; `spread` is the standard deviation of the training's part."""
    person = generator.normal(0, PERSON, people)
    rest = (1 - PERSON**2 - OWN**2 - spread**2) ** 0.5
    right = []
    for mean in MEANS:
        own = person + generator.normal(0, OWN, people)
        training = generator.normal(0, spread, (seeds, 1, 1))
        total = mean + own[:, None] + training + generator.normal(0, rest, (seeds, people, IMAGES))
        right.append((total > 0).reshape(seeds, -1))
    return right


def percentiles(generator: np.random.Generator, right: list[np.ndarray], people: int, draws: int) -> np.ndarray:
    """The 95 % interval between percentiles of replicates that draw people and, for each method, seeds."""
    drawn = generator.integers(people, size=(draws, people))
    replicated = []
    for answers in right:
        of_person = answers.reshape(len(answers), people, IMAGES).mean(axis=2)  # [S, C]
        seeds = generator.integers(len(answers), size=(draws, len(answers)))
        accuracy = of_person[:, drawn].mean(axis=2)  # [S, draws]
        replicated.append(np.take_along_axis(accuracy.T, seeds, axis=1).mean(axis=1))
    return np.percentile(replicated[1] - replicated[0], [2.5, 97.5])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 5, 10])
    parser.add_argument("--people", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--spread", type=float, nargs="+", default=[0.03, 0.15, 0.4])
    parser.add_argument("--draws", type=int, default=400, help="of each bootstrap")
    options = parser.parse_args()
    truth = norm.cdf(MEANS[1]) - norm.cdf(MEANS[0])
    moved = [f"{100 * spread * norm.pdf(MEANS[0]):.0f}" for spread in options.spread]
    print("In %, and the mean width in points: the interval that is used / percentiles that draw people and seeds\n")
    print(f"| seeds | people | {' | '.join(f'trainings spread by {points}' for points in moved)} |")
    print("|---" * (2 + len(moved)) + "|")
    for seeds in options.seeds:
        for people in options.people:
            line = [str(seeds), str(people)]
            for spread in options.spread:
                line.append(coverage(seeds, people, spread, truth, options.experiments, options.draws))
            print(f"| {' | '.join(line)} |", flush=True)


def coverage(seeds: int, people: int, spread: float, truth: float, experiments: int, draws: int) -> str:
    """Coverage and mean width of both intervals, as a cell of the table."""
    generator = np.random.default_rng(0)
    cluster, group = np.repeat(np.arange(people), IMAGES), np.zeros(people * IMAGES, int)
    intervals = []
    for at in range(experiments):
        right = experiment(generator, seeds, people, spread)
        found = differences(right, 0, cluster, group, 0, draws, seed=at)[1][0]
        assert found is not None
        intervals.append([(found.low, found.high), percentiles(generator, right, people, draws)])
    low, high = np.moveaxis(np.array(intervals), 2, 0)  # [experiments, 2] each
    covered, width = 100 * ((low <= truth) & (truth <= high)).mean(axis=0), 100 * (high - low).mean(axis=0)
    return " / ".join(f"{share:.1f} ({points:.0f})" for share, points in zip(covered, width, strict=True))


if __name__ == "__main__":
    main()
