"""What every command does alike: logging, exit status, one line for a failure."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from console.default_names import MODEL_NAME
from console.numbers import whole_number

FAILED = 1
INTERRUPTED = 130

# Ours, with a message that says what to do; others are named as well, for their words say less.
EXPLAINED: Final = (ValueError, OSError, RuntimeError)


TRACKING_VARIABLE: Final = "MLFLOW_TRACKING_URI"


class _SetTrackingUri(argparse.Action):
    """Sets the environment variable, so that every command and its children use it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, values)
        if values:
            os.environ[TRACKING_VARIABLE] = str(values)


def add_tracking_uri(parser: argparse.ArgumentParser) -> None:
    """Add --tracking-uri, the option of every command that reaches MLflow; parsing applies it."""
    parser.add_argument(
        "--tracking-uri", action=_SetTrackingUri, metavar="URI",
        help=f"MLflow [{TRACKING_VARIABLE}] (default: mlflow.db at the root, embedded)",
    )  # fmt: skip


def add_model_name(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add --model-name, or --model for short; `purpose` says what the model is to the command."""
    parser.add_argument(
        "--model-name", "--model", dest="model_name", metavar="NAME",
        default=os.environ.get("MODEL_NAME") or MODEL_NAME,
        help=f"{purpose} [MODEL_NAME] (default: {MODEL_NAME})",
    )  # fmt: skip


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add --workers of commands that read many images."""
    parser.add_argument(
        "--workers", type=whole_number(0), default=2,
        help="processes that decode (default: %(default)s)",
    )  # fmt: skip


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Add the option that every command has."""
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")


class Interruption:
    """
    Lets signals end the main thread as Ctrl-C does, and remembers that one came.

    Python drops what a finalizer raises, and a signal may come in the middle of one: a loop that
    runs for days asks `is_requested` as well, or it misses its end now and then.

    Args:
        numbers: Of the signals.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self.is_requested = False
        for number in numbers:
            signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, frame: object) -> None:
        self.is_requested = True
        raise KeyboardInterrupt


def run(command: Callable[[], int], debug: bool) -> int:
    """
    Run a command with logging set up.

    Args:
        command: Returns its exit status.
        debug: Let exceptions through, with their traceback.

    Returns:
        The command's status; 1 after one line on stderr for a failure; 130 after Ctrl-C.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # MLflow and alembic narrate each migration of a new database. The variable is for an MLflow
    # that is imported later: it sets its level then.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return command()
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if debug:
            raise
        if isinstance(error, EXPLAINED):
            print(f"error: {_own_words(error)}", file=sys.stderr)
        else:
            line = " ".join(str(error).split())[:500]
            print(f"error: {type(error).__name__}: {line} (--debug shows where)", file=sys.stderr)
        return FAILED


def _own_words(error: Exception) -> str:
    """Return the message alone if a decoding process sent it inside a traceback."""
    text = str(error)
    if " in DataLoader worker process " not in text.split("\n", 1)[0]:
        return text
    return text.strip().rsplit("\n", 1)[-1].partition(": ")[2]
