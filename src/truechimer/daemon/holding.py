"""Holding: the page that doors get while records cannot be written: the last recorded time, less sure.

It makes no time. The law of the file: against the recorded page, a held page changes only towards safety. Its line is
the recorded line; its bound is never smaller, and at the moment it is written reaches around all that the laboratory
knows by now, recorded or not; its state is never better (ADR 16).
"""

import math
from dataclasses import replace

from truechimer.instants import FS_PER_S
from truechimer.serve.clock_page import ClockPage, ServiceState
from truechimer.serve.served_time import bound_at, tai_fs_at

_BETTER_FIRST = (
    ServiceState.STEERED,
    ServiceState.HOLDOVER,
    ServiceState.ACQUIRING,
    ServiceState.FREERUN,
    ServiceState.ALARM,
)


def held(recorded: ClockPage, *, present: ClockPage | None, service: ServiceState | None, raw_ns: int) -> ClockPage:
    """Return the page to hold at `raw_ns`.

    `present`: the page that the laboratory would serve, were its records on the disk (None: it has none); `service`:
    its state by now (None: unknown).
    """
    growth, bound_s, u_s = recorded.bound_growth, recorded.bound_s, recorded.u_s
    if present is not None:
        # the two lines part at the difference of their rates
        growth = max(growth, present.bound_growth + abs(present.rate - recorded.rate))
        u_s = max(u_s, present.u_s)
        apart_s = abs(tai_fs_at(present, raw_ns) - tai_fs_at(recorded, raw_ns)) / FS_PER_S
        wider = replace(recorded, bound_growth=growth)
        lacking_s = apart_s + bound_at(present, raw_ns) - bound_at(wider, raw_ns)
        if lacking_s > 0.0:
            bound_s = math.nextafter(bound_s + lacking_s, math.inf)
    worst = max(
        (recorded.state, ServiceState.HOLDOVER, recorded.state if service is None else service), key=_BETTER_FIRST.index
    )
    return replace(recorded, state=worst, bound_s=bound_s, bound_growth=growth, u_s=u_s)
