"""The figures of calibration and risk-coverage: whole, readable, one panel a method."""

from xml.etree import ElementTree

import pytest

from emodo import panels
from emodo.figures import svg_file

SVG = "{http://www.w3.org/2000/svg}"


def row(name, ece=0.125, points=3):
    return {
        "name": name,
        "seeds": [0],
        "calibration": {measure: {"mean": ece} for measure in ("ece", "aurc")},
        "reliability": [
            {"confidence": 0.3 + 0.2 * at, "accuracy": 0.25 * at, "low": 0.2 * at, "high": 0.3 * at, "n": 10}
            for at in range(points)
        ],
        "risk_coverage": {"coverage": [0.5, 1.0], "risk": [0.1, 0.4]},
    }


DRAWN = [panels.reliability, lambda rows: panels.risk_coverage(rows, "ERM")]


@pytest.mark.parametrize("drawing", DRAWN, ids=["reliability", "risk-coverage"])
@pytest.mark.parametrize("count", [1, 5, 7])
def test_every_method_has_a_panel_with_its_name_and_its_number(drawing, count):
    rows = [row("ERM"), *(row(f"M{at}", at / 10) for at in range(1, count)), {"name": "absent", "seeds": []}]
    text = svg_file(*drawing(rows))
    words = [found.text for found in ElementTree.fromstring(text).iter(f"{SVG}text")]
    assert [word for word in words if word in {each["name"] for each in rows}] == [each["name"] for each in rows[:-1]]
    assert sum("12.5" in (word or "") for word in words) == 1
    assert "#0a0b0" not in text
    assert text == svg_file(*drawing(rows))


@pytest.mark.parametrize("drawing", DRAWN, ids=["reliability", "risk-coverage"])
def test_names_that_xml_and_mathematics_dislike_are_shown(drawing):
    text = svg_file(*drawing([row("ERM"), row("$x$ <&> \x07")]))
    assert any("$x$ <&>" in (found.text or "") for found in ElementTree.fromstring(text).iter(f"{SVG}text"))


@pytest.mark.parametrize("drawing", DRAWN, ids=["reliability", "risk-coverage"])
def test_without_any_method_there_is_an_empty_figure(drawing):
    ElementTree.fromstring(svg_file(*drawing([])))


def test_an_interval_is_drawn_at_every_point():
    few, many = (svg_file(*panels.reliability([row("ERM", points=points)])) for points in (2, 4))
    assert many.count("<use ") - few.count("<use ") == 2
    lines = [text.count('d="M ') + text.count('d="M\n') + text.count("<path") for text in (few, many)]
    assert lines[1] - lines[0] >= 2
