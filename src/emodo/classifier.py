"""`EmotionClassifier`: training and prediction in scikit-learn's manners, on manifests and images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from emodo import runs
from emodo.methods import Method
from emodo.multilabel import check_single
from emodo.records import InputError, Task
from emodo.training import train

if TYPE_CHECKING:
    from emodo.predictor import Predictor

TABLES = (".csv", ".tsv", ".parquet")
AT_A_TIME = 64


class EmotionClassifier(ClassifierMixin, BaseEstimator):
    """A trained run as an estimator: `EmotionClassifier(method="IERN").fit(manifest).predict(images)`.

    `fit` takes a manifest, or images with their emotions, as what slices arrays (cross_val_score, GridSearchCV) gives
    them. Parameters mean what they mean in `emodo.train`, which has a few more.

    Attributes, once fitted:
        classes_: the emotions in the order of `predict_proba`, [E].
        task_: the emotions and the confounder.
        method_: the trained network.
        settings_: the run's configuration.
        scores_: of the manifest's test rows (see `emodo.metrics`); None where they are not known, as of images.
    """

    classes_: np.ndarray
    task_: Task
    method_: Method
    settings_: dict[str, Any]
    scores_: dict[str, Any] | None

    def __init__(
        self,
        method: str | Method = "IERN",
        *,
        stratum: str | None = None,
        confounder: str | Path | None = None,
        emotions: list[str] | None = None,
        multilabel: bool = False,
        backbone: str = "resnet50",
        pretrained: bool | str | Path | None = None,
        size: int = 224,
        crop: bool = True,
        augmentation: Literal["released", "light", "none"] = "released",
        epochs: int = 160,
        batch_size: int = 64,
        precision: Literal["fp32", "tf32", "bf16"] = "fp32",
        accelerator: Literal["auto", "cpu", "gpu"] = "auto",
        workers: int = 0,
        seed: int = 0,
        run: str | Path | None = None,
        overwrite: bool = False,
    ) -> None:
        """Keep the parameters; nothing is checked before `fit`, as scikit-learn has it.

        method: a name of `emodo.methods`, or a method with settings of its own. run: folder to keep the run in; None
        keeps nothing on disk. overwrite: replace that folder. All others as in `emodo.train`.
        """
        self.method = method
        self.stratum = stratum
        self.confounder = confounder
        self.emotions = emotions
        self.multilabel = multilabel
        self.backbone = backbone
        self.pretrained = pretrained
        self.size = size
        self.crop = crop
        self.augmentation: Literal["released", "light", "none"] = augmentation
        self.epochs = epochs
        self.batch_size = batch_size
        self.precision: Literal["fp32", "tf32", "bf16"] = precision
        self.accelerator: Literal["auto", "cpu", "gpu"] = accelerator
        self.workers = workers
        self.seed = seed
        self.run = run
        self.overwrite = overwrite

    @classmethod
    def from_run(cls, run: str | Path) -> Self:
        """The trained run of this folder, or a model that was made to be shared, ready to predict.

        Raises InputError where the folder is neither, or the training has not finished.
        """
        run = Path(run)
        settings = runs.config(run)
        names = set(cls().get_params()) - {"method", "run", "overwrite", "accelerator"}  # of this machine, not of that
        known = {name: value for name, value in settings.items() if name in names}
        return cls(runs.create_method(settings), **known)._fitted(run)

    def fit(
        self,
        images: str | Path | Sequence[Any],
        y: Sequence[str] | None = None,
        *,
        strata: Sequence[str] | None = None,
    ) -> Self:
        """Train on a manifest's rows whose split is train, and score those whose split is test; or train on images.

        images: a manifest (see docs/data.md; `emodo split` writes the splits); or a sequence of image files, Pillow
        images or arrays, [H, W, 3] uint8, all of which are trained on. y: the emotions of these images, as a manifest
        has them. strata: the images' strata, for methods that need them, as their sources.

        Raises InputError as `emodo.train` does, where a manifest comes with y or strata, and where images come without
        y, or are to be kept as a `run`: it would name no manifest.
        """
        method = self.method
        if not isinstance(method, Method):
            method = runs.create_method({"method": {"class_path": method}})
        with TemporaryDirectory() as folder:
            if isinstance(images, str | Path):
                if y is not None or strata is not None:
                    raise InputError("a manifest takes no y and no strata: emotions and strata are its columns")
                return self._fitted(self._train(Path(images), method, Path(self.run or Path(folder) / "run")))
            if y is None or self.run is not None or self.stratum is not None:
                raise InputError(
                    "images are fitted with their emotions as y, without `run` and `stratum`: those are for a manifest"
                )
            _check_views(method)
            if method.needs_strata and strata is None:
                raise InputError(f"{type(method).__name__} needs the stratum of every image: give them as `strata`")
            manifest = Path(folder) / "images.csv"
            _rows(list(images), y, strata, Path(folder)).to_csv(manifest, index=False)
            try:
                self._fitted(self._train(manifest, method, Path(folder) / "run"))
            except InputError as error:
                raise InputError(str(error).replace(str(manifest), "the images")) from None
            self.scores_ = None  # a black image is no test
            return self

    def _train(self, manifest: Path, method: Method, run: Path) -> Path:
        names = set(self.get_params(deep=False)) - {"method", "run", "overwrite"}
        settings = {name: getattr(self, name) for name in names}
        return train(manifest, method, run=run, overwrite=self.overwrite, **settings)

    def predict_proba(self, images: str | Path | Sequence[Any], split: str = "test") -> np.ndarray:
        """P(Y | do(X)) of each image, [n, E], in the order of `classes_`; sigmoids where rows may hold several.

        images: a manifest, of which `split` names the rows to take (`all`: every row, as of one without splits); an
        image file; or a sequence of image files, Pillow images or arrays, [H, W, 3] uint8. Methods that look at
        more than the person need the boxes of a manifest.

        Raises InputError for an image that cannot be read, with its place.
        """
        check_is_fitted(self, "method_")
        table = self._of_manifest(images, split)
        if table is None:
            found = self._of_images([images] if isinstance(images, str | Path) else list(images))
        else:
            found = table[[f"p:{emotion}" for emotion in self.task_.emotions]].to_numpy(np.float64)
        # scikit-learn's scores ask that rows add up to one as float64 does, and the network computes in float32
        return found if self.task_.multilabel else found / found.sum(axis=1, keepdims=True)

    def predict(self, images: str | Path | Sequence[Any], split: str = "test") -> np.ndarray:
        """The emotion of each image, [n] text; where rows may hold several, [n, E] of 0 and 1, those above 0.5.

        images, split: as for `predict_proba`.
        """
        probabilities = self.predict_proba(images, split)
        if self.task_.multilabel:
            return (probabilities > 0.5).astype(int)
        return self.classes_[probabilities.argmax(axis=1)]

    def score(  # pyright: ignore[reportIncompatibleMethodOverride]  # a manifest may stand in the place of X and y
        self, images: str | Path | Sequence[Any], y: Sequence[str] | None = None, split: str = "test"
    ) -> float:
        """The share of images whose emotion is right; where rows may hold several, the mean average precision.

        images, split: as for `predict_proba`. y: their emotions; those of a manifest are in it.

        Raises InputError where images that are no manifest come without y, or a manifest comes with one.
        """
        from emodo.metrics import score

        check_is_fitted(self, "method_")
        table = self._of_manifest(images, split)
        if (table is None) == (y is None):
            raise InputError("score takes a manifest, which holds the emotions, or images with their emotions as y")
        if table is not None:
            found = score(table, self.task_)
            return float(found["mean_average_precision" if self.task_.multilabel else "accuracy"])
        if self.task_.multilabel:
            raise InputError("several emotions a row are scored on a manifest alone")
        assert y is not None
        given = [images] if isinstance(images, str | Path) else list(images)
        truth = np.array(_texts("y", y, len(given)))
        return float((self.predict(given) == truth).mean())

    def _fitted(self, run: Path) -> Self:
        self.task_, self.settings_ = runs.task(run), runs.config(run)
        self.method_ = runs.load_method(run)
        self.classes_ = np.array(self.task_.emotions)
        try:
            self.scores_ = runs.scores(run)
        except InputError:  # weights that came without a test
            self.scores_ = None
        return self

    def _of_manifest(self, images: str | Path | Sequence[Any], split: str) -> pd.DataFrame | None:
        """The table of predictions of a manifest; None for images."""
        from emodo import manifest as manifests
        from emodo.data import check_boxes, check_images
        from emodo.inference import check_accelerator, predict

        if not isinstance(images, str | Path) or Path(images).suffix.lower() not in TABLES:
            return None
        path, settings = Path(images), self.settings_
        check_accelerator(self.accelerator)
        frame = manifests.load(path, self.task_.emotions)
        if "split" in frame and split != "all":
            frame = frame.loc[frame["split"] == split]
            if frame.empty:
                raise InputError(f"{path} has no row whose split is {split!r}: choose another split, or `all`")
        if not self.task_.multilabel:
            check_single(frame, path, "this classifier recognises one a row")
        check_images(frame, path, settings["max_pixels"])
        if self.method_.views:
            check_boxes(frame, path, type(self.method_).__name__)
        return predict(
            self.method_,
            self.task_,
            frame,
            settings["size"],
            AT_A_TIME,
            self.workers,
            self.accelerator,
            settings["max_pixels"],
            settings.get("crop", True),
        )

    def _of_images(self, images: list[Any]) -> np.ndarray:
        _check_views(self.method_)
        parts = [np.empty((0, len(self.task_.emotions)))]
        done = 0
        for table in self._predictor()(images, workers=self.workers):
            for at, (path, error) in enumerate(zip(table["path"], table["error"], strict=True)):
                if not pd.isna(error):
                    named = "" if pd.isna(path) else f" ({path})"
                    raise InputError(f"image {done + at + 1}{named}: {error}")
            parts.append(table[[f"p:{emotion}" for emotion in self.task_.emotions]].to_numpy(np.float64))
            done += len(table)
        return np.concatenate(parts)

    def _predictor(self) -> Predictor:
        from emodo.data import Field
        from emodo.inference import check_accelerator, device_of
        from emodo.predictor import Predictor

        check_accelerator(self.accelerator)
        settings = self.settings_
        images = Field(settings["size"], settings["max_pixels"], self.method_.views, settings.get("crop", True))
        return Predictor(self.method_, self.task_, images, device_of(self.accelerator), False, AT_A_TIME, False)


def _check_views(method: Method) -> None:
    if method.views:
        raise InputError(
            f"{type(method).__name__} crops to the person or masks it: give a manifest with boxes (x1, y1, x2, y2) in "
            "place of images"
        )


def _rows(images: list[Any], y: Sequence[str], strata: Sequence[str] | None, folder: Path) -> pd.DataFrame:
    """A manifest of images to train on, and of a black one to test on; what is no file yet is written to `folder`."""
    from PIL import Image

    if not images:
        raise InputError("there are no images to fit")
    columns = {"emotion": _texts("y", y, len(images))}
    if strata is not None:
        columns["stratum"] = _texts("strata", strata, len(images))
    paths: list[str] = []
    for at, image in enumerate(images):
        if isinstance(image, str | Path):
            paths.append(str(Path(image).resolve()))
            continue
        file = folder / f"{at}.png"
        try:
            (Image.fromarray(image) if isinstance(image, np.ndarray) else image).convert("RGB").save(file)
        except (TypeError, ValueError, AttributeError) as error:
            raise InputError(f"image {at + 1} is no file, no Pillow image and no [H, W, 3] uint8 ({error})") from None
        paths.append(str(file))
    frame = pd.DataFrame({"path": paths, **columns, "split": "train"})
    black = folder / "black.png"  # without a test image there is no run
    Image.new("RGB", (1, 1)).save(black)
    return pd.concat([frame, frame.head(1).assign(path=str(black), split="test")])


def _texts(name: str, values: Sequence[Any], count: int) -> list[str]:
    """Labels of `count` images; raises InputError where there are more or fewer, or one is no text."""
    if len(values) != count:
        raise InputError(f"{name} has {len(values)} labels for {count} images: give one each")
    for at, value in enumerate(values):
        if not isinstance(value, str):
            raise InputError(f"{name} of image {at + 1} is {value!r}: give its name, as text")
    return [str(value) for value in values]
