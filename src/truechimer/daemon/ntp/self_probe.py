"""The self-probe: the door's own client, which asks the door's port as any client does and says by how much the answers
are wrong.

It stands outside the loop that answers: a thread of the door's process with a socket of its own. It corrects nothing.
The error of an answer is what a client would compute, held against the page at the same two moments of the raw counter:
((T2 - served(T1)) + (T3 - served(T4))) / 2. So it sees what goes wrong between the page and the wire: a stamp read at
the wrong place, a worker with an old page, a wall clock that carried a kernel stamp away. What is wrong with the page
itself it cannot see. A door that smears is held against the line that it smears to.

It is a client like any other: where the door's rules would have it refused, it does not ask, and says so. Where an
accelerator answers plain requests below the sockets, it asks twice, the second time in a form that only the sockets
answer. Source: RFC 5905 8, RFC 7822; issue 8, item 5.
"""

import ipaddress
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from truechimer.daemon.door import counters as names
from truechimer.daemon.door.counters import Barred, Counters
from truechimer.daemon.door.door_rules import Gatekeeper, is_loopback
from truechimer.daemon.door.socket_address import socket_address
from truechimer.daemon.host_clocks import NS_PER_S, HostClocks
from truechimer.daemon.ntp.ntp_exchange import NtpExchange, exchange
from truechimer.daemon.page_file import PageReader
from truechimer.instants import ntp64
from truechimer.serve.clock_page import ClockPage
from truechimer.serve.ntp import smear
from truechimer.serve.ntp.reply import Kiss, stamp_at

ASK_EVERY_S = 1.0
ANSWERED_WITHIN_S = 0.5
REMEMBERED = 16
WARM_UP_PAIRS = 16
WARM_UP_STEP_S = 0.01
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - a door on every address is asked on its own machine's
SPARE = 2.0
"""A door whose rate for one source is below so many times the probe's own is not asked: the rest is others' on this
machine.
"""
REFUSALS = {Kiss.RATE.value, Kiss.DENY.value}
"""Answers that are the rules'."""
TO_THE_SOCKETS = struct.pack(">HH", 0xFF00, 28).ljust(28, b"\0")
"""A field of no meaning (RFC 7822, of the numbers for experiments): an accelerator passes on what is longer than 48
octets, and a door passes over it.
"""


@dataclass(frozen=True, slots=True)
class Probed:
    """What the probe has seen: `asked`, `unanswered`, `refused` (by the rate of one source, which others on this
    machine use as well) and `timed` (with a time that could be held against the page) since the start; `error_ns`,
    positive where the answer is ahead of the page, and half the delay that the exchange took, which the error can be
    wrong by: those of the answer with the shortest delay among the last 16, None before the first; where two ways
    answer, of the way that is further off. `barred`: it does not ask, and why.
    """

    asked: int = 0
    unanswered: int = 0
    timed: int = 0
    error_ns: int | None = None
    half_delay_ns: int | None = None
    refused: int = 0
    barred: Barred = Barred.NO


def error_of(page: ClockPage, found: NtpExchange, *, smears: bool = False) -> tuple[int, int] | None:
    """Return the error of an answer against the page, and half its delay (ns); None where it gave no time. `smears`:
    the door deals leap seconds out.
    """
    answer = found.answer
    if answer.doubt is not None or not (answer.receive and answer.transmit):
        return None
    sent, came = (
        stamp_at(smear.bent(page, raw_ns).page if smears else page, raw_ns)
        for raw_ns in (found.sent_raw_ns, found.rx.raw_ns)
    )
    first, second = _signed(answer.receive - sent), _signed(answer.transmit - came)
    delay_ns = (first - second) * NS_PER_S / ntp64.UNITS_PER_S
    return round((first + second) * NS_PER_S / ntp64.UNITS_PER_S / 2), round(max(delay_ns, 0.0) / 2)


def _signed(difference: int) -> int:
    difference &= ntp64.STAMP_MASK
    return difference - (1 << 64) if difference >> 63 else difference


class SelfProbe:
    """Asks the door at `address` and `port` once a second, in a thread of its own; `seen` is what it found.

    `gate`: the door's rules at work; `refusals`: how many packets the door has left unanswered for their rate so far;
    `tails`: what follows each question of a turn (`TO_THE_SOCKETS`, nothing).
    """

    def __init__(
        self,
        address: str,
        port: int,
        pages: PageReader,
        *,
        clocks: HostClocks,
        ask: Callable[[str, int, HostClocks, bytes], object] | None = None,
        gate: Gatekeeper | None = None,
        refusals: Callable[[], int] = lambda: 0,
        tails: tuple[bytes, ...] = (b"",),
    ) -> None:
        self._address, self._port, self._pages, self._clocks = LOOPBACK.get(address, address), port, pages, clocks
        self._ask = ask or _ask
        self._gate, self._refusals = gate, refusals
        # half delay, error; those of each way apart
        self._recent: dict[bytes, deque[tuple[int, int]]] = {tail: deque(maxlen=REMEMBERED) for tail in tails}
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
        counters.put(names.PROBES_REFUSED, seen.refused)
        counters.put(names.PROBE_BARRED, seen.barred)
        counters.put(names.SERVE_ERROR_NS, seen.error_ns or 0)
        counters.put(names.SERVE_ERROR_HALF_DELAY_NS, seen.half_delay_ns or 0)

    def end(self) -> None:
        """Ask no more."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(ANSWERED_WITHIN_S + 1.0)

    def turn(self) -> None:
        """Ask once, each way, and note what came back; where the rules forbid it, note that."""
        source = source_of(self._address, self._port)
        barred = self._barred(source)
        if barred is not Barred.NO:
            for recent in self._recent.values():
                recent.clear()
            self.seen = replace(self.seen, barred=barred, error_ns=None, half_delay_ns=None)
            return
        for _ in range(WARM_UP_PAIRS):  # pairs from a second ago watch nothing
            self._clocks.take_pair()
            if self._clocks.rate_is_learned or self._ending.wait(WARM_UP_STEP_S):
                break
        is_counted = self._is_counted(source)
        unanswered, refused, timed = False, False, False
        for tail, recent in self._recent.items():
            refusals, before = self._refusals(), self._pages.current()
            found = self._ask(self._address, self._port, self._clocks, tail)
            after = self._pages.current()
            if not isinstance(found, NtpExchange):
                was_refused = is_counted and self._refusals() != refusals
                refused, unanswered = refused or was_refused, unanswered or not was_refused
            elif found.answer.kiss in REFUSALS:
                refused = True
            elif before is after and isinstance(after, ClockPage):  # else two lines, and an error against neither
                error = error_of(after, found, smears=self._gate is not None and self._gate.rules.smears)
                if error is not None:
                    timed = True
                    recent.append((error[1], error[0]))
        best = [min(recent) for recent in self._recent.values() if recent]
        half_delay_ns, error_ns = max(best, key=lambda one: abs(one[1]) - one[0]) if best else (None, None)
        seen = self.seen
        self.seen = Probed(
            seen.asked + 1,
            seen.unanswered + unanswered,
            seen.timed + timed,
            error_ns,
            half_delay_ns,
            seen.refused + (refused and not unanswered),
        )

    def _barred(self, source: str | None) -> Barred:
        """Return whether the rules have this machine's own questions refused."""
        if self._gate is None or source is None:
            return Barred.NO
        if not self._gate.access.answers(source):
            return Barred.DENIED
        own_per_s = len(self._recent) / ASK_EVERY_S
        return (
            Barred.RATE if self._is_counted(source) and self._gate.rules.rate_per_s < SPARE * own_per_s else Barred.NO
        )

    def _is_counted(self, source: str | None) -> bool:
        """Return whether the rate of one source is for this machine too."""
        if self._gate is None or self._gate.rates is None or source is None:
            return False
        octets = ipaddress.ip_address(source.partition("%")[0]).packed
        return self._gate.rules.rate_loopback or not is_loopback(octets)

    def _go_on(self) -> None:
        while not self._ending.wait(ASK_EVERY_S):
            self._pages.reopen()
            self.turn()


def source_of(address: str, port: int) -> str | None:
    """Return from which of this machine's addresses an address of its own is asked; None where there is none. Nothing
    is sent.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as connection:
            connection.connect(socket_address(address, port))
            return str(connection.getsockname()[0])
    except OSError:
        return None


def _ask(address: str, port: int, clocks: HostClocks, tail: bytes) -> object:
    """Ask once over the network."""
    return exchange(address, port, timeout_s=ANSWERED_WITHIN_S, clocks=clocks, tail=tail)
