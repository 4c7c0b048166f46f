"""Simulation: clocks, links, other laboratories and UTC without hardware, faster than real time; the world owns the
truth.

It gives readings as a laboratory would receive them. It never tells the service the truth, and it reads no clock: raw
counter values and seeds come in as arguments.
"""

from truechimer.sim.demo_scenario import DEMO_SCENARIO_TOML, demo_scenario
from truechimer.sim.host_oscillator import HostOscillator
from truechimer.sim.oscillator import OscillatorBank
from truechimer.sim.scenario import (
    Environment,
    Event,
    Host,
    Laboratory,
    Link,
    Run,
    Scenario,
    SimulatedClock,
    What,
)
from truechimer.sim.scenario_file import event_faults
from truechimer.sim.scenario_file import read as read_scenario
from truechimer.sim.world import World, WorldBatch, WorldRecord

__all__ = [
    "DEMO_SCENARIO_TOML",
    "Environment",
    "Event",
    "Host",
    "HostOscillator",
    "Laboratory",
    "Link",
    "OscillatorBank",
    "Run",
    "Scenario",
    "SimulatedClock",
    "What",
    "World",
    "WorldBatch",
    "WorldRecord",
    "demo_scenario",
    "event_faults",
    "read_scenario",
]
