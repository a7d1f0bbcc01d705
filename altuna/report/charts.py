"""The kinds of charts that a report has."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from altuna.report.drawing import PALETTE, Area, Dot, Drawing, Line, Point, Text, width_of
from altuna.text import clipped

WIDTH, HEIGHT = 480.0, 300.0
LEFT, RIGHT, BOTTOM, ROW = 50.0, 20.0, 40.0, 18.0
LETTERS = 26  # of a name within a chart, at most, and as wide as so many; its tooltip has all of them
LETTER = 8.0  # pixels of a letter


@dataclass(frozen=True)
class Series:
    """A line of a chart: a name and its points, with a colour, and how far each point is uncertain."""

    name: str
    points: Sequence[Point]
    colour: str
    dashed: bool = False
    spread: Sequence[float] = ()

    @property
    def band(self) -> list[Point]:
        """The outline of what lies within the uncertainty; empty without any."""
        ends = [*zip(self.points, self.spread, strict=bool(self.spread))]
        return [(x, y + e) for (x, y), e in ends] + [(x, y - e) for (x, y), e in reversed(ends)]


def colours(names: Sequence[str]) -> dict[str, tuple[str, bool]]:
    """Return each name's colour, and whether its line is dashed: colours come again after the tenth."""
    return {name: (f"c{i % PALETTE}", i >= PALETTE) for i, name in enumerate(names)}


def short(name: str, longest: int = LETTERS) -> str:
    """Return a name that fits into a chart."""
    name, most = " ".join(name.split()), LETTER * longest
    while width_of(cut := clipped(name, longest)) > most and longest > 6:
        longest -= 1
    return cut


def _widest(names: Iterable[str], longest: int = LETTERS) -> float:
    return max((width_of(short(name, longest)) for name in names), default=0.0)


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{share:.1%}"


def number(value: float) -> str:
    """Return a number in three digits."""
    return f"{value:.3g}"


def line_chart(
    name: str,
    title: str,
    series: Sequence[Series],
    x: str,
    y: str,
    *,
    share: bool = True,
    shares: bool = False,
    levels: Mapping[str, float] | None = None,
    chosen: Point | None = None,
) -> Drawing:
    """Draw lines.

    Args:
        name: Of the drawing.
        title: Of the drawing.
        series: The lines.
        x: What the x axis shows.
        y: What the y axis shows.
        share: y is shown in percent.
        shares: x is, too.
        levels: Named y values, as dashed lines across.
        chosen: A point to mark.
    """
    say, levels = percent if share else number, levels or {}
    series = [s for s in series if any(math.isfinite(v) for _, v in s.points)]
    values = [v for s in series for _, v in (*s.points, *s.band) if math.isfinite(v)] + [*levels.values()]
    places = [p for s in series for p, _ in s.points]
    drawing, top = _with_legend(
        name, title, [(s.name, s.colour, s.dashed) for s in series] + [(n, "muted", True) for n in levels]
    )
    drawing.said = "; ".join(f"{s.name} ends at {say(s.points[-1][1])}" for s in series[:8])
    if not series:
        return _empty(drawing)
    margin = max(0.06 * (max(values) - min(values)), 0.01 if share else 0.01 * max(map(abs, values)), 1e-6)
    low, high = min(values) - margin, max(values) + margin
    low, high = (
        (max(0.0, low), min(1.0, high)) if share else (low if min(values) < 0 else max(0.0, low), high)
    )
    first, last = min(places), max(places)
    if first == last:
        first, last = first - 0.5, last + 0.5
    frame = _Frame(drawing, (first, last), (low, high), top)
    frame.axes(x, y, share, shares=shares, whole=all(place == int(place) for place in places))
    for level in levels.values():
        drawing.shapes.append(Line([frame.at(first, level), frame.at(last, level)], "muted", 1.2, True))
    for s in series:
        points = [(p, v) for p, v in s.points if math.isfinite(v)]
        if s.spread:
            drawing.shapes.append(Area([frame.at(*end) for end in s.band], s.colour, 0.15))
        thick = 2.6 if s.colour == "ink" else 1.8
        drawing.shapes.append(Line([frame.at(*p) for p in points], s.colour, thick, s.dashed, s.name))
        if len(points) <= 60:
            size = thick if len(points) > 1 else 2 * thick
            drawing.shapes += [
                Dot(frame.at(p, v), s.colour, size, title=f"{s.name}: {say(v)} at {x} {p:g}")
                for p, v in points
            ]
    if chosen:
        at = frame.at(*chosen)
        said = f"chosen: {x} {chosen[0]:g}"
        drawing.shapes += [
            Dot(at, "ink", 7, title=said),
            Dot(at, "paper", 5),
            Dot(at, "ink", 2.6, title=said),
        ]
    return drawing


def bar_chart(
    name: str,
    title: str,
    bars: Mapping[str, tuple[float, str]],
    *,
    share: bool = True,
    level: tuple[str, float] | None = None,
    counts: Sequence[int] = (),
) -> Drawing:
    """Draw a horizontal bar a name, of a value and a colour.

    Args:
        name: Of the drawing.
        title: Of the drawing.
        bars: The bars.
        share: Values are shown in percent.
        level: A named value to compare with.
        counts: Of how many samples each value is; empty: do not say.
    """
    say = percent if share else number
    ends_with = [f" ({n:,})" for n in counts] or [""] * len(bars)
    left = _widest(bars) + 12
    height = ROW + 24 * len(bars) + (ROW if level else 4)
    drawing = Drawing(name, title, WIDTH, height, "; ".join(f"{n}: {say(v)}" for n, (v, _) in bars.items()))
    values = [v for v, _ in bars.values()] + ([level[1]] if level else [])
    low, high = min(0.0, *values), max(1e-9, *values)
    figures = [say(value) + end for (value, _), end in zip(bars.values(), ends_with, strict=True)]
    ends = (left, WIDTH - max(map(width_of, figures), default=0.0) - 12)

    def x(value: float) -> float:
        return ends[0] + (value - low) / (high - low) * (ends[1] - ends[0])

    for i, (key, (value, colour)) in enumerate(bars.items()):
        y = ROW / 2 + 24 * i
        drawing.shapes.append(Text((left - 8, y + 15), short(key), "end", "ink", title=key))
        start, end = sorted((x(0), x(value)))
        drawing.box(start, y + 2, max(1.0, end - start), 18, colour, 0.9, f"{key}: {figures[i]}")
        drawing.shapes.append(Text((WIDTH - 4, y + 15), figures[i], "end", "ink"))
    drawing.shapes.append(Line([(x(0), ROW / 2), (x(0), ROW / 2 + 24 * len(bars))], "muted"))
    if level:
        at = x(level[1])
        drawing.shapes.append(Line([(at, ROW / 2 - 4), (at, ROW / 2 + 24 * len(bars))], "ink", 1.2, True))
        said = f"{level[0]} {say(level[1])}"
        half = 4 + width_of(said) / 2
        drawing.shapes.append(Text((min(max(at, half), WIDTH - half), height - 6), said, "middle", "ink"))
        drawing.said += f"; {said}"
    return drawing


def spread_chart(
    name: str, title: str, values: Mapping[str, Mapping[str, NDArray[np.float64]]], shades: Mapping[str, str]
) -> Drawing:
    """Draw how shares are distributed in each row, for each key: median, middle half, middle nine tenths."""
    left = _widest(values) + 12
    keys = [*shades]
    medians = (
        f"{row}: " + ", ".join(f"{key} {np.median(of[key]):.0%}" for key in keys if len(of.get(key, ())))
        for row, of in values.items()
    )
    thin = max(6.0, min(9.0, 40 / len(keys)))
    step = thin * len(keys) + 9
    drawing, top = _with_legend(name, title, [(key, colour, False) for key, colour in shades.items()])
    drawing.said = "; ".join(medians)
    drawing.height = top + step * len(values) + BOTTOM
    frame = _Frame(drawing, (0.0, 1.0), (0.0, 1.0), top, left)
    frame.axes("weight", "", True, rows=True, shares=True)
    for i, (row, mine) in enumerate(values.items()):
        y = top + step * i + 4
        drawing.shapes.append(
            Text((left - 8, y + thin * len(keys) / 2 + 4), short(row), "end", "ink", title=row)
        )
        for j, key in enumerate(keys):
            some = mine.get(key, np.empty(0))
            if not len(some):
                continue
            a, b, middle, c, d = np.quantile(some, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist()
            said = f"{row}, {key}: median {middle:.0%}, half between {b:.0%} and {c:.0%}"
            at, half = y + thin * j, thin - 2
            (xa, yc), (xd, _) = frame.at(a, 0), frame.at(d, 0)
            yc = at + half / 2
            drawing.shapes.append(Line([(xa, yc), (xd, yc)], shades[key], 1.2))
            xb, xc = frame.at(b, 0)[0], frame.at(c, 0)[0]
            drawing.box(xb, at, max(2.0, xc - xb), half, shades[key], 0.55, said)
            xm = frame.at(middle, 0)[0]
            drawing.box(xm - 1.5, at - 0.5, 3, half + 1, shades[key], 1, said)
    return drawing


def matrix_chart(name: str, title: str, counts: NDArray[np.int64], classes: Sequence[str]) -> Drawing:
    """Draw a confusion matrix [C, C], a row a true class, shaded by the share of the row."""
    widest = _widest(classes, 20)
    left = widest + 12
    cell = min(40.0, (WIDTH - left - 4) / len(classes))
    down = widest + 14
    size = cell * len(classes)
    drawing = Drawing(name, title, WIDTH, ROW + size + down)
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    wrong = counts - np.diag(counts.diagonal())
    worst = [divmod(int(i), len(counts)) for i in wrong.argsort(axis=None, kind="stable")[::-1][:5]]
    most = (
        f"{short(classes[i])} taken for {short(classes[j])}: {wrong[i, j]:,}" for i, j in worst if wrong[i, j]
    )
    right = f"right in {np.trace(counts) / max(1, counts.sum()):.1%} of {counts.sum():,} shown"
    drawing.said = "; ".join((right, *most))
    for i, truth in enumerate(classes):
        y = ROW + cell * i
        drawing.shapes.append(Text((left - 8, y + cell / 2 + 4), short(truth, 20), "end", "ink", title=truth))
        for j, answer in enumerate(classes):
            said = f"{truth} taken for {answer}: {counts[i, j]:,} ({shares[i, j]:.0%})"
            x, shade = left + cell * j, float(shares[i, j])
            # Never so strong that the number in it could not be read, on light or dark paper.
            drawing.box(x, y, cell - 1, cell - 1, "c0" if i == j else "c1", 0.04 + 0.51 * shade, said)
            if counts[i, j] and cell >= 22:
                where = (x + cell / 2 - 0.5, y + cell / 2 + 4)
                drawing.shapes.append(Text(where, f"{counts[i, j]}", "middle", "ink", title=said))
    for j, answer in enumerate(classes):
        where = (left + cell * j + cell / 2 + 4, ROW + size + 8)
        drawing.shapes.append(Text(where, short(answer, 20), "end", "ink", up=True, title=answer))
    drawing.shapes.append(Text((0, ROW - 6), "row: true, column: predicted"))
    return drawing


def reliability_chart(
    name: str, title: str, confidence: NDArray[np.float64], right: NDArray[np.bool_], colour: str, ece: float
) -> Drawing:
    """Draw accuracy by confidence, in ten bins; a bar is stronger where there are more samples."""
    drawing = Drawing(name, title, WIDTH / 2 + 50, 270, f"ECE {ece:.3f}")
    frame = _Frame(drawing, (0.0, 1.0), (0.0, 1.0), ROW + 8)
    frame.axes("confidence", "right", True, shares=True)
    bins = np.minimum((confidence * 10).astype(int), 9)
    most = max(1, np.bincount(bins, minlength=10).max())
    for b in range(10):
        mine = bins == b
        if not mine.any():
            continue
        n, accuracy, mean = int(mine.sum()), float(right[mine].mean()), float(confidence[mine].mean())
        (x0, y1), (x1, y0) = frame.at(b / 10, accuracy), frame.at((b + 1) / 10, 0)
        said = f"{n:,} samples, confidence {mean:.0%}: right in {accuracy:.0%}"
        drawing.box(x0 + 1, y1, x1 - x0 - 2, max(1.0, y0 - y1), colour, 0.25 + 0.6 * n / most, said)
        drawing.shapes.append(Dot(frame.at(mean, accuracy), "ink", 2.5, title=said))
    drawing.shapes.append(Line([frame.at(0, 0), frame.at(1, 1)], "muted", 1.2, True))
    drawing.shapes.append(Text(frame.at(0.04, 0.92), f"ECE {ece:.3f}", colour="ink", bold=True))
    return drawing


def scatter_chart(
    name: str, title: str, points: Sequence[tuple[Point, str, str]], legend: Mapping[str, str]
) -> Drawing:
    """Draw points of a colour, each with what it says when pointed at."""
    drawing, top = _with_legend(name, title, [(key, colour, False) for key, colour in legend.items()])
    drawing.height = top + 330
    drawing.said = f"{len(points):,} points"
    if not points:
        return _empty(drawing)
    xy = np.array([at for at, _, _ in points])
    low, span = xy.min(0), np.maximum(xy.max(0) - xy.min(0), 1e-9)
    size = (WIDTH - 16, 314)
    for (x, y), (_, colour, said) in zip((xy - low) / span, points, strict=True):
        drawing.shapes.append(Dot((8 + x * size[0], top + 8 + y * size[1]), colour, 3, 0.75, said))
    return drawing


class _Frame:
    """The rectangle of a drawing that data are drawn in."""

    def __init__(
        self, drawing: Drawing, x: tuple[float, float], y: tuple[float, float], top: float, left: float = LEFT
    ) -> None:
        self.drawing, self.x, self.y, self.top, self.left = drawing, x, y, top, left
        self.right, self.bottom = drawing.width - RIGHT, drawing.height - BOTTOM

    def at(self, x: float, y: float) -> Point:
        """Return where a datum is on the canvas."""
        right = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            self.left + right * (self.right - self.left),
            self.bottom - up * (self.bottom - self.top),
        )

    def axes(
        self, x: str, y: str, share: bool, *, rows: bool = False, shares: bool = False, whole: bool = False
    ) -> None:
        """Draw grid, numbers and names.

        ``shares``: x is shown in percent, too; ``whole``: x are whole numbers; ``rows``: the y axis is the
        caller's.
        """
        shapes = self.drawing.shapes
        ticks = [] if rows else _ticks(*self.y, share)
        self.left = max(self.left, *(width_of(label) + 8 for _, label in ticks), 0.0)
        for value, label in ticks:
            at = self.at(self.x[0], value)
            shapes.append(Line([at, (self.right, at[1])], "line"))
            shapes.append(Text((self.left - 6, at[1] + 4), label, "end"))
        for value, label in _ticks(*self.x, shares, least=1.0 if whole and not shares else 0.0):
            at = self.at(value, self.y[0])
            if rows:
                shapes.append(Line([at, (at[0], self.top)], "line"))
            shapes.append(Text((at[0], self.bottom + 15), label, "middle"))
        shapes.append(Text(((self.left + self.right) / 2, self.drawing.height - 6), x, "middle"))
        if y:
            shapes.append(Text((2, self.top - 13), y))


def _ticks(
    low: float, high: float, share: bool, least: float = 0.0, about: int = 5
) -> list[tuple[float, str]]:
    """Return about so many round numbers between two, at least ``least`` apart, and how to write them."""
    rough = max((high - low) / about, least)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    times, end = (100, "%") if share else (1, "")
    digits = max(0, -math.floor(math.log10(step * times) + 1e-9))
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [(i * step, f"{i * step * times:,.{digits}f}{end}") for i in numbers]


def _with_legend(name: str, title: str, entries: Sequence[tuple[str, str, bool]]) -> tuple[Drawing, float]:
    """Return a drawing with a legend in as many lines as it takes, and where the space below begins."""
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


def _empty(drawing: Drawing) -> Drawing:
    drawing.height = 80
    drawing.shapes.append(Text((WIDTH / 2, 60), "nothing to show", "middle"))
    return drawing
