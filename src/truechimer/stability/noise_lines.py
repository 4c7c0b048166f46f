"""A record as independent powers, each with what every noise contributes to it on the average.

It estimates nothing: `noise_likelihood.py` does. Two sorts of lines cover the spectrum without overlap.

*Slow lines.* Averages of the phase over blocks, at most `BLOCKS` of them, are seen through contrasts: combinations that
neither an offset, nor a frequency, nor a drift can move (restricted likelihood, REML). Their covariance is exact for
each noise, gaps and ends of the record included, so a line is an eigenvector of the covariance that the noises together
give, and what each noise gives to it is known exactly.

*Fast lines.* Above half the blocks' rate the tapered periodogram of the frequencies does (Whittle), in bands.

A record of up to `BLOCKS` phases has slow lines alone.

Law of gaps. As everywhere (`series.py`): a missing phase is one point, a missing frequency breaks the phase, and each
piece then has an offset of its own. Long records (`BLOCKS` and more) have single gaps, up to an eighth of a block and
2 % of the record in all, bridged by a straight line, and say so; blocks that a longer gap touches are left out.

Source: Patterson and Thompson 1971 (REML); Whittle 1953; generalised covariances as in Matheron 1973, which in this
field are Greenhall's (NIST SP 1065 section 5.4).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from truechimer.stability.arrays import runs
from truechimer.stability.curve import Floats, SeriesRejected
from truechimer.stability.noise_components import NAMES, autocovariance, frequency_spectra
from truechimer.stability.series import Series, make_series, without_line

BLOCKS = 160
LEAST_PHASES = 24
LEAST_BLOCKS = 20
"""Fewer say nothing of five noises; a record with more phases and so few whole blocks is broken by gaps."""
BRIDGED = 0.02
TAPERED = 0.25
"""Part of a record that the cosine taper of the fast lines touches."""
PER_OCTAVE = 8.0
BAND_ERROR = 0.01
"""Relative error of a band's power that nobody can exclude: tapers leak, counters are not quite linear. Without it, a
million values would let a hundredth of the power decide about noises.
"""
SMALLEST = 1e-100
"""Squares of smaller values, summed, leave the range of a double; the largest are refused as everywhere."""
ROUNDING = 0.5 * float(np.finfo(np.float64).eps)
KINDS = len(NAMES)


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """`power` (n,); `expected` (5, n): of each noise at variance 1; `weight` (n,): half the degrees of freedom of each;
    `frequency` (n,): cycles a spacing, of slow lines about.
    """

    power: Floats
    expected: Floats
    weight: Floats
    frequency: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A record in units of tau0 and of `scale`, ready to be seen through lines.

    `x`, `at` (n_blocks,): block averages and their places; `offset` (n_blocks, n_pieces): which piece each is in;
    `covariance` (5, n_blocks, n_blocks): generalised, of each noise; `seen` (5, r, r) and `seen_x` (r,): the same and
    the averages through contrasts that no drift moves; `fast`: the lines above. `bridged`: phases or
    frequencies that were filled in, `left_out`: blocks that gaps took. `block`: phases in each.
    """

    x: Floats
    at: Floats
    offset: Floats
    covariance: Floats
    seen: Floats
    seen_x: Floats
    fast: Lines | None
    scale: float
    block: int
    n_phases: int
    bridged: int
    left_out: int

    def lines(self, variances: Floats) -> Lines:
        """Return the lines that are independent where the noises have `variances` (5,)."""
        _, vectors = np.linalg.eigh(np.einsum("k,kij->ij", variances, self.seen))
        expected = np.stack([np.sum((each @ vectors) * vectors, axis=0) for each in self.seen])
        power = (vectors.T @ self.seen_x) ** 2
        sine = 0.5 * np.sqrt(np.clip(expected[0] * self.block / (2.0 * expected[2] / self.block), 0.0, 4.0))
        frequency = np.arcsin(np.minimum(1.0, sine)) / (np.pi * self.block)
        slow = Lines(power, expected, np.full(power.size, 0.5), frequency)
        if self.fast is None:
            return slow
        return Lines(
            *(
                np.concatenate([getattr(slow, name), getattr(self.fast, name)], axis=-1)
                for name in ("power", "expected", "weight", "frequency")
            )
        )


def contrasts(at: Floats, offset: Floats, degree: int) -> Floats:
    """Return orthonormal columns (n_blocks, r) that polynomials of `degree` in `at`, and `offset`, cannot move."""
    place = at / max(1.0, float(np.max(np.abs(at))))
    moved = np.column_stack([offset, *(place**power for power in range(1, degree + 1))])
    whole, _ = np.linalg.qr(moved, mode="complete")
    return np.asarray(whole[:, moved.shape[1] :])


def prepare(values: ArrayLike, tau0_s: float, *, data: str = "phase") -> Prepared:
    """Check `values` (n,), phases (s) or frequencies, and return them as blocks and fast lines.

    Raises `SeriesRejected` where there are too few, none that vary, or too many gaps; the text says what to do.
    """
    series = make_series(values, tau0_s, data=data)
    block = -(-series.n_phases // BLOCKS)
    bridged = 0
    if block > 1 and series.has_gaps:
        filled, bridged = _bridged(np.asarray(values, dtype=np.float64), max(1, block // 8))
        if bridged:
            series = make_series(filled, tau0_s, data=data)
    there = sum(int(np.isfinite(piece.x_s).sum()) for piece in series.pieces)
    if there < LEAST_PHASES:
        raise SeriesRejected(f"{there} phases; a fit of noise needs {LEAST_PHASES} at least: record for longer")
    pieces = [without_line(piece.x_s) / tau0_s for piece in series.pieces]
    return _assembled(series, _levelled(series, pieces), block, bridged)


def _levelled(series: Series, pieces: list[Floats]) -> list[Floats]:
    """Return pieces that all lost the same frequency: the contrasts know one for the whole record."""
    if len(pieces) == 1:
        return pieces
    return [piece.x_s / series.tau0_s for piece in series.pieces]


def _assembled(series: Series, pieces: list[Floats], block: int, bridged: int) -> Prepared:
    steps = np.concatenate([np.diff(piece) for piece in pieces])
    steps = steps[np.isfinite(steps)]
    steps = steps - np.mean(steps) if steps.size else np.zeros(1)
    top = float(np.max(np.abs(steps)))
    scale = top * float(np.sqrt(np.mean((steps / top) ** 2))) if top > 0.0 else 0.0
    size = max(float(np.nanmax(np.abs(piece.x_s))) for piece in series.pieces) / series.tau0_s
    if not scale > max(ROUNDING * size, SMALLEST):
        raise SeriesRejected(
            "the values do not vary by more than their own rounding: no noise to fit. If they have a large offset or "
            "rate, subtract it where the values are made"
        )
    blocks, at, of_piece, left_out = _blocks(series, pieces, block)
    offset = (of_piece[:, None] == np.unique(of_piece)[None, :]).astype(np.float64)
    if blocks.size - offset.shape[1] - 2 < LEAST_BLOCKS - 3:
        raise SeriesRejected(
            f"gaps leave {blocks.size} whole stretches of {block} values in {offset.shape[1]} pieces; fit a part with "
            f"fewer gaps, or give averages over longer times"
        )
    lags = np.rint(np.abs(at[:, None] - at[None, :]) / block).astype(np.int64)
    covariance = np.stack([_averaged(kind, int(lags.max()), block)[lags] for kind in range(KINDS)])
    fast = _fast_lines([piece / scale for piece in pieces], block) if block > 1 else None
    at -= 0.5 * (float(at[0]) + float(at[-1]))
    unmoved = contrasts(at, offset, 2)
    return Prepared(
        x=blocks / scale,
        at=at,
        offset=offset,
        covariance=covariance,
        seen=np.stack([unmoved.T @ each @ unmoved for each in covariance]),
        seen_x=unmoved.T @ (blocks / scale),
        fast=fast,
        scale=scale,
        block=block,
        n_phases=series.n_phases,
        bridged=bridged,
        left_out=left_out,
    )


def _bridged(values: Floats, longest: int) -> tuple[Floats, int]:
    """Fill gaps of up to `longest` values from their neighbours, if they are no more than `BRIDGED` of the record."""
    missing = np.isnan(values)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], missing, [False]))))
    short = np.zeros(values.size, dtype=bool)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start <= longest and start > 0 and stop < values.size:
            short[start:stop] = True
    count = int(short.sum())
    if count == 0 or count > BRIDGED * values.size:
        return values, 0
    filled = values.copy()
    place = np.arange(values.size, dtype=np.float64)
    filled[short] = np.interp(place[short], place[~missing], values[~missing])
    return filled, count


def _blocks(series: Series, pieces: list[Floats], block: int) -> tuple[Floats, Floats, np.ndarray, int]:
    """Return averages of whole blocks, their middles, and the piece of each; the last ends with the record."""
    averages, middles, owner, left_out = [], [], [], 0
    for k, (piece, x) in enumerate(zip(series.pieces, pieces, strict=True)):
        end = piece.first + x.size
        # one grid for all pieces, counted back from the end of the record
        last = (series.n_phases - end + block - 1) // block
        first = (series.n_phases - piece.first) // block
        for b in range(first - 1, last - 1, -1):
            start = series.n_phases - (b + 1) * block - piece.first
            mean = float(np.mean(x[start : start + block]))
            if np.isfinite(mean):
                averages.append(mean)
                middles.append(piece.first + start + 0.5 * (block - 1))
                owner.append(k)
            else:
                left_out += 1
    return np.array(averages), np.array(middles), np.array(owner), left_out


def _averaged(kind: int, most: int, block: int) -> Floats:
    """Return the covariance of block averages that are 0 to `most` blocks apart, shape (most + 1,)."""
    lags = np.arange(-(block - 1), most * block + block, dtype=np.float64)
    each = autocovariance(kind, lags)
    triangle = (block - np.abs(np.arange(-(block - 1), block))) / (float(block) * block)
    windows = np.lib.stride_tricks.sliding_window_view(each, 2 * block - 1)[::block]
    return np.asarray(windows @ triangle)


def _fast_lines(pieces: list[Floats], block: int) -> Lines | None:
    """Return bands of the tapered periodograms of all stretches without gap, above half the blocks' rate."""
    least = 0.5 / block
    count = max(1, int(np.ceil(PER_OCTAVE * np.log2(0.5 / least))))
    edges = least * (0.5 / least) ** (np.arange(count + 1) / count)
    sums = np.zeros((2 + KINDS + 1, count))  # lines, power, five densities, frequency
    inflation, total = 0.0, 0
    for piece in pieces:
        for run in runs(piece):
            if run.size < max(4 * block, LEAST_PHASES):
                continue
            length = run.size - 1
            length -= length % (1 << max(0, length.bit_length() - 8))  # a length that Fourier transforms like
            frequency, power, wider = _periodogram(np.diff(run[run.size - length - 1 :]))
            chosen = (frequency > least) & (frequency < 0.5)
            frequency, power = frequency[chosen], power[chosen]
            band = np.minimum(np.searchsorted(edges, frequency, side="right") - 1, count - 1)
            rows = [np.ones_like(power), power, *frequency_spectra(frequency), frequency]
            sums += np.stack([np.bincount(band, row, minlength=count) for row in rows])
            inflation += wider * power.size
            total += power.size
    lines = sums[0]
    if total == 0:
        return None
    seen = lines > 0.0
    means = sums[1:, seen] / lines[seen]
    weight = 1.0 / (inflation / total / lines[seen] + BAND_ERROR**2)
    return Lines(means[0], means[1 : 1 + KINDS], weight, means[-1])


def _periodogram(y: Floats) -> tuple[Floats, Floats, float]:
    """Return frequencies, one-sided densities, and by how much the taper widens their scatter (variance)."""
    size = y.size
    place = np.linspace(-1.0, 1.0, size)
    y = y - np.mean(y)
    y -= place * (float(place @ y) / float(place @ place))
    rim = np.clip((1.0 - np.abs(place)) / TAPERED, 0.0, 1.0)
    taper = np.sin(0.5 * np.pi * rim) ** 2
    square = float(np.sum(taper * taper))
    power = np.abs(np.fft.rfft(y * taper)) ** 2 * (2.0 / square)
    return np.arange(power.size) / size, power, size * float(np.sum(taper**4)) / (square * square)
