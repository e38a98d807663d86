"""A checkpoint: what comes back is what went in, and whatever does not fit is refused."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from iqa.errors import CheckpointMismatch
from iqa.imaging import preprocessing
from iqa.network import checkpoint
from iqa.network.model import ImageNetwork
from iqa.tasks.score_scales import ScoreScale
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tests.images import photograph


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ImageNetwork]:
    """Give a saved network and its folder; not to be changed."""
    torch.manual_seed(1)
    network = ImageNetwork("mobilenet_v2").eval()
    directory = tmp_path_factory.mktemp("checkpoint") / "new" / "folder"
    checkpoint.save(directory, network, {"metrics": {"val": {"srocc": 0.5}}})
    return directory, network


@pytest.fixture
def copy(original: tuple[Path, ImageNetwork], tmp_path: Path) -> Path:
    """Give a copy of it, to be damaged."""
    return Path(shutil.copytree(original[0], tmp_path / "copy"))


def edit(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the card on disk."""
    path = directory / checkpoint.CARD_FILE
    card = json.loads(path.read_text())
    change(card)
    path.write_text(json.dumps(card))


def reseal(directory: Path) -> None:
    """Write the digest of the weights into the card, as if they belonged together."""
    digest = checkpoint.sha256_of(directory / checkpoint.WEIGHTS_FILE)
    edit(directory, lambda card: card.update(weights_sha256=digest))


def drift_with(limit: float) -> dict[str, Any]:
    """Return a reference for drift of one measure."""
    noise = {"edges": [0.1], "counts": [4, 5], "limit": limit}
    return {"pictures": 9, "measures": {"noise": noise}}


@contextmanager
def full_disk(file_bytes: int) -> Iterator[None]:
    """Let this process write files of so many bytes and no longer ones."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_reloaded_network_predicts_the_same(original: tuple[Path, ImageNetwork]) -> None:
    """Save and load change no output bit, and the network comes back in evaluation mode."""
    directory, network = original
    loaded, card = checkpoint.load(directory)
    pixels = torch.from_numpy(photograph(96, 64)[None])
    with torch.inference_mode():
        assert torch.equal(loaded(pixels), network(pixels))
    assert not loaded.training
    assert card["metrics"] == {"val": {"srocc": 0.5}}
    assert card["preprocessing"] == preprocessing.DEFAULT.parameters()


def test_saving_again_gives_the_same_bytes(
    original: tuple[Path, ImageNetwork], tmp_path: Path
) -> None:
    """A checkpoint that is loaded and saved is the same file."""
    directory, _ = original
    loaded, _ = checkpoint.load(directory)
    checkpoint.save(tmp_path, loaded, {"metrics": {"val": {"srocc": 0.5}}})
    for name in (checkpoint.WEIGHTS_FILE, checkpoint.CARD_FILE):
        assert (tmp_path / name).read_bytes() == (directory / name).read_bytes(), name


def test_half_precision_is_stored_as_float32(tmp_path: Path) -> None:
    """Whatever it was trained in, a checkpoint holds float32."""
    checkpoint.save(tmp_path, ImageNetwork("mobilenet_v2").half(), {})
    weights = load_file(tmp_path / checkpoint.WEIGHTS_FILE)
    assert {t.dtype for t in weights.values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize("name", [checkpoint.WEIGHTS_FILE, checkpoint.CARD_FILE])
def test_missing_file_is_named(copy: Path, name: str) -> None:
    """Half a checkpoint is no checkpoint."""
    (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        checkpoint.load(copy)


def _set(*path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(card: dict[str, Any]) -> None:
        for key in path[:-1]:
            card = card[key]
        card[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("preprocessing", "fit", value="squeeze"), "^preprocessing: .*got .*squeeze"),
        (_set("preprocessing", "sharpen", value=1), "^preprocessing: .*got .*sharpen"),
        (_set("task", value="beauty"), "^task: expected one of classes, quality, got 'beauty'"),
        (_set("preprocessing", "resample", value="bicubic"), "^preprocessing: .*got .*bicubic"),
        (_set("format", value=4), "^format: expected 2, got 4"),
        (_set("calibration", value={"kind": "spline"}), "^card: expected a calibration"),
        (_set("interval", value={"coverage": 0.9}), "^card: expected .* got KeyError: 'bands'"),
        (_set("architecture", "backbone", value="vgg"), "^backbone: expected one of .*got 'vgg'"),
        (_set("architecture", "pooling", value="rms"), "^pooling: expected one of .*got 'rms'"),
        (_set("architecture", "pooling", value="average+std"), "expected the weights of mobile"),
        (_set("architecture", "mean", value=[0, 0, 0]), "^architecture: expected"),
        (_set("weights_sha256", value="0" * 64), "^weights_sha256: expected 0.*two checkpoints"),
        (_set("architecture", value=None), "expected a model card, got TypeError"),
        (lambda card: card.pop("format"), "expected a model card, got KeyError: 'format'"),
        (lambda card: card.pop("weights_sha256"), "expected a model card, got KeyError"),
    ],
)
def test_card_that_disagrees_with_the_code_is_refused(
    copy: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    """A skew between card, code and weights is an error at load, which names the field."""
    edit(copy, change)
    with pytest.raises(CheckpointMismatch, match=message):
        checkpoint.load(copy)


def test_a_card_of_the_time_before_calibration_is_read(copy: Path) -> None:
    """Format 1 has no calibration and no interval, and its scores stay."""
    edit(copy, _set("format", value=1))
    card = checkpoint.load(copy)[1]
    assert ScoreScale.of_card(card) == ScoreScale()


def test_facts_are_added_to_a_card_and_nothing_else_changes(copy: Path) -> None:
    """The weights' bytes stay, the card becomes one of today's format."""
    edit(copy, _set("format", value=1))
    before = (copy / checkpoint.WEIGHTS_FILE).read_bytes(), checkpoint.load_card(copy)
    calibration = {"kind": "affine_logit", "scale": 1.1, "offset": -0.1}
    checkpoint.change_card(copy, {"calibration": calibration})
    assert (copy / checkpoint.WEIGHTS_FILE).read_bytes() == before[0]
    assert checkpoint.load_card(copy) == {**before[1], "format": 2, "calibration": calibration}


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"calibration": {"kind": "affine_logit"}}, "expected a calibration"),
        ({"drift": drift_with(limit=np.inf)}, r"^card, drift: expected .*limit=inf"),
        ({"drift": drift_with(limit=np.nan)}, r"^card, drift: expected .*limit=nan"),
        ({"architecture": None}, "expected a model card, got TypeError"),
    ],
)
def test_facts_that_no_code_could_read_are_not_written(
    copy: Path, facts: dict[str, Any], message: str
) -> None:
    """A card that would be refused at the next load is refused now."""
    before = (copy / checkpoint.CARD_FILE).read_bytes()
    with pytest.raises(CheckpointMismatch, match=message):
        checkpoint.change_card(copy, facts)
    assert (copy / checkpoint.CARD_FILE).read_bytes() == before


@pytest.mark.parametrize("file_bytes", [100, 20_000_000])  # too small for weights, for the card
def test_a_checkpoint_stays_whole_where_the_disk_is_full(copy: Path, file_bytes: int) -> None:
    """Weights and card are as they were, and nothing else lies beside them."""
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    facts = {"note": "x" * file_bytes}
    with full_disk(file_bytes), pytest.raises((OSError, SafetensorError), match="too large"):
        checkpoint.save(copy, ImageNetwork("mobilenet_v2"), facts)
    with full_disk(file_bytes), pytest.raises(OSError, match="too large"):
        checkpoint.change_card(copy, facts)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


@pytest.mark.parametrize("text", ["{", "", "[]", "null", "3", '"x"', "\x00"])
def test_card_that_is_none_is_refused(copy: Path, text: str) -> None:
    """Broken JSON, or JSON of another shape, is said to be no card."""
    (copy / checkpoint.CARD_FILE).write_text(text)
    with pytest.raises(CheckpointMismatch, match=r"model\.json: expected a model card, got"):
        checkpoint.load_card(copy)


def test_card_in_another_encoding_is_refused(copy: Path) -> None:
    """Bytes that are no UTF-8 are no card either."""
    (copy / checkpoint.CARD_FILE).write_bytes(b'{"format": "\xff"}')
    with pytest.raises(ValueError, match="utf-8"):
        checkpoint.load_card(copy)


def test_one_changed_byte_of_the_weights_is_noticed(copy: Path) -> None:
    """The digest covers the whole file."""
    path = copy / checkpoint.WEIGHTS_FILE
    body = bytearray(path.read_bytes())
    body[-1] ^= 1
    path.write_bytes(bytes(body))
    with pytest.raises(CheckpointMismatch, match=r"^weights_sha256"):
        checkpoint.load(copy)


def test_weights_of_another_backbone_are_refused(copy: Path, tmp_path: Path) -> None:
    """A card that calls MobileNetV2's file by another name does not load it."""
    checkpoint.save(tmp_path / "other", ImageNetwork("resnet18"), {})
    shutil.copy(tmp_path / "other" / checkpoint.WEIGHTS_FILE, copy)
    reseal(copy)
    with pytest.raises(CheckpointMismatch, match="expected the weights of mobilenet_v2, got other"):
        checkpoint.load(copy)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(copy: Path, value: float) -> None:
    """A run that diverged cannot be served, and the message says what to do."""
    weights = load_file(copy / checkpoint.WEIGHTS_FILE)
    weights["head.weight"][0, 3] = value
    save_file(weights, copy / checkpoint.WEIGHTS_FILE)
    reseal(copy)
    with pytest.raises(CheckpointMismatch, match=r"expected finite weights, got NaN.*--lr"):
        checkpoint.load(copy)
