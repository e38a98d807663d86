"""
The first bytes of a file that is not taken -> what it is, so that the refusal can say so.

A table of our own: the libraries that do this (filetype, puremagic, libmagic) do not know half of
what Pillow writes, tell formats without a signature by the file's name, and would be one more
dependency of every worker. Asking Pillow itself would start forty parsers on a stranger's bytes.

Whatever is said here only chooses the words of a refusal; so a pattern is as strict as keeps
text and random bytes out of it. Formats that need more than a pattern: `formats_without_signature`.
"""

from __future__ import annotations

import re
from typing import Final

from iqa.imaging import formats_without_signature

# Of a pattern: all that it may look at. The longest is PCD's, whose signature is at 2048.
HEAD_BYTES: Final = 4096
NUMBER: Final = rb"(?:\s|#[^\n]*+\n)++\d{1,10}"  # of a text header, behind blanks and comments

IMAGES: Final[tuple[tuple[bytes, str], ...]] = (
    (rb"8BPS\0[\x01\x02]", "PSD (Photoshop)"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "EPS (PostScript)"),
    (rb"\0\0\x01\0(?!\0\0)", "ICO"),
    (rb"\0\0\x02\0(?!\0\0)", "CUR"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\0\0\0\x0cJXL |\xff\x0a", "JPEG XL"),
    (rb"II\xbc[\0\x01]", "JPEG XR"),
    (rb"DDS \x7c\0\0\0", "DDS"),
    (rb"qoif\0", "QOI"),
    (rb"P[14]" + NUMBER + NUMBER, "PBM"),
    (rb"P[25]" + NUMBER + NUMBER, "PGM"),
    (rb"P[36]" + NUMBER + NUMBER, "PPM"),
    (rb"P[fF]" + NUMBER + NUMBER, "PFM"),
    (rb"P7\n(?:#[^\n]*+\n)*+WIDTH |P0CMYK\s|Py(?:P|RGBA|CMYK)\s", "PAM"),
    (rb"P7 332", "XV thumbnail (XVTHUMB)"),
    # The size of the header, one plane, and bits of a pixel.
    (rb"[\x28\x34\x38\x40\x6c\x7c]\0\0\0.{8}\x01\0[\x01\x04\x08\x10\x18\x20]\0", "DIB"),
    (rb"\x0c\0\0\0.{4}\x01\0[\x01\x04\x08\x18]\0", "DIB"),
    (rb"\n[\0\x02\x03\x05][\0\x01][\x01\x02\x04\x08]", "PCX"),
    (rb"\xb1\x68\xde\x3a", "DCX"),
    (rb"\x01\xda[\0\x01][\x01\x02]\0[\x01-\x03]", "SGI"),
    (rb"\x59\xa6\x6a\x95", "SUN raster"),
    (rb"icns[\0-\x07]", "ICNS"),
    (rb"BLP[12].\0\0\0", "BLP"),
    (rb"FTEX(?![ -~]{4})", "FTEX"),
    (rb"(?:DanM|LinS)(?![ -~]{4})", "MSP"),
    (rb"\x80\xe8\0\0", "PIXAR"),
    (rb".{2048}PCD_", "PCD (Photo CD)"),
    (rb".{4}[\x11\x12]\xaf.{8}[\0\x03]\0", "FLI"),
    (rb"\0\0..\0\0\0[\x01\x02].{8}\0\0\0[\x01\x04]", "GBR (GIMP brush)"),
    (rb"SIMPLE  = ", "FITS"),
    (rb"\x89HDF\r\n\x1a\n", "HDF5"),
    (rb"GRIB...[\x01\x02]", "GRIB"),
    (rb"BUFR...[\0-\x05]|ZCZC\s", "BUFR"),
    (rb"(?=.{511}\x1a)(?:[^\0\x1a]*\n)?Image type:", "IM"),
    (rb"(?=[^\f]*\bwidth \d)(?=[^\f]*\bheight \d)(?:\*[^\n]*+\n|[a-z]+ [^ \n]++\n)++\f", "IMT"),
    (rb"\0{4}(?:\0{3}\x04|\x04\0{3}).{248}", "MCIDAS"),
    (rb"\xd7\xcd\xc6\x9a\0\0|[\x01\x02]\0\x09\0\0[\x01\x03]", "WMF"),
    (rb"\x01\0\0\0.{36} EMF", "EMF"),
    (rb"\s*+(?:/\*[^*]*+\*/\s*+)?#define[ \t]+\w*_width[ \t]+\d", "XBM"),
    (rb"/\* XPM \*/", "XPM"),
    (rb"gimp xcf ", "XCF (GIMP)"),
    (rb"v/1\x01", "OpenEXR"),
    (rb"#\?(?:RADIANCE|RGBE)\n", "Radiance HDR"),
    (rb"AT&TFORM", "DjVu"),
    (rb"BPG\xfb", "BPG"),
    (rb"[\x8a\x8b][MJ]NG\r\n\x1a\n", "MNG"),
    (rb"RIFF.{4}ACON", "ANI"),
    (rb"RIFF.{4}(?:CDR|cdr)", "CDR (CorelDRAW)"),
    (rb".{128}DICM", "DICOM"),
    (rb"II\x1a\0\0\0HEAPCCDR", "CRW (raw camera file)"),
    (rb"IIR[OS]|MMOR", "ORF (raw camera file)"),
    (rb"IIU\0", "RW2 (raw camera file)"),
    (rb"FUJIFILMCCD-RAW", "RAF (raw camera file)"),
    (rb"FOVb", "X3F (raw camera file)"),
    (rb"\0MRM", "MRW (raw camera file)"),
)  # fmt: skip
"""Image formats that are not taken: pattern at the start of the file, and name."""

OTHERS: Final[tuple[tuple[bytes, str], ...]] = (
    (rb"%PDF", "a PDF document"),
    (rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", "a ZIP archive or an Office document"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document"),
    (rb"Rar!\x1a\x07", "a RAR archive"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (rb"\x1f\x8b\x08", "a gzip file"),
    (rb"BZh[1-9]1AY&SY", "a bzip2 file"),
    (rb"\xfd7zXZ\0", "an xz file"),
    (rb"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (rb".{257}ustar", "a tar archive"),
    (rb"\0.{3}(?:moov|mdat|wide)", "a MOV video"),
    (rb"\x1aE\xdf\xa3.{0,64}webm", "a WebM video"),
    (rb"\x1aE\xdf\xa3", "a Matroska video"),
    (rb"RIFF.{4}AVI ", "an AVI video"),
    (rb"FLV\x01", "an FLV video"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a WMV video"),
    (rb"\0\0\x01[\xba\xb3]|G(?:.{187}G){3}", "an MPEG video"),
    (rb"OggS\0", "an Ogg file"),
    (rb"RIFF.{4}WAVE|ID3[\x02-\x04]|fLaC", "a sound file"),
)
"""The same for other files that people send by mistake."""

# The brand of an ISO base media file (ISO/IEC 14496-12), behind its size and `ftyp`.
BRANDS: Final = {b"jp2 ": "JPEG 2000", b"crx ": "CR3 (raw camera file)"}
HEIF: Final = (
    b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2",
    b"msf1",
)  # fmt: skip
"""The brands of what is taken: `iqa.imaging.heif`."""

MARKUP: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*+<(\?xml\b)?")
ROOT: Final = re.compile(rb"<(?:\w+:)?(svg|!doctype\s+html|html|head|body)\b", re.I)


def is_heif(head: bytes) -> bool:
    """Tell a file of HEIF, which AVIF and HEIC are, by its brand."""
    return head[4:8] == b"ftyp" and head[8:12] in HEIF


def image_of(head: bytes) -> str | None:
    """
    Name the format of an image that is not taken.

    Args:
        head: The whole file, or as much of it as there is.

    Returns:
        None where it is none that is known.
    """
    for pattern, name in _IMAGES:
        if pattern.match(head, 0, HEAD_BYTES):
            return name
    if head[4:8] == b"ftyp":
        return BRANDS.get(head[8:12])
    if _root(head) == b"svg":
        return "SVG"
    return formats_without_signature.image_of(head)


def other_of(head: bytes) -> str | None:
    """Name what is no image, with its article; None where it is nothing that is known."""
    for pattern, name in _OTHERS:
        if pattern.match(head, 0, HEAD_BYTES):
            return name
    if head[4:8] == b"ftyp":
        return "a MOV video" if head[8:12] == b"qt  " else "an MP4 video"
    if _root(head):
        return "an HTML page"
    start = MARKUP.match(head, 0, HEAD_BYTES)
    return "an XML document" if start and start[1] else None


def _root(head: bytes) -> bytes:
    """Return the first element of markup that says what it is, in small letters."""
    found = ROOT.search(head, 0, HEAD_BYTES) if MARKUP.match(head, 0, HEAD_BYTES) else None
    return found[1].lower() if found else b""


def _compiled(table: tuple[tuple[bytes, str], ...]) -> list[tuple[re.Pattern[bytes], str]]:
    return [(re.compile(pattern, re.S), name) for pattern, name in table]


_IMAGES: Final = _compiled(IMAGES)
_OTHERS: Final = _compiled(OTHERS)
