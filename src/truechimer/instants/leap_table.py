"""LeapTable: TAI minus UTC, entry by entry, with the date beyond which nobody has promised anything.

It does not read files (`formats.leap_seconds_list`, `formats.leap_second_dat` do) and knows no labels but its own
dates; `instants.utc` converts. Source: IERS Bulletin C; ITU-R TF.460-6 (positive and negative leap seconds); the
definition of UTC since 1972-01-01.

The law of the file: an entry begins at 00:00:00 UTC of its day, after a positive leap second and after a missing one
alike. During 23:59:60 the old difference still stands.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal, get_args

from truechimer.instants.errors import (
    BeforeUtcRejected,
    LeapTableExpiredRejected,
    LeapTableMisuse,
    OutOfRangeMisuse,
    TimeTypeMisuse,
)
from truechimer.instants.instant import FS_PER_S, Instant
from truechimer.instants.mjd import MJD_LAST, MJD_OF_1970, to_mjd_text
from truechimer.instants.utc_label import UtcLabel

MJD_OF_1972 = 41_317
"""1972-01-01: UTC as a whole number of seconds from TAI begins."""

BeyondExpiry = Literal["refuse", "flag"]
"""What a conversion does beyond the table's expiry: raise `LeapTableExpiredRejected`, or use the last entry and mark
the label.
"""

_POLICIES = get_args(BeyondExpiry)


@dataclass(frozen=True, slots=True)
class LeapEntry:
    """From 00:00:00 UTC of day `mjd` on, TAI minus UTC is `tai_minus_utc_s` seconds (37 s since MJD 57754)."""

    mjd: int
    tai_minus_utc_s: int


@dataclass(frozen=True, slots=True)
class LeapTable:
    """A leap-second list: its entries, when it was `updated` (None: not said to the day), when it `expires`, and its
    `source` in words.

    Invariant: at least one entry, none before 1972-01-01, days rising, each step +1 or -1; it expires after its last
    entry.
    """

    entries: tuple[LeapEntry, ...]
    updated: UtcLabel | None
    expires: UtcLabel
    source: str
    _starts_tai_fs: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _mjds: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _expires_tai_fs: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.entries:
            raise LeapTableMisuse("a leap table without entries says nothing: give at least 1972-01-01, 10 s")
        for index, entry in enumerate(self.entries):
            if type(entry.mjd) is not int or type(entry.tai_minus_utc_s) is not int:
                raise TimeTypeMisuse("LeapEntry", expected="whole numbers (int)", found=entry)
            if not MJD_OF_1972 <= entry.mjd <= MJD_LAST:
                raise LeapTableMisuse(
                    f"entry {index} begins at MJD {entry.mjd}, outside {MJD_OF_1972} .. {MJD_LAST}", entry=index
                )
            if index and entry.mjd <= self.entries[index - 1].mjd:
                raise LeapTableMisuse(f"entry {index} (MJD {entry.mjd}) does not follow the one before it", entry=index)
            if index and abs(entry.tai_minus_utc_s - self.entries[index - 1].tai_minus_utc_s) != 1:
                raise LeapTableMisuse(f"entry {index} (MJD {entry.mjd}) is no step of +1 s or -1 s", entry=index)
        last = self.entries[-1]
        if self.expires.mjd < last.mjd:
            raise LeapTableMisuse(f"the table expires ({self.expires}) before its last entry (MJD {last.mjd}) begins")
        starts = tuple(_tai_fs(entry.mjd, 0, tai_minus_utc_s=entry.tai_minus_utc_s) for entry in self.entries)
        expires_tai_fs = (
            _tai_fs(self.expires.mjd, self.expires.second_of_day, tai_minus_utc_s=last.tai_minus_utc_s)
            + self.expires.fs
        )
        object.__setattr__(self, "_starts_tai_fs", starts)
        object.__setattr__(self, "_mjds", tuple(entry.mjd for entry in self.entries))
        object.__setattr__(self, "_expires_tai_fs", expires_tai_fs)

    @property
    def first_instant(self) -> Instant:
        """The instant at which the first entry begins; before it nothing is known."""
        return Instant(self._starts_tai_fs[0])

    @property
    def expires_instant(self) -> Instant:
        """The instant from which on the table is expired."""
        return Instant(self._expires_tai_fs)

    def is_expired(self, at: Instant) -> bool:
        """Return True from the table's expiry on."""
        return at.tai_fs >= self._expires_tai_fs

    def tai_minus_utc_at(self, instant: Instant) -> int:
        """Return TAI minus UTC in whole seconds; the old value during 23:59:60. Before the first entry:
        `BeforeUtcRejected`.

        Expiry is not looked at here: ask `is_expired`, or convert with `instants.utc`.
        """
        return self.entries[self.index_at(instant.tai_fs)].tai_minus_utc_s

    def next_leap_after(self, instant: Instant) -> LeapEntry | None:
        """Return the first entry that begins after an instant, or None where the table knows none."""
        index = bisect_right(self._starts_tai_fs, instant.tai_fs)
        return self.entries[index] if index < len(self.entries) else None

    def start_of(self, entry: LeapEntry) -> Instant:
        """Return the instant at which an entry begins: 00:00:00 UTC of its day."""
        return Instant(_tai_fs(entry.mjd, 0, tai_minus_utc_s=entry.tai_minus_utc_s))

    def step_at(self, mjd: int) -> int:
        """Return the leap at 00:00:00 UTC of a day: +1 after a second 60, -1 after a missing second 59, 0 elsewhere."""
        index = bisect_right(self._mjds, mjd) - 1
        if index < 1 or self._mjds[index] != mjd:
            return 0
        return self.entries[index].tai_minus_utc_s - self.entries[index - 1].tai_minus_utc_s

    def index_at(self, tai_fs: int) -> int:
        """Return the index of the entry in force at an instant. Before the first: `BeforeUtcRejected`."""
        index = bisect_right(self._starts_tai_fs, tai_fs) - 1
        if index < 0:
            raise BeforeUtcRejected(f"TAI MJD {to_mjd_text(Instant(tai_fs), digits=6)}", first_mjd=self._mjds[0])
        return index

    def index_of_day(self, mjd: int) -> int:
        """Return the index of the entry in force on a UTC day. Before the first: `BeforeUtcRejected`."""
        index = bisect_right(self._mjds, mjd) - 1
        if index < 0:
            raise BeforeUtcRejected(f"UTC MJD {mjd}", first_mjd=self._mjds[0])
        return index

    def admit(self, tai_fs: int, *, beyond_expiry: BeyondExpiry) -> bool:
        """Return True where an instant lies beyond the expiry; with the policy "refuse" raise
        `LeapTableExpiredRejected` instead.
        """
        if beyond_expiry not in _POLICIES:
            raise OutOfRangeMisuse("beyond_expiry", low="flag", high="refuse", found=repr(beyond_expiry))
        expired = tai_fs >= self._expires_tai_fs
        if expired and beyond_expiry == "refuse":
            found = f"TAI MJD {to_mjd_text(Instant(tai_fs), digits=6)}"
            raise LeapTableExpiredRejected(found, expires=self.expires.isoformat(0), source=self.source)
        return expired


def _tai_fs(mjd: int, second_of_day: int, *, tai_minus_utc_s: int) -> int:
    return ((mjd - MJD_OF_1970) * 86_400 + second_of_day + tai_minus_utc_s) * FS_PER_S
