"""What a laboratory submits to the BIPM: clock readings and steps, bytes to (values, findings), and back.

It computes no code of a clock (the BIPM gives them) and removes no step: `without_steps` says how a series looks before
one. Readings: columns 1-5 MJD, 7-11 code of the laboratory, then up to five blocks of 18 from column 13: clock code
(7 digits), blank, UTC(k) - clock in ns (9 columns). Steps: MJD with two decimals (8), clock code, time step in ns,
frequency step in ns/d, laboratory. ASCII alone. Source: BIPM guidelines for submission.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from truechimer.errors import Misuse
from truechimer.formats.finding import Finding

MAX_BYTES = 16_000_000
BLOCKS, BLOCK, FIRST_BLOCK = 5, 18, 12
_NS = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?")
_STEP = re.compile(
    r"\s*([0-9]{5}(?:\.[0-9]{1,2})?)\s+([0-9]{7})\s+([+-]?[0-9.]+)\s+([+-]?[0-9.]+)(?:\s+([A-Z]{1,5}))?(?:\s+([0-9]{5}))?\s*"
)


class ClockDataMisuse(Misuse):
    """Values that the columns cannot hold."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """UTC(k) minus a clock at 0 h UTC of `mjd`, ns."""

    mjd: int
    laboratory: str
    clock: str
    utck_minus_clock_ns: float
    line: int = 0


@dataclass(frozen=True, slots=True)
class ClockStep:
    """A step of UTC(k) - clock at `mjd` (two decimals): time in ns, frequency in ns/d."""

    mjd: float
    clock: str
    time_ns: float
    frequency_ns_per_day: float
    acronym: str = ""
    laboratory: str = ""
    line: int = 0


def read(data: bytes) -> tuple[tuple[ClockReading, ...], list[Finding]]:
    """Return the readings of a file and a finding for each block that is none; its neighbours are kept."""
    findings: list[Finding] = []
    found: list[ClockReading] = []
    seen: set[tuple[int, str]] = set()
    for number, line in _lines(data, findings):
        mjd, laboratory = line[:5], line[6:11]
        known = (mjd + laboratory).isdigit() and len(mjd + laboratory) == 10
        if not known or line[5:6].strip() or line[11:12].strip():
            says = "columns 1-5 and 7-11 are no MJD and laboratory code: the line is not used"
            findings.append(Finding("columns", says, number, 1))
            continue
        if not 40_000 <= int(mjd) <= 99_999:
            findings.append(Finding("day", f"MJD {mjd} is none of a file of today: the line is not used", number, 1))
            continue
        if not line[FIRST_BLOCK:].strip():
            findings.append(Finding("no-clock", "no clock stands in this line: was it cut?", number, FIRST_BLOCK + 1))
        if line[FIRST_BLOCK + BLOCKS * BLOCK :].strip():
            says = "more than five clocks in a line: what stands behind the fifth is not used"
            findings.append(Finding("too-long-line", says, number, FIRST_BLOCK + BLOCKS * BLOCK + 1))
        for k in range(BLOCKS):
            at = FIRST_BLOCK + k * BLOCK
            block = line[at : at + BLOCK]
            if not block.strip():
                continue
            clock, value = block[:7], block[8:17].strip()
            if not (len(clock) == 7 and clock.isdigit()) or block[7:8].strip() or _NS.fullmatch(value) is None:
                says = f"{block.strip()[:20]!r} is no clock code of 7 digits and value in ns: it is not used"
                findings.append(Finding("block", says, number, at + 1))
            elif (int(mjd), clock) in seen:
                findings.append(Finding("repeated", f"clock {clock} stands twice on MJD {mjd}", number, at + 1))
            else:
                seen.add((int(mjd), clock))
                found.append(ClockReading(int(mjd), laboratory, clock, float(value), number))
    return tuple(found), findings


def write(readings: Sequence[ClockReading]) -> bytes:
    """Return readings in the columns, five clocks to a line, in their order by day and laboratory."""
    out: list[str] = []
    together: dict[tuple[int, str], list[ClockReading]] = {}
    for reading in readings:
        together.setdefault((reading.mjd, reading.laboratory), []).append(reading)
    for (mjd, laboratory), here in together.items():
        for k in range(0, len(here), BLOCKS):
            blocks = []
            for each in here[k : k + BLOCKS]:
                value = f"{each.utck_minus_clock_ns:9.1f}"
                if len(value) > 9 or len(each.clock) != 7 or not each.clock.isdigit():
                    raise ClockDataMisuse(f"clock {each.clock!r}, {value} ns: no 7 digits, or more than 9 columns")
                blocks.append(f"{each.clock} {value} ")
            out.append(f"{mjd:5d} {laboratory} " + "".join(blocks).rstrip())
    return ("\n".join(out) + "\n").encode("ascii")


def read_steps(data: bytes) -> tuple[tuple[ClockStep, ...], list[Finding]]:
    """Return the steps of a file and a finding for each line that is none."""
    findings: list[Finding] = []
    found = []
    for number, line in _lines(data, findings):
        step = _step(number, line)
        if step is None:
            says = "no 'MJD.dd clock time/ns frequency/(ns/d) laboratory': the line is not used"
            findings.append(Finding("step", says, number, 1))
        else:
            found.append(step)
    return tuple(found), findings


def _step(number: int, line: str) -> ClockStep | None:
    match = _STEP.fullmatch(line)
    if match is None:
        return None
    try:
        time_ns, frequency = float(match.group(3)), float(match.group(4))
    except ValueError:
        return None
    mjd, acronym, laboratory = float(match.group(1)), match.group(5) or "", match.group(6) or ""
    return ClockStep(mjd, match.group(2), time_ns, frequency, acronym, laboratory, number)


def write_steps(steps: Sequence[ClockStep]) -> bytes:
    """Return steps in their columns."""
    rows = [
        f"{each.mjd:8.2f} {each.clock} {each.time_ns:9.1f} {each.frequency_ns_per_day:9.2f} "
        f"{each.acronym:<4} {each.laboratory}".rstrip()
        for each in steps
    ]
    return ("\n".join(rows) + "\n").encode("ascii")


def without_steps(readings: Sequence[ClockReading], steps: Sequence[ClockStep]) -> tuple[ClockReading, ...]:
    """Return readings with steps removed backwards, as the BIPM's own checker does: a value at t before a step at T of
    time s and frequency f gets - s - f (t - T). Values after the last step stay as they are.
    """
    out = []
    for each in readings:
        value = each.utck_minus_clock_ns
        for step in steps:
            if step.clock == each.clock and each.mjd < step.mjd:
                value += -step.time_ns - step.frequency_ns_per_day * (each.mjd - step.mjd)
        out.append(ClockReading(each.mjd, each.laboratory, each.clock, value, each.line))
    return tuple(out)


def _lines(data: bytes, findings: list[Finding]) -> list[tuple[int, str]]:
    if len(data) > MAX_BYTES:
        findings.append(Finding("too-long", f"{len(data)} bytes are no clock file (at most {MAX_BYTES})"))
        return []
    lines = []
    for number, raw in enumerate(data.split(b"\n"), start=1):
        line = raw.rstrip(b"\r")
        if not line.strip():
            continue
        try:
            lines.append((number, line.decode("ascii")))
        except UnicodeDecodeError as error:
            says = "a character that is not ASCII: the BIPM takes none; the line is not used"
            findings.append(Finding("not-ascii", says, number, error.start + 1))
    return lines
