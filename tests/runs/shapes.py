"""Ways to write numbers, to try each of them in training and each other one in prediction."""

from collections.abc import Callable
from typing import NamedTuple


def german(number: float) -> str:
    return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))


class Shape(NamedTuple):
    """How the numbers of a quantity are written, in which unit ("" if the text has none).

    ``number`` is what the model gets for a quantity of 1.
    """

    quantity: str
    number: float
    write: Callable[[float], str]
    unit: str = ""


def clock(seconds: float) -> str:
    seconds = round(seconds)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def duration(seconds: float) -> str:
    seconds = round(seconds)
    return f"{seconds // 3600}h {seconds // 60 % 60}min {seconds % 60}s"


def size(kilobytes: float) -> str:
    return f"{kilobytes:.2f} KB" if kilobytes < 500 else f"{kilobytes / 1000:.5f} MB"


SHAPES = {
    "kg": Shape("mass", 1, lambda x: f"{x:.2f} kg", "kg"),
    "g": Shape("mass", 1000, lambda x: f"{1000 * x:.0f} g", "g"),
    "lb": Shape("mass", 2.204623, lambda x: f"{2.204623 * x:.2f} lb", "lb"),
    "kg german": Shape("mass", 1, lambda x: f"{german(x)} kg", "kg"),
    "kg and lb": Shape("mass", 1, lambda x: f"{x:.2f} kg ({2.2046 * x:.1f} lb)", "kg"),
    "kg bounds": Shape("mass", 1, lambda x: f"{'<' * (x < 300)}{x:.2f} kg", "kg"),
    "kg per m": Shape("density", 1, lambda x: f"{x:.2f} kg/m³", "kg/m³"),
    "plain": Shape("", 1, lambda x: f"{x:.2f}"),
    "plain german": Shape("", 1, german),
    "plain english": Shape("", 1, lambda x: f"{x:,.2f}"),
    "plain french": Shape("", 1, lambda x: f"{x:,.2f}".translate(str.maketrans(",.", "\u202f,"))),
    "plain swiss": Shape("", 1, lambda x: f"{x:,.2f}".replace(",", "’")),
    "plain powers": Shape("", 1, lambda x: f"{x:.5e}"),
    "dollars": Shape("dollars", 1, lambda x: f"${x:,.2f}", "$"),
    "euros": Shape("euros", 1, lambda x: f"{german(x)} €", "€"),
    "francs": Shape("francs", 1, lambda x: f"CHF {x:.2f}", "CHF"),
    "kilodollars": Shape("dollars", 1, lambda x: f"${x / 1000:.5f}K", "$"),
    "thousands": Shape("", 1, lambda x: f"{x / 1000:.5f}K"),
    "percent": Shape("share", 1, lambda x: f"{x:.2f} %", "%"),
    "permille": Shape("share", 10, lambda x: f"{10 * x:.1f} ‰", "‰"),
    "clock": Shape("time", 1, clock, "clock"),
    "clock of minutes": Shape("time", 1, lambda x: f"{round(x) // 60}:{round(x) % 60:02}", "m:s"),
    "duration": Shape("time", 1, duration, "duration"),
    "minutes": Shape("time", 1 / 60, lambda x: f"{x / 60:.4f} min", "min"),
    "hours": Shape("time", 1 / 3600, lambda x: f"{x / 3600:.6f} h", "h"),
    "feet": Shape("length", 1, lambda x: f"{int(x // 12)}'{x % 12:.2f}\"", "feet"),
    "inches": Shape("length", 1, lambda x: f"{x:.2f} in", "in"),
    "cm": Shape("length", 2.54, lambda x: f"{2.54 * x:.2f} cm", "cm"),
    "kilobytes": Shape("size", 1, lambda x: f"{x:.2f} KB", "KB"),
    "sizes": Shape("size", 1000, size, "bytes"),
    "mixed": Shape("mass", 1, lambda x: f"{x:.2f}" + " kg" * (x < 900), "kg"),
}
