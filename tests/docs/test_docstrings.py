"""Every public name says what it is, and those of ``altuna.__all__`` show how they are used."""

import doctest
import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

import pytest

import altuna

ROOT = Path(__file__).parents[2]
# Found by reading, not by importing, which every process of the tests would do while it collects them.
SHOWN = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "altuna").rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


def modules():
    yield altuna
    for found in pkgutil.walk_packages(altuna.__path__, "altuna."):
        if not any(part.startswith("_") for part in found.name.split(".")[1:]):
            yield import_module(found.name)


def public():
    """Yield the path of every public class, function and method with its object."""
    for module in modules():
        yield module.__name__, module
        for name, value in vars(module).items():
            own = getattr(value, "__module__", "") == module.__name__
            if name.startswith("_") or not own or not (inspect.isclass(value) or inspect.isfunction(value)):
                continue
            yield f"{module.__name__}.{name}", value
            if inspect.isclass(value):
                fields = getattr(value, "__dataclass_fields__", {})  # explained under Args
                for member in inspect.classify_class_attrs(value):
                    own = member.defining_class.__module__ == module.__name__
                    hidden = member.name.startswith("_") or member.name in fields
                    if own and member.kind != "data" and not hidden:
                        yield f"{module.__name__}.{name}.{member.name}", getattr(value, member.name)


def test_every_public_name_has_a_docstring():
    found = dict(public())
    assert len(found) > 300
    assert not [path for path, value in found.items() if not (inspect.getdoc(value) or "").strip()]


@pytest.mark.parametrize("name", sorted({*altuna.__all__} - {"__version__"}))
def test_every_name_of_the_library_has_an_example(name):
    assert ">>> " in (inspect.getdoc(getattr(altuna, name)) or "")


@pytest.mark.parametrize("module", SHOWN)
def test_the_examples_of_a_module_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried
    assert not failed
