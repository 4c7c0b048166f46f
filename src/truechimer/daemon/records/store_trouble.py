"""Store trouble: what a laboratory says of itself while its records cannot be written, and when they can be again.

It judges nothing: `journal` knows the state, `standing` what is served meanwhile.
"""

from contextlib import suppress
from typing import Any

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.daemon.lab_start import Started
from truechimer.daemon.records.journal import Journal
from truechimer.instants import BeforeUtcRejected, Instant, to_utc
from truechimer.laboratory.replay import DAEMON

_DO_NEXT = (
    "free space, repair or remount the volume that holds the evidence folder: nothing else is needed, all that waits "
    "is then written in its order"
)


def alert_of(journal: Journal, *, seen_ns: int) -> Alert:
    """Return what is said where writing fails (critical), or where it works again (notice). `seen_ns`: TAI."""
    if journal.trouble is None:
        severity, says = AlertSeverity.NOTICE, "records are written again; all that waited is on the disk, in its order"
        do_next = "find out why the disk refused"
    else:
        severity, do_next = AlertSeverity.CRITICAL, _DO_NEXT
        says = (
            f"records are not written ({journal.trouble.says}); doors keep the last recorded time as holdover, its "
            "bound grows, and what is decided now waits"
        )
    return Alert(AlertKind.RECORDS_NOT_WRITTEN, DAEMON, "records", severity, says, (), seen_ns, do_next)


def document(journal: Journal, started: Started) -> dict[str, Any]:
    """Return the block `store` of `status`."""
    trouble = journal.trouble
    body: dict[str, Any] = {
        "state": "written" if trouble is None else "full" if journal.is_full else "failing",
        "waiting": journal.waiting,
        "waiting_bytes": journal.waiting_bytes,
    }
    if trouble is not None:
        failing_s = journal.failing_s()
        body |= {"failing_s": failing_s, "says": trouble.says}
        seen_ns = started.state.epoch_ns - round(failing_s * 1e9)
        # before the first epoch a laboratory does not know what time it is
        with suppress(BeforeUtcRejected):
            since = to_utc(Instant.from_tai_ns(max(seen_ns, 0)), started.config.leaps, beyond_expiry="flag")
            body["since"] = since.isoformat(digits=0)
    return body


def at_end(journal: Journal) -> str:
    """Return what is said where a laboratory ends with records that were never written."""
    why = "" if journal.trouble is None else f" ({journal.trouble.says})"
    return (
        f"CRITICAL {journal.waiting} records were not written{why}, and are lost with this process; nothing that was "
        "served rested on them"
    )
