"""Every public name says what it is, and those that users and extensions import show how they are used."""

import dataclasses
import doctest
import inspect
import pkgutil
import re
from importlib import import_module
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from pydantic import BaseModel

import altuna
from altuna.recipes.built_in import find_manifest

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
    assert shows_use(getattr(altuna, name))


# The modules with what users import, and with what a method, an encoder, a reader or a script is made of. The
# others are the inside of commands, which the tests of these commands show.
OFFERED = re.compile(r"altuna\.((core|data|encoders|evaluation|methods|runs)\b.*|training\.fit)")


def shows_use(value):
    return ">>> " in (value.__doc__ or "")


def offered():
    """Yield the path of every public class and function in the scope of the test below, with its object."""
    for path, value in public():
        own = inspect.isclass(value) or inspect.isfunction(value)
        if own and path.rpartition(".")[0] == value.__module__ and OFFERED.match(path):
            yield path, value


def returned():
    """Return the names in the return annotations of functions and methods that have an example."""
    found = set()
    for _, value in public():
        for one in (value, *(vars(value).values() if inspect.isclass(value) else ())):
            if inspect.isfunction(one) and shows_use(one):
                found |= {*re.findall(r"\w+", str(one.__annotations__.get("return")))}
    return found


def is_record(value):
    return inspect.isclass(value) and (dataclasses.is_dataclass(value) or issubclass(value, tuple))


def needs_no_example(value, results):
    """Return whether a class is of one of three kinds; a function never is."""
    return inspect.isclass(value) and (
        getattr(value, "_is_protocol", False)
        or issubclass(value, BaseModel)
        or value in {altuna.methods.get(name) for name in altuna.methods.list()}
        or (is_record(value) and value.__name__ in results)
    )


def test_what_users_and_extensions_import_has_an_example():
    """Check the classes and functions of ``altuna.__all__`` and of the modules ``OFFERED``.

    An inherited docstring does not count, as a class inherits what it does but not how it is built. A class
    needs no example if it cannot be used by itself, or if its use is in another example, by kind:

    - a protocol, and a schema of a file (pydantic): nothing is called;
    - a method of the registry: it is chosen by its name, and its hooks are those of ``Method`` and
      ``JointMethod``, whose examples call them;
    - a named tuple or dataclass that a function with an example returns: that example shows it.
    """
    found, results = dict(offered()), returned()
    assert len(found) > 250
    lacking = {path for path, value in found.items() if not shows_use(value)}
    assert not {path for path in lacking if not needs_no_example(found[path], results)}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run ``runs/first`` as the quick start makes it, but in seconds: most pictures are left out."""
    folder = tmp_path_factory.mktemp("first")
    table = pyarrow.parquet.read_table(find_manifest("emoji"))
    some = [image if row % 20 == 0 else None for row, image in enumerate(table["image"].to_pylist())]
    table = table.set_column(table.column_names.index("image"), "image", pa.array(some))
    pyarrow.parquet.write_table(table, folder / "emoji.parquet")
    return altuna.fit(
        folder / "emoji.parquet",
        readers={"image": {"size": 8}},
        encoders={"image": {"name": "vit", "dimension": 12, "depth": 1}},
        epochs=6,
        lr=0.005,
        accelerator="cpu",
        out=folder / "runs" / "first",
        report=False,
        quiet=True,
    )


@pytest.mark.parametrize("module", SHOWN)
def test_the_examples_of_a_module_run(module, tmp_path, monkeypatch, request):
    module = import_module(module)
    if "import datasets" in inspect.getsource(module):
        pytest.importorskip("datasets")  # of the extra hf
    if '"runs/first"' in inspect.getsource(module):
        (tmp_path / "runs").symlink_to(request.getfixturevalue("first").parent)
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried
    assert not failed
