"""
The worker processes, seen from the one that starts them: hands out names, takes rows back.

Each worker has a pipe of its own and a few images at hand, so it never waits. One that says nothing
for longer than an image may take is killed and replaced: the image that it was at gets a row with
the reason, the others go to its successor.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

from console.paths import ROOT
from scripts.batch.rows import Row, refused
from scripts.batch.worker import Settings

START_LIMIT_S: Final = 180.0
"""For importing and compiling, on a machine that is busy."""
POLL_S: Final = 0.2
PAUSE_S: Final = 5.0
"""Who did not look for so long was stopped itself (Ctrl-Z), or wrote a large output: no worker is
to blame, and all clocks start anew."""
MAX_STARTS: Final = 3
"""Starts in a row that may end before the worker is ready."""
CRASHES: Final = 2
"""How often an image may be there when its worker ends: the first time may be somebody's kill."""
MAX_AHEAD: Final = 20_000
"""Images between the first one without a row and the last one handed out; it bounds what the
journal has to put in order."""
AT_HAND: Final = 3
"""A worker with fewer images than this gets the next batch."""
READ_BYTES: Final = 1 << 16
WRITE_BYTES: Final = 1 << 15
"""Of names, handed over at once: a pipe holds twice that, so nobody waits for a worker that reads
nothing."""

Entry = tuple[int, str]
"""Place in the listing, and name."""


@dataclass
class Worker:
    """
    One process, and what it has been given.

    Attributes:
        process: Its standard input and output are pipes.
        assigned: Images without a row, in the order in which they were handed out.
        decoded: Those of them that are pictures already.
        heard_s: When it last said something or was given something to do.
        is_ready: Whether the model is loaded.
        unread: The beginning of a line.
    """

    process: subprocess.Popen[bytes]
    assigned: collections.OrderedDict[int, str] = field(default_factory=collections.OrderedDict)
    decoded: set[int] = field(default_factory=set)
    heard_s: float = 0.0
    is_ready: bool = False
    unread: bytes = b""

    def at(self) -> Entry | None:
        """Return the image that it is working on; None for none."""
        for entry in self.assigned.items():
            if entry[0] not in self.decoded:
                return entry
        return next(iter(self.assigned.items()), None)


class WorkerPool:
    """
    As many workers as are asked for, started at once.

    Args:
        settings: Of each worker.
        n_workers: Processes, with one compute thread each.
        batch_size: Images that are handed over together; on a GPU they are judged together.
        limit_s: How long one image may take.
        log: Where the workers' complaints go; None: to standard error.
    """

    def __init__(
        self,
        settings: Settings,
        n_workers: int,
        batch_size: int,
        limit_s: float,
        log: TextIO | None = None,
    ) -> None:
        self._settings = settings
        self._batch_size = batch_size
        self._limit_s = limit_s
        self._log = log
        self._selector = selectors.DefaultSelector()
        self._again: collections.deque[Entry] = collections.deque()
        self._crashes: collections.Counter[int] = collections.Counter()
        self._facts: dict[str, Any] | None = None
        self._looked_s = time.monotonic()
        self._failed_starts = 0
        self._last = -1
        self._workers: list[Worker] = []
        for _ in range(n_workers):
            self._start()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers; what they were at is not awaited."""
        for worker in self._workers:
            self._end(worker)
        self._workers = []
        self._selector.close()

    def facts(self) -> dict[str, Any]:
        """
        Wait for the first worker, and return what it says of the model.

        Raises:
            ValueError: The model is refused.
            RuntimeError: Workers end before they are ready.
        """
        while self._facts is None:
            for _ in self._step():
                pass
        return self._facts

    def score(self, entries: Iterator[Entry]) -> Iterator[tuple[int, Row]]:
        """
        Score images; rows come as they are done, not in order.

        Args:
            entries: With rising places.

        Raises:
            ValueError: The model is refused.
            RuntimeError: Workers end before they are ready, again and again.
        """
        while True:
            is_over = self._hand_out(entries)
            if is_over and not any(worker.assigned for worker in self._workers):
                return
            yield from self._step()

    def _hand_out(self, entries: Iterator[Entry]) -> bool:
        """Give idle workers something to do; say whether nothing is left to hand out."""
        for worker in self._workers:
            while worker.is_ready and len(worker.assigned) < AT_HAND:
                if self._again:
                    batch = [self._again.popleft()]
                elif self._is_far_ahead():  # one image keeps all others waiting
                    return False
                else:
                    batch = self._next(entries)
                    if not batch:
                        return True
                    self._last = batch[-1][0]
                self._give(worker, batch)
        return False

    def _next(self, entries: Iterator[Entry]) -> list[Entry]:
        batch, size_bytes = [], 0
        for entry in itertools.islice(entries, self._batch_size):
            batch.append(entry)
            size_bytes += len(json.dumps(entry))
            if size_bytes > WRITE_BYTES:
                break
        return batch

    def _is_far_ahead(self) -> bool:
        firsts = [min(worker.assigned) for worker in self._workers if worker.assigned]
        return bool(firsts) and self._last - min(firsts) > MAX_AHEAD

    def _give(self, worker: Worker, batch: list[Entry]) -> None:
        if not worker.assigned:
            worker.heard_s = time.monotonic()
        worker.assigned.update(batch)
        assert worker.process.stdin is not None  # a pipe
        with contextlib.suppress(BrokenPipeError):  # it has ended: `_step` notices
            worker.process.stdin.write((json.dumps(batch) + "\n").encode())
            worker.process.stdin.flush()

    def _step(self) -> Iterator[tuple[int, Row]]:
        """Wait for the workers a moment, take what they say, replace those that hang or ended."""
        was_away = time.monotonic() - self._looked_s > PAUSE_S
        ended = []
        for key, _ in self._selector.select(POLL_S):
            worker: Worker = key.data
            content = os.read(key.fd, READ_BYTES)
            if not content:
                ended.append(worker)
                continue
            worker.heard_s = time.monotonic()
            *lines, worker.unread = (worker.unread + content).split(b"\n")
            for line in lines:
                yield from self._take(worker, json.loads(line))
        now_s = self._looked_s = time.monotonic()
        for worker in ended:
            yield from self._bury(worker)
        for worker in [*self._workers]:
            if was_away:
                worker.heard_s = now_s
            elif now_s - worker.heard_s > self._limit_of(worker):
                yield from self._give_up_on(worker)

    def _limit_of(self, worker: Worker) -> float:
        if not worker.is_ready:
            return START_LIMIT_S
        return self._limit_s if worker.assigned else float("inf")

    def _take(self, worker: Worker, message: list[Any]) -> Iterator[tuple[int, Row]]:
        match message:
            case ["ready", facts]:
                worker.is_ready = True
                self._facts = facts
                self._failed_starts = 0
            case ["decoded", index]:
                worker.decoded.add(index)
            case ["row", index, row]:
                worker.decoded.discard(index)
                del worker.assigned[index]
                self._crashes.pop(index, None)
                yield index, row
            case ["refused", reason]:
                raise ValueError(f"model: {reason}")

    def _give_up_on(self, worker: Worker) -> Iterator[tuple[int, Row]]:
        """Kill a worker that says nothing, and say which image it was at."""
        at = worker.at()
        self._replace(worker)
        if at is None:
            self._expect_starts(f"none within {START_LIMIT_S:g} s")
            return
        index, name = at
        del worker.assigned[index]
        self._return(worker)
        yield index, refused(
            name, "timeout",
            f"image: expected it to be scored within {self._limit_s:g} s, got nothing; the worker "
            "was replaced. Look at the file, or give it more time: --limit-s.",
        )  # fmt: skip

    def _bury(self, worker: Worker) -> Iterator[tuple[int, Row]]:
        """Replace a worker that has ended by itself."""
        at = worker.at()
        was_ready = worker.is_ready
        status = _in_words(worker.process.wait())
        self._replace(worker)
        if not was_ready:
            self._expect_starts(status)
        if at is not None:
            index, name = at
            self._crashes[index] += 1
            if self._crashes[index] >= CRASHES:
                del worker.assigned[index]
                yield index, refused(
                    name, "crashed",
                    f"image: expected a score, got the worker's end ({status}), {CRASHES} times. "
                    "Look at the file, and whether the memory suffices: --workers.",
                )  # fmt: skip
        self._return(worker)

    def _expect_starts(self, status: str) -> None:
        self._failed_starts += 1
        if self._failed_starts >= MAX_STARTS:
            raise RuntimeError(
                f"workers: expected one to load the model, got {status}, {MAX_STARTS} times in a "
                "row. Is there memory for all? Try --workers 1."
            )

    def _return(self, worker: Worker) -> None:
        """Hand what a worker had to the next that is idle, one by one."""
        self._again.extendleft(reversed(worker.assigned.items()))

    def _replace(self, worker: Worker) -> None:
        self._end(worker)
        self._workers.remove(worker)
        self._start()

    def _end(self, worker: Worker) -> None:
        assert worker.process.stdout is not None and worker.process.stdin is not None  # pipes
        with contextlib.suppress(KeyError):
            self._selector.unregister(worker.process.stdout)
        worker.process.kill()
        worker.process.wait()
        for pipe in (worker.process.stdin, worker.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _start(self) -> None:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts.batch.worker", self._settings.text()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
        assert process.stdout is not None  # a pipe
        worker = Worker(process, heard_s=time.monotonic())
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        self._workers.append(worker)


def log_of(folder: Path) -> TextIO:
    """Open the file in a folder that workers complain to."""
    return (folder / "workers.log").open("a")


def _in_words(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}"
