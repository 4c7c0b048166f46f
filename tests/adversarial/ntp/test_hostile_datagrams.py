"""Hostile octets at the NTP door: nothing raises, nothing is amplified, nothing but client mode is answered, nothing
is believed.
"""

import random
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.daemon_serve.doors import a_door, a_page_in
from tests.daemon_serve.simulated_host import START_NS, SimulatedHost, SimulatedPort, loop_on
from tests.serve.pages import ANCHOR_RAW_NS, NS, a_page
from tests.waits import until

from truechimer.daemon.door import counters as names
from truechimer.daemon.door.counters import read_counters
from truechimer.serve import PageUnreadable, RxStamp, ServedTime, ServiceState, StampKind, Unsynchronised, serve_at
from truechimer.serve.ntp import Client, Ignore, NtpHeader, Reply, make_request, respond, transmit_stamp

headers = st.builds(
    NtpHeader,
    leap=st.integers(0, 3),
    version=st.sampled_from([0, 1, 2, 3, 4, 4, 4, 5, 7]),
    mode=st.sampled_from([3, 3, 3, 0, 1, 2, 4, 5, 6, 7]),
    stratum=st.integers(0, 255),
    poll=st.integers(-128, 127),
    precision=st.integers(-128, 127),
    root_delay=st.integers(0, 2**32 - 1),
    root_dispersion=st.integers(0, 2**32 - 1),
    refid=st.binary(min_size=4, max_size=4),
    origin=st.integers(0, 2**64 - 1),
    receive=st.integers(0, 2**64 - 1),
    transmit=st.integers(0, 2**64 - 1),
).map(NtpHeader.encode)

field = st.builds(
    lambda kind, said, body: kind.to_bytes(2, "big") + said.to_bytes(2, "big") + body,
    st.integers(0, 65_535),
    st.one_of(st.integers(0, 65_535), st.sampled_from([0, 4, 16, 20, 28, 32, 100])),
    st.binary(max_size=120),
)
datagrams = st.one_of(
    st.binary(max_size=1500),
    st.builds(lambda header, tail: header + tail, headers, st.one_of(st.just(b""), st.binary(max_size=100))),
    st.builds(lambda header, tail: header + b"".join(tail), headers, st.lists(field, max_size=6)),
)
worlds: st.SearchStrategy[ServedTime | Unsynchronised] = st.one_of(
    st.builds(
        lambda state, bound_s, elapsed_ns: serve_at(
            a_page(state=state, bound_s=bound_s), ANCHOR_RAW_NS + elapsed_ns, bound_limit_s=1e-3
        ),
        st.sampled_from(ServiceState),
        st.sampled_from([1e-7, 1e-3, 20.0, 1e30]),
        st.integers(-2 * NS, 700 * NS),
    ),
    st.sampled_from(list(PageUnreadable)).map(lambda why: serve_at(why, 0)),
)


@given(datagram=datagrams, port=st.integers(0, 65_535), served=worlds, rx_ns=st.integers(-NS, 700 * NS))
def test_no_octets_make_the_core_raise_amplify_or_answer_what_is_not_a_client(
    datagram: bytes, port: int, served: ServedTime | Unsynchronised, rx_ns: int
) -> None:
    rx = RxStamp(ANCHOR_RAW_NS + rx_ns, StampKind.KERNEL, 5e-6)
    reply = respond(datagram, Client("192.0.2.1", port), rx=rx, served=served, precision_log2=-23)
    if isinstance(reply, Ignore):
        return
    assert isinstance(reply, Reply)
    sent = reply.with_transmit(transmit_stamp(reply, rx.raw_ns + 1000, last=0))
    assert len(sent) == 48 <= len(datagram)
    assert datagram[0] & 7 == 3
    assert sent[0] & 7 == 4
    assert (sent[0] >> 3) & 7 == (datagram[0] >> 3) & 7 in range(1, 5)
    assert sent[24:32] == datagram[40:48]
    if isinstance(served, Unsynchronised):
        assert sent[0] >> 6 == 3
        assert sent[1] == 0


@given(st.lists(datagrams, max_size=40), st.booleans())
def test_the_loop_survives_any_datagrams_and_still_answers_an_honest_client(junk: list[bytes], paged: bool) -> None:
    host = SimulatedHost()
    page = a_page(anchor_raw_ns=START_NS, valid_until_raw_ns=START_NS + 600 * NS, boot_id=host.clocks().boot_id())
    arrivals = [(START_NS + 1_000 * number, octets) for number, octets in enumerate(junk)]
    port = SimulatedPort(host, [*arrivals, (START_NS + 10**9, make_request(424_242))])
    loop = loop_on(host, port, page if paged else PageUnreadable.EMPTY, host.clocks())
    while port.waiting:
        loop.turn()
    assert port.answered[-1].header.origin == 424_242
    assert loop._counters[names.FAULTS] == 0
    counted = [loop._counters[name] for name in names.NAMES if name.startswith(("ignored_", "replies_"))]
    assert sum(counted) == loop._counters[names.RECEIVED] == len(junk) + 1


def flood(seed: int, count: int, port: int) -> int:
    """Send `count` random datagrams of 1 to 1500 octets, half of them like requests; return how many went out."""
    chance = random.Random(seed)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.connect(("127.0.0.1", port))
        for _ in range(count):
            octets = chance.randbytes(chance.randint(1, 1500))
            if chance.random() < 0.5:
                octets = make_request(chance.randrange(1, 2**64)) + octets[: chance.choice([0, 0, 4, 20, 28, 64, 200])]
            connection.send(octets)
    return count


@pytest.mark.parametrize("count", [2_000, pytest.param(30_000, marks=pytest.mark.slow)])
def test_a_flood_of_random_datagrams_leaves_the_process_alive_and_right(tmp_path: Path, count: int) -> None:
    seed = 20_261_122
    with a_page_in(tmp_path), a_door(tmp_path) as door:
        flood(seed, count, door.port)
        answer = None
        for _ in range(20):
            answer = answer or door.ask()
        assert answer is not None, f"seed {seed}"
        assert answer.doubt is None
        until(lambda: read_counters(door.counters_path())[names.RECEIVED] > 0)
        door.process.terminate()
        assert door.process.wait(120) == 0
        counted = read_counters(door.counters_path())
    assert counted[names.FAULTS] == 0, f"seed {seed}"
    outcomes = sum(value for name, value in counted.items() if name.startswith(("ignored_", "replies_")))
    assert outcomes == counted[names.RECEIVED]


@given(st.binary(max_size=300), st.integers(0, 100))
def test_the_client_believes_no_reply_without_its_nonce(octets: bytes, number: int) -> None:
    from truechimer.serve.ntp import NtpAnswer, read_reply

    nonce = 0x9E3779B97F4A7C15 + number
    found = read_reply(octets, nonce)
    if octets[24:32] != nonce.to_bytes(8, "big"):
        assert not isinstance(found, NtpAnswer)
