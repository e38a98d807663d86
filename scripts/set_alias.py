"""
Point an alias at a version by hand.

Training moves the alias by itself where the new model is better; this is for rollbacks, and for
choosing the best of an experiment.
"""

from __future__ import annotations

import argparse
import sys

import mlflow
from mlflow.entities.model_registry import ModelVersion

from console import command_line
from training.registry import model_versions
from training.registry.address import connect
from training.registry.ranking import metrics_on_validation
from training.tasks.task_table import training_task_of


def main(argv: list[str] | None = None) -> int:
    """Move an alias from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.set_alias",
        description="Point an alias of a registered model at one of its versions. The version "
        "remembers which one held the alias before, in its tag previous_<alias>.",
        epilog="Next: python -m scripts.build_mar, then scripts/run_torchserve.sh",
    )
    parser.add_argument("name", help="registered model, e.g. iqa")
    parser.add_argument("version", nargs="?", help="version, by its number")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--best-of", metavar="EXPERIMENT", help="the version there that is best on validation"
    )
    which.add_argument(
        "--best-of-all", action="store_true", help="the version that is best on validation"
    )
    which.add_argument("--run-id", help="the version that this run registered")
    parser.add_argument("--alias", default=model_versions.ALIAS, help="(default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="say what would move, move nothing")
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    chosen = (arguments.version, arguments.best_of, arguments.best_of_all, arguments.run_id)
    if sum(map(bool, chosen)) != 1:
        parser.error("expected one of VERSION, --best-of, --best-of-all, --run-id")

    def command() -> int:
        connect()
        version, reason = _choose(arguments)
        number = str(version.version)
        before = model_versions.holder_of(arguments.name, arguments.alias)
        was = "nothing" if before is None else f"version {before.version}"
        if arguments.dry_run:
            print(f"would move {arguments.alias}: {was} -> version {number} ({reason})")
            return 0
        model_versions.move_alias(arguments.name, arguments.alias, number, reason)
        print(f"{arguments.alias}: {was} -> version {number} ({reason})")
        return 0

    return command_line.run(command, arguments.debug)


def _choose(arguments: argparse.Namespace) -> tuple[ModelVersion, str]:
    name = arguments.name
    if arguments.version:
        return model_versions.get(name, arguments.version), "by hand"
    versions = model_versions.versions(name)
    if arguments.run_id:
        found = [version for version in versions if version.run_id == arguments.run_id]
        if not found:
            raise ValueError(f"--run-id: expected a run that registered '{name}', got none.")
        return found[-1], f"of run {arguments.run_id}"
    if arguments.best_of:
        runs = _runs_of(arguments.best_of)
        versions = [version for version in versions if version.run_id in runs]
    return _best(versions), f"best of {arguments.best_of or 'all versions'} on validation"


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


if __name__ == "__main__":
    sys.exit(main())
