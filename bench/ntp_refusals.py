"""What a packet costs the NTP door's compiled loop that is refused, or odd, against one that is answered.

    PYTHONPATH=src python bench/ntp_refusals.py [--rounds 31] [--limits] [--out docs/measured/ntp_refusals.json]

One loop on a real socket of loopback takes bursts of one kind and bursts of plain requests in turn; what counts is the
processor time of its own thread for a datagram, the kernel's part of receiving and sending included. Each reason for a
refusal that the loop counts is made to occur, and must be counted: a kind that is refused for another reason, or
answered, ends the bench. It needs root: for a queue that holds a burst, and for datagrams from port 0, which no socket
sends.

Codes that a key could check are looked at in Python, at most some thousands a second: a wrong one is held against a
right one, and beyond that allowance against a plain request.

`--limits`: status 1 where a bad packet costs more than 1.5 good ones, by the median of the rounds.
"""

import argparse
import json
import os
import platform
import random
import socket
import statistics
import struct
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from tests.daemon_serve.doors import a_live_page, a_page_in  # noqa: E402
from tests.waits import until  # noqa: E402

from truechimer.daemon.door import counters as names  # noqa: E402
from truechimer.daemon.door.counters import Counters  # noqa: E402
from truechimer.daemon.door.door_rules import DoorRules, Gatekeeper  # noqa: E402
from truechimer.daemon.host_clocks import HostClocks  # noqa: E402
from truechimer.daemon.ntp import ntp_layout  # noqa: E402
from truechimer.daemon.ntp.ntp_loop import UdpPort  # noqa: E402
from truechimer.daemon.ntp.ntp_loop_compiled import MOST_TO_PYTHON_AT_ONCE, CompiledNtpLoop  # noqa: E402
from truechimer.daemon.page_file import PageReader  # noqa: E402
from truechimer.serve.ntp import NtpHeader  # noqa: E402
from truechimer.serve.ntp.mac import KeyKind, symmetric_key  # noqa: E402
from truechimer.serve.ntp.reply import IgnoreReason, ReplyKind  # noqa: E402

BAR = 1.5
BURST = 448
"""Datagrams of one kind in a row: with so many, what a turn of the loop costs besides is a small part."""
BURSTS = 2
QUEUE_OCTETS = 16_000_000
SO_RCVBUFFORCE = 33
MOST_TURNS = 2_000
TURN_S = 0.0005
HONEST, DENIED, RATED = "127.0.0.1", "127.3.0.1", "127.4.0.1"
SECRET = bytes(range(11, 256)) + bytes(11)
KEY = symmetric_key(1, KeyKind.AES128, bytes(range(16)))
KEY_LINE = f"1 AES128 HEX:{bytes(range(16)).hex()}\n"
PLAIN = NtpHeader(transmit=0x0102030405060708).encode()
FIELD = struct.pack(">HH", 0x0104, 28) + bytes(24)


@dataclass(frozen=True)
class Kind:
    """A kind of packet: its octets, who sends it to which door, what the loop counts, how many the door may look at in
    Python, and what it is held against.
    """

    octets: bytes
    counted: str
    source: str = HONEST
    door: str = "usual"
    port_zero: bool = False
    allowance: int = MOST_TO_PYTHON_AT_ONCE
    against: str = "a plain request"


def refused(reason: IgnoreReason) -> str:
    return names.IGNORE_COUNTERS[reason]


def kinds() -> dict[str, Kind]:
    """Return all kinds."""
    chance = random.Random(5905)
    answered = names.REPLY_COUNTERS[ReplyKind.SYNCHRONISED]
    sealed = KEY.seal(PLAIN)
    wrong = sealed[:-1] + bytes([sealed[-1] ^ 1])
    naks = [names.REPLY_COUNTERS[one] for one in (ReplyKind.NAK_BAD_MAC, ReplyKind.NAK_UNKNOWN_KEY)]
    malformed = refused(IgnoreReason.EXTENSION_MALFORMED)
    return {
        "a plain request": Kind(PLAIN, answered),
        "a right code": Kind(PLAIN + sealed, answered, door="keyed"),
        "one octet": Kind(b"\x23", refused(IgnoreReason.SHORT)),
        "47 octets": Kind(PLAIN[:47], refused(IgnoreReason.SHORT)),
        "version 0": Kind(b"\x03" + PLAIN[1:], refused(IgnoreReason.VERSION)),
        "version 7": Kind(b"\x3b" + PLAIN[1:], refused(IgnoreReason.VERSION)),
        "mode 4, an answer": Kind(b"\x24" + PLAIN[1:], refused(IgnoreReason.MODE_NOT_CLIENT)),
        "mode 6, control": Kind(b"\x26" + PLAIN[1:], refused(IgnoreReason.MODE_CONTROL)),
        "a field longer than the packet": Kind(PLAIN + struct.pack(">HH", 0x0104, 1400) + bytes(1000), malformed),
        "a field of length 0": Kind(PLAIN + bytes(1400), malformed),
        "fields without end": Kind(PLAIN + (struct.pack(">HH", 0x0104, 16) + bytes(12)) * 90, malformed),
        "1500 octets of chance": Kind(b"\x23" + chance.randbytes(1499), malformed),
        "9000 octets": Kind(bytes(9000), names.TRUNCATED),
        "a code where there are no keys": Kind(PLAIN + sealed, refused(IgnoreReason.MAC_UNSUPPORTED)),
        "from port 0": Kind(PLAIN, refused(IgnoreReason.SOURCE_PORT_ZERO), port_zero=True),
        "from a network that is denied": Kind(PLAIN, refused(IgnoreReason.NOT_ALLOWED), source=DENIED),
        "above its rate": Kind(PLAIN, refused(IgnoreReason.RATE_LIMITED), source=RATED, door="rated"),
        "fields that nobody knows, answered": Kind(PLAIN + FIELD * 15, answered),
        "a code beyond the allowance": Kind(PLAIN + wrong, names.OVER_BUDGET, door="keyed", allowance=0),
        "a wrong code": Kind(PLAIN + wrong, naks[0], door="keyed", against="a right code"),
        "a key that nobody has": Kind(PLAIN + b"\0\0\0\x63" + wrong[4:], naks[1], door="keyed", against="a right code"),
    }


@dataclass
class Bench:
    """Doors, each a loop with rules of its own, and a socket for each source."""

    loops: dict[str, CompiledNtpLoop]
    senders: dict[str, socket.socket]

    def cost_ns(self, kind: Kind) -> float:
        """Return a loop's processor time (ns) for one datagram of a kind."""
        loop, spent, came = self.loops[kind.door], 0, 0
        counters, state = loop._counters, loop.memory.state
        room = BURST if kind.door != "keyed" else MOST_TO_PYTHON_AT_ONCE * 3 // 4
        for _ in range(BURSTS):
            self.send(kind, room)
            before, expected = counters[kind.counted], counters[names.RECEIVED] + room
            state[ntp_layout.ALLOWANCE], loop._part_of_one = kind.allowance, 0.0
            loop._looked_raw_ns = loop._clocks.raw_ns() + (10**9 if kind.allowance == 0 else 0)
            began, turns = time.thread_time_ns(), 0
            while counters[names.RECEIVED] < expected:
                loop.turn(TURN_S)
                turns += 1
                if turns > MOST_TURNS:
                    raise SystemExit(f"bench/ntp_refusals.py: of {room} of {kind} not all came")
            spent += time.thread_time_ns() - began
            came += room
            had = counters[kind.counted] - before
            # a source above its rate is answered one time in four, and told so once a second
            if not (had >= room / 2 if kind.source == RATED else had == room):
                raise SystemExit(f"bench/ntp_refusals.py: {had} of {room} were counted as {kind.counted}: {kind}")
            for one in self.senders.values():
                drain(one)
        return spent / came

    def send(self, kind: Kind, count: int) -> None:
        port = self.loops[kind.door]._udp.port
        octets, sender, to = kind.octets, self.senders[kind.source], (HONEST, port)
        if kind.port_zero:
            octets = struct.pack(">HHHH", 0, port, 8 + len(octets), 0) + octets
            sender, to = self.senders["raw"], (HONEST, 0)
        for _ in range(count):
            sender.sendto(octets, to)


def drain(one: socket.socket) -> None:
    try:
        while True:
            one.recv(4096)
    except BlockingIOError:
        return


def a_loop(folder: Path, rules: DoorRules) -> CompiledNtpLoop:
    gate = Gatekeeper(rules, secret=SECRET)
    assert gate.look_at_keys() is None
    port = UdpPort("127.0.0.1", 0)
    port.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, QUEUE_OCTETS)
    loop = CompiledNtpLoop(
        port,
        PageReader(folder / "page"),
        clocks=HostClocks(),
        counters=Counters(),
        bound_limit_s=1e-3,
        precision_log2=-23,
        gate=gate,
    )
    until(lambda: loop.turn(0.01) == 0 and loop._clocks.rate_is_learned, patience_s=180.0)
    return loop


def a_bench(folder: Path) -> Bench:
    """Return the doors; what a door's rules are when nobody says anything, and what two of the kinds need."""
    keys = folder / "keys"
    keys.touch(mode=0o600)
    keys.write_text(KEY_LINE, encoding="ascii")
    doors = {
        "usual": DoorRules(deny=("127.3.0.0/24",)),
        "rated": DoorRules(rate_per_s=0.001, rate_burst=1, rate_loopback=True),
        "keyed": DoorRules(keys=str(keys)),
    }
    senders = {}
    for host in (HONEST, DENIED, RATED):
        senders[host] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        senders[host].bind((host, 0))
    senders["raw"] = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    for one in senders.values():
        one.setblocking(False)
    return Bench({name: a_loop(folder, rules) for name, rules in doors.items()}, senders)


def measured(rounds: int) -> dict[str, Any]:
    """Return the document: for each kind the median cost and the ratio to what it is held against, with every run."""
    every = kinds()
    with tempfile.TemporaryDirectory() as name, a_page_in(Path(name), a_live_page()):
        bench = a_bench(Path(name))
        costs: dict[str, list[float]] = {kind: [] for kind in every}
        ratios: dict[str, list[float]] = {kind: [] for kind in every}
        for number in range(rounds + 1):
            for kind, of in every.items():
                good = bench.cost_ns(every[of.against])
                cost = bench.cost_ns(of)
                if number:  # the first warms up
                    costs[kind].append(round(cost, 1))
                    ratios[kind].append(round(cost / good, 3))
    bad = {
        kind: row for kind, row in ratios.items() if every[kind].counted != names.REPLY_COUNTERS[ReplyKind.SYNCHRONISED]
    }
    return {
        "about": {
            "bench": "bench/ntp_refusals.py: one loop on loopback, bursts in turn; processor time of its thread",
            "kernel": platform.release(),
            "processor": processor(),
            "python": platform.python_version(),
            "rounds": rounds,
        },
        "all_runs": {"cost_ns": costs, "ratio": ratios},
        "bar": BAR,
        "kinds": {
            kind: {
                "counted_as": of.counted,
                "octets": len(of.octets),
                "cost_s": round(statistics.median(costs[kind]) * 1e-9, 10),
                "against": of.against,
                "ratio": round(statistics.median(ratios[kind]), 3),
            }
            for kind, of in every.items()
        },
        "worst": {"kind": (worst := max(bad, key=lambda kind: statistics.median(bad[kind]))),
                  "ratio": round(statistics.median(bad[worst]), 3)},
    }  # fmt: skip


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def main() -> int:
    """Measure, print, and return the exit status."""
    options = argparse.ArgumentParser(description="measure what refused packets cost")
    options.add_argument("--rounds", type=int, default=31)
    options.add_argument("--limits", action="store_true", help="status 1 where a bad packet costs too much")
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    if os.geteuid() != 0:
        print("bench/ntp_refusals.py: only root can have a queue that holds a burst", file=sys.stderr)
        return 2
    found = measured(chosen.rounds)
    for kind, row in found["kinds"].items():
        print(f"{row['cost_s'] * 1e9:9.0f} ns {row['ratio']:7.3f} of {row['against']:<16} {kind}: {row['counted_as']}")
    print(json.dumps(found["worst"]))
    if chosen.out is not None:
        chosen.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 1 if chosen.limits and found["worst"]["ratio"] > BAR else 0


if __name__ == "__main__":
    raise SystemExit(main())
