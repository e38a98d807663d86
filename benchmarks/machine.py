"""The machine and the versions that a result belongs to."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.peers.launches import PEER_PYTHON, ROOT
from scripts.archive import mar_file
from scripts.server.cores import usable_cores

OUR_PACKAGES: Final = ("torch", "torchserve", "openvino", "numpy", "pillow", "mlflow")
PEER_PACKAGES: Final = ("litserve", "bentoml", "fastapi", "uvicorn", "torch", "openvino", "pillow")
# What decides which arithmetic OpenVINO can use.
FLAGS: Final = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def machine() -> dict[str, Any]:
    """Return processor, memory and system."""
    cpu_info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = {
        key.strip(): value.strip()
        for key, _, value in (line.partition(":") for line in cpu_info.splitlines())
    }
    flags = fields.get("flags", "").split()
    return {
        "processor": fields.get("model name", platform.processor()),
        "flags": [flag for flag in FLAGS if flag in flags],
        "usable_cores": usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": list(psutil.getloadavg()),
    }


def versions() -> dict[str, Any]:
    """Return the versions of all that takes part."""
    return {
        "commit": _first_line(["git", "describe", "--always", "--dirty"]),
        "python": platform.python_version(),
        "java": _first_line(["java", "-version"]),
        "wrk": _first_line(["wrk", "-v"]).split(" Copyright")[0],
        "ours": {name: metadata.version(name) for name in OUR_PACKAGES},
        "peers": _peer_versions(),
    }


def archive_facts(mar: Path) -> dict[str, Any]:
    """Return what was served: digest, size, model version, precision, and its gate's findings."""
    provenance = mar_file.read_provenance(mar)
    return {
        "name": mar.name,
        "bytes": mar.stat().st_size,
        "sha256": hashlib.sha256(mar.read_bytes()).hexdigest(),
        "model": provenance["model"],
        "precision": provenance.get("precision", "?"),
        "gate": provenance.get("gate"),
    }


def _peer_versions() -> dict[str, str]:
    if not PEER_PYTHON.exists():
        return {}
    program = (
        "import json, sys; from importlib.metadata import version; "
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    done = subprocess.run(
        [PEER_PYTHON, "-c", program, *PEER_PACKAGES], capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _first_line(command: list[str]) -> str:
    """Return the first line that a command prints, wherever to; a question mark without it."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "?"
    return next(iter((done.stdout + done.stderr).splitlines()), "?")
