"""`truechimer demo`: a whole time laboratory on this machine, with a story, measured.

It is the product with simulated clocks: the same file, the same processes, the same fold. Everything it makes lies in
one folder and goes with it,
unless `--keep` names one.
"""

import argparse
import json
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from truechimer.cli.arguments import verb_parser
from truechimer.cli.lab_arguments import fault_lines, now_label
from truechimer.daemon import registry
from truechimer.daemon.demo_story import STORY_S, Story
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab_check import check_lab
from truechimer.daemon.lab_start import Started, open_run
from truechimer.daemon.laboratory_process import Laboratory, end_on_signals
from truechimer.daemon.ntp_exchange import warm_up
from truechimer.sim.demo_scenario import DEMO_SCENARIO_TOML

PORT_BASE = 11_123
CONSOLE_PORT_AFTER = 3


def main(argv: list[str]) -> int:
    """Run the demo; 0 after its end, 1 where its file has faults (a port in use), 2 for wrong use."""
    options = _options(argv)
    seed = options.seed if options.seed is not None else secrets.randbelow(10**6)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="truechimer-demo-"))
    try:
        return _run(folder, seed, options)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _options(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = verb_parser("demo", "run a whole time laboratory with simulated clocks on this machine")
    parser.add_argument(
        "--for",
        dest="for_s",
        type=float,
        metavar="S",
        help="end S seconds after the first NTP answer (40 or more: all events live)",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="keep the laboratory in DIR (new or empty): a real configuration to edit",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="seed of the simulated world (default: drawn, and printed)"
    )
    parser.add_argument(
        "--port-base", type=int, default=PORT_BASE, metavar="P", help=f"NTP on P, console on P+3 (default {PORT_BASE})"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document at the end; the story goes to standard error"
    )
    options = parser.parse_args(argv)
    if options.for_s is not None and not 0.0 < options.for_s < 1e7:
        parser.error("--for takes a number of seconds above 0")
    if options.seed is not None and options.seed < 0:
        parser.error("--seed takes a whole number from 0 on")
    if not 1 <= options.port_base <= 65_535 - CONSOLE_PORT_AFTER:
        parser.error(f"--port-base takes a port from 1 to {65_535 - CONSOLE_PORT_AFTER}")
    if (
        options.keep is not None
        and options.keep.exists()
        and (not options.keep.is_dir() or any(options.keep.iterdir()))
    ):
        parser.error(f"--keep {options.keep}: there is something there already; name a new folder")
    return options


def _run(folder: Path, seed: int, options: argparse.Namespace) -> int:
    """Write the laboratory, check it, run it, tell the story."""
    out = sys.stderr if options.json else sys.stdout

    def say(text: str) -> None:
        print(text, file=out, flush=True)

    _write_laboratory(folder, seed, options.port_base)
    checked = check_lab(folder / "LAB.toml", now=now_label())
    for fault in fault_lines(checked):
        print(fault, file=sys.stderr)
    if checked.lab is None:
        print("the demo was not started; --port-base P moves all its ports", file=sys.stderr)
        return 1
    say(f"truechimer demo   SIMULATED   seed {seed}   (again: ./truechimer demo --seed {seed})")
    clocks = HostClocks()
    warm_up(clocks)
    laboratory = Laboratory(open_run(checked, clocks), clocks)
    end_on_signals(laboratory)
    try:
        with registry.register(folder, os.getpid(), laboratory.started.config.name):
            return _tell(laboratory, seed, options, say)
    finally:
        laboratory.close()


def _tell(laboratory: Laboratory, seed: int, options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Run the laboratory and its story; print the table and, where asked, the document."""
    began = time.monotonic()
    laboratory.make_feeds()
    laboratory.catch_up(_progress)
    if laboratory.ending.is_set():
        return 0
    _say_history(laboratory.started, laboratory.epochs, time.monotonic() - began, say)
    for_s = STORY_S if options.for_s is None else options.for_s
    story = Story(laboratory, seed, say, for_s)
    laboratory.observer = story.observe
    laboratory.open_doors()
    for door in laboratory.doors:
        if door.counters is None:
            say(f"         console: http://{door.listener.address}:{door.port}/")
    threads = [threading.Thread(target=work, daemon=True) for work in (story.ask, story.tell)]
    for thread in threads:
        thread.start()
    ending = threading.Thread(target=_end_in_time, args=(laboratory, story, options, say), daemon=True)
    ending.start()
    laboratory.run()
    for thread in (*threads, ending):
        thread.join(timeout=10.0)
    if not options.json and not getattr(options, "table_printed", False):
        _print_table(story, say)
    if options.json:
        for line in story.table():
            say(line)
        print(json.dumps(story.document()))
    return 0


def _end_in_time(laboratory: Laboratory, story: Story, options: argparse.Namespace, say: Callable[[str], None]) -> None:
    """End the demo when its time is up and its story is told; on a terminal without `--for` it serves on until
    Ctrl-C.
    """
    while not story.first_answer.wait(0.1):
        if laboratory.ending.is_set():
            return
    if options.for_s is not None:
        laboratory.ending.wait(options.for_s)
    story.done.wait()
    if options.for_s is None and sys.stdout.isatty() and not options.json and not laboratory.ending.is_set():
        _print_table(story, say)
        options.table_printed = True
        say(
            "\nserving on; Ctrl-C ends it. Ask it: ./truechimer now   ./truechimer status   "
            "./truechimer ask ntp 127.0.0.1"
        )
        return
    laboratory.ending.set()


def _print_table(story: Story, say: Callable[[str], None]) -> None:
    """Print the closing table."""
    for line in story.table():
        say(line)


def _say_history(started: Started, epochs: int, seconds: float, say: Callable[[str], None]) -> None:
    """Say what the history has made."""
    clocks = sum(1 for clock in started.state.register.clocks if clock.name != "host")
    world = started.world
    days = world.scenario.run.days if world is not None else 0.0
    say(
        f"         {days:.0f} days of {clocks} clocks, {epochs} epochs, became one scale, "
        f"{started.config.scale_name}, in {seconds:.1f} s"
    )


def _write_laboratory(folder: Path, seed: int, port_base: int) -> None:
    """Write the demo's LAB.toml and scenario: a configuration like any other."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "scenario.toml").write_text(DEMO_SCENARIO_TOML, encoding="utf-8")
    text = f"""\
# The laboratory of `truechimer demo`: simulated clocks, real doors on loopback. Edit it and run `truechimer up
# LAB.toml`.

[lab]
name = "demo"
seed = {seed}
silence_s = 20.0

[[source]]
name = "world"
kind = "simulated"
scenario = "scenario.toml"

[scale]
interval_s = 10.0

[[listener]]
protocol = "ntp"
address = "127.0.0.1"
port = {port_base}

[[listener]]
protocol = "console"
address = "127.0.0.1"
port = {port_base + CONSOLE_PORT_AFTER}

[policy]
# one person, one key in a file: good for a demo. Whoever reads that file can order steers.
insecure_software_keys = true
"""
    (folder / "LAB.toml").write_text(text, encoding="utf-8")


def _progress(done: int, total: int) -> None:
    """Draw the progress of the history on a terminal."""
    if sys.stderr.isatty() and total:
        filled = 40 * done // total
        end = "\r" + " " * 70 + "\r" if done >= total else ""
        print(
            f"\r         history [{'#' * filled}{'.' * (40 - filled)}] {100 * done // total:3d} %{end}",
            end="",
            file=sys.stderr,
            flush=True,
        )
