"""`truechimer stability FILE..`: frequency stability and time error of recorded series, with intervals.

It computes and parses nothing itself: `truechimer.formats.phase_record` reads, `truechimer.stability` computes. What a
file was taken for, its spacing and whatever is suspicious go to stderr; the numbers to stdout.

Exit status: 0 done; 1 a mask is exceeded; 2 wrong use or an unreadable file.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli import file_bytes, stability_fit, stability_input
from truechimer.cli.arguments import verb_parser
from truechimer.cli.stability_input import RecordFile, StabilityInputRejected, positive

if TYPE_CHECKING:
    from truechimer.cli.figure import Figure
    from truechimer.stability import StabilityCurve

DEVIATIONS = (
    *("adev", "oadev", "mdev", "tdev", "hdev", "ohdev", "totdev", "mtotdev", "ttotdev", "htotdev"),
    *("theo1", "theobr", "theoh", "pdev", "mtie", "tierms"),
)
COSTLY = frozenset({"mtotdev", "ttotdev", "htotdev", "theo1", "theobr", "theoh"})
"""They cost N^2 or more."""
BIASED = frozenset({"totdev", "mtotdev", "ttotdev", "htotdev", "theo1"})
WITHOUT_INTERVAL = frozenset({"mtie", "tierms"})
TAU_AGREES = 1e-3
"""An averaging time that differs from the wanted one by more than this part of it is said."""
MASK_BYTES = 1 << 20
SLOW_WITHOUT_CODE = 3_000
"""Above, it is said that the package for machine code is missing."""
SLOW_FROM = 30_000
"""With `--dev all`, longer records leave out the costly statistics, and say so."""


PICTURES = ("sigma", "phase", "frequency", "dynamic")


def main(argv: list[str]) -> int:
    """Run `stability` with the arguments after the verb; return the exit status."""
    options = _parser().parse_args(argv)
    _check(options)
    if options.plot is not None:
        from truechimer.cli import stability_plot

        stability_plot.check_target(options.plot)
    files = [file for name in options.files for file in stability_input.opened(Path(name), options)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = [(file, _compute(file, options, pool)) for file in files]
    verdicts = _judge(results, options)
    fits = {file.name: stability_fit.found(file, options) for file in files}
    if options.json:
        for file, curves in results:
            told = _document(file, curves, verdicts.get(file.name, []))
            print(json.dumps(told | stability_fit.document(fits[file.name], options)))
    else:
        for file, curves in results:
            print(_table(file, curves, verdicts.get(file.name, [])) + stability_fit.text(fits[file.name], options))
    stability_fit.write_clocks([(file, fits[file.name]) for file in files], options)
    if options.plot is not None:
        stability_plot.write(options.plot, _figures(results, verdicts, options))
        print(f"wrote {options.plot}", file=sys.stderr)
    return 1 if any(verdict.met is False for each in verdicts.values() for verdict in each) else 0


def _parser() -> argparse.ArgumentParser:
    parser = verb_parser(
        "stability",
        "Frequency stability and time error of recorded phase or frequency, with confidence intervals. Reads columns "
        "of numbers, CSV with a header, TimeLab and Stable32 text, TICC output and chrony's logs, gzip or not.",
    )
    parser.epilog = "Exit status: 0 done; 1 a mask is exceeded; 2 wrong use or a file that cannot be read."
    parser.add_argument("files", nargs="+", metavar="FILE", help="a record; - for standard input")
    parser.add_argument(
        "--dev", default="oadev", metavar="LIST|all", help=f"statistics, separated by commas: {', '.join(DEVIATIONS)}"
    )
    parser.add_argument(
        "--taus", default="octave", metavar="octave|decade|all|LIST", help="averaging times; a list is in seconds"
    )
    parser.add_argument("--ci", type=_level, default=0.683, metavar="P", help="level of the interval, or none (0.683)")
    parser.add_argument("--detrend", choices=("none", "offset", "linear", "quadratic"), default="none")
    parser.add_argument(
        "--noise",
        type=_noise,
        default="spectrum",
        metavar="ALPHA|lag1",
        help="noise type 2 .. -2 of the intervals (default: identified by the spectrum), or by lag-1 autocorrelation",
    )
    parser.add_argument(
        "--edf", choices=("exact", "sp1065"), default="exact", help="degrees of freedom of the intervals (exact)"
    )
    parser.add_argument("--bias", choices=("none", "sp1065"), default="none", help="take out the bias SP 1065 states")
    parser.add_argument("--mask", action="append", default=[], metavar="NAME|FILE", help="judge MTIE or TDEV by a mask")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="draw it: a file ending in .svg, .html or .png")
    parser.add_argument(
        "--show",
        metavar="LIST",
        help=f"what --plot draws, separated by commas: {', '.join(PICTURES)} (default: sigma)",
    )
    parser.add_argument("--window", type=positive, metavar="S", help="of the dynamic picture (default: a tenth)")
    stability_fit.add_options(parser)
    stability_input.add_options(parser)
    parser.add_argument("--approximate", action="store_true", help="average 64 ratios for theobr and theoh; it is said")
    parser.add_argument("--json", action="store_true", help="print one JSON document a file")
    return parser


def _level(text: str) -> float | None:
    if text == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no level; give one between 0 and 1, or none") from None
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"{text} is no level; give one between 0 and 1 (0.683 is one sigma), or none")
    return value


def _noise(text: str) -> int | str:
    if text in {"spectrum", "lag1"}:
        return text
    if text not in {"2", "1", "0", "-1", "-2"}:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no noise type: 2 white PM, 1, 0 white FM, -1, -2 random-walk FM; or lag1"
        )
    return int(text)


def _check(options: argparse.Namespace) -> None:
    """Refuse what is wrong in the arguments before any file is read."""
    options.names = list(DEVIATIONS) if options.dev == "all" else options.dev.split(",")
    unknown = [name for name in options.names if name not in DEVIATIONS]
    if unknown:
        raise StabilityInputRejected(f"there is no statistic {unknown[0]!r}; choose from {', '.join(DEVIATIONS)}")
    options.names = list(dict.fromkeys(options.names))
    options.masks = _masks(options)
    if options.plot is None and (options.show or options.window):
        raise StabilityInputRejected("--show and --window say what is drawn: give --plot OUT too")
    options.show = (options.show or "sigma").split(",")
    if any(word not in PICTURES for word in options.show):
        raise StabilityInputRejected(f"--show takes {', '.join(PICTURES)}, separated by commas")
    if options.taus not in {"octave", "decade", "all"}:
        try:
            options.taus = [positive(word) for word in options.taus.split(",")]
        except argparse.ArgumentTypeError as error:
            says = f"--taus: {error}; give octave, decade, all or seconds like 1,10,100"
            raise StabilityInputRejected(says) from None
    stability_input.check_options(options)
    stability_fit.check_options(options)


def _masks(options: argparse.Namespace) -> "list[Any]":
    """Return the masks that were asked for, by name or from a TOML file."""
    from truechimer.stability import masks

    found = []
    for word in options.mask:
        path = Path(word)
        if path.suffix == ".toml":
            found += masks.read(file_bytes.read(path, at_most=MASK_BYTES))
        else:
            found += masks.named(word)
    return found


def _compute(file: RecordFile, options: argparse.Namespace, pool: ThreadPoolExecutor) -> "dict[str, StabilityCurve]":
    from truechimer import stability

    names = options.names
    if options.dev == "all" and file.record.values.size > SLOW_FROM:
        names = [name for name in names if name not in COSTLY]
        print(
            f"{file.name}: {file.record.values.size} values: left out for their cost, name them to have them: "
            f"{', '.join(sorted(COSTLY))}",
            file=sys.stderr,
        )
    for mask in options.masks:
        if mask.statistic not in names:
            names = [*names, mask.statistic]
    if not COSTLY.isdisjoint(names) and file.record.values.size > SLOW_WITHOUT_CODE and find_spec("numba") is None:
        print(
            f"{file.name}: without machine code the totals and Theo1 take many times as long: install truechimer[fast]",
            file=sys.stderr,
        )
    curves = {}
    for name in names:
        arguments: dict[str, Any] = {"data": file.data, "detrend": options.detrend}
        if name not in WITHOUT_INTERVAL:
            arguments |= {"ci": options.ci, "edf_from": options.edf}
            arguments |= {"noise_from" if isinstance(options.noise, str) else "alpha": options.noise}
        if name in BIASED:
            arguments["bias"] = options.bias
        arguments["spread"] = pool.map
        if name in {"theobr", "theoh"} and options.approximate:
            arguments["approximation"] = "thinned"
        factors = _factors(file, name, options.taus)
        function: Callable[..., StabilityCurve] = getattr(stability, name)
        try:
            curves[name] = function(file.record.values, file.tau0_s, factors, **arguments)
        except stability.SeriesRejected as error:
            if options.dev != "all":
                raise stability_input.placed(file, error) from None
            print(f"{file.name}: no {name}: {error}", file=sys.stderr)
    return curves


def _factors(file: RecordFile, name: str, taus: "str | list[float]") -> Any:
    """Return the averaging factors nearest to `taus`, and say where there is none at a wanted averaging time."""
    if isinstance(taus, str):
        return taus
    from truechimer.stability.factors import from_taus

    step = 1.5 if name in {"theo1", "theobr"} else 1.0
    moved = []
    for tau in taus:
        (factor,) = from_taus([tau], file.tau0_s, factor=step)
        nearest = factor * step * file.tau0_s
        if abs(nearest - tau) > TAU_AGREES * tau:
            moved.append(f"{nearest:.7g} for {tau:.7g}")
    if moved:
        says = f"averaging times are multiples of {step * file.tau0_s:.7g} s; the nearest are taken: {', '.join(moved)}"
        print(f"{file.name}: {name}: {says}", file=sys.stderr)
    factors = from_taus(taus, file.tau0_s, factor=step)
    return [2 * factor for factor in factors] if step > 1.0 else factors


def _figures(
    results: "list[tuple[RecordFile, dict[str, StabilityCurve]]]",
    verdicts: dict[str, list[Any]],
    options: argparse.Namespace,
) -> "list[Figure]":
    """Return the pictures that --show asks for."""
    from truechimer.cli import stability_plot

    figures = []
    if "sigma" in options.show:
        named = [
            stability_plot.NamedCurve(
                stability_input.short_name(file),
                curve,
                tuple(each for each in verdicts[file.name] if each.mask.statistic == curve.statistic),
            )
            for file, curves in results
            for curve in curves.values()
        ]
        figures += stability_plot.sigma_tau(named, options.masks)
    for kind in ("phase", "frequency"):
        if kind in options.show:
            drawn = [
                stability_plot.Trace(stability_input.short_name(file), _as(file, kind), file.tau0_s)
                for file, _ in results
            ]
            figures.append(stability_plot.over_time(drawn, kind=kind))
    if "dynamic" in options.show:
        figures += [_dynamic(file, options) for file, _ in results]
    return figures


def _as(file: RecordFile, kind: str) -> Any:
    """Return a record's values as phase or as frequency; a missing frequency counts as the mean in the picture."""
    import numpy as np

    values = file.record.values
    if kind == file.data:
        return values
    if kind == "frequency":
        return np.diff(values) / file.tau0_s
    return (
        np.concatenate([[0.0], np.nancumsum(np.where(np.isfinite(values), values, np.nanmean(values)))]) * file.tau0_s
    )


def _dynamic(file: RecordFile, options: argparse.Namespace) -> "Figure":
    from truechimer import stability
    from truechimer.cli import stability_plot

    size = file.record.values.size
    window = round(options.window / file.tau0_s) if options.window else max(size // 10, min(size, 20))
    name = next((each for each in options.names if each not in {"theobr", "theoh"}), "oadev")
    found = stability.dynamic(
        file.record.values, file.tau0_s, window=min(window, size), statistic=name, data=file.data, ci=None
    )
    return stability_plot.surface(stability_input.short_name(file), found)


def _judge(
    results: "list[tuple[RecordFile, dict[str, StabilityCurve]]]", options: argparse.Namespace
) -> dict[str, list[Any]]:
    from truechimer.stability import masks

    return {
        file.name: [masks.judge(curves[mask.statistic], mask) for mask in options.masks] for file, curves in results
    }


def _document(file: RecordFile, curves: "dict[str, StabilityCurve]", verdicts: list[Any]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "file": file.path,
        **({"series": file.series} if file.series else {}),
        "took_for": file.record.took_for,
        "data": file.data,
        "n": int(file.record.values.size),
        "tau0_s": file.tau0_s,
        "deviations": {name: curve.as_json() for name, curve in curves.items()},
    }
    if verdicts:
        told["masks"] = [verdict.as_json() for verdict in verdicts]
    return told


NOISES = {2: "white PM", 1: "flicker PM", 0: "white FM", -1: "flicker FM", -2: "random-walk FM"}


def _table(file: RecordFile, curves: "dict[str, StabilityCurve]", verdicts: list[Any]) -> str:
    lines = [f"{file.name}: {file.record.values.size} values, tau0 {file.tau0_s:.9g} s"]
    for name, curve in curves.items():
        has_interval = any(value == value for value in curve.lower)  # noqa: PLR0124 - NaN where there is none
        level = f", {100 * curve.ci:g} % interval" if curve.ci is not None and has_interval else ""
        bias = ", bias taken out (SP 1065)" if curve.bias != "none" else ""
        near = f", {curve.approximation}" if curve.approximation else ""
        if has_interval and curve.edf_from == "sp1065":
            level += " with degrees of freedom of SP 1065"
        if has_interval and curve.noise_from == "lag1":
            level += ", noise by lag-1 autocorrelation"
        lines.append(f"\n{name}{level}{bias}{near}")
        lines.append(f"{'tau/s':>12} {'value':>12} {'lower':>12} {'upper':>12} {'n':>9}  noise")
        if not len(curve):
            lines.append("  no values: no averaging time has enough points")
        for k in range(len(curve)):
            noise = NOISES.get(int(curve.noise[k]), "") if curve.noise[k] == curve.noise[k] else ""
            figures = " ".join(_figure(float(each[k])) for each in (curve.value, curve.lower, curve.upper))
            lines.append(f"{curve.tau_s[k]:>12.7g} {figures} {int(curve.n[k]):>9}  {noise}".rstrip())
        step_s = curve.tau0_s * (0.75 if name in {"theo1", "theobr"} else 1.0)
        lines += [f"  tau = {each.m * step_s:.7g} s (m = {each.m}) skipped: {each.why}" for each in curve.skipped]
    lines += [f"\n{verdict.says()}" for verdict in verdicts]
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:>12.5e}" if value == value else f"{'-':>12}"  # noqa: PLR0124
