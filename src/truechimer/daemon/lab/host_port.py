"""HOST:PORT as operators write it, and which hosts never leave this machine.

It resolves no name and opens nothing.
"""

import ipaddress
import re
from dataclasses import dataclass

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")


@dataclass(frozen=True, slots=True)
class HostPort:
    """A server's place: `host` is a name or an IP address without brackets."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """True for addresses that never leave this machine."""
        return is_loopback(self.host)


def split_address(text: str) -> HostPort | None:
    """Return the parts of `HOST:PORT` (`[v6]:PORT` for IPv6), or None where it is not that."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or not 1 <= int(port) <= 65535:
        return None
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    try:
        if (ipaddress.ip_address(host).version == 6) is not bracketed:
            return None
    except ValueError:
        looks_numeric = host.replace(".", "").isdigit()
        if bracketed or looks_numeric or len(host) > 253 or not _HOST.fullmatch(host):
            return None
    return HostPort(host, int(port))


def is_loopback(host: str) -> bool:
    """Return True if this host name or address never leaves the machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"
