"""`truechimer utc holdover [FILE..]`: how sure UTC would be without anything from outside, and how long given limits
are kept; from the laboratory that runs, or from published UTC - UTC(k).

It decides nothing. What a laboratory foresees is `truechimer.laboratory.foreseen`'s; from files it is
`truechimer.steer.foresight` on the published values, UTC(k) going on as it went, with nobody steering it any more.

Exit status: 0 told; 1 there is nothing to tell yet, or a limit is passed already; 2 wrong use, or a file that holds
none.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli.lab_words import bound, long_span, number, seconds, without
from truechimer.errors import Rejected

if TYPE_CHECKING:
    from truechimer.compare.utc_record import PublishedValue

LARGEST_FILE = 64 << 20
KINDS = ("maser", "caesium", "rubidium", "fountain", "oscillator")
USUAL_LIMITS_S = (1e-8, 3e-8, 1e-7, 1e-6)
DEFAULT_U_S = 1e-9
MOST_VALUES = 200
LEAST_VALUES = 5
WAITS_S, LOOK_EVERY_S = 60.0, 0.5
_UNIX_MJD, _DAY_S = 40_587, 86_400


class HoldoverUseRejected(Rejected):
    """Files that hold too little, or options that do not go together."""


def add(verbs: Any) -> None:
    """Add `holdover` to the verbs of `utc`."""
    holdover = verbs.add_parser(
        "holdover",
        help="how sure UTC would be without the outside, and how long limits are kept",
        description="Without files: what the laboratory that runs foresees of a holdover that begins now: one sigma of "
        "UTC after 1, 10 and 30 d, how long UTC(k) stays within each limit with a chance of 99 in 100 and with one of "
        "1 in 2, and how long its bound does. With files of UTC - UTC(k) (Circular T, rapid UTC, the BIPM's server, "
        "series): the same of a UTC(k) that goes on as it went and is steered no more; the noise is learned from the "
        "values.",
        epilog="Exit status: 0 told; 1 nothing to tell yet, or a limit is passed already; 2 wrong use.",
        allow_abbrev=False,
    )
    holdover.add_argument("files", metavar="FILE", nargs="*", type=Path, help="values of one laboratory")
    holdover.add_argument("--laboratory", metavar="CODE", help="of tables with several laboratories")
    holdover.add_argument("--kind", choices=KINDS, help="what UTC(k) is made from (maser): where the learning begins")
    holdover.add_argument(
        "--u", metavar="S", type=_positive, help="one sigma of a value that states none (1e-9), seconds"
    )
    holdover.add_argument(
        "--limit", metavar="S", type=_limit, action="append", help="a limit in seconds; again for more (1e-8 to 1e-6)"
    )
    holdover.add_argument("--lab", metavar="DIR", help="the laboratory that runs there")
    holdover.add_argument("--json", action="store_true", help="print one JSON document")
    holdover.set_defaults(run=run)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1e-13 <= value <= 1e-3:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no uncertainty in seconds (1e-13 to 1e-3)")
    return value


def _limit(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1e-12 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no limit in seconds (1e-12 to 1)")
    return value


def run(options: argparse.Namespace) -> int:
    """Run `utc holdover` with parsed options; return the exit status."""
    if options.files:
        if options.lab is not None:
            raise HoldoverUseRejected("give files or --lab: either published values or a laboratory that runs")
        body = of_files(options)
    else:
        for name in ("laboratory", "kind", "u"):
            if getattr(options, name) is not None:
                raise HoldoverUseRejected(f"--{name} belongs to files; a laboratory that runs knows it")
        body = of_laboratory(options.lab, options.limit or [])
    print(json.dumps(body) if options.json else "\n".join(lines(body)))
    kept = body.get("holdover", {}).get("kept") or body.get("bound") or []
    return 0 if kept and all(row["for_s"] > 0.0 for row in kept) else 1


# ---- from the laboratory that runs ----------------------------------------------------------------------------------


def of_laboratory(folder: str | None, limits_s: list[float]) -> dict[str, Any]:
    """Ask until it is worked out; what comes then."""
    from truechimer import client

    ends_s = time.monotonic() + WAITS_S
    while True:
        body = client.send({"ask": "holdover", "limits_s": limits_s}, lab=folder)
        if "error" in body:
            raise HoldoverUseRejected(f"the laboratory says: {body['error']}")
        if not body.pop("waits", False) or time.monotonic() > ends_s:
            return body
        time.sleep(LOOK_EVERY_S)


# ---- from published values ------------------------------------------------------------------------------------------


def of_files(options: argparse.Namespace) -> dict[str, Any]:
    """Learn from the values of all files; what follows for a UTC(k) that nobody steers any more."""
    from truechimer.clocks.clock import Clock, ClockKind
    from truechimer.steer import first_passage, foresight, free_noise
    from truechimer.steer.foresight import Value

    values = _values(options.files, options.laboratory)
    usual_u_s = options.u or DEFAULT_U_S
    told = tuple(
        Value((each.mjd - _UNIX_MJD) * _DAY_S * 10**9, each.x_utc_minus_utck_s, each.u_a_s or each.u_s or usual_u_s)
        for each in values[-MOST_VALUES:]
    )
    kind = options.kind or KINDS[0]
    usual = free_noise.of_kinds((Clock(name="UTC(k)", kind=ClockKind(kind)),))
    known = foresight.foresee(told, usual, foresight.ALONE)
    if known is None or known.n < LEAST_VALUES:
        raise HoldoverUseRejected(
            f"{len(values)} values of UTC - UTC(k): {LEAST_VALUES} at least; give more files of the same laboratory"
        )
    at_ns = known.epoch_ns
    horizons = (1, 10, 30)
    ahead = [foresight.ahead(known, at_ns + days * _DAY_S * 10**9) for days in horizons]
    noise = foresight.learned(known)
    beyond = foresight.beyond(known, usual)
    passages = first_passage.passages(known, from_ns=at_ns, x_utck_minus_scale_s=0.0)
    return {
        "values": known.n,
        "first_mjd": values[-MOST_VALUES:][0].mjd,
        "last_mjd": values[-1].mjd,
        "kind": kind,
        "learned": {
            "white_fm_1s": noise.white_fm,
            "flicker_fm": noise.flicker_fm,
            "random_walk_fm_1s": noise.walk_fm,
            "values_over_stated": noise.values,
            **({"beyond": list(beyond)} if beyond else {}),
        },
        "holdover": {
            "prediction": [
                {"horizon_s": float(days * _DAY_S), "x_utc_minus_utck_s": each.x_s, "u_s": each.u_s}
                for days, each in zip(horizons, ahead, strict=True)
            ],
            "kept": [
                {
                    "limit_s": limit_s,
                    "for_s": first_passage.stated_s(passages, limit_s),
                    "likely_for_s": first_passage.kept_s(passages, limit_s, chance=first_passage.LIKELY_CHANCE),
                }
                for limit_s in sorted(set(options.limit or USUAL_LIMITS_S))
            ],
        },
    }


def _values(paths: list[Path], laboratory: str | None) -> "list[PublishedValue]":
    """Return the values of all files in order of time; of two of one day the later file's."""
    from truechimer.cli import file_bytes, utc_record_files
    from truechimer.cli.utc_verb import kind_of

    by_day: dict[int, PublishedValue] = {}
    for path in paths:
        data = file_bytes.read_text(path, at_most=LARGEST_FILE)
        kind = kind_of(data)
        if kind not in utc_record_files.KINDS:
            raise HoldoverUseRejected(f"{path}: holds no UTC - UTC(k); see `truechimer utc read {path.name}`")
        found, findings = utc_record_files.values_of(data, kind, path, laboratory)
        for finding in findings[:20]:
            print(f"{finding.at(str(path))} [{finding.rule}]", file=sys.stderr)
        by_day |= {each.mjd: each for each in found}
    return [by_day[mjd] for mjd in sorted(by_day)]


# ---- words ----------------------------------------------------------------------------------------------------------


def lines(body: dict[str, Any]) -> list[str]:
    """Return the document for people."""
    out = []
    if "values" in body:
        out.append(
            f"{body['values']} values, MJD {body['first_mjd']} to {body['last_mjd']}; "
            "UTC(k) goes on as it went, unsteered"
        )
    elif body.get("scale"):
        simulated = "  SIMULATED UTC" if body.get("against") == "simulated-utc" else ""
        out.append(f"{body['scale']}: if nothing more came from outside{simulated}")
    told = body.get("holdover", {})
    if beyond := body.get("learned", {}).get("beyond"):
        out.append(
            f"noisier than is looked for in a {body['kind']} ({', '.join(beyond)}): the sigmas below are too small; "
            "name another --kind, or what a value is sure to with --u"
        )
    if told.get("learned_days"):
        out.append(f"learned from {told['learned_days']} days")
    for row in told.get("prediction", []):
        x_s = number(row, "x_utc_minus_utck_s")
        where = "" if x_s is None else f", UTC - UTC(k) {seconds(x_s, signed=True)}"
        out.append(f"after {long_span(row['horizon_s']):>6}: one sigma {bound(row['u_s'])}{where}")
    for row in told.get("kept", []):
        likely = f", likely {long_span(row['likely_for_s'])} (1 in 2)" if "likely_for_s" in row else ""
        out.append(f"UTC(k) within {bound(row['limit_s'])} for {long_span(row['for_s'])} (99 in 100){likely}")
    out += [
        f"the bound within {bound(row['limit_s'])} for {long_span(row['for_s'])} {without(body)}"
        for row in body.get("bound", [])
    ]
    if body.get("why"):
        out.append(str(body["why"]))
    return out
