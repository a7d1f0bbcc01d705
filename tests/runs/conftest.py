"""What tests of run directories share: a small finished run."""

import shutil

import numpy as np
import pytest

import altuna


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A run of numbers and texts, trained for an epoch."""
    folder = tmp_path_factory.mktemp("schema")
    random = np.random.default_rng(0)
    lines = ["id,split,label,a_0,a_1,b,text"]
    for i in range(90):
        split = "train" if i < 60 else "val" if i < 75 else "test"
        numbers = ",".join(f"{x:.3f}" for x in random.normal(size=3) + i % 3)
        lines.append(f"s{i},{split},c{i % 3},{numbers},word{i % 3} and word{i % 7}")
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    modalities = {"a": {"columns": ["a_0", "a_1"]}, "b": {"type": "vector"}, "text": {"type": "text"}}
    return altuna.fit(
        folder / "data.csv",
        modalities=modalities,
        encoders={"a": {"hidden": 8, "out_features": 8}, "b": {"hidden": 8, "out_features": 8}},
        epochs=1,
        out=folder / "run",
        store=folder / "store",
        logger="none",
        accelerator="cpu",
        report=False,
        quiet=True,
    )


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    return tmp_path / "run"
