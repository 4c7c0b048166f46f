"""A time that is stated early is stated within its bound: a host alone, servers that disagree and answer in turn."""

import random
from dataclasses import dataclass, replace

import pytest
from tests.laboratory import rigs

from truechimer.clocks.register import host_clock
from truechimer.compare.reading import Reading
from truechimer.laboratory import line
from truechimer.laboratory.epoch_input import epoch_input
from truechimer.laboratory.replay import begin_run
from truechimer.serve.clock_page import ClockPage, ServiceState
from truechimer.serve.served_time import bound_at, tai_fs_at

NS = 10**9
ANCHOR_TAI_NS, ANCHOR_RAW_NS = rigs.ANCHOR_TAI_NS, rigs.ANCHOR_RAW_NS


@dataclass(frozen=True)
class Network:
    """Servers asked in turn every `every_s`: off by a constant within `limit_s` of them, and by noise `u_s`."""

    servers: int
    every_s: float
    u_s: float
    limit_s: float
    together: bool = False


LAN = Network(5, 1.0, 2e-5, 1e-4, together=True)
TURNS = Network(4, 16.0, 3e-4, 5e-3)
FAR = Network(4, 64.0, 1e-3, 3e-2)


@dataclass(frozen=True)
class Stated:
    """One page: when it was made (s after the start), its error then and 0.9 of the interval later, with the bounds."""

    at_s: float
    state: ServiceState
    error_s: float
    bound_s: float
    later_error_s: float
    later_bound_s: float


def observed(network: Network, *, seed: int, epochs: int) -> list[Stated | None]:
    """Observe a host whose oscillator is off by up to 5e-5 and wanders; the truth is known here alone."""
    draw = random.Random(seed)
    names = [f"UTC.s{number}" for number in range(network.servers)]
    off_s = [draw.uniform(-0.95, 0.95) * network.limit_s for _ in names]
    start = replace(
        rigs.start_of(rigs.scenario()),
        observe=True,
        policy=None,
        envelope=None,
        clocks=(host_clock(),),
        pairs=tuple((name, "host") for name in names),
        operators=tuple((name, name) for name in names),
        interval_s=1.0,
        requalify_s=60.0,
        silence_s=600.0,
        polls=tuple((name, network.every_s * (1 if network.together else network.servers)) for name in names),
    )
    config, state, _ = begin_run(start, None, same_boot=True)
    x_utc_minus_host_s, y = draw.uniform(-0.3, 0.3), draw.uniform(-5e-5, 5e-5)
    out: list[Stated | None] = []
    for epoch in range(1, epochs + 1):
        x_utc_minus_host_s += y * network.every_s
        y += draw.gauss(0.0, 1e-10) * network.every_s**0.5
        elapsed_ns = round(epoch * network.every_s * NS)
        epoch_ns, raw_ns = ANCHOR_TAI_NS + elapsed_ns, ANCHOR_RAW_NS + elapsed_ns
        asked = range(network.servers) if network.together else [epoch % network.servers]
        readings = [
            Reading(
                epoch_tai_ns=epoch_ns,
                a=names[k],
                b="host",
                x_a_minus_b_s=x_utc_minus_host_s + off_s[k] + draw.gauss(0.0, network.u_s),
                u_s=network.u_s,
                limit_s=network.limit_s,
                operator=names[k],
            )
            for k in asked
        ]
        given = epoch_input(readings, state.register, epoch_tai_ns=epoch_ns, raw_ns=raw_ns)
        state, outcome = line.step(state, given, config)
        if outcome.page is None:
            out.append(None)
            continue

        after_s = 0.9 * network.every_s
        out.append(
            Stated(
                elapsed_ns / NS,
                outcome.service,
                _error_s(outcome.page, raw_ns, epoch_ns, x_utc_minus_host_s),
                outcome.page.bound_s,
                _error_s(
                    outcome.page,
                    raw_ns + round(after_s * NS),
                    epoch_ns + round(after_s * NS),
                    x_utc_minus_host_s + y * after_s,
                ),
                bound_at(outcome.page, raw_ns + round(after_s * NS)),
            )
        )
    return out


def _error_s(page: ClockPage, raw_ns: int, label_ns: int, x_utc_minus_host_s: float) -> float:
    """Return what a page states at a raw value minus the truth, s; `label_ns`: the host's label there."""
    return (tai_fs_at(page, raw_ns) - label_ns * 10**6 - round(x_utc_minus_host_s * 1e15)) / 1e15


@pytest.mark.parametrize("network", [LAN, TURNS, FAR], ids=["lan", "turns", "far"])
def test_an_early_statement_contains_the_truth_and_comes_soon(network: Network) -> None:
    first = []
    for seed in range(5):
        seen = observed(network, seed=seed, epochs=120)
        stated = [one for one in seen if one is not None]
        first.append(seen.index(stated[0]) + 1)
        for one in stated:
            assert abs(one.error_s) <= one.bound_s, (seed, one)
            assert abs(one.later_error_s) <= one.later_bound_s, (seed, one)
        assert stated[-1].state is ServiceState.FREERUN
        # tight enough to be used: no wider than a few times what the servers cannot exclude themselves
        assert stated[-1].bound_s <= 4.0 * network.limit_s + 6.0 * network.u_s
    print(f"stated after {sorted(first)} values")
    assert max(first) <= 40
