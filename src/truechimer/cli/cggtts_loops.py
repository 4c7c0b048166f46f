"""`truechimer cggtts loops FILE..`: links between laboratories from CGGTTS and two-way files, held against each other.

The links are `truechimer.compare.common_view`'s and `two_way`'s, the loops `compare.loops`'; here are files and what is
printed. A loop that does not close is flagged with its links; nothing is averaged over it.

Exit status: 0 done; 1 (`--strict`) a loop is open; 2 wrong use, or files that give no loop.
"""

import argparse
import json
import sys
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from truechimer.compare.common_view import Choices
    from truechimer.compare.loops import Loop
    from truechimer.compare.time_link import TimeLink
    from truechimer.formats.cggtts import CggttsFile
    from truechimer.formats.finding import Finding
    from truechimer.formats.twstft import TwstftFile

LARGEST_FILE = 256 << 20
USUAL_CONSTANT_S = 2.5e-9
"""One sigma of a calibrated link's constant: uB of calibrated links in Circular T is 1.8 to 2.9 ns."""
NS = 1e9


class LoopUseRejected(Rejected):
    """Files that give no loop."""


def add(verbs: Any, degrees: "Callable[[str], float]", ns: "Callable[[str], float]") -> None:
    """Add the verb's options to the parser of `cggtts`."""
    loops = verbs.add_parser(
        "loops",
        help="hold the links between several laboratories against each other",
        description="Links between all pairs of files (CGGTTS, archives of them, two-way), code by code, and what they "
        "add up to around loops: two links of one pair, three laboratories, or two receivers of one clock.",
        allow_abbrev=False,
    )
    loops.add_argument("files", metavar="FILE", nargs="+", type=Path)
    loops.add_argument("--method", choices=("cv", "aiv"), default="cv", help="common view (default) or all in view")
    loops.add_argument("--min-elevation", metavar="DEG", type=degrees, help="default 20 (cv), 10 (aiv)")
    loops.add_argument(
        "--u-constant",
        metavar="NS",
        type=ns,
        help=f"one sigma of each link's calibration (default: {USUAL_CONSTANT_S * NS:g} where both headers name a "
        "CAL_ID, what two-way files state, otherwise unknown: changes alone are judged)",
    )
    loops.add_argument("--strict", action="store_true", help="status 1 if a loop does not close")
    loops.add_argument("--json", action="store_true", help="print one JSON document")


def run(
    options: argparse.Namespace,
    read: "Callable[[Path], tuple[CggttsFile, list[Finding]]]",
    name: "Callable[[list[Finding], Path], None]",
) -> int:
    """Run the verb; `read` and `name` read a CGGTTS file and name what is wrong with it."""
    from truechimer.cli import cggtts_two_way, file_bytes
    from truechimer.compare import loops as closure
    from truechimer.compare.common_view import Choices, Method

    satellites: list[tuple[Path, CggttsFile]] = []
    two_way: list[tuple[Path, TwstftFile]] = []
    for path in options.files:
        session = cggtts_two_way.read(path, file_bytes.read_text(path, at_most=LARGEST_FILE))
        if session is not None:
            value, findings = session
            two_way.append((path, value))
        else:
            file, findings = read(path)
            satellites.append((path, file))
        name(findings, path)
    choices = Choices(method=Method(options.method), min_elevation_deg=options.min_elevation)
    u_constant_s = None if options.u_constant is None else options.u_constant * 1e-9
    links = [*_by_satellites(satellites, choices, u_constant_s), *_by_two_way(two_way, u_constant_s)]
    found = closure.judged(links)
    if not found:
        raise LoopUseRejected(
            f"{len(links)} links and no loop of them with {closure.FEWEST_EPOCHS} epochs in common: name files of "
            "three laboratories, or two kinds of link of one pair, of the same days"
        )
    body = _document(links, found)
    print(json.dumps(body) if options.json else "\n".join(_table(body)))
    return 1 if options.strict and any(not loop.closes for loop in found) else 0


def _by_satellites(
    files: "list[tuple[Path, CggttsFile]]", choices: "Choices", u_constant_s: float | None
) -> "Iterator[TimeLink]":
    from truechimer.compare import common_view, time_link
    from truechimer.compare.common_view import ComparisonRejected
    from truechimer.instants import builtin_leap_table

    leaps = builtin_leap_table()
    clocks: dict[str, set[str]] = {}
    for _, file in files:
        clocks.setdefault(file.header.laboratory or "?", set()).add(file.header.reference)
    for (path_a, a), (path_b, b) in combinations(files, 2):
        ends = [
            lab if len(clocks[lab]) == 1 else f"{lab}:{file.header.reference}"
            for file in (a, b)
            for lab in [file.header.laboratory or "?"]
        ]
        ids = {each.header.calibration for each in (a, b)}
        calibrated = not ids & {"", "NA", "N/A"}
        constant = u_constant_s if u_constant_s is not None else (USUAL_CONSTANT_S if calibrated else None)
        if not {*a.tracks.code.tolist()} & {*b.tracks.code.tolist()}:
            continue
        try:
            found = common_view.compare(a, b, choices, leaps=leaps)
        except ComparisonRejected as rejected:
            print(f"{path_a} and {path_b}: no link: {rejected}", file=sys.stderr)
            continue
        for link in found:
            for each in link.left_out:
                print(
                    f"{ends[0]} - {ends[1]} {link.system} {link.code}: {each.satellite} on MJD {each.mjd} is "
                    f"{each.departure_s * NS:+.1f} ns off: left out [outlier]",
                    file=sys.stderr,
                )
            yield time_link.of_satellites(
                link, ends[0], ends[1], u_constant_s=constant, calibration_id=" ".join(sorted(ids))
            )


def _by_two_way(files: "list[tuple[Path, TwstftFile]]", u_constant_s: float | None) -> "Iterator[TimeLink]":
    from truechimer.compare import time_link, two_way
    from truechimer.compare.two_way import TwoWayRejected
    from truechimer.instants import builtin_leap_table

    together: dict[str, list[Any]] = {}
    stated: dict[str, list[float]] = {}
    for _, file in files:
        together.setdefault(file.laboratory, []).extend(file.sessions)
        stated.setdefault(file.laboratory, []).extend(file.calibrations.values())
    for a, b in combinations(together, 2):
        try:
            link = two_way.compare(together[a], together[b], leaps=builtin_leap_table())
        except TwoWayRejected as rejected:
            print(f"{a} and {b}: no two-way link: {rejected}", file=sys.stderr)
            continue
        said = [*stated[a], *stated[b]]
        constant = u_constant_s if u_constant_s is not None else (max(said) if said else None)
        yield time_link.of_two_way(link, a, b, u_constant_s=constant)


def _document(links: "list[TimeLink]", found: "tuple[Loop, ...]") -> dict[str, Any]:
    import numpy as np

    from truechimer.compare import loops as closure

    use = set(closure.usable(links, found))
    rows = []
    for k, link in enumerate(links):
        row: dict[str, Any] = {"a": link.a, "b": link.b, "technique": link.technique, "epochs": len(link)}
        row |= {"mean_s": float(np.mean(link.x_a_minus_b_s)), "u_epoch_median_s": float(np.median(link.u_s))}
        if link.u_constant_s is not None:
            row["u_constant_s"] = link.u_constant_s
        rows.append(row | {"flagged": k not in use})
    around = []
    for loop in found:
        body: dict[str, Any] = {"links": list(loop.links), "signs": list(loop.signs), "closes": loop.closes}
        body |= {"epochs": len(loop.epoch_tai_ns), "mean_s": loop.mean_s, "u_mean_s": loop.u_mean_s}
        body |= {"change_s": loop.change_s, "odd_epochs": len(loop.odd)}
        for key, value in (
            ("u_constant_s", loop.u_constant_s),
            ("constant_sigmas", loop.constant_sigmas),
            ("change_sigmas", loop.change_sigmas),
            ("changed_tai_ns", loop.changed_tai_ns if loop.opens_by_change else None),
        ):
            if value is not None:
                body[key] = value
        around.append(body)
    suspects = [{"links": list(each.links), "station": each.station} for each in closure.suspects(links, found)]
    return {"suspects": suspects, "links": rows, "loops": around} | {
        "sigmas": closure.LOOP_SIGMAS,
        "sigmas_of_change": closure.CHANGE_SIGMAS,
    }


def _table(body: dict[str, Any]) -> list[str]:
    out = [f"{'':>2}  {'link':<34} {'epochs':>6} {'mean / ns':>12} {'u epoch':>8} {'u const.':>8}"]
    for k, row in enumerate(body["links"]):
        name = f"{row['a']} - {row['b']} ({row['technique']})"
        constant = f"{row['u_constant_s'] * NS:.1f}" if "u_constant_s" in row else "-"
        mark = "  flagged" if row["flagged"] else ""
        mean, u = row["mean_s"] * NS, row["u_epoch_median_s"] * NS
        out.append(f"{k + 1:>2}  {name:<34} {row['epochs']:>6} {mean:>12.3f} {u:>8.3f} {constant:>8}{mark}")
    out += ["", f"{'loop':<14} {'epochs':>6} {'sum / ns':>11} {'u':>8} {'constant':>9} {'change':>8} {'of / ns':>9}"]
    for loop in body["loops"]:
        signed = zip(loop["signs"], loop["links"], strict=True)
        name = " ".join(f"{'+' if sign > 0 else '-'}{k + 1}" for sign, k in signed)
        cells = [f"{loop[key]:.1f}" if key in loop else "-" for key in ("constant_sigmas", "change_sigmas")]
        verdict = "closes" if loop["closes"] else "OPEN"
        odd = f", {loop['odd_epochs']} odd epochs" if loop["odd_epochs"] else ""
        out.append(
            f"{name:<14} {loop['epochs']:>6} {loop['mean_s'] * NS:>11.3f} {loop['u_mean_s'] * NS:>8.3f} {cells[0]:>9} "
            f"{cells[1]:>8} {loop['change_s'] * NS:>9.3f}  {verdict}{odd}"
        )
    above = f"{body['sigmas']:g} (constant), {body['sigmas_of_change']:g} (change)"
    out.append(f"constant, change: in sigmas beyond what calibration and noise explain; open above {above}")
    which = [each["station"] or f"link {each['links'][0] + 1}" for each in body["suspects"]]
    if which:
        out.append("one fault explains which loops are open, of " + " or ".join(which))
    return out
