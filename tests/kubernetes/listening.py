"""Who listens where in a pod, and what relies on it: addresses, declared ports, probes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from scripts.serve import PORTS
from tests.kubernetes.images import SIDE_CAR, option
from tests.kubernetes.rendered import Document, Pod, image_of

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


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Who listens on a port of a pod."""

    role: str
    container: str
    is_public: bool


def problems(
    pod: Pod, settings: dict[str, dict[str, str]], services: dict[str, Document]
) -> list[str]:
    """
    Return what leads to a port where nobody, or another one, listens.

    Args:
        pod: By the manifest.
        settings: Container -> the variables that it sees.
        services: All Services, by name.
    """
    listeners = _listeners(pod, settings)
    found = []
    for container in pod.containers:
        told = settings[str(container.get("name"))]
        found += [
            f"{pod.title}, {container.get('name')}: {problem}"
            for problem in [
                *_addresses(told, listeners, services), *_ports(container, listeners),
                *_probes(container, told, listeners),
            ]
        ]  # fmt: skip
    return found


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
        elif image == SIDE_CAR and "docker/sidecar.py" in words:
            add("sidecar", name, option(words, "metrics-port"), option(words, "metrics-host"))
        elif image == "postgres":
            add("postgres", name, 5432, "0.0.0.0")
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


def _port(url: SplitResult) -> int:
    """Return the port of an address; 0 where it has none that is one."""
    try:
        return url.port or 0
    except ValueError:
        return 0
