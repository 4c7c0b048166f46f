"""What `scale replay --leave-one-out` tells: how often each clock came within the sigma it was predicted with.

It predicts nothing: `truechimer.scale.leave_one_out` does.
"""

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from truechimer.cli import scale_words
from truechimer.cli.option_values import durations

if TYPE_CHECKING:
    from truechimer.scale.leave_one_out import LeaveOneOut, Predictions

HORIZONS_S = (3_600.0, 86_400.0)
MOST_HORIZONS = 12
LONGEST_S = 366 * 86_400.0
WANTED = (0.60, 0.76)
"""Coverage of one sigma that is as it should be: 68 % +- 8."""
NAME_ROOM, CELL = 14, 28
PS = 1e12


def horizons(text: str) -> list[float]:
    """Return the seconds of a list like `1h,6h,1d`; for `argparse`."""
    found = durations(text, says="is no time to predict over; give some like 3600,6h,1d", most_s=LONGEST_S)
    if len(found) > MOST_HORIZONS:
        raise argparse.ArgumentTypeError(f"{len(found)} horizons; at most {MOST_HORIZONS} are predicted")
    return sorted(set(found))


def document(told: "LeaveOneOut") -> dict[str, Any]:
    """Return the JSON document: for each horizon the coverage of all clocks together and of each."""
    return {
        "leave_one_out": {
            "groups": told.groups,
            "judged_from_tai_ns": told.judged_from_tai_ns,
            "horizons": [_horizon(told, each) for each in told.horizons],
        }
    }


def _horizon(told: "LeaveOneOut", each: "Predictions") -> dict[str, Any]:
    one: dict[str, Any] = {
        "horizon_s": each.horizon_s,
        "predictions": len(each.clock),
        "unsettled": int(each.unsettled.sum()),
    }
    if len(each.clock):
        one["coverage"] = each.coverage()
        one["coverage_of_model"] = each.coverage(model=True)
    one["clocks"] = [
        {
            "name": told.clocks[i].name,
            "predictions": int((each.clock == i).sum()),
            "unsettled": int(each.unsettled[i]),
            "coverage": each.coverage(i),
            "rms_error_s": _rms(each.error_s[each.clock == i]),
            "u_s": float(np.median(each.u_s[each.clock == i])),
        }
        for i in np.unique(each.clock).tolist()
    ]
    return one


def _rms(values: Any) -> float:
    return math.sqrt(float(np.mean(values * values)))


def _cell(each: "Predictions", i: int) -> str:
    of = each.clock == i
    if not of.any():
        return "-"
    u = float(np.median(each.u_s[of]))
    return f"{PS * _rms(each.error_s[of]):8.4g} {PS * u:10.4g} {100 * each.coverage(i):4.0f} %"


def lines(told: "LeaveOneOut", *, shown: int = 400) -> list[str]:
    """Return the table: of each clock and horizon what came, what was stated, and how often it sufficed."""
    out = [f"each clock predicted from the others ({told.groups} runs), judged in the second half of the record:"]
    judged = [each for each in told.horizons if len(each.clock)]
    for each in told.horizons:
        word = scale_words.duration(each.horizon_s)
        if not len(each.clock):
            out.append(f"  {word}: no room for a prediction in the second half")
            continue
        verdict = "as it should be" if WANTED[0] <= each.coverage() <= WANTED[1] else "NOT as it should be (68 ± 8 %)"
        out.append(
            f"  {word}: {100 * each.coverage():.1f} % within the stated sigma, {verdict}; {len(each.clock)} "
            f"predictions, {int(each.unsettled.sum())} set aside (the clock was out); by the learned noise alone "
            f"{100 * each.coverage(model=True):.1f} %"
        )
    if not judged:
        return out
    heads = "  ".join(f"{'over ' + scale_words.duration(each.horizon_s):>{CELL}}" for each in judged)
    units = "  ".join([f"{'rms / ps sigma / ps within':>{CELL}}"] * len(judged))
    out += ["", f"{'clock':<{NAME_ROOM}} {heads}", f"{'':<{NAME_ROOM}} {units}"]
    named: Sequence[int] = sorted({i for each in judged for i in each.clock.tolist()})
    for i in named[:shown]:
        cells = [f"{_cell(each, i):>{CELL}}" for each in judged]
        out.append(f"{told.clocks[i].name:<{NAME_ROOM}.{NAME_ROOM}} " + "  ".join(cells))
    if len(named) > shown:
        out.append(f"... and {len(named) - shown} clocks more (--json names all)")
    return out
