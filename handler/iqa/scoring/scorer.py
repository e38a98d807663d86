"""
A loaded model: the pixels of images in, their part of the reply out.

One definition for all who answer: the handler, `iqa.load()`, and the scoring of folders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from iqa.drift.measures import Measures, of_features, of_file, of_pixels, of_reply, projection
from iqa.imaging.decoding import DecodedImage, Limits, of_image
from iqa.imaging.preprocessing import Policy
from iqa.imaging.statistics import pixel_statistics
from iqa.network.logit_map import LogitMap
from iqa.network.runtime import Runtime
from iqa.scoring.reply import compose
from iqa.tasks.accept_or_reject import DecisionThresholds
from iqa.tasks.heads import Heads
from iqa.tasks.task import Reply
from iqa.tasks.task_table import task_of
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True, kw_only=True)
class Seen:
    """
    What the network and the heads made of one image.

    Attributes:
        outputs: float32, of the network, for the task's reader.
        told: What the heads add to the reply.
        warnings: What the heads warn of.
        measured: For `Scorer.measures`.
    """

    outputs: NDArray[np.float32]
    told: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    measured: Measures = field(default_factory=dict)


class Scorer:
    """
    A card, its heads, and a runtime that computes.

    Args:
        directory: Holds the heads' file, where the card names one.
        card: The model's card.
        open_runtime: Returns the runtime; its argument is the backbone whose features are wanted,
            or None.
        precision: Of the graph. An int8 graph goes without heads: how int8 rounds was not measured
            for them.
        thresholds: With them a reply has a decision.
        measures: Measure images for drift, see `measures`.

    Attributes:
        task: What the outputs mean.
        policy: How an image becomes pixels.
        runtime: What computes.
        class_names: Of the outputs, in their order; empty where outputs are no classes.

    Raises:
        CheckpointMismatch: The card was written by other code, or by hand.
        FileNotFoundError: A file is missing.
    """

    def __init__(
        self,
        directory: Path,
        card: Mapping[str, Any],
        open_runtime: Callable[[str | None], Runtime],
        precision: str | None,
        thresholds: DecisionThresholds | None = None,
        *,
        measures: bool = False,
    ) -> None:
        self.task = task_of(card)
        self.policy = Policy.of_parameters(card["preprocessing"])
        self._read = self.task.reader(card)
        n_outputs, labels = self.task.head(card).n_outputs, tuple(self.task.labels(card))
        self.class_names = labels if len(labels) == n_outputs > 1 else ()
        self._thresholds = thresholds
        self._heads = None if precision == "int8" else Heads.of_card(directory, card)
        self.runtime = open_runtime(None if self._heads is None else self._heads.backbone)
        self._is_measured = measures
        n_means = self.runtime.n_means
        self._signs = projection(n_means) if n_means > 0 else None

    def look(self, batch_NHWC: NDArray[np.uint8]) -> list[Seen]:
        """
        Run the network and the heads.

        Args:
            batch_NHWC: Pixels by the policy, uint8.

        Returns:
            As many as there are images.
        """
        if self._heads is None:
            return [
                Seen(
                    outputs=output,
                    told={},
                    measured=of_pixels(pixel_statistics(pixels)) if self._is_measured else {},
                )
                for output, pixels in zip(self.runtime.outputs(batch_NHWC), batch_NHWC, strict=True)
            ]
        outputs, features = self.runtime.outputs_and_features(batch_NHWC)
        seen = []
        for output, feature, pixels in zip(outputs, features, batch_NHWC, strict=True):
            statistics = pixel_statistics(pixels)
            told, warnings = self._heads.reply(feature, statistics)
            measured: Measures = {}
            if self._is_measured and self._signs is not None:
                measured = of_pixels(statistics) | of_features(feature, self._signs)
            seen.append(
                Seen(outputs=output, told=told, warnings=tuple(warnings), measured=measured)
            )
        return seen

    def look_with_map(
        self, pixels_HWC: NDArray[np.uint8], output: int | None = None
    ) -> tuple[Seen, LogitMap]:
        """
        Do the same for one image, and return where an output comes from.

        Args:
            pixels_HWC: Pixels by the policy, uint8.
            output: Number of the output; None is the greatest one.

        Raises:
            ImageRejected: The model has no map.
        """
        found = self.runtime.logit_map(pixels_HWC, output)
        (seen,) = self.look(pixels_HWC[None])
        return Seen(outputs=found.outputs, told=seen.told, warnings=seen.warnings), found

    def map_body(self, found: LogitMap) -> dict[str, Any]:
        """Return a map as a reply holds it, with the name of its class where there are classes."""
        of_class = {"class": self.class_names[found.output]} if self.class_names else {}
        return {**of_class, **found.body()}

    def reply(
        self,
        decoded: DecodedImage,
        seen: Seen,
        model: Mapping[str, str] | None = None,
        top_k: int | None = None,
    ) -> Reply:
        """
        Return the reply to an image.

        Args:
            decoded: The image.
            seen: What `look` made of it.
            model: Name and version of who answers; None leaves them out.
            top_k: At most so many of the classes; None: as the task has it.

        Raises:
            ValueError: The network's output means nothing, above all NaN.
        """
        answer = self._read(seen.outputs, top_k)
        decision = {} if self._thresholds is None else self._thresholds.reply(answer)
        whole = {**answer, **decision, **seen.told}
        return compose(decoded, self.policy, whole, seen.warnings, model)

    def measures(self, decoded: DecodedImage, seen: Seen, reply: Reply) -> Measures:
        """Return what is measured of an image for drift; nothing of a scorer that does not."""
        if not self._is_measured:
            return {}
        return of_file(decoded.size, decoded.format) | seen.measured | of_reply(reply)

    def sample_reply(self) -> Reply:
        """Return the reply to a grey image: its keys are those of every reply."""
        decoded = of_image(Image.new("RGB", (64, 64), "grey"), Limits(), self.policy)
        return self.reply(decoded, self.look(decoded.pixels()[None])[0])
