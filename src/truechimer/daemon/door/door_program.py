"""What the programs of doors have in common: their complaint in one line, options that the laboratory gives each of
them, and the line that says that a door is open.

It opens nothing and serves nothing.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from truechimer.daemon import notify
from truechimer.daemon.journal_log import LogForm, Priority

WRONG_USE = 2
DEFAULT_ORPHAN_EXIT_S = 3600.0


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave with 2."""
        self.exit(WRONG_USE, f"{self.prog}: {message}; see --help\n")


def add_address_options(options: argparse.ArgumentParser, *, transport: str) -> None:
    """Add where a door of this transport (UDP, TCP) listens."""
    options.add_argument("--address", required=True, help="numeric address to listen on")
    options.add_argument("--port", type=int, required=True, help=f"{transport} port; 0 lets the kernel choose")


def add_door_options(options: argparse.ArgumentParser, *, orphan_exit_s: float, while_orphaned: str) -> None:
    """Add what each door is told: how to speak, whose child it is, and how long it lives without its parent."""
    options.add_argument("--log", type=LogForm, default=LogForm.AUTO, help="form of lines on stderr: auto, text, json")
    options.add_argument("--parent-pid", type=int, help="the parent, where it may die before this process looks")
    options.add_argument("--pidfile", type=Path, help="file for the process id, removed at the end")
    options.add_argument(
        "--orphan-exit-s",
        type=float,
        default=orphan_exit_s,
        help=f"live this long after the parent died, where {while_orphaned} (default {orphan_exit_s:g})",
    )
    options.add_argument(
        "--version-of-laboratory", help="names the program that started this door; a laboratory takes over its own only"
    )


def complain(program: str, text: str) -> None:
    """Say why the door does not open."""
    notify.say_line(f"{program}: {text}", priority=Priority.ERROR)


def say_ready(protocol: str, **body: Any) -> None:
    """Write the one line that says that the door is open; whoever started us may be gone already."""
    try:
        print(json.dumps({"ready": True, "protocol": protocol, "pid": os.getpid()} | body), flush=True)
    except OSError:
        sys.stdout = None  # or the interpreter complains at exit
