"""The report: what it says, what it survives, and what Chromium makes of it."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image
from report_data import rows_of, write_manifest

import altuna
from altuna.cli.main import main
from altuna.report import charts, write_report
from altuna.report.drawing import Line, Text, save
from altuna.report.frame import short
from altuna.report.gallery import gallery, kinds_of
from altuna.report.report import MAX_BYTES
from altuna.report.runs import read_runs
from altuna.report.sections import sections
from altuna.report.sections.calibration import confusion
from altuna.report.sections.missing import _subset, missing
from altuna.runs.labels import run_labels
from altuna.text import unique_endings


def test_everything_is_escaped(mixed):
    page = (mixed / "report.html").read_text()
    assert page.count("<script") == 1
    assert 'onerror="' not in page
    assert "&lt;script&gt;" in page
    assert "look &amp; &lt;b&gt;" in page
    assert "http:" not in page
    assert "https:" not in page


def test_kinds_of_samples(mixed):
    (run,) = read_runs([mixed])
    kinds = kinds_of(run)
    names = ("look & <b>", "sound", "text", "acc")
    for i, row in enumerate(run.table.to_pylist()):
        said = [row[f"says_{m}"] for m in names if row[f"present_{m}"]]
        assert all(row[f"says_{m}"] is None for m in names if not row[f"present_{m}"])
        right = row["prediction"] == row["label"]
        assert kinds["disagree"][i] == (len({*said}) > 1)
        assert kinds["rescued"][i] == (right and any(s != row["label"] for s in said))
        assert kinds["broke"][i] == (not right and row["label"] in said)


def test_what_modalities_say_are_the_accuracies_measured(mixed):
    (run,) = read_runs([mixed])
    for m, figures in run.metrics["modalities"].items():
        here = run.present(m)
        assert (run.predicted_by(m) == run.truth)[here].mean() == pytest.approx(figures["accuracy"])
        sure = run.numbers(f"confidence_{m}")[here]
        assert (sure >= 1 / len(run.classes) - 1e-6).all()
    assert next(iter(run.metrics["rates"])) == "0.0"
    assert run.metrics["rates"]["0.0"][0]["accuracy"] == pytest.approx(run.metrics["fused"]["accuracy"])


def test_lost_media_become_notes(mixed, tmp_path):
    (run,) = read_runs([mixed])
    shutil.copytree(mixed.parent, tmp_path / "moved")
    config = (mixed / "config.yaml").read_text().replace(str(mixed.parent), str(tmp_path / "moved"))
    moved = tmp_path / "moved" / "run"
    (moved / "config.yaml").write_text(config)
    whole = gallery(run, MAX_BYTES)
    for file in (tmp_path / "moved").glob("*.png"):
        file.unlink()
    page = write_report([moved]).read_text()
    assert page.count("cannot be shown: no such file") == whole.count("<img ") > 0
    assert page.count("<audio ") == whole.count("<audio ") > 0
    (tmp_path / "moved" / "samples.parquet").unlink()
    page = write_report([moved]).read_text()
    assert "The inputs of the samples cannot be shown" in page
    assert "<audio" not in page
    assert page.count("<article") == whole.count("<article")


def test_each_subset_has_its_calibration_error(mixed):
    page = (mixed / "report.html").read_text()
    (run,) = read_runs([mixed])
    table = page[page.index("All metrics of each subset") :].partition("</table>")[0]
    for figures in run.metrics["subsets"].values():
        assert f"<td>{figures['ece']:.3f}<td>{figures['n']:,}" in table


def test_names_without_end_do_not_fill_the_page(tmp_path):
    rows = rows_of([f"{c} {'x' * 3000} {c}" for c in range(24)], {"train": 3, "val": 2, "test": 3})
    rng = np.random.default_rng(0)
    values = {f"{m}_{j}": rng.normal(size=len(rows)) for m in "abcd" for j in range(3)}
    run = altuna.fit(
        write_manifest(tmp_path, rows, **values), epochs=1, out=tmp_path / "run", quiet=True, report=False
    )
    path = write_report([run])
    assert path.stat().st_size < 3_000_000
    assert "would be too large" not in path.read_text()


def test_figures_that_do_not_fit_are_told(mixed, tmp_path, monkeypatch):
    whole = write_report([mixed], tmp_path / "whole.html").read_text()
    monkeypatch.setattr("altuna.report.report.MAX_BYTES", len(whole) // 6)
    page = write_report([mixed], tmp_path / "page.html").read_text()
    assert 0 < page.count("<figure>") < whole.count("<figure>")
    left_out = whole.count("<figure>") - page.count("<figure>")
    assert f"{left_out} plots are left out: the page would be too large." in page


def test_a_number_that_no_shown_sample_has(tmp_path, recwarn):
    rows = rows_of("ab", {"train": 8, "val": 8, "test": 8})
    values = {
        f"v_{j}": [None if j == 3 and s == "test" else i * 0.5 for i, (s, _) in enumerate(rows)]
        for j in range(12)
    }
    run = altuna.fit(write_manifest(tmp_path, rows, **values), epochs=1, out=tmp_path / "run", quiet=True)
    assert "NaN" not in (run / "report.html").read_text()
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_an_empty_number_is_no_nan(tmp_path):
    rows = rows_of("ab", {"train": 8, "val": 8, "test": 8})
    values = {f"v_{j}": [None if i % 3 == j else float(i) for i in range(len(rows))] for j in range(2)}
    run = altuna.fit(write_manifest(tmp_path, rows, **values), epochs=1, out=tmp_path / "run", quiet=True)
    page = (run / "report.html").read_text()
    assert "<dt>v_0<dd>–" in page
    assert "<dd>nan" not in page


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:99])])
def test_features_that_are_gone_are_told(damage, mixed, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(mixed, run, ignore=shutil.ignore_patterns("checkpoints"))
    damage(run / "features.safetensors")
    page = write_report([run]).read_text()
    assert f"No map: {run / 'features.safetensors'} is missing or damaged." in page
    assert "modality gap" in page


@pytest.mark.slow
def test_of_many_modalities_all_are_among_the_subsets(modalities):
    (run,) = read_runs([modalities])
    labels = {
        s.text for d in missing([run]).parts if not isinstance(d, str) for s in d.shapes if hasattr(s, "text")
    }
    assert "all" in labels
    page = write_report([modalities]).read_text()
    assert "<summary>Modality gap and alignment of 63 of 190 pairs</summary>" in page
    assert "computed for up to 8 modalities" in page


def test_the_only_epoch_is_the_only_tick():
    drawing = charts.line_chart("n", "t", [charts.Series("a", [(1.0, 0.5)], "c0")], "epoch", "accuracy")
    assert [s.text for s in drawing.shapes if isinstance(s, Text) and s.text.isdigit()] == ["1"]


def test_names_that_begin_alike_are_told_apart():
    names = [f"a_class_with_a_long_name_{i}" for i in range(300)]
    assert len({short(name) for name in names}) == 300


def test_the_gallery_keeps_to_its_room(mixed):
    (run,) = read_runs([mixed])
    whole = len(gallery(run, MAX_BYTES).encode())
    room = whole // 2
    assert whole / 4 < len(gallery(run, room).encode()) <= room


def test_of_many_classes_the_most_confused_are_shown(classes):
    (run,) = read_runs([classes])
    drawing = confusion([run]).parts[0]
    assert "20 most confused of 300" in drawing.title
    wrong = run.truth != run.predicted
    pairs = np.concatenate([run.truth[wrong], run.predicted[wrong]])
    most = run.classes[np.bincount(pairs, minlength=300).argmax()]
    assert any(isinstance(s, Text) and s.text == most for s in drawing.shapes)


@pytest.mark.slow
def test_figures_for_papers(alone, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "altuna",
            "report",
            str(alone),
            "--figures",
            str(tmp_path / "figures"),
            "--out",
            str(tmp_path / "page.html"),
        ],
    )
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    page = (tmp_path / "page.html").read_text()
    files = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert len(files) == 2 * page.count("<figure>")
    for file in (tmp_path / "figures").glob("*.png"):
        assert np.asarray(Image.open(file).convert("L")).std() > 1, file
    assert (tmp_path / "figures" / "learning.pdf").read_bytes().startswith(b"%PDF")


def test_figures_need_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(altuna.errors.UserError, match=r"altuna\[report\]"):
        save([], tmp_path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "no such run directory"),
        (lambda folder: folder.mkdir(), "not a finished run: no metrics.json"),
        (lambda folder: folder.touch(), "x: is a file, not a run directory"),
    ],
)
def test_no_run(make, words, tmp_path, capsys, monkeypatch):
    make(tmp_path / "x")
    monkeypatch.setattr(sys, "argv", ["altuna", "report", str(tmp_path / "x")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_runs_that_differ_in_much_are_called_by_their_folders(mixed, alone, monkeypatch):
    assert "encoders=" in read_runs([mixed, alone])[0].name
    monkeypatch.setattr("altuna.runs.labels.MAX_LABEL", 20)
    found = [run.name for run in read_runs([mixed, alone])]
    assert f"({mixed.parent.name}/{mixed.name})" in found[0]
    assert str(mixed) not in found[0]
    assert "encoders=" not in found[0]


def test_without_a_test_split_runs_side_by_side_say_so(mixed, alone, tmp_path):
    page = write_report([mixed, alone], tmp_path / "both.html").read_text()
    assert "There is no test split" in page
    assert "Test accuracy and val accuracy" in page


def test_subsets_are_named_in_short():
    names = ["a", "b", "c", "d", "e"]
    said = {n: _subset(names[:n], names) for n in range(1, 6)}
    assert said == {1: "a", 2: "a + b", 3: "all but d, e", 4: "all but e", 5: "all"}
    assert _subset(["x", "y"], ["x", "y"]) == "x + y"


def test_a_plus_in_a_name_parts_no_subset(mixed, tmp_path):
    shutil.copytree(mixed, tmp_path / "run")
    for name in ("config.json", "metrics.json"):
        path = tmp_path / "run" / name
        path.write_text(path.read_text().replace('"sound"', '"a+b"').replace("sound", "a+b"))
    table = pyarrow.parquet.read_table(tmp_path / "run" / "predictions.parquet")
    table = table.rename_columns([column.replace("sound", "a+b") for column in table.column_names])
    pyarrow.parquet.write_table(table, tmp_path / "run" / "predictions.parquet")
    section = missing(read_runs([tmp_path / "run"]))
    texts = {shape.text for shape in section.parts[1].shapes if isinstance(shape, Text)}
    assert "a+b" in texts
    assert "a+b + text" in texts


def test_a_cell_that_was_not_read_is_no_missing_one(alone, tmp_path):
    shutil.copytree(alone, tmp_path / "run")
    path = tmp_path / "run" / "predictions.parquet"
    table = pyarrow.parquet.read_table(path)
    present = [False, *table["present_text"].to_pylist()[1:]]
    table = table.set_column(table.column_names.index("present_text"), "present_text", pa.array(present))
    pyarrow.parquet.write_table(table, path)
    page = write_report([tmp_path / "run"]).read_text()
    assert page.count("masked or unreadable in this run") == 1


def test_joined_runs_are_called_by_the_folder_of_the_first(monkeypatch):
    configs = [
        {"method": {"name": "mla"}, "seed": seed, "data": "d", "encoders": {"a": 30 * encoder}}
        for seed, encoder in ((0, "x"), (1, "x"), (0, "y"))
    ]
    monkeypatch.setattr("altuna.runs.labels.MAX_LABEL", 20)
    assert run_labels(configs, "pqr") == ["mla (p)", "mla (q)", "mla (r)"]
    assert run_labels(configs, "pqr", joined=True) == ["mla (p)", "mla (p)", "mla (r)"]


def test_ends_of_paths_tell_them_apart(tmp_path):
    paths = [tmp_path / "a" / "run", tmp_path / "b" / "run", tmp_path / "c"]
    assert unique_endings(paths) == ["a/run", "b/run", "c"]
    assert unique_endings([*paths[:1], *paths[:1]]) == ["run", "run"]


def test_modalities_without_a_figure_are_counted(modalities):
    leads = {section.title: section.lead for section in sections(read_runs([modalities]))}
    assert "the first 5 of 20 modalities" in leads["Confusion matrix"]
    assert "the first 5 of 20 modalities" in leads["Calibration"]


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("metrics.json", "{}", "metrics.json: data is missing"),
        ("config.yaml", "a: 1", "config.yaml: data is missing"),
        (
            "config.yaml",
            "{data: x, method: 3, modalities: null, seed: 0}",
            "config.yaml: method must be a mapping of options to values, got 3",
        ),
        ("log.csv", "epoch\n", "log.csv: ends before"),
        ("log.csv", "epoch,a\n" + "1,2\n" * 9, "log.csv, row 1: lacks updates"),
    ],
)
def test_a_folder_that_is_no_run(file, content, words, mixed, tmp_path):
    shutil.copytree(mixed, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    (tmp_path / "run" / file).write_text(content)
    with pytest.raises(altuna.errors.UserError, match=words):
        write_report([tmp_path / "run"])


def test_mistakes(mixed, tmp_path):
    with pytest.raises(altuna.errors.UserError, match="name 1 to 8 runs, got 9"):
        write_report([mixed] * 9)
    with pytest.raises(altuna.errors.UserError, match="is given twice"):
        write_report([mixed, mixed])
    with pytest.raises(altuna.errors.UserError, match="hf:a/b: a model of the hub has no metrics"):
        write_report([Path("hf:a/b")])
    with pytest.raises(OSError, match=r"'/proc/page\.html'$"):  # not a name that nobody gave
        write_report([mixed], Path("/proc/page.html"))
    with pytest.raises(altuna.errors.UserError, match="is a folder"):
        write_report([mixed], tmp_path)
    with pytest.raises(altuna.errors.UserError, match=r"model\.safetensors: give a name that ends in \.html"):
        write_report([mixed], mixed / "model.safetensors")
    shutil.copytree(mixed, tmp_path / "old", ignore=shutil.ignore_patterns("checkpoints"))
    table = pyarrow.parquet.read_table(mixed / "predictions.parquet")
    for column, words in (
        ("says_text", "earlier version"),
        ("label", "predictions.parquet: lacks the column 'label'"),
    ):
        pyarrow.parquet.write_table(table.drop_columns([column]), tmp_path / "old" / "predictions.parquet")
        with pytest.raises(altuna.errors.UserError, match=words):
            write_report([tmp_path / "old"])


def test_fit_without_report(alone, tmp_path):
    assert not (alone / "report.html").exists()
    assert "optimistic" in write_report([alone], tmp_path / "page.html").read_text()


def test_a_title_is_shown_and_paths_are_where_the_data_are():
    points = [(1.0, 0.25), (2.0, 0.75)]
    drawing = charts.line_chart("n", "t", [charts.Series("<a>", points, "c0")], "epoch", "accuracy")
    (line,) = [s for s in drawing.shapes if isinstance(s, Line) and s.title == "<a>"]
    (x0, y0), (x1, y1) = line.points
    assert x0 < x1
    assert y0 > y1
    assert "<title>&lt;a&gt;</title>" in drawing.svg()
    assert "75.0%" in drawing.description
    # Infinite values, as a training that diverged may have, are left out.
    worse = charts.Series("b", [(1.0, float("inf")), (2.0, 0.5)], "c1")
    assert "inf" not in re.sub("<text.*?</text>", "", charts.line_chart("n", "t", [worse], "x", "y").svg())
