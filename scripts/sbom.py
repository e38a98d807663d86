"""
Write the bill of materials of an image, CycloneDX in JSON.

`docker/inventory.py` lists what the image really holds, not what it was meant to hold. The
bill is checked against CycloneDX's schema before it is written.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from console import command_line
from console.paths import ROOT

INVENTORY: Final = ROOT / "docker" / "inventory.py"
# What a decoder is under, by the name of its file: a wheel's own licence does not say it.
LIBRARY_LICENSES: Final = {
    "libheif": "LGPL-3.0-or-later",
    "libde265": "LGPL-3.0-or-later",
    "libavif": "BSD-2-Clause",  # and in it dav1d and libaom, of the same one
    "libjpeg": "IJG AND BSD-3-Clause",
    "libopenjp2": "BSD-2-Clause",
    "libpng16": "libpng-2.0",
    "libtiff": "libtiff",
    "libwebp": "BSD-3-Clause",
    "libwebpdemux": "BSD-3-Clause",
    "libwebpmux": "BSD-3-Clause",
    "libsharpyuv": "BSD-3-Clause",
    "liblcms2": "MIT",
}
OUT: Final = ROOT / "build" / "sbom.json"


def main(argv: list[str] | None = None) -> int:
    """Write the bill of one image."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.sbom",
        description="Write what an image holds as CycloneDX JSON: Python packages with the SHA-256 "
        "of the file that each came from and the libraries inside, Debian packages, Java archives.",
    )
    parser.add_argument(
        "--image", default="iqa-torchserve", help="as docker names it (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=OUT, help="where to write it (default: build/sbom.json)"
    )
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        text = document(arguments.image, inventory(arguments.image))
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text)
        print(f"{arguments.out}: {len(json.loads(text)['components'])} components")
        return 0

    return command_line.run(command, arguments.debug)


def inventory(image: str) -> dict[str, Any]:
    """
    Ask an image what it holds, without a network and without starting what it serves.

    Raises:
        RuntimeError: There is no such image, or it has no Python.
    """
    done = subprocess.run(
        [
            "docker", "run", "--rm", "--interactive", "--network", "none", "--read-only",
            "--entrypoint", "python", image, "-",
        ],
        input=INVENTORY.read_text(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise RuntimeError(
            f"image {image}: expected an inventory, got: {said} Build it: docker-compose build"
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def document(image: str, found: dict[str, Any]) -> str:
    """
    Return the bill as CycloneDX 1.6.

    Args:
        image: Its name, the subject of the bill.
        found: See `inventory`.

    Raises:
        RuntimeError: It does not fit CycloneDX's schema.
    """
    bom = Bom()
    bom.metadata.component = Component(name=image, type=ComponentType.CONTAINER, bom_ref="image")
    interpreter = found["python"]["interpreter"]
    bom.components.add(
        Component(
            type=ComponentType.APPLICATION,
            **interpreter,
            bom_ref=f"python@{interpreter['version']}",
        )
    )
    for package in found["python"]["packages"]:
        bom.components.add(_python_package(package))
    for library in found["libraries"]:
        bom.components.add(_library(library))
    for package in found["debian"]:
        bom.components.add(_debian_package(package))
    for jar in found["java"]:
        for component in _java_archive(jar):
            bom.components.add(component)
    bom.register_dependency(bom.metadata.component, bom.components)
    text: str = JsonV1Dot6(bom).output_as_string(indent=1)
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault is not None:
        raise RuntimeError(f"bill of {image}: expected CycloneDX 1.6, got: {fault}")
    return text + "\n"


def _python_package(told: dict[str, Any]) -> Component:
    purl = PackageURL("pypi", name=told["name"].lower().replace("_", "-"), version=told["version"])
    return Component(
        type=ComponentType.LIBRARY,
        name=told["name"],
        version=told["version"],
        purl=purl,
        bom_ref=str(purl),
        hashes=[_sha256(told["sha256"])] if told["sha256"] else [],
        licenses=[DisjunctiveLicense(name=told["license"])] if told["license"] else [],
    )


def _library(told: dict[str, Any]) -> Component:
    """Return a shared library that a Python package brings, with its licence where we know it."""
    known = LIBRARY_LICENSES.get(told["name"])
    return Component(
        type=ComponentType.LIBRARY,
        name=told["name"],
        bom_ref=told["path"],
        hashes=[_sha256(told["sha256"])],
        licenses=[DisjunctiveLicense(name=known)] if known else [],
        properties=[Property(name="inside", value=told["package"])],
    )


def _debian_package(told: dict[str, Any]) -> Component:
    purl = PackageURL(
        "deb", "debian", told["name"], told["version"], {"arch": told["architecture"]}
    )
    return Component(
        type=ComponentType.LIBRARY,
        name=told["name"],
        version=told["version"],
        purl=purl,
        bom_ref=str(purl),
    )


def _java_archive(told: dict[str, Any]) -> list[Component]:
    """Return an archive, and the libraries whose versions it states; most of them it does not."""
    jar = Component(
        type=ComponentType.FILE,
        name=told["name"],
        bom_ref=told["path"],
        hashes=[_sha256(told["sha256"])],
        properties=[Property(name="path", value=told["path"])],
    )
    return [
        jar,
        *(
            Component(
                type=ComponentType.LIBRARY,
                group="io.netty",
                name=name,
                version=version,
                purl=(purl := PackageURL("maven", "io.netty", name, version)),
                bom_ref=f"{told['path']}#{purl}",
                properties=[Property(name="inside", value=told["path"])],
            )
            for name, version in told["netty"]
        ),
    ]


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)


if __name__ == "__main__":
    sys.exit(main())
