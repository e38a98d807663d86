"""The shipped checkpoints as registered versions."""

from __future__ import annotations

import mlflow
from iqa.network import checkpoint
from mlflow.entities.model_registry import ModelVersion

from console.paths import ROOT
from training.registry import model_versions
from training.registry.shipped import SHIPPED, VARIANTS

ARTIFACTS = "precision"  # `scripts.archive.graph_choice` reads them; its imports take seconds
PRECISION = "bf16"  # of the graph that is served where the processor has it
PRETRAINED = ROOT / "training" / "pretrained"
EXPERIMENT = "pretrained"


def register(name: str, alias: str, variant: str | None = None) -> ModelVersion:
    """
    Log and register a shipped checkpoint; give it the alias where nothing holds it.

    Args:
        name: Registered model; a key of `SHIPPED` chooses the checkpoint; under any
            other name it is `PRETRAINED`.
        alias: An existing holder keeps it.
        variant: A key of `VARIANTS` chooses the checkpoint whatever the name.

    Returns:
        The new version.
    """
    # Torch and the rest are needed here only, not by every start of the server.
    from training.registry import tracking
    from training.registry.promotion import register as register_version

    chosen = SHIPPED.get(name, PRETRAINED.name)
    if variant is not None:
        chosen = VARIANTS[variant]
    folder = ROOT / "training" / chosen
    card = checkpoint.load_card(folder)
    with tracking.run(EXPERIMENT, "pretrained", None, None) as run_id:
        graph = folder / ARTIFACTS / PRECISION
        registered = register_version(name, run_id, folder, card, graph if graph.is_dir() else None)
        # The graphs that passed their gate: a build needs no pictures then.
        if (folder / ARTIFACTS).is_dir():
            mlflow.MlflowClient().log_artifacts(run_id, str(folder / ARTIFACTS), ARTIFACTS)
    if model_versions.holder_of(name, alias) is None:
        model_versions.move_alias(name, alias, registered.version, "the shipped checkpoint")
    return model_versions.get(name, registered.version)
