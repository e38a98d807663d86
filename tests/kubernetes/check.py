"""All that is checked of a kustomization, in one list."""

from __future__ import annotations

from typing import Final

from tests.kubernetes import hardening, programs, references, schemas
from tests.kubernetes.rendered import Document, parsed

NEIGHBOURS: Final = {"registry": ("single",), "publish": ("single", "registry")}
"""What else is applied, for names that lead there; of the overlays one, and the registry."""


def problems(name: str, docs: list[Document], changed: list[Document] | None = None) -> list[str]:
    """
    Return what is wrong.

    Args:
        name: Of the kustomization.
        docs: Its documents.
        changed: Those whose schema is to be looked at; None: all.
    """
    found = [p for doc in (docs if changed is None else changed) for p in schemas.problems(doc)]
    if found:  # the rest may rely on the shape
        return found
    others = [doc for other in NEIGHBOURS.get(name, ("registry",)) for doc in parsed(other)]
    around = [*others, *docs]
    return [
        *hardening.problems(docs), *programs.problems(docs, around),
        *references.problems(name, docs, around),
    ]  # fmt: skip
