"""
The settings of a deployment, and the errors it may end with.

    NotNow                the circumstances: try again later (from http_client)
      HeldBack            the other servers of the fleet (from rolling_order)
      Superseded          the alias moved or a rollback came: look again, at once
    VersionFailed         the version: quarantined, not tried again by itself
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from console.default_names import ALIAS
from scripts.rollout.deployment_records import Records
from scripts.rollout.rolling_order import Fleet
from scripts.server.client import TorchServe
from scripts.server.http_client import NotNow
from scripts.server.state import StateDir


class Superseded(NotNow):
    """The target of a sync changed while it ran."""


class VersionFailed(ValueError):
    """A version does not load, does not score as proven, or does not last."""


@dataclass(frozen=True, kw_only=True)
class CanarySteps:
    """
    How a version gets the requests by and by.

    Attributes:
        shares: In percent, rising to 100; the old version gets the rest.
        step_s: How long each is judged, at least.
        min_answers: Of the candidate, in each step; with fewer it is not judged.
        score_shift: See `candidate_verdict.Bounds`.

    Raises:
        ValueError: The shares do not rise from above 0 to 100, in two steps at least.
    """

    shares: tuple[float, ...]
    step_s: float = 600.0
    min_answers: int = 30
    score_shift: float = 0.15

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in pairwise((0.0, *self.shares)))
        if len(self.shares) < 2 or not rising or self.shares[-1] != 100:
            told = ",".join(f"{share:g}" for share in self.shares)
            raise ValueError(
                f"--canary: expected rising shares in percent, the last one 100, got {told}. "
                "For example: --canary 5,25,100"
            )
        if not self.step_s > 0 or not 0 < self.score_shift < 1 or self.min_answers < 1:
            raise ValueError(
                "--canary: expected --step-s above 0, --min-answers above 0 and "
                "--score-shift above 0 and below 100, got another."
            )


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
        canary: How it gets the requests; None: all at once.
        fleet: The servers that follow the same alias, one after the other; None: it is alone.
    """

    server: TorchServe
    store: Path
    state: StateDir
    is_local: bool
    health_url: str | None = None
    alias: str = ALIAS
    watch_s: float = 10.0
    longest_request_s: float = 30.0
    keeps_previous: bool = True
    canary: CanarySteps | None = None
    fleet: Fleet | None = None

    @property
    def model_name(self) -> str:
        """The registered model."""
        return self.server.model_name

    @property
    def records(self) -> Records:
        """What deployments of this model left on record."""
        return Records(state=self.state, model_name=self.model_name)
