"""`truechimer sources`: who tells this laboratory what UTC is, and what became of each, with chrony's marks.

It chooses nothing: the marks are the laboratory's own verdicts. The columns and the order of `-c` are those of
chronyc's `sources` report (chronyc(1)), and so is the sign of the offset: ours minus the source's. `--json` has the
laboratory's own sign, `offset_s` = UTC.<name> minus UTC(k). Exit status: 0 told, 2 no laboratory, or wrong use.
"""

import argparse
import csv
import io
import json
import math
from typing import Any

from truechimer.cli.arguments import VerbParser, verb_parser
from truechimer.cli.lab_words import (
    SIMULATED_BANNER,
    add_lab_option,
    age,
    bound,
    is_simulated,
    margin_s,
    number,
    plain,
    rows_of,
    seconds,
    table,
)
from truechimer.client import ask

FINE = 0
MARKS = "*+-x~?"
LOCAL_KINDS = frozenset({"simulated", "readings", "link"})
HEADER = ("MS", "Name", "Operator", "Stratum", "Poll", "Reach", "LastRx", "Ours-source", "+/-")

LEGEND = """\
  .-- Source mode  '^' = server, or source of a chronyd, '#' = link or record of this laboratory.
 / .- Source state '*' = selected, first, '+' = selected and combined, '-' = good, no majority,
| /                'x' = outvoted, in quarantine or refused, '~' = late, left out, '?' = stale, or never heard.
||                 Poll: log2 of seconds. Reach: the last 8 polls, octal. LastRx: age of the last value.
||                 Ours-source: UTC(k) minus the source's UTC, positive where we are ahead (chrony's sign).
||                 +/-: 6 sigma and the limit of what the source cannot exclude, added, rounded up.
"""


def parser() -> VerbParser:
    """Return the command line of `sources`."""
    options = verb_parser("sources", "List who says what UTC is, and what became of each, with chrony's marks.")
    options.add_argument("-v", "--verbose", action="store_true", help="explain the columns, and why a source is out")
    options.add_argument(
        "-c", "--csv", action="store_true", help="comma-separated, in the order of `chronyc -c sources`"
    )
    options.add_argument("-w", "--watch", action="store_true", help="again each second, until Ctrl-C")
    add_lab_option(options)
    return options


def main(argv: list[str]) -> int:
    """Ask, print, and return the exit status. `argv` is what follows `sources`."""
    options = parser().parse_args(argv)
    if options.csv and options.json:
        parser().error("-c and --json exclude each other")
    if options.watch:
        from truechimer.cli.watching import watch  # late: who looks once does without

        return watch(lambda document: told(document, options), what="sources", lab=options.lab)
    document = ask("sources", lab=options.lab)
    print("\n".join(told(document, options)))
    return FINE


def told(document: dict[str, Any], options: argparse.Namespace) -> list[str]:
    """Return the lines that the options ask for."""
    rows = rows_of(document, "sources")
    if options.json:
        return [json.dumps(document)]
    if options.csv:
        return as_csv(rows).splitlines()
    lines = [*LEGEND.splitlines(), ""] if options.verbose else []
    if is_simulated(document) and "against" in document:
        lines.append(SIMULATED_BANNER)
    lines += [*vote_lines(document.get("selection")), *source_lines(rows)]
    return lines + (reason_lines(rows) if options.verbose else [])


def reason_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Return for each source that is not followed why, and what else is said of any."""
    lines = []
    for row in rows:
        words = [why for why in (why_out(row), plain(row["says"]) if row.get("says") else "") if why]
        if words:
            lines.append(f"{plain(row.get('name', '-'))}: {'; '.join(words)}")
    return ["", *lines] if lines else []


def why_out(row: dict[str, Any]) -> str:
    """Return why a source is not followed, in words; empty where it is."""
    verdict = row.get("verdict")
    if verdict == "selected":
        return "good when it was last judged, but the last vote found no majority" if mark_of(row) == "-" else ""
    stands, margin = seconds(ours_minus_source_s(row), signed=True), bound(margin_s(row))
    return {
        "outvoted": f"outvoted: we stand {stands} from it, it excludes no more than {margin}, and most operators "
        "contradict it; find out what it follows",
        "quarantined": _in_quarantine(row, stands, margin),
        "refused": "refused by its receiver's own word; `truechimer status --json` says which (receivers)",
        "stale": f"stale: nothing new for {age(number(row, 'age_s'))}{_unit_of_age(row)}",
        "never": "never heard since the laboratory started",
    }.get(str(verdict), f"not followed ({plain(verdict or 'no reason given')})")


def _in_quarantine(row: dict[str, Any], stands: str, margin: str) -> str:
    """Return why a source has no vote that was outvoted before."""
    if row.get("agrees") is False:
        return (
            f"in quarantine: it was outvoted and still contradicts most operators (we stand {stands} from it, it "
            f"excludes no more than {margin}); it has no vote; find out what it follows"
        )
    return (
        f"in quarantine: it was outvoted, now agrees again (we stand {stands} from it), and has no vote until it has "
        "agreed for long enough"
    )


def _unit_of_age(row: dict[str, Any]) -> str:
    age_s = number(row, "age_s")
    return " s" if age_s is not None and age_s < 1024 else ""


def vote_lines(vote: Any) -> list[str]:
    """Return in words why nobody is followed; nothing where somebody is."""
    return [plain(vote["says"], 200), ""] if isinstance(vote, dict) and vote.get("says") else []


def source_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table of sources for people."""
    if not rows:
        return ["no source claims UTC: the scale runs free"]
    lines = table(HEADER, [_cells(row) for row in rows], left=(0, 1, 2))
    return [lines[0], "=" * max(map(len, lines)), *lines[1:]]


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Return chronyc's columns: mode, state, name, stratum, poll, reach, last rx, offset, measured offset, error.

    The two offsets are the same here: UTC(k) is not stepped between a measurement and now.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        offset_s, half_s, age_s = ours_minus_source_s(row), margin_s(row), number(row, "age_s")
        ours = "" if offset_s is None else f"{offset_s:.12f}"
        writer.writerow(
            [
                mode_of(row),
                mark_of(row),
                plain(row.get("name", "")),
                _whole(row, "stratum", ""),
                _poll(row, ""),
                _reach(row, ""),
                "" if age_s is None else f"{age_s:.0f}",
                ours,
                ours,
                "" if half_s is None else f"{math.ceil(half_s * 1e12) / 1e12:.12f}",
            ]
        )
    return text.getvalue()


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        mode_of(row) + mark_of(row),
        plain(row.get("name", "-"), 40),
        plain(row.get("operator", "-"), 32),
        _whole(row, "stratum", "-"),
        _poll(row, "-"),
        _reach(row, "-"),
        age(number(row, "age_s")),
        seconds(ours_minus_source_s(row), signed=True),
        bound(margin_s(row)),
    )


def mode_of(row: dict[str, Any]) -> str:
    """Return chrony's mode of a source: `^` where a server speaks, `#` for a link or record of this laboratory."""
    return "#" if row.get("kind") in LOCAL_KINDS else "^"


def mark_of(row: dict[str, Any]) -> str:
    """Return the laboratory's mark; anything that is none is shown as unusable."""
    mark = row.get("mark")
    return mark if isinstance(mark, str) and len(mark) == 1 and mark in MARKS else "?"


def ours_minus_source_s(row: dict[str, Any]) -> float | None:
    """Return UTC(k) minus the source (chrony's sign) from `offset_s`, which is the source minus UTC(k)."""
    offset_s = number(row, "offset_s")
    return None if offset_s is None else 0.0 - offset_s


def _whole(row: dict[str, Any], key: str, absent: str) -> str:
    value = number(row, key)
    return absent if value is None else f"{value:.0f}"


def _poll(row: dict[str, Any], absent: str) -> str:
    poll_s = number(row, "poll_s")
    return absent if poll_s is None or poll_s <= 0 else f"{round(math.log2(poll_s))}"


def _reach(row: dict[str, Any], absent: str) -> str:
    reach = row.get("reach")
    return f"{reach & 0o377:o}" if type(reach) is int else absent
