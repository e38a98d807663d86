"""The networks: range, shape, batches, and the map of which the output is the mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from iqa.network.model import MEAN, STD, VARIANCE_EPS, ImageNetwork, pool
from iqa.network.names import FEATURES_OF_BACKBONE
from torch import Tensor

from tests.images import photograph


@pytest.fixture(scope="module", params=list(FEATURES_OF_BACKBONE))
def network(request: pytest.FixtureRequest) -> ImageNetwork:
    """Give each backbone, untrained, with a seed."""
    torch.manual_seed(0)
    return ImageNetwork(request.param).eval()


def batch(n: int = 2, width: int = 64, height: int = 64) -> Tensor:
    """Return n different pictures, uint8 (N, H, W, 3)."""
    return torch.from_numpy(np.stack([photograph(width, height, seed) for seed in range(n)]))


def test_quality_is_one_number_a_picture_in_0_to_1(network: ImageNetwork) -> None:
    """The output is float32, one number in [0, 1] a picture."""
    with torch.inference_mode():
        quality = network(batch(3))
    assert (quality.shape, quality.dtype) == ((3,), torch.float32)
    assert bool(((quality >= 0) & (quality <= 1)).all())


@pytest.mark.parametrize("size", [(32, 32), (160, 48), (96, 224)])
def test_any_size_of_picture_is_judged(network: ImageNetwork, size: tuple[int, int]) -> None:
    """The network is fully convolutional: no size is built in."""
    with torch.inference_mode():
        assert network(batch(1, *size)).shape == (1,)


def test_neighbours_in_a_batch_do_not_matter(network: ImageNetwork) -> None:
    """A picture alone and in a batch gets the same quality."""
    pixels = batch(3)
    with torch.inference_mode():
        together = network(pixels)
        alone = torch.cat([network(pixels[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_output_is_the_mean_of_the_logits_of_all_places(network: ImageNetwork) -> None:
    """Before the sigmoid the quality is the mean of a map, so the map explains it exactly."""
    pixels = batch(2)
    normalised = (pixels.permute(0, 3, 1, 2).float() - network.mean) / network.std
    with torch.inference_mode():
        maps = network.features(normalised)
        places = torch.einsum("nchw,c->nhw", maps, network.head.weight[0]) + network.head.bias
        logits = network.logits(pixels)
        torch.testing.assert_close(logits, places.mean(dim=(1, 2)), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(network(pixels), torch.sigmoid(logits))


def test_dropout_is_off_when_evaluating(network: ImageNetwork) -> None:
    """The same picture gets the same quality twice."""
    pixels = batch(1)
    with torch.inference_mode():
        assert torch.equal(network(pixels), network(pixels))


def test_normalisation_is_a_constant_and_no_weight(network: ImageNetwork) -> None:
    """Mean and deviation of ImageNet are part of the graph and not of the checkpoint."""
    assert not {"mean", "std"} & set(network.state_dict())
    assert network.mean.flatten().tolist() == pytest.approx(MEAN)
    assert network.std.flatten().tolist() == pytest.approx(STD)
    assert [m / 255 for m in MEAN] == pytest.approx([0.485, 0.456, 0.406])
    assert [s / 255 for s in STD] == pytest.approx([0.229, 0.224, 0.225])


def test_features_are_as_many_as_the_table_says(network: ImageNetwork) -> None:
    """The head fits the backbone."""
    with torch.inference_mode():
        maps = network.features(torch.zeros(1, 3, 64, 64))
    assert maps.shape[1] == FEATURES_OF_BACKBONE[network.backbone]
    assert maps.shape[2:] == (2, 2)


def test_unknown_backbone_is_refused_with_the_known_ones() -> None:
    """The message lists what there is."""
    with pytest.raises(ValueError, match=r"expected one of efficientnet_b0, .*, got 'x'"):
        ImageNetwork("x")


def test_pooling_sums_up_each_map() -> None:
    """Average, standard deviation and maximum of a map whose values are known."""
    maps = torch.tensor([[[[1.0, 3.0]], [[2.0, 2.0]]]])  # two maps of two places
    deviation = [(1 + VARIANCE_EPS) ** 0.5, VARIANCE_EPS**0.5]
    for pooling, expected in (
        ("average", [2.0, 2.0]),
        ("average+std", [2.0, 2.0, *deviation]),
        ("average+max", [2.0, 2.0, 3.0, 2.0]),
    ):
        torch.testing.assert_close(pool(maps, pooling), torch.tensor([expected]))
        assert ImageNetwork("resnet18", pooling=pooling).head.in_features == 256 * len(expected)


def test_unknown_pooling_is_refused() -> None:
    """By name, with those that there are."""
    with pytest.raises(ValueError, match=r"pooling: expected one of average, .*got 'median'"):
        ImageNetwork("resnet18", pooling="median")
