"""Drawings: shapes on a canvas that become SVG in a page, and PNG and PDF files.

A plot is laid out once (``charts``); each backend only paints its shapes. Plotly's script alone would be
larger than a whole report may be; matplotlib's SVG has no dark mode and no tooltips, and every training would
need matplotlib.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Literal

from altuna.errors import UserError
from altuna.files import atomic_write
from altuna.text import clipped

MAX_DESCRIPTION = 2000  # letters of the text for those who cannot see a drawing
PALETTE = 10  # colours c0 .. c9; page.css has them for dark mode too
LIGHT = {
    "ink": "#1b2330",
    "muted": "#5b6675",
    "line": "#dde2e8",
    "paper": "#ffffff",
    "c0": "#2f6fc0",
    "c1": "#d5742a",
    "c2": "#2b8f70",
    "c3": "#a9489a",
    "c4": "#8a7415",
    "c5": "#c2413c",
    "c6": "#5a63cf",
    "c7": "#2b8ca3",
    "c8": "#6f8f2f",
    "c9": "#8d6a57",
}
SIZE = 12  # of text, in pixels
LARGER = 13  # on a phone, see page.css
WIDTHS = {  # of letters, in shares of the font's size
    0.3: "ijlIJ'",
    0.4: "ftr.,:;|!()[]/\\- ",
    0.55: "_csz?L",
    0.7: "ABCKRVXZ",
    0.79: "DGHNOQU&",
    0.84: "w#+=<>^~",
    1.0: "mMW@%…—",
}
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A line through points; ``title`` is its tooltip."""

    points: Sequence[Point]
    colour: str
    width: float = 1.0
    dashed: bool = False
    title: str = ""


@dataclass(frozen=True)
class Area:
    """A filled polygon."""

    points: Sequence[Point]
    colour: str
    opacity: float = 1.0
    title: str = ""


@dataclass(frozen=True)
class Dot:
    """A filled circle of radius ``size``."""

    at: Point
    colour: str
    size: float = 2.5
    opacity: float = 1.0
    title: str = ""


@dataclass(frozen=True)
class Text:
    """A line of text with its baseline at ``at``; ``up`` turns it by 90 degrees."""

    at: Point
    text: str
    anchor: Literal["start", "middle", "end"] = "start"
    colour: str = "muted"
    bold: bool = False
    up: bool = False
    title: str = ""


Shape = Line | Area | Dot | Text


@dataclass
class Drawing:
    """Shapes on a canvas, with the name of its files, a caption, and a description for screen readers."""

    name: str
    title: str
    width: float
    height: float
    description: str = ""
    shapes: list[Shape] = field(default_factory=list)

    def box(
        self, x: float, y: float, w: float, h: float, colour: str, opacity: float = 1, title: str = ""
    ) -> None:
        """Add a filled rectangle."""
        self.shapes.append(Area(((x, y), (x + w, y), (x + w, y + h), (x, y + h)), colour, opacity, title))

    def svg(self) -> str:
        """Return the drawing as an SVG element, its colours as variables of the page."""
        label = escape(clipped(f"{self.title}. {self.description}", MAX_DESCRIPTION), quote=True)
        size = f"viewBox='0 0 {self.width:g} {self.height:g}' width={self.width:g} height={self.height:g}"
        return f'<svg {size} role=img aria-label="{label}">{"".join(map(_svg, self.shapes))}</svg>'


def width_of(text: str) -> float:
    """Return the width of a line of text in pixels, at most.

    Which font a browser has is unknown: these are the widths of DejaVu Sans, the widest of the common ones.
    """
    return LARGER * sum(_width(letter) for letter in text)


def _width(letter: str) -> float:
    """Return the width of a letter, in shares of the font's size."""
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.15
    usual = 0.65 if letter.isascii() else 0.75
    return next((width for width, letters in WIDTHS.items() if letter in letters), usual)


def _svg(shape: Shape) -> str:
    title = f"<title>{escape(clipped(shape.title))}</title>" if shape.title else ""
    paint = f"var(--{shape.colour})"
    match shape:
        case Line(points, _, width, dashed):
            dashes = " stroke-dasharray='5 4'" if dashed else ""
            stroke = f"fill=none stroke='{paint}' stroke-width={width:g}{dashes}"
            path = f"<polyline points='{_points(points)}' {stroke}"
        case Area(points, _, opacity):
            path = f"<polygon points='{_points(points)}' fill='{paint}' fill-opacity={opacity:.2g}"
        case Dot((x, y), _, size, opacity):
            path = f"<circle cx={x:.1f} cy={y:.1f} r={size:g} fill='{paint}' fill-opacity={opacity:.2g}"
        case Text((x, y), text, anchor, _, bold, up):
            turned = f" transform='rotate(-90 {x:.1f} {y:.1f})'" if up else ""
            weight = " font-weight=600" if bold else ""
            where = f"x={x:.1f} y={y:.1f} text-anchor={anchor} fill='{paint}'"
            return f"<text {where}{weight}{turned}>{escape(text)}{title}</text>"
    return f"{path}>{title}</{path[1:].split(' ', 1)[0]}>" if title else f"{path} />"


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def save(drawings: Sequence[Drawing], folder: Path) -> list[Path]:
    """Write every drawing as PNG and PDF; return the files.

    Raises:
        UserError: matplotlib is not there, or the folder is a file.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("writing plots needs matplotlib: pip install 'altuna[report]'") from None
    if folder.is_file():
        raise UserError(f"{folder}: is a file, not a folder")
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    # Text stays text in a PDF; a character that the font lacks becomes a box, which is no news.
    with rc_context({"pdf.fonttype": 42}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        for drawing in drawings:
            figure = Figure(figsize=(drawing.width / 72, drawing.height / 72))
            axes = figure.add_axes((0, 0, 1, 1), xlim=(0, drawing.width), ylim=(drawing.height, 0))
            axes.axis("off")
            for order, shape in enumerate(drawing.shapes):
                _paint(axes, shape, order)
            for suffix, metadata in ((".png", {"Software": None}), (".pdf", {"CreationDate": None})):
                files.append(folder / f"{drawing.name}{suffix}")
                with atomic_write(files[-1]) as unfinished:
                    figure.savefig(unfinished, format=suffix[1:], dpi=200, metadata=metadata)
    return files


def _paint(axes: Any, shape: Shape, order: int) -> None:
    """Paint a shape over those before it."""
    colour = LIGHT[shape.colour]
    match shape:
        case Line(points, _, width, dashed):
            style = (0, (5 / width, 4 / width)) if dashed else "-"
            axes.plot(*zip(*points, strict=True), color=colour, lw=width, ls=style, zorder=order)
        case Area(points, _, opacity):
            axes.fill(*zip(*points, strict=True), color=colour, alpha=opacity, lw=0, zorder=order)
        case Dot((x, y), _, size, opacity):
            axes.plot(x, y, "o", ms=2 * size, mew=0, color=colour, alpha=opacity, zorder=order)
        case Text((x, y), text, anchor, _, bold, up):
            axes.text(
                *(x, y, text),
                ha="left" if anchor == "start" else "right" if anchor == "end" else "center",
                # Turned text is placed by the box of its letters, so that its side is the base line.
                **({"rotation": 90, "rotation_mode": "anchor"} if up else {}),
                va="baseline",
                color=colour,
                fontsize=SIZE - 1,  # matplotlib's letters are wider than a browser's
                fontweight="bold" if bold else "normal",
                parse_math=False,
                zorder=order,
            )
