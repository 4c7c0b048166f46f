"""While records cannot be written, time is served on from what was recorded, inside its bound, and nothing is served
that is not on the disk; when they can be again, all that waited is written first.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.daemon_faults.laboratories import KINDS, Run

from truechimer.alerts import Alert, AlertKind
from truechimer.cli.status_verb import screen
from truechimer.daemon import notify
from truechimer.daemon.page_file import PageWriter
from truechimer.daemon.records import last_page
from truechimer.laboratory.replay import replay
from truechimer.serve.served_time import ServedTime, Unsynchronised

NOT_WRITTEN = AlertKind.RECORDS_NOT_WRITTEN.value


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A small laboratory that is steered, a few live epochs behind it."""
    begun = Run.copied(tmp_path)
    yield begun
    begun.store.fails = lambda _: False
    begun.close()


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What operators were told of the records, in the order of it."""
    lines: list[str] = []

    def say(alert: Alert, _seq: int | None = None) -> None:
        if alert.kind is AlertKind.RECORDS_NOT_WRITTEN:
            lines.append(f"{alert.severity.value} {alert.kind.value}")

    monkeypatch.setattr(notify, "say", say)
    return lines


def covered(run: Run) -> bool:
    """Whether what doors read rests on a record that is on the disk."""
    page = run.page()
    return page is not None and last_page.is_covered(page, run.laboratory.started.store)


def whole(run: Run) -> list[dict[str, object]]:
    """The records, after a replay that found each of them bit for bit."""
    log = list(run.laboratory.started.store.read())
    again = replay(log)
    assert again.difference is None, again.difference
    assert again.compared == len(log)
    return [json.loads(data) for data in log]


@pytest.mark.parametrize(
    ("kind", "after"), [("full", False), ("read-only", False), ("busy", False), ("io", False), ("io", True)]
)
def test_time_is_served_inside_its_bound_before_during_and_after(
    run: Run, kind: str, after: bool, told: list[str]
) -> None:
    run.store.error, run.store.after = KINDS[kind], after
    before = run.page()
    assert before is not None
    assert run.served().state == "steered"
    run.store.fails = lambda _: True
    bounds = []
    for _ in range(25):
        run.epoch()
        served = run.served()
        assert isinstance(served, ServedTime)
        assert served.state == "holdover"
        assert abs(run.error_s()) <= served.bound_s
        assert covered(run)
        page = run.page()
        assert page is not None
        assert (page.anchor_raw_ns, page.anchor_tai_fs, page.rate) == (
            before.anchor_raw_ns,
            before.anchor_tai_fs,
            before.rate,
        )
        bounds.append(served.bound_s)
    assert bounds[0] < bounds[-1]
    assert told == [f"critical {NOT_WRITTEN}"]
    store = run.status()["store"]
    assert store["state"] == "failing"
    assert store["waiting"] > 25
    assert store["failing_s"] == pytest.approx(24.0, abs=1.0), "on the machine's own clock, an epoch a second"
    assert "not written" in store["says"]
    assert "records cannot be written" in run.status()["state_sentence"]
    assert run.laboratory.now_document()["state"] == "holdover"
    run.store.fails = lambda _: False
    run.epoch()
    assert run.served().state == "steered"
    assert abs(run.error_s()) <= run.served().bound_s
    run.epochs(6)
    assert told == [f"critical {NOT_WRITTEN}", f"notice {NOT_WRITTEN}"]
    assert run.status()["store"] == {"state": "written", "waiting": 0, "waiting_bytes": 0}
    assert covered(run)
    alerts = [body["severity"] for body in whole(run) if body.get("alert") == NOT_WRITTEN]
    assert alerts == ["critical", "notice"]


@pytest.mark.parametrize("every", [2, 3, 7])
def test_an_error_at_every_nth_call_costs_nothing_but_the_moment_and_is_said_once(
    run: Run, every: int, told: list[str]
) -> None:
    run.store.fails = lambda number: number % every == 0
    for _ in range(20):
        run.epoch()
        assert covered(run)
        assert abs(run.error_s()) <= run.served().bound_s
    run.store.fails = lambda _: False
    run.epochs(10)
    assert told.count(f"critical {NOT_WRITTEN}") == told.count(f"notice {NOT_WRITTEN}") <= 3
    epochs = [body["epoch_tai_ns"] for body in whole(run) if body["kind"] == "readings"]
    assert len(set(epochs)) == len(epochs)
    assert run.laboratory.journal.waiting == 0


def test_the_alert_is_the_first_record_after_what_waited_before_it(run: Run) -> None:
    count = run.laboratory.started.store.count()
    run.store.fails = lambda _: True
    made = run.epoch()
    assert made is not None
    run.epochs(3)
    assert run.laboratory.started.store.count() == count
    run.store.fails = lambda _: False
    run.epoch(after_s=2.0)
    kinds = [body.get("alert", body["kind"]) for body in whole(run)[count:]]
    assert kinds[: len(made.records)] == [json.loads(record.data)["kind"] for record in made.records]
    assert kinds[len(made.records)] == NOT_WRITTEN


def test_a_page_that_cannot_be_written_is_said_once_and_what_is_read_stays_what_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(notify, "say_line", lambda text, **_: lines.append(text))
    before = run.page()
    with monkeypatch.context() as broken:
        broken.setattr(PageWriter, "publish", lambda _self, _page: (_ for _ in ()).throw(OSError(28, "No space left")))
        run.epochs(3)
    assert run.page() == before
    assert run.laboratory.page is not None
    assert run.laboratory.page.written_raw_ns == before.written_raw_ns if before else False
    assert len([line for line in lines if "clock page" in line]) == 1
    run.epoch()
    after = run.page()
    assert after is not None
    assert after.written_raw_ns == run.laboratory.page.written_raw_ns == run.machine.raw_ns


def test_recovery_is_seen_without_an_epoch(run: Run) -> None:
    run.store.fails = lambda _: True
    run.epoch()
    run.store.fails = lambda _: False
    run.machine.raw_ns += 10**9
    run.laboratory.settle()
    assert run.served().state == "steered"


def test_readings_that_may_not_wait_are_refused_and_counted_and_the_page_is_left_to_age(tmp_path: Path) -> None:
    run = Run.copied(tmp_path, most_waiting_bytes=60_000)
    run.store.fails = lambda _: True
    while not run.laboratory.journal.is_full:
        run.epoch()
    held, rejected = run.page(), run.laboratory.refused.count
    state = run.laboratory.started.state
    for _ in range(10):
        assert run.epoch() is None
    assert run.laboratory.refused.count == rejected + 10
    assert run.laboratory.started.state is state
    assert run.page() == held
    assert run.status()["store"]["state"] == "full"
    assert run.laboratory.journal.waiting_bytes < 70_000
    unsynchronised = run.served(after_s=11.0)  # silence_s after the last page
    assert isinstance(unsynchronised, Unsynchronised)
    assert unsynchronised.reason == "page-too-old"
    run.store.fails = lambda _: False
    run.epochs(3)
    assert run.served().state == "steered"
    assert abs(run.error_s()) <= run.served().bound_s
    whole(run)
    run.close()


def test_a_state_that_turns_bad_while_records_wait_reaches_the_doors(run: Run) -> None:
    run.store.fails = lambda _: True
    run.epoch()
    world = run.laboratory.started.world
    assert world is not None
    expires_ns = run.laboratory.started.config.leap_expires_ns
    run.machine.raw_ns += expires_ns - (world.now_tai_ns or 0)  # the leap table expires: alarm
    run.epoch()
    assert isinstance(run.served(), Unsynchronised)
    page = run.page()
    assert page is not None
    assert page.state == "alarm"


def test_what_was_never_written_is_said_at_the_end_and_nothing_rested_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(notify, "say_line", lambda text, **_: lines.append(text))
    run = Run.copied(tmp_path)
    run.store.fails = lambda _: True
    run.epochs(2)
    run.close()
    assert run.laboratory.journal.waiting > 0
    assert any("records were not written" in line for line in lines)
    again = Run.begin(tmp_path, run.machine)
    again.epochs(2)
    assert again.served().state == "steered"
    whole(again)
    again.close()


def test_status_says_in_words_that_nothing_is_written(run: Run) -> None:
    assert "NOT WRITTEN" not in "\n".join(screen(run.status()))
    run.store.fails = lambda _: True
    run.epochs(2)
    told = "\n".join(screen(run.status()))
    assert "NOT WRITTEN since" in told
    assert "disk is full" in told
