"""Write the tables of results in the README and the documentation from ``benchmarks/results``.

python tools/build_results.py

A page marks the place of a table by ``<!-- results: NAME -->`` and ``<!-- end of results -->``.
``python tools/build_results.py`` fills all of them, and a test fails where a page is out of date.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGES = [ROOT / "README.md", ROOT / "docs" / "index.md", ROOT / "docs" / "results.md"]
PLACE = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end of results -->)", re.DOTALL)
NAMES = {"htad": "HTAD", "emoji": "emoji", "av-digits": "AV-Digits", "av-digits-hard": "AV-Digits hard"}

Metrics = dict[str, Any]


def read(name: str) -> Any:
    """Return what a JSON file of results holds."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def spread(values: list[float], scale: float = 100, digits: int = 1) -> str:
    """Return mean and standard deviation over the seeds.

    >>> spread([0.7, 0.8])
    '75.0 ± 7.1'
    """
    return f"{scale * fmean(values):.{digits}f} ± {scale * stdev(values):.{digits}f}"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table whose first column is text and whose other columns are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def emoji() -> str:
    """Return what ``altuna fit`` reaches on the built-in data, and how long it takes."""
    runs = read("emoji")["runs"]
    metrics: list[Metrics] = [run["metrics"] for run in runs]
    seconds = sorted(run["seconds"] for run in runs)

    def row(name: str, found: list[Metrics]) -> list[str]:
        numbers = [spread([m[key] for m in found], 1, 2) for key in ("macro_f1", "nll", "ece")]
        return [name, spread([m["accuracy"] for m in found]), *numbers]

    rows = [row(f"{name} alone", [m["modalities"][name] for m in metrics]) for name in ("image", "text")]
    rows.append(row("**both, fused**", [m["fused"] for m in metrics]))
    head = [f"{metrics[0]['n']} test samples", "accuracy, %", "macro-F1", "NLL", "ECE"]
    what = (
        f"Mean ± standard deviation over {len(runs)} seeds; a run takes {seconds[0]:.0f} to\n"
        f"{seconds[-1]:.0f} seconds on two CPU cores, from the command to the report (`benchmarks/emoji.py`)."
    )
    return f"{markdown(head, rows)}\n\n{what}"


def summary() -> str:
    """Return the accuracy of each modality alone, of MLA with two fusion rules, and of ``concat``."""
    found: dict[tuple[str, str], list[Metrics]] = {}
    for run in read("mla"):
        found.setdefault((run["data"], run["variant"]), []).append(run["metrics"])
    found["emoji", "mla"] = [run["metrics"] for run in read("emoji")["runs"]]
    rows = []
    for data, name in NAMES.items():
        mla = found[data, "mla, as in the paper" if data.startswith("av-") else "mla"]
        concat = found.get((data, "concat"), [])
        alone = (
            f"{modality} {spread([m['modalities'][modality]['accuracy'] for m in mla])}"
            for modality in mla[0]["modalities"]
        )
        rules = [
            [m["fusion"]["rules"][rule]["accuracy"] for m in mla]
            for rule in ("calibrated_product", "entropy")
        ]
        joint = spread([m["fused"]["accuracy"] for m in concat]) if concat else ""
        rows.append([name, ", ".join(alone), *map(spread, rules), joint])
    return markdown(["data", "modalities alone", "MLA, calibrated product", "MLA, entropy", "`concat`"], rows)


def grid() -> str:
    """Return the table of all methods that ``benchmarks/grid.py`` wrote."""
    table = (RESULTS / "grid.md").read_text(encoding="utf-8").split("\n\n")[0]
    head, *rows = table.strip().splitlines()
    for name, shown in NAMES.items():
        head = head.replace(f" {name} ", f" {shown} ")
    return "\n".join([head, *rows])


def filled(text: str) -> str:
    """Return a page with its tables of results made anew."""
    tables = {"emoji": emoji, "summary": summary, "grid": grid}
    return PLACE.sub(lambda found: f"{found[1]}\n{tables[found[2]]()}\n\n{found[3]}", text)


def main() -> None:
    """Fill every page."""
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
