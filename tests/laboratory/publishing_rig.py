"""A laboratory whose UTC(k) is known to the test, and the rapid UTC, Circular T and fountain values that it would get.

The world owns the truth: UTC - UTC(k) of each midnight follows from it, and noise is laid over it here.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tests.laboratory import rig
from tests.laboratory.signing import signed

from truechimer.formats import utcr
from truechimer.formats.published import rapid_day
from truechimer.formats.utc_table import LaboratoryRow, UtcTable
from truechimer.formats.utcr import RapidUtc
from truechimer.instants.mjd import MJD_OF_1970
from truechimer.laboratory import publishing
from truechimer.laboratory.line import EpochOutcome
from truechimer.laboratory.publications import PublishedSettings
from truechimer.laboratory.publishing import Offered, PublishedIn
from truechimer.quorum.envelope import SteeringLimits
from truechimer.sim import Scenario, World, read_scenario

SMALL = Path(__file__).parents[2] / "labs" / "scenarios" / "small.toml"
END_TAI_NS = 1_794_960_037 * rig.NS
"""0 h UTC of MJD 61362."""
UTC_OF_TAI_NS = 37 * rig.NS
LIMITS = SteeringLimits(
    per_change=2.3e-14,
    per_day_s=1e-8,
    total_s=1e-5,
    valid_from_ns=END_TAI_NS - 900 * rig.DAY_NS,
    valid_until_ns=END_TAI_NS + 900 * rig.DAY_NS,
    sequence=1,
    coordination_start=True,
)
Course = dict[int, float]
"""UTC - UTC(k) (s) at 0 h UTC by MJD."""


def scenario(days: float, *, links: bool = False, interval_s: float = 3600.0) -> Scenario:
    """Three masers and five caesiums, read each hour, without a link to UTC or with three."""
    found, findings = read_scenario(SMALL.read_bytes())
    assert found is not None, findings
    if not links:
        found = replace(found, links=tuple(one for one in found.links if not one.a.startswith("UTC")), laboratories=())
    return rig.of_days(found, days, interval_s=interval_s)


def mjd_of(tai_ns: int) -> float:
    return MJD_OF_1970 + (tai_ns - UTC_OF_TAI_NS) / rig.DAY_NS


@dataclass
class PublishedLab:
    """The fold under way, fed by its world, and what it may be told of itself."""

    scenario: Scenario
    settings: PublishedSettings = field(
        default_factory=lambda: PublishedSettings(laboratory="AAA", steers=True, before="H1")
    )
    algorithm: str = "at1"
    seed: int = 1
    noise_ns: float = 0.5
    real: bool = False
    lab: rig.Lab = field(init=False)
    course: Course = field(default_factory=dict)
    error_s: list[tuple[float, float]] = field(default_factory=list)
    free_s: list[float] = field(default_factory=list)
    h1_minus_utc: Course = field(default_factory=dict)

    def __post_init__(self) -> None:
        start = rig.start_of(self.scenario, algorithm=self.algorithm, published=self.settings, envelope=signed(LIMITS))
        if self.real:  # what is simulated is never sent
            clocks = tuple(
                one if one.name == "host" else replace(one, bipm_code=1_400_001 + k)
                for k, one in enumerate(start.clocks)
            )
            start = replace(start, simulated=False, scale_name="UTC(test)", clocks=clocks)
        self.lab = rig.Lab(start)
        world = World(self.scenario, seed=self.seed, anchor_tai_ns=END_TAI_NS, anchor_raw_ns=rig.ANCHOR_RAW_NS)
        self._batches = world.history()
        self._rng = np.random.default_rng([self.seed, 7])

    def fork(self) -> "PublishedLab":
        """The same laboratory, to go another way; it takes no further epoch of the world."""
        twin = copy.copy(self)
        twin.lab, twin._rng = self.lab.fork(), np.random.default_rng([self.seed, 9])
        return twin

    def epochs(self) -> Iterator[tuple[float, EpochOutcome]]:
        """Take epoch after epoch in; each with its MJD of UTC."""
        for batch in self._batches:
            outcome = self.lab.take(batch)
            mjd = mjd_of(batch.epoch_tai_ns)
            scale_minus_utc_s = float(batch.x_clock_minus_utc_s[0]) - float(outcome.step.x_clock_minus_scale_s[0])
            ours = self.lab.state.coordination
            utck_minus_utc_s = float(batch.x_clock_minus_utc_s[0])
            self.free_s.append(scale_minus_utc_s)
            if ours is not None:
                utck_minus_utc_s = ours.at(batch.epoch_tai_ns) + scale_minus_utc_s
                self.error_s.append((mjd, utck_minus_utc_s))
            if abs(mjd - round(mjd)) < 1e-6:
                self.course[round(mjd)] = -utck_minus_utc_s
                self.h1_minus_utc[round(mjd)] = float(batch.x_clock_minus_utc_s[0])
            yield mjd, outcome

    def until(
        self, mjd: float, *, weekly: bool = True, change: Callable[[int, bytes], bytes | None] | None = None
    ) -> None:
        """Go on to an MJD; rapid UTC comes each Wednesday at noon, as `change` makes it."""
        for now, _ in self.epochs():
            if weekly and abs(now - int(now) - 0.5) < 1e-6 and (data := self.week(int(now))) is not None:
                data = data if change is None else change(int(now), data)
                if data is not None:
                    self.tell(data, f"UTCr_{int(now)}")
            if now >= mjd - 1e-9:
                return

    def week(self, day: int, *, off_ns: tuple[float, ...] = (0.0,) * 7, code: str = "AAA") -> bytes | None:
        """Rapid UTC as it is published on a day, None where none is."""
        days = tuple(range(day - 9, day - 2))
        if rapid_day(days[-1]) != day or not all(each in self.course for each in days):
            return None
        noise = self._rng.normal(size=7) * self.noise_ns
        values = [self.course[each] * 1e9 + off + n for each, off, n in zip(days, off_ns, noise, strict=True)]
        row = LaboratoryRow(code, "Town", tuple(round(value, 1) for value in values))
        return utcr.write(RapidUtc("2601", UtcTable(days, (row,))))

    def tell(self, data: bytes, name: str = "values.csv") -> PublishedIn:
        """Put a file through the fold."""
        found = publishing.take(self.lab.config, self.lab.state, Offered(name, data))
        self.lab.state = found.state
        self.lab.records.append(found.record.data)
        return found

    def csv(self, days: range, *, off_s: float = 0.0, step: int = 1) -> bytes:
        """The values of some days as a CSV of the laboratory's own."""
        rows = [
            f"{day},{self.course[day] + off_s + self._rng.normal() * self.noise_ns * 1e-9!r}" for day in days[::step]
        ]
        return ("\n".join(["epoch_mjd,x_utc_minus_utck_s", *rows]) + "\n").encode()

    def rms_ns(self, since_mjd: float) -> tuple[float, float]:
        """UTC(k) minus UTC since an MJD, rms and largest."""
        e = np.array([x for mjd, x in self.error_s if mjd >= since_mjd]) * 1e9
        return float(np.sqrt(np.mean(e * e))), float(np.max(np.abs(e)))
