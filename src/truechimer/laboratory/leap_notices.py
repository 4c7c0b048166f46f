"""Leap notices: what a running laboratory hears of the next leap second, the vote on it, the doubt a dispute leaves.

It changes no table and no indicator: the doors announce what the table in force says until an order changes it. The
vote itself is `watch.leap_vote`'s. What it adds is time: a dispute that is open when its moment comes stays open, with
what servers and satellites said of it last, until a majority agrees. Source: ADR 78.

The law of the file: a notice never makes a bound smaller.
"""

from dataclasses import dataclass, replace
from typing import Any

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.clocks.register import Register
from truechimer.compare.claims import Claim
from truechimer.instants import FS_PER_NS, Instant, LeapTable, to_utc
from truechimer.instants.mjd import MJD_LAST, MJD_OF_1970
from truechimer.steer.steering_order import Coordination
from truechimer.steer.two_state import TwoState
from truechimer.watch import leap_vote
from truechimer.watch.leap_vote import DayVote, LeapSource, LeapVerdict, Voice
from truechimer.watch.standing import Standing

NEED = 2
"""Provenances that a leap second takes."""
IN_FORCE = "the table in force"
MOST_VOICES = 256
UNCONFIRMED_AHEAD_S = 43_200.0
"""A leap second of the table that nobody confirms is told of so long before it: servers warn on its day, and what they
say goes down their strata by a poll interval each.
"""
DOUBT_S = 1.0
SECOND_OFF_S = 0.5
AFTER_S = 60.0
"""What a server said so long after the moment was asked after it."""
DISPUTED, UNCONFIRMED = "leap-disputed", "leap-unconfirmed"
_RELAYED = frozenset({LeapSource.UPSTREAM, LeapSource.RECEIVER})
_NS = 10**9


@dataclass(frozen=True, slots=True)
class LeapNotices:
    """What is carried. `voices`: as heard last; `kept`: what servers and satellites said of days whose dispute was open
    when they came; `votes`: on each day that is announced, or still open; `count_again_ns`: the UTC day after.
    """

    voices: tuple[Voice, ...] = ()
    kept: tuple[Voice, ...] = ()
    votes: tuple[DayVote, ...] = ()
    count_again_ns: int = 0


NOTHING_HEARD = LeapNotices()


@dataclass(frozen=True, slots=True)
class Around:
    """What a vote is held against at an epoch. `asked`: references whose values hold whole seconds; `paper`: UTC(k)
    minus the scale.
    """

    register: Register
    claims: tuple[Claim, ...]
    paper: Coordination | None
    host: TwoState | None
    leaps: LeapTable
    asked: frozenset[str]


@dataclass(frozen=True, slots=True)
class Turned:
    """What is known after an epoch; by how much (s) the whole second may be wrong; the epoch by the laboratory's own
    time (TAI ns).
    """

    known: LeapNotices
    doubt_s: float
    now_ns: int


def turned(
    before: LeapNotices,
    voices: tuple[Voice, ...] | None,
    around: Around,
    *,
    epoch_ns: int,
    need: int,
    silence_s: float,
) -> Turned:
    """Take one epoch in; `silence_s`: how long its page may be served; `need` 0: nothing is voted on."""
    if not need:
        return Turned(before, 0.0, epoch_ns)
    now_ns = at_ns(epoch_ns, around.paper, around.host)
    known = hear(before, voices, leaps=around.leaps, now_ns=now_ns, need=need)
    if not known.votes:
        return Turned(known, 0.0, now_ns)
    known = settled(known, around, now_ns=now_ns)
    return Turned(known, doubt_s(known, leaps=around.leaps, now_ns=now_ns, silence_s=silence_s), now_ns)


def carried_on(before: LeapNotices) -> LeapNotices:
    """Return what a new run begins with: its table may be another, so it counts anew."""
    return replace(before, count_again_ns=0) if before.count_again_ns else before


def at_ns(epoch_ns: int, paper: Coordination | None, host: TwoState | None) -> int:
    """Return the epoch by the laboratory's own time (TAI ns): the host's label is a name, and may be off by seconds."""
    if paper is None or host is None:
        return epoch_ns
    return epoch_ns + round((paper.at(epoch_ns) - host.x_s) * 1e9)


def hear(
    before: LeapNotices, voices: tuple[Voice, ...] | None, *, leaps: LeapTable, now_ns: int, need: int
) -> LeapNotices:
    """Take voices in (None: as before) and count, where they are others or a day has begun."""
    if (voices is None and now_ns < before.count_again_ns) or not _is_dated(now_ns, leaps):
        return before
    said = before.voices if voices is None else voices
    today = to_utc(Instant(now_ns * FS_PER_NS), leaps, beyond_expiry="flag").mjd
    open_days = {vote.mjd for vote in before.votes if vote.mjd <= today and is_disputed(vote, leaps)}
    last = {
        (voice.provenance, voice.name, voice.mjd): voice
        for voice in (*before.kept, *before.voices)
        if voice.source in _RELAYED and voice.mjd in open_days
    }
    kept = tuple(last.values())
    counted = [*kept]
    for voice in said:
        is_open = voice.mjd in open_days and voice.source not in _RELAYED
        if voice.mjd > today or is_open:
            counted.append(voice)
    days = {voice.mjd for voice in counted if voice.step_s} | {one.mjd for one in leaps.entries if one.mjd > today}
    own = leap_vote.of_table(leaps, provenance=IN_FORCE, name=leaps.source, from_mjd=0, days=sorted(days | open_days))
    found = leap_vote.vote([*own, *counted], need=need, in_force=leaps)
    votes = tuple(vote for vote in found if vote.mjd > today or is_disputed(vote, leaps))
    return LeapNotices(said, kept, votes, moment_ns(today + 1, leaps) + 2 * _NS)


def _is_dated(now_ns: int, leaps: LeapTable) -> bool:
    first_ns = leaps.first_instant.tai_fs // FS_PER_NS
    return first_ns <= now_ns < (MJD_LAST - 1 - MJD_OF_1970) * 86_400 * _NS


def moment_ns(mjd: int, leaps: LeapTable) -> int:
    """Return the earliest moment (TAI ns) from which labels can differ: 23:59:59 of the day before, the old count's."""
    offset_s = leaps.entries[leaps.index_of_day(mjd - 1)].tai_minus_utc_s
    return ((mjd - MJD_OF_1970) * 86_400 + offset_s - 1) * _NS


def is_alone(vote: DayVote, leaps: LeapTable) -> bool:
    """Return True for a leap second that the table in force has, that too few confirm and nobody denies."""
    return vote.verdict is LeapVerdict.DISPUTED and leaps.step_at(vote.mjd) != 0 and not vote.against


def is_disputed(vote: DayVote, leaps: LeapTable) -> bool:
    """Return True where the doors may be a second off: the vote is open, or it gives another leap than the table."""
    if vote.verdict is LeapVerdict.DISPUTED:
        return not is_alone(vote, leaps)
    return vote.step_s != leaps.step_at(vote.mjd)


def settled(before: LeapNotices, around: Around, *, now_ns: int) -> LeapNotices:
    """Close disputes whose moment is past and about which more than half of the servers agree with UTC(k) by then.

    Servers that spoke of the day count beside those that are asked. A pulse tells no whole second.
    """
    register, claims, paper, leaps = around.register, around.claims, around.paper, around.leaps
    passed = [vote for vote in before.votes if moment_ns(vote.mjd, leaps) + AFTER_S * _NS < now_ns]
    if not passed or paper is None:
        return before
    names = around.asked | {voice.name for voice in before.kept if voice.source is LeapSource.UPSTREAM}
    heard = [
        claim
        for link, claim in zip(register.outside, claims, strict=False)
        if claim.n and register.references[link.reference].name in names
    ]
    closed = set()
    for vote in passed:
        after_ns = moment_ns(vote.mjd, leaps) + AFTER_S * _NS
        agree = [
            one
            for one in heard
            if one.epoch_ns > after_ns and abs(one.x_s - paper.at(one.epoch_ns)) + one.limit_s < SECOND_OFF_S
        ]
        if 2 * len(agree) > len(heard):
            closed.add(vote.mjd)
    if not closed:
        return before
    return replace(
        before,
        votes=tuple(vote for vote in before.votes if vote.mjd not in closed),
        kept=tuple(voice for voice in before.kept if voice.mjd not in closed),
    )


def doubt_s(known: LeapNotices, *, leaps: LeapTable, now_ns: int, silence_s: float) -> float:
    """Return by how much (s) the whole second may be wrong while a page of this epoch is served."""
    until_ns = now_ns + round(silence_s * 1e9)
    near = any(is_disputed(vote, leaps) and moment_ns(vote.mjd, leaps) <= until_ns for vote in known.votes)
    return DOUBT_S if near else 0.0


def standing(after: Turned, *, leaps: LeapTable, epoch_ns: int) -> tuple[Standing, Standing]:
    """Return the two standing conditions: a leap second is disputed; one of the table is near, and unconfirmed."""
    known, now_ns, ahead_ns = after.known, after.now_ns, round(UNCONFIRMED_AHEAD_S * 1e9)
    disputed = [vote for vote in known.votes if is_disputed(vote, leaps)]
    alone = [vote for vote in known.votes if is_alone(vote, leaps) and moment_ns(vote.mjd, leaps) - ahead_ns <= now_ns]

    def open_dispute() -> Alert:
        says = f"{_told(disputed[0], leaps)}; the doors announce what the table says; around that moment the bound "
        return _alert(
            AlertKind.LEAP_DISPUTED,
            AlertSeverity.CRITICAL,
            says + "holds a second more",
            disputed[0],
            epoch_ns,
            "compare with Bulletin C itself; where the table is wrong, put the present leap-seconds.list in place "
            "before that moment",
        )

    def unconfirmed() -> Alert:
        return _alert(
            AlertKind.LEAP_UNCONFIRMED,
            AlertSeverity.WARNING,
            f"{_told(alone[0], leaps)}; nobody else has said so yet, and nobody denies it",
            alone[0],
            epoch_ns,
            "compare the table with Bulletin C itself; see `truechimer utc leap`",
        )

    return Standing(DISPUTED, bool(disputed), open_dispute), Standing(UNCONFIRMED, bool(alone), unconfirmed)


def _told(vote: DayVote, leaps: LeapTable) -> str:
    said = {1: "a second more", -1: "a second less", 0: "no leap second"}
    return f"{vote.says()}; the table in force has {said[leaps.step_at(vote.mjd)]}"


def _alert(  # noqa: PLR0917 - the fields of an alert
    kind: AlertKind, severity: AlertSeverity, says: str, vote: DayVote, epoch_ns: int, do_next: str
) -> Alert:
    because = (*(f"for {name}" for name in vote.for_it[:8]), *(f"against {name}" for name in vote.against[:8]))
    return Alert(kind, "watch", "leap table", severity, says, because, epoch_ns, do_next)


# ---- as they stand in the record `readings` -------------------------------------------------------------------------


def voice_body(voice: Voice) -> dict[str, Any]:
    """Return a voice as it stands in a record."""
    body: dict[str, Any] = {
        "provenance": voice.provenance,
        "source": voice.source.value,
        "name": voice.name,
        "mjd": voice.mjd,
        "step_s": voice.step_s,
    }
    return body if voice.tai_minus_utc_s is None else body | {"tai_minus_utc_s": voice.tai_minus_utc_s}


def voices_from(bodies: Any) -> tuple[Voice, ...]:
    """Read voices back; raises `KeyError`, `TypeError` or `ValueError` where they are none."""
    if not isinstance(bodies, list) or len(bodies) > MOST_VOICES:
        raise ValueError("no voices on leap seconds")
    out = []
    for body in bodies:
        mjd, step_s, offset_s = body["mjd"], body["step_s"], body.get("tai_minus_utc_s")
        if type(mjd) is not int or not 0 < mjd <= MJD_LAST or type(step_s) is not int or step_s not in {-1, 0, 1}:
            raise ValueError(f"{step_s!r} at {mjd!r} is no leap second")
        if offset_s is not None and type(offset_s) is not int:
            raise ValueError(f"{offset_s!r} is no whole number of seconds")
        source = LeapSource(body["source"])
        out.append(Voice(str(body["provenance"]), source, str(body["name"]), mjd, step_s, offset_s))
    return tuple(out)
