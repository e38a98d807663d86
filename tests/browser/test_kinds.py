"""Several models, and a classifier's reply: a module for each kind of reply."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Route

from console.paths import ROOT
from tests.browser.serving import serving
from tests.browser.watched import Watched
from tests.ports import free_port
from web.page import mount_page

PARROTS = ROOT / "handler" / "golden" / "parrots.jpg"
LIKELIEST = {"MONARCH": 0.6, "VICEROY": 0.2, "<b>QUEEN</b>": 0.1, "ATLAS": 0.05, "ADMIRAL": 0.03}
PROBABILITIES = {"ZEBRA": 0.02, **LIKELIEST}


@pytest.fixture(scope="module")
def two_models() -> Iterator[str]:
    """A server whose replies are those of a score and of a classifier, without any network."""

    def answer(request: Request) -> JSONResponse:
        name = request.path_params["model"]
        common = {
            "model": {"name": name, "version": "7"},
            "image": {"width": 768, "height": 512, "format": "JPEG"},
            "warnings": ["a_warning_of_tomorrow"],
        }
        if name == "iqa":
            return JSONResponse({"score": 59.96, "label": "fair", "main_cause": "blur", **common})
        return JSONResponse(
            {
                "predicted_class": 3,
                "predicted_label": "MONARCH",
                "confidence": 0.6,
                "probabilities": PROBABILITIES,
                **common,
            }
        )

    def explained(request: Request) -> FileResponse:
        assert request.path_params["model"] == "butterflies"
        return FileResponse(ROOT / "docs" / "explanations.png")

    app = Starlette(
        routes=[
            Route("/explanations/{model}", explained, methods=["POST"]),
            Route("/predictions/{model}", answer, methods=["POST"]),
            Route("/health", lambda request: JSONResponse({"model_name": "iqa"})),
        ]
    )
    mount_page(app, ["iqa", "butterflies"])
    with serving(app, free_port()) as address:
        yield address


def test_another_model_scores_the_pictures_again(
    open_page: Callable[..., Watched], two_models: str
) -> None:
    """The chooser appears; a classifier shows its five likeliest with bars, the likeliest first."""
    window = open_page(two_models)
    page = window.page
    page.locator("#model-choice").wait_for()
    window.give(PARROTS)
    [card] = window.settled(1)
    assert card.get_by_test_id("label").inner_text() == "Fair"
    assert card.get_by_test_id("score").inner_text() == "60.0"
    assert card.locator(".interval").all_inner_texts() == ["What takes most away: blur."]
    assert card.locator(".notes").inner_text() == "Note of the server: a_warning_of_tomorrow"
    page.select_option("#model", "butterflies")
    card.locator(".classes").wait_for()
    assert card.get_by_test_id("label").inner_text() == "MONARCH"
    assert card.get_by_test_id("score").count() == 0
    assert card.locator(".class-of").all_inner_texts() == [*LIKELIEST]
    assert card.locator(".percent").first.inner_text() == "60.0 %"
    toggle = card.locator(".map-toggle")
    assert toggle.inner_text() == "Class map"
    toggle.click()
    card.locator("img.map").wait_for()
    assert card.locator("img.map").get_attribute("alt") == "Class map of parrots.jpg"
    assert card.locator(".legend").inner_text().split() == ["against", "for", "this", "class"]
    assert page.locator("#served").inner_text() == "butterflies, version 7"


def test_one_model_has_no_chooser(open_page: Callable[..., Watched]) -> None:
    """There is nothing to choose."""
    window = open_page()
    window.page.locator("#choose").wait_for()
    assert window.page.locator("#model-choice").is_hidden()
