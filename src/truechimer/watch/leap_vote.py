"""Leap vote: what tables, bulletins and upstream servers say of the next leap second, counted by provenance.

It changes no table: that takes an order (`quorum`). One provenance has one voice however often it speaks, so that ten
forged copies of one bulletin are one. The table in force announces nothing by itself either: a leap second that fewer
than `need` provenances announce, or that as many deny, is disputed.

What a voice says: a table, of every day up to its expiry; a Bulletin C, of the one day it names; an upstream's leap
bits, of the end of the month under way (servers warn for a day or for a month); a receiver, of the day that satellites
name. Who says nothing of a day has no voice in it. Source: IERS Bulletin C; RFC 5905 figure 9; ITU-R TF.460-6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from truechimer.instants import LeapTable, UtcLabel
from truechimer.instants.mjd import from_calendar, to_calendar


class LeapSource(StrEnum):
    """What a voice rests on."""

    TABLE = "table"
    BULLETIN = "bulletin"
    UPSTREAM = "upstream"
    RECEIVER = "receiver"


@dataclass(frozen=True, slots=True)
class Voice:
    """One provenance's statement: at 00:00 UTC of day `mjd` there is a leap of `step_s` (+1, -1, 0: none).

    `tai_minus_utc_s`: from then on, where it is said. `source`, `provenance` and `name` (of the file or server) are for
    the reader.
    """

    provenance: str
    source: LeapSource
    name: str
    mjd: int
    step_s: int
    tai_minus_utc_s: int | None = None


class LeapVerdict(StrEnum):
    """What the vote gives for a day."""

    AGREED = "agreed"  # enough say so, and they outnumber who denies it
    NO_LEAP = "no-leap"  # nobody, or fewer than `need`, announce one
    DISPUTED = "disputed"  # enough announce it, and as many deny it; or the table in force alone does


@dataclass(frozen=True, slots=True)
class DayVote:
    """The vote on one day. `step_s`: what is to be announced (0: nothing); `for_it`, `against`: provenances; `refused`:
    voices that contradict what holds.
    """

    mjd: int
    verdict: LeapVerdict
    step_s: int
    for_it: tuple[str, ...]
    against: tuple[str, ...]
    refused: tuple[Voice, ...]

    def says(self) -> str:
        """Return the vote in a sentence."""
        when = UtcLabel(self.mjd - 1, 86_399).isoformat(0)[:10]
        what = {1: "a second more", -1: "a second less", 0: "no leap second"}[self.step_s]
        if self.verdict is LeapVerdict.DISPUTED:
            what = "disputed"
        return f"end of {when}: {what}; for a leap {len(self.for_it)}, against {len(self.against)}"


def of_table(table: LeapTable, *, provenance: str, name: str, from_mjd: int, days: Sequence[int]) -> list[Voice]:
    """Return what a table says of days (MJD) from `from_mjd` on; nothing beyond its expiry."""
    out = []
    for mjd in days:
        if from_mjd <= mjd <= table.expires.mjd:
            offset = table.entries[table.index_of_day(mjd)].tai_minus_utc_s
            out.append(Voice(provenance, LeapSource.TABLE, name, mjd, table.step_at(mjd), offset))
    return out


def of_upstream(word: str, *, provenance: str, name: str, today_mjd: int) -> list[Voice]:
    """Return what an upstream's leap bits say of the end of this month: "insert", "delete", or "normal" on the month's
    last day; before it, "normal" says nothing yet.
    """
    mjd = month_end_after(today_mjd)
    step_s = {"insert": 1, "delete": -1}.get(word, 0)
    if step_s == 0 and not (word == "normal" and today_mjd == mjd - 1):
        return []
    return [Voice(provenance, LeapSource.UPSTREAM, name, mjd, step_s)]


def month_end_after(mjd: int) -> int:
    """Return the first day (MJD) of the month after a day: a leap second comes right before it."""
    year, month, _ = to_calendar(mjd)
    return from_calendar(year + month // 12, month % 12 + 1, 1)


def vote(voices: Sequence[Voice], *, need: int, in_force: LeapTable) -> tuple[DayVote, ...]:
    """Count the voices on every day that somebody announces a leap on; `need`: provenances that it takes.

    `in_force`: the laboratory's table. Its own leap that too few others confirm is disputed, not silently dropped: the
    doors announce what the table says until an order changes it, and the operator must hear it.
    """
    out = []
    for mjd in sorted({voice.mjd for voice in voices if voice.step_s}):
        of_day = [voice for voice in voices if voice.mjd == mjd]
        steps = {step: _provenances(of_day, step) for step in (1, -1)}
        step = max((1, -1), key=lambda each: len(steps[each]))
        for_it = steps[step]
        denied = {voice.provenance for voice in of_day if voice.step_s != step}
        against = tuple(sorted(denied))
        # who says both has no voice
        sure = [each for each in for_it if each not in denied]
        table_says = in_force.step_at(mjd)
        if len(sure) >= need and len(sure) > len(against):
            verdict, holds = LeapVerdict.AGREED, step
        elif len(sure) >= need or table_says:
            verdict, holds = LeapVerdict.DISPUTED, table_says
        else:
            verdict, holds = LeapVerdict.NO_LEAP, 0
        refused = tuple(voice for voice in of_day if verdict is not LeapVerdict.DISPUTED and voice.step_s != holds)
        out.append(DayVote(mjd, verdict, holds, tuple(sure), against, refused))
    return tuple(out)


def _provenances(voices: Sequence[Voice], step_s: int) -> tuple[str, ...]:
    return tuple(sorted({voice.provenance for voice in voices if voice.step_s == step_s}))
