"""The interfaces of this machine and their addresses, as the kernel tells them (rtnetlink).

It changes nothing. Source: rtnetlink(7), include/uapi/linux/if_addr.h and if_link.h of Linux. The `ip` program is not
asked: it may be absent, and sysfs shows another network namespace than the process's own.
"""

import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from truechimer.errors import Rejected

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_ATTRIBUTE = struct.Struct("=HH")
_GET_LINK, _GET_ADDRESS, _DONE, _ERROR = 18, 22, 3, 2
_REQUEST_DUMP = 0x301
_UP = 1
_ETHERNET, _LOOPBACK = 1, 772
_NOT_YET_OURS = 0x40 | 0x08  # tentative, or found to be another's: RFC 4862
_LARGEST = 1 << 18
Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class InterfacesRejected(Rejected):
    """The kernel does not say."""


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface that carries Ethernet frames: its number, name, hardware address and IP addresses."""

    index: int
    name: str
    hardware: bytes
    is_loopback: bool
    addresses: tuple[Address, ...]


def interfaces() -> tuple[Interface, ...]:
    """Return the interfaces that are up and carry Ethernet frames. Raises `InterfacesRejected`."""
    try:
        found: dict[int, list[Address]] = {}
        for body in _dump(_GET_ADDRESS, _ADDRESS.size):
            family, prefix, flags, _scope, index = _ADDRESS.unpack_from(body)
            attributes = _attributes(body, _ADDRESS.size)
            octets = attributes.get(2) or attributes.get(1)  # IFA_LOCAL, or IFA_ADDRESS where there is none
            if family in {socket.AF_INET, socket.AF_INET6} and octets is not None and not flags & _NOT_YET_OURS:
                found.setdefault(index, []).append(ipaddress.ip_interface((octets, prefix)))
        made = []
        for body in _dump(_GET_LINK, _LINK.size):
            _family, kind, index, flags, _change = _LINK.unpack_from(body)
            attributes = _attributes(body, _LINK.size)
            hardware, name = attributes.get(1, b""), attributes.get(3, b"").rstrip(b"\0").decode("utf-8", "replace")
            if flags & _UP and kind in {_ETHERNET, _LOOPBACK} and len(hardware) == 6:
                made.append(Interface(index, name, hardware, kind == _LOOPBACK, tuple(found.get(index, ()))))
    except (OSError, struct.error, ValueError) as error:
        raise InterfacesRejected(f"the interfaces of this machine cannot be read: {error}") from error
    return tuple(made)


def _dump(kind: int, body_octets: int) -> Iterator[bytes]:
    """Give the body of each message that answers a dump request."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(1.0)
        netlink.bind((0, 0))
        netlink.send(_HEADER.pack(_HEADER.size + body_octets, kind, _REQUEST_DUMP, 1, 0) + bytes(body_octets))
        while True:
            datagram, at = netlink.recv(_LARGEST), 0
            while at + _HEADER.size <= len(datagram):
                length, answer, *_ = _HEADER.unpack_from(datagram, at)
                if answer == _DONE:
                    return
                if answer == _ERROR or length < _HEADER.size + body_octets:
                    raise OSError("the kernel refused the question")
                yield datagram[at + _HEADER.size : at + length]
                at += (length + 3) & ~3


def _attributes(body: bytes, at: int) -> dict[int, bytes]:
    """Return the attributes after a message's fixed part, by number."""
    found = {}
    while at + _ATTRIBUTE.size <= len(body):
        length, number = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size:
            break
        found[number & 0x3FFF] = body[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found
