"""A proof that one entry is in a log, in one file that needs nothing but a policy: C2SP tlog-proof v1.

It does not know what the entry says. Source: C2SP tlog-proof.
"""

from dataclasses import dataclass

from truechimer.errors import Rejected
from truechimer.evidence.checkpoint import decimal, hash_of
from truechimer.evidence.log_policy import LogPolicy, TrustedCheckpoint, judged
from truechimer.evidence.merkle import MOST_ENTRIES, check_inclusion, leaf_hash
from truechimer.quorum.keys import base64_of, strict_base64
from truechimer.quorum.note import LARGEST_NOTE

HEADER = "c2sp.org/tlog-proof@v1"
MOST_HASHES = 63
LARGEST_PROOF = LARGEST_NOTE + (1 << 20)


class ProofFileRejected(Rejected):
    """Bytes that should be a proof file are none. `line` counts from 1; 0 where it is the whole."""

    def __init__(self, line: int, why: str) -> None:
        """Keep the line."""
        super().__init__(f"proof, line {line}: {why}" if line else f"proof: {why}")
        self.line, self.why = line, why


@dataclass(frozen=True, slots=True)
class ProofFile:
    """The place of an entry, the hashes from its sibling to the root's child, and the checkpoint's note.

    `extra` is whatever the maker added; nothing signs it. None where the line is absent.
    """

    index: int
    hashes: tuple[bytes, ...]
    note: bytes
    extra: bytes | None = None

    @property
    def data(self) -> bytes:
        """Return the file's bytes."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {base64_of(self.extra)}")
        lines.append(f"index {self.index}")
        lines.extend(base64_of(one) for one in self.hashes)
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.note


def proof_file(data: bytes) -> ProofFile:
    """Read a proof file; raises `ProofFileRejected`. It verifies nothing."""
    if len(data) > LARGEST_PROOF:
        raise ProofFileRejected(0, f"{len(data)} bytes: {LARGEST_PROOF} are the most that are read")
    head, blank, note = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise ProofFileRejected(0, "what stands above the checkpoint is not ASCII") from None
    if lines[0] != HEADER:
        raise ProofFileRejected(1, f"does not begin with {HEADER}")
    if not blank:
        raise ProofFileRejected(len(lines), "ends before the checkpoint")
    extra: bytes | None = None
    at = 1
    if lines[at:] and lines[at].startswith("extra "):
        try:
            extra = strict_base64(lines[at].removeprefix("extra "))
        except ValueError as error:
            raise ProofFileRejected(at + 1, f"extra: {error}") from None
        at += 1
    if not lines[at:] or not lines[at].startswith("index "):
        raise ProofFileRejected(at + 1, "has no index")
    try:
        index = decimal(lines[at].removeprefix("index "))
    except ValueError as error:
        raise ProofFileRejected(at + 1, f"index: {error}") from None
    rows = lines[at + 1 :]
    if len(rows) > MOST_HASHES:
        raise ProofFileRejected(at + 2, f"{len(rows)} hashes: a tree of {MOST_ENTRIES} has no more than {MOST_HASHES}")
    hashes = []
    for number, row in enumerate(rows, start=at + 2):
        try:
            hashes.append(hash_of(row))
        except ValueError as error:
            raise ProofFileRejected(number, f"hash: {error}") from None
    return ProofFile(index, tuple(hashes), note, extra)


def check_entry(entry: bytes, proof: ProofFile, policy: LogPolicy) -> TrustedCheckpoint:
    """Check that `entry` is in a log that the policy believes, at the proof's index; return the checkpoint.

    Raises `CheckpointDistrusted` where the policy does not accept the checkpoint, `ProofRejected` where the hashes do
    not lead to it.
    """
    trusted = judged(proof.note, policy)
    head = trusted.checkpoint
    check_inclusion(leaf_hash(entry), proof.index, head.size, proof=proof.hashes, root=head.root)
    return trusted
