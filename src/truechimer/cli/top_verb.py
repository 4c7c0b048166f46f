"""`truechimer top`: the running laboratory on a live screen: the time and its bound, who makes it, who says what, what
is wrong, how much is asked.

It judges nothing and changes nothing. What the screen shows: `top_screen`; how the terminal is taken and given back:
`terminal`. A laboratory that falls silent is shown as silent until it is back. Exit status: 0 ended by `q`, `--count`
or `--once`; 130 by Ctrl-C; 2 no laboratory, no terminal, or wrong use.
"""

import json
import os
import select
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from truechimer.cli.arguments import VerbParser, verb_parser
from truechimer.cli.lab_words import add_lab_option, number, rows_of
from truechimer.cli.option_values import count
from truechimer.cli.screen_words import Row, drawn
from truechimer.cli.top_screen import Seen, door_name, frame
from truechimer.cli.watching import EVERY_S, Heard, Watching, place_of

FINE, WRONG_USE = 0, 2
ONCE_LINES = 120
QUIT = frozenset(b"qQ\x04")
FRESH_S = 3.0
"""An answer may come late by so much before the screen calls the laboratory silent; a refusal says so at once."""

RATE_OVER_S = 5.0
"""Requests a second are counted over at least so long, or since the start."""
_count = count("is not a number of answers above 0", most=10**18 - 1)


def parser() -> VerbParser:
    """Return the command line of `top`."""
    options = verb_parser("top", "Show the running laboratory on a live screen; q ends it.")
    options.add_argument("--once", action="store_true", help="one screen as text, also where there is no terminal")
    options.add_argument("--count", type=_count, metavar="N", help="end after N answers")
    add_lab_option(options)
    return options


def main(argv: list[str]) -> int:
    """Show until told to end, and return the exit status. `argv` is what follows `top`."""
    options = parser().parse_args(argv)
    if not (options.json or options.once or sys.stdout.isatty()):
        print(
            "truechimer top: standard output is no terminal; use --once for one screen, or --json for a stream of "
            "documents",
            file=sys.stderr,
        )
        return WRONG_USE
    watching = Watching("status", place_of(options.lab))
    watching.start()
    try:
        if options.json:
            return _stream(watching, options.count or (1 if options.once else None))
        if options.once:
            return _once(watching)
        return _live(watching, options.count)
    finally:
        watching.stop()


def _stream(watching: Watching, count: int | None) -> int:
    """Print one document a line; where the laboratory is silent, one that says so."""
    before = 0
    while count is None or before < count:
        heard = _next(watching, before)
        before = heard.number
        print(json.dumps(heard.document if not heard.because else _silent(heard)), flush=True)
    return FINE


def _silent(heard: Heard) -> dict[str, Any]:
    """Return what stands in the stream in the place of a status that did not come."""
    document: dict[str, Any] = {"silent": True, "says": heard.because}
    if heard.document is not None:
        document["silent_s"] = round(time.monotonic() - heard.at_s, 3)
        if heard.document.get("utc"):
            document["last_utc"] = heard.document["utc"]
    return document


def _next(watching: Watching, before: int) -> Heard:
    while watching.heard.number == before:
        select.select([watching.wake], [], [])
        watching.take_wake()
    return watching.heard


def _once(watching: Watching) -> int:
    """Print one screen: of a terminal's width, and as long as it needs to be."""
    seen = seen_of(_next(watching, 0), Rates())
    width = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 80
    blocks = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    lines: list[Row] = frame(seen, max(width, 40), ONCE_LINES, blocks=blocks)[:-1]
    encoding = sys.stdout.encoding or "ascii"
    text = "\n".join(drawn(line, colour=False) for line in lines).rstrip()
    print(text.encode(encoding, "replace").decode(encoding))
    return FINE


def _live(watching: Watching, count: int | None) -> int:
    """Draw until `q`."""
    from truechimer.cli.terminal import Terminal  # late: termios is not everywhere, and --json does without

    rates, drawn_size = Rates(), (0, 0)
    with Terminal() as terminal:
        ears = [watching.wake, terminal.wake, *([terminal.input] if terminal.has_keys else [])]
        while True:
            heard, size = watching.heard, terminal.size
            seen = seen_of(heard, rates)
            terminal.show(frame(seen, *size, blocks=terminal.has_blocks), anew=size != drawn_size)
            drawn_size = size
            if count is not None and heard.number >= count:
                return FINE
            ready, _, _ = select.select(ears, [], [], EVERY_S)
            watching.take_wake()
            terminal.take_wake()
            if terminal.has_keys and terminal.input in ready:
                keys = terminal.keys()
                if not keys or not QUIT.isdisjoint(keys):
                    return FINE


@dataclass(slots=True)
class Rates:
    """Requests a second at each door, from how its counter grew; a counter that fell back (a new process) begins anew.

    Invariant: of each door the kept points (monotonic s, count) grow in both.
    """

    points: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def take(self, document: dict[str, Any], at_s: float) -> dict[str, float]:
        """Take the counters of a document that came at `at_s`; return the rates that are known."""
        found = {}
        for door in rows_of(document, "listeners"):
            counters = door.get("counters")
            count = number(counters, "received") if isinstance(counters, dict) else None
            if count is None:
                continue
            name = door_name(door)
            points = self.points.setdefault(name, [])
            if points and count < points[-1][1]:
                points.clear()
            if not points or at_s > points[-1][0]:
                points.append((at_s, count))
            while len(points) > 2 and at_s - points[1][0] >= RATE_OVER_S:
                del points[0]
            if len(points) > 1:
                found[name] = (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0])
        return found


def seen_of(heard: Heard, rates: Rates) -> Seen:
    """Return what the screen shows of what was heard."""
    if heard.document is None:
        return Seen(None, 0.0 if heard.because else None, heard.because)
    silent_s = time.monotonic() - heard.at_s
    is_silent = bool(heard.because) or silent_s > FRESH_S
    because = heard.because or "no answer yet"
    return Seen(
        heard.document,
        silent_s if is_silent else None,
        because if is_silent else "",
        rates.take(heard.document, heard.at_s),
    )
