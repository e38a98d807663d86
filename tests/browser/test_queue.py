"""What goes wrong on the way: a server that restarts, swaps or is away, and people who cancel."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from iqa.network import checkpoint

from benchmarks.reliability.versions import add_version, put_on_record
from console.paths import ROOT
from tests.browser.watched import Watched
from tests.quick import Quick
from tests.server import MakeServer, RunningServer
from training.registry import address, model_versions, promotion, tracking
from training.registry.pretrained import PRETRAINED

PARROTS = ROOT / "handler" / "golden" / "parrots.jpg"
Open = Callable[..., Watched]


@pytest.fixture(scope="module")
def two_versions(
    empty_store: Path,
    quick: Quick,
    make_server: MakeServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    """A server behind a front of its own, which serves version 1 and may be given version 2."""
    store = tmp_path_factory.mktemp("registry") / "mlflow.db"
    shutil.copyfile(empty_store, store)
    two_versions = make_server(f"sqlite:///{store}")
    two_versions.environment["WORKERS"] = "1"
    two_versions.model_store.mkdir()
    shutil.copy(quick.archive, two_versions.model_store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", two_versions.environment["MLFLOW_TRACKING_URI"])
        address.connect()
        tracking.select_experiment("page")
        with mlflow.start_run():
            promotion.register("iqa", None, PRETRAINED, checkpoint.load_card(PRETRAINED))
        put_on_record(two_versions.model_store, "1")
        model_versions.move_alias("iqa", "staging", "1", "test")
        added = add_version(two_versions.model_store)
        two_versions.start()
        model_versions.move_alias("iqa", "staging", str(added), "test")
        yield two_versions


@pytest.fixture(scope="module")
def its_url(two_versions: RunningServer) -> str:
    """Its address."""
    return two_versions.url("INFERENCE_PORT", "")


def test_a_swap_in_the_middle_of_a_queue(
    open_page: Open, two_versions: RunningServer, its_url: str, pictures: list[Path]
) -> None:
    """Every picture gets its score; the last ones get it from the new version."""
    window = open_page(its_url)
    sync = subprocess.Popen(
        [sys.executable, "-m", "scripts.deploy", "sync", "--watch-s", "0.5"],
        cwd=ROOT,
        env={**os.environ, **two_versions.environment},
    )
    given = 0
    while sync.poll() is None or given == 0:
        window.give(*pictures[:8])
        given += 8
        window.settled(given)
    assert sync.wait() == 0
    window.give(*pictures[:4])
    window.settled(given + 4)
    assert len(window.scores()) == given + 4
    assert window.page.locator("#served").inner_text() == "iqa, version 2"


def test_a_server_that_dies_and_is_started_again(
    open_page: Open, two_versions: RunningServer, its_url: str, pictures: list[Path]
) -> None:
    """TorchServe is killed; the front says 503, the page waits as told, and no picture is lost."""
    window = open_page(its_url)
    window.give(*pictures[:30])
    window.settled(3)
    os.killpg(two_versions.state()["group"], signal.SIGKILL)
    banner = window.page.locator("#banner")
    banner.wait_for()
    assert "The server does not answer." in banner.inner_text()
    window.settled(30)
    banner.wait_for(state="hidden")
    assert len(window.scores()) == 30
    assert set(window.statuses) >= {200, 503}


def test_a_lost_network_comes_back(open_page: Open, pictures: list[Path]) -> None:
    """Pictures wait, and go on by themselves."""
    window = open_page()
    window.page.context.set_offline(True)
    window.give(*pictures[:6])
    window.page.locator("#banner").wait_for()
    assert "6 waiting" in window.page.locator("#banner").inner_text()
    window.page.context.set_offline(False)
    window.settled(6)
    assert len(window.scores()) == 6


def test_a_server_that_stays_away_is_given_up(open_page: Open, pictures: list[Path]) -> None:
    """After five minutes each says what to do; one button tries all of them again."""
    window = open_page()
    page = window.page
    page.clock.install()
    page.context.set_offline(True)
    window.give(*pictures[:5])
    page.locator("#banner").wait_for()
    for _ in range(60):
        page.clock.run_for(9_000)
        page.wait_for_timeout(50)
        if page.get_by_test_id("error").count() == 5:
            break
    assert [e.get_attribute("data-reason") for e in page.get_by_test_id("error").all()] == [
        "away"
    ] * 5
    assert page.locator("#banner").is_hidden()
    page.context.set_offline(False)
    retry = page.locator("#retry-failed")
    assert retry.inner_text() == "Retry failed (5)"
    retry.click()
    page.clock.resume()
    window.settled(5)
    assert len(window.scores()) == 5
    assert retry.is_hidden()


def test_cancelled_pictures_can_be_taken_up_again(open_page: Open, pictures: list[Path]) -> None:
    """Cancel stops the rest; one of them alone, or all, go on."""
    window = open_page()
    page = window.page
    window.give(*pictures)
    window.settled(2)
    page.click("#cancel")
    window.settled(47)
    failed = page.locator('[data-reason="cancelled"]').count()
    assert 0 < failed <= 45
    assert page.locator("#cancel").is_hidden()
    card = page.locator('[data-state="failed"]').last
    name = card.locator("h3").inner_text()
    card.get_by_role("button", name="Try again").click()
    again = page.locator("li", has_text=name)
    again.get_by_test_id("score").wait_for()
    assert page.locator('[data-reason="cancelled"]').count() == failed - 1
    page.click("#retry-failed")
    page.locator("#retry-failed").wait_for(state="hidden")
    page.locator("#cancel").wait_for(state="hidden")
    assert len(window.scores()) == 47


def test_a_removed_picture_is_gone(open_page: Open, pictures: list[Path]) -> None:
    """While others are under way, and all at once; then the page is as it was."""
    window = open_page()
    window.give(*pictures[:6])
    window.page.locator(".remove").last.click()
    window.settled(5)
    assert len(window.scores()) == 5
    window.page.click("#clear")
    window.page.locator("body.is-empty").wait_for()
    assert window.results() == []
    assert window.page.evaluate("document.activeElement.id") == "choose"
    window.give(PARROTS)
    window.settled(1)


def test_what_is_too_large_for_the_server_is_refused(open_page: Open, tmp_path: Path) -> None:
    """The front ends an upload of 50 MB early; the card still says why."""
    (tmp_path / "large.jpg").write_bytes(PARROTS.read_bytes() + bytes(50_000_000))
    window = open_page()
    window.page.set_input_files("input[type=file]", tmp_path / "large.jpg")
    [card] = window.settled(1)
    assert card.get_by_test_id("error").get_attribute("data-reason") == "too_many_bytes"


def test_a_file_that_vanished_is_named(open_page: Open, tmp_path: Path) -> None:
    """It is not mistaken for a server that is away."""
    picture = tmp_path / "gone.jpg"
    shutil.copyfile(PARROTS, picture)
    window = open_page()
    window.page.context.set_offline(True)
    window.page.set_input_files("input[type=file]", picture)
    window.page.locator("#banner").wait_for()
    picture.unlink()
    window.page.context.set_offline(False)
    [card] = window.settled(1)
    assert card.get_by_test_id("error").get_attribute("data-reason") == "unreadable"
