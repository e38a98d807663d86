"""One nginx for the tests of a file; each begins without a split."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dry_front import Dry


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dry]:
    """One nginx for all tests; each begins without a split."""
    dry = Dry(tmp_path_factory.mktemp("front") / "front")
    yield dry
    dry.front.kill()


@pytest.fixture
def dry(front: Dry) -> Iterator[Dry]:
    """The same, with the counts at 0."""
    front.stub.version_2 = "200"
    front.stub.asked.clear()
    front.stub.heads.clear()
    yield front
    front.split.end()
