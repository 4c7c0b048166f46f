"""Door watch: a door that ended by itself is opened again, and one that does so again and again is said to; so is one
whose own client finds its answers wrong, or none, and one that stands still.

It ends no door and serves nothing. It never waits for one: the thread that looks is the one that makes the time.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.daemon.door import counters as names
from truechimer.daemon.door import doors as door_processes
from truechimer.daemon.door.counters import CountersRejected, read_counters
from truechimer.daemon.door.doors import Adopted, Door
from truechimer.daemon.door.probed import is_off

LOOK_EVERY_S = 1.0
REOPEN_EVERY_S = 5.0
AGAIN_AND_AGAIN = 3
"""So many ends within `WITHIN_S` are no accident."""
WITHIN_S = 600.0
SILENT_PROBES = 5
STILL_LOOKS = 15
"""A door writes its counters ten times a second; so many looks in a row that find them as they were are no accident.
Looks are counted, not seconds: who was frozen together with the door finds it moving at the next one.
"""


@dataclass(frozen=True, slots=True)
class DoorNews:
    """What to tell of a door: `subject` names it."""

    subject: str
    severity: AlertSeverity
    says: str
    do_next: str
    kind: AlertKind = AlertKind.DOOR_ENDED


class DoorWatch:
    """Looks at the doors of a laboratory, once a second at the most."""

    def __init__(self, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._next_s = 0.0
        self._ends: dict[str, deque[float]] = {}
        self._told: set[str] = set()
        self._probes: dict[str, tuple[int, int]] = {}
        self._wrong: dict[str, str] = {}
        self._deaths: dict[str, int] = {}
        self._still: dict[str, tuple[int, int]] = {}

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
                news += self._counted(door, now_s)
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

    def _counted(self, door: Door, now_s: float) -> list[DoorNews]:
        """Return what a door's own counters tell: of its own client, and of its workers."""
        if door.counters is None:
            return []
        try:
            counts = read_counters(door.counters)
            written_ns = door.counters.stat().st_mtime_ns
        except (CountersRejected, OSError):
            return []
        name = f"{door.listener.protocol.value} {door.where}"
        if isinstance(door.process, Adopted):  # what ended before this laboratory began was told by another
            self._deaths.setdefault(name, counts[names.WORKER_DEATHS])
        told = self._stands_still(door, name, written_ns)
        return [*told, *self._probed(door, name, counts), *self._buried(name, counts[names.WORKER_DEATHS], now_s)]

    def _stands_still(self, door: Door, name: str, written_ns: int) -> list[DoorNews]:
        """Return what is told of a door that has written nothing for long: once, until it writes again."""
        before, looks = self._still.get(name, (written_ns, 0))
        looks = looks + 1 if before == written_ns else 0
        self._still[name] = (written_ns, looks)
        if looks != STILL_LOOKS:
            return []
        says = f"its process ({door.process.pid}) does not move: it has counted nothing for {STILL_LOOKS} s"
        do_next = (
            "see whether it is stopped (kill -CONT lets it go on), or cannot write its counters: workers that are "
            "ready answer on, but nobody watches or replaces them; where it is ended, the laboratory opens another"
        )
        return [DoorNews(name, AlertSeverity.CRITICAL, says, do_next, AlertKind.SERVE_ERROR)]

    def _buried(self, name: str, deaths: int, now_s: float) -> list[DoorNews]:
        """Return what is told of workers that ended by themselves: the first, and once where they do not stop."""
        before, self._deaths[name] = self._deaths.get(name, 0), deaths
        if deaths <= before:
            return []
        who = f"{name}, worker"
        ends = self._ends.setdefault(who, deque(maxlen=AGAIN_AND_AGAIN))
        ends.extend([now_s] * (deaths - before))
        recent = [end for end in ends if now_s - end <= WITHIN_S]
        do_next = "look at what it said, and whether the kernel ended it for want of memory; the door answers meanwhile"
        if len(recent) >= AGAIN_AND_AGAIN and who not in self._told:
            self._told.add(who)
            says = (
                f"its workers end again and again ({deaths} times since it opened), and are replaced ever more slowly"
            )
            return [DoorNews(name, AlertSeverity.CRITICAL, says, do_next)]
        if len(recent) == deaths - before:
            self._told.discard(who)
            says = f"{deaths - before} of its workers ended by itself and is replaced"
            if deaths - before > 1:
                says = f"{deaths - before} of its workers ended by themselves and are replaced"
            return [DoorNews(name, AlertSeverity.WARNING, says, do_next)]
        return []

    def _probed(self, door: Door, name: str, counts: dict[str, int]) -> list[DoorNews]:
        """Return what the door's own client has newly found: answers that are wrong, or none at all."""
        asked, unanswered = counts[names.PROBES], counts[names.PROBES_UNANSWERED]
        since = self._probes.setdefault(name, (asked, unanswered))
        if asked < since[0] or asked - since[0] > unanswered - since[1]:
            self._probes[name] = since = (asked, unanswered)  # something was answered, or the door began anew
        error_ns, half_ns = counts[names.SERVE_ERROR_NS], counts[names.SERVE_ERROR_HALF_DELAY_NS]
        wrong = ""
        if counts[names.PROBE_BARRED]:
            self._probes[name] = (asked, unanswered)  # what it may not ask, nobody leaves unanswered
        elif asked - since[0] >= SILENT_PROBES:
            wrong = "silent"
        elif is_off(counts, accelerated=door.listener.accelerator):
            wrong = "wrong"
        before, self._wrong[name] = self._wrong.get(name, ""), wrong
        if wrong in {"", before}:
            return []
        if wrong == "silent":
            says = f"its own client had no answer {SILENT_PROBES} times in a row"
            do_next = "look whether the machine is overloaded, or a firewall stands before the port"
            return [DoorNews(name, AlertSeverity.WARNING, says, do_next, AlertKind.SERVE_ERROR)]
        says = (
            f"its answers are {error_ns / 1e9:+.6f} s off the page that it serves, more than half their delay "
            f"({half_ns / 1e9:.6f} s) and what stamps may be off explain"
        )
        do_next = "close this listener until its stamps are understood: clients get a wrong time with a small bound"
        return [DoorNews(name, AlertSeverity.CRITICAL, says, do_next, AlertKind.SERVE_ERROR)]

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
