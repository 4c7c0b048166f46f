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
    from truechimer.scale import ScaleSeries

READINGS_BYTES = 4 << 30
CLOCKS_BYTES = 8 << 20
SHOWN_REJECTIONS = 20
"""Kinds of rejected rows that stderr names; the JSON document names the rows themselves."""
TRUTH_HEADS = ("epoch_mjd,clock,x_clock_minus_", "epoch_tai_ns,clock,x_clock_minus_")


class ScaleInputRejected(Rejected):
    """A file that cannot be used."""


def readings_of(path: Path, data: bytes) -> "tuple[list[readings_csv.ReadingRow], list[Finding]]":
    """Return the rows of a readings file's bytes and a finding for each that is not one."""
    what = _is_no_text(data)
    if what:
        raise ScaleInputRejected(
            f"{path}: {what}; give a readings CSV ({' or '.join(readings_csv.HEADERS)}, then a row a reading) or clock "
            "RINEX files"
        )
    return readings_csv.read(data)


def _is_no_text(data: bytes) -> str:
    """Say what a file is that is no CSV, or nothing."""
    if not data.strip():
        return "the file is empty"
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return "this is UTF-16; save it as UTF-8 or plain ASCII"
    if data[:2] == b"\x1f\x8b":
        return "this is compressed (gzip): unpack it"
    if b"\0" in data[:4096]:
        return "this is a binary file"
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


def name_rejected(path: Path, rejected: Iterable[Finding]) -> None:
    """Name rejected rows on stderr: one line for each rule and reason, with its first row and how many there are."""
    whole = list(rejected)
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in whole:
        groups.setdefault((finding.rule, finding.says if finding.rule == "unknown-clock" else ""), []).append(finding)
    shown = 0
    for (rule, _), findings in groups.items():
        for finding in findings[: max(1, SHOWN_REJECTIONS // len(groups))]:
            if shown < SHOWN_REJECTIONS:
                count = f", {len(findings)} rows like it" if len(findings) > 1 and finding is findings[0] else ""
                print(f"{finding.at(str(path))} [{rule}{count}]", file=sys.stderr)
                shown += 1
    if whole:
        by_rule = ", ".join(f"{count} {rule}" for rule, count in Counter(f.rule for f in whole).most_common())
        rows = "row" if len(whole) == 1 else "rows"
        print(f"{path}: {len(whole)} {rows} rejected ({by_rule}); all others are used", file=sys.stderr)


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
    place = path.resolve()
    if place.exists() and not place.is_file():
        try:
            with place.open("w", encoding="utf-8", newline="") as file:
                file.writelines(lines)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise ScaleInputRejected(f"{path}: {error.strerror}; name a file that can be written") from None
        return
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
