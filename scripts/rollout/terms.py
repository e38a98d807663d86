"""
What a deployment is told, and how it may end.

    NotNow                the circumstances: try again later (from management_api)
      Superseded          the alias moved or a rollback came: look again, at once
    VersionFailed         the version: quarantined, not tried again by itself
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scripts.server.client import NotNow, TorchServe


class Superseded(NotNow):
    """What was wanted at the start of a sync is not wanted any more."""


class VersionFailed(ValueError):
    """A version does not load, does not score as proven, or does not last."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """
    What is deployed where, and with how much patience.

    Attributes:
        server: A running TorchServe.
        store: Its model store, as this process sees it.
        unpack_dir: Its temporary folder if it runs on this machine, else None.
        alias: Names the version to serve.
        model_name: Registered model.
        watch_s: How long a new version is watched after it became the default.
        longest_request_s: The server ends any request after this time.
        keeps_previous: Whether the version before stays loaded, for a rollback at once.
    """

    server: TorchServe
    store: Path
    unpack_dir: Path | None
    alias: str = "staging"
    model_name: str = "iqa"
    watch_s: float = 10.0
    longest_request_s: float = 30.0
    keeps_previous: bool = True
