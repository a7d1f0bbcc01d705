"""Kinetics-Sounds: the classes of Kinetics-400 that can be seen and heard (Arandjelovic & Zisserman, 2017).

``{train,val}/<class>/<youtube id>_<start>_<end>.mp4``, and annotation files, here or in ``annotations/``
(``label,youtube_id,time_start,time_end,split``), which tell what was never downloaded. Kinetics' val is the
test split, unless there is a ``test/``; val is carved from train. Frames and sound both come from the clip.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from altuna.errors import UserError
from altuna.recipes.release import Problems, Recipe, Sample, files, rows

# The 34 of arXiv:1705.08168, appendix, as Kinetics-400 calls them, without the 3 that it no longer has.
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
    """Give the samples below a root; of a tree with more than 34 classes, those of the 31."""
    folders = [path for split in ("train", "val", "test") for path in sorted((root / split).glob("*/"))]
    classes = {path.name for path in folders}
    if not classes:
        raise UserError(f"{root}: is no Kinetics-Sounds release: no class in train/ or val/")
    if len(classes) > 34:
        classes &= CLASSES
    places = defaultdict(list)
    for folder in folders:
        if folder.name in classes:
            for id, path in files(folder, (".mp4",), problems).items():
                places[id].append(path)
    told = _annotations(root, classes, problems)
    last = "val" if (root / "test").is_dir() else "test"
    for id in sorted({*places, *told}):
        paths, (label, file, row) = places[id], told.get(id, ("", None, 0))
        found = " and ".join(f"{path.parent.parent.name}/{path.parent.name}" for path in paths)
        if not paths:
            problems.left_out(id, "never downloaded: there is no clip of it", file, row)
        elif len(paths) > 1:
            problems.left_out(id, f"stands in {found}", paths[0])
        elif not STEM.fullmatch(id):
            problems.left_out(id, "not <youtube id>_<start>_<end>", paths[0])
        elif label not in ("", paths[0].parent.name):
            problems.left_out(id, f"lies in {found}, and is {label!r} here", file, row)
        else:
            split = paths[0].parent.parent.name
            yield Sample(
                id,
                paths[0].parent.name,
                {"video": paths[0], "audio": paths[0]},
                last if split == "val" else split,
            )


def _annotations(root: Path, classes: set[str], problems: Problems) -> dict[str, tuple[str, Path, int]]:
    """Return id to (label, file, row) of what the annotation files say should be here."""
    found = {}
    for path in [*sorted(root.glob("*.csv")), *sorted((root / "annotations").glob("*.csv"))]:
        table = rows(path, problems)
        _, header = next(table, (0, []))
        if not {*COLUMNS} <= {*header}:  # Kinetics' own test.csv has no labels; or a manifest made here
            problems.note(f"not {','.join(COLUMNS)}: passed over", path)
            continue
        for number, cells in table:
            row = dict(zip(header, cells, strict=False))
            try:
                start, end = int(float(row["time_start"])), int(float(row["time_end"]))
                id, label, split = f"{row['youtube_id']}_{start:06d}_{end:06d}", row["label"], row["split"]
            except (KeyError, ValueError, OverflowError):
                problems.note(f"not {','.join(COLUMNS)}: passed over", path, number)
                continue
            if label in classes and (root / split.replace("validate", "val")).is_dir():
                found[id] = label, path, number
    return found


def list_id(fields: Sequence[str]) -> str:
    """Return a clip's stem from OGM-GE's ``<youtube id>_<start>,<seconds>,<class>``, or from the stem."""
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
