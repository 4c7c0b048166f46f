"""A world that was put back has the future of the world that it was taken from."""

import random
from dataclasses import replace

import pytest
from tests.sim import worlds
from tests.sim.worlds import ANCHOR_RAW_NS, ANCHOR_TAI_NS, NS, event

from truechimer.clocks.clock import ClockKind
from truechimer.sim import Environment, Scenario, What, World, WorldBatch, demo_scenario, world_snapshot
from truechimer.sim.world_snapshot import WorldSnapshotRejected

STEP = event(What.PHASE_STEP, "B", at_s=80_000.0, magnitude=1e-7)
FREEZE = event(What.FREEZE, "C-A", at_s=80_000.0)


def moved_by_all() -> Scenario:
    """Temperature, jumps, late and coarse and gappy links, events."""
    of = worlds.scenario(STEP, FREEZE)
    of = replace(
        of,
        environment=Environment(temperature_diurnal_kelvin=1.0, temperature_random_kelvin=0.5),
        clocks=(
            worlds.clock("A", temperature_coefficient_per_kelvin=1e-14),
            worlds.clock("B", jump_rate_per_day=200.0, jump_y=1e-12),
            replace(worlds.clock("C"), kind=ClockKind.CAESIUM),
        ),
    )
    of = worlds.with_link(of, "B", latency_s=3.0, gap_fraction=0.3)
    return worlds.with_link(of, "C", quantisation_s=1e-10)


SCENARIOS = {
    "plain": worlds.scenario(),
    "all": moved_by_all(),
    "demo": replace(demo_scenario(), run=worlds.scenario().run),
}


def future(world: World, *, first_s: int, seconds: int = 30) -> list[WorldBatch]:
    return [world.batch(ANCHOR_RAW_NS + second * NS) for second in range(first_s, first_s + seconds)]


def restored(data: bytes, of: Scenario, *, seed: int = 1, raw_ns: int = ANCHOR_RAW_NS) -> World:
    return world_snapshot.restore(data, of, seed=seed, anchor_tai_ns=ANCHOR_TAI_NS, anchor_raw_ns=raw_ns)[0]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_world_that_was_put_back_goes_on_as_the_one_that_never_stopped(name: str) -> None:
    of = SCENARIOS[name]
    world = worlds.live(of)
    for first in (1, 40, 200):
        future(world, first_s=first)
        data = world_snapshot.encode(world, seq=7)
        assert data is not None
        again = restored(data, of)
        assert again.now_tai_ns == world.now_tai_ns
        assert world_snapshot.encode(again, seq=7) == data
        fork = world.fork()
        for one, other in zip(future(fork, first_s=first + 30), future(again, first_s=first + 30), strict=True):
            assert one.readings == other.readings
            assert one.clean == other.clean
            assert one.x_clock_minus_utc_s.tobytes() == other.x_clock_minus_utc_s.tobytes()
        raw_ns = ANCHOR_RAW_NS + 10**12
        assert again.true_tai_fs(raw_ns) == world.true_tai_fs(raw_ns)


def test_a_world_that_must_remember_long_is_not_kept() -> None:
    assert world_snapshot.encode(worlds.world(), seq=0) is None
    unread = worlds.world()
    next(unread.history())
    assert world_snapshot.encode(unread, seq=0) is None
    replayed = worlds.live(worlds.scenario(event(What.REPLAY, "B", magnitude=3_600.0)))
    assert world_snapshot.encode(replayed, seq=0) is None


def test_a_snapshot_of_another_world_or_of_damaged_bytes_is_refused() -> None:
    of = worlds.scenario()
    data = world_snapshot.encode(worlds.live(of), seq=0)
    assert data is not None
    with pytest.raises(WorldSnapshotRejected, match="another scenario"):
        restored(data, of, seed=2)
    with pytest.raises(WorldSnapshotRejected, match="another scenario"):
        restored(data, of, raw_ns=ANCHOR_RAW_NS + 1)
    with pytest.raises(WorldSnapshotRejected, match="another scenario"):
        restored(data, worlds.scenario(STEP))
    rng = random.Random(3)
    for place in [*range(90), *(rng.randrange(len(data)) for _ in range(300))]:
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.randrange(8)
        with pytest.raises(WorldSnapshotRejected):
            restored(bytes(flipped), of)
    for cut in (b"", data[:50], data[:-1], data + b"\n"):
        with pytest.raises(WorldSnapshotRejected):
            restored(cut, of)
