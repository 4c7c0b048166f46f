"""chronyd's SOCK reference clock: one sample as a datagram of 40 octets, and the sender that survives chronyd's
restarts.

It measures nothing and decides nothing: `daemon.door.sock_process` does. The same datagram is read by ntpd-rs (a `sock`
source) and written by gpsd. Source: refclock_sock.c of chrony 4.3 to 4.8: the C struct {struct timeval tv; double
offset; int pulse; int leap; int _pad; int magic;} in the machine's own order; a datagram of another length or magic is
ignored without a word. chronyd creates the socket, and creates it anew at each start.
"""

import os
import socket
import struct
from enum import IntEnum, StrEnum
from pathlib import Path

from truechimer.errors import Misuse

SAMPLE = struct.Struct("@qqdiiii")
MAGIC = 0x534F434B
NS_PER_S = 10**9
NS_PER_US = 1000
LONGEST_PATH_BYTES = 107


class SockLeap(IntEnum):
    """What the sample announces for the end of the UTC day."""

    NONE = 0
    INSERT = 1
    DELETE = 2


class Sent(StrEnum):
    """What became of a sample."""

    SENT = "sent"
    NO_SOCKET = "no-socket"  # chronyd does not run, or has no such refclock
    NOBODY_LISTENS = "nobody-listens"  # chronyd has ended and left its socket behind
    NOT_ALLOWED = "not-allowed"
    FULL = "full"  # chronyd does not read
    FAILED = "failed"


class SockSampleMisuse(Misuse):
    """A sample that cannot be said in this form."""

    def __init__(self, field: str, found: object) -> None:
        super().__init__(f"SOCK sample: {field} is {found!r}; it was not sent")
        self.field, self.found = field, found


def pack(*, wall_ns: int, reference_minus_wall_s: float, leap: SockLeap) -> bytes:
    """Return one sample: at `wall_ns` (system clock, ns since 1970) the reference is ahead of it by so much (s).

    The moment is written in microseconds; the offset is that of the exact moment.
    """
    if not -(2**62) < wall_ns < 2**62:
        raise SockSampleMisuse("wall_ns", wall_ns)
    if not abs(reference_minus_wall_s) < 2.0**32:
        raise SockSampleMisuse("reference_minus_wall_s", reference_minus_wall_s)
    microseconds = (wall_ns + NS_PER_US // 2) // NS_PER_US
    seconds, microseconds = divmod(microseconds, NS_PER_S // NS_PER_US)
    return SAMPLE.pack(seconds, microseconds, reference_minus_wall_s, 0, int(leap), 0, MAGIC)


class SockSender:
    """Sends to the socket at `path`, wherever it is at that moment. Never raises for what chronyd does, never waits."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last_error = ""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def send(self, sample: bytes) -> Sent:
        """Send one sample."""
        try:
            self._send(sample)
        except FileNotFoundError:
            return self._failed(Sent.NO_SOCKET, "there is no such socket")
        except ConnectionRefusedError:
            return self._failed(Sent.NOBODY_LISTENS, "nobody listens")
        except PermissionError:
            return self._failed(Sent.NOT_ALLOWED, "permission denied")
        except BlockingIOError:
            return self._failed(Sent.FULL, "its queue is full")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            return self._failed(Sent.FAILED, (reason or str(error)).lower())
        self.last_error = ""
        return Sent.SENT

    def _send(self, sample: bytes) -> None:
        name = os.fsencode(self.path)
        if len(name) <= LONGEST_PATH_BYTES:
            self._socket.sendto(sample, name)
            return
        folder = os.open(self.path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._socket.sendto(sample, f"/proc/self/fd/{folder}/{self.path.name}")
        finally:
            os.close(folder)

    def _failed(self, what: Sent, says: str) -> Sent:
        self.last_error = says
        return what

    def close(self) -> None:
        """Close."""
        self._socket.close()
