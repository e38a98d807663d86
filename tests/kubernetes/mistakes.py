"""
Mistakes that people make in manifests, made by the hundred: to find out what the checks miss.

Each one is a place in a rendered document and what is done there: something is left out, mistyped,
of another type, or has a value that is wrong. They are enumerated from the documents, not from
the checks, and a seed draws some of them.
"""

from __future__ import annotations

import copy
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from tests.kubernetes.rendered import PLACES, Document, documents, parsed

LEFT_OUT: Final = {
    "livenessProbe", "readinessProbe", "securityContext", "runAsNonRoot", "runAsUser", "runAsGroup",
    "fsGroup", "seccompProfile", "allowPrivilegeEscalation", "readOnlyRootFilesystem",
    "capabilities", "resources", "limits", "requests", "cpu", "memory", "ephemeral-storage",
    "selector", "automountServiceAccountToken", "enableServiceLinks", "lifecycle", "preStop",
    "terminationGracePeriodSeconds", "sizeLimit", "serviceAccountName", "policyTypes", "from",
    "podSelector", "restartPolicy", "publishNotReadyAddresses", "scaleTargetRef", "image", "env",
    "volumeMounts", "volumes", "ports", "targetPort", "relabelings", "clusterIP", "storageUri",
    "strategy", "readOnly", "httpHeaders", "scaleDown", "namespace", "replacement", "runtime",
    "supportedModelFormats", "pod-security.kubernetes.io/enforce",
}  # fmt: skip
ITEMS_LEFT_OUT: Final = {
    "env", "args", "volumeMounts", "volumes", "containers", "initContainers", "ports", "endpoints",
    "command", "drop", "policyTypes", "egress", "ingress", "triggers", "metrics",
}  # fmt: skip
MISTYPED: Final = {
    "mountPath", "path", "key", "serviceAccountName", "serviceName", "runtime", "image", "kind",
    "apiVersion", "targetPort", "replacement", "storageUri", "protocolVersion", "serverAddress",
    "query", "threshold", "averageValue", "namespace",
}  # fmt: skip
MANY_TIMES: Final = {"periodSeconds", "failureThreshold", "timeoutSeconds", "initialDelaySeconds"}

Path = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """
    One mistake.

    Attributes:
        kustomization: Where it is made.
        kind: What sort of mistake it is.
        title: Where, and what.
        index: Of the document.
        apply: Changes a copy of that document; True: it is gone as a whole.
    """

    kustomization: str
    kind: str
    title: str
    index: int
    apply: Callable[[Document], bool]

    def documents(self) -> tuple[list[Document], list[Document]]:
        """Return all documents with the mistake in them, and the changed one."""
        docs = documents(self.kustomization)
        if self.apply(docs[self.index]):
            del docs[self.index]
            return docs, []
        return docs, [docs[self.index]]


def drawn(number: int, seed: int) -> list[Mistake]:
    """Draw mistakes, of each kind in turn, so that the frequent kinds do not crowd out others."""
    draw = random.Random(seed)
    by_kind: dict[str, list[Mistake]] = defaultdict(list)
    for mistake in enumerated():
        by_kind[mistake.kind].append(mistake)
    for mistakes in by_kind.values():
        draw.shuffle(mistakes)
    chosen: list[Mistake] = []
    while len(chosen) < number:
        for kind in sorted(by_kind):
            if by_kind[kind]:
                chosen.append(by_kind[kind].pop())
    return chosen[:number]


def enumerated() -> Iterator[Mistake]:
    """Yield every mistake, of every kustomization."""
    for name in PLACES:
        for index, doc in enumerate(parsed(name)):
            if doc["kind"] == "PrometheusRule":  # equal to its source, by a test of its own
                continue
            about = f"{name}: {doc['kind']} {doc['metadata']['name']}"
            yield Mistake(kustomization=name, kind="document left out", title=about, index=index,
                          apply=lambda _: True)  # fmt: skip
            for path, value in _walk(doc, ()):
                for kind, change in _changes(doc, path, value):
                    where = f"{about}: {'.'.join(map(str, path))}"
                    yield Mistake(kustomization=name, kind=kind, title=f"{where}: {kind}",
                                  index=index, apply=change)  # fmt: skip


def _walk(node: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    children: Any = ()
    if isinstance(node, dict):
        children = list(node.items())
    elif isinstance(node, list):
        children = list(enumerate(node))
    for key, value in children:
        yield (*path, key), value
        yield from _walk(value, (*path, key))


def _changes(
    doc: Document, path: Path, value: Any
) -> Iterator[tuple[str, Callable[[Document], bool]]]:
    key, parent = path[-1], path[-2] if len(path) > 1 else None
    if (
        key in LEFT_OUT
        and path[:1] != ("status",)
        and not (parent == "metadata" and key != "namespace")
    ):
        yield f"{key} left out", _without(path)
    if parent in ITEMS_LEFT_OUT and isinstance(key, int):
        yield f"{parent} lacks one", _without(path)
    is_free = {"labels", "matchLabels", "nodeSelector"} & set(path)
    if isinstance(key, str) and path[0] == "spec" and key.isalpha() and not is_free:
        yield "field mistyped", _renamed(path)
    if isinstance(value, bool):
        yield "flag turned round", _set(path, not value)
    elif isinstance(value, int):
        yield "a word for a number", _set(path, "many")
        if key in ("containerPort", "port", "targetPort"):
            yield "another port", _set(path, value + 1)
        if key in ("runAsUser", "runAsGroup"):
            yield "root", _set(path, 0)
        if key in MANY_TIMES and value * 1000 > 100:
            yield "far too patient", _set(path, value * 1000)
        if key == "terminationGracePeriodSeconds":
            yield "no patience", _set(path, 10)
        if key in ("maxUnavailable", "minReplicas", "minReplicaCount", "maxSurge", "minAvailable"):
            yield "another number", _set(path, 1 - min(value, 1))
    elif isinstance(value, str):
        yield from _other_words(path, key, parent, value)


def _other_words(
    path: Path, key: Any, parent: Any, value: str
) -> Iterator[tuple[str, Callable[[Document], bool]]]:
    if key == "image":
        yield "latest", _set(path, re.sub(r":[^:/]*$", ":latest", value))
        yield "no tag", _set(path, re.sub(r":[^:/]*$", "", value))
    is_reference = parent in ("configMapKeyRef", "secretKeyRef", "scaleTargetRef", "metric") or (
        key == "name" and len(path) > 2 and path[-3] in ("volumeMounts", "volumes", "env", "ports")
    )
    is_selector = parent in ("matchLabels", "selector") or path[:4] == (
        "spec",
        "template",
        "metadata",
        "labels",
    )
    if (
        (key in MISTYPED and path[:1] != ("metadata",))
        or is_selector
        or (is_reference and key in ("name", "key"))
    ):
        yield "word mistyped", _set(path, _typo(value))
    if key == "port" or (key == "port" and isinstance(parent, int)):
        yield "word mistyped", _set(path, _typo(value))
    if parent in ("args", "command"):
        yield "argument mistyped", _set(path, _typo(value))
    if key == "value" and parent != "httpHeaders":
        port = re.search(r":(\d{4,5})", value)
        if port:
            wrong = value.replace(port[1], str(int(port[1]) + 1))
            yield "address with another port", _set(path, wrong)
        yield "value mistyped", _set(path, _typo(value))
    if parent == "data" and "://" in value and value.startswith("http://"):
        yield "address with another port", _set(path, value[:-1] + "1")
    if parent == "data":
        yield "key left out", _without(path)
    if parent in ("limits", "requests") and re.fullmatch(r"\d+[MG]i", value):
        yield "request above the limit" if parent == "requests" else "limit below the request", (
            _set(path, "900Gi" if parent == "requests" else "1Mi"))  # fmt: skip


def _typo(word: str) -> str:
    """Return a word with two letters changed round, or one too many."""
    for place in range(len(word) // 2, len(word) - 1):
        if word[place] != word[place + 1] and (word[place] + word[place + 1]).isalpha():
            return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return word + "x"


def _parent(doc: Document, path: Path) -> Any:
    node: Any = doc
    for key in path[:-1]:
        node = node[key]
    return node


def _without(path: Path) -> Callable[[Document], bool]:
    def change(doc: Document) -> bool:
        del _parent(doc, path)[path[-1]]
        return False

    return change


def _set(path: Path, value: Any) -> Callable[[Document], bool]:
    def change(doc: Document) -> bool:
        _parent(doc, path)[path[-1]] = copy.deepcopy(value)
        return False

    return change


def _renamed(path: Path) -> Callable[[Document], bool]:
    def change(doc: Document) -> bool:
        parent = _parent(doc, path)
        parent[_typo(path[-1])] = parent.pop(path[-1])
        return False

    return change
