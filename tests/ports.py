"""
Ports for the tests' servers.

Never from the range that the system gives to outgoing connections: a test with thousands of
them, or a client that knocks on a server being restarted, would take the server's own port.
"""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
LOWEST = 12000
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
BACKEND = 4  # tests.server puts TorchServe there, behind the front
WEB = 5  # and the gateway there
GRPC_BELOW = 1010  # scripts.server.process puts the gRPC ports there
STRIDE = 40
"""Two processes of pytest that choose at once have blocks of their own in it, for gRPC too."""


def free_ports() -> dict[str, str]:
    """Return three port variables; the seven ports that follow, and gRPC's three, are free too."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        base = secrets.choice(range(LOWEST + STRIDE // 2 * (number % 2), _highest(), STRIDE))
        grpc = (step - GRPC_BELOW for step in (0, 1, BACKEND))
        if all(is_free(base + step) for step in (*range(10), *grpc)):
            names = ("INFERENCE_PORT", "MANAGEMENT_PORT", "METRICS_PORT")
            return {name: str(base + i) for i, name in enumerate(names)}


def free_port() -> int:
    """Return one that nobody has."""
    return int(free_ports()["INFERENCE_PORT"])


def is_free(port: int) -> bool:
    """Say whether a server could bind a port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _highest() -> int:
    """Return the first port that outgoing connections get, less room for those that follow."""
    lowest_outgoing = int(EPHEMERAL.read_text().split()[0]) if EPHEMERAL.is_file() else 32768
    return max(lowest_outgoing, LOWEST + 1000) - 10
