"""Say what an alias names: version, run, metrics, data, archive."""

from __future__ import annotations

import argparse
import sys

from console import command_line
from console.default_names import ALIAS, MODEL_NAME
from training.registry.address import connect


def main(argv: list[str] | None = None) -> int:
    """Print the facts of a version."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.model_info",
        description="Print what an alias names: version, run, metrics, data, tags, archive, time.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--alias", default=ALIAS, help="(default: %(default)s)")
    which.add_argument("--version", help="a version, by its number")
    which.add_argument("--all", action="store_true", help="all versions, one line each")
    parser.add_argument("--model-name", default=MODEL_NAME, help="(default: %(default)s)")
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        # MLflow takes seconds: only once the options are right.
        from training.registry import model_versions
        from training.registry.version_facts import print_all, print_one

        connect()
        name = arguments.model_name
        if arguments.all:
            print_all(name)
        elif arguments.version:
            print_one(model_versions.get(name, arguments.version))
        else:
            print_one(model_versions.resolve(name, arguments.alias))
        return 0

    return command_line.run(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
