"""The witness: what it cosigns, what it refuses and with which status, and what the log makes of its answers."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence.logs import LOG, NOW_S, ORIGIN, POLICY_TEXT, WITNESSES, Tree, entry, tree_of

from truechimer.evidence.checkpoint import Checkpoint
from truechimer.evidence.cosignature import Cosigner, public_key, signer_of, verifier_of
from truechimer.evidence.disclosure import (
    Disclosure,
    DisclosureMisuse,
    DisclosureRejected,
    check_disclosed,
    disclosure,
    salt_of,
)
from truechimer.evidence.log_policy import CheckpointDistrusted, judged, log_policy
from truechimer.evidence.merkle import ProofRejected
from truechimer.evidence.proof import ProofFileRejected, check_entry, proof_file
from truechimer.evidence.record import canonical
from truechimer.evidence.succession import Head
from truechimer.evidence.witnessing import (
    AddCheckpoint,
    Advance,
    Behind,
    Reply,
    RequestRejected,
    WitnessRejected,
    add_checkpoint,
    answered,
    considered,
    cosigned,
    origin_path,
)
from truechimer.quorum.keys import ED25519, SigningKey
from truechimer.quorum.note import joined, parsed, signed

LOGS = {ORIGIN: [verifier_of(public_key(LOG))]}
SIGNERS = [Cosigner(WITNESSES["w1"], NOW_S), Cosigner(WITNESSES["w3"], NOW_S)]
KEYS = [verifier_of(public_key(WITNESSES[name])) for name in ("w1", "w3")]


def note_of(text: bytes, key: SigningKey = LOG) -> bytes:
    return signed(text, [signer_of(key, time_s=1)])


OTHER_KEY = SigningKey(ORIGIN, ED25519, b"X" * 32)
OTHER_TREE = Checkpoint(ORIGIN, 40, bytes(32)).text
NO_HASH = "A" * 43 + "="


def head_of(tree: Tree) -> Head:
    return Head(tree.edge.size, tree.edge.root)


def grown_from(tree: Tree, number: int) -> Tree:
    out = tree_of(tree.edge.size)
    out.append([entry(tree.edge.size + n) for n in range(number)])
    return out


SMALL = tree_of(40)
LARGE = grown_from(SMALL, 300)
ASKED = AddCheckpoint(40, LARGE.consistency(40), LARGE.note())
SEEN = {ORIGIN: head_of(SMALL)}


def test_a_log_and_its_witness_go_through_the_whole_protocol() -> None:
    seen: dict[str, Head] = {}
    tree, last = tree_of(0), 0
    for step in (0, 1, 5, 300, 0, 20):
        tree.append([entry(tree.edge.size + n) for n in range(step)])
        asked = AddCheckpoint(last, tree.consistency(last), tree.note())
        found = considered(asked.data, logs=LOGS, seen=seen)
        assert isinstance(found, Advance)
        seen[found.origin] = found.head
        reply, shown = cosigned(found, SIGNERS)
        lines = answered(reply, asked, KEYS)
        assert not isinstance(lines, Behind)
        note = joined(tree.checkpoint.text, [*parsed(asked.note).signatures, *lines])
        assert judged(note, log_policy(POLICY_TEXT)).witnessed == {"w1": NOW_S, "w3": NOW_S}
        assert judged(shown, log_policy(POLICY_TEXT)).checkpoint == tree.checkpoint
        last = tree.edge.size


def test_a_log_that_lost_its_place_is_told_the_size_and_goes_on_from_there() -> None:
    lost = AddCheckpoint(0, (), LARGE.note())
    reply = considered(lost.data, logs=LOGS, seen=SEEN)
    assert reply == Reply(409, b"40\n", "text/x.tlog.size")
    assert answered(reply, lost, KEYS) == Behind(40)
    assert isinstance(considered(ASKED.data, logs=LOGS, seen=SEEN), Advance)


def forked() -> Tree:
    """Another log of the same origin, whose entry 17 says something else."""
    tree = tree_of(17)
    tree.append([b"other", *[entry(n) for n in range(18, 340)]])
    return tree


@pytest.mark.parametrize(
    ("asked", "status"),
    {
        "an unknown log": (AddCheckpoint(0, (), note_of(Checkpoint("x", 1, bytes(32)).text)), 404),
        "another key": (replace(ASKED, note=note_of(LARGE.checkpoint.text, OTHER_KEY)), 403),
        "a bad signature": (replace(ASKED, note=ASKED.note.replace(b"340\n", b"341\n")), 403),
        "a signature that cannot be read": (replace(ASKED, note=ASKED.note[:-3] + b"!=\n"), 403),
        "another last size": (replace(ASKED, old_size=39), 409),
        "no last size": (replace(ASKED, old_size=0, proof=()), 409),
        "an old size above the new": (replace(ASKED, old_size=341), 400),
        "a rollback": (AddCheckpoint(30, (), tree_of(30).note()), 409),
        "a rollback that says so": (AddCheckpoint(40, (), tree_of(30).note()), 400),
        "a fork": (AddCheckpoint(40, forked().consistency(40), forked().note()), 422),
        "another tree of the same size": (AddCheckpoint(40, (), note_of(OTHER_TREE)), 422),
        "no proof": (replace(ASKED, proof=()), 422),
        "a proof too long": (replace(ASKED, proof=(*ASKED.proof, bytes(32))), 422),
        "a signed text that is no checkpoint": (AddCheckpoint(0, (), note_of(f"{ORIGIN}\nx\n".encode())), 400),
        "an empty tree with a root": (AddCheckpoint(0, (), note_of(f"{ORIGIN}\n0\n{NO_HASH}\n".encode())), 422),
    }.values(),
)  # fmt: skip
def test_what_does_not_follow_is_refused_with_its_status(asked: AddCheckpoint, status: int) -> None:
    reply = considered(asked.data, logs=LOGS, seen=SEEN)
    assert isinstance(reply, Reply)
    assert reply.status == status
    if status != 409:
        with pytest.raises(WitnessRejected):
            answered(reply, asked, KEYS)


def test_a_proof_where_none_is_needed_is_refused() -> None:
    asked = AddCheckpoint(0, (bytes(32),), SMALL.note())
    reply = considered(asked.data, logs=LOGS, seen={})
    assert isinstance(reply, Reply)
    assert reply.status == 422


DATA = ASKED.data


@pytest.mark.parametrize(
    "data",
    [
        b"", b"old 40\n", b"old 40\n\n", DATA.replace(b"old 40", b"old 040"), DATA.replace(b"old 40", b"old -1"),
        DATA.replace(b"old 40", b"old 9223372036854775808"), DATA.replace(b"old 40", b"Old 40"),
        DATA.replace(b"old 40", b"old  40"), DATA.replace(b"old 40\n", b"old 40\nAAAA\n"),
        DATA.replace(b"old 40\n", f"old 40\n{NO_HASH}\n{NO_HASH[:-1]}".encode()),
        DATA.replace(b"old 40\n", b"old 40\n" + f"{NO_HASH}\n".encode() * 64), DATA.replace(b"\n", b"\r\n"),
        b"x" * 2_000_000,
    ],
)  # fmt: skip
def test_what_is_no_request_is_400(data: bytes) -> None:
    reply = considered(data, logs=LOGS, seen=SEEN)
    assert isinstance(reply, Reply)
    assert reply.status == 400


def test_a_request_reads_back_and_any_bytes_are_one_or_refused() -> None:
    assert add_checkpoint(DATA) == ASKED


@given(st.binary(max_size=300))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    reply = considered(data, logs=LOGS, seen=SEEN)
    assert isinstance(reply, Reply)
    assert 400 <= reply.status < 500
    with pytest.raises(RequestRejected):
        add_checkpoint(data + b"!")


@given(st.sampled_from([200, 409, 500, 301]), st.binary(max_size=200))
def test_any_answer_of_a_witness_counts_for_nothing_unless_it_cosigned(status: int, body: bytes) -> None:
    try:
        found = answered(Reply(status, body), ASKED, KEYS)
    except WitnessRejected:
        return
    assert isinstance(found, Behind)


def test_a_cosignature_of_another_tree_or_of_another_witness_is_refused() -> None:
    advance = considered(AddCheckpoint(0, (), SMALL.note()).data, logs=LOGS, seen={})
    assert isinstance(advance, Advance)
    reply, _ = cosigned(advance, SIGNERS)
    with pytest.raises(WitnessRejected) as caught:
        answered(reply, ASKED, KEYS)
    assert caught.value.reason == "bad-signature"
    with pytest.raises(WitnessRejected) as caught:
        answered(reply, AddCheckpoint(0, (), SMALL.note()), [verifier_of(public_key(WITNESSES["w2"]))])
    assert caught.value.reason == "not-cosigned"


def test_where_a_witness_shows_its_checkpoint_is_the_hash_of_the_origin() -> None:
    assert origin_path("a") == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb/checkpoint"


# -- proofs in one file, and disclosures ---------------------------------------------------------------------------


POLICY = log_policy(POLICY_TEXT)
PROOF = LARGE.proof(17, "w1", "w3")


def test_a_proof_file_proves_its_entry_and_no_other() -> None:
    for made in (PROOF, replace(PROOF, extra=b""), replace(PROOF, extra=b"anything \x00")):
        assert proof_file(made.data) == made
        assert check_entry(entry(17), made, POLICY).checkpoint == LARGE.checkpoint
    with pytest.raises(ProofRejected):
        check_entry(entry(18), PROOF, POLICY)
    with pytest.raises(ProofRejected):
        check_entry(entry(17), replace(PROOF, index=18), POLICY)
    with pytest.raises(CheckpointDistrusted):
        check_entry(entry(17), replace(PROOF, note=LARGE.note("w1")), POLICY)


def test_no_bit_of_a_proof_may_change() -> None:
    data = LARGE.proof(17, "w1", "w2").data
    for bit in Random(17).sample(range(8 * len(data)), 300):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((ProofFileRejected, ProofRejected, CheckpointDistrusted)):
            check_entry(entry(17), proof_file(bytes(changed)), POLICY)


TEXT = PROOF.data


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"@v1", b"@v2"), (b"index 17", b"index 017"), (b"index 17", b"index"), (b"index 17", b"index -1"),
        (b"index 17", b"index 9223372036854775808"), (b"index 17\n", b""), (b"index 17\n", b"index 17\nindex 17\n"),
        (b"index 17", b"extra !\nindex 17"), (b"index 17", b"extra\nindex 17"), (b"@v1\n", b"@v1\n\n"),
        (b"index 17\n", b"index 17\nextra \n"), (b"index 17\n", b"index 17\nAAAA\n"),
        (b"index 17\n", b"index 17\n" + f"{NO_HASH}\n".encode() * 60), (TEXT, b""), (TEXT, TEXT[:60]),
        (TEXT, b"\xff" + TEXT), (TEXT, b"c2sp.org/tlog-proof@v1\n"), (TEXT, b"x" * 3_000_000),
    ],
)  # fmt: skip
def test_a_proof_file_with_one_thing_wrong_is_refused(old: bytes, new: bytes) -> None:
    assert old in TEXT
    with pytest.raises(ProofFileRejected):
        proof_file(TEXT.replace(old, new, 1))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_as_a_proof_or_a_disclosure(data: bytes) -> None:
    with pytest.raises(ProofFileRejected):
        proof_file(data)
    with pytest.raises(DisclosureRejected):
        disclosure(data + b"\x00")
    with pytest.raises(DisclosureRejected):
        check_disclosed(data + b"\x00", Disclosure(bytes(32), b""))


def test_one_payload_is_opened_and_the_others_stay_closed() -> None:
    secret = b"s" * 32
    shown = Disclosure(salt_of(secret, "login/1"), b'{"account":"a"}')
    record = canonical({"kind": "login", "seq": 1, "commitment": shown.commitment})
    check_disclosed(record, disclosure(shown.data))
    for wrong in (
        replace(shown, payload=b'{"account":"b"}'),
        replace(shown, salt=salt_of(secret, "login/2")),
        replace(shown, salt=shown.salt[:31] + b"\x00", payload=shown.payload),
    ):
        with pytest.raises(DisclosureRejected):
            check_disclosed(record, wrong)
    assert salt_of(secret, "login/1") != salt_of(b"t" * 32, "login/1")
    with pytest.raises(DisclosureMisuse):
        salt_of(b"short", "x")
    with pytest.raises(DisclosureMisuse):
        _ = Disclosure(b"", b"x").commitment
