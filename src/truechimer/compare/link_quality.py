"""A link's readings with the quality that its receiver's evidence gives them: refused ones leave, doubtful ones come
with a larger sigma.

It judges no receiver (`receiver_quality`) and votes on no link (`selection`). Whoever takes readings of a link takes
them through `believed`: averages, the readings that go into the fold, the values that steering filters.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from truechimer.compare.reading import Reading
from truechimer.compare.receiver_quality import DOUBT_FACTOR, LinkLevel, LinkQuality
from truechimer.errors import Misuse

SILENT_S = 900.0
"""Evidence that is older than this says nothing of a reading; a refusal it keeps."""


class LinkQualityMisuse(Misuse):
    """Qualities that are not in order of time."""


@dataclass(frozen=True, slots=True)
class RefusedReading:
    """A reading that is not used, and the quality that refused it."""

    reading: Reading
    quality: LinkQuality


@dataclass(frozen=True, slots=True)
class Believed:
    """`readings`: what is used, in the order in which it came; `refused`; `doubtful`: how many have a larger sigma;
    `unjudged`: how many of these because the receiver said nothing near them.
    """

    readings: tuple[Reading, ...]
    refused: tuple[RefusedReading, ...]
    doubtful: int
    unjudged: int


def believed(
    readings: Iterable[Reading], qualities: Sequence[LinkQuality], *, ends: frozenset[str], span_s: float = 0.0
) -> Believed:
    """Return the readings with what the evidence makes of those of one link.

    `ends`: the two names of the link; other readings pass as they are. `qualities`: in order of time. `span_s`: how
    long a reading averages (780 s for a CGGTTS track), centred on its epoch: the worst moment of it counts. A reading
    near which the receiver was silent is doubtful, or refused where the last that was heard was refused: who is
    jammed until he falls silent is not believed for that.
    """
    times = [each.epoch_tai_ns for each in qualities]
    if any(a > b for a, b in pairwise(times)):
        raise LinkQualityMisuse("qualities come in order of time: sort the epochs of the stream")
    kept: list[Reading] = []
    refused: list[RefusedReading] = []
    doubtful = unjudged = 0
    for reading in readings:
        if {reading.a, reading.b} != ends:
            kept.append(reading)
            continue
        half_ns = round(span_s * 5e8)
        at, silent = _worst(qualities, times, reading.epoch_tai_ns - half_ns, reading.epoch_tai_ns + half_ns)
        if at is not None and at.level is LinkLevel.REFUSED:
            refused.append(RefusedReading(reading, at))
        elif silent or (at is not None and at.level is LinkLevel.DOUBTFUL):
            doubtful += 1
            unjudged += silent
            kept.append(replace(reading, u_s=reading.u_s * DOUBT_FACTOR))
        else:
            kept.append(reading)
    return Believed(tuple(kept), tuple(refused), doubtful, unjudged)


def _worst(
    qualities: Sequence[LinkQuality], times: list[int], first_ns: int, last_ns: int
) -> tuple[LinkQuality | None, bool]:
    """Return the worst quality from the newest before an interval to its end, and whether the receiver was silent."""
    end = bisect_right(times, last_ns)
    begin = max(bisect_right(times, first_ns) - 1, 0)
    within = qualities[begin:end]
    if not within:
        return None, True
    rank = list(LinkLevel)
    worst = max(within, key=lambda each: rank.index(each.level))
    # evidence from long before the interval speaks of it only where it refused
    silent = (last_ns - within[-1].epoch_tai_ns) / 1e9 > SILENT_S
    if silent and within[-1].level is LinkLevel.REFUSED:
        worst = within[-1]
    return worst, silent
