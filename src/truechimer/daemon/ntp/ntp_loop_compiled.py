"""The NTP door's loop in machine code: batches of datagrams, kernel stamps, one transmit stamp for each answer.

It is the loop of `ntp_loop` for plain requests; everything else it leaves to that one: requests with a tail, pages that
its numbers cannot hold, the first milliseconds before the host's clocks are known. What may be served comes from
`serve_at` and `respond` themselves, as a template that holds for a while: nothing about time is decided twice.

Source: `house.md` 4.7, issue 8, ADR 73. The law of the file: a template is used only between the raw values at which
`respond` would have said the same.
"""

import math
import socket
import struct
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truechimer.daemon.door import counters as names
from truechimer.daemon.door.counters import Counters
from truechimer.daemon.door.door_rules import Denied, Gatekeeper
from truechimer.daemon.host_clocks import HostClocks, StampRefusal
from truechimer.daemon.ntp import ntp_layout as layout
from truechimer.daemon.ntp import ntp_memory
from truechimer.daemon.ntp.card_clock import CardClock
from truechimer.daemon.ntp.control_messages import (
    CARD_INDEX,
    FAMILY_LEVEL,
    HARDWARE,
    IP_PKTINFO,
    IPPROTO_IP,
    IPV6_PKTINFO,
    NO_STAMP,
    PACKET_INFO,
    read_control,
)
from truechimer.daemon.ntp.departure_desk import BURST_S, PER_S_COMPILED, DepartureDesk
from truechimer.daemon.ntp.ntp_layout import BATCH, Memory, Rules
from truechimer.daemon.ntp.ntp_loop import NS_PER_S, NtpLoop, Received, UdpPort, answer_from_of
from truechimer.daemon.page_file import PageReader
from truechimer.quorum.listener_policy import ListenerPolicy
from truechimer.serve.clock_page import SLOT_OFFSETS
from truechimer.serve.ntp import line_kernel, packet_kernel
from truechimer.serve.ntp.line_kernel import line_fits, line_of
from truechimer.serve.ntp.packet import Mode, NtpHeader
from truechimer.serve.ntp.packet_kernel import (
    CLAMP_REFERENCE,
    HAS_TIME,
    INTERLEAVES,
    LEAST_POLL,
    TEMPLATE_LENGTH,
)
from truechimer.serve.ntp.reply import Client, Kiss, Offers, Reply, ReplyKind
from truechimer.serve.ntp.server import POLL_RANGE, respond
from truechimer.serve.rx_stamp import STAMP_HANDLING_LIMIT_S, USER_STAMP_LIMIT_S, RxStamp, StampKind
from truechimer.serve.served_time import ServedTime, Unsynchronised, serve_at

RETURN_EVERY_NS = 50_000_000
"""Python looks at signals, counters and the host's clocks this often: well below the 90 ms at which two pairs of
`HostClocks` would watch nothing.
"""
TEMPLATE_FOR_NS = 100_000_000
FINEST_TEMPLATE_NS = 1_000_000
MOST_ENDED = 8
"""Templates that end before they are used: a bound that grows so fast is left to the reference."""
TO_PYTHON_PER_S = 2_000
"""Requests with a tail that are looked at in a second: about 5 % of a processor. More are counted and dropped."""
MOST_TO_PYTHON_AT_ONCE = 200
MOST_STAMPS_AT_ONCE = round(PER_S_COMPILED * BURST_S)
LEAST_QUEUE_SHARE = 256
"""Octets that a datagram takes of a socket's buffer at least: the kernel's own record of one is 232."""

_SIX_WORDS = struct.Struct("<6I")

_REQUEST = NtpHeader(version=4, mode=Mode.CLIENT).encode()
_SOMEBODY = Client("", 1)
_NOTHING = bytearray()
_KINDS = ((StampKind.KERNEL, STAMP_HANDLING_LIMIT_S), (StampKind.USER, USER_STAMP_LIMIT_S))


@dataclass(frozen=True, slots=True)
class Template:
    """What is answered from one raw value to another: for each kind of stamp the words and the counters."""

    rows: tuple[tuple[int, ...], ...]
    counters: tuple[tuple[int, int], ...]
    line: tuple[NDArray[np.int64], NDArray[np.float64]]


class CompiledNtpLoop(NtpLoop):
    """One door, served in machine code: call `turn` again and again.

    `two_per_stamp`: in long batches one reading of the clock for two answers. Only for a real socket and a page in a
    file; the rest is as in `NtpLoop`.
    """

    def __init__(
        self,
        port: UdpPort,
        pages: PageReader,
        *,
        clocks: HostClocks,
        counters: Counters,
        bound_limit_s: float,
        precision_log2: int,
        simulated_allowed: bool = True,
        gate: Gatekeeper | None = None,
        two_per_stamp: bool = False,
        card: CardClock | None = None,
    ) -> None:
        super().__init__(
            port,
            pages,
            clocks=clocks,
            counters=counters,
            bound_limit_s=bound_limit_s,
            precision_log2=precision_log2,
            simulated_allowed=simulated_allowed,
            gate=gate,
            departures=_desk(port, gate, card),
        )
        self._page_file = pages
        self._udp = port
        self._counts = np.frombuffer(counters.values, dtype=np.int64)
        self.memory: Memory = ntp_memory.new_memory(_tally(counters), np.array(names.ANSWERED_EDGES_NS, dtype=np.int64))
        settings = self.memory.settings
        settings[layout.SOCKET] = port.socket.fileno()
        settings[layout.PAIRWISE] = two_per_stamp
        settings[layout.PACKET_INFO_WANTED] = port.socket.getsockname()[0] in {"0.0.0.0", "::"}  # noqa: S104
        settings[layout.PAGE_AT] = SLOT_OFFSETS[0]
        settings[layout.PAGE_APART] = SLOT_OFFSETS[1] - SLOT_OFFSETS[0]
        waiting = port.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // LEAST_QUEUE_SHARE + 1
        settings[layout.QUEUE_STARTS] = min(math.ceil((waiting + 1) / BATCH), layout.MOST_STARTS - 1)
        settings[layout.OWN_PORT] = port.port
        if self._departures is not None and self._departures.open and self._gate.offers.saved is not None:
            settings[layout.DEPARTURES] = self._departures.bits
        self._offers: Offers | None = None
        self._access: object = None
        self._rules = self._take_rules()
        self._line = (np.zeros(line_kernel.LINE_WORDS, dtype=np.int64), np.zeros(1, dtype=np.float64))
        self._prepared_for: object = None
        self._kisses_know: bool | None = None
        self._part_of_one = 0.0
        self.memory.state[layout.ALLOWANCE] = MOST_TO_PYTHON_AT_ONCE
        self._looked_raw_ns = self._stamped_raw_ns = clocks.raw_ns()
        self.memory.state[layout.STAMPS_LEFT] = MOST_STAMPS_AT_ONCE

    def use_policy(self, policy: ListenerPolicy | None) -> None:
        """Answer by a policy from now on."""
        super().use_policy(policy)
        self._prepared_for = None

    def warm_up(self) -> None:
        """Have machine code for all that is called later, before anything is served by it."""
        memory, clocks = self.memory, self._clocks
        rate = clocks.rate or 0.0
        self._prepare(clocks.raw_ns())
        memory.state[layout.DEADLINE_RAW] = -(2**62)  # nothing is received
        ntp_memory.serve(memory, self._rules, *self._line, rate, self._counts)
        read_control(memory.control, 0, 0, memory.found)

    def turn(self, timeout_s: float = RETURN_EVERY_NS / NS_PER_S) -> int:
        """Serve for about `timeout_s` and keep the books; returns how many datagrams came."""
        clocks, state = self._clocks, self.memory.state
        before = self._counters[names.RECEIVED]
        clocks.take_pair()
        if clocks.rate is None:
            return super().turn()
        if self._card is not None:
            self._card.take_pair()
            is_known = self._card.rate is not None
            self.memory.card_rate[0] = self._card.rate or 0.0
            self.memory.settings[layout.CARD_INTERFACE] = self._card.index
            self.memory.settings[layout.CARD_CLOCK] = self._card.clock_id if is_known else 0
        now = clocks.raw_ns()
        ends = now + min(round(timeout_s * NS_PER_S), RETURN_EVERY_NS)
        ended = 0
        while now < ends or state[layout.PENDING]:
            rate = clocks.rate
            if rate is None or ended > MOST_ENDED or not self._prepare(now):
                self._drain_by_hand()
                return super().turn()
            self._refill(now)
            state[layout.DEADLINE_RAW] = ends
            why = ntp_memory.serve(self.memory, self._rules, *self._line, rate, self._counts)
            if why == layout.HANDED_OVER:
                self._by_hand()
            elif why == layout.BROKEN:
                time.sleep(RETURN_EVERY_NS / NS_PER_S)  # a broken socket must not eat the processor
                break
            ended = ended + 1 if why == layout.TEMPLATE_ENDED else 0
            if why in (layout.DOUBT, layout.PAGE_CHANGED):
                clocks.take_pair()
                self._prepared_for = None
            now = clocks.raw_ns()
        self._note_refusals()
        self._nothing_waited_raw_ns = max(self._nothing_waited_raw_ns, int(state[layout.EMPTY_RAW]))
        self._keep_books()
        return self._counters[names.RECEIVED] - before

    # What is answered.

    def _prepare(self, now_raw_ns: int) -> bool:
        """Make templates for this moment where those at hand do not hold; False where machine code cannot serve."""
        state, settings = self.memory.state, self.memory.settings
        if self._gate.access is not self._access or self._gate.offers is not self._offers:
            self._rules = self._take_rules()
            self._prepared_for = self._kisses_know = None
        page = self._page_file.current()
        settings[layout.PAGE_FILE] = self._page_file.descriptor
        seen = self._page_file.fingerprint
        if seen:
            state[layout.PAGE_FIRST], state[layout.PAGE_SECOND] = np.frombuffer(seen, dtype=np.int64)
        held = self._prepared_for is page and state[layout.FROM_RAW] <= now_raw_ns <= state[layout.UNTIL_RAW]
        if held:
            return True
        first = self._template_at(now_raw_ns)
        if first is None:
            return False
        self._prepare_kisses(now_raw_ns, is_time_known=bool(first.rows[0][HAS_TIME]))
        good, bad = now_raw_ns, now_raw_ns + TEMPLATE_FOR_NS
        if self._same(first, bad):
            good = bad
        while bad - good > FINEST_TEMPLATE_NS or (good == now_raw_ns and bad - good > 1):
            middle = (good + bad) // 2
            good, bad = (middle, bad) if self._same(first, middle) else (good, middle)
        state[layout.FROM_RAW], state[layout.UNTIL_RAW] = now_raw_ns, good
        self.memory.templates[: layout.KINDS] = first.rows
        self.memory.template_counters[: layout.KINDS] = first.counters
        self._line = first.line
        self._prepared_for = page
        return True

    def _take_rules(self) -> Rules:
        """Take the arrays of the door's rules, which its reference goes on using, and what they come to."""
        gate, settings = self._gate, self.memory.settings
        self._access, self._offers = gate.access, gate.offers
        rates, saved = gate.rates, gate.offers.saved
        settings[layout.EVERYBODY] = gate.access.everybody
        settings[layout.DENIED_HEARS] = gate.rules.denied == Denied.KISS.value
        settings[layout.RATES] = rates is not None
        settings[layout.RATES_LOOPBACK] = gate.rules.rate_loopback
        settings[layout.HAS_KEYS] = bool(gate.offers.keys)
        settings[layout.NEWEST_VERSION] = packet_kernel.NEWEST_VERSION + gate.offers.ntpv5
        table = (
            (rates.tags, rates.full_at_ns, rates.kissed_ns, rates.secrets, rates.limits, rates.state)
            if rates is not None
            else (_NOTHING,) * 6
        )
        stamps = (_NOTHING,) * 3 if saved is None else (saved.keys, saved.held, saved.saved_ns)
        return Rules(
            np.frombuffer(bytearray(gate.access.starts), dtype=np.uint8),
            np.frombuffer(bytearray(gate.access.verdicts), dtype=np.uint8),
            *(np.frombuffer(each, dtype=np.int64) for each in (*table, *stamps)),
        )

    def _prepare_kisses(self, now_raw_ns: int, *, is_time_known: bool) -> None:
        """Make the templates of kisses where those at hand do not hold. A kiss says nothing of time but whether any is
        known, which the answer beside it says as well: at another moment, or by another page, it is the same.
        """
        if self._kisses_know is is_time_known:
            return
        kisses = self._template_at(now_raw_ns, kisses=(Kiss.RATE, Kiss.DENY))
        assert kisses is not None  # the answer beside it could be made
        self.memory.templates[layout.KISS_RATE_ROWS :] = kisses.rows
        self.memory.template_counters[layout.KISS_RATE_ROWS :] = kisses.counters
        self._kisses_know = is_time_known

    def _same(self, template: Template, raw_ns: int) -> bool:
        """Return whether `respond` would say the same at another raw value."""
        other = self._template_at(raw_ns)
        return other is not None and (other.rows, other.counters) == (template.rows, template.counters)

    def _template_at(self, raw_ns: int, *, kisses: tuple[Kiss | None, ...] = (None,)) -> Template | None:
        """Return what `respond` says at `raw_ns` to a request that came then, for each of `kisses`; None where these
        numbers cannot hold it.
        """
        served = serve_at(
            self._page_file.current(),
            raw_ns,
            bound_limit_s=self._bound_limit_s,
            boot_id=self._clocks.boot_id(),
            simulated_allowed=self._simulated_allowed,
        )
        page = served.page
        line = self._line
        if page is not None:
            if not line_fits(page, raw_ns):
                return None
            line = line_of(page)
        # a request that came at the anchor or later has the anchor for its reference stamp
        came_ns = raw_ns if page is None else max(raw_ns, page.anchor_raw_ns)
        rows, counters = [], []
        for kiss in kisses:
            for kind, limit_s in _KINDS:
                reply = respond(
                    _REQUEST,
                    _SOMEBODY,
                    rx=RxStamp(came_ns, kind, limit_s),
                    served=served,
                    precision_log2=self._precision_log2,
                    offers=self._gate.offers,
                    kiss=kiss,
                )
                assert isinstance(reply, Reply)
                rows.append(self._row(reply, kiss))
                counters.append(self._counters_of(reply))
        return Template(tuple(rows), tuple(counters), line)

    def _row(self, reply: Reply, kiss: Kiss | None) -> tuple[int, ...]:
        """Return a template of an answer to a request that says nothing."""
        words = _SIX_WORDS.unpack_from(reply.head)  # the rest is the request's, as are version and poll
        row = [words[0] & ~(0x38 | 0xFF << 16), *words[1:], *([0] * (TEMPLATE_LENGTH - len(words)))]
        is_time = reply.kind is ReplyKind.SYNCHRONISED
        row[HAS_TIME], row[CLAMP_REFERENCE], row[INTERLEAVES] = reply.page is not None, is_time, is_time
        row[LEAST_POLL] = POLL_RANGE[0] if kiss is None else max(POLL_RANGE[0], self._gate.offers.poll_log2)
        return tuple(row)

    def _counters_of(self, reply: Reply) -> tuple[int, int]:
        """Return the places of the two counters that count such an answer; -1 for no second one."""
        because = -1 if reply.because is None else self._counters.place(names.UNSYNCHRONISED_COUNTERS[reply.because])
        return self._counters.place(names.REPLY_COUNTERS[reply.kind]), because

    # What machine code hands over.

    def _by_hand(self) -> None:
        """Answer those of the batch that wait for Python."""
        memory = self.memory
        came = int(memory.state[layout.PENDING])
        self._take_pairs()
        served = self._served()
        self._take_over_last()
        for i in range(came):
            if memory.verdicts[i] == packet_kernel.TO_PYTHON:
                self._answer_one(i, served)
        self._give_back_last()
        if self._departures is not None and self._departures.waiting:  # machine code takes them back
            if memory.state[layout.ASKED] == 0:
                memory.state[layout.ASKED_SINCE_RAW] = self._departures.asked_since_raw_ns
            memory.state[layout.ASKED] += self._departures.waiting
            self._departures.waiting = 0
        memory.state[layout.PENDING] = 0

    def _drain_by_hand(self) -> None:
        """Answer a whole batch that was received before machine code had to give up."""
        memory = self.memory
        came = int(memory.state[layout.PENDING])
        if came:
            memory.verdicts[:came] = packet_kernel.TO_PYTHON
            self._by_hand()

    def _answer_one(self, i: int, served: ServedTime | Unsynchronised) -> None:
        """Answer one datagram through the reference."""
        memory = self.memory
        state = memory.state
        self._nothing_waited_raw_ns = int(state[layout.NOT_BEFORE_RAW])
        try:
            self._answer(self.received(i), int(state[layout.USER_RAW]), served)
        except Exception:  # noqa: BLE001 - a fault of ours costs one answer, never the door
            self._counters.add(names.FAULTS)

    def received(self, i: int) -> Received:
        """Return datagram `i` of the batch as the reference takes it."""
        memory = self.memory
        header, peer = memory.inbound[i], memory.peers[i].tobytes()
        length = min(int(header[layout.RECEIVED]) & 0xFFFF_FFFF, layout.DATAGRAM_ROOM)
        port = int.from_bytes(peer[2:4], "big")
        source: tuple[str, int] | tuple[str, int, int, int]
        if int.from_bytes(peer[:2], "little") == socket.AF_INET:
            source = (socket.inet_ntoa(peer[4:8]), port)
        else:
            flow, scope = int.from_bytes(peer[4:8], "big"), int.from_bytes(peer[24:28], "little")
            source = (socket.inet_ntop(socket.AF_INET6, peer[8:24]), port, flow, scope)
        read_control(memory.control, i, int(header[layout.CONTROL_LENGTH]), memory.found)
        stamp = int(memory.found[0])
        answer_from: tuple[tuple[int, int, bytes], ...] = ()
        at = int(memory.found[PACKET_INFO])
        if at >= 0:
            level = int(memory.found[FAMILY_LEVEL])
            data = memory.control[i].tobytes()[at * 8 :][: 12 if level == IPPROTO_IP else 20]
            answer_from = answer_from_of(level, IP_PKTINFO if level == IPPROTO_IP else IPV6_PKTINFO, data)
        card_ns, kernels = (None if one == NO_STAMP else one for one in (int(memory.found[HARDWARE]), stamp))
        truncated = bool(int(header[layout.FLAGS]) & layout.MSG_TRUNC)
        octets = memory.octets[i, :length].tobytes()
        return Received(octets, source, kernels, truncated, answer_from, card_ns, int(memory.found[CARD_INDEX]))

    def _take_over_last(self) -> None:
        """Let the reference go on from the last stamps that machine code gave."""
        seconds, fraction = (int(each) for each in self.memory.last)
        self._last_transmit = seconds << 32 | fraction
        self._last_receive_raw_ns = int(self.memory.state[layout.LAST_RX_RAW])

    def _give_back_last(self) -> None:
        """Let machine code go on from the last stamps that the reference gave."""
        self.memory.last[:] = self._last_transmit >> 32, self._last_transmit & 0xFFFF_FFFF
        self.memory.state[layout.LAST_RX_RAW] = self._last_receive_raw_ns

    def _refill(self, now_raw_ns: int) -> None:
        """Let so many requests go to Python as the time since the last look allows."""
        state = self.memory.state
        left = float(state[layout.ALLOWANCE]) + self._part_of_one
        left = min(
            left + (now_raw_ns - self._looked_raw_ns) * TO_PYTHON_PER_S / NS_PER_S, float(MOST_TO_PYTHON_AT_ONCE)
        )
        stamps = (now_raw_ns - self._stamped_raw_ns) * PER_S_COMPILED // NS_PER_S
        if stamps > 0:
            state[layout.STAMPS_LEFT] = min(int(state[layout.STAMPS_LEFT]) + stamps, MOST_STAMPS_AT_ONCE)
            self._stamped_raw_ns = now_raw_ns
        self._looked_raw_ns = now_raw_ns
        state[layout.ALLOWANCE] = int(left)
        self._part_of_one = left - int(left)

    def _note_refusals(self) -> None:
        """Carry the stamps that machine code did not believe over to those that Python counts."""
        if not self.memory.state[layout.REFUSED]:
            return
        self.memory.state[layout.REFUSED] = 0
        for refusal, count in zip(StampRefusal, self.memory.refused.tolist(), strict=True):
            self._clocks.refusals[refusal] += count
        self.memory.refused[:] = 0


def _desk(port: UdpPort, gate: Gatekeeper | None, card: CardClock | None) -> DepartureDesk | None:
    """Return a door's desk for departures, where it offers what they are for, or a card stamps for it."""
    if card is None and (gate is None or gate.offers.saved is None):
        return None
    return DepartureDesk(port.socket, card=card)


def _tally(counters: Counters) -> NDArray[np.int64]:
    """Return which counters count what, in the order of `ntp_memory`."""
    place = counters.place
    head = [
        place(names.RECEIVED),
        place(names.TRUNCATED),
        place(names.STAMPS_KERNEL),
        place(names.STAMPS_USER),
        place(names.RECEIVE_FAILED),
        place(names.SEND_FAILED),
        place(names.OVER_BUDGET),
        place(names.ANSWERED_SUM),
        place(names.ANSWERED_WITHIN[0]),
        len(names.ANSWERED_EDGES_NS),
        place(names.DEPARTURES_ASKED),
        place(names.DEPARTURES_STAMPED),
        place(names.STAMPS_CARD),
    ]
    assert len(head) == layout.T_REASONS
    return np.array([*head, *(place(names.IGNORE_COUNTERS[each]) for each in packet_kernel.REASONS)], dtype=np.int64)
