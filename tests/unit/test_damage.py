"""Damaged copies: where they come from, where they go, and what is learned of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from iqa.network.model import ImageNetwork
from PIL import Image

from console.paths import ROOT
from training.data.damage import CAMERA, DAMAGE, damaged_pair, kinds_of
from training.data.images import EpochBatches, TrainingCrops
from training.data.ratings import Split
from training.loop.config import TrainConfig
from training.loop.step import Step
from training.tasks.losses import LOSSES, ORDER_MARGIN, order_of_pairs
from training.tasks.task_table import QUALITY

PHOTOGRAPH = ROOT / "handler" / "golden" / "parrots.jpg"


@pytest.fixture
def split() -> Split:
    """Three times the same photograph, rated apart."""
    return Split(names=["a", "b", "c"], paths=[PHOTOGRAPH] * 3, target=np.array([0.2, 0.5, 0.8]))


def _distance(one: Image.Image, other: Image.Image) -> float:
    return float(np.square(np.asarray(one, float) - np.asarray(other, float)).mean())


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("seed", range(8))
def test_the_heavier_copy_is_further_from_the_picture(damage: str, seed: int) -> None:
    """Both show the same, one with more of the same damage."""
    image = Image.open(PHOTOGRAPH).convert("RGB")
    milder, heavier = damaged_pair(image, np.random.default_rng(seed), damage)
    assert milder.size == heavier.size == image.size
    assert _distance(image, heavier) > _distance(image, milder)


def test_copies_lie_beyond_the_pictures_and_have_no_rating(split: Split) -> None:
    """Both copies of a picture are cut at one place; asked again they are the same."""
    crops = TrainingCrops(split, 224, seed=0)
    assert len(crops) == 3
    (milder, no_rating), (heavier, _) = crops[3 + 2], crops[3 + 3]  # of picture 1
    assert no_rating.isnan()
    assert milder.shape == heavier.shape == (224, 224, 3)
    assert not torch.equal(milder, heavier)
    correlation = np.corrcoef(milder.flatten().numpy(), heavier.flatten().numpy())[0, 1]
    assert correlation > 0.8
    assert torch.equal(milder, crops[5][0])
    crops.epoch = 1
    assert not torch.equal(milder, crops[5][0])


def test_the_kinds_of_damage_are_chosen_by_name(split: Split) -> None:
    """`camera` has the damage that causes are learned from, wrong light and colour too."""
    simple, camera = (TrainingCrops(split, 224, seed=0, damage=name) for name in DAMAGE)
    assert not torch.equal(simple[4][0], camera[4][0])
    assert {one.__name__ for one in kinds_of(CAMERA)} >= {
        "underexposed",
        "colour_cast",
        "messenger",
    }


def test_a_batch_ends_in_the_copies_of_its_first_pictures() -> None:
    """Rated first, then milder and heavier in turn; the order of the rated does not change."""
    plain, damaged = EpochBatches(50, 8, seed=0), EpochBatches(50, 8, seed=0, damaged_pairs=2)
    for rated, batch in zip(plain, damaged, strict=True):
        a, b = rated[:2]
        assert batch == [*rated, 50 + 2 * a, 51 + 2 * a, 50 + 2 * b, 51 + 2 * b]


def test_order_costs_nothing_where_the_heavier_is_worse_by_the_margin() -> None:
    """And what is missing to it where it is not."""
    milder, heavier = torch.tensor([0.5, 0.5]), torch.tensor([0.4, 0.6])
    assert order_of_pairs(milder[:1], heavier[:1]).item() == 0.0
    assert order_of_pairs(milder, heavier).item() == pytest.approx((0.1 + ORDER_MARGIN) / 2)


def test_a_step_takes_the_error_of_the_rated_and_the_order_of_the_copies() -> None:
    """The copies' missing rating never enters the loss."""
    torch.manual_seed(0)
    config = TrainConfig(
        weights="none", dropout=0.0, precision="f32", damaged_pairs=1, order_weight=3.0
    )
    network = ImageNetwork("mobilenet_v2", dropout=0.0).eval()
    step = Step(config, network, QUALITY)
    pixels = torch.randint(0, 256, (6, 64, 64, 3), dtype=torch.uint8)
    target = torch.tensor([0.1, 0.4, 0.6, 0.9, torch.nan, torch.nan])
    quality = network(pixels)
    expected = LOSSES["mse+nin"](quality[:4], target[:4])
    expected = expected + 3.0 * order_of_pairs(quality[4:5], quality[5:])
    loss = step.forward(pixels, target)
    assert loss.item() == pytest.approx(expected.item())
    step.backward(loss)
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_more_pairs_than_pictures_are_refused() -> None:
    """Each pair is of another picture of the step."""
    with pytest.raises(ValueError, match="--damaged-pairs: expected from 0 to --batch-size, got 9"):
        TrainConfig(batch_size=8, damaged_pairs=9)


def test_frozen_norms_want_weights() -> None:
    """A network that starts from nothing has no statistics to keep."""
    with pytest.raises(ValueError, match="--norm: expected batch, as --weights none has no"):
        TrainConfig(weights="none", norm="frozen")
