"""A log in memory for the tests of this room: entries, tiles, keys and notes; nothing is secret."""

from collections.abc import Sequence
from dataclasses import dataclass

from truechimer.evidence.checkpoint import Checkpoint
from truechimer.evidence.cosignature import Cosigner, public_key, signer_of
from truechimer.evidence.log import Edge, grown
from truechimer.evidence.merkle import consistency_proof, inclusion_proof
from truechimer.evidence.proof import ProofFile
from truechimer.evidence.tiles import Tile, TreeReader, covering
from truechimer.quorum.keys import COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44, ED25519, SigningKey
from truechimer.quorum.note import joined, parsed, signed

ORIGIN = "lab.example/log"
NOW_S = 1_800_000_000
LOG = SigningKey(ORIGIN, ED25519, b"L" * 32)
WITNESSES = {
    "w1": SigningKey("witness.example/1", COSIGNATURE_ED25519, b"1" * 32),
    "w2": SigningKey("witness.example/2", COSIGNATURE_ED25519, b"2" * 32),
    "w3": SigningKey("witness.example/3", COSIGNATURE_ML_DSA_44, b"3" * 32),
}
POLICY_TEXT = "\n".join(
    [
        "# whom these tests believe",
        f"log {public_key(LOG).text}",
        *[f"witness {name} {public_key(key).text}" for name, key in WITNESSES.items()],
        "group all 2 w1 w2 w3",
        "quorum all\n",
    ]
).encode()
POLICY_OF_LOG = f"log {public_key(LOG).text}\nquorum none\n".encode()


def entry(number: int) -> bytes:
    return f'{{"kind":"test","seq":{number}}}'.encode()


@dataclass
class Tree:
    """A log of some entries with all the tiles it ever had."""

    edge: Edge
    tiles: dict[Tile, bytes]
    all: list[bytes]

    def append(self, entries: Sequence[bytes]) -> None:
        growth = grown(self.edge, entries)
        self.edge = growth.edge
        self.tiles.update(growth.tiles)
        self.all.extend(entries)

    def reader(self, size: int | None = None) -> TreeReader:
        """A reader of the tree as it was at `size`, from the widest tiles there are."""

        def fetch(tile: Tile) -> bytes:
            if tile in self.tiles:
                return self.tiles[tile]
            end = covering(tile.level, tile.index * 256, self.edge.size)
            return self.tiles[end][: tile.width * 32]

        return TreeReader(self.edge.size if size is None else size, fetch)

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(ORIGIN, self.edge.size, self.edge.root)

    def note(self, *witnesses: str, time_s: int = NOW_S) -> bytes:
        data = signed(self.checkpoint.text, [signer_of(LOG, time_s=time_s)])
        for name in witnesses:
            more = signed(self.checkpoint.text, [Cosigner(WITNESSES[name], time_s)])
            data = joined(self.checkpoint.text, [*parsed(data).signatures, *parsed(more).signatures])
        return data

    def proof(self, index: int, *witnesses: str) -> ProofFile:
        hashes = inclusion_proof(index, self.edge.size, self.reader().nodes)
        return ProofFile(index, hashes, self.note(*witnesses))

    def consistency(self, old: int) -> tuple[bytes, ...]:
        return consistency_proof(old, self.edge.size, self.reader().nodes)


def tree_of(size: int) -> Tree:
    tree = Tree(Edge(), {}, [])
    tree.append([entry(number) for number in range(size)])
    return tree
