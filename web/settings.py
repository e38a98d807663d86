"""What the gateway is told by its environment."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console import default_names

MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
INFERENCE_URL: Final = "http://127.0.0.1:8080"
READY_URL: Final = "http://127.0.0.1:8083/ready"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    Where the server is, what it serves, and who may reload it.

    Attributes:
        inference_url: Of the port that answers POST /predictions/NAME: the front's, or
            `unix:PATH` of the front's own door for the gateway.
        ready_url: Of the supervisor's GET /ready.
        aliases: {model name: alias}; the first model is meant where a request names none.
        reload_command: What makes the server serve what the alias names; None: not from here.
        reload_token: With it anybody may reload; without one only who calls from this machine.
    """

    inference_url: str = INFERENCE_URL
    ready_url: str = READY_URL
    aliases: Mapping[str, str]
    reload_command: tuple[str, ...] | None
    reload_token: str | None = None

    @classmethod
    def from_environment(cls) -> Settings:
        """
        Read WEB_INFERENCE_URL, WEB_READY_URL, MODELS, RELOAD, RELOAD_TOKEN, RELOAD_TOKEN_FILE.

        Raises:
            ValueError: One of them is not understood.
            OSError: The file of the token cannot be read.
        """
        inference_url = os.environ.get("WEB_INFERENCE_URL") or INFERENCE_URL
        ready_url = os.environ.get("WEB_READY_URL") or READY_URL
        for variable, url in (("WEB_INFERENCE_URL", inference_url), ("WEB_READY_URL", ready_url)):
            if not re.match(r"http://[^/]|unix:/", url):
                raise ValueError(
                    f"{variable}: expected http://HOST:PORT or unix:PATH, got {url!r}."
                )
        return cls(
            inference_url=inference_url.rstrip("/"),
            ready_url=ready_url.rstrip("/"),
            aliases=served_models(),
            reload_command=_reload_command(os.environ.get("RELOAD") or "on"),
            reload_token=_token(),
        )

    @property
    def model_name(self) -> str:
        """The model that is meant where a request names none."""
        return next(iter(self.aliases))


def served_models() -> dict[str, str]:
    """
    Return {name: alias} of MODELS, NAME[@ALIAS],..., as `run_torchserve.sh --models` takes it.

    Raises:
        ValueError: It is not of that form.
    """
    text = os.environ.get("MODELS") or default_names.MODEL_NAME
    aliases = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        name, _, alias = word.partition("@")
        if not MODEL_NAME.fullmatch(name):
            raise ValueError(f"MODELS: expected NAME[@ALIAS],..., got {text!r}.")
        aliases[name] = alias or default_names.ALIAS
    if not aliases:
        raise ValueError(f"MODELS: expected at least one name, got {text!r}.")
    return aliases


def _reload_command(text: str) -> tuple[str, ...] | None:
    if text == "off":
        return None
    if text == "on":
        return (sys.executable, "-m", "scripts.deploy", "sync")
    return tuple(shlex.split(text))


def _token() -> str | None:
    """Return the token of RELOAD_TOKEN_FILE or RELOAD_TOKEN; an empty one would let anybody in."""
    file = os.environ.get("RELOAD_TOKEN_FILE")
    token = Path(file).read_text().strip() if file else os.environ.get("RELOAD_TOKEN")
    if file and not token:
        raise ValueError(f"RELOAD_TOKEN_FILE: expected a token in {file}, got an empty file.")
    return token or None
