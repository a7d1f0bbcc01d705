"""The command line: parse and delegate. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import PlainValidator
from pydantic.fields import FieldInfo
from typer.exceptions import TyperException

from altuna import __version__
from altuna.comparison.config import CompareConfig, run_options
from altuna.errors import StoppedError, UserError
from altuna.options import validate
from altuna.recipes import RELEASES
from altuna.training.config import COMMON, DATA, MISSING, MODEL, FitConfig, marker, options

DEFAULT_METHOD = "mla"
INTERRUPTED = 130  # what typer makes of Ctrl-C, as shells do

app = typer.Typer(
    name="altuna",
    help="Multimodal learning in which no modality gets lazy and none is required.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"altuna {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _flags(fields: Mapping[str, FieldInfo]) -> list[inspect.Parameter]:
    """Turn fields of a model into command line options that are None unless given.

    The model stays the only home of its defaults; mappings are for ``--config`` and ``--set``.
    """
    flags = []
    for name, field in fields.items():
        taken = (m.json_schema_input_type for m in field.metadata if isinstance(m, PlainValidator))
        plain = _plain(next(taken, field.annotation))
        if plain is None:
            continue
        default = field.get_default()
        shown = None if default in (None, False, True) or isinstance(default, dict) else str(default)
        flag = name.replace("_", "-")
        declaration = f"--{flag}/--no-{flag}" if default is True else f"--{flag}"
        option = typer.Option(declaration, help=field.description, show_default=shown or False)
        flags.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[plain | None, option],
            )
        )
    return flags


def _of_cache() -> dict[str, FieldInfo]:
    """Return the options that matter before a training."""
    groups = (COMMON, DATA, MODEL, MISSING)
    return {name: field for name, field in options().items() if marker(field, "group") in groups}


def _plain(hint: Any) -> Any:
    """Return the type of a flag's value, None where it cannot be written as one."""
    if hint in (str, int, float, bool, Path):
        return hint
    if get_origin(hint) is Literal:
        return str
    if get_origin(hint) in (Union, UnionType):
        return next(filter(None, map(_plain, get_args(hint))), None)
    return _plain(get_args(hint)[0]) if get_origin(hint) is Annotated else None


def _options(config: Path | None, set_: list[str] | None, **flags: Any) -> dict[str, Any]:
    """Return ``fit``'s options: those of a file, of flags and of assignments, each over those before."""
    given = {name: value for name, value in flags.items() if value is not None}
    options: dict[str, Any] = {}
    if config is not None:
        from altuna.files import read_yaml

        options = read_yaml(config)
    elif given.get("resume"):
        options = _options_of_resumed(given)
    if isinstance(given.get("method"), str) and isinstance(options.get("method"), Mapping):
        same = options["method"].get("name") == given["method"]
        given["method"] = options["method"] if same else given["method"]
    options |= given
    for assignment in set_ or []:
        _assign(options, assignment)
    validate(FitConfig, options, str(config or ""))
    return options


def _fit(**arguments: Any) -> None:
    from altuna.training.fit import fit

    options = _options(**arguments)
    try:
        run = fit(**options)
    except KeyboardInterrupt as stop:
        more = f"; go on with: altuna fit --resume --out {stop.args[0]}" if stop.args else ""
        raise StoppedError(f"interrupted{more}") from None
    if options.get("quiet"):
        typer.echo(run)


def _options_of_resumed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that the run to resume was started with, none if it had not begun."""
    if "out" not in given:
        raise UserError("--resume needs --out, the run directory to go on with")
    run = Path(given["out"])
    if run.exists() and not run.is_dir():
        raise UserError(f"{run}: is a file, not a run directory")
    if not (run / "config.yaml").exists():
        # A kill at the very start may leave a file that was being written.
        if run.exists() and any(not path.name.endswith(".unfinished") for path in run.iterdir()):
            raise UserError(f"{run}: is not a run directory: no config.yaml")
        if "data" not in given:
            raise UserError(f"{run}: nothing to go on with; with --data a run begins if it has not yet")
        return {}
    from altuna.runs.directory import read_config

    return read_config(run)


def _assign(options: dict[str, Any], assignment: str) -> None:
    """Carry out ``a.b=value`` on nested options; the value is YAML."""
    import yaml

    from altuna.files import parse_yaml

    path, equals, value = assignment.partition("=")
    if not equals:
        raise UserError(f"--set {assignment}: write KEY=VALUE, as in method.alpha=0.05")
    *parents, last = path.split(".")
    if not all([*parents, last]):
        raise UserError(f"--set {assignment}: write KEY=VALUE, as in method.alpha=0.05")
    place = options
    for parent in parents:
        child = place.get(parent)
        if isinstance(child, str):  # `method: mla` and `encoder: resnet18` are short for a name
            child = {"name": child}
        elif child is None:
            child = {"name": DEFAULT_METHOD} if parent == "method" and place is options else {}
        elif not isinstance(child, dict):
            raise UserError(f"--set {assignment}: {parent} has no options")
        place[parent] = child
        place = child
    try:
        place[last] = parse_yaml(value)
    except yaml.YAMLError:
        raise UserError(f"--set {assignment}: the value is not YAML") from None


def _cache(**arguments: Any) -> None:
    from altuna.training.fit import cache

    cache(**_options(**arguments))


@contextmanager
def _to_go_on() -> Iterator[None]:
    """Say after Ctrl-C that the same command goes on."""
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedError("interrupted; the same command goes on with what is unfinished") from None


def _compare(config: Path | None, set_: list[str] | None, **flags: Any) -> None:
    from altuna.comparison.compare import compare

    options: dict[str, Any] = {}
    if config is not None:
        from altuna.files import read_yaml

        options = read_yaml(config)
    options |= {name: value for name, value in flags.items() if value is not None}
    for assignment in set_ or []:
        _assign(options, assignment)
    if not isinstance(options.get("data", ""), str | list):
        raise UserError(f"data: must be a name or several, got {options['data']!r}")
    with _to_go_on():
        out = compare(**options)
    if options.get("quiet"):
        typer.echo(out)


def _command(run: Callable[..., None], flags: Sequence[inspect.Parameter]) -> Callable[..., None]:
    """Return a command with flags, ``--config`` and ``--set``."""

    def command(**arguments: Any) -> None:
        run(**arguments)

    extra = {
        "config": Annotated[Path | None, typer.Option(help="YAML file with any of these options by name")],
        "set_": Annotated[
            list[str] | None,
            typer.Option("--set", metavar="KEY=VALUE", help="One option, dotted: encoders.image.width=32"),
        ],
    }
    parameters = [*flags] + [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in extra.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


app.command(
    "fit",
    help="Train on built-in data or your own manifest; without arguments, MLA on the built-in emoji.",
)(_command(_fit, _flags(options())))
app.command(
    "cache",
    help="Read and prepare data ahead of fit, with the same options.",
)(_command(_cache, _flags(_of_cache())))
app.command(
    "compare",
    help="Train many methods with several seeds, in parallel, and tabulate what they reach and cost, with "
    "p-values. Started again, it goes on with what is unfinished.",
)(_command(_compare, _flags(CompareConfig.model_fields) + _flags(run_options())))


@app.command()
def init(
    manifest: Annotated[Path, typer.Argument(help="CSV, TSV, Parquet, JSONL, hf:NAME or a saved data set")],
    out: Annotated[Path, typer.Option(help="YAML file to write")] = Path("altuna.yaml"),
) -> None:
    """Write a commented configuration for `altuna fit --config`, by looking at the data."""
    from altuna.cli.init import write_config

    write_config(manifest, out)
    typer.echo(f"wrote {out}; train with: altuna fit --config {out}")


@app.command()
def reproduce(
    table: Annotated[str, typer.Argument(help="Table of the paper: complete, missing, ablation or clip")],
    data_root: Annotated[Path, typer.Option(help="Folder of releases (NAME/) or manifests (NAME.csv)")],
    data: Annotated[str | None, typer.Option(metavar="A,B,...", help="Some of the table's data")] = None,
    methods: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Some of the table's methods")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each")] = 3,
    jobs: Annotated[int | None, typer.Option(help="Trainings at once")] = None,
    splits: Annotated[Path | None, typer.Option(help="Folder of the authors' published lists")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder (default: runs/reproduce-TABLE)")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the folder and nothing else")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of fit, over the recipe's: epochs=1"),
    ] = None,
) -> None:
    """Run a table of the MLA paper on your data, beside the published figures."""
    from altuna.comparison.reproduce import reproduce as run
    from altuna.terminal import console, tables

    options: dict[str, Any] = {}
    for assignment in set_ or []:
        _assign(options, assignment)
    with _to_go_on():
        folder = run(
            table,
            data_root,
            data=data.split(",") if data else None,
            methods=methods.split(",") if methods else None,
            seeds=seeds,
            jobs=jobs,
            splits=splits,
            out=out,
            reporter=console.reporter(quiet),
            **options,
        )
    if quiet:
        typer.echo(folder)
    else:
        console.out.print(tables.csv_table(table, folder / "reproduce.csv"))
        typer.echo(f"results in {folder} (reproduce.md, reproduce.csv)")


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help=", ".join(RELEASES))],
    out: Annotated[Path, typer.Option(help="Manifest to write: .csv or .parquet")],
    root: Annotated[Path | None, typer.Option(help="Folder of the release")] = None,
    splits: Annotated[Path | None, typer.Option(help="Folder of the authors' published lists")] = None,
    seed: Annotated[int, typer.Option(help="Of the splits")] = 0,
    download: Annotated[bool, typer.Option("--download", help="Fetch the raw files of av-digits")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a manifest that is there")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing")] = False,
) -> None:
    """Make a manifest of a public release, and say what is wrong with your copy of it."""
    from altuna.recipes.prepare import prepare as prepare_by_name
    from altuna.terminal import console, tables

    report = prepare_by_name(
        name,
        root,
        out,
        splits=splits,
        seed=seed,
        download=download,
        overwrite=overwrite,
        reporter=console.reporter(quiet),
    )
    if not quiet:
        tables.print_report(report)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run directory")],
    data: Annotated[str | None, typer.Option(help="Other data than the run's")] = None,
    split: Annotated[str, typer.Option(help="train, val or test")] = "test",
    without: Annotated[
        list[str] | None, typer.Option(metavar="MODALITY", help="Leave out a modality, or several: a,b")
    ] = None,
    missing_rate: Annotated[
        float | None, typer.Option(help="Share of cells to do without, at most 1 - 1/M (CPM-Nets masks)")
    ] = None,
    missing_pattern: Annotated[
        str, typer.Option(help="Which: random, group, label, only:NAME or never:NAME")
    ] = "random",
    missing_mask: Annotated[
        Path | None, typer.Option(help="File of the cells that stay: present.parquet of a run")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the missing cells")] = 0,
    fusion: Annotated[str | None, typer.Option(help="Another fusion than the run's")] = None,
    one_rule: Annotated[
        bool,
        typer.Option("--one-rule", help="No figures of other fusions beside: two to three times as fast"),
    ] = False,
    root: Annotated[Path | None, typer.Option(help="Folder of the raw files of av-digits")] = None,
    store: Annotated[Path | None, typer.Option(help="Folder for decoded data")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
    quiet: Annotated[bool, typer.Option(help="No progress bar")] = False,
) -> None:
    """Test a trained model, also without some modalities."""
    from altuna.reporting import SILENT
    from altuna.runs.evaluate import evaluate_run
    from altuna.terminal import console, tables

    metrics = evaluate_run(
        run,
        data,
        split=split,
        without=without or [],
        missing_rate=missing_rate,
        missing_pattern=missing_pattern,
        missing_mask=missing_mask,
        seed=seed,
        fusion=fusion,
        one_rule=one_rule,
        root=root,
        store=store,
        reporter=SILENT if quiet or as_json else console.TerminalReporter(),
    )
    if as_json:
        typer.echo(json.dumps(metrics, indent=2))
    else:
        console.out.print(tables.metrics_table(metrics))


@app.command()
def robustness(
    runs: Annotated[list[Path], typer.Argument(help="Run directories")],
    data: Annotated[str | None, typer.Option(help="Other data than the runs'")] = None,
    split: Annotated[str, typer.Option(help="train, val or test")] = "test",
    rates: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Missing rates (default: 0,0.1 .. 0.7, if they can be)"),
    ] = None,
    pattern: Annotated[
        str, typer.Option(help="Which cells: random, group, label, only:NAME or never:NAME")
    ] = "random",
    masks: Annotated[int, typer.Option(help="Masks drawn at each rate")] = 5,
    out: Annotated[
        Path | None, typer.Option(help="Folder (default: the run's, or runs/robustness for several)")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the raw files of av-digits")] = None,
    store: Annotated[Path | None, typer.Option(help="Folder for decoded data")] = None,
    quiet: Annotated[bool, typer.Option(help="Print the folder and nothing else")] = False,
) -> None:
    """Test runs at missing rates and with every subset of modalities, side by side."""
    given = _numbers("rates", rates)

    from altuna.comparison import robustness
    from altuna.runs.directory import read_json
    from altuna.terminal import console, tables

    folder = robustness.robustness(
        runs,
        data=data,
        split=split,
        rates=given,
        pattern=pattern,
        masks=masks,
        out=out,
        root=root,
        store=store,
        reporter=console.reporter(quiet),
    )
    if quiet:
        typer.echo(folder)
    else:
        result = read_json(folder, "robustness.json")
        for title, header, rows in robustness.tables(result):
            console.out.print(tables.text_table(title, header, rows))
        typer.echo(robustness.legend(result))
        typer.echo(f"results in {folder} (open {folder / 'robustness.html'})")


def _numbers(name: str, text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise UserError(f"{name}: write numbers with commas, got {text!r}") from None


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run directories")],
    out: Annotated[
        Path | None, typer.Option(help="Page to write (default: the run's, or runs/report.html for several)")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder for every figure as PNG and PDF (needs altuna\\[report])")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the page's path and nothing else")] = False,
) -> None:
    """Write report.html of a run, or of several side by side."""
    from altuna.report import write_report
    from altuna.terminal import console

    with console.waiting("writing the report", quiet):
        page = write_report(runs, out, figures)
    typer.echo(page if quiet else f"wrote {page}" + (f", figures in {figures}" if figures else ""))


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Run directory")],
    data: Annotated[str, typer.Option(help="Manifest of the samples (labels are not needed)")],
    out: Annotated[Path, typer.Option(help="Where to write: .parquet or .csv")],
    store: Annotated[Path | None, typer.Option(help="Folder for decoded data")] = None,
    quiet: Annotated[bool, typer.Option(help="Print nothing")] = False,
) -> None:
    """Predict the samples of a manifest."""
    from altuna.reporting import SILENT
    from altuna.runs.predict import predict_to_file
    from altuna.terminal import console

    reporter = SILENT if quiet else console.TerminalReporter()
    number = predict_to_file(run, data, out, store=store, reporter=reporter)
    if not quiet:
        typer.echo(f"{number:,} predictions in {out}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Run directory")],
    format: Annotated[str, typer.Option(help="onnx, torch-export or safetensors")] = "onnx",
    out: Annotated[Path | None, typer.Option(help="Folder (default: export/FORMAT in the run)")] = None,
    data: Annotated[str | None, typer.Option(help="Other data to check with than the run's")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the raw files of av-digits")] = None,
    store: Annotated[Path | None, typer.Option(help="Folder for decoded data")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the folder and nothing else")] = False,
) -> None:
    """Write a model as files that run without altuna, and compare what they predict with the model."""
    from altuna.export.export import export as write
    from altuna.terminal import console

    reporter = console.reporter(quiet)
    folder, checked = write(run, format, out=out, data=data, root=root, store=store, reporter=reporter)
    if quiet:
        typer.echo(folder)
    else:
        some, all_ = checked["subsets"], checked["of_subsets"]
        subsets = "every subset" if some == all_ else f"{some:,} of {all_:,} subsets"
        typer.echo(
            f"wrote {folder}; its predictions of {checked['samples']:,} samples from {subsets} of the "
            f"modalities equal the model's within {checked['largest_difference']:.1g}"
        )
        for modality in checked["without_samples"]:
            unread, why = checked["unread"].get(modality), "no sample has it"
            if unread:
                why = f"{unread['cells']:,} of its cells cannot be read (the first: {unread['first']})"
            typer.echo(f"{modality}: {why}, so its graph was not checked", err=True)


@app.command()
def push(
    run: Annotated[Path, typer.Argument(help="Run directory")],
    repo: Annotated[str, typer.Argument(help="ORG/NAME on the Hugging Face hub")],
    private: Annotated[bool, typer.Option("--private", help="Make it for yourself only")] = False,
) -> None:
    """Put a model with a card on the Hugging Face hub; `altuna.load("hf:ORG/NAME")` loads it."""
    from altuna.export.hub import push_to_hub

    typer.echo(push_to_hub(run, repo, private=private))


@app.command()
def demo(
    run: Annotated[str, typer.Argument(help="Run directory, or hf:ORG/NAME")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets others in")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port (default: the first free one from 7860)")] = None,
) -> None:
    """Try a model on your own files, on a local web page."""
    from altuna.demo import serve

    serve(run, host, port)


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2."""
    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:
            typer.echo("altuna: interrupted", err=True)
        sys.exit(code)
    except StoppedError as stop:
        typer.echo(f"altuna: {stop}", err=True)
        sys.exit(INTERRUPTED)
    except UserError as error:
        message = str(error)
    except TyperException as error:  # a mistake on the command line itself
        message = f"{error.format_message().rstrip('.')}; see --help"
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    typer.echo(f"altuna: {message}", err=True)
    sys.exit(2)
