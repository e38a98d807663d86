"""The ten faults: what is done to the system, and what has to be true afterwards."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import psutil

from benchmarks.reliability import clock, small_disk
from benchmarks.reliability.clock import Clock
from benchmarks.reliability.system import FIRST, System
from benchmarks.reliability.versions import add_version, not_golden, unloadable

Record = dict[str, Any]

OTHER: Final = "2"
"""A good version beside the first."""
WORKER_HOLDS: Final = 2
"""batchSize of torchserve/model-config.yaml."""
JAVA_HOLDS: Final = 64 + 2 * WORKER_HOLDS
"""Its queue (jobQueueSize), and what both workers hold."""
STEP_S: Final = 3600
QUARANTINE_S: Final = 30.0


@dataclass(kw_only=True)
class Scene:
    """
    What a fault may use and tell.

    Attributes:
        system: The system; nothing is wrong with it when the fault begins.
        disk_reason: Why the system's disk cannot be filled; None if it can.
        clock: The clock of all processes; None where it is the machine's.
        scan: The port scan that goes on.
        count: How often the fault was done before.
        notes: What was seen besides the requests; goes into the record.
    """

    system: System
    disk_reason: str | None
    clock: Clock | None = None
    scan: subprocess.Popen[bytes] | None = None
    count: int = 0
    notes: Record = field(default_factory=dict)


Step = Callable[[Scene], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """
    One fault.

    Attributes:
        title: For the table.
        does: What is done, in a sentence.
        inject: Does it, under load; returns once it is done.
        prepare: Before the load.
        heal: After the load: takes it back, and waits until the system is as it should be.
        after_s: How long the load goes on after the injection began.
        back_within_s: The bound on everything being as before; None: it does not come back by
            itself.
        holds: Requests at most inside the process that is killed, which may be lost or failed.
        expected: The version that is served at the end of the load; None: none.
        skipped: Why it cannot be done here; None if it can.
    """

    title: str
    does: str
    inject: Step
    heal: Step
    prepare: Step = lambda scene: None
    after_s: float = 10.0
    back_within_s: float | None = 5.0
    holds: int = 0
    expected: str | None = FIRST
    skipped: Callable[[Scene], str | None] = lambda scene: None


def _nothing(scene: Scene) -> None:
    """Nothing is to be taken back."""


def _kill_worker(scene: Scene) -> None:
    scene.system.workers()[0].kill()


def _hang_worker(scene: Scene) -> None:
    worker = scene.system.workers()[0]
    worker.suspend()
    scene.notes["pid"] = worker.pid


def _expect_hung_worker_gone(scene: Scene) -> None:
    pid = scene.notes.pop("pid")
    scene.notes["is_ended"] = not psutil.pid_exists(pid)
    if psutil.pid_exists(pid):
        psutil.Process(pid).kill()


def _kill_java(scene: Scene) -> None:
    scene.system.java().kill()


def _restart_if_unsupervised(scene: Scene) -> None:
    """A start without a supervisor ends with Java, and says so."""
    system = scene.system
    if not system.is_up():
        scene.notes["is_restarted_by_hand"] = True
        system.start_server()


def _stop_mlflow(scene: Scene) -> None:
    scene.system.mlflow.stop()


def _start_mlflow(scene: Scene) -> None:
    """MLflow comes back, and the alias is followed again."""
    system = scene.system
    system.mlflow.start()
    system.mlflow.wait()
    _expect_followed(scene)


def _expect_followed(scene: Scene) -> None:
    """Move the alias; the version it names has to be served by itself."""
    scene.system.move_alias(OTHER)
    waited_s = scene.system.wait_until(
        lambda: scene.system.has_settled(OTHER), f"version {OTHER} served"
    )
    scene.notes["caught_up_s"] = waited_s


def _fill_disk(scene: Scene) -> None:
    """No byte is left; a version is wanted whose files have no room."""
    scene.notes["filled_bytes"] = small_disk.fill(scene.system.disk)
    scene.system.move_alias(OTHER)


def _free_disk(scene: Scene) -> None:
    scene.notes["said"] = scene.system.last_words()
    small_disk.free(scene.system.disk)
    _expect_followed(scene)


def _add_unloadable(scene: Scene) -> None:
    scene.notes["version"] = add_version(scene.system.store, unloadable)


def _add_not_golden(scene: Scene) -> None:
    scene.notes["version"] = add_version(scene.system.store, not_golden)


def _stage_bad_version(scene: Scene) -> None:
    scene.system.move_alias(scene.notes["version"])


def _expect_quarantine(scene: Scene) -> None:
    """It has been refused by now, and is not loaded."""
    version = scene.notes["version"]

    def is_refused() -> bool:
        quarantine = scene.system.record().get("quarantine") or {}
        return quarantine.get("version") == version and version not in scene.system.loaded()

    scene.notes["refused_late_s"] = scene.system.wait_until(
        is_refused, f"version {version} refused", QUARANTINE_S
    )


def _step_clock(scene: Scene) -> None:
    """An hour forward, or back, in the middle of a swap."""
    assert scene.clock is not None
    scene.system.move_alias(OTHER)
    scene.clock.step(STEP_S if scene.count % 2 == 0 else -STEP_S)


def _expect_swapped(scene: Scene) -> None:
    assert scene.clock is not None
    system = scene.system
    scene.notes["swapped_late_s"] = system.wait_until(
        lambda: system.has_settled(OTHER), f"version {OTHER} served"
    )
    scene.clock.step(0)


def _scan_management(scene: Scene) -> None:
    """Find the port open, and go on with every probe that nmap knows; all of them take minutes."""
    nmap = ["nmap", "-n", "-Pn", "-sT", "-p", str(scene.system.management_port), "127.0.0.1"]
    done = subprocess.run(nmap, capture_output=True, text=True, check=True, timeout=30)
    scene.notes["found"] = next(line for line in done.stdout.splitlines() if "/tcp" in line)
    scene.scan = subprocess.Popen(
        [*nmap, "-sV", "--version-all"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _end_scan(scene: Scene) -> None:
    assert scene.scan is not None
    scene.notes["is_scanning_to_the_end"] = scene.scan.poll() is None
    scene.scan.kill()
    scene.scan.wait()


def _terminate(scene: Scene) -> None:
    scene.notes["stopped_s"] = scene.system.stop_server()
    scene.notes["left"] = [process.name() for process in scene.system.server_processes()]


def _start_again(scene: Scene) -> None:
    scene.notes["started_s"] = scene.system.start_server()


def _without_disk(scene: Scene) -> str | None:
    return scene.disk_reason


def _without_compiler(scene: Scene) -> str | None:
    return clock.why_not()


def _without_nmap(scene: Scene) -> str | None:
    return None if shutil.which("nmap") else "nmap is not installed"


FAULTS: Final[dict[str, Fault]] = {
    "worker-killed": Fault(
        title="worker killed",
        does="SIGKILL to one of the two workers",
        inject=_kill_worker, heal=_nothing, holds=WORKER_HOLDS,
    ),
    "worker-hung": Fault(
        title="worker hung",
        does="SIGSTOP to one of the two workers, which never goes on",
        inject=_hang_worker, heal=_expect_hung_worker_gone, after_s=14.0,
        holds=WORKER_HOLDS,
    ),
    "jvm-killed": Fault(
        title="JVM killed",
        does="SIGKILL to TorchServe's Java process",
        inject=_kill_java, heal=_restart_if_unsupervised, after_s=18.0, back_within_s=10.0,
        holds=JAVA_HOLDS,
    ),
    "mlflow-down": Fault(
        title="MLflow down",
        does="SIGKILL to MLflow's server; afterwards it starts again and the alias moves",
        inject=_stop_mlflow, heal=_start_mlflow,
    ),
    "disk-full": Fault(
        title="disk full",
        does="the disk of model store, state, logs and temporary files is filled to the last "
        "byte, and a version wanted; afterwards it is freed",
        inject=_fill_disk, heal=_free_disk, skipped=_without_disk,
    ),
    "bad-mar": Fault(
        title="bad MAR",
        does="the alias names a version whose digest is right and whose workers die as they load",
        prepare=_add_unloadable, inject=_stage_bad_version, heal=_expect_quarantine,
    ),
    "bad-golden": Fault(
        title="failing golden picture",
        does="the alias names a version that loads and gives other scores than those on record",
        prepare=_add_not_golden, inject=_stage_bad_version, heal=_expect_quarantine,
    ),
    "clock-step": Fault(
        title="clock step",
        does="an hour forward (each second time: back) under all processes but MLflow's, in "
        "the middle of a swap",
        # MLflow's clock is not stepped, so its webhook looks too old to be believed: the move is
        # seen at the next poll, 15 s apart.
        inject=_step_clock, heal=_expect_swapped, after_s=24.0, expected=OTHER,
        skipped=_without_compiler,
    ),
    "port-scan": Fault(
        title="port scan",
        does="nmap -sV --version-all against the management port",
        inject=_scan_management, heal=_end_scan, after_s=15.0, skipped=_without_nmap,
    ),
    "sigterm": Fault(
        title="SIGTERM",
        does="TERM to the first process; afterwards it is started again",
        inject=_terminate, heal=_start_again, after_s=8.0, back_within_s=None, expected=None,
    ),
}  # fmt: skip
"""Every fault by its name."""
