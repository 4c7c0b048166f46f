"""Several CGGTTS files one behind the other, as archives and loggers keep them: bytes to (files, findings), and back.

It reads no track (`cggtts` does) and compares nothing. A file begins with each line that names the format; lines are
counted from the beginning of the archive. `joined` makes one file of those of one receiver and one clock, so that a
comparison may run over days.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from truechimer.errors import Rejected
from truechimer.formats import cggtts
from truechimer.formats.cggtts import CggttsFile, Tracks
from truechimer.formats.cggtts_header import BEGINS
from truechimer.formats.finding import Finding

MOST_FILES = 5_000


class ArchiveRejected(Rejected):
    """Files that are not of one receiver and one clock."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an archive: its file (None: it is none) and its findings, lines counted from the archive's first."""

    file: CggttsFile | None
    findings: tuple[Finding, ...]


def read_parts(data: bytes) -> tuple[Part, ...]:
    """Return the parts of an archive in their order; a file alone is an archive of one."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    begins = [match.start() for match in BEGINS.finditer(data)]
    if not begins:
        value, found = cggtts.read(data)
        return (Part(value, tuple(found)),)
    parts = []
    if data[: begins[0]].strip():
        says = "this stands before the first file: it is not used"
        parts.append(Part(None, (Finding("before-file", says, 1, 1),)))
    before = data.count(b"\n", 0, begins[0])
    for number, (begin, end) in enumerate(zip(begins, [*begins[1:], len(data)], strict=True)):
        if number == MOST_FILES:
            says = f"{len(begins)} files in one: those from here on are not read; cut the archive"
            parts.append(Part(None, (Finding("too-many-files", says, before + 1, 1),)))
            break
        value, found = cggtts.read(data[begin:end])
        if value is not None:
            tracks = replace(value.tracks, line=value.tracks.line + before)
            value = replace(value, tracks=tracks, lines_before=before)
        lines = [None if each.line is None else each.line + before for each in found]
        findings = tuple(replace(each, line=line) for each, line in zip(found, lines, strict=True))
        parts.append(Part(value, findings))
        before += data.count(b"\n", begin, end)
    return tuple(parts)


def read_all(data: bytes) -> tuple[tuple[CggttsFile, ...], list[Finding]]:
    """Return the files of an archive and what is wrong with each; (): there is none. A part that is no file has its
    finding and costs no other part.
    """
    parts = read_parts(data)
    return tuple(part.file for part in parts if part.file is not None), [
        each for part in parts for each in part.findings
    ]


def write_all(files: Sequence[CggttsFile]) -> bytes:
    """Return files one behind the other, sums by the standard's rules; one without a last line end gets it."""
    parts = [cggtts.write(replace(file, ended=True) if file is not files[-1] else file) for file in files]
    return b"".join(parts)


def joined(files: Sequence[CggttsFile], findings: list[Finding]) -> CggttsFile:
    """Return the tracks of files of one laboratory and one reference clock as one file, in order of time.

    The header is the first file's; a remark of any that forbids all in view counts for all. A track that stands in two
    of them is taken once, from the earlier. Raises `ArchiveRejected` where laboratory, reference, format or ionosphere
    differ: their differences would be none of one clock.
    """
    if not files:
        raise ArchiveRejected("there is no file to join")
    first = files[0]
    if len(files) == 1:
        return first
    for file in files[1:]:
        for what, one, other in (
            ("laboratory", first.header.laboratory, file.header.laboratory),
            ("reference", first.header.reference, file.header.reference),
            ("format", first.header.version, file.header.version),
            ("receiver", first.header.receiver, file.header.receiver),
        ):
            if one.split() != other.split():
                says = f"the {what} is {one or 'none'} in one part and {other or 'none'} in another"
                raise ArchiveRejected(f"{says}: cut the archive there, and compare the parts by themselves")
    comments = tuple(dict.fromkeys(comment for file in files for comment in file.header.comments))
    header = replace(first.header, comments=comments)
    tracks = Tracks(*(np.concatenate([getattr(file.tracks, name) for file in files]) for name in Tracks.__slots__))
    part = np.concatenate([np.full(len(file.tracks), k) for k, file in enumerate(files)])
    _, code = np.unique(tracks.code, return_inverse=True)
    letter = tracks.system.view(np.uint8).astype(np.int64)
    keys = np.column_stack([tracks.mjd, tracks.start_s, letter, tracks.number, code.ravel()])
    order = np.lexsort((part, *keys.T[::-1]))
    again = np.zeros(len(order), np.bool_)
    again[1:] = (keys[order][1:] == keys[order][:-1]).all(axis=1)
    for k in order[again].tolist():
        satellite = f"{tracks.system[k].decode()}{tracks.number[k]:02d}"
        says = f"{satellite} stands in an earlier part with this start and code: this one is not used"
        findings.append(Finding("repeated", says, int(tracks.line[k]), 1))
    keep = order[~again]
    minus_zero = np.concatenate([file.minus_zero for file in files])[keep]
    return replace(first, header=header, tracks=tracks.chosen(keep), minus_zero=minus_zero, source=b"")
