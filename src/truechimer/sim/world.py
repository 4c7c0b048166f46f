"""The world: a whole simulated laboratory in motion, and the only owner of the truth about it.

It reads no clock: raw counter values come in. It gives the service readings and nothing else; the truth is for those
who judge.

Source: house.md 4.6. True time is a function of the host's raw counter alone (`host_oscillator`); an epoch's label is
the anchor plus raw nanoseconds at their nominal length, so the label itself is wrong by the host's error, which the
reading `host` minus pivot shows.

Law of the file: every purpose (clocks, links, gaps, room, ...) draws from its own stream of the seed, always the same
count per epoch, whether events happen or not. Hence the clean reading beside each attacked one, and forks that stay
pairs.
"""

import copy
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock
from truechimer.compare.reading import Reading
from truechimer.errors import Misuse
from truechimer.sim.events import EventBook, quantised
from truechimer.sim.host_oscillator import FS_PER_NS, HostOscillator
from truechimer.sim.oscillator import RUN_BLOCK, OscillatorBank
from truechimer.sim.scenario import Event, Scenario, What, laboratory_behind
from truechimer.sim.scenario_file import check, event_faults
from truechimer.sim.surroundings import Jumps, Room, Wander

Array = NDArray[np.float64]

FS_PER_S = 10**15
NS_PER_DAY = 86_400 * 10**9
MEMORY_S = 90_000.0
"""How far back a replay reaches, where the scenario holds no longer one: a day and an hour."""


@dataclass(frozen=True, slots=True, eq=False)
class WorldBatch:
    """What is known at one moment. `epoch_tai_ns`: the host's label; `raw_ns`: None in the history.

    `readings`: what the laboratory receives now; late links deliver earlier epochs. `clean`: the same draws without
    any event (the very same tuple while no event has begun). `x_clock_minus_utc_s`: shape (n_clocks,), the truth at
    this epoch, events on clocks included.
    """

    epoch_tai_ns: int
    raw_ns: int | None
    readings: tuple[Reading, ...]
    clean: tuple[Reading, ...]
    x_clock_minus_utc_s: Array


@dataclass(frozen=True, slots=True, eq=False)
class WorldRecord:
    """A block of epochs as arrays: `epoch_tai_ns` (n_epochs,), `x_a_minus_b_s` (n_epochs, n_links) with nan where no
    reading came, `x_clock_minus_utc_s` (n_epochs, n_clocks).
    """

    epoch_tai_ns: NDArray[np.int64]
    x_a_minus_b_s: Array
    x_clock_minus_utc_s: Array


@dataclass(frozen=True, slots=True, eq=False)
class _Clean:
    """Epochs without events: x of all endpoints, noise of all links (the host's last), and which readings come."""

    labels_ns: list[int]
    ends_s: Array
    noise_s: Array
    came: NDArray[np.bool_]


class World:
    """A simulated laboratory. First `history` (or `record`) up to the anchor, then `batch` at rising raw values.

    Invariant: everything is decided by scenario, seed, anchor and the sequence of epochs asked for.
    """

    def __init__(self, scenario: Scenario, *, seed: int, anchor_tai_ns: int, anchor_raw_ns: int) -> None:
        """Stand at the anchor with nothing simulated; events count their `at_s` from `run.days` before the anchor."""
        if faults := check(scenario):
            raise Misuse("the scenario has faults: " + "; ".join(fault.says for fault in faults))
        self.scenario = scenario
        self.seed = seed
        self.anchor_tai_ns = anchor_tai_ns
        self.start_tai_ns = anchor_tai_ns - round(scenario.run.days * NS_PER_DAY)
        self._links = (*scenario.links, scenario.host_link)
        self._endpoints = scenario.endpoints
        self._n_clocks = len(scenario.clocks)
        self._rngs = {name: _stream(seed, k) for k, name in enumerate(("links", "gaps", "host-reading"))}
        self._host = HostOscillator(
            scenario.host, _stream(seed, 3), anchor_tai_ns=anchor_tai_ns, anchor_raw_ns=anchor_raw_ns
        )
        self._bank = OscillatorBank(
            [clock.noise for clock in scenario.clocks],
            _stream(seed, 4),
            x_start_s=[clock.start_x_s for clock in scenario.clocks],
            y_start=[clock.start_y for clock in scenario.clocks],
        )
        self._jumps = Jumps(scenario.clocks, _stream(seed, 5))
        self._wander = Wander(scenario.laboratories, _stream(seed, 6))
        self._room: Room | None = None
        self._first_tai_fs = self._tai_fs = 0
        self._now_ns: int | None = None
        self._unread_history = False

        index = {name: k for k, name in enumerate(self._endpoints)}
        self._a = np.array([index[link.a] for link in self._links])
        self._b = np.array([index[link.b] for link in self._links])
        self._white_s = np.array([link.white_s for link in self._links])
        self._steps_s = np.array([link.quantisation_s for link in self._links])
        self._gap_fraction = np.array([link.gap_fraction for link in scenario.links])
        self._u_s = [link.declared_u_s for link in self._links]
        self._late: dict[int, deque[tuple[int, Reading | None, Reading | None]]] = {
            k: deque() for k, link in enumerate(self._links) if link.latency_s > 0.0
        }
        self._latency_ns = [round(link.latency_s * 1e9) for link in self._links]
        self._laboratory_at = [
            (index[end], scenario.laboratories.index(behind))
            for end in self._endpoints
            if (behind := laboratory_behind(scenario, end)) is not None
        ]
        replays = [event.magnitude or 0.0 for event in scenario.events if event.what is What.REPLAY]
        self._memory_s = max([MEMORY_S, *(lag + scenario.run.interval_s for lag in replays)])
        self._book = EventBook(self._endpoints, self._links, memory_s=self._memory_s)
        for event in scenario.events:
            self._book.add(event, self.start_tai_ns + round(event.at_s * 1e9))

    @property
    def clock_names(self) -> tuple[str, ...]:
        """Names in the order of `x_clock_minus_utc_s`."""
        return self._endpoints[: self._n_clocks]

    @property
    def declared_clocks(self) -> tuple[Clock, ...]:
        """The clocks as the laboratory's register knows them."""
        return tuple(clock.declared for clock in self.scenario.clocks)

    @property
    def room(self) -> Room | None:
        """Temperature and humidity now; None before the first epoch."""
        return self._room

    def true_tai_fs(self, raw_ns: int) -> int:
        """True time at any raw value, femtoseconds since 1970-01-01T00:00:00 TAI: exact, and never changed by what is
        asked.
        """
        return self._host.true_tai_fs(raw_ns)

    def label_tai_ns(self, raw_ns: int) -> int:
        """The label of that moment: what the host takes it for, `epoch_tai_ns` of its readings."""
        return self._host.label_tai_ns(raw_ns)

    def history(self, days: float | None = None, interval_s: float | None = None) -> Iterator[WorldBatch]:
        """Yield the epochs `anchor - k * interval`, oldest first, the anchor last; default length and interval are
        the run's.

        To be read to its end before the world goes live. Readings of the host need its counter: there are none yet.
        """
        for clean in self._past(days, interval_s):
            for k in range(len(clean.labels_ns)):
                yield self._batch(clean, k, raw_ns=None)
        self._unread_history = False

    def record(self, days: float | None = None, interval_s: float | None = None) -> Iterator[WorldRecord]:
        """Yield the same epochs as `history` does, as blocks of arrays, each reading at its own epoch whatever its
        latency.
        """
        n_links = len(self.scenario.links)
        for clean in self._past(days, interval_s):
            ends_s = clean.ends_s
            if self._book.is_empty:
                values_s = self._clean_values(clean.ends_s, clean.noise_s, clean.came)
                self._keep(clean.labels_ns, values_s)
            else:
                values_s = np.empty(clean.noise_s.shape)
                ends_s = ends_s.copy()
                for k, label_ns in enumerate(clean.labels_ns):
                    values_s[k], ends_s[k] = self._observe(clean, k, label_ns)
            yield WorldRecord(np.array(clean.labels_ns), values_s[:, :n_links], ends_s[:, : self._n_clocks])
        self._unread_history = False

    def batch(self, raw_ns: int) -> WorldBatch:
        """Read all clocks now, at raw counter `raw_ns`, which must be later than any epoch before."""
        if self._unread_history:
            raise Misuse("the history was not read to its end; a live epoch cannot come before it")
        label_ns = self._host.label_tai_ns(raw_ns)
        if self._now_ns is not None and label_ns <= self._now_ns:
            raise Misuse(f"raw {raw_ns} ns is not later than the epoch before; live epochs rise")
        tai_fs = self._host.true_tai_fs(raw_ns)
        clock_x_s = self._advance_one(tai_fs)
        clean = self._clean(
            [label_ns], clock_x_s[None, :], [self._wander.values_s], x_host_s=self._host.x_host_minus_utc_s(raw_ns)
        )
        return self._batch(clean, 0, raw_ns=raw_ns)

    def inject(self, event: Event, *, at_raw_ns: int | None = None, at_tai_ns: int | None = None) -> None:
        """Lay an event from a moment not yet simulated: a raw value, a label, or (neither given) the event's own
        `at_s`.
        """
        if faults := event_faults(event, self.scenario):
            raise Misuse("; ".join(f"{key}: {says}" for key, _, says in faults))
        if at_raw_ns is not None and at_tai_ns is not None:
            raise Misuse("at_raw_ns and at_tai_ns both given; one moment is enough")
        start_ns = self.start_tai_ns + round(event.at_s * 1e9)
        if at_raw_ns is not None:
            start_ns = self._host.label_tai_ns(at_raw_ns)
        elif at_tai_ns is not None:
            start_ns = at_tai_ns
        if self._now_ns is not None and start_ns <= self._now_ns:
            raise Misuse(
                f"the event would begin at {start_ns} ns, not after the present epoch; what was read stays read"
            )
        if event.what is What.REPLAY and (event.magnitude or 0.0) > self._memory_s:
            raise Misuse(f"only the last {self._memory_s:g} s of readings are kept; put the replay into the scenario")
        self._book.add(event, start_ns)

    def fork(self) -> "World":
        """Return an independent world: fed with the same raw values it has the same future, whatever happens to this
        one.
        """
        if self._unread_history:
            raise Misuse("the history was not read to its end; fork before or after it")
        twin = copy.copy(self)
        vars(twin).update(
            _rngs={name: copy.deepcopy(rng) for name, rng in self._rngs.items()},
            _bank=self._bank.copy(),
            _jumps=self._jumps.copy(),
            _wander=self._wander.copy(),
            _room=None if self._room is None else self._room.copy(),
            _late={k: queue.copy() for k, queue in self._late.items()},
            _book=self._book.copy(),
        )
        return twin

    @property
    def now_tai_ns(self) -> int | None:
        """The label of the last epoch; None before the first."""
        return self._now_ns

    def kept(self) -> dict[str, Any] | None:
        """Return what `put_back` needs for the same future; None while the history is unread, or a replay is booked.

        Not in it: what scenario, seed and anchor give (the host is a function of them), and readings of the past.
        """
        book = self._book.kept()
        if self._unread_history or self._room is None or book is None:
            return None
        return {
            "rngs": {name: rng.bit_generator.state for name, rng in self._rngs.items()},
            "bank": self._bank.kept(),
            "jumps": self._jumps.kept(),
            "wander": self._wander.kept(),
            "room": self._room.kept(),
            "book": book,
            "late": {str(k): list(queue) for k, queue in self._late.items()},
            "times": (self._first_tai_fs, self._tai_fs, self._now_ns),
        }

    def put_back(self, kept: dict[str, Any]) -> None:
        """Stand where a world of the same scenario, seed and anchor stood."""
        for name, rng in self._rngs.items():
            rng.bit_generator.state = kept["rngs"][name]
        self._first_tai_fs, self._tai_fs, self._now_ns = kept["times"]
        self._room = Room(self.scenario.environment, self.scenario.clocks, _stream(self.seed, 7), tai_fs=self._tai_fs)
        self._room.put_back(kept["room"])
        self._bank.put_back(kept["bank"])
        self._jumps.put_back(kept["jumps"])
        self._wander.put_back(kept["wander"])
        self._book.put_back(kept["book"])
        self._late = {k: deque(kept["late"][str(k)]) for k in self._late}
        self._unread_history = False

    def _past(self, days: float | None, interval_s: float | None) -> Iterator[_Clean]:
        """Simulate the equal steps up to the anchor, block by block."""
        if self._room is not None:
            raise Misuse("the world has begun; its history comes first and once")
        days = self.scenario.run.days if days is None else days
        interval_ns = round((self.scenario.run.interval_s if interval_s is None else interval_s) * 1e9)
        if interval_ns <= 0 or days < 0.0:
            raise Misuse(f"a history of {days} days every {interval_ns} ns; both are to be positive")
        n_steps = round(days * NS_PER_DAY) // interval_ns
        first_ns = self.anchor_tai_ns - n_steps * interval_ns
        self._unread_history = True
        for first in range(0, n_steps + 1, RUN_BLOCK):
            labels = [first_ns + k * interval_ns for k in range(first, min(first + RUN_BLOCK, n_steps + 1))]
            clock_x_s, wander_s = self._advance_block(labels, interval_ns)
            yield self._clean(labels, clock_x_s, wander_s, x_host_s=None)

    def _advance_block(self, labels_ns: list[int], interval_ns: int) -> tuple[Array, list[list[float]]]:
        """Move clocks and laboratories through equal steps; the very first epoch of a world is its start, not a
        step.
        """
        clock_x_s = np.empty((len(labels_ns), self._n_clocks))
        skip = 0
        wander_s = []
        if self._room is None:
            skip = 1
            clock_x_s[0] = self._advance_one(labels_ns[0] * FS_PER_NS)
            wander_s.append(self._wander.values_s)
        n = len(labels_ns) - skip
        dt_s = interval_ns * FS_PER_NS / FS_PER_S
        forced_x_s = np.zeros((n, self._n_clocks)) if self._forced else None
        forced_y = np.zeros((n, self._n_clocks)) if self._forced else None
        for k, label_ns in enumerate(labels_ns[skip:]):
            if forced_x_s is not None and forced_y is not None:
                self._force(label_ns * FS_PER_NS, forced_x_s[k], forced_y[k])
            self._tai_fs = label_ns * FS_PER_NS
            wander_s.append(self._wander.step(dt_s))
        if n:
            clock_x_s[skip:] = self._bank.run(n, dt_s, forced_x_s=forced_x_s, forced_y=forced_y)
        return clock_x_s, wander_s

    def _advance_one(self, tai_fs: int) -> Array:
        """Move clocks and laboratories to true time `tai_fs`; the first call is the start."""
        if self._room is None:
            self._room = Room(self.scenario.environment, self.scenario.clocks, _stream(self.seed, 7), tai_fs=tai_fs)
            self._first_tai_fs = self._tai_fs = tai_fs
            return self._bank.x_s
        dt_s = (tai_fs - self._tai_fs) / FS_PER_S
        self._wander.step(dt_s)
        if not self._forced:
            self._tai_fs = tai_fs
            return self._bank.step(dt_s)
        forced_x_s, forced_y = np.zeros(self._n_clocks), np.zeros(self._n_clocks)
        self._force(tai_fs, forced_x_s, forced_y)
        self._tai_fs = tai_fs
        return self._bank.step(dt_s, forced_x_s=forced_x_s, forced_y=forced_y)

    @property
    def _forced(self) -> bool:
        return self._jumps.acts or (self._room is not None and self._room.acts)

    def _force(self, tai_fs: int, forced_x_s: Array, forced_y: Array) -> None:
        """Add what room and jumps do to the clocks between now and `tai_fs`."""
        if self._room is not None and self._room.acts:
            forced_x_s += self._room.gained_x_s(self._tai_fs, tai_fs)
        jumped = self._jumps.forced((tai_fs - self._first_tai_fs) / FS_PER_S)
        if jumped is not None:
            forced_x_s += jumped[0]
            forced_y += jumped[1]

    def _clean(
        self, labels_ns: list[int], clock_x_s: Array, wander_s: list[list[float]], *, x_host_s: float | None
    ) -> _Clean:
        """Join endpoints and link noise of some epochs; the host is read only where `x_host_s` is known."""
        n, n_links = len(labels_ns), len(self.scenario.links)
        ends_s = np.zeros((n, len(self._endpoints)))
        ends_s[:, : self._n_clocks] = clock_x_s
        if self._laboratory_at:
            wander = np.array(wander_s)
            for end, laboratory in self._laboratory_at:
                ends_s[:, end] = wander[:, laboratory]
        noise_s = np.zeros((n, n_links + 1))
        noise_s[:, :n_links] = self._rngs["links"].standard_normal((n, n_links))
        came = np.zeros((n, n_links + 1), dtype=np.bool_)
        came[:, :n_links] = self._rngs["gaps"].random((n, n_links)) >= self._gap_fraction
        if x_host_s is not None:
            ends_s[0, -1] = x_host_s
            noise_s[0, -1] = self._rngs["host-reading"].standard_normal()
            came[0, -1] = True
        noise_s *= self._white_s
        return _Clean(labels_ns, ends_s, noise_s, came)

    def _clean_values(self, ends_s: Array, noise_s: Array, came: NDArray[np.bool_]) -> Array:
        """Readings without events, nan where none comes; along the last axis."""
        values_s = quantised(ends_s[..., self._a] - ends_s[..., self._b] + noise_s, self._steps_s)
        values_s[~came] = np.nan
        return values_s

    def _observe(self, clean: _Clean, k: int, label_ns: int) -> tuple[Array, Array]:
        """Return values and endpoints of one epoch with its events, and remember what was read."""
        if self._book.acts(label_ns):
            laid = self._book.lay(
                label_ns, ends_s=clean.ends_s[k], noise_s=clean.noise_s[k], came=clean.came[k], steps_s=self._steps_s
            )
            values_s, ends_s = laid.values_s, laid.ends_s
        else:
            values_s, ends_s = self._clean_values(clean.ends_s[k], clean.noise_s[k], clean.came[k]), clean.ends_s[k]
        self._book.remember(label_ns, values_s)
        self._now_ns = label_ns
        return values_s, ends_s

    def _keep(self, labels_ns: list[int], values_s: Array) -> None:
        """Remember the rows of a block that a later event could still ask for."""
        self._now_ns = labels_ns[-1]
        for label_ns, row_s in zip(labels_ns, values_s, strict=True):
            if label_ns >= self.anchor_tai_ns - round(self._memory_s * 1e9):
                self._book.remember(label_ns, row_s.copy())

    def _batch(self, clean: _Clean, k: int, *, raw_ns: int | None) -> WorldBatch:
        label_ns = clean.labels_ns[k]
        attacked = self._book.acts(label_ns)
        values_s, ends_s = self._observe(clean, k, label_ns)
        seen = self._readings(label_ns, values_s)
        pair = seen
        if attacked:
            pair = self._readings(label_ns, self._clean_values(clean.ends_s[k], clean.noise_s[k], clean.came[k]))
        if self._late:
            seen, pair = self._deliver(label_ns, seen, pair)
        readings = tuple(reading for reading in seen if reading is not None)
        same = pair is seen
        return WorldBatch(
            epoch_tai_ns=label_ns,
            raw_ns=raw_ns,
            readings=readings,
            clean=readings if same else tuple(reading for reading in pair if reading is not None),
            x_clock_minus_utc_s=ends_s[: self._n_clocks].copy(),
        )

    def _readings(self, label_ns: int, values_s: Array) -> list[Reading | None]:
        """Make one reading per link, None where none came."""
        return [
            None
            if value != value  # noqa: PLR0124 - nan is the one number that differs from itself
            else Reading(
                epoch_tai_ns=label_ns,
                a=link.a,
                b=link.b,
                x_a_minus_b_s=value,
                u_s=u_s,
                limit_s=link.limit_s,
                operator=link.operator,
            )
            for link, value, u_s in zip(self._links, values_s.tolist(), self._u_s, strict=True)
        ]

    def _deliver(
        self, label_ns: int, seen: list[Reading | None], pair: list[Reading | None]
    ) -> tuple[list[Reading | None], list[Reading | None]]:
        """Hold back the readings of late links and add those that have arrived by now, oldest first."""
        arrived_seen: list[Reading | None] = []
        arrived_pair: list[Reading | None] = []
        out_seen, out_pair = list(seen), list(pair)
        for k, queue in self._late.items():
            queue.append((label_ns + self._latency_ns[k], seen[k], pair[k]))
            out_seen[k] = out_pair[k] = None
            while queue and queue[0][0] <= label_ns:
                _, one, other = queue.popleft()
                arrived_seen.append(one)
                arrived_pair.append(other)
        same = seen is pair and all(one is other for one, other in zip(arrived_seen, arrived_pair, strict=True))
        delivered = arrived_seen + out_seen
        return delivered, delivered if same else arrived_pair + out_pair


def _stream(seed: int, purpose: int) -> Generator:
    """Return the generator of one purpose: streams of one seed are independent, and adding a purpose changes no
    other.
    """
    if seed < 0:
        raise Misuse(f"seed {seed}; a seed is 0 or more")
    return np.random.Generator(np.random.PCG64(SeedSequence(seed, spawn_key=(purpose,))))
