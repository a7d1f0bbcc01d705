"""Numbers that are written in one way in training and in another one in new data are never silently wrong."""

import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from described import described, written
from shapes import SHAPES

from altuna.errors import UserError
from altuna.export import export as exporting
from altuna.export.export import script_format
from altuna.runs.data import open_manifest
from altuna.runs.records import Fields

NUMBER = runpy.run_path(str(Path(exporting.__file__).parent / "scripts" / "columns.py"))["number"]
OLD, NEW = np.exp(np.random.default_rng(0).uniform(np.log(2), np.log(9000), (2, 20))).round(2).tolist()

BARE = re.compile(r"[\d.,’e+-]+".replace("’", "’\u202f"))


def same(found, wanted):
    return found is not None and abs(found - wanted) <= 1e-2 * abs(wanted) + 0.6  # clocks have whole seconds


@pytest.fixture(scope="module", params=SHAPES)
def trained(request, tmp_path_factory):
    """Return a shape, and the description of a model with a column in this shape for each other shape."""
    shape, folder = SHAPES[request.param], tmp_path_factory.mktemp("shapes")
    texts = {name: [shape.write(x) for x in OLD] for name in SHAPES}
    description = described(written(folder / "train.csv", {"label": ["a", "b"] * 10, **texts}))
    return shape, description, folder


def test_training_reads_its_own_shape(trained):
    shape, description, folder = trained
    manifest = open_manifest(description, folder / "train.csv")
    for found in manifest.table["plain"].to_pylist(), manifest.table["kg"].to_pylist():
        assert all(map(same, found, [x * shape.number for x in OLD]))


def check(shape, other, x, number, notes):
    """Check a number that was read from a text of another shape: it is right, or what is assumed is named."""
    text = other.write(x)
    if BARE.fullmatch(text):
        assert same(number, x), text
        assert "have no" in notes or not shape.unit, text
    else:
        assert same(number, x * shape.number), text
        assert other.quantity == shape.quantity or (other.quantity == "" and "have no" in notes), text


def test_a_table_is_read_as_in_training_or_the_difference_is_named(trained):
    shape, description, folder = trained
    texts = {name: [other.write(x) for x in NEW] for name, other in SHAPES.items()}
    manifest = open_manifest(description, written(folder / "new.csv", texts))
    for name, other in SHAPES.items():
        column, notes = manifest.table[name], " ".join(n for n in manifest.notes if f"column {name!r}:" in n)
        numbers = [None if isinstance(cell, str) else cell for cell in column.to_pylist()]
        assert "no number like" in notes or None not in numbers
        for x, number in zip(NEW, numbers, strict=True):
            if number is not None:
                check(shape, other, x, number, notes)
    own = next(name for name in SHAPES if SHAPES[name] is shape)
    assert manifest.table[own].null_count == 0


def test_records_and_exports_read_as_in_training_or_refuse(trained):
    shape, description, _ = trained
    for name, other in SHAPES.items():
        known = description.formats.get(name)
        exported = json.loads(json.dumps(script_format(known))) if known else {}
        for x in NEW[:5]:
            fields = Fields(description.readers, description.columns, formats=description.formats)
            try:
                found = fields.cells({name: other.write(x)}, "sample 0")["t"][name]
                found = None if isinstance(found, str) else found  # the reader refuses it
            except UserError:
                found = None
            try:
                assert NUMBER(other.write(x), **exported) == found
            except ValueError:
                assert found is None
            if found is not None:
                check(shape, other, x, found, "have no" * bool(fields.notes))
