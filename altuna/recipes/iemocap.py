"""IEMOCAP: ten actors in dialogues, by utterance (Busso et al., 2008); ang, hap (with exc), neu, sad.

In ``Session<1-5>``: ``dialog/EmoEvaluation`` has the time ranges and labels, ``dialog/transcriptions`` the
texts, ``sentences/wav`` the sound; the video is a time range of ``dialog/avi/DivX``, of which the speaker is
one half. Session 5 is test, session 4 val, the others are train.

Whose half: a dialogue is named for the actor who wears the markers (F in ``Ses01F_impro01``), and that actor
is on the left. Public preprocessings agree on it, each with crops of its own: one is
IoannisKansizoglou/Iemocap-preprocess (``extractionmapCreator.py``), one for EmoBox cuts the 720 x 480 pixels
at x = 360, one takes the actress of ``Ses01F_impro01`` from x = 6 to 354. We have no copy of the videos.
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
    """Give the samples below a root: the release, or the folder that it lies in."""
    release = root / "IEMOCAP_full_release"
    sessions = sorted((release if release.is_dir() else root).glob("Session[1-5]/"))
    if not sessions:
        raise UserError(f"{root}: is no IEMOCAP release: no Session1/ to Session5/")
    for name in sorted({f"Session{n}" for n in range(1, 6)} - {session.name for session in sessions}):
        problems.note(f"{name} is not there")
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
    """Give the utterances of a file in EmoEvaluation."""
    for number, line in enumerate(lines(path, problems), 1):
        turn = TURN.match(line)
        if not turn:
            if line.startswith("["):
                problems.note("not [START - END] TURN EMOTION [V, A, D]: passed over", path, number)
            continue  # else the annotators' own lines, and blank ones
        range_, id, label = turn.groups()
        sound = sounds.pop(id, None)
        if label not in LABELS:
            problems.left_out(id, f"label {label!r} is none of the four classes", path, number)
            continue
        times, video = RANGE.fullmatch(range_ or ""), None
        if times and float(times[1]) < float(times[2]):
            x = 0 if id.rpartition("_")[2][0] == path.stem[5] else 50
            video = clip and Path(f"{clip}#t={times[1]},{times[2]}&xywh=percent:{x},0,50,100")
        else:
            problems.note("has no time range, so no video", path, number, id)
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
        said = SPOKEN.fullmatch(line.strip())
        if said:
            texts[said[1]] = said[3]
        if line.strip() and not (said and said[2]):
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
