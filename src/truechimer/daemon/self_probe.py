"""The self-probe: the door's own client, which asks the door's port as any client does and says by how much the answers
are wrong.

It stands outside the loop that answers: a thread of the door's process with a socket of its own. It corrects nothing.
The error of an answer is what a client would compute, held against the page at the same two moments of the raw counter:
((T2 - served(T1)) + (T3 - served(T4))) / 2. So it sees what goes wrong between the page and the wire: a stamp read at
the wrong place, a worker with an old page, a wall clock that carried a kernel stamp away. What is wrong with the page
itself it cannot see. Source: RFC 5905 8; issue 8, item 5.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from truechimer.daemon import counters as names
from truechimer.daemon.counters import Counters
from truechimer.daemon.host_clocks import NS_PER_S, HostClocks
from truechimer.daemon.ntp_exchange import NtpExchange, exchange
from truechimer.daemon.page_file import PageReader
from truechimer.instants import ntp64
from truechimer.serve.clock_page import ClockPage
from truechimer.serve.ntp.reply import stamp_at

ASK_EVERY_S = 1.0
ANSWERED_WITHIN_S = 0.5
REMEMBERED = 16
WARM_UP_PAIRS = 16
WARM_UP_STEP_S = 0.01
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - a door on every address is asked on its own machine's


@dataclass(frozen=True, slots=True)
class Probed:
    """What the probe has seen: `asked`, `unanswered` and `timed` (with a time that could be held against the page)
    since the start; `error_ns`, positive where the answer is
    ahead of the page, and half the delay that the exchange took, which the error can be wrong by: those of the answer
    with the shortest delay among the last 16, None before the first.
    """

    asked: int = 0
    unanswered: int = 0
    timed: int = 0
    error_ns: int | None = None
    half_delay_ns: int | None = None


def error_of(page: ClockPage, found: NtpExchange) -> tuple[int, int] | None:
    """Return the error of an answer against the page, and half its delay (ns); None where it gave no time."""
    answer = found.answer
    if answer.doubt is not None or not (answer.receive and answer.transmit):
        return None
    sent, came = stamp_at(page, found.sent_raw_ns), stamp_at(page, found.rx.raw_ns)
    first, second = _signed(answer.receive - sent), _signed(answer.transmit - came)
    delay_ns = (first - second) * NS_PER_S / ntp64.UNITS_PER_S
    return round((first + second) * NS_PER_S / ntp64.UNITS_PER_S / 2), round(max(delay_ns, 0.0) / 2)


def _signed(difference: int) -> int:
    difference &= ntp64.STAMP_MASK
    return difference - (1 << 64) if difference >> 63 else difference


class SelfProbe:
    """Asks the door at `address` and `port` once a second, in a thread of its own; `seen` is what it found."""

    def __init__(
        self,
        address: str,
        port: int,
        pages: PageReader,
        *,
        clocks: HostClocks,
        ask: Callable[[str, int, HostClocks], object] | None = None,
    ) -> None:
        self._address, self._port, self._pages, self._clocks = LOOPBACK.get(address, address), port, pages, clocks
        self._ask = ask or _ask
        self._recent: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)  # half delay, error
        self._ending = threading.Event()
        self.seen = Probed()
        self._thread = threading.Thread(target=self._go_on, name="self-probe", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def put_into(self, counters: Counters) -> None:
        """State what was seen."""
        seen = self.seen
        counters.put(names.PROBES, seen.asked)
        counters.put(names.PROBES_UNANSWERED, seen.unanswered)
        counters.put(names.PROBES_TIMED, seen.timed)
        if seen.error_ns is not None and seen.half_delay_ns is not None:
            counters.put(names.SERVE_ERROR_NS, seen.error_ns)
            counters.put(names.SERVE_ERROR_HALF_DELAY_NS, seen.half_delay_ns)

    def end(self) -> None:
        """Ask no more."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(ANSWERED_WITHIN_S + 1.0)

    def turn(self) -> None:
        """Ask once, and note what came back."""
        for _ in range(WARM_UP_PAIRS):  # pairs from a second ago watch nothing
            self._clocks.take_pair()
            if self._clocks.rate_is_learned or self._ending.wait(WARM_UP_STEP_S):
                break
        before = self._pages.current()
        found = self._ask(self._address, self._port, self._clocks)
        after = self._pages.current()
        asked, unanswered, timed = self.seen.asked + 1, self.seen.unanswered, self.seen.timed
        if not isinstance(found, NtpExchange):
            unanswered += 1
        elif before is after and isinstance(after, ClockPage):  # else two lines, and an error against neither
            error = error_of(after, found)
            if error is not None:
                timed += 1
                self._recent.append((error[1], error[0]))
        best = min(self._recent, default=None)
        half_delay_ns, error_ns = best or (None, None)
        self.seen = Probed(asked, unanswered, timed, error_ns, half_delay_ns)

    def _go_on(self) -> None:
        while not self._ending.wait(ASK_EVERY_S):
            self._pages.reopen()
            self.turn()


def _ask(address: str, port: int, clocks: HostClocks) -> object:
    """Ask once over the network."""
    return exchange(address, port, timeout_s=ANSWERED_WITHIN_S, clocks=clocks)
