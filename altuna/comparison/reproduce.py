"""Reproduce the tables of the MLA paper, beside the published numbers."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from altuna.comparison.compare import compare
from altuna.comparison.paper import CONFIGS, LABEL, MLA, PAPER_RULE, PUBLISHED, TABLES
from altuna.comparison.summary import summary
from altuna.errors import UserError
from altuna.files import read_yaml, write_csv, write_text
from altuna.options import nearest
from altuna.recipes.prepare import prepare
from altuna.reporting import SILENT, Reporter
from altuna.runs.directory import read_json, read_metrics
from altuna.text import markdown_table

HEADER = ["data", "missing", "method", "accuracy %", "published"]
PER_MODALITY = ("readers", "encoders", "transforms")  # options with an entry for each modality


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
    reporter: Reporter = SILENT,
    **options: Any,
) -> Path:
    """Run a table of the paper on your data; return the folder with the runs and ``reproduce.md``.

    ``DATA_ROOT/NAME`` is a release as downloaded, from which ``DATA_ROOT/NAME.csv`` is made once; that
    manifest alone will do. Data that are in neither form are left out, by name. Each comparison uses the
    paper's recipe (``altuna/configs/paper``); an interrupted one continues when started again.

    Args:
        table: ``complete``, ``missing``, ``ablation`` or ``clip``.
        data_root: Folder of the releases.
        data: Some of the table's data; all when None.
        methods: Names of methods; the table's when None. MLA is the paper's.
        seeds: Number of seeds for each training.
        jobs: Trainings at once.
        splits: Folder of the authors' published lists, for manifests that are made now; groups may then be in
            several splits, as in the lists.
        out: Folder; ``runs/reproduce-TABLE`` when None.
        reporter: Reports progress and remarks on the data.
        options: Options of ``fit`` that override the recipe's; those of a modality apply to the data that
            have it.

    Raises:
        UserError: Unknown table, data or method, or none of the data is there.
    """
    data_root = Path(data_root)
    out = Path(out) if out else Path("runs") / f"reproduce-{table}"
    chosen = _chosen(table, data)
    paper = {config: read_yaml(CONFIGS / f"{config}.yaml") for config in chosen}
    _check_modalities(options, paper.values(), table)
    manifests = {config: _manifest(name, data_root, splits, reporter) for config, name in chosen.items()}
    absent = [config for config, path in manifests.items() if path is None]
    if len(absent) == len(chosen):
        raise UserError(f"{data_root}: has none of {', '.join(chosen.values())}, as a folder or as a .csv")
    own = [MLA if name == "mla" else name for name in methods or TABLES[table].methods]
    lines: list[list[str]] = []
    for config, manifest in manifests.items():
        if manifest:
            given = merge_options(paper[config], _own(options, paper[config]["encoders"]))
            given |= {"allow_shared_groups": True} if splits else {}
            given |= {"methods": own, "seeds": seeds, "jobs": jobs, "quiet": True}
            lines += _compared(table, config, manifest, out, given)
    left_out = f"Not found, left out: {', '.join(absent)}." if absent else ""
    if left_out:
        reporter.note(left_out)
    _write(out, table, lines, left_out)
    return out


def _write(out: Path, table: str, lines: Sequence[Sequence[str]], left_out: str) -> None:
    """Write ``reproduce.md`` and ``reproduce.csv``."""
    rows = markdown_table(HEADER, lines)
    text = "\n".join([f"# Table `{table}`", "", *rows, "", left_out]).strip()
    write_text(out / "reproduce.md", text + "\n")
    write_csv(out / "reproduce.csv", [HEADER, *lines])


def _chosen(table: str, data: Sequence[str] | None) -> dict[str, str]:
    """Return the table's data by configuration, or only those named."""
    if table not in TABLES:
        raise UserError(f"no table {table!r}{nearest(table, TABLES)}")
    known = TABLES[table].data
    for name in data or ():
        if name not in known:
            raise UserError(f"table {table!r} has no data {name!r}{nearest(name, known)}")
    return {config: name for config, name in known.items() if config in (data or known)}


def _check_modalities(options: Mapping[str, Any], recipes: Iterable[Mapping[str, Any]], table: str) -> None:
    known = {modality for recipe in recipes for modality in recipe["encoders"]}
    for name, value in options.items():
        for modality in value if _of_modalities(name, value) else ():
            if modality not in known:
                raise UserError(f"table {table!r} has no modality {modality!r}{nearest(modality, known)}")


def merge_options(options: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return options overridden by others, mapping by mapping.

    Example:
        >>> merge_options({"lr": 1, "readers": {"photo": {"size": 64}}}, {"readers": {"photo": {"size": 8}}})
        {'lr': 1, 'readers': {'photo': {'size': 8}}}
    """
    found = dict(options)
    for name, value in more.items():
        both = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        found[name] = merge_options(found[name], value) if both else value
    return found


def _own(options: Mapping[str, Any], modalities: Container[str]) -> dict[str, Any]:
    """Return the options without those of modalities that the data lack."""
    return {
        name: {m: of for m, of in value.items() if m in modalities} if _of_modalities(name, value) else value
        for name, value in options.items()
    }


def _of_modalities(name: str, value: object) -> bool:
    return name in PER_MODALITY and isinstance(value, Mapping)


def _manifest(name: str, root: Path, splits: Path | None, reporter: Reporter) -> Path | None:
    """Return a data set's manifest, made from the release if necessary; None if there is neither."""
    path = root / f"{name}.csv"
    if path.exists():
        if splits:
            reporter.note(f"{path} already exists, so its splits are used instead of the lists in {splits}")
        return path
    if not (root / name).is_dir():
        return None
    report = prepare(name, root / name, path, splits=splits, reporter=reporter)
    problems = f", {len(report.problems):,} problems (see {report.problems_file})" * bool(report.problems)
    reporter.note(
        f"wrote {path}: {sum(report.counts.values()):,} samples{problems}; leakage: {report.leakage}"
    )
    return path


def _compared(
    table: str, config: str, manifest: Path, out: Path, given: Mapping[str, Any]
) -> Iterator[list[str]]:
    """Compare the methods on one data set at each missing rate, and yield the rows of the table."""
    for rate in TABLES[table].rates:
        folder = out / (config + (f"-missing-{rate}" if rate else ""))
        masked = {**given, "missing_rate": rate} if rate else given
        compare(str(manifest), out=folder, **masked)
        yield from _lines(table, config, rate, folder)


def _lines(table: str, config: str, rate: float, folder: Path) -> Iterator[list[str]]:
    """Yield the rows of the table for one comparison."""
    comparison = read_json(folder, "compare.json")
    for label, accuracy in _results(folder, comparison, TABLES[table].rules):
        is_paper = label == f"{LABEL}, {PAPER_RULE}"
        published = PUBLISHED.get((table, config, rate), ()) if is_paper else ()
        sources = "; ".join(f"{value:.2f} ({source})" for value, source in published)
        yield [config, f"{rate:.0%}", label, accuracy, sources]


def _results(folder: Path, comparison: Mapping[str, Any], rules: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield label and accuracy of each method and fusion rule; MLA has its own rule and the paper's."""
    for result in comparison["results"]:
        label = result["method"]
        mine = [
            read_metrics(folder / run["folder"])
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
