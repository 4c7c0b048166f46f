"""`truechimer utc steer FILE..`: what our prediction and law would have made of a laboratory's published values.

Values come from `utc_published`, the replay from `utc_steer_run`. Nothing is steered by it. Two figures stand side by
side: UTC - UTC(k) as it was published, and UTC minus the UTC(k) of the replay at the same points.

Exit status: 0 done; 1 the rate never became known well enough to begin; 2 wrong use, or a file that cannot be used.
"""

import argparse
import json
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli.option_values import number
from truechimer.errors import Rejected

if TYPE_CHECKING:
    from truechimer.cli.utc_published import Published
    from truechimer.cli.utc_steer_run import Rate, Replay
    from truechimer.steer.delayed_filter import FreeNoise
    from truechimer.steer.lqg import Aim

DRIFT_PER_DAY = {"maser": 3e-16, "caesium": 1e-17, "fountain": 1e-17, "rubidium": 1e-13, "oscillator": 1e-11}
"""One sigma of a kind's drift, where nothing more is known."""
KINDS = tuple(DRIFT_PER_DAY)
MOST_NAMED = 20
NS = 1e9
OPTIONS = {"per-change": "per-change", "per-day": "per-day-ns", "total": "total-ns"}
"""Limits, and the options that state them."""
TABLE_ROWS = 24
MOST_ORDERS = 200_000
_above_0, _above_1 = number("is not above 0", above=0.0), number("is not above 1", above=1.0)
_not_below_0, _day = number("is not 0 or more", least=0.0), number("is not above 40000", above=40_000.0)


class SteerRejected(Rejected):
    """Words or files that no replay can be made of."""


def add(verbs: Any) -> None:
    """Add the verb's arguments."""
    steer = verbs.add_parser(
        "steer",
        help="replay: what our steering would have done with published values",
        description="Reads Circular T, rapid UTC, answers of the BIPM's server, clock files in seconds or a CSV "
        "(epoch_mjd,x_utc_minus_utck_s[,u_s,u_common_s,available_mjd]); every value takes part from the day on which "
        "it was published. Prints UTC - UTC(k) as published beside that of the replay, and the next order.",
        allow_abbrev=False,
    )
    steer.add_argument("files", metavar="FILE", nargs="+", type=Path)
    steer.add_argument("--laboratory", metavar="CODE", help="whose UTC(k), where a file has several")
    steer.add_argument(
        "--kind", choices=KINDS, default="maser", help="the clock that is the free scale (default: maser)"
    )
    steer.add_argument("--clocks", metavar="CLOCKS.toml", type=Path, help="the clocks of the ensemble, in its place")
    steer.add_argument(
        "--coordination",
        metavar="CSV",
        type=Path,
        help="how the laboratory has steered: epoch_mjd,x_utck_minus_scale_s (without it UTC(k) is taken to run free)",
    )
    steer.add_argument(
        "--fountain", metavar="CSV", type=Path, help="rates: epoch_mjd,y_utc_minus_scale,u,span_s (interval's end)"
    )
    steer.add_argument("--fountain-ub", metavar="Y", type=_not_below_0, default=2e-16, help="its u_B (2e-16)")
    steer.add_argument("--every-h", metavar="H", type=_above_0, default=6.0, help="between orders (6)")
    steer.add_argument(
        "--time-constant-d",
        metavar="D",
        type=_above_0,
        help="of the law; else chosen by aim",
    )
    steer.add_argument(
        "--accuracy",
        metavar="R",
        type=_above_1,
        help="error over that of the forecast, rms (1.05)",
    )
    steer.add_argument(
        "--day-stability",
        metavar="R",
        type=_above_1,
        help="Allan deviation of a day over the free scale's",
    )
    steer.add_argument("--per-change", metavar="Y", type=_above_0, default=2.3e-14, help="limit (2.3e-14)")
    steer.add_argument("--per-day-ns", metavar="NS", type=_above_0, default=10.0, help="limit (10)")
    steer.add_argument("--total-ns", metavar="NS", type=_above_0, default=1e5, help="limit (1e5)")
    steer.add_argument("--believe-all", action="store_true", help="hold no value back, however little it fits")
    steer.add_argument(
        "--until",
        metavar="MJD",
        type=_day,
        help="end of the replay (last value)",
    )
    steer.add_argument("--out", metavar="CSV", type=Path, help="every order")
    steer.add_argument(
        "--between",
        metavar="CSV",
        type=Path,
        help="the laboratory's own UTC - UTC(k) of every day, in hindsight, with u",
    )
    steer.add_argument("--plot", metavar="OUT", type=Path, help="draw both UTC(k): .svg, .html or .png")
    steer.add_argument("--json", action="store_true", help="print one JSON document")
    steer.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Replay, and tell."""
    from truechimer.cli import utc_published, utc_steer_plot, utc_steer_run
    from truechimer.steer.delayed_filter import DAY_S
    from truechimer.steer.late_steering import LateParameters

    if options.plot is not None:
        utc_steer_plot.check_target(options.plot)
    _check_targets(options)
    found = utc_published.read(options.files, options.laboratory)
    rates = () if options.fountain is None else _rates(options.fountain)
    course = () if options.coordination is None else _course(options.coordination)
    for path, finding in found.findings[:MOST_NAMED]:
        print(f"{finding.at(str(path))} [{finding.rule}]", file=sys.stderr)
    until_ns = None if options.until is None else utc_published.epoch_ns(options.until)
    first, last = found.values[0], max(each.available_mjd for each in found.values)
    span_d = (options.until if options.until is not None else last) - first.available_mjd
    if span_d * 24.0 / options.every_h > MOST_ORDERS:
        raise SteerRejected(f"{span_d:.0f} days with an order every {options.every_h:g} h: take a longer --every-h")
    parameters = LateParameters(
        interval_s=options.every_h * 3600.0,
        aim=_aim(options),
        judged=not options.believe_all,
        time_constant_s=None if options.time_constant_d is None else options.time_constant_d * DAY_S,
    )
    limits = utc_steer_run.limits_of(
        per_change=options.per_change, per_day_s=options.per_day_ns / NS, total_s=options.total_ns / NS
    )
    replay = utc_steer_run.replay(
        found.values,
        rates,
        course,
        noise=_noise(options),
        u_fountain=options.fountain_ub,
        parameters=parameters,
        limits=limits,
        until_ns=until_ns,
    )
    if options.out is not None:
        _write(options.out, replay)
    if options.between is not None:
        days = utc_steer_run.between(found.values, rates, course, noise=_noise(options), u_fountain=options.fountain_ub)
        rows = [f"{_mjd(each.epoch_ns):.0f},{each.x_utc_minus_utck_s!r},{each.u_s!r}" for each in days]
        _written(options.between, ["epoch_mjd,x_utc_minus_utck_s,u_s", *rows])
    if options.plot is not None:
        utc_steer_plot.write(options.plot, replay)
    body = _document(replay)
    print(json.dumps(body) if options.json else "\n".join(_lines(body, replay)))
    return 0 if replay.orders else 1


def _aim(options: argparse.Namespace) -> "Aim":
    from truechimer.steer.lqg import Aim

    accuracy = Aim().accuracy if options.accuracy is None else options.accuracy
    return Aim(accuracy=accuracy, day_stability=options.day_stability)


def _noise(options: argparse.Namespace) -> "FreeNoise":
    from truechimer.clocks.clock import Clock, ClockKind, NoiseModel
    from truechimer.clocks.state_model import two_state_noise
    from truechimer.steer.delayed_filter import DAY_S
    from truechimer.steer.scale_noise import free_noise

    if options.clocks is not None:
        from truechimer.cli import scale_input

        clocks = scale_input.read_clocks(options.clocks)
    else:
        clocks = (Clock(name="scale", kind=ClockKind(options.kind), noise=NoiseModel()),)
    known = [two_state_noise(clock) for clock in clocks if clock.kind.value in DRIFT_PER_DAY]
    if not known:
        raise SteerRejected(f"{options.clocks}: no clock that a scale could be made of ({', '.join(KINDS)})")
    drift = min(DRIFT_PER_DAY[clock.kind.value] for clock in clocks if clock.kind.value in DRIFT_PER_DAY)
    return free_noise(
        tuple((each.q1, each.floor * each.floor, each.q2) for each in known),
        y_spread=min(each.y_spread for each in known),
        drift_spread=drift / DAY_S,
    )


def _rates(path: Path) -> "tuple[Rate, ...]":
    from truechimer.cli import file_bytes, utc_published
    from truechimer.cli.utc_steer_run import Rate

    data = file_bytes.read_text(path, at_most=utc_published.LARGEST_FILE)
    rows, findings = utc_published.rows_of(path, data, ("epoch_mjd", "y_utc_minus_scale", "u", "span_s"))
    _named(path, findings)
    rates = [Rate(row["epoch_mjd"], row["y_utc_minus_scale"], row["u"], row["span_s"]) for row in rows]
    usable = [each for each in rates if each.u > 0.0 and 0.0 < each.span_s <= 1e8]
    if len(usable) < len(rates):
        print(f"{path}: {len(rates) - len(usable)} rows without a positive u and span_s are left out", file=sys.stderr)
    if not usable:
        raise SteerRejected(f"{path}: no rate in it; columns epoch_mjd,y_utc_minus_scale,u,span_s")
    return tuple(usable)


def _course(path: Path) -> tuple[tuple[int, float], ...]:
    from truechimer.cli import file_bytes, utc_published

    data = file_bytes.read_text(path, at_most=utc_published.LARGEST_FILE)
    rows, findings = utc_published.rows_of(path, data, ("epoch_mjd", "x_utck_minus_scale_s"))
    _named(path, findings)
    if not rows:
        raise SteerRejected(f"{path}: no point in it; columns epoch_mjd,x_utck_minus_scale_s")
    by_epoch = {utc_published.epoch_ns(row["epoch_mjd"]): row["x_utck_minus_scale_s"] for row in rows}
    return tuple(sorted(by_epoch.items()))


def _named(path: Path, findings: list[Any]) -> None:
    for finding in findings[:MOST_NAMED]:
        print(f"{finding.at(str(path))} [{finding.rule}]", file=sys.stderr)


def _check_targets(options: argparse.Namespace) -> None:
    """Refuse to write over what is read."""
    sources = [each for each in (*options.files, options.clocks, options.coordination, options.fountain) if each]
    for target in (options.out, options.plot, options.between):
        if target is not None and any(target.exists() and each.exists() and target.samefile(each) for each in sources):
            raise SteerRejected(f"{target}: is one of the files that are read; write to another")


def _write(path: Path, replay: "Replay") -> None:
    lines = ["epoch_mjd,y_steer,x_utck_minus_scale_s,x_utc_minus_utck_s,u_s,time_constant_d,cut_by,because"]
    for each in replay.orders:
        e = each.forecast.x_s - each.x_utck_minus_scale_s
        lines.append(
            f"{_mjd(each.epoch_ns):.6f},{each.order.y_steer!r},{each.x_utck_minus_scale_s!r},{e!r},"
            f'{each.forecast.u_x_s!r},{each.time_constant_s / 86_400.0:.3f},{each.order.cut_by},"{each.order.because}"'
        )
    _written(path, lines)


def _written(path: Path, lines: list[str]) -> None:
    try:
        path.write_text("\n".join(lines) + "\n")
    except OSError as error:
        raise SteerRejected(f"{path}: cannot be written ({error.strerror}): name another file") from None


def _mjd(epoch_ns: int) -> float:
    from truechimer.instants.mjd import MJD_OF_1970

    return MJD_OF_1970 + epoch_ns / 86_400e9


def _document(replay: "Replay") -> dict[str, Any]:
    from truechimer.cli.utc_steer_run import rms

    body: dict[str, Any] = {"values": len(replay.judged), "orders": len(replay.orders)}
    body["refused"] = [{"path": each.path, "mjd": each.mjd, "because": fate.value} for each, fate in replay.refused]
    body["held"] = [
        {"says": says, "values": one.n, "from_mjd": _mjd(one.since_ns), "to_mjd": _mjd(one.until_ns)}
        | {"last_so_mjd": _mjd(at_ns)}
        for at_ns, one, says in replay.held
    ]
    both = [each for each in replay.judged if each.ours_s is not None]
    if both:
        ours = [each.ours_s for each in both if each.ours_s is not None]
        own = [each.own_s for each in both]
        body["compared"] = {
            "values": len(both),
            "published_rms_s": rms(own),
            "published_max_s": max(abs(each) for each in own),
            "replayed_rms_s": rms(ours),
            "replayed_max_s": max(abs(each) for each in ours),
        }
    if replay.orders:
        last = replay.orders[-1]
        sizes = [abs(b.order.y_steer - a.order.y_steer) for a, b in pairwise(replay.orders)]
        body |= {
            "began_mjd": _mjd(replay.orders[0].epoch_ns),
            "time_constant_s": last.time_constant_s,
            "largest_change": max(sizes, default=0.0),
            "cut": sum(bool(each.order.cut_by) for each in replay.orders),
            "cut_by": dict(Counter(each.order.cut_by for each in replay.orders if each.order.cut_by)),
        }
    if replay.last is not None:
        body["until_mjd"] = _mjd(replay.until_ns)
        forecast: dict[str, float] = {"u_s": replay.last.u_x_s, "u_y": replay.last.u_y}
        forecast["drift_per_day"] = replay.last.drift * 86_400.0
        if replay.orders:
            last = replay.orders[-1]
            elapsed_s = (replay.until_ns - last.epoch_ns) / 1e9
            x_utck = last.x_utck_minus_scale_s + last.order.y_steer * elapsed_s
            forecast["x_utc_minus_utck_s"] = replay.last.x_s - x_utck
            forecast["y_steer"] = last.order.y_steer
        body["forecast"] = forecast
    return body


def _lines(body: dict[str, Any], replay: "Replay") -> list[str]:
    lines = []
    shown = [each for each in replay.judged if each.ours_s is not None][-TABLE_ROWS:]
    if shown:
        lines.append(f"{'MJD':>9}  {'from':<8} {'UTC - UTC(k) / ns':>18} {'replayed / ns':>14}")
        lines += [_row(each.published, each.own_s, each.ours_s or 0.0) for each in shown]
    if compared := body.get("compared"):
        lines.append(
            f"rms over {compared['values']} values: published {compared['published_rms_s'] * NS:.2f} ns, replayed "
            f"{compared['replayed_rms_s'] * NS:.2f} ns; largest {compared['published_max_s'] * NS:.2f} and "
            f"{compared['replayed_max_s'] * NS:.2f} ns"
        )
    if body["orders"]:
        lines.append(
            f"{body['orders']} orders since MJD {body['began_mjd']:.2f}, largest change {body['largest_change']:.2e}, "
            f"{body['cut']} cut by a limit{_limits(body['cut_by'])}; "
            f"time constant {body['time_constant_s'] / 86_400.0:.2f} d"
        )
    else:
        lines.append("no order: the rate of UTC minus the scale is not known well enough; give more values")
    if "forecast" in body and body["orders"]:
        ahead = body["forecast"]
        lines.append(
            f"MJD {body['until_mjd']:.2f}: UTC - UTC(k) {ahead['x_utc_minus_utck_s'] * NS:+.2f} ns, one sigma "
            f"{ahead['u_s'] * NS:.2f} ns; y_steer {ahead['y_steer']:+.3e}"
        )
    if body["refused"]:
        lines.append(f"{len(body['refused'])} values not taken: {body['refused'][0]['because']}")
    for each in body["held"]:
        span = (
            f"MJD {each['from_mjd']:.2f} to {each['to_mjd']:.2f}" if each["values"] else f"MJD {each['from_mjd']:.2f}"
        )
        lines.append(f"{span}: {each['says']}")
    return lines


def _limits(cut_by: dict[str, int]) -> str:
    """Return how many orders each limit cut, in brackets, with the option that states it."""
    told = [f"--{words} {cut_by[name]}" for name, words in OPTIONS.items() if name in cut_by]
    return f" ({', '.join(told)})" if told else ""


def _row(published: "Published", own_s: float, ours_s: float) -> str:
    return f"{published.mjd:>9.1f}  {published.path:<8} {own_s * NS:>18.2f} {ours_s * NS:>14.2f}"
