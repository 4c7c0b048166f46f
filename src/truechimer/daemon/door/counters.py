"""The serve process's counters: one number for every reply, refusal and fault, in a file that others read while it
runs.

It does not say what a number means for security: monitors do. The order of the numbers is the order of `NAMES`; a
checksum over the names stands in the header, so that a reader of another version refuses instead of mixing them up.
"""

import contextlib
import os
import struct
import zlib
from array import array
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

from truechimer.daemon.host_clocks import StampRefusal
from truechimer.errors import Rejected
from truechimer.serve.ntp.server import IgnoreReason, ReplyKind
from truechimer.serve.served_time import WhyUnsynchronised

RECEIVED = "received"
STAMPS_KERNEL = "stamps_kernel"
STAMPS_USER = "stamps_user"
STAMPS_CARD = "stamps_card"
DEPARTURES_ASKED = "departures_asked"
DEPARTURES_STAMPED = "departures_stamped"
TRUNCATED = "ignored_truncated"
OVER_BUDGET = "ignored_over_budget"
RECEIVE_FAILED = "receive_failed"
SEND_FAILED = "send_failed"
FAULTS = "datagram_faults"
PAGE_TORN = "page_torn"
WORKERS = "workers"
WORKER_DEATHS = "worker_deaths"
PROBES = "probes"
PROBES_UNANSWERED = "probes_unanswered"
PROBES_TIMED = "probes_timed"
PROBES_REFUSED = "probes_refused"
PROBE_BARRED = "probe_barred"
SERVE_ERROR_NS = "serve_error_ns"
SERVE_ERROR_HALF_DELAY_NS = "serve_error_half_delay_ns"
HOST_STEPS = "host_steps"
HOST_STEP_LAST_NS = "host_step_last_ns"
HOST_STEP_LAST_AT_RAW_NS = "host_step_last_at_raw_ns"
HOST_STEP_LARGEST_NS = "host_step_largest_ns"
ANSWERED_SUM = "answered_after_sum_ns"
ANSWERED_EDGES_NS = (10**4, 2 * 10**4, 5 * 10**4, 10**5, 2 * 10**5, 5 * 10**5, 10**6, 10**7, 10**8)
"""Edges of the times from the kernel's receive stamp to the send (ns); an answer counts in the first that holds it."""

ANSWERED_WITHIN = (*(f"answered_within_{edge_ns // 1000}_us" for edge_ns in ANSWERED_EDGES_NS), "answered_later")


def _named(prefix: str, word: str) -> str:
    return f"{prefix}_{word.replace('-', '_')}"


REPLY_COUNTERS = {kind: _named("replies", kind) for kind in ReplyKind}
IGNORE_COUNTERS = {reason: _named("ignored", reason) for reason in IgnoreReason}
UNSYNCHRONISED_COUNTERS = {reason: _named("unsynchronised", reason) for reason in WhyUnsynchronised}
REFUSAL_COUNTERS = {refusal: _named("stamps_refused", refusal) for refusal in StampRefusal}

NAMES: tuple[str, ...] = (
    RECEIVED,
    *REPLY_COUNTERS.values(),
    *IGNORE_COUNTERS.values(),
    TRUNCATED,
    OVER_BUDGET,
    *UNSYNCHRONISED_COUNTERS.values(),
    STAMPS_KERNEL,
    STAMPS_USER,
    STAMPS_CARD,
    *REFUSAL_COUNTERS.values(),
    DEPARTURES_ASKED,
    DEPARTURES_STAMPED,
    RECEIVE_FAILED,
    SEND_FAILED,
    FAULTS,
    PAGE_TORN,
    WORKERS,
    WORKER_DEATHS,
    PROBES,
    PROBES_UNANSWERED,
    PROBES_TIMED,
    PROBES_REFUSED,
    PROBE_BARRED,
    SERVE_ERROR_NS,
    SERVE_ERROR_HALF_DELAY_NS,
    HOST_STEPS,
    HOST_STEP_LAST_NS,
    HOST_STEP_LAST_AT_RAW_NS,
    HOST_STEP_LARGEST_NS,
    ANSWERED_SUM,
    *ANSWERED_WITHIN,
)
"""All names, in the order of the file. Those ending in `_ns` are figures (signed), not counts."""

_HEADER = struct.Struct("<8sII")  # magic, how many numbers, CRC-32 of the names
_MAGIC = b"TRUECNTR"
_HEAD = _HEADER.pack(_MAGIC, len(NAMES), zlib.crc32("\n".join(NAMES).encode()))


class Barred(IntEnum):
    """Why a door's own client does not ask (`daemon.ntp.self_probe`): the values of `PROBE_BARRED`."""

    NO = 0
    DENIED = 1  # the access list, of the rules or by order
    RATE = 2  # the rate of one source


BARRED_SAYS = {
    Barred.DENIED: "the listener's addresses leave out this machine's own",
    Barred.RATE: "the listener answers one source too seldom, this machine too",
}


class CountersRejected(Rejected):
    """The file at `path` does not hold these counters, because of `because`."""

    def __init__(self, path: Path, because: str) -> None:
        super().__init__(f"counters {path}: {because}; let the serve process of this version write it anew")
        self.path = path
        self.because = because


class Counters:
    """Counts in memory, written out by `flush`: at every idle turn of the loop, and at least each 100 ms under load.

    Without a path nothing is written. A file that cannot be written costs the count on disk, never an answer.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.values = array("q", bytes(8 * len(NAMES)))
        self._index = {name: index for index, name in enumerate(NAMES)}
        self.beside: list[Sequence[int]] = []
        """Numbers of other processes of the same door, which `flush` writes out together with these."""
        self._descriptor: int | None = None
        if path is not None:
            # written over, not cut first: on a disk without room a file keeps what it has, and gets no more
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            self.flush()
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, len(_HEAD) + 8 * len(NAMES))

    def __getitem__(self, name: str) -> int:
        """Return one number."""
        return self.values[self._index[name]]

    def place(self, name: str) -> int:
        """Return where a number stands in `values`."""
        return self._index[name]

    def add(self, name: str, count: int = 1) -> None:
        """Count."""
        self.values[self._index[name]] += count

    def put(self, name: str, value: int) -> None:
        """State a figure or a count kept elsewhere; one beyond 64 bits is held at their edge."""
        self.values[self._index[name]] = max(-(2**63), min(value, 2**63 - 1))

    def flush(self) -> None:
        """Write the numbers out."""
        if self._descriptor is not None:
            values = together(self.values, *self.beside) if self.beside else self.values
            with contextlib.suppress(OSError):
                os.pwrite(self._descriptor, _HEAD + values.tobytes(), 0)

    def close(self) -> None:
        """Write the numbers out a last time."""
        self.flush()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def together(*numbers: Sequence[int]) -> "array[int]":
    """Return the numbers of several processes of one door as one: counts add up; a movement of the host's wall clock
    is one movement, however many saw it.
    """
    place = {name: index for index, name in enumerate(NAMES)}
    total = array("q", map(sum, zip(*numbers, strict=True)))
    total[place[HOST_STEPS]] = max(one[place[HOST_STEPS]] for one in numbers)
    latest = max(numbers, key=lambda one: one[place[HOST_STEP_LAST_AT_RAW_NS]])
    for name in (HOST_STEP_LAST_NS, HOST_STEP_LAST_AT_RAW_NS):
        total[place[name]] = latest[place[name]]
    total[place[HOST_STEP_LARGEST_NS]] = max((one[place[HOST_STEP_LARGEST_NS]] for one in numbers), key=abs)
    return total


def door_name(protocol: str, address: str, port: int) -> str:
    """Return the name of a door's files in `run/`: two doors may share a port at different addresses."""
    return f"{protocol}-{port}" if address == "127.0.0.1" else f"{protocol}-{port}-{address.replace(':', '_')}"


def read_counters(path: Path) -> dict[str, int]:
    """Return all numbers by name. Raises `CountersRejected`."""
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise CountersRejected(path, str(error.strerror)) from error
    if octets[: len(_HEAD)] != _HEAD:
        raise CountersRejected(path, "not the counters of this version")
    body = octets[len(_HEAD) :]
    if len(body) != 8 * len(NAMES):
        raise CountersRejected(path, f"{len(body)} octets instead of {8 * len(NAMES)}")
    return dict(zip(NAMES, struct.unpack(f"={len(NAMES)}q", body), strict=True))
