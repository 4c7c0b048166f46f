"""What witnesses saw, from the log itself: between which of their signatures each record was written.

The log keeps the checkpoints that were cosigned as records (`witnessed`). A record below the size of one existed when
it was signed; a record after the one that holds it was written after it was signed. Both are strict, whatever the log's
own clock says; that a record is *not* in a tree that a witness saw late says nothing, for it may not have been offered.

It reads no record (`laboratory.testimony` does) and holds no tree: `root_at` answers for it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from truechimer.evidence.log_policy import CheckpointDistrusted, LogPolicy, TrustedCheckpoint, judged, seen_by


@dataclass(frozen=True, slots=True)
class Seen:
    """A tree of `size` that enough witnesses had seen at `at_s` (POSIX, by their clocks); `record` holds it, None for
    the log's last checkpoint.
    """

    size: int
    at_s: int
    record: int | None


@dataclass(frozen=True, slots=True)
class OtherHistory:
    """A checkpoint of this log's key, cosigned, that is not of this tree: the record that holds it, its size, and the
    last size below it at which witnesses and this tree agree.
    """

    record: int
    size: int
    agreed: int


@dataclass(frozen=True, slots=True)
class Sightings:
    """All that was seen, and the first contradiction (None: there is none)."""

    seen: tuple[Seen, ...]
    other: OtherHistory | None = None


def sightings(
    notes: Iterable[tuple[int, bytes]],
    last: TrustedCheckpoint,
    policy: LogPolicy,
    *,
    root_at: Callable[[int], bytes | None],
) -> Sightings:
    """Judge the checkpoints (number of the record, note) that a log holds, and its last one.

    A note that the policy does not believe is not counted. `root_at` returns the root of the first so many entries,
    None where tiles lack.
    """
    found: list[Seen] = []
    other: OtherHistory | None = None
    for record, note in notes:
        try:
            trusted = judged(note, policy)
        except CheckpointDistrusted:
            continue
        head, at_s = trusted.checkpoint, seen_by(trusted, policy)
        if head.origin != last.checkpoint.origin or at_s is None:
            continue
        root = root_at(head.size) if head.size <= record else None
        if head.size > record or (root is not None and root != head.root):
            agreed = max((one.size for one in found if one.size <= head.size), default=0)
            if other is None or agreed < other.agreed:
                other = OtherHistory(record, head.size, agreed)
            continue
        found.append(Seen(head.size, at_s, record))
    at_s = seen_by(last, policy)
    if at_s is not None:
        found.append(Seen(last.checkpoint.size, at_s, None))
    return Sightings(tuple(found), other)


class Between:
    """Between which signatures a record was written."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        """Order what was seen."""
        by_size = sorted(seen, key=lambda one: one.size)
        self._sizes = [one.size for one in by_size]
        self._until = [one.at_s for one in by_size]
        for n in reversed(range(len(by_size) - 1)):
            self._until[n] = min(self._until[n], self._until[n + 1])
        kept = sorted((one.record, one.at_s) for one in seen if one.record is not None)
        self._records = [record for record, _ in kept]
        self._from = [at_s for _, at_s in kept]
        for n in range(1, len(kept)):
            self._from[n] = max(self._from[n], self._from[n - 1])

    def of(self, record: int) -> tuple[int | None, int | None]:
        """Return after and before which moment (POSIX s, by the witnesses' clocks) a record was written; None: not
        known.
        """
        later, earlier = bisect_right(self._sizes, record), bisect_left(self._records, record)
        return (
            self._from[earlier - 1] if earlier else None,
            self._until[later] if later < len(self._until) else None,
        )
