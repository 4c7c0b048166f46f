"""What `scale replay` tells at its end is what was done to the clocks: table, events, document, pictures, progress."""

import html.parser
import io
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from truechimer.cli import progress as progress_line
from truechimer.cli import scale_words
from truechimer.cli.progress import Progress
from truechimer.formats import readings_csv
from truechimer.scale import replay
from truechimer.scale.episodes import Episode, What

from .records import HEADER, START_NS, clocks_true_s, rows, run, truth_lines, written

NAMES = [f"c{i}" for i in range(6)]
WHITE = [1e-12] * 6
STEP_S, RATE = 5e-9, 3e-13
STEP_AT, RATE_AT, SILENT = 400, 700, (500, 560)


def faulty_true_s() -> np.ndarray:
    """Forty days of six equal clocks: c1 steps, c2 changes its rate."""
    x = clocks_true_s(40.0, WHITE, seed=5)
    x[STEP_AT:, 1] += STEP_S
    x[RATE_AT:, 2] += RATE * 3600.0 * np.arange(1, len(x) - RATE_AT + 1)
    return x


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    x = faulty_true_s()
    lines = [
        line
        for line in rows(x, NAMES)
        if not (",c3," in line and SILENT[0] <= (int(line.split(",")[0]) - START_NS) // (3600 * 10**9) < SILENT[1])
    ]
    folder = tmp_path_factory.mktemp("faulty")
    written(folder / "truth.csv", truth_lines(x, NAMES), "epoch_tai_ns,clock,x_clock_minus_utc_s")
    return written(folder / "readings.csv", lines)


def test_the_events_are_what_was_done_to_the_clocks_when_and_by_how_much(
    faulty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run(capsys, faulty, "--json").document
    events = {(each["what"], each.get("clock")): each for each in told["events"]}
    assert set(events) >= {("stepped", "c1"), ("changed-rate", "c2"), ("silent", "c3")}
    stepped = events["stepped", "c1"]
    assert stepped["from_tai_ns"] == START_NS + STEP_AT * 3600 * 10**9
    assert abs(stepped["size_s"] - STEP_S) < 4.0 * stepped["u_size_s"]
    assert 0.0 < stepped["u_size_s"] < 0.1 * STEP_S
    assert stepped["until_tai_ns"] > stepped["from_tai_ns"]
    changed = events["changed-rate", "c2"]
    assert abs(changed["size_y"] - RATE) < 0.3 * RATE
    assert 0 <= changed["from_tai_ns"] - (START_NS + RATE_AT * 3600 * 10**9) < 12 * 3600 * 10**9
    silent = events["silent", "c3"]
    assert [silent[key] for key in ("from_tai_ns", "until_tai_ns")] == [START_NS + k * 3600 * 10**9 for k in SILENT]
    suspended = {clock["name"]: clock["suspensions"] for clock in told["clocks"]}
    assert [name for name, count in suspended.items() if count] == ["c1", "c2"]


def test_the_table_says_the_same_within_a_hundred_columns(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, faulty, "--truth", faulty.with_name("truth.csv")).out.splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.split()[0] in NAMES for line in lines if line) == len(NAMES)
    events = lines[next(k for k, line in enumerate(lines) if line.startswith("events")) + 1 :]
    words = {line.split()[3]: " ".join(line.split()[4:]) for line in events}
    assert words["c1"].startswith("stepped +")
    assert "ns" in words["c1"]
    assert words["c2"].startswith("rate moved +")
    assert words["c3"].startswith("not read; read again after 2.5 d")


def test_the_scale_estimated_from_within_is_the_scale_against_the_truth(
    faulty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run(capsys, faulty, "--truth", faulty.with_name("truth.csv"), "--json").document["scale"]
    own, truth = told["adev_estimated"], told["adev_against_truth"]
    at = dict(zip(truth["tau_s"], truth["value"], strict=True))
    compared = [(value, at[tau]) for tau, value in zip(own["tau_s"], own["value"], strict=True) if tau <= 60_000.0]
    assert len(compared) >= 4
    assert all(abs(np.log(one / other)) < np.log(1.3) for one, other in compared)
    best = dict(zip(told["best_fixed_weighting"]["tau_s"], told["best_fixed_weighting"]["value"], strict=True))
    assert best[3600.0] == pytest.approx(1e-12 / 60.0 / np.sqrt(6), rel=0.15)


class Texts(html.parser.HTMLParser):
    """The texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)


@pytest.mark.parametrize("ending", ["svg", "html"])
def test_the_pictures_show_stability_weights_and_residuals(
    ending: str, faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / f"picture.{ending}"
    assert run(capsys, faulty, "--plot", picture, "--truth", faulty.with_name("truth.csv")).status == 0
    text = picture.read_text(encoding="utf-8")
    if ending == "svg":
        ET.fromstring(text)
    page = Texts()
    page.feed(text)
    found = " | ".join(page.found)
    for words in (
        "How stable",
        "Weights at one epoch",
        "Weights at the longest",
        "against the scale",
        "against the truth",
    ):
        assert words in found
    assert "nan" not in text.lower().replace("nanosecond", "")
    assert all(name in page.found for name in NAMES)


@pytest.mark.parametrize("n", [40, 100])
def test_with_many_clocks_table_and_pictures_stay_readable(
    n: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"clock-number-{i:03d}" for i in range(n)]
    source = written(tmp_path / "readings.csv", rows(clocks_true_s(3.0, [1e-12] * n), names))
    picture = tmp_path / "picture.html"
    ran = run(capsys, source, "--plot", picture)
    assert ran.status == 0
    assert max(map(len, ran.out.splitlines())) <= 100
    page = Texts()
    page.feed(picture.read_text(encoding="utf-8"))
    named = [text for text in page.found if text.startswith("clock-number-")]
    assert 0 < len(named) <= 7 * 4
    assert any("others" in text for text in page.found)


def test_two_clocks_claim_no_stability_of_their_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = written(tmp_path / "readings.csv", rows(clocks_true_s(3.0, [1e-12, 1e-12]), ["a", "b"]))
    ran = run(capsys, source)
    assert "estimated" not in ran.out
    assert "fewer than three clocks teach no noise" in ran.out


@pytest.mark.parametrize(
    ("value", "u", "words"),
    [
        (1.978e-8, 7.2e-10, "+19.78 ± 0.72 ns"),
        (-1e-7, 4e-10, "-100.00 ± 0.40 ns"),
        (3e-12, float("nan"), "+3.00 ps"),
        (2e-5, 1e-6, "+20.0 ± 1.0 us"),
        (0.0, float("nan"), "+0 ps"),
        (float("nan"), float("nan"), "by an unknown amount"),
    ],
)
def test_sizes_take_the_unit_that_fits(value: float, u: float, words: str) -> None:
    assert scale_words.seconds(value, u) == words


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_long_run_shows_how_far_it_is_on_a_terminal_only_and_wipes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress_line.time, "monotonic", lambda: now[0])
    screen, pipe = Screen(), io.StringIO()
    for stream in (screen, pipe):
        now[0] = 100.0
        with pytest.raises(KeyboardInterrupt), Progress("replaying", stream) as line:
            line.show(1, 10)
            now[0] = 104.0
            line.show(5, 10)
            raise KeyboardInterrupt
    shown = screen.getvalue()
    assert pipe.getvalue() == ""
    assert " 50 %, 4 s left" in shown
    assert " 10 %" not in shown
    assert shown.endswith("\r")
    assert shown.rsplit("\r", 2)[1].strip() == ""


@pytest.mark.slow
def test_an_interrupt_leaves_no_part_of_a_result(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(12)]
    source = written(tmp_path / "readings.csv", rows(clocks_true_s(400.0, [1e-12] * 12), names))
    out = tmp_path / "scale.csv"
    out.write_text("what was here before\n", encoding="utf-8")
    # the conftest lets programs hear an interrupt also where the tests run in the background
    words = [sys.executable, "-m", "truechimer", "scale", "replay", str(source), "--out", str(out)]
    ran = subprocess.Popen(words, stderr=subprocess.PIPE)
    with ran:
        while ran.poll() is None and not list(tmp_path.glob(".scale.csv.*.part")):
            pass
        ran.send_signal(signal.SIGINT)
        _, said = ran.communicate(timeout=120)
    assert ran.returncode == 130, said
    assert b"Traceback" not in said
    assert out.read_text(encoding="utf-8") == "what was here before\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["readings.csv", "scale.csv"]


def test_a_header_is_wanted_of_the_truth_too(faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for lines, head, words in (
        ([], HEADER, "no header"),
        (["1,c0,1.0"], "epoch_mjd,clock,x_clock_minus_utc_s", "no row of it"),
    ):
        ran = run(capsys, faulty, "--truth", written(tmp_path / "truth.csv", lines, head))
        assert (ran.status, ran.out) == (2, "")
        assert words in ran.err


def test_events_of_any_kind_fit_the_table(faulty: Path) -> None:
    series = replay(readings_csv.read(faulty.read_bytes())[0])
    for what in What:
        of_a_clock = what not in {What.ENSEMBLE_DIVIDED, What.NOTHING_READ}
        for until, leads_on in ((None, False), (100, False), (100, of_a_clock)):
            told = Episode(
                what=what, clock=0, first=3, until=until, size_s=-1.2345e-7, size_y=-3.21e-13, u_size=3e-10,
                within_s=3.12 * 86_400.0, suspended=of_a_clock, leads_on=leads_on,
            )  # fmt: skip
            words = scale_words.says(series, told)
            for line in (words, scale_words.first_of(words, 9_999)):
                assert len(f"60311.38426 2024-01-02 09:12:43 {'':<14} {line}") <= 100, line
