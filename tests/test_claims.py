"""The sentences of a verdict, on planted tables: each rule says what it should, and nothing else."""

import pytest

from emodo.claims import decided, listed, sentences

CERTAIN, CHANCE = 0.001, 0.4


def difference(points, low, high, p=None):
    """A difference in points; by default p is what the interval says."""
    p = (CERTAIN if low > 0 or high < 0 else CHANCE) if p is None else p
    return {"estimate": points / 100, "low": low / 100, "high": high / 100, "p": p, "p_holm": p}


def method(name, found=None, accuracy=0.5, seeds=5, emotions=None, **more):
    row = {"name": name, "seeds": list(range(seeds)), "accuracy": {"mean": accuracy}}
    if found:
        row |= {"difference": found, "emotion_differences": emotions or {}}
    return row | more


def planted(*rows, **more):
    return {"baseline": "ERM", "images": 1000, "methods": [method("ERM"), *rows]} | more


def pair(name, than, *found):
    return {"name": name, "than": than} | difference(*found)


# ------------------------------------------------------------------------------------- the two signs


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (difference(9, 7, 11), "better"),
        (difference(-9, -11, -7), "worse"),
        (difference(9, -1, 19), ""),
        (difference(9, 1, 17, 0.049), "better"),
        (difference(9, 1, 17, 0.05), ""),  # clear of zero by itself, and not after Holm
        (difference(-9, -17, -1, 0.08), ""),
        (difference(0, 0, 0, 1.0), ""),
        (difference(100, 100, 100, 0.0), "better"),
    ],
)
def test_a_difference_is_decided_by_holm_and_by_its_interval(found, word):
    assert decided(found) == word


# ----------------------------------------------------------------------------------- better, worse


def test_better_out_of_distribution_with_an_emotion_that_gets_worse():
    emotions = {"anger": difference(12, 8, 16), "disgust": difference(-2, -3.7, -0.4), "joy": difference(-1, -3, 1)}
    table = planted(method("IERN", difference(9.1, 6.8, 11.5), emotions=emotions), unseen=1000, unseen_column="source")
    assert sentences(table) == [
        "IERN is better than ERM out of distribution by 9.1 points [6.8, 11.5], 5 seeds; disgust gets worse by 2.0 "
        "[0.4, 3.7].",
        "All 1000 test images show an emotion in a stratum (source) in which training never showed it.",
    ]


def test_better_without_harm_says_so():
    (said,) = sentences(planted(method("IERN", difference(9, 7, 11))))
    assert said == "IERN is better than ERM by 9.0 points [7.0, 11.0], 5 seeds; no emotion gets worse beyond chance."


def test_no_method_is_better():
    emotions = {"joy": difference(-6, -9, -3), "fear": difference(-8, -14, -2)}
    said = sentences(
        planted(
            method("IERN", difference(1.5, -2, 5)),
            method("CCIM", difference(-15.5, -20.6, -10.4)),
            method("DANN", difference(2, 0.1, 3.9, 0.2), emotions=emotions),
        )
    )
    assert said == [
        "No method here is better than ERM beyond chance.",
        "CCIM is worse than ERM by 15.5 points [10.4, 20.6], 5 seeds.",
        "No difference to ERM beyond chance: DANN (+2.0 [+0.1, +3.9]) and IERN (+1.5 [-2.0, +5.0]), in points; 5 "
        "seeds.",
        "DANN: fear gets worse by 8.0 [2.0, 14.0] and joy by 6.0 [3.0, 9.0].",
    ]


def test_no_method_is_better_out_of_distribution():
    said = sentences(planted(method("IERN", difference(1, -2, 4)), unseen=1000, unseen_column="source"))
    assert said[0] == "No method here is better than ERM beyond chance, out of distribution."
    assert said[1].startswith("No difference to ERM out of distribution beyond chance: IERN")


def test_better_ones_come_first_the_largest_difference_first():
    rows = [
        method(name, difference(points, points - 1, points + 1))
        for name, points in (("A", -9), ("B", 5), ("C", 12), ("D", -4))
    ]
    assert [said.split()[0] for said in sentences(planted(*rows))] == ["C", "B", "D", "A"]


# ------------------------------------------------------------------------------------------- seeds


@pytest.mark.parametrize(
    ("of_method", "of_baseline", "words"),
    [
        (5, 5, "5 seeds;"),
        (2, 2, "2 seeds;"),
        (5, 3, "5 seeds (ERM 3);"),
        (1, 1, "one seed: this says nothing about training again;"),
        (1, 5, "one seed of IERN: this says nothing about training again;"),
        (5, 1, "one seed of ERM: this says nothing about training again;"),
    ],
)
def test_the_seeds_and_what_one_cannot_say(of_method, of_baseline, words):
    table = planted(method("IERN", difference(9, 7, 11), seeds=of_method))
    table["methods"][0] = method("ERM", seeds=of_baseline)
    assert f"by 9.0 points [7.0, 11.0], {words}" in sentences(table)[0]


def test_one_seed_is_told_where_there_is_no_difference_too():
    (_, said) = sentences(planted(method("IERN", difference(1, -2, 4), seeds=1), method("DANN", difference(2, -2, 6))))
    assert said.endswith("in points; 5 seeds, one seed of IERN: this says nothing about training again.")


# ------------------------------------------------------------------------------------ which is best


TWO = [method("A", difference(9, 7, 11), 0.6), method("B", difference(7, 5, 9), 0.58)]


def test_the_best_of_two_that_are_better():
    said = sentences(planted(*TWO, pairs=[pair("A", "B", 2, 0.5, 3.5)]))
    assert said[2] == "Of these, A is the best, by 2.0 points [0.5, 3.5] above B, the next."


def test_two_that_are_better_and_not_told_apart():
    said = sentences(planted(*TWO, pairs=[pair("A", "B", 2, -1, 5)]))
    assert said[2] == "Of these, A has the highest accuracy, and is not told from B (+2.0 [-1.0, +5.0])."


def test_of_three_the_highest_is_told_from_one():
    third = method("C", difference(5, 3, 7), 0.56)
    pairs = [pair("A", "B", 2, -1, 5), pair("A", "C", 4, 2, 6), pair("B", "C", 2, 1, 3)]
    said = sentences(planted(*TWO, third, pairs=pairs))
    assert said[3] == (
        "Of these, A has the highest accuracy, and is not told from B (+2.0 [-1.0, +5.0]); it is better than C."
    )


def test_a_pair_that_is_clear_by_itself_and_not_after_holm_is_not_told_apart():
    said = sentences(planted(*TWO, pairs=[pair("A", "B", 2, 0.1, 3.9, 0.07)]))
    assert "is not told from B" in said[2]


# --------------------------------------------------------------------------------- the distribution


def test_without_knowledge_of_training_nothing_is_called_out_of_distribution():
    (first, *rest) = sentences(planted(method("IERN", difference(9, 7, 11)), unseen=None, unseen_reason="it is gone"))
    assert "out of distribution" not in first
    assert rest == ["Whether the test images are out of distribution is not known: it is gone."]
    assert "distribution" not in " ".join(sentences(planted(method("IERN", difference(9, 7, 11)))))


def test_test_images_like_the_training_ones_are_not_out_of_distribution():
    (first, last) = sentences(planted(method("IERN", difference(9, 7, 11)), unseen=0, unseen_column="source"))
    assert "out of distribution" not in first
    assert last == (
        "Training showed the emotion of every test image in its stratum (source): nothing is said of others."
    )


def test_where_some_are_out_of_distribution_they_have_a_verdict_of_their_own():
    row = method("IERN", difference(1, -2, 4), unseen_difference=difference(20, 12, 28))
    said = sentences(planted(row, unseen=300, unseen_column="source"))
    assert said == [
        "No method here is better than ERM beyond chance, over all test images.",
        "No difference to ERM over all test images beyond chance: IERN (+1.0 [-2.0, +4.0]), in points; 5 seeds.",
        "IERN is better than ERM out of distribution (300 of 1000 images) by 20.0 points [12.0, 28.0], 5 seeds.",
        "300 of 1000 test images show an emotion in a stratum (source) in which training never showed it.",
    ]


# ------------------------------------------------------------------------------- cost, and no result


def test_the_cost_of_the_most_accurate_that_is_better():
    table = planted(*TWO)
    costs = {"ERM": (32, 1.04e9), "A": (68.4, 2.5e9), "B": (33, 1e9)}
    for row in table["methods"]:
        seconds, memory = costs[row["name"]]
        row |= {"seconds": seconds, "cost": {"memory": memory}}
    assert sentences(table)[-1] == "A run of A took 68 s and 2.5 GB, one of ERM 32 s and 1.0 GB."
    table["methods"][0] = method("ERM")
    assert "A run of" not in " ".join(sentences(table))


def test_methods_without_a_result_are_named():
    table = planted(
        method("IERN", difference(9, 7, 11)),
        method("DFR", seeds=0, note="not possible"),
        method("Resampling", seeds=0, note="not possible"),
        method("CCIM", seeds=0),
    )
    assert sentences(table)[1:] == [
        "Without a result: DFR and Resampling (not possible).",
        "Without a result: CCIM (not finished).",
    ]


def test_nothing_to_compare():
    assert sentences(planted()) == ["Nothing is compared with ERM."]
    assert sentences(planted() | {"images": 0}) == ["Nothing is compared with ERM."]


def test_names_in_a_sentence():
    assert [listed(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
