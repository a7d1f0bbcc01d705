"""Shards of a stream, and the stream that reads them."""

import io

import numpy as np
import pyarrow as pa
from PIL import Image

from altuna.data.fit_readers import fit_readers
from altuna.data.stream.batches import Stream
from altuna.data.table.manifest import read_manifest


def png(value):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (value % 256, 0, 0)).save(file, "PNG")
    return file.getvalue()


def table(numbers, split=None):
    """Rows whose cell and whose first number tell which they are; every fifth has no picture."""
    columns = {
        "picture": [None if i % 5 == 0 else {"bytes": png(i), "path": None} for i in numbers],
        "words": [None if i % 3 == 0 else f"word{i % 2} w{i}" for i in numbers],
        "x_1": [float(i) for i in numbers],
        "x_2": [None if i % 7 == 0 else i % 2 for i in numbers],
        "label": [f"class {i % 2}" for i in numbers],
    }
    return pa.table(columns | ({"split": split} if split else {}))


def stream(folder, pattern=None, **options):
    manifest = read_manifest(folder / "some.parquet")
    readers = fit_readers(manifest, np.arange(60), {})
    pattern = str(folder / "shards" / "*.parquet") if pattern is None else str(pattern)
    options = {"batch_size": 16, "seed": 0, "buffer": 40} | options
    workers = options.pop("workers", 1)
    some = Stream(pattern, manifest, readers, ("class 0", "class 1"), **options)
    some.workers = workers
    return some
