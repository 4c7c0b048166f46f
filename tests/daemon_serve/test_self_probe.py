"""The door's own client finds what is wrong between the page and the wire, and the laboratory says it."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.daemon_serve.doors import a_door, a_live_page, a_page_in, until

from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.daemon import counters as names
from truechimer.daemon.counters import Counters, read_counters
from truechimer.daemon.door_watch import LOOK_EVERY_S, DoorWatch
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp_exchange import NtpExchange
from truechimer.daemon.page_file import PageReader
from truechimer.daemon.self_probe import SelfProbe
from truechimer.serve.ntp.client import NtpAnswer
from truechimer.serve.ntp.packet import NtpLeap
from truechimer.serve.ntp.reply import stamp_at
from truechimer.serve.rx_stamp import RxStamp, StampKind

UNITS_PER_NS = 2**32 / 1e9


def an_exchange(page: Any, *, t2_late_ns: int, t3_early_ns: int, delay_ns: int) -> NtpExchange:
    """Return an exchange of `delay_ns` there and back, whose stamps are off by so much."""
    sent = page.anchor_raw_ns + 10**6
    served_ns, came = 30_000, sent + delay_ns + 30_000
    receive = stamp_at(page, sent + delay_ns // 2 + t2_late_ns)
    transmit = stamp_at(page, sent + delay_ns // 2 + served_ns - t3_early_ns)
    answer = NtpAnswer(
        leap=NtpLeap.NONE, version=4, stratum=1, poll_log2=0, precision_log2=-23, root_delay_s=0.0,
        root_dispersion_s=1e-5, refid=b"TRUE", reference=0, receive=receive, transmit=transmit, doubt=None, kiss=None,
    )  # fmt: skip
    rx = RxStamp(came, StampKind.KERNEL, 5e-6)
    return NtpExchange(address="", sent_raw_ns=sent, rx=rx, answer=answer, delay_s=None, rejected=0)


@pytest.mark.parametrize(
    ("t2_late_ns", "t3_early_ns", "error_ns"),
    [(0, 0, 0), (300_000, 0, 150_000), (0, 6_000, -3_000), (-(10**9), 0, -5e8)],
)
def test_a_stamp_read_at_the_wrong_place_is_the_error_that_a_client_would_have(
    tmp_path: Path, t2_late_ns: int, t3_early_ns: int, error_ns: float
) -> None:
    page = a_live_page()
    with a_page_in(tmp_path, page):
        pages = PageReader(tmp_path / "page")
    found = an_exchange(page, t2_late_ns=t2_late_ns, t3_early_ns=t3_early_ns, delay_ns=40_000)
    probe = SelfProbe("127.0.0.1", 1, pages, clocks=HostClocks(), ask=lambda *_: found)
    probe.turn()
    assert probe.seen.error_ns == pytest.approx(error_ns, abs=2)
    assert (probe.seen.asked, probe.seen.unanswered, probe.seen.timed) == (1, 0, 1)
    late = an_exchange(page, t2_late_ns=10**7, t3_early_ns=0, delay_ns=9 * 10**7)
    probe._ask = lambda *_: late
    probe.turn()  # a slow answer says less than a quick one
    assert probe.seen.error_ns == pytest.approx(error_ns, abs=2)
    probe._ask = lambda *_: None
    probe.turn()
    assert (probe.seen.asked, probe.seen.unanswered, probe.seen.timed) == (3, 1, 2)


@dataclass
class Watched:
    """A door whose counters a test writes."""

    counters_file: Counters
    watch: DoorWatch
    door: Any
    now_s: list[float]

    def look(self, **figures: int) -> list[Any]:
        for name, value in figures.items():
            self.counters_file.put(name, value)
        self.counters_file.flush()
        self.now_s[0] += LOOK_EVERY_S
        return self.watch.look([self.door], Path(), allow_simulated=True)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    path, now_s = tmp_path / "counters", [0.0]
    listener = SimpleNamespace(protocol=SimpleNamespace(value="ntp"))
    process = SimpleNamespace(poll=lambda: None)
    door = SimpleNamespace(process=process, counters=path, listener=listener, where="on 127.0.0.1 port 1")
    return Watched(Counters(path), DoorWatch(monotonic_s=lambda: now_s[0]), door, now_s)


def test_a_wrong_answer_is_said_once_and_again_only_after_it_was_right(watched: Watched) -> None:
    right = {names.PROBES: 3, names.PROBES_TIMED: 3, names.SERVE_ERROR_NS: 24_000}
    assert watched.look(**right, **{names.SERVE_ERROR_HALF_DELAY_NS: 15_000}) == []
    (told,) = watched.look(**{names.PROBES: 4, names.SERVE_ERROR_NS: -26_000})
    assert (told.kind, told.severity) == (AlertKind.SERVE_ERROR, AlertSeverity.CRITICAL)
    assert "-0.000026 s" in told.says
    assert watched.look(**{names.PROBES: 5}) == []
    assert watched.look(**{names.PROBES: 6, names.SERVE_ERROR_NS: 0}) == []
    assert len(watched.look(**{names.PROBES: 7, names.SERVE_ERROR_NS: 10**9})) == 1


def test_a_door_that_does_not_answer_its_own_client_is_said_once(watched: Watched) -> None:
    told = [watched.look(**{names.PROBES: 10 + n, names.PROBES_UNANSWERED: 2 + n}) for n in range(9)]
    assert [len(one) for one in told] == [0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert told[5][0].severity is AlertSeverity.WARNING
    assert watched.look(**{names.PROBES: 20, names.PROBES_UNANSWERED: 10}) == []


@pytest.mark.slow
def test_a_real_door_says_within_microseconds_what_it_serves(tmp_path: Path) -> None:
    with a_page_in(tmp_path), a_door(tmp_path) as door:
        until(lambda: read_counters(door.counters_path())[names.PROBES_TIMED] >= 2)
        counts = read_counters(door.counters_path())
    assert abs(counts[names.SERVE_ERROR_NS]) <= counts[names.SERVE_ERROR_HALF_DELAY_NS] + 10_000
    assert counts[names.PROBES_UNANSWERED] == 0
