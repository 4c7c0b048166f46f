"""The records that `truechimer stability` is given: how they are read, what they were taken for, what is suspicious.

It computes no statistic. What a file was taken for, its spacing and whatever is doubtful go to stderr; a record is
never changed but as the arguments ask.
"""

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli import file_bytes
from truechimer.cli.option_values import number
from truechimer.errors import Rejected

if TYPE_CHECKING:
    from truechimer.formats.phase_record import PhaseRecord

TAU0_AGREES = 0.01
"""A given spacing that differs from the file's by more than this part of it is doubted."""
UNITS = ("s", "ms", "us", "ns", "ps", "fs")
TIME_UNITS = ("s", "ms", "us", "ns", "min", "h", "d", "mjd", "jd", "none")
positive = number("is no number above zero", above=0.0)


class StabilityInputRejected(Rejected):
    """Arguments or a file that cannot be used; what could move a terminal's cursor is left out of their words."""

    def __init__(self, says: str) -> None:
        super().__init__("".join(each if each.isprintable() else "\ufffd" for each in says))


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A record ready for the statistics: `name` is the file's, with the clocks where several of it are wanted."""

    name: str
    record: "PhaseRecord"
    tau0_s: float
    data: str
    path: str = ""
    series: str = ""


def short_name(file: RecordFile) -> str:
    """Return a name for a picture: the clocks where there are any, else the file's without its folder."""
    return file.series or Path(file.name).name


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a file is read."""
    read = parser.add_argument_group("how files are read, where the guess is wrong")
    read.add_argument("--data", choices=("phase", "frequency"), help="what the values are (default: phase)")
    read.add_argument("--tau0", type=positive, metavar="S", help="spacing in seconds (default: from the file, or 1)")
    read.add_argument("--unit", choices=UNITS, default="s", help="of phases (s)")
    read.add_argument("--nominal", type=positive, metavar="HZ", help="values are frequencies in Hz around this one")
    read.add_argument("--column", metavar="N|NAME", help="which column holds the values")
    read.add_argument(
        "--pair",
        action="append",
        metavar="A,B|all",
        help="which clocks of a readings CSV: A minus B; again for more, or all",
    )
    read.add_argument(
        "--channel",
        action="append",
        metavar="NAME",
        help="which channel of a TICC, source of a chrony log, clock of a scale CSV; again for more",
    )
    read.add_argument("--time-unit", choices=TIME_UNITS, help="of the time column; none: count rows instead")
    read.add_argument("--decimal", choices=("point", "comma"), help="what decimals follow")
    read.add_argument("--gaps", action="store_true", help="missing rows are missing values (else they are refused)")
    read.add_argument("--zeros-are-gaps", action="store_true", help="values of exactly 0 are missing, as in Stable32")


def check_options(options: argparse.Namespace) -> None:
    """Refuse what is wrong in these options before any file is read."""
    if options.pair and options.channel:
        raise StabilityInputRejected("--pair is for readings, --channel for one column of clocks: give one of them")
    if options.pair and any(len(word.split(",")) != 2 and word != "all" for word in options.pair):
        raise StabilityInputRejected("--pair takes two names of clocks, --pair A,B, or all")
    if options.nominal is not None and (options.data == "phase" or options.unit != "s"):
        raise StabilityInputRejected("--nominal is for frequencies in Hz: leave out --data phase and --unit")
    if options.files.count("-") > 1:
        raise StabilityInputRejected("standard input (-) can be read once")


def opened(path: Path, options: argparse.Namespace) -> list[RecordFile]:
    """Read one file and return the series that are wanted of it; say on stderr what it was taken for and what is
    suspicious.
    """
    from truechimer.formats import packed_text, phase_record

    data = file_bytes.read(path, at_most=packed_text.MOST_BYTES)
    pairs: list[tuple[str, str] | None] = [None]
    if options.pair:
        pairs = [(each[0], each[1]) for each in (word.split(",") for word in options.pair if word != "all")]
        if "all" in options.pair:
            pairs += [pair for pair in phase_record.pairs(data) if pair not in pairs]
        if not pairs and len(options.files) > 1:
            pairs = [None]
        if not pairs:
            raise StabilityInputRejected(f"{path}: there are no pairs of clocks in it; --pair is for a readings CSV")
    channels = list(dict.fromkeys(options.channel or ()))
    wanted = [(pair, None) for pair in dict.fromkeys(pairs)] if not channels else [(None, each) for each in channels]
    found: list[RecordFile] = []
    for pair, channel in wanted:
        found.append(_series(path, data, options, pair, channel))
        if not found[-1].series:
            break  # a file of one series is one, however many pairs were asked for
    return found


def _series(
    given: Path, data: bytes, options: argparse.Namespace, pair: tuple[str, str] | None, channel: str | None
) -> RecordFile:
    import numpy as np

    from truechimer.formats import phase_record

    path = phase_record.printable(str(given))
    read = partial(
        phase_record.read,
        data,
        column=options.column,
        time_unit=options.time_unit,
        decimal=options.decimal,
        gaps=options.gaps,
    )
    try:
        try:
            record, findings = read(pair=pair, channel=channel)
        except phase_record.NoChoiceRejected:
            if len(options.files) < 2:
                raise
            print(f"{path}: it holds one series; --pair and --channel are for the other files", file=sys.stderr)
            pair = channel = None
            record, findings = read()
    except phase_record.RecordRejected as error:
        place = f"{path}:{error.line}" if error.line is not None else path
        words = str(error) if error.line is None else str(error).partition(": ")[2]
        raise StabilityInputRejected(f"{place}: {words}") from None
    if options.nominal is not None:
        record = phase_record.fractional(record, options.nominal)
    kind = options.data or record.data
    if options.unit != "s" and kind == "phase":
        record = phase_record.scaled(record, phase_record.UNITS[options.unit])
    if options.zeros_are_gaps:
        record = phase_record.without_zeros(record)
    tau0_s = options.tau0 or record.tau0_s
    found = f"found {record.tau0_from}".strip()
    whence = "given" if options.tau0 else found if tau0_s else "assumed: no column was taken for times, use --tau0"
    tau0_s = tau0_s or 1.0
    start = f", from {record.first_time}" if record.first_time else ""
    print(
        f"{path}: {record.took_for}; {record.values.size} values of {kind}{start}; tau0 = {tau0_s:.9g} s ({whence})",
        file=sys.stderr,
    )
    for finding in findings:
        if finding.rule == "kind" and options.data is not None:
            continue
        print(f"{finding.at(path)} [{finding.rule}]", file=sys.stderr)
    missing = np.flatnonzero(np.isnan(record.values))
    if missing.size and not any(finding.rule == "gaps" for finding in findings):
        print(
            f"{path}:{int(record.lines[missing[0]])}: {missing.size} of {record.values.size} values are missing, the "
            "first here [missing]",
            file=sys.stderr,
        )
    if options.tau0 and record.tau0_s and abs(options.tau0 - record.tau0_s) > TAU0_AGREES * record.tau0_s:
        print(
            f"{path}: tau0 in doubt: {options.tau0:.9g} s was given, and the file says {record.tau0_s:.9g} s; "
            "the given one is used",
            file=sys.stderr,
        )
    series = f"{pair[0]} - {pair[1]}" if pair else channel or ""
    several = len(options.pair or options.channel or ()) > 1 or "all" in (options.pair or ())
    name = phase_record.printable(f"{path} {series}".strip()) if several else path
    file = RecordFile(name, record, tau0_s, kind, str(given), phase_record.printable(series))
    _suspect(file, zeros=options.zeros_are_gaps)
    return file


def _suspect(file: RecordFile, *, zeros: bool) -> None:
    """Say what looks wrong; nothing is dropped."""
    from truechimer.stability import SeriesRejected, suspicion

    try:
        doubts = [
            suspicion.units_in_doubt(file.record.values, file.tau0_s, data=file.data),
            "" if zeros else suspicion.zeros_in_doubt(file.record.values, data=file.data),
        ]
        marked = suspicion.outliers(file.record.values, file.tau0_s, data=file.data)
    except SeriesRejected as error:
        raise placed(file, error) from None
    for doubt in filter(None, doubts):
        print(f"{file.name}: {doubt}", file=sys.stderr)
    if marked.row.size:
        worst = int(marked.score.argmax())
        print(
            f"{file.name}: {marked.row.size} outliers beyond {marked.times:g} robust sigmas, kept; the largest, "
            f"{marked.score[worst]:.3g} sigmas, on line {int(file.record.lines[marked.row[worst]])}",
            file=sys.stderr,
        )


def placed(file: RecordFile, error: Any) -> StabilityInputRejected:
    """Name the line of a row that was refused."""
    if error.row is None:
        return StabilityInputRejected(f"{file.name}: {error}")
    line = int(file.record.lines[min(error.row, file.record.lines.size - 1)])
    return StabilityInputRejected(f"{file.path}:{line}: {error}")
