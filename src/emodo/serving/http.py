"""The HTTP interface: a picture in, the JSON of `emodo predict` out; it describes itself at /docs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from emodo import __version__
from emodo.detectors import Face
from emodo.manifest import BOX
from emodo.prediction import rows
from emodo.serving.models import Model
from emodo.serving.pictures import NAMED, Finder, Refused, read

PREDICT = "/predict"

DESCRIPTION = f"""What trained runs say of a picture: {NAMED}.

    curl -F file=@photo.jpg http://127.0.0.1:7860{PREDICT}

Pictures are neither stored nor logged. An expression is not a feeling: what is predicted is the label that annotators
would give the picture. Base no decision about a person on it."""


class Run(BaseModel):
    """A run that is served."""

    name: str = Field(description="how to ask for it: ?run=NAME")
    method: str = Field(examples=["IERN"])
    emotions: list[str] = Field(description="in the order of the columns p:E")
    strata: list[str] = Field(description="those of P(Y | X, d) in the columns p:E|S; none where it does not intervene")
    needs_box: bool = Field(description="whether a picture needs the person's box, or face=true")


class Error(BaseModel):
    """What is wrong, and what to do."""

    error: str


Row = dict[str, str | float | None]
REFUSALS = {
    408: "It took too long.",
    413: "Too many bytes or pixels.",
    415: f"It is no {NAMED} picture.",
    422: "It is broken, or a parameter does not fit.",
    429: "Too many requests at once.",
}
FORM = {
    "required": ["file"],
    "properties": {"file": {"type": "string", "format": "binary", "description": f"A {NAMED} picture."}},
}


class _InMemory(MultiPartParser):
    """A form whose file never lies on a disk, however large."""

    spool_max_size = 2**40


def interface(models: Sequence[Model], finder: Finder, max_pixels: int, pool: ThreadPoolExecutor) -> FastAPI:
    """The HTTP interface to `models`; the first is asked where a request names none.

    finder: of faces, for requests that want one. max_pixels: of a picture. pool: whose threads decode and predict.
    """
    app = FastAPIOffline(redoc_url=None, title="emodo", version=__version__, description=DESCRIPTION)
    named = {model.name: model for model in models}
    row: Row = {"path": "photo.jpg", "predicted": models[0].predictor.task.emotions[0]}
    row |= {f"p:{emotion}": 1 / (2 + at) for at, emotion in enumerate(models[0].predictor.task.emotions)}

    @app.get("/runs", summary="The runs that are served")
    def list_runs() -> list[Run]:  # pyright: ignore[reportUnusedFunction]
        return [
            Run(
                name=model.name,
                method=model.method,
                emotions=list(model.predictor.task.emotions),
                strata=list(model.predictor.task.strata) if model.predictor.intervenes else [],
                needs_box=model.needs_box,
            )
            for model in models
        ]

    @app.post(
        PREDICT,
        summary="The row of `emodo predict` for one picture",
        responses={
            200: {"content": {"application/json": {"example": row | {"error": None}}}},
            **{status: {"model": Error, "description": said} for status, said in REFUSALS.items()},
        },
        openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}},
    )
    async def predict_file(  # pyright: ignore[reportUnusedFunction]
        request: Request,
        run: Annotated[str | None, Query(description="Which run, by its name; by default the first.")] = None,
        strata: Annotated[bool, Query(description="Add `p:E|S`: P(Y | X, d) in each stratum.")] = False,
        face: Annotated[
            bool,
            Query(description="Find the largest face and predict it, cut out and upright, and not the whole picture."),
        ] = False,
        box: Annotated[
            str | None, Query(description="The person in the picture, in pixels.", examples=["12,20,140,180"])
        ] = None,
    ) -> Row:
        model = named.get(run or models[0].name)
        if model is None:
            raise Refused(404, f"There is no run {run}: there {'is' if len(named) == 1 else 'are'} {', '.join(named)}.")
        corners = _corners(box)
        if face and corners is not None:
            raise Refused(422, "Give a box, or face=true, and not both.")
        name, data = await _file(request)

        def answer() -> Row:
            image = read(data, max_pixels)
            found = _largest(finder, image) if face else None
            view, where = (image, corners) if found is None else model.view(image, found)
            if found is None and corners is None and model.needs_box:
                raise Refused(422, f"{model.name} looks at a person and what is around: give a box, or face=true.")
            table = model.predict([view], None if where is None else [where])
            if not strata:
                table = table.drop(columns=[column for column in table if column.startswith("p:") and "|" in column])
            [predicted] = rows(table)
            place = dict(zip(BOX, (round(side, 1) for side in found.box), strict=True)) if found else {}
            return predicted | place | {"path": name}

        return await asyncio.get_running_loop().run_in_executor(pool, answer)

    @app.get(PREDICT, include_in_schema=False)
    def not_got() -> None:  # pyright: ignore[reportUnusedFunction]
        raise Refused(405, f"A picture is sent by POST: curl -F file=@photo.jpg ADDRESS{PREDICT}; see /docs.")

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        return JSONResponse({"error": str(error)}, error.status)

    @app.exception_handler(HTTPException)
    async def failed(_: Request, error: HTTPException) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        return JSONResponse({"error": f"{error.detail}."}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def misspelt(_: Request, error: RequestValidationError) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        wrong: list[dict[str, Any]] = list(error.errors())
        said = "; ".join(f"{wrong_one['loc'][-1]}: {wrong_one['msg']}" for wrong_one in wrong)
        return JSONResponse({"error": f"A parameter does not fit ({said})."}, 422)

    return app


async def _file(request: Request) -> tuple[str | None, bytes]:
    """The name and bytes of the picture in a form."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Refused(415, "The picture is missing: send a form with it, as curl -F file=@photo.jpg does.")
    try:
        form = await _InMemory(request.headers, request.stream(), max_files=1, max_fields=0).parse()
    except MultiPartException as error:
        raise Refused(422, f"The form cannot be read ({error.message}): it has one field, file.") from None
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Refused(422, "The picture is missing: the form has one field, file.")
        return file.filename, await file.read()
    finally:
        await form.close()


def _corners(box: str | None) -> np.ndarray | None:
    if box is None:
        return None
    try:
        x1, y1, x2, y2 = (float(side) for side in box.split(","))
        if not np.isfinite([x1, y1, x2, y2]).all():
            raise ValueError
    except ValueError:
        raise Refused(422, f"The box is {box!r}: it is four numbers, x1,y1,x2,y2 in pixels.") from None
    return np.array([x1, y1, x2, y2])


def _largest(finder: Finder, image: Any) -> Face:
    found = finder(image)
    if not found:
        why = "No face was found" if finder.name != "none" else "The server finds no faces (--faces)"
        raise Refused(422, f"{why}: send the face alone, or leave face=true out.")
    return found[0]
