"""The cells of a sweep: which there are for a data set, and where their networks start."""

from __future__ import annotations

import argparse

import pytest

from training.experiments.sweep_cells import (
    ALL_CELLS,
    Cell,
    cells_for,
    parse_weights_of,
    weights_for,
)
from training.loop.defaults import of_dataset


def test_small_images_are_for_small_networks() -> None:
    """At rates around the data set's own; all others have the nine experiments."""
    brought = of_dataset("fashion_mnist")
    cells = cells_for(brought["backbone"], brought["lr"], brought["epochs"])
    assert [str(cell) for cell in cells] == [
        f"{name}:{lr:g}:14" for name in ("residual_small", "cnn4") for lr in (0.2, 0.1, 0.05)
    ]
    assert cells_for("mobilenet_v2", 3e-4, 5) == ALL_CELLS and len(ALL_CELLS) == 9


def test_a_small_network_does_not_start_from_imagenet() -> None:
    """A file that is named is taken; a backbone keeps what all start from."""
    assert weights_for("cnn4", "imagenet") == "none"
    assert weights_for("cnn4", "own.safetensors") == "own.safetensors"
    assert weights_for("resnet18", "imagenet") == "imagenet"
    assert parse_weights_of("cnn4=own.safetensors") == ("cnn4", "own.safetensors")


def test_every_network_can_be_a_cell() -> None:
    """What is none is refused with the list."""
    assert Cell.parse("residual_small:0.1:8") == Cell("residual_small", 0.1, 8)
    with pytest.raises(argparse.ArgumentTypeError, match=r"residual_small, cnn4.*, got 'cnn5:1:1'"):
        Cell.parse("cnn5:1:1")
    with pytest.raises(argparse.ArgumentTypeError, match="numbers above 0"):
        Cell.parse("cnn4:0:1")
