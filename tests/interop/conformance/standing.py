"""Sheets of doors in other standings: not synchronised, before a leap second, in another era, under rates and lists, on
every address of a machine, smearing.
"""

import time

from tests.interop.conformance.keyed import is_sealed, key_of
from tests.interop.conformance.sheet import check, same, within
from tests.interop.conformance.wire import NAMED, AnswerV5, Door, apart_s, extension, nonce, packet, packet_v5

MAX_DISPERSION = 16 << 16


@check("unsynchronised", "RFC 5905 7.3", over=(1, 2, 3, 4))
def a_server_without_time_says_leap_3_and_stratum_16(door: Door, version: int) -> None:
    transmit = nonce()
    found = door.ask(packet(version=version, transmit=transmit))
    same(found.leap, 3, "leap")
    same(found.stratum in {0, 16}, True, f"stratum {found.stratum} is 16, or 0 as it is written on the wire,")
    same((found.mode, found.version, found.origin), (4, version, transmit), "mode, version, origin")


@check("unsynchronised", "RFC 5905 A.5.1.1")
def its_root_distance_alone_makes_a_client_refuse_it(door: Door) -> None:
    found = door.ask(packet())
    within(found.root_delay / 2 + found.root_dispersion, MAX_DISPERSION, 2**32, "root distance, 2^-16 s")


@check("unsynchronised", "RFC 5905 7.4")
def it_sends_no_kiss_that_would_stop_a_client(door: Door) -> None:
    same(door.ask(packet()).refid in {b"DENY", b"RSTR", b"RATE"}, False, "a kiss")


@check("unsynchronised", "RFC 5905 7.3")
def its_reference_stamp_is_not_after_its_transmit_stamp(door: Door) -> None:
    found = door.ask(packet())
    same(found.reference == 0 or apart_s(found.transmit, found.reference) >= 0, True, "reference before transmit")


@check("unsynchronised", "RFC 8573 3")
def its_answer_to_a_sealed_question_is_sealed(door: Door) -> None:
    found = door.ask(key_of("aes").seal(packet()))
    same(found.leap, 3, "leap")
    is_sealed(found, key_of("aes"))


@check("unsynchronised", "RFC 9769 2")
def it_remembers_nothing_for_interleaving(door: Door) -> None:
    first = door.ask(packet(origin=5, receive=6))
    transmit = nonce()
    same(door.ask(packet(origin=first.receive, receive=7, transmit=transmit)).origin, transmit, "origin")


@check("unsynchronised", "draft-ietf-ntp-ntpv5-09, Message Format")
def version_5_says_stratum_0_and_not_synchronised(door: Door) -> None:
    found = door.ask(packet_v5(tail=NAMED))
    assert isinstance(found, AnswerV5)
    same((found.leap, found.stratum, found.flags & 1), (3, 0, 0), "leap, stratum, synchronised")


@check("unsynchronised", "RFC 5905 9.2")
def without_time_too_other_modes_are_silent(door: Door) -> None:
    door.silent(*(packet(mode=mode) for mode in (0, 1, 2, 4, 5, 6, 7)))
    door.silent(packet()[:47], packet(version=6), packet(tail=bytes(9)))


@check("before-a-leap", "RFC 5905 7.3")
def a_second_to_be_inserted_is_announced(door: Door) -> None:
    for version in (3, 4):
        found = door.ask(packet(version=version))
        same((found.leap, found.has_time), (1, True), "leap, time")


@check("before-a-leap", "draft-ietf-ntp-ntpv5-09, Message Format")
def version_5_announces_it_too(door: Door) -> None:
    same(door.ask(packet_v5(tail=NAMED)).leap, 1, "leap")
    same(door.ask(packet_v5(timescale=1, tail=NAMED)).leap, 1, "leap, where TAI is asked")


@check("before-a-removal", "RFC 5905 7.3")
def a_second_to_be_removed_is_announced(door: Door) -> None:
    same(door.ask(packet()).leap, 2, "leap")


@check("a-week-before-a-leap", "RFC 5905 7.3")
def in_version_4_it_is_not_yet_announced(door: Door) -> None:
    same(door.ask(packet()).leap, 0, "leap")


@check("a-week-before-a-leap", "draft-ietf-ntp-ntpv5-09, Message Format")
def in_version_5_it_is_announced_14_days_ahead(door: Door) -> None:
    same(door.ask(packet_v5(tail=NAMED)).leap, 1, "leap")


@check("after-2036", "RFC 5905 6")
def seconds_begin_anew_and_stay_in_order(door: Door) -> None:
    found = door.ask(packet())
    within(found.receive >> 32, 1, 2**31, "seconds of the second era")
    within(apart_s(found.transmit, found.receive), 2**-33, 1.0, "transmit minus receive, s")
    within(apart_s(found.receive, found.reference), 0.0, 86_400.0, "receive minus reference, s")
    same(found.has_time, True, "time is given")


@check("after-2036", "RFC 5905 6", over=(0xFFFF_FFFF_FFFF_FFFF, 1, 0x8000_0000_0000_0000))
def a_client_of_the_first_era_gets_its_stamp_back(door: Door, transmit: int) -> None:
    same(door.ask(packet(transmit=transmit)).origin, transmit, "origin")


@check("after-2036", "draft-ietf-ntp-ntpv5-09, Message Format")
def version_5_says_which_era_it_is(door: Door) -> None:
    found = door.ask(packet_v5(tail=NAMED))
    assert isinstance(found, AnswerV5)
    same(found.era, 1, "era")


@check("after-2036", "RFC 9769 2")
def interleaving_works_there_as_well(door: Door) -> None:
    first = door.ask(packet(origin=5, receive=6))
    found = door.ask(packet(origin=first.receive, receive=9))
    same(found.origin, 9, "origin")
    within(apart_s(found.transmit, first.receive), 0.0, 0.1, "transmit of the one before, s")


@check("across-the-era", "RFC 5905 6")
def answers_from_before_and_after_the_end_of_an_era_are_in_order(door: Door) -> None:
    # The door's page ends its era half a second after its start.
    last = door.ask(packet())
    ends = time.monotonic() + 5.0
    while last.receive >> 63 and time.monotonic() < ends:
        found = door.ask(packet())
        within(apart_s(found.receive, last.receive), 2**-33, 1.0, "receive minus the one before, s")
        within(apart_s(found.transmit, found.receive), 2**-33, 1.0, "transmit minus receive, s")
        within(apart_s(found.receive, found.reference), 0.0, 86_400.0, "receive minus reference, s")
        same(0 in {found.receive, found.transmit}, False, "a stamp is zero")
        last = found
        time.sleep(0.002)
    same(last.receive >> 63, 0, "the first bit of the receive stamp")


@check("rated", "RFC 5905 7.4")
def who_asks_too_often_is_told_rate_and_gets_no_time_by_it(door: Door) -> None:
    with door.client(source="127.0.0.21") as one:
        stamps = [nonce() for _ in range(60)]
        found = door.together(one, [packet(transmit=transmit) for transmit in stamps])
    kisses = [octets for octets in found if octets[12:16] == b"RATE"]
    same(len(kisses), 1, "kisses within a second")
    same((kisses[0][0] & 0xC7, kisses[0][1], len(kisses[0])), (0xC4, 0, 48), "leap and mode, stratum, length")
    within(kisses[0][2], 0, 17, "poll")
    timed = sum(octets[0] >> 6 == 0 and octets[1] > 0 for octets in found)
    within(timed, 8, 40, "answers with time of 60 (burst 8, one in four of the rest)")
    same({int.from_bytes(octets[24:32], "big") for octets in found} <= set(stamps), True, "each names its question")


@check("rated", "RFC 8633 3.6")
def others_are_answered_meanwhile(door: Door) -> None:
    with door.client(source="127.0.0.23") as one:
        for _ in range(60):
            door.send(one, packet())
    same(door.ask(packet(), source="127.0.1.24").has_time, True, "time is given")


@check("rated", "RFC 8633 3.6")
def what_is_no_question_uses_up_nobodys_share(door: Door) -> None:
    with door.client(source="127.0.2.25") as one:
        for octets in (b"", bytes(47), packet(mode=6), packet(mode=1), packet(version=7)) * 40:
            door.send(one, octets)
        same(door.ask(packet(), on=one).has_time, True, "time is given")


@check("rated", "draft-ietf-ntp-ntpv5-09, Server Operation")
def version_5_is_told_so_by_its_poll_and_gets_no_stamps(door: Door) -> None:
    with door.client(source="127.0.3.26") as one:
        found = door.together(one, [packet_v5(tail=NAMED) for _ in range(40)])
    refusals = [octets for octets in found if octets[1] == 0]
    same(len(refusals), 1, "refusals within a second")
    same((refusals[0][0] >> 6, refusals[0][32:48]), (3, bytes(16)), "leap, stamps")
    within(refusals[0][2], 0, 17, "poll")


@check("denied", "RFC 8633 3.6")
def who_is_denied_hears_nothing(door: Door) -> None:
    door.silent(packet(), packet(version=3), packet_v5(tail=NAMED), packet(tail=extension(0x4242, 28)))


@check("denied", "RFC 8633 3.6")
def who_is_not_denied_is_answered(door: Door) -> None:
    same(door.ask(packet(), source="127.0.0.31").has_time, True, "time is given")


@check("denied-aloud", "RFC 5905 7.4")
def who_is_denied_is_told_deny(door: Door) -> None:
    transmit = nonce()
    found = door.ask(packet(transmit=transmit))
    same((found.refid, found.leap, found.stratum, found.origin), (b"DENY", 3, 0, transmit), "the kiss")


@check("denied-aloud", "draft-ietf-ntp-ntpv5-09, Server Operation")
def version_5_is_told_never_to_ask_again(door: Door) -> None:
    found = door.ask(packet_v5(tail=NAMED))
    same((found.poll, found.stratum, found.transmit), (127, 0, 0), "poll, stratum, transmit")


@check("everywhere", "RFC 5905 9.2", over=("127.0.0.1", "127.0.0.2", "127.9.8.7"))
def the_answer_comes_from_the_address_that_was_asked(door: Door, address: str) -> None:
    other = door.at(address)
    found = other.ask(packet())
    same((found.sender, found.has_time), ((address, door.port), True), "sender, time")


@check("everywhere-of-both", "RFC 3493 5.3")
def a_door_on_every_address_of_both_kinds_answers_each_in_its_own(door: Door) -> None:
    for address in ("::1", "127.0.0.1", "127.0.0.2"):
        found = door.at(address).ask(packet())
        same((found.sender, found.has_time), ((address, door.port), True), "sender, time")


@check("smearing", "draft-ietf-ntp-bcp, RFC 8633 3.7.1")
def a_door_that_smears_announces_nothing(door: Door) -> None:
    found = door.ask(packet())
    same((found.leap, found.has_time), (0, True), "leap, time")


@check("not-interleaved", "RFC 9769 2")
def a_door_that_does_not_offer_it_answers_basic_questions_alone(door: Door) -> None:
    first = door.ask(packet(origin=5, receive=6))
    transmit = nonce()
    same(door.ask(packet(origin=first.receive, receive=7, transmit=transmit)).origin, transmit, "origin")
