"""What is said when the model registry does not answer: a server, or the embedded database."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from training.registry.address import is_embedded, tracking_uri

P = ParamSpec("P")
R = TypeVar("R")


class RegistryUnavailable(RuntimeError):
    """The registry does not answer; what is served goes on."""


def unavailable(said: str) -> RegistryUnavailable:
    """
    Return the error to raise.

    Args:
        said: By MLflow, or by the database; its first line tells what is wrong.
    """
    first = said.split("\n", 1)[0].rstrip(".")
    what_to_do = ""
    if is_embedded():
        what_to_do = " Wait for the process that holds the file, or restore it from a backup."
    return RegistryUnavailable(
        f"registry {tracking_uri()}: expected an answer, got: {first}.{what_to_do}"
    )


def asks_registry(ask: Callable[P, R]) -> Callable[P, R]:
    """Let a function that asks MLflow say of a locked or damaged database that it is away."""

    @functools.wraps(ask)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return ask(*args, **kwargs)
        except Exception as error:
            # MLflow lets these through while it opens its store. Not by their class: beside
            # mlflow-skinny there is no sqlalchemy.
            if any(kind.__module__.startswith("sqlalchemy.") for kind in type(error).__mro__):
                raise unavailable(str(getattr(error, "orig", error))) from error
            raise

    return asked
