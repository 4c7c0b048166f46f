"""Tiles and growth: names of the specification, the same tree whichever way it grew, and tiles with one thing wrong."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence.logs import entry, tree_of

from truechimer.evidence.log import Edge, edge_of, grown
from truechimer.evidence.merkle import EMPTY_ROOT, check_consistency, check_inclusion, leaf_hash, root_of
from truechimer.evidence.tiles import (
    ENTRIES,
    LARGEST_ENTRY,
    Tile,
    TileMisuse,
    TileRejected,
    TreeReader,
    bundled,
    covering,
    entries_of,
    hashes_of,
    tile_of,
    tiles_of,
    tiles_of_level,
)


def test_names_are_those_of_the_specification() -> None:
    assert Tile(0, 1234067).path == "tile/0/x001/x234/067"
    assert Tile(1, 0, 1).path == "tile/1/000.p/1"
    assert Tile(ENTRIES, 273, 112).path == "tile/entries/273.p/112"
    assert Tile(63, 1000).path == "tile/63/x001/000"


@given(st.integers(-1, 63), st.integers(0, (1 << 63) - 1), st.integers(1, 256))
def test_a_name_reads_back(level: int, index: int, width: int) -> None:
    assert tile_of(Tile(level, index, width).path) == Tile(level, index, width)


@pytest.mark.parametrize(
    "path",
    [
        "", "tile/0/0", "tile/0/0000", "tile/00/000", "tile/64/000", "tile/0/x000/000", "tile/0/001/000", "tile/0/x001",
        "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/", "tile/0/000/", "/tile/0/000",
        "tile/-1/000", "tile/0/../0/000", "tile/8/0/000", "tile/data/000", "tile/0/x999/" * 30 + "000", "tile/0/٠٠٠",
        "tile/0/x009/x223/x372/x036/x854/x775/808",
    ],
)  # fmt: skip
def test_a_name_in_any_other_form_is_refused(path: str) -> None:
    with pytest.raises(TileRejected):
        tile_of(path)


def test_a_log_of_70_000_has_the_tiles_that_the_specification_counts() -> None:
    def of(level: int, size: int = 70_000) -> list[tuple[int, int]]:
        widths = [tile.width for tile in tiles_of_level(size, level)]
        return [(sum(w == 256 for w in widths), 0), *[(0, w) for w in widths if w < 256]]

    assert of(0) == [(273, 0), (0, 112)]
    assert of(1) == [(1, 0), (0, 17)]
    assert of(2) == [(0, 0), (0, 1)]
    assert of(3) == [(0, 0)]
    assert of(ENTRIES) == of(0)
    assert [tile.path for tile in tiles_of(256)] == ["tile/0/000", "tile/1/000.p/1", "tile/entries/000"]
    assert list(tiles_of(0)) == []


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 513, 1000])
def test_every_tile_of_a_tree_is_made_and_its_root_is_the_definitions(size: int) -> None:
    tree = tree_of(size)
    assert set(tree.tiles) >= set(tiles_of(size))
    assert tree.edge.root == root_of([leaf_hash(entry(n)) for n in range(size)]) if size else EMPTY_ROOT
    for tile in tiles_of(size):
        if tile.level == ENTRIES:
            assert entries_of(tile, tree.tiles[tile]) == tree.all[tile.first : tile.first + tile.width]


@pytest.mark.slow
def test_a_log_of_more_than_65_536_grows_the_same_in_parts_and_at_once() -> None:
    whole = tree_of(66_000)
    parts = tree_of(0)
    rng = Random(7)
    sizes = [65_535, 1, 1, 200]
    while sum(sizes) < 66_000:
        sizes.append(min(rng.randrange(1, 100), 66_000 - sum(sizes)))
    done = 0
    for size in sizes:
        parts.append(whole.all[done : done + size])
        done += size
        assert set(parts.tiles) >= set(tiles_of(done))
    assert parts.edge == whole.edge
    assert all(parts.tiles[tile] == data for tile, data in whole.tiles.items())
    for index in (0, 255, 256, 65_535, 65_536, 65_999):
        check_inclusion(
            leaf_hash(whole.all[index]), index, 66_000, proof=whole.proof(index).hashes, root=whole.edge.root
        )
    for old in (1, 256, 65_535, 65_536, 65_537):
        before = parts.reader(old)
        root = edge_of(old, lambda tile, before=before: before._fetch(tile) if tile.level >= 0 else bundled(
            whole.all[tile.first : tile.first + tile.width])).root  # fmt: skip
        check_consistency(old, root, 66_000, new_root=whole.edge.root, proof=whole.consistency(old))


@given(st.lists(st.integers(0, 400), max_size=6))
def test_the_edge_is_the_same_however_a_log_grew_and_read_back(sizes: list[int]) -> None:
    tree = tree_of(0)
    for size in sizes:
        tree.append([entry(len(tree.all) + n) for n in range(size)])
    assert tree.edge == grown(Edge(), tree.all).edge
    assert edge_of(tree.edge.size, tree.tiles.__getitem__) == tree.edge


def test_nothing_appended_changes_nothing() -> None:
    tree = tree_of(300)
    assert grown(tree.edge, []) == type(grown(tree.edge, []))(tree.edge, {})


@pytest.mark.parametrize("size", [1, 255, 256, 257, 700])
def test_proofs_from_tiles_hold(size: int) -> None:
    tree = tree_of(size)
    for index in {0, size // 3, size - 1}:
        check_inclusion(leaf_hash(entry(index)), index, size, proof=tree.proof(index).hashes, root=tree.edge.root)
    for old in {1, size // 2, size - 1, size} - {0}:
        check_consistency(old, tree_of(old).edge.root, size, new_root=tree.edge.root, proof=tree.consistency(old))


def test_a_tile_or_bundle_of_another_length_is_refused_and_names_the_entry() -> None:
    tile = Tile(ENTRIES, 3, 4)
    data = bundled([b"a", b"", b"ccc", b"d"])
    assert entries_of(tile, data) == [b"a", b"", b"ccc", b"d"]
    for wrong, first in ((data[:-1], 771), (data[:4], 769), (data + b"\x00", 771), (b"", 768), (b"\xff\xff", 768)):
        with pytest.raises(TileRejected) as caught:
            entries_of(tile, wrong)
        assert caught.value.entry == first
    with pytest.raises(TileRejected) as caught:
        hashes_of(Tile(0, 2), bytes(8191))
    assert caught.value.entry == 512


def test_an_entry_of_16_bits_of_length_goes_in_and_no_longer() -> None:
    longest = b"x" * LARGEST_ENTRY
    assert entries_of(Tile(ENTRIES, 0, 1), bundled([longest])) == [longest]
    with pytest.raises(TileMisuse):
        grown(Edge(), [longest + b"x"])


def test_what_no_tree_has_is_not_asked_for() -> None:
    for call in (
        lambda: covering(0, 5, 5),
        lambda: Tile(64, 0),
        lambda: Tile(0, 0, 0),
        lambda: Tile(0, -1),
        lambda: TreeReader(5, lambda tile: b"").nodes([(3, 0)]),
    ):
        with pytest.raises(TileMisuse):
            call()


@given(st.binary(max_size=80), st.integers(1, 256))
def test_any_bytes_are_a_bundle_in_its_one_form_or_refused(data: bytes, width: int) -> None:
    tile = Tile(ENTRIES, 0, width)
    try:
        found = entries_of(tile, data)
    except TileRejected:
        return
    assert bundled(found) == data
