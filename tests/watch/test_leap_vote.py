"""Leap seconds are voted on by provenance: what is forged is refused, what is true is found, what is open is said."""

from dataclasses import replace

import pytest

from truechimer.instants import LeapEntry, LeapTable, UtcLabel, builtin_leap_table
from truechimer.instants.mjd import from_calendar
from truechimer.watch import leap_vote
from truechimer.watch.leap_vote import LeapSource, LeapVerdict, Voice, vote

NONE = builtin_leap_table()
JULY = from_calendar(2027, 1, 1)
"""The day after 31 December 2026."""


def table(step_s: int) -> LeapTable:
    entries = (*NONE.entries, LeapEntry(JULY, 37 + step_s)) if step_s else NONE.entries
    return replace(NONE, entries=entries, expires=UtcLabel(JULY + 200, 0))


def by_table(step_s: int, provenance: str) -> list[Voice]:
    return leap_vote.of_table(table(step_s), provenance=provenance, name=provenance, from_mjd=JULY - 90, days=[JULY])


def bulletin(step_s: int, name: str, provenance: str = "Bulletin C") -> Voice:
    return Voice(provenance, LeapSource.BULLETIN, name, JULY, step_s, 37 + step_s)


def upstreams(word: str, n: int, *, first: int = 0) -> list[Voice]:
    out = []
    for k in range(first, first + n):
        out += leap_vote.of_upstream(word, provenance=f"operator {k}", name=f"server {k}", today_mjd=JULY - 1)
    return out


def test_a_forged_bulletin_and_three_of_five_upstreams_make_no_leap_second_of_which_the_tables_know_nothing() -> None:
    voices = [*by_table(0, "in force"), *by_table(0, "list"), bulletin(1, "forged")]
    voices += upstreams("insert", 3) + upstreams("normal", 2, first=3)
    (found,) = vote(voices, need=5, in_force=table(0))
    assert found.verdict is LeapVerdict.NO_LEAP
    assert found.step_s == 0
    assert {voice.name for voice in found.refused} == {"forged", "server 0", "server 1", "server 2"}
    # where fewer voices would do, as many deny it: it is disputed, and the table in force stands
    (found,) = vote(voices, need=2, in_force=table(0))
    assert found.verdict is LeapVerdict.DISPUTED
    assert found.step_s == 0


@pytest.mark.parametrize("step_s", [1, -1])
def test_a_true_leap_second_is_agreed_on_and_who_denies_it_is_refused(step_s: int) -> None:
    word = {1: "insert", -1: "delete"}[step_s]
    voices = [
        *by_table(step_s, "in force"),
        bulletin(step_s, "C 73"),
        *upstreams(word, 3),
        *upstreams("normal", 1, first=3),
    ]
    (found,) = vote(voices, need=3, in_force=table(step_s))
    assert (found.verdict, found.step_s) == (LeapVerdict.AGREED, step_s)
    assert [voice.name for voice in found.refused] == ["server 3"]
    assert "2026-12-31" in found.says()


def test_ten_copies_of_one_provenance_are_one_voice() -> None:
    voices = [*by_table(0, "in force"), *[bulletin(1, f"copy {k}") for k in range(10)]]
    (found,) = vote(voices, need=2, in_force=table(0))
    assert found.verdict is LeapVerdict.NO_LEAP
    assert found.for_it == ("Bulletin C",)
    assert len(found.refused) == 10


def test_who_says_both_has_no_voice() -> None:
    voices = [*by_table(0, "in force"), bulletin(1, "one"), bulletin(0, "other"), *by_table(1, "list")]
    (found,) = vote(voices, need=2, in_force=table(0))
    assert found.for_it == ("list",)
    assert found.verdict is LeapVerdict.NO_LEAP


def test_a_leap_second_that_the_table_in_force_alone_knows_is_disputed_and_not_dropped() -> None:
    voices = [*by_table(1, "in force"), bulletin(0, "C 73"), *by_table(0, "list")]
    (found,) = vote(voices, need=2, in_force=table(1))
    assert (found.verdict, found.step_s) == (LeapVerdict.DISPUTED, 1)
    assert set(found.against) == {"Bulletin C", "list"}


def test_more_and_less_at_once_is_no_agreement() -> None:
    voices = [bulletin(1, "a", "a"), bulletin(1, "b", "b"), bulletin(-1, "c", "c"), bulletin(-1, "d", "d")]
    (found,) = vote(voices, need=2, in_force=table(0))
    assert found.verdict is LeapVerdict.DISPUTED


def test_nobody_speaks_beyond_what_he_knows() -> None:
    expired = replace(NONE, expires=UtcLabel(JULY - 10, 0))
    assert not leap_vote.of_table(expired, provenance="x", name="x", from_mjd=JULY - 90, days=[JULY])
    # "no leap today" says nothing of the month's end before its last day; a warning does
    early = JULY - 20
    assert not leap_vote.of_upstream("normal", provenance="x", name="x", today_mjd=early)
    assert not leap_vote.of_upstream("unsynchronised", provenance="x", name="x", today_mjd=JULY - 1)
    (voice,) = leap_vote.of_upstream("insert", provenance="x", name="x", today_mjd=early)
    assert (voice.mjd, voice.step_s) == (JULY, 1)
    assert vote([], need=1, in_force=NONE) == ()
