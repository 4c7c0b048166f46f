"""A foresight is worked out aside: the loop gets the last answer, and never waits for the next."""

import threading
from dataclasses import replace

import pytest

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.daemon.answering import foreseen_aside
from truechimer.daemon.answering.foreseen_aside import ANEW_NS, ForeseenAside
from truechimer.laboratory.foreseen import Asked, Foreseen
from truechimer.steer import free_noise
from truechimer.steer.foresight import Value
from truechimer.steer.steering_order import Coordination

NOW_NS = 1_750_000_000 * 10**9
DAY_NS = 86_400 * 10**9
QUESTION = Asked(
    tuple(Value(NOW_NS - (9 - k) * DAY_NS, 1e-9 * k, 1e-9) for k in range(9)),
    free_noise.of_kinds((Clock(name="c1", kind=ClockKind.CAESIUM),)),
    is_ensemble=True,
    now_ns=NOW_NS,
    coordination=Coordination(NOW_NS, 0.0, 0.0),
    limits_s=(0.001,),
)


def test_the_loop_gets_the_last_answer_while_the_next_is_worked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, asked = threading.Event(), []

    def slow(question: Asked) -> Foreseen:
        asked.append(question)
        assert goes_on.wait(120)
        return Foreseen(len(question.values), (1e-9,), ())

    monkeypatch.setattr(foreseen_aside.foreseen, "worked_out", slow)
    aside = ForeseenAside()
    assert aside.latest(None) is None
    assert aside.latest(QUESTION) is None, "nothing yet, and nobody waited"
    assert aside.latest(QUESTION) is None
    goes_on.set()
    aside.wait(120)
    assert aside.latest(replace(QUESTION, now_ns=NOW_NS + ANEW_NS - 1)) == Foreseen(9, (1e-9,), ())
    assert asked == [QUESTION], "the same values within the hour are asked once"
    goes_on.clear()
    newer = replace(QUESTION, values=QUESTION.values[1:])
    assert aside.latest(newer) == Foreseen(9, (1e-9,), ()), "the last answer stands meanwhile"
    goes_on.set()
    aside.wait(120)
    assert aside.latest(newer) == Foreseen(8, (1e-9,), ())
    assert len(asked) == 2


def test_it_says_what_the_fold_would_say() -> None:
    aside = ForeseenAside()
    aside.latest(QUESTION)
    aside.wait(60.0)
    told = aside.latest(QUESTION)
    assert told is not None
    assert told == foreseen_aside.foreseen.worked_out(QUESTION)
    assert list(told.u_s) == sorted(told.u_s)
