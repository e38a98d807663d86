"""
Point an alias at a version by hand.

Training moves the alias by itself where the new model is better; this is for rollbacks, and for
choosing the best of an experiment.
"""

from __future__ import annotations

import argparse
import sys

from console import command_line
from console.default_names import ALIAS
from training.registry.address import connect


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
    parser.add_argument("--alias", default=ALIAS, help="(default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="say what would move, move nothing")
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    chosen = (arguments.version, arguments.best_of, arguments.best_of_all, arguments.run_id)
    if sum(map(bool, chosen)) != 1:
        parser.error("expected one of VERSION, --best-of, --best-of-all, --run-id")

    def command() -> int:
        # MLflow takes seconds: only once the options are right.
        from training.registry import model_versions
        from training.registry.version_choice import choose

        connect()
        version, reason = choose(
            arguments.name, arguments.version, arguments.run_id, arguments.best_of
        )
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


if __name__ == "__main__":
    sys.exit(main())
