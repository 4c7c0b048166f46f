# mypy: allow-untyped-defs, allow-untyped-calls
"""Record: recorded readings sorted out for a replay, and laid into arrays epoch by epoch.

It makes no scale and judges no value: it puts aside the rows that the ensemble's arithmetic cannot take, names each
with its line, and knows which clocks and links the others need.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock
from truechimer.clocks.register import Register, is_reference
from truechimer.formats.finding import Finding
from truechimer.formats.reading_columns import ReadingColumns
from truechimer.kernel import kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GOOD, _OUT_OF_ORDER, _NOT_FINITE, _SAME_CLOCK, _UNKNOWN, _DUPLICATE, _LATE, _FUTURE, _TOO_LATE = range(9)
LATEST_NS = 60 * 86_400 * 10**9
"""A reference's value may come so long after its epoch; what is older is out of order."""
_NEVER = -(2**63)


@dataclass(frozen=True, slots=True, eq=False)
class Late:
    """Values of references that came after later epochs, in the order in which they came; arrays `(n,)`.

    `arrival`: index of the epoch with which a value came; `epoch_tai_ns`: its own; `link`: of the register; `x_s`: a
    minus b of that link.
    """

    arrival: Ints
    epoch_tai_ns: Ints
    link: Ints
    x_s: Floats
    u_s: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """Readings that can be used, in order of time.

    `register`: all clocks and links. `columns`: the usable readings. `rejected`: a finding for each of the others.
    `epoch_tai_ns (n_epochs,)`; `first_row (n_epochs + 1,)`: the rows of epoch k are `first_row[k]` to
    `first_row[k + 1]`. `link`, `sign`: link of each pair of the columns, and -1 where that is the other way round.
    `late`: values of references that came late; they are not among the columns.
    """

    register: Register
    columns: ReadingColumns
    rejected: tuple[Finding, ...]
    epoch_tai_ns: Ints
    first_row: Ints
    link: Ints
    sign: Floats
    late: "Late"

    def stretch(self, begin: int, end: int) -> tuple[Floats, Floats]:
        """Return readings and their uncertainties of the epochs begin to end, `(end - begin, n_links)`; NaN and 0 where
        a link gave none.
        """
        x = np.full((end - begin, len(self.register.links)), np.nan)
        u = np.zeros(x.shape)
        of = self.columns
        _lay_out(self.first_row[begin : end + 1], of.pair, of.x_a_minus_b_s, of.u_s, self.link, self.sign, x, u)
        return x, u


@kernel
def _lay_out(first_row, pair, reading, u_reading, link, sign, x, u):  # noqa: PLR0917
    """Fill `x` and `u` `(n_epochs, n_links)` with the rows of each epoch."""
    for k in range(x.shape[0]):
        for row in range(first_row[k], first_row[k + 1]):
            p = pair[row]
            x[k, link[p]], u[k, link[p]] = sign[p] * reading[row], u_reading[row]


@kernel
def _sort_out(epoch_ns, pair, x, u, pair_fault, unordered, outside, future, fault, first, arrival):  # noqa: PLR0917
    """Fill `fault (n_rows,)`, the first good row of each pair, `first`, and of a late row the epoch with which it came,
    `arrival`; return how many rows have a fault. `outside`: pairs with a reference; `future (n_rows,)` may be empty.
    """
    last_ns = np.int64(_NEVER)
    seen_ns = np.zeros(unordered.shape[0], np.int64)
    seen = np.zeros(unordered.shape[0], np.bool_)
    count = 0
    begun = False
    for k in range(epoch_ns.shape[0]):
        now, p = epoch_ns[k], pair[k]
        fault[k] = 0
        is_late = False
        if begun and now < last_ns:
            known_ns = seen_ns[unordered[p]] if seen[unordered[p]] else last_ns - LATEST_NS
            is_late = outside[p] and now >= known_ns and last_ns - now <= LATEST_NS
        if begun and now < last_ns and not is_late:
            fault[k] = 8 if outside[p] else 1
        elif not (np.isfinite(x[k]) and np.isfinite(u[k]) and u[k] >= 0.0):
            fault[k] = 2
        elif pair_fault[p] != 0:
            fault[k] = pair_fault[p]
        elif seen[unordered[p]] and seen_ns[unordered[p]] == now:
            fault[k] = 5
        elif future.shape[0] > 0 and future[k]:
            fault[k] = 7
        if fault[k] != 0:
            count += 1
            continue
        if is_late:
            fault[k], arrival[k] = 6, last_ns
            count += 1
        else:
            begun = True
            last_ns = now
        if first[p] < 0:
            first[p] = k
        seen[unordered[p]], seen_ns[unordered[p]] = True, now
    return count


def sort_out(columns: ReadingColumns, known: Sequence[Clock]) -> Record:
    """Return the record of the clocks `known`: a row from an unknown clock, that is not finite, that falls back in time
    or that repeats its pair (either way round) is put aside. A reference may come late (`LATEST_NS`), each of its
    values after those before it; for an epoch that the clocks had not reached, it may not.
    """
    names = {clock.name for clock in known}
    strange = [[name for name in pair if name not in names and not is_reference(name)] for pair in columns.pairs]
    faults = [_SAME_CLOCK if a == b else (_UNKNOWN if strange[p] else _GOOD) for p, (a, b) in enumerate(columns.pairs)]
    ways: dict[frozenset[str], int] = {}
    unordered = [ways.setdefault(frozenset(pair), len(ways)) for pair in columns.pairs]
    fault, first = np.zeros(len(columns), np.int8), np.full(len(columns.pairs), -1)
    outside = np.array([is_reference(a) or is_reference(b) for a, b in columns.pairs], np.bool_)
    arrival = np.zeros(len(columns) if outside.any() else 0, np.int64)
    count = _sort_out(
        columns.epoch_tai_ns,
        columns.pair,
        columns.x_a_minus_b_s,
        columns.u_s,
        np.array(faults, np.int8),
        np.array(unordered, np.int64),
        outside,
        _future(columns, outside),
        fault,
        first,
        arrival,
    )
    refused = np.flatnonzero((fault != _GOOD) & (fault != _LATE)).tolist()
    rejected = tuple(_finding(columns, k, int(fault[k]), strange) for k in refused)
    late = np.flatnonzero(fault == _LATE)
    whole = columns
    if count:
        good = fault == _GOOD
        columns = ReadingColumns(
            columns.line[good],
            columns.epoch_tai_ns[good],
            columns.pair[good],
            columns.x_a_minus_b_s[good],
            columns.u_s[good],
            columns.pairs,
        )
    # the register knows links in the order in which they first appear
    used = sorted(np.flatnonzero(first >= 0).tolist(), key=first.tolist().__getitem__)
    register = Register(tuple(known), (), ()).with_links(columns.pairs[p] for p in used)
    link, sign = np.zeros(len(columns.pairs), np.int64), np.ones(len(columns.pairs))
    for p in used:
        link[p], sign[p] = register.link_index(*columns.pairs[p])
    starts = np.flatnonzero(np.diff(columns.epoch_tai_ns)) + 1
    first_row = np.concatenate(([0], starts, [len(columns)])) if len(columns) else np.zeros(1, np.int64)
    epochs = columns.epoch_tai_ns[first_row[:-1]]
    of_late = whole.pair[late]
    came = Late(
        np.searchsorted(epochs, arrival[late]) if len(late) else late,
        whole.epoch_tai_ns[late],
        link[of_late],
        sign[of_late] * whole.x_a_minus_b_s[late],
        whole.u_s[late],
    )
    return Record(register, columns, rejected, epochs, first_row, link, sign, came)


def _future(columns: ReadingColumns, outside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which rows are a reference's at an epoch that clocks reach later in the file only, or never; empty where
    there are no references, or no clocks.
    """
    if not outside.any() or outside.all():
        return np.zeros(0, np.bool_)
    is_outside = outside[columns.pair]
    if is_outside.all():
        return np.zeros(0, np.bool_)
    ends = np.where(is_outside, np.iinfo(np.int64).max, columns.epoch_tai_ns)
    # the earliest epoch of the clocks below each row, and the latest of all
    below = np.minimum.accumulate(ends[::-1])[::-1]
    latest = columns.epoch_tai_ns[~is_outside].max()
    found: NDArray[np.bool_] = is_outside & (columns.epoch_tai_ns > np.minimum(below, latest))
    return found


def _finding(columns: ReadingColumns, row: int, fault: int, strange: list[list[str]]) -> Finding:
    """Say why a row is not used."""
    a, b = columns.pairs[columns.pair[row]]
    rule, says = {
        _OUT_OF_ORDER: ("out-of-order", "the epoch lies before the last accepted one"),
        _NOT_FINITE: ("not-finite", "reading and uncertainty must be finite, the uncertainty not negative"),
        _SAME_CLOCK: ("same-clock", f"{a!r} is compared with itself"),
        _UNKNOWN: (
            "unknown-clock",
            f"no clock is called {(strange[columns.pair[row]] or [''])[0]!r} here (declare it, or correct the name)",
        ),
        _DUPLICATE: ("duplicate", f"{a} and {b} are compared twice at this epoch"),
        _FUTURE: ("future-reference", f"{a} - {b} is of an epoch that the clocks had not reached: sort rows by time"),
        _TOO_LATE: ("late-reference", f"{a} - {b} came too late, or after a later one: sort the rows by their epochs"),
    }[fault]
    return Finding(rule, says, int(columns.line[row]) or None)
