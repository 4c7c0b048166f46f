"""The feed of an NTP server: asked in a burst at first, then once a poll, as it lets itself be asked.

It judges no server against another (`compare.selection` does). Source: RFC 5905 7.4 (kiss-o'-death: DENY and RSTR mean
stop, RATE means less often), 10 and 11.2 (root distance), 13 (poll); RFC 9109 (a port of its own for each question).
"""

import ipaddress
import queue
from collections import deque
from collections.abc import Collection
from pathlib import Path

from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.compare.path_delay import noise_s
from truechimer.compare.reading import Reading
from truechimer.daemon.door.door_rules import DoorRulesRejected, keys_in
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.source_settings import Source
from truechimer.daemon.ntp.ntp_exchange import ExchangeFailure, NtpMeasurement, ask_once, warm_up
from truechimer.daemon.sources.feeds import LEAP_WORDS, NS_PER_S, Batch, Feed, HostLabel, SourceStatus
from truechimer.daemon.sources.late_answers import LATE_FOR_GOOD, LateAnswers
from truechimer.instants import FS_PER_NS, Instant, LeapTable
from truechimer.serve.ntp.client import is_loop, refid_of
from truechimer.serve.ntp.mac import SymmetricKey

NTP_TIMEOUT_S = 2.0
NTP_JITTER_LEAST_S = 1e-6
"""One sigma of an exchange on the quietest path: what user space, interrupts and the server's own stamps add."""

NTP_DELAYS_KEPT = 32
BURST = 8
"""Questions asked at the start, 2 s apart (or the poll where that is shorter), so that the rate is known soon."""
BURST_EVERY_S = 2.0

LARGEST_ROOT_DISTANCE_S = 3.0
"""A server that may be this wrong by its own word says nothing of the time (chrony's `maxdistance`)."""

LONGEST_POLL_S = 131_072.0
LATE_BEFORE_TOLD = LATE_FOR_GOOD + 2
"""Late answers in a row before somebody is told: when it is known whether others are late as well."""
STOP = frozenset({"DENY", "RSTR"})
LESS_OFTEN = "RATE"


class NtpFeed(Feed):
    """An NTP server as a link `UTC.<name>` minus host.

    One sigma is what the exchange's delay had too much (`compare.path_delay`), and never below the machine's own
    jitter; the limit is the root distance (RFC 5905 section 10), which no averaging removes.
    """

    def __init__(
        self,
        source: Source,
        label: HostLabel,
        leaps: LeapTable,
        out: "queue.Queue[Batch]",
        *,
        keys: Path | None = None,
        late: LateAnswers | None = None,
        own: Collection[bytes] = (),
    ) -> None:
        status = SourceStatus(source.name, "ntp", source.operator_name, poll_s=source.poll_interval_s)
        super().__init__(source.name, status, out)
        place = source.place
        assert place is not None
        self._host, self._port, self._poll_s = place.host, place.port, source.poll_interval_s
        self._label, self._leaps, self._source = label, leaps, source
        self._delays_s: deque[float] = deque(maxlen=NTP_DELAYS_KEPT)
        self._address: str | None = None
        self._asked = 0
        self._is_refused = False
        self._keys = keys
        self._late, self._own = late or LateAnswers(), own
        self._late_in_a_row = 0

    def servers(self) -> dict[str, SourceStatus]:
        """Return the one server."""
        return {f"UTC.{self._source.name}": self.status}

    def use_leaps(self, leaps: LeapTable) -> None:
        """Follow another leap table from the next answer on."""
        self._leaps = leaps

    def follow(self) -> None:
        """Ask, first in a burst, then at the poll interval; where the server refuses us, wait for the end."""
        clocks = HostClocks()
        warm_up(clocks)
        while not self._ended.is_set():
            if self._is_refused:
                self._ended.wait()
                return
            began = clocks.raw_ns()
            try:
                key = self._key()
            except DoorRulesRejected as error:  # never in the clear instead
                self.status.failures += 1
                self.status.says = str(error)
                self._ended.wait(self._poll_s)
                continue
            found = ask_once(
                self._host,
                self._port,
                timeout_s=NTP_TIMEOUT_S,
                clocks=clocks,
                leaps=self._leaps,
                near=Instant.from_tai_ns(self._label.at(began)),
                prefer=self._address,
                key=key,
            )
            self._asked += 1
            self.take(found)
            self._ended.wait((next_question_ns(began, self.every_s) - clocks.raw_ns()) / NS_PER_S)

    def _key(self) -> SymmetricKey | None:
        """Return the key that seals the questions; raises `DoorRulesRejected` where there should be one."""
        if self._keys is None or self._source.key is None:
            return None
        key = keys_in(self._keys).get(self._source.key)
        if key is None:
            raise DoorRulesRejected(f"{self._keys} holds no key {self._source.key}")
        return key

    @property
    def every_s(self) -> float:
        """Time to the next question: short in the first burst."""
        return min(BURST_EVERY_S, self._poll_s) if self._asked < BURST else self._poll_s

    def take(self, found: NtpMeasurement | ExchangeFailure) -> None:
        """Turn an answer into a reading, or note why not."""
        status = self.status
        status.reach = (status.reach << 1) & 0xFF
        if isinstance(found, ExchangeFailure):
            status.failures += 1
            status.says = found.says
            # another address of the same name may answer
            self._address = None
            return
        status.stratum, status.leap, status.late_limit_s = found.stratum, LEAP_WORDS[found.leap], None
        if found.kiss:
            self._obey(found.kiss)
        says = _why_not(found, self._own)
        if says or found.server_tai_fs is None or found.delay_s is None:
            status.failures += 1
            status.says = status.says if found.kiss else says
            return
        if found.address != self._address:
            # another server, or another path: what was learned of delays was the other's
            self._delays_s.clear()
            self._late.forget(status.name)
            self._address = found.address
        if self._late.leaves_out(status.name, status.operator, found.delay_s):
            self._leave_out(found, found.delay_s)
            return
        self._on_time_again()
        status.reach |= 1
        status.answers += 1
        status.says, status.last_raw_ns, status.delay_s = "", found.raw_mid_ns, found.delay_s
        self._delays_s.append(found.delay_s)
        epoch_ns = self._label.at(found.raw_mid_ns)
        own_s = max(NTP_JITTER_LEAST_S, 2.0**found.precision_log2)
        reading = Reading(
            epoch_tai_ns=epoch_ns,
            a=f"UTC.{self._source.name}",
            b="host",
            x_a_minus_b_s=(found.server_tai_fs - epoch_ns * FS_PER_NS) / 1e15,
            u_s=own_s + noise_s(self._delays_s) + (self._source.u_s or 0.0),
            limit_s=found.root_distance_s + (self._source.limit_s or 0.0),
            operator=status.operator,
        )
        self._out.put(Batch(epoch_ns, found.raw_mid_ns, (reading,), found.stratum, None, status.name))

    def _leave_out(self, found: NtpMeasurement, delay_s: float) -> None:
        """Note an answer that came too late to be of use."""
        status = self.status
        status.failures += 1
        status.delay_s, status.late_limit_s = delay_s, found.root_distance_s
        status.says = (
            f"its answers come late: {delay_s * 1e3:.3g} ms, {min(self._delays_s, default=0.0) * 1e3:.3g} ms before; "
            "left out while others come as they use to"
        )
        self._late_in_a_row += 1
        if self._late_in_a_row == LATE_BEFORE_TOLD:
            self.tell(
                AlertKind.SOURCE_LATE,
                AlertSeverity.WARNING,
                f"{status.name}: {status.says}",
                "look at the way to it: somebody or something holds packets back",
            )

    def _on_time_again(self) -> None:
        """Say that answers come as they use to, where it was said that they do not."""
        if self._late_in_a_row >= LATE_BEFORE_TOLD:
            self.tell(
                AlertKind.SOURCE_LATE,
                AlertSeverity.NOTICE,
                f"{self.status.name}: its answers are taken again",
                "find out what held them back",
            )
        self._late_in_a_row = 0

    def _obey(self, kiss: str) -> None:
        """Do as a kiss-o'-death says (RFC 5905 7.4); codes that are not known say nothing."""
        status = self.status
        if kiss == LESS_OFTEN:
            self._asked = max(self._asked, BURST)
            self._poll_s = min(2.0 * max(self._poll_s, BURST_EVERY_S), max(LONGEST_POLL_S, self._poll_s))
            status.poll_s = self._poll_s
            status.says = f"the server wants to be asked less often (RATE): every {self._poll_s:g} s from now on"
            return
        status.says = f"not usable as time: kiss {kiss}"
        if kiss in STOP:
            self._is_refused = True
            status.says = f"the server refuses us ({kiss}): it is not asked again before a restart"
            self.tell(
                AlertKind.SOURCE_REFUSES,
                AlertSeverity.WARNING,
                f"{status.name} refuses to be asked ({kiss}); it is not asked again",
                "ask its operator for leave, or take another server",
            )


def packed_of(address: str) -> bytes:
    """Return a numeric address as 4 or 16 octets; a zone behind it (`%eth0`) is no part of it."""
    return ipaddress.ip_address(address.partition("%")[0]).packed


def next_question_ns(asked_ns: int, every_s: float) -> int:
    """Return the raw value of the next question: on a grid that all sources share, so that their answers come together
    and are judged together, and never sooner than `every_s` after the last.
    """
    every_ns = round(every_s * NS_PER_S)
    # a thread wakes a little late: a hundredth of the interval is the same place of the grid
    late_ns = asked_ns % every_ns
    return asked_ns - late_ns + (1 if late_ns * 100 <= every_ns else 2) * every_ns


def _why_not(found: NtpMeasurement, own: Collection[bytes]) -> str:
    """Return why an answer is no time, "" where it is. `own`: reference ids of our doors' addresses."""
    if not found.synchronised:
        return f"not usable as time: {found.doubt}"
    asked_from = {refid_of(packed_of(found.local))} if found.local else set()
    if is_loop(found.refid, stratum=found.stratum, own=asked_from.union(own)):
        return "not usable as time: it follows this machine (its reference id is of an address of ours)"
    if found.root_distance_s >= LARGEST_ROOT_DISTANCE_S:
        return f"not usable as time: it may be wrong by {found.root_distance_s:.3g} s by its own word"
    return ""
