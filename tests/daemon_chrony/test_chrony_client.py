"""The client over real Unix sockets, against a chronyd that is a thread: who is heard, and what is left behind."""

import os
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from truechimer.daemon.sources.chrony_client import ChronyAwayRejected, ChronyClient
from truechimer.formats.chrony_reports import ChronyReplyRejected, Command, NSources, ReplyFault

Answer = Callable[[bytes], list[bytes]]


def n_sources(question: bytes, *, n: int = 3, sequence: int | None = None, reply: int = 2) -> bytes:
    """Return a right answer to N_SOURCES, or one that is off by an argument."""
    (asked,) = struct.unpack_from(">I", question, 8)
    head = struct.pack(
        ">BBBBHHHHHHIII", 6, 2, 0, 0, 14, reply, 0, 0, 0, 0, asked if sequence is None else sequence, 0, 0
    )
    return head + struct.pack(">I", n)


class Daemon(threading.Thread):
    """Answers each question with what `answer` makes of it; keeps who asked."""

    def __init__(self, path: Path, answer: Answer) -> None:
        super().__init__(daemon=True)
        self.answer, self.clients = answer, []  # type: ignore[var-annotated]
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.05)
        self._ended = False
        self.start()

    def run(self) -> None:
        while not self._ended:
            try:
                question, client = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            self.clients.append(client)
            for octets in self.answer(question):
                with suppress(OSError):  # an asker that has gone away hears nothing
                    self._socket.sendto(octets, client)
        self._socket.close()

    def end(self) -> None:
        self._ended = True
        self.join(5)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cc-") as name:
        yield Path(name)


@contextmanager
def asking(folder: Path, answer: Answer, *, within_s: float = 0.1) -> Iterator[tuple[ChronyClient, Daemon]]:
    daemon = Daemon(folder / "d.sock", answer)
    with ChronyClient(folder / "d.sock", answer_within_s=within_s) as client:
        try:
            yield client, daemon
        finally:
            daemon.end()


def test_a_question_is_answered_from_a_folder_that_only_its_owner_enters(folder: Path) -> None:
    with asking(folder, lambda question: [n_sources(question)]) as (client, daemon):
        assert client.ask(Command.N_SOURCES) == NSources(3)
        (place,) = folder.glob("truechimer-*")
        assert place.stat().st_mode & 0o777 == 0o700
        assert Path(daemon.clients[0]).parent == place
    assert list(folder.glob("truechimer-*")) == [], "nothing is left behind"


def test_answers_to_other_questions_are_passed_over_and_counted(folder: Path) -> None:
    def answer(question: bytes) -> list[bytes]:
        return [n_sources(question, n=9, sequence=k) for k in range(5)] + [n_sources(question)]

    with asking(folder, answer) as (client, _):
        assert client.ask(Command.N_SOURCES) == NSources(3)
        assert client.refused == {ReplyFault.OTHER_SEQUENCE: 5}


def test_a_flood_of_other_answers_ends_in_an_unanswered_question(folder: Path) -> None:
    flood = asking(folder, lambda question: [n_sources(question, sequence=1)] * 40)
    with flood as (client, _), pytest.raises(ChronyAwayRejected, match="no answer in time"):
        client.ask(Command.N_SOURCES)


def test_an_unknown_answer_is_refused_by_type_and_counted(folder: Path) -> None:
    with asking(folder, lambda question: [n_sources(question, reply=77)]) as (client, _):
        with pytest.raises(ChronyReplyRejected) as refused:
            client.ask(Command.N_SOURCES)
        assert refused.value.fault is ReplyFault.FORMAT
        assert client.refused == {ReplyFault.FORMAT: 1}


def test_nobody_else_is_heard(folder: Path) -> None:
    def answer(question: bytes) -> list[bytes]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, pytest.raises(PermissionError):
            other.sendto(n_sources(question, n=999), daemon.clients[-1])
        heard.append(True)
        return [n_sources(question)]

    heard: list[bool] = []
    with asking(folder, answer) as (client, daemon):
        assert client.ask(Command.N_SOURCES) == NSources(3)
    assert heard == [True]


def test_silence_is_away_and_an_answer_afterwards_is_heard(folder: Path) -> None:
    with asking(folder, lambda _: []) as (client, daemon):
        for _ in range(2):
            with pytest.raises(ChronyAwayRejected, match="no answer in time"):
                client.ask(Command.N_SOURCES)
        daemon.answer = lambda question: [n_sources(question)]
        assert client.ask(Command.N_SOURCES) == NSources(3)


def test_a_restarted_daemon_is_found_again(folder: Path) -> None:
    with ChronyClient(folder / "d.sock") as client:
        with pytest.raises(ChronyAwayRejected, match="no such socket"):
            client.ask(Command.N_SOURCES)
        for _ in range(2):
            daemon = Daemon(folder / "d.sock", lambda question: [n_sources(question)])
            assert client.ask(Command.N_SOURCES) == NSources(3)
            daemon.end()
            with pytest.raises(ChronyAwayRejected, match="nobody listens"):
                client.ask(Command.N_SOURCES)
            (folder / "d.sock").unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's socket")
def test_the_folder_is_given_to_the_user_of_the_daemon(folder: Path) -> None:
    with asking(folder, lambda question: [n_sources(question)]) as (client, _):
        os.chown(folder / "d.sock", 65534, 65534)
        assert client.ask(Command.N_SOURCES) == NSources(3)
        (place,) = folder.glob("truechimer-*")
        assert (place.stat().st_uid, place.stat().st_mode & 0o777) == (65534, 0o700)


def test_what_a_killed_one_left_is_removed_and_a_running_ones_is_not(folder: Path) -> None:
    for pid in (2**22 + 1, os.getpid()):
        (folder / f"truechimer-{pid}-x").mkdir()
    (folder / "truechimer-notes").mkdir()
    ChronyClient(folder / "d.sock")
    assert {path.name for path in folder.iterdir()} == {f"truechimer-{os.getpid()}-x", "truechimer-notes"}


def test_a_path_that_no_socket_can_have_is_away_in_words(folder: Path) -> None:
    deep = folder / ("x" * 120)
    deep.mkdir()
    (deep / "d.sock").touch()
    with ChronyClient(deep / "d.sock") as client, pytest.raises(ChronyAwayRejected, match="path too long"):
        client.ask(Command.N_SOURCES)
