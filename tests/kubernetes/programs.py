"""
What the containers run, held against what the images and the programs are.

The truth is elsewhere: Dockerfile and docker-compose.yml, the programs' own options, the names of
variables in the sources, and who listens where.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import yaml

from console.paths import ROOT
from scripts.serve import PORTS
from tests.kubernetes.hardening import amount, image_of
from tests.kubernetes.rendered import Document, Pod, pods

COMPOSE: Final[dict[str, Document]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())[
    "services"
]
DOCKERFILE: Final = (ROOT / "Dockerfile").read_text()
OTHER_PROGRAMS: Final = {
    "iqa-torchserve": {("python", "-m", "scripts.serve_pinned"): ["/mnt/models"]},
    "iqa-sidecar": {
        ("python", "-m", "scripts.register_pretrained"): ["--all", "--if-empty"],
        ("python", "-m", "scripts.build_mar"): ["--alias", "--publish"],
    },
}
"""Beside an image's own: {the words that name it: the words that it needs}."""
SERVED: Final = "iqa"
"""Of settings.env and of the manifests that have no part of it."""
NOT_OURS: Final = {
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_S3_ENDPOINT_URL", "ARTIFACTS",
    "POSTGRES_PASSWORD", "POSTGRES_USER", "POSTGRES_DB", "PGDATA", "NVIDIA_DRIVER_CAPABILITIES",
}  # fmt: skip
OPTIONAL: Final = {"PREDICTION_LOG", "IQA_LOG_LEVEL", "MLFLOW_SERVER_ALLOWED_HOSTS"}
"""Of compose's variables those that may be left out; the last is an option here."""
ROLES: Final = {
    "INFERENCE_URL": "inference", "MANAGEMENT_URL": "management", "METRICS_URL": "metrics",
    "HEALTH_URL": "health", "FRONT_UPSTREAM": "inference", "FRONT_HEALTH": "health",
    "FRONT_WEB": "web", "WEB_READY_URL": "health",
}  # fmt: skip
PATHS: Final = {
    "livenessProbe": {"health": "/live", "sidecar": "/metrics", "mlflow": "/health",
                      "web": "/v2/health/live"},
    "readinessProbe": {"health": "/ready", "front": "/ready", "mlflow": "/health"},
    "startupProbe": {"health": "/live", "mlflow": "/health"},
}  # fmt: skip
MOUNTS: Final = {"iqa-torchserve": ["/state", "/tmp", "/app/model-store"], "postgres": [
    "/var/lib/postgresql/data", "/var/run/postgresql", "/tmp"]}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Who listens on a port of a pod."""

    role: str
    container: str
    is_public: bool


@functools.cache
def stage(image: str) -> tuple[list[str], dict[str, str]]:
    """Return (CMD, ENV) of an image of ours, by the Dockerfile."""
    name = image.removeprefix("iqa-")
    found = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.M | re.S)
    if found is None:
        return [], {}
    text = found[1].replace("\\\n", " ")
    command = re.search(r"^CMD \[(.*)\]", text, re.M)
    words = re.findall(r'"([^"]*)"', command[1]) if command else []
    settings = dict(
        pair
        for line in re.findall(r"^ENV (.*)$", text, re.M)
        for pair in re.findall(r"(\w+)=(\S+)", line)
    )
    return words, settings


@functools.cache
def known_variables() -> frozenset[str]:
    """Return every name that the sources could mean as a variable."""
    files = [ROOT / "Dockerfile", *(p for top in ("scripts", "web", "docker", "console")
             for p in (ROOT / top).rglob("*.py"))]  # fmt: skip
    words = set()
    for path in files:
        words |= set(re.findall(r"\b[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)*\b", path.read_text()))
    # serve.py makes the first of a table.
    words |= {f"{name.upper()}_PORT" for name in PORTS}
    words |= {name for service in COMPOSE.values() for name in service.get("environment", {})}
    return frozenset(words | NOT_OURS)


@functools.cache
def options_of(module: str) -> frozenset[str]:
    """Return the options of a command of ours, by its help; empty if there is no such command."""
    printed = io.StringIO()
    words = ["sync", "--help"] if module == "scripts.deploy" else ["--help"]
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            importlib.import_module(module).main(words)
    except ModuleNotFoundError:
        return frozenset()
    return frozenset(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", printed.getvalue()))


def problems(docs: list[Document], around: list[Document]) -> list[str]:
    """
    Return what does not fit the programs.

    Args:
        docs: Of one kustomization.
        around: Of all; Services and settings that others bring.
    """
    maps = {_name(doc): doc.get("data", {}) for doc in around if doc.get("kind") == "ConfigMap"}
    maps |= {_name(doc): doc.get("data", {}) for doc in docs if doc.get("kind") == "ConfigMap"}
    services = {_name(doc): doc for doc in around if doc.get("kind") == "Service"}
    found = []
    for pod in pods(docs):
        settings = {
            str(container.get("name")): environment(container, maps) for container in pod.containers
        }
        listeners = _listeners(pod, settings)
        for container in pod.containers:
            told = settings[str(container.get("name"))]
            found += [
                f"{pod.title}, {container.get('name')}: {problem}"
                for problem in [
                    *_words(container), *_variables(container, told),
                    *_addresses(told, listeners, services), *_ports(container, listeners),
                    *_probes(container, told, listeners), *_mounts(pod, container),
                    *_memory(pod, container, told), *_stop(pod, container),
                ]
            ]  # fmt: skip
        found += [f"{pod.title}: {problem}" for problem in _order(pod, settings)]
    return found


def environment(container: Document, maps: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return what a container's program sees, the image's variables included."""
    seen = dict(stage(image_of(container))[1])
    for one in container.get("env", []):
        name, source = str(one.get("name")), one.get("valueFrom", {})
        key = source.get("configMapKeyRef", {})
        if "secretKeyRef" in source:
            seen[name] = "secret"
        elif key:
            seen[name] = str(maps.get(key.get("name"), {}).get(key.get("key"), ""))
        else:
            seen[name] = str(one.get("value", ""))
    return seen


def option(words: list[str], name: str, default: str = "") -> str:
    """Return the value of --name=VALUE among words."""
    return next((w.partition("=")[2] for w in words if w.startswith(f"--{name}=")), default)


def _listeners(pod: Pod, settings: dict[str, dict[str, str]]) -> dict[int, Listener]:
    found: dict[int, Listener] = {}

    def add(role: str, container: str, port: Any, host: str) -> None:
        if re.fullmatch(r"\d+", str(port)):
            found[int(port)] = Listener(role=role, container=container, is_public=host == "0.0.0.0")

    for container in pod.containers:
        name, image = str(container.get("name")), image_of(container)
        words, told = [str(word) for word in container.get("args", [])], settings[name]
        if image == "iqa-torchserve":
            for role in ("inference", "management", "metrics", "health"):
                port = told.get(f"{role.upper()}_PORT") or PORTS[role][0]
                add(role, name, port, told.get(f"{role.upper()}_HOST", ""))
        elif image == "iqa-front":
            host, _, port = told.get("FRONT_LISTEN", "").rpartition(":")
            add("front", name, port, host)
        elif image in ("iqa-web", "iqa-mlflow"):
            role = image.removeprefix("iqa-")
            add(role, name, option(words, "port"), option(words, "host"))
        elif image == "iqa-sidecar" and "docker/sidecar.py" in words:
            add("sidecar", name, option(words, "metrics-port"), option(words, "metrics-host"))
        elif image == "postgres":
            add("postgres", name, 5432, "0.0.0.0")
    return found


def _words(container: Document) -> list[str]:
    image, words = image_of(container), [str(word) for word in container.get("args", [])]
    if "command" in container:
        return ["command: expected the image's own entry point, which reaps processes"]
    if image == "postgres":
        return []
    own = stage(image)[0]
    if not own:
        return [f"image: the Dockerfile has no stage for {image}"]
    service = COMPOSE.get(image.removeprefix("iqa-"), {})
    own = _joined([str(word) for word in service.get("command", own)])
    n_named = 3 if own[:2] == ["python", "-m"] else 2
    programs = {tuple(own[:n_named]): own[n_named:], **OTHER_PROGRAMS.get(image, {})}
    for named, wanted in programs.items():
        if tuple(words[: len(named)]) == named:
            return _options(named, wanted, words[len(named) :])
    return [f"args: expected one of {[' '.join(named) for named in programs]}, got {words}"]


def _joined(words: list[str]) -> list[str]:
    """Return the words with --name VALUE as --name=VALUE."""
    joined: list[str] = []
    for word in words:
        has_name = bool(joined) and joined[-1].startswith("--") and "=" not in joined[-1]
        if has_name and (not word.startswith("--") or joined[-1] == "--uvicorn-opts"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _options(named: tuple[str, ...], wanted: list[str], words: list[str]) -> list[str]:
    needs = {word.partition("=")[0] for word in wanted if word.startswith("--") or "/" in word[:1]}
    names = {word.partition("=")[0] for word in words}
    module = "scripts.deploy" if named[-1] == "docker/sidecar.py" else named[-1]
    known = options_of(module) if module.startswith("scripts.") else frozenset(needs)
    # What compose's service sets and a program has a default for.
    found = [f"args: expected {word}" for word in sorted(needs - names - {"--poll-s"})]
    unknown = {name for name in names - known - needs if name.startswith("-")}
    found += [f"args: no option {name} of {named[-1]}" for name in sorted(unknown)]
    loose = [word for word in words if not word.startswith("--") and word not in wanted]
    return found + [f"args: unknown word {word!r}" for word in loose]


def _variables(container: Document, told: dict[str, str]) -> list[str]:
    image = image_of(container)
    names = [str(one.get("name")) for one in container.get("env", [])]
    found = [f"env: nothing reads {name}" for name in names if name not in known_variables()]
    found += [f"env: {name} twice" for name in set(names) if names.count(name) > 1]
    found += [f"env: {name} is empty" for name in names if told[name] == ""]
    words = " ".join(str(word) for word in container.get("args", []))
    is_own = image == "iqa-sidecar" and "docker/sidecar.py" not in words
    service = COMPOSE.get("register" if is_own else image.removeprefix("iqa-"), {})
    for name in service.get("environment", {}):
        if name not in OPTIONAL and not told.get(name):
            if is_own and "build_mar" in words and name == "MODELS":
                continue
            found.append(f"env: expected {name}")
    # The image's own values name compose's other containers.
    found += [
        f"env: {name}={value}: no such host in a pod"
        for name, value in told.items()
        if re.search(r"(^|/)(front|torchserve|web):\d", value)
    ]
    if (
        image == "iqa-sidecar"
        and "docker/sidecar.py" in words
        and told.get("IQA_ARCHIVES") != "registry"
    ):
        found.append("env: expected IQA_ARCHIVES=registry")
    for reference in re.findall(r"\$\((\w+)\)", words + " ".join(told.values())):
        if reference not in names:
            found.append(f"$({reference}): no such variable before it")
    if image == "iqa-torchserve":
        for name in ("INFERENCE_HOST", "MANAGEMENT_HOST"):
            if told.get(name) != "127.0.0.1":
                found.append(f"{name}: expected 127.0.0.1, got {told.get(name)}")
        if told.get("MODELS", "").count(",") == 0 and "pinned" in words and not re.fullmatch(
            r"[0-9a-f]{64}", told.get("PINNED_MAR_SHA256", "")):  # fmt: skip
            found.append("env: expected PINNED_MAR_SHA256")
    return found


def _addresses(
    told: dict[str, str], listeners: dict[int, Listener], services: dict[str, Document]
) -> list[str]:
    found = []
    for name, value in told.items():
        role = ROLES.get(name)
        url = urlsplit(value if "://" in value else f"//{value}")
        if role is not None:
            if url.hostname != "127.0.0.1":
                found.append(f"{name}: expected the pod's own loopback, got {value}")
            elif (at := listeners.get(_port(url))) is None or at.role != role:
                found.append(f"{name}: expected the port of {role}, got {value}")
            if name == "WEB_READY_URL" and url.path != "/ready":
                found.append(f"{name}: expected /ready, got {value}")
        elif name == "PGDATA" and not value.startswith("/var/lib/postgresql/data/"):
            found.append(f"{name}: expected a folder below the volume, got {value}")
        elif name in ("POSTGRES_USER", "POSTGRES_DB") and value != "mlflow":
            found.append(f"{name}: expected mlflow, as in MLflow's address, got {value}")
        elif name in ("MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI") and "sqlite" not in value:
            service = services.get(url.hostname or "", {})
            ports = {port.get("port") for port in service.get("spec", {}).get("ports", [])}
            scheme = "http" if name == "MLFLOW_TRACKING_URI" else "postgresql+pg8000"
            user = (url.username, url.path) == ("mlflow", "/mlflow")
            if url.scheme != scheme or not (scheme == "http" or user):
                found.append(f"{name}: expected {scheme}, user and database mlflow, got {value}")
            if _port(url) not in ports:
                found.append(f"{name}: no Service {url.hostname} with port {url.port}")
    return found


def _ports(container: Document, listeners: dict[int, Listener]) -> list[str]:
    name = container.get("name")
    declared = {port.get("containerPort") for port in container.get("ports", [])}
    public = {n for n, one in listeners.items() if one.container == name and one.is_public}
    if declared != public:
        return [f"ports: listens on {sorted(public)}, declares {sorted(map(str, declared))}"]
    return []


def _probes(container: Document, told: dict[str, str], listeners: dict[int, Listener]) -> list[str]:
    named = {port.get("name"): port.get("containerPort") for port in container.get("ports", [])}
    found = []
    for kind, paths in PATHS.items():
        probe = container.get(kind)
        if not probe:
            continue
        period_s, failures = probe.get("periodSeconds", 10), probe.get("failureThreshold", 3)
        if probe.get("timeoutSeconds", 1) > 5 or period_s > 20 or period_s * failures > 600:
            found.append(f"{kind}: too patient")
        if probe.get("initialDelaySeconds", 0) > 60:
            found.append(f"{kind}: too patient")
        if kind == "readinessProbe" and period_s > 5:
            found.append(f"{kind}: too patient")
        if image_of(container) == "postgres":
            wanted = [
                f"--username={told.get('POSTGRES_USER')}",
                f"--dbname={told.get('POSTGRES_DB')}",
            ]
            if probe.get("exec", {}).get("command") != ["pg_isready", *wanted, "--host=127.0.0.1"]:
                found.append(f"{kind}: expected pg_isready of its own database")
            continue
        if "exec" in probe:
            words = probe["exec"].get("command", [])
            url = urlsplit(str(words[-1]) if words else "")
            port, path = _port(url), url.path
            if words[:2] != ["python", "docker/is_healthy.py"]:
                found.append(f"{kind}: no such program: {words}")
        else:
            check = probe.get("httpGet") or probe.get("tcpSocket") or {}
            port, path = named.get(check.get("port"), check.get("port")), check.get("path")
            if port not in named.values():
                found.append(f"{kind}: port {port} is none of the container's")
        listener = listeners.get(port if isinstance(port, int) else 0)
        if listener is None or listener.container != container.get("name"):
            found.append(f"{kind}: nobody listens on {port}")
        elif "tcpSocket" in probe:
            if listener.role != "front":
                found.append(f"{kind}: {listener.role} has a path for it")
        elif paths.get(listener.role) != path:
            found.append(f"{kind}: {listener.role} has no {path} for it")
        # MLflow answers those alone that call it by a name it knows; a probe calls an address.
        headers = probe.get("httpGet", {}).get("httpHeaders", [])
        if listener and listener.role == "mlflow" and headers != [
            {"name": "Host", "value": "localhost:5000"}]:  # fmt: skip
            found.append(f"{kind}: expected Host: localhost:5000")
    return found


def _mounts(pod: Pod, container: Document) -> list[str]:
    image, mounts = image_of(container), container.get("volumeMounts", [])
    places = [str(mount.get("mountPath")) for mount in mounts]
    service = COMPOSE.get(image.removeprefix("iqa-"), {})
    wanted = [str(word).split(":")[0] for word in service.get("tmpfs", [])]
    wanted += [str(word).split(":")[1] for word in service.get("volumes", []) if ":" in str(word)]
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
    least = re.search(
        r":-(\d+)([mg])\}", str(COMPOSE.get(image.removeprefix("iqa-"), {}).get("mem_limit"))
    )
    if least and image != "iqa-sidecar":
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
    served = {told["MODELS"].partition("@")[0] for told in settings.values() if "MODELS" in told}
    if served - {SERVED}:
        found.append(f"MODELS: expected {SERVED}, got {sorted(served)}")
    images = [image_of(container) for container in pod.containers]
    if "iqa-front" in images:
        wanted = {"iqa-front", "iqa-web", "iqa-torchserve"}
        if pod.kind == "Deployment":
            wanted.add("iqa-sidecar")
        if set(images) != wanted:
            found.append(f"expected {sorted(wanted)}, got {images}")
        grace_s = 15 + sum(
            int(str(COMPOSE[image.removeprefix("iqa-")]["stop_grace_period"]).rstrip("s"))
            for image in images
            if image.removeprefix("iqa-") in COMPOSE
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


def _port(url: SplitResult) -> int:
    """Return the port of an address; 0 where it has none that is one."""
    try:
        return url.port or 0
    except ValueError:
        return 0


def _name(doc: Document) -> str:
    return str(doc.get("metadata", {}).get("name", ""))
