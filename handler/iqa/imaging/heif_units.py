"""
What the units of AV1 and HEVC say: how large the frames of a picture are, and how many follow.

All items of a file have one budget of units, so that many small ones cost no more than a large one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from iqa.imaging.heif_boxes import NotReadable

MAX_UNITS: Final = 8192  # of a file: parameter sets, slices, tiles
MAX_SPS: Final = 16  # of an item, and of a configuration: their numbers are 0 to 15 (7.4.3.2.1)
HEADER_BYTES: Final = 256  # of a parameter set, as much as is before the size

SEQUENCE_HEADER, FRAME_HEADER, FRAME = 1, 3, 6  # AV1, 6.2.2
SPS: Final = 33  # H.265, table 7-1
LAST_SLICE_TYPE: Final = 31


@dataclass(frozen=True, kw_only=True)
class Shape:
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


@dataclass(frozen=True, kw_only=True)
class Headers:
    """
    What the headers of a coded picture say.

    Attributes:
        area: Pixels of the largest frame that they announce.
        frames: How many frames follow.
        shapes: One for each sequence parameter set of HEVC.
    """

    area: int
    frames: int
    shapes: tuple[Shape, ...] = ()

    @property
    def decoded_pixels(self) -> int:
        """How many pixels the decoder produces, all frames together."""
        return self.area * self.frames


class UnitCounter:
    """Counts the units of a whole file."""

    def __init__(self) -> None:
        self._left = MAX_UNITS

    def count(self) -> None:
        """
        Count one.

        Raises:
            NotReadable: It is one too many.
        """
        self._left -= 1
        if self._left < 0:
            raise NotReadable(f"more than {MAX_UNITS} units")


def of_configuration(kind: bytes, config: bytes, counter: UnitCounter) -> Headers:
    """
    Return what the configuration of a decoder says.

    Args:
        kind: Type of the item that has it.
        config: Content of `av1C` or `hvcC`.
        counter: Of the file.

    Raises:
        NotReadable: It breaks off, or has too many units.
    """
    if kind == b"av01":
        return _of_av1(_obus(config[4:], counter))
    return _of_hevc(_configured_units(config, counter))


def of_content(kind: bytes, config: bytes, content: bytes, counter: UnitCounter) -> Headers:
    """
    Return what the bytes of an item say; its configuration was read before.

    Raises:
        NotReadable: They break off, or have too many units.
    """
    if kind == b"av01":
        return _of_av1(_obus(content, counter))
    return _of_hevc(_units(content, (config[21] & 3) + 1, counter))


def _of_av1(units: Iterator[tuple[int, bytes]]) -> Headers:
    area = frames = 0
    for kind, unit in units:
        if kind == SEQUENCE_HEADER:
            width, height = _size_in_sequence_header(_Bits(unit))
            area = max(area, width * height)
        elif kind in (FRAME_HEADER, FRAME):
            frames += 1
    return Headers(area=area, frames=frames)


def _obus(content: bytes, counter: UnitCounter) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(content):
        counter.count()
        head = content[at]
        at += 2 if head & 4 else 1
        size = len(content) - at
        if head & 2:
            size, at = _leb128(content, at)
        yield head >> 3 & 15, content[at : at + min(size, HEADER_BYTES)]
        at += size


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


def _of_hevc(units: Iterator[bytes]) -> Headers:
    shapes: list[Shape] = []
    frames = 0
    for unit in units:
        kind, layer = unit[0] >> 1 & 63, (unit[0] & 1) << 5 | unit[1] >> 3
        if layer:  # of a stereo picture; the decoder leaves them out
            continue
        if kind == SPS:
            if len(shapes) == MAX_SPS:
                raise NotReadable(f"more than {MAX_SPS} sequence parameter sets")
            shapes.append(_shape_in_sps(_Bits(unit[2:].replace(b"\0\0\3", b"\0\0"))))
        elif kind <= LAST_SLICE_TYPE and unit[2:3] and unit[2] & 0x80:  # first slice of a picture
            frames += 1
    area = max((width * height for width, height in (one.coded for one in shapes)), default=0)
    return Headers(area=area, frames=frames, shapes=tuple(shapes))


def _configured_units(config: bytes, counter: UnitCounter) -> Iterator[bytes]:
    """Yield the parameter sets of a decoder configuration record (ISO/IEC 14496-15, 8.3.3.1)."""
    if len(config) < 23:
        raise NotReadable("an HEVC picture without a configuration")
    at, arrays = 23, config[22]
    for _ in range(arrays):
        units, at = int.from_bytes(config[at + 1 : at + 3]), at + 3
        for _ in range(units):
            counter.count()
            size, at = int.from_bytes(config[at : at + 2]), at + 2
            if size >= 2 and at + size <= len(config):
                yield config[at : at + min(size, HEADER_BYTES)]
            at += size
            if at > len(config):
                return


def _units(content: bytes, length_bytes: int, counter: UnitCounter) -> Iterator[bytes]:
    at = 0
    while at < len(content):
        counter.count()
        size = int.from_bytes(content[at : at + length_bytes])
        at += length_bytes
        if size < 2 or at + size > len(content):
            raise NotReadable("truncated: a unit that ends behind the end of its item")
        yield content[at : at + min(size, HEADER_BYTES)]
        at += size


def _shape_in_sps(bits: _Bits) -> Shape:
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
    return Shape(
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
