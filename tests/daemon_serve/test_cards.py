"""Network cards that stamp: the numbers of the kernel's own headers, what an interface can and is told, and a card's
clock read beside the raw counter in each of the ways there are. The card is simulated; loopback is real.
"""

import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from tests.daemon_serve.doors import a_page_in
from tests.daemon_serve.simulated_host import START_NS, SimulatedHost, SimulatedPort, loop_on
from tests.serve.ntp.test_departed import a_packet, an_answer
from tests.serve.pages import a_page

from truechimer.cli.diag_machine import cards
from truechimer.daemon.door import counters as names
from truechimer.daemon.door.counters import Counters
from truechimer.daemon.door.door_rules import DoorRules, Gatekeeper
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp import serve_process
from truechimer.daemon.ntp.card_clock import CardClock
from truechimer.daemon.ntp.ntp_loop import Received, UdpPort
from truechimer.daemon.page_file import PageReader
from truechimer.drivers import phc, stamping
from truechimer.drivers.phc import Phc, PhcRejected, Way
from truechimer.drivers.stamping import Abilities, StampingRejected, Told
from truechimer.serve import rx_watch
from truechimer.serve.ntp.reply import stamp_at

NUMBERS = r"""
#include <stdio.h>
#include <stddef.h>
#include <sys/socket.h>
#include <net/if.h>
#include <linux/ptp_clock.h>
#include <linux/net_tstamp.h>
#include <linux/errqueue.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#define SAY(name, value) printf("%s %llu\n", name, (unsigned long long)(value))
int main(void) {
    SAY("PTP_CLOCK_GETCAPS", PTP_CLOCK_GETCAPS);
    SAY("PTP_SYS_OFFSET_PRECISE", PTP_SYS_OFFSET_PRECISE);
    SAY("PTP_SYS_OFFSET_EXTENDED", PTP_SYS_OFFSET_EXTENDED);
    SAY("MOST_SAMPLES", PTP_MAX_SAMPLES);
    SAY("_TIME", sizeof(struct ptp_clock_time));
    SAY("_PRECISE_OCTETS", sizeof(struct ptp_sys_offset_precise));
    SAY("raw in precise", offsetof(struct ptp_sys_offset_precise, sys_monoraw));
    SAY("precise in caps", offsetof(struct ptp_clock_caps, cross_timestamping));
    SAY("_EXTENDED_HEAD", offsetof(struct ptp_sys_offset_extended, ts));
    SAY("SIOCETHTOOL", SIOCETHTOOL);
    SAY("SIOCSHWTSTAMP", SIOCSHWTSTAMP);
    SAY("SIOCGHWTSTAMP", SIOCGHWTSTAMP);
    SAY("ETHTOOL_GET_TS_INFO", ETHTOOL_GET_TS_INFO);
    SAY("_INFO", sizeof(struct ethtool_ts_info));
    SAY("index in info", offsetof(struct ethtool_ts_info, phc_index));
    SAY("filters in info", offsetof(struct ethtool_ts_info, rx_filters));
    SAY("_CONFIG", sizeof(struct hwtstamp_config));
    SAY("_IFREQ", sizeof(struct ifreq));
    SAY("pointer in ifreq", offsetof(struct ifreq, ifr_data));
    SAY("TX_ON", HWTSTAMP_TX_ON);
    SAY("FILTER_ALL", HWTSTAMP_FILTER_ALL);
    SAY("FILTER_NTP_ALL", HWTSTAMP_FILTER_NTP_ALL);
    SAY("TX_HARDWARE", SOF_TIMESTAMPING_TX_HARDWARE);
    SAY("TX_SOFTWARE", SOF_TIMESTAMPING_TX_SOFTWARE);
    SAY("RX_HARDWARE", SOF_TIMESTAMPING_RX_HARDWARE);
    SAY("RX_SOFTWARE", SOF_TIMESTAMPING_RX_SOFTWARE);
    SAY("SOFTWARE", SOF_TIMESTAMPING_SOFTWARE);
    SAY("RAW_HARDWARE", SOF_TIMESTAMPING_RAW_HARDWARE);
    SAY("OPT_PKTINFO", SOF_TIMESTAMPING_OPT_PKTINFO);
    SAY("OPT_TX_SWHW", SOF_TIMESTAMPING_OPT_TX_SWHW);
    SAY("errqueue head", sizeof(struct sock_extended_err));
    SAY("origin", SO_EE_ORIGIN_TIMESTAMPING);
    SAY("sent", SCM_TSTAMP_SND);
    SAY("SO_TIMESTAMPING", SO_TIMESTAMPING);
}
"""


@pytest.mark.needs_cc
def test_the_numbers_are_those_of_the_kernels_headers(tmp_path: Path) -> None:
    source = tmp_path / "numbers.c"
    source.write_text(NUMBERS)
    subprocess.run(["cc", "-o", str(tmp_path / "numbers"), str(source)], check=True)
    said = subprocess.run([str(tmp_path / "numbers")], check=True, capture_output=True, text=True).stdout
    found = {name: int(value) for name, _, value in (line.rpartition(" ") for line in said.splitlines())}
    places = {"raw in precise": 32, "precise in caps": 24, "index in info": 8, "filters in info": 28}
    places |= {"pointer in ifreq": 16, "errqueue head": 16, "origin": 4, "sent": 0, "SO_TIMESTAMPING": 37}
    assert {name: found[name] for name in places} == places
    for name in found.keys() - places.keys():
        ours = getattr(phc, name, None) or getattr(stamping, name)
        assert found[name] == (ours.size if isinstance(ours, struct.Struct) else ours), name


# Interfaces.


def test_loopback_says_that_it_stamps_departures_in_software_and_has_no_clock() -> None:
    can = stamping.abilities("lo")
    assert can.stamps_departures
    assert can.phc_index is None
    assert stamping.told("lo") is None
    with pytest.raises(StampingRejected, match="no clock"):
        stamping.turn_on("lo")


@pytest.mark.parametrize("name", ["", "no-such-interface-here", "nosuch0", "a/b", "lo\0", "löopback"])
def test_what_is_no_interface_is_refused_by_name(name: str) -> None:
    with pytest.raises(StampingRejected, match="ip link"):
        stamping.abilities(name)
    assert stamping.told(name) is None


FULL = Abilities(
    bits=0x5F, phc_index=3, tx_types=0b11, rx_filters=1 << stamping.FILTER_ALL | 1 << stamping.FILTER_NTP_ALL | 1
)


@dataclass
class Card:
    """An interface whose card does what it is told, or `refuses`, or stamps only `does`."""

    can: Abilities = FULL
    now: tuple[int, int] = (0, 0)
    refuses: bool = False
    does: tuple[int, int] | None = None
    told: list[tuple[int, int]] = field(default_factory=list)

    def ask(self, interface: str, request: int, data: bytearray) -> None:
        assert interface == "eth0"
        if request == stamping.SIOCETHTOOL:
            assert struct.unpack_from("=I", data) == (stamping.ETHTOOL_GET_TS_INFO,)
            index = -1 if self.can.phc_index is None else self.can.phc_index
            struct.pack_into("=IIiI", data, 0, 0x41, self.can.bits, index, self.can.tx_types)
            struct.pack_into("=I", data, 28, self.can.rx_filters)
        elif request == stamping.SIOCGHWTSTAMP:
            struct.pack_into("=3i", data, 0, 0, *self.now)
        else:
            if self.refuses:
                raise PermissionError(1, "Operation not permitted")
            _, *wanted = struct.unpack("=3i", data)
            self.told.append((wanted[0], wanted[1]))
            self.now = self.does or (wanted[0], wanted[1])
            struct.pack_into("=3i", data, 0, 0, *self.now)


@pytest.mark.parametrize(
    ("card", "told"),
    [
        (Card(), [(1, 1)]),
        (Card(now=(1, 1)), []),
        (Card(now=(1, 12)), [(1, 1)]),  # it stamps PTP for another program: everything is more, and none the less
        (Card(can=Abilities(0x5F, 3, 3, 1 << 15 | 1)), [(1, 15)]),
        (Card(can=Abilities(0x5F, 3, 3, 1 << 15 | 1), does=(1, 1)), [(1, 15)]),
        (Card(can=Abilities(0x5F, 3, 3, 1 << 15 | 1), now=(1, 15)), []),
    ],
)
def test_a_card_is_told_to_stamp_more_and_never_less(card: Card, told: list[tuple[int, int]]) -> None:
    assert stamping.turn_on("eth0", ask=card.ask) == card.can
    assert card.told == told
    assert stamping.told("eth0", ask=card.ask) == Told(*card.now)


@pytest.mark.parametrize(
    ("card", "says"),
    [
        (Card(can=Abilities(0x1A, 3, 3, 3)), "stamps nothing"),
        (Card(can=Abilities(0x5F, None, 3, 3)), "no clock"),
        (Card(can=Abilities(0x5F, 3, 1, 3)), "what it sends"),
        (Card(can=Abilities(0x5F, 3, 3, 1 << 12 | 1)), "PTP packets alone"),
        (Card(can=Abilities(0x5F, 3, 3, 1 << 15 | 1 << 12 | 1), now=(1, 12)), "another program"),
        (Card(now=(2, 1)), "another program"),  # one-step PTP
        (Card(refuses=True), "CAP_NET_ADMIN"),
        (Card(does=(0, 1)), "less than it was told"),
        (Card(does=(1, 12)), "less than it was told"),
    ],
)
def test_a_card_that_cannot_or_will_not_is_refused_with_the_reason(card: Card, says: str) -> None:
    with pytest.raises(StampingRejected, match=says):
        stamping.turn_on("eth0", ask=card.ask)


def test_diag_says_which_cards_can_and_why_the_others_cannot() -> None:
    found = cards(["eth0"], ask=Card().ask)
    assert 'hardware = "eth0"' in found.says
    found = cards(["lo", "nosuch0"])
    assert "lo: its card has no clock" in found.says
    assert "the kernel stamps" in found.says


@pytest.mark.parametrize("interface", ["lo", "nosuch0"])
def test_a_door_whose_card_cannot_says_so_once_and_has_the_kernels_stamps(
    interface: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = serve_process.parser().parse_args(
        ["--page", "x", "--address", "127.0.0.1", "--port", "0", "--hardware", interface]
    )
    assert serve_process.card_of(options) is None
    assert "no hardware stamps" in capsys.readouterr().err


# Clocks of cards.


@dataclass
class SimulatedCard:
    """A clock of a card, `ahead_ns` of the raw counter, that knows `ways`; each reading takes `costs_ns`."""

    ways: tuple[Way, ...] = tuple(Way)
    ahead_ns: int = 10**18
    now: int = 5_000 * 10**9
    costs_ns: int = 700
    garbled: bool = False
    backwards: bool = False

    def raw_ns(self) -> int:
        self.now += 40
        return self.now

    def clock_ns(self, clock_id: int) -> int:
        assert clock_id < 0
        if Way.BETWEEN not in self.ways:
            raise OSError(19, "No such device")
        self.now += self.costs_ns
        self.costs_ns += 100
        return self.now - self.costs_ns // 2 + self.ahead_ns

    def control(self, _descriptor: int, request: int, data: bytearray) -> None:
        def put(at: int, ns: int) -> None:
            struct.pack_into("=qII", data, at, ns // 10**9, 10**9 if self.garbled else ns % 10**9, 0)

        self.now += 5_000
        if request == phc.PTP_CLOCK_GETCAPS:
            struct.pack_into("=8i", data, 0, 62_499_999, 0, 0, 0, 0, 0, Way.PRECISE in self.ways, 0)
        elif request == phc.PTP_SYS_OFFSET_PRECISE and Way.PRECISE in self.ways:
            put(0, self.now + self.ahead_ns)
            put(16, 1)  # CLOCK_REALTIME, which nobody looks at
            put(32, self.now)
        elif request == phc.PTP_SYS_OFFSET_EXTENDED and Way.EXTENDED in self.ways:
            samples, clock = struct.unpack_from("=Ii", data)
            assert (samples, clock) == (5, 4)
            for sample in range(samples):
                width = 900 if sample == 3 else 4_000  # interrupted but once
                width = -width if self.backwards else width
                put(16 + 48 * sample, self.now - width // 2)
                put(32 + 48 * sample, self.now + self.ahead_ns + (0 if sample == 3 else 1_900))
                put(48 + 48 * sample, self.now + width // 2)
                self.now += 10_000
        else:
            raise OSError(22, "Invalid argument")


@contextmanager
def a_phc(card: SimulatedCard) -> Iterator[Phc]:
    opened = Phc("/dev/null", control=card.control, raw_ns=card.raw_ns, clock_ns=card.clock_ns)
    try:
        yield opened
    finally:
        opened.close()


@pytest.mark.parametrize(
    ("ways", "taken", "width_ns"),
    [
        (tuple(Way), Way.PRECISE, 0),
        ((Way.EXTENDED, Way.BETWEEN), Way.EXTENDED, 900),
        ((Way.BETWEEN,), Way.BETWEEN, 1_500),
    ],
)
def test_a_card_is_read_in_the_best_way_there_is(ways: tuple[Way, ...], taken: Way, width_ns: int) -> None:
    with a_phc(SimulatedCard(ways)) as card:
        found = card.read()
        assert card.way is taken
        assert found.width_ns <= width_ns
        assert abs(found.card_ns - found.raw_ns - 10**18) <= width_ns // 2 + 1
        assert card.caps.max_adj_ppb == 62_499_999


def test_a_card_that_goes_away_says_so_and_its_clock_id_is_the_descriptors() -> None:
    simulated = SimulatedCard((Way.BETWEEN,))
    with a_phc(simulated) as card:
        assert card.clock_id == (~card._descriptor << 3) | 3
        simulated.ways = ()
        with pytest.raises(PhcRejected, match="No such device"):
            card.read()
        with pytest.raises(OSError, match="No such device"):
            card.now_ns()


def test_a_kernel_that_garbles_one_way_is_asked_in_another() -> None:
    with a_phc(SimulatedCard(garbled=True)) as card:
        assert card.way is Way.BETWEEN
    with a_phc(SimulatedCard((Way.EXTENDED, Way.BETWEEN), backwards=True)) as card:
        assert card.way is Way.BETWEEN


@pytest.mark.parametrize("path", ["/dev/null", "/dev/ptp-that-is-not-there", "/"])
def test_what_is_no_clock_is_refused_and_left_closed(path: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(PhcRejected):
        Phc(path)
    assert len(os.listdir("/proc/self/fd")) == before


# What cards stamp.

CARD = 4
"""Number of the interface."""


@dataclass
class HostWithCard:
    """A simulated host, and a card whose clock runs 20 ppm fast, `jumps` at true times (ns, by ns), and stamps."""

    host: SimulatedHost
    jumps: list[tuple[int, int]] = field(default_factory=list)
    gone: bool = False

    def card_at(self, true_ns: int) -> int:
        ahead = round((true_ns - START_NS) * 20e-6) + 7 * 10**17
        return true_ns + ahead + sum(by for at, by in self.jumps if at <= true_ns)

    def clock_ns(self, _clock_id: int) -> int:
        if self.gone:
            raise OSError(19, "No such device")
        self.host.spend(600)
        now = self.card_at(self.host.now_ns)
        self.host.spend(600)
        return now

    def control(self, _descriptor: int, request: int, _data: bytearray) -> None:
        if request != phc.PTP_CLOCK_GETCAPS:
            raise OSError(22, "Invalid argument")

    def related(self) -> CardClock:
        card = Phc("/dev/null", control=self.control, raw_ns=self.host.raw, clock_ns=self.clock_ns)
        clock = CardClock(card, interface="eth0", index=CARD)
        clock._related.raw_ns = self.host.raw
        return clock


class StampingPort(SimulatedPort):
    """Datagrams that the card stamps as they come, and the kernel after an interrupt (40 us)."""

    def __init__(self, cards: HostWithCard, arrivals: list[tuple[int, bytes]], *, index: int, off_ns: int) -> None:
        super().__init__(cards.host, arrivals)
        self.cards, self.index, self.off_ns = cards, index, off_ns

    def receive(self) -> Received | None:
        self.host.spend(60_000)
        found = super().receive()
        if found is None:
            return None
        came_ns = found.source[2]
        wall_ns = self.host.wall_at(came_ns + 40_000)
        return Received(
            found.octets,
            found.source,
            wall_ns,
            card_ns=self.cards.card_at(came_ns) + self.off_ns,
            card_index=self.index,
        )


@pytest.mark.parametrize(
    ("changes", "by_card", "error_us"),
    [
        ({}, True, 1.5),
        ({"index": CARD + 1}, False, 41.0),  # another interface's card
        ({"off_ns": 30_000_000}, False, 41.0),
        ({"off_ns": -30_000_000}, False, 41.0),
        ({"jumps": [(START_NS + 399_990_000, 50_000)]}, False, 41.0),  # it jumps around the datagram
        ({"jumps": [(START_NS + 400_030_000, -50_000)]}, False, 41.0),
        ({"jumps": [(START_NS + 100_000_000, 50_000)]}, True, 1.5),  # long ago
        ({"gone": True}, False, 41.0),
    ],
)
def test_a_cards_stamp_is_used_where_it_can_be_believed_and_the_kernels_where_not(
    changes: dict[str, object], by_card: bool, error_us: float
) -> None:
    host = SimulatedHost()
    cards = HostWithCard(host, list(changes.get("jumps", [])))  # type: ignore[call-overload]
    came_ns, asked = START_NS + 400_000_000, bytes([0x23]) + bytes(39) + b"nonce..!"
    port = StampingPort(
        cards, [(came_ns, asked)], index=int(changes.get("index", CARD)), off_ns=int(changes.get("off_ns", 0))
    )
    clocks = host.clocks()
    page = a_page(anchor_raw_ns=START_NS, boot_id=clocks.boot_id(), valid_until_raw_ns=START_NS + 10**12)
    loop = loop_on(host, port, page, clocks)
    loop._card = cards.related()
    while host.now_ns < came_ns - 30_000_000:
        loop.turn(0.01)
    cards.gone = bool(changes.get("gone"))
    while not port.answered:
        loop.turn(0.01)
    assert loop._counters[names.STAMPS_CARD] == by_card
    assert loop._counters[names.STAMPS_KERNEL] == (not by_card)
    (answer,) = port.answered
    assert abs(answer.header.receive - stamp_at(page, came_ns)) * 1e6 / 2**32 < error_us
    loop._card.close()


@pytest.mark.slow
def test_machine_code_uses_a_cards_stamps_by_the_same_rules(tmp_path: Path) -> None:
    from truechimer.daemon.ntp import ntp_batch
    from truechimer.daemon.ntp import ntp_layout as layout
    from truechimer.daemon.ntp.card_kernel import judge_cards
    from truechimer.daemon.ntp.departure_kernel import note_departures
    from truechimer.daemon.ntp.ntp_loop_compiled import CompiledNtpLoop
    from truechimer.daemon.ntp.ntp_memory import take_pair

    port, gate = UdpPort("127.0.0.1", 0), Gatekeeper(DoorRules(), secret=bytes(range(1, 256)) + b"..")
    with a_page_in(tmp_path):
        clocks, pages = HostClocks(), PageReader(tmp_path / "page")
    loop = CompiledNtpLoop(
        port, pages, clocks=clocks, counters=Counters(), bound_limit_s=1e-3, precision_log2=-23, gate=gate
    )
    memory, saved = loop.memory, gate.offers.saved
    assert saved is not None
    # A clock of this machine stands for the card's: it is read as one, and shows another time.
    memory.settings[layout.CARD_CLOCK], memory.settings[layout.CARD_INTERFACE] = 1, CARD
    take_pair(memory, 0.0)
    assert memory.card_watch[1] == 1
    raw_ns, card_minus_raw = int(memory.card_pairs[0, 0]), int(memory.card_pairs[0, 1] - memory.card_pairs[0, 0])
    assert abs(card_minus_raw - (clocks.monotonic_ns() - clocks.raw_ns())) < 10**6
    wall_minus_raw = 1_790_000_000 * 10**9
    assert loop._prepare(clocks.raw_ns())
    line, receive = loop._line, 0xEE01_0203_8405_0607

    def pairs(moved_ns: int) -> None:
        for watch, ring, ahead, moved in (
            (memory.watch, memory.pairs, wall_minus_raw, 0),
            (memory.card_watch, memory.card_pairs, card_minus_raw, moved_ns),
        ):
            watch[:] = 2, 3, -(2**62), 0
            for place, at in enumerate((raw_ns - 1_000_000, raw_ns - 90_000, raw_ns + 30_000)):
                ring[place] = at, at + ahead + (moved if place == 2 else 0), 50

    def received(*, early_ns: int = 40_000, index: int = CARD, moved_ns: int = 0, card: bool = True) -> int:
        """Return by how much before the kernel's stamp the datagram is taken to have come."""
        pairs(moved_ns)
        memory.octets[0, :48] = np.frombuffer(bytes([0x23]) + bytes(39) + b"nonce..!", dtype=np.uint8)
        memory.inbound[0, layout.RECEIVED], memory.inbound[0, layout.FLAGS] = 48, 0
        memory.peers[0, :4] = 2, 0, 9, 9
        memory.control[0, :8] = 64, 1 | 37 << 32, *divmod(raw_ns + wall_minus_raw - 1_000, 10**9), 0, 0, 0, 0
        if card:
            memory.control[0, 6:8] = divmod(raw_ns + card_minus_raw - 1_000 - early_ns, 10**9)
        memory.control[0, 8:12] = 32, 1 | 58 << 32, index, 0
        memory.inbound[0, layout.CONTROL_LENGTH] = 96
        memory.state[layout.PENDING], memory.state[layout.JUDGED] = 1, -1
        memory.state[layout.USER_RAW] = raw_ns + 20_000
        memory.state[layout.NOT_BEFORE_RAW], memory.state[layout.LAST_RX_RAW] = raw_ns - 10**6 + 1, -(2**62)
        ntp_batch.judge(memory, loop._rules, *line, 0.0, loop._counts)
        return raw_ns - 1_000 - int(memory.rx_raw[0])

    assert received() == 40_000
    for other in (
        received(early_ns=-20_000),
        received(early_ns=1_100_000),
        received(index=CARD + 1),
        received(index=0),
        received(moved_ns=40_000),
        received(moved_ns=-40_000),
        received(card=False),
    ):
        assert other == 0
    assert (loop._counters[names.STAMPS_CARD], loop._counters[names.STAMPS_KERNEL]) == (1, 7)

    def departed(*, late_ns: int = 9_000, moved_ns: int = 0, clock: int = 1) -> int:
        """Return by how much the card's stamp of an answer that left moves it, where the kernel's is made up."""
        pairs(moved_ns)
        memory.settings[layout.CARD_CLOCK] = clock
        saved.save(receive, round(50_000 * 2**32 / 1e9), raw_ns)
        memory.state[layout.ASKED], memory.state[layout.ASKED_SINCE_RAW] = 1, raw_ns - 500
        packet = a_packet(an_answer(), port=port.port)
        memory.departed[0, : len(packet)] = np.frombuffer(packet, dtype=np.uint8)
        memory.departed_control[0, :8] = 64, 1 | 37 << 32, *divmod(raw_ns + wall_minus_raw + 19_000, 10**9), 0, 0, 0, 0
        memory.departed_control[0, 6:8] = divmod(raw_ns + card_minus_raw + late_ns, 10**9)
        memory.departed_control[0, 8:12] = 32, 11 << 32, 42 | 4 << 32, 0
        memory.departed_in[0, layout.CONTROL_LENGTH] = 96
        memory.departed_in[0, layout.RECEIVED], memory.departed_in[0, layout.FLAGS] = len(packet), 0
        note_departures(memory, loop._rules, 0.0, raw_ns + 20_000, 1, loop._counts)
        held = saved.take(receive)
        assert held is not None
        return round((held - receive) * 1e9 / 2**32) - 50_000

    assert departed() == pytest.approx(9_000 - 50, abs=2)
    assert [departed(late_ns=-40_000), departed(moved_ns=40_000), departed(clock=0)] == [0, 0, 0]
    pairs(0)
    memory.settings[layout.CARD_CLOCK] = 1 << 20  # a card that is gone: no clock has that number
    take_pair(memory, 0.0)
    assert judge_cards(memory, raw_ns, raw_ns - 10_000) != rx_watch.BELIEVED
    port.close()
