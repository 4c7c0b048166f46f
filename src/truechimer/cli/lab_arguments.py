"""What every verb that starts from a LAB.toml shares: the two ugly words, today's label, how faults are printed.

It neither checks nor starts anything.
"""

import argparse
import time
from typing import TYPE_CHECKING

from truechimer.daemon.lab.lab_rules import InsecureFlags
from truechimer.formats.finding import Severity
from truechimer.instants import Instant

if TYPE_CHECKING:
    from truechimer.daemon.lab.lab_check import CheckedLab

_ABOUT_TAI_MINUS_UTC_NS = 37 * 10**9

OF_THE_USER = frozenset({"port-in-use", "key-owner", "secret-owner"})
"""Rules of `check` that depend on who looks, and when, and not on the file."""


def add_insecure_options(parser: argparse.ArgumentParser) -> None:
    """Add the two words without which simulated time stays apart from real time and on this machine."""
    parser.add_argument(
        "--insecure-mix-simulated", action="store_true", help="allow simulated and real sources in one laboratory"
    )
    parser.add_argument(
        "--insecure-serve-simulated-time",
        action="store_true",
        help="allow simulated time on addresses of other machines",
    )


def insecure_flags(options: argparse.Namespace) -> InsecureFlags:
    """Return what `add_insecure_options` parsed."""
    return InsecureFlags(
        mix_simulated=options.insecure_mix_simulated, serve_simulated_time=options.insecure_serve_simulated_time
    )


def now_label() -> Instant:
    """Return the wall clock as a label good to a day: it is compared with a leap table's expiry, no more."""
    return Instant.from_tai_ns(time.time_ns() + _ABOUT_TAI_MINUS_UTC_NS)


def fault_lines(checked: "CheckedLab") -> list[str]:
    """Return one line per finding, as compilers print them; warnings say so."""
    shown = str(checked.path)
    return [
        finding.at(shown)
        if finding.severity is Severity.ERROR
        else finding.at(shown).replace(finding.says, f"warning: {finding.says}")
        for finding in checked.findings
    ]
