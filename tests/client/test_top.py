"""top on a pseudo-terminal: it shows, redraws, resizes, survives a silence, and gives the terminal back however it
ends; and its screen as a pure function of a document and a size.
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.control.fake_laboratory import STATUS, FakeLaboratory, a_clock, a_source, host_label, time_keys
from tests.waits import PATIENCE_S

from truechimer.cli.__main__ import main
from truechimer.cli.screen_words import Style, drawn, folded, width_of
from truechimer.cli.terminal import ENTER, LEAVE
from truechimer.cli.top_screen import Seen, frame
from truechimer.cli.top_verb import RATE_OVER_S, Rates

SOURCE = Path(__file__).parents[2] / "src"


def a_status(**changes: Any) -> dict[str, Any]:
    return STATUS | time_keys(host_label()) | changes


def text_of(seen: Seen, width: int = 80, height: int = 24) -> str:
    return "\n".join(drawn(line, colour=False) for line in frame(seen, width, height))


# ---- the screen ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60), (40, 10), (132, 43)])
def test_every_line_fits_and_what_matters_is_there(width: int, height: int) -> None:
    seen = Seen(a_status())
    lines = frame(seen, width, height)
    assert len(lines) == height
    assert all(sum(width_of(piece.text) for piece in line) <= width for line in lines)
    text = text_of(seen, width, height)
    assert "SIMULATED" in text
    assert "+/- 31.3 ns" in text
    assert "steered" in text


def test_a_usual_screen_has_room_for_everything() -> None:
    text = text_of(Seen(a_status(), rates_per_s={"ntp 127.0.0.1 11123": 12.25}), 80, 30)
    for words in (
        "maser1", "phase step", "#* UTC.p1", "^x UTC.p3", "12.2 /s", "42 requests", "caesium2 stepped by +20.1 ns",
        "bound within 1.00 ms for 2.1 d,", "majority",
    ):  # fmt: skip
        assert words in text


def test_the_heaviest_clock_has_the_longest_bar_and_an_excluded_one_none() -> None:
    lines = text_of(Seen(a_status()), 80, 40).splitlines()
    bars = {line.split()[0]: line.count("█") for line in lines if line.startswith(("maser", "caesium"))}
    assert bars["maser2"] == 16 > bars["maser1"] > bars["caesium1"] > bars["caesium2"] == 0


def test_where_there_is_little_room_it_says_how_much_is_missing() -> None:
    status = a_status(clocks=[a_clock(f"c{i}") for i in range(400)], sources=[a_source(f"s{i}") for i in range(400)])
    text = text_of(Seen(status), 80, 24)
    assert len(re.findall(r"and 39\d more", text)) == 2
    assert "caesium2 stepped" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"store": {"state": "failing", "says": "No space left on device", "waiting": 7}}, "NOT WRITTEN: No sp"),
        ({"notify": {"webhook": {"host": "h.example", "says": "refused"}}}, "webhook h.example: refused"),
        ({"notify": {"webhook": {"host": "h.example", "dropped": 3}}}, "3 alerts dropped"),
        ({"chrony": [{"name": "local", "says": "it does not answer"}]}, "local: it does not answer"),
        ({"host_clock": {"x_host_clock_minus_utc_s": 0.4, "bound_s": 1e-3, "is_off": True}}, "+400 ms +/- 1.00 ms: O"),
        ({"observing": True}, "OBSERVING: steers nothing"),
        ({"against": "utc"}, "one sigma"),
        ({"selection": {"state": "no-majority"}}, "no-majority"),
        ({"firing": {"conditions": [{"alert": "clock-step", "subjects": ["H2"]}]}}, "holding now: clock-step H2"),
    ],
)  # fmt: skip
def test_it_shows_what_is_wrong_beside_the_time(changes: dict[str, Any], words: str) -> None:
    assert words in text_of(Seen(a_status(**changes)), 100, 30)
    assert words not in text_of(Seen(a_status()), 100, 30) or "against" in changes
    assert ("SIMULATED" in text_of(Seen(a_status(**changes)))) is ("against" not in changes)


def test_an_unsynchronised_laboratory_shows_no_time() -> None:
    status = STATUS | {
        "synchronised": False,
        "state": "freerun",
        "why": "freerun",
        "missing": ["no reading names host"],
    }
    text = text_of(Seen(status))
    assert "UNSYNCHRONISED" in text
    assert "no reading names host" in text


def test_a_silent_laboratory_is_said_to_be_silent_since_its_last_word() -> None:
    status = a_status(utc="2026-03-01T10:20:30.123456789012Z")
    text = text_of(Seen(status, 12.0, "nobody listens"), 100)
    assert "SILENT for 12s, since 2026-03-01T10:20:30Z: nobody listens" in text
    assert "SILENT: no such socket" in text_of(Seen(None, 0.0, "no such socket"))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*STATUS, "name", "says"]), inner),
    max_leaves=12,
)


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from([*STATUS, "store", "notify", "firing", "utc"]), JUNK), st.integers(0, 140))
def test_no_document_breaks_the_screen_or_reaches_the_terminal(changes: dict[str, Any], width: int) -> None:
    lines = frame(Seen(a_status(**changes), 1.0, "\x1b[2J"), width, 24)
    text = "\n".join(drawn(line, colour=False) for line in lines)
    assert all(sum(width_of(piece.text) for piece in line) <= width for line in lines)
    assert all(letter.isprintable() or letter == "\n" for letter in text)


def test_names_of_any_alphabet_keep_the_columns() -> None:
    status = a_status(clocks=[a_clock("時計時計時計"), a_clock("e\u0301e\u0301"), a_clock("maser")])
    lines = [line for line in frame(Seen(status), 80, 40) if any("+" in p.text or "ns" in p.text for p in line)]
    rows = ["".join(p.text for p in line) for line in lines if any(p.style is Style.GOOD for p in line)]
    ends = {width_of(row[: row.index("0.200")]) for row in rows if "0.200" in row}
    assert len(ends) == 1


def test_folded_text_loses_nothing_but_what_has_no_room() -> None:
    assert folded("one two three", 7, most=5) == ["one two", "three"]
    assert folded("one two three four", 9, most=2) == ["one two", "three ..."]


# ---- rates -----------------------------------------------------------------------------------------------------------


def counted(received: int) -> dict[str, Any]:
    return {"listeners": [{"protocol": "ntp", "address": "a", "port": 1, "counters": {"received": received}}]}


def test_a_rate_is_what_the_counter_grew_by_and_a_new_process_begins_anew() -> None:
    rates = Rates()
    assert rates.take(counted(100), 10.0) == {}
    assert rates.take(counted(150), 11.0) == {"ntp a 1": 50.0}
    assert rates.take(counted(150), 11.0) == {"ntp a 1": 50.0}
    for second in range(1, 30):
        found = rates.take(counted(150 + 10 * second), 11.0 + second)
    assert found == {"ntp a 1": 10.0}
    assert len(rates.points["ntp a 1"]) <= RATE_OVER_S + 2
    assert rates.take(counted(3), 50.0) == {}


# ---- on a terminal ---------------------------------------------------------------------------------------------------


class Shown:
    """A verb on a pseudo-terminal."""

    def __init__(self, words: list[str], *, size: tuple[int, int] = (80, 24), **environment: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(*size)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        inherited = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        environment = inherited | {"PYTHONPATH": str(SOURCE), "TERM": "xterm", "PYTHONUTF8": "1"} | environment
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "truechimer", *words],
            stdin=slave, stdout=slave, stderr=slave, env=environment, process_group=0,
        )  # fmt: skip
        self.text = ""

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, found: Callable[[str], object]) -> str:
        """Read until something is on the screen; what was read before is forgotten."""
        end, text = time.monotonic() + PATIENCE_S, ""
        while not found(text):
            left_s = end - time.monotonic()
            assert left_s > 0, f"not shown within {PATIENCE_S} s: {text[-3000:]!r}"
            if select.select([self.master], [], [], min(left_s, 0.2))[0]:
                text += os.read(self.master, 65_536).decode("utf-8", "replace")
        self.text = text
        return text

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> int:
        """Wait for its end; return its status."""
        patience = time.monotonic() + 60.0
        while self.process.poll() is None:
            assert time.monotonic() < patience, f"it does not end; it showed {self.text[-300:]!r}"
            if select.select([self.master], [], [], 0.05)[0]:
                self.text += os.read(self.master, 65_536).decode("utf-8", "replace")
        while select.select([self.master], [], [], 0.0)[0]:
            self.text += os.read(self.master, 65_536).decode("utf-8", "replace")
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def is_as_before(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before and self.text.rstrip().endswith(LEAVE)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLaboratory]:
    with FakeLaboratory(tmp_path / "lab") as running:
        monkeypatch.setenv("TRUECHIMER_LAB", str(running.folder))
        yield running


@pytest.fixture
def show() -> Iterator[Callable[..., Shown]]:
    open_now: list[Shown] = []

    def one(*words: str, **options: Any) -> Shown:
        open_now.append(Shown(list(words), **options))
        return open_now[-1]

    yield one
    for shown in open_now:
        shown.close()


def test_it_redraws_resizes_and_q_gives_the_terminal_back(lab: FakeLaboratory, show: Callable[..., Shown]) -> None:
    top = show("top")
    first = top.until(lambda text: "caesium2 stepped" in text)
    assert ENTER in first
    assert "\x1b[32m" in first
    assert "SIMULATED" in first
    top.until(lambda text: len(set(re.findall(r"(\d+) records", text))) > 1)
    top.resize(132, 40)
    wide = top.until(lambda text: "\x1b[40;1H" in text)
    assert "\x1b[2J" in wide
    top.press(b"xq")
    assert top.end() == 0
    assert top.is_as_before()


@pytest.mark.parametrize(
    ("ends", "status"),
    [(b"\x03", 130), (signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGHUP, 128 + signal.SIGHUP)],
)
def test_however_it_ends_the_terminal_is_as_before(
    ends: bytes | signal.Signals, status: int, lab: FakeLaboratory, show: Callable[..., Shown]
) -> None:
    top = show("top", NO_COLOR="1")
    assert not re.search(r"\x1b\[[1-9][0-9;]*m", top.until(lambda text: "caesium2 stepped" in text))
    if isinstance(ends, signal.Signals):
        top.process.send_signal(ends)
    else:
        # the terminal is of no session here, so its own signal is sent as the kernel would
        top.process.send_signal(signal.SIGINT)
    assert top.end() == status
    assert top.is_as_before()
    assert "Traceback" not in top.text


def test_paused_it_gives_the_terminal_back_and_takes_it_again(lab: FakeLaboratory, show: Callable[..., Shown]) -> None:
    top = show("top")
    top.until(lambda text: "caesium2 stepped" in text)
    top.process.send_signal(signal.SIGTSTP)
    top.until(lambda text: LEAVE in text)
    os.waitid(os.P_PID, top.process.pid, os.WSTOPPED | os.WNOWAIT)  # continued before it stops, it would stop for good
    assert termios.tcgetattr(top.slave) == top.before
    top.process.send_signal(signal.SIGCONT)
    top.until(lambda text: ENTER in text and "caesium2 stepped" in text)
    top.press(b"q")
    assert top.end() == 0
    assert top.is_as_before()


@pytest.mark.slow
def test_it_survives_the_restart_of_the_laboratory(tmp_path: Path, show: Callable[..., Shown]) -> None:
    folder = tmp_path / "lab"
    with FakeLaboratory(folder):
        top = show("top", "--lab", str(folder))
        top.until(lambda text: "caesium2 stepped" in text)
    silent = top.until(lambda text: "SILENT for" in text)
    assert re.search(r"SILENT for \d+s, since 20\d\d-", silent)
    with FakeLaboratory(folder):
        top.until(lambda text: "+/- 31.3 ns" in text and "SILENT" not in text.rsplit("\x1b[1;1H", 1)[-1])
        top.press(b"q")
        assert top.end() == 0


def test_a_dumb_terminal_gets_text_alone(lab: FakeLaboratory, show: Callable[..., Shown]) -> None:
    top = show("top", "--count", "1", TERM="dumb")
    assert top.end() == 0
    assert "caesium2 stepped" in top.text
    assert "\x1b" not in top.text


def test_without_a_terminal_it_is_one_line_and_status_2(
    lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "--once" in err


def test_once_is_a_whole_screen_as_text(lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]) -> None:
    lab.status["sources"] = [a_source(f"UTC.p{i}") for i in range(60)]
    assert main(["top", "--once"]) == 0
    out = capsys.readouterr().out
    assert "UTC.p59" in out
    assert "\x1b" not in out


@pytest.mark.slow
def test_json_is_a_document_a_second_and_says_where_there_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    running = FakeLaboratory(folder)
    running.socket.start()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "truechimer", "top", "--json", "--lab", str(folder), "--count", "3"],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    running.socket.close()
    rest = [json.loads(line) for line in process.stdout]
    process.stdout.close()
    assert process.wait() == 0
    assert first["state"] == "steered"
    assert len(rest) == 2
    assert rest[-1]["silent"] is True
    assert rest[-1]["last_utc"] >= first["utc"]
    assert rest[-1]["silent_s"] > 0.5


@pytest.mark.slow
def test_sources_watched_on_a_terminal_are_drawn_over_each_other(
    lab: FakeLaboratory, show: Callable[..., Shown]
) -> None:
    watched = show("sources", "-w", "-v")
    watched.until(lambda text: text.count("\x1b[H") >= 2 and text.count("^x") >= 2)
    watched.process.send_signal(signal.SIGINT)
    assert watched.end() == 130


@pytest.mark.parametrize("words", [["top", "--count", "0"], ["top", "--count", "x"], ["sources", "-c", "--json"]])
def test_wrong_words_are_status_2(words: list[str], lab: FakeLaboratory) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
