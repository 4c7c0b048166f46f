"""Rebuild what the documents show of runs, files and types: every figure between markers is made here, none by hand.

    python builders/build_docs.py               rebuild all blocks and pages from what is kept
    python builders/build_docs.py --demo FILE   first keep FILE, what `./truechimer demo --json` printed
    python builders/build_docs.py --sizes       first measure the installed packages again

A block stands between `<!-- NAME: begin ... -->` and `<!-- NAME: end -->`. Made are: what the demo shows (README.md,
from docs/measured/demo.json), the measurements (docs/accuracy.md, from the other files of docs/measured), the
dependencies (docs/adr/0012, from requirements/ and docs/measured/package_sizes.json), and docs/guide/lab-file.md (from
the types), the lists of metrics (docs/guide/metrics.md, from their HELP lines), and the tables and plots of
docs/guide/serving.md (`serving_tables.py`). A run of the demo that breaks one
of the README's claims is not kept. Tests rebuild all of it and compare.
"""

import argparse
import importlib.metadata
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "builders")]

from serving_tables import loads_block, loads_picture, serving_block  # noqa: E402

MEASURED = ROOT / "docs" / "measured"
SETS = ("run", "fast", "history", "plot")
"""Of requirements, those that a user may have."""
DEMO, SIZES = "demo.json", "package_sizes.json"
LAB_FILE = ROOT / "docs" / "guide" / "lab-file.md"
NS, US = 1e9, 1e6
MIB = 1024 * 1024

# ---- the demo: what the README claims of every run ------------------------------------------------------------------

EVENTS = ("clock-step", "link-ramp", "slow-drag", "holdover")
"""What happens in the demo; `EVENT_WORDS` says it in words."""

EVENT_WORDS = {
    "clock-step": "the heaviest clock steps by 20 ns",
    "link-ramp": "a link to UTC is walked away, 5 ns a second",
    "slow-drag": "a clock's frequency is dragged away slowly",
    "holdover": "all links to UTC fall silent",
}
SEEN_WITHIN_S = {"clock-step": 20.0, "link-ramp": 20.0, "holdover": 7200.0}
STEP_MOVES_SCALE_NS = 0.5
RAMP_MOVES_SERVED_NS = 0.5
BOUND_NS = 30.0
NTP_MEDIAN_US = 200.0


def _event(body: dict[str, Any], what: str) -> dict[str, Any]:
    return next((event for event in body["events"] if event["what"] == what), {})


def _seen(body: dict[str, Any], what: str) -> bool:
    after_s = _event(body, what).get("detected_after_s")
    return after_s is not None and after_s <= SEEN_WITHIN_S[what]


CLAIMS: tuple[tuple[str, Callable[[dict[str, Any]], bool]], ...] = (
    ("the same four events", lambda body: sorted(event["what"] for event in body["events"]) == sorted(EVENTS)),
    (
        "no lie: at no moment is the true error larger than the bound that was stated, in the branches neither",
        lambda body: (
            body["lies"] == 0
            and body["samples"] > 0
            and body["true_error_s_max"] <= body["bound_s_max"]
            and all(abs(event.get("true_error_ns", 0.0)) <= event.get("bound_ns", 0.0) for event in body["events"])
        ),
    ),
    (
        f"the bound stays below {BOUND_NS:g} ns while the laboratory is steered",
        lambda body: body["state"] == "steered" and 0.0 < body["bound_s_max"] * NS <= BOUND_NS,
    ),
    (
        (
            f"the step is seen within {SEEN_WITHIN_S['clock-step']:g} s, "
            f"and moves the scale by at most {STEP_MOVES_SCALE_NS:g} ns"
        ),
        lambda body: _seen(body, "clock-step") and _event(body, "clock-step")["scale_moved_ns"] <= STEP_MOVES_SCALE_NS,
    ),
    (
        (
            f"the link is outvoted within {SEEN_WITHIN_S['link-ramp']:g} s, "
            f"and moves served time by at most {RAMP_MOVES_SERVED_NS:g} ns"
        ),
        lambda body: (
            _seen(body, "link-ramp") and _event(body, "link-ramp").get("served_moved_ns", 0.0) <= RAMP_MOVES_SERVED_NS
        ),
    ),
    (
        (
            "without links the state is `holdover`, "
            f"and the silence is said within {SEEN_WITHIN_S['holdover'] / 3600.0:g} h"
        ),
        lambda body: _seen(body, "holdover") and _event(body, "holdover")["state"] == "holdover",
    ),
    (
        f"the median error of NTP answers over loopback is at most {NTP_MEDIAN_US:g} us",
        lambda body: body["ntp_answered"] > 0 and body["ntp_error_s_median"] * US <= NTP_MEDIAN_US,
    ),
    (
        "every record is replayed in the same bytes",
        lambda body: "difference" not in body["replay"] and body["replay"]["records_compared"] > 0,
    ),
)
"""What the README says of every run, in its words, and the test of it on the demo's document."""


def broken_claims(body: dict[str, Any]) -> list[str]:
    """Return the claims that a demo's document does not bear; a claim that cannot be judged is broken."""
    broken = []
    for words, holds in CLAIMS:
        try:
            good = holds(body)
        except (KeyError, TypeError, ValueError):
            good = False
        if not good:
            broken.append(words)
    return broken


def demo_block(kept: dict[str, Any]) -> str:
    """Return what the README shows of a run: a table of its events, its figures, and the claims."""
    body = kept["demo"]
    rows = [
        [
            "what happens",
            "run",
            "seen after",
            "the scale moves",
            "served time moves",
            "bound then",
            "true error then",
        ],
    ]
    for event in body["events"]:
        words = EVENT_WORDS.get(event["what"], event["what"]) + f" (`{event['target']}`)"
        if event["what"] == "holdover":
            words = EVENT_WORDS["holdover"]
        how = event["how"] + (f", {event['days']:g} days" if event.get("days", 0.0) >= 1.0 else "")
        rows.append(
            [
                words,
                how,
                _duration(event.get("detected_after_s")),
                _ns(event["scale_moved_ns"]),
                _ns(event.get("served_moved_ns")),
                _ns(event.get("bound_ns")),
                _ns(event.get("true_error_ns")),
            ]
        )
    bits = "bit for bit" if "difference" not in body["replay"] else "and differ"
    figures = (
        f"{len(body['clocks'])} simulated clocks became one scale, `{body['scale']}`. The bound that was stated live "
        f"was at most {_ns(body['bound_s_max'] * NS)}; the true error, which only the simulated world knows, at most "
        f"{_ns(body['true_error_s_max'] * NS)} in {body['samples']} samples. Lies, with those of the branches' "
        f"{body['branch_samples']} samples: {body['lies']}. "
        f"{body['ntp_requests']} NTP requests over loopback were off by {body['ntp_error_s_median'] * US:.1f} us in "
        f"the median (this kind of machine's stamps, not the scale). Of {body['records']} records "
        f"{body['replay']['records_compared']} were replayed from the log, {bits}."
    )
    claims = "\n".join(f"- {words};" for words, _ in CLAIMS).removesuffix(";") + "."
    return f"    {kept['command']}\n\n{_table(rows)}\n\n{figures}\n\n{BRANCHES}\n\n{EVERY_RUN}\n\n{claims}"


BRANCHES = """\
Events marked *branch* need days: the same laboratory, from the end of its history on, runs them beside the live one, \
faster than real time. A drag that is slow enough is not seen by the clocks' own tests: it moves the scale, steering \
on UTC takes most of that back, and served time stays inside its bound."""

EVERY_RUN = "Another seed, another machine, other figures. What holds in every run, and what a test holds a new run to:"


def keep_demo(file: Path) -> None:
    """Keep a run of the demo, or say which claims it breaks and leave with 1."""
    body = json.loads(file.read_text(encoding="utf-8"))
    if broken := broken_claims(body):
        sys.exit(
            "this run is not kept; it breaks what the README claims:\n" + "\n".join(f"- {words}" for words in broken)
        )
    from truechimer._version import __version__

    kept = {"command": f"./truechimer demo --seed {body['seed']}", "version": __version__, "demo": body}
    _write_json(MEASURED / DEMO, kept)


# ---- measurements ----------------------------------------------------------------------------------------------------


def measured_block(folder: Path) -> str:
    """Return every kept measurement but those shown elsewhere: its facts as a list, its lists of objects as tables."""
    parts = []
    for path in sorted(folder.glob("*.json")):
        if path.name in {DEMO, SIZES}:
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
            tables.append(f"`{key}`\n\n" + _objects_table(rows))
        elif isinstance(value, dict):
            facts.append(f"- `{key}`: " + ", ".join(f"`{name}` {_plain(inner)}" for name, inner in value.items()))
        else:
            facts.append(f"- `{key}`: {_plain(value)}")
    return "\n\n".join(["\n".join(facts), *tables] if facts else tables)


def _rows_of(value: Any) -> list[dict[str, Any]] | None:
    """Return the rows of a list of objects, or of a dictionary of objects with its keys as the first column."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return value
    if isinstance(value, dict) and value and all(isinstance(item, dict) for item in value.values()):
        return [{"": name, **item} for name, item in value.items()]
    return None


def _objects_table(rows: list[dict[str, Any]]) -> str:
    columns = list(
        dict.fromkeys(key for row in rows for key, value in row.items() if not isinstance(value, (list, dict)))
    )
    body = [[_plain(row[column]) if column in row else "" for column in columns] for row in rows]
    table = [[f"`{column}`" if column else "" for column in columns], *body]
    if "" in columns and len(columns) > len(rows) + 1:
        table = [list(column) for column in zip(*table, strict=True)]  # few things with many facts read better upright
    return _table(table)


def _plain(value: Any) -> str:
    """Write a value so that it reads: floats with 4 digits, lists by their length where they are long."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, float):
        return f"{value:.4g}" if not value.is_integer() or abs(value) >= 1e6 else f"{value:.0f}"
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) if len(value) <= 12 else f"{len(value)} values"
    return str(value)


# ---- the ensemble ----------------------------------------------------------------------------------------------------

TAUS = ("1 h", "1 d", "10 d", "30 d")
FAULT_COLUMNS = ("case", "ensemble", "seeds", "detected_h_median", "not_detected", "honest_clocks_out")


def ensemble_page(root: Path) -> str:
    """Return docs/ensemble.md with its tables."""
    text = (root / "docs" / "ensemble.md").read_text(encoding="utf-8")
    blocks = {
        "ensemble-quality": quality_block,
        "ensemble-faults": faults_block,
        "ensemble-departures": departures_block,
        "ensemble-choices": choices_block,
    }
    for name, block in blocks.items():
        path = root / "docs" / "measured" / f"{name.replace('-', '_')}.json"
        text = with_block(text, name, block(json.loads(path.read_text(encoding="utf-8"))))
    return text


def quality_block(body: dict[str, Any]) -> str:
    """Return ADEV / B(tau) of the scale and of what is possible, an ensemble after the other."""
    got, reach = body["adev_over_best_fixed"], body["reachable_over_best_fixed"]
    rows = [["ensemble", "case", *TAUS, "seeds"]]
    for name in reach:
        mine = [key for key in got if key.split(": ")[0] == name]
        for key in mine:
            cells = [_plain(got[key].get(tau)) for tau in TAUS]
            rows.append([name, key.split(": ")[1], *cells, _plain(got[key].get("seeds"))])
        rows += [[name, f"*{row}*", *(_plain(reach[name][row][tau]) for tau in TAUS), ""] for row in reach[name]]
    return _table(rows)


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
        moved = "; ".join(f"{_plain(median)} / {_plain(most)}" for median, most in pairs)
        case, ensemble, seeds, seen, missed, honest = (_plain(row[column]) for column in FAULT_COLUMNS)
        rows.append([case, ensemble, seeds, moved, "; ".join(map(_plain, row["window_d"])), seen, missed, honest])
    alarms, out, divided, years = (
        sum(row.get(key, 0) for row in body["clean"]) for key in ("alarms", "out", "divided", "clock_years")
    )
    said = f"On clean clocks: {_plain(alarms)} false alarms in {_plain(years)} clock-years, doubts among them"
    more = f'{_plain(out)} times a clock was put out, {_plain(divided)} times "divided" was said'
    return f"{_table(rows)}\n\n{said}; {more}."


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
        rows.append([row["ramp"], row["ensemble"], _plain(row["utcr_ns"]), row["mode"], reached, *map(_plain, parts)])
        for point in row.get("curve", []):
            figures = (point[key] for key in ("after_d", "suspect", "optimum_found", "optimum_sigma"))
            curves.append([_plain(row["utcr_ns"]), *map(_plain, figures)])
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
    return f"{_table(rows)}\n\n{_table([head, *curves])}\n\n{clean}"


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
    rows += [[name, *(_plain(row[key]) for key in keys)] for name, row in body["cases"].items()]
    for group in ("clocks heard, their drift fed forward", "scale alone"):
        rows += [[f"{name}; {group}", *(_plain(row[key]) for key in keys)] for name, row in body.get(group, {}).items()]
    for name, ratios in body["gentle"].items():
        for ratio, row in sorted(ratios.items(), key=lambda each: float(each[0])):
            rows.append([f"{name}; `--day-stability {ratio}`", *(_plain(row[key]) for key in keys)])
    return _table(rows)


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
        rows.append(
            [name, *(_plain(x) for x in figures), *("none" if x is None else _plain(x) for x in (*ends, *near))]
        )
    return _table(rows)


def attacks_block(body: dict[str, Any]) -> str:
    """Return what attacks on our NTP client came to, the worst of all seeds."""
    rows = [["attack", "moved, us", "bound stated, us", "served, %", "named after, s", "lies", "said"]]
    for row in body["attacks"]:
        named = "never" if row["named_s"] == -1 else _plain(row["named_s"])
        bound_us = _plain(row["bound_s"] * 1e6) if row["served"] else ""
        served = [_plain(row["moved_s"] * 1e6) if row["served"] else "", bound_us, _plain(100.0 * row["served"])]
        rows.append([row["attack"], *served, named, _plain(row["lies"]), ", ".join(row["votes"])])
    forged, amplified = body["forged"], body["amplified"]
    return (
        f"{body['seeds']} seeds, the worst counts; {body['lasts_s']} s each, one question a second.\n\n"
        f"{_table(rows)}\n\n"
        f"D17: of {forged['packets']:,} forged answers of {forged['kinds']} kinds {forged['accepted']} were taken. "
        f"D20: of {amplified['packets']:,} questions of every mode, version and length no answer was longer than "
        f"{amplified['largest_ratio']:.2f} of its question, and modes 6 and 7 got {amplified['of_control_modes']}."
    )


def cost_block(body: dict[str, Any]) -> str:
    """Return what a replay, a live step and reading a file cost, beside plain NumPy and DuckDB."""
    rows = [["algorithm", "clocks", "epochs", "a step, us", "x plain NumPy", "whole replay, s"]]
    for row in [*body["replay"], *body.get("gates", [])]:
        whole = ("algorithm", "clocks", "epochs", "step_us", "ratio", "seconds")
        rows.append([_plain(row[key]) for key in whole])
    live, read = body["live_step"], body["reading_csv"]
    median, slowest = _plain(live["median_ms"]), _plain(live["slowest_ms"])
    step = f"`{live['algorithm']}`, {live['clocks']} clocks: {median} ms (median), {slowest} ms at most."
    file = f"{read['rows']} rows ({read['bytes'] // MIB} MiB): {_plain(read['seconds'])} s"
    if "duckdb_seconds" in read:
        file += f"; DuckDB {read['duckdb_version']} takes {_plain(read['duckdb_seconds'])} s for the same file"
    return f"{_table(rows)}\n\nOne live step with its record, {step}\n\nReading a CSV of {file}."


def choices_block(body: dict[str, Any]) -> str:
    """Return one table for each constant."""
    return "\n\n".join(f"*{name}*\n\n{_objects_table(rows)}" for name, rows in body.items())


# ---- dependencies ----------------------------------------------------------------------------------------------------


def pins(root: Path, name: str) -> dict[str, str]:
    """Return package: version of one set of requirements."""
    text = (root / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"(?m)^([a-z0-9.-]+)==([^\s;]+)", text))


def keep_sizes() -> None:
    """Measure what the pinned packages take on the disk of this environment."""
    sizes = {}
    for name, version in _needed(ROOT).items():
        found = importlib.metadata.distribution(name)
        if found.version != version:
            sys.exit(f"{name} {found.version} is installed, {version} is pinned: set up again first")
        files = [Path(str(found.locate_file(file))) for file in found.files or ()]
        octets = sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc")
        sizes[name] = {"version": version, "installed_bytes": octets}
    _write_json(MEASURED / SIZES, {"platform": "x86-64", "packages": sizes})


def _needed(root: Path) -> dict[str, str]:
    return {package: version for name in SETS for package, version in pins(root, name).items()}


def _asked(root: Path, name: str) -> set[str]:
    """Return the packages that a set asks for by name; the others come with them."""
    lines = (root / "requirements" / f"{name}.in").read_text(encoding="utf-8").splitlines()
    return {re.split(r"[<>=!~ \[]", line)[0] for line in lines if line and not line.startswith(("#", "-"))}


def dependencies_block(root: Path) -> str:
    """Return the table of packages: which set, asked for or brought along, version, size."""
    sizes = json.loads((root / "docs" / "measured" / SIZES).read_text(encoding="utf-8"))["packages"]
    rows = [["set", "package", "version", "MiB installed"]]
    told: set[str] = set()
    for name in SETS:
        asked = _asked(root, name)
        for package, version in sorted(pins(root, name).items(), key=lambda pin: (pin[0] not in asked, pin[0])):
            if package in told:
                continue
            told.add(package)
            shown = package if package in asked else f"{package} (brought along)"
            rows.append([f"`{name}`", shown, version, f"{sizes[package]['installed_bytes'] / MIB:.1f}"])
    downloads = dict(
        line.split()
        for line in (root / "requirements" / "sizes.txt").read_text(encoding="utf-8").splitlines()
        if line[0] != "#"
    )
    words = (
        f"Downloads: set `run` {downloads['run']} MiB; beside it "
        + ", ".join(f"`{name}` {downloads[name]} MiB" for name in SETS[1:])
        + "."
    )
    return _table(rows) + "\n\n" + words


# ---- the laboratory's file -------------------------------------------------------------------------------------------


LAB_FILE_HEAD = """\
# The laboratory's file, LAB.toml

<!-- made by builders/build_docs.py from daemon/lab and clocks/clock.py; do not edit -->

`truechimer init DIR` writes a commented one, `truechimer check LAB.toml` says everything that is wrong with it. A \
file with `[lab] name`, sources and listeners alone is valid: all else has a default. Unknown keys are faults. Paths \
are relative to the file."""


def lab_file_page() -> str:
    """Return docs/guide/lab-file.md: every key with its unit, range, default, and what goes wrong otherwise."""
    from truechimer.daemon.lab import listener_settings, source_settings
    from truechimer.daemon.lab.lab_file import LabFile
    from truechimer.formats.toml_fields import fields_of, item_of

    kinds = (source_settings.NOT_BUILT_SOURCES, listener_settings.NOT_BUILT_PROTOCOLS)
    not_built = sorted(word for kind in kinds for word in kind)
    words = ", ".join(f"`{word}`" for word in dict.fromkeys(not_built))
    parts = [LAB_FILE_HEAD, f"Part of the grammar, but refused with a sentence until they are built: {words}."]
    for item in fields_of(LabFile):
        entry = item_of(item.hint)
        title = f"[[{item.key}]]" if entry is not None else f"[{item.key}]"
        rows = list(_key_rows(entry or item.hint, ""))
        words = f"{item.doc[0].upper()}{item.doc[1:]}." if item.doc else ""
        table = (
            _table([["key", "is", "unit and range", "default", "otherwise"], *rows])
            if rows
            else "No key stands here yet."
        )
        parts.append(f"## `{title}`\n\n" + (words + "\n\n" if words else "") + table)
    return "\n\n".join(parts) + "\n"


def _key_rows(cls: type, prefix: str) -> Iterator[list[str]]:
    from truechimer.formats.toml_fields import fields_of, is_table, members_of

    for item in fields_of(cls):
        facts = ", ".join(filter(None, (item.unit_words, item.range_words)))
        default = "required" if item.required else ""
        if not item.required and isinstance(item.default, (bool, str, int, float)):
            default = f"`{json.dumps(item.default)}`"
        tables = [member for member in members_of(item.hint) if is_table(member)]
        says = item.doc or ("a table of its own keys" if tables else "")
        row = [f"`{prefix}{item.key}`", says, facts, default, item.wrong]
        yield [row[0], *(cell.replace("<", "&lt;") for cell in row[1:])]
        for member in tables:
            yield from _key_rows(member, f"{prefix}{item.key}.")


# ---- writing ---------------------------------------------------------------------------------------------------------


def _table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "| " + " | ".join("---" for _ in rows[0]) + " |", *lines[1:]])


def _ns(value: float | None) -> str:
    """Write nanoseconds, below ten of them to the picosecond; absent stays empty."""
    return "" if value is None else f"{value:.3f} ns" if abs(value) < 10.0 else f"{value:.1f} ns"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not seen"
    if seconds < 10.0:
        return f"{seconds:.1f} s"
    return (
        f"{seconds:.0f} s"
        if seconds < 600.0
        else f"{seconds / 60.0:.0f} min"
        if seconds < 7200.0
        else f"{seconds / 3600.0:.1f} h"
    )


def metrics_block(chosen: str) -> str:
    """Return the table of one set of metrics (`laboratory` or `chrony`): names, types, labels, HELP lines."""
    from truechimer.console.metrics import SETS

    rows = [
        [f"`{family.name}`", family.kind, ", ".join(f"`{name}`" for name in family.labels), family.says]
        for family in SETS[chosen]
    ]
    return _table([["metric", "type", "labels", "is"], *rows])


def with_block(text: str, name: str, body: str) -> str:
    """Return a document with the block `name` replaced; leave with a word where its markers are missing."""
    pattern = re.compile(rf"(<!-- {name}: begin[^\n]*-->\n).*?(<!-- {name}: end -->)", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        sys.exit(f"the markers of {name} are missing, or stand twice")
    return pattern.sub(lambda found: f"{found[1]}\n{body}\n\n{found[2]}", text)


def documents(root: Path = ROOT) -> dict[Path, str]:
    """Return each document that is made here, wholly or in part, as it should be."""
    measured = root / "docs" / "measured"
    readme, accuracy, dependencies = (
        root / "README.md",
        root / "docs" / "accuracy.md",
        root / "docs" / "adr" / "0012-dependencies.md",
    )
    metrics = root / "docs" / "guide" / "metrics.md"
    ensemble = root / "docs" / "guide" / "ensemble.md"
    steering = root / "docs" / "guide" / "steering.md"
    serving = root / "docs" / "guide" / "serving.md"
    sources = root / "docs" / "guide" / "sources.md"
    attacks = json.loads((measured / "ntp_client_attacks.json").read_text(encoding="utf-8"))
    year = json.loads((measured / "steering_year.json").read_text(encoding="utf-8"))
    front = json.loads((measured / "steering_front.json").read_text(encoding="utf-8"))
    speed = json.loads((measured / "scale_speed.json").read_text(encoding="utf-8"))
    kept = json.loads((measured / DEMO).read_text(encoding="utf-8"))
    return {
        readme: with_block(readme.read_text(encoding="utf-8"), "demo", demo_block(kept)),
        accuracy: with_block(accuracy.read_text(encoding="utf-8"), "measured", measured_block(measured)),
        dependencies: with_block(dependencies.read_text(encoding="utf-8"), "dependencies", dependencies_block(root)),
        root / "docs" / "guide" / "lab-file.md": lab_file_page(),
        root / "docs" / "ensemble.md": ensemble_page(root),
        steering: with_block(
            with_block(steering.read_text(encoding="utf-8"), "steering-year", steering_block(year)),
            "steering-front",
            steering_front_block(front),
        ),
        sources: with_block(sources.read_text(encoding="utf-8"), "attacks", attacks_block(attacks)),
        ensemble: with_block(ensemble.read_text(encoding="utf-8"), "cost", cost_block(speed)),
        serving: with_block(
            with_block(serving.read_text(encoding="utf-8"), "serving", serving_block(measured / "ntp_serving.json")),
            "serving-load",
            loads_block(measured / "ntp_loads.json"),
        ),
        serving.parent / "pictures" / "serving-load.svg": loads_picture(measured / "ntp_loads.json"),
        metrics: with_block(
            with_block(metrics.read_text(encoding="utf-8"), "laboratory", metrics_block("laboratory")),
            "chrony",
            metrics_block("chrony"),
        ),
    }


def _write_json(path: Path, body: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    """Keep what was asked for, then rebuild all."""
    parser = argparse.ArgumentParser(description="rebuild what the documents show of runs, files and types")
    parser.add_argument(
        "--demo", type=Path, metavar="FILE", help="keep this output of `./truechimer demo --json` first"
    )
    parser.add_argument("--sizes", action="store_true", help="measure the installed packages first")
    options = parser.parse_args()
    if options.demo is not None:
        keep_demo(options.demo)
    if options.sizes:
        keep_sizes()
    for path, text in documents().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: rebuilt")


if __name__ == "__main__":
    main()
