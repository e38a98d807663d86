"""
Register the shipped checkpoint as the next version.

The first start of a fresh clone does it by itself, in the embedded registry.
"""

from __future__ import annotations

import argparse
import os
import sys

from console import command_line
from console.default_names import ALIAS, MODEL_NAME
from scripts.server.models import parse_models
from training.registry.address import connect
from training.registry.shipped import SHIPPED, VARIANTS


def main(argv: list[str] | None = None) -> int:
    """Register from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.register_pretrained",
        description="Register a shipped checkpoint as the next version of a model: "
        "training/pretrained, which scores photographs, or by its name one of "
        f"{', '.join(SHIPPED)}.",
        epilog="Examples: python -m scripts.register_pretrained --variant fast; "
        "python -m scripts.register_pretrained --model-name fashion_mnist; "
        "MODELS=iqa,fashion_mnist python -m scripts.register_pretrained --all --if-empty",
    )
    parser.add_argument(
        "--model-name",
        default=MODEL_NAME,
        help="chooses the checkpoint too (default: %(default)s)",
    )
    parser.add_argument(
        "--variant", choices=sorted(VARIANTS),
        help="which checkpoint of photographs, under any --model-name: full, or fast, which takes "
        "less than half of the CPU time (docs/model.md)",
    )  # fmt: skip
    parser.add_argument(
        "--alias", default=ALIAS,
        help="moved to the new version if nothing holds it (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--all", action="store_true",
        help="each model that the variable MODELS names, NAME[@ALIAS],..., and for which a "
        "checkpoint is shipped",
    )  # fmt: skip
    parser.add_argument(
        "--if-empty", action="store_true", help="do nothing where the model has a version"
    )
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        # MLflow takes seconds: only once the options are right.
        from training.registry.model_versions import has_versions
        from training.registry.pretrained import register

        connect()
        named = os.environ.get("MODELS") if arguments.all else None
        if arguments.all and arguments.variant:
            raise ValueError(
                "--variant: expected one model, got --all. Name the model: --model-name NAME."
            )
        for model in parse_models(named or arguments.model_name, arguments.alias):
            if named and model.name not in SHIPPED:
                print(
                    f"{model.name}: no checkpoint is shipped under this name, nothing registered. "
                    f"Train one: python -m training.train --model-name {model.name} ..."
                )
            elif arguments.if_empty and has_versions(model.name):
                print(f"{model.name}: versions are there, nothing registered")
            else:
                version = register(model.name, model.alias, arguments.variant)
                print(f"{version.name} version {version.version}")
        return 0

    return command_line.run(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
