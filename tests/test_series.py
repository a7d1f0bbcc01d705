"""A run of series, from lists to report, demo, export and predictions: all read them alike."""

import json
import runpy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import altuna
from altuna.data.readers.series import SeriesReader
from altuna.data.readers.steps import load_steps
from altuna.demo.answer import answer
from altuna.demo.samples import sampler
from altuna.errors import UserError
from altuna.export import export as exporting

READ = runpy.run_path(str(Path(exporting.__file__).parent / "scripts" / "readers.py"))["READERS"]["series"]
RAGGED = Path(__file__).parents[2] / "shared" / "cases" / "ragged-lists" / "table.jsonl"
SMALL = {"imu": {"width": 4, "depth": 3}, "beat": "random_convolutions"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two series: three columns of lists, and files of arrays; their frequency is the class."""
    folder, rng = tmp_path_factory.mktemp("series"), np.random.default_rng(0)
    rows = []
    for i in range(60):
        c, steps = i % 2, int(rng.integers(8, 30))
        waves = np.sin((0.4 + 0.8 * c) * np.arange(steps)[:, None] + rng.uniform(0, 6, 3))
        waves += rng.normal(0, 0.2, waves.shape)
        np.save(folder / f"{i}.npy", waves[:, :2])
        split = ("train", "train", "val", "test")[i // 2 % 4]
        lists = {f"imu_{axis}": waves[:, j].tolist() for j, axis in enumerate("xyz")}
        rows.append({"id": str(i), "split": split, "label": "ab"[c], **lists, "beat": f"{i}.npy"})
    rows[0]["imu_x"][2] = None
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), folder / "data.parquet")
    options = {"encoders": SMALL, "epochs": 6, "batch_size": 8, "quiet": True, "out": folder / "run"}
    return altuna.fit(folder / "data.parquet", method="late_fusion", **options)


def test_it_learns_from_all_rows(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["n"] == metrics["modalities"]["imu"]["n"] == metrics["modalities"]["beat"]["n"] == 14
    assert metrics["fused"]["accuracy"] > 0.8
    config = json.loads((run / "config.json").read_text())["modalities"]
    assert config["imu"]["columns"] == ["imu_x", "imu_y", "imu_z"]
    assert config["imu"]["reader"]["channels"] == 3
    problems = (run / "problems.csv").read_text()
    assert "1 of" in problems
    assert "numbers are empty: imputed by the training means" in problems


def test_the_report_draws_series(run):
    report = (run / "report.html").read_text()
    assert "steps of 3 channels, in standard deviations from the mean of each" in report
    assert "cannot be shown" not in report


def test_samples_in_every_form_are_predicted_alike(run):
    model = altuna.load(run, device="cpu")
    table = pyarrow.parquet.read_table(run.parent / "data.parquet")
    row = table.to_pylist()[6]
    steps = np.array([row[f"imu_{axis}"] for axis in "xyz"]).T
    forms = [
        {"imu": steps},
        {"imu": steps.tolist()},
        {"imu": {axis: row[f"imu_{axis}"] for axis in "xyz"}},
        {f"imu_{axis}": row[f"imu_{axis}"] for axis in "xyz"},
    ]
    found = [model.predict([form])["p_a"][0].as_py() for form in forms]
    assert found == pytest.approx([found[0]] * 4, abs=1e-6)
    whole = model.predict(run.parent / "data.parquet")
    files = [{"beat": run.parent / row["beat"], "imu": steps}]
    assert model.predict(files)["p_a"][0].as_py() == pytest.approx(whole["p_a"][6].as_py(), abs=1e-5)
    with pytest.raises(UserError, match="sample 0, 'imu': has 2 channels, the others have 3"):
        model.predict([{"imu": steps[:, :2]}])


def test_the_demo_shows_examples_as_files(run, tmp_path):
    model = altuna.load(run, device="cpu")
    label, given, unread = sampler(model, str(run), str(tmp_path))()
    assert label in model.classes
    assert not unread
    assert {Path(path).suffix for path in given.values()} == {".parquet", ".npy"}
    assert load_steps(given["imu"]).values.shape[1] == 3
    assert answer(model, given).probabilities is not None
    broken = tmp_path / "broken.csv"
    broken.write_text("x,y\n1,2\n")
    assert "has 2 channels, the others have 3" in answer(model, {"imu": str(broken)}).message


def test_the_demo_takes_files_of_series(run):
    gr = pytest.importorskip("gradio")
    from altuna.demo.page import page

    blocks = page(altuna.load(run, device="cpu"), str(run), None)
    files = [block for block in blocks.blocks.values() if isinstance(block, gr.File)]
    assert {block.label.strip() for block in files} == {"imu", "beat"}


@pytest.mark.slow
def test_the_export_predicts_as_the_model_does(run, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    _, checked = altuna.export.export.export(run, "onnx", out=tmp_path / "onnx")
    assert checked["largest_difference"] < 1e-4
    assert checked["subsets"] == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"length": 4, "channels": 2},
        {"length": 3, "channels": 2, "longer": "resample"},
        {"length": 8, "channels": 2, "source_rate": 10.0, "rate": 20.0},
        {"length": 8, "channels": 2, "rate": 4.0, "source_rate": 10.0, "origin": (1e9, 0.0)},
    ],
)
def test_the_script_of_an_export_reads_as_the_reader_does(settings, tmp_path):
    reader = SeriesReader(**settings)
    steps = np.array([[1e9 + i, i * i] for i in range(6)])
    np.save(tmp_path / "a.npy", steps)
    lines = [",".join(map(str, step)) for step in steps]
    (tmp_path / "b.csv").write_text("\n".join(["x,y", *lines]))
    (tmp_path / "c.csv").write_text("\n".join(lines))
    (tmp_path / "d.csv").write_text(
        "\n".join(["time,x,y", *(f"{i / 5},{line}" for i, line in enumerate(lines))])
    )
    (tmp_path / "e.csv").write_text("x,y\n1,\nNA,4\n5,6\n7,8\n9,1\n")
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(READ(str(path), **reader.settings()), reader.read(path))


@pytest.mark.parametrize(
    "text", ["x,y\n1,nan\n", "x\n1\n", "x,y\n", "x,y\n1e39,1\n", "x,y\n1,left\n", "x,y\n,\n"]
)
def test_the_script_refuses_what_the_reader_refuses(text, tmp_path):
    path, reader = tmp_path / "a.csv", SeriesReader(3, 2)
    path.write_text(text)
    with pytest.raises(Exception):  # noqa: B017, PT011 - their messages differ
        reader.read(path)
    with pytest.raises(ValueError):  # noqa: PT011
        READ(str(path), **reader.settings())


@pytest.mark.slow
@pytest.mark.skipif(not RAGGED.exists(), reason="needs ../shared/cases")
def test_the_case_of_ragged_lists(tmp_path):
    run = altuna.fit(RAGGED, epochs=4, report=False, quiet=True, out=tmp_path / "run", store=tmp_path)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["modalities"]["imu"]["n"] == metrics["n"] == 39
    assert metrics["fused"]["accuracy"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("transforms", [{}, {"series_noise": {}}])
def test_fixed_features_are_the_same_in_folds_and_after_loading(run, tmp_path, transforms):
    """Stored once, or computed by each model: thresholds are those of the training series."""
    found = altuna.fit(
        run.parent / "data.parquet",
        method="late_fusion",
        encoders=dict.fromkeys(("imu", "beat"), "random_convolutions"),
        transforms=dict.fromkeys(("imu", "beat"), transforms),
        estimators="logistic",
        folds=3,
        epochs=3,
        quiet=True,
        report=False,
        out=tmp_path / "run",
    )
    trained = json.loads((found / "metrics.json").read_text())
    table = altuna.load(found, device="cpu").predict(run.parent / "data.parquet")
    of_test = {row["id"]: row["p_a"] for row in table.to_pylist()}
    for row in pyarrow.parquet.read_table(found / "predictions.parquet").to_pylist():
        assert of_test[row["id"]] == pytest.approx(row["p_a"], abs=1e-4)
    assert trained["modalities"]["imu"]["accuracy"] > 0.7
