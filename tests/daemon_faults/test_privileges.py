"""What a door gives up, and when root keeps the right to read another user's folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from truechimer.daemon.door import privileges
from truechimer.daemon.door.privileges import OF_OTHERS, needed
from truechimer.daemon.door.socket_address import socket_address

GIVES_UP = """
import sys
from truechimer.daemon.door.privileges import drop
print(drop(map(int, sys.argv[1:])))
print(open("/proc/self/status").read())
import subprocess
subprocess.run(["cat", "/proc/self/status"])
"""


def held(*keep: int) -> list[tuple[int, int, int, int]]:
    """Permitted, effective, ambient capabilities, and whether no program gives more: of who gave up, and of what it
    started.
    """
    said = subprocess.run(
        [sys.executable, "-c", GIVES_UP, *map(str, keep)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(privileges.__file__).parents[3])},
    ).stdout
    assert said.startswith("\n"), said
    found = [line.split() for line in said.splitlines() if line.startswith(("Cap", "NoNewPrivs"))]
    values = [
        {words[0]: int(words[1], 16) for words in part} for part in (found[: len(found) // 2], found[len(found) // 2 :])
    ]
    return [(one["CapPrm:"], one["CapEff:"], one["CapAmb:"], one["NoNewPrivs:"]) for one in values]


def test_nothing_is_left_and_nothing_is_regained_by_starting_programs() -> None:
    assert held() == [(0, 0, 0, 1), (0, 0, 0, 1)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to keep")
def test_what_is_kept_is_kept_alone() -> None:
    kept = sum(1 << number for number in OF_OTHERS)
    assert held(*OF_OTHERS)[0] == (kept, kept, 0, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_root_keeps_its_right_over_a_folder_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, theirs = tmp_path / "own", tmp_path / "theirs"
    for folder in (own, theirs):
        folder.mkdir(mode=0o700)
        (folder / "clock.page").write_bytes(b"")
    os.chown(theirs, 1000, 1000)
    assert needed([own / "clock.page", None, own / "not-yet"]) == frozenset()
    assert needed([own / "clock.page", theirs / "clock.page"]) == OF_OTHERS
    theirs.chmod(0o755)
    assert needed([theirs / "clock.page"]) == frozenset(), "root's own file, in a folder that everybody may enter"
    assert needed([theirs / "not-yet"]) == OF_OTHERS
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert needed([theirs / "not-yet"]) == frozenset(), "who is not root has no such right"


def test_a_link_local_address_goes_with_its_interface() -> None:
    assert socket_address("192.0.2.1", 123) == ("192.0.2.1", 123)
    assert socket_address("2001:db8::1", 123) == ("2001:db8::1", 123)
    assert socket_address("fe80::1%lo", 123) == ("fe80::1", 123, 0, 1)
    assert socket_address("fe80::1%7", 123) == ("fe80::1", 123, 0, 7)
    for name in ("fe80::1%no-such", "fe80::1%"):
        with pytest.raises(OSError):
            socket_address(name, 123)
