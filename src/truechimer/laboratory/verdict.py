"""The verdict over an interval: each UTC second proved, unproved or moved, from a log's testimony and its replay.

It joins what `evidence.verdict` found at each moment into seconds, and takes back every proof that rests on records
after a break of the chain, after a record that does not follow from its readings, or on an envelope that nobody signed.

What it cannot see in records that no witness has seen: whoever holds the whole disk and forges readings of a majority
of the operators, and every record after them, forges a log that proves what it says.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truechimer.errors import Rejected
from truechimer.evidence.seen import Between, Sightings
from truechimer.evidence.verdict import (
    WHYS,
    WORDS,
    Claim,
    Flags,
    Floats,
    Moments,
    Served,
    Why,
    Word,
    judge,
    operators_of,
)
from truechimer.instants import LeapTable
from truechimer.instants.mjd import MJD_OF_1970
from truechimer.laboratory.replay import Difference
from truechimer.laboratory.testimony import Decision, Era, Testimony

MOST_SECONDS = 40_000_000
"""A year and a quarter at once."""

ORDERS_TOLD = 20
ALERTS_TOLD = 10
ALERTS_BEFORE_S = 3600.0
EDGE_S = 1e-9
DAY_S = 86_400
WITNESS_SLACK_S = 120
"""A witness's clock is its own: a record that says a time so close to its signature is not held against the log."""
WHOLE_S = 1e-6
"""A second of which all but this is stated is a whole one."""
_PROVED, _UNPROVED, _MOVED = range(3)


class VerdictRejected(Rejected):
    """The interval cannot be judged."""


@dataclass(frozen=True, slots=True)
class Before:
    """What a log holds before a movement: the last proved second (TAI s), decisions and alerts since, and whose
    envelope was in force.
    """

    last_proved_tai_s: int | None
    orders: tuple[Decision, ...]
    alerts: tuple[Decision, ...]
    signers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """Seconds of one kind, `from_tai_s` to `to_tai_s` (not included), TAI seconds since 1970.

    Proved: `error_s`, within which served minus UTC lay, and `by`, the operators who agreed throughout. Unproved:
    `why`. Moved: `moved_s`, served minus UTC at its worst, at least `at_least_s`, `by` whom that
    is said (nobody where the records themselves contradict each other), and what came `before`.
    """

    word: Word
    from_tai_s: int
    to_tai_s: int
    why: str = ""
    error_s: float | None = None
    by: tuple[str, ...] = ()
    moved_s: float | None = None
    at_least_s: float | None = None
    records: tuple[int, int] | None = None
    before: Before | None = None

    @property
    def seconds(self) -> int:
        """How many seconds it has."""
        return self.to_tai_s - self.from_tai_s


@dataclass(frozen=True, slots=True)
class Tampering:
    """The first thing that is not as it should be: `what` (signature, chain, replay, moved, dated, fork), the first
    record concerned (None: the served time alone), why, and the last second proved before it.
    """

    what: str
    record: int | None
    why: str
    last_proved_tai_s: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """All segments in order, without a gap; `tampering` None where nothing was found."""

    segments: tuple[Segment, ...]
    tampering: Tampering | None = None

    def count(self, word: Word) -> int:
        """Return how many seconds have this word."""
        return sum(segment.seconds for segment in self.segments if segment.word is word)


@dataclass(slots=True)
class _Seconds:
    """What is known of each second of the interval."""

    word: NDArray[np.int8]
    why: NDArray[np.int8]
    error_s: Floats
    moved_s: Floats
    at_least_s: Floats
    by: Flags
    label_ns: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    names: list[str]
    base_ns: int = 0


def reach(said: Testimony) -> tuple[int, int] | None:
    """Return the first TAI second that the log states anything of, and the one after its last; None for no era with a
    line or a reading.
    """
    ends = []
    for era in said.eras:
        axis = _axis(era.served(), era.claims())
        if axis is not None:
            ends.append(
                (
                    era.base_ns // 10**9 + int(np.ceil(axis[1][0] - WHOLE_S)),
                    era.base_ns // 10**9 + int(axis[1][-1] + WHOLE_S),
                )
            )
    return (min(first for first, _ in ends), max(last for _, last in ends)) if ends else None


def verdict(
    said: Testimony,
    from_tai_s: int,
    to_tai_s: int,
    *,
    within_s: float = 1.0,
    difference: Difference | None = None,
    believed: Testimony | None = None,
    first_bad: int | None = None,
    sightings: Sightings | None = None,
) -> Verdict:
    """Judge the seconds from `from_tai_s` to `to_tai_s` (not included). `within_s`: a wider error proves nothing;
    `difference`: the first record that a replay makes otherwise, and `believed` what the records say that stand before
    its epoch: only what they prove is proved; `first_bad`: the first entry of the log that is not
    what was signed; `sightings`: what witnesses saw of it and when. Raises `VerdictRejected`.
    """
    n = to_tai_s - from_tai_s
    if n <= 0:
        raise VerdictRejected("the interval is empty or ends before it begins: give --from before --to")
    if n > MOST_SECONDS:
        raise VerdictRejected(f"{n} seconds at once are too many: judge at most {MOST_SECONDS}, one part after another")
    found = _found(said, from_tai_s, n, within_s=within_s)
    _take_back(said, found, difference)
    if believed is not None:
        lost = (found.word == _PROVED) & (_found(believed, from_tai_s, n, within_s=within_s).word != _PROVED)
        _unprove(found, np.flatnonzero(lost), Why.DIFFERENT)
    dated = None if sightings is None else _take_back_unseen(said, found, sightings)
    return Verdict(
        tuple(_segments(said, found, from_tai_s)),
        _tampering(said, found, from_tai_s, difference, first_bad=first_bad, seen=dated),
    )


def _take_back_unseen(said: Testimony, found: _Seconds, sightings: Sightings) -> tuple[int, str, str] | None:
    """Take back the seconds whose lines were written at another time than they say, or in another history; return the
    first record of that kind, what it is and why.
    """
    things = []
    if (other := sightings.other) is not None:
        _unprove(found, np.flatnonzero(found.last >= other.agreed), Why.OTHER_HISTORY)
        why = f"witnesses signed another tree of {other.size} entries (record {other.record})"
        things.append((other.agreed, "fork", why))
    between = Between(sightings.seen)
    wrong = []
    leaps = said.leaps
    tai_of = {one.at_s: _tai_of_posix(one.at_s, leaps) for one in sightings.seen} if leaps is not None else {}
    for era in said.eras:
        for seq, t_ns, x_s in zip(era.seq, era.t_ns, era.x_s, strict=True):
            after_s, before_s = between.of(seq)
            tai_s = t_ns / 1e9 + x_s
            early_s = None if after_s is None else tai_of[after_s] - WITNESS_SLACK_S
            late_s = None if before_s is None else tai_of[before_s] + WITNESS_SLACK_S
            if early_s is not None and tai_s < early_s:
                wrong.append((seq, f"says a time {early_s - tai_s + WITNESS_SLACK_S:.0f} s before it was written"))
            elif late_s is not None and tai_s > late_s:
                wrong.append((seq, f"says a time {tai_s - late_s + WITNESS_SLACK_S:.0f} s after witnesses had seen it"))
    if wrong:
        bad = np.array([seq for seq, _ in wrong])
        at = np.searchsorted(bad, found.first)
        hit = (found.last >= 0) & (at < len(bad)) & (bad[np.minimum(at, len(bad) - 1)] <= found.last)
        _unprove(found, np.flatnonzero(hit), Why.DATED)
        things.append((wrong[0][0], "dated", wrong[0][1]))
    return min(things, default=None)


def _tai_of_posix(posix_s: int, leaps: LeapTable) -> int:
    """Return the TAI second of a witness's POSIX time; beyond the table the last difference stands."""
    day = MJD_OF_1970 + posix_s // DAY_S
    before = [entry for entry in leaps.entries if entry.mjd <= day]
    return posix_s + (before[-1] if before else leaps.entries[0]).tai_minus_utc_s


def _found(said: Testimony, from_tai_s: int, n: int, *, within_s: float) -> _Seconds:
    """Return what the records say of `n` seconds, whatever they are worth."""
    names = list(dict.fromkeys(name for era in said.eras for name in operators_of(era.claims())))
    found = _Seconds(
        word=np.full(n, _UNPROVED, dtype=np.int8),
        why=np.full(n, WHYS.index(Why.OUTSIDE), dtype=np.int8),
        error_s=np.zeros(n),
        moved_s=np.zeros(n),
        at_least_s=np.zeros(n),
        by=np.ones((n, len(names)), dtype=bool),
        label_ns=np.full(n, -1, dtype=np.int64),
        first=np.full(n, np.iinfo(np.int64).max, dtype=np.int64),
        last=np.full(n, -1, dtype=np.int64),
        names=names,
    )
    for era in said.eras:
        _judge_era(era, found, from_tai_s, within_s)
    return found


def _tampering(
    said: Testimony,
    found: _Seconds,
    from_tai_s: int,
    difference: Difference | None,
    *,
    first_bad: int | None,
    seen: tuple[int, str, str] | None,
) -> Tampering | None:
    """Return the first thing, in the order of records, that is not as it should be; of a movement its second."""
    moved = np.flatnonzero(found.word == _MOVED)
    things: list[tuple[int, str, str]] = [] if seen is None else [seen]
    if first_bad is not None:
        things.append((first_bad, "signature", "this entry of the log is not the one that was signed"))
    elif said.broken is not None:
        things.append((said.broken[0], "chain", said.broken[1]))
    if difference is not None:
        things.append((difference.seq, "replay", difference.why))
    if len(moved):
        seq = int(found.last[moved[0]])
        why = "what was served lies outside what the operators allow"
        # a record that differs within the moved second says more than the second
        things.append((seq + 1 if seq >= 0 else np.iinfo(np.int64).max, "moved", why))
    if not things:
        return None
    record, what, why = min(things, key=lambda thing: thing[0])
    proved = np.flatnonzero(found.word == _PROVED)
    if what == "moved":
        proved = proved[proved < moved[0]]
        return Tampering(what, None, why, from_tai_s + int(proved[-1]) if len(proved) else None)
    before = proved[found.last[proved] < record]
    return Tampering(what, record, why, from_tai_s + int(before[-1]) if len(before) else None)


def _axis(served: Served, claims: list[Claim]) -> tuple[Floats, Floats] | None:
    """Return label times (s since the era's base) and the same moments on UTC's axis, both increasing; None where the
    era says nothing.
    """
    if len(served.t_s):
        t = np.unique(np.r_[served.t_s, served.until_s[-1]])
    else:
        times = [series.t_s for claim in claims for series, _ in claim.path if len(series.t_s)]
        if not times:
            return None
        t = np.array([min(one[0] for one in times), max(one[-1] for one in times)])
        t = np.unique(t)
    utc = judge(served, claims, t, within_s=1.0).utc_s
    return t, np.maximum.accumulate(utc)


def _judge_era(era: Era, found: _Seconds, from_tai_s: int, within_s: float) -> None:
    """Judge every moment of an era that matters, and add it to its second."""
    served, claims = era.served(), era.claims()
    axis = _axis(served, claims)
    if axis is None:
        return
    t_axis, utc_axis = axis
    n, base_s = len(found.word), era.base_ns // 10**9
    found.base_ns = era.base_ns
    first, last = max(int(np.floor(utc_axis[0])) + base_s, from_tai_s), int(np.ceil(utc_axis[-1])) + base_s
    seconds = np.arange(first, min(last, from_tai_s + n))
    if not len(seconds):
        return
    nothing = WHYS.index(Why.NOTHING_STATED)
    found.why[seconds - from_tai_s] = nothing
    starts = np.interp((seconds - base_s).astype(np.float64), utc_axis, t_axis)
    ends = np.interp((seconds + 1 - base_s).astype(np.float64), utc_axis, t_axis)
    inside = (starts >= t_axis[0]) & (ends <= t_axis[-1] + EDGE_S)
    low, high = starts[0] - 1.0, ends[-1] + 1.0
    pieces = np.r_[served.t_s, served.until_s - EDGE_S]
    t = np.unique(np.r_[starts[inside], pieces[(pieces >= low) & (pieces <= high)]])
    t = t[(t >= t_axis[0]) & (t <= t_axis[-1])]
    _judge_at(t, served, claims, found, base_s - from_tai_s, within_s=within_s)
    # where operators come and go, UTC as they have it turns by a little: a second's begin may count to the one before
    whole = seconds[inside]
    missed = whole[found.label_ns[whole - from_tai_s] < 0]
    middles = np.interp(missed - base_s + 0.5, utc_axis, t_axis)
    _judge_at(middles, served, claims, found, base_s - from_tai_s, within_s=within_s)
    # a second of which the log holds a part only is not proved by that part
    begins = (seconds - base_s).astype(np.float64)
    cut = seconds[(begins < utc_axis[0] - WHOLE_S) | (begins + 1.0 > utc_axis[-1] + WHOLE_S)] - from_tai_s
    cut = cut[found.word[cut] == _PROVED]
    found.word[cut], found.why[cut] = _UNPROVED, nothing


def _judge_at(
    t_s: Floats, served: Served, claims: list[Claim], found: _Seconds, shift_s: int, *, within_s: float
) -> None:
    """Judge moments, some at a time, and add them to their seconds."""
    for some in np.array_split(t_s, max(1, len(t_s) // 50_000)):
        if len(some):
            _add(judge(served, claims, some, within_s=within_s), found, served, operators_of(claims), shift_s)


def _add(at: Moments, found: _Seconds, served: Served, operators: tuple[str, ...], shift_s: int) -> None:
    """Add moments to their seconds: the gravest word counts, the widest error, and who agreed at all of them.

    `shift_s`: from the era's base to the interval's begin.
    """
    second = np.floor(at.utc_s + EDGE_S).astype(np.int64) + shift_s
    keep = (second >= 0) & (second < len(found.word))
    second = second[keep]
    word, why, low, high = at.word[keep], at.why[keep], at.low_s[keep], at.high_s[keep]
    fresh = found.label_ns[second] < 0
    label_ns = found.base_ns + np.round(at.t_s[keep] * 1e9).astype(np.int64)
    found.word[second[fresh]] = _PROVED
    first_of = np.unique(second[fresh], return_index=True)
    found.label_ns[first_of[0]] = label_ns[fresh][first_of[1]]
    np.maximum.at(found.word, second, word)
    unproved = word == _UNPROVED
    found.why[second[unproved][::-1]] = why[unproved][::-1]
    error = np.where(np.isnan(low), 0.0, np.maximum(np.abs(low), np.abs(high)))
    np.maximum.at(found.error_s, second, error)
    for index in np.flatnonzero(word == _MOVED):
        s, middle = second[index], 0.5 * (low[index] + high[index])
        least = low[index] if low[index] > 0.0 else -high[index]
        if abs(middle) > abs(found.moved_s[s]):
            found.moved_s[s], found.at_least_s[s] = middle, least
    columns = [found.names.index(name) for name in operators]
    agreed = np.zeros((len(second), len(found.names)), dtype=bool)
    agreed[:, columns] = at.by[keep]
    np.logical_and.at(found.by, second, agreed)
    line = at.line[keep]
    there = line >= 0
    if len(served.seq):
        np.minimum.at(found.first, second[there], served.seq[line[there]])
        np.maximum.at(found.last, second[there], served.seq[line[there]])


def _take_back(said: Testimony, found: _Seconds, difference: Difference | None) -> None:
    """Take back what rests on records that cannot be trusted."""
    known = found.label_ns >= 0
    if difference is not None:
        t_ns = _moment_of(said, difference.seq)
        moved_s = _forged_s(difference)
        after = np.flatnonzero(known & (found.label_ns >= t_ns))
        held = np.flatnonzero(known & (found.label_ns <= t_ns) & (found.last >= difference.seq))
        affected = np.union1d(held, after)
        _unprove(found, affected, Why.DIFFERENT)
        if moved_s and len(affected):
            found.word[affected[0]] = _MOVED
            found.by[affected[0]] = False
            found.moved_s[affected[0]], found.at_least_s[affected[0]] = moved_s, abs(moved_s)
    for t_ns, _, _ in said.unsigned:
        end_ns = min((again for again in said.signed_again_ns if again > t_ns), default=np.iinfo(np.int64).max)
        _unprove(found, np.flatnonzero(known & (found.label_ns >= t_ns) & (found.label_ns < end_ns)), Why.NOT_SIGNED)
    if said.broken is not None:
        last_known = int(found.label_ns.max(initial=-1))
        late = (found.label_ns < 0) & (np.arange(len(found.word)) > _last_index(found.label_ns))
        if said.broken_ns is None or last_known <= said.broken_ns:
            _unprove(found, np.flatnonzero(late), Why.BROKEN)


def _last_index(label_ns: NDArray[np.int64]) -> int:
    """Return the last second of which the log says anything, -1 for none."""
    known = np.flatnonzero(label_ns >= 0)
    return int(known[-1]) if len(known) else -1


def _unprove(found: _Seconds, seconds: NDArray[np.int64], why: Why) -> None:
    """Take the proof of seconds back; what was moved stays moved."""
    some = seconds[found.word[seconds] != _MOVED]
    found.word[some], found.why[some] = _UNPROVED, WHYS.index(why)


def _moment_of(said: Testimony, seq: int) -> int:
    """Return the label (ns) of the last line served before a record, or of the log's begin."""
    before = [t_ns for number, t_ns in said.marks.items() if number <= seq]
    return max(before, default=said.eras[0].base_ns if said.eras else 0)


def _forged_s(difference: Difference) -> float:
    """Return how far a recorded line departs from the one that its readings give, s; 0 where it is no line."""
    try:
        recorded, replayed = (json.loads(data or b"{}") for data in (difference.recorded, difference.replayed))
        if recorded.get("kind") != "served-time" or replayed.get("kind") != "served-time":
            return 0.0
        return (int(recorded["anchor_tai_fs"]) - int(replayed["anchor_tai_fs"])) / 1e15
    except (ValueError, LookupError, TypeError, AttributeError):
        return 0.0


def _segments(said: Testimony, found: _Seconds, from_tai_s: int) -> Iterable[Segment]:
    """Yield runs of seconds of one kind."""
    n = len(found.word)
    # which operators agreed, as one number, so that runs can be compared
    agreed = found.by @ (1 << np.arange(len(found.names), dtype=object)) if found.names else np.zeros(n, dtype=object)
    kind = np.where(found.word == _PROVED, agreed, np.where(found.word == _UNPROVED, found.why, 0))
    change = np.flatnonzero((found.word[1:] != found.word[:-1]) | (kind[1:] != kind[:-1])) + 1
    last_proved: int | None = None
    for begin, end in zip(np.r_[0, change], np.r_[change, n], strict=True):
        word, part = WORDS[found.word[begin]], slice(begin, end)
        records = (int(found.first[part].min()), int(found.last[part].max()))
        first, beyond = from_tai_s + int(begin), from_tai_s + int(end)
        seqs = records if records[1] >= 0 else None
        if word is Word.PROVED:
            names = tuple(name for k, name in enumerate(found.names) if found.by[begin, k])
            yield Segment(word, first, beyond, error_s=float(found.error_s[part].max()), by=names, records=seqs)
            last_proved = int(end) - 1
        elif word is Word.UNPROVED:
            yield Segment(word, first, beyond, why=WHYS[found.why[begin]].value, records=seqs)
        else:
            worst = int(begin) + int(np.argmax(np.abs(found.moved_s[part])))
            yield Segment(
                word,
                first,
                beyond,
                moved_s=float(found.moved_s[worst]),
                at_least_s=float(found.at_least_s[worst]),
                by=tuple(name for k, name in enumerate(found.names) if found.by[worst, k]),
                records=seqs,
                before=_before(said, found, last_proved, (int(begin), int(end)), from_tai_s=from_tai_s),
            )


def _before(
    said: Testimony, found: _Seconds, last_proved: int | None, moved: tuple[int, int], *, from_tai_s: int
) -> Before:
    """Return what the log holds before a movement."""
    until_ns = int(found.label_ns[moved[1] - 1])
    since_ns = int(found.label_ns[last_proved]) if last_proved is not None else 0
    orders = [one for one in said.decisions if since_ns <= one.t_ns <= until_ns]
    alerts_from_ns = min(since_ns, int(found.label_ns[moved[0]])) - round(ALERTS_BEFORE_S * 1e9)
    alerts = [one for one in said.alerts if alerts_from_ns <= one.t_ns <= until_ns]
    return Before(
        None if last_proved is None else from_tai_s + last_proved,
        tuple(orders[-ORDERS_TOLD:]),
        tuple(alerts[-ALERTS_TOLD:]),
        said.signers,
    )
