"""The interleaved mode by RFC 9769: who gets it, once, and with whose stamps."""

import random

import numpy as np
import pytest
from tests.serve.ntp.test_server import CLIENT, RAW, rx_at
from tests.serve.pages import a_page

from truechimer.kernel import COMPILED, kernel
from truechimer.serve import serve_at
from truechimer.serve.ntp import NtpHeader, Offers, Reply, decode, interleaved, respond, transmit_stamp
from truechimer.serve.ntp.interleaved import SavedStamps


class Server:
    """A door with the mode on; each answer leaves `late_ns` after its transmit stamp was read."""

    def __init__(self, *, sets: int = 16, offered: bool = True) -> None:
        self.saved = SavedStamps(sets=sets)
        self.offers = Offers(saved=self.saved if offered else None)
        self.now_ns = RAW

    def ask(self, *, origin: int, receive: int, transmit: int, late_ns: int = 0) -> NtpHeader:
        self.now_ns += 10**9
        asked = NtpHeader(origin=origin, receive=receive, transmit=transmit).encode()
        served = serve_at(a_page(), self.now_ns)
        reply = respond(asked, CLIENT, rx=rx_at(self.now_ns), served=served, precision_log2=-23, offers=self.offers)
        assert isinstance(reply, Reply)
        stamp = transmit_stamp(reply, self.now_ns + 20_000, last=0)
        header = decode(reply.with_transmit(stamp))
        assert header is not None
        if reply.remember is not None:
            self.saved.save(reply.remember, stamp - reply.receive, self.now_ns + 20_000)
            if late_ns:
                assert self.saved.left(interleaved.key_of(reply.remember), self.now_ns + 20_000 + late_ns)
        return header


def test_the_second_answer_tells_when_the_first_one_really_left() -> None:
    server = Server()
    first = server.ask(origin=5, receive=0, transmit=100, late_ns=7_000)
    assert first.origin == 100  # basic: nothing was saved under 5
    second = server.ask(origin=first.receive, receive=200, transmit=300)
    assert second.origin == 200  # RFC 9769 section 2: the request's receive stamp
    assert second.receive != first.receive
    late_s = (second.transmit - first.transmit) / 2**32
    assert late_s == pytest.approx(7e-6, abs=1e-9)


def test_each_saved_stamp_serves_once_and_its_successor_serves_next() -> None:
    server = Server()
    first = server.ask(origin=5, receive=0, transmit=100)
    second = server.ask(origin=first.receive, receive=200, transmit=300)
    again = server.ask(origin=first.receive, receive=400, transmit=500)
    assert (second.origin, again.origin) == (200, 500)
    third = server.ask(origin=second.receive, receive=600, transmit=700)
    assert third.origin == 600


@pytest.mark.parametrize(
    ("receive", "transmit"),
    [(300, 300), (0, 0)],
)
def test_equal_stamps_are_a_basic_request(receive: int, transmit: int) -> None:
    server = Server()
    first = server.ask(origin=5, receive=0, transmit=100)
    assert server.ask(origin=first.receive, receive=receive, transmit=transmit).origin == transmit
    assert server.ask(origin=first.receive, receive=1, transmit=2).origin == 1  # it was not used up


def test_who_sends_no_origin_takes_no_place() -> None:
    server = Server()
    server.ask(origin=0, receive=0, transmit=100)
    assert not any(server.saved.keys)


def test_a_door_that_does_not_offer_it_answers_in_basic_mode() -> None:
    server = Server(offered=False)
    first = server.ask(origin=5, receive=0, transmit=100)
    assert server.ask(origin=first.receive, receive=200, transmit=300).origin == 300


def test_a_flood_drives_out_the_oldest_and_its_client_falls_back_to_basic() -> None:
    server = Server(sets=2)
    first = server.ask(origin=5, receive=0, transmit=100)
    for k in range(64):
        server.ask(origin=9, receive=0, transmit=1000 + k)
    assert server.ask(origin=first.receive, receive=200, transmit=300).origin == 300
    assert len(server.saved.keys) == 8


def test_saved_stamps_are_unique_even_where_two_requests_came_together() -> None:
    saved = SavedStamps(sets=1)
    saved.save(77, 5, 1)
    assert saved.unique(77) == 78
    assert saved.unique(0) == 1
    saved.save((1 << 64) - 1, 9, 2)
    assert saved.take((1 << 64) - 1) == 8  # across the end of an era: RFC 5905 6
    assert saved.take(77) == 82


def test_a_departure_moves_a_saved_answer_on_and_never_back_and_one_that_cannot_be_its_own_moves_nothing() -> None:
    saved, unit_ns = SavedStamps(sets=1), 2**32 / 1e9
    saved.save(77, round(20_000 * unit_ns), 1_000_000)
    for raw_ns in (1_000_000 - 5_001, 1_000_000 + 10**9 + 1):
        assert not saved.left(77, raw_ns)  # before its clock was read, or a second later: another answer's
    assert not saved.left(78, 1_000_000)
    assert not saved.left(0, 1_000_000)  # an empty place is nobody's
    assert saved.left(77, 1_000_000 - 4_000)  # as far as stamps can be wrong: not moved back
    assert saved.left(77, 1_000_000 + 3_000)
    assert saved.left(77, 1_000_000 + 3_000)  # said twice, moved once
    assert saved.left(77, 1_000_000 + 7_000)  # a device further down: the last one counts
    taken = saved.take(77)
    assert taken is not None
    assert (taken - 77) / unit_ns == pytest.approx(27_000, abs=2)
    assert not saved.left(77, 1_000_000 + 8_000)  # too late: it has served
    saved.save(99, interleaved.NOT_KNOWN & (1 << 63) - 1, 5)
    assert not saved.left(99, 6)  # a number that cannot be a delay overflows nothing


@pytest.mark.skipif(not COMPILED, reason="numba is not installed")
def test_machine_code_remembers_as_python_does() -> None:
    chance = random.Random(5)
    take, save, holds = kernel(interleaved.take), kernel(interleaved.save), kernel(interleaved.holds)
    correct, left = kernel(interleaved.correct), kernel(interleaved.left)
    table = SavedStamps(sets=2)
    keys, held, saved_ns = (np.zeros(8, np.int64) for _ in range(3))
    for k in range(2000):
        key = chance.randrange(1, 24) << chance.choice([0, 40])
        now_ns = chance.randrange(10**10)
        match chance.randrange(5):
            case 0:
                assert take(key, keys, held) == interleaved.take(key, table.keys, table.held)
            case 1:
                save(key, k, now_ns, keys, held, saved_ns)
                interleaved.save(key, k, now_ns, table.keys, table.held, table.saved_ns)
            case 2:
                found = interleaved.correct(key, k, now_ns, table.keys, table.held, table.saved_ns)
                assert correct(key, k, now_ns, keys, held, saved_ns) == found
            case 3:
                assert left(key, now_ns, keys, held, saved_ns) == table.left(key, now_ns)
            case _:
                assert holds(key, keys) == interleaved.holds(key, table.keys)
    assert (list(keys), list(held), list(saved_ns)) == (list(table.keys), list(table.held), list(table.saved_ns))
