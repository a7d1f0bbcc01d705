"""Which columns form the tabular modality, and which types can be stated."""

import pytest

from altuna.data.table.manifest import read_manifest
from altuna.errors import UserError


def table(folder, rows=40, **columns):
    """A table whose columns are functions of the row number."""
    lines = [",".join(["label", *columns])]
    lines += [
        ",".join(["ab"[i % 2], *(f'"{column(i)}"' for column in columns.values())]) for i in range(rows)
    ]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return folder / "t.csv"


def number(i):
    return i * 37 % 101 / 4


def colour(i):
    return ["red", "blue", "dark green"][i % 3]


def day(i):
    return f"2024-01-{i % 28 + 1:02}"


def words(i):
    return f"the {colour(i)} owl of row {i}"


def found(path, **options):
    manifest = read_manifest(path, **options)
    return {name: (m.type, m.columns) for name, m in manifest.modalities.items()}


def test_numbers_categories_and_dates_form_one_modality(tmp_path):
    path = table(tmp_path, age=number, colour=colour, born=day, hint=words, income=number)
    manifest = read_manifest(path)
    assert found(path) == {
        "hint": ("text", ("hint",)),
        "tabular": ("tabular", ("age", "colour", "born", "income")),
    }
    assert manifest.modalities["tabular"].kinds == ("number", "category", "%Y-%m-%d", "number")
    uses = {column.column: column.used_as for column in manifest.account}
    assert uses["colour"] == "tabular (category)"
    assert uses["born"] == "tabular (date)"


@pytest.mark.parametrize(
    ("columns", "vectors"),
    [
        (["acc_x", "acc_y"], {"acc"}),
        (["f0", "f1", "age"], {"f", "age"}),
        (["f0", "f1", "age", "income"], {"f"}),
        (["acc_0", "gyro_0"], {"acc", "gyro"}),
        (["acc.x", "age", "income"], {"acc"}),
        (["wind.speed", "age"], set()),
        (["acc_x", "acc_y", "age", "income"], {"acc"}),
        (["acc_mean", "acc_std", "acc_max", "age", "income"], {"acc"}),
        (["room_count", "room_size"], {"room"}),
        (["room_count", "room_size", "age", "income"], set()),
        (["age"], {"age"}),
        (["age", "income"], set()),
        ([str(i) for i in range(12)], set()),
    ],
)
def test_columns_with_a_prefix_are_a_vector(columns, vectors, tmp_path):
    modalities = found(table(tmp_path, **dict.fromkeys(columns, number)))
    assert {name for name, (kind, _) in modalities.items() if kind == "vector"} == vectors
    assert ("tabular" in modalities) == (len(columns) > sum(len(modalities[v][1]) for v in vectors) + 1)


@pytest.mark.parametrize("name", ["note", "text", "Review", "product_title", "captions"])
def test_a_column_that_is_called_a_text_is_one(name, tmp_path):
    assert found(table(tmp_path, **{name: colour})) == {name: ("text", (name,))}


def test_few_rows_tell_too_little(tmp_path):
    assert found(table(tmp_path, rows=12, colour=colour))["colour"][0] == "text"


def test_types_can_be_stated(tmp_path):
    path = table(tmp_path, zip=lambda i: f"{i % 3:05}", colour=colour, born=day, age=number)
    types = {"zip": "category", "colour": "text", "born": "text"}
    manifest = read_manifest(path, types=types)
    assert found(path, types=types) == {
        "colour": ("text", ("colour",)),
        "born": ("text", ("born",)),
        "tabular": ("tabular", ("zip", "age")),
    }
    assert manifest.table["zip"][1].as_py() == "00001"


def test_modalities_may_be_tabular(tmp_path):
    path = table(tmp_path, age=number, colour=colour, born=day, income=number)
    stated = {"person": {"type": "tabular", "columns": ["age", "born"]}, "colour": {"type": "category"}}
    manifest = read_manifest(path, stated)
    assert manifest.modalities["person"].kinds == ("number", "%Y-%m-%d")
    assert manifest.modalities["colour"].kinds == ("category",)


@pytest.mark.parametrize(
    ("types", "words"),
    [
        ({"age": "numbr"}, "types.age: unknown type 'numbr'; did you mean 'number'?"),
        ({"agee": "number"}, "types: no column 'agee'; did you mean 'age'?"),
        ({"label": "category"}, "types: 'label' has the ids, splits, labels or groups"),
        ({"colour": "number"}, "row 1, column 'colour': 'red': is not a number"),
        ({"colour": "date"}, "row 1, column 'colour': 'red': is no date"),
    ],
)
def test_types_that_do_not_fit(types, words, tmp_path):
    with pytest.raises(UserError) as error:
        read_manifest(table(tmp_path, age=number, colour=colour), types=types)
    assert words in str(error.value)


def test_pairs_of_columns_with_several_prefixes_are_one_tabular_modality(tmp_path):
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    found = read_manifest(table(tmp_path, **dict.fromkeys(names, number))).modalities
    assert found["tabular"].columns == names
    found = read_manifest(table(tmp_path, acc_x=number, acc_y=number, gyr_x=number, gyr_y=number)).modalities
    assert [*found] == ["acc", "gyr"]
