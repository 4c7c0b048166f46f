"""The serve process: one NTP door in a process of its own, which outlives the laboratory process that started it.

`python -m truechimer.daemon.serve_process --page FILE --address A --port P --bound-limit-s L` binds first, says one
JSON line on stdout, then serves until SIGTERM or SIGINT. It makes no time and writes no page. When the laboratory is
killed it goes on from the last page: the bound grows, and the door is unsynchronised from the earlier of its own
bound limit and the page's `valid_until_raw`. The next laboratory of the folder takes it over by writing the page.

It must stay small: no numpy, no numba, nothing of the scale (`house.md` 3.3). Exit status: 0 ended as told, 2 wrong
use or the port is in use, with one line.
"""

import argparse
import ipaddress
import os
import secrets
import signal
from pathlib import Path
from types import FrameType

from truechimer.daemon import counters as names
from truechimer.daemon import notify
from truechimer.daemon.counters import Counters
from truechimer.daemon.door_policy import SUFFIX, DoorPolicy
from truechimer.daemon.door_program import (
    DEFAULT_ORPHAN_EXIT_S,
    WRONG_USE,
    OneLineParser,
    add_door_options,
    complain,
    say_ready,
)
from truechimer.daemon.door_rules import DoorRules, DoorRulesRejected, Gatekeeper, rules_from
from truechimer.daemon.gate import may_open
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp_loop import NS_PER_S, NtpLoop, UdpPort
from truechimer.daemon.page_file import PageReader
from truechimer.daemon.parenthood import Parenthood, take_away
from truechimer.serve.clock_page import ClockPage
from truechimer.serve.ntp.packet import MAX_DISPERSION_S

DEFAULT_BOUND_LIMIT_S = 1e-3
REOPEN_EVERY_NS = NS_PER_S


def parser() -> argparse.ArgumentParser:
    """Return the command line of this process."""
    options = OneLineParser(prog="serve_process", description="serve NTP from a clock page")
    options.add_argument("--page", type=Path, required=True, help="the clock page's file; it may appear later")
    options.add_argument("--address", required=True, help="numeric address to listen on")
    options.add_argument("--port", type=int, required=True, help="UDP port; 0 lets the kernel choose")
    options.add_argument(
        "--bound-limit-s",
        type=float,
        default=DEFAULT_BOUND_LIMIT_S,
        help="unsynchronised above this bound (default 0.001)",
    )
    options.add_argument("--policy", type=Path, help="file with this door's policy by order; it may come and go")
    options.add_argument(
        "--rules",
        type=_rules,
        default=DoorRules(),
        help="who is answered, how often and with what, as one line of JSON",
    )
    options.add_argument("--counters", type=Path, help="file for the counters")
    add_door_options(options, orphan_exit_s=DEFAULT_ORPHAN_EXIT_S, while_orphaned="nobody writes the page")
    options.add_argument(
        "--insecure-serve-simulated-time",
        action="store_true",
        help="answer as synchronised from a simulated laboratory on an address that others can reach",
    )
    return options


def _rules(text: str) -> DoorRules:
    """Read the rules for the parser."""
    try:
        return rules_from(text)
    except DoorRulesRejected as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(argv: list[str] | None = None) -> int:
    """Run the door until told to end."""
    options = parser().parse_args(argv)
    notify.configure(options.log)
    complaint = _complaint(options)
    if complaint is not None:
        complain("serve_process", complaint)
        return WRONG_USE
    parent = Parenthood(options.parent_pid, exit_s=options.orphan_exit_s, pidfile=options.pidfile)
    if not may_open() or parent.is_lost:
        return 0  # killed before this door was open: the next laboratory opens its own
    try:
        port = UdpPort(options.address, options.port)
    except OSError as error:
        complain(
            "serve_process",
            f"cannot listen on {options.address} port {options.port} (udp): {error.strerror}; "
            "stop the program that holds it, or give another --port or --address",
        )
        return WRONG_USE
    try:
        counters = Counters(options.counters)
        if options.pidfile is not None:
            options.pidfile.write_text(f"{os.getpid()}\n", encoding="ascii")
    except OSError as error:
        port.close()
        complain("serve_process", f"cannot write {error.filename}: {error.strerror}; check the folder")
        return WRONG_USE
    try:
        _serve(options, port, counters, parent)
    finally:
        counters.close()
        port.close()
        take_away(options.pidfile)
    return 0


def _complaint(options: argparse.Namespace) -> str | None:
    """Return what is wrong with the values, in one line, or None."""
    try:
        ipaddress.ip_address(options.address)
    except ValueError:
        return f"--address {options.address!r} is not a numeric address; give one such as 127.0.0.1 or ::1"
    if not 0 <= options.port <= 65_535:
        return f"--port {options.port} is not a port; give 1 to 65535, or 0 for any"
    if not 0.0 < options.bound_limit_s < MAX_DISPERSION_S:
        return (
            f"--bound-limit-s {options.bound_limit_s} cannot be kept; give more than 0 and less than 16 (NTP's MAXDISP)"
        )
    if not options.orphan_exit_s >= 0.0:
        return f"--orphan-exit-s {options.orphan_exit_s} is not a time; give 0 or more seconds"
    return None


def _serve(options: argparse.Namespace, port: UdpPort, counters: Counters, parent: Parenthood) -> None:
    """Say that the door is open, and answer until a signal, or until orphaned for long enough."""
    ending = _Ending()
    clocks = HostClocks()
    pages = PageReader(options.page)
    precision_log2 = clocks.precision_log2()
    loopback = ipaddress.ip_address(options.address).is_loopback
    gate = Gatekeeper(options.rules, secret=secrets.token_bytes(256))
    loop = NtpLoop(
        port,
        pages,
        clocks=clocks,
        counters=counters,
        bound_limit_s=options.bound_limit_s,
        precision_log2=precision_log2,
        simulated_allowed=loopback or options.insecure_serve_simulated_time,
        gate=gate,
    )
    _look_at_keys(gate)
    policy = DoorPolicy(options.policy, "" if options.policy is None else options.policy.name.removesuffix(SUFFIX))
    if policy.look():
        loop.use_policy(policy.policy)
    say_ready(
        "ntp",
        address=options.address,
        port=port.port,
        precision_log2=precision_log2,
        bound_limit_s=options.bound_limit_s,
    )
    reopened_at_ns = clocks.raw_ns()
    while not ending.asked:
        loop.turn()
        now_ns = clocks.raw_ns()
        if now_ns - reopened_at_ns >= REOPEN_EVERY_NS:
            reopened_at_ns = now_ns
            pages.reopen()
            if policy.look():
                loop.use_policy(policy.policy)
            _look_at_keys(gate)
            counters.put(names.PAGE_TORN, pages.torn)
            if parent.is_lost and parent.must_end(now_ns, written_ns(pages, clocks)):
                return


def _look_at_keys(gate: Gatekeeper) -> None:
    """Read the symmetric keys anew where their file has changed, and say what is wrong with them."""
    wrong = gate.look_at_keys()
    if wrong is not None:
        complain("serve_process", f"symmetric keys: {wrong}; those read before are kept")


def written_ns(pages: PageReader, clocks: HostClocks) -> int:
    """Return the raw value at which the page was written last; 0 for none of this boot."""
    page = pages.current()
    return page.written_raw_ns if isinstance(page, ClockPage) and page.boot_id == clocks.boot_id() else 0


class _Ending:
    """Set by SIGTERM and SIGINT: the loop ends after the turn it is in."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True


if __name__ == "__main__":
    raise SystemExit(main())
