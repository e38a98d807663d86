"""Fewer hidden channels: chosen, made up for, written into a card, and read again."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from iqa.errors import CheckpointMismatch
from iqa.imaging.preprocessing import preprocess
from iqa.network import checkpoint
from iqa.network.intermediate_features import n_maps
from iqa.network.model import ImageNetwork, Network
from iqa.network.pruned_mobilenet import blocks_of, hidden_channels_in, hidden_channels_of
from iqa.network.runtime import GRAPH_FILE, OpenVINORuntime
from iqa.tasks.score_scales import ScoreScale
from PIL import Image

from console.paths import ROOT
from tests.images import photograph
from training import prune as command
from training.graph.export import export_onnx
from training.loop.starting_weights import fewer_hidden_channels
from training.networks.pruning import least_squares_choice, prune
from training.registry.pretrained import PRETRAINED

FULL = (96, 144, 144, 192, 192, 192, 384, 384, 384, 384, 576, 576, 576, 960, 960, 960)
FEW = (8,) * 16


def network_of(hidden_channels: tuple[int, ...], seed: int = 0) -> ImageNetwork:
    """Return a network whose features do not fade to zero."""
    torch.manual_seed(seed)
    network = ImageNetwork("mobilenet_v2", dropout=0.0, hidden_channels=hidden_channels)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # the images' own statistics
    with torch.no_grad():
        network.train()(torch.from_numpy(images(4)))
    return network.eval()


def images(n: int) -> np.ndarray:
    """Return n images, uint8 (N, 64, 96, 3)."""
    return np.stack([photograph(96, 64, seed) for seed in range(n)])


def doubled(network: ImageNetwork) -> ImageNetwork:
    """Return the same network with each hidden channel twice, at half of its weight."""
    wide = ImageNetwork("mobilenet_v2", dropout=0.0, hidden_channels=tuple(
        2 * n for n in hidden_channels_of(network.features)
    )).eval()  # fmt: skip
    state = network.state_dict()
    twice = {
        name: torch.cat([state[name]] * 2) if tensor.shape[:1] != state[name].shape[:1]
        else state[name] if tensor.shape == state[name].shape
        else torch.cat([state[name] / 2] * 2, dim=1)
        for name, tensor in wide.state_dict().items()
    }  # fmt: skip
    wide.load_state_dict(twice)
    return wide


def test_channels_that_others_make_up_for_are_found() -> None:
    """Of six channels three are sums of the others: three stay, and nothing is lost."""
    rng = np.random.default_rng(0)
    free = rng.normal(size=(500, 3))
    hidden = np.concatenate([free, free @ rng.normal(size=(3, 3)), np.ones((500, 1))], axis=1)
    targets = free @ rng.normal(size=(3, 2))
    chosen = least_squares_choice(hidden.T @ hidden / 500, hidden.T @ targets / 500, keep=3)
    assert len(chosen) == 3
    left = targets - hidden[:, chosen] @ np.linalg.lstsq(hidden[:, chosen], targets)[0]
    assert np.abs(left).max() < 1e-6


def test_what_is_there_twice_is_pruned_without_loss() -> None:
    """Half of the channels go, and the network says what it said, of other images too."""
    whole = doubled(network_of(FEW))
    pruned = prune(whole, images(6), FEW)
    assert max(pruned.errors) < 1e-3
    assert hidden_channels_of(pruned.network.features) == FEW
    seen = torch.from_numpy(np.stack([photograph(96, 64, seed) for seed in (11, 12, 13)]))
    with torch.inference_mode():
        expected, found = whole.logits(seen), pruned.network.logits(seen)
        other = network_of(FEW, seed=1).logits(seen)
    assert (found - expected).abs().max() < 0.05 * (other - expected).abs().max()


def test_the_fit_beats_the_same_channels_without_it() -> None:
    """Half of the shipped network's channels: what is left does more of it than before the fit."""
    whole, _ = checkpoint.load(PRETRAINED)
    assert isinstance(whole, ImageNetwork)
    hidden = tuple(n // 2 for n in FULL)
    pruned = prune(whole, images(12), hidden)
    assert len(pruned.errors) == 16 and max(pruned.errors) < 1
    unfitted = deepcopy(pruned.network)
    for before, after in zip(blocks_of(whole.features), blocks_of(unfitted.features), strict=True):
        kept = [
            int((before.conv[0][0].weight == row).flatten(1).all(1).nonzero()[0])
            for row in after.conv[0][0].weight
        ]
        after.conv[2].weight.data = before.conv[2].weight.data[:, kept].clone()
        after.conv[3].load_state_dict(before.conv[3].state_dict())
    with torch.inference_mode():
        seen = torch.from_numpy(images(12))
        expected = whole.logits(seen)
        fitted_off = (pruned.network.logits(seen) - expected).abs().mean()
        assert fitted_off < 0.5 * (unfitted.logits(seen) - expected).abs().mean()


def test_the_card_says_how_many_and_the_weights_too(tmp_path: Path) -> None:
    """A checkpoint comes back as it was; a network of full width has no such entry."""
    network = network_of(FEW)
    card = checkpoint.save(tmp_path, network, {})
    assert card["architecture"]["hidden_channels"] == list(FEW)
    again, _ = checkpoint.load(tmp_path)
    seen = torch.from_numpy(images(2))
    with torch.inference_mode():
        assert torch.equal(network(seen), again(seen))
    assert hidden_channels_in(network.state_dict()) == FEW
    assert fewer_hidden_channels("mobilenet_v2", str(tmp_path / checkpoint.WEIGHTS_FILE)) == FEW
    full = ImageNetwork("mobilenet_v2")
    assert hidden_channels_of(full.features) == FULL
    assert "hidden_channels" not in full.architecture()


@pytest.mark.parametrize("weights", ["imagenet", "none", PRETRAINED / checkpoint.WEIGHTS_FILE])
def test_a_network_of_full_width_starts_as_ever(weights: object) -> None:
    """Nothing is narrowed where the file has all channels."""
    assert fewer_hidden_channels("mobilenet_v2", str(weights)) is None
    assert fewer_hidden_channels("resnet18", str(weights)) is None


def test_weights_of_another_module_have_no_blocks() -> None:
    """Their names are not ours; what they lack is said where they are loaded."""
    assert hidden_channels_in({"backbone.2.conv.1.0.weight": torch.ones(3, 1)}) == ()


@pytest.mark.parametrize("hidden", [(8,) * 15, (0, *FEW[1:]), (97, *FEW[1:])])
def test_numbers_that_cannot_be_are_refused(hidden: tuple[int, ...], tmp_path: Path) -> None:
    """In code, and in a card that somebody changed."""
    with pytest.raises(ValueError, match="hidden_channels: expected 16 numbers, at most 96, 144"):
        ImageNetwork("mobilenet_v2", hidden_channels=hidden)
    checkpoint.save(tmp_path, network_of(FEW), {})
    _change_architecture(tmp_path, hidden_channels=list(hidden))
    with pytest.raises(CheckpointMismatch, match="hidden_channels: expected"):
        checkpoint.load(tmp_path)


def test_other_backbones_have_none(tmp_path: Path) -> None:
    """A card that says so was not written by this code."""
    checkpoint.save(tmp_path, ImageNetwork("resnet18"), {})
    _change_architecture(tmp_path, hidden_channels=[8] * 16)
    with pytest.raises(CheckpointMismatch, match="with mobilenet_v2 alone, got them with 'resnet"):
        checkpoint.load(tmp_path)


def test_the_graph_has_the_features_that_are_left(tmp_path: Path) -> None:
    """Means of fewer maps, then maxima; whoever fits heads is told how many maps there are."""
    export_onnx(network_of(FEW), tmp_path / GRAPH_FILE)
    runtime = OpenVINORuntime(tmp_path / GRAPH_FILE, 1, backbone="mobilenet_v2")
    _, features = runtime.outputs_and_features(images(1))
    n = 4 * FEW[0] + 1280 + 2 * FEW[0]
    assert features.shape == (1, n)
    assert n_maps(network_of(FEW).features, "mobilenet_v2") == [*[FEW[0]] * 4, 1280]
    assert runtime.n_means == 4 * FEW[0] + 1280


def test_the_command_refuses_what_it_cannot_prune(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another network, and a share that is none, before any image is read."""
    checkpoint.save(tmp_path, ImageNetwork("resnet18"), {})
    assert command.main(["--checkpoint", str(tmp_path), "--data-dir", "nowhere"]) == 1
    assert "expected a network of mobilenet_v2, got resnet18." in capsys.readouterr().err
    options = ["--checkpoint", str(PRETRAINED), "--data-dir", "nowhere"]
    assert command.main([*options, "--keep", "1.5"]) == 1
    assert "--keep: expected a share above 0, at most 1, got 1.5." in capsys.readouterr().err
    assert command.main([*options, "--area-px", "900"]) == 1
    assert "--area-px: expected at least 1024, got 900." in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main([*options, "--hidden-channels", "a few"])
    assert "expected whole numbers between commas, got 'a few'" in capsys.readouterr().err


def _change_architecture(directory: Path, **facts: object) -> None:
    path = directory / checkpoint.CARD_FILE
    card = json.loads(path.read_text())
    card["architecture"] |= facts
    path.write_text(json.dumps(card))


def test_the_shipped_fast_checkpoint_is_whole_and_light() -> None:
    """Narrower and of a smaller input than the shipped one; heads, scale and reference are its."""
    fast, full = (
        checkpoint.load(one) for one in (PRETRAINED.with_name("pretrained_fast"), PRETRAINED)
    )
    (network, card), (whole, whole_card) = fast, full
    assert isinstance(network, ImageNetwork) and isinstance(whole, ImageNetwork)
    assert sum(p.numel() for p in network.parameters()) < 0.55 * sum(
        p.numel() for p in whole.parameters()
    )
    assert checkpoint.policy_of(card).area_px < checkpoint.policy_of(whole_card).area_px
    assert whole_card["weights_sha256"] in card["training"]["teacher"]
    assert {"causes", "familiarity", "drift", "calibration", "interval"} <= set(card)
    told = {
        name: [_served(one, card, name) for one, card in (fast, full)]
        for name in ("parrots", "parrots_blurred", "lighthouse")
    }
    assert all(abs(a - b) < 10 for a, b in told.values()), told
    assert told["parrots_blurred"][0] < told["parrots"][0] - 20


def _served(network: Network, card: checkpoint.Card, name: str) -> float:
    """Return the score that a golden photograph gets, by a network's own policy and scale."""
    with Image.open(ROOT / "handler" / "golden" / f"{name}.jpg") as image:
        pixels = preprocess(image.convert("RGB"), policy=checkpoint.policy_of(card))
    with torch.inference_mode():
        quality = float(network(torch.from_numpy(pixels[None].copy()))[0])
    return ScoreScale.of_card(card).score(quality)
