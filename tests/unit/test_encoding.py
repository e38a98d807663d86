"""Bodies with Content-Encoding: what is unpacked, what is refused, and what it may cost."""

from __future__ import annotations

import base64
import gzip
import json
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from iqa.errors import ImageRejected
from iqa.request.encoding import BASE64_SHARE, MAX_MEMBERS, WRITE_BYTES, plain_row

MAX_BYTES = 1_000_000
PICTURE = b"\xff\xd8 any bytes" * 100


def bare_deflate(body: bytes) -> bytes:
    """Return a deflate stream without zlib's frame, as old servers and clients write it."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def plain(body: bytes, encoding: str, name: str = "Content-Encoding") -> bytes:
    """Return the body that goes on to the handler."""
    return bytes(plain_row({"body": bytearray(body)}, {name: encoding}, MAX_BYTES)["body"])


GZIP = gzip.compress(PICTURE, mtime=0)  # the same in every process: it names a test


@pytest.mark.parametrize("name", ["Content-Encoding", "content-encoding", "CONTENT-ENCODING"])
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", GZIP), ("x-gzip", GZIP), (" GZip ", GZIP), ("identity, gzip", GZIP),
        ("deflate", zlib.compress(PICTURE)), ("deflate", bare_deflate(PICTURE)),
        ("identity", PICTURE), ("", PICTURE), (" , ", PICTURE),
    ],
    ids=lambda value: repr(value) if isinstance(value, str) else f"{len(value)} bytes",
)  # fmt: skip
def test_gzip_and_deflate_are_unpacked(encoding: str, body: bytes, name: str) -> None:
    """In every spelling of header and value; without an encoding nothing changes."""
    assert plain(body, encoding, name) == PICTURE


@given(body=st.binary(max_size=5000), level=st.integers(0, 9), repeats=st.integers(1, 100))
def test_what_was_packed_comes_back(body: bytes, level: int, repeats: int) -> None:
    """Any bytes, packed well or badly, in one step or in many."""
    body *= repeats
    assert plain(gzip.compress(body, level), "gzip") == body
    assert plain(zlib.compress(body, level), "deflate") == body


@pytest.mark.parametrize("members", [2, 3, MAX_MEMBERS])
def test_gzip_of_several_members_is_one_body(members: int) -> None:
    """RFC 1952, section 2.2; they may be larger or smaller than what is read at once."""
    body = bytes(np.random.default_rng(0).integers(0, 256, 600_000, np.uint8))
    size = -(-len(body) // members)
    packed = b"".join(
        gzip.compress(body[at : at + size], 1) for at in range(0, members * size, size)
    )
    assert plain(packed, "gzip") == body


def test_members_share_the_limit() -> None:
    """Many small bombs are one large one."""
    with pytest.raises(ImageRejected, match="at most 1400000 bytes when unpacked"):
        plain(gzip.compress(bytes(200_000)) * 8, "gzip")


def test_a_body_of_several_steps_comes_back() -> None:
    """More than is read at once, and more than is unpacked at once."""
    body = bytes(range(256)) * (2 * WRITE_BYTES // 256) + b"end"
    row = plain_row({"body": gzip.compress(body)}, {"content-encoding": "gzip"}, 2 * len(body))
    assert row["body"] == body


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "deflate, br", "é"])
def test_another_encoding_is_refused_by_its_name(encoding: str) -> None:
    """415: the message says which are taken; nothing is tried."""
    with pytest.raises(ImageRejected, match="expected gzip, deflate or none, got ") as caught:
        plain(PICTURE, encoding)
    assert (caught.value.status, caught.value.reason) == (415, "unsupported_encoding")
    assert repr(encoding) in str(caught.value)


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("gzip", PICTURE, "undecodable"),
        ("deflate", PICTURE, "undecodable"),
        ("gzip", zlib.compress(PICTURE), "undecodable"),
        ("gzip", gzip.compress(PICTURE)[:-1], "truncated"),
        ("gzip", gzip.compress(PICTURE)[:5], "truncated"),
        ("deflate", zlib.compress(PICTURE)[:-1], "truncated"),
        ("gzip", gzip.compress(PICTURE) + b"ab", "undecodable"),
        ("gzip", gzip.compress(PICTURE) + gzip.compress(PICTURE)[:-1], "truncated"),
        ("gzip", gzip.compress(b"a") * (MAX_MEMBERS + 1), "undecodable"),
        ("deflate", zlib.compress(PICTURE) * 2, "undecodable"),
        ("gzip", gzip.compress(PICTURE)[:-8] + bytes(8), "undecodable"),
    ],
    ids=[
        "jpeg",
        "jpeg as deflate",
        "zlib",
        "cut",
        "head",
        "deflate cut",
        "more",
        "second cut",
        "members",
        "deflate two",
        "checksum",
    ],
)
def test_a_damaged_body_is_refused(encoding: str, body: bytes, reason: str) -> None:
    """400, and the message says that the header promised something else."""
    with pytest.raises(ImageRejected, match=f"expected it in {encoding}, as Content-") as caught:
        plain(body, encoding)
    assert (caught.value.status, caught.value.reason) == (400, reason)


def test_a_bomb_costs_no_more_than_a_large_body() -> None:
    """A gigabyte in a megabyte: 413, after the limit's memory and time."""
    packer = zlib.compressobj(9, wbits=31)
    body = b"".join(packer.compress(bytes(10_000_000)) for _ in range(100)) + packer.flush()
    tracemalloc.start()
    start_s = time.process_time()
    try:
        with pytest.raises(ImageRejected, match="at most 1400000 bytes when unpacked") as caught:
            plain(body, "gzip")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.status == 413
    assert peak < len(body) + 3 * BASE64_SHARE * MAX_BYTES + 2 * WRITE_BYTES
    assert time.process_time() - start_s < 1


def test_the_limit_holds_a_file_in_base64() -> None:
    """JSON with the largest file that is taken may be packed as well; a byte over is refused."""
    file = bytes(MAX_BYTES)
    document = json.dumps({"image": base64.encodebytes(file).decode()}).encode()
    assert plain(gzip.compress(document), "gzip") == document
    full = bytes(int(BASE64_SHARE * MAX_BYTES))
    assert plain(gzip.compress(full), "gzip") == full
    with pytest.raises(ImageRejected, match="when unpacked"):
        plain(gzip.compress(full + b"\0"), "gzip")


@pytest.mark.parametrize(
    "row", [{}, {"data": gzip.compress(PICTURE)}, {"body": b""}, {"body": {"image": "a"}}]
)
def test_what_is_no_raw_body_is_left_alone(row: dict[str, object]) -> None:
    """A form that TorchServe took apart, a parsed document, no body at all."""
    assert plain_row(row, {"Content-Encoding": "br"}, MAX_BYTES) is row


def test_headers_of_other_kinds_do_no_harm() -> None:
    """TorchServe puts something about each field of a form between the headers."""
    row = {"body": PICTURE}
    assert plain_row(row, {"data": None, "content-encoding": None, "n": 1}, MAX_BYTES) is row
