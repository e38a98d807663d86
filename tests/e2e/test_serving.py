"""What a client gets from a real TorchServe that serves the shipped model."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from iqa.errors import STATUS_OF_REASON
from iqa.imaging.preprocessing import is_upscaled

from console.paths import ROOT
from tests.deploying import wait_for
from tests.odd_inputs import ODD_INPUTS
from tests.server import RunningServer

PARROTS = ROOT / "handler" / "golden" / "parrots.jpg"


def test_the_reply_has_the_documented_shape(door: RunningServer) -> None:
    """A scored picture is answered with exactly the fields that the README documents."""
    reply = door.score(PARROTS.read_bytes())
    assert set(reply) == {
        "score", "label", "interval", "coverage", "model", "image", "warnings", "causes",
        "main_cause", "familiarity",
    }  # fmt: skip
    low, high = reply["interval"]
    assert 0 <= low < reply["score"] < high <= 100
    assert reply["coverage"] == 0.9
    assert reply["label"] in ("poor", "fair", "good", "excellent")
    assert reply["model"] == {"name": "iqa", "version": "1"}
    assert reply["image"] == {"width": 768, "height": 512, "format": "JPEG"}
    assert reply["warnings"] == []


def test_every_way_of_sending_a_picture_gives_the_same_score(door: RunningServer) -> None:
    """Raw body, form, JSON and JSON with a data URI are the same request."""
    picture = PARROTS.read_bytes()
    text = base64.b64encode(picture).decode()
    broken_lines = "\n".join(text[i : i + 76] for i in range(0, len(text), 76))
    replies = [
        door.post(picture, headers={"Content-Type": "application/octet-stream"}),
        door.post(picture),  # no content type at all, as curl -T
        door.post(picture, headers={"Content-Type": "image/jpeg"}),
        *(door.post(files={name: ("a.jpg", picture)}) for name in ("data", "file", "image", "x")),
        door.post(
            files={"photo[]": ("a.jpg", picture), "none": ("", b""), "note": (None, "some text")}
        ),
        door.post(files={"photo": (None, picture)}),
        door.post(json={"image": text}),
        door.post(json={"image": broken_lines}),
        door.post(json={"image": f"data:image/jpeg;base64,{text}"}),
    ]
    assert [reply.status_code for reply in replies] == [200] * len(replies)
    assert len({reply.json()["score"] for reply in replies}) == 1
    assert {reply.headers["content-type"] for reply in replies} == {"application/json"}


def test_a_body_in_gzip_or_deflate_is_the_same_request(server: RunningServer) -> None:
    """The header comes through TorchServe, and the body as it was sent; the handler unpacks it."""
    picture = PARROTS.read_bytes()
    document = json.dumps({"image": base64.b64encode(picture).decode()}).encode()
    alone = server.score(picture)["score"]
    octets = {"Content-Type": "application/octet-stream"}
    for body, encoding in (
        (gzip.compress(picture), "gzip"),
        (gzip.compress(document), "gzip"),
        (zlib.compress(picture), "deflate"),
        (picture, "identity"),
    ):
        reply = server.post(body, headers={**octets, "Content-Encoding": encoding})
        assert (reply.status_code, reply.json().get("score")) == (200, alone), reply.text
    for body, encoding, status, reason in (
        (gzip.compress(picture)[:-9], "gzip", 400, "truncated"),
        (picture, "br", 415, "unsupported_encoding"),
        (gzip.compress(bytes(60_000_000)), "gzip", 413, "too_many_bytes"),
    ):
        reply = server.post(body, headers={**octets, "Content-Encoding": encoding})
        assert (reply.status_code, reply.json()["reason"]) == (status, reason), reply.text
        accepted = reply.headers.get("accept-encoding")
        assert accepted == ("gzip, deflate" if status == 415 else None)


@pytest.mark.parametrize("name", ODD_INPUTS)
def test_an_odd_input_is_answered_over_http_as_in_process(door: RunningServer, name: str) -> None:
    """Each oddity gets the status, reason, warnings and size that the table states."""
    odd = ODD_INPUTS[name]
    reply = door.post(odd.body, headers={"Content-Type": "application/octet-stream"})
    document = reply.json()
    assert reply.status_code == odd.status, document
    if odd.reason is not None:
        assert set(document) == {"code", "type", "message", "reason"}
        assert document["code"] == odd.status
        assert document["reason"] == odd.reason
        return
    width, height = odd.size
    upscaled = ["upscaled"] if is_upscaled(width, height) else []
    # Most of them are patterns, and no photographs: whether that is told is tested elsewhere.
    of_heads = {"not_a_photograph", "unlike_training"}
    told = [warning for warning in document["warnings"] if warning not in of_heads]
    assert told == [*odd.warnings, *upscaled]
    assert document["image"] == {"width": width, "height": height, "format": odd.format}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"body": "x=y", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, "-F"),
        ({"files": {"picture": (None, b"abc")}}, "'picture'"),
        ({"files": {"a": PARROTS.read_bytes(), "b": PARROTS.read_bytes()}}, "'a', 'b'"),
        ({"json": {"picture": "abc"}}, "'picture'"),
        ({"json": {"image": "not base64!"}}, "base64"),
        ({"json": {"image": 7}}, "int"),
        ({"json": [1, 2]}, "list"),
        ({"body": "{broken", "headers": {"Content-Type": "application/json"}}, "expected"),
    ],
    ids=["urlencoded", "text", "two files", "wrong key", "no base64", "number", "list",
         "broken json"],
)  # fmt: skip
def test_a_request_without_a_picture_is_told_what_to_send(
    door: RunningServer, arguments: dict[str, object], word: str
) -> None:
    """A request in a wrong form gets a 400 that names what came and how to send a file."""
    reply = door.post(**arguments)
    assert reply.status_code == 400, reply.text
    assert word in reply.json()["message"]


def test_bad_requests_hurt_nobody_else(door: RunningServer) -> None:
    """Good pictures sent between many bad ones get the score that they get alone."""
    picture = PARROTS.read_bytes()
    alone = door.score(picture)["score"]
    bodies = [picture, b"", b"no picture", picture[: len(picture) // 2]] * 8
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda body: door.post(body), bodies))
    assert [reply.status_code for reply in replies] == [200, 400, 400, 400] * 8
    assert {reply.json()["score"] for reply in replies if reply.ok} == {alone}


def test_a_describe_header_of_a_client_changes_nothing(door: RunningServer) -> None:
    """The header that breaks TorchServe's own handlers leaves a prediction as it is."""
    picture = PARROTS.read_bytes()
    reply = door.post(picture, headers={"describe": "True", "explain": "True"})
    assert reply.status_code == 200
    assert reply.json()["score"] == door.score(picture)["score"]


def test_the_management_api_returns_the_provenance(server: RunningServer) -> None:
    """`?customized=true` tells version, data, metrics and the digest of every file."""
    entry = server.manage("?customized=true")[0]
    told = entry["customizedMetadata"]
    provenance = json.loads(told) if isinstance(told, str) else told
    card = json.loads((ROOT / "training" / "pretrained" / "model.json").read_text())
    assert provenance["model"]["version"] == "1"
    assert provenance["weights_sha256"] == card["weights_sha256"]
    assert provenance["metrics"] == card["metrics"]
    assert "iqa/imaging/preprocessing.py" in provenance["sha256"]


def test_the_metrics_count_scores_rejections_and_seconds(server: RunningServer) -> None:
    """Port 8082 serves the handler's own metrics, with their labels."""
    label = server.score(PARROTS.read_bytes())["label"]
    server.post(b"no picture")
    wanted = [
        f'iqa_scores_total{{label="{label}",',
        'iqa_rejections_total{reason="undecodable",',
        *(
            f'iqa_latency_seconds_bucket{{stage="{stage}",le="+Inf",ModelVersion="1",'
            for stage in ("decode", "network")
        ),
    ]
    wait_for(  # workers report in bundles
        lambda: all(name in server.metrics() for name in wanted), f"on the page: {wanted}"
    )
    page = server.metrics()
    reasons = {line.split('reason="')[1].split('"')[0] for line in page.splitlines()
               if line.startswith("iqa_rejections_total{")}  # fmt: skip
    assert reasons <= set(STATUS_OF_REASON)


def test_workers_run_without_torch(server: RunningServer) -> None:
    """No file of torch is mapped: 300 MB that OpenVINO has no use for."""
    entry = server.manage()[0]
    assert len(entry["workers"]) == 2
    for worker in entry["workers"]:
        maps = Path(f"/proc/{worker['pid']}/maps").read_text()
        assert "openvino" in maps
        assert "libtorch" not in maps and "/torch/" not in maps


def test_a_request_writes_no_line(server: RunningServer) -> None:
    """Neither Java nor a worker logs a score, and metrics are no lines of a log file."""
    log_dir = Path(server.environment["IQA_STATE_DIR"]) / "logs"

    def lines() -> int:
        return sum(path.read_bytes().count(b"\n") for path in log_dir.rglob("*.log*"))

    def scores() -> float:
        rows = [row for row in server.metrics().splitlines() if row.startswith("iqa_scores_total{")]
        return sum(float(row.rsplit(" ", 1)[1]) for row in rows)

    picture, before, scored = PARROTS.read_bytes(), lines(), scores()
    for _ in range(20):
        server.score(picture)
    wait_for(lambda: scores() >= scored + 20, "what the workers report")
    assert lines() == before
