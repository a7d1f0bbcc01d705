"""What MLA reaches on the built-in data, and what each of its parts contributes.

    python benchmarks/mla.py --data htad --seeds 5 --jobs 2

Every run is stored in ``benchmarks/results/mla.json`` as soon as it ends; runs that stand there already
are not repeated (delete the file, or give ``--results``, to start afresh). The table is printed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from altuna.comparison.paper import MLA as PAPERS
from altuna.comparison.summary import environment

HERE = Path(__file__).parent
# Fewer passes than the default where that is enough; every variant gets the same.
EPOCHS = {"av-digits": 10, "av-digits-hard": 10}
# Name to the options that differ from the defaults.
VARIANTS = {
    "mla": {},
    "mla, as in the paper": {"method": PAPERS},
    "late_fusion": {"method": "late_fusion"},
    "concat": {"method": "concat"},
    "mla, projection off": {"method": {"name": "mla", "project": "off"}},
    "mla, project the step": {"method": {"name": "mla", "project": "step"}},
    "mla, alpha 0.01": {"method": {"name": "mla", "alpha": 0.01}},
    "mla, alpha 1": {"method": {"name": "mla", "alpha": 1.0}},
    "mla, alpha 10": {"method": {"name": "mla", "alpha": 10.0}},
    "mla, alpha schedule": {"method": {"name": "mla", "alpha": "schedule"}},
    "mla, reset epoch": {"method": {"name": "mla", "reset": "epoch"}},
    "mla, reset never": {"method": {"name": "mla", "reset": "never"}},
    "mla, order given": {"method": {"name": "mla", "order": "given"}},
    "mla, order random": {"method": {"name": "mla", "order": "random"}},
    "mla, order weakest": {"method": {"name": "mla", "order": "weakest"}},
}


def run(job: tuple[str, str, int, str | None, int]) -> dict:
    data, variant, seed, root, threads = job
    import torch

    import altuna

    torch.set_num_threads(threads)
    folder = tempfile.mkdtemp(prefix="altuna-benchmark-")
    try:
        out = Path(folder) / "run"
        options = {"epochs": EPOCHS[data]} if data in EPOCHS else {}
        altuna.fit(data, root=root, seed=seed, out=out, quiet=True, **options, **VARIANTS[variant])
        metrics = json.loads((out / "metrics.json").read_text())
    finally:
        shutil.rmtree(folder)
    said = {"data": data, "variant": variant, "seed": seed, "threads": threads}
    return {**said, **environment(), "metrics": metrics}


def summary(runs: list[dict], data: str) -> str:
    """A Markdown table: mean and standard deviation of test accuracy over seeds, in percent."""
    mine = [r for r in runs if r["data"] == data]
    modalities = [*mine[0]["metrics"]["modalities"]]
    rules = ("calibrated_product", "calibrated_entropy", "entropy", "product", "mean")
    lines = [
        "| " + " | ".join([data, "seeds", *modalities, "fused", *rules, "interference", "seconds"]) + " |",
        "|" + "---|" * (5 + len(modalities) + len(rules)),
    ]
    for variant in VARIANTS:
        some = [r["metrics"] for r in mine if r["variant"] == variant]
        if not some:
            continue
        cells = [variant, str(len(some))]
        cells += [_mean([100 * m["modalities"][name]["accuracy"] for m in some]) for name in modalities]
        cells.append("**" + _mean([100 * m["fused"]["accuracy"] for m in some]) + "**")
        cells += [_mean([100 * m["fusion"]["rules"][r]["accuracy"] for m in some]) for r in rules]
        between = [v for m in some for v in m["imbalance"]["interference"].values()]
        cells.append(f"{statistics.mean(between):+.4f}" if between else "")
        cells.append(f"{statistics.mean(m['cost']['seconds'] for m in some):.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(values: list[float]) -> str:
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values) if len(values) > 1 else 0:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=["htad"])
    parser.add_argument("--variants", nargs="+", default=[*VARIANTS], choices=[*VARIANTS])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--root", help="raw files of av-digits")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "mla.json")
    arguments = parser.parse_args()
    runs = json.loads(arguments.results.read_text()) if arguments.results.exists() else []
    done = {(r["data"], r["variant"], r["seed"]) for r in runs}
    jobs = [
        (data, variant, seed, arguments.root if data.startswith("av") else None, arguments.threads)
        for data in arguments.data
        for seed in range(arguments.seeds)
        for variant in arguments.variants
        if (data, variant, seed) not in done
    ]
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for result in pool.map(run, jobs):
            runs.append(result)
            unfinished = arguments.results.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(runs, indent=1))
            os.replace(unfinished, arguments.results)
            print(result["data"], result["variant"], result["seed"], result["metrics"]["fused"], flush=True)
    for data in dict.fromkeys(r["data"] for r in runs):
        print("\n" + summary(runs, data))


if __name__ == "__main__":
    main()
