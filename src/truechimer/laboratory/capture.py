"""Recorded NTP replies against the log: may the doors have said this, then?

It reads no file (`formats.capture_file` and `formats.datagrams` do) and judges no log (`verdict` does). Each reply
that calls itself synchronised names the line that it was made from: its reference stamp is that line's anchor. Leap,
stratum, reference identifier, bound and state must then be those that the log holds for that line at that moment, and
the stamps must stand in their order. When a reply was sent only the capturing machine's clock can say: it is used as
far as its owner vouches for it.

Sources: RFC 5905 7.3 (header), figure 9 (leap); `serve.ntp.server`, which makes the replies.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from truechimer.clocks.register import Register
from truechimer.errors import TruechimerError
from truechimer.evidence.record import number_of
from truechimer.instants import FS_PER_S, Instant, LeapTable, ntp64
from truechimer.laboratory import run_start
from truechimer.laboratory.run_start import RunStart
from truechimer.serve.clock_page import ServiceState
from truechimer.serve.ntp.packet import HEADER_OCTETS, Mode, NtpHeader, NtpLeap, decode
from truechimer.serve.ntp.server import SIMULATED_ANCHOR_DOUBT_S, VERSIONS_ANSWERED

LATE_S = 5.0
"""So long after a new line's moment a reply may still be made from the line before it: records are committed before a
page is written, and a slow disk takes its time."""
UNPAIRED_S = 1.0
"""The longest way of a reply whose request was not captured."""
MOST_PENDING = 100_000
"""Requests that are remembered until they are answered."""
STEP_RATE = 2e-4
"""The most by which the capturing machine's clock is believed to run fast or slow."""
_SYNCHRONISED = (ServiceState.STEERED, ServiceState.HOLDOVER)
_STAMP_S = 2.0**-32
_NS = 10**9


class Fault(StrEnum):
    """What is wrong with a reply."""

    NO_LINE = "no-line"  # its reference stamp is the anchor of no line in the log
    OUTSIDE = "outside"  # the log does not reach the time that it states
    TIME = "time"  # its stamps are not on the line's stretch, or not the capture's time
    STEP = "step"  # against the capture's clock it stepped from the replies before it
    STATE = "state"  # the doors were unsynchronised then, and it says otherwise
    LEAP = "leap"
    STRATUM = "stratum"
    REFID = "refid"
    BOUND = "bound"  # it states a smaller bound than the laboratory had
    DELAY = "root-delay"
    ORDER = "order"  # its stamps do not stand in the order in which they were made
    ORIGIN = "origin"  # it repeats another stamp than its request's


@dataclass(frozen=True, slots=True)
class Line:
    """What the doors were given by one `served-time` record. Times on TAI in fs.

    `refids`: one, or, where its epoch holds no vote on UTC, all that the laboratory may state.
    """

    seq: int
    anchor_tai_fs: int
    until_tai_fs: int
    reference: int
    state: ServiceState
    bound_s: float
    growth: float
    stratum: int
    refids: frozenset[bytes]
    simulated: bool
    leaps: LeapTable


@dataclass(frozen=True, slots=True)
class Seen:
    """One NTP datagram: its frame, when it was captured (ns, POSIX; None: not known), who said it to whom."""

    frame: int
    t_ns: int | None
    server: tuple[str, int]
    client: tuple[str, int]
    header: NtpHeader


@dataclass(frozen=True, slots=True)
class Finding:
    """A reply that the log does not bear out."""

    frame: int
    fault: Fault
    says: str


@dataclass(slots=True)
class Held:
    """What came of a capture: how many replies agree, say unsynchronised, were found wrong; requests; the findings.

    `offset_s`: the greatest and smallest served minus captured time of the replies that agree.
    """

    replies: int = 0
    agree: int = 0
    unsynchronised: int = 0
    requests: int = 0
    findings: list[Finding] = field(default_factory=list)
    lowest_offset_s: float | None = None
    highest_offset_s: float | None = None

    @property
    def wrong(self) -> int:
        """Return how many replies have a finding."""
        return len({one.frame for one in self.findings})


@dataclass(slots=True)
class _Era:
    start: RunStart
    register: Register
    stratum: int = 1
    selected: tuple[int, ...] | None = None


def lines(log: Iterable[bytes]) -> Iterator[Line]:
    """Yield the lines that a log's doors were given, in its order; it ends at the first record that cannot be read."""
    era: _Era | None = None
    for data in log:
        try:
            body = json.loads(data)
            kind = body["kind"]
            if kind == "run-start":
                start = run_start.decode(body)
                era = _Era(
                    start, Register(start.clocks, (), ()).with_links(start.pairs, operators=dict(start.operators))
                )
            elif era is None:
                return
            elif kind == "register":
                pairs = [(str(a), str(b)) for a, b in body["pairs"]]
                operators = {str(name): str(of) for name, of in body["operators"]}
                era.register = era.register.with_links(pairs, operators=operators)
            elif kind == "readings":
                era.stratum, era.selected = int(body.get("stratum", 1)), None
            elif kind == "selection":
                era.selected = tuple(int(k) for k in body["selected"])
            elif kind == "served-time":
                yield _line(era, body)
        except (TruechimerError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            return


def _line(era: _Era, body: dict[str, object]) -> Line:
    start, anchor = era.start, int(str(body["anchor_tai_fs"]))
    refids = dict(start.reference_refids)
    if era.selected is None:
        stated = frozenset({start.refid, *refids.values()})
    else:
        names = [era.register.references[era.register.outside[k].reference].name for k in era.selected]
        # as `laboratory.service.refid_of`
        stated = frozenset({next((refids[name] for name in names if name in refids), start.refid)})
    rate = number_of(str(body["rate"]), "1")
    return Line(
        seq=int(str(body["seq"])),
        anchor_tai_fs=anchor,
        until_tai_fs=anchor + round(start.silence_s * (1.0 + rate) * FS_PER_S),
        reference=ntp64.from_tai_fs(anchor, ntp64.tai_minus_ntp_s(Instant(anchor), start.leaps)),
        state=ServiceState(str(body["state"])),
        bound_s=number_of(str(body["bound_s"]), "s"),
        growth=number_of(str(body["bound_growth"]), "1"),
        stratum=era.stratum,
        refids=stated,
        simulated=start.simulated,
        leaps=start.leaps,
    )


class CaptureCheck:
    """Holds replies against lines, one after another, in the order of the capture."""

    def __init__(self, served: Iterable[Line], *, within_s: float | None = None) -> None:
        """`within_s`: what the capturing machine's clock is vouched for against UTC (None: nothing)."""
        self._lines = sorted(served, key=lambda line: line.anchor_tai_fs)
        self._anchors = [line.anchor_tai_fs for line in self._lines]
        self._by_reference: dict[int, list[int]] = {}
        for n, line in enumerate(self._lines):
            self._by_reference.setdefault(line.reference, []).append(n)
        self._within_s = within_s
        self._pending: dict[tuple[tuple[str, int], tuple[str, int], int], int | None] = {}
        self._last: dict[tuple[str, int], tuple[int, float, float]] = {}
        self.held = Held()

    def take(self, seen: Seen) -> None:
        """Take one datagram in."""
        header = seen.header
        if header.mode == Mode.CLIENT:
            self.held.requests += 1
            if len(self._pending) >= MOST_PENDING:
                self._pending.pop(next(iter(self._pending)))
            self._pending[seen.client, seen.server, header.transmit] = seen.t_ns
            return
        self.held.replies += 1
        before = len(self.held.findings)
        asked_ns = self._asked(seen)
        if header.leap == NtpLeap.UNSYNCHRONISED or not 0 < header.stratum < 16:
            self.held.unsynchronised += 1
            return
        self._judge(seen, asked_ns)
        if len(self.held.findings) == before:
            self.held.agree += 1

    def _found(self, seen: Seen, fault: Fault, says: str) -> None:
        self.held.findings.append(Finding(seen.frame, fault, says))

    def _asked(self, seen: Seen) -> int | None:
        """Return when the request of a reply was captured; None where it was not."""
        key = (seen.client, seen.server, seen.header.origin)
        if key in self._pending:
            return self._pending.pop(key)
        if any(client == seen.client and server == seen.server for client, server, _ in self._pending):
            self._found(seen, Fault.ORIGIN, "it repeats a stamp that none of the requests before it bears")
        return None

    def _judge(self, seen: Seen, asked_ns: int | None) -> None:
        header = seen.header
        index = self._line_of(header)
        if index is None:
            self._no_line(seen)
            return
        line = self._lines[index]
        later = self._lines[index + 1] if index + 1 < len(self._lines) else None
        try:
            near = Instant(line.anchor_tai_fs)
            receive = ntp64.to_instant(header.receive, line.leaps, near=near, beyond_expiry="flag").tai_fs
            transmit = ntp64.to_instant(header.transmit, line.leaps, near=near, beyond_expiry="flag").tai_fs
        except TruechimerError as error:
            self._found(seen, Fault.TIME, f"its stamps name no second: {error}")
            return
        self._order(seen, line, receive, transmit, asked_ns=asked_ns)
        self._line(seen, line, later, receive, transmit)
        self._clock(seen, line, transmit, asked_ns)

    def _line_of(self, header: NtpHeader) -> int | None:
        """Return the line that a reply was made from: its reference stamp is the line's anchor, or, where the request
        came before that moment, the receive stamp (`serve.ntp.server`).
        """
        found = self._by_reference.get(header.reference)
        if found is not None:
            return found[-1]
        if header.reference != header.receive or not self._lines:
            return None
        last = self._lines[-1]
        try:
            near = Instant(last.anchor_tai_fs)
            at = ntp64.to_instant(header.receive, last.leaps, near=near, beyond_expiry="flag").tai_fs
        except TruechimerError:
            return None
        index = bisect_right(self._anchors, at)
        soon = index < len(self._lines) and self._anchors[index] - at <= round(LATE_S * FS_PER_S)
        return index if soon else None

    def _no_line(self, seen: Seen) -> None:
        """Say of a reply of no line whether the log reaches its time at all."""
        if not self._lines:
            self._found(seen, Fault.OUTSIDE, "the log holds no line that was served")
            return
        first, last = self._lines[0], self._lines[-1]
        try:
            near = Instant(last.anchor_tai_fs)
            at = ntp64.to_instant(seen.header.transmit, last.leaps, near=near, beyond_expiry="flag").tai_fs
        except TruechimerError:
            at = first.anchor_tai_fs - 1
        if not first.anchor_tai_fs <= at <= last.until_tai_fs:
            says = "the log does not reach the time that it states"
            self._found(seen, Fault.OUTSIDE, says)
            return
        line = self._lines[bisect_right(self._anchors, at) - 1]
        self._found(
            seen, Fault.NO_LINE, f"it was made from no line of the log; record {line.seq} was served at its time"
        )

    def _order(self, seen: Seen, line: Line, receive: int, transmit: int, *, asked_ns: int | None) -> None:
        """Check the order of its stamps, and its stay in the server against what the capture saw of it."""
        header = seen.header
        if header.receive == 0 or header.transmit == 0:
            self._found(seen, Fault.ORDER, "a synchronised reply without a receive or transmit stamp")
            return
        stay_s = (transmit - receive) / FS_PER_S
        if stay_s < 0.0:
            self._found(seen, Fault.ORDER, f"sent {-stay_s:.9f} s before it was asked")
        if header.reference != header.receive and receive < line.anchor_tai_fs - FS_PER_S // _NS:
            early_s = (line.anchor_tai_fs - receive) / FS_PER_S
            self._found(seen, Fault.ORDER, f"asked {early_s:.9f} s before its own reference stamp")
        if asked_ns is not None and seen.t_ns is not None:
            between_s = (seen.t_ns - asked_ns) / 1e9
            if between_s < 0.0:
                self._found(seen, Fault.ORDER, "captured before its request")
            elif stay_s > between_s * (1.0 + STEP_RATE) + 1e-3:
                says = f"{stay_s:.6f} s between its stamps, and {between_s:.6f} s between request and reply"
                self._found(seen, Fault.ORDER, says)

    def _line(self, seen: Seen, line: Line, later: Line | None, receive: int, transmit: int) -> None:
        """Check what it says of its line."""
        header = seen.header
        if transmit > line.until_tai_fs:
            over = (transmit - line.until_tai_fs) / FS_PER_S
            self._found(seen, Fault.TIME, f"sent {over:.3f} s after the line of record {line.seq} had run out")
        elif later is not None and transmit > later.anchor_tai_fs + round(LATE_S * FS_PER_S):
            over = (transmit - later.anchor_tai_fs) / FS_PER_S
            says = f"made from record {line.seq}, {over:.3f} s after record {later.seq} had taken its place"
            self._found(seen, Fault.TIME, says)
        if line.state not in _SYNCHRONISED:
            self._found(seen, Fault.STATE, f"record {line.seq} says {line.state.value}: the doors were unsynchronised")
        leap = _leap_at(line.leaps, receive), _leap_at(line.leaps, transmit)
        if header.leap not in leap:
            self._found(seen, Fault.LEAP, f"leap {header.leap}, where the log's table says {leap[1]}")
        if header.stratum != line.stratum:
            self._found(seen, Fault.STRATUM, f"stratum {header.stratum}, where record {line.seq} gave {line.stratum}")
        if header.refid not in line.refids:
            gave = " or ".join(sorted(one.hex() for one in line.refids))
            says = f"reference identifier {header.refid.hex()}, where record {line.seq} gave {gave}"
            self._found(seen, Fault.REFID, says)
        if header.root_delay:
            self._found(seen, Fault.DELAY, f"root delay {ntp64.short_to_seconds(header.root_delay):.6f} s: it has none")
        stated_s = ntp64.short_to_seconds(header.root_delay) / 2 + ntp64.short_to_seconds(header.root_dispersion)
        age_s = max(0, receive - line.anchor_tai_fs) / FS_PER_S
        least_s = (
            line.bound_s + line.growth * age_s * (1.0 - 1e-6) + (SIMULATED_ANCHOR_DOUBT_S if line.simulated else 0.0)
        )
        if stated_s < least_s:
            says = f"it states {stated_s:.9f} s (root delay / 2 + dispersion), the log holds {least_s:.9f} s at least"
            self._found(seen, Fault.BOUND, says)

    def _clock(self, seen: Seen, line: Line, transmit: int, asked_ns: int | None) -> None:
        """Check its time against the capture's clock."""
        if seen.t_ns is None:
            return
        tai_minus_ntp_s = ntp64.tai_minus_ntp_s(Instant(transmit), line.leaps)
        offset_s = (transmit - tai_minus_ntp_s * FS_PER_S - seen.t_ns * 10**6) / FS_PER_S
        # the capture was made after the reply left, by no more than the whole exchange took
        way_s = UNPAIRED_S if asked_ns is None else max(0.0, (seen.t_ns - asked_ns) / 1e9)
        bound_s = line.bound_s + line.growth * max(0, transmit - line.anchor_tai_fs) / FS_PER_S
        if self._within_s is not None:
            most_s = self._within_s + bound_s
            if not -(most_s + way_s) <= offset_s <= most_s:
                says = f"served minus captured is {offset_s:+.6f} s, where -{most_s + way_s:.6f} to {most_s:.6f} may be"
                self._found(seen, Fault.TIME, says)
                return
        last = self._last.get(seen.server)
        room_s = way_s + bound_s
        if last is not None and last[0] <= seen.t_ns:
            may_s = room_s + last[2] + STEP_RATE * (seen.t_ns - last[0]) / 1e9
            moved_s = offset_s - last[1]
            if abs(moved_s) > may_s:
                says = f"it moved {moved_s:+.6f} s from the last reply, by the capture's clock; {may_s:.6f} s may be"
                self._found(seen, Fault.STEP, says)
        self._last[seen.server] = (seen.t_ns, offset_s, room_s)
        held = self.held
        held.lowest_offset_s = offset_s if held.lowest_offset_s is None else min(held.lowest_offset_s, offset_s)
        held.highest_offset_s = offset_s if held.highest_offset_s is None else max(held.highest_offset_s, offset_s)


def _leap_at(leaps: LeapTable, tai_fs: int) -> int:
    """Return the leap warning of RFC 5905 figure 9 during the UTC day that ends in a leap second."""
    index = leaps.index_at(tai_fs)
    if index + 1 >= len(leaps.entries):
        return NtpLeap.NONE
    following = leaps.entries[index + 1]
    inserted_s = following.tai_minus_utc_s - leaps.entries[index].tai_minus_utc_s
    if leaps.start_of(following).tai_fs - tai_fs > (86_400 + inserted_s) * FS_PER_S:
        return NtpLeap.NONE
    return NtpLeap.INSERT if inserted_s > 0 else NtpLeap.DELETE


def seen_in(
    payload: bytes, *, frame: int, t_ns: int | None, source: tuple[str, int], target: tuple[str, int]
) -> Seen | None:
    """Return an NTP request or reply; None where a datagram is neither."""
    header = decode(payload)
    if header is None or header.version not in VERSIONS_ANSWERED or len(payload) % 4 or len(payload) < HEADER_OCTETS:
        return None
    if header.mode == Mode.SERVER:
        return Seen(frame, t_ns, source, target, header)
    if header.mode == Mode.CLIENT:
        return Seen(frame, t_ns, target, source, header)
    return None
