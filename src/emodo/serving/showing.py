"""What the page shows of a picture, as HTML: the picture under an intervention, and what each run says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from emodo.data import picture
from emodo.detectors import Face, square
from emodo.interventions import INTERVENTIONS, Shown, generator, intervene, tensor
from emodo.serving.models import Model
from emodo.serving.pictures import SIDE, Held, Refused, read
from emodo.tabular import templates
from emodo.thumbnails import address

SHOWN = 640  # pixels of the longer side of a picture on the page
QUALITY = 88  # of its JPEG


@dataclass(frozen=True)
class Change:
    """do(...), of the page's slider: an intervention of `emodo probe`, and its strength at the slider's end."""

    intervention: str
    most: float
    said: str

    def strength(self, share: float) -> float:
        """The strength at this share, 0 to 1, of the slider."""
        return (1 - share) * INTERVENTIONS[self.intervention].unchanged + share * self.most


CHANGES = {
    "Blur": Change("blur", 0.04, "Blurred, radius {:.1%} of the side"),
    "Noise": Change("noise", 0.4, "With noise, deviation {:.0%} of full light"),
    "Gray": Change("gray", 1, "Without {:.0%} of its colour"),
    "Darker": Change("brightness", 0.3, "{:.2f} times as bright"),
    "Brighter": Change("brightness", 2, "{:.2f} times as bright"),
}
"""The strongest of each that `emodo probe` does."""


def show(models: Sequence[Model], held: Held, chosen: int | None, change: str, share: float, max_pixels: int) -> str:
    """The picture and every run's answer, as HTML.

    chosen: which of the faces is predicted; None for the whole picture. change, share: of `CHANGES`, how much of it,
    0 to 1.

    Raises Refused where the picture cannot be decoded.
    """
    image = read(held.data, max_pixels)
    strength = CHANGES[change].strength(share)
    changed = under(image, CHANGES[change].intervention, strength) if share > 0 else image
    said = "As it is" if share == 0 else CHANGES[change].said.format(strength)
    if held.known:
        said += f"; it shows {held.known}"
    face = None if chosen is None else held.faces[chosen]
    return (
        templates()
        .get_template("serve.html.jinja")
        .render(
            picture=_reduced(changed),
            said=f"{said}. {_faces(held.faces, chosen)}",
            square=None if face is None else address(square(changed, face, SIDE), QUALITY),
            faces=[_place(image, one) | {"chosen": at == chosen} for at, one in enumerate(held.faces)],
            cards=[_card(model, image, changed if share > 0 else None, face) for model in models],
        )
    )


def alert(sentence: str) -> str:
    """A sentence that says what is wrong, as HTML that a screen reader says at once."""
    from markupsafe import escape

    return f'<div class="emodo"><p class="alert" role="alert">{escape(sentence)}</p></div>'


def under(image: Image.Image, intervention: str, strength: float) -> Image.Image:
    """The picture under do(...), as `emodo probe` does it; noise is the same each time."""
    return picture(intervene((intervention, strength), Shown(tensor(image)), generator(0, "")).image)


# ------------------------------------------------------------------------------------------------ a run


def _card(model: Model, image: Image.Image, changed: Image.Image | None, face: Face | None) -> dict[str, Any]:
    """What a run says of the picture, and where it was changed, of that, with how far it has moved."""
    card: dict[str, Any] = {"name": model.name, "method": model.method, "refused": None}
    try:
        views = [model.view(one, face) for one in (image, changed) if one is not None]
        table = model.predict(
            [view for view, _ in views], [box for _, box in views] if views[0][1] is not None else None
        )
    except Refused as error:
        return card | {"refused": str(error)}
    task, intervenes = model.predictor.task, model.predictor.intervenes
    p = table[[f"p:{emotion}" for emotion in task.emotions]].to_numpy(float)  # [1 or 2, E]; the last is shown
    now = table.iloc[-1]
    strata = [
        (stratum, _named(task.emotions, now[[f"p:{emotion}|{stratum}" for emotion in task.emotions]].to_numpy(float)))
        for stratum in (task.strata if intervenes else ())
    ]
    return card | {
        "predicted": now["predicted"] or "none",
        "p": _named(task.emotions, p[-1]),
        "before": p[0].tolist() if changed else None,
        "order": np.argsort(-p[0], kind="stable").tolist(),  # of the picture as it is, so that rows stay in place
        "moved": _moved(p[0], p[-1], task.multilabel) if changed else None,
        "about": _about(float(now["disagreement"]), len(strata))
        if strata
        else "One answer: it does not average over strata.",
        "strata": strata,
    }


def _named(emotions: Sequence[str], p: np.ndarray) -> list[tuple[str, float]]:
    return list(zip(emotions, p.tolist(), strict=True))


def _moved(before: np.ndarray, now: np.ndarray, multilabel: bool) -> str:
    """How far the change has moved the probabilities, in words."""
    if multilabel:
        return f"Changed by {100 * np.abs(now - before).mean():.0f} points an emotion, from the marks to the bars."
    share = 100 * np.abs(now - before).sum() / 2
    return f"{share:.0f} % of the probability has moved to other emotions, from the marks to the bars."


def _about(disagreement: float, strata: int) -> str:
    most = 1 - 1 / strata
    return (
        f"P(Y | do(X)), the average over {strata} strata. They disagree by {disagreement:.2f}, where 0 is not at all "
        f"and {most:.2f} the most there could be."
    )


# --------------------------------------------------------------------------------------------- pictures


def _faces(faces: Sequence[Face], chosen: int | None) -> str:
    if not faces:
        return "The whole picture is predicted."
    count = "One face was found" if len(faces) == 1 else f"{len(faces)} faces were found"
    if chosen is None:
        return f"{count}, and the whole picture is predicted."
    return f"{count}; {'it' if len(faces) == 1 else f'number {chosen + 1}'} is predicted."


def _place(image: Image.Image, face: Face) -> dict[str, Any]:
    """Where a face's frame lies over the picture, in CSS."""
    x1, y1, x2, y2 = np.clip(np.array(face.box) / np.tile(image.size, 2), 0, 1) * 100
    return {"place": f"left:{x1:.2f}%;top:{y1:.2f}%;width:{x2 - x1:.2f}%;height:{y2 - y1:.2f}%"}


def _reduced(image: Image.Image) -> str:
    """The picture in a data: address, no larger than the page shows it."""
    small = image.copy()
    small.thumbnail((SHOWN, SHOWN))
    return address(small, QUALITY)
