"""The files that `truechimer scale replay` reads, and the checks of those that it will write.

It parses no line of readings (`truechimer.formats` does) and makes no scale. Everything that can be refused is refused
before anything is computed, and nothing is written onto what was read.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli import file_bytes
from truechimer.errors import Rejected
from truechimer.formats import readings_csv
from truechimer.formats.finding import Finding, Severity, has_errors

if TYPE_CHECKING:
    from truechimer.clocks.clock import Clock
    from truechimer.formats.reading_columns import ReadingColumns
    from truechimer.scale import ScaleSeries

READINGS_BYTES = 4 << 30
CLOCKS_BYTES = 8 << 20
SHOWN_OF_A_RULE, SHOWN_REJECTIONS = 3, 20
"""Rejected rows that stderr names, of one rule and of all; the JSON document names the rows themselves."""
MOST_REJECTED = 0.5
"""Of more than this part of all rows it is said that they are missing."""
TRUTH_HEADS = ("epoch_mjd,clock,x_clock_minus_", "epoch_tai_ns,clock,x_clock_minus_")
_WANTED = f"give a readings CSV ({' or '.join(readings_csv.HEADERS)}, then a row a reading) or clock RINEX files"


class ScaleInputRejected(Rejected):
    """A file that cannot be used."""


def readings_of(path: Path, data: bytes) -> "tuple[ReadingColumns, list[Finding]]":
    """Return the rows of a readings file's bytes and a finding for each that is not one."""
    what = _is_no_text(data)
    if what:
        raise ScaleInputRejected(f"{path}: {what}; {_WANTED}")
    from truechimer.formats import readings_csv_columns

    rows, findings = readings_csv_columns.read(data)
    if not len(rows):
        lost = next((finding for finding in findings if finding.rule == "header"), None)
        if lost is not None:
            raise ScaleInputRejected(f"{path}:{lost.line}: this is no header of readings; {_WANTED}")
        if not findings:
            raise ScaleInputRejected(f"{path}: there is no reading in it; {_WANTED}")
    return rows, findings


def _is_no_text(data: bytes) -> str:
    """Say what a file is that is no CSV, or nothing."""
    if not data or data.isspace():
        return "the file is empty"
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return "this is UTF-16; save it as UTF-8 or plain ASCII"
    if b"\0" in data[:4096]:
        return "this is a binary file, or UTF-16"
    if b"\n" not in data and data.count(b"\r") > 1:
        return "its lines end in CR alone; end them in LF or CR LF"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClocksFile:
    """CLOCKS.toml: `[[clock]]` tables."""

    clock: "tuple[Clock, ...]" = field(metadata={"doc": "one table for each clock", "wrong": "nothing to weigh"})


def read_clocks(path: Path) -> "tuple[Clock, ...]":
    """Read CLOCKS.toml; all its faults go to stderr, and then it is refused."""
    from truechimer.clocks.clock import Clock
    from truechimer.clocks.register import is_reference
    from truechimer.formats import toml_tree

    globals()["Clock"] = Clock  # the hint of `_ClocksFile.clock` is resolved in this module
    value, found = toml_tree.read(file_bytes.read(path, at_most=CLOCKS_BYTES), _ClocksFile)
    findings, clocks = list(found), () if value is None else value.clock
    names = Counter(clock.name for clock in clocks)
    twice = [name for name, count in names.items() if count > 1]
    findings += [Finding("same-name", f"two clocks are called {name}: rename one") for name in twice]
    findings += [
        Finding("reserved-name", f"{name} claims UTC and cannot be a clock: rename it")
        for name in names
        if is_reference(name)
    ]
    for finding in findings:
        print(finding.at(str(path)), file=sys.stderr)
    if has_errors(findings) or not clocks:
        faults = sum(finding.severity is Severity.ERROR for finding in findings)
        what = f"{faults} fault{'s' * (faults != 1)}" if faults else "no [[clock]] in it"
        raise ScaleInputRejected(f"{path}: {what}; nothing was run: correct it and try again")
    return clocks


def unread(clocks: "Sequence[Clock] | None", series: "ScaleSeries") -> list[Finding]:
    """Name declared clocks that no reading names."""
    if clocks is None:
        return []
    here = {clock.name: int(count) for clock, count in zip(series.clocks, series.epochs_read.tolist(), strict=True)}
    in_rows = {name for pair in series.pairs for name in pair}
    return [
        Finding(
            "unread-clock",
            f"{clock.name} is declared and in no reading: correct its name, or take it out of the clock file",
            severity=Severity.WARNING,
        )
        for clock in clocks
        if clock.name not in in_rows and not here.get(clock.name, 0)
    ]


def read_truth(path: Path, series: "ScaleSeries") -> tuple[Any, list[Finding]]:
    """Return clock minus truth at the record's epochs, `(n_epochs, n_clocks)` seconds, NaN where the file has none.

    Its rows are `epoch,clock,x`: each is read as a reading of that clock against UTC, by the same laws.
    """
    import numpy as np

    data = file_bytes.read(path, at_most=READINGS_BYTES)
    lines = data.removeprefix(b"\xef\xbb\xbf").decode("latin-1").split("\n")
    at = next((k for k, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), 0)
    if not lines[at].strip().startswith(TRUTH_HEADS):
        raise ScaleInputRejected(
            f"{path}: no header epoch_mjd,clock,x_clock_minus_utc_s; give the truth.csv that `sim make` writes"
        )
    lines[at] = f"{lines[at].split(',')[0].strip()},{readings_csv.COLUMNS}"
    for k in range(at + 1, len(lines)):
        parts = lines[k].strip().split(",")
        if len(parts) == 3:
            lines[k] = f"{parts[0]},{parts[1]},UTC,{parts[2]},0"
    rows, findings = readings_csv.read("\n".join(lines).encode("latin-1"))
    epochs = {epoch_ns: k for k, epoch_ns in enumerate(series.epoch_tai_ns.tolist())}
    index = {clock.name: i for i, clock in enumerate(series.clocks)}
    truth = np.full(series.x_clock_minus_scale_s.shape, np.nan)
    for row in rows:
        epoch, clock = epochs.get(row.epoch_tai_ns), index.get(row.a)
        if epoch is not None and clock is not None:
            truth[epoch, clock] = row.x_a_minus_b_s
    if not np.isfinite(truth).any():
        raise ScaleInputRejected(
            f"{path}: no row of it is of a clock and an epoch of the readings; give the truth of this very record"
        )
    return truth, findings


def name_rejected(path: Path, rejected: Iterable[Finding], *, used: bool = True) -> None:
    """Name rejected rows on stderr: the first of each rule, and how many there are; `used`: others are."""
    whole = list(rejected)
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in whole:
        groups.setdefault((finding.rule, finding.says if finding.rule == "unknown-clock" else ""), []).append(finding)
    shown = [finding for findings in groups.values() for finding in findings[:SHOWN_OF_A_RULE]]
    for finding in sorted(shown[:SHOWN_REJECTIONS], key=lambda each: each.line or 0):
        print(f"{finding.at(str(path))} [{finding.rule}]", file=sys.stderr)
    if whole:
        by_rule = ", ".join(f"{count} {rule}" for rule, count in Counter(f.rule for f in whole).most_common())
        rows = "row" if len(whole) == 1 else "rows"
        print(f"{path}: {len(whole)} {rows} rejected ({by_rule}){'; all others are used' * used}", file=sys.stderr)


def mostly_rejected(n_used: int, rejected: Sequence[Finding], rows: "ReadingColumns") -> list[Finding]:
    """Say it where most of a file is missing from the scale, and which row may have cost the others."""
    if len(rejected) <= MOST_REJECTED * (n_used + len(rejected)):
        return []
    says = f"only {n_used} of {n_used + len(rejected)} rows are used: what follows is the scale of those alone"
    late = next((finding.line for finding in rejected if finding.rule == "out-of-order" and finding.line), None)
    before = [] if late is None else rows.line[rows.line < late].tolist()
    if before:
        says += (
            f"; rows fall back in time after line {before[-1]}: where its epoch is wrong, correct it, else sort "
            "the file by epoch"
        )
    return [Finding("mostly-rejected", says, severity=Severity.WARNING)]


def not_connected(series: "ScaleSeries") -> list[Finding]:
    """Name clocks that were read and never compared with those of the scale."""
    from truechimer.scale import connections

    members = [clock.name for i, clock in enumerate(series.clocks) if (series.weight[:, i] > 0.0).any()]
    return list(connections.check(series.pairs, members))


def check_targets(targets: Iterable[Path], sources: Iterable[Path]) -> None:
    """Refuse to write onto what is read, twice onto the same file, or where nothing can be written."""
    read = [source for source in sources if source.exists()]
    written: list[Path] = []
    for target in targets:
        for source in read:
            if target.exists() and target.samefile(source):
                raise ScaleInputRejected(f"{target}: this is what is read ({source}); write to another file")
        if any(target.absolute() == other.absolute() for other in written):
            raise ScaleInputRejected(f"{target}: two results would be written here; give each a file of its own")
        if target.is_dir():
            raise ScaleInputRejected(f"{target}: a folder; name a file in it")
        if not target.parent.is_dir():
            raise ScaleInputRejected(f"{target}: there is no folder {target.parent}; make it first")
        if not os.access(target if target.exists() else target.parent, os.W_OK):
            raise ScaleInputRejected(f"{target}: may not be written; name a file that can be written")
        written.append(target)


def write_whole(path: Path, lines: Iterable[str]) -> None:
    """Write lines beside the file's name, then put them in its place: nobody sees a part of them.

    What is no ordinary file (a device, a pipe) is written to as it is; a link keeps pointing where it does.
    """
    if path.exists() and not path.is_file():
        try:
            with path.open("w", encoding="utf-8", newline="") as file:
                file.writelines(lines)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise ScaleInputRejected(f"{path}: {error.strerror}; name a file that can be written") from None
        return
    place = path.resolve()
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            file.writelines(lines)
        part.replace(place)
    except OSError as error:
        raise ScaleInputRejected(f"{path}: {error.strerror}; name a file that can be written") from None
    finally:
        part.unlink(missing_ok=True)


def with_noticed(series: "ScaleSeries", more: Iterable[Finding]) -> "ScaleSeries":
    """Return the series with findings of the files about it."""
    return replace(series, noticed=(*series.noticed, *more))
