"""
Colours that AVIF and HEIC name by numbers (ITU-T H.273) -> an ICC profile, for the one conversion.

Only what differs from sRGB and can be converted without a guess: Display P3 and BT.2020 primaries
with an ordinary curve. HDR curves (PQ, HLG) say how bright a screen is to be: not supported.
"""

from __future__ import annotations

import functools
import struct
from typing import Final

import numpy as np

# H.273, table 2: red, green, blue as CIE xy. The white of all is D65.
PRIMARIES: Final = {
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
}
LIKE_SRGB: Final = (1, 2, 5, 6, 7, 22)
"""BT.709 and its kin, old television whose primaries are nearly the same, and unspecified."""
CURVES: Final = (1, 2, 4, 5, 6, 13, 14, 15)
"""H.273, table 3: what browsers show as they show sRGB."""

WHITE_D65: Final = (0.3127, 0.3290)
# ICC.1:2022, annex E: from D65 to the D50 of the profile connection space, by Bradford.
TO_D50: Final = np.array(
    [
        [1.0478112, 0.0228866, -0.0501270],
        [0.0295424, 0.9904844, -0.0170491],
        [-0.0092345, 0.0150436, 0.7521316],
    ]
)
CURVE_POINTS: Final = 1024


def profile(primaries: int, transfer: int) -> bytes | None:
    """
    Return the ICC profile of what a file says of its colours.

    Args:
        primaries: `colour_primaries`.
        transfer: `transfer_characteristics`.

    Returns:
        None where they are not supported; nothing, of length 0, where they are those of sRGB.
    """
    if transfer not in CURVES or primaries not in (*LIKE_SRGB, *PRIMARIES):
        return None
    return _matrix_profile(primaries) if primaries in PRIMARIES else b""


@functools.cache
def _matrix_profile(primaries: int) -> bytes:
    """Return an ICC version 2 profile (ICC.1:2001-04): a matrix, and the curve of sRGB."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in PRIMARIES[primaries]]).T
    x, y = WHITE_D65
    white = np.array([x / y, 1.0, (1 - x - y) / y])
    to_xyz = TO_D50 @ (columns * np.linalg.solve(columns, white))
    coded = np.linspace(0, 1, CURVE_POINTS)
    # IEC 61966-2-1
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    curve = b"curv" + bytes(4) + struct.pack(">I", CURVE_POINTS)
    curve += np.round(linear * 65535).astype(">u2").tobytes()
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"nclx\0" + bytes(79),
        b"wtpt": _xyz(0.9642, 1.0, 0.8249),
        **{name: _xyz(*column) for name, column in zip(_NAMES, to_xyz.T, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, content = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        value += bytes(-len(value) % 4)
        table += tag + struct.pack(">II", start + len(content), len(value))
        content += value
    header = struct.pack(">I4sI", start + len(content), bytes(4), 0x02400000) + b"mntrRGB XYZ "
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 63190, 65536, 54061)  # D50 in 1/65536
    return header.ljust(128, b"\0") + table + content


_NAMES: Final = (b"rXYZ", b"gXYZ", b"bXYZ")


def _xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in (x, y, z)))
