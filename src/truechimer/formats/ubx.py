"""UBX, the binary messages of u-blox receivers: a stream of bytes to frames, and frames to the messages of a time link.

It judges nothing (`compare.receiver_quality`) and opens no port. A stream is cut into pieces that together are every
byte of it, so that `write(read(data)[0]) == data` whatever stood there: frames with a good checksum, NMEA sentences
between them, and stretches that are neither. After damage it looks for the next frame from the very next byte, so a
broken length costs no message that follows it.

Sources: u-blox's interface descriptions, "UBX frame structure", "UBX checksum" (8-bit Fletcher, RFC 1145) and the
payload tables of the messages named here (generations 8 to 10; SEC-SIG in both versions). Layouts were held against an
independent encoder (pyubx2), whose bytes are in the tests.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from truechimer.formats.finding import Finding, Severity

SYNC = b"\xb5\x62"
_OVERHEAD = 8
LARGEST_PAYLOAD = 8_192
"""Octets: no message read here, nor any that a receiver sends by itself, is longer."""
LONGEST_SENTENCE = 128
MOST_FINDINGS = 200


class NavStatus(NamedTuple):
    """NAV-STATUS. `flags2` bits 3-4: the receiver's own word on spoofing (1 none, 2 indicated, 3 many times)."""

    itow_ms: int
    fix: int
    flags: int
    fix_stat: int
    flags2: int
    ttff_ms: int
    msss_ms: int


class NavPvt(NamedTuple):
    """NAV-PVT: position (1e-7 deg, mm), date and time of day in UTC; `valid` bits 0, 1: date and time are valid;
    `flags` bit 0: the fix is good.
    """

    itow_ms: int
    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    valid: int
    t_acc_ns: int
    nano_ns: int
    fix: int
    flags: int
    flags2: int
    satellites: int
    lon_e7: int
    lat_e7: int
    height_mm: int
    height_msl_mm: int
    h_acc_mm: int
    v_acc_mm: int
    north_mm_per_s: int
    east_mm_per_s: int
    down_mm_per_s: int
    ground_mm_per_s: int
    heading_e5: int
    s_acc_mm_per_s: int
    heading_acc_e5: int
    pdop_e2: int
    flags3: int
    reserved: bytes
    heading_vehicle_e5: int
    declination_e2: int
    declination_acc_e2: int


class NavClock(NamedTuple):
    """NAV-CLOCK: the receiver's oscillator against the system's time: bias (ns) and drift (ns/s)."""

    itow_ms: int
    bias_ns: int
    drift_ns_per_s: int
    t_acc_ns: int
    f_acc_ps_per_s: int


class NavTimeGps(NamedTuple):
    """NAV-TIMEGPS: GPS time of the epoch is `itow_ms` + `ftow_ns`; `leap_s`: GPS minus UTC; `valid` bits 0, 1, 2: time
    of week, week, leap seconds.
    """

    itow_ms: int
    ftow_ns: int
    week: int
    leap_s: int
    valid: int
    t_acc_ns: int


class NavTimeUtc(NamedTuple):
    """NAV-TIMEUTC: the epoch by the broadcast UTC parameters; `valid` bit 2: UTC is valid; bits 4-7: whose UTC."""

    itow_ms: int
    t_acc_ns: int
    nano_ns: int
    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    valid: int


class NavTimeGlo(NamedTuple):
    """NAV-TIMEGLO: GLONASS time of day (s) and its fraction; `valid` bit 0: time of day."""

    itow_ms: int
    tod_s: int
    ftod_ns: int
    day: int
    four_years: int
    valid: int
    t_acc_ns: int


class NavTimeWeek(NamedTuple):
    """NAV-TIMEGAL and NAV-TIMEBDS: time of week (s) of that system, its fraction, week, leap seconds; `valid` bits 0,
    1, 2: time of week, week, leap seconds.
    """

    itow_ms: int
    tow_s: int
    ftow_ns: int
    week: int
    leap_s: int
    valid: int
    t_acc_ns: int


class NavTimeLs(NamedTuple):
    """NAV-TIMELS: `current_s`: GPS minus UTC; `change_s` at `until_event_s`; `valid` bits 0, 1: of these two."""

    itow_ms: int
    version: int
    reserved0: bytes
    current_source: int
    current_s: int
    change_source: int
    change_s: int
    until_event_s: int
    week: int
    day: int
    reserved1: bytes
    valid: int


class Satellite(NamedTuple):
    """One satellite of NAV-SAT. `flags` bit 3: it is used. `system`: 0 GPS, 2 Galileo, 3 BeiDou, 6 GLONASS."""

    system: int
    number: int
    cno_dbhz: int
    elevation_deg: int
    azimuth_deg: int
    residual_dm: int
    flags: int


class NavSat(NamedTuple):
    """NAV-SAT: the satellites of an epoch."""

    itow_ms: int
    version: int
    reserved: bytes
    satellites: tuple[Satellite, ...]


class RfBlock(NamedTuple):
    """One receiving path of MON-RF. `flags` bits 0-1: jamming (1 none, 2 warning, 3 critical); `agc`: 0 to 8191."""

    block: int
    flags: int
    antenna: int
    power: int
    post: int
    reserved1: int
    noise: int
    agc: int
    jam_indicator: int
    i_offset: int
    i_size: int
    q_offset: int
    q_size: int
    reserved2: bytes


class MonRf(NamedTuple):
    """MON-RF: all receiving paths."""

    version: int
    reserved: bytes
    blocks: tuple[RfBlock, ...]


class MonHw(NamedTuple):
    """MON-HW of older receivers: noise, AGC, and `flags` bits 2-3: jamming."""

    pins: bytes
    noise: int
    agc: int
    antenna: int
    power: int
    flags: int
    reserved0: int
    rest: bytes
    jam_indicator: int
    rest1: bytes


class SecSig(NamedTuple):
    """SEC-SIG, versions 1 and 2: `jamming` (1 none, 2 warning, 3 critical), `spoofing` (1 none, 2 indicated, 3
    affirmed), 0 where the receiver does not look; `rest`: the payload as it stands.
    """

    jamming: int
    spoofing: int
    rest: bytes


class NavEoe(NamedTuple):
    """NAV-EOE: all messages of an epoch have been sent."""

    itow_ms: int


Message = (
    NavStatus
    | NavPvt
    | NavClock
    | NavTimeGps
    | NavTimeUtc
    | NavTimeGlo
    | NavTimeWeek
    | NavTimeLs
    | NavSat
    | MonRf
    | MonHw
    | SecSig
    | NavEoe
)


@dataclass(frozen=True, slots=True)
class Frame:
    """One UBX frame with a good checksum. `at`: the octet at which it stands. `message`: what it says, None for
    messages that are not read here (which is no fault) and for payloads of another length or version (which is found).
    """

    at: int
    class_id: int
    message_id: int
    payload: bytes
    message: Message | None

    @property
    def name(self) -> str:
        """The message's name, `01-07` where it has none here."""
        known = _KNOWN.get((self.class_id, self.message_id))
        return known[0] if known else f"{self.class_id:02x}-{self.message_id:02x}"


@dataclass(frozen=True, slots=True)
class Sentence:
    """An NMEA sentence that stands between frames, with its line end; `formats.nmea` reads it."""

    at: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes that are neither."""

    at: int
    data: bytes


Piece = Frame | Sentence | Stretch


_LAYOUTS: dict[type, struct.Struct] = {
    NavStatus: struct.Struct("<IBBBBII"),
    NavPvt: struct.Struct("<IHBBBBBBIiBBBBiiiiIIiiiiiIIHH4sihH"),
    NavClock: struct.Struct("<IiiII"),
    NavTimeGps: struct.Struct("<IihbBI"),
    NavTimeUtc: struct.Struct("<IIiHBBBBBB"),
    NavTimeGlo: struct.Struct("<IIiHBBI"),
    NavTimeWeek: struct.Struct("<IIihbBI"),
    NavTimeLs: struct.Struct("<IB3sBbBbiHH3sB"),
    MonHw: struct.Struct("<16sHHBBBB21sB14s"),
    NavEoe: struct.Struct("<I"),
}
_SATELLITE, _BLOCK = struct.Struct("<BBBbhhI"), struct.Struct("<BBBBIIHHBbBbB3s")


def _fixed(kind: type) -> Callable[[bytes], Message | None]:
    form = _LAYOUTS[kind]

    def take(payload: bytes) -> Message | None:
        return kind._make(form.unpack(payload)) if len(payload) == form.size else None  # type: ignore[attr-defined]

    return take


def _nav_sat(payload: bytes) -> Message | None:
    if len(payload) < 8 or payload[4] != 1 or len(payload) != 8 + _SATELLITE.size * payload[5]:
        return None
    satellites = tuple([Satellite._make(each) for each in _SATELLITE.iter_unpack(payload[8:])])
    return NavSat(int.from_bytes(payload[:4], "little"), 1, payload[6:8], satellites)


def _mon_rf(payload: bytes) -> Message | None:
    if len(payload) < 4 or payload[0] != 0 or len(payload) != 4 + _BLOCK.size * payload[1]:
        return None
    return MonRf(0, payload[2:4], tuple([RfBlock._make(each) for each in _BLOCK.iter_unpack(payload[4:])]))


def _sec_sig(payload: bytes) -> Message | None:
    if len(payload) == 12 and payload[0] == 1:
        jam, spoof = payload[4], payload[8]
        return SecSig((jam >> 1) & 3 if jam & 1 else 0, (spoof >> 1) & 7 if spoof & 1 else 0, payload)
    if len(payload) >= 4 and payload[0] == 2 and len(payload) == 4 + 4 * payload[3]:
        flags = payload[1]
        return SecSig((flags >> 1) & 3 if flags & 1 else 0, (flags >> 4) & 7 if flags & 8 else 0, payload)
    return None


_KNOWN: dict[tuple[int, int], tuple[str, type, Callable[[bytes], Message | None]]] = {
    (0x01, 0x03): ("NAV-STATUS", NavStatus, _fixed(NavStatus)),
    (0x01, 0x07): ("NAV-PVT", NavPvt, _fixed(NavPvt)),
    (0x01, 0x20): ("NAV-TIMEGPS", NavTimeGps, _fixed(NavTimeGps)),
    (0x01, 0x21): ("NAV-TIMEUTC", NavTimeUtc, _fixed(NavTimeUtc)),
    (0x01, 0x22): ("NAV-CLOCK", NavClock, _fixed(NavClock)),
    (0x01, 0x23): ("NAV-TIMEGLO", NavTimeGlo, _fixed(NavTimeGlo)),
    (0x01, 0x24): ("NAV-TIMEBDS", NavTimeWeek, _fixed(NavTimeWeek)),
    (0x01, 0x25): ("NAV-TIMEGAL", NavTimeWeek, _fixed(NavTimeWeek)),
    (0x01, 0x26): ("NAV-TIMELS", NavTimeLs, _fixed(NavTimeLs)),
    (0x01, 0x35): ("NAV-SAT", NavSat, _nav_sat),
    (0x01, 0x61): ("NAV-EOE", NavEoe, _fixed(NavEoe)),
    (0x0A, 0x09): ("MON-HW", MonHw, _fixed(MonHw)),
    (0x0A, 0x38): ("MON-RF", MonRf, _mon_rf),
    (0x27, 0x09): ("SEC-SIG", SecSig, _sec_sig),
}
_NUMBERS = {name: numbers for numbers, (name, _, _) in _KNOWN.items()}


def checksum(data: bytes) -> bytes:
    """Return the two octets that follow class, number, length and payload."""
    return bytes((sum(data) & 255, sum(accumulate(data)) & 255))


def payload_of(message: Message) -> bytes:
    """Return a message's payload. Raises `struct.error` for a value that its field cannot hold."""
    match message:
        case NavSat():
            head = struct.pack("<IBB2s", message.itow_ms, message.version, len(message.satellites), message.reserved)
            return head + b"".join([_SATELLITE.pack(*each) for each in message.satellites])
        case MonRf():
            head = struct.pack("<BB2s", message.version, len(message.blocks), message.reserved)
            return head + b"".join([_BLOCK.pack(*each) for each in message.blocks])
        case SecSig():
            return message.rest
        case _:
            return _LAYOUTS[type(message)].pack(*message)


def sec_sig(jamming: int, spoofing: int) -> SecSig:
    """Return a SEC-SIG of version 1 that looks for both."""
    payload = struct.pack("<B3xB3xB3x", 1, 1 | jamming << 1, 1 | spoofing << 1)
    return SecSig(jamming, spoofing, payload)


def frame(name: str, message: Message, *, at: int = 0) -> Frame:
    """Return the frame of a message; `name` as in the interface description, "NAV-PVT"."""
    class_id, message_id = _NUMBERS[name]
    return Frame(at, class_id, message_id, payload_of(message), message)


def _bytes_of(piece: Piece) -> bytes:
    if isinstance(piece, Frame):
        body = struct.pack("<BBH", piece.class_id, piece.message_id, len(piece.payload)) + piece.payload
        return SYNC + body + checksum(body)
    return piece.data


def write(pieces: Sequence[Piece]) -> bytes:
    """Return the bytes of a stream."""
    return b"".join([_bytes_of(piece) for piece in pieces])


def read(data: bytes) -> tuple[tuple[Piece, ...], list[Finding]]:
    """Cut a stream into its pieces; every byte is in one of them. A finding's column is the octet, counted from 1."""
    pieces: list[Piece] = []
    findings: list[Finding] = []
    at = junk = 0
    n = len(data)
    while at < n:
        if data[at] == 0xB5:
            found: Piece | None = _frame_at(data, at, findings)
            length = len(found.payload) + _OVERHEAD if isinstance(found, Frame) else 0
        elif data[at] == 0x24:
            found = _sentence_at(data, at)
            length = len(found.data) if isinstance(found, Sentence) else 0
        else:
            found, length = None, 0
        if found is None:
            at = _next_start(data, at + 1)
            continue
        if junk < at:
            pieces.append(_stretch(data, junk, at, findings))
        pieces.append(found)
        at += length
        junk = at
    if junk < n:
        pieces.append(_stretch(data, junk, n, findings))
    if len(findings) > MOST_FINDINGS:
        more = len(findings) - MOST_FINDINGS
        del findings[MOST_FINDINGS:]
        findings.append(Finding("more", f"{more} further places of this stream are damaged"))
    return tuple(pieces), findings


def _next_start(data: bytes, at: int) -> int:
    """Return the next octet at which a frame or a sentence may begin."""
    found = [where for where in (data.find(SYNC, at), data.find(b"$", at)) if where >= 0]
    return min(found, default=len(data))


def _stretch(data: bytes, begin: int, end: int, findings: list[Finding]) -> Stretch:
    part = data[begin:end]
    if part.strip():
        says = f"{end - begin} octets from {begin} are no message: lost or damaged on the line"
        findings.append(Finding("damaged", says, None, begin + 1, Severity.WARNING))
    return Stretch(begin, part)


def _frame_at(data: bytes, at: int, findings: list[Finding]) -> Frame | None:
    if data[at : at + 2] != SYNC or at + _OVERHEAD > len(data):
        return None
    class_id, message_id, length = struct.unpack_from("<BBH", data, at + 2)
    end = at + 6 + length
    if length > LARGEST_PAYLOAD or end + 2 > len(data):
        return None
    if checksum(data[at + 2 : end]) != data[end : end + 2]:
        return None
    payload = data[at + 6 : end]
    known = _KNOWN.get((class_id, message_id))
    message = known[2](payload) if known else None
    # an empty payload is how a host asks for the message
    if known and message is None and payload:
        says = f"{known[0]} of {length} octets has another length or version than those that are read; it is left out"
        findings.append(Finding("layout", says, None, at + 1, Severity.WARNING))
    return Frame(at, class_id, message_id, payload, message)


def _sentence_at(data: bytes, at: int) -> Sentence | None:
    end = data.find(b"\n", at, at + LONGEST_SENTENCE)
    if end < 0:
        return None
    part = data[at : end + 1]
    body = part.rstrip()
    printable = all(32 <= octet < 127 for octet in body)
    return Sentence(at, part) if printable and body[1:2].isalpha() else None
