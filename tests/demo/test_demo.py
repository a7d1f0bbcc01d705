"""The page of altuna demo: what it answers, and how it behaves in a real browser."""

import asyncio
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from media import picture, recording, tone
from PIL import Image

import altuna
from altuna import demo
from altuna.cli.main import main
from altuna.demo.answer import answer, numbers
from altuna.demo.samples import sampler
from altuna.errors import UserError

ARTEFACTS = Path(__file__).parents[2] / "artefacts"
CHROMIUM = shutil.which("chromium")
NASTY = "<img src=x onerror=alert(1)>"
LONG = "Donaudampfschifffahrtselektrizitaetenhauptbetriebswerk"
META = {"_type": "gradio.FileData"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of pictures, sounds, texts and numbers, one of whose classes is HTML and one a long word."""
    folder, rng = tmp_path_factory.mktemp("demo"), np.random.default_rng(0)
    lines = ["id,split,label,image,sound,title,acc_x,acc_y,acc_z"]
    for i in range(48):
        c, split = i % 2, ("train", "train", "val", "test")[i // 2 % 4]
        pixels = rng.integers(0, 50, (16, 16, 3)) + 150 * c
        (folder / f"{i}.png").write_bytes(picture(Image.fromarray(pixels.astype(np.uint8))))
        (folder / f"{i}.wav").write_bytes(recording(tone(0.2, 8000, 400 + 400 * c), 8000))
        label, word = (NASTY, "red apple") if c else (LONG, "green pear")
        lines.append(f"s{i},{split},{label},{i}.png,{i}.wav,{word} {i},{c},{rng.normal():.3f},{1 - c}")
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    small = {"width": 4}
    return altuna.fit(
        folder / "data.csv",
        method="late_fusion",
        epochs=2,
        batch_size=12,
        encoders={"image": small, "sound": small},
        out=folder / "run",
        quiet=True,
    )


@pytest.fixture(scope="module")
def predictor(run):
    return altuna.load(run, device="cpu")


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
        ("1, two, 3", "'acc': not a number: two"),
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


@contextmanager
def served(run, host="127.0.0.1", shown="127.0.0.1", stderr=None):
    """A demo in a process of its own; gives its address."""
    with demo_process(run, host, stderr) as process:
        ready, _, _ = select.select([process.stdout], [], [], 120)
        line = process.stdout.readline() if ready else ""
        assert line.startswith(f"open http://{shown}:"), line
        yield line.split()[1]


@contextmanager
def demo_process(run, host, stderr):
    port = demo._free_port(host, None)
    command = [sys.executable, "-m", "altuna", "demo", str(run), "--host", host, "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture(scope="module")
def terminal(tmp_path_factory):
    """The file with what the demo writes to the terminal."""
    return tmp_path_factory.mktemp("terminal") / "stderr"


@pytest.fixture(scope="module")
def address(run, terminal):
    pytest.importorskip("gradio")
    with terminal.open("w") as stderr, served(run, stderr=stderr) as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_uploads_go_however_it_is_stopped(number, run, tmp_path):
    pytest.importorskip("gradio")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    port = demo._free_port("127.0.0.1", None)
    command = [sys.executable, "-m", "altuna", "demo", str(run), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline().startswith(f"open http://127.0.0.1:{port} ")  # unless --host says so
        assert [*tmp_path.glob("altuna-demo-*")]
        process.send_signal(number)
        assert process.wait(30) == 128 + number
    assert not [*tmp_path.glob("altuna-demo-*")]


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("there is no chromium")
    with api.sync_playwright() as playwright:
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield found
        found.close()


@pytest.fixture
def tab(browser, address):
    """The open page; afterwards nothing may have been complained of, or fetched from elsewhere."""
    view = browser.new_page(viewport={"width": 1200, "height": 1000})
    complaints, elsewhere = [], []
    view.complaints = complaints

    def listen(message):
        # What is left out comes of Gradio's client, with every upload.
        if message.type in ("error", "warning") and message.text != "Method not implemented.":
            complaints.append(message.text)

    view.on("console", listen)
    view.on("pageerror", lambda error: complaints.append(str(error)))
    view.on(
        "request",
        lambda r: None if r.url.startswith((address, "data:", "blob:")) else elsewhere.append(r.url),
    )
    view.goto(address)
    view.get_by_role("button", name="Predict").wait_for()
    yield view
    view.close()
    assert not complaints
    assert not elsewhere


def shot(view, name):
    ARTEFACTS.mkdir(exist_ok=True)
    view.screenshot(path=ARTEFACTS / f"demo-{name}.png", full_page=True)


def put(view, number, path):
    """Drop a file on the input of a modality, by its number."""
    view.locator(f"#input-{number} input[type=file]").set_input_files(path)


def opinions(view):
    return view.locator("#opinions tbody tr")


def test_a_picture_and_a_text(tab, run):
    put(tab, 0, run.parent / "1.png")
    tab.get_by_label("title").fill("red apple")
    tab.locator("#input-0 img").wait_for()
    tab.get_by_role("button", name="Predict").click()
    opinions(tab).nth(3).wait_for()
    shot(tab, "picture-and-text")
    assert ["left out" in row for row in opinions(tab).all_inner_texts()] == [False, True, False, True]
    assert NASTY in tab.locator("body").inner_text()  # shown, not executed


def test_a_corrupt_file_then_a_good_one(tab, run, tmp_path):
    (tmp_path / "broken.png").write_bytes((run.parent / "1.png").read_bytes()[:60])
    put(tab, 0, tmp_path / "broken.png")
    tab.wait_for_timeout(1000)
    tab.get_by_role("button", name="Predict").click()
    problem = tab.get_by_role("alert").filter(has_text="broken.png")
    problem.wait_for()
    shot(tab, "corrupt-file")
    tab.get_by_role("button", name="Clear").click()
    tab.get_by_label("acc").fill("1, 0.5, 0")
    tab.get_by_label("acc").press("Enter")
    opinions(tab).nth(3).wait_for()
    assert not problem.is_visible()
    shot(tab, "numbers-alone")


def test_enter_predicts_and_with_shift_breaks_the_line(tab):
    title = tab.get_by_label("title")
    title.fill("red")
    title.press("Shift+Enter")
    title.press_sequentially("apple")
    assert title.input_value() == "red\napple"
    tab.wait_for_timeout(1000)
    assert not opinions(tab).count()
    title.press("Enter")
    opinions(tab).nth(3).wait_for()
    assert title.input_value() == "red\napple"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_cut_off(width, scheme, tab):
    tab.set_viewport_size({"width": width, "height": 1000})
    tab.emulate_media(color_scheme=scheme)
    tab.get_by_role("button", name="Example from the test split").click()
    tab.wait_for_function("document.querySelector('textarea').value != ''")
    tab.get_by_role("button", name="Predict").click()
    opinions(tab).nth(3).wait_for()
    tab.locator(".confidence-set").nth(1).wait_for()
    shot(tab, f"{width}-{scheme}")
    assert LONG in "".join(tab.locator(".confidence-set").all_inner_texts())
    shown = ".opinions th, .opinions td, .output-class, .confidence-set *"
    cut = """shown => [...document.querySelectorAll(shown)]
        .filter(e => e.scrollWidth > e.clientWidth + 1
            || e.getBoundingClientRect().right > e.closest('.block').getBoundingClientRect().right)
        .map(e => e.innerText)"""
    assert not tab.evaluate(cut, shown)


def test_a_sound_then_a_corrupt_one(tab, run, tmp_path):
    put(tab, 1, run.parent / "1.wav")
    tab.locator("#input-1 audio").first.wait_for(state="attached")
    tab.get_by_role("button", name="Predict").click()
    opinions(tab).nth(3).wait_for()
    shot(tab, "sound")
    assert ["left out" in row for row in opinions(tab).all_inner_texts()] == [True, False, True, True]
    tab.get_by_text("Clear", exact=True).click()
    (tmp_path / "broken.wav").write_bytes((run.parent / "1.wav").read_bytes()[:30])
    put(tab, 1, tmp_path / "broken.wav")
    tab.wait_for_timeout(1000)
    tab.get_by_role("button", name="Predict").click()
    tab.get_by_role("alert").filter(has_text="broken.wav").wait_for()
    assert all("Waveform load error" in said for said in tab.complaints)  # by Gradio's own player
    tab.complaints.clear()


def test_an_upload_without_end(address):
    httpx = pytest.importorskip("httpx")
    files = {"files": ("large.png", bytes(105_000_000))}
    answered = httpx.post(f"{address}/gradio_api/upload", files=files, timeout=60)
    assert answered.status_code == 413


def test_an_example_of_the_test_split(tab):
    tab.get_by_role("button", name="Example from the test split").click()
    tab.wait_for_function("document.querySelector('textarea').value != ''")
    tab.get_by_role("button", name="Predict").click()
    opinions(tab).nth(3).wait_for()
    shot(tab, "example")
    assert "left out" not in tab.locator("#opinions").inner_text()
    assert not tab.get_by_label("Share").count()


@pytest.mark.slow
def test_ipv6(run):
    pytest.importorskip("gradio")
    try:
        demo._free_port("::1", None)
    except UserError:
        pytest.skip("this machine has no IPv6")
    with served(run, "::1", "[::1]") as found, urlopen(found) as page:
        assert page.status == 200


def test_over_the_interface(address, run):
    client = pytest.importorskip("gradio_client").Client(address, verbose=False)
    label, table, message = client.predict(None, None, "red apple", "1,2,3", api_name="/predict")
    assert {c["label"] for c in label["confidences"]} == {NASTY, LONG}
    assert "left out" in table
    assert not message
    assert "1 numbers" in client.predict(None, None, "", "1", api_name="/predict")[2]
    json.dumps(label)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([5, None, "red", ""], "'image': give a file that was uploaded"),
        ([None, "1.wav", "red", ""], "'sound': give a file that was uploaded"),
        ([{"url": "x"}, None, "red", ""], "'image': give a file"),
        ([{"path": 5, "meta": META}, None, "red", ""], "'image': give a file"),
        ([{"path": __file__, "meta": META}, None, "red", ""], "'image': give a file"),
        ([{"path": __file__}, None, "red", ""], "'image': give a file"),  # which Gradio would open
        ([{"path": "x" * 5000, "meta": META}, None, "red", ""], "'image': give a file"),
        ([{"path": "\0", "meta": META}, None, "red", ""], "'image': give a file"),
        ([None, None, {"a": 1}, ""], "'title': give a string"),
        ([None, None, "red", [1, 2, 3]], "'acc': give a string"),
        ([None, "red"], "give 4 inputs (image, sound, title, acc), not 2"),
    ],
)
def test_a_mistake_over_the_interface_is_told(cells, message, address, terminal):
    httpx = pytest.importorskip("httpx")
    call = f"{address}/gradio_api/call/predict"
    asked = httpx.post(call, json={"data": cells}, timeout=60).json()
    kind, data = httpx.get(f"{call}/{asked['event_id']}", timeout=60).text.strip().split("\n")
    assert kind == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"].startswith(message)
    assert "Traceback" not in terminal.read_text()


@pytest.mark.parametrize("asked", [{"fn_index": 99}, {"fn_index": "x"}, {"api_name": "/else"}, {}])
def test_an_unknown_function_is_told(asked, address, terminal):
    httpx = pytest.importorskip("httpx")
    body = {"data": [None, None, "red", ""], "session_hash": "x", **asked}
    answered = httpx.post(f"{address}/gradio_api/queue/join", json=body, timeout=60)
    assert 400 <= answered.status_code < 500, answered.text
    assert "Traceback" not in terminal.read_text()


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
