"""Tables, frames and records that lack, rename or leave out columns of training."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import altuna
from altuna.errors import UserError
from altuna.reporting import SILENT
from altuna.runs.columns import matched

CLASSES = ["cat", "cow", "dog"]
HEADER = ["id", "label", "note", "len_cm", "len_mm", "code", "room"]


def rows(start, number):
    """A vector tells the class; note and code (digits that are text) add nothing."""
    random = np.random.default_rng(start)
    for i in range(start, start + number):
        cm, mm = random.normal([i % 3, -(i % 3)], 0.1).round(3).tolist()
        yield [f"s{i}", CLASSES[i % 3], f"word{i % 5}", cm, mm, f"00{i % 4}", "hall"]


def write(path, header, lines):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("input")
    write(folder / "train.csv", HEADER, rows(0, 120))
    modalities = {"note": {}, "len": {"prefix": "len_"}, "code": {"type": "text"}}
    options = {"modalities": modalities, "epochs": 30, "batch_size": 16, "store": folder / "store"}
    return altuna.fit(folder / "train.csv", out=folder / "run", report=False, quiet=True, **options)


@pytest.fixture(scope="module")
def model(run):
    return altuna.load(run)


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    return write(tmp_path_factory.mktemp("new") / "new.csv", HEADER, rows(500, 30))


def written(tmp_path, change, header=HEADER):
    return write(tmp_path / "new.csv", header, [change([*row]) for row in rows(500, 30)])


def same(one, other):
    assert one["prediction"].to_pylist() == other["prediction"].to_pylist()
    for name in ("present_note", "present_len", "present_code"):
        assert one[name].to_pylist() == other[name].to_pylist(), name
    np.testing.assert_allclose(one["p_cow"].to_pylist(), other["p_cow"].to_pylist(), atol=1e-5)


def test_a_column_that_is_lacking_is_imputed_as_empty_cells_are(model, tmp_path, capsys):
    lacking = written(tmp_path, lambda r: r[:4] + r[5:], [*HEADER[:4], *HEADER[5:]])
    found = model.predict(lacking)
    told = capsys.readouterr().err
    assert f"{lacking}: 'len' lacks column 'len_mm': imputed\n" in told
    same(found, model.predict(written(tmp_path, lambda r: [*r[:4], "", *r[5:]]), reporter=SILENT))
    right = np.mean([CLASSES[i % 3] == found["prediction"][i - 500].as_py() for i in range(500, 530)])
    assert right > 0.6  # by the other column alone; without the vector it would be a third
    near = model.predict(written(tmp_path, lambda r: r, [*HEADER[:4], "len mm", *HEADER[5:]]))
    assert "'len' lacks column 'len_mm' (near: 'len mm'): imputed" in capsys.readouterr().err
    same(near, found)


def test_a_modality_without_its_columns_is_named_with_near_names(model, tmp_path, capsys):
    header = ["id", "label", "nota", "long", "wide", "code", "room"]
    assert not any(model.predict(written(tmp_path, lambda r: r, header))["present_len"].to_pylist())
    lines = capsys.readouterr().err.splitlines()
    assert f"{tmp_path}/new.csv: 'note' is absent in all rows: no column 'note' (near: 'nota')" in lines
    assert f"{tmp_path}/new.csv: 'len' is absent in all rows: no columns 'len_cm', 'len_mm'" in lines
    model.predict(written(tmp_path, lambda r: [*r[:2], " ", *r[3:]]))
    assert "'note' is absent in all rows: nothing in column 'note'" in capsys.readouterr().err


def test_a_name_that_differs_in_blanks_and_case_is_taken(model, new, tmp_path, capsys):
    header = ["id", "label", "NOTE", " Len_CM", "len_mm ", "Code", "room"]
    same(model.predict(written(tmp_path, lambda r: r, header)), model.predict(new))
    told = capsys.readouterr().err
    for name, own in (("NOTE", "note"), ("Len_CM", "len_cm"), ("Code", "code")):
        assert f"the column {name!r} is read as {own!r}" in told


def test_which_names_are_taken():
    assert matched(["a", "b"], ["A", "a", "B", "b "]) == {"a": "a"}  # b may be either
    assert matched(["a b", "A B"], ["ab"]) == {}  # it may be either
    assert matched(["caf\u00e9"], ["Cafe\u0301 "]) == {"caf\u00e9": "Cafe\u0301 "}


def test_a_row_with_nothing_has_nulls(model, new, tmp_path, capsys):
    empty = written(tmp_path, lambda r: [*r[:2], *[""] * 5] if r[0] == "s504" else r)
    found, whole = model.predict(empty), model.predict(new)
    assert found["id"].to_pylist() == whole["id"].to_pylist()
    assert [i for i, p in enumerate(found["prediction"].to_pylist()) if p is None] == [4]
    same(found.slice(5), whole.slice(5))
    assert "rows without any of the model's modalities: 1 of 30" in capsys.readouterr().err
    table = model.predict([{"note": ""}, {}, {"id": "x", "note": "word1"}])
    assert table["id"].to_pylist() == ["0", "1", "x"]
    assert [p is None for p in table["prediction"].to_pylist()] == [True, True, False]
    assert table["n_modalities"].to_pylist() == [None, None, 1]


class Frame:
    """A frame as polars has it."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, schema=None):
        return self.table.__arrow_c_stream__(schema)

    def to_dicts(self):
        return self.table.to_pylist()


def test_frames_and_their_records_are_predicted_as_the_table_is(model, new):
    whole = model.predict(new)
    given = [*csv.DictReader(new.open())]
    table = pa.table({name: [row[name] for row in given] for name in HEADER})
    for i in (3, 4):
        table = table.set_column(i, HEADER[i], pa.array([float(x) for x in table[i].to_pylist()]))
    for data in (given, iter(given), table, Frame(table), Frame(table).to_dicts(), table.to_batches()[0]):
        same(model.predict(data), whole)
    own = [
        {"note": r["note"], "len": [float(r["len_cm"]), float(r["len_mm"])], "code": r["code"]} for r in given
    ]
    same(model.predict(own), whole)


def test_nan_within_lists_of_a_frame_is_missing(model):
    frame = pa.table({"len": [[1.0, float("nan")], [1.0, -1.0], [float("nan")] * 2], "note": ["word1"] * 3})
    found = model.predict(frame)
    assert found["present_len"].to_pylist() == [True, True, False]
    same(found.slice(0, 1), model.predict([{"len": [1.0, None], "note": "word1"}]))


def test_pandas(model, new):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(new, dtype={"code": str})
    for data in (frame, frame.to_dict("records"), frame.astype({"note": "category"}), frame.set_index("id")):
        same(model.predict(data), model.predict(new))
    assert model.predict(frame.set_index("id"))["id"].to_pylist() == frame["id"].tolist()
    frame.loc[4, ["len_cm", "len_mm"]] = float("nan")
    frame.loc[4, ["note", "code"]] = pandas.NA
    for data in (frame, frame.to_dict("records")):
        assert [i for i, p in enumerate(model.predict(data)["prediction"].to_pylist()) if p is None] == [4]
    frame["len"] = [np.zeros((2, 1)) if i else None for i in range(30)]  # which Arrow does not hold
    found = model.predict(frame.drop(columns=["len_cm", "len_mm"]))
    assert found["present_len"].to_pylist() == [False] + [True] * 29


def missing_values():
    yield from (None, float("nan"), np.float32("nan"), "", " \t", type("NAType", (), {})())
    yield type("NaTType", (), {})()


@pytest.mark.parametrize("value", [*missing_values()], ids=lambda value: type(value).__name__)
def test_what_is_missing_in_python(value, model):
    (row,) = model.predict([{"note": value, "code": "001", "len": value}]).to_pylist()
    assert [row[f"present_{name}"] for name in ("note", "code", "len")] == [False, True, False]
    (row,) = model.predict([{"len_cm": 1.0, "len_mm": value}]).to_pylist()
    (bare,) = model.predict([{"len": [1.0, None]}]).to_pylist()
    assert row == bare
    (row,) = model.predict([{"note": "word1", "len_cm": value, "len_mm": value}]).to_pylist()
    assert not row["present_len"]


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([{"nte": "a"}], "sample 0: unknown modality or column 'nte'; did you mean 'note'?"),
        ([{"note": "a"}, {"len_xx": 1}], "sample 1: unknown modality or column 'len_xx'"),
        ([{3: "a"}], "unknown modality or column '3'"),
        ([{"len": [1, 2], "len_mm": 3}], "'len' is given twice, as a whole and by its column 'len_mm'"),
        ([{"len_mm": "high"}], "sample 0, 'len': not a number: 'high'"),
        ([{"len": [1, 2, 3]}], "sample 0, 'len': a vector of 3 numbers, the others have 2"),
        ([{}, {"note": float("nan")}], "no sample has any of the model's modalities: note, len, code"),
        ([], "there is no sample"),
        ({"note": "a"}, "give the path of a manifest"),
        (["a"], "give the path of a manifest"),
        (7, "int: cannot be read as a table"),
    ],
)
def test_what_cannot_be_predicted(samples, words, model):
    with pytest.raises(UserError) as caught:
        model.predict(samples)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_columns_of_training_are_passed_over(model, capsys):
    others = {"id": "a", "label": "cat", "room": "hall", "split": "test", "group": None}
    model.predict([{**others, "note": "word1", "len_cm": 1, " len_mm": 2, "code": "1"}])
    assert capsys.readouterr().err == "samples: ' len_mm' is read as 'len_mm'\n"


def test_notes_on_records_come_once(run, capsys):
    model = altuna.load(run)
    for _ in range(3):
        model.predict([{"note": "word1", "len_cm": 1.0}])
    lines = capsys.readouterr().err.splitlines()
    assert lines.count("samples: 'len' lacks column 'len_mm': imputed") == 1
    assert lines.count("samples: 'code' is absent in all of them") == 1
    assert lines.count("sample 0, 'len': 1 of 2 numbers are empty: imputed by the training means") == 1
    assert len(lines) == 3


def test_the_command_prints_notes_and_predicts(run, tmp_path, capsys):
    from altuna.runs.predict import predict_to_file
    from altuna.terminal.console import reporter

    lacking = written(tmp_path, lambda r: r[:4] + r[5:], [*HEADER[:4], *HEADER[5:]])
    assert predict_to_file(run, str(lacking), tmp_path / "p.csv", reporter=reporter(False)) == 30
    assert "'len' lacks column 'len_mm': imputed" in capsys.readouterr().err


def test_cells_of_hugging_face_data_sets():
    from altuna.data.readers import READERS
    from altuna.runs.records import plain

    image, audio = READERS["image"](8), READERS["audio"](8000, 0.1)
    assert plain(image, {"bytes": b"x", "path": "a.png"}, "") == b"x"
    assert plain(image, {"bytes": None, "path": "a.png"}, "") == "a.png"
    assert plain(image, {"bytes": None, "path": None}, "") is None
    assert plain(audio, {"array": [0.5], "sampling_rate": 8000, "path": "a.wav"}, "") == ([0.5], 8000)


CASE = Path(__file__).parents[3] / "shared" / "cases" / "predict-lacks-a-column"


@pytest.mark.slow
@pytest.mark.skipif(not CASE.exists(), reason="the shared cases are not there")
def test_the_shared_case_of_a_column_that_is_lacking(tmp_path):
    run = altuna.fit(CASE / "train.csv", epochs=15, report=False, quiet=True, out=tmp_path / "run")
    model = altuna.load(run)
    found = {name: model.predict(CASE / f"new_{name}.csv") for name in ("whole", "lacks_one", "renamed")}
    assert all(all(table["present_len"].to_pylist()) for table in found.values())
    assert found["renamed"].equals(found["whole"])
    labels, predictions = (found["lacks_one"][name].to_numpy() for name in ("label", "prediction"))
    assert np.mean(labels == predictions) > 0.45  # a third is chance
    empty = model.predict(CASE / "new_one_empty_row.csv")["prediction"]
    assert (len(empty), empty.null_count) == (40, 1)
