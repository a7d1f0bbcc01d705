"""Flags are made from typed options; commands are listed without being loaded."""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
import typer

import altuna.cli
from altuna.cli import main
from altuna.cli.flags import apply_flags, given_options, with_flags
from altuna.core.fusion import RULES
from altuna.errors import UserError
from altuna.training.config import options
from altuna.training.option_fields import COMMON, MISSING


@with_flags(options())
def command(**flags):
    """Stand for a command."""


FLAGS = {name: p.annotation.__metadata__[0] for name, p in inspect.signature(command).parameters.items()}


def test_plain_options_are_flags_and_mappings_are_not():
    mappings = {"columns", "modalities", "readers", "encoders", "transforms", "fixed_weights"}
    mappings |= {"budget", "schedule", "types"}
    assert {*FLAGS} == {*options()} - mappings | {"config", "set_"}


def test_flags_stand_in_the_groups_of_their_options():
    assert FLAGS["epochs"].rich_help_panel == FLAGS["config"].rich_help_panel == COMMON
    assert FLAGS["missing_rate"].rich_help_panel == MISSING
    assert [*FLAGS][:2] == ["data", "method"]


def test_a_flag_shows_its_help_and_default():
    assert FLAGS["batch_size"].help == "Number of samples per batch. [dim]\\[default: 64][/dim]"
    assert "[default: mla]" in FLAGS["method"].help
    assert "default" not in FLAGS["quiet"].help
    flag = FLAGS["report"]
    assert "--report/--no-report" in (flag.default, *flag.param_decls)
    assert all(p.default is None for p in inspect.signature(command).parameters.values())


def test_the_help_lists_the_fusion_rules():
    words = re.split(r"[^a-z_]+", FLAGS["fusion"].help)
    assert {*RULES} <= {*words}


def test_every_command_has_a_file_and_a_help_sentence():
    files = {path.stem for path in Path(altuna.cli.__file__).parent.glob("*.py")}
    assert files - {"__init__", "main", "flags", "arguments"} == {*main.COMMANDS}
    for name, help in main.COMMANDS.items():
        assert help.endswith((".", "`"))
        assert inspect.isfunction(getattr(import_module(f"altuna.cli.{name}"), name))


def test_only_main_and_typer_are_needed_to_list_commands():
    tree = ast.parse(Path(main.__file__).read_text())
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
    ours = {node.module for node in imports if node.module.startswith("altuna")}
    assert ours == {"altuna", "altuna.errors"}


def test_a_later_source_wins(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("epochs: 1\nlr: 0.1\nmethod: {name: mla, alpha: 0.5}\n")
    flags = {"epochs": 2, "seed": None, "method": "mla"}
    given = given_options(path, ["epochs=3", "encoders.image.width=8"], flags)
    assert given == {
        "epochs": 3,
        "lr": 0.1,
        "method": {"name": "mla", "alpha": 0.5},
        "encoders": {"image": {"width": 8}},
    }
    assert apply_flags({"method": {"name": "mla", "alpha": 1}}, None, {"method": "sum"}) == {"method": "sum"}
    assert apply_flags({}, ["method.alpha=1"], {}) == {"method": {"name": "mla", "alpha": 1}}


@pytest.mark.parametrize("assignment", ["epochs", "=3", "a..b=1", "epochs.x=1", "lr=[1"])
def test_an_assignment_with_a_mistake(assignment):
    with pytest.raises(UserError, match="--set"):
        apply_flags({"epochs": 2}, [assignment], {})


@pytest.mark.parametrize(("given", "meant"), [("fitt", "fit"), ("train", "fit"), ("infer", "predict")])
def test_an_unknown_command_names_the_nearest(given, meant, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["altuna", given])
    with pytest.raises(SystemExit) as stop:
        main.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        f"altuna: No such command {given!r}. Did you mean {meant!r}? See --help.\n"
    )
    assert isinstance(main.app, typer.Typer)
