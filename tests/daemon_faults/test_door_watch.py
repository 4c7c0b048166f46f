"""A door that ended by itself is opened again; one that does so again and again is said to, once."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from truechimer.alerts import AlertSeverity
from truechimer.daemon import door_watch
from truechimer.daemon import doors as door_processes
from truechimer.daemon.door_watch import DoorWatch
from truechimer.daemon.doors import Door
from truechimer.daemon.listener_settings import Listener, Protocol


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
