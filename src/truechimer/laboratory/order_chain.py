"""The chain of orders: what is in force, folded again from the records that brought it, each naming the one before.

It reads no disk: whoever holds the records hands them in by number. Nothing of what a record says of its own outcome
is believed but a refusal, which changes nothing: signatures, place and limits are checked again.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Any

from truechimer.evidence.record import RecordRejected
from truechimer.laboratory import ordering, run_start
from truechimer.laboratory import orders as orders_in_force
from truechimer.laboratory.orders import Orders
from truechimer.quorum.verified import Refused

MOST_ORDERS = 100_000

Link = tuple[int, str]
"""Number of a record, and the SHA-256 (hex) of its bytes."""


def in_force(last: Link | None, record_at: Callable[[int], bytes]) -> Orders | None:
    """Return the orders in force after the record `last`; raises `RecordRejected` where the records are others."""
    bodies: list[tuple[Link, dict[str, Any]]] = []
    link = last
    while link is not None:
        if len(bodies) >= MOST_ORDERS:
            raise RecordRejected(link[0], f"more than {MOST_ORDERS} orders")
        data = record_at(link[0])
        if sha256(data).hexdigest() != link[1]:
            raise RecordRejected(link[0], "it is not the record that the next order names")
        body = json.loads(data)
        bodies.append((link, body))
        before = body.get("order_before")
        link = None if before is None else (int(before[0]), str(before[1]))
        if link is not None and link[0] >= bodies[-1][0][0]:
            raise RecordRejected(link[0], "an order names a record after it as the one before")
    return folded(reversed(bodies))


def folded(bodies: Iterable[tuple[Link, dict[str, Any]]], orders: Orders | None = None) -> Orders | None:
    """Fold the records that brought orders, in their order, onto those in force before; raises `RecordRejected`."""
    for link, body in bodies:
        before = orders
        if body.get("kind") == "run-start":
            start = run_start.decode(body)
            orders = run_start.orders_at(start, orders)
        elif body.get("kind") == ordering.KIND and orders is not None:
            entry = ordering.entry_from(body)
            if body.get("outcome") == "refused":
                orders = replace(orders_in_force.passed(orders, entry.now), last=link)
            else:
                orders, outcome = orders_in_force.stepped(orders, entry)
                if isinstance(outcome, Refused):
                    raise RecordRejected(link[0], f"an order stands there as taken, and is refused: {outcome.says}")
        else:
            raise RecordRejected(link[0], f"a record of kind {body.get('kind')!a} among the orders")
        if orders is not None and orders is not before:
            orders = replace(orders, last=link)
    return orders
