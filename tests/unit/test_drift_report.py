"""The page of drift: a prediction log beside a card, an archive, or its own past."""

from __future__ import annotations

import json
import re
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from iqa.drift.measures import FEATURES, PIXELS

from scripts import drift
from scripts.drift_report.find_reference import references_at
from scripts.drift_report.traffic import traffic_of
from scripts.prediction_log import parquet
from scripts.prediction_log.reading import rows_of
from tests.prediction_rows import row, writer_of
from training.drift.fit import fit

START = datetime(2026, 11, 1, tzinfo=UTC)


def scored(number: int, rng: np.random.Generator, version: str = "1") -> dict[str, Any]:
    """Return a row of a made-up picture, one a minute."""
    made = row(0)
    moment = START + timedelta(minutes=number)
    made["time"] = f"{moment:%Y-%m-%dT%H:%M:%S}.000Z"
    made["data"] |= {
        "version": version, "score": round(float(rng.beta(5, 4)) * 100, 4),
        **{name: round(float(rng.lognormal(-3, 0.5)), 6) for name in PIXELS},
        "features": [round(float(rng.normal()), 6) for _ in FEATURES],
    }  # fmt: skip
    return made


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A log of 6,000 pictures of version 1, of the last 2,000 a tenth with six times the noise.

    Then 2,000 of version 2, which sees other features and gives other scores; and some rows that
    nothing was measured of.
    """
    folder = tmp_path_factory.mktemp("log")
    rng = np.random.default_rng(0)
    writer = writer_of(folder)
    for number in range(8000):
        made = scored(number, rng, "1" if number < 6000 else "2")
        if 4000 <= number < 6000 and number % 10 == 0:
            made["data"]["noise"] = round(made["data"]["noise"] * 6, 6)
        if number >= 6000:
            made["data"]["score"] = round(made["data"]["score"] * 0.9, 4)
            made["data"]["features"] = [one + 1 for one in made["data"]["features"]]
        writer.add(made)
        if number % 3000 == 0:
            writer.add(row(3, reason="undecodable"))
            writer.add(row(4))
            writer.flush()
    writer.close()
    return folder


@pytest.fixture(scope="module")
def model_store(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of each version, whose card has a reference of that version's pictures."""
    folder = tmp_path_factory.mktemp("store")
    traffic = traffic_of(log)
    for version, end in (("iqa 1", 4000), ("iqa 2", 2000)):
        reference = fit(traffic[version].part(0, end).columns)
        with zipfile.ZipFile(folder / f"{version.replace(' ', '-')}.mar", "w") as archive:
            archive.writestr("model.json", json.dumps({"drift": reference.document()}))
    return folder


def run(capsys: pytest.CaptureFixture[str], out: Path, *options: str | Path) -> tuple[int, Any]:
    """Run the command; return its status and what it printed as JSON."""
    status = drift.main([*map(str, options), "--out", str(out), "--json"])
    printed = capsys.readouterr().out
    return status, json.loads(printed) if printed else None


def test_each_version_beside_its_own_archive(
    log: Path, model_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Version 1's pictures became noisy; version 2 sees them otherwise, and that is no drift."""
    out = tmp_path / "drift.html"
    status, told = run(capsys, out, "--prediction-log", log, "--reference", model_store)
    assert status == drift.MOVED
    one, two = told
    assert [window["verdict"] for window in one["windows"]] == ["nothing", "nothing", "pictures"]
    assert one["windows"][-1]["moved"] == ["noise"]
    assert (one["pictures"], two["version"]) == (6000, "iqa 2")
    assert [window["verdict"] for window in two["windows"]] == ["nothing"]
    page = out.read_text()
    assert "The pictures moved." in page and "Nothing moved." in page
    assert re.search(r"noise: \d+\.\d % of the pictures are in the range from ", page)
    assert page.count("<svg") == 4 and "http" not in re.sub(r'xmlns(:\w+)?="[^"]+"', "", page)


def test_another_model_on_the_same_pictures_is_the_model(
    log: Path, model_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Version 2 beside the reference of version 1."""
    status, told = run(
        capsys, tmp_path / "d.html", "--prediction-log", log, "--reference",
        model_store / "iqa-1.mar", "--since", "2026-11-05T04:00",
    )  # fmt: skip
    assert status == drift.MOVED
    assert [one["windows"][-1]["verdict"] for one in told] == ["model"]
    assert set(told[0]["windows"][-1]["moved"]) == {*FEATURES, "score"}


def test_a_log_beside_its_own_past(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Version 1 by all measures; version 2, which is not in it, by those of pictures alone."""
    past = ("--reference", log, "--reference-until", "2026-11-03T18:40")  # 4,000 minutes
    status, told = run(
        capsys, tmp_path / "d.html", "--prediction-log", log, *past, "--since", "2026-11-03T18:40"
    )
    one, two = told
    assert (status, one["windows"][-1]["verdict"]) == (drift.MOVED, "pictures")
    assert two["windows"][-1]["verdict"] == "nothing"
    assert not set(two["windows"][-1]["over_limit"]) & {*FEATURES, "score"}
    quiet = ("--since", "2026-11-02T10:00", "--until", "2026-11-03T18:40")
    assert run(capsys, tmp_path / "d.html", "--prediction-log", log, *past, *quiet)[0] == 0


def test_a_version_whose_archive_is_gone_is_left_out(
    log: Path, model_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are told all the same, and why one is not."""
    (tmp_path / "iqa-2.mar").write_bytes((model_store / "iqa-2.mar").read_bytes())
    out = tmp_path / "d.html"
    assert drift.main(
        ["--prediction-log", str(log), "--reference", str(tmp_path), "--out", str(out)]
    ) == 0  # fmt: skip
    printed = capsys.readouterr()
    assert printed.err.startswith("iqa 1: left out: --reference: expected")
    assert "Nothing moved. The newest 2,000 pictures of iqa 2" in printed.out


def test_rows_become_parquet_and_come_back(log: Path, tmp_path: Path) -> None:
    """With what was measured."""
    rows = list(rows_of(log))[:50]
    parquet.write(tmp_path / "one.parquet", rows)
    assert list(parquet.rows_of(tmp_path / "one.parquet")) == rows
    assert "features" in rows[0]["data"]


def test_what_is_no_reference_is_refused(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what was expected and what to do."""
    card = tmp_path / "model.json"
    card.write_text("{}")
    for place in (card, tmp_path / "none", tmp_path):
        out = tmp_path / "d.html"
        assert drift.main(
            ["--prediction-log", str(log), "--reference", str(place), "--out", str(out)]
        ) == 1  # fmt: skip
        assert not out.exists()
        assert capsys.readouterr().err.startswith("error: --reference: expected")
    with pytest.raises(ValueError, match="expected a prediction log for a time"):
        references_at(card, since="2026-11-01")


def test_a_log_of_which_nothing_was_measured_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of an archive without a reference: the message says how to get some."""
    writer = writer_of(tmp_path)
    writer.add(row(1))
    writer.close()
    status = drift.main(["--prediction-log", str(tmp_path), "--reference", str(tmp_path)])
    assert status == 1
    assert "training.drift_reference" in capsys.readouterr().err
