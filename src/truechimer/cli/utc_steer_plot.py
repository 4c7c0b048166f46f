"""The picture of `truechimer utc steer --plot`: UTC - UTC(k) as published and as replayed, and the forecast's sigma.

It replays nothing; `figure.py` lays out.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from truechimer.cli.figure import Figure, linear_axis
from truechimer.cli.stability_plot import check_target, write_figures
from truechimer.instants.mjd import MJD_OF_1970

if TYPE_CHECKING:
    from truechimer.cli.utc_steer_run import Judged, Replay

NS = 1e9
MOST_POINTS = 4_000

__all__ = ["check_target", "write"]


def write(path: Path, replay: "Replay") -> None:
    """Draw a replay into a file."""
    shown = [each for each in replay.judged if each.ours_s is not None][-MOST_POINTS:]
    write_figures(path, [_both(replay, shown), _rates(replay)] if shown else [_rates(replay)])


def _day(epoch_ns: int) -> float:
    return MJD_OF_1970 + epoch_ns / 86_400e9


def _both(replay: "Replay", shown: "list[Judged]") -> Figure:
    every = max(1, len(replay.orders) // MOST_POINTS)
    orders = replay.orders[::every]
    days = [_day(each.epoch_ns) for each in orders]
    sigma = [each.forecast.u_x_s * NS for each in orders]
    own, ours = [each.own_s * NS for each in shown], [(each.ours_s or 0.0) * NS for each in shown]
    at = [each.published.mjd for each in shown]
    x_axis = linear_axis("MJD", [*at, *days])
    y_axis = linear_axis("UTC - UTC(k) / ns", [*own, *ours, *sigma, *[-each for each in sigma]])
    figure = Figure("UTC - UTC(k), published and replayed", x_axis, y_axis, ("each value counts from its publication",))
    figure.band(days, [-each for each in sigma], sigma, number=2)
    figure.patch("one sigma of the forecast when the order was given", number=2)
    nothing = [(float("nan"), float("nan"))] * len(at)
    figure.points(at, own, bars=nothing, number=0, crossed=[False] * len(at), name="as published")
    figure.points(at, ours, bars=nothing, number=1, crossed=[False] * len(at), name="replayed")
    return figure


def _rates(replay: "Replay") -> Figure:
    every = max(1, len(replay.orders) // MOST_POINTS)
    orders = replay.orders[::every]
    days = [_day(each.epoch_ns) for each in orders]
    rates = [each.order.y_steer * 1e15 for each in orders]
    x_axis = linear_axis("MJD", days or [0.0, 1.0])
    y_axis = linear_axis("y_steer / 1e-15", rates or [0.0, 1.0])
    figure = Figure("Rate of UTC(k) minus the scale", x_axis, y_axis, ("frequency only",))
    figure.line(days, rates, number=1)
    return figure
