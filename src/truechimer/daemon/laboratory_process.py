"""The laboratory process: feeds into the fold, records onto the disk, the page before the doors; the only place that
joins them at run time.

It decides nothing about time: `laboratory.line` does. The law of the file: of one epoch, first the fold steps, then its
records are committed (group commit), and only then is the clock page written and the alert said. Where the records
cannot be written, doors keep the last time that was recorded, less and less sure, until they can (ADR 16). One thread
steps the fold; all that other threads are answered from is one `View`, replaced whole.
"""

import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from truechimer.alerts import Alert
from truechimer.clocks.register import UnknownLinkRejected, is_reference
from truechimer.daemon import notify, published_turn, surroundings_turn
from truechimer.daemon.answering.answers import Answers, View
from truechimer.daemon.answering.control_socket import ControlSocket
from truechimer.daemon.door import doors as door_processes
from truechimer.daemon.door.door_watch import DoorNews, DoorWatch
from truechimer.daemon.door.doors import Door, DoorRejected
from truechimer.daemon.door.manifest import Manifest
from truechimer.daemon.early import Early
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.lab_check import doors_of
from truechimer.daemon.lab_start import Started
from truechimer.daemon.leap_turn import LeapTurn
from truechimer.daemon.log.log_keeping import LogKeeping, Outlets
from truechimer.daemon.machine_code import MachineCode
from truechimer.daemon.observed_host import ObservedHost, observed_host
from truechimer.daemon.orders import orders_turn
from truechimer.daemon.orders.orders_desk import OrdersDesk
from truechimer.daemon.recent.recent import Recent
from truechimer.daemon.records import lost_records, store_trouble
from truechimer.daemon.records.journal import Journal
from truechimer.daemon.service_manager import ServiceManager
from truechimer.daemon.sources import past, source_feeds
from truechimer.daemon.sources.feeds import Batch, Feed, SimulatedFeed
from truechimer.daemon.sources.gathering import Gathering, has_clocks
from truechimer.daemon.sources.refused_rows import RefusedRows
from truechimer.daemon.sources.smear_watch import SmearWatch
from truechimer.daemon.sources.source_feeds import FeedSurroundings
from truechimer.daemon.sources.wall_watch import WallWatch
from truechimer.daemon.standing import Standing
from truechimer.evidence.record import Record
from truechimer.formats.finding import Finding
from truechimer.laboratory import line, replay
from truechimer.laboratory.epoch_input import epoch_input
from truechimer.laboratory.line import EpochOutcome
from truechimer.serve.clock_page import ClockPage

__all__ = ["Door", "DoorRejected", "Laboratory", "end_on_signals"]

BATCH_EPOCHS = 200
"""Epochs of a backlog, a history or a rush whose records share one commit."""

ALERTS_KEPT = 50
TURN_S = 0.2


@dataclass(slots=True)
class Laboratory:
    """A running laboratory. `observer` is called after each epoch, and cannot change anything."""

    started: Started
    clocks: HostClocks
    observer: Callable[[Batch, EpochOutcome], None] | None = None
    on_records: Callable[[tuple[Record, ...]], None] | None = None
    feeds: list[Feed] = field(default_factory=list)
    doors: list[Door] = field(default_factory=list)
    wall: WallWatch | None = None
    host_clock: ObservedHost | None = None
    outcome: EpochOutcome | None = None
    recent: Recent = field(default_factory=Recent)
    manager: ServiceManager = field(default_factory=ServiceManager)
    epochs: int = 0
    refused: RefusedRows = field(default_factory=RefusedRows)
    smears: SmearWatch = field(default_factory=SmearWatch)
    early: Early = field(default_factory=Early)
    hands_over: bool = False
    """Whether the NTP doors outlive this laboratory, for the next one."""
    alerts: deque[Alert] = field(default_factory=lambda: deque(maxlen=ALERTS_KEPT))
    ending: threading.Event = field(default_factory=threading.Event)
    desk: OrdersDesk = field(default_factory=OrdersDesk)
    published: published_turn.PublishedFolder = field(default_factory=published_turn.PublishedFolder)
    leap: LeapTurn = field(default_factory=LeapTurn)
    _queue: "queue.Queue[Batch]" = field(default_factory=queue.Queue)
    _standing: Standing = field(init=False)
    log: LogKeeping = field(init=False)
    manifest: Manifest = field(init=False)
    _control: ControlSocket | None = None
    _unsaid: list[tuple[Alert, int | None]] = field(default_factory=list)
    _told_trouble: bool = False
    _world_ns: int | None = None
    _allow_simulated: bool = False
    _began: float = field(default_factory=time.monotonic)
    _doors_watched: DoorWatch = field(default_factory=DoorWatch)
    _machine_code: MachineCode = field(default_factory=MachineCode)

    def __post_init__(self) -> None:
        self._standing = Standing(self.started, self.clocks)
        self.log = LogKeeping(self.started, self.clocks)
        self.manifest = Manifest(self.started.folder)

    @property
    def page(self) -> ClockPage | None:
        """What doors read; None before the first."""
        return self._standing.page

    @property
    def journal(self) -> Journal:
        """The records, and what became of those that are not on the disk."""
        return self.started.journal

    # ---- one epoch ----------------------------------------------------------------------------------------------

    def take(self, batch: Batch, *, live: bool = True) -> EpochOutcome | None:
        """Feed one batch into the fold; records are committed, alerts said and the page written before this returns
        (`live`), else they wait for `commit`.

        None where the batch was refused: the fold has passed its epoch, does not know its clocks, or too many records
        wait for the disk.
        """
        if self.journal.is_full:
            says = "so many records wait for the disk that no more readings are taken in; they are lost"
            self.refused.add(batch.source or "readings", Finding("records-waiting", says))
            self.settle()
            return None
        outcome = self._step(batch, say=live)
        if outcome is not None and batch.world is not None:
            self._world_ns = batch.epoch_tai_ns
        if live:
            self.settle()
        if outcome is not None:
            self.recent.take(self.started, outcome)
            if self.observer is not None:
                self.observer(batch, outcome)
        return outcome

    def _step(self, batch: Batch, *, say: bool) -> EpochOutcome | None:
        """Step the fold, and queue what it made."""
        started = self.started
        state = started.state
        epoch_ns, raw_ns = batch.epoch_tai_ns, batch.raw_ns
        late_ns = state.epoch_ns + 1 - epoch_ns
        if late_ns > 0:
            if has_clocks(batch):
                says = f"epoch {epoch_ns} (TAI ns) came after a later one was taken in; it is left out"
                self.refused.add(batch.source or "readings", Finding("late-epoch", says))
                return None
            # what is said of UTC may come late: its readings keep their epochs, and their age is accounted for
            epoch_ns += late_ns
            raw_ns = None if raw_ns is None else raw_ns + late_ns
        pairs = [(reading.a, reading.b) for reading in batch.readings]
        operators = {n: r.operator for r in batch.readings if r.operator for n in (r.a, r.b) if is_reference(n)}
        try:
            state, grown = replay.grow_register(state, pairs, operators)
        except UnknownLinkRejected as error:
            self.refused.add(batch.source or "readings", Finding("unknown-clock", str(error)))
            return None
        stratum = source_feeds.stratum(self.feeds, batch, self.outcome, started)
        readings = orders_turn.at_reference_plane(batch.readings, state.orders)
        given = epoch_input(
            readings,
            state.register,
            epoch_tai_ns=epoch_ns,
            raw_ns=raw_ns,
            stratum=stratum,
            evidence=batch.evidence,
            leap_voices=self.leap.news(self, batch, epoch_ns),
        )
        started.state, outcome = line.step(state, given, started.config)
        self.outcome = outcome
        self.epochs += 1
        if grown is not None:
            self._keep((grown,))
        self._keep(outcome.records)
        self._raise(outcome.alerts, outcome.records, say=say)
        return outcome

    def idle(self) -> None:
        """Step the fold without a reading: a silence is a state too, and the bound must grow in the open."""
        raw_ns = self.clocks.raw_ns()
        epoch_ns = self.started.label.at(raw_ns)
        if epoch_ns > self.started.state.epoch_ns:
            self.take(Batch(epoch_ns, raw_ns, ()), live=True)

    def note(self, alert: Alert) -> None:
        """Put an alert that the fold did not make (the host's, the files') on the chain, commit and say it."""
        self._chain(alert)
        self.settle()

    def note_record(self, kind: str, body: dict[str, Any]) -> None:
        """Put a record that is noted beside the fold (`evidence.kinds.NOTED`) on the chain and commit it; where no more
        records may wait, it is lost.
        """
        if not self.journal.is_full:
            self.started.state, record = replay.note(self.started.state, kind, body)
            self._keep((record,))
            self.settle()

    def keep_record(self, record: Record) -> None:
        """Queue a record that stands on the chain already; the next commit writes it."""
        self._keep((record,))

    def _chain(self, alert: Alert) -> None:
        """Put an alert on the chain; where no more records may wait, it is only said."""
        records: tuple[Record, ...] = ()
        if not self.journal.is_full:
            self.started.state, record = replay.note_alert(self.started.state, alert)
            records = (record,)
        self._keep(records)
        self._raise((alert,), records, say=True)

    def settle(self) -> None:
        """Commit what waits, then let doors and askers have the newest that is on the disk; where the disk refuses,
        the last that was recorded.
        """
        if self.commit():
            self.log.wake()
            self._standing.show(self.outcome, epochs=self.epochs, alerts=tuple(self.alerts))
            self._keep_state()
        else:
            self._standing.hold(self.outcome, alerts=tuple(self.alerts), is_followed=not self.journal.is_full)

    def commit(self, *, at_once: bool = False) -> bool:
        """Put all records that wait onto the disk, then say what waits to be said; False where the disk refuses: they
        wait on, and alerts are said all the same.
        """
        done = self.journal.commit(at_once=at_once)
        if (not done and not self._told_trouble) or (self._told_trouble and self.journal.is_well):
            self._told_trouble = not done
            self._chain(store_trouble.alert_of(self.journal, seen_ns=self.started.label.at(self.clocks.raw_ns())))
            done = done and self.journal.commit()
        unsaid, self._unsaid = self._unsaid, []
        for alert, seq in unsaid:
            notify.say(alert, seq)
        return done

    def _keep_state(self, *, at_end: bool = False) -> None:
        """Keep a snapshot where one is due; all records are on the disk."""
        started = self.started
        if not (at_end or started.snapshots.is_due(started.state.chain.seq)):
            return
        with ExitStack() as locks:
            for feed in self.feeds:
                if isinstance(feed, SimulatedFeed):
                    locks.enter_context(feed.lock)
            world = started.world
            if world is not None and world.now_tai_ns != self._world_ns:
                world = None  # it has gone on: its last epoch still waits to be taken in
            if world is not None or at_end or started.world is None:
                started.snapshots.save(started.state, started.roots, world)

    def _keep(self, records: tuple[Record, ...]) -> None:
        """Queue records for the next commit."""
        self.journal.keep(records)
        if self.on_records is not None:
            self.on_records(records)

    def _raise(self, alerts: tuple[Alert, ...], records: tuple[Record, ...], *, say: bool) -> None:
        """Keep alerts for `status`, and for saying them after their commit; the last of `records` are theirs, or there
        are none.
        """
        self.alerts.extend(alerts)
        if say:
            own = [record.seq for record in records[len(records) - len(alerts) :]] if records else [None] * len(alerts)
            self._unsaid.extend(zip(alerts, own, strict=True))

    # ---- start and end ------------------------------------------------------------------------------------------

    def make_feeds(self) -> None:
        """Make a feed for each source; none runs yet."""
        self.feeds += source_feeds.make_feeds(
            FeedSurroundings(
                started=self.started,
                out=self._queue,
                raw_now_ns=self.clocks.raw_ns,
                on_fault=self.refused.add,
                watch=self._watch,
            )
        )

    def _watch(self) -> WallWatch:
        """Return the watch on the wall clock, begun where it is not."""
        if self.wall is None:
            self.wall = WallWatch(self.started.label, self.started.config.leaps)
            self.wall.start()
        return self.wall

    def catch_up(self, progress: Callable[[int, int], None] = lambda _done, _all: None) -> None:
        """Take in what lies in the past: a simulated history, or the backlog of the readings files, in order of epoch.

        `progress` is called with how much is done, of how much. Ends early where the laboratory is asked to end.
        """
        for number, batch in enumerate(past.batches(self.started, self.feeds, progress)):
            self.take(batch, live=False)
            self._machine_code.in_bulk(number)
            if number % BATCH_EPOCHS == 0:
                self.commit()
            while self.journal.is_full and not self.ending.wait(TURN_S):
                self.commit()  # the past is not lost by waiting
            if self.ending.is_set():
                break
        self.settle()

    def open_doors(self, *, allow_simulated: bool = False) -> None:
        """Open page, control socket and one process a listener; raises `Rejected`, and `close` then closes what was
        opened.
        """
        folder = self.started.folder
        (folder / "run").mkdir(parents=True, exist_ok=True, mode=0o700)
        observing = self.started.config.observing
        if not observing:
            self._standing.open(folder / "run" / "clock.page")
        self.doors += door_processes.begin_all(
            doors_of(self.started.lab, observe=observing),
            folder,
            allow_simulated=allow_simulated,
            early=self.early.doors,
        )
        self.host_clock = observed_host(self.started)
        self._control = self.early.control or ControlSocket(folder / "run", self.answers.answer).start()
        self._control.answer_with(self.answers.answer)
        self._allow_simulated = allow_simulated
        if self.outcome is None:
            self._warm()
        self.doors[:] = door_processes.all_opened(self.doors, folder, allow_simulated=allow_simulated)

    def look_at_doors(self) -> list[DoorNews]:
        """Open again the doors that ended by themselves; return what is to be told of them."""
        return self._doors_watched.look(self.doors, self.started.folder, allow_simulated=self._allow_simulated)

    def _warm(self) -> None:
        """Step the fold once for nothing while the doors open: the first epoch shall not wait for machine code to be
        read from the disk. The state is not changed: `step` changes none.
        """
        state, config = self.started.state, self.started.config
        line.step(state, epoch_input((), state.register, epoch_tai_ns=state.epoch_ns + 2 * config.interval_ns), config)

    def run(self, *, for_s: float | None = None) -> None:
        """Follow the feeds until `for_s` seconds have passed or somebody asks to end."""
        self._watch()
        if self.started.lost:
            seen_ns = self.started.label.at(self.clocks.raw_ns())
            self.note(lost_records.alert_of(self.started.lost, seen_ns=seen_ns))
        if self.started.changed:
            seen_ns = self.started.label.at(self.clocks.raw_ns())
            self.note(orders_turn.changed_alert(self.started.changed, seen_ns=seen_ns))
        for feed in self.feeds:
            feed.start()
        outlets = Outlets(self.note_record, self.note, self.now_document)
        self.log.begin(outlets)
        interval_s = self.started.lab.scale.interval_s
        gathering = Gathering(clocks=past.has_clocks(self.started), patience_s=max(3.0 * interval_s, 5.0))
        heartbeat_s = max(1.0, min(interval_s, self.started.config.silence_s / 4.0))
        beats = source_feeds.oldest_epoch_s(self.started.lab) is None
        now = last = time.monotonic()
        deadline = None if for_s is None else now + for_s
        while not self.ending.is_set() and (deadline is None or now < deadline):
            for batch in self._arrivals(TURN_S if deadline is None else min(TURN_S, deadline - now)):
                gathering.add(batch, now)
            now = time.monotonic()
            ready = gathering.ready(now)
            for number, batch in enumerate(ready):
                # of a rush only the newest epoch is worth a commit and a page of its own
                self.take(batch, live=number == len(ready) - 1 or number % BATCH_EPOCHS == BATCH_EPOCHS - 1)
            if ready:
                last = now
            elif beats and now - last >= heartbeat_s:
                self.idle()
                last = now
            elif self.journal.trouble is not None:
                self.settle()
            surroundings_turn.look(self, now)
            self.log.turn(outlets)
            orders_turn.take_all(self)
            self.published.turn(self)
            self.leap.turn(self)
            self._machine_code.turn()
            self.manager.turn(self._in_short)
        self.settle()

    def _in_short(self) -> str:
        """Return the state in a few words."""
        document = self.now_document()
        bound_s = document.get("bound_s")
        return f"{document['scale']}: {document['state']}" + ("" if bound_s is None else f", bound {bound_s:.2e} s")

    def _arrivals(self, wait_s: float) -> list[Batch]:
        """Return the batches that have come, after waiting for the first of them."""
        try:
            found = [self._queue.get(timeout=max(wait_s, 0.001))]
        except queue.Empty:
            return []
        while len(found) < BATCH_EPOCHS and not self._queue.empty():
            found.append(self._queue.get_nowait())
        return found

    def close(self) -> None:
        """End feeds, doors, control socket and page; what is on the disk stays. One that fails keeps none of the others
        from ending.
        """
        self.ending.set()
        self.manager.stopping()
        self._machine_code.stop()
        with ExitStack() as ends:
            ends.callback(self._machine_code.end)  # may wait for one kernel: everybody else is gone by then
            ends.callback(self.started.release)
            # last of all: until then they answer from the last page, and the next start is near
            for door in door_processes.to_be_ended(self.doors, hands_over=self.hands_over):
                ends.callback(door_processes.end_door, door)
            if self.hands_over:
                self.early.doors.clear()
            ends.callback(self.started.store.close)
            ends.callback(self.log.close)
            ends.callback(self._end_records)
            ends.callback(self._standing.close)
            if self._control is not None:
                ends.callback(self._control.close)
            threads = [feed for feed in self.feeds if feed.is_alive()]
            for feed in threads:
                feed.stop()
            if self.wall is not None:
                self.wall.stop()
                self.wall.join(timeout=3.0)
            for feed in threads:
                feed.join(timeout=3.0)

    def _end_records(self) -> None:
        """Write what still waits, and the snapshot that makes the next start short."""
        if self.commit(at_once=True):
            self._keep_state(at_end=True)
        else:
            notify.say_line(store_trouble.at_end(self.journal))

    # ---- answers ------------------------------------------------------------------------------------------------

    @property
    def answers(self) -> Answers:
        """What the control socket's thread answers from."""
        return Answers(
            started=self.started,
            clocks=self.clocks,
            feeds=self.feeds,
            doors=self.doors,
            max_age_s=source_feeds.oldest_epoch_s(self.started.lab),
            seen=self._seen,
            faults=self.refused.kept,
            uptime_s=lambda: time.monotonic() - self._began,
            recent=self.recent,
            host_clock=self.host_clock,
            store=lambda: store_trouble.document(self.journal, self.started),
            log=self.log.document,
            desk=self.desk,
            moment=lambda: orders_turn.moment(self),
            notices_malformed=self.leap.malformed,
        )

    def now_document(self) -> dict[str, Any]:
        """Return the time now, as an interval."""
        return self.answers.now_document(self._seen())

    def status_document(self) -> dict[str, Any]:
        """Return all that is known."""
        return self.answers.status_document(self._seen())

    def _seen(self) -> View:
        """Return what may be answered from."""
        return self._standing.view or View(self.started.state, None, None, 0, ())


def end_on_signals(laboratory: Laboratory) -> None:
    """Let SIGTERM and Ctrl-C end the laboratory in order, and SIGUSR2 too, but for its NTP doors: they go on from the
    last page until the next laboratory takes them over, or their sockets (ADR 85).
    """

    def ask(number: int, _frame: FrameType | None) -> None:
        laboratory.hands_over = number == signal.SIGUSR2
        laboratory.ending.set()

    signal.signal(signal.SIGUSR2, ask)
    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
