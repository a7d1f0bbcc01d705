"""Few samples a class: what is carved is drawn from all classes together, and each keeps a training row."""

import numpy as np
import pytest

from altuna.data.table.manifest import read_manifest
from altuna.data.table.splits import split_rows


@pytest.mark.parametrize(("classes", "each"), [(150, 2), (1000, 3), (40, 4), (30, 5)])
@pytest.mark.parametrize("seed", range(3))
def test_shares_hold_over_all_classes(classes, each, seed, tmp_path):
    lines = ["label,x", *(f"c{i % classes},{i}" for i in range(classes * each))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    manifest = read_manifest(tmp_path / "t.csv")
    rows = split_rows(manifest, seed)
    labels, total = np.array(manifest.labels.to_pylist()), classes * each
    assert len(rows["test"]) == pytest.approx(0.25 * total, abs=0.05 * total)
    assert len(rows["val"]) == pytest.approx(0.15 * total, abs=0.05 * total)
    assert len({*labels[rows["train"]]}) == classes


def test_groups_of_rare_classes_stay_whole(tmp_path):
    lines = ["label,group,x", *(f"c{i // 6},g{i // 3},{i}" for i in range(240))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    rows = split_rows(read_manifest(tmp_path / "t.csv"))
    groups = [{*(part // 3)} for part in rows.values()]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert 30 <= len(rows["test"]) <= 90
