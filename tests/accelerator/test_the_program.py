"""The accelerator's program in the kernel, against an independent reading of the RFCs and against the socket path."""

import ipaddress
import os
import random
import struct
from dataclasses import replace
from typing import Any

import pytest
from tests.accelerator.frames import (
    SITE,
    Site,
    a_request,
    is_plain,
    ones_sum,
    udp_at,
    why_wrong,
    with_sums,
)
from tests.accelerator.kernel import HEAD, KISS, MOMENT, SLOPE, Loaded, a_segment, asleep_ns, loaded, mono_ns
from tests.serve.pages import ANCHOR_RAW_NS, a_page

from truechimer.daemon.door.door_rules import DoorRules
from truechimer.daemon.door.door_rules import access_of as door_access
from truechimer.daemon.ntp import bpf_calls
from truechimer.daemon.ntp.accelerator import access_of, rate_of
from truechimer.instants import ntp64
from truechimer.serve import RxStamp, ServedTime, StampKind, serve_at
from truechimer.serve.ntp import Client, Reply, respond
from truechimer.serve.ntp import accelerator as shared
from truechimer.serve.ntp.accelerator import ACCELERATOR_LIMIT_S, Anchor, Count, RateLimit, Segment, segment
from truechimer.serve.ntp.accelerator_frame import MOST_ADDRESSES, Place
from truechimer.serve.ntp.accelerator_program import (
    XDP_DROP,
    XDP_PASS,
    XDP_TX,
    Maps,
    Offered,
    program,
)
from truechimer.serve.ntp.ntpv5 import OFFER
from truechimer.serve.ntp.rate_table import ANSWER, SECRET_OCTETS, RateTable

pytestmark = pytest.mark.needs_netns

PLAIN = bytes([0x23, 0, 6, 0xEC]) + bytes(36) + bytes.fromhex("0102030405060708")


def stamps(answer: bytes) -> tuple[int, int]:
    at = udp_at(answer) + 8
    receive, transmit = struct.unpack("!QQ", answer[at + 32 : at + 48])
    return receive, transmit


def expected(ntp: bytes, *, head: bytes = HEAD) -> bytes:
    """Return octets 0 to 31 of the answer to a plain request: RFC 5905 A.5.3."""
    poll = min(max(int.from_bytes(ntp[2:3], "big", signed=True), -6), 17)
    first = head[0] | ntp[0] & 0x38
    return bytes([first, head[1]]) + poll.to_bytes(1, "big", signed=True) + head[3:24] + ntp[40:48]


def check(under_test: Loaded, frame: bytes, site: Site = SITE) -> bool:
    """Run one frame and hold what comes out against the independent judge; return whether it was answered."""
    result = under_test.run(frame)
    if not is_plain(frame, site):
        assert (result.verdict, result.frame) == (XDP_PASS, frame), frame.hex()
        return False
    assert result.verdict == XDP_TX, frame.hex()
    assert why_wrong(frame, result.frame) == "", (frame.hex(), result.frame.hex())
    at = udp_at(frame) + 8
    assert result.frame[at : at + 32] == expected(frame[at:]), (frame.hex(), result.frame.hex())
    return True


@pytest.mark.slow
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("site", [SITE, Site(hardware=bytes(6), is_loopback=True)], ids=["ethernet", "loopback"])
def test_of_all_frames_one_octet_from_a_plain_request_only_the_plain_are_answered(family: int, site: Site) -> None:
    draw = random.Random(family)
    answered = 0
    with loaded(site) as under_test:
        under_test.use(a_segment(valid_ns=10**10))
        for udp in ("whole", "half", "none"):
            frame = a_request(PLAIN, family=family, site=site, udp=udp)
            assert check(under_test, frame, site) == (udp != "none" or family == 4)
            for position in range(len(frame)):
                values = range(256) if position == udp_at(frame) + 8 else draw.sample(range(256), 5)
                for value in values:
                    changed = frame[:position] + bytes([value]) + frame[position + 1 :]
                    answered += check(under_test, changed, site)  # checksums as they were: most are wrong now
                    if changed[12:14] == frame[12:14]:
                        answered += check(under_test, with_sums(changed, udp=udp), site)
    assert answered > 500


@pytest.mark.parametrize("family", [4, 6])
def test_odd_sources_lengths_and_tails_go_to_the_sockets(family: int) -> None:
    with loaded() as under_test:
        under_test.use(a_segment(valid_ns=10**10))
        odd = {
            4: ["00000001", "7f000001", "e0000001", "ffffffff", SITE.broadcast.hex(), SITE.v4.hex(), "c0000200"],
            6: ["00" * 16, "00" * 15 + "01", "ff02" + "00" * 13 + "01", SITE.v6.hex(), "00" * 10 + "ffffc6336407"],
        }[family]
        for source in odd:
            assert not check(under_test, a_request(PLAIN, family=family, source=bytes.fromhex(source))), source
        assert not check(under_test, a_request(PLAIN, family=family, source_port=0))
        assert under_test.counts() == {Count.PASSED_SOURCE: len(odd) + 1}
        plain = a_request(PLAIN, family=family)
        for octets in range(1400):
            if octets != len(PLAIN):  # with right lengths and checksums all the same
                frame = a_request(PLAIN[:octets].ljust(octets, b"\0"), family=family)
                assert (under_test.run(frame).verdict, under_test.run(frame).frame) == (XDP_PASS, frame)
        for octets in range(14, len(plain)):  # 14: the kernel hands no less to a program
            assert under_test.run(plain[:octets]).verdict == XDP_PASS
        assert under_test.run(plain).verdict == XDP_TX
        assert under_test.run(plain + bytes(4)).verdict == XDP_PASS  # octets after the packet


@pytest.mark.parametrize("family", [4, 6])
def test_tags_options_extension_headers_and_fragments_go_to_the_sockets(family: int) -> None:
    plain = a_request(PLAIN, family=family)
    head, rest = plain[:12], plain[12:]
    odd = [head + tag + rest for tag in (b"\x81\0\0\7", b"\x88\xa8\0\7\x81\0\0\x08")]
    if family == 4:
        # a "no operation" option and its filling: 24 octets of header, and all lengths and checksums right
        longer = bytearray(plain[:14] + b"\x46" + plain[15:34] + b"\1\1\1\0" + plain[34:])
        longer[16:18] = (24 + 8 + 48).to_bytes(2, "big")
        longer[24:26] = bytes(2)
        longer[24:26] = (ones_sum(bytes(longer[14:38])) ^ 0xFFFF).to_bytes(2, "big")
        odd.append(bytes(longer))
        odd += [with_sums(plain[:20] + bits + plain[22:]) for bits in (b"\x20\0", b"\0\1", b"\x3f\xff", b"\x80\0")]
    else:
        for number in (0, 43, 44, 60):  # hop-by-hop, routing, fragment, destination options: eight octets of each
            extension = bytes([17, 0, 1, 4, 0, 0, 0, 0])
            odd.append(plain[:18] + (64).to_bytes(2, "big") + bytes([number]) + plain[21:54] + extension + plain[54:])
    with loaded() as under_test:
        under_test.use(a_segment(valid_ns=10**10))
        for frame in odd:
            assert (under_test.run(frame).verdict, under_test.run(frame).frame) == (XDP_PASS, frame), frame.hex()
        assert under_test.counts() == {}
        assert under_test.run(plain).verdict == XDP_TX


def test_an_answer_is_that_of_the_sockets_but_for_its_stamps() -> None:
    page = a_page(bound_s=3e-5, root_delay_s=0.0123, stratum=3, refid=bytes([192, 0, 2, 9]))
    anchor = Anchor(mono_ns(), ANCHOR_RAW_NS + 7 * 10**9, 1.0 + 3e-6, asleep_ns())
    made = segment(
        page, anchor, bound_limit_s=1e-3, boot_id=page.boot_id, simulated_allowed=True, precision_log2=-23,
        valid_ns=10**9,
    )  # fmt: skip
    assert isinstance(made, Segment)
    end_raw_ns = anchor.raw_ns + round(1e9 * anchor.raw_per_mono * (1 + shared.SLEW_LIMIT)) + 1
    served = serve_at(page, end_raw_ns)
    assert isinstance(served, ServedTime)
    with loaded() as under_test:
        under_test.use(made)
        for version in (3, 4):
            for poll in (-128, -7, -6, 0, 6, 17, 18, 127):
                ntp = bytes([version << 3 | 3 | 0xC0, 9]) + poll.to_bytes(1, "big", signed=True) + PLAIN[3:]
                before = mono_ns()
                answer = under_test.run(a_request(ntp)).frame
                after = mono_ns()
                received = RxStamp(anchor.raw_ns, StampKind.KERNEL, ACCELERATOR_LIMIT_S)
                reply = respond(ntp, Client("198.51.100.7", 40123), rx=received, served=served, precision_log2=-23)
                assert isinstance(reply, Reply)
                assert answer[42 : 42 + 32] == reply.head[:32]
                receive, transmit = stamps(answer)
                assert made.stamp_at(before) - 64 <= receive <= made.stamp_at(after)
                assert transmit == receive + 1


def test_the_stamps_run_over_the_end_of_an_era() -> None:
    with loaded() as under_test:
        under_test.use(a_segment(stamp=ntp64.STAMP_MASK - 2**20, begins_ns=-(10**6)))  # 2^20 units are 0.24 ms
        receive, transmit = stamps(under_test.run(a_request(PLAIN)).frame)
        assert 0 < receive < 2**40
        assert transmit == receive + 1


def test_no_two_stamps_are_alike_and_all_grow() -> None:
    with loaded() as under_test:
        standing = Segment(
            mono_ns(), 10**10, MOMENT, 0, HEAD, KISS, asleep_ns()
        )  # a clock that does not advance at all
        under_test.use(standing)
        seen = [stamp for _ in range(200) for stamp in stamps(under_test.run(a_request(PLAIN)).frame)]
        assert len(set(seen)) == len(seen)
        assert max(seen) - MOMENT < 200 * 2 ** shared.stamp_shift(under_test.maps.rows) + 64
        under_test.use(
            Segment(mono_ns(), 10**10, MOMENT - 2**32, SLOPE, HEAD, KISS, asleep_ns())
        )  # time was set back by a second
        receive, _ = stamps(under_test.run(a_request(PLAIN)).frame)
        assert receive < MOMENT


def test_without_a_fresh_segment_everything_goes_to_the_sockets() -> None:
    request = a_request(PLAIN)
    with loaded() as under_test:
        for count, prepare in (
            (Count.PASSED_CLOSED, lambda: None),
            (Count.PASSED_CLOSED, lambda: under_test.use(a_segment(), is_open=False)),
            (Count.PASSED_EXPIRED, lambda: under_test.use(a_segment(begins_ns=-2 * 10**9))),
            (Count.PASSED_EXPIRED, lambda: under_test.use(a_segment(begins_ns=10**9))),
            # the machine slept for two milliseconds since the segment was made
            (Count.PASSED_EXPIRED, lambda: under_test.use(replace(a_segment(), asleep_ns=asleep_ns() - 2 * 10**6))),
        ):
            before = under_test.counts().get(count, 0)
            prepare()
            result = under_test.run(request)
            assert (result.verdict, result.frame) == (XDP_PASS, request)
            assert under_test.counts()[count] == before + 1
        under_test.use(a_segment())
        assert under_test.run(request).verdict == XDP_TX
        at = shared.slot_at(under_test.number)
        for number_at in (at + shared.SLOT_NUMBER, at + shared.SLOT_NUMBER_AGAIN):
            struct.pack_into("=Q", under_test.area, number_at, under_test.number - 1)  # a writer at work, or dead
            assert under_test.run(request).verdict == XDP_PASS
            struct.pack_into("=Q", under_test.area, number_at, under_test.number)
        assert under_test.run(request).verdict == XDP_TX


def test_a_processor_looks_again_whether_the_machine_has_slept_when_its_last_look_is_old() -> None:
    request = a_request(PLAIN)
    with loaded() as under_test:
        under_test.use(a_segment(valid_ns=10**9))
        rows = [shared.CPU_ROWS_AT + row * shared.CPU_ROW_OCTETS for row in range(under_test.maps.rows)]

        def verdict(*, looked_ns: int) -> int:
            for row in rows:  # as if the machine had slept an hour longer than the segment says
                struct.pack_into("=Qq", under_test.area, row + shared.LOOKED_NS, looked_ns, asleep_ns() + HOUR_NS)
            return under_test.run(request).verdict

        assert shared.SLEPT == shared.LOOKED_NS + 8
        for looked_ns in (0, mono_ns() - shared.LOOK_AFTER_NS, mono_ns() + HOUR_NS):
            assert verdict(looked_ns=looked_ns) == XDP_TX  # it looks: the machine has not
        # what it saw a moment ago it goes by; on a busy machine the moment may be over before it runs
        assert XDP_PASS in {verdict(looked_ns=mono_ns()) for _ in range(200)}


def test_requests_that_may_be_interleaved_go_to_the_sockets() -> None:
    def asked(origin: int, receive: int, transmit: int) -> bytes:
        return PLAIN[:24] + struct.pack("!QQQ", origin, receive, transmit)

    with loaded() as under_test:
        under_test.use(a_segment())
        for origin, receive, transmit, is_answered in (
            (0, 0, 5, True),
            (0, 7, 5, True),
            (9, 7, 5, False),
            (9, 0, 5, False),
            (9, 5, 5, True),
            (1 << 63, 5, 6, False),
        ):
            assert check(under_test, a_request(asked(origin, receive, transmit))) is is_answered
        assert under_test.counts()[Count.PASSED_INTERLEAVED] == 3


HOUR_NS = 3600 * 10**9
FAR = {4: bytes([203, 0, 113, 8]), 6: bytes.fromhex("20010db8000900010000000000000007")}


def fates(under_test: Loaded, times: int, **asked: Any) -> list[str]:
    """Return what becomes of a request that comes again and again."""
    found = []
    for _ in range(times):
        result = under_test.run(a_request(PLAIN, **asked))
        kind = {XDP_DROP: "dropped", XDP_PASS: "passed", XDP_TX: "answered"}[result.verdict]
        ntp = result.frame[udp_at(result.frame) + 8 :]
        if result.verdict == XDP_TX and ntp[12:16] == b"RATE":
            kind = "kissed"
            assert ntp[:2] == bytes([0xE4, 0])
            assert ntp[2] == 9  # the limit's, not the request's 6
            assert ntp[4:24] == KISS[4:16] + bytes(8)
            assert ntp[24:32] == PLAIN[40:48]
            assert why_wrong(a_request(PLAIN, **asked), result.frame) == ""
        found.append(kind)
    return found


@pytest.mark.parametrize("family", [4, 6])
def test_a_source_and_its_network_are_held_to_their_rates_and_no_other_is(family: int) -> None:
    limit = RateLimit(HOUR_NS, 4 * HOUR_NS, HOUR_NS // 16, 9 * HOUR_NS // 16, poll_log2=9)
    with loaded(rate=limit) as under_test:
        under_test.use(a_segment(valid_ns=10**10))
        near = fates(under_test, 400, family=family)
        assert near[:5] == ["answered"] * 5
        assert set(near[5:]) == {"answered", "kissed", "dropped"}
        assert near.count("kissed") == 1
        assert 60 < near[5:].count("answered") < 140  # one in four
        counts = under_test.counts()
        assert counts[Count.ANSWERED] == near.count("answered") == 5 + counts[Count.RATE_LEAKED]
        assert (counts[Count.RATE_KISSED], counts[Count.RATE_DROPPED]) == (1, near.count("dropped"))
        assert fates(under_test, 5, family=family, source=FAR[family]) == ["answered"] * 5
        # the network's account holds ten: five went to the first source
        others = [
            fates(under_test, 1, family=family, source=bytes([198, 51, 100, k]) if family == 4 else
                  bytes.fromhex("20010db80001") + bytes([1, k]) + bytes(8))
            for k in range(20, 60)
        ]  # fmt: skip
        assert others[:5] == [["answered"]] * 5
        assert sum(one == ["answered"] for one in others[5:]) < 25
    quick = RateLimit(1, 0, 1, 0)
    with loaded(rate=quick) as under_test:
        under_test.use(a_segment())
        assert set(fates(under_test, 20, family=family)) == {"answered"}


def test_the_rates_of_the_accelerator_are_those_of_the_sockets() -> None:
    rules = DoorRules(rate_per_s=1e-4, rate_burst=3)
    limit = rate_of(rules)
    assert limit is not None
    table = RateTable(bytes(range(SECRET_OCTETS)), rate_per_s=1e-4, burst=3)
    with loaded(rate=limit) as under_test:
        under_test.use(a_segment(valid_ns=10**10))
        draw = random.Random(1)
        for _ in range(300):  # within their rates both answer everybody; above, each by its own lot
            source = bytes([198, 51, draw.randrange(4), draw.randrange(40)])
            before = table.full_at_ns.tolist()
            by_table = table.admit(source, 10**9)
            leaked = by_table == ANSWER and table.full_at_ns.tolist() == before
            counted = under_test.counts()
            under_test.run(a_request(PLAIN, source=source))
            more = {count for count, number in under_test.counts().items() if number != counted.get(count, 0)}
            assert (more == {Count.ANSWERED}) is (by_table == ANSWER and not leaked)


def test_this_machines_own_requests_are_not_limited_unless_the_rules_say_so() -> None:
    site = Site(hardware=bytes(6), v4=bytes([127, 0, 0, 1]), v6=bytes(15) + b"\1", is_loopback=True)
    for too in (False, True):
        with loaded(site, rate=RateLimit(HOUR_NS, 0, HOUR_NS, 0, poll_log2=9, loopback_too=too)) as under_test:
            under_test.use(a_segment(valid_ns=10**10))
            for family, source in ((4, bytes([127, 0, 0, 9])), (6, bytes(15) + b"\1")):
                seen = fates(under_test, 40, family=family, site=site, source=source)
                assert (set(seen) == {"answered"}) is not too


def test_the_access_list_is_that_of_the_sockets() -> None:
    draw = random.Random(5)
    hosts = [f"198.51.100.{k}" for k in range(0, 256, 3)] + [f"2001:db8:{k:x}::{k + 256:x}" for k in range(0, 64, 3)]
    networks = ["198.51.100.0/24", "198.51.100.64/26", "198.51.100.96/32", "198.51.100.0/25", "2001:db8::/32",
                "2001:db8:20::/43", "2001:db8:3::/48", "0.0.0.0/0", "::/0", "198.51.100.128/29"]  # fmt: skip
    with loaded() as under_test:
        under_test.use(a_segment(valid_ns=10**11))
        assert under_test.maps.access is not None
        seen = set()
        for turn in range(12):
            denied = "kiss" if turn % 2 else "silence"
            rules = DoorRules(
                allow=tuple(draw.sample(networks, turn % 4)), deny=tuple(draw.sample(networks, turn % 3)), denied=denied
            )
            sockets = door_access(rules, None)
            entries = access_of(rules, None)
            for key, verdict in entries.items():
                bpf_calls.update(under_test.maps.access, key, struct.pack("=I", verdict))
            struct.pack_into("=I", under_test.area, shared.LISTED, bool(entries))
            for host in hosts:
                address = ipaddress.ip_address(host)
                frame = a_request(PLAIN, family=address.version, source=address.packed)
                refused = XDP_PASS if denied == "kiss" else XDP_DROP
                verdict = under_test.run(frame).verdict
                assert verdict == (XDP_TX if sockets.answers(host) else refused), (rules, host)
                seen.add(verdict)
            for key in entries:
                bpf_calls.delete(under_test.maps.access, key)
        assert seen == {XDP_TX, XDP_PASS, XDP_DROP}


def test_who_asks_for_version_5_in_a_plain_request_asks_the_sockets_where_they_speak_it() -> None:
    offer = PLAIN[:16] + OFFER + PLAIN[24:]
    for offers, verdict in ((Offered.VERSION_4, XDP_TX), (Offered.VERSION_5_TOO, XDP_PASS)):
        with loaded(offers=offers) as under_test:
            under_test.use(a_segment())
            assert under_test.run(a_request(offer)).verdict == verdict
            assert under_test.run(a_request(PLAIN)).verdict == XDP_TX


def test_the_kernel_takes_the_program_of_a_large_machine() -> None:
    addresses = tuple(struct.pack("!I", 0xC6330000 + k) for k in range(MOST_ADDRESSES + 10))
    addresses += tuple(bytes.fromhex("20010db8") + bytes(8) + struct.pack("!I", k) for k in range(MOST_ADDRESSES + 10))
    with loaded() as under_test:
        maps = Maps(under_test.maps.area, under_test.maps.rows, under_test.maps.access)
        place = Place(SITE.hardware, addresses, addresses[:MOST_ADDRESSES])
        os.close(bpf_calls.load_program(program(place, port=65_535, maps=maps)))
