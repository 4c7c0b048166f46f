"""The tree: third-party proofs, every proof of every small tree, and proofs with one thing wrong."""

import base64
import json
import tarfile
from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import SHARED_DATA

from truechimer.evidence.merkle import (
    EMPTY_ROOT,
    MOST_ENTRIES,
    Frontier,
    Node,
    ProofRejected,
    TreeMisuse,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    parts,
    perfect_root,
    root_by_inclusion,
    root_of,
)

LEAVES = [leaf_hash(n.to_bytes(2)) for n in range(260)]


def plain_root(leaves: Sequence[bytes]) -> bytes:
    """The definition of RFC 6962 section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return node_hash(plain_root(leaves[:half]), plain_root(leaves[half:]))


def nodes(wanted: Sequence[Node]) -> list[bytes]:
    return [perfect_root(LEAVES[index << level : (index + 1) << level]) for level, index in wanted]


ROOTS = [plain_root(LEAVES[:size]) for size in range(len(LEAVES) + 1)]


@pytest.mark.shared_data
def test_the_inclusion_proofs_of_another_project_are_judged_as_it_judges_them() -> None:
    judged = 0
    with tarfile.open(SHARED_DATA / "guard" / "tlog" / "merkle_inclusion" / "inclusion.tar.gz") as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            if file is None:
                continue
            case = json.load(file)
            root, leaf = (base64.b64decode(case[name] or "") for name in ("root", "leafHash"))
            proof = [base64.b64decode(one) for one in case["proof"] or ()]
            try:
                check_inclusion(leaf, case["leafIdx"], case["treeSize"], proof=proof, root=root)
                refused = False
            except ProofRejected:
                refused = True
            assert refused is case["wantErr"], (member.name, case["desc"])
            judged += 1
    assert judged == 98


def test_roots_and_the_growing_edge_are_those_of_the_definition() -> None:
    assert ROOTS[0] == EMPTY_ROOT
    edge = Frontier()
    for size, root in enumerate(ROOTS):
        assert edge.root == root
        assert root_of(LEAVES[:size]) == root if size else True
        edge = edge.extended(LEAVES[size : size + 1])
    assert Frontier().extended(LEAVES[:100]).extended(LEAVES[100:]).root == ROOTS[-1]


def test_every_proof_of_every_small_tree_holds() -> None:
    for size in (*range(1, 34), 63, 64, 65, 255, 256, 257):
        for index in range(size) if size < 34 else (0, 1, size // 2, size - 2, size - 1):
            proof = inclusion_proof(index, size, nodes)
            check_inclusion(LEAVES[index], index, size, proof=proof, root=ROOTS[size])
        for old in range(size + 1):
            proof = consistency_proof(old, size, nodes)
            check_consistency(old, ROOTS[old], size, new_root=ROOTS[size], proof=proof)


def test_no_proof_holds_with_one_thing_wrong() -> None:
    other = leaf_hash(b"other")
    for size in (1, 2, 3, 7, 8, 21, 64, 257):
        for index in {0, size // 2, size - 1}:
            proof = inclusion_proof(index, size, nodes)
            wrong = [
                (other, index, size, proof),
                (LEAVES[index], index, size, (*proof, other)),
                (LEAVES[index], index, size, (other, *proof)),
                (LEAVES[index], index + 1, size, proof),
                (LEAVES[index], index, index, proof),
                (LEAVES[index], -1, size, proof),
                (LEAVES[index][:-1], index, size, proof),
                *[(LEAVES[index], index, size, (*proof[:n], other, *proof[n + 1 :])) for n in range(len(proof))],
                *[(LEAVES[index], index, size, (*proof[:n], *proof[n + 1 :])) for n in range(len(proof))],
            ]
            for leaf, at, of, hashes in wrong:
                with pytest.raises(ProofRejected):
                    check_inclusion(leaf, at, of, proof=hashes, root=ROOTS[size])


def test_no_consistency_holds_with_one_thing_wrong() -> None:
    other = leaf_hash(b"other")
    for old, new in ((1, 2), (1, 8), (3, 7), (6, 8), (8, 9), (64, 257), (100, 256), (4, 4), (0, 5), (0, 0)):
        proof = consistency_proof(old, new, nodes)
        wrong = [
            (old, other, new, ROOTS[new], proof),
            (old, ROOTS[old], new, ROOTS[new], (*proof, other)),
            (old, ROOTS[old], new, ROOTS[new], (other, *proof)),
            (new + 1, ROOTS[new + 1], new, ROOTS[new], proof),
            (-1, ROOTS[old], new, ROOTS[new], proof),
            *[(old, ROOTS[old], new, ROOTS[new], (*proof[:n], other, *proof[n + 1 :])) for n in range(len(proof))],
            *[(old, ROOTS[old], new, ROOTS[new], (*proof[:n], *proof[n + 1 :])) for n in range(len(proof))],
            *([(old, ROOTS[old], new, other, proof)] if old else []),
        ]
        for small, small_root, large, large_root, hashes in wrong:
            with pytest.raises(ProofRejected):
                check_consistency(small, small_root, large, new_root=large_root, proof=hashes)


def test_an_empty_tree_with_any_other_root_is_no_beginning() -> None:
    with pytest.raises(ProofRejected):
        check_consistency(0, LEAVES[0], 1, new_root=ROOTS[1], proof=())


@pytest.mark.parametrize("size", [1 << 63, 1 << 64, (1 << 200) + 1])
def test_sizes_beyond_63_bits_are_refused_at_once(size: int) -> None:
    with pytest.raises(ProofRejected, match="there is none"):
        root_by_inclusion(LEAVES[0], 0, size, ())
    with pytest.raises(ProofRejected):
        check_consistency(1, LEAVES[0], size, new_root=LEAVES[0], proof=())


def test_the_largest_tree_takes_63_hashes() -> None:
    assert len(root_by_inclusion(LEAVES[0], 0, MOST_ENTRIES, LEAVES[:63])) == 32
    with pytest.raises(ProofRejected, match="needs 63"):
        root_by_inclusion(LEAVES[0], 0, MOST_ENTRIES, LEAVES[:62])


@given(st.integers(1, 10**6), st.data())
def test_a_proof_of_a_large_tree_is_short(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, lambda wanted: [LEAVES[0] for _ in wanted])
    assert 33 * len(proof) <= 4096
    root_by_inclusion(LEAVES[1], index, size, proof)


def test_what_is_not_there_is_not_proved() -> None:
    for call in (
        lambda: inclusion_proof(5, 5, nodes),
        lambda: consistency_proof(6, 5, nodes),
        lambda: perfect_root(LEAVES[:3]),
        lambda: perfect_root([]),
    ):
        with pytest.raises(TreeMisuse):
            call()


@given(st.integers(0, 40), st.integers(0, 400))
def test_parts_cover_a_range_without_gap_or_overlap(first: int, length: int) -> None:
    first <<= 10
    at = first
    for level, index in parts(first, first + length):
        assert index << level == at
        at += 1 << level
    assert at == first + length
