"""A flood at the NTP door on loopback, and what honest clients get meanwhile (D41).

    python bench/ntp_flood.py [--rate 200000] [--for 30] [--sources 64] [--clients 50] [--kind plain|mixed] [--out FILE]

A door serves a page that is this host's own wall clock; its rules count loopback like anybody (`rate_loopback`), with
the limits of every door. `--rate 0` sends as fast as one processor can. The flood comes from `--sources` addresses
(127.1.0.k): plain requests, or with `--kind mixed` also short, long and malformed ones, modes that are not answered and
keys that nobody has. Honest clients (127.2.0.k) ask now and then, up to three times until they are answered.

Bars: at a stated rate (200,000 packets a second) honest clients are answered at least 95 % within three tries; at any
rate no served stamp is outside the moment between question and answer by more than 200 us, the door's memory grows by
20 MB or less, and two seconds after the flood every first question is answered. "On this bench": loopback, no network
card.
"""

import argparse
import ctypes
import json
import os
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from tests.daemon_serve.doors import Door, a_door, a_live_page, a_page_in  # noqa: E402
from tests.waits import until  # noqa: E402

from truechimer.daemon.door.counters import WORKERS, read_counters  # noqa: E402
from truechimer.daemon.door.door_rules import DoorRules  # noqa: E402
from truechimer.serve import ClockPage  # noqa: E402
from truechimer.serve.ntp import NtpAnswer, NtpHeader, make_request, read_reply  # noqa: E402
from truechimer.serve.ntp.server import stamp_at  # noqa: E402

BATCH = 64
TRIES = 3
TRY_S = 0.3
ALLOWED_S = 200e-6
"""How far a stamp may lie outside the moment between question and answer: dE of D41, host clock against raw counter."""
LIMITS = {"answered": 0.95, "memory_mb": 20.0}
AFTER_S = 2.0
READY_WITHIN_S = 180.0
"""Machine code is made within this, where none is kept from before."""


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("parts", ctypes.POINTER(_Iovec)),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_size_t),
        ("sent", ctypes.c_size_t),
    )


@dataclass(frozen=True)
class Honest:
    """What honest clients had: `asked` times, `answered` within the tries, `at_once` with the first; medians in s."""

    asked: int
    answered: int
    at_once: int
    wrong: int
    median_s: float | None


def packets(kind: str, count: int, seed: int = 1) -> list[bytes]:
    """Return the packets that a flood repeats."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        plain = NtpHeader(transmit=chance.randrange(1, 2**64)).encode()
        bad = [
            plain[:40],
            b"\x26" + plain[1:],
            plain + (99).to_bytes(4, "big") + chance.randbytes(16),
            plain + b"\x01\x04\x00\x10" * 90,
            chance.randbytes(chance.randrange(1, 1400)),
        ]
        made.append(plain if kind == "plain" or number % 2 else chance.choice(bad))
    return made


def flood(port: int, *, rate: float, until_s: float, sources: int, kind: str, told: dict[str, float]) -> None:
    """Send at `rate` a second (0: as fast as possible) until `until_s` (monotonic); tell how many went out."""
    libc = ctypes.CDLL(None, use_errno=True)
    doors = []
    for number in range(sources):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)  # nobody reads the answers
        one.bind((f"127.1.0.{number + 1}", 0))
        one.connect(("127.0.0.1", port))
        doors.append(one)
    octets = packets(kind, BATCH)
    held = [ctypes.create_string_buffer(one, len(one)) for one in octets]
    parts = (_Iovec * BATCH)(*[_Iovec(ctypes.addressof(one), len(one)) for one in held])
    messages = (_Message * BATCH)()
    for number in range(BATCH):
        messages[number].parts = ctypes.pointer(parts[number])
        messages[number].part_count = 1
    began, sent, turn = time.monotonic(), 0, 0
    while (now := time.monotonic()) < until_s:
        if rate and sent > (now - began) * rate:
            time.sleep(0.0002)
            continue
        done = libc.sendmmsg(doors[turn % sources].fileno(), messages, BATCH, 0)
        sent += max(done, 0)
        turn += 1
    told |= {"sent": float(sent), "per_s": sent / (time.monotonic() - began)}
    for one in doors:
        one.close()


def honest(door: Door, page: ClockPage, *, clients: int, until_s: float, pause_s: float, seed: int = 2) -> Honest:
    """Let honest clients ask, one after another, until `until_s` (monotonic)."""
    chance = random.Random(seed)
    sockets = []
    for number in range(clients):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind((f"127.2.0.{number + 1}", 0))
        one.connect(("127.0.0.1", door.port))
        one.settimeout(TRY_S)
        sockets.append(one)
    asked = answered = at_once = wrong = 0
    took: list[float] = []
    while time.monotonic() < until_s:
        one = chance.choice(sockets)
        asked += 1
        for attempt in range(TRIES):
            nonce = chance.randrange(1, 2**64)
            before_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
            one.send(make_request(nonce))
            answer = wait(one, nonce)
            after_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
            if answer is not None and answer.doubt is None:
                answered += 1
                at_once += attempt == 0
                took.append((after_ns - before_ns) / 1e9)
                wrong += is_wrong(answer, page, before_ns, after_ns)
                break
        time.sleep(pause_s)
    for one in sockets:
        one.close()
    return Honest(asked, answered, at_once, wrong, statistics.median(took) if took else None)


def wait(one: socket.socket, nonce: int) -> NtpAnswer | None:
    """Wait for the answer to a question; what answers an earlier one is passed over."""
    end = time.monotonic() + TRY_S
    while time.monotonic() < end:
        try:
            answer = read_reply(one.recv(2048), nonce)
        except (TimeoutError, ConnectionRefusedError):
            return None
        if isinstance(answer, NtpAnswer):
            return answer
    return None


def is_wrong(answer: NtpAnswer, page: ClockPage, before_ns: int, after_ns: int) -> bool:
    """Return whether a stamp lies outside the moment between question and answer by more than is allowed."""
    allowed = round(ALLOWED_S * 2**32)
    first, last = stamp_at(page, before_ns) - allowed, stamp_at(page, after_ns) + allowed
    return not first <= answer.receive <= answer.transmit <= last


def memory_mb(pid: int) -> float:
    """Return the memory of a process and its children, MB."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rsplit(")", 1)[1].split()
            if int(stat.parent.name) == pid or int(words[1]) == pid:
                total += int((stat.parent / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        except (OSError, IndexError, ValueError):
            continue
    return total


def measure(
    folder: Path, *, rate: float, for_s: float, sources: int, clients: int, kind: str, warm_s: float = 3.0
) -> dict[str, object]:
    """Run one flood; return what was measured."""
    page, rules = a_live_page(), DoorRules(rate_loopback=True).text()
    with a_page_in(folder, page), a_door(folder, "--rules", rules, with_workers=True) as door:
        until(lambda: read_counters(door.counters_path())[WORKERS] > 0, patience_s=READY_WITHIN_S)
        quiet = honest(door, page, clients=clients, until_s=time.monotonic() + warm_s, pause_s=0.002)
        before_mb = memory_mb(door.process.pid)
        told: dict[str, float] = {}
        until_s = time.monotonic() + for_s
        sender = threading.Thread(target=in_own_process, args=(door.port, rate, for_s, sources, kind, told))
        sender.start()
        during = honest(door, page, clients=clients, until_s=until_s, pause_s=0.002)
        sender.join()
        time.sleep(AFTER_S)
        after = honest(door, page, clients=clients, until_s=time.monotonic() + 1.0, pause_s=0.01)
        grown_mb = memory_mb(door.process.pid) - before_mb
        alive = door.process.poll() is None
        time.sleep(0.3)
        counted = {name: count for name, count in read_counters(door.counters_path()).items() if count}
    met = {
        "alive": alive,
        # at the highest rate one processor can send, the door must only stay right and come back
        "answered": not rate or during.answered >= LIMITS["answered"] * during.asked > 0,
        "no_wrong_stamp": quiet.wrong == during.wrong == after.wrong == 0,
        "memory": grown_mb <= LIMITS["memory_mb"],
        "normal_after": after.at_once == after.asked > 0,
    }
    return {
        "kind": kind,
        "asked_rate_per_s": rate,
        "sent_per_s": round(told.get("per_s", 0.0)),
        "for_s": for_s,
        "sources": sources,
        "quiet": asdict(quiet),
        "during": asdict(during),
        "after": asdict(after),
        "memory_mb": {"before": round(before_mb, 1), "grown": round(grown_mb, 1)},
        "counted": counted,
        "met": met,
    }


def in_own_process(  # noqa: PLR0917 - a thread's arguments
    port: int, rate: float, for_s: float, sources: int, kind: str, told: dict[str, float]
) -> None:
    """Flood from a process of its own, so that the honest clients do not wait for this one's interpreter."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        mine: dict[str, float] = {}
        try:
            flood(port, rate=rate, until_s=time.monotonic() + for_s, sources=sources, kind=kind, told=mine)
            os.write(writing, json.dumps(mine).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    told |= json.loads(os.read(reading, 4096) or b"{}")
    os.close(reading)


def main() -> int:
    """Run the floods and print what came out."""
    options = argparse.ArgumentParser(description="a flood at the NTP door, and what honest clients get")
    options.add_argument("--rate", type=float, default=200_000.0)
    options.add_argument("--for", dest="for_s", type=float, default=30.0)
    options.add_argument("--sources", type=int, default=64)
    options.add_argument("--clients", type=int, default=50)
    options.add_argument("--kind", choices=("plain", "mixed"), default="plain")
    options.add_argument("--out", type=Path)
    told = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(
            Path(folder),
            rate=told.rate,
            for_s=told.for_s,
            sources=told.sources,
            clients=told.clients,
            kind=told.kind,
        )
    text = json.dumps(found, indent=2)
    print(text)
    if told.out is not None:
        told.out.write_text(text + "\n", encoding="utf-8")
    return 0 if all(found["met"].values()) else 1  # type: ignore[attr-defined]


if __name__ == "__main__":
    raise SystemExit(main())
