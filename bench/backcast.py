"""How long `truechimer backcast` takes over a year of ten clocks, and `truechimer utc read` over years of publications.

    PYTHONPATH=src:. python bench/backcast.py [--runs 5] [--limit 30] [--keep DIR] [--out FILE.json]

A simulated laboratory is written to disk in every format that is taken: readings (CSV), clock data month by month with
a step, Circular T, rapid UTC, an answer of the BIPM's server, `utc-<lab>`, a clock file in seconds, and a CGGTTS file a
day. Clocks come from `design/ensemble/generator.py`: five caesiums, three masers, two rubidiums, levels varied by 30 %;
UTC(k) is steered by hand and wanders by 8 ns. Each verb runs as a process of its own, as a user starts it; start-up and
machine code from its cache are in the time. Wall clock and processor time, medians; `--limit`: seconds of wall clock
that the slowest year may take (issue 7: 30).

| case | files |
| --- | --- |
| readings hourly, readings 5 min | 8,761 and 105,121 epochs of ten clocks against UTC(k); Circular T, rapid UTC |
| clock data | twelve months by day, a step; Circular T, rapid UTC |
| everything | readings hourly, clock data and all other formats together, 365 CGGTTS files among them |
| utc read | ten years of Circular T and rapid UTC of sixty laboratories, 640 files |
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "design" / "ensemble")]

from generator import ENSEMBLES, truth, varied  # noqa: E402
from tests.compare import test_common_view  # noqa: E402

from truechimer._version import __version__  # noqa: E402
from truechimer.formats import bipm_api, cggtts, circular_t, clock_data, utck_series, utcr  # noqa: E402
from truechimer.formats.bipm_api import ApiSeries  # noqa: E402
from truechimer.formats.circular_t import CircularT  # noqa: E402
from truechimer.formats.clock_data import ClockReading, ClockStep  # noqa: E402
from truechimer.formats.utc_table import LaboratoryRow, UtcTable  # noqa: E402
from truechimer.formats.utck_series import UtckSeries  # noqa: E402
from truechimer.formats.utcr import RapidUtc  # noqa: E402
from truechimer.instants import builtin_leap_table  # noqa: E402
from truechimer.instants.mjd import from_calendar, to_calendar, weekday  # noqa: E402
from truechimer.laboratory.backcast import epoch_of  # noqa: E402

FIRST_MJD = 60_000
SOURCES = ENSEMBLES["scenario 4.2"]
READ_NOISE_S = 3e-11
STEP_NS = 750.0
LABORATORIES = 60
YEARS = 10
_LEAPS = builtin_leap_table()


def own_of(days: int, *, seed: int) -> np.ndarray:
    """UTC(k) minus UTC by day, s: steered by hand."""
    rng = np.random.default_rng([seed, 8])
    t = np.arange(days + 1)
    return 8e-9 * np.sin(2.0 * np.pi * t / 90.0) + np.cumsum(rng.normal(0.0, 3e-11, days + 1))


def write_readings(path: Path, *, days: int, interval_s: float, seed: int) -> None:
    """Write UTC(k) minus every clock at each epoch."""
    x = truth(varied(SOURCES, seed=seed), seed=seed, days=days, interval_s=interval_s)
    rng = np.random.default_rng([seed, 3])
    own = np.interp(np.arange(len(x)) * interval_s / 86_400.0, np.arange(days + 1), own_of(days, seed=seed))
    read = own[:, None] - x + rng.normal(0.0, READ_NOISE_S, x.shape)
    first_ns, step_ns = epoch_of(FIRST_MJD, _LEAPS), round(interval_s * 1e9)
    with path.open("w") as file:
        file.write("epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s\n")
        for k, row in enumerate(read.tolist()):
            file.writelines(f"{first_ns + k * step_ns},UTC.ABC,C{i},{value:.6e},3e-11\n" for i, value in enumerate(row))


def write_clock_data(folder: Path, *, days: int, seed: int) -> None:
    """Write clock data month by month, one clock stepped and the step told."""
    x = truth(varied(SOURCES, seed=seed), seed=seed, days=days)[::24]
    x[days // 2 :, 4] -= STEP_NS * 1e-9
    own = own_of(days, seed=seed)
    months: dict[tuple[int, int], list[ClockReading]] = {}
    for day in range(days + 1):
        mjd = FIRST_MJD + day
        for k in range(x.shape[1]):
            reading = ClockReading(mjd, "10099", f"140{k:04d}", round((own[day] - x[day, k]) * 1e10) / 10.0)
            months.setdefault(to_calendar(mjd)[:2], []).append(reading)
    for (year, month), readings in months.items():
        (folder / f"clk{year}{month:02d}.abc").write_bytes(clock_data.write(readings))
    step = ClockStep(float(FIRST_MJD + days // 2) - 0.25, "1400004", STEP_NS, 0.0, "ABC", "10099")
    (folder / "steps.abc").write_bytes(clock_data.write_steps([step]))


def rows_of(code: str, values: np.ndarray, laboratories: int, rng: np.random.Generator) -> tuple[LaboratoryRow, ...]:
    """Return a table's rows: ours among others."""
    others = [LaboratoryRow(f"L{k:02d}", "", tuple(rng.normal(0.0, 9.0, len(values)).round(1).tolist()), 0.3, 2.0, 2.0)
              for k in range(laboratories - 1)]  # fmt: skip
    return (*others, LaboratoryRow(code, "", tuple(values.round(1).tolist()), 0.3, 2.0, 2.0))


def write_published(folder: Path, *, days: int, seed: int, laboratories: int) -> None:
    """Write Circular T by month and rapid UTC by week."""
    rng = np.random.default_rng([seed, 4])
    values = -own_of(days, seed=seed) * 1e9
    months: dict[tuple[int, int], list[int]] = {}
    weeks: dict[int, list[int]] = {}
    for mjd in range(FIRST_MJD, FIRST_MJD + days + 1):
        if mjd % 5 == 4:
            months.setdefault(to_calendar(mjd)[:2], []).append(mjd)
        weeks.setdefault(mjd - weekday(mjd), []).append(mjd)
    for n, ((year, month), mjds) in enumerate(months.items()):
        of = values[np.array(mjds) - FIRST_MJD] + rng.normal(0.0, 0.3, len(mjds))
        table = UtcTable(tuple(mjds), rows_of("ABC", of, laboratories, rng))
        published = from_calendar(year + month // 12, month % 12 + 1, 11)
        (folder / f"cirt.{430 + n}").write_bytes(circular_t.write(CircularT(430 + n, published, 37, table)))
    for monday, mjds in weeks.items():
        of = values[np.array(mjds) - FIRST_MJD] + rng.normal(0.0, 0.45, len(mjds))
        rows = tuple(replace(row, u_a_ns=None, u_b_ns=None, u_ns=None) for row in rows_of("ABC", of, laboratories, rng))
        (folder / f"utcr_{monday}").write_bytes(utcr.write(RapidUtc("", UtcTable(tuple(mjds), rows))))


def write_series(folder: Path, *, days: int, seed: int) -> None:
    """Write the same values as an answer of the server, as `utc-abc` and as a clock file in seconds."""
    at = tuple(range(FIRST_MJD + 4, FIRST_MJD + days + 1, 5))
    x_s = -own_of(days, seed=seed)[np.array(at) - FIRST_MJD]
    ns = tuple((x_s * 1e9).round(1).tolist())
    some = tuple([2.0] * len(at))
    (folder / "answer.txt").write_bytes(bipm_api.write(ApiSeries(at, ns, some, "UTC - UTC(ABC)")))
    series = UtckSeries("UTC - UTC(ABC)", "ABC", at, tuple(x_s.tolist()), tuple([None] * len(at)))
    (folder / "utc-abc").write_bytes(utck_series.write(series, seconds=False))
    seconds = replace(series, quantity="UTC - UTC(ABC)", remarks=((1, "# UTC(ABC) UTC"),))
    (folder / "abc2utc.clk").write_bytes(utck_series.write(seconds, seconds=True))


def write_cggtts(folder: Path, *, days: int, seed: int) -> None:
    """Write a CGGTTS file a day: UTC(k) by eight satellites at a time."""
    own = own_of(days, seed=seed)
    folder.mkdir()
    for day in range(days):
        test_common_view.MJD = FIRST_MJD + day  # the day whose schedule `station` follows
        of = test_common_view.station("ABC", np.full(89, own[day]), seed + day)
        (folder / f"GZABC{(FIRST_MJD + day) / 1000.0:.3f}").write_bytes(cggtts.write(of))


def laboratory(folder: Path, case: str, *, seed: int, days: int = 365) -> list[str]:
    """Write the files of a case; what the user types after `truechimer`."""
    folder.mkdir(parents=True)
    if case == "utc read":
        write_published(folder, days=YEARS * 365, seed=seed, laboratories=LABORATORIES)
        return ["utc", "read", "--laboratory", "ABC", "--json", *sorted(str(path) for path in folder.iterdir())]
    write_published(folder, days=days, seed=seed, laboratories=LABORATORIES)
    if case in {"readings hourly", "everything"}:
        write_readings(folder / "counter.csv", days=days, interval_s=3600.0, seed=seed)
    if case == "readings 5 min":
        write_readings(folder / "counter.csv", days=days, interval_s=300.0, seed=seed)
    if case in {"clock data", "everything"}:
        write_clock_data(folder, days=days, seed=seed)
    if case == "everything":
        write_series(folder, days=days, seed=seed)
        write_cggtts(folder / "cggtts", days=days, seed=seed)
    return ["backcast", str(folder), "--laboratory", "ABC", "--json"]


CASES = ("readings hourly", "readings 5 min", "clock data", "everything", "utc read")


def run(words: list[str]) -> tuple[float, float, dict[str, Any]]:
    """Run the program once: seconds of wall clock and of processor, and what it said."""
    began, before = time.monotonic(), os.times()
    path = f"{ROOT / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, "-m", "truechimer", *words],
        check=True,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": path},
        timeout=600,
    )
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    body: dict[str, Any] = json.loads(done.stdout)
    return time.monotonic() - began, used, body


def measure(case: str, folder: Path, *, runs: int, seed: int) -> dict[str, Any]:
    """Write one case and run it."""
    words = laboratory(folder, case, seed=seed)
    run(words)  # machine code is made
    told = [run(words) for _ in range(runs)]
    body = told[0][2]
    files = [path for path in folder.rglob("*") if path.is_file()]
    found: dict[str, Any] = {
        "files": len(files),
        "megabytes": round(sum(path.stat().st_size for path in files) / 1e6, 1),
        "wall_s_median": round(statistics.median(each[0] for each in told), 2),
        "wall_s_runs": [round(each[0], 2) for each in told],
        "processor_s_median": round(statistics.median(each[1] for each in told), 2),
    }
    if case == "utc read":
        found |= {"years": max(len(of["years"]) for of in body["record"].values())}
    else:
        whole = body["years"][-1]
        found |= {"epochs": body["epochs"], "clocks": len(body["clocks"])}
        found |= {f"{which}_rms_ns": round(whole[which]["rms_s"] * 1e9, 3) for which in ("own", "ours")}
    print(f"{case}: {json.dumps(found)}", file=sys.stderr, flush=True)
    return found


def main() -> int:
    """Write, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--limit", type=float, help="status 1 where a year takes longer (s)")
    parser.add_argument("--keep", type=Path, help="write the laboratories there and leave them")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    told: dict[str, Any] = {"version": __version__, "runs": options.runs, "cases": {}}
    with tempfile.TemporaryDirectory() as place:
        base = options.keep or Path(place)
        for case in options.case or CASES:
            folder = base / case.replace(" ", "-")
            told["cases"][case] = measure(case, folder, runs=options.runs, seed=options.seed)
    print(json.dumps(told, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(told, indent=1) + "\n")
    slowest = max(case["wall_s_median"] for case in told["cases"].values())
    return 1 if options.limit is not None and slowest > options.limit else 0


if __name__ == "__main__":
    sys.exit(main())
