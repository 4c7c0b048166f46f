"""Status: one document of what the laboratory knows now, made once an epoch, from which `now`, `status`, `sources` and
the console answer.

It decides nothing. Keys follow the contract: snake_case, SI units in the name, absent where there is no value.
"""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from truechimer._version import __version__
from truechimer.alerts import Alert
from truechimer.compare.claims import Claim
from truechimer.compare.selection import SelectionState, Verdict
from truechimer.daemon.answering import leap_words
from truechimer.daemon.answering.now_document import utc_text
from truechimer.daemon.sources.feeds import SourceStatus
from truechimer.instants import Instant
from truechimer.laboratory.line import EpochOutcome
from truechimer.laboratory.run_start import RunStart
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState
from truechimer.quorum.verified import Verified
from truechimer.scale.state import REASONS, Membership
from truechimer.serve.clock_page import ClockPage, ServiceState
from truechimer.serve.ntp.server import SIMULATED_ANCHOR_DOUBT_S
from truechimer.serve.served_time import tai_minus_utc_at

OF_THE_RUN_BEFORE = "heard and judged by the run before, not yet by this one"

OUT_BY_ORDER = "taken out by order"

_OBSERVING = "nothing is steered and no time is served"
_SENTENCES_OBSERVING = {
    ServiceState.FREERUN: f"observing: UTC as a majority of sources says it; {_OBSERVING}",
    ServiceState.ACQUIRING: f"observing: learning offset and rate against UTC; {_OBSERVING}",
    ServiceState.HOLDOVER: "observing: no majority of fresh outside values; the prediction coasts, the bound grows; "
    + _OBSERVING,
    ServiceState.ALARM: f"observing: alarm, no time is stated; {_OBSERVING}",
}
_SENTENCES = {
    ServiceState.FREERUN: "the scale runs free: it is not compared with UTC or not brought to this machine",
    ServiceState.ACQUIRING: "learning offset and rate against UTC; doors say unsynchronised",
    ServiceState.STEERED: "steered on UTC by a majority of sources",
    ServiceState.HOLDOVER: "holding over: no majority of fresh outside values or no valid envelope; the bound grows",
    ServiceState.ALARM: "alarm: doors say unsynchronised",
}


def laboratory_document(
    start: RunStart,
    config: LaboratoryConfig,
    state: LaboratoryState,
    outcome: EpochOutcome | None,
    *,
    service: ServiceState,
    uptime_s: float,
    epochs: int,
    rejected: int,
    alerts: Iterable[Alert],
    reading_faults: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return what `status` adds to the time: sentence, terms, scale, steering, alerts."""
    body: dict[str, Any] = {
        "lab": start.name,
        "pid": os.getpid(),
        "uptime_s": uptime_s,
        "version": __version__,
        "state_sentence": sentence(service, is_stated=outcome is not None and outcome.page is not None, config=config),
        "policy_sentence": start.policy_sentence if state.orders is None else state.orders.applier.policy.sentence,
        "records": state.chain.seq,
        "epochs": epochs,
        "rejected_readings": rejected,
        "reading_faults": reading_faults,
        "clocks": clocks(state, outcome),
        "alerts": [_alert(alert) for alert in alerts],
        "leap": {
            "expires": config.leaps.expires.isoformat(digits=0),
            "source": config.leaps.source,
            "entries": [[one.mjd, one.tai_minus_utc_s] for one in config.leaps.entries],
        }
        | leap_words.document(state, config),
    }
    if outcome is not None and outcome.bound is not None:
        body |= {"terms": outcome.bound.terms.as_dict(), "scale_bound_s": outcome.bound.scale_bound_s}
        body["root_dispersion"] = {
            "bound_s": outcome.bound.bound_s,
            "simulated_anchor_doubt_s": SIMULATED_ANCHOR_DOUBT_S if config.simulated else 0.0,
        }
    if outcome is not None and outcome.page is not None:
        body["bound_growth"] = outcome.page.bound_growth
        body["leap"]["tai_minus_utc_s"] = tai_minus_utc_at(outcome.page, outcome.page.anchor_tai_fs)
    if outcome is not None and outcome.utc is not None and state.utc is not None:
        body["utc_minus_scale"] = {
            "x_s": outcome.utc.x_s,
            "y": outcome.utc.y,
            "u_s": outcome.utc.u_x_s * state.utc.inflation,
            "limit_s": state.utc.limit_s,
        }
    if not config.observing:
        body["steering"] = steering(config, state)
        if state.orders is not None:
            policy = state.orders.applier.policy
            body["policy"] = {
                "version": policy.version,
                "sha256": policy.digest,
                "insecure_software_keys": policy.insecure_software_keys,
                "orders_applied": state.orders.applier.sequence,
                "change_waits": state.orders.applier.pending is not None,
            }
    return body


def sentence(service: ServiceState, *, is_stated: bool, config: LaboratoryConfig) -> str:
    """Return the state in one sentence; `is_stated`: a time is stated."""
    if not config.observing:
        return _SENTENCES[service]
    if service is ServiceState.FREERUN and not is_stated:
        return f"observing: {_SENTENCES[service]}; {_OBSERVING}"
    return _SENTENCES_OBSERVING[service]


def steering(config: LaboratoryConfig, state: LaboratoryState) -> dict[str, Any]:
    """Return what is steered, and inside which envelope."""
    steering: dict[str, Any] = {}
    if state.coordination is not None:
        steering |= {
            "y_steer": state.coordination.y_steer,
            "x_utck_minus_scale_s": state.coordination.at(state.epoch_ns),
        }
    if isinstance(state.limits, Verified):
        limits = state.limits.value
        until = Instant.from_tai_ns(limits.valid_until_ns)
        steering |= {
            "envelope_valid_until": utc_text(until, config.leaps),
            "per_change": limits.per_change,
            "per_day_s": limits.per_day_s,
        }
    else:
        steering["envelope_refused"] = state.limits.says
    return steering


def ntp(page: ClockPage, *, synchronised: bool) -> dict[str, Any]:
    """Return what the NTP doors say of this laboratory beside the time: stratum (0: unsynchronised), reference
    identifier (eight hexadecimal digits) and root delay.
    """
    stratum = page.stratum if synchronised else 0
    return {"stratum": stratum, "refid": page.refid.hex().upper(), "root_delay_s": page.root_delay_s}


def clocks(state: LaboratoryState, outcome: EpochOutcome | None) -> list[dict[str, Any]]:
    """Return one row a clock."""
    rows = []
    out = () if state.orders is None else state.orders.out
    step = None if outcome is None else outcome.step
    for i, clock in enumerate(state.register.clocks):
        membership = Membership(int(state.scale.membership[i]))
        alone = membership in {Membership.IN, Membership.OBSERVER, Membership.DOUBTED}
        row: dict[str, Any] = {
            "name": clock.name,
            "kind": clock.kind.value,
            "weight": 0.0 if step is None else float(step.weight[i]),
            "state": membership.name.lower().replace("_", "-"),
            "reason": OUT_BY_ORDER if clock.name in out else REASONS[membership],
        }
        if step is not None and np.isfinite(step.x_clock_minus_scale_s[i]):
            row["x_clock_minus_scale_s"] = float(step.x_clock_minus_scale_s[i])
            if np.isfinite(step.residual_s[i]):
                row["residual_s"] = float(step.residual_s[i])
            if alone:
                row["rate"] = state.scale.rate_of(i)
        rows.append(row)
    return rows


def sources(
    state: LaboratoryState,
    outcome: EpochOutcome | None,
    feeds: dict[str, SourceStatus],
    kinds: dict[str, str],
    *,
    epoch_now_ns: int,
) -> list[dict[str, Any]]:
    """Return one row a source that claims UTC: offset against UTC(k), what it cannot exclude, and what became of it."""
    rows = []
    seen = set()
    paper = state.coordination if outcome is None else outcome.coordination
    for k, link in enumerate(state.register.outside):
        reference = state.register.references[link.reference]
        claim: Claim = (
            state.claims[k] if k < len(state.claims) else Claim(0, 0.0, 0.0, 0.0, 0.0, Verdict.NEVER, 0, 0, 0)
        )
        row: dict[str, Any] = {
            "name": reference.name,
            "link": state.register.link_name(link.link),
            "operator": reference.operator,
        }
        row |= {"verdict": claim.verdict.value, "values": claim.n, "kind": kinds.get(reference.name, "link")}
        row["mark"] = mark(
            claim.verdict,
            is_first=outcome is not None and outcome.selection.selected[:1] == (k,),
            is_majority=state.selection is SelectionState.MAJORITY,
        )
        if claim.verdict is Verdict.QUARANTINED:
            row["agrees"] = claim.clean_ns != 0
        if outcome is None and claim.n:
            row["says"] = OF_THE_RUN_BEFORE
            row["mark"] = "x" if row["mark"] == "x" else "?"  # nobody is followed yet; who was outvoted still is
        if claim.n:
            row |= {"age_s": (epoch_now_ns - claim.epoch_ns) / 1e9, "u_s": claim.u_s, "limit_s": claim.limit_s}
            if paper is not None:
                row["offset_s"] = claim.x_s - paper.at(claim.epoch_ns)
        feed = feeds.get(reference.name)
        if feed is not None:
            row |= {
                key: value
                for key, value in (("stratum", feed.stratum), ("poll_s", feed.poll_s), ("delay_s", feed.delay_s))
                if value is not None
            }
            row |= {"reach": feed.reach, "answers": feed.answers, "failures": feed.failures}
            if feed.leap:
                row["leap"] = feed.leap
            if feed.says:
                row["says"] = feed.says
            if feed.late_limit_s is not None and row["mark"] in LATE_MARKS:
                row |= {"mark": "~", "limit_s": feed.late_limit_s}
        seen.add(reference.name)
        rows.append(row)
    return rows


LATE_MARKS = frozenset("*+-?")
"""Marks whose place `~` takes where a server's last answer came so late that it was left out."""


def mark(verdict: Verdict, *, is_first: bool, is_majority: bool) -> str:
    """Return chrony's mark: `*` selected first, `+` combined, `-` good but not combined since the last vote found no
    majority, `x` outvoted, in quarantine or refused, `?` unusable.
    """
    if verdict is Verdict.SELECTED:
        return "-" if not is_majority else "*" if is_first else "+"
    return {Verdict.OUTVOTED: "x", Verdict.QUARANTINED: "x", Verdict.REFUSED: "x"}.get(verdict, "?")


def _alert(alert: Alert) -> dict[str, Any]:
    """Return an alert as a document."""
    return {
        "alert": alert.kind.value,
        "component": alert.component,
        "subject": alert.subject,
        "severity": alert.severity.value,
        "says": alert.says,
        "do_next": alert.do_next,
        "epoch_tai_ns": alert.seen_at_tai_ns,
        "because": list(alert.because),
    }
