"""The part of `truechimer stability` that fits noises and predicts holdover: --fit, --clocks-toml and --holdover.

It computes nothing itself: `truechimer.stability` does. A clocks file is written with what was found and, as comments,
with what was not.
"""

import argparse
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli.option_values import durations, number
from truechimer.cli.stability_input import RecordFile, StabilityInputRejected, placed

if TYPE_CHECKING:
    from truechimer.stability import HoldoverPrediction, NoiseModel

NAME = re.compile(r"[A-Za-z0-9_.-]+")
WORDS = {
    "white_pm_s": "white PM",
    "flicker_pm_s": "flicker PM",
    "white_fm_1s": "white FM",
    "flicker_fm": "flicker FM",
    "random_walk_fm_1s": "random-walk FM",
}
UNITS = {"white_pm_s": "s", "flicker_pm_s": "s", "drift_per_day": "1/d"}


@dataclass(frozen=True, slots=True)
class Found:
    """What was asked for of one file."""

    model: "NoiseModel"
    holdover: "HoldoverPrediction | None"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this part."""
    fit = parser.add_argument_group("noise model and holdover")
    fit.add_argument("--fit", action="store_true", help="levels of the five noises and the drift, with intervals")
    fit.add_argument("--clocks-toml", type=Path, metavar="OUT", help="write them as Clocks TOML; needs --clock each")
    fit.add_argument(
        "--clock", action="append", default=[], metavar="NAME:KIND", help="the clock of each series in turn: H1:maser"
    )
    fit.add_argument(
        "--holdover",
        type=_durations,
        metavar="LIST",
        help="predict the phase so long after the record's end, with its error: 3600,12h,1d",
    )
    fit.add_argument(
        "--drift",
        type=_drift,
        default="fit",
        metavar="fit|none|PER_DAY",
        help="in the prediction: estimated (default), none, or a known one per day",
    )


def _durations(text: str) -> list[float]:
    return durations(text, says="is no time; give times above zero like 3600,12h,1d")


def _drift(text: str) -> str | float:
    if text in {"fit", "none"}:
        return text
    return number("is no drift; give fit, none, or a number per day like 1e-16", above=-1.0, most=1.0)(text)


def check_options(options: argparse.Namespace) -> None:
    """Refuse what is wrong in these options before any file is read."""
    from truechimer.clocks.clock import RESERVED_NAMES, ClockKind

    if options.holdover is None and options.drift != "fit":
        raise StabilityInputRejected("--drift says how --holdover predicts; give --holdover 1d too")
    if options.clocks_toml is None:
        if options.clock:
            raise StabilityInputRejected("--clock names a clock of --clocks-toml OUT; give that too")
        return
    options.fit = True
    chosen = options.pair or options.channel or [""]
    if "all" in chosen:
        raise StabilityInputRejected(
            "--clocks-toml needs a clock for each series; name them: --pair A,REF --pair B,REF"
        )
    if len(options.clock) != len(options.files) * len(chosen):
        raise StabilityInputRejected(
            f"--clocks-toml needs --clock NAME:KIND once for each series, and there are {len(options.clock)} for "
            f"{len(options.files) * len(chosen)} series. A record does not say what it is the record of"
        )
    kinds = [str(kind) for kind in ClockKind]
    for word in options.clock:
        name, _, kind = word.rpartition(":")
        if not NAME.fullmatch(name) or name in RESERVED_NAMES or name.startswith("UTC."):
            raise StabilityInputRejected(
                f"--clock {word}: {name!r} is no name for a clock; use letters, digits, '_', '.', '-', and none of "
                f"{', '.join(sorted(RESERVED_NAMES))}, UTC.*: --clock H1:maser"
            )
        if kind not in kinds:
            raise StabilityInputRejected(f"--clock {word}: there is no kind {kind!r}; kinds are {', '.join(kinds)}")
    names = [word.rpartition(":")[0] for word in options.clock]
    if len(set(names)) < len(names):
        raise StabilityInputRejected("--clock: two clocks have the same name; give each its own")


def found(file: RecordFile, options: argparse.Namespace) -> Found | None:
    """Fit and predict what was asked for; None where nothing was."""
    if not options.fit and options.holdover is None:
        return None
    # One thread: matrices of this size gain nothing from more, and lose much where another program is at work.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from truechimer import stability

    ci = options.ci or 0.683
    try:
        model = stability.fit_noise(file.record.values, file.tau0_s, data=file.data, ci=ci)
        told = None
        if options.holdover is not None:
            known = options.drift if isinstance(options.drift, float) else 0.0
            told = stability.predict_holdover(
                model,
                file.record.values,
                file.tau0_s,
                options.holdover,
                data=file.data,
                ci=ci,
                drift="fit" if options.drift == "fit" else "none",
                drift_per_day=known,
            )
    except stability.SeriesRejected as error:
        raise placed(file, error) from None
    except stability.StabilityMisuse as error:
        raise StabilityInputRejected(f"{file.name}: {error}") from None
    return Found(model, told)


def document(told: Found | None, options: argparse.Namespace) -> dict[str, Any]:
    """Return the keys that this part adds to a file's document."""
    if told is None:
        return {}
    body: dict[str, Any] = {"fit": told.model.as_json()} if options.fit else {}
    if told.holdover is not None:
        body["holdover"] = told.holdover.as_json()
    return body


def text(told: Found | None, options: argparse.Namespace) -> str:
    """Return the lines that this part adds to a file's table."""
    if told is None:
        return ""
    return (_fit_text(told.model) if options.fit else "") + _holdover_text(told.holdover)


def _fit_text(model: "NoiseModel") -> str:
    lines = [f"\n\nnoise model, {100.0 * model.ci:g} % interval"]
    for level in model.levels:
        name = WORDS.get(level.name, "drift")
        lines.append(f"{level.name:>18}  {level.says():<56} {UNITS.get(level.name, '1'):<4} {name}")
    mixture = ", ".join(f"{name} = {value:.3g}" for name, value in model.clock_noise().items())
    lines.append(f"  likeliest mixture: {mixture}")
    if model.bridged or model.left_out:
        lines.append(f"  gaps: {model.bridged} values bridged, {model.left_out} blocks left out")
    if model.misfit is not None and not model.misfit.is_described:
        lines.append(
            f"  not described by these noises: worst at periods of about {model.misfit.period_s:.3g} s, where the "
            f"power is {model.misfit.ratio:.3g} times the model's ({model.misfit.sigmas:.1f} sigmas in all)"
        )
    return "\n".join(lines)


def _holdover_text(told: "HoldoverPrediction | None") -> str:
    if told is None:
        return ""
    drift = {"fit": "drift estimated", "none": "drift given"}[told.drift]
    lines = [f"\n\nholdover, {100.0 * told.ci:g} % interval, {drift}"]
    lines.append(f"{'after/s':>12} {'change/s':>12} {'error/s +-':>12} {'rms/s':>12} {'of drift/s':>12}  most from")
    for k, horizon in enumerate(told.horizon_s.tolist()):
        half = 0.5 * float(told.upper_s[k] - told.lower_s[k])
        most = list(WORDS.values())[int(told.by_noise_s[k].argmax())]
        errors = " ".join(f"{each:>12.2e}" for each in (half, float(told.u_s[k]), float(told.of_drift_s[k])))
        lines.append(f"{horizon:>12.7g} {float(told.change_s[k]):>12.5e} {errors}  {most}")
    return "\n".join(lines)


def write_clocks(results: list[tuple[RecordFile, Found | None]], options: argparse.Namespace) -> None:
    """Write --clocks-toml, if it was asked for."""
    if options.clocks_toml is None:
        return
    parts = [
        _clock_text(word, file, told.model)
        for word, (file, told) in zip(options.clock, results, strict=True)
        if told is not None
    ]
    try:
        options.clocks_toml.write_text("\n".join(parts), encoding="utf-8")
    except OSError as error:
        raise StabilityInputRejected(
            f"{options.clocks_toml}: {error.strerror}; name a file that can be written"
        ) from None
    print(f"wrote {options.clocks_toml}", file=sys.stderr)


def _clock_text(word: str, file: RecordFile, model: "NoiseModel") -> str:
    name, _, kind = word.rpartition(":")
    source = json.dumps(Path(file.name).name)[1:-1]
    lines = [
        "[[clock]]",
        f"name = {json.dumps(name)}",
        f"kind = {json.dumps(kind)}",
        f"# Fitted to {source}: {model.n} values every {model.tau0_s:.9g} s, {file.data};",
        "# of a difference between two clocks it is the noise of both. white_pm_s is of one reading of that record.",
    ]
    lines += [f"#   {level.name}: {level.says()}" for level in model.levels]
    if model.misfit is not None and not model.misfit.is_described:
        lines.append(f"#   five noises do not describe the record, see periods of about {model.misfit.period_s:.3g} s")
    noise = ", ".join(f"{key} = {value:.6g}" for key, value in model.clock_noise().items())
    lines.append(f"noise = {{ {noise} }}")
    return "\n".join(lines) + "\n"
