"""AVIF and HEIC files that lie about size, tiles, items and places, and odd ones that are right."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tests.attack.pieces import refused, scored
from tests.heif_files import (
    Part,
    Property,
    box,
    coded,
    exif,
    file_of,
    grid,
    imir,
    irot,
    ispe,
    nclx,
    picture,
)
from tests.images import encode, quarters
from tests.odd_inputs import OddInput

FULL: Final = 31 * 1024 * 1024
_EMPTY: Final = {b"avif": b"\x12\0", b"heic": b"\0\0\0\3\x46\1\x50"}
Build = Callable[[], bytes]


def _avif() -> Part:
    return coded(encode(quarters(), "AVIF", quality=80))


def _heic() -> Part:
    return coded(picture("quarters.heic"))


def _of(kind: str) -> tuple[Callable[[], Part], bytes]:
    return (_avif, b"avif") if kind == "avif" else (_heic, b"heic")


def _with(part: Part, *properties: Property) -> Part:
    """Return a part with these properties in place of those of the same name."""
    names = {name for name, _ in properties}
    kept = tuple(p for p in part.properties if p[0] not in names)
    return replace(part, properties=(*kept, *properties))


def _sequence_header(bits: int) -> bytes:
    """Return an AV1 sequence header of 2^bits x 2^bits pixels, as a unit."""
    fields = f"{0:03b}11{0:05b}{bits - 1:04b}{bits - 1:04b}" + "1" * (2 * bits) + "0" * 32
    fields += "0" * (-len(fields) % 8)
    content = int(fields, 2).to_bytes(len(fields) // 8)
    return b"\x0a" + bytes((len(content),)) + content


def _large_sps() -> bytes:
    """Return an HEVC parameter set of 65504 x 65504 pixels, as a unit with its length."""

    def golomb(number: int) -> str:
        return f"{number + 1:b}".rjust(2 * (number + 1).bit_length() - 1, "0")

    fields = "0000" + "000" + "1" + "0" * 88 + f"{153:08b}"
    fields += golomb(0) + golomb(1) + golomb(65504) * 2 + "0" + golomb(0) * 12
    fields += "0" * (-len(fields) % 8)
    content = int(fields, 2).to_bytes(len(fields) // 8)
    guarded = b""
    for byte in content:  # emulation prevention
        if guarded.endswith(b"\0\0") and byte < 4:
            guarded += b"\3"
        guarded += bytes((byte,))
    unit = b"\x42\x01" + guarded
    return struct.pack(">I", len(unit)) + unit


def _with_configuration(at: int, value: int) -> bytes:
    """Return a HEIC with another byte in the configuration of its decoder."""
    part = coded(picture("grey.heic" if at == 17 else "quarters.heic"))
    config = bytearray(dict(part.properties)[b"hvcC"])
    config[at] = value
    return file_of([_with(part, (b"hvcC", bytes(config)))])


def _both(
    name: str, make: Callable[[Part, bytes], bytes], odd: Callable[[Build], OddInput]
) -> dict[str, OddInput]:
    """Return one case for AVIF and one for HEIC."""
    cases = {}
    for kind in ("avif", "heic"):
        part, brand = _of(kind)
        cases[f"{kind}_{name}"] = odd(lambda part=part, brand=brand: make(part(), brand))
    return cases


def _too_large(build: Build) -> OddInput:
    return refused(build, 413, "too_many_pixels")


def _cut(build: Build) -> OddInput:
    return refused(build, 400, "truncated")


HEIF_BOMBS: Final[dict[str, OddInput]] = {
    **_both(
        "of_4_gigapixels", lambda p, b: file_of([_with(p, ispe(65_535, 65_535))], b), _too_large
    ),
    **_both(
        "grid_of_4_gigapixels",
        lambda p, b: file_of([grid(2, 1, (65_535, 65_535), (2, 3)), p, p], b), _too_large,
    ),
    "avif_of_4_gigapixels_inside": _too_large(
        lambda: file_of(
            [replace(_avif(), content=_sequence_header(16) + _avif().content)], b"avif"
        )
    ),
    "heic_of_4_gigapixels_inside": _too_large(
        lambda: file_of([replace(_heic(), content=_large_sps() + _heic().content)])
    ),
    **_both(
        "grid_of_one_tile_many_times",
        lambda p, b: file_of([grid(30, 30, (4800, 3840), [2] * 900), p], b), refused,
    ),
    **_both(
        "of_100000_frames",
        lambda p, b: file_of([replace(p, content=p.content * (FULL // len(p.content)))], b),
        lambda build: refused(build),
    ),
    **_both(
        "of_empty_boxes", lambda p, b: file_of([p], b, box(b"free", b"") * (FULL // 8)), refused
    ),
    **_both(
        "of_items",
        lambda p, b: file_of([p, *[Part(kind=b"mime", content=b"")] * 3000], b), refused,
    ),
    **_both(
        "of_properties",
        lambda p, b: file_of([replace(p, properties=(*p.properties, *[irot(1)] * 200))] * 120, b),
        refused,
    ),
    # Ten tiles of a thousand units that say nothing: temporal and access unit delimiters.
    **_both(
        "grid_of_10000_units",
        lambda p, b: file_of(
            [grid(10, 1, (1600, 128), range(2, 12))]
            + [replace(p, content=_EMPTY[b] * 1000 + p.content)] * 10, b,
        ),
        refused,
    ),
    **_both(
        "of_large_exif", lambda p, b: file_of([p, exif(b"II*\0" + bytes(FULL // 2))], b),
        lambda build: scored(build, "exif_ignored"),
    ),
}  # fmt: skip

HEIF_BROKEN: Final[dict[str, OddInput]] = {
    **_both("without_a_size", lambda p, b: file_of(
        [replace(p, properties=tuple(x for x in p.properties if x[0] != b"ispe"))], b), refused),
    **_both("without_a_configuration", lambda p, b: file_of(
        [_with(p, (b"hvcC" if b == b"heic" else b"av1C", b""))], b), refused),
    **_both("of_no_bytes", lambda p, b: file_of([replace(p, content=b"")], b), refused),
    **_both("of_0_x_0", lambda p, b: file_of([_with(p, ispe(0, 0))], b), refused),
    **_both("grid_of_itself", lambda p, b: file_of([grid(1, 1, (160, 128), [1])], b), refused),
    **_both("with_an_item_of_an_odd_type", lambda p, b: file_of(
        [p, Part(kind=b"\xff\xff\0f", content=b"x" * 30, refers=((b"cdsc", (1,)),))], b),
            lambda build: scored(build)),
    **_both("grid_of_what_is_not_there", lambda p, b: file_of(
        [grid(2, 1, (320, 128), (2, 9)), p], b), refused),
    **_both("of_a_head_alone", lambda p, b: box(b"ftyp", b + bytes(4) + b), refused),
    **_both("of_tracks_alone", lambda p, b: box(b"ftyp", b + bytes(4)) + box(b"moov", bytes(99)),
            refused),
    **_both("whose_item_ends_outside", lambda p, b: file_of([p], b)[:-40], _cut),
    **_both("with_a_tail_that_lies", lambda p, b: file_of([p], b) + b"\xff" * 8, _cut),
    **_both("turned_seven_times", lambda p, b: file_of(
        [replace(p, properties=(*p.properties, irot(1), imir(0), imir(1)))], b),
        lambda build: scored(build)),
    **_both("of_film_colours", lambda p, b: file_of([_with(p, nclx(9, 16))], b),
            lambda build: scored(build, "icc_profile_ignored")),
    **_both("of_a_broken_profile", lambda p, b: file_of(
        [_with(p, (b"colr", b"prof" + b"no" * 99))], b),
            lambda build: scored(build, "icc_profile_ignored")),
    **_both("with_script", lambda p, b: file_of([p], b) + b"<script>alert(1)</script>", _cut),
    # Each corrupts the memory of a process that decodes it as it is.
    "heic_whose_configuration_says_9_bits": refused(lambda: _with_configuration(17, 0xF9)),
    "heic_whose_configuration_says_grey": refused(lambda: _with_configuration(16, 0xFC)),
    "heic_of_another_size_inside": refused(lambda: file_of([_with(_heic(), ispe(96, 64))])),
    "heic_in_the_name_of_avif": scored(lambda: file_of([_heic()], b"avif")),
    "avif_in_the_name_of_heic": scored(lambda: file_of([_avif()], b"heic")),
    **_both("grid", lambda p, b: file_of([grid(2, 1, (320, 128), (2, 3)), p, p], b),
            lambda build: scored(build)),
    **_both("with_exif", lambda p, b: file_of(
        [p, exif(b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0))], b),
        lambda build: scored(build)),
}  # fmt: skip
