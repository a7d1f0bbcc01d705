"""altuna, scikit-learn and AutoGluon-Tabular on the same rows and splits. Which is best, and at what cost?

    python benchmarks/peers.py [--data htad ...] [--learners svm ...] [--seeds 10] [--autogluon FOLDER]

Rules, the same for all: fitted on ``train`` rows, options chosen on ``val`` rows by NLL (the grids of
``peer_learners.py``), one temperature fitted on ``val``, ``test`` used once. Each scikit-learn learner is
also refitted on ``train+val`` with the options, temperature and, for ``stacked``, the C of the first fit;
compare these with altuna's folds, which learn from these rows too. Late fusion averages log-probabilities;
their sum differs from it only by the temperature. Folds are of groups (``peer_data.py`` says which if these
are few).
Vectors are taken as they are; of pictures and texts learners see hand-made features.

Each learner has one thread and a process of its own: memory is the process's peak, seconds include tuning,
fitting and prediction, but no imports. altuna's include reading the table. A learner without randomness runs
once. ``--autogluon FOLDER`` makes a virtual environment there (without torch) if none exists, and runs
AutoGluon on sets of vectors. Finished results in ``benchmarks/results/peers.json`` are not repeated. The
tables are printed at the end (``--only-print``: at once).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
import torch
from mla import HERE
from peer_data import Data

from altuna.comparison.summary import environment
from altuna.errors import UserError
from altuna.evaluation.metrics import classification_metrics
from altuna.recipes.built_in import find_manifest

DATA = ("htad", "htad-sessions", "watch", "digits-views", "emoji")
LEARNERS = ("logistic regression", "svm", "extra trees", "gradient boosting")
RANDOM = ("extra trees",)  # the others' results do not depend on a seed
FORMS = ("late", "concatenated", "stacked")
# Name to the options of `altuna.fit` that differ from the defaults.
ALTUNA: dict[str, dict[str, Any]] = {
    "fast": {"preset": "fast"},
    "default": {},
    "best": {"preset": "best"},
    "late_fusion": {"method": "late_fusion"},
    "estimators": {"method": "late_fusion", "estimators": "extra_trees,logistic"},
}
AUTOGLUON = ("medium", "best")
PACKAGES = ("numpy", "scikit-learn", "scipy")
OWN = "altuna"


class Job(NamedTuple):
    """One process: a script, the interpreter that runs it, and what it is asked."""

    label: str
    script: str
    question: dict[str, Any]
    seed: int
    python: str = sys.executable


def jobs(given: argparse.Namespace, data: Data, seed: int) -> Iterator[Job]:
    """Yield what is to be run with a seed."""
    common = {"data": str(data.path), "modalities": data.modalities, "seed": seed}
    for learner in given.learners:
        for form in FORMS if learner in RANDOM or not seed else ():
            question = {**common, "learner": learner, "form": form}
            yield Job(f"{learner}, {form}", "peer_learners.py", question, seed)
    for name in given.altuna:
        yield Job(f"{OWN}, {name}", "peer_altuna.py", {**common, "options": ALTUNA[name]}, seed)
    vectors = all(options is None for parts in data.modalities.values() for options in parts.values())
    for preset in AUTOGLUON if given.autogluon and vectors and not seed else ():
        question = {**common, "form": preset, "time_limit": given.autogluon_seconds}
        yield Job(f"autogluon, {preset}", "peer_autogluon.py", question, seed, given.autogluon_python)


def run(job: Job, arrays: Path, data: Data) -> dict[str, Any] | None:
    """Run a job; return its entry of the results, or None if it failed."""
    with tempfile.TemporaryDirectory() as folder:
        question = Path(folder) / "job.json"
        question.write_text(json.dumps(job.question))
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        done = subprocess.run(
            [job.python, HERE / job.script, arrays, question, folder],
            env={**os.environ, **single},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            print(
                f"{job.label}, seed {job.seed}: failed: {done.stderr.strip().splitlines()[-1:]}", flush=True
            )
            return None
        found: dict[str, Any] = json.loads((Path(folder) / "found.json").read_text())
        if costs := found.pop("costs", None):
            found |= measured(np.load(Path(folder) / "predictions.npz"), data, costs)
    return {**found, "load": os.getloadavg()[0]}


def measured(predictions: Any, data: Data, costs: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics of test predictions, by the rows that the learner was fitted on and by modality."""
    labels = torch.from_numpy(data.labels[data.arrays["test"]])
    scores = {
        name: classification_metrics(torch.from_numpy(logs).exp(), labels)
        for name, logs in predictions.items()
    }
    return {
        "fits": {rows: {**scores[rows], **cost} for rows, cost in costs.items()},
        "alone": {name[len("alone/") :]: s for name, s in scores.items() if name not in costs},
    }


def install_autogluon(folder: Path) -> str:
    """Return the interpreter of AutoGluon's environment, made on first use."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        package = "autogluon.tabular[lightgbm,catboost,xgboost]"
        subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=True)
    return str(python)


def spread(values: list[float]) -> float:
    """Return the standard error of a mean over seeds: 0 for a learner without randomness."""
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


Row = tuple[str, str]  # a label, and the rows that it was fitted on


def gathered(results: dict[str, Any]) -> dict[Row, dict[str, dict[str, list[float]]]]:
    """Return, for each row of the table and data set, each metric's values by seed."""
    found: dict[Row, dict[str, dict[str, list[float]]]] = {}
    for data, labels in results.items():
        for label, seeds in labels.items():
            for entry in seeds.values():
                for rows, metrics in entry["fits"].items():
                    cell = found.setdefault((label, rows), {}).setdefault(data, {})
                    for name, value in {**metrics, "peak_mb": entry["peak_mb"]}.items():
                        cell.setdefault(name, []).append(value)
    return found


def cell_text(values: dict[str, list[float]] | None) -> str:
    if values is None:
        return "-"
    accuracy = values["accuracy"]
    error = f" ± {100 * spread(accuracy):.1f}" if len(accuracy) > 1 else ""
    return f"{100 * mean(accuracy):.1f}{error} / {mean(values['nll']):.3f} / {mean(values['seconds']):.0f}"


def table(results: dict[str, Any]) -> str:
    """Return Markdown: accuracy ± its standard error over seeds / NLL / seconds."""
    lines = [["learner", "fitted on", *results, "seeds", "MB"], ["---"] * (len(results) + 4)]
    for (label, rows), cells in gathered(results).items():
        seeds = max(len(values["nll"]) for values in cells.values())
        memory = max(max(values["peak_mb"]) for values in cells.values())
        texts = [cell_text(cells.get(data)) for data in results]
        lines.append([label, rows, *texts, str(seeds), f"{memory:.0f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verdicts(results: dict[str, Any], sizes: dict[str, int]) -> str:
    """Return Markdown: the best peer of each data set by accuracy, and what each altuna differs from it.

    The standard error of a difference is over seeds. That of an accuracy over test rows stands beside it,
    as if rows were independent: it is larger, and the same rows are common to all learners. The best
    peer is chosen by its test accuracy among all rows of the table, which favours the peers.
    """
    rows = gathered(results)
    names = [row for row in rows if row[0].startswith(OWN)]
    head = ["data", "best peer", "accuracy", "s.e. of test rows", *(f"{label} ({on})" for label, on in names)]
    lines = [head, ["---"] * len(head)]
    for data in results:
        peers = {row: cells[data] for row, cells in rows.items() if row not in names and data in cells}
        if not peers:
            continue
        best = max(peers, key=lambda row: mean(peers[row]["accuracy"]))
        top = peers[best]["accuracy"]
        binomial = math.sqrt(mean(top) * (1 - mean(top)) / sizes[data])
        line = [data, f"{best[0]} ({best[1]})", f"{100 * mean(top):.1f}", f"{100 * binomial:.1f}"]
        for name in names:
            values = rows[name].get(data)
            if values is None:
                line.append("-")
                continue
            gap = mean(values["accuracy"]) - mean(top)
            error = math.hypot(spread(values["accuracy"]), spread(top))
            within = "yes" if gap >= -error else "no"
            judged = f" ± {100 * error:.1f}, within 1 s.e.: {within}"
            line.append(f"{100 * gap:+.1f}{judged if len(values['accuracy']) > 1 else ' (one seed)'}")
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=[*DATA])
    parser.add_argument("--learners", nargs="*", default=[*LEARNERS], choices=LEARNERS)
    parser.add_argument(
        "--altuna", nargs="*", default=["fast", "default", "best"], choices=[*ALTUNA], help="option sets"
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--autogluon", type=Path, metavar="FOLDER", help="its virtual environment")
    parser.add_argument("--autogluon-seconds", type=float, default=300.0, help="its time limit per fit")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "peers.json")
    parser.add_argument("--only-print", action="store_true")
    given = parser.parse_args()
    given.autogluon_python = install_autogluon(given.autogluon) if given.autogluon else ""
    return given


def measure(given: argparse.Namespace, found: dict[str, Any]) -> None:
    """Run what the results do not have yet, and write them after each."""
    sets = {}
    for name in given.data:
        try:
            sets[name] = Data(find_manifest(name))
        except UserError as error:
            print(f"{name}: not run: {error}", flush=True)
    for seed in range(given.seeds):
        for name, data in sets.items():
            with tempfile.TemporaryDirectory() as folder:
                arrays = Path(folder) / "arrays.npz"
                data.write(arrays, seed)
                done = found["results"].setdefault(name, {})
                found["test_rows"][name] = len(data.arrays["test"])
                for job in jobs(given, data, seed):
                    if str(seed) in done.get(job.label, {}) or not (entry := run(job, arrays, data)):
                        continue
                    found["environment"] = {**environment(), **{name: version(name) for name in PACKAGES}}
                    done.setdefault(job.label, {})[str(seed)] = {
                        **entry,
                        "commit": found["environment"]["commit"],
                    }
                    given.results.write_text(json.dumps(found, indent=1) + "\n")
                    accuracy = {rows: round(fit["accuracy"], 4) for rows, fit in entry["fits"].items()}
                    print(name, job.label, seed, accuracy, flush=True)


def main() -> None:
    given = arguments()
    found: dict[str, Any] = {"results": {}, "test_rows": {}}
    if given.results.exists():
        found = json.loads(given.results.read_text())
    if not given.only_print:
        measure(given, found)
    print(table(found["results"]))
    print()
    print(verdicts(found["results"], found["test_rows"]))


if __name__ == "__main__":
    main()
