"""Read parts of shards by what the manifest tells of their columns, and count what counts as missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from altuna.data.formats.columns import filled, is_number
from altuna.data.formats.numbers import MOSTLY
from altuna.data.formats.sentinels import SEVERAL, find_sentinels
from altuna.data.store.problems import Problem
from altuna.data.stream.columns import Read, StreamColumn, columns_of
from altuna.data.table.manifest import Manifest
from altuna.errors import UserError
from altuna.options import shown

ENOUGH = 1000  # filled cells, before whose end a share of mistakes tells little
MAX_CELLS = 1000  # different mistakes that are looked at once only
SHOWN = 4  # words in a remark
Where = Callable[[int, str], str]  # from the number of a row in a part, and a column, to its place


@dataclass
class _Counts:
    """What a column has had so far.

    ``ends`` are numbers of the manifest and the smallest and largest ones of the shards, by which those that
    stand for a missing number are told.
    """

    filled: int = 0
    wrong: int = 0
    bare: int = 0  # numbers without the unit of the others
    first: str = ""
    words: Counter[str] = field(default_factory=Counter)
    ends: list[float] = field(default_factory=list)


class PartReader:
    r"""Read parts of a table as the whole: what its columns are is known from the manifest.

    A cell that is written in another way than those of the manifest, but would be understood in another
    table, is an error, as is a number such as -999 that only in the shards stands for a missing one: the
    manifest must show how cells are written. Other cells that are not understood count as missing. They and
    words such as NA are counted until ``finish``, when all rows have been read once.

    Args:
        manifest: The table that tells what the columns are.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from altuna.data.table.manifest import read_manifest
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_text("label,price\na,$3\nb,\"$1,336\"\n")
        >>> reader = PartReader(read_manifest(path))
        >>> part = pa.table({"label": ["a", "b"], "price": ["$4", "NA"]})
        >>> reader.read(part, lambda row, column: f"row {row + 1}")["price"].to_pylist()
        [4.0, None]
        >>> [problem.reason for problem in reader.problems()]
        ["read as missing: 'NA' (1)"]
    """

    def __init__(self, manifest: Manifest) -> None:
        self.path, self.columns = manifest.path, columns_of(manifest)
        self.is_complete = False
        self._counts = {name: _Counts() for name in self.columns}
        self._seen: dict[str, set[str]] = {name: set() for name in self.columns}
        for name in self.numeric:
            self._counts[name].ends = _ends(manifest.table[name])

    @property
    def numeric(self) -> list[str]:
        """Return the columns of numbers."""
        return [name for name, column in self.columns.items() if column.role == "number"]

    def read(self, table: pa.Table, where: Where) -> pa.Table:
        """Return some rows with the cells that their columns have in the manifest.

        Args:
            table: The rows.
            where: Returns the place of a cell, for messages.

        Raises:
            UserError: A cell is written in another way than in the manifest, or too many are not understood.
        """
        read = {name: column.read(table[name]) for name, column in self.columns.items()}
        if not self.is_complete:
            for name, cells in read.items():
                self._count(self.columns[name], table[name], cells, where)
        return pa.table({name: self.columns[name].joinable(cells.values) for name, cells in read.items()})

    def finish(self) -> None:
        """Note that all rows have been read once.

        Raises:
            UserError: Too many cells of a column are not understood.
        """
        for name in self.columns:
            self._check_share(name, self._counts[name].filled)
        self.is_complete = True

    def problems(self) -> list[Problem]:
        """Return what counts as missing, a remark per column."""
        found = []
        for name, counts in self._counts.items():
            often = counts.words.most_common()
            words = [f"{word} ({number:,})" for word, number in often[:SHOWN]]
            words += [f"and {len(often) - SHOWN} more"] * (len(often) > SHOWN)
            reasons = [f"read as missing: {', '.join(words)}"] * bool(words)
            if counts.wrong and self.columns[name].role != "date":  # of which the reader tells
                reasons.append(f"{counts.first}, not understood{_more(counts.wrong)}: missing")
            if counts.bare:
                format = self.columns[name].format
                unit = repr(format.suffix or format.prefix)
                reasons.append(
                    f"{counts.bare:,} numbers have no {unit}: read as of one scale with the others"
                )
            if reasons:
                found.append(Problem(0, "", name, "", f"{'; '.join(reasons)}", "note"))
        return found

    def _count(self, column: StreamColumn, cells: pa.ChunkedArray, read: Read, where: Where) -> None:
        counts, name = self._counts[column.name], column.name
        counts.words.update(read.words)
        if column.role in ("number", "list", "date"):
            counts.filled += pc.sum(filled(cells)).as_py() or 0
        wrong = [str(cell).strip() for cell in cells.take(pa.array(read.wrong)).to_pylist()]
        seen = self._seen[name]
        if (
            other := column.of_other_form(cell for cell in dict.fromkeys(wrong) if cell not in seen)
        ) is not None:
            place = where(int(read.wrong[wrong.index(other)]), name)
            raise UserError(
                f"{place}: {shown(other)} is not written as in {self.path}: add a row with such a cell to "
                "the manifest, or rewrite the cell"
            )
        seen.update(wrong[: MAX_CELLS - len(seen)])
        if len(read.wrong) and not counts.wrong:
            row = int(read.wrong[0])
            counts.first = f"{where(row, '')} is {shown(cells[row].as_py())}"
        counts.wrong += len(read.wrong)
        self._check_share(name, max(counts.filled, ENOUGH))
        if column.role == "number" and not pa.types.is_boolean(column.kind):
            counts.bare += column.without_unit(cells, read.values)
            self._check_sentinels(name, read.values, where)

    def _check_share(self, name: str, of: int) -> None:
        """Raise UserError if so many cells are not understood that a whole table would be read otherwise."""
        counts, column = self._counts[name], self.columns[name]
        if len(self._seen[name]) == 1 and counts.wrong <= counts.filled / 2:
            return  # one word for a missing value
        if counts.wrong > (1 - MOSTLY) * of:
            raise UserError(
                f"stream: column {name!r}: {counts.wrong:,} of {counts.filled:,} cells are not "
                f"{column.wanted}: {counts.first}"
            )

    def _check_sentinels(self, name: str, numbers: pa.ChunkedArray, where: Where) -> None:
        """Raise UserError for a number that means a missing one, though the manifest has none such."""
        ends, numbers = self._counts[name].ends, numbers.cast(pa.float64(), safe=False)
        for number in pc.min_max(numbers).as_py().values():
            beyond = number is not None and (not ends or not min(ends) < number < max(ends))
            if beyond and ends.count(number) < SEVERAL:
                ends.append(number)
        found = find_sentinels(pa.chunked_array([*numbers.chunks, pa.array(ends, pa.float64())]))
        for number in found.missing:
            row = pc.index(numbers, number).as_py()
            if row >= 0:
                raise UserError(
                    f"{where(row, name)}: {number:.15g} seems to stand for a missing number, but {self.path} "
                    "has none such: add a row with it to the manifest, or empty such cells"
                )


def _ends(column: pa.ChunkedArray) -> list[float]:
    """Return a few numbers of a column, among them the smallest and the largest one."""
    if not is_number(column.type):
        return []
    values = column.cast(pa.float64(), safe=False).drop_null().unique()
    ends = [value for value in pc.min_max(values).as_py().values() if value is not None]
    return [*ends, *values.to_pylist()[:SEVERAL]]


def _more(wrong: int) -> str:
    return f" ({wrong - 1:,} more such cells)" if wrong > 1 else ""
