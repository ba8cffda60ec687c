"""The web page: a picture, a slider that changes it, and what each run says."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from emodo.serving.models import Model
from emodo.serving.pictures import NAMED, SIDE, Finder, Hand, Held, Refused, read
from emodo.serving.showing import CHANGES, alert, show
from emodo.synthetic import faces as generated

WHOLE = "the whole picture"
EXAMPLES = tuple(itertools.product(("happiness", "anger"), ("blue", "gray", "dim")))  # one face in each context

AFTER = 5  # seconds: an upload stays in Gradio's folder after it was read, as the browser asks for it as a preview
EVERY, OLDER = 60, 120  # seconds: uploads that nobody asked about are removed

ABOUT = """
Bars are probabilities. Of a run that intervenes they are **P(Y | do(X))**: each context counts as much as the others;
below them is what it would say in each context alone. Move the slider: nobody's emotion changes when a picture gets
gray or blurred, so bars that move show what a model leans on.

*An expression is not a feeling. What is predicted is the label that annotators would give the picture. Base no decision
about a person on it. Pictures stay in this server's memory while you look at them, and are neither stored nor logged.*
"""


def build(models: Sequence[Model], finder: Finder, max_pixels: int, most_bytes: int) -> gr.Blocks:
    """The page of `models`.

    finder: of faces. max_pixels, most_bytes: of a picture.
    """
    examples = {f"{emotion}, {source}": example(emotion, source) for emotion, source in EXAMPLES}
    drawings, hand = list(examples), Hand(examples)

    def drawn(word: str | None, face: str, change: str, percent: float) -> str:
        """The answers for the picture at hand."""
        if not word:
            return ""
        try:
            held = hand[word]
            return show(models, held, _chosen(face, held), change, percent / 100, max_pixels)
        except Refused as error:
            return alert(str(error))

    def begun(word: str) -> tuple[Any, ...]:
        """A new picture: its faces to choose from, the slider back at 0, its answers."""
        choices = [_face(at) for at in range(len(hand[word].faces))] + [WHOLE]
        face = gr.Radio(choices, value=choices[0], visible=len(choices) > 1)
        return word, face, 0, drawn(word, choices[0], next(iter(CHANGES)), 0)

    def sent(file: dict[str, Any] | None) -> tuple[Any, ...]:
        """A visitor's picture; the place for one is free again."""
        if file is None:
            return (gr.skip(),) * 5
        try:
            data = _taken(file["path"], page.upload_file_set, most_bytes)
            held = Held(data, finder(read(data, max_pixels)))
        except Refused as error:
            return None, None, gr.Radio(visible=False), 0, alert(str(error))
        return None, *begun(hand.take(held))

    def picked(event: gr.SelectData) -> tuple[Any, ...]:
        return begun(drawings[event.index])

    title = f"emodo: {', '.join(model.name for model in models)}"
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(EVERY, OLDER)) as page:
        word = gr.State(None)
        gr.Markdown("# What would the model say in another context?")
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=280):
                upload = gr.Image(
                    sources=["upload", "webcam", "clipboard"],
                    label=f"A picture ({NAMED}, at most {most_bytes / 1e6:g} MB)",
                    height=220,
                    buttons=[],
                    elem_id="upload",
                )
                gallery = gr.Gallery(
                    [Image.open(io.BytesIO(held.data)) for held in examples.values()],
                    label="Or a drawn face",
                    columns=len(examples),
                    allow_preview=False,
                    buttons=[],
                    elem_id="examples",
                )
                change = gr.Radio(list(CHANGES), value=next(iter(CHANGES)), label="Change the picture")
                percent = gr.Slider(0, 100, 0, step=1, label="How strongly, in %", elem_id="strength", buttons=[])
                face = gr.Radio([WHOLE], value=WHOLE, label="What is predicted", visible=False)
            with gr.Column(scale=2, min_width=280):
                answers = gr.HTML(elem_id="answers", padding=False)
        gr.Markdown(ABOUT)

        told: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        state = [word, face, percent, answers]
        # Gradio's own reading of an upload, `preprocess`, would ask all of Pillow's readers.
        upload.change(sent, upload, [upload, *state], preprocess=False, **told)
        gallery.select(picked, None, state, **told)
        for moved in (percent.input, change.input, face.input):
            moved(drawn, [word, face, change, percent], answers, trigger_mode="always_last", **told)
        page.load(lambda: begun(drawings[0]), None, state, **told)
    return page


def style() -> str:
    """The page's CSS."""
    return files("emodo").joinpath("templates/serve.css").read_text(encoding="utf-8")


def example(emotion: str, source: str) -> Held:
    """A face of `emodo generate faces`, [SIDE, SIDE], as a picture at hand: the same person everywhere."""
    identity = generated.draw_identity(0, "blue", 0)
    units = generated.draw_units(0, "blue", 0, emotion, 2, (1, 1), 0)
    scene = generated.draw_scene(0, source, 0, emotion, 2, style=1)
    held = io.BytesIO()
    Image.fromarray(generated.render(identity, scene, units, SIDE)).save(held, "PNG")
    return Held(held.getvalue(), (), emotion)


def _face(at: int) -> str:
    return f"face {at + 1}"


def _chosen(face: str, held: Held) -> int | None:
    """Which face a choice means; the whole picture where there is no such face (any more)."""
    names = [_face(at) for at in range(len(held.faces))]
    return names.index(face) if face in names else None


def _taken(path: str, uploaded: set[str], most_bytes: int) -> bytes:
    """The bytes of an uploaded file, which is removed soon after; no other file is ever opened."""
    if path not in uploaded:
        raise Refused(410, "The picture is no longer at hand: choose it again.")
    uploaded.discard(path)
    with Path(path).open("rb") as stream:
        data = stream.read(most_bytes + 1)
    removal = threading.Timer(AFTER, Path(path).unlink, kwargs={"missing_ok": True})
    removal.daemon = True
    removal.start()
    if len(data) > most_bytes:
        raise Refused(413, f"The picture is larger than {most_bytes / 1e6:g} MB.")
    return data
