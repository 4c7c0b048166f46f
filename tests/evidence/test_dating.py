"""Dates that go back against the order of the log are named, and so are minutes without a heartbeat."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.evidence.dating import DatingFault, misdated
from truechimer.evidence.record import canonical

S = 10**9
T0 = 1_800_000_000 * S


def reading(at_s: float) -> bytes:
    return canonical({"kind": "readings", "epoch_tai_ns": str(T0 + round(at_s * S))})


def served(at_s: float) -> bytes:
    return canonical({"kind": "served-time", "anchor_tai_fs": str((T0 + round(at_s * S)) * 10**6)})


def beat(at_s: float, *, host_ahead_s: float = 0.0) -> bytes:
    at, host = T0 + round(at_s * S), T0 + round((at_s + host_ahead_s) * S)
    scale = {"scale_earliest_tai_ns": str(at - 20), "scale_latest_tai_ns": str(at + 20)}
    wall = {"host_earliest_tai_ns": str(host - 100), "host_latest_tai_ns": str(host + 100)}
    return canonical({"kind": "heartbeat", "epoch_tai_ns": str(at), "every_s": 60} | scale | wall)


def start() -> bytes:
    return canonical({"kind": "run-start", "interval_s": "10.0 s"})


def found(entries: Sequence[bytes]) -> list[tuple[str, int]]:
    return [(one.what.value, one.index) for one in misdated(entries)]


HOUR = [start(), *[one for n in range(60) for one in (beat(60 * n), reading(60 * n + 1), served(60 * n + 1))]]


def test_a_log_in_its_order_has_nothing_odd_and_a_backlog_before_the_first_heartbeat_neither() -> None:
    assert found(HOUR) == []
    assert found([start(), reading(-86_400 * 30), reading(-10), *HOUR]) == []
    late = [*HOUR, reading(60 * 59 - 390)]
    assert found(late) == [], "a reading may come late"


@pytest.mark.parametrize("made", [reading, served])
def test_every_entry_that_is_dated_back_is_flagged(made: Callable[[float], bytes]) -> None:
    backdated = [made(60 * 59 - 3600 + n) for n in range(7)]
    assert found([*HOUR, *backdated, beat(3600)]) == [("backdated", len(HOUR) + n) for n in range(7)]


def test_a_heartbeat_cannot_be_dated_back_to_make_room() -> None:
    again = [*HOUR, beat(0.0), reading(1.0), beat(3600.0)]
    assert ("backdated", len(HOUR)) in found(again)
    assert ("backdated", len(HOUR) + 1) in found(again)


def test_minutes_without_a_heartbeat_are_a_gap_but_between_two_runs_nobody_beats() -> None:
    assert found([*HOUR, beat(60 * 59 + 200)]) == [("gap", len(HOUR))]
    assert found([*HOUR, start(), beat(86_400)]) == []


def test_a_wall_clock_that_was_set_is_said_once() -> None:
    entries = [start(), beat(0), beat(60, host_ahead_s=-3600), beat(120, host_ahead_s=-3600), beat(180)]
    assert found(entries) == [(DatingFault.CLOCKS_APART.value, 2)]


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_entries_that_are_no_records_are_passed_over(odd: list[bytes]) -> None:
    assert found([*odd, b"[]", b'{"kind":"heartbeat"}', b'{"kind":"readings","epoch_tai_ns":"x"}']) == []
