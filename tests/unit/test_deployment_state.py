"""What deployments leave on record: whole or not at all, and one process at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from scripts.rollout.deployment_records import KEPT_GOOD, Good, Hold, Quarantine, Record, Records
from scripts.server.state import StateDir


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Records in a state folder of the test's own."""
    return Records(state=StateDir.at(tmp_path), model_name="iqa")


def good(version: str) -> Good:
    """A version that was served."""
    return Good(version=version, mar=f"iqa-{version}.mar", sha256=version * 64)


def hold(version: str, alias_version: str | None) -> Hold:
    """A rollback to `version` that MLflow does not know of."""
    return Hold(version=version, alias_version=alias_version, reason="rollback", since_s=1.0)


REFUSED = Quarantine(version="2", reason="not golden", since_s=0.0)


def test_what_is_written_is_read(records: Records) -> None:
    """A record with everything in it comes back as it was."""
    with records.changing() as record:
        record.alias_version = "4"
        record.good = [good("1"), good("3")]
        record.hold = hold("3", "4")
        record.quarantine = Quarantine(version="4", reason="not golden", since_s=2.0)
        record.retired_at_s = {"1": 3.5}
        record.no_standby = "1"
        record.last_error = "not golden"
    assert records.read() == record


def test_a_change_that_fails_leaves_the_record_as_it_was(records: Records) -> None:
    """An exception inside writes nothing."""
    with records.changing() as record:
        record.alias_version = "1"
    with pytest.raises(ValueError, match="meanwhile"), records.changing() as record:
        record.alias_version = "2"
        raise ValueError("meanwhile")
    assert records.read().alias_version == "1"


def test_a_full_disk_leaves_the_record_as_it_was(records: Records, tmp_path: Path) -> None:
    """A write that fails halfway is said, and the old record is whole."""
    with records.changing() as record:
        record.alias_version = "1"
    (tmp_path / "rollouts" / "iqa.json.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"), records.changing() as record:
        record.alias_version = "2"
    assert records.read().alias_version == "1"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"good": [{"version": "1"}]}'])
def test_a_file_that_is_no_record_counts_as_none(
    records: Records, tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Damage is said, and deployments begin with an empty record."""
    (tmp_path / "rollouts").mkdir()
    (tmp_path / "rollouts" / "iqa.json").write_text(content)
    assert records.read() == Record()
    assert "expected a record of deployments" in caplog.text


def test_the_record_of_the_one_model_there_was_is_found(records: Records, tmp_path: Path) -> None:
    """An update in place keeps what the older version knew, for its one model and no other."""
    with records.changing() as record:
        record.alias_version = "4"
    (tmp_path / "rollouts" / "iqa.json").rename(tmp_path / "deployment.json")
    assert records.read().alias_version == "4"
    assert Records(state=records.state, model_name="portraits").read() == Record()
    with records.changing() as record:
        record.alias_version = "5"
    assert records.read().alias_version == "5"


def test_two_models_have_records_and_locks_of_their_own(records: Records) -> None:
    """What is said of one is not said of the other, and neither waits for the other."""
    other = Records(state=records.state, model_name="portraits")
    with records.changing() as record, other.changing() as theirs:
        record.refuse("2", "not golden")
        theirs.add_good(good("2"))
    assert (records.read().current(), other.read().quarantine) == (None, None)
    with records.one_sync_at_a_time(), other.one_sync_at_a_time(wait_s=0.0):
        pass


def test_the_good_versions_say_where_a_rollback_leads() -> None:
    """Each stands once, the current one last; a rollback forgets what came after."""
    record = Record()
    assert (record.current(), record.previous(), record.before("1")) == (None, None, None)
    for version in ("1", "2", "3", "1"):
        record.add_good(good(version))
    assert [each.version for each in record.good] == ["2", "3", "1"]
    assert (record.current(), record.previous()) == (good("1"), good("3"))
    assert record.before("9") == good("1")  # a new one is served that is not yet good
    record.go_back_to("3")
    assert [each.version for each in record.good] == ["2", "3"]
    for number in range(20):
        record.add_good(good(str(number)))
    assert len(record.good) == KEPT_GOOD


def test_a_refused_version_is_not_good_and_not_held() -> None:
    """What failed is where no rollback leads."""
    record = Record(good=[good("1"), good("2")], hold=hold("2", "3"))
    record.refuse("2", "it does not load")
    assert (record.current(), record.hold) == (good("1"), None)
    assert record.quarantine is not None
    assert (record.quarantine.version, record.quarantine.reason) == ("2", "it does not load")


@pytest.mark.parametrize(
    ("record", "alias_version", "served"),
    [
        (Record(good=[good("1")]), "2", None),
        (Record(good=[good("1"), good("2")], hold=hold("1", "2")), "2", "1"),
        (Record(good=[good("1"), good("2")], hold=hold("1", None)), "2", "1"),
        (Record(good=[good("1"), good("2")], hold=hold("1", "2")), "3", None),
        (Record(good=[good("1")], quarantine=REFUSED), "2", "1"),
        (Record(good=[good("1")], quarantine=REFUSED), "3", None),
        (Record(quarantine=REFUSED), "2", None),
    ],
    ids=["nothing", "hold", "hold, alias unknown", "moved since", "quarantine", "other", "no good"],
)  # fmt: skip
def test_a_start_serves_a_good_version_in_place_of_a_refused_one(
    record: Record, alias_version: str, served: str | None
) -> None:
    """A hold or a quarantine counts for the version that the alias named then, and no other."""
    instead = record.instead_of(alias_version)
    assert (instead[0].version if instead else None) == served


def _keep(records: Records, pipe: multiprocessing.connection.Connection) -> None:
    with records.one_sync_at_a_time():
        pipe.send("held")
        time.sleep(60)


def test_a_lock_is_said_and_ends_with_its_process(records: Records) -> None:
    """The second one is told who holds it; SIGKILL of the holder releases it."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_keep, args=(records, theirs))
    process.start()
    assert ours.recv() == "held"
    held_by = f"got process {process.pid} still at it"
    with (
        pytest.raises(TimeoutError, match=held_by),
        records.one_sync_at_a_time(wait_s=0.1),
    ):
        raise AssertionError("not reached")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with records.one_sync_at_a_time(wait_s=5.0):
        pass
