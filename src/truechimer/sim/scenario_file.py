"""SCENARIO.toml: bytes to a scenario, with all faults at once, each with its line.

It simulates nothing. What one key may hold is said beside the key (`scenario`); the faults here need more than one
key to see.

Source: `SCENARIO.toml` of the contract.
"""

from dataclasses import dataclass

from truechimer.clocks.clock import RESERVED_NAMES, ClockKind
from truechimer.formats import toml_tree
from truechimer.formats.finding import Finding
from truechimer.formats.toml_lines import Lines
from truechimer.sim.scenario import (
    HOST,
    OUTSIDE,
    REPLAY_LIMIT_S,
    UNIT_OF,
    Event,
    Scenario,
    What,
    is_outside,
    laboratory_of,
)

_NEEDS_MAGNITUDE = frozenset({What.PHASE_STEP, What.FREQUENCY_STEP, What.DRIFT_STEP, What.RAMP, What.REPLAY})
_NEEDS_DURATION = frozenset({What.GAP})


def read(data: bytes) -> tuple[Scenario | None, list[Finding]]:
    """Read SCENARIO.toml; return the scenario (None where there is an error) and all faults with their lines."""
    result = toml_tree.read_with_lines(data, Scenario)
    if result.value is None:
        return None, result.findings
    faults = check(result.value, result.lines)
    return (None if faults else result.value), [*result.findings, *faults]


def check(scenario: Scenario, lines: Lines | None = None) -> list[Finding]:
    """Return the faults that need more than one key to see; all of them are errors."""
    found = _Faults(lines or Lines({}), [])
    _check_clocks(scenario, found)
    _check_links(scenario, found)
    for k, event in enumerate(scenario.events):
        for key, rule, says in event_faults(event, scenario):
            found.add(rule, f"event {k + 1} ({event.what}): {says}", "event", k, key)
        if event.at_s > scenario.run.days * 86_400.0:
            found.add(
                "event-after-run",
                f"event {k + 1} at {event.at_s:g} s lies after the end of the run",
                "event",
                k,
                "at_s",
            )
    return found.findings


@dataclass(frozen=True, slots=True)
class _Faults:
    lines: Lines
    findings: list[Finding]

    def add(self, rule: str, says: str, *path: str | int) -> None:
        self.findings.append(Finding(rule, says, self.lines.of(*path)))


def _check_clocks(scenario: Scenario, found: _Faults) -> None:
    seen: set[str] = set()
    for k, clock in enumerate(scenario.clocks):
        if clock.name in RESERVED_NAMES or clock.name.startswith(OUTSIDE):
            found.add("reserved-name", f"{clock.name} is a reserved name; give the clock another", "clock", k, "name")
        if clock.name in seen:
            found.add(
                "two-clocks-one-name", f"a second clock is named {clock.name}; names are unique", "clock", k, "name"
            )
        if clock.kind in (ClockKind.HOST, ClockKind.LINK):
            says = f"{clock.name} is of kind {clock.kind}; the host stands in [host], a link in [[link]]"
            found.add("not-a-clock", says, "clock", k, "kind")
        seen.add(clock.name)
    names = [laboratory.name for laboratory in scenario.laboratories]
    used = {laboratory_of(link, end) for link in scenario.links for end in (link.a, link.b) if end.startswith(OUTSIDE)}
    for k, name in enumerate(names):
        if name in names[:k]:
            found.add("two-laboratories-one-name", f"a second laboratory is named {name}", "laboratory", k, "name")
        elif name not in used:
            found.add(
                "unused-laboratory",
                f"no link reaches UTC.{name}; add one or remove the laboratory",
                "laboratory",
                k,
                "name",
            )
    if scenario.host.pivot is not None and scenario.host.pivot not in seen:
        found.add("unknown-clock", f"pivot {scenario.host.pivot} is no clock of this scenario", "host", "pivot")


def _check_links(scenario: Scenario, found: _Faults) -> None:
    clocks = {clock.name for clock in scenario.clocks}
    seen: set[frozenset[str]] = set()
    for k, link in enumerate(scenario.links):
        for key, end in (("a", link.a), ("b", link.b)):
            if end == HOST:
                found.add("host-link", "the host is read by the world itself; describe it in [host]", "link", k, key)
            elif end not in clocks and not is_outside(end):
                says = f"{end} is no clock of this scenario and no source of UTC (UTC, UTCr, UTC.<lab>)"
                found.add("unknown-clock", says, "link", k, key)
        pair = frozenset((link.a, link.b))
        if len(pair) == 1:
            found.add("link-to-itself", f"{link.a} is compared with itself; name two clocks", "link", k, "b")
        elif pair in seen:
            found.add("two-links-one-pair", f"a second link compares {link.a} and {link.b}; keep one", "link", k)
        seen.add(pair)
        known = {laboratory.name for laboratory in scenario.laboratories}
        if link.laboratory and link.laboratory not in known:
            found.add("unknown-laboratory", f"laboratory {link.laboratory} is not described", "link", k, "laboratory")


def event_faults(event: Event, scenario: Scenario) -> list[tuple[str, str, str]]:
    """Return what is wrong with an event in this scenario: the key, the rule, what to do."""
    faults = []
    links = [link.name for link in (*scenario.links, scenario.host_link)]
    if event.target not in links and event.target not in scenario.endpoints:
        faults.append(("target", "unknown-target", f"{event.target} is no clock, source or link a-b of this scenario"))
    unit = UNIT_OF.get(event.what)
    if unit is None:
        faults += [
            (key, "no-magnitude", f"{event.what} takes no {key}; remove it")
            for key, value in (("magnitude", event.magnitude), ("unit", event.unit))
            if value is not None
        ]
    elif event.magnitude is None:
        if event.what in _NEEDS_MAGNITUDE:
            faults.append(("magnitude", "missing-magnitude", f'write magnitude and unit = "{unit}"'))
    elif event.unit != unit:
        faults.append(
            ("unit", "wrong-unit", f'unit is {event.unit or "absent"}; magnitude of a {event.what} is in "{unit}"')
        )
    if event.what in _NEEDS_DURATION and event.duration_s is None:
        faults.append(("duration_s", "missing-duration", f"write how long the {event.what} lasts: duration_s"))
    if event.what is What.RETURN and event.duration_s is not None:
        faults.append(("duration_s", "no-duration", "a return has no duration; remove it"))
    if event.what is What.REPLAY and event.magnitude is not None and not 0.0 < event.magnitude <= REPLAY_LIMIT_S:
        faults.append(("magnitude", "replay-range", f"readings of up to {REPLAY_LIMIT_S:g} s before can be replayed"))
    return faults
