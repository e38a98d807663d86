"""Who gets the candidate: its share, the same clients again, copies."""

from __future__ import annotations

import asyncio
import collections

import pytest
import requests

from scripts.nginx.split import Split
from tests.dry_front import BODY, STEPS, Dry, canary

PIPELINED = 25
"""Requests sent before the first answer is read: a connection answers them in their order."""


async def _versions(port: int, keys: list[str]) -> dict[str, str]:
    """Return which version answers each key, asked on eight connections that are kept."""
    found: dict[str, str] = {}

    async def ask(part: list[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for begin in range(0, len(part), PIPELINED):
            some = part[begin : begin + PIPELINED]
            for key in some:
                head = f"POST /predictions/iqa HTTP/1.1\r\nHost: x\r\nX-Sticky-Key: {key}\r\n"
                writer.write(f"{head}Content-Length: 1\r\n\r\nx".encode())
            for key in some:
                told = await reader.readuntil(b"\r\n\r\n")
                length = int(told.lower().split(b"content-length:")[1].split()[0])
                answer = await reader.readexactly(length)
                assert told.startswith(b"HTTP/1.1 200"), told
                found[key] = answer.split()[0].decode()
        writer.close()

    await asyncio.gather(*(ask(keys[i::8]) for i in range(8)))
    return found


def _share(found: dict[str, str]) -> float:
    return 100 * sum(version == "2" for version in found.values()) / len(found)


def test_each_step_has_its_share_of_20000_and_who_had_it_keeps_it(dry: Dry) -> None:
    """Within half a point; the same keys at every try, and those of 5 % are among the 25 %."""
    keys = [f"client-{number}" for number in range(20_000)]
    split = canary()
    dry.split.begin(split)
    assert _share(asyncio.run(_versions(dry.port, keys[:500]))) == 0  # nothing was given yet
    shares, candidates = [], []
    for step in (1, 2, 3):
        dry.split.give(step)
        found = asyncio.run(_versions(dry.port, keys))
        shares.append(_share(found))
        candidates.append({key for key, version in found.items() if version == "2"})
    assert shares == pytest.approx(STEPS, abs=0.5), shares
    assert candidates[0] < candidates[1] < candidates[2]
    dry.split.take_back()
    assert _share(asyncio.run(_versions(dry.port, keys[:500]))) == 0
    dry.split.give(1)
    again = asyncio.run(_versions(dry.port, keys[:2000]))
    assert {key for key, version in again.items() if version == "2"} <= candidates[0]
    assert dry.stub.asked["/predictions/iqa/2"] > 20_000


def test_another_version_falls_to_other_clients(dry: Dry) -> None:
    """The lot is the version's: not always the same clients get what is new first."""
    keys = [f"client-{number}" for number in range(1000)]
    drawn = []
    for version in ("2", "3"):
        dry.split.begin(canary(version, (25.0,)))
        dry.split.give(1)
        found = asyncio.run(_versions(dry.port, keys))
        drawn.append({key for key, answered in found.items() if answered == version})
    assert 150 < len(drawn[0]) < 350
    assert 20 < len(drawn[0] & drawn[1]) < 120  # a quarter of a quarter, and not all


def test_without_a_key_the_address_decides(dry: Dry) -> None:
    """One client, one version, on every connection and path."""
    dry.split.begin(canary(shares=(50.0,)))
    dry.split.give(1)
    url = f"http://127.0.0.1:{dry.port}"
    answers = {
        requests.post(f"{url}{path}", data=BODY, timeout=5).text
        for path in ("/predictions/iqa", "/predict", "/explanations/iqa")
        for _ in range(5)
    }
    assert len(answers) == 1


def test_copies_are_a_share(dry: Dry) -> None:
    """Of 2,000 requests a tenth is copied, with its id and body."""
    dry.split.begin(Split(kind="shadow", model_name="iqa", version="2", shares=(10.0,)))
    dry.split.give(1)
    with requests.Session() as session:
        for number in range(2000):
            reply = session.post(
                f"http://127.0.0.1:{dry.port}/predictions/iqa",
                data=BODY, headers={"X-Request-ID": f"id-{number}"}, timeout=5,
            )  # fmt: skip
            assert reply.text == "1 2000"
    copies = dry.stub.asked["/predictions/iqa/2"]
    assert 160 < copies < 240, copies
    assert dry.stub.asked["/predictions/iqa"] == 2000
    ids = collections.Counter(_id_of(head) for head in dry.stub.heads)
    assert sum(count == 2 for count in ids.values()) == copies


def _id_of(head: bytes) -> bytes:
    return head.lower().split(b"x-request-id:")[1].split(b"\r\n")[0].strip()


@pytest.mark.parametrize("shares", [(), (0.0, 5.0), (5.0, 5.0), (25.0, 5.0), (5.0, 101.0)])
def test_shares_rise(shares: tuple[float, ...]) -> None:
    """Each step adds to the one before."""
    with pytest.raises(ValueError, match="shares: expected rising ones"):
        canary(shares=shares)
