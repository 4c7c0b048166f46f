"""Early: doors that open before the laboratory itself is ready, on the last page of this boot.

It makes no time. A page is a line over the raw counter with a bound that grows: what the last laboratory of this folder
recorded and published is as true after its end as before, until it is too old. So clients need not wait for a start,
as they need not after a kill (ADR 16). It must stay light: no numpy, nothing of the scale.
"""

from truechimer.daemon import doors, last_page
from truechimer.daemon.doors import Door
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab_check import CheckedLab
from truechimer.daemon.lab_file import Listener, Protocol
from truechimer.store.fabric import StoreRejected
from truechimer.store.sqlite_records import SqliteRecords


def open_early(checked: CheckedLab, clocks: HostClocks, *, allow_simulated: bool) -> dict[Listener, Door]:
    """Begin the NTP doors of a checked laboratory where the last page may be served; only for who holds the folder.

    None where doors of the last laboratory still run (they serve that page already, and are taken over later), where
    there is no such page, and where the run only watches.
    """
    lab, folder = checked.lab, checked.folder
    if lab is None or checked.observe or doors.orphans(folder):
        return {}
    path = folder / lab.evidence.folder / "records.sqlite3"
    if not path.is_file():
        return {}
    try:
        store = SqliteRecords(path, read_only=True)
        try:
            page = last_page.look(
                folder / "run" / "clock.page", store, boot_id=clocks.boot_id(), raw_ns=clocks.raw_ns()
            ).page
        finally:
            store.close()
    except StoreRejected:
        return {}  # said by whoever opens it for writing, a moment later
    if page is None:
        return {}
    return {
        listener: doors.begin_door(listener, folder, allow_simulated=allow_simulated)
        for listener in lab.listeners
        if listener.protocol is Protocol.NTP
    }
