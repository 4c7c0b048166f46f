"""Every kind of order that needs a running laboratory, as people give them: proposed, signed, submitted, seen where it
acts, undone by nobody's edit, and repeated bit for bit from the records.
"""

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_key_ceremony import said
from tests.daemon_laboratory.laboratories import LEAPS, ask_door, up
from tests.daemon_laboratory.test_restarts import a_simulated_lab, until_it_serves
from tests.waits import until

from truechimer.cli.__main__ import main
from truechimer.formats import leap_seconds_list
from truechimer.instants import UtcLabel


def records(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The records of a kind, in their order."""
    with closing(sqlite3.connect(f"file:{folder}/evidence/records.sqlite3?mode=ro", uri=True)) as store:
        rows = store.execute("SELECT data FROM records ORDER BY seq").fetchall()
    return [body for (data,) in rows if (body := json.loads(data))["kind"] == kind]


def weights(folder: Path) -> dict[str, float]:
    """The weights of the last scale step."""
    (start,) = records(folder, "run-start")
    numbers = [float(one.split(" ")[0]) for one in records(folder, "scale-step")[-1]["weight"]]
    return {clock["name"]: one for clock, one in zip(start["clocks"], numbers, strict=True)}


def a_leap_table(tmp_path: Path, submit: Callable[..., Any], orders: Callable[[], dict[str, Any]]) -> None:
    table = tmp_path / "leap-seconds.list"
    table.write_bytes(
        leap_seconds_list.write(
            replace(LEAPS, expires=UtcLabel.parse("2031-06-28T00:00:00Z"), updated=UtcLabel(60_000, 0))
        )
    )
    submit("leap-table", "--file", table)
    assert orders()["leap_table_expires"] == "2031-06-28T00:00:00Z"


def other_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str], submit: Callable[..., Any]) -> Path:
    """Change the log's key by two orders; return the policy of a reader who knows the new one alone."""
    # the log's keys, in two steps
    checkpoint = tmp_path / "evidence" / "log" / "checkpoint"
    until(checkpoint.exists)
    head = said(capsys, "evidence", "head", tmp_path)
    assert main(["evidence", "next-key", str(tmp_path)]) == 0
    new = capsys.readouterr().out.strip()
    old = head["log_key"]
    keys = tmp_path / "keys.policy"
    for lines in ((old, new), (new,)):
        keys.write_text("\n".join((*lines, "quorum none", "")))
        submit("log-keys", "--target", head["origin"], "--file", keys)
        alone = tmp_path / "reader.policy"
        alone.write_text(f"{new}\nquorum none\n")
        signed = len(lines)
        until(lambda n=signed: checkpoint.read_text().count("\n— ") == n)
    return alone


@pytest.mark.acceptance
def test_each_kind_of_order_acts_in_a_running_laboratory_and_ends_as_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = a_simulated_lab(tmp_path)
    key, door = tmp_path / "policy" / "operator.key", f"ntp-{port}"

    def submit(op: str, *words: object, outcome: str = "applied") -> dict[str, Any]:
        because = ("--because", "a test", "--lab", tmp_path)
        made = said(capsys, "order", "propose", op, *words, *because)
        said(capsys, "order", "sign", made["path"], "--key", key, "--yes", "--lab", tmp_path)
        done = said(capsys, "order", "submit", made["path"], "--lab", tmp_path, status=0 if outcome == "applied" else 1)
        assert done["outcome"] == outcome, done
        return done

    def orders() -> dict[str, Any]:
        return said(capsys, "order", "show", "--lab", tmp_path)

    with up(tmp_path) as running:
        until_it_serves(running)
        assert orders()["operations_not_applied"] == []
        # a rate, a ceiling, a threshold: each until its end
        submit("steer-rate", "--value", "1e-13", "--hours", "1")
        heaviest, weight = max(weights(tmp_path).items(), key=lambda one: one[1])
        submit("clock-weight", "--target", heaviest, "--value", repr(round(weight / 2.0, 3)), "--days", "30")
        submit("monitor-threshold", "--target", "silence", "--value", "20", "--days", "2")
        assert submit("monitor-threshold", "--target", "silence", "--value", "2", outcome="refused")["reason"] == (
            "threshold"
        )
        left = {one["op"]: one["left_s"] for one in orders()["timed"]}
        assert {op: round(seconds / 3600.0, 1) for op, seconds in left.items()} == {
            "steer-rate": 1.0,
            "clock-weight": 720.0,
            "monitor-threshold": 48.0,
        }
        until(lambda: any(one.get("by") == "order" for one in records(tmp_path, "steer")))
        until(lambda: weights(tmp_path)[heaviest] <= round(weight / 2.0, 3))
        # a door
        assert ask_door(port) is not None
        submit("listener-policy", "--target", door, "--allow", "198.51.100.0/24")
        until(lambda: ask_door(port) is None)
        submit("listener-policy", "--target", door, "--allow", "127.0.0.0/8,2001:db8::/32", "--bound-limit", "0.002")
        until(lambda: ask_door(port) is not None)
        (row,) = (one for one in running.ask()["listeners"] if one["protocol"] == "ntp")
        assert (row["allow"], row["bound_limit_s"]) == (["127.0.0.0/8", "2001:db8::/32"], 0.002)
        laid = tmp_path / "run" / f"{door}.policy"
        laid.write_bytes(laid.read_bytes().replace(b"127.0.0.0/8", b"127.0.0.0/9"))
        until(lambda: b"127.0.0.0/8" in laid.read_bytes())
        until(lambda: any(one["alert"] == "changed-without-order" for one in running.ask().get("alerts", ())))
        a_leap_table(tmp_path, submit, orders)
        reader = other_keys(tmp_path, capsys, submit)
        assert running.end() == 0
    assert main(["evidence", "verify", str(tmp_path), "--policy", str(reader)]) == 0
    assert main(["evidence", "replay", str(tmp_path), "--json"]) == 0
    assert json.loads(re.findall(r"\{.*\}", capsys.readouterr().out)[-1])["difference"] is None
    # nobody's edit gets around it: with the door's policy taken away, and the file loosened, a start says both
    laid.unlink()
    lab = (tmp_path / "LAB.toml").read_text()
    (tmp_path / "LAB.toml").write_text(lab.replace(f"port = {port}\n", f"port = {port}\nbound_limit_s = 5.0\n"))
    with up(tmp_path) as again:
        until_it_serves(again)
        (alert,) = (one for one in again.ask()["alerts"] if one["alert"] == "changed-without-order")
        assert "doors" in alert["says"]
        assert f"policy of {door}" in alert["says"]
        (row,) = (one for one in again.ask()["listeners"] if one["protocol"] == "ntp")
        assert row["bound_limit_s"] == 0.002
        assert again.end() == 0
