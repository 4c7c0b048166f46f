"""What a satellite receiver says at one epoch beside the time: the evidence by which its link is judged.

It gathers and converts; it judges nothing (`receiver_quality`). Messages of one time of week belong together; those
that carry none (receiving paths, security) belong to the epoch whose messages they follow. What a receiver does not
say is None, and never a number.

Sources: the payload tables of `formats.ubx`; BeiDou time is GPS time - 14 s, Galileo's has GPS's whole seconds, GLONASS
time of day is UTC + 3 h (ICDs of the systems); WGS 84 for the ellipsoid.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import cos, radians, sin, sqrt

from truechimer.formats import ubx
from truechimer.instants import FS_PER_NS, Instant, LeapTable, NoSuchSecondRejected, UtcLabel, from_utc
from truechimer.instants.errors import BeforeUtcRejected, NotADateRejected, OutOfRangeMisuse
from truechimer.instants.mjd import from_calendar
from truechimer.instants.weeks import GPS, WeekTime, from_week_time

Position = tuple[float, float, float]
WEEK_NS, DAY_NS, _NS = 604_800 * 10**9, 86_400 * 10**9, 10**9
_A_M, _E2 = 6_378_137.0, 6.694_379_990_14e-3
LEAST_ELEVATION_DEG = 15
AGC_FULL = 8_191


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverEpoch:
    """`epoch_tai_ns`: by the receiver's own word (GPS week and time of week, TAI); `utc_tai_ns`: by its own UTC date,
    through the laboratory's leap table. `position_m`: WGS 84, Earth-fixed. `cno_dbhz`: of each satellite that is used
    and stands above 15 degrees; `used`: how many are used. `agc`: 0 to 1 of its range; `noise`: counts; both of the
    first path. `bias_s`, `drift`: its oscillator against the system's time. `x_gps_minus_s`: GPS time minus each other
    system's, as the receiver finds it (whole seconds that are fixed taken off). `utc_minus_gps_s`: by the broadcast
    parameters, the laboratory's leap seconds taken off. `leap_s`: GPS minus UTC as broadcast; `leap_change_s` at
    `leap_change_in_s` (None: none announced). `jamming`, `spoofing`: the worst of its own flags, 0 to 3.
    """

    epoch_tai_ns: int
    fix_ok: bool | None = None
    utc_tai_ns: int | None = None
    position_m: Position | None = None
    cno_dbhz: tuple[float, ...] | None = None
    used: int | None = None
    agc: float | None = None
    noise: float | None = None
    bias_s: float | None = None
    drift: float | None = None
    x_gps_minus_s: tuple[tuple[str, float], ...] = ()
    utc_minus_gps_s: float | None = None
    leap_s: int | None = None
    leap_change_s: int | None = None
    leap_change_in_s: int | None = None
    jamming: int = 0
    spoofing: int = 0


def earth_fixed(latitude_deg: float, longitude_deg: float, height_m: float) -> Position:
    """Return the Earth-fixed coordinates (m) of a point above the ellipsoid of WGS 84."""
    phi, lam = radians(latitude_deg), radians(longitude_deg)
    n = _A_M / sqrt(1.0 - _E2 * sin(phi) * sin(phi))
    across = (n + height_m) * cos(phi)
    return across * cos(lam), across * sin(lam), (n * (1.0 - _E2) + height_m) * sin(phi)


def epochs(pieces: Iterable[ubx.Piece], leaps: LeapTable) -> Iterator[ReceiverEpoch]:
    """Yield the epochs of a stream. A group of messages without week, and without date, is no epoch and is left out
    (count them with `undated`).
    """
    for group in _groups(pieces):
        epoch = _epoch(group, leaps)
        if epoch is not None:
            yield epoch


def undated(pieces: Sequence[ubx.Piece], leaps: LeapTable) -> int:
    """Return how many groups of messages say no date by which they could be judged."""
    return sum(1 for group in _groups(pieces) if _epoch(group, leaps) is None)


_Group = dict[str, ubx.Message]


class EpochGathering:
    """The epochs of a stream that comes piece by piece: `take` returns one when its last message is in."""

    def __init__(self, leaps: LeapTable) -> None:
        self.leaps = leaps
        self.undated = 0
        self._gathering = _Gathering()

    def take(self, pieces: Iterable[ubx.Piece]) -> list[ReceiverEpoch]:
        """Take pieces in, in their order; return the epochs that they complete."""
        out = []
        for piece in pieces:
            group = self._gathering.take(piece)
            if group is not None:
                epoch = _epoch(group, self.leaps)
                if epoch is None:
                    self.undated += 1
                else:
                    out.append(epoch)
        return out


class _Gathering:
    """The messages of one time of week by name; of two of one name the later counts. NAV-EOE ends an epoch."""

    def __init__(self) -> None:
        self._group: _Group = {}
        self._itow: int | None = None

    def take(self, piece: ubx.Piece) -> _Group | None:
        """Take a piece in; return the group that it ends."""
        if not isinstance(piece, ubx.Frame) or piece.message is None:
            return None
        its = getattr(piece.message, "itow_ms", None)
        ended = None
        if its is not None and its != self._itow:
            ended, self._group, self._itow = self.rest(), {}, its
        self._group[piece.name] = piece.message
        if isinstance(piece.message, ubx.NavEoe) and ended is None:
            ended, self._group, self._itow = self.rest(), {}, None
        return ended

    def rest(self) -> _Group | None:
        """Return what was gathered last, None where there is nothing."""
        return self._group if self._itow is not None else None


def _groups(pieces: Iterable[ubx.Piece]) -> Iterator[_Group]:
    """Yield the messages of one time of week by name."""
    gathering = _Gathering()
    for piece in pieces:
        group = gathering.take(piece)
        if group is not None:
            yield group
    group = gathering.rest()
    if group is not None:
        yield group


def _wrapped_s(difference_ns: int, cycle_ns: int) -> float:
    half = cycle_ns // 2
    return ((difference_ns + half) % cycle_ns - half) * 1e-9


def _gps_ns(group: _Group) -> int | None:
    """Return GPS time in ns since its first week, None where the receiver does not know it."""
    told = group.get("NAV-TIMEGPS")
    if not isinstance(told, ubx.NavTimeGps) or told.valid & 3 != 3 or told.week < 0:
        return None
    if not 0 <= told.itow_ms * 10**6 < WEEK_NS:
        return None
    return told.week * WEEK_NS + told.itow_ms * 10**6 + told.ftow_ns


def _utc_ns(group: _Group, leaps: LeapTable) -> int | None:
    """Return the receiver's UTC date as TAI (ns since 1970); None where it has none, or none that exists."""
    told = group.get("NAV-TIMEUTC")
    if isinstance(told, ubx.NavTimeUtc):
        valid = bool(told.valid & 4)
    else:
        told = group.get("NAV-PVT")
        valid = isinstance(told, ubx.NavPvt) and told.valid & 3 == 3
    if not valid or not isinstance(told, (ubx.NavTimeUtc, ubx.NavPvt)):
        return None
    try:
        mjd = from_calendar(told.year, told.month, told.day)
        second = told.hour * 3_600 + told.minute * 60 + told.second
        instant = from_utc(UtcLabel(mjd, second), leaps, beyond_expiry="flag")
    except (NotADateRejected, NoSuchSecondRejected, BeforeUtcRejected, OutOfRangeMisuse):
        return None
    return instant.tai_fs // FS_PER_NS + told.nano_ns


def _epoch(group: _Group, leaps: LeapTable) -> ReceiverEpoch | None:
    gps, utc = _gps_ns(group), _utc_ns(group, leaps)
    if gps is not None:
        epoch = from_week_time(WeekTime(gps // WEEK_NS, (gps % WEEK_NS) * FS_PER_NS)).tai_fs // FS_PER_NS
    elif utc is not None:
        epoch = utc
    else:
        return None
    said: dict[str, object] = {"epoch_tai_ns": epoch, "utc_tai_ns": utc}
    if gps is not None:
        said["x_gps_minus_s"] = tuple(_systems(group, gps, epoch, leaps))
        if utc is not None:
            said["utc_minus_gps_s"] = (utc - epoch) * 1e-9
    pvt, clock, sat, leap = (group.get(name) for name in ("NAV-PVT", "NAV-CLOCK", "NAV-SAT", "NAV-TIMELS"))
    if isinstance(pvt, ubx.NavPvt):
        said["fix_ok"] = bool(pvt.flags & 1) and pvt.fix in (2, 3, 4, 5)
        said["used"] = pvt.satellites
        if pvt.fix in (3, 4) and not pvt.flags3 & 1:
            said["position_m"] = earth_fixed(pvt.lat_e7 * 1e-7, pvt.lon_e7 * 1e-7, pvt.height_mm * 1e-3)
    if isinstance(clock, ubx.NavClock):
        said["bias_s"], said["drift"] = clock.bias_ns * 1e-9, clock.drift_ns_per_s * 1e-9
    if isinstance(sat, ubx.NavSat):
        used = [each for each in sat.satellites if each.flags & 8]
        said["used"] = len(used)
        said["cno_dbhz"] = tuple([float(s.cno_dbhz) for s in used if s.elevation_deg >= LEAST_ELEVATION_DEG])
    told = group.get("NAV-TIMEGPS")
    if isinstance(told, ubx.NavTimeGps) and told.valid & 4:
        said["leap_s"] = told.leap_s
    if isinstance(leap, ubx.NavTimeLs):
        if leap.valid & 1:
            said["leap_s"] = leap.current_s
        if leap.valid & 2 and leap.change_s:
            said["leap_change_s"], said["leap_change_in_s"] = leap.change_s, leap.until_event_s
    said |= _radio(group)
    return ReceiverEpoch(**said)  # type: ignore[arg-type]


def _systems(group: _Group, gps_ns: int, epoch_tai_ns: int, leaps: LeapTable) -> Iterator[tuple[str, float]]:
    for name, system, behind_s in (("NAV-TIMEGAL", "Galileo", 0), ("NAV-TIMEBDS", "BeiDou", 14)):
        told = group.get(name)
        if isinstance(told, ubx.NavTimeWeek) and told.valid & 1:
            its = (told.tow_s + behind_s) * _NS + told.ftow_ns
            yield system, _wrapped_s(gps_ns - its, WEEK_NS)
    told = group.get("NAV-TIMEGLO")
    if isinstance(told, ubx.NavTimeGlo) and told.valid & 1:
        try:
            leap_s = leaps.tai_minus_utc_at(Instant(epoch_tai_ns * FS_PER_NS)) - GPS.tai_minus_s
        except BeforeUtcRejected:
            return
        its = (told.tod_s - 10_800 + leap_s) * _NS + told.ftod_ns
        yield "GLONASS", _wrapped_s(gps_ns - its, DAY_NS)


def _radio(group: _Group) -> dict[str, object]:
    """Return gain, noise and flags: of several paths the gain of the first, the worst flag of all."""
    out: dict[str, object] = {}
    jamming, spoofing = [0], [0]
    status, rf, hw, sig = (group.get(name) for name in ("NAV-STATUS", "MON-RF", "MON-HW", "SEC-SIG"))
    if isinstance(hw, ubx.MonHw):
        out["agc"], out["noise"] = hw.agc / AGC_FULL, float(hw.noise)
        jamming.append((hw.flags >> 2) & 3)
    if isinstance(rf, ubx.MonRf) and rf.blocks:
        out["agc"], out["noise"] = rf.blocks[0].agc / AGC_FULL, float(rf.blocks[0].noise)
        jamming += [block.flags & 3 for block in rf.blocks]
    if isinstance(status, ubx.NavStatus):
        spoofing.append((status.flags2 >> 3) & 3)
    if isinstance(sig, ubx.SecSig):
        jamming.append(sig.jamming)
        spoofing.append(min(sig.spoofing, 3))
    out["jamming"], out["spoofing"] = max(jamming), max(spoofing)
    return out
