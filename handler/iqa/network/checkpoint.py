"""
A checkpoint on disk: `model.safetensors` (weights) and `model.json` (the card that rebuilds it).

Nothing is unpickled. A card that disagrees with this code (another preprocessing, other
weights) is an error at load time, not a slightly wrong score.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from iqa.drift.reference import DRIFT, Reference
from iqa.errors import CheckpointMismatch
from iqa.imaging.preprocessing import DEFAULT, Policy
from iqa.network.model import ImageNetwork, Network, architecture_of
from iqa.network.names import NETWORKS, POOLINGS, is_own
from iqa.network.pruned_mobilenet import HIDDEN_CHANNELS, PRUNABLE
from iqa.tasks.heads import Heads
from iqa.tasks.task import CARD_FILE as CARD_FILE
from iqa.tasks.task import Head, Task
from iqa.tasks.task_table import QUALITY, task_of
from safetensors.torch import load_file, save_file

WEIGHTS_FILE: Final = "model.safetensors"
# Format 2 may hold `calibration` and `interval`: code that does not know them would serve other
# scores, and refuses it. A card of format 1 has neither.
FORMAT: Final = 2
# Format 3 names a task that is not quality, or another preprocessing than the default: code that
# knows neither would give its outputs another meaning, and refuses it.
TASK_FORMAT: Final = 3
READABLE_FORMATS: Final = (1, 2, 3)

Card = dict[str, Any]
"""Keys: format, architecture, preprocessing, weights_sha256, and what the trainer adds
(`metrics` of the network's own quality as {split: {name: number}}, `data`, `training`, and where
they were fitted `calibration` and `interval`, see `iqa.tasks.score_scales`, and `drift`, see
`iqa.drift.reference`)."""


def save(
    directory: Path,
    network: Network,
    facts: Card,
    task: Task = QUALITY,
    policy: Policy = DEFAULT,
) -> Card:
    """
    Write a checkpoint; where that fails, the one before stays.

    Args:
        directory: Made if missing; files in it are replaced.
        network: Its weights are stored as float32.
        facts: Added to the card: metrics, data, training.
        task: What the outputs mean.
        policy: How an image becomes the network's input.

    Returns:
        The card as written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    weights = {
        # Cloned, because two names of one tensor are stored as two.
        name: (tensor.float() if tensor.is_floating_point() else tensor).cpu().contiguous().clone()
        for name, tensor in network.state_dict().items()
    }
    named = {} if task.name == QUALITY.name else {"task": task.name}
    # Both are whole before either takes its place.
    with written_beside(directory / WEIGHTS_FILE) as made:
        save_file(weights, made)
        card: Card = {
            "format": FORMAT if not named and policy == DEFAULT else TASK_FORMAT,
            "architecture": network.architecture(),
            "preprocessing": policy.parameters(),
            **named,
            "weights_sha256": sha256_of(made),
            **facts,
        }
        _write(directory, _text_of(card))
    return card


def change_card(directory: Path, facts: Card) -> Card:
    """
    Add facts to the card of a checkpoint, whose weights stay as they are.

    With another calibration, the reference for drift is dropped: it is of other scores.

    Returns:
        The card as written, in the format of today.

    Raises:
        FileNotFoundError: There is no card.
        CheckpointMismatch: The card is refused, or would be with these facts.
    """
    before = load_card(directory)
    card = {**before, "format": max(FORMAT, before["format"]), **facts}
    if card.get("calibration") != before.get("calibration"):
        card.pop(DRIFT, None)
    text = _text_of(card)
    _card_of(text, directory / CARD_FILE)  # what the next load refuses, nothing could change again
    _write(directory, text)
    return card


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """
    Give a name beside a file: what is written there takes the file's place when it is whole.

    Where writing fails, on a full disk or by Ctrl-C, the file stays as it was.
    """
    made = path.with_name(f"{path.name}.tmp")
    try:
        yield made
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)


def load(directory: Path, make: Callable[[Card], Network] | None = None) -> tuple[Network, Card]:
    """
    Read a checkpoint and rebuild its network.

    Args:
        directory: Holds both files.
        make: Makes the network of a card; default: one of `NETWORKS`, and no other.

    Returns:
        The network in evaluation mode on the CPU, and its card.

    Raises:
        FileNotFoundError: A file is missing.
        CheckpointMismatch: The card and this code, or the card and the weights, disagree.
    """
    card = load_card(directory)
    digest = sha256_of(directory / WEIGHTS_FILE)
    _expect("weights_sha256", card["weights_sha256"], digest, "The files belong to two checkpoints")
    Heads.of_card(directory, card)
    network = (make or image_network)(card)
    weights = load_file(directory / WEIGHTS_FILE)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointMismatch(
            f"{directory / WEIGHTS_FILE}: expected the weights of {network.backbone}, "
            f"got others: {str(error).splitlines()[-1].strip()}"
        ) from error
    if not all(bool(torch.isfinite(t).all()) for t in weights.values() if t.is_floating_point()):
        raise CheckpointMismatch(
            f"{directory / WEIGHTS_FILE}: expected finite weights, got NaN or infinity. "
            "Train again with a lower --lr."
        )
    return network.eval(), card


def image_network(card: Card) -> ImageNetwork:
    """
    Make the network of a card, with random weights.

    Raises:
        CheckpointMismatch: It is none of `NETWORKS`, or has more hidden channels than there are.
    """
    architecture = card["architecture"]
    if is_own(architecture["backbone"]):
        raise CheckpointMismatch(
            f"backbone: expected one of {', '.join(NETWORKS)}, got {architecture['backbone']!r}, "
            "whose code is not part of iqa. Its graph runs without: build its archive, "
            "scripts.build_mar, and serve or load that."
        )
    try:
        return ImageNetwork(
            architecture["backbone"],
            pooling=architecture["pooling"],
            head=task_of(card).head(card),
            n_channels=policy_of(card).n_channels,
            hidden_channels=architecture.get(HIDDEN_CHANNELS),
        )
    except ValueError as error:
        raise CheckpointMismatch(str(error)) from error


def load_card(directory: Path) -> Card:
    """
    Read and check the card alone.

    Raises:
        FileNotFoundError: There is none.
        CheckpointMismatch: It was written by other code or for another preprocessing.
    """
    path = directory / CARD_FILE
    return _card_of(path.read_text(), path)


def _card_of(text: str, path: Path) -> Card:
    try:
        card: Card = json.loads(text)
        if card["format"] not in READABLE_FORMATS:
            _expect("format", FORMAT, card["format"])
        Policy.of_parameters(card["preprocessing"])
        task = task_of(card)
        _check_architecture(card["architecture"], task.head(card))
        _ = card["weights_sha256"]
        task.reader(card)
        Reference.of_card(card)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointMismatch(
            f"{path}: expected a model card, got {type(error).__name__}: {error}."
        ) from error
    return card


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text_of(card: Card) -> str:
    return json.dumps(card, indent=2, sort_keys=True) + "\n"


def _write(directory: Path, text: str) -> None:
    with written_beside(directory / CARD_FILE) as made:
        made.write_text(text)


def policy_of(card: Card) -> Policy:
    """Return how an image becomes the input of this card's network."""
    return Policy.of_parameters(card["preprocessing"])


def _check_architecture(architecture: Card, head: Head) -> None:
    if is_own(architecture["backbone"]):
        _expect("outputs", head.outputs, architecture["outputs"])
        _ = architecture["probe"], architecture["parameters"]["mean"]
        return
    for name, known in (("backbone", NETWORKS), ("pooling", POOLINGS)):
        if (got := architecture[name]) not in known:
            one_of = ", ".join(known)
            raise CheckpointMismatch(f"{name}: expected one of {one_of}, got {got!r}.")
    hidden = architecture.get(HIDDEN_CHANNELS)
    if hidden is not None and architecture["backbone"] not in PRUNABLE:
        one_of = ", ".join(PRUNABLE)
        raise CheckpointMismatch(
            f"{HIDDEN_CHANNELS}: expected them with {one_of} alone, got them with "
            f"{architecture['backbone']!r}. Make the checkpoint again: training.prune."
        )
    expected = architecture_of(architecture["backbone"], architecture["pooling"], head, hidden)
    _expect("architecture", expected, architecture)


def _expect(field: str, expected: object, got: object, hint: str = "Train or export again") -> None:
    if expected != got:
        raise CheckpointMismatch(f"{field}: expected {expected}, got {got}. {hint}.")
