"""Notify: the one mouth of the daemon, its doors and the console: alerts and plain lines, to standard error or the
journal, and alerts to a web server too where the laboratory's file says so.

It judges nothing, and what became of a message is no evidence: the alert's record is. The law of the file: whoever
speaks never waits, and nothing that happens to a message reaches the fold.
"""

import os
import threading
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

from truechimer.alerts import Alert, AlertSeverity
from truechimer.daemon.journal_log import Entry, Log, LogForm, Priority

PRIORITIES = {
    AlertSeverity.CRITICAL: Priority.CRITICAL,
    AlertSeverity.WARNING: Priority.WARNING,
    AlertSeverity.NOTICE: Priority.NOTICE,
}

MOST_FAULT_LETTERS = 3500
"""Of a fault's trace, which ends with what went wrong: it fits into one write to a pipe."""


class Outlet(Protocol):
    """Another way for alerts to leave."""

    def post(self, alert: Alert, record_seq: int | None) -> None:
        """Take an alert; never waits, never raises."""

    def document(self) -> dict[str, Any]:
        """Return what became of the alerts."""

    def close(self) -> None:
        """End; what cannot leave soon is dropped."""


@dataclass(slots=True)
class Mouth:
    """Where this process speaks, and what it has said."""

    log: Log = field(default_factory=lambda: Log(stream=os.environ.get("JOURNAL_STREAM")))
    outlet: Outlet | None = None
    said: Counter[tuple[str, str]] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


_mouth = Mouth()


def configure(form: LogForm, *, outlet: Outlet | None = None) -> None:
    """Speak in this form from now on, and through `outlet` too; what was said so far is forgotten."""
    global _mouth  # a process has one standard error, and so one mouth
    before, _mouth = _mouth, Mouth(Log(form, stream=os.environ.get("JOURNAL_STREAM")), outlet)
    _shut(before)


def close() -> None:
    """Let go of what `configure` brought, and speak as at first."""
    configure(LogForm.AUTO)


def _shut(mouth: Mouth) -> None:
    if mouth.outlet is not None:
        mouth.outlet.close()
    mouth.log.close()


def log_form() -> LogForm:
    """Return the form in which this process speaks, for the processes that it starts."""
    return _mouth.log.form


def say(alert: Alert, record_seq: int | None = None) -> None:
    """Say an alert; `record_seq`: the number of its record, None where it is not recorded (yet)."""
    mouth = _mouth
    with mouth.lock:
        mouth.said[alert.kind.value, alert.severity.value] += 1
    fields: dict[str, str | int] = {
        "subject": alert.subject,
        "component": alert.component,
        "do_next": alert.do_next,
        "epoch_tai_ns": alert.seen_at_tai_ns,
    }
    if record_seq is not None:
        fields["record_seq"] = record_seq
    line = f"{alert.severity.value.upper()} {alert.kind.value} {alert.subject}: {alert.says}; {alert.do_next}"
    line = "".join(letter if letter.isprintable() else "?" for letter in line)  # names may come from elsewhere
    message = alert.says if alert.says.startswith(alert.subject) else f"{alert.subject}: {alert.says}"
    mouth.log.say(Entry(line, PRIORITIES[alert.severity], message, alert.kind.value, fields))
    if mouth.outlet is not None:
        mouth.outlet.post(alert, record_seq)


def say_line(text: str, *, priority: Priority = Priority.INFO) -> None:
    """Say a plain line; where nobody can read it any more (a closed terminal), whoever speaks goes on."""
    _mouth.log.say(Entry(text, priority))


def say_fault() -> None:
    """Say the fault of this program that is being handled, with where it happened."""
    text = traceback.format_exc().rstrip("\n")
    where = text if len(text) <= MOST_FAULT_LETTERS else f"...{text[-MOST_FAULT_LETTERS:]}"
    say_line(where, priority=Priority.ERROR)


def document() -> dict[str, Any]:
    """Return what was said and what became of it, for `status`."""
    mouth = _mouth
    with mouth.lock:
        said = sorted(mouth.said.items())
    body: dict[str, Any] = {
        "said": [{"alert": kind, "severity": severity, "count": count} for (kind, severity), count in said],
        "log": mouth.log.document(),
    }
    if mouth.outlet is not None:
        body["webhook"] = mouth.outlet.document()
    return body
