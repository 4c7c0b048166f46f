"""The file leap-seconds.list (NIST and IERS): bytes to (LeapTable, findings), and a LeapTable back to bytes.

It does not fetch, and it does not judge expiry: the table carries it, and whoever uses the table knows the date.
Source: the file's own text (`#$` last update, `#@` expiry, `#h` hash; columns NTP seconds and TAI-UTC), RFC 8633
section 4.4.

The hash is the SHA-1 of the digits of `#$`, `#@` and both columns of each row, without blanks. It is written as five
words of hexadecimal, and real files have lost leading zeros: words are padded to 8 digits before they are compared, and
written padded. It proves that the file is whole, not who wrote it. A list with any error is not used at all: a wrong
whole second is worse than an expired list.
"""

import hashlib

from truechimer.errors import Misuse
from truechimer.formats.finding import Finding, has_errors
from truechimer.formats.leap_rows import AGAIN, MONTHS, check_entries, decode_lines
from truechimer.instants import LeapEntry, LeapTable, UtcLabel
from truechimer.instants.mjd import MJD_LAST

MJD_OF_1900 = 15_020
SOURCE = "leap-seconds.list"

_WORDS = 5
_MAX_DIGITS = 12  # the year 9999 in seconds since 1900


class LeapListMisuse(Misuse):
    """A table that the file format cannot hold was to be written. Field: `what`."""

    def __init__(self, what: str, says: str) -> None:
        self.what = what
        super().__init__(says)


class _Parts:
    """What has been read so far; digits are kept as text, because the hash is over the text."""

    def __init__(self) -> None:
        self.updated: tuple[int, str] | None = None
        self.expires: tuple[int, str] | None = None
        self.hash: tuple[int, str] | None = None
        self.rows: list[tuple[int, str, str]] = []


def read(data: bytes, *, source: str = SOURCE) -> tuple[LeapTable | None, list[Finding]]:
    """Return the leap table of a list, or None with the reasons; `source` is the name that the table is to carry."""
    lines, findings = decode_lines(data)
    parts = _Parts()
    for number, line in lines:
        _take(line, number, parts, findings)
    if not lines:
        return None, findings
    entries = _entries(parts, findings)
    updated = _label(parts.updated, "update", findings)
    expires = _label(parts.expires, "expiry", findings)
    _check_hash(parts, findings)
    table = check_entries(entries, expires=expires, updated=updated, source=source, findings=findings)
    return (None if has_errors(findings) else table), findings


def write(table: LeapTable, *, updated: UtcLabel | None = None) -> bytes:
    """Return the list of a table, with its hash, in ASCII. `updated` stands in where the table does not say it.

    The format knows whole seconds and begins with 1972-01-01, 10 s; what it cannot hold is refused: `LeapListMisuse`.
    """
    last_update = table.updated or updated
    if last_update is None:
        raise LeapListMisuse("updated", "the table does not say when it was updated: give updated=")
    if (table.entries[0].mjd, table.entries[0].tai_minus_utc_s) != (41_317, 10):
        raise LeapListMisuse("entries", "a leap-seconds.list begins with 1972-01-01, 10 s: this table does not")
    for what, label in (("updated", last_update), ("expires", table.expires)):
        if label.fs or label.is_leap_second:
            raise LeapListMisuse(what, f"{label.isoformat(15)} is no whole second of 86,400 a day: round it first")
    updated_text, expires_text = str(_ntp_s(last_update)), str(_ntp_s(table.expires))
    rows = [(str(_ntp_s(UtcLabel(entry.mjd, 0))), str(entry.tai_minus_utc_s), entry) for entry in table.entries]
    digest = _digest(updated_text, expires_text, [(ntp, offset) for ntp, offset, _ in rows])
    text = [
        "#\tLeap seconds: NTP seconds since 1900-01-01 and TAI-UTC in seconds from then on",
        f"#\tSource: {_plain(table.source)}",
        f"#\tUpdated {last_update.isoformat(0)}",
        f"#$\t{updated_text}",
        f"#\tExpires {table.expires.isoformat(0)}",
        f"#@\t{expires_text}",
        "#",
        *(f"{ntp}\t{offset}\t# {_date(entry)}" for ntp, offset, entry in rows),
        "#",
        "#\tSHA-1 of the digits above",
        f"#h\t{' '.join(digest[place : place + 8] for place in range(0, 40, 8))}",
        "",
    ]
    return "\n".join(text).encode("ascii")


def _take(line: str, number: int, parts: _Parts, findings: list[Finding]) -> None:
    """Put one line where it belongs."""
    mark, rest = line[:2], line[2:].strip()
    if mark == "#$":
        if parts.updated is not None:
            findings.append(
                Finding("update-twice", f"a second line #$ (the first is line {parts.updated[0]}): {AGAIN}", number)
            )
        parts.updated = (number, rest)
    elif mark == "#@":
        if parts.expires is not None:
            findings.append(
                Finding("expiry-twice", f"a second line #@ (the first is line {parts.expires[0]}): {AGAIN}", number)
            )
        parts.expires = (number, rest)
    elif mark == "#h":
        if parts.hash is not None:
            findings.append(
                Finding("hash-twice", f"a second line #h (the first is line {parts.hash[0]}): {AGAIN}", number)
            )
        parts.hash = (number, rest)
    elif not line.startswith("#") and line.strip():
        columns = line.partition("#")[0].split()
        if len(columns) != 2:
            says = f"{len(columns)} columns instead of 2 (NTP seconds, TAI-UTC): {AGAIN}"
            findings.append(Finding("columns", says, number))
        elif not all(_is_number(column) for column in columns):
            findings.append(Finding("not-a-number", f"a column is not a plain whole number: {AGAIN}", number))
        else:
            parts.rows.append((number, columns[0], columns[1]))


def _entries(parts: _Parts, findings: list[Finding]) -> list[tuple[int, LeapEntry]]:
    entries = []
    for number, ntp, offset in parts.rows:
        days, seconds = divmod(int(ntp), 86_400)
        if seconds or days + MJD_OF_1900 > MJD_LAST:
            findings.append(
                Finding("not-midnight", f"{ntp} is not the beginning of a day before 10000: {AGAIN}", number)
            )
        else:
            entries.append((number, LeapEntry(days + MJD_OF_1900, int(offset))))
    return entries


def _label(found: tuple[int, str] | None, what: str, findings: list[Finding]) -> UtcLabel | None:
    """Return the date of `#$` or `#@`, or None with a finding."""
    if found is None:
        mark = {"update": "#$", "expiry": "#@"}[what]
        findings.append(Finding(f"{what}-missing", f"no line {mark}: the list may be cut off; {AGAIN}"))
        return None
    number, text = found
    if not _is_number(text) or int(text) // 86_400 + MJD_OF_1900 > MJD_LAST:
        findings.append(Finding(f"{what}-not-a-date", f"{text[:40]!r} is no number of NTP seconds: {AGAIN}", number))
        return None
    days, seconds = divmod(int(text), 86_400)
    return UtcLabel(days + MJD_OF_1900, seconds)


def _check_hash(parts: _Parts, findings: list[Finding]) -> None:
    if parts.hash is None:
        findings.append(Finding("hash-missing", f"no line #h: the list may be cut off; {AGAIN}"))
        return
    number, text = parts.hash
    words = text.lower().split()
    is_hex = all(len(word) <= 8 and not set(word) - set("0123456789abcdef") for word in words)
    if len(words) != _WORDS or not is_hex:
        findings.append(
            Finding("hash-not-a-hash", f"{_WORDS} words of up to 8 hex digits belong here: {AGAIN}", number)
        )
        return
    if parts.updated is None or parts.expires is None:
        return
    digest = _digest(parts.updated[1], parts.expires[1], [(ntp, offset) for _, ntp, offset in parts.rows])
    if "".join(word.rjust(8, "0") for word in words) != digest:
        says = f"the hash does not agree with the list: a number was changed or lost on the way; {AGAIN}"
        findings.append(Finding("hash-mismatch", says, number))


def _digest(updated: str, expires: str, rows: list[tuple[str, str]]) -> str:
    """Return the SHA-1, 40 hex digits, of the texts without blanks."""
    text = updated + expires + "".join(ntp + offset for ntp, offset in rows)
    return hashlib.sha1(text.encode("ascii", errors="replace"), usedforsecurity=False).hexdigest()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def _ntp_s(label: UtcLabel) -> int:
    return (label.mjd - MJD_OF_1900) * 86_400 + label.second_of_day


def _date(entry: LeapEntry) -> str:
    label = UtcLabel(entry.mjd, 0)
    return f"{label.day} {MONTHS[label.month - 1].capitalize()} {label.year}"


def _plain(text: str) -> str:
    """Return a text that stays in its comment line."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)
