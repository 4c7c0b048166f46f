"""UtcLabel: a reading of UTC as people write it, second 60 included.

It is a label, not a quantity: it does not know whether its second happened (only `instants.utc`, with a leap table,
does) and it cannot be subtracted. Source: ITU-R TF.460-6 (dating of events near a leap second), RFC 3339 for the text.
"""

from dataclasses import dataclass, field

from truechimer.instants.errors import NotADateRejected, OutOfRangeMisuse, TimeTextRejected, TimeTypeMisuse
from truechimer.instants.instant import FS_PER_S
from truechimer.instants.mjd import MJD_FIRST, MJD_LAST, from_calendar, to_calendar

LEAP_SECOND_OF_DAY = 86_400
"""`second_of_day` of 23:59:60."""

_EXPECTED = "a UTC time such as 2016-12-31T23:59:60.5Z"


@dataclass(frozen=True, slots=True, order=True)
class UtcLabel:
    """One reading of UTC: the day `mjd`, `second_of_day` 0 to 86400 (86400 is 23:59:60), `fs` femtoseconds into that
    second.

    `beyond_expiry` is True where the label was made with a leap table past its expiry: it may be wrong by whole
    seconds. It takes no part in comparisons. Labels sort as time passes.
    """

    mjd: int
    second_of_day: int
    fs: int = 0
    beyond_expiry: bool = field(default=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        for what, value, low, high in (
            ("mjd", self.mjd, MJD_FIRST, MJD_LAST),
            ("second_of_day", self.second_of_day, 0, LEAP_SECOND_OF_DAY),
            ("fs", self.fs, 0, FS_PER_S - 1),
        ):
            if type(value) is not int:
                raise TimeTypeMisuse(f"UtcLabel({what})", expected="a whole number (int)", found=value)
            if not low <= value <= high:
                raise OutOfRangeMisuse(f"UtcLabel {what}", low=low, high=high, found=value)

    @classmethod
    def from_calendar(
        cls, year: int, month: int, day: int, *, hour: int = 0, minute: int = 0, second: int = 0, fs: int = 0
    ) -> "UtcLabel":
        """Return the label of calendar fields; second 60 at 23:59 only. No such date: `NotADateRejected`; other fields:
        `OutOfRangeMisuse`.
        """
        last = 60 if (hour, minute) == (23, 59) else 59
        for what, value, high in (("hour", hour, 23), ("minute", minute, 59), ("second", second, last)):
            if not 0 <= value <= high:
                raise OutOfRangeMisuse(f"{what} of a UTC label", low=0, high=high, found=value)
        return cls(from_calendar(year, month, day), 3600 * hour + 60 * minute + second, fs)

    @classmethod
    def parse(cls, text: str) -> "UtcLabel":
        """Return the label of `YYYY-MM-DDTHH:MM:SS[.decimals]Z`; `T` may be a blank, at most 15 decimals.

        The `Z` is required: a text without its scale is a guess. Anything else: `TimeTextRejected`.
        """
        if type(text) is not str:
            raise TimeTypeMisuse("UtcLabel.parse", expected="a text (str)", found=text)
        if not text.isascii() or not 20 <= len(text) <= 36:
            raise TimeTextRejected(text, expected=_EXPECTED, because="write 20 to 36 plain characters, ending in Z")
        marks = text[4], text[7], text[10], text[13], text[16], text[-1]
        if marks not in {("-", "-", "T", ":", ":", "Z"), ("-", "-", " ", ":", ":", "Z")}:
            raise TimeTextRejected(
                text, expected=_EXPECTED, because="a separator is wrong, or the Z that names the scale is missing"
            )
        parts = text[0:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:19]
        point, decimals = text[19:20], text[20:-1]
        if (
            not all(part.isdigit() for part in parts)
            or (point == ".") != decimals.isdigit()
            or (point != "." and len(text) > 20)
        ):
            raise TimeTextRejected(text, expected=_EXPECTED, because="a field is not made of decimal digits")
        if len(decimals) > 15:
            raise TimeTextRejected(
                text, expected=_EXPECTED, because="more than 15 decimals: the unit here is the femtosecond"
            )
        year, month, day, hour, minute, second = (int(part) for part in parts)
        try:
            return cls.from_calendar(
                year,
                month,
                day,
                hour=hour,
                minute=minute,
                second=second,
                fs=int(decimals.ljust(15, "0")) if decimals else 0,
            )
        except (NotADateRejected, OutOfRangeMisuse) as fault:
            raise TimeTextRejected(text, expected=_EXPECTED, because=str(fault)) from None

    @property
    def year(self) -> int:
        """Calendar year, 1 to 9999."""
        return to_calendar(self.mjd)[0]

    @property
    def month(self) -> int:
        """Month, 1 to 12."""
        return to_calendar(self.mjd)[1]

    @property
    def day(self) -> int:
        """Day of the month, 1 to 31."""
        return to_calendar(self.mjd)[2]

    @property
    def hour(self) -> int:
        """Hour, 0 to 23; 23 during a leap second."""
        return 23 if self.is_leap_second else self.second_of_day // 3600

    @property
    def minute(self) -> int:
        """Minute, 0 to 59; 59 during a leap second."""
        return 59 if self.is_leap_second else self.second_of_day // 60 % 60

    @property
    def second(self) -> int:
        """Second, 0 to 59; 60 during a leap second."""
        return 60 if self.is_leap_second else self.second_of_day % 60

    @property
    def is_leap_second(self) -> bool:
        """True during 23:59:60."""
        return self.second_of_day == LEAP_SECOND_OF_DAY

    def isoformat(self, digits: int = 9) -> str:
        """Return `2016-12-31T23:59:60.000000000Z` with `digits` decimals (0 to 15), truncated towards the past.

        Truncated, because rounding up at the end of a second would write a second that has not begun.
        """
        if not 0 <= digits <= 15:
            raise OutOfRangeMisuse("decimals of a UTC text", low=0, high=15, found=digits)
        year, month, day = to_calendar(self.mjd)
        decimals = f".{self.fs:015d}"[: digits + 1] if digits else ""
        return f"{year:04d}-{month:02d}-{day:02d}T{self.hour:02d}:{self.minute:02d}:{self.second:02d}{decimals}Z"

    def __str__(self) -> str:
        return self.isoformat()
