"""A front end for the numbers, dates and categories of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from altuna.data.formats.dates import PARTS
from altuna.data.readers.tabular import TabularReader
from altuna.encoders.piecewise import PiecewiseLinear

CYCLES = {"month": (1, 1, 12), "weekday": (0, 1, 7), "hour": (0, 4, 6)}  # of dates: first, width, number


class TabularCodes(nn.Module):
    """Encode numbers piecewise-linearly and categories one-hot: [n, size] to [n, out].

    Numbers and parts of dates are encoded by ``PiecewiseLinear``. Beside them, an input of 1 marks a missing
    number, and each month, weekday and block of four hours of a date has an input, as categories have. Of a
    category column, each listed category has an input, as have all others together, and a missing value. An
    input that is the same in all training cells is always 0: its weights have learnt nothing.

    Args:
        reader: The reader of the cells, which has the columns.
        shape: Shape of a cell.
        bins: Bins of each number, see ``PiecewiseLinear``.

    Example:
        >>> reader = TabularReader((("age", 0.0),), (), (("colour", ("blue", "red")),))
        >>> front = TabularCodes(reader, reader.shape, bins=1)
        >>> front.fit(np.array([[1.0, 0], [3.0, 1], [np.nan, np.nan]]))
        >>> front(torch.tensor([[3.0, 1], [float("nan"), 2]])).tolist()
        [[1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0]]
    """

    small = True

    seen: Tensor

    def __init__(self, reader: TabularReader, shape: tuple[int, ...], *, bins: int = 4) -> None:
        super().__init__()
        self.n_numbers = reader.n_numbers
        self.sizes = [len(listed) + 2 for _, listed in reader.categories]
        numbers = PiecewiseLinear(reader, (self.n_numbers,), bins=bins) if self.n_numbers else None
        self.numbers = numbers
        dates = range(len(reader.numbers), self.n_numbers, len(PARTS))
        self.cycles = [(date + PARTS.index(part), *of) for date in dates for part, of in CYCLES.items()]
        n_marks = self.n_numbers + sum(size for *_, size in self.cycles) + sum(self.sizes)
        self.shape = ((numbers.shape[0] if numbers else 0) + n_marks,)
        self.register_buffer("seen", torch.ones(n_marks))

    def fit(self, values: NDArray[Any]) -> None:
        """Fit the codes of numbers, and find the inputs that differ between training cells [n, size]."""
        if self.numbers is not None:
            self.numbers.fit(values[:, : self.n_numbers])
        self.seen.fill_(1)
        low, high = torch.ones_like(self.seen), torch.zeros_like(self.seen)
        for part in np.array_split(values, max(1, len(values) // 4096)):
            marks = self._marks(torch.from_numpy(np.asarray(part)))
            low, high = torch.minimum(low, marks.amin(0)), torch.maximum(high, marks.amax(0))
        self.seen.copy_(high - low)

    def forward(self, x: Tensor) -> Tensor:
        marks = self._marks(x)
        return marks if self.numbers is None else torch.cat([self.numbers(x[:, : self.n_numbers]), marks], 1)

    def _marks(self, x: Tensor) -> Tensor:
        """Return which numbers are missing, and parts of dates and categories one-hot [n, marks]."""
        x = x.to(self.seen.dtype)
        marks = [x[:, : self.n_numbers].isnan().to(x.dtype)]
        marks += [
            one_hot(((x[:, place] - first) / width).floor(), size)
            for place, first, width, size in self.cycles
        ]
        for i, size in enumerate(self.sizes):
            marks.append(one_hot(x[:, self.n_numbers + i].nan_to_num(size - 1), size))
        return torch.cat(marks, 1) * self.seen


def one_hot(codes: Tensor, size: int) -> Tensor:
    """Return numbers [n] one-hot [n, size]; a row is 0 where a number is none of 0 .. size - 1.

    Example:
        >>> one_hot(torch.tensor([1.0, float("nan")]), 2).tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """
    places = torch.arange(size, device=codes.device, dtype=codes.dtype)
    return (codes[:, None] == places).to(codes.dtype)
