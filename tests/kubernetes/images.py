"""What an image is by Dockerfile and docker-compose.yml, and what its program sees in a pod."""

from __future__ import annotations

import functools
import re
from typing import Final

import yaml

from console.paths import ROOT
from tests.kubernetes.rendered import Document, image_of

COMPOSE: Final[dict[str, Document]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())[
    "services"
]
SIDE_CAR: Final = "iqa-sidecar-slim"
"""Of a pod: it takes archives and builds none. A Job that publishes has `iqa-sidecar`."""
DOCKERFILE: Final = (ROOT / "Dockerfile").read_text()


@functools.cache
def stage(image: str) -> tuple[list[str], dict[str, str]]:
    """Return (CMD, ENV) of an image of ours, by the Dockerfile."""
    name = image.removeprefix("iqa-")
    found = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.M | re.S)
    if found is None:
        return [], {}
    text = found[1].replace("\\\n", " ")
    command = re.search(r"^CMD \[(.*)\]", text, re.M)
    words = re.findall(r'"([^"]*)"', command[1]) if command else []
    settings = dict(
        pair
        for line in re.findall(r"^ENV (.*)$", text, re.M)
        for pair in re.findall(r"(\w+)=(\S+)", line)
    )
    return words, settings


def service(image: str) -> Document:
    """Return compose's service of an image of ours; empty if it has none."""
    return COMPOSE.get(image.removeprefix("iqa-").removesuffix("-slim"), {})


def environment(container: Document, maps: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return what a container's program sees, the image's variables included."""
    seen = dict(stage(image_of(container))[1])
    for one in container.get("env", []):
        name, source = str(one.get("name")), one.get("valueFrom", {})
        key = source.get("configMapKeyRef", {})
        if "secretKeyRef" in source:
            seen[name] = "secret"
        elif key:
            seen[name] = str(maps.get(key.get("name"), {}).get(key.get("key"), ""))
        else:
            seen[name] = str(one.get("value", ""))
    return seen


def option(words: list[str], name: str, default: str = "") -> str:
    """Return the value of --name=VALUE among words."""
    return next((w.partition("=")[2] for w in words if w.startswith(f"--{name}=")), default)
