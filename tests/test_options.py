"""Options are checked against signatures, by name and by type."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from altuna import methods
from altuna.errors import UserError
from altuna.files import parse_yaml
from altuna.methods.mla import MLA
from altuna.options import check_options, nearest


class Thing:
    def __init__(
        self,
        model: object,
        *,
        rate: float = 0.5,
        count: int | None = None,
        deep: bool = True,
        mode: Literal["fast", "slow"] = "fast",
        alpha: float | Literal["schedule"] = 0.1,
        path: Annotated[Path | None, "Where"] = None,
        table: dict[str, int] | None = None,
        names: list[str] | None = None,
        parts: Sequence[str] = (),
        whatever: Any = None,
    ) -> None: ...


def check(**options):
    check_options(options, Thing, "thing", beside=("model",))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rate": 0, "count": 0, "deep": False, "alpha": 0},
        {"rate": 0.0, "count": None, "mode": "slow"},
        {"alpha": "schedule", "path": "here", "whatever": object()},
        {"alpha": 0.3, "path": Path("here"), "table": {"a": 1}, "names": ["a"], "parts": ("a",)},
    ],
)
def test_accepts(options):
    kept = dict(options)
    check(**options)
    assert options == kept


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rat": 1}, "thing: unknown option 'rat'; did you mean 'rate'?"),
        ({"model": 1}, "thing: unknown option 'model'; did you mean 'mode'?"),
        ({"zzz": 1}, "known: rate, count, deep, mode, alpha, path, table, names, parts, whatever"),
        ({"rate": "0.5"}, "rate must be a number, got '0.5'"),
        ({"rate": True}, "rate must be a number, got True"),
        ({"rate": None}, "rate must be a number, got nothing"),
        ({"count": 1.0}, "count must be a whole number or empty, got 1.0"),
        ({"count": False}, "count must be a whole number or empty, got False"),
        ({"deep": 0}, "deep must be true or false, got 0"),
        ({"deep": "false"}, "deep must be true or false, got 'false'"),
        ({"mode": "medium"}, "mode must be 'fast' or 'slow', got 'medium'"),
        ({"alpha": "shedule"}, "alpha must be a number or 'schedule', got 'shedule'"),
        ({"path": 3}, "path must be Path or empty, got 3"),
        ({"table": [1]}, "table must be"),
        ({"names": "abc"}, "names must be"),
        ({"parts": "abc"}, "parts must be"),
    ],
)
def test_refuses(options, words):
    with pytest.raises(UserError) as caught:
        check(**options)
    assert words in str(caught.value)
    assert str(caught.value).startswith("thing: ")


def test_literal_tells_true_from_one():
    def function(level: Literal[0, 1] = 0) -> None: ...

    check_options({"level": 1}, function, "f")
    with pytest.raises(UserError, match="level must be 0 or 1, got True"):
        check_options({"level": True}, function, "f")


def test_takes_functions_and_partials():
    def function(a: int, b: str = "") -> None: ...

    check_options({"a": 1}, function, "f")
    check_options({"b": "x"}, partial(function, 1), "f")
    for one in (function, partial(function, 1)):
        with pytest.raises(UserError, match="b must be a text, got 2"):
            check_options({"b": 2}, one, "f")


def test_nearest():
    assert nearest("entropi", ["entropy", "mean"]) == "; did you mean 'entropy'?"
    assert nearest("xyz", ["entropy", "mean"]) == "; known: entropy, mean"
    assert nearest("xyz", iter([])) == "; known: none"


def test_the_methods_own_signatures():
    for name in methods.list():
        check_options({}, methods.get(name), name, beside=("model",))
    check_options({"alpha": "schedule", "reset": "epoch", "project": "off"}, MLA, "mla", beside=("model",))
    with pytest.raises(UserError, match="unknown option 'oder'; did you mean 'order'"):
        check_options({"oder": "random"}, MLA, "mla", beside=("model",))


def test_the_registry():
    assert methods.get("mla") is MLA
    assert methods.list()[0] == "mla"
    assert all(isinstance(methods.get(n), type) for n in methods.list())
    with pytest.raises(UserError, match="unknown method 'lma'; did you mean 'mla'"):
        methods.get("lma")


def test_a_method_that_is_not_altunas():
    assert methods.get("altuna.methods.mla.MLA") is MLA
    for place, why in (
        ("no_such_module.Mine", "'no_such_module.Mine': cannot be imported: No module named"),
        ("altuna.methods.mla.Mine", "cannot be imported: module .* has no attribute 'Mine'"),
        ("altuna.methods.list", "is no subclass of altuna.methods.base.Method"),
    ):
        with pytest.raises(UserError, match=why):
            methods.get(place)


@pytest.mark.parametrize("options", [None, "rate", ["rate"]])
def test_options_are_a_mapping(options):
    with pytest.raises(UserError, match="thing: must be a mapping of options to values"):
        check_options(options, Thing, "thing")


@pytest.mark.parametrize(("text", "value"), [("off", "off"), ("no", "no"), ("true", True), ("False", False)])
def test_words_of_yaml_are_words(text, value):
    assert parse_yaml(text) == value
