"""Answers of the BIPM's time server (API 1.0), text or JSON: bytes to (series, findings).

It asks nobody. Values are the first scale minus UTC(k) in ns at 0 h UTC; `u` is the total uncertainty in ns, which the
server gives as 0.0 where it is not known: None here. Days without data are absent. Source: BIPM time server, API 1.0.
"""

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any

from truechimer.formats.finding import Finding

MAX_BYTES = 16_000_000
LARGEST_NS = 1e9
DENSE_DAYS = 3
_ROW = re.compile(
    r"\s*([0-9]{5})(?:\.0*)?(?:\s+|\s*[,;]\s*)([+-]?[0-9]+(?:\.[0-9]*)?)(?:(?:\s+|\s*[,;]\s*)([0-9]+(?:\.[0-9]*)?))?\s*"
)
"""A row of the text; commas or semicolons stand where the answer was asked for as CSV."""
_FEW_FINDINGS = 1_000


@dataclass(frozen=True, slots=True)
class ApiSeries:
    """One scale against one laboratory: `mjd` rises, `value_ns`, `u_ns` (None: not known). `comment`: what it says."""

    mjd: tuple[int, ...]
    value_ns: tuple[float, ...]
    u_ns: tuple[float | None, ...]
    comment: str = ""


def read(data: bytes) -> tuple[tuple[ApiSeries, ...] | None, list[Finding]]:
    """Return the series of an answer (one for each scale asked for); None: it holds none."""
    if len(data) > MAX_BYTES:
        return None, [Finding("too-long", f"{len(data)} bytes are no answer of the server (at most {MAX_BYTES})")]
    text = data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    if text.lstrip().startswith(("{", "[")):
        return _json(text)
    return _text(text)


def is_rapid(series: ApiSeries, *, name: str) -> bool:
    """Return whether a series of an answer in a file of this name is of rapid UTC.

    The server's own words decide where they name it, then, where they name no UTC at all, the file's name; else days
    closer than `DENSE_DAYS` do: Circular T has every fifth.
    """
    words = series.comment.lower()
    if "utcr" in words or ("utc" not in words and "utcr" in name.lower()):
        return True
    return min((b - a for a, b in pairwise(series.mjd)), default=DENSE_DAYS) < DENSE_DAYS


def write(series: ApiSeries) -> bytes:
    """Return one series in the server's text layout (`%6d %10s %10s`, CR LF)."""
    out = [f"# {series.comment}"] if series.comment else []
    for mjd, value, u in zip(series.mjd, series.value_ns, series.u_ns, strict=True):
        out.append(f"{mjd:6d} {value:10.1f} {0.0 if u is None else u:10.1f}")
    return ("\r\n".join(out) + "\r\n").encode("latin-1")


def _text(text: str) -> tuple[tuple[ApiSeries, ...] | None, list[Finding]]:
    findings: list[Finding] = []
    rows: list[tuple[int, float, float | None]] = []
    comments: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.rstrip("\r")
        if bare.startswith("#") or (not rows and bare.lstrip(' "').upper().startswith("MJD")):
            comments.append(bare.removeprefix("#").strip())
            continue
        if not bare.strip():
            continue
        found = _ROW.fullmatch(bare)
        if found is None:
            if len(findings) < _FEW_FINDINGS:
                says = "this line is no 'MJD value u': it is not used"
                findings.append(Finding("row", says, number, 1))
            continue
        _take(found.group(1), found.group(2), found.group(3), rows, findings, line=number)
    if not rows:
        findings.append(Finding("no-values", "the answer holds no value: ask for other days or another laboratory"))
        return None, findings
    return (_series(rows, "\n".join(comments)),), findings


def _json(text: str) -> tuple[tuple[ApiSeries, ...] | None, list[Finding]]:
    findings: list[Finding] = []
    try:
        body = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None, [Finding("json", "the answer is no JSON: ask again", 1, 1)]
    if not isinstance(body, dict) or "errorcode" not in body:
        return None, [Finding("json", "this JSON is no answer of the BIPM's server: name another file", 1, 1)]
    if body.get("errorcode") not in (0, "0"):
        says = f"the server answered with error {str(body['errorcode'])[:40]!r}: ask otherwise"
        return None, [Finding("refused", says)]
    found: list[ApiSeries] = []
    sets = body.get("data")
    for at, each in enumerate(sets if isinstance(sets, list) else [sets]):
        lists: list[Any] = [each.get(key) if isinstance(each, dict) else None for key in ("x", "y", "unc")]
        if not all(isinstance(one, list) for one in lists[:2]) or len(lists[0]) != len(lists[1]):
            findings.append(Finding("data", f"scale {at + 1} of the answer has no lists x and y of one length"))
            continue
        u = lists[2] if isinstance(lists[2], list) and len(lists[2]) == len(lists[0]) else [None] * len(lists[0])
        rows: list[tuple[int, float, float | None]] = []
        for one, value, sigma in zip(lists[0], lists[1], u, strict=True):
            _take(one, value, sigma, rows, findings, line=None)
        if rows:
            found.append(_series(rows, str(each.get("scale", ""))[:200]))
    if not found:
        findings.append(Finding("no-values", "the answer holds no value: ask for other days or another laboratory"))
        return None, findings
    return tuple(found), findings


def _take(
    mjd: Any,
    value: Any,
    u: Any,
    rows: list[tuple[int, float, float | None]],
    findings: list[Finding],
    *,
    line: int | None,
) -> None:
    """Take one value, or say what is wrong with it."""
    try:
        day, ns = int(str(mjd).removesuffix(".0")), float(str(value))
        sigma = float(str(u)) if u is not None else 0.0
    except ValueError:
        day, ns, sigma = 0, float("nan"), 0.0
    if not 40_000 <= day <= 99_999 or not isfinite(ns) or abs(ns) > LARGEST_NS or not 0.0 <= sigma < LARGEST_NS:
        if len(findings) < _FEW_FINDINGS:
            says = f"MJD {str(mjd)[:12]!r}, {str(value)[:16]!r} ns: no value that a laboratory has; it is not used"
            findings.append(Finding("value", says, line, None if line is None else 1))
        return
    if rows and day <= rows[-1][0]:
        says = f"MJD {day} does not follow MJD {rows[-1][0]}: the later line is not used"
        findings.append(Finding("not-rising", says, line, None if line is None else 1))
        return
    rows.append((day, ns, sigma or None))


def _series(rows: list[tuple[int, float, float | None]], comment: str) -> ApiSeries:
    mjd, value, u = zip(*rows, strict=True)
    return ApiSeries(mjd, value, u, comment)
