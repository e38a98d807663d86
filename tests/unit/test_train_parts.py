"""The parts of a training run: rates, crops, batches, starting weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from iqa.imaging.preprocessing import AREA_PX, preprocess, with_area
from iqa.network.model import ImageNetwork
from PIL import Image
from safetensors.torch import save_file
from torchvision import models

from tests.images import photograph
from training.data.images import EpochBatches, TrainingCrops, WholeImages, same_size_batches
from training.data.ratings import Split
from training.loop.schedule import rate_factor, rate_scheduler
from training.loop.starting_weights import start_from
from training.tasks.task_table import QUALITY


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Give three pictures: landscape, portrait, and a panorama lower than a crop."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for index, size in enumerate([(512, 384), (300, 400), (1000, 130)]):
        paths.append(folder / f"{index}.png")
        Image.fromarray(photograph(*size, seed=index)).save(paths[-1])
    names = [path.name for path in paths]
    return Split(names=names, paths=paths, target=np.array([0.2, 0.5, 0.9]))


# Rates.


@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_rate_rises_to_its_peak_and_falls_to_nearly_nothing(warmup: float, schedule: str) -> None:
    """Linear warm-up, then the way down: one peak of at most 1, never 0 while steps remain."""
    factors = [rate_factor(step, 200, warmup, schedule) for step in range(200)]
    peak = int(np.argmax(factors))
    assert peak == pytest.approx(200 * warmup, abs=1)
    assert max(factors) == pytest.approx(1.0, abs=0.01)
    steps = np.diff(factors)
    assert (steps[:peak] > 0).all()
    assert (steps[peak:] < 0).all()
    assert 0 < factors[-1] < 0.02


def test_rate_halfway_down_is_a_half() -> None:
    """Both ways down are at a half in the middle, and the cosine is above the line before it."""
    assert rate_factor(100, 200, 0.0, "cosine") == pytest.approx(0.5)
    assert rate_factor(100, 200, 0.0, "linear") == pytest.approx(0.5)
    assert rate_factor(50, 200, 0.0, "cosine") == pytest.approx(0.5 + 0.5**1.5)
    assert rate_factor(50, 200, 0.0, "linear") == pytest.approx(0.75)
    assert rate_factor(0, 1, 0.0, "cosine") == 1.0


def test_constant_rate_stays_at_its_peak() -> None:
    """After the warm-up, to the last step."""
    assert [rate_factor(step, 20, 0.2, "constant") for step in (4, 10, 19)] == [1.0, 1.0, 1.0]
    assert rate_factor(1, 20, 0.2, "constant") == pytest.approx(2 / 5)


@pytest.mark.parametrize("steps_done", [0, 3, 7])
def test_scheduler_gives_each_group_its_share_of_its_peak(steps_done: int) -> None:
    """Head and backbone keep their ratio, to the last bit, and a resumed run goes on in step."""
    peaks = (3e-4, 3e-3)
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in peaks]
    groups = [{"params": [w], "lr": lr} for w, lr in zip(weights, peaks, strict=True)]
    optimizer = torch.optim.AdamW(groups)
    begun = rate_scheduler(optimizer, 10, 0.2, "cosine")
    for _ in range(steps_done):
        optimizer.step()
        begun.step()
    resumed = rate_scheduler(optimizer, 10, 0.2, "cosine", steps_done)
    for step in range(steps_done, 10):
        factor = rate_factor(step, 10, 0.2, "cosine")
        assert [group["lr"] for group in optimizer.param_groups] == [lr * factor for lr in peaks]
        optimizer.step()
        resumed.step()


# Crops.


def test_crop_depends_on_seed_epoch_and_index_alone(split: Split) -> None:
    """Whatever process asks, and in whatever order, the same crop comes."""
    crops, again = (TrainingCrops(split, 224, seed=3) for _ in range(2))
    crops.epoch = again.epoch = 2
    backward = {index: again[index][0] for index in reversed(range(3))}
    for index in range(3):
        assert torch.equal(crops[index][0], backward[index])


@pytest.mark.parametrize(("seed", "epoch"), [(4, 0), (3, 1)])
def test_another_seed_or_epoch_gives_another_crop(split: Split, seed: int, epoch: int) -> None:
    """Pictures are cut anew in each epoch and each run."""
    crops, other = TrainingCrops(split, 224, 3), TrainingCrops(split, 224, seed)
    other.epoch = epoch
    assert not torch.equal(crops[0][0], other[0][0])


def test_crop_is_a_part_of_the_picture_or_of_its_mirror_image(split: Split) -> None:
    """Pixels are cut and never rescaled: the crop is found in what is served."""
    whole = preprocess(Image.open(split.paths[0]).convert("RGB"))
    mirrored = 0
    for seed in range(8):
        pixels, quality = TrainingCrops(split, 224, seed)[0]
        assert (pixels.shape, pixels.dtype) == ((224, 224, 3), torch.uint8)
        assert quality.item() == pytest.approx(0.2)
        crop = pixels.numpy()
        found = [_contains(whole, part) for part in (crop, crop[:, ::-1])]
        assert any(found)
        mirrored += found[1]
    assert 0 < mirrored < 8


def _contains(whole: np.ndarray, part: np.ndarray) -> bool:
    last, side = len(part) - 1, len(part)
    starts = np.argwhere((whole[:-last, :-last] == part[0, 0]).all(axis=2))
    return any(np.array_equal(whole[y : y + side, x : x + side], part) for y, x in starts)


def test_crop_larger_than_a_panorama_is_filled_with_its_mirror_image(split: Split) -> None:
    """A picture lower than the crop is extended at its edge, not rescaled."""
    pixels = TrainingCrops(split, 384, 0)[2][0].numpy()
    height = preprocess(Image.open(split.paths[2]).convert("RGB")).shape[0]
    assert pixels.shape == (384, 384, 3)
    assert height < 384
    np.testing.assert_array_equal(pixels[height - 1], pixels[height])


def test_a_batch_is_seen_at_one_scale(split: Split) -> None:
    """Several scales from the least to 1 over the batches; damaged copies share theirs."""
    crops = TrainingCrops(split, 224, 3, min_scale=0.5)
    sides = set()
    for crops.epoch in range(16):
        batch = crops.__getitems__([0, 2, 3, 4])
        (shape,) = {pixels.shape for pixels, _ in batch}
        assert shape == crops.__getitems__([0])[0][0].shape
        sides.add(shape[0])
    assert sides == {112, 140, 168, 196, 224}


def test_a_smaller_scale_is_the_image_at_another_area(split: Split) -> None:
    """Resized from the file as serving would, not from the full input."""
    crops = TrainingCrops(split, 224, 3, min_scale=0.5)
    policy = with_area(round(AREA_PX * 0.25))
    whole = preprocess(Image.open(split.paths[0]).convert("RGB"), policy=policy)
    for crops.epoch in range(16):
        crop = crops[0][0].numpy()
        if len(crop) == 112:
            break
    assert any(_contains(whole, part) for part in (crop, crop[:, ::-1]))


def test_whole_pictures_are_what_is_served(split: Split) -> None:
    """Evaluation sees the serving preprocessing, and pictures of one size are stacked."""
    items = [WholeImages(split)[index] for index in (0, 1, 0)]
    batches = same_size_batches(items)
    assert [indices for indices, _ in batches] == [[0, 0], [1]]
    served = preprocess(Image.open(split.paths[0]).convert("RGB"))
    np.testing.assert_array_equal(batches[0][1][0].numpy(), served)


def test_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """One broken file among ten thousand is found by its message."""
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"no picture")
    broken = Split(names=["broken.jpg"], paths=[path], target=np.array([0.5]))
    with pytest.raises(ValueError, match=r"broken\.jpg: body: expected an image file"):
        TrainingCrops(broken, 64, 0)[0]


# Batches.


def test_epoch_visits_each_picture_at_most_once_in_a_shuffled_order() -> None:
    """Full batches only, no picture twice, not in the order of the file."""
    batches = list(EpochBatches(50, 8, seed=0))
    seen = [index for batch in batches for index in batch]
    assert [len(batch) for batch in batches] == [8] * 6
    assert len(set(seen)) == 48
    assert seen != sorted(seen)


@pytest.mark.parametrize("first_step", [1, 4, 6])
def test_epoch_is_continued_from_a_step(first_step: int) -> None:
    """An interrupted epoch goes on with the very batches that it still owed."""
    whole, rest = EpochBatches(50, 8, seed=0), EpochBatches(50, 8, seed=0)
    whole.epoch = rest.epoch = 3
    rest.first_step = first_step
    assert list(rest) == list(whole)[first_step:]
    assert len(rest) == 6


def test_epochs_and_seeds_differ_in_their_order() -> None:
    """No two epochs have the same order, nor two seeds."""
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        batches = EpochBatches(50, 8, seed)
        batches.epoch = epoch
        orders.append(str(list(batches)))
    assert len(set(orders)) == 3


def test_fewer_pictures_than_a_batch_make_one_batch() -> None:
    """A tiny data set trains on all of it."""
    assert [sorted(batch) for batch in EpochBatches(3, 16, seed=0)] == [[0, 1, 2]]


# Starting weights.


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet18"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_backbone_starts_from_a_file_of_torchvision(
    tmp_path: Path, backbone: str, suffix: str
) -> None:
    """Weights under torchvision's names, classifier and all, end in the feature layers."""
    torch.manual_seed(0)
    state = getattr(models, backbone)(weights=None).state_dict()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    network = ImageNetwork(backbone)
    start_from(network, str(path))
    first = "conv1.weight" if backbone == "resnet18" else "features.0.0.weight"
    loaded = network.features.state_dict()[first.removeprefix("features.")]
    assert torch.equal(loaded, state[first])


def test_head_starts_at_the_mean_rating() -> None:
    """Before the first step the network says about the mean of the training ratings."""
    network = ImageNetwork("mobilenet_v2")
    QUALITY.start_head(network.head, np.array([0.4, 0.774]))
    assert torch.sigmoid(network.head.bias).item() == pytest.approx(0.587, abs=1e-6)
    assert network.head.weight.std().item() == pytest.approx(0.01, rel=0.2)


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    """The first missing tensor is named."""
    path = tmp_path / "weights.safetensors"
    save_file(models.resnet18(weights=None).state_dict(), path)
    message = r"--weights: expected \d+ tensors of mobilenet_v2, got 122, of which .* missing"
    with pytest.raises(ValueError, match=message):
        start_from(ImageNetwork("mobilenet_v2"), str(path))


def test_weights_that_are_no_file_are_refused(tmp_path: Path) -> None:
    """A misspelt path does not start from nothing."""
    with pytest.raises(FileNotFoundError, match="--weights: expected imagenet, none or a file"):
        start_from(ImageNetwork("mobilenet_v2"), str(tmp_path / "nowhere.pth"))
