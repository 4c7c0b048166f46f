"""The compiled NTP loop on real sockets with guard pages around its memory: run by `test_bounds`, which judges.

Run as `python -m tests.adversarial.ntp.guarded FOLDER`. Each array of the memory ends where a page that nobody may
touch begins, or begins where one ends; between datagrams and between names stand octets that nobody may change. Each
life is a process of its own: who touches a guard page dies of it, and a system call that would fails. Says what
happened in each as JSON. The last three do what must not happen.
"""

import ctypes
import json
import mmap
import os
import random
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from tests.adversarial.ntp.loop_memory import a_loop, tails
from tests.waits import until

from truechimer.daemon.door import counters as names
from truechimer.daemon.door.counters import Counters
from truechimer.daemon.door.door_rules import DoorRules
from truechimer.daemon.ntp import ntp_layout, ntp_memory
from truechimer.daemon.ntp.ntp_loop_compiled import CompiledNtpLoop

FOLDER = Path(sys.argv[1])
PAGE = mmap.PAGESIZE
LIBRARY = ctypes.CDLL(None, use_errno=True)
MARK = 0xA5
QUEUE_OCTETS = 80_000
"""Less than the kernel's default room of a socket, with what it takes for each datagram besides its octets."""
kept: list[mmap.mmap] = []


def guarded(octets: int, *, edge: str) -> Any:
    """Return memory between two pages that nobody may touch: it ends where the second begins, or begins where the
    first ends.
    """
    pages = -(-octets // PAGE)
    room = mmap.mmap(-1, (pages + 2) * PAGE)
    kept.append(room)
    at = ctypes.addressof(ctypes.c_char.from_buffer(room))
    for page in (at, at + (pages + 1) * PAGE):
        if LIBRARY.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
    begin = PAGE if edge == "before" else (pages + 1) * PAGE - octets
    return np.frombuffer(room, dtype=np.uint8, count=octets, offset=begin)


@contextmanager
def between_guard_pages(edge: str) -> Iterator[None]:
    """Let `new_memory` make its arrays there."""

    def zeros(shape: Any, dtype: Any) -> Any:
        return guarded(int(np.prod(shape)) * np.dtype(dtype).itemsize, edge=edge).view(dtype).reshape(shape)

    ntp_memory.np = SimpleNamespace(**(vars(np) | {"zeros": zeros}))  # type: ignore[attr-defined]
    try:
        yield
    finally:
        ntp_memory.np = np  # type: ignore[attr-defined]


@contextmanager
def the_loop(edge: str, *, two_per_stamp: bool = False) -> Iterator[CompiledNtpLoop]:
    with between_guard_pages(edge):
        loop = a_loop(FOLDER, DoorRules(rate_per_s=0.0), two_per_stamp=two_per_stamp)
    memory = loop.memory
    assert len(kept) > 20, "new_memory makes its arrays elsewhere"
    ends = {id(memory.octets): ntp_layout.DATAGRAM_ROOM, id(memory.peers): ntp_layout.PEER_ROOM}
    for array in (memory.octets, memory.peers):
        array[:, ends[id(array)] :] = MARK
    try:
        until(lambda: loop.turn(0.01) == 0 and loop._clocks.rate_is_learned, longest_pause_s=0.0)
        yield loop
    finally:
        loop._udp.close()


def said(loop: CompiledNtpLoop) -> dict[str, Any]:
    memory, counters = loop.memory, loop._counters
    gaps = (memory.octets[:, ntp_layout.DATAGRAM_ROOM :], memory.peers[:, ntp_layout.PEER_ROOM :])
    return {
        "received": counters[names.RECEIVED],
        "answered": sum(counters[name] for name in names.NAMES if name.startswith("replies_")),
        "faults": counters[names.FAULTS],
        "receive_failed": counters[names.RECEIVE_FAILED],
        "send_failed": counters[names.SEND_FAILED],
        "departures": counters[names.DEPARTURES_STAMPED],
        "between": "untouched" if all((gap == MARK).all() for gap in gaps) else "written",
    }


def questions(draw: random.Random) -> Iterator[bytes]:
    for length in [*range(0, 1501, 3), *[48] * 300, *range(2030, 2060), 9_000, 65_507]:
        for first in (0x23, 0x1B, draw.randrange(256)):
            # a third may be interleaved: origin, receive and transmit stamps that differ
            head = bytes([first]) + (draw.randbytes(47) if draw.randrange(3) == 0 else bytes(39) + draw.randbytes(8))
            tail = draw.choice(list(tails(draw, max(0, min(length, 2048) - 48))))
            yield (head + tail.ljust(max(0, length - 48), b"\1"))[:length]


def life(edge: str) -> dict[str, Any]:
    """Serve questions of all lengths in bursts, from IPv4; tell what came of it."""
    with (
        the_loop(edge, two_per_stamp=edge == "after") as loop,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        client.connect(("127.0.0.3", loop._udp.port))
        client.settimeout(0.0)
        sent = answers = 0
        draw, heard_last = random.Random(edge), list[bytes]()
        waiting = list(questions(draw))
        draw.shuffle(waiting)
        while waiting:
            # one, a short batch, and batches that are full and more, as far as the socket's queue holds them
            burst, room = draw.choice([1, 5, 64, 70, 130]), QUEUE_OCTETS
            while waiting and burst and room > 0:
                if room < QUEUE_OCTETS and len(waiting[-1]) > room:
                    break
                octets = waiting.pop()
                if len(octets) == 48 and heard_last:  # interleaved: the kernel is asked when the answer leaves
                    octets = b"\x23" + bytes(23) + heard_last.pop()[32:40] + draw.randbytes(16)
                client.send(octets)
                sent, burst, room = sent + 1, burst - 1, room - 1_000 - 2 * len(octets)
            serve_until(loop, received=sent)
            answers += heard(client, heard_last)
        return said(loop) | {"sent": sent, "answers": answers}


def serve_until(loop: CompiledNtpLoop, *, received: int) -> None:
    until(lambda: loop.turn(0.003) + 1 > 0 and loop._counters[names.RECEIVED] >= received, longest_pause_s=0.0)


def heard(client: socket.socket, last: list[bytes]) -> int:
    """Return how many answers wait, of 48 octets every one, and keep the last."""
    count = 0
    while True:
        try:
            octets = client.recv(4096)
        except BlockingIOError:
            return count
        assert len(octets) == 48
        last[:] = [octets]
        count += 1


def an_address_beyond(edge: str) -> dict[str, Any]:
    with the_loop(edge) as loop:
        at = int(loop.memory.addresses[ntp_layout.AT_CLOCK]) + (8 if edge == "after" else -8)
        ntp_memory.read_clock(ntp_layout.CLOCK_MONOTONIC_RAW, loop.memory.clock, at)
        return said(loop)


def a_length_too_long() -> dict[str, Any]:
    with the_loop("after") as loop, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", loop._udp.port))
        memory = loop.memory
        memory.vectors_in[0, 0] = memory.addresses[ntp_layout.AT_OCTETS] + memory.octets.nbytes - 100
        for length in (100, 101):  # the first fits up to the guard page, the second does not
            client.send(bytes(length))
            loop.turn(0.01)
        return said(loop)


def in_a_process(what: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do it in a process of its own; `status` is negative where a signal ended it."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            os.write(writing, json.dumps(what()).encode())
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - a child's only way to say it
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"status": status, **(json.loads(told) if told else {})}


def main() -> None:
    """Live all lives."""
    warm = a_loop(FOLDER, DoorRules(rate_per_s=0.0))
    warm.warm_up()  # machine code is made, or read, once
    warm._udp.close()
    assert isinstance(warm._counters, Counters)
    says = {edge: in_a_process(lambda edge=edge: life(edge)) for edge in ("before", "after")}  # type: ignore[misc]
    says["an address too far, by this process"] = in_a_process(lambda: an_address_beyond("after"))
    says["an address too early, by this process"] = in_a_process(lambda: an_address_beyond("before"))
    says["a length too long, by the kernel"] = in_a_process(a_length_too_long)
    print(json.dumps(says))


if __name__ == "__main__":
    main()
