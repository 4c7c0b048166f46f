"""A laboratory on readings files, as a user runs it: past records, growing files, broken rows, files that are cut or
replaced.
"""

import gzip
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.daemon_laboratory.laboratories import (
    ask_door,
    door_error_s,
    replayed,
    up,
    verb,
    wall_tai_ns,
    write_lab,
)
from tests.ports import free_port
from tests.waits import until

HEADER = "epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s\n"
RECORD = Path(__file__).parents[3] / "shared" / "data" / "stability" / "cs5071a" / "5071A_phase.txt.gz"
PAST_NS = 1_000_000_000 * 10**9
CLOCKS = '[[clock]]\nname = "caesium"\nkind = "caesium"\n[[clock]]\nname = "maser"\nkind = "maser"\n'
OSCILLATORS = CLOCKS.replace('kind = "caesium"', 'kind = "oscillator"').replace('kind = "maser"', 'kind = "oscillator"')
"""Atomic clocks may be steered by 2.3e-14 at most, and nobody knows their rate so well within a test."""


def a_lab(folder: Path, *, interval_s: float = 1.0, clocks: str = CLOCKS, more: str = "", max_age: str = "") -> int:
    """Write a laboratory on readings.csv; return the port of its door."""
    door = free_port()
    head = f'[lab]\nname = "filelab"\nsilence_s = 5.0\n[scale]\ninterval_s = {interval_s}\n{clocks}'
    source = f'[[source]]\nname = "counter"\nkind = "readings"\npath = "readings.csv"\n{max_age}{more}'
    write_lab(folder, f'{head}{source}[[listener]]\nprotocol = "ntp"\nport = {door}\nbound_limit_s = 0.01\n')
    return door


def past_rows(first: int, n: int) -> str:
    """Return rows of a maser and a caesium, 1 s apart, in the past."""

    def x_s(k: int) -> float:
        return 1e-6 + 1e-12 * k + 1e-11 * ((k * 7919) % 13 - 6)

    return "".join(f"{PAST_NS + k * 10**9},caesium,maser,{x_s(k)!r},1e-11\n" for k in range(first, first + n))


SEED = random.Random(5)


def noise(sigma_s: float) -> float:
    """Return white reading noise: what repeats one value is taken for a frozen counter."""
    return SEED.gauss(0.0, sigma_s)


class Writer(threading.Thread):
    """A counter's program: every `every_s` it appends the system clock and two clocks against UTC of another
    laboratory.
    """

    def __init__(self, path: Path, *, every_s: float = 0.5, with_clocks: bool = True) -> None:
        super().__init__(daemon=True)
        self._path, self._every_s, self._with_clocks = path, every_s, with_clocks
        self._ended = threading.Event()
        self.rows = 0

    def run(self) -> None:
        began = time.monotonic()
        while not self._ended.wait(self._every_s):
            epoch_ns = wall_tai_ns()
            # truth: this host's wall clock is UTC; the maser is 1 us late and runs 1e-12 fast
            x_maser_s = -1e-6 + 1e-12 * (time.monotonic() - began)
            against, x_utc_s = ("maser", -x_maser_s) if self._with_clocks else ("host", 0.0)
            rows = [f"{epoch_ns},UTC.lab2,{against},{x_utc_s + noise(2e-9)!r},2e-9"]
            if self._with_clocks:
                rows += [
                    f"{epoch_ns},host,maser,{-x_maser_s + noise(1e-9)!r},1e-9",
                    f"{epoch_ns},caesium,maser,{2e-6 + noise(1e-10)!r},1e-10",
                ]
            with self._path.open("a") as file:
                file.write("\n".join(rows) + "\n")
            self.rows += len(rows)

    def stop(self) -> None:
        self._ended.set()
        self.join(5)


@contextmanager
def writing(path: Path, *, with_clocks: bool = True) -> Iterator[Writer]:
    """Let a writer append to a file."""
    writer = Writer(path, with_clocks=with_clocks)
    writer.start()
    try:
        yield writer
    finally:
        writer.stop()


@pytest.mark.shared_data
@pytest.mark.slow
def test_the_real_caesium_maser_record_makes_a_scale_but_no_time(tmp_path: Path) -> None:
    with gzip.open(RECORD, "rt") as file:
        values = [float(line.split()[-1]) for line in file if line.strip() and line[0] not in "#%"][:4000]
    rows = [f"{PAST_NS + i * 10**9},caesium,maser,{x!r},1e-11\n" for i, x in enumerate(values)]
    (tmp_path / "readings.csv").write_text(HEADER + "".join(rows))
    door = a_lab(tmp_path, interval_s=10.0)
    with up(tmp_path) as running:
        status = running.until_state("freerun")
        until(lambda: running.ask().get("epochs", 0) >= len(rows))
        status = running.ask()
        found = until(lambda: ask_door(door))
        told = verb(tmp_path, "now", "--json", "--lab", str(tmp_path))
        assert running.end() == 0
    assert not found.synchronised
    assert found.leap == 3
    assert told.returncode == 1
    said = " ".join(json.loads(told.stdout)["missing"])
    assert "no reading names host" in said
    assert "no link reaches UTC" in said
    weights = {row["name"]: row["weight"] for row in status["clocks"]}
    assert weights["caesium"] + weights["maser"] == pytest.approx(1.0)
    assert weights["host"] == 0.0
    assert replayed(tmp_path)["records_compared"] > len(rows)


@pytest.mark.slow
def test_a_growing_file_makes_time_and_a_file_that_stops_takes_it_away(tmp_path: Path) -> None:
    path = tmp_path / "readings.csv"
    path.write_text(HEADER)
    door = a_lab(tmp_path, clocks=OSCILLATORS, max_age="max_age_s = 3.0\n")
    with up(tmp_path) as running:
        with writing(path):
            running.until_state("steered")
            found = until(lambda: (answer := ask_door(door)) is not None and answer.synchronised and answer)
            error_s = door_error_s(found)
            print(f"door minus host {error_s * 1e6:.1f} us, bound {found.root_dispersion_s * 1e6:.1f} us")
            assert abs(error_s) <= found.root_distance_s
            assert found.stratum == 1
            assert verb(tmp_path, "now", "--lab", str(tmp_path)).returncode == 0
        until(lambda: (answer := ask_door(door)) is not None and not answer.synchronised)
        told = verb(tmp_path, "now", "--json", "--lab", str(tmp_path))
        assert told.returncode == 1
        body = json.loads(told.stdout)
        assert body["state"] == "freerun"
        assert any("max_age_s" in said for said in body["missing"])
        with writing(path):
            until(lambda: running.ask("now").get("synchronised"))
        assert running.end() == 0
    assert replayed(tmp_path)["difference"] is None


def test_broken_rows_are_refused_with_their_line_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "readings.csv"
    good = past_rows(0, 5).splitlines(keepends=True)
    bad = [
        f"{PAST_NS + 5 * 10**9},caesium,maser,about a microsecond,1e-11\n",  # line 7
        f"{PAST_NS},caesium,maser,1e-6,1e-11\n",  # 8: out of order
        good[4],  # 9: duplicate
        f"{PAST_NS + 6 * 10**9},caesium,stranger,1e-6,1e-11\n",  # 10
        f"{wall_tai_ns() + 10**15},caesium,maser,1e-6,1e-11\n",  # 11: eleven days ahead
        "1,2,3\n",  # 12
    ]
    path.write_text(HEADER + "".join(good) + "".join(bad) + past_rows(7, 5) + "1000000020000000000,caesium,mas")
    a_lab(tmp_path)
    with up(tmp_path) as running:
        until(lambda: running.ask().get("epochs", 0) >= 10)
        status = running.ask()
        assert status["rejected_readings"] == 6
        rules = {row["line"]: row["rule"] for row in status["reading_faults"]}
        assert rules == {
            7: "not-a-number",
            8: "out-of-order",
            9: "duplicate",
            10: "unknown-clock",
            11: "epoch-too-late",
            12: "columns",
        }
        assert status["reading_files"][0]["accepted"] == 10
        assert {row["alert"] for row in status["alerts"]} >= {"reading-rejected"}
        with path.open("a") as file:
            file.write("er,1e-06,1e-11\n")  # the half-written line is finished
        until(lambda: running.ask()["reading_files"][0]["accepted"] == 11)
        assert running.ask()["rejected_readings"] == 6
        assert running.end() == 0
    assert replayed(tmp_path)["difference"] is None


def test_a_file_that_is_cut_or_replaced_is_read_anew_without_taking_a_row_twice(tmp_path: Path) -> None:
    path = tmp_path / "readings.csv"
    path.write_text(HEADER + past_rows(0, 20))
    a_lab(tmp_path)
    with up(tmp_path) as running:
        until(lambda: running.ask().get("epochs", 0) == 20)
        path.write_text(HEADER + past_rows(15, 5) + past_rows(20, 5))  # cut: shorter, the last five and five new ones
        until(lambda: running.ask()["epochs"] == 25)
        beside = tmp_path / "beside"
        beside.write_text(HEADER + past_rows(0, 30))  # replaced: a longer file in its place
        beside.replace(path)
        until(lambda: running.ask()["epochs"] == 30)
        path.unlink()
        until(lambda: "says" in running.ask()["reading_files"][0])
        path.write_text(HEADER + past_rows(30, 2))
        until(lambda: running.ask()["epochs"] == 32)
        status = running.ask()
        assert status["rejected_readings"] == 0
        assert running.end() == 0
    with up(tmp_path) as running:
        assert until(lambda: running.ask().get("records"))
        time.sleep(1.0)
        assert running.ask()["epochs"] == 0  # all of it is known
        assert running.end() == 0
    assert replayed(tmp_path)["difference"] is None


@pytest.mark.slow
def test_clocks_and_a_link_in_two_files_make_time_together(tmp_path: Path) -> None:
    counter, link = tmp_path / "readings.csv", tmp_path / "link.csv"
    counter.write_text(HEADER)
    link.write_text(HEADER)
    more = '[[source]]\nname = "gnss"\nkind = "link"\nto = "UTC.lab2"\npath = "link.csv"\nlimit_s = 5e-9\n'
    door = a_lab(tmp_path, clocks=OSCILLATORS, max_age="max_age_s = 5.0\n", more=more)
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(0.5):
            epoch_ns = wall_tai_ns()
            with link.open("a") as file:
                file.write(
                    f"{epoch_ns},UTC.lab2,maser,{1e-6 + noise(2e-9)!r},2e-9\n{epoch_ns},UTC.lab9,maser,5.0,2e-9\n"
                )
            with counter.open("a") as file:
                file.write(f"{epoch_ns},host,maser,{1e-6 + noise(1e-9)!r},1e-9\n")
                file.write(f"{epoch_ns},caesium,maser,{2e-6 + noise(1e-10)!r},1e-10\n")

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        with up(tmp_path) as running:
            running.until_state("steered")
            found = until(lambda: (answer := ask_door(door)) is not None and answer.synchronised and answer)
            error_s = door_error_s(found)
            assert abs(error_s) <= found.root_distance_s
            rules = {row["rule"] for row in running.ask()["reading_faults"]}
            assert rules <= {"not-this-link", "unknown-clock"}
            assert rules
            assert [row["name"] for row in running.ask("sources")["sources"]] == ["UTC.lab2"]
            assert running.end() == 0
    finally:
        ended.set()
        writer.join(5)
    assert replayed(tmp_path)["difference"] is None


@pytest.mark.slow
def test_a_long_backlog_shows_its_progress_and_ctrl_c_leaves_nothing_broken(tmp_path: Path) -> None:
    n = int(os.environ.get("TRUECHIMER_BACKLOG", "6000"))
    (tmp_path / "readings.csv").write_text(HEADER + past_rows(0, n))
    a_lab(tmp_path)
    with up(tmp_path) as running:
        until(lambda: "first run" in running.stderr)
        time.sleep(1.5)
        assert running.end(2) == 0
    first = replayed(tmp_path)["records_compared"]
    began = time.monotonic()
    with up(tmp_path) as running:
        until(lambda: running.ask().get("epochs", 0) > 0 or running.ask().get("records"), patience_s=300.0)
        until(lambda: running.ask()["reading_files"][0]["accepted"] + 1 >= running.ask()["epochs"], patience_s=300.0)
        records = running.ask()["records"]
        assert running.end() == 0
    print(f"{n} epochs: {first} records at Ctrl-C, {records} after the second start, {time.monotonic() - began:.1f} s")
    assert records >= n
    assert replayed(tmp_path)["difference"] is None
