"""What an alias names: `python -m scripts.model_info [--alias staging | --version N | --all]`."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from mlflow.entities.model_registry import ModelVersion

from training import command_line, registry
from training.tracking_uri import add_tracking_uri, connect, tracking_uri


def main(argv: list[str] | None = None) -> int:
    """Print the facts of a version."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.model_info",
        description="Print what an alias names: version, run, metrics, data, tags, archive, time.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--alias", default=registry.ALIAS, help="(default: %(default)s)")
    which.add_argument("--version", help="a version, by its number")
    which.add_argument("--all", action="store_true", help="all versions, one line each")
    parser.add_argument("--model-name", default=registry.MODEL_NAME, help="(default: %(default)s)")
    add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        connect()
        name = arguments.model_name
        if arguments.all:
            _print_all(name)
        elif arguments.version:
            _print_one(registry.get(name, arguments.version))
        else:
            _print_one(registry.resolve(name, arguments.alias))
        return 0

    return command_line.run(command, arguments.debug)


def _print_one(version: ModelVersion) -> None:
    rows = {
        "model": f"{version.name} version {version.version}",
        "registry": tracking_uri(),
        "aliases": ", ".join(registry.aliases_of(version)) or "-",
        "run": version.run_id or "-",
        "registered": _time(version),
        **dict(sorted(version.tags.items())),
    }
    for name, value in rows.items():
        print(f"{name:<18} {value}")


def _print_all(name: str) -> None:
    print(f"{'version':<8} {'aliases':<12} {'backbone':<16} {'dataset':<10} "
          f"{'val SROCC':>9} {'test SROCC':>10}  registered")  # fmt: skip
    for version in registry.versions(name):
        tags = version.tags
        print(
            f"{version.version:<8} {', '.join(registry.aliases_of(version)) or '-':<12} "
            f"{tags.get('backbone', '-'):<16} {tags.get('dataset', '-'):<10} "
            f"{tags.get('val_srocc', '-')[:6]:>9} {tags.get('test_srocc', '-')[:6]:>10}  "
            f"{_time(version)}"
        )


def _time(version: ModelVersion) -> str:
    return datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(" ", "seconds")


if __name__ == "__main__":
    sys.exit(main())
