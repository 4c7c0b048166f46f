"""The sheet of a door that speaks version 5 as draft-ietf-ntp-ntpv5-09 has it; the clauses are the draft's titles."""

import struct

from tests.interop.conformance.keyed import key_of
from tests.interop.conformance.sheet import check, same, within
from tests.interop.conformance.wire import (
    DRAFT,
    NAMED,
    AnswerV5,
    Door,
    apart_s,
    extension_v5,
    nonce,
    packet,
    packet_v5,
)

SHEET = "version-5"
PADDING, CODE, IDS_ASKED, IDS, INFORMATION, DRAFT_NAME = 0xF501, 0xF502, 0xF503, 0xF504, 0xF505, 0xF5FF
TAI_MINUS_UTC_S = 37
OFFER = int.from_bytes(b"NTP5DRFT", "big")


def ask(door: Door, *, tail: bytes = NAMED, **fields: int) -> AnswerV5:
    octets = packet_v5(tail=tail, **fields)
    found = door.ask(octets)
    assert isinstance(found, AnswerV5)
    same(len(found.octets), len(octets), "the answer's length")
    return found


@check(SHEET, "NTPv5 Negotiation in Previous NTP Versions")
def version_4_is_answered_beside_it(door: Door) -> None:
    found = door.ask(packet())
    same((found.version, found.has_time), (4, True), "version, time")
    same(found.reference != OFFER, True, "nothing is promised that was not asked for")


@check(SHEET, "NTPv5 Negotiation in Previous NTP Versions", over=(1, 2, 3, 4))
def a_client_of_an_older_version_that_asks_is_told_that_version_5_is_spoken(door: Door, version: int) -> None:
    found = door.ask(packet(version=version, reference=OFFER))
    same((found.version, found.reference), (version, OFFER), "version, reference")


@check(SHEET, "Message Format")
def an_answer_is_of_version_5_and_mode_4_and_as_long_as_its_question(door: Door) -> None:
    found = ask(door)
    same((found.version, found.mode), (5, 4), "version, mode")


@check(SHEET, "Message Format")
def leap_stratum_poll_and_precision_are_in_their_ranges(door: Door) -> None:
    found = ask(door)
    same(found.leap, 0, "leap")
    within(found.stratum, 1, 15, "stratum")
    within(found.poll, -6, 17, "poll")
    within(found.precision, -31, -6, "precision")


@check(SHEET, "Message Format")
def root_delay_and_dispersion_count_in_2_to_the_minus_28_s(door: Door) -> None:
    found = ask(door)
    within(found.root_delay / 2**29 + found.root_dispersion / 2**28, 2.0**-28, 1.5, "root distance, s")
    four = door.ask(packet())
    within(found.root_dispersion / 2**28, 0.0, four.root_dispersion / 2**16 + 1e-3, "as version 4 says, s")


@check(SHEET, "Message Format", over=(1, 2**63, 2**64 - 1, 0))
def the_clients_cookie_comes_back(door: Door, cookie: int) -> None:
    same(ask(door, cookie=cookie).client_cookie, cookie, "client cookie")


@check(SHEET, "Message Format")
def a_basic_answer_has_no_server_cookie_and_copies_none(door: Door) -> None:
    same(ask(door, server_cookie=nonce()).server_cookie, 0, "server cookie")


@check(SHEET, "Message Format")
def flags_say_synchronised_and_nothing_that_was_not_asked(door: Door) -> None:
    same(ask(door).flags, 1, "flags")
    same(ask(door, flags=0xFFF8).flags, 1, "flags, where unknown ones were asked")


@check(SHEET, "Timescale")
def stamps_are_of_utc_by_default_in_era_0(door: Door) -> None:
    found = ask(door)
    same((found.timescale, found.era), (0, 0), "timescale, era")
    if door.is_true:
        within(found.offset_s, -1.5, 1.5, "server minus client, s")


@check(SHEET, "Timescale")
def stamps_are_of_tai_where_that_is_asked(door: Door) -> None:
    found = ask(door, timescale=1)
    same(found.timescale, 1, "timescale")
    four = door.ask(packet())
    within(apart_s(found.receive, four.receive), TAI_MINUS_UTC_S - 1.0, TAI_MINUS_UTC_S, "TAI minus UTC, s")


@check(SHEET, "Timescale", over=(2, 3, 4, 255))
def a_timescale_that_is_not_had_is_answered_in_utc(door: Door, timescale: int) -> None:
    same(ask(door, timescale=timescale).timescale, 0, "timescale")


@check(SHEET, "Message Format")
def transmit_is_after_receive(door: Door) -> None:
    for _ in range(10):
        found = ask(door)
        within(apart_s(found.transmit, found.receive), 2**-33, 1.0, "transmit minus receive, s")


@check(SHEET, "Draft Identification")
def the_answer_names_the_draft(door: Door) -> None:
    same(dict(ask(door).fields())[DRAFT_NAME], DRAFT, "the draft")


@check(SHEET, "Draft Identification")
def who_names_no_draft_or_another_one_is_not_answered(door: Door) -> None:
    door.silent(packet_v5(tail=b""), packet_v5(tail=extension_v5(PADDING, bytes(40))))
    for other in (b"draft-ietf-ntp-ntpv5-08", b"draft-ietf-ntp-ntpv5-10", DRAFT + b"x", DRAFT[:-1], b""):
        door.silent(packet_v5(tail=extension_v5(DRAFT_NAME, other)))


@check(SHEET, "Server Operation", over=(0, 1, 2, 4, 5, 6, 7))
def no_mode_but_the_clients_is_answered(door: Door, mode: int) -> None:
    door.silent(packet_v5(mode=mode, tail=NAMED))


@check(SHEET, "Message Format")
def lengths_that_are_no_multiple_of_4_are_refused(door: Door) -> None:
    whole = packet_v5(tail=NAMED + extension_v5(PADDING, bytes(20)))
    door.silent(*(whole[:octets] for octets in (47, 77, 78, 79, 81, 82, 83)))


@check(SHEET, "Extension Fields", over=(0, 1, 3))
def a_field_shorter_than_its_head_is_refused(door: Door, says: int) -> None:
    door.silent(packet_v5(tail=NAMED + struct.pack(">HH", PADDING, says) + bytes(8)))


@check(SHEET, "Extension Fields", over=(13, 16, 64, 0xFFFF))
def a_field_that_does_not_fit_is_refused(door: Door, says: int) -> None:
    door.silent(packet_v5(tail=NAMED + struct.pack(">HH", PADDING, says) + bytes(8)))


@check(SHEET, "Extension Fields", over=(0, 1, 2, 3, 4, 5, 100))
def fields_of_every_length_are_padded_and_the_answer_is_as_long(door: Door, octets: int) -> None:
    found = ask(door, tail=NAMED + extension_v5(0xF123, bytes(octets)))
    same({kind for kind, _ in found.fields()} <= {DRAFT_NAME, PADDING}, True, "only what is known, and padding")


@check(SHEET, "Padding")
def padding_is_answered_with_padding(door: Door) -> None:
    same(PADDING in dict(ask(door, tail=NAMED + extension_v5(PADDING, bytes(196))).fields()), True, "padding")


@check(SHEET, "Padding")
def fields_may_stand_in_any_order(door: Door) -> None:
    found = ask(door, tail=extension_v5(PADDING, bytes(12)) + extension_v5(INFORMATION, bytes(4)) + NAMED)
    same({DRAFT_NAME, INFORMATION} <= dict(found.fields()).keys(), True, "both are answered")


@check(SHEET, "Server Information")
def it_says_which_versions_are_spoken(door: Door) -> None:
    found = dict(ask(door, tail=NAMED + extension_v5(INFORMATION, bytes(4))).fields())
    (versions, reserved) = struct.unpack(">HH", found[INFORMATION])
    same((versions & 0b11000, reserved), (0b11000, 0), "versions 4 and 5, reserved")


@check(SHEET, "Reference IDs")
def the_filter_can_be_fetched_whole_and_in_pieces(door: Door) -> None:
    whole = ids(door, 0, 512)
    same(len(whole), 512, "octets of the filter")
    bits = sum(octet.bit_count() for octet in whole)
    within(bits, 1, 20, "bits of the filter for this server and its reference")
    same(b"".join(ids(door, at, 128) for at in range(0, 512, 128)), whole, "the filter in pieces")


def ids(door: Door, offset: int, octets: int) -> bytes:
    asked = extension_v5(IDS_ASKED, struct.pack(">H", offset).ljust(octets, b"\0"))
    return dict(ask(door, tail=NAMED + asked).fields())[IDS]


@check(SHEET, "Reference IDs", over=(500, 512, 65_535))
def a_piece_beyond_the_filter_is_not_given(door: Door, offset: int) -> None:
    asked = extension_v5(IDS_ASKED, struct.pack(">H", offset).ljust(64, b"\0"))
    same(IDS in dict(ask(door, tail=NAMED + asked).fields()), False, "a piece")


@check(SHEET, "Interleaved Mode")
def an_interleaved_answer_says_when_the_one_before_it_left(door: Door) -> None:
    first = ask(door, flags=2)
    same(first.server_cookie != 0, True, "there is a cookie to ask by")
    same(first.flags & 2, 0, "the first answer is basic")
    second = ask(door, flags=2, server_cookie=first.server_cookie)
    same(second.flags & 3, 3, "flags")
    within(apart_s(second.transmit, first.receive), 0.0, 0.1, "transmit of the one before, s")
    again = ask(door, flags=2, server_cookie=first.server_cookie)
    same(again.flags & 2, 0, "each serves once")


@check(SHEET, "Interleaved Mode")
def who_does_not_ask_for_it_gets_none(door: Door) -> None:
    first = ask(door, flags=2)
    same(ask(door, server_cookie=first.server_cookie).flags & 2, 0, "interleaved")


@check(SHEET, "Message Authentication Code", over=("aes", "sha256"))
def a_sealed_question_gets_a_sealed_answer(door: Door, kind: str) -> None:
    key = key_of(kind)
    octets = sealed(packet_v5(tail=NAMED), kind)
    found = door.ask(octets)
    same(len(found.octets), len(octets), "the answer's length")
    room = 8 + -(-len(key.code(b"")) // 4) * 4
    end = len(found.octets) - room
    same(found.octets[end:], sealed(found.octets[:end], kind)[end:], "the code of the answer")


def sealed(octets: bytes, kind: str) -> bytes:
    key = key_of(kind)
    return octets + extension_v5(CODE, struct.pack(">I", key.number) + key.code(octets))


@check(SHEET, "Message Authentication Code", over=("aes", "sha256"))
def a_wrong_code_gets_the_flag_and_no_time(door: Door, kind: str) -> None:
    octets = bytearray(sealed(packet_v5(tail=NAMED), kind))
    octets[-1] ^= 1
    found = door.ask(bytes(octets))
    same((found.flags & 5, found.stratum), (4, 0), "authentication NAK, stratum")
    same((found.receive, found.transmit), (0, 0), "stamps")


@check(SHEET, "Message Authentication Code")
def a_code_must_be_the_last_field(door: Door) -> None:
    octets = sealed(packet_v5(tail=NAMED), "aes") + extension_v5(PADDING, bytes(8))
    found = door.maybe(octets, patience_s=0.1)
    if found is not None:
        same((found.flags & 1, found.stratum), (0, 0), "synchronised, stratum")


@check(SHEET, "Server Operation")
def an_answer_sent_back_is_not_answered(door: Door) -> None:
    door.silent(ask(door).octets)
