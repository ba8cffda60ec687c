"""What the page shows of a picture: the numbers of `emodo predict`, how far a change moves them, all of it escaped."""

import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from emodo.data import Field
from emodo.detectors import Face
from emodo.interventions import INTERVENTIONS
from emodo.methods import ERM
from emodo.predictor import Predictor
from emodo.records import Task
from emodo.serving.models import Model, _names, load_models
from emodo.serving.pictures import Held, Refused
from emodo.serving.showing import CHANGES, _moved, alert, show, under
from untrained import untrained

LIMIT = 1_000_000


@pytest.fixture(scope="module")
def models(trained):
    return load_models(trained, "fp32", "cpu", LIMIT)


@pytest.fixture(scope="module")
def picture(trained):
    return next(trained[0].parent.glob("faces/images/blue/*.png"))


def cells(html, section):
    """(emotion, percent) of the first table of one run's card."""
    table = html.split("<section")[section + 1].split("<table")[1].split("</table>")[0]
    names = re.findall(r'<th scope="row">(.*?)</th>', table)
    return dict(zip(names, map(int, re.findall(r'"number">(\d+) %', table)), strict=True))


def test_the_picture_as_it_is_has_the_numbers_of_predict(models, picture):
    html = show(models, Held(picture.read_bytes(), (), "joy"), None, "Gray", 0, LIMIT)
    for at, model in enumerate(models):
        table = next(model.predictor([picture]))
        expected = {emotion: table[f"p:{emotion}"][0] for emotion in model.predictor.task.emotions}
        found = cells(html, at)
        assert {name: found[name] for name in expected} == {n: round(100 * float(p)) for n, p in expected.items()}
        assert list(found) == sorted(expected, key=lambda name: -expected[name])
    assert "As it is; it shows joy. The whole picture is predicted." in html
    assert "has moved" not in html
    assert html.count("<h5>") == 3  # IERN's strata; ERM has none
    assert [html.count(f"<h5>{stratum}</h5>") for stratum in ("blue", "dim", "gray")] == [1, 1, 1]


def test_a_change_is_that_of_probe_and_is_told_with_how_far_it_moved(models, picture):
    [model] = models[:1]
    html = show([model], Held(picture.read_bytes(), ()), None, "Gray", 0.5, LIMIT)
    image = Image.open(picture).convert("RGB")
    before, now = (
        model.predict([one])[[f"p:{emotion}" for emotion in model.predictor.task.emotions]].to_numpy(float)[0]
        for one in (image, under(image, "gray", 0.5))
    )
    assert not np.allclose(before, now, atol=1e-4)
    assert f"{50 * np.abs(before - now).sum():.0f} % of the probability has moved" in html
    assert "Without 50% of its colour. The whole picture is predicted." in html
    marks = [float(left) for left in re.findall(r'<i style="left:([\d.]+)%', html)]
    assert marks == pytest.approx(sorted(100 * before, reverse=True), abs=0.06)


@pytest.mark.parametrize("change", CHANGES)
def test_the_slider_goes_from_nothing_to_the_strongest_of_probe(change):
    of = INTERVENTIONS[CHANGES[change].intervention]
    assert CHANGES[change].strength(0) == of.unchanged
    assert CHANGES[change].strength(1) in of.strengths
    image = Image.effect_mandelbrot((48, 48), (-2, -1, 1, 1), 50).convert("RGB")
    unchanged = under(image, CHANGES[change].intervention, CHANGES[change].strength(0))
    changed = under(image, CHANGES[change].intervention, CHANGES[change].strength(1))
    assert np.array_equal(np.asarray(unchanged), np.asarray(image))
    assert not np.array_equal(np.asarray(changed), np.asarray(image))


def test_noise_is_the_same_each_time():
    image = Image.new("RGB", (32, 32), (90, 90, 90))
    first, second = (np.asarray(under(image, "noise", 0.2)) for _ in range(2))
    assert np.array_equal(first, second)
    assert first.std() > 20


def test_faces_are_numbered_and_the_chosen_one_is_what_the_model_sees(models):
    held = io.BytesIO()
    image = Image.effect_mandelbrot((100, 80), (-2, -1, 1, 1), 50).convert("RGB")
    image.save(held, "PNG")
    faces = (Face((10, 20, 60, 70)), Face((70, 5, 95, 30)))
    html = show(models, Held(held.getvalue(), faces), 1, "Blur", 0, LIMIT)
    assert "2 faces were found; number 2 is predicted." in html
    assert "left:10.00%;top:25.00%;width:50.00%;height:62.50%" in html
    assert html.count('class="face chosen"') == 1
    assert "What the model sees" in html
    whole = show(models, Held(held.getvalue(), faces), None, "Blur", 0, LIMIT)
    assert "2 faces were found, and the whole picture is predicted." in whole
    assert "What the model sees" not in whole
    assert cells(html, 0) != cells(whole, 0)


def test_nothing_that_is_shown_is_a_script(models, picture):
    name = "<script>alert(1)</script>"
    html = show([Model(name, name, models[0].predictor)], Held(picture.read_bytes(), (), name), None, "Blur", 1, LIMIT)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 4
    assert "<script" not in alert(name)
    assert 'role="alert"' in alert(name)


def test_a_broken_picture_is_refused(models):
    with pytest.raises(Refused, match="is no JPEG"):
        show(models, Held(b"x", ()), None, "Blur", 0, LIMIT)


def test_a_run_that_cannot_say_says_why(models):
    class Blind:
        views, task, intervenes = ("context",), models[0].predictor.task, False

    held = io.BytesIO()
    Image.new("RGB", (40, 40)).save(held, "PNG")
    html = show([Model("around", "CAERNet", Blind()), models[0]], Held(held.getvalue(), ()), None, "Blur", 0, LIMIT)
    assert "around looks at a person and what is around, and there is no face to start from." in html
    assert html.count("<table") == 1


def test_how_far_a_change_moves():
    before, now = np.array([0.7, 0.2, 0.1]), np.array([0.3, 0.6, 0.1])
    assert _moved(before, now, False).startswith("40 % of the probability")
    assert _moved(np.array([0.9, 0.2]), np.array([0.5, 0.2]), True).startswith("Changed by 20 points an emotion")


def test_runs_are_called_by_what_tells_them_apart(tmp_path):
    one, two, three = tmp_path / "a" / "run", tmp_path / "b" / "run", tmp_path / "b" / "other"
    assert _names([one]) == ["run"]
    assert _names([one, three]) == ["run", "other"]
    assert _names([one, two]) == ["a/run", "b/run"]
    assert _names([one, one]) == ["run (1)", "run (2)"]


def test_of_several_emotions_each_has_its_own_bar():
    task = Task(("anger", "joy", "sadness"), multilabel=True)
    method = untrained(ERM(), task)
    predictor = Predictor(method, task, Field(32, LIMIT, method.views, True), torch.device("cpu"), False, 8, False)
    held = io.BytesIO()
    Image.effect_mandelbrot((64, 64), (-2, -1, 1, 1), 50).convert("RGB").save(held, "PNG")
    html = show([Model("several", "ERM", predictor)], Held(held.getvalue(), ()), None, "Noise", 1, LIMIT)
    table = next(predictor([under(Image.open(held), "noise", 0.4)]))
    assert cells(html, 0) == {emotion: round(100 * float(table[f"p:{emotion}"][0])) for emotion in task.emotions}
    assert re.search(r"Changed by \d+ points an emotion, from the marks to the bars", html)
