"""CREMA-D: 7,442 clips in which 91 actors speak twelve sentences in six emotions (Cao et al., 2014).

github.com/CheyneyComputerScience/CREMA-D: ``VideoFlash/*.flv`` and ``AudioWAV/*.wav`` (or ``AudioMP3/*.mp3``;
without either, the sound of the clips), named ``<actor>_<sentence>_<emotion>_<level>``. Split by actor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from altuna.errors import UserError
from altuna.recipes.release import Problems, Recipe, Sample, files, rows

EMOTIONS = {"Anger": "ANG", "Disgust": "DIS", "Fear": "FEA", "Happy": "HAP", "Neutral": "NEU", "Sad": "SAD"}
NAME = re.compile(rf"1\d\d\d_[A-Z]{{3}}_({'|'.join(EMOTIONS.values())})_[A-Z]+")
# From the README of the release.
KNOWN_BAD = {
    "1076_MTI_NEU_XX": "known bad: nearly empty",
    "1076_MTI_SAD_XX": "known bad: nearly empty",
    "1064_TIE_SAD_XX": "known bad: cut short",
    "1064_IEO_DIS_MD": "known bad: a minute with all emotions",
}


def read(root: Path, problems: Problems) -> Iterator[Sample]:
    """Yield the samples in a clone of the release."""
    video = files(root / "VideoFlash", (".flv",), problems)
    sound = files(root / "AudioWAV", (".wav",), problems) or files(root / "AudioMP3", (".mp3",), problems)
    if not video and not sound:
        raise UserError(f"{root}: not a CREMA-D release: no files in VideoFlash/, AudioWAV/ or AudioMP3/")
    names = root / "SentenceFilenames.csv"
    listed = (
        [row[1] for number, row in rows(names, problems) if number > 1 and row[1:]] if names.exists() else []
    )
    for id in sorted({*video, *sound, *listed}):
        name = NAME.fullmatch(id)
        if not name:
            problems.left_out(
                id, "is not named <actor>_<sentence>_<emotion>_<level>", video.get(id, sound.get(id))
            )
        elif id in KNOWN_BAD:
            problems.left_out(id, KNOWN_BAD[id])
        else:
            yield Sample(id, name[1], {"video": video.get(id), "audio": (sound or video).get(id)})


RECIPE = Recipe(
    "CREMA-D",
    read,
    {"video": "video", "audio": "audio"},
    group="actor",
    group_of=lambda id: id[:4],
    tag="cre",
    list_labels=EMOTIONS,
)
