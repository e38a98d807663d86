"""
Put a pipeline's images in place and check them, before anything is trained on them.

The first stage of `dvc.yaml`: copies the folder of a data set, or makes the synthetic one, and
reads it as training will, so that bad labels are refused here. The synthetic one is of photographs,
or with `--dataset handwriting` of lines of text.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Final

from console import command_line
from console.paths import ROOT
from training.data import ratings
from training.data.config import DataConfig, add_options, data_config
from training.tasks.task_table import task_of_data

SYNTHETIC: Final = Path("training", "demo_data.py")
"""Named as the source, it makes the data."""


def main(argv: list[str] | None = None) -> int:
    """Prepare from the command line; 0 done, 1 refused, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m training.prepare",
        description="Copy a data set to --data-dir and read it as training will: damaged labels, "
        "missing images and empty splits are refused.",
        epilog="Example: python -m training.prepare --source data/biq2021 --dataset biq2021 "
        "--data-dir build/dvc/quality/data",
    )
    parser.add_argument(
        "--source", type=Path, required=True,
        help=f"folder of the data set; {SYNTHETIC} makes a synthetic one, of text lines with "
        "--dataset handwriting",
    )  # fmt: skip
    parser.add_argument(
        "--data-dir", type=Path, required=True, help="folder to make; nothing may be in it"
    )
    parser.add_argument(
        "--pictures", type=int, help="size of the synthetic data set (default: 400)"
    )
    add_options(parser, DataConfig, without=("data_dir", "download"))
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        prepare(arguments.source, data_config(arguments), arguments.pictures)
        return 0

    return command_line.run(command, arguments.debug)


def prepare(source: Path, config: DataConfig, pictures: int | None = None) -> None:
    """
    Copy or make a data set, and check it.

    Args:
        source: A folder, or `SYNTHETIC`.
        config: How it is read; its `data_dir` is made.
        pictures: Size of the synthetic one; None is its own default.

    Raises:
        ValueError: The source is neither, its labels are refused, or `data_dir` is not empty or
            lies in the source.
        FileNotFoundError: Images or labels are missing.
    """
    out = config.data_dir
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--data-dir: expected nothing in {out}, got files. Delete them first.")
    if source.is_dir():
        if not any(path.is_file() for path in source.rglob("*")):
            raise FileNotFoundError(f"--source: expected images in {source}, got an empty folder.")
        if pictures is not None:
            raise ValueError(f"--pictures: expected it with --source {SYNTHETIC}, got {source}.")
        if out.resolve().is_relative_to(source.resolve()):
            raise ValueError(f"--data-dir: expected a folder outside of {source}, got {out}.")
        shutil.copytree(source, out, dirs_exist_ok=True)
    elif source.is_file() and source.resolve() == (ROOT / SYNTHETIC).resolve():
        from training.data import demo_sets  # torch: only where a set is made

        make = demo_sets.make_lines if config.dataset == "handwriting" else demo_sets.make
        make(out, **({} if pictures is None else {"pictures": pictures}))
    else:
        raise ValueError(
            f"--source: expected the folder of a data set, or {SYNTHETIC}, got {source}. "
            "Its place stands in params.yaml."
        )
    task = task_of_data(config)
    data = ratings.load(config, targets=task.targets, policy=task.policy)
    duplicates = data.duplicates()
    print(f"{out}: {data.name}, {data.counts()}, {len(duplicates)} images in two splits")


if __name__ == "__main__":
    sys.exit(main())
