"""Requests that no client library would send, byte by byte; and other routes and methods."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import Final

from tests.attack.pieces import SMALL_JPEG

PATH: Final = "/predictions/iqa"
TIMEOUT_S: Final = 20.0
STATUS_LINE: Final = re.compile(rb"^HTTP/1\.[01] (\d{3})", re.MULTILINE)


def head(*lines: str, request: str = f"POST {PATH} HTTP/1.1", host: str = "x") -> bytes:
    """Return a request's head."""
    return "\r\n".join([request, f"Host: {host}", *lines, "", ""]).encode("latin-1")


def chunked(body: bytes, size: int = 500) -> bytes:
    """Return a body in chunks."""
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def sent(
    port: int, request: bytes, *, close: bool = False, timeout_s: float = TIMEOUT_S
) -> tuple[list[int], bytes]:
    """
    Send bytes and read until the server closes the connection or says nothing more for a while.

    Args:
        port: On this machine.
        request: As it is.
        close: Say that nothing follows.
        timeout_s: How long the first byte is waited for.

    Returns:
        Status of each answer, and all bytes that came.
    """
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        try:
            connection.sendall(request)
            if close:
                connection.shutdown(socket.SHUT_WR)
            while True:
                piece = connection.recv(65536)
                if not piece:
                    break
                answer += piece
                connection.settimeout(1.0)
        except (TimeoutError, ConnectionError):
            pass
    return [int(status) for status in STATUS_LINE.findall(answer)], answer


@dataclass(frozen=True, kw_only=True)
class Raw:
    """
    Bytes, and which statuses may answer them.

    Attributes:
        request: As it is sent.
        bare: Of TorchServe alone; empty: it closes the connection, or waits for more.
        front: Of the front.
    """

    request: bytes
    bare: tuple[tuple[int, ...], ...]
    front: tuple[tuple[int, ...], ...]


LENGTH: Final = f"Content-Length: {len(SMALL_JPEG)}"
GOOD: Final = head(LENGTH, "Connection: close") + SMALL_JPEG
KEEP: Final = head(LENGTH) + SMALL_JPEG
SMUGGLED: Final = b"DELETE /models/iqa HTTP/1.1\r\nHost: x\r\n\r\n"

OK, BAD, NONE = (200,), (400,), ()
# TorchServe runs the second request as well, answers it first, and ends the connection. It is
# nobody's but the sender's own: no more than that he might send anyhow.
SMUGGLED_ALONE: Final = ((404,), (400, 404), (404, 400))
RAW: Final[dict[str, Raw]] = {
    "good": Raw(request=GOOD, bare=(OK,), front=(OK,)),
    "chunked": Raw(
        request=head("Transfer-Encoding: chunked", "Connection: close") + chunked(SMALL_JPEG),
        bare=(OK,), front=(OK,),
    ),
    "chunked_one_byte_each": Raw(
        request=head("Transfer-Encoding: chunked", "Connection: close") + chunked(SMALL_JPEG, 1),
        bare=(OK,), front=(OK,),
    ),
    "chunk_size_is_no_number": Raw(
        request=head("Transfer-Encoding: chunked", "Connection: close") + b"zz\r\n\r\n",
        bare=(BAD, NONE), front=(BAD,),
    ),
    "chunk_of_16_exabytes": Raw(
        request=head("Transfer-Encoding: chunked") + b"ffffffffffffffff\r\nab",
        bare=(BAD,), front=(BAD,),
    ),
    "expect_continue": Raw(
        request=head(LENGTH, "Expect: 100-continue", "Connection: close") + SMALL_JPEG,
        bare=((100, 200), OK), front=((100, 200), OK),
    ),
    "expect_something_else": Raw(
        request=head(LENGTH, "Expect: the-unexpected", "Connection: close") + SMALL_JPEG,
        bare=((417, 400),), front=(OK, (417,)),
    ),
    "two_requests_at_once": Raw(
        request=KEEP + GOOD, bare=((200, 200),), front=((200, 200),)
    ),
    "no_length_at_all": Raw(request=head("Connection: close"), bare=(BAD,), front=(BAD, (411,))),
    "length_and_chunks": Raw(
        request=head("Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED,
        bare=SMUGGLED_ALONE, front=(BAD,),
    ),
    "chunks_and_length": Raw(
        request=head("Transfer-Encoding: chunked", f"Content-Length: {5 + len(SMUGGLED)}")
        + b"0\r\n\r\n" + SMUGGLED,
        bare=SMUGGLED_ALONE, front=(BAD,),
    ),
    "two_lengths": Raw(
        request=head("Content-Length: 0", f"Content-Length: {len(SMUGGLED)}") + SMUGGLED,
        bare=(BAD,), front=(BAD,),
    ),
    "chunked_spelt_oddly": Raw(
        request=head("Transfer-Encoding: xchunked", "Connection: close") + b"0\r\n\r\n",
        bare=(BAD,), front=(BAD,),
    ),
    "chunked_after_a_tab": Raw(
        request=head("Transfer-Encoding:\tchunked", LENGTH) + chunked(SMALL_JPEG),
        bare=(OK,), front=(BAD,),
    ),
    "length_below_zero": Raw(
        request=head("Content-Length: -5") + b"hello", bare=(BAD, NONE), front=(BAD,)
    ),
    "length_of_letters": Raw(
        request=head("Content-Length: many") + b"hello", bare=(BAD, NONE), front=(BAD,)
    ),
    "length_of_90_gigabytes": Raw(
        request=head("Content-Length: 99999999999") + b"hello", bare=((413,), NONE),
        front=((413,),),
    ),
    "no_host": Raw(
        request=f"POST {PATH} HTTP/1.1\r\n{LENGTH}\r\nConnection: close\r\n\r\n".encode()
        + SMALL_JPEG,
        bare=(OK, BAD), front=(BAD,),
    ),
    "http_1_0": Raw(
        request=head(LENGTH, request=f"POST {PATH} HTTP/1.0") + SMALL_JPEG,
        bare=(OK,), front=(OK,),
    ),
    "http_0_9": Raw(request=f"GET {PATH}\r\n\r\n".encode(), bare=(BAD, NONE), front=(BAD, NONE)),
    "http_7_7": Raw(
        request=head(LENGTH, request=f"POST {PATH} HTTP/7.7") + SMALL_JPEG,
        bare=(OK,), front=(BAD,),
    ),
    "http_2_preface": Raw(
        # TorchServe's own fault: it fails on a path that does not begin with a slash.
        request=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), bare=((500,),), front=(BAD,),
    ),
    "tls_hello": Raw(
        request=b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300), bare=(BAD, NONE),
        front=(BAD, NONE),
    ),
    "rubbish": Raw(request=bytes(range(256)) * 20, bare=(BAD, NONE), front=(BAD, NONE)),
    "line_breaks_of_unix": Raw(
        request=GOOD.replace(b"\r\n", b"\n", 4), bare=(OK, BAD), front=(OK, BAD)
    ),
    "folded_header": Raw(
        request=head(LENGTH, "X-A: 1", " continued", "Connection: close") + SMALL_JPEG,
        bare=(OK, BAD), front=(OK, BAD),
    ),
    "space_before_the_colon": Raw(
        request=head(f"Content-Length : {len(SMALL_JPEG)}", "Connection: close") + SMALL_JPEG,
        bare=(OK, BAD, NONE), front=(BAD,),
    ),
    "nul_in_a_header": Raw(
        request=head(LENGTH, "X-A: a\0b", "Connection: close") + SMALL_JPEG,
        bare=(OK, BAD), front=(BAD,),
    ),
    "header_of_100_kilobytes": Raw(
        request=head(LENGTH, "X-A: " + "a" * 100_000) + SMALL_JPEG,
        bare=(BAD,), front=((431,),),
    ),
    "headers_by_the_thousand": Raw(
        request=head(LENGTH, *[f"X-{i}: a" for i in range(5000)]) + SMALL_JPEG,
        bare=(BAD,), front=((431,),),
    ),
    "path_of_100_kilobytes": Raw(
        request=head(LENGTH, request=f"POST /{'a' * 100_000} HTTP/1.1"),
        bare=(BAD,), front=((414,),),
    ),
    "boundary_of_100_kilobytes": Raw(
        request=head(
            "Content-Length: 10", f"Content-Type: multipart/form-data; boundary={'b' * 100_000}"
        ) + bytes(10),
        bare=(BAD,), front=((431,),),
    ),
}  # fmt: skip
"""What comes back is one of these lists of statuses, one status an answer."""

ROUTES: Final = (
    ("GET", "/"), ("OPTIONS", "/"), ("TRACE", "/"), ("CONNECT", "/"), ("BREW", PATH),
    ("GET", PATH), ("DELETE", PATH), ("PATCH", PATH), ("TRACE", PATH), ("OPTIONS", PATH),
    ("POST", f"{PATH}/99"), ("POST", f"{PATH}/../../models"), ("POST", "/predictions/"),
    ("POST", "/predictions/other"), ("POST", "/predictions/iqa%00"),
    ("POST", "/predictions/..%2f..%2fetc%2fpasswd"), ("POST", "/predictions/iqa;a=b"),
    ("GET", "/../../../../etc/passwd"), ("GET", "/..%2f..%2f..%2fetc%2fpasswd"),
    ("GET", "/models"), ("POST", "/models?url=iqa-1.mar"), ("GET", "/models/iqa"),
    ("DELETE", "/models/iqa"), ("PUT", "/models/iqa?max_worker=0"),
    ("PUT", "/models/iqa/1/set-default"), ("POST", "/models/iqa/invoke"),
    ("POST", "/invocations"), ("GET", "/metrics"), ("GET", "/api-description"), ("GET", "/token"),
    ("POST", "/workflows?url=http://127.0.0.1:1/a.war"), ("GET", "/workflows"),
    ("POST", "/wfpredict/iqa"), ("GET", "/v1/models/iqa"), ("POST", "/v1/models/iqa:predict"),
    ("GET", "/v2/health/ready"), ("POST", "/v2/models/iqa/infer"), ("GET", "/v2/models/iqa"),
    ("GET", "/.git/config"), ("GET", "/WEB-INF/web.xml"), ("POST", "http://127.0.0.1:8081/models"),
)  # fmt: skip
"""Methods and paths where nothing is to be had."""


def asked(port: int, method: str, path: str) -> tuple[int, bytes]:
    """Return status and whole answer of a request without a body; 0 where none came."""
    request = head("Content-Length: 0", "Connection: close", request=f"{method} {path} HTTP/1.1")
    statuses, answer = sent(port, request)
    return (statuses[0] if statuses else 0), answer
