"""The page of `truechimer utc report`: a document to one HTML text without script, font or picture from elsewhere.

It computes no figure: what stands on the page stands in the document. Offsets are in ns to 0.01, rates to three digits;
the SI value of each is the document's. Every word from a file is escaped.
"""

import html
from collections.abc import Iterable, Sequence
from typing import Any

from truechimer.cli import drawing_svg
from truechimer.cli.drawing import ON_DARK, ROLES
from truechimer.cli.figure import Figure, linear_axis
from truechimer.instants.mjd import to_calendar

NS = 1e9
MOST_TRACES = 7
"""Of weights: as many as colours."""
MOST_FINDINGS = 200
_FIGURES = (("n", "days"), ("mean_s", "mean"), ("rms_s", "rms"), ("std_s", "std"), ("largest_s", "largest"))
_HOW = (
    "Offsets are at 0\u00a0h\u00a0UTC, in ns, positive where UTC(k) is late; uncertainties are standard ones "
    "(k\u00a0=\u00a01)."
)
_STYLE = (
    ":root{color-scheme:light dark}"
    f"body{{font:16px/1.5 system-ui,sans-serif;color:{ROLES['ink']};background:{ROLES['paper']};"
    "max-width:64rem;margin:0 auto;padding:1rem;overflow-wrap:break-word}"
    "h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem}"
    "p{margin:.5rem 0}figure{margin:.5rem 0;max-width:none}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}"
    "th,td{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #8886;white-space:nowrap}"
    "th{font-weight:600}td.t,th.t{text-align:left}caption{text-align:left;padding:.3rem 0;font-weight:600}"
    "summary{cursor:pointer;padding:.4rem 0}code{font-size:.8rem;overflow-wrap:anywhere;white-space:normal}"
    ".big{display:flex;flex-wrap:wrap;gap:1rem;padding:0;margin:1rem 0;list-style:none}"
    ".big li{border:1px solid #8886;border-radius:.4rem;padding:.5rem .9rem}.big b{display:block;font-size:1.3rem}"
    ".warn{border-left:4px solid #b00020;padding:.3rem .8rem}"
    f"@media screen and (prefers-color-scheme:dark){{body{{color:{ON_DARK['ink']};background:{ON_DARK['paper']}}}}}"
)


def page(body: dict[str, Any]) -> str:
    """Return the page of a document as `utc_report.document` makes it."""
    name = f"UTC({body['laboratory']})"
    parts = [
        f"<h1>{_safe(name)}</h1>",
        f"<p>{_day(body['mjd_first'])} to {_day(body['mjd_last'])}. {_HOW}</p>",
        _in_large(body),
        _drawn(0, _offsets(body, name)),
        *(_tables(scale, of, name) for scale, of in body["record"].items()),
        _by_day(body, name),
        *_clocks(body),
        *_steering(body),
        _leap(body["leap"]),
        _provenance(body),
    ]
    style = drawing_svg.theme_style() + _STYLE
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{_safe(name)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def _safe(text: object) -> str:
    return html.escape("".join(each if each.isprintable() else "\ufffd" for each in str(text)))


def _ns(value_s: float | None) -> str:
    return "" if value_s is None else f"{value_s * NS:.2f}".replace("-", "\u2212")


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}".replace("-", "\u2212")


def _day(mjd: int) -> str:
    year, month, day = to_calendar(mjd)
    return f"{year:04d}-{month:02d}-{day:02d}"


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, words: Sequence[int] = (0,)) -> str:
    """Return a table that can be scrolled sideways; `words`: columns that hold text."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(f"<{tag}{' class=t' if k in words else ''}>{_safe(each)}</{tag}>" for k, each in enumerate(row))

    lines = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<thead><tr>{cells('th', heads)}</tr></thead>"
    return (
        f"<div class=wide tabindex=0 role=region aria-label='{_safe(caption)}'>"
        f"<table><caption>{_safe(caption)}</caption>{head}<tbody>\n{lines}\n</tbody></table></div>"
    )


def _drawn(number: int, figure: Figure) -> str:
    return f"<figure>{drawing_svg.svg(figure.drawing(), number=number, by_theme=True)}</figure>"


def _in_large(body: dict[str, Any]) -> str:
    items = []
    for scale, of in body["record"].items():
        every = of["all"]
        items.append(f"<li><b>{_ns(every['rms_s'])} ns</b>rms of {_safe(scale)} (n = {every['n']})</li>")
        items.append(
            f"<li><b>{_ns(every['largest_s'])} ns</b>largest of {_safe(scale)}, {_day(every['largest_mjd'])}</li>"
        )
    newest = next((row for row in reversed(body["days"]) if "x_utc_minus_utck_s" in row), None)
    if newest is not None:
        u = f" \u00b1 {_ns(newest['u_s'])}" if "u_s" in newest else ""
        items.append(f"<li><b>{_ns(newest['x_utc_minus_utck_s'])}{u} ns</b>UTC, {_day(newest['mjd'])}</li>")
    return f"<ul class=big>{''.join(items)}</ul>"


def _offsets(body: dict[str, Any], name: str) -> Figure:
    days = [row["mjd"] for row in body["days"]]
    spans = []
    for row in body["days"]:
        at, u = row.get("x_utc_minus_utck_s"), row.get("u_s", 0.0)
        spans += [(at - u) * NS, (at + u) * NS] if at is not None else []
        spans += [row["x_utcr_minus_utck_s"] * NS] if "x_utcr_minus_utck_s" in row else []
    figure = _frame(f"UTC - {name}", days, [*spans, 0.0], "ns")
    shaded = False
    for number, (key, scale) in enumerate((("x_utc_minus_utck_s", "UTC"), ("x_utcr_minus_utck_s", "UTCr"))):
        here = [row for row in body["days"] if key in row]
        if not here:
            continue
        xs, ys = [float(row["mjd"]) for row in here], [row[key] * NS for row in here]
        if scale == "UTC":
            us = [row["u_s"] * NS if "u_s" in row else float("nan") for row in here]
            lows, highs = [y - u for y, u in zip(ys, us, strict=True)], [y + u for y, u in zip(ys, us, strict=True)]
            figure.band(xs, lows, highs, number=number, opacity=0.2)
            shaded = any("u_s" in row for row in here)
        figure.line(xs, ys, number=number, width=1.4)
        figure.patch(f"{scale} - {name}" + (", shaded: u (k = 1)" if scale == "UTC" and shaded else ""), number=number)
    return figure


def _frame(title: str, days: Sequence[int], values: Sequence[float], unit: str) -> Figure:
    high = max(days) if max(days) > min(days) else min(days) + 1
    return Figure(title, linear_axis("MJD (UTC)", [min(days), high]), linear_axis(unit, values), ())


def _tables(scale: str, of: dict[str, Any], name: str) -> str:
    heads = ["", *(head for _, head in _FIGURES), "on"]
    parts = [f"<h2>{_safe(scale)} \u2212 {_safe(name)} / ns</h2>"]
    every = {"period": "all", **of["all"]}
    parts.append(_table(f"{scale} by year", heads, [_figures(row) for row in [*of["years"], every]]))
    for kind in ("months", "weeks"):
        table = _table(f"{scale} by {kind[:-1]}", heads, [_figures(row) for row in of[kind]])
        parts.append(f"<details><summary>By {kind[:-1]}: {len(of[kind])}</summary>{table}</details>")
    return "\n".join(parts)


def _figures(row: dict[str, Any]) -> list[str]:
    told = [str(row["n"]), *(_ns(row[key]) for key, _ in _FIGURES[1:])]
    return [row["period"], *told, _day(row["largest_mjd"])]


def _by_day(body: dict[str, Any], name: str) -> str:
    heads = ["day", "MJD", f"UTC - {name}", "uA", "u", f"UTCr - {name}", "Circular T"]
    rows = [
        [
            _day(row["mjd"]),
            str(row["mjd"]),
            _ns(row.get("x_utc_minus_utck_s")),
            _ns(row.get("u_a_s")),
            _ns(row.get("u_s")),
            _ns(row.get("x_utcr_minus_utck_s")),
            str(row.get("issue", "")),
        ]
        for row in body["days"]
    ]
    table = _table("by day / ns", heads, rows)
    return f"<details><summary>By day: {len(rows)}</summary>{table}</details>"


def _clocks(body: dict[str, Any]) -> list[str]:
    parts = []
    if body.get("clocks"):
        parts.append("<h2>Clocks and their weights</h2>")
        heaviest = sorted(body["clocks"], key=lambda each: -each["weight_mean"])[:MOST_TRACES]
        days = [int(mjd) for each in heaviest for mjd in each["weight"]]
        figure = _frame(
            "Weight in the scale, mean of each day",
            days,
            [0.0, *(w * 100 for c in heaviest for w in c["weight"].values())],
            "%",
        )
        for number, clock in enumerate(heaviest):
            xs, ys = [float(mjd) for mjd in clock["weight"]], [weight * 100 for weight in clock["weight"].values()]
            figure.line(xs, ys, number=number, width=1.4)
            figure.patch(clock["name"], number=number)
        parts.append(_drawn(1, figure))
        rows = [
            [c["name"], c["kind"], c.get("bipm_code", ""), str(c["days"]), f"{c['weight_mean'] * 100:.2f}"]
            for c in body["clocks"]
        ]
        heads = ["clock", "kind", "BIPM code", "days", "mean weight / %"]
        parts.append(_table("Clocks of the scale", heads, rows, words=(0, 1)))
    if body.get("clock_data"):
        rows = [
            [
                c["clock"],
                c["laboratory_code"],
                str(c["n"]),
                _day(c["mjd_last"]),
                _ns(c["x_utck_minus_clock_s"]),
                _rate(c.get("y_utck_minus_clock")),
            ]
            for c in body["clock_data"]
        ]
        heads = ["clock", "laboratory", "values", "last", "UTC(k) - clock / ns", "mean rate"]
        parts.append(_table("Clocks as submitted to the BIPM", heads, rows))
    if body.get("steps"):
        rows = [[s["clock"], f"{s['mjd']:.2f}", _ns(s["x_step_s"]), _rate(s["y_step"])] for s in body["steps"]]
        parts.append(_table("Steps as submitted", ["clock", "MJD", "time / ns", "frequency"], rows))
    return parts


def _steering(body: dict[str, Any]) -> list[str]:
    if "steering" not in body:
        return []
    known = [row for row in body["steering"] if "y_steer" in row]
    parts = [
        "<h2>Steering</h2>",
        "<p>UTC(k) against the free scale. A break is a step of UTC(k) by a signed order.</p>",
    ]
    if known:
        values = [row["y_steer"] * 1e15 for row in known]
        figure = _frame(
            "Rate of UTC(k) against the scale at each day's end", [r["mjd"] for r in known], [0.0, *values], "1e-15"
        )
        figure.line([float(row["mjd"]) for row in known], values, number=0, width=1.4)
        parts.append(_drawn(2, figure))
    rows = [
        [
            _day(row["mjd"]),
            str(row["mjd"]),
            str(row["orders"]),
            _rate(row.get("y_steer")),
            _ns(row.get("x_steered_s")),
            _ns(row["x_broken_s"]) if row["x_broken_s"] else "",
        ]
        for row in body["steering"]
    ]
    heads = ["day", "MJD", "orders", "rate at its end", "moved / ns", "broken / ns"]
    parts.append(f"<details><summary>By day: {len(rows)}</summary>{_table('Steering by day', heads, rows)}</details>")
    return parts


def _leap(leap: dict[str, Any]) -> str:
    parts = [
        "<h2>Leap seconds</h2>",
        f"<p>{_offset(leap)} since {_day(leap['since_mjd'])}.</p>",
        f"<p>Table: {_safe(leap['table'])}, expires {_safe(leap['table_expires'])}.</p>",
    ]
    if leap["expired"]:
        parts.append("<p class=warn>This table had expired by the last day of the report.</p>")
    parts += [f"<p>From {_day(each['mjd'])}: {_offset(each)}.</p>" for each in leap["within"]]
    parts += [f"<p>After the report, {_day(each['mjd'])}: {_offset(each)}.</p>" for each in leap["later"]]
    for each in leap["bulletins"]:
        what = {1: "a second more", -1: "a second less", 0: "no leap second"}[each["leap_s"]]
        number = f"Bulletin C {each['bulletin']}" if "bulletin" in each else "Bulletin C"
        parts.append(f"<p>{_safe(number)}: {what} before {_day(each['from_mjd'])}.</p>")
    return "\n".join(parts)


def _offset(each: dict[str, Any]) -> str:
    return f"TAI \u2212 UTC = {each['tai_minus_utc_s']} s"


def _provenance(body: dict[str, Any]) -> str:
    items = []
    for each in body["files"]:
        if each["kind"] == "journal":
            told = f"the laboratory's journal, {each['records']} records, replayed bit for bit; SHA-256 of the last"
            items.append(f"<li>{_safe(each['file'])}: {told} <code>{_safe(each['last_record_sha256'])}</code></li>")
            continue
        told = f"{each['kind']}, {each['bytes']} bytes, {each['values']} values used; SHA-256"
        items.append(f"<li>{_safe(each['file'])}: {_safe(told)} <code>{_safe(each['sha256'])}</code></li>")
    parts = ["<h2>Where it is from</h2>", f"<ul>{''.join(items)}</ul>"]
    if body["findings"]:
        said = "".join(f"<li>{_safe(each)}</li>" for each in body["findings"][:MOST_FINDINGS])
        beyond = len(body["findings"]) - MOST_FINDINGS
        more = f"<li>and {beyond} more</li>" if beyond > 0 else ""
        parts.append(f"<div class=warn><p>Not used, or doubtful:</p><ul>{said}{more}</ul></div>")
    parts.append(f"<p>Made by {_safe(body['made_by'])} from these files alone: the same files make the same page.</p>")
    return "\n".join(parts)
