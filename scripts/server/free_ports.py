"""Whether a server can have its ports, looked at before anything is started."""

from __future__ import annotations

import socket

from scripts.server.addresses import LOOPBACK, Ports


def expect_free(
    ports: Ports, front: int | None = None, health: int = 0, web: int | None = None
) -> None:
    """
    Check that a server can bind all its ports.

    Args:
        ports: TorchServe's own.
        front: The port of the front; None without one.
        health: The supervisor's port; 0 without one.
        web: The gateway's port; None without one.

    Raises:
        ValueError: A port is out of range, doubled, or taken.
    """
    numbers = ports.by_name()
    if front is not None:
        numbers = {k.replace("INFERENCE", "BACKEND"): v for k, v in numbers.items()}
        numbers["INFERENCE_PORT"] = front
    if health:
        numbers["HEALTH_PORT"] = health
    if web is not None:
        numbers["WEB_PORT"] = web
    if len(set(numbers.values())) < len(numbers):
        raise ValueError(f"ports: expected {len(numbers)} different ones, got {numbers}.")
    for name, port in numbers.items():
        if not 1024 <= port <= 65535:
            raise ValueError(f"{name}: expected a port in 1024..65535, got {port}.")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError as error:
                raise ValueError(
                    f"port {port} ({name}): expected it free, got: {error.strerror}. "
                    "Choose others, e.g. --inference-port 18080 --management-port 18081 "
                    "--metrics-port 18082 --health-port 18083 --backend-port 18084 "
                    "--web-port 18086, or stop what listens there."
                ) from error
