"""How each server is started and spoken to, as its own documentation says."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from iqa.tasks.score_scales import ScoreScale

from benchmarks.peers import torchserve
from benchmarks.peers.processes import plain_environment

ROOT: Final = Path(__file__).resolve().parents[2]
PEER_PYTHON: Final = ROOT / ".venv-bench" / "bin" / "python"
BOUNDARY: Final = "iqa-benchmark-boundary"

Encoded = tuple[bytes, dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Site:
    """
    Where a contender runs.

    Attributes:
        mar: The archive.
        model_dir: The same archive unpacked.
        workspace: A folder of the contender's own, for logs and temporary files.
        port: Of HTTP; the two after it, and the gRPC ports 1010 below, are free too.
        workers: Processes that score, one compute thread each.
    """

    mar: Path
    model_dir: Path
    workspace: Path
    port: int
    workers: int


@dataclass(frozen=True, kw_only=True)
class Launch:
    """
    How to start a server, and its language.

    Attributes:
        command: Program and arguments; run in the workspace.
        environment: All of it.
        url: Where POST goes.
        encode: Picture file -> request body and headers.
        score_of: Reply -> score in [0, 100].
    """

    command: list[str]
    environment: dict[str, str]
    url: str
    encode: Callable[[bytes], Encoded]
    score_of: Callable[[bytes], float]


def iqa(site: Site) -> Launch:
    """Return this project's server, without the front: its peers have none. Any archive."""
    return _own_settings(site, site.mar)


def torchserve_noop(site: Site) -> Launch:
    """Return the same server around a handler that does nothing."""
    return _own_settings(site, torchserve.pack_noop(site.workspace / "store", site.model_dir))


def torchserve_eager(site: Site) -> Launch:
    """Return TorchServe with stock settings and handler, one thread a worker."""
    return _stock_torchserve(site, plain_environment(OMP_NUM_THREADS="1"))


def torchserve_eager_default(site: Site) -> Launch:
    """Return the same with as many threads a worker as torch chooses."""
    return _stock_torchserve(site, plain_environment())


def fastapi_eager(site: Site) -> Launch:
    """Return the tutorial: one uvicorn process, all threads."""
    return _uvicorn(site, "fastapi_eager:app", 1, multipart("file"))


def fastapi_openvino(site: Site) -> Launch:
    """Return FastAPI around the graph, as many uvicorn processes as workers."""
    return _uvicorn(site, "fastapi_openvino:app", site.workers, raw)


def litserve(site: Site) -> Launch:
    """Return LitServe around the graph."""
    return Launch(
        command=[
            str(peer_python()), "-m", "benchmarks.peers.litserve_openvino",
            str(site.port), str(site.workers),
        ],
        environment=_peer_environment(site),
        url=f"http://127.0.0.1:{site.port}/predict",
        encode=base64_json,
        score_of=score_field,
    )  # fmt: skip


def bentoml(site: Site) -> Launch:
    """Return BentoML around the graph."""
    return Launch(
        command=[
            str(peer_python()), "-m", "bentoml", "serve",
            "benchmarks.peers.bentoml_openvino:Score",
            "--host", "127.0.0.1", "--port", str(site.port),
        ],
        environment=_peer_environment(site)
        | {
            "WORKERS": str(site.workers),
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(site.workspace / "bentoml"),
        },
        url=f"http://127.0.0.1:{site.port}/score",
        encode=multipart("image"),
        score_of=score_field,
    )  # fmt: skip


def mlflow_serve(site: Site) -> Launch:
    """Return MLflow's own server of the model as the registry holds it."""
    from mlflow.models import Model

    from training.registry import flavor

    model = site.workspace / "mlflow-model"
    flavor.save_model(str(model), Model(), site.model_dir)
    return Launch(
        command=[
            sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(model),
            "--env-manager", "local", "--host", "127.0.0.1", "--port", str(site.port),
            "--workers", str(site.workers),
        ],
        environment=_peer_environment(site)
        | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # its uvicorn
            "OMP_NUM_THREADS": "1",
            "UVICORN_ACCESS_LOG": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_TRACKING_URI": f"sqlite:///{site.workspace / 'mlflow.db'}",
        },
        url=f"http://127.0.0.1:{site.port}/invocations",
        encode=pixels_json,
        score_of=lambda reply: calibrated(site, float(json.loads(reply)["predictions"][0])),
    )  # fmt: skip


def limit(site: Site, picture: Path) -> tuple[list[str], dict[str, str]]:
    """Return command and environment of one bare process: our own interpreter, as the workers'."""
    return [sys.executable, "-m", "benchmarks.peers.limit", str(picture)], _peer_environment(site)


def raw(picture: bytes) -> Encoded:
    """Return the file as it is."""
    return picture, {"Content-Type": "application/octet-stream"}


def multipart(field: str) -> Callable[[bytes], Encoded]:
    """Return the encoding of a form with one file."""

    def encode(picture: bytes) -> Encoded:
        head = (
            f"--{BOUNDARY}\r\n"
            f'Content-Disposition: form-data; name="{field}"; filename="picture.jpg"\r\n'
            "Content-Type: image/jpeg\r\n\r\n"
        )
        body = head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
        return body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

    return encode


def base64_json(picture: bytes) -> Encoded:
    """Return JSON that holds the file as base64."""
    body = json.dumps({"image": base64.b64encode(picture).decode()}).encode()
    return body, {"Content-Type": "application/json"}


def pixels_json(picture: bytes) -> Encoded:
    """Return JSON that holds the network's input; decoding is the client's work, once."""
    from iqa.imaging.decoding import decode

    pixels_NHWC = decode(picture).pixels()[None]
    body = json.dumps({"inputs": pixels_NHWC.tolist()}, separators=(",", ":")).encode()
    return body, {"Content-Type": "application/json"}


def score_field(reply: bytes) -> float:
    """Return a JSON reply's field `score`."""
    return float(json.loads(reply)["score"])


def calibrated(site: Site, quality: float) -> float:
    """Return the score of a reply that holds the network's own quality."""
    return ScoreScale.of_card(json.loads((site.model_dir / "model.json").read_text())).score(
        quality
    )


def peer_python() -> Path:
    """
    Return the interpreter of the peers' environment.

    Raises:
        FileNotFoundError: It was not made.
    """
    if not PEER_PYTHON.exists():
        raise FileNotFoundError(
            f"{PEER_PYTHON.relative_to(ROOT)}: expected the peers' environment, got none. "
            "Run: scripts/setup_env.sh --bench"
        )
    return PEER_PYTHON


def _own_settings(site: Site, mar: Path) -> Launch:
    store = site.workspace / "store"
    store.mkdir(exist_ok=True)
    served = store / mar.name
    if served != mar:  # the folder of the archive becomes the model store
        shutil.copyfile(mar, served)
    return Launch(
        command=[
            sys.executable, "-m", "benchmarks.peers.torchserve",
            str(served), str(site.port), str(site.workers),
        ],
        environment=plain_environment(
            PYTHONPATH=str(ROOT), IQA_STATE_DIR=str(site.workspace / "state")
        ),
        url=f"http://127.0.0.1:{site.port}/predictions/iqa",
        encode=raw,
        score_of=score_field,
    )  # fmt: skip


def _stock_torchserve(site: Site, environment: dict[str, str]) -> Launch:
    mar = torchserve.pack_eager(site.workspace / "store", site.model_dir)
    temporary = site.workspace / "tmp"  # TorchServe keeps its process id there, one a folder
    temporary.mkdir(exist_ok=True)
    return Launch(
        command=torchserve.stock_command(mar, site.port, site.workers),
        environment={**environment, "TMPDIR": str(temporary), "TEMP": str(temporary)},
        url=f"http://127.0.0.1:{site.port}/predictions/iqa",
        encode=raw,
        score_of=lambda reply: calibrated(site, float(reply)),
    )


def _uvicorn(site: Site, app: str, workers: int, encode: Callable[[bytes], Encoded]) -> Launch:
    return Launch(
        command=[
            str(peer_python()), "-m", "uvicorn", f"benchmarks.peers.{app}",
            "--host", "127.0.0.1", "--port", str(site.port), "--workers", str(workers),
            "--no-access-log", "--log-level", "warning",
        ],
        environment=_peer_environment(site),
        url=f"http://127.0.0.1:{site.port}/score",
        encode=encode,
        score_of=score_field,
    )  # fmt: skip


def _peer_environment(site: Site) -> dict[str, str]:
    # The archive's `iqa`, and no other, is what a peer imports.
    return plain_environment(PYTHONPATH=f"{site.model_dir}{os.pathsep}{ROOT}")
