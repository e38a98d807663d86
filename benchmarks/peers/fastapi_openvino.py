"""FastAPI with the same graph: `uvicorn --workers 2 benchmarks.peers.fastapi_openvino:app`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request

from benchmarks.peers.scoring import Scorer


@asynccontextmanager
async def load(app: FastAPI) -> AsyncIterator[None]:
    """Load the graph when the process starts."""
    app.state.scorer = Scorer()
    yield


app = FastAPI(lifespan=load)


@app.post("/score")
async def score(request: Request) -> dict[str, Any]:
    """
    Score the body.

    In the event loop, not in the thread pool: a process has one compute thread, and a second one
    would only wait for it.
    """
    body = await request.body()
    reply: dict[str, Any] = request.app.state.scorer.score(body)
    return reply
