"""Holdover metrics: how long the doors would last without sources, and what UTC would then be worth.

It measures nothing: the values stand in the status document, or are absent. Source: `contract.md`, "Ports and names".
"""

from collections.abc import Iterator, Mapping

from truechimer.console.metric_samples import Counters, Document, Family, Sample, number, rows


def _holdover(document: Document, _: Counters) -> Iterator[Sample]:
    """Give how long the doors stay synchronised: the document holds it for the smallest of their limits."""
    left_s = number(document, "holdover_remaining_s")
    limits = {limit for row in rows(document, "listeners") if (limit := number(row, "bound_limit_s")) is not None}
    if left_s is not None and limits:
        yield (f"{min(limits):g}",), left_s


def _foreseen(document: Document, _: Counters) -> Iterator[Sample]:
    """Give one sigma of UTC minus the scale over each horizon that the laboratory foresees."""
    told = document.get("holdover")
    for row in rows(told, "prediction") if isinstance(told, Mapping) else ():
        horizon_s, u_s = number(row, "horizon_s"), number(row, "u_s")
        if horizon_s is not None and u_s is not None:
            yield (f"{horizon_s:g}",), u_s


HOLDOVER: tuple[Family, ...] = (
    Family(
        "truechimer_holdover_remaining_seconds",
        "Time until the bound of a laboratory that hears nothing any more, neither sources nor clocks, reaches the "
        "smallest limit of its doors (label limit, seconds), as the laboratory foresees it.",
        _holdover,
        ("limit",),
    ),
    Family(
        "truechimer_holdover_sigma_seconds",
        "One sigma of UTC minus the scale so long (label horizon, seconds) into a holdover that would begin now, "
        "learned from what came from outside; laboratories of several clocks, from the third day on.",
        _foreseen,
        ("horizon",),
    ),
)
