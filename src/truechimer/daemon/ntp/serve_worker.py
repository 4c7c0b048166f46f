"""A worker of an NTP door: serves one socket of the door in machine code until the door ends, or tells it to.

It opens no socket (it inherits one) and writes no page. It compiles, or reads what was compiled before, then says
{"ready": true} on stdout, and serves. Exit status: 0 ended as told, 3 no machine code here. Source: issue 8, ADR 73.
"""

import argparse
import json
import os
import secrets
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from truechimer import kernel
from truechimer.daemon import notify
from truechimer.daemon.door.counters import Counters
from truechimer.daemon.door.door_policy import DoorPolicy
from truechimer.daemon.door.door_rules import Gatekeeper
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp import serve_process as door
from truechimer.daemon.ntp.ntp_loop import NS_PER_S, UdpPort
from truechimer.daemon.ntp.serve_workers import CANNOT_WORK, MOVES
from truechimer.daemon.page_file import PageReader

LOOK_EVERY_NS = NS_PER_S


class _Ending:
    """Set by SIGTERM and SIGINT."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True


def main(argv: list[str] | None = None) -> int:
    """Serve until told to end, or until the door is gone."""
    options = _options(argv)
    notify.configure(options.log)
    if not kernel.COMPILED:
        return CANNOT_WORK
    door.drop_rights(options)  # what its door keeps for an accelerator is nothing to a worker
    from truechimer.daemon.ntp.ntp_loop_compiled import CompiledNtpLoop

    ending = _Ending()
    clocks, pages = HostClocks(), PageReader(options.page)
    port = UdpPort(options.address, options.port, descriptor=options.socket_fd)
    counters = Counters(Path(options.worker_counters) if options.worker_counters else None)
    gate = Gatekeeper(options.rules, secret=secrets.token_bytes(256))
    loop = CompiledNtpLoop(
        port,
        pages,
        clocks=clocks,
        counters=counters,
        bound_limit_s=options.bound_limit_s,
        precision_log2=clocks.precision_log2(),
        simulated_allowed=door.is_simulated_allowed(options),
        gate=gate,
        two_per_stamp=options.stamps == "pairs",
        card=door.card_of(options),
    )
    policy = DoorPolicy(options.policy, door.listener_of(options))
    door.look_at_keys(gate)
    if policy.look():
        loop.use_policy(policy.policy)
    while not clocks.rate_is_learned and not ending.asked:
        clocks.take_pair()
        time.sleep(0.005)
    loop.warm_up()
    try:
        print(json.dumps({"ready": True, "pid": os.getpid()}), flush=True)
    except OSError:
        sys.stdout = None  # the door has ended meanwhile; or the interpreter complains at exit
        return 0
    out = sys.stdout.fileno()
    os.set_blocking(out, False)
    parent = select.poll()
    parent.register(sys.stdin.fileno(), select.POLLIN)
    looked_ns = clocks.raw_ns()
    while not ending.asked and not parent.poll(0):
        loop.turn()
        with suppress(OSError):  # a door that does not listen for long, or has ended
            os.write(out, MOVES)
        now_ns = clocks.raw_ns()
        if now_ns - looked_ns >= LOOK_EVERY_NS:
            looked_ns = now_ns
            door.look_again(loop, pages, policy, gate, counters)
    counters.close()
    return 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    """Read the door's own command line, and what is a worker's alone."""
    options = door.parser()
    options.add_argument("--socket-fd", type=int, required=True, help="the socket to serve")
    options.add_argument("--worker-counters", default="", help="file for what this worker counts")
    return options.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
