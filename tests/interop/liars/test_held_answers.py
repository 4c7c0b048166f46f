"""D18: answers of one of four servers, then of two, are held back 50 ms on their way; nobody can see it in their
stamps. Their delays show it: they are left out and marked, UTC(k) does not follow, and what is stated stays as it was.
"""

from pathlib import Path

import pytest
from tests.daemon_laboratory.laboratories import Up, up
from tests.interop.liars.servers import Client, a_lab, ask_door, door_error_s, ways_to_chronyd
from tests.waits import until

pytestmark = pytest.mark.needs_chrony

HELD_S = 0.05
POLL_S = 0.5
ALLOWED_S = 1e-3


def limits_s(running: Up) -> list[float]:
    rows = {row["name"]: row for row in running.ask("sources").get("sources", [])}
    return [rows[f"UTC.s{k}"].get("limit_s", 0.0) for k in range(4)]


def marks(running: Up) -> str:
    return "".join(row["mark"] for row in running.ask("sources").get("sources", []))


def worst_error_s(door: int) -> float:
    """The largest error of thirty answers of the door, against this machine's clock, which the servers serve."""
    found = [ask_door(door) for _ in range(30)]
    return max(abs(door_error_s(one)) for one in found if one is not None and one.synchronised)


@pytest.mark.acceptance
def test_answers_that_are_held_back_are_marked_and_left_out_and_move_nothing(tmp_path: Path) -> None:
    with ways_to_chronyd(tmp_path, 4) as ways:
        door = a_lab(tmp_path, ways)  # unsynchronised above 20 ms: a bound of half of what they are held would show
        with up(tmp_path) as running, Client(door) as client:
            running.until_state("steered")
            assert max(limits_s(running)) < HELD_S / 2
            for held in (1, 2):
                ways[held - 1].hold_s = HELD_S
                until(lambda held=held: limits_s(running)[held - 1] >= HELD_S / 2, patience_s=3 * POLL_S + 2.0)
                for _ in range(8):
                    assert worst_error_s(door) <= ALLOWED_S
                status = running.ask()
                assert status["state"] == "steered"
                until(lambda held=held: marks(running)[:held] == "~" * held)
                assert status["bound_s"] < HELD_S / 4
            assert {row["subject"] for row in running.ask()["alerts"] if row["alert"] == "source-late"}
            assert client.synchronised > 10
            assert not client.wrong
