"""Smears: each one in use is recognised, and sources that are honest, or wrong in other ways, are not called so."""

import random

import pytest

from truechimer.watch.smear import HOUR_S, SHAPES, OffsetSample, SmearShape, smear_of

HALF_S = 0.004


def samples(
    shape: SmearShape | None, *, step_s: int = 1, until_s: float, seed: int = 1, constant_s: float = 0.0
) -> list[OffsetSample]:
    """Return a source's samples each four minutes from a day before the leap to `until_s` after it."""
    chance = random.Random(seed)
    found, at = [], -25 * HOUR_S
    while at <= until_s:
        x = constant_s + chance.uniform(-HALF_S, HALF_S)
        if shape is not None:
            x += shape.x_source_minus_utc_s(at, step_s)
        found.append(OffsetSample(at, x, HALF_S))
        at += 240.0
    return found


@pytest.mark.parametrize("step_s", [1, -1])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_each_smear_in_use_is_named_once_it_is_over(shape: SmearShape, step_s: int) -> None:
    assert smear_of(samples(shape, step_s=step_s, until_s=25 * HOUR_S), step_s=step_s) == shape


@pytest.mark.parametrize("shape", SHAPES[:2], ids=lambda shape: shape.name)
def test_a_linear_smear_is_seen_long_before_the_leap(shape: SmearShape) -> None:
    assert smear_of(samples(shape, until_s=shape.begins_s + 1.5 * HOUR_S), step_s=1) is not None


@pytest.mark.parametrize("until_h", [-20, -5, 0, 5, 25])
def test_an_honest_source_never_smears(until_h: float) -> None:
    for seed in range(20):
        assert smear_of(samples(None, until_s=until_h * HOUR_S, seed=seed), step_s=1) is None


@pytest.mark.parametrize("constant_s", [0.02, -0.3, 0.9, 30.0])
@pytest.mark.parametrize("until_h", [-10.0, 0.5, 25.0])
def test_a_source_that_is_only_wrong_does_not_smear(constant_s: float, until_h: float) -> None:
    assert smear_of(samples(None, until_s=until_h * HOUR_S, constant_s=constant_s), step_s=1) is None


def test_a_source_that_misses_the_leap_does_not_smear() -> None:
    late = [
        OffsetSample(one.after_leap_s, one.x_source_minus_utck_s + (one.after_leap_s >= 0), HALF_S)
        for one in samples(None, until_s=25 * HOUR_S)
    ]
    assert smear_of(late, step_s=1) is None


def test_halfway_through_a_centred_smear_a_server_is_half_a_second_behind_and_then_ahead() -> None:
    noon = SHAPES[0]
    assert noon.x_source_minus_utc_s(-1e-6, 1) == pytest.approx(-0.5)
    assert noon.x_source_minus_utc_s(0.0, 1) == pytest.approx(0.5)
    assert noon.x_source_minus_utc_s(0.0, -1) == pytest.approx(-0.5)
    assert noon.x_source_minus_utc_s(13 * HOUR_S, 1) == noon.x_source_minus_utc_s(-13 * HOUR_S, 1) == 0.0
