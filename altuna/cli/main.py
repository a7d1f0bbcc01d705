"""The command line's entry point. A command's module is imported when the command is called, not before."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from altuna import __version__
from altuna.errors import StoppedError, UserError

INTERRUPTED = 130  # exit code after Ctrl-C, as of shells
SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
# Command to its help; `altuna.cli.COMMAND.COMMAND` carries it out.
COMMANDS = {
    "fit": "Train a model on your own table or on a built-in data set. By default, altuna trains the method"
    " mla on the data set emoji.",
    "cache": "Decode the data of a training in advance and store the result on disk. `altuna fit` then "
    "starts faster.",
    "compare": "Train several methods with several seeds, and report accuracy, cost and p-values. "
    "To continue an interrupted comparison, run the same command again.",
    "init": "Infer the type of each column of your table, and write a configuration file with comments. You"
    " can edit this file and train with `altuna fit --config FILE`.",
    "reproduce": "Repeat the experiments behind one table of results in the MLA paper (arXiv 2311.10707). "
    "You need your own copies of the data sets.",
    "prepare": "Write a table for `altuna fit` from your copy of a public data set, and report which files "
    "are missing or corrupt.",
    "evaluate": "Compute the metrics of a trained model on a split of the data, optionally without some "
    "modalities.",
    "robustness": "Test trained models on samples with randomly masked modalities, and with every subset of "
    "the modalities.",
    "report": "Write an HTML report on one run, or a report that compares several runs.",
    "predict": "Predict the class of every sample in a table.",
    "export": "Export a model, for example to ONNX files that run without altuna, and check that the "
    "exported files make the same predictions as the model.",
    "push": "Upload a model to the Hugging Face Hub. You can then load the model by "
    '`altuna.load("hf:ORG/NAME")`.',
    "demo": "Start a local web page on which you can try a model on your own files.",
}
# What other programs call a command.
SYNONYMS = {"train": "fit", "test": "evaluate", "eval": "evaluate", "infer": "predict", "run": "fit"}


class _Commands(TyperGroup):
    """All commands by name and help; one is loaded when it is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, help in COMMANDS.items():
            self.add_command(TyperCommand(name=name, help=help))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in SYNONYMS:
            raise TyperException(f"No such command {args[0]!r}. Did you mean {SYNONYMS[args[0]]!r}?")
        name, _, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name else None, rest


def _load(name: str) -> Any:
    command = typer.Typer(**SETTINGS)
    command.command(name, help=COMMANDS[name])(getattr(import_module(f"altuna.cli.{name}"), name))
    return typer.main.get_command(command)


app = typer.Typer(
    name="altuna",
    help="Train one classifier on several modalities, such as pictures, sounds, videos, texts and numbers. A "
    "sample may lack some of the modalities.",
    cls=_Commands,
    **SETTINGS,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"altuna {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _altuna(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _command_line_mistake(error: TyperException) -> str:
    """Return what is wrong with the command line; a flag of the wrong type in the words of options."""
    text, flag = error.format_message().rstrip("."), getattr(error, "param", None)
    if flag is not None and hasattr(error.__cause__, "errors"):
        from pydantic import BaseModel, ValidationError

        from altuna.options import mistake

        assert isinstance(error.__cause__, ValidationError)
        text = f"{flag.opts[0]} {mistake(error.__cause__, BaseModel)}"
    return f"{text} See --help." if text.endswith("?") else f"{text}; see --help"


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
        message = _command_line_mistake(error)
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    typer.echo(f"altuna: {message}", err=True)
    sys.exit(2)
