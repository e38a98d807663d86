"""
What other ways of fitting a picture to the network cost: the figures of decision 0003.

`python -m benchmarks.compare_policies --model training/pretrained --dataset biq2021 --data-dir DIR`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from iqa.imaging import preprocessing
from iqa.imaging.decoding import decode
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm import tqdm

from console import command_line
from training.data import ratings
from training.data.config import DataConfig, add_options, data_config
from training.data.dataset_layouts import SPLITS
from training.data.images import NO_LIMITS
from training.measure.metrics import agreement
from training.measure.predict import torch_predictor
from training.registry.load_model import load_model

Pixels = NDArray[np.uint8]
BOX: Final = (512, 384)


def _resized(image: Image.Image, size: tuple[int, int], resample: int) -> Pixels:
    return np.asarray(image.resize(size, Image.Resampling(resample)))


def _shrunk_first(image: Image.Image, factor: int) -> Pixels:
    """Return the input for the same picture sent `factor` times smaller on each side."""
    small = image.resize((image.width // factor, image.height // factor), Image.Resampling.LANCZOS)
    return preprocessing.preprocess(small)


POLICIES: Final[dict[str, Callable[[Image.Image], Pixels]]] = {
    "as served": preprocessing.preprocess,
    "as served, bicubic": lambda image: _resized(
        image, preprocessing.input_size(*image.size), Image.Resampling.BICUBIC
    ),
    "as served, no antialiasing": lambda image: np.asarray(
        image.transform(
            preprocessing.input_size(*image.size),
            Image.Transform.EXTENT,
            (0, 0, *image.size),
            Image.Resampling.BILINEAR,
        )
    ),
    "squeezed to 512x384": lambda image: _resized(image, BOX, Image.Resampling.BILINEAR),
    "512x384 covered, centre crop": lambda image: np.asarray(
        ImageOps.fit(image, BOX, Image.Resampling.BILINEAR)
    ),
    "not resized": np.asarray,
    "384x384": lambda image: _resized(image, (384, 384), Image.Resampling.BILINEAR),
    "224x224": lambda image: _resized(image, (224, 224), Image.Resampling.BILINEAR),
    "sent at half the size": lambda image: _shrunk_first(image, 2),
    "sent at a quarter of the size": lambda image: _shrunk_first(image, 4),
}


def main(argv: list[str] | None = None) -> int:
    """Print a row of metrics for each policy."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare_policies",
        description="Measure one model under other resize policies than the served one.",
    )
    parser.add_argument("--model", required=True, help="as for training.evaluate")
    add_options(parser, DataConfig)
    parser.add_argument("--split", default="val", choices=SPLITS, help="(default: %(default)s)")
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        network, _ = load_model(arguments.model)
        predictor = torch_predictor(network, torch.device("cpu"))
        split = ratings.load(data_config(arguments)).splits[arguments.split]
        quality = {name: np.zeros(len(split)) for name in POLICIES}
        for index, path in enumerate(tqdm(split.paths, unit="picture")):
            image = decode(path.read_bytes(), NO_LIMITS).image
            for name, fit in POLICIES.items():
                pixels = torch.from_numpy(np.array(fit(image)))
                quality[name][index] = float(predictor(pixels[None])[0])
        print(f"{len(split)} pictures, mean rating {100 * split.target.mean():.1f}\n")
        print("| policy | SROCC | PLCC | RMSE_100 | mean score |\n|---|---|---|---|---|")
        for name, values in quality.items():
            row = agreement(values, split.target)
            print(
                f"| {name} | {row['srocc']:.4f} | {row['plcc']:.4f} | {row['rmse_100']:.2f} "
                f"| {100 * values.mean():.1f} |"
            )
        return 0

    return command_line.run(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
