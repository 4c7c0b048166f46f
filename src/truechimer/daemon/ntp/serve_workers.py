"""Workers of an NTP door: processes that serve its sockets in machine code, started, watched and replaced by the door's
own process, which serves by itself whatever no worker serves.

It answers nobody. The door's process holds every socket as long as it lives: what waits in the socket of a worker that
died is answered by the door itself, at once, and a new worker takes the socket over. So the door answers before machine
code is ready, and where it is not to be had. Source: issue 8, ADR 73.

It must stay small: no numpy, no numba. `serve_worker` is the process.
"""

import importlib.util
import json
import os
import select
import subprocess
import sys
from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from truechimer.daemon import notify
from truechimer.daemon.door import counters as names
from truechimer.daemon.door.counters import NAMES, Counters, CountersRejected, read_counters, together
from truechimer.daemon.journal_log import Priority
from truechimer.daemon.ntp.ntp_loop import NS_PER_S, UdpPort

WORKER_MODULE = "truechimer.daemon.ntp.serve_worker"
AFTER_NS = NS_PER_S // 5
"""Workers begin this long after their door: a start has better things to do with the processor first."""
NO_WORKERS = "TRUECHIMER_NO_WORKERS"
"""In the environment, anything but empty: doors serve by themselves, as with `workers = 0`."""
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""A worker has no use for NumPy's threads, and a process of one thread alone has its descriptors looked up, and its
calls made, without atomic instructions: 2 % of the cost of an answer.
"""
AGAIN_NS = NS_PER_S // 2
AGAIN_MOST_NS = 30 * NS_PER_S
STEADY_NS = 10 * NS_PER_S
"""A worker that lived this long before it died is replaced at once; others after a time that doubles."""
UNHEARD_NS = NS_PER_S
"""A worker says twenty times a second that it moves. From this silence on the door serves its socket too."""
STUCK_NS = 5 * NS_PER_S
"""A worker that is silent for so long (stopped, or in a call that does not end) is ended and replaced."""
MOST_BETWEEN_LOOKS_NS = NS_PER_S // 4
"""Silence is counted by the door's own looks: one that did not run itself has not listened either."""
MOVES = b"."
CANNOT_WORK = 3
"""Status of a worker that has no machine code: it is not started again."""
ENDING_WITHIN_S = 2.0


@dataclass
class Worker:
    """One socket, and the process that serves it."""

    port: UdpPort
    counters: Path | None
    process: "subprocess.Popen[bytes] | None" = None
    ready: bool = False
    silent_ns: int = 0
    started_ns: int = 0
    next_start_ns: int = 0
    wait_ns: int = AGAIN_NS
    hopeless: bool = False
    before: Sequence[int] = field(default_factory=lambda: array("q", bytes(8 * len(NAMES))))
    """What processes counted that have died."""

    @property
    def serves(self) -> bool:
        """Whether its socket needs nobody else."""
        return self.ready and self.silent_ns < UNHEARD_NS


class Workers:
    """The workers of a door: call `look` again and again. `words` is the door's command line without its program;
    nothing is started where machine code is not to be had.
    """

    def __init__(
        self, ports: Iterable[UdpPort], words: Sequence[str], counters: Counters, *, path: Path | None, wanted: bool
    ) -> None:
        """`path`: of the door's counters; beside it each worker has its own. `wanted`: False for a door that serves all
        by itself.
        """
        self._words = list(words)
        self._counters = counters
        self.all = [Worker(port, _beside(path, number)) for number, port in enumerate(ports)]
        self.possible = wanted and machine_code_is_possible()
        self._begun_ns: int | None = None
        self._looked_ns = 0

    def uncovered(self) -> list[int]:
        """Return the places of the sockets that no worker serves."""
        return [place for place, worker in enumerate(self.all) if not worker.serves]

    def look(self, now_ns: int) -> None:
        """Start workers where they are due, hear who is ready and who moves, end who is stuck, note who has died, add
        up what they count.
        """
        if not self.possible:
            return
        listened_ns, self._looked_ns = min(now_ns - self._looked_ns, MOST_BETWEEN_LOOKS_NS), now_ns
        if self._begun_ns is None:
            self._begun_ns = now_ns
        if now_ns - self._begun_ns < AFTER_NS:
            return
        for worker in self.all:
            if worker.process is None:
                if not worker.hopeless and now_ns >= worker.next_start_ns:
                    self._start(worker, now_ns)
            elif worker.process.poll() is not None:
                self._bury(worker, now_ns)
            elif not worker.ready:
                worker.ready = _has_spoken(worker.process)
            else:
                _listen(worker, listened_ns)
        self._counters.beside = [numbers for worker in self.all for numbers in _counted(worker)]
        self._counters.put(names.WORKERS, sum(worker.serves for worker in self.all))

    def wait(self, timeout_s: float) -> None:
        """Wait until a worker dies, at most so long."""
        poll = select.poll()
        for worker in self.all:
            if worker.process is not None and worker.process.stdout is not None:
                poll.register(worker.process.stdout, 0)  # its end alone
        with suppress(InterruptedError):
            poll.poll(timeout_s * 1000.0)

    def end(self) -> None:
        """End all of them."""
        running = [worker.process for worker in self.all if worker.process is not None]
        for process in running:
            process.terminate()
        for worker in self.all:
            if worker.process is None:
                continue
            try:
                worker.process.wait(ENDING_WITHIN_S)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.ready = False
        self._counters.beside = [numbers for worker in self.all for numbers in _counted(worker)]
        self._counters.put(names.WORKERS, 0)
        for worker in self.all:
            _close(worker)
            if worker.counters is not None:
                worker.counters.unlink(missing_ok=True)

    def _start(self, worker: Worker, now_ns: int) -> None:
        """Begin a worker on its socket. Its standard input is a pipe that nobody writes: its end is this door's."""
        descriptor = worker.port.socket.fileno()
        extra = ["--socket-fd", str(descriptor), "--worker-counters", str(worker.counters or "")]
        environment = os.environ | ONE_THREAD | {"TRUECHIMER_KERNELS": "alone"}
        package = str(Path(__file__).parents[3])
        inherited = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = package if not inherited else f"{package}{os.pathsep}{inherited}"
        try:
            worker.process = subprocess.Popen(
                [sys.executable, "-m", WORKER_MODULE, *self._words, *extra],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                pass_fds=(descriptor,),
            )
        except OSError:
            worker.next_start_ns = now_ns + AGAIN_MOST_NS  # no memory, no processes: the door serves by itself
            return
        worker.started_ns = now_ns
        assert worker.process.stdout is not None
        os.set_blocking(worker.process.stdout.fileno(), False)

    def _bury(self, worker: Worker, now_ns: int) -> None:
        """Note that a worker has died; its socket is this door's until the next one is ready."""
        assert worker.process is not None
        worker.hopeless = worker.process.returncode == CANNOT_WORK
        if not worker.hopeless:
            self._counters.add(names.WORKER_DEATHS)
        counted = _counted(worker)
        if counted:
            worker.before = together(*counted)
        _close(worker)
        if worker.counters is not None:
            worker.counters.unlink(missing_ok=True)
        steady = now_ns - worker.started_ns >= STEADY_NS
        worker.wait_ns = AGAIN_NS if steady else min(2 * worker.wait_ns, AGAIN_MOST_NS)
        worker.next_start_ns = now_ns + (0 if steady else worker.wait_ns)
        worker.process, worker.ready, worker.silent_ns = None, False, 0


def machine_code_is_possible() -> bool:
    """Return whether workers make sense here: Numba is installed, and nobody asked for plain Python."""
    if os.environ.get(NO_WORKERS) or os.environ.get("TRUECHIMER_KERNELS") == "plain":
        return False
    if sys.byteorder != "little" or sys.platform != "linux":
        return False
    return importlib.util.find_spec("numba") is not None


def _beside(path: Path | None, number: int) -> Path | None:
    """Return the file of a worker's counters."""
    return None if path is None else path.with_name(f"{path.name}.{number}")


def _has_spoken(process: "subprocess.Popen[bytes]") -> bool:
    """Return whether a worker has said that it serves."""
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
    except (BlockingIOError, OSError):
        return False
    try:
        return bool(line) and json.loads(line).get("ready") is True
    except (ValueError, AttributeError):
        return False


def _listen(worker: Worker, listened_ns: int) -> None:
    """Hear whether a worker moves, and end one that does not: the signal reaches one that is stopped, too."""
    assert worker.process is not None
    assert worker.process.stdout is not None
    try:
        heard = os.read(worker.process.stdout.fileno(), 65_536)
    except BlockingIOError:
        heard = b""
    before, worker.silent_ns = worker.silent_ns, 0 if heard else worker.silent_ns + listened_ns
    if before < STUCK_NS <= worker.silent_ns:
        seconds = STUCK_NS // NS_PER_S
        notify.say_line(
            f"ntp port {worker.port.port}: worker {worker.process.pid} has not moved for {seconds} s and is ended; "
            "the door answers until another takes its place",
            priority=Priority.WARNING,
        )
        worker.process.kill()


def _counted(worker: Worker) -> list[Sequence[int]]:
    """Return what a socket's workers have counted, the dead ones first."""
    found: list[Sequence[int]] = [worker.before]
    if worker.process is not None and worker.counters is not None:
        with suppress(CountersRejected, OSError):
            found.append(array("q", read_counters(worker.counters).values()))
    return found


def _close(worker: Worker) -> None:
    """Close the pipes of a worker that has ended."""
    if worker.process is not None:
        for pipe in (worker.process.stdin, worker.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
