"""Reports in a browser."""

import shutil
from pathlib import Path

import pytest

from altuna.report import write_report
from altuna.report.gallery import kinds_of
from altuna.report.runs import read_runs

CHROMIUM = shutil.which("chromium")
ARTEFACTS = Path(__file__).parents[2] / "artefacts"  # screenshots, kept by CI
in_chromium = pytest.mark.skipif(not CHROMIUM, reason="needs chromium (apt-get install chromium)")


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


LOOKS = {"light": ("light", 1200), "dark": ("dark", 1200), "phone": ("light", 390)}


@pytest.fixture
def opened(browser):
    """Opens a page; what goes wrong in it is found in ``errors``, what it asks for in ``asked``."""
    contexts = []

    def open_page(path, look="light"):
        scheme, width = LOOKS[look]
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.errors, page.asked = [], []
        page.on("console", lambda message: page.errors.append(message.text))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("dialog", lambda dialog: page.errors.append(dialog.message))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(path.absolute().as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


TEXTS = """() => {
  const outside = [], crossing = [];
  for (const svg of document.querySelectorAll('figure svg')) {
    const edge = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
    for (const [i, [said, box]] of texts.entries()) {
      if (box.left < edge.left - 1 || box.right > edge.right + 1 || box.bottom > edge.bottom + 2)
        outside.push(said);
      for (const [other, its] of texts.slice(i + 1)) {
        const wide = Math.min(box.right, its.right) - Math.max(box.left, its.left);
        const high = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
        if (wide > 1 && high > 5) crossing.push([said, other]);
      }
    }
  }
  return [outside, crossing];
}"""


@in_chromium
@pytest.mark.parametrize(
    "names", [("mixed",), ("modalities",), ("classes",), ("alone",), ("mixed", "alone")], ids="-".join
)
def test_pages_in_chromium(names, request, opened, tmp_path):
    path = write_report([request.getfixturevalue(name) for name in names], tmp_path / "report.html")
    assert path.stat().st_size < 3_000_000
    assert "NaN" not in path.read_text()
    for look in LOOKS if names == ("mixed",) else ("light", "phone"):
        page = opened(path, look)
        drawn = page.evaluate(
            """[...document.querySelectorAll('figure svg')].map(svg => [svg.clientWidth, svg.clientHeight,
            ...[...svg.querySelectorAll('circle,polygon,polyline')].map(e => e.getBBox().width)])"""
        )
        assert len(drawn) >= (7 if names == ("alone",) else 8)  # one modality has nothing beside it
        assert all(width > 100 and height > 40 and max(shapes) > 0 for width, height, *shapes in drawn)
        # No text is cut off by the edge of its figure, and none lies on another: some pixels are bearings.
        page.wait_for_function("document.fonts.status == 'loaded'")
        outside, crossing = page.evaluate(TEXTS)
        assert outside == []
        assert crossing == []
        links = "[...document.querySelectorAll('nav a')]"
        assert page.evaluate(f"{links}.every(a => document.querySelector(a.hash))")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("document.querySelectorAll('body script').length") == 1
        page.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth && i.alt)")
        ARTEFACTS.mkdir(exist_ok=True)
        page.screenshot(path=ARTEFACTS / f"report-{'-'.join(names)}-{look}.png", full_page=True)
        assert page.errors == []
        assert "hacked" not in page.title()
        assert [url for url in page.asked if not url.startswith("data:")] == [path.absolute().as_uri()]


@in_chromium
def test_filters(mixed, opened):
    page = opened(mixed / "report.html")
    visible = ".sample:not([hidden])"
    everything = page.locator(visible).count()
    (run,) = read_runs([mixed])
    seen = set()
    for kind, rows in kinds_of(run).items():
        button = page.locator(f".filters button[data-kind={kind}]")
        button.focus()
        page.keyboard.press("Enter")
        shown = [
            card.split() for card in page.eval_on_selector_all(visible, "c => c.map(e => e.dataset.kinds)")
        ]
        assert len(shown) == min(rows.sum(), everything)
        assert all(kind in kinds for kinds in shown)
        assert page.locator(".filters [aria-pressed=true]").get_attribute("data-kind") == kind
        assert page.locator("#count").inner_text() == f"{len(shown)} samples shown"
        seen.add(len(shown))
    assert len(seen | {everything}) > 2  # or the filters would prove nothing
    page.locator(".filters button[data-kind=all]").click()
    assert page.locator(visible).count() == everything
    assert page.errors == []


@in_chromium
def test_sounds_play_and_printing_opens_details(mixed, opened):
    page = opened(mixed / "report.html")
    seconds = page.evaluate(
        "new Promise((done, fail) => { const a = document.querySelector('audio'); a.onerror = fail;"
        " a.onloadedmetadata = () => done(a.duration); a.preload = 'metadata'; a.load(); })"
    )
    assert 0.2 < seconds < 0.6
    closed = "document.querySelectorAll('details:not([open])').length"
    assert page.evaluate(closed) > 0
    page.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = {closed} }})")
    page.pdf(path=ARTEFACTS / "report-mixed.pdf", print_background=True)
    assert page.evaluate("window.printed") == 0
    assert page.evaluate(closed) > 0
    page.emulate_media(media="print")
    page.screenshot(path=ARTEFACTS / "report-mixed-print.png", full_page=True)
    assert not page.locator(".filters").is_visible()
