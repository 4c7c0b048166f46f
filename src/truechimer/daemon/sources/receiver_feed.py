"""Receiver feed: a receiver's messages, from a file that grows, a pipe or a serial device, into evidence for the fold.

It judges nothing (`laboratory.receiving`). Messages of `every_s` become one entry: the newest of them, with the worst
of the flags. What stood in a file when the laboratory started lies in the past: the receiver alone dates it. What comes
while it runs is stamped with the host's label when it is heard.
"""

import contextlib
import os
import queue
import select
import stat
import termios
import tty
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from truechimer.compare.receiver_epoch import ReceiverEpoch, earth_fixed
from truechimer.compare.receiver_quality import Limits
from truechimer.compare.receiver_stream import ReceiverStream
from truechimer.daemon.lab.receiver_settings import ReceiverSettings
from truechimer.daemon.sources.feeds import Batch, Feed, HostLabel, SourceStatus
from truechimer.formats.finding import Finding
from truechimer.instants import LeapTable
from truechimer.laboratory.receiving import Evidence, Receiver

PIECE_BYTES = 1 << 18
LOOK_S = 0.2
AGAIN_S = 5.0
"""After a device that could not be opened, or ended."""
KIND = "receiver"


def receiver_of(settings: ReceiverSettings) -> Receiver:
    """Return a receiver of the laboratory's file as the fold knows it."""
    antenna = None
    if settings.latitude_deg is not None and settings.longitude_deg is not None and settings.height_m is not None:
        antenna = earth_fixed(settings.latitude_deg, settings.longitude_deg, settings.height_m)
    return Receiver(
        name=settings.name,
        link=settings.link,
        antenna_m=antenna,
        on_laboratory_clock=settings.on_laboratory_clock,
        span_s=settings.averages_s,
        limits=Limits(
            clock_s=settings.clock_limit_s,
            clock_rate=settings.clock_rate,
            utc_minus_gps_s=settings.utc_minus_gps_s,
            date_s=settings.date_limit_s,
        ),
    )


class Thinning:
    """Epochs into entries of the records: the newest of `every_s`, with the worst flags of all of them."""

    def __init__(self, every_s: float) -> None:
        self._every_ns = round(every_s * 1e9)
        self._given_ns: int | None = None
        self._given_flags = (0, 0, True)
        self._held: ReceiverEpoch | None = None

    def take(self, epoch: ReceiverEpoch) -> ReceiverEpoch | None:
        """Take an epoch in; return an entry where one is due, or where a flag is worse than was said last."""
        if self._held is not None:
            epoch = replace(
                epoch,
                jamming=max(epoch.jamming, self._held.jamming),
                spoofing=max(epoch.spoofing, self._held.spoofing),
                fix_ok=False if self._held.fix_ok is False else epoch.fix_ok,
            )
        flags = (epoch.jamming, epoch.spoofing, epoch.fix_ok is not False)
        said = self._given_flags
        worse = flags[0] > said[0] or flags[1] > said[1] or (said[2] and not flags[2])
        # a date that leaps either way is due at once too
        due = self._given_ns is None or not 0 <= epoch.epoch_tai_ns - self._given_ns < self._every_ns
        if not (due or worse):
            self._held = epoch
            return None
        self._held, self._given_ns, self._given_flags = None, epoch.epoch_tai_ns, flags
        return epoch


class ReceiverFeed(Feed):
    """One receiver. `number`: its place among those of the run; `after_ns`: what the laboratory knows of it already."""

    def __init__(
        self,
        settings: ReceiverSettings,
        number: int,
        path: Path,
        out: "queue.Queue[Batch]",
        *,
        label: HostLabel,
        leaps: LeapTable,
        raw_now_ns: Callable[[], int],
        on_fault: Callable[[str, Finding], None],
        after_ns: int = 0,
    ) -> None:
        super().__init__(settings.name, SourceStatus(settings.name, KIND, settings.link), out)
        self.path, self.number = path, number
        self._settings, self._label, self._raw_now_ns, self._on_fault = settings, label, raw_now_ns, on_fault
        self._after_ns = after_ns
        self._stream = ReceiverStream(leaps)
        self._thinning = Thinning(settings.every_s)
        self._offset, self._inode = 0, 0

    @property
    def offset(self) -> int:
        """How many bytes of the file have been read."""
        return self._offset

    def size(self) -> int:
        """Return the size of the file; 0 for what is none."""
        try:
            found = self.path.stat()
        except OSError:
            return 0
        return found.st_size if stat.S_ISREG(found.st_mode) else 0

    def backlog(self) -> Iterator[Batch]:
        """Yield what the file holds now, in its order: dated by the receiver, never back and never ahead of now."""
        end, last_ns = self.size(), self._after_ns
        while self._offset < end and not self._ended.is_set():
            data = self._read_file()
            if not data:
                return
            now_ns = self._label.at(self._raw_now_ns())
            for epoch in self._entries(data):
                if epoch.epoch_tai_ns <= self._after_ns:
                    continue
                last_ns = max(last_ns, min(epoch.epoch_tai_ns, now_ns))
                yield Batch(last_ns, None, (), source=self.status.name, evidence=(Evidence(self.number, 0, epoch),))

    def skip_past(self) -> None:
        """Leave out what the file holds now: nothing takes it in."""
        self._offset = self.size()
        with contextlib.suppress(OSError):
            self._inode = self.path.stat().st_ino

    def follow(self) -> None:
        """Follow the file or the device."""
        try:
            mode = self.path.stat().st_mode
        except OSError as error:
            self._say_away(error)
            return
        if stat.S_ISREG(mode):
            while not self._ended.is_set():
                try:
                    data = self._read_file()
                except OSError as error:
                    self._say_away(error)
                    return
                self._hear(data)
                if len(data) < PIECE_BYTES:
                    self._ended.wait(LOOK_S)
        else:
            self._follow_device()

    def _follow_device(self) -> None:
        """Read a serial device or a pipe until it ends."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            self._say_away(error)
            return
        try:
            if os.isatty(descriptor):
                _make_raw(descriptor, self._settings.baud)
            while not self._ended.is_set():
                readable, _, _ = select.select([descriptor], [], [], LOOK_S)
                if not readable:
                    continue
                data = os.read(descriptor, PIECE_BYTES)
                if not data:  # nobody writes into the pipe, or the device is gone
                    self._ended.wait(LOOK_S)
                    if not self.path.exists():
                        return
                self._hear(data)
        except (OSError, termios.error) as error:
            self._say_away(error)
        finally:
            os.close(descriptor)

    def _read_file(self) -> bytes:
        """Return the next piece; a file that was cut or replaced is read from its beginning."""
        with self.path.open("rb") as file:
            found = os.fstat(file.fileno())
            if self._offset and (found.st_ino != self._inode or found.st_size < self._offset):
                self._offset = 0
            self._inode = found.st_ino
            data = os.pread(file.fileno(), PIECE_BYTES, self._offset)
        self._offset += len(data)
        return data

    def _hear(self, data: bytes) -> None:
        """Take in what comes now."""
        if not data:
            return
        self.status.says = ""
        for epoch in self._entries(data):
            raw_ns = self._raw_now_ns()
            heard_ns = self._label.at(raw_ns)
            self.status.last_raw_ns = raw_ns
            evidence = (Evidence(self.number, heard_ns, epoch),)
            self._out.put(Batch(heard_ns, raw_ns, (), source=self.status.name, evidence=evidence))

    def _entries(self, data: bytes) -> Iterator[ReceiverEpoch]:
        epochs, findings = self._stream.take(data)
        for finding in findings:
            self._on_fault(self.status.name, finding)
        for epoch in epochs:
            self.status.answers += 1
            entry = self._thinning.take(epoch)
            if entry is not None:
                yield entry

    def _say_away(self, error: Exception) -> None:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        says = f"{self.path.name}: {reason}; check the receiver and its line"
        if self.status.says != says:
            self.status.failures += 1
            self.status.says = says
        self._ended.wait(AGAIN_S)

    def use_leaps(self, leaps: LeapTable) -> None:
        """Read UTC dates by another table from the next epoch on."""
        self._stream.use_leaps(leaps)


def _make_raw(descriptor: int, baud: int | None) -> None:
    """Make a serial line give its bytes as they are. Raises `termios.error` for a speed that it does not have."""
    tty.setraw(descriptor, termios.TCSANOW)
    if baud is not None:
        speed = getattr(termios, f"B{baud}", None)
        if speed is None:
            raise termios.error(f"this system knows no speed of {baud} for a serial line")
        settings = termios.tcgetattr(descriptor)
        settings[4] = settings[5] = speed
        termios.tcsetattr(descriptor, termios.TCSANOW, settings)
