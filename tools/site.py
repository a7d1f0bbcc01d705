"""Hooks of mkdocs.yml: formulas as MathML, links into the source as names, options as tables."""

from __future__ import annotations

import inspect
import re
from html import unescape
from typing import Any, get_args, get_type_hints

import latex2mathml.converter

from altuna.comparison.compare import compare
from altuna.training.fit import fit

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
OUTWARD = re.compile(r"\[([^\]]+)\]\(\.\./[^)]*\)")
OPTIONS = re.compile(r"<!-- options of (\w+) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Name the files that are not on the site, and write out the tables of options."""
    markdown = OUTWARD.sub(lambda found: f"`{found[1].strip('`')}`", markdown)
    return OPTIONS.sub(lambda found: options({"fit": fit, "compare": compare}[found[1]]), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Write formulas as MathML, which browsers draw without a script."""
    return FORMULA.sub(_mathml, html)


def _mathml(found: re.Match[str]) -> str:
    return latex2mathml.converter.convert(
        unescape(found[2]).strip(), display="block" if found[1] == "div" else "inline"
    )


def options(function: Any) -> str:
    """Return a table of a function's arguments, each with what it says of itself."""
    lines = ["| option | default | what |", "|---|---|---|"]
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not parameter.VAR_KEYWORD:
            text = str(get_args(hints[name])[1]).replace("|", "\\|")
            lines.append(f"| `{name}` | `{parameter.default}` | {text} |")
    return "\n".join(lines)
