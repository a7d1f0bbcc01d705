"""Evaluation and prediction batch by batch: the same figures and rows, at memory that rows do not raise."""

import sys

import numpy as np
import pyarrow.parquet
import pytest
import torch
from torch import nn

import altuna
from altuna import MultimodalClassifier
from altuna.data.dataset import MultimodalDataset
from altuna.evaluation.metrics import Evaluation, evaluate
from altuna.hardware import peak_memory, reset_peak_memory
from altuna.runs import predict as predicting
from altuna.runs import predictor
from altuna.runs.predictor import Predictor


class Bare(Predictor):
    """A predictor of a model that no run directory has."""

    def __init__(self, model):
        self.model, self.device = model, torch.device("cpu")


def case(rows, classes, **options):
    torch.manual_seed(0)
    model = MultimodalClassifier({m: nn.Linear(2, 4) for m in "abc"}, classes, **options)
    model.temperatures.copy_(torch.tensor([0.5, 2.0, 3.0]))
    model.confidence_temperatures.copy_(torch.tensor([1.0, 1.7, 0.6]))
    random = np.random.default_rng(0)
    arrays = {m: random.normal(size=(rows, 2)).astype(np.float32) for m in "abc"}
    position = {m: np.where(random.random(rows) < 0.7, np.arange(rows), -1) for m in "abc"}
    position["a"] = np.arange(rows)
    return Bare(model), MultimodalDataset(arrays, position, random.integers(classes, size=rows))


def streamed(predictor, dataset, batch_size=None):
    evaluation = Evaluation(predictor.model)
    for outputs, labels in predictor.outputs_in_batches(dataset, batch_size):
        evaluation.update(outputs, labels)
    return evaluation.compute()


def near(got, want):
    assert got.keys() == want.keys()
    for name, value in want.items():
        if isinstance(value, dict):
            near(got[name], value)
        else:
            assert got[name] == (pytest.approx(value, abs=1e-7) if isinstance(value, float) else value)


@pytest.mark.parametrize("options", [{"head": "shared"}, {"head": "concat"}, {"expert": {}}], ids=str)
def test_figures_do_not_depend_on_the_size_of_batches(options):
    predictor, dataset = case(300, 5, **options)
    whole = evaluate(predictor.model, *predictor.outputs(dataset, 300))
    assert 0 < whole["fused"]["ece"] < 1
    for size in (1, 7, 299):
        near(streamed(predictor, dataset, size), whole)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset on Linux only")
def test_memory_does_not_grow_with_the_rows():
    rows, classes = 200_000, 100
    predictor, many = case(rows, classes)
    _, few = case(rows // 10, classes)  # more than a batch, which is what must be held
    logits = 3 * rows * classes * 4  # bytes, of all rows: 240 MB

    def peak(some):
        reset_peak_memory()
        streamed(predictor, some)
        return peak_memory()

    peak(few)  # what a first time leaves behind
    assert peak(many) - peak(few) < logits / 2  # what the allocator keeps makes some 40 MB of difference


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    lines = ["id,label,split,a,text"]
    for i in range(60):
        lines.append(f"{i},{'xy'[i % 2]},{('train', 'val', 'test')[i % 3]},{i % 2 + i / 100},word{i % 2}")
    (folder / "m.csv").write_text("\n".join(lines) + "\n")
    run = altuna.fit(folder / "m.csv", epochs=1, out=folder / "run", store=folder / "store", quiet=True)
    lines = ["id,a,text,picture"]
    for i in range(100):  # rows 20 to 39 have nothing but a picture, which the model does not know
        lines.append(f"{i},,,p.png" if 20 <= i < 40 else f"{i},{i / 50},{'word1' if i % 3 else ''},")
    (folder / "new.csv").write_text("\n".join(lines) + "\n")
    return run


@pytest.mark.parametrize("part", [1, 7, 15])
def test_predictions_come_in_parts(part, run, monkeypatch, tmp_path):
    new = run.parent / "new.csv"
    want = Predictor(run).predict(new)
    assert want["prediction"].null_count == 20
    monkeypatch.setattr(predictor, "PART", part)
    predicting.predict_to_file(run, str(new), tmp_path / "p.parquet")
    file = pyarrow.parquet.ParquetFile(tmp_path / "p.parquet")
    assert file.num_row_groups == -(-100 // part)
    got = file.read()
    assert got.schema.equals(want.schema)
    for name, column in want.to_pydict().items():
        if name.startswith(("p_", "confidence", "weight_")):
            assert got[name].to_pylist() == [x if x is None else pytest.approx(x, abs=1e-6) for x in column]
        else:
            assert got[name].to_pylist() == column


def test_a_failure_half_way_leaves_nothing(run, monkeypatch, tmp_path):
    monkeypatch.setattr(predictor, "PART", 50)
    table = Predictor.table
    seen = []

    def once(*arguments):
        seen.append(1)
        if len(seen) > 1:
            raise OSError("the disk is full")
        return table(*arguments)

    monkeypatch.setattr(Predictor, "table", once)
    with pytest.raises(OSError, match="disk is full"):
        predicting.predict_to_file(run, str(run.parent / "new.csv"), tmp_path / "p.parquet")
    assert not any(tmp_path.iterdir())


def test_a_vector_whose_first_column_is_empty_in_the_whole_table_is_imputed(tmp_path):
    lines = [f"{'xy'[i % 2]},{i % 2 + i / 100},{i % 2 - i / 50},word{i % 3}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["label,a.x,a.y,note", *lines]) + "\n")
    run = altuna.fit(tmp_path / "t.csv", epochs=1, out=tmp_path / "run", quiet=True, report=False)
    (tmp_path / "one.csv").write_text("a.x,a.y,note\n,1.5,word1\n")
    (tmp_path / "two.csv").write_text("a.x,a.y,note\n,1.5,word1\n0.5,1.0,word2\n")
    one, two = (Predictor(run).predict(tmp_path / f"{name}.csv") for name in ("one", "two"))
    assert one["present_a"].to_pylist() == [True]
    assert one["p_x"][0].as_py() == pytest.approx(two["p_x"][0].as_py(), abs=1e-6)
