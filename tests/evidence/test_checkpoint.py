"""Checkpoints, cosignatures and policies: whom a stranger believes, one thing broken at a time."""

import struct
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence.logs import LOG, NOW_S, ORIGIN, POLICY_OF_LOG, POLICY_TEXT, WITNESSES, tree_of

from truechimer.evidence import cosignature
from truechimer.evidence.checkpoint import Checkpoint, CheckpointMisuse, CheckpointRejected, checkpoint, decimal
from truechimer.evidence.cosignature import (
    Cosigner,
    cosigned_text,
    cosigned_tree,
    private_key,
    public_key,
    signer_of,
    time_of,
    verifier_of,
)
from truechimer.evidence.log_policy import CheckpointDistrusted, LogPolicyRejected, judged, log_policy
from truechimer.evidence.merkle import EMPTY_ROOT
from truechimer.quorum.keys import ED25519, KeyMisuse, KeyRejected, SigningKey, VerifierKey, base64_of
from truechimer.quorum.note import NoteSignature, joined, parsed, signed

TREE = tree_of(70)
TEXT = TREE.checkpoint.text
POLICY = log_policy(POLICY_TEXT)


def test_a_checkpoint_is_written_as_the_specification_shows() -> None:
    root = bytes.fromhex("0a") + bytes(31)
    head = Checkpoint("example.com/behind-the-sofa", 20852163, root)
    assert head.text == b"example.com/behind-the-sofa\n20852163\n" + base64_of(root).encode() + b"\n"
    assert checkpoint(head.text) == head
    assert checkpoint(head.text + b"extension\n").extensions == ("extension",)
    assert checkpoint(Checkpoint("a", 0, EMPTY_ROOT).text).size == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"70\n", b"070\n"),
        (b"70\n", b"+70\n"),
        (b"70\n", b"-70\n"),
        (b"70\n", b"7_0\n"),
        (b"70\n", b" 70\n"),
        (b"70\n", b"0x46\n"),
        (b"70\n", b"\n"),
        (b"70\n", "७०\n".encode()),
        (b"70\n", b"9223372036854775808\n"),
        (b"70\n", b"18446744073709551615\n"),
        (b"70\n", b"9" * 5000 + b"\n"),
        (b"70\n", b"0\n"),
        (ORIGIN.encode() + b"\n", b"\n"),
        (b"=\n", b"\n"),
        (b"=\n", b"=\n\n"),
        (b"=\n", b"=\n\next\n"),
        (b"=\n", b"="),
        (b"=\n", b"=\r\n"),
        (TEXT, b""),
        (TEXT, b"\n\n\n"),
        (TEXT, TEXT[:-5]),
    ],
)
def test_a_checkpoint_in_any_other_form_is_refused(old: bytes, new: bytes) -> None:
    assert old in TEXT
    with pytest.raises(CheckpointRejected):
        checkpoint(TEXT.replace(old, new, 1))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_checkpoint_in_its_one_form_or_refused(data: bytes) -> None:
    try:
        head = checkpoint(data)
    except CheckpointRejected:
        return
    assert head.text == data


def test_what_is_no_checkpoint_is_not_written() -> None:
    for head in (
        Checkpoint("a\nb", 1, bytes(32)),
        Checkpoint("", 1, bytes(32)),
        Checkpoint("a", 1 << 63, bytes(32)),
        Checkpoint("a", -1, bytes(32)),
        Checkpoint("a", 1, bytes(31)),
        Checkpoint("a", 0, bytes(32)),
        Checkpoint("a", 1, bytes(32), ("",)),
        Checkpoint("\ud800", 1, bytes(32)),
    ):
        with pytest.raises(CheckpointMisuse):
            _ = head.text


def test_the_largest_size_is_read_and_no_larger() -> None:
    assert decimal("9223372036854775807") == (1 << 63) - 1
    for text in ("9223372036854775808", "1e3", "", "00", "1\n"):
        with pytest.raises(ValueError, match="one form"):
            decimal(text)


def test_what_is_cosigned_is_laid_out_as_the_specification_says() -> None:
    assert cosigned_text(TEXT, 1679315147) == b"cosignature/v1\ntime 1679315147\n" + TEXT
    made = cosigned_tree(TEXT, 5, name="w")
    assert made == (
        b"subtree/v1\n\x00" + b"\x01w" + struct.pack(">Q", 5) + bytes((len(ORIGIN),)) + ORIGIN.encode()
        + struct.pack(">QQ", 0, 70) + TREE.edge.root
    )  # fmt: skip


@pytest.mark.parametrize("name", WITNESSES)
def test_a_cosignature_holds_for_its_text_its_time_and_its_witness_only(name: str) -> None:
    key = WITNESSES[name]
    made = Cosigner(key, NOW_S).sign(TEXT)
    verifier = verifier_of(public_key(key))
    assert verifier.holds(TEXT, made)
    assert time_of(NoteSignature(key.name, b"", made)) == NOW_S
    assert not verifier.holds(TEXT.replace(b"70\n", b"71\n"), made)
    assert not verifier.holds(b"no checkpoint\n", made)
    assert not verifier.holds(TEXT, struct.pack(">Q", NOW_S + 1) + made[8:])
    assert not verifier.holds(TEXT, made[8:])
    assert not verifier.holds(TEXT, made + b"\x00")
    assert not verifier.holds(TEXT, b"")
    other = replace(key, name=key.name + "x")
    named = verifier_of(public_key(other))
    # Ed25519 does not cover the name (the key's id does); ML-DSA-44 covers it
    assert named.holds(TEXT, made) is (key.kind == 4)


def test_a_time_beyond_63_bits_is_no_time() -> None:
    key = WITNESSES["w1"]
    late = Cosigner(key, (1 << 63) - 1)
    assert verifier_of(public_key(key)).holds(TEXT, late.sign(TEXT))
    beyond = Cosigner(key, 1)
    beyond._time_s = 1 << 63
    assert not verifier_of(public_key(key)).holds(TEXT, beyond.sign(TEXT))
    for time_s in (0, -1, 1 << 63):
        with pytest.raises(KeyMisuse):
            Cosigner(key, time_s)


def test_where_ml_dsa_is_absent_its_keys_are_refused_by_name_never_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    public = public_key(WITNESSES["w3"])
    monkeypatch.setattr(cosignature, "mldsa", None)
    with pytest.raises(KeyRejected, match="ML-DSA-44"):
        verifier_of(public)
    with pytest.raises(LogPolicyRejected, match=r"line 5.*ML-DSA-44"):
        log_policy(POLICY_TEXT)
    with pytest.raises(KeyMisuse):
        public_key(WITNESSES["w3"])


@pytest.mark.parametrize("key", [LOG, *WITNESSES.values()], ids=lambda key: key.name)
def test_a_private_key_comes_back_from_its_text_and_a_damaged_one_does_not(key: SigningKey) -> None:
    text = key.private_text(public_key(key).public)
    assert private_key(text + "\n") == key
    for changed in (text[:-4] + "AAA=", text.replace("example", "exemple"), text[12:], text[:-1], ""):
        with pytest.raises(KeyRejected):
            private_key(changed)


def test_a_checkpoint_that_two_of_three_witnesses_saw_is_believed() -> None:
    for pair in (("w1", "w2"), ("w1", "w3"), ("w2", "w3"), ("w1", "w2", "w3")):
        trusted = judged(TREE.note(*pair), POLICY)
        assert trusted.checkpoint == TREE.checkpoint
        assert dict(trusted.witnessed) == dict.fromkeys(pair, NOW_S)


def test_too_few_witnesses_do_not_make_a_quorum() -> None:
    for some in ((), ("w1",), ("w3",)):
        with pytest.raises(CheckpointDistrusted) as caught:
            judged(TREE.note(*some), POLICY)
        assert caught.value.reason == "quorum"


def test_one_witness_twice_at_two_times_is_one_witness() -> None:
    again = [*parsed(TREE.note("w1")).signatures, *parsed(TREE.note("w1", time_s=NOW_S + 9)).signatures]
    with pytest.raises(CheckpointDistrusted) as caught:
        judged(joined(TEXT, again), POLICY)
    assert caught.value.reason == "quorum"


def test_witnesses_without_the_log_and_a_log_that_speaks_for_another_are_refused() -> None:
    only_witnesses = joined(TEXT, parsed(TREE.note("w1", "w2")).signatures[1:])
    other = replace(TREE.checkpoint, origin="other.example/log").text
    for note, reason in (
        (only_witnesses, "unknown-log"),
        (  # a log that speaks for another
            signed(other, [signer_of(LOG, time_s=NOW_S), *[Cosigner(WITNESSES[w], NOW_S) for w in ("w1", "w2")]]),
            "origin",
        ),
        (signed(TEXT, [signer_of(SigningKey(ORIGIN, ED25519, b"X" * 32), time_s=1)]), "unknown-log"),
        (b"not a note", "malformed"),
        (signed(b"not a checkpoint\n", [signer_of(LOG, time_s=NOW_S)]), "malformed"),
    ):
        with pytest.raises(CheckpointDistrusted) as caught:
            judged(note, POLICY)
        assert caught.value.reason == reason


def test_a_witness_that_signed_something_else_spoils_the_note_though_it_is_not_needed() -> None:
    lines = parsed(TREE.note("w1", "w2", "w3")).signatures
    bad = replace(lines[3], signature=lines[3].signature[:-1] + bytes((lines[3].signature[-1] ^ 1,)))
    with pytest.raises(CheckpointDistrusted) as caught:
        judged(joined(TEXT, [*lines[:3], bad]), POLICY)
    assert (caught.value.reason, caught.value.who) == ("bad-signature", WITNESSES["w3"].name)


W = {name: public_key(key).text for name, key in WITNESSES.items()}
L = public_key(LOG).text


def test_groups_of_groups_count_each_witness_in_one_way() -> None:
    policy = log_policy(
        f"log {L} https://log.example/\n\t witness  w1\t{W['w1']}\nwitness w2 {W['w2']} https://w2.example/\n"
        f"witness w3 {W['w3']}\ngroup two any w1 w2\n  # two levels\ngroup both all two w3\nquorum both\n".encode()
    )
    assert policy.logs[0].url == "https://log.example/"
    assert [policy.fulfilled(frozenset(s)) for s in ((), ("w1",), ("w1", "w2"), ("w1", "w3"), ("w2", "w3"))] == [
        False, False, False, True, True,
    ]  # fmt: skip
    assert log_policy(b"quorum none\n").fulfilled(frozenset())
    assert judged(TREE.note(), log_policy(POLICY_OF_LOG)).witnessed == {}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 0),
        (f"log {L}\n", 0),
        ("quorum none\nquorum none\n", 2),
        ("quorum nobody\n", 1),
        (f"quorum w1\nwitness w1 {W['w1']}\n", 1),
        (f"log {L}\nlog {L}\nquorum none\n", 2),
        (f"witness a {W['w1']}\nwitness b {W['w1']}\nquorum none\n", 2),
        (f"witness a {W['w1']}\nwitness a {W['w2']}\nquorum none\n", 2),
        (f"witness none {W['w1']}\nquorum none\n", 1),
        (f"witness a {L}\nquorum none\n", 1),
        (f"witness a {W['w1'][:-3]}\nquorum none\n", 1),
        (f"witness a {W['w1']}\ngroup g 2 a\nquorum g\n", 2),
        (f"witness a {W['w1']}\ngroup g 0 a\nquorum g\n", 2),
        (f"witness a {W['w1']}\ngroup g 01 a\nquorum g\n", 2),
        (f"witness a {W['w1']}\ngroup g +1 a\nquorum g\n", 2),
        (f"witness a {W['w1']}\ngroup g all\nquorum g\n", 2),
        (f"witness a {W['w1']}\ngroup g any a a\nquorum g\n", 2),
        (f"witness a {W['w1']}\ngroup g any a\ngroup h any a\nquorum h\n", 3),
        (f"witness a {W['w1']}\ngroup g any g\nquorum g\n", 2),
        (f"witness a {W['w1']}\ngroup g any none\nquorum g\n", 2),
        ("quorum none # a comment is a line of its own\n", 1),
        ("Quorum none\n", 1),
        ("quorum none\r\n", 1),
        ("quorum none\n\x0c\n", 2),
        ("quorum none", 1),
        ("quorum none\nlog\n", 2),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused_at_its_line(text: str, line: int) -> None:
    with pytest.raises(LogPolicyRejected) as caught:
        log_policy(text.encode())
    assert caught.value.line == line


@given(st.binary(max_size=200))
def test_any_bytes_are_a_policy_or_refused(data: bytes) -> None:
    with pytest.raises(LogPolicyRejected):
        log_policy(data + b"\nlog x\n")


@pytest.mark.parametrize("names", [("w1", "w2"), ("w1", "w3")])
def test_no_bit_of_a_note_with_just_enough_witnesses_may_change(names: tuple[str, str]) -> None:
    note = TREE.note(*names)
    for bit in Random(names[1]).sample(range(8 * len(note)), 150):
        changed = bytearray(note)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CheckpointDistrusted):
            judged(bytes(changed), POLICY)


def test_a_key_of_another_kind_is_not_judged() -> None:
    with pytest.raises(KeyRejected):
        VerifierKey("x", 2, b"k" * 32)
