"""Which columns are audited, as what, and why others are not; and what is counted of each."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from emodo import manifest
from emodo.characteristics import characteristics, described
from emodo.multilabel import multi_hot
from emodo.records import InputError

NAME = Path("m.csv")


def table(**columns):
    """A manifest of 24 rows, of 12 subjects with two emotions each."""
    frame = pd.DataFrame({"path": [f"{at}.png" for at in range(24)], "emotion": ["anger", "joy"] * 12} | columns)
    return manifest.validate(frame, NAME, Path(), check_files=False)


def found(frame, *columns, bins=()):
    chosen, skipped = characteristics(frame, NAME, columns, bins)
    return {one.column: one for one in chosen}, {one.column: one.why for one in skipped}


def test_every_column_that_may_confound_is_audited_and_the_others_say_why_not():
    frame = table(
        source=["a", "b", "b", "b"] * 6,
        subject=np.repeat(np.arange(12), 2).astype(str),
        split="train",
        title=[f"the {at}th" for at in range(24)],
        number=[str(at) for at in range(24)],
        place=np.repeat([f"p{at}" for at in range(8)], 3),
        person=np.repeat([f"n{at}" for at in range(12)], 2),
        expression=["angry", "happy"] * 12,
        flash=["yes"] * 24,
        nothing=[None] * 24,
        gender=["f"] * 10 + [None] * 14,
    )
    chosen, skipped = found(frame)
    assert set(chosen) == {"source", "gender"}
    assert chosen["source"].strata == ("a", "b")
    assert chosen["source"].stratum.tolist() == [0, 1, 1, 1] * 6
    assert chosen["gender"].strata == ("f", "unknown gender")
    assert chosen["gender"].unknown == 14
    starts = {
        "title": "a value of its own for every row",
        "number": "a value of its own for every row",
        "place": "8 values in 24 rows, fewer than 5 rows each",
        "person": "12 values in 24 rows",
        "expression": "one value for each emotion and back: it is the label, not a confounder",
        "flash": "one value, 'yes', in all rows",
        "nothing": "it is empty",
    }
    assert set(skipped) == set(starts)
    assert all(skipped[column].startswith(start) for column, start in starts.items())


def test_a_column_that_names_the_subjects_is_theirs():
    frame = table(subject=np.repeat(["1", "2", "3"], 8), who=np.repeat(["Ann", "Bo", "Cy"], 8))
    with pytest.raises(InputError, match=r"no column to audit \(who: one value for each subject and back"):
        found(frame)


def test_what_looks_like_the_label_is_audited_where_it_is_named_or_cannot_be_one():
    frame = table(expression=["angry", "happy"] * 12, source=["lab", "web"] * 12)
    assert set(found(frame)[0]) == {"source"}
    assert set(found(frame, "expression")[0]) == {"expression"}


def test_numbers_are_binned_in_their_order():
    frame = table(
        age=[str(at) for at in [9, 100, *range(10, 32)]], score=np.linspace(0, 1, 24), year=["1"] * 12 + ["2"] * 12
    )
    chosen, _ = found(frame.assign(age=frame["age"].where(frame.index > 2)), bins=())
    assert chosen["age"].binned
    assert chosen["age"].strata[0].startswith("under ")
    assert chosen["age"].strata[-1] == "unknown age"
    assert len(chosen["score"].strata) == 5
    assert not chosen["year"].binned
    chosen, _ = found(frame.drop(columns="score"), bins=["age=12,20"])
    assert chosen["age"].strata == ("under 12", "12-20", "20+")
    assert found(frame, bins=[2.0])[0]["score"].strata == ("under 0.5217", "0.5217+")


def test_a_word_among_numbers_is_no_value_unless_bins_name_the_column():
    frame = table(age=[str(at) for at in range(10, 32)] + ["NA", "12"])
    age = found(frame)[0]["age"]
    assert (len(age.strata), age.strata[-1], age.unknown) == (6, "unknown age", 1)
    with pytest.raises(InputError, match="row 23: age 'NA' is no number"):
        found(frame, bins=["age=20,25"])


@pytest.mark.parametrize(
    ("columns", "bins", "said"),
    [
        (["gendr"], [], "m.csv has no column 'gendr' to audit; it has source"),
        (["subject"], [], "the column 'subject' is what rows are clustered by: leave it out of --columns"),
        (["emotion"], [], "the column 'emotion' cannot be a confounder"),
        ([], ["age=3,4"], "--bins age=3,4 names a column that m.csv does not have"),
    ],
)
def test_what_cannot_be_audited_is_refused(columns, bins, said):
    frame = table(source=["a", "b"] * 12, subject=np.repeat(np.arange(12), 2).astype(str))
    with pytest.raises(InputError, match=said):
        found(frame, *columns, bins=bins)


def test_no_column_to_audit_is_an_error():
    with pytest.raises(InputError, match=r"m.csv has no column to audit: add one, such as source"):
        found(table())
    with pytest.raises(InputError, match=r"no column to audit \(flash: one value, 'yes', in all rows\)"):
        found(table(flash=["yes"] * 24))


# --------------------------------------------------------------------------------------------- numbers


def numbers(frame, column, cluster=None):
    emotions = tuple(sorted(set("|".join(frame["emotion"]).split("|"))))
    shown = multi_hot(frame["emotion"], emotions)
    one = found(frame, column)[0][column]
    return described(one, shown, emotions, np.arange(len(frame)) if cluster is None else cluster, 200)


def test_what_is_counted_is_what_is_there():
    frame = table(source=["a", "b", "b", "b"] * 6)
    told = numbers(frame, "source")
    assert told["counts"] == [[6, 0], [6, 12]]
    assert told["rows"] == [6, 18]
    assert told["given"] == [[1, 0], [pytest.approx(1 / 3), pytest.approx(2 / 3)]]
    assert told["from_emotion"] == pytest.approx((1 + 2 / 3) / 2)
    chi = stats.chi2_contingency(told["counts"], correction=False).statistic
    assert told["association"]["chi_square"] == pytest.approx(chi)
    assert told["importance"] == pytest.approx([0.25 * np.log(2), 0.75 * (np.log(2) - stats.entropy([1, 2]))])
    anger = told["entropies"]["anger"]
    assert (anger["strata"], anger["zero"]) == (2, 0.5)
    assert anger["mean"] == pytest.approx(stats.entropy([1, 2], base=2) / 2)


def test_the_emotion_is_guessed_from_the_stratum_in_other_clusters():
    frame = table(source=["a", "b", "b", "b"] * 6)
    assert numbers(frame, "source")["bayes"] == {"accuracy": 0.75, "majority": 0.5}
    # of one cluster alone nothing can be learned for another: every stratum is in a cluster of its own
    own = table(source=np.repeat(list("abcd"), 6), emotion=["anger"] * 12 + ["joy"] * 12)
    cluster = np.repeat(np.arange(4), 6)
    assert numbers(own, "source", cluster)["bayes"]["accuracy"] == 0


def test_a_row_of_several_emotions_counts_in_each():
    frame = table(source=["a", "b"] * 12, emotion=["anger|joy", "joy"] * 12)
    told = numbers(frame, "source")
    assert told["counts"] == [[12, 12], [0, 12]]
    assert told["rows"] == [12, 12]
    assert told["bayes"]["majority"] == 1
