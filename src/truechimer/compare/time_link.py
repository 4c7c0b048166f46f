"""One type for every link between laboratories: satellites, two-way, or a series that somebody else made.

It compares nothing and judges nothing: `common_view` and `two_way` make links, `loops` holds them against each other.
Sign: x_a - x_b, positive where a is fast. What an averaging removes is in `u_s`; what it does not (the constant of the
calibration) is in `u_constant_s`, and None says that nobody knows the constant: only changes of such a link mean
something.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truechimer.compare.common_view import SatelliteLink
from truechimer.compare.reading import Reading
from truechimer.compare.two_way import TwoWayLink
from truechimer.errors import Misuse

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CONSTANT_K = 2.0
"""A reading's limit is so many sigma of the link's constant."""


class TimeLinkMisuse(Misuse):
    """Arrays that are no series."""


@dataclass(frozen=True, slots=True, eq=False)
class TimeLink:
    """x_a - x_b by one technique; arrays `(n,)` in order of time, all finite.

    `a`, `b`: the clocks at the two ends, as the laboratories name them; `technique`: "cv G L3P", "two-way";
    `epoch_tai_ns`: ns since 1970-01-01T00:00:00 TAI; `u_s` > 0: one sigma of an epoch's noise; `u_constant_s`: one
    sigma of what is constant (None: unknown); `calibration_id`: of the delays that were applied.
    """

    a: str
    b: str
    technique: str
    epoch_tai_ns: Ints
    x_a_minus_b_s: Floats
    u_s: Floats
    u_constant_s: float | None = None
    calibration_id: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no series: a bug of the caller."""
        n = len(self.epoch_tai_ns)
        shapes = len(self.x_a_minus_b_s) == n == len(self.u_s)
        if not shapes or (n > 1 and not (np.diff(self.epoch_tai_ns) > 0).all()):
            raise TimeLinkMisuse("epochs of a link rise, and each has one value and one sigma")
        if not (np.isfinite(self.x_a_minus_b_s).all() and np.isfinite(self.u_s).all() and (self.u_s > 0.0).all()):
            raise TimeLinkMisuse("values of a link are finite, and sigmas are above zero")

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.epoch_tai_ns)

    @property
    def name(self) -> str:
        """What the link is called in tables: ends and technique."""
        return f"{self.a} - {self.b} ({self.technique})"

    def turned(self) -> "TimeLink":
        """Return the same link as x_b - x_a."""
        return TimeLink(
            self.b,
            self.a,
            self.technique,
            self.epoch_tai_ns,
            -self.x_a_minus_b_s,
            self.u_s,
            self.u_constant_s,
            self.calibration_id,
        )

    def readings(self, *, operator: str = "") -> Iterator[Reading]:
        """Yield the link's epochs as readings. Raises `TimeLinkMisuse` where the constant is not known: a reading of
        unknown constant has no limit that could be stated.
        """
        if self.u_constant_s is None:
            raise TimeLinkMisuse(f"{self.name}: its constant is not known; it gives changes and no readings")
        limit_s = CONSTANT_K * self.u_constant_s
        for epoch, x, u in zip(self.epoch_tai_ns.tolist(), self.x_a_minus_b_s.tolist(), self.u_s.tolist(), strict=True):
            yield Reading(
                epoch_tai_ns=epoch,
                a=self.a,
                b=self.b,
                x_a_minus_b_s=x,
                u_s=u,
                limit_s=limit_s,
                operator=operator,
                calibration_id=self.calibration_id,
            )


def of_satellites(
    link: SatelliteLink, a: str, b: str, *, u_constant_s: float | None, calibration_id: str = ""
) -> TimeLink:
    """Return a link by satellites. Sigmas that are not known (one satellite only) are the link's usual one, or the
    scatter of single tracks.
    """
    u = np.where(np.isfinite(link.u_s) & (link.u_s > 0.0), link.u_s, np.nan)
    usual = float(np.nanmedian(u)) if np.isfinite(u).any() else link.track_std_s
    usual = usual if np.isfinite(usual) and usual > 0.0 else 1e-9
    technique = f"{link.method.value} {link.system} {link.code}".strip()
    return TimeLink(
        a,
        b,
        technique,
        link.middle_tai_ns,
        link.x_a_minus_b_s,
        np.where(np.isfinite(u), u, usual),
        u_constant_s,
        calibration_id,
    )


def of_two_way(link: TwoWayLink, a: str, b: str, *, u_constant_s: float | None, calibration_id: str = "") -> TimeLink:
    """Return a two-way link; where its sessions are not calibrated the constant is unknown, whatever is said."""
    known = u_constant_s if link.calibrated else None
    u = np.where(link.u_s > 0.0, link.u_s, 1e-12)
    return TimeLink(a, b, "two-way", link.middle_tai_ns, link.x_a_minus_b_s, u, known, calibration_id)
