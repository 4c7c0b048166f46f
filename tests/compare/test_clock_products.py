"""Clock files as an ensemble: boundaries, changes of the reference, order of files, epochs of satellites alone."""

from dataclasses import replace

import numpy as np
import pytest
from tests.compare.clock_network import DAY_S, START_TAI_NS, made

from truechimer.clocks.clock import ClockKind
from truechimer.compare import clock_products, day_boundaries
from truechimer.compare.clock_products import ClockProductsRejected, gather
from truechimer.formats.finding import Severity

MASERS = [1e-13] * 6
CRYSTALS = [3e-11] * 3


@pytest.mark.parametrize("seed", range(1, 4))
def test_jumps_between_days_are_taken_out_to_within_their_stated_uncertainty(seed: int) -> None:
    network = made(MASERS + CRYSTALS, days=3, seed=seed)
    products, findings = gather(network.files)
    assert findings == []
    boundaries = products.joined.boundaries
    assert [each.epoch_tai_ns for each in boundaries] == [START_TAI_NS + k * DAY_S * 10**9 for k in (1, 2)]
    index = [products.table.names.index(name) for name in network.names]
    absorbed = np.array([each.absorbed_s[index] for each in boundaries])[:, : len(MASERS)]
    u = np.array([each.u_s[index] for each in boundaries])[:, : len(MASERS)]
    error = absorbed - network.jump_s[:, : len(MASERS)]
    # what all have in common is the datum's
    error -= np.median(error, axis=1, keepdims=True)
    assert np.sqrt(np.mean(network.jump_s**2)) > 0.2e-9
    assert np.sqrt(np.mean(error**2)) < 0.05e-9
    assert np.mean(np.abs(error) < 3.0 * u) > 0.9


def test_a_clock_noisier_than_its_jumps_is_left_as_it_is() -> None:
    network = made(MASERS + CRYSTALS, days=3, seed=2)
    joined = gather(network.files)[0].joined
    crystals = slice(len(MASERS), None)
    kept = np.array([np.abs(each.absorbed_s[crystals]) / np.abs(each.jump_s[crystals]) for each in joined.boundaries])
    assert kept.max() < 0.6
    assert (joined.boundaries[0].u_s[crystals] > 0.1e-9).all()


def test_without_jumps_nothing_is_taken_out() -> None:
    network = made(MASERS, days=3, seed=3, offset_s=0.0)
    joined = gather(network.files)[0].joined
    assert joined.spread_s.max() < 0.03e-9
    assert max(float(np.abs(each.absorbed_s).max()) for each in joined.boundaries) < 0.06e-9


def test_a_step_of_a_microsecond_at_midnight_is_the_clocks_own() -> None:
    network = made(MASERS, days=3, seed=4)
    name, value = network.files[2]
    stepped = value.values.copy()
    stepped[value.clock == 3, 0] += 1e-6
    files = [*network.files[:2], (name, replace(value, values=stepped))]
    joined = gather(files)[0].joined
    assert joined.boundaries[1].own_step.tolist() == [k == 3 for k in range(6)]
    assert not joined.boundaries[0].own_step.any()
    apart = joined.x_s[-1] - gather(network.files)[0].joined.x_s[-1]
    assert apart[3] - np.median(apart) == pytest.approx(1e-6, abs=2e-9)


def differences(products: clock_products.Products) -> np.ndarray:
    order = np.argsort(products.table.names)
    x = products.joined.x_s[:, order]
    return np.asarray(x - x[:, :1])


def test_the_ensemble_does_not_depend_on_which_clock_is_the_reference() -> None:
    plain = gather(made(MASERS + CRYSTALS, days=3, seed=5).files)[0]
    for references in ((7,), (0, 3), (8, 1, 4)):
        changed = gather(made(MASERS + CRYSTALS, days=3, seed=5, references=references).files)[0]
        # twelve digits of files against another clock: 1e-17 s and less
        assert np.abs(differences(changed) - differences(plain)).max() < 1e-14
        assert np.array_equal(changed.hub, plain.hub)


def test_files_come_in_any_order_and_a_day_is_taken_once() -> None:
    network = made(MASERS, days=3, seed=6)
    forward, _ = gather(network.files)
    backward, findings = gather([*network.files[::-1], ("again.clk", network.files[1][1])])
    assert [finding.rule for finding in findings] == ["same-time"]
    assert np.array_equal(forward.joined.x_s, backward.joined.x_s)


def test_an_epoch_that_two_days_share_belongs_to_the_later() -> None:
    network = made(MASERS, days=2, seed=7)
    name, value = network.files[0]
    last = value.epoch_tai_ns == value.epoch_tai_ns[-1]
    longer = replace(
        value,
        kind=np.concatenate([value.kind, value.kind[last]]),
        clock=np.concatenate([value.clock, value.clock[last]]),
        epoch_tai_ns=np.concatenate([value.epoch_tai_ns, value.epoch_tai_ns[last] + 600 * 10**9]),
        values=np.concatenate([value.values, value.values[last]]),
        line=np.concatenate([value.line, value.line[last]]),
    )
    products, findings = gather([(name, longer), network.files[1]])
    assert findings == []
    assert np.array_equal(products.table.epoch_tai_ns, gather(network.files)[0].table.epoch_tai_ns)


def test_epochs_of_satellites_alone_are_passed_over_and_said() -> None:
    network = made(MASERS + CRYSTALS, days=1, step_s=60, seed=8)
    name, value = network.files[0]
    minute = (value.epoch_tai_ns - START_TAI_NS) // (60 * 10**9)
    keep = (value.clock < 2) | (minute % 5 == 0)
    thin = replace(
        value,
        kind=np.where(value.clock < 2, 1, 0).astype(np.int8)[keep],
        clock=value.clock[keep],
        epoch_tai_ns=value.epoch_tai_ns[keep],
        values=value.values[keep],
        line=value.line[keep],
    )
    products, findings = gather([(name, thin)])
    assert [(finding.rule, finding.severity) for finding in findings] == [("few-clocks-at-epoch", Severity.WARNING)]
    assert len(products.table.epoch_tai_ns) == 288
    every_half_hour, _ = gather([(name, thin)], interval_s=1_800.0)
    assert len(every_half_hour.table.epoch_tai_ns) == 48


def test_formal_sigmas_are_scaled_to_what_the_quietest_clocks_show() -> None:
    for stated in (2e-12, 20e-12, 100e-12):
        products, _ = gather(made(MASERS + CRYSTALS, days=2, seed=9, stated_u_s=stated).files)
        assert products.u_factor * stated == pytest.approx(20e-12, rel=0.3)


def test_kinds_are_guessed_from_noise_over_an_hour() -> None:
    network = made([1e-13] * 5 + [3e-12] * 2 + [3e-10] * 2, days=1, seed=10)
    products, _ = gather(network.files)
    kinds = {clock.name: clock.kind for clock in clock_products.clocks_of(products)}
    assert [kinds[name] for name in network.names] == (
        [ClockKind.MASER] * 5 + [ClockKind.RUBIDIUM] * 2 + [ClockKind.OSCILLATOR] * 2
    )


def test_rows_are_differences_that_add_up() -> None:
    network = made(MASERS, days=1, seed=11)
    products, _ = gather(network.files, only=network.names[:4])
    rows = list(products.columns())
    assert len(rows) == 3 * 144
    first = {row.a: row.x_a_minus_b_s for row in rows[:3]}
    hub = rows[0].b
    truth = dict(zip(network.names, (network.x_s[0] + network.offset_s[0]).tolist(), strict=True))
    for name, x in first.items():
        assert x == pytest.approx(truth[name] - truth[hub], abs=0.2e-9)


def test_more_than_a_machine_should_hold_is_refused_with_what_to_do() -> None:
    name, value = made(MASERS, days=1, seed=14).files[0]
    n = 20_000
    many = replace(
        value,
        names=tuple(f"X{k}" for k in range(n)),
        kind=np.zeros(n, np.int8),
        clock=np.arange(n, dtype=np.int32),
        epoch_tai_ns=START_TAI_NS + np.arange(n) * 10**9,
        values=np.zeros((n, 6)),
        line=np.arange(n),
    )
    with pytest.raises(ClockProductsRejected, match="--interval"):
        gather([(name, many)])
    few, _ = gather([(name, value)], interval_s=3_600.0)
    assert len(few.table.epoch_tai_ns) == 24


def test_files_without_two_clocks_are_refused() -> None:
    network = made(MASERS, days=1, seed=12)
    with pytest.raises(ClockProductsRejected):
        gather(network.files, only=["N001"])
    with pytest.raises(ClockProductsRejected):
        gather([])


def test_a_clock_absent_for_a_day_comes_back_without_an_estimate_of_its_jump() -> None:
    x = np.cumsum(np.random.default_rng(13).normal(size=(600, 5)) * 1e-12, axis=0)
    x[200:400, 2] = np.nan
    solution = np.repeat([0, 1, 2], 200)
    joined = day_boundaries.join(np.arange(600) * 300 * 10**9, x, np.full(x.shape, 1e-11), solution)
    assert np.isnan(joined.boundaries[0].absorbed_s[2])
    assert np.isfinite(joined.x_s[400:, 2]).all()
    assert joined.u_s[400, 2] >= 1e-11
