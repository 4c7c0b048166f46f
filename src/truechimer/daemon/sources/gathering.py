"""Gathering: batches of several sources into the order in which the fold can take them; it changes no reading and drops
none silently.

The fold takes epochs that only grow, and the clocks of one epoch together. So where a laboratory has clocks, batches of
one epoch from several files are joined (they wait a moment for each other), and what a server or another laboratory
says of UTC waits for the next epoch of the clocks, to which it is older by its age. It reads no clock: the moment is an
argument (monotonic seconds).
"""

import heapq
from collections.abc import Iterable, Iterator
from itertools import groupby

from truechimer.clocks.register import is_reference
from truechimer.compare.reading import Reading
from truechimer.daemon.sources.feeds import Batch
from truechimer.laboratory.receiving import Evidence

HOLD_S = 1.0
"""How long an epoch of one file waits for the other files."""

ROUND_S = 0.25
"""How long an answer waits for those of other servers that were asked with it. Taken one by one, servers that differ by
less than they can exclude look like a jumping rate.
"""

SILENT_FILE_S = 30.0
"""A file that brought nothing for so long is not waited for."""


def has_clocks(batch: Batch) -> bool:
    """Return True where a batch compares clocks with each other, False where it only says what UTC is."""
    return any(not (is_reference(reading.a) or is_reference(reading.b)) for reading in batch.readings)


def joined(batches: Iterable[Batch]) -> Batch:
    """Join batches of one epoch (at least one); the epoch's raw value is that of any of them."""
    parts = list(batches)
    if len(parts) == 1:
        return parts[0]
    readings: tuple[Reading, ...] = sum((part.readings for part in parts), ())
    raw_ns = next((part.raw_ns for part in parts if part.raw_ns is not None), None)
    evidence: tuple[Evidence, ...] = sum((part.evidence for part in parts), ())
    return Batch(parts[0].epoch_tai_ns, raw_ns, readings, max(part.stratum for part in parts), evidence=evidence)


def in_order(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Order a backlog that is sorted by epoch: join what is of one epoch, and let references wait for the next epoch of
    the clocks.

    A reference's reading that would be replaced by a newer one while it waits goes first, on its own.
    """
    waiting: list[Batch] = []
    for _, group in groupby(batches, key=lambda batch: batch.epoch_tai_ns):
        batch = joined(group)
        if has_clocks(batch):
            yield with_references(batch, waiting)
            waiting = []
            continue
        pairs = {(reading.a, reading.b) for reading in batch.readings}
        if any((reading.a, reading.b) in pairs for held in waiting for reading in held.readings):
            yield from waiting
            waiting = []
        waiting.append(batch)
    yield from waiting


def with_references(batch: Batch, references: list[Batch]) -> Batch:
    """Add what was said of UTC before an epoch of the clocks to it; each reading keeps its own epoch."""
    if not references:
        return batch
    readings = batch.readings + tuple(reading for held in references for reading in held.readings)
    evidence = tuple(one for held in references for one in held.evidence) + batch.evidence
    stratum = max(batch.stratum, *(held.stratum for held in references))
    return Batch(batch.epoch_tai_ns, batch.raw_ns, readings, stratum, evidence=evidence)


class Gathering:
    """Live batches: `add` as they come, `ready` for what may go into the fold now.

    `clocks`: whether the laboratory has clocks beside the host; without, nothing has to wait. `patience_s`: how long a
    reference waits for the clocks before it goes alone.
    """

    def __init__(self, *, clocks: bool, patience_s: float, hold_s: float = HOLD_S) -> None:
        self._clocks, self._patience_s, self._hold_s = clocks, patience_s, hold_s
        self._straight: list[Batch] = []
        self._epochs: list[tuple[int, int, float, Batch]] = []
        self._references: list[tuple[float, Batch]] = []
        self._round: list[tuple[float, Batch]] = []
        self._in_round: frozenset[str] = frozenset()
        self._newest: dict[str, tuple[int, float]] = {}
        self._count = 0

    def add(self, batch: Batch, now_s: float) -> None:
        """Take a batch in."""
        if batch.world is not None:
            self._straight.append(batch)
        elif not self._clocks:
            self._round.append((now_s, batch))
        elif has_clocks(batch):
            self._count += 1
            heapq.heappush(self._epochs, (batch.epoch_tai_ns, self._count, now_s, batch))
            self._newest[batch.source] = (batch.epoch_tai_ns, now_s)
        else:
            self._references.append((now_s, batch))

    def ready(self, now_s: float) -> list[Batch]:
        """Return what may go into the fold, in its order."""
        out, self._straight = self._straight, []
        out += self._rounds(now_s)
        while self._epochs and self._is_complete(*self._epochs[0][:3], now_s):
            epoch_ns = self._epochs[0][0]
            parts = []
            while self._epochs and self._epochs[0][0] == epoch_ns:
                parts.append(heapq.heappop(self._epochs)[3])
            before = [held for _, held in self._references if held.epoch_tai_ns <= epoch_ns]
            self._references = [item for item in self._references if item[1].epoch_tai_ns > epoch_ns]
            out.append(with_references(joined(parts), before))
        if not self._epochs:
            out += [held for since, held in self._references if now_s - since >= self._patience_s]
            self._references = [item for item in self._references if now_s - item[0] < self._patience_s]
        return out

    def _rounds(self, now_s: float) -> list[Batch]:
        """Return the answers that came together as one batch, each with its own epoch, at that of the newest."""
        sources = frozenset(batch.source for _, batch in self._round)
        if not self._round or (not sources >= self._in_round and now_s - self._round[0][0] < ROUND_S):
            return []
        self._in_round = sources
        held, self._round = [batch for _, batch in self._round], []
        last: list[Batch] = []
        whole: list[list[Batch]] = []
        for batch in sorted(held, key=lambda item: item.epoch_tai_ns):
            if any(batch.source == other.source for other in last):
                whole.append(last)
                last = []
            last.append(batch)
        return [with_references(group[-1], group[:-1]) for group in (*whole, last)]

    def _is_complete(self, epoch_ns: int, _count: int, arrived_s: float, now_s: float) -> bool:
        """Return True where no file can still bring something for this epoch, or it has waited long enough."""
        if now_s - arrived_s >= self._hold_s:
            return True
        return all(newest >= epoch_ns for newest, at in self._newest.values() if now_s - at < SILENT_FILE_S)
