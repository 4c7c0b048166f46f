"""The control socket: one line in, one line out, and no client that harms it."""

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.waits import PATIENCE_S, until

from truechimer import client
from truechimer.client import ServiceReplyRejected, ServiceSilentRejected, ask
from truechimer.daemon.answering import control_socket
from truechimer.daemon.answering.control_socket import ControlCount, ControlSocket, ControlSocketRejected


def answer(request: dict[str, Any]) -> dict[str, Any]:
    return {"heard": request["ask"]}


@pytest.fixture
def door(tmp_path: Path) -> Iterator[ControlSocket]:
    with ControlSocket(tmp_path / "run", answer) as open_door:
        yield open_door


@contextmanager
def connected(door: ControlSocket) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(door.path))
        yield connection


def say(door: ControlSocket, octets: bytes) -> bytes:
    """Send octets and return all that comes back until the door hangs up."""
    with connected(door) as connection:
        with suppress(BrokenPipeError):
            connection.sendall(octets)
        heard = b""
        try:
            while part := connection.recv(65_536):
                heard += part
        except ConnectionResetError:
            pass
    return heard


def test_a_question_is_answered_on_one_line_and_the_door_hangs_up(door: ControlSocket) -> None:
    assert say(door, b'{"ask": "now"}\n') == b'{"heard": "now"}\n'
    assert say(door, b'{"ask": "status", "more": 1}\nand the rest is not read') == b'{"heard": "status"}\n'
    assert door.counts()["answered"] == 2


def test_a_question_may_come_octet_by_octet(door: ControlSocket) -> None:
    with connected(door) as connection:
        for octet in b'{"ask": "sources"}\n':
            connection.send(bytes([octet]))
        assert connection.recv(100) == b'{"heard": "sources"}\n'


def test_only_this_user_can_open_the_socket(door: ControlSocket) -> None:
    assert stat.S_IMODE(door.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(door.path.parent.stat().st_mode) == 0o700


def test_a_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o755)
    with ControlSocket(tmp_path / "run", answer) as door:
        assert stat.S_IMODE(door.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("octets", "outcome"),
    [
        (b"\n", ControlCount.NOT_JSON),
        (b"now\n", ControlCount.NOT_JSON),
        (b"[]\n", ControlCount.NOT_JSON),
        (b'{"ask": 1}\n', ControlCount.NOT_JSON),
        (b'{"ask": ["now"]}\n', ControlCount.NOT_JSON),
        (b"\xff\xfe\n", ControlCount.NOT_JSON),
        (b"[" * 60_000 + b"\n", ControlCount.NOT_JSON),
        (b'{"ask": ' + b"9" * 6000 + b"}\n", ControlCount.NOT_JSON),
        (b'{"ask": "shutdown"}\n', ControlCount.UNKNOWN_ASK),
        (b'{"ask": "now' + b" " * 65_536 + b'"}\n', ControlCount.TOO_LONG),
        (b"x" * 65_536, ControlCount.TOO_LONG),
    ],
)
def test_what_is_no_question_is_refused_and_counted_under_its_name(
    door: ControlSocket, octets: bytes, outcome: ControlCount
) -> None:
    reply = say(door, octets)
    until(lambda: door.counts()[outcome] == 1)
    assert not reply or "error" in json.loads(reply)  # a flood may break the pipe before the error is read
    if outcome is not ControlCount.TOO_LONG:
        assert reply
    assert say(door, b'{"ask": "now"}\n') == b'{"heard": "now"}\n'


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(octets=st.binary(max_size=200))
def test_no_octets_kill_the_door(door: ControlSocket, octets: bytes) -> None:
    reply = say(door, octets + b"\n")
    assert reply.endswith(b"\n")
    assert isinstance(json.loads(reply), dict)
    assert say(door, b'{"ask": "now"}\n') == b'{"heard": "now"}\n'


def test_hanging_up_in_the_middle_of_a_question_is_counted(door: ControlSocket) -> None:
    with connected(door) as connection:
        connection.send(b'{"ask"')
    until(lambda: door.counts()["cut-short"] == 1)
    assert say(door, b'{"ask": "now"}\n')


def test_a_client_that_says_nothing_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "PATIENCE_S", 0.1)
    monkeypatch.setattr(control_socket, "TURN_S", 0.02)
    with ControlSocket(tmp_path / "run", answer) as door, connected(door) as connection:
        connection.send(b'{"ask"')
        assert connection.recv(10) == b""
        assert door.counts()["too-slow"] == 1


def test_a_client_that_takes_no_answer_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "PATIENCE_S", 0.1)
    monkeypatch.setattr(control_socket, "TURN_S", 0.02)
    with ControlSocket(tmp_path / "run", lambda _: {"long": "x" * 4_000_000}) as door, connected(door) as connection:
        connection.send(b'{"ask": "now"}\n')
        until(lambda: door.counts()["too-slow"] == 1)


def test_of_too_many_idle_clients_the_oldest_goes_and_an_honest_one_is_answered(door: ControlSocket) -> None:
    idle = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(control_socket.MAX_CONNECTIONS)]
    try:
        for connection in idle:
            connection.settimeout(PATIENCE_S)
            connection.connect(str(door.path))
        assert say(door, b'{"ask": "now"}\n') == b'{"heard": "now"}\n'
        assert idle[0].recv(10) == b""
        assert door.counts()["crowded-out"] == 1
    finally:
        for connection in idle:
            connection.close()


def test_many_clients_at_once_are_all_answered(door: ControlSocket) -> None:
    heard: list[dict[str, Any]] = []
    lab = door.path.parent.parent
    threads = [
        threading.Thread(target=lambda: heard.extend(ask("now", lab=lab, timeout_s=PATIENCE_S) for _ in range(20)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == [{"heard": "now"}] * 160


def test_a_fault_of_our_own_answer_is_an_error_reply_and_the_door_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(request: dict[str, Any]) -> dict[str, Any]:
        if request["ask"] == "now":
            raise ZeroDivisionError("a bug")
        return {"x": float("nan")} if request["ask"] == "sources" else {"fine": True}

    with ControlSocket(tmp_path / "run", fails) as door:
        assert b"error" in say(door, b'{"ask": "now"}\n')
        assert b"error" in say(door, b'{"ask": "sources"}\n')  # JSON has no NaN
        assert say(door, b'{"ask": "status"}\n') == b'{"fine": true}\n'
        assert door.counts()["failed"] == 2
    assert capsys.readouterr().err.count("ZeroDivisionError: a bug") == 1


def test_a_socket_left_by_a_killed_laboratory_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dead.bind(str(tmp_path / "run" / "control.sock"))
    dead.close()
    with pytest.raises(ServiceSilentRejected, match="nobody listens"):
        ask("now", lab=tmp_path)
    with ControlSocket(tmp_path / "run", answer):
        assert ask("now", lab=tmp_path) == {"heard": "now"}


def test_a_live_laboratory_is_not_pushed_aside(door: ControlSocket) -> None:
    with pytest.raises(ControlSocketRejected, match="runs here already"):
        ControlSocket(door.path.parent, answer).start()
    assert say(door, b'{"ask": "now"}\n') == b'{"heard": "now"}\n'


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "control.sock").write_text("mine")
    with pytest.raises(ControlSocketRejected, match="something else"):
        ControlSocket(tmp_path / "run", answer).start()
    assert (tmp_path / "run" / "control.sock").read_text() == "mine"


def test_closing_removes_the_socket_but_not_a_successors(tmp_path: Path) -> None:
    door = ControlSocket(tmp_path / "run", answer).start()
    door.close()
    assert not door.path.exists()
    door.close()
    first = ControlSocket(tmp_path / "run", answer).start()
    first.path.unlink()
    with ControlSocket(tmp_path / "run", answer) as second:
        first.close()
        assert second.path.exists()
        assert ask("now", lab=tmp_path) == {"heard": "now"}


def test_a_path_longer_than_a_socket_address_works_from_both_ends(tmp_path: Path) -> None:
    lab = tmp_path / ("a" * 100) / ("b" * 100)
    lab.mkdir(parents=True)
    assert len(os.fsencode(lab / "run" / "control.sock")) > client.MAX_SOCKET_PATH
    with ControlSocket(lab / "run", answer) as door:
        assert ask("now", lab=lab) == {"heard": "now"}
        with pytest.raises(ControlSocketRejected, match="runs here already"):
            ControlSocket(lab / "run", answer).start()
        assert door.path.exists()
    assert not door.path.exists()


def test_an_error_reply_is_raised_with_its_words(door: ControlSocket) -> None:
    with pytest.raises(ServiceReplyRejected, match="ask one of now, status, sources"):
        ask("shutdown", lab=door.path.parent.parent)
