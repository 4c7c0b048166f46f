"""Clock metrics: each clock in the scale, the deviations that the laboratory reckons, and this host's own clock.

They measure nothing and keep no number of their own (`laboratory_metrics` says where the values stand).
"""

from collections.abc import Iterator, Mapping

from truechimer.console.metric_samples import (
    Counters,
    Document,
    Family,
    Sample,
    each,
    label,
    number,
    one,
    rows,
)


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


def _included(document: Document, _: Counters) -> Iterator[Sample]:
    for row in rows(document, "clocks"):
        if row.get("name") is not None and row.get("state") is not None:
            yield (label(row["name"]), label(row["state"])), float(row["state"] == "in")


CLOCKS: tuple[Family, ...] = (
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
)
"""The ensemble, in the order in which they are served."""

HOST_CLOCK: tuple[Family, ...] = (
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
)
"""This host's wall clock, of which only that is told: served time does not follow it."""
