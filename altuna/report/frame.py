"""The canvas of a chart: sizes, names that fit, numbers, axes and legend."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from altuna.report.drawing import PALETTE, Drawing, Line, Point, Text, width_of
from altuna.text import clipped

WIDTH, HEIGHT = 480.0, 300.0
LEFT, RIGHT, BOTTOM, ROW = 50.0, 20.0, 40.0, 18.0
MAX_LETTERS = 26  # of a name in a chart, which is also at most so wide; its tooltip has the whole name
LETTER = 8.0  # pixels of a letter


def colours(names: Sequence[str]) -> dict[str, tuple[str, bool]]:
    """Return each name's colour, and whether its line is dashed: colours repeat after the tenth.

    Example:
        >>> colours(["image", "audio"])
        {'image': ('c0', False), 'audio': ('c1', False)}
    """
    return {name: (f"c{i % PALETTE}", i >= PALETTE) for i, name in enumerate(names)}


def short(name: str, longest: int = MAX_LETTERS) -> str:
    """Return a name that fits into a chart.

    Example:
        >>> short("a class with a very long name, 12")
        'a class with a ve…name, 12'
    """
    name, most = " ".join(name.split()), LETTER * longest
    while width_of(cut := clipped(name, longest)) > most and longest > 6:
        longest -= 1
    return cut


def widest(names: Iterable[str], longest: int = MAX_LETTERS) -> float:
    """Return the width in pixels of the widest name."""
    return max((width_of(short(name, longest)) for name in names), default=0.0)


def percent(share: float) -> str:
    """Return a share in percent.

    Example:
        >>> percent(0.1234)
        '12.3%'
    """
    return f"{share:.1%}"


def number(value: float) -> str:
    """Return a number with three digits.

    Example:
        >>> number(1234.5)
        '1.23e+03'
    """
    return f"{value:.3g}"


class Frame:
    """The rectangle of a drawing that holds the data."""

    def __init__(
        self, drawing: Drawing, x: tuple[float, float], y: tuple[float, float], top: float, left: float = LEFT
    ) -> None:
        self.drawing, self.x, self.y, self.top, self.left = drawing, x, y, top, left
        self.right, self.bottom = drawing.width - RIGHT, drawing.height - BOTTOM

    def at(self, x: float, y: float) -> Point:
        """Return the position of a data point on the canvas."""
        right = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            self.left + right * (self.right - self.left),
            self.bottom - up * (self.bottom - self.top),
        )

    def axes(
        self, x: str, y: str, share: bool, *, rows: bool = False, shares: bool = False, whole: bool = False
    ) -> None:
        """Draw grid, numbers and names of the axes.

        Args:
            x: Name of the x axis.
            y: Name of the y axis.
            share: y is shown in percent.
            rows: The caller draws the y axis.
            shares: x is shown in percent.
            whole: x are whole numbers.
        """
        shapes = self.drawing.shapes
        marks = [] if rows else ticks(*self.y, share)
        self.left = max(self.left, *(width_of(label) + 8 for _, label in marks), 0.0)
        for value, label in marks:
            at = self.at(self.x[0], value)
            shapes.append(Line([at, (self.right, at[1])], "line"))
            shapes.append(Text((self.left - 6, at[1] + 4), label, "end"))
        for value, label in ticks(*self.x, shares, least=1.0 if whole and not shares else 0.0):
            at = self.at(value, self.y[0])
            if rows:
                shapes.append(Line([at, (at[0], self.top)], "line"))
            shapes.append(Text((at[0], self.bottom + 15), label, "middle"))
        shapes.append(Text(((self.left + self.right) / 2, self.drawing.height - 6), x, "middle"))
        if y:
            shapes.append(Text((2, self.top - 13), y))


def ticks(
    low: float, high: float, share: bool, least: float = 0.0, about: int = 5
) -> list[tuple[float, str]]:
    """Return about ``about`` round numbers between two, at least ``least`` apart, and their labels.

    Example:
        >>> ticks(0.0, 1.0, share=True, about=2)
        [(0.0, '0%'), (0.5, '50%'), (1.0, '100%')]
    """
    rough = max((high - low) / about, least)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    times, end = (100, "%") if share else (1, "")
    digits = max(0, -math.floor(math.log10(step * times) + 1e-9))
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [(i * step, f"{i * step * times:,.{digits}f}{end}") for i in numbers]


def with_legend(name: str, title: str, entries: Sequence[tuple[str, str, bool]]) -> tuple[Drawing, float]:
    """Return a drawing with a legend, and the position below it."""
    drawing = Drawing(name, title, WIDTH, HEIGHT)
    x, y = 4.0, 14.0
    for key, colour, dashed in entries:
        width = 22 + width_of(short(key)) + 12
        if x + width > WIDTH and x > 4:
            x, y = 4.0, y + ROW
        drawing.shapes.append(Line([(x, y - 4), (x + 16, y - 4)], colour, 4 if not dashed else 2, dashed))
        drawing.shapes.append(Text((x + 22, y), short(key), colour="ink", title=key))
        x += width
    top = y + 34
    drawing.height = top + HEIGHT - 60
    return drawing, top


def empty(drawing: Drawing) -> Drawing:
    """Return a drawing without data."""
    drawing.height = 80
    drawing.shapes.append(Text((WIDTH / 2, 60), "nothing to show", "middle"))
    return drawing
