"""The client: the first of four places, one question, one answer, and no time where there is none."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.control.fake_laboratory import FakeLaboratory
from tests.waits import until

import truechimer
from truechimer import client
from truechimer.client import (
    ServiceNotFoundRejected,
    ServiceReplyRejected,
    ServiceSilentRejected,
    UnsynchronisedRejected,
    ask,
    find_service,
)
from truechimer.daemon.answering.registry import register
from truechimer.instants import Instant, Span


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[FakeLaboratory]:
    with FakeLaboratory(tmp_path / "lab") as running:
        yield running


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No laboratory is found by chance: not this machine's, and not another test's."""
    monkeypatch.delenv("TRUECHIMER_LAB", raising=False)
    (tmp_path / "runtime").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_the_first_of_the_four_places_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lab: FakeLaboratory
) -> None:
    with register(tmp_path / "registered", os.getpid(), "registered"):
        assert find_service().lab == tmp_path / "registered"
        with FakeLaboratory(tmp_path / "here"):
            assert find_service().lab == tmp_path / "here"
            monkeypatch.setenv("TRUECHIMER_LAB", str(tmp_path / "named"))
            assert find_service().lab == tmp_path / "named"
            assert find_service(lab.folder).lab == lab.folder
    assert not find_service(lab.folder).socket_path.is_symlink()


def test_without_any_all_four_are_named(tmp_path: Path) -> None:
    with pytest.raises(ServiceNotFoundRejected) as caught:
        find_service()
    for place in ("--lab", "$TRUECHIMER_LAB", "./run/control.sock", str(tmp_path / "runtime" / "truechimer")):
        assert place in str(caught.value)


def test_a_named_laboratory_that_is_silent_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lab: FakeLaboratory
) -> None:
    with register(lab.folder, os.getpid(), "lab"):
        assert ask("now")["state"] == "steered"
        monkeypatch.setenv("TRUECHIMER_LAB", str(tmp_path / "named"))
        with pytest.raises(ServiceSilentRejected, match=r"\$TRUECHIMER_LAB"):
            ask("now")


def test_a_laboratorys_file_stands_for_its_directory(lab: FakeLaboratory) -> None:
    (lab.folder / "LAB.toml").write_text("")
    assert ask("now", lab=lab.folder / "LAB.toml")["state"] == "steered"


def test_now_is_the_interval_that_the_laboratory_states(lab: FakeLaboratory) -> None:
    middle = Instant(1_790_000_000_123_456_789_012_345)
    lab.instant, lab.bound_s = middle, 3e-8
    found = client.now(lab=lab.folder)
    assert found.earliest == middle - Span.from_seconds(3e-8)
    assert found.latest == middle + Span.from_seconds(3e-8)
    assert truechimer.now is client.now


def test_now_raises_where_the_laboratory_cannot_bound_the_time(lab: FakeLaboratory) -> None:
    lab.unsynchronise()
    with pytest.raises(UnsynchronisedRejected, match="no reading names host") as caught:
        client.now(lab=lab.folder)
    assert caught.value.state == "freerun"
    assert caught.value.missing == ("no reading names host",)


def test_a_laboratory_that_has_no_socket_yet_is_said_to_be_starting(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    words = [sys.executable, "-c", "import sys; sys.stdin.read()", "truechimer"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as starter:
        until(lambda: b"truechimer" in Path(f"/proc/{starter.pid}/cmdline").read_bytes())
        (tmp_path / "run" / client.LOCK_NAME).write_text(f"{starter.pid:<31}\n")
        with pytest.raises(ServiceSilentRejected, match=f"yet: it is starting .process {starter.pid}.; wait") as caught:
            client.now(lab=tmp_path)
        assert caught.value.starting
        starter.communicate()
    with pytest.raises(
        ServiceSilentRejected, match=r"there is no run/control\.sock; see whether it still runs"
    ) as caught:
        client.now(lab=tmp_path)
    assert not caught.value.starting


def serve_once(folder: Path, reply: bytes, *, hold: threading.Event | None = None) -> threading.Thread:
    """Answer one question with these octets; with `hold`, keep the connection open until it is set."""
    (folder / "run").mkdir(parents=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(folder / "run" / "control.sock"))
    listener.listen()

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(1000)
            try:
                connection.sendall(reply)
            except OSError:
                return
            if hold is not None:
                hold.wait(120)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"", ServiceSilentRejected),
        (b'{"state": "ste', ServiceSilentRejected),
        (b"\n", ServiceReplyRejected),
        (b"hello\n", ServiceReplyRejected),
        (b"[1]\n", ServiceReplyRejected),
        (b"[" * 200_000 + b"\n", ServiceReplyRejected),
        (b'{"bound_s": NaN}\n', ServiceReplyRejected),
        (b"\xff\n", ServiceReplyRejected),
        (b'{"error": "no"}\n', ServiceReplyRejected),
        (b"x" * (client.MAX_REPLY_BYTES + 70_000), ServiceReplyRejected),
    ],
)
def test_what_is_no_answer_is_rejected(tmp_path: Path, reply: bytes, error: type[Exception]) -> None:
    thread = serve_once(tmp_path / "odd", reply)
    with pytest.raises(error):
        ask("now", lab=tmp_path / "odd", timeout_s=120.0)
    thread.join()


@pytest.mark.parametrize(
    "changes",
    [
        {"earliest_tai_fs": None},
        {"earliest_tai_fs": 17},
        {"earliest_tai_fs": "1e9"},
        {"earliest_tai_fs": "٣"},
        {"latest_tai_fs": "9" * 31},
        {"latest_tai_fs": "--1"},
        {"latest_tai_fs": "-5"},
    ],
)
def test_an_interval_that_is_none_is_rejected(tmp_path: Path, changes: dict[str, object]) -> None:
    document = {"synchronised": True, "earliest_tai_fs": "1", "latest_tai_fs": "2"} | changes
    thread = serve_once(tmp_path / "odd", json.dumps(document).encode() + b"\n")
    with pytest.raises(ServiceReplyRejected):
        client.now(lab=tmp_path / "odd")
    thread.join()


def test_the_patience_is_for_the_whole_answer(tmp_path: Path) -> None:
    hold = threading.Event()
    thread = serve_once(tmp_path / "slow", b'{"state"', hold=hold)
    with pytest.raises(ServiceSilentRejected, match=r"nothing came within 0\.2 s"):
        ask("now", lab=tmp_path / "slow", timeout_s=0.2)
    hold.set()
    thread.join()


def test_a_strangers_laboratory_is_believed_only_where_it_was_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with FakeLaboratory(tmp_path / "here") as running:
        assert ask("now")["state"] == "steered"
        folder = running.folder.stat().st_uid
        monkeypatch.setattr(
            client, "_PEER", type("Peer", (), {"size": 12, "unpack": staticmethod(lambda _: (1, folder + 4_711, 1))})
        )
        with pytest.raises(ServiceSilentRejected, match="nobody named it"):
            ask("now")
        assert ask("now", lab=running.folder)["state"] == "steered"
