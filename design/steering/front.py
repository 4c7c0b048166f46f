"""How near to UTC and how gentle at once: the exact front of all laws that follow the forecast, and ours beside it.

    PYTHONPATH=src python design/steering/front.py --out docs/measured/steering_front.json
    ... --picture docs/guide/pictures/steering-front.svg     drawn from the file; nothing is computed anew

It draws no random number: what is computed is what a filter's covariance says. *Clocks heard*: of the filter of all
clocks (`steer.clock_by_clock`), which have their true noise; comparisons of clocks move it too, but what is followed is
what published values move. What is in the file is kept, case by case, until it is computed again.

Method. Between two batches of published values the forecast of UTC minus the scale runs on without surprise; each batch
moves it, by a jump of its states with covariance N (what the batch takes from the filter's covariance). Jumps are
independent of one another. Whoever steers answers a jump with a course of UTC(k) that begins then; whatever else he
does, is noise. So a linear follower is a response g(t) to each of the jump's factors d(t), in rate only (g continuous,
g(0) = 0), and over a long time

    mean square of the forecast's departure from UTC(k)    sum over factors of the integral of (d - g)^2, by news' rate
    Allan variance over a day that steering adds           the same of (g(t + 2 d) - 2 g(t + d) + g(t))^2 / (2 d^2)

and the error is the forecast's own and the first of these, in squares. *Front*: the least of first + lambda * second
for every lambda, a least-squares problem (rates of three hours, 80 days). Nothing that is causal and linear lies
below it, with whatever gains. It may do what nobody wants: it brings UTC(k) home in three hours of each day, since the
variance over a day does not see what repeats daily. *Daily*: the same with a rate that is held for a day. *Ours*: the
law as it steers (`steer.lqg`, `steering_law.follow`) with four orders a day and with one, each time constant, by the
same two integrals. What the forecast itself is off by is that of the filter; of a real scale it is a little more.
"""

import argparse
import json
import sys
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "design" / "ensemble")]

from generator import ENSEMBLES  # noqa: E402

from truechimer.cli.drawing import Drawing, Line, Mark, series_colour  # noqa: E402
from truechimer.cli.drawing_svg import svg  # noqa: E402
from truechimer.clocks.clock import Clock, ClockKind  # noqa: E402
from truechimer.steer import clock_noise, delayed_filter, late_steering, lqg  # noqa: E402
from truechimer.steer.clock_by_clock import HEARD, ClockSample  # noqa: E402
from truechimer.steer.clock_states import ClockNoise  # noqa: E402
from truechimer.steer.delayed_data import LateValue  # noqa: E402
from truechimer.steer.delayed_filter import DAY_S, FIRST, FreeNoise, PathKind  # noqa: E402
from truechimer.steer.delayed_filter import Path as OutsidePath  # noqa: E402
from truechimer.steer.late_steering import LateParameters  # noqa: E402

NS, DAY_NS = 1e9, 86_400 * 10**9
PER_DAY, HORIZON_DAYS = 8, 80
SETTLING_DAYS, COUNTED_DAYS = 200, 210
"""Days until the filter is steady; days over which news is counted, whole weeks and months."""


@dataclass(frozen=True)
class Link:
    """What a path brings: each `every_d` days, `late_d` after the last of the values, one each `step_d`; `u_s`: noise;
    `wander_s`, `wander_d`: its calibration, one sigma and time constant.
    """

    name: str
    every_d: int
    late_d: float
    step_d: int
    u_s: float
    wander_s: float = 0.0
    wander_d: float = 0.0


UTCR = Link("UTCr", 7, 3.0, 1, 0.5e-9)
CIRCULAR_T = Link("Circular T", 30, 12.0, 5, 0.3e-9)
FOUNTAIN = Link("fountain", 1, 1.0 / 24, 1, 8e-16)
TWO_WAY = Link("two-way", 1, 1.0 / 24, 1, 0.2e-9, 0.5e-9, 100.0)
GNSS = Link("GNSS", 1, 1.0 / 24, 1, 0.5e-9, 1.5e-9, 100.0)

TEN_CLOCKS = FreeNoise(q1=5.0e-27, q2=1.8e-36, floor2=8.0e-32, q3=0.0, y_spread=1e-13)
"""Ten clocks of the scenario (5 caesiums, 3 masers, 2 rubidiums), by `scale_noise` from their true levels."""
MASER = FreeNoise(q1=1.44e-26, q2=3 * 2e-15**2 / (30 * DAY_S), floor2=9e-32, y_spread=1e-13)
FIVE_CAESIUMS = FreeNoise(q1=8.5e-12**2 / 5, q2=3 * 2e-15**2 / (150 * DAY_S), floor2=1.6e-29 / 5, y_spread=1e-13)


@dataclass(frozen=True)
class Case:
    """A laboratory."""

    noise: FreeNoise
    links: tuple[Link, ...]
    clocks: tuple[ClockNoise, ...] | None = None


def quieter(noise: FreeNoise, *, months: float) -> FreeNoise:
    """The scale with what it does over days and months smaller by a factor in ADEV, white FM as it is."""
    return replace(noise, q2=noise.q2 / months**2, floor2=noise.floor2 / months**2)


HEARD_CLOCKS = tuple(
    clock_noise.of_clock(Clock(name=f"c{k}", kind=ClockKind(one.kind)), (0.0, one.q1, one.floor**2, one.q2))
    for k, one in enumerate(ENSEMBLES["scenario 4.2"])
)

CASES = {
    "ensemble, rapid UTC": Case(TEN_CLOCKS, (UTCR,)),
    "ensemble, clocks heard, rapid UTC": Case(TEN_CLOCKS, (UTCR,), HEARD_CLOCKS),
    "ensemble, clocks heard, Circular T": Case(TEN_CLOCKS, (CIRCULAR_T,), HEARD_CLOCKS),
    "ensemble, clocks heard, rapid UTC and GNSS daily": Case(TEN_CLOCKS, (UTCR, GNSS), HEARD_CLOCKS),
    "ensemble, Circular T": Case(TEN_CLOCKS, (CIRCULAR_T,)),
    "maser with fountain, rapid UTC": Case(MASER, (UTCR, FOUNTAIN)),
    "maser, rapid UTC": Case(MASER, (UTCR,)),
    "5 caesiums, rapid UTC": Case(FIVE_CAESIUMS, (UTCR,)),
    "ensemble, rapid UTC of 0.1 ns": Case(TEN_CLOCKS, (replace(UTCR, u_s=0.1e-9),)),
    "ensemble, UTC daily, a day late, 0.5 ns": Case(TEN_CLOCKS, (replace(UTCR, every_d=1, late_d=1.0),)),
    "ensemble, UTC daily, an hour late, 0.5 ns": Case(TEN_CLOCKS, (replace(UTCR, every_d=1, late_d=1.0 / 24),)),
    "ensemble, UTC daily, an hour late, 0.1 ns": Case(
        TEN_CLOCKS, (replace(UTCR, every_d=1, late_d=1.0 / 24, u_s=0.1e-9),)
    ),
    "ensemble, rapid UTC and GNSS daily": Case(TEN_CLOCKS, (UTCR, GNSS)),
    "ensemble, rapid UTC and two-way daily": Case(TEN_CLOCKS, (UTCR, TWO_WAY)),
    "ensemble with fountain, rapid UTC": Case(TEN_CLOCKS, (UTCR, FOUNTAIN)),
    "ensemble 2 x quieter over days, rapid UTC": Case(quieter(TEN_CLOCKS, months=2.0), (UTCR,)),
    "ensemble 3 x quieter over days, rapid UTC": Case(quieter(TEN_CLOCKS, months=3.0), (UTCR,)),
}
RATIOS = (1.05, 1.15, 1.5, 2.0, 3.0, 5.0)


@dataclass(frozen=True)
class Jumps:
    """News: courses of the forecast after a jump, `d (n_factors, n)` (s) on the grid, to be summed in squares and
    multiplied by nothing: news' rate (1/s) is in them. `forecast2_s2`: mean variance of the forecast.
    """

    d: np.ndarray
    forecast2_s2: float


def jumps(case: Case) -> Jumps:
    """Run the filter until it is steady, without numbers, and collect what each batch takes from its covariance."""
    paths = tuple(
        OutsidePath(
            name=link.name,
            kind=PathKind.RATE if link is FOUNTAIN else PathKind.PHASE,
            u_common=2e-16 if link is FOUNTAIN else link.wander_s,
            common_s=link.wander_d * DAY_S,
        )
        for link in case.links
    )
    unjudged = LateParameters(judged=False)
    known = late_steering.begin(case.noise, paths, unjudged, clocks=case.clocks)
    taken = np.zeros((FIRST, FIRST))
    variances = []
    for hour in range((SETTLING_DAYS + COUNTED_DAYS) * 24):
        now_ns = 1000 * DAY_NS + hour * DAY_NS // 24
        if case.clocks is not None and hour % 6 == 0:
            known = late_steering.sampled(known, ClockSample(now_ns, *_as_they_are(len(case.clocks))))
        batch = tuple(value for k, link in enumerate(case.links) for value in _published(link, k, hour))
        if batch:
            old = late_steering.at(known, now_ns)
            known, _ = late_steering.hear(known, batch, unjudged, epoch_ns=now_ns)
            new = late_steering.at(known, now_ns)
            if hour >= SETTLING_DAYS * 24:
                taken += (old.p - new.p)[:FIRST, :FIRST]
        if hour >= SETTLING_DAYS * 24 and hour % 6 == 0:
            variances.append(late_steering.ahead(known, now_ns).p_xx)
    taken /= COUNTED_DAYS * DAY_S
    # in units of a nanosecond and of a nanosecond in a day, for the sake of digits
    unit = np.array([1e-9, *[1e-9 / DAY_S] * (FIRST - 1)])
    unit[delayed_filter.D] = 1e-9 / DAY_S**2
    values, vectors = np.linalg.eigh(taken / np.outer(unit, unit) * DAY_S)
    keep = values > 1e-9 * values.max()
    factors = (unit[:, None] * vectors[:, keep]) * np.sqrt(values[keep] / DAY_S)
    courses = [
        delayed_filter.course(0, round(k * DAY_NS / PER_DAY), ())[delayed_filter.X]
        for k in range(HORIZON_DAYS * PER_DAY + 1)
    ]
    return Jumps((np.array(courses) @ factors).T, float(np.mean(variances)))


def _as_they_are(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Clocks that are where they are foretold, and heard."""
    return np.zeros(n), np.full(n, HEARD)


def _published(link: Link, path: int, hour: int) -> list[LateValue]:
    """What comes at an hour; numbers are nothing to a covariance."""
    late_h = round(link.late_d * 24)
    if (hour - late_h) % (link.every_d * 24) or hour < late_h:
        return []
    out = []
    for back in range(link.every_d - link.step_d, -1, -link.step_d):
        of_day = (hour - late_h) // 24 - back
        if link is FOUNTAIN and of_day < 2:
            continue
        if of_day >= 0:
            epoch_ns = (1000 + of_day) * DAY_NS
            span_s = DAY_S if link is FOUNTAIN else 0.0
            out.append(LateValue(path=path, epoch_ns=epoch_ns, value=0.0, u=link.u_s, span_s=span_s))
    return out


def costs(d: np.ndarray, g: np.ndarray) -> tuple[float, float]:
    """Mean square of d - g (s^2), Allan variance over a day of g, for courses `(n_factors, n)` on the grid."""
    h = DAY_S / PER_DAY
    e = d - g
    # of lines between the points
    lag2 = float(np.sum(e[:, :-1] ** 2 + e[:, :-1] * e[:, 1:] + e[:, 1:] ** 2) * h / 3.0)
    padded = np.concatenate([np.zeros((len(g), 2 * PER_DAY)), g], axis=1)
    second = padded[:, 2 * PER_DAY :] - 2.0 * padded[:, PER_DAY:-PER_DAY] + padded[:, : -2 * PER_DAY]
    return lag2, float(np.sum(second**2) * h / (2.0 * DAY_S**2))


class Front:
    """Best responses to news, with rates that are held for `held` steps of the grid from the news on."""

    def __init__(self, news: Jumps, *, held: int) -> None:
        n = news.d.shape[1]
        steps = (n - 1) // held
        # course of UTC(k) for each rate, in s per (s per step)
        self.reach = np.minimum(np.maximum(np.arange(n)[:, None] - np.arange(steps)[None, :] * held, 0), held) / 1.0
        padded = np.vstack([np.zeros((2 * PER_DAY, steps)), self.reach])
        second = padded[2 * PER_DAY :] - 2.0 * padded[PER_DAY:-PER_DAY] + padded[: -2 * PER_DAY]
        self.lag, self.day, self.to, self.d = self.reach.T @ self.reach, second.T @ second, self.reach.T, news.d

    def point(self, weight: float) -> tuple[float, float]:
        """Costs of the best response for a weight of the second difference over a day."""
        rates = np.linalg.solve(self.lag + weight * self.day, self.to @ self.d.T)
        return costs(self.d, (self.reach @ rates).T)


def ours(news: Jumps, ratio: float, interval: int) -> tuple[float, float]:
    """Costs of the law with a time constant of `ratio` intervals of `interval` steps of the grid."""
    gain = lqg.gains(time_constant_s=ratio, interval_s=1.0)
    n = news.d.shape[1]
    g = np.zeros_like(news.d)
    held = np.zeros(len(news.d))
    for k in range(0, n - interval, interval):
        # rates at both ends of the interval, in s per interval, from the course itself
        later = min(k + interval, n - 2)
        rate = (news.d[:, k + 1] - news.d[:, k]) * interval
        then = (news.d[:, later + 1] - news.d[:, later]) * interval
        e, v = news.d[:, k] - g[:, k], 0.5 * (rate + then) - (then - rate) - held
        held = held + (then - rate) + gain.k_x * e + gain.k_y * v
        for j in range(1, interval + 1):
            g[:, k + j] = g[:, k] + held * j / interval
    last = (n - 1) // interval * interval
    g[:, last:] = g[:, last : last + 1]
    return costs(news.d, g)


def at_ratio(points: list[tuple[float, float]], news: Jumps, free: float, ratio: float) -> float:
    """rms (ns) at which a curve of costs meets a ratio of the Allan deviations, between two of its points."""
    known = sorted((sqrt(1.0 + day / free), sqrt(news.forecast2_s2 + lag2) * NS) for lag2, day in points)
    return float(np.interp(np.log(ratio), np.log([a for a, _ in known]), [b for _, b in known]))


def at_rms(points: list[tuple[float, float]], news: Jumps, free: float, rms_ns: float) -> float | None:
    """Ratio at which a curve meets an rms (ns); None: the forecast itself is worse."""
    known = sorted((sqrt(news.forecast2_s2 + lag2) * NS, sqrt(1.0 + day / free)) for lag2, day in points)
    if rms_ns <= known[0][0]:
        return None
    return float(np.exp(np.interp(rms_ns, [a for a, _ in known], np.log([b for _, b in known]))))


def measured(case: Case) -> dict[str, object]:
    """The figures of one laboratory."""
    news = jumps(case)
    free = case.noise.allan_variance(DAY_S)
    weights = np.logspace(-3, 7, 41) * PER_DAY**2
    curves = {
        "front": [Front(news, held=1).point(w) for w in weights],
        "daily": [Front(news, held=PER_DAY).point(w) for w in weights],
        "ours": [ours(news, r, PER_DAY // 4) for r in np.logspace(-0.6, 2.2, 41)],
        "ours_daily": [ours(news, r, PER_DAY) for r in np.logspace(-0.6, 1.6, 41)],
    }
    out: dict[str, object] = {
        "forecast_rms_ns": round(sqrt(news.forecast2_s2) * NS, 3),
        "adev_1d_free": float(f"{sqrt(free):.3g}"),
    }
    for name, points in curves.items():
        out[name] = {str(ratio): round(at_ratio(points, news, free, ratio), 3) for ratio in RATIOS}
        for says, rms_ns in (("1_ns", 1.0), ("1.06", 1.06 * sqrt(news.forecast2_s2) * NS)):
            at = at_rms(points, news, free, rms_ns)
            out[f"{name}_ratio_at_{says}"] = None if at is None else round(at, 2)
    return out


DRAWN = ("ensemble, rapid UTC", "ensemble, rapid UTC and GNSS daily", "maser with fountain, rapid UTC")
LEFT, TOP, WIDE, HIGH = 70.0, 50.0, 420.0, 300.0
RMS_FROM, RMS_TO = 0.25, 2.5


def picture(found: dict[str, dict[str, object]]) -> str:
    """Draw rms against the ratio of Allan deviations: unbroken the front, dashed ours."""

    def at(ratio: float, rms_ns: float) -> tuple[float, float]:
        x = np.log(ratio / RATIOS[0]) / np.log(RATIOS[-1] / RATIOS[0])
        y = np.log(RMS_TO / rms_ns) / np.log(RMS_TO / RMS_FROM)
        return round(LEFT + WIDE * float(x), 1), round(TOP + HIGH * float(y), 1)

    title = "UTC(k) near UTC, and gentle over a day: the front of all laws, and ours"
    drawing = Drawing(title, LEFT + WIDE + 20.0, TOP + HIGH + 110.0, (LEFT, TOP, LEFT + WIDE, TOP + HIGH))
    drawing.text((LEFT - 48.0, 28.0), title, size=13.0)
    for ratio in RATIOS:
        x, bottom = at(ratio, RMS_FROM)
        drawing.items.append(Line(((x, TOP), (x, bottom)), "fine"))
        if ratio != RATIOS[0]:
            drawing.text((x, bottom + 18.0), f"{ratio:g}", anchor="middle", size=12.0)
    for rms_ns in (0.25, 0.5, 1.0, 2.0):
        x, y = at(RATIOS[0], rms_ns)
        drawing.items.append(Line(((x, y), (LEFT + WIDE, y)), "fine"))
        drawing.text((x - 8.0, y + 4.0), f"{rms_ns:g}", anchor="end", size=12.0)
    drawing.text(
        (LEFT + WIDE / 2.0, TOP + HIGH + 38.0), "Allan deviation over a day / the free scale's", anchor="middle"
    )
    drawing.text((22.0, TOP + HIGH / 2.0), "UTC - UTC(k), rms, ns", anchor="middle", up=True)
    for number, name in enumerate(DRAWN):
        for key, dash in (("front", ()), ("ours", (6.0, 4.0))):
            points = tuple(at(float(ratio), rms_ns) for ratio, rms_ns in found[name][key].items())
            drawing.items.append(Line(points, series_colour(number), 2.0, dash, clipped=True))
        row = TOP + HIGH + 60.0 + 18.0 * number
        drawing.items.append(Mark((LEFT + 6.0, row - 4.0), number))
        drawing.text((LEFT + 20.0, row), name, size=12.0)
    drawing.text((LEFT + WIDE, TOP + HIGH + 60.0), "unbroken: the front; dashed: ours", anchor="end", size=12.0)
    return svg(drawing) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    if options.picture is not None:
        kept = json.loads((ROOT / "docs" / "measured" / "steering_front.json").read_text())
        options.picture.write_text(picture(kept["cases"]))
        return 0
    found = json.loads(options.out.read_text())["cases"] if options.out is not None and options.out.exists() else {}
    for name in options.cases:
        found[name] = measured(CASES[name])
        print(f"{name:45s} {json.dumps(found[name])}", file=sys.stderr, flush=True)
    if options.out is not None:
        found = {name: found[name] for name in CASES if name in found}
        options.out.write_text(json.dumps({"cases": found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
