"""Record metrics: records, their store and their signed log; alerts, and how they reach people.

They measure nothing and keep no number of their own (`laboratory_metrics` says where the values stand).
"""

from collections.abc import Iterator, Mapping

from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.console.metric_samples import (
    Counters,
    Document,
    Family,
    Sample,
    label,
    number,
    one,
    one_hot,
)


def _firing(document: Document, _: Counters) -> Iterator[Sample]:
    """Give how many subjects each lasting condition has now, 0 for one that holds nowhere."""
    firing = document.get("firing")
    conditions = firing.get("conditions") if isinstance(firing, Mapping) else None
    for row in conditions if isinstance(conditions, list) else ():
        subjects = row.get("subjects") if isinstance(row, Mapping) else None
        if isinstance(subjects, list):
            yield (label(row.get("alert")), label(row.get("severity"))), float(len(subjects))


def _said(document: Document, _: Counters) -> Iterator[Sample]:
    notify = document.get("notify")
    said = notify.get("said") if isinstance(notify, Mapping) else None
    for row in said if isinstance(said, list) else ():
        count = number(row, "count") if isinstance(row, Mapping) else None
        if count is not None and row.get("alert") in set(AlertKind) and row.get("severity") in set(AlertSeverity):
            yield (label(row["alert"]), label(row["severity"])), count


def _not_said(document: Document, _: Counters) -> Iterator[Sample]:
    for way, path in (("journal", ("journal", "failed")), ("stderr", ("stderr", "failed"))):
        count = number(document, "notify", "log", *path)
        if count is not None:
            yield (way,), count


def _webhook(document: Document, _: Counters) -> Iterator[Sample]:
    for result in ("delivered", "refused", "dropped"):
        count = number(document, "notify", "webhook", result)
        if count is not None:
            yield (result,), count


STORE_STATES = ("written", "failing", "full")


def _store_state(document: Document, _: Counters) -> Iterator[Sample]:
    store = document.get("store")
    for word, value in one_hot(STORE_STATES, store.get("state") if isinstance(store, Mapping) else None):
        yield (word,), value


LOG_STATES = ("off", "starting", "published", "unpublished", "contradicted")


def _log(document: Document) -> Mapping[str, object]:
    log = document.get("evidence")
    return log if isinstance(log, Mapping) else {}


def _log_state(document: Document, _: Counters) -> Iterator[Sample]:
    for word, value in one_hot(LOG_STATES, _log(document).get("state")):
        yield (word,), value


def _unwitnessed(document: Document, _: Counters) -> Iterator[Sample]:
    if log := _log(document):
        yield (), float("unwitnessed_since" in log)


def _witness_good(document: Document, _: Counters) -> Iterator[Sample]:
    witnesses = _log(document).get("witnesses")
    for row in witnesses if isinstance(witnesses, list) else ():
        if isinstance(row, Mapping) and row.get("name") is not None:
            yield (label(row["name"]),), float(row.get("state") == "good")


RECORDS: tuple[Family, ...] = (
    Family(
        "truechimer_evidence_records_total",
        "Records of the laboratory's log; it goes on over restarts.",
        one("records"),
    ),
    Family(
        "truechimer_epochs_total",
        "Epochs taken in since the laboratory started.",
        one("epochs"),
    ),
    Family(
        "truechimer_readings_rejected_total",
        "Rows of readings that were refused since the laboratory started.",
        one("rejected_readings"),
    ),
    Family(
        "truechimer_uptime_seconds",
        "Time since the laboratory's process started, on the monotonic clock.",
        one("uptime_s"),
    ),
    Family(
        "truechimer_store_state",
        "State of the record store, one-hot: all that was asked is written, writing fails and records wait, or no more "
        "may wait.",
        _store_state,
        ("state",),
    ),
    Family(
        "truechimer_store_waiting_records",
        "Records that wait for the disk.",
        one("store", "waiting"),
    ),
    Family(
        "truechimer_log_state",
        "State of the signed log over the records, one-hot: not asked for, starting, published, not published, or "
        "contradicted by a witness or by its own journal.",
        _log_state,
        ("state",),
    ),
    Family(
        "truechimer_log_entries",
        "Entries of the last tree that the log's key signed.",
        one("evidence", "size"),
    ),
    Family(
        "truechimer_log_waiting_records",
        "Records that are written and not yet entries of a signed tree.",
        one("evidence", "waiting"),
    ),
    Family(
        "truechimer_log_witnessed_entries",
        "Entries of the last tree that enough witnesses cosigned.",
        one("evidence", "witnessed", "size"),
    ),
    Family(
        "truechimer_log_unwitnessed",
        "1 while not enough witnesses vouch for what is recorded, or none is named; 0 while they do.",
        _unwitnessed,
    ),
    Family(
        "truechimer_log_witness_good",
        "1 where a witness cosigned when it was asked last, 0 where it did not.",
        _witness_good,
        ("witness",),
    ),
    Family(
        "truechimer_alert_firing",
        "How many subjects (clocks, links, the scale) are in the condition of this alert now; 0: nowhere. Kinds that "
        "are events and not conditions are not here.",
        _firing,
        ("kind", "severity"),
    ),
    Family(
        "truechimer_alerts_said_total",
        "Alerts that were said since the laboratory started.",
        _said,
        ("kind", "severity"),
    ),
    Family(
        "truechimer_log_lines_lost_total",
        "Lines that could not be written to the journal (then they went to standard error) or to standard error.",
        _not_said,
        ("way",),
    ),
    Family(
        "truechimer_webhook_messages_total",
        "Alerts for the webhook by their end: delivered, refused by the receiver, or dropped unsent, since the "
        "laboratory started.",
        _webhook,
        ("result",),
    ),
    Family(
        "truechimer_webhook_failures_total",
        "Attempts to deliver that failed.",
        one("notify", "webhook", "failures"),
    ),
    Family(
        "truechimer_webhook_waiting_messages",
        "Alerts that wait for the webhook.",
        one("notify", "webhook", "waiting"),
    ),
)
"""In the order in which they are served."""
