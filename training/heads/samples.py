"""
Samples for the heads: a picture's features, its pixels' statistics, and how much of what is wrong.

Each source picture becomes one file of the cache, itself and damaged copies. What is there already
is not made again, so the work can be stopped and continued, by several processes at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from iqa.imaging.decoding import decode
from iqa.imaging.preprocessing import DEFAULT, Policy, preprocess
from iqa.imaging.statistics import pixel_statistics
from iqa.network import checkpoint
from iqa.network.checkpoint import Card
from iqa.network.intermediate_features import TAPS, WITH_MAXIMA
from iqa.network.runtime import Runtime
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from training.data.cache import write_arrays
from training.data.camera_damage import DAMAGE, MAX_STRENGTH
from training.data.distortions import DISTORTIONS, LEVELS
from training.data.images import NO_LIMITS

KINDS: Final = tuple(DAMAGE)
Float = NDArray[np.float32]
Variant = tuple[str, Float, Image.Image]
"""What was done, the strength by kind of `KINDS` (NaN: not known), and the picture."""
Changed = Callable[[Image.Image, np.random.Generator], Image.Image]
Variants = Callable[[Image.Image, np.random.Generator], Iterator[Variant]]

CAUSE_OF_DISTORTION: Final = {
    "gaussian_blur": "blur", "motion_blur": "blur", "rescale": "blur", "white_noise": "noise",
    "impulse_noise": "noise", "jpeg": "compression", "webp": "compression", "brighten": "bright",
    "darken": "dark",
}  # fmt: skip
"""Kinds of `training.data.distortions`, which training leaves out: the causes' test."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """
    Pictures as the heads see them.

    Attributes:
        names: Of source and damage: `NAME|what was done`.
        features: float32, shape (N, n_features); see `iqa.network.intermediate_features`.
        statistics: float32, shape (N, N_STATISTICS).
        strengths: float32, shape (N, len(KINDS)), 0 to 5; NaN where not known.
    """

    names: list[str]
    features: Float
    statistics: Float
    strengths: Float

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return len(self.names)


@dataclass(frozen=True)
class Source:
    """
    A picture that samples are made of.

    Attributes:
        name: In the samples; it seeds what is done to the picture.
        read: Returns what stands for the content: a file's bytes, or a drawing's name.
        opened: Returns the picture of what was read.
    """

    name: str
    read: Callable[[], bytes]
    opened: Callable[[bytes], Image.Image]


def collect(
    sources: Sequence[Source],
    variants: Variants,
    *,
    runtime: Runtime,
    cache: Path,
    folder: str,
    title: str,
    policy: Policy = DEFAULT,
) -> Samples:
    """
    Return the samples of pictures, made once.

    Args:
        sources: The pictures.
        variants: What is made of each; its generator is seeded by the name.
        runtime: Opened with the backbone's features.
        cache: Of `cache_folder`, for this graph and this policy.
        folder: In it, for these sources and these variants; made if missing.
        title: Of the progress bar.
        policy: How an image becomes the network's input.
    """
    cache = cache / folder
    cache.mkdir(parents=True, exist_ok=True)
    files = []
    for source in tqdm(sources, desc=title, unit="picture"):
        named, content = hashlib.sha256(source.name.encode()), source.read()
        key = hashlib.sha256(named.digest() + content).hexdigest()[:24]
        path = cache / f"{key}.npz"
        if not path.exists():
            rng = np.random.default_rng(int(named.hexdigest()[:15], 16))
            image = source.opened(content)
            write_arrays(path, **_sampled(source.name, variants(image, rng), runtime, policy))
        files.append(path)
    return _read(files)


def originals(image: Image.Image, rng: np.random.Generator) -> Iterator[Variant]:
    """Yield the picture alone, of which nothing is known."""
    yield "original", np.full(len(KINDS), np.nan, np.float32), image


def camera_damaged(image: Image.Image, rng: np.random.Generator) -> Iterator[Variant]:
    """Yield the picture, a damage of each of four causes, and three pairs: for training."""
    if rng.random() < 0.5:
        image = _enlarged(image, rng)
    nothing = np.zeros(len(KINDS), np.float32)
    yield "original", nothing, image
    singles = [(kind,) for kind in (("dark", "bright")[rng.integers(2)], "blur", "noise",
                                    "compression")]  # fmt: skip
    pairs = [tuple(rng.choice(KINDS, 2, replace=False)) for _ in range(3)]
    for wanted in (*singles, *pairs):
        strengths, damaged, done = nothing.copy(), image, []
        for place, kind in enumerate(KINDS):  # in the order of light, lens, sensor, file
            if kind not in wanted:
                continue
            names = tuple(DAMAGE[kind])
            name = names[rng.integers(len(names))]
            strength = rng.uniform(0.3, MAX_STRENGTH)
            damaged = DAMAGE[kind][name](damaged, strength, rng)
            strengths[place] = strength
            done.append(f"{name} {strength:.2f}")
            if name == "messenger" and "blur" not in wanted:
                strengths[KINDS.index("blur")] = np.nan  # it softens as well
        yield " + ".join(done), strengths, damaged


def with_overlays(
    variants: Variants, put: Callable[[Image.Image, np.random.Generator], Image.Image]
) -> Variants:
    """Return what makes the same pictures, with what `training.data.overlays` puts over them."""

    def made(image: Image.Image, rng: np.random.Generator) -> Iterator[Variant]:
        (drawn,) = rng.spawn(1)  # what is done below stays as it is without
        for done, strengths, damaged in variants(image, rng):
            yield done, strengths, put(damaged, drawn)

    return made


def _enlarged(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Mirror a picture at its edges, up to half as large again: what is sent is often larger."""
    factors = rng.uniform(1, 1.25), rng.uniform(1, 1.5)
    more = [(0, int(side * (f - 1))) for side, f in zip(image.size[::-1], factors, strict=True)]
    return Image.fromarray(np.pad(np.asarray(image), (*more, (0, 0)), mode="symmetric"))


def distorted(image: Image.Image, rng: np.random.Generator) -> Iterator[Variant]:
    """Yield the picture and every level of the distortions that training leaves out."""
    nothing = np.zeros(len(KINDS), np.float32)
    yield "original 0", nothing, image
    for name, cause in CAUSE_OF_DISTORTION.items():
        for level in LEVELS:
            strengths = nothing.copy()
            strengths[KINDS.index(cause)] = level
            yield f"{name} {level}", strengths, DISTORTIONS[name](image, level, rng)


def variants_of(kinds: Mapping[str, Changed]) -> Variants:
    """Return what makes one picture of each kind of a photograph, of which no strength is known."""

    def made(image: Image.Image, rng: np.random.Generator) -> Iterator[Variant]:
        for name, change in kinds.items():
            yield name, np.full(len(KINDS), np.nan, np.float32), change(image, rng)

    return made


def opened(body: bytes) -> Image.Image:
    """Open a file as the server would, at full size where it is not huge."""
    return decode(body, NO_LIMITS).image


def cache_folder(folder: Path, card: Card, runtime: Runtime) -> Path:
    """Return where samples by this graph of a checkpoint are kept; others lie elsewhere."""
    identity = [
        card["weights_sha256"], runtime.precision, checkpoint.policy_of(card).parameters(),
        repr((TAPS, WITH_MAXIMA)),
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return folder / digest[:12]


def _sampled(
    name: str, variants: Iterable[Variant], runtime: Runtime, policy: Policy
) -> dict[str, NDArray[np.generic]]:
    rows = []
    for done, strengths, image in variants:
        pixels = preprocess(image, policy=policy)
        _, features = runtime.outputs_and_features(pixels[None])
        seen = pixel_statistics(pixels)
        rows.append((f"{name}|{done}", features[0].copy(), seen, strengths))
    return {
        "names": np.array([row[0] for row in rows]),
        "features": np.stack([row[1] for row in rows]),
        "statistics": np.stack([row[2] for row in rows]),
        "strengths": np.stack([row[3] for row in rows]),
    }


def _read(files: list[Path]) -> Samples:
    loaded = [np.load(path, allow_pickle=False) for path in files]
    return Samples(
        names=[str(name) for part in loaded for name in part["names"]],
        features=np.concatenate([part["features"] for part in loaded]),
        statistics=np.concatenate([part["statistics"] for part in loaded]),
        strengths=np.concatenate([part["strengths"] for part in loaded]),
    )
