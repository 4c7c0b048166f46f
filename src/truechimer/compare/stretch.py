# mypy: allow-untyped-defs, allow-untyped-calls
"""Stretch: the readings of many epochs cleaned and brought to the pivot in one call, as a replay wants them.

It decides nothing of its own: each epoch goes through `cleaning` and `pivot` as in a laboratory, and a test holds the
two ways equal to the bit. What it adds is why a clock was not read.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.register import Register
from truechimer.compare import cleaning, pivot
from truechimer.compare.cleaning import LinkHistory
from truechimer.kernel import kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

READ, NO_READING, FROZEN, NO_PATH = 0, 1, 2, 3
"""Why a clock has no value against the pivot at an epoch: it has; it was not read; its readings are frozen; no chain of
readings connects it to the others.
"""
_IS_GAP, _IS_FROZEN = int(cleaning.Quality.GAP), int(cleaning.Because.FROZEN)
_mark, _walk = cleaning.mark, pivot.walk


@dataclass(frozen=True, slots=True)
class Stretch:
    """Many epochs against the pivot: `x_node_minus_pivot_s` (NaN where nothing reaches the node) and `u2_s2`, shape
    `(n_epochs, n_nodes)`; `why (n_epochs, n_clocks)`: int8, see `READ`.
    """

    x_node_minus_pivot_s: Floats
    u2_s2: Floats
    why: NDArray[np.int8]


@kernel
def _prepare(  # noqa: PLR0917
    epoch_ns, x, u, history, limits, link_a, link_b, preferred, n_clocks, several, value, u2, why
):
    """Fill `value`, `u2` and `why`; return the links' history after the last epoch."""
    epochs, links = x.shape
    n_nodes = value.shape[1]
    none = np.zeros(links)
    usable = np.zeros(links, np.bool_)
    for k in range(epochs):
        out = _mark(epoch_ns[k], none, x[k], u[k], *(history + limits))
        quality, because = out[0], out[1]
        history = out[3:]
        for j in range(links):
            usable[j] = quality[j] != _IS_GAP
        most = -1
        for turn in range(n_clocks + 1):
            at = preferred if turn == 0 else turn - 1
            found = _walk(link_a, link_b, x[k], u[k], none, usable, at, n_nodes, n_clocks)
            if found[4] > most:
                most = found[4]
                nothing = several and found[5] == 1
                for i in range(n_nodes):
                    value[k, i], u2[k, i] = np.nan if nothing else found[0][i], found[1][i]
            if found[4] > 1 and 2 * found[4] > n_nodes:
                break
        for i in range(n_clocks):
            why[k, i] = 0 if np.isfinite(value[k, i]) else 1
        for j in range(links):
            for i in (link_a[j], link_b[j]):
                if i < n_clocks and why[k, i] != 0 and why[k, i] != 2:
                    if because[j] == _IS_FROZEN:
                        why[k, i] = 2
                    elif usable[j] and np.isfinite(x[k, j]):
                        why[k, i] = 3
    return history


def against_pivot(
    epoch_tai_ns: Ints,
    x_s: Floats,
    u_s: Floats,
    history: LinkHistory,
    register: Register,
    *,
    preferred: int,
    several: bool,
) -> tuple[Stretch, LinkHistory]:
    """Return the epochs against the pivot, and the history that the next epoch starts from.

    `x_s`, `u_s` `(n_epochs, n_links)`: NaN where a link gave no reading; `preferred` as in `pivot.against_pivot`.
    `several`: a pivot that no other clock is compared with at an epoch says nothing then.
    """
    n_epochs, n, nodes = len(epoch_tai_ns), register.n_clocks, register.n_nodes
    found = Stretch(
        np.full((n_epochs, nodes), np.nan),
        np.zeros((n_epochs, nodes)),
        np.zeros((n_epochs, n), np.int8),
    )
    after = _prepare(
        epoch_tai_ns,
        x_s,
        u_s,
        history.arrays(),
        (cleaning.OUTLIER_SIGMAS, cleaning.FROZEN_CHANCE, cleaning.MINIMUM_HISTORY),
        register.link_a,
        register.link_b,
        preferred,
        n,
        several,
        found.x_node_minus_pivot_s,
        found.u2_s2,
        found.why,
    )
    return found, LinkHistory(*after)
