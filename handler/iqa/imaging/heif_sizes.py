"""
How many pixels a coded picture of AVIF or HEIC makes its decoder produce, from its own headers.

The container's size is only a promise: decoders allocate and decode what the sequence header (AV1
specification, 5.5) or the sequence parameter set (ITU-T H.265, 7.3.2.2) says, once for each frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from iqa.imaging.heif_boxes import Item, NotReadable

MAX_UNITS: Final = 4096  # of one item: parameter sets, slices, tiles
HEADER_BYTES: Final = 256  # of a parameter set, as much as is before the size

SEQUENCE_HEADER, FRAME_HEADER, FRAME = 1, 3, 6  # AV1, 6.2.2
SPS: Final = 33  # H.265, table 7-1
LAST_SLICE_TYPE: Final = 31


def decoded_pixels(item: Item, body: bytes) -> int:
    """
    Return how many pixels an item makes its decoder produce, all frames of it together.

    Raises:
        NotReadable: Its bytes are not all there, or are no coded picture.
    """
    return _av1_pixels(item, body) if item.kind == b"av01" else _hevc_pixels(item, body)


def payload(item: Item, body: bytes) -> bytes:
    """
    Return the bytes of an item.

    Raises:
        NotReadable: They are not all in the file, or overlap in it.
    """
    if sum(end - start for start, end in item.extents) > len(body):
        raise NotReadable("an item larger than the file")
    if not item.extents or any(start > end or end > len(body) for start, end in item.extents):
        raise NotReadable("truncated: an item that ends behind the end of the file")
    return b"".join(body[start:end] for start, end in item.extents)


def _av1_pixels(item: Item, body: bytes) -> int:
    area = frames = 0
    content = payload(item, body)
    for kind, unit in (*_obus((item.property_of(b"av1C") or b"")[4:]), *_obus(content)):
        if kind == SEQUENCE_HEADER:
            width, height = _size_in_sequence_header(_Bits(unit))
            area = max(area, width * height)
        elif kind in (FRAME_HEADER, FRAME):
            frames += 1
    if not area or not frames:
        raise NotReadable("an AV1 picture without a header")
    return area * frames


def _obus(content: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    for _ in range(MAX_UNITS):
        if at >= len(content):
            return
        head = content[at]
        at += 2 if head & 4 else 1
        size = len(content) - at
        if head & 2:
            size, at = _leb128(content, at)
        yield head >> 3 & 15, content[at : at + min(size, HEADER_BYTES)]
        at += size
    raise NotReadable(f"more than {MAX_UNITS} units in an item")


def _leb128(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i, byte in enumerate(content[at : at + 8]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    raise NotReadable("a unit without a length")


def _size_in_sequence_header(bits: _Bits) -> tuple[int, int]:
    bits.skip(4)  # seq_profile, still_picture
    if bits.read(1):  # reduced_still_picture_header
        bits.skip(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return bits.read(width_bits) + 1, bits.read(height_bits) + 1


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.read(1):  # timing_info
        bits.skip(64)
        if bits.read(1):
            bits.exp_golomb()
        if bits.read(1):  # decoder_model_info
            delay_bits = bits.read(5) + 1
            bits.skip(42)
    has_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.skip(12)
        if bits.read(5) > 7:
            bits.skip(1)
        if delay_bits and bits.read(1):
            bits.skip(2 * delay_bits + 1)
        if has_delay and bits.read(1):
            bits.skip(4)


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """
    What a sequence parameter set says of its pictures.

    Attributes:
        coded: (width, height) that are decoded.
        shown: (width, height) of the conformance window.
        chroma: 0 grey, 1 4:2:0, 2 4:2:2, 3 4:4:4.
        depths: Bits of luma and chroma.
    """

    coded: tuple[int, int]
    shown: tuple[int, int]
    chroma: int
    depths: tuple[int, int]


def expect_consistent(items: list[Item], body: bytes) -> None:
    """
    Refuse coded pictures of HEVC whose container says another size, depth or sampling.

    libheif and pi-heif 1.4 reserve memory by the container, and write what the decoder made: a
    depth of 9 bits in the one and of 8 in the other corrupts the memory of the process.

    Raises:
        NotReadable: They disagree, or tiles are of several depths.
    """
    told: set[int] = set()
    for item in items:
        if item.kind != b"hvc1":
            continue
        config = item.property_of(b"hvcC") or b""
        shapes, _ = _hevc_shapes(item, body)
        says = (config[16] & 3, (config[17] & 7) + 8, (config[18] & 7) + 8)
        for shape in shapes:
            if (shape.chroma, *shape.depths) != says or shape.shown != item.size():
                raise NotReadable("a container that says another size or depth than its picture")
        told.add(says[1])
    if len(told) > 1:
        raise NotReadable("tiles of several depths")


def _hevc_pixels(item: Item, body: bytes) -> int:
    shapes, frames = _hevc_shapes(item, body)
    if not shapes or not frames:
        raise NotReadable("an HEVC picture without a header")
    return max(shape.coded[0] * shape.coded[1] for shape in shapes) * frames


def _hevc_shapes(item: Item, body: bytes) -> tuple[list[_Shape], int]:
    """Return what each parameter set of an item says, and how many pictures follow."""
    shapes: list[_Shape] = []
    frames = 0
    config = item.property_of(b"hvcC") or b""
    if len(config) < 23:
        raise NotReadable("an HEVC picture without a configuration")
    length_bytes = (config[21] & 3) + 1
    for unit in (*_configured_units(config), *_units(payload(item, body), length_bytes)):
        kind, layer = unit[0] >> 1 & 63, (unit[0] & 1) << 5 | unit[1] >> 3
        if layer:  # of a stereo picture; the decoder leaves them out
            continue
        if kind == SPS:
            shapes.append(_shape_in_sps(_Bits(unit[2:].replace(b"\0\0\3", b"\0\0"))))
        elif kind <= LAST_SLICE_TYPE and unit[2:3] and unit[2] & 0x80:  # first slice of a picture
            frames += 1
    return shapes, frames


def _configured_units(config: bytes) -> Iterator[bytes]:
    """Yield the parameter sets of a decoder configuration record (ISO/IEC 14496-15, 8.3.3.1)."""
    at, arrays = 23, config[22]
    for _ in range(arrays):
        count, at = int.from_bytes(config[at + 1 : at + 3]), at + 3
        for _ in range(min(count, MAX_UNITS)):
            size, at = int.from_bytes(config[at : at + 2]), at + 2
            if size >= 2 and at + size <= len(config):
                yield config[at : at + min(size, HEADER_BYTES)]
            at += size
            if at > len(config):
                return


def _units(content: bytes, length_bytes: int) -> Iterator[bytes]:
    at = 0
    for _ in range(MAX_UNITS):
        if at >= len(content):
            return
        size = int.from_bytes(content[at : at + length_bytes])
        at += length_bytes
        if size < 2 or at + size > len(content):
            raise NotReadable("truncated: a unit that ends behind the end of its item")
        yield content[at : at + min(size, HEADER_BYTES)]
        at += size
    raise NotReadable(f"more than {MAX_UNITS} units in an item")


def _shape_in_sps(bits: _Bits) -> _Shape:
    bits.skip(4)
    sub_layers = bits.read(3)
    bits.skip(1 + 88 + 8)  # nesting, general profile, general level
    present = [(bits.read(1), bits.read(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.skip(2 * (8 - sub_layers))
    for has_profile, has_level in present:
        bits.skip(88 * has_profile + 8 * has_level)
    bits.exp_golomb()  # its number
    chroma = bits.exp_golomb()
    if chroma == 3:
        bits.skip(1)
    width, height = bits.exp_golomb(), bits.exp_golomb()
    left = right = top = bottom = 0
    if bits.read(1):  # conformance_window
        left, right, top, bottom = (bits.exp_golomb() for _ in range(4))
    across, down = (2 if chroma in (1, 2) else 1), (2 if chroma == 1 else 1)
    return _Shape(
        coded=(width, height),
        shown=(width - across * (left + right), height - down * (top + bottom)),
        chroma=chroma,
        depths=(bits.exp_golomb() + 8, bits.exp_golomb() + 8),
    )


class _Bits:
    """Reads bits from the first on, of `HEADER_BYTES` at most."""

    def __init__(self, content: bytes) -> None:
        self._value, self._left = int.from_bytes(content), 8 * len(content)

    def read(self, count: int) -> int:
        """
        Return the next bits as a number.

        Raises:
            NotReadable: There are fewer.
        """
        self._left -= count
        if self._left < 0:
            raise NotReadable("a header that breaks off")
        return self._value >> self._left & ((1 << count) - 1)

    def skip(self, count: int) -> None:
        """Pass over bits; see `read`."""
        self.read(count)

    def exp_golomb(self) -> int:
        """Return the next number in the code ue(v) of H.265, 9.2; uvlc() of AV1 is the same."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 31:
                raise NotReadable("a number without an end")
        return (1 << zeros) - 1 + self.read(zeros)
