"""Kinetics-Sounds: classes of Kinetics-400 that one can see and hear (Arandjelovic & Zisserman, 2017).

``{train,val}/<class>/<youtube id>_<start>_<end>.mp4``, and annotation files in the root or ``annotations/``
(``label,youtube_id,time_start,time_end,split``), which show what was never downloaded. The val split of
Kinetics is used as test, unless there is a ``test/``, and val is carved out of train. Frames and sound both
come from the clip.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from altuna.errors import UserError
from altuna.recipes.release import Problems, Recipe, Sample, files, rows

# The 34 classes of arXiv:1705.08168, appendix, by their names in Kinetics-400, which has lost 3 of them.
CLASSES = {
    *("blowing nose", "blowing out candles", "bowling", "chopping wood", "dribbling basketball", "laughing"),
    *("mowing lawn", "ripping paper", "shoveling snow", "shuffling cards", "singing", "stomping grapes"),
    *("tap dancing", "tapping guitar", "tapping pen", "tickling"),
    *(f"playing {what}" for what in ("accordion", "bagpipes", "bass guitar", "clarinet", "drums", "guitar")),
    *(f"playing {what}" for what in ("harmonica", "keyboard", "organ", "piano", "saxophone", "trombone")),
    *(f"playing {what}" for what in ("trumpet", "violin", "xylophone")),
}
COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
STEM = re.compile(r"(.+)_(\d{6})_(\d{6})")


def read(root: Path, problems: Problems) -> Iterator[Sample]:
    """Yield the samples of a release; of a folder with more than 34 classes, those of the 31."""
    folders = [path for split in ("train", "val", "test") for path in sorted((root / split).glob("*/"))]
    classes = {path.name for path in folders}
    if not classes:
        raise UserError(f"{root}: not a Kinetics-Sounds release: no class in train/ or val/")
    if len(classes) > 34:
        classes &= CLASSES
    places = defaultdict(list)
    for folder in folders:
        if folder.name in classes:
            for id, path in files(folder, (".mp4",), problems).items():
                places[id].append(path)
    annotated = _annotations(root, classes, problems)
    last = "val" if (root / "test").is_dir() else "test"
    for id in sorted({*places, *annotated}):
        paths, (label, file, row) = places[id], annotated.get(id, ("", None, 0))
        found = " and ".join(f"{path.parent.parent.name}/{path.parent.name}" for path in paths)
        if not paths:
            problems.left_out(id, "never downloaded: has no clip", file, row)
        elif len(paths) > 1:
            problems.left_out(id, f"is in {found}", paths[0])
        elif not STEM.fullmatch(id):
            problems.left_out(id, "is not named <youtube id>_<start>_<end>", paths[0])
        elif label not in ("", paths[0].parent.name):
            problems.left_out(id, f"is in {found}, but labelled {label!r} here", file, row)
        else:
            split = paths[0].parent.parent.name
            yield Sample(
                id,
                paths[0].parent.name,
                {"video": paths[0], "audio": paths[0]},
                last if split == "val" else split,
            )


def _annotations(root: Path, classes: set[str], problems: Problems) -> dict[str, tuple[str, Path, int]]:
    """Return id to (label, file, row) of the clips that should be there by the annotation files."""
    found = {}
    for path in [*sorted(root.glob("*.csv")), *sorted((root / "annotations").glob("*.csv"))]:
        table = rows(path, problems)
        _, header = next(table, (0, []))
        if not {*COLUMNS} <= {
            *header
        }:  # the test.csv of Kinetics, which has no labels, or a manifest written here
            problems.note(f"not {','.join(COLUMNS)}: ignored", path)
            continue
        for number, cells in table:
            row = dict(zip(header, cells, strict=False))
            try:
                start, end = int(float(row["time_start"])), int(float(row["time_end"]))
                id, label, split = f"{row['youtube_id']}_{start:06d}_{end:06d}", row["label"], row["split"]
            except (KeyError, ValueError, OverflowError):
                problems.note(f"not {','.join(COLUMNS)}: ignored", path, number)
                continue
            if label in classes and (root / split.replace("validate", "val")).is_dir():
                found[id] = label, path, number
    return found


def list_id(fields: Sequence[str]) -> str:
    """Return the stem of a clip, given the fields of a line in OGM-GE's lists or the stem itself.

    Example:
        >>> list_id(["abc_12", "10", "singing"])  # <youtube id>_<start>, seconds, class
        'abc_000012_000022'
    """
    short = re.fullmatch(r"(.+)_(\d+)", fields[0])
    if STEM.fullmatch(fields[0]) or not short:
        return fields[0]
    start, seconds = int(short[2]), int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else 10
    return f"{short[1]}_{start:06d}_{start + seconds:06d}"


RECIPE = Recipe(
    "Kinetics-Sounds",
    read,
    {"video": "video", "audio": "audio"},
    group="video",
    group_of=lambda id: id[:-14],
    tag="kine",
    list_id=list_id,
)
