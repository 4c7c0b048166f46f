"""Why the flicker of the simulator is a ladder of three poles per decade, where it ends, and what a step costs.

Run: `PYTHONPATH=src python design/sim_flicker.py`. It prints (1) the ripple of the spectrum for several spacings, (2)
the flatness of ADEV with and without the two ends that stand for the missing poles, (3) TDEV of flicker PM for
several weights of its fastest pole, (4) the cost of a step of 13 clocks. Nothing of the package depends on it.
"""

import timeit

import numpy as np

from truechimer.clocks.clock import NoiseModel
from truechimer.sim import OscillatorBank
from truechimer.sim import pole_ladder as ladder


def ripple() -> None:
    print("poles per decade -> departure of S(f) from 1/f inside a long ladder (theory: 4 exp(-pi^2 / ln-spacing))")
    for per_decade in (1, 2, 3, 4):
        spacing = np.log(10.0) / per_decade
        rates = 10.0 ** (np.arange(-20 * per_decade, 20 * per_decade) / per_decade)
        w = np.geomspace(1.0, 10.0, 500)
        level = np.array([np.sum(rates / (rates**2 + w_k**2)) * w_k for w_k in w]) * spacing * 2.0 / np.pi
        print(f"  {per_decade}: {np.max(np.abs(level - 1.0)):.1e} ({4 * np.exp(-(np.pi**2) / spacing):.1e})")


def flatness() -> None:
    print("tau (s): ADEV of a floor of 1, with both ends / without them")
    for exponent in range(-1, 9):
        tau = np.longdouble(10.0) ** exponent
        total = np.longdouble(0.0)
        for rate in ladder.RATES_PER_S:
            total += ladder.FLICKER_FM_VARIANCE * (4 * _structure(rate, tau) - _structure(rate, 2 * tau))
        ends = 2 * ladder.FAST_END_WHITE_FM * tau + ladder.SLOW_END_RANDOM_WALK_FM * 2 / 3 * tau**3
        with_ends, without = (np.sqrt(float(v / (2 * tau**2))) for v in (total + ends, total))
        print(f"  1e{exponent:+d}: {with_ends:.5f} / {without:.5f}")


def _structure(rate: float, t: np.longdouble) -> np.longdouble:
    a = np.longdouble(rate) * t
    exact = a * a / 2 - a**3 / 6 + a**4 / 24 - a**5 / 120 if a < 1e-3 else a - 1 + np.exp(-a)
    return 2 * exact / np.longdouble(rate) ** 2


def flicker_pm_band() -> None:
    print("weight of the fastest pole of x -> TDEV at 1, 2, 3, 4, 8, 64 s for phase read each second, floor 1")
    rates = np.array(ladder.RATES_PER_S[ladder.FIRST_PM_POLE :])
    plain = ladder.LOG_SPACING * 2.0 / np.log(256.0 / 27.0)
    for weight in (1.0, 1.5, 1.6, 1.7, 1.8, 2.0):
        weights = np.ones(len(rates))
        weights[0] = weight
        row = []
        for m in (1, 2, 3, 4, 8, 64):
            lag = np.arange(-(m - 1), m)
            second = sum(
                factor * _covariance(rates, weights * plain, lag + shift)
                for factor, shift in ((6, 0), (-4, m), (-4, -m), (1, 2 * m), (1, -2 * m))
            )
            row.append(np.sqrt(np.sum((m - np.abs(lag)) / m**2 * second) / 6.0))
        print(f"  {weight}: " + " ".join(f"{value:.4f}" for value in row))


def _covariance(rates: np.ndarray, variances: np.ndarray, lag: np.ndarray) -> np.ndarray:
    return np.sum(variances[:, None] * np.exp(-np.outer(rates, np.abs(lag))), axis=0)


def cost() -> None:
    everything = NoiseModel(
        white_pm_s=1e-11, flicker_pm_s=1e-12, white_fm_1s=1e-13, flicker_fm=1e-15, random_walk_fm_1s=1e-18
    )
    for name, noise in (("white and random-walk FM", NoiseModel(white_fm_1s=1e-13)), ("all five noises", everything)):
        bank = OscillatorBank([noise] * 13, np.random.default_rng(1))
        even = min(timeit.repeat(lambda bank=bank: bank.step(1.0), number=300, repeat=9)) / 300
        steps = iter(np.linspace(1.0, 2.0, 3001).tolist())
        uneven = min(timeit.repeat(lambda bank=bank, steps=steps: bank.step(next(steps)), number=300, repeat=9)) / 300
        print(f"  13 clocks, {name}: {1e6 * even:.0f} us a step, {1e6 * uneven:.0f} us where no two steps are equal")


if __name__ == "__main__":
    ripple()
    flatness()
    flicker_pm_band()
    cost()
