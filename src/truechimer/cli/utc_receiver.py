"""`truechimer utc receiver FILE..`: how far a satellite receiver may be believed, epoch by epoch, from its own recorded
messages; and its link's readings with what is refused taken out.

The messages are read by `truechimer.formats.ubx`, judged by `truechimer.compare.receiver_quality`; here are files and
what is printed. Nothing is changed but the file that `--out` names.

Exit status: 0 every epoch is ok or doubtful; 1 some are refused; 2 wrong use, or a file in which nothing is dated.
"""

import argparse
import json
import sys
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli.option_values import date, number
from truechimer.errors import Rejected

if TYPE_CHECKING:
    from truechimer.compare.link_quality import Believed
    from truechimer.compare.receiver_epoch import Position, ReceiverEpoch
    from truechimer.compare.receiver_quality import Limits, LinkQuality
    from truechimer.formats.readings_csv import ReadingRow
    from truechimer.instants import LeapTable

LARGEST_FILE = 512 << 20
MOST_NAMED = 20
MOST_STRETCHES = 40
_number = number("is no number", least=-1e12, most=1e12)
_positive = number("is no rate: give one above 0 and at most 1e-6", above=0.0, most=1e-6)
_seconds = number("is no span: give 0 to 86400 s", least=0.0, most=86_400.0)


class ReceiverUseRejected(Rejected):
    """Words that name no antenna or link, or files without evidence."""


def add(verbs: Any) -> None:
    """Add the verb's arguments."""
    receiver = verbs.add_parser(
        "receiver",
        help="how far a satellite receiver may be believed, from its recorded messages",
        description="Reads recorded UBX messages, or NMEA sentences where there are none, and judges each epoch: ok, "
        "doubtful or refused, with reasons. With readings of its link, the laboratory's clock is held against its "
        "pulse, and --out writes the readings with refused ones left out and the sigma of doubtful ones three times "
        "larger.",
        epilog="Exit status: 0 nothing is refused; 1 some epochs are; 2 wrong use.",
        allow_abbrev=False,
    )
    receiver.add_argument("files", metavar="FILE", nargs="+", type=Path, help="in order of time")
    receiver.add_argument(
        "--antenna", metavar="LAT,LON,H", type=_antenna, help="surveyed: degrees, and metres above the ellipsoid"
    )
    receiver.add_argument("--readings", metavar="CSV", type=Path, help="the laboratory's readings of the link")
    receiver.add_argument("--link", metavar="A,B", type=_link, help="which two names in the readings are the link")
    receiver.add_argument("--span", metavar="S", type=_seconds, default=0.0, help="how long a reading averages (0 s)")
    receiver.add_argument("--out", metavar="CSV", type=Path, help="write the readings that may be used")
    receiver.add_argument(
        "--on-laboratory-clock", action="store_true", help="the receiver runs on the laboratory's own frequency"
    )
    receiver.add_argument(
        "--clock-rate", metavar="Y", type=_positive, help="how fast clock minus pulse may honestly move"
    )
    receiver.add_argument(
        "--utc-minus-gps-ns", metavar="NS", type=_number, default=0.0, help="of a bulletin, whole seconds left out (0)"
    )
    receiver.add_argument("--not-before", metavar="DATE", type=date, help="no date in the stream is earlier")
    receiver.add_argument("--table", metavar="FILE", type=Path, help="the leap table (built-in)")
    receiver.add_argument("--json", action="store_true", help="print one JSON document")
    receiver.set_defaults(run=run)


def _antenna(text: str) -> tuple[float, float, float]:
    parts = [_number(part) for part in text.split(",")]
    if len(parts) != 3 or abs(parts[0]) > 90.0 or abs(parts[1]) > 360.0 or abs(parts[2]) > 20_000.0:
        raise argparse.ArgumentTypeError(
            f"{text[:60]!r}: give latitude, longitude (degrees) and height (m): 48.1,11.2,520"
        )
    return parts[0], parts[1], parts[2]


def _link(text: str) -> tuple[str, str]:
    a, comma, b = text.partition(",")
    if not comma or not a or not b or "," in b or a == b:
        raise argparse.ArgumentTypeError(f"{text[:60]!r}: give the two names of the link: UTC.gnss,host")
    return a, b


def run(options: argparse.Namespace) -> int:
    """Run the verb."""
    from truechimer.cli import file_bytes, scale_input
    from truechimer.cli.utc_leap import table_in_force
    from truechimer.compare import receiver_epoch, receiver_nmea, receiver_quality
    from truechimer.formats import nmea, ubx
    from truechimer.instants.mjd import MJD_OF_1970

    if (options.readings is None) != (options.link is None) or (options.out is not None and options.readings is None):
        raise ReceiverUseRejected("--readings and --link belong together, and --out to both")
    if options.out is not None:
        scale_input.check_targets([options.out], [*options.files, options.readings])
    leaps = table_in_force(options.table)
    data = b"".join([file_bytes.read(path, at_most=LARGEST_FILE) for path in options.files])
    pieces, findings = ubx.read(data)
    for finding in findings[:MOST_NAMED]:
        print(f"{options.files[0]}: octet {finding.column}: {finding.says} [{finding.rule}]", file=sys.stderr)
    if len(findings) > MOST_NAMED:
        print(f"{options.files[0]}: and {len(findings) - MOST_NAMED} more", file=sys.stderr)
    epochs = list(receiver_epoch.epochs(pieces, leaps))
    messages = sum(1 for piece in pieces if isinstance(piece, ubx.Frame))
    if not epochs:
        lines = [nmea.line(piece.data)[0] for piece in pieces if isinstance(piece, ubx.Sentence)]
        epochs = list(receiver_nmea.epochs(lines, leaps))
        messages = sum(1 for one in lines if one.message is not None)
    if not epochs:
        raise ReceiverUseRejected(
            f"{options.files[0]}: no epoch that says its date (UBX NAV-TIMEGPS, NAV-TIMEUTC or NAV-PVT, else NMEA RMC "
            "or ZDA): is it a receiver's stream?"
        )
    rows = [] if options.readings is None else _rows(options.readings)
    chosen: dict[str, Any] = {"utc_minus_gps_s": options.utc_minus_gps_ns * 1e-9}
    if options.clock_rate is not None:
        chosen["clock_rate"] = options.clock_rate
    if options.not_before is not None:
        chosen["earliest_tai_ns"] = (options.not_before - MJD_OF_1970) * 86_400 * 10**9
    limits = receiver_quality.Limits(**chosen)
    antenna = None if options.antenna is None else receiver_epoch.earth_fixed(*options.antenna)
    own = [row for row in rows if {row.a, row.b} == set(options.link)] if options.link else []
    if options.link and not own:
        raise ReceiverUseRejected(
            f"{options.readings}: no reading of {' and '.join(options.link)}; name a link it holds"
        )
    qualities = _judged(epochs, own, antenna, limits, leaps, on_laboratory_clock=options.on_laboratory_clock)
    body = _document(qualities, leaps)
    body["files"] = [str(path) for path in options.files]
    body["messages"] = messages
    body["undated"] = receiver_epoch.undated(pieces, leaps)
    body["findings"] = len(findings)
    body["antenna"] = "surveyed" if options.antenna else "learned"
    if options.link:
        kept = _believed(rows, qualities, options.link, options.span)
        body["readings"] = {
            "given": len(own),
            "refused": len(kept.refused),
            "doubtful": kept.doubtful,
            "unjudged": kept.unjudged,
        }
        if options.out is not None:
            _write(options.out, kept)
    print(json.dumps(body) if options.json else "\n".join(_lines(body)))
    return 1 if body["refused"] else 0


def _rows(path: Path) -> "list[ReadingRow]":
    from truechimer.cli import file_bytes
    from truechimer.formats import readings_csv

    rows, findings = readings_csv.read(file_bytes.read(path, at_most=LARGEST_FILE))
    for finding in findings[:MOST_NAMED]:
        print(f"{finding.at(str(path))} [{finding.rule}]", file=sys.stderr)
    if not rows:
        raise ReceiverUseRejected(f"{path}: not one reading was read; give a readings CSV")
    return rows


def _judged(
    epochs: "list[ReceiverEpoch]",
    rows: "list[ReadingRow]",
    antenna_m: "Position | None",
    limits: "Limits",
    leaps: "LeapTable",
    *,
    on_laboratory_clock: bool,
) -> "list[LinkQuality]":
    """Judge every epoch; a reading is held against the receiver at the first epoch from its own on."""
    from truechimer.compare import receiver_quality

    state = receiver_quality.begun(antenna_m)
    times = [row.epoch_tai_ns for row in rows]
    out = []
    used = 0
    for epoch in epochs:
        x = epoch.bias_s if on_laboratory_clock else None
        until = bisect_right(times, epoch.epoch_tai_ns)
        if until > used:
            x, used = rows[until - 1].x_a_minus_b_s, until
        state, quality = receiver_quality.step(state, epoch, limits, leaps=leaps, x_clock_minus_gnss_s=x)
        out.append(quality)
    return out


def _believed(
    rows: "list[ReadingRow]", qualities: "list[LinkQuality]", link: tuple[str, str], span_s: float
) -> "Believed":
    from truechimer.compare import link_quality
    from truechimer.compare.reading import Reading

    readings = [
        Reading(epoch_tai_ns=row.epoch_tai_ns, a=row.a, b=row.b, x_a_minus_b_s=row.x_a_minus_b_s, u_s=row.u_s)
        for row in rows
    ]
    return link_quality.believed(readings, qualities, ends=frozenset(link), span_s=span_s)


def _write(path: Path, kept: "Believed") -> None:
    from truechimer.formats import readings_csv
    from truechimer.formats.readings_csv import ReadingRow

    data = readings_csv.write(
        [ReadingRow(0, each.epoch_tai_ns, each.a, each.b, each.x_a_minus_b_s, each.u_s) for each in kept.readings]
    )
    try:
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise ReceiverUseRejected(f"{path}: {error.strerror}; name a file that can be written") from None
    print(f"wrote {path}", file=sys.stderr)


def _document(qualities: "list[LinkQuality]", leaps: "LeapTable") -> dict[str, Any]:
    """Return counts, what each reason was seen for, and the stretches of one verdict."""
    from truechimer.instants import FS_PER_NS, Instant, to_utc

    def label(epoch_ns: int) -> str:
        return to_utc(Instant(epoch_ns * FS_PER_NS), leaps, beyond_expiry="flag").isoformat(0)

    levels = {"ok": 0, "doubtful": 0, "refused": 0}
    reasons: dict[str, dict[str, Any]] = {}
    stretches: list[dict[str, Any]] = []
    extremes: dict[str, float] = {}
    for quality in qualities:
        levels[quality.level.value] += 1
        said = {reason.value: level.value for reason, level in quality.reasons}
        for name, level in said.items():
            row = reasons.setdefault(name, {"level": level, "epochs": 0, "first": label(quality.epoch_tai_ns)})
            row["epochs"] += 1
            row["last_tai_ns"] = quality.epoch_tai_ns
            row["level"] = "refused" if "refused" in (level, row["level"]) else level
        for name, value in quality.figures.items():
            if abs(value) >= abs(extremes.get(name, 0.0)):
                extremes[name] = value
        if stretches and (stretches[-1]["level"], stretches[-1]["reasons"]) == (quality.level.value, said):
            stretches[-1]["epochs"] += 1
            stretches[-1]["last_tai_ns"] = quality.epoch_tai_ns
        else:
            stretches.append(
                {"level": quality.level.value, "reasons": said, "epochs": 1, "first": label(quality.epoch_tai_ns)}
                | {"first_tai_ns": quality.epoch_tai_ns, "last_tai_ns": quality.epoch_tai_ns}
            )
    for row in (*reasons.values(), *stretches):
        row["last"] = label(row["last_tai_ns"])
    return {"epochs": len(qualities), **levels, "reasons": reasons, "largest": extremes, "stretches": stretches}


def _lines(body: dict[str, Any]) -> list[str]:
    counts = f"{body['ok']} ok, {body['doubtful']} doubtful, {body['refused']} refused"
    out = [f"{body['epochs']} epochs from {body['messages']} messages, antenna {body['antenna']}: {counts}"]
    if body["undated"]:
        out.append(f"{body['undated']} groups of messages without a date: not judged")
    if body["reasons"]:
        out.append(f"{'reason':<16}{'worst':<10}{'epochs':>8}  {'first':<22}last")
        out += [
            f"{name:<16}{row['level']:<10}{row['epochs']:>8}  {row['first']:<22}{row['last']}"
            for name, row in body["reasons"].items()
        ]
        out.append(f"{'verdict':<10}{'epochs':>8}  {'from':<22}{'to':<22}reasons")
        for row in body["stretches"][:MOST_STRETCHES]:
            why = ", ".join(row["reasons"]) or "-"
            out.append(f"{row['level']:<10}{row['epochs']:>8}  {row['first']:<22}{row['last']:<22}{why}")
        if len(body["stretches"]) > MOST_STRETCHES:
            out.append(f"and {len(body['stretches']) - MOST_STRETCHES} more stretches: all are in --json")
    if "readings" in body:
        told = body["readings"]
        counts = f"{told['given']} given, {told['refused']} refused, {told['doubtful']} doubtful"
        out.append(f"readings of the link: {counts}, of these {told['unjudged']} without evidence near them")
    return out
