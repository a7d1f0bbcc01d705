"""The authors' published lists of a release: which sample is in which split."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from altuna.data.table.manifest import SPLITS
from altuna.errors import UserError
from altuna.recipes.release import Problems, Recipe, Sample, lines

# Parts of file names that mark the lists of one release in a folder with those of several.
LIST_TAGS = ("cre", "food", "iemo", "mvsa", "kine")


def read_lists(recipe: Recipe, folder: Path, problems: Problems) -> dict[str, tuple[str, str]]:
    """Return id to (split, label) of the authors' lists, with lines ``<name> <label>`` or comma-separated.

    A file belongs to a split whose name is part of its own, and to a release whose tag is (or to any, if its
    name has no tag).

    Raises:
        UserError: There is no such folder, or it has no lists of this release.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = {
        path: split
        for path in sorted(folder.iterdir())
        for split in SPLITS
        if split in path.stem.lower() and path.suffix.lower() in (".txt", ".csv") and path.name[0] != "."
    }
    own = [path for path in found if recipe.tag and recipe.tag in path.stem.lower()]
    own = own or [path for path in found if not any(tag in path.stem.lower() for tag in LIST_TAGS)]
    if not {found[path] for path in own} >= {"train", "test"}:
        raise UserError(
            f"{folder}: contains no lists of {recipe.title}, such as my_train_{recipe.tag}.txt and test"
        )
    listed: dict[str, tuple[str, str]] = {}
    # Test first: an id that is in two lists stays in test.
    for path in sorted(own, key=lambda path: SPLITS.index(found[path]), reverse=True):
        for row, line in enumerate(lines(path, problems), 1):
            fields = re.split(r"[,\s]+", line.strip())
            if not fields[0]:
                continue
            id, label = recipe.list_id(fields), fields[1] if len(fields) == 2 else ""
            if id in listed:
                problems.note(f"is in the lists already, in {listed[id][0]}", path, row, id)
            listed.setdefault(id, (found[path], recipe.list_labels.get(label, label)))
    return listed


def apply_lists(
    samples: Sequence[Sample], listed: Mapping[str, tuple[str, str]], recipe: Recipe, problems: Problems
) -> Iterator[Sample]:
    """Yield the samples that are in a list, with its split; the label stays that of the release."""
    for sample in samples:
        split, label = listed.get(sample.id, ("", ""))
        if not split:
            problems.left_out(sample.id, "is in none of the lists")
            continue
        if label and label != sample.label:
            problems.note(f"{sample.label} in the release, {label} in the {split} list", id=sample.id)
        yield replace(sample, split=split)
    known = {sample.id for sample in samples} | {problem.id for problem in problems.found}
    for id, (split, _) in listed.items():
        if id not in known:
            problems.left_out(id, f"is in the {split} list, but not in the release")
