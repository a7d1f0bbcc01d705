"""Columns that tell the label without being a part of the sample are remarked on."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from altuna.data.table.manifest import read_manifest

ROWS = 60
LABELS = [f"c{i // 20}" for i in range(ROWS)]  # sorted
NOISE = [i * 0.37 % 5 for i in range(ROWS)]


def notes(folder, **columns):
    pq.write_table(pa.table({"label": LABELS, "noise": NOISE, **columns}), folder / "t.parquet")
    return " ".join(read_manifest(folder / "t.parquet").notes)


@pytest.mark.parametrize(
    "column",
    [
        [i // 20 == 0 for i in range(ROWS)],  # one of a label's columns of 0 and 1
        [f"k{i // 20}" if i % 9 else None for i in range(ROWS)],
        [f"breed {i // 20}{i % 2}" for i in range(ROWS)],  # a part of the label
        [i // 20 if i != 30 else 0 for i in range(ROWS)],
    ],
)
def test_a_column_that_alone_tells_the_label(column, tmp_path):
    assert "--ignore told" in notes(tmp_path, told=column)


@pytest.mark.parametrize(
    "column",
    [
        [1_700_000_000 + 61 * i + i % 7 for i in range(ROWS)],
        [f"2024-0{1 + i // 28}-{1 + i % 28:02}" for i in range(ROWS)],
        [f"{1 + i % 28:02}.0{1 + i // 28}.2024" for i in range(ROWS)],
    ],
)
def test_dates_and_whole_numbers_in_the_order_of_the_labels(column, tmp_path):
    assert "column 'when' has another range for each label" in notes(tmp_path, when=column)
    shuffled = [column[i * 7 % ROWS] for i in range(ROWS)]
    assert "'when'" not in notes(tmp_path, when=shuffled)


@pytest.mark.parametrize(
    "column", [[i % 2 for i in range(ROWS)], [i // 20 + i % 4 * 0.5 for i in range(ROWS)]]
)
def test_other_columns_have_no_remark(column, tmp_path):
    assert "--ignore" not in notes(tmp_path, other=column)


def test_a_label_that_is_a_word_for_a_missing_value_is_named(tmp_path):
    words = [("NA", "DE", "FR")[i % 3] for i in range(ROWS)]
    pq.write_table(pa.table({"label": words, "noise": NOISE}), tmp_path / "t.parquet")
    manifest = read_manifest(tmp_path / "t.parquet")
    assert "'NA' is a class: empty these cells if they have no label (20)" in " ".join(manifest.notes)
    assert {*manifest.labels.to_pylist()} == {*words}
