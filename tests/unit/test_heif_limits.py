"""AVIF and HEIC of very many units, or of items that share their bytes: what they may cost."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from iqa.errors import ImageRejected
from iqa.imaging.decoding import Limits, decode
from iqa.imaging.heif_units import MAX_SPS, MAX_UNITS

from tests.heif_files import Part, coded, file_of, grid, picture
from tests.images import encode, quarters

TILES = 10
AVIF = coded(encode(quarters(), "AVIF", quality=80))
HEIC = coded(picture("quarters.heic"))
# Units that say nothing: a temporal delimiter of AV1, an access unit delimiter of HEVC.
EMPTY = {b"av01": b"\x12\0", b"hvc1": struct.pack(">IH", 3, 35 << 9 | 1) + b"\x50"}


def brand_of(part: Part) -> bytes:
    """Return the brand of a file of such items."""
    return b"avif" if part.kind == b"av01" else b"heic"


def tiled(tiles: list[Part]) -> bytes:
    """Return a row of tiles as a file."""
    numbers = tuple(range(2, len(tiles) + 2))
    return file_of(
        [grid(len(tiles), 1, (160 * len(tiles), 128), numbers), *tiles], brand_of(tiles[0])
    )


def with_config(part: Part, content: bytes) -> Part:
    """Return a part with another configuration of its decoder."""
    kinds = (b"av1C", b"hvcC")
    return replace(
        part, properties=tuple((k, content if k in kinds else v) for k, v in part.properties)
    )


def config_of(part: Part) -> bytes:
    """Return the configuration of a part's decoder."""
    return next(v for k, v in part.properties if k in (b"av1C", b"hvcC"))


def hevc_config(*arrays: bytes) -> bytes:
    """Return a configuration of HEVC with these arrays of parameter sets."""
    return config_of(HEIC)[:22] + bytes((len(arrays),)) + b"".join(arrays)


def hevc_arrays(sps_times: int) -> list[bytes]:
    """Return the arrays of the picture's configuration, its SPS so many times."""
    config, at, arrays = config_of(HEIC), 23, []
    for _ in range(config[22]):
        kind, count, start = config[at], int.from_bytes(config[at + 1 : at + 3]), at + 3
        at = start
        for _ in range(count):
            at += 2 + int.from_bytes(config[at : at + 2])
        times = sps_times if kind & 63 == 33 else 1
        arrays.append(bytes((kind,)) + struct.pack(">H", count * times) + config[start:at] * times)
    return arrays


def sequence_header() -> bytes:
    """Return the sequence header of the AVIF, as a unit."""
    at = AVIF.content.index(b"\x0a")
    return AVIF.content[at : at + 2 + AVIF.content[at + 1]]


def refusal(body: bytes, limits: Limits | None = None) -> str:
    """Return the words with which a file is refused as damaged."""
    with pytest.raises(ImageRejected) as caught:
        decode(body, limits or Limits())
    assert caught.value.reason == "undecodable"
    return str(caught.value)


def sharing(tiles: int, part: Part) -> bytes:
    """Return a row of tiles that all lie at the same place, as libavif writes equal ones."""
    body = bytearray(tiled([replace(part, content=b"")] * tiles) + part.content)
    entry = body.index(b"iloc") + 4 + 4 + 2 + 2
    for number in range(1, tiles + 1):
        place = (len(body) - len(part.content), len(part.content))
        struct.pack_into(">II", body, entry + 14 * number + 6, *place)
    mdat = body.rindex(b"mdat") - 4
    struct.pack_into(">I", body, mdat, len(body) - mdat)
    return bytes(body)


@pytest.mark.parametrize("part", [AVIF, HEIC], ids=["AVIF", "HEIC"])
def test_all_items_of_a_file_have_one_budget_of_units(part: Part) -> None:
    """Ten tiles of a thousand units are as many as one of ten thousand."""
    full = replace(part, content=EMPTY[part.kind] * (MAX_UNITS // TILES) + part.content)
    assert f"more than {MAX_UNITS} units" in refusal(tiled([full] * TILES))


def test_a_configuration_that_all_tiles_share_is_read_once() -> None:
    """A large one costs no more with many tiles, and distinct ones count each."""
    config = config_of(AVIF)[:4] + sequence_header() * (MAX_UNITS // 2)
    shared = with_config(AVIF, config)
    assert decode(tiled([shared] * TILES)).size == (160 * TILES, 128)
    distinct = [with_config(AVIF, config + EMPTY[b"av01"] * n) for n in range(3)]
    assert f"more than {MAX_UNITS} units" in refusal(tiled(distinct))


def test_a_picture_of_many_parameter_sets_is_refused() -> None:
    """H.265 has numbers for sixteen; each costs as much as a hundred slices."""
    most = with_config(HEIC, hevc_config(*hevc_arrays(MAX_SPS)))
    assert decode(file_of([most])).size == (160, 128)
    more = with_config(HEIC, hevc_config(*hevc_arrays(MAX_SPS + 1)))
    assert f"more than {MAX_SPS} sequence parameter sets" in refusal(file_of([more]))


def test_parameter_sets_of_no_bytes_count_too() -> None:
    """A configuration of zeros says nothing, at any length."""
    empty = b"\0" + struct.pack(">H", MAX_UNITS) + bytes(2 * MAX_UNITS)
    part = with_config(HEIC, hevc_config(*hevc_arrays(1), empty))
    assert f"more than {MAX_UNITS} units" in refusal(file_of([part]))


@pytest.mark.parametrize("part", [AVIF, HEIC], ids=["AVIF", "HEIC"])
def test_tiles_that_share_their_bytes_are_no_more_than_a_file_may_be(part: Part) -> None:
    """Equal tiles are scored; what is copied once for each tile stays below the largest body."""
    part = replace(part, content=EMPTY[part.kind] * 500 + part.content)
    body, copied = sharing(TILES, part), TILES * len(part.content) + 8  # with the grid
    assert len(body) < copied
    assert decode(body, Limits(max_bytes=copied)).size == (160 * TILES, 128)
    limit = copied - 1
    assert f"items of more than {limit} bytes" in refusal(body, Limits(max_bytes=limit))
