"""A model without a training: the description of a table's numbers, dates and categories."""

import csv

from altuna.data.readers.tabular import TabularReader
from altuna.data.table.cells import Cells
from altuna.data.table.manifest import read_manifest
from altuna.runs.data import open_manifest
from altuna.runs.description import Description


def described(path, table=None):
    """Return the description of a model of all columns but the label, together in a modality ``t``."""
    names = read_manifest(path, table=table).table.column_names
    columns = tuple(name for name in names if name != "label")
    manifest = read_manifest(path, {"t": {"type": "tabular", "columns": [*columns]}}, table=table)
    reader = TabularReader.fit(Cells(manifest, "t").columns, min_count=1)
    parts = {"t": reader}, {"t": {"name": "mlp"}}, {"t": columns}
    classes = tuple(sorted({*manifest.labels.to_pylist()}))
    return Description("mla", classes, "shared", "evidence", {}, *parts, formats=manifest.formats)


def written(path, columns):
    """Write columns as a CSV file with semicolons; None is an empty cell."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def numbers_of(description, path, column="x", table=None):
    """Return the numbers of a column as the model gets them, and all notes as a text."""
    manifest = open_manifest(description, path, table=table)
    reader = description.readers["t"]
    values, notes = reader.encode(manifest.table)
    names = [name for name, _ in reader.numbers]
    origin = reader.numbers[names.index(column)][1]
    found = [None if value != value else float(value) + origin for value in values[:, names.index(column)]]
    return found, "\n".join([*manifest.notes, *notes])
