"""A small simulated laboratory in this process, on a machine whose counter the test moves, over a store that fails when
the test says so.

No thread, no socket, no sleep: an epoch is one call. The page lies in a file, as doors read it, and the world owns the
truth.
"""

import atexit
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from truechimer.cli.lab_arguments import now_label
from truechimer.daemon.early import Early
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.lab_check import check_lab
from truechimer.daemon.lab_start import open_run
from truechimer.daemon.laboratory_process import Laboratory
from truechimer.daemon.page_file import PageReader
from truechimer.daemon.records.journal import Journal
from truechimer.daemon.sources.feeds import Batch
from truechimer.laboratory.line import EpochOutcome
from truechimer.serve.clock_page import ClockPage
from truechimer.serve.ntp import NtpAnswer, make_request, read_reply
from truechimer.serve.served_time import ServedTime, Unsynchronised, serve_at
from truechimer.store.fabric import StoreBusy, StoreFull, StoreIoFailed, StoreReadOnly, StoreRejected
from truechimer.store.sqlite_records import SqliteRecords

NS = 10**9
ROOT = Path(__file__).parents[2]
LAB = """[lab]
name = "faults"
seed = 3
silence_s = 20
[[source]]
name = "world"
kind = "simulated"
scenario = "small.toml"
[evidence]
publish = false
[policy]
insecure_software_keys = true
"""
KINDS: dict[str, Callable[[], StoreRejected]] = {
    "full": lambda: StoreFull("records", "not written (disk is full)"),
    "read-only": lambda: StoreReadOnly("records", "not written (read-only)"),
    "io": lambda: StoreIoFailed("records", "not written (disk I/O error)"),
    "busy": lambda: StoreBusy("records", "not written (locked)"),
}


class FaultyStore:
    """A store that refuses the calls `fails` chooses (counted from 0). `after`: it has written them all the same."""

    def __init__(self, real: SqliteRecords | None = None) -> None:
        self.real = real
        self.fails: Callable[[int], bool] = lambda _: False
        self.error = KINDS["full"]
        self.after = False
        self.calls = 0
        self.held: list[tuple[int, bytes]] = []

    def append(self, records: Iterable[tuple[int, bytes]]) -> None:
        number, self.calls = self.calls, self.calls + 1
        given = list(records)
        fails = self.fails(number)
        if fails and not self.after:
            raise self.error()
        if self.real is not None:
            self.real.append(given)
        known = dict(self.held)
        self.held += [one for one in given if one[0] not in known]
        if fails:
            raise self.error()


@dataclass
class Machine:
    """A host whose raw counter stands until it is moved."""

    raw_ns: int = 5_000 * NS
    clocks: HostClocks = field(init=False)

    def __post_init__(self) -> None:
        self.clocks = HostClocks(raw_ns=lambda: self.raw_ns, realtime_ns=lambda: 1_795_000_000 * NS + self.raw_ns)

    @property
    def monotonic_s(self) -> float:
        return self.raw_ns / NS


def write_lab(folder: Path, *, days: float = 3.0, text: str = LAB) -> None:
    """Write the files of a small simulated laboratory."""
    scenario = (ROOT / "labs" / "scenarios" / "small.toml").read_text(encoding="utf-8")
    (folder / "small.toml").write_text(scenario.replace("days = 30.0", f"days = {days}"), encoding="utf-8")
    (folder / "LAB.toml").write_text(text, encoding="utf-8")


@dataclass
class Run:
    """One run of the laboratory in `folder`."""

    folder: Path
    machine: Machine
    laboratory: Laboratory
    store: FaultyStore
    said: list[str] = field(default_factory=list)

    @staticmethod
    def begin(folder: Path, machine: Machine | None = None, *, early: Early | None = None, **journal: Any) -> "Run":
        """Begin, or go on; with what serves `early` the caller opens doors and page."""
        machine = machine or Machine()
        said: list[str] = []
        checked = check_lab(folder / "LAB.toml", now=now_label())
        assert checked.lab is not None, checked.findings
        started = open_run(checked, machine.clocks, hold=None if early is None else early.hold, progress=said.append)
        store = FaultyStore(started.store)
        started.journal = Journal(store, path=started.store.path, monotonic_s=lambda: machine.monotonic_s, **journal)
        laboratory = Laboratory(started, machine.clocks, early=early or Early())
        run = Run(folder, machine, laboratory, store, said)
        if not started.resumed:
            laboratory.catch_up()
        if early is None:
            laboratory._standing.open(folder / "run" / "clock.page")
        return run

    @staticmethod
    def copied(folder: Path, **journal: Any) -> "Run":
        """Go on, in `folder`, from a laboratory that has steered for some seconds; it was made once a session."""
        template, raw_ns = _template()
        shutil.copytree(template, folder, dirs_exist_ok=True)
        return Run.begin(folder, Machine(raw_ns), **journal).epochs(1)

    def epoch(self, *, after_s: float = 1.0) -> EpochOutcome | None:
        """Let time pass and take one epoch in."""
        self.machine.raw_ns += round(after_s * NS)
        world = self.laboratory.started.world
        assert world is not None
        batch = world.batch(self.machine.raw_ns)
        return self.laboratory.take(Batch(batch.epoch_tai_ns, batch.raw_ns, batch.readings, 0, batch, "world"))

    def epochs(self, count: int) -> "Run":
        for _ in range(count):
            self.epoch()
        return self

    def page(self) -> ClockPage | None:
        """What a door reads."""
        reader = PageReader(self.folder / "run" / "clock.page")
        try:
            found = reader.current()
        finally:
            reader.close()
        return found if isinstance(found, ClockPage) else None

    def served(self, *, after_s: float = 0.0, bound_limit_s: float | None = None) -> ServedTime | Unsynchronised:
        """What a door would answer."""
        page = self.page()
        assert page is not None
        return serve_at(page, self.machine.raw_ns + round(after_s * NS), bound_limit_s=bound_limit_s)

    def error_s(self) -> float:
        """The truth about what a door would answer: its instant minus true time."""
        world, served = self.laboratory.started.world, self.served()
        assert world is not None
        assert served.instant is not None
        return (served.instant.tai_fs - world.true_tai_fs(self.machine.raw_ns)) / 1e15

    def status(self) -> dict[str, Any]:
        return self.laboratory.status_document()

    def close(self) -> None:
        self.laboratory.close()

    def kill(self) -> None:
        """End as a killed process does: its files are closed, and nothing more is written, said or given back."""
        started = self.laboratory.started
        started.store.close()
        started.snapshots.close()
        self.laboratory._standing.close()
        os.close(started.hold._descriptor)


@cache
def _template() -> tuple[Path, int]:
    """A laboratory that was ended in order, and where its machine's counter stands."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_lab(folder)
    run = Run.begin(folder).epochs(5)
    assert run.served().state == "steered"
    run.close()
    return folder, run.machine.raw_ns


def ask_door(port: int) -> NtpAnswer | None:
    """Ask an NTP door once; None where it does not answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(30.0)
        connection.connect(("127.0.0.1", port))
        try:
            connection.send(make_request(7))
            reply = read_reply(connection.recv(1024), 7)
        except (TimeoutError, ConnectionRefusedError):
            return None
    return reply if isinstance(reply, NtpAnswer) else None
