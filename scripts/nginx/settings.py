"""The front's settings, and nginx's configuration that is made of them."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterable, Mapping
from typing import Final

from console.default_names import MODEL_NAME
from console.paths import ROOT
from scripts.server.models import parse_models
from scripts.server.state import StateDir

TEMPLATE: Final = ROOT / "torchserve" / "front" / "nginx.conf.template"
MAX_CONNECTIONS: Final = 16384
OFF: Final = "off"
BLOCK: Final = re.compile(r"^ *# (\w+): begin\n(.*?)^ *# \1: end\n", re.MULTILINE | re.DOTALL)
"""What the template has for one purpose alone: `web`, or a split of the requests."""
GATEWAY_SOCKET: Final = "gateway.sock"
"""In FRONT_DIR: the front's door for the gateway."""
CONFIG: Final = "nginx.conf"
"""In FRONT_DIR."""
SPLIT_LOG: Final = "split.log"
"""In FRONT_DIR: a line for each request, while requests are split."""
SPARE_FILES: Final = 512
"""Descriptors for TorchServe's side, large bodies and logs."""

Settings = dict[str, str]

HELP: Final = {
    "FRONT_LISTEN": "address and port for clients",
    "FRONT_UPSTREAM": "TorchServe's inference address",
    "FRONT_HEALTH": "the supervisor's address, for /ready",
    "FRONT_IN_FLIGHT": "requests under way at most; the next one gets 503 `overloaded`",
    "FRONT_LARGE_IN_FLIGHT": "requests of 10 MB or more under way at most; the next one: the same",
    "FRONT_PER_ADDRESS": "requests and uploads of one client address at once",
    "FRONT_MAX_BYTES": "size of a body; above it 413",
    "FRONT_BATCH_BYTES": "size of a body of /predict/batch",
    "FRONT_WEB": "the gateway's address; `off`: its paths are not there",
    "FRONT_CONNECTIONS": "connections, idle ones included",
    "FRONT_DRAIN_S": "seconds that accepted requests get at the end",
    "FRONT_DIR": "folder for its process id and large bodies; exists",
    "FRONT_MODELS": "names of the models, with | between them",
    "FRONT_ERROR_LEVEL": "nginx's level; below `crit` it writes a line for each refusal",
    "FRONT_ACCESS_LOG": "`off`, or e.g. `/dev/stdout iqa`: one JSON line a request",
}


LEAST: Final = {
    "FRONT_IN_FLIGHT": 1, "FRONT_LARGE_IN_FLIGHT": 1, "FRONT_PER_ADDRESS": 1, "FRONT_MAX_BYTES": 1,
    "FRONT_BATCH_BYTES": 1, "FRONT_CONNECTIONS": 1, "FRONT_DRAIN_S": 0,
}  # fmt: skip
"""Of each number the least; nginx would refuse others without the variable's name."""


def defaults() -> Settings:
    """Return the default of each placeholder in the template."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_CONNECTIONS if files == resource.RLIM_INFINITY else files - SPARE_FILES
    connections = str(max(min(most, MAX_CONNECTIONS), SPARE_FILES))
    level = os.environ.get("IQA_LOG_LEVEL", "").upper()
    return {
        "FRONT_LISTEN": "127.0.0.1:8080",
        "FRONT_UPSTREAM": "127.0.0.1:8084",
        "FRONT_HEALTH": "127.0.0.1:8083",
        # What TorchServe's queue takes: with workers that hold some as well, it is never full.
        "FRONT_IN_FLIGHT": _setting("torchserve/model-config.yaml", r"^jobQueueSize: (\d+)"),
        "FRONT_LARGE_IN_FLIGHT": "8",  # a batch has eight under way; by test_default_start.py
        "FRONT_PER_ADDRESS": connections,
        "FRONT_MAX_BYTES": _setting("config.properties", r"^max_request_size=(\d+)"),
        "FRONT_BATCH_BYTES": str(4 * 1024**3),  # a hundred of the largest; never held as a whole
        "FRONT_WEB": OFF,
        "FRONT_CONNECTIONS": connections,
        "FRONT_DRAIN_S": "35",
        "FRONT_DIR": str(StateDir.from_environment().front),
        "FRONT_MODELS": names_pattern(
            model.name for model in parse_models(os.environ.get("MODELS") or MODEL_NAME, "")
        ),
        "FRONT_ERROR_LEVEL": "info" if level == "DEBUG" else "crit",
        "FRONT_ACCESS_LOG": "/dev/stdout iqa" if level in ("INFO", "DEBUG") else "off",
    }


def from_environment() -> Settings:
    """
    Return the defaults, with what the environment says in place of them.

    Raises:
        ValueError: A number is none.
    """
    given = {name: os.environ[name] for name in HELP if os.environ.get(name)}
    _expect_numbers(given)
    return {**defaults(), **given}


def _expect_numbers(settings: Settings) -> None:
    for name, least in LEAST.items():
        value = settings.get(name, str(least))
        if not re.fullmatch(r"\d{1,15}", value, re.ASCII) or int(value) < least:
            raise ValueError(f"{name}: expected a whole number from {least}, got {value!r}.")


def names_pattern(names: Iterable[str]) -> str:
    """Return the value of FRONT_MODELS that stands for these models."""
    return "|".join(name.replace(".", "[.]") for name in names)  # nothing else is special


def render(settings: Settings, split: Mapping[str, str] | None = None, kind: str = "") -> str:
    """
    Return the configuration.

    Args:
        settings: Values of the template's placeholders.
        split: Values of those that begin with SPLIT_, see `split.py`; None: all requests go to
            the default version.
        kind: Of the split, `canary` or `shadow`.

    Raises:
        ValueError: A value would end its directive and begin another, or a number is none.
    """
    _expect_numbers(settings)
    for variable, value in settings.items():
        if not re.fullmatch(r"[\w ./:\[\]|-]+", value):
            raise ValueError(f"{variable}: expected an address, path or number, got {value!r}.")
    first = settings["FRONT_MODELS"].partition("|")[0].replace("[.]", ".")
    values = {**settings, **(split or {}), "FRONT_FIRST_MODEL": first}
    parts = {"web"} if settings["FRONT_WEB"] != OFF else set()
    if split is not None:
        parts |= {"split", kind}
        logs = [] if settings["FRONT_ACCESS_LOG"] == OFF else [settings["FRONT_ACCESS_LOG"]]
        logs.append(f"{settings['FRONT_DIR']}/{SPLIT_LOG} split if=$arm")
        values["FRONT_ACCESS_LOG"] = ";\n  access_log ".join(logs)
    text = TEMPLATE.read_text()
    while BLOCK.search(text):  # blocks lie in blocks
        text = BLOCK.sub(lambda found: found[2] if found[1] in parts else "", text)
    return re.sub(r"\$\{((?:FRONT|SPLIT)_\w+)\}", lambda found: values[found[1]], text)


def _setting(file: str, pattern: str) -> str:
    """Read a number from the server's own settings, so that it is defined once."""
    found = re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{file}: expected a line like {pattern}, got none.")
    return found[1]
