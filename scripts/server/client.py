"""
The client of TorchServe's three APIs: predict, load, make default, unload, describe, count.

It reaches any server that its addresses name, so it can also run in another container. A prediction
of the model `iqa` is `POST /predictions/iqa`; the model's name is a value everywhere.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Final

import requests

from scripts.server.addresses import Addresses
from scripts.server.http_client import (
    ASK_TIMEOUT_S,
    SCORE_TIMEOUT_S,
    NotNow,
    is_full,
    message_of,
    predict,
    samples_of,
    send,
)

UNPACK_TIMEOUT_S: Final = 60.0
ROOM_S: Final = 10.0
"""How long our own images try to find room in a full queue. At three times what the server can do
a place is free for a third of the time, and whoever comes first has it."""
ROOM_POLL_S: Final = 0.02


class LoadRefused(ValueError):
    """TorchServe could not load a version; nothing of it is left there."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """
    One version that TorchServe has loaded.

    Attributes:
        version: The registry's integer, as text.
        mar: The file's name in the model store.
        pids: Process ids of its workers, as the server's machine counts them.
        ready: How many of them can answer.
        queue: Requests that wait; those being scored are not counted.
    """

    version: str
    mar: str
    pids: tuple[int, ...]
    ready: int
    queue: int

    @property
    def is_ready(self) -> bool:
        """Whether all its workers can answer."""
        return 0 < self.ready == len(self.pids)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """
    Counts since the server's start.

    TorchServe's own count of 2xx also holds what the management API answered, so it is not used.

    Attributes:
        by_path: Predictions by the version in the request's path, or "default" without one.
        failed: 5xx, of all versions of the model.
        expired: Of these, the handler's 503 for what waited too long; known up to a second later.
    """

    by_path: dict[str, int]
    failed: int
    expired: int = 0

    @property
    def total(self) -> int:
        """All predictions, with or without success."""
        return sum(self.by_path.values()) + self.failed


class TorchServe:
    """
    One model of one server.

    Args:
        addresses: The server's addresses.
        model_name: Under which TorchServe serves the model; the registered model's name.
    """

    def __init__(self, addresses: Addresses, model_name: str) -> None:
        self.addresses, self.model_name = addresses, model_name

    def default(self, timeout_s: float = ASK_TIMEOUT_S) -> Loaded | None:
        """Return the version that unversioned requests get, or None if nothing is loaded."""
        entries = self.entries("", timeout_s)
        return _loaded(entries[0]) if entries else None

    def loaded(self) -> dict[str, Loaded]:
        """Return all loaded versions by their number."""
        return {found.version: found for found in map(_loaded, self.entries("/all"))}

    def provenance(self, version: str) -> dict[str, Any]:
        """Return what the loaded archive says of itself; a ready worker answers this."""
        entries = self.entries(f"/{version}?customized=true", timeout_s=SCORE_TIMEOUT_S)
        told = entries[0].get("customizedMetadata") if entries else None
        if isinstance(told, str):  # a handler may answer in text
            told = json.loads(told)
        return told if isinstance(told, dict) else {}

    def find(self, version: str) -> Loaded | None:
        """Return a version if it is loaded."""
        entries = self.entries(f"/{version}")
        return _loaded(entries[0]) if entries else None

    def load(self, mar: str, workers: int | None = None) -> None:
        """
        Begin to load an archive of the model store; its workers are ready seconds later.

        Not with `synchronous=true`, the default: TorchServe then waits on one of the few threads
        that also answer predictions (2 on 2 cores: requests hung for 5.7 s during a load of 6.2 s,
        and for 0.4 s this way). So a load that fails has to be noticed from its workers.

        Args:
            mar: File name.
            workers: How many; None: as at the server's start, `default_workers_per_model`.

        Raises:
            LoadRefused: It cannot be unpacked; TorchServe has removed it again.
            NotNow: No answer, or the disk is full.
        """
        # A delay of 0 ms: the workers take what waits in the queue in pairs (`batchSize` of
        # model-config.yaml), and nobody waits for company. 0 is possible here alone: in the
        # archive's yaml and in config.properties it counts as not set, which is 100 ms
        # (TorchServe 0.12, ModelManager).
        options = f"url={mar}&model_name={self.model_name}&max_batch_delay=0&synchronous=false"
        if workers is not None:
            options += f"&initial_workers={workers}"
        reply = self._manage("POST", f"/models?{options}", UNPACK_TIMEOUT_S)
        if reply.ok or reply.status_code == 409:  # 409: somebody else's load of it is under way
            return
        reason = message_of(reply)
        if "No space left" in reason:
            raise NotNow(f"{mar}: expected room for its files, got: {reason}. Free the disk.")
        raise LoadRefused(f"{mar}: expected it to load, got {reply.status_code}: {reason}.")

    def scale(self, version: str, workers: int) -> None:
        """
        Let a version have more workers; they are ready seconds later.

        Raises:
            NotNow: It is not loaded, or no answer.
        """
        path = f"/models/{self.model_name}/{version}?min_worker={workers}&synchronous=false"
        reply = self._manage("PUT", path)
        if not reply.ok:
            raise NotNow(
                f"version {version}: expected {workers} workers, got: {message_of(reply)}."
            )

    def set_default(self, version: str) -> None:
        """
        Let unversioned requests go to a loaded version, from the next one on.

        Raises:
            NotNow: It is not loaded, or no answer.
        """
        reply = self._manage("PUT", f"/models/{self.model_name}/{version}/set-default")
        if not reply.ok:
            raise NotNow(f"version {version}: expected it as default, got: {message_of(reply)}.")

    def unload(self, version: str) -> None:
        """
        Unload an idle version: a busy one would lose its requests.

        Raises:
            NotNow: It is the default one, or no answer.
        """
        reply = self._manage("DELETE", f"/models/{self.model_name}/{version}", UNPACK_TIMEOUT_S)
        if not reply.ok and reply.status_code != 404:
            raise NotNow(f"version {version}: expected it unloaded, got: {message_of(reply)}.")

    def score(
        self,
        image: bytes,
        version: str | None = None,
        timeout_s: float = SCORE_TIMEOUT_S,
        room_s: float = ROOM_S,
    ) -> tuple[int, dict[str, Any]]:
        """
        Send an image to a version, or to the default one, until there is room for it.

        Behind the front there always is: it lets in fewer requests than the queue holds. Without
        it the queue may be full of what others send, which says nothing of the version.

        Args:
            image: The file's content.
            version: Of the registry; None: the default one.
            timeout_s: For an answer, see `predict`.
            room_s: How long to try again where the queue is full.

        Returns:
            As `predict`; a 503 for which `is_full` is true where no room was found.

        Raises:
            NotNow: No answer.
        """
        path = self.model_name if version is None else f"{self.model_name}/{version}"
        deadline = time.monotonic() + room_s
        while True:
            code, reply = predict(self.addresses.inference, image, path, timeout_s)
            if not is_full(code, reply) or time.monotonic() >= deadline:
                return code, reply
            time.sleep(ROOM_POLL_S)

    def answers(self) -> Answers:
        """Return how many requests the model has answered since the server's start."""
        page = send("GET", f"{self.addresses.metrics}/metrics", ASK_TIMEOUT_S).text
        by_path = {
            labels["model_version"]: int(count)
            for labels, count in samples_of(page, "ts_inference_requests_total")
            if labels["model_name"] == self.model_name
        }
        # TorchServe's count of 5xx is the server's. With other models on it, only what the handler
        # counts is this model's own: a worker that died shows in the management API.
        handled = samples_of(page, "iqa_requests_total")
        if any(labels["ModelName"] != self.model_name for labels, _ in handled):
            failed = [
                count
                for labels, count in handled
                if labels["ModelName"] == self.model_name and labels["outcome"] == "failed"
            ]
            expired = []
        else:
            failed = [count for _, count in samples_of(page, "Requests5XX")]
            expired = [count for labels, count in handled if labels["outcome"] == "expired"]
        return Answers(by_path=by_path, failed=int(sum(failed)), expired=int(sum(expired)))

    def entries(self, path: str = "", timeout_s: float = ASK_TIMEOUT_S) -> list[dict[str, Any]]:
        """
        Return what TorchServe says of the model's versions.

        Args:
            path: Empty: the default version; `/all`, or `/3`.
            timeout_s: Longest wait for the answer.

        Returns:
            One entry a version: modelVersion, modelUrl, workers, jobQueueStatus; empty if nothing
            is loaded.

        Raises:
            NotNow: No answer, or another one than a list.
        """
        reply = self._manage("GET", f"/models/{self.model_name}{path}", timeout_s)
        if reply.status_code == 404:
            return []
        try:
            entries = reply.json() if reply.ok else None
        except requests.JSONDecodeError:  # of a proxy, say
            entries = None
        if not isinstance(entries, list):
            raise NotNow(f"models: expected a list, got {reply.status_code}: {message_of(reply)}.")
        return entries

    def _manage(
        self, method: str, path: str, timeout_s: float = ASK_TIMEOUT_S
    ) -> requests.Response:
        return send(method, self.addresses.management + path, timeout_s)


def ready_workers(entry: dict[str, Any]) -> int:
    """Return how many workers of an entry of `TorchServe.entries` can answer."""
    return sum(worker["status"] == "READY" for worker in entry["workers"])


def _loaded(entry: dict[str, Any]) -> Loaded:
    workers = entry["workers"]
    return Loaded(
        version=str(entry["modelVersion"]),
        mar=str(entry["modelUrl"]),
        pids=tuple(int(worker["pid"]) for worker in workers),
        ready=ready_workers(entry),
        queue=int(entry["jobQueueStatus"]["pendingRequests"]),
    )
