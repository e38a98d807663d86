"""The usual tutorial: FastAPI, the torch network, an uploaded file: `uvicorn fastapi_eager:app`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import torch
from fastapi import FastAPI, Request, UploadFile
from iqa.imaging.decoding import decode
from iqa.network import checkpoint
from iqa.tasks.score_scales import ScoreScale, label_of_score

from benchmarks.peers.scoring import MODEL_DIR


@asynccontextmanager
async def load(app: FastAPI) -> AsyncIterator[None]:
    """Load the network when the process starts."""
    app.state.network, card = checkpoint.load(MODEL_DIR)
    app.state.scale = ScoreScale.of_card(card)
    yield


app = FastAPI(lifespan=load)


@app.post("/score")
def score(request: Request, file: UploadFile) -> dict[str, Any]:
    """Score an uploaded file, in FastAPI's thread pool as for every call that blocks."""
    pixels_HWC = np.array(decode(file.file.read()).pixels())
    with torch.inference_mode():
        quality = request.app.state.network(torch.from_numpy(pixels_HWC)[None])
    score = request.app.state.scale.score(quality.item())
    return {"score": score, "label": label_of_score(score)}
