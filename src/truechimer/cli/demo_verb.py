"""`truechimer demo`: a whole time laboratory on this machine, with a story, measured.

It is the product with simulated clocks: the same file, the same processes, the same fold. Everything it makes lies in
one folder and goes with it, unless `--keep` names one. It measures nothing itself (`daemon.demo.demo_story` does).

When it ends: `--for S` counts from the first NTP answer. With S of 40 or more it ends then, and what is not finished is
cut and says so; with less it ends when its branches are run, some 10 to 30 s later. Without `--for` it ends after the
story, or on a terminal serves on until Ctrl-C. Ctrl-C at any moment ends it in order, and prints what was measured.
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from truechimer.cli.arguments import verb_parser
from truechimer.cli.lab_arguments import fault_lines, now_label
from truechimer.daemon.answering import registry
from truechimer.daemon.demo.demo_story import STORY_S, Story
from truechimer.daemon.demo.demo_table import document, is_fine, table
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.lab_check import check_lab
from truechimer.daemon.lab.listener_settings import Protocol
from truechimer.daemon.lab_start import Started, open_run
from truechimer.daemon.laboratory_process import Laboratory, end_on_signals
from truechimer.daemon.ntp.ntp_exchange import warm_up
from truechimer.sim.demo_scenario import DEMO_SCENARIO_TOML

PORT_BASE = 11_123
CONSOLE_PORT_AFTER = 3
ANSWER_WITHIN_S = 60.0
"""A laboratory that is not synchronised so long after its doors opened will not be: the demo ends and says why."""

END_WITHIN_S = 10.0


def main(argv: list[str]) -> int:
    """Run the demo.

    0 after its end or Ctrl-C; 1 where it could not start (a port in use), never became synchronised, or a lie or a
    difference in the replay was found; 2 for wrong use.
    """
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
        help="end S seconds after the first NTP answer (below 40: no live events, and it ends with its branches)",
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
    screen = _Screen(sys.stderr if options.json else sys.stdout)
    _write_laboratory(folder, seed, options.port_base)
    checked = check_lab(folder / "LAB.toml", now=now_label())
    for fault in fault_lines(checked):
        print(fault, file=sys.stderr)
    if checked.lab is None:
        print("the demo was not started; --port-base P moves all its ports", file=sys.stderr)
        return 1
    screen.say(f"truechimer demo   SIMULATED   seed {seed}   (again: ./truechimer demo --seed {seed})")
    clocks = HostClocks()
    warm_up(clocks)
    laboratory = Laboratory(open_run(checked, clocks), clocks)
    screen.on_closed = laboratory.ending.set
    try:
        end_on_signals(laboratory)
        _end_with_the_terminal(laboratory)
        with registry.register(folder, os.getpid(), laboratory.started.config.name):
            status = _tell(laboratory, seed, options, screen)
    finally:
        laboratory.close()
    if screen.is_closed:
        raise BrokenPipeError
    return status


def _end_with_the_terminal(laboratory: Laboratory) -> None:
    """End in order when the terminal is closed, unless somebody wanted it otherwise (nohup)."""
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda _number, _frame: laboratory.ending.set())


def _tell(laboratory: Laboratory, seed: int, options: argparse.Namespace, screen: "_Screen") -> int:
    """Run the laboratory and its story; print the table and, where asked, the document; return the exit status."""
    began = time.monotonic()
    laboratory.make_feeds()
    laboratory.catch_up(lambda done, total: screen.progress("history", done, total))
    for_s = STORY_S if options.for_s is None else options.for_s
    story = Story(laboratory, seed, screen.say, for_s, screen.progress)
    ending = _Ending(laboratory, story, options, screen)
    if not laboratory.ending.is_set():
        _say_history(laboratory.started, laboratory.epochs, time.monotonic() - began, screen.say)
        story.begin()
        laboratory.open_doors()
        for door in laboratory.doors:
            if door.listener.protocol is Protocol.CONSOLE:
                screen.say(f"         the page: http://{door.listener.address}:{door.port}/")
        _with_threads(laboratory, (story.ask, story.tell, ending.follow))
    return ending.close()


def _with_threads(laboratory: Laboratory, works: tuple[Callable[[], None], ...]) -> None:
    """Run the laboratory with these works beside it; all of them end when it ends."""
    threads = [threading.Thread(target=work, name=work.__name__, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        laboratory.run()
    finally:
        laboratory.ending.set()
        for thread in threads:
            thread.join(timeout=END_WITHIN_S)


@dataclass(slots=True)
class _Ending:
    """When the demo ends, and what it then prints, once."""

    laboratory: Laboratory
    story: Story
    options: argparse.Namespace
    screen: "_Screen"
    printed: bool = False
    silent: bool = False

    def follow(self) -> None:
        """End the demo when its time is up and its story is told; on a terminal without `--for` it serves on."""
        ending, story = self.laboratory.ending, self.story
        until = time.monotonic() + ANSWER_WITHIN_S
        while not story.first_answer.wait(0.1):
            if ending.is_set():
                return
            if time.monotonic() > until:
                self.silent = True
                ending.set()
                return
        if self.options.for_s is not None:
            self._wait_for_time(self.options.for_s)
        while not story.done.wait(0.2) and not ending.is_set():
            pass
        serves_on = self.options.for_s is None and not self.options.json and sys.stdout.isatty()
        if serves_on and not ending.is_set():
            self._print()
            port = next(door.port for door in self.laboratory.doors if door.counters is not None)
            self.screen.say(
                "\nserving on; Ctrl-C ends it. Ask it from another terminal: ./truechimer now   ./truechimer status   "
                f"./truechimer ask ntp 127.0.0.1:{port}"
            )
            return
        ending.set()

    def _wait_for_time(self, for_s: float) -> None:
        """Wait until the time is up, and tell the story so where it must fit."""
        self.laboratory.ending.wait(for_s)
        if self.story.is_live:
            self.story.time_is_up.set()
        elif not self.story.done.is_set() and not self.laboratory.ending.is_set():
            self.screen.say(f"{self.story.at()}  the time is up; the demo ends as soon as its branches are run")

    def close(self) -> int:
        """Print what is not printed yet; return the exit status of the demo."""
        body = self._print()
        if self.options.json and not self.screen.is_closed:
            print(json.dumps(body), flush=True)
        if self.silent:
            missing = "; ".join(self.laboratory.now_document().get("missing", ())) or "the door did not answer"
            print(
                f"truechimer demo: no synchronised NTP answer within {ANSWER_WITHIN_S:.0f} s ({missing}); "
                "please report it with the seed above",
                file=sys.stderr,
            )
        return 0 if is_fine(body) and not self.silent else 1

    def _print(self) -> dict[str, Any]:
        """Print the closing table, once; return the document."""
        body = document(self.story)
        if not self.printed:
            self.printed = True
            for line in table(self.story, body):
                self.screen.say(line)
        return body


class _Screen:
    """Where the story is printed: whole lines, and on a terminal a line of progress below them.

    Invariant: whoever closes our output (`... | head`) ends the demo in order, and nothing more is printed.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._drawn = False
        self._last = ""
        self.is_closed = False
        self.on_closed: Callable[[], None] = lambda: None

    def say(self, text: str) -> None:
        """Print one line."""
        with self._lock:
            self._clear()
            if self.is_closed:
                return
            try:
                print(text, file=self._out, flush=True)
            except OSError:
                self.is_closed = True
                self.on_closed()

    def progress(self, what: str, done: int, total: int) -> None:
        """Draw how much of a long step is done, on a terminal only."""
        if not total or not sys.stderr.isatty():
            return
        with self._lock:
            filled = 30 * done // total
            text = f"         {what:<18} [{'#' * filled}{'.' * (30 - filled)}] {100 * done // total:3d} %"
            if done >= total:
                self._clear()
            elif text != self._last:
                self._drawn, self._last = True, text
                self._draw(f"\r{text}\r")

    def _clear(self) -> None:
        """Take the line of progress away."""
        if self._drawn:
            self._drawn, self._last = False, ""
            self._draw(f"\r{' ' * 76}\r")

    def _draw(self, text: str) -> None:
        """Write to the terminal; one that has gone does not matter here."""
        with contextlib.suppress(OSError):
            print(text, end="", file=sys.stderr, flush=True)


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
