"""Each format that is not taken is refused by its name; what is no file of any kind is not."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from iqa.errors import ImageRejected
from iqa.imaging.decoding import decode
from iqa.imaging.sniff import HEIF, TAKEN, format_of
from PIL import Image

from tests.attack.pieces import LONG, SHORT, tag, tiff, tiff_tags
from tests.heif_files import Part, file_of, ispe
from tests.images import PLAIN_FORMATS, converted, encode, photograph

PIXELS = photograph(64, 48)
TAKEN_IDS = {"JPEG", "MPO", "PNG", "WEBP", "AVIF", "BMP", "TIFF", "GIF"}


def packed(kind: str) -> bytes:
    """Return a zip or tar archive of a photograph."""
    file, jpeg = io.BytesIO(), PLAIN_FORMATS["JPEG"]()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.jpg", jpeg)
    else:
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("a.jpg"))
    return file.getvalue()


def spider() -> bytes:
    """Return a SPIDER image without a signature of any kind."""
    return encode(Image.fromarray(PIXELS).convert("F"), "SPIDER")


def tga_without_footer(mode: str, **options: Any) -> bytes:
    """Return a Targa file of version 1: Pillow's without its last 26 bytes."""
    return converted(mode, "TGA", **options)[:-26]


def tga_with_name() -> bytes:
    """Return a Targa file that holds a name before its pixels, as scanners write it."""
    body = tga_without_footer("RGB")
    return b"\x05" + body[1:18] + b"photo" + body[18:]


def raw(maker: bytes, *more: tuple[int, int, int, bytes]) -> bytes:
    """Return a TIFF whose only image is the preview of a raw camera file."""
    tags = tiff_tags((64, 48), subfile=tag(254, LONG, 1), sub=tag(330, LONG, 4000))
    return tiff([*tags, (271, 2, len(maker), maker), *more], bytes(64 * 48))


WRITTEN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "BLP": ("BLP", "P", {}),
    "DDS": ("DDS", "RGB", {}),
    "DIB": ("DIB", "RGB", {}),
    "EPS": ("EPS", "RGB", {}),
    "ICNS": ("ICNS", "RGB", {}),
    "ICO": ("ICO", "RGB", {}),
    "IM": ("IM", "RGB", {}),
    "JPEG2000": ("JPEG 2000", "RGB", {}),
    "MSP": ("MSP", "1", {}),
    "PALM": ("PALM", "1", {}),
    "PCX": ("PCX", "RGB", {}),
    "PDF": ("a PDF document", "RGB", {}),
    "PPM": ("PPM", "RGB", {}),
    "QOI": ("QOI", "RGB", {}),
    "SGI": ("SGI", "RGB", {}),
    "SPIDER": ("SPIDER", "F", {}),
    "TGA": ("TGA", "RGB", {}),
    "XBM": ("XBM", "1", {}),
}
"""What Pillow writes: format -> the name of it, a mode that it takes, options."""

HEADS: dict[str, tuple[str, bytes]] = {
    "BUFR": ("BUFR", b"BUFR\0\x10\0\4" + bytes(100)),
    "CUR": ("CUR", b"\0\0\2\0\1\0\x20\x20" + bytes(100)),
    "DCX": ("DCX", b"\xb1\x68\xde\x3a" + bytes(100)),
    "FITS": ("FITS", b"SIMPLE  =                    T" + b" " * 2850),
    "FLI": ("FLI", struct.pack("<IHHHHHH", 1000, 0xAF11, 5, 320, 200, 8, 3) + bytes(100)),
    "FTEX": ("FTEX", b"FTEX\1\0\0\0" + bytes(100)),
    "GBR": ("GBR", struct.pack(">IIIII", 30, 2, 64, 64, 1) + b"GIMP" + bytes(100)),
    "GRIB": ("GRIB", b"GRIB\0\0\x40\1" + bytes(100)),
    "HDF5": ("HDF5", b"\x89HDF\r\n\x1a\n" + bytes(100)),
    "IMT": ("IMT", b"*a comment\nwidth 64\nheight 48\npixel n8\n\x0c" + bytes(64 * 48)),
    "IPTC": ("IPTC", b"\x1c\3\x3c\0\2\1\0\x1c\3\x41\0\1\0" + bytes(100)),
    "MCIDAS": ("MCIDAS", b"\0\0\0\0\0\0\0\4" + bytes(300)),
    "MPEG": ("an MPEG video", b"\0\0\1\xb3\x14\0\xf0\x13" + bytes(100)),
    "PCD": ("PCD", bytes(2048) + b"PCD_OPA" + bytes(100)),
    "PIXAR": ("PIXAR", b"\x80\xe8\0\0" + bytes(1100)),
    "PSD": ("PSD", b"8BPS\0\1" + bytes(100)),
    "SUN": ("SUN raster", b"\x59\xa6\x6a\x95" + bytes(100)),
    "WMF": ("WMF", b"\xd7\xcd\xc6\x9a\0\0" + bytes(100)),
    "XPM": ("XPM", b"/* XPM */\nstatic char *a[] = {\n"),
    "XVTHUMB": ("XV thumbnail", b"P7 332\n#END_OF_COMMENTS\n64 48 255\n" + bytes(64 * 48)),
}
"""What Pillow only reads, or knows without reading it: format -> name, how such a file begins."""

ISO = b"\0\0\0\x18ftyp%s\0\0\2\0%smiaf" + bytes(200)
MORE: dict[str, tuple[str, Callable[[], bytes]]] = {
    **{f"TGA of mode {mode}": ("TGA", lambda mode=mode: converted(mode, "TGA"))
       for mode in ("1", "L", "LA", "P", "RGBA")},
    **{f"old TGA of mode {mode}": ("TGA", lambda mode=mode: tga_without_footer(mode))
       for mode in ("L", "LA", "P", "RGB", "RGBA")},
    "old TGA in runs": ("TGA", lambda: tga_without_footer("RGB", compression="tga_rle")),
    "old TGA with a name": ("TGA", tga_with_name),
    "PBM": ("PBM", lambda: converted("1", "PPM")),
    "PGM": ("PGM", lambda: converted("L", "PPM")),
    "PGM with a comment": ("PGM", lambda: b"P2\n# by hand\n2 2\n255\n0 0\n0 0\n"),
    "PFM": ("PFM", lambda: converted("F", "PPM")),
    "PAM": ("PAM", lambda: b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 1\nMAXVAL 255\nENDHDR\n\0\0\0\0"),
    "DDS in blocks": ("DDS", lambda: converted("RGBA", "DDS", pixel_format="DXT5")),
    "DIB of OS/2": ("DIB", lambda: struct.pack("<IHHHH", 12, 64, 48, 1, 24) + bytes(9216)),
    "JPEG 2000 stream": ("JPEG 2000", lambda: converted("RGB", "JPEG2000", no_jp2=True)),
    "JPEG XL": ("JPEG XL", lambda: b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100)),
    "HEIF of JPEG": ("HEIF of 'jpeg'", lambda: file_of([Part(
        kind=b"jpeg", content=b"\xff\xd8", properties=(ispe(64, 64),))], b"mif1")),
    "PALM of a palette": ("PALM", lambda: converted("P", "PALM")),
    "SPIDER of this machine": ("SPIDER", spider),
    "SPIDER of another machine": (
        "SPIDER", lambda: np.frombuffer(spider()[: 4 * 256], "<f4").astype(">f4").tobytes()
    ),
    "EMF": ("EMF", lambda: b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(100)),
    "SVG": ("SVG", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "SVG with a comment": ("SVG", lambda: b"\xef\xbb\xbf<?xml version='1.0'?><!-- a --><svg/>"),
    "SVG with a page in it": ("SVG", lambda: b"<svg><foreignObject><body/></foreignObject></svg>"),
    "XCF": ("XCF", lambda: b"gimp xcf v011\0" + bytes(100)),
    "OpenEXR": ("OpenEXR", lambda: b"v/1\1" + bytes(100)),
    "Radiance": ("Radiance HDR", lambda: b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n"),
    "DICOM": ("DICOM", lambda: bytes(128) + b"DICM" + bytes(100)),
    "DNG": ("DNG", lambda: raw(b"Canon\0", (50706, 1, 4, b"\1\4\0\0"))),
    "DNG of a phone": (
        "DNG", lambda: tiff([*tiff_tags(), (50706, 1, 4, b"\1\4\0\0")], bytes(64 * 64))
    ),
    "NEF": ("NEF", lambda: raw(b"NIKON CORPORATION\0")),
    "ARW": ("ARW", lambda: raw(b"SONY\0")),
    "raw of another maker": ("a raw camera file", lambda: raw(b"abc\0")),
    "PEF": (
        "PEF",
        lambda: tiff(
            [*tiff_tags(compression=tag(259, SHORT, 65535)), (271, 2, 8, b"PENTAX \0")], bytes(99)
        ),
    ),
    "raw pixels of the sensor": (
        "a raw camera file",
        lambda: tiff(tiff_tags(photometric=tag(262, SHORT, 32803)), bytes(4096)),
    ),
    "CR2": ("CR2", lambda: b"II*\0\x10\0\0\0CR\2\0" + bytes(100)),
    "CR3": ("CR3", lambda: ISO % (b"crx ", b"isom")),
    "RAF": ("RAF", lambda: b"FUJIFILMCCD-RAW 0201" + bytes(100)),
    "ORF": ("ORF", lambda: b"IIRO\x08\0\0\0" + bytes(100)),
    "RW2": ("RW2", lambda: b"IIU\0\x18\0\0\0" + bytes(100)),
    "MP4": ("an MP4 video", lambda: ISO % (b"isom", b"mp42")),
    "MOV": ("a MOV video", lambda: ISO % (b"qt  ", b"qt  ")),
    "old MOV": ("a MOV video", lambda: b"\0\0\x10\0moov" + bytes(100)),
    "WebM": ("a WebM video", lambda: b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\x82\x84webm" + bytes(100)),
    "MKV": ("a Matroska video", lambda: b"\x1aE\xdf\xa3\xa3B\x82\x88matroska" + bytes(100)),
    "AVI": ("an AVI video", lambda: b"RIFF\0\1\0\0AVI LIST" + bytes(100)),
    "MPEG-TS": ("an MPEG video", lambda: (b"G@\0\x10" + bytes(184)) * 5),
    "WAV": ("a sound file", lambda: b"RIFF\0\1\0\0WAVEfmt " + bytes(100)),
    "ZIP": ("a ZIP archive", lambda: packed("zip")),
    "TAR": ("a tar archive", lambda: packed("tar")),
    "GZIP": ("a gzip file", lambda: gzip.compress(PLAIN_FORMATS["JPEG"]())),
    "HTML": ("an HTML page", lambda: b"\n<!DOCTYPE html>\n<html><svg/></html>"),
    "HTML by its element": ("an HTML page", lambda: b"<HTML><body>404</body></HTML>"),
    "XML": ("an XML document", lambda: b'<?xml version="1.0"?><note/>'),
}  # fmt: skip


def foreign_files() -> list[Any]:
    """Return (name, file) of each format that is not taken, with an id each."""
    files = [
        pytest.param(name, lambda key=key, mode=mode, options=options:
                     converted(mode, key, **options), id=key)
        for key, (name, mode, options) in WRITTEN.items()
    ]  # fmt: skip
    files += [
        pytest.param(name, lambda body=body: body, id=key) for key, (name, body) in HEADS.items()
    ]
    return files + [pytest.param(name, build, id=key) for key, (name, build) in MORE.items()]


@pytest.mark.parametrize(("name", "build"), foreign_files())
def test_a_format_that_is_not_taken_is_refused_by_its_name(
    name: str, build: Callable[[], bytes]
) -> None:
    """415, and the message says what the file is, and which formats are taken."""
    with pytest.raises(ImageRejected) as caught:
        decode(build())
    assert (caught.value.status, caught.value.reason) == (415, "unsupported_format")
    taken = "AVIF, or HEIF of HEVC (HEIC)" if name.startswith("HEIF") else TAKEN
    assert f"expected {taken}, got {name}" in str(caught.value)


def test_every_format_of_pillow_is_taken_or_has_a_name() -> None:
    """A later Pillow that opens or writes one more has to be told of here."""
    Image.init()
    assert {*Image.OPEN, *Image.SAVE} == {*TAKEN_IDS, *WRITTEN, *HEADS}


@pytest.mark.parametrize("key", HEADS)
def test_the_heads_made_here_are_such_as_pillow_knows(key: str) -> None:
    """Pillow's own test of the first bytes, where it has one, takes them for that format."""
    Image.init()
    accepts = Image.OPEN[key][1]
    assert accepts is None or accepts(HEADS[key][1][:16])


@pytest.mark.parametrize("name", PLAIN_FORMATS)
def test_a_format_that_is_taken_is_known_by_its_first_bytes(name: str) -> None:
    """The rest of the file may be missing: that is found later."""
    known = HEIF if name in ("AVIF", "HEIC") else name
    assert format_of(PLAIN_FORMATS[name]()[:16] + bytes(50)) == known


@pytest.mark.parametrize("brand", [b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1"])
def test_each_brand_of_avif_and_heic_is_taken(brand: bytes) -> None:
    """What is in it, the items tell: phones write one brand round the other's pictures."""
    assert format_of(ISO % (brand, b"abcd")) == HEIF


def test_a_plain_tiff_of_a_camera_is_no_raw_file() -> None:
    """A camera's name, a sub-directory or a flag that says "preview" alone do not make it one."""
    body = encode(photograph(64, 64), "TIFF", tiffinfo={271: "NIKON CORPORATION"})
    assert decode(body).format == "TIFF"
    for extra in (tag(254, LONG, 1), tag(330, LONG, 8)):
        assert decode(tiff([*tiff_tags(), extra], bytes(4096))).format == "TIFF"


@pytest.mark.parametrize("start", [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"])
def test_a_tiff_whose_directory_is_missing_is_a_damaged_tiff(start: bytes) -> None:
    """It is not taken for a raw file, nor for anything else."""
    for rest in (b"", b"\xff" * 4, bytes(100), b"\0\0\0\x08\xff\xff", b"\x08\0\0\0\xff\xff\1"):
        assert format_of(start + rest) == "TIFF"


TEXTS = [
    b"hello, this is no image\n", b"P5 is a processor of 1993, P6 its successor", b"BLP1 and DDS",
    b"GRIB data of today", b"\n\n  text\n", b"#define A 1\nint main(void);\n", b"SIMPLE = true",
    b"/* a comment */ int a;", b"width 3\nheight 4\n", b"Image type: none", b"{}", b"a,b\n1,2\n",
    b"qoif? no", b"icns are icons", b"LinS DanM", b"FTEX is one", b"<p>no page</p>", b"< 3",
    b"Gamma\n" * 400, b"TRUEVISION-XFILE.\0", b"free text, four letters in", b"Rar!", b"PK",
]  # fmt: skip


@pytest.mark.parametrize("body", [*TEXTS, bytes(4096), bytes(18), b"\xff" * 5000, PIXELS.tobytes()])
def test_what_is_no_file_of_any_kind_is_called_none(body: bytes) -> None:
    """400: text, zeros, bare pixels."""
    with pytest.raises(ImageRejected, match="that are none") as caught:
        format_of(body)
    assert caught.value.status == 400


def test_random_bytes_are_no_file_of_any_kind() -> None:
    """Of 20,000, long and short, only those are named that hold a signature of two bytes."""
    rng, named = np.random.default_rng(0), []
    for size in (20, 200, 3000):
        for _ in range(7000):
            body = rng.bytes(size)
            try:
                named.append(format_of(body))
            except ImageRejected as error:
                if error.status == 415 and body[:2] != b"\xff\x0a":
                    named.append(str(error))
    assert [name for name in named if name != "BMP"] == []


def test_bytes_that_could_be_the_head_of_a_targa_file_need_its_length() -> None:
    """One byte more or less, or a field that makes no sense, and it is none."""
    body = tga_without_footer("RGB")
    for changed in (
        body[:-1], body + b"\0", b"\0\2" + body[2:], body[:2] + b"\4" + body[3:],
        body[:7] + b"\x18" + body[8:], body[:16] + b"\x19" + body[17:],
        body[:17] + b"\xc0" + body[18:],
    ):  # fmt: skip
        with pytest.raises(ImageRejected, match="that are none"):
            format_of(changed)


def test_markup_of_any_length_is_looked_at_in_no_time() -> None:
    """What follows the first 4 KiB is not searched: ten megabytes take what ten kilobytes do."""
    for start, rest in (
        (b"", b"<"), (b"<?xml", b" "), (b"P5", b"#\n"), (b"", b" "), (b"", b"*\n"), (b"", b"/*"),
        (b"", b"a b\n"),
    ):  # fmt: skip
        short, long = (start + rest * (size // len(rest)) for size in (10_000, 10_000_000))
        assert _cpu_s(long) < 5 * _cpu_s(short) + 0.005, rest


def _cpu_s(body: bytes) -> float:
    """Return the CPU time of a look that finds nothing: the least of five."""
    times = []
    for _ in range(5):
        start_s = time.process_time()
        with pytest.raises(ImageRejected):
            format_of(body)
        times.append(time.process_time() - start_s)
    return min(times)
