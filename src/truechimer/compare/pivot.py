# mypy: allow-untyped-defs, allow-untyped-calls
"""Pivot: turn readings along links into every clock and reference minus one pivot clock.

It takes the first path that reaches a node (fewest links, register order) and leaves the other paths to `closure`. It
weighs nothing. The pivot is a reference point of the arithmetic only: the scale does not depend on which clock it is,
and it may change from epoch to epoch.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.register import Register
from truechimer.compare.cleaning import Marks, Quality
from truechimer.compare.reading import EpochReadings
from truechimer.kernel import kernel

Floats = NDArray[np.float64]
_GAP = int(Quality.GAP)


@dataclass(frozen=True, slots=True)
class AgainstPivot:
    """Every node minus the pivot, arrays of shape `(n_nodes,)`.

    `x_node_minus_pivot_s`: seconds, NaN where no good path reaches the node; `u2_s2`: variance of the path's reading
    noise (s^2);
    `limit_s`: sum of the path's limits; `spare`: bool `(n_links,)`, good links that were not needed: redundant paths
    for `closure`; `alone`: no other clock is compared with the pivot at this epoch.
    """

    pivot: int
    x_node_minus_pivot_s: Floats
    u2_s2: Floats
    limit_s: Floats
    spare: NDArray[np.bool_]
    alone: bool


@kernel
def walk(  # noqa: PLR0917
    link_a, link_b, x, u, limit, usable, pivot, n_nodes, n_clocks
):
    """Walk the links outwards from the pivot, layer by layer; a path never runs through a reference."""
    value = np.full(n_nodes, np.nan)
    u2 = np.zeros(n_nodes)
    bound = np.zeros(n_nodes)
    spare = usable.copy()
    value[pivot] = 0.0
    # depth of each node; -1 while not reached
    depth = np.full(n_nodes, -1)
    depth[pivot] = 0
    layer = 0
    moved = True
    while moved:
        moved = False
        for j in range(link_a.shape[0]):
            if not usable[j]:
                continue
            a, b = link_a[j], link_b[j]
            if depth[b] == layer and depth[a] < 0 and b < n_clocks:
                value[a], u2[a], bound[a] = value[b] + x[j], u2[b] + u[j] * u[j], bound[b] + limit[j]
                depth[a], spare[j], moved = layer + 1, False, True
            elif depth[a] == layer and depth[b] < 0 and a < n_clocks:
                value[b], u2[b], bound[b] = value[a] - x[j], u2[a] + u[j] * u[j], bound[a] + limit[j]
                depth[b], spare[j], moved = layer + 1, False, True
        layer += 1
    reached = 0
    clocks = 0
    for node in range(n_nodes):
        if depth[node] >= 0:
            reached += 1
            if node < n_clocks:
                clocks += 1
    return value, u2, bound, spare, reached, clocks


def against_pivot(readings: EpochReadings, marks: Marks, register: Register, *, preferred: int) -> AgainstPivot:
    """Return every node minus the pivot.

    `preferred`: node index of the clock to try first; where it has no usable link, the clock that reaches most nodes
    takes its place.
    """
    usable = marks.quality != _GAP
    best = None
    arguments = (register.link_a, register.link_b, readings.x_a_minus_b_s, readings.u_s, readings.limit_s, usable)
    for pivot in (preferred, *range(register.n_clocks)):
        value, u2, bound, spare, reached, clocks = walk(*arguments, pivot, register.n_nodes, register.n_clocks)
        if best is None or reached > best[1]:
            best = (AgainstPivot(pivot, value, u2, bound, spare, clocks == 1), reached)
        if reached > 1 and 2 * reached > register.n_nodes:
            break
    if best is None:
        nothing = np.zeros(register.n_nodes)
        return AgainstPivot(0, np.full(register.n_nodes, np.nan), nothing, nothing, usable, alone=True)
    return best[0]
