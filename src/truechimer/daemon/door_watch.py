"""Door watch: a door that ended by itself is opened again, and one that does so again and again is said to.

It ends no door and serves nothing. It never waits for one: the thread that looks is the one that makes the time.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from truechimer.alerts import AlertSeverity
from truechimer.daemon import doors as door_processes
from truechimer.daemon.doors import Door

LOOK_EVERY_S = 1.0
REOPEN_EVERY_S = 5.0
AGAIN_AND_AGAIN = 3
"""So many ends within `WITHIN_S` are no accident."""
WITHIN_S = 600.0


@dataclass(frozen=True, slots=True)
class DoorNews:
    """What to tell of a door: `subject` names it."""

    subject: str
    severity: AlertSeverity
    says: str
    do_next: str


class DoorWatch:
    """Looks at the doors of a laboratory, once a second at the most."""

    def __init__(self, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._next_s = 0.0
        self._ends: dict[str, deque[float]] = {}
        self._told: set[str] = set()

    def look(self, doors: list[Door], folder: Path, *, allow_simulated: bool) -> list[DoorNews]:
        """Open again what ended, in place; return what is to be told: each first end, and once where they do not
        stop.
        """
        now_s, news = self._monotonic_s(), []
        if now_s < self._next_s:
            return []
        self._next_s = now_s + LOOK_EVERY_S
        for index, door in enumerate(doors):
            if door.process.poll() is None:
                continue
            name = f"{door.listener.protocol.value} {door.where}"
            ends = self._ends.setdefault(name, deque(maxlen=AGAIN_AND_AGAIN))
            if ends and now_s - ends[-1] < REOPEN_EVERY_S:
                continue
            ends.append(now_s)
            status = door.process.returncode
            doors[index] = door_processes.begin_door(door.listener, folder, allow_simulated=allow_simulated)
            news += self._news(name, status, [end for end in ends if now_s - end <= WITHIN_S])
        return news

    def _news(self, name: str, status: int | None, ends: list[float]) -> list[DoorNews]:
        """Return what is told of one more end."""
        if len(ends) == 1:
            self._told.discard(name)
            says = f"the door ended by itself (status {status}) and is opened again"
            do_next = "look at what it said before; its clients have a gap of some seconds"
            return [DoorNews(name, AlertSeverity.WARNING, says, do_next)]
        if len(ends) >= AGAIN_AND_AGAIN and name not in self._told:
            self._told.add(name)
            says = f"the door ends again and again ({len(ends)} times within {ends[-1] - ends[0]:.0f} s, last status "
            says += f"{status}); it is opened again every {REOPEN_EVERY_S:.0f} s"
            do_next = "find out who ends it, or what on this machine it cannot use: its clients have no time meanwhile"
            return [DoorNews(name, AlertSeverity.CRITICAL, says, do_next)]
        return []
