"""
TorchServe, twice: with this project's settings around any archive, and with the stock ones.

    python -m benchmarks.peers.torchserve MAR PORT WORKERS     (with this project's)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

PEERS: Final = Path(__file__).resolve().parent
STARTED: Final = "started"
"""Touched when TorchServe is started: what was imported before is not its cold start."""


def pack(store: Path, handler: str, *options: str) -> Path:
    """
    Pack an archive with the stock archiver.

    Args:
        store: A folder of our own, for the archive alone.
        handler: File name of a handler of this folder.
        options: The archiver's.
    """
    store.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "model_archiver.model_packaging",
        "--model-name", "iqa", "--version", "1", "--handler", str(PEERS / handler),
        "--export-path", str(store), "--force", *options,
    ]  # fmt: skip
    subprocess.run(command, check=True, cwd=store, capture_output=True, text=True)
    return store / "iqa.mar"


def pack_noop(store: Path, model_dir: Path) -> Path:
    """Pack the handler that does nothing, with the configuration of our own archive."""
    return pack(
        store, "noop_handler.py", "--config-file", str(model_dir / "model-config.yaml"),
        "--serialized-file", str(model_dir / "model.json"),  # the archiver wants one; never read
    )  # fmt: skip


def pack_eager(store: Path, model_dir: Path) -> Path:
    """Pack the network as TorchServe's own examples do: class, pickled weights, BaseHandler."""
    import torch
    from iqa.network import checkpoint

    parts = store.parent / "parts"
    shutil.copytree(model_dir / "iqa", parts / "files" / "iqa", dirs_exist_ok=True)
    shutil.copyfile(model_dir / "model.json", parts / "files" / "model.json")
    network, _ = checkpoint.load(model_dir)
    weights = parts / "model.pth"
    torch.save(network.state_dict(), weights)
    return pack(
        store, "eager_handler.py", "--model-file", str(PEERS / "eager_network.py"),
        "--serialized-file", str(weights), "--extra-files", str(parts / "files"),
    )  # fmt: skip


def stock_command(mar: Path, port: int, workers: int) -> list[str]:
    """Write a configuration that sets nothing but places and workers; return how to start it."""
    settings = {
        "inference_address": f"http://127.0.0.1:{port}",
        "management_address": f"http://127.0.0.1:{port + 1}",
        "metrics_address": f"http://127.0.0.1:{port + 2}",
        "grpc_inference_port": port - 1010,
        "grpc_management_port": port + 1 - 1010,
        "default_workers_per_model": workers,
        "disable_token_authorization": "true",
    }
    config = mar.parent / "config.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    return [
        sys.executable, "-m", "ts.model_server", "--start", "--foreground", "--ncs",
        "--ts-config", str(config), "--model-store", str(mar.parent), "--models", f"iqa={mar.name}",
    ]  # fmt: skip


def main(argv: list[str]) -> None:
    """Start an archive exactly as `scripts/run_torchserve.sh --no-front` would."""
    from scripts.server import process
    from scripts.server.addresses import Ports
    from scripts.server.state import StateDir

    mar, port, workers = Path(argv[0]), int(argv[1]), int(argv[2])
    Path(STARTED).touch()
    ports = Ports(inference=port, management=port + 1, metrics=port + 2)
    process.start({"iqa": mar}, ports, {"iqa": workers}, StateDir.from_environment())


if __name__ == "__main__":
    main(sys.argv[1:])
