"""The demo as a server: its page in a browser, and its interface."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from demo_data import LONG, META, NASTY

from altuna import demo
from altuna.errors import UserError

ARTEFACTS = Path(__file__).parents[2] / "artefacts"
CHROMIUM = shutil.which("chromium")


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
