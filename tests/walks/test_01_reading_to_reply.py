"""The first walk is real: one live epoch and one NTP question pass the named functions, in the order of the page.

A laboratory is opened as `up` opens it, its feed, its process and its door run here in one thread, and every call is
noted. The numerical kernels are not named on the page: as machine code they make no call that can be noted.
"""

import queue
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from tests.walks.tracing import PACKAGE, ROOT, Trace, code_of, found, names_in

from truechimer.cli.lab_arguments import now_label
from truechimer.daemon.door.counters import Counters
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.lab_check import check_lab
from truechimer.daemon.lab_start import open_run
from truechimer.daemon.laboratory_process import Laboratory
from truechimer.daemon.ntp.ntp_loop import NtpLoop, UdpPort
from truechimer.daemon.page_file import PageReader
from truechimer.daemon.sources.feeds import Batch, SimulatedFeed
from truechimer.laboratory import line
from truechimer.laboratory.line import EpochOutcome
from truechimer.serve.clock_page import ServiceState
from truechimer.serve.ntp import NtpAnswer, make_request, read_reply

PAGE = "01-reading-to-reply.md"
LAB = """
[lab]
name = "walk"
seed = 5

[[source]]
name = "world"
kind = "simulated"
scenario = "small.toml"

[scale]
interval_s = 0.1

[steer]
decide_every_s = 0.1

[evidence]
publish = false

[policy]
insecure_software_keys = true
"""
LIVE_EPOCHS = 3

WALK = names_in(PAGE, "The walk")
NOW_AND_THEN = names_in(PAGE, "Only now and then")
OTHER_SOURCES = names_in(PAGE, "Other sources")


class OneBatch(queue.Queue[Batch]):
    """A queue that lets the feed go home after one batch."""

    feed: SimulatedFeed

    def put(self, item: Batch, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self.feed.stop()


@dataclass
class Walked:
    """What went by: the calls, what the epoch gave, and what the client got."""

    trace: Trace
    outcome: EpochOutcome
    answer: NtpAnswer


def live_epoch(laboratory: Laboratory, clocks: HostClocks) -> EpochOutcome:
    """Let the simulated source be read once, and the laboratory take that in."""
    assert laboratory.started.world is not None
    source = next(one for one in laboratory.started.lab.sources if one.name == "world")
    out = OneBatch()
    out.feed = SimulatedFeed(source, laboratory.started.world, clocks, out, every_s=0.2)
    out.feed.follow()
    laboratory._queue.put(out.get())
    laboratory.run(for_s=10.0)
    assert laboratory.outcome is not None
    return laboratory.outcome


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walked]:
    folder = tmp_path_factory.mktemp("walk")
    scenario = (ROOT / "labs" / "scenarios" / "small.toml").read_text(encoding="utf-8")
    (folder / "small.toml").write_text(scenario.replace("days = 30.0", "days = 3.0"), encoding="utf-8")
    (folder / "LAB.toml").write_text(LAB, encoding="utf-8")
    clocks = HostClocks()
    checked = check_lab(folder / "LAB.toml", now=now_label())
    laboratory = Laboratory(open_run(checked, clocks), clocks)
    try:
        laboratory.catch_up()
        laboratory.open_doors()
        laboratory.observer = lambda _batch, _outcome: laboratory.ending.set()
        trace = Trace()
        for _ in range(LIVE_EPOCHS):
            laboratory.ending.clear()
            trace = Trace()
            with trace:
                outcome = live_epoch(laboratory, clocks)
        yield Walked(trace, outcome, ask(folder, trace))
    finally:
        laboratory.close()


def ask(folder: Path, trace: Trace) -> NtpAnswer:
    """Ask a door that reads the laboratory's page, and note its calls too."""
    pages, port = PageReader(folder / "run" / "clock.page"), UdpPort("127.0.0.1", 0)
    try:
        loop = NtpLoop(port, pages, clocks=HostClocks(), counters=Counters(), bound_limit_s=1e-3, precision_log2=-20)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5.0)
            client.sendto(make_request(7), ("127.0.0.1", port.port))
            with trace:
                assert loop.turn(1.0) == 1
            answer = read_reply(client.recv(2048), 7)
    finally:
        port.close()
        pages.close()
    assert isinstance(answer, NtpAnswer)
    return answer


@pytest.mark.parametrize("name", dict.fromkeys([*WALK, *NOW_AND_THEN, *OTHER_SOURCES]))
def test_a_named_function_exists(name: str) -> None:
    assert callable(found(name))


def test_the_page_names_a_walk() -> None:
    assert len(WALK) >= 50
    assert len(set(WALK)) == len(WALK), "a name stands twice"
    assert WALK.index("laboratory.line.step") < WALK.index("serve.ntp.server.respond")


def test_the_walk_was_a_whole_one(walked: Walked) -> None:
    outcome = walked.outcome
    assert outcome.service is ServiceState.STEERED
    assert outcome.step.due
    assert outcome.order is not None
    assert outcome.page is not None
    assert {record.kind for record in outcome.records} >= {
        "readings",
        "scale-step",
        "selection",
        "steer",
        "served-time",
    }
    assert walked.answer.doubt is None
    assert walked.answer.refid == outcome.page.refid


def test_one_reading_and_one_question_pass_the_named_functions_in_order(walked: Walked) -> None:
    walked.trace.must_pass(WALK)


def test_the_names_stand_in_the_order_of_their_first_calls(walked: Walked) -> None:
    """A loose order (each name *somewhere* after the one before) would pass where a function is called twice."""
    first = {name: walked.trace.place(code_of(name), -1) for name in WALK}
    late = [
        (before, name)
        for before, name in pairwise(WALK)
        if first[before] is None or first[name] is None or first[name] < first[before]  # type: ignore[operator]
    ]
    # UTC minus the scale is predicted inside `hear` as well, and called there first; a run begins by noting records
    assert late == [
        ("watch.integrity.check_sources", "steer.utc_prediction.ahead"),
        ("laboratory.records.sealed", "evidence.record.seal"),
    ]


def test_whatever_the_line_calls_stands_on_the_page(walked: Walked) -> None:
    named = {code_of(name) for name in (*WALK, *NOW_AND_THEN)}
    inside = {
        function.__code__
        for function in vars(line).values()
        if getattr(function, "__module__", "") == line.__name__ and hasattr(function, "__code__")
    }
    called = {code for code, caller in walked.trace.calls if caller in inside}
    rooms = {
        "register.py",
        "two_state.py",
        "steering_order.py",
        "utc_prediction.py",
    }  # values answering about themselves
    missing = sorted(
        f"{Path(code.co_filename).stem}.{code.co_qualname}"
        for code in called - named - inside
        if "<" not in code.co_qualname and not (Path(code.co_filename).name in rooms and "." in code.co_qualname)
    )
    assert not missing


def test_the_records_are_on_the_disk_before_the_page_is_written(walked: Walked) -> None:
    append = walked.trace.place(code_of("store.sqlite_records.SqliteRecords.append"), -1)
    write = walked.trace.place(code_of("serve.clock_page.write"), -1)
    assert append is not None
    assert write is not None
    assert append < write


def test_the_door_calls_nothing_of_the_line(walked: Walked) -> None:
    turn = walked.trace.place(code_of("daemon.ntp.ntp_loop.NtpLoop.turn"), -1)
    assert turn is not None
    rooms = {
        Path(code.co_filename).relative_to(ROOT / "src" / PACKAGE).parts[0]
        for code, _ in walked.trace.calls[turn:]
        if "<" not in code.co_filename
    }
    assert rooms <= {"daemon", "serve", "instants"}
