"""The law by which UTC(k) follows predicted UTC: linear quadratic, in frequency only, as gentle as the clocks are good.

It limits nothing (`steering_law` cuts to the envelope) and applies nothing. The state is the departure e of predicted
UTC from UTC(k) and the rate v at which it grows; an order changes the rate of UTC(k) by delta once per interval h:

    v' = v - delta      e' = e + h v'      least sum of e^2 + rho delta^2      rho = T^4 / (4 h^2)

so that the time constant T says all: for T much longer than h both poles lie at (-1 +- i) / T, for T much shorter the
departure is gone after two intervals. Prediction is the filter's, and the two do not mix (separation theorem).

How long is T? News of UTC comes with a jump of the forecast, and there are two ways to be wrong after it. A short T
follows the jump in a day, and every jump disturbs the stability over a day that users of UTC(k) want. A long T is
gentle, and UTC(k) is not where the forecast says that it should be. What the jumps will be, the filter knows before
they come: the variance that each batch of values takes from the forecast. From it follow, for any T, the mean square
of what UTC(k) lags behind the forecast, and the Allan variance over a day that steering adds. T is the longest with
which the error is at most `accuracy` times that of the forecast itself; where a laboratory states what its stability
over a day may at most become, T is at least that long.

Source: Koppang and Leland 1999 (linear quadratic control of masers), Koppang 2016 (review); structured doubling for
Riccati's equation (Chu, Fan, Lin and Wang 2004). Law of the file: + - * / and sqrt in a written order.
"""

from dataclasses import dataclass
from math import sqrt

DAY_S = 86_400.0
LEAST_RATIO, MOST_RATIO = 0.25, 1024.0
"""Time constants that are chosen, in intervals between orders."""
DOUBLINGS = 24
HALVINGS = 14
NEWS_MEMORY_S = 60.0 * DAY_S
USED = 0.75
"""Of the variance over a day that a laboratory allows, what is planned with: news is larger than a filter expects whose
noise is not quite the scale's, and an `at most` is to be kept.
"""

_Matrix = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Gains:
    """delta = `k_x` e + `k_y` v; `k_x` in 1/s. `interval_s`: between orders, which they are made for."""

    k_x: float
    k_y: float
    interval_s: float


@dataclass(frozen=True, slots=True)
class News:
    """What values newly taken in change of the forecast, as variance per second: of phase `xx` (s^2/s), rate `yy` (1/s)
    and both `xy` (s/s); over `span_s`, until `until_ns` (TAI).
    """

    xx: float = 0.0
    xy: float = 0.0
    yy: float = 0.0
    span_s: float = 0.0
    until_ns: int = 0

    def after(self, *, epoch_ns: int, xx: float, xy: float, yy: float) -> "News":
        """Return what is known after a batch that took these variances from the forecast for `epoch_ns`.

        The first batch, by which everything begins, is no measure of those to come.
        """
        if not self.until_ns:
            return News(until_ns=epoch_ns)
        elapsed_s = (epoch_ns - self.until_ns) / 1e9
        if elapsed_s <= 0.0:
            return self
        kept_s = min(self.span_s, NEWS_MEMORY_S)
        whole_s = kept_s + elapsed_s
        return News(
            (self.xx * kept_s + max(xx, 0.0)) / whole_s,
            (self.xy * kept_s + xy) / whole_s,
            (self.yy * kept_s + max(yy, 0.0)) / whole_s,
            whole_s,
            epoch_ns,
        )


def gains(*, time_constant_s: float, interval_s: float) -> Gains:
    """Return the gains of the law for a time constant."""
    k_x, k_y = _gains(time_constant_s / interval_s)
    return Gains(k_x / interval_s, k_y, interval_s)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a law costs with news as it comes: `lag2_s2`, mean square of the forecast's departure from UTC(k) (s^2);
    `day_variance`: Allan variance over a day that steering adds to the free scale's.
    """

    lag2_s2: float
    day_variance: float


def cost_of(gain: Gains, news: News) -> Cost:
    """Return what the law costs where an order follows news at once.

    Between orders the departure runs on a line. A change of rate at t_k bends UTC(k) for two days as the second
    difference over a day sees it, by a triangle; two changes count together by how far their triangles overlap.
    """
    h = gain.interval_s
    k_x, k_y = gain.k_x * h, gain.k_y
    # a closed loop with e counted in intervals times rate; sums after a beginning (e, v)
    step: _Matrix = (1.0 - k_x, 1.0 - k_y, -k_x, 1.0 - k_y)
    now, then = (1.0, 0.0), (step[0], step[1])
    lag = _scaled(_plus(_plus(_outer(now, now), _outer(now, then)), _outer(then, then)), 1.0 / 3.0)
    k, later = (k_x, k_y), (k_x, k_y)
    changes = _scaled(_outer(k, k), _overlap(0.0))
    apart = 1
    while apart * h < 2.0 * DAY_S:
        later = later[0] * step[0] + later[1] * step[2], later[0] * step[1] + later[1] * step[3]
        changes = _plus(changes, _scaled(_outer(k, later), 2.0 * _overlap(apart * h / DAY_S)))
        apart += 1
    loop = step
    for _ in range(DOUBLINGS):
        before = lag[0]
        lag = _plus(lag, _times(_times(_turned(loop), lag), loop))
        changes = _plus(changes, _times(_times(_turned(loop), changes), loop))
        loop = _times(loop, loop)
        if lag[0] == before:
            break
    return Cost(_summed(lag, news, h) * h * h * h, 0.5 * _summed(changes, news, h) * DAY_S)


def _overlap(days: float) -> float:
    """Return how two changes of rate so far apart count together in the second difference over a day: the overlap of
    two triangles, each as wide as two days, in units of a day cubed.
    """
    if days < 1.0:
        return 2.0 / 3.0 - days * days + 0.5 * days * days * days
    left = max(2.0 - days, 0.0)
    return left * left * left / 6.0


def _summed(of: _Matrix, news: News, h: float) -> float:
    """Return the sum after beginnings as the news makes them, per second; e counted in intervals times rate."""
    return max(of[0] * news.xx / (h * h) + (of[1] + of[2]) * news.xy / h + of[3] * news.yy, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a law is to reach. `accuracy`: the error of UTC(k) against that of the forecast itself, rms (> 1);
    `day_stability`: the Allan deviation over a day against the free scale's (> 1), None where it is not limited.
    """

    accuracy: float = 1.05
    day_stability: float | None = None


def time_constant_s(
    news: News, aim: Aim, *, forecast_variance_s2: float, free_variance: float, interval_s: float, usual_s: float
) -> float:
    """Return the time constant (s) that reaches the aim; `usual_s` before any news is known.

    `forecast_variance_s2`: mean variance of the forecast, without what paths have in common for ever;
    `free_variance`: Allan variance of the free scale over a day.
    """
    if news.span_s <= 0.0:
        return usual_s
    allowed_s2 = (aim.accuracy * aim.accuracy - 1.0) * forecast_variance_s2
    low, high = LEAST_RATIO, MOST_RATIO
    for _ in range(HALVINGS):
        middle = sqrt(low * high)
        if cost_of(gains(time_constant_s=middle * interval_s, interval_s=interval_s), news).lag2_s2 > allowed_s2:
            high = middle
        else:
            low = middle
    if aim.day_stability is None:
        return low * interval_s
    allowed = USED * (aim.day_stability * aim.day_stability - 1.0) * free_variance
    high = MOST_RATIO
    if cost_of(gains(time_constant_s=low * interval_s, interval_s=interval_s), news).day_variance <= allowed:
        return low * interval_s
    for _ in range(HALVINGS):
        middle = sqrt(low * high)
        if cost_of(gains(time_constant_s=middle * interval_s, interval_s=interval_s), news).day_variance > allowed:
            low = middle
        else:
            high = middle
    return high * interval_s


def _gains(ratio: float) -> tuple[float, float]:
    """Return the gains for a time constant of `ratio` intervals, e counted in intervals times rate.

    Riccati's equation by doubling: A = [[1, 1], [0, 1]], B = [-1, -1], cost of e 1, of a change rho.
    """
    rho = ratio * ratio * ratio * ratio / 4.0
    a: _Matrix = (1.0, 1.0, 0.0, 1.0)
    g: _Matrix = (1.0 / rho, 1.0 / rho, 1.0 / rho, 1.0 / rho)
    x: _Matrix = (1.0, 0.0, 0.0, 0.0)
    for _ in range(DOUBLINGS):
        within = _inverse(_plus((1.0, 0.0, 0.0, 1.0), _times(g, x)))
        after_g = _plus(g, _times(_times(_times(a, within), g), _turned(a)))
        after_x = _plus(x, _times(_times(_times(_turned(a), x), within), a))
        a, g, before, x = _times(_times(a, within), a), after_g, x, after_x
        if x == before:
            break
    # (R + B' X B)^-1 B' X A, of which the sign goes into delta
    left, right = x[0] + x[2], x[1] + x[3]
    whole = rho + left + right
    return left / whole, (left + right) / whole


def _times(a: _Matrix, b: _Matrix) -> _Matrix:
    return (
        a[0] * b[0] + a[1] * b[2],
        a[0] * b[1] + a[1] * b[3],
        a[2] * b[0] + a[3] * b[2],
        a[2] * b[1] + a[3] * b[3],
    )


def _outer(a: tuple[float, float], b: tuple[float, float]) -> _Matrix:
    """Return the matrix of (a s) (b s) as a form of s, not made symmetric: `_summed` adds both sides."""
    return a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1]


def _scaled(a: _Matrix, by: float) -> _Matrix:
    return a[0] * by, a[1] * by, a[2] * by, a[3] * by


def _plus(a: _Matrix, b: _Matrix) -> _Matrix:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


def _turned(a: _Matrix) -> _Matrix:
    return a[0], a[2], a[1], a[3]


def _inverse(a: _Matrix) -> _Matrix:
    whole = a[0] * a[3] - a[1] * a[2]
    return a[3] / whole, -a[1] / whole, -a[2] / whole, a[0] / whole
