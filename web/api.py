"""
The gateway's application.

Alone, beside a server that runs:

    uvicorn web.api:app --port 8000

scripts/run_torchserve.sh starts it behind the front, with the addresses of `settings.py` set.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from web import schemas, tensors
from web.batch import Batch
from web.exchange import Inference
from web.inference import Infer
from web.page import mount_page
from web.predict import Predict, known_model
from web.readiness import Readiness
from web.refusals import Refused
from web.reload import Caller, Reload, expect_allowed
from web.schemas import answers, refusals
from web.settings import Settings, served_models
from web.swagger import mount_docs
from web.upstream import Upstream

VERSION: Final = "0.1.0"
DESCRIPTION: Final = """A picture goes in, an honest quality score from 0 to 100 comes out.

`POST /predictions/iqa` on the same port is the shortest way; these paths are for those who expect
a form with the field `file`, many files in one request, or the Open Inference Protocol.
"""
ModelName = Annotated[str, Path(description="A registered model that is served.", examples=["iqa"])]
Version = Annotated[
    str, Path(description="The version that is served; another gets 404.", examples=["1"])
]
OptionalName = Annotated[
    str | None, Query(alias="model", description="Which model.", examples=["iqa"])
]


class _Parts:
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


class _Passing(APIRoute):
    """A path that FastAPI describes and one of our own ASGI applications answers."""

    def answered_by(self, name: str) -> None:
        """Let an attribute of `_Parts` answer."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await getattr(scope["app"].state.parts, name)(scope, receive, send)

        self.app: ASGIApp = app


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
        parts = app.state.parts = _Parts(Settings.from_environment())
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
    _add_protocol(app)
    mount_docs(app)
    mount_page(app, [*served_models()])
    return app


def _add_passing(
    app: FastAPI, path: str, name: str, describe: Callable[..., Any], **options: Any
) -> None:
    app.router.add_api_route(
        path, describe, methods=["POST"], route_class_override=_Passing, **options
    )
    route = app.router.routes[-1]
    assert isinstance(route, _Passing)
    route.answered_by(name)


def _add_scoring(app: FastAPI) -> None:
    async def predict(model: OptionalName = None) -> None:
        """
        Score one image: the file of a form in any field, the body itself, or base64 in JSON.

        The content decides, and not the content type.
        """

    async def predict_batch(model: OptionalName = None) -> None:
        """
        Score up to 100 files of one form, in their order; each result has its own status.

        One that is refused costs the others nothing. The fields may have any name.
        """

    for path in ("/predict", "/predict/"):
        _add_passing(
            app, path, "predict", predict, tags=["score"], summary="Score one image",
            response_model=None, openapi_extra=schemas.ONE_FILE,
            include_in_schema=not path.endswith("/"),
            responses={
                200: answers(schemas.NamedScore, "A score.", schemas.NAMED),
                **refusals(schemas.PICTURE),
            },
        )  # fmt: skip
    batch = {"scored": 1, "refused": 1, "results": [
        {"status": 200, **schemas.NAMED}, {"image_name": "a.pdf", "status": 415, **schemas.REFUSED},
    ]}  # fmt: skip
    _add_passing(
        app, "/predict/batch", "batch", predict_batch, tags=["score"],
        summary="Score many images", response_model=None, openapi_extra=schemas.MANY_FILES,
        responses={200: answers(schemas.Batch, "A result for each file.", batch), **refusals()},
    )  # fmt: skip


def _add_service(app: FastAPI) -> None:
    not_ok = {**schemas.IS_OK, "status": "unavailable", "model_status": "not_ready",
              "reason": "restarting: it ended by itself"}  # fmt: skip

    @app.get(
        "/health", tags=["service"], summary="May requests come?",
        responses={
            **refusals(),
            200: answers(schemas.Health, "They may.", schemas.IS_OK),
            503: answers(schemas.Health, "They may not; `reason` says why.", not_ok),
        },
    )  # fmt: skip
    async def health(request: Request, model: OptionalName = None) -> JSONResponse:
        """Say what the supervisor's GET /ready says, with the version that is served."""
        parts: _Parts = request.app.state.parts
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
            200: answers(schemas.Reloaded, "What happened.", schemas.RELOADED),
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
        parts: _Parts = request.app.state.parts
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


def _add_protocol(app: FastAPI) -> None:
    """Add the Open Inference Protocol's paths."""
    options: dict[str, Any] = {"tags": ["Open Inference Protocol"]}
    failures = refusals(model=schemas.InferFailure)

    async def infer(model_name: ModelName) -> None:
        """Score images: an input of BYTES, each element a file, in base64 or binary."""

    async def infer_version(model_name: ModelName, version: Version) -> None:
        """Score images by the version that is served; another version gets 404."""

    @app.get("/v2/health/live", summary="Does the gateway answer?", **options, responses={
        200: answers(schemas.Live, "It does.", {"live": True}), **refusals()})  # fmt: skip
    async def live() -> JSONResponse:
        return JSONResponse({"live": True})

    @app.get("/v2/health/ready", summary="May requests come?", **options, responses={
        **refusals(), 200: answers(schemas.Ready, "They may.", {"ready": True}),
        503: answers(schemas.Ready, "They may not.", {"ready": False})})  # fmt: skip
    async def ready(request: Request) -> JSONResponse:
        verdict = await request.app.state.parts.readiness.verdict()
        return JSONResponse({"ready": verdict.ready}, 200 if verdict.ready else 503)

    server = {"name": "iqa-torchserve", "version": VERSION, "extensions": ["binary_tensor_data"]}

    @app.get("/v2", summary="What is this server?", **options, responses={
        200: answers(schemas.ServerMetadata, "Its name.", server), **refusals()})  # fmt: skip
    async def server_metadata() -> JSONResponse:
        return JSONResponse(server)

    async def described(request: Request, name: str, version: str | None) -> JSONResponse:
        parts: _Parts = request.app.state.parts
        verdict = await parts.readiness.verdict(known_model(name, parts.settings.aliases))
        if version is not None and verdict.version is not None and version != verdict.version:
            raise _other_version(version, verdict.version)
        return JSONResponse(model_metadata(name, verdict.version))

    async def model_ready(request: Request, name: str, version: str | None) -> JSONResponse:
        parts: _Parts = request.app.state.parts
        verdict = await parts.readiness.verdict(known_model(name, parts.settings.aliases))
        if version is not None and verdict.version is not None and version != verdict.version:
            raise _other_version(version, verdict.version)
        return JSONResponse({"name": name, "ready": verdict.ready}, 200 if verdict.ready else 503)

    metadata = {
        200: answers(schemas.ModelMetadata, "Inputs and outputs.", model_metadata("iqa", "1")),
        **failures,
    }
    readiness = {
        **failures,
        200: answers(schemas.ModelReady, "It is.", {"name": "iqa", "ready": True}),
        503: answers(schemas.ModelReady, "It is not.", {"name": "iqa", "ready": False}),
    }
    inferred = {
        200: answers(schemas.InferReply, "Scores.", schemas.INFERRED),
        **refusals(schemas.PICTURE, schemas.InferFailure),
    }
    inferred[200]["content"]["application/octet-stream"] = {
        "schema": {"type": "string", "format": "binary"}
    }
    for path in ("/v2/models/{model_name}", "/v2/models/{model_name}/versions/{version}"):
        has_version = path.endswith("{version}")

        async def of_model(request: Request, model_name: ModelName) -> JSONResponse:
            return await described(request, model_name, None)

        async def of_version(
            request: Request, model_name: ModelName, version: Version
        ) -> JSONResponse:
            return await described(request, model_name, version)

        async def ready_model(request: Request, model_name: ModelName) -> JSONResponse:
            return await model_ready(request, model_name, None)

        async def ready_version(
            request: Request, model_name: ModelName, version: Version
        ) -> JSONResponse:
            return await model_ready(request, model_name, version)

        app.get(path, summary="What does a model take and give?", responses=metadata, **options)(
            of_version if has_version else of_model
        )
        app.get(f"{path}/ready", summary="Is a model ready?", responses=readiness, **options)(
            ready_version if has_version else ready_model
        )
        _add_passing(
            app, f"{path}/infer", "infer", infer_version if has_version else infer,
            summary="Score images", response_model=None, openapi_extra=schemas.INFER_BODY,
            responses=inferred, **options,
        )  # fmt: skip


def model_metadata(name: str, version: str | None) -> dict[str, Any]:
    """Return what the Open Inference Protocol says of a model."""
    shapes = {"interval": [-1, 2]}
    return {
        "name": name,
        "versions": [] if version is None else [version],
        "platform": "torchserve",
        "inputs": [tensors.INPUT],
        "outputs": [
            {"name": one, "datatype": tensors.DATATYPES[one], "shape": shapes.get(one, [-1])}
            for one in tensors.OUTPUTS
        ],
    }


def _other_version(wanted: str, served: str) -> Refused:
    return Refused(
        "not_found", f"version: expected {served}, which is served, got {wanted[:20]!r}."
    )


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
