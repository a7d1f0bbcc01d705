"""The manifest: a checked table of samples, with a row per sample and one or more columns per modality."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from altuna.data.formats.columns import filled_cells, is_empty
from altuna.data.formats.numbers import NumberFormat
from altuna.data.formats.spelling import SPLITS, spelled, split_names
from altuna.data.table.account import Column, account, reasons, without_cells
from altuna.data.table.column_types import TYPES
from altuna.data.table.doubts import doubts_of
from altuna.data.table.modalities import (
    Modality,
    find_modalities,
    modality_of,
    stated_texts,
)
from altuna.data.table.reading import Source, read_table
from altuna.data.table.remarks import remarks_on
from altuna.errors import UserError
from altuna.options import nearest, shown

__all__ = [
    "RESERVED",
    "SPLITS",
    "TYPES",
    "Manifest",
    "Modality",
    "filled_cells",
    "modality_of",
    "read_manifest",
]

RESERVED = ("id", "split", "label", "group")
ALL = "fused"  # the name of all modalities together in metrics and logs
LABEL_NAMES = ("labels", "class", "category", "target", "y")  # other names that tables often have for it


@dataclass(frozen=True)
class Manifest:
    """A checked table of samples.

    Args:
        path: The file.
        table: Its content.
        modalities: Name of each modality to its type and columns.
        ids, labels, splits, groups: [rows] one string per row, or null.
        columns: From ``id``, ``split``, ``label`` and ``group`` to the columns that the file has for them.
        declared: Column to the type that the file itself states for it.
        notes: Remarks for the user, each one line.
        account: What each column of the file is used as, or why it is left out.
        formats: Column to how its numbers are written, where that is unusual.
        kept: Modality to [rows] bool, False where a cell is masked.
    """

    path: Path
    table: pa.Table
    modalities: dict[str, Modality]
    ids: pa.Array
    labels: pa.Array
    splits: pa.Array
    groups: pa.Array
    columns: dict[str, str] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    account: tuple[Column, ...] = ()
    formats: dict[str, NumberFormat] = field(default_factory=dict)
    kept: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def only(self, modalities: Sequence[str]) -> Manifest:
        """Return the manifest with only some of its modalities."""
        return replace(self, modalities={name: self.modalities[name] for name in modalities})

    def keeping(self, kept: Mapping[str, NDArray[np.bool_]]) -> Manifest:
        """Return the manifest with some cells masked: those that are False in ``kept`` [rows]."""
        return replace(self, kept={**self.kept, **kept})

    def trained_on(self, rows: NDArray[np.int64]) -> Manifest:
        """Return the manifest with an account that leaves out the columns without a cell in these rows."""
        return replace(self, account=without_cells(self.account, self.table, self.modalities, rows))

    def filled(self, modality: str) -> NDArray[np.bool_]:
        """Return which rows have a cell of a modality, [rows] bool."""
        filled = filled_cells(self.table, self.modalities[modality].columns)
        return filled & self.kept.get(modality, True)

    def where(self, row: int, column: str = "") -> str:
        """Return a place for an error message: file, row (the first is 1), id and column."""
        column = f", column {self.columns.get(column, column)!r}" if column else ""
        return f"{self.path}, row {row + 1} (id {shown(self.ids[row].as_py())}){column}"

    @property
    def likely_label(self) -> str | None:
        """Return the column that is probably the label, of a table without a column of that name."""
        names = {name.lower(): name for name in reversed(self.table.column_names)}
        likely = [names[name] for name in ("label", *LABEL_NAMES) if name in names]
        likely += [name for name, kind in self.declared.items() if kind == "class"]
        likely += [names[name] for name in get_close_matches("label", names)]
        return likely[0] if likely else None

    def check_labelled(self) -> None:
        """Raise UserError, with a suggestion, if there is no column of labels."""
        if "label" in self.columns:
            return
        name = self.likely_label
        option = "--set " + quote(f"columns.label={name or 'NAME'}")
        hint = f"did you mean {name!r}? Then add {option}" if name else f"if it has another name: {option}"
        raise UserError(f"{self.path}: no column 'label'; {hint}")


def describe_modalities(modalities: Mapping[str, Modality]) -> str:
    """Return which modalities there are, with their types, as one line: a wrong guess is seen there.

    Example:
        >>> describe_modalities({"motion": Modality("vector", ("acc_x", "acc_y"))})
        'modalities: motion (vector of 2 columns)'
    """
    described = []
    for name, modality in modalities.items():
        columns = f" of {len(modality.columns)} columns" if len(modality.columns) > 1 else ""
        described.append(f"{name} ({modality.type}{columns})")
    return "modalities: " + ", ".join(described)


def read_manifest(
    path: str | Path,
    modalities: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    text: Sequence[str] = (),
    ignore: Sequence[str] = (),
    types: Mapping[str, str] | None = None,
    named: Collection[str] = (),
    formats: Mapping[str, NumberFormat] | None = None,
    allow_shared_groups: bool = False,
    lenient: bool = False,
    table: pa.Table | None = None,
) -> Manifest:
    r"""Read and check a manifest: CSV, TSV, Parquet, JSONL, or a Hugging Face data set.

    Args:
        path: The manifest, the folder of a data set saved to disk, or ``hf:NAME[:CONFIG]``. Paths of media
            files in it are absolute, or relative to its folder. Of a table in memory: its name in messages.
        modalities: Name to ``{"type": ..., "column": ... | "columns": [...] | "prefix": ...}``, each key
            optional; inferred from the table if None.
        columns: The columns of ``id``, ``split``, ``label`` and ``group``, if they have other names. Another
            column with one of these names is a modality only if it is stated in ``modalities``.
        ignore: Columns to leave out.
        types: Column to its type, where another one would be inferred: image, image_list, audio, video,
            text, series, vector, number, category or date. A column that is stated here is not left out.
        named: Columns that are modalities of their own, not parts of a tabular one, as other options name
            them: a column of numbers is a vector, one of categories or dates a text.
        formats: How the numbers of some columns are written in the training data (``Manifest.formats``).
        text: Columns to read as text, even if all their cells look like numbers.
        allow_shared_groups: Accept groups with samples in more than one split.
        lenient: Accept a table without labels or some of ``columns``, as for predictions, and rows without
            any modality. Leave no column out because of its values, and do not judge them: they may be few.
        table: A table in memory, instead of the file.

    Raises:
        UserError: A mistake in the table or the options; the message names file, row and column.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "owls.csv")
        ...     _ = path.write_text("label,acc_x,acc_y,note\na,0.5,1,hoot\nb,0.1,2,\n")
        ...     manifest = read_manifest(path)
        >>> {name: (modality.type, modality.columns) for name, modality in manifest.modalities.items()}
        {'note': ('text', ('note',)), 'acc': ('vector', ('acc_x', 'acc_y'))}
        >>> manifest.filled("note").tolist()
        [True, False]
    """
    path = Path(path)
    names = _reserved(columns or {})
    text = [*text, *names.values(), *stated_texts(modalities, types)]
    source = read_table(path, text, names["label"], keep_unlabelled=lenient, formats=formats, table=table)
    table = source.table
    names = _present(path, table, names, lenient)
    if table.num_rows == 0:
        raise UserError(f"{path}: the manifest has no rows")
    labels, groups = (_strings(path, table, names[key]) for key in ("label", "group"))
    left_out = _left_out(path, source, names, ignore, types or {}, lenient=lenient)
    found, notes = find_modalities(
        path, table, modalities, [*names.values()], left_out, source.types, types, named, lenient=lenient
    )
    roles = {key: name for key, name in names.items() if name in table.column_names}
    judged = found if modalities is None else {}
    manifest = Manifest(
        path,
        table,
        found,
        _ids(path, table, names["id"]),
        labels,
        split_names(_strings(path, table, names["split"])),
        groups,
        roles,
        source.types,
        source.notes
        if lenient
        else (*source.notes, *notes, *remarks_on(table, names["label"], labels, groups, judged)),
        account(table, roles, found, left_out, {} if lenient else doubts_of(table, judged, types or {})),
        formats=source.formats,
    )
    _check_names(manifest)
    _check_rows(manifest, allow_shared_groups)
    return manifest if lenient else _check_empty_rows(manifest, stated=modalities is not None)


def _left_out(
    path: Path,
    source: Source,
    names: Mapping[str, str],
    ignore: Sequence[str],
    types: Mapping[str, str],
    *,
    lenient: bool,
) -> dict[str, str]:
    """Return why columns are no modality unless that is stated, by column."""
    table = source.table
    for name in ignore:
        if name not in table.column_names and not lenient:
            raise UserError(f"{path}: ignore: no column {name!r}{nearest(name, table.column_names)}")
        if name in names.values() and name in table.column_names:
            key = next(key for key, column in names.items() if column == name)
            raise UserError(f"{path}: ignore: {name!r} is the column of {key}")
    left_out = {name: f"the {name} is in another column" for name in RESERVED if name in table.column_names}
    left_out |= {name: "has class labels" for name, kind in source.types.items() if kind == "class"}
    left_out |= dict.fromkeys(ignore, "is to be ignored")
    used = {*names.values(), *left_out, *(name for name in types if not _is_empty(table, name))}
    others = [name for name in table.column_names if name not in used]
    return left_out | reasons(table, others, by_value=not lenient)


def _is_empty(table: pa.Table, name: str) -> bool:
    return name in table.column_names and is_empty(table[name])


def _reserved(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the column of each of ``RESERVED``."""
    for key, name in columns.items():
        if key not in RESERVED:
            raise UserError(f"columns: unknown key {key!r}{nearest(str(key), RESERVED)}")
        if not isinstance(name, str):
            raise UserError(f"columns.{key}: must be the name of a column, got {shown(name)}")
    return {key: columns.get(key, key) for key in RESERVED}


def _present(path: Path, table: pa.Table, names: dict[str, str], lenient: bool) -> dict[str, str]:
    """Return the columns of ``RESERVED``; a stated one must be in the table unless ``lenient``."""
    found = {}
    of_name = {name.casefold(): name for name in reversed(table.column_names)}
    for key, name in names.items():
        if name == key and key not in table.column_names and key in of_name:
            found[key] = of_name[key]  # such as Label or ID
            continue
        absent = name not in table.column_names and name != key
        if absent and not lenient:
            raise UserError(f"{path}: columns.{key}: no column {name!r}{nearest(name, table.column_names)}")
        found[key] = key if absent else name
    return found


def _ids(path: Path, table: pa.Table, name: str) -> pa.Array:
    """Return the ids of the rows; numbers from 1 if the table has no column for them."""
    if name in table.column_names:
        return _strings(path, table, name)
    return pa.array(np.arange(1, table.num_rows + 1)).cast(pa.string())


def _strings(path: Path, table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        return pa.nulls(table.num_rows, pa.string())
    try:
        return spelled(table[name]).combine_chunks()
    except pa.ArrowException as error:
        raise UserError(f"{path}, column {name!r}: cannot be read as text: {error}") from None


def _check_names(manifest: Manifest) -> None:
    if ALL in manifest.modalities:
        raise UserError(
            f"{manifest.path}: a modality cannot be named {ALL!r}, which stands for all modalities together"
        )


def _check_rows(manifest: Manifest, allow_shared_groups: bool) -> None:
    _check_ids(manifest)
    _check_splits(manifest, allow_shared_groups)
    _check_finite(manifest)


def _check_ids(manifest: Manifest) -> None:
    missing = np.flatnonzero(manifest.ids.is_null())
    if len(missing):
        raise UserError(f"{manifest.path}, row {missing[0] + 1}, column {manifest.columns['id']!r}: empty")
    row = _first_repeat(manifest.ids)
    if row is not None:
        first = pc.index(manifest.ids, manifest.ids[row]).as_py()
        raise UserError(f"{manifest.where(row, 'id')}: the id is already in row {first + 1}")


def _first_repeat(values: pa.Array) -> int | None:
    codes = values.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    if len(np.unique(codes)) == len(codes):
        return None
    _, first = np.unique(codes, return_index=True)
    repeats = np.ones(len(codes), dtype=bool)
    repeats[first] = False
    return int(np.flatnonzero(repeats)[0])


def _check_splits(manifest: Manifest, allow_shared_groups: bool) -> None:
    if manifest.splits.null_count == len(manifest):
        return
    unknown = np.flatnonzero(~np.asarray(pc.is_in(manifest.splits, pa.array(SPLITS))))
    if len(unknown):
        row = int(unknown[0])
        given = manifest.splits[row].as_py()
        raise UserError(
            f"{manifest.where(row, 'split')}: "
            + (f"unknown split {shown(given)}" if given else "empty")
            + f"; the splits are {', '.join(SPLITS)}"
        )
    if not allow_shared_groups and manifest.groups.null_count < len(manifest):
        pairs = pa.table({"group": manifest.groups, "split": manifest.splits}).drop_null()
        counts = pairs.group_by("group").aggregate([("split", "count_distinct")])
        shared = counts.filter(pc.greater(counts["split_count_distinct"], 1))
        if shared.num_rows:
            group = min(shared["group"].to_pylist())
            rows = np.flatnonzero(pc.equal(manifest.groups, group).fill_null(False))
            splits = manifest.splits.take(pa.array(rows)).unique().to_pylist()
            raise UserError(
                f"{manifest.where(int(rows[0]), 'group')}: group {shown(group)} is in "
                f"{' and '.join(map(str, splits))} ({shared.num_rows} such groups); "
                "--allow-shared-groups allows this"
            )


def _check_finite(manifest: Manifest) -> None:
    for modality in manifest.modalities.values():
        for name in modality.columns:
            column = manifest.table[name]
            if (row := not_finite(column)) is not None:
                where = manifest.where(row, name)
                raise UserError(
                    f"{where}: is {column[row].as_py()}; leave the cell empty if the value is missing"
                )


def not_finite(column: pa.ChunkedArray) -> int | None:
    """Return the first row of a column that is NaN or infinite, or None.

    Example:
        >>> not_finite(pa.chunked_array([[1.0, None, float("nan")]]))
        2
    """
    if not pa.types.is_floating(column.type):
        return None
    finite = pc.is_finite(column.cast(pa.float32()))  # 1e39 becomes infinite
    wrong = np.flatnonzero(~np.asarray(pc.fill_null(finite, True)))
    return int(wrong[0]) if len(wrong) else None


def _check_empty_rows(manifest: Manifest, stated: bool) -> Manifest:
    """Raise UserError for rows without any modality; if modalities are stated, add a note instead."""
    filled = np.zeros(len(manifest), dtype=bool)
    for name in manifest.modalities:
        filled |= manifest.filled(name)
    empty = np.flatnonzero(~filled)
    if not len(empty):
        return manifest
    if stated and filled.any():
        note = f"{len(empty):,} rows have none of the chosen modalities: left out"
        return replace(manifest, notes=(*manifest.notes, note))
    more = f" (and {len(empty) - 1} more such rows)" if len(empty) > 1 else ""
    raise UserError(
        f"{manifest.where(int(empty[0]), ', '.join(manifest.modalities))}: every modality is empty{more}"
    )
