"""Row: what the scale needs of a reading.

`formats.readings_csv.ReadingRow` and `compare.reading.Reading` both have it.
"""

from typing import Protocol


class Row(Protocol):
    """One reading of clock `a` minus clock `b`."""

    @property
    def epoch_tai_ns(self) -> int:
        """Epoch, ns since 1970-01-01T00:00:00 TAI."""
        ...

    @property
    def a(self) -> str:
        """The clock that was read."""
        ...

    @property
    def b(self) -> str:
        """The clock that was subtracted."""
        ...

    @property
    def x_a_minus_b_s(self) -> float:
        """Reading, seconds."""
        ...

    @property
    def u_s(self) -> float:
        """One sigma of the reading's own noise, seconds."""
        ...
