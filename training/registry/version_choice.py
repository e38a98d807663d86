"""Which version of a model an alias is to name: by number, by run, or the best on validation."""

from __future__ import annotations

import mlflow
from mlflow.entities.model_registry import ModelVersion

from training.registry import model_versions
from training.registry.ranking import metrics_on_validation
from training.tasks.task_table import training_task_of


def choose(
    name: str, version: str | None, run_id: str | None, best_of: str | None
) -> tuple[ModelVersion, str]:
    """
    Choose one version of a model.

    Args:
        name: Registered model.
        version: This one; or
        run_id: what this run registered; or
        best_of: the best of this experiment; None: of all versions.

    Returns:
        The version, and why it is this one.

    Raises:
        ValueError: There is no such version, run or experiment.
    """
    if version:
        return model_versions.get(name, version), "by hand"
    versions = model_versions.versions(name)
    if run_id:
        found = [each for each in versions if each.run_id == run_id]
        if not found:
            raise ValueError(f"--run-id: expected a run that registered '{name}', got none.")
        return found[-1], f"of run {run_id}"
    if best_of:
        runs = _runs_of(best_of)
        versions = [each for each in versions if each.run_id in runs]
    return _best(versions), f"best of {best_of or 'all versions'} on validation"


def _runs_of(experiment: str) -> set[str]:
    found = mlflow.get_experiment_by_name(experiment)
    if found is None:
        raise ValueError(f"--best-of: expected an experiment, got none named {experiment!r}.")
    pages = mlflow.MlflowClient().search_runs([found.experiment_id], max_results=10_000)
    return {run.info.run_id for run in pages}


def _best(versions: list[ModelVersion]) -> ModelVersion:
    """
    Return the version that is best on validation, as its task says.

    Only versions that were measured on the newest one's images and targets are compared.

    Raises:
        ValueError: There is none, or the newest was not measured by this project.
    """
    if not versions:
        raise ValueError("expected at least one registered version there, got none.")
    digest = versions[-1].tags.get("digest_val")
    if digest is None:
        raise ValueError(
            f"version {versions[-1].version}: expected the tag digest_val, got none. "
            "It was not registered by this project: name a VERSION."
        )
    comparable = [version for version in versions if version.tags.get("digest_val") == digest]
    left_out = [str(version.version) for version in versions if version not in comparable]
    if left_out:
        print(
            f"left out, measured on other validation pictures than version "
            f"{versions[-1].version}: {', '.join(left_out)}"
        )
    task = training_task_of(versions[-1].tags)
    return max(comparable, key=lambda each: task.rank(metrics_on_validation(each, task)))
