"""Files that are something else, or two things at once: polyglots, programs, archives, markup."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from typing import Final

import numpy as np

from tests.attack.pieces import (
    SMALL_JPEG,
    SMALL_PNG,
    gif,
    jpeg_segment,
    jpeg_with,
    png_grey,
    refused,
    run_length_bmp,
    scored,
)
from tests.images import GREY, encode, photograph
from tests.odd_inputs import OddInput

LAUGHS: Final = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a0 "ha">'
    + b"".join(b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10) for i in range(1, 10))
    + b"]><svg>&a9;</svg>"
)
FOREIGN_ENTITY: Final = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    b'<svg xmlns="http://www.w3.org/2000/svg"><text>&x;</text></svg>'
)
SCRIPT: Final = b"<script>alert(document.domain)</script>"


class Alarm:
    """What a pickle runs when somebody loads it."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        """Say what to call."""
        import os

        return os.system, ("touch /tmp/iqa-a-pickle-was-loaded",)


def archive_of(name: str, content: bytes) -> bytes:
    """Return a zip file with one member."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def _object_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Alarm()], dtype=object), allow_pickle=True)
    return file.getvalue()


def _no_picture(build: Callable[[], bytes], reason: str = "undecodable") -> OddInput:
    return refused(build, 415 if reason == "unsupported_format" else 400, reason)


DISGUISES: Final[dict[str, OddInput]] = {
    # A picture first: it is scored, and what hangs on it is never looked at.
    "jpeg_then_zip": scored(lambda: SMALL_JPEG + archive_of("evil.py", b"import os")),
    "jpeg_then_pdf": scored(lambda: SMALL_JPEG + b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"),
    "jpeg_then_jpeg": scored(lambda: SMALL_JPEG + SMALL_JPEG),
    "jpeg_then_pickle": scored(lambda: SMALL_JPEG + pickle.dumps(Alarm())),
    "jpeg_with_php": scored(lambda: jpeg_with(jpeg_segment(0xFE, b"<?php system($_GET[0]); ?>"))),
    "jpeg_with_script": scored(
        lambda: jpeg_with(jpeg_segment(0xE1, b"Exif\0\0" + SCRIPT)), "exif_ignored"
    ),
    "png_with_script": scored(lambda: png_grey((b"tEXt", b"Comment\0" + SCRIPT)), GREY),
    "png_then_zip": scored(lambda: SMALL_PNG + archive_of("a", b"b")),
    "png_with_icc_as_text": scored(lambda: png_grey((b"tEXt", b"icc_profile\0abc")), GREY),
    "png_with_exif_as_text": scored(
        lambda: png_grey((b"tEXt", b"exif\0abc")), "exif_ignored", GREY
    ),
    "gif_with_script": scored(lambda: gif(b"!\xfe" + bytes((len(SCRIPT),)) + SCRIPT + b"\0")),
    "gif_then_script": scored(lambda: gif() + b"*/=1;alert(1)//"),
    "bmp_with_script_between": scored(
        lambda: run_length_bmp(40, 40, b"\x28\x01\0\0" * 40 + b"\0\1" + SCRIPT)
    ),
    # Something else first: refused, whatever follows.
    "zip_then_jpeg": _no_picture(lambda: archive_of("a", b"b") + SMALL_JPEG, "unsupported_format"),
    "pdf_then_jpeg": _no_picture(lambda: b"%PDF-1.7\n" + SMALL_JPEG, "unsupported_format"),
    "script_as_gif": _no_picture(lambda: b"GIF89a/*" + bytes(40) + b"*/=1;alert(1)//"),
    "newline_then_png": _no_picture(lambda: b"\n" + SMALL_PNG),
    "archive_for_torchserve": _no_picture(
        lambda: archive_of("MAR-INF/MANIFEST.json", b'{"model": {"handler": "evil.py"}}'),
        "unsupported_format",
    ),
    "pickle": _no_picture(lambda: pickle.dumps(Alarm())),
    "pickle_protocol_0": _no_picture(lambda: pickle.dumps(Alarm(), protocol=0)),
    "torch_checkpoint": _no_picture(
        lambda: archive_of("archive/data.pkl", pickle.dumps(Alarm())), "unsupported_format"
    ),
    "numpy_of_objects": _no_picture(_object_array),
    "elf": _no_picture(lambda: b"\x7fELF\x02\x01\x01" + bytes(500)),
    "shell_script": _no_picture(lambda: b"#!/bin/sh\nreboot\n"),
    "svg_of_a_billion_laughs": _no_picture(lambda: LAUGHS, "unsupported_format"),
    "svg_with_a_foreign_entity": _no_picture(lambda: FOREIGN_ENTITY, "unsupported_format"),
    "postscript": _no_picture(lambda: b"%!PS-Adobe-3.0\n{ loop } exec", "unsupported_format"),
    "photoshop": _no_picture(lambda: b"8BPS\0\1" + bytes(100), "unsupported_format"),
    "jpeg_xl": _no_picture(lambda: b"\xff\x0a" + bytes(100), "unsupported_format"),
    "video": _no_picture(lambda: b"\0\0\0\x18ftypmp42" + bytes(100), "unsupported_format"),
    "matroska": _no_picture(lambda: b"\x1aE\xdf\xa3" + bytes(100), "unsupported_format"),
    "flash": _no_picture(lambda: b"CWS\x0a" + bytes(100)),
    "random_bytes": _no_picture(lambda: b"\xa5" + np.random.default_rng(0).bytes(50_000)),
    "byte_order_mark": _no_picture(lambda: b"\xef\xbb\xbf"),
    "one_byte": _no_picture(lambda: b"\xff"),
    "utf16_text": _no_picture(lambda: "picture".encode("utf-16")),
    "base64_of_a_jpeg": _no_picture(lambda: b"/9j/4AAQSkZJRgABAQAAAQABAAD/" * 50),
    "raw_pixels": _no_picture(lambda: photograph(64, 64).tobytes()),
    "ppm": _no_picture(lambda: encode(photograph(64, 64), "PPM"), "unsupported_format"),
    "tga": _no_picture(lambda: encode(photograph(64, 64), "TGA"), "unsupported_format"),
    "pcx": _no_picture(lambda: encode(photograph(64, 64), "PCX"), "unsupported_format"),
    "eps": _no_picture(lambda: encode(photograph(64, 64), "EPS"), "unsupported_format"),
}
