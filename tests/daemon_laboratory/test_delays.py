"""Delays of the laboratory's file reach every reading before the fold, stand in the record, and replay."""

import json
import sqlite3
from pathlib import Path

from tests.daemon_laboratory.laboratories import replayed, up, write_lab

from truechimer.daemon.lab.lab_file import LabFile
from truechimer.daemon.lab.lab_rules import InsecureFlags, faults_between_keys
from truechimer.formats.toml_tree import read_with_lines

LAB = """\
[lab]
name = "delays"

[[clock]]
name = "H1"
kind = "maser"

[[clock]]
name = "C1"
kind = "caesium"

[[delay]]
clock = "C1"
delay_s = 30e-9
u_s = 1e-9
calibration_id = "cal-7"

[[delay]]
clock = "H1"
delay_s = 10e-9

[[source]]
name = "counter"
kind = "readings"
path = "readings.csv"
"""


def test_a_late_pulse_is_added_back_and_the_delays_stand_in_the_run_start_record(tmp_path: Path) -> None:
    rows = [f"{1_700_000_000_000_000_000 + 10**10 * k},C1,H1,{1e-7 + 1e-10 * k!r},1e-11\n" for k in range(5)]
    (tmp_path / "readings.csv").write_text("epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s\n" + "".join(rows))
    write_lab(tmp_path, LAB)
    with up(tmp_path, "--for", "3") as running:
        running.until_state("freerun")
    with sqlite3.connect(tmp_path / "evidence" / "records.sqlite3") as db:
        bodies = [json.loads(data) for (data,) in db.execute("SELECT data FROM records ORDER BY seq")]
    db.close()
    start = next(body for body in bodies if body["kind"] == "run-start")
    assert start["delays"][0] == {"calibration_id": "cal-7", "clock": "C1", "delay_s": "3e-08 s", "u_s": "1e-09 s"}
    first = next(body for body in bodies if body["kind"] == "readings")
    assert abs(float(first["x_a_minus_b_s"][0].split()[0]) - (1e-7 + 30e-9 - 10e-9)) < 1e-21
    assert (
        first["limit_s"][0] == "3.0000000000000004e-09 s" or abs(float(first["limit_s"][0].split()[0]) - 3e-9) < 1e-20
    )
    assert replayed(tmp_path)["difference"] is None


def test_delays_of_unknown_clocks_and_two_delays_of_one_clock_are_faults_with_their_lines() -> None:
    text = LAB.replace('clock = "H1"\ndelay_s', 'clock = "C1"\ndelay_s') + '\n[[delay]]\nclock = "C9"\ndelay_s = 1e-9\n'
    read = read_with_lines(text.encode(), LabFile)
    faults = [*read.findings, *faults_between_keys(read, InsecureFlags())]
    assert {(fault.rule, fault.line) for fault in faults} == {("duplicate-delay", 19), ("unknown-clock", 28)}
