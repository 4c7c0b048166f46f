"""A door's desk for departures: has the kernel stamp interleaved answers as they leave, and takes the stamps back.

It believes no stamp (`daemon.host_clocks` does) and answers nobody. The socket itself reports stamps and asks for none:
each answer that is to have one asks by a control message of its own. What comes back names its answer
(`serve.ntp.departed`), so a desk needs no count that it shares with the kernel, and two processes that serve one socket
one after the other do not confuse each other. `departure_kernel` is the same in machine code.

Source: the kernel's `Documentation/networking/timestamping.rst`, ADR 83. It must stay small: doors import it.
"""

import socket
import struct
from collections.abc import Iterator
from typing import Any

from truechimer.daemon.ntp.card_clock import CardClock
from truechimer.drivers.stamping import (
    OPT_PKTINFO,
    OPT_RX_FILTER,
    OPT_TX_SWHW,
    RAW_HARDWARE,
    RX_HARDWARE,
    RX_SOFTWARE,
    SOFTWARE,
    TX_HARDWARE,
    TX_SOFTWARE,
)
from truechimer.serve.ntp.departed import NOBODY, answer_in

SO_TIMESTAMPNS = 35
SO_TIMESTAMPING = 37
ORIGIN_TIMESTAMPING = 4
SENT = 0
ERROR_MESSAGES = ((socket.IPPROTO_IP, 11), (socket.IPPROTO_IPV6, 25))  # IP_RECVERR, IPV6_RECVERR
ROOM, CONTROL_ROOM = 1280, 256
MOST_AT_ONCE = 64

PER_S = 1_000
"""Stamps that are asked for in a second by a door in plain Python, about 3 % of a processor."""
PER_S_COMPILED = 20_000
"""The same for machine code."""
BURST_S = 0.1

_BITS = struct.Struct("=I")
_ERROR = struct.Struct("=IBBBBII")
_TIMESPEC = struct.Struct("=qq")
NS_PER_S = 10**9
MOST_SECONDS = 2**33


class DepartureDesk:
    """The desk of one socket. `open` is False where the kernel reports no stamps. `card`: the clock of the network card
    through which the socket's packets come and go, where it stamps them.
    """

    def __init__(self, connection: socket.socket, *, per_s: int = PER_S, card: CardClock | None = None) -> None:
        self._socket = connection
        self._per_s = per_s
        self._left, self._counted_raw_ns = per_s * BURST_S, 0
        self.port: int = connection.getsockname()[1]
        self.card = card
        self.bits = TX_SOFTWARE if card is None else TX_SOFTWARE | TX_HARDWARE
        self.waiting = 0
        """Answers whose stamps were asked for and have not come."""
        self.asked_since_raw_ns = 0
        """The oldest of them left after this."""
        self.open = _report(connection, with_card=card is not None)

    def wants(self, raw_ns: int) -> bool:
        """Return whether an interleaved answer that leaves at `raw_ns` may ask for its stamp, and count it."""
        elapsed_ns = max(raw_ns - self._counted_raw_ns, 0)
        self._left = min(self._left + elapsed_ns * self._per_s / NS_PER_S, self._per_s * BURST_S)
        self._counted_raw_ns = raw_ns
        if not self.open or self._left < 1.0:
            return False
        self._left -= 1.0
        if not self.waiting:
            self.asked_since_raw_ns = raw_ns
        self.waiting += 1
        return True

    def send(self, octets: bytes, answer_from: tuple[tuple[int, int, bytes], ...], to: Any) -> None:
        """Send an answer that asks for its stamp. Raises `OSError`."""
        asks = (socket.SOL_SOCKET, SO_TIMESTAMPING, _BITS.pack(self.bits))
        self._socket.sendmsg([octets], (*answer_from, asks), 0, to)

    def take(self) -> Iterator[tuple[int, int | None, int | None]]:
        """Give what has come back: the key of an answer (`interleaved.key_of`) and its stamp by the kernel
        (CLOCK_REALTIME, ns) or by the card (its own clock, ns). It never waits.
        """
        for _ in range(MOST_AT_ONCE):
            try:
                octets, messages, flags, _ = self._socket.recvmsg(ROOM, CONTROL_ROOM, socket.MSG_ERRQUEUE)
            except OSError:
                self.waiting = 0  # what comes later wakes the wait for datagrams
                return
            self.waiting = max(self.waiting - 1, 0)
            stamp_ns, card_ns = stamps_in(messages)
            key = NOBODY if flags & socket.MSG_TRUNC else answer_in(octets, len(octets), self.port)
            if (stamp_ns is not None or card_ns is not None) and key != NOBODY:
                yield key, stamp_ns, card_ns


def stamps_in(messages: list[tuple[int, int, bytes]]) -> tuple[int | None, int | None]:
    """Return the stamps (ns) by the kernel and by the card that the control messages of something sent carry; a card's
    stamp comes by itself, and what the kernel adds to it is made up.
    """
    stamp_ns: int | None = None
    card_ns: int | None = None
    was_sent = False
    for level, kind, data in messages:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPING) and len(data) >= 3 * _TIMESPEC.size:
            stamp_ns, card_ns = both_stamps(data)
        elif (level, kind) in ERROR_MESSAGES and len(data) >= _ERROR.size:
            _, origin, _, _, _, what, _ = _ERROR.unpack_from(data)
            was_sent = origin == ORIGIN_TIMESTAMPING and what == SENT
    if not was_sent:
        return None, None
    return (stamp_ns, None) if card_ns is None else (None, card_ns)


def both_stamps(data: bytes) -> tuple[int | None, int | None]:
    """Return the kernel's and the card's stamp (ns) of SCM_TIMESTAMPING; None for none."""
    found: list[int | None] = []
    for at in (0, 2 * _TIMESPEC.size):
        seconds, ns = _TIMESPEC.unpack_from(data, at)
        is_stamp = 0 <= ns < NS_PER_S and 0 <= seconds <= MOST_SECONDS and (seconds or ns)
        found.append(seconds * NS_PER_S + ns if is_stamp else None)
    return found[0], found[1]


def _report(connection: socket.socket, *, with_card: bool) -> bool:
    """Have a socket report stamps; return whether it does. Without a card: of what is sent alone, where the kernel can;
    what is received has the stamp that the door's socket asks for anyway. With one: the kernel's and the card's, in one
    message, for the kernel makes up stamps of its own where a socket asks for them in two ways.
    """
    if with_card:
        both = SOFTWARE | RX_SOFTWARE | RAW_HARDWARE | RX_HARDWARE | OPT_TX_SWHW | OPT_PKTINFO
        try:
            connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, both)
            connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 0)
        except OSError:
            return False
        return True
    for bits in (SOFTWARE | OPT_RX_FILTER, SOFTWARE):
        try:
            connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, bits)
        except OSError:
            continue
        return True
    return False
