"""Remarks on the labels of a table, and on columns that may give them away."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from altuna.data.formats.numbers import MISSING
from altuna.data.formats.spelling import alike
from altuna.data.table.leaks import leak_remarks
from altuna.data.table.modalities import Modality
from altuna.options import shown

MAX_ALIKE = 3  # labels that are alike and are named in a remark
MAX_COMPARED = 10_000  # labels or groups


def remarks_on(
    table: pa.Table, label: str, labels: pa.Array, groups: pa.Array, found: Mapping[str, Modality]
) -> list[str]:
    """Return remarks on rows without a label, labels or groups in two spellings, and leaks of the label.

    Args:
        table: The table.
        label: Name of its column of labels.
        labels: The labels as texts, null where a row has none.
        groups: The groups in the same form.
        found: Modalities that were inferred; those that are stated are not judged.

    Example:
        >>> labels, groups = pa.array(["Owl", "owl"]), pa.nulls(2, pa.string())
        >>> remarks_on(pa.table({"label": labels}), "label", labels, groups, {})
        ["these labels are different, but look alike: 'Owl' and 'owl'"]
    """
    remarks = []
    if empty := labels.null_count % len(labels):
        row = pc.index(labels.is_null(), True).as_py() + 1
        more = f" (and in {empty - 1:,} more rows)" if empty > 1 else ""
        remarks.append(f"row {row}, column {label!r}: empty{more}: left out")
    if words := [v for v in labels.unique().drop_null().to_pylist() if v.lower() in MISSING]:
        count = pc.sum(pc.is_in(labels, pa.array(words, labels.type))).as_py()
        remarks.append(
            f"column {label!r}: {words[0]!r} is a class: empty these cells if they have no label ({count:,})"
        )
    for kind, of_rows in {"label": labels, "group": groups}.items():
        values = of_rows.unique().drop_null()
        if pairs := alike(values.to_pylist() if len(values) <= MAX_COMPARED else ()):
            some = "; ".join(" and ".join(map(shown, same)) for same in pairs[:MAX_ALIKE])
            more = f" and {len(pairs) - MAX_ALIKE} more" if len(pairs) > MAX_ALIKE else ""
            remarks.append(f"these {kind}s are different, but look alike: {some}{more}")
    used = [column for modality in found.values() for column in modality.columns]
    return remarks + leak_remarks(labels, table, used)
