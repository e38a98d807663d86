"""
Preprocessed pictures kept on disk, `--cache DIR`: later epochs and runs read instead of decoding.

A file is named after all that its content depends on, the picture's bytes and the code that made
it, so one that is out of date is never read.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import iqa
import numpy as np
import PIL
from iqa.imaging.preprocessing import DEFAULT, Policy
from numpy.typing import NDArray
from PIL import features

Pixels = NDArray[np.uint8]


def expect_folder(cache: Path) -> None:
    """
    Make the folder, before hours of training and not after.

    Raises:
        ValueError: It cannot be made or written to.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        is_writable = os.access(cache, os.W_OK | os.X_OK)
        found = "one that cannot be written to"
    except OSError as error:
        is_writable, found = False, str(error.strerror)
    if not is_writable:
        raise ValueError(
            f"--cache: expected a folder for decoded pictures, got {cache}: {found}. "
            "Name another one, or leave it out."
        )


def decoded_once(
    cache: Path, body: bytes, decoded: Callable[[bytes], Pixels], policy: Policy = DEFAULT
) -> Pixels:
    """
    Return the pixels of a file, from the cache if they are there; else decode and keep them.

    Args:
        cache: Folder; several processes may share it.
        body: The picture's file.
        decoded: Makes uint8 (H, W, C) of it.
        policy: The policy that the cached images follow.

    Raises:
        ValueError: What `decoded` raises; nothing is kept then.
    """
    named = json.dumps(policy.parameters(), sort_keys=True).encode()
    name = hashlib.sha256(code_identity() + named + body).hexdigest()
    path = cache / name[:2] / f"{name}.npy"
    try:
        pixels: Pixels = np.load(path, allow_pickle=False)
        return pixels
    except (OSError, EOFError, ValueError):  # not there yet, or damaged: made anew
        pass
    pixels = decoded(body)
    try:
        path.parent.mkdir(exist_ok=True)
        with _written_whole(path) as file:
            np.save(file, pixels, allow_pickle=False)
    except OSError as error:  # a full disk makes training slower and does not end it
        warnings.warn(
            f"--cache: decoded pictures are no longer kept in {cache}: {error.strerror}. "
            "Make room, or name another folder.",
            stacklevel=2,
        )
    return pixels


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write an .npz file, whole or not at all; several processes may write the same one."""
    with _written_whole(path) as file:
        np.savez(file, **arrays)


@contextlib.contextmanager
def _written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its name once all is written; a full disk or Ctrl-C leaves nothing."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@functools.cache
def code_identity() -> bytes:
    """Return a digest of the code between a file and its pixels: `iqa`, Pillow, its libraries."""
    digest = hashlib.sha256(PIL.__version__.encode())
    for library in ("jpg", "zlib", "webp", "libtiff", "littlecms2"):
        digest.update(f"{library} {features.version(library)}\0".encode())
    for path in sorted(Path(iqa.__file__).parent.rglob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.digest()
