"""What --models and --workers say."""

from __future__ import annotations

import pytest

from scripts.nginx.settings import defaults, from_environment, render
from scripts.server.models import parse_models, with_workers

BOTH = parse_models("iqa,portraits@prod", "staging")


def test_models_have_the_alias_of_their_own_or_the_common_one() -> None:
    """NAME@ALIAS, or NAME alone."""
    assert [(model.name, model.alias) for model in BOTH] == [
        ("iqa", "staging"), ("portraits", "prod"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", [4, 4]),
        ("2", [2, 2]),
        ("iqa=2,portraits=1", [2, 1]),
        ("portraits=1", [4, 1]),
        ("3, portraits=1", [3, 1]),
    ],
)
def test_workers_are_for_each_model_or_by_name(text: str, numbers: list[int]) -> None:
    """A number without a name is for all models that have none of their own."""
    assert [model.workers for model in with_workers(BOTH, text, 4)] == numbers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0", "expected at least 1, got 0"),
        ("iqa=-1", "expected at least 1, got -1"),
        ("two", "expected a number, or NAME=NUMBER, got 'two'"),
        ("iqa=", "got 'iqa='"),
        ("cats=1", r"expected a model of --models \(iqa, portraits\), got 'cats'"),
    ],
)
def test_other_words_are_refused(text: str, words: str) -> None:
    """Before anything is started."""
    with pytest.raises(ValueError, match=words):
        with_workers(BOTH, text, 4)


@pytest.mark.parametrize("text", ["", "iqa,iqa", "a/b", ","])
def test_names_that_cannot_be_served_are_refused(text: str) -> None:
    """None, one twice, or one that cannot stand in an address."""
    with pytest.raises(ValueError, match="expected"):
        parse_models(text, "staging")


def test_the_front_passes_on_the_models_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In containers MODELS is told to all; a dot in a name is no wildcard."""
    monkeypatch.setenv("MODELS", "iqa,a.b@prod")
    settings = defaults()
    assert settings["FRONT_MODELS"] == "iqa|a[.]b"
    assert r"(iqa|a[.]b)\z {" in render(settings)


def test_the_front_asks_the_first_model_for_predict() -> None:
    """Its name, and not the pattern that it stands in; without a gateway the path is not there."""
    settings = {**defaults(), "FRONT_MODELS": "a[.]b|iqa"}
    with_web = render({**settings, "FRONT_WEB": "127.0.0.1:8085"})
    assert "/predict /predictions/a.b;" in " ".join(with_web.split())
    assert "location = /predict " not in render(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FRONT_IN_FLIGHT", "abc"), ("FRONT_IN_FLIGHT", "0"), ("FRONT_PER_ADDRESS", "-1"),
        ("FRONT_MAX_BYTES", "32m"), ("FRONT_CONNECTIONS", "1.5"), ("FRONT_DRAIN_S", "soon"),
    ],
)  # fmt: skip
def test_a_setting_that_is_no_number_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a model is loaded, and not in nginx's words."""
    monkeypatch.setenv(name, value)
    with pytest.raises(
        ValueError, match=f"{name}: expected a whole number from [01], got '{value}'"
    ):
        from_environment()
    with pytest.raises(ValueError, match=f"{name}: expected a whole number"):
        render({**defaults(), name: value})
