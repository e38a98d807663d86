"""Where MLflow is: read in one place, for tracking and registry alike."""

from __future__ import annotations

import os

from console.paths import ROOT


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, or the SQLite file at the root of the project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{ROOT / 'mlflow.db'}"


def is_embedded() -> bool:
    """Tell whether MLflow is a file of our own, and no server that others use."""
    return tracking_uri().startswith("sqlite:")


def connect() -> None:
    """Point MLflow, tracking and registry alike, at `tracking_uri`."""
    # Its own 7 retries take minutes to say that a server is away.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    import mlflow  # seconds; --status and --stop do without

    # Two files of a checkpoint need no bar of their own.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    mlflow.set_tracking_uri(tracking_uri())
    mlflow.set_registry_uri(tracking_uri())
