"""Every public name says what it is, and those of ``altuna.__all__`` show how they are used."""

import inspect
import pkgutil
from importlib import import_module

import pytest

import altuna


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
                for member in inspect.classify_class_attrs(value):
                    own = member.defining_class.__module__ == module.__name__
                    if own and member.kind != "data" and not member.name.startswith("_"):
                        yield f"{module.__name__}.{name}.{member.name}", getattr(value, member.name)


def test_every_public_name_has_a_docstring():
    found = dict(public())
    assert len(found) > 300
    assert not [path for path, value in found.items() if not (inspect.getdoc(value) or "").strip()]


@pytest.mark.parametrize("name", sorted({*altuna.__all__} - {"__version__"}))
def test_every_name_of_the_library_has_an_example(name):
    assert ">>> " in (inspect.getdoc(getattr(altuna, name)) or "")
