"""Charts as SVG, within a page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape

COLOURS = ("#3b7dd8", "#d9822b", "#2e9e6b", "#b4489b", "#8a7a1f", "#c2453e", "#5d6ad1", "#5a8a91")
WIDTH, LEFT, TOP, BOTTOM, LEGEND, LINE = 820, 40, 10, 24, 290, 18


def line_chart(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    ends: tuple[str, str],
    span: tuple[float, float],
    thick: Collection[str] = (),
) -> str:
    """Draw shares (0 to 1) as lines.

    Args:
        title: What is shown, for those who cannot see it.
        series: A line's name to its points (x, share).
        ends: What to write at both ends of the x axis.
        span: The x of both ends.
        thick: Lines to draw thicker.
    """
    height = max(280, 2 * LINE + LINE * len(series))
    right = WIDTH - LEGEND

    def at(x: float, share: float) -> tuple[float, float]:
        return LEFT + (x - span[0]) / (span[1] - span[0]) * (right - LEFT), _y(share, height)

    marks = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = _y(share, height)
        marks.append(f"<line x1={LEFT} x2={right} y1={y} y2={y} stroke='var(--line)'/>")
        marks.append(f"<text x={LEFT - 6} y={y + 4} text-anchor=end>{share:.0%}</text>")
    marks.append(f"<text x={LEFT} y={height - 4}>{escape(ends[0])}</text>")
    marks.append(f"<text x={right} y={height - 4} text-anchor=end>{escape(ends[1])}</text>")
    for i, (name, points) in enumerate(series.items()):
        colour, legend = COLOURS[i % len(COLOURS)], 20 + LINE * i
        places = [at(*point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dashes = "" if i < len(COLOURS) else " stroke-dasharray='5 3'"
        width = 3 if name in thick else 1.5
        marks.append(f"<polyline points='{path}' fill=none stroke='{colour}' stroke-width={width}{dashes} />")
        marks += [f"<circle cx={x:.1f} cy={y:.1f} r={width} fill='{colour}'/>" for x, y in places]
        marks.append(f"<rect x={right + 12} y={legend - 9} width=10 height=10 fill='{colour}'/>")
        marks.append(f"<text x={right + 28} y={legend}>{escape(name)}</text>")
    said = ", ".join(f"{name} ends at {points[-1][1]:.0%}" for name, points in series.items() if points)
    label = escape(f"{title}: {said}", quote=True)
    svg = f"<svg viewBox='0 0 {WIDTH} {height}' role=img aria-label='{label}'>{''.join(marks)}</svg>"
    return f"<figure>{svg}</figure>"


def _y(share: float, height: int) -> float:
    return TOP + (1 - share) * (height - BOTTOM - TOP)
