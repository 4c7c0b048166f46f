"""The loop over a real socket, with the wall clock and the kernel's stamps moved together at the seam; and over a
broken one.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.daemon_serve.doors import a_live_page
from tests.daemon_serve.simulated_host import OnePage, SimulatedHost, SimulatedPort, loop_on
from tests.serve.pages import a_page
from tests.waits import PATIENCE_S, until

from truechimer.daemon.door import counters as names
from truechimer.daemon.door.counters import Counters
from truechimer.daemon.door.door_rules import DoorRules, Gatekeeper
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp.ntp_loop import (
    IP_MTU_DISCOVER,
    IPV6_MTU_DISCOVER,
    PMTUDISC_PROBE,
    NtpLoop,
    Received,
    UdpPort,
)
from truechimer.instants import FS_PER_S
from truechimer.serve import ClockPage, PageUnreadable
from truechimer.serve.ntp import NtpAnswer, make_request, read_reply, smear
from truechimer.serve.ntp.server import stamp_at

LIMIT_UNITS = 5e-6 * 2**32
MS = 1_000_000


class ShiftedHost:
    """This machine's clocks and sockets, with a wall clock that a test can move: readings and stamps together."""

    def __init__(self) -> None:
        self.shift_ns = 0
        self.clocks = HostClocks(realtime_ns=lambda: time.clock_gettime_ns(time.CLOCK_REALTIME) + self.shift_ns)


class ShiftedPort(UdpPort):
    """A real UDP socket whose kernel stamps carry the shift in force when the datagram came.

    `later` moves the wall clock after so many datagrams of a batch have been taken: those still waiting came before it.
    """

    def __init__(self, host: ShiftedHost) -> None:
        super().__init__("127.0.0.1", 0)
        self.host = host
        self.shift_at_arrival_ns = 0
        self.later: tuple[int, int] | None = None
        self.taken = 0

    def receive(self) -> Received | None:
        received = super().receive()
        if received is None:
            return None
        self.taken += 1
        if self.later is not None and self.taken == self.later[0]:
            self.host.shift_ns = self.later[1]
        assert received.stamp_realtime_ns is not None
        shifted = received.stamp_realtime_ns + self.shift_at_arrival_ns
        return Received(received.octets, received.source, shifted, received.truncated, received.answer_from)


@pytest.mark.parametrize("by_ns", [3_600 * 10**9, -3_600 * 10**9, 100 * MS, -100 * MS])
@pytest.mark.parametrize("when", ["before the batch", "in the middle of the batch", "there and back"])
def test_moving_wall_clock_and_kernel_stamps_together_moves_no_served_time_on_a_real_socket(
    by_ns: int, when: str
) -> None:
    page = a_live_page()
    host = ShiftedHost()
    port = ShiftedPort(host)
    counters = Counters()
    loop = NtpLoop(port, OnePage(page), clocks=host.clocks, counters=counters, bound_limit_s=1e-3, precision_log2=-23)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", port.port))
            client.settimeout(PATIENCE_S)
            until(lambda: loop.turn(0.01) == 0 and host.clocks.rate_is_learned, longest_pause_s=0.0)
            if when == "before the batch":
                host.shift_ns = port.shift_at_arrival_ns = by_ns
            elif when == "in the middle of the batch":
                port.later = (3, by_ns)
            else:
                port.shift_at_arrival_ns = by_ns  # the stamps are from a wall clock that is back before anyone looks
            if when != "before the batch":
                loop.turn(0)  # nothing waits: what comes now came after this moment
            before = host.clocks.raw_ns()
            for nonce in range(1, 9):
                client.send(make_request(nonce))
            while counters[names.RECEIVED] < 8:
                loop.turn(0.01)
            after = host.clocks.raw_ns()
            answers = [read_reply(client.recv(2048), nonce) for nonce in range(1, 9)]
    finally:
        port.close()
    for answer in answers:
        assert isinstance(answer, NtpAnswer)
        assert stamp_at(page, before) - LIMIT_UNITS <= answer.receive <= stamp_at(page, after)
        assert stamp_at(page, before) <= answer.transmit <= stamp_at(page, after)
        assert answer.receive < answer.transmit
    if when != "before the batch":
        assert counters[names.STAMPS_USER] == 8
    assert counters[names.FAULTS] == 0


def test_on_a_wildcard_address_the_answer_leaves_from_the_address_that_was_asked() -> None:
    port = UdpPort("0.0.0.0", 0)
    loop = NtpLoop(
        port, OnePage(a_live_page()), clocks=HostClocks(), counters=Counters(), bound_limit_s=1e-3, precision_log2=-23
    )
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE_S)
            client.connect(("127.0.0.2", port.port))  # a connected socket hears that address alone
            client.send(make_request(7))
            while not loop.turn(0.01):
                pass
            assert isinstance(read_reply(client.recv(2048), 7), NtpAnswer)
    finally:
        port.close()


@pytest.mark.parametrize(("address", "families"), [("127.0.0.1", {4}), ("0.0.0.0", {4}), ("::1", {6}), ("::", {4, 6})])
def test_no_answer_is_cut_into_pieces_for_a_path_that_somebody_made_up(address: str, families: set[int]) -> None:
    port = UdpPort(address, 0)
    options = {4: (socket.IPPROTO_IP, IP_MTU_DISCOVER), 6: (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER)}
    kept = {family for family in families if port.socket.getsockopt(*options[family]) == PMTUDISC_PROBE}
    port.close()
    assert kept == families


def test_on_the_ipv6_wildcard_both_families_are_answered() -> None:
    port = UdpPort("::", 0)
    loop = NtpLoop(
        port, OnePage(a_live_page()), clocks=HostClocks(), counters=Counters(), bound_limit_s=1e-3, precision_log2=-23
    )
    try:
        for family, address in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.3")):
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE_S)
                client.connect((address, port.port))
                client.send(make_request(7))
                while not loop.turn(0.01):
                    pass
                assert isinstance(read_reply(client.recv(2048), 7), NtpAnswer)
    finally:
        port.close()


class BrokenPort(SimulatedPort):
    """A socket whose calls fail."""

    def __init__(self, host: SimulatedHost, arrivals: list[tuple[int, bytes]], *, failing: str) -> None:
        super().__init__(host, arrivals)
        self.failing = failing
        self.failures_left = 3

    def _fail(self, call: str) -> None:
        if self.failing == call and self.failures_left:
            self.failures_left -= 1
            raise OSError(101, "Network is unreachable")

    def receive(self) -> Received | None:
        self._fail("receive")
        return super().receive()

    def send(self, octets: bytes, *, to: Received) -> None:
        self._fail("send")
        super().send(octets, to=to)


@pytest.mark.parametrize(
    ("failing", "counter", "answered"), [("receive", "receive_failed", 5), ("send", "send_failed", 2)]
)
def test_an_error_of_the_socket_is_counted_and_the_loop_goes_on(failing: str, counter: str, answered: int) -> None:
    host = SimulatedHost()
    start = host.now_ns
    page = a_page(anchor_raw_ns=start, valid_until_raw_ns=start + 10**12, boot_id=host.clocks().boot_id())
    port = BrokenPort(
        host, [(start + 100 * MS * number, make_request(number)) for number in range(1, 6)], failing=failing
    )
    loop = loop_on(host, port, page, host.clocks())
    while port.waiting:
        loop.turn()
    assert len(port.answered) == answered
    assert loop._counters[counter] == 3


def test_a_fault_of_our_own_costs_one_answer_and_never_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    host = SimulatedHost()
    start = host.now_ns
    page = a_page(anchor_raw_ns=start, valid_until_raw_ns=start + 10**12, boot_id=host.clocks().boot_id())
    port = SimulatedPort(host, [(start + 1 + number, make_request(number)) for number in range(1, 6)])
    loop = loop_on(host, port, page, host.clocks())
    from truechimer.daemon.ntp import ntp_loop

    def sometimes(plain: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **more: Any) -> Any:
            if make_request(3) in arguments:
                raise ZeroDivisionError
            return plain(*arguments, **more)

        return called

    for name in ("respond", "usual_answer"):
        monkeypatch.setattr(ntp_loop, name, sometimes(getattr(ntp_loop, name)))
    while port.waiting:
        loop.turn()
    assert len(port.answered) == 4
    assert loop._counters[names.FAULTS] == 1


def test_a_simulated_time_is_not_served_where_it_is_not_allowed() -> None:
    host = SimulatedHost()
    start = host.now_ns
    page = a_page(
        anchor_raw_ns=start,
        valid_until_raw_ns=start + 10**12,
        boot_id=host.clocks().boot_id(),
        simulated=True,
        refid=b"SIM\0",
    )
    for allowed in (True, False):
        port = SimulatedPort(host, [(host.now_ns + 1_000, make_request(1))])
        loop = NtpLoop(
            port,
            OnePage(page),
            clocks=host.clocks(),
            counters=Counters(),
            bound_limit_s=1e-3,
            precision_log2=-23,
            simulated_allowed=allowed,
        )
        while port.waiting:
            loop.turn()
        (one,) = port.answered
        assert (one.header.leap == 0) is allowed
        assert (loop._counters["unsynchronised_simulated_not_allowed"] == 1) is not allowed


def test_batches_longer_than_one_turn_are_answered_whole_and_in_order() -> None:
    host = SimulatedHost()
    start = host.now_ns
    page: ClockPage | PageUnreadable = a_page(
        anchor_raw_ns=start, valid_until_raw_ns=start + 10**12, boot_id=host.clocks().boot_id()
    )
    port = SimulatedPort(host, [(start + 1_000, make_request(number)) for number in range(1, 101)])
    loop = loop_on(host, port, page, host.clocks())
    while port.waiting:
        assert loop.turn() <= 32
    transmits = [one.header.transmit for one in port.answered]
    assert len(transmits) == 100
    assert transmits == sorted(set(transmits))
    assert [one.header.origin for one in port.answered] == list(range(1, 101))


def test_a_door_that_smears_gives_the_bent_line_with_no_warning_and_stays_synchronised() -> None:
    live = a_live_page()
    leap_s = live.anchor_tai_fs // FS_PER_S + 3_600
    page = replace(live, next_leap_tai_s=leap_s, next_tai_minus_utc_s=live.tai_minus_utc_s + 1)
    answers = []
    for rules in (DoorRules(smear="linear-24h"), DoorRules()):
        port, clocks = UdpPort("127.0.0.1", 0), HostClocks()
        gate = Gatekeeper(rules, secret=bytes(256))
        loop = NtpLoop(
            port, OnePage(page), clocks=clocks, counters=Counters(), bound_limit_s=1e-3, precision_log2=-23, gate=gate
        )
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE_S)
                client.connect(("127.0.0.1", port.port))
                client.send(make_request(7))
                while not loop.turn(0.01):
                    pass
                raw_ns = clocks.raw_ns()
                answers.append((read_reply(client.recv(2048), 7), raw_ns))
        finally:
            port.close()
    (smeared, raw_ns), (plain, plain_raw_ns) = answers
    assert isinstance(smeared, NtpAnswer)
    assert isinstance(plain, NtpAnswer)
    off_s = smear.bent(page, raw_ns).served_minus_utc_s
    assert -0.5 < off_s < -0.4
    behind_s = (stamp_at(page, raw_ns) - smeared.transmit) / 2**32
    assert -off_s <= behind_s < -off_s + 0.5, "sent before it was compared, and not much before"
    assert (stamp_at(page, plain_raw_ns) - plain.transmit) / 2**32 < 0.4
    assert (smeared.leap, plain.leap) == (0, 1)
    assert smeared.refid == smear.refid(smear.smeared_by(smeared.refid) or 0.0)
    assert smeared.root_dispersion_s > -off_s
