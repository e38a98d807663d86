"""Colour profiles made in code, and the sRGB that a colour under one of them is."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

# Display P3's primaries in the PCS (D50): rows X, Y, Z; columns red, green, blue.
WIDE_GAMUT_TO_XYZ: Final = np.array(
    [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
)
WIDE_GAMUT_GAMMA: Final = 1.8


def icc_profile(space: bytes, tags: dict[bytes, bytes], description: bytes = b"test") -> bytes:
    """
    Return an ICC version 2 profile (ICC.1:2001-04).

    Args:
        space: Of the device, four letters.
        tags: Beyond description, copyright and white point.
        description: ASCII.
    """
    desc = b"desc" + bytes(4) + struct.pack(">I", len(description) + 1) + description + bytes(79)
    tags = {
        b"desc": desc,
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(0.9642, 1.0, 0.8249),
        **tags,
    }
    table, content = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", start + len(content), len(value))
        content += value
    kind, pcs = (b"prtr", b"Lab ") if space == b"CMYK" else (b"mntr", b"XYZ ")
    header = struct.pack(">I4sI", start + len(content), b"test", 0x02400000) + kind + space + pcs
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 63190, 65536, 54061)  # D50 in 1/65536
    return header.ljust(128, b"\0") + table + content


def wide_gamut_profile(description: bytes = b"test", gamma: float = WIDE_GAMUT_GAMMA) -> bytes:
    """Return a matrix profile: Display P3's primaries, one gamma."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    tags = {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), WIDE_GAMUT_TO_XYZ.T, strict=True):
        tags[name] = _xyz(*column)
    return icc_profile(b"RGB ", tags, description)


def cmyk_profile() -> bytes:
    """Return a CMYK profile in which every ink is a grey: L* = 100 (1-C)(1-M)(1-Y)(1-K) at 0, 1."""
    identity = bytes(range(256))
    grid = b"".join(
        bytes((255 if corner == 0 else 0, 128, 128)) for corner in range(16)
    )  # 8-bit L*, a*, b*; a 2 x 2 x 2 x 2 grid, black ink fastest
    unit = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + unit + identity * 4 + grid + identity * 3
    return icc_profile(b"CMYK", {b"A2B0": lut})


def srgb_profile() -> bytes:
    """Return the profile that most cameras and editors embed."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def srgb_of_xyz(xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 0-255 sRGB of XYZ under D50, shape (..., 3), clipped (IEC 61966-2-1)."""
    to_xyz = np.array(
        [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
    )
    linear = np.clip(xyz @ np.linalg.inv(to_xyz).T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in (x, y, z)))
