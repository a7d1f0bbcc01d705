"""What is made of a training's best epoch: the saved model, its test predictions and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import torch

from altuna.evaluation.features import write_features
from altuna.evaluation.imbalance import geometry, imbalance, shapley_accuracy
from altuna.evaluation.metrics import evaluate
from altuna.evaluation.robustness import by_missing_rate, by_subset
from altuna.files import atomic_write, write_json
from altuna.runs.predictor import Predictor
from altuna.runs.weights import save_model
from altuna.training.checkpoints import best_epoch, load_weights
from altuna.training.config import FitConfig
from altuna.training.loop import Loop
from altuna.training.setup import Prepared


def finish(
    run: Path,
    config: FitConfig,
    prepared: Prepared,
    loop: Loop,
    facts: Mapping[str, Any],
    best: Path,
    memory: int,
) -> None:
    """Load the best epoch's weights, save the model, and test what was saved.

    Args:
        run: The run directory.
        config: The options.
        prepared: Data and model.
        loop: What trained them.
        facts: On the training data, for ``metrics.json``.
        best: The checkpoint of the best epoch.
        memory: Peak in bytes.
    """
    load_weights(best, loop)
    save_model(run, prepared.description, loop.method.model)
    split = "test" if len(prepared.splits["test"].rows) else "val"
    samples = prepared.splits[split]
    predictor = Predictor(run, loop.device)
    features = predictor.features(samples.dataset, config.micro_batch or config.batch_size)
    with torch.inference_mode():
        outputs = predictor.model.cpu().outputs_of(features.of, features.rows, len(features.labels))
        fusion = predictor.model.fuse(outputs)
    metrics = {
        "data": str(config.data),
        "method": prepared.description.method,
        "seed": config.seed,
        "split": split,
        **evaluate(predictor.model, outputs, features.labels),
    }
    metrics["subsets"] = by_subset(predictor.model, features)
    metrics["rates"] = by_missing_rate(predictor.model, features)
    correct = fusion.logits.argmax(1) == features.labels
    metrics["imbalance"] = {
        **imbalance(metrics, loop.progress.history, correct, outputs.present),
        "shapley": shapley_accuracy(predictor.model, features),
        **geometry(features),
    }
    metrics["training"] = facts
    metrics["cost"] = _cost(loop, memory)
    rows = pyarrow.array(samples.rows)
    table = predictor.table(fusion, prepared.manifest.ids.take(rows), prepared.manifest.labels.take(rows))
    with atomic_write(run / "predictions.parquet") as unfinished:
        pyarrow.parquet.write_table(table, unfinished)
    write_features(run, features)
    write_json(run / "metrics.json", metrics)


def _cost(loop: Loop, memory: int) -> dict[str, Any]:
    history = loop.progress.history
    return {
        "seconds": round(sum(row["seconds"] for row in history), 2),
        "epochs": len(history),
        "best_epoch": best_epoch(history),
        "updates": loop.progress.updates,
        "parameters": sum(p.numel() for p in loop.method.model.parameters()),
        "flops_per_batch": round(sum(row["flops"] for row in history) / len(history)),
        "peak_memory": memory,
    }
