"""Published UTC - UTC(k) out of files of any kind that holds it: Circular T, rapid UTC, the BIPM's server, series, and
the CSV that `utc steer` takes.

It judges no value and prints nothing. Of a table with several laboratories one must be named.
"""

from math import hypot
from pathlib import Path
from typing import TYPE_CHECKING

from truechimer.errors import Rejected

if TYPE_CHECKING:
    from truechimer.compare.utc_record import PublishedValue
    from truechimer.formats.finding import Finding
    from truechimer.formats.utc_table import UtcTable

KINDS = ("circular-t", "utcr", "api", "clock-file", "series", "csv")
"""Kinds of files that hold UTC - UTC(k), as `utc_verb.kind_of` names them."""


class PublishedRejected(Rejected):
    """A file that holds no value of the laboratory asked for."""


class UnreadableRejected(PublishedRejected):
    """A file of which nothing can be read."""


def values_of(
    data: bytes, kind: str, path: Path, laboratory: str | None
) -> "tuple[list[PublishedValue], list[Finding]]":
    """Return a file's values of one laboratory. Raises `PublishedRejected` where it cannot be told which, or where the
    file is none.
    """
    from truechimer.compare.utc_record import PublishedValue
    from truechimer.formats import bipm_api, circular_t, utc_gnss, utck_series, utcr
    from truechimer.formats.finding import Finding

    if kind == "circular-t":
        issue, findings = circular_t.read(data)
        if issue is None:
            raise UnreadableRejected(findings[-1].at(str(path)))
        return _of_table(issue.table, "UTC", path, laboratory, issue.issue, issue.published_mjd), findings
    if kind == "utcr":
        week, findings = utcr.read(data, name=path.name)
        if week is None:
            raise UnreadableRejected(findings[-1].at(str(path)))
        return _of_table(week.table, "UTCr", path, laboratory, int(week.week or 0), None), findings
    if kind == "api":
        several, findings = bipm_api.read(data)
        if several is None:
            raise UnreadableRejected(findings[-1].at(str(path)))
        found = []
        for each in several:
            if utc_gnss.names_a_system(each.comment, path.name):
                findings.append(Finding("gnss", utc_gnss.SAYS))
                continue
            scale = "UTCr" if bipm_api.is_rapid(each, name=path.name) else "UTC"
            for mjd, ns, u in zip(each.mjd, each.value_ns, each.u_ns, strict=True):
                u_s = None if u is None else u * 1e-9
                found.append(PublishedValue(scale=scale, mjd=mjd, x_utc_minus_utck_s=ns * 1e-9, u_s=u_s))
        return found, findings
    if kind == "csv":
        return _of_csv(data)
    if utc_gnss.is_file(data, path.name):
        # one column or four of them look like a series of UTC - UTC(k)
        return [], [Finding("gnss", utc_gnss.SAYS)]
    series, findings = utck_series.read(data, seconds=kind == "clock-file")
    if series is None:
        raise UnreadableRejected(findings[-1].at(str(path)))
    scale = "UTCr" if path.name.lower().startswith("utcr") else "UTC"
    rows = zip(series.mjd, series.x_s, series.u_s, strict=True)
    return [PublishedValue(scale=scale, mjd=mjd, x_utc_minus_utck_s=x, u_s=u) for mjd, x, u in rows], findings


def _of_csv(data: bytes) -> "tuple[list[PublishedValue], list[Finding]]":
    """Return the values at 0 h UTC; a record has no others."""
    from truechimer.compare.utc_record import PublishedValue
    from truechimer.formats import published
    from truechimer.formats.finding import Finding, Severity

    found, findings = published.read(data, name="", laboratory=None)
    values = []
    for each in found:
        if each.mjd != int(each.mjd):
            says = f"MJD {each.mjd:g} is not 0 h UTC: the value is left out of the record"
            findings.append(Finding("hour", says, severity=Severity.WARNING))
            continue
        parts = [u for u in (each.u_s, each.u_common_s) if u is not None]
        values.append(
            PublishedValue(
                scale=each.path,
                mjd=int(each.mjd),
                x_utc_minus_utck_s=each.x_utc_minus_utck_s,
                u_a_s=each.u_s,
                u_s=hypot(*parts) if parts else None,
                published_mjd=int(each.available_mjd),
            )
        )
    if not found and not findings:
        findings.append(Finding("empty", "no row stands below the names of the columns"))
    return values, findings


def _of_table(  # noqa: PLR0917
    table: "UtcTable", scale: str, path: Path, laboratory: str | None, issue: int, published_mjd: int | None
) -> "list[PublishedValue]":
    from truechimer.compare.utc_record import PublishedValue

    if laboratory is None and len(table.rows) > 1:
        raise PublishedRejected(f"{path}: {len(table.rows)} laboratories; say which with --laboratory CODE")
    row = table.rows[0] if laboratory is None and table.rows else table.of(laboratory or "")
    if row is None:
        return []
    u_a, u = (None if each is None else each * 1e-9 for each in (row.u_a_ns, row.u_ns))
    return [
        PublishedValue(
            scale=scale,
            mjd=mjd,
            x_utc_minus_utck_s=value * 1e-9,
            u_a_s=u_a,
            u_s=u,
            issue=issue,
            published_mjd=published_mjd,
        )
        for mjd, value in zip(table.mjds, row.utc_minus_utck_ns, strict=True)
        if value is not None
    ]
