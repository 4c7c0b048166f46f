"""Own past: each link to UTC against its own past, in a laboratory in service: who leaves it alone has no vote.

It joins the register and `compare.link_past`, and takes no value in (`outside`). Links are held against the
laboratory's own scale, along a line that goes by the rate of UTC minus the scale alone, so that no steer and no step of
UTC(k) is taken for one of a link.

Law of the file: + - * / and sqrt in a written order.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.register import Register
from truechimer.compare import link_past
from truechimer.compare.cleaning import Marks, Quality
from truechimer.compare.link_past import LARGEST_U_S, NOTHING, LinkPast, LinkValue
from truechimer.compare.reading import EpochReadings
from truechimer.laboratory.orders import Orders
from truechimer.laboratory.receiving import Rate

MOST_U_Y = 1e-13
"""Nothing is followed before the rate of UTC minus the scale is known so well (one sigma): 1.4 ns in four hours."""
_GAP = int(Quality.GAP)


@dataclass(frozen=True, slots=True)
class OwnPasts:
    """`line_s` at `line_ns`: what UTC minus the scale has gone by its rate; `pasts`, `accused`: for each link, in the
    register's order of `outside`.
    """

    line_s: float = 0.0
    line_ns: int = 0
    pasts: tuple[LinkPast, ...] = ()
    accused: tuple[bool, ...] = ()


NOTHING_KNOWN = OwnPasts()
NOBODY: frozenset[int] = frozenset()


def hear(
    before: OwnPasts,
    *,
    readings: EpochReadings,
    marks: Marks,
    x_clock_minus_scale_s: NDArray[np.float64],
    rate_of_clock: Callable[[int], float],
    register: Register,
    rate: Rate | None,
    orders: Orders | None,
) -> tuple[OwnPasts, frozenset[int]]:
    """Take an epoch in; return who is out (places in `register.outside`)."""
    out_before = frozenset(k for k, one in enumerate(before.pasts) if one.out)
    if rate is None or rate.u_y > MOST_U_Y or len(register.outside) < 2:
        return before, out_before
    now_ns = readings.epoch_tai_ns
    line_s = before.line_s
    if before.line_ns:
        line_s = line_s + rate.y * ((now_ns - before.line_ns) / 1e9)
    n = len(register.outside)
    pasts = list(before.pasts) + [NOTHING] * (n - len(before.pasts))
    accused = before.accused + (False,) * (n - len(before.accused))
    is_new = False
    for k, link in enumerate(register.outside):
        x, x_clock = float(readings.x_a_minus_b_s[link.link]), float(x_clock_minus_scale_s[link.clock])
        u_s = float(readings.u_s[link.link])
        if not isfinite(x) or not isfinite(x_clock) or marks.quality[link.link] == _GAP or u_s > LARGEST_U_S:
            continue
        age_s = float(readings.age_s[link.link])
        at_ns = now_ns - round(age_s * 1e9)
        if at_ns <= pasts[k].last_ns:
            continue
        x_s = link.sign * x + x_clock - rate_of_clock(link.clock) * age_s - (line_s - rate.y * age_s)
        delay_s = 0.0 if orders is None else orders.delay_s(register.references[link.reference].name)
        pasts[k] = link_past.heard(pasts[k], LinkValue(at_ns, x_s, u_s, delay_s), accused=accused[k])
        is_new = True
    after = replace(before, line_s=line_s, line_ns=now_ns)
    if not is_new:
        return after, out_before
    accused, out = link_past.judged(pasts, epoch_ns=now_ns)
    kept = tuple(link_past.marked(one, out=gone) for one, gone in zip(pasts, out, strict=True))
    return replace(after, pasts=kept, accused=accused), frozenset(k for k, gone in enumerate(out) if gone)
