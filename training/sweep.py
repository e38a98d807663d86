"""
The nine experiments, and which of them is best: `python -m training.sweep --help`.

Three backbones times three settings of learning rate and epochs: one parent run in MLflow, one
child run and one registered version a cell. A sweep continues where it stopped: `sweep.json` in
its folder holds the finished cells, an interrupted cell goes on from its own saved state.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mlflow
import pandas as pd
from iqa import checkpoint
from iqa.model import FEATURES_OF_BACKBONE, QualityNetwork

from training import command_line, leaderboard, ratings, registry
from training.backbone_weights import start_from
from training.config import TrainConfig, add_options, train_config
from training.fit import BEST
from training.parallel import expect_alone
from training.promotion import Registered, promote_if_better
from training.run_state import STATE_FILE
from training.sweep_record import SweepRecord, parent_run, shared_settings
from training.tracking_uri import add_tracking_uri, connect
from training.train import train

logger = logging.getLogger(__name__)

SETTINGS: Final = ((1e-3, 3), (3e-4, 5), (1e-4, 6))
"""Learning rate and epochs of the experiments."""

# The sweep sets these itself, for each cell.
OWN_OPTIONS: Final = ("backbone", "lr", "epochs", "out", "resume", "restart", "run_name")


@dataclass(frozen=True)
class Cell:
    """One experiment of a sweep."""

    backbone: str
    lr: float
    epochs: int

    @classmethod
    def parse(cls, text: str) -> Cell:
        """Read BACKBONE:LR:EPOCHS; for argparse."""
        try:
            backbone, lr, epochs = text.split(":")
            cell = cls(backbone, float(lr), int(epochs))
        except ValueError as error:
            raise argparse.ArgumentTypeError(
                f"expected BACKBONE:LR:EPOCHS, e.g. mobilenet_v2:3e-4:5, got {text!r}."
            ) from error
        if backbone not in FEATURES_OF_BACKBONE or not (cell.lr > 0 and cell.epochs > 0):
            known = ", ".join(FEATURES_OF_BACKBONE)
            raise argparse.ArgumentTypeError(
                f"expected a backbone of {known} and numbers above 0, got {text!r}."
            )
        return cell

    def __str__(self) -> str:
        return f"{self.backbone}:{self.lr:g}:{self.epochs}"


ALL_CELLS: Final = tuple(
    Cell(backbone, lr, epochs) for backbone in FEATURES_OF_BACKBONE for lr, epochs in SETTINGS
)


def main(argv: list[str] | None = None) -> int:
    """Run a sweep from the command line; 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m training.sweep",
        description="Run the nine experiments, or go on with them, and rank what they gave by "
        "validation SROCC. All options of training.train that a cell does not set are accepted; "
        "--alias goes to the best cell at the end, if it beats the alias's holder.",
    )
    parser.add_argument(
        "--cells",
        nargs="+",
        type=Cell.parse,
        default=list(ALL_CELLS),
        metavar="BACKBONE:LR:EPOCHS",
        help="run these (default: " + " ".join(map(str, ALL_CELLS)) + ")",
    )
    parser.add_argument(
        "--weights-of",
        action="append",
        type=_weights_of,
        default=[],
        metavar="BACKBONE=VALUE",
        help="--weights for one backbone; may be given for each (default: --weights)",
    )
    parser.add_argument(
        "--out", type=Path, help="folder of the sweep (default: runs/sweep-DATASET)"
    )
    parser.add_argument("--run-name", help="MLflow name of the parent run (default: sweep-DATASET)")
    add_options(parser, TrainConfig, without=OWN_OPTIONS)
    add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        best = sweep(train_config(arguments), arguments.cells, dict(arguments.weights_of))
        print(f"next: python -m scripts.build_mar --version {best.version}")
        return 0

    return command_line.run(command, arguments.debug)


def sweep(config: TrainConfig, cells: list[Cell], weights_of: dict[str, str]) -> Registered:
    """
    Train the cells that are not finished yet; rank all finished ones; move the alias.

    Args:
        config: What all cells share; `out` is the sweep's folder, `alias` the best cell's.
        cells: To be trained.
        weights_of: Starting weights by backbone, where they are not `config.weights`.

    Returns:
        The version of the best finished cell, by validation SROCC.

    Raises:
        ValueError: The folder holds a sweep with other settings or pictures, or a cell failed.
        KeyboardInterrupt: Interrupted; the same command continues.
    """
    expect_alone("training.sweep")
    title = config.run_name or f"sweep-{config.dataset}"
    weights = {cell: weights_of.get(cell.backbone, config.weights) for cell in cells}
    data = ratings.load(config)
    record = SweepRecord.open(
        config.out or Path("runs") / f"sweep-{config.dataset}",
        # Weights are kept cell by cell.
        settings=shared_settings(config, without=(*OWN_OPTIONS, "weights")),
        digests={name: split.digest() for name, split in data.splits.items()},
    )
    for cell, value in weights.items():
        record.check_weights(str(cell), value)
    missing = [cell for cell in weights if str(cell) not in record.cells]
    # A wrong file is found now and not hours later, before the backbone's first cell.
    for backbone, value in {cell.backbone: weights[cell] for cell in missing}.items():
        start_from(QualityNetwork(backbone), value, mean_quality=0.5)
    logger.info("%s: %d of %d cells to train", record.directory, len(missing), len(weights))
    connect()
    with parent_run(config.experiment, title, record) as parent_run_id:
        failed: list[str] = []
        for number, cell in enumerate(missing, start=1):
            logger.info("cell %d of %d: %s", number, len(missing), cell)
            try:
                record.cells[str(cell)] = _run_cell(config, cell, weights[cell], record)
            except ValueError as error:  # it diverged, say: the other cells can still be trained
                failed.append(f"cell {cell}: {error}")
                logger.warning("%s", failed[-1])
                continue
            record.save()
            print(leaderboard.as_text(_publish(record, title, parent_run_id)), flush=True)
        if failed:
            raise ValueError(f"{len(failed)} cells failed: {'; '.join(failed)}")
        table = _publish(record, title, parent_run_id)
        if not missing:
            print(leaderboard.as_text(table))
        print(f"written: {record.directory}/leaderboard.md, leaderboard.csv, leaderboard.svg")
        best = _best(config, table, record)
        if config.alias:
            _promote(config.alias, best, data.splits["val"])
    return best


def _run_cell(config: TrainConfig, cell: Cell, weights: str, record: SweepRecord) -> dict[str, Any]:
    """Train one cell, or go on with it; return what the record keeps."""
    directory = record.directory / str(cell).replace(":", "-")
    settings = dataclasses.replace(
        config,
        backbone=cell.backbone,
        lr=cell.lr,
        epochs=cell.epochs,
        weights=weights,
        out=directory,
        resume=(directory / STATE_FILE).exists(),
        alias=None,
        run_name=None,
    )
    registered = train(settings, parent_run_id=record.parent_run_id)
    assert registered is not None  # alone, this is the first process
    facts = checkpoint.load_card(directory / BEST)["training"]
    return {
        "backbone": cell.backbone,
        "lr": cell.lr,
        "epochs": cell.epochs,
        "weights": weights,
        "best_epoch": facts["epoch"],
        "seconds": facts["seconds"],
        "version": registered.version,
        "run_id": registry.get(registered.name, registered.version).run_id,
        "metrics": registered.metrics,
    }


def _publish(record: SweepRecord, title: str, parent_run_id: str) -> pd.DataFrame:
    """Rank the finished cells; write tables and plot to the folder and the parent run."""
    table = leaderboard.ranked(record.cells)
    n = int(next(iter(record.cells.values()))["metrics"]["test"]["n"])
    client = mlflow.MlflowClient()
    for path in leaderboard.write(table, f"{title}: SROCC, {n} test pictures", record.directory):
        client.log_artifact(parent_run_id, str(path))
    for key in ("val_srocc", "test_srocc", "test_rmse_100"):
        client.log_metric(parent_run_id, f"best_{key}", float(table[key][0]))
    client.set_tag(parent_run_id, "best_version", str(table["version"][0]))
    return table


def _best(config: TrainConfig, table: pd.DataFrame, record: SweepRecord) -> Registered:
    """Return the first of the ranking as the registry knows it."""
    version = str(table["version"][0])
    cell = next(cell for cell in record.cells.values() if cell["version"] == version)
    return Registered(
        name=config.model_name, version=version, metrics=cell["metrics"], digests=record.digests
    )


def _promote(alias: str, best: Registered, val: ratings.Split) -> None:
    holder = registry.holder_of(best.name, alias)
    if holder is not None and str(holder.version) == best.version:
        print(f"{alias} stays at version {best.version}: the best of this sweep")
        return
    promote_if_better(alias, best, val)


def _weights_of(text: str) -> tuple[str, str]:
    backbone, _, value = text.partition("=")
    if backbone not in FEATURES_OF_BACKBONE or not value:
        known = ", ".join(FEATURES_OF_BACKBONE)
        raise argparse.ArgumentTypeError(
            f"expected BACKBONE=VALUE with a backbone of {known}, got {text!r}."
        )
    return backbone, value


if __name__ == "__main__":
    sys.exit(main())
