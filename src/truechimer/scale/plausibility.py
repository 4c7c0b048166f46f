"""Plausibility: what a whole record of readings says of its own making, before a scale is made of it.

It rejects nothing and corrects nothing: it names what an operator must look at, once for each pair or clock. Found are
a pair in another unit, one clock under two names, an uncertainty of zero, loops that do not close, readings that
repeat earlier ones, and too few clocks to tell who is right.

Source: rows as a laboratory writes them; second differences of phase, which know neither offset nor rate.
"""

from collections.abc import Sequence
from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.register import is_reference
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.reading_columns import ReadingColumns

Floats = NDArray[np.float64]

LOOKED_AT_EPOCHS = 2_000
"""So many epochs, from the first on, are looked at: faults of making are there from the start."""
OTHER_UNIT = 1e7
"""Noise of one pair above the others' by this much is a unit, not a clock: the worst quartz is within 1e6 of the best
maser.
"""
SAME_CLOCK = 1e-3
"""Two names whose difference varies by less than this part of what others' differences do are one clock."""
CLOSURE_SIGMAS = 6.0
LEAST_DIFFERENCES = 8
REPEAT_RESOLUTION_S = 1e-17
LEAST_REPEATS = 8
REPEAT_CHANCE = 1e-12
"""A run of equal differences is no chance when it would come less often than this."""


def check(rows: ReadingColumns, clocks: Sequence[str]) -> tuple[Finding, ...]:
    """Return what is implausible in rows that are sorted and finite; `clocks`: names that may carry weight."""
    starts = np.flatnonzero(np.diff(rows.epoch_tai_ns)) + 1
    end = int(starts[LOOKED_AT_EPOCHS - 1]) if len(starts) >= LOOKED_AT_EPOCHS else len(rows)
    epochs = np.searchsorted(starts, np.arange(end), side="right")
    pairs: dict[tuple[str, str], dict[int, tuple[float, float]]] = {}
    columns = (epochs, rows.pair[:end], rows.x_a_minus_b_s[:end], rows.u_s[:end])
    for epoch, pair, x_s, u_s in zip(*(column.tolist() for column in columns), strict=True):
        pairs.setdefault(rows.pairs[pair], {})[epoch] = (x_s, u_s)
    found = [*_few(clocks), *_zero(rows), *_units(pairs)]
    if not any(finding.rule == "other-unit" for finding in found):
        found += [*_same_clocks(pairs, clocks), *_loops(pairs)]
    return tuple(found)


def _few(clocks: Sequence[str]) -> list[Finding]:
    if len(clocks) >= 3:
        return []
    says = {
        0: "no clock that may carry weight: there is no scale",
        1: f"one clock ({clocks[0] if clocks else ''}) is the whole scale: nothing can tell when it is wrong",
        2: "two clocks: when they disagree, nothing inside can tell which is wrong",
    }[len(clocks)]
    return [_warning("few-clocks", says + "; add clocks, or compare with an outside reference")]


def _zero(rows: ReadingColumns) -> list[Finding]:
    count = int((rows.u_s == 0.0).sum())
    if count == 0:
        return []
    return [
        _warning(
            "zero-uncertainty",
            f"{count} of {len(rows)} readings claim an uncertainty of 0: no reading has none; what is learned of the "
            "noise is used in its place",
        )
    ]


def _second_differences(values: dict[int, tuple[float, float]]) -> Floats:
    """Differences of the rate from one three epochs to the next, of runs without a gap."""
    k = np.array(sorted(values))
    x = np.array([values[i][0] for i in k.tolist()])
    if len(x) < 3:
        return np.zeros(0)
    whole = (k[2:] - k[:-2]) == 2
    out: Floats = (x[2:] - 2.0 * x[1:-1] + x[:-2])[whole]
    return out


def _size(values: Floats) -> float:
    """Median size: a few steps and glitches do not change it."""
    return float(np.median(np.abs(values))) if len(values) >= LEAST_DIFFERENCES else float("nan")


def _units(pairs: dict[tuple[str, str], dict[int, tuple[float, float]]]) -> list[Finding]:
    sizes = {pair: _size(_second_differences(values)) for pair, values in pairs.items()}
    known = [size for size in sizes.values() if isfinite(size) and size > 0.0]
    found = []
    for (a, b), size in sizes.items():
        others = sorted(known)
        if len(others) < 3 or not isfinite(size):
            continue
        usual = others[len(others) // 2]
        if size > OTHER_UNIT * usual and "host" not in {a, b}:
            says = (
                f"{a} - {b} is {size / usual:.1e} times as noisy as the others: its readings look as if they were in "
                "another unit (1e9: nanoseconds for seconds); correct the unit"
            )
            found.append(_warning("other-unit", says))
    return found


def _same_clocks(pairs: dict[tuple[str, str], dict[int, tuple[float, float]]], clocks: Sequence[str]) -> list[Finding]:
    """Compare all clocks that are read against one common clock."""
    reads: dict[str, int] = {}
    for a, b in pairs:
        reads[a] = reads.get(a, 0) + 1
        reads[b] = reads.get(b, 0) + 1
    if not reads:
        return []
    hub = max(reads, key=lambda name: reads[name])
    series = {hub: None} | {(a if b == hub else b): values for (a, b), values in pairs.items() if hub in {a, b}}
    signs = {(a if b == hub else b): (1.0 if b == hub else -1.0) for a, b in pairs if hub in {a, b}}
    names = [name for name in series if name in clocks]
    columns = np.full((len(names), 1 + max((max(v) for v in pairs.values()), default=0)), np.nan)
    for i, name in enumerate(names):
        values = series[name]
        if values is None:
            columns[i] = 0.0
        else:
            columns[i, list(values)] = [signs[name] * x for x, _ in values.values()]
    second = columns[:, 2:] - 2.0 * columns[:, 1:-1] + columns[:, :-2]
    sizes = np.full((len(names), len(names)), np.nan)
    for i in range(len(names)):
        for j in range(i):
            apart = second[i] - second[j]
            sizes[i, j] = _size(apart[np.isfinite(apart)])
    known = sizes[np.isfinite(sizes)]
    if len(known) < 3:
        return []
    usual = float(np.median(known))
    found = []
    for i, j in zip(*np.nonzero(np.nan_to_num(sizes, nan=np.inf) < SAME_CLOCK * usual), strict=True):
        says = (
            f"{names[i]} and {names[j]} never differ by more than {sizes[i, j] / usual:.1e} of what clocks here do: "
            "they are one clock under two names, which would count twice; take one of them out"
        )
        found.append(_warning("same-clock-twice", says))
    return found


def _loops(pairs: dict[tuple[str, str], dict[int, tuple[float, float]]]) -> list[Finding]:
    """Close each triangle of pairs at each epoch."""
    turned = {pair[::-1]: (pair, -1.0) for pair in pairs} | {pair: (pair, 1.0) for pair in pairs}
    names = sorted({name for pair in pairs for name in pair if not is_reference(name)})
    found = []
    for i, a in enumerate(names):
        for j in range(i + 1, len(names)):
            if (a, names[j]) not in turned:
                continue
            for c in names[j + 1 :]:
                if (names[j], c) in turned and (c, a) in turned:
                    found += _triangle(a, names[j], c, turned, pairs)
    return found


def _triangle(
    a: str,
    b: str,
    c: str,
    turned: dict[tuple[str, str], tuple[tuple[str, str], float]],
    pairs: dict[tuple[str, str], dict[int, tuple[float, float]]],
) -> list[Finding]:
    sides = [turned[side] for side in ((a, b), (b, c), (c, a))]
    common = set.intersection(*(set(pairs[pair]) for pair, _ in sides))
    open_at = 0
    largest = 0.0
    for k in common:
        total = sum(sign * pairs[pair][k][0] for pair, sign in sides)
        u = sqrt(sum(pairs[pair][k][1] ** 2 for pair, _ in sides))
        if abs(total) > CLOSURE_SIGMAS * u + 1e-15:
            open_at += 1
            largest = max(largest, abs(total))
    if open_at == 0:
        return []
    says = (
        f"{a} - {b}, {b} - {c} and {c} - {a} do not add up to zero at {open_at} of {len(common)} epochs (up to "
        f"{largest:.1e} s): one of the three readings is not what it claims; check delays, signs and channels"
    )
    return [_warning("open-loop", says)]


def _warning(rule: str, says: str) -> Finding:
    return Finding(rule, says, severity=Severity.WARNING)


def repeated(x_s: Floats, names: Sequence[str]) -> tuple[Finding, ...]:
    """Return a finding for each pair whose readings are a repetition of its own earlier ones, noise and all.

    `x_s`: readings by epoch and pair, NaN where there was none; `names`: of the pairs. Compared are the differences
    from one reading to the next, so that an offset laid on top hides nothing. Chance repeats a coarse counter's
    differences too: a run counts when it is too long for how often this pair repeats itself at any lag.
    """
    found = []
    for j, name in enumerate(names):
        x = x_s[np.isfinite(x_s[:, j]), j]
        difference = np.round(np.diff(x) / REPEAT_RESOLUTION_S)
        moves = np.flatnonzero(difference != 0.0)
        difference = difference[moves]
        if len(difference) < 4 * LEAST_REPEATS:
            continue
        order = np.argsort(difference, kind="stable")
        same = np.flatnonzero(difference[order][1:] == difference[order][:-1])
        if len(same) < LEAST_REPEATS:
            continue
        lags, counts = np.unique(order[same + 1] - order[same], return_counts=True)
        chance = min(max(_collisions(difference), 1e-12), 0.9)
        wanted = max(LEAST_REPEATS, int(np.ceil(np.log(REPEAT_CHANCE) / np.log(chance))))
        for lag in lags[np.argsort(-counts)][:20].tolist():
            first, length = _longest_run(difference[lag:] == difference[:-lag])
            if length >= wanted:
                says = (
                    f"{name}: {length} readings in a row from number {int(moves[first + lag]) + 1} on repeat those of "
                    f"{lag} readings earlier, noise and all: they were replayed, not measured; look at what stands "
                    "between the counter and this file"
                )
                found.append(_warning("replayed-readings", says))
                break
    return tuple(found)


def _collisions(values: Floats) -> float:
    """Chance that two of the values taken at random are equal."""
    _, counts = np.unique(values, return_counts=True)
    n = len(values)
    return float((counts * (counts - 1.0)).sum() / (n * (n - 1.0)))


def _longest_run(is_same: NDArray[np.bool_]) -> tuple[int, int]:
    """Return where the longest run of True begins, and its length."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_same, [False])).astype(np.int8)))
    if len(edges) == 0:
        return 0, 0
    lengths = edges[1::2] - edges[::2]
    longest = int(np.argmax(lengths))
    return int(edges[2 * longest]), int(lengths[longest])
