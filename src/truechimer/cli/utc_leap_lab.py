"""The table and the doors that `utc leap rehearse --lab` rehearses with: those of the laboratory that runs, or of its
LAB.toml where it does not.

It changes nothing and starts nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.errors import Rejected

if TYPE_CHECKING:
    from truechimer.instants import LeapTable


class LeapPlaceRejected(Rejected):
    """A laboratory that does not say what is needed, or a file with faults."""


@dataclass(frozen=True, slots=True)
class RehearsedLab:
    """`table` in force; `doors`: protocol, port, smear (absent: none); `runs`: asked while it ran, else as in its
    file.
    """

    table: "LeapTable"
    doors: tuple[dict[str, Any], ...]
    runs: bool

    @property
    def smears(self) -> bool:
        """True where a door smears."""
        return any("smear" in door for door in self.doors)

    def document(self) -> dict[str, Any]:
        """Return it for `--json`."""
        return {"runs": self.runs, "table": self.table.source, "doors": list(self.doors)}

    def lines(self) -> list[str]:
        """Return it for people."""
        doors = [
            str(door["protocol"])
            + (f" port {door['port']}" if "port" in door else "")
            + (f" smears ({door['smear']})" if "smear" in door else "")
            for door in self.doors
        ]
        how = "it runs" if self.runs else "it does not run: as its file has it"
        return [f"table: {self.table.source} ({how})", f"doors: {', '.join(doors) or 'none'}"]


def of(place: Path) -> RehearsedLab:
    """Return table and doors of the laboratory at a folder or LAB.toml."""
    from truechimer import client

    try:
        document = client.ask("status", lab=place)
    except client.ServiceSilentRejected:
        if not place.is_file():
            raise
        return _of_file(place)
    from truechimer.instants import LeapEntry, LeapTable, UtcLabel

    said = document.get("leap", {})
    try:
        entries = tuple(LeapEntry(int(mjd), int(offset)) for mjd, offset in said["entries"])
        table = LeapTable(entries, None, UtcLabel.parse(said["expires"]), str(said["source"]))
    except (KeyError, TypeError, ValueError):
        raise LeapPlaceRejected(f"the laboratory at {place} names no leap table; is it of this version?") from None
    return RehearsedLab(
        table, tuple(_row(each, each.get("rules", {})) for each in document.get("listeners", [])), runs=True
    )


def _row(listener: dict[str, Any], rules: dict[str, Any]) -> dict[str, Any]:
    row = {"protocol": listener.get("protocol"), "port": listener.get("port"), "smear": rules.get("smear")}
    return {key: value for key, value in row.items() if value is not None}


def _of_file(path: Path) -> RehearsedLab:
    from truechimer.cli.lab_arguments import now_label
    from truechimer.daemon.lab.lab_check import load_leap_table
    from truechimer.daemon.lab.lab_reading import read_lab
    from truechimer.daemon.lab.lab_rules import InsecureFlags

    told = read_lab(path, InsecureFlags())
    if told.lab is None:
        raise LeapPlaceRejected(f"{path} has faults; `truechimer check {path}` names them")
    table, faults = load_leap_table(told.read, told.folder, now_label())
    if table is None:
        raise LeapPlaceRejected(f"{path}: {faults[0].says}")
    doors = [
        _row(
            {"protocol": one.protocol.value, "port": one.port_number or None},
            {"smear": one.smear.value} if one.rules.smears else {},
        )
        for one in told.lab.listeners
    ]
    return RehearsedLab(table, tuple(doors), runs=False)
