"""What a laboratory does outside its fold by an order that has come into force: doors' policies, the log's keys, the
leap table of those who read; and what it says where somebody undoes that by hand.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.daemon_laboratory.test_policy_in_force import Desk, desk, signed  # noqa: F401 - a fixture
from tests.evidence.logs import LOG

from truechimer.alerts import AlertKind
from truechimer.daemon.door.door_policy import path_of
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.log import log_keeping
from truechimer.daemon.observed_host import ObservedHost, observed_host
from truechimer.daemon.orders import orders_desk, orders_turn
from truechimer.evidence.cosignature import public_key
from truechimer.formats import leap_seconds_list
from truechimer.instants import UtcLabel, builtin_leap_table


def taken(capsys: pytest.CaptureFixture[str], desk: Desk, *words: object) -> dict[str, Any]:  # noqa: F811
    """Propose, sign and bring an order of the laboratory's own person."""
    desk.now_ns += 120 * 10**9
    path = signed(capsys, desk, "propose", *words, by=(desk.folder / "policy" / "operator.key",))
    return desk.bring(path)


def test_a_doors_policy_is_laid_before_it_and_laid_again_where_somebody_edits_it(
    desk: Desk,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(orders_turn, "LOOK_EVERY_S", 0.0)
    (door,) = desk.laboratory.started.start.doors
    assert taken(capsys, desk, "listener-policy", "--target", "ntp-1", "--allow", "::/0")["reason"] == "unknown-target"
    assert not path_of(desk.folder, door).exists()
    done = taken(capsys, desk, "listener-policy", "--target", door, "--allow", "192.0.2.0/24", "--bound-limit", "0.5")
    assert done["outcome"] == "applied"
    path = path_of(desk.folder, door)
    good = path.read_bytes()
    assert b"192.0.2.0/24" in good
    desk.turn()
    assert not desk.alerts(AlertKind.CHANGED_WITHOUT_ORDER)
    path.write_bytes(good.replace(b"192.0.2.0/24", b"0.0.0.0/0"))
    other = path_of(desk.folder, "ntp-7")
    other.write_bytes(good)
    desk.turn()
    assert (path.read_bytes(), other.exists()) == (good, False)
    assert [door in one or "ntp-7" in one for one in desk.alerts(AlertKind.CHANGED_WITHOUT_ORDER)] == [True, True]
    orders = desk.laboratory.started.state.orders
    assert orders is not None
    now = orders_turn.moment(desk.laboratory)
    told = orders_desk.document(orders, now, desk.laboratory.started.config.leaps, [])
    assert told["doors"] == [{"listener": door, "allow": ["192.0.2.0/24"], "bound_limit_s": 0.5}]
    assert told["operations_not_applied"] == []


def test_the_logs_keys_go_to_the_publisher_and_stand_in_the_next_start(
    desk: Desk,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    heard: list[str] = []
    monkeypatch.setattr(log_keeping.LogKeeping, "use_keys", lambda _self, text: heard.append(text))
    file, line = tmp_path / "keys.policy", f"log {public_key(LOG).text}"
    file.write_text(f"{line}\nquorum none\n")
    done = taken(capsys, desk, "log-keys", "--target", "lab.example/other", "--file", file)
    assert done["reason"] == "log-policy"
    assert taken(capsys, desk, "log-keys", "--target", LOG.name, "--file", file)["outcome"] == "applied"
    assert heard == [file.read_text()]
    again = log_keeping.LogKeeping(desk.laboratory.started, HostClocks())
    assert again._keys == file.read_text()
    file.write_text(f"{line}\n")
    assert taken(capsys, desk, "log-keys", "--target", LOG.name, "--file", file)["reason"] == "log-policy"


def test_a_threshold_of_the_hosts_clock_holds_while_its_order_does(
    desk: Desk,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    started = desk.laboratory.started
    started.state = replace(started.state, epoch_ns=desk.now_ns)
    watch = observed_host(started)
    assert isinstance(watch, ObservedHost)
    assert watch._limit_s == 0.001
    assert taken(capsys, desk, "monitor-threshold", "--target", "host-clock", "--value", "0.5")["outcome"] == "applied"
    assert taken(capsys, desk, "monitor-threshold", "--target", "host-clock", "--value", "5")["reason"] == "threshold"
    started.state = replace(started.state, epoch_ns=desk.now_ns + 10**9)
    assert watch._limit_s == 0.5
    started.state = replace(started.state, epoch_ns=desk.now_ns + 13 * 3_600 * 10**9)
    assert watch._limit_s == 0.001


def test_a_leap_table_by_order_reaches_everybody_who_reads_one(
    desk: Desk,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    heard: list[object] = []

    class Reads:
        def use_leaps(self, leaps: object) -> None:
            heard.append(leaps)

    desk.laboratory.feeds.append(Reads())  # type: ignore[arg-type]
    desk.laboratory.wall = Reads()  # type: ignore[assignment]
    table = replace(builtin_leap_table(), expires=UtcLabel.parse("2031-06-28T00:00:00Z"), updated=UtcLabel(60_000, 0))
    file = tmp_path / "leap-seconds.list"
    file.write_bytes(leap_seconds_list.write(table))
    assert taken(capsys, desk, "leap-table", "--file", file)["outcome"] == "applied"
    assert [one is desk.laboratory.started.config.leaps for one in heard] == [True, True]
    assert desk.laboratory.started.config.leaps.expires == table.expires
    desk.laboratory.feeds.clear()
    desk.laboratory.wall = None


def test_a_publisher_goes_over_to_other_keys_without_anybody_waiting(
    desk: Desk,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[str] = []
    log = desk.laboratory.log
    monkeypatch.setattr(log_keeping.LogKeeping, "_start", lambda self: begun.append(self._keys))

    class Pipe:
        closed = False

        def close(self) -> None:
            self.closed = True

    class Process:
        stdin = Pipe()
        ended: int | None = None

        def poll(self) -> int | None:
            return self.ended

    process = Process()
    log._process = process  # type: ignore[assignment]
    log.use_keys("log other\n")
    assert process.stdin.closed
    log.wake()
    log._look(0.0)
    assert begun == [], "the old one does its last round"
    process.ended = 0
    log._look(0.0)
    assert begun == ["log other\n"]
    log._process = None
