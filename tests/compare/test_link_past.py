"""Link past: who leaves his own past alone is named, however slowly; who wanders as links do, or with all, is not."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from truechimer.compare import link_past
from truechimer.compare.link_past import NOTHING, LinkPast, LinkValue

DAY_S, STEP_S, NS = 86_400.0, 1_200.0, 10**9
BEGIN_D = 12.0
SIGMAS_S = (1.3e-8, 4.2e-9, 1.3e-8, 8.5e-10)
"""Of a mean over 20 min: 18, 6 and 1.2 ns for a point each 10 min."""
LABORATORY = (0, 0, 1, 1)
Fault = Callable[[int, float], float]
"""By link and days since the beginning of the fault (negative before): what is added, s."""


@dataclass
class Told:
    """Who was out, and when first (days since the beginning of the fault); who is out at the end."""

    first_d: dict[int, float]
    at_end: tuple[bool, ...]
    pasts: list[LinkPast]


def run(seed: int, days: float, fault: Fault, *, links: tuple[int, ...] = (0, 1, 2, 3), gap_of: int = -1) -> Told:
    """Links by GNSS, two-way and fibre to two laboratories that wander by 2 ns (20 d), against a good scale."""
    rng = np.random.default_rng(seed)
    n = int(days * DAY_S / STEP_S)
    keep = float(np.exp(-STEP_S / (20.0 * DAY_S)))
    white = rng.normal(0.0, 1.0, (n, 7))
    wander = rng.normal(0.0, 2e-9, 2)
    pasts = [NOTHING] * len(links)
    accused: tuple[bool, ...] = (False,) * len(links)
    out, first = accused, {}
    scale = 0.0
    for i in range(n):
        wander = keep * wander + np.sqrt(1.0 - keep * keep) * 2e-9 * white[i, :2]
        scale += 5e-14 * np.sqrt(STEP_S) * white[i, 2]
        at_ns, since_d = 10**18 + int(i * STEP_S * NS), i * STEP_S / DAY_S - BEGIN_D
        for place, j in enumerate(links):
            if j == gap_of and since_d > 0.0:
                continue
            x_s = wander[LABORATORY[j]] + SIGMAS_S[j] * white[i, 3 + j] + scale + fault(j, since_d)
            value = LinkValue(at_ns, float(x_s), SIGMAS_S[j])
            pasts[place] = link_past.heard(pasts[place], value, accused=accused[place])
        accused, out = link_past.judged(pasts, epoch_ns=at_ns)
        pasts = [link_past.marked(one, out=gone) for one, gone in zip(pasts, out, strict=True)]
        for place, gone in enumerate(out):
            if gone:
                first.setdefault(links[place], since_d)
    return Told(first, out, pasts)


def nothing(_link: int, _days: float) -> float:
    return 0.0


def of(link: int, shape: Callable[[float], float]) -> Fault:
    return lambda j, days: shape(days) if j == link and days > 0.0 else 0.0


@pytest.mark.parametrize("seed", range(3))
def test_links_that_wander_as_links_do_are_never_named(seed: int) -> None:
    assert run(seed, 25.0, nothing).first_d == {}


@pytest.mark.parametrize("link", [0, 2])
def test_a_drag_of_a_nanosecond_an_hour_is_named_within_thirty_hours_and_stays_out(link: int) -> None:
    told = run(7 + link, 17.0, of(link, lambda days: min(2.4e-8 * days, 1e-7)))
    assert set(told.first_d) == {link}
    assert told.first_d[link] <= 30.0 / 24.0
    assert told.at_end[link]


def test_an_asymmetry_that_grows_within_two_hours_is_named_within_two() -> None:
    told = run(3, 14.0, of(1, lambda days: min(1.2e-6 * days, 1e-7)))
    assert set(told.first_d) == {1}
    assert told.first_d[1] <= 2.0 / 24.0
    assert told.at_end[1]


def test_a_step_that_ends_is_over_when_the_means_are_back() -> None:
    told = run(4, 16.0, of(0, lambda days: 1e-6 if days < 0.25 else 0.0))
    assert set(told.first_d) == {0}
    assert not told.at_end[0]


def test_where_all_links_go_together_the_scale_went_and_nobody_is_named() -> None:
    assert run(5, 15.0, lambda _, days: 2.4e-8 * days if days > 0.0 else 0.0).first_d == {}


def test_one_link_alone_is_never_named() -> None:
    assert run(6, 14.0, of(1, lambda _: 1e-6), links=(1,)).first_d == {}


def test_of_two_links_the_one_that_leaves_its_past_is_named() -> None:
    assert set(run(6, 14.0, of(1, lambda _: 1e-7), links=(1, 3)).first_d) == {1}


def test_a_link_that_fell_silent_says_nothing_of_the_others() -> None:
    # with the fibre silent, two GNSS links are left to say who is right
    told = run(8, 14.5, of(1, lambda _: 2e-7), gap_of=3)
    assert set(told.first_d) == {1}
    assert run(8, 14.5, of(1, lambda days: 1e-6 if days > 1.1 else 0.0), links=(1, 3), gap_of=3).first_d == {}


def test_a_link_whose_delay_an_order_changed_begins_anew() -> None:
    (past,) = run(9, 3.0, nothing, links=(1,)).pasts
    value = LinkValue(past.last_ns + 1_200 * NS, past.level_s + 5e-8, 6e-9, delay_s=5e-8)
    after = link_past.heard(past, value, accused=False)
    assert (after.heard_s, after.level_s, after.delay_s) == (0.0, value.x_s, 5e-8)


def test_an_older_value_says_nothing_new() -> None:
    (past,) = run(9, 3.0, nothing, links=(1,)).pasts
    assert link_past.heard(past, LinkValue(past.last_ns, 1.0, 1e-9), accused=False) is past
