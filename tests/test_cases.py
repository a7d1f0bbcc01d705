"""The kinds of tables that once gave wrong results in silence; clean and odd forms train alike.

Media, sequences, sounds and prediction input have tests of their own.
"""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import run
from media import write_clip
from PIL import Image

from altuna.data.table.manifest import read_manifest
from altuna.data.table.splits import split_rows
from altuna.errors import UserError

CASES = Path(__file__).parents[2] / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.exists(), reason="needs ../shared/cases")


@pytest.fixture
def case(tmp_path):
    """Copies a case into a folder of the test; returns the folder."""
    return lambda name: shutil.copytree(CASES / name, tmp_path / name)


def accuracy(folder, table, *options, epochs=15):
    out = folder / f"out-{table}"
    result = run("fit", folder / table, "--epochs", epochs, "--no-report", "--out", out, *options)
    assert result.code == 0, result.err
    metrics = json.loads((out / "metrics.json").read_text())
    return metrics["fused"]["accuracy"], result.out + result.err


@pytest.mark.slow
def test_numbers_that_are_written_otherwise(case):
    folder = case("numbers-as-text")
    clean, _ = accuracy(folder, "dot.csv")
    for table, words in (
        ("comma.csv", "read as numbers: len_cm ('4,215' is 4.215)"),
        ("one_bad.csv", "column 'len_cm': row 201 is '>30', no number: missing; the other 239 cells"),
    ):
        odd, printed = accuracy(folder, table)
        assert odd >= clean - 0.02
        assert words in " ".join(printed.split())
    clean, _ = accuracy(folder, "list.parquet", epochs=8)
    odd, _ = accuracy(folder, "list_in_csv.csv", epochs=8)
    assert odd >= clean - 0.02


@pytest.mark.slow
def test_what_two_columns_say_together(case):
    folder = case("plain-table")
    clean, _ = accuracy(folder, "prefixed.csv", epochs=25)
    odd, printed = accuracy(folder, "named.csv", epochs=25)
    assert odd >= clean - 0.02
    assert "tabular (number) from age, income" in printed


@pytest.mark.slow
@pytest.mark.parametrize("costly", ["34-bytes.webp", "500-scans.jpg", "687-bytes.mp4"])
def test_small_files_that_cost_much_are_named_and_left_out(case, costly):
    folder = case("costly-media")
    kind = "clip" if costly.endswith("mp4") else "photo"
    names = [f"good{i}.{'mp4' if kind == 'clip' else 'png'}" for i in range(12)]
    for i, name in enumerate(names):
        if kind == "clip":
            write_clip(folder / name, frames=10 + i, sound=False)
        else:
            pixels = np.random.default_rng(i).integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name)
    rows = [*names[:5], costly, *names[5:]]
    table = folder / "t.csv"
    table.write_text(f"label,{kind}\n" + "".join(f"{'ab'[i % 2]},{n}\n" for i, n in enumerate(rows)))
    result = run("fit", table, "--epochs", 1, "--no-report", "--out", folder / "out")
    assert result.code == 0, result.err
    (problem,) = csv.DictReader((folder / "out" / "problems.csv").open())
    assert (problem["row"], problem["column"], problem["kind"]) == ("6", kind, "unread")
    assert problem["cell"].endswith(costly)


@pytest.mark.slow
def test_labels_in_two_spellings(case):
    folder = case("label-spelling")
    clean, _ = accuracy(folder, "plain.csv")
    for table in ("blanks.csv", "one_and_1.0.csv", "nan.parquet"):
        odd, printed = accuracy(folder, table)
        assert odd >= clean - 0.05  # other rows are in test
        assert len(read_manifest(folder / table).labels.drop_null().unique()) == 3
    assert "column 'label': empty (and in" in printed


@pytest.mark.slow
def test_large_numbers(case):
    folder = case("large-numbers")
    clean, _ = accuracy(folder, "offset_free.csv", epochs=10)
    for table in ("whole.csv", "decimal.csv"):
        assert accuracy(folder, table, epochs=10)[0] >= clean - 0.02


def test_leaks(case):
    folder = case("leaks")
    account = {c.column: c for c in read_manifest(folder / "unnamed.csv").account}
    assert account["Unnamed: 0"].reason == "numbers the rows"
    manifest = read_manifest(folder / "target.csv", columns={"label": "category"})
    account = {c.column: c for c in manifest.account}
    assert account["fold"].reason == "names splits or folds"
    assert any("column 'target' has one value for each label" in note for note in manifest.notes)


def test_paths(case):
    folder = case("paths-as-text")
    with pytest.raises(UserError, match=r"row 1, column 'photo': .*pillow-heif"):
        read_manifest(folder / "nothing_there.csv")
    for table in ("pictures.csv", "base64.csv"):
        assert read_manifest(folder / table).modalities["photo"].type == "image"


@pytest.mark.parametrize("table", ["semicolon.csv", "tab.csv", "utf16.csv", "blanks.csv"])
def test_delimiters(table, case):
    manifest = read_manifest(case("delimiters") / table)
    assert {*manifest.modalities} == {"title", "x"}
    assert manifest.labels.null_count == 0


@pytest.mark.slow
@pytest.mark.parametrize("table", ["two_each.csv", "three_in_train.csv"])
def test_few_samples_of_each_class(table, case):
    folder = case("few-shot")
    accuracy(folder, table, epochs=1)
    manifest = read_manifest(folder / table)
    rows = split_rows(manifest)
    assert len(manifest.labels.take(rows["train"]).unique()) == len(manifest.labels.unique())
    assert len(rows["val"])
