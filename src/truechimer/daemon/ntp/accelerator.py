"""The accelerator of one NTP door: the program below the sockets, its maps, and the thread that keeps them right.

What is answered is decided in `serve.ntp.accelerator`, how in `serve.ntp.accelerator_program`; the door's sockets stay
open and answer whatever the program passes on. Source: `house.md` 4.7, ADR 74.

Law of the file: **it is never needed**. Whatever fails here closes the switch or detaches the program, is said in one
line, and the sockets serve. Nothing is pinned: the program goes with this process, however that ends.
"""

import ipaddress
import math
import mmap
import os
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from truechimer.daemon import notify
from truechimer.daemon.door.door_rules import LEAST_POLL_LOG2, Denied, DoorRules
from truechimer.daemon.door.privileges import URGENT
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp import accelerator_state, bpf_calls
from truechimer.daemon.ntp.accelerator_anchor import MonotonicAnchor, NoAnchor
from truechimer.daemon.ntp.bpf_calls import BpfRejected
from truechimer.daemon.ntp.interfaces import Interface, InterfacesRejected, interfaces
from truechimer.daemon.page_file import PageReader
from truechimer.errors import Misuse
from truechimer.quorum.listener_policy import ListenerPolicy
from truechimer.serve.clock_page import ClockPage
from truechimer.serve.ntp import accelerator as shared
from truechimer.serve.ntp.accelerator import NS_PER_S, VALID_NS, Anchor, NoSegment, RateLimit, Segment, renewed, segment
from truechimer.serve.ntp.accelerator_frame import MOST_ADDRESSES, Place
from truechimer.serve.ntp.accelerator_program import (
    ACCESS_KEY_OCTETS,
    RATE_KEY_OCTETS,
    RATE_VALUE_OCTETS,
    Access,
    Maps,
    Offered,
    program,
)
from truechimer.serve.ntp.rate_table import (
    BURST_NS,
    INTERVAL_NS,
    PREFIX_BURST_NS,
    PREFIX_INTERVAL_NS,
    SECRET_OCTETS,
    RateTable,
)

RENEW_S = 0.01
"""Half of the thread's time is waking it with nothing of its own in the caches: twice as often costs twice as much."""
LONELY_S = 0.1
HELD_NS = 100_000_000
HELD_SHARE = 0.85
"""However hard CLOCK_MONOTONIC is slewed (a tenth at most), this share of `HELD_NS` on the raw counter is within it."""
LOOK_EVERY_NS = NS_PER_S
"""Addresses, policy file and the state file are looked at this often."""
SOURCES = 65_536
"""Sources in the rate table; the one that asked longest ago gives way."""
NETWORKS = 1024
SMALLEST_BROADCAST_NETWORK = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the accelerator of a door is to do: the door's own values, and the file that says how it fares."""

    page: Path
    address: str
    port: int
    bound_limit_s: float
    precision_log2: int
    simulated_allowed: bool
    rules: DoorRules
    state: Path | None = None


@dataclass(slots=True)
class _Attached:
    """A program on an interface; both descriptors are ours."""

    name: str
    place: Place
    program: int
    link: int


@dataclass(frozen=True, slots=True)
class _Held:
    """A segment valid for longer than it is used, and the raw value up to which others may be drawn from it."""

    page: ClockPage
    made: Segment
    until_raw_ns: int


class Accelerator:
    """One door's accelerator: `begin`, `use_policy` when it changes, `close`. It runs in a thread of its own.

    Invariant: the switch is open only while the newest segment was made from what may be served.
    """

    def __init__(self, settings: Settings, *, clocks: HostClocks | None = None) -> None:
        self._settings = settings
        self._clocks = HostClocks() if clocks is None else clocks
        self._anchors = MonotonicAnchor(
            raw_ns=self._clocks.raw_ns,
            monotonic_ns=self._clocks.monotonic_ns,
            suspended_ns=self._clocks.suspended_ns,
        )
        self._pages = PageReader(settings.page)
        self._bound_limit_s = settings.bound_limit_s
        self._attached: dict[int, _Attached] = {}
        self._maps: Maps | None = None
        self._area: mmap.mmap | None = None
        self._networks: dict[bytes, int] = {}
        self._rate = rate_of(settings.rules)
        self._is_policy_laid = True
        self._offers = Offered.VERSION_5_TOO if settings.rules.ntpv5 else Offered.VERSION_4
        self._held: _Held | None = None
        self._number = 0
        self._because = "not begun"
        self._refused: dict[str, str] = {}
        self._lock = threading.Lock()
        self._is_ending = False
        self._thread: threading.Thread | None = None
        self._looked_ns = self._clocks.raw_ns()

    def begin(self, policy: ListenerPolicy | None = None) -> bool:
        """Attach and start; return False, after one line in the journal, where this machine's kernel cannot.

        An interface that is not there yet, or has another program on it, is looked at again every second.
        """
        try:
            self._prepare()
            self.use_policy(policy)
            with self._lock:
                self._match_interfaces(interfaces())
        except (BpfRejected, InterfacesRejected, Misuse, OSError) as error:
            self._because = str(error)
            notify.say_line(f"the accelerator does not run: {self._because}; the sockets serve")
            self._write_state()
            self._release()
            return False
        self._write_state()
        self._thread = threading.Thread(target=self._run, name="accelerator", daemon=True)
        self._thread.start()
        return True

    def use_policy(self, policy: ListenerPolicy | None) -> None:
        """Answer by a policy from now on; None: everybody, up to the limit that the door began with."""
        with self._lock:
            self._held = None
            self._bound_limit_s = self._settings.bound_limit_s if policy is None else policy.bound_limit_s
            self._lay_networks(access_of(self._settings.rules, policy))

    def close(self) -> None:
        """Detach, end the thread, and let everything go."""
        self._is_ending = True
        if self._thread is not None:
            self._thread.join(timeout=1.0)
        with self._lock:
            self._because = "ended"
            self._release()
        if self._settings.state is not None:
            self._settings.state.unlink(missing_ok=True)

    def state(self) -> dict[str, Any]:
        """Return how it fares: whether it is attached and answering now, where, why not, and its counts."""
        document: dict[str, Any] = {
            "attached": bool(self._attached),
            "answering": bool(self._attached) and self._is_open(),
            "interfaces": sorted(one.name for one in self._attached.values()),
            "clock_moved": self._anchors.moved_total,
        }
        if not document["answering"]:
            document["because"] = self._because
        if self._area is not None and self._maps is not None:
            counts = shared.counts_of(self._area[:], self._maps.rows)
            document["counters"] = {count.value: number for count, number in counts.items()}
        return document

    # The thread.

    def _run(self) -> None:
        with suppress(OSError):  # not allowed: then it is a thread like any other
            policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(threading.get_native_id(), policy, os.sched_param(URGENT))
        while not self._has_ended():
            # cheaper by half than waiting for an event, and nobody is kept waiting
            time.sleep(RENEW_S if self._attached else LONELY_S)
            with self._lock:
                if self._has_ended():
                    return
                try:
                    if self._attached:
                        self.renew()
                    if self._clocks.raw_ns() - self._looked_ns >= LOOK_EVERY_NS:
                        self._looked_ns = self._clocks.raw_ns()
                        self._look()
                except Exception as error:  # noqa: BLE001 - the law of the file: a fault of ours closes the switch
                    self._shut(f"a fault of its own: {type(error).__name__}: {error}")

    def _has_ended(self) -> bool:
        return self._is_ending

    def renew(self) -> None:
        """Take an anchor and put the segment made from it in the program's way."""
        area = self._area
        if area is None:
            return
        anchor = self._anchors.take()
        if isinstance(anchor, NoAnchor):
            # A reading that was interrupted says nothing: what stands runs out by itself.
            if anchor is not NoAnchor.WIDE:
                self._shut(f"the rate of the host's clock is not known well enough ({anchor})")
            return
        made = self._segment_from(anchor)
        if isinstance(made, NoSegment):
            if made is NoSegment.UNSYNCHRONISED:
                self._shut("there is no synchronised time to serve")
            return  # what changes soon: the segment that stands ends before that
        if not self._is_policy_laid:
            self._shut("the access list could not be laid")
            return
        self._number += 1
        at = shared.slot_at(self._number)
        octets = shared.slot_octets(made, self._number)
        struct.pack_into("=Q", area, at, 0)  # a slot with two different numbers is read by nobody
        area[at + 8 : at + len(octets)] = octets[8:]
        struct.pack_into("=Q", area, at, self._number)
        struct.pack_into("=Q", area, shared.CURRENT, self._number)
        struct.pack_into("=I", area, shared.OPEN, 1)

    def _segment_from(self, anchor: Anchor) -> Segment | NoSegment:
        """Return the segment to answer from. What `respond` says is asked for again after 100 ms, or with a new page:
        in between only the line is drawn anew.
        """
        page, held = self._pages.current(), self._held
        if (
            held is not None
            and held.page is page
            and anchor.raw_ns < held.until_raw_ns
            and abs(anchor.asleep_ns - held.made.asleep_ns) < shared.SLEPT_NS  # so the raw counter is the same one
        ):
            return renewed(held.made, held.page, anchor)
        self._held, boot_id = None, self._clocks.boot_id()
        ask = partial(
            segment,
            page,
            anchor,
            bound_limit_s=self._bound_limit_s,
            boot_id=boot_id,
            simulated_allowed=self._settings.simulated_allowed,
            precision_log2=self._settings.precision_log2,
        )
        made = ask(valid_ns=VALID_NS + HELD_NS)
        if not isinstance(made, Segment) or not isinstance(page, ClockPage):
            return ask()
        self._held = _Held(page, made, anchor.raw_ns + round(HELD_NS * HELD_SHARE))
        return renewed(made, page, anchor)

    def _look(self) -> None:
        """Look at what changes seldom: the page's file, the addresses of this machine; say how it fares."""
        self._pages.reopen()
        with suppress(InterfacesRejected):
            self._match_interfaces(interfaces())
        self._write_state()

    def _shut(self, because: str) -> None:
        """Close the switch: the next frame goes to the sockets."""
        self._because = because
        if self._area is not None:
            struct.pack_into("=I", self._area, shared.OPEN, 0)

    def _is_open(self) -> bool:
        return self._area is not None and bool(struct.unpack_from("=I", self._area, shared.OPEN)[0])

    # What is in the kernel.

    def _prepare(self) -> None:
        """Make the maps. Raises `BpfRejected`, `OSError`."""
        why = "the door smears leap seconds, and a segment does not" if self._settings.rules.smears else None
        why = why or bpf_calls.why_not_here()
        if why is not None:
            raise OSError(why)
        rows = shared.rows_for(bpf_calls.possible_processors())
        area = _area_map(rows)
        self._maps = Maps(area, rows)
        self._area = mmap.mmap(area, shared.area_octets(rows))
        for row in range(rows):
            struct.pack_into("=Q", self._area, shared.own_bits_at(row), 2 * row)
        access = bpf_calls.create_map(
            bpf_calls.MAP_LPM_TRIE,
            key_octets=ACCESS_KEY_OCTETS,
            value_octets=4,
            entries=NETWORKS,
            flags=bpf_calls.NO_PREALLOCATION,
        )
        self._maps = Maps(area, rows, access)
        if self._rate is not None:
            rates = bpf_calls.create_map(
                bpf_calls.MAP_LRU_HASH,
                key_octets=RATE_KEY_OCTETS,
                value_octets=RATE_VALUE_OCTETS,
                entries=SOURCES,
            )
            self._maps = Maps(area, rows, access, rates)

    def _match_interfaces(self, found: tuple[Interface, ...]) -> None:
        """Let each interface that has an address of the door have the program for it, and no other interface."""
        wanted = {}
        for interface in found:
            place = place_of(interface, self._settings.address)
            if place.addresses:
                wanted[interface.index] = (interface.name, place)
        for index in set(self._attached) - set(wanted):
            self._detach(self._attached.pop(index))
        if not wanted:
            self._refused_on("this machine", f"no interface that is up has the address {self._settings.address}")
        for index, (name, place) in wanted.items():
            here = self._attached.get(index)
            if here is not None and here.place == place:
                continue
            try:
                self._put(index, name, place)
            except BpfRejected as error:
                self._refused_on(name, str(error))
                continue
            self._refused.pop(name, None)
            if here is None:
                where = f"on {name} port {self._settings.port}"
                notify.say_line(f"the accelerator answers plain requests {where} below the sockets")

    def _refused_on(self, name: str, why: str) -> None:
        """Say once why there is no program on an interface."""
        if not self._attached:
            self._because = f"{name}: {why}"
        if self._refused.get(name) != why:
            self._refused[name] = why
            notify.say_line(f"the accelerator is not on {name}: {why}; the sockets serve there")

    def _put(self, index: int, name: str, place: Place) -> None:
        """Put the program for `place` on an interface, in the place of the one before. Raises `BpfRejected`."""
        assert self._maps is not None
        here = self._attached.get(index)
        octets = program(place, port=self._settings.port, maps=self._maps, rate=self._rate, offers=self._offers)
        loaded = bpf_calls.load_program(octets)
        try:
            if here is not None:
                try:
                    bpf_calls.exchange(here.link, loaded)
                except BpfRejected:
                    # an interface that went and came back under the same number has lost its link
                    self._detach(self._attached.pop(index))
                    here = None
            link = bpf_calls.attach(loaded, index) if here is None else here.link
        except BpfRejected:
            os.close(loaded)
            raise
        if here is not None:
            os.close(here.program)
        self._attached[index] = _Attached(name, place, loaded, link)

    def _detach(self, one: _Attached) -> None:
        for descriptor in (one.link, one.program):
            with suppress(OSError):
                os.close(descriptor)

    def _lay_networks(self, wanted: dict[bytes, int]) -> None:
        """Let the access list hold `wanted` (empty: no list is in force), with the switch closed meanwhile."""
        maps, area = self._maps, self._area
        if maps is None or maps.access is None or area is None or (wanted == self._networks and self._is_policy_laid):
            return
        self._shut("the access list is changing")
        self._is_policy_laid = False
        try:
            for key in list(set(self._networks) - set(wanted)):
                bpf_calls.delete(maps.access, key)
                del self._networks[key]
            for key, verdict in wanted.items():
                bpf_calls.update(maps.access, key, struct.pack("=I", verdict))
                self._networks[key] = verdict
        except BpfRejected as error:
            self._shut(str(error))
            return
        struct.pack_into("=I", area, shared.LISTED, bool(wanted))
        self._is_policy_laid = True

    def _release(self) -> None:
        """Detach and close everything."""
        self._shut(self._because)
        for one in self._attached.values():
            self._detach(one)
        self._attached.clear()
        if self._area is not None:
            self._area.close()
            self._area = None
        if self._maps is not None:
            for descriptor in (self._maps.area, self._maps.access, self._maps.rates):
                if descriptor is not None:
                    os.close(descriptor)
            self._maps = None
        self._pages.close()

    def _write_state(self) -> None:
        """Write the state file; one that cannot be written costs nothing else."""
        path = self._settings.state
        if path is not None:
            with suppress(OSError):
                accelerator_state.write(path, self.state())


def why_not() -> str | None:
    """Return why this machine's kernel would not take the program, or None: it is loaded and dropped, not attached."""
    why = bpf_calls.why_not_here()
    if why is not None:
        return why
    opened: list[int] = []
    try:
        rows = shared.rows_for(bpf_calls.possible_processors())
        opened.append(_area_map(rows))
        place = Place(bytes(6), (bytes([127, 0, 0, 1]),), is_loopback=True)
        opened.append(bpf_calls.load_program(program(place, port=123, maps=Maps(opened[0], rows))))
    except (BpfRejected, Misuse, OSError) as error:
        return str(error)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return None


def _area_map(rows: int) -> int:
    return bpf_calls.create_map(
        bpf_calls.MAP_ARRAY,
        key_octets=4,
        value_octets=shared.area_octets(rows),
        entries=1,
        flags=bpf_calls.MAPPABLE,
    )


def place_of(interface: Interface, address: str) -> Place:
    """Return what the program for an interface must know to serve a door at `address`; without addresses where the
    door is not there.
    """
    asked = ipaddress.ip_address(address.partition("%")[0])
    ours = [one for one in interface.addresses if _is_asked(one.ip, asked)]
    if interface.is_loopback and asked.version == 4 and asked.is_loopback and not ours:
        ours = [ipaddress.IPv4Interface(str(asked))]  # all of 127.0.0.0/8 is this host
    broadcasts = {
        one
        for here in interface.addresses
        if here.version == 4 and here.network.prefixlen <= SMALLEST_BROADCAST_NETWORK
        for one in (here.network.network_address.packed, here.network.broadcast_address.packed)
    }
    return Place(
        interface.hardware,
        tuple(sorted({one.ip.packed for one in ours}))[: 2 * MOST_ADDRESSES],
        tuple(sorted(broadcasts))[:MOST_ADDRESSES],
        interface.is_loopback,
    )


def _is_asked(
    here: ipaddress.IPv4Address | ipaddress.IPv6Address, asked: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> bool:
    """Return True where a door at `asked` is reached at `here`: "::" serves IPv4 too."""
    if asked.is_unspecified:
        return asked.version == 6 or here.version == 4
    return here == asked


def rate_of(rules: DoorRules) -> RateLimit | None:
    """Return the rate table's numbers for the rules of a door; None where nothing is limited."""
    if rules.rate_per_s <= 0.0:
        return None
    table = RateTable(bytes(SECRET_OCTETS), rate_per_s=rules.rate_per_s, burst=rules.rate_burst, sets=1)
    return RateLimit(
        interval_ns=table.limits[INTERVAL_NS],
        burst_ns=table.limits[BURST_NS],
        network_interval_ns=table.limits[PREFIX_INTERVAL_NS],
        network_burst_ns=table.limits[PREFIX_BURST_NS],
        poll_log2=max(LEAST_POLL_LOG2, math.ceil(-math.log2(rules.rate_per_s))),
        loopback_too=rules.rate_loopback,
    )


def access_of(rules: DoorRules, policy: ListenerPolicy | None) -> dict[bytes, int]:
    """Return the access list's entries, by key; none where nobody is denied. As in `serve.ntp.access_list` the longest
    prefix decides, of two alike the denial, and where nothing is allowed by name everybody is who is not denied.
    """
    allow = [ipaddress.ip_network(one) for one in rules.allow] if policy is None else list(policy.allow)
    deny = [ipaddress.ip_network(one) for one in rules.deny]
    if not deny and (policy is None and not allow):
        return {}
    denied = Access.KISS if rules.denied == Denied.KISS else Access.DROP
    entries: dict[bytes, int] = {_prefix(ipaddress.IPv6Network("::/0")): denied if allow else Access.ANSWER}
    return (
        entries
        | {_prefix(network): int(Access.ANSWER) for network in allow}
        | {_prefix(network): int(denied) for network in deny}
    )


def _prefix(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bytes:
    """Return a network as the access list's key: the length, then 16 octets."""
    if isinstance(network, ipaddress.IPv4Network):
        return struct.pack("=I", 96 + network.prefixlen) + bytes(10) + b"\xff\xff" + network.network_address.packed
    return struct.pack("=I", network.prefixlen) + network.network_address.packed
