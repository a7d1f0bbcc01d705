"""The report: what it says, what it survives, and what Chromium makes of it."""

import io
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from media import picture, recording, tone
from PIL import Image
from rich.console import Console

import altuna
from altuna.cli.main import main
from altuna.core.outputs import Features
from altuna.evaluation.feature_map import feature_map
from altuna.evaluation.features import read_features, write_features
from altuna.report import charts, weights_by_class, write_report
from altuna.report.drawing import Line, Text, save
from altuna.report.frame import short
from altuna.report.gallery import gallery, kinds_of
from altuna.report.report import MAX_BYTES
from altuna.report.runs import read_runs
from altuna.report.sections import sections
from altuna.report.sections.calibration import confusion
from altuna.report.sections.missing import _subset, missing
from altuna.runs.labels import run_labels
from altuna.terminal.tables import weights_table
from altuna.text import unique_endings

CHROMIUM = shutil.which("chromium")
ARTEFACTS = Path(__file__).parents[2] / "artefacts"  # screenshots, kept by CI
NASTY = "<script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\">"
LONG = "a class with a name of very many words " * 6
in_chromium = pytest.mark.skipif(not CHROMIUM, reason="needs chromium (apt-get install chromium)")


def rows_of(classes, counts):
    return [(split, c) for split, n in counts.items() for c in classes for _ in range(n)]


def write_manifest(folder, rows, **columns):
    folder.mkdir(parents=True, exist_ok=True)
    split, label = zip(*rows, strict=True)
    ids = [f"{i}{NASTY if i % 2 else ''}" for i in range(len(rows))]
    table = pa.table({"id": ids, "split": split, "label": label, **columns})
    pyarrow.parquet.write_table(table, folder / "samples.parquet")
    return folder / "samples.parquet"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A run on pictures, sounds, texts and numbers with gaps, whose names and texts are HTML."""
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(0)
    rows = rows_of((NASTY, LONG, "c"), {"train": 8, "val": 4, "test": 12})
    pictures, sounds, texts = [], [], []
    for i, (_, label) in enumerate(rows):
        c = (NASTY, LONG, "c").index(label)
        pixels = rng.integers(0, 90, (24, 24, 3), dtype=np.uint8) + np.uint8(70 * c)
        (folder / f"{i}.png").write_bytes(picture(Image.fromarray(pixels)))
        (folder / f"{i}.wav").write_bytes(recording(tone(0.3, 8000, 300 * (c + 1)), 8000))
        pictures.append(f"{i}.png" if i % 5 else None)
        sounds.append(f"{i}.wav" if i % 7 else None)
        texts.append(f"{NASTY} word{c if i % 3 else 0}")
    numbers = {f"acc_{j}": rng.normal(size=len(rows)) for j in range(12)}
    path = write_manifest(folder, rows, **{"look & <b>": pictures}, sound=sounds, text=texts, **numbers)
    narrow = {"look & <b>": {"width": 4}, "sound": {"width": 4}}
    return altuna.fit(path, epochs=2, encoders=narrow, out=folder / "run", quiet=True)


def fit_vectors(folder, classes, modalities):
    rows = rows_of([f"class {c}" for c in range(classes)], {"train": 1, "val": 1, "test": 1})
    rng = np.random.default_rng(0)
    # Long names without a space, where no line can be broken.
    values = {f"{m * 40}_{j}": rng.normal(size=len(rows)) for m in modalities for j in range(3)}
    path = write_manifest(folder, rows, **values)
    return altuna.fit(path, epochs=1, out=folder / "run", quiet=True, report=False)


@pytest.fixture(scope="module")
def modalities(tmp_path_factory):
    """A run with 20 modalities."""
    return fit_vectors(tmp_path_factory.mktemp("modalities"), 20, "abcdefghijklmnopqrst")


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """A run with 300 classes."""
    return fit_vectors(tmp_path_factory.mktemp("classes"), 300, "ab")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run with one modality and without a test split."""
    folder = tmp_path_factory.mktemp("alone")
    rows = rows_of("ab", {"train": 8, "val": 8})
    path = write_manifest(folder, rows, text=[f"word {label}" for _, label in rows])
    return altuna.fit(path, epochs=2, out=folder / "run", quiet=True, report=False)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


LOOKS = {"light": ("light", 1200), "dark": ("dark", 1200), "phone": ("light", 390)}


@pytest.fixture
def opened(browser):
    """Opens a page; what goes wrong in it is found in ``errors``, what it asks for in ``asked``."""
    contexts = []

    def open_page(path, look="light"):
        scheme, width = LOOKS[look]
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.errors, page.asked = [], []
        page.on("console", lambda message: page.errors.append(message.text))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("dialog", lambda dialog: page.errors.append(dialog.message))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(path.absolute().as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


TEXTS = """() => {
  const outside = [], crossing = [];
  for (const svg of document.querySelectorAll('figure svg')) {
    const edge = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
    for (const [i, [said, box]] of texts.entries()) {
      if (box.left < edge.left - 1 || box.right > edge.right + 1 || box.bottom > edge.bottom + 2)
        outside.push(said);
      for (const [other, its] of texts.slice(i + 1)) {
        const wide = Math.min(box.right, its.right) - Math.max(box.left, its.left);
        const high = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
        if (wide > 1 && high > 5) crossing.push([said, other]);
      }
    }
  }
  return [outside, crossing];
}"""


@in_chromium
@pytest.mark.parametrize(
    "names", [("mixed",), ("modalities",), ("classes",), ("alone",), ("mixed", "alone")], ids="-".join
)
def test_pages_in_chromium(names, request, opened, tmp_path):
    path = write_report([request.getfixturevalue(name) for name in names], tmp_path / "report.html")
    assert path.stat().st_size < 3_000_000
    assert "NaN" not in path.read_text()
    for look in LOOKS if names == ("mixed",) else ("light", "phone"):
        page = opened(path, look)
        drawn = page.evaluate(
            """[...document.querySelectorAll('figure svg')].map(svg => [svg.clientWidth, svg.clientHeight,
            ...[...svg.querySelectorAll('circle,polygon,polyline')].map(e => e.getBBox().width)])"""
        )
        assert len(drawn) >= (7 if names == ("alone",) else 8)  # one modality has nothing beside it
        assert all(width > 100 and height > 40 and max(shapes) > 0 for width, height, *shapes in drawn)
        # No text is cut off by the edge of its figure, and none lies on another: some pixels are bearings.
        page.wait_for_function("document.fonts.status == 'loaded'")
        outside, crossing = page.evaluate(TEXTS)
        assert outside == []
        assert crossing == []
        links = "[...document.querySelectorAll('nav a')]"
        assert page.evaluate(f"{links}.every(a => document.querySelector(a.hash))")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("document.querySelectorAll('body script').length") == 1
        page.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth && i.alt)")
        ARTEFACTS.mkdir(exist_ok=True)
        page.screenshot(path=ARTEFACTS / f"report-{'-'.join(names)}-{look}.png", full_page=True)
        assert page.errors == []
        assert "hacked" not in page.title()
        assert [url for url in page.asked if not url.startswith("data:")] == [path.absolute().as_uri()]


@in_chromium
def test_filters(mixed, opened):
    page = opened(mixed / "report.html")
    visible = ".sample:not([hidden])"
    everything = page.locator(visible).count()
    (run,) = read_runs([mixed])
    seen = set()
    for kind, rows in kinds_of(run).items():
        button = page.locator(f".filters button[data-kind={kind}]")
        button.focus()
        page.keyboard.press("Enter")
        shown = [
            card.split() for card in page.eval_on_selector_all(visible, "c => c.map(e => e.dataset.kinds)")
        ]
        assert len(shown) == min(rows.sum(), everything)
        assert all(kind in kinds for kinds in shown)
        assert page.locator(".filters [aria-pressed=true]").get_attribute("data-kind") == kind
        assert page.locator("#count").inner_text() == f"{len(shown)} samples shown"
        seen.add(len(shown))
    assert len(seen | {everything}) > 2  # or the filters would prove nothing
    page.locator(".filters button[data-kind=all]").click()
    assert page.locator(visible).count() == everything
    assert page.errors == []


@in_chromium
def test_sounds_play_and_printing_opens_details(mixed, opened):
    page = opened(mixed / "report.html")
    seconds = page.evaluate(
        "new Promise((done, fail) => { const a = document.querySelector('audio'); a.onerror = fail;"
        " a.onloadedmetadata = () => done(a.duration); a.preload = 'metadata'; a.load(); })"
    )
    assert 0.2 < seconds < 0.6
    closed = "document.querySelectorAll('details:not([open])').length"
    assert page.evaluate(closed) > 0
    page.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = {closed} }})")
    page.pdf(path=ARTEFACTS / "report-mixed.pdf", print_background=True)
    assert page.evaluate("window.printed") == 0
    assert page.evaluate(closed) > 0
    page.emulate_media(media="print")
    page.screenshot(path=ARTEFACTS / "report-mixed-print.png", full_page=True)
    assert not page.locator(".filters").is_visible()


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
        f"v_{j}": [None if j == 3 and s == "test" else float(i) for i, (s, _) in enumerate(rows)]
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
            "config.yaml: method must be options with their values, got 3",
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


def test_feature_maps(monkeypatch):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 6)).astype(np.float32)
    features[:20] += 20 * np.eye(6, dtype=np.float32)[0]
    places, how = feature_map(features)
    assert how == "t-SNE"
    assert places.shape == (40, 2)
    np.testing.assert_array_equal(places, feature_map(features)[0])
    centres = places[:20].mean(0), places[20:].mean(0)
    away = np.linalg.norm(places - centres[0], axis=1) < np.linalg.norm(places - centres[1], axis=1)
    assert away[:20].mean() > 0.9
    assert away[20:].mean() < 0.1
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    places, how = feature_map(features)
    assert how == "PCA"
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(np.cov(unit.T, bias=True))
    np.testing.assert_allclose(places.var(0), values[::-1][:2], rtol=1e-4)
    assert feature_map(np.zeros((1, 4), np.float32))[0].shape == (1, 2)


def test_features_of_any_size_become_a_map(tmp_path):
    numbers = torch.tensor([[1e30], [-1e30], [1.0]]).repeat(4, 1)
    write_features(tmp_path, Features({"a": numbers}, {"a": torch.arange(12)}, torch.zeros(12)))
    found = read_features(tmp_path, 12)
    places, how = feature_map(found.of["a"])
    assert how == "PCA"  # of one number there is nothing else
    assert np.isfinite(places).all()
    assert len(np.unique(places.round(6), axis=0)) == 2


def test_weights_of_any_number_of_modalities_are_shown():
    weights = {f"class {c}": {f"modality {m}": (c + m) / 400 for m in range(20)} for c in range(300)}
    console = Console(width=80, file=io.StringIO())
    console.print(weights_table(weights))
    shown = console.file.getvalue()
    assert "…" not in shown
    (line,) = [line for line in shown.splitlines() if "modality 19" in line]
    assert [cell.strip() for cell in line.split("│")[2:-1]] == [
        "0.42",
        "0.80",
        "class 299",
        "0.05",
        "class 0",
    ]


def test_weights_by_class_are_means():
    columns = {"label": ["x", "x", "y"], "weight_m": [0.25, 1.0, 1.0], "weight_rare": [0.75, 0.0, 0.0]}
    there = {"present_m": [True] * 3, "present_rare": [True, False, False]}
    assert weights_by_class(pa.table(columns | there)) == {"x": {"m": 0.625, "rare": 0.75}, "y": {"m": 1.0}}
