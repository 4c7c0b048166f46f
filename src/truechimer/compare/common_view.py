"""Two laboratories by satellites: common view and all in view, from the tracks of two CGGTTS files.

It reads no file and weighs no clock. Sign: everywhere x_a - x_b, laboratory a's reference minus laboratory b's. In
*common view* a track of one satellite seen by both at the same time is subtracted, so that the satellite's clock and
most of the path cancel (Allan and Weiss 1980); in *all in view* each laboratory's mean over its satellites is
subtracted, which works where few are seen by both (Petit and Jiang 2008). Codes are never mixed: each class (FRC) of a
system is a link of its own.

Outliers: differences further than `OUTLIER_MADS` times 1.4826 times the median absolute deviation from their median are
left out and named. Weights of an epoch's satellites are sin^2 of the lower elevation. The uncertainty of an epoch is
the weighted scatter of its satellites over the root of their number, small numbers helped by the scatter of the day.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from truechimer.errors import Rejected
from truechimer.formats.cggtts import MISSING, CggttsFile, Tracks
from truechimer.formats.cggtts_schedule import TRACK_S
from truechimer.instants import LeapTable
from truechimer.instants.mjd import MJD_OF_1970

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OUTLIER_MADS = 5.0
MAD_TO_SIGMA = 1.4826
USUAL_ELEVATION_DEG = {"cv": 20.0, "aiv": 10.0}
HIGHEST_DSG_S = 20e-9
SHRUNK_BY = 4.0
"""The day's scatter counts as so many satellites in the uncertainty of an epoch."""
MOST_PASSES = 5
_S_PER_100PS = 1e-10
_DAY_S = 86_400


class Method(StrEnum):
    """How tracks are compared."""

    COMMON_VIEW = "cv"
    ALL_IN_VIEW = "aiv"


class ComparisonRejected(Rejected):
    """Two files that cannot be compared as asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What is compared. `min_elevation_deg`: None for the usual 20 (common view) or 10 (all in view);
    `highest_dsg_s`: tracks whose own fit scatters more are left out; `measured_ionosphere`: use MSIO for MDIO where
    both stand in a track (files of one frequency); `same_ephemeris`: in common view keep pairs of one IOE only;
    `offset_s`: added to x_a - x_b, the calibration of the link, with its uncertainty `u_offset_s`.
    """

    method: Method = Method.COMMON_VIEW
    min_elevation_deg: float | None = None
    highest_dsg_s: float = HIGHEST_DSG_S
    full_tracks_only: bool = True
    measured_ionosphere: bool = False
    same_ephemeris: bool = False
    offset_s: float = 0.0
    u_offset_s: float = 0.0

    @property
    def elevation_deg(self) -> float:
        """The mask in use."""
        return USUAL_ELEVATION_DEG[self.method] if self.min_elevation_deg is None else self.min_elevation_deg


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A track that the outlier rule left out: satellite, UTC day and second of its start, and its distance, s."""

    satellite: str
    mjd: int
    start_s: int
    departure_s: float
    side: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SatelliteLink:
    """x_a - x_b by one code of one system; arrays of shape `(n_epochs,)` in order of time.

    `middle_tai_ns`: middle of the tracks, ns since 1970-01-01T00:00:00 TAI; `x_a_minus_b_s`; `u_s`: one sigma of the
    epoch's noise, NaN where never two satellites were seen at once (the calibration's is `u_offset_s`); `satellites`:
    how many, in all in view of the side that sees fewer. `counts`: what became of the tracks, by reason;
    `track_std_s`: scatter of single differences about their mean.
    """

    system: str
    code: str
    method: Method
    middle_tai_ns: Ints
    x_a_minus_b_s: Floats
    u_s: Floats
    satellites: Ints
    counts: dict[str, int]
    left_out: tuple[LeftOut, ...]
    track_std_s: float
    u_offset_s: float = 0.0

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.middle_tai_ns)

    @property
    def mean_s(self) -> float:
        """Mean of the epochs."""
        return float(np.mean(self.x_a_minus_b_s))

    @property
    def std_s(self) -> float:
        """Standard deviation of the epochs; NaN of one."""
        return float(np.std(self.x_a_minus_b_s, ddof=1)) if len(self) > 1 else float("nan")


@dataclass(slots=True)
class _Side:
    """The tracks of one laboratory that may be used."""

    tracks: Tracks
    x_s: Floats
    elevation_deg: Floats
    counts: dict[str, int] = field(default_factory=dict)


def compare(a: CggttsFile, b: CggttsFile, choices: Choices, *, leaps: LeapTable) -> tuple[SatelliteLink, ...]:
    """Return a link for each code that both files hold, most tracks first.

    Raises `ComparisonRejected` where there is nothing in common, and where a file that its producer made for common
    view only is to be used all in view.
    """
    for name, file in (("first", a), ("second", b)):
        if choices.method is Method.ALL_IN_VIEW and file.header.common_view_only:
            says = f"the {name} file says that it is for common view only (no group delay was applied)"
            raise ComparisonRejected(f"{says}: use --method cv")
    links = []
    for system, code in sorted(_codes(a.tracks) & _codes(b.tracks)):
        of_code = [_of(file.tracks, system, code) for file in (a, b)]
        common = len(_pairs(_keys(of_code[0]), _keys(of_code[1]))[0])
        sides = [_usable(tracks, choices) for tracks in of_code]
        link = _link((system, code), sides[0], sides[1], choices, leaps=leaps)
        if link is not None:
            link.counts["common tracks"] = common
            links.append(link)
    if not links:
        raise ComparisonRejected(_nothing(a.tracks, b.tracks, choices))
    return tuple(sorted(links, key=lambda link: -int(link.satellites.sum())))


def _codes(tracks: Tracks) -> set[tuple[bytes, bytes]]:
    return set(zip(tracks.system.tolist(), tracks.code.tolist(), strict=True))


def _of(tracks: Tracks, system: bytes, code: bytes) -> Tracks:
    return tracks.chosen((tracks.system == system) & (tracks.code == code))


def _nothing(a: Tracks, b: Tracks, choices: Choices) -> str:
    """Say why two files have nothing in common."""
    if not len(a) or not len(b):
        return "one of the files holds no usable track"
    days = [f"{int(t.mjd.min())} to {int(t.mjd.max())}" for t in (a, b)]
    if not set(a.mjd.tolist()) & set(b.mjd.tolist()):
        return f"the files are of different days (MJD {days[0]} and {days[1]}): name files of one day"
    if not _codes(a) & _codes(b):
        codes = [", ".join(sorted(f"{s.decode()} {c.decode()}" for s, c in _codes(t))) for t in (a, b)]
        return f"the files have no code in common ({codes[0]}; {codes[1]})"
    if choices.method is Method.COMMON_VIEW and (a.melded.all() or b.melded.all()):
        return "a file holds solutions of all satellites only: use --method aiv"
    return f"no track above {choices.elevation_deg:g} degrees is left on both sides: lower --min-elevation"


def _usable(tracks: Tracks, choices: Choices) -> _Side:
    """Return the tracks that may be used, and count the others by reason."""
    counts = {"tracks": len(tracks)}
    keep = np.ones(len(tracks), np.bool_)
    melded = tracks.melded

    def drop(reason: str, which: NDArray[np.bool_]) -> None:
        nonlocal keep
        counts[reason] = int((keep & which).sum())
        keep = keep & ~which

    drop("without value", tracks.refsys_100ps == MISSING)
    if choices.method is Method.COMMON_VIEW:
        drop("no single satellite", melded)
    if choices.full_tracks_only:
        drop("short", tracks.length_s < TRACK_S)
    low = (tracks.elevation_01deg < 10.0 * choices.elevation_deg) & (tracks.elevation_01deg != MISSING)
    drop("low", low & ~melded)
    noisy = (tracks.dsg_100ps != MISSING) & (tracks.dsg_100ps * _S_PER_100PS > choices.highest_dsg_s)
    drop("noisy", noisy)
    x_s = tracks.x_clock_minus_system_s()
    if choices.measured_ionosphere:
        both = (tracks.mdio_100ps != MISSING) & (tracks.msio_100ps != MISSING)
        drop("without measured ionosphere", ~both)
        # a path that was delayed more than the model said was taken for a slower clock of ours
        x_s = x_s + np.where(both, (tracks.mdio_100ps - tracks.msio_100ps) * _S_PER_100PS, 0.0)
    kept = tracks.chosen(keep)
    elevation = np.where(kept.elevation_01deg == MISSING, 900, kept.elevation_01deg) * 0.1
    elevation = np.where(kept.melded, 90.0, elevation)
    return _Side(kept, x_s[keep], elevation, counts)


def _link(of: tuple[bytes, bytes], a: _Side, b: _Side, choices: Choices, *, leaps: LeapTable) -> SatelliteLink | None:
    counts = {f"{reason} ({side})": n for side, each in (("a", a), ("b", b)) for reason, n in each.counts.items()}
    left_out: list[LeftOut] = []
    if choices.method is Method.COMMON_VIEW:
        found = _common_view(a, b, choices, counts, left_out)
    else:
        found = _all_in_view(a, b, counts, left_out)
    if found is None or not len(found[0]):
        return None
    epoch, x, u, satellites, track_std = found
    return SatelliteLink(
        of[0].decode(),
        of[1].decode(),
        choices.method,
        _to_tai_ns(epoch, leaps),
        x + choices.offset_s,
        u,
        satellites,
        counts,
        tuple(left_out),
        track_std,
        choices.u_offset_s,
    )


_Found = tuple[Ints, Floats, Floats, Ints, float]
"""Middles of the epochs (ns of UTC labels since MJD 0), x_a - x_b, its sigma, satellites, scatter of single tracks."""


def _common_view(
    a: _Side, b: _Side, choices: Choices, counts: dict[str, int], left_out: list[LeftOut]
) -> _Found | None:
    at, bt = a.tracks, b.tracks
    ia, ib = _pairs(_keys(at), _keys(bt))
    counts["common tracks used"] = len(ia)
    other = (at.ioe[ia] != bt.ioe[ib]) & (at.ioe[ia] != MISSING) & (bt.ioe[ib] != MISSING)
    counts["other ephemeris"] = int(other.sum())
    if choices.same_ephemeris:
        ia, ib = ia[~other], ib[~other]
        counts["common tracks used"] = len(ia)
    if not len(ia):
        return None
    x = a.x_s[ia] - b.x_s[ib]
    x -= np.round(x)  # whole seconds say nothing in this format
    good = _within(x, np.zeros(len(x), np.int64))
    left_out += _named(at.chosen(ia[~good]), (x - np.median(x[good]))[~good])
    x, ia, ib = x[good], ia[good], ib[good]
    epoch = _middle(at)[ia]
    elevation = np.minimum(a.elevation_deg[ia], b.elevation_deg[ib])
    epochs, mean, u, n = _means(epoch, x, elevation)
    return epochs, mean, u, n, float(np.std(x, ddof=1)) if len(x) > 1 else float("nan")


def _all_in_view(a: _Side, b: _Side, counts: dict[str, int], left_out: list[LeftOut]) -> _Found | None:
    means = []
    scatter = []
    for name, side in (("a", a), ("b", b)):
        if not len(side.tracks):
            return None
        epoch = _middle(side.tracks)
        _, index = np.unique(epoch, return_inverse=True)
        good = _within(side.x_s, index.ravel())
        from_epoch = side.x_s - _medians(side.x_s, index.ravel())
        left_out += _named(side.tracks.chosen(~good), from_epoch[~good], name)
        means.append(_means(epoch[good], side.x_s[good], side.elevation_deg[good]))
        scatter.append(from_epoch[good])
    (epoch_a, x_a, u_a, n_a), (epoch_b, x_b, u_b, n_b) = means
    epochs, ia, ib = np.intersect1d(epoch_a, epoch_b, return_indices=True)
    counts["common epochs"] = len(epochs)
    x = x_a[ia] - x_b[ib]
    x -= np.round(x)
    u = np.sqrt(u_a[ia] ** 2 + u_b[ib] ** 2)
    single = float(np.sqrt(np.mean(scatter[0] ** 2) + np.mean(scatter[1] ** 2)))
    return epochs, x, u, np.minimum(n_a[ia], n_b[ib]), single


def _keys(tracks: Tracks) -> Ints:
    """Return one number for the satellite and start of each track."""
    return (tracks.mjd * _DAY_S + tracks.start_s) * 1_000 + tracks.number


def _middle(tracks: Tracks) -> Ints:
    """Return the middles of the epochs of tracks, ns of UTC labels since MJD 0 (days of 86,400 s).

    Tracks that begin together are of one epoch, also where one of them was cut short; points of a 30 s file have no
    length.
    """
    usual_s = int(np.median(tracks.length_s)) if len(tracks) and tracks.length_s[0] != MISSING else 0
    return (tracks.mjd * _DAY_S + tracks.start_s) * 10**9 + usual_s * (10**9 // 2)


def _pairs(a: Ints, b: Ints) -> tuple[Ints, Ints]:
    """Return the indices of equal keys on both sides, in order of the key."""
    _, ia, ib = np.intersect1d(a, b, return_indices=True)
    return ia, ib


def _medians(x: Floats, group: Ints) -> Floats:
    """Return for each value the median of its group."""
    out = np.empty(len(x))
    order = np.argsort(group, kind="stable")
    edges = np.flatnonzero(np.diff(group[order])) + 1
    for part in np.split(order, edges):
        out[part] = np.median(x[part])
    return out


def _within(x: Floats, group: Ints) -> NDArray[np.bool_]:
    """Return which values lie within the outlier rule about the median of their group, the scatter being that of all;
    repeated until nothing more is left out.
    """
    good = np.ones(len(x), np.bool_)
    for _ in range(MOST_PASSES):
        centre = np.full(len(x), np.nan)
        centre[good] = _medians(x[good], group[good])
        departure = np.abs(x - centre)
        sigma = MAD_TO_SIGMA * float(np.median(departure[good]))
        now = good & (departure <= OUTLIER_MADS * sigma) if sigma > 0.0 else good
        if (now == good).all() or not now.any():
            break
        good = now
    return good


def _named(tracks: Tracks, departure_s: Floats, side: str = "") -> Iterable[LeftOut]:
    for k in range(len(tracks)):
        satellite = f"{tracks.system[k].decode()}{int(tracks.number[k]):02d}"
        yield LeftOut(satellite, int(tracks.mjd[k]), int(tracks.start_s[k]), float(departure_s[k]), side)


def _means(epoch: Ints, x: Floats, elevation_deg: Floats) -> tuple[Ints, Floats, Floats, Ints]:
    """Return epochs, weighted means, their sigmas and the numbers of satellites."""
    epochs, index = np.unique(epoch, return_inverse=True)
    index = index.ravel()
    weight = np.maximum(np.sin(np.radians(elevation_deg)) ** 2, 1e-4)
    total = np.bincount(index, weight)
    mean = np.bincount(index, weight * x) / total
    n = np.bincount(index)
    # weighted mean square about the epoch's mean; unequal weights count as fewer satellites
    square = np.bincount(index, weight * (x - mean[index]) ** 2) / total
    alike = total**2 / np.bincount(index, weight**2)
    freedom = n * (1.0 - 1.0 / alike)
    usual = float(np.sum(n * square) / np.sum(freedom)) if float(np.sum(freedom)) > 1e-9 else float("nan")
    variance = (SHRUNK_BY * usual + n * square) / (SHRUNK_BY + freedom)
    return epochs, mean, np.sqrt(variance / alike), n


def _to_tai_ns(utc_label_ns: Ints, leaps: LeapTable) -> Ints:
    """Return TAI (ns since 1970-01-01T00:00:00 TAI) of UTC labels (ns since MJD 0, days of 86,400 s)."""
    days = utc_label_ns // (_DAY_S * 10**9)
    starts = np.array([entry.mjd for entry in leaps.entries])
    offsets = np.array([entry.tai_minus_utc_s for entry in leaps.entries])
    known = np.maximum(np.searchsorted(starts, days, side="right") - 1, 0)
    tai: Ints = utc_label_ns - MJD_OF_1970 * _DAY_S * 10**9 + offsets[known] * 10**9
    return tai
