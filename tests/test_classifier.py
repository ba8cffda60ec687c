"""Scikit-learn's manners: parameters, cloning, fitting, and answers that are the run's own."""

import inspect

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score

from conftest import SMALL
from emodo import EmotionClassifier, runs
from emodo.methods import ERM, IERN, CAERNet
from emodo.records import InputError
from emodo.training import train

ONCE = SMALL | {"epochs": 1}
TINY = IERN(channels=16, init="default")


@pytest.fixture(scope="module")
def fitted(faces, tmp_path_factory):
    return EmotionClassifier(TINY, run=tmp_path_factory.mktemp("runs") / "iern", **ONCE).fit(faces)


@pytest.fixture(scope="module")
def rows(faces):
    frame = pd.read_csv(faces, dtype=str)
    return frame.assign(file=[str(faces.parent / path) for path in frame["path"]])


@pytest.fixture(scope="module")
def tested(rows):
    return rows.query("split == 'test'")


def expected(classifier):
    table = runs.predictions(classifier.run)
    return table[[f"p:{emotion}" for emotion in classifier.classes_]].to_numpy()


def test_parameters_are_those_of_train_under_their_names():
    ours = inspect.signature(EmotionClassifier).parameters
    theirs = inspect.signature(train).parameters
    assert set(ours) < set(theirs)
    for name, parameter in ours.items():
        assert name == "method" or parameter.default == theirs[name].default, name


def test_it_is_cloned_and_set_as_scikit_learn_does():
    first = EmotionClassifier(TINY, epochs=3)
    assert first.get_params()["epochs"] == 3
    second = clone(first).set_params(epochs=4, method="ERM")
    assert (first.epochs, second.epochs, second.method, second.seed) == (3, 4, "ERM", 0)
    assert clone(first).method.hyperparameters() == TINY.hyperparameters()
    with pytest.raises(ValueError, match="Invalid parameter 'epoch'"):
        first.set_params(epoch=1)
    assert repr(EmotionClassifier("ERM", epochs=3)) == "EmotionClassifier(epochs=3, method='ERM')"


def test_it_is_fitted_before_it_predicts():
    for ask in (EmotionClassifier().predict, EmotionClassifier().predict_proba, EmotionClassifier().score):
        with pytest.raises(NotFittedError):
            ask(["face.jpg"])


def test_it_is_the_run_that_train_makes(fitted, faces, tmp_path):
    run = train(faces, TINY, run=tmp_path / "run", **ONCE)
    assert runs.config(run) == runs.config(fitted.run) == fitted.settings_
    np.testing.assert_array_equal(runs.predictions(run)["p:fear"], runs.predictions(fitted.run)["p:fear"])
    assert fitted.scores_ == runs.scores(run)
    assert list(fitted.classes_) == sorted(fitted.classes_) == list(runs.task(run).emotions)


def test_a_manifests_tested_are_predicted_as_train_did(fitted, faces):
    for _ in range(2):  # folding twice changes nothing
        np.testing.assert_allclose(fitted.predict_proba(faces), expected(fitted), atol=1e-6)
    assert list(fitted.predict(faces)) == list(runs.predictions(fitted.run)["predicted"])
    assert fitted.score(faces) == pytest.approx(fitted.scores_["accuracy"])
    assert len(fitted.predict(faces, split="all")) == 108
    with pytest.raises(InputError, match=r"fold1\.csv has no row whose split is 'validation'"):
        fitted.predict(faces, split="validation")


def test_images_come_as_files_pictures_and_arrays(fitted, tested):
    files = list(tested["file"])
    pictures = [Image.open(file) for file in files]
    arrays = [np.asarray(picture.convert("RGB")) for picture in pictures]
    for images in (files, pictures, arrays):
        np.testing.assert_allclose(fitted.predict_proba(images), expected(fitted), atol=1e-6)
    np.testing.assert_allclose(fitted.predict_proba(files[0]), expected(fitted)[:1], atol=1e-6)
    assert fitted.predict_proba([]).shape == (0, 6)
    truth = list(tested["emotion"])
    assert fitted.score(files, truth) == pytest.approx(fitted.scores_["accuracy"])


@pytest.mark.parametrize("method", [TINY, "ERM"], ids=["IERN", "ERM"])
def test_images_are_fitted_as_the_rows_of_a_manifest(rows, tmp_path, method):
    train_rows, tested = rows.query("split == 'train'"), rows.query("split == 'test'")
    manifest = tmp_path / "manifest.csv"
    frame = pd.concat([train_rows, tested])  # training rows first: the seed draws by row
    frame.assign(path=frame["file"]).drop(columns="file").to_csv(manifest, index=False)
    expected = EmotionClassifier(method, **ONCE).fit(manifest)
    files, y, strata = (train_rows[name].to_numpy(object) for name in ("file", "emotion", "source"))
    arrays = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    for images in (files, [Image.open(file) for file in files], arrays, np.stack(arrays)):
        found = EmotionClassifier(method, **ONCE).fit(images, y, strata=strata)
        np.testing.assert_array_equal(found.predict_proba(tested["file"]), expected.predict_proba(tested["file"]))
        assert list(found.classes_) == sorted(set(y))
        assert found.task_.strata == expected.task_.strata
        assert found.scores_ is None


def test_scikit_learn_cross_validates_by_people(rows):
    files, y, people = (rows[name].to_numpy(object) for name in ("file", "emotion", "subject"))
    classifier, parts = EmotionClassifier("ERM", **ONCE), GroupKFold(2)
    found = cross_val_score(classifier, files, y, groups=people, cv=parts, error_score="raise")
    train_rows, test_rows = next(iter(parts.split(files, y, people)))
    assert not set(people[train_rows]) & set(people[test_rows])
    by_hand = clone(classifier).fit(files[train_rows], y[train_rows])
    assert len(found) == 2
    assert found[0] == by_hand.score(files[test_rows], y[test_rows])
    assert found[0] == (by_hand.predict(files[test_rows]) == y[test_rows]).mean()


def test_scikit_learn_searches_settings_and_slices_the_strata(rows):
    some = rows.groupby(["emotion", "source"]).head(2)
    grid = {"method": [IERN(channels=16, lr=lr, init="default") for lr in (1e-3, 1e-2)], "epochs": [1]}
    search = GridSearchCV(EmotionClassifier(**ONCE), grid, cv=2, scoring="neg_log_loss", error_score="raise")
    search.fit(list(some["file"]), list(some["emotion"]), strata=list(some["source"]))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_estimator_
    assert best.method_.lr == search.best_params_["method"].lr
    assert best.task_.strata == tuple(sorted(set(some["source"])))
    assert set(search.predict(list(some["file"])[:3])) <= set(best.classes_)


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        ("ERM", {"y": None}, "images are fitted with their emotions as y"),
        ("ERM", {"y": ["fear"]}, "y has 1 labels for 4 images: give one each"),
        ("ERM", {"y": ["fear", 2, "fear", "joy"]}, "y of image 2 is 2: give its name, as text"),
        ("ERM", {"y": ["fear", "happines", "fear", "fear"]}, r"the images.* row 2.*'happines'"),
        ("ERM", {"strata": ["a", "b"]}, "strata has 2 labels for 4 images"),
        ("ERM", {"images": []}, "there are no images to fit"),
        ("ERM", {"images": ["none.png"] * 4}, r"the images.* row 1.*none\.png"),
        ("ERM", {"images": [np.zeros((4, 4, 3))] * 4}, r"image 1 is no file, no Pillow image and no \[H, W, 3\] uint8"),
        ("IERN", {}, "IERN needs the stratum of every image: give them as `strata`"),
        ("CAERNet", {}, "CAERNet crops to the person or masks it: give a manifest with boxes"),
    ],
)
def test_images_that_cannot_be_fitted_are_named(rows, method, change, message):
    given = {"images": list(rows["file"][:4]), "y": ["fear", "fear", "happiness", "happiness"]} | change
    if "images" in change:
        given["y"] = given["y"][: len(given["images"])]
    with pytest.raises(InputError, match=message) as told:
        EmotionClassifier(method, **ONCE).fit(**given)
    assert "images.csv" not in str(told.value)


def test_images_are_not_kept_as_a_run(rows, tmp_path):
    with pytest.raises(InputError, match="without `run` and `stratum`"):
        EmotionClassifier("ERM", run=tmp_path / "run", **ONCE).fit(list(rows["file"]), list(rows["emotion"]))
    assert not list(tmp_path.iterdir())


def test_without_a_folder_nothing_is_left_on_disk(faces, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = EmotionClassifier("ERM", **ONCE).fit(faces)
    assert isinstance(found.method_, ERM)
    assert found.score(faces) == found.scores_["accuracy"]
    assert not list(tmp_path.iterdir())


def test_a_run_becomes_a_classifier(fitted, faces):
    again = EmotionClassifier.from_run(fitted.run)
    np.testing.assert_array_equal(again.predict_proba(faces), fitted.predict_proba(faces))
    assert again.method.hyperparameters() == TINY.hyperparameters()
    assert (again.size, again.epochs, again.backbone) == (32, 1, "small")
    with pytest.raises(InputError, match=r"nothing is not a run"):
        EmotionClassifier.from_run("nothing")


def test_several_emotions_are_zeros_and_ones(faces, tmp_path):
    found = EmotionClassifier("ERM", multilabel=True, **ONCE).fit(faces)
    shown = found.predict(faces)
    assert shown.shape == (36, 6)
    np.testing.assert_array_equal(shown, found.predict_proba(faces) > 0.5)
    assert found.score(faces) == pytest.approx(found.scores_["mean_average_precision"])
    with pytest.raises(InputError, match="several emotions a row are scored on a manifest alone"):
        found.score([str(faces.parent / "face.png")], ["fear"])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["none.png"], r"image 1 \(none\.png\): does not exist"),
        ([np.zeros((4, 4, 3), np.uint8)] * 70 + [np.zeros((4, 4, 3))], r"image 71: is an array of float64"),
        ([np.zeros((0, 4, 3), np.uint8)], r"image 1: cannot be read \("),
        ("none.csv", r"none\.csv"),
    ],
)
def test_what_cannot_be_read_is_named(fitted, images, message):
    with pytest.raises(InputError, match=message):
        fitted.predict(images)


def test_fit_and_score_take_what_they_need(fitted, faces, tested):
    for given in ({"y": list(tested["emotion"])}, {"strata": list(tested["source"])}):
        with pytest.raises(
            InputError, match="a manifest takes no y and no strata: emotions and strata are its columns"
        ):
            EmotionClassifier("ERM", **ONCE).fit(faces, **given)
    with pytest.raises(InputError, match="no method of emodo is called 'SVM'"):
        EmotionClassifier("SVM", **ONCE).fit(faces)
    for images, y in ((faces, ["fear"]), (list(tested["file"]), None)):
        with pytest.raises(InputError, match="score takes a manifest, which holds the emotions, or images with"):
            fitted.score(images, y)
    with pytest.raises(InputError, match="y has 1 labels for 36 images: give one each"):
        fitted.score(list(tested["file"]), ["fear"])
    with pytest.raises(InputError, match="y of image 2 is 3: give its name, as text"):
        fitted.score(list(tested["file"])[:2], ["fear", 3])


def test_a_method_that_needs_boxes_needs_a_manifest(faces, tested, tmp_path):
    frame = pd.read_csv(faces, dtype=str)
    frame["path"] = [str(faces.parent / path) for path in frame["path"]]
    manifest = tmp_path / "people.csv"
    frame.assign(x1=8, y1=6, x2=24, y2=28).to_csv(manifest, index=False)
    found = EmotionClassifier(CAERNet(width=8), **ONCE).fit(manifest)
    assert found.predict_proba(manifest).shape == (36, 6)
    with pytest.raises(InputError, match=r"CAERNet crops to the person or masks it: give a manifest with boxes"):
        found.predict(list(tested["file"]))
