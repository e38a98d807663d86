"""
Where images lie: files of this machine and its network drives, or any address that fsspec opens.

fsspec is imported for an address with `://` alone.
"""

from __future__ import annotations

import os
from typing import Any, Final

from scripts.batch.rows import Row, refused

REMOTE: Final = "://"


def is_remote(address: str) -> bool:
    """Tell an address such as `s3://bucket/a.jpg` from the name of a file."""
    return REMOTE in address


def join(root: str, name: str) -> str:
    """Return where a listed name lies; a name that is complete stays as it is."""
    if not root or is_remote(name):
        return name
    return f"{root.rstrip('/')}/{name}" if is_remote(root) else os.path.join(root, name)


def open_filesystem(address: str) -> tuple[Any, str]:
    """
    Return fsspec's file system of an address, and the path in it.

    Raises:
        ValueError: The package for this kind of address is not installed.
    """
    kind = address.split(REMOTE)[0]
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"{address}: expected the package that reads {kind}{REMOTE}, got: {error}. "
            f"Install it, e.g. s3fs for s3{REMOTE}, gcsfs for gs{REMOTE}, adlfs for az{REMOTE}."
        ) from error
    return system, path


def read(name: str, address: str, max_bytes: int) -> bytes | Row:
    """
    Read one file, or say why not.

    Args:
        name: As listed.
        address: Where it lies.
        max_bytes: Of a larger file nothing is kept.

    Returns:
        Its content, or the row that says why there is none.
    """
    try:
        if is_remote(address):
            body, size = _read_remote(*open_filesystem(address), max_bytes)
        else:
            with open(address, "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                body = b"" if size > max_bytes else file.readall() or b""
    except Exception as error:  # each file system of fsspec has errors of its own
        return refused(name, "unreadable", f"file: expected to read it, got {in_words(error)}.")
    if size > max_bytes:
        return refused(
            name, "too_many_bytes",
            f"body: expected at most {max_bytes} bytes, got {size}. Send a smaller file.",
        )  # fmt: skip
    return body


def _read_remote(system: Any, path: str, max_bytes: int) -> tuple[bytes, int]:
    """Return what was read, and the file's size."""
    try:
        body = bytes(system.cat_file(path, start=0, end=max_bytes + 1))
    except Exception:
        if system.size(path) == 0:  # S3: no range can be had of it
            return b"", 0
        raise
    return body, len(body) if len(body) <= max_bytes else int(system.size(path))


def in_words(error: Exception) -> str:
    """Return what went wrong, without the path that the row names already."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
