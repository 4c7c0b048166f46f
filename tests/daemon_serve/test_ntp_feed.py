"""The feed of an NTP server: how often it asks, what it obeys, what it leaves out, and whom it follows by name."""

import hashlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.daemon_serve.doors import a_live_page
from tests.daemon_serve.test_ntp_exchange import reply_to
from tests.serve.pages import LEAPS
from tests.waits import until

from truechimer.daemon.lab.source_settings import Source, SourceKind
from truechimer.daemon.ntp import ntp_exchange
from truechimer.daemon.ntp.ntp_exchange import ExchangeFailure, ExchangeFault, NtpMeasurement
from truechimer.daemon.sources import source_feeds
from truechimer.daemon.sources.feeds import Batch, HostLabel
from truechimer.daemon.sources.late_answers import LATE_AT_LAST, LateAnswers
from truechimer.daemon.sources.ntp_feed import BURST, NtpFeed, next_question_ns
from truechimer.serve.rx_stamp import StampKind

NS = 10**9
PAGE = a_live_page()


@pytest.fixture(scope="module", autouse=True)
def _a_page_of_now() -> None:
    """Make the page when this file's tests begin: they are read long before, and a page is valid for minutes."""
    global PAGE  # noqa: PLW0603
    PAGE = a_live_page()


@dataclass
class AServer:
    """A server under our hand: what it answers to each request, and who asked when."""

    answer: Callable[[bytes], list[bytes]]
    port: int = 0
    asked: list[tuple[float, int]] = field(default_factory=list)

    def requests(self) -> int:
        return len(self.asked)


@contextmanager
def a_server(answer: Callable[[bytes], list[bytes]], *, address: str = "127.0.0.1") -> Iterator[AServer]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as connection:
        connection.bind((address, 0))
        connection.settimeout(0.05)
        server = AServer(answer, connection.getsockname()[1])
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    request, source = connection.recvfrom(2048)
                except TimeoutError:
                    continue
                server.asked.append((time.monotonic(), source[1]))
                for octets in server.answer(request):
                    connection.sendto(octets, source)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server
        finally:
            ended.set()
            thread.join()


def a_feed(port: int, *, poll_s: float = 0.1, host: str = "127.0.0.1") -> tuple[NtpFeed, "queue.Queue[Batch]"]:
    out: queue.Queue[Batch] = queue.Queue()
    source = Source(name="s", kind=SourceKind.NTP, address=f"{host}:{port}", poll_s=poll_s)
    label = HostLabel(PAGE.anchor_raw_ns, PAGE.anchor_tai_fs // 10**6)
    return NtpFeed(source, label, LEAPS, out), out


@contextmanager
def running(feed: NtpFeed) -> Iterator[NtpFeed]:
    feed.start()
    try:
        yield feed
    finally:
        feed.stop()
        feed.join(5.0)
        assert not feed.is_alive()


def measured(**changes: Any) -> NtpMeasurement:
    fields: dict[str, Any] = {
        "raw_mid_ns": PAGE.anchor_raw_ns + NS,
        "server_tai_fs": PAGE.anchor_tai_fs + 10**15,
        "delay_s": 1e-3,
        "root_delay_s": 0.0,
        "root_dispersion_s": 0.0,
        "root_distance_s": 6e-4,
        "stratum": 1,
        "leap": 0,
        "refid": b"TRUE",
        "precision_log2": -24,
        "stamp_kind": StampKind.KERNEL,
        "doubt": None,
        "kiss": None,
        "address": "127.0.0.1",
    }
    return NtpMeasurement(**{**fields, **changes})


def test_each_question_comes_from_a_port_of_its_own_and_none_comes_too_soon() -> None:
    with a_server(lambda request: [reply_to(request, PAGE)]) as server:
        feed, out = a_feed(server.port, poll_s=0.1)
        with running(feed):
            until(lambda: server.requests() >= 12)
    times = [at for at, _ in server.asked]
    assert len({port for _, port in server.asked}) > 0.8 * len(server.asked)
    assert (times[-1] - times[0]) / (len(times) - 1) > 0.099, "at most one question a poll"
    assert out.qsize() >= 10


def test_a_server_that_wants_to_be_asked_less_often_ends_the_burst_and_doubles_the_poll_each_time() -> None:
    feed, out = a_feed(1, poll_s=64.0)
    assert feed.every_s == 2.0
    for wanted in (128.0, 256.0, 512.0):
        feed.take(measured(stratum=0, kiss="RATE", refid=b"RATE", doubt=ntp_exchange.AnswerDoubt.KISS))
        assert feed.every_s == feed.status.poll_s == wanted
    assert "less often" in feed.status.says
    assert out.empty()
    assert feed.take_news() == ()


@pytest.mark.parametrize("kiss", ["DENY", "RSTR"])
def test_a_server_that_refuses_us_is_not_asked_again_and_somebody_is_told(kiss: str) -> None:
    with a_server(lambda request: [reply_to(request, PAGE, stratum=0, refid=kiss.encode())]) as server:
        feed, out = a_feed(server.port, poll_s=0.1)
        with running(feed):
            until(lambda: "refuses" in feed.status.says)
            time.sleep(0.5)
            assert server.requests() == 1
    assert out.empty()
    (news,) = feed.take_news()
    assert (news.kind.value, kiss in news.says) == ("source-refuses", True)


def test_a_forged_kiss_stops_nobody() -> None:
    """Without our nonce it is no reply to us: the true one behind it is taken."""

    def answer(request: bytes) -> list[bytes]:
        return [reply_to(request, PAGE, stratum=0, refid=b"DENY", origin=99), reply_to(request, PAGE)]

    with a_server(answer) as server:
        feed, out = a_feed(server.port)
        with running(feed):
            until(lambda: out.qsize() >= 3)
    assert feed.take_news() == ()
    assert "refuses" not in feed.status.says


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"stratum": 0, "refid": bytes(4)}, "unsynchronised"),
        ({"stratum": 16}, "unsynchronised"),
        ({"leap": 3}, "unsynchronised"),
        ({"root_dispersion": 4 << 16}, "by its own word"),
        ({"root_dispersion": 15 << 16}, "by its own word"),
    ],
)
def test_what_claims_not_to_know_the_time_is_not_taken_as_time(changes: dict[str, Any], word: str) -> None:
    with a_server(lambda request: [reply_to(request, PAGE, **changes)]) as server:
        feed, out = a_feed(server.port)
        with running(feed):
            until(lambda: feed.status.failures >= 2)
    assert out.empty()
    assert word in feed.status.says
    assert feed.status.reach == 0


@pytest.mark.parametrize("leap", [0, 1, 2])
def test_a_servers_word_on_leap_seconds_moves_nothing(leap: int) -> None:
    """The leap table alone says when there is one."""
    with a_server(lambda request: [reply_to(request, PAGE, leap=leap)]) as server:
        feed, out = a_feed(server.port)
        with running(feed):
            batch = out.get(timeout=120)
    assert abs(batch.readings[0].x_a_minus_b_s) < 0.01


def test_an_answer_counts_once_however_often_it_comes_and_an_old_one_never() -> None:
    kept: list[bytes] = []

    def answer(request: bytes) -> list[bytes]:
        octets = reply_to(request, PAGE)
        replayed = kept[-1:]
        kept.append(octets)
        return [*replayed, octets, octets, octets]

    with a_server(answer) as server:
        feed, out = a_feed(server.port)
        with running(feed):
            until(lambda: server.requests() >= 6)
        assert abs(out.qsize() - server.requests()) <= 1


def test_a_server_that_is_down_at_the_start_is_taken_when_it_comes() -> None:
    with a_server(lambda _request: []) as server:
        feed, out = a_feed(server.port)
        feed._asked = BURST
        with running(feed):
            until(lambda: server.requests() >= 1)
            server.answer = lambda request: [reply_to(request, PAGE)]
            until(lambda: out.qsize() >= 2)
    assert feed.status.says == ""


def test_it_asks_over_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.fail("this machine has no IPv6 at all")
    with a_server(lambda request: [reply_to(request, PAGE)], address="::1") as server:
        feed, out = a_feed(server.port, host="[::1]")
        with running(feed):
            assert out.get(timeout=120).readings[0].a == "UTC.s"
    assert feed.status.delay_s is not None


def test_what_the_operator_adds_to_a_server_stands_in_its_readings() -> None:
    label = HostLabel(PAGE.anchor_raw_ns, PAGE.anchor_tai_fs // 10**6)
    readings = []
    for more in ({}, {"u_s": 3e-4, "limit_s": 2e-3}):
        out: queue.Queue[Batch] = queue.Queue()
        feed = NtpFeed(Source(name="s", kind=SourceKind.NTP, address="127.0.0.1:9", **more), label, LEAPS, out)
        feed.take(measured())
        readings.append(out.get().readings[0])
        assert feed.status.leap == "normal"
    plain, doubted = readings
    assert doubted.u_s - plain.u_s == pytest.approx(3e-4)
    assert doubted.limit_s - plain.limit_s == pytest.approx(2e-3)


def test_a_name_that_does_not_resolve_and_then_does_and_then_leads_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    feed, out = a_feed(1)
    feed.take(ExchangeFailure(ExchangeFault.NO_ADDRESS, "time.example has no address"))
    assert "no address" in feed.status.says
    for k in range(6):
        feed.take(measured(delay_s=1e-3 + 1e-6 * k))
    quiet = [out.get().readings[0] for _ in range(6)][-1]
    feed.take(measured(delay_s=9e-3, address="127.0.0.2"))
    moved = out.get().readings[0]
    assert quiet.u_s < 5e-5
    assert moved.u_s >= 4.5e-3, "the delays of the other path say nothing of this one"
    asked: list[Any] = []

    def lookup(_host: str, _port: int, **_more: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (address, 9)) for address in ("192.0.2.1", "127.0.0.9")]

    def talk(connection: socket.socket, address: str, **_more: Any) -> ExchangeFailure:
        asked.append(address)
        if address == "192.0.2.1":
            raise OSError(101, "Network is unreachable")
        return ExchangeFailure(ExchangeFault.NO_ANSWER, "silent")

    monkeypatch.setattr(ntp_exchange.socket, "getaddrinfo", lookup)
    monkeypatch.setattr(ntp_exchange, "_converse", talk)
    monkeypatch.setattr(ntp_exchange.socket.socket, "connect", lambda *_: None)
    for prefer, order in (
        (None, ["192.0.2.1", "127.0.0.9"]),
        ("127.0.0.9", ["127.0.0.9"]),
        ("198.51.100.1", ["192.0.2.1", "127.0.0.9"]),
    ):
        asked.clear()
        found = ntp_exchange.exchange("time.example", 123, timeout_s=0.1, clocks=feed_clocks(), prefer=prefer)
        assert isinstance(found, ExchangeFailure)
        assert asked == order


def feed_clocks() -> ntp_exchange.HostClocks:
    return ntp_exchange.HostClocks()


@pytest.mark.parametrize(
    ("refid", "local", "stratum", "own", "follows"),
    [
        (bytes([192, 0, 2, 7]), "192.0.2.7", 2, (), True),
        (bytes([192, 0, 2, 7]), "192.0.2.7", 1, (), False),  # four letters, by chance
        (bytes([192, 0, 2, 7]), "192.0.2.8", 2, (), False),
        (bytes([192, 0, 2, 7]), "192.0.2.8", 3, (bytes([192, 0, 2, 7]),), True),  # another of our doors
        (hashlib.md5(socket.inet_pton(socket.AF_INET6, "2001:db8::7")).digest()[:4], "2001:db8::7", 2, (), True),
        (bytes([192, 0, 2, 7]), "::ffff:192.0.2.7", 2, (), True),
        (hashlib.md5(socket.inet_pton(socket.AF_INET6, "fe80::7")).digest()[:4], "fe80::7%eth0", 2, (), True),
    ],
)
def test_a_server_that_follows_us_is_not_followed(
    refid: bytes, local: str, stratum: int, own: tuple[bytes, ...], follows: bool
) -> None:
    out: queue.Queue[Batch] = queue.Queue()
    label = HostLabel(PAGE.anchor_raw_ns, PAGE.anchor_tai_fs // 10**6)
    feed = NtpFeed(Source(name="s", kind=SourceKind.NTP, address="192.0.2.1:123"), label, LEAPS, out, own=own)
    feed.take(measured(refid=refid, stratum=stratum, local=local))
    assert out.empty() is follows
    assert ("follows this machine" in feed.status.says) is follows


def some_feeds(count: int) -> "tuple[list[NtpFeed], queue.Queue[Batch]]":
    """Feeds of as many operators that know each other's delays: eight answers each, 1 ms and some jitter."""
    out: queue.Queue[Batch] = queue.Queue()
    label, late = HostLabel(PAGE.anchor_raw_ns, PAGE.anchor_tai_fs // 10**6), LateAnswers()
    feeds = [
        NtpFeed(
            Source(name=f"s{k}", kind=SourceKind.NTP, address=f"192.0.2.{k}:123", operator=f"o{k}"),
            label,
            LEAPS,
            out,
            late=late,
        )
        for k in range(count)
    ]
    for n in range(10):
        for feed in feeds:
            feed.take(measured(delay_s=1e-3 + 2e-5 * (n % 4)))
    return feeds, out


def left_out(feeds: "list[NtpFeed]", out: "queue.Queue[Batch]", *, held: int, held_s: float, rounds: int = 6) -> int:
    """Hold the answers of the first few servers back; return how many of those of the last round were left out."""
    taken = 0
    for _ in range(rounds):
        while not out.empty():
            out.get()
        for k, feed in enumerate(feeds):
            delay_s = 1e-3 + (held_s if k < held else 1e-5)
            feed.take(measured(delay_s=delay_s, root_distance_s=delay_s / 2))
        taken = out.qsize()
    return len(feeds) - taken


@pytest.mark.parametrize(
    ("count", "held", "held_s", "lost"),
    [
        (4, 1, 0.05, 1),
        (4, 2, 0.05, 2),  # D18: half of them
        (4, 3, 0.05, 0),  # our own way is slow
        (4, 4, 0.05, 0),
        (7, 3, 3e-3, 3),
        (7, 4, 3e-3, 0),
        (2, 1, 0.05, 0),  # nobody is left to be believed alone
        (3, 1, 0.05, 1),
        (4, 2, 2e-4, 0),  # jitter
    ],
)
def test_answers_that_are_held_back_are_left_out_while_no_more_than_half_are(
    count: int, held: int, held_s: float, lost: int
) -> None:
    feeds, out = some_feeds(count)
    assert left_out(feeds, out, held=held, held_s=held_s) == lost
    for k, feed in enumerate(feeds):
        limit_s = feed.status.late_limit_s
        assert limit_s is None if k >= lost else limit_s == pytest.approx((1e-3 + held_s) / 2)
        assert [news.kind.value for news in feed.take_news()] == (["source-late"] if k < lost else [])
    assert left_out(feeds, out, held=0, held_s=0.0) == 0
    assert [len(feed.take_news()) for feed in feeds] == [1] * lost + [0] * (count - lost), "and they are taken again"


def test_a_server_whose_way_has_become_longer_is_taken_again_in_the_end() -> None:
    feeds, out = some_feeds(4)
    assert left_out(feeds, out, held=1, held_s=0.05, rounds=LATE_AT_LAST - 1) == 1
    assert left_out(feeds, out, held=1, held_s=0.05, rounds=2) == 0
    assert left_out(feeds, out, held=1, held_s=0.05, rounds=20) == 0
    assert left_out(feeds, out, held=1, held_s=0.2) == 1


def test_a_server_that_was_always_far_away_is_never_late() -> None:
    feeds, out = some_feeds(3)
    far = NtpFeed(
        Source(name="far", kind=SourceKind.NTP, address="192.0.2.9:123", operator="far"),
        feeds[0]._label,
        LEAPS,
        out,
        late=feeds[0]._late,
    )
    for n in range(40):
        far.take(measured(delay_s=0.6 + 0.01 * (n % 5)))
    assert far.status.late_limit_s is None
    assert far.status.failures == 0


def test_servers_of_one_operator_are_late_together_or_not_at_all() -> None:
    late = LateAnswers()
    for _ in range(10):
        for name, operator in (("a1", "a"), ("a2", "a"), ("b", "b"), ("c", "c")):
            assert not late.leaves_out(name, operator, 1e-3)
    for _ in range(5):
        assert late.leaves_out("a1", "a", 0.05)
        assert late.leaves_out("b", "b", 0.05), "one of two of a's servers is no operator"
    assert [late.leaves_out("a2", "a", 0.05) for _ in range(3)] == [True, True, False], "now two of three are late"
    assert not late.leaves_out("b", "b", 0.05)
    assert not late.leaves_out("c", "c", 1e-3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_answer_during_which_the_machine_stood_still_is_no_value_however_few_servers_there_are(count: int) -> None:
    feeds, out = some_feeds(count)
    assert left_out(feeds, out, held=count, held_s=1.7, rounds=1) == count
    assert left_out(feeds, out, held=0, held_s=0.0, rounds=1) == 0
    assert [feed.take_news() for feed in feeds] == [()] * count
    assert left_out(feeds, out, held=count, held_s=1.7, rounds=4) == 0, "a way that has become slow is all there is"


def test_one_slow_answer_of_another_server_lets_nobody_in_who_is_held_back() -> None:
    feeds, out = some_feeds(4)
    assert left_out(feeds, out, held=2, held_s=0.05) == 2
    assert left_out(feeds, out, held=3, held_s=0.05, rounds=1) == 3
    assert left_out(feeds, out, held=2, held_s=0.05, rounds=1) == 2


@pytest.mark.parametrize(
    ("strata", "said"),
    [
        ((1, 1, 1, 1, 14), 2),
        ((1, 1, 14, 15, 15), 15),
        ((2,), 3),
        ((1, 2), 3),
        ((15, 15, 15), 15),
        ((0, 1, 1), 2),
        ((None, None, 2), 3),
    ],
)
def test_the_door_says_one_more_than_the_middle_stratum_so_that_few_cannot_push_it_away(
    strata: tuple[int | None, ...], said: int
) -> None:
    feeds, out = some_feeds(len(strata))
    while not out.empty():
        batch = out.get()
    for feed, stratum in zip(feeds, strata, strict=True):
        feed.status.stratum = stratum
    started: Any = SimpleNamespace(state=SimpleNamespace(register=None))
    assert source_feeds.stratum(list(feeds), batch, None, started) == said
    assert source_feeds.stratum([], batch, None, started) == 2


@given(st.integers(0, 10**18), st.sampled_from([0.1, 0.5, 1.0, 2.0, 16.0, 64.0, 1024.0]))
def test_questions_stand_on_a_shared_grid_and_keep_their_distance(asked_ns: int, every_s: float) -> None:
    following = next_question_ns(asked_ns, every_s)
    every_ns = round(every_s * NS)
    assert following % every_ns == 0
    assert 0.99 * every_ns <= following - asked_ns <= 2 * every_ns
    assert next_question_ns(following, every_s) == following + every_ns
