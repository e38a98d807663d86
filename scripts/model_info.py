"""Say what an alias names: version, run, metrics, data, archive."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from mlflow.entities.model_registry import ModelVersion

from console import command_line
from training.registry import model_versions
from training.registry.address import connect, tracking_uri
from training.tasks.task_table import training_task_of


def main(argv: list[str] | None = None) -> int:
    """Print the facts of a version."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.model_info",
        description="Print what an alias names: version, run, metrics, data, tags, archive, time.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--alias", default=model_versions.ALIAS, help="(default: %(default)s)")
    which.add_argument("--version", help="a version, by its number")
    which.add_argument("--all", action="store_true", help="all versions, one line each")
    parser.add_argument(
        "--model-name", default=model_versions.MODEL_NAME, help="(default: %(default)s)"
    )
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        connect()
        name = arguments.model_name
        if arguments.all:
            _print_all(name)
        elif arguments.version:
            _print_one(model_versions.get(name, arguments.version))
        else:
            _print_one(model_versions.resolve(name, arguments.alias))
        return 0

    return command_line.run(command, arguments.debug)


def _print_one(version: ModelVersion) -> None:
    rows = {
        "model": f"{version.name} version {version.version}",
        "registry": tracking_uri(),
        "aliases": ", ".join(model_versions.aliases_of(version)) or "-",
        "run": version.run_id or "-",
        "registered": _time(version),
        **dict(sorted(version.tags.items())),
    }
    for name, value in rows.items():
        print(f"{name:<18} {value}")


def _print_all(name: str) -> None:
    print(f"{'version':<8} {'aliases':<12} {'backbone':<16} {'dataset':<10} "
          f"{'validation':<14} {'test':<14} registered")  # fmt: skip
    for version in model_versions.versions(name):
        tags = version.tags
        print(
            f"{version.version:<8} {', '.join(model_versions.aliases_of(version)) or '-':<12} "
            f"{tags.get('backbone', '-'):<16} {tags.get('dataset', '-'):<10} "
            f"{_leading(tags, 'val'):<14} {_leading(tags, 'test'):<14} {_time(version)}"
        )


def _leading(tags: dict[str, str], split: str) -> str:
    """Return the metric that ranks, as the version's tags have it."""
    try:
        metric = training_task_of(tags).leading
    except ValueError:  # registered by other code
        return "-"
    number = tags.get(f"{split}_{metric.key}")
    return "-" if number is None else f"{metric.title} {metric.text(float(number))}"


def _time(version: ModelVersion) -> str:
    return datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(" ", "seconds")


if __name__ == "__main__":
    sys.exit(main())
