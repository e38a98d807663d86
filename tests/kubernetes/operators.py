"""What operators do with the documents: autoscalers, Prometheus' operator, KServe, a Gateway."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from tests.kubernetes.references import SECRETS, SERVERS, title
from tests.kubernetes.rendered import KUBERNETES, Document

IN_FLIGHT: Final = "3"
"""Requests under way of a pod, where the autoscalers want it: said in two manifests."""


def problems(docs: list[Document]) -> list[str]:
    """Return what an operator would not find, or would do wrongly."""
    return [*_scaling(docs), *_monitors(docs), *_kserve(docs), *_routes(docs)]


@functools.cache
def adapter_rule() -> Document:
    """Return the adapter's one rule."""
    values = yaml.safe_load((KUBERNETES / "prometheus-adapter" / "values.yaml").read_text())
    (rule,) = values["rules"]["custom"]
    return dict(rule)


def _scaling(docs: list[Document]) -> Iterator[str]:
    known = {(doc.get("apiVersion"), doc.get("kind"), doc["metadata"].get("name")) for doc in docs}
    for doc in docs:
        spec: dict[str, Any] = doc.get("spec", {})
        if doc.get("kind") not in ("HorizontalPodAutoscaler", "ScaledObject"):
            continue
        target = spec.get("scaleTargetRef", {})
        if (target.get("apiVersion"), target.get("kind"), target.get("name")) not in known:
            yield f"{title(doc)}: no target {target}"
        if doc["kind"] == "ScaledObject":
            least, most = spec.get("minReplicaCount"), spec.get("maxReplicaCount")
            meta = (spec.get("triggers") or [{}])[0].get("metadata", {})
            wanted, query = meta.get("threshold"), meta.get("query")
            if (
                query
                != 'sum(rate(iqa_latency_seconds_sum{namespace="iqa",stage=~"whole|explain"}[1m]))'
            ):
                yield f"{title(doc)}: another query than the adapter's"
            if meta.get("serverAddress") != "http://prometheus-operated.monitoring.svc:9090":
                yield f"{title(doc)}: another Prometheus than the adapter's"
            if (spec.get("triggers") or [{}])[0].get("metricType") != "AverageValue":
                yield f"{title(doc)}: expected the value by pod"
        else:
            least, most = spec.get("minReplicas"), spec.get("maxReplicas")
            pods_ = (spec.get("metrics") or [{}])[0].get("pods", {})
            wanted = pods_.get("target", {}).get("averageValue")
            if pods_.get("metric", {}).get("name") != adapter_rule()["name"]["as"]:
                yield f"{title(doc)}: a metric that the adapter has not"
            if pods_.get("target", {}).get("type") != "AverageValue":
                yield f"{title(doc)}: expected the value by pod"
        if (least, most, wanted) != (2, 10, IN_FLIGHT):
            yield f"{title(doc)}: expected 2 to 10 at {IN_FLIGHT}, got {least}, {most}, {wanted}"
        behavior = spec.get("behavior") or spec.get("advanced", {}).get(
            "horizontalPodAutoscalerConfig", {}).get("behavior", {})  # fmt: skip
        down = behavior.get("scaleDown", {})
        if down.get("stabilizationWindowSeconds", 0) < 300 or not down.get("policies"):
            yield f"{title(doc)}: expected it to shrink slowly"
    is_scaled = any(doc.get("kind") in ("HorizontalPodAutoscaler", "ScaledObject") for doc in docs)
    for doc in docs:
        if is_scaled and doc.get("kind") == "Deployment" and "replicas" in doc["spec"]:
            yield "Deployment: replicas are the autoscaler's to say"


def _monitors(docs: list[Document]) -> Iterator[str]:
    rules = [
        rule
        for doc in docs
        if doc.get("kind") == "PrometheusRule"
        for group in doc["spec"].get("groups", [])
        for rule in group.get("rules", [])
    ]
    jobs = set(re.findall(r'job="(\w+)"', " ".join(str(rule.get("expr")) for rule in rules)))
    for doc in docs:
        if doc.get("kind") != "ServiceMonitor":
            continue
        labels = doc["spec"].get("selector", {}).get("matchLabels", {})
        meant = [one for one in docs if one.get("kind") == "Service"
                 and labels.items() <= one["metadata"].get("labels", {}).items()]  # fmt: skip
        if not labels or len(meant) != 1:
            yield f"{title(doc)}: {labels} means {len(meant)} Services"
            continue
        ports = {port.get("name") for port in meant[0]["spec"].get("ports", [])}
        scraped = {}
        for endpoint in doc["spec"].get("endpoints", []):
            (relabeling,) = endpoint.get("relabelings") or [{}]
            if relabeling.get("targetLabel") == "job" and endpoint.get("path") == "/metrics":
                scraped[endpoint.get("port")] = relabeling.get("replacement")
        if scraped != {port: port for port in ports}:
            yield f"{title(doc)}: expected {sorted(map(str, ports))} as jobs, got {scraped}"
        if jobs - set(scraped.values()):
            yield f"{title(doc)}: the rules ask for {jobs}"


def _routes(docs: list[Document]) -> Iterator[str]:
    services = {doc["metadata"].get("name"): doc["spec"] for doc in docs
                if doc.get("kind") == "Service"}  # fmt: skip
    aliases = {
        one.get("data", {}).get("MODELS") for one in docs if one.get("kind") == "ConfigMap"
    }  # fmt: skip
    for doc in docs:
        if doc.get("kind") != "HTTPRoute":
            continue
        if aliases != {"iqa", "iqa@candidate"}:
            yield f"{title(doc)}: expected servers of two aliases, got {aliases}"
        spec = doc["spec"]
        if spec.get("parentRefs") != [{"name": "public", "namespace": "gateways"}]:
            yield f"{title(doc)}: expected the Gateway of docs/kubernetes.md"
        (rule, *more) = spec.get("rules") or [{}]
        if more or rule.get("matches") != [{"path": {"type": "PathPrefix", "value": "/"}}]:
            yield f"{title(doc)}: expected one rule for all paths"
        weights = {}
        for backend in rule.get("backendRefs", []):
            name, service = backend.get("name"), services.get(backend.get("name"), {})
            if backend.get("port") not in [port.get("port") for port in service.get("ports", [])]:
                yield f"{title(doc)}: no Service {name} with port {backend.get('port')}"
            weights[name] = backend.get("weight", 1)
        if list(weights) != list(SERVERS) or sum(weights.values()) != 100:
            yield f"{title(doc)}: expected percent for {SERVERS}, got {weights}"
        if not weights.get(SERVERS[0], 0) > weights.get(SERVERS[1], 100):
            yield f"{title(doc)}: expected the candidate to begin with the smaller share"


def _kserve(docs: list[Document]) -> Iterator[str]:
    runtimes = {doc["metadata"].get("name"): doc["spec"] for doc in docs
                if doc.get("kind") == "ServingRuntime"}  # fmt: skip
    for doc in docs:
        if doc.get("kind") != "InferenceService":
            continue
        predictor = doc["spec"].get("predictor", {})
        model = predictor.get("model", {})
        runtime = runtimes.get(model.get("runtime"))
        if runtime is None:
            yield f"{title(doc)}: no runtime {model.get('runtime')}"
            continue
        formats = {one.get("name") for one in runtime.get("supportedModelFormats", [])}
        if model.get("modelFormat", {}).get("name") not in formats:
            yield f"{title(doc)}: the runtime has no format {model.get('modelFormat')}"
        if not [model.get("protocolVersion")] == runtime.get("protocolVersions") == ["v2"]:
            yield f"{title(doc)}: expected v2"
        env = {one.get("name"): one.get("value") for one in model.get("env", [])}
        digest = str(model.get("storageUri")).rpartition("/")[2]
        if env != {"PINNED_MAR_SHA256": digest} or len(digest) != 64:
            yield f"{title(doc)}: address and digest name different archives"
        names = {one.get("name"): one for one in runtime.get("containers", [])}
        front = names.get("transformer-container", {}).get("ports", [])
        if "kserve-container" not in names or [port.get("containerPort") for port in front] != [
            8080
        ]:
            yield f"{title(doc)}: KServe knows two containers by their names"
        mode = doc["metadata"].get("annotations", {}).get("serving.kserve.io/deploymentMode")
        if mode != "Standard":
            yield f"{title(doc)}: expected the mode without Knative, got {mode}"
        strategy = predictor.get("deploymentStrategy", {}).get("rollingUpdate")
        if strategy != {"maxSurge": 1, "maxUnavailable": 0}:
            yield f"{title(doc)}: expected one more before one less"
        if not 2 <= predictor.get("minReplicas", 0) <= predictor.get("maxReplicas", 0):
            yield f"{title(doc)}: expected at least two replicas"
    secrets = [one.get("name") for doc in docs if doc.get("kind") == "ServiceAccount"
               for one in doc.get("secrets", [])]  # fmt: skip
    yield from (f"no secret {name}" for name in secrets if name not in SECRETS)
    for spec in runtimes.values():
        if spec.get("annotations") != {
            "prometheus.kserve.io/port": "8082", "prometheus.kserve.io/path": "/metrics"
        }:  # fmt: skip
            yield "ServingRuntime: expected TorchServe's metrics"
