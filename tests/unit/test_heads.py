"""Heads beside the score: what they say, what they are read from, and models without them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from iqa.errors import CheckpointMismatch
from iqa.imaging.preprocessing import Policy
from iqa.imaging.statistics import N_STATISTICS, pixel_statistics
from iqa.network import checkpoint
from iqa.network.intermediate_features import N_MEANS
from iqa.network.runtime import GRAPH_FILE, OpenVINORuntime, open_runtime
from iqa.tasks import heads
from iqa.tasks.heads import HEADS_FILE, Causes, Familiarity, Heads, SmallNetwork
from ts.context import RequestProcessor

from iqa_handler import IQAHandler
from tests.images import encode, photograph
from tests.unit.test_handler import make_context
from training.graph.export import export_onnx
from training.graph.precision import GATE_FILE
from training.heads import network, samples
from training.heads.features import features_of
from training.registry.pretrained import PRETRAINED

BACKBONE = "mobilenet_v2"
N_FEATURES = N_MEANS[BACKBONE] + 144 + 192  # with the maxima of the second and third tap
SIZE = N_FEATURES + N_STATISTICS
KINDS = ("exposure", "exposure", "blur", "noise")


def constant(*outputs: float, size: int = SIZE) -> SmallNetwork:
    """Return a network that always answers the same."""
    return SmallNetwork(
        mean=np.zeros(size, np.float32), scale=np.ones(size, np.float32),
        hidden=np.zeros((size, 2), np.float32), hidden_bias=np.zeros(2, np.float32),
        outputs=np.zeros((2, len(outputs)), np.float32),
        outputs_bias=np.array(outputs, np.float32),
    )  # fmt: skip


@pytest.fixture
def with_heads(untrained: Path, tmp_path: Path) -> Path:
    """A checkpoint whose card names a head of each kind."""
    folder = Path(shutil.copytree(untrained, tmp_path / "model"))
    facts = {"kinds": list(KINDS), "floor": 20, "lead": 1.2}
    network.store(folder, heads.CAUSES, constant(3, 41, 70.4, -5), BACKBONE, facts)
    network.store(folder, heads.FAMILIARITY, constant(0.0), BACKBONE, {heads.NOT_A_PHOTOGRAPH: 0.6})
    (folder / "provenance.json").write_text(json.dumps({"model": {"name": "iqa", "version": "7"}}))
    return folder


@pytest.mark.parametrize(
    ("points", "main"),
    [
        ((0, 0, 19, 0), None),  # none reaches the floor
        ((0, 0, 20, 0), "blur"),
        ((59, 0, 70, 0), None),  # none leads
        ((0, 58, 70, 0), "blur"),
        ((0, 90, 10, 3), "exposure"),  # too bright
        ((110, -4, 10, 3), "exposure"),
    ],
)
def test_the_main_cause_counts_and_leads(points: tuple[float, ...], main: str | None) -> None:
    """It has 20 points and a fifth more than the next one; else there is none."""
    causes = Causes(network=constant(*points), kinds=KINDS, floor=20, lead=1.2)
    told = causes.reply(np.zeros(SIZE, np.float32))
    assert told["main_cause"] == main
    assert list(told["causes"]) == ["exposure", "blur", "noise"]
    assert all(isinstance(v, int) and 0 <= v <= 100 for v in told["causes"].values())
    assert told["causes"]["exposure"] == min(100, max(points[:2]))


@pytest.mark.parametrize(("points", "main"), [(19, None), (20, "blur")])
def test_a_cause_that_is_alone_leads(points: float, main: str | None) -> None:
    """There is no next one: it counts from the floor on."""
    causes = Causes(network=constant(points), kinds=("blur",), floor=20, lead=1.2)
    told = causes.reply(np.zeros(SIZE, np.float32))
    assert told == {"causes": {"blur": points}, "main_cause": main}


@pytest.mark.parametrize(("logit", "warned"), [(-50.0, True), (0.0, True), (0.5, False)])
def test_a_picture_of_low_familiarity_is_warned_of(logit: float, warned: bool) -> None:
    """In [0, 1], and below the threshold a warning."""
    head = Familiarity(network=constant(logit), not_a_photograph=0.6)
    familiarity, warnings = head.reply(np.zeros(SIZE, np.float32))
    assert 0 <= familiarity <= 1
    assert warnings == (["not_a_photograph"] if warned else [])


@pytest.mark.parametrize(
    ("logits", "told", "warned"),
    [
        ((4.0, 4.0), 0.982, []),
        ((4.0, -1.0), 0.269, ["unlike_training"]),
        ((-1.0, 4.0), 0.269, ["not_a_photograph"]),
        ((-1.0, -3.0), 0.047, ["not_a_photograph"]),  # one warning says enough
    ],
)
def test_a_photograph_unlike_those_of_training_is_warned_of(
    logits: tuple[float, float], told: float, warned: list[str]
) -> None:
    """A second output has a threshold of its own; familiarity is the lower probability."""
    head = Familiarity(network=constant(*logits), not_a_photograph=0.6, unlike_training=0.3)
    assert head.reply(np.zeros(SIZE, np.float32)) == (told, warned)


def test_a_card_says_how_many_outputs_familiarity_has(with_heads: Path) -> None:
    """With a second threshold the network needs a second output; without, it has one."""
    card = json.loads((with_heads / checkpoint.CARD_FILE).read_text())
    found = Heads.of_card(with_heads, card)
    assert found is not None and found.familiarity is not None
    assert found.familiarity.unlike_training is None
    facts = {heads.NOT_A_PHOTOGRAPH: 0.6, heads.UNLIKE_TRAINING: 0.3}
    with pytest.raises(CheckpointMismatch, match="of shape"):
        Heads.of_card(with_heads, card | {heads.FAMILIARITY: facts})
    network.store(with_heads, heads.FAMILIARITY, constant(0.0, 1.0), BACKBONE, facts)
    found = Heads.of_card(with_heads, checkpoint.load_card(with_heads))
    assert found is not None and found.familiarity is not None
    assert found.familiarity.unlike_training == 0.3


def test_a_model_with_heads_tells_causes_and_one_without_does_not(
    with_heads: Path, untrained: Path, tmp_path: Path
) -> None:
    """The same score to 0.01, with causes, familiarity and a warning, or with no such key."""
    without = Path(shutil.copytree(untrained, tmp_path / "without"))
    shutil.copyfile(with_heads / "provenance.json", without / "provenance.json")
    replies = []
    for folder in (with_heads, without):
        handler, context = IQAHandler(), make_context(folder)
        handler.initialize(context)
        context.request_processor = [RequestProcessor({})]
        body = encode(photograph(600, 400), "PNG")
        replies.append(json.loads(handler.handle([{"body": bytearray(body)}], context)[0]))
    told, plain = replies
    assert told["causes"] == {"exposure": 41, "blur": 70, "noise": 0}
    assert (told["main_cause"], told["familiarity"]) == ("blur", 0.5)
    assert told["warnings"] == [*plain["warnings"], "not_a_photograph"]
    assert not {"causes", "main_cause", "familiarity"} & set(plain)
    assert told["score"] == pytest.approx(plain["score"], abs=0.01)


def test_an_int8_archive_is_served_without_heads(with_heads: Path) -> None:
    """They were not measured there."""
    provenance = {"model": {"name": "iqa", "version": "7"}, "precision": "int8"}
    (with_heads / "provenance.json").write_text(json.dumps(provenance))
    handler, context = IQAHandler(), make_context(with_heads)
    handler.initialize(context)
    context.request_processor = [RequestProcessor({})]
    body = encode(photograph(160, 120), "JPEG")
    assert "causes" not in json.loads(handler.handle([{"body": bytearray(body)}], context)[0])


def test_graph_and_network_see_the_same_and_the_score_stays(
    untrained: Path, tmp_path: Path
) -> None:
    """OpenVINO's second output is what torch's hooks collect; the first is as without it."""
    weights, _ = checkpoint.load(untrained)
    export_onnx(weights, tmp_path / GRAPH_FILE)
    pixels_NHWC = np.stack([photograph(96, 128, seed=seed) for seed in range(2)])
    reference = open_runtime(untrained, "torch", backbone=BACKBONE)
    expected, features = reference.outputs_and_features(pixels_NHWC)
    tapped = OpenVINORuntime(tmp_path / GRAPH_FILE, 1, "f32", BACKBONE)
    outputs, seen = tapped.outputs_and_features(pixels_NHWC)
    assert seen.shape == (2, N_FEATURES)
    assert np.abs(seen - features).max() < 1e-3 * np.abs(features).max()
    n_means = N_MEANS[BACKBONE]
    assert reference.n_means == tapped.n_means == n_means
    maxima = seen[:, n_means:]
    of_the_same_maps = seen[:, 96 : 96 + maxima.shape[1]]
    assert (maxima >= of_the_same_maps).all() and (maxima > 2 * of_the_same_maps).any()
    plain = OpenVINORuntime(tmp_path / GRAPH_FILE, 1, "f32").outputs(pixels_NHWC)
    assert np.abs(outputs - plain).max() <= 1e-4  # 0.01 of a point
    assert np.abs(outputs - expected).max() <= 1e-4
    with pytest.raises(ValueError, match="opened with backbone"):
        open_runtime(untrained, "torch").outputs_and_features(pixels_NHWC)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card["heads"].update(sha256="0" * 64), "two checkpoints"),
        (lambda card: card["causes"].pop("floor"), "KeyError: 'floor'"),
        (lambda card: card["causes"].update(kinds=["blur"]), "of shape"),
    ],
)
def test_heads_that_do_not_fit_their_card_are_refused(
    with_heads: Path, change: Any, message: str
) -> None:
    """Another file, a key that is missing, another number of outputs: said at load."""
    path = with_heads / checkpoint.CARD_FILE
    card = json.loads(path.read_text())
    change(card)
    path.write_text(json.dumps(card))
    with pytest.raises(CheckpointMismatch, match=message):
        checkpoint.load(with_heads)


def test_a_checkpoint_without_its_heads_file_is_refused(with_heads: Path) -> None:
    """A card that promises heads has them beside it."""
    (with_heads / HEADS_FILE).unlink()
    with pytest.raises(FileNotFoundError, match=HEADS_FILE):
        checkpoint.load(with_heads)


@pytest.mark.parametrize("size", [(16, 16), (16, 1200), (1200, 128), (384, 512)])
@pytest.mark.parametrize("kind", ["flat", "noise", "photograph"])
def test_statistics_are_finite_for_any_picture(size: tuple[int, int], kind: str) -> None:
    """Smallest, narrowest, flat or noise alone: as many numbers, all finite."""
    height, width = size
    pixels = {
        "flat": np.full((height, width, 3), 200, np.uint8),
        "noise": np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8),
        "photograph": photograph(width, height),
    }[kind]
    found = pixel_statistics(pixels)
    assert found.shape == (N_STATISTICS,) and found.dtype == np.float32
    assert np.isfinite(found).all() and np.abs(found).max() <= 1.5
    if kind == "flat":
        assert found[0] == found[11] == 1.0  # all steps are zero


def test_the_heads_of_a_card_are_read_as_they_were_stored(with_heads: Path) -> None:
    """What `store` writes is what `of_card` reads; the weights' digest in the card stays."""
    found = Heads.of_card(with_heads, json.loads((with_heads / "model.json").read_text()))
    assert found is not None and found.causes is not None and found.familiarity is not None
    assert found.causes.kinds == KINDS and found.backbone == BACKBONE
    told, warnings = found.reply(
        np.zeros(N_FEATURES, np.float32), np.zeros(N_STATISTICS, np.float32)
    )
    assert told["main_cause"] == "blur" and warnings == ["not_a_photograph"]
    with torch.inference_mode():
        checkpoint.load(with_heads)


def test_each_head_takes_as_many_features_as_it_was_fitted_on(with_heads: Path) -> None:
    """One that was fitted on the means alone, which come first, beside one on all."""
    facts = {"kinds": list(KINDS), "floor": 20, "lead": 1.2}
    old = constant(3, 41, 70.4, -5, size=N_MEANS[BACKBONE] + N_STATISTICS)
    network.store(with_heads, heads.CAUSES, old, BACKBONE, facts)
    found = Heads.of_card(with_heads, json.loads((with_heads / "model.json").read_text()))
    assert found is not None
    told, _ = found.reply(np.zeros(N_FEATURES, np.float32), np.zeros(N_STATISTICS, np.float32))
    assert told["main_cause"] == "blur" and told["familiarity"] == 0.5


@pytest.mark.parametrize("broken", ["change_card", "save"])
def test_a_checkpoint_stays_whole_where_storing_fails(
    with_heads: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """A full disk or Ctrl-C between heads and card leaves both as they were, and nothing else."""

    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    before = {path.name: path.read_bytes() for path in with_heads.iterdir()}
    monkeypatch.setattr(checkpoint if broken == "change_card" else network, broken, fail)
    facts = {"kinds": list(KINDS), "floor": 30, "lead": 1.2}
    with pytest.raises(OSError, match="No space"):
        network.store(with_heads, heads.CAUSES, constant(1, 2, 3, 4), BACKBONE, facts)
    assert {path.name: path.read_bytes() for path in with_heads.iterdir()} == before
    checkpoint.load(with_heads)


class CountedRuntime:
    """Answers with a number of its own, and counts how often it is asked."""

    def __init__(self, number: float, precision: str = "f32") -> None:
        self.number, self.precision, self.asked = number, precision, 0

    def outputs_and_features(self, pixels_NHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the number as output and as feature."""
        self.asked += 1
        return np.array([self.number]), np.full((1, 3), self.number, np.float32)


def test_features_are_kept_for_the_same_graph_policy_and_picture_alone(tmp_path: Path) -> None:
    """Another picture of the same name, precision or policy is computed; each is read once."""
    policy = Policy().parameters()
    card = {"weights_sha256": "0" * 64, "preprocessing": policy}
    reads = []

    def features(runtime: CountedRuntime, level: int, card: dict[str, Any] = card) -> float:
        def read() -> bytes:
            reads.append(level)
            return encode(np.full((64, 64, 3), level, np.uint8), "PNG")

        kept = samples.collect(
            [samples.Source("1.png", read, samples.opened)], samples.originals, runtime=runtime,
            cache=samples.cache_folder(tmp_path, card, runtime), folder="originals", title="",
        )  # fmt: skip
        return float(kept.features[0, 0])

    first, again, bf16 = CountedRuntime(0.25), CountedRuntime(0.5), CountedRuntime(0.75, "bf16")
    assert features(first, 10) == features(again, 10) == 0.25 and again.asked == 0
    assert features(again, 200) == 0.5
    assert features(bf16, 10) == 0.75
    assert features(bf16, 10, card | {"preprocessing": policy | {"area_px": 9216}}) == 0.75
    assert bf16.asked == 2 and reads == [10, 10, 200, 10, 10]


def test_a_graph_of_other_weights_is_refused(untrained: Path, tmp_path: Path) -> None:
    """Its features are not those of the checkpoint that gets the heads."""
    weights, card = checkpoint.load(untrained)
    gate = json.loads((PRETRAINED / "precision" / "bf16" / GATE_FILE).read_text())
    (tmp_path / GATE_FILE).write_text(json.dumps(gate))
    with (
        pytest.raises(ValueError, match="expected a graph of the weights"),
        features_of(weights, card, tmp_path, BACKBONE),
    ):
        pass
