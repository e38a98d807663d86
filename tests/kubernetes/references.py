"""Names that lead somewhere: keys, selectors, ports, targets, in one kustomization."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.kubernetes.rendered import Document, Pod, pods

SECRETS: Final = {
    "mlflow-postgres": {"password"}, "mlflow-bucket": {"access-key", "secret-key"},
    "iqa-bucket": set(),
}  # fmt: skip
"""Made by hand: docs/kubernetes.md."""
FOREIGN: Final = [
    {"kubernetes.io/metadata.name": "monitoring"}, {"kubernetes.io/metadata.name": "kube-system"},
    {"app.kubernetes.io/name": "prometheus"}, {"k8s-app": "kube-dns"}, {"iqa-clients": "true"},
    {"iqa-training": "true"},
]  # fmt: skip
"""Labels of other namespaces and their pods."""
NEEDS: Final = {
    "single": {"Namespace": 1, "Deployment": 1, "Service": 2, "NetworkPolicy": 2,
               "PodDisruptionBudget": 1, "ServiceAccount": 1, "ConfigMap": 1},
    "registry": {"Deployment": 1, "StatefulSet": 1, "Service": 2, "NetworkPolicy": 2,
                 "ServiceAccount": 2, "ConfigMap": 1},
    "publish": {"Job": 1, "NetworkPolicy": 1},
    "kserve": {"Namespace": 1, "ServingRuntime": 1, "InferenceService": 1, "NetworkPolicy": 1,
               "ServiceAccount": 2},
}  # fmt: skip
NEEDS["gpu"] = NEEDS["single"]
NEEDS["gateway"] = {**NEEDS["single"], "Deployment": 2, "Service": 4, "NetworkPolicy": 3,
                    "ConfigMap": 2, "HTTPRoute": 1}  # fmt: skip
WATCHED: Final = {**NEEDS["single"], "ServiceMonitor": 1, "PrometheusRule": 1}
NEEDS["autoscaled"] = {**WATCHED, "HorizontalPodAutoscaler": 1}
NEEDS["keda"] = {**WATCHED, "ScaledObject": 1}
"""How many of each kind a kustomization has."""
DNS: Final = ["53", "53"]
SERVERS: Final = ("iqa", "iqa-candidate")
"""Deployments that score, and their Services."""
METRICS: Final = ("iqa-metrics", "iqa-metrics-candidate")
"""Services that Prometheus takes the addresses of all pods from."""
FLOWS: Final = {
    "iqa": (["8082", "8083", "8085", "http"], sorted(["5000", *DNS])),
    "iqa-candidate": (["8082", "8083", "8085", "http"], sorted(["5000", *DNS])),
    "iqa-predictor": (["8080", "8082", "8083"], sorted(["443", *DNS])),
    "mlflow": (["http"], sorted(["443", "5432", *DNS])),
    "postgres": (["postgres"], []),
    "iqa-publish": ([], sorted(["5000", *DNS])),
}  # fmt: skip
"""Which ports each policy opens, inwards and outwards."""


def problems(name: str, docs: list[Document], around: list[Document]) -> list[str]:
    """
    Return the names that lead nowhere, and what is missing.

    Args:
        name: Of the kustomization.
        docs: Its documents.
        around: Those of all kustomizations.
    """
    kinds = [str(doc.get("kind")) for doc in docs]
    needs = {kind: kinds.count(kind) for kind in kinds}
    found = [] if needs == NEEDS[name] else [f"expected {NEEDS[name]}, got {needs}"]
    for doc in docs:
        space = doc.get("metadata", {}).get("namespace")
        if doc.get("kind") != "Namespace" and space != "iqa":
            found.append(f"{title(doc)}: expected namespace iqa, got {space}")
    found += [f"{pod.title}: {problem}" for pod in pods(docs) for problem in _of_pod(pod, around)]
    own, all_pods = pods(docs), pods(docs) + pods(around)
    for doc in docs:
        check = {
            "Deployment": _workload, "StatefulSet": _workload, "Service": _service,
            "NetworkPolicy": _policy, "PodDisruptionBudget": _budget,
        }.get(str(doc.get("kind")))  # fmt: skip
        if check is not None:
            found += [f"{title(doc)}: {problem}" for problem in check(doc, own, all_pods)]
    return [*found, *_guarded(own, docs)]


def title(doc: Document) -> str:
    """For messages."""
    return f"{doc.get('kind')} {doc.get('metadata', {}).get('name')}"


def selects(selector: dict[str, str], pod: Pod) -> bool:
    """Tell whether a selector means a pod; an empty one means every pod."""
    return set(selector.items()) <= set(pod.labels.items())


def ports_of(pod: Pod) -> dict[str, int]:
    """Return the ports of a pod, by name."""
    return {
        str(port.get("name")): port.get("containerPort")
        for container in pod.containers
        for port in container.get("ports", [])
    }


def main_ports_of(pod: Pod) -> set[str]:
    """Return the names of ports that a Service finds in any Kubernetes: none of a side-car's."""
    return {
        str(port.get("name"))
        for container in pod.spec.get("containers", [])
        for port in container.get("ports", [])
    }


def _of_pod(pod: Pod, around: list[Document]) -> Iterator[str]:
    maps = {
        doc["metadata"].get("name"): set(doc.get("data", {}))
        for doc in around
        if doc.get("kind") == "ConfigMap"
    }
    accounts = {
        doc["metadata"].get("name") for doc in around if doc.get("kind") == "ServiceAccount"
    }
    volumes = [volume.get("name") for volume in pod.spec.get("volumes", [])]
    claims = [one for one in pod.spec.get("claims", [])]
    if pod.spec.get("serviceAccountName") not in accounts:
        yield f"no service account {pod.spec.get('serviceAccountName')}"
    names = [container.get("name") for container in pod.containers]
    if len(set(names)) < len(names):
        yield f"names twice: {names}"
    used = set()
    for container in pod.containers:
        mounts = [mount.get("name") for mount in container.get("volumeMounts", [])]
        used |= set(mounts)
        for mount in mounts:
            if mount not in volumes and mount not in claims:
                yield f"{container.get('name')}: no volume {mount}"
        for one in container.get("env", []):
            for kind, known in (("configMapKeyRef", maps), ("secretKeyRef", SECRETS)):
                reference = one.get("valueFrom", {}).get(kind)
                if reference and reference.get("key") not in known.get(reference.get("name"), ()):
                    yield f"{one.get('name')}: no {kind} {reference}"
            if one.get("name") == "POSTGRES_PASSWORD" and "valueFrom" not in one:
                yield "POSTGRES_PASSWORD: expected a secret"
    if set(volumes) - used:
        yield f"volumes unused: {sorted(map(str, set(volumes) - used))}"


def _workload(doc: Document, own: list[Pod], _: list[Pod]) -> Iterator[str]:
    spec = doc.get("spec", {})
    pod = next(p for p in own if p.name == doc["metadata"].get("name") and p.kind == doc["kind"])
    labels = spec.get("selector", {}).get("matchLabels", {})
    if not labels or not selects(labels, pod):
        yield f"selector {labels} means no pod of its own {pod.labels}"
    if [p.name for p in own if labels and selects(labels, p)] != [pod.name]:
        yield "selector means pods of others"
    for spread in pod.spec.get("topologySpreadConstraints", []):
        if not selects(spread.get("labelSelector", {}).get("matchLabels", {"": ""}), pod):
            yield "topologySpreadConstraints: means other pods"
    for claim in spec.get("volumeClaimTemplates", []):
        if not claim.get("spec", {}).get("resources", {}).get("requests", {}).get("storage"):
            yield "volumeClaimTemplates: expected a size"
    if doc["kind"] == "StatefulSet" and spec.get("serviceName") != pod.name:
        yield f"serviceName: no Service {spec.get('serviceName')}"
    strategy = spec.get("strategy", {})
    if pod.name in SERVERS and strategy.get("rollingUpdate") != {
        "maxSurge": 1,
        "maxUnavailable": 0,
    }:
        yield "strategy: expected one more before one less"
    if pod.name == "mlflow" and strategy.get("type") != "Recreate":
        yield "strategy: expected Recreate, two would migrate one database"


def _service(doc: Document, own: list[Pod], _: list[Pod]) -> Iterator[str]:
    spec = doc.get("spec", {})
    selector = spec.get("selector", {})
    meant = [pod for pod in own if selector and selects(selector, pod)]
    if len(meant) != 1:
        yield f"selector {selector} means {len(meant)} kinds of pods"
    for pod in meant:
        ports = ports_of(pod)
        for port in spec.get("ports", []):
            target = port.get("targetPort")
            if target not in (*ports, *ports.values()):
                yield f"targetPort {target}: none of {sorted(ports)}"
            if target in ports and target not in main_ports_of(pod):
                yield f"targetPort {target}: expected a number, a side-car's name is not found"
            if spec.get("clusterIP") == "None" and port.get("port") != ports.get(target, target):
                yield f"port {port.get('port')}: without an address of its own it is the pod's"
    numbers = {port.get("name"): port.get("port") for port in spec.get("ports", [])}
    wanted = {
        "iqa": {"http": 80}, "iqa-candidate": {"http": 80}, "mlflow": {"http": 5000},
        "postgres": {"postgres": 5432},
        **{key: {"torchserve": 8082, "supervisor": 8083, "sidecar": 8085} for key in METRICS},
    }.get(doc["metadata"].get("name"))  # fmt: skip
    if numbers != wanted:
        yield f"ports: expected {wanted}, got {numbers}"
    is_headless = doc["metadata"].get("name") in (*METRICS, "postgres")
    if (spec.get("clusterIP") == "None") != is_headless:
        yield f"clusterIP: expected None: {is_headless}"
    if doc["metadata"].get("name") in METRICS and not spec.get("publishNotReadyAddresses"):
        yield "expected pods that are not ready as well"


def _policy(doc: Document, own: list[Pod], all_pods: list[Pod]) -> Iterator[str]:
    spec = doc.get("spec", {})
    if sorted(spec.get("policyTypes", [])) != ["Egress", "Ingress"]:
        yield "expected it to hold for both ways"
    selector = spec.get("podSelector", {}).get("matchLabels", {})
    if "podSelector" not in spec:
        yield "expected a podSelector"
    if not selector:
        if spec.get("ingress") or spec.get("egress"):
            yield "opens something for every pod"
        return
    meant = [pod for pod in own if selects(selector, pod)]
    if len(meant) != 1:
        yield f"podSelector {selector} means {len(meant)} kinds of pods"
    flows = tuple(
        sorted(
            str(port.get("port")) for rule in spec.get(way, []) for port in rule.get("ports", [])
        )
        for way in ("ingress", "egress")
    )
    if flows != FLOWS.get(doc["metadata"].get("name")):
        yield f"expected {FLOWS.get(doc['metadata'].get('name'))}, got {flows}"
    for rule in spec.get("ingress", []):
        ports = [port.get("port") for port in rule.get("ports", [])]
        known = ports_of(meant[0]) if meant else {}
        if not ports or not rule.get("from"):
            yield "ingress: expected ports and senders, got a rule that lacks them"
        yield from (f"ingress: no port {p}" for p in ports if p not in (*known, *known.values()))
        if {"http", 8080} & set(ports) and len(ports) > 1:
            yield "ingress: clients get the front alone"
    served = {value for pod in all_pods for value in ports_of(pod).values()} | {53, 443}
    for rule in spec.get("egress", []):
        ports = [port.get("port") for port in rule.get("ports", [])]
        if not ports:
            yield "egress: expected ports"
        yield from (f"egress: nobody has port {port}" for port in ports if port not in served)
        if not rule.get("to") and ports != [443]:
            yield "egress: expected receivers"
        if 53 in ports and {p.get("protocol") for p in rule["ports"]} != {"UDP", "TCP"}:
            yield "egress: DNS needs UDP and TCP"
    if meant and meant[0].name != "postgres" and not any(
        port.get("port") == 53 for rule in spec.get("egress", []) for port in rule.get("ports", [])
    ):  # fmt: skip
        yield "egress: expected DNS"
    peers = [peer for rule in (*spec.get("ingress", []), *spec.get("egress", []))
             for peer in (*rule.get("from", []), *rule.get("to", []))]  # fmt: skip
    for peer in peers:
        space = peer.get("namespaceSelector", {}).get("matchLabels")
        labels = peer.get("podSelector", {}).get("matchLabels", {})
        if space is not None and space not in FOREIGN:
            yield f"no namespace is known by {space}"
        if space is not None and labels and labels not in FOREIGN:
            yield f"no pods elsewhere are known by {labels}"
        if space == {"kubernetes.io/metadata.name": "kube-system"} and not labels:
            yield "expected one kind of pods of the system"
        if not peer:
            yield "a peer without a selector is everybody"
        if space is None and not any(selects(labels, pod) for pod in all_pods):
            yield f"no pod has {labels}"


def _budget(doc: Document, own: list[Pod], _: list[Pod]) -> Iterator[str]:
    spec = doc.get("spec", {})
    labels = spec.get("selector", {}).get("matchLabels", {})
    if not labels or [pod.name for pod in own if selects(labels, pod)] != ["iqa"]:
        yield f"selector {labels} means no servers"
    if spec.get("maxUnavailable") != 1 or "minAvailable" in spec:
        yield "expected maxUnavailable 1"


def _guarded(own: list[Pod], docs: list[Document]) -> Iterator[str]:
    policies = [
        doc["spec"].get("podSelector", {}).get("matchLabels", {})
        for doc in docs
        if doc.get("kind") == "NetworkPolicy"
    ]
    for pod in own:
        if not any(labels and selects(labels, pod) for labels in policies):
            yield f"{pod.title}: no network policy of its own"
