"""The sock process: the clock page as samples of chronyd's SOCK reference clock, in a process of its own.

`python -m truechimer.daemon.door.sock_process --page FILE --socket PATH` sends, once a period, served UTC minus this
machine's system clock, both at one moment of the raw counter. It makes no time and serves none beside the page.

The law of the file: **silence is the safe state**. No sample is sent while the page is unsynchronised, too old, of
another boot or simulated, while its bound is above the limit, within `SETTLING_S` of a movement of the system clock,
around a leap second, or where the two clocks could not be read together. chronyd then does without us.
"""

import argparse
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from pathlib import Path

from truechimer.daemon import notify
from truechimer.daemon.door.door_program import (
    DEFAULT_ORPHAN_EXIT_S,
    WRONG_USE,
    OneLineParser,
    add_door_options,
    complain,
    say_ready,
)
from truechimer.daemon.door.parenthood import Parenthood, take_away
from truechimer.daemon.door.sock_door import SockState, write_state
from truechimer.daemon.host_clocks import WIDEST_PAIR_NS, HostClocks
from truechimer.daemon.ntp.serve_process import DEFAULT_BOUND_LIMIT_S, written_ns
from truechimer.daemon.page_file import PageReader
from truechimer.drivers.chrony_sock import Sent, SockLeap, SockSender, pack
from truechimer.instants import FS_PER_NS, FS_PER_S
from truechimer.serve.clock_page import ClockPage, PageUnreadable
from truechimer.serve.served_time import LeapIndicator, ServedTime, Unsynchronised, serve_at, tai_minus_ntp_at

NS_PER_S = 10**9
DEFAULT_PERIOD_S = 1.0
LEAST_PERIOD_S, MOST_PERIOD_S = 0.05, 60.0
WATCH_EVERY_S = 0.02
"""Between two pairs of the clocks: below the 90 ms beyond which `host_clocks` calls the system clock unwatched."""

SETTLING_S = 0.5
"""After a movement of the system clock: its new rate is known, and what moved it has ended or goes on evenly."""

AROUND_LEAP_S = 2.0
_LEAPS = {LeapIndicator.INSERT: SockLeap.INSERT, LeapIndicator.DELETE: SockLeap.DELETE}


class WhySilent(StrEnum):
    """Why no sample was sent, beside the reasons of `WhyUnsynchronised`."""

    WALL_CLOCK_MOVED = "wall-clock-moved"
    PAIR_WIDE = "pair-wide"  # interrupted while reading the two clocks
    LEAP_SECOND = "leap-second"


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample that may be sent: at `wall_ns` (system clock) served UTC is ahead of it by `x_served_minus_wall_s`, give
    or take `bound_s`.
    """

    wall_ns: int
    x_served_minus_wall_s: float
    bound_s: float
    leap: SockLeap


class Sampler:
    """Pairs of the host's clocks, and what the page says at them. `watch` wants to be called every 20 ms."""

    def __init__(self, clocks: HostClocks, *, bound_limit_s: float, simulated_allowed: bool) -> None:
        self._clocks = clocks
        self._bound_limit_s, self._simulated_allowed = bound_limit_s, simulated_allowed
        self._moved_raw_ns: int | None = None

    def watch(self) -> None:
        """Take a pair, and note whether the system clock was moved."""
        pair = self._clocks.take_pair()
        if self._clocks.take_steps():
            self._moved_raw_ns = pair.raw_ns

    def sample(self, page: ClockPage | PageUnreadable) -> Sample | str:
        """Return the sample of this moment, or why there is none."""
        pair = self._clocks.take_pair()
        if self._clocks.take_steps():
            self._moved_raw_ns = pair.raw_ns
        served = serve_at(
            page,
            pair.raw_ns,
            bound_limit_s=self._bound_limit_s,
            boot_id=self._clocks.boot_id(),
            simulated_allowed=self._simulated_allowed,
        )
        if isinstance(served, Unsynchronised):
            return served.reason.value
        if 2 * pair.half_width_ns >= WIDEST_PAIR_NS:
            return WhySilent.PAIR_WIDE.value
        if not self._clocks.rate_is_learned or self._is_settling(pair.raw_ns):
            return WhySilent.WALL_CLOCK_MOVED.value
        tai_fs = served.instant.tai_fs
        leap = leap_of(served)
        if leap is None:
            return WhySilent.LEAP_SECOND.value
        unix_fs = tai_fs - tai_minus_ntp_at(served.page, tai_fs) * FS_PER_S
        return Sample(
            pair.realtime_ns,
            (unix_fs - pair.realtime_ns * FS_PER_NS) / 1e15,
            served.bound_s + pair.half_width_ns / NS_PER_S,
            leap,
        )

    def _is_settling(self, raw_ns: int) -> bool:
        return self._moved_raw_ns is not None and raw_ns - self._moved_raw_ns < SETTLING_S * NS_PER_S


def leap_of(served: ServedTime) -> SockLeap | None:
    """Return the leap of a sample of this time, None where silence is kept: around a leap second."""
    if _is_near_leap(served.page, served.instant.tai_fs):
        return None
    return _LEAPS.get(served.leap, SockLeap.NONE)


def _is_near_leap(page: ClockPage, tai_fs: int) -> bool:
    """Return True where the kernel may be about to move the system clock by a second."""
    at = page.next_leap_tai_s
    return at is not None and abs(tai_fs - at * FS_PER_S) < AROUND_LEAP_S * FS_PER_S


class SockLoop:
    """One turn after another: watch the clocks, and once a period send or be silent."""

    def __init__(
        self,
        sampler: Sampler,
        sender: SockSender,
        page: Callable[[], ClockPage | PageUnreadable],
        *,
        period_s: float,
        raw_ns: Callable[[], int],
    ) -> None:
        self.state = SockState()
        self._sampler, self._sender, self._page, self._raw_ns = sampler, sender, page, raw_ns
        self._period_ns = round(period_s * NS_PER_S)
        self._due_raw_ns = raw_ns()

    def turn(self) -> bool:
        """Watch; where a sample is due, send it or count why not. Return whether one was due."""
        raw_ns = self._raw_ns()
        if raw_ns < self._due_raw_ns:
            self._sampler.watch()
            return False
        self._due_raw_ns = max(self._due_raw_ns + self._period_ns, raw_ns + self._period_ns // 2)
        state = self.state
        found = self._sampler.sample(self._page())
        if isinstance(found, str):
            state.silent[found] = state.silent.get(found, 0) + 1
            state.now, state.says = f"silent: {found}", ""
            state.x_served_minus_wall_s = state.bound_s = None
            return True
        state.x_served_minus_wall_s, state.bound_s = found.x_served_minus_wall_s, found.bound_s
        sample = pack(wall_ns=found.wall_ns, reference_minus_wall_s=found.x_served_minus_wall_s, leap=found.leap)
        outcome = self._sender.send(sample)
        if outcome is Sent.SENT:
            state.sent += 1
            state.now, state.says = "sending", ""
        else:
            state.refused[outcome.value] = state.refused.get(outcome.value, 0) + 1
            state.now = f"not received: {outcome.value}"
            state.says = f"{self._sender.path}: {self._sender.last_error}; start chronyd with this SOCK refclock"
        return True


def parser() -> argparse.ArgumentParser:
    """Return the command line of this process."""
    options = OneLineParser(prog="sock_process", description="send the clock page to chronyd's SOCK reference clock")
    options.add_argument("--page", type=Path, required=True, help="the clock page's file; it may appear later")
    options.add_argument(
        "--socket", type=Path, required=True, help="the socket that chronyd makes; it may appear later"
    )
    options.add_argument("--period-s", type=float, default=DEFAULT_PERIOD_S, help="between two samples (default 1)")
    options.add_argument(
        "--bound-limit-s", type=float, default=DEFAULT_BOUND_LIMIT_S, help="silent above this bound (default 0.001)"
    )
    options.add_argument("--state", type=Path, help="file in which this process says what it does")
    add_door_options(options, orphan_exit_s=DEFAULT_ORPHAN_EXIT_S, while_orphaned="nobody writes the page")
    options.add_argument(
        "--insecure-serve-simulated-time",
        action="store_true",
        help="discipline a clock by a simulated laboratory",
    )
    return options


def main(argv: list[str] | None = None) -> int:
    """Run the door until told to end."""
    options = parser().parse_args(argv)
    notify.configure(options.log)
    complaint = _complaint(options)
    parent = Parenthood(options.parent_pid, exit_s=options.orphan_exit_s, pidfile=options.pidfile)
    if complaint is None and parent.is_lost:
        return 0  # killed before this door was open: the next laboratory opens its own
    if complaint is None and options.pidfile is not None:
        try:
            options.pidfile.write_text(f"{os.getpid()}\n", encoding="ascii")
        except OSError as error:
            complaint = f"cannot write {error.filename}: {error.strerror}; check the folder"
    if complaint is not None:
        complain("sock_process", complaint)
        return WRONG_USE
    try:
        _serve(options, parent)
    finally:
        take_away(options.pidfile)
        if options.state is not None:
            options.state.unlink(missing_ok=True)
    return 0


def _complaint(options: argparse.Namespace) -> str | None:
    """Return what is wrong with the values, in one line, or None."""
    if not LEAST_PERIOD_S <= options.period_s <= MOST_PERIOD_S:
        return f"--period-s {options.period_s} cannot be kept; give {LEAST_PERIOD_S:g} to {MOST_PERIOD_S:g} seconds"
    if not (options.bound_limit_s > 0.0 and isfinite(options.bound_limit_s)):
        return f"--bound-limit-s {options.bound_limit_s} is no limit; give more than 0 seconds"
    if not options.orphan_exit_s >= 0.0:
        return f"--orphan-exit-s {options.orphan_exit_s} is not a time; give 0 or more seconds"
    return None


def _serve(options: argparse.Namespace, parent: Parenthood) -> None:
    """Say that the door is open, and send until a signal, or until orphaned for long enough."""
    ending: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda asked, _frame: ending.append(asked))
    clocks = HostClocks()
    pages = PageReader(options.page)
    sampler = Sampler(
        clocks, bound_limit_s=options.bound_limit_s, simulated_allowed=options.insecure_serve_simulated_time
    )
    sender = SockSender(options.socket)
    loop = SockLoop(sampler, sender, pages.current, period_s=options.period_s, raw_ns=clocks.raw_ns)
    say_ready("chrony-sock", path=str(options.socket))
    while not ending:
        if loop.turn():
            pages.reopen()
            if options.state is not None:
                write_state(loop.state, options.state)
            if parent.is_lost and parent.must_end(clocks.raw_ns(), written_ns(pages, clocks)):
                break
        time.sleep(WATCH_EVERY_S)
    sender.close()
    pages.close()


if __name__ == "__main__":
    raise SystemExit(main())
