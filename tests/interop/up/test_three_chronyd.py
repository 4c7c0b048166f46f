"""A laboratory without clocks on three of Debian's chronyd: its scale is this host's oscillator, its UTC theirs.

chronyd runs with `-x` and `local stratum 1`: it serves the machine's own clock and never touches it. What lies or falls
silent here is the path to one: a forwarder that moves the stamps of the answers, which is what a client sees of a lying
server.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.daemon_chrony.chronyds import CHRONYD, Liar, a_chronyd
from tests.daemon_laboratory.laboratories import (
    Up,
    ask_door,
    door_error_s,
    replayed,
    up,
    verb,
    write_lab,
)
from tests.ports import free_port
from tests.waits import until

pytestmark = pytest.mark.needs_chrony


@contextmanager
def three_chronyd(folder: Path) -> Iterator[list[int]]:
    """Run three chronyd; give their ports."""
    with ExitStack() as ends:
        ports = [free_port() for _ in "abc"]
        for name, port in zip("abc", ports, strict=True):
            ends.enter_context(a_chronyd(folder / f"chronyd-{name}", port))
        yield ports


@contextmanager
def three_paths(folder: Path) -> Iterator[list[Liar]]:
    """Run three chronyd, each behind a path of its own."""
    with ExitStack() as ends:
        paths = []
        for name in "abc":
            port = free_port()
            ends.enter_context(a_chronyd(folder / f"chronyd-{name}", port))
            path = Liar("127.0.0.1", "127.0.0.1", port)
            path.start()
            ends.callback(path.stop)
            paths.append(path)
        yield paths


def a_lab(folder: Path, ports: list[int], *, bound_limit_s: float = 0.01) -> int:
    """Write the laboratory's file; return the port of its door."""
    door = free_port()
    sources = "".join(
        f'[[source]]\nname = "{name}"\nkind = "ntp"\naddress = "127.0.0.1:{port}"\npoll_s = 0.5\n'
        for name, port in zip("abc", ports, strict=True)
    )
    head = '[lab]\nname = "hostlab"\nsilence_s = 4.0\n[scale]\ninterval_s = 1.0\n'
    policy = "[policy]\ninsecure_software_keys = true\n"
    listener = f'[[listener]]\nprotocol = "ntp"\nport = {door}\nbound_limit_s = {bound_limit_s}\n'
    write_lab(folder, head + policy + sources + listener)
    return door


def errors_of(door: int, n: int) -> tuple[list[float], list[float]]:
    """Return door minus this host's clock, and the root distance that its answer allows (s), for n questions."""
    errors, bounds = [], []
    for _ in range(n):
        found = ask_door(door)
        assert found is not None
        assert found.synchronised, found.doubt
        errors.append(door_error_s(found))
        bounds.append(found.root_distance_s)
        time.sleep(0.05)
    return errors, bounds


def marks(running: Up) -> dict[str, str]:
    """Return each source's mark."""
    return {row["name"]: row["mark"] for row in running.ask("sources").get("sources", [])}


def alerts(running: Up) -> set[str]:
    return {row["alert"] for row in running.ask().get("alerts", [])}


def chronyd_asks(door: int, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Let chronyd measure our door once (-Q), without control of the clock (-x)."""
    server = f"server 127.0.0.1 port {door} iburst minpoll 0 maxpoll 0"
    (folder / "client.conf").write_text(f"{server}\nport 0\ncmdport 0\npidfile {folder}/client.pid\n")
    command = [CHRONYD, "-x", "-d", "-u", "root", "-Q", "-t", "8", f"include {folder}/client.conf", "bindcmdaddress /"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_a_laboratory_without_clocks_serves_utc_within_its_bound(tmp_path: Path) -> None:
    with three_chronyd(tmp_path) as ports:
        door = a_lab(tmp_path, ports)
        began = time.monotonic()
        with up(tmp_path) as running:
            running.until_state("steered")
            took_s = time.monotonic() - began
            time.sleep(4.0)
            errors, bounds = errors_of(door, 40)
            status = running.ask()
            first = ask_door(door)
            peer = chronyd_asks(door, tmp_path)
            told = verb(tmp_path, "now", "--lab", str(tmp_path))
            assert running.end() == 0
    p95 = sorted(abs(error) for error in errors)[int(0.95 * len(errors)) - 1]
    print(f"steered after {took_s:.1f} s; p95 of |error| {p95 * 1e6:.1f} us; bound {max(bounds) * 1e6:.1f} us")
    print({name: f"{value * 1e6:.2f} us" for name, value in status["terms"].items()})
    assert first is not None
    assert first.stratum == 2
    assert all(abs(error) <= bound for error, bound in zip(errors, bounds, strict=True))
    assert peer.returncode == 0, peer.stderr
    assert told.returncode == 0, told.stderr
    assert replayed(tmp_path)["records_compared"] > 50


@pytest.mark.slow
def test_one_that_lies_is_named_and_two_that_lie_are_not_followed(tmp_path: Path) -> None:
    with three_paths(tmp_path) as paths:
        door = a_lab(tmp_path, [path.port for path in paths], bound_limit_s=0.02)
        with up(tmp_path) as running:
            running.until_state("steered")
            paths[2].shift_s = 0.05
            until(lambda: marks(running).get("UTC.c") == "x")
            assert "link-outvoted" in alerts(running)
            errors, bounds = errors_of(door, 5)
            assert all(abs(error) <= bound for error, bound in zip(errors, bounds, strict=True))
            paths[2].shift_s = 0.0
            paths[1].shift_s = -0.05
            paths[0].shift_s = 0.05
            running.until_state("holdover")
            assert "no-majority" in alerts(running)
            before = running.ask()["bound_s"]
            errors, bounds = errors_of(door, 5)
            assert all(abs(error) <= bound for error, bound in zip(errors, bounds, strict=True))
            time.sleep(2.0)
            assert running.ask()["bound_s"] > before
            assert running.end() == 0
    assert replayed(tmp_path)["difference"] is None


@pytest.mark.slow
def test_when_all_fall_silent_the_bound_grows_until_the_door_is_unsynchronised(tmp_path: Path) -> None:
    with three_paths(tmp_path) as paths:
        ports = [path.port for path in paths]
        door = a_lab(tmp_path, ports)
        with up(tmp_path) as running:
            running.until_state("steered")
            for path in paths:
                path.is_silent = True
            held = running.until_state("holdover")
            found = ask_door(door)
            assert found is not None
            assert found.synchronised
            assert found.stratum == 2
            time.sleep(3.0)
            grown = running.ask()
            assert grown["bound_s"] > held["bound_s"]
            assert running.end() == 0
        limit_s = 1.02 * grown["bound_s"]
        door = a_lab(tmp_path, ports, bound_limit_s=limit_s)
        with up(tmp_path) as running:
            told = running.until_state("holdover")
            until(lambda: (found := ask_door(door)) is not None and not found.synchronised)
            told = running.ask()
            print(
                f"from {held['bound_s'] * 1e6:.1f} us to {told['bound_s'] * 1e6:.1f} us at {told['bound_growth']:.2g}"
            )
            # `now` has no limit of its own: it goes on stating the bound as it is
            assert told["synchronised"]
            assert told["bound_s"] > limit_s
            assert running.end() == 0
    assert replayed(tmp_path)["difference"] is None
