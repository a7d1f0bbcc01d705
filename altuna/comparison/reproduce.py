"""``altuna reproduce``: the tables of the MLA paper, run again and set beside what was published."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from altuna.comparison.compare import compare
from altuna.errors import UserError
from altuna.options import nearest
from altuna.reporting import SILENT

CONFIGS = Path(__file__).parents[1] / "configs" / "paper"
# The paper's MLA keeps its order of turns and its projector, as ours does only if told to; as tables call it.
MLA = {"name": "mla", "order": "given", "reset": "never"}
LABEL = "mla (order=given, reset=never)"
BASELINES = ("concat", "sum", "film", "gated", "ogm", "ogm_ge", "qmf", "late_fusion")
PER_MODALITY = ("readers", "encoders", "transforms")
PAPER = "Zhang et al., CVPR 2024, arXiv 2311.10707"
BENCHMARK = "Xu et al., BalanceBenchmark, arXiv 2502.10816"


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper: configuration to data, methods, missing rates, and the fusions to show."""

    data: Mapping[str, str]
    methods: Sequence[str | Mapping[str, Any]]
    rates: Sequence[float] = (0.0,)
    rules: Sequence[str] = ()


RELEASES = ("cremad", "kinetics-sounds", "food101", "mvsa", "iemocap")
TABLES = {
    "complete": PaperTable(dict(zip(RELEASES, RELEASES, strict=True)), (MLA, *BASELINES)),
    "missing": PaperTable(
        {"cremad": "cremad", "iemocap": "iemocap"},
        (MLA, "concat", "sum", "late_fusion", "modality_dropout", "cra", "mmin"),
        (0.0, 0.2, 0.5),
    ),
    "ablation": PaperTable(
        dict(zip(RELEASES, RELEASES, strict=True)),
        (MLA, MLA | {"project": "off"}),
        rules=("entropy", "mean"),
    ),
    "clip": PaperTable({"food101-clip": "food101"}, (MLA, *BASELINES)),
}

# The paper fuses by entropy, not by our default: the rule of the row beside which published figures stand.
PAPER_RULE = "entropy"
# MLA's test accuracy in percent, as printed: (table, configuration, missing rate) to figures and sources.
PUBLISHED = {
    ("complete", "cremad", 0.0): ((79.70, PAPER), (72.30, BENCHMARK)),
    ("complete", "kinetics-sounds", 0.0): ((71.35, PAPER), (69.05, BENCHMARK)),
    ("complete", "food101", 0.0): ((93.14, BENCHMARK),),
    ("missing", "cremad", 0.0): ((79.43, PAPER),),
    ("missing", "cremad", 0.2): ((69.35, PAPER),),
    ("missing", "cremad", 0.5): ((57.53, PAPER),),
}


def reproduce(
    table: str,
    data_root: Path,
    *,
    data: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    seeds: int = 3,
    jobs: int | None = None,
    splits: Path | None = None,
    out: Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> Path:
    """Run a table of the paper on the data at hand; return the folder with the runs and ``reproduce.md``.

    ``DATA_ROOT/NAME`` is a release as downloaded, from which ``DATA_ROOT/NAME.csv`` is made once, or that
    manifest is there already. Data that are not there are left out, by name. Each is a comparison with the
    paper's recipe (``altuna/configs/paper``) and can be interrupted and started again.

    Args:
        table: ``complete``, ``missing``, ``ablation`` or ``clip``.
        data_root: Folder of the releases.
        data: Some of the table's data; all when None.
        methods: Names of methods; the table's when None. MLA is the paper's.
        seeds: Trainings of each.
        jobs: Trainings at once.
        splits: Folder of the authors' published lists, for manifests that are made now; groups may then stand
            in several splits, as they do in the lists.
        out: Folder; ``runs/reproduce-TABLE`` when None.
        quiet: Print the folder and nothing else.
        options: Of ``fit``, over those of the recipe; those of a modality are for the data that have it.

    Raises:
        UserError: Unknown table, data or method, or none of the data is there.
    """
    from altuna.files import read_yaml
    from altuna.runs.directory import read_json

    data_root = Path(data_root)
    if table not in TABLES:
        raise UserError(f"no table {table!r}{nearest(table, TABLES)}")
    wanted = TABLES[table]
    for name in data or ():
        if name not in wanted.data:
            raise UserError(f"table {table!r} has no data {name!r}{nearest(name, wanted.data)}")
    chosen = {config: name for config, name in wanted.data.items() if config in (data or wanted.data)}
    out = Path(out) if out else Path("runs") / f"reproduce-{table}"
    paper = {config: read_yaml(CONFIGS / f"{config}.yaml") for config in chosen}
    known = {modality for recipe in paper.values() for modality in recipe["encoders"]}
    for name, value in options.items():
        for modality in value if _of_modalities(name, value) else ():
            if modality not in known:
                raise UserError(f"table {table!r} has no modality {modality!r}{nearest(modality, known)}")
    manifests = {config: _manifest(name, data_root, splits, quiet) for config, name in chosen.items()}
    absent = [config for config, path in manifests.items() if path is None]
    if len(absent) == len(chosen):
        raise UserError(
            f"{data_root}: none of {', '.join(chosen.values())} is there, as a folder or as a .csv"
        )

    lines: list[list[str]] = []
    for config, manifest in manifests.items():
        for rate in wanted.rates if manifest else ():
            folder = out / (config + (f"-missing-{rate}" if rate else ""))
            given = over(paper[config], _own(options, paper[config]["encoders"]))
            if splits:
                given["allow_shared_groups"] = True
            if rate:
                given["missing_rate"] = rate
            own = [MLA if name == "mla" else name for name in methods or wanted.methods]
            compare(str(manifest), methods=own, seeds=seeds, jobs=jobs, out=folder, quiet=True, **given)
            comparison = read_json(folder, "compare.json")
            for label, shown in _results(folder, comparison, wanted.rules):
                figures = (
                    PUBLISHED.get((table, config, rate), ()) if label == f"{LABEL}, {PAPER_RULE}" else ()
                )
                said = "; ".join(f"{figure:.2f} ({source})" for figure, source in figures)
                lines.append([config, f"{rate:.0%}", label, shown, said])
    return _write(out, table, lines, absent, quiet)


def over(options: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with others over them, mapping by mapping."""
    found = dict(options)
    for name, value in more.items():
        both = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        found[name] = over(found[name], value) if both else value
    return found


def _own(options: Mapping[str, Any], modalities: Container[str]) -> dict[str, Any]:
    """Return options without those of other modalities."""
    return {
        name: {m: of for m, of in value.items() if m in modalities} if _of_modalities(name, value) else value
        for name, value in options.items()
    }


def _of_modalities(name: str, value: object) -> bool:
    return name in PER_MODALITY and isinstance(value, Mapping)


def _manifest(name: str, root: Path, splits: Path | None, quiet: bool) -> Path | None:
    """Return a data set's manifest, made of the release if need be; None if there is neither."""
    from altuna import recipes
    from altuna.terminal import console, tables

    path = root / f"{name}.csv"
    if path.exists():
        if splits and not quiet:
            console.out.print(f"{path} is there already: its splits are taken as they are", **console.PLAIN)
        return path
    if not (root / name).is_dir():
        return None
    report = recipes.prepare(
        name, root / name, path, splits=splits, reporter=SILENT if quiet else console.TerminalReporter()
    )
    if not quiet:
        tables.print_report(report)
    return path


def _results(folder: Path, comparison: Mapping[str, Any], rules: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each method and rule, and its accuracy; MLA has the paper's rule beside its own."""
    from altuna.comparison.summary import summary
    from altuna.runs.directory import read_json

    for result in comparison["results"]:
        label = result["method"]
        mine = [
            read_json(folder / run["folder"], "metrics.json")
            for run in comparison["runs"]
            if run["method"] == label and not run["reason"]
        ]
        for rule in rules or (("", PAPER_RULE) if label == LABEL else ("",)):
            accuracy = [m["fusion"]["rules"][rule or m["fusion"]["rule"]]["accuracy"] for m in mine]
            own = summary([{"accuracy": 100 * a} for a in accuracy]).get("accuracy")
            shown = "failed" if own is None else f"{own['mean']:.2f}"
            if own is not None and own["sd"] is not None:
                shown += f" ± {own['sd']:.2f}"
            yield label + (f", {rule}" if rule else ""), shown


def _write(out: Path, table: str, lines: Sequence[Sequence[str]], absent: Sequence[str], quiet: bool) -> Path:
    from rich.markup import escape
    from rich.table import Table

    from altuna.files import write_csv, write_text
    from altuna.terminal import console
    from altuna.text import markdown_table

    header = ["data", "missing", "method", "accuracy %", "published"]
    left_out = f"Not there, left out: {', '.join(absent)}." if absent else ""
    rows = markdown_table(header, lines)
    write_text(
        out / "reproduce.md", "\n".join([f"# Table `{table}`", "", *rows, "", left_out]).strip() + "\n"
    )
    write_csv(out / "reproduce.csv", [header, *lines])
    if not quiet:
        shown = Table(*header, title=table)
        for line in lines:
            shown.add_row(*map(escape, line))
        console.out.print(shown)
        if left_out:
            console.out.print(left_out, markup=False)
        console.out.print(f"results in {out} (reproduce.md, reproduce.csv)", soft_wrap=True)
    return out
