"""The header of a clock RINEX file: lines to fields, and fields back to lines.

It reads no clock. Source: RINEX extensions to handle clock information, versions 2.00 (1999), 3.00 to 3.02 (2010) and
3.04 (2017): labels stand at column 61, from 3.04 on at column 66, where clock names have nine characters in place of
four. Real files mix both, so each line is read by where its label stands.
"""

import re
from dataclasses import dataclass, field

from truechimer.errors import Misuse
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.rinex_clock_time import Times

NARROW, WIDE = 60, 65
"""Characters before the label: up to 3.02, and from 3.04 on."""
KINDS = ("AR", "AS", "CR", "DR", "MS")
"""Analysis of receivers and of satellites, calibration and discontinuity of a receiver, monitoring of satellites."""
MAX_HEADER_LINES = 20_000

_VERSION = "RINEX VERSION / TYPE"
_PROGRAM = "PGM / RUN BY / DATE"
_OBSERVATIONS = "SYS / # / OBS TYPES"
_TIME = "TIME SYSTEM ID"
_LEAP, _LEAP_GNSS = "LEAP SECONDS", "LEAP SECONDS GNSS"
_DCBS, _PCVS = "SYS / DCBS APPLIED", "SYS / PCVS APPLIED"
_TYPES = "# / TYPES OF DATA"
_STATION, _STATION_CLOCK = "STATION NAME / NUM", "STATION CLK REF"
_CENTER = "ANALYSIS CENTER"
_REFERENCES, _REFERENCE = "# OF CLK REF", "ANALYSIS CLK REF"
_FRAME, _SOLVED = "# OF SOLN STA / TRF", "SOLN STA NAME / NUM"
_SATELLITES, _LIST = "# OF SOLN SATS", "PRN LIST"
_COMMENT = "COMMENT"
END = "END OF HEADER"
LABELS = frozenset(
    {
        _VERSION, _PROGRAM, _OBSERVATIONS, _TIME, _LEAP, _LEAP_GNSS, _DCBS, _PCVS, _TYPES, _STATION, _STATION_CLOCK,
        _CENTER, _REFERENCES, _REFERENCE, _FRAME, _SOLVED, _SATELLITES, _LIST, _COMMENT, END,
    }
)  # fmt: skip
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eEdD][+-]?[0-9]{1,3})?")


class RinexClockMisuse(Misuse):
    """A value that the format cannot hold was to be written. Field: `rule`."""

    def __init__(self, rule: str, says: str) -> None:
        self.rule = rule
        super().__init__(says)


@dataclass(frozen=True, slots=True)
class ReferenceClock:
    """A clock that an analysis held fixed; `constraint_s`: the value it was held at, None where none is stated."""

    name: str
    number: str = ""
    constraint_s: float | None = None


@dataclass(frozen=True, slots=True)
class References:
    """The reference clocks from one epoch to another (ns TAI; None: of the whole file)."""

    clocks: tuple[ReferenceClock, ...]
    first_tai_ns: int | None = None
    last_tai_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Station:
    """A receiver of the solution: name, its own number (DOMES), and geocentric X, Y, Z (mm), None where not stated."""

    name: str
    number: str = ""
    xyz_mm: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """Corrections applied to the data of a satellite system: by which program, from which source."""

    system: str
    program: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RinexClockHeader:
    """What a file says of itself. `time_system` is empty where no line states it (then it is GPS time).

    `leap_seconds`, `leap_seconds_gnss`: as stated, TAI or GPS minus UTC (s): files use the first for both. `station`,
    `station_number`, `station_clock`: the receiver of CR and DR data and what stands behind it. `others`: labels that
    no version knows, with their content.
    """

    version: str = "3.04"
    satellite_system: str = ""
    program: str = ""
    run_by: str = ""
    date: str = ""
    comments: tuple[str, ...] = ()
    observations: tuple[tuple[str, tuple[str, ...]], ...] = ()
    time_system: str = ""
    leap_seconds: int | None = None
    leap_seconds_gnss: int | None = None
    dcbs: tuple[Applied, ...] = ()
    pcvs: tuple[Applied, ...] = ()
    types: tuple[str, ...] = ()
    station: str = ""
    station_number: str = ""
    station_clock: str = ""
    center: str = ""
    center_name: str = ""
    references: tuple[References, ...] = ()
    frame: str = ""
    stations: tuple[Station, ...] = ()
    satellites: tuple[str, ...] = ()
    others: tuple[tuple[str, str], ...] = ()

    @property
    def is_wide(self) -> bool:
        """True where names have nine characters and labels stand at column 66."""
        return float(self.version) >= 3.04


@dataclass(slots=True)
class _Draft:
    """What has been read so far."""

    single: dict[str, str] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    observations: list[tuple[str, list[str]]] = field(default_factory=list)
    applied: dict[str, list[Applied]] = field(default_factory=lambda: {_DCBS: [], _PCVS: []})
    types: list[str] = field(default_factory=list)
    references: list[tuple[int | None, int | None, list[ReferenceClock]]] = field(default_factory=list)
    stations: list[Station] = field(default_factory=list)
    satellites: list[str] = field(default_factory=list)
    others: list[tuple[str, str]] = field(default_factory=list)
    integers: dict[str, int] = field(default_factory=dict)


def split_label(line: str) -> tuple[str, str, int] | None:
    """Return label, content and width of a header line, None where no known label stands where one may stand."""
    label = line[NARROW : NARROW + 20].strip()
    if label in LABELS and line[NARROW : NARROW + 1].strip():
        return label, line[:NARROW], NARROW
    label = line[WIDE : WIDE + 20].strip()
    if label in LABELS and line[WIDE : WIDE + 1].strip():
        return label, line[:WIDE], WIDE
    return None


def read(lines: list[tuple[int, str]], times: Times, findings: list[Finding]) -> RinexClockHeader | None:
    """Return the fields of the numbered lines up to the end of the header; None: this is no clock RINEX file.

    The time system must be known before epochs are read, so that line is looked for first; `times` keeps it.
    """
    parts: list[tuple[int, str, str, int]] = []
    draft = _Draft()
    for number, line in lines:
        found = split_label(line)
        if found is not None:
            parts.append((number, *found))
        elif line.strip():
            label = line[NARROW:].strip()
            if re.fullmatch(r"[A-Z#/][A-Z0-9#/ ]{2,19}", label):
                draft.others.append((label, line[:NARROW].rstrip()))
                says = f"no version has a line {label[:20]!r}: kept, not used"
                findings.append(Finding("header-label", says, number, NARROW + 1, severity=Severity.WARNING))
            else:
                says = "a header line without a label at column 61 or 66: it is not used"
                findings.append(Finding("header-label", says, number, NARROW + 1))
    version = next((content for _, label, content, _ in parts if label == _VERSION), None)
    if version is None or not _is_clock(version, findings):
        return None
    for number, label, content, _ in parts:
        if label == _TIME:
            times.choose(content.strip(), number, findings)
    for number, label, content, width in parts:
        fault = _take(draft, label, content, name_width=4 if width == NARROW else 9, times=times)
        if fault:
            findings.append(Finding("header-field", f"{label}: {fault}: the line is not used", number, 1))
    if not any(label == END for _, label, _, _ in parts):
        findings.append(Finding("header-end", f"no line {END!r}: the header ends before the first clock"))
    return _fields(version, draft)


def _is_clock(content: str, findings: list[Finding]) -> bool:
    tokens = content.split()
    is_number = bool(tokens) and re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,2})?", tokens[0]) is not None
    if not is_number or len(tokens) < 2 or not tokens[1].startswith("C"):
        says = "no clock RINEX file: the first line must state a version and the type C; name another file"
        findings.append(Finding("not-clock-rinex", says, 1, 1))
        return False
    if not 1.0 <= float(tokens[0]) < 5.0:
        says = f"version {tokens[0]} is not known (2.00 to 3.04 are): read as the nearest"
        findings.append(Finding("version", says, 1, 1, severity=Severity.WARNING))
    return True


def _take(draft: _Draft, label: str, content: str, *, name_width: int, times: Times) -> str:
    """Take one line in; return what is wrong with it, empty where nothing is."""
    tokens = content.split()
    if label == _COMMENT:
        draft.comments.append(content.rstrip())
    elif label in (_LEAP, _LEAP_GNSS):
        if len(tokens) != 1 or not _INTEGER.fullmatch(tokens[0]):
            return "one whole number belongs here"
        draft.integers[label] = int(tokens[0])
    elif label in draft.applied:
        draft.applied[label].append(Applied(content[:1].strip(), content[2:19].strip(), content[20:].strip()))
    elif label == _OBSERVATIONS:
        if content[:1].strip():
            draft.observations.append((content[:1], tokens[2:]))
        elif draft.observations:
            draft.observations[-1][1].extend(tokens)
        else:
            return "a continuation of nothing"
    elif label == _TYPES:
        draft.types.extend(tokens[1:])
        if not set(tokens[1:]) <= set(KINDS):
            return f"types of data are {' '.join(KINDS)}"
    elif label == _REFERENCES:
        return _take_references(draft, tokens, times)
    elif label == _REFERENCE:
        name, number, rest = _named(content, name_width)
        value = rest[-1] if rest else None
        if not name or (value is not None and not _NUMBER.fullmatch(value)):
            return "a clock's name, its number and the value it was held at belong here"
        if not draft.references:
            draft.references.append((None, None, []))
        held = None if value is None else float(value.replace("D", "E").replace("d", "e"))
        draft.references[-1][2].append(ReferenceClock(name, number, held))
    elif label == _SOLVED:
        name, number, rest = _named(content, name_width)
        if not name or len(rest) not in (0, 3) or not all(_INTEGER.fullmatch(each) for each in rest):
            return "a name, a number and X, Y, Z in whole mm belong here"
        xyz = (int(rest[0]), int(rest[1]), int(rest[2])) if rest else None
        draft.stations.append(Station(name, number, xyz))
    elif label == _LIST:
        draft.satellites.extend(tokens)
    elif label != END:
        draft.single[label] = content.rstrip()
    return ""


def _take_references(draft: _Draft, tokens: list[str], times: Times) -> str:
    first, last = None, None
    if len(tokens) == 13:
        first, last = times.of_tokens(tokens[1:7]), times.of_tokens(tokens[7:13])
    draft.references.append((first, last, []))
    if len(tokens) not in (1, 13) or (len(tokens) == 13 and (first is None or last is None)):
        return "a number of clocks, and where they change two epochs, belong here"
    return ""


def _named(content: str, name_width: int) -> tuple[str, str, list[str]]:
    """Return name, number and what follows; a name wider than its field is read by blanks."""
    if content[name_width : name_width + 1].strip():
        name, _, rest = content.partition(" ")
        number, _, rest = rest.lstrip().partition(" ")
        return name, number, rest.split()
    number = content[name_width + 1 : name_width + 21].strip()
    return content[:name_width].strip(), number, content[name_width + 21 :].split()


def _fields(version: str, draft: _Draft) -> RinexClockHeader:
    words = version.split()
    # "G", "G (GPS)" or "GPS" all name the system by their first letter
    type_at = next((k for k, word in enumerate(words) if k and word.startswith("C")), 1)
    after = [word for word in words[type_at + 1 :] if word not in ("DATA", "CLOCK")]
    program = draft.single.get(_PROGRAM, "")
    step = 21 if len(program) > NARROW or (len(program) > 20 and program[20:21] == " " != program[21:22]) else 20
    station = draft.single.get(_STATION, "").split(maxsplit=1)
    center = draft.single.get(_CENTER, "")
    return RinexClockHeader(
        version=words[0],
        satellite_system=after[0][0] if after else "",
        program=program[:step].strip(),
        run_by=program[step : 2 * step].strip(),
        date=program[2 * step :].strip(),
        comments=tuple(draft.comments),
        observations=tuple((system, tuple(codes)) for system, codes in draft.observations),
        time_system=draft.single.get(_TIME, "").strip(),
        leap_seconds=draft.integers.get(_LEAP),
        leap_seconds_gnss=draft.integers.get(_LEAP_GNSS),
        dcbs=tuple(draft.applied[_DCBS]),
        pcvs=tuple(draft.applied[_PCVS]),
        types=tuple(draft.types),
        station=station[0] if station else "",
        station_number=station[1].strip() if len(station) > 1 else "",
        station_clock=draft.single.get(_STATION_CLOCK, "").strip(),
        center=center[:4].strip(),
        center_name=center[4:].strip(),
        references=tuple(References(tuple(clocks), first, last) for first, last, clocks in draft.references),
        frame=draft.single.get(_FRAME, "")[6:].strip(),
        stations=tuple(draft.stations),
        satellites=tuple(draft.satellites),
        others=tuple(draft.others),
    )


def lines_of(header: RinexClockHeader, times: Times) -> list[str]:
    """Return the header's lines; raise `RinexClockMisuse` for what no line can hold."""
    wide = header.is_wide
    width, name_width = (WIDE, 9) if wide else (NARROW, 4)
    out: list[str] = []

    def put(label: str, content: str) -> None:
        if len(content) > width or not content.isprintable():
            raise RinexClockMisuse("header-field", f"{label}: {content[:80]!r} does not fit {width} characters")
        out.append(f"{content:<{width}}{label:<20}")

    if wide:
        put(_VERSION, f"{header.version:<21}{'C':<21}{header.satellite_system}")
        put(_PROGRAM, f"{header.program:<21}{header.run_by:<21}{header.date}")
    else:
        put(_VERSION, f"{header.version:>9}{'':11}{'C':<20}{header.satellite_system}")
        put(_PROGRAM, f"{header.program:<20}{header.run_by:<20}{header.date}")
    for comment in header.comments:
        put(_COMMENT, comment)
    for system, codes in header.observations:
        for begin in range(0, max(len(codes), 1), 13):
            head = f"{system:<1}  {len(codes):3d}" if begin == 0 else " " * 6
            put(_OBSERVATIONS, head + "".join(f" {code:<3}" for code in codes[begin : begin + 13]))
    if header.time_system:
        put(_TIME, f"   {header.time_system}")
    for label, seconds in ((_LEAP, header.leap_seconds), (_LEAP_GNSS, header.leap_seconds_gnss)):
        if seconds is not None:
            put(label, f"{seconds:6d}")
    for label, all_applied in ((_DCBS, header.dcbs), (_PCVS, header.pcvs)):
        for applied in all_applied:
            put(label, f"{applied.system:<1} {applied.program:<17} {applied.source}")
    if header.types:
        put(_TYPES, f"{len(header.types):6d}" + "".join(f"    {each}" for each in header.types))
    if header.station:
        put(_STATION, f"{header.station:<{name_width}} {header.station_number}")
    if header.station_clock:
        put(_STATION_CLOCK, header.station_clock)
    if header.center or header.center_name:
        put(_CENTER, f"{header.center:<3}  {header.center_name}")
    for references in header.references:
        first, last = references.first_tai_ns, references.last_tai_ns
        ends = "" if first is None or last is None else f" {times.text(first)} {times.text(last)}"
        put(_REFERENCES, f"{len(references.clocks):6d}{ends}")
        for clock in references.clocks:
            held = "" if clock.constraint_s is None else f"{'':15}{clock.constraint_s:19.12E}"
            put(_REFERENCE, f"{clock.name:<{name_width}} {clock.number:<20}{held}")
    if header.stations or header.frame:
        put(_FRAME, f"{len(header.stations):6d}    {header.frame}")
    for station in header.stations:
        xyz = "" if station.xyz_mm is None else "{:11d} {:11d} {:11d}".format(*station.xyz_mm)
        put(_SOLVED, f"{station.name:<{name_width}} {station.number:<20}{xyz}")
    if header.satellites:
        put(_SATELLITES, f"{len(header.satellites):6d}")
        for begin in range(0, len(header.satellites), 15):
            put(_LIST, " ".join(f"{each:<3}" for each in header.satellites[begin : begin + 15]))
    for label, content in header.others:
        put(label, content)
    put(END, "")
    return out
