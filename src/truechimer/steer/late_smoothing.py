"""UTC minus the scale in hindsight: what all values, those that came later too, say of a past epoch.

No order is made of it: an order knows only what came before. A report of UTC(k) between two points of Circular T, or
a plot of last year, is. Smoothed is the history that `delayed_data` keeps (its memory, see there).

Source: the modified Bryson and Frazier smoother (Bierman 1973), which goes back through the innovations and inverts no
covariance: before the rate is known, those of phase and rate are one number but for parts in 1e11. No fold depends on
it, so NumPy multiplies the matrices.
"""

from dataclasses import dataclass

import numpy as np

from truechimer.steer import delayed_data, delayed_filter
from truechimer.steer.delayed_data import DelayedData, Forecast, Mark
from truechimer.steer.delayed_filter import Estimate, Floats, PathKind


@dataclass(frozen=True, slots=True)
class _Node:
    """A filtered state, and the mark that it is the state after (None: an epoch that was asked for)."""

    state: Estimate
    mark: Mark | None


def smoothed(history: DelayedData, epochs_ns: tuple[int, ...]) -> tuple[Forecast | None, ...]:
    """Return phase and rate of UTC minus the scale at epochs (ns TAI), None before the first value in the memory; after
    the last value it is the forecast.
    """
    wanted = sorted(set(epochs_ns))
    nodes = _nodes(history, wanted)
    found: dict[int, Forecast] = {}
    n = delayed_filter.size_of(history.paths)
    small, large = np.zeros(n), np.zeros((n, n))
    for i in range(len(nodes) - 1, -1, -1):
        state = nodes[i].state
        if state.epoch_ns not in found:
            p = state.p - state.p @ large @ state.p
            past = Estimate(state.epoch_ns, state.mean - state.p @ small, 0.5 * (p + p.T))
            found[state.epoch_ns] = delayed_data.forecast_of(past)
        if i > 0:
            small, large = _back(history, nodes[i - 1].state, nodes[i], small, large)
    return tuple(found.get(epoch_ns) for epoch_ns in epochs_ns)


def _nodes(history: DelayedData, wanted: list[int]) -> list[_Node]:
    """Return the marks that have a state, and the epochs asked for between them, in order."""
    nodes: list[_Node] = []
    place = 0
    state = history.base
    if state is not None:
        nodes.append(_Node(state, None))
    for mark in history.marks:
        while place < len(wanted) and wanted[place] < mark.at[0]:
            if state is not None and state.epoch_ns <= wanted[place]:
                nodes.append(_Node(_ahead(history, state, wanted[place]), None))
            place += 1
        if mark.after is None:
            continue
        nodes.append(_Node(mark.after, mark))
        state = mark.after
    if state is not None:
        last = state
        nodes += [_Node(_ahead(history, last, each), None) for each in wanted[place:] if last.epoch_ns <= each]
    return nodes


def _ahead(history: DelayedData, state: Estimate, epoch_ns: int) -> Estimate:
    return delayed_data.carried(history, state, epoch_ns)


def _back(history: DelayedData, before: Estimate, node: _Node, small: Floats, large: Floats) -> tuple[Floats, Floats]:
    """Carry what later values say back over a node, to the filtered state before it."""
    course = delayed_filter.course(before.epoch_ns, node.state.epoch_ns, history.paths)
    mark = node.mark
    if mark is not None and mark.value is None:
        course[delayed_filter.clone_of(mark.at[2])] = course[delayed_filter.X]
    elif mark is not None and mark.value is not None and not mark.value.held:
        small, large = _over_value(history, _ahead(history, before, mark.at[0]), mark, small, large)
    return course.T @ small, course.T @ large @ course


def _over_value(
    history: DelayedData, expected: Estimate, mark: Mark, small: Floats, large: Floats
) -> tuple[Floats, Floats]:
    """Carry what later values say back over a value that was taken in, and add what it said itself."""
    value = mark.value
    assert value is not None
    h = np.zeros(len(expected.mean))
    h[delayed_filter.X] = 1.0
    at, since = delayed_filter.common_of(value.path), delayed_filter.clone_of(value.path)
    if history.paths[value.path].kind is PathKind.PHASE:
        h[at] = 1.0
    elif float(expected.p[since, since]) > 0.0:
        h[at], h[since] = value.span_s, -1.0
    else:
        return small, large
    innovation, column = delayed_filter.innovation_of(
        expected, history.paths, value.path, value=value.value, u=value.u, span_s=value.span_s
    )
    kept = np.eye(len(h)) - np.outer(column / innovation.variance, h)
    new_small = kept.T @ small - h * (innovation.by / innovation.variance)
    new_large = kept.T @ large @ kept + np.outer(h, h) / innovation.variance
    return new_small, new_large
