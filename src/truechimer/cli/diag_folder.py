"""The checks of `truechimer diag` that look into a laboratory's folder: its file, who may open what, the chain of its
records, the snapshot, the clock page, and the receiver of its alerts.

They need no running laboratory and change nothing. What they judge is what `up` would meet, or what it left behind.
"""

import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from truechimer.cli.diag_checks import Check, Outcome
from truechimer.cli.lab_arguments import now_label
from truechimer.cli.lab_words import age, long_span, plain
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.lab_check import CheckedLab, check_lab
from truechimer.daemon.lab.lab_rules import InsecureFlags
from truechimer.daemon.page_file import PageReader
from truechimer.errors import Rejected
from truechimer.formats.finding import Severity
from truechimer.serve.clock_page import ClockPage

LAB_FILE = "LAB.toml"
CHAIN_TAIL = 500
"""So many of the newest records are checked against each other; `evidence replay` checks all of them."""

SNAPSHOT_WARN_S = 600.0
"""A running laboratory keeps a snapshot a minute."""

CONNECT_WITHIN_S = 3.0
RECORDS = "records.sqlite3"
FACES_NOBODY = 0o077


def folder_checks(folder: Path, file: Path | None, *, status: dict[str, Any] | None) -> Iterator[Check]:
    """Look at the laboratory in `folder`; `file`: its file where it was named, `status`: what it says, None where it
    does not run.
    """
    checked, check = lab_file(folder, file, status=status)
    yield check
    partial = None if checked is None else checked.partial
    policy, evidence = ("policy", "evidence") if partial is None else (partial.policy.folder, partial.evidence.folder)
    yield permissions(folder, policy=folder / policy, evidence=folder / evidence)
    yield chain(folder / evidence / RECORDS)
    yield snapshot(folder, is_running=status is not None)
    yield clock_page(folder, status=status)
    if partial is not None and partial.notify.webhook is not None:
        yield webhook(partial.notify.webhook, status)


def lab_file(folder: Path, file: Path | None, *, status: dict[str, Any] | None) -> tuple[CheckedLab | None, Check]:
    """Judge the laboratory's file as `check` does; its own doors have its ports while it runs."""
    what, path = "laboratory's file", file or folder / LAB_FILE
    if file is None and not path.exists():
        return None, Check(
            Outcome.WARN, what, f"there is no {LAB_FILE} in {folder}", "name the file: truechimer diag --lab FILE.toml"
        )
    is_running = status is not None
    flags = InsecureFlags(mix_simulated=is_running, serve_simulated_time=is_running)  # it asked when it started
    try:
        observe = status is not None and status.get("observing") is True
        checked = check_lab(path, now=now_label(), flags=flags, observe=observe)
    except Rejected as error:
        return None, Check(Outcome.FAIL, what, plain(error), "see who owns it and who may read it")
    findings = [one for one in checked.findings if not (is_running and one.rule == "port-in-use")]
    faults = [one for one in findings if one.severity is Severity.ERROR]
    if faults:
        words = f"{path.name}: {len(faults)} faults; the first: {plain(faults[0].says)}"
        return checked, Check(Outcome.FAIL, what, words, f"the next start is refused: truechimer check {path}")
    if findings:
        words = f"{path.name}: {len(findings)} warnings; the first: {plain(findings[0].says)}"
        return checked, Check(Outcome.WARN, what, words, f"see truechimer check {path}")
    return checked, Check(Outcome.OK, what, f"{path.name} is good")


def permissions(folder: Path, *, policy: Path, evidence: Path) -> Check:
    """Look who may enter what decides about the time, and who may change what proves it."""
    keys = sorted(policy.glob("*.key")) if os.access(policy, os.R_OK) else []
    wrong = _open_to_others(evidence, allowed=0o055)
    for path in (folder / "run", policy, *keys, folder / "run" / "control.sock"):
        wrong += _open_to_others(path, allowed=0)
    what = "permissions"
    if wrong:
        first = wrong[0].split(" ", 1)[0]
        words = f"{'; '.join(wrong[:4])}{f'; and {len(wrong) - 4} more' if len(wrong) > 4 else ''}"
        return Check(Outcome.FAIL, what, words, f"chmod go-rwx {first}, and see who changed it: keys may be known")
    return Check(Outcome.OK, what, "nobody else may enter run/ and policy/, read a key, or change records")


def _open_to_others(path: Path, *, allowed: int) -> list[str]:
    """Return what is wrong with a path's owner and mode; nothing where it is not there. `allowed`: of others."""
    try:
        found = path.stat()
    except OSError:
        return []
    mode, shown = stat.S_IMODE(found.st_mode), f"{path.parent.name}/{path.name}"
    wrong = []
    if found.st_uid not in {os.geteuid(), 0, path.parent.stat().st_uid}:
        wrong.append(f"{shown} belongs to user {found.st_uid}")
    if mode & FACES_NOBODY & ~allowed:
        wrong.append(f"{shown} has mode {mode:04o}")
    return wrong


def chain(path: Path) -> Check:
    """Check the newest records against each other: each names the digest of the one before."""
    what = "records' chain"
    if not path.exists():
        return Check(Outcome.OK, what, "there are no records yet")
    from truechimer.evidence.record import Chain, read
    from truechimer.store.sqlite_records import SqliteRecords

    try:
        store = SqliteRecords(path, read_only=True)
    except (Rejected, OSError) as error:
        return Check(Outcome.FAIL, what, plain(error), "keep the file as it is, and see docs/guide/records.md")
    try:
        first = max(0, store.count() - CHAIN_TAIL)
        tail = list(store.read(first=first))
        place = Chain(first, _prev(tail[0])) if tail else Chain()
        for data in tail:
            _, place = read(data, place)
    except (Rejected, OSError) as error:
        return Check(
            Outcome.FAIL, what, plain(error), "records were changed or damaged: keep a copy, and ask `evidence replay`"
        )
    finally:
        store.close()
    size = sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))
    words = f"the newest {len(tail)} of {place.seq} follow each other"
    return Check(Outcome.OK, what, f"{words}; {size / 1e6:.1f} MB")


def _prev(data: bytes) -> str:
    """Return which record a record says that it follows: the first of the tail is taken at its word."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    return str(found.get("prev")) if isinstance(found, dict) else ""


def snapshot(folder: Path, *, is_running: bool) -> Check:
    """Look how old the state is from which the next start begins."""
    what = "snapshot"
    written = [
        path.stat().st_mtime for path in (folder / "run").glob("state.sqlite3*") if path.suffix != ".sqlite3-shm"
    ]
    if not written:
        do_next = "a first start makes one; without it a start repeats all records"
        return Check(Outcome.WARN if is_running else Outcome.OK, what, "there is none", do_next if is_running else "")
    old_s = time.time() - max(written)  # both of one clock, and no time that anybody is told
    words = f"written {long_span(old_s)} ago"
    if is_running and old_s > SNAPSHOT_WARN_S:
        return Check(
            Outcome.WARN, what, words, "see whether run/ can be written: the next start repeats all records since"
        )
    return Check(Outcome.OK, what, words)


def clock_page(folder: Path, *, status: dict[str, Any] | None) -> Check:
    """Look how old the page is that the doors read, and until when they may."""
    what, path = "clock page", folder / "run" / "clock.page"
    if status is not None and status.get("observing") is True:
        return Check(Outcome.OK, what, "none is written: the laboratory observes")
    if not path.exists():
        if status is None:
            return Check(Outcome.OK, what, "there is none yet")
        return Check(Outcome.FAIL, what, "there is none: doors have no time", "see whether run/ can be written")
    clocks, reader = HostClocks(), PageReader(path)
    try:
        page = reader.current()
    finally:
        reader.close()
    if not isinstance(page, ClockPage):
        outcome = Outcome.OK if status is None else Outcome.WARN
        return Check(outcome, what, f"holds no time ({page.value})", "the first epoch writes it" if status else "")
    if page.boot_id != clocks.boot_id():
        outcome = Outcome.OK if status is None else Outcome.FAIL
        return Check(outcome, what, "is of another boot", "the next epoch writes a new one" if status else "")
    raw_ns = clocks.raw_ns()
    old_s, left_s = (raw_ns - page.written_raw_ns) / 1e9, (page.valid_until_raw_ns - raw_ns) / 1e9
    words = f"written {age(old_s)}{'s' if old_s < 1024 else ''} ago"
    if left_s <= 0.0:
        outcome = Outcome.OK if status is None else Outcome.FAIL
        return Check(
            outcome, what, f"{words}, and too old: doors say unsynchronised", "see the state" if status else ""
        )
    words += f", doors may use it for {long_span(left_s)} more"
    if status is not None and left_s < old_s:
        return Check(Outcome.WARN, what, words, "the laboratory has stopped writing it: see store and state")
    return Check(Outcome.OK, what, words)


def webhook(address: str, status: dict[str, Any] | None) -> Check:
    """See whether the receiver of alerts can be reached, and what became of the last ones; it is sent nothing."""
    what, parts = "webhook", urlsplit(address)
    host = parts.hostname or ""
    notify = status.get("notify") if status is not None else None
    told = notify.get("webhook") if isinstance(notify, dict) else None
    if isinstance(told, dict) and told.get("says"):
        return Check(
            Outcome.WARN, what, f"{plain(host)}: {plain(told['says'])}", "alerts wait; see its log, or [notify]"
        )
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((host, port), timeout=CONNECT_WITHIN_S).close()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        return Check(Outcome.WARN, what, f"{plain(host)} cannot be reached: {plain(why)}", "alerts wait; see [notify]")
    if isinstance(told, dict) and told.get("dropped"):
        return Check(
            Outcome.WARN, what, f"{plain(told['dropped'])} alerts were dropped", "they stand in the records: `status`"
        )
    return Check(Outcome.OK, what, f"{plain(host)} port {port} can be reached")
