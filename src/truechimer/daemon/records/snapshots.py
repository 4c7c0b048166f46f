"""Snapshots: where the state of the laboratory is kept between runs, and the way back from there: the newest good one,
and the replay of what the journal holds after it.

They are a saving of time and nothing else: any of them may be thrown away, and the replay of the whole journal gives
the same state, bit for bit. So one that cannot be used is set aside, said, and never stands in the way; and no snapshot
is written of what is not in the journal (ADR 16).
"""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from truechimer import kernel
from truechimer.daemon.records.past_snapshots import DAY_NS, day_of, key_of, known_of
from truechimer.laboratory import snapshot
from truechimer.laboratory.replay import Replay, replay
from truechimer.laboratory.snapshot import Mark, Roots, SnapshotRejected
from truechimer.laboratory.state import LaboratoryState
from truechimer.sim import world_snapshot
from truechimer.sim.scenario import Scenario
from truechimer.sim.world import World
from truechimer.sim.world_snapshot import WorldSnapshotRejected
from truechimer.store.fabric import StoreConflict, StoreCorrupt, StoreRejected
from truechimer.store.sqlite_fabric import SqliteFabric
from truechimer.store.sqlite_file import set_aside
from truechimer.store.sqlite_records import SqliteRecords

FILE = "state.sqlite3"
STATE_KEY = "laboratory/state"
WORLD_KEY = "laboratory/world"

EVERY_S = 60.0
EVERY_RECORDS = 20_000
"""A snapshot after so long, or so many records: what is left for a replay takes a few seconds at the worst."""

AFTER_FAILURE_S = 60.0
KEPT_ASIDE = 3


class Snapshots:
    """The snapshots of one laboratory, in `run/state.sqlite3`. It never raises for what a disk holds or does: what goes
    wrong is told to `say`, once.
    """

    def __init__(
        self, folder: Path, *, say: Callable[[str], None], monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Open the file below `folder`, made where it is missing."""
        self._path, self.say, self._monotonic_s = folder / "run" / FILE, say, monotonic_s
        self._fabric: SqliteFabric | None = None
        self._said = ""
        self._saved_seq = 0
        self._next_s = 0.0
        self._revs_above = 0
        self._past_day: int | None = None
        self._open()

    def _open(self) -> None:
        """Open the file; a damaged one is set aside, and a new one made."""
        for _ in range(2):
            try:
                self._fabric = SqliteFabric(self._path, revs_above=self._revs_above)
            except StoreCorrupt as error:
                self.say(f"{error}; it is set aside, and the state is rebuilt from the records")
                with suppress(OSError):
                    set_aside(self._path)
            except (StoreRejected, OSError) as error:
                self._trouble(str(error))
                return
            else:
                return

    def load(self) -> bytes | None:
        """Return the newest snapshot of the state as it was written, or None."""
        return self._get(STATE_KEY)

    def load_world(self) -> bytes | None:
        """Return the newest snapshot of the simulated world, or None. It stands where its own record number says, which
        may be before the state's.
        """
        return self._get(WORLD_KEY)

    def _get(self, key: str) -> bytes | None:
        if self._fabric is None:
            return None
        try:
            found = self._fabric.get(key)
        except StoreRejected as error:
            self._trouble(str(error))
            return None
        return None if found is None else found.data

    def set_aside(self, key: str, data: bytes) -> None:
        """Keep a snapshot that cannot be used, for whoever looks into why; the last few of them."""
        folder = self._path.parent / "damaged"
        with suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            old = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
            for path in old[: max(0, len(old) - KEPT_ASIDE + 1)]:
                path.unlink()
            name = f"{key.replace('/', '-')}-{Mark.of(0, data).sha256[:12]}.snapshot"
            (folder / name).write_bytes(data)

    def is_due(self, seq: int) -> bool:
        """Return True where a snapshot at this sequence number is worth its time."""
        if seq <= self._saved_seq:
            return False
        return self._monotonic_s() >= self._next_s or seq - self._saved_seq >= EVERY_RECORDS

    def save(self, state: LaboratoryState, roots: Roots, world: World | None) -> bool:
        """Keep a state whose records are all on the disk, and the world where it stands at that very epoch (None: it
        does not, or there is none); False where the store refused.
        """
        now_s = self._monotonic_s()
        self._next_s, self._saved_seq = now_s + EVERY_S, state.chain.seq
        if self._fabric is None:
            self._open()
        if self._fabric is None:
            return False
        try:
            kept = None if world is None else world_snapshot.encode(world, seq=state.chain.seq)
            if kept is not None:
                self._put(self._fabric, WORLD_KEY, kept)
            packed = snapshot.encode(state, roots)
            self._put(self._fabric, STATE_KEY, packed)
            self._put_past(self._fabric, state, packed)
        except StoreCorrupt as error:
            self._fabric.close()
            self._fabric = None
            self._trouble(str(error))
            return False
        except StoreRejected as error:
            self._next_s = now_s + AFTER_FAILURE_S
            self._trouble(str(error))
            return False
        self._said = ""
        return True

    def _put(self, fabric: SqliteFabric, key: str, data: bytes) -> None:
        """Replace a value; the revision says that nobody else did since."""
        found = fabric.get(key)
        try:
            self._revs_above = fabric.put(key, data, expect=0 if found is None else found.rev)
        except StoreConflict:
            self.say(f"{self._path}: another process wrote {key}; one laboratory writes here at a time")

    def _put_past(self, fabric: SqliteFabric, state: LaboratoryState, packed: bytes) -> None:
        """Keep the first state of each day of epochs beside the newest."""
        day, key = state.epoch_ns // DAY_NS, key_of(state.epoch_ns)
        if self._past_day is None:
            found = fabric.get(key)
            self._past_day = None if found is None else day_of(found.data)
        if day != self._past_day:
            self._put(fabric, key, packed)
            self._past_day = day

    def _trouble(self, says: str) -> None:
        """Say what goes wrong, once until it goes well again."""
        if says != self._said:
            self._said = says
            self.say(f"no snapshot is kept: {says}; a restart takes longer, nothing else follows")

    def close(self) -> None:
        """Close the file."""
        if self._fabric is not None:
            self._fabric.close()
            self._fabric = None


@dataclass(frozen=True, slots=True)
class Resumed:
    """How the state came back: `replayed` records were repeated after the `known` ones."""

    replay: Replay
    known: int
    replayed: int


def resume(store: SqliteRecords, snapshots: Snapshots, *, say: Callable[[str], None]) -> Resumed:
    """Return the state at the journal's end: from the newest snapshot that fits it, else from its first record."""
    data = snapshots.load()
    if data is not None:
        try:
            known = known_of(store, snapshot.read(data))
            found = replay(_told(store, known.state.chain.seq, say), known)
            if found.difference is None:
                return Resumed(found, known.state.chain.seq, found.compared)
            says = f"the records after it come out otherwise from record {found.difference.seq} on"
            snapshots.set_aside(STATE_KEY, data)
            say(str(SnapshotRejected("misfit", says)))
        except SnapshotRejected as error:
            snapshots.set_aside(STATE_KEY, data)
            say(str(error))
    found = replay(_told(store, 0, say))
    return Resumed(found, 0, found.compared)


def world_again(
    scenario: Scenario,
    seed: int,
    anchor: tuple[int, int],
    store: SqliteRecords,
    snapshots: Snapshots,
) -> World:
    """Bring the simulated world back to where the records left it: from its snapshot, then by asking it again what was
    asked since; without a snapshot, by asking all of it. `anchor`: TAI ns, raw ns.
    """
    anchor_tai_ns, anchor_raw_ns = anchor
    world, seq, data = None, 0, snapshots.load_world()
    if data is not None:
        try:
            world, seq = world_snapshot.restore(
                data, scenario, seed=seed, anchor_tai_ns=anchor_tai_ns, anchor_raw_ns=anchor_raw_ns
            )
        except WorldSnapshotRejected as error:
            snapshots.set_aside(WORLD_KEY, data)
            snapshots.say(str(error))
    if world is None:
        world = World(scenario, seed=seed, anchor_tai_ns=anchor_tai_ns, anchor_raw_ns=anchor_raw_ns)
        for _ in world.history():
            pass
    for record in store.read(first=seq):
        body = json.loads(record)
        if body["kind"] != "readings" or "raw_ns" not in body or not any(body["x_a_minus_b_s"]):
            continue  # no reading, or an epoch without any
        raw_ns = int(body["raw_ns"])
        world.batch(raw_ns)
    return world


TELL_EVERY_S = 2.0
MACHINE_CODE_PAYS_AFTER = 1_000
"""Records that are repeated by plain kernels, in a second or two, before the rest waits for machine code."""


def _told(store: SqliteRecords, first: int, say: Callable[[str], None]) -> Iterator[bytes]:
    """Read the records from `first` on, saying how far where it takes long."""
    told, total = time.monotonic(), store.count()
    for number in itertools.count(first, 500):
        if number >= total:
            return
        yield from itertools.islice(store.read(first=number), 500)
        if number - first == MACHINE_CODE_PAYS_AFTER:
            kernel.use_machine_code()
        if time.monotonic() - told > TELL_EVERY_S and number + 500 < total:
            told = time.monotonic()
            say(f"resuming: {number + 500 - first} of {total - first} records repeated")
