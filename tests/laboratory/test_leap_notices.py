"""Announced leap seconds in the fold: forged ones move nothing and are named at once, true ones cost nothing, and what
is open when its moment comes stays in the bound until servers agree.
"""

import json
from dataclasses import replace
from functools import lru_cache

import pytest
from tests.laboratory import rig

from truechimer.alerts import AlertKind
from truechimer.clocks.register import Register, host_clock
from truechimer.compare.claims import SILENT, Claim
from truechimer.evidence.record import RecordRejected
from truechimer.instants import LeapEntry, LeapTable, UtcLabel, builtin_leap_table
from truechimer.instants.mjd import from_calendar
from truechimer.laboratory import leap_notices, line, replay, snapshot
from truechimer.laboratory.epoch_input import epoch_input
from truechimer.laboratory.leap_notices import NOTHING_HEARD, Around, LeapNotices, Turned
from truechimer.laboratory.line import EpochOutcome
from truechimer.sim import World, demo_scenario
from truechimer.steer.steering_order import Coordination
from truechimer.watch.leap_vote import LeapSource, LeapVerdict, Voice

NS, SILENCE_S = 10**9, 20.0
MJD = from_calendar(2027, 1, 1)
NAMES = tuple(f"UTC.s{k}" for k in range(5))


def table(step_s: int) -> LeapTable:
    whole = builtin_leap_table()
    entries = (*whole.entries, LeapEntry(MJD, 37 + step_s)) if step_s else whole.entries
    return replace(whole, entries=entries, expires=UtcLabel(MJD + 150, 0))


MOMENT_NS = leap_notices.moment_ns(MJD, table(0))


def servers(step_s: int, ks: range) -> tuple[Voice, ...]:
    return tuple(Voice(f"operator {k}", LeapSource.UPSTREAM, NAMES[k], MJD, step_s) for k in ks)


def bulletin(step_s: int, by: str = "Bulletin C") -> Voice:
    return Voice(by, LeapSource.BULLETIN, "c.txt", MJD, step_s, 37 + step_s)


FORGED = (bulletin(1), *servers(1, range(3)), *servers(0, range(3, 5)))


def turned(
    before: LeapNotices,
    voices: tuple[Voice, ...] | None,
    at_s: float,
    *,
    step_s: int = 0,
    off_s: tuple[float, ...] | None = None,
    paper: bool = True,
) -> Turned:
    """One epoch, `at_s` after the moment; `off_s`: what each server is asked then to be off UTC(k) by."""
    register = Register((host_clock(),), (), ()).with_links(
        [(name, "host") for name in NAMES], operators={name: name for name in NAMES}
    )
    now_ns = MOMENT_NS + round(at_s * NS)
    claims: tuple[Claim, ...] = (SILENT,) * 5
    if off_s is not None:
        claims = tuple(replace(SILENT, epoch_ns=now_ns - NS, x_s=x_s, limit_s=0.01, n=3) for x_s in off_s)
    utck = Coordination(now_ns - 100 * NS, 0.0, 0.0) if paper else None
    around = Around(register, claims, utck, None, table(step_s), frozenset(NAMES))
    return leap_notices.turned(before, voices, around, epoch_ns=now_ns, need=2, silence_s=SILENCE_S)


def holds(after: Turned, *, step_s: int = 0) -> set[str]:
    found = leap_notices.standing(after, leaps=table(step_s), epoch_ns=after.now_ns)
    return {one.alert().kind.value for one in found if one.holds}


def test_a_forged_notice_is_named_at_once_and_counts_in_the_bound_only_around_its_moment() -> None:
    heard = turned(NOTHING_HEARD, FORGED, -3_600.0)
    assert holds(heard) == {"leap-disputed"}
    assert heard.doubt_s == 0.0
    assert turned(heard.known, None, -SILENCE_S - 0.001).doubt_s == 0.0
    near = turned(heard.known, None, -SILENCE_S)
    assert near.doubt_s == 1.0
    assert near.known is heard.known  # nothing was counted anew
    # servers turn to the next month; what they said of this one stands, and so does the doubt
    after = turned(near.known, (bulletin(1),), 2.0)
    assert after.doubt_s == 1.0
    assert {voice.name for voice in after.known.kept} == set(NAMES)
    assert turned(after.known, (), 86_400.0 * 2).doubt_s == 1.0
    assert holds(after) == {"leap-disputed"}


def test_the_doubt_ends_when_more_than_half_of_the_servers_agree_after_the_moment_and_not_before() -> None:
    near = turned(NOTHING_HEARD, FORGED, -1.0)
    passed = turned(near.known, (), 2.0, off_s=(0.0,) * 5)
    assert passed.doubt_s == 1.0, "what is heard so soon was asked before"
    assert turned(passed.known, None, 100.0, off_s=(1.0, 1.0, 1.0, 0.001, 0.0)).doubt_s == 1.0
    assert turned(passed.known, None, 100.0, off_s=(0.0,) * 5, paper=False).doubt_s == 1.0
    ended = turned(passed.known, None, 100.0, off_s=(1.0, 1.0, 0.002, 0.001, 0.0))
    assert ended.doubt_s == 0.0
    assert holds(ended) == set()
    assert turned(ended.known, (bulletin(1),), 90_000.0).doubt_s == 0.0


@pytest.mark.parametrize("step_s", [1, -1])
def test_a_true_leap_second_that_others_confirm_costs_nothing(step_s: int) -> None:
    heard = turned(NOTHING_HEARD, (*servers(step_s, range(4)), *servers(0, range(4, 5))), -600.0, step_s=step_s)
    assert [vote.verdict for vote in heard.known.votes] == [LeapVerdict.AGREED]
    for at_s in (-SILENCE_S, 0.0, 0.5, 1.0, 2.5, 60.0):
        now = turned(heard.known, None, at_s, step_s=step_s)
        assert now.doubt_s == 0.0
        assert holds(now, step_s=step_s) == set()


def test_a_table_that_stands_alone_is_warned_of_half_a_day_before_and_doubted_only_where_it_is_denied() -> None:
    early = turned(NOTHING_HEARD, (), -50_000.0, step_s=1)
    assert holds(early, step_s=1) == set()
    late = turned(early.known, None, -40_000.0, step_s=1)
    assert holds(late, step_s=1) == {"leap-unconfirmed"}
    assert turned(late.known, None, -1.0, step_s=1).doubt_s == 0.0
    denied = turned(late.known, servers(0, range(1)), -30_000.0, step_s=1)
    assert holds(denied, step_s=1) == {"leap-disputed"}
    assert turned(denied.known, None, -1.0, step_s=1).doubt_s == 1.0
    # a corrected file decides it, also after the moment
    open_ = turned(denied.known, (), 3.0, step_s=1)
    assert open_.doubt_s == 1.0
    assert turned(open_.known, (bulletin(1), bulletin(1, "NIST")), 9.0, step_s=1).doubt_s == 0.0


def test_a_table_that_others_contradict_together_is_disputed_though_they_agree() -> None:
    heard = turned(NOTHING_HEARD, (bulletin(-1), *servers(-1, range(3))), -60.0)
    (vote,) = heard.known.votes
    assert (vote.verdict, vote.step_s) == (LeapVerdict.AGREED, -1)
    assert holds(heard) == {"leap-disputed"}
    # one provenance alone, however often it speaks, disputes nothing
    copies = tuple(replace(bulletin(1), name=f"copy {k}") for k in range(9))
    alone = turned(NOTHING_HEARD, copies, -60.0)
    assert (holds(alone), turned(alone.known, None, -1.0).doubt_s) == (set(), 0.0)
    assert len(alone.known.votes[0].refused) == 9


def test_a_new_table_of_a_new_run_is_counted_against() -> None:
    heard = turned(NOTHING_HEARD, (bulletin(1), bulletin(1, "NIST")), -4_000.0)
    again = turned(leap_notices.carried_on(heard.known), None, -3_000.0, step_s=1)
    assert holds(again, step_s=1) == set()
    assert leap_notices.carried_on(NOTHING_HEARD) is NOTHING_HEARD


@pytest.mark.parametrize(
    "wrong",
    [
        "x",
        [{}],
        [{"provenance": "a", "source": "rumour", "name": "b", "mjd": MJD, "step_s": 1}],
        [{"provenance": "a", "source": "table", "name": "b", "mjd": MJD, "step_s": 2}],
        [{"provenance": "a", "source": "table", "name": "b", "mjd": True, "step_s": 1}],
        [{"provenance": "a", "source": "table", "name": "b", "mjd": MJD, "step_s": 1, "tai_minus_utc_s": "37"}],
    ],
)
def test_voices_of_a_record_that_are_none_are_refused(wrong: object) -> None:
    body: dict[str, object] = {"x_a_minus_b_s": [], "u_s": [], "epoch_tai_ns": "1"}
    sound = [leap_notices.voice_body(one) for one in FORGED]
    assert replay.input_from(body | {"leap_voices": sound}, 0).leap_voices == FORGED
    with pytest.raises(RecordRejected):
        replay.input_from(body | {"leap_voices": wrong}, 0)


# ---- the whole line, over a moment at which no leap second is due ---------------------------------------------------


@lru_cache(maxsize=1)
def _taught() -> tuple[World, rig.Lab]:
    scenario = rig.of_days(demo_scenario(), 2.0)
    world = World(scenario, seed=1, anchor_tai_ns=MOMENT_NS - 40 * NS, anchor_raw_ns=rig.ANCHOR_RAW_NS)
    lab = rig.Lab(rig.start_of(scenario, leaps=table(0), silence_s=SILENCE_S))
    lab.history(world)
    return world, lab


def over_midnight(voices: tuple[Voice, ...] | None, *, need: int = 2) -> tuple[rig.Lab, list[EpochOutcome]]:
    """The demo's laboratory from 40 s before the moment; it hears the voices in its fourth live second."""
    world, lab = _taught()[0].fork(), _taught()[1].fork()
    if need != 2:
        lab.restart(replace(lab.start, leap_need=need))
    out = []
    for number, batch in enumerate(rig.live(world, seconds=50)):
        given = epoch_input(
            batch.readings,
            lab.state.register,
            epoch_tai_ns=batch.epoch_tai_ns,
            raw_ns=batch.raw_ns,
            leap_voices=voices if number == 3 else None,
        )
        lab.state, outcome = line.step(lab.state, given, lab.config)
        lab.records += [record.data for record in outcome.records]
        out.append(outcome)
    return lab, out


def test_a_forged_leap_second_moves_no_served_time_and_stands_in_record_bound_and_replay() -> None:
    lab, outcomes = over_midnight(FORGED)
    _, untouched = over_midnight(None)
    said = [k for k, one in enumerate(outcomes) if any(a.kind is AlertKind.LEAP_DISPUTED for a in one.alerts)]
    assert said == [3]
    doubts = []
    for one, other in zip(outcomes, untouched, strict=True):
        assert (one.page is None) is (other.page is None)
        if one.page is None or other.page is None or one.bound is None or other.bound is None:
            continue
        assert (one.page.anchor_tai_fs, one.page.rate) == (other.page.anchor_tai_fs, other.page.rate)
        assert one.page.tai_minus_utc_s == other.page.tai_minus_utc_s
        assert one.page.next_leap_tai_s is None
        doubts.append(one.bound.terms.limit_leap_s)
        assert one.bound.bound_s - other.bound.bound_s == pytest.approx(doubts[-1], abs=1e-12)
    assert set(doubts) == {0.0, 1.0}
    assert doubts == sorted(doubts)  # from 20 s before, and still open
    recorded = [json.loads(data) for data in lab.records]
    assert [len(body["leap_voices"]) for body in recorded if "leap_voices" in body] == [len(FORGED)]
    again = replay.replay(lab.records)
    assert again.difference is None
    assert again.state is not None
    assert snapshot.is_same(again.state, lab.state)
    lab.restart()
    assert lab.state.leap.votes


def test_a_run_whose_record_does_not_speak_of_the_vote_has_none() -> None:
    lab, outcomes = over_midnight(FORGED, need=0)
    assert not [one for outcome in outcomes for one in outcome.alerts if one.kind is AlertKind.LEAP_DISPUTED]
    assert lab.state.leap == NOTHING_HEARD or not lab.state.leap.votes
    (start,) = [body for body in map(json.loads, lab.records) if body["kind"] == "run-start" and body["resumes"]]
    assert "leap_need" not in start
    assert replay.replay(lab.records).difference is None
