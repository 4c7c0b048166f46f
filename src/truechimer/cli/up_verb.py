"""`truechimer up LAB.toml`: run a laboratory.

It checks everything first and starts nothing where there is a fault. Exit status: 0 after an orderly end (SIGTERM,
Ctrl-C, `--for`, and SIGUSR2, which leaves the NTP doors to the next laboratory); 1 where another program has a port, or
where at the end records had not been written: the next start may do better; 2 for wrong use, or where the file has
faults, or policy, records or a door refuse: it will not.
"""

import argparse
import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from truechimer.cli.arguments import VerbParser, verb_parser
from truechimer.cli.lab_arguments import add_insecure_options, fault_lines, insecure_flags, now_label
from truechimer.cli.option_values import seconds_above_0
from truechimer.daemon import notify
from truechimer.daemon.answering import registry
from truechimer.daemon.early import Early, open_early
from truechimer.daemon.hold import Hold, without_own_doors
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.lab_file import LabFile
from truechimer.daemon.lab.lab_reading import read_lab

if TYPE_CHECKING:
    from truechimer.daemon.lab.lab_check import CheckedLab
    from truechimer.daemon.laboratory_process import Laboratory
    from truechimer.daemon.service_manager import ServiceManager


def main(argv: list[str]) -> int:
    """Run the verb."""
    options = _parser().parse_args(argv)
    clocks = HostClocks()
    with ExitStack() as ends:
        for number in (signal.SIGTERM, signal.SIGUSR2):  # until the laboratory ends in its own order
            signal.signal(number, lambda _number, _frame: sys.exit(0))
        ends.callback(notify.close)
        early = _early(options, clocks)
        ends.callback(early.close)
        if early.control is not None:
            _register(early.folder, early.name, ends)
        checked = _check(options, early)
        if checked.lab is None:
            print(f"{options.lab}: nothing was started", file=sys.stderr)
            return _status_of(checked)
        early.hold = hold = early.hold or Hold(checked.folder)
        ends.callback(hold.release)
        notify.configure(checked.lab.notify.log)
        laboratory = _laboratory(checked, clocks, hold, early)
        ends.callback(laboratory.close)
        status = _run(laboratory, options, ends)
    return 1 if laboratory.journal.waiting else status


def _status_of(checked: "CheckedLab") -> int:
    """Return the exit status for a file with faults: 1 where it is the machine that is not ready, else 2."""
    faults = {one.rule for one in checked.findings if one.severity.value == "error"}
    return 1 if faults == {"port-in-use"} else 2


def _early(options: argparse.Namespace, clocks: HostClocks) -> Early:
    """Let the last page serve, where the file's text is sound and there is such a page. Nothing is read into memory
    before it that it does not need.
    """
    told = read_lab(options.lab, insecure_flags(options))
    if told.lab is None:
        return Early()
    notify.configure(told.lab.notify.log)
    simulated = options.insecure_serve_simulated_time
    return open_early(told.lab, told.folder, clocks, observe=options.observe, allow_simulated=simulated)


def _laboratory(checked: "CheckedLab", clocks: HostClocks, hold: Hold, early: Early) -> "Laboratory":
    """Open the run. What it needs is read into memory here and not before: the early doors answer meanwhile."""
    from truechimer.daemon import webhook
    from truechimer.daemon.lab_start import open_run
    from truechimer.daemon.laboratory_process import Laboratory, end_on_signals
    from truechimer.daemon.ntp.ntp_exchange import warm_up

    warm_up(clocks)
    started = open_run(checked, clocks, hold=hold, progress=_say)
    laboratory = Laboratory(started, clocks, early=early)
    end_on_signals(laboratory)
    webhook.speak_for(started, clocks.raw_ns)
    return laboratory


def _parser() -> VerbParser:
    """Return the verb's options."""
    parser = verb_parser("up", "Run a laboratory from its file.")
    parser.add_argument(
        "lab", type=Path, metavar="LAB.toml", help="the laboratory's file (`truechimer init DIR` writes one)"
    )
    parser.add_argument(
        "--for", dest="for_s", type=seconds_above_0, metavar="S", help="end after S seconds (default: run until Ctrl-C)"
    )
    parser.add_argument(
        "--observe",
        action="store_true",
        help="only watch: steer nothing, open no door but the console, need no policy and no key",
    )
    add_insecure_options(parser)
    return parser


def _check(options: argparse.Namespace, early: Early) -> "CheckedLab":
    """Check the file against this machine, and say its faults. Ports that doors of this very laboratory have are ours
    to have.
    """
    from truechimer.daemon.lab.lab_check import check_lab

    os.environ.setdefault("TRUECHIMER_KERNELS", "later")  # before any kernel is read into memory
    checked = check_lab(options.lab, now=now_label(), flags=insecure_flags(options), observe=options.observe)
    checked = without_own_doors(checked, ours=early.hold is not None)
    for fault in fault_lines(checked):
        print(fault, file=sys.stderr)
    return checked


def _run(laboratory: "Laboratory", options: argparse.Namespace, ends: ExitStack) -> int:
    """Take in the past, open the doors, follow the sources."""
    started = laboratory.started
    laboratory.make_feeds()
    begun = f"resumed from {started.known + started.replayed} records" if started.resumed else "first run"
    begun += f" ({started.replayed} of them repeated)" if started.known else ""
    begun += ", after the last laboratory here was killed" if started.hold.was_killed else ""
    _say(f"{started.config.scale_name}: {begun}; {started.start.policy_sentence}")
    if started.config.observing:
        _say(_closed_doors(started.lab))
    laboratory.catch_up(_Progress(laboratory.manager))
    if laboratory.ending.is_set():
        return 0
    laboratory.open_doors(allow_simulated=options.insecure_serve_simulated_time)
    for door in laboratory.doors:
        _say(f"{door.listener.protocol.value} {door.where}")
    _register(started.folder, started.config.name, ends)
    laboratory.manager.ready()
    laboratory.run(for_s=options.for_s)
    return 0


def _register(folder: Path, name: str, ends: ExitStack) -> None:
    """Let the verbs find this laboratory where nobody names it; again is harmless."""
    try:
        ends.enter_context(registry.register(folder, os.getpid(), name))
    except registry.RegistryRejected as error:
        _say(str(error))


def _closed_doors(lab: LabFile) -> str:
    """Say which doors of the file stay closed while observing."""
    from truechimer.daemon.lab.lab_check import doors_of

    opened = doors_of(lab, observe=True)
    closed = [f"{door.protocol.value} {door.where}" for door in lab.listeners if door not in opened]
    return "observing: no time is served" + (f"; closed: {', '.join(closed)}" if closed else "")


def _say(text: str) -> None:
    """Say one line of progress."""
    notify.say_line(text)


class _Progress:
    """How far the past has been taken in: on a terminal, and only where it takes long."""

    def __init__(self, manager: "ServiceManager") -> None:
        self._began = time.monotonic()
        self._shown = False
        self._manager = manager

    def __call__(self, done: int, total: int) -> None:
        self._manager.starting(f"taking in the past: {100 * done // max(total, 1)} %")
        if not sys.stderr.isatty() or (time.monotonic() - self._began < 1.0 and not self._shown):
            return
        self._shown = True
        print(
            f"\rtaking in the past: {100 * done // max(total, 1):3d} %",
            end="\n" if done >= total else "",
            file=sys.stderr,
            flush=True,
        )
