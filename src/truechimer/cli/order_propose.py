"""Proposing an order: from words on a command line to the bytes that people sign, next in the laboratory's chain.

It signs nothing. What would be refused whoever signs it is refused here already, with the reason.
"""

import argparse
import ipaddress
import os
import secrets
from hashlib import sha256
from pathlib import Path

from truechimer.cli.order_place import OrderInputRejected, OrderPlace
from truechimer.daemon.lab import guarded
from truechimer.quorum.applier import settled
from truechimer.quorum.envelope import SteeringLimits
from truechimer.quorum.listener_policy import ListenerPolicy, ListenerPolicyRejected, listener_policy_from
from truechimer.quorum.operations import DAY_NS, OPERATIONS, Operation, Value
from truechimer.quorum.order import Order, OrderRejected, order_from
from truechimer.quorum.policy_change import Veto, veto_from
from truechimer.quorum.verified import Verified
from truechimer.watch.thresholds import THRESHOLDS

HOURS = 12.0
ENVELOPE_DAYS = 90.0
DEFAULT_BOUND_LIMIT_S = 0.001


def propose(options: argparse.Namespace, place: OrderPlace) -> Path:
    """Write a proposal and the file that it names; return where it lies. Raises `OrderInputRejected`."""
    operation = OPERATIONS.get(options.op)
    if operation is None:
        raise OrderInputRejected(f"there is no operation {options.op!a}: {', '.join(OPERATIONS)} are known")
    if place.orders is None:
        raise OrderInputRejected("no laboratory: name its folder with --lab DIR")
    if operation.name not in place.orders.operations:
        raise OrderInputRejected(
            f"{operation.name} is not applied by the run whose records are there, so nobody needs to sign it; applied "
            f"are {', '.join(sorted(place.orders.operations))}"
        )
    state = settled(place.orders.applier, place.now)
    begin_ns = place.now.earliest_ns
    hold_ns = round((options.hours if options.hours is not None else HOURS) * 3.6e12)
    if operation.name == "steering-envelope":
        hold_ns = round((options.days if options.days is not None else ENVELOPE_DAYS) * DAY_NS)
        hold_ns = min(hold_ns, operation.longest_ns)
    elif options.days is not None:
        hold_ns = round(options.days * DAY_NS)
    file = _file(options, place, begin_ns, begin_ns + hold_ns)
    value = options.value
    if operation.value is Value.FILE:
        if file is None:
            raise OrderInputRejected(f"{operation.name} names a file: give it with --file FILE")
        value = sha256(file).hexdigest()
    elif file is not None:
        raise OrderInputRejected(f"{operation.name} takes no file")
    elif operation.value is Value.QUANTITY or operation.value is Value.FRACTION:
        value = _number(value, operation.name)
    target = options.target or _target(operation.name, place)
    unit = options.unit if options.unit is not None else _unit(operation, target)
    order = Order(
        op=operation.name,
        target=target,
        value=value or "",
        unit=unit,
        because=options.because,
        valid_from_ns=begin_ns,
        expires_ns=begin_ns + hold_ns,
        nonce=secrets.token_hex(16),
        sequence=state.sequence + 1,
        previous=state.previous,
        policy=state.policy.digest,
    )
    try:
        order_from(order.canonical())
    except OrderRejected as error:
        raise OrderInputRejected(f"this would be no order: {error}") from None
    path = options.out or place.proposals / f"{order.sequence:04d}-{order.op}-{order.nonce[:6]}.json"
    return _write(path, order.canonical(), file)


def veto(options: argparse.Namespace, place: OrderPlace) -> Path:
    """Write a veto of the change that waits; return where it lies. Raises `OrderInputRejected`."""
    state = None if place.orders is None else settled(place.orders.applier, place.now)
    if state is None or state.pending is None:
        raise OrderInputRejected("no change of the policy is waiting here: there is nothing to veto")
    asked = Veto(state.pending.change.order.digest, options.because)
    veto_from(asked.canonical())
    path = options.out or place.proposals / f"veto-{asked.order[:12]}-{secrets.token_hex(3)}.json"
    return _write(path, asked.canonical(), None)


def _file(options: argparse.Namespace, place: OrderPlace, begin_ns: int, end_ns: int) -> bytes | None:
    """Return the file that goes with the order: the one named, or an envelope like the one in force."""
    if options.file is not None:
        try:
            data: bytes = options.file.read_bytes()
        except OSError as error:
            raise OrderInputRejected(f"{options.file}: {error.strerror}") from None
        return data
    if options.op == "configuration" and options.edited is not None:
        return guarded.text_of_edit(options.edited, str(options.target))
    if options.op == "listener-policy" and (options.allow or options.bound_limit_s is not None):
        return _listener_policy(options)
    if options.op != "steering-envelope":
        return None
    known = None if place.orders is None else place.orders.limits
    if not isinstance(known, Verified) and None in {options.per_change, options.per_day_s, options.total_s}:
        raise OrderInputRejected(
            "no envelope is in force to take limits from: give --per-change, --per-day and --total"
        )
    before = known.value if isinstance(known, Verified) else None

    def limit(given: float | None, name: str) -> float:
        return float(getattr(before, name)) if given is None else given

    return SteeringLimits(
        per_change=limit(options.per_change, "per_change"),
        per_day_s=limit(options.per_day_s, "per_day_s"),
        total_s=limit(options.total_s, "total_s"),
        valid_from_ns=begin_ns,
        valid_until_ns=end_ns,
        sequence=1 if before is None else before.sequence + 1,
        coordination_start=True,
    ).canonical()


def _listener_policy(options: argparse.Namespace) -> bytes:
    """Return the policy of a listener from words; whom it answers must be said, for nobody guesses that."""
    if not options.allow or not options.target:
        raise OrderInputRejected(
            "listener-policy: say which door with --target (ntp-11123) and whom it answers with --allow NETWORK,... "
            "(0.0.0.0/0,::/0 for everybody)"
        )
    bound_limit_s = DEFAULT_BOUND_LIMIT_S if options.bound_limit_s is None else options.bound_limit_s
    try:
        allow = tuple(ipaddress.ip_network(one) for one in options.allow.split(","))
        return listener_policy_from(ListenerPolicy(options.target, allow, bound_limit_s).canonical()).canonical()
    except (ValueError, ListenerPolicyRejected) as error:
        raise OrderInputRejected(f"listener-policy: {error}") from None


def _unit(operation: Operation, target: str) -> str:
    """Return the unit that goes without saying: a threshold's own, else the operation's first."""
    if operation.name == "monitor-threshold" and target in THRESHOLDS:
        return THRESHOLDS[target].unit
    return operation.units[0]


def _number(text: str | None, op: str) -> str:
    """Return a number in the one form in which it is signed."""
    try:
        return repr(float(text or ""))
    except ValueError:
        raise OrderInputRejected(f"{op} needs a number, in SI units: --value 2e-9; {text!a} is none") from None


def _target(op: str, place: OrderPlace) -> str:
    """Return the target that goes without saying."""
    if op in {"steer-phase", "steer-rate", "steering-envelope"} and place.scale:
        return place.scale
    if op in {"policy-change", "leap-table"}:
        return place.policy.laboratory
    raise OrderInputRejected(f"{op}: name what it is to change with --target")


def _write(path: Path, payload: bytes, file: bytes | None) -> Path:
    """Write new files; nothing is overwritten."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for target, data in ((path, payload), (path.with_name(path.name + ".file"), file)):
            if data is not None:
                descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
                with os.fdopen(descriptor, "wb") as out:
                    out.write(data)
    except OSError as error:
        raise OrderInputRejected(f"{path}: {error.strerror}; name another file with --out") from None
    return path
