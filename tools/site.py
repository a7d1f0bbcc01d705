"""Hooks of mkdocs.yml: formulas as MathML, links into the source as names, options as tables."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import latex2mathml.converter
from pydantic import BaseModel

from altuna.comparison.config import CompareConfig
from altuna.training.config import FitConfig

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
OUTWARD = re.compile(r"\[([^\]]+)\]\(\.\./[^)]*\)")
OPTIONS = re.compile(r"<!-- options of (\w+) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Name the files that are not on the site, and write out the tables of options."""
    markdown = OUTWARD.sub(lambda found: f"`{found[1].strip('`')}`", markdown)
    schemas: dict[str, type[BaseModel]] = {"fit": FitConfig, "compare": CompareConfig}
    return OPTIONS.sub(lambda found: options(schemas[found[1]]), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Write formulas as MathML, which browsers draw without a script."""
    return FORMULA.sub(_mathml, html)


def _mathml(found: re.Match[str]) -> str:
    return latex2mathml.converter.convert(
        unescape(found[2]).strip(), display="block" if found[1] == "div" else "inline"
    )


def options(schema: type[BaseModel]) -> str:
    """Return a table of a configuration's options, each with what it says of itself."""
    lines = ["| option | default | what |", "|---|---|---|"]
    for name, field in schema.model_fields.items():
        text = str(field.description).replace("|", "\\|")
        lines.append(f"| `{name}` | `{field.get_default()}` | {text} |")
    return "\n".join(lines)
