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

    `fit` takes a manifest, as labels, sources and people are in it; so what slices arrays (GridSearchCV,
    cross_val_score) is not for it: use `emodo sweep` and `emodo benchmark`. Parameters mean what they mean in
    `emodo.train`, which has a few more.

    Attributes, once fitted:
        classes_: the emotions in the order of `predict_proba`, [E].
        task_: the emotions and the confounder.
        method_: the trained network.
        settings_: the run's configuration.
        scores_: of the manifest's test rows (see `emodo.metrics`); None where they are not known.
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

    def fit(self, manifest: str | Path, y: None = None) -> Self:
        """Train on the manifest's rows whose split is train, and score those whose split is test.

        manifest: see docs/data.md; `emodo split` writes the splits. y: not used, as the emotions are in the manifest.

        Raises InputError as `emodo.train` does, and where y is given.
        """
        if y is not None:
            raise InputError("fit takes no y: the emotions are in the manifest")
        method = self.method
        if not isinstance(method, Method):
            method = runs.create_method({"method": {"class_path": method}})
        names = set(self.get_params(deep=False)) - {"method", "run", "overwrite"}
        settings = {name: getattr(self, name) for name in names}
        with TemporaryDirectory() as folder:
            run = Path(self.run) if self.run else Path(folder) / "run"
            return self._fitted(train(manifest, method, run=run, overwrite=self.overwrite, **settings))

    def predict_proba(self, images: str | Path | Sequence[Any], split: str = "test") -> np.ndarray:
        """P(Y | do(X)) of each image, [n, E], in the order of `classes_`; sigmoids where rows may hold several.

        images: a manifest, of which `split` names the rows to take (`all`: every row, as of one without splits); an
        image file; or a sequence of image files, Pillow images or arrays, [H, W, 3] uint8. Methods that look at
        more than the person need the boxes of a manifest.

        Raises InputError for an image that cannot be read, with its place.
        """
        check_is_fitted(self, "method_")
        table = self._of_manifest(images, split)
        if table is not None:
            return table[[f"p:{emotion}" for emotion in self.task_.emotions]].to_numpy(np.float64)
        return self._of_images([images] if isinstance(images, str | Path) else list(images))

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
        predicted, truth = self.predict(images), np.asarray(y)
        if len(predicted) != len(truth):
            raise InputError(f"score has {len(predicted)} images and {len(truth)} emotions: give one each")
        return float((predicted == truth).mean())

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
        if self.method_.views:
            raise InputError(
                f"{type(self.method_).__name__} crops to the person or masks it: give a manifest with boxes (x1, y1, "
                "x2, y2) in place of images"
            )
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
