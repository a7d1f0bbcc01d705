"""What fitted estimators add to the networks: extra trees and logistic regression beside them.

    python benchmarks/estimators.py [--data htad watch ...] [--methods late_fusion mla] [--seeds 5]

A training with default options is finished three times: without estimators, with extra trees, and with extra
trees and logistic regression. The networks are the same: estimators are fitted after the training. A finished
training is not repeated. Written to ``benchmarks/results/estimators.json``; the table is printed at the end.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any

import torch
from fusion import BUILT_IN, VARIANTS, data_of
from mla import HERE

import altuna
from altuna.comparison.summary import environment
from altuna.core.calibration import calibrate
from altuna.core.ensemble import HeldOut
from altuna.core.fit_pools import fit_pools, pool_facts
from altuna.data.table.splits import group_codes
from altuna.evaluation.metrics import evaluate
from altuna.files import cache_folder
from altuna.recipes.built_in import find_manifest
from altuna.training.config import FitConfig
from altuna.training.estimators import fit_estimators
from altuna.training.option_types import estimators_of
from altuna.training.setup import Prepared, prepare

CHANGED = ("htad, 12 single numbers", "htad, 30 % missing")
ESTIMATORS = ("none", "extra_trees", "logistic", "extra_trees,logistic")


@torch.inference_mode()
def finished(run: Path, prepared: Prepared, names: list[str]) -> dict[str, Any]:
    """Return the metrics of a run, finished with some estimators."""
    member = prepared.members[0]
    predictor = altuna.load(run, "cpu")
    model, test = predictor.model, prepared.splits["test"].dataset
    groups = torch.from_numpy(group_codes(prepared.manifest)[member.val.rows])
    start = perf_counter()
    fit_estimators(model, member.train.dataset, names, member.seed)
    seconds = perf_counter() - start
    [(_, val)] = fit_pools([(model, predictor.features(member.val.dataset))], groups)
    held_out = HeldOut([(model, val)])
    calibrate(model, *held_out.outputs(), held_out, groups)
    found = {}
    for name, features in (("val", val), ("test", predictor.features(test))):
        outputs = model.outputs_of(features.of, features.rows, len(features.labels))
        metrics = evaluate(model, outputs, features.labels)
        found[name] = {key: metrics[key] for key in ("n", "fused", "modalities")}
    return found["test"] | {"val": found["val"], "seconds": round(seconds, 3), "experts": pool_facts(model)}


def results_of(data: str, method: str, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = find_manifest(data) if data in BUILT_IN else data_of(data, Path(folder), None)
        options: dict[str, Any] = {"seed": seed, "threads": 1, "logger": "none"}
        run = altuna.fit(path, method=method, out=Path(folder) / "run", quiet=True, report=False, **options)
        found: dict[str, Any] = {
            "training": json.loads((run / "metrics.json").read_text())["cost"]["seconds"]
        }
        config = FitConfig(data=str(path), method={"name": method}, **options)
        prepared = prepare(config, path, cache_folder() / "store")
        for names in ESTIMATORS:
            found[names] = finished(run, prepared, estimators_of(names))
        return found


def table(results: dict[str, Any]) -> str:
    """Return Markdown: means over seeds."""
    head = ["data", "method", "estimators", "seeds", "fused", "NLL", "best alone", "val NLL", "seconds"]
    lines = [head, ["---"] * len(head)]
    for key, runs in results.items():
        data, method = key.rsplit(", ", 1)
        for names in ESTIMATORS:
            scores = [run[names] for run in runs.values()]
            alone = {m: mean(s["modalities"][m]["accuracy"] for s in scores) for m in scores[0]["modalities"]}
            best = max(alone, key=alone.__getitem__)
            lines.append(
                [
                    *(data, method, names, str(len(scores))),
                    f"{100 * mean(s['fused']['accuracy'] for s in scores):.1f}",
                    f"{mean(s['fused']['nll'] for s in scores):.3f}",
                    f"{100 * alone[best]:.1f} ({best})",
                    f"{mean(s['val']['fused']['nll'] for s in scores):.3f}",
                    f"{mean(s['seconds'] for s in scores):.2f}",
                ]
            )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=[*BUILT_IN, *CHANGED], choices=[*BUILT_IN, *VARIANTS])
    parser.add_argument("--methods", nargs="+", default=["late_fusion", "mla"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "estimators.json")
    given = parser.parse_args()
    found: dict[str, Any] = (
        json.loads(given.results.read_text()) if given.results.exists() else {"results": {}}
    )
    torch.set_num_threads(1)
    for data in given.data:
        for method in given.methods:
            done = found["results"].setdefault(f"{data}, {method}", {})
            for seed in range(given.seeds):
                if str(seed) in done:
                    continue
                done[str(seed)] = results_of(data, method, seed)
                found["environment"] = environment()
                given.results.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found["results"]))


if __name__ == "__main__":
    main()
