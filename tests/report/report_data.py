"""Manifests of awkward names, and runs on them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet

import altuna

NASTY = "<script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\">"
LONG = "a class with a name of very many words " * 6


def rows_of(classes, counts):
    return [(split, c) for split, n in counts.items() for c in classes for _ in range(n)]


def write_manifest(folder, rows, **columns):
    folder.mkdir(parents=True, exist_ok=True)
    split, label = zip(*rows, strict=True)
    ids = [f"{i}{NASTY if i % 2 else ''}" for i in range(len(rows))]
    table = pa.table({"id": ids, "split": split, "label": label, **columns})
    pyarrow.parquet.write_table(table, folder / "samples.parquet")
    return folder / "samples.parquet"


def fit_vectors(folder, classes, modalities):
    rows = rows_of([f"class {c}" for c in range(classes)], {"train": 1, "val": 1, "test": 1})
    rng = np.random.default_rng(0)
    # Long names without a space, where no line can be broken.
    values = {f"{m * 40}_{j}": rng.normal(size=len(rows)) for m in modalities for j in range(3)}
    path = write_manifest(folder, rows, **values)
    return altuna.fit(path, epochs=1, out=folder / "run", quiet=True, report=False)
