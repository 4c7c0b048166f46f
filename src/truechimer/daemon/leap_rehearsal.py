"""Leap rehearsal: what each protocol would send around a leap second, or around a day that has none, second by second.

It sends nothing and changes nothing. A clock page is made from a leap table as the laboratory makes it, and each
protocol's own core is asked at each moment, as a door asks it; what is told here is read back from its octets. Where a
core has no door in this version (`DOORS`), it is still the core that a door will call.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from truechimer.daemon.answering.now_document import time_document
from truechimer.daemon.door.sock_process import leap_of
from truechimer.errors import Rejected
from truechimer.instants import FS_PER_S, Instant, LeapEntry, LeapTable, UtcLabel, to_utc
from truechimer.laboratory.service import clock_page
from truechimer.serve.clock_page import ClockPage, ServiceState
from truechimer.serve.ntp import packet, server, smear
from truechimer.serve.ntp.client import make_request
from truechimer.serve.ptp import announce
from truechimer.serve.radio import dcf77
from truechimer.serve.roughtime.midpoint import midpoint
from truechimer.serve.rx_stamp import RxStamp, StampKind
from truechimer.serve.served_time import ServedTime, serve_at
from truechimer.steer.bound import BoundTerms, bound
from truechimer.steer.realization import Realization

PROTOCOLS = ("ntp", "ntp-smear", "nts", "roughtime", "ptp", "dcf77", "chrony-sock", "page")
USUAL = tuple(name for name in PROTOCOLS if name != "ntp-smear")
"""A door smears only where LAB.toml says so of it."""

DOORS = frozenset({"ntp", "ntp-smear", "chrony-sock", "page"})
"""Protocols with a door in this version. The others' cores are asked all the same."""

BEFORE_S, AFTER_S = 172_800, 86_400
_IDENTITY = bytes(8)
_NONCE = 1
_UNIX_MJD, _NTP_MJD = 40_587, 15_020


class RehearsalRejected(Rejected):
    """A date at which no leap second can come, or that the table cannot hold."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What is sent at each moment. `mjd`: the day that begins after the moment rehearsed; `step_s`: +1, -1 or 0;
    `table`: rehearsed with; `supposed`: the leap is not in the laboratory's table; `rows`: see `rows_at`.
    """

    mjd: int
    step_s: int
    table: LeapTable
    supposed: bool
    rows: tuple[dict[str, Any], ...]


def supposed_table(table: LeapTable, *, mjd: int, step_s: int) -> LeapTable:
    """Return the table with a leap of `step_s` at 00:00 UTC of day `mjd` (0: none), valid until a month after it.

    Leaps that the table has after that day are left out: what is rehearsed is this one.
    """
    label = UtcLabel(mjd, 0)
    if label.day != 1:
        raise RehearsalRejected(f"{label.isoformat(0)[:10]}: a leap second comes at the end of a month's last day")
    kept = tuple(entry for entry in table.entries if entry.mjd < mjd)
    if not kept:
        raise RehearsalRejected(f"{label.isoformat(0)[:10]}: before UTC had leap seconds (1972)")
    entries = (*kept, LeapEntry(mjd, kept[-1].tai_minus_utc_s + step_s)) if step_s else kept
    expires = max(table.expires, UtcLabel(mjd + 31, 0), key=lambda each: (each.mjd, each.second_of_day))
    return LeapTable(entries, updated=table.updated, expires=expires, source=f"{table.source}, rehearsed")


def rehearse(
    table: LeapTable,
    *,
    mjd: int,
    step_s: int,
    around_s: int = 3,
    protocols: Iterable[str] = USUAL,
    bound_s: float = 1e-7,
) -> Rehearsal:
    """Rehearse the end of the day before `mjd` with a leap of `step_s`, `around_s` seconds either side of it."""
    rehearsed = supposed_table(table, mjd=mjd, step_s=step_s)
    at_s = _start_of(rehearsed, mjd)
    page = _page(rehearsed, at_s - BEFORE_S, bound_s)
    wanted = tuple(protocols)
    noons = (at_s - 43_200 - step_s, at_s + 43_200) if "ntp-smear" in wanted else ()
    moments = sorted({*_far(at_s, step_s), *noons, *range(at_s - around_s - max(step_s, 0), at_s + around_s + 1)})
    rows = tuple(row_at(page, rehearsed, moment, mjd=mjd, step_s=step_s, protocols=wanted) for moment in moments)
    return Rehearsal(mjd, step_s, rehearsed, table.step_at(mjd) != step_s, rows)


def _start_of(table: LeapTable, mjd: int) -> int:
    """Return the TAI second (since 1970) at which a UTC day begins."""
    offset = table.entries[table.index_of_day(mjd)].tai_minus_utc_s
    return (mjd - _UNIX_MJD) * 86_400 + offset


def _far(at_s: int, step_s: int) -> Iterator[int]:
    """Yield the moments further away: where warnings begin and end."""
    day_s = at_s - 86_400 - step_s
    for moment in (day_s, at_s - 3_600 - step_s):
        yield moment - 1
        yield moment
    yield from (at_s + 60, at_s + 3_600)


def _page(table: LeapTable, at_s: int, bound_s: float) -> ClockPage:
    """Return the page that the laboratory would write, steered, its host's counter counting TAI itself."""
    epoch_ns = at_s * 10**9
    zero = dict.fromkeys(BoundTerms.__dataclass_fields__, 0.0)
    page = clock_page(
        Realization(epoch_ns, 0.0, 0.0, 0.0, 1e-8),
        bound(BoundTerms(**(zero | {"limit_links_s": bound_s}))),
        growth=1e-8,
        raw_ns=epoch_ns,
        state=ServiceState.STEERED,
        leaps=table,
        silence_s=float(BEFORE_S + AFTER_S),
        simulated=False,
        coverage=1.0,
        refid=b"UTC\0",
        stratum=1,
    )
    if page is None:
        raise RehearsalRejected("the day lies before UTC began")
    return page


def row_at(
    page: ClockPage, table: LeapTable, tai_s: int, *, mjd: int, step_s: int, protocols: tuple[str, ...]
) -> dict[str, Any]:
    """Return what each protocol sends at a TAI second, in its own terms; `utc` is the true label."""
    raw_ns = tai_s * 10**9
    label = to_utc(Instant(tai_s * FS_PER_S), table)
    served = serve_at(page, raw_ns)
    row: dict[str, Any] = {"utc": label.isoformat(0), "tai_s": tai_s}
    if not isinstance(served, ServedTime):
        return row | {"unsynchronised": served.reason.value}
    said = {
        "ntp": lambda: _ntp(served, raw_ns),
        "ntp-smear": lambda: _smeared(page, raw_ns),
        "nts": lambda: _ntp(served, raw_ns),
        "roughtime": lambda: _roughtime(served),
        "ptp": lambda: _ptp(served),
        "dcf77": lambda: _dcf77(label, mjd=mjd, step_s=step_s),
        "chrony-sock": lambda: _sock(served),
        "page": lambda: _page_row(page, raw_ns, table),
    }
    return row | {name: said[name]() for name in protocols}


def _ntp(served: ServedTime, raw_ns: int) -> dict[str, Any]:
    """Ask the NTP core, and read its 48 octets; NTS authenticates the same header."""
    header, seconds = _asked(served, raw_ns)
    return {"leap": int(header.leap), "stratum": header.stratum, "stamp": _told(_NTP_MJD, seconds)}


def _smeared(page: ClockPage, raw_ns: int) -> dict[str, Any]:
    """Ask the NTP core as a door does that smears."""
    found = smear.bent(page, raw_ns)
    served = serve_at(found.page, raw_ns)
    assert isinstance(served, ServedTime)
    header, seconds = _asked(served, raw_ns)
    milliseconds = (header.transmit & 0xFFFF_FFFF) * 1_000 >> 32
    return {
        "leap": int(header.leap),
        "stratum": header.stratum,
        "stamp": f"{_told(_NTP_MJD, seconds).removesuffix('Z')}.{milliseconds:03d}Z",
        "refid": ".".join(map(str, header.refid)),
        "served_minus_utc_s": found.served_minus_utc_s,
        "root_dispersion_s": header.root_dispersion / 65_536,
    }


def _asked(served: ServedTime, raw_ns: int) -> tuple[packet.NtpHeader, int]:
    """Return the NTP core's answer, and its transmit stamp's seconds since 1900."""
    rx = RxStamp(raw_ns, StampKind.KERNEL, 0.0)
    client = server.Client("192.0.2.1", 123)
    reply = server.respond(make_request(_NONCE), client, rx=rx, served=served, precision_log2=-24)
    assert isinstance(reply, server.Reply)
    header = packet.decode(reply.with_transmit(server.transmit_stamp(reply, raw_ns, last=0)))
    assert header is not None
    era_s = header.transmit >> 32
    # the era nearest to the time served: clients do the same
    near = served.instant.tai_fs // FS_PER_S + (_UNIX_MJD - _NTP_MJD) * 86_400
    return header, era_s + round((near - era_s) / 2**32) * 2**32


def _told(mjd: int, seconds: int) -> str:
    """Return a count of seconds of 86,400 a day since a day as the reader of the count writes it."""
    days, second = divmod(seconds, 86_400)
    return UtcLabel(mjd + days, second).isoformat(0)


def _roughtime(served: ServedTime) -> dict[str, Any]:
    midp, radi = midpoint(served).octets()
    return {"midp": _told(_UNIX_MJD, struct.unpack("<Q", midp)[0]), "radi_s": struct.unpack("<I", radi)[0]}


def _ptp(served: ServedTime) -> dict[str, Any]:
    octets = announce.encode(announce.announced(served), clock_identity=_IDENTITY, sequence=0)
    flags = octets[7]
    return {
        "tai_s": int.from_bytes(octets[34:40], "big"),
        "current_utc_offset_s": int.from_bytes(octets[44:46], "big", signed=True),
        "leap61": bool(flags & 1),
        "leap59": bool(flags & 2),
        "utc_offset_valid": bool(flags & 4),
    }


def _dcf77(label: UtcLabel, *, mjd: int, step_s: int) -> dict[str, Any]:
    second = label.second
    begins = UtcLabel(label.mjd, min(label.second_of_day, 86_399) // 60 * 60)
    last = label.mjd == mjd - 1 and begins.second_of_day == 86_340
    soon = step_s > 0 and label.mjd == mjd - 1 and begins.second_of_day >= 82_800
    marks = dcf77.encode_minute(begins, seconds=60 + (step_s if last else 0), leap_within_hour=soon)
    word = {dcf77.Mark.ZERO: "0", dcf77.Mark.ONE: "1", dcf77.Mark.NONE: "no mark"}[marks[second]]
    return {"second": second, "mark": word, "leap_announced": marks[19] is dcf77.Mark.ONE, "of": len(marks)}


def _sock(served: ServedTime) -> dict[str, Any]:
    leap = leap_of(served)
    return {"silent": "leap-second"} if leap is None else {"leap": int(leap)}


def _page_row(page: ClockPage, raw_ns: int, table: LeapTable) -> dict[str, Any]:
    body = time_document(page, raw_ns=raw_ns, leaps=table, scale="UTC(k)", missing=(), state=page.state)
    served = serve_at(page, raw_ns)
    assert isinstance(served, ServedTime)
    return {"utc": body["utc"], "tai_minus_utc_s": served.tai_minus_utc_s, "leap": int(served.leap)}
