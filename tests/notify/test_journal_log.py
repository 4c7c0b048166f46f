"""Lines for operators: entries of the journal, text, JSON; full pipes and busy journals cost lines, never time."""

import io
import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis.strategies as st
import pytest
from hypothesis import given
from tests.waits import PATIENCE_S

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.daemon import journal_log, notify
from truechimer.daemon.journal_log import CUT, MOST_LINE_BYTES, MOST_VALUE_BYTES, Entry, Log, LogForm, Priority

ALERT = Alert(
    AlertKind.CLOCK_STEP,
    "scale",
    "caesium2",
    AlertSeverity.CRITICAL,
    "caesium2 stepped by +2.0e-08 s; out of the scale",
    ("residual 2e-08 s",),
    1_800_000_000_000_000_000,
    "find out what moved the clock's output",
)
ENTRY = Entry("CRITICAL clock-step a: b; c", Priority.CRITICAL, "a: b", "clock-step", {"subject": "a", "record_seq": 7})


def fields_of(octets: bytes) -> list[tuple[str, str]]:
    """Read an entry in the native protocol, as journald does."""
    found = []
    while octets:
        line, _, rest = octets.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
        else:
            name = line
            (length,) = struct.unpack_from("<Q", rest)
            value, end = rest[8 : 8 + length], rest[8 + length : 9 + length]
            assert end == b"\n"
            rest = rest[9 + length :]
        found.append((name.decode("ascii"), value.decode("utf-8")))
        octets = rest
    return found


class FakeJournal:
    """A datagram socket, and a standard error that leads to it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "socket"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(PATIENCE_S)
        self.stderr, self.stream = os.pipe()
        found = os.fstat(self.stream)
        self.name = f"{found.st_dev}:{found.st_ino}"

    def next(self) -> dict[str, str]:
        pairs = fields_of(self.socket.recv(1 << 20))
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    def lines(self) -> bytes:
        """What came on standard error so far."""
        return os.read(self.stderr, 65_536) if select.select([self.stderr], [], [], 0)[0] else b""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[FakeJournal]:
    fake = FakeJournal(tmp_path)
    yield fake
    fake.socket.close()
    os.close(fake.stderr)
    os.close(fake.stream)


@contextmanager
def a_log(form: LogForm, fake: FakeJournal, *, stream: str | None = None, stderr: Any = "the fake's") -> Iterator[Log]:
    """Give a log, with this standard error (by default the one of the fake)."""
    log = Log(form, journal=fake.path, stream=fake.name if stream is None else stream)
    with (
        os.fdopen(fake.stream, "w", closefd=False) as own,
        mock.patch.object(sys, "stderr", own if stderr == "the fake's" else stderr),
        mock.patch.object(notify, "_mouth", notify.Mouth(log)),
    ):
        yield log
    log.close()


def test_an_alert_is_an_entry_with_every_field(journal: FakeJournal) -> None:
    with a_log(LogForm.AUTO, journal):
        notify.say(ALERT, 42)
        found = journal.next()
        document = notify.document()
    assert found == {
        "MESSAGE": ALERT.says,
        "PRIORITY": "2",
        "SYSLOG_IDENTIFIER": "truechimer",
        "MESSAGE_ID": journal_log.message_id("clock-step"),
        "TRUECHIMER_KIND": "clock-step",
        "TRUECHIMER_SUBJECT": "caesium2",
        "TRUECHIMER_COMPONENT": "scale",
        "TRUECHIMER_SEVERITY": "critical",
        "TRUECHIMER_DO_NEXT": ALERT.do_next,
        "TRUECHIMER_EPOCH_TAI_NS": str(ALERT.seen_at_tai_ns),
        "TRUECHIMER_RECORD_SEQ": "42",
    }
    assert journal.lines() == b""  # it is said once
    assert document["said"] == [{"alert": "clock-step", "severity": "critical", "count": 1}]
    assert document["log"]["journal"] == {"written": 1, "failed": 0}


def test_an_alert_without_a_record_has_no_number(journal: FakeJournal) -> None:
    with a_log(LogForm.AUTO, journal):
        notify.say(ALERT)
        assert "TRUECHIMER_RECORD_SEQ" not in journal.next()


def test_the_id_of_a_kind_never_changes_and_is_no_other_kinds() -> None:
    assert journal_log.message_id("clock-step") == "aca3ca1c069347db877cf616f69583a6"
    assert len({journal_log.message_id(kind) for kind in AlertKind}) == len(AlertKind)


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_can_make_a_field_of_its_own(line: str, subject: str) -> None:
    entry = Entry(line, Priority.INFO, line, "", {"subject": subject})
    found = fields_of(journal_log.datagram(entry))
    assert [name for name, _ in found] == ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "TRUECHIMER_SUBJECT"]
    assert found[3][1] == subject.encode("utf-8", "replace").decode()


def test_a_value_that_is_too_long_is_cut_between_letters_and_says_so() -> None:
    found = dict(fields_of(journal_log.datagram(Entry("é" * MOST_VALUE_BYTES, Priority.INFO))))
    assert len(found["MESSAGE"].encode()) <= MOST_VALUE_BYTES
    assert found["MESSAGE"].endswith(f"é{CUT}")


def test_where_standard_error_leads_elsewhere_nothing_goes_to_the_journal(journal: FakeJournal) -> None:
    for stream in ("", "1:2", "x", ":", journal.name + "0"):
        with a_log(LogForm.AUTO, journal, stream=stream) as log:
            log.say(ENTRY)
            assert journal.lines() == ENTRY.line.encode() + b"\n"
            assert log.counts["stderr"]["written"] == 1


def test_text_and_json_stay_so_even_under_the_journal(journal: FakeJournal) -> None:
    with a_log(LogForm.TEXT, journal) as log:
        log.say(ENTRY)
        assert journal.lines() == ENTRY.line.encode() + b"\n"
    with a_log(LogForm.JSON, journal) as log:
        log.say(ENTRY)
        log.say(Entry("two\nlines", Priority.INFO))
        first, second = journal.lines().decode().splitlines()
    assert json.loads(first) == {
        "severity": "critical", "kind": "clock-step", "says": "a: b", "subject": "a", "record_seq": 7,
    }  # fmt: skip
    assert json.loads(second) == {"severity": "info", "says": "two\nlines"}


@given(st.text(), st.integers(min_value=0, max_value=20_000))
def test_a_json_line_is_one_line_of_json_that_fits_into_a_pipe(letters: str, times: int) -> None:
    long = letters * (times // max(len(letters), 1))
    text = journal_log.json_line(Entry(long, Priority.INFO, long, "k", {"subject": long, "do_next": long}))
    assert "\n" not in text
    assert len(text.encode()) < MOST_LINE_BYTES
    assert json.loads(text)["kind"] == "k"


def test_a_journal_that_is_away_costs_nothing_but_its_fields(journal: FakeJournal) -> None:
    journal.path.unlink()
    with a_log(LogForm.AUTO, journal) as log:
        log.say(ENTRY)
        log.say(Entry("one\ntwo", Priority.ERROR))
        assert journal.lines() == b"<2>" + ENTRY.line.encode() + b"\n<3>one | two\n"
        assert log.counts == {"journal": {"written": 0, "failed": 2}, "stderr": {"written": 2, "failed": 0}}


def test_a_journal_that_is_busy_is_not_waited_for(journal: FakeJournal) -> None:
    with a_log(LogForm.AUTO, journal) as log:
        begun = time.monotonic()
        while log.counts["journal"]["failed"] < 3:
            log.say(ENTRY)
            assert time.monotonic() - begun < PATIENCE_S
        written = log.counts["journal"]["written"]
        assert journal.lines().count(b"<2>CRITICAL") == 3
        for _ in range(written):
            journal.next()
        log.say(ENTRY)
        assert log.counts["journal"]["written"] == written + 1


def test_a_pipe_that_nobody_reads_is_not_waited_for_and_lines_are_counted(journal: FakeJournal) -> None:
    with a_log(LogForm.TEXT, journal) as log:
        begun = time.monotonic()
        while log.counts["stderr"]["failed"] < 100:
            log.say(Entry("x" * 1000, Priority.INFO))
            assert time.monotonic() - begun < PATIENCE_S
        assert os.get_blocking(journal.stream)  # the flag that other processes share is as it was
        got = journal.lines()
        assert set(got.split(b"\n")) == {b"x" * 1000, b""}  # whole lines, none cut in two
        log.say(Entry("after", Priority.INFO))
        assert log.counts["stderr"]["written"] > 60


def test_a_socket_that_nobody_reads_is_not_waited_for(journal: FakeJournal) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs, ours.makefile("w") as stream, a_log(LogForm.AUTO, journal, stderr=stream) as log:
        begun = time.monotonic()
        while not log.counts["stderr"]["failed"]:
            log.say(Entry("x" * 1000, Priority.INFO))
            assert time.monotonic() - begun < PATIENCE_S
        assert ours.getblocking()
        assert theirs.recv(1001) == b"x" * 1000 + b"\n"


def test_a_terminal_that_is_stopped_is_not_waited_for(journal: FakeJournal) -> None:
    theirs, ours = os.openpty()
    try:
        with os.fdopen(ours, "w", closefd=False) as stream:
            os.write(theirs, b"\x13")  # Ctrl-S
            time.sleep(0.05)
            with a_log(LogForm.AUTO, journal, stderr=stream) as log:
                log.say(ENTRY)  # who waited for the terminal would not come back
                assert log.counts["stderr"]["failed"] == 1
                os.write(theirs, b"\x11")  # Ctrl-Q
                end = time.monotonic() + PATIENCE_S
                while not log.counts["stderr"]["written"] and time.monotonic() < end:
                    log.say(ENTRY)
                assert log.counts["stderr"]["written"]
    finally:
        os.close(theirs)
        os.close(ours)


@pytest.mark.parametrize("broken", ["closed", "none", "reader gone"])
def test_a_standard_error_that_is_gone_costs_lines_only(journal: FakeJournal, broken: str) -> None:
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w")
    os.close(reader)
    if broken == "closed":
        stream.close()
    with a_log(LogForm.TEXT, journal, stderr=None if broken == "none" else stream) as log:
        log.say(ENTRY)
        assert log.counts["stderr"] == {"written": 0, "failed": 1}
    stream.close()


def test_an_object_in_the_place_of_standard_error_is_written_to(journal: FakeJournal) -> None:
    kept = io.StringIO()
    with a_log(LogForm.AUTO, journal, stderr=kept) as log:
        log.say(ENTRY)
    assert kept.getvalue() == ENTRY.line + "\n"


def test_a_hostile_name_moves_no_terminal_and_fakes_no_line(journal: FakeJournal) -> None:
    hostile = Alert(
        AlertKind.READING_REJECTED, "daemon", "a\x1b[2J", AlertSeverity.NOTICE, "b\nCRITICAL fake", (), 1, "c\r\u202e"
    )
    with a_log(LogForm.TEXT, journal):
        notify.say(hostile)
        assert journal.lines() == b"NOTICE reading-rejected a?[2J: b?CRITICAL fake; c??\n"


def test_a_fault_is_said_with_its_end_and_what_went_wrong(journal: FakeJournal) -> None:
    def deep(left: int) -> None:
        if not left:
            raise ValueError("what went wrong " + "y" * 3000)
        deep(left - 1)

    with a_log(LogForm.AUTO, journal):
        try:
            deep(50)
        except ValueError:
            notify.say_fault()
        found = journal.next()
    assert found["PRIORITY"] == "3"
    assert found["MESSAGE"].endswith("y" * 3000)
    assert len(found["MESSAGE"]) < MOST_LINE_BYTES
