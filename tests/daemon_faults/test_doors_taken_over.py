"""A door that outlived its laboratory is taken over by the next one, where it serves the very same."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.daemon_faults.laboratories import ask_door
from tests.daemon_laboratory.laboratories import is_running
from tests.daemon_serve.doors import a_live_page
from tests.ports import free_port
from tests.waits import until

from truechimer.daemon.door import doors
from truechimer.daemon.door.doors import Adopted, Door
from truechimer.daemon.door.parenthood import name_itself
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.listener_settings import Listener, Protocol
from truechimer.daemon.page_file import PageWriter


def listener(port: int, **more: object) -> Listener:
    return Listener(protocol=Protocol.NTP, port=port, **more)  # type: ignore[arg-type]


@pytest.fixture
def left(tmp_path: Path) -> Iterator[tuple[Path, int, Door]]:
    """A folder with a page, and the door of a laboratory that was killed: its parent is gone."""
    (tmp_path / "run").mkdir()
    with PageWriter(tmp_path / "run" / "clock.page", boot_id=HostClocks().boot_id()) as writer:
        writer.publish(a_live_page())
    door = doors.open_door(listener(free_port()), tmp_path, allow_simulated=False)
    yield tmp_path, door.port, door
    doors.end_door(door)


def test_a_door_of_the_very_same_listener_is_taken_over_and_goes_on_answering(left: tuple[Path, int, Door]) -> None:
    folder, port, before = left
    (found,) = doors.begin_all((listener(port),), folder, allow_simulated=False, early={})
    assert isinstance(found.process, Adopted)
    assert found.process.pid == before.process.pid
    assert doors.opened(found) is found
    assert found.process.poll() is None
    assert ask_door(port) is not None
    row = found.row()
    assert row["alive"] is True
    until(lambda: found.row()["counters"].get("received"))
    doors.end_door(found)
    assert found.process.poll() == 0
    before.process.wait(120)
    assert ask_door(port) is None
    doors.end_door(found)  # again is harmless


@pytest.mark.parametrize("change", ["bound_limit_s", "simulated", "port", "version"])
def test_a_door_that_serves_anything_else_is_ended_and_another_begun(
    change: str, left: tuple[Path, int, Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, port, before = left
    wanted = listener(port, bound_limit_s=0.002) if change == "bound_limit_s" else listener(port)
    if change == "port":
        wanted = listener(free_port())
    if change == "version":
        monkeypatch.setattr(doors, "__version__", "0.0.0")
    (found,) = doors.begin_all((wanted,), folder, allow_simulated=change == "simulated", early={})
    try:
        doors.opened(found)
        assert before.process.wait(120) == 0
        assert isinstance(found.process, subprocess.Popen)
        assert ask_door(found.port) is not None
    finally:
        doors.end_door(found)


@pytest.mark.parametrize("before", ["4711", "471147114711", None])
def test_a_door_names_itself_on_a_disk_without_room(
    before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pidfile = tmp_path / "ntp-1.pid"
    if before is not None:
        pidfile.write_text(f"{before}\n")

    def full(path: Path, _text: str, **_: object) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_text", full)
    if before is None:
        with pytest.raises(OSError, match="No space"):
            name_itself(pidfile)
        assert list(tmp_path.iterdir()) == []
    else:
        name_itself(pidfile)
        assert pidfile.read_text() == f"{os.getpid()}\n"
        assert list(tmp_path.iterdir()) == [pidfile]


def opened_here() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_is_kept_of_a_process_that_is_not_taken_over(
    left: tuple[Path, int, Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, port, before = left
    opened = opened_here()
    assert doors.adopt(listener(port, bound_limit_s=0.002), folder, allow_simulated=False) is None
    found, words_of = doors.orphans(folder), doors._words_of
    monkeypatch.setattr(doors, "orphans", lambda _folder: found)
    monkeypatch.setattr(doors, "_words_of", lambda _orphan: [])  # another process has its number by now
    assert doors._giver(listener(port), folder) is None
    assert doors.end_orphans(folder) == 1
    assert opened_here() == opened
    monkeypatch.setattr(doors, "_words_of", words_of)
    assert before.process.poll() is None


def test_a_number_that_belongs_to_another_process_now_is_left_alone(left: tuple[Path, int, Door]) -> None:
    folder, port, before = left
    pidfile = next((folder / "run").glob("*.pid"))
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        pidfile.write_text(f"{stranger.pid}\n")
        assert doors.adopt(listener(port), folder, allow_simulated=False) is None
        assert doors.end_orphans(folder) == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert before.process.poll() is None
    for text in ("", "none", "-1", "0", "99999999999", str(os.getpid())):
        pidfile.write_text(text)
        assert doors.adopt(listener(port), folder, allow_simulated=False) is None
        assert doors.orphans(folder) == ()


@contextmanager
def writing(writer: PageWriter) -> Iterator[None]:
    """Publish pages all the while."""
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(0.01):
            writer.publish(a_live_page())

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_door_is_no_orphan_while_somebody_writes_its_page(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    page = tmp_path / "run" / "clock.page"
    command = [sys.executable, "-m", doors.SERVE_MODULE, "--page", str(page), "--address", "127.0.0.1", "--port", "0"]
    command = ["/bin/sh", "-c", '"$@" & read _', "sh", *command, "--orphan-exit-s", "1.0"]
    with PageWriter(page, boot_id=HostClocks().boot_id()) as writer:
        writer.publish(a_live_page())
        parent = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=doors._environment()
        )
        pid = 0
        try:
            assert parent.stdin is not None
            assert parent.stdout is not None
            pid = json.loads(parent.stdout.readline())["pid"]
            with writing(writer):
                parent.stdin.close()
                parent.wait(120)
                time.sleep(1.8)  # it would have ended by now
                assert is_running(pid)
            until(lambda: not is_running(pid))
        finally:
            parent.kill()
            parent.wait()
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
            if parent.stdout is not None:
                parent.stdout.close()
