"""What years of published UTC - UTC(k) say of a laboratory: figures by year, and a picture.

It reads no file (`utc_record_files`) and computes nothing (`compare.utc_record`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.errors import Rejected

if TYPE_CHECKING:
    from truechimer.cli.figure import Figure
    from truechimer.compare.utc_record import PublishedValue, YearRow

NS = 1e9
FEWEST = 3
"""Fewer values of a scale make no table of years."""


class AuditRejected(Rejected):
    """Files that give no record of one laboratory."""


def document(values: "Sequence[PublishedValue]") -> dict[str, Any]:
    """Return figures by year of each scale; empty where there are too few values."""
    from truechimer.compare import utc_record

    out: dict[str, Any] = {}
    kept = utc_record.newest(values)
    for scale in dict.fromkeys(value.scale for value in kept):
        series = [(value.mjd, value.x_utc_minus_utck_s) for value in kept if value.scale == scale]
        if len(series) >= FEWEST:
            rows = utc_record.by_year(series)
            out[scale] = {"years": [_row(row) for row in rows[:-1]], "all": _row(rows[-1])}
    return out


def _row(row: "YearRow") -> dict[str, Any]:
    year = {} if row.year is None else {"year": row.year}
    return year | {
        "n": row.n,
        "mean_s": row.mean_s,
        "rms_s": row.rms_s,
        "std_s": row.std_s,
        "largest_s": row.largest_s,
        "largest_mjd": row.largest_mjd,
    }


def lines(body: dict[str, Any], laboratory: str) -> list[str]:
    """Return the tables."""
    out: list[str] = []
    for scale, of in body.items():
        heads = f"{'n':>5} {'mean':>11} {'rms':>11} {'std':>11} {'largest':>11}  MJD"
        out += ["", f"{scale} - UTC({laboratory or 'k'}) / ns", f"{'year':<6}{heads}"]
        for row in [*of["years"], of["all"]]:
            cells = " ".join(f"{row[key] * NS:>11.2f}" for key in ("mean_s", "rms_s", "std_s", "largest_s"))
            out.append(f"{row.get('year', 'all')!s:<6}{row['n']:>5} {cells}  {row['largest_mjd']}")
    return out


def draw(path: Path, values: "Sequence[PublishedValue]", laboratory: str) -> None:
    """Draw UTC - UTC(k) over time and its rms by year into a file."""
    from truechimer.cli.stability_plot import write_figures
    from truechimer.compare import utc_record

    kept = utc_record.newest(values)
    figures = []
    for scale in dict.fromkeys(value.scale for value in kept):
        series = [(float(value.mjd), value.x_utc_minus_utck_s * NS) for value in kept if value.scale == scale]
        if len(series) >= FEWEST:
            figures.append(over_days(f"{scale} - UTC({laboratory or 'k'})", [("published", series)]))
    if not figures:
        raise AuditRejected(f"fewer than {FEWEST} values: there is nothing to draw")
    write_figures(path, figures)


def over_days(title: str, traces: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> "Figure":
    """Return a figure of traces (name, [(MJD, ns)])."""
    from truechimer.cli.figure import Figure, linear_axis

    days = [mjd for _, series in traces for mjd, _ in series]
    values = [ns for _, series in traces for _, ns in series]
    x_axis = linear_axis("MJD (UTC)", [min(days), max(days) if max(days) > min(days) else min(days) + 1.0])
    y_axis = linear_axis("ns", [*values, 0.0])
    figure = Figure(title, x_axis, y_axis, ())
    for number, (name, series) in enumerate(traces):
        xs, ys = [mjd for mjd, _ in series], [ns for _, ns in series]
        figure.line(xs, ys, number=number, width=1.2)
        figure.patch(name, number=number)
    return figure
