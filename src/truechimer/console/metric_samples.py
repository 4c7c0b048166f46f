"""Metric samples: what one metric is, and how its values are read from a status document and from doors' counters.

It names no metric: `console.laboratory_metrics` and `console.chrony_metrics` do.

The law of the file: no sentinel values, and no label that a stranger can choose or make long.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

COVERAGE_FACTOR = 6.0
"""Of `house.md` section 5: a source's limit is six sigma plus what it cannot exclude."""

MOST_LABEL_LETTERS = 128
REACH_BITS = 8

Labels = tuple[str, ...]
Sample = tuple[Labels, float]
Document = Mapping[str, Any]
Counters = Mapping[str, Mapping[str, int]]
"""The counters of each door by its place (`address:port`), as `daemon.door.counters` reads them."""

MORE, SUM = "+Inf", "sum"

Samples = Callable[[Document, Counters], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: `samples` gives its labels' values and its values from the status document and the doors' counters.

    `says` is its HELP line: what it is, against which reference, the sign, and how it came about.
    """

    name: str
    says: str
    samples: Samples
    labels: Labels = ()
    edges: tuple[str, ...] = ()
    """Of a histogram: the upper edges but the last, which is infinite. `samples` gives, under each series' labels and
    then an edge, `MORE` or `SUM`, how many fell between two edges, beyond the last, and what all add up to."""

    @property
    def kind(self) -> str:
        """What Prometheus calls it."""
        return "histogram" if self.edges else "counter" if self.is_counter else "gauge"

    @property
    def is_counter(self) -> bool:
        """True for what only grows, until the process that counts starts anew."""
        return self.name.endswith("_total")

    @property
    def is_compatible(self) -> bool:
        """True for a name of the compatibility set."""
        return self.name.startswith("chrony_")


def number(document: Document, *path: str) -> float | None:
    """Return the finite number at a path of keys, or None."""
    found: Any = document
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return None
    return float(found)


def rows(document: Document, key: str) -> list[Document]:
    """Return the rows of a list of a document; what is no row is left out."""
    found = document.get(key)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []


def label(value: object) -> str:
    """Return a text as a label's value: one that UTF-8 can write, of bounded length; absent is empty."""
    text = "" if value is None else str(value)
    return text[:MOST_LABEL_LETTERS].encode("utf-8", "replace").decode("utf-8")


def unix_s(document: Document, *path: str) -> float | None:
    """Return an instant, given as UTC text, as seconds since 1970-01-01T00:00:00 UTC without leap seconds."""
    found: Any = document
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    try:
        at = datetime.fromisoformat(str(found))
    except ValueError:
        return None
    return at.timestamp() if at.tzinfo is not None else None


def one(*path: str, factor: float = 1.0) -> Samples:
    """Give the number at a path."""

    def samples(document: Document, _: Counters) -> Iterator[Sample]:
        value = number(document, *path)
        if value is not None:
            yield (), factor * value

    return samples


def flag(*path: str) -> Samples:
    """Give 1 for true and 0 for false at a path."""

    def samples(document: Document, _: Counters) -> Iterator[Sample]:
        found: Any = document
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        if isinstance(found, bool):
            yield (), float(found)

    return samples


def when(*path: str) -> Samples:
    """Give the UTC text at a path as a Unix time."""

    def samples(document: Document, _: Counters) -> Iterator[Sample]:
        value = unix_s(document, *path)
        if value is not None:
            yield (), value

    return samples


def each(table: str, key: str, value: Callable[[Document], float | None]) -> Samples:
    """Give a value for each row of a table, under the row's name."""

    def samples(document: Document, _: Counters) -> Iterator[Sample]:
        for row in rows(document, table):
            found = value(row)
            if found is not None and row.get(key) is not None:
                yield (label(row[key]),), found

    return samples


def one_hot(words: Iterable[str], found: object) -> Iterator[tuple[str, float]]:
    """Give 1 for the word that was found and 0 for the others; nothing where it is none of them."""
    known = tuple(words)
    if found in known:
        yield from ((word, float(word == found)) for word in known)


def offset_s(document: Document) -> float | None:
    """Return UTC(k) minus UTC as predicted (s), positive where we are ahead; None before the coordination started."""
    ours, utc = number(document, "steering", "x_utck_minus_scale_s"), number(document, "utc_minus_scale", "x_s")
    return None if ours is None or utc is None else ours - utc


def source_bound_s(row: Document) -> float | None:
    """Return how far a source's claim may be wrong: six sigma plus the limit of what it cannot exclude (s)."""
    u_s, limit_s = number(row, "u_s"), number(row, "limit_s")
    return None if u_s is None else COVERAGE_FACTOR * u_s + (limit_s or 0.0)


def reach_ratio(row: Document) -> float | None:
    """Return the share of the last eight questions that were answered."""
    reach = row.get("reach")
    if isinstance(reach, bool) or not isinstance(reach, int):
        return None
    return (reach & 0xFF).bit_count() / REACH_BITS
