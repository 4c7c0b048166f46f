"""Firing: which alerts name a condition that holds now, and for whom, read from the state of the fold and the watch on
this machine's clock.

An alert is said when its condition begins; this says how long it lasts. It raises nothing and records nothing. Kinds
that are events (a steer was refused, a row was rejected, a clock returned) are no conditions and are not here.
"""

from collections.abc import Iterator
from typing import Any

from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.clocks.register import Register
from truechimer.compare.selection import SelectionState, Verdict
from truechimer.daemon.observed_host import SUBJECT, ObservedHost
from truechimer.laboratory import leap_notices
from truechimer.laboratory.state import LaboratoryState
from truechimer.scale.state import Membership
from truechimer.watch import publications, receivers, silence, steering_room

Condition = tuple[AlertKind, AlertSeverity]

_WARNING, _CRITICAL = AlertSeverity.WARNING, AlertSeverity.CRITICAL

MEMBERSHIPS: dict[Membership, Condition] = {
    Membership.SUSPECT: (AlertKind.CLOCK_STEP, _WARNING),
    Membership.OUT_STEP: (AlertKind.CLOCK_STEP, _CRITICAL),
    Membership.OUT_RATE: (AlertKind.CLOCK_RATE, _CRITICAL),
    Membership.DOUBTED: (AlertKind.CLOCK_RATE, _WARNING),
    Membership.DISPUTED: (AlertKind.CLOCK_DISPUTED, _WARNING),
    Membership.DIVIDED: (AlertKind.CLASS_DIVIDED, _CRITICAL),
    Membership.ALIKE: (AlertKind.CLOCK_TOO_GOOD, _WARNING),
    Membership.REPLAYED: (AlertKind.CLOCK_TOO_GOOD, _CRITICAL),
}
VERDICTS: dict[Verdict, Condition] = {
    Verdict.OUTVOTED: (AlertKind.LINK_OUTVOTED, _CRITICAL),
    Verdict.QUARANTINED: (AlertKind.LINK_OUTVOTED, _WARNING),  # it agrees again, and has no vote yet
    Verdict.STALE: (AlertKind.LINK_MISSING, _WARNING),
}
STANDING: dict[str, tuple[Condition, str]] = {
    "leap-expiring": ((AlertKind.LEAP_TABLE_EXPIRING, _WARNING), "leap table"),
    "leap-expired": ((AlertKind.LEAP_TABLE_EXPIRED, _CRITICAL), "leap table"),
    leap_notices.DISPUTED: ((AlertKind.LEAP_DISPUTED, _CRITICAL), "leap table"),
    leap_notices.UNCONFIRMED: ((AlertKind.LEAP_UNCONFIRMED, _WARNING), "leap table"),
    "envelope-expiring": ((AlertKind.ENVELOPE_EXPIRING, _WARNING), "envelope"),
    "envelope-expired": ((AlertKind.ENVELOPE_EXPIRED, _CRITICAL), "envelope"),
    steering_room.AT_LIMIT: ((AlertKind.STEER_AT_LIMIT, _WARNING), "steering"),
    silence.EMPTY: ((AlertKind.SCALE_EMPTY, _CRITICAL), "scale"),
}
"""Standing conditions by their key in `LaboratoryState.said`, with the subject of their alert."""

NAMED: dict[str, Condition] = {
    silence.FROZEN: (AlertKind.CLOCK_FROZEN, _WARNING),
    silence.MISSING: (AlertKind.CLOCK_MISSING, _WARNING),
    publications.OVERDUE: (AlertKind.PUBLICATION_OVERDUE, _WARNING),
    publications.HELD: (AlertKind.VALUE_HELD, _WARNING),
}
"""Standing conditions whose key goes on with their subject."""

LOG: dict[str, Condition] = {
    "unpublished": (AlertKind.LOG_UNPUBLISHED, _WARNING),
    "contradicted": (AlertKind.LOG_CONTRADICTED, _CRITICAL),
}
"""Conditions of the signed log, by its state word in `status`."""
NOT_WITNESSED: Condition = (AlertKind.LOG_UNWITNESSED, _WARNING)
NOT_WRITTEN: Condition = (AlertKind.RECORDS_NOT_WRITTEN, _CRITICAL)
AWAY: Condition = (AlertKind.SOURCE_AWAY, _WARNING)
DIVIDED: Condition = (AlertKind.CLASS_DIVIDED, _CRITICAL)
OPEN_LOOP: Condition = (AlertKind.CLOSURE, _WARNING)
NO_MAJORITY: Condition = (AlertKind.NO_MAJORITY, _CRITICAL)
HOST_CLOCK_OFF: Condition = (AlertKind.BOUND_EXCEEDED, _WARNING)

CONDITIONS: tuple[Condition, ...] = (
    *MEMBERSHIPS.values(),
    *VERDICTS.values(),
    *(condition for condition, _ in STANDING.values()),
    *NAMED.values(),
    *receivers.CLASSES,
    NOT_WRITTEN,
    *LOG.values(),
    NOT_WITNESSED,
    AWAY,
    OPEN_LOOP,
    NO_MAJORITY,
    HOST_CLOCK_OFF,
)
"""Every condition that can hold, each once."""


def document(state: LaboratoryState, host_clock: ObservedHost | None = None) -> dict[str, Any]:
    """Return every condition with the subjects for which it holds now, none where it holds nowhere.

    `host_clock`: the watch on this machine's own clock, None where there is none.
    """
    held: dict[Condition, list[str]] = {condition: [] for condition in CONDITIONS}
    for condition, subject in _held(state, state.register):
        held[condition].append(subject)
    if host_clock is not None and host_clock.is_off:
        held[HOST_CLOCK_OFF].append(SUBJECT)
    return {
        "conditions": [
            {"alert": kind.value, "severity": severity.value, "subjects": sorted(subjects)}
            for (kind, severity), subjects in held.items()
        ]
    }


def add_outside_the_fold(body: dict[str, Any]) -> None:
    """Add to the block `firing` of a status document what other blocks of it say: records that cannot be written, a
    log that is not published or not witnessed, a chronyd that is away.
    """
    held: dict[Condition, list[str]] = {NOT_WRITTEN: [], AWAY: []}
    log = body.get("evidence", {})
    if log.get("state") in LOG:
        held[LOG[log["state"]]] = ["log"]
    if log.get("quorum", "none") != "none" and "unwitnessed_since" in log:  # nobody named is no fault, but is said
        held[NOT_WITNESSED] = ["log"]
    if body["store"]["state"] != "written":
        held[NOT_WRITTEN].append("records")
    held[AWAY] += [chronyd["name"] for chronyd in body.get("chrony", ()) if chronyd.get("says")]
    for row in body["firing"]["conditions"]:
        row["subjects"] += sorted(held.get((row["alert"], row["severity"]), ()))


def _held(state: LaboratoryState, register: Register) -> Iterator[tuple[Condition, str]]:
    """Yield each condition that holds, with its subject."""
    for clock, membership in zip(register.clocks, state.scale.membership.tolist(), strict=True):
        if (condition := MEMBERSHIPS.get(Membership(membership))) is not None:
            yield condition, clock.name
    for link, claim in zip(register.outside, state.claims, strict=False):
        # one in quarantine that contradicts the majority as before is no better for having lost its vote
        contradicts = claim.verdict is Verdict.QUARANTINED and not claim.clean_ns
        if (condition := VERDICTS.get(Verdict.OUTVOTED if contradicts else claim.verdict)) is not None:
            yield condition, register.link_name(link.link)
    for key in state.said:
        if key in STANDING:
            yield STANDING[key]
        if (of_receiver := receivers.held(key)) is not None:
            yield of_receiver[:2], of_receiver[2]
        for prefix, condition in NAMED.items():
            if key.startswith(prefix):
                subject = key.removeprefix(prefix)
                yield condition, subject.partition("/")[0] if prefix == publications.HELD else subject
    for link_index in state.open_loops:
        yield OPEN_LOOP, register.link_name(link_index)
    if state.divided:
        yield DIVIDED, "scale"
    if state.selection is SelectionState.NO_MAJORITY:
        yield NO_MAJORITY, "sources"
