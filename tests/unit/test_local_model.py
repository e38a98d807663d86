"""A model in one's own program: what it takes, and what it says of anything else."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import iqa
import numpy as np
import pytest
from iqa.imaging.sniff import SUFFIXES
from iqa.local.files import images_in
from iqa.local.table import TableModel
from PIL import Image

from console.paths import ROOT
from tests.images import encode, photograph, with_orientation
from tests.odd_inputs import ODD_INPUTS

PIXELS = photograph(160, 120)
GOLDEN = ROOT / "handler" / "golden" / "parrots.jpg"


@pytest.fixture(scope="module")
def model() -> Any:
    """The shipped model, as a checkout has it."""
    return iqa.load()


def test_each_kind_of_picture_gets_the_same_score(model: Any) -> None:
    """A file's bytes, an image, an array; a list of them in its order."""
    body = encode(PIXELS, "PNG")
    scores = model.score([body, Image.open(io.BytesIO(body)), Image.fromarray(PIXELS), PIXELS])
    assert len({float(score) for score in scores}) == 1
    assert len({score.warnings for score in scores}) == 1
    assert scores[0].warnings[0] == "upscaled"
    assert isinstance(scores[0] + 1, float)


def test_an_image_is_upright_and_in_srgb_as_a_file_is(model: Any) -> None:
    """EXIF, transparency, CMYK, grey: what becomes of a file becomes of an image."""
    for name in (
        "exif_6_jpeg",
        "half_red_webp",
        "cmyk_profile_jpeg",
        "grey_png",
        "half_clear_heic",
    ):
        body = ODD_INPUTS[name].body
        if name != "half_clear_heic":
            image = Image.open(io.BytesIO(body))
            assert model.score(image) == pytest.approx(model.score(body), abs=0.01), name
        assert model.predict(body)["image"]["format"] == ODD_INPUTS[name].format
    lying = Image.open(io.BytesIO(with_orientation(6)))
    before = lying.size
    assert model.predict(lying)["image"]["width"] == 160
    assert lying.size == before


def test_grey_and_transparent_arrays_are_taken(model: Any) -> None:
    """(H, W), (H, W, 1) and (H, W, 4)."""
    grey = PIXELS[:, :, 0]
    assert model.score(grey) == model.score(grey[:, :, None])
    assert "grayscale_input" in model.score(grey).warnings
    clear = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    assert model.score(clear) == model.score(PIXELS)


@pytest.mark.parametrize(
    "picture",
    [PIXELS.astype(np.float32) / 255, PIXELS.transpose(2, 0, 1), PIXELS[None], PIXELS[:0], None, 3],
    ids=["floats", "channels_first", "batch", "empty", "none", "number"],
)
def test_what_is_no_picture_is_an_error_of_the_program(model: Any, picture: Any) -> None:
    """A TypeError that says what was expected, and no refusal of somebody's picture."""
    with pytest.raises(TypeError, match="expected"):
        model.score(picture)


def test_a_refused_picture_raises_with_its_reason(model: Any) -> None:
    """As a server answers it."""
    for picture, reason in (
        (b"", "empty"),
        (b"no picture", "undecodable"),
        (PIXELS[:20], "too_small"),
    ):
        with pytest.raises(iqa.ImageRejected) as caught:
            model.score(picture)
        assert caught.value.reason == reason
    with pytest.raises(FileNotFoundError):
        model.score("no/such.jpg")


def test_a_model_that_is_none_says_what_was_expected(tmp_path: Path) -> None:
    """A path without a model, a file that is no archive, a folder without one."""
    with pytest.raises(FileNotFoundError, match="expected an archive or a folder"):
        iqa.load(tmp_path / "none.mar")
    (tmp_path / "broken.mar").write_bytes(b"no zip")
    with pytest.raises(ValueError, match="got no zip"):
        iqa.load(tmp_path / "broken.mar")
    with pytest.raises(FileNotFoundError, match=r"expected model\.json"):
        iqa.load(tmp_path)


def test_a_folder_gives_every_file_that_is_named_like_a_picture(tmp_path: Path) -> None:
    """All endings of what is decoded, in any letter case; a file that is named has any name."""
    for suffix in (*SUFFIXES, ".txt"):
        (tmp_path / f"a{suffix}").touch()
        (tmp_path / f"B{suffix.upper()}").touch()
    found = images_in([tmp_path, tmp_path / "a.txt"])
    assert len(found) == 2 * len(SUFFIXES) + 1
    assert {".jpe", ".jfif", ".dib", ".heic", ".heif", ".avif"} < {path.suffix for path in found}


def test_the_package_gives_four_names() -> None:
    """And no other by accident."""
    assert iqa.ImageRejected is not None
    with pytest.raises(AttributeError, match="no attribute 'scores'"):
        _ = iqa.scores


def test_a_file_that_cannot_be_read_touches_no_other_row_of_a_table(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder, a file that is gone when it is opened: the reason that `iqa score` gives."""
    gone = tmp_path / "gone.jpg"
    gone.symlink_to("/proc/self/mem")  # a file by its kind; reading it fails, for root as well
    answers = TableModel.__new__(TableModel)
    monkeypatch.setattr(answers, "_model", model, raising=False)
    rows = answers.predict([str(tmp_path), str(GOLDEN), str(gone)])
    assert [row["reason"] for row in rows] == ["unreadable", None, "unreadable"]
    assert rows[0]["message"] == "file: expected a picture, got: Is a directory"
    assert rows[1]["score"] == pytest.approx(float(model.score(GOLDEN)))
    assert all(np.isnan(rows[place]["score"]) and rows[place]["warnings"] == [] for place in (0, 2))
