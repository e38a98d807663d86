"""Numbers on the command line."""

from __future__ import annotations

import argparse

import pytest

from console.numbers import number, whole_number
from training import calibrate, evaluate
from training.data.config import DataConfig, add_options, data_config


@pytest.mark.parametrize("text", ["0", "1", "-1", "nan", "inf", "a few", ""])
def test_a_number_out_of_bounds_is_refused_with_the_bounds(text: str) -> None:
    """Neither is what is no number, or none that one can reckon with."""
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        number(above=0, below=1)(text)
    assert str(refused.value) == f"expected a number above 0 and below 1, got {text!r}."


def test_bounds_may_belong_to_the_numbers() -> None:
    """`at_least` and `at_most` do."""
    assert [number(at_least=0, at_most=100)(text) for text in ("0", "2.5", "100")] == [0, 2.5, 100]
    with pytest.raises(argparse.ArgumentTypeError, match="number from 0 and up to 100, got '101'"):
        number(at_least=0, at_most=100)("101")


@pytest.mark.parametrize("text", ["0", "-4", "1.5", "nan", "ten"])
def test_a_whole_number_is_not_smaller(text: str) -> None:
    """And it is whole."""
    assert whole_number(1)("16") == 16
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number from 1, got "):
        whole_number(1)(text)


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        (calibrate, "--coverage", "2"), (calibrate, "--bands", "0"),
        (evaluate, "--batch-size", "0"), (evaluate, "--workers", "-1"),
    ],
)  # fmt: skip
def test_long_work_does_not_begin_with_a_number_that_it_would_fail_on(
    command: object, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before a picture is read."""
    with pytest.raises(SystemExit) as end:
        command.main([option, value])  # type: ignore[attr-defined]
    assert end.value.code == 2
    assert f"argument {option}: expected a " in capsys.readouterr().err


def test_a_limit_leaves_a_picture() -> None:
    """Of commands that take rated pictures."""
    parser = argparse.ArgumentParser()
    add_options(parser, DataConfig)
    with pytest.raises(ValueError, match="--limit: expected at least 1, got -4"):
        data_config(parser.parse_args(["--dataset", "biq2021", "--limit", "-4"]))
