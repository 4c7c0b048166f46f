"""Two-way time transfer by satellite: the daily files of ITU-R TF.1153-4, annex 2 (quadratic fits), bytes and back.

It compares nothing; `compare.two_way` does. A row is one session of one station: its time interval counter read the
remote second minus the local one (TW, s) over two minutes, fitted and given at 59.5 s after STTIME + the minute of
acquisition, with what is known of the delays. Lines of the header begin with `*`. The format has no checksum.
"""

import re
from dataclasses import dataclass

from truechimer.formats.finding import Finding, Severity
from truechimer.formats.packed_text import latin_lines

MAX_BYTES = 16_000_000
MAX_FINDINGS = 1_000
CALIBRATED, UNCALIBRATED = 1, 9

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_FLOAT = re.compile(_NUMBER)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_STATION = re.compile(r"[A-Z][A-Z0-9]{1,6}")
_FIELDS = 20
_SPLIT = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Session:
    """One row. `local`, `remote`: earth stations; `link`: number of the link (LI); `mjd`, `start_s`: UTC day and second
    of day of STTIME; `track_s` (NTL): nominal length; `tw_s`: TW; `drms_s`: scatter about the fit; `samples`, `span_s`
    (SMP, ATL): points used, and from first to last; `ref_delay_s`: UTC(k) to the modem's second, with sigma
    `u_ref_delay_s`; `calibration` (CI), `calr_s`, `switch` (S: 1 calibrated, 9 not); `esdvar_s`: monitored change
    of the station's delay since calibration, with sigma `u_esdvar_s`; `weather`: temperature (degC), humidity (%),
    pressure (mbar). None where the file says that it does not know. `line`: counts from 1.
    """

    local: str
    remote: str
    link: str
    mjd: int
    start_s: int
    track_s: int
    tw_s: float
    drms_s: float
    samples: int
    span_s: int
    ref_delay_s: float
    u_ref_delay_s: float | None
    calibration: int | None
    switch: int
    calr_s: float | None
    esdvar_s: float | None
    u_esdvar_s: float | None
    weather: tuple[float | None, float | None, float | None]
    line: int = 0


@dataclass(frozen=True, slots=True)
class TwstftFile:
    """A station's day. `header`: its lines as they stand, with the asterisk; `laboratory`, `calibrations`: what they
    say (number of a calibration: its estimated uncertainty in s).
    """

    header: tuple[str, ...]
    laboratory: str
    calibrations: dict[int, float]
    sessions: tuple[Session, ...]


def read(data: bytes) -> tuple[TwstftFile | None, list[Finding]]:
    """Return a file and what is wrong with it; None: this is no such file. A broken row costs no other."""
    findings: list[Finding] = []
    if len(data) > MAX_BYTES:
        return None, [Finding("too-long", f"{len(data)} bytes are no day of two-way sessions (at most {MAX_BYTES})")]
    lines = latin_lines(data)
    header = [line for _, line in lines if line.startswith("*")]
    if not any(line[1:].split()[:1] == ["FORMAT"] for line in header):
        return None, [Finding("not-twstft", "no line '* FORMAT 01' at its top: name another file", 1, 1)]
    version = next(line[1:].split()[1:] for line in header if line[1:].split()[:1] == ["FORMAT"])
    if version != ["01"]:
        says = f"FORMAT {' '.join(version)[:10]} is not known (01 is): the columns are read as those of 01"
        findings.append(Finding("version", says, None, None, Severity.WARNING))
    sessions: list[Session] = []
    seen: set[tuple[str, str, str, int, int]] = set()
    for number, line in lines:
        if line.startswith("*") or not line.strip():
            continue
        session = _session(number, line, findings)
        if session is None:
            continue
        key = (session.local, session.remote, session.link, session.mjd, session.start_s)
        if key in seen:
            says = f"{session.local} to {session.remote} stands twice at this start: the later line is not used"
            findings.append(Finding("repeated", says, number, 1))
            continue
        seen.add(key)
        sessions.append(session)
    if len(findings) > MAX_FINDINGS:
        beyond = len(findings) - MAX_FINDINGS
        del findings[MAX_FINDINGS:]
        findings.append(Finding("more", f"{beyond} more findings are not listed: is the file damaged?"))
    laboratory = next(
        (line[1:].split()[1] for line in header if line[1:].split()[:1] == ["LAB"] and len(line.split()) > 2), ""
    )
    return TwstftFile(tuple(header), laboratory, _calibrations(header), tuple(sessions)), findings


def write(value: TwstftFile) -> bytes:
    """Return the bytes of a file, its rows in the standard's columns."""
    rows = [_row(session) for session in value.sessions]
    return ("\n".join([*value.header, *rows]) + "\n").encode("latin-1")


def _calibrations(header: list[str]) -> dict[int, float]:
    found = {}
    for line in header:
        match = re.search(rf"\bCAL\s+([0-9]{{3}})\b.*UNCERT\.?:\s*({_NUMBER})\s*ns", line)
        if match is not None:
            found[int(match.group(1))] = float(match.group(2)) * 1e-9
    return found


def _session(number: int, line: str, findings: list[Finding]) -> Session | None:
    words = [(match.group(), match.start() + 1) for match in _SPLIT.finditer(line[:400])]

    def refuse(rule: str, says: str, column: int = 1) -> None:
        findings.append(Finding(rule, f"{says}: the session is not used", number, column))

    if len(words) != _FIELDS:
        refuse("fields", f"{len(words)} fields instead of {_FIELDS}")
        return None
    texts = [word for word, _ in words]
    for k in (0, 1):
        if _STATION.fullmatch(texts[k]) is None:
            refuse("station", f"{texts[k][:10]!r} is no station", words[k][1])
            return None
    for k in range(3, _FIELDS):
        if (_INTEGER if k in (3, 4, 5, 8, 9, 12, 13) else _FLOAT).fullmatch(texts[k]) is None:
            refuse("field", f"{texts[k][:16]!r} is no number", words[k][1])
            return None
    start = int(texts[4])
    hours, minutes, seconds = start // 10_000, start // 100 % 100, start % 100
    mjd, switch, tw_s = int(texts[3]), int(texts[13]), float(texts[6])
    for bad, rule, says, k in (
        (hours > 23 or minutes > 59 or seconds > 59 or start < 0, "start", "STTIME is no time hhmmss", 4),
        (not 40_000 <= mjd <= 99_999, "day", "MJD is not within 40000 to 99999", 3),
        (switch not in (CALIBRATED, UNCALIBRATED), "switch", "S is neither 1 (calibrated) nor 9", 13),
        (not 0.0 < abs(tw_s) < 1.0, "interval", "TW is not within a second", 6),
        (abs(float(texts[10])) >= 1.0, "delay", "REFDELAY is not within a second", 10),
    ):
        if bad:
            refuse(rule, says, words[k][1])
            return None
    session = Session(
        texts[0],
        texts[1],
        texts[2],
        mjd,
        hours * 3_600 + minutes * 60 + seconds,
        int(texts[5]),
        tw_s,
        float(texts[7]) * 1e-9,
        int(texts[8]),
        int(texts[9]),
        float(texts[10]),
        _known_ns(texts[11], 99_999.0),
        _known(texts[12], 999),
        switch,
        _known_ns(texts[14], 999_999_999.0),
        _known_ns(texts[15], 999_999_999.0),
        _known_ns(texts[16], 99_999.0),
        (_known(texts[17], 99), _known(texts[18], 999), _known(texts[19], 9999)),
        number,
    )
    if switch == CALIBRATED and session.calr_s is None:
        refuse("calibration", "S says calibrated, and CALR is missing", words[14][1])
        return None
    return session


def _known(text: str, missing: int) -> int | None:
    value = int(float(text))
    return None if value == missing else value


def _known_ns(text: str, missing: float) -> float | None:
    # Sigmas are missing as 99999 and as 99.999, depending on the producer's columns.
    value = float(text)
    return None if value in (missing, missing / 1000.0) else value * 1e-9


def _row(session: Session) -> str:
    start = session.start_s
    clock = start // 3_600 * 10_000 + start // 60 % 60 * 100 + start % 60
    temperature, humidity, pressure = session.weather
    return (
        f" {session.local:<6} {session.remote:<6}{session.link:>2} {session.mjd:5d} {clock:06d} {session.track_s:3d} "
        f"{session.tw_s:+.12f} {session.drms_s * 1e9:5.3f} {session.samples:3d} {session.span_s:3d} "
        f"{session.ref_delay_s:+.12f} {_sigma(session.u_ref_delay_s)} "
        f"{999 if session.calibration is None else session.calibration:3d} {session.switch:1d} "
        f"{_ns(session.calr_s)} {_ns(session.esdvar_s)} {_sigma(session.u_esdvar_s)} "
        f"{'+99' if temperature is None else format(int(temperature), '3d')} "
        f"{999 if humidity is None else int(humidity):3d} {9999 if pressure is None else int(pressure):4d}"
    )


def _ns(value_s: float | None) -> str:
    return "999999999" if value_s is None else f"{value_s * 1e9:9.3f}"


def _sigma(value_s: float | None) -> str:
    return "99999" if value_s is None else f"{value_s * 1e9:5.3f}"
