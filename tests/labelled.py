"""A small data set of classes, made in code: stripes, dots and rings, each in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training.loop.config import TrainConfig

CLASSES = ("dots", "rings", "stripes")
SPLITS = {"train": 30, "valid": 40, "test": 8}
"""Images a class; 120 for validation are enough for a temperature."""


def drawn(label: str, rng: np.random.Generator, side: int = 32) -> np.ndarray:
    """Return one image of a class: uint8 (side, side, 3), in noise."""
    y, x = np.mgrid[0:side, 0:side] + rng.uniform(0, 8, (2, 1, 1))
    shape = {
        "dots": np.sin(x) * np.sin(y),
        "rings": np.sin(np.hypot(x - side / 2, y - side / 2)),
        "stripes": np.sin(x),
    }[label]
    pixels = 128 + 70 * shape + rng.normal(0, 30, (side, side))
    return np.repeat(np.clip(pixels, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def write(folder: Path, seed: int = 0) -> Path:
    """Write train/, valid/ and test/ with a folder for each class."""
    rng = np.random.default_rng(seed)
    for split, n in SPLITS.items():
        for label in CLASSES:
            (folder / split / label).mkdir(parents=True)
            for number in range(n):
                path = folder / split / label / f"{number}.png"
                Image.fromarray(drawn(label, rng)).save(path)
    return folder


def config_for(folder: Path, out: Path, **settings: Any) -> TrainConfig:
    """Return a run of seconds on these images."""
    fixed: dict[str, Any] = {
        "dataset": "imagefolder", "data_dir": folder, "backbone": "residual_small",
        "weights": "none", "image_size": (28, 28), "channels": "L", "epochs": 4, "lr": 0.05,
        "optimizer": "sgd", "head_lr_factor": 1.0, "batch_size": 15, "workers": 0,
        "device": "cpu", "precision": "f32", "dropout": 0.0, "out": out, "alias": "staging",
        "model_name": "shapes", "experiment": "shapes",
    }  # fmt: skip
    return TrainConfig(**{**fixed, **settings})
