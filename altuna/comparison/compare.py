"""``altuna.compare``: many trainings, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from altuna import methods
from altuna.comparison.config import ALL, CompareConfig, run_options
from altuna.comparison.grid import Method, folder_name, make_grid
from altuna.comparison.pool import Pool, Run
from altuna.comparison.summary import write_comparison
from altuna.errors import UserError
from altuna.options import document, nearest, validate
from altuna.reporting import SILENT, Advance, LoggingReporter, Reporter
from altuna.runs.directory import read_metrics
from altuna.training.config import FitConfig
from altuna.training.config import options as fit_options
from altuna.training.resume import config_diff
from altuna.training.run import silence_warnings

DEFAULT_METHOD = FitConfig().method["name"]


class AllFailedError(UserError):
    """No run of a comparison succeeded; ``folder`` has the reasons."""

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message)
        self.folder = folder


def compare(
    data: str | Path | Sequence[str] = "emoji", *, reporter: Reporter | None = None, **options: Any
) -> Path:
    """Train methods on data with several seeds, compare them, and return the folder of runs and tables.

    Each run is a ``fit`` call in a joblib process, into ``OUT/DATA-METHOD-SEED``. With
    ``joblib.parallel_config("dask")`` or another backend, runs use it; ``out`` must then be a folder that all
    machines share. If the comparison is started again, finished runs are kept and others resumed.
    A run that fails is reported. A run whose process is killed is resumed once, while no other run is active.
    The results are in ``OUT/compare.json``, ``.csv`` and ``.md``.

    Methods may be mappings with options, as for ``fit``. A method that trains a single modality
    (``unimodal``) is run once per modality. Options of ``fit`` apply to all runs.

    Raises:
        UserError: The data or the options contain a mistake; no run has started.
        AllFailedError: No run succeeded.

    Example:
        >>> import altuna
        >>> folder = altuna.compare("htad", methods=["mla", "concat"], seeds=3, jobs=2)  # doctest: +SKIP
        >>> print((folder / "compare.md").read_text())  # doctest: +SKIP
    """
    own, passed = _split({"data": data, **options})
    if reporter is None:
        reporter = SILENT if own.quiet else LoggingReporter()
    names, chosen = _names(own.data), _methods(own.methods)
    _check_reference(own.reference, [label for label, _ in chosen])
    out = own.out or Path("runs") / ("compare-" + "-".join(map(folder_name, names)))
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file, not a folder")
    silence_warnings()
    grid = make_grid(
        names,
        chosen,
        out,
        passed,
        seeds=own.seeds,
        budget=own.budget,
        strict=own.methods != ALL,
        reporter=reporter,
    )
    reference = _reference(own.reference, grid.runs, own.budget)
    pool = Pool(own.jobs, own.threads, out)
    with pool.alone(), reporter.steps("comparing", len(grid.runs)) as advance:
        failed = _carry_out_all(grid.runs, reference, own.budget, pool, reporter, advance)
    stated = {"budget": own.budget, "reference": reference, "seeds": own.seeds, "options": passed}
    write_comparison(out, stated | pool.concurrency, grid.runs, failed, pool.resumed, grid.left_out)
    if len(failed) == len(grid.runs):
        first = grid.runs[0].folder
        raise AllFailedError(f"every run failed, as in {first}: {failed[first]}", out)
    return out


document(compare, {**CompareConfig.model_fields, **run_options()})


def _names(data: str | Path | Sequence[str]) -> list[str]:
    """Return the data's names; a path may have a comma in it."""
    if isinstance(data, str | Path):
        text = str(data)
        data = [text] if Path(text).exists() else text.split(",")
    names = [str(name).strip() for name in data]
    if not names or "" in names:
        raise UserError("data: give at least one data set")
    _refuse_repeated("data", names)
    return names


def _methods(given: str | Sequence[str | Mapping[str, Any]]) -> list[Method]:
    """Return each method's label and options, its name among them."""
    if given == ALL:
        given = methods.list()
    elif isinstance(given, str):
        given = [name.strip() for name in given.split(",")]
    if not isinstance(given, Sequence):
        raise UserError(f"methods: must be a list of names or of mappings like {{name: mla}}, got {given!r}")
    chosen = []
    for one in given:
        if isinstance(one, str):
            name, colon, modality = one.partition(":")
            label, method = one, {"name": name} | ({"modality": modality} if colon else {})
        elif not isinstance(one, Mapping) or "name" not in one:
            raise UserError(
                f"methods: {one!r} is neither a name nor a mapping like {{name: mla, alpha: 0.05}}"
            )
        else:
            method = dict(one)
            stated = ", ".join(f"{key}={value}" for key, value in one.items() if key != "name")
            label = str(one.get("name", "")) + (f" ({stated})" if stated else "")
        methods.check(method.get("name", ""), {key: value for key, value in method.items() if key != "name"})
        chosen.append((label, method))
    if not chosen:
        raise UserError("methods: give at least one method, or all")
    _refuse_repeated("methods", [label for label, _ in chosen])
    return chosen


def _refuse_repeated(what: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{what}: {name!r} is given twice")


def _split(given: Mapping[str, Any]) -> tuple[CompareConfig, dict[str, Any]]:
    """Return the comparison's own options, checked, and those for its trainings."""
    own, passed = CompareConfig.model_fields, run_options()
    for name in given:
        if name in fit_options() and name not in own and name not in passed:
            more = "; write methods: [{name: mla, alpha: 0.05}] in --config" if name == "method" else ""
            raise UserError(f"{name}: cannot be set here, because a comparison sets it for each run{more}")
        if name not in own and name not in passed:
            raise UserError(f"unknown option {name!r}{nearest(name, [*own, *passed])}")
    checked = validate(CompareConfig, {name: value for name, value in given.items() if name in own})
    options = {name: value for name, value in given.items() if name not in own}
    return checked, options


def _check_reference(given: str | None, labels: Sequence[str]) -> None:
    """Refuse a name that cannot be meant, before the data are read."""
    if given is not None and not {given, given.partition(":")[0]} & {*labels}:
        raise UserError(f"reference: {given!r} is not among the methods{nearest(given, labels)}")


def _reference(given: str | None, runs: Sequence[Run], budget: str) -> str:
    """Return the reference's label."""
    labels = [*dict.fromkeys(run.label for run in runs)]
    if given is None:
        given = DEFAULT_METHOD if DEFAULT_METHOD in labels else labels[0]
    if given not in labels:
        raise UserError(f"reference: {given!r} is not among the methods{nearest(given, labels)}")
    for name in {run.data for run in runs} - {run.data for run in runs if run.label == given}:
        if budget == "time":
            raise UserError(
                f"budget: the reference {given!r} cannot be trained on {name}, which leaves no time budget"
            )
    return given


def _carry_out_all(
    runs: Sequence[Run],
    reference: str,
    budget: str,
    pool: Pool,
    reporter: Reporter,
    advance: Advance,
) -> dict[Path, str]:
    """Carry out what is not finished; return the folders of runs that failed, and why."""
    failed: dict[Path, str] = {}

    def finish(run: Run, reason: str) -> None:
        if reason:
            failed[run.folder] = reason
            reporter.note(f"{run.folder.name} failed: {reason}")
        advance("" if reason else run.folder.name)

    def carry_out(some: Sequence[Run]) -> None:
        unfinished = [run for run in some if not _is_finished(run)]
        for run in some:
            if run not in unfinished:
                finish(run, "")
        pool.carry_out(unfinished, finish)

    if budget != "time":
        carry_out(runs)
        return failed
    models = {(run.data, run.seed): run for run in runs if run.label == reference}
    carry_out([*models.values()])
    timed = []
    for run in runs:
        model = models[run.data, run.seed]
        if model.folder in failed and run is not model:
            finish(run, f"{model.folder.name} failed, which was to say how long it may take")
        elif run is not model:
            seconds = float(read_metrics(model.folder)["cost"]["seconds"])
            timed.append(replace(run, options={**run.options, "budget": {"seconds": seconds}}))
    carry_out(timed)
    return failed


def _is_finished(run: Run) -> bool:
    """Whether a run is done, with these options; whatever there is of it was started with them.

    Raises:
        UserError: It was started with others.
    """
    if not (run.folder / "config.yaml").exists():
        return False
    config = validate(FitConfig, run.options).saved()
    if run.options.get("precision", "auto") == "auto":
        del config["precision"]  # it is the worker's machine that decides
    if change := config_diff(run.folder, config):
        raise UserError(f"{change}; choose another folder with --out")
    return (run.folder / "metrics.json").exists()
