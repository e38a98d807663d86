"""
Register the shipped checkpoint: `python -m scripts.register_pretrained`.

The first start of a fresh clone does it by itself, in the embedded registry.
"""

from __future__ import annotations

import argparse
import sys

import mlflow
from iqa import checkpoint
from mlflow.entities.model_registry import ModelVersion

from training import command_line, registry
from training.tracking_uri import ROOT, add_tracking_uri, connect

ARTIFACTS = "precision"  # `scripts.graph_choice` reads them; its imports take seconds
PRETRAINED = ROOT / "training" / "pretrained"
EXPERIMENT = "pretrained"


def main(argv: list[str] | None = None) -> int:
    """Register from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.register_pretrained",
        description="Register training/pretrained as the next version of the model.",
    )
    parser.add_argument("--model-name", default=registry.MODEL_NAME, help="(default: %(default)s)")
    parser.add_argument(
        "--alias", default=registry.ALIAS,
        help="moved to the new version if nothing holds it (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--if-empty", action="store_true", help="do nothing where the model has a version"
    )
    add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        connect()
        if arguments.if_empty and has_versions(arguments.model_name):
            print(f"{arguments.model_name}: versions are there, nothing registered")
            return 0
        version = register(arguments.model_name, arguments.alias)
        print(f"{version.name} version {version.version}")
        return 0

    return command_line.run(command, arguments.debug)


def has_versions(name: str) -> bool:
    """Tell whether a model has a version; False also where there is no such model."""
    return bool(mlflow.MlflowClient().search_model_versions(f"name='{name}'", max_results=1))


def register(name: str, alias: str) -> ModelVersion:
    """
    Log and register the shipped checkpoint; give it the alias where nothing holds it.

    Args:
        name: Registered model.
        alias: An existing holder keeps it.

    Returns:
        The new version.
    """
    # Torch and the rest are needed here only, not by every start of the server.
    from training import tracking
    from training.promotion import register as register_version

    card = checkpoint.load_card(PRETRAINED)
    with tracking.run(EXPERIMENT, "pretrained", None, None) as run_id:
        registered = register_version(name, run_id, PRETRAINED, card)
        # The graphs that passed their gate: a build needs no pictures then.
        mlflow.MlflowClient().log_artifacts(run_id, str(PRETRAINED / ARTIFACTS), ARTIFACTS)
    if registry.holder_of(name, alias) is None:
        registry.move_alias(name, alias, registered.version, "the shipped checkpoint")
    return registry.get(name, registered.version)


if __name__ == "__main__":
    sys.exit(main())
