"""A whole laboratory that speaks: what `up` says in each form, what arrives at the webhook, and what `status` tells."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.daemon_laboratory.laboratories import Up, environment, up, verb, write_lab
from tests.notify.receivers import Receiver, a_receiver, answers, hangs
from tests.ports import free_port
from tests.waits import until

from truechimer.daemon import notify
from truechimer.daemon.door import doors
from truechimer.daemon.journal_log import LogForm
from truechimer.daemon.lab.listener_settings import Listener, MetricNames, Protocol
from truechimer.store.sqlite_records import SqliteRecords

LAB = """\
[lab]
name = "speaker"

[[source]]
name = "counters"
kind = "readings"
path = "readings.csv"

[[listener]]
protocol = "ntp"
port = {port}

[policy]
insecure_software_keys = true

[notify]
log = "json"
webhook = "{url}"
webhook_secret_file = "webhook.secret"
webhook_min_severity = "notice"
"""
HEADER = "epoch_mjd,clock_a,clock_b,x_a_minus_b_s,u_s\n"


def a_laboratory(folder: Path, receiver: Receiver) -> None:
    (folder / "readings.csv").write_text(HEADER + "not a row\n", encoding="utf-8")
    secret = folder / "webhook.secret"
    secret.write_text("a secret of the test's own\n", encoding="utf-8")
    secret.chmod(0o600)
    write_lab(folder, LAB.format(port=free_port(), url=receiver.url))


def alerts_of(folder: Path) -> dict[int, dict[str, object]]:
    """Return the recorded alerts by the number of their record."""
    store = SqliteRecords(folder / "evidence" / "records.sqlite3", read_only=True)
    try:
        records = [json.loads(octets) for octets in store.read()]
    finally:
        store.close()
    return {record["seq"]: record for record in records if record["kind"] == "alert"}


def check_lines(running: Up) -> None:
    """Every line of standard error is a JSON object with a severity, and the alert's line names its record."""
    lines = [json.loads(line) for line in running.said]
    assert {"severity", "says"} <= set.intersection(*(set(line) for line in lines))
    (alert,) = [line for line in lines if line.get("kind") == "reading-rejected"]
    assert alert["record_seq"] in alerts_of(running.folder)


@pytest.mark.slow
def test_an_alert_reaches_the_record_the_log_and_the_webhook_as_one(tmp_path: Path) -> None:
    with a_receiver(answers(503), answers(204)) as receiver:
        a_laboratory(tmp_path, receiver)
        assert verb(tmp_path, "check", "LAB.toml").returncode == 0
        with up(tmp_path) as running:
            until(lambda: len(receiver.requests) >= 2)
            until(lambda: running.ask()["notify"]["webhook"]["delivered"] == 1)
            status = running.ask()
            assert running.end() == 0
        assert status["notify"]["webhook"] | {"waiting": 0} == {
            "host": "127.0.0.1", "waiting": 0, "delivered": 1, "refused": 0, "dropped": 0, "failures": 1,
        }  # fmt: skip
        assert status["notify"]["said"] == [{"alert": "reading-rejected", "severity": "notice", "count": 1}]
        first, second = (json.loads(request.body) for request in receiver.requests)
    assert first == second
    assert (first["lab"], first["scale"], first["simulated"]) == ("speaker", "UTC(speaker)", False)
    record = alerts_of(tmp_path)[first["record_seq"]]
    assert record["says"] == first["says"]
    assert first["says"].startswith("a row was refused in line 2")
    check_lines(running)


@pytest.mark.slow
def test_a_receiver_that_hangs_keeps_nobody_from_starting_serving_or_ending(tmp_path: Path) -> None:
    with a_receiver(hangs) as receiver:
        a_laboratory(tmp_path, receiver)
        with up(tmp_path) as running:
            until(lambda: receiver.requests)
            assert running.ask()["notify"]["webhook"]["waiting"] == 1
            epochs = running.ask()["records"]
            assert epochs >= 1
            assert running.end() == 0


@pytest.mark.slow
def test_a_secret_that_others_can_read_starts_nothing(tmp_path: Path) -> None:
    with a_receiver(answers(204)) as receiver:
        a_laboratory(tmp_path, receiver)
        (tmp_path / "webhook.secret").chmod(0o644)
        with up(tmp_path) as running:
            assert running.process.wait(120) == 2
            assert not receiver.requests
        assert "secret-permissions" in running.stderr or "chmod 600 webhook.secret" in running.stderr
        assert "a secret of" not in running.stderr
        assert not (tmp_path / "evidence").exists()


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("truechimer.daemon.ntp.serve_process", ["--page", "x", "--address", "nowhere", "--port", "0"]),
        ("truechimer.daemon.door.sock_process", ["--page", "x", "--socket", "y", "--period-s", "1e9"]),
        ("truechimer.console.server", ["--lab", ".", "--address", "nowhere", "--port", "0"]),
    ],
)
def test_doors_and_console_complain_in_the_form_that_they_are_told(
    tmp_path: Path, module: str, words: list[str]
) -> None:
    found = subprocess.run(
        [sys.executable, "-m", module, *words, "--log", "json"],
        capture_output=True,
        text=True,
        check=False,
        env=environment(tmp_path),
    )
    assert found.returncode == 2
    assert found.stdout == ""
    (line,) = found.stderr.splitlines()
    assert json.loads(line)["severity"] == "error"


def test_doors_are_told_the_form_of_the_laboratory(tmp_path: Path) -> None:
    listeners = [
        Listener(protocol=Protocol.NTP),
        Listener(protocol=Protocol.CONSOLE, metrics=MetricNames.OWN),
        Listener(protocol=Protocol.CHRONY_SOCK, path="sock"),
    ]
    plain = [doors._command(each, tmp_path, allow_simulated=False) for each in listeners]
    notify.configure(LogForm.JSON)
    try:
        told = [doors._command(each, tmp_path, allow_simulated=False) for each in listeners]
    finally:
        notify.close()
    assert told == [[*words, "--log", "json"] for words in plain]
    assert plain[1][-2:] == ["--metrics", "own"]
