"""The tables of a fabric in one SQLite file: how they are made, told apart from others, and brought up from older ones.

It runs no transactions and checks no contents (`sqlite_check`). A stream is a table of its own name: rows in the order
of their sequence numbers lie next to each other on the disk, and anybody can read a laboratory's `records` with any
SQLite. The file says what it is by its `application_id`, and by `user_version` which form of the tables it has.

Law of the file: the text of every table, index and trigger is known, and a file with any other is not opened: a trigger
that went missing, or one that somebody added, is found.
"""

import sqlite3
from hashlib import sha256

from truechimer.store.fabric import StoreCorrupt, StoreRejected, is_stream_name

APPLICATION_ID = 0x54434846
"""`TCHF`."""
VERSION = 1
DIGEST_BYTES = 16

_META = (
    "CREATE TABLE fabric_meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL, digest BLOB NOT NULL) "
    "STRICT, WITHOUT ROWID"
)
_KEYS = (
    "CREATE TABLE fabric_keys (rev INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, data BLOB NOT NULL, "
    "digest BLOB NOT NULL) STRICT"
)
_LOANS = (
    "CREATE TABLE fabric_loans (queue TEXT NOT NULL, seq INTEGER NOT NULL, token INTEGER NOT NULL, "
    "attempt INTEGER NOT NULL, boot TEXT NOT NULL, until_ns INTEGER NOT NULL, done INTEGER NOT NULL, "
    "digest BLOB NOT NULL, PRIMARY KEY (queue, seq)) STRICT, WITHOUT ROWID"
)
OWN_TABLES = {"fabric_meta": _META, "fabric_keys": _KEYS, "fabric_loans": _LOANS}
OPENS, KEYS, LAST_REV, LAST_TOKEN = "opens", "keys", "last-rev", "last-token"
META_NAMES = (OPENS, KEYS, LAST_REV, LAST_TOKEN)

_BEFORE = {
    "records": "CREATE TABLE records (seq INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT",
}
"""What the version before the fabric made (its two triggers apart)."""


def digest(*parts: str | int | bytes) -> bytes:
    """Return the digest of a row: SHA-256 over its parts with types and lengths, cut to 16 bytes.

    It finds damage, not intent: who can write the file can write digests.
    """
    whole = sha256()
    for part in parts:
        # A damaged row may hold any type in any place; its name is part of the digest.
        data = part if isinstance(part, bytes) else str(part).encode(errors="surrogatepass")
        whole.update(b"%s %d:" % (type(part).__name__.encode(), len(data)))
        whole.update(data)
    return whole.digest()[:DIGEST_BYTES]


def entry_digest(stream: str, seq: int, item_id: str, data: bytes) -> bytes:
    """Return `digest` of these parts, in one pass: entries are many."""
    name, number, one = stream.encode(), b"%d" % seq, item_id.encode()
    head = b"str %d:%bint %d:%bstr %d:%bbytes %d:" % (len(name), name, len(number), number, len(one), one, len(data))
    return sha256(head + data).digest()[:DIGEST_BYTES]


def stream_objects(stream: str) -> dict[str, str]:
    """Return the objects of a stream: name and text."""
    return {
        stream: f'CREATE TABLE "{stream}" (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, data BLOB NOT NULL, '
        "digest BLOB NOT NULL) STRICT",
        f"{stream}_stay": f'CREATE TRIGGER "{stream}_stay" BEFORE UPDATE ON "{stream}" BEGIN '
        f"SELECT RAISE(ABORT, '{stream} are never changed'); END",
        f"{stream}_remain": f'CREATE TRIGGER "{stream}_remain" BEFORE DELETE ON "{stream}" BEGIN '
        f"SELECT RAISE(ABORT, '{stream} are never removed'); END",
    }


def make_stream(db: sqlite3.Connection, stream: str) -> None:
    """Make the table of a stream, inside the caller's transaction."""
    for text in stream_objects(stream).values():
        db.execute(text)


def columns_only(db: sqlite3.Connection) -> int | None:
    """Return which form the file has by its columns alone, whatever else was done to it: for who judges it himself."""
    names = [str(name) for (name,) in db.execute("SELECT name FROM pragma_table_info('records')")]
    return None if "seq" not in names or "data" not in names else VERSION if "digest" in names else 0


def form_of(db: sqlite3.Connection, where: str) -> int | None:
    """Return which form the file has: None for an empty file, 0 from before the fabric, or `VERSION`.

    Raises `StoreCorrupt` where a fabric's objects are not what they must be, `StoreRejected` for somebody else's file.
    """
    found = {
        str(name): (str(kind), text)
        for name, kind, text in db.execute("SELECT name, type, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    }
    application, version = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version")
    )
    if not found and application == 0 and version == 0:
        return None
    if found.keys() == {"records", "records_stay", "records_remain"} and application == 0 and version == 0:
        if found["records"][1] == _BEFORE["records"]:
            return 0
        if found["records"][1] != stream_objects("records")["records"]:
            raise StoreCorrupt(where, "table records", "has other columns than it was made with")
    if application != APPLICATION_ID and not found.keys() & OWN_TABLES.keys():
        raise StoreRejected(where, "is a SQLite file of another program: name another file")
    if version > VERSION and application == APPLICATION_ID:
        raise StoreRejected(where, f"has form {version}, this version knows {VERSION}: use the version that wrote it")
    _compare(found, application, version, where)
    return VERSION


def _compare(found: dict[str, tuple[str, str]], application: int, version: int, where: str) -> None:
    """Raise `StoreCorrupt` at the first object that is not as it was made."""
    expected = dict(OWN_TABLES)
    for name, (kind, _) in found.items():
        if kind == "table" and name not in OWN_TABLES and is_stream_name(name):
            expected |= stream_objects(name)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found or name not in expected or found[name][1] != expected[name]:
            raise StoreCorrupt(where, f"object {name} of the schema", "is not as it was made")
    if (application, version) != (APPLICATION_ID, VERSION):
        raise StoreCorrupt(where, "the header", f"names form {application:#x}/{version}")


def streams_of(db: sqlite3.Connection) -> list[str]:
    """Return the names of the streams that have a table."""
    names = [str(name) for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return sorted(name for name in names if is_stream_name(name))


def has_stream(db: sqlite3.Connection, stream: str) -> bool:
    """Return whether a stream has a table."""
    query = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
    return db.execute(query, (stream,)).fetchone() is not None


def end_of(db: sqlite3.Connection, stream: str) -> int:
    """Return the sequence number that the next entry of a stream gets."""
    return int(db.execute(f'SELECT coalesce(max(seq) + 1, 0) FROM "{stream}"').fetchone()[0])


def ends_of(db: sqlite3.Connection) -> dict[str, int]:
    """Return all streams and their ends."""
    return {stream: end_of(db, stream) for stream in streams_of(db)}


def entries(
    db: sqlite3.Connection, stream: str, after: int, most: int, *, form: int = VERSION
) -> list[tuple[int, str, bytes, bytes]]:
    """Return rows (seq, id, data, digest) of a stream after `after`, unchecked; none where nobody wrote it.

    From before the fabric there are no digests: such rows come with the right one. The records' own chain guards them.
    """
    if not has_stream(db, stream):
        return []
    if form == VERSION:
        query = f'SELECT seq, id, data, digest FROM "{stream}" WHERE seq > ? ORDER BY seq LIMIT ?'
        return db.execute(query, (after, most)).fetchall()
    rows = db.execute("SELECT seq, data FROM records WHERE seq > ? ORDER BY seq LIMIT ?", (after, most))
    return [(seq, str(seq), data, digest(stream, seq, str(seq), data)) for seq, data in rows]


def make(db: sqlite3.Connection) -> None:
    """Make an empty fabric, inside the caller's transaction."""
    for text in OWN_TABLES.values():
        db.execute(text)
    for name in META_NAMES:
        db.execute("INSERT INTO fabric_meta VALUES (?, 0, ?)", (name, digest(name, 0)))
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def bring_up(db: sqlite3.Connection) -> None:
    """Turn a file from before the fabric into one, inside the caller's transaction: same records, with digests."""
    db.execute("DROP TRIGGER records_stay")
    db.execute("DROP TRIGGER records_remain")
    db.execute("ALTER TABLE records RENAME TO fabric_before")
    make(db)
    make_stream(db, "records")
    rows = db.execute("SELECT seq, data FROM fabric_before ORDER BY seq")
    db.executemany(
        'INSERT INTO "records" VALUES (?, ?, ?, ?)',
        ((seq, str(seq), data, digest("records", seq, str(seq), data)) for seq, data in rows),
    )
    db.execute("DROP TABLE fabric_before")


def meta(db: sqlite3.Connection, name: str, where: str) -> int:
    """Return a count of the file; raises `StoreCorrupt`."""
    row = db.execute("SELECT value, digest FROM fabric_meta WHERE name = ?", (name,)).fetchone()
    if row is None or row[1] != digest(name, int(row[0])):
        raise StoreCorrupt(where, f"count {name}", "is missing or damaged")
    return int(row[0])


def set_meta(db: sqlite3.Connection, name: str, value: int) -> None:
    """Write a count, inside the caller's transaction."""
    db.execute("UPDATE fabric_meta SET value = ?, digest = ? WHERE name = ?", (value, digest(name, value), name))
