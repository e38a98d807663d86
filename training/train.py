"""
Train one network and register it.

The work, read downward, is in `training.loop.training_run`.
"""

from __future__ import annotations

import argparse
import sys

from console import command_line
from training.data.config import add_options
from training.loop import defaults
from training.loop.config import TrainConfig, train_config
from training.tasks.task_table import TRAINING_TASKS, task_of_data


def main(argv: list[str] | None = None) -> int:
    """Train from the command line; 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Train a network on rated or labelled images, log it to MLflow, register the "
        "version. The data set says which of the two; its defaults come before those below.",
        epilog="Clothes in 28 x 28: python -m training.train --dataset fashion_mnist --alias "
        "staging. Folders of classes: --dataset imagefolder --data-dir DIR. "
        "A network of your own: --network module:function, or timm:NAME (docs/your-own-model.md). "
        "Several GPUs: torchrun --nproc-per-node 2 -m training.train ... "
        "Quick try: python -m training.demo_data --out demo/data && python -m "
        "training.train --data-dir demo/data --weights none --epochs 1 --limit 32",
    )
    add_options(parser, TrainConfig)
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    parser.add_argument(
        "--task", choices=sorted(TRAINING_TASKS), help="refuse data of another task"
    )
    arguments = defaults.parsed(parser, argv)

    def command() -> int:
        config = train_config(arguments)
        own = task_of_data(config).name
        if arguments.task not in (None, own):
            raise ValueError(
                f"--task: expected {own}, which --dataset {config.dataset} is for, got "
                f"{arguments.task}. Of --dataset csv, --mos-range tells ratings from labels."
            )
        # Torch and MLflow take seconds: only once the options are right.
        from training.loop.training_run import report, train

        return report(train(config))

    return command_line.run(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
