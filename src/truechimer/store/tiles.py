"""The tiled log on a disk: what the journal holds becomes tiles, a signed checkpoint, published files.

The order is the design: an entry is in the journal, durably (append, fsync), before it is taken in here; tiles are
written (integrate); the signer stores the new head and signs it (sign); only then the checkpoint is replaced (publish).
Entries up to the checkpoint are acknowledged. It holds no key (`TreeSigner`) and asks no witness: `cosigned` takes
their lines, and a log that `waits` for them publishes a checkpoint only with them (`show`).

Tiles follow from the journal, so they need not be on the disk before the signature: from time to time they are settled,
and the file `settled` says up to which size. Recovery begins there and is the same path as normal work: the entries
after it are taken in again and give the same bytes. Source: C2SP tlog-tiles; sunlight's order of work.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from threading import Lock
from typing import Protocol

from truechimer.evidence.checkpoint import Checkpoint, CheckpointRejected, checkpoint, decimal, hash_of
from truechimer.evidence.entry import entry_of, payload_path
from truechimer.evidence.log import Edge, edge_of, grown
from truechimer.evidence.merkle import HASH_BYTES, consistency_proof, folded, parts
from truechimer.evidence.succession import Head
from truechimer.evidence.tiles import (
    ENTRIES,
    HEIGHT,
    LARGEST_ENTRY,
    MOST_LEVELS,
    WIDTH,
    Tile,
    TileRejected,
    TreeReader,
    bundled,
    entries_of,
)
from truechimer.quorum.keys import base64_of
from truechimer.quorum.note import NoteRejected, NoteSignature, joined, parsed
from truechimer.store.fabric import StoreCorrupt, StoreMisuse

CHECKPOINT = "checkpoint"
SETTLED = "settled"
MOST_AT_ONCE = 16_384
"""Entries that one round takes in: about 16 MB of records of a usual laboratory."""
MOST_UNSETTLED = 1 << 18
"""Entries after which a round settles by itself: what a recovery takes in again at the most, in a second or two.
Whoever runs the log settles every few seconds, from another thread, so that no signature waits for it."""


_OTHER = "is not the one that was signed"


class TreeSigner(Protocol):
    """Who holds the log's key, in another process. It believes nothing: it keeps the last head that it signed."""

    def last(self) -> Head:
        """Return the last head that it signed."""

    def sign(self, head: Checkpoint, *, old_size: int, proof: Sequence[bytes]) -> bytes:
        """Return the note of `head`, having stored it durably before signing.

        `proof`: that `head` begins with the tree of `old_size`, the last it signed. Raises `Rejected` for a smaller
        or an inconsistent tree.
        """


class Files(Protocol):
    """The folder of a log (`log_files.LogFiles`). All may raise `StoreRejected`."""

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes; None where there is none."""

    def write(self, files: Mapping[str, bytes]) -> None:
        """Put files in their places; a power cut may take them until `settle` has returned."""

    def replace_durably(self, name: str, data: bytes) -> None:
        """Put one file in its place, on the disk when this returns."""

    def settle(self, but: Iterable[str] = ()) -> None:
        """Bring everything written to the disk, except what is in the folders `but`."""

    def remove(self, folders: Iterable[str]) -> None:
        """Remove folders."""


@dataclass(frozen=True, slots=True)
class Published:
    """What one round made: the checkpoint, its note, and how many entries it took in."""

    checkpoint: Checkpoint
    note: bytes
    taken: int


class TiledLog:
    """One log. One writer. Invariant: the published checkpoint is one that the signer signed, and all its tiles are
    there (after a power cut: once `advance` has returned).
    """

    def __init__(
        self,
        files: Files,
        *,
        origin: str,
        records: Callable[[int], Iterable[bytes]],
        signer: TreeSigner,
        waits: bool = False,
    ) -> None:
        """`records` yields the journal's records from a number on; raises `StoreRejected` where what is settled is not
        what was written. `waits`: a signed checkpoint is published by `show` alone, once there is a first one.
        """
        self._files, self._origin, self._records, self._signer = files, origin, records, signer
        self._waits = waits
        self._edge, self._settled = self._begin()
        self._note: bytes | None = None
        self._signed = -1
        self._shown = self._in_place()
        self._settling = Lock()

    def _in_place(self) -> int:
        """Return the published checkpoint's size; -1 where there is none that the signer can have signed."""
        try:
            head = checkpoint(parsed(self._files.read(CHECKPOINT) or b"").text)
        except (NoteRejected, CheckpointRejected):
            return -1
        return head.size if head.origin == self._origin and head.size <= self._signer.last().size else -1

    @property
    def size(self) -> int:
        """Return how many entries were taken in."""
        return self._edge.size

    @property
    def note(self) -> bytes | None:
        """Return the note of the checkpoint that was signed last for this object, with the lines that it has."""
        return self._note

    @property
    def shown(self) -> int:
        """Return the size of the published checkpoint; -1 before the first."""
        return self._shown

    def _begin(self) -> tuple[Edge, int]:
        """Return the edge that is surely on the disk."""
        data = self._files.read(SETTLED)
        if data is None:
            return Edge(), 0
        try:
            size_text, root_text = data.decode("ascii").removesuffix("\n").split(" ")
            size, root = decimal(size_text), hash_of(root_text)
            edge = edge_of(size, self._fetch)
        except (ValueError, TileRejected) as error:
            raise StoreCorrupt(SETTLED, "the log's files", f"are not what was settled ({error})") from None
        if edge.root != root:
            raise StoreCorrupt(SETTLED, "the last tiles", "are not those that were settled")
        return edge, size

    def _fetch(self, tile: Tile) -> bytes:
        data = self._files.read(tile.path)
        if data is None and tile.width < WIDTH:
            data = self._files.read(tile.full.path)  # it was filled since, and its partial forms are gone
            if data is not None:
                if tile.level == ENTRIES:
                    data = bundled(entries_of(tile.full, data)[: tile.width])
                else:
                    data = data[: tile.width * HASH_BYTES]
        if data is None:
            raise TileRejected(tile.path, "is missing", entry=tile.first)
        return data

    def advance(self) -> Published | None:
        """Take in what the journal holds beyond the tree, have it signed, publish it; None where nothing is new.

        Raises `StoreRejected`, or what the signer raises; called again it goes on where it was. What was published
        stays until the new checkpoint is in its place.
        """
        last = self._signer.last()
        taken = 0
        if self._edge.size < last.size:
            self._look_ahead(last)
        while True:
            # what was signed before a crash gets its own tiles again, before the log goes on
            most = self._next_stop(last.size) - self._edge.size
            records = self._new_records(most)
            new = [entry_of(one) for one in records]
            growth = grown(self._edge, new)
            files = {tile.path: data for tile, data in growth.tiles.items()}
            # what is too long for an entry stands beside the log, so that its readers need nothing else
            files |= {payload_path(sha256(one).hexdigest()): one for one in records if len(one) > LARGEST_ENTRY}
            self._files.write(files)
            self._edge = growth.edge
            taken += len(new)
            if len(new) < most or (most == MOST_AT_ONCE and self._edge.size >= last.size):
                break
        if self._edge.size == self._signed:
            return None
        return self._publish(last, taken)

    def _look_ahead(self, last: Head) -> None:
        """Raise `StoreCorrupt` where the journal does not lead to what was signed: before a tile is written, so that
        another journal never takes the place of the published one.
        """
        edge, records = self._edge, iter(self._records(self._edge.size))
        while edge.size < last.size:
            new = [entry_of(one) for one in islice(records, min(MOST_AT_ONCE, last.size - edge.size))]
            if not new:
                raise StoreCorrupt(
                    CHECKPOINT, f"the journal: {edge.size} records where {last.size} were signed", "has lost records"
                )
            edge = grown(edge, new).edge
        if edge.root != last.root:
            raise StoreCorrupt(CHECKPOINT, f"the journal, in its first {last.size} records,", _OTHER)

    def _next_stop(self, signed: int) -> int:
        """Return up to which size the next entries are taken in: what was published or signed before a crash gets its
        own tiles again before the log goes on.
        """
        stops = [size for size in (self._shown, signed) if size > self._edge.size]
        return min([self._edge.size + MOST_AT_ONCE, *stops])

    def _new_records(self, most: int) -> list[bytes]:
        """Return the journal's next records; raises `StoreCorrupt` where it does not hold, at its place, the one that
        was taken in last: then it is another journal, or an older copy, and nothing of it continues this log.
        """
        if not self._edge.size:
            return list(islice(self._records(0), most))
        found = list(islice(self._records(self._edge.size - 1), most + 1))
        if not found or entry_of(found[0]) != self._last_entry():
            says = _OTHER if found else "has lost records that were signed"
            raise StoreCorrupt(CHECKPOINT, f"the journal, at record {self._edge.size - 1},", says)
        return found[1:]

    def _last_entry(self) -> bytes:
        """Return the entry that was taken in last."""
        if self._edge.entries:
            return self._edge.entries[-1]
        tile = Tile(ENTRIES, self._edge.size // WIDTH - 1)
        return entries_of(tile, self._fetch(tile))[-1]

    def _publish(self, last: Head, taken: int) -> Published:
        head = Checkpoint(self._origin, self._edge.size, self._edge.root)
        proof = self.proof(last.size, head.size)
        lines = self._lines_of(head) if last.size == head.size else ()
        note = self._signer.sign(head, old_size=last.size, proof=proof)
        self._note = joined(head.text, [*parsed(note).signatures, *lines])
        if not self._waits or self._shown < 0:
            self._files.write({CHECKPOINT: self._note})  # the signer has it durably; a start publishes it once more
            self._shown = head.size
        self._signed = head.size
        if self._edge.size - self._settled >= MOST_UNSETTLED:
            self.settle()
        return Published(head, self._note, taken)

    def proof(self, old: int, new: int) -> tuple[bytes, ...]:
        """Return the proof that the tree of `new` entries, a size that was signed, begins with that of `old`; any
        thread may ask. Raises `TileRejected`, `StoreRejected`.
        """
        return consistency_proof(old, new, TreeReader(new, self._fetch).nodes)

    def root_at(self, size: int) -> bytes:
        """Return the root of the tree of the first `size` entries, as its tiles say it; raises as `proof`."""
        reader = TreeReader(self.size, self._fetch)
        return folded(reader.nodes(parts(0, size)))

    def show(self, note: bytes) -> bool:
        """Publish a signed checkpoint, verified by the caller; False where a later one stands there."""
        head = checkpoint(parsed(note).text)
        if head.origin != self._origin or head.size > self.size:
            raise StoreMisuse(f"a checkpoint of {head.origin!r} of size {head.size} is not one of this log")
        if head.size < self._shown:
            return False
        self._files.replace_durably(CHECKPOINT, note)
        self._shown = head.size
        if self._note is not None and parsed(self._note).text == parsed(note).text:
            self._note = note
        return True

    def _lines_of(self, head: Checkpoint) -> tuple[NoteSignature, ...]:
        """Return the lines (witnesses') under the published checkpoint, where it is this one."""
        data = self._files.read(CHECKPOINT)
        try:
            note = parsed(data or b"")
            return note.signatures if checkpoint(note.text) == head else ()
        except (NoteRejected, CheckpointRejected):
            return ()

    def cosigned(self, text: bytes, signatures: Iterable[NoteSignature]) -> bool:
        """Add witnesses' lines, verified by the caller, to the published checkpoint; False where a later one stands
        there by now.
        """
        if self._note is None:
            raise StoreMisuse("nothing is published yet: call `advance` first")
        note = parsed(self._note)
        if note.text != text:
            return False
        return self.show(joined(text, [*note.signatures, *signatures]))

    def settle(self) -> None:
        """Bring all tiles to the disk and write down up to where; raises `StoreRejected`.

        Any thread may call it; what is taken in meanwhile is settled the next time.
        """
        with self._settling:
            edge = self._edge
            if edge.size == self._settled:
                return
            partial = [f"{tile.path}.p" for tile in _filled(self._settled, edge.size)]
            self._files.settle(partial)
            self._files.replace_durably(SETTLED, f"{edge.size} {base64_of(edge.root)}\n".encode())
            self._settled = edge.size
            self._files.remove(partial)  # last: until the mark stands, a recovery begins with the partial forms


def _filled(old: int, new: int) -> Iterator[Tile]:
    """Yield the tiles that were filled between two sizes: nobody needs their partial forms any more."""
    for level in (ENTRIES, *range(MOST_LEVELS)):
        shift = HEIGHT * (max(level, 0) + 1)
        for index in range(old >> shift, new >> shift):
            yield Tile(level, index)
