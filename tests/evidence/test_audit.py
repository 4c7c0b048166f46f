"""The audit of a whole log: whatever was changed anywhere is found, and the first bad entry is named."""

import json
from collections.abc import Callable
from random import Random

import pytest
from tests.evidence.logs import LOG, NOW_S, ORIGIN, POLICY_TEXT, Tree, tree_of

from truechimer.evidence.audit import MOST_MISSING, audit
from truechimer.evidence.checkpoint import Checkpoint
from truechimer.evidence.cosignature import signer_of
from truechimer.evidence.log import Edge, grown
from truechimer.evidence.log_policy import CheckpointDistrusted, log_policy
from truechimer.evidence.record import GENESIS, Chain, seal
from truechimer.evidence.tiles import ENTRIES, Tile, bundled, tile_of, tiles_of
from truechimer.quorum.note import signed

POLICY = log_policy(POLICY_TEXT)
Files = dict[str, bytes]


def records(number: int) -> list[bytes]:
    """Records of the real kind, chained."""
    chain, out = Chain(0, GENESIS), []
    for n in range(number):
        one, chain = seal("test", {"n": n, "text": "x" * (n % 7)}, chain)
        out.append(one.data)
    return out


def log_of(number: int) -> Tree:
    tree = Tree(Edge(), {}, [])
    tree.append(records(number))
    return tree


def files_of(tree: Tree) -> Files:
    """The log's files: just those of its size."""
    return {tile.path: tree.tiles[tile] for tile in tiles_of(tree.edge.size)} | {"checkpoint": tree.note("w1", "w2")}


SMALL = log_of(700)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 700])
def test_a_log_as_it_was_signed_holds(size: int) -> None:
    found = audit(files_of(log_of(size)).get, POLICY)
    assert found.holds
    assert found.first_bad is None
    assert found.trusted.checkpoint.size == size


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def judge_flip(tree: Tree, files: Files, path: str, bit: int) -> None:
    """Flip one bit: the checkpoint is refused, or the one damaged thing is named."""
    changed = files | {path: flipped(files[path], bit)}
    if path == "checkpoint":
        with pytest.raises(CheckpointDistrusted):
            audit(changed.get, POLICY)
        return
    found = audit(changed.get, POLICY)
    assert not found.holds, (path, bit)
    tile = tile_of(path)
    if tile.level != ENTRIES:
        assert found.first_bad is None, "a damaged tile is said to be a tile, and no entry is accused"
        place = tile.index * 256 + bit // 8 // 32
        assert [(fault.what, fault.first) for fault in found.faults] == [("tile", place << 8 * tile.level)]
        return
    at, entry = 0, tile.first
    while at + 2 + len(tree.all[entry]) <= bit // 8:
        at, entry = at + 2 + len(tree.all[entry]), entry + 1
    assert found.first_bad == entry, (path, bit, found.faults[0])


def test_one_flipped_bit_anywhere_is_found_and_its_entry_named() -> None:
    files, rng = files_of(SMALL), Random(5)
    for path, data in files.items():
        for bit in rng.sample(range(8 * len(data)), 8):
            judge_flip(SMALL, files, path, bit)


@pytest.mark.slow
def test_one_flipped_bit_of_a_log_of_three_levels_is_found() -> None:
    large = log_of(66_000)
    files, rng = files_of(large), Random(6)
    paths = ["tile/0/255", "tile/0/257.p/208", "tile/1/000", "tile/1/001.p/1", "tile/2/000.p/1", "tile/entries/100"]
    for path in paths:
        judge_flip(large, files, path, rng.randrange(8 * len(files[path])))


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(10))
def test_ten_thousand_single_bit_changes_are_all_refused_or_named(seed: int) -> None:
    files, rng = files_of(SMALL), Random(seed)
    paths = sorted(files)
    for _ in range(1000):
        path = rng.choices(paths, [len(files[one]) if one != "checkpoint" else 40_000 for one in paths])[0]
        judge_flip(SMALL, files, path, rng.randrange(8 * len(files[path])))


def rewritten(tree: Tree, first: int, entry: bytes) -> Files:
    """The log with another entry and every tile made anew: all but the signature."""
    entries = [*tree.all[:first], entry, *tree.all[first + 1 :]]
    growth = grown(Edge(), entries)
    return {tile.path: growth.tiles[tile] for tile in tiles_of(tree.edge.size)} | {"checkpoint": tree.note("w1", "w2")}


@pytest.mark.parametrize("first", [0, 5, 256, 511, 698])
def test_a_record_that_was_changed_with_all_tiles_above_it_is_named_by_the_chain(first: int) -> None:
    body = json.loads(SMALL.all[first]) | {"text": "another"}
    other = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    assert audit(rewritten(SMALL, first, other).get, POLICY).first_bad == first


def test_a_bundle_and_its_tile_changed_together_are_found_from_the_level_above() -> None:
    files = files_of(SMALL)
    parts = rewritten(SMALL, 300, SMALL.all[300].replace(b"test", b"tesu"))
    changed = files | {path: parts[path] for path in ("tile/entries/001", "tile/0/001")}
    found = audit(changed.get, POLICY)
    assert found.first_bad == 300
    assert all(256 <= fault.first < 512 for fault in found.faults)


Change = Callable[[Files], Files]


def without(path: str) -> Change:
    return lambda files: {name: data for name, data in files.items() if name != path}


def with_(path: str, data: Callable[[bytes], bytes]) -> Change:
    return lambda files: files | {path: data(files[path])}


@pytest.mark.parametrize(
    ("change", "what", "first"),
    [
        (without("tile/entries/001"), "entry", 256),
        (without("tile/entries/002.p/188"), "entry", 512),
        (with_("tile/entries/001", lambda data: data[:-1]), "entry", 511),
        (with_("tile/entries/001", lambda data: data[:1]), "entry", 256),
        (with_("tile/entries/001", lambda data: b""), "entry", 256),
        (with_("tile/entries/000", lambda data: data + b"\x00\x00"), "tile", 0),
        (with_("tile/entries/000", lambda data: bundled(SMALL.all[256:512])), "entry", 0),
        (without("tile/0/001"), "tile", 256),
        (with_("tile/0/001", lambda data: data[:-32]), "tile", 256),
        (without("tile/1/000.p/2"), "tile", 0),
        (with_("tile/0/002.p/188", lambda data: data + data[:32]), "tile", 512),
    ],
)
def test_what_is_missing_cut_longer_or_swapped_is_named(change: Change, what: str, first: int) -> None:
    found = audit(change(files_of(SMALL)).get, POLICY)
    assert (found.faults[0].what, found.faults[0].first) == (what, first)
    assert found.first_bad == (first if what == "entry" else None)


def test_full_tiles_serve_an_older_checkpoint() -> None:
    tree = log_of(650)
    old = tree.note("w1", "w2")
    tree.append(records(800)[650:])
    files = {tile.path: tree.tiles[tile] for tile in (*tiles_of(800), *tiles_of(650)) if tile != Tile(0, 2, 138)}
    assert Tile(0, 2).path in files
    assert audit((files | {"checkpoint": old}).get, POLICY).holds


def test_no_checkpoint_is_no_evidence() -> None:
    for files in ({}, {"checkpoint": b""}, {"checkpoint": b"x" * 3_000_000}):
        with pytest.raises(CheckpointDistrusted):
            audit(files.get, POLICY)


def test_a_signed_size_that_nobody_can_hold_costs_no_time() -> None:
    head = Checkpoint(ORIGIN, (1 << 63) - 1, bytes(32))
    files = {"checkpoint": signed(head.text, [signer_of(LOG, time_s=NOW_S)]), Tile(ENTRIES, 0).path: b"x"}
    policy = log_policy(POLICY_TEXT.replace(b"quorum all", b"quorum none"))
    found = audit(files.get, policy)
    assert found.first_bad == 256
    assert str(MOST_MISSING) in found.faults[0].says


def test_entries_that_are_no_records_are_judged_too() -> None:
    tree = tree_of(10)
    parts = rewritten(tree, 4, b"\xff not JSON")
    found = audit(parts.get, POLICY)
    assert (found.faults[0].what, found.first_bad) == ("range", 0)
