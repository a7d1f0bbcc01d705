"""Would a logistic regression on all vectors together help, as a joint expert? And one for each modality?

    python benchmarks/concatenated.py [--data htad watch ...] [--seeds 3]

A training by ``late_fusion``, on five folds where groups allow it (as the preset ``best``), is finished with
several sets of estimators: the networks are the same. Beside them, a logistic regression is fitted to the
concatenated vectors of the rows of each model, and fused as one more expert: calibrated like the others on
predictions for rows that its model was not trained on, with the weight of ``choose_weights``. The target of
this weight is 0, as for every joint expert, or 1/2. A finished training is not repeated. Written to
``benchmarks/results/concatenated.json``; the table is printed at the end.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from mla import HERE
from torch import Tensor

import altuna
from altuna.comparison.summary import environment
from altuna.core.calibration import calibrate
from altuna.core.ensemble import HeldOut, ensemble
from altuna.core.evidence import choose_weights
from altuna.core.fit_pools import fit_pools
from altuna.core.model import MultimodalClassifier
from altuna.core.outputs import Outputs
from altuna.core.temperature import fit_temperature, fit_temperature_and_bias
from altuna.data.dataset import MultimodalDataset
from altuna.data.table.splits import group_codes
from altuna.errors import UserError
from altuna.recipes.built_in import find_manifest
from altuna.runs.predictor import features_of
from altuna.training import finish, run
from altuna.training.estimators import fit_logistic
from altuna.training.option_types import estimators_of
from altuna.training.setup import Prepared

DATA = ("htad", "htad-sessions", "watch", "digits-views")
ESTIMATORS = ("none", "extra_trees", "extra_trees,logistic")
TARGETS = (0.0, 0.5)
CPU = torch.device("cpu")


def trained_on(data: str, seed: int) -> tuple[Prepared, Sequence[finish.Trained]]:
    """Return the networks of a training; a run directory has them only as one model."""
    kept: list[Any] = []
    original = run.finish
    options: dict[str, Any] = {"method": "late_fusion", "seed": seed, "threads": 1, "logger": "none"}
    # In the namespace of the caller: it is the only place that has the model of each fold.
    run.finish = lambda _, config, prepared, trained, *rest: kept.extend((prepared, trained))  # type: ignore[assignment]
    try:
        for folds in (5, None):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    out = Path(folder) / "run"
                    altuna.fit(find_manifest(data), out=out, folds=folds, quiet=True, report=False, **options)
                except (UserError, FileNotFoundError):
                    if not kept and folds is None:
                        raise
            if kept:
                break
    finally:
        run.finish = original
    return kept[0], kept[1]


def vectors(dataset: MultimodalDataset) -> Any:
    return np.concatenate([a.take(dataset.position[m], 0) for m, a in dataset.arrays.items()], 1)


def together(prepared: Prepared, trained: Sequence[finish.Trained], prior: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-probabilities of validation rows, each by one regression, and of test rows by all."""
    val, test = [], []
    for member, _ in trained:
        known = vectors(member.train.dataset)
        fitted = fit_logistic(known, member.train.dataset.labels, prior, member.seed)
        val.append(fitted(torch.from_numpy(vectors(member.val.dataset))))
        test.append(fitted(torch.from_numpy(vectors(prepared.splits["test"].dataset))))
    return torch.cat(val), torch.stack(test).mean(0)


def scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    known = logits.double().log_softmax(1)
    loss = -known.gather(1, labels.unsqueeze(1)).mean()
    return {"accuracy": float((known.argmax(1) == labels).double().mean()), "nll": float(loss)}


def with_expert(
    model: MultimodalClassifier,
    outputs: tuple[Outputs, Outputs],
    said: tuple[Tensor, Tensor],
    labels: tuple[Tensor, Tensor],
    groups: Tensor,
    target: float,
) -> dict[str, Any]:
    """Return the metrics of evidence fusion with one more expert; pairs are of validation and test."""
    log_prior = model.prior.log().double()
    temperature, bias = fit_temperature_and_bias(said[0], labels[0], model.prior, groups)
    evidence = []
    for some, logits in zip(outputs, said, strict=True):
        scaled = (logits.double().log_softmax(1) - log_prior) / temperature + bias
        own = (log_prior + scaled).log_softmax(1) - log_prior
        evidence.append(torch.cat([model.opinions(some).evidence().double(), own.unsqueeze(0)]))
    targets = torch.tensor([1.0] * len(model.modalities) + [target], dtype=torch.float64)
    weights = choose_weights(evidence[0], labels[0], log_prior, groups, targets)
    val, test = (log_prior + torch.einsum("e,enc->nc", weights, e) for e in evidence)
    share = 1 / fit_temperature(val, labels[0], 1, model.prior)
    val, test = (log_prior + (z.log_softmax(1) - log_prior) * share for z in (val, test))
    return {
        "weights": [round(w, 3) for w in weights.tolist()],
        "val": scores(val, labels[0]),
        "test": scores(test, labels[1]),
    }


def results_of(data: str, seed: int) -> dict[str, Any]:
    return finished(*trained_on(data, seed))


@torch.no_grad()
def finished(prepared: Prepared, trained: Sequence[finish.Trained]) -> dict[str, Any]:
    """Return the metrics of a training, finished in several ways."""
    groups = torch.from_numpy(group_codes(prepared.manifest)[prepared.splits["val"].rows])
    found: dict[str, Any] = {"models": len(trained)}
    for names in ESTIMATORS:
        encoded = [
            finish._encoded(one.member, prepared.description, estimators_of(names), 512, CPU)
            for one in trained
        ]
        held_out = HeldOut(fit_pools(encoded, groups))
        model = ensemble([member for member, _ in held_out.parts]).eval()
        val, labels = held_out.outputs()
        calibrate(model, val, labels, held_out, groups)
        features = features_of(model, prepared.splits["test"].dataset, 512)
        test = model.outputs_of(features.of, features.rows, len(features.labels))
        both, truth = (val, test), (labels, features.labels)
        found[names] = {
            "val": scores(model.fuse(val).logits, labels),
            "test": scores(model.fuse(test).logits, features.labels),
        }
        said = together(prepared, trained, model.prior)
        found["alone"] = {"val": scores(said[0], labels), "test": scores(said[1], features.labels)}
        for target in TARGETS:
            one = with_expert(model, both, said, truth, groups, target)
            found[f"{names} + all vectors, target {target}"] = one
    return found


def table(results: dict[str, Any]) -> str:
    """Return Markdown: means over seeds."""
    head = ["data", "experts", "seeds", "models", "test", "NLL", "validation NLL", "last weight"]
    lines = [head, ["---"] * len(head)]
    for data, runs in results.items():
        every = [*runs.values()]
        for name in [key for key in (every[0] if every else {}) if key != "models"]:
            of = [one[name] for one in every]
            weight = [one["weights"][-1] for one in of if "weights" in one]
            lines.append(
                [
                    *(data, name, str(len(of)), str(every[0]["models"])),
                    f"{100 * mean(one['test']['accuracy'] for one in of):.1f}",
                    f"{mean(one['test']['nll'] for one in of):.3f}",
                    f"{mean(one['val']['nll'] for one in of):.3f}",
                    f"{mean(weight):.2f}" if weight else "-",
                ]
            )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=[*DATA], choices=DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "concatenated.json")
    given = parser.parse_args()
    found: dict[str, Any] = (
        json.loads(given.results.read_text()) if given.results.exists() else {"results": {}}
    )
    torch.set_num_threads(1)
    for seed in range(given.seeds):
        for data in given.data:
            done = found["results"].setdefault(data, {})
            if str(seed) not in done:
                done[str(seed)] = results_of(data, seed)
                found["environment"] = environment()
                given.results.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found["results"]))


if __name__ == "__main__":
    main()
