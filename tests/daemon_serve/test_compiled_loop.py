"""The NTP loop in machine code says what the reference says: packet by packet without a socket, and over real ones."""

import os
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.daemon_serve.doors import a_door, a_live_page, a_page_in
from tests.waits import PATIENCE_S, until

from truechimer.daemon.door import counters as names
from truechimer.daemon.door.counters import NAMES, Counters, read_counters, together
from truechimer.daemon.door.door_rules import DoorRules, Gatekeeper
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp import ntp_batch, ntp_layout, ntp_memory
from truechimer.daemon.ntp.ntp_loop import NtpLoop, Received, UdpPort
from truechimer.daemon.ntp.ntp_loop_compiled import CompiledNtpLoop
from truechimer.daemon.page_file import PageReader, PageWriter
from truechimer.serve import ServiceState
from truechimer.serve.ntp import NtpAnswer, make_request, packet_kernel, read_reply
from truechimer.serve.ntp.reply import ReplyKind, stamp_at
from truechimer.serve.rx_stamp import STAMP_HANDLING_LIMIT_S, USER_STAMP_LIMIT_S, RxStamp, StampKind

pytestmark = pytest.mark.slow  # machine code is made once, which takes longer than all of these

SECRET = bytes(range(7, 256)) + bytes(7)
REALTIME_NS = 1_790_000_000 * 10**9


class OneMoment(HostClocks):
    """Clocks that stand still, and a stamp that was judged elsewhere."""

    def __init__(self, now_ns: int) -> None:
        super().__init__()
        self.boot = HostClocks().boot_id()
        self.raw_ns = lambda: now_ns
        self.rx = RxStamp(now_ns, StampKind.USER, USER_STAMP_LIMIT_S)

    def rx_to_raw(self, stamp_realtime_ns: int | None, user_raw_ns: int, *, not_before_raw_ns: int) -> RxStamp:
        return self.rx


class Letterbox:
    """A port that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def wait(self, timeout_s: float) -> bool:
        return False

    def receive(self) -> Received | None:
        return None

    def send(self, octets: bytes, *, to: Received) -> None:
        self.sent.append(octets)


@dataclass
class Pair:
    """The two loops on one page, at one moment, with rules of their own that are the same."""

    compiled: CompiledNtpLoop
    reference: NtpLoop
    clocks: OneMoment
    port: Letterbox
    now_ns: int
    counters: tuple[Counters, Counters]

    def compare(self, packets: list[tuple[bytes, bytes, int | None]]) -> None:
        """Give both the same datagrams (octets, the name of who sent them, ns since the kernel stamped them or None)
        and hold octets and counters against each other.
        """
        memory, state = self.compiled.memory, self.compiled.memory.state
        assert self.compiled._prepare(self.now_ns)
        memory.watch[:2], memory.pairs[0] = (0, 1), (self.now_ns, REALTIME_NS, 10)
        state[ntp_layout.PENDING], state[ntp_layout.USER_RAW] = len(packets), self.now_ns
        state[ntp_layout.NOT_BEFORE_RAW], state[ntp_layout.JUDGED] = self.now_ns - 10**9, -1
        state[ntp_layout.LAST_RX_RAW] = -(2**62)
        state[ntp_layout.ALLOWANCE] = 64
        memory.octets[:] = 0xA5  # what stands beyond a datagram's end must not matter
        for i, (octets, name, age_ns) in enumerate(packets):
            memory.octets[i, : len(octets)] = np.frombuffer(octets, dtype=np.uint8)
            memory.peers[i, : len(name)] = np.frombuffer(name, dtype=np.uint8)
            memory.inbound[i, ntp_layout.RECEIVED], memory.inbound[i, ntp_layout.FLAGS] = len(octets), 0
            memory.inbound[i, ntp_layout.NAME_LENGTH] = len(name)
            memory.inbound[i, ntp_layout.CONTROL_LENGTH] = 0 if age_ns is None else 32
            if age_ns is not None:
                seconds, ns = divmod(REALTIME_NS - age_ns, 10**9)
                memory.control[i, :4] = 32, 1 | 35 << 32, seconds, ns
        datagrams = [self.compiled.received(i) for i in range(len(packets))]
        assert [one.octets for one in datagrams] == [octets for octets, _, _ in packets]
        self.reference._last_receive_raw_ns = -(2**62)
        ntp_batch.judge(memory, self.compiled._rules, *self.compiled._line, 0.0, self.compiled._counts)
        served = self.reference._served()
        for i, (octets, _, age_ns) in enumerate(packets):
            self.port.sent.clear()
            kind, limit_s = StampKind.KERNEL, STAMP_HANDLING_LIMIT_S
            if age_ns is None:
                kind, limit_s = StampKind.USER, USER_STAMP_LIMIT_S
            self.clocks.rx = RxStamp(self.now_ns - (age_ns or 0), kind, limit_s)
            self.reference._answer(datagrams[i], self.now_ns, served)
            is_answered = memory.verdicts[i] == packet_kernel.ANSWER
            assert is_answered == bool(self.port.sent), (octets[:60].hex(), int(memory.verdicts[i]))
            if is_answered:
                if memory.templates[memory.rx_kind[i], packet_kernel.HAS_TIME]:
                    packet_kernel.write_transmit(
                        memory.words, i, *self.compiled._line, self.now_ns, memory.receive, memory.last
                    )
                else:
                    packet_kernel.write_unknown_transmit(memory.words, i)
                assert memory.octets[i, :48].tobytes() == self.port.sent[0], octets.hex()
                assert len(octets) >= 48
        compiled, reference = self.counters
        judged = ("received", "ignored", "stamps_kernel", "stamps_user")
        ours = {name: compiled[name] for name in NAMES if name.startswith(judged)}
        assert ours == {name: reference[name] for name in ours}


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Callable[..., Pair]]:
    """Return a function that makes the two loops on one page."""
    ports = []

    def make(rules: DoorRules | None = None, *, bound_limit_s: float = 1e-3, **changes: Any) -> Pair:
        page = a_live_page(**changes)
        with a_page_in(tmp_path, page):
            pages = PageReader(tmp_path / "page")
        now_ns = page.anchor_raw_ns + 50_000_000
        clocks, letterbox, port = OneMoment(now_ns), Letterbox(), UdpPort("127.0.0.1", 0)
        ports.append(port)
        counters = (Counters(), Counters())
        gates = [Gatekeeper(rules or DoorRules(rate_per_s=0.0), secret=SECRET) for _ in counters]
        common: dict[str, Any] = {"bound_limit_s": bound_limit_s, "precision_log2": -23}
        compiled = CompiledNtpLoop(port, pages, clocks=clocks, counters=counters[0], gate=gates[0], **common)
        reference = NtpLoop(letterbox, pages, clocks=clocks, counters=counters[1], gate=gates[1], **common)
        return Pair(compiled, reference, clocks, letterbox, now_ns, counters)

    yield make
    for port in ports:
        port.close()


def a_name(host: str, port: int = 4000) -> bytes:
    """Return a socket's name as the kernel writes it."""
    if ":" in host:
        return struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", port, 0) + socket.inet_pton(10, host) + bytes(4)
    return struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(host) + bytes(8)


def batches(packets: list[tuple[bytes, bytes, int | None]]) -> Iterator[list[tuple[bytes, bytes, int | None]]]:
    for start in range(0, len(packets), ntp_layout.BATCH):
        yield packets[start : start + ntp_layout.BATCH]


def hostile_packets(
    draw: random.Random, *, octets_first: range, lengths: range
) -> list[tuple[bytes, bytes, int | None]]:
    """Return requests of all lengths and first octets: random, and with tails that are nearly right."""
    found = []
    name = a_name("192.0.2.1")
    for number, first in enumerate(octets_first):
        edges = (0, 1, 47, 48, 49, 52, 60, 68, 72, 76)
        found += [(bytes([first]) + draw.randbytes(80), length) for length in edges]
        if number % 8 == 0:
            found.append((bytes([first]) + bytes(80), 48))
    for fields in (15, 16, 17, 40):  # a list of fields has an end
        for mac in (0, 4, 20, 24, 28):
            chain = struct.pack(">HH", 0x104, 28) * 7 * fields
            found.append((b"\x23" + bytes(47) + chain + bytes(mac), 48 + 28 * fields + mac))
    for length in lengths:
        body = bytearray(draw.randbytes(1500))
        body[0] = draw.choice([0x23, 0x23, 0x1B, 0xE3, draw.randrange(256)])
        at = 48
        while at + 4 <= length:  # a chain of fields, of which one may lie about its length
            field = draw.choice([16, 28, 32, 64, length - at, draw.randrange(2000)])
            body[at : at + 4] = struct.pack(">HH", draw.randrange(65536), field)
            at += max(4, field)
        found.append((bytes(body), length))
    return [
        (octets[:length], name if draw.randrange(50) else a_name("192.0.2.1", 0), draw.choice([None, 900, 65_000]))
        for octets, length in found
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"state": ServiceState.FREERUN},
        {"bound_s": 5e-3},
        {"simulated": True, "refid": b"SIM\0", "root_delay_s": 0.0123},
    ],
    ids=["steered", "freerun", "too wide", "simulated"],
)
def test_every_length_and_every_first_octet_gets_the_references_answer(
    pair: Callable[..., Pair], changes: dict[str, Any]
) -> None:
    loops = pair(**changes)
    draw = random.Random(5905)
    for batch in batches(
        hostile_packets(draw, octets_first=range(0, 256, 3), lengths=range(draw.randrange(7), 1501, 7))
    ):
        loops.compare(batch)


@pytest.mark.acceptance
def test_all_lengths_and_all_first_octets(pair: Callable[..., Pair]) -> None:
    loops, draw = pair(), random.Random(time.time_ns())
    for _ in range(20):
        for batch in batches(hostile_packets(draw, octets_first=range(256), lengths=range(1501))):
            loops.compare(batch)


@pytest.mark.parametrize(
    "rules",
    [
        DoorRules(rate_per_s=0.0, allow=("192.0.2.0/24", "2001:db8::/32"), deny=("192.0.2.7/32",)),
        DoorRules(rate_per_s=0.0, deny=("198.51.100.0/24",), denied="kiss"),
        DoorRules(rate_per_s=0.25, rate_burst=3),
        DoorRules(rate_per_s=0.25, rate_burst=2, rate_loopback=True, interleaved=False),
    ],
    ids=["allow", "deny with a kiss", "rate", "rate of loopback"],
)
def test_the_doors_rules_come_to_the_same(pair: Callable[..., Pair], rules: DoorRules) -> None:
    loops, draw = pair(rules), random.Random(8633)
    hosts = ["192.0.2.7", "192.0.2.8", "198.51.100.9", "127.0.0.1", "2001:db8::1", "2001:db9::1", "::1"]
    hosts += ["::ffff:192.0.2.8", "::ffff:127.0.0.1", "::ffff:198.51.100.9"]
    packets: list[tuple[bytes, bytes, int | None]] = []
    for _ in range(320):
        octets = make_request(draw.getrandbits(63) + 1)
        packets.append((octets + draw.choice([b"", b"", bytes(20), bytes(5)]), a_name(draw.choice(hosts)), 1_000))
    for batch in batches(packets):
        loops.compare(batch)


def test_an_interleaved_request_is_answered_with_the_stamp_of_the_answer_before(pair: Callable[..., Pair]) -> None:
    loops, draw = pair(), random.Random(9769)
    page = loops.compiled._page_file.current()
    packets: list[tuple[bytes, bytes, int | None]] = []
    for number in range(200):
        saved = stamp_at(page, loops.now_ns - 10**9 - number)  # type: ignore[arg-type] - the page is there
        if number % 3:
            held = draw.randrange(2**40)
            for loop in (loops.compiled, loops.reference):
                assert loop._gate.offers.saved is not None
                loop._gate.offers.saved.save(saved, held, number)
        receive, transmit = draw.getrandbits(64), draw.getrandbits(64)
        head = make_request(1)[:24] + struct.pack(">QQQ", saved, receive, receive if number % 7 == 0 else transmit)
        packets.append((head, a_name("192.0.2.1"), 1_000 + 10 * number))
    for batch in batches(packets):
        loops.compare(batch)
    taken = [loops.compiled.memory.receive[i, 3] for i in range(8)]
    assert any(taken)


# Over real sockets.

Served = tuple[CompiledNtpLoop, UdpPort, Counters, PageWriter]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Return a compiled loop on a live page that has learned the host's clocks."""
    with a_page_in(tmp_path) as writer:
        port, counters = UdpPort("127.0.0.1", 0), Counters()
        clocks, pages = HostClocks(), PageReader(tmp_path / "page")
        loop = CompiledNtpLoop(
            port,
            pages,
            clocks=clocks,
            counters=counters,
            bound_limit_s=1e-3,
            precision_log2=-23,
            gate=Gatekeeper(DoorRules(), secret=SECRET),
            two_per_stamp=True,
        )
        until(lambda: loop.turn(0.01) == 0 and clocks.rate_is_learned, longest_pause_s=0.0)
        yield loop, port, counters, writer
        port.close()


def test_a_flood_of_full_batches_is_answered_once_each_with_stamps_in_order_and_no_two_receive_stamps_alike(
    served: Served,
) -> None:
    loop, port, counters, _ = served
    clocks, page = loop._clocks, loop._page_file.current()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port.port))
        client.settimeout(PATIENCE_S)
        loop.turn(0.01)
        before = clocks.raw_ns()
        for nonce in range(1, 201):
            client.send(make_request(nonce) if nonce % 10 else b"\x1b" * 47)
        until(lambda: loop.turn(0.02) + 1 > 0 and counters[names.RECEIVED] >= 200, longest_pause_s=0.0)
        after = clocks.raw_ns()
        answers = [read_reply(client.recv(2048), nonce) for nonce in range(1, 201) if nonce % 10]
    receives, transmits = [], []
    for answer in answers:
        assert isinstance(answer, NtpAnswer)
        assert answer.doubt is None
        receives.append(answer.receive)
        transmits.append(answer.transmit)
        assert answer.receive < answer.transmit
    assert receives == sorted(set(receives))
    assert transmits == sorted(set(transmits))
    assert stamp_at(page, before) - 5e-6 * 2**32 <= receives[0]  # type: ignore[arg-type, operator] - the page is there
    assert transmits[-1] <= stamp_at(page, after)  # type: ignore[arg-type] - the page is there
    assert counters["ignored_short"] == 20
    assert counters[names.STAMPS_KERNEL] + counters[names.STAMPS_USER] == 200
    assert counters[names.STAMPS_KERNEL] >= 136  # a pair that was interrupted costs a batch its stamps, never an answer


def test_a_wall_clock_that_is_stepped_or_a_page_that_ends_is_seen_before_the_batch_is_answered(
    served: Served,
) -> None:
    loop, port, counters, writer = served
    memory = loop.memory
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port.port))
        client.settimeout(PATIENCE_S)
        loop.turn(0.01)
        memory.pairs[:, 1] += 100_000_000  # as if the wall clock had been set back by 0.1 s since
        client.send(make_request(1))
        until(lambda: loop.turn(0.02) + 1 > 0 and counters[names.RECEIVED] >= 1, longest_pause_s=0.0)
        assert isinstance(read_reply(client.recv(2048), 1), NtpAnswer)
        assert counters[names.STAMPS_USER] == 1
        writer.publish(a_live_page(state=ServiceState.ALARM))
        client.send(make_request(2))
        until(lambda: loop.turn(0.02) + 1 > 0 and counters[names.RECEIVED] >= 2, longest_pause_s=0.0)
        answer = read_reply(client.recv(2048), 2)
    assert isinstance(answer, NtpAnswer)
    assert answer.stratum == 0
    assert counters[names.FAULTS] == 0


def test_an_interleaved_answer_says_when_the_one_before_left(served: Served) -> None:
    loop, port, counters, _ = served
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port.port))
        client.settimeout(PATIENCE_S)

        def ask(number: int, origin: int, receive: int, transmit: int) -> tuple[int, int, int]:
            client.send(make_request(1)[:24] + struct.pack(">QQQ", origin, receive, transmit))
            until(lambda: loop.turn(0.02) + 1 > 0 and counters[names.RECEIVED] >= number, longest_pause_s=0.0)
            found: tuple[int, int, int] = struct.unpack(">QQQ", client.recv(2048)[24:48])
            return found

        basic = ask(1, 5, 6, 6)
        assert basic[0] == 6
        assert basic[2] > basic[1]
        interleaved = ask(2, basic[1], 7, 8)
        assert interleaved[0] == 7  # the origin is the request's receive stamp: RFC 9769 section 2
        assert interleaved[2] == basic[2]
        again = ask(3, basic[1], 9, 10)  # a saved stamp serves once
        assert again[0] == 10
        assert again[2] > again[1] > interleaved[1]


@pytest.mark.parametrize(
    ("bound", "asked"), [("0.0.0.0", "127.0.0.2"), ("::", "127.0.0.3"), ("::", "::1"), ("::1", "::1")]
)
def test_the_answer_leaves_from_the_address_that_was_asked(tmp_path: Path, bound: str, asked: str) -> None:
    with a_page_in(tmp_path):
        port, counters, clocks = UdpPort(bound, 0), Counters(), HostClocks()
        common: dict[str, Any] = {"clocks": clocks, "counters": counters, "bound_limit_s": 1e-3}
        loop = CompiledNtpLoop(port, PageReader(tmp_path / "page"), precision_log2=-23, **common)
        until(lambda: loop.turn(0.01) == 0 and clocks.rate_is_learned, longest_pause_s=0.0)
        family = socket.AF_INET6 if ":" in asked else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.connect((asked, port.port))  # a connected socket hears that address alone
            client.settimeout(PATIENCE_S)
            for nonce in range(1, 13):
                client.send(make_request(nonce))
            until(lambda: loop.turn(0.02) + 1 > 0 and counters[names.RECEIVED] >= 12, longest_pause_s=0.0)
            for nonce in range(1, 13):
                answer = read_reply(client.recv(2048), nonce)
                assert isinstance(answer, NtpAnswer)
                assert answer.doubt is None
        port.close()
    assert counters[names.STAMPS_KERNEL] + counters[names.STAMPS_USER] == 12
    assert counters[names.SEND_FAILED] == 0


def test_a_door_answers_while_workers_begin_die_and_are_replaced_and_counts_everything_once(tmp_path: Path) -> None:
    with a_page_in(tmp_path), a_door(tmp_path, "--workers", "2", with_workers=True) as door:
        asked = 0

        def ask_until(condition: Callable[[dict[str, int]], bool]) -> None:
            nonlocal asked
            end = time.monotonic() + PATIENCE_S
            while not condition(read_counters(door.counters_path())):
                assert time.monotonic() < end
                assert door.ask() is not None
                asked += 1

        ask_until(lambda counts: counts["workers"] == 2)
        children = Path(f"/proc/{door.process.pid}/task/{door.process.pid}/children").read_text(encoding="ascii")
        for pid in (door.process.pid, *map(int, children.split())):
            words = Path(f"/proc/{pid}/status").read_text(encoding="ascii").split()
            rights = {name: words[words.index(f"{name}:") + 1] for name in ("CapPrm", "CapEff", "CapAmb", "NoNewPrivs")}
            assert {name: int(value, 16) for name, value in rights.items()} == {
                "CapPrm": 0,
                "CapEff": 0,
                "CapAmb": 0,
                "NoNewPrivs": 1,
            }, "whoever started it, what has its port needs no right any more"
        # one thread alone: a second one has every call of the loop look its socket up with atomic instructions
        assert [len(list(Path(f"/proc/{worker}/task").iterdir())) for worker in children.split()] == [1, 1]
        for worker in children.split():
            os.kill(int(worker), 9)
        assert door.ask() is not None, "the door itself answers"
        asked += 1
        ask_until(lambda counts: counts["worker_deaths"] == 2 and counts["workers"] == 0)
        ask_until(lambda counts: counts["workers"] == 2)
        for _ in range(20):
            assert door.ask() is not None
        door.process.terminate()
        door.process.wait(120)
        counts = read_counters(door.counters_path())
        # the door's own client asks too, and states its count once a second
        assert counts["replies_synchronised"] <= asked + 20 + counts["probes"] + 2
        assert counts["replies_synchronised"] > asked / 2  # what a worker counted in its last 50 ms dies with it
        assert counts["datagram_faults"] == 0
        assert not list(tmp_path.glob("counters.*"))


def test_the_neighbour_of_an_answer_that_could_not_be_sent_has_a_reading_of_its_own(served: Served) -> None:
    loop, _, counters, _ = served
    memory, state = loop.memory, loop.memory.state
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        client.setblocking(False)
        name = struct.pack("=H", socket.AF_INET) + struct.pack(">H", client.getsockname()[1]) + bytes([127, 0, 0, 1])
        assert loop._prepare(loop._clocks.raw_ns())
        many, ahead_ns = ntp_layout.SHORT_BATCH + 1, 3 * 10**9
        for i in range(many):
            memory.octets[i, :48] = np.frombuffer(make_request(i + 1), dtype=np.uint8)
            memory.peers[i, :16] = np.frombuffer(name + bytes(8), dtype=np.uint8)
            memory.inbound[i, ntp_layout.RECEIVED], memory.inbound[i, ntp_layout.FLAGS] = 48, 0
            memory.inbound[i, ntp_layout.NAME_LENGTH], memory.inbound[i, ntp_layout.CONTROL_LENGTH] = 16, 0
        memory.peers[0, 0] = socket.AF_UNIX  # nobody can be sent anything there
        state[ntp_layout.PENDING], state[ntp_layout.USER_RAW] = many, loop._clocks.raw_ns()
        state[ntp_layout.JUDGED], state[ntp_layout.PAIR_AHEAD] = 0, ahead_ns
        failed, answered = counters[names.SEND_FAILED], counters[names.REPLY_COUNTERS[ReplyKind.SYNCHRONISED]]
        ntp_batch.judge(memory, loop._rules, *loop._line, 0.0, loop._counts)
        ntp_memory.send(memory, *loop._line, loop._counts)
        ntp_batch.count_sent(memory, loop._rules, loop._counts)
        state[ntp_layout.PENDING] = 0
        came = [client.recv(2048) for _ in range(many - 1)]
        with pytest.raises(BlockingIOError):
            client.recv(2048)
    assert counters[names.SEND_FAILED] - failed == 1
    assert counters[names.REPLY_COUNTERS[ReplyKind.SYNCHRONISED]] - answered == many - 1
    leaves = memory.sent[:many, 0].tolist()
    assert leaves[1] - leaves[0] != ahead_ns, "it left before its stamp"
    assert leaves[2] - leaves[1] == ahead_ns
    assert [octets[40:48] for octets in came] == [memory.octets[i, 40:48].tobytes() for i in range(1, many)]


def test_counts_of_several_processes_add_up_and_a_step_of_the_wall_clock_is_one_step() -> None:
    one, two = Counters(), Counters()
    one.put(names.RECEIVED, 3)
    two.put(names.RECEIVED, 4)
    for counters, at_ns in ((one, 5), (two, 9)):
        counters.put(names.HOST_STEPS, 1)
        counters.put(names.HOST_STEP_LAST_AT_RAW_NS, at_ns)
        counters.put(names.HOST_STEP_LAST_NS, -at_ns)
        counters.put(names.HOST_STEP_LARGEST_NS, -at_ns)
    both = dict(zip(NAMES, together(one.values, two.values), strict=True))
    assert (both["received"], both["host_steps"]) == (7, 1)
    assert (both["host_step_last_ns"], both["host_step_last_at_raw_ns"], both["host_step_largest_ns"]) == (-9, 9, -9)


def test_the_memorys_addresses_are_those_of_its_arrays() -> None:
    counters = Counters()
    port = UdpPort("127.0.0.1", 0)
    memory = CompiledNtpLoop(
        port,
        PageReader(Path("/nowhere")),
        clocks=HostClocks(),
        counters=counters,
        bound_limit_s=1e-3,
        precision_log2=-23,
    ).memory
    port.close()
    last = ntp_layout.BATCH - 1
    assert memory.vectors_in[last, 0] == memory.octets[last].ctypes.data
    assert memory.octets[last].nbytes == ntp_layout.STRIDE >= memory.vectors_in[last, 1]
    assert memory.inbound[last, 0] == memory.peers[last].ctypes.data
    assert memory.peers[last].nbytes >= ntp_layout.PEER_ROOM
    assert memory.inbound[last, ntp_layout.CONTROL] == memory.control[last].ctypes.data
    assert memory.control[last].nbytes == ntp_layout.CONTROL_ROOM
    assert memory.outbound[last, 2] == memory.vectors_out[last].ctypes.data
    assert ntp_memory.read_clock(4, memory.clock, memory.addresses[ntp_layout.AT_CLOCK]) > 0
