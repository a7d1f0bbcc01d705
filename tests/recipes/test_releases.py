"""Each recipe on a generated release with the traps of real copies: good rows in, bad ones named."""

import csv
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from media import grey
from releases import prepared, spoilt
from trees import NAMES, POINTER, put

from altuna.data.readers import READERS
from altuna.data.table.cells import Cells
from altuna.data.table.manifest import read_manifest
from altuna.data.table.splits import split_rows
from altuna.errors import UserError
from altuna.recipes.kinetics_sounds import CLASSES
from altuna.recipes.prepare import prepare as prepare_by_name

# Every row, its label, its split


@pytest.mark.parametrize("name", NAMES)
def test_every_good_row_is_in_once(name, whole, tmp_path):
    root, good = whole[name]
    rows, problems = prepared(name, root, tmp_path / "m.csv")
    assert {*rows} == {*good}
    assert {*problems} <= {"1091_WSI_SAD_XX", "neverloaded_000007_000017", "annotations/all.csv, row 26"}
    for row in rows.values():
        for column in {"video", "audio", "image"} & {*row}:
            assert (tmp_path / row[column].split("#")[0]).is_file()
    manifest = read_manifest(tmp_path / "m.csv")  # no group in two splits
    assert {n: m.type for n, m in manifest.modalities.items()} == {
        column: column for column in [*next(iter(rows.values()))] if column in READERS
    }
    assert all(len(part) for part in split_rows(manifest).values())


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_and_parquet_says_the_same(name, whole, tmp_path):
    root, _ = whole[name]
    splits = []
    for out, seed in (("a.csv", 1), ("b.parquet", 1), ("c.csv", 2)):
        prepare_by_name(name, root, tmp_path / out, seed=seed)
        manifest = read_manifest(tmp_path / out)
        splits.append(dict(zip(manifest.ids.to_pylist(), manifest.splits.to_pylist(), strict=True)))
    assert splits[0] == splits[1]
    assert (splits[0] != splits[2]) == (name != "iemocap")  # whose sessions decide


def test_cremad_labels_and_actors(whole, tmp_path):
    rows, _ = prepared("cremad", whole["cremad"][0], tmp_path / "m.csv")
    assert all(row["label"] == id[9:12] and row["group"] == id[:4] for id, row in rows.items())
    counts = Counter((row["label"], row["split"]) for row in rows.values())
    assert {counts[e, "test"] for e in ("ANG", "SAD")} == {6}  # 3 of 12 actors
    assert {counts[e, "val"] for e in ("ANG", "SAD")} == {4}


def test_kinetics_splits(whole, tmp_path):
    rows, _ = prepared("kinetics-sounds", whole["kinetics-sounds"][0], tmp_path / "m.csv")
    for row in rows.values():
        folder, label = Path(row["video"]).parts[-3:-1]
        assert row["audio"] == row["video"]
        assert row["label"] == label
        assert (row["split"] == "test") == (folder == "val")
    assert len(CLASSES) == 31


def test_food_texts_and_splits(whole, tmp_path):
    root, titles = whole["food101"]
    rows, _ = prepared("food101", root, tmp_path / "m.csv")
    assert {id: row["text"] for id, row in rows.items()} == titles
    assert all((row["split"] == "test") == ("/test/" in row["image"]) for row in rows.values())


def test_iemocap_ranges_sides_and_sessions(whole, tmp_path):
    root, good = whole["iemocap"]
    rows, _ = prepared("iemocap", root, tmp_path / "m.csv")
    for id, (start, end, label, text) in good.items():
        row = rows[id]
        side = 0 if id[5] == id.split("_")[-1][0] else 50  # who wears the markers is on the left
        assert row["video"].endswith(f"{row['group']}.avi#t={start},{end}&xywh=percent:{side},0,50,100")
        assert row["audio"].endswith(f"/{id}.wav")
        assert (row["label"], row["text"]) == (label, text)
        assert row["split"] == {"4": "val", "5": "test"}.get(id[4], "train")
    row = rows["Ses01F_impro05a_F004"]  # 2.0 to 2.6 s at 10 frames a second: frames 20 to 25
    level = READERS["video"](frames=1, size=16).read(row["video"]).mean()
    assert level == pytest.approx(grey(23, 60), abs=12)
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "IEMOCAP_full_release").symlink_to(root)
    assert {*prepared("iemocap", tmp_path / "outer", tmp_path / "o.csv")[0]} == {*good}


# Traps


def test_cremad_traps(whole, media, tmp_path):
    root, good = spoilt("cremad", whole, tmp_path), whole["cremad"][1]
    pointer, cut, empty, alone, page = good[0], good[1], good[2], good[3], good[4]
    for suffix in ("VideoFlash/{}.flv", "AudioWAV/{}.wav"):
        put(root / suffix.format(pointer), POINTER)
        put(root / suffix.format("1076_MTI_SAD_XX"), media.wav)
        put(root / suffix.format("1003_extra_ANG"), media.wav)
    put(root / f"VideoFlash/{cut}.flv", media.clip(".flv")[:-400])
    put(root / f"AudioWAV/{empty}.wav", b"")
    (root / f"VideoFlash/{alone}.flv").unlink()
    put(root / f"AudioWAV/{page}.wav", media.wav[:5000])
    put(root / f"AudioWAV/._{good[9]}.wav", b"\0\5\x16\7")
    put(root / "VideoFlash/readme.txt", "hello")
    rows, problems = prepared("cremad", root, tmp_path / "m.csv")
    assert {*rows} == {*good} - {pointer}
    assert any("git-lfs pointer" in reason for reason in problems[pointer])
    assert "left out: none of its cells can be read" in problems[pointer]
    for id, column, reason in (
        (cut, "video", "cut short"),
        (empty, "audio", "0 bytes"),
        (alone, "video", "has no video"),
        (page, "audio", "truncated"),
    ):
        assert rows[id][column] == ""
        assert rows[id][{"audio": "video", "video": "audio"}[column]]
        assert [reason in said for said in problems[id]] == [True]
    assert "known bad" in problems["1076_MTI_SAD_XX"][0]
    assert "is not named <actor>" in problems["1003_extra_ANG"][0]
    assert "has no file" in problems["1091_WSI_SAD_XX"][0]  # only SentenceFilenames.csv knows it
    assert "hidden" in problems[f"AudioWAV/._{good[9]}.wav"][0]
    assert "not .flv" in problems["VideoFlash/readme.txt"][0]


def test_cremad_without_wav_takes_mp3_or_the_sound_of_the_clips(whole, media, tmp_path):
    root = spoilt("cremad", whole, tmp_path)
    (root / "AudioWAV").rename(root / "elsewhere")
    rows, _ = prepared("cremad", root, tmp_path / "m.csv")
    assert {Path(row["audio"]).suffix for row in rows.values()} == {".flv"}
    assert read_manifest(tmp_path / "m.csv").modalities["audio"].type == "audio"
    (root / "elsewhere").rename(root / "AudioMP3")
    for path in [*(root / "AudioMP3").iterdir()]:
        path.rename(path.with_suffix(".mp3"))
    rows, _ = prepared("cremad", root, tmp_path / "n.csv")
    assert {Path(row["audio"]).suffix for row in rows.values()} == {".mp3"}


def test_kinetics_traps(whole, media, tmp_path):
    root, good = spoilt("kinetics-sounds", whole, tmp_path), whole["kinetics-sounds"][1]
    here = root / "train" / "tap dancing"
    mute, twice, other = "mutemutemut_000001_000011", "twicetwicet_000001_000011", "otherothero_000001_000011"
    put(here / f"{mute}.mp4", media.clip(".mp4", sound=False))
    put(here / "cutcutcutcu_000001_000011.mp4", media.clip(".mp4")[:2000])
    put(here / f"{twice}.mp4", media.clip(".mp4"))
    put(root / "val" / "tap dancing" / f"{twice}.mp4", media.clip(".mp4"))
    put(here / f"{other}.mp4", media.clip(".mp4"))
    put(here / "noname.mp4", media.clip(".mp4"))
    put(here / "clip.part", b"")
    leak = good[-1][:11] + "_000099_000109"  # of a video that val has too
    put(here / f"{leak}.mp4", media.clip(".mp4"))
    with (root / "annotations" / "all.csv").open("a") as file:
        file.write("playing bass guitar,otherothero,1,11,train,0\ntap dancing,oddoddoddod,one,two,train,0\n")
    rows, problems = prepared("kinetics-sounds", root, tmp_path / "m.csv")
    assert {*rows} == {*good, mute}
    assert any(id.startswith("--") for id in rows)
    assert (rows[mute]["audio"], bool(rows[mute]["video"])) == ("", True)
    assert problems[mute] == ["missing: has no sound track"]
    assert "left out: none of its cells can be read" in problems["cutcutcutcu_000001_000011"]
    assert "val/tap dancing" in problems[twice][0]
    assert "'playing bass guitar'" in problems[other][0]
    assert "is not named <youtube id>" in problems["noname"][0]
    assert "its video is also in test" in problems[leak][0]
    assert "never downloaded" in problems["neverloaded_000007_000017"][0]
    assert "ignored" in problems["annotations/all.csv, row 28"][0]
    assert "not .mp4" in problems["train/tap dancing/clip.part"][0]


def test_of_all_of_kinetics_only_the_31_classes_are_taken(media, tmp_path):
    for i, label in enumerate([*sorted(CLASSES), *(f"other {n}" for n in range(9))]):
        for split in ("train", "val"):
            put(tmp_path / "k" / split / label / f"{split}{i:05d}_000000_000010.mp4", media.clip(".mp4"))
    rows, problems = prepared("kinetics-sounds", tmp_path / "k", tmp_path / "m.csv")
    assert {row["label"] for row in rows.values()} == CLASSES
    assert not problems


def test_food_traps(whole, media, tmp_path):
    root, good = spoilt("food101", whole, tmp_path), whole["food101"][1]
    train = root / "images" / "train" / "apple_pie"
    put(train / "apple_pie_0.jpg", media.jpeg("CMYK"))
    put(train / "apple_pie_1.jpg", media.jpeg("L"))
    put(train / "apple_pie_2.jpg", media.jpeg()[:-300])
    (train / "apple_pie_3.jpg").unlink()
    put(train / "apple_pie_90.jpg", media.jpeg())
    put(root / "images" / "train" / "french_fries" / "french_fries_91.jpg", media.jpeg())
    put(train / "._apple_pie_4.jpg", b"\0\5\x16\7")
    with (root / "texts" / "train_titles.csv").open("ab") as file:
        file.write(b'french_fries_91.jpg,A pie?,apple_pie\nfrench_fries_92.jpg,"broken,french_fries\n\n')
        file.write(b'apple_pie_93.jpg,"",apple_pie\napple_pie_0.jpg,again,apple_pie\n')
        file.write(b'apple_pie_94.jpg,"cr\xe8me, ""br\xfbl\xe9e""",apple_pie\n')
    put(train / "apple_pie_93.jpg", media.jpeg())
    rows, problems = prepared("food101", root, tmp_path / "m.csv")
    assert {*rows} == {*good, "apple_pie_90", "apple_pie_93", "apple_pie_94"}
    assert rows["apple_pie_0"]["image"]
    assert rows["apple_pie_1"]["image"]
    assert rows["apple_pie_94"]["text"] == 'crème, "brûlée"'
    for id, reason in (("apple_pie_2", "truncated"), ("apple_pie_3", "has no image")):
        assert rows[id]["image"] == ""
        assert rows[id]["text"]
        assert reason in problems[id][0]
    assert problems["apple_pie_90"] == ["missing: has no text"]
    assert problems["apple_pie_93"] == ["missing: empty text"]
    assert "its id occurs twice" in problems["apple_pie_0"][0]
    assert "'apple_pie' here" in problems["french_fries_91"][0]
    assert "2 cells" in problems["texts/train_titles.csv, row 26"][0]
    assert "latin-1" in problems["texts/train_titles.csv, row 30"][0]


def test_mvsa_traps(whole, media, tmp_path):
    root, good = spoilt("mvsa", whole, tmp_path), whole["mvsa"][1]
    put(root / "data/1.txt", "a caf\xe9".encode("latin-1"))
    put(root / "data/2.jpg", b"")
    (root / "data/3.txt").unlink()
    for i in (101, 102, 103, 104, 105):
        put(root / f"data/{i}.jpg", media.jpeg())
        put(root / f"data/{i}.txt", "text")
    with (root / "labelResultAll.txt").open("a") as file:
        file.write("101\tneutral,negative\n102\tpositive,neutral\n103\tpositive,negative\n104\tpositive\n")
    put(root / "data/._5.txt", b"\0\5\x16\7")
    rows, problems = prepared("mvsa", root, tmp_path / "m.csv")
    assert {id: row["label"] for id, row in rows.items()} == {**good, "101": "negative", "102": "positive"}
    assert problems["1"] == ["note: not UTF-8, read as latin-1"]
    assert rows["1"]["text"]
    assert (rows["2"]["image"], rows["3"]["text"]) == ("", "")
    assert "has opposite labels" in problems["103"][0]
    assert "is not <id>" in problems["104"][0]
    assert "has no label" in problems["105"][0]
    assert problems["labelResultAll.txt, row 41"] == problems["104"]
    assert "hidden" in problems["data/._5.txt"][0]


def test_iemocap_traps(whole, media, tmp_path):
    root, good = spoilt("iemocap", whole, tmp_path), whole["iemocap"][1]
    dialogue = "Ses02F_impro05a"
    session = root / "Session2"
    for folder in ("dialog/EmoEvaluation", "dialog/transcriptions"):
        put(session / folder / f"._{dialogue}.txt", b"\0\5\x16\7\xff")
    with (session / f"dialog/EmoEvaluation/{dialogue}.txt").open("a") as file:
        file.write(f"[40.0 - 41.0]\t{dialogue}_F100\txxx\t[1.0, 1.0, 1.0]\n")
        file.write(f"[1.0 - 2.0]\t{dialogue}_M101\tfru\t[1.0, 1.0, 1.0]\n")
        file.write(f"{dialogue}_F102\tneu\t[1.0, 1.0, 1.0]\n")
        file.write(f"[90.0 - 91.0]\t{dialogue}_F103\tsad\t[1.0, 1.0, 1.0]\nA-E1:\tval 1;\t()\n")
    for id in ("F102", "F103", "F104"):
        put(session / f"sentences/wav/{dialogue}/{dialogue}_{id}.wav", media.wav)
    put(session / f"sentences/wav/{dialogue}/{dialogue}_F000.wav", b"")
    with (session / f"dialog/transcriptions/{dialogue}.txt").open("ab") as file:
        file.write(f"M: [BREATHING]\n{dialogue}_F102: No time\xe9.\n".encode("latin-1"))
    (root / "Session3/dialog/avi/DivX/Ses03M_script01_1b.avi").unlink()
    rows, problems = prepared("iemocap", root, tmp_path / "m.csv")
    assert {*rows} == {*good, f"{dialogue}_F102", f"{dialogue}_F103"}
    assert "label 'xxx'" in problems[f"{dialogue}_F100"][0]
    assert "label 'fru'" in problems[f"{dialogue}_M101"][0]
    late, untimed, mute = (rows[f"{dialogue}_{n}"] for n in ("F103", "F102", "F000"))
    assert (late["video"], untimed["video"], mute["audio"]) == ("", "", "")
    assert untimed["text"] == "No time\xe9."
    assert any("no frame from 90 s" in reason for reason in problems[late["id"]])
    assert "note: has no time range, and so no video" in problems[untimed["id"]]
    assert "no line in EmoEvaluation" in problems[f"{dialogue}_F104"][0]
    where = f"Session2/dialog/transcriptions/{dialogue}.txt, row "
    assert problems[f"{where}9"] == ["note: a line without a time"]
    assert {*problems[f"{where}10"]} == {"note: a line without a time", "note: not UTF-8, read as latin-1"}
    assert "hidden" in problems[f"Session2/dialog/EmoEvaluation/._{dialogue}.txt"][0]
    assert sum(row["video"] == "" for id, row in rows.items() if id[:6] == "Ses03M") == 8


def test_iemocap_half_there(whole, tmp_path):
    """Sessions, an annotation and the end of another that are not there: told, and the rest is prepared."""
    root, good = spoilt("iemocap", whole, tmp_path), whole["iemocap"][1]
    shutil.rmtree(root / "Session5")
    (root / "Session1/dialog/EmoEvaluation/Ses01F_impro05a.txt").unlink()
    cut = root / "Session2/dialog/EmoEvaluation/Ses02F_impro05a.txt"
    cut.write_text(cut.read_text().partition("_M007")[0])
    rows, problems = prepared("iemocap", root, tmp_path / "m.csv")
    gone = {id for id in good if id.startswith(("Ses05", "Ses01F_"))} | {"Ses02F_impro05a_M007"}
    assert {*rows} == {*good} - gone
    assert "has no file in EmoEvaluation" in problems["Ses01F_impro05a"][0]
    assert "not [START - END]" in problems["Session2/dialog/EmoEvaluation/Ses02F_impro05a.txt, row 24"][0]
    assert "has no line in EmoEvaluation" in problems["Ses02F_impro05a_M007"][0]
    told = (tmp_path / "m.problems.csv").read_text()
    assert "Session5 is missing" in told
    assert "no sample is in test" in told


@pytest.mark.parametrize(
    ("name", "gone"),
    [("kinetics-sounds", "train"), ("iemocap", "Session[1-4]"), ("iemocap", "Session[1-35]")],
)
def test_a_release_without_its_train_is_prepared_as_it_is(name, gone, whole, tmp_path):
    """For altuna evaluate; nothing is carved, and the report says so."""
    root = spoilt(name, whole, tmp_path)
    for folder in root.glob(gone):
        shutil.rmtree(folder)
    rows, _ = prepared(name, root, tmp_path / "m.csv")
    assert len({row["split"] for row in rows.values()} - {"train"}) == 1
    assert "no sample is in train" in (tmp_path / "m.problems.csv").read_text()


def test_a_picture_that_is_there_twice_is_the_one_of_the_csv(whole, tmp_path):
    root = spoilt("food101", whole, tmp_path)
    folder = root / "images/train/apple_pie"
    for suffix in (".JPG", ".jpeg", ".png"):
        put(folder / f"apple_pie_1{suffix}", b"")
    rows, problems = prepared("food101", root, tmp_path / "m.csv")
    assert rows["apple_pie_1"]["image"].endswith("/apple_pie_1.jpg")
    for suffix in (".JPG", ".jpeg", ".png"):
        assert (
            "ignored in favour of apple_pie_1.jpg"
            in problems[f"images/train/apple_pie/apple_pie_1{suffix}"][0]
        )


def test_the_manifest_of_a_release_within_it_is_no_annotation(whole, tmp_path):
    root = spoilt("kinetics-sounds", whole, tmp_path)
    put(root / "test.csv", "youtube_id,time_start,time_end,split\na,1,11,test\nb,2,12,test\n")
    first, _ = prepared("kinetics-sounds", root, root / "m.csv")
    again, problems = prepared("kinetics-sounds", root, root / "m.csv", overwrite=True)
    assert first == again
    for name in ("m.csv", "m.problems.csv", "test.csv"):
        assert ["ignored" in reason for reason in problems[name]] == [True]  # once, not row by row


def test_a_folder_whose_name_begins_with_a_space(whole, tmp_path):
    (tmp_path / " release").symlink_to(whole["mvsa"][0])
    prepare_by_name("mvsa", tmp_path / " release", tmp_path / "m.csv")
    manifest = read_manifest(tmp_path / "m.csv")
    assert READERS["image"](size=8).read(Cells(manifest, "image")[0]).any()


# Cells


def test_a_library_that_stumbles_loses_one_file_only(whole, tmp_path, monkeypatch):
    original = READERS["image"].look.__func__

    def look(cls, cell, note):
        if Path(cell).name == "7.jpg":
            raise RuntimeError("a surprise")
        original(cls, cell, note)

    monkeypatch.setattr(READERS["image"], "look", classmethod(look))
    rows, problems = prepared("mvsa", whole["mvsa"][0], tmp_path / "m.csv")
    assert rows["7"]["image"] == ""
    assert problems["7"] == ["missing: RuntimeError: a surprise"]
    with pytest.raises(UserError):
        prepare_by_name("mvsa", whole["mvsa"][0], tmp_path / "m.csv")


def test_cells_of_the_manifest_are_what_the_readers_take(whole, tmp_path):
    prepare_by_name("kinetics-sounds", whole["kinetics-sounds"][0], tmp_path / "m.csv")
    with (tmp_path / "m.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if row["id"].startswith("--"))
    assert READERS["video"](frames=1, size=16).read(row["video"]).shape == (1, 16, 16, 3)
    assert np.abs(READERS["audio"](rate=8000, seconds=0.5).read(row["audio"])).max() > 1000
