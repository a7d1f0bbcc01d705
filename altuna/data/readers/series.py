"""Read series: sequences of steps with one or more channels, whose length differs by cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from altuna.data.readers.base import (
    BadCellError,
    NotFiniteError,
    Reader,
    check_positive,
    sample,
    silent,
)
from altuna.data.readers.orientation import channels_come_first
from altuna.data.readers.steps import Steps, load_steps, turned
from altuna.data.readers.vector import check_origin, origin_of
from altuna.errors import UserError

MARGIN = 1.25  # times the 95th percentile of the lengths: more is not worth its padding
MAX_LENGTH = 2048  # of the length that ``fit`` chooses
Longer = Literal["crop", "resample"]


@dataclass(frozen=True)
class SeriesReader(Reader):
    """Read float32 [length, channels]; the rows after the end of a shorter series are NaN.

    A missing number within a series is NaN too: the front end replaces it by the training mean. A step counts
    as one of the series if it, or a later one, has a number.

    Args:
        length: Number of steps.
        channels: Number of channels.
        rate: Steps per second that series are resampled to; their own if None.
        source_rate: Steps per second of cells that do not state it themselves.
        longer: What is done with longer series: ``crop`` keeps the first steps, ``resample`` keeps the whole
            series in ``length`` steps.
        origin: What is subtracted from each channel, in float64; nothing where it is empty. Numbers such as
            Unix times are so far from 0 that float32 would lose what tells them apart.
        channels_first: Arrays and lists of lists are [C, T], with a list for each channel.

    Example:
        >>> reader = SeriesReader(length=3, channels=2)
        >>> reader.read([[1, 2], [3, None]], print).tolist()
        1 of 4 numbers are empty: imputed by the training means
        [[1.0, 2.0], [3.0, nan], [nan, nan]]
    """

    length: int
    channels: int
    rate: float | None = None
    source_rate: float | None = None
    longer: Longer = "crop"
    origin: tuple[float, ...] = ()
    channels_first: bool = False

    name = "series"
    type = "series"
    dtype = np.float32
    decodes_files = True

    def __post_init__(self) -> None:
        check_origin(self.origin, self.channels)

    def text_columns(self, columns: Sequence[str]) -> tuple[str, ...]:
        return ()

    @property
    def remark(self) -> str:
        if not self.channels_first:
            return ""
        read = f"its lists are read as the {self.channels} channels, each with its steps ([C, T])"
        return f"{read}; if each list is a step: channels_first: false in readers"

    def cell_of(self, parts: Mapping[str, Any]) -> Any:
        return parts if len(parts) > 1 else super().cell_of(parts)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length, self.channels)

    @classmethod
    def fit(
        cls,
        cells: Sequence[Any],
        *,
        length: int | None = None,
        channels: int | None = None,
        rate: float | None = None,
        source_rate: float | None = None,
        longer: Longer = "crop",
        channels_first: bool | None = None,
    ) -> Self:
        """Choose the length (at most 2048) and the most frequent number of channels.

        The length is that of the longest training cell or, where some are much longer than others, the 95th
        percentile. ``channels_first`` is found out from the shapes of the cells if it is None.

        Raises:
            UserError: A rate is wanted and the one of the cells is not known.
        """
        check_positive(length=length, channels=channels, rate=rate, source_rate=source_rate)
        if longer not in get_args(Longer):
            raise UserError(f"longer must be crop or resample, got {longer!r}")
        found: list[Steps] = []
        for cell in sample(cells):
            with suppress(Exception):
                found.append(load_steps(cell))
        found = [steps for steps in found if len(steps.values)]
        if channels_first is None:
            channels_first = channels_come_first(found)
        if channels_first:
            found = [steps if steps.fixed else turned(steps) for steps in found]
        if rate and not source_rate and found and all(steps.rate is None for steps in found):
            raise UserError("rate: the rate of the cells is not known: give source_rate too")
        counts = Counter(steps.values.shape[1] for steps in found)
        channels = channels or (counts.most_common(1)[0][0] if counts else 1)
        same = [steps for steps in found if steps.values.shape[1] == channels]
        reader = cls(1, channels, rate, source_rate, longer, (), channels_first)
        lengths = [reader._resampled_length(steps) for steps in same]
        most = round(float(np.quantile(lengths, 0.95))) if lengths else 1
        longest = max(lengths, default=1)
        longest = longest if longest <= MARGIN * most else most
        origin = origin_of(np.concatenate([steps.values for steps in same])) if same else ()
        length = length or min(MAX_LENGTH, longest)
        return cls(length, channels, rate, source_rate, longer, origin, channels_first)

    def read(self, cell: Any, note: Callable[[str], None] = silent) -> NDArray[Any]:
        steps = load_steps(cell, channels_first=self.channels_first)
        if not len(steps.values):
            raise BadCellError("an empty series (0 steps)")
        if (found := steps.values.shape[1]) != self.channels:
            raise BadCellError(f"has {found} channel{'s' * (found != 1)}, the others have {self.channels}")
        moved = self._moved(steps)
        if empty := int(steps.missing.sum()):
            if empty == steps.missing.size:
                raise BadCellError("all its numbers are empty")
            note(f"{empty:,} of {steps.missing.size:,} numbers are empty: imputed by the training means")
        kept = self._cut(moved, self._resampled_length(steps), note)
        if np.isnan(kept).all():
            raise BadCellError(f"all numbers of its first {self.length} steps are empty")
        cells = np.full(self.shape, np.nan, self.dtype)
        cells[: len(kept)] = kept
        return cells

    def _moved(self, steps: Steps) -> NDArray[np.float32]:
        """Return the numbers [T, C] relative to the origin; raise NotFiniteError where one is not finite."""
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite
            moved = (steps.values - self.origin if self.origin else steps.values).astype(np.float32)
        wrong = np.argwhere(~np.isfinite(moved) & ~steps.missing)
        if len(wrong):
            step, channel = wrong[0]
            what = "NaN" if np.isnan(steps.values[step, channel]) else "too large or infinite"
            many = f" ({len(wrong):,} such numbers)" if len(wrong) > 1 else ""
            raise NotFiniteError(f"step {step + 1}, channel {channel + 1}: is {what}{many}")
        return moved

    def _resampled_length(self, steps: Steps) -> int:
        """Return the number of steps at the reader's rate."""
        known = steps.rate or self.source_rate
        if self.rate is None:
            return len(steps.values)
        if known is None:
            raise BadCellError("its rate is not known: give readers.NAME.source_rate")
        return max(1, round(len(steps.values) * self.rate / known))

    def _cut(
        self, numbers: NDArray[np.float32], length: int, note: Callable[[str], None]
    ) -> NDArray[np.float32]:
        """Return at most ``self.length`` of the ``length`` steps that a series [T, C] is to have."""
        if length > self.length and self.longer == "resample":
            note(f"resampled from {length:,} to {self.length:,} steps")
            length = self.length
        elif length > self.length:
            note(f"cut to its first {self.length:,} of {length:,} steps")
        if length == len(numbers):
            return numbers[: self.length]
        return resampled(numbers, length, min(length, self.length))


def resampled(numbers: NDArray[np.float32], length: int, keep: int) -> NDArray[np.float32]:
    """Return the first ``keep`` of ``length`` steps that a series [T, C] is resampled to.

    The series is divided into ``length`` parts. Where they are longer than a step, each becomes the mean of
    its steps, and otherwise the value of the line through the steps at its middle. Missing numbers are
    interpolated first.

    Example:
        >>> ramp = np.arange(6, dtype=np.float32)[:, None]
        >>> resampled(ramp, length=3, keep=2).tolist()
        [[0.5], [2.5]]
    """
    size, at = len(numbers), np.arange(len(numbers)) + 0.5
    edges = np.arange(keep + 1) * (size / length)
    found = np.full((keep, numbers.shape[1]), np.nan, numbers.dtype)
    for channel, values in enumerate(numbers.T.astype(np.float64)):
        there = ~np.isnan(values)
        if not there.any():
            continue
        if length < size:
            known = np.interp(at, at[there], values[there])
            sums = np.interp(edges, np.arange(size + 1), np.concatenate([[0.0], np.cumsum(known)]))
            found[:, channel] = np.diff(sums) * (length / size)
        else:
            found[:, channel] = np.interp((edges[1:] + edges[:-1]) / 2, at[there], values[there])
    return found
