"""Every file of the corpus in process: its answer, what it costs, and what its neighbours get."""

from __future__ import annotations

import json
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from iqa.errors import ImageRejected
from iqa.imaging.decoding import decode
from ts.context import Context, RequestProcessor

from iqa_handler import IQAHandler
from tests.attack.bombs import BOMBS
from tests.attack.broken import BROKEN
from tests.attack.corpus import FILES, cuts
from tests.attack.disguises import DISGUISES
from tests.attack.heif_corpus import HEIF_BOMBS, HEIF_BROKEN
from tests.images import encode, photograph
from tests.request_rows import picture_of
from tests.unit.test_handler import make_context

NEW = {
    **DISGUISES,
    **BROKEN,
    **BOMBS,
    **HEIF_BROKEN,
    **HEIF_BOMBS,
}  # the others: tests/unit/test_decoding.py
MAX_CPU_S = 2.0
MAX_MEMORY_BYTES = 1_200_000_000
GOOD = encode(photograph(160, 120), "JPEG")
PORTRAIT = encode(photograph(120, 160, seed=1), "PNG")


@contextmanager
def little_memory(size: int) -> Iterator[None]:
    """Let this process have only so many bytes more of address space."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_the_corpus_is_large() -> None:
    """At least 80 bad inputs, beside the two families of cut files."""
    assert len([name for name, odd in FILES.items() if odd.status != 200]) >= 80
    assert len(list(cuts())) > 100


@pytest.mark.parametrize("name", NEW)
def test_a_bad_file_is_answered_as_the_table_says_and_cheaply(name: str) -> None:
    """Its own reason, or a result with a warning; under 2 s of processor time and 1.2 GB."""
    odd = NEW[name]
    body = odd.body
    del odd.__dict__["body"]  # 31 MB that nobody needs again
    started_s = time.process_time()
    with little_memory(MAX_MEMORY_BYTES):
        try:
            decoded = decode(picture_of({"body": body}))
            decoded.pixels()
            got: tuple[Any, ...] = (200, None, decoded.warnings)
        except ImageRejected as error:
            got = (error.status, error.reason, ())
            assert len(str(error)) < 400, str(error)[:500]
            assert ": expected " in str(error)
    taken_s = time.process_time() - started_s
    assert got == (odd.status, odd.reason, odd.warnings)
    assert taken_s < MAX_CPU_S


def test_a_picture_cut_anywhere_is_refused() -> None:
    """A JPEG and a PNG, cut at every tenth byte: 400, truncated or undecodable."""
    for name, body in cuts():
        with pytest.raises(ImageRejected) as caught:
            decode(body)
        assert caught.value.status == 400, name


@pytest.fixture(scope="module")
def loaded(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[IQAHandler, Context]:
    """A handler with an untrained network, on the torch runtime."""
    folder = tmp_path_factory.mktemp("unpacked")
    shutil.copytree(untrained, folder, dirs_exist_ok=True)
    (folder / "provenance.json").write_text(json.dumps({"model": {"name": "iqa", "version": "7"}}))
    handler, context = IQAHandler(), make_context(folder)
    handler.initialize(context)
    return handler, context


def _answers(
    loaded: tuple[IQAHandler, Context], bodies: list[bytes]
) -> tuple[list[Any], list[int]]:
    handler, context = loaded
    context.request_processor = [RequestProcessor({}) for _ in bodies]
    context.request_ids = {index: str(index) for index in range(len(bodies))}
    replies = handler.handle([{"body": bytearray(body)} for body in bodies], context)
    return [json.loads(reply) for reply in replies], [
        context.get_response_status(index)[0] or 200 for index in range(len(bodies))
    ]


def test_neighbours_in_a_batch_are_unhurt(loaded: tuple[IQAHandler, Context]) -> None:
    """Among ten bad files, two good pictures get the scores that they get alone."""
    alone = [_answers(loaded, [body])[0][0]["score"] for body in (GOOD, PORTRAIT)]
    names = sorted(name for name, odd in NEW.items() if len(odd.build()) < 1_000_000)
    for start in range(0, len(names), 10):
        some = names[start : start + 10]
        bodies = [GOOD, *(NEW[name].build() for name in some), PORTRAIT]
        replies, statuses = _answers(loaded, bodies)
        assert statuses == [200, *(NEW[name].status for name in some), 200], some
        got = [replies[0]["score"], replies[-1]["score"]]
        assert got == pytest.approx(alone, abs=0.01), some
