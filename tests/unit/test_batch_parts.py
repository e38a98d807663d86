"""The parts of scoring a folder that need no model: listing, journal, rows, outputs."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from scripts.batch import listing, output
from scripts.batch.journal import Journal
from scripts.batch.rows import columns_of, flat, refused
from scripts.batch.source import join

QUALITY = {
    "score": 83.0734, "label": "excellent", "interval": [76.2, 90.0], "coverage": 0.9,
    "model": {"name": "iqa", "version": "1"},
    "image": {"width": 768, "height": 512, "format": "JPEG"}, "warnings": ["cmyk", "upscaled"],
}  # fmt: skip
CLASSES = {
    "predicted_class": 1, "predicted_label": "dog", "confidence": 0.75,
    "probabilities": {"cat": 0.25, "dog": 0.75},
}  # fmt: skip


def names(*inputs: str, takes_all: bool = False) -> list[str]:
    """Return what a listing holds."""
    return [item.name for item in listing.Listing(inputs, takes_all)]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `top` with folders in it, made in another order than by name."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "z/2.PNG", "a.jpg", "c/1.jpg", "z/10.jpg", "notes.md", ".hidden.jpg"):
        path = tmp_path / "top" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "top"


def test_a_folder_is_listed_by_name_its_files_first(tree: Path) -> None:
    """One folder alone: names are relative to it; its own files come before its folders."""
    assert names("top") == ["a.jpg", "b.jpg", "c/1.jpg", "z/10.jpg", "z/2.PNG"]
    assert listing.root_of(["top"]) == (str(tree), True)


def test_several_inputs_keep_their_order_and_their_names(tree: Path) -> None:
    """Beside another input a folder's name stays in front; patterns are sorted."""
    assert names("top/z", "top/*.jpg") == ["top/z/10.jpg", "top/z/2.PNG", "top/a.jpg", "top/b.jpg"]
    assert names("top/**/1*.jpg") == ["top/c/1.jpg", "top/z/10.jpg"]


def test_what_is_not_called_like_an_image_is_counted_and_taken_on_demand(tree: Path) -> None:
    """README, Thumbs.db and the like get no row, unless --all-files is given."""
    walked = listing.Listing(["top"])
    assert len(list(walked)) == 5 and walked.passed_over == 1
    assert "notes.md" in names("top", takes_all=True)
    assert names("top/notes.md") == ["top/notes.md"]  # asked for by name


def test_a_file_of_names_is_read_line_by_line(tree: Path) -> None:
    """Spaces and Windows line ends are no trouble; a name that is not there stays in the list."""
    (tree / "names.txt").write_bytes("top/a.jpg\r\nno such file.jpg\n\n".encode("utf-8-sig"))
    assert names("top/names.txt") == ["top/a.jpg", "no such file.jpg"]


def test_names_on_standard_input_may_be_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `find` prints them: the byte is kept, whatever the locale says of errors."""
    told = io.TextIOWrapper(io.BytesIO(b"\xff.jpg\n"), encoding="utf-8", errors="strict")
    monkeypatch.setattr("sys.stdin", told)
    assert names("-") == [os.fsdecode(b"\xff.jpg")]


def test_a_link_to_a_folder_above_is_not_followed_forever(tree: Path) -> None:
    """A loop of links ends; other linked folders are walked."""
    (tree / "z" / "loop").symlink_to(tree)
    (tree / "linked").symlink_to(tree / "c")
    for name in ("round", "round.jpg"):  # to itself: hides nothing, and an image gets its row
        (tree / name).symlink_to(name)
    assert names("top") == [
        "a.jpg", "b.jpg", "round.jpg", "c/1.jpg", "linked/1.jpg", "z/10.jpg", "z/2.PNG",
    ]  # fmt: skip


def test_an_input_that_is_nothing_is_refused(tree: Path) -> None:
    """A misspelt folder is an error before anything is scored, with what was expected."""
    with pytest.raises(FileNotFoundError, match="topp: expected a folder, a file, a pattern"):
        names("topp")


def test_a_folder_that_cannot_be_listed_is_an_item_of_its_own(tree: Path) -> None:
    """It is reported where its files would have been; here one that goes while others are read."""
    found = []
    for item in listing.Listing(["top"]):
        if item.name == "a.jpg":
            (tree / "c").rename(tree.parent / "elsewhere")
        found.append(item)
    assert found[2] == listing.Item(name="c/", problem="No such file or directory")
    assert [item.name for item in found[3:]] == ["z/10.jpg", "z/2.PNG"]


def test_a_listing_survives_names_of_any_bytes(tree: Path) -> None:
    """Names with line ends, and names that are no UTF-8, come back as they were."""
    odd = [os.fsdecode(b"\xff.jpg"), "two\nlines.jpg", "ä.jpg"]
    path = tree / "listing.jsonl"
    items = [listing.Item(name=name) for name in odd] + [listing.Item(name="f/", problem="gone")]
    assert listing.write(items, path, lambda _: None) == 4
    assert list(listing.read(path)) == items


def test_names_lie_in_their_root_unless_they_are_complete() -> None:
    """A relative name is looked for in the root, of either kind; an absolute one is not."""
    assert join("/data", "a.jpg") == "/data/a.jpg"
    assert join("/data", "/b/a.jpg") == "/b/a.jpg"
    assert join("s3://bucket/x", "a.jpg") == "s3://bucket/x/a.jpg"
    assert join("/data", "s3://bucket/a.jpg") == "s3://bucket/a.jpg"


def test_a_reply_of_any_task_becomes_a_flat_row() -> None:
    """Interval, image and probabilities become columns; the model's own part does not."""
    assert flat(QUALITY) == {
        "score": 83.0734, "label": "excellent", "interval_low": 76.2, "interval_high": 90.0,
        "coverage": 0.9, "width": 768, "height": 512, "format": "JPEG", "warnings": "cmyk upscaled",
    }  # fmt: skip
    assert flat(CLASSES)["prob_dog"] == 0.75
    assert list(columns_of(CLASSES))[:6] == [
        "filename", "predicted_class", "predicted_label", "confidence", "prob_cat", "prob_dog",
    ]  # fmt: skip
    assert columns_of(CLASSES)["predicted_class"] == "integer"


def test_a_journal_gives_rows_in_order_up_to_the_first_gap(tmp_path: Path) -> None:
    """Rows that are done early wait for those before them; one place has one row."""
    journal = Journal(tmp_path / "journal")
    for index in (2, 0, 1, 4, 0):
        journal.add(index, refused(f"{index}.jpg", "empty", "x"))
    assert [row["filename"] for row in journal.in_order()] == ["0.jpg", "1.jpg", "2.jpg"]
    assert (journal.count, journal.until) == (4, 3)
    assert 4 in journal and 3 not in journal


def test_a_journal_that_breaks_off_at_any_byte_loses_the_last_row_alone(tmp_path: Path) -> None:
    """Cut anywhere, it is taken up: whole lines stay, and what follows is written after them."""
    path = tmp_path / "journal"
    journal = Journal(path)
    for index in range(3):
        journal.add(index, refused("name, with a comma\n.jpg", "empty", "x"))
    journal.close()
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        again = Journal(path)
        assert again.count == sum(end <= cut for end in ends)
        again.add(again.count, {"filename": "next"})
        assert [row["filename"] for row in again.in_order()][-1] == "next"
        again.close()


@pytest.mark.parametrize("suffix", output.FORMATS)
def test_an_output_is_read_back_as_it_was_written(suffix: str, tmp_path: Path) -> None:
    """Each format keeps names with commas, quotes, line ends, and bytes that are no text."""
    columns = {"filename": "text", "score": "number", "width": "integer", "reason": "text"}
    rows = [
        {"filename": 'a, "b"\nc\rd.jpg', "score": 0.1 + 0.2, "width": 3, "beyond": 1},
        {"filename": os.fsdecode(b"\xff.jpg"), "reason": "empty"},
    ]
    path = tmp_path / f"out{suffix}"
    assert output.replace(path, tmp_path / "part", columns, rows) == 2
    first, second = output.read(path)
    assert first["filename"] == 'a, "b"\nc\rd.jpg' and float(first["score"]) == 0.1 + 0.2
    assert int(first["width"]) == 3 and "beyond" not in first
    assert second["filename"] == "\\udcff.jpg" or json.dumps(second["filename"]) == '"\\udcff.jpg"'
    assert output.encodable(second["filename"]) == "\\udcff.jpg" and not second["score"]
    assert not (tmp_path / "part").exists()


def test_parquet_has_types_and_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers are numbers, and no more rows are held than a group has."""
    monkeypatch.setattr(output, "ROWS_A_GROUP", 2)
    path = tmp_path / "out.parquet"
    rows = [{"filename": f"{i}", "score": i / 2} for i in range(5)]
    output.replace(path, tmp_path / "part", {"filename": "text", "score": "number"}, rows)
    file = pq.ParquetFile(path)
    assert file.num_row_groups == 3
    assert [str(field.type) for field in file.schema_arrow] == ["string", "double"]


def test_an_output_of_another_kind_is_refused(tmp_path: Path) -> None:
    """Neither a spreadsheet nor a broken file is taken for rows."""
    with pytest.raises(ValueError, match=r"--out: expected a name that ends in \.csv"):
        output.format_of(Path("scores.xlsx"))
    for name, content in (("a.parquet", b"PAR1"), ("a.jsonl", b"{"), ("a.csv", b"\xff\xfe")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="expected rows of this command"):
            list(output.read(tmp_path / name))
