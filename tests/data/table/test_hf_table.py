"""Hugging Face data sets: from a folder, from Parquet, from the hub; what is left out is said."""

import io
import json
import sys
import time

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import altuna
from altuna.data.table import reading as tables
from altuna.data.table.manifest import Modality, read_manifest
from altuna.data.table.splits import split_rows
from altuna.errors import UserError
from altuna.recipes.built_in import find_manifest
from altuna.runs.evaluate import evaluate_run

datasets = pytest.importorskip("datasets")
datasets.disable_progress_bars()


def png(value):
    file = io.BytesIO()
    Image.new("RGB", (2, 2), (value, 0, 0)).save(file, "PNG")
    return file.getvalue()


FEATURES = datasets.Features(
    {
        "picture": datasets.Image(),
        "sound": datasets.Audio(),
        "clip": datasets.Video(),
        "label": datasets.ClassLabel(names=["cat", "dog"]),
        "coarse": datasets.ClassLabel(names=["animal"]),
        "words": datasets.Value("string"),
        "v": datasets.List(datasets.Value("float32")),
        "x_1": datasets.Value("float64"),
        "x_2": datasets.Value("int8"),
        "tags": datasets.List(datasets.Value("string")),
    }
)


def columns(numbers, labelled=True):
    return {
        "picture": [{"bytes": png(i), "path": None} for i in numbers],
        "sound": [{"bytes": b"nothing known %d" % i, "path": None} for i in numbers],
        "clip": [{"bytes": b"clip %d" % i, "path": "a.txt"} for i in numbers],
        "label": [i % 2 if labelled else -1 for i in numbers],
        "coarse": [0 for _ in numbers],
        "words": [f"{i}.png" for i in numbers],
        "v": [[i, 0.5] for i in numbers],
        "x_1": [i / 2 for i in numbers],
        "x_2": [*numbers],
        "tags": [["a"] for _ in numbers],
    }


def dataset(numbers, labelled=True):
    # As a table, so that nothing is encoded or decoded on the way.
    table = pa.table(columns(numbers, labelled), schema=FEATURES.arrow_schema)
    return datasets.Dataset(table)


def check(manifest, numbers):
    """Compare every cell with what was written."""
    assert manifest.modalities == {
        "picture": Modality("image", ("picture",)),
        "sound": Modality("audio", ("sound",)),
        "clip": Modality("video", ("clip",)),
        "words": Modality("text", ("words",)),
        "v": Modality("vector", ("v",)),
        "x": Modality("vector", ("x_1", "x_2")),
    }
    wanted = columns(numbers)
    for name in ("picture", "sound", "clip", "words", "v", "x_1", "x_2"):
        assert manifest.table[name].to_pylist() == wanted[name]
    assert manifest.ids.to_pylist() == [str(i + 1) for i in range(len(numbers))]


def names(numbers):
    return [["cat", "dog"][i % 2] for i in numbers]


def test_a_saved_data_set(tmp_path):
    dataset(range(10)).save_to_disk(tmp_path / "saved", num_shards=3)
    manifest = read_manifest(tmp_path / "saved")
    check(manifest, range(10))
    assert manifest.labels.to_pylist() == names(range(10))
    assert manifest.splits.null_count == 10
    assert not manifest.notes


def test_the_order_after_select_and_shuffle(tmp_path):
    dataset(range(10)).select([7, 2, 5]).save_to_disk(tmp_path / "saved")
    check(read_manifest(tmp_path / "saved"), [7, 2, 5])


def test_saved_splits(tmp_path):
    splits = datasets.DatasetDict(
        train=dataset(range(6)), validation=dataset([6, 7]), dev=dataset([8]), test=dataset([9, 10, 11])
    )
    splits.save_to_disk(tmp_path / "saved")
    manifest = read_manifest(tmp_path / "saved")
    check(manifest, range(12))
    assert manifest.splits.to_pylist() == ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    assert manifest.labels.to_pylist() == names(range(12))
    assert {name: [*rows] for name, rows in split_rows(manifest).items()} == {
        "train": [*range(6)],
        "val": [6, 7, 8],
        "test": [9, 10, 11],
    }


def test_what_is_left_out_is_said(tmp_path):
    splits = datasets.DatasetDict(
        train=dataset(range(6)),
        valid=dataset([6, 7]),
        test=dataset([8, 9], labelled=False),
        extra=dataset([10]),
    )
    splits.save_to_disk(tmp_path / "saved")
    manifest = read_manifest(tmp_path / "saved")
    check(manifest, range(8))
    assert manifest.splits.to_pylist() == ["train"] * 6 + ["val"] * 2
    unlabelled, extra = manifest.notes
    assert unlabelled == f"{tmp_path / 'saved'}: split 'test' is left out: none of its 2 rows has a label"
    assert extra.startswith(
        f"{tmp_path / 'saved'}: split 'extra' is left out: its name is not one of train, "
    )
    # To be predicted, they are wanted.
    met = read_manifest(tmp_path / "saved", lenient=True)
    check(met, range(10))
    assert met.labels.to_pylist() == [*names(range(8)), None, None]


def test_unlabelled_by_plain_numbers_under_another_name(tmp_path):
    def part(labels):
        return datasets.Dataset.from_dict({"t": ["x"] * len(labels), "target": labels})

    datasets.DatasetDict(train=part([0, 1, 0, 1]), test=part([-1, -1])).save_to_disk(tmp_path / "saved")
    manifest = read_manifest(tmp_path / "saved", columns={"label": "target"})
    assert manifest.labels.to_pylist() == ["0", "1", "0", "1"]
    assert len(manifest.notes) == 1


def test_one_split_only_is_a_table_without_splits(tmp_path):
    datasets.DatasetDict(whole=dataset(range(5))).save_to_disk(tmp_path / "saved")
    manifest = read_manifest(tmp_path / "saved")
    check(manifest, range(5))
    assert manifest.splits.null_count == 5


def test_no_split_is_train(tmp_path):
    datasets.DatasetDict(a=dataset([1]), b=dataset([2])).save_to_disk(tmp_path / "saved")
    with pytest.raises(UserError, match=r"saved: no split is named train; the splits are 'a', 'b'$"):
        read_manifest(tmp_path / "saved")


def test_bytes_stay_on_disk(tmp_path):
    blob = np.random.default_rng(0).bytes(1_000_000)
    table = pa.table({"picture": [{"bytes": blob, "path": None}] * 40, "label": [0, 1] * 20})
    datasets.Dataset(table).save_to_disk(tmp_path / "saved")
    before = pa.total_allocated_bytes()
    manifest = read_manifest(tmp_path / "saved")
    assert pa.total_allocated_bytes() - before < 2_000_000
    assert manifest.table["picture"][39]["bytes"].as_py() == blob


def test_bytes_in_a_large_parquet_stay_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("ALTUNA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tables, "MAX_IN_MEMORY", 10_000_000)
    monkeypatch.setattr(tables, "BATCH", 3_000_000)
    path = tmp_path / "m.parquet"
    for seed in (0, 1):  # the second file takes the first one's place
        rng = np.random.default_rng(seed)
        pictures = [rng.bytes(1_000_000) for _ in range(20)]
        pa.parquet.write_table(pa.table({"picture": pictures, "label": ["a", "b"] * 10}), path)
        before = pa.total_allocated_bytes()
        for _ in range(2):
            manifest = read_manifest(path)
            assert pa.total_allocated_bytes() - before < 2_000_000
            assert manifest.table["picture"].to_pylist() == pictures
            assert manifest.labels.to_pylist() == ["a", "b"] * 10
    assert len([*(tmp_path / "cache").iterdir()]) == 2


def test_parquet_of_datasets(tmp_path):
    dataset(range(4)).to_parquet(tmp_path / "m.parquet")
    manifest = read_manifest(tmp_path / "m.parquet")
    check(manifest, range(4))
    assert manifest.labels.to_pylist() == names(range(4))


@pytest.mark.parametrize(
    "metadata", ["{", "[]", '{"info": 3}', '{"info": {"features": {"t": {"_type": []}}}}']
)
def test_metadata_of_another_kind_is_ignored(metadata, tmp_path):
    table = pa.table({"t": ["a", "b"]}).replace_schema_metadata({"huggingface": metadata})
    pa.parquet.write_table(table, tmp_path / "m.parquet")
    assert read_manifest(tmp_path / "m.parquet").modalities == {"t": Modality("text", ("t",))}


def test_a_class_number_that_is_no_class_is_no_label(tmp_path):
    table = pa.table({"t": ["a", "b", "c", "d"], "label": [0, 1, -1, 7]})
    features = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["no", "yes"]}}}}
    pa.parquet.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "m.parquet"
    )
    assert read_manifest(tmp_path / "m.parquet").labels.to_pylist() == ["no", "yes", None, None]


def test_another_class_column_is_a_modality_only_if_that_is_stated(tmp_path):
    dataset(range(4)).save_to_disk(tmp_path / "saved")
    manifest = read_manifest(tmp_path / "saved", {"coarse": {}})
    assert manifest.modalities == {"coarse": Modality("text", ("coarse",))}
    assert manifest.table["coarse"].to_pylist() == ["animal"] * 4


def test_from_the_hub(monkeypatch):
    asked = []

    def load(*arguments):
        asked.append(arguments)
        return datasets.DatasetDict(
            train=dataset(range(10)).shuffle(seed=1).select(range(4)), test=dataset([3, 4, 5])
        )

    monkeypatch.setattr(datasets, "load_dataset", load)
    order = np.random.default_rng(1).permutation(10)[:4].tolist()
    manifest = read_manifest(find_manifest("hf:some/name:part"))
    check(manifest, [*order, 3, 4, 5])
    assert manifest.splits.to_pylist() == ["train"] * 4 + ["test"] * 3
    read_manifest("hf:name")
    assert asked == [("some/name", "part"), ("name", None)]


def test_paths_stay_paths(monkeypatch):
    cells = [{"bytes": None, "path": "/clips/1.mp4"}, None, {"bytes": None, "path": "/clips/2.mp4"}]
    table = pa.table({"clip": cells, "picture": ["a.png", "b.png", None], "x": [1, 2, 3]})
    features = datasets.Features(
        {"clip": datasets.Video(), "picture": datasets.Image(), "x": datasets.Value("int64")}
    )
    one = datasets.Dataset(table)
    one.info.features = features
    monkeypatch.setattr(datasets, "load_dataset", lambda *arguments: datasets.DatasetDict(train=one))
    manifest = read_manifest("hf:x")
    assert manifest.modalities["clip"] == Modality("video", ("clip",), files=True)
    assert manifest.modalities["picture"] == Modality("image", ("picture",), files=True)
    assert manifest.table["clip"].to_pylist() == cells


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionError("no\nroute"), "hf:some/name: the hub cannot be reached, and the data set is not"),
        (
            FileNotFoundError("Dataset 'some/name'\ndoesn't exist"),
            "hf:some/name: Dataset 'some/name' doesn't",
        ),
        (ValueError("Config name is missing"), "hf:some/name: Config name is missing"),
        (RuntimeError(), "hf:some/name: RuntimeError"),
    ],
)
def test_the_hubs_refusals_are_one_line(error, words, monkeypatch):
    def load(*arguments):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load)
    before = datasets.config.HF_HUB_OFFLINE
    with pytest.raises(UserError, match=words) as raised:
        read_manifest("hf:some/name")
    assert "\n" not in str(raised.value)
    assert before == datasets.config.HF_HUB_OFFLINE


def test_no_network_is_said_at_once(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "http://127.0.0.1:9")
    started = time.perf_counter()
    with pytest.raises(
        UserError, match=r"^hf:altuna-no/such-data: the hub cannot be reached.*in the local cache"
    ):
        read_manifest("hf:altuna-no/such-data")
    assert time.perf_counter() - started < 10


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"^hf:x: requires the package datasets: pip install 'altuna\[hf\]'$"):
        read_manifest("hf:x")


def test_a_folder_needs_no_package(tmp_path, monkeypatch):
    dataset(range(4)).save_to_disk(tmp_path / "saved")
    monkeypatch.setitem(sys.modules, "datasets", None)
    check(read_manifest(tmp_path / "saved"), range(4))


@pytest.mark.parametrize("damage", ["state.json", "dataset_info.json", "data-00000-of-00001.arrow"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xff\xff\xff\x10\0\0\0nonsense", None])
def test_a_damaged_folder(damage, content, tmp_path):
    datasets.DatasetDict(train=dataset([1, 2])).save_to_disk(tmp_path / "saved")
    file = tmp_path / "saved" / "train" / damage
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(UserError, match="saved") as error:
        read_manifest(tmp_path / "saved")
    assert "\n" not in str(error.value)


def test_fit_and_evaluate(tmp_path):
    rng = np.random.default_rng(0)

    def part(n):
        labels = rng.integers(0, 2, n)
        features = datasets.Features(
            {
                "kind": datasets.ClassLabel(names=["low", "high"]),
                "words": datasets.Value("string"),
                "x": datasets.Value("float32"),
            }
        )
        words = [["down under", "up above"][i] for i in labels]
        return datasets.Dataset.from_dict({"kind": labels, "words": words, "x": labels}, features=features)

    datasets.DatasetDict(train=part(80), test=part(40)).save_to_disk(tmp_path / "saved")
    with pytest.raises(
        UserError, match=r"no column 'label'; did you mean 'kind'\? Then add --set columns\.label=kind$"
    ):
        altuna.fit(tmp_path / "saved", out=tmp_path / "run", quiet=True)
    altuna.fit(
        tmp_path / "saved",
        columns={"label": "kind"},
        method="late_fusion",
        out=tmp_path / "run",
        store=tmp_path / "store",
        epochs=2,
        accelerator="cpu",
        quiet=True,
    )
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["n"] == 40
    again = evaluate_run(tmp_path / "run", store=tmp_path / "store")
    assert again["fused"] == metrics["fused"]
    assert [*again["modalities"]] == ["words", "x"]
    # Other data may have other names for the same.
    other = tmp_path / "other.csv"
    other.write_text("label,words,x\nlow,down under,0\nhigh,up above,1\n")
    assert evaluate_run(tmp_path / "run", str(other), store=tmp_path / "store")["n"] == 2
    renamed = tmp_path / "renamed.csv"
    renamed.write_text("kind,words,x\nlow,down under,0\nhigh,up above,1\nlow,down under,0\n")
    assert evaluate_run(tmp_path / "run", str(renamed), store=tmp_path / "store")["n"] == 3
    table = altuna.load(tmp_path / "run").predict(tmp_path / "saved")
    assert table.num_rows == 120
