"""A real `mlflow server` that can be taken away and brought back."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path


class MlflowServer:
    """
    One server with a database and artifacts of its own.

    Args:
        folder: For both and the log; the database `server.db` has MLflow's tables.
        port: Free.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self.uri = f"http://127.0.0.1:{port}"
        self._port = str(port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with webhooks allowed to this machine; it answers seconds later."""
        with (self._folder / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "mlflow", "server",
                    "--host", "127.0.0.1", "--port", self._port, "--workers", "1",
                    "--backend-store-uri", f"sqlite:///{self._folder / 'server.db'}",
                    "--artifacts-destination", str(self._folder / "artifacts"),
                ],
                stdout=log, stderr=log, start_new_session=True,
                env={
                    **os.environ,
                    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # two more processes, unused
                    "MLFLOW_WEBHOOK_CACHE_TTL": "0",  # else a new webhook counts after 60 s
                    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
                    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
                    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": base64.b64encode(b"k" * 32).decode(),
                },
            )  # fmt: skip

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break  # another server on the port must not answer in its place
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as reply:
                    if reply.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise RuntimeError((self._folder / "server.log").read_text())

    def stop(self) -> None:
        """End it and what it started."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=30)
            self._process = None
