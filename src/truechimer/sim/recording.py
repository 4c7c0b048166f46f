"""A recorded world as files: readings.csv, truth.csv, events.json and clocks.toml, as bytes.

It opens no file and simulates nothing. Every reading stands at its own epoch, whatever the latency of its link: a
record knows no "now".

Source: the contract, "Files". Epochs are MJD on the TAI axis with 15 decimals, which give back every nanosecond;
numbers are the shortest texts that give back every bit. Hence one scenario and one seed make the same bytes.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from truechimer.clocks.clock import Clock
from truechimer.formats.readings_csv import mjd_text_of_ns
from truechimer.sim.scenario import Event
from truechimer.sim.world import World, WorldRecord

READINGS_HEADER = b"epoch_mjd,clock_a,clock_b,x_a_minus_b_s,u_s\n"
TRUTH_HEADER = b"epoch_mjd,clock,x_clock_minus_utc_s\n"

_NS_PER_DAY = 86_400 * 10**9
_MJD_OF_1970 = 40_587


@dataclass(frozen=True, slots=True)
class RecordedPart:
    """The rows of some epochs: bytes of both tables, and how many epochs and readings they hold."""

    readings_csv: bytes
    truth_csv: bytes
    epochs: int
    readings: int


def anchor_of(start_mjd: int, days: float) -> int:
    """Return the anchor, ns since 1970-01-01T00:00:00 TAI, of a run that begins at `start_mjd` and lasts `days`."""
    return (start_mjd - _MJD_OF_1970) * _NS_PER_DAY + round(days * _NS_PER_DAY)


def recorded(world: World) -> Iterator[RecordedPart]:
    """Yield the rows of the world's whole run, block by block, without the headers."""
    pairs = [(f",{link.a},{link.b},", f",{link.declared_u_s!r}\n") for link in world.scenario.links]
    names = [f",{name}," for name in world.clock_names]
    for block in world.record():
        yield _rows_of(block, pairs, names)


def _rows_of(block: WorldRecord, pairs: Sequence[tuple[str, str]], names: Sequence[str]) -> RecordedPart:
    readings: list[str] = []
    truth: list[str] = []
    epochs = [mjd_text_of_ns(epoch_ns) for epoch_ns in block.epoch_tai_ns.tolist()]
    for epoch, row in zip(epochs, block.x_a_minus_b_s.tolist(), strict=True):
        readings += [
            f"{epoch}{pair}{value!r}{u}"
            for (pair, u), value in zip(pairs, row, strict=True)
            if value == value  # noqa: PLR0124 - nan, the reading that never came, differs from itself
        ]
    for epoch, row in zip(epochs, block.x_clock_minus_utc_s.tolist(), strict=True):
        truth += [f"{epoch}{name}{value!r}\n" for name, value in zip(names, row, strict=True)]
    return RecordedPart("".join(readings).encode(), "".join(truth).encode(), len(epochs), len(readings))


def events_json(events: Sequence[Event], *, start_tai_ns: int) -> bytes:
    """Return the scenario's events in order of time, each with its moment as seconds, MJD and nanoseconds."""
    listed = []
    for event in sorted(events, key=lambda event: event.at_s):
        at_ns = start_tai_ns + round(event.at_s * 1e9)
        told = {
            "at_s": event.at_s,
            "epoch_mjd": mjd_text_of_ns(at_ns),
            "epoch_tai_ns": at_ns,
            "what": str(event.what),
            "target": event.target,
            "magnitude": event.magnitude,
            "unit": event.unit,
            "duration_s": event.duration_s,
        }
        listed.append({key: value for key, value in told.items() if value is not None})
    return (json.dumps(listed, indent=2) + "\n").encode()


def clocks_toml(clocks: Sequence[Clock]) -> bytes:
    """Return the clocks as the register knows them: name, kind, code and declared noise; what is not declared is
    absent.
    """
    parts = []
    for clock in clocks:
        lines = ["[[clock]]", f'name = "{clock.name}"', f'kind = "{clock.kind}"']
        if clock.bipm_code is not None:
            lines.append(f"bipm_code = {clock.bipm_code}")
        declared = [(item.name, getattr(clock.noise, item.name)) for item in fields(clock.noise)]
        noise = ", ".join(f"{name} = {float(value)!r}" for name, value in declared if value is not None)
        if noise:
            lines.append(f"noise = {{ {noise} }}")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts).encode()
