"""All methods on three data sets with five seeds: what researchers compare with.

    python benchmarks/grid.py --runs FOLDER --root AV_DIGITS [--seeds 5] [--jobs 2]

One ``altuna compare`` a data set, with as many encoder updates for every method; the ResNets are 16 channels
wide and emoji and AV-Digits hard have 10 epochs, so that two cores can do it in two hours. Started again
with the same folder it goes on. Written to ``benchmarks/results/grid.json`` and ``grid.md``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mla import HERE

import altuna
from altuna.comparison import tables
from altuna.comparison.summary import ranking
from altuna.files import write_json, write_text

WIDTH = 16
DATA: dict[str, dict[str, Any]] = {
    "htad": {},
    "emoji": {"epochs": 10, "encoders": {"image": {"width": WIDTH}}},
    "av-digits-hard": {"epochs": 10, "encoders": {"image": {"width": WIDTH}, "audio": {"width": WIDTH}}},
}


def compact(comparison: dict[str, Any]) -> str:
    """Return one table of all data: accuracy, and the difference from MLA where Holm's p is below 0.05."""
    by_data = dict(tables.by_data(comparison))
    cells: dict[str, dict[str, str]] = {}
    for data, results in by_data.items():
        for result in results:
            accuracy, versus = result["metrics"]["accuracy"], result["versus"]
            worse = versus and versus["p_holm"] < 0.05
            text = f"{100 * accuracy['mean']:.1f} ± {100 * accuracy['sd']:.1f}" + " *" * bool(worse)
            cells.setdefault(result["method"], {})[data] = text
    ranks = (comparison["ranking"] or {}).get("mean_rank", {})
    order = sorted(cells, key=lambda method: ranks.get(method, len(cells)))
    lines = [["method", *by_data, "mean rank"], ["---", *["---:"] * (len(by_data) + 1)]]
    for method in order:
        rank = f"{ranks[method]:.1f}" if method in ranks else ""
        lines.append([method, *(cells[method].get(data, "") for data in by_data), rank])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=Path, required=True, help="where the runs go")
    parser.add_argument("--root", type=Path, required=True, help="raw files of AV-Digits")
    parser.add_argument("--data", nargs="+", default=[*DATA], choices=[*DATA])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    parts = []
    for name in given.data:
        options = DATA[name] | ({"root": given.root} if name.startswith("av-") else {})
        out = given.runs / name
        altuna.compare(name, seeds=given.seeds, jobs=given.jobs, threads=1, out=out, quiet=True, **options)
        parts.append(json.loads((out / "compare.json").read_text()))
        print(tables.markdown(parts[-1]), flush=True)
    together = {
        **parts[0],
        "options": {name: DATA[name] for name in given.data},
        "environment": {name: part["environment"] for name, part in zip(given.data, parts, strict=True)},
        "results": [result for part in parts for result in part["results"]],
        "runs": [run for part in parts for run in part["runs"]],
        "left_out": [],
    }
    together["ranking"] = ranking(together["results"])
    write_json(HERE / "results" / "grid.json", together)
    write_text(HERE / "results" / "grid.md", compact(together) + "\n" + tables.markdown(together))


if __name__ == "__main__":
    main()
