"""The host's clocks: the only place that reads them, and the rules by which a kernel stamp is believed.

It serves no time. Served time runs on CLOCK_MONOTONIC_RAW alone, and CLOCK_REALTIME is used for one thing, to carry a
kernel receive stamp, which Linux gives in CLOCK_REALTIME, over to the raw counter.

Source: `house.md` 4.7. The law of the file: **no step or slew of the wall clock may move a stamp by more than
`STAMP_HANDLING_LIMIT_S`**. A kernel stamp is believed only if all of this holds, and otherwise the raw counter as
read in user space is used in its place, and the reason counted:

1. its age at the pair taken after it is between 0 and 1 s; 2. the pair after it was narrow (of up to 5 triples RAW,
REALTIME, RAW the narrowest, below 5 us); 3. REALTIME - RAW has not moved, against its prediction by the rate learned
over the last pairs, since before the datagram can have come: so a stamp from the far side of a step is dropped even
where the step was seen by an earlier pair; 4. against every pair since then the difference agrees, half widths
included, within the limit; 5. carried over, it lies between the last moment at which nothing was waiting and the
moment at which it was handed to us, and no two pairs in that time lie further apart than 90 ms: so even a wall clock
moved there and back between two pairs goes unseen only where it moved backward by less than that gap, and was back
before the next pair.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import pairwise
from pathlib import Path

from truechimer.serve.rx_stamp import STAMP_HANDLING_LIMIT_S, USER_STAMP_LIMIT_S, RxStamp, StampKind

__all__ = [
    "STAMP_HANDLING_LIMIT_S",
    "USER_STAMP_LIMIT_S",
    "ClockPair",
    "HostClocks",
    "HostStep",
    "RxStamp",
    "StampKind",
    "StampRefusal",
]

NS_PER_S = 10**9
PAIR_EVERY_NS = 100_000_000
"""A pair is taken at least this often while idle."""

TRIPLES = 5
NARROW_ENOUGH_NS = 1_000
"""A triple this narrow ends the search: its middle is right to half of it."""
WIDEST_PAIR_NS = 5_000
WIDEST_GAP_NS = 90_000_000
"""Two pairs further apart than this watch nothing: a process that was put to sleep, or forgot."""
MOVED_NS = 5_000
"""REALTIME - RAW further than this from its prediction has moved."""
OLDEST_STAMP_NS = NS_PER_S

LIMIT_NS = round(STAMP_HANDLING_LIMIT_S * NS_PER_S)

RATE_BASELINE_NS = 50_000_000
"""Pairs closer together than this say nothing useful about the rate: 100 ns of reading noise over it are 2e-6."""
RATE_PAIR_SPACING_NS = 20_000_000
RATE_PAIRS = 16
RECENT_PAIRS = 256
UNWATCHED_SLEW = 1e-4
"""A change of the wall clock's rate by this much is ordinary discipline, not a step, where nobody watched meanwhile."""
FASTEST_SLEW = 0.1
"""d(REALTIME - RAW)/d(RAW) above this is no slew: the kernel's tick can be trimmed by 10 %, its frequency by 500 ppm.
"""


class StampRefusal(StrEnum):
    """Why a kernel stamp was not believed; one counter each."""

    MISSING = "missing"  # the kernel gave none
    RATE_NOT_LEARNED = "rate-not-learned"  # the first 50 ms, and after a change of slew
    PAIR_STALE = "pair-stale"  # no pair was taken after the datagram was handed over: the caller's fault
    PAIR_GAP = "pair-gap"  # nobody watched the wall clock for more than 90 ms around this datagram
    PAIR_WIDE = "pair-wide"  # interrupted in each of five triples
    MOVED = "moved"  # the wall clock was stepped or slewed around this datagram
    AGE = "age"  # from the future, or older than 1 s
    OUTSIDE_WINDOW = "outside-window"  # before nothing was waiting, or after it was handed over


@dataclass(frozen=True, slots=True)
class ClockPair:
    """CLOCK_REALTIME and CLOCK_MONOTONIC_RAW at one moment, ns: right to `half_width_ns`."""

    raw_ns: int
    realtime_ns: int
    half_width_ns: int

    @property
    def realtime_minus_raw_ns(self) -> int:
        """The difference that a step of the wall clock changes."""
        return self.realtime_ns - self.raw_ns


@dataclass(frozen=True, slots=True)
class HostStep:
    """The wall clock was seen to move by `moved_s` (positive: forward) against its prediction, at `raw_ns`."""

    raw_ns: int
    moved_s: float


PRECISION_LOG2_BEST = -30
PRECISION_LOG2_WORST = -6

SUSPENSION_GRAIN_NS = 62_500_000
"""Suspensions are told apart in steps of 1/16 s; a machine does not sleep and wake in less."""


_raw_ns = partial(time.clock_gettime_ns, time.CLOCK_MONOTONIC_RAW)
_monotonic_ns = partial(time.clock_gettime_ns, time.CLOCK_MONOTONIC)
_realtime_ns = partial(time.clock_gettime_ns, time.CLOCK_REALTIME)


def _suspended_ns() -> int:
    """Return how long this boot has been suspended: the raw counter stood still meanwhile, CLOCK_BOOTTIME did not."""
    brackets = []
    for _ in range(TRIPLES):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        boottime = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        brackets.append((after - before, boottime - (before + after) // 2))
        if after - before < NARROW_ENOUGH_NS:
            break
    return min(brackets)[1]


def _boot_text() -> bytes:
    return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()


class HostClocks:
    """The host's two clocks, and what is known of the difference between them.

    The readers are arguments: a test moves the wall clock there, together with the kernel stamps it makes, and the
    machine's own clock is never touched. Not for several threads at once.

    Invariant: only pairs narrow enough to tell stand in `_recent`; `refusals` and `steps_total` only grow; `steps`
    holds the last 64 until they are taken.
    """

    def __init__(
        self,
        *,
        raw_ns: Callable[[], int] = _raw_ns,
        realtime_ns: Callable[[], int] = _realtime_ns,
        suspended_ns: Callable[[], int] = _suspended_ns,
        boot_text: Callable[[], bytes] = _boot_text,
        monotonic_ns: Callable[[], int] = _monotonic_ns,
    ) -> None:
        self.raw_ns = raw_ns
        """Read CLOCK_MONOTONIC_RAW (ns since an unknown moment of this boot)."""
        self.realtime_ns = realtime_ns
        """Read CLOCK_REALTIME (ns since 1970, as the host believes): a label for people and records, never time to
        serve.
        """
        self.monotonic_ns = monotonic_ns
        """Read CLOCK_MONOTONIC (ns): slewed by whoever sets the wall clock, never stepped. The accelerator's program
        in the kernel can read no other that is not stepped.
        """
        self.refusals: dict[StampRefusal, int] = dict.fromkeys(StampRefusal, 0)
        self.steps_total = 0
        self.steps: deque[HostStep] = deque(maxlen=64)
        self.suspended_ns = suspended_ns
        """Read how long this boot has been suspended (ns)."""
        self._boot_text = boot_text()
        self._boot_id_grains: int | None = None
        self._boot_id = b""
        self._recent: deque[ClockPair] = deque(maxlen=RECENT_PAIRS)  # good pairs, oldest first
        self._watched: tuple[int, int | None] | None = None  # asked for and found: holds for the newest pair alone
        self._doubt_raw_ns: int | None = None  # raw moment of the last pair that had moved, or could not tell
        self._doubt = StampRefusal.MOVED
        self._learning: deque[ClockPair] = deque(maxlen=RATE_PAIRS)
        self._relearning = False
        self._rate: float | None = None  # d(REALTIME - RAW)/d(RAW)

    def boot_id(self) -> bytes:
        """Return 16 octets that name this run of the raw counter: the boot, and how long it has been suspended so far.

        A counter that stood still while the machine slept is as useless to an old page as one that was restarted, so
        the name changes then too. A page belongs to the counter that it names, and to no other.
        """
        grains = round(self.suspended_ns() / SUSPENSION_GRAIN_NS)
        if grains != self._boot_id_grains:
            self._boot_id = hashlib.blake2b(self._boot_text + b" %d" % grains, digest_size=16).digest()
            self._boot_id_grains = grains
        return self._boot_id

    def precision_log2(self) -> int:
        """Measure log2 of the seconds that one reading of the raw counter takes, rounded up: RFC 5905 7.3 asks for
        it.
        """
        readings = [self.raw_ns() for _ in range(256)]
        gaps = [after - before for before, after in pairwise(readings) if after > before]
        least_ns = min(gaps, default=1)
        exponent = PRECISION_LOG2_BEST
        while least_ns > NS_PER_S * 2.0**exponent and exponent < PRECISION_LOG2_WORST:
            exponent += 1
        return exponent

    # Pairs.

    def take_pair(self) -> ClockPair:
        """Read both clocks, compare with the prediction, remember.

        Call it before and after each batch of datagrams, and every 100 ms while idle (`pair_is_due`).
        """
        pair = self._narrowest_triple()
        if 2 * pair.half_width_ns >= WIDEST_PAIR_NS:
            # It cannot tell whether the wall clock moved: nothing that may have come before it is believed.
            self._doubt_raw_ns, self._doubt = pair.raw_ns, StampRefusal.PAIR_WIDE
            return pair
        if not self._recent:
            self._learning.append(pair)
            self._doubt_raw_ns, self._doubt = pair.raw_ns, StampRefusal.MOVED
        elif self._rate is None:
            self._learn_first(pair)
        else:
            moved_ns = _disagreement_ns(self._recent[-1], pair, rate=self._rate)
            if pair.raw_ns - self._recent[-1].raw_ns > WIDEST_GAP_NS:
                self._after_gap(pair, moved_ns=moved_ns)
            elif abs(moved_ns) > MOVED_NS:
                self._on_moved(pair, moved_ns=moved_ns)
            else:
                self._relearning = False
                self._learn(pair)
        self._recent.append(pair)
        self._watched = None
        return pair

    def pair_is_due(self) -> bool:
        """Return True where the last good pair is 100 ms old, or there is none."""
        return not self._recent or self.raw_ns() - self._recent[-1].raw_ns >= PAIR_EVERY_NS

    @property
    def rate_is_learned(self) -> bool:
        """Whether kernel stamps can be believed yet: 50 ms of pairs after the start."""
        return self._rate is not None

    @property
    def rate(self) -> float | None:
        """The rate of CLOCK_REALTIME against the raw counter, minus 1; None until it is learned."""
        return self._rate

    def take_steps(self) -> tuple[HostStep, ...]:
        """Return the movements of the wall clock seen since the last call, and forget them: alerts are made of them."""
        steps = tuple(self.steps)
        self.steps.clear()
        return steps

    def realtime_at(self, raw_ns: int) -> int:
        """Return what CLOCK_REALTIME showed, or would show, at `raw_ns`, by the last pair and the learned rate."""
        pair = self._recent[-1] if self._recent else self.take_pair()
        elapsed_ns = raw_ns - pair.raw_ns
        return pair.realtime_ns + elapsed_ns + round((self._rate or 0.0) * elapsed_ns)

    # Stamps.

    def rx_to_raw(self, stamp_realtime_ns: int | None, user_raw_ns: int, *, not_before_raw_ns: int) -> RxStamp:
        """Carry a kernel receive stamp over to the raw counter, or use the user stamp in its place and count why.

        `user_raw_ns`: RAW read right after the datagram was handed over. `not_before_raw_ns`: RAW at a moment at
        which it cannot have come yet (nothing was waiting; the request had not been sent). Call `take_pair` between
        the two and this.
        """
        judged = self._judge(stamp_realtime_ns, user_raw_ns, not_before_raw_ns)
        if isinstance(judged, StampRefusal):
            self.refusals[judged] += 1
            return RxStamp(user_raw_ns, StampKind.USER, USER_STAMP_LIMIT_S)
        return RxStamp(judged, StampKind.KERNEL, STAMP_HANDLING_LIMIT_S)

    def stamp_to_raw(self, stamp_realtime_ns: int, user_raw_ns: int, *, not_before_raw_ns: int) -> int | None:
        """Return another stamp of the kernel's, such as a transmit stamp, on the raw counter; None where the rules do
        not let it be believed. Nothing is counted.
        """
        judged = self._judge(stamp_realtime_ns, user_raw_ns, not_before_raw_ns)
        return None if isinstance(judged, StampRefusal) else judged

    @property
    def half_width_ns(self) -> int:
        """What the last pair, and so a stamp that it carries over, may be wrong by (ns)."""
        return self._recent[-1].half_width_ns if self._recent else WIDEST_PAIR_NS

    def _judge(self, stamp_realtime_ns: int | None, user_raw_ns: int, not_before_raw_ns: int) -> int | StampRefusal:
        """Return the stamp on the raw counter, or why it is not believed; the rules stand at the head of the file."""
        if stamp_realtime_ns is None:
            return StampRefusal.MISSING
        if self._doubt_raw_ns is not None and self._doubt_raw_ns > not_before_raw_ns:
            return self._doubt
        if not self._recent or self._recent[-1].raw_ns < user_raw_ns:
            return StampRefusal.PAIR_STALE
        if self._rate is None:
            return StampRefusal.RATE_NOT_LEARNED
        pair = self._recent[-1]
        age_ns = pair.realtime_ns - stamp_realtime_ns
        if not 0 <= age_ns <= OLDEST_STAMP_NS:
            return StampRefusal.AGE
        raw_ns = pair.raw_ns - age_ns + round(self._rate * age_ns)
        if not not_before_raw_ns - LIMIT_NS <= raw_ns <= user_raw_ns + LIMIT_NS:
            return StampRefusal.OUTSIDE_WINDOW
        # Nothing in this depends on the stamp: one walk over the pairs is for all datagrams of a batch.
        if self._watched is None or self._watched[0] != not_before_raw_ns:
            self._watched = not_before_raw_ns, self._watched_since(not_before_raw_ns, rate=self._rate)
        since_raw_ns = self._watched[1]
        return raw_ns if since_raw_ns is not None and raw_ns >= since_raw_ns else StampRefusal.MOVED

    def _watched_since(self, not_before_raw_ns: int, *, rate: float) -> int | None:
        """Return from which raw value on a stamp is right by the newest pair, as far as the pairs back to
        `not_before_raw_ns` can say; None where one of them disagrees.
        """
        pair = self._recent[-1]
        pair_raw_ns, pair_minus_raw_ns = pair.raw_ns, pair.realtime_minus_raw_ns
        for earlier in reversed(self._recent):
            # Of a movement between the stamp and `pair`, the stamp's error is what this finds, and the half width of
            # `earlier`. It is `_disagreement_ns`, written out: in a flood this is most of what a batch costs.
            earlier_raw_ns = earlier.raw_ns
            moved_ns = pair_minus_raw_ns - earlier.realtime_ns + earlier_raw_ns
            moved_ns -= round(rate * (pair_raw_ns - earlier_raw_ns))
            if abs(moved_ns) + earlier.half_width_ns > LIMIT_NS:
                return None
            if earlier_raw_ns <= not_before_raw_ns:
                return not_before_raw_ns - LIMIT_NS
        return self._recent[0].raw_ns

    # How the difference and its rate are learned.

    def _narrowest_triple(self) -> ClockPair:
        """Read RAW, REALTIME, RAW up to five times and keep the narrowest; one below 1 us ends the search."""
        best: ClockPair | None = None
        for _ in range(TRIPLES):
            before = self.raw_ns()
            realtime = self.realtime_ns()
            after = self.raw_ns()
            half_width_ns = (after - before + 1) // 2
            if best is None or half_width_ns < best.half_width_ns:
                best = ClockPair(before + (after - before) // 2, realtime, half_width_ns)
            if after - before <= NARROW_ENOUGH_NS:
                break
        assert best is not None
        return best

    def _on_moved(self, pair: ClockPair, *, moved_ns: int) -> None:
        """Note a movement; moving on at the same pace for 50 ms is a slew, and its rate is learned anew."""
        self.steps_total += 1
        self.steps.append(HostStep(pair.raw_ns, moved_ns / NS_PER_S))
        self._doubt_raw_ns, self._doubt = pair.raw_ns, StampRefusal.MOVED
        if not self._relearning:
            self._relearning = True
            self._learning.clear()
            self._learning.append(pair)
        elif pair.raw_ns - self._learning[0].raw_ns >= RATE_BASELINE_NS:
            self._start_rate(pair)

    def _after_gap(self, pair: ClockPair, *, moved_ns: int) -> None:
        """Begin to watch again after a time without pairs (a source that is asked every 16 s, a process put to sleep).

        Nothing from before is believed. A movement that an ordinary change of slew explains is no step: over a long
        time it is what teaches the rate best.
        """
        last = self._recent[-1]
        self._doubt_raw_ns, self._doubt = pair.raw_ns, StampRefusal.PAIR_GAP
        self._relearning = False
        self._learning.clear()
        if abs(moved_ns) > MOVED_NS + UNWATCHED_SLEW * (pair.raw_ns - last.raw_ns):
            self.steps_total += 1
            self.steps.append(HostStep(pair.raw_ns, moved_ns / NS_PER_S))
        else:
            self._rate = _slope(last, pair)
            self._learning.append(last)
        self._learning.append(pair)

    def _learn_first(self, pair: ClockPair) -> None:
        """Wait for 50 ms of pairs, then take their slope."""
        if pair.raw_ns - self._learning[0].raw_ns >= RATE_BASELINE_NS:
            self._start_rate(pair)

    def _start_rate(self, pair: ClockPair) -> None:
        """Take the slope since the first pair of the learning run as the rate, unless a step is in it; begin the run
        again if so.
        """
        slope = _slope(self._learning[0], pair)
        if abs(slope) <= FASTEST_SLEW:
            self._rate = slope
            first = self._learning[0]
            self._learning.clear()
            self._learning.extend((first, pair))
            self._relearning = False
        else:
            self._learning.clear()
            self._learning.append(pair)

    def _learn(self, pair: ClockPair) -> None:
        """Let the rate follow the last pairs, end to end."""
        if pair.raw_ns - self._learning[-1].raw_ns < RATE_PAIR_SPACING_NS:
            return
        self._learning.append(pair)
        if pair.raw_ns - self._learning[0].raw_ns >= RATE_BASELINE_NS:
            self._rate = _slope(self._learning[0], pair)


def _slope(earlier: ClockPair, later: ClockPair) -> float:
    """Return d(REALTIME - RAW)/d(RAW) between two pairs."""
    return (later.realtime_minus_raw_ns - earlier.realtime_minus_raw_ns) / (later.raw_ns - earlier.raw_ns)


def _disagreement_ns(earlier: ClockPair, later: ClockPair, *, rate: float) -> int:
    """Return by how much REALTIME - RAW moved between two pairs, beyond what the rate predicts."""
    predicted_ns = earlier.realtime_minus_raw_ns + round(rate * (later.raw_ns - earlier.raw_ns))
    return later.realtime_minus_raw_ns - predicted_ns
