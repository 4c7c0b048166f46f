"""Smear watch: gathers what each source said around a leap second, and tells which of them smear it.

It judges nothing (`watch.smear`), and far from a leap second it does nothing at all.
"""

from collections import deque
from dataclasses import dataclass

from truechimer.clocks.register import Register
from truechimer.compare.claims import HALF_WIDTH_SIGMAS, Claim
from truechimer.instants import FS_PER_NS, LeapTable
from truechimer.steer.steering_order import Coordination
from truechimer.watch.smear import AROUND_S, OffsetSample, smear_of

EVERY_S = 120.0
KEPT = 1536
"""Samples of one source, 50 h at `EVERY_S`."""
DO_NEXT = (
    "take its name out of the file, or let all servers of this laboratory be of one kind: smears must not be mixed"
)


@dataclass(frozen=True, slots=True)
class SmearNews:
    """A source (by its name) that smears, in words."""

    subject: str
    says: str


class SmearWatch:
    """One for a laboratory; call `look` as often as you like."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[OffsetSample]] = {}
        self._leap_mjd: int | None = None
        self._told: set[str] = set()

    def look(
        self, claims: tuple[Claim, ...], register: Register, paper: Coordination, *, leaps: LeapTable, now_ns: int
    ) -> list[SmearNews]:
        """Take in what the sources said last, against UTC(k) as `paper` gives it; return who is newly seen to smear.
        `now_ns`: TAI.
        """
        near = _leap_near(leaps, now_ns)
        if near is None:
            self._samples.clear()
            self._told.clear()
            self._leap_mjd = None
            return []
        mjd, leap_ns, step_s = near
        if mjd != self._leap_mjd:
            self._samples.clear()
            self._told.clear()
            self._leap_mjd = mjd
        news = []
        for link, claim in zip(register.outside, claims, strict=False):
            name = register.references[link.reference].name
            if not claim.n or name in self._told or not self._take(name, claim, paper, leap_ns):
                continue
            shape = smear_of(self._samples[name], step_s=step_s)
            if shape is not None:
                self._told.add(name)
                news.append(SmearNews(name, f"{name} smears the leap second of MJD {mjd}: {shape.name}"))
        return news

    def _take(self, name: str, claim: Claim, paper: Coordination, leap_ns: int) -> bool:
        """Keep a claim that is new and not too soon after the last; return whether it was kept."""
        after_s = (claim.epoch_ns - leap_ns) / 1e9
        kept = self._samples.setdefault(name, deque(maxlen=KEPT))
        if abs(after_s) > AROUND_S or (kept and after_s - kept[-1].after_leap_s < EVERY_S):
            return False
        half_s = HALF_WIDTH_SIGMAS * claim.u_s + claim.limit_s
        kept.append(OffsetSample(after_s, claim.x_s - paper.at(claim.epoch_ns), half_s))
        return True


def _leap_near(leaps: LeapTable, now_ns: int) -> tuple[int, int, int] | None:
    """Return the leap within reach of a moment: its day, when it is over (ns TAI), and its size (s)."""
    before = None
    for entry in leaps.entries:
        begins_ns = leaps.start_of(entry).tai_fs // FS_PER_NS
        step_s = 0 if before is None else entry.tai_minus_utc_s - before
        before = entry.tai_minus_utc_s
        if step_s and abs(now_ns - begins_ns) <= AROUND_S * 1e9:
            return entry.mjd, begins_ns, step_s
    return None
