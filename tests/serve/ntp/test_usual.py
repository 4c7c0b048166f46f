"""The usual answer, made once for a batch, is `respond`'s answer octet for octet wherever it is given."""

import random
import struct

import pytest
from tests.serve.pages import ANCHOR_RAW_NS, NS, a_leap_page, a_page

from truechimer.serve import (
    STAMP_HANDLING_LIMIT_S,
    USER_STAMP_LIMIT_S,
    ClockPage,
    RxStamp,
    ServiceState,
    StampKind,
    serve_at,
)
from truechimer.serve.ntp import Client, Reply, ntpv5, respond
from truechimer.serve.ntp.interleaved import SavedStamps
from truechimer.serve.ntp.reply import Offers
from truechimer.serve.ntp.usual import usual_answer, usual_answers

CLIENT = Client("192.0.2.7", 40123)
PAGES = {
    "steered": a_page(),
    "holdover, simulated": a_page(state=ServiceState.HOLDOVER, simulated=True, refid=b"SIM\0", root_delay_s=0.0123),
    "before a leap": a_leap_page(inserted_s=1),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("offers", [Offers(), Offers(saved=SavedStamps(), ntpv5=True)], ids=["plain", "all"])
def test_the_usual_answer_is_the_answer_and_most_plain_requests_get_it(page: ClockPage, offers: Offers) -> None:
    draw, given = random.Random(5905), 0
    now_ns = ANCHOR_RAW_NS + 3 * NS
    served = serve_at(page, now_ns, bound_limit_s=1e-3)
    usual = usual_answers(served, now_ns, precision_log2=-23, offers=offers)
    assert usual is not None
    for number in range(3000):
        octets = bytearray(draw.randbytes(draw.choice([48, 48, 48, 48, 47, 52, 68, 76])))
        octets[0] = draw.choice([0x23, 0x1B, 0xE3, 0x0B, draw.randrange(256)])
        if draw.randrange(3):
            octets[24:32] = bytes(8)
        if not number % 17:
            octets[16:24] = ntpv5.OFFER
        before_ns = draw.choice([900, 65_000, 2 * NS, 3 * NS + draw.randrange(3) - 1, 4 * NS])
        kind, limit_s = draw.choice([(StampKind.KERNEL, STAMP_HANDLING_LIMIT_S), (StampKind.USER, USER_STAMP_LIMIT_S)])
        rx = RxStamp(now_ns - before_ns, kind, limit_s)
        found = usual_answer(usual, bytes(octets), rx)
        if found is not None:
            said = respond(bytes(octets), CLIENT, rx=rx, served=served, precision_log2=-23, offers=offers)
            assert isinstance(said, Reply)
            assert found == said, octets.hex()
            given += 1
    assert given > 300


def test_what_is_not_synchronised_has_no_usual_answer() -> None:
    now_ns = ANCHOR_RAW_NS + NS
    for page, limit_s in (
        (a_page(state=ServiceState.FREERUN), 1e-3),
        (a_page(bound_s=0.5), 1e-3),
        (a_page(bound_s=17.0), 60.0),
    ):
        served = serve_at(page, now_ns, bound_limit_s=limit_s)
        assert usual_answers(served, now_ns, precision_log2=-23) is None


def test_a_plain_request_gets_the_usual_answer_and_one_that_asks_for_more_does_not() -> None:
    now_ns, offers = ANCHOR_RAW_NS + NS, Offers(saved=SavedStamps())
    usual = usual_answers(serve_at(a_page(), now_ns), now_ns, precision_log2=-23, offers=offers)
    assert usual is not None
    rx = RxStamp(now_ns, StampKind.KERNEL, STAMP_HANDLING_LIMIT_S)
    plain = b"\x23" + bytes(39) + struct.pack(">Q", 7)
    assert usual_answer(usual, plain, rx) is not None
    for unusual in (
        plain[:24] + struct.pack(">Q", 5) + plain[32:],
        plain + bytes(20),
        b"\x2b" + plain[1:],
        b"\x24" + plain[1:],
    ):
        assert usual_answer(usual, unusual, rx) is None
