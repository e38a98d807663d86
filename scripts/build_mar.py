"""
Build the archive of a registered version, prove it, place it in the model store.

How: `scripts.archive.build`.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from console import command_line
from console.default_names import ALIAS, MODEL_NAME
from scripts.archive import mar_file, precision_choices
from training.data.config import DataConfig, add_options, data_config
from training.registry.address import connect

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Build from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.build_mar",
        description="Build and prove model-store/iqa-<version>.mar from a registered version.",
        epilog="Next: scripts/run_torchserve.sh serves what the alias staging names. Without a "
        "registry: python -m scripts.build_mar --checkpoint runs/mine/best --out build/mine",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--alias", default=ALIAS, help="version to build (default: %(default)s)")
    which.add_argument("--version", help="version to build, by its number")
    which.add_argument(
        "--checkpoint", type=Path, metavar="FOLDER",
        help="build from a folder in place of the registry, in float32; the archive is version 0, "
        "and the same files give the same bytes",
    )  # fmt: skip
    parser.add_argument(
        "--evaluated", type=Path, metavar="FILE",
        help="with --checkpoint: what training.evaluate wrote of it; other weights are refused",
    )  # fmt: skip
    parser.add_argument(
        "--model-name",
        default=MODEL_NAME,
        help="registered model (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, default=mar_file.MODEL_STORE, help="model store (default: model-store)"
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="replace an archive that has other bytes, unless this checkout's server has it loaded",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="store the proven archive with its version in the registry, for machines that do not "
        "build: python -m scripts.deploy sync --from-registry",
    )
    parser.add_argument(
        "--precision", choices=precision_choices.CHOICES,
        help="what the graph computes in. auto is the fastest here of those that keep the scores: "
        "SROCC may drop 0.002, 99 %% of scores may move 0.5 point (bf16) or 1 point (int8). bf16 "
        "and int8 are made from rated pictures: give --data-dir (default: what the version was "
        "built in before, else auto)",
    )  # fmt: skip
    pictures = parser.add_argument_group(
        "rated pictures, to make and measure a graph of lower precision; once for each version"
    )
    add_options(pictures, DataConfig)
    parser.set_defaults(data_dir=None)
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        if arguments.checkpoint is not None:
            print(_of_folder(arguments))
            return 0
        if arguments.evaluated is not None:
            raise ValueError("--evaluated: expected it with --checkpoint FOLDER, got it alone.")
        # Torch, ONNX and MLflow take seconds: only once the options are right.
        from scripts.archive import archives_in_registry
        from scripts.archive.build import build
        from training.registry import model_versions

        connect()
        version = (
            model_versions.get(arguments.model_name, arguments.version)
            if arguments.version
            else model_versions.resolve(arguments.model_name, arguments.alias)
        )
        target = build(
            version,
            arguments.out,
            replace=arguments.replace,
            wanted=arguments.precision,
            data=data_config(arguments) if arguments.data_dir else None,
        )
        if arguments.publish:
            proven = model_versions.get(str(version.name), str(version.version))
            logger.info("published: %s", archives_in_registry.publish(proven, target))
        print(target)
        return 0

    return command_line.run(command, arguments.debug)


def _of_folder(arguments: argparse.Namespace) -> Path:
    if arguments.publish:
        raise ValueError(
            "--publish: expected a registered version, got --checkpoint. Register it, then publish."
        )
    if arguments.precision not in (None, "f32") or arguments.data_dir is not None:
        raise ValueError(
            "--checkpoint: expected float32, which needs no images, got --precision or --data-dir. "
            "Register the checkpoint for a graph of lower precision."
        )
    from scripts.archive.build import build_unregistered

    return build_unregistered(
        arguments.checkpoint,
        arguments.model_name,
        arguments.out,
        replace=arguments.replace,
        evaluated=arguments.evaluated,
    )


if __name__ == "__main__":
    sys.exit(main())
