"""Clock RINEX, as the IGS and its analysis centres exchange it: bytes to (arrays, findings), and back.

It does not know what a clock is worth and joins no files. Source: RINEX extensions to handle clock information,
versions 2.00, 3.00 to 3.02 and 3.04. Values are clock minus the file's reference: positive where the clock is fast.

The law of the file: a line that breaks a law is refused with its line, column and a rule's name; its neighbours are
kept. Two paths, one result: lines of the plain layout are read thousands at a time, all others one by one
(`rinex_clock_rows`). A test holds them equal.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from truechimer.formats import rinex_clock_header, rinex_clock_rows
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.rinex_clock_header import (
    END,
    KINDS,
    MAX_HEADER_LINES,
    Applied,
    ReferenceClock,
    References,
    RinexClockHeader,
    RinexClockMisuse,
    Station,
    split_label,
)
from truechimer.formats.rinex_clock_time import Times
from truechimer.instants import LeapTable
from truechimer.instants.leap_table_builtin import TABLE
from truechimer.instants.mjd import MJD_OF_1970

__all__ = [
    "KINDS",
    "Applied",
    "ReferenceClock",
    "References",
    "RinexClock",
    "RinexClockHeader",
    "RinexClockMisuse",
    "Station",
    "read",
    "write",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_FINDINGS = 10_000
"""So many are listed; one more says how many there are beyond."""
_MAGNITUDE = 1e99
_GPS_EPOCH_TAI_MINUS_UTC_S = 19
_NS_PER_DAY = 86_400 * 10**9


@dataclass(frozen=True, slots=True, eq=False)
class RinexClock:
    """A file's header and records, in the order of the file; arrays of shape `(n,)`.

    `kind`: index into `KINDS`; `clock`: index into `names`; `epoch_tai_ns`: ns since 1970-01-01T00:00:00 TAI; `values`
    `(n, 6)`: clock minus reference (s) and its sigma, rate (1) and its sigma, acceleration (1/s) and its sigma, NaN
    where not given; `line`: counts from 1.
    """

    header: RinexClockHeader
    names: tuple[str, ...]
    kind: NDArray[np.int8]
    clock: NDArray[np.int32]
    epoch_tai_ns: Ints
    values: Floats
    line: Ints

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.epoch_tai_ns)


def read(data: bytes, *, leaps: LeapTable = TABLE) -> tuple[RinexClock | None, list[Finding]]:
    """Return the records of a file and a finding for each refused line; None: this is no clock RINEX file.

    `leaps` is used where the file's times are UTC (or GLONASS's); beyond its expiry such epochs are refused.
    """
    findings: list[Finding] = []
    data = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    head, body, first_line = _parted(data)
    times = Times(leaps)
    header = rinex_clock_header.read(head, times, findings)
    if header is None:
        if not findings or findings[0].rule != "not-clock-rinex":
            says = "no clock RINEX file: no line 'RINEX VERSION / TYPE' with type C; name another file"
            findings = [Finding("not-clock-rinex", says, 1, 1)]
        return None, findings
    rows = rinex_clock_rows.read(body, first_line=first_line, times=times, findings=findings)
    value = _without_repeats(RinexClock(header, *rows), findings)
    _check_leap_seconds(value, times, findings)
    findings.sort(key=lambda finding: finding.line or 0)
    if len(findings) > MAX_FINDINGS:
        beyond = len(findings) - MAX_FINDINGS
        del findings[MAX_FINDINGS:]
        findings.append(Finding("more", f"{beyond} more lines are refused and not listed: is the file damaged?"))
    return value, findings


def _parted(data: bytes) -> tuple[list[tuple[int, str]], bytes, int]:
    """Return the numbered lines of the header, the bytes after it, and the number of their first line.

    Without an end of header it ends before the first line that looks like a record.
    """
    lines: list[tuple[int, str]] = []
    at, number = 0, 0
    while at < len(data) and number < MAX_HEADER_LINES:
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        line = data[at : min(end, at + 200)].decode("latin-1")
        if line[:2] in KINDS and line[2:3] == " " and split_label(line) is None and len(line.split()) >= 9:
            break
        number += 1
        lines.append((number, line))
        at = end + 1
        found = split_label(line)
        if found is not None and found[0] == END:
            break
    return lines, data[at:], number + 1


def _without_repeats(value: RinexClock, findings: list[Finding]) -> RinexClock:
    """Refuse records that repeat clock, kind and epoch of an earlier one."""
    order = np.lexsort((value.line, value.epoch_tai_ns, value.clock, value.kind))
    kind, clock, epoch = value.kind[order], value.clock[order], value.epoch_tai_ns[order]
    again = (kind[1:] == kind[:-1]) & (clock[1:] == clock[:-1]) & (epoch[1:] == epoch[:-1])
    if not again.any():
        return value
    drop = np.sort(order[1:][again])
    for k in drop.tolist():
        says = f"{value.names[value.clock[k]]} stands twice at this epoch: the later line is not used"
        findings.append(Finding("repeated", says, int(value.line[k]), 1))
    keep = np.ones(len(value), np.bool_)
    keep[drop] = False
    return replace(
        value,
        kind=value.kind[keep],
        clock=value.clock[keep],
        epoch_tai_ns=value.epoch_tai_ns[keep],
        values=value.values[keep],
        line=value.line[keep],
    )


def _check_leap_seconds(value: RinexClock, times: Times, findings: list[Finding]) -> None:
    """Warn where the header's leap seconds are neither TAI nor GPS minus UTC of the first record."""
    if not len(value):
        return
    fs = int(value.epoch_tai_ns[0]) * 1_000_000
    table = times.leaps
    if value.epoch_tai_ns[0] // _NS_PER_DAY + MJD_OF_1970 >= table.expires.mjd:
        return
    offset = table.entries[table.index_at(fs)].tai_minus_utc_s
    for label, stated in (("S", value.header.leap_seconds), ("S GNSS", value.header.leap_seconds_gnss)):
        if stated is not None and stated not in (offset, offset - _GPS_EPOCH_TAI_MINUS_UTC_S):
            says = f"LEAP SECOND{label} says {stated} s, but TAI minus UTC was {offset} s: not used; is the date right?"
            findings.append(Finding("leap-seconds", says, severity=Severity.WARNING))


def write(value: RinexClock, *, leaps: LeapTable = TABLE) -> bytes:
    """Return the file of a value, which `read` gives back: phases with 13 digits, epochs with microseconds.

    What the file cannot hold raises `RinexClockMisuse`: a name longer than its field (4 characters before version 3.04,
    9 from there), a value that is not finite, a record without a value.
    """
    header = value.header
    times = Times(leaps)
    faults: list[Finding] = []
    if header.time_system:
        times.choose(header.time_system, 1, faults)
    if faults:
        raise RinexClockMisuse("time-system", faults[0].says)
    lines = rinex_clock_header.lines_of(header, times)
    width = 9 if header.is_wide else 4
    texts: dict[int, str] = {}
    given = np.isfinite(value.values)
    count = np.where(given.any(axis=1), 6 - np.argmax(given[:, ::-1], axis=1), 0)
    for k, (kind, clock, epoch) in enumerate(
        zip(value.kind.tolist(), value.clock.tolist(), value.epoch_tai_ns.tolist(), strict=True)
    ):
        name, n = value.names[clock], int(count[k])
        if len(name) > width or not rinex_clock_rows.NAME.fullmatch(name):
            raise RinexClockMisuse("clock-name", f"record {k}: {name!r} does not fit {width} characters of a name")
        numbers = value.values[k, :n].tolist()
        if not n or not given[k, :n].all() or max(abs(each) for each in numbers) >= _MAGNITUDE:
            raise RinexClockMisuse("values", f"record {k}: its first value and all up to its last must be finite")
        if epoch not in texts:
            texts[epoch] = times.text(epoch)
        fields = [f"{each:19.12E}" for each in numbers]
        lines.append(f"{KINDS[kind]} {name:<{width}} {texts[epoch]}{n:3d}   {' '.join(fields[:2])}")
        if n > 2:
            lines.append(" ".join(fields[2:]).rjust(len(fields[2:]) * 20 - 1 + (1 if header.is_wide else 0)))
    lines.append("")
    return "\n".join(lines).encode("latin-1")
