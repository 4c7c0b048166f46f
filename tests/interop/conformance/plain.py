"""The sheet of a plain door that is synchronised: header, stamps, and who gets an answer at all."""

import errno
import socket
import struct
from contextlib import ExitStack
from itertools import pairwise

from tests.interop.conformance.sheet import check, same, within
from tests.interop.conformance.wire import (
    NAMED,
    Answer,
    Door,
    apart_s,
    extension,
    nonce,
    packet,
    packet_v5,
)

SHEET = "plain"
LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
HIGHEST = 2**64 - 1
A_DAY_S = 86_400.0


@check(SHEET, "RFC 5905 7.3")
def a_request_of_48_octets_gets_one_answer_of_48(door: Door) -> None:
    same(len(door.ask(packet()).octets), 48, "the answer's length")


@check(SHEET, "RFC 5905 9.2")
def an_answer_is_of_mode_4(door: Door) -> None:
    same(door.ask(packet()).mode, 4, "mode")


@check(SHEET, "RFC 5905 A.5.3", over=(1, 2, 3, 4))
def the_version_is_copied(door: Door, version: int) -> None:
    found = door.ask(packet(version=version))
    same(found.version, version, "version")
    same(found.has_time, True, "time is given")


@check(SHEET, "RFC 5905 8", over=(1, 2**31, 2**63, HIGHEST, 0xE000_0000_0000_0001, 0x0123_4567_89AB_CDEF))
def the_transmit_stamp_comes_back_as_origin_bit_for_bit(door: Door, transmit: int) -> None:
    same(door.ask(packet(transmit=transmit)).origin, transmit, "origin")


@check(SHEET, "RFC 4330 5")
def a_request_of_zeros_but_version_and_mode_is_answered(door: Door) -> None:
    found = door.ask(packet(transmit=0))
    same(found.origin, 0, "origin")
    same(found.has_time, True, "time is given")


@check(SHEET, "RFC 5905 7.3", over=(0, 1, 2, 3))
def the_leap_indicator_of_a_request_is_not_its_answers(door: Door, leap: int) -> None:
    found = door.ask(packet(leap=leap))
    same(found.leap, 0, "leap indicator")


@check(SHEET, "RFC 5905 A.5.1", over=(1, 15, 16, 17, 255))
def the_stratum_of_a_client_says_nothing(door: Door, stratum: int) -> None:
    same(door.ask(packet(stratum=stratum)).has_time, True, "time is given")


@check(SHEET, "RFC 5905 A.5.3", over=(4, 6, 10, 17))
def a_poll_interval_in_its_range_is_copied(door: Door, poll: int) -> None:
    same(door.ask(packet(poll=poll)).poll, poll, "poll")


@check(SHEET, "RFC 5905 7.3", over=(-128, -1, 0, 3, 18, 127))
def a_poll_interval_out_of_its_range_is_answered_with_one_in_it(door: Door, poll: int) -> None:
    within(door.ask(packet(poll=poll)).poll, -6, 17, "poll")


@check(SHEET, "RFC 5905 7.3")
def a_client_that_fills_every_field_is_answered_like_any_other(door: Door) -> None:
    found = door.ask(
        packet(
            leap=2,
            stratum=3,
            poll=6,
            precision=-30,
            root_delay=0xFFFF_FFFF,
            root_dispersion=0xFFFF_FFFF,
            refid=b"\xff" * 4,
            reference=HIGHEST,
            receive=HIGHEST - 1,
        )
    )
    same(found.has_time, True, "time is given")


@check(SHEET, "RFC 5905 7.3")
def stratum_is_1_to_15(door: Door) -> None:
    within(door.ask(packet()).stratum, 1, 15, "stratum")


@check(SHEET, "RFC 5905 7.3")
def precision_is_that_of_a_clock_that_can_be_read(door: Door) -> None:
    within(door.ask(packet()).precision, -31, -6, "precision")


@check(SHEET, "RFC 9748 3")
def the_reference_id_of_stratum_1_is_letters_padded_with_zeros(door: Door) -> None:
    found = door.ask(packet())
    if found.stratum == 1:
        text = found.refid.rstrip(b"\0")
        same(set(text) <= LETTERS and bool(text), True, f"{found.refid!r} is capital letters and digits")


@check(SHEET, "RFC 5905 7.3")
def the_reference_id_above_stratum_1_is_not_empty(door: Door) -> None:
    found = door.ask(packet())
    if found.stratum > 1:
        same(found.refid != bytes(4), True, "there is a reference id")


@check(SHEET, "RFC 5905 11.2")
def the_root_distance_is_below_what_a_client_would_refuse(door: Door) -> None:
    found = door.ask(packet())
    within(found.root_delay / 2**17 + found.root_dispersion / 2**16, 2**-16, 1.5, "root distance, s")


@check(SHEET, "RFC 5905 11.1")
def the_root_dispersion_is_not_less_than_the_precision(door: Door) -> None:
    found = door.ask(packet())
    within(found.root_dispersion / 2**16, 2.0**found.precision, 16.0, "root dispersion, s")


@check(SHEET, "RFC 5905 7.3")
def reference_receive_and_transmit_stamp_are_in_order(door: Door) -> None:
    for _ in range(20):
        found = door.ask(packet())
        within(apart_s(found.receive, found.reference), 0.0, A_DAY_S, "receive minus reference, s")
        within(apart_s(found.transmit, found.receive), 2**-33, 1.0, "transmit minus receive, s")


@check(SHEET, "RFC 5905 7.3")
def no_stamp_is_zero_in_an_answer_that_gives_time(door: Door) -> None:
    found = door.ask(packet())
    same(0 in {found.reference, found.receive, found.transmit}, False, "a stamp is zero")


@check(SHEET, "RFC 5905 10")
def the_error_of_the_time_is_within_what_the_answer_states(door: Door) -> None:
    if not door.is_true:
        return
    for _ in range(10):
        found = door.ask(packet())
        stated_s = found.delay_s / 2 + found.root_delay / 2**17 + found.root_dispersion / 2**16
        within(found.offset_s, -stated_s, stated_s, "server minus client, s")


@check(SHEET, "RFC 5905 8")
def the_delay_is_not_negative(door: Door) -> None:
    for _ in range(10):
        within(door.ask(packet()).delay_s, -1e-6, 1.0, "delay, s")


@check(SHEET, "RFC 5905 8")
def no_two_answers_have_the_same_receive_or_transmit_stamp(door: Door) -> None:
    with door.client() as one:
        found = [door.ask(packet(), on=one) for _ in range(100)]
    same(len({answer.receive for answer in found}), 100, "different receive stamps")
    same(len({answer.transmit for answer in found}), 100, "different transmit stamps")
    same(all(apart_s(b.receive, a.transmit) > 0 for a, b in pairwise(found)), True, "order")


@check(SHEET, "RFC 5905 6")
def time_goes_on_as_fast_as_the_clients(door: Door) -> None:
    first, *_, last = [door.ask(packet()) for _ in range(30)]
    slack_s = (first.delay_s + last.delay_s) / 2 + 1e-4
    within(last.offset_s - first.offset_s, -slack_s, slack_s, "change of the offset, s")


@check(SHEET, "RFC 5905 9.2")
def questions_that_wait_together_are_all_answered_to_their_own_senders(door: Door) -> None:
    with ExitStack() as ends:
        sockets = [ends.enter_context(door.client()) for _ in range(48)]
        stamps = [nonce() for _ in sockets]
        for one, transmit in zip(sockets, stamps, strict=True):
            door.send(one, packet(transmit=transmit))
        for one, transmit in zip(sockets, stamps, strict=True):
            one.settimeout(1.0)
            same(int.from_bytes(one.recv(2048)[24:32], "big"), transmit, "origin")


@check(SHEET, "RFC 9109 3")
def every_port_of_a_client_is_answered(door: Door) -> None:
    for port in (7, 19, 53, 123, 319, 1023, 65_535):
        try:
            found = door.ask(packet(), port=port, source=door.address)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EADDRINUSE}:  # low ports are root's, or somebody's
                continue
            raise
        same(found.has_time, True, f"time is given to port {port}")


@check(SHEET, "RFC 5905 9.2")
def the_answer_comes_from_the_address_and_port_that_were_asked(door: Door) -> None:
    same(door.ask(packet()).sender, (door.address, door.port), "the sender")


@check(SHEET, "RFC 1122 3.2.1.7")
def an_answer_can_travel_far(door: Door) -> None:
    found = door.ask(packet())
    if found.hops is not None:
        within(found.hops, 64, 255, "hops left")


@check(SHEET, "RFC 3168 5")
def marks_of_congestion_are_not_copied_from_the_question(door: Door) -> None:
    if door.family != socket.AF_INET:
        return
    with door.client() as one:
        one.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xB8 | 3)
        found = door.ask(packet(), on=one)
    same((found.service or 0) & 3, 0, "ECN bits")


@check(SHEET, "RFC 5905 8")
def a_question_sent_twice_is_answered_twice_with_other_stamps(door: Door) -> None:
    octets = packet()
    first, second = door.ask(octets), door.ask(octets)
    same(first.origin, second.origin, "origin")
    same(first.receive != second.receive and first.transmit != second.transmit, True, "other stamps")


# Who gets no answer.


@check(SHEET, "RFC 5905 7.3")
def what_is_shorter_than_a_header_is_not_answered(door: Door) -> None:
    whole = packet()
    door.silent(*(whole[:octets] for octets in (0, 1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 46, 47)))


@check(SHEET, "RFC 5905 9.2", over=(0, 1, 2, 4, 5))
def no_mode_but_the_clients_is_answered(door: Door, mode: int) -> None:
    door.silent(*(packet(version=version, mode=mode) for version in (1, 2, 3, 4)))


@check(SHEET, "RFC 8633 3.4", over=(6, 7))
def control_and_private_modes_are_not_answered(door: Door, mode: int) -> None:
    door.silent(*(packet(version=version, mode=mode) for version in range(8)))


@check(SHEET, "RFC 9327 2")
def a_question_for_variables_is_not_answered(door: Door) -> None:
    for opcode in (1, 2, 10, 12):
        door.silent(struct.pack(">BBHHHHH", 0x16, opcode, 1, 0, 0, 0, 0))
        door.silent(struct.pack(">BBHHHHH", 0x26, opcode, 1, 0, 0, 0, 0).ljust(48, b"\0"))


@check(SHEET, "RFC 8633 3.4")
def a_question_for_the_list_of_clients_is_not_answered(door: Door) -> None:
    for implementation in (2, 3):
        for code in (0, 20, 42):
            door.silent(*(bytes([0x17, 0, implementation, code]).ljust(octets, b"\0") for octets in (8, 48, 192)))


@check(SHEET, "RFC 5905 A.5.1", over=(0, 5, 6, 7))
def no_other_version_is_answered(door: Door, version: int) -> None:
    door.silent(packet(version=version), packet(version=version, tail=bytes(20)))


@check("without-version-5", "draft-ietf-ntp-ntpv5-09, NTPv5 Negotiation in Previous NTP Versions")
def version_5_is_neither_spoken_nor_promised_where_it_is_not_offered(door: Door) -> None:
    door.silent(packet_v5(tail=NAMED))
    offer = int.from_bytes(b"NTP5DRFT", "big")
    same(door.ask(packet(reference=offer)).reference != offer, True, "no promise")


@check(SHEET, "RFC 5905 9.2")
def an_answer_that_is_sent_back_is_not_answered(door: Door) -> None:
    door.silent(door.ask(packet()).octets)


@check(SHEET, "RFC 5905 9.2")
def after_all_that_the_door_answers_as_before(door: Door) -> None:
    same(door.ask(packet()).has_time, True, "time is given")


# What follows the header.


@check(SHEET, "RFC 7822 7.5.1.1", over=(0x0000, 0x0002, 0x2005, 0x4242, 0xF323, 0xFFFF))
def a_field_that_nobody_knows_is_passed_over(door: Door, kind: int) -> None:
    is_answered(door, extension(kind, 28))


@check(SHEET, "RFC 7822 7.5", over=(28, 32, 128, 1024, 1424))
def a_field_may_be_long(door: Door, octets: int) -> None:
    is_answered(door, extension(0x4242, octets, body=b"\xa5" * (octets - 4)))


@check(SHEET, "RFC 7822 7.5.1.4")
def fields_before_the_last_may_have_16_octets(door: Door) -> None:
    is_answered(door, extension(0x4242, 16) + extension(0x4243, 28))
    is_answered(door, extension(0x4242, 16) * 5 + extension(0x4243, 28))


@check(SHEET, "RFC 5906 10", over=(0x0002, 0x0102, 0x0202, 0x0302, 0x0502, 0x8102, 0xC102))
def fields_of_autokey_are_passed_over_and_never_spoken(door: Door, kind: int) -> None:
    is_answered(door, extension(kind, 48, body=b"\0\0\0\1" * 3))


@check(SHEET, "RFC 8915 5.7")
def a_question_under_network_time_security_gets_no_sealed_answer_from_a_door_without_it(door: Door) -> None:
    tail = extension(0x0104, 36, body=b"u" * 32) + extension(0x0204, 104, body=b"c" * 100)
    found = door.maybe(packet(tail=tail + extension(0x0404, 40, body=struct.pack(">HH", 16, 16) + b"s" * 32)))
    if found is not None:
        same(found.tail, b"", "what follows the answer")


def is_answered(door: Door, tail: bytes) -> Answer:
    found = door.ask(packet(tail=tail))
    same(found.has_time, True, "time is given")
    same(found.tail, b"", "what follows the answer")
    return found


@check(SHEET, "RFC 7822 7.5", over=(0, 1, 3, 4, 8, 12, 15))
def a_field_that_says_it_is_shorter_than_16_octets_is_refused(door: Door, says: int) -> None:
    door.silent(packet(tail=extension(0x4242, 28, says=says)), packet(tail=extension(0x4242, 64, says=says)))


@check(SHEET, "RFC 7822 7.5", over=(17, 18, 19, 21, 29, 30, 31))
def a_field_whose_length_is_no_multiple_of_4_is_refused(door: Door, says: int) -> None:
    door.silent(packet(tail=extension(0x4242, 36, says=says)))


@check(SHEET, "RFC 7822 7.5", over=(32, 64, 1500, 0x7FFC, 0xFFFC, 0xFFFF))
def a_field_longer_than_the_packet_is_refused(door: Door, says: int) -> None:
    door.silent(packet(tail=extension(0x4242, 28, says=says)))


@check(SHEET, "RFC 7822 7.5.1.4", over=(16,))
def a_last_field_of_fewer_than_28_octets_without_a_code_is_refused(door: Door, octets: int) -> None:
    door.silent(packet(tail=extension(0x4242, octets)))
    door.silent(packet(tail=extension(0x4242, 28) + extension(0x4243, octets)))


@check(SHEET, "RFC 7822 7.5")
def octets_that_are_neither_field_nor_code_are_refused(door: Door) -> None:
    door.silent(*(packet(tail=bytes(octets)) for octets in (1, 2, 3, 5, 6, 7, 8, 12, 16, 27, 28, 64, 1000)))


@check(SHEET, "RFC 7822 7.5")
def octets_behind_a_good_field_are_refused(door: Door) -> None:
    good = extension(0x4242, 28)
    door.silent(*(packet(tail=good + bytes(octets)) for octets in (1, 2, 3, 5, 8, 12, 16)))


@check(SHEET, "RFC 5905 7.3", over=(1, 2, 3))
def versions_before_4_have_no_fields(door: Door, version: int) -> None:
    door.silent(packet(version=version, tail=extension(0x4242, 28)))


@check(SHEET, "RFC 5905 9.2")
def a_crypto_nak_is_not_answered(door: Door) -> None:
    door.silent(packet(tail=bytes(4)), packet(mode=4, tail=bytes(4)), packet(tail=extension(0x4242, 28) + bytes(4)))


@check(SHEET, "RFC 8573 3", over=(16, 20))
def a_code_gets_no_unsealed_time_from_a_door_without_keys(door: Door, octets: int) -> None:
    for version in (3, 4):
        door.not_time(packet(version=version, tail=struct.pack(">I", 1) + bytes(octets)))
    door.not_time(packet(tail=extension(0x4242, 28) + struct.pack(">I", 1) + bytes(octets)))


@check(SHEET, "RFC 8633 3.6")
def a_packet_as_long_as_a_network_carries_gets_no_more_than_48_octets(door: Door) -> None:
    for octets in (1476, 2048, 4096, 9000, 65_507):
        found = door.maybe(packet(tail=extension(0x4242, octets - 48 & ~3)), patience_s=0.1)
        if found is not None:
            same(len(found.octets), 48, "octets of the answer")


@check(SHEET, "RFC 1122 3.2.2.1")
def refusals_are_no_errors_of_the_network(door: Door) -> None:
    with door.client() as one:
        one.connect((door.address, door.port))
        for octets in (b"", b"x" * 47, packet(mode=6), packet(version=7), packet(tail=bytes(7))):
            one.send(octets)
        one.settimeout(0.1)
        try:
            raise AssertionError(f"{len(one.recv(2048))} octets came")
        except TimeoutError:
            pass


# Interleaved mode.


@check("interleaved", "RFC 9769 2")
def an_interleaved_answer_says_when_the_one_before_it_left(door: Door) -> None:
    with door.client() as one:
        first = basic(door, one, origin=door.ask(packet(), on=one).transmit)
        receive = nonce()
        second = door.ask(packet(origin=first.receive, receive=receive), on=one)
    same(second.origin, receive, "origin")
    within(apart_s(second.transmit, first.receive), 0.0, first.came_s - first.asked_s, "transmit of the one before, s")
    within(apart_s(second.transmit, first.transmit), -1e-6, 0.1, "true transmit stamp minus the one in it, s")
    within(apart_s(second.receive, first.receive), 2**-32, 1.0, "receive stamp of this one, s")


@check("interleaved", "RFC 9769 2")
def interleaving_goes_on_for_as_long_as_the_client_asks_so(door: Door) -> None:
    with door.client() as one:
        last = basic(door, one, origin=door.ask(packet(), on=one).transmit)
        for _ in range(10):
            receive = nonce()
            found = door.ask(packet(origin=last.receive, receive=receive), on=one)
            same(found.origin, receive, "origin")
            within(apart_s(found.transmit, last.receive), 0.0, 1.0, "transmit of the one before, s")
            last = found


@check("interleaved", "RFC 9769 2")
def each_stamp_serves_once(door: Door) -> None:
    with door.client() as one:
        first = basic(door, one, origin=door.ask(packet(), on=one).transmit)
        door.ask(packet(origin=first.receive, receive=nonce()), on=one)
        transmit = nonce()
        same(door.ask(packet(origin=first.receive, receive=nonce(), transmit=transmit), on=one).origin, transmit, "it")


@check("interleaved", "RFC 9769 2")
def equal_receive_and_transmit_stamps_ask_for_a_basic_answer(door: Door) -> None:
    with door.client() as one:
        first = basic(door, one, origin=door.ask(packet(), on=one).transmit)
        stamp = nonce()
        found = door.ask(packet(origin=first.receive, receive=stamp, transmit=stamp), on=one)
    within(apart_s(found.transmit, found.receive), 2**-33, 1.0, "its own transmit stamp, s")


@check("interleaved", "RFC 9769 2", over=(1, 2**63, HIGHEST))
def an_origin_that_was_never_given_out_gets_a_basic_answer(door: Door, origin: int) -> None:
    transmit = nonce()
    found = door.ask(packet(origin=origin, receive=nonce(), transmit=transmit))
    same(found.origin, transmit, "origin")


@check("interleaved", "RFC 9769 2")
def a_client_may_come_from_another_port(door: Door) -> None:
    with door.client() as one:
        first = basic(door, one, origin=door.ask(packet(), on=one).transmit)
    receive = nonce()
    same(door.ask(packet(origin=first.receive, receive=receive)).origin, receive, "origin")


@check("interleaved", "RFC 9769 2")
def receive_and_transmit_stamp_of_an_answer_differ(door: Door) -> None:
    with door.client() as one:
        last = basic(door, one, origin=door.ask(packet(), on=one).transmit)
        for _ in range(20):
            last = door.ask(packet(origin=last.receive, receive=nonce()), on=one)
            same(last.receive != last.transmit, True, "they differ")


@check("interleaved", "RFC 9769 2", over=(1, 2, 3))
def a_client_of_an_older_version_that_fills_its_origin_gets_its_answer(door: Door, version: int) -> None:
    transmit = nonce()
    found = door.ask(packet(version=version, origin=nonce(), receive=nonce(), transmit=transmit))
    same(found.origin, transmit, "origin")


def basic(door: Door, one: socket.socket, *, origin: int) -> Answer:
    """Ask with the transmit stamp of an answer as origin, as clients in basic mode do: RFC 5905 figure 23."""
    transmit = nonce()
    found = door.ask(packet(origin=origin, receive=nonce(), transmit=transmit), on=one)
    same(found.origin, transmit, "origin")
    return found
