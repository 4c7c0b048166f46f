"""The page as Chromium shows it: at 390 and 1280 pixels, live, unsynchronised, silent, and at the end of a month."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.console.browser import Browser
from tests.console.consoles import Console, a_console
from tests.console.waits import DRAWN, FILLED, RUNNING
from tests.control.fake_laboratory import FakeLaboratory, a_clock, a_history
from tests.waits import until

from truechimer.instants import Instant, UtcLabel, builtin_leap_table, from_utc

pytestmark = [pytest.mark.needs_chromium, pytest.mark.slow]

STILL = "document.querySelector('#clock')?.dataset.running === 'no'"


@pytest.fixture(scope="module")
def modules(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console whose page's modules are called directly; its laboratory does not matter."""
    with a_console(tmp_path_factory.mktemp("modules")) as running:
        yield running


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_the_page_shows_everything_without_a_complaint_and_without_scrolling_sideways(
    browser: Browser, console: Console, width: int, tmp_path: Path
) -> None:
    browser.go(console.url, width)
    browser.until(f"{RUNNING} && {FILLED} && {DRAWN}")
    page = browser.text("body")
    for words in (
        "SIMULATED", "demo", "SIM(demo)", "simulated UTC", "This display\n±", "steered",
        "Steered on UTC by a majority of sources.", "± 31.3 ns", "maser1", "0.310", "phase step", "UTC.p3",
        "x\tUTC.p3", "outvoted", "Do next: look at its counter",
        "NTP doors as their own clients find them", "127.0.0.1:11123", "−840 ns\t23.0 µs\tas the page",
        "2026-02-28 00:00 to 2026-03-01", "3 clocks; τ from 10 min", "caesium2 stepped by +20.1 ns", "single signer",
    ):  # fmt: skip
        assert words in page
    assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.complaints == []
    assert all(url.startswith(console.url) for url in browser.requested)
    assert ("maser1.example" in page) is False
    assert ("UTC.p1.example" in page) is (width > 640)
    browser.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000


@pytest.mark.parametrize("width", [390, 1280])
def test_a_door_whose_answers_are_off_its_page_stands_out(
    browser: Browser, console: Console, lab: FakeLaboratory, width: int, tmp_path: Path
) -> None:
    first = lab.status["listeners"][0]
    lab.status["listeners"] = [
        first,
        first | {"port": 11223, "self_probe": first["self_probe"] | {"error_s": 4.2e-3, "is_off": True}},
        first | {"port": 11323, "self_probe": {"asks": False, "because": "its rules leave this machine out"}},
        first | {"port": 11423, "self_probe": {"asks": True, "questions": 7, "unanswered": 7}},
    ]
    browser.go(console.url, width)
    browser.until(f"{FILLED} && document.querySelectorAll('#doors tbody tr').length === 4")
    table = browser.text("#doors-section")
    for words in ("1 of 4 OFF", "+4.20 ms", "OFF the page it serves", "leave this machine out", "7 of 7 questions"):
        assert words in table
    assert browser.evaluate("document.querySelectorAll('#doors tr.out').length") == 1
    assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    # and no word of what stands in pairs is broken into letters
    assert browser.evaluate(
        "Math.min(...[...document.querySelectorAll('.pairs dd')].map((one) => one.clientWidth)) > 100"
    )
    assert browser.complaints == []
    browser.picture(tmp_path / "page.png")


def test_the_clock_runs_within_its_own_bound_of_the_laboratorys_time(
    browser: Browser, console: Console, lab: FakeLaboratory
) -> None:
    """The fake laboratory's time is this host's wall clock, and so is Date here: they may be compared in a test."""
    browser.go(console.url, 1280)
    browser.until(RUNNING)
    program = """(async () => {
      const { ask, shownAt, withSample } = await import('/static/clock.js');
      const found = [];
      let samples = [];
      for (let i = 0; i < 10; i += 1) {
        const { sample } = await ask();
        samples = withSample(samples, sample, performance.now());
        await new Promise((resolve) => setTimeout(resolve, 37));
        const shown = shownAt(samples, performance.now());
        const date = Date.now();
        const [h, m, s] = shown.time.split(':').map(Number);
        const day = Date.parse(`${shown.date}T00:00:00Z`);
        const ms = day + 1000 * (h * 3600 + m * 60 + s) + 10 * Number(shown.hundredths);
        found.push([ms - date, 1000 * shown.boundS]);
      }
      return found;
    })()"""
    for shown_minus_date_ms, bound_ms in browser.evaluate(program):
        # Cut off to hundredths (0 to 10 ms early), Date to whole milliseconds.
        assert -11.0 - bound_ms <= shown_minus_date_ms <= 1.0 + bound_ms
        assert 0.2 < bound_ms < 200.0


def test_an_unsynchronised_laboratory_has_no_clock_and_says_what_is_missing(
    browser: Browser, console: Console, lab: FakeLaboratory
) -> None:
    browser.go(console.url, 390)
    browser.until(f"{RUNNING} && {FILLED}")
    lab.unsynchronise()
    browser.until(f"{STILL} && document.querySelector('#state').textContent === 'freerun'")
    page = browser.text("body")
    assert "--:--:--" in page
    assert "no reading names host" in page
    assert "none: not synchronised" in page
    assert browser.complaints == []


def test_a_silent_laboratory_stops_the_clock_and_is_named_with_its_last_time(
    browser: Browser, console: Console, lab: FakeLaboratory
) -> None:
    browser.go(console.url, 1280)
    browser.until(f"{RUNNING} && {FILLED}")
    lab.socket.close()
    browser.until(f"{STILL} && document.body.dataset.laboratory === 'silent'")
    assert "Laboratory silent since 20" in browser.text("#silent")
    assert "SIMULATED" in browser.text("#simulated")
    assert "--:--:--" in browser.text("#clock")
    assert browser.complaints == []
    with FakeLaboratory(lab.folder):
        browser.until(f"{RUNNING} && document.body.dataset.laboratory === 'answering'")
    assert browser.text("#silent") == ""


def test_a_dead_console_stops_the_clock_too(browser: Browser, console: Console) -> None:
    browser.go(console.url, 1280)
    browser.until(f"{RUNNING} && {FILLED}")
    console.process.kill()
    browser.until(STILL)
    browser.until("document.body.dataset.laboratory === 'silent'")
    assert "Console silent since 20" in browser.text("#silent")


def test_a_real_laboratory_has_no_simulated_banner(browser: Browser, console: Console, lab: FakeLaboratory) -> None:
    lab.status |= {"against": "utc", "scale": "UTC(x)"}
    browser.go(console.url, 1280)
    browser.until(f"{RUNNING} && {FILLED} && document.querySelector('#scale').textContent === 'scale UTC(x)'")
    assert browser.evaluate("document.querySelector('#simulated').hidden")
    browser.until("!document.querySelector('#date').textContent.includes('simulated')")
    assert "SIMULATED" not in browser.evaluate("document.title")


def test_what_a_laboratory_says_is_never_markup(browser: Browser, console: Console, lab: FakeLaboratory) -> None:
    attack = "<img src=x onerror=document.title='taken'><script>document.title='taken'</script>"
    clocks = [a_clock(f"{attack}{i}", reason=attack) for i in range(3)]
    lab.status |= {"lab": attack, "state_sentence": attack, "scale": attack, "clocks": clocks}
    lab.status["alerts"][0] |= {"says": attack, "severity": attack, "do_next": attack, "subject": attack}
    lab.status["sources"][0] |= {"name": attack, "mark": attack, "operator": attack, "says": attack}
    lab.status["listeners"][0] |= {"address": attack, "port": attack}
    lab.status["listeners"][0]["self_probe"] |= {"asks": False, "because": attack}
    del lab.status["listeners"][0]["self_probe"]["error_s"]
    lab.status["store"] = {"state": attack, "since": attack, "says": attack, "waiting": attack}
    lab.history = a_history(tuple(clock["name"] for clock in clocks)) | {"as_of": "2026-03-01T00:00:00.000Z" + attack}
    browser.go(console.url, 390)
    browser.until(f"{RUNNING} && document.querySelector('#clocks').textContent.includes('<img src=x')")
    assert browser.evaluate("document.title") != "taken"
    assert browser.evaluate("document.images.length") == 0
    assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.complaints == []


CARRIED = [
    ("2026-03-01T23:59:59.9Z", 0.2, "2026-03-02 00:00:00.10"),
    ("2028-02-28T23:59:59.0Z", 1.0, "2028-02-29 00:00:00.00"),
    ("2026-12-30T23:59:59.5Z", 0.75, "2026-12-31 00:00:00.25"),
    ("2026-12-31T23:59:57.0Z", 1.0, "2026-12-31 23:59:58.00"),
    ("2026-12-31T23:59:57.0Z", 2.5, None),  # the second 59 may be taken away
    ("2026-12-31T23:59:59.5Z", 0.4, "2026-12-31 23:59:59.90"),  # it was not: the laboratory said so
    ("2026-12-31T23:59:59.5Z", 0.6, None),  # a second 60 may follow
    ("2026-12-31T23:59:60.2Z", 0.5, "2026-12-31 23:59:60.70"),
    ("2026-12-31T23:59:60.2Z", 0.9, None),
    ("2026-04-30T23:59:59.5Z", 0.6, None),
    ("2027-01-01T00:00:00.0Z", 4.0, "2027-01-01 00:00:04.00"),
    ("2027-01-01T00:00:00Z", 59.999, "2027-01-01 00:00:59.99"),  # cut off, never rounded up
    ("2027-01-01 00:00:00", 0.0, None),
]
"""A label, the seconds since, and what may be shown."""


def test_no_sample_is_carried_across_a_second_that_may_not_be(browser: Browser, modules: Console) -> None:
    browser.go(f"{modules.url}healthz", 1280)
    program = f"""import('/static/clock.js').then(({{ parseUtc, carry, words }}) =>
      {json.dumps([each[:2] for each in CARRIED])}.map(([text, elapsed]) => {{
        const label = parseUtc(text);
        const carried = label && carry(label, elapsed);
        const said = carried && words(carried);
        return said && `${{said.date}} ${{said.time}}.${{said.hundredths}}`;
      }}))"""
    found = browser.evaluate(program)
    assert [(*each[:2], shown) for each, shown in zip(CARRIED, found, strict=True)] == CARRIED


def test_a_leap_second_of_the_laboratory_is_shown_as_second_60(
    browser: Browser, console: Console, lab: FakeLaboratory
) -> None:
    leap = from_utc(UtcLabel.parse("2016-12-31T23:59:60.02Z"), builtin_leap_table())
    lab.instant = Instant(leap.tai_fs)

    def is_shown() -> bool:
        browser.go(console.url, 1280)
        with suppress(AssertionError):
            browser.until("document.querySelector('#clock').innerText.startsWith('23:59:60')", patience_s=4.0)
            return True
        return False

    # A sample is carried on by its age, up to the end of the second 60 and not beyond: one too old shows nothing.
    until(is_shown)
    browser.until(STILL)


WRITTEN = [
    ("bound(3e-9)", "3.00 ns"), ("bound(3.124e-8)", "31.3 ns"), ("bound(9.9999e-4)", "1.00 ms"),
    ("bound(0)", "0 s"),
    ("bound(undefined)", "–"), ("seconds(-3.1e-4, { signed: true })", "−310 µs"), ("rate(-1.1e-13)", "−1.10e-13"),
    ("weight(0)", "0.000"), ("weight(1e-5)", "<0.001"),
    ("age(100)", "100 s"), ("age(7300)", "2 h"), ("bound(1234.5)", "1235 s"),
]  # fmt: skip


def test_figures_are_written_as_the_verbs_write_them(browser: Browser, modules: Console) -> None:
    browser.go(f"{modules.url}healthz", 1280)
    asked = ", ".join(expression for expression, _ in WRITTEN)
    program = f"import('/static/words.js').then(({{ bound, seconds, rate, age, weight }}) => [{asked}])"
    assert browser.evaluate(program) == [shown for _, shown in WRITTEN]


# ---- the clock of the display ----------------------------------------------------------------------------------------

TWO_SAMPLES = """import('/static/clock.js').then(({ sampleOf, withSample, shownAt }) => {
  const reply = (second, bound) => {
    return { running: true, utc: `2026-03-01T12:00:${second}Z`, elapsed_s: 0, bound_s: bound, against: 'utc' };
  };
  const seen = [];
  // [request ms, response ms, second, bound]: the truth is second 10 at 1000 ms
  for (const exchanges of %s) {
    let samples = [];
    for (const [from, to, second, bound] of exchanges) {
      samples = withSample(samples, sampleOf(reply(second, bound), from, to), to);
    }
    const shown = shownAt(samples, exchanges.at(-1)[1]);
    seen.push(shown && [shown.time, shown.of, shown.boundS]);
  }
  return seen;
})"""


def test_of_several_exchanges_what_they_share_is_shown_and_a_contradicted_one_is_let_go(
    browser: Browser, modules: Console
) -> None:
    browser.go(f"{modules.url}healthz", 1280)
    slow, quick = [900, 1100, 10, 0.01], [2000, 2004, 11, 0.001]
    wrong = [1500, 1502, 14, 0.001]
    late = [40_000, 40_004, 49, 0.001]
    exchanges = [[slow], [slow, quick], [quick, [2900, 3100, 12, 0.01]], [wrong, quick], [slow, late]]
    one, two, kept, let_go, old = browser.evaluate(TWO_SAMPLES % json.dumps(exchanges))
    assert one[1:] == [1, pytest.approx(0.01 + 0.1 + 0.0002 + 5e-5, abs=1e-6)]
    assert two[:2] == ["12:00:11", 2]
    assert two[2] == pytest.approx(0.001 + 0.002 + 0.0002 + 1e-6, abs=1e-6)  # the quick one lies inside the slow one
    assert kept[2] == pytest.approx(0.0032 + 5e-4 * 1.098, abs=1e-4)  # the quick one, grown by its age
    assert let_go[:2] == ["12:00:11", 1]
    assert old[1] == 1
