"""chronyd's logs as a source, on a simulated machine whose chronyd writes them: a reading is true within its limit."""

import os
import queue
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.daemon_chrony.simulated import NS, TAI_MINUS_UTC_NS, UNIX_NS, Machine

from truechimer.alerts import AlertKind
from truechimer.compare.reading import Reading
from truechimer.daemon.lab.source_settings import Source, SourceKind
from truechimer.daemon.sources.chrony_log_feed import ChronyLogFeed
from truechimer.daemon.sources.feeds import Batch
from truechimer.daemon.sources.wall_watch import WallWatch
from truechimer.formats.finding import Finding
from truechimer.instants import builtin_leap_table

SERVERS = ("192.0.2.1", "192.0.2.2")


class Rig:
    """A machine, its wall watch, a chronyd that writes logs, and the feed that reads them."""

    def __init__(
        self, folder: Path, *, wall_off_s: float = 0.0, rate: float = 0.0, own_refid: str | None = None
    ) -> None:
        self.folder = folder
        self.machine = Machine(wall_off_ns=wall_off_s * NS)
        self.machine.set_rate(rate)
        self.label = self.machine.label()
        self.correction_s = 0.0
        self.out: queue.Queue[Batch] = queue.Queue()
        self.faults: list[tuple[str, Finding]] = []
        leaps = builtin_leap_table()
        self.wall = WallWatch(self.label, leaps, clocks=self.machine.clocks())
        self.feed = ChronyLogFeed(
            Source(name="c", kind=SourceKind.CHRONY, logdir=str(folder), own_refid=own_refid),
            folder,
            self.label,
            leaps,
            self.out,
            wall=self.wall,
            on_fault=lambda name, finding: self.faults.append((name, finding)),
        )

    def wait(self, seconds: float) -> None:
        for _ in range(max(1, round(seconds / 0.05))):
            self.machine.raw_ns += round(min(seconds, 0.05) * NS)
            self.wall.look()

    def stamp(self) -> str:
        """Return chronyd's date and time of now."""
        cooked_ns = self.machine.wall_ns() + round(self.correction_s * NS)
        return datetime.fromtimestamp(cooked_ns // NS, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")

    def measured(self, address: str, *, lie_s: float = 0.0, root_s: float = 1e-4, tests: str = "111 111 1111") -> str:
        """Let chronyd measure a server now; return the line."""
        cooked_minus_true_s = self.machine.off_ns() / NS + self.correction_s
        offset_s = lie_s - cooked_minus_true_s
        line = f"{self.stamp()} {address:<15} N  2 {tests}  4  4 0.00 {offset_s:10.9e} 1.000e-05 1.000e-07"
        return self.write("measurements", f"{line} {root_s:10.3e} 1.000e-06 7F7F0101 4B K K")

    def updated(self, offset_s: float = 0.0) -> str:
        """Let chronyd correct its clock by `offset_s` (it was ahead by so much)."""
        line = f"{self.stamp()} 192.0.2.1        2      0.006      0.023 {offset_s:10.9e} N  2  2.390e-07 "
        found = self.write("tracking", f"{line}{self.correction_s:10.9e}  6.297e-06  8.857e-07  6.687e-06")
        self.correction_s -= offset_s
        return found

    def write(self, name: str, line: str) -> str:
        with (self.folder / f"{name}.log").open("a", encoding="ascii") as file:
            file.write(line + "\n")
        return line

    def look(self) -> list[Reading]:
        """Look when the second of the last row is over, and return what came."""
        self.feed.look()
        self.wait(1.5)
        self.feed.look()
        found: list[Reading] = []
        while not self.out.empty():
            found += self.out.get_nowait().readings
        return found

    def begun(self) -> "Rig":
        """Begin with logs that are there, and with both servers heard."""
        for name in ("measurements", "tracking"):
            self.write(name, "=" * 60)
        self.look()
        self.wait(2.0)
        self.updated()
        for _ in range(4):
            self.wait(1.0)
            for server in SERVERS:
                self.measured(server)
            self.updated()
        assert len(self.look()) >= 2
        return self

    def error_s(self, reading: Reading) -> float:
        raw_ns = self.label.raw_of(reading.epoch_tai_ns)
        truth_ns = UNIX_NS + raw_ns + TAI_MINUS_UTC_NS - reading.epoch_tai_ns
        return reading.x_a_minus_b_s - truth_ns / NS

    def dropped(self) -> dict[str, int]:
        return (self.feed.document() or {})["rows_dropped"]


@pytest.mark.parametrize(("wall_off_s", "rate"), [(0.0, 0.0), (0.05, 3e-5), (-1.7, -8e-5)])
@pytest.mark.parametrize("lie_s", [0.0, 0.05, -0.05])
def test_a_row_is_the_server_whatever_the_wall_clock_shows(
    tmp_path: Path, wall_off_s: float, rate: float, lie_s: float
) -> None:
    rig = Rig(tmp_path, wall_off_s=wall_off_s, rate=rate).begun()
    rig.wait(3.3)
    rig.measured("192.0.2.1", lie_s=lie_s)
    rig.updated()
    (reading,) = rig.look()
    assert reading.a == "UTC.c.192.0.2.1"
    assert reading.operator == "192.0.2.1"
    assert abs(rig.error_s(reading) - lie_s) < reading.limit_s < 5e-4


def test_what_chronyd_has_still_to_correct_is_part_of_its_clock(tmp_path: Path) -> None:
    rig = Rig(tmp_path, wall_off_s=0.02).begun()
    rig.wait(2.0)
    rig.updated(0.02)  # its own clock is right now, the wall clock is not (-x, or a slew that has just begun)
    for _ in range(3):
        rig.wait(4.0)
        rig.measured("192.0.2.2")
        rig.updated()
        (reading,) = rig.look()
        assert abs(rig.error_s(reading)) < reading.limit_s < 5e-4


def test_between_two_updates_what_was_corrected_meanwhile_is_part_of_the_limit(tmp_path: Path) -> None:
    rig = Rig(tmp_path, wall_off_s=0.004).begun()
    rig.wait(2.0)
    rig.updated(0.004)
    for _ in range(200):  # slewed over ten seconds
        rig.wait(0.05)
        rig.machine.wall_off_ns -= 0.00002 * NS
        rig.correction_s += 0.00002
    rig.wait(1.0)
    rig.measured("192.0.2.2")
    assert rig.look() == [], "a row waits for the next update"
    rig.wait(2.0)
    rig.updated()
    (reading,) = rig.look()
    assert abs(rig.error_s(reading)) < reading.limit_s
    assert 2e-3 < reading.limit_s < 3e-3


@pytest.mark.parametrize("step_s", [0.05, -0.05, 5.0])
def test_rows_around_a_step_of_the_wall_clock_are_counted_and_not_used(tmp_path: Path, step_s: float) -> None:
    rig = Rig(tmp_path).begun()
    rig.wait(1.02)
    rig.measured("192.0.2.1")
    rig.machine.wall_off_ns += step_s * NS
    rig.wait(2.0)
    rig.updated()
    for reading in rig.look():
        assert abs(rig.error_s(reading)) < reading.limit_s
    rig.wait(5.0)
    rig.measured("192.0.2.1")
    rig.updated()
    (reading,) = rig.look()
    assert abs(rig.error_s(reading)) < reading.limit_s, "afterwards the wall clock is known again"


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["measure", "update", "step", "rate", "slew", "wait"]), st.floats(-0.2, 0.2)),
        max_size=25,
    )
)
def test_whatever_happens_no_reading_is_further_off_than_it_says(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, float]]
) -> None:
    rig = Rig(tmp_path_factory.mktemp("logs")).begun()
    found: list[Reading] = []
    for what, x in events:
        rig.wait(0.3 + abs(x))
        if what == "measure":
            rig.measured("192.0.2.1")
        elif what == "update":
            rig.updated(x)
        elif what == "step":
            rig.machine.wall_off_ns += x * NS
        elif what == "rate":
            rig.machine.set_rate(x * 5e-4)
        elif what == "slew":  # chronyd carries out a part of what it has still to correct, and never the other way
            part_s = rig.correction_s * abs(x) / 10.0
            for _ in range(10):
                rig.wait(0.05)
                rig.machine.wall_off_ns += part_s * NS
                rig.correction_s -= part_s
        found += rig.look()
    rig.wait(1.2)
    rig.updated()
    found += rig.look()
    for reading in found:
        assert abs(rig.error_s(reading)) <= reading.limit_s + 1e-9


def test_rows_of_before_the_start_are_counted_and_not_used(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for _ in range(5):
        rig.wait(1.0)
        rig.measured("192.0.2.1")
        rig.updated()
    assert rig.look() == []
    document = rig.feed.document() or {}
    assert document["logs"]["measurements"]["lines_before_start"] == 5
    assert rig.look() == []


def test_the_log_of_before_is_not_used_either_where_it_is_found_late(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.look()  # nothing is there yet: what appears now is new
    old = "1999-01-01 00:00:00 192.0.2.1 N 2 111 111 1111 4 4 0.00 1.000e-01 1.0e-05 1.0e-07 1.0e-04 1.0e-06 7F7F0101"
    rig.write("measurements", old)
    rig.updated()
    assert rig.look() == []
    assert rig.dropped() == {"unwatched": 1}


def test_rows_go_on_over_a_rotation(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begun()
    rig.wait(2.0)
    rig.measured("192.0.2.1")
    for name in ("measurements", "tracking"):
        (tmp_path / f"{name}.log").rename(tmp_path / f"{name}.log.1")
    with (tmp_path / "measurements.log.1").open("a", encoding="ascii") as late:
        rig.wait(1.0)
        line = rig.measured("192.0.2.2")  # chronyd has the old file open still
        (tmp_path / "measurements.log").unlink()
        late.write(line + "\n")
    assert rig.look() == []
    rig.wait(1.0)
    rig.measured("192.0.2.1")
    rig.updated()
    found = rig.look()
    assert [reading.a[-1] for reading in found] == ["1", "2", "1"]
    assert all(abs(rig.error_s(reading)) < reading.limit_s for reading in found)


def test_a_log_that_was_cut_is_read_from_its_beginning(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begun()
    rig.wait(2.0)
    os.truncate(tmp_path / "measurements.log", 0)
    rig.measured("192.0.2.1")
    rig.updated()
    assert len(rig.look()) == 1


def test_a_broken_line_is_refused_with_its_place_and_its_neighbours_live_on(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begun()
    rig.wait(2.0)
    rig.measured("192.0.2.1")
    rig.write("measurements", "2026-11-22 07:41:06 192.0.2.9 N 2 111 111 1111 4 4 0.0 1e999 0 0 0 0 0")
    rig.measured("192.0.2.2")
    rig.updated()
    assert [reading.a[-1] for reading in rig.look()] == ["1", "2"]
    ((name, finding),) = rig.faults
    assert (name, finding.rule) == ("measurements.log", "number")
    lines = (tmp_path / "measurements.log").read_text().splitlines()
    assert finding.line is not None
    assert "1e999" in lines[finding.line - 1]
    assert (rig.feed.document() or {})["logs"]["measurements"]["refused"] == 1


def test_a_line_that_is_being_written_waits_for_its_end(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begun()
    rig.wait(2.0)
    line = rig.measured("192.0.2.1")
    path = tmp_path / "measurements.log"
    os.truncate(path, path.stat().st_size - 40)
    rig.updated()
    assert rig.look() == []
    with path.open("a", encoding="ascii") as file:
        file.write((line + "\n")[-40:])
    assert len(rig.look()) == 1


def test_samples_that_chronyd_refused_are_not_used(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begun()
    rig.wait(2.0)
    rig.measured("192.0.2.1", tests="111 111 1011", lie_s=9.0)
    rig.updated()
    assert rig.look() == []
    assert rig.dropped() == {"bad-sample": 1}


def test_refclocks_are_links_but_for_the_one_that_we_feed(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begun()
    rig.wait(2.0)
    for refid in ("PPS0", "TRUE"):
        rig.write("refclocks", f"{rig.stamp()}.500000 {refid:<5}  12 N 0  4.9e-07 -6.741777e-07  1.000e-06")
        rig.write("refclocks", f"{rig.stamp()}.000000 {refid:<5}   - N -       -       -6.741777e-07  1.000e-06")
    rig.updated()
    (reading,) = rig.look()
    assert (reading.a, reading.operator) == ("UTC.c.PPS0", "c.PPS0")
    assert reading.limit_s < 1e-4
    assert rig.dropped() == {"own": 1}


def test_without_tracking_log_nothing_is_used_and_that_is_said_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.write("measurements", "=====")
    for _ in range(3):
        rig.look()
        rig.wait(1.0)
        rig.measured("192.0.2.1")
    assert rig.look() == []
    (news,) = rig.feed.take_news()
    assert news.kind is AlertKind.SOURCE_AWAY
    assert "log measurements tracking" in news.says
    rig.updated()
    rig.look()
    assert [news.kind for news in rig.feed.take_news()] == [AlertKind.SOURCE_RETURNED]


def test_rows_that_find_no_update_are_given_up_in_the_end(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begun()
    rig.wait(2.0)
    rig.measured("192.0.2.1")
    rig.look()
    rig.machine.raw_ns += 3000 * NS
    rig.wall.look()
    assert rig.look() == []
    assert rig.dropped() == {"no-update": 1}
