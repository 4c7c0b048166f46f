"""The demo refuses what it cannot do before it starts anything, and its exit status says whether the run was honest."""

import io
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest
from tests.demo.running import PORTS
from tests.ports import free_port

from truechimer.cli import demo_verb
from truechimer.daemon.demo.demo_table import is_fine

FINE: dict[str, Any] = {"lies": 0, "ntp_outside_stated": 0, "replay": {"records_compared": 9, "seconds": 0.1}}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--for", "0"], "--for"),
        (["--for", "soon"], "--for"),
        (["--for", "nan"], "--for"),
        (["--seed", "-1"], "--seed"),
        (["--port-base", "0"], "--port-base"),
        (["--port-base", "65533"], "65532"),
        (["--port-base", "70000"], "--port-base"),
    ],
)
def test_a_wrong_option_is_one_line_and_status_2(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        demo_verb.main(words)
    assert ended.value.code == 2
    told = capsys.readouterr().err.strip()
    assert says in told
    assert "\n" not in told


def test_a_folder_with_something_in_it_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep me")
    with pytest.raises(SystemExit) as ended:
        demo_verb.main(["--keep", str(tmp_path)])
    assert ended.value.code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_port_in_use_is_named_and_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    base = free_port(PORTS)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", base))
        assert demo_verb.main(["--port-base", str(base), "--for", "3"]) == 1
    told = capsys.readouterr()
    assert str(base) in told.err
    assert "--port-base P moves all its ports" in told.err
    assert told.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "fine"),
    [
        ({}, True),
        ({"lies": 1}, False),
        ({"ntp_outside_stated": 1}, False),
        ({"replay": {"records_compared": 9, "difference": {"seq": 3, "why": "bytes"}}}, False),
    ],
)
def test_a_lie_or_a_difference_in_the_replay_is_not_fine(changes: dict[str, Any], fine: bool) -> None:
    assert is_fine(FINE | changes) is fine


def test_a_run_cut_before_anything_was_asked_is_fine() -> None:
    assert is_fine({"lies": 0})


def test_a_closed_reader_ends_the_demo_once_and_nothing_more_is_printed() -> None:
    class Closed(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    ended: list[bool] = []
    screen = demo_verb._Screen(Closed())
    screen.on_closed = lambda: ended.append(True)
    screen.say("one")
    screen.say("two")
    assert screen.is_closed
    assert ended == [True]
