"""Read a table of any format into an Arrow table."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather
import pyarrow.parquet

from altuna.data.formats.columns import is_number
from altuna.data.formats.dialect import dialect_of, format_of
from altuna.data.formats.numbers import NumberFormat
from altuna.data.formats.spelling import spelled
from altuna.data.table import hf
from altuna.data.table.parsing import name_bad_text, read_csv, read_jsonl, swallowed_rows
from altuna.data.table.text_cells import understand
from altuna.errors import UserError
from altuna.files import atomic_write, cache_folder

MAX_IN_MEMORY = 2**29  # bytes of a Parquet file; larger ones are memory-mapped
HINTS = {  # of tables that people have in other formats
    ".xlsx": "save the sheet as CSV",
    ".xls": "save the sheet as CSV",
    ".ods": "save the sheet as CSV",
    **dict.fromkeys(
        (".zip", ".7z", ".tar", ".bz2", ".xz", ".zst"), "unpack it, or compress it by gzip (.csv.gz)"
    ),
    **dict.fromkeys((".txt", ".dat", ".data", ".tab", ".psv"), "if it is a table, rename it to .csv or .tsv"),
    **dict.fromkeys((".dta", ".sav", ".sas7bdat", ".rds"), "save it as CSV or Parquet, as pandas and R can"),
    ".pkl": "a pickle may run code; write Parquet, as pandas does by to_parquet",
    ".pickle": "a pickle may run code; write Parquet, as pandas does by to_parquet",
}
GZIP = b"\x1f\x8b"
CONTENTS = {  # what to do about files that are called .csv but are none, by their first bytes
    b"PAR1": "rename it to .parquet",
    GZIP: "it is compressed; rename it to .csv.gz",
    b"PK\x03\x04": "it is an Excel sheet or an archive; save the sheet as CSV, or unpack it",
    b"\xd0\xcf\x11\xe0": "it is an Excel sheet; save it as CSV",
    b"\xff\xfe\0\0": "it is in UTF-32; save it as UTF-8",
}
BATCH = 2**26  # bytes that are copied at a time


@dataclass(frozen=True)
class Source:
    """A table, the types that the file itself states for its columns, and remarks for the user.

    ``formats`` tells how the numbers of columns are written, where they are written in an unusual way.
    ``decimal`` is the decimal mark that the way in which the file is written makes likely.

    Example:
        >>> Source(pa.table({"photo": ["owl.jpg"]}), types={"photo": "image"}).notes
        ()
    """

    table: pa.Table
    types: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    formats: dict[str, NumberFormat] = field(default_factory=dict)
    decimal: str | None = None


def read_table(
    path: Path,
    text: Sequence[str],
    label: str,
    *,
    keep_unlabelled: bool,
    formats: Mapping[str, NumberFormat] | None = None,
    table: pa.Table | None = None,
) -> Source:
    r"""Read a CSV, TSV, Parquet or JSONL file, or a Hugging Face data set.

    Args:
        path: The file, the data set's folder, or ``hf:NAME[:CONFIG]``.
        text: Columns to read as text, even if their cells are numbers.
        label: Name of the label column.
        keep_unlabelled: Keep splits of a data set without any label.
        formats: How the numbers of some columns are written in the training data.
        table: A table in memory, instead of the file; ``path`` is its name in messages.

    Raises:
        UserError: The file cannot be read, or has a mistake.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "owls.tsv")
        >>> _ = path.write_text("label\tacc\n1\t0.5\n")
        >>> read_table(path, text=["label"], label="label", keep_unlabelled=False).table.to_pydict()
        {'label': ['1'], 'acc': [0.5]}
    """
    try:
        given = table is not None
        source = (
            Source(*hf.typed(table)) if given else _read(path, text, label, keep_unlabelled, formats or {})
        )
        names = [name.strip() for name in source.table.column_names]
        source = replace(source, table=source.table.rename_columns(names))
        repeated = [name for name, n in Counter(source.table.column_names).items() if n > 1]
        if repeated:
            hint = "" if repeated[0] else ": is its first line the header?"
            raise UserError(f"{path}: column {repeated[0]!r} occurs twice{hint}")
        table = plain(path, source.table, text)
        kept = {name.casefold() for name in text}
        kept = {name for name in table.column_names if name.casefold() in kept or name in source.types}
        found = understand(path, table, kept, formats or {}, source.decimal)
        return replace(source, table=found.table, notes=(*source.notes, *found.notes), formats=found.formats)
    except (pa.ArrowException, OSError, UnicodeError, OverflowError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None


def _read(
    path: Path,
    text: Sequence[str],
    label: str,
    keep_unlabelled: bool,
    formats: Mapping[str, NumberFormat],
) -> Source:
    if hf.is_dataset(path):
        return Source(*hf.read_dataset(path, label, keep_unlabelled=keep_unlabelled))
    if not path.exists():
        url = re.match(r"[A-Za-z][\w+.-]+:/", str(path))
        raise UserError(f"{path}: " + ("is a URL: download the file first" if url else "no such file"))
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not a manifest (CSV, Parquet or JSONL) or a saved data set")
    suffix = format_of(path)
    if suffix in {".parquet", ".pq"}:
        return Source(*hf.typed(_read_parquet(path)))
    if suffix in {".feather", ".arrow"}:
        return Source(*hf.typed(pyarrow.feather.read_table(path)))
    if suffix in {".jsonl", ".ndjson", ".json"}:
        return Source(read_jsonl(path, text, {name: format.decimal for name, format in formats.items()}))
    if suffix in {".csv", ".tsv"}:
        _check_is_text(path)
        dialect = dialect_of(path)
        decimal = "," if dialect.separator == ";" else None
        # Arrow would take 1.234 for a number even where training had thousands so.
        written = [name for name, format in formats.items() if not format.is_plain]
        table = read_csv(path, [*text, *written], dialect)
        remarks = [*dialect.notes, *swallowed_rows(table, dialect.separator)]
        return Source(table, notes=tuple(f"{path}: {remark}" for remark in remarks), decimal=decimal)
    hint = HINTS.get(suffix, "a manifest must be .csv, .tsv, .parquet, .feather, .jsonl or .json")
    raise UserError(f"{path}: unknown format; {hint}")


def _check_is_text(path: Path) -> None:
    """Raise UserError for a file of another format that is called .csv."""
    with path.open("rb") as file:
        start = file.read(1000)
    for magic, advice in CONTENTS.items():
        if start.startswith(magic) and not (magic == GZIP and path.suffix.lower() == ".gz"):
            raise UserError(f"{path}: is not a CSV file: {advice}")
    if start.lstrip()[:1] == b"<":
        raise UserError(f"{path}: is not a CSV file, but HTML or XML: save the table as CSV")
    if len(start) > 1 and start[1] == 0 and start[:2] != b"\xff\xfe":
        raise UserError(
            f"{path}: is in UTF-16 without a byte order mark, or no text; save the table as UTF-8"
        )


def _read_parquet(path: Path) -> pa.Table:
    """Read a Parquet file; a large one is copied to an Arrow file, which is memory-mapped."""
    file = pyarrow.parquet.ParquetFile(path)
    groups = range(file.metadata.num_row_groups)
    size = sum(file.metadata.row_group(i).total_byte_size for i in groups)
    if size <= MAX_IN_MEMORY:
        return file.read()
    stat = path.stat()
    key = hashlib.sha256(f"{path.absolute()}\0{stat.st_size}\0{stat.st_mtime_ns}".encode()).hexdigest()[:24]
    mapped = cache_folder() / f"parquet-{key}.arrow"
    if not mapped.exists():
        mapped.parent.mkdir(parents=True, exist_ok=True)
        rows = max(1, file.metadata.num_rows * BATCH // size)
        with (
            atomic_write(mapped) as unfinished,
            pa.ipc.new_stream(str(unfinished), file.schema_arrow) as writer,
        ):
            for group in groups:  # all at once, Arrow would read ahead and keep everything in memory
                for batch in file.iter_batches(rows, row_groups=[group]):
                    writer.write_batch(batch)
    return pa.ipc.open_stream(pa.memory_map(str(mapped))).read_all()


def plain(path: Path | str, table: pa.Table, text: Sequence[str], first: int = 0) -> pa.Table:
    """Return the table with fewer types: categories, decimals, dates and the like become texts or numbers.

    Args:
        path: The file, for messages.
        table: Its rows.
        text: Columns whose numbers become texts.
        first: Number of rows of the file before these.

    Raises:
        UserError: A text is not UTF-8.

    Example:
        >>> from datetime import date
        >>> table = pa.table({"day": [date(2024, 1, 2)], "room": pa.array(["a"]).dictionary_encode()})
        >>> plain(Path("owls.parquet"), table, text=[]).to_pydict()
        {'day': ['2024-01-02'], 'room': ['a']}
    """
    for i, field_ in enumerate(table.schema):
        column, kind = table[i], field_.type
        if isinstance(kind, pa.UuidType):
            kind = pa.string()
            column = pa.chunked_array([[None if x is None else str(x) for x in column.to_pylist()]], kind)
        elif isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
            column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind)
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_duration(kind):  # seconds, as where it is written as text
            column = pc.divide(
                column.cast(pa.duration("ns"), safe=False).cast(pa.int64()).cast(pa.float64()), 1e9
            )
            kind = pa.float64()
        if pa.types.is_decimal(kind):
            kind = pa.float64()
        elif pa.types.is_float16(kind):
            kind = pa.float32()
        elif pa.types.is_temporal(kind) or kind == pa.string_view():
            kind = pa.string()
        elif kind == pa.binary_view() or pa.types.is_fixed_size_binary(kind):
            kind = pa.binary()
        if is_number(kind) and field_.name in text:
            column, kind = spelled(column), pa.string()
        if kind != field_.type:
            column = column.cast(kind)
            table = table.set_column(i, field_.name, column)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            try:
                column.validate(full=True)
            except pa.ArrowInvalid:
                name_bad_text(path, field_.name, column, first)
                raise
    return table
