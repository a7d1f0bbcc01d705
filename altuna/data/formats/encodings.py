"""Find the encoding of a text file: UTF-8, UTF-16, or Windows-1252 where its letters are rare."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import IO

from altuna.errors import UserError

BLOCK = 2**20  # bytes
ALONE = 0.75  # of the letters beyond ASCII: so many stand alone in a text of Western Europe
WESTERN = "windows-1252"
OTHERS = ("shift_jis", "euc_jp", "euc_kr", "gb18030", "big5", "windows-1251", "windows-1250", "iso-8859-7")
RUNS = re.compile(rb"[\x80-\xff]+")


def encoding_of(path: Path, opened: Callable[[Path], IO[bytes]]) -> str:
    r"""Return ``utf8``, ``utf-16`` or ``windows-1252``, with which a file can be decoded.

    A file that mixes UTF-8 with other bytes counts as UTF-8: its rows are to be named.

    Args:
        path: The file.
        opened: Opens it, decompressed.

    Raises:
        UserError: It is in none of them, and another encoding fits: the message has the command to convert.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_bytes("título\nbúho\n".encode("latin-1"))
        >>> encoding_of(path, lambda path: path.open("rb"))
        'windows-1252'
    """
    decoder, several = codecs.getincrementaldecoder("utf8")(), False
    with opened(path) as file:
        while block := file.read(BLOCK):
            if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and file.tell() == len(block):
                return "utf-16"
            try:
                several |= not decoder.decode(block).isascii()
            except UnicodeDecodeError:
                return "utf8" if several else _other(path, block)
    return "utf8"


def _other(path: Path, block: bytes) -> str:
    """Return the encoding of a block that is not UTF-8."""
    runs = RUNS.findall(block)
    if sum(map(_decodes, runs)) > len(runs) / 2:
        return "utf8"
    alone = sum(len(run) == 1 for run in runs) / sum(map(len, runs))
    if alone >= ALONE and _decodes(block, WESTERN):
        return WESTERN
    found = [other for other in OTHERS if _decodes(block[: block.rfind(b"\n") + 1] or block, other)]
    if alone >= ALONE or not found:
        return "utf8"
    command = f"iconv -f {found[0]} -t utf-8 {quote(path.name)} > utf8.csv"
    more = f" (or with -f {', '.join(found[1:4])})" if found[1:] else ""
    raise UserError(f"{path}: is not in UTF-8; convert it: {command}{more}")


def _decodes(text: bytes, encoding: str = "utf8") -> bool:
    try:
        text.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
