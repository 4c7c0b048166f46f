"""The header of a CGGTTS file: its lines to what they say, and the rule by which its CKSUM was made.

It reads no track. Source: Defraigne and Petit 2015 (format 2E); Allan and Thomas 1994 (format 01). Real producers write
commas, blanks and several delay lines as they like: what can be understood is taken, and the lines stay as they were.

Three rules of CKSUM are in use (sum of bytes modulo 256): the standard's counts all bytes but CR and LF through
`CKSUM = `; one maker stops before that blank; one counts the line feeds. A sum that none of them gives is evidence of a
change, not a reason to lose a day of tracks: it is a warning, and `checksum_rule` is None.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from truechimer.formats.finding import Finding, Severity
from truechimer.instants.errors import NotADateRejected
from truechimer.instants.mjd import from_calendar

MAX_LINES = 200
VERSION_01 = "01"
VERSION_2E = "2E"
RAW = "RAW"

_FIRST = re.compile(r"C?GGTTS\s+[A-Z/+]+\s+DATA\s+FORMAT\s+VERSION\s*=\s*(\S+)\s*")
BEGINS = re.compile(
    rb"^[ \t]*RAW CLOCK RESULTS[ \t\r]*$|"
    rb"(?:^|(?<=[0-9A-Fa-f][0-9A-Fa-f]))C?GGTTS\s+[A-Z/+]+\s+DATA\s+FORMAT\s+VERSION",
    re.MULTILINE,
)
"""Where a file begins in an archive: also behind the CK of a last line that was not ended."""
_VALUE_OF_DELAY = re.compile(r"([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))\s*ns(?:\s*\(([^)]{0,40})\))?", re.IGNORECASE)
_CALIBRATION = re.compile(r"CAL_ID\s*=\s*(\S*)")
_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_DELAYS = ("INT DLY", "CAB DLY", "REF DLY", "SYS DLY", "TOT DLY")
_CKSUM = re.compile(r"CKSUM\s*=\s*([0-9A-Fa-f]{2})\s*")


class ChecksumRule(StrEnum):
    """By which rule the header's CKSUM was made."""

    STANDARD = "standard"
    """All bytes but CR and LF, through `CKSUM = `."""
    WITHOUT_LAST_BLANK = "without-last-blank"
    """The same through `CKSUM =`."""
    WITH_LINE_FEEDS = "with-line-feeds"
    """Line feeds counted too."""


@dataclass(frozen=True, slots=True)
class Delay:
    """One delay of a header: which (`INT DLY`), of which code (`GPS C1`; empty: of all), in ns."""

    which: str
    code: str
    ns: float


@dataclass(frozen=True, slots=True)
class CggttsHeader:
    """What a header says; None or empty where it does not.

    `position_m`: antenna phase centre, ITRF, m. `lines`: as they stand in the file, through CKSUM, without line ends.
    """

    version: str
    lines: tuple[str, ...]
    revision_mjd: int | None = None
    receiver: str = ""
    channels: str = ""
    ims: str = ""
    laboratory: str = ""
    position_m: tuple[float | None, float | None, float | None] = (None, None, None)
    frame: str = ""
    comments: tuple[str, ...] = ()
    delays: tuple[Delay, ...] = ()
    calibration: str = ""
    reference: str = ""
    checksum: int | None = None
    checksum_rule: ChecksumRule | None = None

    @property
    def common_view_only(self) -> bool:
        """Whether the producer says that these tracks are good in common view only (no group delay applied)."""
        return any("ONLY IN COMMON VIEW" in comment.upper() for comment in self.comments)

    @property
    def without_ionosphere(self) -> bool:
        """Whether the producer says that no ionospheric correction is in the values."""
        return any("NO IONO CORRECTION" in comment.upper() for comment in self.comments)

    def total_delay_ns(self, code: str) -> float | None:
        """Return the delay that was subtracted for a code (`C1`, `GPS C1`), ns: INT + CAB - REF; None: not known.

        `SYS DLY` stands for INT + CAB, `TOT DLY` for all three.
        """
        total = self._of("TOT DLY", code)
        if total is not None:
            return total
        reference = self._of("REF DLY", code)
        system = self._of("SYS DLY", code)
        if system is None:
            internal, cable = self._of("INT DLY", code), self._of("CAB DLY", code)
            system = None if internal is None or cable is None else internal + cable
        return None if system is None or reference is None else system - reference

    def _of(self, which: str, code: str) -> float | None:
        wanted = code.split()
        for delay in self.delays:
            said = delay.code.split()
            if delay.which == which and (not said or said == wanted or said[-1:] == wanted):
                return delay.ns
        return None


def read(lines: Sequence[str], findings: list[Finding]) -> CggttsHeader | None:
    """Return what the lines of a header say (through CKSUM); None where the first line is no CGGTTS file's."""
    version = _version(lines[0]) if lines else None
    if version is None:
        says = "no CGGTTS file: the first line is neither 'CGGTTS ... VERSION = 2E' nor 'GGTTS GPS ... = 01'"
        findings.append(Finding("not-cggtts", f"{says}; name another file", 1, 1))
        return None
    if version not in (VERSION_01, VERSION_2E, RAW):
        says = f"format version {version[:10]} is not known (01 and 2E are): the columns are read as those of 2E"
        findings.append(Finding("version", says, 1, 1, Severity.WARNING))
    said: dict[str, str] = {}
    comments: list[str] = []
    delays: list[Delay] = []
    calibration = ""
    for number, line in enumerate(lines[1:], start=2):
        key, equals, text = line.partition("=")
        key, text = key.strip(), text.strip()
        if not equals:
            if line.strip():
                findings.append(
                    Finding("header-line", "this line is no 'KEY = value': it is not used", number, 1, Severity.WARNING)
                )
        elif key == "COMMENTS":
            comments.append(text)
        elif key in _DELAYS:
            calibrated = _CALIBRATION.search(text)
            calibration = calibration or (calibrated.group(1) if calibrated else "")
            _take_delays(key, text[: calibrated.start()] if calibrated else text, number, delays, findings)
        elif key in said:
            findings.append(
                Finding("header-key-twice", f"{key} stands twice: the first counts", number, 1, Severity.WARNING)
            )
        else:
            said[key] = text
    _missing_keys(version, said, findings)
    position = [_metres(said.get(axis), axis, lines, findings) for axis in "XYZ"]
    sum_said, rule = _checksum(lines, findings)
    return CggttsHeader(
        version,
        tuple(lines),
        _revision(said.get("REV DATE"), lines, findings),
        said.get("RCVR", ""),
        said.get("CH", ""),
        said.get("IMS", ""),
        said.get("LAB", ""),
        (position[0], position[1], position[2]),
        said.get("FRAME", ""),
        tuple(comments),
        tuple(delays),
        calibration,
        said.get("REF", ""),
        sum_said,
        rule,
    )


def sum_by(rule: ChecksumRule, lines: Sequence[str]) -> int:
    """Return the CKSUM of header lines by a rule, 0 to 255; what stands after `CKSUM = ` in the last does not count."""
    head = lines[-1][: lines[-1].index("=") + (1 if rule is ChecksumRule.WITHOUT_LAST_BLANK else 2)]
    total = sum(sum(line.encode("latin-1", "replace")) for line in lines[:-1]) + sum(head.encode("latin-1", "replace"))
    if rule is ChecksumRule.WITH_LINE_FEEDS:
        total += 10 * (len(lines) - 1)
    return total % 256


def is_last(line: str) -> bool:
    """Return whether this line ends a header."""
    return line.startswith("CKSUM")


def _version(line: str) -> str | None:
    if line.strip() == "RAW CLOCK RESULTS":
        return RAW
    found = _FIRST.fullmatch(line)
    return found.group(1) if found else None


def _missing_keys(version: str, said: dict[str, str], findings: list[Finding]) -> None:
    wanted = ("LAB", "X", "Y", "Z") if version == RAW else ("REV DATE", "RCVR", "LAB", "X", "Y", "Z", "FRAME", "REF")
    findings += [
        Finding("header-key", f"the header has no {key}", None, None, Severity.WARNING)
        for key in wanted
        if key not in said
    ]


def _take_delays(which: str, text: str, number: int, delays: list[Delay], findings: list[Finding]) -> None:
    found = [
        Delay(which, (match.group(2) or "").strip(), float(match.group(1))) for match in _VALUE_OF_DELAY.finditer(text)
    ]
    if not found:
        says = f"{which} holds no value in ns: the tracks cannot be calibrated anew from it"
        findings.append(Finding("delay", says, number, 1, Severity.WARNING))
    delays += found


def _metres(text: str | None, axis: str, lines: Sequence[str], findings: list[Finding]) -> float | None:
    if text is None:
        return None
    found = _NUMBER.match(text)
    if found is None or abs(float(found.group())) > 1e9:
        number = next(n for n, line in enumerate(lines, start=1) if line.split("=")[0].strip() == axis)
        says = f"the antenna's {axis} is no length in m: {text[:30]!r}"
        findings.append(Finding("position", says, number, 1, Severity.WARNING))
        return None
    return float(found.group())


def _revision(text: str | None, lines: Sequence[str], findings: list[Finding]) -> int | None:
    if text is None:
        return None
    found = _DATE.fullmatch(text)
    try:
        if found is not None:
            return from_calendar(int(found.group(1)), int(found.group(2)), int(found.group(3)))
    except NotADateRejected:
        pass
    number = next(n for n, line in enumerate(lines, start=1) if line.startswith("REV DATE"))
    findings.append(Finding("revision", f"REV DATE is no date yyyy-mm-dd: {text[:20]!r}", number, 1, Severity.WARNING))
    return None


def _checksum(lines: Sequence[str], findings: list[Finding]) -> tuple[int | None, ChecksumRule | None]:
    number = len(lines)
    if not is_last(lines[-1]):
        says = "the header has no CKSUM: nothing tells whether it was changed"
        findings.append(Finding("header-checksum", says, None, None, Severity.WARNING))
        return None, None
    found = _CKSUM.fullmatch(lines[-1])
    if found is None:
        says = "CKSUM is not two hexadecimal digits: nothing tells whether the header was changed"
        findings.append(Finding("header-checksum", says, number, 1, Severity.WARNING))
        return None, None
    said = int(found.group(1), 16)
    for rule in ChecksumRule:
        if sum_by(rule, lines) == said:
            return said, rule
    computed = sum_by(ChecksumRule.STANDARD, lines)
    says = f"the header's sum is {computed:02X}, CKSUM says {said:02X}: the header was changed after it was made"
    findings.append(Finding("header-checksum", says, number, 9, Severity.WARNING))
    return said, None
