"""The page's pictures and whoever reads them: live, by keys, on paper, in both themes, for any laboratory."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.console.browser import Browser
from tests.console.consoles import Console, a_console
from tests.console.waits import DRAWN, FILLED, FITS, RUNNING
from tests.control.fake_laboratory import FakeLaboratory, a_clock, a_history, a_source

pytestmark = [pytest.mark.needs_chromium, pytest.mark.slow]

# ---- plots -----------------------------------------------------------------------------------------------------------

REMEMBER_WORDS = """(() => {
  window.written = [];
  const write = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (words, ...rest) {
    window.written.push(words);
    return write.call(this, words, ...rest);
  };
})()"""


def test_pictures_say_simulated_themselves_and_those_of_a_real_laboratory_do_not(
    browser: Browser, console: Console, lab: FakeLaboratory
) -> None:
    hook = browser.call("Page.addScriptToEvaluateOnNewDocument", source=REMEMBER_WORDS)["identifier"]
    try:
        browser.go(console.url, 820)
        browser.until(f"{DRAWN} && window.written.filter((each) => each === 'SIMULATED').length >= 3")
        written = set(browser.evaluate("window.written"))
        assert {"SIM(demo)", "10⁻¹⁴", "10³", "12:00"} <= written  # names, decades, hours of the day
        assert any(words.startswith("61099.") for words in written)  # and the MJD beside them
        lab.status |= {"against": "utc", "scale": "UTC(x)"}
        browser.until("document.querySelector('#simulated').hidden")
        browser.evaluate("window.written.length = 0; dispatchEvent(new Event('afterprint'))")  # draws all again
        browser.until("window.written.includes('10³')")
        assert "SIMULATED" not in browser.evaluate("window.written")
    finally:
        browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=hook)
    assert browser.complaints == []


def test_a_history_is_drawn_when_it_comes_and_read_out_by_keys(
    browser: Browser, console: Console, lab: FakeLaboratory
) -> None:
    whole = a_history()
    lab.history = {"as_of": whole["as_of"], "as_of_mjd_tai": whole["as_of_mjd_tai"], "interval_s": 10.0}
    browser.go(console.url, 1280)
    browser.until("+document.body.dataset.histories >= 1 && document.querySelector('#deviation-figure').hidden")
    assert "UTC(k) begins once" in browser.text("#utc-empty")
    lab.history = whole
    browser.until(f"{DRAWN} && !document.querySelector('#deviation-figure').hidden")
    assert browser.evaluate("document.querySelector('#utc-empty').hidden")
    assert "+3.25 ns ± 8.00 ns" in browser.evaluate("document.querySelector('#utc-label').textContent")

    def press(key: str) -> None:
        browser.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key)

    browser.evaluate("document.querySelector('#utc-plot').focus()")
    press("End")
    browser.until("document.querySelector('#utc-readout').textContent.startsWith('2026-03-01 00:00:00 UTC: +3.25 ns')")
    press("ArrowLeft")
    browser.until("document.querySelector('#utc-readout').textContent.startsWith('2026-02-28 23:48:00 UTC')")
    browser.evaluate("document.querySelector('#deviation-plot').focus()")
    press("Home")
    browser.until("document.querySelector('#deviation-readout').textContent.startsWith('τ = 10 min: SIM(demo) 1.2 ×')")
    press("Escape")
    browser.until("document.querySelector('#deviation-readout').textContent.startsWith('3 clocks')")
    rows = browser.evaluate("[...document.querySelectorAll('#deviation-table tbody tr')].map((row) => row.textContent)")
    assert rows[0] == (
        "10 min1.2 × 10⁻¹⁴ (1.1 × 10⁻¹⁴ to 1.3 × 10⁻¹⁴)3.0 × 10⁻¹⁴ (2.7 × 10⁻¹⁴ to 3.4 × 10⁻¹⁴)"
        "6.0 × 10⁻¹⁴ (5.4 × 10⁻¹⁴ to 6.7 × 10⁻¹⁴)9.0 × 10⁻¹⁴ (8.1 × 10⁻¹⁴ to 1.0 × 10⁻¹³)"
    )
    # a window by its radio button: the last hour
    browser.evaluate("document.querySelector('#utc-windows input[value=\"1 h\"]').click()")
    browser.until(
        "document.querySelector('#utc-readout').textContent.startsWith('2026-02-28 23:00 to 2026-03-01 00:00')"
    )
    assert browser.complaints == []


def test_on_paper_the_page_is_light(browser: Browser, console: Console) -> None:
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    try:
        browser.go(console.url, 1280)
        browser.until(f"{DRAWN} && {FILLED}")
        ground = "getComputedStyle(document.documentElement).getPropertyValue('--ground').trim()"
        assert browser.evaluate(ground) == "#14181a"
        browser.evaluate(f"addEventListener('beforeprint', () => {{ window.paper = {ground}; }})")
        pdf = base64.b64decode(browser.call("Page.printToPDF", printBackground=False)["data"])
        assert pdf.startswith(b"%PDF")
        browser.until("window.paper === '#ffffff'")
        browser.until(f"{ground} === '#14181a'")
    finally:
        browser.call("Emulation.setEmulatedMedia", features=[])
    assert browser.complaints == []


# ---- everybody can use it --------------------------------------------------------------------------------------------

CONTRAST = """(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const part = (value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const found = parse(getComputedStyle(each).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const poor = [];
  let count = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest('.unseen, script, noscript')) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground(element))].sort((x, y) => y - x);
    count += 1;
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push([walker.currentNode.data.slice(0, 40), element.className]);
  }
  return { count, poor };
})()"""

STRUCTURE = """(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const words = (id) => document.getElementById(id)?.textContent.trim();
  const named = (element) => element.getAttribute('aria-label') || element.labels?.length
    || element.textContent.trim() || (element.getAttribute('aria-labelledby') ?? '').split(' ').some(words);
  const seen = (selector) => all(selector).filter((each) => each.checkVisibility());
  return {
    headings: seen('h1, h2, h3').map((each) => Number(each.tagName[1])),
    landmarks: ['header', 'main', 'footer'].map((name) => all(`body > ${name}`).length),
    outside: all('body > :not(header, main, footer, noscript)').length,
    headless: seen('table').filter((each) => !each.querySelector('thead th[scope=col]')).length,
    unscoped: all('th:not([scope])').length,
    unnamed: seen('a, input, summary, [tabindex], [role=img], section').filter((each) => !named(each)).length,
    ids: all('[id]').map((each) => each.id),
    lang: document.documentElement.lang,
    jumps: all('[tabindex]').filter((each) => each.tabIndex > 0).length,
  };
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(browser: Browser, console: Console, lab: FakeLaboratory, scheme: str) -> None:
    lab.status["sources"].append(a_source("UTC.p5", "stale", "?"))
    lab.status["alerts"] += [lab.status["alerts"][0] | {"severity": each} for each in ("critical", "notice")]
    lab.status["store"] = {"state": "failing", "since": "2026-03-01T00:00:00Z", "says": "no space", "waiting": 3}
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    try:
        browser.go(console.url, 1280)
        browser.until(f"{RUNNING} && {FILLED} && {DRAWN} && !document.querySelector('#store').hidden")
        browser.evaluate("document.querySelector('details').open = true")
        found = browser.evaluate(CONTRAST)
        assert found["count"] > 150
        assert found["poor"] == []
    finally:
        browser.call("Emulation.setEmulatedMedia", features=[])
    structure = browser.evaluate(STRUCTURE)
    assert structure["headings"][0] == 1
    assert structure["headings"].count(1) == 1
    assert structure["landmarks"] == [1, 1, 1]
    assert structure["lang"] == "en"
    assert {structure[key] for key in ("outside", "unnamed", "headless", "unscoped", "jumps")} == {0}
    assert len(structure["ids"]) == len(set(structure["ids"]))


# ---- whatever a laboratory is ----------------------------------------------------------------------------------------


def many(lab: FakeLaboratory) -> str:
    names = tuple(f"a-clock-with-a-rather-long-name-{i:02d}" for i in range(40))
    lab.status["clocks"] = [
        a_clock(name, 1 / 40, x_clock_minus_scale_s=(-1) ** i * 10.0 ** (-i / 2)) for i, name in enumerate(names)
    ]
    lab.history = a_history(names)
    lab.status["scale"] = "UTC(" + "x" * 60 + ")"
    return "40 of 40 carry the scale"


def alone(lab: FakeLaboratory) -> str:
    """The host alone is the scale: nothing to compare it with, and no source."""
    lab.status["clocks"] = [a_clock("host", 1.0, kind="host", x_clock_minus_scale_s=0.0, rate=0.0)]
    lab.status |= {"sources": [], "alerts": [], "observing": True, "holdover_remaining_s": 7300.0}
    del lab.history["deviations"], lab.history["weights"]
    return "none: the scale is not compared with UTC"


def nothing(lab: FakeLaboratory) -> str:
    for key in ("clocks", "sources", "alerts", "terms", "steering", "utc_minus_scale", "listeners", "leap"):
        del lab.status[key]
    lab.history = {}
    return "UTC(k) begins once"


def extreme(lab: FakeLaboratory) -> str:
    utc = lab.history["utc"]
    n = len(utc["age_s"])
    utc["low_s"] = utc["high_s"] = [(-1) ** k * 10.0 ** (k % 40 - 30) for k in range(n)]
    utc |= {"half_s": [1e9] * n, "bound_s": [None] * n}
    for curve in lab.history["deviations"]["clocks"]:
        curve |= {"value": [10.0 ** (-3 * k) for k in range(8)], "lower": [None] * 8, "upper": [None] * 8}
    lab.history["deviations"]["clocks"][0]["value"][3] = None
    lab.status["clocks"][0] |= {"x_clock_minus_scale_s": 1e12, "rate": 1e300, "weight": 1e-300}
    lab.status["clocks"][1] |= {"x_clock_minus_scale_s": -1e-30, "rate": -1e-300}
    return "−1.00 × 10⁻³⁰ s"


@pytest.mark.parametrize("make", [many, alone, nothing, extreme])
def test_any_laboratory_has_a_page(browser: Browser, tmp_path: Path, make: Callable[[FakeLaboratory], str]) -> None:
    with FakeLaboratory(tmp_path / "lab") as lab:
        words = make(lab)
        with a_console(lab.folder) as console:
            browser.complaints.clear()
            for width in (390, 1280):
                browser.go(console.url, width)
                browser.until("+document.body.dataset.histories >= 1 && +document.body.dataset.events >= 1")
                browser.until(f"document.body.innerText.includes({json.dumps(words)}) && {RUNNING} && {FITS}")
                assert "NaN" not in browser.text("body")
                assert "undefined" not in browser.text("body")
            assert browser.complaints == []
            browser.go("about:blank", 1280)
