"""The documentation site: its commands run, its messages exist, its names are there, nothing is fetched."""

import ast
import re
import shlex
import sys
from pathlib import Path

import pytest

import altuna
from altuna.cli.main import main

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
def test_the_quickstart_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    new, samples = blocks("quickstart.md", "csv")
    Path("new.csv").write_text(new)
    head, *rows, rest = samples.splitlines()
    assert rest == "..."
    Path("samples.csv").write_text("\n".join([head, *rows * 12]))
    commands = [line for block in blocks("quickstart.md", "sh") for line in block.splitlines()]
    called = [command.split()[1] for command in commands]
    assert called == ["fit", "evaluate", "evaluate", "predict", "init", "fit"]
    for command in commands:
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code, capsys.readouterr().err
    (code,) = blocks("quickstart.md", "python")
    names = {}
    exec(code, names)
    assert len(names["table"]) == 2
    assert Path("runs/first/report.html").exists()
    assert len(Path("predictions.csv").read_text().splitlines()) == 3


def patterns():
    """What the texts of the code may become, those that say enough to be told apart."""
    for path in (ROOT / "altuna").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            parts = [p.value if isinstance(p, ast.Constant) else None for p in parts]
            fixed = "".join(part for part in parts if isinstance(part, str))
            if len(fixed) >= 15 and " " in fixed and "\n" not in fixed:
                yield "".join(".+" if part is None else re.escape(part) for part in parts)


def test_every_message_of_the_page_of_errors_is_one_of_the_code():
    known = [re.compile(pattern) for pattern in {*patterns()}]
    messages = [message.strip() for message in blocks("errors.md", "text")]
    assert len(messages) > 15
    assert not [m for m in messages if not any(pattern.search(m) for pattern in known)]
    assert not any(pattern.search("no such message is in the code") for pattern in known)


def test_the_reference_has_every_public_name():
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    for name in {*altuna.__all__} - {"__version__"}:
        assert re.search(rf"^(###|:::) (altuna\.(\w+\.)*)?{name}$", page, re.MULTILINE), name


@pytest.mark.slow
def test_the_site_is_built_and_fetches_nothing(tmp_path):
    """Formulas are drawn, and no page asks another machine for anything; links to read are another matter."""
    build = pytest.importorskip("mkdocs.commands.build")
    from mkdocs.config import load_config

    build.build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path), strict=True))
    pages = [*tmp_path.rglob("*.html")]
    assert len(pages) > 15
    for page in pages:
        text = page.read_text(encoding="utf-8")
        # rel=canonical, icons and links are no requests; what is loaded has src, or is a link to a style.
        loads = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?([^\s\">]+)", text)
        loads += re.findall(
            r"<link[^>]*rel=\"?(?:stylesheet|preconnect|preload)[^>]*href=\"?([^\s\">]+)", text
        )
        assert not [one for one in loads if "//" in one], page.name
        assert "arithmatex" not in text, page.name
    assert "<math" in (tmp_path / "methods.html").read_text(encoding="utf-8")
    shown = (tmp_path / "examples.html").read_text(encoding="utf-8")
    assert shown.count(">__name__<") == len([*(ROOT / "examples").glob("*.py")])
    assert "<svg viewBox" in (tmp_path / "index.html").read_text(encoding="utf-8")
