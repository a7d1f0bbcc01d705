"""Remarks on the labels of a table, and on columns that may give them away."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote

import pyarrow as pa
import pyarrow.compute as pc

from altuna.data.formats.spelling import alike
from altuna.data.table.account import copies_of
from altuna.data.table.modalities import Modality

MAX_ALIKE = 3  # labels that are alike and are named in a remark


def remarks_on(table: pa.Table, label: str, labels: pa.Array, found: Mapping[str, Modality]) -> list[str]:
    """Return remarks on rows without a label, classes in two spellings, and copies of the label.

    Args:
        table: The table.
        label: Name of its column of labels.
        labels: The labels as texts, null where a row has none.
        found: Modalities that were inferred; those that are stated are not judged.

    Example:
        >>> remarks_on(pa.table({"label": ["Owl", "owl"]}), "label", pa.array(["Owl", "owl"]), {})
        ["labels that differ only in case or Unicode form are different classes: 'Owl' and 'owl'"]
    """
    remarks = []
    if empty := labels.null_count % len(labels):
        row = pc.index(labels.is_null(), True).as_py() + 1
        more = f" (and in {empty - 1:,} more rows)" if empty > 1 else ""
        remarks.append(f"row {row}, column {label!r}: empty{more}: left out")
    if pairs := alike(labels.unique().drop_null().to_pylist()):
        shown = "; ".join(" and ".join(map(repr, same)) for same in pairs[:MAX_ALIKE])
        more = f" and {len(pairs) - MAX_ALIKE} more" if len(pairs) > MAX_ALIKE else ""
        start = "labels that differ only in case or Unicode form are different classes"
        remarks.append(f"{start}: {shown}{more}")
    used = [column for modality in found.values() for column in modality.columns]
    for name in copies_of(labels, table, used):
        remarks.append(
            f"column {name!r} has one value for each label: if it is a copy of the label, leave it out with "
            f"--ignore {quote(name)}"
        )
    return remarks
