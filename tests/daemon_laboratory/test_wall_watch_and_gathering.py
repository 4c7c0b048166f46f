"""The wall clock is watched and never followed; live batches reach the fold in an order that it can take."""

from dataclasses import replace
from pathlib import Path
from queue import Queue

import pytest

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.compare.reading import Reading
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.source_settings import Source, SourceKind
from truechimer.daemon.sources.feeds import Batch, HostLabel
from truechimer.daemon.sources.gathering import HOLD_S, ROUND_S, Gathering, has_clocks, in_order
from truechimer.daemon.sources.readings_feed import KnownNames, ReadingsFeed
from truechimer.daemon.sources.wall_watch import WallWatch
from truechimer.errors import Misuse
from truechimer.evidence.record import Chain, seal
from truechimer.instants import builtin_leap_table
from truechimer.laboratory import replay

S = 10**9
EPOCH_NS = 1_790_000_000 * S
SECONDS_37 = 37 * S


class MovedHost:
    """A host whose raw counter and wall clock the test moves."""

    def __init__(self) -> None:
        self.raw, self.wall_minus_raw = 10**12, EPOCH_NS - SECONDS_37 - 10**12
        self.clocks = HostClocks(raw_ns=self._raw, realtime_ns=self._wall, suspended_ns=int, boot_text=lambda: b"boot")

    def _raw(self) -> int:
        self.raw += 50
        return self.raw

    def _wall(self) -> int:
        self.raw += 50
        return self.raw + self.wall_minus_raw


def watched(host: MovedHost, *, seconds: float, watch: WallWatch | None = None) -> WallWatch:
    """Let a watch look every 50 ms for a while."""
    if watch is None:
        label = HostLabel(host.raw, host.raw + host.wall_minus_raw + SECONDS_37)
        watch = WallWatch(label, builtin_leap_table(), clocks=host.clocks)
    for _ in range(round(seconds / 0.05)):
        host.raw += 50_000_000
        watch.look()
    return watch


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 0.1, -0.1])
def test_a_step_of_the_wall_clock_is_seen_and_rows_after_it_are_carried_over(step_s: float) -> None:
    host = MovedHost()
    watch = watched(host, seconds=2.0)
    assert watch.take_steps() == ()
    before = watch.carry(host.raw + host.wall_minus_raw + SECONDS_37 - S)
    assert before is not None
    assert before.label_minus_wall_s == pytest.approx(0.0, abs=1e-6)
    host.wall_minus_raw += round(step_s * S)
    watched(host, seconds=2.0, watch=watch)
    (step,) = watch.take_steps()
    assert step.moved_s == pytest.approx(step_s, abs=1e-6)
    after = watch.carry(host.raw + host.wall_minus_raw + SECONDS_37 - S)
    assert after is not None
    # the row says what the stepped clock said; on the label nothing has moved
    assert after.label_minus_wall_s == pytest.approx(-step_s, abs=1e-6)
    assert watch.take_steps() == ()


def test_what_nobody_watched_is_not_carried_over() -> None:
    host = MovedHost()
    watch = watched(host, seconds=2.0)
    now_ns = host.raw + host.wall_minus_raw + SECONDS_37
    assert watch.carry(now_ns - 3600 * S) is None
    assert watch.carry(now_ns + 5 * S) is None
    assert watch.past_shift_ns(now_ns - 3600 * S) == 0
    host.wall_minus_raw += 3600 * S
    watched(host, seconds=1.0, watch=watch)
    assert watch.carry(now_ns + 1800 * S) is None  # inside the step: no such moment was ever shown


def test_an_epoch_asked_for_twice_is_carried_alike() -> None:
    host = MovedHost()
    watch = watched(host, seconds=1.0)
    epoch_ns = host.raw + host.wall_minus_raw + SECONDS_37 + 1_000
    first = watch.carry(epoch_ns)
    host.wall_minus_raw += 300  # a slew between
    watched(host, seconds=1.0, watch=watch)
    assert watch.carry(epoch_ns) == first


def batch(epoch_s: float, a: str, b: str, source: str, raw_ns: int | None = None) -> Batch:
    epoch_ns = EPOCH_NS + round(epoch_s * S)
    return Batch(
        epoch_ns, raw_ns, (Reading(epoch_tai_ns=epoch_ns, a=a, b=b, x_a_minus_b_s=1e-6, u_s=1e-9),), 1, None, source
    )


def test_two_files_of_one_epoch_become_one_batch() -> None:
    gathering = Gathering(clocks=True, patience_s=5.0)
    for epoch in (0.0, 1.0):
        gathering.add(batch(epoch, "a", "b", "one"), epoch)
        gathering.add(batch(epoch, "c", "b", "two"), epoch)
    ready = gathering.ready(1.0)
    assert [len(item.readings) for item in ready] == [2, 2]
    gathering.add(batch(2.0, "a", "b", "one"), 2.0)
    assert gathering.ready(2.0) == []  # the other file may still bring its rows
    assert [len(item.readings) for item in gathering.ready(2.0 + HOLD_S)] == [1]


def test_what_is_said_of_utc_waits_for_the_clocks_but_not_for_ever() -> None:
    gathering = Gathering(clocks=True, patience_s=5.0)
    gathering.add(batch(0.4, "UTC.x", "host", "ntp"), 0.4)
    assert gathering.ready(0.5) == []
    gathering.add(batch(1.0, "a", "b", "file"), 1.0)
    (ready,) = gathering.ready(1.0)
    assert [reading.epoch_tai_ns - EPOCH_NS for reading in ready.readings] == [S, 400_000_000]
    gathering.add(batch(1.4, "UTC.x", "host", "ntp"), 1.4)
    assert gathering.ready(6.0) == []
    assert [item.source for item in gathering.ready(6.5)] == ["ntp"]


def test_servers_asked_together_are_judged_together() -> None:
    gathering = Gathering(clocks=False, patience_s=5.0)
    for name, at in (("a", 0.001), ("b", 0.002)):
        gathering.add(batch(at, f"UTC.{name}", "host", name, raw_ns=round(at * S)), at)
    gathering.ready(0.01)
    gathering.add(batch(1.001, "UTC.a", "host", "a", raw_ns=S), 1.001)
    assert gathering.ready(1.002) == []
    gathering.add(batch(1.003, "UTC.b", "host", "b", raw_ns=S + 2), 1.004)
    (both,) = gathering.ready(1.004)
    assert len(both.readings) == 2
    assert both.raw_ns == S + 2
    gathering.add(batch(2.001, "UTC.a", "host", "a"), 2.001)  # b is silent: nobody waits long
    assert gathering.ready(2.002) == []
    assert len(gathering.ready(2.002 + ROUND_S)) == 1


def test_a_backlog_keeps_every_word_of_utc() -> None:
    daily = [batch(0.0, "UTC.x", "a", "link"), batch(1.0, "UTC.x", "a", "link"), batch(2.0, "a", "b", "file")]
    out = list(in_order(daily))
    assert [len(item.readings) for item in out] == [1, 2]


def test_an_alert_of_the_daemon_is_an_input_of_the_replay_and_no_other_alert_is() -> None:
    alert = Alert(
        AlertKind.HOST_CLOCK_STEP, replay.DAEMON, "host", AlertSeverity.WARNING, "moved", (), EPOCH_NS, "look"
    )
    with pytest.raises(Misuse):
        replay.note_alert(None, replace(alert, component="scale"))  # type: ignore[arg-type]
    sealed, _ = seal("alert", {"component": "scale"}, Chain())
    assert replay.replay([sealed.data]).difference is not None


def test_what_utc_says_late_in_the_midst_of_an_epoch_costs_the_clocks_no_row(tmp_path: Path) -> None:
    host = MovedHost()
    watch = watched(host, seconds=1.0)
    label = HostLabel(host.raw, host.raw + host.wall_minus_raw + SECONDS_37)
    old = EPOCH_NS - 20 * 86_400 * S
    rows = []
    for k in range(4):
        at = old + k * 3_600 * S
        rows += [f"{at},m2,m1,1e-9,1e-12", f"{at},m3,m1,2e-9,1e-12"]
    # a week's values between two rows of one epoch, and one that is older than them
    late = [f"{old - (7 - day) * 86_400 * S},UTCr,m1,{day}e-9,3e-10" for day in range(7)]
    path = tmp_path / "readings.csv"
    text = ["epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s", *rows[:5], *late, *rows[5:]]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")

    def feed(after_ns: int) -> ReadingsFeed:
        return ReadingsFeed(
            Source(name="file", kind=SourceKind.READINGS, path="readings.csv"), path, Queue(),
            known_names=KnownNames(["m1", "m2", "m3"]), label=label, wall=watch, raw_now_ns=lambda: host.raw,
            max_age_s=10.0, on_fault=lambda *_: None, delays={}, after_ns=after_ns,
        )  # fmt: skip

    read = list(feed(0).backlog())
    clocks = [one for one in read if has_clocks(one)]
    assert [len(one.readings) for one in clocks] == [2, 2, 2]  # the last epoch may still grow
    said = [one.readings[0] for one in read if not has_clocks(one)]
    assert [one.x_a_minus_b_s for one in said] == [pytest.approx(day * 1e-9) for day in range(7)]
    assert [one.epoch_tai_ns for one in said] == sorted(one.epoch_tai_ns for one in said)
    # each after the epoch with which it came, and before the next
    assert [has_clocks(one) for one in in_order(read)] == [True] * 3 + [False] * 7
    # what a laboratory knows already is not said again
    assert list(feed(old + 2 * 3_600 * S).backlog()) == []
