"""What `truechimer scale replay` is given to read: one readings CSV, or the clock RINEX files of one or many days.

It parses nothing (`truechimer.formats` does) and joins nothing (`truechimer.compare.clock_products` does). Which of
the two a file is, its first line says, not its name; either may be compressed with gzip.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli import file_bytes, scale_input
from truechimer.cli.scale_input import READINGS_BYTES, ScaleInputRejected
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.readings_csv import mjd_text_of_ns

if TYPE_CHECKING:
    from truechimer.clocks.clock import Clock
    from truechimer.compare.clock_products import Products
    from truechimer.formats.reading_columns import ReadingColumns

LABEL = b"RINEX VERSION / TYPE"
UNPACKED_BYTES = 1 << 30
SHOWN_BOUNDARIES = 10
NS, PS = 1e9, 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Rows for a replay. `name`: what they came from; `clocks`: as declared, or guessed from clock files; `products`:
    the files as an ensemble, None where a readings CSV was given; `references`: (file, clocks it stands against).
    """

    name: str
    rows: "ReadingColumns"
    findings: list[Finding]
    clocks: "tuple[Clock, ...] | None"
    products: "Products | None" = None
    references: tuple[tuple[str, str], ...] = ()


def read(paths: Sequence[Path], clocks: "tuple[Clock, ...] | None", *, interval_s: float | None) -> Given:
    """Return what the files hold; refuse what cannot be put together."""
    first = file_bytes.read(paths[0], at_most=READINGS_BYTES)
    unpacked = _unpacked(paths[0], first)
    if not _is_clock_rinex(unpacked):
        if len(paths) > 1:
            raise ScaleInputRejected(
                f"{paths[0]}: no clock RINEX file, and only of these several are read; give one readings CSV"
            )
        if interval_s is not None:
            raise ScaleInputRejected("--interval thins clock RINEX files, not a readings CSV: leave it out")
        rows, findings = scale_input.readings_of(paths[0], unpacked)
        return Given(name=str(paths[0]), rows=rows, findings=findings, clocks=clocks)
    return _clock_files(paths, unpacked, clocks, interval_s)


def _unpacked(path: Path, data: bytes) -> bytes:
    """Return the bytes, unpacked where they are a gzip file of a clock RINEX file; a bomb is refused."""
    if data[:2] == b"\x1f\x9d":
        raise ScaleInputRejected(f"{path}: this is compressed (compress, .Z): unpack it with gunzip first")
    if data[:2] != b"\x1f\x8b":
        return data
    whole, rest = b"", data
    try:
        while rest:
            member = zlib.decompressobj(wbits=31)
            whole += member.decompress(rest, UNPACKED_BYTES - len(whole))
            if member.unconsumed_tail or len(whole) >= UNPACKED_BYTES:
                raise ScaleInputRejected(f"{path}: more than {UNPACKED_BYTES >> 20} MiB unpacked: cut it into parts")
            if not member.eof:
                raise ScaleInputRejected(f"{path}: the compressed file ends too soon: fetch it again")
            rest = member.unused_data
            if rest and rest[:2] != b"\x1f\x8b":
                break
    except zlib.error as error:
        raise ScaleInputRejected(f"{path}: damaged ({error}): fetch it again") from None
    return whole


def _is_clock_rinex(data: bytes) -> bool:
    line = data[:200].removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0]
    return LABEL in line


def _clock_files(
    paths: Sequence[Path], first: bytes, clocks: "tuple[Clock, ...] | None", interval_s: float | None
) -> Given:
    from truechimer.compare import clock_products
    from truechimer.formats import rinex_clock

    files, findings, references = [], [], []
    for path in paths:
        data = first if path is paths[0] else _unpacked(path, file_bytes.read(path, at_most=READINGS_BYTES))
        if not _is_clock_rinex(data):
            raise ScaleInputRejected(f"{path}: no clock RINEX file as the others are; give files of one kind")
        value, found = rinex_clock.read(data)
        findings += [_of_file(path, finding, several=len(paths) > 1) for finding in found]
        if value is None:
            raise ScaleInputRejected(f"{path}: {found[0].says}")
        files.append((str(path), value))
        named = [clock.name for each in value.header.references for clock in each.clocks]
        references.append((str(path), ", ".join(dict.fromkeys(named)) or "not stated"))
    products, more = clock_products.gather(
        files, only=None if clocks is None else [clock.name for clock in clocks], interval_s=interval_s
    )
    name = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    return Given(
        name=name,
        rows=products.columns(),
        findings=findings + more,
        clocks=clocks if clocks is not None else clock_products.clocks_of(products),
        products=products,
        references=tuple(references),
    )


def _of_file(path: Path, finding: Finding, *, several: bool) -> Finding:
    return replace(finding, says=f"{path}: {finding.says}") if several else finding


def refused(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings that cost a line; the others are remarks."""
    return [finding for finding in findings if finding.severity is Severity.ERROR]


def remarks(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings that cost nothing."""
    return [finding for finding in findings if finding.severity is not Severity.ERROR]


def document(given: Given) -> dict[str, Any]:
    """Return what is told of clock files, for the JSON document; nothing of a readings CSV."""
    import numpy as np

    products = given.products
    if products is None:
        return {}
    boundaries = []
    for each in products.joined.boundaries:
        known = np.isfinite(each.absorbed_s)
        boundaries.append(
            {
                "epoch_tai_ns": each.epoch_tai_ns,
                "clocks": int(known.sum()),
                "common_s": each.common_s,
                "jump_rms_s": float(np.sqrt(np.mean(each.jump_s[known] ** 2))) if known.any() else 0.0,
                "jump_median_s": float(np.median(np.abs(each.jump_s[known]))) if known.any() else 0.0,
                "absorbed_median_s": float(np.median(np.abs(each.absorbed_s[known]))) if known.any() else 0.0,
                "u_median_s": float(np.median(each.u_s[known])) if known.any() else 0.0,
                "own_steps": [products.table.names[i] for i in np.flatnonzero(each.own_step).tolist()],
            }
        )
    return {
        "clock_files": {
            "files": [{"file": file, "reference": reference} for file, reference in given.references],
            "u_factor": products.u_factor,
            "u_median_s": float(np.nanmedian(products.table.u_s)),
            "boundaries": boundaries,
        }
    }


def lines(given: Given) -> list[str]:
    """Return what is told of clock files, for a person."""
    told = document(given).get("clock_files")
    if told is None:
        return []
    against = "; ".join(dict.fromkeys(reference for _, reference in given.references))
    noise = f"formal sigmas x {told['u_factor']:.2f}, a reading {told['u_median_s'] * PS:.0f} ps"
    out = [f"clock files: {len(told['files'])}, reference {against}; {noise}"]
    for each in told["boundaries"][:SHOWN_BOUNDARIES]:
        steps = f"; left as steps: {', '.join(each['own_steps'])}" if each["own_steps"] else ""
        out.append(
            f"boundary at MJD {mjd_text_of_ns(each['epoch_tai_ns'], 5)}: {each['clocks']} clocks jump by "
            f"{each['jump_median_s'] * NS:.3f} ns (median), {each['absorbed_median_s'] * NS:.3f} ns taken out, "
            f"{each['u_median_s'] * NS:.3f} ns uncertain; datum {each['common_s'] * NS:+.3f} ns{steps}"
        )
    if len(told["boundaries"]) > SHOWN_BOUNDARIES:
        out.append(f"... and {len(told['boundaries']) - SHOWN_BOUNDARIES} boundaries more (--json names all)")
    return out
