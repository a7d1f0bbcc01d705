"""What is made of a training's best epoch: the saved model, its test predictions and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pyarrow.parquet
import torch
from torch import Tensor

from altuna.core.calibration import calibrate
from altuna.core.model import MultimodalClassifier
from altuna.core.outputs import Features, Outputs, Prediction
from altuna.data.table.splits import group_codes
from altuna.evaluation.features import write_features
from altuna.evaluation.imbalance import fusion_gains, geometry, imbalance, shapley_accuracy
from altuna.evaluation.metrics import evaluate
from altuna.evaluation.robustness import by_missing_rate, by_subset
from altuna.evaluation.warnings import fusion_warning
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
    """Load the best epoch's weights, calibrate and save the model, and test what was saved.

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
    predictor = Predictor(run, loop.device)
    size = config.micro_batch or config.batch_size
    val = predictor.features(prepared.splits["val"].dataset, size)
    split = "test" if len(prepared.splits["test"].rows) else "val"
    samples = prepared.splits[split]
    features = predictor.features(samples.dataset, size) if split == "test" else val
    model = predictor.model.cpu()
    groups = torch.from_numpy(group_codes(prepared.manifest)[prepared.splits["val"].rows])
    calibrate(model, _outputs(model, val), val.labels, val, groups)
    save_model(run, prepared.description, model)
    tested = {name: _test(model, of) for name, of in (("val", val), (split, features))}
    outputs, fusion, found, right = tested[split]
    metrics = {
        "data": str(config.data),
        "method": prepared.description.method,
        "seed": config.seed,
        "split": split,
        **found,
        "val": {key: tested["val"].metrics[key] for key in ("n", "fused", "modalities")},
    }
    metrics["subsets"] = by_subset(model, features)
    metrics["rates"] = by_missing_rate(model, features)
    own = features._replace(of={m: model.split(m, f)[0] for m, f in features.of.items()})
    metrics["imbalance"] = {
        **imbalance(metrics, loop.progress.history, right, outputs.present),
        "shapley": shapley_accuracy(model, features),
        **geometry(own),
    }
    metrics["training"] = facts
    warning = fusion_warning({name: test.gains() for name, test in tested.items()})
    metrics["warnings"] = [warning] if warning else []
    metrics["cost"] = _cost(loop, memory)
    rows = pyarrow.array(samples.rows)
    table = predictor.table(fusion, prepared.manifest.ids.take(rows), prepared.manifest.labels.take(rows))
    with atomic_write(run / "predictions.parquet") as unfinished:
        pyarrow.parquet.write_table(table, unfinished)
    write_features(run, own)
    write_json(run / "metrics.json", metrics)


class _Test(NamedTuple):
    """A model's outputs of a split, its predictions and their metrics."""

    outputs: Outputs
    fusion: Prediction
    metrics: dict[str, Any]
    right: Tensor  # [N] bool

    def gains(self) -> dict[str, float]:
        return fusion_gains(self.metrics["modalities"], self.right, self.outputs.present)


def _test(model: MultimodalClassifier, features: Features) -> _Test:
    outputs = _outputs(model, features)
    fusion, metrics = model.fuse(outputs), evaluate(model, outputs, features.labels)
    return _Test(outputs, fusion, metrics, fusion.logits.argmax(1) == features.labels)


@torch.inference_mode()
def _outputs(model: MultimodalClassifier, features: Features) -> Outputs:
    return model.outputs_of(features.of, features.rows, len(features.labels))


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
