"""
The corpus: every bad file and what becomes of it, and every bad way to send one.

`FILES` are bodies, `FORMS` are requests as a client library makes them; what no library would
send is in `tests/attack/wire.py`.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from tests.attack.bombs import BOMBS
from tests.attack.broken import BROKEN
from tests.attack.disguises import DISGUISES, LAUGHS
from tests.attack.heif_corpus import HEIF_BOMBS, HEIF_BROKEN
from tests.attack.pieces import SMALL_JPEG, SMALL_PNG
from tests.odd_inputs import ODD_INPUTS, OddInput

FILES: Final[dict[str, OddInput]] = {
    **ODD_INPUTS, **DISGUISES, **BROKEN, **BOMBS, **HEIF_BROKEN, **HEIF_BOMBS,
}  # fmt: skip
CUT_EVERY: Final = 10  # bytes

TEXT: Final = base64.b64encode(SMALL_JPEG).decode()
RAW: Final = {"Content-Type": "application/octet-stream"}
JSON: Final = {"Content-Type": "application/json"}
BOUNDARY: Final = "x" * 70


def cuts() -> Iterator[tuple[str, bytes]]:
    """Return a JPEG and a PNG, cut at every tenth byte: (name, bytes)."""
    # Nothing of the picture is missing in a PNG that is cut later: checksums, and the end.
    pixels_end = SMALL_PNG.index(b"IEND") - 24
    for kind, body in (("jpeg", SMALL_JPEG), ("png", SMALL_PNG[:pixels_end])):
        for end in range(CUT_EVERY, len(body), CUT_EVERY):
            yield f"{kind}_cut_at_{end}", body[:end]


@dataclass(frozen=True, kw_only=True)
class Form:
    """
    A request in an odd form.

    Attributes:
        make: Arguments of `requests.post`.
        status: Expected.
        word: In the message of a refusal.
        bare: Expected without the front, where it differs; 413 and 500 are TorchServe's own.
    """

    make: Callable[[], dict[str, Any]]
    status: int = 400
    word: str = "expected"
    bare: int | None = None


def _body(content: bytes | str, headers: dict[str, str] = RAW) -> Callable[[], dict[str, Any]]:
    return lambda: {"data": content, "headers": headers}


def _json(content: str | bytes) -> Callable[[], dict[str, Any]]:
    return _body(content, JSON)


def _large(make: Callable[[], bytes | str], headers: dict[str, str] = JSON) -> Any:
    return lambda: {"data": make(), "headers": headers}


def _files(*parts: tuple[str, tuple[str | None, bytes]]) -> Callable[[], dict[str, Any]]:
    return lambda: {"files": list(parts)}


def multipart(*parts: tuple[str, bytes], boundary: str = BOUNDARY) -> bytes:
    """Return a form by hand: (what follows `form-data`, content) for each part."""
    body = b""
    for disposition, content in parts:
        head = f"--{boundary}\r\nContent-Disposition: form-data{disposition}\r\n\r\n"
        body += head.encode("latin-1") + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def _form(body: bytes, boundary: str = BOUNDARY) -> Callable[[], dict[str, Any]]:
    return _body(body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})


def _packed(body: bytes, encoding: str = "gzip") -> Callable[[], dict[str, Any]]:
    return _body(body, {**RAW, "Content-Encoding": encoding})


GOOD: Final = ("data", ("a.jpg", SMALL_JPEG))
SOUND: Final = multipart(('; name="data"; filename="a"', SMALL_JPEG))
URLENCODED: Final = {"Content-Type": "application/x-www-form-urlencoded"}

FORMS: Final[dict[str, Form]] = {
    # JSON.
    "json": Form(make=_json(json.dumps({"image": TEXT})), status=200),
    "json_data_uri": Form(
        make=_json(json.dumps({"image": f"data:image/jpeg;base64,{TEXT}"})), status=200
    ),
    "json_with_a_byte_order_mark": Form(
        make=_json(b"\xef\xbb\xbf" + json.dumps({"image": TEXT}).encode()), status=200
    ),
    "json_twice_the_key": Form(make=_json(f'{{"image": "!", "image": "{TEXT}"}}'), status=200),
    "json_and_other_keys": Form(make=_json(json.dumps({"a": [1], "image": TEXT})), status=200),
    "json_of_100000_levels": Form(make=_json('{"image":' + "[" * 100_000)),
    "json_of_900_levels": Form(make=_json('{"image":' + "[" * 900 + "]" * 900 + "}")),
    "json_of_millions_of_lists": Form(make=_large(lambda: "[" + "[]," * 10_000_000 + "[]]")),
    "json_of_millions_of_keys": Form(
        make=_large(lambda: "{" + ",".join(f'"{i}":0' for i in range(2_000_000)) + "}")
    ),
    "json_number_of_a_million_digits": Form(make=_json('{"image": ' + "9" * 1_000_000 + "}")),
    "json_not_a_number": Form(make=_json('{"image": NaN}'), word="float"),
    "json_infinity": Form(make=_json('{"image": 1e999}'), word="float"),
    "json_null": Form(make=_json('{"image": null}'), word="NoneType"),
    "json_top_null": Form(make=_json("null")),
    "json_list_of_pictures": Form(make=_json(json.dumps([{"image": TEXT}])), word="list"),
    "json_cut": Form(make=_json(json.dumps({"image": TEXT})[:-2])),
    "json_lone_surrogate": Form(make=_json('{"image": "\\ud800"}'), word="base64"),
    "json_lone_surrogate_key": Form(make=_json('{"\\ud800": ""}'), word="ud800"),
    "json_not_utf8": Form(make=_json(b'{"image": "\xff\xfe"}')),
    "json_utf16": Form(make=_json(json.dumps({"image": TEXT}).encode("utf-16-be"))),
    "json_base64_of_letters_outside": Form(make=_json('{"image": "é€"}'.encode()), word="base64"),
    "json_base64_without_padding": Form(make=_json('{"image": "/9j/4"}'), word="base64"),
    "json_base64_url_alphabet": Form(make=_json('{"image": "_9j-4AAQ"}'), word="base64"),
    "json_base64_of_spaces": Form(
        make=_large(lambda: '{"image": "' + "AB " * 10_000_000 + '"}')
    ),
    "json_base64_of_nothing": Form(make=_json('{"image": ""}')),
    "json_base64_of_svg": Form(
        make=_json(json.dumps({"image": base64.b64encode(LAUGHS).decode()})), status=415
    ),
    "json_data_uri_not_base64": Form(make=_json('{"image": "data:image/svg+xml,<svg/>"}')),
    "json_file_uri": Form(make=_json('{"image": "file:///etc/passwd"}'), word="base64"),
    "json_http_uri": Form(make=_json('{"image": "http://169.254.169.254/"}'), word="base64"),
    "json_as_octets": Form(make=_body(json.dumps({"image": TEXT})), status=200),
    # Forms.
    "form_field_of_any_name": Form(make=_files(("picture", ("a.jpg", SMALL_JPEG))), status=200),
    "form_of_text_alone": Form(make=_files(("picture", (None, b"abc"))), word="'picture'"),
    "form_two_files": Form(make=_files(GOOD, ("other", ("b.png", SMALL_PNG))), word="got 2"),
    "form_two_files_of_one_name": Form(
        make=_files(GOOD, ("data", ("b.png", SMALL_PNG))), word="got 2", bare=200
    ),
    "form_of_100_fields": Form(
        make=_files(*[(f"f{i}", (None, b"b")) for i in range(100)], GOOD), status=200
    ),
    "form_of_100_files": Form(
        make=_files(*[(f"f{i}", ("a", b"b")) for i in range(100)]), word="got 100"
    ),
    "form_head_of_1000_parameters": Form(
        make=_form(multipart(("; a=b" * 1000 + '; filename="a"', SMALL_JPEG))), bare=500
    ),
    "form_empty_file": Form(make=_files(("data", ("a.jpg", b""))), word="Send"),
    "form_path_as_file_name": Form(
        make=_files(("data", ("../../../etc/passwd", SMALL_JPEG))), status=200
    ),
    "form_nul_in_file_name": Form(
        make=_form(multipart(('; name="data"; filename="a\0.jpg"', SMALL_JPEG))), status=200
    ),
    "form_nul_in_field_name": Form(
        make=_form(multipart(('; name="da\0ta"; filename="a"', SMALL_JPEG))), status=200
    ),
    "form_url_in_a_field": Form(make=lambda: {"data": {"data": "http://127.0.0.1:8081/models"}}),
    "form_cut": Form(make=_form(SOUND[:-300])),
    "form_without_an_end": Form(make=_form(SOUND[:-10])),
    "form_of_nothing": Form(make=_form(b"")),
    "form_of_2000_fields": Form(make=_form(multipart(*[('; name="f"', b"")] * 2000))),
    "form_of_another_boundary": Form(make=_form(SOUND, "y"), status=200, bare=400),
    "form_of_an_empty_boundary": Form(make=_form(SOUND, ""), status=200, bare=500),
    "form_field_without_a_name": Form(make=_form(multipart(("", SMALL_JPEG))), bare=500),
    "form_field_of_an_empty_name": Form(
        make=_form(multipart(('; name=""; filename="a"', SMALL_JPEG))), status=200, bare=500
    ),
    "form_of_an_unknown_encoding": Form(
        make=_form(SOUND.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: x\r\n\r\n", 1)),
        status=200, bare=500,
    ),
    "form_of_an_unknown_charset": Form(
        make=_form(SOUND.replace(b"\r\n\r\n", b"\r\nContent-Type: a/b; charset=x\r\n\r\n", 1)),
        status=200, bare=500,
    ),
    "urlencoded_picture": Form(make=_body(SMALL_JPEG, URLENCODED), status=200, bare=500),
    "urlencoded_rubbish": Form(make=_body(b"a=%zz", URLENCODED), bare=500),
    "urlencoded_fields": Form(make=_body(b"a=b&" * 20_000, URLENCODED)),
    # Lies about the content.
    "jpeg_as_png": Form(make=_body(SMALL_JPEG, {"Content-Type": "image/png"}), status=200),
    "jpeg_as_text": Form(make=_body(SMALL_JPEG, {"Content-Type": "text/plain"}), status=200),
    "jpeg_as_json": Form(make=_json(SMALL_JPEG), status=200),
    "jpeg_as_a_pickle": Form(
        make=_body(SMALL_JPEG, {"Content-Type": "application/x-python-pickle"}), status=200
    ),
    "content_type_of_rubbish": Form(
        make=_body(SMALL_JPEG, {"Content-Type": ";;;=\"';charset=\\"}), status=200
    ),
    "gzip_of_a_jpeg": Form(make=_packed(gzip.compress(SMALL_JPEG)), status=200),
    "gzip_of_a_form": Form(make=_packed(gzip.compress(SOUND)), status=200),
    "gzip_of_a_form_that_says_so": Form(
        make=_body(
            gzip.compress(SOUND),
            {
                "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
                "Content-Encoding": "gzip",
            },
        ),
        status=200, bare=400,
    ),
    "gzip_of_json": Form(
        make=_packed(gzip.compress(json.dumps({"image": TEXT}).encode())), status=200
    ),
    "gzip_cut": Form(make=_packed(gzip.compress(SMALL_JPEG)[:-20]), word="gzip"),
    "gzip_that_is_none": Form(make=_packed(SMALL_JPEG), word="gzip"),
    "gzip_in_gzip": Form(make=_packed(gzip.compress(gzip.compress(SMALL_JPEG))), status=415),
    "gzip_bomb": Form(
        make=lambda: _packed(gzip.compress(bytes(300_000_000)))(), status=413, word="unpacked"
    ),
    "deflate_of_a_jpeg": Form(make=_packed(zlib.compress(SMALL_JPEG), "deflate"), status=200),
    "encodings_that_are_not_taken": Form(
        make=_packed(SMALL_JPEG, "deflate, br, zstd"), status=415, word="zstd"
    ),
    "too_many_bytes": Form(make=_large(lambda: bytes(33_554_433), RAW), status=413),
    "too_many_bytes_for_the_server": Form(
        make=_large(lambda: bytes(46_000_001), RAW), status=413, bare=413
    ),
}  # fmt: skip
"""Odd forms; the file in them, where there is one, is a good picture."""

HEADERS: Final[dict[str, dict[str, str]]] = {
    "describe": {"describe": "True"},
    "explain": {"explain": "True"},
    "both": {"describe": "True", "explain": "True", "url_path": "/explanations/iqa"},
    "url_path": {"url_path": "../../models"},
    "started_in_words": {"X-Request-Start": "yesterday"},
    "started_never": {"X-Request-Start": "NaN"},
    "started_at_infinity": {"X-Request-Start": "-Infinity"},
    "started_with_units": {"X-Request-Start": "t=1e400ms"},
    "started_in_the_future": {"X-Request-Start": "99999999999999999999"},
    "id_that_breaks_a_line": {"X-Request-ID": 'a"} {"level": "ERROR'},
    "id_of_8000_letters": {"X-Request-ID": "i" * 7000},
    "id_in_other_letters": {"X-Request-ID": "h\u00e9"},
    "method_override": {"X-HTTP-Method-Override": "DELETE"},
    "original_url": {"X-Original-URL": "/models", "X-Rewrite-URL": "/models"},
    "forwarded": {"X-Forwarded-For": "127.0.0.1, ::1", "Forwarded": "for=127.0.0.1"},
    "lookup": {"User-Agent": "${jndi:ldap://127.0.0.1/a}", "X-Api": "${env:HOME}"},
    "sequence": {"ts_request_sequence_id": "1", "ts_request_sequence_start": "true"},
    "stream": {"ts_stream_next": "true"},
    "authorization": {"Authorization": "Bearer " + "a" * 4000},
    "cookie": {"Cookie": "; ".join(f"a{i}=b" for i in range(500))},
    "shell": {"User-Agent": "() { :; }; touch /tmp/iqa-a-shell-ran"},
}
"""Headers that must not change the answer to a good picture."""
