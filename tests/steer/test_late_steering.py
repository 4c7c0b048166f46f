"""Steering by values that are published days later, on simulated scales whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from truechimer.errors import Misuse
from truechimer.quorum import envelope
from truechimer.quorum.envelope import Applied, SteeringLimits
from truechimer.quorum.verified import Refused, Verified
from truechimer.quorum.verified import _verified as verified
from truechimer.steer import delayed_data, late_steering
from truechimer.steer.delayed_data import LateValue
from truechimer.steer.delayed_filter import DAY_S, FreeNoise, Path, PathKind
from truechimer.steer.late_steering import LateParameters, LateSteering
from truechimer.steer.lqg import Aim
from truechimer.steer.steering_order import Coordination

DAY_NS = 86_400 * 10**9
STEP = 4
NOISE = FreeNoise(q1=1.44e-26, q2=4.6e-36, floor2=9e-32, q3=1e-50, y_spread=1e-13, drift_spread=3e-16 / DAY_S)
LIMITS = SteeringLimits(
    per_change=2.3e-14,
    per_day_s=1e-7,
    total_s=1e-4,
    valid_from_ns=-1,
    valid_until_ns=10**19,
    sequence=1,
    coordination_start=True,
)
PATHS = (Path(name="UTCr"), Path(name="fountain", kind=PathKind.RATE, u_common=2e-16))


def _maser(seed: int, days: int) -> np.ndarray:
    """UTC minus a maser, every quarter of a day: white and random-walk FM, a drift, an offset."""
    rng = np.random.default_rng(seed)
    h, n = DAY_S / STEP, days * STEP
    y = rng.normal() * 3e-14 - 1.5e-16 / DAY_S * h * np.arange(n) + np.cumsum(rng.normal(size=n)) * np.sqrt(4.6e-36 * h)
    return np.concatenate([[0.0], np.cumsum(y * h + rng.normal(size=n) * np.sqrt(1.6e-26 * h))]) + 2e-8


def _published(x: np.ndarray, seed: int, *, fountain: bool) -> dict[int, list[LateValue]]:
    """By quarter of a day of publication: a week of days each week, the last three days old; a rate every day."""
    rng = np.random.default_rng([seed, 1])
    out: dict[int, list[LateValue]] = {}
    for day in range(10, len(x) // STEP, 7):
        for of in range(day - 9, day - 2):
            value = float(x[of * STEP]) + rng.normal() * 5e-10
            out.setdefault(day * STEP, []).append(LateValue(path=0, epoch_ns=of * DAY_NS, value=value, u=5e-10))
    for day in range(2, len(x) // STEP) if fountain else ():
        y = float(x[day * STEP] - x[day * STEP - STEP]) / DAY_S + 1e-16 + rng.normal() * 8e-16
        rate = LateValue(path=1, epoch_ns=day * DAY_NS, value=y, u=8e-16, span_s=DAY_S)
        out.setdefault(day * STEP + 1, []).append(rate)
    return out


def _run(
    seed: int,
    *,
    days: int = 120,
    fountain: bool = False,
    parameters: LateParameters | None = None,
    limits: SteeringLimits = LIMITS,
) -> tuple[np.ndarray, np.ndarray, list[float], LateSteering]:
    """UTC minus UTC(k) and UTC minus its forecast, the rates, and what is known at the end."""
    parameters = parameters if parameters is not None else LateParameters()
    x = _maser(seed, days)
    published = _published(x, seed, fountain=fountain)
    known = late_steering.begin(NOISE, PATHS, parameters)
    coordination, applied, e, forecast, rates = None, None, [], [], []
    for k in range(len(x)):
        now_ns = k * DAY_NS // STEP
        if k in published:
            known, _ = late_steering.hear(known, tuple(published[k]), parameters, epoch_ns=now_ns)
        if coordination is None or applied is None:
            start = late_steering.may_start(known, parameters, epoch_ns=now_ns)
            if start is None:
                continue
            coordination = Coordination(now_ns, start.x_s, start.y)
            applied = Applied(start.y, now_ns, start.y)
        else:
            applied = applied.advanced(now_ns)
            known, order = late_steering.decide(known, coordination, parameters, limits, applied, epoch_ns=now_ns)
            admitted = envelope.admit(order, _verified_limits(limits), applied)
            assert not isinstance(admitted, Refused), admitted
            before = coordination.at(now_ns)
            coordination = coordination.steered(now_ns, order.y_steer)
            assert coordination.at(now_ns) == before
            applied = Applied(order.y_steer, now_ns, applied.reference_y, applied.total_s)
        e.append(float(x[k]) - coordination.at(now_ns))
        found = delayed_data.ahead(known.history, now_ns)
        assert found is not None
        forecast.append(float(x[k]) - found.x_s)
        rates.append(coordination.y_steer)
    return np.array(e), np.array(forecast), rates, known


def _verified_limits(limits: SteeringLimits) -> Verified[SteeringLimits]:
    return verified(limits, ("tests",))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values * values)))


def test_utc_k_is_as_near_to_utc_as_the_forecast_allows() -> None:
    squares = [[_rms(each[60 * STEP :]) ** 2 for each in _run(seed)[:2]] for seed in range(4)]
    ours, limit = (float(np.sqrt(np.mean(column))) for column in zip(*squares, strict=True))
    assert limit < 2.0e-9
    assert ours < 1.12 * limit


def test_a_fountain_that_speaks_of_the_rate_brings_utc_k_nearer() -> None:
    alone, helped = (_rms(_run(7, fountain=fountain)[0][60 * STEP :]) for fountain in (False, True))
    assert helped < 0.7 * alone


def test_a_limit_of_the_days_stability_makes_steering_gentle() -> None:
    gentle = LateParameters(aim=Aim(day_stability=1.15))
    changes = [
        np.sqrt(np.mean(np.diff(_run(3, parameters=p)[2][60 * STEP :]) ** 2)) for p in (LateParameters(), gentle)
    ]
    assert changes[1] < 0.3 * changes[0]


def test_a_stated_time_constant_is_never_chosen_anew() -> None:
    known = _run(2, days=60, parameters=LateParameters(time_constant_s=12 * DAY_S))[3]
    assert known.time_constant_s == pytest.approx(12 * DAY_S, rel=0.02)
    assert known.chosen_ns == 0


def test_orders_stay_inside_a_narrow_envelope_and_the_last_of_them_still_leads_to_utc() -> None:
    narrow = replace(LIMITS, per_change=2e-16, per_day_s=2e-9)
    e, forecast, rates, _ = _run(5, limits=narrow)
    assert max(abs(np.diff(rates))) <= 2e-16
    assert _rms(e[80 * STEP :]) < 4.0 * _rms(forecast[80 * STEP :])


def test_the_same_publications_give_the_same_orders_bit_for_bit() -> None:
    assert _run(4, days=50)[2] == _run(4, days=50)[2]


def test_nothing_is_decided_before_a_value_and_no_law_has_an_interval_of_nothing() -> None:
    known = late_steering.begin(NOISE, PATHS, LateParameters())
    assert late_steering.may_start(known, LateParameters(), epoch_ns=DAY_NS) is None
    with pytest.raises(Misuse):
        late_steering.decide(
            known, Coordination(0, 0.0, 0.0), LateParameters(), LIMITS, Applied(0.0, 0, 0.0), epoch_ns=DAY_NS
        )
    with pytest.raises(Misuse):
        LateParameters(interval_s=0.0)
    with pytest.raises(Misuse):
        LateParameters(time_constant_s=-1.0)
