"""The demo's story: a whole laboratory on this machine, events injected into its world, measured against paired runs.

It is the product: the laboratory runs from a LAB.toml through `Laboratory`, as `up` runs it; the story only injects
into the world, looks on and asks. The law of the file: nothing is printed that was not measured in this run.

Three threads: the laboratory's own calls `observe`; `ask` is a client of the NTP door; `tell` waits for moments and
runs branches, which share nothing with the laboratory but the processor. Times of the story count from the first
synchronised NTP answer. With `LIVE_AT_LEAST_S` or more the events are live and all of it fits inside `for_s`, branches
that do not are cut and say so; with less, all four are branches and the story lasts as long as they need.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from truechimer.alerts import AlertKind
from truechimer.compare.selection import Verdict
from truechimer.daemon.demo.demo_pairs import BranchResult, Origin, Pair, Planned, Truth, branch
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.laboratory_process import Laboratory
from truechimer.daemon.ntp.ntp_exchange import ExchangeFailure, ask_once, warm_up
from truechimer.daemon.sources.feeds import Batch, SimulatedFeed
from truechimer.errors import Misuse
from truechimer.instants import Instant
from truechimer.laboratory import replay
from truechimer.laboratory.line import EpochOutcome
from truechimer.laboratory.state import LaboratoryState
from truechimer.scale.state import Membership
from truechimer.serve.ntp import SIMULATED_ANCHOR_DOUBT_S
from truechimer.serve.served_time import tai_fs_at
from truechimer.sim.scenario import Event, What
from truechimer.sim.world import World
from truechimer.store.sqlite_records import SqliteRecords

NS_PER_S = 10**9
FS_PER_S = 10**15

LIVE_AT_LEAST_S = 40.0
"""Below this there is no room for live events: they run as branches and are labelled so."""

STORY_S = 90.0
STEP_AT, STEP_WATCHED, RAMP_AT, RAMP_LASTS, RAMP_WATCHED, REPLAY_AT = 0.10, 0.28, 0.40, 0.22, 0.28, 0.70
"""Moments and lengths of the live events and of the replay, as parts of the time that there is."""

ASK_EVERY_S = 0.25
HOLDS_S = 5.0
STEP_S = 20e-9
RAMP_S_PER_S = 5e-9
RAMP_S = 20.0
DRAG_PER_DAY = 2e-15
HOLDOVER_DAYS = 3.0
DRAG_DAYS = 30.0
BRANCH_EVERY_S = 600.0
SHORT_BRANCH_EPOCHS = 40
REPLAY_PROGRESS = 200


@dataclass(slots=True)
class Told:
    """One event of the table: how it ran (`live` or `branch`), and what was measured; `bound_s`, `true_error_s` and
    `state` at its end.
    """

    planned: Planned
    how: str
    pair: Pair
    bound_s: float | None = None
    true_error_s: float | None = None
    state: str = ""
    result: BranchResult | None = None


@dataclass(slots=True)
class Story:
    """The story of one demo: `say` prints one line, `progress` draws how much of a long step is done.

    It begins between the history and the first live epoch.
    """

    laboratory: Laboratory
    seed: int
    say: Callable[[str], None]
    for_s: float
    progress: Callable[[str, int, int], None] = lambda _what, _done, _all: None
    truth: Truth = field(default_factory=Truth)
    told: list[Told] = field(default_factory=list)
    ntp_errors_s: list[float] = field(default_factory=list)
    ntp_asked: int = 0
    ntp_answered: int = 0
    ntp_outside: int = 0
    epoch_late_s_max: float = 0.0
    first_answer: threading.Event = field(default_factory=threading.Event)
    time_is_up: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    replayed: dict[str, Any] = field(default_factory=dict)
    _origin: Origin | None = None
    _before: LaboratoryState | None = None
    _last_raw_ns: int | None = None
    _last: tuple[float, float] | None = None
    _live: Told | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _began: float = 0.0

    def begin(self) -> None:
        """Keep where the branches begin, world and fold at the last epoch of the history, and look on from here."""
        started = self.laboratory.started
        self._origin = Origin(self._world().fork(), started.state, started.label.raw_ns)
        self._before = started.state
        self.laboratory.observer = self.observe

    def _world(self) -> World:
        """Return the simulated world."""
        if self.laboratory.started.world is None:
            raise Misuse("the demo's laboratory has no simulated world")
        return self.laboratory.started.world

    @property
    def is_live(self) -> bool:
        """True where there is time for live events."""
        return self.for_s >= LIVE_AT_LEAST_S

    # ---- looking on ---------------------------------------------------------------------------------------------

    def observe(self, batch: Batch, outcome: EpochOutcome) -> None:
        """Look at one live epoch: the truth about what is served, and the twin of a live event."""
        state = self.laboratory.started.state
        with self._lock:
            before, self._before = self._before, state
            if batch.raw_ns is None:
                return
            if outcome.page is not None and outcome.bound is not None:
                error_s = (tai_fs_at(outcome.page, batch.raw_ns) - self._world().true_tai_fs(batch.raw_ns)) / FS_PER_S
                self.truth.judge(error_s, outcome.bound.bound_s)
                self._last = error_s, outcome.bound.bound_s
            self._note_lateness(batch)
            if self._live is not None and before is not None:
                self._live.pair.follow(
                    before,
                    self.laboratory.started.config,
                    outcome,
                    epoch_ns=batch.epoch_tai_ns,
                    raw_ns=batch.raw_ns,
                    read=batch.world is not None,
                )

    def _note_lateness(self, batch: Batch) -> None:
        """Note by how much this epoch was later on the page than one second after the one before it was read."""
        if batch.world is None or batch.raw_ns is None:
            return
        if self._last_raw_ns is not None:
            late_s = (self.laboratory.clocks.raw_ns() - self._last_raw_ns) / NS_PER_S - 1.0
            self.epoch_late_s_max = max(self.epoch_late_s_max, late_s)
        self._last_raw_ns = batch.raw_ns

    def ask(self) -> None:
        """Ask our own NTP door again and again, as any client would, and compare with the truth that only the world
        knows.
        """
        started, world = self.laboratory.started, self._world()
        door = next(door for door in self.laboratory.doors if door.counters is not None)
        clocks = HostClocks()
        warm_up(clocks)
        while not self.laboratory.ending.is_set():
            near = Instant.from_tai_ns(started.label.at(clocks.raw_ns()))
            found = ask_once(
                door.listener.address, door.port, timeout_s=1.0, clocks=clocks, leaps=started.config.leaps, near=near
            )
            self.ntp_asked += 1
            if not isinstance(found, ExchangeFailure) and found.synchronised and found.server_tai_fs is not None:
                self.ntp_answered += 1
                error_s = (found.server_tai_fs - world.true_tai_fs(found.raw_mid_ns)) / FS_PER_S
                self.ntp_errors_s.append(error_s)
                # the second that a simulated laboratory adds to its root dispersion would hide every fault
                self.ntp_outside += int(abs(error_s) > found.root_distance_s - SIMULATED_ANCHOR_DOUBT_S)
                if not self.first_answer.is_set() and self._holds(door.listener.bound_limit_s):
                    self._began = time.monotonic()
                    self.first_answer.set()
            self.laboratory.ending.wait(ASK_EVERY_S)

    def _holds(self, bound_limit_s: float) -> bool:
        """Return True where the door stays synchronised until the next epoch and longer.

        After its first readings the host's rate is hardly known, the bound grows fast, and the door may fall silent
        again for a moment: an answer of then is not yet the first of a service.
        """
        page = self.laboratory.page
        return page is not None and page.bound_s + HOLDS_S * page.bound_growth <= bound_limit_s

    def _clock_index(self, name: str) -> int | None:
        """Return the index of a clock, or None for a link."""
        register = self.laboratory.started.state.register
        index = register.node_index.get(name)
        return index if index is not None and index < register.n_clocks else None

    # ---- telling ------------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """Tell the story: live events where there is room, branches beside them, then the replay; sets `done` at its
        end.
        """
        beside = threading.Thread(target=self._tell_branches, name="branches", daemon=True)
        try:
            if not self._wait_for_answer():
                return
            door = next(door for door in self.laboratory.doors if door.counters is not None)
            self.say(
                f"{self.at()}  NTP answers on {door.listener.address} port {door.port}; "
                f"bound {self._bound_ns():.1f} ns, "
                f"one scale from {self._members(self.laboratory.started.state)} clocks"
            )
            beside.start()
            if self.is_live:
                self._tell_live(self._planned_step(), at_s=STEP_AT * self.for_s, watch_s=STEP_WATCHED * self.for_s)
                ramp = self._planned_ramp(duration_s=min(RAMP_S, RAMP_LASTS * self.for_s))
                self._tell_live(ramp, at_s=RAMP_AT * self.for_s, watch_s=RAMP_WATCHED * self.for_s)
                self._sleep_until(REPLAY_AT * self.for_s)
            beside.join()
            self._replay()
        finally:
            if beside.is_alive():
                beside.join()
            self.done.set()

    def _wait_for_answer(self) -> bool:
        """Wait for the first synchronised answer, or for the end."""
        while not self.first_answer.wait(0.05):
            if self._stopped():
                return False
        return True

    def _stopped(self) -> bool:
        """Return True where the demo ends or its time is up."""
        return self.laboratory.ending.is_set() or self.time_is_up.is_set()

    def _tell_live(self, planned: Planned, *, at_s: float, watch_s: float) -> None:
        """Inject a live event when its moment comes and watch it."""
        if self._sleep_until(at_s):
            return
        feed = next(feed for feed in self.laboratory.feeds if isinstance(feed, SimulatedFeed))
        with feed.lock, self._lock:
            raw_ns = self.laboratory.clocks.raw_ns()
            pair = Pair(
                planned=planned,
                twin_world=feed.world.fork(),
                injected_ns=feed.world.label_tai_ns(raw_ns),
                target_clock=self._clock_index(planned.target),
            )
            feed.world.inject(planned.event, at_raw_ns=raw_ns)
            self._live = told = Told(planned, "live", pair)
            self.told.append(told)
        self.say(f"{self.at()}  {planned.says}")
        said = ended = False
        while not ended:
            ended = self._sleep_until(min(self._now_s() + 0.2, at_s + watch_s)) or self._now_s() >= at_s + watch_s
            if not said and pair.detected_after_s is not None:
                said = True
                self.say(f"{self.at()}  seen {duration(pair.detected_after_s)} after it began: {pair.said}")
        with self._lock:
            self._live = None
            if self._last is not None:
                told.true_error_s, told.bound_s = self._last
            told.state = self.laboratory.started.state.service.value

    def _tell_branches(self) -> None:
        """Run what needs days, and what there is no time for live, one after another."""
        if not self.is_live:
            self._tell_branch(self._planned_step(), every_s=1.0, epochs=SHORT_BRANCH_EPOCHS)
            self._tell_branch(self._planned_ramp(duration_s=RAMP_S), every_s=1.0, epochs=SHORT_BRANCH_EPOCHS)
        self._tell_branch(self._planned_drag(), every_s=BRANCH_EVERY_S, epochs=_epochs(DRAG_DAYS))
        self._tell_branch(
            self._planned_holdover(), every_s=BRANCH_EVERY_S, epochs=_epochs(HOLDOVER_DAYS), more=self._silences()
        )

    def _tell_branch(self, planned: Planned, *, every_s: float, epochs: int, more: tuple[Event, ...] = ()) -> None:
        """Run a branch from the end of the history, faster than real time."""
        if self._stopped() or self._origin is None:
            return
        began = time.monotonic()
        result = branch(
            self._origin,
            self.laboratory.started.config,
            planned,
            every_s=every_s,
            epochs=epochs,
            target_clock=self._clock_index(planned.target),
            more=more,
            stopped=self._stopped,
            progress=lambda done, total: self.progress(f"branch {planned.name}", done, total),
        )
        if result.bound_s is None:
            return
        told = Told(planned, "branch", result.pair, result.bound_s, result.true_error_s, result.state, result)
        with self._lock:
            self.told.append(told)
        short = f", cut short of {length(epochs * every_s)}" if result.cut else ""
        self.say(
            f"{self.at()}  branch, {length(result.days * 86_400.0)} in {time.monotonic() - began:.1f} s{short}: "
            f"{planned.says}"
        )

    def _replay(self) -> None:
        """Repeat the run from its records, bit for bit, as far as the time allows."""
        if self._stopped():
            return
        began, total = time.monotonic(), self.laboratory.started.state.chain.seq
        store = SqliteRecords(self.laboratory.started.store.path, read_only=True)
        try:
            found = replay.replay(takewhile(lambda _: not self._stopped(), self._counted(store, total)))
        finally:
            store.close()
        seconds = time.monotonic() - began
        self.replayed = {"records_compared": found.compared, "seconds": seconds}
        if found.difference is not None:
            self.replayed["difference"] = {"seq": found.difference.seq, "why": found.difference.why}
        verdict = (
            "bit for bit"
            if found.difference is None
            else f"differs at record {found.difference.seq}: {found.difference.why}"
        )
        self.say(f"{self.at()}  {found.compared} records replayed in {seconds:.1f} s: {verdict}")

    def _counted(self, store: SqliteRecords, total: int) -> Iterator[bytes]:
        """Yield the records, drawing how many of `total` are done."""
        for number, data in enumerate(store.read()):
            if number % REPLAY_PROGRESS == 0:
                self.progress("replay", min(number, total), total)
            yield data

    def _sleep_until(self, at_s: float) -> bool:
        """Sleep until a moment of the story; True where the demo ends before."""
        while (left_s := at_s - self._now_s()) > 0.0:
            if self._stopped():
                return True
            self.laboratory.ending.wait(min(left_s, 0.2))
        return self._stopped()

    def _now_s(self) -> float:
        """Seconds since the first answer."""
        return time.monotonic() - self._began

    def at(self) -> str:
        """Return the moment of the story as text."""
        return f"{self._now_s():5.0f} s"

    def _bound_ns(self) -> float:
        """Return the present bound in ns."""
        outcome = self.laboratory.outcome
        return outcome.bound.bound_s * 1e9 if outcome is not None and outcome.bound is not None else float("nan")

    @staticmethod
    def _members(state: LaboratoryState) -> int:
        """Return how many clocks carry weight."""
        return int((state.scale.membership == Membership.IN).sum())

    # ---- the events ---------------------------------------------------------------------------------------------

    def _heaviest(self) -> str:
        """Return the name of the clock with the most weight at the end of the history."""
        state = self._state_at_origin()
        return state.register.clocks[int(state.scale.weight.argmax())].name

    def _state_at_origin(self) -> LaboratoryState:
        """Return the fold's state at the end of the history."""
        return self.laboratory.started.state if self._origin is None else self._origin.state

    def _selected_link(self) -> str:
        """Return the link to UTC that weighs most in the selection: the smallest sigma and limit of those selected."""
        state = self._state_at_origin()
        chosen = [
            (c.u_s * c.u_s + c.limit_s * c.limit_s, k)
            for k, c in enumerate(state.claims)
            if c.verdict is Verdict.SELECTED
        ]
        return (
            state.register.link_name(state.register.outside[min(chosen)[1]].link)
            if chosen
            else state.register.link_name(state.register.outside[0].link)
        )

    def _planned_step(self) -> Planned:
        name = self._heaviest()
        return Planned(
            name="clock-step",
            says=f"the heaviest clock, {name}, steps by 20 ns",
            event=Event(at_s=0.0, what=What.PHASE_STEP, target=name, magnitude=STEP_S, unit="s"),
            target=name,
            expect=(AlertKind.CLOCK_STEP,),
        )

    def _planned_ramp(self, *, duration_s: float) -> Planned:
        link = self._selected_link()
        return Planned(
            name="link-ramp",
            says=f"the link {link} is walked away by 5 ns a second for {duration_s:.0f} s",
            event=Event(
                at_s=0.0, what=What.RAMP, target=link, magnitude=RAMP_S_PER_S, unit="s/s", duration_s=duration_s
            ),
            target=link,
            expect=(AlertKind.LINK_OUTVOTED,),
        )

    def _planned_drag(self) -> Planned:
        name = self._heaviest()
        return Planned(
            name="slow-drag",
            says=f"{name} drifts by 2e-15 a day for {DRAG_DAYS:.0f} days",
            event=Event(
                at_s=0.0,
                what=What.DRIFT_STEP,
                target=name,
                magnitude=DRAG_PER_DAY,
                unit="1/d",
                duration_s=DRAG_DAYS * 86_400.0,
            ),
            target=name,
            expect=(AlertKind.CLOCK_RATE, AlertKind.CLOCK_STEP),
        )

    def _outside_links(self) -> list[str]:
        register = self.laboratory.started.state.register
        return [register.link_name(link.link) for link in register.outside]

    def _planned_holdover(self) -> Planned:
        link = self._outside_links()[0]
        return Planned(
            name="holdover",
            says=f"all links to UTC fall silent for {HOLDOVER_DAYS:.0f} days",
            event=Event(at_s=0.0, what=What.GAP, target=link, duration_s=10.0 * HOLDOVER_DAYS * 86_400.0),
            target=link,
            expect=(AlertKind.LINK_MISSING,),
        )

    def _silences(self) -> tuple[Event, ...]:
        return tuple(
            Event(at_s=0.0, what=What.GAP, target=link, duration_s=10.0 * HOLDOVER_DAYS * 86_400.0)
            for link in self._outside_links()[1:]
        )


def _epochs(days: float) -> int:
    """Return how many epochs of a branch make so many days."""
    return round(days * 86_400.0 / BRANCH_EVERY_S)


def duration(seconds: float) -> str:
    """Return a time in the unit that reads best."""
    if seconds < 10.0:
        return f"{seconds:.1f} s"
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    if seconds < 7200.0:
        return f"{seconds / 60.0:.0f} min"
    return f"{seconds / 3600.0:.1f} h" if seconds < 172_800.0 else f"{seconds / 86_400.0:.1f} d"


def length(seconds: float) -> str:
    """Return the length of a branch."""
    return f"{seconds / 86_400.0:.4g} days" if seconds >= 86_400.0 else duration(seconds)
