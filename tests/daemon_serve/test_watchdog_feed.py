"""The watchdog asks servers drawn by lot and tells, once, when they and the time served here have parted."""

import queue
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.daemon_serve.doors import a_door, a_live_page, a_page_in
from tests.serve.pages import LEAPS

from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.host_port import HostPort
from truechimer.daemon.lab.source_settings import Source, SourceKind
from truechimer.daemon.ntp.ntp_exchange import ExchangeFailure, ExchangeFault, NtpMeasurement
from truechimer.daemon.page_file import PageReader
from truechimer.daemon.sources.feeds import HostLabel
from truechimer.daemon.sources.watchdog_feed import WatchdogFeed, servers_in
from truechimer.serve import ClockPage
from truechimer.serve.rx_stamp import StampKind
from truechimer.serve.served_time import tai_fs_at

PAGE = a_live_page()


@pytest.fixture(scope="module", autouse=True)
def _a_page_of_now() -> None:
    """Make the page when this file's tests begin: they are read long before, and a page is valid for minutes."""
    global PAGE  # noqa: PLW0603
    PAGE = a_live_page()


class Strangers:
    """A pool of servers under our hand: their time minus ours by host, None for a silent one."""

    def __init__(self, offsets_s: dict[str, float | None], page: ClockPage | None = None, **changes: Any) -> None:
        self.offsets_s, self.page, self.changes = offsets_s, page or PAGE, changes
        self.asked: Counter[str] = Counter()

    def ask(self, place: HostPort) -> NtpMeasurement | ExchangeFailure:
        self.asked[place.host] += 1
        offset_s = self.offsets_s[place.host]
        if offset_s is None:
            return ExchangeFailure(ExchangeFault.NO_ANSWER, "silent")
        raw_ns = HostClocks().raw_ns()
        fields: dict[str, Any] = {
            "raw_mid_ns": raw_ns,
            "server_tai_fs": tai_fs_at(self.page, raw_ns) + round(offset_s * 1e15),
            "delay_s": 0.01,
            "root_delay_s": 0.01,
            "root_dispersion_s": 0.001,
            "root_distance_s": 0.01,
            "stratum": 2,
            "leap": 0,
            "refid": bytes(4),
            "precision_log2": -20,
            "stamp_kind": StampKind.KERNEL,
            "doubt": None,
            "kiss": None,
            "address": place.host,
        }
        return NtpMeasurement(**(fields | self.changes))


def hosts(count: int) -> list[str]:
    return [f"192.0.{k // 250}.{k % 250 + 1}" for k in range(count)]


def looks(folder: Path, strangers: Strangers, count: int = 1) -> WatchdogFeed:
    """Let the watchdog look so many times."""
    (folder / "servers").write_text("".join(f"{host}:123\n" for host in strangers.offsets_s))
    source = Source(name="dog", kind=SourceKind.WATCHDOG, path="servers")
    label = HostLabel(PAGE.anchor_raw_ns, PAGE.anchor_tai_fs // 10**6)
    feed = WatchdogFeed(
        source, folder / "servers", folder / "page", label=label, leaps=LEAPS, out=queue.Queue(), ask=strangers.ask
    )
    clocks, pages = HostClocks(), PageReader(folder / "page")
    with ThreadPoolExecutor(4) as together:
        for _ in range(count):
            verdict = feed.look(pages, clocks, together)
            if verdict is not None:
                feed.take(verdict, clocks.raw_ns())
    return feed


def news_of(feed: WatchdogFeed) -> list[tuple[str, str]]:
    return [(one.kind.value, one.severity.value) for one in feed.take_news()]


def test_agreeing_strangers_are_no_news_and_only_some_are_asked(tmp_path: Path) -> None:
    strangers = Strangers(dict.fromkeys(hosts(60), 0.001))
    with a_page_in(tmp_path, PAGE):
        feed = looks(tmp_path, strangers, count=2)
    assert news_of(feed) == []
    assert strangers.asked.total() == 30
    assert len(strangers.asked) > 15  # other ones each time
    assert (feed.status.reach, feed.status.failures) == (3, 0)
    assert "+0.001" in feed.status.says


def test_a_bent_laboratory_is_told_once_and_its_return_too(tmp_path: Path) -> None:
    strangers = Strangers(dict.fromkeys(hosts(40), 0.2))
    with a_page_in(tmp_path, PAGE):
        feed = looks(tmp_path, strangers, count=3)
        assert news_of(feed) == [("watchdog-away", "critical")]
        assert strangers.asked.total() == 3 * (3 * 15 + 40)  # three samples, then all: RFC 9523
        strangers.offsets_s = dict.fromkeys(hosts(40), 0.0)
        clocks = HostClocks()
        with ThreadPoolExecutor(4) as together:
            verdict = feed.look(PageReader(tmp_path / "page"), clocks, together)
        assert verdict is not None
        feed.take(verdict, clocks.raw_ns())
    assert news_of(feed) == [("watchdog-away", "notice")]


def test_a_minority_of_liars_moves_nothing(tmp_path: Path) -> None:
    names = hosts(70)
    strangers = Strangers({host: 30.0 if k % 7 == 0 else 0.0 for k, host in enumerate(names)})
    with a_page_in(tmp_path, PAGE):
        assert news_of(looks(tmp_path, strangers, count=40)) == []


def test_a_silent_network_is_told_once(tmp_path: Path) -> None:
    strangers = Strangers(dict.fromkeys(hosts(20), None))
    with a_page_in(tmp_path, PAGE):
        assert news_of(looks(tmp_path, strangers, count=2)) == [("watchdog-blind", "warning")]


def test_who_refuses_is_not_asked_again(tmp_path: Path) -> None:
    from truechimer.serve.ntp import AnswerDoubt

    strangers = Strangers(dict.fromkeys(hosts(10), 0.0), kiss="DENY", doubt=AnswerDoubt.KISS)
    with a_page_in(tmp_path, PAGE):
        looks(tmp_path, strangers, count=4)
    assert set(strangers.asked.values()) == {1}


def test_without_a_time_of_our_own_nobody_is_asked(tmp_path: Path) -> None:
    strangers = Strangers(dict.fromkeys(hosts(10), 0.0))
    feed = looks(tmp_path, strangers)
    assert not strangers.asked
    assert "nothing is served yet" in feed.status.says


@pytest.mark.slow
def test_real_servers_on_real_sockets_agree_with_the_page_they_serve(tmp_path: Path) -> None:
    with a_page_in(tmp_path, PAGE), a_door(tmp_path) as one, a_door(tmp_path) as two, a_door(tmp_path) as three:
        (tmp_path / "servers").write_text("".join(f"127.0.0.1:{door.port}\n" for door in (one, two, three)))
        label = HostLabel(PAGE.anchor_raw_ns, PAGE.anchor_tai_fs // 10**6)
        source = Source(name="dog", kind=SourceKind.WATCHDOG, path="servers")
        paths = (tmp_path / "servers", tmp_path / "page")
        feed = WatchdogFeed(source, *paths, label=label, leaps=LEAPS, out=queue.Queue())
        with ThreadPoolExecutor(4) as together:
            verdict = feed.look(PageReader(tmp_path / "page"), HostClocks(), together)
    assert verdict is not None
    assert (verdict.known, verdict.panic, verdict.judgement.answered) == (True, False, 3)
    assert abs(verdict.offset_s) < 2e-3


def test_a_list_is_read_with_comments_defaults_and_doubles() -> None:
    text = b"# pool\nntp.example:1123 # one\n192.0.2.1\n192.0.2.1:123\n[2001:db8::1]:123\nnot a server\n\n"
    servers, bad = servers_in(text)
    assert servers == [HostPort("ntp.example", 1123), HostPort("192.0.2.1", 123), HostPort("2001:db8::1", 123)]
    assert bad == 1


@given(st.binary(max_size=200))
def test_any_octets_are_a_list_of_servers(data: bytes) -> None:
    servers_in(data)
