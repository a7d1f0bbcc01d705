"""Feature maps, and fusion weights by class."""

import io
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch
from rich.console import Console

from altuna.core.outputs import Features
from altuna.evaluation.feature_map import feature_map
from altuna.evaluation.features import read_features, write_features
from altuna.report import weights_by_class
from altuna.terminal.tables import weights_table


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
