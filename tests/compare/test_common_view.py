"""Two laboratories by satellites: recorded receivers against published figures, simulated ones against truth."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from truechimer.compare import link_smoothing
from truechimer.compare.common_view import Choices, ComparisonRejected, Method, SatelliteLink, compare
from truechimer.formats import cggtts
from truechimer.formats.cggtts import CggttsFile
from truechimer.formats.cggtts_schedule import starts_s
from truechimer.instants import builtin_leap_table

Floats = NDArray[np.float64]
SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "cggtts"
LEAPS = builtin_leap_table()
MJD = 60_000
LABELS = (
    "SAT CL  MJD  STTIME TRKL ELV AZTH   REFSV      SRSV     REFSYS    SRSYS  DSG IOE MDTR SMDT MDIO SMDI MSIO SMSI "
    "ISG FR HC FRC CK"
)
EVERYTHING = {"full_tracks_only": False, "highest_dsg_s": 1.0}


def station(
    name: str,
    x_clock_minus_system_s: Floats,
    seed: int,
    *,
    noise_s: float = 2e-9,
    satellites: range = range(1, 9),
    model_minus_true_ns: Floats | float = 0.0,
    comment: str = "NO COMMENTS",
    code: str = "L1C",
) -> CggttsFile:
    """Return a day of tracks of a simulated receiver; what all receivers share of a satellite is in its seed."""
    rng = np.random.default_rng(seed)
    lines = ["CGGTTS     GENERIC DATA FORMAT VERSION = 2E", f"LAB = {name}", f"COMMENTS = {comment}", "CKSUM = 00", ""]
    lines += [LABELS, ""]
    off = np.broadcast_to(model_minus_true_ns, (89,))
    for k, start in enumerate(starts_s(MJD)):
        shared = np.random.default_rng([k, 7]).normal(0.0, 5e-9, 40)
        for number in satellites:
            # the model's error shortens or lengthens the path that is taken off
            x = x_clock_minus_system_s[k] + shared[number] + rng.normal(0.0, noise_s) - off[k] * 1e-9
            elevation = 250 + 70 * ((number + k) % 9)
            mdio = round(100 + 10 * off[k])
            body = (
                f"G{number:02d} FF {MJD} {start // 3600:02d}{start // 60 % 60:02d}00  780 {elevation:3d}  100 "
                f"{0:+11d} {0:+6d} {round(x * 1e10):+11d} {0:+6d}   20 010  100   +0 {mdio:4d}   +0  100   +0  10"
                f"  0  0 {code} "
            )
            lines.append(body + f"{sum(body.encode()) % 256:02X}")
    value, findings = cggtts.read(("\n".join(lines) + "\n").encode())
    assert value is not None
    assert {finding.severity.value for finding in findings} <= {"warning"}
    return value


def pair(truth_s: Floats, seed: int, **of_a: object) -> tuple[CggttsFile, CggttsFile]:
    system = np.cumsum(np.random.default_rng(seed).normal(0.0, 3e-10, 89))
    return station("AAA", truth_s + system, seed + 1, **of_a), station("BBB", system, seed + 2)  # type: ignore[arg-type]


def only(links: tuple[SatelliteLink, ...]) -> SatelliteLink:
    assert len(links) == 1
    return links[0]


@pytest.mark.parametrize("method", list(Method))
def test_the_difference_of_two_clocks_comes_back_with_an_honest_sigma(method: Method) -> None:
    truth_s = -37e-9 + np.linspace(0.0, 10e-9, 89)
    errors, stated, smooth_errors, smooth_stated = [], [], [], []
    for seed in range(6):
        link = only(compare(*pair(truth_s, 10 * seed), Choices(method=method), leaps=LEAPS))
        assert len(link) == 89
        smoothed = link_smoothing.smooth(link.middle_tai_ns, link.x_a_minus_b_s, link.u_s)
        assert smoothed is not None
        errors.append(link.x_a_minus_b_s - truth_s)
        stated.append(link.u_s)
        smooth_errors.append(smoothed.x_s - truth_s)
        smooth_stated.append(smoothed.u_s)
        assert abs(errors[-1].mean()) <= 0.35e-9
    assert np.std(errors) <= 1.2e-9
    # all in view the satellites' own errors are in the scatter of either side, and cancel in the difference
    low = 0.85 if method is Method.COMMON_VIEW else 0.2
    assert low < np.sqrt(np.mean((np.array(errors) / stated) ** 2)) < 1.15
    assert np.std(smooth_errors) < 0.5 * np.std(errors)
    assert np.sqrt(np.mean((np.array(smooth_errors) / smooth_stated) ** 2)) < 1.5


def test_the_middle_of_a_track_is_where_its_value_is() -> None:
    link = only(compare(*pair(np.zeros(89), 3), Choices(), leaps=LEAPS))
    first_utc_s = (MJD - 40_587) * 86_400 + starts_s(MJD)[0] + 390
    assert link.middle_tai_ns[0] == (first_utc_s + 37) * 10**9


def test_a_wild_satellite_is_left_out_and_named() -> None:
    a, b = pair(np.zeros(89), 20)
    tracks = a.tracks
    tracks.refsys_100ps[100] += 200
    link = only(compare(a, b, Choices(), leaps=LEAPS))
    mean = only(compare(*pair(np.zeros(89), 20), Choices(), leaps=LEAPS)).mean_s
    assert [(each.satellite, each.start_s) for each in link.left_out] == [("G05", int(tracks.start_s[100]))]
    assert link.left_out[0].departure_s == pytest.approx(20e-9, abs=8e-9)
    assert abs(link.mean_s - mean) < 0.1e-9


def test_a_step_of_a_clock_stands_at_its_epoch() -> None:
    truth_s = np.where(np.arange(89) < 40, 0.0, 5e-9)
    link = only(compare(*pair(truth_s, 30), Choices(), leaps=LEAPS))
    score = [
        abs(link.x_a_minus_b_s[k:].mean() - link.x_a_minus_b_s[:k].mean()) * np.sqrt(k * (89 - k)) for k in range(1, 89)
    ]
    assert abs(int(np.argmax(score)) + 1 - 40) <= 1
    assert link.left_out == ()


def test_the_measured_ionosphere_takes_out_what_the_model_missed() -> None:
    diurnal_ns = 5.0 + 5.0 * np.sin(2.0 * np.pi * np.arange(89) / 89.0)
    files = pair(np.zeros(89), 40, model_minus_true_ns=diurnal_ns)
    assert abs(only(compare(*files, Choices(), leaps=LEAPS)).mean_s) > 3e-9
    link = only(compare(*files, Choices(measured_ionosphere=True), leaps=LEAPS))
    assert abs(link.mean_s) <= 0.5e-9
    assert link.std_s <= 1.2e-9


def test_a_calibration_moves_the_link_and_nothing_else() -> None:
    files = pair(np.zeros(89), 50)
    plain = only(compare(*files, Choices(), leaps=LEAPS))
    moved = only(compare(*files, Choices(offset_s=12e-9), leaps=LEAPS))
    assert moved.x_a_minus_b_s == pytest.approx(plain.x_a_minus_b_s + 12e-9, abs=1e-18)
    assert (moved.u_s == plain.u_s).all()


def test_what_cannot_be_compared_is_said() -> None:
    a, b = pair(np.zeros(89), 60)
    other_code = station("CCC", np.zeros(89), 61, code="L3P")
    with pytest.raises(ComparisonRejected, match="no code in common"):
        compare(a, other_code, Choices(), leaps=LEAPS)
    with pytest.raises(ComparisonRejected, match="lower --min-elevation"):
        compare(a, b, Choices(min_elevation_deg=89.0), leaps=LEAPS)
    only_common = station("DDD", np.zeros(89), 62, comment="NO TGD applied: USE ONLY in COMMON VIEW")
    with pytest.raises(ComparisonRejected, match="--method cv"):
        compare(only_common, b, Choices(method=Method.ALL_IN_VIEW), leaps=LEAPS)
    assert len(compare(only_common, b, Choices(), leaps=LEAPS)) == 1


@pytest.mark.shared_data
def test_two_real_receivers_on_one_clock_differ_by_what_was_published() -> None:
    a, b = (cggtts.read((SHARED / f"aus-{name}-57490.cctf").read_bytes())[0] for name in ("javad", "trimble"))
    assert a is not None
    assert b is not None
    everything = only(compare(a, b, Choices(min_elevation_deg=0.0, **EVERYTHING), leaps=LEAPS))  # type: ignore[arg-type]
    assert (everything.counts["common tracks"], len(everything)) == (709, 88)
    assert everything.counts["other ephemeris"] == 48
    assert everything.mean_s == pytest.approx(-2446.68e-9, abs=0.02e-9)
    assert everything.std_s == pytest.approx(2.24e-9, abs=0.02e-9)
    assert everything.track_std_s == pytest.approx(5.84e-9, abs=0.02e-9)
    high = only(compare(a, b, Choices(**EVERYTHING), leaps=LEAPS))  # type: ignore[arg-type]
    assert (high.mean_s, high.std_s) == (pytest.approx(-2446.64e-9, abs=0.02e-9), pytest.approx(2.29e-9, abs=0.02e-9))
    all_in_view = only(compare(a, b, Choices(method=Method.ALL_IN_VIEW), leaps=LEAPS))
    assert all_in_view.mean_s == pytest.approx(-2446.66e-9, abs=0.15e-9)
    assert all_in_view.std_s == pytest.approx(2.41e-9, abs=0.15e-9)
