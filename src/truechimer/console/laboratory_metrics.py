"""Laboratory metrics: every `truechimer_` metric but those of doors, its HELP line and where its values stand.

It measures nothing and keeps no number of its own: a value is there because the status document or a door's counter
file holds it, and absent otherwise. Source: `contract.md`, "Ports and names" (base units, `_total`, bounded labels).
"""

from collections.abc import Iterator, Mapping

from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.compare.selection import Verdict
from truechimer.console.holdover_metrics import HOLDOVER
from truechimer.console.metric_samples import (
    Counters,
    Document,
    Family,
    Sample,
    each,
    flag,
    label,
    number,
    offset_s,
    one,
    one_hot,
    reach_ratio,
    rows,
    source_bound_s,
    when,
)
from truechimer.daemon.feeds import LEAP_WORDS
from truechimer.serve.clock_page import ServiceState

# ---- the scale ------------------------------------------------------------------------------------------------------


def _state(document: Document, _: Counters) -> Iterator[Sample]:
    for word, value in one_hot(ServiceState, document.get("state")):
        yield (word,), value


def _info(document: Document, _: Counters) -> Iterator[Sample]:
    keys = ("lab", "scale", "against", "version")
    if document:
        yield tuple(label(document.get(key)) for key in keys), 1.0


def _offset(document: Document, _: Counters) -> Iterator[Sample]:
    against = label(document.get("against"))
    utc_minus_scale_s, steered_s = number(document, "utc_minus_scale", "x_s"), offset_s(document)
    if utc_minus_scale_s is not None:
        yield (against, "free"), -utc_minus_scale_s
    if steered_s is not None:
        yield (against, "steered"), steered_s


def _terms(document: Document, _: Counters) -> Iterator[Sample]:
    terms = document.get("terms")
    for name in terms if isinstance(terms, Mapping) else ():
        value = number(document, "terms", name)
        if value is not None:
            yield (label(name).removesuffix("_s"),), value


def _deviations(document: Document, _: Counters) -> Iterator[Sample]:
    """Give the curves of the scale and of the clocks that the laboratory reckons, one sample an averaging time."""
    found = document.get("deviations")
    if not isinstance(found, Mapping):
        return
    scale = found.get("scale")
    named = [(label(row.get("name")), row) for row in rows(found, "clocks")]
    for name, curve in [*([("scale", scale)] if isinstance(scale, Mapping) else []), *named]:
        taus, values = curve.get("tau_s"), curve.get("value")
        if isinstance(taus, list) and isinstance(values, list):
            for tau_s, value in zip(taus, values, strict=False):
                points = {"tau_s": tau_s, "value": value}
                of_tau, of_value = number(points, "tau_s"), number(points, "value")
                if of_tau is not None and of_value is not None:
                    yield (label(found.get("estimator")), f"{of_tau:g}", name), of_value


# ---- clocks and sources ---------------------------------------------------------------------------------------------


def _included(document: Document, _: Counters) -> Iterator[Sample]:
    for row in rows(document, "clocks"):
        if row.get("name") is not None and row.get("state") is not None:
            yield (label(row["name"]), label(row["state"])), float(row["state"] == "in")


def _verdict(document: Document, _: Counters) -> Iterator[Sample]:
    for row in rows(document, "sources"):
        if row.get("name") is not None:
            for word, value in one_hot(Verdict, row.get("verdict")):
                yield (label(row["name"]), word), value


def _leap_votes(document: Document, _: Counters) -> Iterator[Sample]:
    """Count what the sources' last answers announce; nothing where no source can announce anything."""
    said = [row.get("leap") for row in rows(document, "sources")]
    if any(word in LEAP_WORDS for word in said):
        yield from (((word,), float(said.count(word))) for word in LEAP_WORDS)


def _source_info(document: Document, _: Counters) -> Iterator[Sample]:
    for row in rows(document, "sources"):
        if row.get("name") is not None:
            yield tuple(label(row.get(key)) for key in ("name", "operator", "kind")), 1.0


# ---- alerts, records, notifications ---------------------------------------------------------------------------------


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


_SOURCE = ("source",)

LABORATORY: tuple[Family, ...] = (
    Family(
        "truechimer_info",
        "Always 1; its labels name the laboratory, its scale, what it is stated against (utc or simulated-utc) and the "
        "version.",
        _info,
        ("lab", "scale", "against", "version"),
    ),
    Family(
        "truechimer_scale_state",
        "State of the service, one-hot: 1 for the present word, 0 for the others.",
        _state,
        ("state",),
    ),
    Family(
        "truechimer_synchronised",
        "1 where the laboratory states the time as synchronised, 0 where it does not.",
        flag("synchronised"),
    ),
    Family(
        "truechimer_observing",
        "1 where the laboratory only watches: it steers nothing and opens no door.",
        flag("observing"),
    ),
    Family(
        "truechimer_scale_error_bound_seconds",
        "Half width of the interval that holds UTC (see against of truechimer_info), at the last answer of the "
        "laboratory: 6 times the root of the sum of squared sigmas, plus the sum of limits, grown since the epoch.",
        one("bound_s"),
    ),
    Family(
        "truechimer_scale_uncertainty_seconds",
        "One sigma of UTC(k) minus UTC as stated; never the bound.",
        one("u_s"),
    ),
    Family(
        "truechimer_scale_coverage_ratio",
        "Measured lower limit of the share of time in which the truth is inside the bound; 0 where it has not been "
        "measured.",
        one("coverage"),
    ),
    Family(
        "truechimer_scale_offset_seconds",
        "Our scale minus UTC as predicted from the selected sources, positive where ours is ahead; kind free: the "
        "ensemble as it runs, steered: UTC(k) as served.",
        _offset,
        ("against", "kind"),
    ),
    Family(
        "truechimer_scale_offset_uncertainty_seconds",
        "One sigma of the prediction of UTC minus the free scale.",
        one("utc_minus_scale", "u_s"),
    ),
    Family(
        "truechimer_scale_offset_limit_seconds",
        "Limit of the systematic part of the links to UTC in that prediction, which averaging does not remove.",
        one("utc_minus_scale", "limit_s"),
    ),
    Family(
        "truechimer_bound_term_seconds",
        "Terms of the bound at the last epoch: u_ is one sigma (counts six times, in the root of squares), limit_ "
        "counts whole.",
        _terms,
        ("term",),
    ),
    Family(
        "truechimer_bound_growth_ratio",
        "How fast the bound grows where the laboratory falls silent, seconds per second.",
        one("bound_growth"),
    ),
    Family(
        "truechimer_scale_steer_ratio",
        "Steering in force: rate of UTC(k) minus rate of the free scale, positive where UTC(k) is made to run faster.",
        one("steering", "y_steer"),
    ),
    Family(
        "truechimer_steer_limit_ratio",
        "Most that one steering order may change the rate, by the signed envelope.",
        one("steering", "per_change"),
    ),
    Family(
        "truechimer_envelope_expiry_timestamp_seconds",
        "Unix time at which the signed steering envelope expires; then the rate is held.",
        when("steering", "envelope_valid_until"),
    ),
    Family(
        "truechimer_insecure_software_keys",
        "1 where the policy lets keys in files sign orders: whoever can read such a file orders in its person's name.",
        flag("policy", "insecure_software_keys"),
    ),
    Family(
        "truechimer_orders_applied",
        "Orders of persons applied since the laboratory began, steering envelopes among them.",
        one("policy", "orders_applied"),
    ),
    Family(
        "truechimer_policy_change_waits",
        "1 while a change of the policy waits; any one key of the policy in force can veto it.",
        flag("policy", "change_waits"),
    ),
    *HOLDOVER,
    Family(
        "truechimer_clock_weight_ratio",
        "Weight of the clock in the scale; the weights of all clocks add up to 1.",
        each("clocks", "name", lambda row: number(row, "weight")),
        ("clock",),
    ),
    Family(
        "truechimer_clock_residual_seconds",
        "Clock minus its own prediction at the last step of the scale, positive where it is ahead of it.",
        each("clocks", "name", lambda row: number(row, "residual_s")),
        ("clock",),
    ),
    Family(
        "truechimer_clock_offset_seconds",
        "Clock minus the free scale at the last step, positive where the clock is ahead.",
        each("clocks", "name", lambda row: number(row, "x_clock_minus_scale_s")),
        ("clock",),
    ),
    Family(
        "truechimer_clock_rate_ratio",
        "Rate of the clock minus that of the free scale, positive where the clock is fast, by its best rate filter.",
        each("clocks", "name", lambda row: number(row, "rate")),
        ("clock",),
    ),
    Family(
        "truechimer_clock_included",
        "1 where the clock carries weight in the scale, 0 where it does not, with its state as the reason.",
        _included,
        ("clock", "reason"),
    ),
    Family(
        "truechimer_deviation_ratio",
        "Deviation of frequency over an averaging time (label tau, seconds), of the scale by its clocks or of clock "
        "minus scale, by the estimator named; absent until enough readings have come.",
        _deviations,
        ("estimator", "tau", "of"),
    ),
    Family(
        "truechimer_source_info",
        "Always 1; its labels name a source of UTC, whose hand could move it, and its kind.",
        _source_info,
        ("source", "operator", "kind"),
    ),
    Family(
        "truechimer_source_offset_seconds",
        "Source minus UTC(k) at its last value, positive where the source is ahead of us (chrony's sign is the other).",
        each("sources", "name", lambda row: number(row, "offset_s")),
        _SOURCE,
    ),
    Family(
        "truechimer_source_error_bound_seconds",
        "How far the source's claim may be wrong: six sigma plus the limit of what it cannot exclude.",
        each("sources", "name", source_bound_s),
        _SOURCE,
    ),
    Family(
        "truechimer_source_uncertainty_seconds",
        "One sigma of the source's claim.",
        each("sources", "name", lambda row: number(row, "u_s")),
        _SOURCE,
    ),
    Family(
        "truechimer_source_delay_seconds",
        "Round trip of the last exchange with the source.",
        each("sources", "name", lambda row: number(row, "delay_s")),
        _SOURCE,
    ),
    Family(
        "truechimer_source_age_seconds",
        "Age of the source's last value, on the raw counter.",
        each("sources", "name", lambda row: number(row, "age_s")),
        _SOURCE,
    ),
    Family(
        "truechimer_source_reach_ratio",
        "Share of the last eight questions to the source that were answered.",
        each("sources", "name", reach_ratio),
        _SOURCE,
    ),
    Family(
        "truechimer_source_stratum",
        "Stratum that the source states.",
        each("sources", "name", lambda row: number(row, "stratum")),
        _SOURCE,
    ),
    Family(
        "truechimer_source_poll_seconds",
        "Time between two questions to the source.",
        each("sources", "name", lambda row: number(row, "poll_s")),
        _SOURCE,
    ),
    Family(
        "truechimer_source_answers_total",
        "Answers of the source that could be used, since the laboratory started.",
        each("sources", "name", lambda row: number(row, "answers")),
        _SOURCE,
    ),
    Family(
        "truechimer_source_failures_total",
        "Questions to the source without an answer that could be used, since the laboratory started.",
        each("sources", "name", lambda row: number(row, "failures")),
        _SOURCE,
    ),
    Family(
        "truechimer_source_verdict",
        "What became of the source in the vote, one-hot: 1 for the present verdict, 0 for the others.",
        _verdict,
        ("source", "verdict"),
    ),
    Family(
        "truechimer_leap_table_expiry_timestamp_seconds",
        "Unix time at which the leap table expires; then UTC can no longer be told from TAI.",
        when("leap", "expires"),
    ),
    Family(
        "truechimer_leap_votes",
        "How many sources announce this in their last answer: no leap second, one to be inserted or deleted at the end "
        "of the month, or that they are not synchronised. Nothing follows from it: the leap table is what counts.",
        _leap_votes,
        ("value",),
    ),
    Family(
        "truechimer_leap_tai_minus_utc_seconds",
        "TAI minus UTC in force.",
        one("leap", "tai_minus_utc_s"),
    ),
    Family(
        "truechimer_host_clock_offset_seconds",
        "This host's wall clock minus UTC as stated, positive where the wall clock is ahead.",
        one("host_clock", "x_host_clock_minus_utc_s"),
    ),
    Family(
        "truechimer_host_clock_error_bound_seconds",
        "How far that difference may be wrong.",
        one("host_clock", "bound_s"),
    ),
    Family(
        "truechimer_host_clock_rate_ratio",
        "Rate of this host's wall clock against UTC as stated, positive where it is fast, over the last looks.",
        one("host_clock", "rate"),
    ),
    Family(
        "truechimer_host_clock_steps_total",
        "Movements of this host's wall clock that the laboratory saw since it started; served time did not follow.",
        one("host_clock", "steps"),
    ),
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
"""Every metric of ours but `truechimer_up`, in the order in which they are served."""
