"""Where a server listens: interfaces, ports, and the addresses that clients use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

LOOPBACK: Final = "127.0.0.1"
EVERYWHERE: Final = "0.0.0.0"


@dataclass(frozen=True, kw_only=True)
class Ports:
    """
    The ports of one TorchServe.

    gRPC cannot be switched off; its ports follow the first two (8080 -> 7070).
    """

    inference: int = 8080
    management: int = 8081
    metrics: int = 8082

    @property
    def grpc_inference(self) -> int:
        """Port of gRPC predictions."""
        return self.inference - 1010

    @property
    def grpc_management(self) -> int:
        """Port of gRPC management."""
        return self.management - 1010

    def by_name(self) -> dict[str, int]:
        """Return all five, under the names of the environment variables that set them."""
        return {
            "INFERENCE_PORT": self.inference,
            "MANAGEMENT_PORT": self.management,
            "METRICS_PORT": self.metrics,
            "INFERENCE_PORT - 1010 (gRPC)": self.grpc_inference,
            "MANAGEMENT_PORT - 1010 (gRPC)": self.grpc_management,
        }


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where one server listens, e.g. http://127.0.0.1:8080; no slash at the end."""

    inference: str
    management: str
    metrics: str

    @classmethod
    def on_this_machine(cls, ports: Ports) -> Addresses:
        """Return the addresses of a server that was started here."""
        host = f"http://{LOOPBACK}"
        return cls(
            inference=f"{host}:{ports.inference}",
            management=f"{host}:{ports.management}",
            metrics=f"{host}:{ports.metrics}",
        )


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """
    The interfaces on which the three APIs listen; gRPC stays on loopback always.

    A MAR is arbitrary Python, so whoever reaches the management API owns the machine. Listen on
    loopback, unless the network has no other members, as between containers.
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
        ValueError: It is neither loopback nor all interfaces. Any other interface would leave out
            loopback, which this machine's own commands use.
    """
    host = os.environ.get(variable) or LOOPBACK
    if host not in (LOOPBACK, EVERYWHERE):
        raise ValueError(f"{variable}: expected {LOOPBACK} or {EVERYWHERE}, got {host}.")
    return host
