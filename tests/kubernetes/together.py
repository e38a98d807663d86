"""How the containers of a pod stand to each other: volumes, memory, the order of a stop."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.kubernetes.hardening import amount
from tests.kubernetes.images import COMPOSE, SIDE_CAR, service
from tests.kubernetes.rendered import Document, Pod, image_of

SERVED: Final = "iqa"
"""Of settings.env and of the manifests that have no part of it."""
MOUNTS: Final = {"iqa-torchserve": ["/state", "/tmp", "/app/model-store"], "postgres": [
    "/var/lib/postgresql/data", "/var/run/postgresql", "/tmp"]}  # fmt: skip


def problems(pod: Pod, settings: dict[str, dict[str, str]]) -> list[str]:
    """
    Return what does not fit together.

    Args:
        pod: By the manifest.
        settings: Container -> the variables that it sees.
    """
    found = [f"{pod.title}: {problem}" for problem in _order(pod, settings)]
    for container in pod.containers:
        told = settings[str(container.get("name"))]
        found += [
            f"{pod.title}, {container.get('name')}: {problem}"
            for problem in [
                *_mounts(pod, container), *_memory(pod, container, told), *_stop(pod, container),
            ]
        ]  # fmt: skip
    return found


def _mounts(pod: Pod, container: Document) -> list[str]:
    image, mounts = image_of(container), container.get("volumeMounts", [])
    places = [str(mount.get("mountPath")) for mount in mounts]
    wanted = [str(word).split(":")[0] for word in service(image).get("tmpfs", [])]
    wanted += [
        str(word).split(":")[1] for word in service(image).get("volumes", []) if ":" in str(word)
    ]
    wanted = MOUNTS.get(image, wanted)
    if pod.kind == "Job":
        wanted = ["/state", "/tmp", "/app/model-store"]
    found = [f"expected a volume at {place}" for place in wanted if place not in places]
    read_only = {str(mount.get("mountPath")) for mount in mounts if mount.get("readOnly") is True}
    # Whoever may write to the store runs code in the workers; a pinned one is copied there first.
    is_pinned = "scripts.serve_pinned" in container.get("args", [])
    only_read = {"iqa-torchserve": {"/front"} if is_pinned else {"/app/model-store"},
                 "iqa-web": {"/state"}}.get(image, set())  # fmt: skip
    if read_only != only_read:
        found.append(f"read-only: expected {sorted(only_read)}, got {sorted(read_only)}")
    return found


def _memory(pod: Pod, container: Document, told: dict[str, str]) -> list[str]:
    """Volumes in memory count in the limit; a worker takes a core."""
    limits = container.get("resources", {}).get("limits", {})
    volumes = {
        volume.get("name"): volume.get("emptyDir", {}) for volume in pod.spec.get("volumes", [])
    }
    used = {
        mount.get("name")
        for mount in container.get("volumeMounts", [])
        if not mount.get("readOnly")
    }
    in_memory = sum(
        amount(volumes[name].get("sizeLimit"))
        for name in used
        if volumes.get(name, {}).get("medium") == "Memory"
    )
    image = image_of(container)
    found = []
    if not in_memory < amount(limits.get("memory")):
        found.append("memory: expected a limit above its volumes in memory")
    if image == "iqa-front":
        front = next((mount.get("name") for mount in container.get("volumeMounts", [])
                      if mount.get("mountPath") == "/state"), None)  # fmt: skip
        if volumes.get(front, {}).get("medium") != "Memory":
            found.append("/state: expected memory; on disk a flood of bodies ends the pod")
    if image == "iqa-torchserve":
        # A worker takes a core, or a GPU, whose libraries the image does not name.
        wanted = limits.get("nvidia.com/gpu", limits.get("cpu"))
        if told.get("WORKERS") != str(wanted):
            found.append(f"WORKERS: expected {wanted}")
        capabilities = "compute,utility" if "nvidia.com/gpu" in limits else None
        if told.get("NVIDIA_DRIVER_CAPABILITIES") != capabilities:
            found.append(f"NVIDIA_DRIVER_CAPABILITIES: expected {capabilities}")
    least = re.search(r":-(\d+)([mg])\}", str(service(image).get("mem_limit")))
    if least and image not in (SIDE_CAR, "iqa-sidecar"):
        bytes_ = int(least[1]) * (2**20 if least[2] == "m" else 2**30)
        if amount(limits.get("memory")) < bytes_:
            found.append(f"memory: expected at least compose's {least[1]}{least[2]}")
    return found


def _stop(pod: Pod, container: Document) -> list[str]:
    """What a container does before it is told to end."""
    image = image_of(container)
    hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [])
    text = " ".join(str(word) for word in hook[2:])
    if hook and [*hook[:2]] != ["sh", "-c"]:
        return ["preStop: expected a line of the shell"]
    if image == "iqa-front":
        if not re.search(r"sleep \d\d; touch /state/front/stopping; sleep [1-9]", text):
            return ["preStop: expected to wait for the endpoints, then to refuse"]
    elif pod.kind == "InferenceService":
        # Without an order of their own they wait for nginx to be gone.
        place = {"iqa-web": "/state/front/nginx.pid", "iqa-torchserve": "/front/front/nginx.pid"}
        if f"-e {place.get(image)} " not in text:
            return ["preStop: expected to wait until the front has ended"]
    return []


def _order(pod: Pod, settings: dict[str, dict[str, str]]) -> list[str]:
    """How the containers of a pod stand to each other."""
    found = []
    images = [image_of(container) for container in pod.containers]
    served = {told["MODELS"].partition("@")[0] for told in settings.values() if "MODELS" in told}
    if not pod.spec.get("containers") and pod.kind != "InferenceService":
        found.append("expected a main container")
    if pod.kind == "Job" and len(pod.containers) != 2:
        found.append("expected one container that registers and one that publishes")
    if images == ["postgres"]:  # a longer time than the default, to write its pages
        least_s = int(str(COMPOSE["postgres"]["stop_grace_period"]).rstrip("s"))
        if pod.spec.get("terminationGracePeriodSeconds", 30) < least_s:
            found.append(f"terminationGracePeriodSeconds: expected {least_s}")
    if served - {SERVED}:
        found.append(f"MODELS: expected {SERVED}, got {sorted(served)}")
    if "iqa-front" in images:
        wanted = {"iqa-front", "iqa-web", "iqa-torchserve"}
        if pod.kind == "Deployment":
            wanted.add(SIDE_CAR)
        if set(images) != wanted:
            found.append(f"expected {sorted(wanted)}, got {images}")
        grace_s = 15 + sum(
            int(str(service(image)["stop_grace_period"]).rstrip("s"))
            for image in images
            if service(image)
        )
        if pod.spec.get("terminationGracePeriodSeconds", 30) < min(grace_s, 190):
            found.append(f"terminationGracePeriodSeconds: expected {grace_s}")
        found += _socket(pod, settings)
    if pod.kind == "Deployment":
        starts = pod.spec.get("initContainers", [])
        found += [
            f"{container.get('name')}: expected restartPolicy Always, else the pod never starts"
            for container in starts
            if container.get("restartPolicy") != "Always"
        ]
        if starts and [image_of(c) for c in pod.spec.get("containers", [])] != ["iqa-front"]:
            found.append("expected the front alone as main container: it is to end first")
    return found


def _socket(pod: Pod, settings: dict[str, dict[str, str]]) -> list[str]:
    """The gateway's way to the front is a file in a volume that both have."""
    at = {}
    for container in pod.containers:
        image, told = image_of(container), settings[str(container.get("name"))]
        path = {
            "iqa-web": told.get("WEB_INFERENCE_URL", "").removeprefix("unix:"),
            "iqa-front": f"{told.get('FRONT_DIR')}/gateway.sock",
        }.get(image)
        for mount in container.get("volumeMounts", []):
            place = str(mount.get("mountPath"))
            if path is not None and Path(place) in Path(path).parents:
                at[image] = mount.get("name"), str(Path(path).relative_to(place))
    if at.get("iqa-web") is None or at.get("iqa-web") != at.get("iqa-front"):
        return [f"the gateway's socket: expected one file, got {at}"]
    return []
