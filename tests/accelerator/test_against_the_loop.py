"""The accelerator's program against the compiled loop beside it: the same datagrams, the same answers and refusals."""

import random
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.accelerator.frames import CLIENT_V4, CLIENT_V6, a_request, is_plain, udp_at, why_wrong
from tests.accelerator.kernel import Loaded, asleep_ns, loaded, mono_ns
from tests.adversarial.ntp.loop_memory import REALTIME_NS, Datagram, a_loop, a_message, datagrams, lay

from truechimer.daemon.door import counters as names
from truechimer.daemon.door.door_rules import DoorRules
from truechimer.daemon.ntp import bpf_calls, ntp_batch, ntp_layout
from truechimer.daemon.ntp.accelerator import access_of, rate_of
from truechimer.daemon.ntp.ntp_loop_compiled import CompiledNtpLoop
from truechimer.serve import ClockPage
from truechimer.serve.ntp import accelerator as shared
from truechimer.serve.ntp import packet_kernel
from truechimer.serve.ntp.accelerator import ACCELERATOR_LIMIT_S, Anchor, Count, Segment, segment
from truechimer.serve.ntp.accelerator_program import XDP_DROP, XDP_PASS, Offered
from truechimer.serve.ntp.rate_table import KISS_EVERY_NS
from truechimer.serve.ntp.reply import stamp_at

pytestmark = [pytest.mark.needs_netns, pytest.mark.slow]  # machine code is made, or read, once

VALID_NS = 2 * 10**9
"""Of a segment here; what it reckons with would pass 64 bits after 4 s."""
DISPERSION_UNITS = 1 + round(ACCELERATOR_LIMIT_S * 2**16) + 1
"""The accelerator's own limit is in its answers, rounded up, in 2^-16 s; the sockets' is smaller."""
HOSTS = [
    *(bytes([198, 51, 100, k]) for k in (7, 8, 9, 130)),
    *(bytes([203, 0, 113, k]) for k in (1, 2)),
    CLIENT_V4,
    CLIENT_V6,
    bytes.fromhex("20010db8000200000000000000000007"),
    bytes.fromhex("20010db8000300000000000000000009"),
]
RULES = {
    "everybody": DoorRules(rate_per_s=0.0),
    "denied in silence": DoorRules(rate_per_s=0.0, deny=("198.51.100.0/25", "2001:db8:2::/48")),
    "allowed": DoorRules(rate_per_s=0.0, allow=("198.51.100.0/24", "2001:db8::/32"), deny=("198.51.100.8/32",)),
    "denied and told": DoorRules(rate_per_s=0.0, deny=("198.51.100.0/25",), denied="kiss"),
    "rated": DoorRules(rate_per_s=1e-4, rate_burst=3, deny=("203.0.113.2/32",)),
    "version 5 too": DoorRules(rate_per_s=0.0, ntpv5=True),
}


@dataclass
class Both:
    """A compiled loop and a loaded program by the same rules on the same page."""

    loop: CompiledNtpLoop
    program: Loaded
    page: ClockPage
    made: Segment | None = None

    def line(self) -> Segment:
        """Return the segment in use, a new one each second."""
        if self.made is None or mono_ns() - self.made.mono_ns > VALID_NS // 2:
            anchor = Anchor(mono_ns(), self.loop._clocks.raw_ns(), 1.0, asleep_ns())
            made = segment(
                self.page,
                anchor,
                bound_limit_s=1e-3,
                boot_id=self.page.boot_id,
                simulated_allowed=True,
                precision_log2=-23,
                valid_ns=VALID_NS,
            )
            assert isinstance(made, Segment)
            self.program.use(made)
            self.made = made
        return self.made


@contextmanager
def both(folder: Path, rules: DoorRules) -> Iterator[Both]:
    """Give the two."""
    loop = a_loop(folder, rules, address="127.0.0.1")
    page = loop._page_file.current()
    assert isinstance(page, ClockPage)
    try:
        with loaded(rate=rate_of(rules), offers=Offered.VERSION_5_TOO if rules.ntpv5 else Offered.VERSION_4) as program:
            entries = access_of(rules, None)
            assert program.maps.access is not None
            for key, verdict in entries.items():
                bpf_calls.update(program.maps.access, key, struct.pack("=I", verdict))
            struct.pack_into("=I", program.area, shared.LISTED, bool(entries))
            yield Both(loop, program, page)
    finally:
        loop._udp.close()


def a_name(source: bytes, port: int) -> bytes:
    """Return a socket's name as the kernel writes it."""
    if len(source) == 4:
        return struct.pack("=H", 2) + struct.pack(">H", port) + source + bytes(8)
    return struct.pack("=H", 10) + struct.pack(">HI", port, 0) + source + bytes(4)


def judged(loop: CompiledNtpLoop, octets: bytes, source: bytes, port: int) -> tuple[int, bytes, set[str], bool]:
    """Let the compiled loop judge one datagram: its verdict, the answer without its transmit stamp, the counters that
    moved, and whether the source's account did.
    """
    memory = loop.memory
    before, accounts = list(loop._counters.values), loop._rules.full_at_ns.copy()
    stamp = a_message(1, 35, struct.pack("=qq", *divmod(REALTIME_NS - 900, 10**9)))
    lay(memory, [Datagram(octets, a_name(source, port), stamp, len(stamp), 0)], now_ns=loop._clocks.raw_ns())
    ntp_batch.judge(memory, loop._rules, *loop._line, 0.0, loop._counts)
    moved = {name for name, one, two in zip(names.NAMES, before, loop._counters.values, strict=True) if one != two}
    return (
        int(memory.verdicts[0]),
        memory.octets[0, :48].tobytes(),
        moved,
        bool((accounts != loop._rules.full_at_ns).any()),
    )


def asked(draw: random.Random) -> Iterator[bytes]:
    """Give what may follow a UDP header: requests of all kinds, plain ones with everything in them by chance."""
    for one in datagrams(draw, every=40):
        if len(one.octets) <= 1400:
            yield one.octets
    for _ in range(400):
        first = draw.choice([0x23, 0x1B, 0xE3, 0xDB, draw.randrange(256)])
        octets = bytes([first]) + draw.randbytes(23)
        yield octets + (bytes(16) if draw.randrange(3) else draw.randbytes(16)) + draw.randbytes(8)


def hold_against_each_other(kind: int, out: bytes, answer: bytes) -> None:
    """Hold the octets of two answers to one request against each other: all but the stamps, and the room for error."""
    ours, theirs = out[8:12], answer[8:12]
    more = int.from_bytes(ours, "big") - int.from_bytes(theirs, "big")
    assert (out[:8], out[12:16], out[24:32]) == (answer[:8], answer[12:16], answer[24:32]), (out.hex(), answer.hex())
    assert 0 <= more <= DISPERSION_UNITS
    if kind < ntp_layout.KISS_RATE_ROWS:
        assert out[16:24] == answer[16:24]


@pytest.mark.parametrize("name", RULES)
def test_what_the_program_answers_the_compiled_loop_answers_alike_and_what_it_refuses_that_refuses(
    tmp_path: Path, name: str
) -> None:
    rules, draw, seen = RULES[name], random.Random(name), Counter[str]()
    not_allowed, limited = (
        names.IGNORE_COUNTERS[packet_kernel.REASONS[place]]
        for place in (packet_kernel.NOT_ALLOWED, packet_kernel.RATE_LIMITED)
    )
    kissed: dict[bytes, int] = {}
    with both(tmp_path, rules) as pair:
        loop, program = pair.loop, pair.program
        for octets in asked(draw):
            made = pair.line()
            source, port = draw.choice(HOSTS), draw.choice([40_123, 123, 1])
            frame = a_request(octets, family=4 if len(source) == 4 else 6, source=source, source_port=port)
            counted, before = program.counts(), mono_ns()
            result = program.run(frame)
            after = mono_ns()
            more = {one for one, number in program.counts().items() if number != counted.get(one, 0)}
            verdict, answer, moved, account_moved = (
                (0, b"", set(), False) if result.verdict == XDP_PASS else judged(loop, octets, source, port)
            )
            if result.verdict == XDP_PASS:
                # what it passes on it leaves as it came; a plain request only where the rules want more than an answer
                assert result.frame == frame
                assert not is_plain(frame) or more <= {Count.PASSED_DENIED, Count.PASSED_OTHER}, (octets.hex(), more)
                seen["passed"] += 1
                if is_plain(frame):
                    verdict, answer, moved, _ = judged(loop, octets, source, port)
                    told = verdict == packet_kernel.ANSWER and answer[12:16] == b"DENY"
                    assert told if more == {Count.PASSED_DENIED} else verdict == packet_kernel.TO_PYTHON
                    seen["passed, plain"] += 1
                continue
            assert len(octets) == 48
            is_over = Count.RATE_LEAKED in more or bool(more & {Count.RATE_KISSED, Count.RATE_DROPPED})
            if rules.rate_per_s and Count.NOT_ALLOWED not in more:
                assert account_moved is not is_over, (more, moved)
            if result.verdict == XDP_DROP:
                # above the rate each draws its own lot, and says RATE once a second: in silence there, perhaps not here
                assert moved & {not_allowed, limited} or (is_over and verdict == packet_kernel.ANSWER), (
                    octets.hex(),
                    moved,
                )
                assert (Count.NOT_ALLOWED in more) == (not_allowed in moved)
                seen["dropped"] += 1
                continue
            assert why_wrong(frame, result.frame) == ""
            out = result.frame[udp_at(frame) + 8 :]
            receive, transmit = struct.unpack(">QQ", out[32:48])
            # a processor's lowest bits say who made it
            assert made.stamp_at(before) - 64 <= receive < transmit <= made.stamp_at(after) + 64
            if Count.RATE_KISSED in more:
                assert out[12:16] == b"RATE"
                assert before - kissed.get(source, -KISS_EVERY_NS) >= KISS_EVERY_NS
                kissed[source] = before
            if verdict == packet_kernel.ANSWER and (answer[12:16] == b"RATE") == (out[12:16] == b"RATE"):
                hold_against_each_other(int(loop.memory.rx_kind[0]), out, answer)
                raw = loop.memory.rx_raw[0]
                assert struct.unpack(">Q", answer[32:40])[0] == stamp_at(pair.page, int(raw))
                seen["kissed" if answer[12:16] == b"RATE" else "answered"] += 1
            else:
                assert is_over
                seen["over, each by its lot"] += 1
    wanted: dict[str, Any] = {"passed": 300, "answered": 20}
    wanted |= {"dropped": 20} if name in {"denied in silence", "allowed", "rated"} else {}
    wanted |= {"passed, plain": 1} if name in {"denied and told", "version 5 too"} else {}
    assert all(seen[one] >= least for one, least in wanted.items()), seen
