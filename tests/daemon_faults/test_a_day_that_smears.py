"""A laboratory over the day of a real leap second, from before noon to after the noon that follows, and its door that
smears: what a client hears each minute against the truth, and what the watch over sources would say of such a server.
"""

from collections import deque
from itertools import pairwise
from pathlib import Path

import pytest
from tests.daemon_faults import laboratories
from tests.daemon_faults.laboratories import NS, Machine, Run, write_lab

from truechimer.daemon.door.counters import Counters
from truechimer.daemon.door.door_rules import DoorRules, Gatekeeper
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp.ntp_loop import NtpLoop, Received
from truechimer.daemon.page_file import PageReader
from truechimer.instants import FS_PER_S, Instant
from truechimer.instants.leap_table_builtin import TABLE
from truechimer.serve.ntp import NtpAnswer, make_request, read_reply
from truechimer.watch.smear import OffsetSample, smear_of

LEAP_DAY_UNIX_S = 1_483_228_800
"""2017-01-01T00:00:00Z: before it UTC was 36 s behind TAI, from it on 37 s."""
NTP_MINUS_UNIX_S = 2_208_988_800
HALF_DAY_S = 43_200
EVERY_S = 60.0


class Line:
    """A door's port that holds one question, and the answer to it."""

    def __init__(self) -> None:
        self.questions: deque[Received] = deque()
        self.answer = b""

    def wait(self, _timeout_s: float) -> bool:
        return bool(self.questions)

    def receive(self) -> Received | None:
        return self.questions.popleft() if self.questions else None

    def send(self, octets: bytes, *, to: Received) -> None:
        del to
        self.answer = octets


class Asked:
    """A door of the laboratory in this process, by these rules."""

    def __init__(self, run: Run, rules: DoorRules) -> None:
        self.line, self.number = Line(), 0
        self.loop = NtpLoop(
            self.line,
            PageReader(run.folder / "run" / "clock.page"),
            clocks=run.machine.clocks,
            counters=Counters(),
            bound_limit_s=1.0,
            precision_log2=-23,
            gate=Gatekeeper(rules, secret=bytes(256)),
        )

    def answer(self) -> NtpAnswer:
        self.number += 1
        self.line.questions.append(Received(make_request(self.number), ("127.0.0.1", 4711), None))
        while not self.loop.turn(0.0):
            pass
        found = read_reply(self.line.answer, self.number)
        assert isinstance(found, NtpAnswer)
        return found


@pytest.mark.acceptance
def test_a_whole_smear_is_a_line_from_noon_to_noon_and_is_found_out_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begins_s = LEAP_DAY_UNIX_S - HALF_DAY_S - 1800
    machine = Machine()
    machine.clocks = HostClocks(
        raw_ns=lambda: machine.raw_ns, realtime_ns=lambda: begins_s * NS + machine.raw_ns - 5_000 * NS
    )
    monkeypatch.setattr(laboratories, "now_label", lambda: Instant.from_tai_ns((begins_s + 36) * NS))
    write_lab(tmp_path)
    run = Run.begin(tmp_path, machine).epochs(5)
    world = run.laboratory.started.world
    assert world is not None
    smearing, plain = Asked(run, DoorRules(smear="linear-24h")), Asked(run, DoorRules())
    leap_tai_s = LEAP_DAY_UNIX_S + 37
    heard: list[tuple[float, float]] = []
    samples, worst_s = [], 0.0
    while machine.raw_ns < (5_000 + 2 * HALF_DAY_S + 3600) * NS:
        run.epoch(after_s=EVERY_S)
        true_s = world.true_tai_fs(machine.raw_ns) / FS_PER_S
        after_s = true_s - leap_tai_s
        found, other = smearing.answer(), plain.answer()
        assert found.doubt is None
        assert found.leap == 0, "a client that steps as well would be a second off"
        assert other.leap == (1 if -86_401 <= after_s < 0 else 0)
        done = min(max((after_s + HALF_DAY_S + 1) / (2 * HALF_DAY_S + 1), 0.0), 1.0)
        served_fs = (found.transmit * FS_PER_S >> 32) - (NTP_MINUS_UNIX_S - 36) * FS_PER_S
        worst_s = max(worst_s, abs(served_fs - world.true_tai_fs(machine.raw_ns) + round(done * FS_PER_S)) / FS_PER_S)
        served_s = served_fs / FS_PER_S
        heard.append((after_s, served_s))
        plain_s = (other.transmit - ((NTP_MINUS_UNIX_S - 36) << 32)) / 2**32
        minus_utc_s = served_s - (true_s - (after_s >= 0.0))
        assert abs(served_s - plain_s) < 0.501 + 1e-6
        if abs(minus_utc_s) > 1e-3:
            assert found.root_dispersion_s >= abs(minus_utc_s), "the distance from UTC is in the bound"
        samples.append(OffsetSample(after_s, minus_utc_s, 1e-4))
    rates = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(heard)]
    shape = smear_of(samples, step_s=1)
    with capsys.disabled():
        print(
            f"\n  {len(heard)} minutes: at most {worst_s:.1e} s off the line; rate 1 - {1 - max(rates):.3e} to "
            f"1 - {1 - min(rates):.3e}; the watch says: {None if shape is None else shape.name}",
            end="",
        )
    assert worst_s < 1e-6
    assert heard[0][0] < -HALF_DAY_S - 1
    assert heard[-1][0] > HALF_DAY_S
    assert 1.0 - 1.0 / 86_401 - 1e-7 < min(rates) <= max(rates) < 1.0 + 1e-7, "no step, and never faster than that"
    assert shape is not None
    assert "noon to noon" in shape.name
    assert TABLE.entries[-1].tai_minus_utc_s == 37
    run.close()
