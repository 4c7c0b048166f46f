"""The Merkle tree of RFC 6962: hashes, roots, proofs that an entry is in, proofs that a tree only grew.

It keeps no tree: whoever has one answers `Nodes` (perfect subtrees by level and index). Proofs are judged as RFC 9162
sections 2.1.3.2 and 2.1.4.2 say, from sizes and hashes alone.

Law of the file: a size or index from outside is below 2^63, and a proof has exactly the length its sizes ask for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from truechimer.errors import Misuse, Rejected

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
MOST_ENTRIES = (1 << 63) - 1
"""The largest size that is read: what a signed 64-bit integer holds."""

Node = tuple[int, int]
"""Level and index of a perfect subtree: the hash over entries [index << level, (index + 1) << level)."""
Nodes = Callable[[Sequence[Node]], Sequence[bytes]]
"""Returns the hashes of perfect subtrees."""


class ProofRejected(Rejected):
    """A proof that proves nothing. `reason`: `size`, `length`, `hash-length`, `root`."""

    def __init__(self, reason: str, says: str) -> None:
        """Keep the reason."""
        super().__init__(says)
        self.reason = reason


class TreeMisuse(Misuse):
    """An entry or a size outside the tree was asked for."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry; the byte 0 keeps it apart from nodes."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash over two subtrees; the byte 1 keeps it apart from entries."""
    return sha256(b"\x01" + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over 1, 2, 4, 8 ... hashes."""
    row = list(hashes)
    if not row or len(row) & (len(row) - 1):
        raise TreeMisuse(f"{len(row)} hashes make no perfect subtree")
    while len(row) > 1:
        row = [sha256(b"\x01" + row[n] + row[n + 1]).digest() for n in range(0, len(row), 2)]
    return row[0]


def folded(roots: Sequence[bytes]) -> bytes:
    """Return the root over perfect subtrees that stand side by side, the larger first; of none, the empty tree's."""
    if not roots:
        return EMPTY_ROOT
    root = roots[-1]
    for left in reversed(roots[:-1]):
        root = node_hash(left, root)
    return root


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root over the leaf hashes of a whole tree."""
    return folded(
        [perfect_root(hashes[first << level : (first + 1) << level]) for level, first in parts(0, len(hashes))]
    )


def parts(first: int, end: int) -> list[Node]:
    """Return the perfect subtrees that make up entries [first, end), a subtree that begins at `first`; larger first."""
    out = []
    while first < end:
        level = (end - first).bit_length() - 1
        if first:
            level = min(level, (first & -first).bit_length() - 1)
        out.append((level, first >> level))
        first += 1 << level
    return out


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: all that is needed to go on with it (a compact range from 0).

    Invariant: `roots` are those of `parts(0, size)`.
    """

    size: int = 0
    roots: tuple[bytes, ...] = ()

    def extended(self, hashes: Sequence[bytes]) -> "Frontier":
        """Return the edge after these leaf hashes."""
        roots, size = list(self.roots), self.size
        for one in hashes:
            rest = size
            while rest & 1:
                one = sha256(b"\x01" + roots.pop() + one).digest()
                rest >>= 1
            roots.append(one)
            size += 1
        return Frontier(size, tuple(roots))

    @property
    def root(self) -> bytes:
        """Return the root hash."""
        return folded(self.roots)


def _siblings(index: int, size: int) -> list[tuple[int, int]]:
    """Return the ranges of entries whose roots prove `index`, from the leaf's sibling to the root's child."""
    first, end, out = 0, size, []
    while end - first > 1:
        half = first + (1 << ((end - first - 1).bit_length() - 1))
        if index < half:
            out.append((half, end))
            end = half
        else:
            out.append((first, half))
            first = half
    return out[::-1]


def _hashes(ranges: Sequence[tuple[int, int]], nodes: Nodes) -> tuple[bytes, ...]:
    """Return the root of each range, asking for all nodes at once."""
    wanted = [parts(first, end) for first, end in ranges]
    answers = iter(nodes([node for one in wanted for node in one]))
    return tuple(folded([next(answers) for _ in one]) for one in wanted)


def inclusion_proof(index: int, size: int, nodes: Nodes) -> tuple[bytes, ...]:
    """Return the proof that entry `index` is in the tree of `size`; raises `TreeMisuse` where there is none."""
    if not 0 <= index < size:
        raise TreeMisuse(f"entry {index} is not in a tree of {size}")
    return _hashes(_siblings(index, size), nodes)


def consistency_proof(old: int, new: int, nodes: Nodes) -> tuple[bytes, ...]:
    """Return the proof that the tree of `new` entries begins with that of `old`; empty for equal sizes and old 0."""
    if not 0 <= old <= new:
        raise TreeMisuse(f"a tree of {new} does not begin with one of {old}")
    if old in {0, new}:
        return ()
    first, end, ranges, whole = 0, new, [], True
    while old != end:
        half = first + (1 << ((end - first - 1).bit_length() - 1))
        if old <= half:
            ranges.append((half, end))
            end = half
        else:
            ranges.append((first, half))
            first, whole = half, False
    if not whole:
        ranges.append((first, end))
    return _hashes(ranges[::-1], nodes)


def root_by_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root that a proof leads to (RFC 9162 2.1.3.2); raises `ProofRejected` for sizes and lengths."""
    if not 0 <= index < size <= MOST_ENTRIES:
        raise ProofRejected("size", f"entry {index} in a tree of {size}: there is none")
    _whole_hashes((leaf, *proof))
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    if len(proof) != inner + border:
        raise ProofRejected("length", f"{len(proof)} hashes: entry {index} of {size} needs {inner + border}")
    root = leaf
    for level, sibling in enumerate(proof):
        left = level >= inner or (index >> level) & 1
        root = node_hash(sibling, root) if left else node_hash(root, sibling)
    return root


def check_inclusion(leaf: bytes, index: int, size: int, *, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf hash stands at `index` of the tree with that size and root; raises `ProofRejected`."""
    if root_by_inclusion(leaf, index, size, proof) != root:
        raise ProofRejected("root", f"the proof of entry {index} leads to another root than the tree of {size} has")


def check_consistency(old: int, old_root: bytes, new: int, *, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `new` entries begins with that of `old` (RFC 9162 2.1.4.2); raises `ProofRejected`."""
    if not 0 <= old <= new <= MOST_ENTRIES:
        raise ProofRejected("size", f"a tree of {new} cannot begin with one of {old}")
    _whole_hashes(proof if old == new else (old_root, new_root, *proof))
    for size, root in ((old, old_root), (new, new_root)):
        if size == 0 and root != EMPTY_ROOT:
            raise ProofRejected("root", "the root of an empty tree is SHA-256 of nothing")
    if old in {0, new}:
        if proof:
            raise ProofRejected("length", f"{len(proof)} hashes: from {old} to {new} none are needed")
        if old == new and old_root != new_root:
            raise ProofRejected("root", f"two roots for one size, {old}: the log shows different trees")
        return
    last, end, steps = old - 1, new - 1, iter(proof)
    while last & 1:
        last, end = last >> 1, end >> 1
    needed = _consistency_length(old, new)
    if len(proof) != needed:
        raise ProofRejected("length", f"{len(proof)} hashes: from {old} to {new} it takes {needed}")
    first = old_root if last == 0 and old & (old - 1) == 0 else next(steps)
    by_old = by_new = first
    for one in steps:
        if last & 1 or last == end:
            by_old, by_new = node_hash(one, by_old), node_hash(one, by_new)
            while last and not last & 1:
                last, end = last >> 1, end >> 1
        else:
            by_new = node_hash(by_new, one)
        last, end = last >> 1, end >> 1
    if by_old != old_root:
        raise ProofRejected("root", f"the proof does not begin with the tree of {old}: entries before it were changed")
    if by_new != new_root:
        raise ProofRejected("root", f"the proof from {old} leads to another root than the tree of {new} has")


def _consistency_length(old: int, new: int) -> int:
    """Return how many hashes prove `new` over `old`, 0 < old < new."""
    first, end, count, whole = 0, new, 0, True
    while old != end:
        half = first + (1 << ((end - first - 1).bit_length() - 1))
        count += 1
        if old <= half:
            end = half
        else:
            first, whole = half, False
    return count + (not whole)


def _whole_hashes(hashes: Sequence[bytes]) -> None:
    """Refuse hashes that are none."""
    for one in hashes:
        if len(one) != HASH_BYTES:
            raise ProofRejected("hash-length", f"a hash of {len(one)} bytes: SHA-256 has {HASH_BYTES}")
