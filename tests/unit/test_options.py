"""What a request asks for beside its picture: how many classes, and a map of which one."""

from __future__ import annotations

from typing import Any

import pytest
from iqa.errors import ImageRejected
from iqa.request.form import Field
from iqa.request.options import CLASS, TOP_K, asked, class_of, top_k_of

NAMES = ("T-shirt/top", "Ankle boot", "C++", "7", "été")


def field(name: str, content: Any, *, is_file: bool = False) -> Field:
    """Return a field of a form."""
    return Field(name=name, content=content, is_file=is_file)


@pytest.mark.parametrize(
    ("fields", "headers", "found"),
    [
        ([], {}, None),
        ([field("body", b"...")], {"X-Top-K": "3"}, "3"),
        ([], {"x-top-k": "3"}, "3"),
        ([], {"X-Top-K": ""}, None),
        ([field("top_k", b"4")], {"X-Top-K": "3"}, "4"),
        ([field("top_k", "4")], {}, "4"),
        ([field("top_k", b"...", is_file=True)], {}, None),
        ([], {"X-Top-K": {"content-type": "text/plain"}}, None),  # TorchServe's, of a form's field
    ],
)
def test_a_field_counts_before_a_header(
    fields: list[Field], headers: dict[str, Any], found: str | None
) -> None:
    """A file of that name is a picture, and no option."""
    assert asked(TOP_K, fields, headers) == found


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (None, None),
        ("1", 1),
        (" 20 ", 20),
        ("007", 7),
        ("999999", 999_999),
        ("%33", 3),
        ("%203", 3),
    ],
)
def test_a_number_of_classes_is_read(text: str | None, number: int | None) -> None:
    """Whole numbers from 1; nothing where nothing was asked."""
    assert top_k_of(text) == number


@pytest.mark.parametrize(
    "text",
    ["0", "-1", "1.5", "five", "", "1e3", "٣", "9" * 7, "9" * 5000, "\x00", "%2533", "%D9%A3", "%"],
)
def test_what_is_no_number_of_classes_is_refused(text: str) -> None:
    """400, and the message is short whatever was sent."""
    with pytest.raises(ImageRejected, match=r"top_k: expected a whole number from 1") as refused:
        top_k_of(text)
    assert (refused.value.status, refused.value.reason) == (400, "bad_top_k")
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (None, None), ("T-shirt/top", 0), ("T-shirt%2Ftop", 0), ("Ankle+boot", 1),
        ("Ankle%20boot", 1), ("C++", 2), ("7", 3), ("4", 4), ("%C3%A9t%C3%A9", 4),
    ],
)  # fmt: skip
def test_a_class_is_found_by_name_or_number(text: str | None, number: int | None) -> None:
    """As it stands in the card or as an address spells it; a name counts before a number."""
    assert class_of(text, NAMES) == number


@pytest.mark.parametrize("text", ["Hat", "5", "-1", "", "ankle boot", "x" * 5000])
def test_an_unknown_class_is_refused_with_the_known_ones(text: str) -> None:
    """400; of a hundred classes ten are named."""
    for names in (NAMES, [f"c{i}" for i in range(100)]):
        if text == "5" and len(names) == 100:
            continue
        with pytest.raises(ImageRejected, match=r"class: expected one of .*, or a number from 0"):
            class_of(text, names)


def test_a_model_of_scores_has_no_classes() -> None:
    """It says so, and not that the class is unknown."""
    with pytest.raises(ImageRejected, match="this model has no classes") as refused:
        class_of("good", ())
    assert (refused.value.status, refused.value.reason) == (400, "unknown_class")
    assert asked(CLASS, [], {"X-Class": "good"}) == "good"
