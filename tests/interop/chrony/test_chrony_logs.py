"""The logs of Debian's chronyd as a source: a server that is 50 ms ahead is 50 ms ahead, over a rotation too."""

import os
import queue
import time
from pathlib import Path

import pytest
from tests.daemon_chrony.chronyds import chronyd, liar, server
from tests.daemon_laboratory.laboratories import TAI_MINUS_UTC_NS
from tests.waits import until

from truechimer.compare.reading import Reading
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.source_settings import Source, SourceKind
from truechimer.daemon.sources.chrony_log_feed import ChronyLogFeed
from truechimer.daemon.sources.feeds import Batch, HostLabel
from truechimer.daemon.sources.wall_watch import WallWatch
from truechimer.formats.finding import Finding
from truechimer.instants import builtin_leap_table

pytestmark = [pytest.mark.needs_chrony, pytest.mark.slow]


def test_a_server_that_is_ahead_is_read_ahead_and_a_rotation_loses_nothing() -> None:
    out: queue.Queue[Batch] = queue.Queue()
    faults: list[tuple[str, Finding]] = []
    pair = HostClocks().take_pair()
    label = HostLabel(pair.raw_ns, pair.realtime_ns + TAI_MINUS_UTC_NS)
    wall = WallWatch(label, builtin_leap_table())
    with (
        server("127.0.3.2") as one,
        liar("127.0.3.4", "127.0.3.2", one, shift_s=0.05) as path,
        chronyd(
            f"server 127.0.3.2 port {one} iburst minpoll 0 maxpoll 0 prefer trust",
            f"server 127.0.3.4 port {path.port} iburst minpoll 0 maxpoll 0",
            "port 0",
            "logdir {folder}",
            "log measurements tracking",
        ) as running,
    ):
        source = Source(name="c", kind=SourceKind.CHRONY, logdir=str(running.folder))
        feed = ChronyLogFeed(
            source,
            running.folder,
            label,
            builtin_leap_table(),
            out,
            wall=wall,
            on_fault=lambda name, finding: faults.append((name, finding)),
        )
        wall.start()
        feed.start()
        try:
            until(lambda: feed.status.answers >= 8, what=lambda: str(feed.document()))
            rotated(running.folder)
            running.ask("cyclelogs")
            answers = feed.status.answers
            until(lambda: feed.status.answers >= answers + 6, what=lambda: str(feed.document()))
        finally:
            feed.stop()
            wall.stop()
            feed.join(5)
            wall.join(5)
    found: dict[str, list[Reading]] = {}
    while not out.empty():
        for reading in out.get_nowait().readings:
            found.setdefault(reading.a, []).append(reading)
    assert set(found) == {"UTC.c.127.0.3.2", "UTC.c.127.0.3.4"}
    for name, lie_s in (("UTC.c.127.0.3.2", 0.0), ("UTC.c.127.0.3.4", 0.05)):
        for reading in found[name]:
            # the host's label was set to this machine's own time, which is what the servers serve
            assert abs(reading.x_a_minus_b_s - lie_s) < reading.limit_s + 6.0 * reading.u_s + 1e-4, reading
    print({name: (len(each), each[-1].x_a_minus_b_s, each[-1].limit_s) for name, each in found.items()})
    assert faults == []


def rotated(folder: Path) -> None:
    """Rename the logs away, as a rotation does; chronyd writes on until it is told."""
    for name in ("measurements", "tracking"):
        os.rename(folder / f"{name}.log", folder / f"{name}.log.1")
    time.sleep(1.1)
