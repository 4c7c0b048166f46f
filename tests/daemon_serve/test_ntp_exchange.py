"""The exchange that sources and `ask` use: four stamps, and nothing believed that is not a reply to us."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.daemon_serve.doors import a_door, a_live_page, a_page_in
from tests.ports import free_port
from tests.serve.pages import LEAPS
from tests.waits import PATIENCE_S

from truechimer.daemon.host_clocks import HostClocks, StampKind
from truechimer.daemon.ntp.ntp_exchange import (
    EndpointRejected,
    ExchangeFailure,
    ExchangeFault,
    NtpMeasurement,
    ask_once,
    parse_endpoint,
    warm_up,
)
from truechimer.instants import Instant
from truechimer.serve import ClockPage, ServiceState
from truechimer.serve.ntp import AnswerDoubt, NtpHeader
from truechimer.serve.ntp.server import stamp_at
from truechimer.serve.served_time import tai_fs_at


@contextmanager
def a_server(answers: Callable[[bytes], list[bytes]]) -> Iterator[int]:
    """Run a UDP server that sends these datagrams for each request; give its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.bind(("127.0.0.1", 0))
        connection.settimeout(PATIENCE_S)

        def serve() -> None:
            request, source = connection.recvfrom(2048)
            for octets in answers(request):
                connection.sendto(octets, source)

        thread = threading.Thread(target=serve)
        thread.start()
        yield connection.getsockname()[1]
        thread.join()


def reply_to(request: bytes, page: ClockPage, *, held_s: float = 0.0, **changes: object) -> bytes:
    """Return a stratum 1 reply with T2 now by `page` and T3 `held_s` later."""
    now = stamp_at(page, time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW))
    fields: dict[str, object] = {
        "mode": 4,
        "stratum": 1,
        "precision": -20,
        "refid": b"TRUE",
        "origin": int.from_bytes(request[40:48], "big"),
        "receive": now,
        "transmit": now + round(held_s * 2**32),
    }
    return NtpHeader(**(fields | changes)).encode()  # type: ignore[arg-type]


def ask(
    port: int, *, page: ClockPage, timeout_s: float = 30.0, clocks: HostClocks | None = None
) -> NtpMeasurement | ExchangeFailure:
    near = Instant(page.anchor_tai_fs)
    return ask_once("127.0.0.1", port, timeout_s=timeout_s, clocks=clocks or HostClocks(), leaps=LEAPS, near=near)


def test_our_own_door_is_measured_within_its_root_distance(tmp_path: Path) -> None:
    page = a_live_page()
    clocks = HostClocks()
    warm_up(clocks)
    assert clocks.rate_is_learned
    with a_page_in(tmp_path, page), a_door(tmp_path) as door:
        found = [ask(door.port, page=page, clocks=clocks) for _ in range(20)]
    kinds = set()
    for one in found:
        assert isinstance(one, NtpMeasurement)
        assert one.synchronised
        assert one.server_tai_fs is not None
        assert one.delay_s is not None
        error_s = (one.server_tai_fs - tai_fs_at(page, one.raw_mid_ns)) / 1e15
        assert abs(error_s) <= one.root_distance_s
        assert one.root_distance_s >= one.delay_s / 2 + one.root_dispersion_s
        assert (one.stratum, one.leap, one.refid) == (1, 0, b"TRUE")
        kinds.add(one.stamp_kind)
    assert StampKind.KERNEL in kinds


def test_an_unsynchronised_server_is_measured_but_not_to_be_used(tmp_path: Path) -> None:
    page = a_live_page(state=ServiceState.ALARM)
    with a_page_in(tmp_path, page), a_door(tmp_path) as door:
        found = ask(door.port, page=page)
    assert isinstance(found, NtpMeasurement)
    assert not found.synchronised
    assert found.doubt is AnswerDoubt.UNSYNCHRONISED
    assert found.root_distance_s >= 16.0


def test_forged_replies_before_the_true_one_are_dropped() -> None:
    page = a_live_page()

    def answers(request: bytes) -> list[bytes]:
        forged = [reply_to(request, page, origin=5), reply_to(request, page, origin=5, stratum=0, refid=b"DENY"), b"x"]
        return [*forged, reply_to(request, page)]

    with a_server(answers) as port:
        found = ask(port, page=page)
    assert isinstance(found, NtpMeasurement)
    assert found.synchronised


def test_only_forged_replies_are_no_answer() -> None:
    page = a_live_page()
    with a_server(lambda request: [reply_to(request, page, origin=5)] * 3) as port:
        found = ask(port, page=page, timeout_s=1.0)
    assert isinstance(found, ExchangeFailure)
    assert found.fault is ExchangeFault.NO_ANSWER
    assert found.rejected == 3
    assert "3 datagrams that were no reply to us were dropped" in found.says


def test_a_server_that_claims_an_impossible_delay_is_refused() -> None:
    page = a_live_page()
    with a_server(lambda request: [reply_to(request, page, held_s=0.5)]) as port:
        found = ask(port, page=page)
    assert isinstance(found, ExchangeFailure)
    assert found.fault is ExchangeFault.IMPOSSIBLE_DELAY


def test_a_kiss_code_reaches_the_caller() -> None:
    page = a_live_page()
    with a_server(lambda request: [reply_to(request, page, stratum=0, refid=b"RATE", leap=3)]) as port:
        found = ask(port, page=page)
    assert isinstance(found, NtpMeasurement)
    assert found.kiss == "RATE"
    assert not found.synchronised


def test_a_time_before_the_leap_table_is_no_time() -> None:
    page = a_live_page()
    start = Instant(0)  # 1970: leap seconds begin in 1972
    with a_server(lambda request: [reply_to(request, page)]) as port:
        found = ask_once("127.0.0.1", port, timeout_s=30.0, clocks=HostClocks(), leaps=LEAPS, near=start)
    assert isinstance(found, ExchangeFailure)
    assert found.fault is ExchangeFault.NO_SUCH_TIME


def test_a_closed_port_and_a_silent_one_and_a_name_without_address_say_what_is_wrong() -> None:
    page = a_live_page()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        found = ask(port, page=page, timeout_s=0.1)
        assert isinstance(found, ExchangeFailure)
        assert found.fault is ExchangeFault.NO_ANSWER
    found = ask(free_port(), page=page)  # a port that no other test opens
    assert isinstance(found, ExchangeFailure)
    assert found.fault is ExchangeFault.UNREACHABLE
    for name in ("no such name", "a..b", "x" * 300):
        found = ask_once(name, 123, timeout_s=0.1, clocks=HostClocks(), leaps=LEAPS, near=Instant(page.anchor_tai_fs))
        assert isinstance(found, ExchangeFailure)
        assert found.fault is ExchangeFault.NO_ADDRESS


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("ntp.example", ("ntp.example", None)),
        ("ntp.example:123", ("ntp.example", 123)),
        ("192.0.2.1:11123", ("192.0.2.1", 11123)),
        ("2001:db8::1", ("2001:db8::1", None)),
        ("[2001:db8::1]", ("2001:db8::1", None)),
        ("[2001:db8::1]:4460", ("2001:db8::1", 4460)),
    ],
)
def test_an_endpoint_is_read_in_every_usual_form(text: str, endpoint: tuple[str, int | None]) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    "text", ["", ":123", "host:", "host:0", "host:65536", "host:12x", "host:¹", "[::1", "[::1]x", "[::1]:", "[]:5"]
)
def test_a_broken_endpoint_is_rejected_with_what_to_write(text: str) -> None:
    with pytest.raises(EndpointRejected, match=r"write ntp\.example:123"):
        parse_endpoint(text)
