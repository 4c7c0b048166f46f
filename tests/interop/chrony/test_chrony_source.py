"""A laboratory that follows Debian's chronyd, and through it three servers of which one lies: our own vote names it.
It disciplines that same chronyd (-x) through its SOCK refclock, without following itself.
"""

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.daemon_chrony.chronyds import chronyd, liar, selected, server
from tests.daemon_laboratory.laboratories import (
    Up,
    ask_door,
    door_error_s,
    replayed,
    up,
    write_lab,
)
from tests.ports import free_port
from tests.waits import until

from truechimer.daemon.sources.chrony_client import ChronyClient
from truechimer.formats.chrony_reports import Command, Tracking

pytestmark = [pytest.mark.needs_chrony, pytest.mark.slow]


def a_lab(folder: Path, source: str, *, more: str = "") -> int:
    """Write the laboratory's file; return the port of its door."""
    door = free_port()
    head = '[lab]\nname = "hostlab"\nsilence_s = 4.0\n[scale]\ninterval_s = 1.0\n'
    policy = "[policy]\ninsecure_software_keys = true\n"
    listener = f'[[listener]]\nprotocol = "ntp"\nport = {door}\nbound_limit_s = 0.02\n'
    write_lab(folder, head + policy + f'[[source]]\nname = "c"\nkind = "chrony"\n{source}\n' + listener + more)
    return door


def rows(running: Up) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in running.ask("sources").get("sources", [])}


def alerts(running: Up) -> list[str]:
    return [row["alert"] for row in running.ask().get("alerts", [])]


def door_errors(door: int, n: int) -> tuple[list[float], list[float]]:
    """Return door minus this host's clock, and the root distance that its answer allows (s)."""
    errors, bounds = [], []
    for _ in range(n):
        found = ask_door(door)
        assert found is not None
        assert found.synchronised, found.doubt
        errors.append(door_error_s(found))
        bounds.append(found.root_distance_s)
        time.sleep(0.05)
    return errors, bounds


def test_of_three_servers_of_a_chronyd_the_one_that_lies_is_named_and_chronyd_is_disciplined(tmp_path: Path) -> None:
    with ExitStack() as ends:
        one, two = (ends.enter_context(server(address)) for address in ("127.0.1.2", "127.0.1.3"))
        path = ends.enter_context(liar("127.0.1.4", "127.0.1.2", one, shift_s=0.05))
        followed = ends.enter_context(
            chronyd(
                f"server 127.0.1.2 port {one} iburst minpoll 0 maxpoll 0",
                f"server 127.0.1.3 port {two} iburst minpoll 0 maxpoll 0",
                f"server 127.0.1.4 port {path.port} iburst minpoll 0 maxpoll 0",
                "refclock SOCK {folder}/t.sock refid TRUE poll 0 dpoll -2 filter 4 delay 2e-3 prefer trust",
                "port 0",
            )
        )
        sock = f'[[listener]]\nprotocol = "chrony-sock"\npath = "{followed.folder}/t.sock"\nperiod_s = 0.2\n'
        door = a_lab(tmp_path, f'socket = "{followed.socket}"\npoll_s = 0.5', more=sock)
        with up(tmp_path) as running:
            running.until_state("steered")
            until(lambda: rows(running).get("UTC.c.127.0.1.4", {}).get("mark") == "x")
            time.sleep(3.0)
            found = rows(running)
            errors, bounds = door_errors(door, 20)
            until(lambda: selected(followed) == "TRUE", what=lambda: followed.ask("sources"))
            until(lambda: running.ask()["chrony"][0]["selected"] == "TRUE")
            status = running.ask()
            first = ask_door(door)
            # chronyd ends, and comes back: said once each, recovered by itself
            followed.end()
            until(lambda: alerts(running).count("source-away") == 1)
            running.until_state("holdover")
            followed.start_again()
            running.until_state("steered")
            until(lambda: selected(followed) == "TRUE", what=lambda: followed.ask("sources"))
            assert alerts(running).count("source-away") == 1
            assert alerts(running).count("source-returned") == 1
            assert running.end() == 0
    print({name: (row["mark"], row.get("offset_s"), row.get("limit_s")) for name, row in found.items()})
    print(f"errors up to {max(map(abs, errors)) * 1e6:.1f} us within {max(bounds) * 1e6:.1f} us")
    assert all(abs(error) <= bound for error, bound in zip(errors, bounds, strict=True))
    assert found["UTC.c.127.0.1.4"]["offset_s"] == pytest.approx(0.05, abs=2e-3)
    for name in ("UTC.c.127.0.1.2", "UTC.c.127.0.1.3"):
        assert found[name]["mark"] in "*+"
        assert abs(found[name]["offset_s"]) < found[name]["limit_s"] + 6.0 * found[name]["u_s"]
    assert found["UTC.c.127.0.1.2"]["operator"] == "127.0.1.2"
    (document,) = status["chrony"]
    assert document["answers"]
    assert document["stratum"] == 1
    assert document["samples_dropped"]["own"] > 0
    assert "UTC.c.TRUE" not in found
    (fed,) = [row for row in status["listeners"] if row["protocol"] == "chrony-sock"]
    assert fed["sock"]["sent"] > 0
    assert abs(fed["sock"]["x_served_minus_wall_s"]) < fed["sock"]["bound_s"]
    assert document["leap"] == "normal"
    assert document["replies_refused"] == {}
    assert "link-outvoted" in [row["alert"] for row in status["alerts"]]
    assert first is not None
    assert first.stratum == 2
    assert replayed(tmp_path)["difference"] is None
    assert list(followed.folder.glob("truechimer-*")) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a chronyd of another user")
def test_a_chronyd_of_another_user_can_answer() -> None:
    with chronyd("port 0", "local stratum 5", user="_chrony") as followed, ChronyClient(followed.socket) as client:
        found = client.ask(Command.TRACKING)
    assert isinstance(found, Tracking)
