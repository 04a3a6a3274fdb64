"""Types of files in folders of photos, by suffix: which are read, and the name and the reason of those that are not.

HEIC, JPEG XL and RAW need optional packages. Knows nothing of the content of files.
"""

import importlib.util
import os
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

_JPEG = ".jpg .jpeg .jpe .jfif .jif .jfi .pjpeg .pjp .mpo .jps .insp .jpg_large .jpeg_large"
_OTHER_READ = ".png .apng .webp .gif .bmp .dib .tif .tiff .avif .avifs .jp2 .j2k .jpf .jpx .jpm .j2c"
_RAW = (
    ".3fr .arw .bay .bmq .cap .cr2 .cr3 .crw .cs1 .dc2 .dcr .dng .drf .erf .fff .gpr .iiq .k25 .kc2 .kdc .mdc .mef "
    ".mos .mrw .nef .nrw .obm .orf .ori .pef .ptx .raf .raw .rw2 .rwl .rwz .sr2 .srf .srw .x3f"
)
HEIC_SUFFIXES = frozenset({".heic", ".heif", ".heics", ".heifs", ".hif"})
JXL_SUFFIXES = frozenset({".jxl"})
RAW_SUFFIXES = frozenset(_RAW.split())

IMAGE_SUFFIXES = frozenset(f"{_JPEG} {_OTHER_READ}".split()) | HEIC_SUFFIXES | JXL_SUFFIXES | RAW_SUFFIXES
"""Suffixes of photo files, in lower case. The format is detected from the content."""

SKIPPED_FOLDERS = frozenset(
    {"@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
)
"""Folders of file servers and operating systems for thumbnails, resource forks and deleted files."""

OPTIONAL_PACKAGES = {
    "HEIC": ("pillow_heif", "pillow-heif"),
    "JPEG XL": ("pillow_jxl", "pillow-jxl-plugin"),
    "RAW": ("rawpy", "rawpy"),
}
"""Format -> the module that reads it, and the package that holds the module."""

_OPTIONAL = {
    **dict.fromkeys(HEIC_SUFFIXES, "HEIC"),
    **dict.fromkeys(JXL_SUFFIXES, "JPEG XL"),
    **dict.fromkeys(RAW_SUFFIXES, "RAW"),
}
_VIDEO = (
    ".3g2 .3gp .3gpp .asf .avi .braw .divx .dv .f4v .flv .gifv .hevc .insv .lrv .m1v .m2t .m2ts .m2v .m4v .mjpeg "
    ".mjpg .mkv .mod .mov .mp4 .mpe .mpeg .mpg .mts .mxf .ogm .ogv .r3d .rm .rmvb .tod .vob .webm .wmv"
)
_LAYERED = ".psd .psb .xcf .kra .clip .afphoto .afdesign .pxd .procreate .pdn .psp .pspimage .cpt .ora .indd .mdp .sai2"
_DRAWING = ".svg .svgz .ai .eps .cdr .wmf .emf"
_OTHER = (
    ".exr .hdr .rgbe .tga .pcx .ico .icns .ppm .pgm .pbm .pnm .pfm .sgi .qoi .fits .fit .fts .dcm .dds .jxr .wdp "
    ".hdp .bpg .flif .pict .pct .jls .jph .jhc .jpc .jng .mng .avci .avcs .dpx .cin .ras .xbm .xpm .iff .lbm .wbmp "
    ".tx .fpx .djvu .dicom .svs .ndpi .czi .lif .nd2 .nii"
)
_NOT_READ = {
    **dict.fromkeys(_VIDEO.split(), ("video", "This is a video, which is not read.")),
    **dict.fromkeys(
        _LAYERED.split(),
        ("layered picture", "This file of a picture editor is not read. Export it as JPEG or PNG."),
    ),
    **dict.fromkeys(_DRAWING.split(), ("drawing", "This drawing is not read. Export it as PNG.")),
    **dict.fromkeys(_OTHER.split(), ("other picture", "This kind of picture is not read. Save it as JPEG or PNG.")),
}  # suffix -> the name of the kind, and the reason


def suffix_of(name: str) -> str:
    """Return a file name's suffix in lower case, with its dot; empty if it has none."""
    return os.path.splitext(name)[1].lower()


@lru_cache(maxsize=16)
def is_installed(format: str) -> bool:
    """Tell whether a format of ``OPTIONAL_PACKAGES`` can be read here."""
    return importlib.util.find_spec(OPTIONAL_PACKAGES[format][0]) is not None


def not_installed(format: str) -> str:
    """Return the sentence on a format of ``OPTIONAL_PACKAGES`` that cannot be read here."""
    return (
        f"{format} photos need another package: pip install {OPTIONAL_PACKAGES[format][1]}. Then add the folder again."
    )


def why_not_read(name: str) -> str | None:
    """Return why a picture or video of this name is not read; None for photos that are, and for other files."""
    suffix = suffix_of(name)
    format = _OPTIONAL.get(suffix)
    if format is not None:
        return None if is_installed(format) else not_installed(format)
    return _NOT_READ[suffix][1] if suffix in _NOT_READ else None


def is_video(name: str) -> bool:
    """Tell whether a file is a video by its name."""
    return suffix_of(name) in _NOT_READ and _NOT_READ[suffix_of(name)][0] == "video"


def is_raw(name: str) -> bool:
    """Tell whether a file is a RAW photo by its name."""
    return suffix_of(name) in RAW_SUFFIXES


def count_types(suffixes: Mapping[str, int]) -> dict[str, int]:
    """Return how many files there are of each type, the most frequent first: ``{"HEIC": 12, "video (.mp4)": 3}``.

    Args:
        suffixes: Suffix in lower case, with its dot -> number of files.
    """
    counts: Counter[str] = Counter()
    for suffix, number in suffixes.items():
        counts[_type_name(suffix)] += number
    return dict(counts.most_common())


def _type_name(suffix: str) -> str:
    if suffix in RAW_SUFFIXES:
        return f"RAW ({suffix})"
    if suffix in _OPTIONAL:
        return _OPTIONAL[suffix]
    if suffix in _NOT_READ:
        return f"{_NOT_READ[suffix][0]} ({suffix})"
    if suffix in IMAGE_SUFFIXES:
        return "JPEG" if suffix in _JPEG.split() else suffix[1:].upper()
    return "folder or other file"
