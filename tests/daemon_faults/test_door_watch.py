"""A door that ended by itself is opened again; one that does so again and again is said to, once."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.daemon.door import counters as names
from truechimer.daemon.door import door_watch
from truechimer.daemon.door import doors as door_processes
from truechimer.daemon.door.counters import Counters
from truechimer.daemon.door.door_watch import DoorWatch
from truechimer.daemon.door.doors import Adopted, Door
from truechimer.daemon.lab.listener_settings import Listener, Protocol


@dataclass
class Process:
    """A door's process that the test ends."""

    pid: int = 7
    returncode: int | None = None

    def poll(self) -> int | None:
        return self.returncode


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Listener]:
    """Every door that was begun anew; each ends at once."""
    seen: list[Listener] = []

    def begin(listener: Listener, _folder: Path, *, allow_simulated: bool) -> Door:
        seen.append(listener)
        return Door(listener, Process(returncode=2), 123, None)  # type: ignore[arg-type]

    monkeypatch.setattr(door_processes, "begin_door", begin)
    return seen


def test_each_first_end_is_a_warning_and_what_does_not_stop_is_critical_once(begun: list[Listener]) -> None:
    now = [0.0]
    watch = DoorWatch(monotonic_s=lambda: now[0])
    good = Door(Listener(protocol=Protocol.NTP, port=124), Process(), 124, None)  # type: ignore[arg-type]
    bad = Door(Listener(protocol=Protocol.NTP, port=123), Process(returncode=-9), 123, None)  # type: ignore[arg-type]
    doors, told = [good, bad], []
    for _ in range(600):
        told += watch.look(doors, Path("none"), allow_simulated=False)
        now[0] += 0.2
    assert doors[0] is good
    assert [news.severity for news in told] == [AlertSeverity.WARNING, AlertSeverity.CRITICAL]
    assert "status -9" in told[0].says
    assert "again and again" in told[1].says
    assert 120.0 / door_watch.REOPEN_EVERY_S - 5 <= len(begun) <= 120.0 / door_watch.REOPEN_EVERY_S + 1
    # it holds for long, then ends once more: that is news again
    held = Process()
    doors[1] = Door(bad.listener, held, 123, None)  # type: ignore[arg-type]
    now[0] += 1_000.0
    assert watch.look(doors, Path("none"), allow_simulated=False) == []
    held.returncode = 1
    now[0] += 2.0
    (news,) = watch.look(doors, Path("none"), allow_simulated=False)
    assert news.severity is AlertSeverity.WARNING


def test_a_door_that_stands_still_is_said_once_until_it_moves_again(tmp_path: Path) -> None:
    now, written = [0.0], [10**18]
    watch = DoorWatch(monotonic_s=lambda: now[0])
    Counters(tmp_path / "counters").close()
    door = Door(Listener(protocol=Protocol.NTP, port=123), Process(), 123, tmp_path / "counters")  # type: ignore[arg-type]

    def told(looks: int, *, moves: bool) -> list[str]:
        found = []
        for _ in range(looks):
            written[0] += 10**8 * moves
            os.utime(tmp_path / "counters", ns=(written[0], written[0]))
            now[0] += 1.5
            found += [news.says for news in watch.look([door], tmp_path, allow_simulated=False)]
        return found

    assert told(50, moves=True) == []
    (says,) = told(50, moves=False)
    assert "(7) does not move" in says
    assert told(1, moves=True) == []
    now[0] += 3_600.0  # both were frozen: one look alone says nothing
    assert told(door_watch.STILL_LOOKS - 1, moves=False) == []
    assert told(1, moves=True) == []
    assert len(told(50, moves=False)) == 1


def test_workers_that_end_are_said_and_critical_once_where_they_do_not_stop(tmp_path: Path) -> None:
    now = [0.0]
    watch = DoorWatch(monotonic_s=lambda: now[0])
    counters = Counters(tmp_path / "counters")
    door = Door(Listener(protocol=Protocol.NTP, port=123), Process(), 123, tmp_path / "counters")  # type: ignore[arg-type]

    def died(count: int) -> list[AlertSeverity]:
        counters.add(names.WORKER_DEATHS, count)
        counters.flush()
        now[0] += 2.0
        told = watch.look([door], tmp_path, allow_simulated=False)
        assert {news.kind for news in told} <= {AlertKind.DOOR_ENDED}
        return [news.severity for news in told]

    assert died(0) == []
    assert died(1) == [AlertSeverity.WARNING]
    assert died(0) == died(1) == []
    assert died(1) == [AlertSeverity.CRITICAL]
    assert died(1) == []
    counters.put(names.WORKER_DEATHS, 0)  # another door took its place
    assert died(0) == []
    now[0] += 2 * door_watch.WITHIN_S
    assert died(2) == [AlertSeverity.WARNING]
    watch = DoorWatch(monotonic_s=lambda: now[0])  # the next laboratory takes the door over
    door.process = Adopted(os.getpid())
    assert died(0) == [], "what ended under another laboratory is no news"
    assert died(1) == [AlertSeverity.WARNING]
    os.close(door.process._descriptor)
    counters.close()
