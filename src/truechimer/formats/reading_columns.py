"""Reading columns: many readings as arrays, one column for each of their five values, instead of one object each.

It judges nothing and reads no file: `readings_csv_fast` fills it, `scale.replay` takes it. A file of ten years of a
hundred clocks has nine million rows: 33 bytes each here, some 300 as objects.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.formats.readings_csv import ReadingRow

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ReadingColumns:
    """Readings in the order of their file; arrays of shape `(n_rows,)`.

    `line`: counted from 1 in the file they came from, 0 where there is none. `epoch_tai_ns`: ns since
    1970-01-01T00:00:00 TAI. `pair`: index of the two clocks among `pairs` (a, b), int32. `x_a_minus_b_s`, `u_s`:
    seconds, as in `readings_csv.ReadingRow`.
    """

    line: Ints
    epoch_tai_ns: Ints
    pair: NDArray[np.int32]
    x_a_minus_b_s: Floats
    u_s: Floats
    pairs: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        """Return the number of readings."""
        return len(self.line)

    def __iter__(self) -> Iterator[ReadingRow]:
        """Yield the readings as rows."""
        columns = (self.line, self.epoch_tai_ns, self.pair, self.x_a_minus_b_s, self.u_s)
        for line, epoch_ns, pair, x_s, u_s in zip(*(column.tolist() for column in columns), strict=True):
            a, b = self.pairs[pair]
            yield ReadingRow(line, epoch_ns, a, b, x_s, u_s)


def of_rows(rows: Sequence[Any]) -> ReadingColumns:
    """Return the columns of rows that have `epoch_tai_ns`, `a`, `b`, `x_a_minus_b_s`, `u_s` and perhaps `line`."""
    numbers: dict[tuple[str, str], int] = {}
    n = len(rows)
    pair = np.fromiter((numbers.setdefault((row.a, row.b), len(numbers)) for row in rows), np.int32, n)
    return ReadingColumns(
        np.fromiter((getattr(row, "line", 0) or 0 for row in rows), np.int64, n),
        np.fromiter((row.epoch_tai_ns for row in rows), np.int64, n),
        pair,
        np.fromiter((row.x_a_minus_b_s for row in rows), np.float64, n),
        np.fromiter((row.u_s for row in rows), np.float64, n),
        tuple(numbers),
    )
