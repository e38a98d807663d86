"""
A version whose request takes milliseconds: the shipped network with a small input.

For tests in which a server answers many requests and what it says of a picture does not matter. Its
archive is built and proven once a run.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from iqa.imaging.preprocessing import with_area

from training.registry.pretrained import PRETRAINED

AREA_PX = 96 * 96
ARCHIVE = "iqa-1.mar"


@dataclass(frozen=True, kw_only=True)
class Quick:
    """
    Version 1 of `iqa`, which the alias `staging` names.

    Attributes:
        checkpoint: Folder of weights and card.
        archive: Proven.
        registry: SQLite file of MLflow; to be copied, not changed.
    """

    checkpoint: Path
    archive: Path
    registry: Path

    @classmethod
    def at(cls, folder: Path) -> Quick:
        """Return what `make` wrote into a folder."""
        return cls(
            checkpoint=folder / "checkpoint",
            archive=folder / "store" / ARCHIVE,
            registry=folder / "mlflow.db",
        )


def make(folder: Path, empty_store: Path) -> None:
    """Register and build it in a folder."""
    from iqa.network import checkpoint

    from scripts import build_mar
    from training.registry import address, model_versions, promotion, tracking

    made = Quick.at(folder)
    shutil.copytree(PRETRAINED, made.checkpoint, ignore=shutil.ignore_patterns("precision"))
    card = checkpoint.load_card(made.checkpoint)
    card |= {"format": checkpoint.TASK_FORMAT, "preprocessing": with_area(AREA_PX).parameters()}
    (made.checkpoint / checkpoint.CARD_FILE).write_text(json.dumps(card))
    shutil.copyfile(empty_store, made.registry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{made.registry}")
        address.connect()
        with tracking.run("tests", "quick", None, None) as run_id:
            promotion.register("iqa", run_id, made.checkpoint, card)
        model_versions.move_alias("iqa", "staging", "1", "test")
        words = ["--precision", "f32", "--out", str(made.archive.parent)]
        assert build_mar.main(words) == 0
