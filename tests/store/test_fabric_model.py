"""A state machine that any fabric must pass: the eight verbs against plain lists and dicts, over closing and opening.

A further implementation is judged by a subclass of `FabricMachine` that opens it and moves its clock of leases.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from truechimer.store.fabric import ABSENT, BEFORE_FIRST, Fabric, Hearing, Item, Job, StoreConflict
from truechimer.store.sqlite_fabric import SqliteFabric

STREAMS = st.sampled_from(("records", "jobs", "a_1"))
IDS = st.sampled_from([f"id-{k}" for k in range(8)])
KEYS = st.sampled_from(("lease", "snapshot/a", "snapshot/b", "snap"))
PREFIXES = st.sampled_from(("", "snap", "snapshot/", "lease", "none"))
SUBJECTS = st.sampled_from(("page", "alerts"))
DATA = st.binary(max_size=40)
LEASE_S = st.sampled_from((1.0, 10.0))


@dataclass
class Loan:
    """Who has a job until when, as the model knows it."""

    job: Job
    until_s: float
    done: bool = False


class FabricMachine(RuleBasedStateMachine):
    """The model. Whoever subclasses it says how a fabric is opened, and how seconds pass for its leases."""

    def open_fabric(self) -> Fabric:
        """Open the store of this run, the first time or again."""
        raise NotImplementedError

    def pass_seconds(self, seconds: float) -> None:
        """Let the clock of leases go on."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.streams: dict[str, list[tuple[str, bytes]]] = {}
        self.keys: dict[str, tuple[bytes, int]] = {}
        self.last_rev = 0
        self.last_token = 0
        self.loans: dict[tuple[str, int], Loan] = {}
        self.lent: list[Job] = []
        self.now_s = 0.0
        self.hearings: list[tuple[str, Hearing, list[bytes]]] = []
        self.fabric = self.open_fabric()

    # ---- streams

    def place(self, stream: str, item_id: str) -> int | None:
        return next((seq for seq, (one, _) in enumerate(self.streams.get(stream, ())) if one == item_id), None)

    @rule(stream=STREAMS, item_id=IDS, data=DATA)
    def append(self, stream: str, item_id: str, data: bytes) -> None:
        place = self.place(stream, item_id)
        if place is not None and self.streams[stream][place][1] != data:
            with pytest.raises(StoreConflict):
                self.fabric.append(stream, data, item_id=item_id)
            return
        seq = self.fabric.append(stream, data, item_id=item_id)
        if place is None:
            self.streams.setdefault(stream, []).append((item_id, data))
            place = len(self.streams[stream]) - 1
        assert seq == place

    @rule(stream=STREAMS, item_id=IDS)
    def append_what_is_there(self, stream: str, item_id: str) -> None:
        place = self.place(stream, item_id)
        if place is not None:
            assert self.fabric.append(stream, self.streams[stream][place][1], item_id=item_id) == place

    @rule(
        stream=STREAMS,
        items=st.lists(st.tuples(IDS, DATA), max_size=4),
        shift=st.sampled_from((None, 0, 0, 0, 1, -1)),
    )
    def append_all(self, stream: str, items: list[tuple[str, bytes]], shift: int | None) -> None:
        before = self.streams.get(stream, [])
        after, seqs, same = list(before), [], True
        for item_id, data in items:
            place = next((seq for seq, (one, _) in enumerate(after) if one == item_id), None)
            if place is None:
                after.append((item_id, data))
                place = len(after) - 1
            same = same and after[place][1] == data
            seqs.append(place)
        expect = None if shift is None or not seqs else seqs[0] + shift
        in_order = expect is None or seqs == list(range(expect, expect + len(seqs)))
        given = [Item(item_id, data) for item_id, data in items]
        if not same or not in_order:
            with pytest.raises(StoreConflict):
                self.fabric.append_all(stream, given, expect=expect)
            return
        assert self.fabric.append_all(stream, given, expect=expect) == tuple(seqs)
        if after:
            self.streams[stream] = after

    @rule(stream=STREAMS, after=st.integers(-1, 12))
    def read(self, stream: str, after: int) -> None:
        entries = [(entry.seq, entry.item_id, entry.data) for entry in self.fabric.read(stream, after=after)]
        there = [(seq, *entry) for seq, entry in enumerate(self.streams.get(stream, ()))]
        assert entries == there[after + 1 :]

    # ---- keys

    def stored(self, key: str, data: bytes, rev: int) -> None:
        assert rev > self.last_rev
        self.keys[key], self.last_rev = (data, rev), rev

    @rule(key=KEYS, data=DATA)
    def put(self, key: str, data: bytes) -> None:
        self.stored(key, data, self.fabric.put(key, data, expect=None))

    @rule(key=KEYS, data=DATA, wrong=st.sampled_from((0, 0, 0, 1, -1)))
    def put_where_it_was(self, key: str, data: bytes, wrong: int) -> None:
        there = self.keys[key][1] if key in self.keys else ABSENT
        if wrong:
            with pytest.raises(StoreConflict):
                self.fabric.put(key, data, expect=there + wrong)
        else:
            self.stored(key, data, self.fabric.put(key, data, expect=there))

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        found = self.fabric.get(key)
        assert (None if found is None else (found.data, found.rev)) == self.keys.get(key)

    @rule(prefix=PREFIXES, back=st.integers(0, 5))
    def watch(self, prefix: str, back: int) -> None:
        after = max(0, self.last_rev - back)
        seen = [(value.key, value.data, value.rev) for value in self.fabric.watch(prefix, after_rev=after)]
        there = [(key, *value) for key, value in self.keys.items() if key.startswith(prefix) and value[1] > after]
        assert seen == sorted(there, key=lambda one: one[2])

    # ---- what is lent

    @rule(queue=STREAMS, n=st.integers(1, 3), lease_s=LEASE_S)
    def take(self, queue: str, n: int, lease_s: float) -> None:
        free = [seq for seq in range(len(self.streams.get(queue, ()))) if self.is_free(queue, seq)][:n]
        jobs = self.fabric.take(queue, n, lease_s=lease_s)
        assert [(job.queue, job.seq, job.data) for job in jobs] == [
            (queue, seq, self.streams[queue][seq][1]) for seq in free
        ]
        for job in jobs:
            assert job.token > self.last_token
            before = self.loans.get((queue, job.seq))
            assert job.attempt == (before.job.attempt + 1 if before else 1)
            self.last_token = job.token
            self.loans[queue, job.seq] = Loan(job, self.now_s + lease_s)
            self.lent.append(job)

    def is_free(self, queue: str, seq: int) -> bool:
        loan = self.loans.get((queue, seq))
        return loan is None or (not loan.done and loan.until_s <= self.now_s)

    @precondition(lambda self: self.lent)
    @rule(draw=st.data())
    def done(self, draw: st.DataObject) -> None:
        job = draw.draw(st.sampled_from(self.lent))
        loan = self.loans[job.queue, job.seq]
        mine = loan.job.token == job.token
        assert self.fabric.done(job) == mine
        loan.done = loan.done or mine

    @rule(seconds=st.sampled_from((0.5, 1.0, 20.0)))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.pass_seconds(seconds)

    # ---- what is said

    @rule(subject=SUBJECTS)
    def hear(self, subject: str) -> None:
        self.hearings.append((subject, self.fabric.hear(subject), []))

    @rule(subject=SUBJECTS, data=DATA)
    def tell(self, subject: str, data: bytes) -> None:
        self.fabric.tell(subject, data)
        for heard, _, said in self.hearings:
            if heard == subject:
                said.append(data)

    @precondition(lambda self: self.hearings)
    @rule(draw=st.data(), leave=st.booleans())
    def listen(self, draw: st.DataObject, leave: bool) -> None:
        which = draw.draw(st.integers(0, len(self.hearings) - 1))
        _, hearing, said = self.hearings[which]
        assert hearing.next(wait_s=0.0) == (said.pop(0) if said else None)
        assert hearing.missed == 0
        if leave:
            hearing.close()
            del self.hearings[which]

    # ---- the whole

    @rule()
    def open_again(self) -> None:
        self.fabric.close()
        self.hearings = []
        self.fabric = self.open_fabric()

    @invariant()
    def it_reaches_as_far_as_was_acknowledged(self) -> None:
        health = self.fabric.health()
        assert health.ends == {stream: len(entries) for stream, entries in self.streams.items()}
        assert health.rev == self.last_rev
        assert health.writable
        assert health.failing is None

    def teardown(self) -> None:
        for stream, entries in self.streams.items():
            read = [(entry.item_id, entry.data) for entry in self.fabric.read(stream, after=BEFORE_FIRST)]
            assert read == entries
        self.fabric.close()


class SqliteMachine(FabricMachine):
    """The machine for the fabric on SQLite."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fabric-model-"))
        self.monotonic_ns = 10**12
        super().__init__()

    def open_fabric(self) -> Fabric:
        return SqliteFabric(self.folder / "state.sqlite3", monotonic_ns=lambda: self.monotonic_ns)

    def pass_seconds(self, seconds: float) -> None:
        self.monotonic_ns += round(seconds * 1e9)

    def teardown(self) -> None:
        super().teardown()
        SqliteFabric(self.folder / "state.sqlite3").close()
        shutil.rmtree(self.folder)


TestSqliteFabric = SqliteMachine.TestCase
TestSqliteFabric.settings = settings(max_examples=15, stateful_step_count=30, deadline=None, print_blob=True)


@pytest.mark.slow
class TestSqliteFabricAtLength(SqliteMachine.TestCase):  # type: ignore[name-defined, misc]
    settings = settings(max_examples=150, stateful_step_count=60, deadline=None, print_blob=True)
