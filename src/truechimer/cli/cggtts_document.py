"""What `truechimer cggtts compare --json` prints of a link, whatever made it: counts, figures and every epoch.

It compares nothing. Names and units are the contract's: figures of a link in ns, the same in s beside them, epochs in
s. Of several links the first document bears the figures of the one with most tracks, and says which that is.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from truechimer.formats.finding import Severity

if TYPE_CHECKING:
    from truechimer.compare.common_view import SatelliteLink
    from truechimer.compare.link_smoothing import Smoothed
    from truechimer.compare.two_way import TwoWayLink
    from truechimer.formats.finding import Finding

NS = 1e9
DAY_NS = 86_400 * 10**9
MJD_OF_1970 = 40_587
PRINCIPAL = ("system", "code", "link", "tracks_common", "epochs", "mean_ns", "std_ns", "tdev_ns", "series")
"""What the document says of its link with most tracks."""


def document(
    a: Path, b: Path, method: dict[str, Any], links: Sequence[dict[str, Any]], refused: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the whole; `method`: how it was made; `refused`: of `rejected`."""
    most = max(links, key=lambda each: int(each["tracks_common"]))
    return {
        "a": str(a),
        "b": str(b),
        **method,
        **{key: most[key] for key in PRINCIPAL if key in most},
        "rejected": refused,
        "links": list(links),
    }


def rejected(path: Path, findings: "Sequence[Finding]") -> list[dict[str, Any]]:
    """Return the lines of a file that are not used: file, line, rule, and why."""
    return [
        {"file": str(path), "rule": each.rule, "says": each.says} | ({} if each.line is None else {"line": each.line})
        for each in findings
        if each.severity is Severity.ERROR
    ]


def link(of: "SatelliteLink | TwoWayLink", smoothed: "Smoothed | None", named: dict[str, Any]) -> dict[str, Any]:
    """Return a link's figures and epochs; `named`: what it is called, and its counts."""
    from truechimer.compare import link_stability

    x_s, u_s = of.x_a_minus_b_s, of.u_s
    body: dict[str, Any] = {
        **named,
        "epochs": len(of),
        "mean_s": float(np.mean(x_s)),
        "mean_ns": float(np.mean(x_s)) * NS,
        "u_epoch_median_s": float(np.median(u_s)),
    }
    if len(of) > 1:
        body["std_s"] = float(np.std(x_s, ddof=1))
        body["std_ns"] = body["std_s"] * NS
    tdev = link_stability.tdev_of(of)
    if tdev is not None:
        body["tdev_s"] = {f"{tau:g}": value for tau, value in tdev}
        body["tdev_ns"] = {f"{tau:g}": value * NS for tau, value in tdev}
    if smoothed is not None:
        body["smoothed_std_s"] = float(np.std(smoothed.x_s, ddof=1))
        body["u_smoothed_median_s"] = float(np.median(smoothed.u_s))
    return _finite(body) | {"series": _series(of, smoothed)}


def _series(of: "SatelliteLink | TwoWayLink", smoothed: "Smoothed | None") -> list[dict[str, Any]]:
    """Return the epochs; MJD on the TAI axis, good to a microsecond: `epoch_tai_ns` is exact."""
    satellites = getattr(of, "satellites", None)
    rows = []
    for k, epoch in enumerate(of.middle_tai_ns.tolist()):
        row: dict[str, Any] = {"epoch_tai_ns": epoch, "epoch_mjd": MJD_OF_1970 + epoch / DAY_NS}
        row |= {"x_a_minus_b_s": float(of.x_a_minus_b_s[k]), "u_s": float(of.u_s[k])}
        if satellites is not None:
            row["satellites"] = int(satellites[k])
        if smoothed is not None:
            row |= {"x_smoothed_s": float(smoothed.x_s[k]), "u_smoothed_s": float(smoothed.u_s[k])}
        rows.append(_finite(row))
    return rows


def _finite(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if not (isinstance(value, float) and not math.isfinite(value))}
