"""NTP on the wire as a stranger sees it: packets built and read here from the documents alone, with nothing of the
server's own code.

Figures: RFC 5905 figure 8 (header), RFC 7822 figure 1 (extension field), draft-ietf-ntp-ntpv5-09 "Message Format".
"""

import hashlib
import secrets
import select
import socket
import struct
import time
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

HEADER = struct.Struct(">BBbbII4sQQQQ")
HEADER_V5 = struct.Struct(">BBbbIIBBHQQQQ")
UNIX_TO_NTP_S = 2_208_988_800
UNITS_PER_S = 2**32
DRAFT = b"draft-ietf-ntp-ntpv5-09"
IP_RECVTOS, IP_RECVTTL = 13, 12  # of Linux; the socket module does not name both
PATIENCE_S = 1.0
QUIET_S = 0.3
"""Whoever has not answered by now after the last question does not answer."""


def nonce() -> int:
    """Return a transmit stamp that nobody can guess: RFC 9109's reasons, for the stamp."""
    return secrets.randbits(64) | 1


def packet(
    *,
    leap: int = 0,
    version: int = 4,
    mode: int = 3,
    stratum: int = 0,
    poll: int = 0,
    precision: int = 0,
    root_delay: int = 0,
    root_dispersion: int = 0,
    refid: bytes = bytes(4),
    reference: int = 0,
    origin: int = 0,
    receive: int = 0,
    transmit: int | None = None,
    tail: bytes = b"",
) -> bytes:
    head = HEADER.pack(
        leap << 6 | version << 3 | mode,
        stratum,
        poll,
        precision,
        root_delay,
        root_dispersion,
        refid,
        reference,
        origin,
        receive,
        nonce() if transmit is None else transmit,
    )
    return head + tail


def packet_v5(
    *, mode: int = 3, timescale: int = 0, flags: int = 0, server_cookie: int = 0, cookie: int | None = None, tail: bytes
) -> bytes:
    """Return a request of version 5; every field that a client has nothing to say in is zero."""
    client_cookie = nonce() if cookie is None else cookie
    return HEADER_V5.pack(5 << 3 | mode, 0, 0, 0, 0, 0, timescale, 0, flags, server_cookie, client_cookie, 0, 0) + tail


def extension(kind: int, octets: int, *, says: int | None = None, body: bytes = b"") -> bytes:
    """Return a field of `octets` whose length field `says` something, the truth where nothing is given."""
    return struct.pack(">HH", kind, octets if says is None else says) + body.ljust(octets - 4, b"\0")


def extension_v5(kind: int, body: bytes = b"") -> bytes:
    """Return a field of version 5: its length is that of what it carries, and zeros pad it to a multiple of 4."""
    return struct.pack(">HH", kind, 4 + len(body)) + body + bytes(-len(body) % 4)


NAMED = extension_v5(0xF5FF, DRAFT)


@dataclass(frozen=True)
class Key:
    """A symmetric key: `kind` is a name of hashlib, or AES for AES-CMAC (RFC 8573)."""

    number: int
    kind: str
    secret: bytes

    def code(self, octets: bytes) -> bytes:
        if self.kind == "aes":
            made = CMAC(AES(self.secret))
            made.update(octets)
            return made.finalize()
        return hashlib.new(self.kind, self.secret + octets).digest()[:20]

    def seal(self, octets: bytes) -> bytes:
        """Return the octets with the key's number and its code behind them."""
        return octets + struct.pack(">I", self.number) + self.code(octets)


@dataclass(frozen=True)
class Answer:
    """An answer, its fields as they stand, and what the client knows of its way: `asked_s`, `came_s` on its own clock
    (Unix time), the sender's address and port, the hops that were left and the octet of its class of service.
    """

    octets: bytes
    asked_s: float
    came_s: float
    sender: tuple[str, int]
    hops: int | None = None
    service: int | None = None

    def __getattr__(self, name: str) -> Any:
        names = ("first", "stratum", "poll", "precision", "root_delay", "root_dispersion", "refid")
        fields = dict(
            zip((*names, "reference", "origin", "receive", "transmit"), HEADER.unpack_from(self.octets), strict=True)
        )
        fields |= {"leap": fields["first"] >> 6, "version": fields["first"] >> 3 & 7, "mode": fields["first"] & 7}
        if name not in fields:
            raise AttributeError(name)
        return fields[name]

    @property
    def tail(self) -> bytes:
        return self.octets[48:]

    @property
    def offset_s(self) -> float:
        """Server minus client, s, whatever the era: RFC 5905 section 8."""
        asked, came = (round((one + UNIX_TO_NTP_S) * UNITS_PER_S) for one in (self.asked_s, self.came_s))
        return (apart_s(self.receive, asked) + apart_s(self.transmit, came)) / 2

    @property
    def delay_s(self) -> float:
        return (self.came_s - self.asked_s) - apart_s(self.transmit, self.receive)

    @property
    def has_time(self) -> bool:
        """Whether a client may use it as time: RFC 5905 A.5.1.1."""
        return self.leap != 3 and 1 <= self.stratum <= 15


@dataclass(frozen=True)
class AnswerV5(Answer):
    """An answer of version 5."""

    def __getattr__(self, name: str) -> Any:
        names = ("first", "stratum", "poll", "precision", "root_delay", "root_dispersion", "timescale", "era", "flags")
        fields = dict(
            zip(
                (*names, "server_cookie", "client_cookie", "receive", "transmit"),
                HEADER_V5.unpack_from(self.octets),
                strict=True,
            )
        )
        fields |= {"leap": fields["first"] >> 6, "version": fields["first"] >> 3 & 7, "mode": fields["first"] & 7}
        if name not in fields:
            raise AttributeError(name)
        return fields[name]

    def fields(self) -> list[tuple[int, bytes]]:
        """Return its extension fields: type, and what each carries."""
        found, at = [], 48
        while at < len(self.octets):
            kind, length = struct.unpack_from(">HH", self.octets, at)
            assert length >= 4, f"a field of {length} octets"
            assert at + length <= len(self.octets), "a field that does not fit"
            found.append((kind, self.octets[at + 4 : at + length]))
            at += -(-length // 4) * 4
        return found


def is_ready(one: socket.socket, patience_s: float) -> bool:
    """Return whether something comes to a socket in time; select(2) knows no descriptor above 1023."""
    looked = select.poll()
    looked.register(one, select.POLLIN)
    return bool(looked.poll(1000.0 * patience_s))


def apart_s(later: int, earlier: int) -> float:
    """Return a difference of stamps, s, across an era's end too."""
    units = (later - earlier) % 2**64
    return (units - 2**64 if units >> 63 else units) / UNITS_PER_S


@dataclass
class Door:
    """A server to ask, and the books of what went to it and what came from it.

    `is_true`: its time is this machine's, so that its errors can be judged.
    """

    address: str
    port: int
    is_true: bool = True
    _open: list[tuple[socket.socket, int, int, str]] = field(default_factory=list)
    _now: str = ""

    @property
    def family(self) -> int:
        return socket.AF_INET6 if ":" in self.address else socket.AF_INET

    def at(self, address: str) -> "Door":
        """Return the same server under another of its addresses; what is open stays in one book."""
        return replace(self, address=address)

    def begin(self, check: str) -> None:
        """Let what is sent from now on belong to a check."""
        self._now = check

    def client(self, *, port: int = 0, source: str = "") -> socket.socket:
        one = socket.socket(self.family, socket.SOCK_DGRAM)
        try:
            if self.family == socket.AF_INET:
                one.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
                one.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
            one.bind((source or ("::" if ":" in self.address else "0.0.0.0"), port))
        except OSError:
            one.close()
            raise
        return one

    def send(self, one: socket.socket, octets: bytes) -> None:
        one.sendto(octets, (self.address, self.port))

    def ask(self, octets: bytes, *, port: int = 0, source: str = "", on: socket.socket | None = None) -> Answer:
        """Send a question from a socket of its own and return the answer; that no second one comes is looked at in the
        end.
        """
        found = self.maybe(octets, port=port, source=source, on=on)
        assert found is not None, "no answer"
        return found

    def maybe(
        self,
        octets: bytes,
        *,
        port: int = 0,
        source: str = "",
        on: socket.socket | None = None,
        patience_s: float = PATIENCE_S,
    ) -> Answer | None:
        """Send a question and return the answer, None where none comes in time."""
        one = on or self.client(port=port, source=source)
        asked_s = time.time()
        self.send(one, octets)
        ready = is_ready(one, patience_s)
        came_s = time.time()
        if on is None:
            self._open.append((one, 0 if ready else len(octets), 0, self._now))
        if not ready:
            return None
        answer, ancillary, _, sender = one.recvmsg(65_536, 256)
        assert len(answer) >= 48, f"{len(answer)} octets"
        assert len(answer) <= len(octets), f"{len(octets)} octets were answered with {len(answer)}"
        said = {kind: int.from_bytes(data[:4], "little") for _, kind, data in ancillary}
        kind = AnswerV5 if octets[0] >> 3 & 7 == 5 else Answer
        hops, service = said.get(socket.IP_TTL), said.get(socket.IP_TOS)
        return kind(answer, asked_s, came_s, (sender[0], sender[1]), hops, service)

    def together(self, one: socket.socket, questions: list[bytes]) -> list[bytes]:
        """Send questions at once from one socket and return what comes until nothing more does."""
        for octets in questions:
            self.send(one, octets)
        found: list[bytes] = []
        while is_ready(one, QUIET_S):
            found.append(one.recv(65_536))
        return found

    def silent(self, *questions: bytes) -> None:
        """Send questions that must stay unanswered; looked at in the end."""
        for octets in questions:
            one = self.client()
            self.send(one, octets)
            self._open.append((one, len(octets), 0, self._now))

    def not_time(self, *questions: bytes) -> None:
        """Send questions that may be refused aloud, by a crypto-NAK or a kiss, or not at all, but never with time."""
        for octets in questions:
            one = self.client()
            self.send(one, octets)
            self._open.append((one, len(octets), 1, self._now))

    @property
    def held(self) -> int:
        """How many sockets are still held, to see whether anything more comes to them."""
        return len(self._open)

    def close(self) -> dict[str, str]:
        """Return which checks have been answered where they should not have been, and how; end everything. Nothing was
        asked within the last `QUIET_S`.
        """
        faults: dict[str, str] = {}
        for one, octets, may_refuse, check in self._open:
            try:
                answer = one.recv(65_536, socket.MSG_DONTWAIT)
                if not (may_refuse and len(answer) <= octets and len(answer) >= 48 and answer[0] >> 6 == 3):
                    faults[check] = f"{len(answer)} octets came where none should: {answer[:52].hex()}"
            except BlockingIOError:
                pass
            except OSError as error:
                faults[check] = f"the network said {error}"
            one.close()
        self._open.clear()
        return faults
