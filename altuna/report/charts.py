"""The plots of a report: lines, bars, distributions, matrices, reliability diagrams and scatter plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from altuna.report.drawing import Area, Dot, Drawing, Line, Point, Text, width_of
from altuna.report.frame import (
    BOTTOM,
    ROW,
    WIDTH,
    Frame,
    empty,
    number,
    percent,
    short,
    widest,
    with_legend,
)


@dataclass(frozen=True)
class Series:
    """A line of a chart: name, points, colour, and the uncertainty of each point."""

    name: str
    points: Sequence[Point]
    colour: str
    dashed: bool = False
    spread: Sequence[float] = ()

    @property
    def band(self) -> list[Point]:
        """The outline of the uncertainty; empty if there is none."""
        ends = [*zip(self.points, self.spread, strict=bool(self.spread))]
        return [(x, y + e) for (x, y), e in ends] + [(x, y - e) for (x, y), e in reversed(ends)]


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
        name: Name of the drawing's files.
        title: Caption.
        series: The lines.
        x: Name of the x axis.
        y: Name of the y axis.
        share: y is shown in percent.
        shares: x is shown in percent.
        levels: Named y values, as dashed horizontal lines.
        chosen: A point to mark with a ring.
    """
    show, levels = percent if share else number, levels or {}
    series = [s for s in series if any(math.isfinite(v) for _, v in s.points)]
    legend = [(s.name, s.colour, s.dashed) for s in series] + [(n, "muted", True) for n in levels]
    drawing, top = with_legend(name, title, legend)
    drawing.description = "; ".join(f"{s.name} ends at {show(s.points[-1][1])}" for s in series[:8])
    if not series:
        return empty(drawing)
    places = [p for s in series for p, _ in s.points]
    first, last = min(places), max(places)
    if first == last:
        first, last = first - 0.5, last + 0.5
    frame = Frame(drawing, (first, last), _limits(series, levels.values(), share), top)
    frame.axes(x, y, share, shares=shares, whole=all(place == int(place) for place in places))
    for level in levels.values():
        drawing.shapes.append(Line([frame.at(first, level), frame.at(last, level)], "muted", 1.2, True))
    for s in series:
        _draw_line(frame, s, x, show)
    if chosen:
        at, tooltip = frame.at(*chosen), f"lowest validation NLL: {x} {chosen[0]:g}"
        ring = Dot(at, "ink", 7, title=tooltip), Dot(at, "paper", 5), Dot(at, "ink", 2.6, title=tooltip)
        drawing.shapes += ring
    return drawing


def _limits(series: Sequence[Series], levels: Iterable[float], share: bool) -> tuple[float, float]:
    """Return the ends of the y axis."""
    values = [v for s in series for _, v in (*s.points, *s.band) if math.isfinite(v)] + [*levels]
    margin = max(0.06 * (max(values) - min(values)), 0.01 if share else 0.01 * max(map(abs, values)), 1e-6)
    low, high = min(values) - margin, max(values) + margin
    if share:
        return max(0.0, low), min(1.0, high)
    return low if min(values) < 0 else max(0.0, low), high


def _draw_line(frame: Frame, series: Series, x: str, show: Callable[[float], str]) -> None:
    shapes = frame.drawing.shapes
    points = [(p, v) for p, v in series.points if math.isfinite(v)]
    if series.spread:
        shapes.append(Area([frame.at(*end) for end in series.band], series.colour, 0.15))
    width = 2.6 if series.colour == "ink" else 1.8
    shapes.append(Line([frame.at(*p) for p in points], series.colour, width, series.dashed, series.name))
    if len(points) <= 60:
        size = width if len(points) > 1 else 2 * width
        for p, v in points:
            tooltip = f"{series.name}: {show(v)} at {x} {p:g}"
            shapes.append(Dot(frame.at(p, v), series.colour, size, title=tooltip))


def bar_chart(
    name: str,
    title: str,
    bars: Mapping[str, tuple[float, str]],
    *,
    share: bool = True,
    level: tuple[str, float] | None = None,
    counts: Sequence[int] = (),
) -> Drawing:
    """Draw horizontal bars.

    Args:
        name: Name of the drawing's files.
        title: Caption.
        bars: Value and colour of each bar by name.
        share: Values are shown in percent.
        level: A named value to compare with, as a dashed line.
        counts: Number of samples of each value; empty: not shown.
    """
    show = percent if share else number
    ends_with = [f" ({n:,})" for n in counts] or [""] * len(bars)
    left = widest(bars) + 12
    height = ROW + 24 * len(bars) + (ROW if level else 4)
    drawing = Drawing(name, title, WIDTH, height, "; ".join(f"{n}: {show(v)}" for n, (v, _) in bars.items()))
    values = [v for v, _ in bars.values()] + ([level[1]] if level else [])
    low, high = min(0.0, *values), max(1e-9, *values)
    labels = [show(value) + end for (value, _), end in zip(bars.values(), ends_with, strict=True)]
    ends = (left, WIDTH - max(map(width_of, labels), default=0.0) - 12)

    def x(value: float) -> float:
        return ends[0] + (value - low) / (high - low) * (ends[1] - ends[0])

    for i, (key, (value, colour)) in enumerate(bars.items()):
        y = ROW / 2 + 24 * i
        drawing.shapes.append(Text((left - 8, y + 15), short(key), "end", "ink", title=key))
        start, end = sorted((x(0), x(value)))
        drawing.box(start, y + 2, max(1.0, end - start), 18, colour, 0.9, f"{key}: {labels[i]}")
        drawing.shapes.append(Text((WIDTH - 4, y + 15), labels[i], "end", "ink"))
    drawing.shapes.append(Line([(x(0), ROW / 2), (x(0), ROW / 2 + 24 * len(bars))], "muted"))
    if level:
        at = x(level[1])
        drawing.shapes.append(Line([(at, ROW / 2 - 4), (at, ROW / 2 + 24 * len(bars))], "ink", 1.2, True))
        label = f"{level[0]} {show(level[1])}"
        half = 4 + width_of(label) / 2
        drawing.shapes.append(Text((min(max(at, half), WIDTH - half), height - 6), label, "middle", "ink"))
        drawing.description += f"; {label}"
    return drawing


def spread_chart(
    name: str, title: str, values: Mapping[str, Mapping[str, NDArray[np.float64]]], shades: Mapping[str, str]
) -> Drawing:
    """Draw the distribution of shares for each row and key: median, 25th to 75th, 5th to 95th percentile."""
    left = widest(values) + 12
    keys = [*shades]
    medians = (
        f"{row}: " + ", ".join(f"{key} {np.median(of[key]):.0%}" for key in keys if len(of.get(key, ())))
        for row, of in values.items()
    )
    thin = max(6.0, min(9.0, 40 / len(keys)))
    step = thin * len(keys) + 9
    drawing, top = with_legend(name, title, [(key, colour, False) for key, colour in shades.items()])
    drawing.description = "; ".join(medians)
    drawing.height = top + step * len(values) + BOTTOM
    frame = Frame(drawing, (0.0, 1.0), (0.0, 1.0), top, left)
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
            tooltip = f"{row}, {key}: median {middle:.0%}, half between {b:.0%} and {c:.0%}"
            at, half = y + thin * j, thin - 2
            (xa, yc), (xd, _) = frame.at(a, 0), frame.at(d, 0)
            yc = at + half / 2
            drawing.shapes.append(Line([(xa, yc), (xd, yc)], shades[key], 1.2))
            xb, xc = frame.at(b, 0)[0], frame.at(c, 0)[0]
            drawing.box(xb, at, max(2.0, xc - xb), half, shades[key], 0.55, tooltip)
            xm = frame.at(middle, 0)[0]
            drawing.box(xm - 1.5, at - 0.5, 3, half + 1, shades[key], 1, tooltip)
    return drawing


def matrix_chart(name: str, title: str, counts: NDArray[np.int64], classes: Sequence[str]) -> Drawing:
    """Draw a confusion matrix [C, C] with a row for each true class, shaded by the share of the row."""
    width = widest(classes, 20)
    left = width + 12
    cell = min(40.0, (WIDTH - left - 4) / len(classes))
    down = width + 14
    size = cell * len(classes)
    drawing = Drawing(name, title, WIDTH, ROW + size + down)
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    wrong = counts - np.diag(counts.diagonal())
    worst = [divmod(int(i), len(counts)) for i in wrong.argsort(axis=None, kind="stable")[::-1][:5]]
    most = (
        f"{short(classes[i])} predicted as {short(classes[j])}: {wrong[i, j]:,}"
        for i, j in worst
        if wrong[i, j]
    )
    correct = f"{np.trace(counts) / max(1, counts.sum()):.1%} of {counts.sum():,} shown are correct"
    drawing.description = "; ".join((correct, *most))
    for i, truth in enumerate(classes):
        y = ROW + cell * i
        drawing.shapes.append(Text((left - 8, y + cell / 2 + 4), short(truth, 20), "end", "ink", title=truth))
        for j, predicted in enumerate(classes):
            tooltip = f"{truth} predicted as {predicted}: {counts[i, j]:,} ({shares[i, j]:.0%})"
            x, shade = left + cell * j, float(shares[i, j])
            # Never so strong that the number could not be read, in light or dark mode.
            drawing.box(x, y, cell - 1, cell - 1, "c0" if i == j else "c1", 0.04 + 0.51 * shade, tooltip)
            if counts[i, j] and cell >= 22:
                where = (x + cell / 2 - 0.5, y + cell / 2 + 4)
                drawing.shapes.append(Text(where, f"{counts[i, j]}", "middle", "ink", title=tooltip))
    for j, predicted in enumerate(classes):
        where = (left + cell * j + cell / 2 + 4, ROW + size + 8)
        drawing.shapes.append(Text(where, short(predicted, 20), "end", "ink", up=True, title=predicted))
    drawing.shapes.append(Text((0, ROW - 6), "row: true, column: predicted"))
    return drawing


def reliability_chart(
    name: str,
    title: str,
    confidence: NDArray[np.float64],
    correct: NDArray[np.bool_],
    colour: str,
    ece: float,
) -> Drawing:
    """Draw accuracy by confidence in ten bins; the more samples a bin has, the darker its bar."""
    drawing = Drawing(name, title, WIDTH / 2 + 50, 270, f"ECE {ece:.3f}")
    frame = Frame(drawing, (0.0, 1.0), (0.0, 1.0), ROW + 8)
    frame.axes("confidence", "accuracy", True, shares=True)
    bins = np.minimum((confidence * 10).astype(int), 9)
    most = max(1, np.bincount(bins, minlength=10).max())
    for b in range(10):
        mine = bins == b
        if not mine.any():
            continue
        n, accuracy, mean = int(mine.sum()), float(correct[mine].mean()), float(confidence[mine].mean())
        (x0, y1), (x1, y0) = frame.at(b / 10, accuracy), frame.at((b + 1) / 10, 0)
        tooltip = f"{n:,} samples, confidence {mean:.0%}: accuracy {accuracy:.0%}"
        drawing.box(x0 + 1, y1, x1 - x0 - 2, max(1.0, y0 - y1), colour, 0.25 + 0.6 * n / most, tooltip)
        drawing.shapes.append(Dot(frame.at(mean, accuracy), "ink", 2.5, title=tooltip))
    drawing.shapes.append(Line([frame.at(0, 0), frame.at(1, 1)], "muted", 1.2, True))
    drawing.shapes.append(Text(frame.at(0.04, 0.92), f"ECE {ece:.3f}", colour="ink", bold=True))
    return drawing


def scatter_chart(
    name: str, title: str, points: Sequence[tuple[Point, str, str]], legend: Mapping[str, str]
) -> Drawing:
    """Draw points, each with a position, a colour and a tooltip."""
    drawing, top = with_legend(name, title, [(key, colour, False) for key, colour in legend.items()])
    drawing.height = top + 330
    drawing.description = f"{len(points):,} points"
    if not points:
        return empty(drawing)
    xy = np.array([at for at, _, _ in points])
    low, span = xy.min(0), np.maximum(xy.max(0) - xy.min(0), 1e-9)
    size = (WIDTH - 16, 314)
    for (x, y), (_, colour, tooltip) in zip((xy - low) / span, points, strict=True):
        drawing.shapes.append(Dot((8 + x * size[0], top + 8 + y * size[1]), colour, 3, 0.75, tooltip))
    return drawing
