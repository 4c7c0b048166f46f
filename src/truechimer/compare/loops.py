"""Loops of links: around two links of one pair, or around three laboratories, the differences must add up to zero.

`closure` does this for the clocks of one laboratory, epoch by epoch; here whole series are held against each other, as
links between laboratories come: at different epochs, with a constant that a calibration knows more or less well. A loop
that does not close is flagged and names its links; nothing is averaged over it, and nothing here chooses a side. Where
several loops share links, the one fault that would open just these loops is named.

Three questions, three statistics:

- the constant: |mean of the sum| beyond `CONSTANT_K` sigma of the links' constants, over the sigma of the mean, which
  counts the wander that the sum shows (above `LOOP_SIGMAS`);
- a change: how much likelier a step makes the sum than white noise and wander alone (`loop_change`; above
  `CHANGE_SIGMAS`);
- single epochs: sums further from the median of their neighbours than `LOOP_SIGMAS` of their own sigmas; they are left
  out of the other two.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from truechimer.compare import loop_change
from truechimer.compare.time_link import CONSTANT_K, TimeLink

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOOP_SIGMAS = 5.0
CHANGE_SIGMAS = 4.5
"""Of sound loops whose noise is white, wanders, flickers or goes with the day, at most one in 300 comes above it."""
FEWEST_EPOCHS = 8
FAR_INTERVALS = 2.0
"""A link is carried between its own epochs over so many of its usual intervals, not further."""
NEIGHBOURS = 4
"""A single epoch is held against so many on each side."""
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """What a loop of links adds up to.

    `links`: indices into the links given, with `signs` (+1 or -1) by which each is added; `epoch_tai_ns`, `sum_s`: the
    sum where all links say something; `mean_s`, `u_mean_s`: its mean and one sigma of that by noise; `u_constant_s`:
    sigma of the constants (None: one is unknown, the mean says nothing); `constant_sigmas`: by how many sigma of the
    mean it is beyond what constants explain (None: cannot be asked); `change_sigmas`, `change_s`, `changed_tai_ns`: the
    largest change, its size, and when (None: too short); `odd`: indices of single epochs that stand out.
    """

    links: tuple[int, ...]
    signs: tuple[int, ...]
    epoch_tai_ns: Ints
    sum_s: Floats
    mean_s: float
    u_mean_s: float
    u_constant_s: float | None
    constant_sigmas: float | None
    change_sigmas: float | None
    change_s: float
    changed_tai_ns: int | None
    odd: tuple[int, ...]

    @property
    def opens_by_constant(self) -> bool:
        """Whether the mean is not explained."""
        return self.constant_sigmas is not None and self.constant_sigmas > LOOP_SIGMAS

    @property
    def opens_by_change(self) -> bool:
        """Whether the sum changed."""
        return self.change_sigmas is not None and self.change_sigmas > CHANGE_SIGMAS

    @property
    def closes(self) -> bool:
        """Whether nothing contradicts: neither the mean nor a change. Odd epochs alone are theirs."""
        return not self.opens_by_constant and not self.opens_by_change


def judged(links: Sequence[TimeLink]) -> tuple[Loop, ...]:
    """Return every loop of one, two and three links that have `FEWEST_EPOCHS` epochs in common.

    A loop of one is a link whose ends are one clock (two receivers side by side); of two: two links of one pair.
    """
    found = (_loop(links, members, signs) for members, signs in _cycles(links))
    return tuple(loop for loop in found if loop is not None)


@dataclass(frozen=True, slots=True)
class Suspect:
    """One fault that would open exactly the loops that are open: `links` carry it; `station`: the end they share (by
    one technique: a receiver, an antenna), empty where it is one link alone.
    """

    links: tuple[int, ...]
    station: str = ""


def suspects(links: Sequence[TimeLink], loops: Sequence[Loop]) -> tuple[Suspect, ...]:
    """Return the single faults that explain which loops are open and which are closed: of a link, or of one station by
    one technique. With two techniques both of a station may explain; a third decides. (): fewer than two loops are open
    (one accuses all of its links alike), or no single fault explains.
    """
    if sum(not loop.closes for loop in loops) < 2:
        return ()
    causes = [Suspect((k,)) for k in range(len(links))]
    for station, technique in sorted({(end, link.technique) for link in links for end in (link.a, link.b)}):
        of = [k for k, link in enumerate(links) if link.technique == technique and station in (link.a, link.b)]
        if len(of) > 1:
            causes.append(Suspect(tuple(of), f"{station} ({technique})"))
    return tuple(cause for cause in causes if all((_share(cause, links, each) == 0) == each.closes for each in loops))


def _share(cause: Suspect, links: Sequence[TimeLink], loop: Loop) -> int:
    """Return how many times a fault enters a loop: a station's cancels where it stands in two of its links."""
    station = cause.station.removesuffix(f" ({links[cause.links[0]].technique})")
    total = 0
    for link, sign in zip(loop.links, loop.signs, strict=True):
        if link in cause.links:
            total += sign * (-1 if cause.station and links[link].b == station else 1)
    return total


def usable(links: Sequence[TimeLink], loops: Sequence[Loop]) -> tuple[int, ...]:
    """Return the links that may be combined: all but those of the `suspects`, or, where none is, those in no open
    loop.
    """
    flagged = {link for each in suspects(links, loops) for link in each.links}
    flagged = flagged or {link for loop in loops if not loop.closes for link in loop.links}
    return tuple(k for k in range(len(links)) if k not in flagged)


def _cycles(links: Sequence[TimeLink]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    ends = [(link.a, link.b) for link in links]
    for k, (a, b) in enumerate(ends):
        if a == b:
            yield (k,), (1,)
    between = [k for k, (a, b) in enumerate(ends) if a != b]
    for j, k in combinations(between, 2):
        if set(ends[j]) == set(ends[k]):
            yield (j, k), (1, -1 if ends[j] == ends[k] else 1)
    for i, j, k in combinations(between, 3):
        nodes = set(ends[i]) | set(ends[j]) | set(ends[k])
        pairs = {frozenset(ends[i]), frozenset(ends[j]), frozenset(ends[k])}
        if len(nodes) == 3 and len(pairs) == 3:
            a, b = ends[i]
            # onwards from b to the third and back to a
            second = (j, k) if b in ends[j] else (k, j)
            third = next(iter(nodes - {a, b}))
            signs = (1, 1 if ends[second[0]] == (b, third) else -1, 1 if ends[second[1]] == (third, a) else -1)
            yield (i, *second), signs


def _loop(links: Sequence[TimeLink], members: tuple[int, ...], signs: tuple[int, ...]) -> Loop | None:
    chosen = [links[k] for k in members]
    # the sparsest link's epochs are kept: what is carried between epochs is then carried over the shortest way
    base = min(chosen, key=len)
    epoch = base.epoch_tai_ns
    total, variance = np.zeros(len(epoch)), np.zeros(len(epoch))
    for link, sign in zip(chosen, signs, strict=True):
        x, u = (base.x_a_minus_b_s, base.u_s) if link is base else _at(link, epoch)
        total += sign * x
        variance += u * u
    good = np.isfinite(total)
    if good.sum() < FEWEST_EPOCHS:
        return None
    epoch, total, sigma = epoch[good], total[good], np.sqrt(variance[good])
    odd = _odd(total, sigma)
    even = np.flatnonzero(~odd)
    found = loop_change.change(epoch[even], total[even], sigma[even])
    mean_s = float(np.mean(total[even]))
    constants = [link.u_constant_s for link in chosen]
    known = [each for each in constants if each is not None]
    u_constant_s = float(np.sqrt(sum(each * each for each in known))) if len(known) == len(constants) else None
    constant_sigmas = None
    if u_constant_s is not None:
        constant_sigmas = max(0.0, abs(mean_s) - CONSTANT_K * u_constant_s) / found.u_mean_s
    return Loop(
        members,
        signs,
        epoch,
        total,
        mean_s,
        found.u_mean_s,
        u_constant_s,
        constant_sigmas,
        found.sigmas,
        found.step_s,
        None if found.at is None else int(epoch[even[found.at]]),
        tuple(np.flatnonzero(odd).tolist()),
    )


def _at(link: TimeLink, epoch: Ints) -> tuple[Floats, Floats]:
    """Return a link's values at other epochs, between its own ones; NaN where these are too far away."""
    n = len(link)
    if n < 2:
        return np.full(len(epoch), np.nan), np.full(len(epoch), np.nan)
    usual_ns = float(np.median(np.diff(link.epoch_tai_ns)))
    after = np.clip(np.searchsorted(link.epoch_tai_ns, epoch), 1, n - 1)
    t0, t1 = link.epoch_tai_ns[after - 1], link.epoch_tai_ns[after]
    part = (epoch - t0) / (t1 - t0)
    x = (1.0 - part) * link.x_a_minus_b_s[after - 1] + part * link.x_a_minus_b_s[after]
    u = np.maximum(link.u_s[after - 1], link.u_s[after])
    inside = (part >= 0.0) & (part <= 1.0) & ((t1 - t0 <= FAR_INTERVALS * usual_ns) | (part == 0.0) | (part == 1.0))
    return np.where(inside, x, np.nan), np.where(inside, u, np.nan)


def _odd(total: Floats, sigma: Floats) -> NDArray[np.bool_]:
    """Return which sums stand out from their neighbours, so that a change of all that follow is none of single ones."""
    around = np.pad(total, NEIGHBOURS, mode="reflect")
    near = np.median(np.lib.stride_tricks.sliding_window_view(around, 2 * NEIGHBOURS + 1), axis=1)
    off = np.abs(total - near)
    usual = float(_MAD_TO_SIGMA * np.median(off))
    odd: NDArray[np.bool_] = off > LOOP_SIGMAS * np.maximum(sigma, usual)
    return odd
