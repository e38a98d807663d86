"""Ratings as people save them: each form is read alike, or refused with the place and a remedy."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import pytest
from PIL import Image

from training.data.config import DataConfig, add_options, data_config
from training.data.dataset_layouts import Options
from training.data.datasets import plain_csv
from training.data.ratings import load
from training.data.ratings_table import RatingsTable, read_ratings

NAMES = ["a.jpg", "day 1/b.jpg", "c, d.jpg"]
MOS = [1.0, 2.5, 4.25]


def read(tmp_path: Path, text: str | bytes, **columns: str) -> RatingsTable:
    """Write a file to the byte and read image_name, mos and set."""
    path = tmp_path / "own.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_ratings(path, ["image_name", "mos"], ["set"], columns)


COMMAS = 'image_name,mos,set\na.jpg,1,train\nday 1/b.jpg,2.5,val\n"c, d.jpg",4.25,test\n'
SEMICOLONS = "image_name;mos;set\na.jpg;1;train\nday 1/b.jpg;2,5;val\nc, d.jpg;4,25;test\n"
FORMS = {
    "commas": COMMAS,
    "no line end at the end": COMMAS.rstrip("\n"),
    "Windows line ends": COMMAS.replace("\n", "\r\n"),
    "old Mac line ends": COMMAS.replace("\n", "\r"),
    "mixed line ends": COMMAS.replace("\n", "\r\n", 1).replace("val\n", "val\r"),
    "semicolons and decimal commas": SEMICOLONS,
    "semicolons and decimal points": SEMICOLONS.replace(",5", ".5").replace(",25", ".25"),
    "tabs and decimal commas": SEMICOLONS.replace(";", "\t"),
    "tabs": SEMICOLONS.replace(";", "\t").replace(",5", ".5").replace(",25", ".25"),
    "decimal commas in quotes": COMMAS.replace("2.5", '"2,5"').replace("4.25", '"4,25"'),
    "spaces behind commas": COMMAS.replace(",", ", ").replace("c,  d", "c, d"),
    "spaces around commas": COMMAS.replace("c, d.jpg", "c; d.jpg").replace('"', "")
    .replace(",", " , ").replace("c; d.jpg", '"c, d.jpg"').replace('g" ,', 'g",'),
    "spaces at line ends": COMMAS.replace("\n", "  \n"),
    "another letter case": COMMAS.replace("image_name,mos,set", "Image_Name,MOS,Set"),
    "sets in another case": COMMAS.replace("train", " Training").replace("test", "TEST"),
    "all in quotes": SEMICOLONS.replace(";", '";"').replace("\n", '"\n"')[:-1].join(['"', ""]),
    "empty lines": "\n" + COMMAS.replace("\n", "\n\n") + "\n  \n",
    "empty rows": ";;\n" + SEMICOLONS.replace("\n", "\n;;\n"),
    "empty columns": SEMICOLONS.replace("\n", ";;\n"),
    "columns more": "id;image_name;mos;set;note, long\n1;a.jpg;1;train;\n2;day 1/b.jpg;2,5;val;x"
    '\n3;c, d.jpg;4,25;test;"two\nlines; and ""quotes"""\n',
    "columns in another order": 'set,mos,image_name\ntrain,1,a.jpg\nval,2.5,day 1/b.jpg\n'
    'test,4.25,"c, d.jpg"\n',
    "Excel's line of the separator": "sep=;\r\n" + SEMICOLONS,
    "a separator that only that line knows": "sep=|\n" + SEMICOLONS.replace(";", "|"),
    "signs and exponents": COMMAS.replace(",1,", ",+1.,").replace("2.5", "25e-1"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_alike(tmp_path: Path, form: str) -> None:
    """The same three rows, whatever program has saved them."""
    table = read(tmp_path, FORMS[form])
    assert table.names("image_name") == NAMES
    assert table.numbers("mos").tolist() == MOS
    assert table.splits("set") == ["train", "val", "test"]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_encoding_is_read_alike(tmp_path: Path, encoding: str, line_end: str) -> None:
    """With a byte order mark or without one, names beyond ASCII come out as written."""
    text = f"image_name;mos{line_end}Übung zu 5 €.jpg;1,5{line_end}naïve.jpg;2{line_end}"
    table = read(tmp_path, text.encode(encoding))
    assert table.names("image_name") == ["Übung zu 5 €.jpg", "naïve.jpg"]
    assert table.numbers("mos").tolist() == [1.5, 2.0]
    assert "set" not in table


def test_a_guessed_encoding_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Windows-1252 is a guess that changes names, so the log tells; UTF-8 is none."""
    with caplog.at_level(logging.INFO):
        read(tmp_path, "image_name,mos\nÜ.jpg,1\n".encode())
        assert not caplog.messages
        read(tmp_path, "image_name,mos\nÜ.jpg,1\n".encode("cp1252"))
    assert caplog.messages == ["own.csv: read as Windows-1252, as it is not UTF-8"]


# What could be meant in two ways.


def test_one_comma_five_semicolon_two_is_split_as_the_header_is(tmp_path: Path) -> None:
    """`1,5;2` is one and a half and a 2, or a name with a comma: the header's separator says."""
    rating_first = read(tmp_path, "mos;image_name\n1,5;2\n")
    assert (rating_first.numbers("mos").tolist(), rating_first.names("image_name")) == (
        [1.5],
        ["2"],
    )
    name_first = read(tmp_path, "image_name;mos\n1,5;2\n")
    assert (name_first.names("image_name"), name_first.numbers("mos").tolist()) == (["1,5"], [2.0])
    with pytest.raises(ValueError, match=r"line 2, column mos: expected a number, got '5;2'"):
        read(tmp_path, "image_name,mos\n1,5;2\n").numbers("mos")


@pytest.mark.parametrize(
    "text",
    [
        "image_name,mos\na.jpg,2\nb.jpg,3,5\n",
        "image_name,mos,set\nc.jpg,4,val\na.jpg,3,5,train\n",
        # Were the last comma dropped, this would be a rating of 3 with a deviation of 5.
        "image_name,mos,sd\nc.jpg,4,0.5\na.jpg,3,5,\n",
    ],
)
def test_decimal_commas_without_quotes_are_refused(tmp_path: Path, text: str) -> None:
    """In a file with commas they make a cell too many, which is never dropped."""
    message = r"own\.csv, line 3: expected \d cells .* separated by commas, got \d\. .*quotes"
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_a_decimal_comma_that_passes_for_a_set_is_refused(tmp_path: Path) -> None:
    """`3,5` where the set is missing gives a set named 5."""
    table = read(tmp_path, "image_name,mos,set\na.jpg,3,5\n")
    with pytest.raises(ValueError, match=r"line 2, column set: .* got '5'"):
        table.splits("set")


def test_a_comma_is_never_a_mark_between_thousands(tmp_path: Path) -> None:
    """`1,234` is a little more than one; both marks in one number are refused."""
    assert read(tmp_path, "image_name;mos\na;1,234\n").numbers("mos").tolist() == [1.234]
    for number in ("1.234,5", "1,234.5", "1,234,567", "1 234"):
        table = read(tmp_path, f'image_name,mos\na,"{number}"\n')
        with pytest.raises(
            ValueError, match=f"line 2, column mos: expected a number, got '{number}'"
        ):
            table.numbers("mos")


def test_points_and_commas_in_one_column_are_refused(tmp_path: Path) -> None:
    """One of them would be a mark between thousands; both places are named."""
    table = read(tmp_path, "image_name;mos\na;1\nb;3.512\n\nc;3,5\n")
    message = (
        r"line 5, column mos: expected one decimal mark in the column, got 3\.512 in line 3 "
        r"and 3,5 in line 5\. Use points"
    )
    with pytest.raises(ValueError, match=message):
        table.numbers("mos")


def test_a_comma_in_a_header_does_not_make_a_comma_file(tmp_path: Path) -> None:
    """The separator is the one that finds the columns, not the one that is there most often."""
    table = read(tmp_path, "image_name;mos;a, b, c, d, e\nx.jpg;2,5;\n")
    assert (table.names("image_name"), table.numbers("mos").tolist()) == (["x.jpg"], [2.5])


def test_an_exact_header_wins_over_one_in_another_case(tmp_path: Path) -> None:
    """With mos and MOS there, mos is meant; with Mos and MOS, nobody knows."""
    assert read(tmp_path, "image_name,MOS,mos\na,50,3\n").numbers("mos").tolist() == [3.0]
    with pytest.raises(ValueError, match=r"line 1: expected one column mos, got Mos, MOS\. Rename"):
        read(tmp_path, "image_name,Mos,MOS\na,3,50\n")
    with pytest.raises(ValueError, match=r"line 1: expected one column mos, got mos, mos\."):
        read(tmp_path, "image_name,mos,mos\na,3,50\n")


# What cannot be read.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04\x14\0", r"own\.csv: expected a text file, got a workbook\. Save its sheet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", r"got a workbook\."),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", r"expected a text file, got a binary one"),
        ("image_name,mos\na,1\n".encode("utf-16")[:-1], r"line 2: expected text in UTF-8, UTF"),
        (b"image_name,mos\r\xe4.jpg,1\r\x81.jpg,1\r", r"line 3: .*, got the byte 0x81\. Save it"),
        (b"", r"line 1: expected the columns image_name, mos, got an empty file"),
        (b"\n\n", r"got an empty file"),
        (b"image_name|mos\na|1\n", r"got image_name\|mos\. Separate the cells by commas, semico"),
        (b"a.jpg,3\nb.jpg,2\n", r"line 1: expected the columns image_name, mos, got a\.jpg, 3\."),
        (b'image_name,mos\na,1\n"b,2\nc,3\n', r"line 3: expected quotes around whole cells, got: "),
        (b'image_name,mos\n"a" x,1\n', r"line 2: expected quotes around whole cells.* double"),
        (b'"image_name,mos\na,1\n', r"line 1: expected quotes around whole cells"),
    ],
    ids=[
        "xlsx", "xls", "an image", "half a character", "no character", "empty", "empty lines",
        "another separator", "no header", "quotes left open", "words after quotes",
        "header left open",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_the_place(
    tmp_path: Path, content: bytes, message: str
) -> None:
    """The file, the line where there is one, what was found, and what to do."""
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)


@pytest.mark.parametrize(
    "rating", ["good", "NA", "nan", "inf", "3 %", "1_0", "0x10", "--1", ".", "1e", "٣"]
)
def test_what_is_no_number_is_refused(tmp_path: Path, rating: str) -> None:
    """Neither words nor what only Python calls a number; the first place and how many there are."""
    table = read(tmp_path, f'image_name,note,mos\na,"x\ny",1\n\nb,,{rating}\nc,,{rating}\n')
    message = rf"line 5, column mos: expected a number, got '{rating}'; 2 of 3 rows are wrong"
    with pytest.raises(ValueError, match=message):
        table.numbers("mos")


def test_a_row_that_ends_early_has_empty_cells(tmp_path: Path) -> None:
    """That is right for a note, and refused for a rating."""
    assert read(tmp_path, "image_name,mos,note\na,1\n").numbers("mos").tolist() == [1.0]
    with pytest.raises(ValueError, match=r"line 2, column mos: .* got an empty cell; 1 of 1 rows"):
        read(tmp_path, "image_name,mos,note\na\n").numbers("mos")


# Headers of one's own.


def test_columns_may_have_other_headers(tmp_path: Path) -> None:
    """`--columns` names them, in any order and letter case; errors speak of the file's headers."""
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    Image.new("RGB", (32, 32)).save(tmp_path / "b.png")
    labels = tmp_path / "own.csv"
    labels.write_text("Filename;Score;Part;mos;set\na.png;1,5;test;80;x\nb.png;4;test;20;x\n")
    command = f"--dataset csv --data-dir {tmp_path} --labels {labels} --mos-range 1 5 --columns "
    parser = argparse.ArgumentParser()
    add_options(parser, DataConfig)
    config = data_config(parser.parse_args([*command.split(), "set=Part, mos=score,name=filename"]))
    split = load(config, ("test",)).splits["test"]
    assert (split.names, split.target.tolist()) == (["a.png", "b.png"], [0.125, 0.75])
    labels.write_text("Filename;Score;Part\na.png;good;test\n")
    with pytest.raises(ValueError, match=r"line 2, column Score: expected a number, got 'good'"):
        load(config, ("test",))


@pytest.mark.parametrize("headers", [{}, {"mos": "score"}, {"image_name": "file", "set": "part"}])
def test_a_column_that_is_not_there_is_answered_with_those_that_are(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    """The wanted headers, the file's, and the option; a set that was asked for must be there."""
    path = tmp_path / "own.csv"
    path.write_text("file;rating\na;1\n")
    options = Options(labels=path, mos_range=(1.0, 5.0), columns=headers)
    wanted = [headers.get(name, name) for name in ("image_name", "mos")]
    wanted += ["part"] if "set" in headers else []
    message = rf"line 1: expected the columns {', '.join(wanted)}, got file, rating\. .*--columns "
    with pytest.raises(ValueError, match=message):
        plain_csv(tmp_path, options)


@pytest.mark.parametrize(
    "text", ["score", "mos=", "=score", "rating=score", "mos=a,mos=b", "name=a,image_name=b", ""]
)
def test_columns_that_make_no_sense_are_refused(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown key, one twice, or nothing after it is wrong usage."""
    parser = argparse.ArgumentParser()
    add_options(parser, DataConfig)
    with pytest.raises(SystemExit):
        parser.parse_args(["--columns", text])
    assert f"expected name=HEADER,mos=HEADER,set=HEADER, each at most once, got {text!r}" in (
        capsys.readouterr().err
    )
