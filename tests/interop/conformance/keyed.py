"""The sheet of a door that holds keys: every code is made and checked here by other means than the server's."""

import struct

from tests.interop.conformance.sheet import check, same
from tests.interop.conformance.wire import Answer, Door, Key, extension, packet

SHEET = "keyed"
KINDS = ("aes", "md5", "sha1", "sha256", "sha512")
KEYS = tuple(Key(10 + k, kind, bytes(range(k, k + 16))) for k, kind in enumerate(KINDS))
NAMES = {"aes": "AES128"}
STRANGER = Key(999, "sha1", b"nobody's")


def key_file() -> str:
    """Return the keys as chronyd and this server read them."""
    return "".join(f"{one.number} {NAMES.get(one.kind, one.kind.upper())} HEX:{one.secret.hex()}\n" for one in KEYS)


def key_of(kind: str) -> Key:
    return next(one for one in KEYS if one.kind == kind)


def is_sealed(found: Answer, key: Key) -> None:
    """Raise unless the answer ends in the key's number and its code over all before it."""
    octets = len(key.code(b""))
    end = len(found.octets) - 4 - octets
    same(found.octets[end:], key.seal(found.octets[:end])[end:], "the code of the answer")


@check(SHEET, "RFC 5905 7.3, RFC 8573 3", over=KINDS)
def a_question_sealed_with_a_key_gets_an_answer_sealed_with_it(door: Door, kind: str) -> None:
    key = key_of(kind)
    for version in (3, 4):
        found = door.ask(key.seal(packet(version=version)))
        same(found.has_time, True, "time is given")
        is_sealed(found, key)


@check(SHEET, "RFC 8573 3", over=KINDS)
def the_code_is_over_the_fields_too(door: Door, kind: str) -> None:
    key = key_of(kind)
    sealed = key.seal(packet(tail=extension(0x4242, 28)))
    is_sealed(door.ask(sealed), key)
    broken = bytearray(sealed)
    broken[60] ^= 1
    refused(door, bytes(broken))


@check(SHEET, "RFC 7822 7.5.1.4", over=KINDS)
def before_a_code_the_last_field_may_have_16_octets(door: Door, kind: str) -> None:
    key = key_of(kind)
    is_sealed(door.ask(key.seal(packet(tail=extension(0x4242, 16)))), key)


@check(SHEET, "RFC 5905 9.2", over=KINDS)
def a_bit_that_is_wrong_anywhere_gets_no_time(door: Door, kind: str) -> None:
    sealed = key_of(kind).seal(packet())
    for at in (0, 1, 5, 24, 47, 48, 51, 52, len(sealed) - 1):
        broken = bytearray(sealed)
        broken[at] ^= 0x40 if at == 0 else 1
        refused(door, bytes(broken))


@check(SHEET, "RFC 5905 9.2")
def a_key_that_is_not_known_gets_no_time(door: Door) -> None:
    refused(door, STRANGER.seal(packet()))
    refused(door, Key(0, "sha1", b"").seal(packet()))
    refused(door, Key(2**32 - 1, "aes", bytes(16)).seal(packet()))


@check(SHEET, "RFC 8573 3", over=KINDS)
def number_kind_and_secret_must_all_be_the_keys(door: Door, kind: str) -> None:
    key = key_of(kind)
    for other in KEYS:
        if other is not key:
            refused(door, Key(key.number, other.kind, key.secret).seal(packet()))
            refused(door, Key(key.number, key.kind, other.secret).seal(packet()))


def refused(door: Door, octets: bytes) -> None:
    """Raise where a question gets time, or any answer that is longer than it; a crypto-NAK is of 52 octets."""
    found = door.maybe(octets, patience_s=0.05)
    if found is None:
        return
    same(found.has_time, False, "time is given")
    same(len(found.octets), 52, "octets of the refusal")
    same(found.tail, bytes(4), "what follows its header")
    same(found.origin, int.from_bytes(octets[40:48], "big"), "origin")


@check(SHEET, "RFC 5905 9.2")
def a_refusal_for_its_code_is_a_crypto_nak_that_names_the_question(door: Door) -> None:
    transmit = 0x1122_3344_5566_7788
    found = door.ask(STRANGER.seal(packet(transmit=transmit)))
    same((found.tail, found.origin, found.leap, found.stratum), (bytes(4), transmit, 3, 0), "the crypto-NAK")


@check(SHEET, "RFC 5905 7.3")
def a_code_of_another_length_is_refused(door: Door) -> None:
    sealed = key_of("aes").seal(packet())
    door.silent(*(sealed[:octets] for octets in (49, 50, 51, 53, 56, 60, 64, 67)))
    door.not_time(sealed + bytes(4))


@check(SHEET, "RFC 5905 9.2")
def a_crypto_nak_is_not_answered_by_a_door_with_keys(door: Door) -> None:
    door.silent(packet(tail=bytes(4)), packet(tail=struct.pack(">I", KEYS[0].number)))


@check(SHEET, "RFC 5905 9.2")
def who_asks_without_a_code_is_answered_without_one(door: Door) -> None:
    same(door.ask(packet()).tail, b"", "what follows the answer")


@check(SHEET, "RFC 8633 3.6")
def modes_that_are_not_the_clients_stay_silent_under_a_good_code(door: Door) -> None:
    for mode in (0, 1, 2, 4, 5, 6, 7):
        door.silent(key_of("aes").seal(packet(mode=mode)))


@check(SHEET, "RFC 9769 2")
def an_interleaved_answer_is_sealed_as_well(door: Door) -> None:
    key = key_of("aes")
    with door.client() as one:
        first = door.ask(key.seal(packet(origin=1, receive=2)), on=one)
        found = door.ask(key.seal(packet(origin=first.receive, receive=77)), on=one)
    same(found.origin, 77, "origin")
    is_sealed(found, key)
