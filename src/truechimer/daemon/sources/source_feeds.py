"""Source feeds: which feed each `[[source]]` of LAB.toml becomes, and what the sources together let the doors say.

It runs no feed and steps no fold. A kind that is new joins here, and the laboratory process stays as it is.
"""

import ipaddress
import queue
from collections.abc import Callable
from dataclasses import dataclass, field

from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.host_port import HostPort
from truechimer.daemon.lab.lab_check import doors_of
from truechimer.daemon.lab.lab_file import LabFile
from truechimer.daemon.lab.listener_settings import Protocol
from truechimer.daemon.lab.source_settings import DEFAULT_CHRONY_SOCKET, Source, SourceKind
from truechimer.daemon.lab_start import Started
from truechimer.daemon.sources.chrony_feed import ChronyFeed
from truechimer.daemon.sources.chrony_log_feed import ChronyLogFeed
from truechimer.daemon.sources.feeds import Batch, Feed, SimulatedFeed
from truechimer.daemon.sources.late_answers import LateAnswers
from truechimer.daemon.sources.ntp_feed import NtpFeed
from truechimer.daemon.sources.readings_feed import KnownNames, ReadingsFeed
from truechimer.daemon.sources.receiver_feed import ReceiverFeed
from truechimer.daemon.sources.wall_watch import WallWatch
from truechimer.daemon.sources.watchdog_feed import WatchdogFeed
from truechimer.formats.finding import Finding
from truechimer.laboratory.line import EpochOutcome
from truechimer.serve.ntp.client import refid_of

WORST_STRATUM = 15
FILE_KINDS = frozenset({SourceKind.READINGS, SourceKind.LINK})


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSurroundings:
    """What feeds are made from: the run, the queue they fill, the raw counter, where refused rows go, and the watch on
    the wall clock, begun by the first feed that asks for it.
    """

    started: Started
    out: "queue.Queue[Batch]"
    raw_now_ns: Callable[[], int]
    on_fault: Callable[[str, Finding], None]
    watch: Callable[[], WallWatch]
    late: LateAnswers = field(default_factory=LateAnswers)


def own_refids(lab: LabFile) -> frozenset[bytes]:
    """Return the reference ids under which other machines' servers would follow us: those of our NTP doors' addresses.
    A loopback address is every machine's own.
    """
    places = (ipaddress.ip_address(one.address) for one in lab.listeners if one.protocol is Protocol.NTP)
    return frozenset(refid_of(one.packed) for one in places if not (one.is_loopback or one.is_unspecified))


def make_feeds(around: FeedSurroundings) -> list[Feed]:
    """Return a feed for each source and each receiver; none runs yet."""
    started = around.started
    made = (_make_feed(source, around) for source in started.lab.sources)
    receivers = (
        ReceiverFeed(
            settings,
            number,
            started.folder / settings.path,
            around.out,
            label=started.label,
            leaps=started.config.leaps,
            raw_now_ns=around.raw_now_ns,
            on_fault=around.on_fault,
            after_ns=started.state.receivers[number].last_ns,
        )
        for number, settings in enumerate(started.lab.receivers)
    )
    return [*(feed for feed in made if feed is not None), *receivers]


def _make_feed(source: Source, around: FeedSurroundings) -> Feed | None:
    """Return the feed of one source, or None where it has nothing to follow."""
    started = around.started
    if source.kind is SourceKind.SIMULATED and started.world is not None:
        return SimulatedFeed(source, started.world, HostClocks(), around.out)
    if source.kind is SourceKind.NTP:
        keys = None if source.keys is None else started.folder / source.keys
        own = own_refids(started.lab)
        return NtpFeed(source, started.label, started.config.leaps, around.out, keys=keys, late=around.late, own=own)
    if source.kind is SourceKind.CHRONY:
        return _chrony_feed(source, around)
    if source.kind is SourceKind.WATCHDOG and source.path is not None:
        path, page = started.folder / source.path, started.folder / "run" / "clock.page"
        label, leaps = started.label, started.config.leaps
        return WatchdogFeed(source, path, page, label=label, leaps=leaps, out=around.out)
    if source.kind in FILE_KINDS and source.path is not None:
        return ReadingsFeed(
            source,
            started.folder / source.path,
            around.out,
            known_names=KnownNames([clock.name for clock in started.state.register.clocks]),
            label=started.label,
            wall=around.watch(),
            raw_now_ns=around.raw_now_ns,
            max_age_s=started.lab.max_age_s(source),
            on_fault=around.on_fault,
            delays={delay.clock: delay for delay in started.lab.delays},
            after_ns=started.state.epoch_ns if source.kind is SourceKind.READINGS else _heard(started, source.to),
        )
    return None


def _chrony_feed(source: Source, around: FeedSurroundings) -> Feed:
    """Return the feed of a chronyd: by its command socket, or by its logs."""
    started = around.started
    if source.logdir is not None:
        return ChronyLogFeed(
            source,
            started.folder / source.logdir,
            started.label,
            started.config.leaps,
            around.out,
            wall=around.watch(),
            on_fault=around.on_fault,
        )
    own = tuple(
        HostPort(listener.address, listener.port_number)
        for listener in doors_of(started.lab, observe=started.config.observing)
        if listener.protocol is Protocol.NTP
    )
    path = started.folder / (source.socket or DEFAULT_CHRONY_SOCKET)
    return ChronyFeed(source, path, started.label, started.config.leaps, around.out, own_doors=own)


def _heard(started: Started, reference: str | None) -> int:
    """Return the epoch of the last value of a link that earlier records hold."""
    state = started.state
    return max(
        (
            claim.epoch_ns
            for claim, link in zip(state.claims, state.register.outside, strict=False)
            if state.register.references[link.reference].name == reference
        ),
        default=0,
    )


def oldest_epoch_s(lab: LabFile) -> float | None:
    """Return how old the newest epoch may be where the epochs come from files, else None."""
    kinds = {source.kind for source in lab.sources}
    wanted = SourceKind.READINGS
    if wanted not in kinds:
        if SourceKind.LINK not in kinds or kinds & {SourceKind.NTP, SourceKind.CHRONY, SourceKind.SIMULATED}:
            return None
        wanted = SourceKind.LINK
    return min(lab.max_age_s(source) for source in lab.sources if source.kind is wanted)


def stratum(feeds: list[Feed], batch: Batch, outcome: EpochOutcome | None, started: Started) -> int:
    """Return what the NTP door may say: one more than the middle one of the servers followed, so that no few of them
    that claim to be far from any clock push us out of everybody's reach; 1 where none is followed. Who has not answered
    yet has no stratum.
    """
    servers = {name: server.stratum for feed in feeds for name, server in feed.servers().items()}
    followed = {name: value for name, value in servers.items() if value is not None}
    register = started.state.register
    if outcome is not None and outcome.selection.selected:
        names = {register.references[register.outside[k].reference].name for k in outcome.selection.selected}
        followed = {name: value for name, value in followed.items() if name in names}
    if not followed:
        return 1 if outcome is not None and outcome.selection.selected else batch.stratum + 1
    ranks = sorted(followed.values())
    return min(ranks[len(ranks) // 2] + 1, WORST_STRATUM)
