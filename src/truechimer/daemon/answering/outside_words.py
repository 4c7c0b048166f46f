"""Outside words: what `status`, `now` and `utc holdover` say of the vote on UTC, of how long holdover would last, and
of the host's oscillator where it is the scale.

It decides nothing: the fold does. Keys follow the contract: SI units in the name, absent where there is no value.
"""

from typing import Any

from truechimer.compare.selection import SelectionState, Verdict
from truechimer.daemon.answering import published_words
from truechimer.daemon.answering.foreseen_aside import ForeseenAside
from truechimer.laboratory import bounding, foreseen, late_turn
from truechimer.laboratory.foreseen import Foreseen
from truechimer.laboratory.line import EpochOutcome
from truechimer.laboratory.service import NO_MAJORITY_SAYS, TOO_FEW_SAYS
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState
from truechimer.serve.clock_page import ServiceState
from truechimer.steer import daily_values, holdover

USUAL_LIMIT_S = 0.001
"""A listener's limit where there is no listener (contract)."""

SOURCES, SOURCES_AND_CLOCKS = "sources", "sources and clocks"
"""What is silent where the bound lasts for `holdover_remaining_s`: a host that is the scale goes on as it is; one that
is measured against clocks is no longer, which is the case of doors whose laboratory has fallen silent.
"""

_ASIDE = ForeseenAside()
"""One laboratory a process."""

_BY_VALUES = {
    ServiceState.STEERED: "steered on UTC by what is published of UTC - UTC(k), days later",
    ServiceState.HOLDOVER: "holding over: publications have not come, clocks are silent, or no envelope is valid; the "
    "bound grows",
}
MOST_LIMITS = 16
_LIMITS: list[float] = []
"""Limits that somebody asked for: worked out from then on with the doors' own, so that two who ask do not take turns.
"""

_SAYS = {SelectionState.NO_MAJORITY: NO_MAJORITY_SAYS, SelectionState.TOO_FEW: TOO_FEW_SAYS}


def document(
    state: LaboratoryState, outcome: EpochOutcome | None, config: LaboratoryConfig, bound_limits_s: list[float]
) -> dict[str, Any]:
    """Return the keys that this adds to `status`; `bound_limits_s`: of the doors."""
    body: dict[str, Any] = {"selection": selection(state, outcome)}
    published = published_words.document(state, outcome, config)
    if published is not None:
        body["published"] = published
    if outcome is not None and outcome.coordination is not None and outcome.page is not None:
        limit_s = min(bound_limits_s, default=USUAL_LIMIT_S)
        body["holdover_remaining_s"] = bounding.holdover_remaining_s(
            state, config, outcome.step, outcome.coordination, bound_limit_s=limit_s
        )
        body["holdover_limit_s"] = limit_s
        body["holdover_without"] = SOURCES if config.is_host_alone else SOURCES_AND_CLOCKS
        told = _ASIDE.latest(foreseen.asked(state, outcome.coordination, limits_s=(limit_s, *_LIMITS)))
        if told is not None:
            body["holdover"] = holdover_words(told)
    if state.wander is not None and state.wander.utc is not None:
        body["oscillator"] = oscillator(state)
    return body


def of_now(state: LaboratoryState) -> dict[str, Any]:
    """Return what `now` adds: what was foreseen last of a holdover, one sigma and times; nothing is worked out."""
    told = None if state.wander is not None else _ASIDE.told
    return {} if told is None else {"holdover": holdover_words(told)}


def holdover_document(
    state: LaboratoryState,
    outcome: EpochOutcome | None,
    config: LaboratoryConfig,
    bound_limits_s: list[float],
    limits_s: list[float],
) -> dict[str, Any]:
    """Return what is foreseen of a holdover that begins now, for limits (s) of one's own as well.

    `bound`: how long the bound, which is six sigma and more, stays within each without what `holdover_without` names,
    where `holdover` is without sources alone; `waits`: the foresight is being worked
    out, ask again; `why`: there is none.
    """
    for limit_s in limits_s:
        if limit_s not in _LIMITS:
            _LIMITS.append(limit_s)
    del _LIMITS[:-MOST_LIMITS]
    if outcome is None or outcome.coordination is None or outcome.page is None:
        return {"why": "UTC(k) has not been placed: there is nothing to hold over"}
    body = document(state, outcome, config, bound_limits_s)
    body = {
        key: body[key]
        for key in ("holdover", "holdover_remaining_s", "holdover_limit_s", "holdover_without", "oscillator")
        if key in body
    }
    wanted = sorted({*limits_s, *([] if limits_s else foreseen.LIMITS_S)})
    body["bound"] = [
        {
            "limit_s": limit_s,
            "for_s": bounding.holdover_remaining_s(
                state, config, outcome.step, outcome.coordination, bound_limit_s=limit_s
            ),
        }
        for limit_s in wanted
    ]
    if state.wander is not None:
        body["why"] = (
            "a scale of one clock: its own record of predictions stands in `oscillator`, and the bound follows it"
        )
        return body
    days = len(daily_values.values(state.daily))
    if days < foreseen.LEAST_DAYS:
        body["why"] = f"{days} of {foreseen.LEAST_DAYS} days with values from outside: too little to foresee from"
        return body
    told = body.get("holdover", {}).get("kept", [])
    if not {*limits_s} <= {row["limit_s"] for row in told} or not told:
        body["waits"] = True
    return body


def holdover_words(told: Foreseen) -> dict[str, Any]:
    """Return what is foreseen of a holdover that begins now, learned from so many days."""
    return {
        "learned_days": told.days,
        "prediction": [
            {"horizon_s": span_s, "u_s": u_s} for span_s, u_s in zip(foreseen.HORIZONS_S, told.u_s, strict=True)
        ],
        "kept": [
            {"limit_s": each.limit_s, "for_s": each.for_s, "likely_for_s": each.likely_for_s} for each in told.kept
        ],
    }


def selection(state: LaboratoryState, outcome: EpochOutcome | None) -> dict[str, Any]:
    """Return the last vote: its state, who is in and who is not, and in words what is wrong with it."""
    body: dict[str, Any] = {"state": state.selection.value}
    if outcome is not None:
        body["selected"] = len(outcome.selection.selected)
    body["named"] = [
        state.register.references[link.reference].name
        for link, claim in zip(state.register.outside, state.claims, strict=False)
        if claim.verdict in {Verdict.OUTVOTED, Verdict.QUARANTINED}
    ]
    if outcome is None and any(claim.n for claim in state.claims):
        return body | {"says": "this is the last vote of the run before; this run has not voted yet"}
    return body | ({"says": _SAYS[state.selection]} if state.selection in _SAYS else {})


def sentence(usual: str, service: ServiceState, state: LaboratoryState, config: LaboratoryConfig) -> str:
    """Return the state's sentence with the reason that the vote gives for it, or by what is published."""
    late = late_turn.standing(state.publications, config.published, observing=config.observing)
    if late is not None and late.decides:
        return _BY_VALUES.get(service, usual)
    says = _SAYS.get(state.selection)
    return f"{usual}; {says}" if says and service is not ServiceState.STEERED else usual


def oscillator(state: LaboratoryState) -> dict[str, Any]:
    """Return what was learned of the host's oscillator: its rate against UTC, its noise as the filter in use takes it,
    and one sigma of its prediction over each horizon, judged so many times.
    """
    wander = state.wander
    if wander is None or wander.utc is None:
        return {}
    now, noise = wander.utc.state, holdover.noise_of(wander, state.noise)
    return {
        "rate_against_utc": -now.y,
        "u_rate": now.u_y * wander.utc.inflation,
        "white_fm_1s": noise.q1**0.5,
        "random_walk_fm_1s": (noise.q2 / 3.0) ** 0.5,
        "prediction": [
            {"horizon_s": span_s, "u_s": variance**0.5, "judged": horizon.n}
            for span_s, variance, horizon in zip(
                holdover.HORIZONS_S, holdover.variances_s2(wander, state.noise), wander.horizons, strict=True
            )
        ],
    }
