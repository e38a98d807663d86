"""
Images in IDX files, as MNIST and its successors come: one file of images, one of labels.

Each image is handed on as a BMP file in memory, so that it is decoded, checked and cached like any
other file: what the network learns from is what a client's file of the same pixels becomes.

The format: http://yann.lecun.com/exdb/mnist/ (magic number, sizes as big-endian integers, bytes).
"""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

UBYTE: Final = 8
"""The third byte of an IDX file whose entries are unsigned bytes."""


@dataclass(frozen=True, eq=False)
class IdxImage:
    """
    One image of an IDX file; reads like a file.

    Attributes:
        name: For messages.
        pixels: uint8, shape (rows, columns).
    """

    name: str
    pixels: NDArray[np.uint8]

    def __str__(self) -> str:
        """Return its name."""
        return self.name

    def read_bytes(self) -> bytes:
        """Return a BMP file: no compression, so the same bytes with any version of Pillow."""
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, "BMP")
        return file.getvalue()


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """
    Read an IDX file of bytes, packed by gzip or plain.

    Args:
        path: Of the file.
        dimensions: 3 for images, 1 for labels.

    Raises:
        ValueError: It is damaged, cut, or holds something else.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: expected an IDX file, got: {error}. Fetch it again.") from error
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes([0, 0, UBYTE, dimensions]):
        raise ValueError(
            f"{path}: expected an IDX file of bytes in {dimensions} dimensions, got one that "
            f"begins with {content[:4].hex() or 'nothing'}. Fetch it again."
        )
    shape = np.frombuffer(content, ">u4", dimensions, offset=4).astype(np.int64)
    expected = int(shape.prod())
    if len(content) - header != expected:
        raise ValueError(
            f"{path}: expected {expected} bytes after the header, got {len(content) - header}. "
            "Fetch it again."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def find_idx(folders: list[Path], name: str) -> Path | None:
    """Return the first of `name` and `name.gz` in the folders."""
    return next(
        (
            folder / candidate
            for folder in folders
            for candidate in (f"{name}.gz", name)
            if (folder / candidate).is_file()
        ),
        None,
    )
