"""Where MLflow is, and how long to wait for it: in one place, for tracking and registry alike."""

from __future__ import annotations

import os
from typing import Final

from console.command_line import TRACKING_VARIABLE
from console.paths import ROOT

RETRIES: Final = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
TIMEOUT: Final = "MLFLOW_HTTP_REQUEST_TIMEOUT"


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, or the SQLite file at the root of the project."""
    return os.environ.get(TRACKING_VARIABLE) or f"sqlite:///{ROOT / 'mlflow.db'}"


def is_embedded() -> bool:
    """Tell whether MLflow is a file of our own, and no server that others use."""
    return tracking_uri().startswith("sqlite:")


def connect(*, is_patient: bool = True) -> None:
    """
    Point MLflow, tracking and registry alike, at `tracking_uri`.

    Args:
        is_patient: Bridge a restart of MLflow, for hours of training are at stake. What serves
            does not: it goes on without an answer. Variables that are set already win.
    """
    # Its own 7 retries of 120 s take minutes to say that a server is away.
    os.environ.setdefault(RETRIES, "3" if is_patient else "1")
    if not is_patient:
        os.environ.setdefault(TIMEOUT, "10")
    import mlflow  # seconds; --status and --stop do without

    # Two files of a checkpoint need no bar of their own.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    mlflow.set_tracking_uri(tracking_uri())
    mlflow.set_registry_uri(tracking_uri())
