"""A satellite receiver that does not exist: the bytes it would send, and what is done to it.

It judges nothing. A clean receiver has satellites that rise, set and fade, a position that wanders by metres, an
oscillator with its own noise, offsets between systems, an ionosphere that swings by some nanoseconds a day, a gain that
follows the temperature. What is done to it is a list of `Disturbance`s. The bytes are u-blox messages (`formats.ubx`),
so that whoever judges the stream reads it as it would read a real one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import atan2, cos, degrees, exp, pi, sin, sqrt

import numpy as np

from truechimer.compare.receiver_epoch import AGC_FULL, WEEK_NS
from truechimer.formats import ubx
from truechimer.instants import FS_PER_NS, Instant, LeapTable, to_utc
from truechimer.instants.mjd import to_calendar

DAY_S = 86_400.0
WHATS = (
    "jam",
    "step",
    "drag",
    "position",
    "utc-parameters",
    "constellation",
    "simulator",
    "week-rollback",
    "leap-second",
    "flag",
)
_M_PER_DEGREE = 111_195.0
_PERIOD_S = 43_080.0


@dataclass(frozen=True, slots=True)
class Disturbance:
    """`what` (one of `WHATS`) from `start_s` to `end_s` of the stream. `size`: dB of a jammer; s of a step, of wrong
    UTC parameters and of a constellation; s/s of a drag; m of a position.
    """

    what: str
    start_s: float
    size: float = 0.0
    end_s: float = 1e18


@dataclass(frozen=True, slots=True)
class Epoch:
    """The bytes of one epoch, its true time (TAI, ns), and the laboratory's clock minus the receiver's pulse (s)."""

    data: bytes
    epoch_tai_ns: int
    x_clock_minus_gnss_s: float


@dataclass(slots=True)
class Receiver:
    """A receiver at a place. Constants are those of an ordinary timing receiver; `y_clock`: rate of the laboratory's
    clock against GPS time.
    """

    rng: np.random.Generator
    leaps: LeapTable
    start_tai_ns: int
    interval_s: float = 1.0
    latitude_deg: float = 48.0
    longitude_deg: float = 11.0
    height_m: float = 500.0
    y_clock: float = 2e-13
    pulse_noise_s: float = 3e-9
    disturbances: Sequence[Disturbance] = ()
    _walk: list[float] = field(init=False)
    _bias_s: float = field(init=False, default=0.0)
    _drift: float = field(init=False, default=3e-7)
    _sky: list[tuple[int, int, float, float]] = field(init=False)
    _fade: list[float] = field(init=False)

    def __post_init__(self) -> None:
        """Draw what stays the same for this receiver."""
        self._walk = [float(v) for v in self.rng.normal(0.0, 1.0, 6)]
        self._sky = [
            (system, number + 1, float(self.rng.uniform(0.0, 1.0)), float(self.rng.uniform(-pi, pi)))
            for system, count in ((0, 31), (2, 26), (3, 24), (6, 20))
            for number in range(count)
        ]
        self._fade = [float(v) for v in self.rng.normal(0.0, 1.5, len(self._sky))]

    def epochs(self, n: int) -> Iterator[Epoch]:
        """Yield the next `n` epochs."""
        for k in range(n):
            yield self._epoch(k * self.interval_s)

    def _active(self, t_s: float) -> dict[str, tuple[float, float]]:
        return {d.what: (d.size, t_s - d.start_s) for d in self.disturbances if d.start_s <= t_s < d.end_s}

    def _epoch(self, t_s: float) -> Epoch:
        rng, dt = self.rng, self.interval_s
        active = self._active(t_s)
        tai_ns = self.start_tai_ns + round(t_s * 1e9)
        # position (m, three), ionosphere (ns), gain, C/N0: first-order processes of their own times
        times = (300.0, 300.0, 400.0, 5_000.0, 20_000.0, 3_000.0)
        white = rng.normal(0.0, 1.0, 12).tolist()
        for i, tau in enumerate(times):
            keep = exp(-dt / tau)
            self._walk[i] = keep * self._walk[i] + sqrt(1.0 - keep * keep) * white[i]
        day = 2.0 * pi * t_s / DAY_S
        received_s = 1e-9 * (4.0 * sin(day) + 2.0 * self._walk[3])
        if "step" in active:
            received_s += active["step"][0]
        if "drag" in active:
            received_s += active["drag"][0] * active["drag"][1]
        self._drift += 1e-11 * sqrt(dt) * white[6]
        self._bias_s += self._drift * dt + 2e-10 * sqrt(dt) * white[7]
        if abs(self._bias_s) > 5e-4:
            self._bias_s -= 1e-3 if self._bias_s > 0.0 else -1e-3
        said_ns = tai_ns - (1024 * WEEK_NS if "week-rollback" in active else 0)
        data = self._messages(said_ns, t_s, active, received_s, white)
        x = self.y_clock * t_s - received_s + self.pulse_noise_s * white[8]
        return Epoch(data, tai_ns, x)

    def _messages(
        self, tai_ns: int, t_s: float, active: dict[str, tuple[float, float]], received_s: float, white: list[float]
    ) -> bytes:
        gps_ns = tai_ns - (315_964_800 + 19) * 10**9
        week, tow_ns = divmod(gps_ns, WEEK_NS)
        itow = round(tow_ns / 1e6)
        label = to_utc(Instant(tai_ns * FS_PER_NS), self.leaps, beyond_expiry="flag")
        year, month, day = to_calendar(label.mjd)
        leap_s = self.leaps.tai_minus_utc_at(Instant(tai_ns * FS_PER_NS)) - 19
        said_leap_s = leap_s + (1 if "leap-second" in active else 0)
        utc_ns = round(4.0 + 2.0 * sin(t_s / 4e5) + 1e9 * active.get("utc-parameters", (0.0, 0.0))[0])
        hour, rest = divmod(min(label.second_of_day, 86_399), 3_600)
        minute, second = divmod(rest, 60)
        second += label.second_of_day - min(label.second_of_day, 86_399)
        pulled_m = active.get("position", (0.0, 0.0))[0]
        north, east, up = (2.0 * self._walk[0], 2.0 * self._walk[1] + pulled_m, 4.0 * self._walk[2])
        lat = self.latitude_deg + north / _M_PER_DEGREE
        lon = self.longitude_deg + east / (_M_PER_DEGREE * cos(self.latitude_deg * pi / 180.0))
        satellites, used = self._satellites(t_s, active)
        fell_db = active.get("jam", (0.0, 0.0))[0]
        fix = used >= 4
        flag = 2 if "flag" in active else 1
        gain = 0.55 + 0.01 * self._walk[4] + 0.002 * white[9] - 0.02 * fell_db
        gain -= 0.2 if "simulator" in active else 0.0
        alone_ns = round(1e9 * active.get("constellation", (0.0, 0.0))[0])
        spread = [round(2.0 * white[i]) for i in (9, 10, 11)]
        tow_s = itow // 1000
        sub_ns = (itow % 1000) * 10**6
        out: list[tuple[str, ubx.Message]] = [
            ("NAV-STATUS", ubx.NavStatus(itow, 3 if fix else 0, 0x0D if fix else 0x0C, 0, flag << 3, 30_000, 10**6)),
            (
                "NAV-PVT",
                ubx.NavPvt(
                    itow,
                    year,
                    month,
                    day,
                    hour,
                    minute,
                    second,
                    7,
                    20,
                    utc_ns,
                    3 if fix else 0,
                    1 if fix else 0,
                    0xE0,
                    used,
                    round(lon * 1e7),
                    round(lat * 1e7),
                    round((self.height_m + up) * 1e3),
                    round((self.height_m + up - 47.0) * 1e3),
                    1_500,
                    2_500,
                    0,
                    0,
                    0,
                    0,
                    0,
                    50,
                    18_000_000,
                    120,
                    0,
                    bytes(4),
                    0,
                    0,
                    0,
                ),
            ),
            (
                "NAV-CLOCK",
                ubx.NavClock(itow, round((self._bias_s + received_s) * 1e9), round(self._drift * 1e9), 3, 90),
            ),
            ("NAV-TIMEGPS", ubx.NavTimeGps(itow, 0, week, said_leap_s, 7, 3)),
            ("NAV-TIMEUTC", ubx.NavTimeUtc(itow, 20, utc_ns, year, month, day, hour, minute, second, 0x37)),
            ("NAV-TIMEGAL", ubx.NavTimeWeek(itow, tow_s, sub_ns + 5 + spread[0] + alone_ns, week - 1024, 18, 7, 4)),
            (
                "NAV-TIMEBDS",
                ubx.NavTimeWeek(itow, (tow_s - 14) % 604_800, sub_ns - 12 + spread[1], week - 1356, 4, 7, 6),
            ),
            (
                "NAV-TIMEGLO",
                ubx.NavTimeGlo(itow, (tow_s - leap_s + 10_800) % 86_400, sub_ns + 40 + spread[2], 1, 8, 3, 9),
            ),
            (
                "NAV-TIMELS",
                ubx.NavTimeLs(itow, 0, bytes(3), 2, said_leap_s, 2, 0, 0, 0, 0, bytes(3), 3),
            ),
            ("NAV-SAT", ubx.NavSat(itow, 1, bytes(2), satellites)),
            (
                "MON-RF",
                ubx.MonRf(
                    0,
                    bytes(2),
                    (
                        ubx.RfBlock(
                            0,
                            1,
                            2,
                            1,
                            0,
                            0,
                            round(90 + 6 * fell_db),
                            round(max(gain, 0.02) * AGC_FULL),
                            10,
                            0,
                            150,
                            0,
                            150,
                            bytes(3),
                        ),
                    ),
                ),
            ),
            ("SEC-SIG", ubx.sec_sig(1, flag)),
            ("NAV-EOE", ubx.NavEoe(itow)),
        ]
        return ubx.write([ubx.frame(name, message) for name, message in out])

    def _satellites(self, t_s: float, active: dict[str, tuple[float, float]]) -> tuple[tuple[ubx.Satellite, ...], int]:
        """Return what stands above the horizon: circular passes, C/N0 by elevation, fading, the jammer."""
        out = []
        used = 0
        keep = exp(-self.interval_s / 200.0)
        new = sqrt(1.0 - keep * keep)
        white = self.rng.normal(0.0, 1.5, len(self._sky)).tolist()
        for i, (system, number, reach, phase) in enumerate(self._sky):
            angle = 2.0 * pi * t_s / _PERIOD_S + phase
            height = cos(angle) * (0.4 + 0.6 * reach) - 0.1
            self._fade[i] = keep * self._fade[i] + new * white[i]
            if height <= 0.05:
                continue
            elevation = degrees(atan2(height, sqrt(1.0 - min(height * height, 1.0)) + 1e-9))
            cno = 36.0 + 12.0 * height + self._fade[i] + 0.5 * self._walk[5] - active.get("jam", (0.0, 0.0))[0]
            if "simulator" in active:
                cno = 47.0 + 0.2 * white[i]
            seen = cno >= 20.0
            used += seen
            azimuth = round(degrees(phase)) % 360
            out.append(
                ubx.Satellite(
                    system,
                    number,
                    max(round(cno), 0),
                    round(elevation),
                    azimuth,
                    round(3.0 * white[i]),
                    0x1F if seen else 0x11,
                )
            )
        return tuple(out), used
