"""
The settings of a deployment, and the errors it may end with.

    NotNow                the circumstances: try again later (from management_api)
      Superseded          the alias moved or a rollback came: look again, at once
    VersionFailed         the version: quarantined, not tried again by itself
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scripts.rollout.records import Records
from scripts.server.client import NotNow, TorchServe
from scripts.server.state import StateDir


class Superseded(NotNow):
    """The target of a sync changed while it ran."""


class VersionFailed(ValueError):
    """A version does not load, does not score as proven, or does not last."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """
    What is deployed where, and with how much patience.

    Attributes:
        server: One model of a running TorchServe; the registered model has the same name.
        store: Its model store, as this process sees it.
        state: Where the record of deployments is.
        is_local: Whether TorchServe runs on this machine, with `state` as its own folder.
        health_url: Address of its supervisor, which knows whether it is ready; None: unknown.
        alias: Names the version to serve.
        watch_s: How long a new version is watched after it became the default.
        longest_request_s: The server ends any request after this time.
        keeps_previous: Whether the version before stays loaded, for a rollback at once.
    """

    server: TorchServe
    store: Path
    state: StateDir
    is_local: bool
    health_url: str | None = None
    alias: str = "staging"
    watch_s: float = 10.0
    longest_request_s: float = 30.0
    keeps_previous: bool = True

    @property
    def model_name(self) -> str:
        """The registered model."""
        return self.server.model_name

    @property
    def records(self) -> Records:
        """What deployments of this model left on record."""
        return Records(state=self.state, model_name=self.model_name)
