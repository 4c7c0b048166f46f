"""The policy of one listener, as a signed order brings it: whom a door answers, and up to which bound.

It opens no door and knows no signature: the order names the SHA-256 of these bytes. A door never smears and never
steps, so nothing here says so. Bytes that can be read in two ways are refused.
"""

import ipaddress
from dataclasses import dataclass
from math import isfinite

from truechimer.errors import Rejected
from truechimer.quorum.strict_json import JsonRejected, canonical, read_object, text_of, with_keys

FORMAT = "truechimer-listener-policy-v1"
LARGEST = 8192
"""Bytes."""
MOST_NETWORKS = 256
LARGEST_BOUND_S = 10.0
_KEYS = frozenset(["format", "listener", "allow", "bound_limit_s"])

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ListenerPolicyRejected(Rejected):
    """Bytes that are no policy of a listener."""


@dataclass(frozen=True, slots=True)
class ListenerPolicy:
    """`listener`: name of the door; `allow`: networks whose addresses are answered, others are counted and ignored;
    `bound_limit_s`: the door is unsynchronised above it.
    """

    listener: str
    allow: tuple[Network, ...]
    bound_limit_s: float

    def answers(self, host: str) -> bool:
        """Return True where an address is to be answered; an IPv4 address mapped into IPv6 is the IPv4 address."""
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address.version == network.version and address in network for network in self.allow)

    def canonical(self) -> bytes:
        """Return the bytes that an order names."""
        return canonical(
            {
                "allow": [str(network) for network in self.allow],
                "bound_limit_s": f"{self.bound_limit_s!r} s",
                "format": FORMAT,
                "listener": self.listener,
            }
        )


def listener_policy_from(data: bytes) -> ListenerPolicy:
    """Read a policy from its canonical bytes; raises `ListenerPolicyRejected`."""
    try:
        body = with_keys(read_object(data, LARGEST), _KEYS, "the policy of a listener")
        text = {key: text_of(body, key, 300) for key in ("format", "listener", "bound_limit_s")}
    except JsonRejected as error:
        raise ListenerPolicyRejected(str(error)) from None
    if text["format"] != FORMAT:
        raise ListenerPolicyRejected(f"format {text['format'][:40]!a}: {FORMAT} is read here")
    listed = body["allow"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_NETWORKS:
        raise ListenerPolicyRejected(
            f"allow is not a list of 1 to {MOST_NETWORKS} networks: a door that answers nobody"
        )
    try:
        allow = tuple(ipaddress.ip_network(one) for one in listed if isinstance(one, str))
        number, _, unit = text["bound_limit_s"].partition(" ")
        bound_limit_s = float(number)
    except ValueError as error:
        raise ListenerPolicyRejected(f"not a policy of a listener: {error}") from None
    if unit != "s" or not isfinite(bound_limit_s) or not 0.0 < bound_limit_s <= LARGEST_BOUND_S:
        raise ListenerPolicyRejected(f'bound_limit_s is not "SECONDS s" above 0 and up to {LARGEST_BOUND_S:g}')
    made = ListenerPolicy(text["listener"], allow, bound_limit_s)
    if made.canonical() != data:
        raise ListenerPolicyRejected("the bytes are not canonical: what is signed must be readable in one way only")
    return made
