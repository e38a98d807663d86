"""What the paths of the application share: the parts behind them, and how one is described."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.routing import APIRoute
from starlette.types import ASGIApp

from web.batch_route import Batch
from web.forwarding import Inference
from web.infer_route import Infer
from web.predict_route import Predict
from web.readiness import Readiness
from web.reload_route import Reload
from web.settings import Settings
from web.torchserve_client import Upstream

OptionalName = Annotated[
    str | None, Query(alias="model", description="Which model.", examples=["iqa"])
]

OptionalTopK = Annotated[
    int | None,
    Query(
        ge=1, le=999_999,
        description="Of a model of classes: at most so many probabilities. Without it all of up to "
        "20 classes, else the five likeliest.",
        examples=[3],
    ),
]  # fmt: skip


class Parts:
    """What the paths need; made at the start, when the environment is read."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.upstream = Upstream(settings.inference_url)
        self.readiness = Readiness(settings.ready_url)
        self.reload = Reload(settings, self.readiness)
        inference = Inference(self.upstream)
        self.predict = Predict(inference, settings.aliases)
        self.batch = Batch(inference, settings.aliases)
        self.infer = Infer(inference, settings.aliases)


class Passing(APIRoute):
    """A path that FastAPI describes and one of our own ASGI applications answers."""

    def answered_by(self, name: str) -> None:
        """Let an attribute of `Parts` answer."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await getattr(scope["app"].state.parts, name)(scope, receive, send)

        self.app: ASGIApp = app


def add_passing(
    app: FastAPI, path: str, name: str, describe: Callable[..., Any], **options: Any
) -> None:
    """Add a path that an attribute of `Parts` answers; `describe` says what it is."""
    app.router.add_api_route(
        path, describe, methods=["POST"], route_class_override=Passing, **options
    )
    route = app.router.routes[-1]
    assert isinstance(route, Passing)
    route.answered_by(name)
