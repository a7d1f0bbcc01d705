"""What is made of a training's best epoch: the saved model, its test predictions and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pyarrow.parquet
import torch
from torch import Tensor

from altuna.core.calibration import calibrate
from altuna.core.ensemble import HeldOut, ensemble
from altuna.core.fit_pools import fit_pools, pool_facts
from altuna.core.model import MultimodalClassifier
from altuna.core.outputs import Features, Outputs, Prediction
from altuna.data.table.splits import group_codes
from altuna.evaluation.features import write_features
from altuna.evaluation.imbalance import fusion_gains, geometry, imbalance, shapley_accuracy
from altuna.evaluation.metrics import evaluate
from altuna.evaluation.robustness import by_missing_rate, by_subset
from altuna.evaluation.warnings import fusion_warning
from altuna.files import atomic_write, write_json
from altuna.runs.description import Description
from altuna.runs.predictor import Predictor, features_of
from altuna.runs.weights import save_model
from altuna.training.checkpoints import best_epoch, mean_history, write_log
from altuna.training.combinations import combination_warning
from altuna.training.config import FitConfig
from altuna.training.estimators import fit_estimators
from altuna.training.members import Member
from altuna.training.option_types import estimators_of
from altuna.training.progress import Progress
from altuna.training.setup import Prepared


class Trained(NamedTuple):
    """A model with the weights of its best epoch, and the course of its training."""

    member: Member
    progress: Progress


def finish(
    run: Path,
    config: FitConfig,
    prepared: Prepared,
    trained: Sequence[Trained],
    facts: Mapping[str, Any],
    memory: int,
    device: torch.device,
) -> None:
    """Calibrate and save the model of a training, or the ensemble of those of all folds; test what was saved.

    Calibration uses predictions for samples that the model was not trained on: those that validated it.

    Args:
        run: The run directory.
        config: The options.
        prepared: Data and models.
        trained: The models.
        facts: On the training data, for ``metrics.json``.
        memory: Peak in bytes.
        device: Where to compute.
    """
    size = config.micro_batch or config.batch_size
    names = estimators_of(config.estimators)
    groups = torch.from_numpy(group_codes(prepared.manifest)[prepared.splits["val"].rows])
    encoded = [_encoded(one.member, prepared.description, names, size, device) for one in trained]
    held_out = HeldOut(fit_pools(encoded, groups))
    model = ensemble([member for member, _ in held_out.parts])
    val = held_out.outputs()
    calibrate(model, *val, held_out, groups)
    shapes = {m: pool.shapes() for m in model.modalities if (pool := model.pool(m))}
    save_model(run, replace(prepared.description, estimators=shapes), model)
    predictor = Predictor(run, device)
    split = "test" if len(prepared.splits["test"].rows) else "val"
    samples = prepared.splits[split]
    features = predictor.features(samples.dataset, size)
    model = predictor.model.cpu()
    history = mean_history([one.progress.history for one in trained])
    write_log(run / "log.csv", history)
    tested = {"val": _test(model, *val), split: _test(model, _outputs(model, features), features.labels)}
    outputs, fusion, found, right = tested[split]
    metrics = {
        "data": str(config.data),
        "method": prepared.description.method,
        "seed": config.seed,
        "split": split,
        **found,
        **({"estimators": pool_facts(model)} if names else {}),
        "val": {key: tested["val"].metrics[key] for key in ("n", "fused", "modalities")},
    }
    metrics["subsets"] = by_subset(model, features)
    metrics["rates"] = by_missing_rate(model, features)
    own = features._replace(of={m: model.split(m, f)[0] for m, f in features.of.items()})
    metrics["imbalance"] = {
        **imbalance(metrics, history, right, outputs.present),
        "shapley": shapley_accuracy(model, features),
        **geometry(own),
    }
    metrics["training"] = facts
    accuracy = tested["val"].metrics["fused"]["accuracy"]
    warnings = (
        fusion_warning({name: test.gains() for name, test in tested.items()}),
        combination_warning(model, trained[0].member.train.dataset, trained[0].member.val.dataset, accuracy),
    )
    metrics["warnings"] = [*filter(None, warnings)]
    metrics["cost"] = _cost(model, trained, history, memory)
    rows = pyarrow.array(samples.rows)
    table = predictor.table(fusion, prepared.manifest.ids.take(rows), prepared.manifest.labels.take(rows))
    groups = prepared.manifest.groups.take(rows)
    if groups.null_count < len(groups):
        table = table.add_column(2, "group", groups)
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


def _encoded(
    member: Member, description: Description, estimators: Sequence[str], size: int, device: torch.device
) -> tuple[MultimodalClassifier, Features]:
    """Return a model as it will be loaded, on the CPU, and the features of the samples that validated it.

    Its estimators are fitted here, on the samples that it was trained on.
    """
    model = description.build_member()
    model.load_state_dict(member.method.model.state_dict())
    fit_estimators(model, member.train.dataset, estimators, member.seed)
    features = features_of(model.to(device), member.val.dataset, size)
    return model.cpu(), features


def _test(model: MultimodalClassifier, outputs: Outputs, labels: Tensor) -> _Test:
    fusion, metrics = model.fuse(outputs), evaluate(model, outputs, labels)
    return _Test(outputs, fusion, metrics, fusion.logits.argmax(1) == labels)


@torch.inference_mode()
def _outputs(model: MultimodalClassifier, features: Features) -> Outputs:
    return model.outputs_of(features.of, features.rows, len(features.labels))


def _cost(
    model: MultimodalClassifier,
    trained: Sequence[Trained],
    history: Sequence[Mapping[str, float]],
    memory: int,
) -> dict[str, Any]:
    """Return what all models together cost; ``epochs`` and ``best_epoch`` are those of ``log.csv``."""
    rows = [row for one in trained for row in one.progress.history]
    return {
        "seconds": round(sum(row["seconds"] for row in rows), 2),
        "epochs": len(history),
        "best_epoch": best_epoch(history),
        "updates": sum(one.progress.updates for one in trained),
        "parameters": sum(p.numel() for p in model.parameters()),
        "flops_per_batch": round(sum(row["flops"] for row in rows) / len(rows)),
        "peak_memory": memory,
    }
