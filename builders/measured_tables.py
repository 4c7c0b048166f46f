"""What documents show of the measurements that are kept in docs/measured: a list of all of them, and tables of some.

It measures nothing; who made a file stands in it.
"""

import json
from pathlib import Path
from typing import Any

from markdown_tables import objects_table, plain, table

ELSEWHERE = frozenset({"demo.json", "package_sizes.json"})
"""Files of docs/measured that the README and ADR 12 show."""

MIB = 1024 * 1024


def measured_block(folder: Path) -> str:
    """Return every kept measurement but those shown elsewhere: its facts as a list, its lists of objects as tables."""
    parts = []
    for path in sorted(folder.glob("*.json")):
        if path.name in ELSEWHERE:
            continue
        body = json.loads(path.read_text(encoding="utf-8"))
        parts.append(f"### {path.stem.replace('_', ' ')}\n\nFrom `docs/measured/{path.name}`.\n\n" + _shown(body))
    return "\n\n".join(parts) or "Nothing has been measured yet, and nothing is claimed: `coverage` is stated as 0."


def _shown(body: dict[str, Any]) -> str:
    """Show one document: plain values as a list, then each table of objects."""
    facts, tables = [], []
    for key, value in body.items():
        rows = _rows_of(value)
        if rows is not None:
            tables.append(f"`{key}`\n\n" + objects_table(rows))
        elif isinstance(value, dict):
            facts.append(f"- `{key}`: " + ", ".join(f"`{name}` {plain(inner)}" for name, inner in value.items()))
        else:
            facts.append(f"- `{key}`: {plain(value)}")
    return "\n\n".join(["\n".join(facts), *tables] if facts else tables)


def _rows_of(value: Any) -> list[dict[str, Any]] | None:
    """Return the rows of a list of objects, or of a dictionary of objects with its keys as the first column."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return value
    if isinstance(value, dict) and value and all(isinstance(item, dict) for item in value.values()):
        return [{"": name, **item} for name, item in value.items()]
    return None


# ---- the ensemble ----------------------------------------------------------------------------------------------------

TAUS = ("1 h", "1 d", "10 d", "30 d")
FAULT_COLUMNS = ("case", "ensemble", "seeds", "detected_h_median", "not_detected", "honest_clocks_out")


def quality_block(body: dict[str, Any]) -> str:
    """Return ADEV / B(tau) of the scale and of what is possible, an ensemble after the other."""
    got, reach = body["adev_over_best_fixed"], body["reachable_over_best_fixed"]
    rows = [["ensemble", "case", *TAUS, "seeds"]]
    for name in reach:
        mine = [key for key in got if key.split(": ")[0] == name]
        for key in mine:
            cells = [plain(got[key].get(tau)) for tau in TAUS]
            rows.append([name, key.split(": ")[1], *cells, plain(got[key].get("seeds"))])
        rows += [[name, f"*{row}*", *(plain(reach[name][row][tau]) for tau in TAUS), ""] for row in reach[name]]
    return table(rows)


def faults_block(body: dict[str, Any]) -> str:
    """Return how far each fault moved the scale and when it was seen; then what clean clocks raised."""
    rows = [
        [
            *("fault", "ensemble", "seeds", "moved: median / 95 %, ns", "after, d"),
            *("seen after, h (median)", "never seen", "honest clocks out"),
        ]
    ]
    for row in body["faults"]:
        pairs = zip(row["moved_ns_median"], row["moved_ns_95"], strict=True)
        moved = "; ".join(f"{plain(median)} / {plain(most)}" for median, most in pairs)
        case, ensemble, seeds, seen, missed, honest = (plain(row[column]) for column in FAULT_COLUMNS)
        rows.append([case, ensemble, seeds, moved, "; ".join(map(plain, row["window_d"])), seen, missed, honest])
    alarms, out, divided, years = (
        sum(row.get(key, 0) for row in body["clean"]) for key in ("alarms", "out", "divided", "clock_years")
    )
    said = f"On clean clocks: {plain(alarms)} false alarms in {plain(years)} clock-years, doubts among them"
    more = f'{plain(out)} times a clock was put out, {plain(divided)} times "divided" was said'
    return f"{table(rows)}\n\n{said}; {more}."


SAID_WITHIN_D = 14


def departures_block(body: dict[str, Any]) -> str:
    """Return how often a rapid UTC showed a ramp within 14 days, beside the same without; the curve; clean clocks."""
    rows = [
        [
            *("ramp", "ensemble", "UTCr, ns", "delivered", "seeds that reached 3 ns"),
            *("said since the onset", "without the ramp", "the clock a suspect", "another one"),
        ]
    ]
    curves = []
    for row in body["departures"]:
        at = row["days_after_3_ns"].index(SAID_WITHIN_D)
        parts = (row[key][at] for key in ("found_anew", "twin_anew", "suspect", "other_suspect"))
        reached = f"{row['reached_3_ns']} of {row['seeds']}"
        rows.append([row["ramp"], row["ensemble"], plain(row["utcr_ns"]), row["mode"], reached, *map(plain, parts)])
        for point in row.get("curve", []):
            figures = (point[key] for key in ("after_d", "suspect", "optimum_found", "optimum_sigma"))
            curves.append([plain(row["utcr_ns"]), *map(plain, figures)])
    head = ["UTCr, ns", "days after the onset", "the clock a suspect", "optimum", "its signal-to-noise ratio"]
    # the same years are heard with each noise of the reference
    once = (body["departures"][0]["mode"], body["departures"][0]["utcr_ns"])
    years = sum(row["clean_years"] for row in body["departures"] if (row["mode"], row["utcr_ns"]) == once)
    of = lambda key: [row[key] for row in body["departures"]]  # noqa: E731
    clean = (
        f"Without any fault ({years:.0f} years): {min(of('clean_said_per_year'))} to {max(of('clean_said_per_year'))} "
        f"statements a year, {min(of('clean_suspects_per_year'))} to {max(of('clean_suspects_per_year'))} of them with "
        f"a suspect; the scale was off its prediction by {min(of('clean_true_departure_ns_median'))} to "
        f"{max(of('clean_true_departure_ns_median'))} ns then (medians), by "
        f"{min(of('clean_true_departure_ns_least'))} ns at least; statements while it was within 1 ns: "
        f"{max(of('clean_said_within_1_ns_per_year')):g} a year."
    )
    return f"{table(rows)}\n\n{table([head, *curves])}\n\n{clean}"


def steering_block(body: dict[str, Any]) -> str:
    """Return how near UTC(k) was to UTC over simulated years, with the limit of late data, and both ends of the law."""
    head = (
        "seeds",
        "rms, ns",
        "largest, 95 %, ns",
        "limit: rms",
        "limit: largest",
        "rms / limit",
        "ADEV 1 d / free",
        "T, d",
    )
    keys = (
        *("seeds", "rms_ns", "max_ns_95", "limit_rms_ns", "limit_max_ns_95", "over_limit", "adev_ratio"),
        "time_constant_d",
    )
    rows = [["laboratory", *head]]
    rows += [[name, *(plain(row[key]) for key in keys)] for name, row in body["cases"].items()]
    for group in ("clocks heard, their drift fed forward", "scale alone"):
        rows += [[f"{name}; {group}", *(plain(row[key]) for key in keys)] for name, row in body.get(group, {}).items()]
    for name, ratios in body["gentle"].items():
        for ratio, row in sorted(ratios.items(), key=lambda each: float(each[0])):
            rows.append([f"{name}; `--day-stability {ratio}`", *(plain(row[key]) for key in keys)])
    return table(rows)


def steering_front_block(body: dict[str, Any]) -> str:
    """Return what any law could have of nearness and gentleness, and ours."""
    head = (
        "forecast, rms ns",
        "rms at 1.15: front",
        "ours",
        "one order a day",
        "ratio at 1 ns: front",
        "ours",
        "ratio at 1.06 of the forecast: front",
        "ours",
    )
    rows = [["laboratory", *head]]
    for name, row in body["cases"].items():
        ends = (row["front_ratio_at_1_ns"], row["ours_ratio_at_1_ns"])
        near = (row["front_ratio_at_1.06"], row["ours_ratio_at_1.06"])
        figures = (row["forecast_rms_ns"], row["front"]["1.15"], row["ours"]["1.15"], row["ours_daily"]["1.15"])
        rows.append([name, *(plain(x) for x in figures), *("none" if x is None else plain(x) for x in (*ends, *near))])
    return table(rows)


def backcast_block(body: dict[str, Any]) -> str:
    """Return how long `backcast` takes over a year, and `utc read` over ten."""
    rows = [["files", "number", "MB", "epochs", "s by the clock", "s of processor"]]
    for name, case in body["cases"].items():
        epochs = f"{case['epochs']:,}" if "epochs" in case else ""
        times = (plain(case["wall_s_median"]), plain(case["processor_s_median"]))
        rows.append([name, f"{case['files']:,}", plain(case["megabytes"]), epochs, *times])
    return table(rows)


def attacks_block(body: dict[str, Any]) -> str:
    """Return what attacks on our NTP client came to, the worst of all seeds."""
    rows = [["attack", "moved, us", "bound stated, us", "served, %", "named after, s", "lies", "said"]]
    for row in body["attacks"]:
        named = "never" if row["named_s"] == -1 else plain(row["named_s"])
        bound_us = plain(row["bound_s"] * 1e6) if row["served"] else ""
        served = [plain(row["moved_s"] * 1e6) if row["served"] else "", bound_us, plain(100.0 * row["served"])]
        rows.append([row["attack"], *served, named, plain(row["lies"]), ", ".join(row["votes"])])
    forged, amplified = body["forged"], body["amplified"]
    return (
        f"{body['seeds']} seeds, the worst counts; {body['lasts_s']} s each, one question a second.\n\n"
        f"{table(rows)}\n\n"
        f"D17: of {forged['packets']:,} forged answers of {forged['kinds']} kinds {forged['accepted']} were taken. "
        f"D20: of {amplified['packets']:,} questions of every mode, version and length no answer was longer than "
        f"{amplified['largest_ratio']:.2f} of its question, and modes 6 and 7 got {amplified['of_control_modes']}."
    )


def cost_block(body: dict[str, Any]) -> str:
    """Return what a replay, a live step and reading a file cost, beside plain NumPy and DuckDB."""
    rows = [["algorithm", "clocks", "epochs", "a step, us", "x plain NumPy", "whole replay, s"]]
    for row in [*body["replay"], *body.get("gates", [])]:
        whole = ("algorithm", "clocks", "epochs", "step_us", "ratio", "seconds")
        rows.append([plain(row[key]) for key in whole])
    live, read = body["live_step"], body["reading_csv"]
    median, slowest = plain(live["median_ms"]), plain(live["slowest_ms"])
    step = f"`{live['algorithm']}`, {live['clocks']} clocks: {median} ms (median), {slowest} ms at most."
    file = f"{read['rows']} rows ({read['bytes'] // MIB} MiB): {plain(read['seconds'])} s"
    if "duckdb_seconds" in read:
        file += f"; DuckDB {read['duckdb_version']} takes {plain(read['duckdb_seconds'])} s for the same file"
    return f"{table(rows)}\n\nOne live step with its record, {step}\n\nReading a CSV of {file}."


def choices_block(body: dict[str, Any]) -> str:
    """Return one table for each constant."""
    return "\n\n".join(f"*{name}*\n\n{objects_table(rows)}" for name, rows in body.items())
