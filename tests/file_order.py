"""
Which test files begin first, and which of them one process runs because they share a server.

The longest begin first: one that begins last is left over, alone on all cores. Those with a test
that runs alone (`tests.turns`) come last: nobody begins until the others have ended what they run,
and the long tests are at the beginning. A server is started once in each process that needs it, so
files that mean the same one go to one process.

By seconds of one run of `make test` (two cores); whoever adds a slow file adds it. Order counts
where pytest-xdist is told to keep it, `--no-loadscope-reorder`.
"""

from __future__ import annotations

from typing import Final

import pytest
from xdist.scheduler import LoadFileScheduling

from console.paths import ROOT

SHARING: Final[dict[str, tuple[str, ...]]] = {
    "the shipped model": (
        "tests/e2e/test_serving.py", "tests/e2e/test_run_script.py", "tests/e2e/test_parity.py",
        "tests/e2e/test_explanations.py", "tests/e2e/test_causes.py", "tests/e2e/test_quality.py",
        "tests/e2e/test_monitoring.py", "tests/browser/test_page.py",
        "tests/browser/test_access.py", "tests/browser/test_kinds.py",
    ),
    "a registry and a server of deployments": (
        "tests/e2e/deploy/test_refusals.py", "tests/e2e/deploy/test_killed.py",
        "tests/e2e/deploy/test_retiring.py", "tests/e2e/deploy/test_watch.py",
    ),
    "servers that are attacked": (
        "tests/attack/test_corpus.py", "tests/attack/test_wire.py", "tests/attack/test_files.py",
        "tests/attack/test_fuzz.py",
    ),
}  # fmt: skip
"""Files by what they share; none of them has a test that runs alone."""
LONGEST: Final = (
    *SHARING,
    "tests/e2e/test_canary.py", "tests/e2e/test_two_models.py", "tests/e2e/test_fleet.py",
    "tests/e2e/test_chain.py", "tests/e2e/gateway/test_operation.py",
    "tests/browser/test_queue.py", "tests/e2e/test_reliability.py",
    "tests/e2e/test_supervisor.py", "tests/e2e/test_front.py", "tests/e2e/deploy/test_swaps.py",
    # Without a server: from 79 seconds down to 33, each of a few long tests.
    "tests/integration/test_parallel.py", "tests/integration/test_train.py",
    "tests/integration/test_heads.py", "tests/unit/test_logit_map.py",
    "tests/integration/test_precision.py", "tests/integration/test_own_network.py",
    "tests/integration/score_folder/test_interruptions.py",
    "tests/integration/test_mlflow_server.py",
)  # fmt: skip
"""From 440 seconds down to 61, then those of them with a test that runs alone; by half."""


def work_of(file: str) -> str:
    """Return what a process takes at once: the name of what the file shares, or the file."""
    return next((name for name, files in SHARING.items() if file in files), file)


class OneProcessForAServer(LoadFileScheduling):
    """Hands out files to processes, and files that share a server together."""

    def _split_scope(self, nodeid: str) -> str:
        return work_of(nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> OneProcessForAServer | None:
    """Take the place of `--dist loadfile`."""
    return OneProcessForAServer(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files; the order within a file stays."""
    waiting = {item.path for item in items if item.get_closest_marker("alone")}

    def place_of(item: pytest.Item) -> tuple[bool, int]:
        work = work_of(item.path.relative_to(ROOT).as_posix())
        return item.path in waiting, LONGEST.index(work) if work in LONGEST else len(LONGEST)

    items.sort(key=place_of)
