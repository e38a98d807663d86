"""Which models a server should serve: names, aliases, and how many workers each has."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Final

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""What stands in an address, in a file's name and in a label of Prometheus alike."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """
    A registered model, and the alias whose version is served.

    Attributes:
        name: Of the registered model, and on the server.
        alias: Whose version is served.
        workers: Processes that score with it; None: not known here.
    """

    name: str
    alias: str
    workers: int | None = None

    @classmethod
    def parse(cls, text: str, alias: str) -> ServedModel:
        """
        Return NAME or NAME@ALIAS as a model; without an alias of its own it gets `alias`.

        Raises:
            ValueError: The name cannot stand in an address.
        """
        name, _, own_alias = text.partition("@")
        if not NAME.fullmatch(name):
            raise ValueError(
                f"model name: expected letters, digits, `_`, `.` and `-`, got {name!r}. "
                "Register the model under such a name."
            )
        return cls(name=name, alias=own_alias or alias)


def parse_models(text: str, alias: str) -> tuple[ServedModel, ...]:
    """
    Return NAME[@ALIAS],... as models.

    Args:
        text: As of --models.
        alias: Of those without one of their own.

    Raises:
        ValueError: No name, one that stands there twice, or that cannot stand in an address.
    """
    models = tuple(ServedModel.parse(part.strip(), alias) for part in text.split(",") if part)
    if len({model.name for model in models}) < max(len(models), 1):
        raise ValueError(f"--models: expected different names, got {text!r}.")
    return models


def with_workers(
    models: tuple[ServedModel, ...], text: str, default: int
) -> tuple[ServedModel, ...]:
    """
    Return the models with their numbers of workers.

    Args:
        models: Which.
        text: As of --workers: a number for each model, NAME=NUMBER, or several of these, with
            commas between them.
        default: For models that the text does not name.

    Raises:
        ValueError: A number below 1, none at all, or another model.
    """
    own: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.rpartition("=")
        if not re.fullmatch(r"-?\d+", number):
            raise ValueError(f"--workers: expected a number, or NAME=NUMBER, got {part!r}.")
        if int(number) < 1:
            raise ValueError(f"--workers: expected at least 1, got {number}.")
        if name and name not in {model.name for model in models}:
            known = ", ".join(model.name for model in models)
            raise ValueError(f"--workers: expected a model of --models ({known}), got {name!r}.")
        own[name] = int(number)
    return tuple(
        dataclasses.replace(model, workers=own.get(model.name, own.get("", default)))
        for model in models
    )
