"""A TorchServe in memory, and a deployment on it: for tests of the order of steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scripts.archive import golden, mar_file
from scripts.rollout.deployment_records import Good
from scripts.rollout.settings import Deployment
from scripts.server.client import Answers, Loaded
from scripts.server.state import StateDir


class Server:
    """Loads and unloads at once, and answers what `score` was set to."""

    model_name = "iqa"

    def __init__(self, default: str, versions: Iterable[str]) -> None:
        self.served = default
        self.versions: dict[str, Loaded] = {}
        for version in versions:
            self.load(f"iqa-{version}.mar")

    def default(self) -> Loaded | None:
        """The default version."""
        return self.versions.get(self.served)

    def loaded(self) -> dict[str, Loaded]:
        """All versions."""
        return dict(self.versions)

    def find(self, version: str) -> Loaded | None:
        """One of them."""
        return self.versions.get(version)

    def provenance(self, version: str) -> dict[str, Any]:
        """Nothing is told."""
        return {}

    def answers(self) -> Answers:
        """Nobody asked anything."""
        return Answers(by_path={}, failed=0)

    def set_default(self, version: str) -> None:
        """Let a loaded version serve."""
        assert version in self.versions
        self.served = version

    def unload(self, version: str) -> None:
        """Forget one."""
        del self.versions[version]

    def load(self, mar: str, workers: int | None = 1) -> None:
        """Load an archive, with one worker that is ready."""
        version = mar_file.version_of(Path(mar))
        self.versions[version] = Loaded(version=version, mar=mar, pids=(1,), ready=1, queue=0)

    def kill_workers(self, version: str) -> None:
        """Let TorchServe have given up on a version's worker."""
        dead = dataclasses.replace(self.versions[version], pids=(-1,), ready=0)
        self.versions[version] = dead

    def score(self, image: bytes, version: str | None = None, **_: float) -> tuple[int, Any]:
        """Answer as the default version does."""
        return 200, {"model": {"version": version or self.served}}


class Task:
    """Two replies never lie apart."""

    def difference(self, expected: object, reply: object) -> float:
        """In points."""
        return 0.0


def pictures_of(version: str) -> golden.Golden:
    """One golden picture, which every reply of the version suits."""
    return golden.Golden(version=version, pictures=[("a.jpg", b"", {})], tolerance=1.0, task=Task())


def deployed(folder: Path, server: Server, good: Iterable[str]) -> Deployment:
    """A deployment on the server, with the archives 1 to 4 and these versions on record as good."""
    store = folder / "store"
    store.mkdir()
    for version in "1234":
        (store / f"iqa-{version}.mar").write_text(f"archive {version}")
    plan = Deployment(
        server=server,  # type: ignore[arg-type]
        store=store, state=StateDir.at(folder / "state"), is_local=False,
        watch_s=0.0, longest_request_s=0.3,
    )  # fmt: skip
    with plan.records.changing() as record:
        record.alias_version = server.served
        for version in good:
            record.add_good(good_of(plan, version))
    return plan


def good_of(plan: Deployment, version: str) -> Good:
    """Return a version as it is on record."""
    mar = mar_file.mar_path(plan.store, "iqa", version)
    return Good(version=version, mar=mar.name, sha256=mar_file.sha256_of(mar))
