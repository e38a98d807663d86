"""A client of the server: predictions, and what the management API says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests

TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Ports:
    """
    The ports of one server.

    gRPC cannot be switched off; its ports follow the first two (8080 -> 7070).
    """

    inference: int = 8080
    management: int = 8081
    metrics: int = 8082

    @property
    def grpc_inference(self) -> int:
        """Port of gRPC predictions."""
        return self.inference - 1010

    @property
    def grpc_management(self) -> int:
        """Port of gRPC management."""
        return self.management - 1010

    def by_name(self) -> dict[str, int]:
        """Return all five, under the names of the environment variables that set them."""
        return {
            "INFERENCE_PORT": self.inference,
            "MANAGEMENT_PORT": self.management,
            "METRICS_PORT": self.metrics,
            "INFERENCE_PORT - 1010 (gRPC)": self.grpc_inference,
            "MANAGEMENT_PORT - 1010 (gRPC)": self.grpc_management,
        }


def predict(
    url: str, picture: bytes, version: str | None = None, timeout_s: float = TIMEOUT_S
) -> tuple[int, dict[str, Any]]:
    """
    Send a picture.

    Args:
        url: Of the server, e.g. http://127.0.0.1:8080.
        picture: The file's content.
        version: Only this one may answer; None: the default one.
        timeout_s: For the connection and for each pause of the answer.

    Returns:
        HTTP status and the reply; a reply that is no JSON comes as {"message": text}.

    Raises:
        requests.RequestException: No answer.
    """
    path = "" if version is None else f"/{version}"
    reply = _session().post(
        f"{url}/predictions/iqa{path}",
        data=picture,
        headers={"Content-Type": "application/octet-stream"},
        timeout=timeout_s,
    )
    try:
        body = reply.json()
    except requests.JSONDecodeError:
        body = {"message": reply.text}
    return reply.status_code, body if isinstance(body, dict) else {"message": str(body)}


def describe(management_port: int, version: str | None = None) -> list[dict[str, Any]]:
    """
    Ask the management API about the model `iqa`.

    Args:
        management_port: On this machine.
        version: One version, `all`, or None for the default one.

    Returns:
        One entry a version: modelVersion, modelUrl, workers, jobQueueStatus; empty if there is
        no such model.

    Raises:
        requests.RequestException: No answer.
    """
    path = "" if version is None else f"/{version}"
    url = f"http://127.0.0.1:{management_port}/models/iqa{path}"
    reply = _session().get(url, timeout=5)
    entries = reply.json() if reply.ok else []
    return entries if isinstance(entries, list) else []


def is_alive(inference_port: int, timeout_s: float) -> bool:
    """Tell whether TorchServe on this machine answers at all; what it says is no matter."""
    try:
        _session().get(f"http://127.0.0.1:{inference_port}/ping", timeout=timeout_s)
        return True
    except requests.RequestException:
        return False


def manage(management_port: int, method: str, path: str) -> requests.Response:
    """
    Send the management API on this machine one request.

    Raises:
        requests.RequestException: No answer.
    """
    return _session().request(
        method, f"http://127.0.0.1:{management_port}{path}", timeout=TIMEOUT_S
    )


def load_path(mar: str) -> str:
    """
    Return the path of a POST that begins to load an archive of the model store.

    Its workers take what waits in the queue in pairs (`batchSize` of model-config.yaml), and
    nobody waits for company: a delay of 0 ms is possible here alone. In the archive's yaml and in
    config.properties 0 counts as not set, which is 100 ms (TorchServe 0.12, ModelManager).
    """
    return f"/models?url={mar}&model_name=iqa&max_batch_delay=0&synchronous=false"


def get_json(url: str) -> dict[str, Any]:
    """
    Ask any address of this machine; the status of the answer is no matter.

    Raises:
        requests.RequestException: No answer, or no JSON.
    """
    document: dict[str, Any] = _session().get(url, timeout=5).json()
    return document


def _session() -> requests.Session:
    """Return a session that goes to the server itself: HTTP_PROXY often covers loopback too."""
    session = requests.Session()
    session.trust_env = False
    return session


def ready_workers(entry: dict[str, Any]) -> int:
    """Return how many workers of a `describe` entry can answer."""
    return sum(worker["status"] == "READY" for worker in entry["workers"])
