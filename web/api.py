"""
The gateway's application.

Alone, beside a server that runs:

    uvicorn web.api:app --port 8000

scripts/run_torchserve.sh starts it behind the front, with the addresses of `settings.py` set.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from web import request_bodies, responses, schemas
from web.dependencies import OptionalName, OptionalTopK, Parts, add_passing
from web.open_inference_routes import VERSION, add_protocol
from web.page import mount_page
from web.predict_route import known_model
from web.refusals import Refused
from web.reload_route import Caller, expect_allowed
from web.responses import answers, refusals
from web.settings import Settings, served_models
from web.swagger import mount_docs

DESCRIPTION: Final = """A picture goes in, an honest quality score from 0 to 100 comes out.

`POST /predictions/iqa` on the same port is the shortest way; these paths are for those who expect
a form with the field `file`, many files in one request, or the Open Inference Protocol.
"""


class _Application(FastAPI):
    """FastAPI, with a document that says what happens here and nothing else."""

    def openapi(self) -> dict[str, Any]:
        """Return /openapi.json: no parameter can fail FastAPI's validation, so no such answer."""
        if self.openapi_schema is None:
            document = super().openapi()
            for operation in (one for path in document["paths"].values() for one in path.values()):
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
            components = document["components"]
            for name in ("HTTPValidationError", "ValidationError"):
                components["schemas"].pop(name, None)
            components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        assert self.openapi_schema is not None  # FastAPI keeps it
        return self.openapi_schema


def make_app() -> FastAPI:
    """Return the application; nothing is connected before it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parts = app.state.parts = Parts(Settings.from_environment())
        yield
        await parts.upstream.close()

    app = _Application(
        title="Image quality",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={Refused: _refused, HTTPException: _http_error, Exception: _failed},
    )
    _add_scoring(app)
    _add_service(app)
    add_protocol(app)
    mount_docs(app)
    mount_page(app, [*served_models()])
    return app


def _add_scoring(app: FastAPI) -> None:
    async def predict(model: OptionalName = None, top_k: OptionalTopK = None) -> None:
        """
        Score one image: the file of a form in any field, the body itself, or base64 in JSON.

        The content decides, and not the content type.
        """

    async def predict_batch(model: OptionalName = None, top_k: OptionalTopK = None) -> None:
        """
        Score up to 100 files of one form, in their order; each result has its own status.

        One that is refused costs the others nothing. The fields may have any name.
        """

    for path in ("/predict", "/predict/"):
        add_passing(
            app, path, "predict", predict, tags=["score"], summary="Score one image",
            response_model=None, openapi_extra=request_bodies.ONE_FILE,
            include_in_schema=not path.endswith("/"),
            responses={
                200: answers(schemas.NamedScore, "A score.", responses.NAMED),
                **refusals(responses.PICTURE),
            },
        )  # fmt: skip
    batch = {"scored": 1, "refused": 1, "results": [
        {"status": 200, **responses.NAMED},
        {"image_name": "a.pdf", "status": 415, **responses.REFUSED},
    ]}  # fmt: skip
    add_passing(
        app, "/predict/batch", "batch", predict_batch, tags=["score"],
        summary="Score many images", response_model=None, openapi_extra=request_bodies.MANY_FILES,
        responses={200: answers(schemas.Batch, "A result for each file.", batch), **refusals()},
    )  # fmt: skip


def _add_service(app: FastAPI) -> None:
    not_ok = {**responses.IS_OK, "status": "unavailable", "model_status": "not_ready",
              "reason": "restarting: it ended by itself"}  # fmt: skip

    @app.get(
        "/health", tags=["service"], summary="May requests come?",
        responses={
            **refusals(),
            200: answers(schemas.Health, "They may.", responses.IS_OK),
            503: answers(schemas.Health, "They may not; `reason` says why.", not_ok),
        },
    )  # fmt: skip
    async def health(request: Request, model: OptionalName = None) -> JSONResponse:
        """Say what the supervisor's GET /ready says, with the version that is served."""
        parts: Parts = request.app.state.parts
        aliases = parts.settings.aliases
        name = parts.settings.model_name if model is None else known_model(model, aliases)
        verdict = await parts.readiness.verdict(model)
        document = {
            "status": "ok" if verdict.ready else "unavailable",
            "model_status": "loaded" if verdict.ready else "not_ready",
            "model_name": name,
            "model_version": verdict.version,
            "model_info": f"Alias: {aliases[name]}",
            "reason": verdict.reason,
        }
        return JSONResponse(document, status_code=200 if verdict.ready else 503)

    @app.post(
        "/reload-model", tags=["service"], summary="Serve what the alias names",
        responses={
            200: answers(schemas.Reloaded, "What happened.", responses.RELOADED),
            **refusals((401, 403, 409)),
        },
        openapi_extra={"security": [{}, {"token": []}]},
    )  # fmt: skip
    async def reload_model(request: Request, model: OptionalName = None) -> JSONResponse:
        """
        Do what `python -m scripts.deploy sync` does, and answer when it is done.

        From this machine; from elsewhere with a bearer token, if the gateway was started with one.
        A version that is refused gets 409 with the reason, and the one before serves on.
        """
        parts: Parts = request.app.state.parts
        settings, headers = parts.settings, request.headers
        caller = Caller(
            address=request.client.host if request.client else "",
            host=headers.get("host", ""),
            origin=headers.get("origin", ""),
            authorization=headers.get("authorization", ""),
        )
        expect_allowed(caller, settings.reload_token)
        name = known_model(model, settings.aliases) if model else settings.model_name
        return JSONResponse(await parts.reload.run(name))


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    document: dict[str, Any] = error.document()
    if request.url.path.startswith("/v2/"):
        document = {"error": str(error), "reason": error.reason}
    headers = {k.decode(): v.decode() for k, v in error.answer().headers.items()}
    return JSONResponse(document, error.status, headers)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    """Answer what the router refuses in our shape."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = dict(error.headers or {}).get("Allow", "")
        refused = Refused("method_not_allowed", f"method: expected {allowed}, got another.")
    else:
        refused = Refused("not_found", "path: expected one of those in /docs, got another.")
    reply = await _refused(request, refused)
    reply.headers.update(error.headers or {})
    return reply


async def _failed(request: Request, error: Exception) -> JSONResponse:
    return await _refused(
        request,
        Refused("internal", "gateway: expected to handle the request, could not. Send it again."),
    )


app = make_app()
