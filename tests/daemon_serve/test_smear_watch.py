"""The smear watch: far from a leap second nothing is kept; near one, who smears is told once."""

import dataclasses
from types import SimpleNamespace
from typing import Any

from truechimer.compare.claims import SILENT, Claim
from truechimer.daemon.sources.smear_watch import SmearWatch
from truechimer.instants import FS_PER_NS, builtin_leap_table
from truechimer.steer.steering_order import Coordination
from truechimer.watch.smear import SHAPES

LEAPS = builtin_leap_table()
LAST = LEAPS.entries[-1]
LEAP_NS = LEAPS.start_of(LAST).tai_fs // FS_PER_NS
PAPER = Coordination(LEAP_NS, 0.25, 0.0)
REGISTER: Any = SimpleNamespace(
    outside=(SimpleNamespace(reference=0), SimpleNamespace(reference=1)),
    references=(SimpleNamespace(name="UTC.honest"), SimpleNamespace(name="UTC.smears")),
)


def claims(epoch_ns: int, *, smeared_s: float) -> tuple[Claim, ...]:
    honest = dataclasses.replace(SILENT, epoch_ns=epoch_ns, x_s=0.25, u_s=1e-4, limit_s=1e-3, n=1)
    return honest, dataclasses.replace(honest, x_s=0.25 + smeared_s)


def test_who_smears_is_told_once_and_forgotten_a_day_later() -> None:
    watch, told = SmearWatch(), []
    for minute in range(-25 * 60, 30 * 60, 2):
        at_ns = LEAP_NS + minute * 60 * 10**9
        x = SHAPES[0].x_source_minus_utc_s(minute * 60.0, 1)
        told += watch.look(claims(at_ns, smeared_s=x), REGISTER, PAPER, leaps=LEAPS, now_ns=at_ns)
    assert [news.subject for news in told] == ["UTC.smears"]
    assert "noon to noon" in told[0].says
    assert not watch._samples


def test_a_silent_source_and_a_day_without_a_leap_are_nothing() -> None:
    watch = SmearWatch()
    far_ns = LEAP_NS + 90 * 86_400 * 10**9
    assert watch.look(claims(far_ns, smeared_s=0.5), REGISTER, PAPER, leaps=LEAPS, now_ns=far_ns) == []
    assert watch.look((SILENT, SILENT), REGISTER, PAPER, leaps=LEAPS, now_ns=LEAP_NS) == []
    assert not any(watch._samples.values())
