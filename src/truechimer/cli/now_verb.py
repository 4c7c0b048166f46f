"""`truechimer now`: the interval that holds the time, from the running laboratory.

It judges nothing: the laboratory says what it is sure of. Exit status: 0 synchronised, 1 not (the time is then not
stated as such, only what is missing), 2 no laboratory, or wrong use.
"""

import json
from typing import Any

from truechimer.cli.arguments import VerbParser, verb_parser
from truechimer.cli.lab_words import add_lab_option, bound, is_simulated, number, plain, seconds
from truechimer.client import ask

FINE, NO = 0, 1
KEYS = (
    *("earliest", "latest", "utc", "tai_ns", "state", "bound_s", "u_s", "coverage", "against", "observing"),
    *("unwitnessed_since", "holdover", "smeared_doors"),
)
"""The keys of `contract.md`; what the laboratory does not know is absent, `observing` where it does not,
`unwitnessed_since` while enough witnesses vouch for its records, `holdover` before it is foreseen, and `smeared_doors`
while none gives anything but UTC.
"""

KEYS_WHEN_NOT = ("missing", "why")


def parser() -> VerbParser:
    """Return the command line of `now`."""
    options = verb_parser("now", "Say what time it is and how sure that is, from the running laboratory.")
    add_lab_option(options)
    return options


def main(argv: list[str]) -> int:
    """Ask, print, and return the exit status. `argv` is what follows `now`."""
    options = parser().parse_args(argv)
    document = ask("now", lab=options.lab)
    synchronised = document.get("synchronised") is True
    if options.json:
        print(json.dumps(answer(document)))
    elif synchronised:
        print(line(document))
    else:
        print(refusal(document))
    return FINE if synchronised else NO


def answer(document: dict[str, Any]) -> dict[str, Any]:
    """Return what `--json` prints: the contract's keys, and why not where the time is not known."""
    keys = KEYS if document.get("synchronised") is True else KEYS + KEYS_WHEN_NOT
    return {key: document[key] for key in keys if key in document}


def line(document: dict[str, Any]) -> str:
    """Return the time in one line for people."""
    words = f"{plain(document.get('utc', '-'))}  +/- {bound(number(document, 'bound_s'))}"
    words += f"  (one sigma {seconds(number(document, 'u_s'))})  {plain(document.get('state', '-'))}"
    words += "  observing" if document.get("observing") is True else ""
    smeared = document.get("smeared_doors")
    for row in smeared if isinstance(smeared, list) else []:
        off_s = number(row, "served_minus_utc_s")
        words += f"  {plain(row.get('door', '-'))} SMEARS ({seconds(off_s, signed=True)} from UTC)"
    return f"{words}  SIMULATED UTC" if is_simulated(document) else words


def refusal(document: dict[str, Any]) -> str:
    """Return in one line that there is no time, why, and what is missing."""
    words = f"UNSYNCHRONISED  state {plain(document.get('state', 'unknown'))}"
    if document.get("why"):
        words += f": {plain(document['why'])}"
    missing = document.get("missing")
    if isinstance(missing, list) and missing:
        words += f"; missing: {', '.join(plain(item) for item in missing)}"
    return words
