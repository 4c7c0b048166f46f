"""The orders desk: where a running laboratory takes orders and vetoes in, and says what is in force, waiting and done.

It judges nothing (`laboratory.ordering` does) and steps nothing by itself: the control socket's thread puts what comes
on the desk, the laboratory's own thread takes it from there, one at a time. Whoever brought it asks for the outcome by
its number. What came is bounded: in size, in number, and in how fast refusals may fill the records.
"""

import base64
import binascii
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import Any

from truechimer.daemon.answering.now_document import utc_text
from truechimer.daemon.orders.orders_words import door_body, order_body, policy_body
from truechimer.instants import Instant, LeapTable
from truechimer.laboratory import ordering
from truechimer.laboratory.orders import Orders
from truechimer.quorum import applier
from truechimer.quorum.applier import Moment, OrderEntry, VetoEntry, most_in_a_day
from truechimer.quorum.operations import OPERATIONS
from truechimer.quorum.order import LARGEST_ORDER, MOST_SIGNATURES, OrderRejected, SignedOrder, order_from
from truechimer.quorum.sshsig import LARGEST as LARGEST_SIGNATURE
from truechimer.quorum.verified import Verified

MOST_WAITING = 16
KEPT = 50
LARGEST_FILE = 40_000
"""Bytes of a file that goes with an order; the control socket takes 64 KiB a request."""
REFUSALS_A_MINUTE = 30
"""More are answered and counted, and not recorded: nobody may fill the disk with what is refused."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What was brought: its number, what it is, and its bytes."""

    number: int
    is_veto: bool
    signed: SignedOrder
    file: bytes | None

    def entry(self, now: Moment) -> OrderEntry | VetoEntry:
        """Return the entry, as it is offered at a moment."""
        return VetoEntry(self.signed, now) if self.is_veto else OrderEntry(self.signed, now, self.file)


@dataclass(slots=True)
class OrdersDesk:
    """The desk of one laboratory; `told_policy`: digest of the policy that was said to be in force; `look_at_doors_s`:
    when the policies of doors are looked at next (monotonic).
    """

    told_policy: str = ""
    look_at_doors_s: float = 0.0
    _numbers: "count[int]" = field(default_factory=lambda: count(1))
    _waiting: deque[Brought] = field(default_factory=deque)
    _done: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT))
    _refused_at: deque[float] = field(default_factory=lambda: deque(maxlen=REFUSALS_A_MINUTE))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def bring(self, request: dict[str, Any]) -> dict[str, Any]:
        """Put an order or a veto on the desk: `{"ask": "submit", "order"|"veto", "signatures", "file"}`, base64."""
        try:
            brought = self._read(request)
        except (ValueError, TypeError) as error:
            return {"error": f"not an order to submit: {error}"}
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                return {"error": f"{MOST_WAITING} orders wait already; try again in a second"}
            self._waiting.append(brought)
        return {"number": brought.number, "sha256": sha256(brought.signed.payload).hexdigest()}

    def take(self) -> Brought | None:
        """Return the next that was brought, None where there is none. Called from the laboratory's thread."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def may_record_refusal(self, now_s: float) -> bool:
        """Return whether one more refusal may be recorded; counts it where it may."""
        if len(self._refused_at) == REFUSALS_A_MINUTE and now_s - self._refused_at[0] < 60.0:
            return False
        self._refused_at.append(now_s)
        return True

    def tell(self, brought: Brought, body: dict[str, Any]) -> None:
        """Keep what became of it."""
        digest = sha256(brought.signed.payload).hexdigest()
        row = {"number": brought.number, "sha256": digest, "what": "veto" if brought.is_veto else "order"} | body
        if not brought.is_veto:
            with suppress(OrderRejected):
                row["order"] = order_body(order_from(brought.signed.payload))
        with self._lock:
            self._done.append(row)

    def outcome(self, number: object) -> dict[str, Any] | None:
        """Return what became of the one with this number, None while it waits."""
        with self._lock:
            return next((row for row in self._done if row["number"] == number), None)

    def done(self) -> list[dict[str, Any]]:
        """Return what became of the last ones, newest first."""
        with self._lock:
            return list(reversed(self._done))

    def _read(self, request: dict[str, Any]) -> Brought:
        """Read a request; raises `ValueError` or `TypeError`."""
        is_veto = "veto" in request
        payload = _bytes(request.get("veto" if is_veto else "order"), "order", LARGEST_ORDER)
        listed = request.get("signatures")
        if not isinstance(listed, list) or len(listed) > MOST_SIGNATURES:
            raise ValueError(f"signatures is not a list of at most {MOST_SIGNATURES}")
        signatures = tuple(_bytes(one, "a signature", LARGEST_SIGNATURE) for one in listed)
        file = _bytes(request["file"], "file", LARGEST_FILE) if request.get("file") is not None else None
        return Brought(next(self._numbers), is_veto, SignedOrder(payload, signatures), file)


def document(orders: Orders, now: Moment, leaps: LeapTable, done: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is in force at a moment: policy, place of the next order, account, what waits, the last orders."""
    state = applier.settled(orders.applier, now)

    def utc(ns: int) -> str:
        return utc_text(Instant.from_tai_ns(ns), leaps)

    body: dict[str, Any] = {
        "policy": policy_body(state.policy, state.revoked_keys),
        "next": {"sequence": state.sequence + 1, "previous": state.previous, "policy": state.policy.digest},
        "now": {
            "earliest_tai_ns": str(now.earliest_ns),
            "latest_tai_ns": str(now.latest_ns),
            "utc": utc(now.latest_ns),
        },
        "applied": state.sequence,
        "moved_in_a_day_s": float(most_in_a_day(state.moves)),
        "moved_in_all_s": float(sum((abs(moved) for _, moved in state.totals), 0)),
        "totals": [{"what": name, "moved_s": float(moved)} for name, moved in state.totals],
        "clocks_out": list(orders.out),
        "timed": [
            {
                "op": one.op,
                "target": one.target,
                "value": one.value,
                "sequence": one.sequence,
                "sentence": one.sentence,
                "ends": utc(one.until_ns),
                "left_s": (one.until_ns - now.latest_ns) / 1e9,
            }
            for one in orders.timed
            if one.until_ns > now.latest_ns
        ],
        "doors": [{"listener": name} | door_body(text) for name, text in orders.doors],
        "parts_approved": dict(orders.parts),
        "operations": sorted(orders.operations),
        "operations_not_applied": sorted(set(OPERATIONS) - orders.operations),
        "last": done,
    }
    if isinstance(orders.limits, Verified):
        limits = orders.limits.value
        body["envelope"] = {
            "signed_by": list(orders.limits.by),
            "valid_until": utc(limits.valid_until_ns),
            "left_s": (limits.valid_until_ns - now.latest_ns) / 1e9,
            "per_change": limits.per_change,
            "per_day_s": limits.per_day_s,
            "total_s": limits.total_s,
        }
    else:
        body["envelope_refused"] = orders.limits.says
    if orders.log_keys:
        body["log_keys"] = orders.log_keys.splitlines()
    if orders.leaps is not None:
        body["leap_table_expires"] = orders.leaps.expires.isoformat(digits=0)
    if state.pending is not None:
        pending = state.pending
        body["policy_change"] = {
            "sha256": pending.change.order.digest,
            "because": pending.change.order.because,
            "by": list(pending.by),
            "version": pending.change.policy.version,
            "sentence": pending.change.policy.sentence,
            "policy": policy_body(pending.change.policy, state.revoked_keys),
            "recorded": utc(pending.recorded_ns),
            "in_force": utc(pending.in_force_ns),
            "left_s": max(0.0, (pending.in_force_ns - now.earliest_ns) / 1e9),
        }
    return body


def outcome_body(ordered: ordering.Ordered) -> dict[str, Any]:
    """Return what became of an entry, with the number of its record."""
    return ordering.said(ordered.outcome) | {"record": ordered.record.seq}


def _bytes(text: object, what: str, most: int) -> bytes:
    """Read base64; raises `ValueError` or `TypeError`."""
    if not isinstance(text, str):
        raise TypeError(f"{what} is not base64 text")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{what} is not base64") from None
    if len(data) > most:
        raise ValueError(f"{what} has {len(data)} bytes: {most} are the most")
    return data
