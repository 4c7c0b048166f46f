"""Expiry: leap table and steering envelope run out on a known day; the operator hears it before, and when it has
happened.

It decides nothing: the line treats an expired table or envelope by its own rules.
"""

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.watch.standing import Standing

DAY_NS = 86_400 * 10**9
WARNING_NS = 14 * DAY_NS


def leap_table(expires_tai_ns: int, *, epoch_tai_ns: int, warning_ns: int = WARNING_NS) -> tuple[Standing, Standing]:
    """Return the two standing conditions of a leap table: it expires within `warning_ns`; it has expired."""
    do_next = (
        "put the present leap-seconds.list into the laboratory's folder; beyond its expiry UTC cannot be told from TAI"
    )
    soon = lambda: Alert(  # noqa: E731
        AlertKind.LEAP_TABLE_EXPIRING,
        "instants",
        "leap table",
        AlertSeverity.WARNING,
        f"the leap table expires in {max(expires_tai_ns - epoch_tai_ns, 0) / DAY_NS:.1f} days",
        (),
        epoch_tai_ns,
        do_next,
    )
    gone = lambda: Alert(  # noqa: E731
        AlertKind.LEAP_TABLE_EXPIRED,
        "instants",
        "leap table",
        AlertSeverity.CRITICAL,
        "the leap table has expired; doors are unsynchronised",
        (),
        epoch_tai_ns,
        do_next,
    )
    expired = epoch_tai_ns >= expires_tai_ns
    return (
        Standing("leap-expiring", not expired and epoch_tai_ns >= expires_tai_ns - warning_ns, soon),
        Standing("leap-expired", expired, gone),
    )


def envelope(valid_until_ns: int, *, epoch_tai_ns: int, warning_ns: int = WARNING_NS) -> tuple[Standing, Standing]:
    """Return the two standing conditions of a steering envelope: it expires within `warning_ns`; it has expired."""
    do_next = "have a new envelope signed; without one the laboratory holds its rate and is in holdover"
    soon = lambda: Alert(  # noqa: E731
        AlertKind.ENVELOPE_EXPIRING,
        "quorum",
        "envelope",
        AlertSeverity.WARNING,
        f"the steering envelope expires in {max(valid_until_ns - epoch_tai_ns, 0) / DAY_NS:.1f} days",
        (),
        epoch_tai_ns,
        do_next,
    )
    gone = lambda: Alert(  # noqa: E731
        AlertKind.ENVELOPE_EXPIRED,
        "quorum",
        "envelope",
        AlertSeverity.CRITICAL,
        "no valid steering envelope: holdover",
        (),
        epoch_tai_ns,
        do_next,
    )
    expired = epoch_tai_ns >= valid_until_ns
    return (
        Standing("envelope-expiring", not expired and epoch_tai_ns >= valid_until_ns - warning_ns, soon),
        Standing("envelope-expired", expired, gone),
    )
