"""The demo's story: a whole laboratory on this machine, events injected into its world, and a table of what was
measured.

It is the product: the laboratory runs from a LAB.toml through `Laboratory`, as `up` runs it; the story only injects
into the world, looks on and asks.
It prints nothing that it did not measure.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from truechimer.alerts import AlertKind
from truechimer.compare.selection import Verdict
from truechimer.daemon.demo_pairs import BranchResult, Pair, Planned, Truth, branch
from truechimer.daemon.feeds import Batch, SimulatedFeed
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.laboratory_process import Laboratory
from truechimer.daemon.ntp_exchange import ExchangeFailure, ask_once, warm_up
from truechimer.instants import Instant
from truechimer.laboratory import replay
from truechimer.laboratory.line import EpochOutcome
from truechimer.laboratory.state import LaboratoryState
from truechimer.scale.state import Membership
from truechimer.serve.ntp import SIMULATED_ANCHOR_DOUBT_S
from truechimer.serve.served_time import tai_fs_at
from truechimer.sim.scenario import Event, What
from truechimer.store.sqlite_records import SqliteRecords

NS_PER_S = 10**9
FS_PER_S = 10**15

LIVE_AT_LEAST_S = 40.0
"""Below this there is no room for live events: they run as branches and are labelled so."""

STORY_S = 90.0
ASK_EVERY_S = 0.25
STEP_S = 20e-9
RAMP_S_PER_S = 5e-9
DRAG_PER_DAY = 2e-15
HOLDOVER_DAYS = 3.0
DRAG_DAYS = 30.0
BRANCH_EVERY_S = 600.0


@dataclass(slots=True)
class Told:
    """One line of the table: the planned event, how it ran (`live` or `branch`), and what was measured."""

    planned: Planned
    how: str
    pair: Pair
    result: BranchResult | None = None


@dataclass(slots=True)
class Story:
    """The story of one demo. `say` prints one line; times of the story count from the first synchronised NTP answer."""

    laboratory: Laboratory
    seed: int
    say: Callable[[str], None]
    for_s: float
    truth: Truth = field(default_factory=Truth)
    told: list[Told] = field(default_factory=list)
    ntp_errors_s: list[float] = field(default_factory=list)
    ntp_asked: int = 0
    ntp_answered: int = 0
    ntp_outside: int = 0
    first_answer: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    replayed: dict[str, Any] = field(default_factory=dict)
    _before: LaboratoryState | None = None
    _live: Told | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _began: float = 0.0

    # ---- looking on ---------------------------------------------------------------------------------------------

    def observe(self, batch: Batch, outcome: EpochOutcome) -> None:
        """Look at one live epoch: the truth about what is served, and the twin of a live event."""
        world = self.laboratory.started.world
        if batch.world is None or batch.raw_ns is None or world is None:
            return
        if outcome.page is not None and outcome.bound is not None:
            error_s = (tai_fs_at(outcome.page, batch.raw_ns) - world.true_tai_fs(batch.raw_ns)) / FS_PER_S
            self.truth.judge(error_s, outcome.bound.bound_s)
        with self._lock:
            live, before = self._live, self._before
            if live is not None and before is not None:
                live.pair.follow(
                    before, self.laboratory.started.config, batch.world, outcome,
                    epoch_ns=batch.epoch_tai_ns, raw_ns=batch.raw_ns,
                    target_clock=self._clock_index(live.planned.target),
                )  # fmt: skip
            self._before = self.laboratory.started.state

    def ask(self) -> None:
        """Ask our own NTP door again and again, as any client would, and compare with the truth that only the world
        knows.
        """
        started, door = (
            self.laboratory.started,
            next((d for d in self.laboratory.doors if d.counters is not None), None),
        )
        world = started.world
        if door is None or world is None:
            return
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
                if not self.first_answer.is_set():
                    self._began = time.monotonic()
                    self.first_answer.set()
            self.laboratory.ending.wait(ASK_EVERY_S)

    def _clock_index(self, name: str) -> int | None:
        """Return the index of a clock, or None for a link."""
        index = self.laboratory.started.state.register.node_index.get(name)
        return index if index is not None and index < self.laboratory.started.state.register.n_clocks else None

    # ---- telling ------------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """Tell the story: live events where there is room, then branches, then the replay; sets `done` at its end."""
        try:
            if not self._wait_for_answer():
                return
            state = self.laboratory.started.state
            host = self.laboratory.doors[0]
            self.say(
                f"{self._at()}  NTP answers on {host.listener.address} port {host.port}; "
                f"bound {self._bound_ns():.1f} ns, "
                f"one scale from {self._members(state)} clocks"
            )
            live = self.for_s >= LIVE_AT_LEAST_S
            step, ramp = self._planned_step(), self._planned_ramp()
            if live:
                self._tell_live(step, at_s=0.12 * self.for_s, watch_s=0.26 * self.for_s)
                self._tell_live(ramp, at_s=0.42 * self.for_s, watch_s=0.24 * self.for_s)
            else:
                self._tell_branch(step, every_s=1.0, epochs=40)
                self._tell_branch(ramp, every_s=1.0, epochs=40)
            self._tell_branch(
                self._planned_drag(), every_s=BRANCH_EVERY_S, epochs=round(DRAG_DAYS * 86_400.0 / BRANCH_EVERY_S)
            )
            self._tell_branch(
                self._planned_holdover(),
                every_s=BRANCH_EVERY_S,
                epochs=round(HOLDOVER_DAYS * 86_400.0 / BRANCH_EVERY_S),
                more=self._silences(),
            )
            self._replay()
        finally:
            self.done.set()

    def _wait_for_answer(self) -> bool:
        """Wait for the first synchronised answer, or for the end."""
        while not self.first_answer.wait(0.05):
            if self.laboratory.ending.is_set():
                return False
        return True

    def _tell_live(self, planned: Planned, *, at_s: float, watch_s: float) -> None:
        """Inject a live event when its moment comes and watch it."""
        if self._sleep_until(at_s):
            return
        feed = next(feed for feed in self.laboratory.feeds if isinstance(feed, SimulatedFeed))
        told = Told(planned, "live", Pair(planned))
        with feed.lock, self._lock:
            feed.world.inject(planned.event, at_raw_ns=self.laboratory.clocks.raw_ns())
            self._live = told
        self.told.append(told)
        self.say(f"{self._at()}  {planned.says}")
        until = at_s + watch_s
        said = False
        while not self._sleep_until(min(self._now_s() + 0.2, until)):
            if not said and told.pair.detected_after_s is not None:
                said = True
                self.say(f"{self._at()}  caught after {told.pair.detected_after_s:.0f} s: {told.pair.said}")
            if self._now_s() >= until:
                break
        with self._lock:
            self._live = None

    def _tell_branch(self, planned: Planned, *, every_s: float, epochs: int, more: tuple[Event, ...] = ()) -> None:
        """Run a branch from the present state, faster than real time."""
        if self.laboratory.ending.is_set():
            return
        started = self.laboratory.started
        feed = next(feed for feed in self.laboratory.feeds if isinstance(feed, SimulatedFeed))
        began = time.monotonic()
        with feed.lock:
            # world and fold must stand at the same epoch: wait until the last batch was taken in
            world, raw_ns = feed.world.fork(), self.laboratory.clocks.raw_ns()
        state = started.state
        result = branch(
            world, state, started.config, planned, raw_ns=raw_ns, every_s=every_s, epochs=epochs,
            target_clock=self._clock_index(planned.target),
            more=more, stopped=self.laboratory.ending.is_set,
        )  # fmt: skip
        self.told.append(Told(planned, "branch", result.pair, result))
        self.say(f"{self._at()}  branch, {_length(result.days)} in {time.monotonic() - began:.1f} s: {planned.says}")

    def _replay(self) -> None:
        """Repeat the run from its records, bit for bit."""
        if self.laboratory.ending.is_set():
            return
        began = time.monotonic()
        store = SqliteRecords(self.laboratory.started.store.path, read_only=True)
        try:
            found = replay.replay(store.read())
        finally:
            store.close()
        self.replayed = {"records_compared": found.compared, "seconds": time.monotonic() - began}
        if found.difference is not None:
            self.replayed["difference"] = {"seq": found.difference.seq, "why": found.difference.why}
        verdict = (
            "bit for bit"
            if found.difference is None
            else f"differs at record {found.difference.seq}: {found.difference.why}"
        )
        self.say(f"{self._at()}  {found.compared} records replayed in {self.replayed['seconds']:.1f} s: {verdict}")

    def _sleep_until(self, at_s: float) -> bool:
        """Sleep until a moment of the story; True where the demo ends before."""
        return self.laboratory.ending.wait(max(0.0, at_s - self._now_s()))

    def _now_s(self) -> float:
        """Seconds since the first answer."""
        return time.monotonic() - self._began

    def _at(self) -> str:
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
        """Return the name of the clock with the most weight."""
        state = self.laboratory.started.state
        return state.register.clocks[int(state.scale.weight.argmax())].name

    def _selected_link(self) -> str:
        """Return the link to UTC that weighs most in the selection: the smallest sigma and limit of those selected."""
        state = self.laboratory.started.state
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

    def _planned_ramp(self) -> Planned:
        link = self._selected_link()
        return Planned(
            name="link-ramp",
            says=f"the link {link} is walked away by 5 ns a second",
            event=Event(at_s=0.0, what=What.RAMP, target=link, magnitude=RAMP_S_PER_S, unit="s/s", duration_s=20.0),
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

    # ---- the table ----------------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """Return the demo's JSON document."""
        started = self.laboratory.started
        state = started.state
        counters = [row.get("counters", {}) for row in self.laboratory.status_document()["listeners"]]
        body: dict[str, Any] = {
            "seed": self.seed,
            "scale": started.config.scale_name,
            "against": "simulated-utc",
            "state": state.service.value,
            "clocks": [clock.name for clock in state.register.clocks if clock.name != "host"],
            "epochs": self.laboratory.epochs,
            "events": [self._event(told) for told in self.told],
            "samples": self.truth.samples,
            "bound_s_max": self.truth.bound_s_max,
            "true_error_s_max": self.truth.true_error_s_max,
            "lies": self.truth.lies + sum(told.result.truth.lies for told in self.told if told.result is not None),
            "ntp_requests": sum(int(row.get("received", 0)) for row in counters),
            "ntp_answered": self.ntp_answered,
            "records": state.chain.seq,
        }
        if self.truth.bound_s_median is not None:
            body["bound_s_median"] = self.truth.bound_s_median
        if self.ntp_errors_s:
            sizes = sorted(abs(error) for error in self.ntp_errors_s)
            body["ntp_error_s_median"] = sizes[len(sizes) // 2]
            body["ntp_error_s_p95"] = sizes[min(len(sizes) - 1, round(0.95 * len(sizes)))]
            body["ntp_outside_stated"] = self.ntp_outside
        if self.replayed:
            body["replay"] = self.replayed
        return body

    @staticmethod
    def _event(told: Told) -> dict[str, Any]:
        """Return one event's figures."""
        pair, result = told.pair, told.result
        row: dict[str, Any] = {
            "what": told.planned.name,
            "target": told.planned.target,
            "how": told.how,
            "scale_moved_ns": pair.scale_moved_s * 1e9,
        }
        if pair.detected_after_s is not None:
            row["detected_after_s"] = pair.detected_after_s
        if pair.served_moved_s is not None:
            row["served_moved_ns"] = pair.served_moved_s * 1e9
        if result is not None:
            row |= {
                "days": result.days,
                "bound_ns": result.bound_s * 1e9,
                "true_error_ns": result.true_error_s * 1e9,
                "state": result.state,
                "lies": result.truth.lies,
            }
        return row

    def table(self) -> list[str]:
        """Return the closing table; every figure in it was measured in this run."""
        body = self.document()
        head = f"{'what happened':<50} {'run':<7} {'seen after':>11} {'scale moved':>12} {'served moved':>13} "
        lines = ["", head + f"{'bound':>9} {'true error':>11}"]
        for told in self.told:
            pair, result = told.pair, told.result
            seen = "not seen" if pair.detected_after_s is None else _duration(pair.detected_after_s)
            served = "" if pair.served_moved_s is None else f"{pair.served_moved_s * 1e9:.3f} ns"
            bound = "" if result is None else f"{result.bound_s * 1e9:.1f} ns"
            error = "" if result is None else f"{result.true_error_s * 1e9:+.2f} ns"
            lines.append(
                f"{told.planned.says:<50} {told.how:<7} {seen:>11} {pair.scale_moved_s * 1e9:>9.3f} ns {served:>13} "
                f"{bound:>9} {error:>11}"
            )
        honest = (
            f"stated bound: at most {body['bound_s_max'] * 1e9:.1f} ns; true error, which only the simulated world "
            f"knows: at most {body['true_error_s_max'] * 1e9:.2f} ns in {body['samples']} samples; lies: {body['lies']}"
        )
        lines += ["", honest]
        if "ntp_error_s_median" in body:
            lines.append(
                f"NTP over loopback: {body['ntp_requests']} requests; error of the answers, half of the way there and "
                f"back among it: median {body['ntp_error_s_median'] * 1e6:.1f} us, 95 % below "
                f"{body['ntp_error_s_p95'] * 1e6:.1f} us; outside what they stated: {body['ntp_outside_stated']}"
            )
        if "replay" in body:
            compared = body["replay"]["records_compared"]
            lines.append(
                f"records: {body['records']}, of which {compared} were replayed "
                + ("bit for bit" if "difference" not in body["replay"] else "and DIFFER")
            )
        return lines


def _duration(seconds: float) -> str:
    """Return a time in the unit that reads best."""
    if seconds == 0.0:
        return "same epoch"
    if seconds < 600.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600.0:.1f} h" if seconds < 172_800.0 else f"{seconds / 86_400.0:.1f} d"


def _length(days: float) -> str:
    """Return the length of a branch."""
    return f"{days:.0f} days" if days >= 1.0 else f"{days * 86_400.0:.0f} s"
