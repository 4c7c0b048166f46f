"""Leap tables and strategies that the tests of this room share; nothing is tested here."""

from hypothesis import strategies as st

from truechimer.instants import FS_PER_S, Instant, LeapEntry, LeapTable, UtcLabel, builtin_leap_table

IERS = builtin_leap_table()

MJD_OF_NEGATIVE_LEAP = 61_953
"""2028-07-01: no list knows a leap on this day; the tests remove the second before it."""

NEGATIVE = LeapTable(
    (*IERS.entries, LeapEntry(MJD_OF_NEGATIVE_LEAP, 36)),
    updated=UtcLabel(61_700, 0),
    expires=UtcLabel(62_100, 0),
    source="test: the IERS list and one negative leap second",
)
"""A list with a second 23:59:59 missing at the end of 2028-06-30."""

FIRST_FS = NEGATIVE.first_instant.tai_fs
EXPIRY_FS = NEGATIVE.expires_instant.tai_fs


def instants_in_utc() -> st.SearchStrategy[Instant]:
    """Instants that the negative table covers, half of them within two seconds of a leap."""
    starts = st.sampled_from([NEGATIVE.start_of(entry).tai_fs for entry in NEGATIVE.entries[1:]])
    near_leap = st.builds(lambda start, shift: Instant(start + shift), starts, st.integers(-2 * FS_PER_S, 2 * FS_PER_S))
    return near_leap | st.builds(Instant, st.integers(FIRST_FS, EXPIRY_FS - 1))


def any_instants() -> st.SearchStrategy[Instant]:
    """Instants of some 6000 years around 1970."""
    return st.builds(Instant, st.integers(-(10**26), 10**26))
