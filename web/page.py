"""
The page: its files, the headers they go out with, and the names of the models that it offers.

    GET /, /predict-ui       the page
    GET /static/...          scripts, styles, and the three sample pictures
    GET /page/models         {"models": ["iqa"]}

The page asks the origin that it came from for /predictions/MODEL, /explanations/MODEL and /health.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC: Final = Path(__file__).parent / "static"
GOLDEN: Final = Path(__file__).parents[1] / "handler" / "golden"
SAMPLES: Final = ("lighthouse.jpg", "parrots.jpg", "parrots_blurred.jpg")

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",  # previews and maps are made in the browser
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=()",
    # Asked for again each time, and answered with 304: no script of an older release is left.
    "Cache-Control": "no-cache",
}


def mount_page(app: Starlette, models: Sequence[str]) -> None:
    """
    Add the page to an application.

    Args:
        app: It gets `/`, `/predict-ui`, `/page/models` and `/static`.
        models: Names of the models that are served, the first one chosen at first.
    """
    files = _Files(directory=STATIC)
    samples = _Files(directory=GOLDEN, check_dir=False)  # an image may leave them out

    async def page(request: Request) -> Response:
        return await files.get_response("index.html", request.scope)

    async def sample(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in SAMPLES:  # the folder holds more than pictures
            raise HTTPException(status_code=404)
        return await samples.get_response(name, request.scope)

    async def known_models(request: Request) -> Response:
        return JSONResponse({"models": list(models)}, headers=dict(HEADERS))

    app.router.routes.extend(
        (
            Route("/", page),
            Route("/predict-ui", page),
            Route("/page/models", known_models),
            Route("/static/samples/{name}", sample),
            Mount("/static", files, name="static"),
        )
    )


class _Files(StaticFiles):
    """Files with an ETag and the page's headers."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response
