"""False alarms of whole calls of `emodo monitor`, and drifts that were planted in one stratum."""

from pathlib import Path

import pytest

from emodo import alarms, profiles, windows
from emodo.profiles import Tally
from emodo.windows import Counted, Window
from monitored import TASK, rows

FILE = Path("made up")
CALLS = 150
# test rows, windows, whether these are counted by folder, whether their tables name the stratum
SETTINGS = {
    "images": ({"n": 600}, [{"n": 300}] * 10, False, False),
    "few test rows, many images": ({"n": 300}, [{"n": 10_000}] * 4, False, False),
    "few of both": ({"n": 120}, [{"n": 60}] * 10, False, False),
    "frames of videos": ({"n": 600, "frames": 4}, [{"n": 400, "frames": 4}] * 8, True, False),
    "strata named": ({"n": 600, "frames": 4}, [{"n": 400}] * 8, False, True),
}


def called(seed, test, shown, by_folder=False, named=False):
    """What a call says of windows that were drawn so."""
    table = rows([seed, 0], **test)
    reference = profiles.reference(TASK, windows.answers(table, TASK, FILE), table)
    counted = []
    for at, of in enumerate(shown, 1):
        frame = rows([seed, at], **of).drop(columns=[] if named else ["stratum"])
        tally = Tally(reference.profile, windows.GROUPS if by_folder else None)
        tally.add(windows.answers(frame, TASK, FILE), windows._groups(frame["path"]) if by_folder else None)
        counted.append(Counted(Window(f"day{at}", ()), tally, rows=len(frame)))
    return alarms.judged(reference, counted)


def test_windows_like_the_test_rows_have_no_drift():
    named = {
        what: sum(bool(called(seed, *setting)["drift"]) for seed in range(CALLS)) for what, setting in SETTINGS.items()
    }
    print(f"false alarms of {CALLS} calls each: {named}")
    assert all(count <= 0.05 * CALLS for count in named.values())


@pytest.mark.parametrize(
    ("bad", "named", "first"),
    [
        ({"n": 300, "head": ("web", 2)}, False, "The predicted emotion given web"),
        ({"n": 600, "lean": ("web", 3)}, True, "The predicted emotion in web"),
        ({"n": 300, "mix": (0, 1, 0)}, False, "The stratum that predictions look like"),
        ({"n": 300, "emotions": (1, 1, 4, 1)}, False, "The predicted emotion"),
    ],
)
def test_a_planted_drift_is_named_first(bad, named, first):
    found = [called(seed, {"n": 600}, [{"n": bad["n"]}] * 3 + [bad] * 2, named=named) for seed in range(2000, 2020)]
    said = [alarms.sentences(table)[0] for table in found]
    right = sum(each.startswith(f"{first} differs from the test rows ") for each in said)
    by = [row["explained"]["by"] for table in found for row in table["windows"] if row["explained"]]
    print(f"{bad}: first in {right} of 20; looks as if: { {each: by.count(each) for each in set(by)} }")
    assert all(set(table["drift"]) <= {"day4", "day5"} and table["drift"] for table in found)
    assert right == 20 if "emotions" not in bad else right >= 17
