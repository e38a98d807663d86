"""What the registry knows of versions, printed."""

from __future__ import annotations

from datetime import UTC, datetime

from mlflow.entities.model_registry import ModelVersion

from training.registry import model_versions
from training.registry.address import tracking_uri
from training.tasks.task_table import training_task_of


def print_one(version: ModelVersion) -> None:
    """Print all that is known of a version, a fact a line."""
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


def print_all(name: str) -> None:
    """Print a line for each version of a model."""
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
