"""What a network card can stamp, what it was told to stamp, and telling it to: by interface.

It reads no clock. Source: the kernel's `Documentation/networking/timestamping.rst`, `net_tstamp.h`, `ethtool.h`,
netdevice(7). Asking needs no privilege, telling needs CAP_NET_ADMIN. A card may serve others (ptp4l) at the same time:
it is told to stamp more than it did, never less.

Obligations of every raw address, all of them kept in `ask_kernel`: it is that of octets that `data` holds where they
are while it is used, and no longer; `data` is as long as the structure that the question names.
"""

import ctypes
import fcntl
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from truechimer.errors import Rejected

SIOCETHTOOL = 0x8946
SIOCSHWTSTAMP = 0x89B0
SIOCGHWTSTAMP = 0x89B1
ETHTOOL_GET_TS_INFO = 0x41
LONGEST_NAME = 15

# Bits of SO_TIMESTAMPING, and of what a card says it can.
TX_HARDWARE = 1 << 0
TX_SOFTWARE = 1 << 1
RX_HARDWARE = 1 << 2
RX_SOFTWARE = 1 << 3
SOFTWARE = 1 << 4
RAW_HARDWARE = 1 << 6
OPT_PKTINFO = 1 << 13
OPT_TX_SWHW = 1 << 14
OPT_RX_FILTER = 1 << 17
"""Linux 6.12 on: what is received has these stamps only where RX_SOFTWARE or RX_HARDWARE asks for them."""

TX_OFF, TX_ON = 0, 1
FILTER_NONE, FILTER_ALL, FILTER_NTP_ALL = 0, 1, 15

_IFREQ = struct.Struct("@16sP16x")
_CONFIG = struct.Struct("=3i")
_INFO = struct.Struct("=IIiI12xI12x")


class StampingRejected(Rejected):
    """An interface that does not exist, or does not do what it is told."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What an interface can: `bits` of SO_TIMESTAMPING, the number of its clock (None: it has none), and the kinds of
    transmit stamps and receive filters, a bit each.
    """

    bits: int
    phc_index: int | None
    tx_types: int
    rx_filters: int

    @property
    def stamps_departures(self) -> bool:
        """Whether the driver stamps what it sends, in software."""
        return bool(self.bits & TX_SOFTWARE)

    @property
    def rx_filter(self) -> int:
        """The filter under which all NTP packets are stamped: everything, so that nobody else loses stamps, or at
        least NTP; `FILTER_NONE` where neither can be had.
        """
        return next((one for one in (FILTER_ALL, FILTER_NTP_ALL) if self.rx_filters >> one & 1), FILTER_NONE)

    @property
    def why_no_hardware(self) -> str | None:
        """Why answers of this interface cannot carry the card's stamps, or None where they can."""
        if self.phc_index is None:
            return "its card has no clock"
        if not self.bits & RAW_HARDWARE or not self.bits & RX_HARDWARE or not self.bits & TX_HARDWARE:
            return "its card stamps nothing"
        if not self.tx_types >> TX_ON & 1:
            return "its card cannot stamp what it sends"
        if self.rx_filter == FILTER_NONE:
            return "its card stamps PTP packets alone"
        return None


@dataclass(frozen=True, slots=True)
class Told:
    """What an interface was told to stamp."""

    tx_type: int
    rx_filter: int


Ask = Callable[[str, int, bytearray], None]
"""Asks the kernel about an interface, in place. Raises `OSError`."""


def ask_kernel(interface: str, request: int, data: bytearray) -> None:
    """Send a question about an interface: ioctl(2) with a `struct ifreq` that points to `data`."""
    room = (ctypes.c_char * len(data)).from_buffer(data)
    question = _IFREQ.pack(interface.encode("ascii"), ctypes.addressof(room))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket.fileno(), request, question)


def abilities(interface: str, *, ask: Ask = ask_kernel) -> Abilities:
    """Return what an interface can stamp. Raises `StampingRejected`."""
    data = bytearray(_INFO.size)
    struct.pack_into("=I", data, 0, ETHTOOL_GET_TS_INFO)
    try:
        _checked(interface)
        ask(interface, SIOCETHTOOL, data)
    except OSError as error:
        raise StampingRejected(f"{interface}: {error.strerror}; `ip link` lists the interfaces there are") from None
    _, bits, index, tx_types, rx_filters = _INFO.unpack(data)
    return Abilities(bits, index if index >= 0 else None, tx_types, rx_filters)


def told(interface: str, *, ask: Ask = ask_kernel) -> Told | None:
    """Return what an interface was told to stamp; None for one that cannot be told."""
    data = bytearray(_CONFIG.size)
    try:
        _checked(interface)
        ask(interface, SIOCGHWTSTAMP, data)
    except OSError:
        return None
    _, tx_type, rx_filter = _CONFIG.unpack(data)
    return Told(tx_type, rx_filter)


def turn_on(interface: str, *, ask: Ask = ask_kernel) -> Abilities:
    """Have an interface's card stamp all NTP packets, both ways; return what it can. Raises `StampingRejected`, which
    says why it does not.
    """
    can = abilities(interface, ask=ask)
    if can.why_no_hardware is not None:
        raise StampingRejected(f"{interface}: {can.why_no_hardware}; leave `hardware` away")
    now = told(interface, ask=ask)
    if now is not None and now.tx_type == TX_ON and now.rx_filter in {FILTER_ALL, can.rx_filter}:
        return can
    sends_otherwise = now is not None and now.tx_type not in {TX_OFF, TX_ON}  # one-step: the card writes into packets
    if sends_otherwise or (now is not None and now.rx_filter != FILTER_NONE and can.rx_filter != FILTER_ALL):
        raise StampingRejected(f"{interface}: its card stamps for another program, and cannot for both; stop one")
    data = bytearray(_CONFIG.pack(0, TX_ON, can.rx_filter))
    try:
        ask(interface, SIOCSHWTSTAMP, data)
    except OSError as error:
        raise StampingRejected(
            f"{interface}: its card cannot be told to stamp: {error.strerror}; that needs root or CAP_NET_ADMIN"
        ) from None
    _, tx_type, rx_filter = _CONFIG.unpack(data)  # the driver may have chosen a wider filter
    if tx_type != TX_ON or rx_filter not in {FILTER_ALL, can.rx_filter}:
        raise StampingRejected(f"{interface}: its card stamps less than it was told to")
    return can


def is_name(interface: str) -> bool:
    """Return whether a text can be the name of an interface."""
    return interface.isascii() and 1 <= len(interface) <= LONGEST_NAME and not set(interface) & set("\0/ \t\n\r")


def _checked(interface: str) -> None:
    """Raise `OSError` for what is no name of an interface."""
    if not is_name(interface):
        raise OSError(0, "no name of an interface")
