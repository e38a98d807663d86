"""
What else a reply says of a picture: the causes of a low score, and how like a photograph it is.

Small networks on what the score's own network saw on its way
(`iqa.network.intermediate_features`) and on `iqa.imaging.statistics`. Their parameters lie beside
the card, in `HEADS_FILE`; the card names its digest and says how to read them. A card without them
has a reply without them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from iqa.errors import CheckpointMismatch
from numpy.typing import NDArray
from safetensors.numpy import load_file

HEADS_FILE: Final = "model.heads.safetensors"
CAUSES: Final = "causes"
FAMILIARITY: Final = "familiarity"
NOT_A_PHOTOGRAPH: Final = "not_a_photograph"
UNLIKE_TRAINING: Final = "unlike_training"
# Standardised inputs are cut off here: what no training picture had must not run away.
MAX_DEVIATIONS: Final = 6.0

Float = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SmallNetwork:
    """
    Standardised inputs, one layer of rectified units, linear outputs.

    Attributes:
        mean: float32, shape (D,), of the inputs over training pictures.
        scale: float32, shape (D,), what one deviation is divided by.
        hidden: float32, shape (D, H).
        hidden_bias: float32, shape (H,).
        outputs: float32, shape (H, K).
        outputs_bias: float32, shape (K,).
    """

    mean: Float
    scale: Float
    hidden: Float
    hidden_bias: Float
    outputs: Float
    outputs_bias: Float

    def inputs_of(self, features: Float, statistics: Float) -> Float:
        """
        Return its inputs for a picture, or for many.

        Args:
            features: float32, shape (..., N): the first ones count. A head that was fitted on the
                means alone takes no more.
            statistics: float32, shape (..., N_STATISTICS).
        """
        n_features = len(self.mean) - statistics.shape[-1]
        return head_inputs(features[..., :n_features], statistics)

    def __call__(self, inputs: Float) -> Float:
        """Return the outputs, shape (..., K), for inputs of shape (..., D)."""
        deviations = np.clip((inputs - self.mean) / self.scale, -MAX_DEVIATIONS, MAX_DEVIATIONS)
        units = np.maximum(deviations @ self.hidden + self.hidden_bias, 0)
        result: Float = units @ self.outputs + self.outputs_bias
        return result


@dataclass(frozen=True, kw_only=True)
class Causes:
    """
    How much of each fault a picture has.

    Attributes:
        network: Its outputs are points of 100, one for each of `kinds`.
        kinds: Name of the cause that each output tells of; a cause with two outputs, as too dark
            and too bright, is as large as the larger one.
        floor: Points from which on a cause counts.
        lead: The main cause is at least this many times the next one.
    """

    network: SmallNetwork
    kinds: tuple[str, ...]
    floor: float
    lead: float

    def reply(self, inputs: Float) -> dict[str, Any]:
        """
        Return `causes` and `main_cause`.

        Args:
            inputs: float32, shape (D,).

        Returns:
            Whole points of 0 to 100 by cause; the main one, or None where none reaches the floor
            or none leads. One that is alone leads.
        """
        points = np.clip(np.round(self.network(inputs)), 0, 100).astype(int).tolist()
        causes: dict[str, int] = {}
        for kind, value in zip(self.kinds, points, strict=True):
            causes[kind] = max(value, causes.get(kind, 0))
        first, *others = sorted(causes, key=lambda kind: -causes[kind])
        next_points = causes[others[0]] if others else 0
        is_main = causes[first] >= max(self.floor, self.lead * next_points)
        return {"causes": causes, "main_cause": first if is_main else None}


@dataclass(frozen=True, kw_only=True)
class Familiarity:
    """
    How like the photographs of training a picture is.

    Attributes:
        network: Its first output is the logit of being a photograph and no graphic; the second,
            where there is one, that of being like those that people rated.
        not_a_photograph: Probability of a photograph below which a picture is warned of.
        unlike_training: Probability of being like the rated ones below which a photograph is
            warned of; None where the network has one output.
    """

    network: SmallNetwork
    not_a_photograph: float
    unlike_training: float | None = None

    def reply(self, inputs: Float) -> tuple[float, list[str]]:
        """
        Return the familiarity, in [0, 1], and at most one warning.

        Args:
            inputs: float32, shape (D,).

        Returns:
            The lower one of the two probabilities; `not_a_photograph`, else `unlike_training`.
        """
        likely = probabilities(self.network(inputs))
        familiarity = round(float(likely.min()), 3)
        if round(float(likely[0]), 3) < self.not_a_photograph:
            return familiarity, [NOT_A_PHOTOGRAPH]
        if self.unlike_training is not None and round(float(likely[1]), 3) < self.unlike_training:
            return familiarity, [UNLIKE_TRAINING]
        return familiarity, []


def probabilities(logits: Float) -> NDArray[np.float64]:
    """Return the logistic function of logits of any shape; they are cut off at 30."""
    told: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -30, 30)))
    return told


@dataclass(frozen=True, kw_only=True)
class Heads:
    """
    All heads of a model.

    Attributes:
        backbone: Of the network whose features they take.
        causes: None where the card has none.
        familiarity: None where the card has none.
    """

    backbone: str
    causes: Causes | None
    familiarity: Familiarity | None

    @classmethod
    def of_card(cls, directory: Path, card: Mapping[str, Any]) -> Heads | None:
        """
        Read the heads that a card names.

        Args:
            directory: Holds `HEADS_FILE`.
            card: `heads` names backbone and digest; `causes` and `familiarity` say how to read.

        Returns:
            None where the card names none.

        Raises:
            FileNotFoundError: The file is missing.
            CheckpointMismatch: Card and file disagree, or were written by other code.
        """
        if "heads" not in card:
            return None
        path = directory / HEADS_FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: expected the heads that {directory.name}'s card names, found none. "
                "Copy the whole checkpoint."
            )
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if digest != card["heads"]["sha256"]:
                raise CheckpointMismatch(
                    f"{path}: expected sha256 {card['heads']['sha256']}, got {digest}. "
                    "The files belong to two checkpoints."
                )
            tensors = load_file(path)
            causes = familiarity = None
            if CAUSES in card:
                facts = card[CAUSES]
                causes = Causes(
                    network=_network(tensors, CAUSES, len(facts["kinds"])),
                    kinds=tuple(facts["kinds"]),
                    floor=float(facts["floor"]),
                    lead=float(facts["lead"]),
                )
            if FAMILIARITY in card:
                facts = card[FAMILIARITY]
                has_two = UNLIKE_TRAINING in facts
                familiarity = Familiarity(
                    network=_network(tensors, FAMILIARITY, 2 if has_two else 1),
                    not_a_photograph=float(facts[NOT_A_PHOTOGRAPH]),
                    unlike_training=float(facts[UNLIKE_TRAINING]) if has_two else None,
                )
            return cls(
                backbone=str(card["heads"]["backbone"]), causes=causes, familiarity=familiarity
            )
        except (KeyError, TypeError) as error:
            raise CheckpointMismatch(
                f"{path}: expected heads as training.causes writes them, got "
                f"{type(error).__name__}: {error}. Fit them again."
            ) from error

    def reply(self, features: Float, statistics: Float) -> tuple[dict[str, Any], list[str]]:
        """
        Return the heads' part of a reply, and warnings.

        Args:
            features: float32, shape (n_features,) or more; see `iqa.network.intermediate_features`.
            statistics: float32, shape (N_STATISTICS,); see `iqa.imaging.statistics`.
        """
        told: dict[str, Any] = {}
        warnings: list[str] = []
        if self.causes is not None:
            told |= self.causes.reply(self.causes.network.inputs_of(features, statistics))
        if self.familiarity is not None:
            inputs = self.familiarity.network.inputs_of(features, statistics)
            told["familiarity"], warnings = self.familiarity.reply(inputs)
        return told, warnings


def head_inputs(features: Float, statistics: Float) -> Float:
    """Return what a head takes: features and statistics, on their last axis."""
    return np.concatenate([features, statistics], axis=-1, dtype=np.float32)


def _network(tensors: Mapping[str, Float], name: str, n_outputs: int) -> SmallNetwork:
    parts = {
        part: tensors[f"{name}.{part}"].astype(np.float32)
        for part in SmallNetwork.__dataclass_fields__
    }
    size, units = parts["hidden"].shape
    shapes = {
        "mean": (size,), "scale": (size,), "hidden": (size, units), "hidden_bias": (units,),
        "outputs": (units, n_outputs), "outputs_bias": (n_outputs,),
    }  # fmt: skip
    for part, shape in shapes.items():
        if parts[part].shape != shape or not np.isfinite(parts[part]).all():
            raise CheckpointMismatch(
                f"{HEADS_FILE}: expected {name}.{part} finite and of shape {shape}, got "
                f"{parts[part].shape}. Fit the heads again."
            )
    return SmallNetwork(**parts)
