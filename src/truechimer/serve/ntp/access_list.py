"""The access list: which addresses a door answers, from networks that are allowed and denied.

It decides nothing about how often (`rate_table`) and says nothing to whoever is denied (`server`). The most specific
network that holds an address decides, as in chronyd; of two alike the denial. Where nothing is allowed by name,
everybody is who is not denied; where something is, nobody else.

The networks become intervals of addresses, sorted, so that a look-up is one binary search whatever the list's length.
`is_allowed` is written for `truechimer.kernel` as well: whole numbers, plain arrays, no call of ours.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ADDRESS_OCTETS = 16
_BITS = 128
_MAPPED = 0xFFFF << 32  # ::ffff:0:0/96, where an IPv4 address stands in IPv6: RFC 4291 2.5.5.2


@dataclass(frozen=True, slots=True)
class AccessList:
    """`starts`: the first address of each interval, 16 octets each, in order; `verdicts`: 1 where it is answered."""

    starts: bytes
    verdicts: bytes

    @property
    def everybody(self) -> bool:
        """Whether nobody is refused."""
        return self.verdicts == b"\1"

    def answers(self, host: str) -> bool:
        """Return whether an address in text is answered; what is no address is not."""
        try:
            packed = ipaddress.ip_address(host.partition("%")[0]).packed
        except ValueError:
            return False
        return bool(is_allowed(packed, 0, len(packed), self.starts, self.verdicts))


def access_list(allow: Iterable[Network] = (), deny: Iterable[Network] = ()) -> AccessList:
    """Make the list of networks that are allowed (none: everybody) and denied."""
    allowed, denied = list(allow), list(deny)
    marks = [(*_span(network), True) for network in allowed]
    marks += [(*_span(network), False) for network in denied]
    # networks nest or do not touch: laid over each other from the widest to the narrowest, a denial over its like
    edges = {0: not allowed}
    for first, length, verdict in sorted(marks, key=lambda mark: (mark[1], not mark[2])):
        end = first + (1 << (_BITS - length))
        after = _at(edges, end) if end < 1 << _BITS else None
        for inside in [edge for edge in edges if first <= edge < end]:
            del edges[inside]
        edges[first] = verdict
        if after is not None:
            edges[end] = after
    starts: list[bytes] = []
    verdicts: list[bool] = []
    for edge, verdict in sorted(edges.items()):
        if not verdicts or verdicts[-1] != verdict:
            starts.append(edge.to_bytes(ADDRESS_OCTETS, "big"))
            verdicts.append(verdict)
    return AccessList(b"".join(starts), bytes(verdicts))


def is_allowed(octets: Sequence[int], at: int, length: int, starts: Sequence[int], verdicts: Sequence[int]) -> int:
    """Return 1 where the address `octets[at:at + length]` (4 or 16 octets) is answered, 0 where not."""
    low = 0
    high = len(verdicts) - 1
    while low < high:
        middle = (low + high + 1) // 2
        after = False  # whether the address is before the interval's first
        for k in range(16):
            if length == 16:
                octet = octets[at + k] + 0
            elif k < 10:
                octet = 0
            elif k < 12:
                octet = 255
            else:
                octet = octets[at + k - 12] + 0
            edge = starts[16 * middle + k] + 0
            if octet != edge:
                after = octet < edge
                break
        if after:
            high = middle - 1
        else:
            low = middle
    return verdicts[low] + 0


def _span(network: Network) -> tuple[int, int]:
    """Return the first address of a network and its prefix length, both as IPv6."""
    if isinstance(network, ipaddress.IPv4Network):
        return _MAPPED | int(network.network_address), network.prefixlen + 96
    return int(network.network_address), network.prefixlen


def _at(edges: dict[int, bool], address: int) -> bool:
    """Return the verdict of the interval that holds an address."""
    return edges[max(edge for edge in edges if edge <= address)]
