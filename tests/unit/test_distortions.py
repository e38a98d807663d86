"""`training.data.distortions`: graded, monotone, seeded."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from skimage import data

from training.data.distortions import DISTORTIONS, LEVELS

PHOTOGRAPHS = {
    name: Image.fromarray(getattr(data, name)()[:256, :320]) for name in ("astronaut", "coffee")
}


def distort(kind: str, image: Image.Image, level: int, seed: int = 3) -> Image.Image:
    """Apply a distortion with a fresh generator."""
    return DISTORTIONS[kind](image, level, np.random.default_rng(seed))


def squared_error(a: Image.Image, b: Image.Image) -> float:
    """Return the mean squared difference of two pictures."""
    return float(((np.asarray(a, float) - np.asarray(b, float)) ** 2).mean())


@pytest.mark.parametrize("scene", PHOTOGRAPHS)
@pytest.mark.parametrize("kind", DISTORTIONS)
def test_a_higher_level_is_further_from_the_original(kind: str, scene: str) -> None:
    """Each level of each kind leaves a larger mean squared error than the level below."""
    original = PHOTOGRAPHS[scene]
    errors = [squared_error(distort(kind, original, level), original) for level in LEVELS]
    assert errors[0] > 0
    assert all(lower < higher for lower, higher in pairwise(errors)), errors


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_the_picture_keeps_size_and_mode_and_is_left_alone(kind: str) -> None:
    """A distortion returns RGB of the same size and does not change its argument."""
    original = PHOTOGRAPHS["coffee"].copy()
    before = original.tobytes()
    distorted = distort(kind, original, 3)
    assert (distorted.mode, distorted.size) == ("RGB", original.size)
    assert original.tobytes() == before


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_the_same_generator_state_gives_the_same_pixels(kind: str) -> None:
    """Two calls with equally seeded generators agree to the bit."""
    original = PHOTOGRAPHS["astronaut"]
    assert distort(kind, original, 4).tobytes() == distort(kind, original, 4).tobytes()


@pytest.mark.parametrize("kind", ["motion_blur", "white_noise", "impulse_noise"])
def test_another_seed_gives_other_pixels(kind: str) -> None:
    """What is random about a distortion comes from the generator."""
    original = PHOTOGRAPHS["astronaut"]
    assert distort(kind, original, 4, 1).tobytes() != distort(kind, original, 4, 2).tobytes()


@pytest.mark.parametrize("kind", DISTORTIONS)
@pytest.mark.parametrize("level", [0, 6])
def test_an_unknown_level_is_refused(kind: str, level: int) -> None:
    """Only levels 1 to 5 exist; 0 does not wrap around to the strongest."""
    with pytest.raises(ValueError, match=f"level: expected one of 1, 2, 3, 4, 5, got {level}"):
        distort(kind, PHOTOGRAPHS["coffee"], level)


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_a_tiny_picture_can_be_distorted(kind: str) -> None:
    """Pictures smaller than the blur's reach work too."""
    tiny = PHOTOGRAPHS["coffee"].resize((6, 4))
    assert distort(kind, tiny, 5).size == (6, 4)
