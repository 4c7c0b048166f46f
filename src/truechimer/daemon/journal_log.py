"""Journal log: lines for operators as entries of systemd's journal, or on standard error, without ever waiting.

It judges nothing and counts what it could not write. Source: systemd's "Native Journal Protocol" (one datagram of
`FIELD=value` lines to /run/systemd/journal/socket; a value with a line break is written with its length as 64 bits,
little endian) and systemd.exec(5), JOURNAL_STREAM (device and inode of the stream that leads to the journal). An entry
too large for a datagram is cut, and says so; systemd's way of passing it in a memory file is not used.

The law of the file: a full pipe, a stopped terminal, a missing or busy journal costs lines, which are counted, and
never a moment of whoever speaks.
"""

import hashlib
import json
import os
import select
import socket
import stat
import struct
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

JOURNAL_SOCKET = Path("/run/systemd/journal/socket")
IDENTIFIER = "truechimer"
MOST_VALUE_BYTES = 16_384
"""Of one field: an entry of ours stays far below the datagrams that Linux takes (about 200 kB)."""

MOST_LINE_BYTES = select.PIPE_BUF
"""A write of at most this much to a pipe that poll(2) calls ready is taken whole, and does not wait (pipe(7))."""

CUT = "... (cut)"
_LENGTH = struct.Struct("<Q")


class LogForm(StrEnum):
    """What a line on standard error looks like. `auto`: to the journal with its fields where standard error leads
    there, else `text`.
    """

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


class Priority(IntEnum):
    """Of syslog(3), as far as we use them."""

    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to say: `line` as a person reads it, and what machines may want of it beside that (`fields`, in the
    words of the contract: `kind`, `subject`, ...; absent values absent). `kind` empty: no alert, just a line.
    """

    line: str
    priority: Priority
    message: str = ""
    kind: str = ""
    fields: Mapping[str, str | int] = field(default_factory=dict)


def message_id(kind: str) -> str:
    """Return the MESSAGE_ID of a kind of alert: a constant of ours, made from its name, so that it never changes."""
    octets = bytearray(hashlib.sha256(f"truechimer alert {kind}".encode()).digest()[:16])
    octets[6], octets[8] = octets[6] & 0x0F | 0x40, octets[8] & 0x3F | 0x80  # a random UUID's form: sd_id128(3)
    return octets.hex()


def datagram(entry: Entry) -> bytes:
    """Return an entry in the native protocol."""
    values: dict[str, str | int] = {
        "MESSAGE": entry.message or entry.line,
        "PRIORITY": int(entry.priority),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
    }
    if entry.kind:
        values |= {"MESSAGE_ID": message_id(entry.kind), "TRUECHIMER_KIND": entry.kind}
        values["TRUECHIMER_SEVERITY"] = entry.priority.name.lower()
    values |= {f"TRUECHIMER_{name.upper()}": value for name, value in entry.fields.items()}
    return b"".join(_field(name, cut(str(value), MOST_VALUE_BYTES)) for name, value in values.items())


def _field(name: str, value: bytes) -> bytes:
    """Return one field; a value that holds a line break is written by its length, and so cannot begin another field."""
    if b"\n" in value:
        return name.encode() + b"\n" + _LENGTH.pack(len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def cut(text: str, most_bytes: int) -> bytes:
    """Return text as UTF-8 of at most so many octets; one that was longer says at its end that it was cut."""
    octets = text.encode("utf-8", "replace")
    if len(octets) <= most_bytes:
        return octets
    kept = octets[: most_bytes - len(CUT)].decode("utf-8", "ignore")
    return kept.encode() + CUT.encode()


def json_line(entry: Entry) -> str:
    """Return an entry as one JSON object on one line; what is absent is absent, a text that is long is cut."""
    body: dict[str, Any] = {"severity": entry.priority.name.lower()}
    if entry.kind:
        body["kind"] = entry.kind
    body |= {"says": entry.message or entry.line} | dict(entry.fields)
    for most_bytes in (MOST_LINE_BYTES, 400, 100):
        shown = {
            key: cut(value, most_bytes).decode() if isinstance(value, str) else value for key, value in body.items()
        }
        text = json.dumps(shown)
        if len(text) < MOST_LINE_BYTES:
            break
    return text


def leads_to_journal(stream: str | None, descriptor: int) -> bool:
    """Return True where a descriptor is the stream that JOURNAL_STREAM names."""
    if not stream:
        return False
    try:
        found = os.fstat(descriptor)
        device, _, inode = stream.partition(":")
        return (found.st_dev, found.st_ino) == (int(device), int(inode))
    except (OSError, ValueError):
        return False


class Log:
    """Where lines go. Safe from several threads; `say` never waits and never raises for want of a reader."""

    def __init__(
        self,
        form: LogForm = LogForm.AUTO,
        *,
        journal: Path = JOURNAL_SOCKET,
        stream: str | None = None,
    ) -> None:
        """`stream`: the value of JOURNAL_STREAM, None where there is none."""
        self.form = form
        self.counts = {"journal": {"written": 0, "failed": 0}, "stderr": {"written": 0, "failed": 0}}
        self._stream = stream
        self._address = os.fspath(journal)
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._pipe: tuple[tuple[int, int], int] | None = None

    def say(self, entry: Entry) -> None:
        """Say one thing."""
        with self._lock:
            descriptor = _stderr()
            if self.form is LogForm.AUTO and descriptor is not None and leads_to_journal(self._stream, descriptor):
                if self._count("journal", self._send(datagram(entry))):
                    return
                # systemd reads a level in front of a line of a stream: sd-daemon(3)
                self._count("stderr", self._write(f"<{int(entry.priority)}>{_on_one_line(entry.line)}", descriptor))
                return
            text = json_line(entry) if self.form is LogForm.JSON else entry.line
            self._count("stderr", self._write(text, descriptor))

    def document(self) -> dict[str, Any]:
        """Return what was written and what was lost, by way."""
        with self._lock:
            return {"form": self.form.value} | {way: dict(counts) for way, counts in self.counts.items()}

    def close(self) -> None:
        """Give back what was opened; a later line opens it again."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            if self._pipe is not None:
                os.close(self._pipe[1])
                self._pipe = None

    def _count(self, way: str, done: bool) -> bool:  # noqa: FBT001
        self.counts[way]["written" if done else "failed"] += 1
        return done

    def _send(self, octets: bytes) -> bool:
        """Send one datagram; False where the journal is away, or too busy to take it now."""
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.settimeout(0.0)  # never wait
            self._socket.sendto(octets, socket.MSG_NOSIGNAL, self._address)
        except OSError:
            return False
        return True

    def _write(self, text: str, descriptor: int | None) -> bool:
        """Write one line to standard error, if it takes it now."""
        if descriptor is None:  # closed, or replaced by an object without a descriptor
            if sys.stderr is None:  # print would take standard output instead
                return False
            try:
                print(text, file=sys.stderr, flush=True)
            except (OSError, ValueError):
                return False
            return True
        lines = cut(text, MOST_LINE_BYTES - 1) + b"\n"
        try:
            found = os.fstat(descriptor)
            if stat.S_ISSOCK(found.st_mode):
                with socket.socket(fileno=os.dup(descriptor)) as stream:
                    return stream.send(lines, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) == len(lines)
            if stat.S_ISFIFO(found.st_mode):
                descriptor = self._unwaiting(descriptor, (found.st_dev, found.st_ino))
            if not _takes(descriptor):
                return False
            return os.write(descriptor, lines) == len(lines)
        except OSError:
            return False

    def _unwaiting(self, descriptor: int, identity: tuple[int, int]) -> int:
        """Return a descriptor of our own on the same pipe, on which a write cannot wait; the flag of the one that we
        share with other processes is left as it is. Where it cannot be had, the shared one has to do.
        """
        if self._pipe is None or self._pipe[0] != identity:
            if self._pipe is not None:
                os.close(self._pipe[1])
                self._pipe = None
            try:
                own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                return descriptor
            self._pipe = identity, own
        return self._pipe[1]


def _stderr() -> int | None:
    """Return the descriptor of standard error, None where it has none."""
    try:
        return sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):  # io.UnsupportedOperation is both of the first two
        return None


def _takes(descriptor: int) -> bool:
    """Return True where a write to a descriptor will not wait: a terminal may be stopped, a pipe full."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(event & select.POLLOUT for _, event in poll.poll(0))


def _on_one_line(text: str) -> str:
    """Return text without line breaks: in a stream to the journal each line would be an entry of its own."""
    return " | ".join(text.splitlines())
