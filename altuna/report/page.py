"""Self-contained pages: no network, no script but the one that lies beside this file."""

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
    """Return a page; a browser runs and loads nothing in it that is not altuna's, whatever the data say."""
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
        f"<a class=skip href='#main'>Skip to the figures</a><header><h1>{escape(title)}</h1>{lead}</header>"
        f"<main id=main tabindex=-1>{''.join(body)}</main><script>{script}</script></html>\n"
    )


def heading(text: str) -> str:
    """Return a heading that can be linked to."""
    return f"<h2 id={anchor(text)}>{escape(text)}</h2>"


def anchor(text: str) -> str:
    """Return what a heading is linked by."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:60].strip("-") or "part"


def shown(drawing: Drawing) -> str:
    """Return a drawing with its caption."""
    return f"<figure><figcaption>{escape(drawing.title)}</figcaption>{drawing.svg()}</figure>"


def folded(summary: str, content: str) -> str:
    """Return HTML that is closed at first, behind a text."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def table_of(
    header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", strong: Collection[str] = ()
) -> str:
    """Return a table of texts, which a narrow screen scrolls; rows of ``strong`` first cells stand out."""
    head = "".join(f"<th scope=col>{escape(name)}" for name in header)
    lines = []
    for first, *others in rows:
        style = " class=strong" if first in strong else ""
        cells = "".join(f"<td>{escape(cell)}" for cell in others)
        lines.append(f"<tr{style}><th scope=row>{escape(first)}{cells}")
    label = escape(caption or ", ".join(filter(None, header)), quote=True)
    # Not within the table, whose width it would have on a phone.
    said = f"<p class=caption>{escape(caption)}</p>" if caption else ""
    return (
        f'{said}<div class=scroll role=region tabindex=0 aria-label="{label}"><table>'
        f"<thead><tr>{head}<tbody>{''.join(lines)}</table></div>"
    )
