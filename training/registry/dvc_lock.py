"""
What DVC has on record of a file: its hash, and the stages that it comes from.

Only inside a stage of `dvc repro`: elsewhere nobody has checked that the files are the lock's. DVC
enters a stage into `dvc.lock` when it has ended, so a stage finds those before it, never itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from console.default_names import DVC_LOCK

DATA_HASH: Final = "dvc_data_hash"
"""Tag of a run, and key of a card and of an archive's provenance."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """
    Where a file or folder comes from.

    Attributes:
        hash: DVC's, of the output that it is or lies in; it ends in `.dir` for a folder.
        lock: The part of `dvc.lock` that made it, as YAML. Other stages, which may have run or not,
            are left out: the same file has the same text.
    """

    hash: str
    lock: str


def origin_of(path: Path) -> Origin | None:
    """
    Return where a file or folder comes from.

    Args:
        path: Absolute, or relative to the working directory.

    Returns:
        None outside DVC, and for what no stage made.
    """
    root, stage = os.environ.get("DVC_ROOT"), os.environ.get("DVC_STAGE")
    if not root or not stage:
        return None
    file = Path(root, DVC_LOCK)
    if not file.is_file():  # the first stage of all
        return None
    stages: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text())["stages"]
    found: dict[str, dict[str, Any]] = {}
    made = _maker(path.absolute(), Path(root), stages)
    if made is None:
        return None
    waiting = [made[0]]
    while waiting:
        name = waiting.pop()
        found[name] = stages[name]
        for needed in stages[name].get("deps", ()):
            maker = _maker(Path(root, needed["path"]), Path(root), stages)
            if maker is not None and maker[0] not in found:
                waiting.append(maker[0])
    document = {"schema": "2.0", "stages": {name: found[name] for name in sorted(found)}}
    return Origin(hash=made[1], lock=yaml.safe_dump(document, sort_keys=False))


def tags(path: Path) -> dict[str, str]:
    """Return what a run on this data is tagged with; nothing where DVC was not used."""
    origin = origin_of(path)
    return {} if origin is None else {DATA_HASH: origin.hash}


def _maker(path: Path, root: Path, stages: dict[str, dict[str, Any]]) -> tuple[str, str] | None:
    """Return the stage that an absolute path is an output of, or lies in one of, and its hash."""
    for name, stage in stages.items():
        for out in stage.get("outs", ()):
            if path.is_relative_to(root / out["path"]):
                return name, str(out["md5"])
    return None
