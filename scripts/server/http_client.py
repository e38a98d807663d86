"""
One request to TorchServe: to score an image, to read a page of metrics or a document.

What has no answer is an exception that says where to look; it is never the model's fault.
"""

from __future__ import annotations

import re
from typing import Any, Final

import requests

from scripts.server.addresses import Addresses

ASK_TIMEOUT_S: Final = 15.0
"""TorchServe answers from few threads, and unpacking an archive holds one of them."""
LOOK_TIMEOUT_S: Final = 5.0
"""For frequent checks from the same machine: short, so that a hang shows."""
SCORE_TIMEOUT_S: Final = 35.0
"""The server ends a request after 30 s (responseTimeout), so an answer comes before this."""
FULL_QUEUE: Final = "no worker"  # TorchServe 0.12 says so of a full queue, too


class NotNow(RuntimeError):
    """The circumstances do not allow it; the version is not to blame and may be tried again."""


class NoAnswer(NotNow):
    """The server cannot be reached, or takes too long."""


def predict(
    url: str, image: bytes, path: str, timeout_s: float = SCORE_TIMEOUT_S
) -> tuple[int, dict[str, Any]]:
    """
    Send an image to be scored.

    Args:
        url: The server's address, e.g. http://127.0.0.1:8080.
        image: The file's content.
        path: Model, or model/version.
        timeout_s: Longest wait for the connection, and longest pause of the answer.

    Returns:
        HTTP status and the reply; a reply that is no JSON object comes as {"message": text}.

    Raises:
        NotNow: No answer.
    """
    headers = {"Content-Type": "application/octet-stream"}
    reply = send("POST", f"{url}/predictions/{path}", timeout_s, data=image, headers=headers)
    try:
        body = reply.json()
    except requests.JSONDecodeError:
        body = None
    return reply.status_code, body if isinstance(body, dict) else {"message": reply.text}


def samples(addresses: Addresses, name: str) -> list[tuple[dict[str, str], float]]:
    """
    Return labels and value of each series of a metric of TorchServe and its workers.

    Raises:
        NotNow: No answer.
    """
    return samples_of(send("GET", f"{addresses.metrics}/metrics", LOOK_TIMEOUT_S).text, name)


def is_full(code: int, reply: dict[str, Any]) -> bool:
    """Tell whether a reply of TorchServe's own says that there is no room in the queue."""
    return code == 503 and FULL_QUEUE in str(reply.get("message"))


def is_alive(url: str, timeout_s: float) -> bool:
    """Tell whether a server answers `/ping` at all; what it says does not matter."""
    try:
        send("GET", f"{url}/ping", timeout_s)
    except NoAnswer:
        return False
    return True


def get_json(url: str, timeout_s: float = 5.0) -> dict[str, Any]:
    """
    Ask an address for a JSON document; the status of the answer does not matter.

    Raises:
        NotNow: No answer, or no JSON.
    """
    reply = send("GET", url, timeout_s)
    try:
        document: dict[str, Any] = reply.json()
    except requests.JSONDecodeError as error:
        raise NotNow(f"{url}: expected JSON, got {reply.text[:80]!r}.") from error
    return document


def send(method: str, url: str, timeout_s: float, **arguments: Any) -> requests.Response:
    """
    Send one request; `arguments` are those of requests.

    Raises:
        NoAnswer: None came.
    """
    with requests.Session() as session:
        session.trust_env = False  # HTTP_PROXY often covers loopback too
        try:
            return session.request(method, url, timeout=timeout_s, **arguments)
        except requests.RequestException as error:
            raise NoAnswer(
                f"TorchServe {url.split('/models')[0]}: expected an answer, got "
                f"{type(error).__name__}. See: scripts/run_torchserve.sh --status"
            ) from error


def samples_of(page: str, name: str) -> list[tuple[dict[str, str], float]]:
    """Return labels and value of each series of a metric on a page of Prometheus' text format."""
    rows = re.findall(rf"^{name}\{{(.*)\}} (\S+)", page, re.MULTILINE)
    return [(dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)) for labels, value in rows]


def message_of(reply: requests.Response) -> str:
    """Return what a refusal says, on one line."""
    try:
        return " ".join(str(reply.json()["message"]).split()).rstrip(".")
    except (requests.JSONDecodeError, KeyError, TypeError):
        return reply.text[:200]
