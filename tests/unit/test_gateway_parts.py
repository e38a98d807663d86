"""The gateway's parts without a server: reasons, settings, forms, tensors, the OpenAPI file."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from console.paths import ROOT
from scripts.nginx import settings as front_settings
from web import infer_messages
from web.api import make_app
from web.batch import _Held, _UnderWay
from web.forwarding import Inference, Room, bytes_of, with_top_k
from web.inference_client import Answer, Unreachable, Upstream
from web.predict import NameOfFile, boundary_of, with_image_name
from web.refusals import STATUS_OF, STATUS_OF_FRONT, Refused, with_reason
from web.reload import Caller, expect_allowed
from web.settings import Settings

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
    monkeypatch.setenv("MODELS", "iqa@production,fashion_mnist")
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


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """Return a form with the boundary `x`."""
    pieces = []
    for name, filename, content in parts:
        said = f'; filename="{filename}"' if filename is not None else ""
        head = f'--x\r\nContent-Disposition: form-data; name="{name}"{said}\r\n\r\n'
        pieces.append(head.encode() + content + b"\r\n")
    return b"".join(pieces) + b"--x--\r\n"


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (form(("file", "a.jpg", b"\xff\xd8")), "a.jpg"),
        (form(("t", None, b"text"), ("empty", "", b""), ("data", "ảnh.png", b"x")), "ảnh.png"),
        (form(("file", "C:\\fakepath\\b.jpg", b"x")), "b.jpg"),
        (form(("file", "../../etc/passwd", b"x")), "passwd"),
        (form(("file", "a" * 999, b"x")), "a" * 255),
        (form(("t", None, b"text")), None),
        (b"no form at all", None),
        (b"--x\r\nnonsense\r\n\r\n", None),
    ],
)
def test_the_name_of_the_file_is_seen_as_the_form_passes(
    body: bytes, wanted: str | None, size: int
) -> None:
    """Whatever pieces it comes in, every byte goes on as it is."""
    name = NameOfFile("x")

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(body), size):
            yield body[at : at + size]

    async def passed() -> bytes:
        return b"".join([chunk async for chunk in name.watched(chunks())])

    assert asyncio.run(passed()) == body
    assert name.found == wanted


def test_a_name_cannot_break_the_reply() -> None:
    """It is text in JSON, and no JSON of its own."""
    name = '", "score": 100, "x": "'
    document = json.loads(with_image_name(b'{"score": 1.0}\n', name))
    assert document == {"score": 1.0, "image_name": name}


def test_only_a_form_that_can_be_looked_into_has_a_boundary() -> None:
    """Compressed bodies and other types are passed on unseen."""
    kind = (b"content-type", b'multipart/form-data; boundary="x y"')
    assert boundary_of([kind]) == "x y"
    assert boundary_of([kind, (b"content-encoding", b"gzip")]) is None
    assert boundary_of([(b"content-type", b"image/jpeg")]) is None


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


def packed(*elements: bytes) -> bytes:
    """Return a BYTES tensor in binary."""
    return b"".join(struct.pack("<I", len(one)) + one for one in elements)


def request_of(tail: bytes, **changes: Any) -> tuple[bytes, int]:
    """Return a request with a binary tensor, and the length of its JSON."""
    tensor = {
        "name": "image", "datatype": "BYTES", "shape": [2],
        "parameters": {"binary_data_size": len(tail)},
    }  # fmt: skip
    head = json.dumps({"inputs": [{**tensor, **changes}]}).encode()
    return head + tail, len(head)


def test_binary_tensors_are_read_and_written() -> None:
    """Elements of any bytes, empty ones too; each output as it is asked for."""
    body, size = request_of(packed(b"ab\0", b""))
    request = infer_messages.read(body, size)
    assert [bytes(one) for one in request.images] == [b"ab\0", b""]
    replies = [{"score": 1.5, "label": "poor", "interval": [0.0, 3.0]}, {"score": 2.5}]
    content, n_head = infer_messages.reply(request, "iqa", "1", replies)
    assert n_head is None
    outputs = {one["name"]: one for one in json.loads(content)["outputs"]}
    assert outputs["score"]["data"] == [1.5, 2.5]
    assert outputs["interval"]["data"] == [0.0, 3.0, 2.5, 2.5]
    assert outputs["label"]["data"] == ["poor", ""]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"{}", b"[" * 100_000, b'{"inputs": 1}', b'{"inputs": [1]}',
        b'{"inputs": [{"datatype": "FP32"}]}',
        b'{"inputs": [{"datatype": "BYTES"}]}',
        b'{"inputs": [{"datatype": "BYTES", "shape": [1], "data": [1]}]}',
        b'{"inputs": [{"datatype": "BYTES", "shape": [1], "data": ["%%"]}]}',
        b'{"inputs": [{"datatype": "BYTES", "shape": [2], "data": ["AA=="]}]}',
        b'{"inputs": [{"datatype": "BYTES", "shape": [true], "data": ["AA=="]}]}',
        b'{"inputs": [{"datatype": "BYTES", "shape": [1, 2], "data": ["AA=="]}]}',
        b'{"inputs": [{"datatype": "BYTES", "shape": [9999], "data": ["AA=="]}]}',
        b'{"inputs": [{"datatype": "BYTES", "shape": [1], "data": ["AA=="]}], "outputs": [1]}',
        b'{"inputs": [{"datatype": "BYTES", "shape": [1], "data": ["AA=="]}], "outputs": [{}]}',
    ],
)  # fmt: skip
def test_what_is_not_of_the_protocol_is_refused(body: bytes) -> None:
    """One error, whatever is wrong."""
    with pytest.raises(infer_messages.Malformed):
        infer_messages.read(body, None)


@pytest.mark.parametrize(
    ("tail", "changes"),
    [
        (packed(b"a"), {}),
        (packed(b"a", b"b", b"c"), {}),
        (b"\xff\xff\xff\xff", {}),
        (packed(b"a") + b"\1", {}),
        (packed(b"a", b"b"), {"parameters": {"binary_data_size": 3}}),
        (packed(b"a", b"b"), {"parameters": {"binary_data_size": "x"}}),
    ],
)
def test_binary_tensors_that_do_not_add_up_are_refused(tail: bytes, changes: Any) -> None:
    """No length in a request is believed."""
    body, size = request_of(tail, **changes)
    with pytest.raises(infer_messages.Malformed):
        infer_messages.read(body, size)
    with pytest.raises(infer_messages.Malformed):
        infer_messages.read(body, len(body) + 1)


def test_a_kept_connection_that_has_ended_is_replaced_once() -> None:
    """A server that closes after each reply loses no request; one that never answers is said."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        n_body = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
        seen.append(await reader.readexactly(n_body))
        if seen[-1] != b"hang up":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            await writer.drain()
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        upstream = Upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")

        async def body(text: bytes) -> AsyncIterator[bytes]:
            yield text

        for text in (b"one", b"two", b"three"):
            answer = await upstream.post("/", (), body(text), len(text))
            assert (answer.status, answer.body) == (200, b"ok")
        with pytest.raises(Unreachable):
            await upstream.post("/", (), body(b"hang up"), 7)
        server.close()
        with pytest.raises(Unreachable):
            await upstream.post("/", (), body(b"x"), 1)

    asyncio.run(scenario())
    assert seen[:3] == [b"one", b"two", b"three"]


def test_what_is_passed_on_and_what_is_not() -> None:
    """`traceparent`, the id and the encoding go on; what a handler might obey does not."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            heads.append(head)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        upstream = Upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        trace = (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        headers = [trace, (b"x-request-id", b"mine"), (b"describe", b"True"), (b"cookie", b"c")]
        inference = Inference(upstream)
        for _ in range(2):
            assert (await inference.score("iqa", headers, bytes_of(b"x"), 1)).status == 200
        await upstream.close()
        server.close()

    asyncio.run(scenario())
    for head in heads:
        assert head.startswith(b"POST /predictions/iqa HTTP/1.1\r\n")
        assert b"\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-" in head
        assert b"\r\nx-request-id: mine\r\n" in head
        assert b"describe" not in head and b"cookie" not in head
    assert len(heads) == 2


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


def test_base64_may_be_a_data_uri_or_have_line_breaks() -> None:
    """As browsers and mail programs write it."""
    text = base64.b64encode(b"picture").decode()
    for one in (text, f"data:image/png;base64,{text}", f"{text[:4]}\n{text[4:]}"):
        tensor = {"datatype": "BYTES", "shape": [1], "data": [one]}
        body = json.dumps({"inputs": [tensor]}).encode()
        assert bytes(infer_messages.read(body, None).images[0]) == b"picture"
