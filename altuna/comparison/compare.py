"""``altuna compare``: many trainings, side by side. The heavy imports wait until it is called."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from altuna.comparison.pool import Pool, Run
from altuna.errors import UserError
from altuna.options import check_options, nearest
from altuna.training.fit import check_raw, checked, completed, fit

if TYPE_CHECKING:
    from altuna.training.setup import Prepared

BUDGETS = ("updates", "epochs", "time")
# What the comparison itself says to fit.
OWN = (
    *("data", "method", "seed", "budget", "out", "resume", "report", "quiet"),
    *("devices", "nodes", "strategy", "stream", "buffer"),
)
OPTIONS = [name for name in inspect.signature(fit).parameters if name not in OWN]
DEFAULT_METHOD = inspect.signature(fit).parameters["method"].default
ALL = "all"


def compare(
    data: Annotated[str | Sequence[str], "Data as for fit, or several: a,b"] = "emoji",
    *,
    methods: Annotated[
        str | Sequence[str | Mapping[str, Any]], "all, or some: a,b (unimodal:NAME is one modality's)"
    ] = ALL,
    seeds: Annotated[int, "Trainings of each method on each data: seeds 0, 1, ..."] = 3,
    jobs: Annotated[int | None, "Trainings at once (default: 1, or what joblib is configured for)"] = None,
    threads: Annotated[int | None, "Threads a training (default: cores / jobs)"] = None,
    budget: Annotated[str, "What methods have alike: encoder updates, epochs, or time"] = "updates",
    reference: Annotated[str | None, "Method that others are tested against (default: mla)"] = None,
    out: Annotated[Path | None, "Folder of the runs and tables (default: runs/compare-DATA)"] = None,
    quiet: Annotated[bool, "Print the folder and nothing else"] = False,
    **options: Any,
) -> Path:
    """Train methods on data with several seeds, compare them, and return the folder of runs and tables.

    Runs are ``fit`` calls in processes of joblib, each into ``OUT/DATA-METHOD-SEED``; under
    ``joblib.parallel_config("dask")`` or another backend they run there, if ``out`` is a folder that all
    machines share. Started again, the comparison repeats no finished run and resumes the others. A run that
    fails is reported; one whose process is killed is resumed once, by itself. ``OUT/compare.json``, ``.csv``
    and ``.md`` have the result.

    Methods may be mappings with options, as for ``fit``. One that trains a single modality (``unimodal``) is
    run for each. ``options`` are further options of ``fit``, for all runs alike.

    Raises:
        UserError: Something is wrong with what was given, before anything runs; or no run succeeded.
    """
    own = {"seeds": seeds, "jobs": jobs, "threads": threads, "budget": budget, "reference": reference}
    check_options(own, compare, "compare")
    names = _names(data)
    chosen = _methods(methods)
    _check(options, seeds=seeds, jobs=jobs, threads=threads, budget=budget)
    _check_reference(reference, [label for label, _ in chosen])
    out = Path(out) if out else Path("runs") / ("compare-" + "-".join(_stem(name) for name in names))
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file, not a folder")

    from altuna.comparison import tables
    from altuna.comparison.summary import write_comparison
    from altuna.terminal import console
    from altuna.training.stages import calm

    calm()
    runs, left_out = _grid(names, chosen, seeds, budget, out, options, strict=methods != ALL, quiet=quiet)
    reference = _reference(reference, runs, budget)
    pool = Pool(jobs, threads, out)
    with pool.alone(), console.comparing(len(runs), quiet) as report:
        failed = _carry_out_all(runs, reference, budget, pool, report)
    said = {"budget": budget, "reference": reference, "seeds": seeds, "options": options, **pool.said}
    comparison = write_comparison(out, said, runs, failed, pool.resumed, left_out)
    if not quiet:
        console.out.print(*tables.terminal(comparison, console.out.width), sep="\n")
        console.out.print(f"compared in {out} (compare.json, compare.csv, compare.md)", soft_wrap=True)
    if len(failed) == len(runs):
        raise UserError(f"every run failed, as in {runs[0].folder}: {failed[runs[0].folder]}")
    return out


def _names(data: str | Path | Sequence[str]) -> list[str]:
    """Return the data's names; a path may have a comma in it."""
    if isinstance(data, str | Path):
        text = str(data)
        data = [text] if Path(text).exists() else text.split(",")
    names = [str(name).strip() for name in data]
    if not names or "" in names:
        raise UserError("data: name some")
    _refuse_repeated("data", names)
    return names


def _methods(given: str | Sequence[str | Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return each method's label and options, its name among them."""
    from altuna import methods

    if given == ALL:
        given = methods.list()
    elif isinstance(given, str):
        given = [name.strip() for name in given.split(",")]
    if not isinstance(given, Sequence):
        raise UserError(f"methods: write a list of names, or of options with a name each, got {given!r}")
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
        raise UserError("methods: name some, or all")
    _refuse_repeated("methods", [label for label, _ in chosen])
    return chosen


def _refuse_repeated(what: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{what}: {name!r} stands there twice")


def _check(options: Mapping[str, Any], *, budget: str, seeds: int, **numbers: int | None) -> None:
    own = [name for name in inspect.signature(compare).parameters if name != "options"]
    for name in options:
        if name in OWN:
            more = "; write methods: [{name: mla, alpha: 0.05}] in --config" if name == "method" else ""
            raise UserError(f"{name}: the comparison itself says what it is for each run{more}")
        if name not in OPTIONS:
            raise UserError(f"compare: unknown option {name!r}{nearest(name, [*own, *OPTIONS])}")
    check_options(options, fit, "compare")
    if budget not in BUDGETS:
        raise UserError(f"budget: no {budget!r}{nearest(budget, BUDGETS)}")
    if seeds < 1:
        raise UserError(f"seeds must be at least 1, got {seeds}")
    for name, number in numbers.items():
        if number is not None and number < 1 and not (name == "jobs" and number == -1):
            raise UserError(f"{name} must be at least 1, got {number}")


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
            raise UserError(f"budget: the reference {given!r} cannot run on {name} and has no time to give")
    return given


def _grid(
    names: Sequence[str],
    chosen: Sequence[tuple[str, dict[str, Any]]],
    seeds: int,
    budget: str,
    out: Path,
    options: Mapping[str, Any],
    *,
    strict: bool,
    quiet: bool,
) -> tuple[list[Run], list[dict[str, str]]]:
    """Prepare the data and return all runs, and which methods were left out on which data and why."""
    from altuna.data.table.manifest import read_manifest
    from altuna.files import cache_folder
    from altuna.recipes import find_manifest
    from altuna.terminal import console
    from altuna.training.setup import prepare

    check_raw(options, *names)
    given = {name: completed(name, **options) for name in names}
    root, store = (Path(options[n]) if options.get(n) else None for n in ("root", "store"))
    paths = {n: find_manifest(n, root, download=options.get("download", False)) for n in names}
    if len(names) > 1:  # a mistake in the last is said before the first is decoded
        for name, path in paths.items():
            columns, modalities = given[name]["columns"], given[name]["modalities"]
            shared = given[name]["allow_shared_groups"]
            read_manifest(path, modalities, columns=columns, allow_shared_groups=shared)
    runs: list[Run] = []
    left_out: list[dict[str, str]] = []
    stems = _stems(names)
    for name in names:
        settled: list[tuple[str, dict[str, Any]]] = []
        for seed in range(seeds):
            arguments = checked(given[name] | {"seed": seed})
            prepared = prepare(arguments, paths[name], store or cache_folder() / "store", quiet or seed > 0)
            if seed == 0 and not quiet:
                console.err.print(f"{name}: {console.inferred(prepared.manifest.modalities)}", markup=False)
            if seed == 0:
                for label, method in chosen:
                    if reason := _reason_against(method, prepared):
                        if strict:
                            raise UserError(f"{name}: method {method['name']!r}: {reason}")
                        left_out.append({"data": name, "method": label, "reason": reason})
                    else:
                        settled += _each(label, method, [*prepared.manifest.modalities])
            raw = () if name.startswith("av-digits") else ("root", "download")
            more = {option: value for option, value in options.items() if option not in raw}
            if budget == "updates":
                more["budget"] = {"updates": _standard_updates(prepared, arguments)}
            labels = _stems([label for label, _ in settled])
            for label, method in settled:
                folder = out / f"{stems[name]}-{labels[label]}-{seed}"
                stated = {"data": name, "method": method, "seed": seed, **more}
                runs.append(Run(name, label, seed, folder, stated))
    if not runs:
        raise UserError("no method can run on the data: " + "; ".join(one["reason"] for one in left_out))
    return sorted(runs, key=lambda run: run.seed), left_out


def _each(
    label: str, method: dict[str, Any], modalities: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a method, or what becomes of one that trains a single modality: one for each."""
    from altuna import methods

    if "modality" in inspect.signature(methods.get(method["name"])).parameters and "modality" not in method:
        for modality in modalities:
            yield f"{label}:{modality}", method | {"modality": modality}
    else:
        yield label, method


def _reason_against(method: Mapping[str, Any], prepared: Prepared) -> str:
    """Say why a method cannot be trained on data, by making it; empty if it can."""
    from altuna import methods

    settings = {key: value for key, value in method.items() if key != "name"}
    kind = methods.get(method["name"])
    description = prepared.description
    impute = settings.pop("impute", "zero")
    try:
        used = kind.select([*description.readers], **settings)
        description = replace(
            description,
            head=kind.head,
            fusion="",
            impute=impute,
            readers={name: description.readers[name] for name in used},
            encoders={name: description.encoders[name] for name in used},
        )
        kind(description.build_model(), **settings)
    except ValueError as error:
        return str(error)
    return ""


def _standard_updates(prepared: Prepared, options: Mapping[str, Any]) -> int:
    """Return the encoder updates of a standard training: in every batch one for each modality that it has."""
    from altuna.data.dataset import BatchSampler

    dataset = prepared.splits["train"].dataset
    present, total = dataset.present, 0
    sampler = BatchSampler(len(dataset), options["batch_size"], options["seed"])
    for epoch in range(options["epochs"]):
        sampler.set_epoch(epoch)
        total += sum(int(present[:, batch].any(axis=1).sum()) for batch in sampler)
    return total


def _stems(names: Sequence[str]) -> dict[str, str]:
    """Return for each name its part of a folder's name; where some would be the same, a digest tells."""
    stems = {name: _stem(name) for name in names}
    alike = [stem.lower() for stem in stems.values()]  # some file systems do not tell them apart
    return {
        name: stem if alike.count(stem.lower()) == 1 else f"{stem}-{sha256(name.encode()).hexdigest()[:6]}"
        for name, stem in stems.items()
    }


def _stem(name: str) -> str:
    path = Path(name)
    stem = path.stem if path.suffix.lstrip(".").isalpha() else name
    return re.sub(r"[^\w.=+-]+", "-", stem).strip("-.") or "run"


def _carry_out_all(
    runs: Sequence[Run],
    reference: str,
    budget: str,
    pool: Pool,
    report: Callable[[str, str], None],
) -> dict[Path, str]:
    """Carry out what is not finished; return the folders of runs that failed, and why."""
    from altuna.runs.directory import read_json

    failed: dict[Path, str] = {}

    def finish(run: Run, reason: str) -> None:
        if reason:
            failed[run.folder] = reason
        report(run.folder.name, reason)

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
            seconds = float(read_json(model.folder, "metrics.json")["cost"]["seconds"])
            timed.append(replace(run, options={**run.options, "budget": {"seconds": seconds}}))
    carry_out(timed)
    return failed


def _is_finished(run: Run) -> bool:
    """Whether a run is done, with these options; whatever there is of it was started with them.

    Raises:
        UserError: It was started with others.
    """
    from altuna.training.resume import changed
    from altuna.training.stages import config_of

    if not (run.folder / "config.yaml").exists():
        return False
    root = run.options.get("root")
    config = config_of(checked(completed(**run.options)), Path(root) if root else None)
    if run.options.get("precision", "auto") == "auto":
        del config["precision"]  # it is the worker's machine that decides
    if change := changed(run.folder, config):
        raise UserError(f"{change}; --out names another folder")
    return (run.folder / "metrics.json").exists()
