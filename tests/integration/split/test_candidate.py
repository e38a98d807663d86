"""What the candidate answers, and what it leaves to the old version."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from scripts.nginx.split import Split, SplitFront
from tests.dry_front import BODY, Dry, canary


@pytest.mark.alone
@pytest.mark.parametrize("how", ["500", "503", "507", "404", "killed", "hang"])
def test_what_the_candidate_does_not_answer_the_old_version_does(dry: Dry, how: str) -> None:
    """No client sees its failure; the log says whom it concerns; a hang costs five seconds."""
    dry.split.begin(canary(shares=(100.0,)))
    dry.split.give(1)
    dry.stub.version_2 = how
    begin_s = time.monotonic()
    for path in ("/predictions/iqa", "/predict", "/explanations/iqa"):
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda key, p=path: dry.ask(str(key), p), range(8)))
        assert {(reply.status_code, reply.text) for reply in replies} == {(200, "1 2000")}
    assert time.monotonic() - begin_s < (17 if how == "hang" else 5)
    lines = dry.lines()
    assert len(lines) == 24
    for line in lines:
        assert (line["arm"], line["status"]) == ("new", "200")
        first, last = line["answers"].split(", ")
        no_answer = ("killed", "hang", "507")
        assert (first, last) == ("504" if how in no_answer else how, "200")
        assert line["asked"] == f"unix:{dry.folder}/new.sock, unix:{dry.folder}/old.sock"


@pytest.mark.alone
def test_nobody_waits_for_copies(dry: Dry) -> None:
    """A candidate that gets copies and hangs is mute."""
    dry.split.begin(Split(kind="shadow", model_name="iqa", version="2", shares=(10.0,)))
    dry.split.give(1)
    dry.stub.version_2 = "hang"
    begin_s = time.monotonic()
    with requests.Session() as session:
        for _ in range(100):
            url = f"http://127.0.0.1:{dry.port}/predictions/iqa"
            assert session.post(url, data=BODY, timeout=5).text == "1 2000"
    assert time.monotonic() - begin_s < 5
    assert dry.stub.asked["/predictions/iqa/2"] > 0


def test_what_a_hanging_candidate_has_in_hand_at_the_end_is_answered(dry: Dry) -> None:
    """The reload waits until they have fallen back to the old version."""
    front = SplitFront(dry.folder)
    front.begin(canary(shares=(100.0,)))
    front.give(1)
    dry.stub.version_2 = "hang"
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(dry.ask, str(key)) for key in range(8)]
        time.sleep(0.5)
        front.end()
        replies = [one.result() for one in asked]
    assert {(reply.status_code, reply.text) for reply in replies} == {(200, "1 2000")}


def test_a_refusal_of_the_picture_is_the_candidates_own(dry: Dry) -> None:
    """A 400 of the handler comes through as it is: another version would refuse it as well."""
    dry.split.begin(canary(shares=(100.0,)))
    dry.split.give(1)
    dry.stub.version_2 = "400"
    reply = dry.ask()
    assert (reply.status_code, reply.text) == (400, "its")
    assert dry.stub.asked["/predictions/iqa"] == 0


def test_the_old_version_gets_what_the_candidate_got(dry: Dry) -> None:
    """The request that falls back has the same headers, and the time of its arrival anew."""
    dry.split.begin(canary(shares=(100.0,)))
    dry.split.give(1)
    dry.stub.version_2 = "500"
    dry.ask(path="/predict", **{"X-Request-ID": "one", "X-Top-K": "3", "Accept": "image/png"})
    asked, fallen = (
        {line.split(b":")[0].lower(): line for line in head.split(b"\r\n")[1:] if line}
        for head in dry.stub.heads
    )
    assert asked.keys() - {b"connection"} == fallen.keys() - {b"connection"}
    names = (b"x-request-id", b"x-top-k", b"accept", b"x-image-name", b"content-length")
    for name in names:
        assert asked[name].lower() == fallen[name].lower()


def test_nothing_else_is_split_and_no_version_can_be_asked_for(dry: Dry) -> None:
    """Other models go where they went; a path with a version is refused as ever."""
    dry.split.begin(canary(shares=(100.0,)))
    dry.split.give(1)
    assert dry.ask(path="/predictions/other.one").text == "1 2000"
    for path in ("/predictions/iqa/2", "/predictions/iqa/1", "/.shadow"):
        refused = dry.ask(path=path)
        assert (refused.status_code, refused.json()["reason"]) == (404, "not_found")
    assert dry.stub.asked == {"/predictions/other.one": 1}


def test_the_limits_hold_for_the_candidates_share(dry: Dry) -> None:
    """A body above the limit is 413 in our shape, by its length and in pieces."""
    dry.split.begin(canary(shares=(100.0,)))
    dry.split.give(1)
    url = f"http://127.0.0.1:{dry.port}/predictions/iqa"
    most = int(dry.settings["FRONT_MAX_BYTES"])
    pieces = (b"x" * 2**20 for _ in range(most // 2**20 + 2))
    for body in (b"x" * (most + 1), pieces):
        refused = requests.post(url, data=body, timeout=20)
        assert (refused.status_code, refused.json()["reason"]) == (413, "too_many_bytes")
    assert dry.stub.asked == {}
