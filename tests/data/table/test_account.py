"""Every column is accounted for: what it is used as, or why it is left out."""

import itertools
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from altuna.data.table.account import described, from_csv, to_csv
from altuna.data.table.manifest import read_manifest
from altuna.errors import UserError

ROWS = 60
GOOD = {
    "label": [f"c{i % 3}" for i in range(ROWS)],
    "note": [f"word{i % 7} and {i}" for i in range(ROWS)],
    "acc_x": [i * 0.37 % 5 for i in range(ROWS)],
    "acc_y": [i * 0.11 % 3 for i in range(ROWS)],
}
KEYS = ["".join(random.Random(i).choices("abcdefghijklmnopqrstuvwxyz", k=6)) for i in range(ROWS)]
WORDS = [
    "".join(parts) for parts in itertools.product("bdfgk", ["ar", "il", "ou"], ["ter", "son", "man", "let"])
]
LEFT_OUT = {
    "Unnamed: 0": ([*range(ROWS)], "numbers the rows"),
    "row_id": ([*range(1, ROWS + 1)], "numbers the rows"),
    "shuffled_id": ([i * 7 % ROWS for i in range(ROWS)], "numbers the rows"),
    "sliced_index": ([1000 + i for i in range(ROWS)], "numbers the rows"),
    "customer_id": ([i * 7919 % 100_003 for i in range(ROWS)], "has another id in each row"),
    "sampleId": ([i * 7919 % 100_003 for i in range(ROWS)], "has another id in each row"),
    "key": (KEYS, "has another id in each row"),
    "ref": ([f"{i * 0x9E3779B9 % 36**6 + 36**6:x}"[-6:] for i in range(ROWS)], "has another id in each row"),
    "uuid": (
        [f"{i * 0x9E3779B97F4A7C15 % 2**64:016x}-4a" for i in range(ROWS)],
        "has another id in each row",
    ),
    "booking": ([f"BK-{i * 7:05}" for i in range(ROWS)], "has another id in each row"),
    "usage": (["Training" if i % 3 else "validation" for i in range(ROWS)], "names splits or folds"),
    "cvFold": ([i % 5 for i in range(ROWS)], "names splits or folds"),
    "constant": ([4.5] * ROWS, "has only one value"),
    "unit": (["cm"] * ROWS, "has only one value"),
    "fold": ([i % 5 for i in range(ROWS)], "names splits or folds"),
    "Subset": (["dev" if i % 4 else "final" for i in range(ROWS)], "names splits or folds"),
    "nothing": ([None] * ROWS, "is empty"),
    "tags": ([["a", "b"]] * ROWS, "has cells of the type list<element: string>"),
    " ": ([i * 2 for i in range(ROWS)], "has the row numbers of pandas"),
}
KEPT = {
    "word": WORDS,  # of one length, but to be pronounced
    "plate": [f"{'KLM'[i % 3]}{'PQ'[i % 2]}{i:03}" for i in range(ROWS)],
    "distance": [3 + 2 * i for i in range(ROWS)],
    "reading": [i * 7919 % 100_003 for i in range(ROWS)],  # differs in all rows, but is not called an id
    "code": [f"X{i // 2}" for i in range(ROWS)],  # two rows each
    "day": [f"{2000 + i}-01-01" for i in range(ROWS)],
    "name": [f"owl number {i}" for i in range(ROWS)],
    "air_quality_index": [i * 7919 % 100_003 for i in range(ROWS)],
    "no_of_visitors": [i * 7919 % 100_003 for i in range(ROWS)],
    "rank": [1 + i * 7 % ROWS for i in range(ROWS)],  # in an order of its own
    "year": [1960 + i for i in range(ROWS)],
    "fold_change": [i % 5 / 4 for i in range(ROWS)],
    "protein_fold": [i % 5 for i in range(ROWS)],
    "weight": [f"{i / 10}kg" if i % 2 else f"{i * 100}g" for i in range(ROWS)],
    "range": [f"{i}-{i + 10}" for i in range(ROWS)],
    "cabin": [f"{'AB'[i % 2]}{i + 10}" for i in range(ROWS)],
    "hint": [f"#{('good', 'bad')[i % 2]}{i}" for i in range(ROWS)],
    "count": [i // 2 for i in range(ROWS)],  # is no row's alone
    "presence": [1.0 if i % 3 else None for i in range(ROWS)],  # a gap may tell something
}


def manifest(tmp_path, columns, **options):
    pq.write_table(pa.table({**GOOD, **columns}), tmp_path / "t.parquet")
    return read_manifest(tmp_path / "t.parquet", **options)


def uses(manifest):
    return {column.column: column.used_as or column.reason for column in manifest.account}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_column_that_tells_nothing_is_left_out(name, tmp_path):
    values, reason = LEFT_OUT[name]
    found = manifest(tmp_path, {name: values})
    assert uses(found)[name.strip()] == reason
    assert {*found.modalities} == {"note", "acc"}
    if name not in ("tags", "nothing"):  # asked for, it is used
        assert {*manifest(tmp_path, {"x": values}, modalities={"x": {}}).modalities} == {"x"}


@pytest.mark.parametrize("name", KEPT)
def test_others_are_used(name, tmp_path):
    found = manifest(tmp_path, {name: KEPT[name]})
    assert any(name in modality.columns for modality in found.modalities.values())


def test_numbers_in_another_order_are_used_with_a_doubt(tmp_path):
    account = manifest(tmp_path, {"rank": KEPT["rank"]}).account
    assert next(c.reason for c in account if c.column == "rank").startswith("doubtful: has each number once")


def test_every_column_is_in_the_account_once(tmp_path):
    columns = {name: values for name, (values, _) in LEFT_OUT.items()}
    found = manifest(tmp_path, columns, ignore=["note"])
    assert [column.column for column in found.account] == found.table.column_names
    assert uses(found)["label"] == "label"
    assert uses(found)["acc_x"] == uses(found)["acc_y"] == "acc (vector)"
    assert uses(found)["note"] == "is to be ignored"
    lines = described(found.account)
    assert len(lines) == 2
    assert lines[0] == "columns: label; acc (vector) from acc_x, acc_y"
    assert "constant, unit (has only one value)" in lines[1]
    assert tuple(from_csv(to_csv(found.account))) == found.account


def test_stated_modalities_leave_the_others_out(tmp_path):
    found = manifest(tmp_path, {}, modalities={"note": {}})
    assert uses(found)["acc_x"] == "is in none of the modalities"


@pytest.mark.parametrize("copy", [[i % 3 for i in range(ROWS)], [f"k{i % 3}" for i in range(ROWS)]])
def test_a_copy_of_the_label_is_remarked_on(copy, tmp_path):
    (note,) = manifest(tmp_path, {"my target": copy}).notes
    assert note.startswith("column 'my target' has one value for each label")
    assert note.endswith("--ignore 'my target'")
    almost = [*copy[:-6], *copy[-5:], copy[0]]
    assert not manifest(tmp_path, {"my target": almost}).notes


def test_small_tables_and_tables_for_prediction_are_not_judged_by_their_values(tmp_path):
    few = {name: values[:6] for name, values in GOOD.items()}
    pq.write_table(pa.table({**few, "row": [*range(6)]}), tmp_path / "few.parquet")
    assert "row" in read_manifest(tmp_path / "few.parquet").modalities
    assert "unit" in manifest(tmp_path, {"unit": ["cm"] * ROWS}, lenient=True).modalities


def test_the_only_column_is_used(tmp_path):
    pq.write_table(pa.table({"label": GOOD["label"], "time": [*range(ROWS)]}), tmp_path / "t.parquet")
    assert "time" in read_manifest(tmp_path / "t.parquet").modalities


def test_names_of_roles_are_understood_in_any_case(tmp_path):
    columns = {"Label": GOOD["label"], "ID": [f"s{i}" for i in range(ROWS)], "acc": GOOD["acc_x"]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    found = read_manifest(tmp_path / "t.parquet")
    assert found.columns == {"label": "Label", "id": "ID"}
    assert found.labels.to_pylist() == GOOD["label"]
    assert {*found.modalities} == {"acc"}


@pytest.mark.parametrize(
    ("ignore", "words"),
    [
        ("notes", "ignore: no column 'notes'; did you mean 'note'"),
        ("label", "ignore: 'label' is the column of"),
    ],
)
def test_mistakes_in_ignore(ignore, words, tmp_path):
    with pytest.raises(UserError, match=words):
        manifest(tmp_path, {}, ignore=[ignore])


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("row", [float(i) for i in range(ROWS)], "numbers the rows"),
        ("Unnamed: 0", [3 * i + i % 2 for i in range(ROWS)], "has the row numbers of pandas"),
        ("is_train", [i % 3 > 0 for i in range(ROWS)], "names splits or folds"),
        (
            "Usage",
            [("Training", "PublicTest", "PrivateTest")[i % 3] for i in range(ROWS)],
            "names splits or folds",
        ),
    ],
)
def test_more_columns_of_bookkeeping(name, values, reason, tmp_path):
    account = {c.column: c.reason for c in manifest(tmp_path, {name: values}).account}
    assert account[name] == reason


def test_an_account_names_a_column_without_a_name():
    from altuna.data.table.account import Column

    assert described([Column("", "", "is empty")])[-1] == "left out: a column without a name (is empty)"
