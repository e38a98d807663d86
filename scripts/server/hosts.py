"""The interfaces on which this machine's servers listen."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

LOOPBACK: Final = "127.0.0.1"
EVERYWHERE: Final = "0.0.0.0"


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """
    The interfaces on which the three APIs listen; gRPC stays on loopback always.

    A MAR is arbitrary Python, so whoever reaches the management API owns the machine: loopback,
    unless a network that nobody else is on is all there is, as between containers.
    """

    inference: str = LOOPBACK
    management: str = LOOPBACK
    metrics: str = LOOPBACK

    @classmethod
    def from_environment(cls) -> Hosts:
        """
        Return INFERENCE_HOST, MANAGEMENT_HOST and METRICS_HOST, each loopback by default.

        Raises:
            ValueError: One is neither loopback nor all interfaces.
        """
        return cls(
            inference=bind_host("INFERENCE_HOST"),
            management=bind_host("MANAGEMENT_HOST"),
            metrics=bind_host("METRICS_HOST"),
        )


def bind_host(variable: str) -> str:
    """
    Return an environment variable that holds an interface to listen on.

    Raises:
        ValueError: It is neither loopback nor all interfaces. One of several would leave out
            loopback, and this machine's own commands go there.
    """
    host = os.environ.get(variable) or LOOPBACK
    if host not in (LOOPBACK, EVERYWHERE):
        raise ValueError(f"{variable}: expected {LOOPBACK} or {EVERYWHERE}, got {host}.")
    return host
