"""Orders standing in a laboratory's records, for who asks beside it: the next place in the chain, the policy in force.

It opens the records for reading only and repeats no epoch: the newest snapshot names the last order, and only records
after it are looked through.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

from truechimer.daemon.records.past_snapshots import record_at
from truechimer.daemon.records.snapshots import FILE, STATE_KEY
from truechimer.errors import Rejected
from truechimer.laboratory import order_chain, ordering, snapshot
from truechimer.laboratory.order_chain import Link
from truechimer.laboratory.orders import Orders
from truechimer.quorum.applier import SignedEnvelope
from truechimer.quorum.order_policy import OrderPolicy
from truechimer.store.fabric import StoreRejected
from truechimer.store.sqlite_fabric import SqliteFabric
from truechimer.store.sqlite_records import SqliteRecords

_KINDS = (b'"kind":"order"', b'"kind":"run-start"')


def of_laboratory(folder: Path, evidence: str) -> Orders | None:
    """Return the orders in force of the laboratory in `folder`, whose records are in `evidence`; see `standing`."""
    return standing(folder / evidence / "records.sqlite3", folder / "run" / FILE, STATE_KEY)


def envelope_of_laboratory(folder: Path, evidence: str) -> tuple[OrderPolicy, SignedEnvelope] | None:
    """Return the policy in force by the records, and the envelope that a run last brought; None without records of
    orders. Raises `StoreRejected`, `RecordRejected`.
    """
    orders = of_laboratory(folder, evidence)
    if orders is None:
        return None
    with closing(SqliteRecords(folder / evidence / "records.sqlite3", read_only=True)) as store:
        seq = None if orders.last is None else orders.last[0]
        while seq is not None:
            body = json.loads(record_at(store, seq))
            if body["kind"] == "run-start":
                return orders.applier.policy, ordering.envelope_from(body["envelope"])
            seq = body["order_before"][0] if "order_before" in body else None
    return None


def standing(records: Path, states: Path, state_key: str) -> Orders | None:
    """Return the orders in force after the last record, None where nothing was steered yet.

    `records`: the laboratory's record file; `states`: its `run/state.sqlite3` (may be absent), in which the newest
    snapshot is at `state_key`. Raises `StoreRejected`, `RecordRejected`.
    """
    if not records.is_file():
        return None
    with closing(SqliteRecords(records, read_only=True)) as store:
        before, first = _from_snapshot(store, states, state_key)
        return order_chain.folded(_after(store, first), before)


def _from_snapshot(store: SqliteRecords, states: Path, key: str) -> tuple[Orders | None, int]:
    """Return the orders that the newest snapshot stands on, and the record after it; the beginning without one."""
    if not states.is_file():
        return None, 0
    try:
        with closing(SqliteFabric(states, read_only=True)) as fabric:
            value = fabric.get(key)
        if value is None:
            return None, 0
        found = snapshot.read(value.data)
        last = None if found.last_order is None else (found.last_order.seq, found.last_order.sha256)
        return order_chain.in_force(last, lambda seq: record_at(store, seq)), found.seq
    except (StoreRejected, Rejected):
        return None, 0


def _after(store: SqliteRecords, first: int) -> Iterator[tuple[Link, dict[str, Any]]]:
    """Yield the records from `first` on that may have brought an order."""
    for number, data in enumerate(store.read(first=first), first):
        if any(kind in data for kind in _KINDS):
            body = json.loads(data)
            if body.get("kind") in {"order", "run-start"}:
                yield (number, sha256(data).hexdigest()), body
