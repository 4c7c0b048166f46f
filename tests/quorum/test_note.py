"""Signed notes and keys: the specification's own example, one thing broken at a time, and bytes of any kind."""

import base64
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import SHARED_DATA

from truechimer.quorum.keys import (
    COSIGNATURE_ML_DSA_44,
    ED25519,
    Ed25519Signer,
    Ed25519Verifier,
    KeyMisuse,
    KeyRejected,
    SigningKey,
    VerifierKey,
    is_key_name,
    signing_key,
    strict_base64,
    verifier_key,
)
from truechimer.quorum.note import MOST_SIGNATURES, NoteMisuse, NoteRejected, joined, opened, parsed, signed

A = Ed25519Signer(SigningKey("log.example/a", ED25519, b"a" * 32))
B = Ed25519Signer(SigningKey("log.example/b", ED25519, b"b" * 32))
KNOWN = [Ed25519Verifier(A.public), Ed25519Verifier(B.public)]
TEXT = "Ognuno sta solo\n\nè subito sera.\n".encode()
NOTE = signed(TEXT, [A, B])
LINE_A, LINE_B = NOTE[len(TEXT) + 1 :].splitlines(keepends=True)


@pytest.mark.shared_data
def test_the_example_of_the_specification_opens_and_none_of_its_bits_may_change() -> None:
    folder = SHARED_DATA / "guard" / "tlog" / "c2sp_example"
    key = (folder / "example.vkey").read_text(encoding="ascii").strip()
    note = (folder / "example.note").read_bytes()
    verifier = Ed25519Verifier(verifier_key(key))
    assert verifier.key.text == key
    assert opened(note, [verifier]).text == b"This is an example message.\n"
    for bit in range(8 * len(note)):
        changed = bytearray(note)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NoteRejected):
            opened(bytes(changed), [verifier])


def test_a_note_of_two_signers_opens_for_who_knows_both_or_one() -> None:
    both = opened(NOTE, KNOWN)
    assert (both.text, [one.name for one in both.by], both.unknown) == (TEXT, [A.name, B.name], ())
    one = opened(NOTE, KNOWN[:1])
    assert ([s.name for s in one.by], [s.name for s in one.unknown]) == ([A.name], [B.name])


def test_the_text_ends_at_the_last_empty_line() -> None:
    assert parsed(NOTE).text == TEXT
    assert b"\n\n" in parsed(NOTE).text


def spoiled(line: bytes, at: int = 20) -> bytes:
    """The line with another signature in good base64."""
    name, encoded = line[:-1].rsplit(b" ", 1)
    data = bytearray(base64.b64decode(encoded))
    data[at] ^= 1
    return name + b" " + base64.b64encode(data) + b"\n"


def test_one_bad_signature_of_a_known_key_spoils_the_good_ones() -> None:
    with pytest.raises(NoteRejected) as caught:
        opened(TEXT + b"\n" + LINE_A + spoiled(LINE_B), KNOWN)
    assert (caught.value.reason, caught.value.who) == ("bad-signature", B.name)


def test_a_second_signature_of_the_same_key_is_verified_too_and_counts_once() -> None:
    assert len(opened(TEXT + b"\n" + LINE_A + LINE_A, KNOWN).by) == 1
    with pytest.raises(NoteRejected):
        opened(TEXT + b"\n" + LINE_A + spoiled(LINE_A), KNOWN)


def test_an_unknown_key_under_a_known_name_is_ignored_and_proves_nothing() -> None:
    other = spoiled(LINE_A, at=0)
    assert [one.name for one in opened(TEXT + b"\n" + other + LINE_B, KNOWN).by] == [B.name]
    with pytest.raises(NoteRejected) as caught:
        opened(TEXT + b"\n" + other, KNOWN)
    assert caught.value.reason == "no-known-signature"


def test_a_key_with_the_same_name_and_id_by_chance_does_not_hide_the_right_one() -> None:
    class Collides:
        name, key_id = A.name, A.key_id

        def holds(self, text: bytes, signature: bytes) -> bool:
            return False

    assert len(opened(NOTE, [Collides(), *KNOWN]).by) == 2


@pytest.mark.parametrize(
    "data",
    {
        "empty": b"",
        "no signatures": TEXT,
        "no empty line": TEXT + LINE_A,
        "no last newline": NOTE[:-1],
        "an empty last line": NOTE + b"\n",
        "carriage returns": NOTE.replace(b"\n", b"\r\n"),
        "a control character in the text": NOTE.replace(b"solo", b"so\x07o"),
        "a nought byte": NOTE.replace(b"solo", b"so\x00o"),
        "not UTF-8": NOTE.replace("è".encode(), b"\xe8"),
        "a surrogate": NOTE.replace("è".encode(), b"\xed\xa0\x80"),
        "a hyphen for the dash": NOTE.replace("—".encode(), b"-"),
        "two spaces": NOTE.replace(b"example/a ", b"example/a  "),
        "no name": TEXT + "\n—  ".encode() + LINE_A.rsplit(b" ", 1)[1],
        "a plus sign in the name": NOTE.replace(b"example/a", b"example+a"),
        "a no-break space in the name": NOTE.replace(b"example/a", "example\u00a0a".encode()),
        "padding left out": TEXT + b"\n" + LINE_A.replace(b"=", b""),
        "padding doubled": TEXT + b"\n" + LINE_A.replace(b"=\n", b"==\n"),
        "a letter after the padding": TEXT + b"\n" + LINE_A.replace(b"=\n", b"=A\n"),
        "base64 for addresses": TEXT + b"\n" + "— x ".encode() + base64.urlsafe_b64encode(b"\xff" * 68) + b"\n",
        "bits after the last byte": TEXT + "\n— x AAAAAAAAAAB=\n".encode(),
        "an id alone": TEXT + "\n— x AAAAAA==\n".encode(),
        "too many signatures": TEXT + b"\n" + LINE_A * (MOST_SIGNATURES + 1),
        "too many bytes": b"x" * (1 << 20) + NOTE,
    }.items(),
    ids=lambda case: case[0],
)
def test_a_malformed_note_is_refused_whole(data: tuple[str, bytes]) -> None:
    with pytest.raises(NoteRejected) as caught:
        opened(data[1], KNOWN)
    assert caught.value.reason in {"malformed", "no-known-signature"}
    assert "\x1b" not in str(caught.value)


@given(st.integers(0, 8 * len(NOTE) - 1))
def test_no_bit_of_a_note_whose_signers_must_both_be_there_may_change(bit: int) -> None:
    changed = bytearray(NOTE)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        found = opened(bytes(changed), KNOWN)
    except NoteRejected:
        return
    assert found.text == TEXT, "a changed text must never open"
    assert len(found.by) < 2, f"bit {bit} changed and nobody noticed"


@given(st.one_of(st.binary(max_size=400), st.text(max_size=200).map(str.encode)))
def test_any_bytes_are_refused_as_a_note_or_a_key_with_a_reason_and_nothing_else(data: bytes) -> None:
    with pytest.raises(NoteRejected):
        opened(data, KNOWN)
    with pytest.raises(KeyRejected):
        verifier_key(data.decode("latin-1"))
    with pytest.raises(KeyRejected):
        signing_key("PRIVATE+KEY+" + data.decode("latin-1"))


@given(st.text(st.characters(codec="utf-8", min_codepoint=0x20), max_size=60).map(lambda text: text + "\n"))
def test_what_was_signed_opens_as_what_was_signed(text: str) -> None:
    assert opened(signed(text.encode(), [A]), KNOWN).text == text.encode()


@pytest.mark.parametrize("text", [b"", b"no newline", b"bell \x07\n", b"\xff\n", b"\r\n"])
def test_a_text_that_no_note_can_have_is_not_signed(text: bytes) -> None:
    with pytest.raises(NoteMisuse):
        joined(text, parsed(NOTE).signatures)


def test_a_verifier_key_is_split_at_its_first_two_plus_signs_only() -> None:
    seeds = (sha256(bytes((n,))).digest() for n in range(200))
    keys = [Ed25519Signer(SigningKey("log.example/plus", ED25519, seed)).public for seed in seeds]
    with_plus = [key for key in keys if key.text.count("+") > 2]
    assert with_plus, "of 200 keys some have a plus sign in their base64"
    assert all(verifier_key(key.text) == key for key in keys)


KEY = A.public.text


@pytest.mark.parametrize(
    "text",
    [
        KEY + " ",
        KEY.replace("+", "-", 1),
        KEY.replace("log.example", "log.eхample"),
        KEY.replace(A.key_id.hex(), A.key_id.hex().upper()) if A.key_id.hex() != A.key_id.hex().upper() else KEY + "x",
        KEY.replace(A.key_id.hex(), "00000000"),
        KEY.replace(A.key_id.hex(), ""),
        KEY[:-2],
        KEY + "=",
        "log.example/a+" + A.key_id.hex() + "+",
        "log.example/a+" + A.key_id.hex() + "+" + base64.b64encode(b"\x02" + b"k" * 32).decode(),
        "log.example/a+" + A.key_id.hex() + "+" + base64.b64encode(b"\x06" + b"k" * 32).decode(),
        "log.example/a b+" + KEY.split("+", 1)[1],
    ],
)
def test_a_verifier_key_with_one_thing_wrong_is_refused(text: str) -> None:
    with pytest.raises(KeyRejected):
        verifier_key(text)


def test_a_signing_key_is_read_back_and_never_shown() -> None:
    key = SigningKey("log.example/a", ED25519, b"s" * 32)
    text = key.private_text(Ed25519Signer(key).public.public)
    assert signing_key(text) == (key, Ed25519Signer(key).key_id)
    assert "ssss" not in repr(key)
    assert repr(b"s" * 32)[2:-1] not in repr(key)
    with pytest.raises(KeyMisuse):
        SigningKey("log.example/a", ED25519, b"short")
    with pytest.raises(KeyMisuse):
        SigningKey("", ED25519, b"s" * 32)
    with pytest.raises(KeyMisuse):
        Ed25519Signer(SigningKey("log.example/a", COSIGNATURE_ML_DSA_44, b"s" * 32))


def test_a_public_key_that_is_no_point_verifies_nothing_and_raises_nothing() -> None:
    for public in (bytes(32), b"\xff" * 32, b"\x01" + bytes(31)):
        assert not Ed25519Verifier(VerifierKey("x", ED25519, public)).holds(TEXT, b"\x01" * 64)


@given(st.text(max_size=12))
def test_base64_has_one_form(text: str) -> None:
    try:
        data = strict_base64(text)
    except ValueError:
        return
    assert base64.b64encode(data).decode() == text


def test_names_that_hide_a_space_are_no_names() -> None:
    assert is_key_name("log.example/a")
    for name in ("", "a b", "a\u2003b", "a\u0085b", "a+b", "a\nb", "\ud800", "x" * 256):
        assert not is_key_name(name)
