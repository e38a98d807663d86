"""Which deliveries of MLflow's webhooks count."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from typing import Any

import pytest
import requests

from scripts.rollout.webhook import MAX_AGE_S, Deliveries, Refused, listening
from tests.ports import free_port

NOW_S = 1_800_000_000.0


def delivery(
    secret: str = "ours", identity: str = "1", sent_s: float = NOW_S, **changes: Any
) -> tuple[dict[str, str], bytes]:
    """Headers and body as MLflow sends them (mlflow/webhooks/delivery.py, 3.17.2)."""
    data = {"name": "iqa", "alias": "staging", "version": "2"}
    event = {"entity": "model_version_alias", "action": "created", "data": data, **changes}
    body = json.dumps(event).encode()
    signed = f"{identity}.{sent_s:.0f}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return {
        "x-mlflow-delivery-id": identity,
        "x-mlflow-timestamp": f"{sent_s:.0f}",
        "x-mlflow-signature": "v1," + base64.b64encode(digest).decode(),
    }, body


def ours(moved: threading.Event) -> Deliveries:
    """Return what is genuine for one model."""
    return Deliveries("ours", {("iqa", "staging"): moved})


def test_a_move_of_our_alias_counts_once() -> None:
    """A genuine delivery counts; the same one again does not."""
    moved = threading.Event()
    deliveries = ours(moved)
    assert deliveries.take(*delivery(), NOW_S)
    assert moved.is_set()
    assert not deliveries.take(*delivery(), NOW_S)
    assert deliveries.take(*delivery(identity="2"), NOW_S)


def test_each_model_has_its_own_event() -> None:
    """One listener for all aliases that are followed; a move wakes the rounds of its model."""
    ours_moved, theirs_moved = threading.Event(), threading.Event()
    deliveries = Deliveries(
        "ours", {("iqa", "staging"): ours_moved, ("other", "prod"): theirs_moved}
    )
    assert deliveries.take(*delivery(data={"name": "other", "alias": "prod"}), NOW_S)
    assert theirs_moved.is_set()
    assert not ours_moved.is_set()


@pytest.mark.parametrize(
    "changes",
    [
        {"entity": "model_version"},
        {"data": {"name": "other", "alias": "staging"}},
        {"data": {"name": "iqa", "alias": "champion"}},
    ],
    ids=["entity", "model", "alias"],
)
def test_what_concerns_others_does_not_count(changes: dict[str, Any]) -> None:
    """Another event, model or alias is taken and changes nothing."""
    moved = threading.Event()
    assert not ours(moved).take(*delivery(**changes), NOW_S)
    assert not moved.is_set()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (delivery(secret="theirs")[0], 401),
        ({}, 401),
        ({**delivery()[0], "x-mlflow-delivery-id": "2"}, 401),
        ({**delivery()[0], "x-mlflow-signature": "v1,\xe4"}, 401),
        (delivery(sent_s=NOW_S - MAX_AGE_S - 1)[0], 400),
        (delivery(sent_s=NOW_S + MAX_AGE_S + 1)[0], 400),
    ],
    ids=["other secret", "unsigned", "other id", "no ascii", "old", "from the future"],
)
def test_what_is_not_signed_by_us_now_is_refused(headers: dict[str, str], status: int) -> None:
    """A signature is for one body, one id and one time."""
    with pytest.raises(Refused) as refused:
        ours(threading.Event()).take(headers, delivery()[1], NOW_S)
    assert refused.value.status == status


def test_the_listener_answers_what_came() -> None:
    """204 for a genuine delivery, and the event; 4xx without it for all else."""
    moved = threading.Event()
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    with listening("127.0.0.1", port, ours(moved)):
        headers, body = delivery(secret="theirs", sent_s=time.time())
        assert requests.post(url, data=body, headers=headers, timeout=5).status_code == 401
        assert requests.post(url, data=b"x" * 70_000, timeout=5).status_code == 413
        assert requests.post(url, timeout=5).status_code == 413
        assert requests.get(url, timeout=5).status_code == 501
        assert not moved.is_set()
        headers, body = delivery(sent_s=time.time())
        assert requests.post(url, data=body, headers=headers, timeout=5).status_code == 204
        assert moved.is_set()
