"""What every pod must have, whatever it runs: no rights, limits, pinned images, probes."""

from __future__ import annotations

import re
from typing import Any, Final

from tests.kubernetes.rendered import Document, Pod, image_of, pods

USERS: Final = {"postgres": 999}
"""By image; all others are ours, and the Dockerfile's user."""
OWN_USER: Final = 10001
UNITS: Final = {"": 1.0, "m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
RESOURCES: Final = ("cpu", "memory", "ephemeral-storage")
NOT_READY_APART: Final = {"web", "sidecar"}
"""Their absence must not take a pod out that scores."""
HOST: Final = ("hostNetwork", "hostPID", "hostIPC", "hostUsers")


def amount(text: Any) -> float:
    """Return a quantity in cores or bytes; NaN if it is none."""
    found = re.fullmatch(r"([\d.]+)(m|Ki|Mi|Gi)?", str(text))
    return float(found[1]) * UNITS[found[2] or ""] if found else float("nan")


def problems(docs: list[Document]) -> list[str]:
    """Return what is missing."""
    found = []
    for doc in docs:
        if doc.get("kind") == "Namespace":
            labels = doc.get("metadata", {}).get("labels", {})
            if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
                found.append("Namespace: expected enforce=restricted")
        if (
            doc.get("kind") == "ServiceAccount"
            and doc.get("automountServiceAccountToken") is not False
        ):
            found.append("ServiceAccount: expected no token")
    for pod in pods(docs):
        found += [f"{pod.title}: {problem}" for problem in _of_pod(pod)]
        for container in pod.containers:
            found += [
                f"{pod.title}, {container.get('name')}: {problem}"
                for problem in [
                    *_rights(container), *_resources(container), *_image(container),
                    *_probes(pod, container),
                ]
            ]  # fmt: skip
    return found


def _of_pod(pod: Pod) -> list[str]:
    found = []
    spec, context = pod.spec, pod.spec.get("securityContext", {})
    images = {image_of(container) for container in pod.containers}
    users = {USERS.get(image, OWN_USER) for image in images}
    if context.get("runAsNonRoot") is not True:
        found.append("expected runAsNonRoot")
    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        if {context.get(name)} != users:
            found.append(f"{name}: expected {users}, got {context.get(name)}")
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        found.append("expected seccomp RuntimeDefault")
    if spec.get("automountServiceAccountToken") is not False:
        found.append("expected no service account token")
    if spec.get("enableServiceLinks") is not False:
        found.append("expected no variables of services")
    found += [f"{name} is set" for name in HOST if spec.get(name)]
    for volume in spec.get("volumes", []):
        if set(volume) - {"name", "emptyDir"}:
            found.append(f"volume {volume.get('name')}: expected an emptyDir")
        elif not volume.get("emptyDir", {}).get("sizeLimit"):
            found.append(f"volume {volume.get('name')}: expected a limit")
    return found


def _rights(container: Document) -> list[str]:
    context = container.get("securityContext", {})
    found = []
    if context.get("allowPrivilegeEscalation") is not False:
        found.append("may gain rights")
    if context.get("readOnlyRootFilesystem") is not True:
        found.append("may write its root")
    if context.get("capabilities") != {"drop": ["ALL"]}:
        found.append("has capabilities")
    if set(context) - {"allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"}:
        found.append(f"has a context of its own: {sorted(context)}")
    return found


def _resources(container: Document) -> list[str]:
    resources = container.get("resources", {})
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    found = []
    for name in RESOURCES:
        wanted, most = amount(requests.get(name)), amount(limits.get(name))
        if not 0 < wanted <= most:
            found.append(f"{name}: expected a request within its limit, got {wanted} and {most}")
    if requests.get("nvidia.com/gpu") != limits.get("nvidia.com/gpu"):
        found.append("nvidia.com/gpu: expected request and limit to be the same")
    return found


def _image(container: Document) -> list[str]:
    image = str(container.get("image", ""))
    found = []
    if not re.fullmatch(r"[\w.-]+\.[\w.-]+/[\w./-]+(:[\w.-]+|@sha256:[0-9a-f]{64})", image):
        found.append(f"image: expected registry, name and tag or digest, got {image!r}")
    if image.endswith(":latest"):
        found.append("image: expected a version, got latest")
    if container.get("imagePullPolicy", "IfNotPresent") != "IfNotPresent":
        found.append("image: expected no policy of its own")
    return found


def _probes(pod: Pod, container: Document) -> list[str]:
    if pod.kind == "Job":
        return []
    found = []
    if not container.get("livenessProbe"):
        found.append("expected a liveness probe")
    wants_readiness = container.get("name") not in NOT_READY_APART
    if wants_readiness != bool(container.get("readinessProbe")):
        found.append(f"expected a readiness probe: {wants_readiness}")
    return found
