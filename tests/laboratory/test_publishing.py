"""Published values through the fold: they steer UTC(k), a forged bulletin moves nothing, and every record replays."""

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.laboratory import rig
from tests.laboratory.publishing_rig import LIMITS, PublishedLab, mjd_of, scenario

from truechimer.laboratory import foreseen, late_turn, publishing, snapshot
from truechimer.laboratory.publications import PublishedSettings
from truechimer.laboratory.publishing import Outcome
from truechimer.laboratory.replay import Known, replay
from truechimer.laboratory.snapshot import Mark, Roots
from truechimer.quorum.envelope import Applied
from truechimer.steer import late_steering

FIRST, LAST = 61322, 61355
DAYS = 40.0


@cache
def _steered() -> PublishedLab:
    """Five weeks of rapid UTC: UTC(k) has been steered by it for more than three."""
    made = PublishedLab(scenario(DAYS))
    made.until(LAST + 0.25)
    return made


def _body(record: bytes) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(record)
    return body


def _x_s(lab: PublishedLab, ahead_days: float = 7.0) -> float:
    """Where UTC(k) will be if the law goes on for some days without another word: what a file moves it by."""
    config, state = lab.lab.config, lab.lab.state
    assert config.published is not None
    assert state.publications is not None
    assert state.coordination is not None
    assert state.applied is not None
    parameters = config.published.parameters(config.steering.interval_s)
    known, line, account = state.publications.steering, state.coordination, state.applied
    step_ns = round(parameters.interval_s * 1e9)
    at_ns, end_ns = state.epoch_ns, state.epoch_ns + round(ahead_days * 86_400e9)
    while at_ns < end_ns:
        account = account.advanced(at_ns)
        known, order = late_steering.decide(known, line, parameters, LIMITS, account, epoch_ns=at_ns)
        line = line.steered(at_ns, order.y_steer)
        account = Applied(order.y_steer, at_ns, account.reference_y, account.total_s)
        at_ns += step_ns
    return line.at(end_ns)


def test_rapid_utc_alone_starts_a_laboratory_and_keeps_it_on_utc() -> None:
    made = _steered()
    rms, largest = made.rms_ns(FIRST + 21)
    assert rms < 1.5
    assert largest < 5.0
    assert made.course[FIRST + 1] != pytest.approx(0.0, abs=1e-7)  # it was far away


def test_records_with_published_values_replay_bit_for_bit() -> None:
    made = _steered()
    again = replay(made.lab.records)
    assert again.difference is None
    assert again.state is not None
    assert snapshot.is_same(again.state, made.lab.state)
    kinds = [_body(one)["kind"] for one in made.lab.records]
    assert kinds.count("published") == 3
    assert kinds.count("steer") > 40
    forged = made.lab.records[:]
    place = kinds.index("published")
    forged[place] = forged[place].replace(b'"outcome":"taken"', b'"outcome":"takes"')
    assert replay(forged).difference is not None


def test_a_laboratory_goes_on_from_a_snapshot_as_if_it_had_never_stopped() -> None:
    made = PublishedLab(scenario(DAYS))
    made.until(FIRST + 24.5)
    state = made.lab.state
    start = Mark.of(0, made.lab.records[0])
    kept = snapshot.read(snapshot.encode(state, Roots(start)))
    begun, config, back = snapshot.restore(kept, lambda seq: made.lab.records[seq])
    assert snapshot.is_same(back, state)
    assert back.publications is not None
    assert state.publications is not None
    both = zip(back.publications.history.marks, state.publications.history.marks, strict=True)
    assert all(one.after is not None and other.after is not None for one, other in both)
    assert all((a.after.p == b.after.p).all() for a, b in both)  # type: ignore[union-attr]
    # every clock is heard for itself, and what follows from its samples is not kept
    ours, theirs = back.publications.steering.clocks, state.publications.steering.clocks
    assert ours is not None
    assert theirs is not None
    assert len(theirs.members) == 8
    assert theirs.states[-1].joined.all()
    assert [one.p.tobytes() for one in ours.states] == [one.p.tobytes() for one in theirs.states]
    seq = state.chain.seq
    made.until(FIRST + 33.0)
    found = replay(made.lab.records[seq:], Known(begun, config, back, Roots(start)))
    assert found.difference is None
    assert found.compared == len(made.lab.records) - seq


@pytest.mark.parametrize("path", ["Circular T", "rapid UTC"])
def test_a_bulletin_shifted_by_40_ns_is_refused_at_intake_and_moves_nothing(path: str) -> None:
    """Circular T speaks of days that rapid UTC has spoken of; rapid UTC speaks of days of which only the clocks do."""
    forged, told_nothing = _steered().fork(), _steered().fork()
    if path == "Circular T":
        data = forged.csv(range(FIRST + 3, FIRST + 29), off_s=40e-9, step=5)
    else:
        data = forged.csv(range(LAST - 6, LAST + 1), off_s=40e-9)
    found = forged.tell(data)
    assert found.outcome is Outcome.REFUSED
    assert found.reason == "contradicts"
    assert "40" in found.says or "39" in found.says
    body = _body(found.record.data)
    assert body["sha256"] == publishing.Offered("", data).digest
    assert body["outcome"] == "refused"
    assert _x_s(forged) == _x_s(told_nothing)
    honest = _steered().fork()
    right = honest.csv(range(FIRST + 3, FIRST + 29), step=5)
    assert honest.tell(right).outcome is Outcome.TAKEN


@pytest.mark.parametrize("off_ns", [20.0, -8.0])
def test_one_false_value_of_a_true_week_is_held_and_moves_utck_by_less_than_a_tenth_of_a_nanosecond(
    off_ns: float,
) -> None:
    false, true = _steered().fork(), _steered().fork()
    days = range(LAST - 6, LAST + 1)
    plain = false.csv(days)
    lines = plain.decode().splitlines()
    day, value = lines[4].split(",")
    lines[4] = f"{day},{float(value) + off_ns * 1e-9!r}"
    found = false.tell("\n".join(lines).encode())
    assert found.outcome is Outcome.TAKEN
    assert found.held == 1
    assert true.tell(plain).held == 0
    without = _steered().fork()
    without.tell("\n".join([*lines[:4], *lines[5:]]).encode())
    assert abs(_x_s(false) - _x_s(without)) < 1e-13  # it is as if the value had not been there
    assert abs(_x_s(false) - _x_s(true)) < 1e-10 + abs(_x_s(without) - _x_s(true))


def test_what_cannot_be_used_is_refused_with_its_reason_and_stands_in_the_record() -> None:
    made = _steered().fork()
    week = _steered().week(61348, code="BBB")
    assert week is not None
    cases = {
        b"": "malformed",
        week: "other-laboratory",
        b"epoch_mjd,x_utc_minus_utck_s\n61350,nine\n": "malformed",
        b"epoch_mjd,x_utc_minus_utck_s\n61400,1e-9\n": "no-use",
        b"epoch_mjd,x_utc_minus_utck_s\n61100,1e-9\n": "no-use",
        b"epoch_mjd,x_utc_minus_utck_s\n"
        + b"".join(b"%.4f,1e-9\n" % (61340 + k / 200) for k in range(1200)): "too-many",
        b"epoch_mjd,y_utc_minus_clock,clock,u,span_s\n61350,1e-15,H9,1e-15,86400\n": "no-use",
    }
    before = made.lab.state.publications
    assert before is not None
    for data, reason in cases.items():
        found = made.tell(data)
        assert (found.outcome, found.reason) == (Outcome.REFUSED, reason), data
        assert _body(found.record.data)["reason"] == reason
        assert found.says
    after = made.lab.state.publications
    assert after is not None
    assert after.steering == before.steering
    assert replay(made.lab.records).difference is None


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.text("0123456789.,-+eE \nUTCr[]()k", max_size=300).map(
            lambda text: b"epoch_mjd,x_utc_minus_utck_s,u_s\n" + text.encode()
        ),
    )
)
def test_no_file_whatever_stops_the_fold(data: bytes) -> None:
    made = _steered().fork()
    found = made.tell(data)
    assert found.outcome in {Outcome.TAKEN, Outcome.REFUSED}
    assert json.loads(found.record.data)["says"] == found.says


@pytest.mark.slow
def test_a_change_that_three_weeks_in_a_row_say_alone_is_believed_in_the_end() -> None:
    """The laboratory's own cable was changed by 30 ns: no other path knows it, and the third file is taken."""
    made = PublishedLab(scenario(60.0))
    moved = 61335

    def changed(day: int, data: bytes) -> bytes | None:
        off = tuple(30.0 if day - 9 + k >= moved else 0.0 for k in range(7))
        return made.week(day, off_ns=off)

    outcomes: list[tuple[str, str]] = []
    tell = made.tell

    def heard(data: bytes, name: str = "") -> Any:
        found = tell(data, name)
        outcomes.append((found.outcome.value, found.reason))
        return found

    made.tell = heard  # type: ignore[method-assign,assignment]
    made.until(61362.0, change=changed)
    refused = [k for k, (_, reason) in enumerate(outcomes) if reason == "contradicts"]
    assert len(refused) == 2
    assert refused[1] == refused[0] + 1
    assert outcomes[refused[1] + 1][0] == "taken"
    assert abs(made.error_s[-1][1] + -30e-9) < 8e-9 or abs(made.error_s[-1][1] - 30e-9) < 8e-9


def test_a_frequency_standard_speaks_of_a_clock_and_makes_the_forecast_surer() -> None:
    plain, told = _steered().fork(), _steered().fork()
    rows = ["epoch_mjd,clock,y_utc_minus_clock,u,span_s"]
    # the standard's second is UTC's: the rate of UTC minus H1 is that of the truth between two midnights
    for day in range(LAST - 20, LAST + 1):
        truth = [made for made in (told.h1_minus_utc.get(day - 1), told.h1_minus_utc.get(day)) if made is not None]
        rows.append(f"{day},H1,{-(truth[1] - truth[0]) / 86_400.0!r},8e-16,86400")
    found = told.tell("\n".join(rows).encode(), "fountain.csv")
    assert found.outcome is Outcome.TAKEN, found.says
    assert found.held == 0
    assert told.lab.state.utc is not None
    assert plain.lab.state.utc is not None
    assert told.lab.state.utc.state.u_y < 0.8 * plain.lab.state.utc.state.u_y


def test_a_holdover_is_foreseen_from_what_was_published() -> None:
    state = _steered().lab.state
    assert state.coordination is not None
    told = foreseen.foresee(state, state.coordination, limits_s=(1e-7,))
    assert told is not None
    assert told.days == 21
    day, ten, month = told.u_s
    assert 1e-10 < day < ten < month < 1e-7
    assert {each.limit_s: each.for_s for each in told.kept}[1e-7] > 10 * 86_400.0


@pytest.mark.slow
def test_where_publications_do_not_come_it_is_said_and_the_rate_is_held() -> None:
    made = PublishedLab(scenario(60.0))
    silent = 61331

    def until(day: int, data: bytes) -> bytes | None:
        return data if day <= silent else None

    said: list[str] = []
    rates: list[float] = []
    for now, outcome in made.epochs():
        if abs(now - int(now) - 0.5) < 1e-6 and int(now) <= silent and (data := made.week(int(now))) is not None:
            made.tell(data)
        said += [alert.kind.value for alert in outcome.alerts]
        if outcome.order is not None and now > silent + 24:
            rates.append(outcome.order.y_steer)
    assert said.count("publication-overdue") == 1
    assert not rates
    assert made.lab.state.coordination is not None
    publications = made.lab.state.publications
    assert publications is not None
    assert late_turn.followed_until_ns(publications) < made.lab.state.epoch_ns
    assert mjd_of(late_turn.followed_until_ns(publications)) == pytest.approx(silent - 3 + 24, abs=7.1)


@pytest.mark.slow
def test_links_begin_published_values_go_on_and_a_forged_ramp_is_outvoted_within_a_fortnight() -> None:
    """UTC(k) begins by the links, and follows what is published once that is known well; then rapid UTC is forged, a
    nanosecond more each day, as the links do not say.
    """
    made = PublishedLab(scenario(75.0, links=True), PublishedSettings(laboratory="AAA", steers=True))
    begun_day, forged_from = 61362 - 75, 61362 - 30
    began: float | None = None
    decided: float | None = None
    doubted: int | None = None
    for now, _ in made.epochs():
        state = made.lab.state
        if began is None and state.coordination is not None:
            began = now
        day = int(now)
        off = tuple(float(max(0, day - 9 + k - forged_from)) for k in range(7))
        if abs(now - day - 0.5) < 1e-6 and (data := made.week(day, off_ns=off)) is not None:
            found = made.tell(data)
            if doubted is None and (found.held or found.outcome is Outcome.REFUSED):
                doubted = day
        assert state.publications is not None
        if decided is None and state.publications.is_known:
            decided = now
    assert began is not None
    assert decided is not None
    assert doubted is not None
    assert began < begun_day + 5 < decided < begun_day + 20
    assert forged_from < doubted <= forged_from + 14
    rms, largest = made.rms_ns(begun_day + 30)
    assert rms < 1.5
    assert largest < 4.0
    assert replay(made.lab.records).difference is None


@pytest.mark.slow
def test_values_are_watched_where_links_decide() -> None:
    """By links: published values are judged and shown, and move nothing."""
    watched = PublishedSettings(laboratory="AAA", steers=False)
    quiet = PublishedLab(scenario(20.0, links=True), watched)
    told = PublishedLab(scenario(20.0, links=True), watched)
    quiet.until(61362.0, weekly=False)
    told.until(61362.0)
    assert told.lab.state.publications is not None
    assert any(told.lab.state.publications.heard)
    assert told.lab.state.coordination == quiet.lab.state.coordination
    assert told.lab.state.utc == quiet.lab.state.utc


def test_a_run_without_published_values_records_what_it_recorded_before() -> None:
    lab = rig.Lab(rig.start_of(scenario(3.0, links=True)))
    assert "published" not in _body(lab.records[0])
    assert lab.state.publications is None
