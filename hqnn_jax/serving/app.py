"""The web application: the page and its endpoint, with limits on what is taken."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from starlette.middleware.trustedhost import TrustedHostMiddleware

import hqnn_jax
from hqnn_jax.data.decoding import RASTER_FORMATS
from hqnn_jax.errors import DataError
from hqnn_jax.serving.answer import Answer, Answerer

MAX_BYTES = 10 * 2**20
"""The largest file that is taken."""
_PAGE = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_HEADERS = {
    # The page loads nothing from elsewhere, and sends nothing elsewhere.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_FILE = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "requestBody": {
        "required": True,
        "description": f"An image file: {', '.join(RASTER_FORMATS)}.",
        "content": {"application/octet-stream": _FILE, "image/*": _FILE},
    }
}


class Problem(BaseModel):
    """Why there is no answer, in one line."""

    detail: str


class ModelAnswer(BaseModel):
    """What is served."""

    name: str
    description: str
    class_names: list[str]
    resolution: int
    formats: list[str]
    max_bytes: int


def create_app(
    answerer: Answerer,
    name: str,
    *,
    hosts: tuple[str, ...],
    max_bytes: int = MAX_BYTES,
) -> FastAPI:
    """Return the application; the model is compiled by `answerer.warm_up`, not here.

    Args:
        answerer: answers for the model.
        name: what the page calls it.
        hosts: names by which the server is asked for; `*` for any. Others are refused, so that a
            page from elsewhere cannot reach it under a name of its own.
        max_bytes: largest file that is taken.
    """
    # Its pages of documentation load scripts from elsewhere; the description itself is served.
    app = FastAPI(
        title=f"hqnn_jax: {name}", version=hqnn_jax.__version__, docs_url=None, redoc_url=None
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    app.middleware("http")(_with_headers)
    for address, (file, kind) in _PAGE.items():
        app.add_api_route(address, _static(file, kind), include_in_schema=False)
    described = _described(answerer, name, max_bytes)

    @app.get("/model")
    def model() -> ModelAnswer:
        """Say what is served."""
        return described

    @app.post(
        "/predict",
        openapi_extra=_BODY,
        responses={400: {"model": Problem}, 413: {"model": Problem}},
    )
    async def predict(request: Request, explain: bool = False) -> Answer:
        """Say what the model sees in an image file, which is the body of the request."""
        content = await _body(request, max_bytes)
        return await run_in_threadpool(_answer, answerer, content, explain)

    return app


def _answer(answerer: Answerer, content: bytes, explain: bool) -> Answer:
    try:
        image, notes = answerer.decode(content)
    except DataError as error:
        raise HTTPException(400, str(error)) from error
    return answerer.answer(image, notes, explain=explain)


async def _body(request: Request, max_bytes: int) -> bytes:
    """Read the body of a request, and no more of it than is allowed."""
    told = request.headers.get("content-length", "")
    content = bytearray()
    if not told.isdecimal() or int(told) <= max_bytes:
        async for part in request.stream():
            content += part
            if len(content) > max_bytes:
                break
        else:
            if not content:
                raise HTTPException(400, "no image: the body of the request is empty")
            return bytes(content)
    raise HTTPException(413, f"the file is larger than {max_bytes / 2**20:g} MiB")


async def _with_headers(request: Request, answer: Any) -> Response:
    response: Response = await answer(request)
    response.headers.update(_HEADERS)
    return response


def _static(file: str, kind: str) -> Any:
    content = files(__package__).joinpath("page", file).read_bytes()
    return lambda: Response(content, media_type=kind)


def _described(answerer: Answerer, name: str, max_bytes: int) -> ModelAnswer:
    model = answerer.model
    data = model.record.trained_on
    drawn = " (drawn by a program, no real images)" if data.synthetic else ""
    size = f"{model.resolution} × {model.resolution} px"
    return ModelAnswer(
        name=name,
        description=f"{len(model.class_names)} classes, trained on {data.name}{drawn} at {size}",
        class_names=list(model.class_names),
        resolution=model.resolution,
        formats=list(RASTER_FORMATS),
        max_bytes=max_bytes,
    )
