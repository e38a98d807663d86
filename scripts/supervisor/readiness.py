"""
Whether the server may get requests, known at any moment without asking it.

A thread looks about once a second (`supervisor.py`). Ready means, for each model: the version that
unversioned requests get has a READY worker, and a golden image got its score from it since it
became the default and since its workers last changed. Only such a change costs a prediction, so a
look never waits in the queue behind the load for long, and an answer to /ready never waits at all.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scripts.archive import golden, mar_file
from scripts.rollout import drain
from scripts.server.client import TorchServe
from scripts.server.http_client import LOOK_TIMEOUT_S, NotNow, is_full
from scripts.server.state import Server, StateDir
from scripts.supervisor.start_archive import Served

logger = logging.getLogger(__name__)

SAMPLE: Final = "parrots.jpg"  # that a start shows; any other golden picture does as well
GOLDEN_TIMEOUT_S: Final = 10.0
GOLDEN_ROOM_S: Final = 2.0
"""The other models are looked at after this one, and the next look comes in a second."""
STALE_S: Final = 30.0
"""An older verdict counts as not ready, because the thread that looks may hang."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """
    What /ready answers.

    Attributes:
        ready: Whether requests may come.
        reason: Why, in a word or a sentence.
        version: The version that unversioned requests get; None if unknown.
        workers: How many of that version's workers can answer.
    """

    ready: bool
    reason: str
    version: str | None = None
    workers: int = 0


@dataclass(frozen=True, kw_only=True)
class Proof:
    """
    The reply to a golden image that was sent and answered as it must.

    Attributes:
        model_name: The model that answered.
        file: Name of the image.
        reply: The JSON document.
    """

    model_name: str
    file: str
    reply: dict[str, Any]


class Readiness:
    """
    The latest verdict about one server after the other, as TorchServe is started again.

    Args:
        started_at_s: Start of the supervisor, as `process_start` counts; an earlier drain is over.
        state: The server's folder.
    """

    def __init__(self, started_at_s: float, state: StateDir) -> None:
        self._started_at_s, self._state = started_at_s, state
        self._looking = threading.Lock()
        self._server: Server | None = None
        self._models: dict[str, ModelReadiness] = {}
        self._why_not = "starting"
        self._seen_at_s = time.monotonic()

    def begin(self, server: Server) -> None:
        """Begin to look at a server whose workers are there."""
        with self._looking:
            known = {name: one.served for name, one in self._models.items()}
            self._models = {
                model.model_name: ModelReadiness(
                    model,
                    server.store,
                    known.get(model.model_name),
                    server.refused.get(model.model_name, ""),
                )
                for model in server.models()
            }
            self._seen_at_s = time.monotonic()
            self._server = server

    def end(self, why: str) -> None:
        """Be not ready until `begin`, and say why; takes effect at once."""
        self._why_not = why
        self._server = None

    def served(self, model_name: str) -> Served | None:
        """Return the version of a model that was ready last: a restart after a crash serves it."""
        known = self._models.get(model_name)
        return known.served if known else None

    def verdict(self, model_name: str | None = None) -> Verdict:
        """
        Return whether requests may come now, from memory.

        Args:
            model_name: For one model; None: for all, with the reason of the first that is not
                ready, and version and workers of the first model.
        """
        seen = [one.seen for name, one in self._models.items() if model_name in (None, name)]
        if not seen:
            return Verdict(ready=False, reason=self._why_not)
        found = next((one for one in seen if not one.ready), seen[0])
        if self._server is None:
            return dataclasses.replace(found, ready=False, reason=self._why_not, workers=0)
        if drain.is_draining(self._state, self._started_at_s):
            return dataclasses.replace(found, ready=False, reason="draining")
        if time.monotonic() - self._seen_at_s > STALE_S:
            reason = f"not looked at for {STALE_S:g} s"
            return dataclasses.replace(found, ready=False, reason=reason)
        return found

    def look(self) -> list[Proof]:
        """
        Look at the server, and publish what is seen unless it was replaced meanwhile.

        Returns:
            The replies to golden images, where some had to be sent and were answered as they must.
        """
        with self._looking:
            server, proofs = self._server, []
            if server is None:
                return []
            for one in self._models.values():
                proof = one.look()
                if proof is not None:
                    proofs.append(proof)
            if self._server is server:
                self._seen_at_s = time.monotonic()
            return proofs


class ModelReadiness:
    """
    What was seen of one model of one server.

    Args:
        server: The model on its server.
        store: The server's model store.
        served: What was ready last, before the server was started again.
        refused: Why nothing of it was loaded at the start; empty: it was.
    """

    def __init__(
        self, server: TorchServe, store: Path, served: Served | None, refused: str = ""
    ) -> None:
        self.served = served
        self.seen = Verdict(ready=False, reason="warming up")
        self._server, self._store = server, store
        self._none = f"no version is loaded{': ' * bool(refused)}{refused}"
        self._proven: tuple[str, frozenset[int]] | None = None
        self._golden: tuple[Path, int | None, golden.Golden] | None = None

    def look(self) -> Proof | None:
        """Look at the model; return the reply to a golden image if one was sent and is right."""
        seen, proof = self._look()
        if seen.ready != self.seen.ready:
            name = self._server.model_name
            if seen.ready:
                logger.info("%s ready: version %s, %d workers", name, seen.version, seen.workers)
            else:
                logger.warning("%s not ready: %s", name, seen.reason)
        self.seen = seen
        return proof

    def _look(self) -> tuple[Verdict, Proof | None]:
        try:
            entries = self._server.entries(timeout_s=LOOK_TIMEOUT_S)
        except NotNow as error:
            reason = f"management API: {error}"
            return dataclasses.replace(self.seen, ready=False, reason=reason), None
        if not entries:
            return Verdict(ready=False, reason=self._none), None
        entry = entries[0]
        version = str(entry["modelVersion"])
        pids = frozenset(int(one["pid"]) for one in entry["workers"] if one["status"] == "READY")
        if not pids:
            return Verdict(ready=False, reason="no worker can answer", version=version), None
        verdict = Verdict(ready=True, reason="ready", version=version, workers=len(pids))
        if (version, pids) == self._proven:
            return verdict, None
        mar = self._store / str(entry["modelUrl"])
        try:
            proof = _score_golden(self._server, self._golden_of(mar, version))
        except _Busy as busy:
            # A full queue says nothing about the version; those of its workers that were proven
            # and are still there answer.
            is_still_good = self._proven is not None and bool(pids & self._proven[1])
            if is_still_good and version == self.seen.version and self.seen.ready:
                return verdict, None
            return dataclasses.replace(verdict, ready=False, reason=str(busy)), None
        except (OSError, ValueError, KeyError, NotNow, zipfile.BadZipFile) as error:
            reason = f"golden image: {error}"  # a wrong score, no answer, or a damaged archive
            return dataclasses.replace(verdict, ready=False, reason=reason), None
        self._proven = version, pids
        if self.served is None or self.served.mar != mar:
            self.served = Served(version=version, mar=mar, sha256=mar_file.sha256_of(mar))
        return verdict, proof

    def _golden_of(self, mar: Path, version: str) -> golden.Golden:
        """Return what a version must answer, from memory where its archive has been taken away."""
        changed_ns = mar.stat().st_mtime_ns if mar.exists() else None
        if self._golden is not None:
            known, known_ns, pictures = self._golden
            if known == mar and pictures.version == version and changed_ns in (None, known_ns):
                return pictures
        pictures = golden.golden_of(mar, version, {})
        if mar_file.read_provenance(mar)["precision"] != "f32":
            # A CPU without bf16 computes it in float32, and two with bf16 round differently.
            pictures = dataclasses.replace(pictures, tolerance=golden.OTHER_PRECISION)
        self._golden = mar, changed_ns, pictures
        return pictures


class _Busy(Exception):
    """The queue was full, so the golden image was refused."""


def _score_golden(server: TorchServe, pictures: golden.Golden) -> Proof:
    """
    Let a version score one golden image of its archive.

    Raises:
        NotGolden: It has another score, or none.
        _Busy: The queue is full.
        NotNow: No answer.
    """
    names = [name for name, _, _ in pictures.pictures]
    index = names.index(SAMPLE) if SAMPLE in names else 0
    code, reply = server.score(
        pictures.pictures[index][1], pictures.version, GOLDEN_TIMEOUT_S, GOLDEN_ROOM_S
    )
    if is_full(code, reply):
        raise _Busy("golden picture: the queue is full")
    pictures.compare(index, code, reply)
    return Proof(model_name=server.model_name, file=names[index], reply=reply)
