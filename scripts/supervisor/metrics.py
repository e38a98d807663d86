"""
CPU, memory, descriptors and restarts of a server's processes, for Prometheus.

The supervisor serves them, because TorchServe cannot report its own death. They are read from /proc
when asked; nothing is measured in between.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import psutil

from scripts.server import process_start
from scripts.server.exposition import counter, gauge, page
from scripts.server.state import Server, StateDir

KINDS: Final = ("java", "workers", "front", "web", "supervisor")
WORKER_MARK: Final = "model_service_worker"
GATEWAY_MARK: Final = "web.api:app"
SLOT_OPTION: Final = "--sock-name"
"""A worker's socket: TorchServe gives it to the worker that replaces a dead one."""

Identity = tuple[int, float]
"""Process id and start time, because process ids are reused."""


class Census:
    """
    What has to be remembered from one look to the next.

    CPU seconds of processes that are gone stay in their kind's sum, so that it never falls: a
    counter that falls looks to Prometheus like one that began anew, and its rate like a jump.
    """

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._java: Identity | None = None
        self._slots: dict[str, Identity] = {}
        self._seen_cpu_s: dict[str, dict[Identity, float]] = {kind: {} for kind in KINDS}
        self._gone_cpu_s: dict[str, float] = defaultdict(float)
        self._worker_restarts = 0

    def exposition(self, server: Server | None, restarts: int, ready: Mapping[str, bool]) -> bytes:
        """
        Return the metrics of this machine's server in Prometheus' text format.

        Args:
            server: TorchServe; None while there is none.
            restarts: How often the supervisor has started it again.
            ready: What GET /ready/NAME says of each model.
        """
        count = dict.fromkeys(KINDS, 0)
        memory = dict.fromkeys(KINDS, 0)
        descriptors = dict.fromkeys(KINDS, 0)
        cpu_s: dict[str, dict[Identity, float]] = {kind: {} for kind in KINDS}
        slots: dict[str, Identity] = {}
        java: Identity | None = None
        with self._lock:
            for kind, process in _processes(server):
                # One that ends while it is looked at was not there.
                gone = (psutil.NoSuchProcess, psutil.AccessDenied)
                with contextlib.suppress(*gone), process.oneshot():
                    identity = (process.pid, process_start.started_at_s(process.pid))
                    times, rss = process.cpu_times(), process.memory_info().rss
                    slot = _slot(process) if kind == "workers" else None
                    opened = process.num_fds()
                    if identity in cpu_s[kind]:
                        continue
                    cpu_s[kind][identity] = times.user + times.system
                    count[kind] += 1
                    memory[kind] += rss
                    descriptors[kind] += opened
                    if kind == "java":
                        java = identity
                    if slot is not None:
                        slots[slot] = identity
            self._remember(java, slots, cpu_s)
            totals = {
                kind: self._gone_cpu_s[kind] + sum(self._seen_cpu_s[kind].values())
                for kind in KINDS
            }
            worker_restarts = self._worker_restarts
        disks = [
            ({"folder": name}, shutil.disk_usage(path))
            for name, path in _folders(self._state, server)
        ]
        return page(
            [
                gauge("iqa_processes", "Processes that run.", _by_kind(count)),
                counter(
                    "iqa_process_cpu_seconds_total",
                    "CPU time, of processes that are gone as well.", _by_kind(totals),
                ),
                gauge(
                    "iqa_process_resident_bytes",
                    "Memory in RAM; what processes share is counted for each.", _by_kind(memory),
                ),
                gauge("iqa_process_open_descriptors", "Open files.", _by_kind(descriptors)),
                counter(
                    "iqa_jvm_restarts_total", "How often TorchServe was started again.", restarts
                ),
                counter(
                    "iqa_worker_restarts_total",
                    "Workers that TorchServe started again; at most one a worker and scrape.",
                    worker_restarts,
                ),
                gauge(
                    "iqa_ready", "Whether requests may come, as GET /ready says.",
                    float(all(ready.values())) if ready else 0.0,
                ),
                gauge(
                    "iqa_model_ready", "The same of one model, as GET /ready/NAME says.",
                    [({"model_name": name}, float(is_so)) for name, is_so in ready.items()],
                ),
                gauge(
                    "iqa_disk_free_bytes", "Room for archives and logs.",
                    [(labels, disk.free) for labels, disk in disks],
                ),
                gauge(
                    "iqa_disk_size_bytes", "Size of the file system.",
                    [(labels, disk.total) for labels, disk in disks],
                ),
            ]
        )  # fmt: skip

    def _remember(
        self,
        java: Identity | None,
        slots: dict[str, Identity],
        cpu_s: dict[str, dict[Identity, float]],
    ) -> None:
        for kind in KINDS:
            for identity, seconds in self._seen_cpu_s[kind].items():
                if identity not in cpu_s[kind]:
                    self._gone_cpu_s[kind] += seconds
        self._seen_cpu_s = cpu_s
        if java is None:
            return
        if java != self._java:  # another Java begins to count its sockets anew
            self._java, self._slots = java, {}
        for slot, identity in slots.items():
            before = self._slots.get(slot)
            self._worker_restarts += before is not None and before != identity
        self._slots.update(slots)


def _processes(server: Server | None) -> Iterator[tuple[str, psutil.Process]]:
    own = psutil.Process()
    yield "supervisor", own
    for child in own.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name() == "nginx":
                yield "front", child
            elif GATEWAY_MARK in child.cmdline():
                yield "web", child
    java = server.process() if server is not None else None
    if java is None:
        return
    yield "java", java
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in java.children():  # not what a worker forks, which has its command line
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(WORKER_MARK in word for word in child.cmdline()):
                    yield "workers", child


def _slot(worker: psutil.Process) -> str | None:
    words = worker.cmdline()
    return words[words.index(SLOT_OPTION) + 1] if SLOT_OPTION in words[:-1] else None


def _folders(state: StateDir, server: Server | None) -> list[tuple[str, Path]]:
    folders = [("state", state.path)]
    if server is not None:
        folders.append(("model-store", server.store))
    return [(name, path) for name, path in folders if os.path.isdir(path)]


def _by_kind(values: Mapping[str, float]) -> list[tuple[dict[str, str], float]]:
    return [({"process": process}, float(value)) for process, value in values.items()]
