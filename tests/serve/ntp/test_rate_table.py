"""The rate table: its limit holds, honest sources never pay for others, and machine code counts as Python does."""

import itertools
import random

import numpy as np
import pytest

from truechimer.kernel import COMPILED, kernel
from truechimer.serve.ntp.rate_table import (
    ANSWER,
    EVICTED,
    KISS,
    KISS_EVERY_NS,
    LEAK,
    SECRET_OCTETS,
    SILENCE,
    RateTable,
    admit,
)

S = 10**9


def a_table(*, rate_per_s: float = 16.0, burst: int = 64, sets: int = 64, seed: int = 1) -> RateTable:
    return RateTable(random.Random(seed).randbytes(SECRET_OCTETS), rate_per_s=rate_per_s, burst=burst, sets=sets)


def v4(number: int) -> bytes:
    return (0xC0000200 + number).to_bytes(4, "big")


def test_a_burst_is_answered_and_then_the_rate() -> None:
    table, now_ns = a_table(rate_per_s=2.0, burst=8), 5 * S
    assert [table.admit(v4(1), now_ns) for _ in range(8)] == [ANSWER] * 8
    later = [table.admit(v4(1), now_ns + k * S // 100) for k in range(10_000)]
    answered = later.count(ANSWER)
    leaked = table.state[2]
    assert answered - leaked in {199, 200}  # 99.99 s at 2 a second
    assert leaked == pytest.approx((10_000 - 200) / LEAK, rel=0.1)


def test_a_kiss_comes_at_most_once_a_second_and_the_rest_is_silence() -> None:
    table = a_table(rate_per_s=1.0, burst=1)
    kissed = [k * S // 1000 for k in range(20_000) if table.admit(v4(1), 7 * S + k * S // 1000) == KISS]
    assert min(b - a for a, b in itertools.pairwise(kissed)) >= KISS_EVERY_NS
    assert len(kissed) == 20


def test_who_keeps_to_the_rate_is_always_answered() -> None:
    table, chance = a_table(rate_per_s=1.0, burst=4), random.Random(2)
    now_ns = 9 * S
    for _ in range(2000):
        now_ns += S + chance.randrange(S)
        assert table.admit(v4(1), now_ns) == ANSWER


def test_a_flood_of_addresses_refuses_no_honest_source_and_frees_no_greedy_one() -> None:
    table, chance = a_table(sets=16), random.Random(3)  # 128 places
    now_ns, refused, greedy = 11 * S, 0, 0
    for k in range(40_000):
        now_ns += 5_000  # 200,000 a second
        table.admit(chance.randbytes(4), now_ns)  # forged: each another
        if k % 10 == 0:
            greedy += table.admit(v4(77), now_ns) == ANSWER
        if k % 10_000 == 0:
            refused += table.admit(v4(5), now_ns) != ANSWER
    assert refused == 0
    # 4000 asked in 0.2 s: a burst of 64, and one in 4 of the rest by the lot: nearly as if nobody flooded
    assert greedy <= 64 + 0.2 * 16 + 4000 / LEAK * 1.15


def test_a_network_is_limited_as_a_whole() -> None:
    table, now_ns = a_table(rate_per_s=1.0, burst=2), 3 * S
    answers = [table.admit(v4(k % 256), now_ns) for k in range(512)]
    assert answers[:32] == [ANSWER] * 32  # 16 times the burst of one
    assert answers[32:].count(ANSWER) == table.state[2]
    assert table.admit(bytes([198, 51, 100, 7]), now_ns) == ANSWER  # another network
    inside = [table.admit(bytes.fromhex("20010db80001") + bytes([0, k, *bytes(8)]), now_ns) for k in range(64)]
    assert inside[:32] == [ANSWER] * 32
    assert KISS in inside[32:]  # each hears it once


def test_addresses_of_one_ipv6_link_are_one_source_and_a_mapped_address_is_its_ipv4() -> None:
    table, now_ns = a_table(rate_per_s=1.0, burst=4), 3 * S
    link = bytes.fromhex("20010db800010002")
    assert [table.admit(link + k.to_bytes(8, "big"), now_ns) for k in range(6)].count(ANSWER) in range(4, 6)
    for _ in range(4):
        assert table.admit(bytes(10) + b"\xff\xff" + v4(9), now_ns) == ANSWER
    assert table.admit(v4(9), now_ns) != ANSWER or table.state[2]


@pytest.mark.skipif(not COMPILED, reason="numba is not installed")
def test_machine_code_counts_exactly_as_python_does() -> None:
    chance, compiled = random.Random(4), kernel(admit)
    table, same = a_table(rate_per_s=10.0, burst=5, sets=4), a_table(rate_per_s=10.0, burst=5, sets=4)
    arrays = [
        np.array(one) for one in (same.tags, same.full_at_ns, same.kissed_ns, same.secrets, same.limits, same.state)
    ]
    now_ns = S
    verdicts = set()
    for _ in range(3000):
        now_ns += chance.randrange(4_000_000)
        address = chance.choice(
            [
                v4(chance.randrange(9)),
                chance.randbytes(4),
                bytes(10) + b"\xff\xff" + v4(3),
                b"\x20" + chance.randbytes(1) + bytes(14),
            ]
        )
        verdict = table.admit(address, now_ns)
        octets = np.frombuffer(b"xx" + address, np.uint8)
        assert compiled(octets, 2, len(address), now_ns, *arrays) == verdict
        verdicts.add(verdict)
    assert verdicts == {ANSWER, KISS, SILENCE}
    assert list(arrays[-1]) == list(table.state)
    assert table.state[EVICTED] > 0


@pytest.mark.parametrize("changes", [{"sets": 3}, {"rate_per_s": 0.0}, {"burst": 0}])
def test_a_table_that_could_not_work_is_not_made(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="rate table"):
        a_table(**changes)  # type: ignore[arg-type]
