"""Months of a laboratory that hears of UTC by publications alone: its whole line, each hour, and the truth beside it.

The figures are those of the class that `docs/guide/steering.md` measures over two hundred years of such laboratories;
here one laboratory goes through all that can befall it.
"""

import numpy as np
import pytest
from tests.laboratory.publishing_rig import PublishedLab, scenario

from truechimer.formats.published import CIRCULAR
from truechimer.laboratory.publishing import Outcome

END, DAYS = 61362, 220
BEGUN = END - DAYS
JUDGED_FROM = BEGUN + 60
"""UTC(k) has been steered for six weeks."""
FALSE_VALUE, FORGED = BEGUN + 110, BEGUN + 150


@pytest.mark.slow
def test_months_on_rapid_utc_and_circular_t_with_forged_values_among_them() -> None:
    made = PublishedLab(scenario(float(DAYS)), seed=4)
    outcomes: dict[str, list[Outcome]] = {"week": [], "month": [], "forged": []}
    held = 0
    for now, _ in made.epochs():
        day = int(now)
        if abs(now - day - 0.5) > 1e-6:
            continue
        off = tuple(20.0 if day - 9 + k == FALSE_VALUE else 0.0 for k in range(7))
        if (week := made.week(day, off_ns=off)) is not None:
            found = made.tell(week)
            outcomes["week"].append(found.outcome)
            held += found.held
        if day % 30 == 12 and day - 45 in made.course:
            outcomes["month"].append(made.tell(made.csv(range(day - 42, day - 11), step=5)).outcome)
        if day == FORGED:
            outcomes["forged"].append(made.tell(made.csv(range(day - 43, day - 12), step=5, off_s=-40e-9)).outcome)
    assert set(outcomes["week"]) == {Outcome.TAKEN}
    assert set(outcomes["month"]) == {Outcome.TAKEN}
    assert outcomes["forged"] == [Outcome.REFUSED]
    assert held >= 1
    publications = made.lab.state.publications
    assert publications is not None
    assert publications.heard[1] is not None, CIRCULAR
    rms, largest = made.rms_ns(JUDGED_FROM)
    e = np.array([x for mjd, x in made.error_s if mjd >= JUDGED_FROM]) * 1e9
    print(f"rms {rms:.2f} ns, largest {largest:.2f} ns, mean {e.mean():+.2f} ns")
    assert rms <= 1.3
    assert largest <= 5.0
    around = np.array([x for mjd, x in made.error_s if abs(mjd - FALSE_VALUE - 10) < 7 or abs(mjd - FORGED - 7) < 7])
    assert np.max(np.abs(around)) * 1e9 <= 5.0
    # the sigma that was stated for now holds what became of it
    assert made.lab.state.utc is not None
    assert 0.2 < made.lab.state.utc.state.u_x_s * 1e9 < 3.0


@pytest.mark.slow
def test_what_is_sent_and_told_follows_from_a_journal_with_published_values() -> None:
    """`utc submit` and `utc report` replay the journal: UTC(k) minus a clock at 0 h is that of the steered UTC(k)."""
    from truechimer.instants import builtin_leap_table
    from truechimer.laboratory import submission, utc_account

    made = PublishedLab(scenario(40.0), real=True)
    made.until(float(END))
    day = END - 3
    sent = submission.prepare(made.lab.records, [day], laboratory="10001", acronym="AAA", leaps=builtin_leap_table())
    by_clock = {each.clock: each.utck_minus_clock_ns for each in sent.readings}
    assert len(by_clock) == 8
    h1 = by_clock["1400001"]
    assert h1 == pytest.approx((-made.course[day] - made.h1_minus_utc[day]) * 1e9, abs=0.11)
    told = utc_account.account(made.lab.records, leaps=builtin_leap_table())
    assert sum(each.orders for each in told.days) > 40
