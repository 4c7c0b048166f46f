"""Dates against each other: entries that say an earlier time than the log had reached, and minutes without a heartbeat.

It believes no date by itself and no clock: order is what the tree proves, so a date that goes back against the order,
by more than work in progress explains, was written afterwards. When something existed, at the latest and at the
earliest, only witnesses say (`evidence.seen`). A log is judged from its own records alone; what it finds is no proof
that a second was wrong (`evidence.verdict` judges seconds), but a question to whoever kept the log.

Source: D36; `docs/guide/records.md` for the fields.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

NS_PER_S = 10**9
LATE_S = 300.0
LATE_INTERVALS = 10.0
"""An epoch may be taken in so much later than it was: readings come in files, and links answer late."""
MISSED = 3.0
"""So many heartbeats' time without one is a gap."""
CLOCKS_APART_S = 10.0
"""The scale's interval and the host's wall clock further apart than this are said: one of them was set."""


class DatingFault(StrEnum):
    """What is not as it should be with the dates."""

    BACKDATED = "backdated"
    GAP = "gap"
    CLOCKS_APART = "clocks-apart"


@dataclass(frozen=True, slots=True)
class Dated:
    """One finding about entry `index`, in a sentence."""

    what: DatingFault
    index: int
    says: str


@dataclass(slots=True)
class _Reached:
    """How far the log has come, in its own dates (TAI ns)."""

    beat_ns: int | None = None
    """The last heartbeat's earliest instant, by whichever of both clocks says less."""
    beat_at_ns: int | None = None
    every_s: float = 60.0
    interval_s: float = 1.0
    found: list[Dated] = field(default_factory=list)
    apart: bool = False


def misdated(entries: Iterable[bytes]) -> list[Dated]:
    """Return what is odd about the dates of a log's entries, in their order. Entries that are no records are passed
    over: others judge their form.
    """
    reached = _Reached()
    for index, entry in enumerate(entries):
        try:
            body = json.loads(entry)
            _take(reached, index, body)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
    return reached.found


def _take(reached: _Reached, index: int, body: dict[str, str]) -> None:
    kind = body["kind"]
    if kind == "run-start":
        reached.interval_s = float(str(body.get("interval_s", "1.0 s")).partition(" ")[0])
        reached.beat_at_ns = None  # between two runs nobody beats; dates still do not go back
    epoch_ns = _epoch_ns(body)
    allowed_s = LATE_S + LATE_INTERVALS * reached.interval_s
    if epoch_ns is not None and reached.beat_ns is not None:
        back_s = (reached.beat_ns - epoch_ns) / NS_PER_S
        if back_s > allowed_s:
            says = f"entry {index} ({kind}) is dated {back_s:.0f} s before a heartbeat that stands above it"
            reached.found.append(Dated(DatingFault.BACKDATED, index, says))
    if kind == "heartbeat" and epoch_ns is not None:
        _beat(reached, index, body, epoch_ns)


def _beat(reached: _Reached, index: int, body: dict[str, str], epoch_ns: int) -> None:
    every_s = float(body.get("every_s", 60))
    if reached.beat_at_ns is not None:
        silent_s = (epoch_ns - reached.beat_at_ns) / NS_PER_S
        if silent_s > MISSED * every_s:
            says = f"no heartbeat for {silent_s:.0f} s before entry {index}: the laboratory stood still, or entries of "
            says += "that time were left out"
            reached.found.append(Dated(DatingFault.GAP, index, says))
    host = int(body["host_earliest_tai_ns"]), int(body["host_latest_tai_ns"])
    earliest_ns = min(epoch_ns, host[0])
    if "scale_earliest_tai_ns" in body:
        scale = int(body["scale_earliest_tai_ns"]), int(body["scale_latest_tai_ns"])
        apart_s = max(scale[0] - host[1], host[0] - scale[1], 0) / NS_PER_S
        if apart_s > CLOCKS_APART_S and not reached.apart:
            says = f"at entry {index} the scale and the machine's wall clock are {apart_s:.0f} s apart"
            reached.found.append(Dated(DatingFault.CLOCKS_APART, index, says))
        reached.apart = apart_s > CLOCKS_APART_S
        earliest_ns = scale[0]
    reached.beat_ns = max(reached.beat_ns or earliest_ns, earliest_ns)
    reached.beat_at_ns = epoch_ns


def _epoch_ns(body: dict[str, str]) -> int | None:
    """Return the instant that an entry is dated at, TAI ns; None where it has none of its own."""
    if "epoch_tai_ns" in body:
        return int(body["epoch_tai_ns"])
    return int(body["anchor_tai_fs"]) // 10**6 if "anchor_tai_fs" in body else None
