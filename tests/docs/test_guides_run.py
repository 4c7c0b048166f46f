"""The two guides from start to end: every command block runs, in order, in a fresh folder, and says what is shown.

A block of `sh` is run as it stands. `<!-- window: NAME -->` above it: it goes on in a window of its own, until
`<!-- Ctrl-C: NAME -->`. A block of `text` shows lines that the last command (the window, where it follows one) must
have said, in their order; numbers, units and white space count as alike, and `...` ends a line that goes on.

What is not the reader's: `STAND_INS` of each guide, words of the guide with what stands here in their place, and small
programs in a folder that is looked in first (`sudo`, `systemctl`, `ppstest`). Everything is on loopback.
"""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.daemon_chrony.chronyds import CHRONYD, a_chronyd
from tests.daemon_laboratory.laboratories import end_doors
from tests.ports import free_port

from .test_documents import DOCS, ROOT

LABORATORY, DATA_CENTRE = DOCS / "guide" / "laboratory.md", DOCS / "guide" / "data-centre.md"
PATIENCE_S = 120.0
NS = 10**9
TAI_MINUS_UTC_S = 37

MAY_BE_ASKED_AGAIN = re.compile(
    r"(\./truechimer (status|sources|diag|ask|wait|check)|curl|chronyc|tail|sleep|promtool|/usr)\b"
)
"""What a reader repeats until it shows what the guide shows: it changes nothing."""


@dataclass(frozen=True)
class Step:
    """A block of a guide, or the end of a window; `line` counts from 1."""

    what: str
    text: str
    window: str
    line: int


def steps(guide: str) -> list[Step]:
    """Return the blocks of a guide in their order."""
    found: list[Step] = []
    window, fence, begun, held = "", "", 0, list[str]()
    for number, line in enumerate(guide.split("\n"), 1):
        comment = re.fullmatch(r"<!-- (window|Ctrl-C|said-by): (\S+) -->", line)
        if fence:
            if line == "```":
                found.append(Step(fence, "\n".join(held), window, begun))
                fence, window, held = "", "", []
            else:
                held.append(line)
        elif comment and comment[1] == "Ctrl-C":
            found.append(Step("Ctrl-C", "", comment[2], number))
        elif comment:
            window = comment[2]
        elif line.startswith("```"):
            fence, begun = line[3:], number
    assert not fence, f"the block of line {begun} has no end"
    return found


def shape(line: str) -> str:
    """Return a line without its numbers, units and widths; which of the selected sources is the first is alike, too."""
    line = re.sub(r"^([#^])\+", r"\1*", line)
    line = re.sub(r"[-+]?\d[\d.:TZ-]*(?:e[-+]?\d+)?(?: ?(?:as|fs|ps|ns|us|ms|s|min|h|days|d)\b)?", "#", line)
    return re.sub(r"\s+", " ", line).strip()


def missing(shown: str, said: str) -> list[str]:
    """Return the lines of the guide that were not said, or not in this order."""
    lines = iter([shape(line) for line in said.split("\n")])

    def is_there(line: str) -> bool:
        wanted = shape(line)
        begins = wanted.removesuffix("...")
        return any(line.startswith(begins) if begins != wanted else line == wanted for line in lines)

    return [line for line in shown.split("\n") if line.strip() and not is_there(line)]


@dataclass
class Reader:
    """Somebody who follows a guide word by word, in a folder of their own."""

    folder: Path
    stand_ins: dict[str, str]
    windows: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    last: str = ""

    def __post_init__(self) -> None:
        """Make the checkout."""
        (self.folder / "labs").symlink_to(ROOT / "labs")
        (self.folder / "run-time").mkdir(mode=0o700)
        (self.folder / "bin").mkdir()
        # what the guides install is there already
        self.program(self.folder / "bin" / "sudo", 'if [ "$1" = apt-get ]; then exit 0; fi; exec "$@"')

    @staticmethod
    def program(path: Path, text: str) -> None:
        """Write a small program."""
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)

    def words(self, text: str) -> list[str]:
        """Return what runs for a block."""
        for guide, here in self.stand_ins.items():
            text = text.replace(guide, here)
        return ["bash", "-eu", "-o", "pipefail", "-c", text]

    @property
    def environment(self) -> dict[str, str]:
        """Return the surroundings of a command."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRUECHIMER", "XDG"))}
        return {
            **kept,
            "PATH": f"{self.folder / 'bin'}:{kept['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
            "XDG_RUNTIME_DIR": str(self.folder / "run-time"),
            "TRUECHIMER_NO_WORKERS": "1",
        }

    def run(self, step: Step) -> tuple[int, str]:
        """Run a block to its end; return its status and all it said, the guide's words put back."""
        done = subprocess.run(
            self.words(step.text),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return done.returncode, self.as_in_the_guide(done.stdout)

    def as_in_the_guide(self, said: str) -> str:
        """Put the words of the guide back in the place of what stands here for them."""
        for guide, here in self.stand_ins.items():
            said = said.replace(here, guide)
        return said

    def open(self, step: Step) -> None:
        """Begin what goes on in a window of its own."""
        out = (self.folder / f"{step.window}.out").open("ab")
        self.starts[step.window] = out.tell()
        self.windows[step.window] = subprocess.Popen(
            self.words(step.text),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        out.close()

    def said_by(self, window: str) -> str:
        """Return what stands in a window since it was last opened."""
        data = (self.folder / f"{window}.out").read_bytes()[self.starts[window] :]
        return self.as_in_the_guide(data.decode())

    def end(self, window: str, number: int = signal.SIGINT) -> int:
        """Press Ctrl-C in a window: all that runs in it hears it."""
        process = self.windows.pop(window)
        if process.poll() is None:
            os.killpg(process.pid, number)
        return process.wait(120)

    def follow(self, guide: Path) -> None:
        """Follow a guide from its first block to its last."""
        before: Step | None = None
        for step in steps(guide.read_text(encoding="utf-8")):
            place = f"{guide.name}:{step.line}"
            if step.what == "Ctrl-C":
                status = self.end(step.window)
                assert status == 0, f"{place}: {step.window} ended with {status}:\n{self.said_by(step.window)}"
            elif step.what == "sh" and step.window:
                self.open(step)
            elif step.what == "sh":
                status, self.last = self.run(step)
                assert status == 0, f"{place}: status {status}\n{step.text}\n{self.last}\n{self.everything()}"
            else:
                assert before is not None, place
                self.expect(step, before, place)
            before = step if step.what == "sh" else before

    def expect(self, shown: Step, before: Step, place: str) -> None:
        """Wait until what was shown is what is said."""
        window, end = shown.window or before.window, time.monotonic() + PATIENCE_S
        again = all(
            MAY_BE_ASKED_AGAIN.match(line) for line in before.text.split("\n") if not line.startswith((" ", "#"))
        )
        while True:
            said = self.said_by(window) if window else self.last
            lacking = missing(shown.text, said)
            if not lacking:
                return
            status = self.windows[window].poll() if window in self.windows else None
            waits = (window or again) and time.monotonic() < end and status is None
            ended = "" if status is None else f" (it ended with {status})"
            assert waits, f"{place}: not said{ended}: {lacking}\n{said}\n{self.everything()}"
            time.sleep(0.5)
            if not window:
                _, self.last = self.run(before)

    def everything(self) -> str:
        """Return what stands in all windows."""
        return "\n".join(f"--- {window}\n{self.said_by(window)}" for window in self.windows)

    def leave(self) -> None:
        """End what is still open, each window by its own process group."""
        for window in list(self.windows):
            self.end(window, signal.SIGTERM)
        for path in self.folder.glob("*/LAB.toml"):
            end_doors(path.parent)


@contextmanager
def a_reader(folder: Path, stand_ins: dict[str, str]) -> Iterator[Reader]:
    """Let somebody read in a folder, with free ports in the place of ours."""
    base = free_port(4)
    ports = {"127.0.0.1:11123": f"127.0.0.1:{base}", "127.0.0.1 port 11123": f"127.0.0.1 port {base}"}
    ports |= {"127.0.0.1:11126": f"127.0.0.1:{base + 3}", "127.0.0.1 port 11126": f"127.0.0.1 port {base + 3}"}
    reader = Reader(folder, stand_ins | ports)
    # `init` writes doors on their default ports; another laboratory of this machine may have those
    port_of = f"-e '/^protocol = \"ntp\"/ a port = {base}' -e '/^protocol = \"console\"/ a port = {base + 3}'"
    run = f'{sys.executable} -P -m truechimer "$@"'
    Reader.program(
        folder / "truechimer",
        f'case "$*" in\n"init "*--from*) {run} && exec sed -i {port_of} "$2/LAB.toml" ;;\nesac\nexec {run}',
    )
    try:
        yield reader
    finally:
        reader.leave()


# ---- what every guide must bear --------------------------------------------------------------------------------------


@pytest.mark.parametrize("guide", [LABORATORY, DATA_CENTRE], ids=lambda guide: guide.stem)
def test_every_block_of_a_guide_is_run_or_shown(guide: Path) -> None:
    found = steps(guide.read_text(encoding="utf-8"))
    assert {step.what for step in found} == {"sh", "text", "Ctrl-C"}
    assert sum(step.what == "sh" for step in found) >= 12
    assert sum(step.what == "text" for step in found) >= 6
    assert "\n    " not in re.sub(r"(?s)```.*?```", "", guide.read_text(encoding="utf-8")), (
        "an indented block is not run"
    )
    opened = [step.window for step in found if step.what == "sh" and step.window]
    assert {step.window for step in found if step.window} == set(opened)


def test_every_page_of_the_guide_is_listed() -> None:
    index = (DOCS / "guide" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (DOCS / "guide").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


@pytest.mark.parametrize(
    ("shown", "said", "lacks"),
    [
        ("bound 70.3 us here", "x\nbound   1.2 ns here\n", 0),
        ("2026-11-22T08:09:53.303Z  +/- 69.2 us  steered", "2031-01-02T03:04:05.6Z +/- 1.57 us steered", 0),
        ("2026-11-22T08:09:53.303Z  +/- 69.2 us  steered", "2031-01-02T03:04:05.6Z +/- 1.57 us freerun", 1),
        ("y -3e-09 s", "y +1.5e-12 s", 0),
        ("a\nb", "b\na", 1),
        ("a ...\nc", "a b\nc", 0),
        ("a ...", "b a", 1),
        ("a 1\na 2", "a 7", 1),
        ("sources: 3 of 4 selected", "sources: none selected", 1),
    ],
)
def test_only_numbers_and_widths_are_alike(shown: str, said: str, lacks: int) -> None:
    assert len(missing(shown, said)) == lacks


# ---- a laboratory ----------------------------------------------------------------------------------------------------


class Clocks(threading.Thread):
    """Two masers and a caesium with three counters and a PPS input: this host's system clock is their UTC.

    It writes a line a second into each named pipe that somebody reads, as the devices do, and beforehand the records of
    the last days. Seconds, fractional frequency, and white frequency noise at 1 s of each clock.
    """

    BACKLOG_S, BACKLOG_EVERY_S = 3 * 86_400, 300
    COUNTERS: tuple[tuple[str, str, str], ...] = (
        ("ttyUSB0", "H2", "H1"),
        ("ttyUSB1", "Cs1", "H1"),
        ("ttyUSB2", "UTC", "H1"),
    )

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._folder, self._ended, self._seed = folder, threading.Event(), random.Random(4)
        self._x_s = {"UTC": 0.0, "H1": 3e-7, "H2": -5e-7, "Cs1": 1e-6}
        self._y = {"UTC": 0.0, "H1": 2e-14, "H2": -3e-14, "Cs1": 1e-13}
        self._noise = {"UTC": 0.0, "H1": 1e-13, "H2": 1e-13, "Cs1": 5e-12}
        for name in ("ttyUSB0", "ttyUSB1", "ttyUSB2", "pps"):
            os.mkfifo(folder / name)

    def _pass(self, time_s: float) -> None:
        for name in self._x_s:
            self._x_s[name] += self._y[name] * time_s + self._seed.gauss(0.0, self._noise[name] * time_s**0.5)

    def _measured(self, a: str, b: str) -> float:
        return self._x_s[a] - self._x_s[b] + self._seed.gauss(0.0, 1e-9 if "UTC" in (a, b) else 2e-11)

    def write_old_records(self) -> None:
        """Write what the laboratory has kept of the last days, until a moment ago."""
        files = {"old-clocks.csv": ["H2,H1", "Cs1,H1"], "old-gnss.csv": ["UTC.gnss,H1"]}
        rows: dict[str, list[str]] = {name: ["epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s"] for name in files}
        now_s = int(time.time()) + TAI_MINUS_UTC_S
        for epoch_s in range(now_s - self.BACKLOG_S, now_s - 2, self.BACKLOG_EVERY_S):
            self._pass(self.BACKLOG_EVERY_S)
            for name, pairs in files.items():
                for pair in pairs:
                    a, b = pair.replace(".gnss", "").split(",")
                    u_s = "2e-9" if a == "UTC" else "3e-11"
                    rows[name].append(f"{epoch_s}000000000,{pair},{self._measured(a, b):.13f},{u_s}")
        for name, lines in rows.items():
            (self._folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def run(self) -> None:
        """Tick."""
        pipes: dict[str, int] = {}
        sequence = 0
        while not self._ended.wait(1.05 - time.time() % 1.0):
            self._pass(1.0)
            sequence += 1
            lines = {name: f"{self._measured(a, b):.13f} TI(A->B)" for name, a, b in self.COUNTERS}
            stamp_ns = int(time.time()) * NS + round((-self._x_s["H1"] + self._seed.gauss(0.0, 2e-7)) * NS)
            lines["pps"] = (
                f"source 0 - assert {stamp_ns // NS}.{stamp_ns % NS:09d}, sequence: {sequence} "
                "- clear  0.000000000, sequence: 0"
            )
            for name, line in lines.items():
                with contextlib.suppress(OSError):  # nobody reads this one (yet)
                    if name not in pipes:
                        pipes[name] = os.open(self._folder / name, os.O_WRONLY | os.O_NONBLOCK)
                    os.write(pipes[name], f"{line}\n".encode())
        for pipe in pipes.values():
            os.close(pipe)

    def stop(self) -> None:
        """End it."""
        self._ended.set()
        self.join(5)


@pytest.mark.slow
def test_the_guide_to_a_laboratory_leads_from_a_counter_to_a_served_second(tmp_path: Path) -> None:
    stand_ins = {f"/dev/{name}": f"{tmp_path}/{name}" for name, _, _ in Clocks.COUNTERS}
    clocks = Clocks(tmp_path)
    with a_reader(tmp_path, stand_ins) as reader:
        Reader.program(tmp_path / "bin" / "ppstest", f'[ "$1" = /dev/pps0 ] && exec cat {tmp_path}/pps')
        clocks.write_old_records()
        clocks.start()
        try:
            reader.follow(LABORATORY)
        finally:
            clocks.stop()
    assert (tmp_path / "my-lab" / "evidence" / "records.sqlite3").is_file()


# ---- a data centre ---------------------------------------------------------------------------------------------------

SERVERS = {"192.0.2.1": "127.0.2.1", "192.0.2.2": "127.0.2.2", "198.51.100.1": "127.0.2.3", "203.0.113.1": "127.0.2.4"}


def chrony_of_a_data_centre(folder: Path, port: int) -> None:
    """Write the files of the machine's chronyd, and what restarts it (with -x: it never sets this machine's clock)."""
    lines = [f"server {here} port {port} iburst minpoll -1 maxpoll 0" for here in SERVERS.values()]
    lines += ["makestep 1 3"]
    (folder / "chrony.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "run-chrony").mkdir(mode=0o700)
    own = f'"port 0" "cmdport 0" "pidfile {folder}/run-chrony/pid" "bindcmdaddress {folder}/run-chrony/chronyd.sock"'
    Reader.program(
        folder / "bin" / "systemctl",
        f'[ "$*" = "restart chrony" ] || exit 1\nif [ -e {folder}/run-chrony/pid ]; then\n'
        f"    kill $(cat {folder}/run-chrony/pid)\n    while [ -e {folder}/run-chrony/pid ]; do sleep 0.1; done\nfi\n"
        f'{CHRONYD} -x -u root "include {folder}/chrony.conf" {own} >/dev/null 2>&1',
    )
    Reader.program(folder / "bin" / "chronyc", f'exec /usr/bin/chronyc -h {folder}/run-chrony/chronyd.sock "$@"')


@pytest.mark.slow
@pytest.mark.needs_chrony
@pytest.mark.needs_promtool
def test_the_guide_to_a_data_centre_leads_beside_chronyd_into_service_and_back(tmp_path: Path) -> None:
    with ExitStack() as ends:
        reader = ends.enter_context(a_reader(tmp_path, {}))
        port = free_port(2)
        for name in SERVERS.values():
            ends.enter_context(a_chronyd(tmp_path / name, port, address=name))
        chrony_of_a_data_centre(tmp_path, port)
        reader.stand_ins |= {f"{guide}:123": f"{here}:{port}" for guide, here in SERVERS.items()}
        reader.stand_ins |= SERVERS
        reader.stand_ins |= {
            "--from chrony": f"--from chrony {tmp_path}/chrony.conf",
            "/etc/chrony/chrony.conf": f"{tmp_path}/chrony.conf",
            "/run/chrony/": f"{tmp_path}/run-chrony/",
            "8099": str(port + 1),
        }
        try:
            reader.follow(DATA_CENTRE)
            _, said = reader.run(Step("sh", "chronyc -n sources", "", 0))
            assert "TRUE" not in said
            assert not (tmp_path / "beside").exists()
        finally:
            pid = tmp_path / "run-chrony" / "pid"
            if pid.exists():
                os.kill(int(pid.read_text()), signal.SIGTERM)
