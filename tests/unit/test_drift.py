"""Drift: what is measured, how it is counted and compared, and what a reference says of chance."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from iqa.drift import measures
from iqa.drift.comparison import WINDOW, Compared, compare, distance
from iqa.drift.measures import FEATURES, NAMES, NETWORK, PICTURES, of_pixels, projection
from iqa.drift.reference import Reference, Spread
from iqa.errors import CheckpointMismatch
from iqa.imaging.statistics import ROW_STEP, pixel_statistics
from iqa.network import checkpoint
from PIL import Image
from scipy.stats import chi2_contingency
from ts.context import RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from console.paths import ROOT
from iqa_handler import IQAHandler
from tests.images import encode, photograph
from tests.unit.test_handler import make_context
from training import drift_reference
from training.data.distortions import DISTORTIONS
from training.drift.fit import FALSE_ALARMS, fit

Columns = dict[str, Any]
FIRST_SIGNS = [0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0]


def pictures(n: int, seed: int) -> Columns:
    """Return made-up measures of n pictures, as different kinds of numbers as there are."""
    rng = np.random.default_rng(seed)
    return {
        "megapixels": np.full(n, 0.262144),
        "format": np.array(["JPEG", "PNG"])[(rng.random(n) < 0.1).astype(int)],
        "brightness": np.round(rng.beta(4, 4, n), 6),
        "shadows": np.round(np.maximum(rng.normal(0, 0.05, n), 0), 6),  # half of them are 0
        "noise": np.round(rng.lognormal(-5, 1, n), 6),
        "feature_1": np.round(rng.normal(0, 0.3, n), 6),
        "score": np.round(rng.beta(5, 4, n) * 100, 4),
    }


@pytest.fixture(scope="module")
def reference() -> Reference:
    """A reference of 9,000 made-up pictures."""
    return fit(pictures(9000, 1))


def test_pixels_measures_are_what_they_are_called() -> None:
    """Brightness, shadows and contrast are those of the rows; blur and noise move the others."""
    image = Image.open(ROOT / "handler" / "golden" / "lighthouse.jpg").convert("RGB")
    told = of_pixels(pixel_statistics(np.asarray(image)))
    rows = np.asarray(image)[ROW_STEP // 2 :: ROW_STEP, :, 1] / 255
    assert told["brightness"] == pytest.approx(rows.mean(), abs=1e-5)
    assert told["contrast"] == pytest.approx(rows.std(), abs=1e-5)
    assert abs(float(told["shadows"]) - np.quantile(rows, 0.01)) <= 1 / 255
    rng = np.random.default_rng(0)

    def after(kind: str) -> measures.Measures:
        return of_pixels(pixel_statistics(np.asarray(DISTORTIONS[kind](image, 4, rng))))

    assert (
        after("gaussian_blur")["sharpness"] < told["sharpness"] < after("white_noise")["sharpness"]
    )
    assert after("white_noise")["noise"] > 2 * float(told["noise"])
    assert after("gaussian_blur")["detail"] < told["detail"]
    assert after("darken")["brightness"] < told["brightness"] < after("brighten")["brightness"]


def test_a_flat_picture_has_finite_measures() -> None:
    """No step at all: nothing is divided by 0."""
    told = of_pixels(pixel_statistics(np.full((384, 512, 3), 7, np.uint8)))
    assert (told["sharpness"], told["detail"], told["noise"]) == (1, 0, 0)


def test_the_projection_is_fixed() -> None:
    """A reference made today is good for the server of next year: no generator takes part."""
    signs = projection(2288)
    assert signs.shape == (2288, len(FEATURES))
    assert np.allclose(np.abs(signs), 2288**-0.5)
    assert (signs[:, 0] > 0)[:16].astype(int).tolist() == FIRST_SIGNS
    assert abs((signs > 0).mean() - 0.5) < 0.02
    assert np.abs(np.corrcoef(signs.T) - np.eye(len(FEATURES))).max() < 0.1


def test_the_distance_is_chi_squared_of_two_samples() -> None:
    """As scipy computes it; a bin that is empty in both counts for nothing."""
    window, known = [120, 700, 60, 0, 20], [900, 7000, 500, 0, 0]
    table = np.array([window, known])[:, [0, 1, 2, 4]]
    assert distance(window, known) == pytest.approx(chi2_contingency(table).statistic)
    assert distance([0, 0], [5, 5]) == 0


def test_a_larger_window_counts_as_one_of_2000() -> None:
    """Of a million pictures every difference would be significant."""
    known = [900_000, 100_000]
    at_window = distance([WINDOW * 8 // 10, WINDOW * 2 // 10], known)
    assert distance([80_000, 20_000], known) == pytest.approx(at_window, rel=0.1)
    assert distance([400, 100], known) == pytest.approx(at_window / 4, rel=0.1)


def test_each_value_is_counted_in_the_bin_that_a_worker_counts_it_in(reference: Reference) -> None:
    """A column at once, or a picture at a time: the same bins."""
    columns = pictures(500, 2)
    for name, spread in reference.spreads.items():
        one_by_one = [0] * len(spread.counts)
        for value in columns[name].tolist():
            one_by_one[spread.bin_of(value)] += 1
        assert spread.count(columns[name]) == one_by_one, name
        assert len(spread.labels) == len(set(spread.labels)) == len(spread.counts)
    assert reference.spreads["format"].bin_of("AVIF") == 2
    assert reference.spreads["format"].labels == ("JPEG", "PNG", "other")


def test_a_value_that_all_pictures_share_has_a_bin_of_its_own(reference: Reference) -> None:
    """Smaller and larger pictures are told apart, though the reference has one size alone."""
    spread = reference.spreads["megapixels"]
    assert [spread.bin_of(v) for v in (0.1, 0.262144, 12.0)] == [0, 1, 2]
    assert spread.counts == (0, 9000, 0)
    shadows = reference.spreads["shadows"]
    assert shadows.counts[shadows.bin_of(0.0)] == pytest.approx(4500, rel=0.05)


@pytest.mark.parametrize("false_alarms", [0.3, 0.05])
def test_chance_moves_a_window_as_often_as_was_promised(false_alarms: float) -> None:
    """Of 400 windows of the same pictures: the bound may be too careful, and not too bold."""
    known = fit(pictures(9000, 1), false_alarms=false_alarms)
    moved = sum(compare(known, pictures(WINDOW, 1000 + n)).verdict != "nothing" for n in range(400))
    assert 0.4 * false_alarms < moved / 400 < false_alarms + 3 * (false_alarms / 400) ** 0.5


def test_a_tenth_of_damaged_pictures_is_found(reference: Reference) -> None:
    """And it is said that the pictures moved, whatever else did."""
    found = 0
    for seed in range(20):
        columns = pictures(WINDOW, 5000 + seed)
        columns["noise"][: WINDOW // 10] *= 6
        columns["score"][: WINDOW // 10] *= 0.5
        compared = compare(reference, columns)
        found += compared.verdict == "pictures"
        assert "noise" in compared.moved
    assert found == 20


def test_only_what_the_network_makes_of_them_is_the_model(reference: Reference) -> None:
    """The same pictures with other features or scores."""
    columns = pictures(WINDOW, 3)
    assert compare(reference, columns).verdict == "nothing"
    columns["score"] = columns["score"] * 0.9
    compared = compare(reference, columns)
    assert (compared.verdict, compared.moved) == ("model", ("score",))


def test_few_pictures_say_nothing(reference: Reference) -> None:
    """However far they are off."""
    columns = {name: column[:199] for name, column in pictures(500, 4).items()}
    columns["noise"] = columns["noise"] * 100
    assert compare(reference, columns).verdict == "nothing"


def test_what_is_not_tested_is_counted() -> None:
    """A data set that was cut to one size does not say which size is usual."""
    known = fit(pictures(2000, 1), untested=["megapixels"])
    columns = pictures(WINDOW, 5) | {"megapixels": np.full(WINDOW, 12.0)}
    compared = compare(known, columns)
    assert compared.verdict == "nothing" and "megapixels" not in compared.over
    assert list(compared.counts["megapixels"]) == [0, 0, WINDOW]


def test_every_measure_is_of_the_pictures_or_of_the_network() -> None:
    """A verdict must follow from any measure."""
    assert set(PICTURES) | set(NETWORK) == set(NAMES) and not set(PICTURES) & set(NETWORK)
    for name in NAMES:
        compared = Compared(pictures=2000, counts={}, over={}, moved=(name,))
        assert compared.verdict == ("pictures" if name in PICTURES else "model")


def test_a_reference_comes_back_from_its_card(reference: Reference) -> None:
    """Through JSON."""
    card = {"drift": json.loads(json.dumps(reference.document()))}
    assert Reference.of_card(card) == reference
    assert Reference.of_card({}) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.pop("pictures"),
        lambda told: told.update(pictures=3),
        lambda told: told.update(measures={}),
        lambda told: told["measures"].update(colour=told["measures"]["noise"]),
        lambda told: told["measures"]["noise"].update(edges=[0.2, 0.1]),
        lambda told: told["measures"]["noise"]["counts"].pop(),
        lambda told: told["measures"]["noise"].update(limit=float("nan")),
        lambda told: told["measures"]["noise"].update(limit=-1.0),
        lambda told: told["measures"]["format"].update(kinds=[]),
        lambda told: told.update(measures=[]),
    ],
)
def test_a_card_by_hand_is_refused(reference: Reference, change: Callable[[Any], None]) -> None:
    """At load, with what to do."""
    told = json.loads(json.dumps(reference.document()))
    change(told)
    with pytest.raises(CheckpointMismatch, match=r"training\.drift_reference"):
        Reference.of_card({"drift": told})


def test_too_few_pictures_and_unknown_measures_are_refused() -> None:
    """Before anything is written."""
    with pytest.raises(ValueError, match="at least 500, got 499"):
        fit(pictures(499, 1))
    with pytest.raises(ValueError, match=r"untested: expected some of .*, got aspect"):
        fit(pictures(600, 1), untested=["aspect"])


@pytest.mark.parametrize("told", ["0", "1", "-1", "nan"])
def test_false_alarms_that_are_no_probability_are_refused(
    told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is read: there is no checkpoint."""
    with pytest.raises(SystemExit):
        drift_reference.main(["--checkpoint", str(tmp_path / "none"), "--false-alarms", told])
    assert "--false-alarms: expected a number above 0 and below 1" in capsys.readouterr().err


def test_chance_alone_is_rarer_than_promised_to_users() -> None:
    """docs/drift.md: at most one false alarm in 1,000 windows."""
    assert FALSE_ALARMS <= 0.001


def handler_of(folder: Path, metrics: Path) -> tuple[IQAHandler, Any]:
    """Load an unpacked archive on a server with these metrics."""
    handler, context = IQAHandler(), make_context(folder)
    context.metrics = MetricsCacheYamlImpl(str(metrics))
    context.metrics.initialize_cache()
    context.request_processor = [RequestProcessor({})]
    handler.initialize(context)
    return handler, context


@pytest.fixture
def with_reference(untrained: Path, tmp_path: Path, reference: Reference) -> Path:
    """A checkpoint without heads, whose card has a reference."""
    folder = Path(shutil.copytree(untrained, tmp_path / "model"))
    checkpoint.change_card(folder, {"drift": reference.document()})
    (folder / "provenance.json").write_text(json.dumps({"model": {"name": "iqa", "version": "7"}}))
    return folder


def test_another_calibration_drops_the_reference(with_reference: Path) -> None:
    """It counts scores that the model no longer gives; what says nothing of scores leaves it."""
    assert "drift" in checkpoint.change_card(with_reference, {"note": "as before"})
    fitted = {"kind": "affine_logit", "scale": 1.1, "offset": 0.0}
    assert "drift" not in checkpoint.change_card(with_reference, {"calibration": fitted})


def test_a_reference_changes_no_reply_and_is_reported(
    with_reference: Path, untrained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same bytes as without; each measure is counted once, in one bin."""
    without = Path(shutil.copytree(untrained, tmp_path / "without"))
    shutil.copyfile(with_reference / "provenance.json", without / "provenance.json")
    declared = ROOT / "torchserve" / "metrics.yaml"
    body = bytearray(encode(photograph(600, 400), "PNG"))
    (plain,) = (h := handler_of(without, declared))[0].handle([{"body": body}], h[1])
    handler, context = handler_of(with_reference, declared)
    (told,) = handler.handle([{"body": body}], context)
    assert told == plain
    caplog.clear()
    with caplog.at_level("INFO", logger="ts.metrics.caching_metric"):
        handler._telemetry.flush()
    counted = [line for line in caplog.messages if "iqa_drift_pictures_total" in line]
    assert len(counted) == 6  # all of the reference's but the features: there are no heads
    assert any("measure:format,bin:PNG" in line for line in counted), counted
    assert any("measure:megapixels,bin:below 0.262144" in line for line in counted), counted


def test_a_server_with_older_metrics_serves_without(with_reference: Path, tmp_path: Path) -> None:
    """metrics.yaml is the server's own: an archive must not need a newer one."""
    declared = (ROOT / "torchserve" / "metrics.yaml").read_text()
    older = tmp_path / "metrics.yaml"
    older.write_text(declared.replace("iqa_drift_", "iqa_other_"))
    handler, context = handler_of(with_reference, older)
    (told,) = handler.handle([{"body": bytearray(encode(photograph(64, 64), "PNG"))}], context)
    assert "score" in json.loads(told)
    handler._telemetry.flush()


def test_the_shipped_model_has_a_reference() -> None:
    """Of its training pictures, which say nothing of sizes and formats."""
    known = Reference.of_card(json.loads((ROOT / "training/pretrained/model.json").read_text()))
    assert known is not None and known.pictures >= 2000
    assert set(known.spreads) == set(NAMES)
    untested = {name for name, spread in known.spreads.items() if spread.limit is None}
    assert untested == {"megapixels", "aspect", "format"}
    assert isinstance(known.spreads["score"], Spread)
