"""Real NTP servers, honest and lying: Debian's chronyd, each behind a way of its own on which a liar may sit.

chronyd runs with `-x` and `local stratum 1`: it serves this machine's clock and never touches it, so its time is the
truth by which everything here is judged. What a client sees of a lying server is made on the way: the answer's stamps
moved, its other fields written over, silence, copies of answers. Everything stays on loopback and is ended by its own
process id.
"""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.daemon_chrony.chronyds import a_chronyd, answer_of
from tests.daemon_laboratory.laboratories import ask_door, door_error_s, write_lab
from tests.ports import free_port

UNITS_PER_S = 1 << 32
STAMPS = struct.Struct("!QQQQ")
"""Reference, origin, receive and transmit stamp: octets 16 to 48 of an answer."""


def honest(_second: float) -> float:
    return 0.0


class Way(threading.Thread):
    """The way to one server. `lie_s`: what is added to its time, of the seconds since `turn` was called last;
    `rewrite`: what becomes of the whole answer; `hold_s`: how long each answer is held back.
    """

    def __init__(self, server_port: int) -> None:
        super().__init__(daemon=True)
        self.is_silent = False
        self.copies = 1
        self.hold_s = 0.0
        self.rewrite: Callable[[bytearray], None] = lambda _answer: None
        self.questions: list[float] = []
        self._lie_s: Callable[[float], float] = honest
        self._since = time.monotonic()
        self._server_port = server_port
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self._front.settimeout(0.1)
        self.port: int = self._front.getsockname()[1]
        self._ended = threading.Event()

    def turn(self, lie_s: Callable[[float], float] = honest) -> None:
        """Lie like this from now on (honest, where nothing is said)."""
        self._lie_s, self._since = lie_s, time.monotonic()

    def run(self) -> None:
        """Carry questions and answers until `stop`."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
            back.connect(("127.0.0.1", self._server_port))
            back.settimeout(0.5)
            while not self._ended.is_set():
                try:
                    question, client = self._front.recvfrom(2048)
                    self.questions.append(time.monotonic())
                    if self.is_silent:
                        continue
                    answer = answer_of(back, question)
                except OSError:
                    continue
                time.sleep(self.hold_s)
                for _ in range(self.copies):
                    self._front.sendto(self._told(answer), client)
        self._front.close()

    def _told(self, answer: bytes) -> bytes:
        told = bytearray(answer)
        units = round(self._lie_s(time.monotonic() - self._since) * UNITS_PER_S)
        if units:
            reference, origin, receive, transmit = STAMPS.unpack_from(told, 16)
            moved = [(stamp + units) % 2**64 for stamp in (reference, receive, transmit)]
            STAMPS.pack_into(told, 16, moved[0], origin, *moved[1:])
        self.rewrite(told)
        return bytes(told)

    def stop(self) -> None:
        self._ended.set()
        self.join(5)


@contextmanager
def ways_to_chronyd(folder: Path, count: int) -> Iterator[list[Way]]:
    """Run so many chronyd, each behind a way of its own."""
    with ExitStack() as ends:
        ways = []
        for number in range(count):
            port = free_port()
            ends.enter_context(a_chronyd(folder / f"chronyd-{number}", port))
            way = Way(port)
            way.start()
            ends.callback(way.stop)
            ways.append(way)
        yield ways


def a_lab(folder: Path, ways: list[Way], *, bound_limit_s: float = 0.02, operator: str | None = None) -> int:
    """Write the laboratory's file with a source for each way (s0, s1 ..); return the port of its NTP door."""
    door = free_port()
    hand = "" if operator is None else f'operator = "{operator}"\n'
    sources = "".join(
        f'[[source]]\nname = "s{k}"\nkind = "ntp"\naddress = "127.0.0.1:{way.port}"\npoll_s = 0.5\n{hand}'
        for k, way in enumerate(ways)
    )
    head = '[lab]\nname = "hostlab"\nsilence_s = 4.0\n[scale]\ninterval_s = 1.0\n'
    policy = "[policy]\ninsecure_software_keys = true\n"
    listener = f'[[listener]]\nprotocol = "ntp"\nport = {door}\nbound_limit_s = {bound_limit_s}\n'
    write_lab(folder, head + policy + sources + listener)
    return door


@dataclass
class Client:
    """A client that asks a door five times a second for as long as it is entered, and judges every synchronised answer
    by this machine's clock, which is what the honest servers serve.
    """

    door: int
    answers: int = 0
    synchronised: int = 0
    wrong: list[str] = field(default_factory=list)
    worst: float = 0.0
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        assert self._thread is not None
        self._thread.join(10)

    def _ask(self) -> None:
        while not self._ended.wait(0.2):
            try:
                found = ask_door(self.door)
            except OSError:
                continue
            if found is None:
                continue
            self.answers += 1
            if not found.synchronised or found.server_tai_fs is None or found.delay_s is None:
                continue
            self.synchronised += 1
            error_s = abs(door_error_s(found))
            # what the door states, and what this question's own way may have been off by
            bound_s = found.root_distance_s
            self.worst = max(self.worst, error_s / bound_s)
            if error_s > bound_s:
                self.wrong.append(f"{error_s * 1e6:.1f} us off, {bound_s * 1e6:.1f} us stated")
