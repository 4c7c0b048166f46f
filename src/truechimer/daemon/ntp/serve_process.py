"""The serve process: one NTP door in a process of its own, which outlives the laboratory process that started it.

`python -m truechimer.daemon.ntp.serve_process --page FILE --address A --port P --bound-limit-s L` binds first, says one
JSON line on stdout, then serves until SIGTERM or SIGINT. It makes no time and writes no page. When the laboratory is
killed it goes on from the last page: the bound grows, and the door is unsynchronised from the earlier of its own
bound limit and the page's `valid_until_raw`. The next laboratory of the folder takes it over by writing the page.

It must stay small: no numpy, no numba, nothing of the scale (`house.md` 3.3). Exit status: 0 ended as told, 2 wrong
use or the port is in use, with one line; 4 another door's sockets were not given.
"""

import argparse
import ipaddress
import secrets
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from truechimer.daemon import notify
from truechimer.daemon.door import counters as names
from truechimer.daemon.door import handover, privileges
from truechimer.daemon.door.counters import Counters
from truechimer.daemon.door.door_policy import SUFFIX, DoorPolicy
from truechimer.daemon.door.door_program import (
    DEFAULT_ORPHAN_EXIT_S,
    WRONG_USE,
    OneLineParser,
    add_address_options,
    add_door_options,
    complain,
    say_ready,
)
from truechimer.daemon.door.door_rules import DoorRules, DoorRulesRejected, Gatekeeper, rules_from
from truechimer.daemon.door.gate import may_open
from truechimer.daemon.door.parenthood import Parenthood, name_itself, take_away
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp.card_clock import CardClock, open_card
from truechimer.daemon.ntp.departure_desk import DepartureDesk
from truechimer.daemon.ntp.ntp_loop import IDLE_TURN_S, NS_PER_S, NtpLoop, UdpPort
from truechimer.daemon.ntp.self_probe import TO_THE_SOCKETS, SelfProbe
from truechimer.daemon.ntp.serve_workers import Workers
from truechimer.daemon.page_file import PageReader
from truechimer.drivers.phc import PhcRejected
from truechimer.drivers.stamping import StampingRejected
from truechimer.quorum.listener_policy import ListenerPolicy
from truechimer.serve.clock_page import ClockPage
from truechimer.serve.ntp.packet import MAX_DISPERSION_S
from truechimer.serve.ntp.reply import IgnoreReason

if TYPE_CHECKING:
    from truechimer.daemon.ntp.accelerator import Accelerator

DEFAULT_BOUND_LIMIT_S = 1e-3
REOPEN_EVERY_NS = NS_PER_S
COVERED_TURN_S = 0.1
"""While workers serve, the door itself looks this often: whether they live, and what they count."""
MOST_WORKERS = 64


def parser() -> argparse.ArgumentParser:
    """Return the command line of this process."""
    options = OneLineParser(prog="serve_process", description="serve NTP from a clock page")
    options.add_argument("--page", type=Path, required=True, help="the clock page's file; it may appear later")
    add_address_options(options, transport="UDP")
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
    options.add_argument(
        "--accelerator",
        type=Path,
        help="answer plain requests below the sockets where the kernel allows; the file says how that fares",
    )
    options.add_argument("--counters", type=Path, help="file for the counters")
    options.add_argument("--workers", type=int, default=1, help="processes that serve in machine code (default 1)")
    options.add_argument(
        "--stamps",
        choices=("each", "pairs"),
        default="each",
        help="transmit stamps: for each answer, or, under load, one for two neighbours",
    )
    options.add_argument("--hardware", default="", help="interface whose card stamps what comes and goes here")
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
    taken: handover.Taken | None = None
    try:
        if handover.is_asked():
            taken = handover.take(
                options.pidfile, address=options.address, port=options.port, count=max(1, options.workers)
            )
        ports = _bound(options) if taken is None else _taken(options, taken)
    except handover.HandoverRejected as error:
        notify.say_line(f"serve_process: {error}; that door is ended, and the port opened anew")
        return handover.NOT_GIVEN
    except OSError as error:
        complain(
            "serve_process",
            f"cannot listen on {options.address} port {options.port} (udp): {error.strerror}; "
            "stop the program that holds it, or give another --port or --address",
        )
        return WRONG_USE
    try:
        counters = Counters(options.counters if taken is None else _until_open(options.counters))
        if options.pidfile is not None and taken is None:
            name_itself(options.pidfile)
    except OSError as error:
        _close(ports)
        return _cannot_write(error)
    words = sys.argv[1:] if argv is None else argv
    # machine code has no line for a leap second that is dealt out: such a door serves by itself
    wanted = options.workers > 0 and not options.rules.smears
    workers = Workers(ports, words, counters, path=options.counters, wanted=wanted)
    _give_up_rights(options)
    giver = handover.Giver(options.pidfile, [port.socket for port in ports], listens=taken is None)
    try:
        _serve(options, ports, workers, counters, parent, giver=giver, taken=taken)
    except _NotFound as error:
        return _cannot_write(error.cause)
    finally:
        workers.end()
        giver.close()  # who took the sockets has workers of its own from now on
        counters.close()
        _close(ports)
        take_away(options.pidfile)
    return 0


class _NotFound(Exception):
    """A door that took the sockets of another cannot write where the next laboratory looks for it."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _cannot_write(error: OSError) -> int:
    complain("serve_process", f"cannot write {error.filename}: {error.strerror}; check the folder")
    return WRONG_USE


def _bound(options: argparse.Namespace) -> list[UdpPort]:
    """Bind a socket for each worker. Where there are several they share the port with each other; but a port that
    somebody holds is not shared, so the first of them looks whether it is free. Raises `OSError`.
    """
    if options.workers <= 1:
        return [UdpPort(options.address, options.port)]
    probe = UdpPort(options.address, options.port)
    number = probe.port
    probe.close()
    ports: list[UdpPort] = []
    try:
        while len(ports) < options.workers:
            ports.append(UdpPort(options.address, number, shared=True))
    except OSError:
        _close(ports)
        raise
    return ports


def _taken(options: argparse.Namespace, taken: handover.Taken) -> list[UdpPort]:
    """Return the sockets of the door before."""
    ports = [UdpPort(options.address, options.port, descriptor=one) for one in taken.descriptors]
    for port in ports:
        port.ask_the_kernel(options.address)
    return ports


def _give_up_rights(options: argparse.Namespace) -> None:
    """Drop what was needed for the port alone. A door with an accelerator goes on needing what loads and attaches it,
    whenever its interfaces change.
    """
    accelerates = options.accelerator is not None
    if accelerates:
        privileges.let_threads_be_urgent(privileges.URGENT)
    drop_rights(options, privileges.BELOW_THE_SOCKETS if accelerates else frozenset())


def drop_rights(options: argparse.Namespace, kept: frozenset[int] = frozenset()) -> None:
    """Drop all but `kept`, what this door's files need, and what its card does."""
    keys = None if options.rules.keys is None else Path(options.rules.keys)
    kept |= privileges.needed([options.page, options.counters, options.policy, options.pidfile, keys])
    if options.hardware:
        kept |= {privileges.CAP_NET_ADMIN}  # a card is told to stamp by each process that serves
    wrong = privileges.drop(kept)
    if wrong:
        complain("serve_process", f"{wrong}; the door serves all the same")


def _take_the_place(options: argparse.Namespace, giver: handover.Giver) -> None:
    """Be the door that is found from now on; up to here the one before can go on alone. It still counts to its end in
    the file that it has, where nobody reads. Raises `_NotFound`.
    """
    beside = _until_open(options.counters)
    try:
        if options.pidfile is not None:
            name_itself(options.pidfile)
        if beside is not None:
            beside.replace(options.counters)
    except OSError as error:
        if beside is not None:
            beside.unlink(missing_ok=True)
        raise _NotFound(error) from error
    giver.listen()


def _until_open(counters: Path | None) -> Path | None:
    """Return where a door counts while the one before still does in its place."""
    return None if counters is None else counters.with_name(f"{counters.name}.new")


def _close(ports: list[UdpPort]) -> None:
    for port in ports:
        port.close()


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
    if not 0 <= options.workers <= MOST_WORKERS:
        return f"--workers {options.workers} is not a number of processes; give 0 (none) to {MOST_WORKERS}"
    if not options.orphan_exit_s >= 0.0:
        return f"--orphan-exit-s {options.orphan_exit_s} is not a time; give 0 or more seconds"
    return None


def _serve(
    options: argparse.Namespace,
    ports: list[UdpPort],
    workers: Workers,
    counters: Counters,
    parent: Parenthood,
    *,
    giver: handover.Giver,
    taken: handover.Taken | None,
) -> None:
    """Say that the door is open, and answer until a signal, or until orphaned for long enough: by workers where they
    are ready, here where they are not. A door that has `taken` the sockets of another serves them beside it until that
    one has ended; its own workers and accelerator begin then.
    """
    ending = _Ending()
    clocks = HostClocks()
    pages = PageReader(options.page)
    precision_log2 = clocks.precision_log2()
    gate = Gatekeeper(options.rules, secret=secrets.token_bytes(256))
    card = card_of(options)
    # what the door before asked the kernel for comes back to sockets that were taken, and would wake them for ever
    has_desk = options.rules.interleaved or card is not None or taken is not None
    loops = [
        NtpLoop(
            port,
            pages,
            clocks=clocks,
            counters=counters,
            bound_limit_s=options.bound_limit_s,
            precision_log2=precision_log2,
            simulated_allowed=is_simulated_allowed(options),
            gate=gate,
            departures=DepartureDesk(port.socket, card=card) if has_desk else None,
        )
        for port in ports
    ]
    look_at_keys(gate)
    policy = DoorPolicy(options.policy, listener_of(options))
    if policy.look():
        for loop in loops:
            loop.use_policy(policy.policy)
    accelerator = _accelerator(options, ports[0].port, precision_log2)
    if taken is None:
        accelerator.begin(policy.policy)
    else:
        _take_the_place(options, giver)
    say_ready(
        "ntp",
        address=options.address,
        port=ports[0].port,
        precision_log2=precision_log2,
        bound_limit_s=options.bound_limit_s,
    )
    reopened_at_ns = clocks.raw_ns()
    probe = _probe(options, ports[0].port, gate, counters)
    probe.start()
    while not ending.asked:
        giver.look()
        if taken is not None and taken.is_alone():
            taken = None
            accelerator.begin(policy.policy)
        if taken is None:
            workers.look(clocks.raw_ns())
        uncovered = workers.uncovered()
        for place in uncovered:
            loops[place].turn(IDLE_TURN_S / len(uncovered))
        if not uncovered:
            workers.wait(COVERED_TURN_S)
            counters.flush()
        now_ns = clocks.raw_ns()
        if now_ns - reopened_at_ns >= REOPEN_EVERY_NS:
            reopened_at_ns = now_ns
            look_again(loops[0], pages, policy, gate, counters, others=loops[1:])
            probe.put_into(counters)
            accelerator.use_policy(policy.policy)
            if parent.is_lost and parent.must_end(now_ns, written_ns(pages, clocks)):
                break
    accelerator.close()


def _probe(options: argparse.Namespace, port: int, gate: Gatekeeper, counters: Counters) -> SelfProbe:
    """Return the door's own client, which has not begun to ask."""
    refused = names.IGNORE_COUNTERS[IgnoreReason.RATE_LIMITED]
    place = counters.place(refused)
    tails: tuple[bytes, ...] = (b"",)
    if options.accelerator is not None and not options.rules.smears:
        # what an accelerator drops for its rate, no counter of the door's tells
        tails = (TO_THE_SOCKETS,) if options.rules.rate_loopback else (b"", TO_THE_SOCKETS)
    return SelfProbe(
        options.address,
        port,
        PageReader(options.page),
        clocks=HostClocks(),
        gate=gate,
        refusals=lambda: counters[refused] + sum(beside[place] for beside in counters.beside),
        tails=tails,
    )


def _accelerator(options: argparse.Namespace, port: int, precision_log2: int) -> "Accelerator | NoAccelerator":
    """Return the door's accelerator, not begun yet; where none is asked for, one that does nothing."""
    if options.accelerator is None or options.rules.smears:
        return NoAccelerator()
    from truechimer.daemon.ntp.accelerator import Accelerator, Settings  # a door without it stays as small as it is

    return Accelerator(
        Settings(
            page=options.page,
            address=options.address,
            port=port,
            bound_limit_s=options.bound_limit_s,
            precision_log2=precision_log2,
            simulated_allowed=is_simulated_allowed(options),
            rules=options.rules,
            state=options.accelerator,
        )
    )


class NoAccelerator:
    """The sockets serve alone."""

    def begin(self, _policy: ListenerPolicy | None = None) -> bool:
        """Do nothing."""
        return False

    def use_policy(self, _policy: ListenerPolicy | None) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def look_again(
    loop: NtpLoop,
    pages: PageReader,
    policy: DoorPolicy,
    gate: Gatekeeper,
    counters: Counters,
    *,
    others: Sequence[NtpLoop] = (),
) -> None:
    """Look at the files of a door that may have changed: the page's, the policy's, the keys'."""
    pages.reopen()
    if policy.look():
        for one in (loop, *others):
            one.use_policy(policy.policy)
    look_at_keys(gate)
    counters.put(names.PAGE_TORN, pages.torn)


def card_of(options: argparse.Namespace) -> CardClock | None:
    """Return the clock of the network card that is to stamp for this door; None where there is none, said once where
    one is asked for: the kernel stamps.
    """
    if not options.hardware:
        return None
    try:
        return open_card(options.hardware)
    except (StampingRejected, PhcRejected) as error:
        complain("serve_process", f"no hardware stamps: {error}; the kernel's are used")
        return None


def is_simulated_allowed(options: argparse.Namespace) -> bool:
    """Return whether this door may answer from a simulated laboratory."""
    return bool(ipaddress.ip_address(options.address).is_loopback or options.insecure_serve_simulated_time)


def listener_of(options: argparse.Namespace) -> str:
    """Return the name by which an order names this door."""
    return "" if options.policy is None else str(options.policy.name).removesuffix(SUFFIX)


def look_at_keys(gate: Gatekeeper) -> None:
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
