"""Mask cells of a manifest, as if they were missing, and the file that tells which cells are kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from altuna.data.missing.patterns import Mask, pattern_mask
from altuna.data.samples import class_numbers
from altuna.data.table.manifest import SPLITS, Manifest
from altuna.data.table.splits import Rows, group_codes
from altuna.errors import UserError
from altuna.files import atomic_write
from altuna.options import nearest

DATA = b"altuna.data"  # key of the digest of a mask's samples, in the metadata of its file


@dataclass(frozen=True)
class Missing:
    """Which cells of a split to mask: a pattern with its rate, or a file that tells which cells to keep.

    Example:
        >>> bool(Missing()), bool(Missing(rate=0.3)), bool(Missing(pattern="never:text"))
        (False, True, True)
    """

    rate: float | None = None
    pattern: str = "random"
    file: Path | None = None

    def __bool__(self) -> bool:
        return self.file is not None or bool(self.rate) or self.pattern != "random"


def masked(
    manifest: Manifest, rows: Mapping[str, Rows], missing: Mapping[str, Missing], seed: int
) -> Manifest:
    r"""Return the manifest with some cells of its splits masked.

    Args:
        manifest: The samples; cells that are missing already stay missing.
        rows: Split to its rows.
        missing: Split to what to mask.
        seed: Random seed of the masks.

    Raises:
        UserError: See ``pattern_mask`` and ``read_mask``; or no train row is left with a modality.

    Example:
        >>> import tempfile
        >>> from altuna.data.table.manifest import read_manifest
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_text("label,acc,note\na,1,hoot\nb,2,tu-whit\n")
        >>> rows = {"train": np.arange(2), "val": np.arange(0), "test": np.arange(0)}
        >>> missing = dict.fromkeys(rows, Missing()) | {"train": Missing(0.5, "never:note")}
        >>> int(masked(read_manifest(path), rows, missing, seed=0).filled("note").sum())
        1
    """
    names = [*manifest.modalities]
    filled = np.stack([manifest.filled(name) for name in names])
    classes = tuple(sorted(set(manifest.labels.take(rows["train"]).to_pylist())))
    labels = class_numbers(manifest.labels, classes)
    stays = filled.copy()
    for number, split in enumerate(SPLITS):
        what, mine = missing[split], rows[split]
        mine = mine[filled[:, mine].any(axis=0)]
        if what and len(mine):
            try:
                kept = staying(what, manifest, mine, filled[:, mine], labels[mine], [seed, number])
            except UserError as error:
                raise UserError(f"{manifest.path}, {split} split: {error}") from None
            if not kept.any():
                raise UserError(f"{manifest.path}: with these cells masked, no {split} row is left")
            stays[:, mine] = kept
    for name, before, after in zip(names, filled, stays, strict=True):
        if before[rows["train"]].any() and not after[rows["train"]].any():
            raise UserError(f"{manifest.path}: with these cells masked, no train row has a {name!r}")
    return manifest.keeping(dict(zip(names, stays, strict=True)))


def staying(
    what: Missing, manifest: Manifest, rows: Rows, present: Mask, labels: Rows, seed: int | list[int]
) -> Mask:
    r"""Return which of the cells present [M, n] of some manifest rows [n] are kept, [M, n] bool.

    ``labels`` [n] are the model's class numbers.

    Example:
        >>> import tempfile
        >>> from altuna.data.table.manifest import read_manifest
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_text("label,acc,note\na,1,hoot\nb,2,tu-whit\n")
        >>> manifest, rows, present = read_manifest(path), np.arange(2), np.ones((2, 2), bool)
        >>> kept = staying(Missing(pattern="only:acc"), manifest, rows, present, labels=rows, seed=0)
        >>> dict(zip(manifest.modalities, kept.tolist()))
        {'note': [False, False], 'acc': [True, True]}
    """
    if what.file:
        return present & read_mask(what.file, manifest, rows)
    if what.pattern == "group" and manifest.groups.null_count == len(manifest):
        raise UserError(f"{manifest.path}: the missing pattern 'group' needs a column 'group'")
    names = [*manifest.modalities]
    return pattern_mask(what.pattern, what.rate, present, names, labels, group_codes(manifest)[rows], seed)


def write_mask(path: Path, manifest: Manifest) -> None:
    r"""Write which cells a masked manifest keeps: ``id``, ``label``, and a Boolean column per modality.

    Example:
        >>> import tempfile
        >>> from altuna.data.table.manifest import read_manifest
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_text("label,acc\na,1\nb,2\n")
        >>> manifest = read_manifest(path).keeping({"acc": np.array([True, False])})
        >>> write_mask(path.with_name("present.parquet"), manifest)
        >>> pyarrow.parquet.read_table(path.with_name("present.parquet"))["acc"].to_pylist()
        [True, False]
    """
    names = ["id", "label", *manifest.kept]
    table = pa.table([manifest.ids, manifest.labels, *map(pa.array, manifest.kept.values())], names)
    with atomic_write(path) as unfinished:
        pyarrow.parquet.write_table(table.replace_schema_metadata({DATA: _digest(manifest)}), unfinished)


def _digest(manifest: Manifest) -> bytes:
    """Return a digest of the ids and labels of a manifest's samples."""
    digest = sha256()
    for column in (manifest.ids, manifest.labels):
        digest.update("\0".join(f"{value}" for value in column.to_pylist()).encode() + b"\1")
    return digest.hexdigest().encode()


def read_mask(path: Path, manifest: Manifest, rows: Rows) -> Mask:
    r"""Return which cells of a manifest's rows [n] are kept, [M, n] bool, by a file of ``write_mask``.

    Raises:
        UserError: It is not such a file, or one for other data.

    Example:
        >>> import tempfile
        >>> from altuna.data.table.manifest import read_manifest
        >>> path = Path(tempfile.mkdtemp(), "owls.csv")
        >>> _ = path.write_text("label,acc\na,1\nb,2\n")
        >>> manifest, mask = read_manifest(path), path.with_name("present.parquet")
        >>> write_mask(mask, manifest.keeping({"acc": np.array([True, False])}))
        >>> read_mask(mask, manifest, rows=np.arange(2)).tolist()
        [[True, False]]
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not a mask file such as the present.parquet of a run")
    try:
        table = pyarrow.parquet.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno:  # no permission, for example
            raise UserError(f"{path}: cannot be read: {os.strerror(error.errno)}") from None
        raise UserError(
            f"{path}: not a Parquet file of a mask, such as the present.parquet of a run"
        ) from None
    stated = (table.schema.metadata or {}).get(DATA)
    if stated and stated != _digest(manifest) and "id" not in manifest.columns:
        raise UserError(f"{path}: this mask is not for {manifest.path}")
    for name in ("id", *manifest.modalities):
        if name not in table.column_names:
            known = nearest(name, table.column_names)
            raise UserError(f"{path}: this mask is for other data: it has no column {name!r}{known}")
        kind = table[name].type
        if name != "id" and not pa.types.is_boolean(kind):
            raise UserError(f"{path}: not a mask file: column {name!r} has type {kind}")
        if table[name].null_count:
            row = pc.index(table[name].is_null(), True).as_py() + 1
            raise UserError(f"{path}, row {row}: {name!r} is empty, neither true nor false")
    ids = manifest.ids.take(pa.array(rows))
    place = pc.index_in(ids, table["id"].cast(pa.string()).combine_chunks())
    if place.null_count:
        row = int(rows[np.flatnonzero(place.is_null())[0]])
        raise UserError(f"{path}: this mask is for other data: it lacks {manifest.where(row, 'id')}")
    chosen = table.take(place)
    if "label" in table.column_names:
        other = pc.not_equal(chosen["label"].cast(pa.string()), manifest.labels.take(pa.array(rows)))
        if pc.any(other).as_py():
            row = int(rows[np.flatnonzero(pc.fill_null(other, False))[0]])
            raise UserError(
                f"{path}: this mask is for other data: its label differs in {manifest.where(row, 'label')}"
            )
    return np.stack([np.asarray(chosen[name]) for name in manifest.modalities])


def check_mask(mask: str | Path | None, rate: float | None, pattern: str) -> None:
    """Raise UserError if both a mask file and a missing rate or pattern are given.

    Example:
        >>> check_mask("present.parquet", None, "random")
        >>> check_mask("present.parquet", 0.3, "random")
        Traceback (most recent call last):
        ...
        altuna.errors.UserError: missing_mask: cannot be combined with missing rates and patterns
    """
    if mask is not None and (rate is not None or pattern != "random"):
        raise UserError("missing_mask: cannot be combined with missing rates and patterns")
