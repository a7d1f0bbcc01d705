"""The page of altuna demo: what it answers, and how it behaves in a real browser."""

import asyncio
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from demo_data import LONG, META, NASTY

import altuna
from altuna import demo
from altuna.cli.main import main
from altuna.demo.answer import answer, numbers
from altuna.demo.samples import sampler
from altuna.errors import UserError


def test_any_of_the_modalities_can_be_left_out(predictor, run):
    some = answer(predictor, {"image": None, "sound": None, "title": "red apple", "acc": " "})
    (row,) = predictor.predict([{"title": "red apple"}]).to_pylist()
    assert some.probabilities == pytest.approx({c: row[f"p_{c}"] for c in predictor.classes})
    assert some.opinions.count("left out") == 3
    assert NASTY not in some.opinions
    given = answer(
        predictor,
        {
            "image": str(run.parent / "1.png"),
            "sound": str(run.parent / "1.wav"),
            "title": "red apple",
            "acc": "1, , 0.5",
        },
    )
    assert "left out" not in given.opinions
    assert not given.message
    assert "Give at least one of: image, sound" in answer(predictor, {"image": None, "sound": None}).message


def test_a_bad_file_is_a_message(predictor, tmp_path):
    broken = tmp_path / "<b>.png"
    broken.write_bytes(b"\x89PNG not at all")
    said = answer(predictor, {"image": str(broken), "title": "red"})
    assert said.probabilities is None
    assert "not an image that Pillow can read" in said.message
    assert str(tmp_path) not in said.message
    assert "<b>" not in said.message
    assert "3" in answer(predictor, {"acc": "1 2"}).message
    assert "unknown" not in answer(predictor, {"title": NASTY}).message


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1 2\n3", [1, 2, 3]),
        ("1, ,3", [1, None, 3]),
        ("[1, null, 3e1]", [1, None, 30]),
        ('{"b": 2, "a": 1}', [1, 2, None]),
    ],
)
def test_rows_of_numbers(text, found):
    assert numbers("acc", text, ("a", "b", "c")) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1, two, 3", "'acc': not a number: 'two'"),
        ("[1, 2", "'acc': not JSON"),
        ("[" * 100_000, "'acc': not JSON"),
        ("[[1], 2]", "not a number"),
        ('{"d": 1}', "no number 'd'; the names are a, b"),
        (f"[1, {10**400}]", "not a number: 1000"),
    ],
)
def test_no_rows_of_numbers(text, message):
    with pytest.raises(UserError, match=re.escape(message)):
        numbers("acc", text, ("a", "b"))


def test_numbers_are_read_as_in_training_and_examples_too(tmp_path):
    lines = ["label;v_a;v_b"]
    for i in range(40):
        lines.append(f"{'ab'[i % 2]};1.{100 + i},5;{i % 7},5 kg")
    (tmp_path / "data.csv").write_text("\n".join(lines) + "\n")
    run = altuna.fit(tmp_path / "data.csv", out=tmp_path / "run", epochs=1, quiet=True, report=False)
    predictor = altuna.load(run, "cpu")
    (wanted,) = predictor.predict([{"v": [1134.0, 2.5]}])["p_a"].to_pylist()
    for text in (
        "1.134; 2,5 kg",
        '["1.134", 2.5]',
        "[1134, 2.5]",
        '{"v_a": "1.134", "v_b": "2,5"}',
    ):
        found = answer(predictor, {"v": text})
        assert found.message == ""
        assert abs(found.probabilities["a"] - wanted) < 1e-6
    assert "2,5 lb" in answer(predictor, {"v": "1.134; 2,5 lb"}).message
    _, given, _ = sampler(predictor, str(run), str(tmp_path))()
    assert 1100 <= numbers("v", given["v"], ("v_a", "v_b"), as_written=True)[0] < 1200


def test_examples_predict_as_their_samples(predictor, run, tmp_path):
    draw = sampler(predictor, str(run), str(tmp_path))
    label, given, unread = draw()
    assert label in predictor.classes
    assert not unread
    assert {*given} == {*predictor.modalities}
    assert answer(predictor, given).probabilities is not None
    for _ in range(60):
        draw()
    assert len([*tmp_path.iterdir()]) <= 50
    assert sampler(predictor, "hf:org/name", str(tmp_path)) is None


def test_examples_are_what_files_say(tmp_path):
    lines = ["id,split,label,words,v"]
    for i in range(24):
        (tmp_path / f"{i}.txt").write_text(f"word {i}")
        np.save(tmp_path / f"{i}.npy", np.float32([i, 1 - i % 2]))
        lines.append(f"{i},{('train', 'val', 'test')[i // 2 % 3]},{i % 2},{i}.txt,{i}.npy")
    (tmp_path / "data.csv").write_text("\n".join(lines) + "\n")
    modalities = {"words": {"type": "text"}, "v": {"type": "vector"}}
    options = {"modalities": modalities, "out": tmp_path / "run", "epochs": 1, "quiet": True, "report": False}
    run = altuna.fit(tmp_path / "data.csv", **options)
    draw = sampler(altuna.load(run, "cpu"), str(run), str(tmp_path))
    _, given, _ = draw()
    name, number = given["words"].split()
    assert name == "word"
    assert numbers("v", given["v"]) == [int(number), 1 - int(number) % 2]
    for file in tmp_path.glob("*.txt"):
        file.unlink()
    _, given, unread = draw()
    assert [*given] == ["v"]
    assert unread == ["words"]


def test_what_an_example_lost_is_said(predictor):
    pytest.importorskip("gradio")
    from altuna.demo.page import page

    blocks = page(predictor, "run", lambda: (LONG, {"title": "red"}, ["image", "sound"]))
    (show,) = (event.fn for event in blocks.fns.values() if event.name == "show")
    assert "Left out (unreadable, or part of a longer file): image, sound." in show()[-1]


@pytest.mark.parametrize("port", [-1, 0, 70000])
def test_no_port(port):
    with pytest.raises(UserError, match=f"from 1 to 65535, got {port}"):
        demo._free_port("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "a..b", ""])
@pytest.mark.parametrize("port", [None, 8123])
def test_no_host(host, port):
    with pytest.raises(UserError, match=f"^--host '{host}' is not an address of this machine: [^-]+$"):
        demo._free_port(host, port)


def failed(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["altuna", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.count("\n") == 1
    return error


def test_without_gradio_the_extra_is_named(run, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "altuna.demo.page", raising=False)
    assert "pip install 'altuna[demo]'" in failed(capsys, monkeypatch, "demo", run)


def test_a_port_in_use(run, capsys, monkeypatch):
    pytest.importorskip("gradio")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port}: Address already in use" in failed(
            capsys, monkeypatch, "demo", run, "--port", port
        )
    assert "--host '192.0.2.1'" in failed(capsys, monkeypatch, "demo", run, "--host", "192.0.2.1")


def test_not_a_run(tmp_path, capsys, monkeypatch):
    pytest.importorskip("gradio")
    assert "no such run directory" in failed(capsys, monkeypatch, "demo", tmp_path / "none")


@pytest.mark.parametrize("place", range(4))
def test_no_url_is_fetched(place, predictor, monkeypatch):
    gradio = pytest.importorskip("gradio")
    from altuna.demo.page import page

    async def fetch(url, *rest):
        pytest.fail(f"asked for {url}")

    monkeypatch.setattr("gradio.processing_utils.async_ssrf_protected_get", fetch)
    blocks = page(predictor, "run", None)
    (predict,) = (event for event in blocks.fns.values() if event.api_name == "predict")
    cells = [None] * 4
    cells[place] = {"path": "https://huggingface.co/logo.png", "meta": META}
    told = pytest.raises(gradio.Error, match="not a URL" if place < 2 else "a string")
    with ThreadPoolExecutor() as pool, told:  # this thread may have playwright's loop
        pool.submit(asyncio.run, blocks.preprocess_data(predict, cells, None)).result()
