"""Releases as they lie on disk, generated small, with what real copies have wrong with them."""

import shutil

import numpy as np
from media import picture, recording, tone, write_clip
from PIL import Image

NAMES = ("cremad", "kinetics-sounds", "food101", "mvsa", "iemocap")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123456\n"


def put(path, content):
    """Write bytes or a text, with the folders above."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


class Media:
    """Contents made once: ``clip(".flv")``, ``jpeg("CMYK")``, ``wav``."""

    def __init__(self, folder):
        self.folder, self.made = folder, {}
        self.wav = recording(tone(0.4), 16000)

    def clip(self, suffix, **options):
        key = suffix, *options.items()
        if key not in self.made:
            path = self.folder / f"{len(self.made)}{suffix}"
            self.made[key] = write_clip(
                path, **{"frames": 8, "width": 64, "height": 48, **options}
            ).read_bytes()
        return self.made[key]

    def jpeg(self, mode="RGB", seed=0):
        noise = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 56, 3), np.uint8))
        return picture(noise.convert(mode), "JPEG")


def cremad(root, media, actors=12):
    """Every actor says two sentences in six emotions; returns the good ids."""
    emotions = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
    ids = [f"{1001 + a}_{s}_{e}_XX" for a in range(actors) for s in ("DFA", "TIE") for e in emotions]
    for id in ids:
        put(root / f"VideoFlash/{id}.flv", media.clip(".flv"))
        put(root / f"AudioWAV/{id}.wav", media.wav)
    names = "".join(f'{n},"{id}"\n' for n, id in enumerate([*ids, "1091_WSI_SAD_XX"], 1))
    put(root / "SentenceFilenames.csv", '"Stimulus_Number","Filename"\n' + names)
    return ids


def kinetics_sounds(root, media, clips=8):
    """Two classes; returns the good ids."""
    good, rows = [], "label,youtube_id,time_start,time_end,split,is_cc\n"
    for split, n in (("train", clips), ("val", clips // 2)):
        for c, label in enumerate(("playing bass guitar", "tap dancing")):
            for i in range(n):
                video = f"{'--' if not i else 'x'}{split[0]}{c}{i:08d}"[:11]
                good.append(f"{video}_{i:06d}_{i + 10:06d}")
                put(root / split / label / f"{good[-1]}.mp4", media.clip(".mp4"))
                rows += f"{label},{video},{i},{i + 10},{split},0\n"
    put(root / "annotations" / "all.csv", rows + "tap dancing,neverloaded,7,17,train,0\n")
    return good


def food101(root, media, pictures=12):
    """Two classes; returns id to title."""
    titles = {}
    for split, n in (("train", pictures), ("test", pictures // 2)):
        rows = ""
        for label in ("apple_pie", "french_fries"):
            for i in range(n):
                id = f"{label}_{i if split == 'train' else i + 500}"
                titles[id] = f"{label.replace('_', ' ')}, with {i} spoons"
                put(root / f"images/{split}/{label}/{id}.jpg", media.jpeg(seed=i))
                rows += f'{id}.jpg,"{titles[id]}",{label}\n'
        put(root / f"texts/{split}_titles.csv", rows)
    return titles


def mvsa(root, media, tweets=36):
    """Returns id to label."""
    kinds, labels, rows = ("positive", "neutral", "negative"), {}, "ID\ttext,image\n"
    for i in range(1, tweets + 1):
        labels[str(i)] = kinds[i % 3]
        put(root / f"data/{i}.jpg", media.jpeg(seed=i))
        put(root / f"data/{i}.txt", f"what a {kinds[i % 3]} day #{i}")
        rows += f"{i}\t{kinds[i % 3]},{kinds[i % 3]}\r\n"
    put(root / "labelResultAll.txt", rows)
    return labels


def iemocap(root, media, turns=8):
    """Five sessions of two dialogues; returns id to (start, end, label, text)."""
    good = {}
    clip = media.clip(".avi", frames=60, sound=False)
    for s in range(1, 6):
        session = root / f"Session{s}"
        for dialogue in (f"Ses0{s}F_impro05a", f"Ses0{s}M_script01_1b"):
            lines, said = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n", ""
            for t in range(turns):
                id = f"{dialogue}_{'FM'[t % 2]}{t:03d}"
                start, end, label = (
                    f"{t * 0.5:.4f}",
                    f"{t * 0.5 + 0.6:.4f}",
                    ("ang", "exc", "neu", "sad")[t % 4],
                )
                good[id] = start, end, {"exc": "hap"}.get(label, label), f"Line {t}: what?"
                lines += (
                    f"[{start} - {end}]\t{id}\t{label}\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\n\n"
                )
                said += f"{id} [{float(start):08.4f}-{float(end):08.4f}]: Line {t}: what?\n"
                put(session / f"sentences/wav/{dialogue}/{id}.wav", media.wav)
            put(session / f"dialog/EmoEvaluation/{dialogue}.txt", lines)
            put(session / f"dialog/transcriptions/{dialogue}.txt", said)
            put(session / f"dialog/avi/DivX/{dialogue}.avi", clip)
    return good


def copy(tree, to):
    """A copy of a tree to spoil."""
    return shutil.copytree(tree, to)
