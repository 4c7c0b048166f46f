"""Guarded parts of a laboratory's file: what an order changes, or must name before an edit of it is taken, told from
one start to the next.

It judges no value. Each part has a text, which persons can read and sign (an order `configuration` names its SHA-256);
each start records the digest of each. A part that is another than at the last start, and not the one that was approved
last, was edited without an order.
"""

from collections.abc import Mapping
from dataclasses import astuple, fields
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Any

from truechimer.clocks.clock import Clock
from truechimer.daemon.door.door_rules import DoorRules
from truechimer.daemon.lab.lab_check import load_leap_table
from truechimer.daemon.lab.lab_file import LabFile
from truechimer.daemon.lab.lab_reading import read_lab
from truechimer.daemon.lab.lab_rules import InsecureFlags
from truechimer.daemon.lab.listener_settings import Listener
from truechimer.daemon.lab.source_settings import Source
from truechimer.errors import Rejected
from truechimer.formats.finding import Severity
from truechimer.instants import Instant, LeapTable

REFUSAL = "refusal"
"""Whether the laboratory refuses to start after an edit that no order has approved. To begin with it needs no order; it
holds for the next start whatever the file says then, so that the word cannot be taken out together with the edit that
it would have refused.
"""

_FLAG = "refuse_changes_without_order"
_REFUSING = sha256(f"{(_FLAG, True)!r}\n".encode()).hexdigest()


class EditRejected(Rejected):
    """An edited file that no order can approve."""


def texts(lab: LabFile, clocks: tuple[Clock, ...], leaps: LeapTable, folder: Path) -> dict[str, bytes]:
    """Return what is guarded, by part, one line for each value; `folder`: of the laboratory, whose other files count
    with what they hold.
    """
    found: dict[str, list[Any]] = {
        "clocks": sorted((one.name, one.kind.value, astuple(one.noise)) for one in clocks),
        "delays": sorted(astuple(one) for one in lab.delays),
        "doors": [
            # rules that say nothing say nothing here: a laboratory from before there were any has not been changed
            (one.protocol.value, one.address, one.port_number, one.policy, one.bound_limit_s, *_rules(one))
            for one in lab.listeners
        ],
        "evidence": [*_keys(lab.evidence), ("witnesses", _digest(folder, lab.evidence.witnesses))],
        "leap-table": [*((one.mjd, one.tai_minus_utc_s) for one in leaps.entries), leaps.expires.isoformat()],
        "notify": _keys(lab.notify),
        # whether keys in files may sign is the signed policy's to say: the file can only keep such a one from starting
        "policy": [("folder", lab.policy.folder)],
        REFUSAL: [(_FLAG, lab.policy.refuse_changes_without_order)],
        "scale": _keys(lab.scale),
        "sources": [(*_said(one), _digest(folder, one.scenario)) for one in lab.sources]
        + [tuple(_keys(one)) for one in lab.receivers],
        "steering": [*_keys(lab.steer), *_keys(lab.lab), *_utc(lab)],
    }
    return {part: "".join(f"{value!r}\n" for value in values).encode() for part, values in found.items()}


def _utc(lab: LabFile) -> list[tuple[str, Any]]:
    """Return the keys of published values, where they are taken in, and files on leap seconds, where there are any."""
    return [
        (name, value)
        for name, value in _keys(lab.utc)
        if (value if name == "leap_notices" else lab.utc.published is not None)
    ]


def _said(source: Source) -> list[tuple[str, Any]]:
    """Return the keys of a source; those that came later only where they say something, so that a laboratory from
    before has not been changed.
    """
    return [(name, value) for name, value in _keys(source) if value is not None or name not in {"key", "keys"}]


def _rules(listener: Listener) -> tuple[str, ...]:
    """Return the rules of a door, where it has any."""
    rules = listener.rules
    return () if rules == DoorRules() else (rules.text(),)


def parts(lab: LabFile, clocks: tuple[Clock, ...], leaps: LeapTable, folder: Path) -> tuple[tuple[str, str], ...]:
    """Return (part, SHA-256) of all that is guarded, by name."""
    found = texts(lab, clocks, leaps, folder)
    return tuple((part, sha256(found[part]).hexdigest()) for part in sorted(found))


def as_before(
    before: tuple[tuple[str, str], ...], lab: LabFile, clocks: tuple[Clock, ...], leaps: LeapTable
) -> dict[str, str] | None:
    """Return what the parts would be by the program that recorded `before`, where that was one of the first, which
    guarded less and wrote it otherwise; None for the others.
    """
    if not before or REFUSAL in dict(before):
        return None
    found: dict[str, Any] = {
        "clocks": sorted((one.name, one.kind.value, astuple(one.noise)) for one in clocks),
        "delays": sorted(astuple(one) for one in lab.delays),
        "doors": [
            (one.protocol.value, one.address, one.port_number, one.policy, one.bound_limit_s) for one in lab.listeners
        ],
        "leap-table": ([(one.mjd, one.tai_minus_utc_s) for one in leaps.entries], leaps.expires.isoformat()),
        "scale": astuple(lab.scale),
        "steering": (astuple(lab.steer), lab.lab.silence_s),
    }
    return {name: sha256(repr(value).encode()).hexdigest() for name, value in found.items()}


def changed(
    before: tuple[tuple[str, str], ...], after: tuple[tuple[str, str], ...], approved: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the parts that are others now, and not the ones that an order approved last (`approved`: their digests);
    none where the start before recorded none.
    """
    known = dict(before)
    return tuple(
        name
        for name, digest in after
        if name in known
        and digest not in {known[name], approved.get(name)}
        and not (name == REFUSAL and digest == _REFUSING)
    )


def refuses(before: tuple[tuple[str, str], ...], lab: LabFile) -> bool:
    """Return True where edits without an order are refused, by the file or by the file of the last start."""
    return lab.policy.refuse_changes_without_order or dict(before).get(REFUSAL) == _REFUSING


def text_of_edit(path: Path, part: str) -> bytes:
    """Return the text of a part as an edited file of a laboratory has it; raises `EditRejected`. The file lies in the
    laboratory's folder, beside the one in force: the files that it names are looked for there.
    """
    from truechimer.daemon.lab_start import clocks_of

    told = read_lab(path, InsecureFlags())
    leaps, faults = (None, []) if told.read.value is None else load_leap_table(told.read, told.folder, Instant(0))
    found = [one for one in (*told.findings, *faults) if one.severity is Severity.ERROR]
    if told.read.value is None or leaps is None or found:
        says = "; ".join(one.at(path.name) for one in found[:3])
        raise EditRejected(f"{path}: a laboratory with this file would not start: {says}")
    by_part = texts(told.read.value, clocks_of(told.read.value, told.folder), leaps, told.folder)
    if part not in by_part:
        raise EditRejected(
            f"no part of the file is called {part!a}; name one with --target: {', '.join(sorted(by_part))}"
        )
    return by_part[part]


def _keys(settings: Any) -> list[tuple[str, Any]]:
    """Return the keys and values of a table of the file."""
    values = ((item.name, getattr(settings, item.name)) for item in fields(settings))
    return [(name, value.value if isinstance(value, Enum) else value) for name, value in values]


def _digest(folder: Path, name: str | None) -> str:
    """Return the SHA-256 of a file that the laboratory's file names; empty where it names none or there is none."""
    try:
        return "" if name is None else sha256((folder / name).read_bytes()).hexdigest()
    except OSError:
        return ""
