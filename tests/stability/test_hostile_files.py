"""Files that mean harm or are none: refused with one line, before they take time or memory."""

import json
import os
import threading
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from truechimer.cli import file_bytes
from truechimer.cli.__main__ import main
from truechimer.cli.file_bytes import FileRejected
from truechimer.formats import packed_text


def test_folders_devices_and_pipes_without_a_writer_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_bytes, "FIRST_WRITER_S", 0.05)
    monkeypatch.setattr(file_bytes, "SILENCE_S", 1.0)
    os.mkfifo(tmp_path / "pipe")
    for path, says in (
        (tmp_path, "a folder"),
        (Path("/dev/zero"), "a device"),
        (tmp_path / "pipe", "nobody writes"),
        (tmp_path / "absent", "No such file"),
        (Path("a\0b"), "null"),
    ):
        with pytest.raises(FileRejected, match=says):
            file_bytes.read(path, at_most=100)


def test_a_pipe_that_somebody_writes_to_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b"1\n2\n3\n"))
    writer.start()
    assert file_bytes.read(pipe, at_most=100) == b"1\n2\n3\n"
    writer.join()


def test_a_silent_pipe_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(file_bytes, "SILENCE_S", 0.05)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR)
    try:
        with pytest.raises(FileRejected, match="nothing came"):
            file_bytes.read(pipe, at_most=100)
    finally:
        os.close(held)


def test_no_more_is_read_than_a_file_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(packed_text.MOST_BYTES + 1)  # a hole: it takes no room
    with pytest.raises(FileRejected, match="at most 512 are read"):
        file_bytes.read(large, at_most=packed_text.MOST_BYTES)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR)
    os.write(held, b"x" * 1000)
    monkeypatch.setattr(file_bytes, "PIECE", 600)
    try:
        with pytest.raises(FileRejected, match="more than"):
            file_bytes.read(pipe, at_most=999)
    finally:
        os.close(held)


def test_names_cannot_move_the_cursor_nor_break_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "a\x1b[2J\udcff.csv"
    path.write_text("t,x\x1b[31m\n" + "".join(f"{k},{k % 3}e-9\n" for k in range(40)), encoding="utf-8")
    target = tmp_path / "a.svg"
    assert main(["stability", str(path), "--plot", str(target), "--show", "sigma,phase"]) == 0
    said = capsys.readouterr()
    assert all(line.isprintable() for line in (said.out + said.err).splitlines())
    ET.fromstring(target.read_text(encoding="utf-8"))
    assert main(["stability", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(path)
    assert main(["stability", str(path), "--column", "z\x1b"]) == 2
    assert all(line.isprintable() for line in capsys.readouterr().err.splitlines())
