"""`truechimer up LAB.toml`: run a laboratory.

It checks everything first and starts nothing where there is a fault.
"""

import os
import sys
from pathlib import Path

from truechimer.cli.arguments import verb_parser
from truechimer.cli.lab_arguments import add_insecure_options, fault_lines, insecure_flags, now_label
from truechimer.daemon import registry
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab_check import check_lab
from truechimer.daemon.lab_start import open_run
from truechimer.daemon.laboratory_process import Laboratory, end_on_signals
from truechimer.daemon.ntp_exchange import warm_up


def main(argv: list[str]) -> int:
    """Run the verb; 0 after an orderly end, 1 where the file has faults."""
    parser = verb_parser("up", "run a laboratory from its file")
    parser.add_argument(
        "lab", type=Path, metavar="LAB.toml", help="the laboratory's file (`truechimer init DIR` writes one)"
    )
    parser.add_argument(
        "--for", dest="for_s", type=float, metavar="S", help="end after S seconds (default: run until Ctrl-C)"
    )
    add_insecure_options(parser)
    options = parser.parse_args(argv)
    checked = check_lab(options.lab, now=now_label(), flags=insecure_flags(options))
    for fault in fault_lines(checked):
        print(fault, file=sys.stderr)
    if checked.lab is None:
        print(f"{options.lab}: nothing was started", file=sys.stderr)
        return 1
    clocks = HostClocks()
    warm_up(clocks)
    started = open_run(checked, clocks, progress=_say)
    laboratory = Laboratory(started, clocks)
    end_on_signals(laboratory)
    try:
        laboratory.make_feeds()
        _say(
            f"{started.config.scale_name}: "
            + (f"resumed from {started.replayed} records" if started.resumed else "first run")
            + f"; {started.files.policy.sentence}"
        )
        laboratory.catch_up(_progress)
        laboratory.open_doors(allow_simulated=options.insecure_serve_simulated_time)
        for door in laboratory.doors:
            _say(f"{door.listener.protocol.value} on {door.listener.address} port {door.port}")
        with registry.register(started.folder, os.getpid(), started.config.name):
            laboratory.run(for_s=options.for_s)
    finally:
        laboratory.close()
    return 0


def _say(text: str) -> None:
    """Say one line of progress."""
    print(text, file=sys.stderr, flush=True)


def _progress(done: int, total: int) -> None:
    """Show how far the past has been taken in, on a terminal."""
    if sys.stderr.isatty() and total:
        end = "\n" if done >= total else ""
        print(
            f"\rtaking in the past: {100 * done // total:3d} % of {total} epochs", end=end, file=sys.stderr, flush=True
        )
