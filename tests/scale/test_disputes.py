"""Doubts and disputes over the scale: what is only doubted keeps its part, and a dispute that ends leaves nothing."""

from dataclasses import replace

import numpy as np
import pytest
from tests.scale.ensembles import SMALL, START_NS, Rig, readings, rig, truth

from truechimer.scale import detection_dispute as disputes
from truechimer.scale.bands_state import WEIGHT_DC
from truechimer.scale.engines import _Judged, engine
from truechimer.scale.state import Membership

HOUR_S, DAY_S, NS = 3_600.0, 86_400.0, 1e-9
NOISE_S = 3e-12
IN, OUT_RATE, DISPUTED, DIVIDED, DOUBTED = (
    int(member)
    for member in (
        Membership.IN,
        Membership.OUT_RATE,
        Membership.DISPUTED,
        Membership.DIVIDED,
        Membership.DOUBTED,
    )
)
WARM = 60 * 24


def _begun(of: Rig) -> _Judged:
    made = engine("bands", of.clocks(), interval_s=HOUR_S)
    assert isinstance(made, _Judged)
    return made


def _run(made: _Judged, x: np.ndarray, read: np.ndarray, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Take hours in; return scale minus time (s) by epoch, and memberships."""
    u2 = np.full(read.shape, NOISE_S**2)
    u2[:, 0] = 0.0
    epochs = START_NS + np.arange(begin, end) * 3_600 * 10**9
    made_of = made.run(epochs, read[begin:end].copy(), u2[begin:end], np.ones(end - begin, np.bool_))
    apart = np.where(made_of.weight > 0.0, x[begin:end] - made_of.x_clock_minus_scale_s, 0.0)
    return (made_of.weight * apart).sum(axis=1) / made_of.weight.sum(axis=1), made_of.membership


def _scene(of: Rig, seed: int, days: float) -> np.ndarray:
    return truth(of, seed=seed, days=days, interval_s=HOUR_S)


def _force(made: _Judged, stage: int, sides: list[int]) -> None:
    """Put honest clocks into a dispute of this stage that began two days ago."""
    assert made.judged is not None
    of = made.judged
    n = len(of.x_s)
    side = np.array(sides + [0] * (n - len(sides)))
    status = of.status.copy()
    without = {
        disputes.FOLLOWED: side == disputes.SMALLER,
        disputes.LED: side == disputes.LARGER,
        disputes.IN_DOUBT: side != 0,
    }[stage]
    status[without] = DIVIDED if stage == disputes.IN_DOUBT else DISPUTED
    began = of.epoch_ns - 2 * 86_400 * 10**9
    at = of.x_s - of.y * 2.0 * DAY_S
    at[side == disputes.SMALLER] += 8e-10
    made.judged = replace(
        of,
        status=status,
        dispute_ns=np.array([began, stage, began, int(stage != disputes.FOLLOWED), 1, 1]),
        dispute_x=at,
        dispute_y=of.y.copy(),
        dispute_side=side,
    )


@pytest.mark.parametrize(
    ("of", "stage", "sides"),
    [
        (SMALL, disputes.FOLLOWED, [1, 2, 2]),
        (SMALL, disputes.LED, [1, 2, 2]),
        (rig(2, 5, 0), disputes.IN_DOUBT, [1, 2]),
    ],
    ids=["followed", "led", "divided"],
)
def test_an_honest_class_comes_through_a_dispute_and_the_scale_has_the_rate_it_had(
    of: Rig, stage: int, sides: list[int]
) -> None:
    x = _scene(of, 7, 125.0)
    read = readings(x, seed=7, noise_s=NOISE_S)
    undisturbed, disputed = _begun(of), _begun(of)
    for made in (undisturbed, disputed):
        _run(made, x, read, 0, WARM)
    held = WARM + 5 * 24
    for k in range(WARM, held):
        _force(disputed, stage, sides)
        _, member = _run(disputed, x, read, k, k + 1)
    assert np.isin(member, (DISPUTED, DIVIDED)).any()
    assert disputed.judged is not None
    disputed.judged = replace(
        disputed.judged,
        dispute_ns=np.zeros(6, np.int64),
        dispute_side=np.zeros_like(disputed.judged.dispute_side),
        status=np.where(disputed.judged.status == DISPUTED, IN, disputed.judged.status),
    )
    _run(undisturbed, x, read, WARM, held)
    as_it_was, _ = _run(undisturbed, x, read, held, len(x))
    after, member = _run(disputed, x, read, held, len(x))
    assert (member[10 * 24 :] == IN).all()
    moved = (after - as_it_was) / NS
    rate = (moved[-1] - moved[10 * 24]) * NS / ((len(moved) - 10 * 24) * HOUR_S)
    # five days of other weights: a maser wanders by 7e-16 in them, and the caesiums have a say over weeks
    assert abs(rate) < 1.5e-15, rate


@pytest.mark.parametrize("seed", [300, 303])
def test_an_excursion_that_is_over_leaves_the_scale_its_rate(seed: int) -> None:
    x = _scene(SMALL, seed, 110.0)
    bent = x.copy()
    t = np.clip(np.arange(len(x)) - WARM, 0, 6 * 24) / (6 * 24)
    bent[:, 0] += 2 * NS * (1.0 - np.cos(2.0 * np.pi * t))
    clean, _ = _run(_begun(SMALL), x, readings(x, seed=seed, noise_s=NOISE_S), 0, len(x))
    struck, member = _run(_begun(SMALL), bent, readings(bent, seed=seed, noise_s=NOISE_S), 0, len(x))
    assert (member[WARM:, 0] == DISPUTED).any()
    assert not np.isin(member[:, 1:], OUT_RATE).any()
    moved = struck - clean
    rate = (moved[-1] - moved[WARM + 11 * 24]) / ((len(x) - WARM - 11 * 24) * HOUR_S)
    assert abs(rate) < 3e-15, rate


def test_a_doubted_clock_carries_the_hours_and_not_the_months() -> None:
    of = rig(5, 6, 0)
    x = _scene(of, 11, 110.0)
    x[WARM + 200 :, 2] += 4e-15 * HOUR_S * np.arange(1, len(x) - WARM - 199)
    made = _begun(of)
    read = readings(x, seed=11, noise_s=NOISE_S)
    _, member = _run(made, x, read, 0, len(x))
    doubted = np.flatnonzero(member[:, 2] == DOUBTED)
    assert len(doubted)
    assert not (member == OUT_RATE).any()
    again = _begun(of)
    end = int(doubted[0]) + 30
    u2 = np.full((end, 11), NOISE_S**2)
    weight = again.run(START_NS + np.arange(end) * 3_600 * 10**9, read[:end].copy(), u2, np.ones(end, np.bool_)).weight
    of_months = again.learner.clock_f[:, WEIGHT_DC]
    peers = [0, 1, 3, 4]
    assert weight[-1, 2] > 0.1 * weight[-1, peers].mean()
    assert of_months[2] < 0.2 * of_months[peers].mean()
    # and its whole weight again after good conduct
    assert member[-1, 2] == IN


@pytest.mark.acceptance
@pytest.mark.parametrize("of", [SMALL, rig(5, 6, 0), rig(0, 5, 0)], ids=["3 and 5", "5 and 6", "5 caesiums"])
def test_clean_clocks_are_doubted_now_and_then_and_never_put_out(of: Rig) -> None:
    years, days = 0.0, 500.0
    for seed in range(round(310.0 * 365.25 / days / len(of.kinds))):
        x = _scene(of, seed + 5_000, days)
        made = _begun(of)
        _, member = _run(made, x, readings(x, seed=seed, noise_s=NOISE_S), 0, len(x))
        assert not np.isin(member, (OUT_RATE, DIVIDED)).any(), seed
        assert made.judged is not None
        assert made.judged.divided_ns == 0, seed
        years += len(of.kinds) * days / 365.25
    assert years > 300.0
