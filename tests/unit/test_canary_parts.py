"""Canary and shadow: options, what the front's log says, pairs; no server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts import deploy
from scripts.nginx.split import SplitFront
from scripts.rollout import shadow
from scripts.rollout.candidate_counts import count
from scripts.rollout.candidate_verdict import Arm
from scripts.rollout.deployment_records import Records, Trial
from scripts.rollout.metrics import SidecarMetrics
from scripts.rollout.settings import CanarySteps, Deployment
from scripts.server.http_client import NotNow
from scripts.server.state import StateDir

HERE, NEW, DOOR = "127.0.0.1:8084", "unix:/state/front/new.sock", "unix:/state/front/old.sock"


@pytest.mark.parametrize("shares", ["5,25", "100", "25,5,100", "0,100", "5,5,100", "five,100", ""])
def test_shares_that_do_not_rise_to_100_are_a_wrong_usage(
    shares: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, before anything is asked."""
    with pytest.raises(SystemExit) as end:
        deploy.main(["sync", "--canary", shares])
    assert end.value.code == 2
    assert "--canary" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["sync", "--canary", "5,100", "--shadow", "10"],
        ["sync", "--shadow", "10", "--watch"],
        ["sync", "--shadow", "10", "--all"],
        ["status", "--canary", "5,100"],
        ["rollback", "--shadow", "5"],
        ["sync", "--shadow", "10", "--canary", "5,100"],
    ],
)
def test_options_that_do_not_go_together_are_refused(words: list[str]) -> None:
    """And those of another command."""
    with pytest.raises(SystemExit) as end:
        deploy.main(words)
    assert end.value.code == 2


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--shadow", "0"), ("--shadow", "150"), ("--shadow", "nan"), ("--poll-s", "0"),
        ("--poll-s", "-5"), ("--watch-s", "nan"), ("--watch-s", "-1"), ("--step-s", "inf"),
        ("--longest-request-s", "-1"), ("--longest-request-s", "soon"),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_meant_are_refused(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A share of 0 is not a sync, and a pause of 0 or a wait for ever is nobody's wish."""
    with pytest.raises(SystemExit) as end:
        deploy.main(["sync", option, value])
    assert end.value.code == 2
    assert f"argument {option}: expected a number " in capsys.readouterr().err


def test_steps_without_length_are_refused() -> None:
    """Nothing could be judged in them."""
    assert CanarySteps(shares=(5.0, 100.0)).step_s == 600
    for wrong in ({"step_s": 0.0}, {"min_answers": 0}, {"score_shift": 1.5}):
        with pytest.raises(ValueError, match="expected --step-s above 0"):
            CanarySteps(shares=(5.0, 100.0), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arm", "asked", "answers", "seconds", "what"),
    [
        ("new", NEW, "200", "0.031", "scored"),
        ("new", NEW, "415", "0.002", "refused"),
        ("new", f"{NEW}, {DOOR}", "500, 200", "0.1, 0.03", "failed"),
        ("new", f"{NEW}, {DOOR}", "504, 200", "5.0, 0.03", "failed"),
        ("new", f"{NEW}, {DOOR}", "404, 200", "0.0, 0.03", "failed"),
        ("new", f"{NEW}, {DOOR}", "503, 503", "0.1, 0.0", "failed"),
        ("new", DOOR, "200", "0.03", "kept out"),
        ("new", "canary", "502", "0.0", "kept out"),
        ("old", HERE, "200", "0.031", "scored"),
        ("old", f"{HERE}, {HERE}", "502, 200", "0.0, 0.031", "scored"),
        ("old", HERE, "413", "0.002", "refused"),
        ("old", HERE, "503", "0.1", "failed"),
        ("old", "torchserve", "502", "0.0", "kept out"),
        ("old", "", "", "", "kept out"),
    ],
)
def test_a_line_of_the_front_counts_for_whom_it_is_about(
    arm: str, asked: str, answers: str, seconds: str, what: str
) -> None:
    """The candidate is the first that was asked, the old version the last."""
    counted = Arm()
    count(counted, {"arm": arm, "asked": asked, "answers": answers, "seconds": seconds})
    found = {
        "scored": len(counted.seconds), "refused": counted.refused,
        "failed": counted.failed, "kept out": counted.kept_out,
    }  # fmt: skip
    assert [name for name, number in found.items() if number] == [what]
    if what == "scored":
        assert counted.seconds == [float(seconds.split(", ")[-1])]


def _row(version: str, request_id: str, score: float | None, subject: str = "a") -> dict[str, Any]:
    kind = "rejected" if score is None else "scored"
    label = {} if score is None else {"score": score, "label": "good" if score > 60 else "fair"}
    return {
        "type": f"iqa.prediction.{kind}", "version": version, "request_id": request_id,
        "subject": subject, **label,
    }  # fmt: skip


def test_copies_are_paired_by_an_id_that_is_theirs_alone() -> None:
    """Not by an id that came twice, nor where the picture is another, nor a golden image."""
    rows = [
        _row("1", "a", 70.0), _row("2", "a", 72.0),
        _row("2", "b", 66.0), _row("1", "b", 65.0),  # in any order
        _row("1", "c", 61.0), _row("2", "c", None),
        _row("1", "twice", 50.0), _row("1", "twice", 90.0), _row("2", "twice", 51.0),
        _row("1", "other", 50.0, "x"), _row("2", "other", 51.0, "y"),
        _row("2", "golden", 80.0),
        _row("1", "not copied", 70.0), _row("3", "a", 1.0),
    ]  # fmt: skip
    found = shadow.paired(rows, "1", "2")
    assert [(old["score"], new["score"]) for old, new in found.scored] == [(70, 72), (65, 66)]
    assert [new["request_id"] for _, new in found.one_sided] == ["c"]
    assert found.unmatched == 3


def test_the_report_says_by_how_much_and_how_sure() -> None:
    """The mean difference with its interval by hand, labels, those scored by one alone."""
    rows = []
    for number, (old, new) in enumerate([(70, 71), (50, 53), (80, 82), (61, 59), (40, 41)]):
        rows += [_row("1", str(number), float(old)), _row("2", str(number), float(new))]
    rows += [_row("1", "c", 61.0), _row("2", "c", None)]
    lines = shadow.report(shadow.paired(rows, "1", "2"))
    # Differences 1, 3, 2, -2, 1: mean 1, standard error 0.8367, t(4) = 2.776.
    assert "by +1.00 points in the mean (95% interval -1.32 to +3.32), by 1.80 in size" in lines[0]
    assert "the most 3.00 (request 1)" in lines[0]
    assert lines[1].startswith("labels are the same for 80.0% (95% interval 37.6% to 96.4%)")
    assert lines[2].startswith("1 were scored by the old version alone, 0 by the new one")
    assert shadow.report(shadow.paired([], "1", "2"))[0] == "0 pictures were scored by both"


def _no_server() -> Deployment:
    raise NotNow("none")


def _shares_told(metrics: SidecarMetrics) -> dict[str, float]:
    family = next(one for one in metrics.families() if one.name == "iqa_trial_share")
    return {sample.labels["kind"]: sample.value for sample in family.samples}


def test_a_trial_is_on_record(tmp_path: Path) -> None:
    """And a record of before, which has none, can still be read."""
    records = Records(state=StateDir.at(tmp_path), model_name="iqa")
    trial = Trial(kind="canary", version="2", share=5.0, step=1, steps=3, since_s=1.0)
    with records.changing() as record:
        record.trial = trial
    assert records.read().trial == trial
    told = SidecarMetrics(_no_server, "staging", records)
    assert _shares_told(told) == {"canary": 0, "shadow": 0}  # nothing is given
    records.state.front.mkdir()
    SplitFront(records.state.front).give(1)
    assert _shares_told(told) == {"canary": 0.05, "shadow": 0}
    path = tmp_path / "rollouts" / "iqa.json"
    old = '{"alias_version": "1", "good": [], "hold": null, "quarantine": null}'
    path.write_text(old)
    assert records.read().trial is None
