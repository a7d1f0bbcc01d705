"""What a cell of text may be instead of text: the path of a file, or a file in base64."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from pathlib import Path

from altuna.data.formats.columns import HEAD
from altuna.data.formats.file_lists import split_files

SUFFIXES = {
    "image": {
        *(
            ".png",
            ".jpg",
            ".jpeg",
            ".jpe",
            ".jfif",
            ".webp",
            ".bmp",
            ".dib",
            ".gif",
            ".tif",
            ".tiff",
            ".avif",
        ),
        *(".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".pcx", ".ico", ".dds", ".qoi"),
    },
    "audio": {
        *(".wav", ".flac", ".ogg", ".oga", ".mp3", ".opus", ".aiff", ".aif", ".aifc", ".m4a", ".aac", ".wma"),
        *(".amr", ".caf", ".au", ".snd", ".w64", ".mka", ".ac3", ".mp2", ".voc"),
    },
    "video": {
        *(".mp4", ".avi", ".mov", ".mkv", ".webm", ".flv", ".mpg", ".mpeg", ".m4v", ".wmv", ".3gp", ".3g2"),
        *(".ts", ".mts", ".m2ts", ".ogv", ".vob", ".f4v", ".asf", ".mxf"),
    },
    "vector": {".npy"},
    "series": {".npz", ".csv", ".tsv", ".parquet", ".feather"},
}
PICTURES = "convert the pictures to PNG"
ARRAYS = "save each array by numpy.save as .npy"
UNREADABLE = {  # what to do about files that no reader accepts, by their ending
    **dict.fromkeys((".heic", ".heif", ".hif"), f"they need the package pillow-heif: {PICTURES} with it"),
    **dict.fromkeys((".dcm", ".dicom"), f"they need the package pydicom: {PICTURES} with it"),
    **dict.fromkeys((".nii", ".nii.gz", ".mha"), f"they need the package nibabel: {PICTURES} with it"),
    **dict.fromkeys((".svg", ".svgz"), f"they need the package cairosvg: {PICTURES} with it"),
    **dict.fromkeys((".pdf", ".djvu", ".eps", ".ps", ".psd"), f"they are documents: {PICTURES}"),
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".dng"), f"they need the package rawpy: {PICTURES} with it"),
    ".jxl": f"they need the package pillow-jxl-plugin: {PICTURES} with it",
    **dict.fromkeys((".pt", ".pth", ".pkl", ".pickle"), f"a pickle may run code: {ARRAYS}"),
    **dict.fromkeys((".h5", ".hdf5"), f"they need the package h5py: {ARRAYS} with it"),
    ".mat": f"they need the package scipy: {ARRAYS} with it",
    **dict.fromkeys((".doc", ".docx", ".rtf", ".odt", ".html", ".htm"), "save the texts as .txt files"),
    **dict.fromkeys((".mid", ".midi"), "render them to sound"),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"), "unpack them"),
}
# (offset, bytes, type): content has the type of the first entry that it matches.
MAGIC = (
    (8, b"WEBP", "image"),
    (8, b"AVI ", "video"),
    (8, b"WAVE", "audio"),
    (4, b"ftypM4A", "audio"),
    (4, b"ftypavif", "image"),
    (4, b"ftyphei", "image"),
    (4, b"ftypmif1", "image"),
    (4, b"ftyp", "video"),
    (0, b"\x1aE\xdf\xa3", "video"),  # EBML: Matroska, WebM
    (0, b"FLV", "video"),
    (0, b"\0\0\x01\xba", "video"),  # MPEG program stream
    (0, b"0&\xb2u", "video"),  # ASF: WMV
    (0, b"\x93NUMPY", "vector"),
    (0, b"PK\x03\x04", "series"),  # .npz
    (0, b"PAR1", "series"),
    *((0, magic, "audio") for magic in (b"fLaC", b"OggS", b"ID3", b"FORM", b"RIFF")),
    *((0, magic, "audio") for magic in (b".snd", b"caff", b"#!AMR")),
    *((0, magic, "audio") for magic in (b"\xff\xfb", b"\xff\xf3", b"\xff\xf1", b"\xff\xf9")),
    *((0, magic, "image") for magic in (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")),
    *((0, magic, "image") for magic in (b"\0\0\0\x0cjP", b"P4", b"P5", b"P6", b"qoif", b"DDS ")),
)
MAX_PATH_LENGTH = 4096
FRAGMENT = re.compile(r"#(?:t|xywh)=[^#/\\]*$")  # a W3C media fragment, such as #t=1.5,3
URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://\S+")
DATA_URI = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,")
BASE64 = re.compile(r"[A-Za-z0-9+/_\s-]{40,}={0,2}\s*")  # also with - and _, as in URLs
HEX = re.compile(r"\s*(?:0[xX]|\\[xX]|[xX]')?([0-9a-fA-F]{40,})'?\s*")  # as databases write bytes
URL_SAFE = str.maketrans("-_", "+/")
ENDING = re.compile(r"\.(?=\w*[a-z])\w{1,5}")  # is no number
DECIMAL = re.compile(r"\d\.\d+[^\W\d]*$")  # a number with a unit, or seconds of a time
DOMAINS = {".com", ".org", ".net", ".edu", ".gov", ".io", ".de", ".uk", ".eu", ".fr"}  # of hosts and mails
MOSTLY, MIN_PATHS = 0.9, 3  # of the texts: so many must look like paths; one text more may be none
MAX_LENGTH, MANY_WORDS = 256, 8  # characters of a path in a cell, blanks in it
QUOTED = re.compile(r"([\"'])(?P<path>[^\"'<>{}]+)\1")
WITHIN = re.compile(
    r"[<{\[].*?[\"'(]([^\"'<>{}()]+\.\w{2,5})[\"')]", re.DOTALL
)  # a path in HTML, JSON or a dict
LOOKED_AT = 10  # files whose presence and content tell the type of their column


def unquoted(path: str) -> str:
    """Return a path without blanks and quotation marks around it.

    Example:
        >>> unquoted("'owls/1.png' ")
        'owls/1.png'
    """
    found = QUOTED.fullmatch(path.strip())
    return found["path"].strip() if found else path.strip()


def suffix(path: str) -> str:
    """Return the ending of a path, in lower case, without a media fragment or an URL's query.

    Example:
        >>> suffix("clips/OWL.MP4#t=1,2"), suffix("scan.nii.gz"), suffix("hoot")
        ('.mp4', '.nii.gz', '')
    """
    if len(path) >= MAX_PATH_LENGTH:
        return ""
    path = FRAGMENT.sub("", unquoted(path))
    if URL.fullmatch(path):
        path = re.split(r"[?#]", path, maxsplit=1)[0]
    name = path.lower().replace("\\", "/").rpartition("/")[2]
    return next((end for end in UNREADABLE if end.count(".") > 1 and name.endswith(end)), Path(name).suffix)


def content_type(content: bytes) -> str | None:
    """Return the type of a file by its first bytes; None if they are unknown.

    Example:
        >>> content_type(b"fLaC..."), content_type(b"hoot")
        ('audio', None)
    """
    return next((kind for at, magic, kind in MAGIC if content[at:].startswith(magic)), None)


def embedded(text: str, start: bool = False) -> bytes | None:
    r"""Return the content that a data URI, base64 or hexadecimal digits hold, None if a text is none of them.

    Args:
        text: The text.
        start: Decode only the first bytes.

    Example:
        >>> embedded("data:image/png;base64,iVBORw0KGgo="), embedded("hoot")
        (b'\x89PNG\r\n\x1a\n', None)
    """
    found = DATA_URI.match(text[:100])
    if digits := HEX.match(text[:200]) if start else HEX.fullmatch(text):
        content = bytes.fromhex(digits[1][: len(digits[1]) // 2 * 2])
        if content_type(content):
            return content
    code = text[found.end() :] if found else text
    if not found and not BASE64.fullmatch(code[:200] if start else code):
        return None
    try:
        code = (code[:44].strip() if start else "".join(code.split())).translate(URL_SAFE)
        content = base64.b64decode(code)
    except (binascii.Error, ValueError):
        return None
    return content if found or content_type(content) else None


def text_type(text: str) -> str:
    """Return the type of the file that a text is or names by its ending; ``text`` if it is none.

    Example:
        >>> text_type("owls/1.jfif"), text_type("an owl"), text_type("https://host/owl.png?size=3")
        ('image', 'text', 'image')
    """
    ending = suffix(text)
    if kind := next((kind for kind, endings in SUFFIXES.items() if ending in endings), None):
        return "text" if text.lstrip()[:4].lower() == "www." else kind
    content = embedded(text, start=True) if not ending else None
    return (content_type(content) or "image") if content else "text"


def unreadable(texts: Sequence[str | bytes]) -> str:
    """Return why files cannot be read whose paths most of some texts are; "" if there is no such reason.

    Example:
        >>> unreadable(["owls/1.svg", "owls/2.svg"])
        'no reader accepts .svg files; they need the package cairosvg: convert the pictures to PNG with it'
    """
    named = [
        text.strip()
        for text in texts
        if isinstance(text, str) and len(text) < MAX_LENGTH and text.count(" ") < MANY_WORDS
    ]
    urls = [text for text in named if URL.fullmatch(text) and text_type(text) != "text"]
    if len(urls) > len(texts) / 2:
        return "URLs are not read; download the files, and give their paths"
    endings = [suffix(text) for text in named if not text.lower().startswith(("http", "www."))]
    known = [ending for ending in endings if ending in UNREADABLE]
    if len(known) > len(texts) / 2:
        return f"no reader accepts {known[0]} files; {UNREADABLE[known[0]]}"
    starts = [text[:1000] for text in texts if isinstance(text, str)]
    if sum(re.match(r"b['\"].*\\x", start, re.DOTALL) is not None for start in starts) > len(texts) / 2:
        return "its cells are bytes that were printed; write them to files, to Parquet or as base64"
    within = [found[1] for start in starts if (found := WITHIN.match(start.strip())) and not _pictures(start)]
    if sum(text_type(path) != "text" for path in within) > len(texts) / 2:
        return f"its cells have more than a path; write only the path {within[0]!r}"
    if unknown := _unknown_endings(named, len(texts)):
        return f"its cells look like paths, but no reader accepts {' and '.join(unknown[:3])} files"
    return ""


def _pictures(text: str) -> bool:
    """Return whether a text is a list of paths of pictures."""
    parts = split_files(text)
    return text.lstrip()[:1] == "[" and all(isinstance(p, str) and text_type(p) == "image" for p in parts)


def _unknown_endings(texts: Sequence[str], count: int) -> list[str]:
    """Return the endings of texts if nearly all of ``count`` look like paths of files that nothing reads.

    A path has a folder; a bare name is one if most texts are different names with the same ending.
    """
    words = [
        text for text in texts if len(text.split()) == 1 and not text.lower().startswith(("http", "www."))
    ]
    found = {text: suffix(text) for text in words if text_type(text) == "text"}
    found = {
        text: end
        for text, end in found.items()
        if ENDING.fullmatch(end) and end != ".txt" and not DECIMAL.search(text)
    }
    within = [text for text in words if text in found and re.search(r"[/\\]", text)]
    if len(within) >= max(MOSTLY * count - 1, MIN_PATHS):
        return sorted({found[text] for text in within})
    ends = {*found.values()}
    bare = [text for text in words if text in found and "@" not in text]
    many = len(bare) >= max(MOSTLY * count - 1, MIN_PATHS) and len({*bare}) > count / 2
    return [*ends] if many and len(ends) == 1 and not ends & DOMAINS else []


def type_on_disk(texts: Sequence[str], folder: Path) -> str | None:
    """Return the type of the files that the first of some texts name; None unless all of these are files.

    Example:
        >>> type_on_disk(["an owl"], Path("."))
    """
    first = [unquoted(text).replace("\\", "/") for text in texts[:LOOKED_AT]]
    if not first or any(not text or len(text) >= MAX_LENGTH or "\n" in text for text in first):
        return None
    kinds = []
    for text in first:
        try:
            with (folder / text).open("rb") as file:
                kinds.append(content_type(file.read(HEAD)))
        except (OSError, ValueError):
            return None
    return max(kinds, key=kinds.count)
