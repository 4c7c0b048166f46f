"""The check of a fabric's SQLite file: is what stands there what was written?

It repairs nothing. The schema's text and the header have been compared before (`sqlite_schema.form_of`). `WHOLE` reads
everything: SQLite's own integrity check (pages, order, indices), every digest, every sequence number, every count.
`TAIL` reads the ends of the streams, and costs the same however long they are: what lies before is checked when read.
`NOTHING` is for who judges the bytes himself, as `evidence replay` does by the records' own chain: a file that was
tampered with must still be readable by who looks for the place.
"""

import sqlite3
from enum import StrEnum

from truechimer.store import sqlite_schema as schema
from truechimer.store.fabric import StoreCorrupt

TAIL_ENTRIES = 1_000


class Check(StrEnum):
    """How much is looked at when a file is opened."""

    WHOLE = "whole"
    TAIL = "tail"
    NOTHING = "nothing"


def check(db: sqlite3.Connection, where: str, how: Check) -> None:
    """Look at a file; raises `StoreCorrupt` with what is damaged, or `sqlite3.Error`."""
    if how is Check.NOTHING:
        return
    if how is Check.WHOLE:
        for (said,) in db.execute("PRAGMA integrity_check(1)"):
            if said != "ok":
                raise StoreCorrupt(where, "the file", f"is damaged ({said})")
    for name in schema.META_NAMES:
        schema.meta(db, name, where)
    for stream in schema.streams_of(db):
        _stream(db, where, stream, how)
    _keys(db, where, how)
    _loans(db, where)


def _stream(db: sqlite3.Connection, where: str, stream: str, how: Check) -> None:
    """Check digests and numbers of a stream from the first looked at to its end."""
    end = schema.end_of(db, stream)
    expected = max(0, end - TAIL_ENTRIES) if how is Check.TAIL else 0
    if end and db.execute(f'SELECT min(seq) FROM "{stream}"').fetchone()[0] != 0:
        raise StoreCorrupt(where, f"entry 0 of {stream}", "is missing")
    for seq, item_id, data, found in db.execute(f'SELECT * FROM "{stream}" WHERE seq >= ? ORDER BY seq', (expected,)):
        verify_entry(where, stream, expected, (seq, item_id, data, found))
        expected += 1


def verify_place(where: str, stream: str, expected: int, seq: int) -> None:
    """Raise `StoreCorrupt` where the row that stands where entry `expected` belongs is another."""
    if seq != expected:
        raise StoreCorrupt(where, f"entry {expected} of {stream}", "is missing")


def verify_entry(where: str, stream: str, expected: int, row: tuple[int, str, bytes, bytes]) -> None:
    """Raise `StoreCorrupt` where a row of a stream is not entry `expected` as it was written."""
    seq, item_id, data, found = row
    verify_place(where, stream, expected, seq)
    if found != schema.digest(stream, seq, item_id, data):
        raise StoreCorrupt(where, f"entry {seq} of {stream}", "is damaged (its digest differs)")


def verify_value(where: str, row: tuple[int, str, bytes, bytes]) -> None:
    """Raise `StoreCorrupt` where a row of `fabric_keys` is not as it was written."""
    rev, key, data, found = row
    if found != schema.digest("key", rev, key, data):
        raise StoreCorrupt(where, f"key {key!a}", "is damaged (its digest differs)")


def _keys(db: sqlite3.Connection, where: str, how: Check) -> None:
    """Check the values of keys: each digest, how many there are, and that the last revision belongs to one."""
    number, last = db.execute("SELECT count(*), coalesce(max(rev), 0) FROM fabric_keys").fetchone()
    if number != schema.meta(db, schema.KEYS, where) or (number and last != schema.meta(db, schema.LAST_REV, where)):
        raise StoreCorrupt(where, "the keys", "are not as many as were stored")
    if how is Check.WHOLE:
        for row in db.execute("SELECT rev, key, data, digest FROM fabric_keys"):
            verify_value(where, row)


def _loans(db: sqlite3.Connection, where: str) -> None:
    """Check the loans of queues."""
    for *row, found in db.execute("SELECT * FROM fabric_loans"):
        if found != schema.digest("loan", *row):
            raise StoreCorrupt(where, f"loan {row[0]!a} {row[1]}", "is damaged")
