"""The clock of a network card (PHC, `/dev/ptpN`): opened, asked what it can, and read beside the raw counter.

It steers nothing and relates nothing over time (`daemon.ntp.card_clock` does). Source: the kernel's `ptp_clock.h`,
`Documentation/driver-api/ptp.rst` and clock_gettime(2) on a clock of a device. Of the ways to read both clocks the
best that the card and the kernel offer is used: PRECISE (the card latches both), EXTENDED against the raw counter
(Linux 6.12 on), else the device's clock between two readings of the raw counter. Ways through CLOCK_REALTIME are not
used: a step of it would be the card's.
"""

import fcntl
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from truechimer.errors import Rejected

NS_PER_S = 10**9
CLOCK_MONOTONIC_RAW = 4
CLOCK_OF_A_DESCRIPTOR = 3
"""The low bits of a clock id that stands for a device: clock_gettime(2), `posix-timers.h`."""

_CAPS = struct.Struct("=8i48x")
_TIME = struct.Struct("=qII")
_PRECISE_OCTETS = 64
MOST_SAMPLES = 25
SAMPLES = 5
_EXTENDED_HEAD = struct.Struct("=Ii8x")
_EXTENDED_OCTETS = _EXTENDED_HEAD.size + MOST_SAMPLES * 3 * _TIME.size

_WRITE, _READ = 1, 2


def _request(direction: int, number: int, octets: int) -> int:
    """Return the number of an ioctl of PTP clocks, as `asm-generic/ioctl.h` makes it."""
    return direction << 30 | octets << 16 | ord("=") << 8 | number


PTP_CLOCK_GETCAPS = _request(_READ, 1, _CAPS.size)
PTP_SYS_OFFSET_PRECISE = _request(_READ | _WRITE, 8, _PRECISE_OCTETS)
PTP_SYS_OFFSET_EXTENDED = _request(_READ | _WRITE, 9, _EXTENDED_OCTETS)

Control = Callable[[int, int, bytearray], None]
"""Asks a descriptor a question in place: ioctl(2). Raises `OSError`."""


class PhcRejected(Rejected):
    """A device that is no clock, or one that does not answer."""


class Way(StrEnum):
    """How card and raw counter are read together."""

    PRECISE = "precise"
    EXTENDED = "extended"
    BETWEEN = "between"


@dataclass(frozen=True, slots=True)
class CardReading:
    """The card's clock (ns on its own axis) at one moment of the raw counter (ns), which is right to half of
    `width_ns`.
    """

    raw_ns: int
    card_ns: int
    width_ns: int


@dataclass(frozen=True, slots=True)
class CardCaps:
    """What a card's clock says of itself: `max_adj_ppb` is 0 for one that cannot be steered."""

    max_adj_ppb: int
    precise: bool


def _ioctl(descriptor: int, request: int, data: bytearray) -> None:
    fcntl.ioctl(descriptor, request, data, True)  # noqa: FBT003 - the function's own form: changed in place


def _raw_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


class Phc:
    """One card's clock, open until `close`."""

    def __init__(
        self,
        path: str,
        *,
        control: Control = _ioctl,
        raw_ns: Callable[[], int] = _raw_ns,
        clock_ns: Callable[[int], int] = time.clock_gettime_ns,
    ) -> None:
        """Open the device; the readers are arguments so that a test can stand for the card. Raises `PhcRejected`."""
        self.path = path
        self._control, self._raw_ns, self._clock_ns = control, raw_ns, clock_ns
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise PhcRejected(f"{path} cannot be opened: {error.strerror}; is this user in its group?") from None
        self._ways = list(Way)
        try:
            self.caps = self._caps()
            if not self.caps.precise:
                self._ways.remove(Way.PRECISE)
            self.read()
        except (OSError, PhcRejected) as error:
            self.close()
            said = getattr(error, "strerror", None) or error
            raise PhcRejected(f"{path} is no clock of a network card: {said}") from None

    @property
    def way(self) -> Way:
        """How it is read: the best way that has not failed yet."""
        return self._ways[0]

    @property
    def clock_id(self) -> int:
        """The number by which clock_gettime(2) reads this clock while it is open; negative."""
        return ~self._descriptor << 3 | CLOCK_OF_A_DESCRIPTOR

    def now_ns(self) -> int:
        """Return what the card's clock shows (ns). Raises `OSError` where the card is gone."""
        return self._clock_ns(self.clock_id)

    def read(self) -> CardReading:
        """Read card and raw counter together. Raises `PhcRejected` where nothing answers: the card is gone."""
        while True:
            way = self._ways[0]
            try:
                return {Way.PRECISE: self._precise, Way.EXTENDED: self._extended, Way.BETWEEN: self._between}[way]()
            except OSError as error:
                if len(self._ways) == 1:
                    raise PhcRejected(f"{self.path} does not answer: {error.strerror}") from None
                self._ways.pop(0)  # the kernel is older, or the card cannot: the next way from now on

    def close(self) -> None:
        """Close the device."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _caps(self) -> CardCaps:
        data = bytearray(_CAPS.size)
        self._control(self._descriptor, PTP_CLOCK_GETCAPS, data)
        numbers = _CAPS.unpack(data)
        return CardCaps(numbers[0], bool(numbers[6]))

    def _precise(self) -> CardReading:
        data = bytearray(_PRECISE_OCTETS)
        self._control(self._descriptor, PTP_SYS_OFFSET_PRECISE, data)
        return CardReading(_ns(data, 2), _ns(data, 0), 0)

    def _extended(self) -> CardReading:
        data = bytearray(_EXTENDED_OCTETS)
        _EXTENDED_HEAD.pack_into(data, 0, SAMPLES, CLOCK_MONOTONIC_RAW)
        self._control(self._descriptor, PTP_SYS_OFFSET_EXTENDED, data)
        triples = []
        for sample in range(SAMPLES):
            before, card, after = (_ns(data, 3 * sample + k, head=_EXTENDED_HEAD.size) for k in range(3))
            triples.append((after - before, before, card))
        whole = [one for one in triples if one[0] >= 0]
        if not whole:
            raise OSError(0, "the kernel gave readings that ended before they began")
        width, before, card = min(whole)
        return CardReading(before + width // 2, card, width)

    def _between(self) -> CardReading:
        triples = []
        for _ in range(SAMPLES):
            before = self._raw_ns()
            card = self.now_ns()
            triples.append((self._raw_ns() - before, before, card))
        width, before, card = min(triples)
        return CardReading(before + width // 2, card, width)


def _ns(data: bytearray, place: int, *, head: int = 0) -> int:
    """Return one struct ptp_clock_time in ns. Raises `OSError` for what is none: the next way is taken."""
    seconds, ns, _ = _TIME.unpack_from(data, head + place * _TIME.size)
    if ns >= NS_PER_S:
        raise OSError(0, "the kernel gave a time with more than 10^9 ns in its second")
    return int(seconds) * NS_PER_S + int(ns)
