"""AutoGluon-Tabular on all vectors together, run by ``peers.py`` in an environment of its own.

``medium`` is fitted on train and gets val as its tuning data. ``best`` (bagged and stacked) gets train and
val, bagged by the folds of groups that the other learners are stacked with.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from autogluon.tabular import TabularPredictor, __version__
from peer_process import Array, Fits, serve

SETTINGS = {"eval_metric": "log_loss", "verbosity": 0}


def frame(arrays: Mapping[str, Array]) -> pd.DataFrame:
    columns = {
        f"{name}.{i}": x[:, i]
        for name, x in arrays.items()
        if name.startswith("x/")
        for i in range(x.shape[1])
    }
    return pd.DataFrame({**columns, "label": arrays["labels"]})


def medium(table: pd.DataFrame, arrays: Mapping[str, Array], folder: str, **limits: Any) -> TabularPredictor:
    predictor = TabularPredictor("label", path=folder, **SETTINGS)
    rows, tuning = table.iloc[arrays["train"]], table.iloc[arrays["val"]]
    return predictor.fit(rows, tuning_data=tuning, presets="medium_quality", **limits)


def best(table: pd.DataFrame, arrays: Mapping[str, Array], folder: str, **limits: Any) -> TabularPredictor:
    both, folds = np.sort(np.concatenate([arrays["train"], arrays["val"]])), arrays["folds/train+val"]
    kept = folds >= 0
    rows = table.iloc[both[kept]].assign(fold=folds[kept])
    predictor = TabularPredictor("label", path=folder, groups="fold", **SETTINGS)
    bags = {"fold_fitting_strategy": "sequential_local"}
    return predictor.fit(
        rows, presets="best_quality", dynamic_stacking=False, ag_args_ensemble=bags, **limits
    )


def learn(arrays: Mapping[str, Array], job: Mapping[str, Any]) -> Fits:
    table, classes = frame(arrays), int(arrays["labels"].max()) + 1
    rows, preset = {"medium": ("train", medium), "best": ("train+val", best)}[job["form"]]
    with tempfile.TemporaryDirectory() as folder:
        fits = Fits()
        predictor = preset(table, arrays, folder, time_limit=job["time_limit"], num_cpus=1, num_gpus=0)
        predicted = predictor.predict_proba(table.iloc[arrays["test"]].drop(columns="label"))
        probabilities = np.full((len(predicted), classes), 1e-12)
        probabilities[:, predicted.columns.to_numpy(int)] = predicted.to_numpy().clip(1e-12)
        fits.add(rows, np.log(probabilities / probabilities.sum(1, keepdims=True)))
        limits = {"time_limit": job["time_limit"]}
        fits.notes = {"autogluon": __version__, "model": predictor.model_best, **limits}
    return fits


if __name__ == "__main__":
    serve(learn)
