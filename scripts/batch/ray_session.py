"""Ray before a run: is it there, start one or join one, what its machines need beside it."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Final

from console.paths import ROOT
from scripts.batch.worker import Settings

LOCAL: Final = "local"
AUTO: Final = "auto"
CONNECT_S: Final = 10.0
OBJECT_STORE_BYTES: Final = 200 * 1024 * 1024
"""Of a Ray that is started here: names and rows are small, and the default is a third of the
machine's memory."""
ENVIRONMENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",  # it would send them
    # It calls it an error that an actor's arguments may be lost: they lie with the driver here.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
REQUIREMENTS: Final = "scripts/batch/requirements.txt"
PACKAGES: Final = ("console", "scripts")


def expect_installed() -> None:
    """
    Check that Ray can be imported, and set what it reads at its import.

    Raises:
        ValueError: It is not installed.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if importlib.util.find_spec("ray") is None:
        raise ValueError(
            "--ray: expected the package ray, got none. Install what is pinned: "
            f"uv pip install --python .venv/bin/python -r {REQUIREMENTS}"
        )
    # That a cluster asks for its token is no news; that it asks nobody is.
    logging.getLogger("ray._private.authentication.authentication_token_setup").addFilter(
        lambda record: "is disabled" in record.getMessage()
    )


def join(address: str, settings: Settings, n_cores: int, folder: Path) -> Settings:
    """
    Start a Ray here or join one.

    Args:
        address: `local`, `auto`, or HOST:PORT.
        settings: Of the workers, with this machine's folders.
        n_cores: Of a Ray that is started here.
        folder: Emptied, and filled with code and model, for a cluster.

    Returns:
        The settings as the machines of the cluster see them.

    Raises:
        ValueError: It is no address.
        ConnectionError: There is no cluster.
    """
    import ray

    if address == LOCAL:
        # The machines are this one: they have code and model already.
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        ray.init(
            address=LOCAL, num_cpus=n_cores, object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False, logging_level="WARNING", log_to_driver=False,
        )  # fmt: skip
        return settings
    if address != AUTO:
        _expect_open(address)
    packed = _pack(settings, folder)
    try:
        ray.init(
            address=address, runtime_env={"working_dir": str(folder)}, logging_level="WARNING",
            log_to_driver=False,
        )  # fmt: skip
    except ConnectionError as error:
        raise _no_cluster(address, error) from error
    return packed


def _expect_open(address: str) -> None:
    """Knock: Ray itself knocks for ten minutes before it says that nobody is there."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"--ray: expected local, auto or HOST:PORT, got {address!r}.")
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> ConnectionError:
    got = str(error).rstrip(".")
    return ConnectionError(
        f"--ray {address}: expected a Ray cluster, got: {got}. Start one (ray start --head), or "
        "give the address that it printed, HOST:PORT."
    )


def _pack(settings: Settings, folder: Path) -> Settings:
    """Copy code and model into one folder, which Ray takes to every machine."""
    shutil.rmtree(folder, ignore_errors=True)
    no_caches = shutil.ignore_patterns("__pycache__", "golden")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=no_caches)
    shutil.copytree(settings.model, folder / "model", ignore=no_caches)
    if settings.code == settings.model:
        return replace(settings, model="model", code="model")
    shutil.copytree(Path(settings.code) / "iqa", folder / "code" / "iqa", ignore=no_caches)
    return replace(settings, model="model", code="code")
