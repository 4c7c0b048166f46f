"""The folder of published values: each file in it goes through the fold once, when it has come to rest.

It reads no format and judges nothing (`laboratory.publishing` does). A file counts when two looks find it the same, and
again when its bytes are others; names that begin with a dot, links, and what is no ordinary file are left alone. The
law of the file: a file's record is committed with what it changes; what cannot be recorded is not taken.
"""

import os
import stat
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.daemon import notify
from truechimer.laboratory import publishing, replay
from truechimer.laboratory.publishing import LARGEST_FILE, Offered, Outcome, PublishedIn

if TYPE_CHECKING:
    from truechimer.daemon.laboratory_process import Laboratory

LOOK_EVERY_S = 2.0
MOST_FILES = 2_000
"""Files of the folder that are looked at, the first by name."""
REFUSALS_A_MINUTE = 30
"""More wait: nobody may fill the disk with what is refused."""

Seen = tuple[int, int, int]
"""Inode, size and time of the last change of a file."""


class PublishedFolder:
    """The folder of one laboratory: what was seen of each file, and which files were dealt with as they are."""

    def __init__(self) -> None:
        self._next_s = 0.0
        self._seen: dict[str, Seen] = {}
        self._done: dict[str, Seen] = {}
        self._refused_at: deque[float] = deque(maxlen=REFUSALS_A_MINUTE)
        self._trouble = ""

    def turn(self, laboratory: "Laboratory") -> None:
        """Look at the folder where it is time to, and take in one file at most."""
        started = laboratory.started
        name = started.lab.utc.published
        if name is None or started.config.published is None or not started.state.epoch_ns:
            return
        now_s = time.monotonic()
        if now_s < self._next_s or laboratory.journal.trouble is not None or laboratory.journal.is_full:
            return
        if len(self._refused_at) == REFUSALS_A_MINUTE and now_s - self._refused_at[0] < 60.0:
            return
        self._next_s = now_s + LOOK_EVERY_S
        found = self._resting(laboratory, started.folder / name)
        if found is not None:
            self._next_s = now_s  # there may be more
            taken = publishing.take(started.config, started.state, found)
            if taken.outcome is Outcome.REFUSED:
                self._refused_at.append(now_s)
            started.state = taken.state
            laboratory.keep_record(taken.record)
            if taken.outcome is Outcome.REFUSED:
                laboratory.note(_alert(laboratory, found, taken))
            else:
                notify.say_line(f"{found.name!a}: {taken.says}")
                laboratory.settle()

    def _resting(self, laboratory: "Laboratory", folder: Path) -> Offered | None:
        """Return the first file that is at rest and whose bytes are new; None where there is none."""
        here = self._look(folder)
        for name in sorted(here):
            seen = here[name]
            if self._done.get(name) == seen or self._seen.get(name) != seen:
                continue
            if seen[1] > LARGEST_FILE:
                self._done[name] = seen
                says = f"{seen[1]} bytes; a file of published values has at most {LARGEST_FILE}: cut it into parts"
                laboratory.note(_refusal(laboratory, name, "too-long", says, ()))
                continue
            data = _bytes_of(folder / name, seen)
            if data is None:
                continue  # it has just changed, or cannot be read: the next look sees
            self._done[name] = seen
            offered = Offered(name, data)
            if not publishing.is_known(laboratory.started.state, offered):
                self._seen = here
                return offered
        self._seen = here
        return None

    def _look(self, folder: Path) -> dict[str, Seen]:
        """Return the ordinary files of the folder; says once why it cannot be looked at."""
        found: dict[str, Seen] = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if len(found) >= MOST_FILES:
                        break
                    if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                        of = entry.stat(follow_symlinks=False)
                        found[entry.name] = (of.st_ino, of.st_size, of.st_mtime_ns)
        except FileNotFoundError:
            pass  # made by `open_run`, and may be taken away
        except OSError as error:
            if self._trouble != (error.strerror or ""):
                self._trouble = error.strerror or ""
                notify.say_line(f"{folder.name}: published values cannot be looked at ({self._trouble})")
            return {}
        self._trouble = ""
        self._done = {name: seen for name, seen in self._done.items() if name in found}
        return found


def _bytes_of(path: Path, seen: Seen) -> bytes | None:
    """Return the bytes of a file, None where it is not the one that was seen any more."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        of = os.fstat(descriptor)
        if not stat.S_ISREG(of.st_mode) or (of.st_ino, of.st_size, of.st_mtime_ns) != seen:
            return None
        pieces = []
        left = seen[1] + 1
        while left > 0 and (piece := os.read(descriptor, left)):
            pieces.append(piece)
            left -= len(piece)
        data = b"".join(pieces)
        return data if len(data) == seen[1] else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _alert(laboratory: "Laboratory", offered: Offered, taken: PublishedIn) -> Alert:
    because = (f"sha256 {offered.digest}", f"record {taken.record.seq}")
    return _refusal(laboratory, offered.name, taken.reason, taken.says, because)


def _refusal(laboratory: "Laboratory", name: str, reason: str, says: str, because: tuple[str, ...]) -> Alert:
    """Return the alert that a file was refused."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name[-80:])
    seen_ns = laboratory.started.label.at(laboratory.clocks.raw_ns())
    do_next = "compare it with the publication itself; a corrected file in the folder is taken in at once"
    return Alert(
        AlertKind.BULLETIN_REFUSED,
        replay.DAEMON,
        shown,
        AlertSeverity.WARNING,
        f"{shown} was refused ({reason}): {says}",
        because,
        seen_ns,
        do_next,
    )
