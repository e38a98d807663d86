"""The task `classes`: reply, calibration, card, metrics, paired test, augmentation, freezing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from iqa.errors import CheckpointMismatch, ImageRejected
from iqa.imaging.decoding import decode
from iqa.imaging.preprocessing import Policy
from iqa.network import checkpoint
from iqa.network.model import ImageNetwork
from iqa.tasks.classes import Classes, calibrated
from iqa.tasks.counted_labels import MAX_LABELS, OTHER_LABELS, counted_labels
from iqa.tasks.task import Head, in_words, label_of
from sklearn import metrics as reference

from console.paths import ROOT
from tests.images import encode
from training.data.augmentations import AUGMENTATIONS, augmentations_of_text
from training.data.config import add_options
from training.data.ratings import Split
from training.data.whole_images import WholeTrainingImages, kept_in_memory
from training.loop.config import TrainConfig, train_config
from training.loop.defaults import of_dataset, parsed
from training.loop.schedule import plateau_factor
from training.loop.trainable_layers import freeze, trained_part
from training.measure import classification, temperature
from training.registry.shipped import SHIPPED
from training.tasks.task_table import CLASSES, task_of_data

TASK = Classes()
CARD = {"class_names": ["cat", "dog", "owl"]}


def test_the_reply_names_the_likeliest_class_and_all_probabilities() -> None:
    """The greatest first; the confidence is that of the class."""
    reply = TASK.reader(CARD)(np.array([0.2, 0.7, 0.1], np.float32))
    assert reply == {
        "predicted_class": 1,
        "predicted_label": "dog",
        "confidence": pytest.approx(0.7, abs=1e-6),
        "probabilities": pytest.approx({"dog": 0.7, "cat": 0.2, "owl": 0.1}, abs=1e-6),
    }
    assert list(reply["probabilities"]) == ["dog", "cat", "owl"]
    assert label_of(reply) == "dog" and "at 0.7000" in in_words(reply)


@pytest.mark.parametrize(("n", "shown"), [(20, 20), (21, 5)])
def test_more_than_twenty_classes_are_shown_by_their_top_five(n: int, shown: int) -> None:
    """All up to twenty."""
    outputs = np.arange(1, n + 1, dtype=np.float32)
    reply = TASK.reader({"class_names": [f"c{i}" for i in range(n)]})(outputs / outputs.sum())
    assert len(reply["probabilities"]) == shown and reply["predicted_class"] == n - 1


def test_a_temperature_is_that_of_the_logits() -> None:
    """softmax(z / T), from softmax(z) alone; a probability of 0 stays a number."""
    logits = np.array([[3.0, 1.0, -2.0], [0.5, 0.4, 0.3]])

    def softmax(z: np.ndarray) -> np.ndarray:
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    assert calibrated(softmax(logits), 1.7) == pytest.approx(softmax(logits / 1.7), abs=1e-12)
    hard = calibrated(np.array([1.0, 0.0]), 2.0)
    assert np.isfinite(hard).all() and hard.sum() == pytest.approx(1)
    card = {**CARD, "calibration": {"kind": "temperature", "temperature": 2.0}}
    reply = TASK.reader(card)(np.array([0.2, 0.7, 0.1], np.float32))
    assert 0.4 < reply["confidence"] < 0.6 and reply["predicted_label"] == "dog"


@pytest.mark.parametrize(
    "card",
    [
        {},
        {"class_names": ["one"]},
        {"class_names": ["a", "a"]},
        {"class_names": ["a", ""]},
        {"class_names": "ab"},
        {**CARD, "calibration": {"kind": "affine_logit", "scale": 1.0, "offset": 0.0}},
        {**CARD, "calibration": {"kind": "temperature", "temperature": 0.0}},
        {**CARD, "calibration": {"kind": "temperature", "temperature": float("nan")}},
    ],
)
def test_a_card_that_cannot_be_right_is_refused(card: dict[str, Any]) -> None:
    """At load, and with what was expected."""
    with pytest.raises(CheckpointMismatch, match=r"card, .*: expected"):
        TASK.reader(card)


def test_outputs_that_are_no_probabilities_are_the_servers_fault() -> None:
    """NaN above all."""
    with pytest.raises(ValueError, match="expected a sum of 1"):
        TASK.reader(CARD)(np.array([np.nan, 0.5, 0.5], np.float32))


def test_replies_lie_apart_by_their_largest_difference() -> None:
    """In percent; a class that is left out counts as the least that is shown."""
    one = {"probabilities": {"a": 0.6, "b": 0.3, "c": 0.1}}
    assert TASK.difference(one, {"probabilities": {"a": 0.58, "b": 0.32, "c": 0.1}}) == (
        pytest.approx(2)
    )
    assert TASK.difference(one, {"probabilities": {"a": 0.6, "b": 0.3, "d": 0.1}}) == 0
    assert TASK.difference(one, {"probabilities": {}}) == float("inf")


def test_labels_that_are_counted_are_few_and_plain() -> None:
    """What a metric cannot hold is replaced, and of many labels the rest is one series."""
    assert counted_labels(["T-shirt/top", "a|b,c:d"]) == {
        "T-shirt/top": "T-shirt/top", "a|b,c:d": "a_b_c_d"
    }  # fmt: skip
    counted = counted_labels([f"species {i}" for i in range(250)])
    assert len(set(counted.values())) == MAX_LABELS
    assert counted["species 249"] == OTHER_LABELS and counted["species 0"] == "species 0"


def test_a_grey_policy_takes_small_images_and_says_how_small() -> None:
    """28 x 28 is not upscaled; what is under a quarter of it is refused."""
    settings = argparse.Namespace(image_size=(28, 28), channels="L")
    policy = CLASSES.policy_of(settings)
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    decoded = decode(encode(pixels, "PNG"), policy=policy)
    assert (decoded.pixels()[:, :, 0] == pixels).all()
    with pytest.raises(ImageRejected, match="at least 7 x 7 pixels, got 6 x 6"):
        decode(encode(pixels[:6, :6], "PNG"), policy=policy).pixels()
    assert Policy.of_parameters(policy.parameters()) == policy


@pytest.fixture(scope="module")
def predicted() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of 400 images and seven classes, right two times of three."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 7, 400).astype(float)
    logits = rng.normal(0, 1, (400, 7))
    logits[np.arange(400), target.astype(int)] += 2
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), target


def test_the_metrics_are_those_of_scikit_learn(predicted: tuple[np.ndarray, np.ndarray]) -> None:
    """Accuracy, macro F1, cross-entropy, top-5, AUC, precision and recall by class."""
    outputs, target = predicted
    names = [f"c{k}" for k in range(7)]
    found = classification.evaluate(outputs, target, 1.0, names)
    best = outputs.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(target, best))
    assert found["macro_f1"] == pytest.approx(reference.f1_score(target, best, average="macro"))
    assert found["cross_entropy"] == pytest.approx(reference.log_loss(target, outputs))
    assert found["top_5"] == pytest.approx(reference.top_k_accuracy_score(target, outputs, k=5))
    expected = reference.roc_auc_score(target, outputs, multi_class="ovr", average="macro")
    assert found["roc_auc"] == pytest.approx(expected)
    precision, recall, f1, n = reference.precision_recall_fscore_support(target, best)
    for k, row in enumerate(found["by_class"]):
        assert (row["precision"], row["recall"], row["f1"], row["n"]) == (
            pytest.approx(precision[k], abs=1e-6), pytest.approx(recall[k], abs=1e-6),
            pytest.approx(f1[k], abs=1e-6), n[k],
        )  # fmt: skip
        assert row["recall_ci95"][0] < row["recall"] < row["recall_ci95"][1]
    assert found["confusion"] == reference.confusion_matrix(target, best).tolist()
    for key in ("accuracy", "macro_f1", "cross_entropy"):
        low, high = found[f"{key}_ci95"]
        assert low < found[key] < high


def test_probabilities_that_are_too_sure_are_calibrated(
    predicted: tuple[np.ndarray, np.ndarray],
) -> None:
    """Sharpened by 3, the temperature undoes it; the order of the classes stays."""
    outputs, target = predicted
    sharp = calibrated(outputs, 1 / 3)
    split = Split(names=[str(i) for i in range(400)], paths=[Path(__file__)] * 400, target=target)
    fitted = temperature.fit(sharp, split)["calibration"]
    own = temperature.fit(outputs, split)["calibration"]
    assert fitted["temperature"] == pytest.approx(3 * own["temperature"], rel=0.01)
    raw, after = (fitted["validation"][kind]["ece"] for kind in ("raw", "calibrated"))
    assert after < 0.5 * raw
    assert classification.calibration_error(np.eye(2)[[0, 0, 1]], np.zeros(3)) == (
        pytest.approx(1 / 3)
    )
    assert temperature.fit_if_possible(outputs[:9], split.part(lambda all_: all_[:9])) == {}


def test_the_paired_test_decides_and_a_tie_goes_by_cross_entropy() -> None:
    """Ten images won and none lost are no chance; one won is, whatever the accuracy."""
    target = np.zeros(40)
    right, wrong = np.array([0.6, 0.4]), np.array([0.4, 0.6])
    all_right = np.tile(right, (40, 1))
    ten_wrong = np.where(np.arange(40)[:, None] < 10, wrong, right)
    is_better, words = classification.is_better(all_right, ten_wrong, target)
    assert is_better and "right on 10 images" in words and "p = 0.00195" in words
    assert not classification.is_better(ten_wrong, all_right, target)[0]
    one_wrong_but_sure = np.where(np.arange(40)[:, None] < 1, wrong, [0.9, 0.1])
    is_better, words = classification.is_better(one_wrong_but_sure, all_right, target)
    assert is_better and "a tie" in words
    assert not classification.is_better(all_right, all_right.copy(), target)[0]


def test_other_classes_are_not_compared() -> None:
    """The same number of classes by other names is another task."""
    outputs = np.full((4, 3), 1 / 3)
    with pytest.raises(ValueError, match="expected the same classes"):
        CLASSES.is_better(
            outputs, outputs, np.zeros(4), (CARD, {"class_names": ["cat", "owl", "dog"]})
        )


def test_the_loss_is_the_cross_entropy_and_weights_make_rare_classes_count() -> None:
    """As torch has it on logits; balanced weights are the inverse of how often a class is there."""
    logits = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0.0] * 8 + [1.0] * 3 + [2.0])

    def settings(**said: Any) -> argparse.Namespace:
        return argparse.Namespace(**{"label_smoothing": 0.0, "class_weights": "none"} | said)

    plain = CLASSES.loss_of(settings(label_smoothing=0.1), target.numpy())
    expected = torch.nn.functional.cross_entropy(logits, target.long(), label_smoothing=0.1)
    assert plain(logits.softmax(1), target) == pytest.approx(float(expected), abs=1e-5)
    weighted = CLASSES.loss_of(settings(class_weights="balanced"), target.numpy())
    weights = torch.tensor([12 / 24, 12 / 9, 12 / 3])
    expected = torch.nn.functional.cross_entropy(logits, target.long(), weight=weights)
    assert weighted(logits.softmax(1), target) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("absent", [0, 1, 2])
def test_a_class_without_an_image_weighs_nothing(absent: int) -> None:
    """`--limit` may leave out any class, the last one too: the loss stays finite."""
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    first, second = (k for k in range(3) if k != absent)
    target = torch.tensor([first] * 4 + [second] * 2)
    settings = argparse.Namespace(label_smoothing=0.1, class_weights="balanced")
    found = CLASSES.loss_of(settings, target.double().numpy())(logits.softmax(1), target)
    weights = torch.zeros(3)
    weights[first], weights[second] = 1.0, 2.0
    expected = torch.nn.functional.cross_entropy(
        logits, target, weight=weights, label_smoothing=0.1
    )
    assert found == pytest.approx(float(expected), abs=1e-5)


def images_of(n: int, policy: Policy) -> Split:
    """Return noise in memory."""
    shape = (n, policy.height_px, policy.width_px, policy.n_channels)
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    names = [str(i) for i in range(n)]
    paths = [Path("none")] * n
    return Split(names=names, paths=paths, target=np.zeros(n), policy=policy, pixels=pixels)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_augmentation_keeps_the_size_and_depends_on_seed_epoch_and_image_alone(
    name: str,
) -> None:
    """Not on the batch, nor on the global random state, which stays as it was."""
    policy = Policy(fit="fixed size, cover, centre crop", width_px=36, height_px=28)
    split = images_of(6, policy)
    images = WholeTrainingImages(split, (name,), seed=3)
    before = torch.get_rng_state()
    batch = [pixels for pixels, _ in images.__getitems__([4, 1, 2])]
    assert torch.equal(before, torch.get_rng_state())
    assert all(p.shape == (28, 36, 3) and p.dtype == torch.uint8 for p in batch)
    assert torch.equal(images[1][0], batch[1])
    seen = {images[1][0].numpy().tobytes()}
    for images.epoch in range(1, 12):
        seen.add(images[1][0].numpy().tobytes())
    assert len(seen) > 1
    plain = WholeTrainingImages(split, (), seed=3)
    assert (plain[1][0].numpy() == split.pixels[1]).all()


def test_augmentations_are_named_one_by_one() -> None:
    """An unknown one is refused with the list."""
    assert augmentations_of_text("flip, crop") == ("flip", "crop")
    assert augmentations_of_text("none") == ()
    with pytest.raises(argparse.ArgumentTypeError, match=r"some of flip, .*, got mirror"):
        augmentations_of_text("flip,mirror")


def test_only_images_of_one_size_are_kept_in_memory(tmp_path: Path) -> None:
    """Decoded as the server decodes; another policy sees the files again."""
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    path = tmp_path / "a.png"
    path.write_bytes(encode(pixels, "PNG"))
    policy = Policy(fit="fixed size, cover, centre crop", width_px=28, height_px=28, channels="L",
                    min_side_px=7)  # fmt: skip
    split = Split(names=["a"], paths=[path], target=np.zeros(1), policy=policy)
    kept = kept_in_memory(split, "train")
    assert kept.pixels is not None and (kept.pixels[0, :, :, 0] == pixels).all()
    assert kept.seen_by(Policy()).pixels is None and kept.seen_by(policy) is kept
    assert kept_in_memory(split.seen_by(Policy()), "train").pixels is None


@pytest.mark.parametrize(("train", "frozen"), [("all", 0), ("head", 19), ("last:3", 16)])
def test_what_is_not_trained_is_frozen(train: str, frozen: int) -> None:
    """MobileNetV2 has 19 parts."""
    network = ImageNetwork("mobilenet_v2", head=Head(n_outputs=3, activation="softmax"))
    assert len(freeze(network, trained_part(train))) == frozen
    is_trained = [any(p.requires_grad for p in part.parameters()) for part in network.features]
    assert is_trained == [False] * frozen + [True] * (19 - frozen)
    assert network.head.weight.requires_grad
    with pytest.raises(ValueError, match="expected last:1 to last:18 of mobilenet_v2"):
        freeze(network, "last:19")
    with pytest.raises(argparse.ArgumentTypeError, match="head, last:N or all"):
        trained_part("last:0")


def test_a_plateau_lowers_the_rate_by_what_was_validated() -> None:
    """Two epochs that are no better, a tenth; the same however often it is asked."""
    assert plateau_factor([0.5, 0.6, 0.7]) == 1.0
    assert plateau_factor([0.5, 0.4]) == 1.0
    assert plateau_factor([0.5, 0.4, 0.5]) == pytest.approx(0.1)


@pytest.mark.parametrize("backbone", ["residual_small", "cnn4"])
def test_the_small_networks_take_small_images(backbone: str) -> None:
    """28 x 28 grey: a distribution over the classes."""
    head = Head(n_outputs=10, activation="softmax")
    network = ImageNetwork(backbone, head=head, n_channels=1).eval()
    with torch.inference_mode():
        outputs = network(torch.zeros(2, 28, 28, 1, dtype=torch.uint8))
    assert outputs.shape == (2, 10) and outputs.sum(1) == pytest.approx(torch.ones(2), abs=1e-5)


def test_a_data_set_brings_its_defaults() -> None:
    """Of classes alone; photographs that are rated keep theirs."""
    assert of_dataset("fashion_mnist")["model_name"] == "fashion_mnist"
    assert of_dataset("fashion_mnist")["image_size"] == (28, 28)
    assert of_dataset("imagefolder")["batch_size"] == 32
    assert of_dataset("koniq10k") == {} and of_dataset("") == {}


@pytest.mark.parametrize(
    ("options", "is_of_classes"),
    [
        (["--labels", "labels.csv"], True),
        (["--labels", "labels.csv", "--mos-range", "0", "100"], False),
        ([], False),  # refused later, for what is missing and not for these defaults
    ],
)
def test_a_csv_of_labels_brings_the_defaults_of_classes(
    options: list[str], is_of_classes: bool
) -> None:
    """And a registered model of its own: labels must not end up among the versions of `iqa`."""
    parser = argparse.ArgumentParser()
    add_options(parser, TrainConfig)
    config = train_config(parsed(parser, ["--dataset", "csv", *options]))
    found = (config.model_name, config.experiment, config.batch_size, config.label_smoothing)
    assert found == (("csv", "csv", 32, 0.1) if is_of_classes else ("iqa", "iqa", 16, 0.0))
    assert (task_of_data(config) is CLASSES) == is_of_classes


@pytest.mark.parametrize("name", ["fashion_mnist"])
def test_the_shipped_classifiers_load_and_are_small(name: str) -> None:
    """Their cards fit this code, and a clone stays light."""
    network, card = checkpoint.load(ROOT / "training" / SHIPPED[name])
    assert (ROOT / "training" / SHIPPED[name] / checkpoint.WEIGHTS_FILE).stat().st_size <= 1.5e6
    assert len(TASK.labels(card)) == network.ends_in.n_outputs
    assert card["calibration"]["kind"] == "temperature"
    assert card["metrics"]["test"]["calibrated"]["ece"] <= card["metrics"]["test"]["ece"] + 0.01
