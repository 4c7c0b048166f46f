"""Work for a store that must not lose any of it: steps drawn from a seed, what they must leave, and a look at what they
left.

It knows no faults. A step may be done again after it failed, and changes nothing the second time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import shake_128
from pathlib import Path
from random import Random

from truechimer.store.fabric import Item
from truechimer.store.sqlite_fabric import SqliteFabric

STREAMS = ("records", "events")
KEYS = ("snapshot/a", "snapshot/b", "lease")
QUEUE = "events"


@dataclass(frozen=True, slots=True)
class Step:
    """One acknowledged thing: items for a stream, or a value for a key, or the next job of the queue."""

    stream: str = ""
    items: tuple[Item, ...] = ()
    key: str = ""
    data: bytes = b""
    job: bool = False


def payload(name: str, size: int) -> bytes:
    """Return bytes that belong to a name."""
    return shake_128(name.encode()).digest(size)


def steps(seed: int, number: int, *, largest: int = 3_000) -> list[Step]:
    """Draw steps: mostly appends of one to a few items, some values, some jobs."""
    rng = Random(seed)
    out = []
    for n in range(number):
        match rng.choices(("append", "put", "job"), (6, 3, 1))[0]:
            case "append":
                ids = [f"{n}.{k}" for k in range(rng.choice((1, 1, 1, 2, 12)))]
                items = tuple(Item(one, payload(one, rng.randrange(largest))) for one in ids)
                out.append(Step(stream=rng.choice(STREAMS), items=items))
            case "put":
                key = rng.choice(KEYS)
                out.append(Step(key=key, data=payload(f"{n}.{key}", rng.randrange(20 * largest))))
            case _:
                out.append(Step(job=True))
    return out


@dataclass(slots=True)
class Left:
    """What a store holds after some steps."""

    streams: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    keys: dict[str, bytes] = field(default_factory=dict)
    open_jobs: list[int] = field(default_factory=list)

    def after(self, step: Step) -> "Left":
        """Return what it holds after one more."""
        streams = {name: list(entries) for name, entries in self.streams.items()}
        keys, jobs = dict(self.keys), list(self.open_jobs)
        if step.stream:
            stream = streams.setdefault(step.stream, [])
            if step.stream == QUEUE:
                jobs.extend(range(len(stream), len(stream) + len(step.items)))
            stream.extend((item.item_id, item.data) for item in step.items)
        elif step.key:
            keys[step.key] = step.data
        elif jobs:
            jobs.pop(0)
        return Left(streams, keys, jobs)


def left_by(done: Sequence[Step]) -> list[Left]:
    """Return what a store holds before the first, and after each of these steps."""
    out = [Left()]
    for step in done:
        out.append(out[-1].after(step))
    return out


def do(fabric: SqliteFabric, step: Step) -> None:
    """Do a step; what returns is acknowledged. Raises `StoreRejected`."""
    if step.stream:
        fabric.append_all(step.stream, step.items)
    elif step.key:
        fabric.put(step.key, step.data, expect=None)
    else:
        for job in fabric.take(QUEUE, 1, lease_s=1e-9):
            assert fabric.done(job)


def found_in(path: Path) -> Left:
    """Open a store anew, in another boot, with the whole check; return what it holds. Raises `StoreRejected`."""
    fabric = SqliteFabric(path, boot_id="the next boot")
    try:
        streams = {name: [(e.item_id, e.data) for e in fabric.read(name)] for name in STREAMS}
        keys = {value.key: value.data for value in fabric.watch("")}
        jobs = [job.seq for job in fabric.take(QUEUE, 10**6, lease_s=1e6)]
    finally:
        fabric.close()
    return Left({name: entries for name, entries in streams.items() if entries}, keys, jobs)


def again(path: Path, done: Sequence[Step], left: Left) -> None:
    """Append everything once more: each must come back with its old place, and the store must hold what it held."""
    fabric = SqliteFabric(path)
    places = {name: {one: seq for seq, (one, _) in enumerate(entries)} for name, entries in left.streams.items()}
    try:
        for step in done:
            if step.stream:
                seqs = fabric.append_all(step.stream, step.items)
                assert seqs == tuple(places[step.stream][item.item_id] for item in step.items)
        assert fabric.health().ends == {name: len(entries) for name, entries in left.streams.items()}
    finally:
        fabric.close()
