"""Several clocks against each other: Groslambert covariance and the three-cornered hat.

It makes no time scale. No intervals: the covariance of two records has no chi-square law.

Source: Lantz et al. 2019 and Vernotte et al. 2016 (Groslambert covariance, GCOV = <d_ab d_cb> / (2 tau^2), d the second
differences at stride m); Gray and Allan 1974 (three-cornered hat).
"""

import numpy as np
from numpy.typing import ArrayLike

from truechimer.stability import arrays, sums
from truechimer.stability.curve import Floats, SeriesRejected, StabilityCurve, StabilityMisuse
from truechimer.stability.deviations import OADEV
from truechimer.stability.factors import Factors, chosen
from truechimer.stability.forms import loop
from truechimer.stability.series import Series, make_series
from truechimer.stability.statistics import Statistic, curve_of


def gcodev(
    x_s: ArrayLike,
    tau0_s: float,
    m: Factors = None,
    *,
    data: str = "phase",
    detrend: str = "none",
) -> StabilityCurve:
    """Return the Groslambert codeviation of two simultaneous records, with the sign of the covariance.

    `x_s` (2, n): the differences a minus b and c minus b of three clocks: what both share is b's own noise, so the
    value estimates ADEV of b, free of a's, c's and both counters' noise. With b minus c in the second row the sign
    turns. A term counts if all six phases are there. `lower`, `upper`: NaN.
    """
    one, other = (make_series(row, tau0_s, data=data, detrend=detrend) for row in _rows(x_s, 2, "a - b and c - b"))
    factors, skipped = chosen(m, OADEV.most(one.n_phases))
    values, terms = [], []
    for factor in factors.tolist():
        found = _products(one, other, factor)
        mean = found.total / found.terms / 2.0 if found.terms else np.nan
        values.append(float(np.copysign(np.sqrt(abs(mean)), mean)) / (factor * one.tau0_s))
        terms.append(found.terms)
    nothing = np.full(factors.size, np.nan)
    return StabilityCurve(
        tau_s=np.asarray(factors * one.tau0_s, dtype=np.float64),
        value=np.array(values),
        lower=nothing,
        upper=nothing,
        n=np.array(terms, dtype=np.int64),
        noise=nothing,
        m=factors,
        statistic="gcodev",
        tau0_s=one.tau0_s,
        ci=None,
        edf=nothing,
        skipped=skipped,
    )


def three_cornered_hat(
    x_s: ArrayLike,
    tau0_s: float,
    m: Factors = None,
    *,
    statistic: Statistic | str = "oadev",
    method: str = "classic",
    data: str = "phase",
    detrend: str = "none",
) -> tuple[StabilityCurve, StabilityCurve, StabilityCurve]:
    """Return the deviations of three clocks a, b, c from the three differences a - b, b - c, c - a, rows of `x_s` (3,
    n).

    `method`: `classic`, var a = (var ab + var ca - var bc)/2, of any `statistic`; or `groslambert`, var a = -cov(ab,
    ca) of second differences, which does not see the counters' own noise. A variance that comes out negative (the
    clock is better than what the other two let one see) is a *negative* deviation, minus the root of its size: it is
    not hidden as zero. Needs clocks without common noise; with 1000 points the median error is below 15 % for a clock
    that is not three times better than the others.
    """
    rows = _rows(x_s, 3, "a - b, b - c and c - a")
    if method not in {"classic", "groslambert"}:
        raise StabilityMisuse(f"method is 'classic' or 'groslambert', not {method!r}")
    if method == "groslambert":
        ab, bc, ca = rows
        pairs = ((ab, -ca), (bc, -ab), (ca, -bc))
        # d_ab holds d_a, -d_ca holds d_a as well: their product is var a.
        found = [gcodev(np.array(pair), tau0_s, m, data=data, detrend=detrend) for pair in pairs]
        return found[0], found[1], found[2]
    chosen_statistic = named(statistic) if isinstance(statistic, str) else statistic
    ab, bc, ca = (curve_of(chosen_statistic, row, tau0_s, m, data=data, ci=None, detrend=detrend).value for row in rows)
    like = curve_of(chosen_statistic, rows[0], tau0_s, m, data=data, ci=None, detrend=detrend)
    if not ab.shape == bc.shape == ca.shape:
        raise SeriesRejected("gaps leave the three records with different averaging times; ask for shorter ones")
    variances = (ab**2 + ca**2 - bc**2, ab**2 + bc**2 - ca**2, bc**2 + ca**2 - ab**2)
    first, second, third = (_with_value(like, np.copysign(np.sqrt(abs(v) / 2.0), v)) for v in variances)
    return first, second, third


def named(name: str) -> Statistic:
    """Return a statistic by its name."""
    from truechimer.stability import catalogue

    if name not in catalogue.STATISTICS:
        raise StabilityMisuse(f"there is no statistic {name!r}; there are {', '.join(sorted(catalogue.STATISTICS))}")
    return catalogue.STATISTICS[name]


def _rows(x_s: ArrayLike, count: int, what: str) -> list[Floats]:
    try:
        rows = np.asarray(x_s, dtype=np.float64)
    except (TypeError, ValueError):
        raise SeriesRejected(f"records of different lengths, or no numbers; give ({count}, n): {what}") from None
    if rows.ndim != 2 or rows.shape[0] != count:
        raise SeriesRejected(f"the data have the shape {rows.shape}; give ({count}, n): {what}")
    return list(rows)


def _products(one: Series, other: Series, m: int) -> sums.Sum:
    if one.has_gaps or other.has_gaps:
        total = sums.NOTHING
        for a in one.pieces:
            for b in other.pieces:
                start, stop = max(a.first, b.first), min(a.first + a.x_s.size, b.first + b.x_s.size)
                if stop - start > 2 * m:
                    x, z = a.x_s[start - a.first : stop - a.first], b.x_s[start - b.first : stop - b.first]
                    product = arrays.second_difference(x, m) * arrays.second_difference(z, m)
                    there = product[np.isfinite(product)]
                    total += sums.Sum(float(np.sum(there)), int(there.size))
        return total
    x, z = one.pieces[0].x_s, other.pieces[0].x_s
    return sums.Sum(loop("products_of_second_differences", x.size)(x, z, m), x.size - 2 * m)


def _with_value(curve: StabilityCurve, value: Floats) -> StabilityCurve:
    return StabilityCurve(
        tau_s=curve.tau_s,
        value=value,
        lower=curve.lower,
        upper=curve.upper,
        n=curve.n,
        noise=curve.noise,
        m=curve.m,
        statistic="three_cornered_hat",
        tau0_s=curve.tau0_s,
        ci=None,
        edf=curve.edf,
        skipped=curve.skipped,
    )
