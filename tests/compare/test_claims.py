"""Claims: age widens them, silence makes them stale, lies quarantine them, agreement over time lets them out."""

from dataclasses import replace

import pytest
from tests.compare.networks import EPOCH_NS, NS, register

from truechimer.compare.claims import HALF_WIDTH_SIGMAS, SILENT, STALE_INTERVALS, Claim, candidates, heard, judged
from truechimer.compare.selection import Candidate, SelectionState, Verdict, select

REG = register("A", "UTC.P-A", "UTC.Q-A", "UTC.S-A", operators={"UTC.P": "p", "UTC.Q": "q", "UTC.S": "s"})
INTERVAL_S = 600.0
REQUALIFY_S = 3_600.0


def at(k: int) -> int:
    return EPOCH_NS + round(k * INTERVAL_S) * NS


def told(*values: float | None, k: int = 0, before: tuple[Claim, ...] = (SILENT,) * 3) -> tuple[Claim, ...]:
    """The claims after each source has said its value (None: silent) at epoch k."""
    return tuple(
        claim if x is None else heard(claim, epoch_ns=at(k), x_s=x, u_s=1e-9, limit_s=1e-9)
        for claim, x in zip(before, values, strict=True)
    )


def offered(claims: tuple[Claim, ...], k: int, *, u_y: float = 0.0, y: float = 0.0) -> list[Candidate]:
    return candidates(claims, REG, epoch_ns=at(k), y_utc_minus_scale=y, u_y=u_y, interval_s=INTERVAL_S)


def test_the_interval_of_a_source_is_learned_from_its_own_values() -> None:
    claim = SILENT
    for k in range(60):
        claim = heard(claim, epoch_ns=at(3 * k), x_s=0.0, u_s=1e-9, limit_s=0.0)
    assert claim.interval_s == pytest.approx(1_800.0)
    assert claim.n == 60
    assert heard(SILENT, epoch_ns=at(5), x_s=0.0, u_s=1e-9, limit_s=0.0).interval_s == 0.0


def test_a_fresh_claim_is_taken_as_it_is() -> None:
    (p, _, _) = offered(told(1e-9, 2e-9, 3e-9), 0, u_y=1e-12)
    assert (p.reference, p.operator, p.x_utc_minus_scale_s, p.u_s, p.limit_s) == (0, "p", 1e-9, 1e-9, 1e-9)
    assert p.half_width_s == HALF_WIDTH_SIGMAS * 1e-9 + 1e-9


def test_age_carries_a_claim_on_and_widens_it() -> None:
    claims = told(0.0, 0.0, 0.0)
    widths = []
    for k in range(5):
        p = offered(claims, k, u_y=1e-12, y=2e-13)[0]
        assert p.x_utc_minus_scale_s == pytest.approx(2e-13 * k * INTERVAL_S)
        assert p.u_s == pytest.approx((1e-18 + (1e-12 * k * INTERVAL_S) ** 2) ** 0.5)
        widths.append(p.half_width_s)
    assert widths == sorted(set(widths))


def test_a_source_that_never_spoke_or_fell_silent_is_not_offered() -> None:
    claims = told(0.0, None, 0.0)
    assert [c.reference for c in offered(claims, 0)] == [0, 2]
    assert len(offered(claims, int(STALE_INTERVALS))) == 2
    assert offered(claims, int(STALE_INTERVALS) + 1) == []
    slow = told(0.0, 0.0, 0.0, k=100, before=told(0.0, 0.0, 0.0, k=0))
    assert len(offered(slow, 800)) == 3, "a source that speaks once a while is silent by its own measure only"


class Votes:
    """Vote after vote, as the line does it."""

    def __init__(self) -> None:
        self.claims, self.k = (SILENT,) * 3, 0

    def vote(self, *values: float | None) -> list[Verdict]:
        self.k += 1
        self.claims = told(*values, k=self.k, before=self.claims)
        found = offered(self.claims, self.k)
        chosen = select([c for c in found if not self.claims[c.reference].quarantined_ns])
        self.claims = judged(self.claims, found, chosen, epoch_ns=at(self.k), requalify_s=REQUALIFY_S)
        return [claim.verdict for claim in self.claims]


def test_a_source_is_selected_outvoted_quarantined_and_requalified() -> None:
    votes = Votes()
    assert votes.vote(0.0, 1e-9, None) == [Verdict.SELECTED, Verdict.SELECTED, Verdict.NEVER]
    assert votes.vote(0.0, 1e-9, 2e-9) == [Verdict.SELECTED] * 3
    assert votes.vote(0.0, 1e-9, 1e-6) == [Verdict.SELECTED, Verdict.SELECTED, Verdict.OUTVOTED]
    assert votes.vote(0.0, 1e-9, 1e-6)[2] is Verdict.QUARANTINED
    assert votes.claims[2].quarantined_ns == at(3)
    good = [votes.vote(0.0, 1e-9, 2e-9)[2] for _ in range(8)]
    intervals = round(REQUALIFY_S / INTERVAL_S)
    assert good[:intervals] == [Verdict.QUARANTINED] * intervals
    assert good[intervals] is Verdict.SELECTED
    assert votes.claims[2].quarantined_ns == 0


def test_one_more_lie_begins_the_quarantine_anew() -> None:
    votes = Votes()
    votes.vote(0.0, 1e-9, 2e-9)
    votes.vote(0.0, 1e-9, 1e-6)
    for _ in range(5):
        votes.vote(0.0, 1e-9, 2e-9)
    votes.vote(0.0, 1e-9, 1e-6)
    assert [votes.vote(0.0, 1e-9, 2e-9)[2] for _ in range(6)] == [Verdict.QUARANTINED] * 6
    assert votes.vote(0.0, 1e-9, 2e-9)[2] is Verdict.SELECTED


def test_silence_does_not_end_a_quarantine_and_its_time_is_not_counted() -> None:
    votes = Votes()
    votes.vote(0.0, 1e-9, 2e-9)
    votes.vote(0.0, 1e-9, 1e-6)
    votes.vote(0.0, 1e-9, 2e-9)
    for _ in range(20):
        last = votes.vote(0.0, 1e-9, None)[2]
    assert last is Verdict.STALE
    assert votes.claims[2].quarantined_ns != 0
    assert votes.vote(0.0, 1e-9, 2e-9)[2] is Verdict.QUARANTINED
    assert votes.claims[2].clean_ns == at(votes.k)


def test_silence_of_an_honest_source_costs_it_nothing() -> None:
    votes = Votes()
    votes.vote(0.0, 1e-9, 2e-9)
    for _ in range(20):
        assert votes.vote(0.0, 1e-9, None)[0] is Verdict.SELECTED
    assert votes.claims[2].verdict is Verdict.STALE
    assert votes.vote(0.0, 1e-9, 2e-9)[2] is Verdict.SELECTED


def test_without_a_majority_nobody_is_named() -> None:
    votes = Votes()
    votes.vote(0.0, 1e-9, 2e-9)
    before = votes.claims
    assert votes.vote(0.0, 1e-6, 2e-6) == [Verdict.SELECTED] * 3
    assert [claim.quarantined_ns for claim in votes.claims] == [0, 0, 0]
    chosen = select(offered(votes.claims, votes.k))
    assert chosen.state is SelectionState.NO_MAJORITY
    assert replace(before[0], n=2).verdict is votes.claims[0].verdict
