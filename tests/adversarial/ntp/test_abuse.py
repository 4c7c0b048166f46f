"""Whatever comes, no answer is longer than its request, no packet is a slow one, and every door refuses by a name.

Lengths 0 to 1500 are walked whole; then structure-aware chance under every combination of what a door can offer.
"""

import gc
import random
import struct
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from statistics import median

import pytest
from tests.serve.pages import ANCHOR_RAW_NS, a_page

from truechimer.serve import RxStamp, ServedTime, StampKind, Unsynchronised, WhyUnsynchronised, serve_at
from truechimer.serve.ntp import Client, Ignore, Kiss, NtpHeader, Offers, Reply, glance, respond, transmit_stamp
from truechimer.serve.ntp.interleaved import SavedStamps
from truechimer.serve.ntp.mac import KeyKind, symmetric_key
from truechimer.serve.ntp.ntpv5 import DRAFT

CLIENT = Client("192.0.2.1", 40_000)
RX = RxStamp(ANCHOR_RAW_NS + 10**9, StampKind.KERNEL, 5e-6)
SERVED = serve_at(a_page(), RX.raw_ns)
KEYS = {
    key.key_id: key
    for key in (
        symmetric_key(1, KeyKind.AES128, bytes(16)),
        symmetric_key(2, KeyKind.SHA1, b"two"),
        symmetric_key(3, KeyKind.SHA512, b"three"),
    )
}
BARE = Offers()
EVERYTHING = Offers(keys=KEYS, ntpv5=True, saved=SavedStamps(sets=8))
COMBINATIONS = [
    Offers(keys=KEYS if keyed else {}, ntpv5=v5, saved=SavedStamps(sets=4) if saved else None)
    for keyed, v5, saved in product([False, True], repeat=3)
]
"""A switch that is off must not be reached by any packet: the same corpus under every combination."""
SEED = 20_261_122


def judged(
    datagram: bytes,
    offers: Offers,
    *,
    served: ServedTime | Unsynchronised = SERVED,
    kiss: Kiss | None = None,
) -> Reply | Ignore:
    """Ask, and hold what comes to the promises that no packet may break."""
    reply = respond(datagram, CLIENT, rx=RX, served=served, precision_log2=-23, offers=offers, kiss=kiss)
    if isinstance(reply, Ignore):
        return reply
    assert glance(datagram, CLIENT, offers=offers) is None
    octets = reply.with_transmit(transmit_stamp(reply, RX.raw_ns + 9000, last=0))
    assert 48 <= len(octets) <= len(datagram)  # D20: bytes out / bytes in <= 1 for every single packet
    assert datagram[0] & 7 == 3
    assert octets[0] & 7 == 4  # and so it is never answered itself
    version = datagram[0] >> 3 & 7
    assert octets[0] >> 3 & 7 == version in range(1, 6)
    assert offers.ntpv5 or version < 5
    cookie = octets[24:32]
    assert cookie == datagram[24:32] if version == 5 else cookie in {datagram[40:48], datagram[32:40]}
    if reply.earlier is not None:
        assert offers.saved is not None
    if len(octets) > 48 and version < 5:
        assert offers.keys
    if reply.remember is not None and offers.saved is not None:
        offers.saved.save(reply.remember, 1, RX.raw_ns)
    return reply


def field(field_type: int, octets: int, said: int, body: bytes = b"") -> bytes:
    return struct.pack(">HH", field_type & 0xFFFF, said & 0xFFFF) + body[: max(0, octets - 4)].ljust(
        max(0, octets - 4), b"\0"
    )


def test_every_length_from_0_to_1500_in_every_version_and_mode() -> None:
    whole = bytes(1500)
    for octets in range(1501):
        for first in (0x1B, 0x23, 0x2B, 0x26, 0x27, 0x24) if octets % 7 else range(64):
            judged(bytes([first]) + whole[1:octets] if octets else b"", EVERYTHING)


def test_every_length_of_a_first_extension_field_at_every_length_of_the_packet() -> None:
    kinds = (0x0104, 0x0204, 0xF502, 0xF503, 0xF5FF)
    for rest in [*range(76), 100, 500, 1452]:
        for said in [*range(min(rest, 72) + 8), rest - 4, rest, rest + 4, 0xFFFC, 0xFFFF]:
            for version in (4, 5):
                head = bytes([version << 3 | 3]) + bytes(47)
                tail = field(kinds[(rest + said) % 5], rest, said) if rest >= 4 else bytes(rest)
                judged(head + tail, EVERYTHING)


def packets(chance: random.Random, count: int) -> Iterator[bytes]:
    """Give packets of every kind: chance alone, and good ones with something broken."""
    named = field(0xF5FF, 4 + len(DRAFT), 4 + len(DRAFT), DRAFT) + bytes(-len(DRAFT) % 4)
    for _ in range(count):
        kind = chance.randrange(8)
        if kind == 0:
            yield chance.randbytes(chance.randrange(1500))
            continue
        version = chance.choice([4, 4, 4, 3, 5, 5, 1, 2, 0, 6, 7])
        head = bytearray(chance.randbytes(48) if kind < 4 else bytes(40) + chance.randbytes(8))
        head[0] = version << 3 | (3 if chance.random() < 0.9 else chance.randrange(8)) | chance.randrange(4) << 6
        tail = named if version == 5 and chance.random() < 0.8 else b""
        for _ in range(chance.choice([0, 0, 1, 2, 5, 80])):
            octets = chance.choice([0, 4, 8, 12, 16, 20, 24, 28, 32, 64, chance.randrange(200)])
            said = octets if chance.random() < 0.7 else chance.choice([0, 1, 3, 4, 15, 16, 0xFFFF, octets + 4])
            type_ = chance.choice(
                [0x0104, 0x0204, 0x0304, 0xF501, 0xF503, 0xF505, 0xF502, 0xF5FF, chance.randrange(65536)]
            )
            tail += field(type_, octets, said, chance.randbytes(20))
        octets = bytes(head) + tail
        if chance.random() < 0.4:
            key = KEYS[chance.choice([1, 2, 3])]
            sealed = key.seal(octets)
            octets += sealed if version < 5 else field(0xF502, 4 + len(sealed), 4 + len(sealed), sealed)
        if chance.random() < 0.3 and octets:
            broken = bytearray(octets)
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
            octets = bytes(broken)
        yield octets[: chance.choice([len(octets)] * 9 + [chance.randrange(len(octets) + 1)])]


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(3_000, id="core"),
        pytest.param(1_000_000, id="acceptance", marks=pytest.mark.acceptance),
    ],
)
def test_chance_breaks_nothing_under_any_combination_of_what_is_offered(count: int) -> None:
    chance = random.Random(SEED)
    kinds: dict[str, int] = {}
    worlds = [SERVED, Unsynchronised(WhyUnsynchronised.NO_PAGE), serve_at(a_page(bound_s=1.0), RX.raw_ns)]
    before = 0
    for number, datagram in enumerate(packets(chance, count)):
        reply = judged(
            datagram,
            COMBINATIONS[number % 8],
            served=chance.choice(worlds),
            kiss=chance.choice([None, None, Kiss.RATE, Kiss.DENY]),
        )
        word = reply.reason.value if isinstance(reply, Ignore) else reply.kind.value
        kinds[word] = kinds.get(word, 0) + 1
        if number == count // 4:
            gc.collect()
            before = sys.getallocatedblocks()
    gc.collect()
    assert sys.getallocatedblocks() - before < 1000, f"seed {SEED}: memory is kept"
    assert len(kinds) >= 13, f"seed {SEED}: the corpus reached {sorted(kinds)} alone"


def cost_ns(do: Callable[[], object], times: int) -> float:
    began = time.perf_counter_ns()
    for _ in range(times):
        do()
    return (time.perf_counter_ns() - began) / times


GOOD = NtpHeader(transmit=7).encode()
BAD = {
    "mode 6": b"\x26" + bytes(47),
    "short": bytes(47),
    "many small fields": GOOD + field(0x0104, 16, 16) * 90 + bytes(12),
    "a field of length 0": GOOD + field(0x0104, 1400, 0),
    "an unknown key": GOOD + struct.pack(">I", 99) + bytes(16),
    "a crypto-NAK": GOOD + bytes(4),
    "a version 5 of another draft": b"\x2b" + bytes(47) + field(0xF5FF, 28, 27, DRAFT[:-1] + b"8"),
    "version 5 with many fields": b"\x2b" + bytes(47) + field(0xF501, 4, 4) * 300,
    "fields up to the limit": GOOD + field(0x0104, 16, 16) * 16 + bytes(12),
}
SEALED = {
    "a wrong code (AES)": (1, GOOD + struct.pack(">I", 1) + bytes(16)),
    "a wrong code (SHA)": (2, GOOD + struct.pack(">I", 2) + bytes(20)),
}


def ratio(good: Callable[[], object], bad: Callable[[], object], *, times: int = 60) -> float:
    """Return what a bad packet costs in good ones: median of alternating runs."""
    return median(cost_ns(bad, times) / cost_ns(good, times) for _ in range(15))


def answered(datagram: bytes) -> Callable[[], object]:
    """Return the work that a packet makes: to judge it, and to seal and stamp the answer where there is one."""

    def do() -> None:
        reply = respond(datagram, CLIENT, rx=RX, served=SERVED, precision_log2=-23, offers=EVERYTHING)
        if isinstance(reply, Reply):
            reply.with_transmit(transmit_stamp(reply, RX.raw_ns + 9000, last=0))

    return do


@pytest.mark.parametrize("name", BAD)
def test_a_bad_packet_costs_at_most_one_and_a_half_good_ones(name: str) -> None:
    assert ratio(answered(GOOD), answered(BAD[name])) <= 1.5


@pytest.mark.parametrize("name", SEALED)
def test_a_packet_with_a_wrong_code_costs_no_more_than_one_with_the_right_one(name: str) -> None:
    key_id, datagram = SEALED[name]
    good = answered(GOOD + KEYS[key_id].seal(GOOD))
    assert ratio(good, answered(datagram)) <= 1.5
