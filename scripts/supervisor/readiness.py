"""
Whether the server may get requests, known at any moment without asking it.

A thread looks about once a second (`supervise.py`). Ready means: the version that unversioned
requests get has a READY worker, and a golden picture got its score from it since it became the
default and since its workers last changed. Only such a change costs a prediction, so a look never
waits in the queue behind the load for long, and an answer to /ready never waits at all.
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

import requests

from scripts.archive import golden, mar_file
from scripts.rollout import drain
from scripts.server.api import describe, predict
from scripts.server.state import Server
from scripts.supervisor.start_archive import Served

logger = logging.getLogger(__name__)

SAMPLE: Final = "parrots.jpg"  # that a start shows; any other golden picture does as well
GOLDEN_TIMEOUT_S: Final = 10.0
STALE_S: Final = 30.0
"""A verdict that is older is none: the thread hangs, and nobody knows."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """
    What /ready answers.

    Attributes:
        ready: Whether requests may come.
        reason: In a word or a sentence.
        version: That unversioned requests get; None if that is not known.
        workers: Of that version, those that can answer.
    """

    ready: bool
    reason: str
    version: str | None = None
    workers: int = 0


class Readiness:
    """
    The latest verdict about one server after the other, as TorchServe is started again.

    Args:
        started_at_s: Of the supervisor, as `process_start` counts; a drain from before is over.
    """

    def __init__(self, started_at_s: float) -> None:
        self.served: Served | None = None
        """What was ready last; what a crash should be followed by."""
        self._started_at_s = started_at_s
        self._looking = threading.Lock()
        self._server: Server | None = None
        self._why_not = "starting"
        self._seen = Verdict(ready=False, reason="not yet looked at")
        self._seen_at_s = time.monotonic()
        self._proven: tuple[str, frozenset[int]] | None = None
        self._golden: tuple[Path, int | None, golden.Golden] | None = None

    def begin(self, server: Server) -> None:
        """Begin to look at a server whose workers are there."""
        with self._looking:
            self._proven = None
            self._publish(Verdict(ready=False, reason="warming up"))
            self._server = server

    def end(self, why: str) -> None:
        """Be not ready until `begin`, and say why; takes effect at once."""
        self._why_not = why
        self._server = None

    def verdict(self) -> Verdict:
        """Return whether requests may come now, from memory."""
        seen = self._seen
        if self._server is None:
            return dataclasses.replace(seen, ready=False, reason=self._why_not, workers=0)
        if drain.is_draining(self._started_at_s):
            return dataclasses.replace(seen, ready=False, reason="draining")
        if time.monotonic() - self._seen_at_s > STALE_S:
            reason = f"not looked at for {STALE_S:g} s"
            return dataclasses.replace(seen, ready=False, reason=reason)
        return seen

    def look(self) -> dict[str, Any] | None:
        """
        Look at the server, and publish what is seen unless it was replaced meanwhile.

        Returns:
            The reply to the golden picture if one had to be sent and was answered as it must.
        """
        with self._looking:
            server = self._server
            if server is None:
                return None
            seen, reply = self._look(server)
            if self._server is server:
                if seen.ready != self._seen.ready:
                    if seen.ready:
                        logger.info("ready: version %s, %d workers", seen.version, seen.workers)
                    else:
                        logger.warning("not ready: %s", seen.reason)
                self._publish(seen)
            return reply

    def _publish(self, verdict: Verdict) -> None:
        self._seen, self._seen_at_s = verdict, time.monotonic()

    def _look(self, server: Server) -> tuple[Verdict, dict[str, Any] | None]:
        try:
            entries = describe(server.ports.management)
        except requests.RequestException as error:
            reason = f"management API: no answer ({type(error).__name__})"
            return dataclasses.replace(self._seen, ready=False, reason=reason), None
        if not entries:
            return Verdict(ready=False, reason="no version is loaded"), None
        entry = entries[0]
        version = str(entry["modelVersion"])
        pids = frozenset(int(one["pid"]) for one in entry["workers"] if one["status"] == "READY")
        if not pids:
            return Verdict(ready=False, reason="no worker can answer", version=version), None
        verdict = Verdict(ready=True, reason="ready", version=version, workers=len(pids))
        if (version, pids) == self._proven:
            return verdict, None
        mar = Path(server.mar).parent / str(entry["modelUrl"])
        try:
            reply = _score_golden(server, self._golden_of(mar, version))
        except _Busy as busy:
            # A full queue says nothing about the version; those of its workers that were proven
            # and are still there answer.
            is_still_good = self._proven is not None and bool(pids & self._proven[1])
            if is_still_good and version == self._seen.version and self._seen.ready:
                return verdict, None
            return dataclasses.replace(verdict, ready=False, reason=str(busy)), None
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:  # no answer, too
            reason = f"golden picture: {error}"
            return dataclasses.replace(verdict, ready=False, reason=reason), None
        self._proven = version, pids
        if self.served is None or self.served.mar != mar:
            self.served = Served(version=version, mar=mar, sha256=mar_file.sha256_of(mar))
        return verdict, reply

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
    """The golden picture found no room in the queue."""


def _score_golden(server: Server, pictures: golden.Golden) -> dict[str, Any]:
    """
    Let a version score one golden picture of its archive.

    Raises:
        NotGolden: It has another score, or none.
        _Busy: The queue is full.
        OSError: No answer.
    """
    names = [name for name, _, _ in pictures.pictures]
    index = names.index(SAMPLE) if SAMPLE in names else 0
    url = f"http://127.0.0.1:{server.ports.inference}"
    picture = pictures.pictures[index][1]
    code, reply = predict(url, picture, pictures.version, GOLDEN_TIMEOUT_S)
    if code == 503 and "no worker" in str(reply.get("message")):  # also said of a full queue
        raise _Busy("golden picture: the queue is full")
    pictures.compare(index, code, reply)
    return {"file": names[index], **reply}
