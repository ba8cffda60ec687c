"""The runs that are served, and what they say of a picture that is in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image

from emodo import runs
from emodo.detectors import Face, square
from emodo.files import told_apart
from emodo.prediction import load
from emodo.predictor import Predictor
from emodo.serving.pictures import SIDE, Refused, face_box

COMPUTING = threading.Lock()  # one batch at a time: PyTorch takes all cores for it


@dataclass(frozen=True)
class Model:
    """A run that is served. name: of its folder, with as many parents as tell it from the others."""

    name: str
    method: str
    predictor: Predictor

    @property
    def needs_box(self) -> bool:
        """Whether it looks at a person and what is around, and has to know where the person is."""
        return bool(self.predictor.views)

    def view(self, image: Image.Image, face: Face | None) -> tuple[Image.Image, np.ndarray | None]:
        """The picture as this model is given it, and the person's box.

        A face is cut out, but for methods that look around it, too: they get the whole picture and the face's box.

        Raises Refused where such a method has no face.
        """
        if self.needs_box:
            if face is None:
                sentence = f"{self.name} looks at a person and what is around, and there is no face to start from."
                raise Refused(422, sentence)
            return image, face_box(image, face)
        return (image, None) if face is None else (square(image, face, SIDE), None)

    def predict(self, images: Sequence[Image.Image], boxes: Sequence[np.ndarray | None] | None = None) -> pd.DataFrame:
        """Predict a few pictures as `emodo predict --strata` would; raises Refused (422) where one cannot be."""
        with COMPUTING:
            table = pd.concat(self.predictor(images, boxes), ignore_index=True)
        broken = table["error"].dropna()
        if len(broken):
            raise Refused(422, f"The picture {broken.iloc[0]}.")
        return table


def load_models(
    folders: Sequence[Path],
    precision: Literal["auto", "fp32", "bf16"],
    accelerator: Literal["auto", "cpu", "gpu"],
    max_pixels: int | None,
) -> list[Model]:
    """Load runs to be served; raises InputError where one is not finished or damaged."""
    models: list[Model] = []
    for name, folder in zip(_names(folders), folders, strict=True):
        predictor = load(folder, precision=precision, accelerator=accelerator, max_pixels=max_pixels)
        predictor.strata = predictor.intervenes
        models.append(Model(name, type(runs.create_method(runs.config(folder))).__name__, predictor))
    return models


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the folders' paths that tell them apart; numbers behind them where one comes twice."""
    whole = [folder.resolve() for folder in folders]
    if len(set(whole)) == len(whole):
        return told_apart(whole)
    return [f"{folder.name} ({at})" for at, folder in enumerate(whole, 1)]
