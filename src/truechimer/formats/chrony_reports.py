"""chronyd's command protocol, version 6, as far as it reports: questions as octets, answers as typed reports or typed
refusals.

It opens no socket, sends no command that changes anything, and judges no source. Source: candm.h, pktlength.c and
util.c of chrony 4.3 to 4.8 (facts of layout; all integers big-endian), checked against answers of a real chronyd
(tests/vectors/chrony_reports). Sign, as chronyd reports it: `x_local_minus_source_s` is positive where chronyd's own
("cooked") clock is ahead of the source; cooked clock minus system clock is `Tracking.x_cooked_minus_wall_s`.
"""

import ipaddress
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from truechimer.errors import Rejected

VERSION = 6
REQUEST, REPLY = 1, 2
REQUEST_HEAD_BYTES = 20
REPLY_HEAD_BYTES = 28
MOST_BYTES = 2048
"""No report is longer; more than this is not read from a socket."""

_REQUEST_HEAD = struct.Struct(">BBBBHHIII")
_REPLY_HEAD = struct.Struct(">BBBBHHHHHHIII")
_COEFFICIENT_BITS = 25
_EXPONENT_BITS = 7


class Command(IntEnum):
    """Questions. None of them changes anything in chronyd."""

    N_SOURCES = 14
    SOURCE_DATA = 15
    TRACKING = 33
    SOURCESTATS = 34
    NTP_DATA = 57


class ReplyFault(StrEnum):
    """Why an answer is not believed; one counter each."""

    SHORT = "short"  # cut short, or empty
    NOT_A_REPLY = "not-a-reply"  # some other packet
    VERSION = "version"  # another version of the protocol
    OTHER_SEQUENCE = "other-sequence"  # the answer to an earlier question, or somebody's guess
    OTHER_COMMAND = "other-command"
    STATUS = "status"  # chronyd refuses, and says so by number
    FORMAT = "format"  # a report that this version does not know
    VALUE = "value"  # a field that cannot be


class ChronyReplyRejected(Rejected):
    """An answer of chronyd that is not believed: `fault`, and what was `expected` and `found`."""

    def __init__(self, fault: ReplyFault, *, expected: str, found: str, do_next: str) -> None:
        super().__init__(f"chronyd's answer is not believed ({fault}): expected {expected}, found {found}; {do_next}")
        self.fault, self.expected, self.found = fault, expected, found


STATUS_WORDS = {
    1: "failed",
    2: "not allowed",
    3: "unknown command",
    4: "no such source",
    6: "not enabled",
    9: "access denied",
    18: "another version of the protocol",
    19: "another length of the question",
}


class SourceMode(IntEnum):
    """What chronyd follows."""

    SERVER = 0
    PEER = 1
    REFCLOCK = 2


class SourceState(IntEnum):
    """What chronyd itself thinks of a source: a statement of chronyd, not a vote here."""

    SELECTED = 0
    NOT_SELECTABLE = 1
    FALSETICKER = 2
    JITTERY = 3
    NOT_COMBINED = 4
    SELECTABLE = 5


@dataclass(frozen=True, slots=True)
class NSources:
    """How many sources chronyd has, those without an address yet among them."""

    n: int


@dataclass(frozen=True, slots=True)
class SourceData:
    """One source's last sample. `address`: IP address, for a refclock its refid as text; None while chronyd does not
    know it.

    `since_sample_s`: whole seconds since the second in which the sample was taken, None where there is none;
    `x_local_minus_source_s`: chronyd's present clock minus the source, as of that sample (what chronyd corrected since
    is taken into account); `original_x_local_minus_source_s`: as measured then; `root_distance_s`: what the sample
    cannot exclude (half the root delay + root dispersion, its own path included). `poll_log2`: log2 of s.
    """

    address: str | None
    poll_log2: int
    stratum: int
    state: SourceState
    mode: SourceMode
    reach: int
    since_sample_s: int | None
    original_x_local_minus_source_s: float
    x_local_minus_source_s: float
    root_distance_s: float


@dataclass(frozen=True, slots=True)
class Tracking:
    """chronyd's own estimate. `x_cooked_minus_wall_s`: its clock minus the system clock, now: what it has still to
    correct.

    `leap`: 0 none, 1 insert, 2 delete, 3 unsynchronised; `reference_time_ns` (ns since 1970, UTC; fuzzed by chronyd by
    up to 1 s) changes with each update of its clock; `last_x_local_minus_source_s`: what the last update corrected;
    `frequency_ppm`, `residual_ppm`, `skew_ppm`: as chronyc shows them.
    """

    reference_id: bytes
    address: str | None
    stratum: int
    leap: int
    reference_time_ns: int
    x_cooked_minus_wall_s: float
    last_x_local_minus_source_s: float
    frequency_ppm: float
    residual_ppm: float
    skew_ppm: float
    root_delay_s: float
    root_dispersion_s: float


@dataclass(frozen=True, slots=True)
class SourceStats:
    """What chronyd learned of a source from `n_samples`: `sd_s` one sigma of a sample, rate of its clock against the
    source `residual_ppm` +- `skew_ppm`.
    """

    reference_id: bytes
    address: str | None
    n_samples: int
    residual_ppm: float
    skew_ppm: float
    sd_s: float


@dataclass(frozen=True, slots=True)
class NtpData:
    """The last answer that a server gave chronyd: its address and port, leap, stratum and the path's delay (s)."""

    address: str | None
    port: int
    leap: int
    stratum: int
    reference_id: bytes
    root_delay_s: float
    root_dispersion_s: float
    delay_s: float


Report = NSources | SourceData | Tracking | SourceStats | NtpData

_ADDRESS_BYTES = 20
_SOURCE_DATA = struct.Struct(">20shHHHHHIIII")
_TRACKING = struct.Struct(">4s20sHHIII9I")
_SOURCESTATS = struct.Struct(">4s20sIIIIIIII")
_NTP_DATA = struct.Struct(">20s20sHBBBBbbII4sIIIIIIII")
_NTP_DATA_ROOM = 224
"""Octets asked for: newer versions answer NTP_DATA at greater length, and refuse a question shorter than its answer."""

_REPLIES = {
    Command.N_SOURCES: frozenset({2}),
    Command.SOURCE_DATA: frozenset({3}),
    Command.TRACKING: frozenset({5}),
    Command.SOURCESTATS: frozenset({6}),
    Command.NTP_DATA: frozenset({16, 26}),
}
_BODY_BYTES = {
    Command.N_SOURCES: 4,
    Command.SOURCE_DATA: _SOURCE_DATA.size,
    Command.TRACKING: _TRACKING.size,
    Command.SOURCESTATS: _SOURCESTATS.size,
    Command.NTP_DATA: _NTP_DATA.size,
}
_NEVER = 2**32 - 1
_UNSPECIFIED, _IPV4, _IPV6, _UNRESOLVED = 0, 1, 2, 3


def request(command: Command, sequence: int, *, index: int = 0, address: str | None = None) -> bytes:
    """Return a question, as long as its answer (chronyd answers nothing longer than what it was asked).

    `index`: of the source (SOURCE_DATA, SOURCESTATS); `address`: of the server (NTP_DATA).
    """
    body = b""
    if command in {Command.SOURCE_DATA, Command.SOURCESTATS}:
        body = struct.pack(">I", index)
    elif command is Command.NTP_DATA:
        body = _pack_address(address or "")
    head = _REQUEST_HEAD.pack(VERSION, REQUEST, 0, 0, command, 0, sequence, 0, 0)
    room = REPLY_HEAD_BYTES + (_NTP_DATA_ROOM if command is Command.NTP_DATA else _BODY_BYTES[command])
    return (head + body).ljust(room, b"\0")


def read(data: bytes, command: Command, *, sequence: int) -> Report:
    """Return the report in the answer to `command` with this `sequence`; raises `ChronyReplyRejected`."""
    if len(data) < REPLY_HEAD_BYTES:
        raise _fault(ReplyFault.SHORT, f"{REPLY_HEAD_BYTES} octets", f"{len(data)}", "ask again")
    version, kind, _, _, asked, reply, status, _, _, _, answered, _, _ = _REPLY_HEAD.unpack_from(data)
    if kind != REPLY:
        raise _fault(ReplyFault.NOT_A_REPLY, f"packet type {REPLY}", str(kind), "look who writes to this socket")
    if version != VERSION:
        says = "use a chrony of version 2.2 or newer, or a newer version of this program"
        raise _fault(ReplyFault.VERSION, f"protocol version {VERSION}", str(version), says)
    if answered != sequence:
        raise _fault(ReplyFault.OTHER_SEQUENCE, f"sequence {sequence}", str(answered), "wait for the right one")
    if asked != command:
        raise _fault(ReplyFault.OTHER_COMMAND, f"command {command}", str(asked), "ask again")
    if status:
        found = f"{status} ({STATUS_WORDS.get(status, 'of unknown meaning')})"
        raise _fault(ReplyFault.STATUS, "status 0", found, "see chronyd's own log")
    if reply not in _REPLIES[command]:
        known = " or ".join(str(number) for number in sorted(_REPLIES[command]))
        says = "this version of chrony is newer than what is known here: report it"
        raise _fault(ReplyFault.FORMAT, f"report {known}", str(reply), says)
    body = data[REPLY_HEAD_BYTES:]
    if len(body) < _BODY_BYTES[command]:
        raise _fault(ReplyFault.SHORT, f"{_BODY_BYTES[command]} octets after the head", str(len(body)), "ask again")
    return _READERS[command](body)


def real(word: int) -> float:
    """Return chronyd's 32-bit float: a signed exponent of 7 bits, a signed coefficient of 25; always finite."""
    exponent, coefficient = word >> _COEFFICIENT_BITS, word & ((1 << _COEFFICIENT_BITS) - 1)
    if exponent >= 1 << (_EXPONENT_BITS - 1):
        exponent -= 1 << _EXPONENT_BITS
    if coefficient >= 1 << (_COEFFICIENT_BITS - 1):
        coefficient -= 1 << _COEFFICIENT_BITS
    return float(coefficient) * 2.0 ** (exponent - _COEFFICIENT_BITS)


def reference_word(source: SourceData) -> str | None:
    """Return how a source is called in names of references: its address with `-` for `:`, a refclock's refid; None
    where it has no address yet. Different addresses have different words.
    """
    return None if source.address is None else name_word(source.address)


def name_word(text: str) -> str:
    """Return an address or a refid as part of a name: `-` for what no name may hold."""
    return "".join(letter if _is_name_letter(letter) else "-" for letter in text)


def refid_text(octets: bytes) -> str:
    """Return a refid as text where it is text (letters and digits of ASCII, trailing zeros cut), else as hexadecimal
    digits.
    """
    text = octets.rstrip(b"\0")
    if text and all(chr(octet).isalnum() and octet < 128 for octet in text):
        return text.decode("ascii")
    return octets.hex().upper()


def _is_name_letter(letter: str) -> bool:
    return letter in "_.-" or (letter.isascii() and letter.isalnum())


def _fault(fault: ReplyFault, expected: str, found: str, do_next: str) -> ChronyReplyRejected:
    return ChronyReplyRejected(fault, expected=expected, found=found, do_next=do_next)


def _value(what: str, expected: str, found: object) -> ChronyReplyRejected:
    says = "this version of chrony may be newer than what is known here: report it"
    return _fault(ReplyFault.VALUE, f"{what} {expected}", str(found), says)


def _read_n_sources(body: bytes) -> NSources:
    (n,) = struct.unpack_from(">I", body)
    return NSources(n)


def _read_source_data(body: bytes) -> SourceData:
    address, poll, stratum, state, mode, _flags, reach, since, original, latest, error = _SOURCE_DATA.unpack_from(body)
    if mode > max(SourceMode):
        raise _value("mode", "0 to 2", mode)
    if state > max(SourceState):
        raise _value("state", "0 to 5", state)
    distance_s = real(error)
    if distance_s < 0.0:
        raise _value("root distance", "0 or more", distance_s)
    refclock = mode == SourceMode.REFCLOCK
    return SourceData(
        address=refid_text(address[:4]) if refclock else _read_address(address),
        poll_log2=poll,
        stratum=stratum,
        state=SourceState(state),
        mode=SourceMode(mode),
        reach=reach & 0xFF,
        since_sample_s=None if since == _NEVER else since,
        original_x_local_minus_source_s=real(original),
        x_local_minus_source_s=real(latest),
        root_distance_s=distance_s,
    )


def _read_tracking(body: bytes) -> Tracking:
    refid, address, stratum, leap, high, low, ns, *words = _TRACKING.unpack_from(body)
    if leap > 3:
        raise _value("leap status", "0 to 3", leap)
    if ns >= 10**9:
        raise _value("nanoseconds", "below 10^9", ns)
    seconds = low + (0 if high == 0x7FFFFFFF else high << 32)  # this high part means: 32 bits are all there is
    correction, last, _rms, frequency, residual, skew, delay, dispersion, _interval = (real(word) for word in words)
    if delay < 0.0 or dispersion < 0.0:
        raise _value("root delay and dispersion", "0 or more", f"{delay} and {dispersion}")
    return Tracking(
        reference_id=refid,
        address=_read_address(address),
        stratum=stratum,
        leap=leap,
        reference_time_ns=seconds * 10**9 + ns,
        x_cooked_minus_wall_s=correction,
        last_x_local_minus_source_s=last,
        frequency_ppm=frequency,
        residual_ppm=residual,
        skew_ppm=skew,
        root_delay_s=delay,
        root_dispersion_s=dispersion,
    )


def _read_sourcestats(body: bytes) -> SourceStats:
    refid, address, n, _runs, _span, sd, residual, skew, _offset, _error = _SOURCESTATS.unpack_from(body)
    if real(sd) < 0.0 or real(skew) < 0.0:
        raise _value("standard deviation and skew", "0 or more", f"{real(sd)} and {real(skew)}")
    return SourceStats(refid, _read_address(address), n, real(residual), real(skew), real(sd))


def _read_ntp_data(body: bytes) -> NtpData:
    found = _NTP_DATA.unpack_from(body)
    remote, _local, port, leap, _version, _mode, stratum, _poll, _precision, delay, dispersion, refid = found[:12]
    path_s = real(found[16])
    if leap > 3:
        raise _value("leap", "0 to 3", leap)
    return NtpData(_read_address(remote), port, leap, stratum, refid, real(delay), real(dispersion), path_s)


_READERS: dict[Command, Callable[[bytes], Report]] = {
    Command.N_SOURCES: _read_n_sources,
    Command.SOURCE_DATA: _read_source_data,
    Command.TRACKING: _read_tracking,
    Command.SOURCESTATS: _read_sourcestats,
    Command.NTP_DATA: _read_ntp_data,
}


def _read_address(octets: bytes) -> str | None:
    """Return an address as text; None where chronyd has none (yet)."""
    (family,) = struct.unpack_from(">H", octets, 16)
    if family == _IPV4:
        return str(ipaddress.IPv4Address(octets[:4]))
    if family == _IPV6:
        return str(ipaddress.IPv6Address(octets[:16]))
    if family in {_UNSPECIFIED, _UNRESOLVED}:
        return None
    raise _value("address family", "0 to 3", family)


def _pack_address(text: str) -> bytes:
    """Return an address as octets; one that cannot be read as the unspecified address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return bytes(_ADDRESS_BYTES)
    family = _IPV4 if address.version == 4 else _IPV6
    return address.packed.ljust(16, b"\0") + struct.pack(">HH", family, 0)
