"""What a receiver says of itself in NMEA sentences, by epoch: less than in its own binary messages, and of the same
kind.

It judges nothing (`receiver_quality`). GGA, RMC and ZDA of one time of day belong together; GSV to the epoch that it
follows. A date comes from RMC or ZDA, through the laboratory's leap table. There are neither clock nor gain nor flags
in it, and C/N0 is that of all satellites in view, used or not.
"""

from collections.abc import Iterable, Iterator

from truechimer.compare.receiver_epoch import LEAST_ELEVATION_DEG, ReceiverEpoch, earth_fixed
from truechimer.formats.nmea import Gga, Gsv, Line, Message, Rmc, TimeOfDay, Zda
from truechimer.instants import FS_PER_NS, LeapTable, NoSuchSecondRejected, UtcLabel, from_utc
from truechimer.instants.errors import BeforeUtcRejected, NotADateRejected, OutOfRangeMisuse
from truechimer.instants.mjd import from_calendar

MOST_IN_VIEW = 128


def epochs(lines: Iterable[Line], leaps: LeapTable) -> Iterator[ReceiverEpoch]:
    """Yield the epochs of a whole stream; what says no date is left out."""
    gathering = NmeaGathering(leaps)
    for line in lines:
        epoch = gathering.take(line)
        if epoch is not None:
            yield epoch
    epoch = gathering.rest()
    if epoch is not None:
        yield epoch


class NmeaGathering:
    """The epochs of a stream of sentences: `take` returns one when the next begins."""

    def __init__(self, leaps: LeapTable) -> None:
        self.leaps = leaps
        self.undated = 0
        self._time: TimeOfDay | None = None
        self._gga: Gga | None = None
        self._rmc: Rmc | None = None
        self._zda: Zda | None = None
        self._cno: list[float] = []
        self._viewed = False

    def take(self, line: Line) -> ReceiverEpoch | None:
        """Take a line in; return the epoch that it ends."""
        message = line.message
        if isinstance(message, Gsv):
            self._viewed = True
            for one in message.satellites:
                high = one.elevation_deg is not None and one.elevation_deg >= LEAST_ELEVATION_DEG
                if one.cno_dbhz and high and len(self._cno) < MOST_IN_VIEW:
                    self._cno.append(one.cno_dbhz)
            return None
        if message is None or message.time is None:
            return None
        ended = None
        if self._time is not None and message.time != self._time:
            ended = self._epoch()
            self._gga, self._rmc, self._zda, self._cno, self._viewed = None, None, None, [], False
        self._time = message.time
        self._keep(message)
        return ended

    def rest(self) -> ReceiverEpoch | None:
        """Return the epoch that was gathered last, where the stream has ended."""
        return None if self._time is None else self._epoch()

    def _keep(self, message: Message) -> None:
        if isinstance(message, Gga):
            self._gga = message
        elif isinstance(message, Rmc):
            self._rmc = message
        elif isinstance(message, Zda):
            self._zda = message

    def _epoch(self) -> ReceiverEpoch | None:
        utc_ns = self._utc_ns()
        if utc_ns is None:
            self.undated += 1
            return None
        position, used, fix_ok = None, None, None
        if self._rmc is not None:
            fix_ok = self._rmc.is_valid
        if (gga := self._gga) is not None:
            used = gga.satellites
            fix_ok = gga.quality > 0 and fix_ok is not False
            place = (gga.latitude_deg, gga.longitude_deg, gga.height_m)
            if gga.quality and place[0] is not None and place[1] is not None and place[2] is not None:
                position = earth_fixed(place[0], place[1], place[2])
        return ReceiverEpoch(
            epoch_tai_ns=utc_ns,
            utc_tai_ns=utc_ns,
            fix_ok=fix_ok,
            used=used,
            position_m=position,
            cno_dbhz=tuple(self._cno) if self._viewed else None,
        )

    def _utc_ns(self) -> int | None:
        date = next((one.date for one in (self._zda, self._rmc) if one is not None and one.date is not None), None)
        if date is None or self._time is None:
            return None
        try:
            label = UtcLabel(from_calendar(*date), self._time.second)
            instant = from_utc(label, self.leaps, beyond_expiry="flag")
        except (NotADateRejected, NoSuchSecondRejected, BeforeUtcRejected, OutOfRangeMisuse):
            return None
        return instant.tai_fs // FS_PER_NS + self._time.nano_ns
