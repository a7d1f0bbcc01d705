"""Build self-contained HTML pages: no network, and no script but ``page.js``."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from html import escape
from importlib.resources import files

from altuna.report.drawing import Drawing


@cache
def _resource(name: str) -> str:
    return (files("altuna.report") / name).read_text(encoding="utf-8")


def page(title: str, body: Iterable[str], lead: str = "") -> str:
    """Return a page; its policy lets a browser run no script and load no file that the data may name."""
    style, script = _resource("page.css"), _resource("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f'<meta http-equiv=Content-Security-Policy content="{policy}">'
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        "<meta name=color-scheme content='light dark'>"
        f"<title>{escape(title)}</title><style>{style}</style>"
        f"<a class=skip href='#main'>Skip to the content</a><header><h1>{escape(title)}</h1>{lead}</header>"
        f"<main id=main tabindex=-1>{''.join(body)}</main><script>{script}</script></html>\n"
    )


def heading(text: str) -> str:
    """Return a heading that can be linked to."""
    return f"<h2 id={anchor(text)}>{escape(text)}</h2>"


def anchor(text: str) -> str:
    """Return the id of a heading.

    Example:
        >>> anchor("Fusion weights by class")
        'fusion-weights-by-class'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:60].strip("-") or "part"


def shown(drawing: Drawing) -> str:
    """Return a drawing with its caption."""
    return f"<figure><figcaption>{escape(drawing.title)}</figcaption>{drawing.svg()}</figure>"


def folded(summary: str, content: str) -> str:
    """Return content that is folded behind a summary."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def table_of(
    header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", strong: Collection[str] = ()
) -> str:
    """Return a table of texts that scrolls on a narrow screen; rows with a ``strong`` first cell are bold."""
    head = "".join(f"<th scope=col>{escape(name)}" for name in header)
    lines = []
    for first, *others in rows:
        style = " class=strong" if first in strong else ""
        cells = "".join(f"<td>{escape(cell)}" for cell in others)
        lines.append(f"<tr{style}><th scope=row>{escape(first)}{cells}")
    label = escape(caption or ", ".join(filter(None, header)), quote=True)
    # Not inside the table: on a phone the caption would be as wide as the table.
    above = f"<p class=caption>{escape(caption)}</p>" if caption else ""
    return (
        f'{above}<div class=scroll role=region tabindex=0 aria-label="{label}"><table>'
        f"<thead><tr>{head}<tbody>{''.join(lines)}</table></div>"
    )
