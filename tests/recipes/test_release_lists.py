"""The authors' published lists, and the command that prepares releases."""

import re
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
from releases import prepared, spoilt
from trees import put

from altuna.cli.main import main
from altuna.data.table.manifest import read_manifest
from altuna.recipes.cremad import EMOTIONS
from altuna.recipes.iemocap import LABELS
from altuna.recipes.kinetics_sounds import list_id as kinetics_id
from altuna.recipes.lists import read_lists
from altuna.recipes.prepare import leakage_of
from altuna.recipes.prepare import prepare as prepare_by_name
from altuna.recipes.release import Problems

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "published-splits"
needs_published = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the authors' lists are not here")


# The authors' lists


@needs_published
@pytest.mark.parametrize(
    ("name", "tag", "shared"),
    [("cremad", "cre", "91 of 91 actors"), ("iemocap", "iemo", "151 of 151 dialogues")],
)
def test_published_lists_leak(name, tag, shared):
    listed = {}
    for split in ("train", "test"):
        for line in (PUBLISHED / f"my_{split}_{tag}.txt").read_text().splitlines():
            listed[line.split(".")[0]] = split
    read = published(name)
    assert {id: split for id, (split, _) in read.items()} == listed
    assert {label for _, label in read.values()} == {"cre": {*EMOTIONS.values()}, "iemo": {*LABELS.values()}}[
        tag
    ]
    assert leakage_of(recipe_of(name), listed.items()) == f"{shared} shared between splits"


@needs_published
@pytest.mark.parametrize(("name", "sizes"), [("food101", (62970, 22714)), ("mvsa", (1555, 519))])
def test_published_lists_are_read_whole(name, sizes):
    listed = published(name)
    counts = Counter(split for split, _ in listed.values())
    assert (counts["train"], counts["test"]) == sizes
    assert all(label for _, label in listed.values())


@needs_published
def test_the_authors_splits_are_taken(whole, tmp_path):
    report = prepare_by_name("cremad", whole["cremad"][0], tmp_path / "m.csv", splits=PUBLISHED)
    assert report.leakage.startswith("91 of 91 actors shared between splits in the lists; in this manifest ")
    manifest = read_manifest(tmp_path / "m.csv", allow_shared_groups=True)
    listed = published("cremad")
    for id, split in zip(manifest.ids.to_pylist(), manifest.splits.to_pylist(), strict=True):
        assert listed[id][0] == split
    assert any(p.reason == "is in the train list, but not in the release" for p in report.problems)


def recipe_of(name):
    return import_module(f"altuna.recipes.{name}").RECIPE


def published(name):
    return read_lists(recipe_of(name), PUBLISHED, Problems(PUBLISHED))


def test_lists_of_ogm_ge(whole, tmp_path):
    lists = tmp_path / "lists"
    good = whole["cremad"][1]
    put(lists / "train.csv", "".join(f"{id},{id[9:12]}\n" for id in good[:50]))
    put(
        lists / "test.csv",
        "".join(f"{id},{id[9:12]}\n" for id in good[50:60]) + f"{good[60]},SAD\n{good[0]},ANG\n",
    )
    put(lists / "stat.csv", "ANG\n")
    rows, problems = prepared("cremad", whole["cremad"][0], tmp_path / "m.csv", splits=lists)
    assert Counter(row["split"] for row in rows.values()) == {"train": 49, "test": 12}
    assert "is in none of the lists" in problems[good[-1]][0]
    assert any("ANG in the release, SAD in the test list" in reason for reason in problems[good[60]])
    assert "is in the lists already, in test" in problems[good[0]][0]
    assert kinetics_id(["-3Mwkq-7TV4_2", "10", "23"]) == "-3Mwkq-7TV4_000002_000012"
    assert kinetics_id(["--a_000002_000012", "10", "23"]) == "--a_000002_000012"
    good = whole["kinetics-sounds"][1]
    put(lists / "train.csv", "".join(f"{id[:11]}_{int(id[12:18])},10,3\n" for id in good[:5]))
    put(lists / "test.csv", "".join(f"{id},10,3\n" for id in good[5:9]))
    rows, _ = prepared("kinetics-sounds", whole["kinetics-sounds"][0], tmp_path / "k.csv", splits=lists)
    assert {id: row["split"] for id, row in rows.items()} == {
        **dict.fromkeys(good[:5], "train"),
        **dict.fromkeys(good[5:9], "test"),
    }


# The command


def run(capsys, monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["altuna", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code, capsys.readouterr()


def test_the_command_says_what_it_found(whole, tmp_path, capsys, monkeypatch):
    root = spoilt("cremad", whole, tmp_path)
    put(root / "AudioWAV" / "1001_DFA_ANG_XX.wav", b"")
    out = tmp_path / "m.csv"
    code, said = run(capsys, monkeypatch, "prepare", "cremad", "--root", root, "--out", out)
    assert code is None
    assert re.search(r"ANG .* 24 ", said.out)
    assert "audio missing, 1: the file is empty (0 bytes): 1001_DFA_ANG_XX" in said.out
    assert "leakage: 0 of 12 actors shared between splits" in said.out
    assert f"altuna fit --data {out}\n" in said.out
    before = out.read_bytes()
    code, said = run(capsys, monkeypatch, "prepare", "cremad", "--root", root, "--out", out)
    assert (code, out.read_bytes()) == (2, before)
    assert said.err == f"altuna: {out}: already exists; use --overwrite to replace it\n"
    arguments = ("prepare", "cremad", "--root", root, "--out", out, "--overwrite", "--quiet")
    assert run(capsys, monkeypatch, *arguments) == (None, ("", ""))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("crema-d", [], "there is no recipe with this name; did you mean 'cremad'?"),
        ("cremad", [], "--root, the folder of the release, is missing"),
        ("cremad", ["--root", "absent"], "absent: no such folder"),
        ("cremad", ["--root", "empty"], "not a CREMA-D release"),
        ("kinetics-sounds", ["--root", "empty"], "not a Kinetics-Sounds release"),
        ("food101", ["--root", "empty"], "lacks texts/train_titles.csv"),
        ("mvsa", ["--root", "empty"], "lacks labelResultAll.txt"),
        ("iemocap", ["--root", "empty"], "no Session1/ to Session5/"),
        ("cremad", ["--root", "bad"], "contains no sample of CREMA-D; most often: is not named <actor>"),
        ("cremad", ["--root", "bad", "--splits", "absent"], "absent: no such folder"),
        ("cremad", ["--root", "bad", "--splits", "empty"], "contains no lists of CREMA-D"),
        ("cremad", ["--root", "bad", "--out", "m.txt"], "must be .csv or .parquet"),
        ("cremad", ["--root", "bad", "--out", "absent/m.csv"], "absent: no such folder"),
        ("cremad", ["--root", "bad", "--out", "folder.csv", "--overwrite"], "folder.csv: is a folder"),
        ("cremad", ["--root", "bad", "--download"], "--download works for av-digits only"),
        ("av-digits", [], "give --root DIR or --download"),
        ("av-digits", ["--splits", "empty"], "no published lists"),
    ],
)
def test_mistakes_are_one_line(name, options, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("folder.csv").mkdir()
    put(Path("bad/AudioWAV/x.wav"), b"")
    out = [] if "--out" in options else ["--out", "m.csv"]
    code, said = run(capsys, monkeypatch, "prepare", name, *options, *out)
    assert code == 2
    assert words in said.err
    assert said.err.count("\n") == 1
    assert not said.out
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "bad", "folder.csv"}


def test_paths_survive_an_out_elsewhere(whole, tmp_path, monkeypatch):
    root, _ = whole["mvsa"]
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(root.parent)
    rows, _ = prepared("mvsa", Path(root.name), tmp_path / "else" / "m.csv")
    assert all(Path(row["image"]).is_absolute() for row in rows.values())
    rows, _ = prepared("mvsa", Path(root.name), root / "m.csv")
    assert {row["image"] for row in rows.values()} == {f"data/{id}.jpg" for id in rows}
    (root / "m.csv").unlink()
    (root / "m.problems.csv").unlink()
