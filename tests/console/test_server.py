"""The console process: what it serves, what it refuses, and when it ends."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.console.consoles import ENVIRONMENT, PATIENCE_S, Console, a_console, command, ready_line
from tests.control.fake_laboratory import FakeLaboratory
from tests.waits import until

from truechimer.client import process_start
from truechimer.console import views
from truechimer.console.views import is_loopback_name

PATHS = (
    "/",
    "/api/status",
    "/api/history",
    "/api/clock",
    "/healthz",
    "/evidence",
    "/api/evidence",
    "/static/page.js",
    "/static/page.css",
    "/static/icon.svg",
    "/no",
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeLaboratory]:
    with FakeLaboratory(tmp_path_factory.mktemp("console") / "lab") as running:
        yield running


@pytest.fixture(scope="module")
def console(lab: FakeLaboratory) -> Iterator[Console]:
    with a_console(lab.folder) as running:
        until(lambda: running.get("/healthz").status == 200)
        yield running


def next_event(stream: http.client.HTTPResponse, *wanted: str) -> tuple[str, dict[str, object]]:
    """Return the next event of a name that is wanted (`status` and `silent` where none is given)."""
    name = ""
    while True:
        line = stream.readline().decode()
        if line.startswith("event: "):
            name = line[7:].strip()
        elif line.startswith("data: ") and name in (wanted or ("status", "silent")):
            return name, json.loads(line[6:])


def test_the_ready_line_names_the_door(console: Console) -> None:
    assert console.ready | {"port": 0, "pid": 0} == {
        "ready": True, "protocol": "console", "address": "127.0.0.1", "port": 0, "pid": 0,
    }  # fmt: skip
    assert console.ready["pid"] == console.process.pid


def test_the_status_is_the_laboratorys_own_document(console: Console, lab: FakeLaboratory) -> None:
    status, document = console.json("/api/status")
    assert status == 200
    assert {key: document[key] for key in ("lab", "terms", "clocks", "sources")} == {
        key: lab.status[key] for key in ("lab", "terms", "clocks", "sources")
    }


def test_health_says_whether_the_laboratory_answers_and_is_synchronised(console: Console) -> None:
    status, document = console.json("/healthz")
    assert status == 200
    assert document["answering"] is True
    assert document["synchronised"] is True


@pytest.mark.parametrize("path", PATHS)
def test_every_reply_has_the_headers_that_keep_the_page_to_itself(console: Console, path: str) -> None:
    with console.get(path) as response:
        assert response.status == (404 if path == "/no" else 200)
        for name, value in views.HEADERS.items():
            assert response.headers[name] == value
        assert "unsafe" not in response.headers["content-security-policy"]
        assert response.headers["server"] is None
        assert response.headers["date"] is None  # it would be the host's wall clock


def test_the_page_asks_for_nothing_inline_and_nothing_from_outside(console: Console) -> None:
    with console.get("/") as response:
        html = response.read().decode()
    assert "style=" not in html
    assert "onclick" not in html
    assert "<style" not in html
    assert "//" not in html.replace("<!doctype", "")
    assert (
        html.count("<script")
        == len(re.findall(r'<script (?:type="module"|defer) src="/static/[\w./]+"></script>', html))
        == 2
    )
    assert len(re.findall(r"<h1[ >]", html)) == 1


@pytest.mark.parametrize(
    "path", ["/static/../server.py", "/static/%2e%2e/server.py", "/static//etc/passwd", "/static/"]
)
def test_no_file_but_the_pages_is_served(console: Console, path: str) -> None:
    with console.get(path) as response:
        assert response.status in {404, 405}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(console: Console, method: str) -> None:
    for path in ("/", "/api/status", "/events", "/static/page.js"):
        with console.get(path, method=method) as response:
            assert response.status == 405


def test_a_name_of_elsewhere_that_points_here_reads_nothing(console: Console) -> None:
    for host in ("console.example", "127.0.0.1.example:1", "192.0.2.1", "[2001:db8::1]:80", "local host"):
        with console.get("/api/status", host=host) as response:
            assert response.status == 421
            assert b"loopback" in response.read()
    assert all(
        is_loopback_name(host)
        for host in ("localhost", "LOCALHOST:1", "127.9.9.9:80", "[::1]:80", "[::1]", "a.localhost.")
    )
    assert not is_loopback_name("")


def test_all_who_look_share_one_question_a_second(console: Console, lab: FakeLaboratory) -> None:
    streams = [console.get("/events") for _ in range(8)]
    try:
        for stream in streams:
            assert next_event(stream)[0] == "status"
        before, begun = lab.asked.count("status"), time.monotonic()
        for _ in range(2):
            for stream in streams:
                next_event(stream)
        for _ in range(20):
            console.json("/api/clock")
            console.json("/api/status")
        asked = lab.asked.count("status") - before
        assert asked <= 2 + (time.monotonic() - begun)
        assert set(lab.asked) == {"status", "history"}
    finally:
        for stream in streams:
            stream.close()


def test_a_silent_laboratory_is_said_to_be_silent_and_one_that_returns_to_be_back(tmp_path: Path) -> None:
    first = FakeLaboratory(tmp_path / "lab")
    with first, a_console(first.folder) as console, console.get("/events") as stream:
        name, said = next_event(stream)
        while name != "status":
            name, said = next_event(stream)
        first.socket.close()
        while name != "silent":
            last, (name, said) = said, next_event(stream)
        assert said["silent_since_utc"] == last["utc"]
        assert said["against"] == "simulated-utc"
        status, document = console.json("/api/status")
        assert (status, document["answering"]) == (503, False)
        assert console.get("/healthz").status == 503
        assert console.json("/api/clock")[1]["running"] is False
        with FakeLaboratory(tmp_path / "lab"):
            while name != "status":
                name, said = next_event(stream)
        assert said["synchronised"] is True


def test_a_laboratory_that_was_never_there_is_silent_too(tmp_path: Path) -> None:
    with a_console(tmp_path) as console:
        until(lambda: "does not answer" in str(console.json("/healthz")[1]["error"]))
        assert console.json("/api/clock")[1] == {"running": False, "why": "silent"} | console.json("/healthz")[1]


def test_a_taken_port_is_status_2_in_one_line() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        words = command(Path("/"), port=other.getsockname()[1])
        found = subprocess.run(words, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert found.returncode == 2
    assert found.stdout == ""
    assert len(found.stderr.splitlines()) == 1
    assert "cannot listen on 127.0.0.1" in found.stderr


@pytest.mark.parametrize(
    "options", [["--address", "localhost"], ["--port", "65536"], ["--port", "x"], ["--address", ""], ["--what"]]
)
def test_wrong_use_is_status_2_in_one_line(options: list[str]) -> None:
    words = [*command(Path("/")), *options]
    found = subprocess.run(words, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert found.returncode == 2
    assert len(found.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_as_told_while_streams_are_open(tmp_path: Path, number: signal.Signals) -> None:
    with FakeLaboratory(tmp_path / "lab") as lab, a_console(lab.folder) as console:
        stream = console.get("/events")
        assert next_event(stream)[0] in {"status", "silent"}
        console.process.send_signal(number)
        assert console.process.wait(PATIENCE_S) == 0
        stream.close()


def test_it_ends_when_its_parent_dies(tmp_path: Path) -> None:
    program = "import subprocess, sys; subprocess.Popen(sys.argv[1:]); input()"
    words = [sys.executable, "-c", program, *command(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as parent:
        ready = ready_line(parent)
        parent.kill()
        parent.wait()
        assert parent.stdout is not None
        assert parent.stdout.read() == ""  # its last writer, the console, has ended
    until(lambda: process_start(ready["pid"]) is None)  # gone, or dead and not yet buried by whoever adopted it


def test_a_parent_that_died_before_it_looked_is_noticed_by_its_id(tmp_path: Path) -> None:
    words = command(tmp_path, "--parent-pid", str(2**22 + 1))
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as console:
        assert console.wait(PATIENCE_S) == 0
