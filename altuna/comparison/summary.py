"""Summarise the runs of a comparison, and write its files."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from altuna import __version__
from altuna import hardware as processor
from altuna.comparison import tables
from altuna.comparison.pool import Run
from altuna.evaluation.significance import compare_means, critical_difference, friedman, holm, ranks
from altuna.files import write_csv, write_json, write_text
from altuna.runs.directory import read_metrics, read_predictions

LEVEL = 0.05
COMMON_RULE = "evidence"  # every method is also evaluated with this fusion rule


def write_comparison(
    out: Path,
    settings: Mapping[str, Any],
    runs: Sequence[Run],
    failed: Mapping[Path, str],
    resumed: Collection[Path],
    left_out: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """Write ``compare.json``, ``compare.csv`` and ``compare.md``, and return the content of the first.

    Args:
        out: The folder to write to.
        settings: Settings of the comparison: ``reference``, ``options`` and others.
        runs: All runs.
        failed: Folders of the runs that failed, and why.
        resumed: Folders of the runs that were killed once and resumed.
        left_out: ``data``, ``method`` and ``reason`` of what could not run.
    """
    done = [run for run in runs if run.folder not in failed]
    contents = {run.folder: read_metrics(run.folder) for run in done}
    metrics = {folder: flat_metrics(content) for folder, content in contents.items()}
    _add_laziness(done, metrics)
    comparison: dict[str, Any] = {
        **settings,
        "options": {name: _plain(value) for name, value in settings["options"].items()},
        "environment": environment(),
        "results": [],
        "ranking": None,
        "left_out": [*left_out],
        "runs": [_run_entry(run, failed.get(run.folder, ""), run.folder in resumed) for run in runs],
    }
    for data in dict.fromkeys(run.data for run in runs):
        results = []
        for method in dict.fromkeys(run.label for run in runs if run.data == data):
            some = [run for run in runs if (run.data, run.label) == (data, method)]
            finished = [run for run in some if run.folder not in failed]
            results.append(
                {
                    "data": data,
                    "method": method,
                    "split": contents[finished[0].folder]["split"] if finished else None,
                    "seeds": [run.seed for run in finished],
                    "failed": len(some) - len(finished),
                    "metrics": summary([metrics[run.folder] for run in finished]),
                    "versus": None,
                }
            )
        _test(results, [run for run in done if run.data == data], settings["reference"])
        comparison["results"] += results
    comparison["ranking"] = ranking(comparison["results"])
    write_json(out / "compare.json", comparison)
    write_csv(out / "compare.csv", tables.rows(comparison))
    write_text(out / "compare.md", tables.markdown(comparison))
    return comparison


def _run_entry(run: Run, reason: str, was_killed: bool) -> dict[str, Any]:
    return {
        "data": run.data,
        "method": run.label,
        "seed": run.seed,
        "folder": run.folder.name,
        "status": "failed" if reason else "finished",
        "reason": reason,
        "killed_once": was_killed,
    }


def flat_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a run's ``metrics.json`` with flat names: ``accuracy``, ``imbalance/gap`` ..."""
    found = dict(metrics["fused"])
    for name, alone in metrics["modalities"].items():
        found |= _flat(alone, f"{name}/")
    found |= _flat(metrics["imbalance"], "imbalance/")
    found |= _flat(metrics["fusion"]["rules"].get(COMMON_RULE, {}), f"fusion/{COMMON_RULE}/")
    found |= metrics["cost"] | {"samples": metrics["n"]}
    return {name: float(v) for name, v in found.items() if v is not None and np.isfinite(v)}


def _add_laziness(runs: Sequence[Run], metrics: Mapping[Path, dict[str, float]]) -> None:
    """Add by how much each modality is less accurate than trained alone with the same seed, and the most."""
    alone = {
        (run.data, run.seed, name): metrics[run.folder][f"{name}/accuracy"]
        for run in runs
        if (name := run.label.removeprefix("unimodal:")) != run.label
    }
    for run in runs:
        mine = metrics[run.folder]
        lazy = {
            name: alone[run.data, run.seed, name] - mine[f"{name}/accuracy"]
            for data, seed, name in alone
            if (data, seed) == (run.data, run.seed) and f"{name}/accuracy" in mine
        }
        mine |= {f"imbalance/laziness/{name}": value for name, value in lazy.items()}
        if lazy:
            mine["imbalance/laziness"] = max(lazy.values())


def _flat(content: Mapping[str, Any], start: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{start}{name}/")
        elif isinstance(value, int | float):
            found[start + name] = value
    return found


def summary(some: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    """Return mean and sample standard deviation (None for one run) of every metric over runs.

    Example:
        >>> summary([{"accuracy": 0.5}, {"accuracy": 1.0}])["accuracy"]["mean"]
        0.75
    """
    found: dict[str, dict[str, float | None]] = {}
    for name in dict.fromkeys(name for one in some for name in one):
        values = [one[name] for one in some if name in one]
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        found[name] = {"mean": float(np.mean(values)), "sd": sd}
    return found


def _test(results: list[dict[str, Any]], runs: Sequence[Run], reference: str) -> None:
    """Add to each result its difference in accuracy from the reference's, on the seeds that both have."""
    right = {(run.label, run.seed): _right(run.folder) for run in runs}
    group_of = {i: group for run in runs for i, group in _groups(run.folder).items()}
    tested = []
    for result in results:
        seeds = [s for s in result["seeds"] if (reference, s) in right]
        if result["method"] == reference or not seeds:
            continue
        both = [(right[result["method"], s], right[reference, s]) for s in seeds]
        ids = sorted({i for mine, other in both for i in mine.keys() & other.keys()})
        if not ids:
            continue
        groups = [group_of[i] for i in ids]
        found = compare_means(*(_cells([pair[k] for pair in both], ids) for k in (0, 1)), groups=groups)
        known = {name: value for name, value in found._asdict().items() if np.isfinite(value)}
        numbers = {"samples": len(ids), "groups": len({*groups})}
        result["versus"] = {"reference": reference, **numbers, **known}
        tested += [result["versus"]] if "p" in known else []
    for versus, p in zip(tested, holm([versus["p"] for versus in tested]), strict=True):
        versus["p_holm"] = float(p)


def _right(folder: Path) -> dict[str, bool]:
    """Return whether the prediction of each test sample is correct, by id."""
    table = read_predictions(folder, ["id", "label", "prediction"])
    ids, labels, predictions = (column.to_pylist() for column in table.columns)
    return {i: label == predicted for i, label, predicted in zip(ids, labels, predictions, strict=True)}


def _groups(folder: Path) -> dict[str, tuple[str, bool]]:
    """Return the group of each test sample; one without a group is a group of its own."""
    table = read_predictions(folder)
    ids = table["id"].to_pylist()
    groups = table["group"].to_pylist() if "group" in table.column_names else [None] * len(ids)
    return {i: (i, False) if group is None else (group, True) for i, group in zip(ids, groups, strict=True)}


def _cells(right: Sequence[Mapping[str, bool]], ids: Sequence[str]) -> NDArray[np.float64]:
    """Return [seeds, samples], NaN where a seed's test split has no such sample."""
    return np.array([[float(one.get(i, np.nan)) for i in ids] for one in right])


def ranking(results: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Rank the methods that were tested on all samples by accuracy; None of fewer than two data sets."""
    scores = {
        data: {r["method"]: r["metrics"]["accuracy"]["mean"] for r in some if tables.is_whole(r, results)}
        for data, some in groupby((r for r in results if r["metrics"]), lambda r: r["data"])
    }
    everywhere = [
        m for m in dict.fromkeys(r["method"] for r in results) if all(m in s for s in scores.values())
    ]
    if len(scores) < 2 or len(everywhere) < 2:
        return None
    table = np.array([[score[m] for m in everywhere] for score in scores.values()])
    statistic, p = friedman(table)
    mean = dict(zip(everywhere, ranks(table).mean(0).tolist(), strict=True))
    return {
        "mean_rank": dict(sorted(mean.items(), key=lambda item: item[1])),
        "critical_difference": critical_difference(len(everywhere), len(scores), LEVEL),
        "level": LEVEL,
        "friedman": {"statistic": statistic, "p": p},
        "data": [*scores],
    }


def environment() -> dict[str, Any]:
    """Return what results depend on besides options: versions, hardware and, in a clone, the commit."""
    try:
        git = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
        commit = git.stdout.strip() or None
    except OSError:
        commit = None
    return {
        "altuna": __version__,
        "commit": commit,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "processor": processor.describe(),
        "cores": os.cpu_count(),
    }


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
