"""Guarded parts of a laboratory's file: what an order changes, or would have to, told from one start to the next.

It judges no value. Each start records a digest of each part; a part that is another than at the last start was edited
in between, without an order.
"""

from dataclasses import astuple
from hashlib import sha256
from typing import Any

from truechimer.clocks.clock import Clock
from truechimer.daemon.lab_file import LabFile
from truechimer.instants import LeapTable


def parts(lab: LabFile, clocks: tuple[Clock, ...], leaps: LeapTable) -> tuple[tuple[str, str], ...]:
    """Return (part, SHA-256) of all that is guarded, by name."""
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
    return tuple((name, sha256(repr(value).encode()).hexdigest()) for name, value in sorted(found.items()))


def changed(before: tuple[tuple[str, str], ...], after: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return the parts that are others now; none where the start before recorded none."""
    known = dict(before)
    return tuple(name for name, digest in after if name in known and known[name] != digest)
