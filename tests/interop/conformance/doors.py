"""Doors of this server for the sheets: real UDP sockets, all turned by one thread."""

import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.daemon_serve.doors import a_live_page
from tests.daemon_serve.simulated_host import OnePage
from tests.interop.conformance import keyed
from tests.interop.conformance.wire import UNIX_TO_NTP_S, Door

from truechimer.daemon.door.counters import Counters
from truechimer.daemon.door.door_rules import DoorRules, Gatekeeper
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp.ntp_loop import NtpLoop, UdpPort
from truechimer.instants import FS_PER_S
from truechimer.serve import ClockPage, ServiceState

ERA_1_TAI_S = 2**32 - UNIX_TO_NTP_S + 37
SECRET = bytes(range(128))


@dataclass(frozen=True)
class Kind:
    """A kind of door: its rules, what of its page is other than ordinary, its address."""

    rules: dict[str, Any] = field(default_factory=dict)
    page: dict[str, Any] = field(default_factory=dict)
    era_1_in_s: float | None = None
    leap_in_s: int | None = None
    removed: bool = False
    address: str = "127.0.0.1"
    asked_at: str = "127.0.0.1"


FIVE = {"ntpv5": True}
KINDS: dict[str, Kind] = {
    "across-the-era": Kind(era_1_in_s=0.4),
    "plain": Kind(),
    "plain over IPv6": Kind(address="::1", asked_at="::1"),
    "interleaved": Kind(),
    "without-version-5": Kind(),
    "keyed": Kind({"keys": "keys"}),
    "version-5": Kind({"keys": "keys", **FIVE}),
    "unsynchronised": Kind({"keys": "keys", **FIVE}, {"state": ServiceState.ALARM}),
    "before-a-leap": Kind(FIVE, leap_in_s=40_000),
    "before-a-removal": Kind(leap_in_s=40_000, removed=True),
    "a-week-before-a-leap": Kind(FIVE, leap_in_s=7 * 86_400),
    "after-2036": Kind(FIVE, era_1_in_s=-100_000.0),
    "rated": Kind({"rate_per_s": 1.0, "rate_burst": 8, "rate_loopback": True, **FIVE}),
    "denied": Kind({"deny": ("127.0.0.1/32",), **FIVE}),
    "denied-aloud": Kind({"deny": ("127.0.0.0/8",), "denied": "kiss", **FIVE}),
    "everywhere": Kind(address="0.0.0.0"),
    "everywhere-of-both": Kind(address="::"),
    "smearing": Kind({"smear": "linear-24h"}, leap_in_s=10_000),
    "not-interleaved": Kind({"interleaved": False}),
}
"""By sheet; a sheet's name may go on after a blank."""


def page_of(kind: Kind) -> ClockPage:
    """Return an ordinary page of this moment with what a kind has otherwise."""
    page = a_live_page()
    changes: dict[str, Any] = dict(kind.page)
    tai_fs = page.anchor_tai_fs
    if kind.era_1_in_s is not None:
        tai_fs = ERA_1_TAI_S * FS_PER_S - round(kind.era_1_in_s * FS_PER_S)
    if kind.leap_in_s is not None:
        changes |= {
            "next_leap_tai_s": tai_fs // FS_PER_S + kind.leap_in_s,
            "next_tai_minus_utc_s": 36 if kind.removed else 38,
        }
    changes |= {
        "anchor_raw_ns": page.anchor_raw_ns,
        "anchor_tai_fs": tai_fs,
        "leap_expires_tai_s": tai_fs // FS_PER_S + 100 * 86_400,
    }
    return a_live_page(**changes)


class Turner(threading.Thread):
    """Turns loops as their sockets have something."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.loops: dict[UdpPort, NtpLoop] = {}
        self.counters: dict[UdpPort, Counters] = {}
        self.ended = threading.Event()

    def open(self, kind: Kind, folder: Path) -> UdpPort:
        """Open a door of a kind."""
        rules = DoorRules(**kind.rules)
        if rules.keys is not None:
            path = folder / rules.keys
            path.write_text(keyed.key_file())
            path.chmod(0o600)
            rules = DoorRules(**(kind.rules | {"keys": str(path)}))
        gate = Gatekeeper(rules, secret=SECRET)
        assert gate.look_at_keys() is None
        port, counters = UdpPort(kind.address, 0), Counters()
        loop = NtpLoop(
            port,
            OnePage(page_of(kind)),
            clocks=HostClocks(),
            counters=counters,
            bound_limit_s=1e-3,
            precision_log2=-23,
            gate=gate,
        )
        self.loops[port], self.counters[port] = loop, counters
        return port

    def run(self) -> None:
        by_descriptor = {port.socket.fileno(): loop for port, loop in self.loops.items()}
        while not self.ended.is_set():
            ready = select.select(list(by_descriptor), [], [], 0.01)[0]
            for descriptor in ready or by_descriptor:
                by_descriptor[descriptor].turn(0.0)

    def close(self) -> None:
        self.ended.set()
        self.join(5)
        for port in self.loops:
            port.close()


@contextmanager
def doors_for(names: list[str], folder: Path) -> Iterator[dict[str, Door]]:
    """Open a door for each of these kinds; give who asks them."""
    turner = Turner()
    ports = {name: turner.open(KINDS[name], folder) for name in names}
    turner.start()
    try:
        yield {
            name: Door(
                KINDS[name].asked_at,
                port.port,
                is_true=KINDS[name].era_1_in_s is None and not KINDS[name].rules.get("smear"),
            )
            for name, port in ports.items()
        }
    finally:
        turner.close()
