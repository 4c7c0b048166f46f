"""Early: the last page of this boot serves before the laboratory itself is ready, through doors that open on it and
through the control socket, which answers `now`.

It makes no time. A page is a line over the raw counter with a bound that grows: what the last laboratory of this folder
recorded and published is as true after its end as before, until it is too old. So clients need not wait for a start, as
they need not after a kill (ADR 16, ADR 23). It must stay light, for all that is read into memory before it is waited
for: no numpy, nothing of the scale, and no look at files that serve the scale alone (`lab_check` comes after it).
"""

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.daemon.door import doors
from truechimer.daemon.door.doors import Door, DoorRejected
from truechimer.daemon.door.gate import Gate
from truechimer.daemon.hold import Hold, LabHeldRejected
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.lab_file import LabFile
from truechimer.daemon.lab.listener_settings import Listener, Protocol

if TYPE_CHECKING:
    from truechimer.daemon.answering.control_socket import Answer, ControlSocket
    from truechimer.instants import LeapTable
    from truechimer.serve.clock_page import ClockPage

STARTING = "the laboratory is starting: this is the time of its last page, whose bound grows"


@dataclass(slots=True)
class Early:
    """What serves already: `doors` that were begun (none where the doors of a killed laboratory still run), and the
    control socket. `hold`: the folder, of the laboratory of this `name`, is this process's, where it was taken.
    """

    folder: Path = Path()
    name: str = ""
    hold: Hold | None = None
    doors: dict[Listener, Door] = field(default_factory=dict)
    control: "ControlSocket | None" = None

    def close(self) -> None:
        """End what serves and give the folder back as it was found: nothing was started. Again is harmless."""
        with ExitStack() as ends:
            if self.hold is not None:
                ends.callback(self.hold.release, as_found=True)
            for door in self.doors.values():
                ends.callback(doors.end_door, door)
            if self.control is not None:
                ends.callback(self.control.close)


def open_early(lab: LabFile, folder: Path, clocks: HostClocks, *, observe: bool, allow_simulated: bool) -> Early:
    """Serve the last page where it may be served; return when its doors are open. Nothing is served where there is no
    such page, where another laboratory has the folder, and where the run only watches. Never raises `Rejected`: what
    is wrong is said by whoever comes after, in its place.
    """
    early = Early(folder, lab.lab.name)
    if observe or not (folder / "run" / "clock.page").is_file():
        return early
    with Gate() as gate:
        # the doors' processes begin behind a gate that is shut, beside the look at the page: that takes as long
        begun = _begin_doors(lab, folder, gate, allow_simulated=allow_simulated)
        try:
            early.hold = Hold(folder)
            page = _page(lab, folder, clocks)
        except LabHeldRejected:
            page = None
        if page is not None:
            gate.open()
            early.control = _control(lab, folder, page, clocks)
    for door in begun:
        try:
            early.doors[door.listener] = doors.opened(door)
        except DoorRejected:
            continue  # `up` tries again where the page may be served, and says why it cannot
    return early


def _page(lab: LabFile, folder: Path, clocks: HostClocks) -> "ClockPage | None":
    """Return the last page, where it is of this boot, not too old, and a record states it."""
    from truechimer.daemon.records import last_page
    from truechimer.store.fabric import StoreRejected
    from truechimer.store.sqlite_records import SqliteRecords

    path = folder / lab.evidence.folder / "records.sqlite3"
    if not path.is_file():
        return None
    try:
        store = SqliteRecords(path, read_only=True)
    except StoreRejected:
        return None  # said by whoever opens it for writing, a moment later
    try:
        found = last_page.look(
            folder / "run" / "clock.page", store, boot_id=clocks.boot_id(), raw_ns=clocks.raw_ns()
        ).page
    except StoreRejected:
        return None
    finally:
        store.close()
    return found


def _begin_doors(lab: LabFile, folder: Path, gate: Gate, *, allow_simulated: bool) -> list[Door]:
    """Begin the NTP doors that no killed laboratory left open."""
    left = {orphan.port for orphan in doors.orphans(folder)}
    return [
        doors.begin_door(listener, folder, allow_simulated=allow_simulated, gate=gate)
        for listener in lab.listeners
        if listener.protocol is Protocol.NTP and listener.port_number not in left
    ]


def _control(lab: LabFile, folder: Path, page: "ClockPage", clocks: HostClocks) -> "ControlSocket | None":
    """Open the control socket; None where it does not open (said by whoever opens it again)."""
    from truechimer.daemon.answering.control_socket import ControlSocket, ControlSocketRejected

    try:
        return ControlSocket(folder / "run", _answer(lab, folder, page, clocks)).start()
    except ControlSocketRejected:
        return None


def _answer(lab: LabFile, folder: Path, page: "ClockPage", clocks: HostClocks) -> "Answer":
    """Return what answers the control socket meanwhile: `now` from the page that doors serve, and nothing else."""
    from truechimer.daemon.answering import now_document

    @cache
    def leaps() -> "LeapTable":
        return _leap_table(lab, folder)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request.get("ask") != "now":
            return {"error": "it is starting, and answers `now` alone until it is ready", "starting": True}
        scale = now_document.scale_name(lab.lab.name, simulated=lab.is_simulated, observe=False)
        return now_document.time_document(
            page,
            raw_ns=clocks.raw_ns(),
            leaps=leaps(),
            scale=scale,
            missing=(STARTING,),
            state=now_document.held_over(page),
        )

    return answer


def _leap_table(lab: LabFile, folder: Path) -> "LeapTable":
    """Return the laboratory's leap table; the built-in one where its own cannot be read (`lab_check` says so then)."""
    from truechimer.formats import leap_rows, leap_seconds_list
    from truechimer.instants import builtin_leap_table

    if lab.lab.leap_seconds_file is not None:
        try:
            with (folder / lab.lab.leap_seconds_file).open("rb") as file:
                found, _ = leap_seconds_list.read(file.read(leap_rows.MAX_BYTES + 1))
        except OSError:
            found = None
        if found is not None:
            return found
    return builtin_leap_table()
