"""The laboratory's look at who announces leap seconds: its servers, its receivers, the files of `[utc] leap_notices`.

It votes on nothing (`laboratory.leap_notices` does, in the fold): it gathers voices and hands them over when they are
others than before. A file that cannot be read or contradicts itself has no voice, and is told of once.

What a server's bits say is old by up to a poll interval, and goes down its strata as slowly. So on the first day of a
month they have no voice (an announcement may be last month's), and "no leap second" counts from noon of a month's last
day on.
"""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.compare.link_quality import SILENT_S
from truechimer.compare.receiver_quality import LinkLevel, Reason
from truechimer.daemon.sources.feeds import Batch
from truechimer.formats.finding import Finding
from truechimer.instants import FS_PER_NS, Instant, to_utc
from truechimer.instants.errors import BeforeUtcRejected, OutOfRangeMisuse
from truechimer.instants.mjd import to_calendar
from truechimer.laboratory import leap_notices, replay
from truechimer.laboratory.receiving import Evidence
from truechimer.watch import leap_files, leap_vote
from truechimer.watch.leap_files import LeapFile
from truechimer.watch.leap_vote import LeapSource, Voice

if TYPE_CHECKING:
    from truechimer.daemon.laboratory_process import Laboratory

LOOK_EVERY_S = 5.0
NOON_S = 43_200
AFTER_THE_FOLD_NS = 2 * 10**9
"""Voices change their day so long after the fold does, which keeps what was said last before a moment."""
SATELLITES = "satellites"
"""One provenance: all receivers hear the same notice."""

Seen = tuple[int, int, int]


class LeapTurn:
    """What one laboratory has heard and read so far."""

    def __init__(self) -> None:
        self._next_s = 0.0
        self._seen: dict[str, Seen | None] = {}
        self._files: dict[str, LeapFile] = {}
        self._malformed: dict[str, bytes] = {}
        self._of_receivers: dict[int, Evidence] = {}

    # ---- files ------------------------------------------------------------------------------------------------------

    def turn(self, laboratory: "Laboratory") -> None:
        """Read again the files that have changed, where it is time to; tell of those that are refused."""
        now_s = time.monotonic()
        words = laboratory.started.lab.utc.leap_notices
        if not words or now_s < self._next_s:
            return
        self._next_s = now_s + LOOK_EVERY_S
        for word in words:
            path = laboratory.started.folder / leap_files.named(word)[1]
            found = _seen(path)
            if word in self._seen and self._seen[word] == found:
                continue
            self._seen[word] = found
            self._files.pop(word, None)
            self._malformed.pop(word, None)
            data = _bytes_of(path, found)
            if isinstance(data, Finding):
                _tell(laboratory, path.name, [data])
                continue
            file, faults = leap_files.read(data, name=path.name)
            if file is None:
                self._malformed[word] = hashlib.sha256(data).digest()
                _tell(laboratory, path.name, faults)
            else:
                self._files[word] = file

    def malformed(self) -> int:
        """Return how many contents of files are refused at present: one that lies in two files counts once, and a file
        that is not there is none. Any thread may ask.
        """
        return len(frozenset(self._malformed.values()))

    # ---- voices -----------------------------------------------------------------------------------------------------

    def news(self, laboratory: "Laboratory", batch: Batch, epoch_ns: int) -> tuple[Voice, ...] | None:
        """Return all voices at an epoch where they are others than the fold holds, else None."""
        for one in batch.evidence:
            self._of_receivers[one.receiver] = one
        if batch.raw_ns is None or not laboratory.started.config.leap_need:
            return None
        voices = self._voices(laboratory, epoch_ns)
        return None if voices == laboratory.started.state.leap.voices else voices

    def _voices(self, laboratory: "Laboratory", epoch_ns: int) -> tuple[Voice, ...]:
        state, leaps = laboratory.started.state, laboratory.started.config.leaps
        now_ns = leap_notices.at_ns(epoch_ns, state.coordination, state.host) - AFTER_THE_FOLD_NS
        try:
            label = to_utc(Instant(now_ns * FS_PER_NS), leaps, beyond_expiry="flag")
        except (BeforeUtcRejected, OutOfRangeMisuse):
            return ()
        today = label.mjd
        is_first, is_late = to_calendar(today)[2] == 1, label.second_of_day >= NOON_S
        voices = [] if is_first else self._of_servers(laboratory, today, is_late=is_late)
        voices += self._of_satellites(laboratory, epoch_ns, today, is_late=is_late)
        days = {voice.mjd for voice in voices if voice.step_s}
        days |= {entry.mjd for entry in leaps.entries if entry.mjd > today}
        days |= {vote.mjd for vote in state.leap.votes}
        # a day that one file names is asked of all others
        days |= {voice.mjd for voice in self._of_files(today, ()) if voice.step_s and voice.mjd > today}
        files = self._of_files(today, sorted(days))
        return tuple([*files, *voices][: leap_notices.MOST_VOICES])

    def _of_servers(self, laboratory: "Laboratory", today_mjd: int, *, is_late: bool) -> list[Voice]:
        before = laboratory.started.state.leap.voices
        out: list[Voice] = []
        for feed in laboratory.feeds:
            for name, status in sorted(feed.servers().items()):
                if not status.answers and not status.failures:
                    # not asked yet in this run: what it said to the run before stands
                    out += [one for one in before if one.source is LeapSource.UPSTREAM and one.name == name]
                elif status.reach and (is_late or status.leap != "normal"):
                    provenance = status.operator or name
                    out += leap_vote.of_upstream(status.leap, provenance=provenance, name=name, today_mjd=today_mjd)
        return out

    def _of_satellites(self, laboratory: "Laboratory", epoch_ns: int, today_mjd: int, *, is_late: bool) -> list[Voice]:
        """Return what receivers relay of the navigation message, but for those that are silent, or refused for
        something else.
        """
        started = laboratory.started
        out: list[Voice] = []
        month_end = leap_vote.month_end_after(today_mjd)
        for number, one in sorted(self._of_receivers.items()):
            if number >= len(started.state.receivers) or epoch_ns - one.heard_ns > SILENT_S * 1e9:
                continue
            receiver = started.state.receivers[number]
            if any(level is LinkLevel.REFUSED and why is not Reason.LEAP_SECOND for why, level in receiver.reasons):
                continue
            said, in_s = one.epoch.leap_change_s, one.epoch.leap_change_in_s
            if said in {1, -1} and in_s is not None and in_s > 0:
                event = Instant((one.epoch.epoch_tai_ns + (in_s + 2) * 10**9) * FS_PER_NS)
                day = to_utc(event, started.config.leaps, beyond_expiry="flag").mjd
                if day > today_mjd:
                    out.append(Voice(SATELLITES, LeapSource.RECEIVER, receiver.name, day, said))
            elif one.epoch.leap_s is not None and not said and is_late and today_mjd == month_end - 1:
                out.append(Voice(SATELLITES, LeapSource.RECEIVER, receiver.name, month_end, 0))
        return out

    def _of_files(self, today_mjd: int, days: Sequence[int]) -> list[Voice]:
        out: list[Voice] = []
        for word, file in self._files.items():
            provenance, path = leap_files.named(word)
            found = leap_files.voices(file, provenance=provenance, name=Path(path).name, today_mjd=today_mjd, days=days)
            # an old bulletin says nothing of what is to come
            out += [voice for voice in found if voice.mjd > today_mjd or voice.mjd in days]
        return out


def _seen(path: Path) -> Seen | None:
    try:
        of = path.stat()
    except (OSError, ValueError):
        return None
    return of.st_ino, of.st_size, of.st_mtime_ns


def _bytes_of(path: Path, found: Seen | None) -> bytes | Finding:
    if found is None:
        return Finding("unreadable-file", "it is not there, or cannot be looked at")
    if not path.is_file():
        return Finding("unreadable-file", "it is no ordinary file")
    if found[1] > leap_files.LARGEST_FILE:
        return Finding("too-long", f"{found[1]} bytes; such a file has at most {leap_files.LARGEST_FILE}")
    try:
        with path.open("rb") as file:
            return file.read(leap_files.LARGEST_FILE)
    except OSError as error:
        return Finding("unreadable-file", error.strerror or "it cannot be read")


def _tell(laboratory: "Laboratory", name: str, faults: list[Finding]) -> None:
    """Have the operator told that a file on leap seconds has no voice."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name[-80:])
    seen_ns = laboratory.started.label.at(laboratory.clocks.raw_ns())
    more = "" if len(faults) == 1 else f", and {len(faults) - 1} more"
    laboratory.note(
        Alert(
            AlertKind.BULLETIN_REFUSED,
            replay.DAEMON,
            shown,
            AlertSeverity.WARNING,
            f"{shown} has no voice on leap seconds ({faults[0].rule}): {faults[0].says}{more}",
            (),
            seen_ns,
            "compare it with the publication itself; a corrected file is read at once",
        )
    )
