"""Snapshot: the laboratory's state after a record, as bytes that prove themselves whole, and the same state again.

It stores nothing, and it is no evidence: the journal is, and whatever a snapshot says can be had from it by replay, bit
for bit. It says for which journal it holds (`head`: the hash that the next record continues), and it holds no
authority: policy and envelope come from the journal's own `run-start` again, through the checks that made them.

The bytes are one line, `truechimer-snapshot FORMAT SHA-256`, and a body (`evidence.exact`) whose hash that is. Whoever
can write both can write a false state; the whole replay of the journal (`truechimer evidence replay`) then names the
first record that is not the fold's own.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from hashlib import sha256
from typing import Any, get_args

from truechimer.errors import Rejected
from truechimer.evidence import exact
from truechimer.evidence.record import RecordRejected
from truechimer.laboratory import order_chain, ordering, publications, run_start
from truechimer.laboratory.orders import Orders
from truechimer.laboratory.publications import Packed
from truechimer.laboratory.run_start import RunStart
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState
from truechimer.quorum.verified import Verified
from truechimer.scale import live_state
from truechimer.scale.live_state import LiveState

FORMAT = 1
_FIRST_LINE = re.compile(rb"truechimer-snapshot ([0-9]{1,9}) ([0-9a-f]{64})\n")
_HASH = re.compile(r"[0-9a-f]{64}")
_LEFT_OUT = frozenset({"limits", "orders"})
"""The fields of the state that are not written: what was verified is verified again."""
_PACKED = "publications"
"""The field that is written without what follows from the rest of it."""


class SnapshotRejected(Rejected):
    """Bytes that cannot be resumed from. `why`: `corrupt` (not as they were written), `version` (another program's),
    `misfit` (of another journal).
    """

    def __init__(self, why: str, says: str) -> None:
        super().__init__(f"the snapshot is not used ({why}): {says}; the state is rebuilt from the records")
        self.why = why


@dataclass(frozen=True, slots=True)
class Mark:
    """One record of the journal: its sequence number and the SHA-256 (hex) of its bytes."""

    seq: int
    sha256: str

    @staticmethod
    def of(seq: int, data: bytes) -> "Mark":
        """Return the mark of a record."""
        return Mark(seq, sha256(data).hexdigest())


@dataclass(frozen=True, slots=True)
class Roots:
    """The record that a state stands on: the `run-start` in force. Its orders name their own records."""

    start: Mark


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Whole bytes of this format, not yet a state. `seq` records stand before it, and `head` is the hash (hex) of the
    last of them; `last_order`: the last record that brought an order.
    """

    seq: int
    head: str
    roots: Roots
    last_order: Mark | None
    body: dict[str, Any]


@cache
def _kinds() -> dict[str, type]:
    """Return what a state is made of; what may be `limits` is not among it."""
    hints = exact.hints_of(LaboratoryState)
    return {LaboratoryState.__name__: LaboratoryState} | exact.kinds_within(
        Packed, *(hints[item.name] for item in fields(LaboratoryState) if item.name not in _LEFT_OUT | {_PACKED})
    )


@cache
def shape(scale: str) -> str:
    """Return a digest of what a state looks like in this version of the program, its scale's of the class of this name;
    what the other algorithms carry is not among it. Raises `KeyError` for no such class.
    """
    hints = exact.hints_of(LaboratoryState)
    of_scale = {kind.__name__: kind for kind in get_args(LiveState)}[scale]
    rest = [hints[item.name] for item in fields(LaboratoryState) if item.name not in _LEFT_OUT | {"scale", _PACKED}]
    return exact.shape_of({LaboratoryState.__name__: LaboratoryState} | exact.kinds_within(of_scale, Packed, *rest))


def encode(state: LaboratoryState, roots: Roots) -> bytes:
    """Return the snapshot of a state after an epoch; the same state always gives the same bytes."""
    writer = exact.Writer(_kinds())
    body = {
        "seq": state.chain.seq,
        "head": state.chain.prev,
        "start": [roots.start.seq, roots.start.sha256],
        "orders": None if state.orders is None or state.orders.last is None else list(state.orders.last),
        "limits": _limits_digest(state),
        "shape": shape(type(state.scale).__name__),
        "state": {
            item.name: writer.written(_kept(state, item.name))
            for item in fields(LaboratoryState)
            if item.name not in _LEFT_OUT
        },
    }
    packed = json.dumps(body, separators=(",", ":")).encode()
    return f"truechimer-snapshot {FORMAT} {sha256(packed).hexdigest()}\n".encode() + packed


def _kept(state: LaboratoryState, name: str) -> Any:
    """Return what is written of a field."""
    value = getattr(state, name)
    return publications.packed(value) if name == _PACKED and value is not None else value


def read(data: bytes) -> Snapshot:
    """Check that the bytes are whole and of this version; raises `SnapshotRejected`."""
    found = _FIRST_LINE.match(data)
    if found is None:
        raise SnapshotRejected("corrupt", "its first line is not a snapshot's")
    packed = data[found.end() :]
    if sha256(packed).hexdigest().encode() != found[2]:
        raise SnapshotRejected("corrupt", "its bytes are not those that were written")
    if int(found[1]) != FORMAT or found[1] != str(FORMAT).encode():
        raise SnapshotRejected("version", f"it has format {found[1].decode()}, this program writes {FORMAT}")
    try:
        body = json.loads(packed)
        is_ours = body["shape"] == shape(body["state"]["scale"][1])
        roots = Roots(_mark(body["start"]))
        last_order = None if body["orders"] is None else _mark(body["orders"])
        after = _mark([body["seq"], body["head"]])
    except exact.READ_FAULTS as error:
        raise SnapshotRejected("corrupt", f"it lacks what a snapshot holds ({error!r})") from None
    if not is_ours:
        raise SnapshotRejected("version", "the program that wrote it keeps another state")
    return Snapshot(after.seq, after.sha256, roots, last_order, body)


def records_before(data: bytes) -> int | None:
    """Return how many records stood before a snapshot, of whichever version it is; None where its bytes are not those
    that were written.
    """
    found = _FIRST_LINE.match(data)
    if found is None or sha256(data[found.end() :]).hexdigest().encode() != found[2]:
        return None
    try:
        return int(json.loads(data[found.end() :])["seq"])
    except exact.READ_FAULTS:
        return None


def restore(
    snapshot: Snapshot, record_at: Callable[[int], bytes]
) -> tuple[RunStart, LaboratoryConfig, LaboratoryState]:
    """Return run, constants and state. `record_at` gives a record of the journal by its number.

    Raises `SnapshotRejected` where records are others than it was made after, or the state does not belong to them.
    """
    start = _record(Mark(snapshot.roots.start.seq, snapshot.roots.start.sha256), record_at)
    _record(Mark(snapshot.seq - 1, snapshot.head), record_at)
    try:
        begun = run_start.decode(json.loads(start))
        orders = _orders(snapshot.last_order, record_at)
        config = ordering.over(run_start.constants(begun), orders)
        limits = run_start.NOT_STEERED if orders is None else orders.limits
        reader = exact.Reader(_kinds())
        values = snapshot.body["state"]
        wanted = [item.name for item in fields(LaboratoryState) if item.name not in _LEFT_OUT]
        found = {name: reader.read(values[name]) for name in wanted}
        if found[_PACKED] is not None:
            found[_PACKED] = publications.unpacked(found[_PACKED])
        state = LaboratoryState(**found, limits=limits, orders=orders)
        agrees = (
            (state.chain.seq, state.chain.prev) == (snapshot.seq, snapshot.head)
            and state.register.clocks == begun.clocks
            and live_state.fits(state.scale, config.scale)
            and _limits_digest(state) == snapshot.body["limits"]
        )
    except exact.READ_FAULTS as error:
        raise SnapshotRejected("corrupt", f"its state cannot be read ({error})") from None
    if not agrees:
        raise SnapshotRejected("misfit", "its state does not belong to the run that it names")
    return begun, config, state


def _record(mark: Mark, record_at: Callable[[int], bytes]) -> bytes:
    """Return the record of a mark; raises `SnapshotRejected` where the journal holds another."""
    data = record_at(mark.seq)
    if Mark.of(mark.seq, data) != mark:
        raise SnapshotRejected("misfit", f"record {mark.seq} of the journal is not the one that it was made after")
    return data


def _orders(last: Mark | None, record_at: Callable[[int], bytes]) -> Orders | None:
    """Return the orders in force after the record `last`; raises `SnapshotRejected` where the journal holds others."""
    try:
        return order_chain.in_force(None if last is None else (last.seq, last.sha256), record_at)
    except RecordRejected as error:
        raise SnapshotRejected("misfit", str(error)) from None


def _mark(pair: Any) -> Mark:
    """Read a mark: a number from 0 on, and a hash."""
    seq, digest = pair
    if type(seq) is not int or seq < 0 or type(digest) is not str or not _HASH.fullmatch(digest):
        raise SnapshotRejected("corrupt", f"{pair!r} names no record")
    return Mark(seq, digest)


def _limits_digest(state: LaboratoryState) -> str:
    """Return what tells one envelope from another, or one refusal."""
    limits = state.limits
    said = limits.value.canonical() if isinstance(limits, Verified) else f"{limits.reason}: {limits.says}".encode()
    if (orders := state.orders) is not None:
        said += f" {orders.applier.sequence} {orders.applier.previous} {orders.out} {orders.envelope}".encode()
    return sha256(said).hexdigest()


def is_same(one: LaboratoryState, other: LaboratoryState) -> bool:
    """Return True where two states are equal bit for bit, NaN and all."""
    roots = Roots(Mark(0, ""))
    return encode(one, roots) == encode(other, roots)
