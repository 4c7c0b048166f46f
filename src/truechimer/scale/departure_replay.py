"""The witnesses of a replay: every link to a source of UTC, its values as they came, held against the scale.

It makes no statement of its own: `departure` does. A value that came late is held against the scale at its own epoch,
and what is said of it is said with the epoch at which it came.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.register import Register
from truechimer.scale import departure
from truechimer.scale.departure import Said
from truechimer.scale.record import Record

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LONGEST_GAP_NS = 2 * 86_400 * 10**9
"""Between two epochs of the scale further apart nothing is known of a clock."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What was said at an epoch (index) of the reference called `reference`."""

    epoch: int
    reference: str
    said: Said


class Witnesses:
    """All links of a record to sources of UTC; `spoken`: what was said so far, in order of time."""

    def __init__(self, record: Record, *, limit_s: float = departure.LIMIT_S) -> None:
        self._register: Register = record.register
        self._epoch_ns, self._late = record.epoch_tai_ns, record.late
        self._limit_s = limit_s
        self._of_link = {outside.link: k for k, outside in enumerate(self._register.outside)}
        self._witnesses = [departure.empty(self._register.n_clocks) for _ in self._register.outside]
        self._expected = departure.noise_expected(self._register.clocks)
        self.spoken: list[Spoken] = []

    def take(  # noqa: PLR0917
        self, begin: int, end: int, x_s: Floats, u_s: Floats, x_clock_minus_scale_s: Floats, weight: Floats,
        noise: Floats | None,
    ) -> None:  # fmt: skip
        """Take the epochs begin to end in: readings `(end - begin, n_links)`, and the scale from the record's beginning
        on, `(n_epochs, n_clocks)`; `weight (n_clocks,)` over months; `noise`: as learned, None where nothing was.
        """
        if not self._witnesses:
            return
        links = list(self._of_link)
        rows, columns = np.nonzero(np.isfinite(x_s[:, links]))
        came = [
            (begin + row, int(self._epoch_ns[begin + row]), links[column])
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        ]
        values = {key: (float(x_s[key[0] - begin, key[2]]), float(u_s[key[0] - begin, key[2]])) for key in came}
        first, last = np.searchsorted(self._late.arrival, (begin, end)).tolist()
        for k in range(first, last):
            key = (int(self._late.arrival[k]), int(self._late.epoch_tai_ns[k]), int(self._late.link[k]))
            came.append(key)
            values[key] = (float(self._late.x_s[k]), float(self._late.u_s[k]))
        for arrival, epoch_ns, link in sorted(came):
            clock_s = self._scale_at(epoch_ns, x_clock_minus_scale_s)
            if clock_s is not None:
                self._hear(arrival, epoch_ns, link, values[arrival, epoch_ns, link], clock_s, weight, noise)

    def _hear(  # noqa: PLR0917
        self, arrival: int, epoch_ns: int, link: int, value: tuple[float, float], clock_s: Floats, weight: Floats,
        noise: Floats | None,
    ) -> None:  # fmt: skip
        k = self._of_link[link]
        outside, witness = self._register.outside[k], self._witnesses[k]
        if epoch_ns <= witness.last_ns or not departure.takes(witness, epoch_ns, value[1]):
            return
        witness, said = departure.step(
            witness,
            epoch_ns,
            outside.sign * value[0] + float(clock_s[outside.clock]),
            value[1],
            clock_s,
            weight,
            self._expected if noise is None else noise,
            limit_s=self._limit_s,
        )
        self._witnesses[k] = witness
        if said is not None:
            self.spoken.append(Spoken(arrival, self._register.references[outside.reference].name, said))

    def _scale_at(self, epoch_ns: int, x_clock_minus_scale_s: Floats) -> Floats | None:
        """Return the clocks minus scale at a moment, on the line between the epochs beside it; None where there are
        none near.
        """
        after = int(np.searchsorted(self._epoch_ns, epoch_ns))
        if after < len(self._epoch_ns) and int(self._epoch_ns[after]) == epoch_ns:
            exact: Floats = x_clock_minus_scale_s[after].copy()
            return exact
        if after == 0 or after == len(self._epoch_ns):
            return None
        before_ns, after_ns = int(self._epoch_ns[after - 1]), int(self._epoch_ns[after])
        if after_ns - before_ns > LONGEST_GAP_NS:
            return None
        part = (epoch_ns - before_ns) / (after_ns - before_ns)
        low, high = x_clock_minus_scale_s[after - 1], x_clock_minus_scale_s[after]
        between: Floats = low + part * (high - low)
        return between
