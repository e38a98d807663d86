"""The whole corpus against a real server, each bad request beside good ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.attack.conftest import workers_of
from tests.attack.corpus import FILES, FORMS, HEADERS, RAW, cuts
from tests.attack.disguises import SCRIPT
from tests.attack.fuzz import default_seeds
from tests.attack.mutations import mutate
from tests.attack.pieces import SMALL_JPEG
from tests.images import encode, photograph
from tests.server import RunningServer

GOOD = encode(photograph(160, 120), "JPEG")
AT_ONCE = 6  # three workers' worth of pairs, so that the queue makes mixed batches
MAX_PEAK_BYTES = 1_500_000_000
MAX_CPU_S = 30.0  # of all workers, for the whole corpus: 7 on a slow machine
MUTATED = 400
LEFT_BEHIND = ("iqa-a-pickle-was-loaded", "iqa-a-shell-ran")

Ask = Callable[[], requests.Response]
Named = tuple[str, Ask]


@pytest.fixture
def alone(unharmed: RunningServer) -> float:
    """The score of the good picture, without company."""
    return float(unharmed.score(GOOD)["score"])


def _beside_good_ones(
    door: RunningServer, alone: float, bad: Iterable[Named]
) -> Iterator[tuple[str, requests.Response]]:
    """Send each bad request at the same time as a good one, several pairs at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [
            (name, pool.submit(ask), pool.submit(door.score, GOOD)) for name, ask in bad
        ]  # fmt: skip
        for name, reply, good in waiting:
            assert good.result()["score"] == alone, f"beside {name}"
            yield name, reply.result()


def _problem(reply: requests.Response, status: int, reason: str | None = None) -> str | None:
    """Return what is wrong with a reply, or None; a refusal has to help."""
    if reply.status_code != status:
        return f"expected {status}, got {reply.status_code}: {reply.text[:300]}"
    document = reply.json()
    if status == 200:
        return None if 0 <= document["score"] <= 100 else f"no score: {document}"
    if not {"code", "type", "message", "reason"} <= set(document):
        return f"not in our form: {document}"
    if document["code"] != status or reason not in (None, document["reason"]):
        return f"expected {reason}, got {document}"
    words = document["message"]
    if ": expected " not in words or ", got " not in words or len(words) > 600:
        return f"a message that does not help: {words[:600]}"
    return None


def _sender(door: RunningServer, build: Callable[[], bytes]) -> Ask:
    return lambda: door.post(build(), headers=RAW)


def test_every_bad_file_gets_its_own_answer_and_hurts_nobody(
    unharmed: RunningServer, alone: float
) -> None:
    """Only what the tables say; good pictures sent at the same time score as they do alone."""
    bad = [(name, _sender(unharmed, odd.build)) for name, odd in FILES.items()]
    before = workers_of(unharmed)
    problems = {
        name: _problem(reply, FILES[name].status, FILES[name].reason)
        for name, reply in _beside_good_ones(unharmed, alone, bad)
    }
    assert {name: problem for name, problem in problems.items() if problem} == {}
    after = workers_of(unharmed)
    assert after.peak_bytes < MAX_PEAK_BYTES
    assert after.cpu_s - before.cpu_s < MAX_CPU_S, "they kept the others waiting"
    assert [name for name in LEFT_BEHIND if (Path("/tmp") / name).exists()] == []


def test_a_picture_cut_anywhere_hurts_nobody(unharmed: RunningServer, alone: float) -> None:
    """At every tenth byte: 400, each beside a good picture."""
    bad = [(name, _sender(unharmed, lambda body=body: body)) for name, body in cuts()]
    problems = {
        name: _problem(reply, 400) for name, reply in _beside_good_ones(unharmed, alone, bad)
    }
    assert {name: problem for name, problem in problems.items() if problem} == {}


def test_changed_files_hurt_nobody(unharmed: RunningServer, alone: float) -> None:
    """Hundreds of the fuzzer's files in mixed batches: 200 or one of our refusals."""
    seeds, rng = default_seeds(), random.Random(7)
    bodies = [mutate(rng, rng.choice(seeds), seeds) for _ in range(MUTATED)]
    bad = [(str(i), _sender(unharmed, lambda body=body: body)) for i, body in enumerate(bodies)]
    statuses = set()
    for name, reply in _beside_good_ones(unharmed, alone, bad):
        assert _problem(reply, reply.status_code) is None, (name, reply.text[:300])
        assert reply.status_code in (200, 400, 413, 415, 422), name
        statuses.add(reply.status_code)
    assert {200, 400} <= statuses


def test_every_odd_form_gets_its_answer_and_hurts_nobody(
    server: RunningServer, unharmed: RunningServer, alone: float
) -> None:
    """JSON, forms and false headers: scored where a picture is in it, else told what to send."""

    def sender(make: Callable[[], dict[str, Any]]) -> Ask:
        arguments = make()
        return lambda: unharmed.post(arguments.pop("data", None), **arguments)

    bad = ((name, sender(form.make)) for name, form in FORMS.items())
    problems = {}
    for name, reply in _beside_good_ones(unharmed, alone, bad):
        form = FORMS[name]
        is_bare = unharmed is server and form.bare is not None
        status = form.bare if is_bare else form.status
        if is_bare and status in (413, 500):  # in TorchServe's words: docs/security.md
            problems[name] = None if reply.status_code == status else reply.text
        else:
            problems[name] = _problem(reply, status)
            if status != 200 and problems[name] is None and not is_bare:
                assert form.word in reply.json()["message"], (name, reply.text)
    assert {name: problem for name, problem in problems.items() if problem} == {}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_change_no_score(unharmed: RunningServer, alone: float, name: str) -> None:
    """Whatever a client says in a header, a good picture gets its score."""
    headers = {key: value.encode() for key, value in HEADERS[name].items()}
    reply = unharmed.post(GOOD, headers={**RAW, **headers})
    assert reply.status_code == 200, reply.text
    assert reply.json()["score"] == alone


def test_a_reply_is_never_a_page(door: RunningServer) -> None:
    """What a client sent in a name comes back as JSON, which no browser runs."""
    script = SCRIPT.decode()
    for reply in (
        door.post(files={script: ("a.jpg", SMALL_JPEG), "b": ("b.jpg", SMALL_JPEG)}),
        door.post(json={script: script}),
        door.post(json={"image": f"data:{script},"}),
    ):
        assert reply.status_code == 400
        assert reply.headers["content-type"] == "application/json"
