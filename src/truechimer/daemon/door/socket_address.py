"""An address and a port in the form in which the kernel takes them: a link-local IPv6 address has its interface in it.

It resolves no names. Source: RFC 4007 section 11 (`fe80::1%eth0`), ipv6(7).
"""

import socket

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


def socket_address(address: str, port: int) -> SocketAddress:
    """Return what `bind` and `connect` want; raises `OSError` where there is no such interface."""
    host, percent, zone = address.partition("%")
    if not percent or ":" not in host:
        return address, port
    index = int(zone) if zone.isascii() and zone.isdecimal() else socket.if_nametoindex(zone)
    return host, port, 0, index
