"""Ctrl-C in every part of the demo: it ends in order, says what was measured until then, and leaves nothing."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.demo.running import PORTS, a_demo, environment_in
from tests.ports import free_port

SOON_S = 60.0
AS_FROM_A_TERMINAL = ("env", "--default-signal=HUP")
"""Under nohup a demo outlives its terminal, and so would every demo of tests that were started under it."""


def interrupted(
    folder: Path, after: str, *words: str, wait_s: float = 0.0, number: signal.Signals = signal.SIGINT
) -> dict[str, Any]:
    """Start a demo, interrupt it once it has said `after`, and return its document."""
    with a_demo(folder, "--seed", "7", "--json", *words, launcher=AS_FROM_A_TERMINAL) as demo:
        demo.wait_for(after)
        time.sleep(wait_s)
        demo.interrupt(number)
        assert demo.end(within_s=SOON_S) == 0, demo.said
        assert "Traceback" not in demo.said
        assert demo.left_behind() == []
        return demo.document()


def test_in_the_history_it_prints_a_document_without_what_was_not_measured(tmp_path: Path) -> None:
    body = interrupted(tmp_path, "SIMULATED", "--for", "8", wait_s=0.7)
    assert (body["seed"], body["events"], body["lies"], body["samples"]) == (7, [], 0, 0)
    assert not body.keys() & {"bound_s_max", "true_error_s_max", "ntp_error_s_median", "replay"}


def test_in_the_branches_it_prints_what_was_measured_until_then(tmp_path: Path) -> None:
    body = interrupted(tmp_path, r"by 5 ns a second for", "--for", "8", wait_s=0.5)
    assert [event["what"] for event in body["events"]][:2] == ["clock-step", "link-ramp"]
    assert body["lies"] == 0
    assert all(event.get("cut") is True for event in body["events"][2:])


@pytest.mark.acceptance
def test_while_it_waits_for_the_first_answer_it_ends_at_once(tmp_path: Path) -> None:
    body = interrupted(tmp_path, "became one scale", "--for", "8")
    assert body["lies"] == 0


@pytest.mark.acceptance
def test_during_a_live_event_it_prints_the_event(tmp_path: Path) -> None:
    body = interrupted(tmp_path, r"seen [\d.]+ s after it began", "--for", "45")
    assert [event["what"] for event in body["events"] if event["how"] == "live"] == ["clock-step"]
    assert body["events"][0]["detected_after_s"] <= 2.0


@pytest.mark.slow
def test_in_the_replay_it_ends_and_says_how_far_it_came(tmp_path: Path) -> None:
    body = interrupted(tmp_path, "all links to UTC fall silent", "--for", "3", wait_s=0.3)
    assert len(body["events"]) == 4
    assert "difference" not in body.get("replay", {})


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_and_a_closed_terminal_end_it_like_ctrl_c(tmp_path: Path, number: signal.Signals) -> None:
    assert interrupted(tmp_path, "SIMULATED", "--for", "8", wait_s=1.0, number=number)["lies"] == 0


@pytest.mark.slow
def test_a_reader_that_closes_the_pipe_ends_it_without_a_word(tmp_path: Path) -> None:
    words = f"{sys.executable} -P -m truechimer demo --seed 7 --for 8 --port-base {free_port(PORTS)}"
    done = subprocess.run(
        ["bash", "-c", f"{words} | head -n 3; echo ${{PIPESTATUS[0]}}"],
        env=environment_in(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "141"
    usual = ("NOTICE ", "WARNING ", "evidence: made the key ")  # what a busy laboratory says of itself, too
    assert [line for line in done.stderr.splitlines() if not line.startswith(usual)] == []
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


@pytest.mark.acceptance
def test_on_a_terminal_it_serves_on_after_its_table_until_ctrl_c(tmp_path: Path) -> None:
    base = free_port(PORTS)
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "truechimer", "demo", "--seed", "7", "--port-base", str(base)],
        env=environment_in(tmp_path),
        cwd=tmp_path,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                chunk = os.read(leader, 4096)
            except OSError:
                return
            if not chunk:
                return
            shown.extend(chunk)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        until = time.monotonic() + 150.0
        while b"serving on; Ctrl-C ends it" not in shown:
            assert process.poll() is None, shown.decode()
            assert time.monotonic() < until, shown.decode()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(SOON_S) == 0
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(120)
        reader.join(5.0)
        os.close(leader)
    text = shown.decode()
    assert re.search(r"history +\[#", text)
    assert text.count("what happened ") == 1, "the table is printed once"
    assert "Traceback" not in text
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []
