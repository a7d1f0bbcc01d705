"""Prepare releases, whole or spoilt."""

import csv
from collections import defaultdict

import trees

from altuna.recipes.prepare import prepare as prepare_by_name


def prepared(name, root, out, **options):
    """Prepare; return rows by id, and reasons by the id or file of a problem."""
    report = prepare_by_name(name, root, out, **options)
    with report.problems_file.open(newline="") as file:
        problems = defaultdict(list)
        for p in csv.DictReader(file):
            for key in {p["id"], p["file"]} - {""}:
                problems[key].append(f"{p['kind']}: {p['reason']}")
    with out.open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert sum(report.counts.values()) == len(rows)
    return rows, problems


def spoilt(name, whole, tmp_path):
    return trees.copy(whole[name][0], tmp_path / "copy")
