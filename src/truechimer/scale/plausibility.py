# mypy: allow-untyped-defs, allow-untyped-calls
"""Plausibility: what a whole record of readings says of its own making, before a scale is made of it.

It rejects nothing and corrects nothing: it names what an operator must look at, once for each pair or clock. Found are
a pair in another unit, one clock under two names, an uncertainty of zero, loops that do not close, readings that
repeat earlier ones, and too few clocks to tell who is right.

Source: rows as a laboratory writes them; second differences of phase, which know neither offset nor rate.
"""

from collections.abc import Sequence
from math import isfinite, isqrt

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.register import is_reference
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.reading_columns import ReadingColumns
from truechimer.kernel import kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Pairs = dict[tuple[str, str], tuple[Floats, Floats]]
"""Readings of each pair and their uncertainties by epoch, NaN where there was none."""

LOOKED_AT_EPOCHS = 2_000
"""So many epochs, from the first on, are looked at: faults of making are there from the start."""
OTHER_UNIT = 1e7
"""Noise of one pair above the others' by this much is a unit, not a clock: the worst quartz is within 1e6 of the best
maser.
"""
SAME_CLOCK = 1e-3
"""Two names whose difference varies by less than this part of what others' differences do are one clock."""
SAMPLED_PAIRS = 300
"""So many pairs of clocks are looked at for what differences are usual; where there are not more, all of them."""
SAMPLED_EPOCHS = 40
COLUMNS_AT_ONCE = 16
"""Columns turned into rows together: one at a time would read all of memory for each."""
CLOSURE_SIGMAS = 6.0
LEAST_DIFFERENCES = 8
REPEAT_RESOLUTION_S = 1e-17
LEAST_REPEATS = 8
REPEAT_CHANCE = 1e-12
"""A run of equal differences is no chance when it would come less often than this."""


def check(rows: ReadingColumns, clocks: Sequence[str]) -> tuple[Finding, ...]:
    """Return what is implausible in rows that are sorted and finite; `clocks`: names that may carry weight."""
    looked_at = LOOKED_AT_EPOCHS
    while True:
        # far into a long record nothing is looked at
        starts = np.flatnonzero(np.diff(rows.epoch_tai_ns[:looked_at])) + 1
        if len(starts) >= LOOKED_AT_EPOCHS or looked_at >= len(rows):
            break
        looked_at *= 4
    end = int(starts[LOOKED_AT_EPOCHS - 1]) if len(starts) >= LOOKED_AT_EPOCHS else len(rows)
    epochs = min(len(starts) + 1, LOOKED_AT_EPOCHS)
    dense = np.full((2, len(rows.pairs), epochs if end else 0), np.nan)
    _lay_out(rows.epoch_tai_ns[:end], rows.pair[:end], rows.x_a_minus_b_s[:end], rows.u_s[:end], dense)
    pairs: Pairs = {
        pair: (dense[0, p], dense[1, p]) for p, pair in enumerate(rows.pairs) if np.isfinite(dense[0, p]).any()
    }
    found = [*_few(clocks), *_zero(rows), *_units(pairs)]
    if not any(finding.rule == "other-unit" for finding in found):
        found += [*_same_clocks(pairs, clocks), *_loops(pairs)]
    return tuple(found)


@kernel
def _lay_out(epoch_ns, pair, x, u, dense):
    """Fill `dense (2, n_pairs, n_epochs)` with readings and their uncertainties."""
    at = 0
    for k in range(epoch_ns.shape[0]):
        if k > 0 and epoch_ns[k] != epoch_ns[k - 1]:
            at += 1
        dense[0, pair[k], at], dense[1, pair[k], at] = x[k], u[k]


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


def _second_differences(x: Floats) -> Floats:
    """Differences of the rate from one three epochs to the next, of runs without a gap."""
    out = x[2:] - 2.0 * x[1:-1] + x[:-2]
    return out[np.isfinite(out)]


def _size(values: Floats) -> float:
    """Median size: a few steps and glitches do not change it."""
    return float(np.median(np.abs(values))) if len(values) >= LEAST_DIFFERENCES else float("nan")


def _units(pairs: Pairs) -> list[Finding]:
    sizes = {pair: _size(_second_differences(x)) for pair, (x, _) in pairs.items()}
    known = [size for size in sizes.values() if isfinite(size) and size > 0.0]
    found = []
    others = sorted(known)
    for (a, b), size in sizes.items():
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


def _same_clocks(pairs: Pairs, clocks: Sequence[str]) -> list[Finding]:
    """Compare all clocks that are read against one common clock."""
    reads: dict[str, int] = {}
    for a, b in pairs:
        reads[a] = reads.get(a, 0) + 1
        reads[b] = reads.get(b, 0) + 1
    if not reads:
        return []
    hub = max(reads, key=lambda name: reads[name])
    series = {(a if b == hub else b): (x if b == hub else -x) for (a, b), (x, _) in pairs.items() if hub in {a, b}}
    series = {hub: np.zeros(len(next(iter(series.values()))))} | series
    names = [name for name in series if name in clocks]
    if len(names) < 3:
        return []
    x = np.array([series[name] for name in names])
    second = x[:, 2:] - 2.0 * x[:, 1:-1] + x[:, :-2]
    # of all pairs (i, j < i), in order, every so-manieth
    everyone = len(names) * (len(names) - 1) // 2
    looked_at = [_pair(number) for number in range(0, everyone, max(everyone // SAMPLED_PAIRS, 1))]
    sizes = {pair: _apart(second, *pair) for pair in looked_at}
    known = [size for size in sizes.values() if isfinite(size)]
    if len(known) < 3:
        return []
    usual = float(np.median(known))
    if len(looked_at) < everyone:
        sizes = {pair: _apart(second, *pair) for pair in _neighbours(second, SAME_CLOCK * usual)}
    found = []
    for (i, j), size in sorted(sizes.items()):
        if not size < SAME_CLOCK * usual:
            continue
        says = (
            f"{names[i]} and {names[j]} never differ by more than {size / usual:.1e} of what clocks here do: "
            "they are one clock under two names, which would count twice; take one of them out"
        )
        found.append(_warning("same-clock-twice", says))
    return found


def _pair(number: int) -> tuple[int, int]:
    """Return the so-manieth of (1, 0), (2, 0), (2, 1), (3, 0), ..."""
    i = (1 + isqrt(1 + 8 * number)) // 2
    return i, number - i * (i - 1) // 2


def _apart(second: Floats, i: int, j: int) -> float:
    """Return how much two clocks differ, NaN where they were hardly read together."""
    apart = second[i] - second[j]
    return _size(apart[np.isfinite(apart)])


def _neighbours(second: Floats, near_s: float) -> list[tuple[int, int]]:
    """Return the pairs that lie within a few `near_s` of each other at a good part of some epochs: of many clocks not
    all pairs can be looked at.
    """
    n = len(second)
    keys = []
    epochs = np.flatnonzero(np.isfinite(second).sum(axis=0) > n // 2)[:SAMPLED_EPOCHS]
    for at in epochs.tolist():
        order = np.argsort(second[:, at])
        for further in range(1, 9):
            one, other = order[further:], order[:-further]
            is_near = np.abs(second[one, at] - second[other, at]) < 5.0 * near_s
            keys.append((np.maximum(one, other) * n + np.minimum(one, other))[is_near])
    pairs, counts = np.unique(np.concatenate(keys) if keys else np.zeros(0, np.int64), return_counts=True)
    return [divmod(key, n) for key in pairs[counts >= 0.3 * len(epochs)].tolist()]


def _loops(pairs: Pairs) -> list[Finding]:
    """Close each triangle of pairs at each epoch."""
    turned = {pair[::-1]: (pair, -1.0) for pair in pairs} | {pair: (pair, 1.0) for pair in pairs}
    names = sorted({name for pair in pairs for name in pair if not is_reference(name)})
    later: dict[str, set[str]] = {name: set() for name in names}
    for a, b in turned:
        if a < b and a in later and b in later:
            later[a].add(b)
    found = []
    for a in names:
        for b in sorted(later[a]):
            for c in sorted(later[a] & later[b]):
                found += _triangle(a, b, c, turned, pairs)
    return found


def _triangle(
    a: str,
    b: str,
    c: str,
    turned: dict[tuple[str, str], tuple[tuple[str, str], float]],
    pairs: Pairs,
) -> list[Finding]:
    sides = [turned[side] for side in ((a, b), (b, c), (c, a))]
    total, u2 = np.zeros(0), np.zeros(0)
    for k, (pair, sign) in enumerate(sides):
        x, u = pairs[pair]
        total, u2 = (sign * x, u * u) if k == 0 else (total + sign * x, u2 + u * u)
    common = int(np.isfinite(total).sum())
    is_open = np.abs(total) > CLOSURE_SIGMAS * np.sqrt(u2) + 1e-15
    open_at = int(is_open.sum())
    if open_at == 0:
        return []
    largest = float(np.abs(total[is_open]).max())
    says = (
        f"{a} - {b}, {b} - {c} and {c} - {a} do not add up to zero at {open_at} of {common} epochs (up to "
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
    block = np.zeros((0, 0))
    for j, name in enumerate(names):
        if j % COLUMNS_AT_ONCE == 0:
            block = np.ascontiguousarray(x_s[:, j : j + COLUMNS_AT_ONCE].T)
        x = block[j % COLUMNS_AT_ONCE]
        x = x[np.isfinite(x)]
        difference = np.round((x[1:] - x[:-1]) / REPEAT_RESOLUTION_S)
        if _repeats(difference) < LEAST_REPEATS:
            continue
        moves = np.flatnonzero(difference != 0.0)
        difference = difference[moves]
        if len(difference) < 4 * LEAST_REPEATS:
            continue
        order, is_same = _in_order(difference)
        same = np.flatnonzero(is_same)
        if len(same) < LEAST_REPEATS:
            continue
        lags, counts = np.unique(order[same + 1] - order[same], return_counts=True)
        chance = min(max(_collisions(is_same), 1e-12), 0.9)
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


@kernel
def _repeats(values):
    """Return how many of the values, whole numbers, stand there already (not those equal to 0), at most
    `LEAST_REPEATS`: without sorting them.
    """
    size = 64
    while size < 2 * values.shape[0]:
        size *= 2
    held = np.zeros(size)
    count = 0
    for value in values:
        if value == 0.0:
            continue
        # a double's whole number below 2^53; where a larger one falls does not matter
        at = int(value) & 0x1FFFFFFFFFFFFF if abs(value) < 9e15 else 0
        at = (at ^ (at >> 11) ^ (at >> 23) ^ (at >> 37)) & (size - 1)
        while held[at] != 0.0 and held[at] != value:
            at = (at + 1) & (size - 1)
        if held[at] == value:
            count += 1
            if count >= LEAST_REPEATS:
                break
        held[at] = value
    return count


def _in_order(values: Floats) -> tuple[Ints, NDArray[np.bool_]]:
    """Return the stable order of whole numbers, and where in it a value equals the one before, shape `(n - 1,)`."""
    n = len(values)
    bits = n.bit_length()
    if float(np.abs(values).max(initial=0.0)) < float(1 << (62 - bits)):
        # value and place in one number: sorting those is several times as quick
        packed = (values.astype(np.int64) << bits) | np.arange(n)
        packed.sort()
        whole = packed >> bits
        return packed & ((1 << bits) - 1), whole[1:] == whole[:-1]
    order = np.argsort(values, kind="stable")
    return order, values[order][1:] == values[order][:-1]


def _collisions(is_same: NDArray[np.bool_]) -> float:
    """Chance that two of the values taken at random are equal; `is_same`: of the values in order."""
    n = len(is_same) + 1
    counts = np.diff(np.flatnonzero(np.concatenate(([True], ~is_same, [True]))))
    return float((counts * (counts - 1.0)).sum() / (n * (n - 1.0)))


def _longest_run(is_same: NDArray[np.bool_]) -> tuple[int, int]:
    """Return where the longest run of True begins, and its length."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_same, [False])).astype(np.int8)))
    if len(edges) == 0:
        return 0, 0
    lengths = edges[1::2] - edges[::2]
    longest = int(np.argmax(lengths))
    return int(edges[2 * longest]), int(lengths[longest])
