"""
The pods of kubernetes/ on a Docker engine.

The images are those of `docker-compose build`; the side-car's without torch is built here.
`python -m pytest tests/docker/test_pods.py`; in the order of this file, some six minutes.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from scripts.archive import mar_file
from scripts.docker_up import SAMPLE
from tests.docker.pods import Cluster, Load, RunningPod, build, docker, image
from tests.kubernetes.images import SIDE_CAR
from tests.kubernetes.rendered import Pod, documents, pods

PROPAGATION_S = 3.0
"""From a pod's end being ordered to the last Service that knows of it; ten are allowed for."""
STORE = {
    # PostgreSQL and a bucket are not at hand: the image's own database and folder.
    "ARTIFACTS": "/mlflow/artifacts",
    "MLFLOW_BACKEND_STORE_URI": "sqlite:////mlflow/mlflow.db",
}


def pod_of(kustomization: str, name: str) -> Pod:
    """Return a pod of a kustomization by the name of what makes it."""
    return next(pod for pod in pods(documents(kustomization)) if pod.name == name)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A network with MLflow, in which the shipped model is registered and published."""
    maps = {
        str(doc["metadata"]["name"]): doc["data"]
        for name in ("single", "registry")
        for doc in documents(name)
        if doc["kind"] == "ConfigMap"
    }
    build(SIDE_CAR)
    made = Cluster(f"iqa-pods-{os.getpid()}", maps)
    try:
        registry = pod_of("registry", "mlflow")
        words = [str(word) for word in registry.containers[0]["args"]]
        words = [word.replace("$(ARTIFACTS)", STORE["ARTIFACTS"]) for word in words]
        mlflow = made.run(
            registry, "mlflow", variables={"mlflow": STORE}, words={"mlflow": words}
        )  # fmt: skip
        mlflow.wait_ready()
        made.run(pod_of("publish", "iqa-publish"))
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def first(cluster: Cluster) -> RunningPod:
    """The first replica, ready."""
    pod = cluster.run(pod_of("single", "iqa"))
    print(f"ready after {pod.wait_ready():.0f} s")
    return pod


def score(pod: RunningPod) -> dict[str, object]:
    """Score the sample; return the reply of a 200."""
    reply = requests.post(
        f"http://{pod.address}:8080/predictions/iqa", data=SAMPLE.read_bytes(), timeout=60
    )
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def infer(pod: RunningPod) -> float:
    """Score the sample by the Open Inference Protocol, through front and gateway."""
    import base64

    tensor = {"name": "image", "shape": [1], "datatype": "BYTES",
              "data": [base64.b64encode(SAMPLE.read_bytes()).decode()]}  # fmt: skip
    reply = requests.post(
        f"http://{pod.address}:8080/v2/models/iqa/infer", json={"inputs": [tensor]}, timeout=60
    )
    assert reply.status_code == 200, reply.text
    return float(next(o for o in reply.json()["outputs"] if o["name"] == "score")["data"][0])


def test_a_pod_is_ready_by_its_own_probes_and_scores(cluster: Cluster, first: RunningPod) -> None:
    """With the manifest's user, root, limits and volumes; the archive came by the registry."""
    reply = score(first)
    assert reply["model"] == {"name": "iqa", "version": "1"}
    assert infer(first) == pytest.approx(reply["score"], abs=0.01)
    for container in first.pod.containers:
        if container["name"] != "sidecar":
            assert first.passes(container, "livenessProbe"), container["name"]
    sidecar = next(c for c in first.pod.containers if c["name"] == "sidecar")
    first.wait_for(sidecar, "livenessProbe", 60)
    print("memory:", first.used())


def test_management_is_on_the_pods_loopback_alone(first: RunningPod) -> None:
    """Nobody outside reaches TorchServe's APIs or the gateway; the side-car reaches 8081."""
    for port in (8081, 8084, 8000, 7071, 7074):
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://{first.address}:{port}/", timeout=3)
    for port in (8082, 8083, 8085):
        assert requests.get(f"http://{first.address}:{port}/metrics", timeout=10).status_code == 200
    told = docker(
        "exec", f"{first.name}-sidecar", "python", "docker/is_healthy.py",
        "http://127.0.0.1:8081/models/iqa",
    )  # fmt: skip
    assert '"modelVersion": "1"' in told


def test_one_three_one_and_a_rolling_restart_lose_nothing(
    cluster: Cluster, first: RunningPod
) -> None:
    """Under load, each request by a connection of its own, without any retry."""
    with Load([first], SAMPLE.read_bytes()) as load:
        others = [cluster.run(pod_of("autoscaled", "iqa")) for _ in range(2)]
        for pod in others:
            pod.wait_ready()
            load.endpoints.append(pod)
        time.sleep(10)
        for pod in others:
            leave(load, pod)
        # A rolling restart: one more, then one less.
        new = cluster.run(pod_of("single", "iqa"))
        new.wait_ready()
        load.endpoints.append(new)
        time.sleep(5)
        leave(load, first)
        time.sleep(3)
    print(f"{sum(load.answered.values())} requests: {load.answered}")
    print("started again:", {pod.name: pod.restarts() for pod in cluster.pods})
    assert load.lost == []
    assert len(load.answered) == 4
    assert all(number >= 10 for number in load.answered.values()), load.answered


def test_a_lost_node_costs_no_request_that_is_sent_again(cluster: Cluster) -> None:
    """All containers of a pod are killed under load; its requests are scored by another pod."""
    survivor = cluster.pods[-1]
    other = cluster.run(pod_of("single", "iqa"))
    other.wait_ready()
    with Load([survivor, other], SAMPLE.read_bytes(), retries=1) as load:
        time.sleep(5)
        other.kill()
        time.sleep(5)
        load.endpoints.remove(other)
        time.sleep(2)
    assert load.lost == []
    assert all(number >= 5 for number in load.answered.values()), load.answered


def test_kserves_runtime_serves_the_archive_that_is_pinned(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The archive at /mnt/models, its digest in the manifest; v2; ended in order by `preStop`."""
    survivor = next(pod for pod in reversed(cluster.pods) if pod.address and _runs(pod))
    docker("cp", f"{survivor.name}-sidecar:/app/model-store/iqa-1.mar", str(tmp_path))
    shutil.copytree(
        tmp_path, models := tmp_path / "models", ignore=shutil.ignore_patterns("models")
    )
    models.chmod(0o755)
    digest = mar_file.sha256_of(models / "iqa-1.mar")
    # KServe's storage initializer fills a volume; this one is filled by `docker cp`.
    volume = f"{cluster.name}-models"
    docker("volume", "create", "--label", f"iqa-pods={cluster.name}", volume)
    front = image(survivor.pod.containers[-1])
    helper = docker("create", "--label", f"iqa-pods={cluster.name}", "-v", f"{volume}:/m", front)
    docker("cp", f"{models}/.", f"{helper}:/m")
    pod = cluster.run(
        pod_of("kserve", "iqa"),
        variables={"kserve-container": {"PINNED_MAR_SHA256": digest}},
        mounts={"kserve-container": [f"--volume={volume}:/mnt/models:ro"]},
    )
    pod.wait_ready()
    assert infer(pod) == pytest.approx(score(survivor)["score"], abs=0.01)
    assert requests.get(f"http://{pod.address}:8080/health", timeout=10).json()["model_info"] == (
        "Alias: pinned"
    )
    pod.terminate()


def leave(load: Load, pod: RunningPod) -> None:
    """End a pod; the Service hears of it later, as in a cluster."""
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(pod.terminate)
        time.sleep(PROPAGATION_S)
        load.endpoints.remove(pod)
        ending.result()


def _runs(pod: RunningPod) -> bool:
    name = f"{pod.name}-sidecar"
    return docker("inspect", "-f", "{{.State.Running}}", name, fails=True) == "true"
