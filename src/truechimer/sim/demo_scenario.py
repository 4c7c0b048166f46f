"""The laboratory of the demo: the clocks of the drill rig, read against the maser H1, and three other laboratories.

It is a scenario like any other, kept as the text of a SCENARIO.toml (the same as labs/scenarios/demo.toml) and read
once.

Source: drills.md, "Rig": H1 to H5 masers, C1 to C6 caesiums, R1 rubidium, counter noise 0.05 ns. Links are white per
point at a few nanoseconds and less, as carrier-phase, two-way and fibre give them; UTC(P), UTC(Q), UTC(S) wander from
UTC by 1 to 2 ns rms, and the links say so in `limit_s` (3 rms). Initial offsets, temperature coefficients and jumps
are typical, not those of any one clock.
"""

from functools import lru_cache

from truechimer.errors import Misuse
from truechimer.sim.scenario import Scenario
from truechimer.sim.scenario_file import read

_MASER = "white_fm_1s = 8e-14, random_walk_fm_1s = 5.8e-19, drift_per_day = 2e-16"
_CAESIUM = "white_fm_1s = 5e-12"
_RUBIDIUM = "white_fm_1s = 8e-12, drift_per_day = 5e-13"

_ROOM = {
    "maser": "temperature_coefficient_per_K = {t}e-15, humidity_coefficient_per_percent = 2e-17",
    "caesium": "temperature_coefficient_per_K = {t}e-15, humidity_coefficient_per_percent = 1e-16",
    "rubidium": "temperature_coefficient_per_K = {t}e-13, humidity_coefficient_per_percent = 1e-15",
}

_CLOCKS = (
    # name, kind, clock minus UTC at the first epoch (s), frequency offset, temperature coefficient (in the kind's
    # power of ten)
    ("H1", "maser", 1.20e-7, 3.1e-14, 0.8),
    ("H2", "maser", -8.40e-7, -5.2e-14, 1.1),
    ("H3", "maser", 2.25e-6, 1.2e-14, 0.6),
    ("H4", "maser", -3.10e-7, 8.7e-14, -0.9),
    ("H5", "maser", 5.60e-7, -2.4e-14, 1.3),
    ("C1", "caesium", 3.30e-6, 1.6e-13, 0.9),
    ("C2", "caesium", -1.70e-6, -9.0e-14, 0.7),
    ("C3", "caesium", 9.10e-7, 4.0e-14, 1.2),
    ("C4", "caesium", -4.50e-6, -2.1e-13, 0.5),
    ("C5", "caesium", 6.20e-7, 7.0e-14, 1.0),
    ("C6", "caesium", 2.80e-6, -1.3e-13, 0.8),
    ("R1", "rubidium", -7.70e-6, 4.5e-12, 1.5),
)

_OUTSIDE = (
    # UTC(k) of, white noise per point (s), rms wander (s), operator
    ("P", "3e-9", "2e-9", "laboratory-P"),
    ("Q", "2e-10", "2e-9", "laboratory-Q"),
    ("S", "1e-9", "1e-9", "laboratory-S"),
)


def _text() -> str:
    noise = {"maser": _MASER, "caesium": _CAESIUM, "rubidium": _RUBIDIUM}
    head = (
        "# The laboratory of `truechimer demo`: 12 clocks read against the maser H1,\n"
        "# and links to three other laboratories. "
        "The same text lives in truechimer.sim.demo_scenario; a test holds the two equal.\n\n"
        "[run]\ndays = 30.0\ninterval_s = 600.0\n\n"
        "[host]\n# the demo shows this host's own oscillator against simulated clocks; nothing is added\ny_host = 0.0\n"
        'pivot = "H1"\n'
    )
    parts = [head]
    for name, kind, x_s, y, temperature in _CLOCKS:
        room = ", ".join(part.strip() for part in _ROOM[kind].format(t=temperature).split(","))
        lines = [f'name = "{name}"', f'kind = "{kind}"', f"noise = {{ {noise[kind]} }}", *room.split(", ")]
        lines += [f"start_x_s = {x_s!r}", f"start_y = {y!r}"]
        if kind == "maser":
            lines += ["jump_rate_per_day = 0.002", "jump_y = 1e-15"]
        parts.append("[[clock]]\n" + "\n".join(lines) + "\n")
    parts += [
        f'[[link]]\na = "{name}"\nb = "H1"\nwhite_s = 5e-11\nquantisation_s = 1e-11\ngap_fraction = 0.001\n'
        for name, *_ in _CLOCKS[1:]
    ]
    for name, white_s, wander_s, operator in _OUTSIDE:
        parts.append(
            f'[[link]]\na = "UTC.{name}"\nb = "H1"\nwhite_s = {white_s}\nquantisation_s = 1e-11\ngap_fraction = 0.001\n'
            f'limit_s = {3.0 * float(wander_s):.0e}\noperator = "{operator}"\n'
        )
        parts.append(f'[[laboratory]]\nname = "{name}"\nwander_s = {wander_s}\nwander_days = 20.0\n')
    return "\n".join(parts)


DEMO_SCENARIO_TOML: str = _text()
"""The text of labs/scenarios/demo.toml."""


@lru_cache(maxsize=1)
def demo_scenario() -> Scenario:
    """Return the demo's laboratory."""
    scenario, findings = read(DEMO_SCENARIO_TOML.encode())
    if scenario is None:
        raise Misuse("the demo's scenario has faults: " + "; ".join(finding.at("demo.toml") for finding in findings))
    return scenario
