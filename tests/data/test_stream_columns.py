"""A stream reads its shards as the whole table is read without it, however its cells are written."""

import json
from datetime import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import altuna
from altuna.data.fit_readers import fit_readers
from altuna.data.samples import prepare_stores
from altuna.data.stream.batches import Stream
from altuna.data.table.manifest import read_manifest
from altuna.errors import UserError

ROWS = 120  # of the whole table; the first third is the manifest
SIZES = (20, 30, 30)  # of the shards; the first has no odd cells


def cells_of(usual, odd):
    """Return the cells of the manifest and of the shards; odd ones are in all but the first shard."""
    return [odd[i // 6 % len(odd)] if i % 6 == 0 and not 40 <= i < 60 else usual(i) for i in range(ROWS)]


# By what is odd: usual cells, odd ones, and a type of Parquet that the shards may have as well.
FORMS = {
    "currency": (lambda i: str(i + 7), ["$1,336", "$12", "($5.50)"]),
    "decimal commas": (lambda i: f"{i},5", ["1.234,5", "-0,25", "7"]),
    "units": (lambda i: f"{i} kg", ["12.5kg", "7", "1e2 kg"]),
    "percent": (lambda i: f"{i}%", ["7.5 %", "NA"]),
    "words for missing numbers": (lambda i: str(i * 1.5), ["NA", "n/a", "-", "unknown", " "]),
    "a word of its own": (lambda i: str(i * 1.5), ["on request"]),
    "mistakes": (lambda i: str(i * 1.5), ["7", "8", "hoot?"]),
    "sentinels in texts": (lambda i: f"{i} cm", ["-999", "-999 cm", "NA"]),
    "durations": (lambda i: f"{i % 60}:0{i % 10}", ["1:02:03", "?"]),
    "multiples": (lambda i: str(i * 100), ["1.2M", "3k"]),
    "bounds": (lambda i: f"{i}.5", ["<0.5", "> 200"]),
    "signs": (lambda i: str(i), ["\u22125", "7-", "\u0663"]),
    "written lists": (lambda i: f"[{i}, {i * 2}]", ["[1 2]", "7;8", "(3, 4)", "", "hoot"]),
    "nested lists": (lambda i: f"[[{i}, 1], [2, 3]]" if i % 2 else f"[[{i}, 1]]", ["", "[[1 2]]"]),
    "dates": (lambda i: f"{i % 28 + 1:02}.03.2020", ["NA", "-", "2021-03-04", "?"]),
    "days that could be months": (lambda i: f"{i % 12 + 1}/3/2020", ["25/12/2019", "", "14/02/2020"]),
    "categories": (lambda i: ["red", "blue", "green"][i % 3], ["red ", "1.0", "NA", ""]),
    "codes": (lambda i: f"0{i % 5}067", ["01234", "99999"]),
    "texts": (lambda i: f"an owl hoots {i} times", ["NA", "1.0", "[1, 2]", " "]),
}


def written(folder, cells, kind):
    """Write the manifest, the shards and the whole table; return the manifest and the table."""
    labels = [f"class {i % 2}" for i in range(ROWS)]
    whole = pa.table(
        {"label": labels, "value": cells, "note": [f"word{i % 7} and more" for i in range(ROWS)]}
    )
    names = [f"some.{kind}", f"whole.{kind}"]
    for name, table in zip(names, (whole.slice(0, 40), whole), strict=True):
        if kind == "csv":
            pa.csv.write_csv(table, folder / name)
        else:
            pyarrow.parquet.write_table(table, folder / name)
    start = 40
    for number, size in enumerate(SIZES):
        pyarrow.parquet.write_table(
            whole.slice(start, size), folder / f"shard-{number}.parquet", row_group_size=7
        )
        start += size
    return [read_manifest(folder / name) for name in names]


def check_equal(folder, some, whole):
    """Check that the stream has the tensors of the whole table, and return the stream."""
    described = [
        {n: (m.type, m.columns, m.kinds) for n, m in one.modalities.items()} for one in (some, whole)
    ]
    assert described[0] == described[1]
    assert some.formats == whole.formats
    readers = fit_readers(some, np.arange(40), {})
    assert "value" in readers
    stores = prepare_stores(whole, readers, folder / "store")
    stream = Stream(
        str(folder / "shard-*.parquet"),
        some,
        readers,
        ("class 0", "class 1"),
        batch_size=16,
        seed=0,
        buffer=40,
    )
    present = {name: set() for name in readers}
    for batch in stream:
        for name, cells in batch.inputs.items():
            rows = batch.indices[batch.rows[name]].numpy() + 40
            present[name] |= {*rows.tolist()}
            want = stores[name].array.take(stores[name].position[rows], 0)
            np.testing.assert_array_equal(cells.numpy(), want)
    for name, store in stores.items():
        assert present[name] == {*(np.flatnonzero(store.position[40:] >= 0) + 40).tolist()}
    return stream


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_as_in_the_whole_table(tmp_path, form, kind):
    cells = cells_of(*FORMS[form])
    some, whole = written(tmp_path, cells, kind)
    check_equal(tmp_path, some, whole)


NATIVE = {
    "NaN": lambda i: float("nan") if i % 7 == 0 and not 40 <= i < 60 else i * 0.5,
    "sentinels": lambda i: -999 if i % 9 == 0 and not 40 <= i < 60 else i,
    "truth": lambda i: i % 3 == 0,
    "codes": lambda i: i % 4 * 10,
    "large codes": lambda i: 2**60 + i % 4,
    "numbers beyond 2**53": lambda i: 2**60 + i * i,
    "lists": lambda i: [float(i), 2.0] if i % 9 else None,
    "series": lambda i: [float(i)] * (i % 5 + 1),
}


@pytest.mark.parametrize("form", NATIVE)
def test_cells_of_parquet_are_read_as_in_the_whole_table(tmp_path, form):
    some, whole = written(tmp_path, [NATIVE[form](i) for i in range(ROWS)], "parquet")
    check_equal(tmp_path, some, whole)


def stream_of(folder, manifest_cells, shard_cells, column="value", path="some.parquet"):
    """Return the stream of a shard with some cells, whose manifest has others."""
    for name, cells in ((path, manifest_cells), ("shard-0.parquet", shard_cells)):
        notes = [f"word{i % 7} and more" for i in range(len(cells))]
        labels = [f"class {i % 2}" for i in range(len(cells))]
        table = pa.table({"label": labels, column: cells, "note": notes})
        write = pa.csv.write_csv if name.endswith("csv") else pyarrow.parquet.write_table
        write(table, folder / name)
    some = read_manifest(folder / path)
    readers = fit_readers(some, np.arange(len(some)), {})
    classes = ("class 0", "class 1")
    pattern = str(folder / "shard-0.parquet")
    return Stream(pattern, some, readers, classes, batch_size=16, seed=0, buffer=40)


def values_of(stream):
    """Return the cells of the modality in the order of the rows."""
    found = {}
    for batch in stream:
        numbers = batch.indices[batch.rows["value"]].tolist()
        found |= dict(zip(numbers, batch.inputs["value"].tolist(), strict=True))
    return [found.get(row) for row in range(stream.rows)]


# Other types of the same cells: those of the manifest, and of the shards.
SAME = {
    "texts of numbers": ([i * 1.5 for i in range(40)], [str(i * 1.5) for i in range(40)]),
    "numbers of texts": ([f"${i * 7 % 50}" for i in range(40)], [float(i * 7 % 50) for i in range(40)]),
    "decimals": ([i * 1.5 for i in range(40)], [Decimal(i * 3) / 2 for i in range(40)]),
    "dictionaries": (
        [f"{i * 7 % 50} kg" for i in range(40)],
        pa.array([f"{i * 7 % 50}kg" for i in range(40)]).dictionary_encode(),
    ),
    "views": (
        [f"{i * 7 % 50} kg" for i in range(40)],
        pa.array([f"{i * 7 % 50}kg" for i in range(40)], pa.string_view()),
    ),
    "half precision": ([i * 1.5 for i in range(40)], pa.array(np.arange(40) * 1.5, pa.float16())),
    "codes as floats": ([i % 4 * 10 for i in range(40)], [i % 4 * 10.0 for i in range(40)]),
    "words of truth": ([i % 3 == 0 for i in range(40)], [str(i % 3 == 0) for i in range(40)]),
    "dates": (
        [f"{i % 28 + 1:02}.03.2020" for i in range(40)],
        [datetime(2020, 3, i % 28 + 1) for i in range(40)],
    ),
    "lists of a fixed size": (
        [f"[{i}, 2]" for i in range(40)],
        pa.array([[i, 2] for i in range(40)], pa.list_(pa.float32(), 2)),
    ),
    "texts of lists": ([[float(i), 2.0] for i in range(40)], [f"{i}; 2" for i in range(40)]),
    "categories of numbers": ([["1", "2", "x"][i % 3] for i in range(40)], [i % 2 + 1 for i in range(40)]),
}


@pytest.mark.parametrize("form", SAME)
def test_the_same_cells_of_another_type_are_the_same(tmp_path, form):
    usual, other = SAME[form]
    there = other.to_pylist() if isinstance(other, pa.Array) else other
    want = usual if form != "categories of numbers" else [str(cell) for cell in there]
    assert values_of(stream_of(tmp_path, usual, other)) == values_of(stream_of(tmp_path, usual, want))


def test_names_may_have_blanks_around_them(tmp_path):
    stream = stream_of(tmp_path, [i * 7 % 50 for i in range(40)], [i * 7 % 50 for i in range(40)])
    table = pyarrow.parquet.read_table(tmp_path / "shard-0.parquet")
    pyarrow.parquet.write_table(
        table.rename_columns([" label", "value ", "note"]), tmp_path / "shard-0.parquet"
    )
    assert values_of(stream) == [[float(i * 7 % 50)] for i in range(40)]


@pytest.mark.parametrize(
    ("usual", "odd", "words"),
    [
        (
            lambda i: f"{i * 7 % 50}",
            "$1,336",
            r"row 31, column 'value': '\$1,336' is not written as in .*some\.parquet",
        ),
        (lambda i: f"{i * 7 % 50}", "1,336", r"row 31, column 'value': '1,336' is not written"),
        (lambda i: f"{i * 7 % 50}", "<0.5", r"row 31, column 'value': '<0.5' is not written"),
        (lambda i: f"{i * 7 % 50}:30", "1:02:03", r"row 31, column 'value': '1:02:03' is not written"),
        (lambda i: f"{i * 7 % 50} kg", "1.2M", r"row 31, column 'value': '1.2M' is not written"),
        (
            lambda i: f"{i % 12 + 1}/3/2020",
            "25/12/2019",
            r"row 31, column 'value': '25/12/2019' is not written",
        ),
        (
            lambda i: f"{i * 7 % 50}",
            "-999",
            r"row 31, column 'value': -999 seems to stand for a missing number",
        ),
        (lambda i: i * 7 % 50, -999, r"row 31, column 'value': -999 seems to stand for a missing number"),
    ],
)
def test_what_only_the_shards_tell_is_refused(tmp_path, usual, odd, words):
    cells = [usual(i) for i in range(600)]
    stream = stream_of(tmp_path, cells[:40], [*cells[:30], odd, *cells[31:]])
    with pytest.raises(UserError, match=r"shard-0\.parquet, " + words):
        list(stream)


def test_what_a_whole_table_would_have_as_text_is_refused(tmp_path):
    stream = stream_of(
        tmp_path, [str(i * 7 % 50) for i in range(40)], [str(i) if i % 3 else f"no{i}?" for i in range(60)]
    )
    with pytest.raises(UserError, match=r"column 'value': 20 of 60 cells are not numbers.*row 1 is 'no0\?'"):
        list(stream)


def test_what_counts_as_missing_is_counted_once(tmp_path):
    cells = ["-999" if i in (5, 6) else "NA" if i % 10 == 0 else f"{i * 7 % 50} cm" for i in range(40)]
    stream = stream_of(tmp_path, cells, [*cells * 2, "hoot", "tu-whit", *cells])
    for epoch in range(2):
        stream.set_epoch(epoch)
        assert [row for row, cell in enumerate(values_of(stream)) if cell is None][:4] == [0, 5, 6, 10]
        (problem,) = stream.all_problems()
        assert (problem.row, problem.column, problem.kind) == (0, "value", "note")
        assert problem.reason.startswith("read as missing: 'NA' (12), -999 (6); stream: ")
        assert problem.reason.endswith("row 81 is 'hoot', not understood (1 more such cells): missing")


def test_a_text_that_is_not_utf8_is_named_by_its_row(tmp_path):
    stream = stream_of(tmp_path, [*range(40)], [*range(600)])
    table = pyarrow.parquet.read_table(tmp_path / "shard-0.parquet")
    notes = [b"\xff" if i == 550 else b"hoot" for i in range(600)]
    broken = pa.array(notes, pa.binary()).view(pa.string())
    pyarrow.parquet.write_table(table.set_column(2, "note", broken), tmp_path / "shard-0.parquet")
    with pytest.raises(
        UserError, match=r"stream: .*shard-0\.parquet, row 551, column 'note': the text is not"
    ):
        list(stream)


@pytest.mark.parametrize("form", ["currency", "written lists"])
def test_a_training_on_a_stream_accounts_for_columns_as_one_without(tmp_path, form):
    cells = cells_of(*FORMS[form])
    written(tmp_path, cells, "csv")
    options = {"epochs": 1, "batch_size": 32, "quiet": True, "store": tmp_path / "store", "report": False}
    streamed = altuna.fit(
        tmp_path / "some.csv", out=tmp_path / "a", stream=str(tmp_path / "shard-*.parquet"), **options
    )
    plain = altuna.fit(tmp_path / "whole.csv", out=tmp_path / "b", **options)

    def uses(run):
        account = pa.csv.read_csv(run / "columns.csv").to_pylist()
        return [(row["column"], row["used_as"]) for row in account]

    def described(run):
        modalities = json.loads((run / "config.json").read_text())["modalities"]
        return {n: (m["type"], m["columns"], m.get("formats")) for n, m in modalities.items()}

    assert uses(streamed) == uses(plain)
    assert described(streamed) == described(plain)
    remarks = (streamed / "problems.csv").read_text()
    assert ("not understood" in remarks) == (form == "written lists")


def test_what_readers_remark_is_counted(tmp_path):
    colours = [["red", "blue", "green"][i % 3] for i in range(40)]
    stream = stream_of(tmp_path, colours, [*colours, "pink", "grey", *colours, "pink"])
    for epoch in range(2):
        stream.set_epoch(epoch)
        list(stream)
        (problem,) = stream.all_problems()
        assert problem.column == "value"
        assert problem.reason.startswith("value: cells with a rare or new category: 3 (")


def test_remarks_on_cells_are_counted(tmp_path):
    lists = [[float(i), None if i % 4 == 0 else 1.0] for i in range(40)]
    stream = stream_of(tmp_path, lists, lists)
    list(stream)
    (problem,) = stream.all_problems()
    assert (
        problem.reason
        == "remarks on cells: 10, the first is: 1 of 2 numbers are empty: imputed by the training means"
    )


def test_numbers_without_the_unit_are_counted(tmp_path):
    cells = [f"{i * 7 % 50} kg" for i in range(40)]
    for bare in ([str(i) for i in range(40)], [float(i) for i in range(40)]):
        stream = stream_of(tmp_path, cells, bare)
        assert values_of(stream) == [[float(i)] for i in range(40)]
        (problem,) = stream.all_problems()
        assert problem.reason == "39 numbers have no 'kg': read as of one scale with the others"


def test_dates_that_are_not_understood_are_counted(tmp_path):
    cells = [f"{i % 28 + 1:02}.03.2020" for i in range(40)]
    stream = stream_of(tmp_path, cells, [*cells[:20], "soon", *cells])
    list(stream)
    (problem,) = stream.all_problems()
    assert "missing, as they are no dates like %d.%m.%Y: 1 cells" in problem.reason
