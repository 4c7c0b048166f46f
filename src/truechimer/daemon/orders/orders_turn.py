"""The laboratory's turn at the orders desk: each order through the fold, onto the disk, into effect, and then said.

It judges nothing (`laboratory.ordering` does). The law of the file: an order's record is committed with what it
changes, and feeds and files follow after it; what cannot be recorded is not taken.
"""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.clocks.delay import Delay
from truechimer.compare.delays import to_reference_plane
from truechimer.compare.reading import Reading
from truechimer.daemon import notify
from truechimer.daemon.answering.now_document import utc_text
from truechimer.daemon.door import door_policy
from truechimer.daemon.orders import policy_files
from truechimer.daemon.orders.orders_desk import Brought, outcome_body
from truechimer.instants import FS_PER_NS, Instant
from truechimer.laboratory import ordering, replay
from truechimer.laboratory.orders import Orders
from truechimer.quorum.applier import Applied, ChangeRecorded, Moment, Vetoed
from truechimer.quorum.verified import Refused

if TYPE_CHECKING:
    from truechimer.daemon.laboratory_process import Laboratory

LABEL_DOUBT_NS = 60 * 10**9
"""How far the host's label may be from UTC while no time is stated: it is a wall clock's, read once at the start. Then
an order that is valid for less than a minute more, or since less than a minute, waits.
"""

LOOK_EVERY_S = 1.0
"""Between two looks at the files of doors' policies."""


def moment(laboratory: "Laboratory") -> Moment:
    """Return the present as well as it is known: the interval that is served, else the label and a minute."""
    document = laboratory.now_document()
    if document.get("synchronised") is True and "earliest_tai_fs" in document:
        earliest, latest = int(document["earliest_tai_fs"]), int(document["latest_tai_fs"])
        return Moment(earliest // FS_PER_NS, -(-latest // FS_PER_NS))
    label_ns = laboratory.started.label.at(laboratory.clocks.raw_ns())
    return Moment(label_ns - LABEL_DOUBT_NS, label_ns + LABEL_DOUBT_NS)


def at_reference_plane(readings: Iterable[Reading], orders: Orders | None) -> tuple[Reading, ...]:
    """Return readings with what orders have changed of the calibrated delays."""
    found = tuple(readings)
    if orders is None or not orders.delayed:
        return found
    delays = {
        name: Delay(clock=name, delay_s=orders.delay_s(name), calibration_id=f"order-{orders.applier.sequence}")
        for name in orders.delayed
    }
    return tuple(to_reference_plane(one, delays) for one in found)


def take_all(laboratory: "Laboratory") -> None:
    """Take what lies on the desk; see whether a waiting policy has come into force."""
    while (brought := laboratory.desk.take()) is not None:
        laboratory.desk.tell(brought, _take(laboratory, brought))
    _look_at_policy(laboratory)
    _look_at_doors(laboratory)


def _take(laboratory: "Laboratory", brought: Brought) -> dict[str, object]:
    """Take one order or veto, and return what became of it."""
    started = laboratory.started
    if laboratory.journal.trouble is not None:
        says = "records cannot be written now, and what is not recorded is not taken: submit it again when they can"
        return {"outcome": "refused", "reason": "not-recorded", "says": says}
    ordered = ordering.take(started.config, started.state, brought.entry(moment(laboratory)))
    if isinstance(ordered, Refused):
        return {"outcome": "refused", "reason": ordered.reason, "says": ordered.says}
    body = outcome_body(ordered)
    if isinstance(ordered.outcome, Refused) and not laboratory.desk.may_record_refusal(time.monotonic()):
        del body["record"]
        return body | {"says": f"{ordered.outcome.says} (not recorded: too many refusals in a minute)"}
    leaps_before = started.config.leaps
    started.config, started.state = ordered.config, ordered.state
    laboratory.keep_record(ordered.record)
    laboratory.note(_alert(laboratory, ordered, brought))
    if started.config.leaps is not leaps_before:
        for feed in laboratory.feeds:
            feed.use_leaps(started.config.leaps)
        if laboratory.wall is not None:
            laboratory.wall.use_leaps(started.config.leaps)
    _take_effect(laboratory, ordered)
    return body


def _take_effect(laboratory: "Laboratory", ordered: ordering.Ordered) -> None:
    """Let doors and the publisher go on by what an order has brought; its record is on the disk."""
    orders = ordered.state.orders
    if orders is None or not isinstance(ordered.outcome, Applied):
        return
    op = ordered.outcome.order.value.op
    if op == "listener-policy":
        _lay_doors(laboratory, orders)
    elif op == "log-keys":
        laboratory.log.use_keys(orders.log_keys)


def _lay_doors(laboratory: "Laboratory", orders: Orders) -> tuple[str, ...]:
    """Lay the policies of doors before them; return those that said something else. Nothing where the disk refuses."""
    try:
        return door_policy.lay(laboratory.started.folder, orders.doors)
    except OSError as error:
        notify.say_line(f"the policy of a door cannot be written: {error.strerror}; it is tried again")
        return ()


def _look_at_doors(laboratory: "Laboratory") -> None:
    """Say where somebody has edited a door's policy by order, or laid one; it is what the order says again."""
    orders, now_s = laboratory.started.state.orders, time.monotonic()
    if orders is None or laboratory.started.config.observing or now_s < laboratory.desk.look_at_doors_s:
        return
    laboratory.desk.look_at_doors_s = now_s + LOOK_EVERY_S
    for name in _lay_doors(laboratory, orders):
        seen_ns = laboratory.started.label.at(laboratory.clocks.raw_ns())
        says = f"the policy of the door {name} was edited without an order; it is what orders say again"
        do_next = "find out who writes into the laboratory's run/; clients may have been answered, or not, for a second"
        kind, severity = AlertKind.CHANGED_WITHOUT_ORDER, AlertSeverity.CRITICAL
        laboratory.note(Alert(kind, replay.DAEMON, name, severity, says, (), seen_ns, do_next))


def _alert(laboratory: "Laboratory", ordered: ordering.Ordered, brought: Brought) -> Alert:
    """Return what is said of an order."""
    order = ordering.order_of(brought.entry(Moment(0, 0)))
    what = (
        "a veto" if brought.is_veto else "an order" if order is None else f"order {order.sequence} ({order.sentence})"
    )
    leaps = laboratory.started.config.leaps
    kind, severity = AlertKind.ORDER_TAKEN, AlertSeverity.NOTICE
    do_next = "compare it with what was agreed: `truechimer order show --log` has who signed and why"
    match ordered.outcome:
        case Applied(by, _, _, _):
            says = f"{what} is in force, signed by {', '.join(by.by)}"
        case ChangeRecorded(pending):
            until = utc_text(Instant.from_tai_ns(pending.in_force_ns), leaps)[:19]
            severity = AlertSeverity.WARNING
            says = f"{what} waits until {until} UTC, signed by {', '.join(pending.by)}; then the policy is another"
            do_next = "whoever did not agree to it: `truechimer order veto`; any one key of the policy stops it"
        case Vetoed(veto):
            severity = AlertSeverity.WARNING
            says = f"the waiting change of the policy was vetoed by {', '.join(veto.by)}: {veto.value.because}"
        case Refused(reason, why):
            kind, severity = AlertKind.ORDER_REFUSED, AlertSeverity.WARNING
            says = f"{what} was refused ({reason}): {why}"
            do_next = "find out who submitted it; `truechimer order show` says what is missing"
    seen_ns = laboratory.started.label.at(laboratory.clocks.raw_ns())
    return Alert(kind, replay.DAEMON, "orders", severity, says, (f"record {ordered.record.seq}",), seen_ns, do_next)


def _look_at_policy(laboratory: "Laboratory") -> None:
    """Say, once, that a waiting policy has come into force, and write it beside the first one."""
    started = laboratory.started
    orders = started.state.orders
    if orders is None or started.config.observing:
        return
    pending = orders.applier.pending
    if pending is None or laboratory.desk.told_policy == pending.change.policy.digest:
        return
    if moment(laboratory).earliest_ns < pending.in_force_ns:
        return
    policy = pending.change.policy
    laboratory.desk.told_policy = policy.digest
    try:
        policy_files.write_policy(started.folder / started.lab.policy.folder, policy)
    except OSError as error:
        notify.say_line(f"the policy that is in force cannot be written beside the records: {error.strerror}")
    says = f"version {policy.version} of the policy is in force: {policy.sentence}"
    seen_ns = started.label.at(laboratory.clocks.raw_ns())
    do_next = "propose waiting orders again: those signed under the old policy are worth nothing"
    laboratory.note(
        Alert(AlertKind.ORDER_TAKEN, replay.DAEMON, "policy", AlertSeverity.WARNING, says, (), seen_ns, do_next)
    )


def changed_alert(changed: tuple[str, ...], *, seen_ns: int) -> Alert:
    """Return the alert that parts of the laboratory's file were edited without an order."""
    says = f"edited since the last start, without an order: {', '.join(changed)}"
    do_next = (
        "if nobody agreed to it, put back what stood there; [policy] refuse_changes_without_order refuses such starts"
    )
    return Alert(
        AlertKind.CHANGED_WITHOUT_ORDER, replay.DAEMON, "LAB.toml", AlertSeverity.CRITICAL, says, (), seen_ns, do_next
    )
