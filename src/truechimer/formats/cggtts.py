"""CGGTTS files, formats 2E and 01, and the 30 s files before them: bytes to (tracks, findings), and back.

It compares nothing; `compare.common_view` does. Source: Defraigne and Petit, Metrologia 52 (2015) G1; Allan and Thomas,
Metrologia 31 (1994) 69. Sign: REFSYS is the laboratory's reference clock minus the system's time, REFSV the same minus
the satellite's clock, both at the middle of the track; positive where the laboratory is fast. The delays of the header
have been taken off already.

A line whose checksum fails, that is cut, names no satellite or repeats a track is refused with its reason; its
neighbours are kept. `write(read(file))` is the file, byte for byte, where its producer follows the standard.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truechimer.formats import cggtts_columns, cggtts_header
from truechimer.formats.cggtts_columns import FIELDS, MISSING, NAMES, SIGNED, Ints, Layout, Rows
from truechimer.formats.cggtts_header import CggttsHeader, ChecksumRule, Delay
from truechimer.formats.cggtts_schedule import off_schedule
from truechimer.formats.finding import Finding, Severity

__all__ = ["MISSING", "CggttsFile", "CggttsHeader", "ChecksumRule", "Delay", "Tracks", "read", "write"]

MAX_FINDINGS = 10_000
_HALF_SECOND = 5 * 10**9
_SECOND = 10**10
_DAY_S = 86_400
_INTEGERS = (
    "length_s",
    "elevation_01deg",
    "azimuth_01deg",
    "refsv_100ps",
    "srsv_100fs",
    "refsys_100ps",
    "srsys_100fs",
    "dsg_100ps",
    "ioe",
    "mdtr_100ps",
    "smdt_100fs",
    "mdio_100ps",
    "smdi_100fs",
    "msio_100ps",
    "smsi_100fs",
    "isg_100ps",
    "glonass_channel",
    "hardware_channel",
)
"""The fields of `Tracks` for the columns of `FIELDS` from TRKL on, then FR and HC."""


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """Tracks in the order of the file; arrays of shape `(n,)`, integers in the file's own units, `MISSING` where none.

    `system`: letter of the satellite system; `number`: of the satellite (99: a solution of all satellites);
    `tracking_class` (CL), `code` (FRC; empty in format 01); `mjd`, `start_s`: UTC day and second of day at which the
    track begins; `length_s`; `elevation_01deg`, `azimuth_01deg`: 0.1 degree; `refsv_100ps`, `refsys_100ps`: 0.1 ns;
    their slopes `srsv_100fs`, `srsys_100fs`: 0.1 ps/s; `dsg_100ps`: rms of the fit; `ioe`; troposphere `mdtr_100ps`,
    `smdt_100fs`; modelled ionosphere `mdio_100ps`, `smdi_100fs`; measured ionosphere `msio_100ps`, `smsi_100fs`,
    `isg_100ps`; `glonass_channel` (FR), `hardware_channel` (HC); `checked`: whether CK held; `line`: counts from 1.
    """

    system: NDArray[np.bytes_]
    number: Ints
    tracking_class: NDArray[np.bytes_]
    mjd: Ints
    start_s: Ints
    length_s: Ints
    elevation_01deg: Ints
    azimuth_01deg: Ints
    refsv_100ps: Ints
    srsv_100fs: Ints
    refsys_100ps: Ints
    srsys_100fs: Ints
    dsg_100ps: Ints
    ioe: Ints
    mdtr_100ps: Ints
    smdt_100fs: Ints
    mdio_100ps: Ints
    smdi_100fs: Ints
    msio_100ps: Ints
    smsi_100fs: Ints
    isg_100ps: Ints
    glonass_channel: Ints
    hardware_channel: Ints
    code: NDArray[np.bytes_]
    checked: NDArray[np.bool_]
    line: Ints

    def __len__(self) -> int:
        """Return the number of tracks."""
        return len(self.mjd)

    @property
    def melded(self) -> NDArray[np.bool_]:
        """True for tracks that are a solution of all satellites (`G99`): no common view can be had with them."""
        solved: NDArray[np.bool_] = (self.number == 99) | (self.tracking_class == b"99")
        return solved

    def x_clock_minus_system_s(self) -> NDArray[np.float64]:
        """Return REFSYS in s, brought to +-0.5 s: whole seconds say nothing in this format; NaN where missing."""
        value = np.where(self.refsys_100ps == MISSING, 0, self.refsys_100ps)
        wrapped = (value + _HALF_SECOND) % _SECOND - _HALF_SECOND
        return np.where(self.refsys_100ps == MISSING, np.nan, wrapped * 1e-10)

    def middle_s(self) -> NDArray[np.float64]:
        """Return the middle of each track, seconds of the UTC day `mjd`."""
        return self.start_s + 0.5 * self.length_s

    def chosen(self, which: NDArray[np.bool_] | Ints) -> "Tracks":
        """Return some of the tracks."""
        return Tracks(*(getattr(self, name)[which] for name in Tracks.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class CggttsFile:
    """A file: its header, its tracks, and how its lines are written (for `write`).

    `labels`: the two lines between header and tracks; `line_end`: `\\n` or `\\r\\n`; `ended`: whether the last line has
    one; `minus_zero` (n, 20): where -0 is written; `gap`: whether a blank line stands above the labels; `source`: the
    bytes that were read, in whose own words `write` puts down again each track that nobody changed (producers fill
    with zeros or blanks, and leave plus signs out, as they like); `lines_before`: them in an archive.
    """

    header: CggttsHeader
    tracks: Tracks
    layout: Layout
    labels: tuple[str, str]
    line_end: str
    ended: bool
    minus_zero: NDArray[np.bool_]
    gap: bool = True
    source: bytes = b""
    lines_before: int = 0


def read(data: bytes) -> tuple[CggttsFile | None, list[Finding]]:
    """Return a file and what is wrong with it; None: this is no CGGTTS file.

    A track with a finding of severity `error` is not among the tracks; a `warning` costs none. Of several files one
    behind the other the first alone is read, which is said: `cggtts_archive.read_all` reads them all.
    """
    findings: list[Finding] = []
    data = data.removeprefix(b"\xef\xbb\xbf")
    another = cggtts_header.BEGINS.search(data, 1)
    if another is not None:
        says = "another file begins here: it and what follows it are not read; read them as an archive"
        line = data.count(b"\n", 0, another.start()) + 1
        findings.append(Finding("another-file", says, line, 1))
        data = data[: another.start()]
    lines, labels, at, line_end, gap = _parted(data)
    header = cggtts_header.read(lines, findings)
    if header is None:
        return None, findings
    raw = header.version == cggtts_header.RAW
    if labels is None:
        says = "no line of labels (SAT CL MJD ...) after the header: no track can be read; get the file again"
        findings.append(Finding("no-labels", says, len(lines) + 1, 1))
        return None, findings
    layout = cggtts_columns.layout_of(labels[0], raw=raw)
    moved = not raw and labels[0].find("STTIME") != 13 and labels[0].find("STTIME") != 14
    first_line = data.count(b"\n", 0, at) + 1
    rows = cggtts_columns.read(data[at:], layout, first_line=first_line, by_tokens=moved, findings=findings)
    rows = _judged(rows, layout, findings, moved=moved)
    findings.sort(key=lambda finding: finding.line or 0)
    if len(findings) > MAX_FINDINGS:
        beyond = len(findings) - MAX_FINDINGS
        del findings[MAX_FINDINGS:]
        findings.append(Finding("more", f"{beyond} more findings are not listed: is the file damaged?"))
    ended = data.endswith(b"\n")
    tracks = _tracks(rows)
    return CggttsFile(header, tracks, layout, labels, line_end, ended, rows.minus_zero, gap, data), findings


def write(value: CggttsFile) -> bytes:
    """Return the bytes of a file, with the header's CKSUM and each track's CK made by the standard's rules.

    A number that has no room in its columns is refused: ValueError.
    """
    lines = [*value.header.lines[:-1], "CKSUM = "]
    total = cggtts_header.sum_by(ChecksumRule.STANDARD, lines)
    said = value.header.lines[-1].strip()
    lines[-1] = said if said.upper() == f"CKSUM = {total:02X}" else f"CKSUM = {total:02X}"
    lines += [*[""] * value.gap, *value.labels]
    body = [*lines, *_written(value)]
    return (value.line_end.join(body) + value.line_end * value.ended).encode("latin-1")


def _parted(data: bytes) -> tuple[list[str], tuple[str, str] | None, int, str, bool]:
    """Return the header's lines, the two lines of labels (None: there are none), where the tracks begin, the line end,
    and whether a blank line stands above the labels.
    """
    lines: list[str] = []
    at, gap = 0, True
    line_end = "\r\n" if data[:200].partition(b"\n")[0].endswith(b"\r") else "\n"

    def next_line() -> str:
        nonlocal at
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        text = data[at : min(end, at + 1000)].decode("latin-1").removesuffix("\r")
        at = end + 1
        return text

    while at < len(data) and len(lines) < cggtts_header.MAX_LINES:
        before = at
        line = next_line()
        if line.split()[:2] in (["SAT", "CL"], ["PRN", "CL"]):
            while lines and not lines[-1].strip():
                lines.pop()
            at = before
            break
        lines.append(line)
        if cggtts_header.is_last(line):
            before = at
            if next_line().strip():
                at, gap = before, False
            break
    first = next_line()
    if first.split()[:2] not in (["SAT", "CL"], ["PRN", "CL"]):
        return lines, None, at, line_end, gap
    return lines, (first, next_line()), at, line_end, gap


def _judged(rows: Rows, layout: Layout, findings: list[Finding], *, moved: bool) -> Rows:
    """Refuse rows whose sum fails, whose time or direction is none, and repeated ones; say what is unusual."""
    names = {name: k for k, name in enumerate(NAMES)}
    column = {name: rows.integers[:, k] for name, k in names.items()}
    keep = rows.sum_holds | moved
    for k in np.flatnonzero(~keep).tolist():
        says = "the line's sum is not its CK: a character was changed, or fields overflowed; the track is not used"
        findings.append(Finding("track-checksum", says, int(rows.line[k]), layout.sum_at + 1))
    start, length = column["STTIME"], column["TRKL"]
    hours, minutes, seconds = start // 10_000, start // 100 % 100, start % 100
    for name, rule, says, bad in (
        ("STTIME", "start", "is no time hhmmss", (hours > 23) | (minutes > 59) | (seconds > 59) | (start < 0)),
        ("MJD", "day", "is not within 40000 to 99999", (column["MJD"] < 40_000) | (column["MJD"] > 99_999)),
        ("TRKL", "length", "is not within 1 s and a day", ((length < 1) | (length > _DAY_S)) & (not layout.raw)),
        ("ELV", "elevation", "is above 90 degrees", column["ELV"] > 900),
        ("AZTH", "azimuth", "is above 360 degrees", column["AZTH"] > 3600),
    ):
        for k in np.flatnonzero(bad & keep).tolist():
            text = f"{name} {says}: the track is not used"
            findings.append(Finding(rule, text, int(rows.line[k]), FIELDS[names[name]][1]))
        keep &= ~bad
    no_text = _no_text(rows) & keep
    for k in np.flatnonzero(no_text).tolist():
        says = "CL or FRC holds a character that is none of ASCII: the track is not used"
        findings.append(Finding("letters", says, int(rows.line[k]), 5))
    rows = _some(rows, keep & ~no_text)
    rows = _without_repeats(rows, findings)
    integers = rows.integers
    start_s = _seconds(integers[:, names["STTIME"]])
    unscheduled = off_schedule(integers[:, names["MJD"]], start_s) & (not layout.raw)
    for k in np.flatnonzero(unscheduled).tolist():
        says = "this track does not begin with the BIPM's schedule: nobody else has one to compare it with"
        findings.append(Finding("off-schedule", says, int(rows.line[k]), 14, Severity.WARNING))
    return rows


def _no_text(rows: Rows) -> NDArray[np.bool_]:
    """Return where CL or FRC hold a byte that is no letter, digit or sign of ASCII."""
    bad = np.zeros(len(rows.line), np.bool_)
    for texts in (rows.tracking_class, rows.code):
        letters = np.ascontiguousarray(texts).view(np.uint8).reshape(len(texts), texts.dtype.itemsize)
        bad |= ((letters != 0) & ((letters < 32) | (letters > 126))).any(axis=1)
    return bad


def _without_repeats(rows: Rows, findings: list[Finding]) -> Rows:
    """Refuse tracks that repeat satellite, start and code of an earlier one."""
    _, code = np.unique(rows.code, return_inverse=True)
    keys = np.column_stack([rows.satellite, rows.integers[:, :2], code.ravel()])
    order = np.lexsort((rows.line, *keys.T[::-1]))
    again = (keys[order][1:] == keys[order][:-1]).all(axis=1)
    drop = np.sort(order[1:][again])
    for k in drop.tolist():
        satellite = f"{chr(rows.satellite[k, 0])}{rows.satellite[k, 1]:02d}"
        says = f"{satellite} stands twice with this start and code: the later line is not used"
        findings.append(Finding("repeated", says, int(rows.line[k]), 1))
    keep = np.ones(len(rows.line), np.bool_)
    keep[drop] = False
    return rows if not len(drop) else _some(rows, keep)


def _some(rows: Rows, keep: NDArray[np.bool_]) -> Rows:
    return rows if keep.all() else Rows(*(getattr(rows, name)[keep] for name in Rows.__slots__))


def _seconds(hhmmss: Ints) -> Ints:
    return hhmmss // 10_000 * 3_600 + hhmmss // 100 % 100 * 60 + hhmmss % 100


def _tracks(rows: Rows) -> Tracks:
    integers = rows.integers
    start_s = _seconds(integers[:, 1])
    units: dict[str, Ints] = dict(zip(_INTEGERS, integers.T[2:], strict=True))
    return Tracks(
        system=rows.satellite[:, 0].astype(np.uint8).view("S1"),
        number=rows.satellite[:, 1],
        tracking_class=rows.tracking_class,
        mjd=integers[:, 0],
        start_s=start_s,
        code=rows.code,
        checked=rows.sum_holds,
        line=rows.line,
        **units,
    )


def _kept(value: CggttsFile) -> dict[int, str]:
    """Return by track the line that was read, for those that say what they said, under a sum that holds."""
    before = read(value.source)[0] if value.source else None
    if before is None or before.layout != value.layout:
        return {}
    old, new = before.tracks, value.tracks
    if not len(old) or not len(new):
        return {}
    line = new.line - value.lines_before
    at = np.minimum(np.searchsorted(old.line, line), len(old) - 1)
    same = (old.line[at] == line) & new.checked
    for name in Tracks.__slots__:
        if name != "line":
            same &= getattr(old, name)[at] == getattr(new, name)
    lines = value.source.split(b"\n")
    return {k: lines[line[k] - 1].decode("latin-1").removesuffix("\r") for k in np.flatnonzero(same).tolist()}


def _written(value: CggttsFile) -> list[str]:
    """Return the lines of the tracks."""
    tracks, layout = value.tracks, value.layout
    start = tracks.start_s
    integers = np.column_stack(
        [
            tracks.mjd,
            start // 3_600 * 10_000 + start // 60 % 60 * 100 + start % 60,
            *(getattr(tracks, name) for name in _INTEGERS[:-2]),
        ]
    ).tolist()
    out = []
    kept = _kept(value)
    for k, row in enumerate(integers):
        if k in kept:
            out.append(kept[k])
            continue
        number = int(tracks.number[k])
        satellite = f"{number:3d}" if layout.prn_only else f"{tracks.system[k].decode()}{number:02d}"
        line = f"{satellite} {tracks.tracking_class[k].decode():>2}"
        for j, (name, first, end) in enumerate(layout.fields):
            line += " " + _field(name, row[j], end - first + 1, minus_zero=bool(value.minus_zero[k, j]), raw=layout.raw)
        if not layout.prn_only:
            channels = "" if layout.raw else f" {tracks.glonass_channel[k]:>2} {tracks.hardware_channel[k]:>2}"
            line += f"{channels:6} {tracks.code[k].decode():>3}"
        if not layout.raw:
            line += " "
            line += f"{sum(line.encode('latin-1')) % 256:02X}"
        if len(line) != layout.length:
            raise ValueError(f"track {k + 1}: a value has no room in its columns: {line!r}")
        out.append(line)
    return out


def _field(name: str, number: int, width: int, *, minus_zero: bool, raw: bool) -> str:
    """Return an integer in its columns, as the standard's producers write it."""
    if number == MISSING:
        if raw:
            return " " * width
        return f"+{'9' * (width - 1)}" if name in SIGNED else "9" * width
    if name == "STTIME":
        return f"{number:06d}"
    if name == "IOE" and not raw:
        return f"{number:03d}"
    if minus_zero:
        return f"{'-0':>{width}}"
    return f"{number:+{width}d}" if name in SIGNED and not raw else f"{number:{width}d}"
