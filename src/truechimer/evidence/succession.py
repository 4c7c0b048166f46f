"""What a key that signs tree heads may sign next: never a smaller tree, never another one of the same size, never one
that does not begin with the last.

It keeps nothing: whoever holds the key stores the new head *before* a signature leaves (the log's signer, a witness).
Source: C2SP tlog-witness, add-checkpoint; tlog-checkpoint, "Signatures".
"""

from collections.abc import Sequence
from dataclasses import dataclass

from truechimer.evidence.checkpoint import Checkpoint
from truechimer.evidence.merkle import EMPTY_ROOT, ProofRejected, check_consistency


@dataclass(frozen=True, slots=True)
class Head:
    """The last tree that a key signed of one log; of a log never seen, the empty tree."""

    size: int = 0
    root: bytes = EMPTY_ROOT


@dataclass(frozen=True, slots=True)
class NotNext:
    """Why a tree is not signed. `reason`: `smaller`, `old-size` (the caller knows another last tree), `proof`."""

    reason: str
    says: str


def next_head(last: Head, head: Checkpoint, *, old_size: int, proof: Sequence[bytes]) -> Head | NotNext:
    """Return the head to store before signing `head`, or why it is not signed.

    `old_size`: the last tree as the caller knows it; `proof`: that `head` begins with it.
    """
    if old_size > head.size:
        return NotNext("smaller", f"size {head.size} after {old_size}: a log does not shrink")
    if old_size != last.size:
        return NotNext("old-size", f"the last tree signed has {last.size} entries, not {old_size}")
    try:
        check_consistency(last.size, last.root, head.size, new_root=head.root, proof=proof)
    except ProofRejected as error:
        return NotNext("proof", str(error))
    return Head(head.size, head.root)
