"""The applier: the fold over orders and vetoes that says what is lawful now, and nothing else may act.

It moves nothing itself and trusts no proposer: order of arrival, time, policy, limits per order, per day and in all are
its own to check, so that it can run on a host of its own with the policy, the log and a clock. It repeats what was
checked before: `step` takes bytes. Time comes in as an interval; where the interval leaves a doubt the answer is no.

Law of the file: a state changes only by a lawful entry or by time passing; folding the same entries gives the same
state, whatever refused ones stand between.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from hashlib import sha256

from truechimer.errors import Misuse
from truechimer.quorum.envelope import EnvelopeRejected, SteeringLimits, limits_from
from truechimer.quorum.operations import DAY_NS, HOUR_NS, Moves, Value
from truechimer.quorum.order import FIRST, Order, OrderRejected, SignedOrder, order_from
from truechimer.quorum.order_policy import OrderPolicy, delay_ns, standing, verify_order
from truechimer.quorum.policy_change import PendingPolicy, PolicyChange, Veto, verify_change, verify_veto
from truechimer.quorum.verified import Refused, Verified, _verified

_NS_PER_S = 10**9


@dataclass(frozen=True, slots=True)
class Moment:
    """The present, as well as it is known: ns TAI."""

    earliest_ns: int
    latest_ns: int

    def __post_init__(self) -> None:
        """Refuse an interval that ends before it begins."""
        if self.earliest_ns > self.latest_ns:
            raise Misuse("the present ends before it begins")


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Time that an order moves, `size_s` (not negative): evenly from `from_ns` to `until_ns`, or `at_once` at an
    unknown moment between them.
    """

    from_ns: int
    until_ns: int
    size_s: Fraction
    at_once: bool

    def within(self, begin_ns: int, end_ns: int) -> Fraction:
        """Return the most of it that can fall between two instants, both counted in."""
        if self.at_once:
            return self.size_s if begin_ns <= self.until_ns and self.from_ns <= end_ns else Fraction(0)
        shared_ns = min(self.until_ns, end_ns) - max(self.from_ns, begin_ns)
        return self.size_s * max(shared_ns, 0) / (self.until_ns - self.from_ns)


@dataclass(frozen=True, slots=True)
class Revocation:
    """A key that lost its voice by order, and when (ns TAI, the latest it can have been)."""

    fingerprint: str
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplierState:
    """What was applied so far. Made by `begun`.

    `sequence`, `previous`: of the last order applied. `moves`: those that a window of 24 h can still hold. `totals`:
    net time moved by (what, target), in s. `seen_ns`: the latest instant that is certainly past. `counters`: the last
    that each authenticator stated in what was applied. Invariant: no time that has been seen is unseen, no sequence is
    used twice.
    """

    policy: OrderPolicy
    sequence: int
    previous: str
    moves: tuple[Move, ...]
    totals: tuple[tuple[str, Fraction], ...]
    revoked: tuple[Revocation, ...]
    pending: PendingPolicy | None
    seen_ns: int
    counters: tuple[tuple[str, int], ...] = ()

    @property
    def revoked_keys(self) -> frozenset[str]:
        """Return the fingerprints that were revoked by order."""
        return frozenset(one.fingerprint for one in self.revoked)


@dataclass(frozen=True, slots=True)
class Applied:
    """A lawful order: who signed it, what any 24 h around it and all orders together have moved with it (s); the
    `envelope` that it brings into force, if it is one.
    """

    order: Verified[Order]
    day_s: Fraction
    total_s: Fraction
    envelope: Verified[SteeringLimits] | None = None


@dataclass(frozen=True, slots=True)
class ChangeRecorded:
    """A change of the policy that now waits; nothing has changed yet."""

    pending: PendingPolicy


@dataclass(frozen=True, slots=True)
class Vetoed:
    """A veto that took a waiting change away."""

    veto: Verified[Veto]


@dataclass(frozen=True, slots=True)
class OrderEntry:
    """An order as it was offered: signatures, the moment, and the file that it names, if it names one."""

    signed: SignedOrder
    now: Moment
    file: bytes | None = None


@dataclass(frozen=True, slots=True)
class SignedEnvelope:
    """An order for a steering envelope, and the envelope itself; nothing of it is believed."""

    signed: SignedOrder
    file: bytes


@dataclass(frozen=True, slots=True)
class VetoEntry:
    """A veto as it was offered."""

    signed: SignedOrder
    now: Moment


Outcome = Applied | ChangeRecorded | Vetoed | Refused


def begun(policy: OrderPolicy) -> ApplierState:
    """Begin with a policy that the people of the laboratory have agreed on; whoever compares digests must know it."""
    return ApplierState(
        policy=policy, sequence=0, previous=FIRST, moves=(), totals=(), revoked=(), pending=None, seen_ns=0
    )


def step(state: ApplierState, entry: OrderEntry | VetoEntry) -> tuple[ApplierState, Outcome]:
    """Take one entry: from bytes to what is lawful. A refused one leaves everything as time alone would have."""
    after, outcome = _step(state, entry)
    if isinstance(outcome, Applied | ChangeRecorded):
        after = replace(after, counters=_counted(state, entry.signed))
    return after, outcome


def start_envelope(
    state: ApplierState, envelope: SignedEnvelope
) -> tuple[ApplierState, Verified[SteeringLimits] | Refused]:
    """Take an envelope before the time is known, as a laboratory starts: signatures, place in the chain, limits.

    Its validity is judged at each epoch by whoever steers inside it; no time passes here.
    """
    order = verify_order(envelope.signed, state.policy, revoked=state.revoked_keys, counters=dict(state.counters))
    if isinstance(order, Refused):
        return state, _or_replayed(state, envelope.signed, order)
    if order.value.op != "steering-envelope":
        return state, Refused("envelope", f"an order to {order.value.op} where a steering envelope is needed")
    refused = _not_the_file(order.value, envelope.file) or _replayed(state, order.value)
    found = refused or _reordered(state, order.value) or _envelope(state.policy, order, envelope.file)
    if isinstance(found, Refused):
        return state, found
    counters = _counted(state, envelope.signed)
    return replace(state, sequence=order.value.sequence, previous=order.value.digest, counters=counters), found


def _counted(state: ApplierState, signed: SignedOrder) -> tuple[tuple[str, int], ...]:
    """Return the counters of authenticators after these signatures."""
    namespace = order_from(signed.payload).operation.namespace
    found = standing(signed, state.policy, namespace=namespace, revoked=state.revoked_keys)
    return tuple(sorted({**dict(state.counters), **dict(found.counters)}.items()))


def _step(state: ApplierState, entry: OrderEntry | VetoEntry) -> tuple[ApplierState, Outcome]:
    """Take one entry, without the counters of authenticators."""
    state = settled(state, entry.now)
    if entry.now.latest_ns < state.seen_ns:
        return state, _went_back(state, entry.now)
    if isinstance(entry, VetoEntry):
        return _vetoed(state, entry)
    try:
        op = order_from(entry.signed.payload).op
    except OrderRejected as error:
        return state, Refused(error.reason, str(error))
    if op != "policy-change":
        verified = verify_order(entry.signed, state.policy, revoked=state.revoked_keys, counters=dict(state.counters))
        if isinstance(verified, Refused):
            return state, _or_replayed(state, entry.signed, verified)
        return apply_order(state, verified, entry.now, file=entry.file)
    change = verify_change(
        entry.signed, entry.file, state.policy, revoked=state.revoked_keys, counters=dict(state.counters)
    )
    if isinstance(change, Refused):
        return state, _or_replayed(state, entry.signed, change)
    return record_change(state, change, entry.now)


def folded(policy: OrderPolicy, entries: Iterable[OrderEntry | VetoEntry]) -> ApplierState:
    """Return the state after all entries of a log, refused ones among them."""
    state = begun(policy)
    for entry in entries:
        state, _ = step(state, entry)
    return state


def settled(state: ApplierState, now: Moment) -> ApplierState:
    """Let time pass: a waiting change whose delay is certainly over comes into force, old moves are forgotten."""
    seen_ns = max(state.seen_ns, now.earliest_ns)
    moves = tuple(one for one in state.moves if one.until_ns + DAY_NS >= seen_ns)
    state = replace(state, seen_ns=seen_ns, moves=moves)
    if state.pending is not None and seen_ns >= state.pending.in_force_ns:
        state = replace(state, policy=state.pending.change.policy, pending=None)
    return state


def apply_order(
    state: ApplierState, order: Verified[Order], now: Moment, *, file: bytes | None = None
) -> tuple[ApplierState, Applied | Refused]:
    """Apply a verified order if it is lawful here and now.

    Refused: "policy", "replay", "reordered", "not-yet-valid", "expired", "time-went-back", "file", "per-order",
    "per-day", "total", "envelope", "unknown-key", "quorum-lost", "needs-both-quorums".
    """
    state = settled(state, now)
    asked = order.value
    if asked.op == "policy-change":
        return state, Refused("needs-both-quorums", "a change of the policy is recorded by record_change")
    if refused := _out_of_place(state, asked, now) or _not_the_file(asked, file):
        return state, refused
    advanced = replace(state, sequence=asked.sequence, previous=asked.digest)
    if asked.op == "key-revoke":
        return _revoked(state, advanced, order, now)
    if asked.op == "steering-envelope":
        found = _envelope(state.policy, order, file or b"")
        if isinstance(found, Refused):
            return state, found
        return advanced, Applied(order, Fraction(0), _total(state.totals), found)
    if asked.operation.moves is Moves.NOTHING:
        return advanced, Applied(order, Fraction(0), _total(state.totals))
    return _moved(state, advanced, order, now)


def record_change(
    state: ApplierState, change: Verified[PolicyChange], now: Moment
) -> tuple[ApplierState, ChangeRecorded | Refused]:
    """Record a verified change of the policy; it waits from the latest that now can be. One can wait at a time."""
    state = settled(state, now)
    order = change.value.order
    if refused := _out_of_place(state, order, now):
        return state, refused
    if state.pending is not None:
        return state, Refused("change-pending", "another change of the policy is waiting: veto it first, or wait")
    if change.value.policy.version != state.policy.version + 1:
        return state, Refused("policy-version", f"version {state.policy.version + 1} must follow")
    pending = PendingPolicy(change.value, change.by, now.latest_ns, now.latest_ns + delay_ns(state.policy))
    state = replace(state, sequence=order.sequence, previous=order.digest, pending=pending)
    return state, ChangeRecorded(pending)


def _vetoed(state: ApplierState, entry: VetoEntry) -> tuple[ApplierState, Outcome]:
    """Take a veto. A key revoked by order keeps this voice until one delay has passed: a quorum could else silence
    first whoever would say no.
    """
    silent: frozenset[str] = frozenset()
    if state.pending is not None:
        before_ns = state.pending.recorded_ns - delay_ns(state.policy)
        silent = frozenset(one.fingerprint for one in state.revoked if one.at_ns <= before_ns)
    veto = verify_veto(entry.signed, state.pending, state.policy, revoked=silent)
    if isinstance(veto, Refused):
        return state, veto
    return replace(state, pending=None), Vetoed(veto)


def _or_replayed(state: ApplierState, signed: SignedOrder, refused: Refused) -> Refused:
    """Call a replay by its name where the policy it was signed under is over."""
    if refused.reason != "policy":
        return refused
    return _replayed(state, order_from(signed.payload)) or refused


def _replayed(state: ApplierState, order: Order) -> Refused | None:
    """Refuse an order whose place was taken."""
    if order.sequence > state.sequence:
        return None
    what = "was applied already" if order.digest == state.previous else "has a place that was taken already"
    return Refused("replay", f"order {order.sequence} {what}; the last applied is {state.sequence}: propose a new one")


def _out_of_place(state: ApplierState, order: Order, now: Moment) -> Refused | None:
    """Refuse an order of another policy, place or time."""
    if now.latest_ns < state.seen_ns:
        return _went_back(state, now)
    if refused := _replayed(state, order):
        return refused
    if order.policy != state.policy.digest:
        return Refused("policy", f"signed under {order.policy[:12]}, in force is {state.policy.digest[:12]}")
    if refused := _reordered(state, order):
        return refused
    if now.earliest_ns < order.valid_from_ns:
        wait_s = (order.valid_from_ns - now.earliest_ns) / _NS_PER_S
        return Refused("not-yet-valid", f"it may not be certain for {wait_s:.3f} s that it is valid: submit it then")
    if now.latest_ns >= order.expires_ns:
        over_h = (now.latest_ns - order.expires_ns) / HOUR_NS
        return Refused("expired", f"it expired {over_h:.2f} h ago, as late as it may be now: propose it again")
    return None


def _reordered(state: ApplierState, order: Order) -> Refused | None:
    """Refuse an order that does not follow the one applied last."""
    if order.sequence != state.sequence + 1:
        return Refused("reordered", f"order {order.sequence} came, {state.sequence + 1} is next: apply those before it")
    if order.previous != state.previous:
        return Refused(
            "reordered",
            f"it follows {order.previous[:12]}, the last applied is {state.previous[:12]}: propose it again",
        )
    return None


def _went_back(state: ApplierState, now: Moment) -> Refused:
    """Refuse a moment before one that has been."""
    back_s = (state.seen_ns - now.latest_ns) / _NS_PER_S
    return Refused("time-went-back", f"it was {back_s:.3f} s later before: the applier's clock was moved, look at it")


def _not_the_file(order: Order, file: bytes | None) -> Refused | None:
    """Refuse an order whose file is missing or another one."""
    if order.operation.value is not Value.FILE:
        return None if file is None else Refused("file", f"{order.op} names no file, and one came with it")
    if file is None:
        return Refused("file", f"the file with SHA-256 {order.value[:12]}… is missing: submit it with the order")
    found = sha256(file).hexdigest()
    return (
        None
        if found == order.value
        else Refused("file", f"the file has SHA-256 {found[:12]}…, not {order.value[:12]}…")
    )


def _envelope(policy: OrderPolicy, order: Verified[Order], file: bytes) -> Verified[SteeringLimits] | Refused:
    """Return the envelope, or why not: it allows more than the policy, or outlives its order.

    It may begin before its order does: what a laboratory takes in from the past is steered inside it too.
    """
    try:
        inside = limits_from(file)
    except EnvelopeRejected as error:
        return Refused("envelope", str(error))
    if (says := wider(inside, policy)) is not None:
        return Refused("envelope", says)
    if inside.valid_until_ns > order.value.expires_ns:
        return Refused("envelope", "it holds beyond the time for which its order was signed")
    return _verified(inside, order.by)


def wider(inside: SteeringLimits, policy: OrderPolicy) -> str | None:
    """Return what an envelope allows beyond the limits of a policy, None where it is within them."""
    for name, asked in (("day_s", inside.per_day_s), ("total_s", inside.total_s)):
        if Fraction(repr(asked)) > policy.limits.exact(name):
            return f"its {name} is {asked!r} s, the policy allows {getattr(policy.limits, name)} s"
    return None


def _revoked(
    state: ApplierState, advanced: ApplierState, order: Verified[Order], now: Moment
) -> tuple[ApplierState, Applied | Refused]:
    """Take a key's voice; a waiting policy that holds it falls with it."""
    name = order.value.target
    waiting = () if state.pending is None else state.pending.change.policy.persons
    if name in state.revoked_keys:
        return state, Refused("revoked-key", f"the key {name} is revoked already")
    if not any(one.key.fingerprint == name for person in (*state.policy.persons, *waiting) for one in person.keys):
        return state, Refused("unknown-key", f"the key {name} stands in no policy")
    gone = state.revoked_keys | {name}
    voices = sum(any(one.key.fingerprint not in gone for one in person.keys) for person in state.policy.persons)
    if voices < state.policy.threshold:
        return state, Refused(
            "quorum-lost",
            f"{voices} persons would be left with a key and {state.policy.threshold} are needed: nobody could order "
            "anything any more; change the policy instead",
        )
    falls = any(one.key.fingerprint == name for person in waiting for one in person.keys)
    advanced = replace(
        advanced,
        revoked=(*state.revoked, Revocation(name, now.latest_ns)),
        pending=None if falls else state.pending,
    )
    return advanced, Applied(order, Fraction(0), _total(state.totals))


def _moved(
    state: ApplierState, advanced: ApplierState, order: Verified[Order], now: Moment
) -> tuple[ApplierState, Applied | Refused]:
    """Check what an order moves against the limits of the policy, and count it."""
    asked, limits = order.value, state.policy.limits
    from_ns = max(asked.valid_from_ns, now.earliest_ns)
    at_once = asked.operation.moves is Moves.PHASE
    until_ns = now.latest_ns if at_once else asked.expires_ns
    signed_s = Fraction(asked.value)
    if not at_once:
        signed_s = signed_s * (until_ns - from_ns) / _NS_PER_S
    what, limit = ("delay", "delay_s") if asked.op == "calibration-delay" else ("steer", "steer_s")
    if abs(signed_s) > limits.exact(limit):
        return state, Refused("per-order", _says(abs(signed_s), "by one order", getattr(limits, limit)))
    moves = (*state.moves, Move(from_ns=from_ns, until_ns=until_ns, size_s=abs(signed_s), at_once=at_once))
    day_s = most_in_a_day(moves)
    # a day that is full already (a change of policy lowered the limit) is no reason to refuse what moves nothing
    if signed_s and day_s > limits.exact("day_s"):
        return state, Refused("per-day", _says(day_s, "in 24 h", limits.day_s))
    key = f"{what} {asked.target}"
    totals = dict(state.totals)
    totals[key] = totals.get(key, Fraction(0)) + signed_s
    after, before = _total(tuple(totals.items())), _total(state.totals)
    # above the limit only the way back is open: a refusal must not keep a departure alive
    if after > limits.exact("total_s") and after >= before and signed_s:
        return state, Refused("total", _says(after, "in all", limits.total_s))
    advanced = replace(advanced, moves=moves, totals=tuple(sorted(totals.items())))
    return advanced, Applied(order, day_s, after)


def most_in_a_day(moves: Iterable[Move]) -> Fraction:
    """Return the most time (s) that these move in any 24 h, each counted with its size; exact.

    The sum over a window is piecewise linear in its begin, but for moves at once: the most is found where the window
    begins or ends with a move.
    """
    every = tuple(moves)
    begins = {begin for one in every for edge in (one.from_ns, one.until_ns) for begin in (edge, edge - DAY_NS)}
    sums = (sum((one.within(begin, begin + DAY_NS) for one in every), Fraction(0)) for begin in begins)
    return max(sums, default=Fraction(0))


def _total(totals: tuple[tuple[str, Fraction], ...]) -> Fraction:
    """Return how far everything together has been moved away, s."""
    return sum((abs(moved_s) for _, moved_s in totals), Fraction(0))


def _says(found_s: Fraction, when: str, limit: str) -> str:
    """Say how much would be moved and what is allowed."""
    return f"{float(found_s):.6g} s would be moved {when}, {limit} s are allowed: the limit is the policy's, not yours"
