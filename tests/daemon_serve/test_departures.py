"""Interleaved answers say when the one before really left, by the kernel's stamps: over real sockets on loopback, whose
driver stamps departures, in plain Python and in machine code.
"""

import os
import socket
import statistics
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.daemon_serve.doors import a_live_page, a_page_in
from tests.daemon_serve.simulated_host import START_NS, SimulatedHost, SimulatedPort, loop_on
from tests.serve.ntp.test_departed import a_packet, an_answer
from tests.serve.ntp.test_ntpv5 import v5
from tests.serve.pages import a_page
from tests.waits import PATIENCE_S, until

from truechimer.daemon.door import counters as names
from truechimer.daemon.door.counters import Counters
from truechimer.daemon.door.door_rules import DoorRules, Gatekeeper
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp import departure_desk, ntp_layout
from truechimer.daemon.ntp.departure_desk import DepartureDesk, stamps_in
from truechimer.daemon.ntp.ntp_loop import NtpLoop, UdpPort, stamp_of
from truechimer.daemon.page_file import PageReader
from truechimer.serve.ntp import make_request
from truechimer.serve.ntp.interleaved import key_of

SECRET = bytes(range(7, 256)) + bytes(7)
UNITS_PER_US = 2**32 / 1e6
SO_TIMESTAMPNS = 35


@dataclass
class Door:
    """A loop on a live page, in this process, and a client beside it."""

    loop: NtpLoop
    port: UdpPort
    counters: Counters
    clocks: HostClocks
    client: socket.socket
    served: int = 0

    def ask(self, origin: int, receive: int, transmit: int) -> tuple[int, int, int, int]:
        """Ask once; return origin, receive and transmit stamps of the answer, and the kernel's stamp of its arrival on
        the page's own line (2^-32 s).
        """
        self.client.send(make_request(1)[:24] + struct.pack(">QQQ", origin, receive, transmit))
        self.served += 1
        until(
            lambda: self.loop.turn(0.02) + 1 > 0 and self.counters[names.RECEIVED] >= self.served, longest_pause_s=0.0
        )
        octets, messages, _, _ = self.client.recvmsg(2048, 256)
        wall_ns = next(stamp_of(data) for _, kind, data in messages if kind == SO_TIMESTAMPNS)
        assert wall_ns is not None
        said: tuple[int, int, int] = struct.unpack(">QQQ", octets[24:48])
        return (*said, ((wall_ns // 10**9 + 2_208_988_800) << 32) + (wall_ns % 10**9 << 32) // 10**9)

    def interleave(self, times: int) -> list[float]:
        """Ask in interleaved mode; return T4 - T3 of each answer by what the next one said of it (us)."""
        _, receive, _, came = self.ask(5, 6, 6)
        late = []
        for number in range(times):
            origin, receive, transmit, next_came = self.ask(receive, 100 + number, 101 + number)
            assert origin == 100 + number  # RFC 9769: an interleaved answer
            late.append((came - transmit) / UNITS_PER_US)
            came = next_came
        return late

    def counted(self) -> tuple[int, int]:
        return self.counters[names.DEPARTURES_ASKED], self.counters[names.DEPARTURES_STAMPED]

    @property
    def desk(self) -> DepartureDesk:
        assert self.loop._departures is not None
        return self.loop._departures


@pytest.fixture(params=["plain", pytest.param("compiled", marks=pytest.mark.slow)])
def door(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Door]:
    page = a_live_page()
    with a_page_in(tmp_path, page), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        port, counters = UdpPort("127.0.0.1", 0), Counters()
        clocks, pages = HostClocks(), PageReader(tmp_path / "page")
        gate = Gatekeeper(DoorRules(ntpv5=True), secret=SECRET)
        common = {"clocks": clocks, "counters": counters, "bound_limit_s": 1e-3, "precision_log2": -23, "gate": gate}
        loop: NtpLoop
        if request.param == "plain":
            loop = NtpLoop(port, pages, departures=DepartureDesk(port.socket), **common)  # type: ignore[arg-type]
        else:
            from truechimer.daemon.ntp.ntp_loop_compiled import CompiledNtpLoop

            loop = CompiledNtpLoop(port, pages, **common)  # type: ignore[arg-type]
        client.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        client.connect(("127.0.0.1", port.port))
        client.settimeout(PATIENCE_S)
        until(lambda: loop.turn(0.01) == 0 and clocks.rate_is_learned, longest_pause_s=0.0)
        yield Door(loop, port, counters, clocks, client)
        port.close()


def test_an_interleaved_answer_carries_the_kernels_stamp_of_the_one_before_which_is_later_and_never_too_late(
    door: Door,
) -> None:
    stamped = door.interleave(40)
    asked, noted = door.counted()
    assert asked == 40
    # a pair of clocks that was interrupted costs a stamp, and the clock reading stays; the last one is still out
    assert noted >= 30
    assert min(stamped) > -5.0  # the truth: the arrival by the kernel; stamps are right to 5 us
    door.desk.open = False
    if hasattr(door.loop, "memory"):
        door.loop.memory.settings[ntp_layout.DEPARTURES] = 0
    read = door.interleave(40)
    assert door.counted()[0] == 40
    assert statistics.median(stamped[1:]) < statistics.median(read) - 0.3


def test_basic_questions_ask_for_no_stamp_whatever_origin_they_name(door: Door) -> None:
    for number in range(20):
        door.ask(number and 10**18 + number, number, number + 1)
    assert door.counted() == (0, 0)
    with pytest.raises(BlockingIOError):
        door.port.socket.recvmsg(2048, 256, socket.MSG_ERRQUEUE)


def test_a_stamp_that_never_comes_leaves_the_clock_reading(door: Door) -> None:
    door.port.socket.setsockopt(socket.SOL_SOCKET, departure_desk.SO_TIMESTAMPING, 0)
    late = door.interleave(20)
    assert door.counted() == (20, 0)
    assert all(0.0 < one < 1e5 for one in late)


def test_stamps_that_another_process_asked_for_are_taken_off_and_move_nothing(door: Door) -> None:
    assert door.loop._gate.offers.saved is not None
    asks = [(socket.SOL_SOCKET, departure_desk.SO_TIMESTAMPING, struct.pack("=I", departure_desk.TX_SOFTWARE))]
    for number in range(150):
        octets = an_answer(first=0x24) if number % 2 else os.urandom(48 + number)
        door.port.socket.sendmsg([octets], asks, 0, ("127.0.0.1", 9 if number % 3 else door.client.getsockname()[1]))
    before = list(door.loop._gate.offers.saved.keys), list(door.loop._gate.offers.saved.held)
    for _ in range(4):
        door.loop.turn(0.02)
    assert (list(door.loop._gate.offers.saved.keys), list(door.loop._gate.offers.saved.held)) == before
    with pytest.raises(BlockingIOError):
        door.port.socket.recvmsg(2048, 256, socket.MSG_ERRQUEUE)
    began = door.clocks.raw_ns()
    door.loop.turn(0.02)
    assert door.clocks.raw_ns() - began > 10_000_000  # it waits: nothing keeps it awake
    assert door.counted() == (0, 0)


def test_what_may_be_asked_for_in_a_second_is_bounded(door: Door) -> None:
    if hasattr(door.loop, "memory"):
        door.loop._stamped_raw_ns = door.clocks.raw_ns() + 10**12
        door.loop.memory.state[ntp_layout.STAMPS_LEFT] = 3
    else:
        door.desk._left, door.desk._per_s = 3.0, 0
        door.desk.wants = lambda raw_ns, of=door.desk: DepartureDesk.wants(of, raw_ns)  # type: ignore[method-assign]
    late = door.interleave(20)
    assert door.counted()[0] <= 3
    assert all(0.0 < one < 1e5 for one in late[4:])  # every one was answered, in interleaved mode


def test_a_wall_clock_that_moves_while_an_answer_leaves_moves_no_stamp() -> None:
    # The pairs after the send say that CLOCK_REALTIME went: whatever the stamp is, the clock reading stays.
    for by_ns, believed in ((0, True), (1_000_000, False), (-1_000_000, False), (4_000, True)):
        host = SimulatedHost(steps=[(START_NS + 200_000_000, by_ns)])
        clocks, counters, gate = host.clocks(), Counters(), Gatekeeper(DoorRules(), secret=SECRET)
        for _ in range(60):
            clocks.take_pair()
            host.spend(3_000_000)
        loop = loop_on(host, SimulatedPort(host, []), a_page(), clocks)
        loop._gate, loop._counters = gate, counters
        host.now_ns = START_NS + 199_990_000
        clocks.take_pair()
        assert gate.offers.saved is not None
        sent_ns = clocks.raw_ns()
        gate.offers.saved.save(77, 1_000, sent_ns)
        host.now_ns = START_NS + 200_010_000
        left_ns = host.now_ns

        class Desk:
            asked_since_raw_ns, waiting = sent_ns, 1

            def take(self) -> list[tuple[int, int, None]]:
                return [(77, host.wall_at(left_ns), None)]  # noqa: B023 - called before the next turn

        host.spend(30_000)
        loop._note_departures(Desk())  # type: ignore[arg-type]
        held = gate.offers.saved.take(77)
        assert held is not None
        assert (counters[names.DEPARTURES_STAMPED] == 1) == believed
        if believed:
            assert (held - 1_077) * 1e9 / 2**32 == pytest.approx(left_ns - sent_ns, abs=5_000)
        else:
            assert held == 1_077


def test_version_5_and_sealed_answers_find_their_stamps_too(door: Door) -> None:
    cookie = bytes(8)
    for number in range(6):
        door.client.send(v5(flags=2, server_cookie=cookie, timescale=1))
        door.served += 1
        until(
            lambda: door.loop.turn(0.02) + 1 > 0 and door.counters[names.RECEIVED] >= door.served, longest_pause_s=0.0
        )
        octets = door.client.recv(2048)
        cookie = octets[16:24]
        assert bool(octets[15] & 2) == (number > 0)  # interleaved from the second on
    until(lambda: door.loop.turn(0.02) + 1 > 0, longest_pause_s=0.0)
    asked, noted = door.counted()
    assert asked == 5
    assert noted >= 3


@pytest.mark.slow
def test_machine_code_without_a_table_of_answers_forgets_what_is_said_of_departures(tmp_path: Path) -> None:
    from truechimer.daemon.ntp.departure_kernel import note_departures
    from truechimer.daemon.ntp.ntp_loop_compiled import CompiledNtpLoop

    port, counters = UdpPort("127.0.0.1", 0), Counters()
    with a_page_in(tmp_path):
        clocks, pages = HostClocks(), PageReader(tmp_path / "page")
    loop = CompiledNtpLoop(port, pages, clocks=clocks, counters=counters, bound_limit_s=1e-3, precision_log2=-23)
    memory, packet, raw_ns = loop.memory, a_packet(an_answer(), port=port.port), 5_000 * 10**9
    port.close()
    assert loop._rules.saved_keys.shape == (0,)
    memory.watch[:] = 2, 3, -(2**62), 0
    for place, at in enumerate((raw_ns - 1_000_000, raw_ns - 2_000, raw_ns + 30_000)):
        memory.pairs[place] = at, at, 50
    memory.state[ntp_layout.ASKED], memory.state[ntp_layout.ASKED_SINCE_RAW] = 3, raw_ns - 500
    memory.departed[0, : len(packet)] = np.frombuffer(packet, dtype=np.uint8)
    memory.departed_control[0, :10] = 64, 1 | 37 << 32, *divmod(raw_ns, 10**9), 0, 0, 0, 0, 32, 11 << 32
    memory.departed_control[0, 10:12] = 42 | 4 << 32, 0
    memory.departed_in[0, ntp_layout.CONTROL_LENGTH], memory.departed_in[0, ntp_layout.RECEIVED] = 96, len(packet)
    note_departures(memory, loop._rules, 0.0, raw_ns + 20_000, 1, loop._counts)
    assert memory.state[ntp_layout.ASKED] == 2
    assert counters[names.DEPARTURES_STAMPED] == 0


@pytest.mark.slow
def test_machine_code_notes_what_the_reference_would_and_nothing_else(tmp_path: Path) -> None:
    from truechimer.daemon.ntp import ntp_layout as layout
    from truechimer.daemon.ntp.departure_kernel import note_departures
    from truechimer.daemon.ntp.ntp_loop_compiled import CompiledNtpLoop

    raw_ns, wall_minus_raw_ns, unit = 5_000 * 10**9, 1_790_000_000 * 10**9, 2**32 / 1e9
    port = UdpPort("127.0.0.1", 0)
    with a_page_in(tmp_path):
        clocks, pages = HostClocks(), PageReader(tmp_path / "page")
    gate = Gatekeeper(DoorRules(), secret=SECRET)
    loop = CompiledNtpLoop(
        port, pages, clocks=clocks, counters=Counters(), bound_limit_s=1e-3, precision_log2=-23, gate=gate
    )
    memory, saved = loop.memory, gate.offers.saved
    assert saved is not None
    receive, good = 0xEE01_0203_8405_0607, a_packet(an_answer(), port=port.port)

    def late_ns(packet: bytes = good, *, late_ns: int = 4_000, moved_ns: int = 0, flags: int = 0, kind: int = 0) -> int:
        """Return by how much a packet handed back moves the answer with that receive stamp."""
        saved.save(receive, round(50_000 * unit), raw_ns)
        memory.watch[:] = 2, 3, -(2**62), 0
        for place, at in enumerate((raw_ns - 1_000_000, raw_ns - 2_000, raw_ns + 30_000)):
            memory.pairs[place] = at, at + wall_minus_raw_ns + (moved_ns if place == 2 else 0), 50
        memory.state[layout.ASKED], memory.state[layout.ASKED_SINCE_RAW] = 1, raw_ns - 500
        memory.departed[0, : len(packet)] = np.frombuffer(packet, dtype=np.uint8)
        seconds, ns = divmod(raw_ns + wall_minus_raw_ns + late_ns, 10**9)
        memory.departed_control[0, :10] = 64, 1 | 37 << 32, seconds, ns, 0, 0, 0, 0, 32, 11 << 32
        memory.departed_control[0, 10:12] = 42 | 4 << 32, kind
        memory.departed_in[0, layout.CONTROL_LENGTH] = 96
        memory.departed_in[0, layout.RECEIVED], memory.departed_in[0, layout.FLAGS] = len(packet), flags
        note_departures(memory, loop._rules, 0.0, raw_ns + 20_000, 1, loop._counts)
        assert memory.state[layout.ASKED] == 0
        held = saved.take(receive)
        assert held is not None
        return round((held - receive) / unit) - 50_000

    assert late_ns() == pytest.approx(4_000 - 50, abs=2)  # never after it left: half the pair's width is taken off
    assert late_ns(late_ns=-3_000) == 0
    for nothing in (
        late_ns(late_ns=-30_000),
        late_ns(late_ns=40_000),
        late_ns(moved_ns=50_000),
        late_ns(moved_ns=-50_000),
        late_ns(flags=layout.MSG_TRUNC),
        late_ns(kind=1),
        late_ns(a_packet(an_answer(), port=port.port ^ 1)),
        late_ns(a_packet(an_answer(first=0x2C), port=port.port)),
        late_ns(good[:-1]),
    ):
        assert nothing == 0
    assert loop._counters[names.DEPARTURES_STAMPED] == 2
    port.close()


# The desk alone.

ERROR = struct.pack("=IBBBBII", 42, 4, 0, 0, 0, 0, 0)
STAMPED = struct.pack("=6q", 1_790_000_000, 5, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [(1, 37, STAMPED)],
        [(0, 11, ERROR)],
        [(1, 37, STAMPED[:40]), (0, 11, ERROR)],
        [(1, 37, bytes(48)), (0, 11, ERROR)],
        [(1, 37, struct.pack("=6q", 5, 10**9, 0, 0, 0, 0)), (0, 11, ERROR)],
        [(1, 37, STAMPED), (0, 11, ERROR[:15])],
        [(1, 37, STAMPED), (0, 11, struct.pack("=IBBBBII", 111, 2, 3, 3, 0, 0, 0))],
        [(1, 37, STAMPED), (0, 11, struct.pack("=IBBBBII", 42, 4, 0, 0, 0, 1, 0))],
    ],
    ids=["nothing", "received", "no stamp", "cut", "zero", "ns", "cut error", "a real error", "only scheduled"],
)
def test_what_is_no_stamp_of_something_sent_is_none_in_either_form(messages: list[tuple[int, int, bytes]]) -> None:
    from truechimer.daemon.ntp.control_messages import FOUND_WORDS, LEFT, NO_STAMP, SENT, STAMP, read_control

    def in_words(given: list[tuple[int, int, bytes]]) -> tuple[bool, int]:
        octets = b"".join(
            struct.pack("=qii", 16 + len(data), level, kind) + data + bytes(-len(data) % 8)
            for level, kind, data in given
        )
        control, found = np.zeros((1, 32), dtype=np.int64), np.zeros(FOUND_WORDS, dtype=np.int64)
        control[0, : len(octets) // 8] = np.frombuffer(octets, dtype=np.int64)
        read_control(control, 0, len(octets), found)
        return bool(found[SENT] == LEFT), int(found[STAMP])

    good = [(1, 35, STAMPED[:16]), (1, 37, STAMPED), (41, 25, ERROR + bytes(28))]
    assert stamps_in(good) == (1_790_000_000 * 10**9 + 5, None)
    assert in_words(good) == (True, 1_790_000_000 * 10**9 + 5)
    assert stamps_in(messages) == (None, None)
    was_sent, stamp = in_words(messages)
    assert not was_sent or stamp == NO_STAMP


def test_a_desk_is_shut_where_the_kernel_reports_no_stamps() -> None:
    class NoStamps(socket.socket):
        def setsockopt(self, *_: object) -> None:
            raise OSError(92, "Protocol not available")

    with NoStamps(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        desk = DepartureDesk(connection)
        assert not desk.open
        assert not desk.wants(1)


def test_on_a_kernel_before_6_12_what_is_received_has_both_kinds_of_stamp_and_is_read_right() -> None:
    class Older(socket.socket):
        def setsockopt(self, *words: object) -> None:
            if words[1] == departure_desk.SO_TIMESTAMPING and int(words[2]) >> 16:  # type: ignore[call-overload]
                raise OSError(22, "Invalid argument")
            super().setsockopt(*words)  # type: ignore[arg-type]

    port = UdpPort("127.0.0.1", 0)
    with Older(fileno=os.dup(port.socket.fileno())) as older:
        assert DepartureDesk(older).open
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"q" * 48, ("127.0.0.1", port.port))
    assert port.wait(PATIENCE_S)
    received = port.receive()
    port.close()
    assert received is not None
    assert received.stamp_realtime_ns is not None
    assert received.answer_from == ()


def test_a_packet_handed_back_names_its_answer() -> None:
    packet = a_packet(an_answer(), port=123)
    assert departure_desk.answer_in(packet, len(packet), 123) == key_of(0xEE01_0203_8405_0607)
