"""The SOCK door on simulated clocks: what is sent is served UTC minus the wall clock, and nothing is sent in doubt."""

import socket
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.daemon_chrony.simulated import NS, TAI_MINUS_UTC_NS, UNIX_NS, Machine

from truechimer.daemon.door import sock_process
from truechimer.daemon.door.sock_door import SockState, command, row, state_path, write_state
from truechimer.daemon.door.sock_process import Sample, Sampler, SockLoop
from truechimer.daemon.lab.listener_settings import Listener, Protocol
from truechimer.drivers.chrony_sock import SAMPLE, Sent, SockLeap, SockSampleMisuse, SockSender, pack
from truechimer.serve.clock_page import ClockPage, PageUnreadable, ServiceState

LEAP_AT_TAI_S = (UNIX_NS + TAI_MINUS_UTC_NS) // NS + 500


def page_of(machine: Machine, *, served_minus_true_s: float = 0.0) -> ClockPage:
    """Return a page whose time is true, or off by so much."""
    tai_ns = machine.true_unix_ns() + TAI_MINUS_UTC_NS + round(served_minus_true_s * NS)
    return ClockPage(
        anchor_raw_ns=machine.raw_ns,
        anchor_tai_fs=tai_ns * 10**6,
        rate=0.0,
        bound_s=1e-5,
        bound_growth=1e-8,
        u_s=1e-6,
        coverage=0.99,
        state=ServiceState.STEERED,
        simulated=False,
        tai_minus_utc_s=37,
        next_leap_tai_s=None,
        next_tai_minus_utc_s=None,
        leap_expires_tai_s=LEAP_AT_TAI_S + 10**7,
        valid_until_raw_ns=machine.raw_ns + 600 * NS,
        refid=b"XTRU",
        stratum=1,
        root_delay_s=0.0,
        written_raw_ns=machine.raw_ns,
        laboratory_pid=1,
        boot_id=machine.clocks().boot_id(),
    )


class Rig:
    """A sampler on a machine that has been watched for a while."""

    def __init__(
        self, *, bound_limit_s: float = 1e-3, simulated_allowed: bool = False, wall_off_s: float = 0.0
    ) -> None:
        self.machine = Machine(wall_off_ns=wall_off_s * NS)
        self.sampler = Sampler(self.machine.clocks(), bound_limit_s=bound_limit_s, simulated_allowed=simulated_allowed)
        self.watch(1.0)
        self.page = page_of(self.machine)

    def watch(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            self.machine.raw_ns += 20_000_000
            self.sampler.watch()

    def sample(self, page: ClockPage | PageUnreadable | None = None) -> Sample | str:
        return self.sampler.sample(self.page if page is None else page)


def test_the_datagram_is_that_of_chronys_struct() -> None:
    octets = pack(wall_ns=1_795_000_000_123_456_789, reference_minus_wall_s=-1.25e-4, leap=SockLeap.INSERT)
    assert len(octets) == 40
    assert octets == struct.pack("=qqdiiii", 1_795_000_000, 123_457, -1.25e-4, 0, 1, 0, 0x534F434B)


@given(st.integers(-(2**62) + 1, 2**62 - 1), st.floats(-(2.0**31), 2.0**31), st.sampled_from(SockLeap))
def test_any_sample_reads_back_to_the_microsecond(wall_ns: int, x_s: float, leap: SockLeap) -> None:
    seconds, us, offset, pulse, said, pad, magic = SAMPLE.unpack(
        pack(wall_ns=wall_ns, reference_minus_wall_s=x_s, leap=leap)
    )
    assert abs(seconds * NS + us * 1000 - wall_ns) <= 500
    assert 0 <= us < 10**6
    assert (offset, pulse, said, pad, magic) == (x_s, 0, leap, 0, 0x534F434B)


@pytest.mark.parametrize("x_s", [float("nan"), float("inf"), 2.0**33])
def test_what_no_clock_is_off_by_is_not_packed(x_s: float) -> None:
    with pytest.raises(SockSampleMisuse):
        pack(wall_ns=0, reference_minus_wall_s=x_s, leap=SockLeap.NONE)


@pytest.mark.parametrize("wall_off_s", [0.0, 0.05, -2.5, 1e-7, 3600.0])
def test_the_sample_is_served_time_minus_the_wall_clock_at_one_moment(wall_off_s: float) -> None:
    rig = Rig(wall_off_s=wall_off_s)
    found = rig.sample()
    assert isinstance(found, Sample)
    assert found.x_served_minus_wall_s == pytest.approx(-wall_off_s, abs=5e-7)
    assert found.bound_s == pytest.approx(1e-5, abs=1e-6)
    assert found.leap is SockLeap.NONE


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"state": ServiceState.FREERUN}, "freerun"),
        ({"state": ServiceState.ACQUIRING}, "acquiring"),
        ({"state": ServiceState.ALARM}, "alarm"),
        ({"valid_until_raw_ns": 0}, "page-too-old"),
        ({"bound_s": 2e-3}, "bound-too-wide"),
        ({"simulated": True}, "simulated-not-allowed"),
        ({"boot_id": b"another boot    "}, "counter-restarted"),
        ({"leap_expires_tai_s": 0}, "leap-table-expired"),
        ({"next_leap_tai_s": (UNIX_NS + TAI_MINUS_UTC_NS) // NS + 7, "next_tai_minus_utc_s": 38}, "leap-second"),
    ],
)
def test_silence_is_the_safe_state(changes: dict[str, object], why: str) -> None:
    rig = Rig()
    assert isinstance(rig.sample(), Sample)
    assert rig.sample(replace(rig.page, **changes)) == why  # type: ignore[arg-type]


@pytest.mark.parametrize("why", [PageUnreadable.EMPTY, PageUnreadable.TORN, PageUnreadable.NOT_A_PAGE])
def test_without_a_page_nothing_is_sent(why: PageUnreadable) -> None:
    assert Rig().sample(why) in {"no-page", "page-unreadable"}


def test_holdover_is_served_until_the_bound_limit() -> None:
    rig = Rig()
    held = replace(rig.page, state=ServiceState.HOLDOVER, bound_growth=1e-4)
    assert isinstance(rig.sample(held), Sample)
    rig.watch(12.0)
    assert rig.sample(held) == "bound-too-wide"


def test_simulated_time_needs_the_ugly_word() -> None:
    rig = Rig(simulated_allowed=True)
    assert isinstance(rig.sample(replace(rig.page, simulated=True)), Sample)


@pytest.mark.parametrize("step_s", [1e-4, -0.05, 1.0])
def test_a_step_of_the_wall_clock_silences_the_door_until_it_has_settled(step_s: float) -> None:
    rig = Rig()
    rig.machine.wall_off_ns += step_s * NS
    assert rig.sample() == "wall-clock-moved"
    rig.watch(0.3)
    assert rig.sample() == "wall-clock-moved"
    rig.watch(0.3)
    found = rig.sample()
    assert isinstance(found, Sample)
    assert found.x_served_minus_wall_s == pytest.approx(-step_s, abs=5e-7)


def test_a_leap_second_is_announced_on_its_day() -> None:
    rig = Rig()
    found = rig.sample(replace(rig.page, next_leap_tai_s=LEAP_AT_TAI_S, next_tai_minus_utc_s=38))
    assert isinstance(found, Sample)
    assert found.leap is SockLeap.INSERT


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sd-") as name:
        yield Path(name)


def listening(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    found.bind(str(path))
    found.settimeout(1.0)
    return found


def test_the_sender_survives_whatever_chronyd_does(folder: Path) -> None:
    sender = SockSender(folder / "s")
    octets = pack(wall_ns=NS, reference_minus_wall_s=0.5, leap=SockLeap.NONE)
    assert sender.send(octets) is Sent.NO_SOCKET
    for _ in range(2):  # a restart makes the socket anew
        with listening(folder / "s") as chronyd:
            assert sender.send(octets) is Sent.SENT
            assert chronyd.recv(100) == octets
        assert sender.send(octets) is Sent.NOBODY_LISTENS
        (folder / "s").unlink()
    with listening(folder / "s"):
        outcomes = {sender.send(octets) for _ in range(5000)}
    assert outcomes == {Sent.SENT, Sent.FULL}
    (folder / "s").unlink()
    (folder / "s").touch()
    assert sender.send(octets) in {Sent.NOBODY_LISTENS, Sent.FAILED}
    sender.close()


def test_a_path_longer_than_a_sockets_name_is_reached_through_its_folder(folder: Path) -> None:
    deep = folder / ("d" * 100)
    deep.mkdir()
    with tempfile.TemporaryDirectory(prefix="s") as short:
        link = Path(short) / "l"
        link.symlink_to(deep)
        with listening(link / "s") as chronyd:
            sender = SockSender(deep / "s")
            assert sender.send(b"x" * 40) is Sent.SENT
            assert chronyd.recv(100) == b"x" * 40
            sender.close()


def test_the_loop_sends_once_a_period_and_counts_its_silence(folder: Path) -> None:
    rig = Rig()
    pages: list[ClockPage | PageUnreadable] = [rig.page]
    sender = SockSender(folder / "s")
    loop = SockLoop(rig.sampler, sender, lambda: pages[0], period_s=1.0, raw_ns=rig.machine.read_raw)

    def run(seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            rig.machine.raw_ns += 20_000_000
            loop.turn()

    with listening(folder / "s") as chronyd:
        run(9.5)
        assert loop.state.sent == 10
        assert loop.state.now == "sending"
        assert SAMPLE.unpack(chronyd.recv(100))[2] == pytest.approx(0.0, abs=5e-7)
        pages[0] = replace(rig.page, state=ServiceState.ALARM)
        run(5.0)
        assert (loop.state.sent, loop.state.silent) == (10, {"alarm": 5})
        assert loop.state.now == "silent: alarm"
        assert "x_served_minus_wall_s" not in loop.state.document()
    pages[0] = rig.page
    run(2.0)
    assert loop.state.refused == {"nobody-listens": 2}
    assert "start chronyd" in loop.state.says
    sender.close()


def test_a_door_that_was_put_to_sleep_does_not_make_up_for_lost_samples(folder: Path) -> None:
    rig = Rig()
    with listening(folder / "s"):
        sender = SockSender(folder / "s")
        loop = SockLoop(rig.sampler, sender, lambda: rig.page, period_s=1.0, raw_ns=rig.machine.read_raw)
        loop.turn()
        rig.machine.raw_ns += 100 * NS
        for _ in range(10):
            rig.machine.raw_ns += 20_000_000
            loop.turn()
        assert loop.state.sent + sum(loop.state.silent.values()) == 2
        sender.close()


def test_status_shows_what_the_door_says_of_itself(folder: Path) -> None:
    listener = Listener(protocol=Protocol.CHRONY_SOCK, path="/run/x.sock")
    (folder / "run").mkdir()
    assert row(listener, state_path(listener, folder)) == {"path": "/run/x.sock", "period_s": 1.0}
    write_state(SockState(now="sending", sent=3), state_path(listener, folder))
    assert row(listener, state_path(listener, folder))["sock"] == {
        "now": "sending",
        "sent": 3,
        "refused": {},
        "silent": {},
    }
    state_path(listener, folder).write_bytes(b"\xff{")
    assert "sock" not in row(listener, state_path(listener, folder))
    other = replace(listener, path="/run/y.sock")
    assert state_path(other, folder) != state_path(listener, folder)
    assert "--insecure-serve-simulated-time" not in command(listener, folder, allow_simulated=False)


@pytest.mark.parametrize(
    "words", [["--period-s", "0"], ["--period-s", "nan"], ["--bound-limit-s", "-1"], ["--orphan-exit-s", "nan"]]
)
def test_wrong_values_are_one_line_and_status_2(
    words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["--page", str(folder / "p"), "--socket", str(folder / "s")]
    assert sock_process.main([*base, *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
