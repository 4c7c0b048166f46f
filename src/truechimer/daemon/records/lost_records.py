"""Lost records: told from what the run before left, where the evidence folder holds less than was on the disk then.

It restores nothing. Every record that counted was on the disk before anybody was served by it, and a snapshot is kept
only of what is there. So a journal that ends before the newest snapshot has lost records: it was deleted, its volume is
not mounted, or an older copy was put back. A laboratory that began anew in silence would hide that (ADR 23).
"""

from pathlib import Path

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.daemon.records.snapshots import Snapshots
from truechimer.errors import Rejected
from truechimer.laboratory import snapshot
from truechimer.laboratory.replay import DAEMON
from truechimer.store.sqlite_records import SqliteRecords


class RecordsLostRejected(Rejected):
    """All records are gone that the run before had on the disk."""


def look(path: Path, snapshots: Snapshots) -> int:
    """Return how many records are missing at the journal's end (0: none). Only the bytes of the newest snapshot tell,
    whichever version wrote it.

    Raises `RecordsLostRejected` where none are left; nothing has been made or changed then.
    """
    data = snapshots.load()
    known = None if data is None else snapshot.records_before(data)
    if not known:
        return 0
    found = _count(path)
    if not found:
        raise RecordsLostRejected(
            f"{path}: there are no records, where {known} were on the disk when the last snapshot was kept: mount the "
            f"volume or put the file back. Where they are lost for good, set the folder run aside too (`mv run "
            "run.before`), and start: what was served before can then no longer be proved"
        )
    return max(0, known - found)


def alert_of(lost: int, *, seen_ns: int) -> Alert:
    """Return what is said where the journal lost its end. `seen_ns`: TAI."""
    return Alert(
        AlertKind.RECORDS_LOST,
        DAEMON,
        "records",
        AlertSeverity.CRITICAL,
        f"the last {lost} records or more that the run before had on the disk are missing: this run goes on from what "
        "is there, and what was served in between cannot be proved",
        (),
        seen_ns,
        "find out who put an older file in the place of the records; keep a copy of both",
    )


def _count(path: Path) -> int:
    """Return how many records there are; 0 where there is no file."""
    if not path.is_file():
        return 0
    store = SqliteRecords(path, read_only=True)
    try:
        return store.count()
    finally:
        store.close()
