"""IEMOCAP: utterances of ten actors (Busso et al., 2008) in the classes ang, hap (with exc), neu and sad.

In ``Session<1-5>``: ``dialog/EmoEvaluation`` has the time ranges and labels, ``dialog/transcriptions`` the
texts, ``sentences/wav`` the sound. The video of an utterance is a time range of a clip in
``dialog/avi/DivX``, cropped to the half of the picture that shows the speaker. Session 5 is test, session 4
val, the others train.

Which half: a dialogue is named after the actor who wears the markers (F in ``Ses01F_impro01``), and that
actor is on the left. Public preprocessing scripts agree on this, though their crops differ:
IoannisKansizoglou/Iemocap-preprocess (``extractionmapCreator.py``), one for EmoBox, which cuts the 720 x 480
pixels at x = 360, and one that crops the actress of ``Ses01F_impro01`` from x = 6 to 354. This was not
checked on the videos themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from altuna.errors import UserError
from altuna.recipes.release import Problems, Recipe, Sample, files, lines

LABELS = {"ang": "ang", "hap": "hap", "exc": "hap", "neu": "neu", "sad": "sad"}
SPLITS = {"Ses04": "val", "Ses05": "test"}
TURN = re.compile(r"(?:\[([^]]*)\])?\s*(Ses\d\d[FM]_\w+)\s+(\w+)\s+\[.*")
RANGE = re.compile(r"\s*(\d+\.?\d*)\s*-\s*(\d+\.?\d*)\s*")
SPOKEN = re.compile(r"(Ses\d\d[FM]_\w+_[FM]\w+)\s*(\[[\d.]+-[\d.]+\])?\s*:\s*(.*)")


def read(root: Path, problems: Problems) -> Iterator[Sample]:
    """Yield the samples of a release; ``root`` is its folder or the folder above."""
    release = root / "IEMOCAP_full_release"
    sessions = sorted((release if release.is_dir() else root).glob("Session[1-5]/"))
    if not sessions:
        raise UserError(f"{root}: not an IEMOCAP release: no Session1/ to Session5/")
    for name in sorted({f"Session{n}" for n in range(1, 6)} - {session.name for session in sessions}):
        problems.note(f"{name} is missing")
    for session in sessions:
        clips = files(session / "dialog" / "avi" / "DivX", (".avi",), problems)
        spoken = files(session / "dialog" / "transcriptions", (".txt",), problems)
        rated = files(session / "dialog" / "EmoEvaluation", (".txt",), problems)
        folders = (path for path in (session / "sentences" / "wav").glob("*/") if path.name[0] != ".")
        for dialogue in sorted({*clips, *spoken, *(folder.name for folder in folders)} - {*rated}):
            problems.left_out(dialogue, "has no file in EmoEvaluation")
        for dialogue, path in rated.items():
            texts = _texts(spoken[dialogue], problems) if dialogue in spoken else {}
            sounds = files(session / "sentences" / "wav" / dialogue, (".wav",), problems)
            yield from _utterances(path, clips.get(dialogue), texts, sounds, problems)


def _utterances(
    path: Path, clip: Path | None, texts: dict[str, str], sounds: dict[str, Path], problems: Problems
) -> Iterator[Sample]:
    """Yield the utterances of a file in EmoEvaluation."""
    for number, line in enumerate(lines(path, problems), 1):
        turn = TURN.match(line)
        if not turn:
            if line.startswith("["):
                problems.note("not [START - END] TURN EMOTION [V, A, D]: ignored", path, number)
            continue  # other lines are those of single annotators, or blank
        range_, id, label = turn.groups()
        sound = sounds.pop(id, None)
        if label not in LABELS:
            problems.left_out(id, f"its label {label!r} is not one of the four classes", path, number)
            continue
        times, video = RANGE.fullmatch(range_ or ""), None
        if times and float(times[1]) < float(times[2]):
            x = 0 if id.rpartition("_")[2][0] == path.stem[5] else 50
            video = clip and Path(f"{clip}#t={times[1]},{times[2]}&xywh=percent:{x},0,50,100")
        else:
            problems.note("has no time range, and so no video", path, number, id)
        yield Sample(
            id,
            LABELS[label],
            {"video": video, "audio": sound, "text": texts.get(id)},
            SPLITS.get(id[:5], "train"),
        )
    for id, sound in sounds.items():
        problems.left_out(id, "has no line in EmoEvaluation", sound)


def _texts(path: Path, problems: Problems) -> dict[str, str]:
    """Return the texts of a dialogue by utterance."""
    texts = {}
    for number, line in enumerate(lines(path, problems), 1):
        match = SPOKEN.fullmatch(line.strip())
        if match:
            texts[match[1]] = match[3]
        if line.strip() and not (match and match[2]):
            problems.note("a line without a time", path, number)
    return texts


RECIPE = Recipe(
    "IEMOCAP",
    read,
    {"video": "video", "audio": "audio", "text": "text"},
    group="dialogue",
    group_of=lambda id: id.rpartition("_")[0],
    tag="iemo",
    list_labels={"Angry": "ang", "Happy": "hap", "Neutral": "neu", "Sad": "sad"},
)
