"""The HTTP interface says what `emodo predict` says, and refuses in sentences."""

import io
import json
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image

from emodo.data import Field
from emodo.detectors import Face
from emodo.methods import CAERNet
from emodo.prediction import predict
from emodo.predictor import Predictor
from emodo.records import Task
from emodo.serving.models import Model, load_models
from untrained import untrained

pytest.importorskip("gradio")

LIMIT = 1_000_000


class Found:
    """A finder that finds one face in pictures of at least 40 pixels, and none in others."""

    name = "pretended"

    def __call__(self, image):
        return [Face((2, 3, 30.26, 31))] if image.width >= 40 else []


@pytest.fixture(scope="module")
def client(trained):
    from starlette.testclient import TestClient

    from emodo.serving.http import interface

    models = load_models(trained, "fp32", "cpu", LIMIT)
    with ThreadPoolExecutor(1) as pool:
        yield TestClient(interface(models, Found(), LIMIT, pool), raise_server_exceptions=False)


@pytest.fixture(scope="module")
def picture(trained):
    return next(trained[0].parent.glob("faces/images/gray/*.png"))


def post(client, data, **parameters):
    return client.post("/predict", params=parameters, files={"file": ("photo.png", data)})


def said(run, picture, capsys, **settings):
    predict(run, [str(picture)], out="-", workers=0, precision="fp32", accelerator="cpu", **settings)
    return json.loads(capsys.readouterr().out) | {"path": "photo.png"}


def close(answer, expected):
    assert list(answer) == list(expected)
    for name, value in expected.items():
        assert answer[name] == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value), name


def test_it_says_what_predict_says(client, trained, picture, capsys):
    answer = post(client, picture.read_bytes())
    assert answer.status_code == 200
    close(answer.json(), said(trained[0], picture, capsys))
    answer = post(client, picture.read_bytes(), run="IERN")
    close(answer.json(), said(trained[1], picture, capsys))
    answer = post(client, picture.read_bytes(), run="IERN", strata=True)
    close(answer.json(), said(trained[1], picture, capsys, strata=True))
    assert any("|" in name for name in answer.json())
    assert not any("|" in name for name in post(client, picture.read_bytes(), strata=True).json())  # ERM has none


def test_a_box_is_cropped_to_as_predict_does(client, trained, picture, capsys, tmp_path):
    (tmp_path / "a.csv").write_text(f"path,x1,y1,x2,y2\n{picture},4,5,20,22\n")
    expected = said(trained[0], tmp_path / "a.csv", capsys)
    close(post(client, picture.read_bytes(), box="4,5,20,22").json(), expected)
    assert expected["p:anger"] != post(client, picture.read_bytes()).json()["p:anger"]


def test_a_face_is_cut_out_first(client):
    held = io.BytesIO()
    Image.effect_mandelbrot((64, 64), (-2, -1, 1, 1), 50).convert("RGB").save(held, "PNG")
    whole, face = (post(client, held.getvalue(), face=face).json() for face in (False, True))
    assert {side: face[side] for side in ("x1", "y1", "x2", "y2")} == {"x1": 2, "y1": 3, "x2": 30.3, "y2": 31}
    assert "x1" not in whole
    assert face["p:anger"] != whole["p:anger"]


def test_it_names_its_runs(client):
    erm, iern = client.get("/runs").json()
    assert (erm["name"], erm["method"], erm["strata"]) == ("ERM", "ERM", [])
    assert (iern["name"], iern["strata"], iern["needs_box"]) == ("IERN", ["blue", "dim", "gray"], False)
    assert erm["emotions"] == ["anger", "disgust", "fear", "happiness", "sadness", "surprise"]


REFUSED = {
    "no picture": (
        415,
        {"content": b"x"},
        "The picture is missing: send a form with it, as curl -F file=@photo.jpg does.",
    ),
    "another field": (422, {"files": {"image": b"x"}}, "The picture is missing: the form has one field, file."),
    "two": (
        422,
        {"files": [("file", b"x"), ("file", b"y")]},
        "The form cannot be read (Too many files. Maximum number of files is 1.): it has one field, file.",
    ),
    "text": (415, {"files": {"file": ("a.jpg", b"x")}}, "The file is no JPEG, PNG or WebP picture."),
    "empty": (422, {"files": {"file": ("a.jpg", b"")}}, "The file is empty (zero bytes)."),
    "run": (404, {"params": {"run": "x"}}, "There is no run x: there are ERM, IERN."),
    "flag": (
        422,
        {"params": {"strata": "perhaps"}},
        "A parameter does not fit (strata: Input should be a valid boolean, unable to interpret input).",
    ),
    "box": (422, {"params": {"box": "1,2,3"}}, "The box is '1,2,3': it is four numbers, x1,y1,x2,y2 in pixels."),
    "nan": (
        422,
        {"params": {"box": "1,2,nan,4"}},
        "The box is '1,2,nan,4': it is four numbers, x1,y1,x2,y2 in pixels.",
    ),
    "outside": (
        422,
        {"params": {"box": "0,0,999,9"}, "files": True},
        "The picture has a box (0, 0, 999, 9) that does not lie within its 32 x 32 pixels.",
    ),
    "both": (422, {"params": {"box": "0,0,9,9", "face": True}}, "Give a box, or face=true, and not both."),
    "no face": (
        422,
        {"params": {"face": True}, "files": True},
        "No face was found: send the face alone, or leave face=true out.",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_refused_in_a_sentence(client, picture, kind):
    status, request, sentence = REFUSED[kind]
    if request.get("files") is True:
        request = request | {"files": {"file": picture.read_bytes()}}
    answer = client.post("/predict", **request)
    assert (answer.status_code, answer.json()) == (status, {"error": sentence})


def test_a_method_that_looks_around_needs_a_box_or_a_face():
    from starlette.testclient import TestClient

    from emodo.serving.http import interface

    task = Task(("anger", "joy"))
    method = untrained(CAERNet(width=16), task)
    predictor = Predictor(method, task, Field(32, LIMIT, method.views, True), torch.device("cpu"), False, 8, False)
    held = io.BytesIO()
    Image.effect_mandelbrot((64, 64), (-2, -1, 1, 1), 50).convert("RGB").save(held, "PNG")
    with ThreadPoolExecutor(1) as pool:
        client = TestClient(interface([Model("around", "CAERNet", predictor)], Found(), LIMIT, pool))
        refused = post(client, held.getvalue())
        assert refused.status_code == 422
        assert refused.json()["error"] == "around looks at a person and what is around: give a box, or face=true."
        face, box = post(client, held.getvalue(), face=True), post(client, held.getvalue(), box="2,3,30.26,31")
        assert (face.status_code, box.status_code) == (200, 200)
        assert face.json()["p:joy"] == box.json()["p:joy"]
        assert client.get("/runs").json()[0]["needs_box"]


def test_it_is_asked_by_post(client):
    answer = client.get("/predict")
    assert answer.status_code == 405
    assert answer.json()["error"].startswith("A picture is sent by POST")


def test_it_describes_itself_and_the_description_loads_nothing_from_elsewhere(client):
    described = client.get("/openapi.json").json()
    predicting = described["paths"]["/predict"]["post"]
    assert set(predicting["responses"]) == {"200", "408", "413", "415", "422", "429"}
    form = predicting["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["file"]["format"] == "binary"
    assert {parameter["name"] for parameter in predicting["parameters"]} == {"run", "strata", "face", "box"}
    page = client.get("/docs").text
    assert "swagger-ui-bundle.js" in page
    assert "http://" not in page
    assert "https://" not in page
    for script in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert client.get(f"/static-offline-docs/{script}").status_code == 200


def test_the_requests_of_its_page_are_answered(trained, picture):
    from starlette.testclient import TestClient

    from emodo.serving.http import interface

    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    lines = [shlex.split(line) for line in page.splitlines() if line.startswith("curl ")]
    assert len(lines) == 4
    models = [Model("iern", "IERN", load_models([trained[1]], "fp32", "cpu", LIMIT)[0].predictor)]
    wide = io.BytesIO()
    Image.open(picture).resize((64, 64)).save(wide, "PNG")
    with ThreadPoolExecutor(1) as pool:
        client = TestClient(interface(models, Found(), LIMIT, pool))
        for *options, address in lines:
            path = address.removeprefix("http://127.0.0.1:7860")
            if options == ["curl", "-F", "file=@photo.jpg"]:
                assert client.post(path, files={"file": wide.getvalue()}).status_code == 200, address
            else:
                assert client.get(path).status_code == 200, address
        parameters = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["parameters"]
    table = page.partition("| parameter |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [each["name"] for each in parameters]
