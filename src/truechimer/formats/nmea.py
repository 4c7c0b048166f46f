"""NMEA 0183 sentences of satellite receivers: bytes to sentences with their checksum held, and GGA, RMC, ZDA and GSV to
what they say.

It judges no receiver (`compare.receiver_quality`) and opens no port. Every line is kept, so that
`write(read(data)[0]) == data` whatever stood there. A sentence without checksum, with a wrong one, or with a field that
is no such field says nothing, and costs no other.

Source: NMEA 0183 as receivers' interface descriptions give it (u-blox, Septentrio): `$` talker, formatter, fields, `*`
and the exclusive or of the octets between `$` and `*` in hexadecimal; GSV with and without a signal identifier.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from truechimer.formats.finding import Finding, Severity

LONGEST = 128
"""Octets of a line: the standard allows 82, receivers send some more."""
MOST_FINDINGS = 200

_SENTENCE = re.compile(rb"\$([A-Z]{2})([A-Z]{3}),([ -)+-~]*)\*([0-9A-Fa-f]{2})\s*\Z")
_TIME = re.compile(r"(\d{2})(\d{2})(\d{2})(?:\.(\d{1,9}))?")
_DATE = re.compile(r"(\d{2})(\d{2})(\d{2})")
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
_ANGLE = re.compile(r"(\d{1,3})(\d{2}(?:\.\d{1,9})?)")


class TimeOfDay(NamedTuple):
    """Second of the UTC day (60 in the last minute is legal), and the part of it in ns."""

    second: int
    nano_ns: int


class Gga(NamedTuple):
    """Fix. `quality` 0: none; degrees, north and east positive, None without a fix; height above the ellipsoid, m."""

    time: TimeOfDay | None
    quality: int
    satellites: int
    latitude_deg: float | None
    longitude_deg: float | None
    height_m: float | None


class Rmc(NamedTuple):
    """Date (year of four digits, 1980 to 2079) and whether the receiver calls its data valid."""

    time: TimeOfDay | None
    is_valid: bool
    date: tuple[int, int, int] | None


class Zda(NamedTuple):
    """Date, year of four digits."""

    time: TimeOfDay | None
    date: tuple[int, int, int] | None


class InView(NamedTuple):
    """One satellite: elevation, degrees, and C/N0, dB-Hz; None where it is not told."""

    number: int
    elevation_deg: int | None
    cno_dbhz: float | None


class Gsv(NamedTuple):
    """Part `part` of `parts` of the satellites in view of one system."""

    parts: int
    part: int
    satellites: tuple[InView, ...]


Message = Gga | Rmc | Zda | Gsv


@dataclass(frozen=True, slots=True)
class Line:
    """One line as it stood, its talker and formatter where it is a sentence, and what it says where that is read."""

    data: bytes
    talker: str = ""
    formatter: str = ""
    message: Message | None = None


def checksum(body: bytes) -> int:
    """Return the exclusive or of the octets between `$` and `*`."""
    out = 0
    for octet in body:
        out ^= octet
    return out


def sentence(talker: str, formatter: str, *fields: str) -> Line:
    """Return a sentence made of its fields."""
    body = ",".join((f"{talker}{formatter}", *fields)).encode("ascii")
    return line(b"$" + body + f"*{checksum(body):02X}\r\n".encode())[0]


def write(lines: Sequence[Line]) -> bytes:
    """Return the bytes of lines."""
    return b"".join([each.data for each in lines])


def read(data: bytes) -> tuple[tuple[Line, ...], list[Finding]]:
    """Read lines; a finding's line counts from 1."""
    out: list[Line] = []
    findings: list[Finding] = []
    for number, part in enumerate(data.splitlines(keepends=True), start=1):
        one, says = line(part)
        out.append(one)
        if says and len(findings) < MOST_FINDINGS:
            rule, words = says
            findings.append(Finding(rule, words, number, 1, Severity.WARNING))
    return tuple(out), findings


def line(data: bytes) -> tuple[Line, tuple[str, str] | None]:
    """Read one line; return it, and rule and words of what is wrong with it."""
    if not data.strip() or len(data) > LONGEST:
        return Line(data), ("too-long", "the line is longer than a sentence") if data.strip() else None
    found = _SENTENCE.match(data)
    if found is None:
        return Line(data), ("no-sentence", "the line is no sentence with a checksum")
    talker, formatter = found[1].decode(), found[2].decode()
    body = data[1 : found.start(4) - 1]
    if checksum(body) != int(found[4], 16):
        return Line(data), ("checksum", f"{talker}{formatter}: the checksum is not that of the line")
    reader = _READERS.get(formatter)
    if reader is None:
        return Line(data, talker, formatter), None
    message = reader(found[3].decode("ascii").split(","))
    if message is None:
        return Line(data, talker, formatter), ("fields", f"{talker}{formatter}: a field is missing or no such field")
    return Line(data, talker, formatter, message), None


def _time(text: str) -> TimeOfDay | None:
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    hour, minute, second = int(found[1]), int(found[2]), int(found[3])
    if hour > 23 or minute > 59 or second > 60 or (second == 60 and (hour, minute) != (23, 59)):
        return None
    return TimeOfDay(hour * 3_600 + minute * 60 + second, int((found[4] or "0").ljust(9, "0")))


def _number(text: str, low: float, high: float) -> float | None:
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if low <= value <= high else None


def _angle(text: str, side: str, sides: str, most: float) -> float | None:
    found = _ANGLE.fullmatch(text)
    if found is None or side not in sides or not side:
        return None
    minutes = float(found[2])
    value = int(found[1]) + minutes / 60.0
    if minutes >= 60.0 or value > most:
        return None
    return -value if side == sides[1] else value


def _gga(fields: list[str]) -> Message | None:
    if len(fields) < 14:
        return None
    quality, used = _number(fields[5], 0, 9), _number(fields[6] or "0", 0, 99)
    if quality is None or used is None:
        return None
    latitude, longitude = _angle(fields[1], fields[2], "NS", 90.0), _angle(fields[3], fields[4], "EW", 180.0)
    above_sea, sea = _number(fields[8], -1e4, 1e5), _number(fields[10], -1e3, 1e3)
    if quality and (latitude is None or longitude is None):
        return None
    height = None if above_sea is None or sea is None else above_sea + sea
    return Gga(_time(fields[0]), int(quality), int(used), latitude, longitude, height)


def _rmc(fields: list[str]) -> Message | None:
    if len(fields) < 9 or fields[1] not in ("A", "V"):
        return None
    date = None
    if fields[8]:
        found = _DATE.fullmatch(fields[8])
        if found is None:
            return None
        day, month, year = int(found[1]), int(found[2]), int(found[3])
        date = (2000 + year if year < 80 else 1900 + year, month, day)
    return Rmc(_time(fields[0]), fields[1] == "A", date)


def _zda(fields: list[str]) -> Message | None:
    if len(fields) < 4:
        return None
    if not any(fields[1:4]):
        return Zda(_time(fields[0]), None)
    day, month, year = _number(fields[1], 1, 31), _number(fields[2], 1, 12), _number(fields[3], 1980, 2200)
    if day is None or month is None or year is None:
        return None
    return Zda(_time(fields[0]), (int(year), int(month), int(day)))


def _gsv(fields: list[str]) -> Message | None:
    parts, part = (_number(text, 1, 9) for text in (*fields, "", "")[:2])
    if parts is None or part is None or len(fields) < 3 or part > parts:
        return None
    satellites = []
    for begin in range(3, len(fields) - 3, 4):
        number, elevation = fields[begin], fields[begin + 1]
        cno = fields[begin + 3]
        if not number:
            continue
        told = _number(number, 1, 999), _number(elevation or "0", -90, 90), _number(cno or "0", 0, 99)
        if None in told:
            return None
        satellites.append(
            InView(int(float(number)), int(float(elevation)) if elevation else None, float(cno) if cno else None)
        )
    return Gsv(int(parts), int(part), tuple(satellites))


_READERS = {"GGA": _gga, "RMC": _rmc, "ZDA": _zda, "GSV": _gsv}
