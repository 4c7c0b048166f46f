"""Published values of UTC - UTC(k) for `truechimer utc steer`: the files that a person names, to one list.

It reads no format (`formats.published` does), filters and steers nothing. A day is 0 h UTC, taken as that MJD of the
TAI axis: 37 s of a rate, the same for all values.
"""

from dataclasses import dataclass
from pathlib import Path

from truechimer.cli import file_bytes
from truechimer.errors import Rejected
from truechimer.formats import published
from truechimer.formats.finding import Finding
from truechimer.formats.published import DAY_NS, Published, PublishedRate, circular_t_day, epoch_ns, rapid_day

__all__ = ["DAY_NS", "Published", "PublishedRate", "circular_t_day", "epoch_ns", "rapid_day"]

LARGEST_FILE = 64 << 20


class PublishedRejected(Rejected):
    """Files without a value of UTC - UTC(k) that could be used."""


@dataclass(frozen=True, slots=True)
class Read:
    """All values, by the day on which they were to be had, and what was found on the way, by file."""

    values: tuple[Published, ...]
    findings: tuple[tuple[Path, Finding], ...]


def read(paths: list[Path], laboratory: str | None) -> Read:
    """Read files; raises `PublishedRejected` where one of them holds nothing."""
    values: list[Published] = []
    findings: list[tuple[Path, Finding]] = []
    for path in paths:
        data = file_bytes.read_text(path, at_most=LARGEST_FILE)
        found, said = published.read(data, name=path.name, laboratory=laboratory)
        findings += [(path, each) for each in said]
        if not found:
            says = said[-1].at(str(path)) if said else f"{path}: no value"
            raise PublishedRejected(
                f"{says}; no value of UTC - UTC(k) in it: leave the file out or name its laboratory"
            )
        values += found
    values.sort(key=lambda each: (each.available_mjd, each.mjd, each.path))
    return Read(tuple(values), tuple(findings))


def rows_of(path: Path, data: bytes, required: tuple[str, ...]) -> tuple[list[dict[str, float]], list[Finding]]:
    """Return a CSV's rows as numbers by column (`formats.published.rows_of`); raises `PublishedRejected` where it lacks
    a column.
    """
    rows, findings = published.rows_of(data, required)
    unusable = next((each for each in findings if each.rule in {"empty", "columns"}), None)
    if unusable is not None:
        raise PublishedRejected(f"{path}: {unusable.says}")
    return [row for _, row, _ in rows], findings
