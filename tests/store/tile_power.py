"""A log's folder in memory that loses power, and a signer and a journal that do not: for the tests of `store.tiles`.

What was written and not settled is, after a cut, there, absent, older, or torn, each file by chance.
"""

from collections.abc import Iterable, Mapping, Sequence
from random import Random

from tests.evidence.logs import LOG

from truechimer.evidence.checkpoint import Checkpoint
from truechimer.evidence.cosignature import signer_of
from truechimer.evidence.merkle import leaf_hash, root_of
from truechimer.evidence.succession import Head, NotNext, next_head
from truechimer.quorum.note import signed


class PowerCut(Exception):
    """The machine went off here."""


class Power:
    """Goes off after so many calls."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise PowerCut


class LossyFiles:
    """A `store.tiles.Files`."""

    def __init__(self, disk: Mapping[str, bytes], power: Power) -> None:
        self.disk, self.now, self.power = dict(disk), dict(disk), power
        self.pending: set[str] = set()
        self.renamed = ""

    def read(self, name: str) -> bytes | None:
        return self.now.get(name)

    def write(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            self.pending.add(name)
            self.power.spend()
            self.now[name] = data

    def replace_durably(self, name: str, data: bytes) -> None:
        self.power.spend()
        self.now[name] = data
        self.renamed = name  # its content is on the disk, its name perhaps: old or new, never torn
        self.power.spend()
        self.disk[name] = data
        self.renamed = ""

    def settle(self, but: Iterable[str] = ()) -> None:
        folders = tuple(f"{folder}/" for folder in but)
        for name in sorted(self.pending):
            self.power.spend()
            if not name.startswith(folders):
                self.disk[name] = self.now[name]
        self.pending.clear()

    def remove(self, folders: Iterable[str]) -> None:
        for folder in folders:
            self.power.spend()
            for name in [name for name in self.now if name.startswith(folder + "/")]:
                del self.now[name]
                self.disk.pop(name, None)

    def cut(self, rng: Random) -> dict[str, bytes]:
        """What the disk holds after the power went."""
        disk = dict(self.disk)
        if self.renamed and rng.random() < 0.5:
            disk[self.renamed] = self.now[self.renamed]
        for name in sorted(self.pending & set(self.now)):
            match rng.randrange(4):
                case 0:
                    disk[name] = self.now[name]
                case 1:
                    disk[name] = self.now[name][: rng.randrange(len(self.now[name]) + 1)]
                case 2:
                    disk[name] = bytes(len(self.now[name]))
                case _:
                    pass
        return disk


class Journal:
    """Records that are durable."""

    def __init__(self, records: Sequence[bytes] = ()) -> None:
        self.records = list(records)

    def read(self, first: int) -> Iterable[bytes]:
        return iter(self.records[first:])


class Memory:
    """A signer whose memory is durable, and who sees for itself that every head is one of the journal."""

    def __init__(self, journal: Journal, power: Power) -> None:
        self.journal, self.power = journal, power
        self.head = Head()
        self.signed: list[Head] = []

    def last(self) -> Head:
        return self.head

    def sign(self, head: Checkpoint, *, old_size: int, proof: Sequence[bytes]) -> bytes:
        self.power.spend()
        after = next_head(self.head, head, old_size=old_size, proof=proof)
        assert not isinstance(after, NotNext), after
        leaves = [leaf_hash(one) for one in self.journal.records[: head.size]]
        assert head.size == len(leaves)
        assert not leaves or root_of(leaves) == head.root
        self.head = after
        self.signed.append(after)
        self.power.spend()
        return signed(head.text, [signer_of(LOG, time_s=1)])
