"""Alerts: what a monitor says when something is not as it should be.

An alert is a value. It does not act: acting is an order, or a rule of the fold itself. `AlertKind` is the one list of
class names that anyone (a drill, a dashboard, a test) may expect.
"""

from dataclasses import dataclass
from enum import StrEnum


class AlertKind(StrEnum):
    """Every class of alert, by its stable name."""

    CLOCK_STEP = "clock-step"
    CLOCK_RATE = "clock-rate"
    CLOCK_FROZEN = "clock-frozen"
    CLOCK_MISSING = "clock-missing"
    CLOCK_DISPUTED = "clock-disputed"
    CLOCK_TOO_GOOD = "clock-too-good"
    CLOCK_RETURNED = "clock-returned"
    CLASS_DIVIDED = "class-divided"
    CLOSURE = "closure"
    LINK_OUTVOTED = "link-outvoted"
    LINK_MISSING = "link-missing"
    LINK_REFUSED = "link-refused"
    LINK_DOUBTED = "link-doubted"
    LINK_BELIEVED = "link-believed"
    UTC_PARAMETERS = "utc-parameters"
    RECEIVER_DATE = "receiver-date"
    RECEIVER_SILENT = "receiver-silent"
    NO_MAJORITY = "no-majority"
    STEER_REFUSED = "steer-refused"
    STEER_AT_LIMIT = "steer-at-limit"
    ENVELOPE_EXPIRING = "envelope-expiring"
    ENVELOPE_EXPIRED = "envelope-expired"
    BOUND_EXCEEDED = "bound-exceeded"
    LEAP_TABLE_EXPIRING = "leap-table-expiring"
    LEAP_TABLE_EXPIRED = "leap-table-expired"
    LEAP_DISPUTED = "leap-disputed"
    LEAP_UNCONFIRMED = "leap-unconfirmed"
    READING_REJECTED = "reading-rejected"
    SOURCE_AWAY = "source-away"
    SOURCE_RETURNED = "source-returned"
    SOURCE_UNREADABLE = "source-unreadable"
    SOURCE_LATE = "source-late"
    SOURCE_REFUSES = "source-refuses"
    SOURCE_SMEARS = "source-smears"
    WATCHDOG_AWAY = "watchdog-away"
    WATCHDOG_BLIND = "watchdog-blind"
    HOST_CLOCK_STEP = "host-clock-step"
    SCALE_EMPTY = "scale-empty"
    SCALE_OFF_UTC = "scale-off-utc"
    SCALE_DEPARTS = "scale-departs"
    REFERENCE_OFF = "reference-off"
    HOST_OSCILLATOR = "host-oscillator"
    STATE_CHANGED = "state-changed"
    RECORDS_NOT_WRITTEN = "records-not-written"
    RECORDS_LOST = "records-lost"
    DOOR_ENDED = "door-ended"
    SERVE_ERROR = "serve-error"
    LOG_UNPUBLISHED = "log-unpublished"
    LOG_UNWITNESSED = "log-unwitnessed"
    LOG_CONTRADICTED = "log-contradicted"
    WITNESS_CLOCK = "witness-clock"
    ORDER_TAKEN = "order-taken"
    ORDER_REFUSED = "order-refused"
    CHANGED_WITHOUT_ORDER = "changed-without-order"
    BULLETIN_REFUSED = "bulletin-refused"
    VALUE_HELD = "value-held"
    PUBLICATION_OVERDUE = "publication-overdue"


class AlertSeverity(StrEnum):
    """`critical`: the time itself may be wrong or is about to be; `warning`: look today; `notice`: for the log."""

    CRITICAL = "critical"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    `component` is the room that speaks (`scale`, `compare`, `steer`, `serve`), `subject` the clock, link or listener
    concerned, `says` one sentence for the operator, `because` the figures or record hashes for the auditor,
    `seen_at_tai_ns` the epoch at which it was seen (ns since 1970-01-01T00:00:00 TAI), `do_next` what the operator
    should do.
    """

    kind: AlertKind
    component: str
    subject: str
    severity: AlertSeverity
    says: str
    because: tuple[str, ...]
    seen_at_tai_ns: int
    do_next: str
