"""``altuna compare``: many trainings, side by side. The heavy imports wait until it is called."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from altuna.comparison.config import ALL, CompareConfig, run_options
from altuna.comparison.pool import Pool, Run
from altuna.errors import UserError
from altuna.options import nearest, validate
from altuna.training import config as configuration
from altuna.training.config import RAW, FitConfig, check_raw

if TYPE_CHECKING:
    from altuna.training.setup import Prepared

DEFAULT_METHOD = FitConfig().method["name"]


def compare(data: str | Path | Sequence[str] = "emoji", **given: Any) -> Path:
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

    Example:
        >>> import altuna
        >>> folder = altuna.compare("htad", methods=["mla", "concat"], seeds=3, jobs=2)  # doctest: +SKIP
        >>> print((folder / "compare.md").read_text())  # doctest: +SKIP
    """
    own, options = _split({"data": data, **given})
    seeds, budget, quiet = own.seeds, own.budget, own.quiet
    names = _names(own.data)
    chosen = _methods(own.methods)
    if own.jobs == 0:
        raise UserError("jobs must be at least 1, or -1 for as many as there are cores, got 0")
    _check_reference(own.reference, [label for label, _ in chosen])
    out = own.out or Path("runs") / ("compare-" + "-".join(_stem(name) for name in names))
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file, not a folder")

    from altuna.comparison.summary import write_comparison
    from altuna.terminal import console, tables
    from altuna.training.stages import calm

    calm()
    runs, left_out = _grid(names, chosen, seeds, budget, out, options, strict=own.methods != ALL, quiet=quiet)
    reference = _reference(own.reference, runs, budget)
    pool = Pool(own.jobs, own.threads, out)
    with pool.alone(), console.comparing(len(runs), quiet) as report:
        failed = _carry_out_all(runs, reference, budget, pool, report)
    said = {"budget": budget, "reference": reference, "seeds": seeds, "options": options, **pool.said}
    comparison = write_comparison(out, said, runs, failed, pool.resumed, left_out)
    if not quiet:
        console.out.print(*tables.comparison_tables(comparison), sep="\n")
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


def _split(given: Mapping[str, Any]) -> tuple[CompareConfig, dict[str, Any]]:
    """Return the comparison's own options, checked, and those for its trainings."""
    own, passed = CompareConfig.model_fields, run_options()
    for name in given:
        if name in configuration.options() and name not in own and name not in passed:
            more = "; write methods: [{name: mla, alpha: 0.05}] in --config" if name == "method" else ""
            raise UserError(f"{name}: the comparison itself says what it is for each run{more}")
        if name not in own and name not in passed:
            raise UserError(f"compare: unknown option {name!r}{nearest(name, [*own, *passed])}")
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
    from altuna.recipes.built_in import find_manifest
    from altuna.terminal import console
    from altuna.training.setup import prepare

    try:
        check_raw(options, *names)
    except ValueError as error:
        raise UserError(str(error)) from None
    configs = {name: _config(name, options) for name in names}
    paths = {n: find_manifest(n, one.root, download=one.download) for n, one in configs.items()}
    if len(names) > 1:  # a mistake in the last is said before the first is decoded
        for name, path in paths.items():
            one = configs[name]
            shared = one.allow_shared_groups
            read_manifest(path, one.modalities, columns=one.columns, allow_shared_groups=shared)
    runs: list[Run] = []
    left_out: list[dict[str, str]] = []
    stems = _stems(names)
    for name in names:
        settled: list[tuple[str, dict[str, Any]]] = []
        for seed in range(seeds):
            config = _config(name, options, seed=seed)
            store = config.store or cache_folder() / "store"
            prepared = prepare(config, paths[name], store, quiet or seed > 0)
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
            more = _options_for(name, options)
            if budget == "updates":
                more["budget"] = {"updates": _standard_updates(prepared, config)}
            labels = _stems([label for label, _ in settled])
            for label, method in settled:
                folder = out / f"{stems[name]}-{labels[label]}-{seed}"
                stated = {"data": name, "method": method, "seed": seed, **more}
                runs.append(Run(name, label, seed, folder, stated))
    if not runs:
        raise UserError("no method can run on the data: " + "; ".join(one["reason"] for one in left_out))
    return sorted(runs, key=lambda run: run.seed), left_out


def _options_for(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options for some data, without those about the raw files of other data."""
    return {n: value for n, value in options.items() if n not in RAW or name.startswith("av-digits")}


def _config(name: str, options: Mapping[str, Any], **more: Any) -> FitConfig:
    return validate(FitConfig, {"data": name, **_options_for(name, options), **more})


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


def _standard_updates(prepared: Prepared, config: FitConfig) -> int:
    """Return the encoder updates of a standard training: in every batch one for each modality that it has."""
    from altuna.data.dataset import BatchSampler

    dataset = prepared.splits["train"].dataset
    present, total = dataset.present, 0
    sampler = BatchSampler(len(dataset), config.batch_size, config.seed)
    for epoch in range(config.epochs):
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
    from altuna.runs.directory import read_metrics

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
            seconds = float(read_metrics(model.folder)["cost"]["seconds"])
            timed.append(replace(run, options={**run.options, "budget": {"seconds": seconds}}))
    carry_out(timed)
    return failed


def _is_finished(run: Run) -> bool:
    """Whether a run is done, with these options; whatever there is of it was started with them.

    Raises:
        UserError: It was started with others.
    """
    from altuna.training.resume import changed

    if not (run.folder / "config.yaml").exists():
        return False
    config = validate(FitConfig, run.options).saved()
    if run.options.get("precision", "auto") == "auto":
        del config["precision"]  # it is the worker's machine that decides
    if change := changed(run.folder, config):
        raise UserError(f"{change}; --out names another folder")
    return (run.folder / "metrics.json").exists()
