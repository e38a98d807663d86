"""The start page, until there is a page that scores pictures: it says where the interfaces are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

POLICY: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Image quality</title>
<h1>Image quality</h1>
<p>A picture goes in, a quality score from 0 to 100 comes out.
<ul>
<li><a href="/docs">The API</a>, to be tried
<li><a href="/openapi.json">The same, for machines</a>
<li><a href="/health">Is it ready?</a>
</ul>
</html>
"""


def mount_page(app: Starlette, models: Sequence[str] | None = None) -> None:
    """
    Serve `/` and `/predict-ui`.

    Args:
        app: It gets them.
        models: Names of the models that are served; not told here.
    """

    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})

    app.router.routes += [Route("/", page), Route("/predict-ui", page)]
