"""
The Open Inference Protocol's paths (version 2, REST).

What they carry: `open_inference_messages.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import FastAPI, Path, Request
from fastapi.responses import JSONResponse

from web import open_inference_messages, request_bodies, responses, schemas
from web.dependencies import Parts, add_passing
from web.predict_route import known_model
from web.refusals import Refused
from web.responses import answers, refusals

VERSION: Final = "0.1.0"
ModelName = Annotated[str, Path(description="A registered model that is served.", examples=["iqa"])]
Version = Annotated[
    str, Path(description="The version that is served; another gets 404.", examples=["1"])
]


def add_protocol(app: FastAPI) -> None:
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
        parts: Parts = request.app.state.parts
        verdict = await parts.readiness.verdict(known_model(name, parts.settings.aliases))
        if version is not None and verdict.version is not None and version != verdict.version:
            raise _other_version(version, verdict.version)
        return JSONResponse(model_metadata(name, verdict.version))

    async def model_ready(request: Request, name: str, version: str | None) -> JSONResponse:
        parts: Parts = request.app.state.parts
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
        200: answers(schemas.InferReply, "Scores.", responses.INFERRED),
        **refusals(responses.PICTURE, schemas.InferFailure),
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
        add_passing(
            app, f"{path}/infer", "infer", infer_version if has_version else infer,
            summary="Score images", response_model=None, openapi_extra=request_bodies.INFER_BODY,
            responses=inferred, **options,
        )  # fmt: skip


def model_metadata(name: str, version: str | None) -> dict[str, Any]:
    """Return what the Open Inference Protocol says of a model."""
    shapes = {"interval": [-1, 2]}
    return {
        "name": name,
        "versions": [] if version is None else [version],
        "platform": "torchserve",
        "inputs": [open_inference_messages.INPUT],
        "outputs": [
            {
                "name": one,
                "datatype": open_inference_messages.DATATYPES[one],
                "shape": shapes.get(one, [-1]),
            }
            for one in open_inference_messages.OUTPUTS
        ],
    }


def _other_version(wanted: str, served: str) -> Refused:
    return Refused(
        "not_found", f"version: expected {served}, which is served, got {wanted[:20]!r}."
    )
