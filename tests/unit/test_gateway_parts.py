"""The gateway's parts without a server: reasons, settings, batches, the OpenAPI file."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from console.paths import ROOT
from scripts.nginx import settings as front_settings
from web import infer_route
from web.api import make_app
from web.batch_route import _Held, _UnderWay
from web.forwarding import Inference, Room, with_top_k
from web.refusals import RETRY_S, STATUS_OF, STATUS_OF_FRONT, Refused, with_reason
from web.reload_route import Caller, expect_allowed
from web.settings import Settings
from web.torchserve_client import Answer

DOCUMENT: dict[str, Any] = make_app().openapi()
API = (ROOT / "docs" / "api.md").read_text()


def test_the_fronts_reasons_are_those_of_its_template() -> None:
    """A refusal that nginx learns is one that the gateway knows, with the same status."""
    template = front_settings.TEMPLATE.read_text()
    told = re.findall(r'"code": (\d+), .*?"reason": "(\w+)"', template)
    assert {reason: int(code) for code, reason in told} == STATUS_OF_FRONT


def test_the_documents_name_every_reason_and_every_path() -> None:
    """docs/api.md and /openapi.json: the same paths, the same closed list of reasons."""
    reasons = set(DOCUMENT["components"]["schemas"]["Reason"]["enum"])
    assert reasons == set(STATUS_OF)
    for reason in reasons:
        assert f"`{reason}`" in API, reason
    named = {path.rstrip("/") for path in re.findall(r"`(?:GET|POST) (/[\w/{}.-]*)", API)}
    for path in DOCUMENT["paths"]:
        assert path.replace("{model_name}", "NAME").replace("{version}", "N") in named, path


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", b"9"), ("other=3", b"9"), ("top_k=", b"9"), ("top_k", b"9"), ("top_k=3", b"3"),
        ("top_k=%33", b"3"), ("top_k=%20", b"%20"), ("top_k=%2533", b"%2533"),
        ("top_k=1%0d%0aX-Request-ID:a", b"1%0D%0AX-Request-ID%3Aa"),
    ],
)  # fmt: skip
def test_a_number_of_classes_at_the_address_becomes_one_header(query: str, wanted: bytes) -> None:
    """It counts before the header; an empty one is none."""
    headers = [(b"x-top-k", b"9"), (b"x-request-id", b"a")]
    found = with_top_k({"headers": headers, "query_string": query.encode()})
    assert sorted(found) == [(b"x-request-id", b"a"), (b"x-top-k", wanted)]


def test_every_status_that_the_document_names_has_its_reason() -> None:
    """`status | reasons` rows of docs/api.md agree with the table."""
    rows = re.findall(r"^\| (\d{3}) \| (`.*?) \|$", API, re.MULTILINE)
    assert len(rows) >= 6
    for status, cells in rows:
        for reason in re.findall(r"`(\w+)`(?=[,:]| \||$)", cells):
            if reason in STATUS_OF:
                assert STATUS_OF[reason] == int(status), reason


def test_every_response_has_a_schema_and_an_example() -> None:
    """Nothing in /openapi.json is left to a guess."""
    seen = 0
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                content = response["content"]["application/json"]
                assert content["schema"] and content["example"], (path, method, status)
                seen += 1
    assert seen > 100


def test_the_gateway_loads_neither_mlflow_nor_torch() -> None:
    """What it imports is small; the deploy tool is a process of its own."""
    program = "import sys, web.api; print([n for n in sys.modules if '.' not in n])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(re.findall(r"'(\w+)'", done.stdout))
    assert "fastapi" in loaded
    assert not loaded & {"mlflow", "torch", "numpy", "PIL", "requests", "scripts", "training"}


def test_settings_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Several models, each with its alias; a token's file; what is wrong is said."""
    for variable in ("WEB_INFERENCE_URL", "WEB_READY_URL", "RELOAD", "RELOAD_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MODELS", "iqa@production, fashion_mnist")
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.setenv("RELOAD_TOKEN_FILE", str(tmp_path / "token"))
    settings = Settings.from_environment()
    assert settings.aliases == {"iqa": "production", "fashion_mnist": "staging"}
    assert (settings.model_name, settings.reload_token) == ("iqa", "secret")
    assert settings.reload_command is not None
    assert settings.reload_command[-3:] == ("-m", "scripts.deploy", "sync")
    (tmp_path / "token").write_text("\n")
    with pytest.raises(ValueError, match="RELOAD_TOKEN_FILE: expected a token"):
        Settings.from_environment()
    monkeypatch.delenv("RELOAD_TOKEN_FILE")
    for variable, value in (("MODELS", "a/b"), ("MODELS", ","), ("WEB_READY_URL", "ftp://x")):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            with pytest.raises(ValueError, match=f"{variable}: expected"):
                Settings.from_environment()


@pytest.mark.parametrize(
    ("caller", "token", "is_allowed"),
    [
        (("127.0.0.1", "127.0.0.1:8080", "", ""), None, True),
        (("::1", "[::1]:8080", "", ""), None, True),
        (("127.0.0.1", "localhost:8080", "http://localhost:8080", ""), None, True),
        (("127.0.0.1", "localhost:8080", "http://localhost:8081", ""), None, False),
        (("127.0.0.1", "evil.example:8080", "", ""), None, False),
        (("10.0.0.1", "127.0.0.1", "", ""), None, False),
        (("127.0.0.1", "127.0.0.1", "", ""), "secret", False),
        (("10.0.0.1", "any", "", "Bearer secret"), "secret", True),
        (("10.0.0.1", "any", "", "bearer secret"), "secret", True),
        (("10.0.0.1", "any", "", "Bearer geheim"), "secret", False),
        (("10.0.0.1", "any", "", "Bearer é"), "secret", False),
        (("10.0.0.1", "any", "", "secret"), "secret", False),
    ],
)
def test_who_may_reload(caller: tuple[str, ...], token: str | None, is_allowed: bool) -> None:
    """This machine without a token, the token's holder with one, nobody else."""
    address, host, origin, authorization = caller
    who = Caller(address=address, host=host, origin=origin, authorization=authorization)
    if is_allowed:
        expect_allowed(who, token)
    else:
        with pytest.raises(Exception, match="expected") as raised:
            expect_allowed(who, token)
        assert raised.value.status == (401 if token else 403)


def test_a_refusal_without_a_reason_gets_one() -> None:
    """TorchServe's own, where there is no front, come in our shape; ours stay as they are."""
    own = b'{"code": 503, "type": "ServiceUnavailableException", "message": "no worker"}'
    told = with_reason(Answer(503, own))
    document = json.loads(told.body)
    assert (told.status, document["reason"]) == (503, "overloaded")
    ours = Answer(422, b'{"code": 422, "reason": "too_small", "message": "m", "type": "t"}')
    assert with_reason(ours) is ours
    for body in (b"", b"[1]", b"<html>", b'{"reason": ["x"]}'):
        assert json.loads(with_reason(Answer(500, body)).body)["reason"] == "internal"


def test_what_finds_no_room_is_refused_and_the_room_comes_back() -> None:
    """A shared limit holds, also when what is inside fails."""
    room = Room(2)
    with room.taken(2), pytest.raises(Refused, match="room"), room.taken(1):
        raise AssertionError
    with pytest.raises(KeyError), room.taken(2):
        raise KeyError
    with room.taken(2):
        pass


def test_a_batch_that_is_given_up_holds_nothing() -> None:
    """Whatever its files were doing: the memory that they were counted with is free again."""
    held = _Held()

    class Never:
        async def score(self, *_: Any) -> Answer:
            await asyncio.sleep(60)
            raise AssertionError

    async def scenario() -> None:
        batch = _UnderWay(Never(), held, "iqa", [], b"id")  # type: ignore[arg-type]
        for _ in range(3):
            await batch.add("a.jpg", b"12345")
        assert held.n_bytes == 15
        batch.cancel()  # the last one has not begun
        await asyncio.sleep(0.01)

    asyncio.run(scenario())
    assert held.n_bytes == 0


def test_a_full_gateway_says_when_to_come_again_on_every_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """/v2 answers in its protocol's shape, with the same Retry-After."""
    monkeypatch.setattr(infer_route, "HELD_BYTES", 0)
    infer = infer_route.Infer(cast(Inference, None), {"iqa": "staging"})
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "headers": [(b"content-length", b"2")], "query_string": b"",
        "path_params": {"model_name": "iqa"},
    }  # fmt: skip
    asyncio.run(infer(scope, receive, send))
    assert sent[0]["status"] == 503
    assert (b"retry-after", RETRY_S["overloaded"]) in sent[0]["headers"]
