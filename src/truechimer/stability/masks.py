"""Limits of MTIE and TDEV that standards set, as data, and the verdict on a curve: met or not, worst where, by how
much.

It computes no statistic and filters no data: where a limit is meant for filtered time error, its `condition` says so.
The edition and table stand in each mask's source. The recommendations themselves were not read: the figures are those
of public programs that cite them, of which three agree for G.8272, two for G.8272.1; G.811, G.8271.1 and G.8273.2 rest
on one each.
"""

import tomllib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.errors import Rejected
from truechimer.stability.curve import Floats, StabilityCurve, StabilityMisuse

JUDGED = ("adev", "oadev", "mdev", "tdev", "hdev", "ohdev", "totdev", "mtotdev", "ttotdev", "htotdev", "pdev")
JUDGED_STATISTICS = (*JUDGED, "theo1", "theobr", "theoh", "mtie", "tierms")


class MaskRejected(Rejected):
    """A mask that does not exist, or a file of masks that cannot be used."""


@dataclass(frozen=True, slots=True)
class Segment:
    """From `from_s` up to and with `to_s` the limit is `constant` + `slope` * tau."""

    from_s: float
    to_s: float
    constant: float
    slope: float = 0.0


@dataclass(frozen=True, slots=True)
class Mask:
    """A limit over averaging times for one statistic; outside its segments it says nothing.

    `condition`: what must hold of the data for the limit to be meant, in words; empty for data as they are.
    """

    name: str
    statistic: str
    segments: tuple[Segment, ...]
    source: str
    condition: str = ""

    def limit(self, tau_s: Floats) -> Floats:
        """Return the limit at each averaging time, NaN where the mask says nothing; the lower one at a corner."""
        found = np.full(np.shape(tau_s), np.nan)
        for each in self.segments:
            inside = (tau_s >= each.from_s * (1.0 - 1e-9)) & (tau_s <= each.to_s * (1.0 + 1e-9))
            here = each.constant + each.slope * np.asarray(tau_s)
            found = np.where(inside, np.fmin(found, here), found)
        return np.asarray(found)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a curve stands to a mask. `margin`: limit over value at `worst_tau_s`, above 1 where it is met everywhere,
    infinite where every judged value is 0.

    `met` is None where the curve has no averaging time in the mask's range; then nothing else is known either.
    """

    mask: Mask
    met: bool | None
    judged: int
    worst_tau_s: float
    margin: float
    value: float
    limit: float

    def says(self) -> str:
        """Return the verdict as one line."""
        if self.met is None:
            return f"mask {self.mask.name}: not judged, no averaging time lies in its range"
        word = "met" if self.met else "EXCEEDED"
        margin = f"margin {self.margin:.3g}" if self.value else "every judged value is 0"
        meant = f"; the limit is {self.mask.condition}" if self.mask.condition else ""
        return (
            f"mask {self.mask.name} ({self.mask.source}): {word}; worst at {self.worst_tau_s:g} s, "
            f"where {self.value:.4g} stands against {self.limit:.4g}: {margin}{meant}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the verdict for a JSON document; what is not known is absent."""
        told: dict[str, Any] = {
            "mask": self.mask.name,
            "statistic": self.mask.statistic,
            "source": self.mask.source,
            "judged": self.judged,
        }
        if self.mask.condition:
            told["condition"] = self.mask.condition
        if self.met is not None:
            told |= {
                "met": self.met,
                "worst_tau_s": self.worst_tau_s,
                "margin": self.margin if self.value else None,
                "value": self.value,
                "limit": self.limit,
            }
        return told


def judge(curve: StabilityCurve, mask: Mask) -> Verdict:
    """Compare a curve with a mask of the same statistic, value by value."""
    if curve.statistic != mask.statistic:
        raise StabilityMisuse(f"mask {mask.name} is of {mask.statistic}, the curve is {curve.statistic}")
    limit = mask.limit(curve.tau_s)
    judged: NDArray[np.bool_] = np.isfinite(limit) & np.isfinite(curve.value)
    if not judged.any():
        return Verdict(mask, None, 0, float("nan"), float("nan"), float("nan"), float("nan"))
    with np.errstate(divide="ignore"):
        margin = np.where(judged, limit / curve.value, np.inf)
    worst = int(np.argmin(np.where(judged, margin, np.inf)))
    return Verdict(
        mask=mask,
        met=bool(np.all(curve.value[judged] <= limit[judged])),
        judged=int(judged.sum()),
        worst_tau_s=float(curve.tau_s[worst]),
        margin=float(margin[worst]),
        value=float(curve.value[worst]),
        limit=float(limit[worst]),
    )


def named(name: str) -> list[Mask]:
    """Return the masks of a name: `g8272-prtc-a` both of them, `g8272-prtc-a-mtie` one."""
    found = [mask for mask in MASKS if name in {mask.name, mask.name.removesuffix(f"-{mask.statistic}")}]
    if not found:
        known = ", ".join(dict.fromkeys(mask.name.removesuffix(f"-{mask.statistic}") for mask in MASKS))
        raise MaskRejected(f"there is no mask {name!r}; there are {known}, and files ending in .toml")
    return found


def read(data: bytes) -> list[Mask]:
    """Read masks of one's own from TOML.

    `[[mask]] name, statistic, source?, condition?, segments = [[from, to, limit, slope?], ...]`.

    In place of `segments`, `points = [[tau, limit], ...]` are joined by straight lines. Times in seconds, limits in the
    statistic's unit (s for MTIE and TDEV). Raises `MaskRejected`, naming the mask and what is wrong with it.
    """
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MaskRejected(f"this is no TOML: {error}") from None
    tables = document.get("mask")
    unknown = sorted(set(document) - {"mask"})
    if unknown or not isinstance(tables, list) or not tables:
        raise MaskRejected(f"a file of masks holds [[mask]] tables alone{f', not {unknown[0]}' if unknown else ''}")
    return [_of_table(number, table) for number, table in enumerate(tables, 1)]


def _of_table(number: int, table: Any) -> Mask:
    place = f"mask {number}"
    if not isinstance(table, dict):
        raise MaskRejected(f"{place} is no table; write [[mask]]")
    unknown = sorted(set(table) - {"name", "statistic", "source", "condition", "segments", "points"})
    if unknown:
        raise MaskRejected(
            f"{place} has a key {unknown[0]}; the keys are name, statistic, source, condition, segments or points"
        )
    name, statistic, source = table.get("name"), table.get("statistic"), table.get("source", "the user's own")
    condition = table.get("condition", "")
    if not isinstance(name, str) or not name or not isinstance(source, str) or not isinstance(condition, str):
        raise MaskRejected(f"{place} needs a name in quotes, and source and condition are words in quotes")
    if statistic not in JUDGED_STATISTICS:
        raise MaskRejected(f"{place} ({name}): statistic is {statistic!r}; choose from {', '.join(JUDGED_STATISTICS)}")
    if ("segments" in table) == ("points" in table):
        raise MaskRejected(f"{place} ({name}) needs segments or points, one of the two")
    if "segments" in table:
        rows = _rows(table["segments"], f"{place} ({name}), segments", (3, 4))
        segments = tuple(Segment(*row) for row in rows)
    else:
        rows = _rows(table["points"], f"{place} ({name}), points", (2, 2))
        if len(rows) < 2:
            raise MaskRejected(f"{place} ({name}): one point is no line; give at least two")
        segments = tuple(_between(a, b) for a, b in pairwise(rows))
    for each in segments:
        if not 0.0 < each.from_s < each.to_s:
            raise MaskRejected(f"{place} ({name}): {each.from_s:g} to {each.to_s:g} s is no range of averaging times")
        if min(each.constant + each.slope * each.from_s, each.constant + each.slope * each.to_s) <= 0.0:
            raise MaskRejected(f"{place} ({name}): the limit from {each.from_s:g} to {each.to_s:g} s is not above zero")
    return Mask(name, statistic, segments, source, condition)


def _rows(value: Any, place: str, sizes: tuple[int, int]) -> list[list[float]]:
    if not isinstance(value, list) or not value:
        raise MaskRejected(f"{place} is no list of rows")
    for row in value:
        good = isinstance(row, list) and sizes[0] <= len(row) <= sizes[1]
        if not good or not all(isinstance(each, int | float) and not isinstance(each, bool) for each in row):
            raise MaskRejected(f"{place}: {row!r} is no row of {sizes[0]} to {sizes[1]} numbers")
        if not np.all(np.isfinite(row)):
            raise MaskRejected(f"{place}: {row!r} holds something that is no number")
    return [[float(each) for each in row] for row in value]


def _between(a: list[float], b: list[float]) -> Segment:
    if not 0.0 < a[0] < b[0]:
        raise MaskRejected(f"points go from {a[0]:g} to {b[0]:g} s; give averaging times above zero in ascending order")
    slope = (b[1] - a[1]) / (b[0] - a[0])
    return Segment(a[0], b[0], a[1] - slope * a[0], slope)


def _mask(
    name: str, statistic: str, source: str, *segments: tuple[float, float, float, float], condition: str = ""
) -> Mask:
    return Mask(f"{name}-{statistic}", statistic, tuple(Segment(*each) for each in segments), source, condition)


_G811 = "ITU-T G.811 (1997) Amd. 1 (04/2016)"
_G8272 = "ITU-T G.8272 (07/2025)"
_G8272_1 = "ITU-T G.8272.1 (2024) Amd. 1 (07/2025)"
_G8271_1 = "ITU-T G.8271.1 (2022) Amd. 3 (05/2025)"
_G8273_2 = "ITU-T G.8273.2 (2023) Amd. 2 (11/2025)"
_FILTERED = "of time error behind a first-order low-pass filter of 0.1 Hz"
_BOUNDARY = f"{_FILTERED}, at constant temperature, input free of wander"

_PRC_TDEV = ((0.1, 100.0, 3e-9, 0.0), (100.0, 1000.0, 0.0, 3e-11), (1000.0, 10_000.0, 30e-9, 0.0))
_EPRTC_MTIE = ((0.1, 1.0, 4e-9, 0.0), (1.0, 100.0, 3.89e-9, 0.11114e-9))

MASKS = (
    _mask("g811-prc", "mtie", _G811, (0.1, 1000.0, 25e-9, 0.275e-9), (1000.0, 1e7, 290e-9, 1e-11)),
    _mask("g811-prc", "tdev", _G811, *_PRC_TDEV),
    _mask("g8272-prtc-a", "mtie", f"{_G8272} table 1", (0.1, 273.0, 25e-9, 0.275e-9), (273.0, 1e7, 100e-9, 0.0)),
    _mask("g8272-prtc-a", "tdev", f"{_G8272} table 3", *_PRC_TDEV),
    _mask("g8272-prtc-b", "mtie", f"{_G8272} table 2", (0.1, 54.5, 25e-9, 0.275e-9), (54.5, 1e7, 40e-9, 0.0)),
    _mask(
        *("g8272-prtc-b", "tdev", f"{_G8272} table 4"),
        *((0.1, 100.0, 1e-9, 0.0), (100.0, 500.0, 0.0, 1e-11), (500.0, 100_000.0, 5e-9, 0.0)),
    ),
    _mask(
        *("g8272.1-eprtc", "mtie", f"{_G8272_1} table 1"),
        *(*_EPRTC_MTIE, (100.0, 400_000.0, 15e-9, 0.0375e-12), (400_000.0, 1e7, 30e-9, 0.0)),
    ),
    _mask(
        *("g8272.1-eprtc", "tdev", f"{_G8272_1} table 2"),
        *((0.1, 30_000.0, 1e-9, 0.0), (30_000.0, 300_000.0, 0.0, 3.33333e-14), (300_000.0, 1e6, 10e-9, 0.0)),
    ),
    _mask(
        *("g8272.1-eprtc-a-holdover", "mtie", f"{_G8272_1} table 4"),
        *(*_EPRTC_MTIE, (100.0, 10_000.0, 15e-9, 0.0375e-12)),
        condition="in holdover",
    ),
    _mask(
        *("g8272.1-eprtc-a-holdover", "tdev", f"{_G8272_1} table 5", (0.1, 10_000.0, 1e-9, 0.0)),
        condition="in holdover",
    ),
    _mask(
        *("g8271.1-point-c", "mtie", f"{_G8271_1} table 7-1"),
        *((1.3, 2.4, 100e-9, 75e-9), (2.4, 275.0, 277e-9, 1.1e-9), (275.0, 10_000.0, 580e-9, 0.0)),
        condition=_FILTERED,
    ),
    _mask(
        *("g8271.1-point-c-enhanced", "mtie", f"{_G8271_1} table 7-2"),
        *((1.3, 2.4, 37.39e-9, 9.7e-9), (2.4, 20.2, 55.27e-9, 2.25e-9), (20.2, 211.11, 90.22e-9, 0.52e-9)),
        (211.11, 10_000.0, 200e-9, 0.0),
        condition=_FILTERED,
    ),
    _mask(
        *("g8271.1-point-c-access", "mtie", f"{_G8271_1} table 7-3"),
        *((1.0, 400.0, 25e-9, 0.0475e-9), (400.0, 10_000.0, 44e-9, 0.0)),
        condition=_FILTERED,
    ),
    _mask("g8273.2-class-ab", "mtie", f"{_G8273_2} table 7-4", (1.0, 1000.0, 40e-9, 0.0), condition=_BOUNDARY),
    _mask("g8273.2-class-ab", "tdev", f"{_G8273_2} table 7-5", (1.0, 1000.0, 4e-9, 0.0), condition=_BOUNDARY),
    _mask("g8273.2-class-c", "mtie", f"{_G8273_2} table 7-4", (1.0, 1000.0, 10e-9, 0.0), condition=_BOUNDARY),
    _mask("g8273.2-class-c", "tdev", f"{_G8273_2} table 7-5", (1.0, 1000.0, 2e-9, 0.0), condition=_BOUNDARY),
)
"""Rows: from, to (s), constant (s), slope (s/s). G.811 MTIE: 0.275e-3 tau + 0.025 us, then 1e-5 tau + 0.29 us."""
