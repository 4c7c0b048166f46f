"""The chrony feed on a simulated machine: what it reads is the truth within its limit, or it is not read."""

import queue
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.daemon_chrony.simulated import NS, TAI_MINUS_UTC_NS, UNIX_NS, Followed, Machine, SimulatedChronyd

from truechimer.alerts import AlertKind
from truechimer.clocks.register import Register, host_clock
from truechimer.compare.reading import Reading
from truechimer.daemon.lab.host_port import HostPort
from truechimer.daemon.lab.source_settings import Source, SourceKind
from truechimer.daemon.sources.chrony_client import ChronyAwayRejected
from truechimer.daemon.sources.chrony_feed import MOST_SERVERS, ChronyFeed
from truechimer.daemon.sources.feeds import Batch
from truechimer.formats.chrony_reports import ChronyReplyRejected, Command, ReplyFault, SourceMode
from truechimer.instants import builtin_leap_table

AWAY = ChronyAwayRejected(Path("d.sock"), "there is no such socket", do_next="start chronyd")


def refusal(fault: ReplyFault, expected: str = "report 5", found: str = "99") -> ChronyReplyRejected:
    return ChronyReplyRejected(fault, expected=expected, found=found, do_next="report it")


class Rig:
    """A feed on a simulated machine and chronyd."""

    def __init__(self, *sources: Followed, own_doors: tuple[HostPort, ...] = (), **keys: Any) -> None:
        self.machine = Machine()
        self.chronyd = SimulatedChronyd(self.machine, list(sources))
        self.out: queue.Queue[Batch] = queue.Queue()
        source = Source(name="c", kind=SourceKind.CHRONY, **keys)
        self.label = self.machine.label()
        self.feed = ChronyFeed(
            source,
            Path("d.sock"),
            self.label,
            builtin_leap_table(),
            self.out,
            own_doors=own_doors,
            clocks=self.machine.clocks(),
            client=cast("Any", self.chronyd),
        )

    def wait(self, seconds: float = 1.0) -> None:
        """Let time pass as the feed's thread does, with a look at the wall clock now and then."""
        for _ in range(max(1, round(seconds / 0.05))):
            self.machine.raw_ns += round(min(seconds, 0.05) * NS)
            self.feed.see_wall_clock()

    def look(self, seconds: float = 1.0) -> list[Reading]:
        """Let time pass, look, and return what came."""
        self.wait(seconds)
        self.feed.look()
        return self.readings()

    def readings(self) -> list[Reading]:
        found: list[Reading] = []
        while not self.out.empty():
            found += self.out.get_nowait().readings
        return found

    def warm_up(self) -> "Rig":
        """Look for three seconds, so that the clocks' rates are known."""
        for _ in range(3):
            self.look()
        return self

    def error_s(self, reading: Reading) -> float:
        """Return the reading minus the truth (host's label against UTC at its epoch)."""
        raw_ns = self.label.raw_of(reading.epoch_tai_ns)
        truth_ns = UNIX_NS + raw_ns + TAI_MINUS_UTC_NS - reading.epoch_tai_ns
        return reading.x_a_minus_b_s - truth_ns / NS

    def kinds(self) -> list[AlertKind]:
        return [news.kind for news in self.feed.take_news()]

    def dropped(self) -> dict[str, int]:
        return (self.feed.document() or {})["samples_dropped"]


def test_each_source_is_a_link_of_its_own_with_its_operator() -> None:
    rig = Rig(
        Followed("192.0.2.1"),
        Followed("2001:db8::7"),
        Followed("PPS0", mode=SourceMode.REFCLOCK, distance_s=1e-6, stratum=0),
    ).warm_up()
    rig.chronyd.sample()
    found = {reading.a: reading for reading in rig.look()}
    assert {name: reading.operator for name, reading in found.items()} == {
        "UTC.c.192.0.2.1": "192.0.2.1",
        "UTC.c.2001-db8--7": "2001:db8::7",
        "UTC.c.PPS0": "c.PPS0",
    }
    assert all(reading.b == "host" for reading in found.values())
    register = Register((host_clock(),), (), ()).with_links([(reading.a, "host") for reading in found.values()])
    assert len(register.outside) == 3
    assert set(rig.feed.servers()) == set(found)


def test_one_operator_given_is_that_of_all_its_servers() -> None:
    rig = Rig(Followed("192.0.2.1"), Followed("192.0.2.2"), operator="us").warm_up()
    rig.chronyd.sample()
    assert [reading.operator for reading in rig.look()] == ["us", "us"]


@pytest.mark.parametrize("wall_off_s", [0.0, 0.05, -3.0])
@pytest.mark.parametrize("lie_s", [0.0, 0.05, -1e-4])
def test_a_reading_is_the_server_whatever_the_wall_clock_shows(wall_off_s: float, lie_s: float) -> None:
    rig = Rig(Followed("192.0.2.1", lie_s=lie_s))
    rig.machine.wall_off_ns = wall_off_s * NS
    rig.machine.set_rate(3e-5)
    rig.warm_up()
    rig.chronyd.sample()
    (reading,) = rig.look(0.5)
    assert rig.error_s(reading) == pytest.approx(lie_s, abs=reading.limit_s - 0.9e-3)
    assert reading.limit_s >= 1e-3


def test_what_chronyd_has_still_to_correct_is_part_of_its_clock() -> None:
    rig = Rig(Followed("192.0.2.1"))
    rig.machine.wall_off_ns = 0.02 * NS
    rig.warm_up()
    rig.chronyd.sample()
    rig.chronyd.update(0.02)  # chronyd knows now, and will slew; the wall clock is still off
    rig.look()
    rig.look()
    rig.chronyd.sample()
    (reading,) = rig.look()
    assert abs(rig.error_s(reading)) < reading.limit_s - 0.9e-3


def test_a_slew_that_chronyd_carries_out_costs_little() -> None:
    rig = Rig(Followed("192.0.2.1", distance_s=5e-3))
    rig.machine.wall_off_ns = 0.02 * NS
    rig.warm_up()
    rig.chronyd.sample()
    rig.look()
    rig.chronyd.update(0.02)
    rig.look()
    for _ in range(4):
        slew(rig, -0.004)
        rig.wait(0.5)
        rig.chronyd.sample()
        (reading,) = rig.look(0.5)
        assert abs(rig.error_s(reading)) < reading.limit_s
        assert reading.limit_s < 5.5e-3


@pytest.mark.parametrize("step_s", [0.05, -0.05, 0.002, 3600.0])
def test_a_step_of_the_wall_clock_between_sample_and_question_is_no_lie(step_s: float) -> None:
    rig = Rig(Followed("192.0.2.1"), Followed("192.0.2.2"), Followed("192.0.2.3")).warm_up()
    rig.chronyd.sample()
    assert len(rig.look()) == 3
    rig.wait(0.3)
    rig.chronyd.sample()
    rig.wait(0.3)
    rig.machine.wall_off_ns += step_s * NS
    assert rig.look(0.4) == []
    assert rig.dropped()["wall-moved"] == 3
    assert rig.look() == [], "the same samples are not used later either"
    rig.look()
    rig.chronyd.sample()
    found = rig.look(0.5)
    assert len(found) == 3
    assert all(abs(rig.error_s(reading)) < reading.limit_s - 0.9e-3 for reading in found)


def test_a_step_that_chronyd_takes_for_its_own_error_is_no_lie_of_the_samples_before_it() -> None:
    rig = Rig(Followed("192.0.2.1"), Followed("192.0.2.2")).warm_up()
    rig.chronyd.sample()
    assert len(rig.look()) == 2
    rig.wait(0.2)
    rig.chronyd.sample(rig.chronyd.sources[0])  # before the step
    rig.machine.wall_off_ns += 0.05 * NS
    rig.wait(0.2)
    rig.chronyd.sample(rig.chronyd.sources[1])  # after it: chronyd finds itself 50 ms ahead and corrects itself
    rig.chronyd.update(0.05)
    for reading in rig.look(0.3):
        assert abs(rig.error_s(reading)) < reading.limit_s


MOVES = st.lists(
    st.tuples(st.sampled_from(["step", "rate", "update", "slew", "wait", "sample-one"]), st.floats(-0.2, 0.2)),
    max_size=3,
)


@given(st.lists(st.tuples(MOVES, MOVES), min_size=1, max_size=8))
def test_whatever_happens_no_reading_is_further_off_than_it_says(
    rounds: list[tuple[list[tuple[str, float]], list[tuple[str, float]]]],
) -> None:
    rig = Rig(Followed("192.0.2.1", distance_s=1e-5, sd_s=1e-6), Followed("192.0.2.2", distance_s=2e-4))
    for _ in range(30):
        rig.look()
    rig.chronyd.sample()
    assert len(rig.look()) == 2
    found: list[Reading] = []
    for before, after in rounds:
        for what, x in before:
            move(rig, what, x)
        rig.wait(0.4)
        rig.chronyd.sample()
        rig.wait(0.1)
        for what, x in after:
            move(rig, what, x)
        found += rig.look(0.5)
    for reading in found:
        assert abs(rig.error_s(reading)) <= reading.limit_s + 1e-9


def move(rig: Rig, what: str, x: float) -> None:
    """Let something happen to the machine or to chronyd; what happens between two looks of the watch may go unseen."""
    rig.wait(0.06)
    if what == "step":
        rig.machine.wall_off_ns += x * NS
    elif what == "rate":
        rig.machine.set_rate(x * 5e-4)
    elif what == "update":
        rig.chronyd.update(x)
    elif what == "slew":
        slew(rig, x)
    elif what == "wait":
        rig.wait(abs(x) * 10.0)
    else:
        rig.chronyd.sample(rig.chronyd.sources[0])
        rig.wait(0.06)


def slew(rig: Rig, by_s: float) -> None:
    """Let chronyd carry out a correction as fast as it can, 8.3 % of the time that passes."""
    steps = max(1, round(abs(by_s) / 0.083 / 0.05))
    for _ in range(steps):
        rig.wait(0.05)
        rig.chronyd.slew(by_s / steps)


def test_a_sample_from_before_the_watch_is_counted_and_not_used() -> None:
    rig = Rig(Followed("192.0.2.1"))
    rig.chronyd.sample()
    rig.wait(20.0)
    assert rig.look() == []
    assert rig.look() == []
    assert rig.dropped() == {"unwatched": 1}
    rig.look()
    rig.chronyd.sample()
    assert len(rig.look()) == 1


def test_each_sample_is_read_once() -> None:
    rig = Rig(Followed("192.0.2.1")).warm_up()
    rig.chronyd.sample()
    assert [len(rig.look()) for _ in range(5)] == [1, 0, 0, 0, 0]


def test_samples_that_read_alike_are_told_apart_by_their_age() -> None:
    rig = Rig(Followed("192.0.2.1")).warm_up()
    rig.chronyd.sample()
    rig.look()
    rig.wait(10.0)
    before = rig.chronyd.sources[0].samples
    rig.chronyd.sample()
    rig.chronyd.sources[0].samples = before  # the figures are those of the last one
    for _ in range(3):
        if rig.look():
            break
    else:
        pytest.fail("the second sample was never seen")


def test_the_first_readings_wait_for_all_servers_that_answer() -> None:
    early, late, silent = Followed("192.0.2.1"), Followed("192.0.2.2"), Followed("192.0.2.3", reach=0)
    rig = Rig(early, late, silent).warm_up()
    rig.chronyd.sample(early)
    assert rig.look() == []
    rig.chronyd.sample(late)
    assert [reading.a for reading in rig.look()] == ["UTC.c.192.0.2.1", "UTC.c.192.0.2.2"]
    rig.chronyd.sample(early)
    assert len(rig.look()) == 1, "afterwards nobody waits"


def test_a_server_that_answers_and_never_samples_is_not_waited_for_for_ever() -> None:
    early, never = Followed("192.0.2.1"), Followed("192.0.2.2")
    rig = Rig(early, never).warm_up()
    found = 0
    for _ in range(4):
        rig.chronyd.sample(early)
        found += len(rig.look())
    assert found == 1


def test_chronyd_that_corrects_itself_during_the_look_is_looked_at_again() -> None:
    rig = Rig(Followed("192.0.2.1")).warm_up()
    rig.chronyd.sample()
    rig.chronyd.in_between = [lambda: rig.chronyd.update(0.01)]
    for reading in rig.look() or rig.look():
        assert abs(rig.error_s(reading)) < reading.limit_s
    rig.chronyd.in_between = [lambda: rig.chronyd.update(0.01)] * 9
    rig.chronyd.sample()
    failures = rig.feed.status.failures
    assert rig.look() == []
    assert rig.feed.status.failures == failures + 1


def test_the_refclock_that_we_feed_is_left_out() -> None:
    ours = Followed("TRUE", mode=SourceMode.REFCLOCK, stratum=0)
    rig = Rig(ours, Followed("192.0.2.1")).warm_up()
    rig.chronyd.sample()
    assert [reading.a for reading in rig.look()] == ["UTC.c.192.0.2.1"]
    assert rig.dropped() == {"own": 1}
    rig = Rig(Followed("US", mode=SourceMode.REFCLOCK), Followed("TRUE", mode=SourceMode.REFCLOCK), own_refid="US")
    rig.warm_up().chronyd.sample()
    assert [reading.a for reading in rig.look()] == ["UTC.c.TRUE"]


@pytest.mark.parametrize("listens", ["127.0.0.1", "0.0.0.0"])
def test_our_own_door_is_not_followed_through_chronyd(listens: str) -> None:
    ours = Followed("127.0.0.1", port=11123)
    rig = Rig(ours, Followed("127.0.0.2", port=123), own_doors=(HostPort(listens, 11123),)).warm_up()
    rig.chronyd.sample()
    assert [reading.a for reading in rig.look()] == ["UTC.c.127.0.0.2"]
    assert "not followed" in rig.feed.servers()["UTC.c.127.0.0.1"].says or rig.dropped() == {"own": 1}


def test_chronyd_away_is_said_once_and_comes_back_by_itself() -> None:
    rig = Rig(Followed("192.0.2.1")).warm_up()
    rig.chronyd.fails = [AWAY, AWAY, AWAY]
    for _ in range(3):
        rig.look()
    assert rig.kinds() == [AlertKind.SOURCE_AWAY]
    assert rig.feed.document() is not None
    assert "no such socket" in str(rig.feed.document())
    assert rig.feed.servers()["UTC.c.192.0.2.1"].reach == 0
    rig.look()
    assert rig.kinds() == [AlertKind.SOURCE_RETURNED]
    assert "says" not in (rig.feed.document() or {})
    for _ in range(3):
        rig.look()
    rig.chronyd.sample()
    (reading,) = rig.look()
    assert abs(rig.error_s(reading)) < reading.limit_s


def test_an_unknown_report_is_an_alert_and_the_neighbours_live_on() -> None:
    rig = Rig(Followed("192.0.2.1"), Followed("192.0.2.2")).warm_up()
    rig.chronyd.refused_by_command = {Command.NTP_DATA: refusal(ReplyFault.FORMAT, "report 16 or 26")}
    rig.chronyd.sample()
    assert len(rig.look()) == 2, "the path's delay is not needed for a reading"
    rig.chronyd.sample()
    assert len(rig.look()) == 2
    assert rig.kinds() == [AlertKind.SOURCE_UNREADABLE], "each kind is said once"
    rig.chronyd.refused_by_command = {Command.SOURCESTATS: refusal(ReplyFault.FORMAT, "report 6")}
    rig.chronyd.sample()
    assert rig.look() == []
    assert rig.kinds() == [AlertKind.SOURCE_UNREADABLE]
    rig.chronyd.refused_by_command = {}
    assert len(rig.look(0.1)) == 2, "the samples were not lost"


def test_a_daemon_of_another_version_is_away_and_said() -> None:
    rig = Rig(Followed("192.0.2.1"))
    rig.chronyd.refused_by_command = {Command.TRACKING: refusal(ReplyFault.VERSION, "protocol version 6", "7")}
    assert rig.look() == []
    assert rig.kinds() == [AlertKind.SOURCE_UNREADABLE, AlertKind.SOURCE_AWAY]


def test_a_source_removed_between_two_questions_is_no_alert() -> None:
    rig = Rig(Followed("192.0.2.1")).warm_up()
    gone = refusal(ReplyFault.STATUS, "status 0", "4 (no such source)")
    rig.chronyd.refused_by_command = {Command.SOURCE_DATA: gone}
    assert rig.look() == []
    assert rig.kinds() == []
    assert rig.feed.servers()["UTC.c.192.0.2.1"].says == "chronyd no longer follows it"


def test_more_sources_than_are_taken_in_are_counted_and_said() -> None:
    rig = Rig(*(Followed(f"192.0.2.{k + 1}") for k in range(MOST_SERVERS + 9))).warm_up()
    rig.chronyd.sample()
    assert len(rig.look()) == MOST_SERVERS
    assert rig.dropped()["too-many"] >= 9
    assert rig.kinds() == [AlertKind.SOURCE_UNREADABLE]


def test_two_refclocks_of_one_name_are_two_links() -> None:
    rig = Rig(Followed("GPS", mode=SourceMode.REFCLOCK), Followed("GPS", mode=SourceMode.REFCLOCK, lie_s=0.1)).warm_up()
    rig.chronyd.sample()
    found = {reading.a: rig.error_s(reading) for reading in rig.look()}
    assert found == {"UTC.c.GPS": pytest.approx(0.0, abs=1e-4), "UTC.c.GPS-2": pytest.approx(0.1, abs=1e-4)}


def test_a_source_without_an_address_yet_waits() -> None:
    rig = Rig(Followed(None), Followed("192.0.2.1")).warm_up()
    rig.chronyd.sample()
    assert [reading.a for reading in rig.look()] == ["UTC.c.192.0.2.1"]


def test_the_keys_of_the_source_widen_its_readings() -> None:
    plain = Rig(Followed("192.0.2.1")).warm_up()
    wide = Rig(Followed("192.0.2.1"), u_s=1e-3, limit_s=2e-3).warm_up()
    for rig in (plain, wide):
        rig.chronyd.sample()
    (one,), (other,) = plain.look(), wide.look()
    assert other.u_s - one.u_s == pytest.approx(1e-3)
    assert other.limit_s - one.limit_s == pytest.approx(2e-3)


def test_a_longer_path_makes_a_less_certain_sample() -> None:
    server = Followed("192.0.2.1")
    rig = Rig(server).warm_up()
    rig.chronyd.sample()
    (short,) = rig.look()
    server.distance_s = 4e-3
    rig.chronyd.sample()
    (long,) = rig.look()
    assert long.u_s - short.u_s == pytest.approx(3e-3)
    assert long.limit_s - short.limit_s == pytest.approx(3e-3, abs=1e-5)
