"""A worker that does not move is noticed, its socket served by the door, and another begun in its place."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.daemon_serve.doors import a_door, a_page_in
from tests.waits import until

from truechimer.cli.status_verb import screen
from truechimer.daemon.door import doors
from truechimer.daemon.door.counters import WORKERS, Counters, read_counters
from truechimer.daemon.door.doors import Door
from truechimer.daemon.lab.listener_settings import Listener, Protocol
from truechimer.daemon.ntp import serve_workers
from truechimer.daemon.ntp.ntp_loop import NS_PER_S, UdpPort
from truechimer.daemon.ntp.serve_workers import MOVES, STUCK_NS, UNHEARD_NS, Workers

LOOK_NS = NS_PER_S // 10


class Process:
    """A worker's process that says what a test has it say."""

    def __init__(self) -> None:
        self.pid, self.returncode, self.stdin = 4711, cast("int | None", None), None
        reading, self.mouth = os.pipe()
        self.stdout = open(reading, "rb")  # noqa: SIM115 - closed with the workers
        os.set_blocking(reading, False)

    def poll(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        self.returncode = -signal.SIGKILL

    def terminate(self) -> None:
        self.returncode = 0

    def wait(self, _timeout: float | None = None) -> int | None:
        return self.returncode


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Workers, list[Process], Counters]]:
    """The workers of a door with one socket, and the processes that were begun for it."""
    processes: list[Process] = []

    def begin(*_: Any, **__: Any) -> Process:
        processes.append(Process())
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", begin)
    monkeypatch.setattr(serve_workers, "machine_code_is_possible", lambda: True)
    port, counters = UdpPort("127.0.0.1", 0), Counters()
    workers = Workers([port], [], counters, path=None, wanted=True)
    yield workers, processes, counters
    workers.end()
    port.close()
    for one in processes:
        os.close(one.mouth)


def ready(workers: Workers, processes: list[Process], now_ns: int) -> int:
    """Look until a worker is ready; return the time then."""
    before = len(processes)
    while len(processes) == before:
        now_ns += LOOK_NS
        workers.look(now_ns)
    os.write(processes[-1].mouth, b'{"ready": true}\n')
    workers.look(now_ns + LOOK_NS)
    assert workers.uncovered() == []
    return now_ns + LOOK_NS


def test_a_worker_that_moves_again_is_left_its_socket(begun: tuple[Workers, list[Process], Counters]) -> None:
    workers, processes, counters = begun
    now_ns = ready(workers, processes, 0)
    for _ in range(3 * STUCK_NS // LOOK_NS):
        now_ns += LOOK_NS
        os.write(processes[0].mouth, MOVES * 2)
        workers.look(now_ns)
        assert workers.uncovered() == []
    for _ in range(UNHEARD_NS // LOOK_NS):
        now_ns += LOOK_NS
        workers.look(now_ns)
    assert (workers.uncovered(), counters[WORKERS]) == ([0], 0), "the door answers for it"
    os.write(processes[0].mouth, MOVES)
    workers.look(now_ns + LOOK_NS)
    assert (workers.uncovered(), counters[WORKERS]) == ([], 1)
    assert processes[0].returncode is None


def test_a_worker_that_does_not_move_is_ended_and_replaced(
    begun: tuple[Workers, list[Process], Counters], capsys: pytest.CaptureFixture[str]
) -> None:
    workers, processes, counters = begun
    now_ns = ready(workers, processes, 0)
    for _ in range(STUCK_NS // LOOK_NS):
        now_ns += LOOK_NS
        workers.look(now_ns)
    assert processes[0].returncode == -signal.SIGKILL
    said = capsys.readouterr().err
    assert "worker 4711 has not moved for 5 s and is ended" in said
    assert said.count("\n") == 1
    ready(workers, processes, now_ns)
    assert (len(processes), counters["worker_deaths"], counters[WORKERS]) == (2, 1, 1)


def test_a_door_that_did_not_run_itself_ends_no_worker(begun: tuple[Workers, list[Process], Counters]) -> None:
    workers, processes, _ = begun
    now_ns = ready(workers, processes, 0)
    workers.look(now_ns + 60 * NS_PER_S)  # the machine stood still, and the worker has had no turn yet
    assert (workers.uncovered(), processes[0].returncode) == ([], None)


@pytest.mark.parametrize(
    ("wanted", "serving", "says"),
    [(2, 2, ""), (0, 0, ""), (2, 1, ", 1 of 2 workers ready"), (1, 0, ", 0 of 1 workers ready")],
)
def test_status_says_how_many_workers_are_missing(
    wanted: int, serving: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "machine_code_is_possible", lambda: True)
    counters = Counters(tmp_path / "counters")
    counters.put(WORKERS, serving)
    counters.close()
    listener = Listener(protocol=Protocol.NTP, port=123, workers=wanted)
    door = Door(listener, SimpleNamespace(pid=1, returncode=None), 123, tmp_path / "counters")  # type: ignore[arg-type]
    row = door.row()
    assert (row["workers"], row["counters"].get("workers", 0)) == (wanted, serving)
    text = " ".join("\n".join(screen({"state": "steered", "listeners": [row]})).split())
    assert says in text
    assert ("workers ready" in text) is bool(says)
    monkeypatch.setattr(doors, "machine_code_is_possible", lambda: False)
    assert door.row()["workers"] == 0, "where there can be none, none is missing"


@pytest.mark.slow
def test_a_stopped_worker_costs_its_clients_a_second_and_is_replaced(tmp_path: Path) -> None:
    with a_page_in(tmp_path), a_door(tmp_path, "--workers", "2", with_workers=True) as door:

        def counts(name: str) -> int:
            return read_counters(door.counters_path())[name]

        until(lambda: counts("workers") == 2)
        children = Path(f"/proc/{door.process.pid}/task/{door.process.pid}/children").read_text(encoding="ascii")
        os.kill(int(children.split()[0]), signal.SIGSTOP)
        until(lambda: all(door.ask() is not None for _ in range(20)))  # whatever socket the kernel chose for them
        until(lambda: counts("worker_deaths") == 1)
        until(lambda: counts("workers") == 2)
        door.process.terminate()
        assert door.process.wait(20) == 0
