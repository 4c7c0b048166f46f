"""Leap files: what a leap-seconds.list, a Leap_Second.dat or a Bulletin C says of a leap second, as voices of a vote.

It opens no file and changes no table. A file that contradicts itself has no voice (`formats` says why). Source: IERS
Bulletin C; the headers of the two tables.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from truechimer.formats import bulletin_c, leap_second_dat, leap_seconds_list
from truechimer.formats.bulletin_c import BulletinC
from truechimer.formats.finding import Finding
from truechimer.instants import LeapTable
from truechimer.watch import leap_vote
from truechimer.watch.leap_vote import LeapSource, Voice

LARGEST_FILE = 1 << 20
BULLETIN, LIST, DAT = "Bulletin C", "leap-seconds.list", "Leap_Second.dat"
"""Kinds of files, and their provenance where no other name is given."""


def named(word: str) -> tuple[str, str]:
    """Split NAME=FILE into provenance (empty where none is given) and path."""
    name, sep, rest = word.partition("=")
    return (name, rest) if sep else ("", word)


def kind_of(data: bytes) -> str | None:
    """Return which of the three a file is by its text, None where it is none of them."""
    if b"#@" not in data and b"ile expires on" in data:
        return DAT
    if b"#@" in data and b"#$" in data:
        return LIST
    head = b" ".join(data[:20_000].split()).lower()
    return BULLETIN if b"leap second will be introduced" in head else None


@dataclass(frozen=True, slots=True)
class LeapFile:
    """What such a file holds: a table, or what a bulletin announces."""

    kind: str
    holds: LeapTable | BulletinC


def read(data: bytes, *, name: str) -> tuple[LeapFile | None, list[Finding]]:
    """Return what a file holds; None, with the reasons, where it is not used."""
    kind = kind_of(data)
    if kind is None:
        says = "no leap-seconds.list, Leap_Second.dat or Bulletin C; see `truechimer utc read`"
        return None, [Finding("no-leap-file", says)]
    holds: LeapTable | BulletinC | None
    if kind == BULLETIN:
        holds, findings = bulletin_c.read(data)
    else:
        holds, findings = leap_second_dat.read(data) if kind == DAT else leap_seconds_list.read(data, source=name)
    return (None, findings) if holds is None else (LeapFile(kind, holds), [])


def voices(file: LeapFile, *, provenance: str, name: str, today_mjd: int, days: Iterable[int]) -> list[Voice]:
    """Return what a file says: a bulletin of the one day it names, a table of `days` (that others named) and of its own
    later than `today_mjd`. `provenance` empty: the file's kind.
    """
    holds, by = file.holds, provenance or file.kind
    if isinstance(holds, BulletinC):
        return [Voice(by, LeapSource.BULLETIN, name, holds.next_mjd, holds.step_s, holds.tai_minus_utc_s)]
    spoken = sorted({*days, *(entry.mjd for entry in holds.entries if entry.mjd > today_mjd)})
    return leap_vote.of_table(holds, provenance=by, name=name, from_mjd=holds.entries[0].mjd, days=spoken)
