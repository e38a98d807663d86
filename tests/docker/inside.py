"""What a container says of itself, as JSON: run inside it, from standard input."""

import importlib.util
import json
import os
import shutil
from pathlib import Path

TOOLS = ("gcc", "cc", "g++", "ld", "make", "git", "curl", "wget", "uv")
PLACES = ("/x", "/app/x", "/etc/x", "/opt/venv/x", "/usr/bin/x", "/app/model-store/x")


def may_write(path):
    """Try it, and leave nothing."""
    try:
        Path(path).touch()
        Path(path).unlink()
        return True
    except OSError:
        return False


def has(package):
    """Tell whether a package can be imported, without doing so."""
    return importlib.util.find_spec(package) is not None


def environments():
    """Return the environments of Java and of the workers."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text()
            variables = (process / "environ").read_text()
        except OSError:
            continue
        for kind, mark in (("worker", "model_service_worker"), ("java", "org.pytorch.serve")):
            if mark in words:
                entries = [entry.partition("=") for entry in variables.split("\0") if entry]
                found.setdefault(kind, []).append({name: value for name, _, value in entries})
                break
    return found


status = dict(line.split(":", 1) for line in Path("/proc/1/status").read_text().splitlines())
facts = {
    "uids": status["Uid"].split(),
    "capabilities": [status["CapEff"].strip(), status["CapBnd"].strip()],
    "no_new_privileges": status["NoNewPrivs"].strip(),
    "first_process": Path("/proc/1/cmdline").read_text().split("\0")[0],
    "may_write": [place for place in PLACES if may_write(place)],
    "has_scratch": may_write("/tmp/x"),
    "tools": [tool for tool in TOOLS if shutil.which(tool)],
    "packages": [name for name in ("pip", "iqa", "mlflow", "torch", "ts") if has(name)],
    "PYTHONPATH": os.environ.get("PYTHONPATH"),
    "copies": [
        str(path)
        for top in ("/app", "/opt")
        for path in Path(top).rglob("*")
        if path.name in ("iqa", "iqa_handler.py", "handler")
    ],
    "iqa": sorted(path.name for path in Path("/app/handler/iqa").glob("*")),
    "unpacked": [str(path.parent) for path in Path("/state").rglob("iqa_handler.py")],
    "archives": sorted(path.name for path in Path("/app/model-store").glob("*.mar")),
    "environments": environments(),
}
print(json.dumps(facts))
