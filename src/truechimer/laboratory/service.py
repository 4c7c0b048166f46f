"""Service: the state in one word, what is missing for a better one, and the clock page that the doors read.

It decides nothing about the time itself: it states what the line found.
"""

from dataclasses import dataclass

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.clocks.register import Register
from truechimer.compare.claims import Claim
from truechimer.compare.selection import Selection, SelectionState
from truechimer.instants import FS_PER_NS, FS_PER_S, LeapTable
from truechimer.laboratory.late_turn import Late
from truechimer.serve.clock_page import ClockPage, ServiceState
from truechimer.steer.bound import Bound
from truechimer.steer.realization import Realization
from truechimer.steer.utc_prediction import UtcPrediction

HOLDOVER_INTERVALS = 4.0
"""Without an outside value for this many of the usual intervals (and of the scale's) the state is holdover."""

SILENT_INTERVALS = 8
"""Without any member's reading for this many scale intervals the scale itself only coasts: holdover."""

FEMTO = 1e15

_NOT_FOLLOWED = (SelectionState.NO_MAJORITY, SelectionState.TOO_FEW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the state depends on, at one epoch (ns TAI). `started`: UTC(k) is on paper; while `observing`, UTC as
    predicted is. `poll_s`: how often the quickest server is asked, 0 where none is. `late`: published values, None
    where they do not steer.
    """

    epoch_ns: int
    interval_s: float
    host_seen: bool
    claims: tuple[Claim, ...]
    selection: Selection
    utc: UtcPrediction | None
    started: bool
    envelope_in_force: bool
    leap_expired: bool
    divided: bool
    scale_ns: int
    observing: bool = False
    poll_s: float = 0.0
    late: Late | None = None


def is_following(found: Found) -> bool:
    """Return True where a majority of outside values, or publications where they decide, arrive as usual."""
    if found.late is not None and found.late.decides:
        return found.utc is not None and found.epoch_ns <= found.late.until_ns
    if found.utc is None or found.selection.state in _NOT_FOLLOWED:
        return False
    silence_s = (found.epoch_ns - found.utc.outside_ns) / 1e9
    return silence_s <= HOLDOVER_INTERVALS * max(found.utc.interval_s, found.interval_s, found.poll_s)


def missing(found: Found) -> tuple[str, ...]:
    """Return what this laboratory lacks to serve UTC, in words for the operator; empty where nothing is."""
    lacks = []
    if not found.host_seen:
        lacks.append("no reading names host: the scale cannot be brought to this machine's counter")
    if found.late is not None and not any(claim.n for claim in found.claims):
        if not found.late.has_values:
            lacks.append("no published value of UTC - UTC(k) has come, and no link: the scale runs free")
    elif not any(claim.n for claim in found.claims):
        lacks.append("no link reaches UTC, UTCr or UTC.<lab>: the scale runs free")
    return tuple(lacks)


def lacking(found: Found, word: ServiceState) -> tuple[str, ...]:
    """Return what keeps the laboratory from a better state than `word`, as far as it has words of its own."""
    lacks = missing(found) if word in {ServiceState.FREERUN, ServiceState.ALARM} else ()
    if found.late is not None and found.late.decides:
        return lacks
    if found.selection.state is SelectionState.NO_MAJORITY:
        return (*lacks, NO_MAJORITY_SAYS)
    if found.selection.state is SelectionState.TOO_FEW:
        return (*lacks, TOO_FEW_SAYS)
    return lacks


NO_MAJORITY_SAYS = "no majority: sources of UTC contradict each other; none is followed"
TOO_FEW_SAYS = "too few sources: most operators that the laboratory names have not spoken, or not lately"


def decide(found: Found) -> ServiceState:
    """Return the state word (contract: freerun, acquiring, steered, holdover, alarm).

    While observing nothing is steered: what would be `steered` in service is `freerun`, and UTC is stated all the same.
    """
    if found.leap_expired:
        return ServiceState.ALARM
    if missing(found):
        return ServiceState.FREERUN
    if not found.started:
        return ServiceState.ACQUIRING
    following = is_following(found)
    if found.divided and not following:
        return ServiceState.ALARM
    coasting = (found.epoch_ns - found.scale_ns) / 1e9 > SILENT_INTERVALS * found.interval_s
    if not following or coasting or not (found.envelope_in_force or found.observing):
        return ServiceState.HOLDOVER
    return ServiceState.FREERUN if found.observing else ServiceState.STEERED


_CHANGED = {
    ServiceState.FREERUN: (AlertSeverity.NOTICE, "nothing brings UTC here; doors are unsynchronised"),
    ServiceState.ACQUIRING: (AlertSeverity.NOTICE, "offset and rate are being learned; doors are unsynchronised"),
    ServiceState.STEERED: (AlertSeverity.NOTICE, "a majority of sources is followed"),
    ServiceState.HOLDOVER: (
        AlertSeverity.WARNING,
        "no majority of fresh outside values is followed, or no envelope is in force; the bound grows",
    ),
    ServiceState.ALARM: (AlertSeverity.CRITICAL, "doors are unsynchronised"),
}


_CHANGED_OBSERVING = {
    ServiceState.FREERUN: "observing: UTC is known, and nothing is steered",
    ServiceState.ACQUIRING: "observing: offset and rate are being learned",
    ServiceState.HOLDOVER: "observing: no majority of fresh outside values is followed; the bound grows",
    ServiceState.ALARM: "observing: no time is stated",
}


_CHANGED_BY_VALUES = {
    ServiceState.STEERED: "what is published of UTC - UTC(k) is followed",
    ServiceState.HOLDOVER: "publications have not come, or no envelope is in force; the bound grows",
}


def changed(facts: Found, before: ServiceState, after: ServiceState) -> tuple[Alert, ...]:
    """Return what is said of a change of the state word; nothing where it is the same."""
    if after is before:
        return ()
    severity, why = _CHANGED[after]
    if facts.observing and not (after is ServiceState.FREERUN and not facts.started):
        why = _CHANGED_OBSERVING.get(after, why)
    elif facts.late is not None and facts.late.decides:
        why = _CHANGED_BY_VALUES.get(after, why)
    epoch_ns = facts.epoch_ns
    calm = severity is AlertSeverity.NOTICE
    do_next = "nothing" if calm else "see what the other alerts of this moment say, and `truechimer sources`"
    says = f"the state is {after.value} now, it was {before.value}: {why}"
    return (Alert(AlertKind.STATE_CHANGED, "serve", "service", severity, says, (), epoch_ns, do_next),)


LEAP_NAMED_AFTER_FS = 43_200 * FS_PER_S
"""A page names a leap second until half a day after it: so long a door that smears is still on its way."""


def clock_page(
    real: Realization,
    limit: Bound,
    *,
    growth: float,
    raw_ns: int,
    state: ServiceState,
    leaps: LeapTable,
    silence_s: float,
    simulated: bool,
    coverage: float,
    refid: bytes,
    stratum: int,
) -> ClockPage | None:
    """Return the page: UTC(k) as a straight line over the raw counter, anchored at this epoch's raw value.

    None where that lies before UTC began: what the host then says of itself cannot be served. It names the next leap
    second, or the last one until `LEAP_NAMED_AFTER_FS` after it; `tai_minus_utc_s` is the offset before that one.
    """
    tai_fs = real.epoch_ns * FS_PER_NS - round(real.x_host_minus_utck_s * FEMTO)
    if tai_fs < leaps.start_of(leaps.entries[0]).tai_fs:
        return None
    index = leaps.index_at(tai_fs)
    if index and tai_fs < leaps.start_of(leaps.entries[index]).tai_fs + LEAP_NAMED_AFTER_FS:
        index -= 1
    leap = leaps.entries[index + 1] if index + 1 < len(leaps.entries) else None
    return ClockPage(
        anchor_raw_ns=raw_ns,
        anchor_tai_fs=tai_fs,
        rate=-real.y_host_minus_utck,
        bound_s=limit.bound_s,
        bound_growth=growth,
        u_s=limit.u_s,
        coverage=coverage,
        state=state,
        simulated=simulated,
        tai_minus_utc_s=leaps.entries[index].tai_minus_utc_s,
        next_leap_tai_s=None if leap is None else leaps.start_of(leap).tai_fs // FS_PER_S,
        next_tai_minus_utc_s=None if leap is None else leap.tai_minus_utc_s,
        leap_expires_tai_s=leaps.expires_instant.tai_fs // FS_PER_S,
        valid_until_raw_ns=raw_ns + round(silence_s * 1e9),
        refid=refid,
        stratum=stratum,
        root_delay_s=0.0,
        written_raw_ns=raw_ns,
        laboratory_pid=0,
    )


def refid_of(register: Register, selection: Selection, refids: dict[str, bytes], default: bytes) -> bytes:
    """Return the reference identifier of the first selected source that has one, else the laboratory's own (RFC 5905
    section 7.3).
    """
    for k in selection.selected:
        name = register.references[register.outside[k].reference].name
        if name in refids:
            return refids[name]
    return default
