"""`truechimer status`: one screen of what the running laboratory knows: the time, how sure, made of what, said by whom.

It judges nothing. Exit status: 0 synchronised, 1 not, 2 no laboratory, or wrong use.
"""

import json
import math
from typing import Any

from truechimer.cli.arguments import VerbParser, verb_parser
from truechimer.cli.lab_words import (
    COVERAGE_FACTOR,
    SIMULATED_BANNER,
    add_lab_option,
    age,
    bound,
    is_simulated,
    long_span,
    number,
    plain,
    rows_of,
    seconds,
    table,
    weight,
    without,
)
from truechimer.cli.now_verb import refusal
from truechimer.cli.sources_verb import source_lines
from truechimer.client import ask

FINE, NO = 0, 1
LABEL = 10
ALERTS_SHOWN = 8
LONGEST_HOLDOVER_S = 30 * 86_400.0
LONGEST_KEPT_S = 400 * 86_400.0
"""As far as the laboratory looks ahead: with its bound, and with what it foresees of UTC(k)."""

SEVERITIES = ("critical", "warning", "notice")


def parser() -> VerbParser:
    """Return the command line of `status`."""
    options = verb_parser("status", "Show the running laboratory on one screen.")
    add_lab_option(options)
    return options


def main(argv: list[str]) -> int:
    """Ask, print, and return the exit status. `argv` is what follows `status`."""
    options = parser().parse_args(argv)
    document = ask("status", lab=options.lab)
    if options.json:
        print(json.dumps(document))
    else:
        print("\n".join(screen(document)))
    return FINE if document.get("synchronised") is True else NO


def screen(document: dict[str, Any]) -> list[str]:
    """Return the lines of the screen; what the laboratory did not say is not shown."""
    lines = [SIMULATED_BANNER, ""] if is_simulated(document) else []
    lines += _time(document)
    lines += _labelled("bound", _bound_words(document))
    for key, prefix, factor in (("6 sigma", "u_", COVERAGE_FACTOR), ("whole", "limit_", 1.0)):
        lines += _labelled("", _terms(document, key, prefix=prefix, factor=factor))
    lines += _labelled("", _growth(document))
    lines += _labelled("holdover", _holdover(document))
    lines += _labelled("scale", _scale(document))
    lines += _labelled("steering", _steering(document))
    lines += _labelled("published", _published(document))
    lines += _labelled("host", _host_clock(document))
    lines += _labelled("leap", _leap(document))
    lines += _labelled("policy", plain(document.get("policy_sentence", "")))
    lines += _labelled("records", _records(document))
    lines += _labelled("log", _log(document))
    lines += _clocks(rows_of(document, "clocks"))
    lines += ["", *source_lines(rows_of(document, "sources"))]
    lines += _doors(rows_of(document, "listeners"))
    lines += _alerts(rows_of(document, "alerts"))
    return lines


def _labelled(label: str, words: str) -> list[str]:
    return [f"{label:<{LABEL}}{words}"] if words else []


def _time(document: dict[str, Any]) -> list[str]:
    state = plain(document.get("state", "-"))
    sentence = document.get("state_sentence")
    lines = _labelled("state", f"{state}: {plain(sentence)}" if sentence else state)
    if document.get("synchronised") is not True:
        return [refusal(document), *lines]
    coverage = number(document, "coverage")
    words = f"{plain(document.get('utc', '-'))}  +/- {bound(number(document, 'bound_s'))}"
    words += f"  (one sigma {seconds(number(document, 'u_s'))}"
    words += f", coverage at least {math.floor(coverage * 1e6) / 1e6:g})" if coverage else ")"
    return [*_labelled("time", words), *lines]


def _bound_words(document: dict[str, Any]) -> str:
    if number(document, "bound_s") is None:
        return ""
    words = f"{bound(number(document, 'bound_s'))} here"
    if number(document, "scale_bound_s") is not None:
        words += f", {bound(number(document, 'scale_bound_s'))} of the scale alone"
    if number(document, "bound_growth") is not None:
        words += f", grows by {number(document, 'bound_growth'):.1e} s/s if the laboratory falls silent"
    return words


def _terms(document: dict[str, Any], says: str, *, prefix: str, factor: float) -> str:
    """Return the terms of one sort as they stand in the bound: one sigma times six (added in square), or whole."""
    terms = document.get("terms")
    if not isinstance(terms, dict):
        return ""
    shown = [
        f"{plain(name).removeprefix(prefix).removesuffix('_s').replace('_', ' ')} {bound(factor * value)}"
        for name, value in terms.items()
        if name.startswith(prefix) and isinstance(value, int | float) and value
    ]
    return f"{says}: {', '.join(shown)}" if shown else ""


def _growth(document: dict[str, Any]) -> str:
    """Return what the bound has grown by since the epoch whose terms are shown, so that the figures add up."""
    terms, bound_s = document.get("terms"), number(document, "bound_s")
    if not isinstance(terms, dict) or bound_s is None:
        return ""
    values = {name: float(value) for name, value in terms.items() if isinstance(value, int | float)}
    squares = math.fsum(value * value for name, value in values.items() if name.startswith("u_"))
    whole = math.fsum(value for name, value in values.items() if name.startswith("limit_"))
    grown_s = bound_s - COVERAGE_FACTOR * math.sqrt(squares) - whole
    return f"since the last epoch: {bound(grown_s)}" if grown_s > 1e-9 * bound_s else ""


def _holdover(document: dict[str, Any]) -> str:
    """Return how long the bound would stay within the doors' limit if the laboratory heard nothing from now on, how
    long UTC(k) would if only sources were silent, and what the host's oscillator is.
    """
    left_s, limit_s = number(document, "holdover_remaining_s"), number(document, "holdover_limit_s")
    words = []
    if left_s is not None and limit_s is not None:
        more = " or more" if left_s >= LONGEST_HOLDOVER_S else ""
        words.append(f"the bound within {bound(limit_s)} for {long_span(left_s)}{more} {without(document)}")
        words += _kept(document.get("holdover"), limit_s)
    words += _foreseen(document.get("holdover"))
    oscillator = document.get("oscillator")
    if isinstance(oscillator, dict) and number(oscillator, "rate_against_utc") is not None:
        words.append(f"host {number(oscillator, 'rate_against_utc'):+.3e} against UTC")
    return ", ".join(words)


def _kept(told: Any, limit_s: float) -> list[str]:
    """Return how long UTC(k) itself would stay within a limit while its clocks go on."""
    rows = told.get("kept") if isinstance(told, dict) else None
    for row in rows if isinstance(rows, list) else []:
        for_s = number(row, "for_s") if isinstance(row, dict) and row.get("limit_s") == limit_s else None
        if for_s is not None:
            more = " or more" if for_s >= LONGEST_KEPT_S else ""
            return [f"UTC(k) itself for {long_span(for_s)}{more} without sources alone (99 in 100)"]
    return []


def _foreseen(told: Any) -> list[str]:
    """Return one sigma of UTC as it would be predicted, over each horizon."""
    rows = told.get("prediction") if isinstance(told, dict) else None
    said = [
        f"{bound(row['u_s'])} after {long_span(row['horizon_s'])}"
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and number(row, "u_s") is not None and number(row, "horizon_s") is not None
    ]
    return [f"one sigma {', '.join(said)}"] if said else []


def _scale(document: dict[str, Any]) -> str:
    words = [plain(document.get("scale", "-"))]
    if document.get("lab"):
        words.append(f"laboratory {plain(document['lab'])}")
    if document.get("pid"):
        words.append(f"process {plain(document['pid'])}")
    if number(document, "uptime_s") is not None:
        words.append(
            f"up {age(number(document, 'uptime_s'))}{'s' if (number(document, 'uptime_s') or 0) < 1024 else ''}"
        )
    if document.get("version"):
        words.append(f"truechimer {plain(document['version'])}")
    return ", ".join(words)


def _steering(document: dict[str, Any]) -> str:
    steering = document.get("steering")
    if not isinstance(steering, dict) or not steering:
        return ""
    words = []
    if number(steering, "y_steer") is not None:
        words.append(f"y {number(steering, 'y_steer'):+.3e}")
    if number(steering, "x_utck_minus_scale_s") is not None:
        words.append(f"UTC(k) - scale {seconds(number(steering, 'x_utck_minus_scale_s'), signed=True)}")
    if steering.get("envelope_valid_until"):
        words.append(f"envelope until {plain(steering['envelope_valid_until'])[:10]}")
    if number(steering, "per_change") is not None and number(steering, "per_day_s") is not None:
        words.append(
            f"at most {number(steering, 'per_change'):.1e} a change, {bound(number(steering, 'per_day_s'))} a day"
        )
    if steering.get("envelope_refused"):
        words.append(f"NO ENVELOPE: {plain(steering['envelope_refused'])}")
    return ", ".join(words)


def _published(document: dict[str, Any]) -> str:
    """Return what was published last, and what is made of it; nothing where the laboratory takes none in."""
    known = document.get("published")
    if not isinstance(known, dict):
        return ""
    words = [
        "decides" if known.get("decides") is True else "watched" if known.get("steers") is False else "not yet known"
    ]
    for row in known.get("paths", ()):
        late = ", OVERDUE" if row.get("overdue") is True else f", next {plain(row.get('expected', '-'))[:10]}"
        offset = seconds(number(row, "x_utc_minus_utck_s"), signed=True)
        words.append(f"{plain(row.get('path', '-'))} - UTC(k) {offset} on MJD {plain(row.get('mjd', '-'))}{late}")
    forecast = known.get("forecast")
    if isinstance(forecast, dict) and number(forecast, "x_utc_minus_utck_s") is not None:
        offset = seconds(number(forecast, "x_utc_minus_utck_s"), signed=True)
        words.append(f"UTC - UTC(k) now {offset}, one sigma {bound(number(forecast, 'u_s'))}")
    held = sum(int(number(row, "values") or 0) for row in known.get("held", ()) if isinstance(row, dict))
    if held:
        words.append(f"{held} values HELD BACK")
    if known.get("refused"):
        words.append(f"{len(known['refused'])} files REFUSED")
    return ", ".join(words)


def _host_clock(document: dict[str, Any]) -> str:
    """Return where this machine's own clock stands; nothing where the laboratory does not look at it."""
    host = document.get("host_clock")
    if not isinstance(host, dict):
        return ""
    x_s, allowed = number(host, "x_host_clock_minus_utc_s"), bound(number(host, "limit_s"))
    if x_s is None and document.get("synchronised") is True:
        return ""  # the next look is a second away
    if x_s is None:
        words = ["own clock not compared with UTC: no time is stated"]
    else:
        words = [f"own clock - UTC {seconds(x_s, signed=True)} +/- {bound(number(host, 'bound_s'))}"]
        if number(host, "rate") is not None:
            words.append(f"moving {number(host, 'rate'):+.1e} s/s")
        words.append(f"OFF: {allowed} are allowed" if host.get("is_off") is True else f"{allowed} allowed")
    if number(host, "last_step_s") is not None:
        words.append(f"stepped {plain(host.get('steps', '-'))} times, last {seconds(host['last_step_s'], signed=True)}")
    return ", ".join(words)


def _leap(document: dict[str, Any]) -> str:
    leap = document.get("leap")
    if not isinstance(leap, dict):
        return ""
    words = []
    if number(leap, "tai_minus_utc_s") is not None:
        words.append(f"TAI - UTC {number(leap, 'tai_minus_utc_s'):.0f} s")
    if leap.get("expires"):
        words.append(f"table expires {plain(leap['expires'])[:10]}")
    if leap.get("source"):
        words.append(f"from {plain(leap['source'], 60)}")
    return ", ".join(words)


def _records(document: dict[str, Any]) -> str:
    if "records" not in document:
        return ""
    words = f"{plain(document['records'])} in {plain(document.get('epochs', '-'))} epochs"
    rejected = document.get("rejected_readings")
    words += f", {plain(rejected)} readings rejected" if rejected else ""
    store = document.get("store")
    if isinstance(store, dict) and plain(store.get("state", "written")) != "written":
        words += f"; NOT WRITTEN since {plain(store.get('since', '-'))}, {plain(store.get('waiting', '-'))} wait: "
        words += plain(store.get("says", "-"), 300)
    return words


def _log(document: dict[str, Any]) -> str:
    """Return what the signed log over the records is worth now; "unwitnessed since" is said here wherever it holds."""
    log = document.get("evidence")
    if not isinstance(log, dict):
        return ""
    entries = "" if "size" not in log else f"{plain(log['size'])} entries of {plain(log.get('origin', '-'), 80)}; "
    return entries + plain(log.get("says", log.get("state", "-")), 400)


def _clocks(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    header = ("clock", "kind", "weight", "state", "clock - scale", "rate", "reason")
    cells = [
        (
            plain(row.get("name", "-"), 32),
            plain(row.get("kind", "-")),
            weight(number(row, "weight")),
            plain(row.get("state", "-")),
            seconds(number(row, "x_clock_minus_scale_s"), signed=True),
            "-" if number(row, "rate") is None else f"{number(row, 'rate'):+.2e}",
            plain(row.get("reason", ""), 60),
        )
        for row in rows
    ]
    return ["", *table(header, cells, left=(0, 1, 3, 6))]


def _doors(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [""]
    for row in rows:
        words = (
            f"{plain(row.get('protocol', '-'))} on {plain(row.get('address', '-'))} port {plain(row.get('port', '-'))}"
        )
        sock = row.get("sock")
        if row.get("protocol") == "chrony-sock":
            words = f"chrony-sock to {plain(row.get('path', '-'))}"
        if isinstance(sock, dict):
            words += f", {plain(sock.get('now', '-'))}, {plain(sock.get('sent', 0))} samples sent"
        if number(row, "bound_limit_s") is not None:
            words += f", synchronised up to {seconds(number(row, 'bound_limit_s'))}"
        rules = row.get("rules")
        if isinstance(rules, dict) and rules.get("smear"):
            words += f", smears leap seconds ({plain(rules['smear'])})"
        counters = row.get("counters")
        if isinstance(counters, dict) and "received" in counters:
            words += f", {plain(counters['received'])} requests"
        words += _workers(row.get("workers"), counters)
        words += _accelerated(row.get("accelerator"))
        words += _probed(row.get("self_probe"))
        lines += _labelled("door", words)
    return lines


def _workers(wanted: object, counters: object) -> str:
    """Return how many of a door's workers serve, where there are some to be missed; nothing where all do."""
    if not isinstance(wanted, int) or not isinstance(counters, dict):
        return ""
    serving = counters.get("workers", 0)
    if not isinstance(serving, int) or serving >= wanted:
        return ""
    return f", {serving} of {wanted} workers ready (the door answers in plain Python for the others)"


def _probed(said: object) -> str:
    """Return what a door's own client finds, in words."""
    if not isinstance(said, dict):
        return ""
    if said.get("asks") is False:
        return f", its own client does not ask: {plain(said.get('because', '-'))}"
    error_s, explained_s = number(said, "error_s"), number(said, "explained_s")
    if error_s is None or explained_s is None:
        return ", no time for its own client yet"
    words = f", by its own client {seconds(error_s, signed=True)} +/- {seconds(explained_s)} off what it should serve"
    return words + (": WRONG" if said.get("is_off") else "")


def _accelerated(said: object) -> str:
    """Return how a door's accelerator fares, in words; nothing where none is asked for."""
    if not isinstance(said, dict):
        return ""
    if not said.get("attached"):
        return f", accelerator not running: {plain(said.get('because', '-'), 200)}"
    counts = said.get("counters")
    names = said.get("interfaces")
    words = f", accelerated on {plain(', '.join(map(str, names)) if isinstance(names, list) else '-')}"
    words += "" if said.get("answering") else f" (not now: {plain(said.get('because', '-'), 200)})"
    return words + (f", {plain(counts['answered'])} answered there" if isinstance(counts, dict) else "")


def _alerts(rows: list[dict[str, Any]]) -> list[str]:
    """Return the newest alerts of the worst severity first."""
    if not rows:
        return ["", *_labelled("alerts", "none")]
    rank = {name: i for i, name in enumerate(SEVERITIES)}
    newest = list(reversed(rows))
    worst = sorted(newest, key=lambda row: rank.get(str(row.get("severity")), len(SEVERITIES)))[:ALERTS_SHOWN]
    lines = [""]
    for row in worst:
        subject, says = plain(row.get("subject", "")), plain(row.get("says", ""))
        words = f"{plain(row.get('severity', '-'))} {plain(row.get('alert', '-'))}"
        lines += _labelled("alert", f"{words}: {says}" if says.startswith(subject) else f"{words} {subject}: {says}")
        if row.get("do_next"):
            lines += _labelled("", f"do: {plain(row['do_next'])}")
    if len(rows) > len(worst):
        lines += _labelled("", f"and {len(rows) - len(worst)} more: truechimer status --json")
    return lines
