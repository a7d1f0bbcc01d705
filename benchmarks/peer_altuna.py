"""altuna as one of the learners of ``peers.py``, one per process: ``peer_altuna.py ARRAYS JOB FOLDER``.

It reads the table itself. Seconds are those of ``altuna.fit``, which also evaluates subsets of modalities.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import yaml
from peer_process import peak_mb

import altuna


def main() -> None:
    job, out = json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
    wall, cpu = time.perf_counter(), time.process_time()
    options = {"quiet": True, "report": False, "logger": "none", "threads": 1, **job["options"]}
    run = altuna.fit(job["data"], seed=job["seed"], out=out / "run", **options)
    costs = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    metrics = json.loads((run / "metrics.json").read_text())
    folds = yaml.safe_load((run / "config.yaml").read_text()).get("folds")
    kept = ("accuracy", "macro_f1", "nll", "ece")
    found = {
        "fits": {
            "train+val" if folds else "train": {**{name: metrics["fused"][name] for name in kept}, **costs}
        },
        "alone": {
            modality: {name: scores[name] for name in kept}
            for modality, scores in metrics["modalities"].items()
        },
        "peak_mb": peak_mb(),
        "notes": {"method": metrics.get("method"), "folds": folds},
    }
    (out / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
