"""The laboratory process: feeds into the fold, records onto the disk, the page before the doors; the only place that joins them at run time.

It decides nothing about time: `laboratory.line` does. Order of one epoch: step the fold, commit its records (group commit), then write the clock page.
Doors are processes of their own and outlive this one.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any


from truechimer.alerts import Alert
from truechimer.clocks.register import UnknownLinkRejected, is_reference
from truechimer.compare.reading import Reading
from truechimer.daemon import notify, status
from truechimer.daemon.control_socket import ControlSocket
from truechimer.daemon.counters import CountersRejected, read_counters
from truechimer.daemon.feeds import Batch, Feed, NtpFeed, ReadingsFeed, SimulatedFeed
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab_file import Listener, Protocol, SourceKind
from truechimer.daemon.lab_start import Started
from truechimer.daemon.page_file import PageWriter
from truechimer.errors import Rejected
from truechimer.evidence.record import Record
from truechimer.formats.finding import Finding
from truechimer.formats.readings_csv import ReadingRow
from truechimer.instants import FS_PER_NS
from truechimer.laboratory import line, replay
from truechimer.laboratory.epoch_input import EpochInput, epoch_input
from truechimer.laboratory.line import EpochOutcome
from truechimer.serve.clock_page import ClockPage, PageUnreadable, ServiceState

NS_PER_S = 10**9
FRESH_EPOCHS = 10
BATCH_EPOCHS = 200
"""Epochs of a backlog or history whose records share one commit."""

ALERTS_KEPT = 50
FAULTS_KEPT = 100
READY_WITHIN_S = 10.0


class KnownNames(frozenset[str]):
    """The register's names, and every name that claims UTC."""

    def __contains__(self, name: object) -> bool:
        """Return True for a clock of the register, the host, or a reference."""
        return super().__contains__(name) or (isinstance(name, str) and is_reference(name))


class DoorRejected(Rejected):
    """A door did not open."""


@dataclass(slots=True)
class Door:
    """A listener in its own process."""

    listener: Listener
    process: "subprocess.Popen[str]"
    port: int
    counters: Path | None


@dataclass(slots=True)
class Laboratory:
    """A running laboratory. `observer` is called after each epoch (the demo looks on through it; it cannot change anything)."""

    started: Started
    clocks: HostClocks
    observer: Callable[[Batch, EpochOutcome], None] | None = None
    on_records: Callable[[tuple[Record, ...]], None] | None = None
    feeds: list[Feed] = field(default_factory=list)
    doors: list[Door] = field(default_factory=list)
    outcome: EpochOutcome | None = None
    page: ClockPage | None = None
    epochs: int = 0
    rejected: int = 0
    alerts: deque[Alert] = field(default_factory=lambda: deque(maxlen=ALERTS_KEPT))
    faults: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=FAULTS_KEPT))
    ending: threading.Event = field(default_factory=threading.Event)
    _queue: "queue.Queue[Batch]" = field(default_factory=queue.Queue)
    _writer: PageWriter | None = None
    _control: ControlSocket | None = None
    _pending: list[tuple[int, bytes]] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _fault_lock: threading.Lock = field(default_factory=threading.Lock)

    # ---- one epoch ----------------------------------------------------------------------------------------------

    def take(self, batch: Batch, *, live: bool = True) -> EpochOutcome | None:
        """Feed one batch into the fold; records are committed and the page written before this returns (`live`), else they wait for `commit`."""
        started = self.started
        state = started.state
        epoch_ns = batch.epoch_tai_ns
        if epoch_ns <= state.epoch_ns:
            clock_readings = [r for r in batch.readings if not (is_reference(r.a) or is_reference(r.b))]
            if clock_readings:
                # the fold has passed this epoch: refused, counted, said
                self.on_fault(
                    "readings",
                    Finding(
                        "late-epoch", f"epoch {epoch_ns} (TAI ns) came after a later one was taken in; it is left out"
                    ),
                )
                return None
            epoch_ns = state.epoch_ns + 1
        pairs = [(reading.a, reading.b) for reading in batch.readings]
        try:
            state, grown = replay.grow_register(
                state, pairs, {r.a if is_reference(r.a) else r.b: r.operator for r in batch.readings if r.operator}
            )
        except UnknownLinkRejected as error:
            self.on_fault("readings", Finding("unknown-clock", str(error)))
            return None
        if grown is not None:
            self._keep((grown,))
        given = epoch_input(
            batch.readings,
            state.register,
            epoch_tai_ns=epoch_ns,
            raw_ns=batch.raw_ns,
            stratum=max(batch.stratum, 0) + 1,
        )
        return self._step(state, given, batch, live=live)

    def _step(self, state: Any, given: EpochInput, batch: Batch, *, live: bool) -> EpochOutcome:
        """Step the fold, then records, then page."""
        started = self.started
        started.state, outcome = line.step(state, given, started.config)
        self.outcome = outcome
        self.epochs += 1
        self._keep(outcome.records)
        if live:
            self.commit()
            if outcome.page is not None:
                self._publish(outcome.page)
        for alert in outcome.alerts:
            self.alerts.append(alert)
            if live:
                notify.say(alert)
        if self.observer is not None:
            self.observer(batch, outcome)
        return outcome

    def idle(self) -> None:
        """Step the fold without a reading: a silence is a state too, and the bound must grow in the open."""
        raw_ns = self.clocks.raw_ns()
        epoch_ns = self.started.label.at(raw_ns)
        if epoch_ns > self.started.state.epoch_ns:
            self.take(Batch(epoch_ns, raw_ns, ()), live=True)

    def commit(self) -> None:
        """Put all records that wait onto the disk in one transaction."""
        if self._pending:
            self.started.store.append(self._pending)
            self._pending = []

    def _keep(self, records: tuple[Record, ...]) -> None:
        """Queue records for the next commit."""
        self._pending.extend((record.seq, record.data) for record in records)
        if self.on_records is not None:
            self.on_records(records)

    def _publish(self, page: ClockPage) -> None:
        """Write the page: from this moment valid for `silence_s`, and no longer than the newest epoch may be old."""
        raw_ns = self.clocks.raw_ns()
        until = raw_ns + round(self.started.config.silence_s * NS_PER_S)
        oldest = self._max_age_s()
        if oldest is not None:
            until = min(until, page.anchor_raw_ns + round(oldest * NS_PER_S))
        self.page = replace(page, valid_until_raw_ns=until, written_raw_ns=raw_ns, laboratory_pid=os.getpid())
        if self._writer is not None:
            self._writer.publish(self.page)

    def _max_age_s(self) -> float | None:
        """Return how old the newest epoch may be where readings come from files, else None."""
        ages = [
            source.max_age_s if source.max_age_s is not None else FRESH_EPOCHS * self.started.lab.scale.interval_s
            for source in self.started.lab.sources
            if source.kind in (SourceKind.READINGS, SourceKind.LINK)
        ]
        return min(ages) if ages else None

    def on_fault(self, name: str, finding: Finding) -> None:
        """Count and keep a refused row; rows come from several threads."""
        with self._fault_lock:
            self.rejected += 1
            body = {"file": name, "line": finding.line, "rule": finding.rule, "says": finding.says}
            self.faults.append({key: value for key, value in body.items() if value is not None})

    # ---- start and end ------------------------------------------------------------------------------------------

    def catch_up(self, progress: Callable[[int, int], None] = lambda _done, _all: None) -> None:
        """Take in what lies in the past: a simulated history, or the backlog of the readings files, in order of epoch."""
        started = self.started
        if started.world is not None and not started.resumed:
            run = started.world.scenario.run
            total = round(run.days * 86_400.0 / run.interval_s) + 1
            for number, batch in enumerate(started.world.history()):
                self.take(Batch(batch.epoch_tai_ns, None, batch.readings, 0, batch), live=False)
                if number % BATCH_EPOCHS == 0:
                    self.commit()
                    progress(number, total)
                if self.ending.is_set():
                    break
            self.commit()
            progress(total, total)
        backlog = [batch for feed in self.feeds if isinstance(feed, ReadingsFeed) for batch in feed.backlog()]
        backlog.sort(key=lambda batch: batch.epoch_tai_ns)
        for number, batch in enumerate(_joined(backlog)):
            self.take(batch, live=False)
            if number % BATCH_EPOCHS == 0:
                self.commit()
                progress(number, len(backlog))
        self.commit()
        if backlog and self.outcome is not None and self.outcome.page is not None:
            self._publish(self.outcome.page)

    def make_feeds(self) -> None:
        """Make a feed for each source; none runs yet."""
        started = self.started
        for source in started.lab.sources:
            if source.kind is SourceKind.SIMULATED and started.world is not None:
                self.feeds.append(SimulatedFeed(source, started.world, HostClocks(), self._queue))
            elif source.kind is SourceKind.NTP:
                self.feeds.append(NtpFeed(source, started.label, started.config.leaps, self._queue))
            elif source.kind in (SourceKind.READINGS, SourceKind.LINK) and source.path is not None:
                names = KnownNames(clock.name for clock in started.state.register.clocks)
                max_age_s = (
                    source.max_age_s if source.max_age_s is not None else FRESH_EPOCHS * started.lab.scale.interval_s
                )
                self.feeds.append(
                    ReadingsFeed(
                        source, started.folder / source.path, self._queue, known_clocks=names, to_label=self._host_to_label,
                        raw_of=lambda epoch_ns, age=max_age_s: self._raw_if_fresh(epoch_ns, age), on_fault=self.on_fault, after_ns=started.state.epoch_ns,
                    )
                )  # fmt: skip

    def _host_to_label(self, row: ReadingRow) -> float:
        """Return what turns a row against this machine's system clock into one against the host's label (s); 0 for other rows."""
        if "host" not in (row.a, row.b):
            return 0.0
        pair = self.clocks.take_pair()
        wall_tai_ns = pair.realtime_ns + self._tai_minus_utc_ns()
        ahead_s = (self.started.label.at(pair.raw_ns) - wall_tai_ns) / 1e9
        return ahead_s if row.a == "host" else -ahead_s

    def _tai_minus_utc_ns(self) -> int:
        """Return TAI minus UTC at the last epoch, ns."""
        from truechimer.instants import Instant

        at = Instant(max(self.started.state.epoch_ns, self.started.label.tai_ns) * FS_PER_NS)
        return self.started.config.leaps.tai_minus_utc_at(at) * NS_PER_S

    def _raw_if_fresh(self, epoch_ns: int, max_age_s: float) -> int | None:
        """Return the raw value of an epoch that is young enough to serve from, else None."""
        raw_ns = self.clocks.raw_ns()
        age_s = (self.started.label.at(raw_ns) - epoch_ns) / 1e9
        return self.started.label.raw_of(epoch_ns) if -1.0 <= age_s <= max_age_s else None

    def open_doors(self, *, allow_simulated: bool = False) -> None:
        """Open page, control socket and one process a listener; raises `DoorRejected` and closes what it opened."""
        run = self.started.folder / "run"
        run.mkdir(parents=True, exist_ok=True, mode=0o700)
        _end_orphans(run)
        self._writer = PageWriter(run / "clock.page", boot_id=self.clocks.boot_id())
        if self.page is not None:
            self._publish(self.page)
        self._control = ControlSocket(run, self.answer)
        self._control.start()
        for listener in self.started.lab.listeners:
            self.doors.append(self._open(listener, run, allow_simulated=allow_simulated))

    def _open(self, listener: Listener, run: Path, *, allow_simulated: bool) -> Door:
        """Start one door and wait until it says that it is open."""
        port = listener.port_number
        name = f"{listener.protocol.value}-{port}"
        common = ["--address", listener.address, "--port", str(port), "--parent-pid", str(os.getpid())]
        counters: Path | None = None
        if listener.protocol is Protocol.NTP:
            counters = run / f"{name}.counters"
            command = [
                "-m",
                "truechimer.daemon.serve_process",
                "--page",
                str(run / "clock.page"),
                "--counters",
                str(counters),
            ]
            command += ["--bound-limit-s", repr(listener.bound_limit_s), "--pidfile", str(run / f"{name}.pid"), *common]
            command += ["--insecure-serve-simulated-time"] if allow_simulated else []
        else:
            command = ["-m", "truechimer.console.server", "--lab", str(self.started.folder), *common]
        process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=_environment(),
        )
        ready = _first_line(process)
        if ready is None:
            process.kill()
            process.wait()
            raise DoorRejected(
                f"the {listener.protocol.value} door on {listener.address} port {port} did not open; what it said stands above"
            )
        return Door(listener, process, int(ready.get("port", port)), counters)

    def run(self, *, for_s: float | None = None) -> None:
        """Follow the feeds until `for_s` seconds have passed or somebody asks to end."""
        for feed in self.feeds:
            feed.start()
        deadline = None if for_s is None else time.monotonic() + for_s
        heartbeat_s = max(1.0, min(self.started.lab.scale.interval_s, self.started.config.silence_s / 4.0))
        beats = self._max_age_s() is None
        last = time.monotonic()
        while not self.ending.is_set():
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                break
            wait_s = min(0.2, deadline - now) if deadline is not None else 0.2
            try:
                batch = self._queue.get(timeout=max(wait_s, 0.001))
            except queue.Empty:
                if beats and time.monotonic() - last >= heartbeat_s:
                    self.idle()
                    last = time.monotonic()
                continue
            self.take(batch)
            last = time.monotonic()
        self.commit()

    def close(self) -> None:
        """End feeds, doors, control socket and page; what is on the disk stays."""
        self.ending.set()
        for feed in self.feeds:
            feed.stop()
        for door in self.doors:
            door.process.terminate()
        for door in self.doors:
            try:
                door.process.wait(timeout=3.0)
            except subprocess.TimeoutExpired:
                door.process.kill()
                door.process.wait()
            if door.process.stdout is not None:
                door.process.stdout.close()
        for feed in self.feeds:
            if feed.is_alive():
                feed.join(timeout=3.0)
        if self._control is not None:
            self._control.close()
        if self._writer is not None:
            self._writer.close()
        self.commit()
        self.started.store.close()

    # ---- answers ------------------------------------------------------------------------------------------------

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer the control socket (another thread): `now`, `status`, `sources`."""
        what = request.get("ask")
        if what == "now":
            return self.now_document()
        if what == "sources":
            return {"sources": self._sources(), "clocks": status.clocks(self.started.state, self.outcome)}
        if what == "status":
            return self.status_document()
        return {"error": f"nothing is known about {what!r}; ask now, status or sources"}

    def now_document(self) -> dict[str, Any]:
        """Return the time now, as an interval."""
        started, outcome = self.started, self.outcome
        page: ClockPage | PageUnreadable = self.page if self.page is not None else PageUnreadable.EMPTY
        missing = self._missing()
        return status.time_document(
            page, raw_ns=self.clocks.raw_ns(), leaps=started.config.leaps, scale=started.config.scale_name, missing=missing,
            state=ServiceState.FREERUN if outcome is None else outcome.service,
        )  # fmt: skip

    def _missing(self) -> tuple[str, ...]:
        """Return what is missing for a synchronised answer, fresh epochs among it."""
        if self.outcome is None:
            return ("no reading has come yet",)
        missing = self.outcome.missing
        oldest = self._max_age_s()
        if oldest is not None:
            age_s = (self.started.label.at(self.clocks.raw_ns()) - self.started.state.epoch_ns) / 1e9
            if age_s > oldest:
                missing += (f"the newest epoch is {age_s:.0f} s old, {oldest:g} s are allowed (max_age_s)",)
        return missing

    def status_document(self) -> dict[str, Any]:
        """Return all that is known."""
        started = self.started
        body = self.now_document()
        with self._fault_lock:
            faults = list(self.faults)
        body |= status.laboratory_document(
            started.start, started.config, started.state, self.outcome, uptime_s=time.monotonic() - self._began, epochs=self.epochs,
            rejected=self.rejected, alerts=list(self.alerts), reading_faults=faults,
        )  # fmt: skip
        body["sources"] = self._sources()
        body["listeners"] = [self._door(door) for door in self.doors]
        return body

    def _sources(self) -> list[dict[str, Any]]:
        """Return the rows of `sources`."""
        feeds = {f"UTC.{feed.status.name}": feed.status for feed in self.feeds if isinstance(feed, NtpFeed)}
        return status.sources(
            self.started.state,
            self.outcome,
            feeds,
            {name: "ntp" for name in feeds},
            epoch_now_ns=self.started.label.at(self.clocks.raw_ns()),
        )

    @staticmethod
    def _door(door: Door) -> dict[str, Any]:
        """Return one listener's row."""
        row: dict[str, Any] = {
            "protocol": door.listener.protocol.value,
            "address": door.listener.address,
            "port": door.port,
            "pid": door.process.pid,
        }
        row["alive"] = door.process.poll() is None
        if door.counters is not None:
            row["bound_limit_s"] = door.listener.bound_limit_s
            try:
                row["counters"] = {name: count for name, count in read_counters(door.counters).items() if count}
            except (CountersRejected, OSError):
                row["counters"] = {}
        return row


def end_on_signals(laboratory: Laboratory) -> None:
    """Let SIGTERM and Ctrl-C end the laboratory in order."""

    def ask(_number: int, _frame: FrameType | None) -> None:
        laboratory.ending.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)


def _joined(batches: list[Batch]) -> list[Batch]:
    """Join batches of one epoch from several files (already in order of epoch)."""
    out: list[Batch] = []
    for batch in batches:
        if out and out[-1].epoch_tai_ns == batch.epoch_tai_ns:
            readings: tuple[Reading, ...] = out[-1].readings + batch.readings
            out[-1] = Batch(batch.epoch_tai_ns, out[-1].raw_ns or batch.raw_ns, readings)
        else:
            out.append(batch)
    return out


def _environment() -> dict[str, str]:
    """Return the environment of a door: the package is found where this one was."""
    package = str(Path(__file__).parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": package if not inherited else f"{package}{os.pathsep}{inherited}"}


def _first_line(process: "subprocess.Popen[str]") -> dict[str, Any] | None:
    """Return the door's ready line, or None where it ended or stayed silent."""
    found: list[str] = []

    def read() -> None:
        if process.stdout is not None:
            found.append(process.stdout.readline())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(timeout=READY_WITHIN_S)
    if not found or not found[0].strip():
        return None
    try:
        body = json.loads(found[0])
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _end_orphans(run: Path) -> None:
    """End doors that an earlier laboratory of this folder left behind (killed, so it could not), each by its own pid file."""
    for path in run.glob("*.pid"):
        try:
            pid = int(path.read_text(encoding="ascii"))
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            path.unlink(missing_ok=True)
            continue
        if b"truechimer.daemon.serve_process" in command and str(path).encode() in command:
            os.kill(pid, signal.SIGTERM)
            for _ in range(50):
                if not Path(f"/proc/{pid}").exists():
                    break
                time.sleep(0.05)
