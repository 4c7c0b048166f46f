"""The errors of the room `instants`: what is wrong with a time, by its own name.

They do not decide anything: a caller catches the `Rejected` ones, counts them and carries on; the `Misuse` ones are
bugs and rise.
"""

from truechimer.errors import Misuse, Rejected


class TimeTypeMisuse(Misuse):
    """A value of the wrong type was used as a time. Fields: `what`, `expected`, `found` (a type's name)."""

    def __init__(self, what: str, *, expected: str, found: object) -> None:
        self.what = what
        self.expected = expected
        self.found = type(found).__name__
        super().__init__(
            f"{what} takes {expected}, not {self.found}: convert it in the open, with its unit in the name"
        )


class OutOfRangeMisuse(Misuse):
    """A value does not fit its unit or its wire format. Fields: `quantity`, `low`, `high` (both included), `found`.

    Nothing saturates: a stamp at the edge of its field would be a wrong stamp. A door that can meet such a value
    catches this and answers "unsynchronised".
    """

    def __init__(self, quantity: str, *, low: object, high: object, found: object) -> None:
        self.quantity = quantity
        self.low = low
        self.high = high
        self.found = found
        super().__init__(f"{quantity} is {found}, outside {low} .. {high}: it is refused, never saturated")


class LeapTableMisuse(Misuse):
    """A leap table was built from entries that no list could hold. Field: `entry` (its index, or None)."""

    def __init__(self, says: str, *, entry: int | None = None) -> None:
        self.entry = entry
        super().__init__(says)


class BeforeUtcRejected(Rejected):
    """A time before the first entry of the leap table: UTC of today's definition did not exist, or the list does not
    reach so far back.

    Fields: `found` (the time as text), `first_mjd` (UTC day of the table's first entry).
    """

    def __init__(self, found: str, *, first_mjd: int) -> None:
        self.found = found
        self.first_mjd = first_mjd
        super().__init__(
            f"{found} lies before MJD {first_mjd}, where the leap table begins: state it on the TAI axis, not in UTC"
        )


class LeapTableExpiredRejected(Rejected):
    """A conversion beyond the expiry of the leap table. Fields: `found`, `expires` (texts), `source`."""

    def __init__(self, found: str, *, expires: str, source: str) -> None:
        self.found = found
        self.expires = expires
        self.source = source
        super().__init__(
            f"{found} lies beyond {expires}, where the leap table ({source}) expires: a leap second may be missing "
            "from it; install a newer leap-seconds.list, or ask for the flagged conversion where a doubtful label is "
            "better than none"
        )


class NoSuchSecondRejected(Rejected):
    """A UTC second that did not happen: second 60 without a leap, or second 59 where it was removed. Fields: `label`,
    `because`.
    """

    def __init__(self, label: str, *, because: str) -> None:
        self.label = label
        self.because = because
        super().__init__(f"{label} did not happen: {because}; check the sender's leap table")


class AmbiguousSecondRejected(Rejected):
    """A count that names two instants, because it repeats one second at a leap. Fields: `found`, `first_tai_fs`,
    `second_tai_fs`.
    """

    def __init__(self, found: str, *, first_tai_fs: int, second_tai_fs: int) -> None:
        self.found = found
        self.first_tai_fs = first_tai_fs
        self.second_tai_fs = second_tai_fs
        super().__init__(
            f"{found} names two instants, one second apart, at a leap: say which one (occurrence=first or second)"
        )


class TimeTextRejected(Rejected):
    """A text that is not a time. Fields: `text` (at most 60 characters of it), `expected`, `because`."""

    def __init__(self, text: str, *, expected: str, because: str) -> None:
        self.text = text[:60]
        self.expected = expected
        self.because = because
        super().__init__(f"{self.text!r} is not {expected}: {because}")


class NotADateRejected(Rejected):
    """A year, month and day that are no calendar date. Fields: `year`, `month`, `day`."""

    def __init__(self, year: int, month: int, day: int) -> None:
        self.year = year
        self.month = month
        self.day = day
        super().__init__(f"year {year}, month {month}, day {day} is no date of the calendar (years 1 to 9999)")
