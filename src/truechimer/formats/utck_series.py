"""Series of UTC - UTC(k) of one laboratory: pulsar timing's clock files and the BIPM's `utc-<lab>`, bytes to values.

It averages nothing. A clock file begins with `# UTC(AUS) UTC` (from, to) and holds MJD and "to minus from" in seconds;
here that must end in UTC, so that values are UTC - UTC(k). `utc-<lab>` holds MJD, UTC - UTC(k) in ns, then perhaps uA,
uB, u in ns; `-` where there is none. Lines with `#` are remarks. Source: tempo2's clock files; BIPM time server.
"""

import re
from dataclasses import dataclass

from truechimer.formats.finding import Finding

MAX_BYTES = 32_000_000
MAX_FINDINGS = 1_000
LARGEST_S = 1.0
_HEAD = re.compile(r"#\s*(\S+)\s+(\S+)(?:\s.*)?")
_SCALES = re.compile(
    r"#\s*[A-Za-z]{2,4}\([A-Za-z0-9_-]{1,12}\)\s+[A-Za-z]{2,4}(?:\([A-Za-z0-9_-]{1,12}\))?(?:\s+[0-9]+)?"
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eEdD][+-]?[0-9]{1,3})?")
_OF_UTC = re.compile(r"UTC\(([A-Za-z0-9_]{1,8})\)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UtckSeries:
    """`quantity`: "UTC - UTC(AUS)" or what the head says; `laboratory`: k, empty where not said; `mjd` rises (whole
    days); `x_s`; `u_s`: total uncertainty, None where not given; `remarks`: lines with `#`, with their numbers.
    """

    quantity: str
    laboratory: str
    mjd: tuple[int, ...]
    x_s: tuple[float, ...]
    u_s: tuple[float | None, ...]
    remarks: tuple[tuple[int, str], ...] = ()


def is_clock_file(head: str) -> bool:
    """Whether a text begins as a clock file in seconds: `# FROM TO`, two names of scales, whatever remarks follow."""
    first = next((line for line in head.lstrip("\ufeff\xef\xbb\xbf").splitlines() if line.strip()), "")
    return _SCALES.fullmatch(first.strip()) is not None


def read(data: bytes, *, seconds: bool, any_scales: bool = False) -> tuple[UtckSeries | None, list[Finding]]:
    """Return a series and a finding for each line that is none of it; None: it holds no value. `seconds`: a clock file;
    else ns. `any_scales`: a clock file may lead from any scale to any other (TAI - TA(k)), as its `quantity` then says.
    """
    findings: list[Finding] = []
    if len(data) > MAX_BYTES:
        return None, [Finding("too-long", f"{len(data)} bytes are no series of UTC - UTC(k) (at most {MAX_BYTES})")]
    remarks: list[tuple[int, str]] = []
    rows: list[tuple[int, float, float | None]] = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").decode("latin-1").split("\n"), start=1):
        line = raw.rstrip("\r")
        if line.startswith("#"):
            remarks.append((number, line))
        elif line.strip():
            row = _row(number, line, findings, seconds=seconds)
            if row is not None and rows and row[0] <= rows[-1][0]:
                says = f"MJD {row[0]} does not follow MJD {rows[-1][0]}: the later line is not used"
                findings.append(Finding("not-rising", says, number, 1))
            elif row is not None:
                rows.append(row)
    if len(findings) > MAX_FINDINGS:
        beyond = len(findings) - MAX_FINDINGS
        del findings[MAX_FINDINGS:]
        findings.append(Finding("more", f"{beyond} more findings are not listed: is the file damaged?"))
    head = next((found for _, line in remarks[:1] if (found := _HEAD.fullmatch(line.strip()))), None)
    is_ours = head is not None and head.group(2).upper() == "UTC" and _OF_UTC.fullmatch(head.group(1)) is not None
    if seconds and not is_ours and not (any_scales and head is not None):
        said = "nothing" if head is None else f"{head.group(1)} to {head.group(2)}"
        says = f"its head says {said}: of clock files those that lead to UTC are read (# UTC(k) UTC)"
        findings.append(Finding("not-to-utc", says, 1, 1))
        return None, findings
    if not rows:
        findings.append(Finding("no-values", "no line 'MJD value' was read: name another file"))
        return None, findings
    laboratory = _OF_UTC.fullmatch(head.group(1)) if head is not None else None
    name = laboratory.group(1).upper() if laboratory is not None else ""
    mjd, x_s, u_s = zip(*rows, strict=True)
    quantity = f"UTC - UTC({name or 'k'})" if is_ours or not seconds or head is None else f"{head[2]} - {head[1]}"
    return UtckSeries(quantity, name, mjd, x_s, u_s, tuple(remarks)), findings


def write(value: UtckSeries, *, seconds: bool) -> bytes:
    """Return a clock file (`seconds`) or a series in ns, its remarks in their lines. In ns a u stands in the fifth
    column, uA and uB before it as not known.
    """
    rows = []
    for mjd, x_s, u_s in zip(value.mjd, value.x_s, value.u_s, strict=True):
        sigma = "" if u_s is None else f"     -     - {u_s * 1e9:5.1f}"
        rows.append(f"{mjd}.00000 {x_s:.12f}" if seconds else f"{mjd} {x_s * 1e9:9.1f}{sigma}")
    remarks = dict(value.remarks)
    out: list[str] = []
    for row in rows:
        while len(out) + 1 in remarks:
            out.append(remarks.pop(len(out) + 1))
        out.append(row)
    out += [remarks[number] for number in sorted(remarks)]
    return ("\n".join(out) + "\n").encode("latin-1")


def _is_mjd(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and 40_000 <= float(text.replace("D", "E").replace("d", "e")) <= 99_999


def _row(number: int, line: str, findings: list[Finding], *, seconds: bool) -> tuple[int, float, float | None] | None:
    words = line.split()
    if len(words) < 2 or not _is_mjd(words[0]) or not float(words[0]).is_integer():
        says = "no whole MJD and value: the line is not used"
        findings.append(Finding("row", says, number, 1))
        return None
    if words[1] == "-":
        return None
    numbers = [_NUMBER.fullmatch(word) is not None or word == "-" for word in words[1:]]
    if not all(numbers) or len(words) > (3 if seconds else 5):
        findings.append(Finding("row", "what stands behind the MJD is no value: the line is not used", number, 1))
        return None
    unit = 1.0 if seconds else 1e-9
    value = float(words[1].replace("D", "E").replace("d", "e")) * unit
    sigma = None if seconds or len(words) < 3 or words[-1] == "-" else float(words[-1]) * 1e-9
    if abs(value) >= LARGEST_S or (sigma is not None and not 0.0 <= sigma < LARGEST_S):
        findings.append(Finding("value", f"{words[1][:16]} is no difference of UTC(k): not used", number, 1))
        return None
    return int(float(words[0])), value, sigma or None
