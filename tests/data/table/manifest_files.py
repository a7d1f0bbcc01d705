"""Write manifests, and look at what was read of them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from altuna.data.table.cells import Cells

PNG = b"\x89PNG\r\n\x1a\n"
WAV = b"RIFF\0\0\0\0WAVEfmt "


def write(folder, text, name="m.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def parquet(folder, **columns):
    path = folder / "m.parquet"
    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


def cells(manifest, name):
    """The cells, paths of files as text."""
    return [str(cell) if isinstance(cell, Path) else cell for cell in Cells(manifest, name)]


def types(manifest):
    return {name: modality.type for name, modality in manifest.modalities.items()}
