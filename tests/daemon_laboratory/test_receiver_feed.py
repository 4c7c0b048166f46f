"""A receiver's messages from a file, a pipe or a terminal into the laboratory, in pieces of any length."""

import os
import pty
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.daemon_laboratory.laboratories import up, wall_tai_ns, write_lab
from tests.ports import free_port
from tests.waits import until

from truechimer.compare.receiver_epoch import ReceiverEpoch, epochs
from truechimer.compare.receiver_stream import LONGEST_UNFINISHED, ReceiverStream
from truechimer.daemon.lab.receiver_settings import ReceiverSettings
from truechimer.daemon.sources.feeds import Batch, HostLabel
from truechimer.daemon.sources.gathering import in_order, joined
from truechimer.daemon.sources.receiver_feed import ReceiverFeed, Thinning
from truechimer.formats import ubx
from truechimer.formats.finding import Finding
from truechimer.instants import builtin_leap_table
from truechimer.sim.receiver_stream import Disturbance, Receiver

LEAPS = builtin_leap_table()
START_NS = 1_780_000_000 * 10**9
LABEL = HostLabel(0, START_NS + 10**15)
SETTINGS = ReceiverSettings(name="rx1", link="UTC.gnss", path="rx1.ubx", every_s=10.0)


def stream(n: int, *disturbances: Disturbance, start_ns: int = START_NS) -> bytes:
    receiver = Receiver(np.random.default_rng(3), LEAPS, start_ns, disturbances=disturbances)
    return b"".join(sent.data for sent in receiver.epochs(n))


def told(data: bytes) -> list[ReceiverEpoch]:
    return list(epochs(ubx.read(data)[0], LEAPS))


def in_pieces(data: bytes, cut: Callable[[], int]) -> tuple[list[ReceiverEpoch], list[Finding]]:
    taken, at = ReceiverStream(LEAPS), 0
    out: list[ReceiverEpoch] = []
    findings: list[Finding] = []
    while at < len(data):
        step = cut()
        more, found = taken.take(data[at : at + step])
        out += more
        findings += found
        at += step
    return out, findings


@pytest.mark.parametrize("seed", range(3))
def test_pieces_of_any_length_give_the_epochs_of_the_whole(seed: int) -> None:
    data, rng = stream(6), random.Random(seed)
    out, findings = in_pieces(data, lambda: rng.choice((1, 2, 7, 100, 1_000)))
    assert out == told(data)
    assert not findings


@pytest.mark.parametrize("seed", range(20))
def test_damaged_bytes_never_raise_and_cost_no_epoch_that_is_whole(seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(stream(8))
    where = rng.randrange(len(data) // 2)
    length = rng.choice((1, 3, 50))
    data[where : where + length] = rng.randbytes(length)
    out, _ = in_pieces(bytes(data), lambda: rng.randrange(1, 400))
    assert len(out) >= 7
    assert set(told(stream(8))[-2:]) <= set(out)


def test_what_never_becomes_a_message_is_not_kept() -> None:
    taken = ReceiverStream(LEAPS)
    for _ in range(100):
        taken.take(ubx.SYNC + b"\x01\x07\xff\x1f" + bytes(500))
    assert len(taken._unfinished) <= LONGEST_UNFINISHED + 600


def test_epochs_are_thinned_and_a_flag_that_worsens_is_not() -> None:
    data = told(stream(40, Disturbance("flag", 23.0, end_s=24.0)))
    thinning = Thinning(10.0)
    kept = [epoch for each in data if (epoch := thinning.take(each)) is not None]
    seconds = [(epoch.epoch_tai_ns - START_NS) // 10**9 for epoch in kept]
    assert seconds == [0, 10, 20, 23, 33]
    assert [epoch.spoofing for epoch in kept] == [1, 1, 1, 2, 1]


@contextmanager
def feed(
    path: Path, settings: ReceiverSettings = SETTINGS, after_ns: int = 0
) -> "Iterator[tuple[ReceiverFeed, queue.Queue[Batch]]]":
    out: queue.Queue[Batch] = queue.Queue()
    faults: list[Finding] = []
    made = ReceiverFeed(
        settings,
        0,
        path,
        out,
        label=LABEL,
        leaps=LEAPS,
        raw_now_ns=time.monotonic_ns,
        on_fault=lambda _name, finding: faults.append(finding),
        after_ns=after_ns,
    )
    try:
        yield made, out
    finally:
        made.stop()
        if made.is_alive():
            made.join(5.0)
            assert not made.is_alive()


def test_a_file_s_past_is_dated_by_the_receiver_and_never_back_or_ahead(tmp_path: Path) -> None:
    path = tmp_path / "rx1.ubx"
    path.write_bytes(stream(60, Disturbance("week-rollback", 30.0, end_s=41.0)))
    with feed(path) as (made, _):
        batches = list(made.backlog())
        when = [batch.epoch_tai_ns for batch in batches]
        assert when == sorted(when)
        assert when[0] == START_NS
        assert all(batch.raw_ns is None and batch.evidence[0].heard_ns == 0 for batch in batches)
    with feed(path, after_ns=START_NS + 45 * 10**9) as (made, _):
        assert {batch.epoch_tai_ns for batch in made.backlog()} == {START_NS + 51 * 10**9}


def test_what_a_growing_file_brings_is_stamped_when_it_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "rx1.ubx"
    data = stream(30)
    path.write_bytes(data[: len(data) // 2])
    with feed(path) as (made, out):
        assert list(made.backlog())
        made.start()
        with path.open("ab") as file:
            file.write(data[len(data) // 2 :])
        batch = out.get(timeout=120)
        assert batch.raw_ns is not None
        assert batch.evidence[0].heard_ns == batch.epoch_tai_ns == LABEL.at(batch.raw_ns)


def test_a_receiver_on_a_serial_line_is_read_as_its_bytes_are(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        with feed(Path(os.ttyname(theirs)), ReceiverSettings(name="rx1", link="UTC", path="x", baud=115200)) as (
            made,
            out,
        ):
            made.start()
            time.sleep(0.3)
            data = stream(12)
            writer = threading.Thread(
                target=lambda: [os.write(ours, data[i : i + 500]) for i in range(0, len(data), 500)]
            )
            writer.start()
            first = out.get(timeout=120).evidence[0].epoch
            writer.join(5.0)
        assert first == told(stream(12))[0]
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_receiver_that_is_not_there_is_said_and_waited_for(tmp_path: Path) -> None:
    with feed(tmp_path / "none") as (made, _):
        made.start()
        until(lambda: made.status.says)
        assert "check the receiver" in made.status.says


def test_evidence_goes_with_the_next_epoch_of_the_clocks(tmp_path: Path) -> None:
    path = tmp_path / "rx1.ubx"
    path.write_bytes(stream(20))
    with feed(path) as (made, _):
        held = list(made.backlog())
    from truechimer.compare.reading import Reading

    reading = Reading(epoch_tai_ns=START_NS + 60 * 10**9, a="H2", b="H1", x_a_minus_b_s=1e-9, u_s=1e-11)
    (batch,) = in_order([*held, Batch(reading.epoch_tai_ns, None, (reading,))])
    assert [one.epoch for one in batch.evidence] == [one.evidence[0].epoch for one in held]
    assert joined([held[0], held[1]]).evidence == held[0].evidence + held[1].evidence


@pytest.mark.slow
def test_a_laboratory_in_service_refuses_a_receiver_whose_utc_parameters_are_wrong(tmp_path: Path) -> None:
    now_ns = wall_tai_ns() // 10**9 * 10**9  # a receiver speaks at whole seconds
    clocks = "".join(f'[[clock]]\nname = "{name}"\nkind = "oscillator"\n' for name in ("a", "b"))
    link = '[[source]]\nname = "counter"\nkind = "readings"\npath = "readings.csv"\n'
    receiver = '[[receiver]]\nname = "rx1"\nlink = "UTC.gnss"\npath = "rx1.ubx"\nevery_s = 1.0\n'
    door = f'[[listener]]\nprotocol = "ntp"\nport = {free_port()}\n'
    write_lab(tmp_path, f'[lab]\nname = "rx"\n[scale]\ninterval_s = 1.0\n{clocks}{link}{receiver}{door}')
    readings = tmp_path / "readings.csv"
    readings.write_text("epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s\n", encoding="ascii")
    (tmp_path / "rx1.ubx").write_bytes(b"")
    data = stream(12, Disturbance("utc-parameters", 6.0, -1.37e-5), start_ns=now_ns)
    with up(tmp_path) as running:
        until(lambda: running.ask().get("receivers"))
        rng = random.Random(2)
        size = len(data) // 12
        for second in range(12):
            epoch_ns = wall_tai_ns()
            with readings.open("a", encoding="ascii") as file:
                file.write(f"{epoch_ns},b,a,{rng.gauss(1e-7, 1e-11)!r},1e-11\n")
                file.write(f"{epoch_ns},host,a,{rng.gauss(0.0, 1e-8)!r},1e-8\n")
                file.write(f"{epoch_ns},UTC.gnss,a,{rng.gauss(0.0, 1e-8)!r},1e-8\n")
            with (tmp_path / "rx1.ubx").open("ab") as file:
                file.write(data[second * size : (second + 1) * size if second < 11 else len(data)])
            time.sleep(0.15)

        def refused() -> bool:
            rows = running.ask().get("receivers", [])
            wanted = {"reason": "utc-parameters", "level": "refused"}
            return bool(rows) and wanted in rows[0].get("reasons", [])

        until(refused, what=lambda: f"{running.ask().get('receivers')} {running.stderr[-1500:]}")
        status = running.ask()
        assert status["receivers"][0]["level"] == "refused"
        assert "utc-parameters" in {row["alert"] for row in status["firing"]["conditions"] if row["subjects"]}
        assert any(alert["alert"] == "utc-parameters" for alert in status["alerts"])
