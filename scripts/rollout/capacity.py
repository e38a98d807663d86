"""Whether memory and disk have room for one more version beside the one that is served."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Final

import psutil

from scripts.server.client import Loaded
from scripts.server.http_client import NotNow

SPARE_DISK_BYTES: Final = 64 * 2**20
"""For logs and the record; TorchServe itself stops in odd ways on a disk without a byte."""


def expect_room(mar: Path, beside: Loaded | None, unpack_dir: Path | None) -> None:
    """
    Check that a version can be loaded beside the others; memory doubles during a swap.

    Args:
        mar: Its archive.
        beside: A loaded version, whose workers tell what the new ones will need.
        unpack_dir: TorchServe's temporary folder; None if it is on another machine, where
            neither can be measured from here.

    Raises:
        NotNow: There clearly is not enough.
    """
    if unpack_dir is None:
        return
    with zipfile.ZipFile(mar) as packed:
        needed_disk = sum(item.file_size for item in packed.infolist()) + SPARE_DISK_BYTES
    free_disk = shutil.disk_usage(unpack_dir).free
    if free_disk < needed_disk:
        raise NotNow(
            f"disk: expected {_mib(needed_disk)} free to unpack {mar.name}, got "
            f"{_mib(free_disk)}. Free some where {unpack_dir.name}/ lies, or remove old archives."
        )
    if beside is None:
        return
    needed_memory, free_memory = _memory_of(beside), free_memory_bytes()
    if free_memory < needed_memory:
        raise NotNow(
            f"memory: expected {_mib(needed_memory)} available for {len(beside.pids)} more "
            f"workers, got {_mib(free_memory)}. Free some, start the server with fewer --workers, "
            "or restart it: it then loads what the alias names, and only that."
        )


def free_memory_bytes() -> int:
    """Return what this machine, or the cgroup that this process is in, has left."""
    available = int(psutil.virtual_memory().available)
    try:
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            used = int((group / "memory.current").read_text())
            pages = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            # Cached files are given back when memory is asked for.
            available = min(available, int(limit) - used + int(pages.get("inactive_file", 0)))
    except (OSError, ValueError):
        pass  # no cgroup v2
    return available


def _memory_of(loaded: Loaded) -> int:
    """Return the bytes that only a version's workers use; 0 where that cannot be read."""
    total = 0
    for pid in loaded.pids:
        try:
            total += psutil.Process(pid).memory_full_info().uss
        except (psutil.Error, ValueError):
            return 0
    return total


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"
