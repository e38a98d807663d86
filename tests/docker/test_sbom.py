"""The bill of materials of the serving image holds what was locked, file for file."""

from __future__ import annotations

import json
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from console.paths import ROOT
from scripts import sbom
from tests.docker.stack import Stack

LOCKS = {
    "iqa-torchserve": ROOT / "docker" / "no-torch" / "requirements.txt",
    "iqa-front": ROOT / "docker" / "front" / "requirements.txt",
    "iqa-web": ROOT / "web" / "requirements.txt",
    "iqa-mlflow": ROOT / "docker" / "mlflow" / "requirements.txt",
}


def locked(path: Path) -> dict[str, tuple[str, set[str]]]:
    """Return {name: (version, digests)} of a lock's lines that count on this machine."""
    found = {}
    for block in re.split(r"\n(?=\S)", path.read_text().replace("\\\n", " ")):
        line = block.partition("--hash")[0].strip()
        if not line or line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            version = next(iter(requirement.specifier)).version
            digests = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", block))
            found[canonicalize_name(requirement.name)] = (version, digests)
    return found


@pytest.mark.parametrize("image", LOCKS)
def test_each_locked_package_is_in_the_bill_with_a_locked_digest(
    stack: Stack, image: str, tmp_path: Path
) -> None:
    """Name, version, and the digest of a file that the lock allows."""
    out = tmp_path / "sbom.json"
    assert sbom.main(["--image", image, "--out", str(out)]) == 0
    bill: dict[str, Any] = json.loads(out.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    components = {
        canonicalize_name(part["name"]): part
        for part in bill["components"]
        if part.get("purl", "").startswith("pkg:pypi/")
    }
    wanted = locked(LOCKS[image])
    assert wanted
    for name, (version, digests) in wanted.items():
        part = components[name]
        assert part["version"] == version
        assert {digest["content"] for digest in part["hashes"]} <= digests
        assert part["hashes"], name
    kinds = {part.get("purl", "").partition("/")[0] for part in bill["components"]}
    assert "pkg:deb" in kinds
    if image == "iqa-torchserve":
        names = {part["name"] for part in bill["components"]}
        assert {"model-server.jar", "netty-handler", "openjdk-17-jre-headless"} <= names
        assert "torch" not in names


def test_the_decoders_inside_packages_have_their_licences() -> None:
    """The wheel of pi-heif is BSD, what it brings is not; told without building an image."""
    # By its path: a package `docker` may be installed.
    spec = spec_from_file_location("inventory", ROOT / "docker" / "inventory.py")
    assert spec is not None and spec.loader is not None
    inventory = module_from_spec(spec)
    spec.loader.exec_module(inventory)
    site = next(Path(path) for path in sys.path if (Path(path) / "pi_heif.libs").is_dir())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inventory, "VENV", site.parents[2])
        found = {
            "python": {"interpreter": {"name": "python", "version": "3.11"}, "packages": []},
            "libraries": inventory.libraries(), "debian": [], "java": [],
        }  # fmt: skip
    bill = json.loads(sbom.document("an-image", found))
    licences = {
        part["name"]: [one["license"]["name"] for one in part.get("licenses", [])]
        for part in bill["components"]
    }
    assert licences["libheif"] == licences["libde265"] == ["LGPL-3.0-or-later"]
    assert licences["libavif"] == ["BSD-2-Clause"]
