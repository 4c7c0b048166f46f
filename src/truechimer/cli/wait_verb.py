"""`truechimer wait --within S`: block until the running laboratory is synchronised and its bound is that small.

It starts nothing. For scripts: `truechimer wait --within 1e-6 --timeout 300 && start-the-measurement`. Exit status: 0
the bound is within S, 1 it was not before the timeout, 2 there is no laboratory, or wrong use. A laboratory that was
named (--lab, $TRUECHIMER_LAB) may still be starting: it is waited for.
"""

import json
import sys
import time
from typing import Any

from truechimer.cli.arguments import VerbParser, verb_parser
from truechimer.cli.lab_words import add_lab_option, bound, number
from truechimer.cli.now_verb import answer, line, refusal
from truechimer.cli.option_values import seconds_above_0
from truechimer.client import ServiceSilentRejected, ask, find_service

FINE, NO = 0, 1
POLL_S = 0.1
SAY_AFTER_S = 2.0
ANSWER_WITHIN_S = 2.0


def parser() -> VerbParser:
    """Return the command line of `wait`."""
    options = verb_parser("wait", "Block until the laboratory is synchronised and its bound is small enough.")
    options.add_argument(
        "--within", type=seconds_above_0, required=True, metavar="S", help="the bound to wait for, in seconds"
    )
    options.add_argument("--timeout", type=seconds_above_0, metavar="S", help="give up after so long (default: never)")
    add_lab_option(options)
    return options


def main(argv: list[str]) -> int:
    """Wait, print what the laboratory says then, and return the exit status. `argv` is what follows `wait`."""
    options = parser().parse_args(argv)
    begun = time.monotonic()
    deadline = begun + options.timeout if options.timeout is not None else float("inf")
    named = find_service(options.lab).chosen
    document: dict[str, Any] | None = None
    while True:
        try:
            document = ask("now", lab=options.lab, timeout_s=ANSWER_WITHIN_S)
        except ServiceSilentRejected:
            if not named or (time.monotonic() >= deadline and document is None):
                raise
        if document is not None and is_within(document, options.within):
            return _end(document, FINE, as_json=options.json)
        left_s = deadline - time.monotonic()
        if left_s <= 0.0 and document is not None:
            return _end(document, NO, as_json=options.json)
        _progress(document, waited_s=time.monotonic() - begun)
        time.sleep(max(0.0, min(POLL_S, left_s)))


def is_within(document: dict[str, Any], within_s: float) -> bool:
    """Return True where the laboratory is synchronised with a bound of at most `within_s`."""
    bound_s = number(document, "bound_s")
    return document.get("synchronised") is True and bound_s is not None and bound_s <= within_s


def _end(document: dict[str, Any], status: int, *, as_json: bool) -> int:
    """Print the last word and return the status."""
    _clear()
    if as_json:
        print(json.dumps(answer(document)))
    else:
        print(line(document) if document.get("synchronised") is True else refusal(document))
    return status


def _progress(document: dict[str, Any] | None, *, waited_s: float) -> None:
    """Say on a terminal what is waited for, once it takes long."""
    if waited_s < SAY_AFTER_S or not sys.stderr.isatty():
        return
    if document is None:
        words = "no answer yet"
    else:
        words = f"{document.get('state', '-')}, bound {bound(number(document, 'bound_s'))}"
    print(f"\rwaited {waited_s:.0f} s: {words}\x1b[K", end="", file=sys.stderr, flush=True)


def _clear() -> None:
    """Take the progress off the terminal."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
