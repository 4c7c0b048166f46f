"""No index of the compiled NTP loop leaves its room, whatever came: watched octet by octet in the plain form, with
bounds checks in machine code, with guard pages around the memory that system calls are given.
"""

import json
import os
import random
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest
from tests.adversarial.ntp.loop_memory import (
    REALTIME_NS,
    RULES,
    Datagram,
    a_loop,
    a_message,
    batches,
    controls,
    datagrams,
    lay,
    read_by_hand,
    stamp,
)

from truechimer.daemon.door import counters as names
from truechimer.daemon.ntp import control_messages, departure_kernel, ntp_batch, ntp_layout
from truechimer.daemon.ntp.control_messages import FOUND_WORDS, HARDWARE, NO_STAMP, PACKET_INFO, STAMP
from truechimer.serve.ntp import packet_kernel
from truechimer.serve.ntp.packet_kernel import ANSWER
from truechimer.serve.ntp.reply import IgnoreReason

ROOT = Path(__file__).parents[3]
SEED = 20_261_123


def plain(marked: Any, known: dict[int, Any] | None = None) -> Callable[..., Any]:
    """Return a kernel as plain Python, with all kernels that it calls."""
    known = {} if known is None else known
    function = getattr(marked, "py_func", marked)
    if id(function) not in known:
        names = dict(function.__globals__)
        known[id(function)] = FunctionType(function.__code__, names, function.__name__)
        names.update({name: plain(one, known) for name, one in names.items() if hasattr(one, "py_func")})
    copied: Callable[..., Any] = known[id(function)]
    return copied


class Watched:
    """An array that takes no index below zero, and asks `may(place, is_write)` where one is given."""

    def __init__(self, array: Any, name: str, may: Callable[[tuple[int, ...], bool], bool] | None = None) -> None:
        self.array, self.name, self.may, self.shape = array, name, may, array.shape

    def __len__(self) -> int:
        return len(self.array)

    def at(self, place: Any, *, is_write: bool) -> tuple[int, ...]:
        places = tuple(int(one) for one in place) if isinstance(place, tuple) else (int(place),)
        if any(not 0 <= one < room for one, room in zip(places, self.array.shape, strict=False)):
            raise AssertionError(f"{self.name}[{places}] of {self.array.shape}")
        if self.may is not None and len(places) == len(self.shape) and not self.may(places, is_write):
            raise AssertionError(f"{self.name}[{places}] must not be {'written' if is_write else 'read'}")
        return places

    def __getitem__(self, place: Any) -> Any:
        places = self.at(place, is_write=False)
        if len(places) == len(self.shape):
            return self.array[places].item()  # NumPy's octets would overflow where machine code's do not
        row, may = places[0], self.may
        inner = None if may is None else lambda rest, is_write: may((row, *rest), is_write)
        return Watched(self.array[row], f"{self.name}[{row}]", inner)

    def __setitem__(self, place: Any, value: Any) -> None:
        self.array[self.at(place, is_write=True)] = value


def watched(loop: Any, batch: list[Datagram]) -> tuple[Any, Any, Any]:
    """Return a loop's memory, rules and counters with the law of `packet_kernel` and `control_messages` on them: no
    octet is read at or beyond a datagram's length, no word of a control message beyond what was given, nothing is
    written at or beyond octet 48.
    """
    memory = loop.memory
    lengths = [min(len(one.octets), ntp_layout.DATAGRAM_ROOM) for one in batch]
    given = [-(-min(max(one.said, 0), ntp_layout.CONTROL_ROOM) // 8) for one in batch]
    laws: dict[str, Callable[[tuple[int, ...], bool], bool]] = {
        "octets": lambda at, is_write: not is_write and at[1] < lengths[at[0]],
        "words": lambda at, is_write: 4 * at[1] + 4 <= (min(48, lengths[at[0]]) if is_write else lengths[at[0]]),
        "control": lambda at, is_write: not is_write and at[1] < given[at[0]],
        "peers": lambda at, is_write: not is_write and at[1] < ntp_layout.PEER_ROOM,
        "addresses": lambda _, is_write: not is_write,
    }
    held = {name: Watched(getattr(memory, name), name, laws.get(name)) for name in memory._fields}
    ruled = {name: Watched(getattr(loop._rules, name), name) for name in loop._rules._fields}
    return memory._replace(**held), loop._rules._replace(**ruled), Watched(loop._counts, "counts")


def judge_all(loop: Any, judge: Callable[..., None], of: Any, *, watch: bool) -> dict[str, int]:
    """Judge datagrams and hold what is answered against what may be; return how many were answered, left to Python, or
    refused for which reason.
    """
    seen = {"answered": 0, "left to Python": 0}
    now_ns = loop._clocks.raw_ns()
    line, line_rate = loop._line
    for batch in batches(of):
        lay(loop.memory, batch, now_ns=now_ns)
        before = loop.memory.octets.copy()
        memory, rules, counts = watched(loop, batch) if watch else (loop.memory, loop._rules, loop._counts)
        lines = (Watched(line, "line"), Watched(line_rate, "rate")) if watch else (line, line_rate)
        with np.errstate(all="ignore"):
            judge(memory, rules, *lines, 0.0, counts)
        for i, one in enumerate(batch):
            verdict = int(loop.memory.verdicts[i])
            seen["answered"] += verdict == ANSWER
            seen["left to Python"] += verdict == packet_kernel.TO_PYTHON
            if verdict == ANSWER:  # an answer has 48 octets: never more than its request
                assert len(one.octets) >= ntp_layout.ANSWER_OCTETS == loop.memory.vectors_out[i, 1]
                assert one.octets[0] & 7 == 3
                assert loop.memory.octets[i, 0] & 7 == 4
                assert (loop.memory.octets[i, 48:] == before[i, 48:]).all()
            else:
                assert (loop.memory.octets[i] == before[i]).all()
            assert loop.memory.outbound[i, ntp_layout.CONTROL_LENGTH] <= ntp_layout.OUT_CONTROL_ROOM
    return seen | {name: loop._counters[name] for name in names.NAMES if name.startswith("ignored_")}


@pytest.mark.parametrize("every", [pytest.param(12, id="core"), pytest.param(1, marks=pytest.mark.acceptance)])
@pytest.mark.parametrize("rules", RULES)
def test_no_octet_is_read_beyond_what_came_nor_written_beyond_an_answer(tmp_path: Path, rules: str, every: int) -> None:
    loop = a_loop(tmp_path, RULES[rules])
    try:
        seen = judge_all(loop, plain(ntp_batch.judge), datagrams(random.Random(SEED), every=every), watch=True)
    finally:
        loop._udp.close()
    for reason in packet_kernel.REASONS:
        by_rules = reason in {IgnoreReason.NOT_ALLOWED, IgnoreReason.RATE_LIMITED}
        assert (seen[names.IGNORE_COUNTERS[reason]] > 0) == (not by_rules or rules == "rated, listed"), (reason, seen)
    assert seen["answered"] > 30
    assert (seen["left to Python"] > 10) == (rules == "version 5 too")


def test_the_watch_sees_what_it_is_there_for() -> None:
    array = Watched(np.arange(12).reshape(3, 4), "a", lambda at, is_write: not is_write and at[1] < 2)
    assert array[2, 1] == 9
    assert array[2][1] == 9
    for place in ((2, 2), (2, -1), (3, 0)):
        with pytest.raises(AssertionError):
            array[place]
    with pytest.raises(AssertionError):
        array[2][3]
    with pytest.raises(AssertionError):
        array[2, 1] = 5


def test_control_messages_are_read_as_an_independent_walk_reads_them() -> None:
    read, found = plain(control_messages.read_control), np.zeros(FOUND_WORDS, dtype=np.int64)
    control = np.zeros((1, ntp_layout.CONTROL_ROOM // 8), dtype=np.int64)
    seen = set()
    for octets, said, _ in controls(random.Random(SEED)):
        padded = octets[: ntp_layout.CONTROL_ROOM].ljust(ntp_layout.CONTROL_ROOM, b"\0")
        control[0] = np.frombuffer(padded, dtype=np.int64)
        read(Watched(control, "control"), 0, said, found)
        software, hardware, info = read_by_hand(padded, said)
        expected = (NO_STAMP if one is None else one for one in (software, hardware))
        assert [int(found[STAMP]), int(found[HARDWARE])] == list(expected), (octets.hex(), said)
        assert int(found[PACKET_INFO]) == (-1 if info is None else info // 8), (octets.hex(), said)
        seen.add((software is None, hardware is None, info is None))
    assert len(seen) >= 5


def test_what_the_kernel_hands_back_is_read_within_what_came(tmp_path: Path) -> None:
    loop, draw, noted = a_loop(tmp_path, RULES["everybody"]), random.Random(SEED), 0
    memory, now_ns = loop.memory, loop._clocks.raw_ns()
    lay(memory, [], now_ns=now_ns)
    memory.state[ntp_layout.ASKED_SINCE_RAW] = now_ns - 10**6
    memory.watch[:2] = 1, 2
    for place, ago_ns in enumerate((2 * 10**6, 0)):
        memory.pairs[place] = now_ns - ago_ns, REALTIME_NS - ago_ns, 10
    port, room = int(memory.settings[ntp_layout.OWN_PORT]), ntp_layout.DEPARTED_ROOM
    sent = a_message(1, 37, stamp() + bytes(32)) + a_message(0, 11, struct.pack("=IBBBBII", 42, 4, 0, 0, 0, 0, 0))
    waiting = [(sent, len(sent), 0)] * 400 + list(controls(draw))
    draw.shuffle(waiting)
    note = plain(departure_kernel.note_departures)
    for number, (control, said, flags) in enumerate(waiting):
        length = draw.choice([number % (room + 1), 76, 90])
        octets = bytearray(draw.randbytes(length))
        answer = length - 56 - 4 * draw.randrange(3)  # a right UDP header before an answer, or before less than one
        if answer >= 0:
            octets[answer : answer + 8] = struct.pack(">HHHH", port, 4000, length - answer, 0)
            octets[answer + 8 : answer + 9] = b"\x24"
            key = int.from_bytes(octets[answer + 40 : answer + 48], "big") & (1 << 63) - 1
            loop._gate.offers.saved.save(key, 1, now_ns)
        memory.departed[0] = 0xA5
        memory.departed[0, :length] = np.frombuffer(bytes(octets[:length]), dtype=np.uint8)
        words = control[: ntp_layout.DEPARTED_CONTROL_ROOM].ljust(ntp_layout.DEPARTED_CONTROL_ROOM, b"\0")
        memory.departed_control[0] = np.frombuffer(words, dtype=np.int64)
        memory.departed_in[0, [ntp_layout.RECEIVED, ntp_layout.CONTROL_LENGTH, ntp_layout.FLAGS]] = length, said, flags
        given = -(-min(max(said, 0), ntp_layout.DEPARTED_CONTROL_ROOM) // 8)
        seen, rules, counts = watched(loop, [])
        seen = seen._replace(
            departed=Watched(
                memory.departed, "departed", lambda at, is_write, end=length: not is_write and at[1] < end
            ),
            departed_control=Watched(
                memory.departed_control, "control", lambda at, is_write, end=given: not is_write and at[1] < end
            ),
        )
        before = loop._counts.copy()
        note(seen, rules, 0.0, now_ns, 1, counts)
        noted += int((loop._counts != before).any())
    loop._udp.close()
    assert noted > 100


def run(module: str, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    paths = {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        check=False,
        env=os.environ | paths | environment,
    )


@pytest.mark.slow
def test_machine_code_with_bounds_checks_finds_no_index_outside(tmp_path: Path) -> None:
    ran = run("tests.adversarial.ntp.checked", str(tmp_path), "25", NUMBA_BOUNDSCHECK="1")
    assert ran.returncode == 0, ran.stderr[-3000:]
    says = json.loads(ran.stdout)
    assert says["an index outside is seen"]
    assert set(says["judged"]) == set(RULES)
    assert all(sum(each.values()) > 500 for each in says["judged"].values())


@pytest.mark.acceptance
def test_machine_code_with_bounds_checks_finds_no_index_outside_at_any_length(tmp_path: Path) -> None:
    ran = run("tests.adversarial.ntp.checked", str(tmp_path), "1", NUMBA_BOUNDSCHECK="1")
    assert ran.returncode == 0, ran.stderr[-3000:]


@pytest.mark.slow
def test_between_guard_pages_nothing_is_touched_and_what_would_touch_them_is_seen(tmp_path: Path) -> None:
    ran = run("tests.adversarial.ntp.guarded", str(tmp_path))
    assert ran.returncode == 0, ran.stderr[-3000:]
    says = json.loads(ran.stdout)
    for edge in ("before", "after"):
        lived = says[edge]
        assert lived["status"] == 0, lived
        assert lived["received"] == lived["sent"] > 1000
        assert lived["answered"] == lived["answers"] > 300
        assert lived["faults"] == lived["receive_failed"] == lived["send_failed"] == 0
        assert lived["between"] == "untouched"
        assert lived["departures"] > 5  # of interleaved answers, from the error queue
    assert says["an address too far, by this process"]["status"] == -11
    assert says["an address too early, by this process"]["status"] == -11
    beyond = says["a length too long, by the kernel"]
    assert (beyond["status"], beyond["received"], beyond["receive_failed"]) == (0, 1, 1)


RAW = re.compile(
    r"\bforeign\(|\.ctypes\b|\bimport ctypes\b|\bfrom ctypes\b|\b(?:addressof|from_address|memmove|string_at)\("
)


def test_raw_addresses_are_used_in_one_file_others_call_bpf_ask_interfaces_and_drop_rights() -> None:
    source = ROOT / "src" / "truechimer"
    texts = {path.name: path.read_text(encoding="utf-8") for path in source.rglob("*.py")}
    found = {name for name, text in texts.items() if ("ctypes" in text or "foreign" in text) and RAW.search(text)}
    # kernel: the word `foreign` is defined there
    assert found == {"ntp_memory.py", "bpf_calls.py", "stamping.py", "privileges.py", "kernel.py"}
    for name in ("ntp_memory.py", "bpf_calls.py", "stamping.py", "privileges.py"):
        (path,) = source.rglob(name)
        assert "Obligations of every raw address" in path.read_text(encoding="utf-8").split('"""')[1]
