"""The access list: the most specific network decides, and the search agrees with the definition."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.serve.ntp.access_list import Network, access_list

networks = st.one_of(
    st.builds(
        lambda number, length: ipaddress.ip_network((number, length), strict=False),
        st.integers(0xC0000200, 0xC00002FF),
        st.integers(20, 32),
    ),
    st.builds(
        lambda number, length: ipaddress.ip_network((number << 96 | 7, length), strict=False),
        st.integers(0x20010DB8, 0x20010DBB),
        st.integers(0, 128),
    ),
    st.just(ipaddress.ip_network("0.0.0.0/0")),
    st.just(ipaddress.ip_network("::/0")),
)
addresses = st.one_of(
    st.builds(ipaddress.IPv4Address, st.integers(0xC00001FE, 0xC0000302)),
    st.builds(
        lambda number, low: ipaddress.IPv6Address(number << 96 | low),
        st.integers(0x20010DB7, 0x20010DBC),
        st.integers(5, 9),
    ),
)


def as_v6(network: Network) -> ipaddress.IPv6Network:
    if isinstance(network, ipaddress.IPv6Network):
        return network
    return ipaddress.IPv6Network((0xFFFF << 32 | int(network.network_address), 96 + network.prefixlen))


@given(st.lists(networks, max_size=6), st.lists(networks, max_size=6), addresses)
def test_the_most_specific_network_decides_and_a_denial_wins_a_tie(
    allow: list[Network], deny: list[Network], address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    number = int(address) if address.version == 6 else 0xFFFF << 32 | int(address)
    holding = [
        (network.prefixlen, not allowed)
        for allowed, listed in ((True, allow), (False, deny))
        for network in map(as_v6, listed)
        if ipaddress.IPv6Address(number) in network
    ]
    wanted = not max(holding)[1] if holding else not allow
    assert access_list(allow, deny).answers(str(address)) is wanted


@pytest.mark.parametrize(("host", "answered"), [("192.0.2.7%eth0", True), ("", False), ("door.example", False)])
def test_what_is_no_address_is_not_answered(host: str, *, answered: bool) -> None:
    assert access_list().answers(host) is answered


def test_nothing_said_is_everybody() -> None:
    assert access_list().verdicts == b"\1"
    assert not access_list([ipaddress.ip_network("192.0.2.0/24")]).answers("198.51.100.1")
