"""A door answers whom its policy by order names, up to its bound, from the next second on; without one as it began."""

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.daemon_serve.doors import Door, a_door, a_live_page, a_page_in
from tests.waits import until

from truechimer.daemon.door import door_policy
from truechimer.daemon.door.counters import read_counters
from truechimer.daemon.door.door_policy import DoorPolicy
from truechimer.quorum.listener_policy import ListenerPolicy, ListenerPolicyRejected, listener_policy_from

NAME = "ntp-11123"


def policy(*networks: str, bound_limit_s: float = 0.001, listener: str = NAME) -> ListenerPolicy:
    return ListenerPolicy(listener, tuple(ipaddress.ip_network(one) for one in networks), bound_limit_s)


def is_synchronised(door: Door) -> bool | None:
    answer = door.ask(wait_s=1.0)
    return None if answer is None else answer.stratum in range(1, 16)


@pytest.mark.slow
def test_a_door_takes_its_policy_over_while_it_serves_and_gives_it_back(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    path = door_policy.path_of(tmp_path, NAME)
    page = a_live_page(bound_s=2e-4)
    with a_page_in(tmp_path, page), a_door(tmp_path, "--policy", str(path), "--bound-limit-s", "0.01") as door:
        assert is_synchronised(door)
        assert door_policy.lay(tmp_path, [(NAME, policy("198.51.100.0/24").canonical().decode())]) == (NAME,)
        until(lambda: door.ask(wait_s=1.0) is None)
        until(lambda: read_counters(door.counters_path())["ignored_not_allowed"] > 0)
        path.write_bytes(b"{}")  # what is no policy changes nothing
        assert door.ask(wait_s=1.0) is None
        tight = policy("127.0.0.0/8", bound_limit_s=1e-4).canonical().decode()
        assert door_policy.lay(tmp_path, [(NAME, tight)]) == (NAME,)
        until(lambda: is_synchronised(door) is False)
        assert door_policy.lay(tmp_path, [(NAME, tight)]) == ()
        assert door_policy.lay(tmp_path, []) == (NAME,)
        until(lambda: is_synchronised(door) is True)


def test_a_door_reads_only_its_own_policy(tmp_path: Path) -> None:
    path = tmp_path / "ntp-11123.policy"
    door = DoorPolicy(path, NAME)
    assert not door.look()
    path.write_bytes(policy("0.0.0.0/0", listener="ntp-123").canonical())
    assert not door.look()
    assert door.policy is None
    assert not DoorPolicy(None, NAME).look()


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("192.0.3.7", False),
        ("2001:db8::1", True),
        ("2001:db8::1%eth0", True),
        ("2001:db9::1", False),
        ("", False),
        ("door.example", False),
    ],
)
def test_an_address_is_answered_where_a_network_holds_it(host: str, *, answered: bool) -> None:
    assert policy("192.0.2.0/24", "2001:db8::/32").answers(host) is answered


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"192.0.2.0/24"', b'"192.0.2.1/24"'),
        (b'"192.0.2.0/24"', b""),
        (b'"192.0.2.0/24"', b"7"),
        (b'["192.0.2.0/24"]', b'"192.0.2.0/24"'),
        (b"0.001 s", b"0.001"),
        (b"0.001 s", b"nan s"),
        (b"0.001 s", b"0.0010 s"),
        (b"0.001 s", b"11.0 s"),
        (b"0.001 s", b"-0.001 s"),
        (b"-v1", b"-v2"),
        (b"{", b'{"smear":"yes",'),
        (b"{", b" {"),
    ],
    ids=lambda one: one.decode(),
)
def test_one_thing_broken_is_no_policy(old: bytes, new: bytes) -> None:
    good = policy("192.0.2.0/24").canonical()
    assert listener_policy_from(good) == policy("192.0.2.0/24")
    with pytest.raises(ListenerPolicyRejected):
        listener_policy_from(good.replace(old, new, 1))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_policy_or_rejected(data: bytes) -> None:
    with pytest.raises(ListenerPolicyRejected):
        listener_policy_from(data)
