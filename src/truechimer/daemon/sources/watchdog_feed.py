"""The feed of the watchdog: a few of many servers, drawn by lot, asked now and then what they think of the time served
here.

It gives no reading to the scale and has no vote: what it finds is an alert (`watch.khronos` judges). The servers stand
in a file, one `HOST:PORT` a line, read at each look. Source: RFC 9523; RFC 5905 7.4 (who says DENY or RSTR is not asked
again).
"""

import queue
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.host_port import HostPort, split_address
from truechimer.daemon.lab.source_settings import DEFAULT_WATCHDOG_POLL_S, Source
from truechimer.daemon.ntp.ntp_exchange import ExchangeFailure, NtpMeasurement, ask_once, warm_up
from truechimer.daemon.page_file import PageReader
from truechimer.daemon.sources.feeds import NS_PER_S, Batch, Feed, HostLabel, SourceStatus
from truechimer.daemon.sources.ntp_feed import LARGEST_ROOT_DISTANCE_S, STOP
from truechimer.instants import Instant, LeapTable
from truechimer.serve.served_time import ServedTime, serve_at
from truechimer.watch.khronos import KhronosLimits, Look, Next, Verdict, judge, step

TIMEOUT_S = 1.0
ASKED_TOGETHER = 16
LARGEST_FILE = 1 << 20
MOST_SERVERS = 5000
LEAST_SERVERS = 3
FIRST_LOOK_S = 20.0
KIND = "watchdog"

Asker = Callable[[HostPort], NtpMeasurement | ExchangeFailure]


def servers_in(data: bytes) -> tuple[list[HostPort], int]:
    """Return the servers of a file, each once, and how many lines name none; `#` begins a comment."""
    found: dict[HostPort, None] = {}
    bad = 0
    for line in data[:LARGEST_FILE].decode("utf-8", "replace").splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        place = split_address(text) or split_address(f"{text}:123")
        if place is None or len(found) >= MOST_SERVERS:
            bad += 1
        else:
            found[place] = None
    return list(found), bad


class WatchdogFeed(Feed):
    """Looks every `every_s`, and says when the strangers and the time served here have parted, and when they agree
    again.
    """

    def __init__(
        self,
        source: Source,
        path: Path,
        page: Path,
        *,
        label: HostLabel,
        leaps: LeapTable,
        out: "queue.Queue[Batch]",
        limits: KhronosLimits | None = None,
        ask: Asker | None = None,
        first_look_s: float = FIRST_LOOK_S,
    ) -> None:
        every_s = DEFAULT_WATCHDOG_POLL_S if source.poll_s is None else source.poll_s
        super().__init__(source.name, SourceStatus(source.name, KIND, source.name, poll_s=every_s), out)
        self._path, self._page_path = path, page
        self._label, self._leaps = label, leaps
        self._limits = limits or KhronosLimits()
        self._every_s, self._first_look_s = every_s, first_look_s
        self._ask = ask or self._ask_server
        self._local = threading.local()
        self._lot = secrets.SystemRandom()
        self._refused: set[HostPort] = set()
        self._agreed_raw_ns: int | None = None
        self._alarmed = self._blind = False

    def use_leaps(self, leaps: LeapTable) -> None:
        """Follow another leap table from the next answer on."""
        self._leaps = leaps

    def follow(self) -> None:
        """Look, first when the laboratory has had time to begin, then every `every_s`, until `stop`."""
        clocks, pages = HostClocks(), PageReader(self._page_path)
        wait_s = self._first_look_s
        with ThreadPoolExecutor(ASKED_TOGETHER, thread_name_prefix=f"watchdog-{self.status.name}") as together:
            while not self._ended.wait(wait_s):
                wait_s = self._every_s
                pages.reopen()
                verdict = self.look(pages, clocks, together)
                if verdict is not None:
                    self.take(verdict, clocks.raw_ns())

    def look(self, pages: PageReader, clocks: HostClocks, together: ThreadPoolExecutor) -> Verdict | None:
        """Look once; None where nothing is served yet, or there are no servers to ask."""
        status = self.status
        try:
            servers, bad = servers_in(self._path.read_bytes())
        except OSError as error:
            status.says = f"{self._path} cannot be read: {error.strerror}"
            return None
        look = Look()
        while not self._ended.is_set():
            pool = [one for one in servers if one not in self._refused]
            if len(pool) < LEAST_SERVERS:
                status.says = f"{self._path} names {len(pool)} servers that may be asked; name hundreds"
                return None
            asked = pool if look.panic else self._lot.sample(pool, min(self._limits.sample, len(pool)))
            served = serve_at(pages.current(), clocks.raw_ns(), boot_id=clocks.boot_id(), freerun_allowed=True)
            if not isinstance(served, ServedTime):
                status.says = f"nothing is served yet that could be compared ({served.reason})"
                return None
            offsets = self._offsets(asked, pages, clocks, together)
            since_ns = 0 if self._agreed_raw_ns is None else clocks.raw_ns() - self._agreed_raw_ns
            judgement = judge(
                offsets, len(asked), self._limits, bound_s=served.bound_s, since_s=max(0, since_ns) / NS_PER_S
            )
            status.says = f"{bad} lines of {self._path.name} name no server" if bad else ""
            look, then, verdict = step(look, judgement, self._limits, bound_s=served.bound_s)
            if then is Next.REST:
                return verdict
        return None

    def _offsets(
        self, asked: Sequence[HostPort], pages: PageReader, clocks: HostClocks, together: ThreadPoolExecutor
    ) -> list[float]:
        """Ask servers together; return their time minus the time served here at the same moment, s."""
        offsets = []
        for place, found in zip(asked, together.map(self._ask, asked), strict=True):
            self.status.answers += isinstance(found, NtpMeasurement)
            if isinstance(found, ExchangeFailure):
                self.status.failures += 1
                continue
            if found.kiss in STOP:
                self._refused.add(place)
            if not found.synchronised or found.server_tai_fs is None:
                continue
            if found.root_distance_s >= LARGEST_ROOT_DISTANCE_S:
                continue
            served = serve_at(pages.current(), found.raw_mid_ns, boot_id=clocks.boot_id(), freerun_allowed=True)
            if isinstance(served, ServedTime):
                offsets.append((found.server_tai_fs - served.instant.tai_fs) / 1e15)
        return offsets

    def _ask_server(self, place: HostPort) -> NtpMeasurement | ExchangeFailure:
        """Ask one server once, with this thread's own relation of the host's clocks."""
        clocks: HostClocks | None = getattr(self._local, "clocks", None)
        if clocks is None:
            clocks = self._local.clocks = HostClocks()
        warm_up(clocks)
        return ask_once(
            place.host,
            place.port,
            timeout_s=TIMEOUT_S,
            clocks=clocks,
            leaps=self._leaps,
            near=Instant.from_tai_ns(self._label.at(clocks.raw_ns())),
        )

    def take(self, verdict: Verdict, raw_ns: int) -> None:
        """Say what a look came to, where it is news."""
        status, answered = self.status, verdict.judgement.answered
        status.reach = (status.reach << 1 | verdict.known) & 0xFF
        status.last_raw_ns = raw_ns
        if not verdict.known:
            status.says = f"not even all servers together say anything: {answered} answered"
            if not self._blind:
                self.tell(
                    AlertKind.WATCHDOG_BLIND,
                    AlertSeverity.WARNING,
                    f"the watchdog {status.name} sees nothing: {status.says}",
                    "look at the way to the network, and at the list of servers",
                )
            self._blind = True
            return
        self._blind = False
        says = f"{verdict.judgement.answered} servers drawn by lot are {verdict.offset_s:+.6f} s from the time served"
        if verdict.panic:
            says = f"all servers ({answered} answered) are {verdict.offset_s:+.6f} s from the time served here"
        status.says = says
        if verdict.alarm and not self._alarmed:
            self.tell(
                AlertKind.WATCHDOG_AWAY,
                AlertSeverity.CRITICAL,
                f"{says}, which is more than {self._limits.alarm_s:g} s and our bound",
                "hold the steering; compare each source of yours with one that the others cannot reach",
            )
        elif self._alarmed and not verdict.alarm:
            self.tell(
                AlertKind.WATCHDOG_AWAY, AlertSeverity.NOTICE, f"{says}: they agree again", "find out who was off"
            )
        self._alarmed = verdict.alarm
        if not verdict.alarm and not verdict.panic:
            self._agreed_raw_ns = raw_ns
