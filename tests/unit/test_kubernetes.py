"""kubernetes/ without a cluster: built, held against schemas, the images and the rules."""

from __future__ import annotations

import functools
import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from kubernetes_validate import utils

from scripts import prometheus_rule, serve_pinned
from tests.kubernetes import check, mistakes, schemas
from tests.kubernetes.operators import IN_FLIGHT, adapter_rule
from tests.kubernetes.rendered import KUBERNETES, PLACES, parsed

DRAWN = 200
CAUGHT = 0.95


@pytest.mark.parametrize("version", schemas.VERSIONS)
def test_every_document_is_valid_in_the_newest_versions(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the API's own schemas, strict: an unknown field is a mistake."""
    # It reads megabytes anew for each document.
    monkeypatch.setattr(utils, "schema_contents", functools.cache(utils.schema_contents))
    custom = 0
    for name in PLACES:
        for doc in parsed(name):
            if schemas.is_custom(doc):
                assert schemas.problems(doc, version) == []
                custom += 1
    assert custom == 8, "the custom resources, by the schemas of what is used of them"
    for doc in {yaml.safe_dump(doc) for name in PLACES for doc in parsed(name)}:
        document = yaml.safe_load(doc)
        if not schemas.is_custom(document):
            utils.validate(document, version, strict=True)


@pytest.mark.parametrize("name", PLACES)
def test_nothing_is_wrong_with_a_kustomization(name: str) -> None:
    """Rights, limits, images, programs and their options, variables, ports, names."""
    assert check.problems(name, list(parsed(name))) == []


def test_seeded_mistakes_are_caught() -> None:
    """Of 200 mistakes, drawn from all that are enumerated, at least 95 % are noticed."""
    drawn = mistakes.drawn(DRAWN, seed=7)
    assert len({mistake.title for mistake in drawn}) == DRAWN
    assert len({mistake.kind for mistake in drawn}) >= 60
    missed = [one.title for one in drawn if not check.problems(one.kustomization, *one.documents())]
    print(f"{DRAWN - len(missed)} of {DRAWN} mistakes caught; missed: {missed}")
    assert len(missed) <= DRAWN * (1 - CAUGHT), missed


def test_the_rules_are_those_of_the_compose_file() -> None:
    """The PrometheusRule is made of torchserve/monitoring; `scripts.prometheus_rule` renews it."""
    text = prometheus_rule.OUT.read_text()
    assert yaml.safe_load(text) == prometheus_rule.prometheus_rule(), (
        "run python -m scripts.prometheus_rule"
    )
    named = yaml.safe_load((prometheus_rule.MONITORING / "prometheus.yml").read_text())
    assert list(prometheus_rule.FILES) == named["rule_files"]


# Two pods of two cores. One has 84 requests a second of 36 ms, the other 100 of 58 ms, some of
# them explanations; the network's own time and pods elsewhere are not to be counted.
SERIES = {
    'pod="a", namespace="iqa", stage="whole"': 84 * 0.036,
    'pod="b", namespace="iqa", stage="whole"': 90 * 0.058,
    'pod="b", namespace="iqa", stage="explain"': 10 * 0.058,
    'pod="b", namespace="iqa", stage="network"': 1.5,
    'pod="c", namespace="other", stage="whole"': 20.0,
}
IN_FLIGHT_OF = {"a": 84 * 0.036, "b": 100 * 0.058}


def test_both_autoscalers_count_requests_under_way(tmp_path: Path) -> None:
    """The adapter's query by pod and KEDA's in all, by promtool on the same series."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    (scaled,) = [doc for doc in parsed("keda") if doc["kind"] == "ScaledObject"]
    keda = scaled["spec"]["triggers"][0]["metadata"]["query"]
    rule = adapter_rule()
    assert rule["seriesQuery"].startswith("iqa_latency_seconds_sum{")
    adapter = (
        rule["metricsQuery"].replace("<<.Series>>", "iqa_latency_seconds_sum")
        .replace("<<.LabelMatchers>>", 'namespace="iqa",pod=~"a|b"').replace("<<.GroupBy>>", "pod")
    )  # fmt: skip
    series = [
        {"series": f"iqa_latency_seconds_sum{{{labels}}}", "values": f"0+{15 * per_s}x20"}
        for labels, per_s in SERIES.items()
    ]
    by_pod = [
        {"labels": f'{{pod="{pod}"}}', "value": round(1000 * value)}
        for pod, value in IN_FLIGHT_OF.items()
    ]
    total = [{"labels": "{}", "value": round(1000 * sum(IN_FLIGHT_OF.values()))}]
    document = {
        "evaluation_interval": "15s",
        "tests": [{
            "interval": "15s",
            "input_series": series,
            "promql_expr_test": [
                {"expr": f"round(1000 * ({adapter}))", "eval_time": "5m", "exp_samples": by_pod},
                {"expr": f"round(1000 * ({keda}))", "eval_time": "5m", "exp_samples": total},
            ],
        }],
    }  # fmt: skip
    file = tmp_path / "in_flight.yml"
    file.write_text(yaml.safe_dump(document))
    done = subprocess.run(
        [promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("pods", "in_flight", "wanted"),
    [
        (2, [1.3, 1.3], 2),  # half the capacity of two: the least
        (2, [3.2, 3.1], 2),  # within the tolerance of a tenth
        (2, [5.8, 5.8], 4),  # nine tenths
        (2, [64, 64], 4),  # full: twice as many at most in half a minute
        (9, [64] * 9, 10),  # never more than ten
        (4, [0, 0, 0, 0], 3),  # nothing to do: one a minute
    ],
)
def test_the_number_of_replicas_follows(pods: int, in_flight: list[float], wanted: int) -> None:
    """The formula of Kubernetes' documentation, with the limits and policies of the manifest."""
    (scaler,) = [doc for doc in parsed("autoscaled") if doc["kind"] == "HorizontalPodAutoscaler"]
    spec = scaler["spec"]
    target = float(spec["metrics"][0]["pods"]["target"]["averageValue"])
    assert str(int(target)) == IN_FLIGHT
    ratio = sum(in_flight) / len(in_flight) / target
    number = pods if abs(ratio - 1) <= 0.1 else math.ceil(pods * ratio)
    up, down = (spec["behavior"][way]["policies"] for way in ("scaleUp", "scaleDown"))
    most = max(pods + (p["value"] if p["type"] == "Pods" else math.ceil(pods * p["value"] / 100))
               for p in up)  # fmt: skip
    least = pods - down[0]["value"]
    number = min(max(number, least), most)
    assert min(max(number, spec["minReplicas"]), spec["maxReplicas"]) == wanted


def test_a_pinned_archive_is_served_only_if_it_is_the_one_that_is_named(tmp_path: Path) -> None:
    """Another archive, none, two, or no digest: refused before the store changes."""
    folder, store = tmp_path / "models", tmp_path / "store"
    folder.mkdir()
    digest = "3f4a3cf8fd3eb4e9e3aeb1a1cf4b0b7e5ea5ba0d3f0a5d1fdf1a2ed0a4dba5d1"
    with pytest.raises(ValueError, match="expected one archive of iqa, got none"):
        serve_pinned.place(folder, store, "iqa", digest)
    (folder / "iqa-7.mar").write_bytes(b"an archive")
    with pytest.raises(ValueError, match=f"expected sha256 {digest}, got "):
        serve_pinned.place(folder, store, "iqa", digest)
    with pytest.raises(ValueError, match="PINNED_MAR_SHA256: expected the archive's SHA-256"):
        serve_pinned.place(folder, store, "iqa", "")
    assert not store.exists()
    own = serve_pinned.mar_file.sha256_of(folder / "iqa-7.mar")
    assert serve_pinned.place(folder, store, "iqa", own) == store / "iqa-7.mar"
    assert (store / ".served-iqa@pinned").read_text().strip() == "iqa-7.mar"
    assert {path.name for path in store.iterdir()} == {"iqa-7.mar", ".served-iqa@pinned"}
    (folder / "iqa-8.mar").write_bytes(b"another")
    with pytest.raises(ValueError, match=re.escape("got iqa-7.mar, iqa-8.mar")):
        serve_pinned.place(folder, store, "iqa", own)


def test_every_command_in_the_documents_names_a_kustomization() -> None:
    """What `kubectl apply -k` and `kustomize` are given in docs/kubernetes.md is there."""
    text = (KUBERNETES.parent / "docs" / "kubernetes.md").read_text()
    named = set(re.findall(r"(?:apply -k|kustomize|delete -k) (kubernetes/[\w/-]+)", text))
    assert {"kubernetes/registry", "kubernetes/publish"} < named
    for place in named:
        assert (KUBERNETES.parent / place / "kustomization.yaml").exists(), place
