"""A probe as it is read: all numbers are there, and whatever a name holds is text."""

import html
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from emodo import leaning, probed
from emodo.interventions import CONTROL, INTERVENTIONS
from emodo.leaning import Images

DOSES = [("gray", 0.5), ("gray", 1.0), ("brightness", 2.0), ("brightness", 0.3), ("compression", 5.0), ("mirror", 1.0)]
NASTY = "<script>alert(1)</script> $x$ a|b"


@pytest.fixture(scope="module")
def table():
    """Two models of three emotions in two strata, 60 images; the first flips half of its answers under gray."""
    emotion = np.arange(60) % 3
    one = np.eye(3)[emotion]
    turned = np.where((np.arange(60) < 30)[:, None], np.roll(one, 1, axis=1), one)
    first = np.stack([one, one, turned, one, one, one, one])
    images = Images(("anger", "fear", NASTY), emotion, np.arange(60), ("lab", "web"), np.arange(60) // 2 % 2)
    found = leaning.table([NASTY, "iern"], [False, False], [first, np.stack([one] * 7)], DOSES, images, 500, 0)
    return found | {
        "manifest": f"{NASTY}.csv",
        "split": "test",
        "images": 60,
        "boxed": 0,
        "cluster": "image",
        "clusters": 60,
        "replicates": 500,
        "skipped": {"mask": "there are no boxes"},
        "remarks": ["one remark."],
    }


def test_the_tables_hold_what_was_found(table):
    doses, emotions, strata, *_, comparison = probed.shown(table)
    head, body = doses
    assert head[:3] == [NASTY, "strength", "flips"]
    gray = body[1]
    flip = table["models"][0]["doses"][1]["flip"]
    assert gray[:3] == ["gray", "1", f"50.0 [{100 * flip['low']:.1f}, {100 * flip['high']:.1f}]"]
    assert gray[3] == "0.50"
    assert gray[4].startswith("50.0 [")
    assert gray[5].startswith("-50.0 [")
    assert gray[6:] == ["<0.001", "-0.99", "30 / 0"]
    assert [row[0] for row in emotions[1]] == ["gray 1", "brightness 0.3", "compression 5", "mirror 1"]
    assert emotions[1][0][1:] == ["50 / -50 *"] * 3
    assert strata[0][1:] == ["lab", "web"]
    assert comparison[0][0] == f"iern against {NASTY}"
    assert comparison[1][1][2].startswith("-50.0 [")


def test_verdicts_come_first_and_what_is_left_out_is_said(table):
    told = probed.notes(table)
    assert told[0] == table["models"][0]["verdict"]
    assert told[1] == "iern shows no sign of leaning on colour, how bright the image is, compression."
    assert told[2].startswith("iern leans less on colour than")
    assert "mask is left out: there are no boxes." in told
    assert told[-1] == "one remark."


def test_in_markdown_and_in_the_figure_names_are_text(table):
    page = probed.markdown(table)
    assert "<script>" not in page
    assert html.escape(NASTY, quote=False).replace("|", "\\|") in page
    assert "p (Holm)" in page
    assert "&lt;0.001" in page
    assert "- `gray`: colour is taken away (strength: share of the colour; 0 changes nothing)" in page
    svg = probed.figure(table)
    assert "<script" not in svg
    root = ElementTree.fromstring(svg)
    texts = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert NASTY in texts
    assert {"gray", "brightness", "as is", "accuracy in %", "flips in %", "JPEG quality"} <= set(texts)
    assert not re.search(r"url\((?!#)|href=\"(?!#)", svg)


def test_the_table_is_json_without_nan(table):
    assert json.loads(json.dumps(table, allow_nan=False)) == table


@pytest.mark.parametrize("name", INTERVENTIONS)
def test_strengths_lie_in_their_order_with_the_image_as_it_is_among_them(name):
    strengths = INTERVENTIONS[name].strengths
    at = probed.places(name, strengths)
    assert len({at[strength] for strength in (None, *strengths)}) == len(strengths) + 1
    if name == "brightness":
        assert [at[value] for value in (0.3, 0.5, 0.7, None, 1.4, 2)] == list(range(6))
    elif name != CONTROL:
        assert [at[value] for value in (None, *strengths)] == list(range(len(strengths) + 1))
