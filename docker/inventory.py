"""
What an image holds, as JSON: run inside it by `scripts/sbom.py`, from standard input.

Python packages with the digest of the file that each was installed from (docker/install.py),
Debian packages, Java archives.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

VENV = Path("/opt/venv")


def main() -> int:
    """Print the inventory."""
    found = {"python": python(), "libraries": libraries(), "debian": debian(), "java": java()}
    print(json.dumps(found))
    return 0


def python() -> dict[str, Any]:
    """List the interpreter and its packages, those of the base image's own Python too."""
    record_file = VENV / "installed.json"
    record = json.loads(record_file.read_text()) if record_file.exists() else {}
    taken = {_normal(name): told for name, told in record.items()}
    own = f"{sys.base_prefix}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    found = {}
    for package in metadata.distributions(path=[*filter(None, sys.path), own]):
        name, version = package.metadata["Name"], package.version
        told = taken.get(_normal(name), {})
        found[_normal(name), version] = {
            "name": name,
            "version": version,
            "license": _license(package.metadata),
            "sha256": told.get("sha256") if told.get("version") == version else None,
        }
    interpreter = {"name": "python", "version": platform.python_version()}
    return {"interpreter": interpreter, "packages": [found[key] for key in sorted(found)]}


def libraries() -> list[dict[str, str]]:
    """List the shared libraries that Python packages bring, such as decoders of pictures."""
    return [
        {
            "name": path.name.split(".so")[0].rsplit("-", 1)[0],
            "package": path.parent.name.removesuffix(".libs"),
            "path": str(path),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(VENV.glob("lib/python*/site-packages/*.libs/*.so*"))
    ]


def debian() -> list[dict[str, str]]:
    """List the Debian packages."""
    if not shutil.which("dpkg-query"):
        return []
    shape = "${binary:Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n"
    told = subprocess.run(
        ["dpkg-query", "-W", "-f", shape], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split("\t") for line in told.splitlines()]
    return [
        {"name": name.split(":")[0], "version": version, "architecture": architecture}
        for name, version, architecture, status in rows
        if status == "installed"
    ]


def java() -> list[dict[str, Any]]:
    """List Java archives by their digest, with what they say of the libraries inside them."""
    found = []
    for jar in sorted(VENV.rglob("*.jar")):
        with zipfile.ZipFile(jar) as packed:
            stated = re.findall(
                r"^([\w-]+)\.version=(\S+)$",
                "".join(
                    packed.read(name).decode()
                    for name in packed.namelist()
                    if name == "META-INF/io.netty.versions.properties"
                ),
                re.MULTILINE,
            )
        digest = hashlib.sha256(jar.read_bytes()).hexdigest()
        found.append(
            {"name": jar.name, "path": str(jar), "sha256": digest, "netty": sorted(set(stated))}
        )
    return found


def _license(told: Any) -> str | None:
    text: str = told.get("License-Expression") or told.get("License") or ""
    # Some put the whole text there.
    return text if text and len(text) < 100 and "\n" not in text else None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
