"""`truechimer diag`: `[ OK ] [WARN] [FAIL]`, a line for each thing that must be well, and what to do where it is not.

It mends nothing. The checks themselves are in `diag_checks`. Exit status: 0 nothing failed (warnings may stand), 1
something failed, 2 wrong use.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from truechimer.cli.arguments import VerbParser, verb_parser
from truechimer.cli.diag_checks import Check, Outcome, disk, laboratory_checks
from truechimer.cli.diag_folder import folder_checks
from truechimer.cli.diag_machine import machine_checks, process_checks
from truechimer.cli.lab_words import add_lab_option, plain
from truechimer.client import find_service
from truechimer.errors import Rejected

FINE, NO = 0, 1
LABELS = {Outcome.OK: "[ OK ]", Outcome.WARN: "[WARN]", Outcome.FAIL: "[FAIL]"}


def parser() -> VerbParser:
    """Return the command line of `diag`."""
    options = verb_parser("diag", "Check a running laboratory and this machine; say what to do about each fault.")
    add_lab_option(options)
    return options


def main(argv: list[str]) -> int:
    """Check, print as it goes, and return the exit status. `argv` is what follows `diag`."""
    options = parser().parse_args(argv)
    checks = []
    for check in _all(options.lab):
        checks.append(check)
        if not options.json:
            print(line(check), flush=True)
        elif sys.stderr.isatty():
            print(f"\rchecked {len(checks)}", end="", file=sys.stderr, flush=True)
    failed = sum(check.outcome is Outcome.FAIL for check in checks)
    warned = sum(check.outcome is Outcome.WARN for check in checks)
    if options.json:
        rows = [
            {"outcome": check.outcome.value, "what": check.what, "says": check.says, "do_next": check.do_next}
            for check in checks
        ]
        for row in rows:
            if not row["do_next"]:
                del row["do_next"]
        print(json.dumps({"checks": rows, "failed": failed, "warned": warned}))
    else:
        print(f"{len(checks)} checks: {failed} failed, {warned} with a warning")
    return NO if failed else FINE


def line(check: Check) -> str:
    """Return one check for people."""
    words = f"{LABELS[check.outcome]} {check.what}: {plain(check.says, 300)}"
    return f"{words}; {plain(check.do_next, 300)}" if check.do_next else words


def _all(lab: str | None) -> Iterator[Check]:
    """Yield every check: of the laboratory where it runs, of its folder where that is known, of this machine."""
    status: dict[str, Any] = {}
    yield from laboratory_checks(lab, status)
    if status:
        yield from process_checks(status)
    try:
        folder = find_service(lab).lab
    except Rejected:
        folder = Path()
    if folder != Path() and folder.is_dir():
        file = Path(lab).absolute() if lab is not None and Path(lab).is_file() else None
        yield from folder_checks(folder, file, status=status or None)
        yield disk(folder)
    yield from machine_checks()
