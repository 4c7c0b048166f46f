"""One NTP exchange over a real socket: what a server says its time is, at one moment of this host's raw counter.

It judges no server against another (`compare.selection` does) and trusts no wall clock: the four stamps are two of
the server's and two of the raw counter. Source: RFC 5905 8 (on-wire protocol), RFC 9109 (a fresh source port for each
exchange), `house.md` 4.7 and 4.8.
"""

import secrets
import select
import socket
import time
from dataclasses import dataclass
from enum import StrEnum

from truechimer.daemon.host_clocks import NS_PER_S, HostClocks
from truechimer.daemon.ntp.ntp_loop import SO_TIMESTAMPNS, stamp_of
from truechimer.errors import Rejected
from truechimer.instants import FS_PER_NS, Instant, LeapTable, ntp64
from truechimer.serve.ntp.client import AnswerDoubt, NtpAnswer, ReplyRejected, make_request, read_reply
from truechimer.serve.ntp.mac import SymmetricKey
from truechimer.serve.rx_stamp import RxStamp, StampKind

RAW_RATE_LIMIT = 1e-4
"""s/s: a host's raw counter is taken to be within this of true before anyone has measured it; it counts over one
round trip only.
"""

STAMP_MESSAGE = (socket.SOL_SOCKET, SO_TIMESTAMPNS)
REPLY_ROOM = 2048
WAITING_PAIR_EVERY_NS = 20_000_000
HALF_NS_FS = FS_PER_NS // 2

WARM_UP_STEP_S = 0.02
WARM_UP_TRIES = 10


class ExchangeFault(StrEnum):
    """Why there is no measurement."""

    NO_ADDRESS = "no-address"  # the name does not resolve
    UNREACHABLE = "unreachable"  # the network or the host says no
    NO_ANSWER = "no-answer"  # nothing that answers our request came in time
    # the server claims to have held the request longer than the whole exchange took
    IMPOSSIBLE_DELAY = "impossible-delay"
    # the stamps name no instant: before the leap table, beyond its expiry, in a removed second
    NO_SUCH_TIME = "no-such-time"


@dataclass(frozen=True, slots=True)
class ExchangeFailure:
    """No measurement, because of `fault`; `says` is for the operator. `rejected` counts datagrams that were no reply
    to us.
    """

    fault: ExchangeFault
    says: str
    rejected: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NtpExchange:
    """The four stamps of one exchange, and the server's words.

    `sent_raw_ns` is RAW just before the send (T1), `rx` the receive stamp of the reply (T4). `delay_s` is (T4 - T1) -
    (T3 - T2), None where the server gave no stamps. `address` is the numeric address that answered, `local` the one of
    this machine that it answered to.
    """

    address: str
    sent_raw_ns: int
    rx: RxStamp
    answer: NtpAnswer
    delay_s: float | None
    rejected: int
    local: str = ""

    @property
    def root_distance_s(self) -> float:
        """How far from true the server's time at the middle of the exchange may be: RFC 5905 10 and 11.2, and our own
        stamps.

        (delay + root delay)/2 + root dispersion, the receive stamp's limit, the server's precision, and the raw
        counter's rate.
        """
        answer = self.answer
        elapsed_s = (self.rx.raw_ns - self.sent_raw_ns) / NS_PER_S
        delay_s = max(self.delay_s or 0.0, 0.0)
        own_s = self.rx.limit_s + 2.0**answer.precision_log2 + RAW_RATE_LIMIT * abs(elapsed_s)
        return (delay_s + answer.root_delay_s) / 2 + answer.root_dispersion_s + own_s


@dataclass(frozen=True, slots=True, kw_only=True)
class NtpMeasurement:
    """What one server says: at `raw_mid_ns` of the raw counter its time was `server_tai_fs` (fs since 1970 TAI),
    right to `root_distance_s`.

    `doubt` is None where the server is synchronised and its packet sound; a measurement with a doubt must not be used
    as time. `server_tai_fs` is None where the server gave no stamps; `kiss` is its kiss code, if any.
    """

    raw_mid_ns: int
    server_tai_fs: int | None
    delay_s: float | None
    root_delay_s: float
    root_dispersion_s: float
    root_distance_s: float
    stratum: int
    leap: int
    refid: bytes
    precision_log2: int
    stamp_kind: StampKind
    doubt: AnswerDoubt | None
    kiss: str | None
    address: str
    local: str = ""

    @property
    def synchronised(self) -> bool:
        """Whether it may be used as time."""
        return self.doubt is None and self.server_tai_fs is not None


class EndpointRejected(Rejected):
    """`text` is no HOST or HOST:PORT, because of `because`."""

    def __init__(self, text: str, because: str) -> None:
        super().__init__(
            f"{text!r} is not HOST or HOST:PORT: {because}; write ntp.example:123, 192.0.2.1:123 or [2001:db8::1]:123"
        )
        self.text = text
        self.because = because


def parse_endpoint(text: str) -> tuple[str, int | None]:
    """Return (host, port) of `HOST`, `HOST:PORT`, `[V6]:PORT` or a bare IPv6 address; the port is None where not
    given.
    """
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise EndpointRejected(text, "the bracket is not closed before the port")
        port = rest[1:]
        if rest and not port:
            raise EndpointRejected(text, "there is a colon but no port")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        if not port:
            raise EndpointRejected(text, "there is a colon but no port")
    if not host:
        raise EndpointRejected(text, "there is no host")
    if not port:
        return host, None
    if not port.isascii() or not port.isdecimal() or not 1 <= int(port) <= 65_535:
        raise EndpointRejected(text, f"{port!r} is not a port (1 to 65535)")
    return host, int(port)


def warm_up(clocks: HostClocks) -> None:
    """Take pairs until the host's clocks are related well enough to believe kernel stamps: about 60 ms."""
    for _ in range(WARM_UP_TRIES):
        clocks.take_pair()
        if clocks.rate_is_learned:
            return
        time.sleep(WARM_UP_STEP_S)


def exchange(
    host: str,
    port: int,
    *,
    timeout_s: float,
    clocks: HostClocks,
    prefer: str | None = None,
    key: SymmetricKey | None = None,
    tail: bytes = b"",
) -> NtpExchange | ExchangeFailure:
    """Ask once, and wait up to `timeout_s` for the reply; datagrams that are no reply to us do not end the wait.

    The name is looked up for each question. Of its addresses `prefer` is asked where it is still one of them, and the
    next one only where the network says no. `key`: the question is sealed with it, and only a reply that is counts.
    `tail`: octets that follow a question which nothing seals.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        return ExchangeFailure(ExchangeFault.NO_ADDRESS, f"{host} has no address: {_reason(error)}; check the name")
    reason = ""
    for family, kind, protocol, _, address in sorted(found, key=lambda one: one[4][0] != prefer):
        try:
            with socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol) as connection:
                connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                # a port of its own each time: RFC 9109; only that server's datagrams reach us
                connection.connect(address)
                return _converse(connection, str(address[0]), timeout_s=timeout_s, clocks=clocks, key=key, tail=tail)
        except OSError as error:
            reason = _reason(error)
    says = f"{host} port {port} (udp) cannot be reached: {reason}; check address, port and firewall"
    return ExchangeFailure(ExchangeFault.UNREACHABLE, says)


def ask_once(
    host: str,
    port: int,
    *,
    timeout_s: float,
    clocks: HostClocks,
    leaps: LeapTable,
    near: Instant,
    prefer: str | None = None,
    key: SymmetricKey | None = None,
) -> NtpMeasurement | ExchangeFailure:
    """Measure a server once. `near` chooses the era and, in a repeated second, the instant: within 68 years, and 0.5
    s at a leap. `prefer`, `key`: see `exchange`.
    """
    found = exchange(host, port, timeout_s=timeout_s, clocks=clocks, prefer=prefer, key=key)
    if isinstance(found, ExchangeFailure):
        return found
    return measurement_of(found, leaps, near=near)


def measurement_of(found: NtpExchange, leaps: LeapTable, *, near: Instant) -> NtpMeasurement | ExchangeFailure:
    """Turn the stamps of one exchange into TAI at one moment of the raw counter."""
    answer = found.answer
    twice_mid_ns = found.sent_raw_ns + found.rx.raw_ns
    server_tai_fs: int | None = None
    if found.delay_s is not None:
        try:
            receive = ntp64.to_instant(answer.receive, leaps, near=near)
            # T3 is near T2, not near our own idea of now: at a leap the two must fall on the same side.
            transmit = ntp64.to_instant(answer.transmit, leaps, near=receive)
        except Rejected as error:
            return ExchangeFailure(ExchangeFault.NO_SUCH_TIME, str(error), found.rejected)
        server_tai_fs = (receive.tai_fs + transmit.tai_fs) // 2 - (twice_mid_ns % 2) * HALF_NS_FS
    return NtpMeasurement(
        raw_mid_ns=twice_mid_ns // 2,
        server_tai_fs=server_tai_fs,
        delay_s=found.delay_s,
        root_delay_s=answer.root_delay_s,
        root_dispersion_s=answer.root_dispersion_s,
        root_distance_s=found.root_distance_s,
        stratum=answer.stratum,
        leap=answer.leap,
        refid=answer.refid,
        precision_log2=answer.precision_log2,
        stamp_kind=found.rx.kind,
        doubt=answer.doubt,
        kiss=answer.kiss,
        address=found.address,
        local=found.local,
    )


def _converse(
    connection: socket.socket,
    address: str,
    *,
    timeout_s: float,
    clocks: HostClocks,
    key: SymmetricKey | None,
    tail: bytes,
) -> NtpExchange | ExchangeFailure:
    """Send one request and read until its reply, or until time is up. Raises OSError where the network says no."""
    nonce = secrets.randbits(64) or 1
    request = make_request(nonce, key=key) + tail
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    clocks.take_pair()
    sent_raw_ns = clocks.raw_ns()
    connection.send(request)
    deadline_raw_ns = sent_raw_ns + round(timeout_s * NS_PER_S)
    rejected = 0
    while (left_ns := deadline_raw_ns - clocks.raw_ns()) > 0:
        if not poll.poll(min(left_ns, WAITING_PAIR_EVERY_NS) / 1e6):
            clocks.take_pair()
            continue
        octets, ancillary, _, _ = connection.recvmsg(REPLY_ROOM, 256)
        user_raw_ns = clocks.raw_ns()
        clocks.take_pair()
        answer = read_reply(octets, nonce, key=key)
        if isinstance(answer, ReplyRejected):
            rejected += 1
            continue
        stamp = next((stamp_of(data) for level, kind, data in ancillary if (level, kind) == STAMP_MESSAGE), None)
        # Nothing can answer before it was asked, so T1 is the earliest moment at which the reply can have come.
        rx = clocks.rx_to_raw(stamp, user_raw_ns, not_before_raw_ns=sent_raw_ns)
        local = str(connection.getsockname()[0])
        return _judge_delay(address, sent_raw_ns, rx=rx, answer=answer, rejected=rejected, local=local)
    says = f"{address} did not answer within {timeout_s:g} s"
    says += f" ({rejected} datagrams that were no reply to us were dropped)" if rejected else ""
    return ExchangeFailure(ExchangeFault.NO_ANSWER, f"{says}; check address, port and firewall", rejected)


def _judge_delay(
    address: str, sent_raw_ns: int, *, rx: RxStamp, answer: NtpAnswer, rejected: int, local: str
) -> NtpExchange | ExchangeFailure:
    """Compute the delay (RFC 5905 8), and refuse one that no path can have."""
    delay_s: float | None = None
    if answer.receive and answer.transmit:
        held_units = (answer.transmit - answer.receive) & ntp64.STAMP_MASK
        held_units -= (1 << 64) if held_units >> 63 else 0
        elapsed_s = (rx.raw_ns - sent_raw_ns) / NS_PER_S
        held_s = held_units / ntp64.UNITS_PER_S
        delay_s = elapsed_s - held_s
        tolerance_s = rx.limit_s + 2.0**answer.precision_log2 + RAW_RATE_LIMIT * elapsed_s
        if delay_s < -tolerance_s and answer.doubt is None:
            says = (
                f"{address} claims to have held the request {held_s:.6f} s of {elapsed_s:.6f} s; do not use this server"
            )
            return ExchangeFailure(ExchangeFault.IMPOSSIBLE_DELAY, says, rejected)
    return NtpExchange(
        address=address,
        sent_raw_ns=sent_raw_ns,
        rx=rx,
        answer=answer,
        delay_s=delay_s,
        rejected=rejected,
        local=local,
    )


def _reason(error: OSError | UnicodeError) -> str:
    """Return an error's own words, without its number."""
    return str(getattr(error, "strerror", None) or error)
