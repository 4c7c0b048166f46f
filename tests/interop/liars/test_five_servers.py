"""`up` on five real chronyd of which some lie: named, not followed, and every answer of the door inside its bound."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.daemon_laboratory.laboratories import Up, replayed, up, verb
from tests.interop.liars.servers import Client, a_lab, ways_to_chronyd
from tests.waits import until

pytestmark = pytest.mark.needs_chrony

FIFTY_MS = 0.05


def always(lie_s: float) -> Callable[[float], float]:
    return lambda _second: lie_s


def rising(rate: float) -> Callable[[float], float]:
    return lambda second: second * rate


def marks(running: Up) -> str:
    """The marks of s0, s1 .. in order; every selected one is shown as `+`."""
    rows = {row["name"]: row["mark"] for row in running.ask("sources").get("sources", [])}
    return "".join(rows.get(f"UTC.s{k}", " ") for k in range(len(rows))).replace("*", "+")


def alerts(running: Up, kind: str) -> set[str]:
    return {row["subject"] for row in running.ask().get("alerts", []) if row["alert"] == kind}


@pytest.mark.slow
def test_two_liars_of_five_are_named_and_a_third_one_takes_the_majority_away(tmp_path: Path) -> None:
    """Two lie by 50 ms from the first exchange on; a third one ramps away; one of the first becomes honest."""
    with ways_to_chronyd(tmp_path, 5) as ways:
        door = a_lab(tmp_path, ways)
        ways[1].turn(always(FIFTY_MS))
        ways[4].turn(always(FIFTY_MS))
        with up(tmp_path) as running, Client(door) as client:
            running.until_state("steered")
            assert marks(running) == "+x++x"
            assert alerts(running, "link-outvoted") == {"UTC.s1-host", "UTC.s4-host"}
            assert running.ask()["selection"]["named"] == ["UTC.s1", "UTC.s4"]
            # another one turns away slowly, and the third liar with it is one too many
            ways[0].turn(rising(0.02))
            time.sleep(2.0)
            status = running.until_state("holdover")
            assert status["selection"]["state"] == "no-majority"
            assert "no majority" in status["state_sentence"]
            assert any("no majority" in words for words in status["missing"])
            assert alerts(running, "no-majority") == {"sources"}
            assert verb(tmp_path, "sources", "--lab", str(tmp_path)).stdout.startswith("no majority")
            assert status["holdover_remaining_s"] > 0.0
            time.sleep(2.0)
            # one becomes honest: three of five agree again, and its good conduct need not be waited for
            ways[1].turn()
            until(lambda: marks(running) == "x+++x")
            running.until_state("steered")
            assert running.end() == 0
    print(f"{client.synchronised} of {client.answers} answers synchronised, worst {client.worst:.2f} of the bound")
    assert client.synchronised > 8
    assert not client.wrong
    assert replayed(tmp_path)["difference"] is None


@pytest.mark.acceptance
def test_whatever_else_a_liar_writes_into_its_answers_moves_nothing(tmp_path: Path) -> None:
    """Leap bits, a root distance of nothing, copies of every answer; one server that comes up late."""

    def boasting(answer: bytearray) -> None:
        answer[4:12] = bytes(8)
        answer[3] = 0xE0

    def leaping(answer: bytearray) -> None:
        answer[0] = (answer[0] & 0x3F) | 0x40

    with ways_to_chronyd(tmp_path, 5) as ways:
        door = a_lab(tmp_path, ways)
        ways[0].rewrite = boasting
        ways[1].rewrite = leaping
        ways[2].copies = 3
        ways[3].is_silent = True
        with up(tmp_path) as running, Client(door) as client:
            running.until_state("steered")
            ways[0].turn(rising(1e-4))
            ways[3].is_silent = False
            until(lambda: marks(running) == "x++++")
            assert running.ask()["leap"]["tai_minus_utc_s"] == 37
            time.sleep(2.0)
            assert running.end() == 0
    asked = ways[4].questions
    assert (asked[-1] - asked[0]) / (len(asked) - 1) > 0.49, "at most one question a poll"
    print(f"{client.synchronised} of {client.answers} answers synchronised, worst {client.worst:.2f} of the bound")
    assert client.synchronised > 3
    assert not client.wrong


@pytest.mark.acceptance
@pytest.mark.parametrize("lie_s", [FIFTY_MS, -5e-3, 5e-4, 1.0, 3_600.0, float(2**32)])
@pytest.mark.parametrize("first", [False, True])
def test_lies_of_every_size(tmp_path: Path, lie_s: float, first: bool) -> None:
    """`first`: the liars are up from the first exchange on. 2^32 s is no lie at all: NTP cannot tell eras apart."""
    with ways_to_chronyd(tmp_path, 5) as ways:
        door = a_lab(tmp_path, ways)
        for way in ways[3:]:
            way.turn(always(lie_s if first else 0.0))
        with up(tmp_path) as running, Client(door) as client:
            running.until_state("steered")
            for way in ways[3:]:
                way.turn(always(lie_s))
            until(lambda: marks(running) == ("+++++" if lie_s == 2**32 else "+++xx"))
            time.sleep(5.0)
            assert running.ask()["state"] == "steered"
            assert running.end() == 0
    assert client.synchronised > 10
    assert not client.wrong


@pytest.mark.acceptance
@pytest.mark.parametrize("rate", [1e-6, 1e-5, 1e-4, 1e-3])
def test_ramps_of_every_slope(tmp_path: Path, rate: float) -> None:
    with ways_to_chronyd(tmp_path, 5) as ways:
        door = a_lab(tmp_path, ways)
        with up(tmp_path) as running, Client(door) as client:
            running.until_state("steered")
            for way in ways[3:]:
                way.turn(rising(rate))
            until(lambda: marks(running) == "+++xx", patience_s=60.0 + 1e-3 / rate)
            assert running.end() == 0
    assert client.synchronised > 10
    assert not client.wrong


@pytest.mark.acceptance
@pytest.mark.parametrize("operator", [None, "one-hand"])
def test_three_that_lie_from_the_start_are_never_followed(tmp_path: Path, operator: str | None) -> None:
    with ways_to_chronyd(tmp_path, 5) as ways:
        door = a_lab(tmp_path, ways, operator=operator)
        for k, way in enumerate(ways[2:]):
            way.turn(always(FIFTY_MS * (k + 1)))
        with up(tmp_path) as running, Client(door) as client:
            until(lambda: running.ask().get("selection", {}).get("state") == "no-majority")
            time.sleep(15.0)
            assert running.ask()["state"] == "acquiring"
            assert client.synchronised == 0
            ways[2].turn()
            running.until_state("steered")
            assert running.end() == 0
    assert not client.wrong
