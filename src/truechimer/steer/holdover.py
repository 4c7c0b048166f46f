"""Holdover of a scale of one: how the host's oscillator wanders, learned from outside values, and how wrong a
prediction becomes that is let run.

It does not choose whom to believe and does not steer. An ensemble tests its clocks against each other; one oscillator
can only be tested against what comes from outside. Two things are learned, and neither is a constant of this program:

- *Which filter.* The same values go through a bank of two-state filters, one for each level of random-walk FM over nine
  decades of its variance. The one whose predictions over all horizons came true best, is the prediction.
- *How wrong.* On a fixed grid each filter's prediction is put down, and judged when a horizon of 16 s to 36 h has
  passed, against the values that come then. The mean squared error over each horizon, whatever made it (random walk,
  flicker, the day's temperature), is what holdover will be wrong by. Over horizons that were not seen yet, or seldom,
  the error is let grow as a steady drift would make it, fourfold a doubling, up to the worst level of the bank and
  what the filter does not know of the rate. A value that is much less sure than those before it, by its own word,
  judges as much less, where that word explains what it says.

Source: Allan 1966 and IEEE 1139 for errors by horizon; Vernotte, Delporte, Brunet and Tournier 2001 for the error of
extrapolation as the measure of a clock's holdover. Law of the file: + - * / and sqrt in a written order.
"""

from dataclasses import dataclass, replace
from math import sqrt

from truechimer.steer import utc_prediction
from truechimer.steer.utc_prediction import ScaleNoise, UtcPrediction

LEVELS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)
"""Variance of the random-walk FM of each filter, as multiples of what the kind lets expect."""

_ROOT_OF_TEN = 3.1622776601683795
WHITE_LEVELS = (1e-2, 1e-2 * _ROOT_OF_TEN, 0.1, 0.1 * _ROOT_OF_TEN, 1.0, _ROOT_OF_TEN, 10.0, 10.0 * _ROOT_OF_TEN, 1e2)
"""Variance of the white FM beside it: a quieter oscillator is quieter at all times (square roots of `LEVELS`)."""

MIDDLE = 4
HORIZONS_S = tuple([16.0 * float(1 << k) for k in range(14)])
"""16 s to 36.4 h. A horizon that the values are too rare for is never judged, and costs nothing."""

STARTS_PER_HORIZON = 4.0
"""Predictions put down per horizon: four phases of the day for the horizon of a day."""

HALF_WINDOW = 0.125
"""A prediction over a horizon is judged by the values from 7/8 to 9/8 of it, averaged: their noise is known."""

FIRST_VALUES = 16
LEARNED_BEFORE = 0.5
"""Values before a prediction is worth judging; and the part of a horizon that must have been learned before it: a rate
younger than that says more of its youth than of the oscillator.
"""

MEMORY_S = 86_400.0
LEAST_MEMORY = 32
"""Errors are averaged over a day, or over this many where that is longer."""

SCORED = 4
SWITCH_GAIN = 0.9
"""Judged predictions before a horizon takes part in choosing the filter; how much better another one must be."""

DRIFT_GROWTH = 16.0
"""Growth of the squared error over a doubled horizon where the rate drifts steadily: the most that any noise does."""

OVERLAP = 3.0
"""So many predictions, put down at `STARTS_PER_HORIZON`, say as much as one that overlaps with none."""

FEW = 1.0
"""A variance from m independent samples is taken to be 1 + FEW / m times as large as it looks."""

NOISE_MEMORY = 64

MUCH_NOISIER, EXPLAINED = 4.0, 9.0
"""Times the variance of those before, above which a value counts less; and squared sigmas of its own that a value may
be off for that. An exchange that took 1.75 s where others take milliseconds says nothing of the oscillator.
"""


@dataclass(frozen=True, slots=True)
class Awaited:
    """A prediction put down at `epoch_ns`: `x_s` and `y` of each filter; and the values that judge it: their number,
    their weights (1/s^2), and the weighted sums of value (s) and of time since (s).
    """

    epoch_ns: int
    x_s: tuple[float, ...]
    y: tuple[float, ...]
    weight: float
    weighted_x: float
    weighted_t: float


@dataclass(frozen=True, slots=True)
class Horizon:
    """What is known of one horizon: `n` judged predictions, each filter's mean squared error `square_s2` (s^2), the
    mean noise of the values that judged it `noise_s2` (s^2), and the predictions that wait.
    """

    n: int
    square_s2: tuple[float, ...]
    noise_s2: float
    next_ns: int
    awaited: tuple[Awaited, ...]


@dataclass(frozen=True, slots=True)
class Wander:
    """What is known of one oscillator.

    `filters`: UTC minus the scale by each level (empty before the first value); `best`: the one in use; `horizons` as
    `HORIZONS_S`. `noise_factor`: variance of the values against what they declare, from second differences; `n` of
    them; `before`, `last`: the last two values (ns TAI, s).
    """

    filters: tuple[UtcPrediction, ...]
    best: int
    horizons: tuple[Horizon, ...]
    noise_factor: float
    n: int
    before: tuple[int, float, float]
    last: tuple[int, float, float]

    @property
    def utc(self) -> UtcPrediction | None:
        """The prediction in use; None before the first value."""
        return self.filters[self.best] if self.filters else None


_NOTHING = (0, 0.0, 0.0)
_UNSEEN = Horizon(0, (0.0,) * len(LEVELS), 0.0, 0, ())


def begin() -> Wander:
    """Return what is known before anything was seen."""
    return Wander((), MIDDLE, (_UNSEEN,) * len(HORIZONS_S), 1.0, 0, _NOTHING, _NOTHING)


def after_boot(known: Wander) -> Wander:
    """Return what outlives a boot: how the oscillator wanders, and not where it was."""
    horizons = tuple(replace(horizon, next_ns=0, awaited=()) for horizon in known.horizons)
    return Wander((), known.best, horizons, 1.0, 0, _NOTHING, _NOTHING)


def noise_of(known: Wander, usual: ScaleNoise) -> ScaleNoise:
    """Return the noise of the filter in use; `usual`: what the host's kind lets expect."""
    return _level(usual, known.best)


def _level(usual: ScaleNoise, level: int) -> ScaleNoise:
    """Return the noise of one level of the bank."""
    return ScaleNoise(usual.q1 * WHITE_LEVELS[level], usual.q2 * LEVELS[level], usual.y_spread)


def update(
    known: Wander, usual: ScaleNoise, *, epoch_tai_ns: int, x_utc_minus_scale_s: float, u_s: float, limit_s: float
) -> tuple[Wander, bool]:
    """Take one combined outside value in; return what is known after it, and whether it was a surprise.

    After a surprise the predictions that wait are let go: they are of an oscillator that is no more.
    """
    x_s = x_utc_minus_scale_s
    known = _with_noise(known, epoch_tai_ns, x_s, u_s)
    # few second differences say little: until there are more, the noise is taken to be larger than they look
    factor = max(1.0, known.noise_factor * (1.0 + 8.0 / (known.n + 4.0))) if known.n else 1.0
    sigma_s = u_s * sqrt(factor)
    filters = []
    surprise = False
    for level in range(len(LEVELS)):
        noise = _level(usual, level)
        before = known.filters[level] if known.filters else None
        after, surprised = utc_prediction.update(
            before, noise, epoch_tai_ns=epoch_tai_ns, x_utc_minus_scale_s=x_s, u_s=sigma_s, limit_s=limit_s
        )
        if surprised and before is not None:
            after = _opened(before, after, usual, epoch_tai_ns, x_s)
            surprise = surprise or level == known.best
        filters.append(after)
    known = replace(known, filters=tuple(filters))
    if surprise:
        return replace(known, horizons=tuple(replace(h, next_ns=0, awaited=()) for h in known.horizons)), True
    # for judging, values that are quieter than they declare are taken at what they are
    quiet = min(1.0, known.noise_factor) if known.n >= FIRST_VALUES else 1.0
    return _judged(known, epoch_tai_ns, x_s, 1.0 / (sigma_s * sigma_s * quiet + 1e-24), quiet), False


def _with_noise(known: Wander, epoch_ns: int, x_s: float, u_s: float) -> Wander:
    """Learn the noise of the values from their second difference, over which no steady rate counts.

    Where it proves larger than the filters have believed so far, what they have learned is as much less sure.
    """
    after = replace(known, before=known.last, last=(epoch_ns, x_s, u_s))
    if not known.before[0]:
        return after
    first_s = (known.last[0] - known.before[0]) / 1e9
    second_s = (epoch_ns - known.last[0]) / 1e9
    if not (0.0 < first_s <= 4.0 * second_s and second_s <= 4.0 * first_s):
        return after
    ratio = second_s / first_s
    bend_s = x_s - known.last[1] - (known.last[1] - known.before[1]) * ratio
    declared = (
        u_s * u_s
        + (1.0 + ratio) * (1.0 + ratio) * known.last[2] * known.last[2]
        + ratio * ratio * known.before[2] * known.before[2]
        + 1e-24
    )
    sample = bend_s * bend_s / declared
    n = known.n + 1
    if known.n >= FIRST_VALUES:
        sample = min(sample, 25.0 * max(1.0, known.noise_factor))
    factor = known.noise_factor + (sample - known.noise_factor) / min(n, NOISE_MEMORY)
    grown = max(1.0, factor) / max(1.0, known.noise_factor)
    filters = known.filters
    if grown > 1.0:
        filters = tuple(_less_sure(one, grown) for one in filters)
    return replace(after, noise_factor=factor, n=n, filters=filters)


def _less_sure(one: UtcPrediction, grown: float) -> UtcPrediction:
    """Return a filter whose values were `grown` times as noisy (in variance) as it was told."""
    state = one.state
    return replace(
        one,
        state=replace(state, p_xx=state.p_xx * grown, p_xy=state.p_xy * grown, p_yy=state.p_yy * grown),
        u_outside_s=one.u_outside_s * sqrt(grown),
    )


def _opened(before: UtcPrediction, after: UtcPrediction, usual: ScaleNoise, epoch_ns: int, x_s: float) -> UtcPrediction:
    """Return a filter after a surprise, its rate open to what would explain it: whether phase or rate moved is not
    known.
    """
    elapsed_s = (epoch_ns - before.state.epoch_ns) / 1e9
    if elapsed_s <= 0.0:
        return after
    moved = (x_s - before.state.x_s) / elapsed_s - before.state.y
    opened = min(moved * moved, usual.y_spread * usual.y_spread)
    return replace(after, state=replace(after.state, p_yy=after.state.p_yy + opened))


def _judged(known: Wander, epoch_ns: int, x_s: float, weight: float, quiet: float) -> Wander:
    """Let the value judge the predictions that wait for it, put down new ones, and choose the filter."""
    utc = known.utc
    ripe = utc is not None and utc.state.n >= FIRST_VALUES
    age_s = 0.0 if utc is None else (epoch_ns - utc.begun_ns) / 1e9
    horizons = []
    is_news = False
    for horizon, span_s in zip(known.horizons, HORIZONS_S, strict=True):
        after = horizon
        if horizon.awaited and epoch_ns - horizon.awaited[0].epoch_ns >= span_s * (1.0 - HALF_WINDOW) * 1e9:
            after = _heard(horizon, span_s, epoch_ns, x_s, weight, best=known.best, quiet=quiet)
            is_news = is_news or after.n > horizon.n
        if ripe and age_s >= LEARNED_BEFORE * span_s and epoch_ns >= after.next_ns:
            after = _put_down(after, known.filters, span_s, epoch_ns)
        horizons.append(after)
    best = _best(horizons, known.best) if is_news else known.best
    return replace(known, horizons=tuple(horizons), best=best)


def _put_down(horizon: Horizon, filters: tuple[UtcPrediction, ...], span_s: float, epoch_ns: int) -> Horizon:
    """Put a prediction of every filter down."""
    awaited = Awaited(
        epoch_ns, tuple([one.state.x_s for one in filters]), tuple([one.state.y for one in filters]), 0.0, 0.0, 0.0
    )
    every_ns = round(span_s / STARTS_PER_HORIZON * 1e9)
    next_ns = (epoch_ns // every_ns + 1) * every_ns
    return Horizon(horizon.n, horizon.square_s2, horizon.noise_s2, next_ns, (*horizon.awaited, awaited))


def _heard(
    horizon: Horizon, span_s: float, epoch_ns: int, x_s: float, weight: float, *, best: int, quiet: float
) -> Horizon:
    """Let one value count for the predictions of a horizon whose time has come; those whose time is over are judged.

    `quiet`: variance of the values over what they declare, at most 1.
    """
    waiting = []
    n, square_s2, noise_s2 = horizon.n, horizon.square_s2, horizon.noise_s2
    for one in horizon.awaited:
        elapsed_s = (epoch_ns - one.epoch_ns) / 1e9
        if elapsed_s < span_s * (1.0 - HALF_WINDOW):
            waiting.append(one)
        elif elapsed_s <= span_s * (1.0 + HALF_WINDOW):
            waiting.append(
                Awaited(
                    one.epoch_ns,
                    one.x_s,
                    one.y,
                    one.weight + weight,
                    one.weighted_x + weight * x_s,
                    one.weighted_t + weight * elapsed_s,
                )
            )
        elif one.weight > 0.0:
            n += 1
            gain = 1.0 / min(n, max(LEAST_MEMORY, round(MEMORY_S * STARTS_PER_HORIZON / span_s)))
            x_then, t_then = one.weighted_x / one.weight, one.weighted_t / one.weight
            errors_s = [x_then - x0 - y0 * t_then for x0, y0 in zip(one.x_s, one.y, strict=True)]
            own_s2 = 1.0 / one.weight
            if n > 1 and errors_s[best] * errors_s[best] * quiet <= EXPLAINED * own_s2:
                gain = _believed(gain, own_s2, usual_s2=noise_s2, wander_s2=max(square_s2[best] - noise_s2, 0.0))
            square_s2 = tuple([mean + gain * (e * e - mean) for e, mean in zip(errors_s, square_s2, strict=True)])
            noise_s2 += gain * (1.0 / one.weight - noise_s2)
    return Horizon(n, square_s2, noise_s2, horizon.next_ns, tuple(waiting))


def _believed(gain: float, own_s2: float, *, usual_s2: float, wander_s2: float) -> float:
    """Return the gain of an error that a value with variance `own_s2` judged, in a mean of errors that values of
    `usual_s2` judged: the variance of a squared error is as the square of the whole.
    """
    usual, own = usual_s2 + wander_s2, own_s2 + wander_s2
    if own <= MUCH_NOISIER * usual:
        return gain
    share = usual / own * (usual / own)
    return share * gain / (1.0 - gain + share * gain)


def _best(horizons: list[Horizon], present: int) -> int:
    """Return the filter whose squared errors, each horizon's in units of the least there, are least together."""
    scores = [0.0] * len(LEVELS)
    for horizon in horizons:
        if horizon.n < SCORED:
            continue
        least = min(horizon.square_s2)
        if least <= 0.0:
            continue
        for level, square in enumerate(horizon.square_s2):
            scores[level] += square / least
    best = min(range(len(LEVELS)), key=lambda level: scores[level])
    return best if scores[best] < SWITCH_GAIN * scores[present] else present


def variances_s2(known: Wander, usual: ScaleNoise) -> tuple[float, ...]:
    """Return the variance (s^2) of the prediction in use over each of `HORIZONS_S`, as learned and as feared."""
    worst = _level(usual, len(LEVELS) - 1)
    utc = known.utc
    rate_variance = usual.y_spread * usual.y_spread if utc is None else utc.state.p_yy * max(1.0, utc.scatter)
    found: list[float] = []
    for horizon, span_s in zip(known.horizons, HORIZONS_S, strict=True):
        feared = span_s * (worst.q1 + span_s * (rate_variance + worst.q2 * span_s / 3.0))
        if found:
            feared = min(feared, DRIFT_GROWTH * found[-1])
        if not horizon.n:
            found.append(max(feared, found[-1]) if found else feared)
            continue
        # the values' own noise is no error of the prediction; but what it hides is not excluded either
        seen = max(horizon.square_s2[known.best] - horizon.noise_s2, horizon.noise_s2 * sqrt(2.0 / (horizon.n + 1.0)))
        # predictions that overlap are not independent, and few of them may look good by chance
        independent = horizon.n / OVERLAP
        variance = seen * (1.0 + FEW / independent)
        if found:
            drift = (DRIFT_GROWTH - 1.0) / ((1.0 + independent) * (1.0 + independent))
            variance = max(variance, found[-1] * (1.0 + drift))
        found.append(variance)
    return tuple(found)


def sigma_s(variances: tuple[float, ...], ahead_s: float) -> float:
    """Return one sigma (s) of a prediction that is let run for `ahead_s`, from `variances_s2`.

    Between two horizons, and beyond the last, it grows with the square of time, as a drift of the rate lets it.
    """
    if ahead_s <= 0.0:
        return 0.0
    before_s, before_sigma = 0.0, 0.0
    for span_s, variance in zip(HORIZONS_S, variances, strict=True):
        sigma = sqrt(variance)
        if ahead_s <= span_s:
            part = (ahead_s * ahead_s - before_s * before_s) / (span_s * span_s - before_s * before_s)
            return before_sigma + (sigma - before_sigma) * (part if before_s else ahead_s / span_s)
        before_s, before_sigma = span_s, sigma
    ratio = ahead_s / before_s
    return before_sigma * ratio * ratio


@dataclass(frozen=True, slots=True)
class FromHere:
    """A straight line: one sigma (s) now and its growth (s/s)."""

    sigma_s: float
    per_s: float


def from_here_s(variances: tuple[float, ...], age_s: float, until_s: float) -> FromHere:
    """Return one sigma of a prediction of this age, and its growth, so that the straight line from here holds the sigma
    for `until_s` more.

    Where the sigma grows fastest at first, the line begins above it.
    """
    here = sigma_s(variances, age_s)
    slope = max((sigma_s(variances, age_s + until_s) - here) / until_s, 0.0) if until_s > 0.0 else 0.0
    above = here
    for span_s, variance in zip(HORIZONS_S, variances, strict=True):
        if age_s < span_s < age_s + until_s:
            above = max(above, sqrt(variance) - slope * (span_s - age_s))
    return FromHere(above, slope)
