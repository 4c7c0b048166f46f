"""The registry: the last started laboratory of this user is found, a stranger's or a dead one never."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from truechimer import client
from truechimer.client import find_service, is_running, process_start, read_entry, running_laboratories
from truechimer.daemon.answering.registry import RegistryRejected, register


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.delenv("TRUECHIMER_LAB", raising=False)
    monkeypatch.chdir(tmp_path)
    return folder / "truechimer"


def test_the_most_recently_started_is_found_and_gone_when_closed(runtime: Path, tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        first = register(tmp_path / "one", other.pid, "one")
        second = register(tmp_path / "two", os.getpid(), "two")
        assert [entry.name for entry in running_laboratories()] == ["one", "two"]
        assert find_service().lab == tmp_path / "two"
        second.close()
        second.close()
        assert find_service().lab == tmp_path / "one"
        first.close()
        assert running_laboratories() == []
        assert list(runtime.iterdir()) == []
    finally:
        other.communicate(b"\n")


def test_the_line_goes_when_the_program_ends(runtime: Path, tmp_path: Path) -> None:
    program = "import os; from pathlib import Path; from truechimer.daemon.answering.registry import register\n"
    program += "print(register(Path('/x'), os.getpid(), 'x').path.exists())"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "True\n"
    assert list(runtime.iterdir()) == []


def test_a_killed_laboratory_is_passed_over_and_swept_out(runtime: Path, tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    line = register(tmp_path / "dead", killed.pid, "dead")
    killed.kill()
    assert process_start(killed.pid) is None or killed.wait() < 0  # a zombie has no start: it is dead already
    killed.communicate()
    assert running_laboratories() == []
    assert line.path.exists()
    with register(tmp_path / "alive", os.getpid(), "alive"):
        assert not line.path.exists()


def test_a_process_id_given_out_again_is_not_taken_for_the_laboratory(runtime: Path, tmp_path: Path) -> None:
    line = register(tmp_path, os.getpid(), "lab")
    entry = read_entry(line.path)
    assert entry is not None
    assert is_running(entry)
    document = json.loads(line.path.read_text())
    document["process_start"] -= 1
    line.path.write_text(json.dumps(document))
    assert running_laboratories() == []
    line.close()


def test_the_start_of_a_process_is_read_past_any_name() -> None:
    assert process_start(os.getpid()) == process_start(os.getpid())
    assert process_start(os.getpid()) is not None
    program = "open('/proc/self/comm','w').write('a) Z 1 2 (b'); input()"
    odd = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    try:
        start = process_start(odd.pid)
        assert start is not None
        assert start >= (process_start(os.getpid()) or 0)
    finally:
        odd.communicate(b"\n")


def test_the_folder_is_private_and_its_files_too(runtime: Path, tmp_path: Path) -> None:
    with register(tmp_path, os.getpid(), "lab") as line:
        assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
        assert stat.S_IMODE(line.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["link", "open", "file"])
def test_a_folder_that_somebody_else_may_have_made_is_refused(runtime: Path, tmp_path: Path, kind: str) -> None:
    if kind == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        runtime.symlink_to(tmp_path / "elsewhere")
    elif kind == "open":
        runtime.mkdir()
        runtime.chmod(0o770)
    else:
        runtime.write_text("")
    with pytest.raises(RegistryRejected, match="--lab DIR"):
        register(tmp_path, os.getpid(), "lab")
    assert running_laboratories() == []


def test_a_folder_of_another_user_is_refused(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with register(tmp_path, os.getpid(), "lab"):
        assert len(running_laboratories()) == 1
        monkeypatch.setattr(os, "geteuid", lambda: 12_345)
        assert running_laboratories() == []
        with pytest.raises(RegistryRejected, match="belongs to user"):
            register(tmp_path, os.getpid(), "lab")


def test_without_a_runtime_folder_it_stands_in_the_users_own_under_the_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert client.registry_folder() == tmp_path / f"truechimer-{os.geteuid()}"
    with register(tmp_path, os.getpid(), "lab"):
        assert [entry.lab for entry in running_laboratories()] == [tmp_path]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "[" * 10_000, '{"lab": "/x"}', '{"lab": "x", "pid": 1, "name": "", "started_ns": 1}',
     '{"lab": "/x", "pid": true, "name": "", "started_ns": 1}', '{"lab": "/x", "pid": -1, "name": "", "started_ns": 1}',
     '{"lab": "/x", "pid": 1, "name": "", "started_ns": 1, "process_start": "1"}'],
)  # fmt: skip
def test_a_broken_line_is_no_laboratory(runtime: Path, text: str) -> None:
    runtime.mkdir(mode=0o700)
    (runtime / "7.json").write_text(text)
    assert running_laboratories() == []


def test_a_link_and_a_pipe_in_the_folder_are_not_followed(runtime: Path, tmp_path: Path) -> None:
    with register(tmp_path, os.getpid(), "lab") as line:
        moved = tmp_path / "moved.json"
        line.path.rename(moved)
        line.path.symlink_to(moved)
        os.mkfifo(runtime / "8.json")
        assert running_laboratories() == []
