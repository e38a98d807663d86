"""All that is checked of a kustomization, in one list."""

from __future__ import annotations

from typing import Final

from tests.kubernetes import (
    hardening,
    listening,
    operators,
    programs,
    references,
    schemas,
    together,
)
from tests.kubernetes.images import environment
from tests.kubernetes.rendered import Document, parsed, pods

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
    maps = {_name(doc): doc.get("data", {}) for doc in around if doc.get("kind") == "ConfigMap"}
    services = {_name(doc): doc for doc in around if doc.get("kind") == "Service"}
    for pod in pods(docs):
        settings = {str(one.get("name")): environment(one, maps) for one in pod.containers}
        for container in pod.containers:
            name_ = str(container.get("name"))
            told = programs.problems(container, settings[name_])
            found += [f"{pod.title}, {name_}: {problem}" for problem in told]
        found += listening.problems(pod, settings, services)
        found += together.problems(pod, settings)
    return [
        *found, *hardening.problems(docs), *references.problems(name, docs, around),
        *operators.problems(docs),
    ]  # fmt: skip


def _name(doc: Document) -> str:
    return str(doc.get("metadata", {}).get("name", ""))
