"""`truechimer sim make SCENARIO.toml --seed N --out DIR`: readings, truth and events of a simulated laboratory, as
files.

The simulation is `truechimer.sim`; here are arguments, files and progress. Nothing is written where the scenario has
a fault, and the files appear under their names only when all four are whole.

Exit status: 0 made; 2 wrong use, a scenario with faults (each on its line) or a folder that cannot be written.
"""

import argparse
import json
import sys
from pathlib import Path

from truechimer.cli.arguments import verb_parser
from truechimer.cli.progress import Progress
from truechimer.sim import Scenario, World, read_scenario
from truechimer.sim.recording import (
    READINGS_HEADER,
    TRUTH_HEADER,
    anchor_of,
    clocks_toml,
    events_json,
    recorded,
)

_PART = ".part"


def main(argv: list[str]) -> int:
    """Run `sim` with the arguments after the verb; return the exit status."""
    parser = verb_parser("sim", "A time laboratory without hardware.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="make")
    make = verbs.add_parser(
        "make",
        help="write readings.csv, truth.csv, events.json and clocks.toml",
        description="Simulate SCENARIO.toml and write what the laboratory reads, and the truth, into DIR. The same "
        "scenario and seed give the same bytes.",
    )
    make.add_argument("scenario", metavar="SCENARIO.toml", type=Path)
    make.add_argument("--seed", type=_seed, required=True, metavar="N", help="0 or more")
    make.add_argument("--out", type=Path, required=True, metavar="DIR", help="made where it does not exist")
    make.add_argument("--json", action="store_true", help="print what was written as one JSON document")
    arguments = parser.parse_args(argv)
    try:
        return _make(arguments.scenario, seed=arguments.seed, out=arguments.out, as_json=arguments.json)
    except OSError as error:
        name = error.filename or arguments.out
        print(f"truechimer sim make: {name}: {error.strerror}; name a file that can be read and a folder that can be "
              "written", file=sys.stderr)  # fmt: skip
        return 2


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 30):
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; write a whole number, 0 or more")
    return int(text)


def _make(path: Path, *, seed: int, out: Path, as_json: bool) -> int:
    scenario, findings = read_scenario(path.read_bytes())
    for finding in findings:
        print(finding.at(str(path)), file=sys.stderr)
    if scenario is None:
        return 2
    out.mkdir(parents=True, exist_ok=True)
    told = _write(scenario, seed=seed, out=out)
    if as_json:
        print(json.dumps(told))
    else:
        print(f"{told['readings']} readings of {told['epochs']} epochs and {len(scenario.clocks)} clocks in {out}")
    return 0


def _write(scenario: Scenario, *, seed: int, out: Path) -> dict[str, object]:
    """Write the four files beside their names, then put them all in place; a stop in between leaves nothing."""
    anchor_ns = anchor_of(scenario.run.start_mjd, scenario.run.days)
    world = World(scenario, seed=seed, anchor_tai_ns=anchor_ns, anchor_raw_ns=0)
    names = ("readings.csv", "truth.csv", "events.json", "clocks.toml")
    parts = {name: out / (name + _PART) for name in names}
    total = int(scenario.run.days * 86_400.0 / scenario.run.interval_s) + 1
    epochs = readings = 0
    try:
        with (
            Progress("simulating") as progress,
            parts["readings.csv"].open("wb") as readings_file,
            parts["truth.csv"].open("wb") as truth_file,
        ):
            readings_file.write(READINGS_HEADER)
            truth_file.write(TRUTH_HEADER)
            for part in recorded(world):
                readings_file.write(part.readings_csv)
                truth_file.write(part.truth_csv)
                epochs += part.epochs
                readings += part.readings
                progress.show(epochs, total)
        parts["events.json"].write_bytes(events_json(scenario.events, start_tai_ns=world.start_tai_ns))
        parts["clocks.toml"].write_bytes(clocks_toml(world.declared_clocks))
        for name, part_path in parts.items():
            part_path.replace(out / name)
    finally:
        for part_path in parts.values():
            part_path.unlink(missing_ok=True)
    return {
        "out": str(out),
        "seed": seed,
        "epochs": epochs,
        "readings": readings,
        "clocks": list(world.clock_names),
        "files": list(names),
    }
