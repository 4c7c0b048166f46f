"""Judgement: which of the outside values are believed. Each is held against the prediction and against what the other
paths say, with the whole memory in sight; what is suspected is held back, not lost, and counts again when it fits.

It takes no value in, alarms nobody and steers nothing. Where the values contradict what the noise allows, one of three
things is true: single values are false; one path has been wrong from some day on (and perhaps until another); or the
scale itself moved, and everybody says so. Each such explanation is tried: the filter runs again without those values,
or with its state opened at that day. The misfit (sum of squared innovations in sigmas, minus twice the logarithm of the
likelihood but for a constant) that it takes away is held against what it costs. The best is taken, and what is left is
explained in the same way. So a ramp that the filter has followed for a week is undone back to its first day.

That the scale moved is believed only where two paths say so after that day, or where there is one path only and goes
on saying it: nobody else could. One path alone cannot be outvoted either: of it a lone outlier is held, and a run of
values while it is young. What it goes on to say for longer (`patience_ns`) is borne out by later values, and followed.
And where its values scatter more than the noise allows all the time, it is the noise that is wrong: what is an outlier
is told from the scatter that there is (`_scatter2`).

Source: Basseville and Nikiforov 1993, chapter 7 (generalised likelihood ratio for additive changes); Willsky and Jones
1976; Kitagawa 1987 for models tried on one filter. Law of the file: + - * / and sqrt in a written order.
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import sqrt

from truechimer.steer import delayed_data
from truechimer.steer.delayed_data import DelayedData, Mark, Opened

SUSPICIOUS_SIGMAS = 4.0
"""A value this far off its prediction is looked at."""
RUN_SIGMAS = 3.5
"""So is a path whose last values are off one way, together, by this."""
RUNS = (3, 5, 7, 10, 14, 21, 28)
"""Numbers of values that are looked at together."""

COST_OF_VALUES = 24.0
"""Misfit that holding one value back must take away: five sigma."""
MORE_VALUES = 4.0
"""And for each further one of a run: two sigma."""
COST_OF_MOVE = 40.0
"""Of the scale itself: its clocks have judged one another before."""

STARTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 17, 21, 25, 30, 36, 43, 52, 62, 75, 90)
"""A path may have gone wrong so many values ago."""
PATIENCE_S, PATIENCE_STEPS = 14.0 * 86_400.0, 7
"""A path that is all there is, is held back for no longer than fourteen days or seven steps between its values (a whole
Circular T, which comes at once): what the next publications say as well, is so.
"""
MEDIAN_SQUARE, ENOUGH = 0.4549364231195724, 10
"""Median of the square of a normal variable; values that tell a scatter."""
LOOKED_AT = 8
"""Single values and moments that are tried, the most suspicious first."""
MOST_FINDINGS, MOST_STEPS = 6, 12

MOVED_X_S, MOVED_Y = 1e-7, 1e-12
"""One sigma of what a scale that moves may do; wide, and no claim."""


class What(StrEnum):
    """What was found."""

    VALUES = "values-held"
    MOVE = "scale-moved"


@dataclass(frozen=True, slots=True)
class Finding:
    """An explanation that was taken. `path` (index; -1 for the scale), from `since_ns` to `until_ns` (TAI, both
    included); `n`: values held; `open_ended`: up to the path's newest value; `misfit`: what it takes away.
    """

    what: What
    path: int
    since_ns: int
    until_ns: int
    n: int
    open_ended: bool
    misfit: float

    def says(self, history: DelayedData) -> str:
        """Return it in a sentence."""
        if self.what is What.MOVE:
            many = sum(1 for k in range(len(history.paths)) if _of_path(history, k)) > 1
            who = "all paths agree" if many else "the only path goes on saying"
            return f"{who} that UTC minus the scale moved by what the clocks' noise does not explain"
        name = history.paths[self.path].name
        worst = max([abs(m.sigmas) for m in history.marks if _is_of(m, self)], default=0.0)
        values = "value" if self.n == 1 else "values"
        return f"{name}: {self.n} {values} held back, up to {worst:.1f} sigma from what everything else says"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The history with the suspected values held, and why."""

    history: DelayedData
    findings: tuple[Finding, ...]


def judge(history: DelayedData) -> Judgement:
    """Judge all values of the memory anew: what was held before is free until it is found wrong again."""
    present = delayed_data.with_opened(delayed_data.held(history, frozenset()), _before(history))
    findings: list[Finding] = []
    while len(findings) < MOST_FINDINGS:
        suspects = _suspects(present)
        if not suspects.any:
            break
        found = _best(present, suspects)
        if found is None:
            break
        present, finding = found
        findings.append(finding)
    return Judgement(present, tuple(findings))


@dataclass(frozen=True, slots=True)
class _Suspects:
    """`singles`: marks (index) far off; `moments` (TAI ns): epochs at which something began; `any`: look at all."""

    singles: tuple[int, ...]
    moments: tuple[int, ...]
    any: bool


def _before(history: DelayedData) -> tuple[Opened, ...]:
    """Return the moves that lie before the memory: they are past judging."""
    if history.base is None or not history.marks:
        return ()
    return tuple([each for each in history.opened if each.epoch_ns <= history.base.epoch_ns])


def _counts(mark: Mark) -> bool:
    return mark.value is not None and not mark.value.held


def _is_of(mark: Mark, finding: Finding) -> bool:
    return (
        mark.value is not None
        and mark.value.path == finding.path
        and finding.since_ns <= mark.at[0] <= finding.until_ns
    )


def _misfit(history: DelayedData) -> float:
    """Return the sum of squared innovations in sigmas of the values that count."""
    whole = 0.0
    for mark in history.marks:
        if _counts(mark):
            whole += mark.sigmas * mark.sigmas
    return whole


def _scatter2(history: DelayedData) -> float:
    """Return by how much the squares of a path's innovations that is all there is exceed what the noise lets expect (1
    at least): their median, which a few false values do not move. Of several paths, 1: they check one another.
    """
    speaking = {mark.value.path for mark in history.marks if _counts(mark) and mark.value is not None}
    squares = sorted(mark.sigmas * mark.sigmas for mark in history.marks if _counts(mark))
    if len(speaking) != 1 or len(squares) < ENOUGH:
        return 1.0
    return max(squares[len(squares) // 2] / MEDIAN_SQUARE, 1.0)


def _of_path(history: DelayedData, path: int) -> list[Mark]:
    return [mark for mark in history.marks if _counts(mark) and mark.value is not None and mark.value.path == path]


def _suspects(history: DelayedData) -> _Suspects:
    """Look for what noise hardly does."""
    scatter = sqrt(_scatter2(history))
    far = [
        i for i, mark in enumerate(history.marks) if _counts(mark) and abs(mark.sigmas) > SUSPICIOUS_SIGMAS * scatter
    ]
    far.sort(key=lambda i: -abs(history.marks[i].sigmas))
    moments = [history.marks[i].at[0] for i in far[:LOOKED_AT]]
    any_run = False
    for path in range(len(history.paths)):
        off = [mark.sigmas for mark in _of_path(history, path)]
        sums = [0.0]
        for each in off:
            sums.append(sums[-1] + each)
        for length in RUNS:
            most = RUN_SIGMAS * RUN_SIGMAS * length * scatter * scatter
            any_run = any_run or any(
                (sums[k] - sums[k - length]) * (sums[k] - sums[k - length]) > most for k in range(length, len(sums))
            )
    return _Suspects(tuple(far[:LOOKED_AT]), tuple(dict.fromkeys(moments)), bool(far) or any_run)


class _Search:
    """The explanations of one history, tried one after another; `best`: gain, history and finding of the best."""

    def __init__(self, present: DelayedData) -> None:
        self.present = present
        self.misfit = _misfit(present)
        self.scatter2 = _scatter2(present)
        self.best: tuple[float, DelayedData, Finding] | None = None

    def hold(self, path: int, marks: list[Mark], *, open_ended: bool) -> float:
        """Try to hold these values of a path; return what it gains."""
        after = _without(self.present, path, marks)
        finding = Finding(
            what=What.VALUES,
            path=path,
            since_ns=marks[0].at[0],
            until_ns=marks[-1].at[0],
            n=len(marks),
            open_ended=open_ended,
            misfit=self.misfit - _misfit(after),
        )
        return self._compared(after, finding, cost=COST_OF_VALUES + MORE_VALUES * (len(marks) - 1))

    def move(self, moment_ns: int) -> float:
        """Try that the scale itself moved; return what it gains."""
        after = delayed_data.with_opened(self.present, (*self.present.opened, Opened(moment_ns, MOVED_X_S, MOVED_Y)))
        finding = Finding(
            what=What.MOVE,
            path=-1,
            since_ns=moment_ns,
            until_ns=moment_ns,
            n=0,
            open_ended=False,
            misfit=self.misfit - _misfit(after),
        )
        return self._compared(after, finding, cost=COST_OF_MOVE)

    def _compared(self, after: DelayedData, finding: Finding, *, cost: float) -> float:
        gain = finding.misfit - cost * self.scatter2
        if gain > 0.0 and (self.best is None or gain > self.best[0]):
            self.best = (gain, after, finding)
        return gain


class _Runs:
    """The runs of one path's values that could be held: the last `back` of them but the newest `kept`."""

    def __init__(self, search: _Search, path: int) -> None:
        self.search, self.path = search, path
        self.own = _of_path(search.present, path)
        self.alone = not _others(search.present, self.own)
        # the first value of all is the ground that the others stand on
        self.most = len(self.own) - 1 if self.alone else len(self.own)
        self.all = [mark for mark in search.present.marks if mark.value is not None and mark.value.path == path]
        self.place = {mark.at: i for i, mark in enumerate(self.all)} if self.alone else {}
        self.known: dict[tuple[int, int], float] = {}

    def gain(self, run: tuple[int, int]) -> float:
        """Return what holding a run gains; a run that there is not, gains less than any."""
        back, kept = run
        if not 0 <= kept < back <= self.most:
            return -float("inf")
        if run not in self.known:
            marks = self.own[len(self.own) - back : len(self.own) - kept]
            if self.alone and self._is_long(marks):
                self.known[run] = -float("inf")
                return self.known[run]
            self.known[run] = self.search.hold(self.path, marks, open_ended=kept == 0)
        return self.known[run]

    def _is_long(self, marks: list[Mark]) -> bool:
        """Return True where a path that is alone would be held for longer than it may, with what of it is held already
        just before and after.
        """
        first, last = self.place[marks[0].at], self.place[marks[-1].at]
        while first > 0 and not _counts(self.all[first - 1]):
            first -= 1
        while last + 1 < len(self.all) and not _counts(self.all[last + 1]):
            last += 1
        return self.all[last].at[0] - self.all[first].at[0] > patience_ns([mark.at[0] for mark in self.all])

    def climb(self) -> None:
        """Look for the best run: first its beginning, then its end, then both by single values."""
        at = (max(STARTS, key=lambda back: self.gain((back, 0))), 0)
        at = max([at, *[(at[0], kept) for kept in STARTS if kept < at[0]]], key=self.gain)
        for _ in range(MOST_STEPS):
            near = ((at[0] - 1, at[1]), (at[0] + 1, at[1]), (at[0], at[1] - 1), (at[0], at[1] + 1))
            better = max(near, key=self.gain)
            if self.gain(better) <= self.gain(at):
                break
            at = better


def _best(present: DelayedData, suspects: _Suspects) -> tuple[DelayedData, Finding] | None:
    """Return the explanation that takes most away, beyond its cost."""
    search = _Search(present)
    for i in suspects.singles:
        mark = present.marks[i]
        if mark.value is not None:
            newest = _of_path(present, mark.value.path)[-1]
            search.hold(mark.value.path, [mark], open_ended=mark is newest)
    for path in range(len(present.paths)):
        _Runs(search, path).climb()
    for moment_ns in suspects.moments:
        if _may_move(present, moment_ns):
            search.move(moment_ns)
    return None if search.best is None else (search.best[1], search.best[2])


def patience_ns(epochs_ns: list[int]) -> int:
    """Return for how long (ns) values of a path that is all there is may be held back, from the epochs of all of them,
    in order: fourteen days, or so many usual (median) steps between them, whichever is longer.
    """
    steps = sorted(b - a for a, b in pairwise(epochs_ns))
    usual_ns = steps[len(steps) // 2] if steps else 0
    return max(round(PATIENCE_S * 1e9), PATIENCE_STEPS * usual_ns)


def _others(history: DelayedData, own: list[Mark]) -> bool:
    """Return True where other values count than these."""
    return sum(1 for mark in history.marks if _counts(mark)) > len(own)


def _without(history: DelayedData, path: int, marks: list[Mark]) -> DelayedData:
    """Return the history with these values held beside those that are."""
    wanted = {(m.value.path, m.value.epoch_ns) for m in history.marks if m.value is not None and m.value.held}
    wanted.update((path, mark.at[0]) for mark in marks)
    return delayed_data.held(history, frozenset(wanted))


def _may_move(history: DelayedData, moment_ns: int) -> bool:
    """Return True where two paths speak from a moment on, or where one path is all there is and has said so for long
    enough.
    """
    counting = [mark for mark in history.marks if _counts(mark) and mark.value is not None]
    speaking = {mark.value.path for mark in counting if mark.value is not None}
    if len(speaking) == 1:
        own = [m.at[0] for m in history.marks if m.value is not None and m.value.path in speaking]
        return own[-1] - moment_ns > patience_ns(own)
    return len({mark.value.path for mark in counting if mark.value is not None and mark.at[0] >= moment_ns}) >= 2
