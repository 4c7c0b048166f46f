"""Scale metrics: the state, bound and steering of the time that is stated, and whose orders stand behind it.

They measure nothing and keep no number of their own (`laboratory_metrics` says where the values stand).
"""

from collections.abc import Iterator, Mapping

from truechimer.console.metric_samples import (
    Counters,
    Document,
    Family,
    Sample,
    flag,
    label,
    number,
    offset_s,
    one,
    one_hot,
    when,
)
from truechimer.serve.clock_page import ServiceState


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


SCALE: tuple[Family, ...] = (
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
)
"""In the order in which they are served."""
