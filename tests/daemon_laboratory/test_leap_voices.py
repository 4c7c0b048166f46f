"""A laboratory in service hears who announces leap seconds: files, servers, satellites through its receivers."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.daemon_faults.laboratories import LAB, Run, write_lab

from truechimer.cli.lab_arguments import now_label
from truechimer.compare import receiver_quality
from truechimer.compare.receiver_epoch import DAY_NS, ReceiverEpoch
from truechimer.compare.receiver_quality import LinkLevel, Reason
from truechimer.daemon import leap_turn
from truechimer.daemon.lab.lab_check import check_lab
from truechimer.daemon.sources.feeds import Batch, SourceStatus
from truechimer.formats import bulletin_c
from truechimer.formats.bulletin_c import BulletinC
from truechimer.instants import Instant, builtin_leap_table, to_utc
from truechimer.instants.mjd import from_calendar
from truechimer.laboratory import replay
from truechimer.laboratory.leap_notices import NOTHING_HEARD, moment_ns
from truechimer.laboratory.receiving import Evidence, Receiving
from truechimer.watch import leap_vote
from truechimer.watch.leap_vote import Voice

WITH_FILES = LAB + '[utc]\nleap_notices = ["c.txt", "NIST=second.txt"]\n'


class Clock:
    """Monotonic seconds that the test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s


class Servers:
    """A feed of servers that announce what the test says."""

    def __init__(self, words: list[str]) -> None:
        self.status = SourceStatus("servers", "ntp", "x")
        self.rows = {
            f"UTC.s{k}": SourceStatus(f"UTC.s{k}", "ntp", f"operator {k}", leap=word, reach=1, answers=1)
            for k, word in enumerate(words)
        }

    def servers(self) -> dict[str, SourceStatus]:
        return self.rows

    def document(self) -> None:
        return None

    def is_alive(self) -> bool:
        return False


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    clock = Clock()
    monkeypatch.setattr(leap_turn, "time", clock)
    write_lab(tmp_path, text=WITH_FILES)
    run = Run.begin(tmp_path).epochs(3)
    yield run, clock
    run.close()


def look(run: Run, clock: Clock) -> dict[str, Any]:
    clock.now_s += 6.0
    run.laboratory.leap.turn(run.laboratory)
    run.epochs(1)
    leap: dict[str, Any] = run.status()["leap"]
    return leap


def today(run: Run) -> int:
    at = Instant.from_tai_ns(run.laboratory.started.state.epoch_ns)
    return to_utc(at, run.laboratory.started.config.leaps).mjd


def announced(run: Run, step_s: int) -> str:
    mjd = leap_vote.month_end_after(today(run))
    return bulletin_c.write(BulletinC(72, step_s, mjd, 37 + step_s)).decode()


def refusals(run: Run) -> list[str]:
    return [one["subject"] for one in run.status()["alerts"] if one["alert"] == "bulletin-refused"]


def test_two_forged_files_are_disputed_in_the_next_epoch_and_corrected_ones_end_it(lab: tuple[Run, Clock]) -> None:
    run, clock = lab
    leap = look(run, clock)
    assert (leap["voices"], leap["votes"], leap["disputed"]) == ([], [], False)
    assert refusals(run) == ["c.txt", "second.txt"]  # they are not there yet
    (run.folder / "c.txt").write_text(announced(run, 1))
    leap = look(run, clock)
    assert [vote["verdict"] for vote in leap["votes"]] == ["no-leap"]
    assert leap["notices_refused"] == 1
    (run.folder / "second.txt").write_text(announced(run, 1))
    leap = look(run, clock)
    assert leap["disputed"]
    assert {voice["provenance"] for voice in leap["voices"]} == {"Bulletin C", "NIST"}
    held = [row for row in run.status()["firing"]["conditions"] if row["alert"] == "leap-disputed"]
    assert held[0]["subjects"] == ["leap table"]
    assert "entries" in leap
    assert run.status()["terms"]["limit_leap_s"] == 0.0
    for name in ("c.txt", "second.txt"):
        (run.folder / name).write_text(announced(run, 0))
    assert not look(run, clock)["disputed"]
    recorded = [json.loads(data) for data in run.laboratory.started.store.read(first=0)]
    assert len([body for body in recorded if "leap_voices" in body]) == 3
    assert replay.replay(run.laboratory.started.store.read(first=0)).difference is None


def test_a_broken_file_has_no_voice_and_is_told_of_once(lab: tuple[Run, Clock]) -> None:
    run, clock = lab
    (run.folder / "c.txt").write_text(announced(run, 1).replace("positive", "negative"))
    (run.folder / "second.txt").write_bytes(b"\x00 nothing of the kind")
    for _ in range(3):
        leap = look(run, clock)
    assert leap["voices"] == []
    assert refusals(run) == ["c.txt", "second.txt"]
    assert leap["notices_refused"] == 2
    (run.folder / "second.txt").write_bytes((run.folder / "c.txt").read_bytes())
    assert look(run, clock)["notices_refused"] == 1  # one content in two files
    (run.folder / "c.txt").write_text(announced(run, 0))
    assert look(run, clock)["notices_refused"] == 1
    (run.folder / "second.txt").unlink()
    assert look(run, clock)["notices_refused"] == 0  # what is not there is no notice


def test_servers_that_announce_one_have_a_voice_each_by_operator(lab: tuple[Run, Clock]) -> None:
    run, clock = lab
    feed = Servers(["insert", "insert", "normal", "unsynchronised"])
    feed.rows["UTC.s1"].operator = "operator 0"
    run.laboratory.feeds.append(feed)  # type: ignore[arg-type]
    leap = look(run, clock)
    assert [vote["for"] for vote in leap["votes"]] == [["operator 0"]]
    assert not leap["disputed"]
    feed.rows["UTC.s1"].operator = "operator 1"
    assert look(run, clock)["disputed"]
    feed.rows["UTC.s1"].reach = 0  # who does not answer says nothing
    assert not look(run, clock)["disputed"]
    run.laboratory.feeds.remove(feed)  # type: ignore[arg-type]


LEAPS = builtin_leap_table()
JANUARY = from_calendar(2027, 1, 1)


def relayed(
    said: ReceiverEpoch, at_ns: int, *reasons: tuple[Reason, LinkLevel], later_s: float = 0.0
) -> tuple[Voice, ...] | None:
    """What the laboratory makes of two receivers that were sent the same."""
    both = tuple(Receiving(name, receiver_quality.begun(None), reasons=reasons) for name in ("R", "S"))
    state = SimpleNamespace(receivers=both, leap=NOTHING_HEARD, coordination=None, host=None)
    started = SimpleNamespace(state=state, config=SimpleNamespace(leaps=LEAPS, leap_need=2))
    heard = tuple(Evidence(k, at_ns, said) for k in range(2))
    turn, laboratory = leap_turn.LeapTurn(), SimpleNamespace(started=started, feeds=[])
    epoch_ns = at_ns + round(later_s * 1e9)
    return turn.news(laboratory, Batch(epoch_ns, 1, (), evidence=heard), epoch_ns)  # type: ignore[arg-type]


def test_receivers_relay_one_voice_and_only_while_they_are_heard_and_believed() -> None:
    noon_ns = moment_ns(JANUARY, LEAPS) - 40_000 * 10**9
    epoch = ReceiverEpoch(epoch_tai_ns=noon_ns, leap_s=18)
    warned = replace(epoch, leap_change_s=1, leap_change_in_s=40_001)
    told = relayed(warned, noon_ns)
    assert told is not None
    assert {(one.provenance, one.source.value, one.mjd, one.step_s) for one in told} == {
        ("satellites", "receiver", JANUARY, 1)
    }
    assert [one.name for one in told] == ["R", "S"]
    # it is refused because it contradicts the table: that is its voice; who may be forged has none
    assert relayed(warned, noon_ns, (Reason.LEAP_SECOND, LinkLevel.REFUSED)) == told
    assert relayed(warned, noon_ns, (Reason.POSITION, LinkLevel.REFUSED)) is None
    assert relayed(warned, noon_ns, later_s=3_600.0) is None
    (denied, _) = relayed(epoch, noon_ns) or (None, None)
    assert denied is not None
    assert denied.step_s == 0
    assert relayed(replace(epoch, epoch_tai_ns=noon_ns - DAY_NS), noon_ns - DAY_NS) is None  # too early to deny


def test_the_files_are_named_without_a_folder_of_published_values(tmp_path: Path) -> None:
    write_lab(tmp_path, text=WITH_FILES)
    assert check_lab(tmp_path / "LAB.toml", now=now_label()).lab is not None
