"""
Pods of the manifests as containers of a Docker engine: what a kubelet does, in short.

A pod is a container that holds the network, and one for each of the manifest's, in that network:
with its arguments, variables, user, limits, volumes and probes. Ended as a kubelet ends it: the
`preStop` of the main containers, TERM, and then the side-cars from the last to the first.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import requests
import yaml

from console.paths import ROOT
from tests.kubernetes.hardening import amount
from tests.kubernetes.images import environment
from tests.kubernetes.rendered import Document, Pod, image_of

LABEL: Final = "iqa-pods"
POLL_S: Final = 0.2


def docker(*words: str, fails: bool = False) -> str:
    """Run a docker command; return what it prints."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    assert fails or done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


def image(container: Document) -> str:
    """Return the engine's own image for a container; TORCHSERVE_IMAGE and the like name others."""
    name = image_of(container)
    return os.environ.get(_variable(name)) or name


def build(name: str) -> None:
    """Build an image that no service of compose has, as compose would; not one that is named."""
    if os.environ.get(_variable(name)):
        return
    told = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["x-build-arguments"]
    arguments = {
        key: re.sub(r"\$\{(\w+):-(.*)\}", lambda one: os.environ.get(one[1]) or one[2], value)
        for key, value in told.items()
    }
    words = [f"--build-arg={key}={value}" for key, value in arguments.items()]
    docker("build", "--target", name.removeprefix("iqa-"), "-t", name, *words, str(ROOT))


def _variable(name: str) -> str:
    return name.removeprefix("iqa-").replace("-", "_").upper() + "_IMAGE"


@dataclass
class Cluster:
    """
    A network, and the pods on it.

    Args:
        name: Of the network; of all that is made the label's value.
        maps: The data of the ConfigMaps.
    """

    name: str
    maps: dict[str, dict[str, str]]
    pods: list[RunningPod] = field(default_factory=list)

    def __post_init__(self) -> None:
        docker("network", "create", "--internal", "--label", f"{LABEL}={self.name}", self.name)

    def run(self, pod: Pod, alias: str = "", **overrides: Any) -> RunningPod:
        """Start a pod; `overrides` as of RunningPod."""
        number = len(self.pods)
        running = RunningPod(self, pod, f"{self.name}-{pod.name}-{number}", alias, **overrides)
        self.pods.append(running)
        running.start()
        return running

    def remove(self) -> None:
        """Remove everything with this cluster's label."""
        mine = ("--filter", f"label={LABEL}={self.name}")
        for kind, words in (("rm", ("ps", "-aq")), ("volume", ("volume", "ls", "-q"))):
            names = docker(*words, *mine, fails=True).split()
            if names:
                command = ["rm", "--force"] if kind == "rm" else ["volume", "rm", "--force"]
                docker(*command, *names, fails=True)
        docker("network", "rm", self.name, fails=True)


@dataclass
class RunningPod:
    """
    One pod.

    Args:
        cluster: Where it runs.
        pod: By the manifest.
        name: Of its containers, as a prefix.
        alias: Its name on the network, as a Service's.
        variables: Container -> variables in place of the manifest's.
        words: Container -> arguments in place of the manifest's.
        mounts: Container -> further options of `docker run`.
    """

    cluster: Cluster
    pod: Pod
    name: str
    alias: str = ""
    variables: dict[str, dict[str, str]] = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=dict)
    mounts: dict[str, list[str]] = field(default_factory=dict)
    address: str = ""

    def start(self) -> None:
        """Make volumes and network, then start the containers in the manifest's order."""
        label = ("--label", f"{LABEL}={self.cluster.name}")
        for volume in self.pod.spec.get("volumes", []):
            told, options = volume["emptyDir"], []
            if told.get("medium") == "Memory":
                size = int(amount(told["sizeLimit"]))
                mount = f"o=size={size},uid={self._user},gid={self._user},mode=2770"
                options = ["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", mount]
            docker("volume", "create", *label, *options, f"{self.name}-{volume['name']}")
        alias = ("--network-alias", self.alias) if self.alias else ()
        pause = f"{self.name}-pause"
        docker(
            "run", "-d", *label, "--name", pause, "--network", self.cluster.name, *alias,
            "--no-healthcheck", "--entrypoint", "sleep", image(self.pod.containers[-1]), "infinity",
        )  # fmt: skip
        networks = json.loads(docker("inspect", pause))[0]["NetworkSettings"]["Networks"]
        self.address = str(networks[self.cluster.name]["IPAddress"])
        for container in self.pod.containers:
            docker(*self._command(container, label))
            if self.pod.kind == "Job":
                name = self._container(container["name"])
                assert docker("wait", name) == "0", docker("logs", name, fails=True)
            elif container.get("startupProbe"):
                self.wait_for(container, "startupProbe", 120.0)

    def _command(self, container: Document, label: tuple[str, str]) -> list[str]:
        context, limits = container["securityContext"], container["resources"]["limits"]
        named = str(container["name"])
        told = environment(container, self.cluster.maps)
        names = [one["name"] for one in container.get("env", [])]
        variables = {name: told[name] for name in names} | self.variables.get(named, {})
        mounts = [
            f"{self.name}-{one['name']}:{one['mountPath']}{':ro' * bool(one.get('readOnly'))}"
            for one in container["volumeMounts"]
        ]
        words = self.words.get(named, container.get("args", []))
        return [
            "run", "-d", *label, "--name", self._container(named), "--no-healthcheck",
            "--network", f"container:{self.name}-pause",
            "--user", f"{self._user}:{self.pod.spec['securityContext']['runAsGroup']}",
            *(["--read-only"] if context["readOnlyRootFilesystem"] else []),
            *(f"--cap-drop={one}" for one in context["capabilities"]["drop"]),
            *([] if context["allowPrivilegeEscalation"] else ["--security-opt=no-new-privileges"]),
            # As the kubelet starts one again that ends by itself.
            *(["--restart=unless-stopped"] if self.pod.kind != "Job" else []),
            f"--memory={int(amount(limits['memory']))}", f"--cpus={amount(limits['cpu'])}",
            *(f"--env={name}={value}" for name, value in variables.items()),
            *(f"--volume={mount}" for mount in mounts), *self.mounts.get(named, []),
            image(container), *map(str, words),
        ]  # fmt: skip

    def wait_ready(self, timeout_s: float = 240.0) -> float:
        """Wait until every readiness probe passes; return the seconds that took."""
        begin_s = time.monotonic()
        for container in self.pod.containers:
            if container.get("readinessProbe"):
                self.wait_for(container, "readinessProbe", timeout_s)
        return time.monotonic() - begin_s

    def wait_for(self, container: Document, kind: str, timeout_s: float) -> None:
        """Wait until one probe passes."""
        deadline = time.monotonic() + timeout_s
        while not self.passes(container, kind):
            assert time.monotonic() < deadline, f"{container['name']} {kind}:\n{self.logs()}"
            time.sleep(POLL_S)

    def passes(self, container: Document, kind: str) -> bool:
        """Probe once, as the kubelet: from outside by the pod's address, or inside by a command."""
        probe = container[kind]
        if "exec" in probe:
            done = subprocess.run(
                ["docker", "exec", self._container(container["name"]), *probe["exec"]["command"]],
                capture_output=True, check=False,
            )  # fmt: skip
            return done.returncode == 0
        check = probe.get("httpGet") or probe["tcpSocket"]
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        port = ports.get(check["port"], check["port"])
        headers = {one["name"]: one["value"] for one in check.get("httpHeaders", [])}
        try:
            reply = requests.get(
                f"http://{self.address}:{port}{check.get('path', '/')}", headers=headers, timeout=5
            )
        except requests.RequestException:
            return False
        return "tcpSocket" in probe or 200 <= reply.status_code < 400

    def terminate(self) -> None:
        """End it in order, within its grace period."""
        deadline = time.monotonic() + self.pod.spec["terminationGracePeriodSeconds"]
        starts = {c["name"] for c in self.pod.spec.get("initContainers", [])}
        main = [c for c in self.pod.containers if c["name"] not in starts]
        side_cars = [c for c in self.pod.containers if c["name"] in starts]
        with ThreadPoolExecutor(len(main)) as pool:
            list(pool.map(lambda c: self._end(c, deadline), main))
        for container in reversed(side_cars):
            self._end(container, deadline)
        docker("rm", "--force", f"{self.name}-pause")

    def _end(self, container: Document, deadline: float) -> None:
        name = self._container(container["name"])
        hook = container.get("lifecycle", {}).get("preStop", {}).get("exec")
        if hook:
            docker("exec", name, *hook["command"])
        left_s = int(deadline - time.monotonic())
        assert left_s > 0, f"{name}: the grace period is over"
        docker("stop", "--time", str(left_s), name)
        state = json.loads(docker("inspect", name))[0]["State"]
        # uvicorn ends by the signal that it was sent, in order.
        assert state["ExitCode"] in (0, 143), (name, state, self.logs())
        assert not state["OOMKilled"], name

    def kill(self) -> None:
        """End all of it at once, as a node that is lost does."""
        names = [self._container(container["name"]) for container in self.pod.containers]
        docker("kill", *names, f"{self.name}-pause")

    def restarts(self) -> dict[str, int]:
        """Return how often each container was started again; those that never were are left out."""
        counts = {
            str(one["name"]): int(docker("inspect", "-f", "{{.RestartCount}}",
                                         self._container(one["name"])))
            for one in self.pod.containers
        }  # fmt: skip
        return {name: number for name, number in counts.items() if number}

    def used(self) -> dict[str, str]:
        """Return what each container uses now, as the engine says it."""
        names = [self._container(container["name"]) for container in self.pod.containers]
        told = docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *names)
        return {line.split()[0].removeprefix(f"{self.name}-"): line.split()[1]
                for line in told.splitlines()}  # fmt: skip

    def logs(self) -> str:
        """Return the end of each container's log."""
        texts = []
        for container in self.pod.containers:
            name = self._container(container["name"])
            command = ["docker", "logs", "--tail", "15", name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            texts.append(f"{name}:\n{done.stdout}{done.stderr}")
        return "\n".join(texts)

    @property
    def _user(self) -> int:
        return int(self.pod.spec["securityContext"]["runAsUser"])

    def _container(self, name: str) -> str:
        return f"{self.name}-{name}"


class Load:
    """
    Clients of a Service: each request takes a connection of its own to one of the endpoints.

    Args:
        endpoints: Pods that are ready; to be changed while it runs.
        body: What is sent.
        retries: How often a request without an answer is sent again, elsewhere, as by an Ingress.
    """

    def __init__(self, endpoints: list[RunningPod], body: bytes, retries: int = 0) -> None:
        self.endpoints, self.retries = endpoints, retries
        self.answered: dict[str, int] = {}
        self.lost: list[str] = []
        self._body, self._ends, self._turn = body, threading.Event(), 0
        self._threads = [threading.Thread(target=self._send) for _ in range(2)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(timeout=90)

    def _send(self) -> None:
        while not self._ends.is_set():
            said = ""
            self._turn += 1
            first = self._turn
            for attempt in range(1 + self.retries):
                # Again to another one: not to whose turn it is, which the other threads move on.
                pod = self.endpoints[(first + attempt) % len(self.endpoints)]
                try:
                    address = f"http://{pod.address}:8080/predictions/iqa"
                    reply = requests.post(address, data=self._body, timeout=(2, 60))
                    said = "" if reply.status_code == 200 else reply.text
                except requests.RequestException as error:
                    said = f"{pod.name}: {error}"
                if not said:
                    self.answered[pod.name] = self.answered.get(pod.name, 0) + 1
                    break
            if said:
                self.lost.append(said)
            self._ends.wait(0.05)
