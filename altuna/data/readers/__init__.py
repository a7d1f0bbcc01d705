"""Readers, which decode cells of one type, by name."""

from altuna.data.readers.audio import AudioReader
from altuna.data.readers.base import (
    BadCellError,
    Columns,
    InconsistentError,
    NotFiniteError,
    Reader,
    UnavailableError,
)
from altuna.data.readers.image import ImageReader
from altuna.data.readers.image_list import ImageListReader
from altuna.data.readers.series import SeriesReader
from altuna.data.readers.tabular import TabularReader
from altuna.data.readers.text import TextReader
from altuna.data.readers.tokens import TokenReader
from altuna.data.readers.vector import VectorReader
from altuna.data.readers.video import VideoReader

# The first of a type is its default.
READERS: dict[str, type[Reader]] = {
    reader.name: reader
    for reader in (
        ImageReader,
        ImageListReader,
        VideoReader,
        AudioReader,
        TextReader,
        TokenReader,
        SeriesReader,
        VectorReader,
        TabularReader,
    )
}

__all__ = [
    "READERS",
    "BadCellError",
    "Columns",
    "InconsistentError",
    "NotFiniteError",
    "Reader",
    "UnavailableError",
]
