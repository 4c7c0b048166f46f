"""The NTP door's loop: datagrams in with the kernel's receive stamp, replies out with a transmit stamp read just
before each send.

It decides nothing about time or protocol: `serve.ntp.server.respond` answers, `daemon.host_clocks` judges stamps,
`serve.served_time` says what may be served. Source: `house.md` 4.7 and walk 6.1 step 12.

Law of the file: no datagram and no error of a socket ends the loop; each is counted.
"""

import select
import socket
import struct
import time
from bisect import bisect_left
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from truechimer.daemon.door import counters as names
from truechimer.daemon.door.counters import Counters
from truechimer.daemon.door.door_rules import Gatekeeper, open_gate
from truechimer.daemon.door.socket_address import socket_address
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp.departure_desk import SO_TIMESTAMPING, DepartureDesk, both_stamps
from truechimer.quorum.listener_policy import ListenerPolicy
from truechimer.serve.clock_page import ClockPage, PageUnreadable
from truechimer.serve.ntp import smear
from truechimer.serve.ntp.server import Client, Ignore, Reply, glance, respond, transmit_stamp
from truechimer.serve.ntp.usual import UsualAnswers, usual_answer, usual_answers
from truechimer.serve.rx_stamp import RxStamp, StampKind
from truechimer.serve.served_time import ServedTime, Unsynchronised, serve_at

BATCH = 32
"""Datagrams taken before the pair that judges their stamps: the first of a full batch waits about 1 ms for its
answer.
"""

A_FEW = 4
"""For so many, the answer that most of a batch get is not worth being made beforehand."""

DATAGRAM_ROOM = 2048
"""Octets taken of one datagram; a longer one is refused as truncated."""

IDLE_TURN_S = 0.02
"""Shorter than the 100 ms that `house.md` 4.7 asks for: the shorter, the less can happen between two pairs unseen."""
LEARNING_TURN_S = 0.01
FLUSH_EVERY_NS = 100_000_000
UNIQUE_WITHIN_NS = 1_000
"""A receive stamp this close behind the one before it is moved to the next nanosecond after it."""
NEVER_RAW_NS = -(2**62)

# Linux numbers, the same on x86-64 and aarch64; the socket module does not name them before Python 3.14.
SO_TIMESTAMPNS = 35
MSG_TRUNC = int(socket.MSG_TRUNC)  # a number: an operation on the named flag takes a microsecond
SCM_TIMESTAMPING_PKTINFO = 58
IP_PKTINFO = 8
IP_MTU_DISCOVER = 10
IPV6_MTU_DISCOVER = 23
PMTUDISC_PROBE = 3
QUEUE_OCTETS = 1 << 20
"""Asked for as a socket's buffer, for bursts; the kernel gives as much of it as `net.core.rmem_max` allows."""
_TIMESPEC = struct.Struct("=qq")
_IN_PKTINFO = struct.Struct("=I4s4s")  # interface, the local address that answers, the destination in the header

NS_PER_S = 10**9


class Received(NamedTuple):
    """One datagram: its octets, the address to answer, the kernel's stamp (CLOCK_REALTIME, ns), and how to answer
    from the address asked.
    """

    octets: bytes
    source: Any
    stamp_realtime_ns: int | None
    truncated: bool = False
    answer_from: tuple[tuple[int, int, bytes], ...] = ()
    card_ns: int | None = None
    card_index: int = 0
    """By the network card's own clock, and the number of its interface."""


class DatagramPort(Protocol):
    """What the loop needs of a socket."""

    def wait(self, timeout_s: float) -> bool:
        """Return True as soon as a datagram waits; False where none came in time. 0 asks without waiting."""

    def receive(self) -> Received | None:
        """Return the next datagram, or None where nothing waits. May raise OSError; the next call must then be
        possible.
        """

    def send(self, octets: bytes, *, to: Received) -> None:
        """Answer; may raise OSError."""


class Pages(Protocol):
    """Where the loop reads the time."""

    def current(self) -> ClockPage | PageUnreadable:
        """Return the newest page, or why there is none. Never raises."""


class UdpPort:
    """One UDP socket with kernel receive stamps; on a wildcard address it answers from the address that was asked."""

    def __init__(self, address: str, port: int, *, shared: bool = False, descriptor: int | None = None) -> None:
        """Bind a socket; `shared`: with others of this user on the same port (SO_REUSEPORT). `descriptor`: take the
        socket of this door that another process bound.
        """
        self._poll = select.poll()
        if descriptor is not None:
            self.socket = socket.socket(fileno=descriptor)
            self._poll.register(self.socket, select.POLLIN)
            return
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            if shared:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                # "::" serves IPv4 too, as mapped addresses; a named IPv6 address is only itself.
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address == "::" else 1)
            self.ask_the_kernel(address)
            self.socket.bind(socket_address(address, port))
        except OSError:
            self.socket.close()
            raise
        self._poll.register(self.socket, select.POLLIN)

    def ask_the_kernel(self, address: str) -> None:
        """Ask for what comes with each datagram, and how answers leave; again is harmless (a socket of the version
        before is asked anew).
        """
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        # An answer goes out whole or not at all: no forged path MTU has it cut into pieces, and the kernel need not
        # think of a name for its pieces, which is 5 % of the cost of an answer (RFC 6864 4.1: an atomic datagram).
        # An IPv6 socket that serves IPv4 too has both options.
        if ":" not in address or address == "::":
            self.socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
        if ":" in address:
            self.socket.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE_OCTETS)
        if address == "0.0.0.0":  # noqa: S104
            self.socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        elif address == "::":
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)

    @property
    def port(self) -> int:
        """The port in use: the kernel's choice where 0 was asked for."""
        number: int = self.socket.getsockname()[1]
        return number

    def wait(self, timeout_s: float) -> bool:
        """Return True as soon as a datagram (or an error) waits."""
        return bool(self._poll.poll(timeout_s * 1000))

    def receive(self) -> Received | None:
        """Return the next datagram with its stamp, or None where nothing waits."""
        try:
            octets, ancillary, flags, source = self.socket.recvmsg(DATAGRAM_ROOM, 256)
        except BlockingIOError:
            return None
        stamp: int | None = None
        card_ns: int | None = None
        card_index = 0
        answer_from: tuple[tuple[int, int, bytes], ...] = ()
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                stamp = stamp_of(data)
            elif level == socket.SOL_SOCKET and kind == SO_TIMESTAMPING and len(data) >= 3 * _TIMESPEC.size:
                stamp, card_ns = both_stamps(data)
            elif level == socket.SOL_SOCKET and kind == SCM_TIMESTAMPING_PKTINFO and len(data) >= 8:
                card_index = int.from_bytes(data[:4], "little")
            else:
                answer_from = answer_from_of(level, kind, data) or answer_from
        return Received(octets, source, stamp, bool(flags & MSG_TRUNC), answer_from, card_ns, card_index)

    def send(self, octets: bytes, *, to: Received) -> None:
        """Answer, from the address that was asked."""
        if to.answer_from:
            self.socket.sendmsg([octets], to.answer_from, 0, to.source)
        else:
            self.socket.sendto(octets, to.source)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def stamp_of(data: bytes) -> int | None:
    """Return an SCM_TIMESTAMPNS control message as ns of CLOCK_REALTIME, or None where it is not one."""
    if len(data) < _TIMESPEC.size:
        return None
    seconds, ns = _TIMESPEC.unpack_from(data)
    return int(seconds) * NS_PER_S + int(ns)


def answer_from_of(level: int, kind: int, data: bytes) -> tuple[tuple[int, int, bytes], ...]:
    """Return the control message that makes an answer leave from the address that was asked, or nothing."""
    if level == socket.IPPROTO_IP and kind == IP_PKTINFO and len(data) >= _IN_PKTINFO.size:
        _interface, local, _destination = _IN_PKTINFO.unpack_from(data)
        return ((level, kind, _IN_PKTINFO.pack(0, local, bytes(4))),)
    if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO and len(data) >= 20 and data[0] != 0xFF:
        return ((level, kind, data[:20]),)
    return ()


class NtpLoop:
    """One door: call `turn` again and again.

    `bound_limit_s` is the listener's limit (s), `precision_log2` what a clock reading takes. `simulated_allowed` is
    False on an address that others can reach, unless the operator typed the ugly word. `gate`: who is answered, how
    often, and what besides plain answers is offered (None: everybody, always, nothing). `departures`: has the kernel
    say when interleaved answers left (None: the clock read before the send says it).
    """

    def __init__(
        self,
        port: DatagramPort,
        pages: Pages,
        *,
        clocks: HostClocks,
        counters: Counters,
        bound_limit_s: float,
        precision_log2: int,
        simulated_allowed: bool = True,
        gate: Gatekeeper | None = None,
        departures: DepartureDesk | None = None,
    ) -> None:
        self._port = port
        self._departures = departures
        self._card = departures.card if departures is not None else None
        self._gate = gate or open_gate()
        self._pages = pages
        self._clocks = clocks
        self._counters = counters
        self._bound_limit_s = self._own_limit_s = bound_limit_s
        self._precision_log2 = precision_log2
        self._simulated_allowed = simulated_allowed
        self._last_transmit = 0
        self._last_receive_raw_ns = NEVER_RAW_NS
        self._nothing_waited_raw_ns = clocks.raw_ns()
        self._flushed_raw_ns = self._nothing_waited_raw_ns

    def use_policy(self, policy: ListenerPolicy | None) -> None:
        """Answer by a policy from now on; None: as the door's own rules have it, up to the limit that it began with."""
        self._gate.use_policy(policy)
        self._bound_limit_s = self._own_limit_s if policy is None else policy.bound_limit_s

    def turn(self, timeout_s: float = IDLE_TURN_S) -> int:
        """Wait for datagrams, answer at most one batch, keep the books; returns how many datagrams came.

        A pair of the host's clocks is taken before the wait and after the batch, so none is older than `timeout_s`
        when it counts.
        """
        clocks = self._clocks
        self._take_pairs()
        looked_raw_ns = clocks.raw_ns()
        if not self._port.wait(0):
            self._nothing_waited_raw_ns = looked_raw_ns
        if not self._port.wait(timeout_s if clocks.rate_is_learned else min(timeout_s, LEARNING_TURN_S)):
            self._nothing_waited_raw_ns = looked_raw_ns
            self._keep_books()
            return 0
        batch, drained_raw_ns = self._take_batch()
        if not batch and drained_raw_ns is None:
            time.sleep(IDLE_TURN_S)  # every receive failed: a broken socket must not eat the processor
        self._take_pairs()
        served = self._served()
        usual = self._usual(served) if len(batch) > A_FEW else None
        for received, user_raw_ns in batch:
            try:
                self._answer(received, user_raw_ns, served, usual)
            except Exception:  # noqa: BLE001 - the law of the file: a fault of ours costs one answer, never the door
                self._counters.add(names.FAULTS)
        if self._departures is not None and (self._departures.waiting or not batch):
            self._note_departures(self._departures)
        if drained_raw_ns is not None:
            self._nothing_waited_raw_ns = drained_raw_ns
        if clocks.raw_ns() - self._flushed_raw_ns >= FLUSH_EVERY_NS:
            self._keep_books()
        return len(batch)

    def _take_batch(self) -> tuple[list[tuple[Received, int]], int | None]:
        """Return what waits, each with the raw counter read after it, and when nothing more waited (None: more may)."""
        batch: list[tuple[Received, int]] = []
        for _ in range(BATCH):
            before_raw_ns = self._clocks.raw_ns()
            try:
                received = self._port.receive()
            except OSError:
                self._counters.add(names.RECEIVE_FAILED)
                continue
            if received is None:
                return batch, before_raw_ns
            batch.append((received, self._clocks.raw_ns()))
        return batch, None

    def _served(self) -> ServedTime | Unsynchronised:
        """Return what may be served now, on this door. The door's limit is for what is known of UTC: how far a smear is
        from it is known, and stands in the bound that the answers state.
        """
        page, raw_ns, limit_s = self._pages.current(), self._clocks.raw_ns(), self._bound_limit_s
        if self._gate.rules.smears and isinstance(page, ClockPage):
            found = smear.bent(page, raw_ns)
            page, limit_s = found.page, limit_s + found.extra_s
        return serve_at(
            page,
            raw_ns,
            bound_limit_s=limit_s,
            boot_id=self._clocks.boot_id(),
            simulated_allowed=self._simulated_allowed,
        )

    def _usual(self, served: ServedTime | Unsynchronised) -> UsualAnswers | None:
        """Return what most of a batch are answered, where there is such a thing."""
        offers, precision_log2 = self._gate.offers, self._precision_log2
        try:
            return usual_answers(served, self._clocks.raw_ns(), precision_log2=precision_log2, offers=offers)
        except Exception:  # noqa: BLE001 - as in `turn`
            self._counters.add(names.FAULTS)
            return None

    def _answer(
        self,
        received: Received,
        user_raw_ns: int,
        served: ServedTime | Unsynchronised,
        usual: UsualAnswers | None = None,
    ) -> None:
        """Answer one datagram, or count why not. `usual`: made for the batch, where it has a usual answer."""
        counters, clocks = self._counters, self._clocks
        counters.add(names.RECEIVED)
        if received.truncated:
            counters.add(names.TRUNCATED)
            return
        rx = clocks.rx_to_raw(received.stamp_realtime_ns, user_raw_ns, not_before_raw_ns=self._nothing_waited_raw_ns)
        by_card = rx
        if self._card is not None and received.card_index == self._card.index:
            since_ns = self._nothing_waited_raw_ns
            by_card = self._card.better(rx, received.card_ns, user_raw_ns, not_before_raw_ns=since_ns)
        if by_card is not rx:
            counters.add(names.STAMPS_CARD)
        else:
            counters.add(names.STAMPS_KERNEL if rx.kind is StampKind.KERNEL else names.STAMPS_USER)
        rx = by_card
        gate, client = self._gate, Client(received.source[0], received.source[1])
        refused = glance(received.octets, client, offers=gate.offers)
        if refused is not None:  # what is no question counts for nobody
            counters.add(names.IGNORE_COUNTERS[refused.reason])
            return
        verdict = gate.ask(client.host, user_raw_ns)
        if verdict.ignored is not None:
            counters.add(names.IGNORE_COUNTERS[verdict.ignored])
            return
        rx = self._apart(rx)
        reply: Reply | Ignore | None = None
        if usual is not None and verdict.kiss is None:
            reply = usual_answer(usual, received.octets, rx)
        if reply is None:
            reply = respond(
                received.octets,
                client,
                rx=rx,
                served=served,
                precision_log2=self._precision_log2,
                offers=gate.offers,
                kiss=verdict.kiss,
            )
        if isinstance(reply, Ignore):
            counters.add(names.IGNORE_COUNTERS[reply.reason])
            return
        self._last_receive_raw_ns = rx.raw_ns
        self._send(reply, received, waits_since_raw_ns=rx.raw_ns if rx.kind is StampKind.KERNEL else None)

    def _apart(self, rx: RxStamp) -> RxStamp:
        """Return a receive stamp that is not the one before it: a client's next request may name it (RFC 9769)."""
        raw_ns, last = rx.raw_ns, self._last_receive_raw_ns
        return RxStamp(last + 1, rx.kind, rx.limit_s) if 0 <= last - raw_ns < UNIQUE_WITHIN_NS else rx

    def _send(self, reply: Reply, received: Received, *, waits_since_raw_ns: int | None) -> None:
        """Stamp, send, count; the stamp is the last thing before the send. `waits_since_raw_ns`: by the kernel's stamp,
        so that the wait in the socket's queue is part of the time that the answer took.
        """
        raw_ns = self._clocks.raw_ns()
        transmit = transmit_stamp(reply, raw_ns, last=self._last_transmit)
        desk = self._departures if reply.earlier is not None else None
        try:
            if desk is not None and desk.wants(raw_ns):
                self._counters.add(names.DEPARTURES_ASKED)
                desk.send(reply.with_transmit(transmit), received.answer_from, received.source)
            else:
                self._port.send(reply.with_transmit(transmit), to=received)
        except OSError:
            self._counters.add(names.SEND_FAILED)
            return
        self._last_transmit = transmit or self._last_transmit
        if reply.remember is not None and self._gate.offers.saved is not None:
            self._gate.offers.saved.save(reply.remember, transmit - reply.receive, raw_ns)
        self._counters.add(names.REPLY_COUNTERS[reply.kind])
        if waits_since_raw_ns is not None:
            took_ns = max(0, raw_ns - waits_since_raw_ns)
            self._counters.add(names.ANSWERED_WITHIN[bisect_left(names.ANSWERED_EDGES_NS, took_ns)])
            self._counters.add(names.ANSWERED_SUM, took_ns)
        if reply.because is not None:
            self._counters.add(names.UNSYNCHRONISED_COUNTERS[reply.because])

    def _take_pairs(self) -> None:
        """Take a pair of the host's clocks, and one of the card's."""
        self._clocks.take_pair()
        if self._card is not None:
            self._card.take_pair()

    def _note_departures(self, desk: DepartureDesk) -> None:
        """Put the kernel's stamps of answers that have left in the place of the clock readings before their sends."""
        saved, since_raw_ns = self._gate.offers.saved, desk.asked_since_raw_ns
        taken = list(desk.take())
        user_raw_ns = self._clocks.raw_ns()
        if not taken or saved is None:
            return
        self._take_pairs()
        for key, stamp_ns, card_ns in taken:
            raw_ns: int | None = None
            half_width_ns = self._clocks.half_width_ns
            if stamp_ns is not None:
                raw_ns = self._clocks.stamp_to_raw(stamp_ns, user_raw_ns, not_before_raw_ns=since_raw_ns)
            elif card_ns is not None and self._card is not None:
                raw_ns = self._card.to_raw(card_ns, user_raw_ns, not_before_raw_ns=since_raw_ns)
                half_width_ns = self._card.half_width_ns
            # what the pair of clocks may be wrong by is taken off: no answer says that it left after it did
            if raw_ns is not None and saved.left(key, raw_ns - half_width_ns):
                self._counters.add(names.DEPARTURES_STAMPED)

    def _keep_books(self) -> None:
        """Carry over what is counted elsewhere, and write the counters out."""
        counters, clocks = self._counters, self._clocks
        for refusal, count in clocks.refusals.items():
            counters.put(names.REFUSAL_COUNTERS[refusal], count)
        counters.put(names.HOST_STEPS, clocks.steps_total)
        for step in clocks.take_steps():
            moved_ns = round(step.moved_s * NS_PER_S)
            counters.put(names.HOST_STEP_LAST_NS, moved_ns)
            counters.put(names.HOST_STEP_LAST_AT_RAW_NS, step.raw_ns)
            if abs(moved_ns) > abs(counters[names.HOST_STEP_LARGEST_NS]):
                counters.put(names.HOST_STEP_LARGEST_NS, moved_ns)
        counters.flush()
        self._flushed_raw_ns = clocks.raw_ns()
