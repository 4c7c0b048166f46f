"""What SQLite says when it fails, in the words of the fabric: which kind of failure, why, and what to do.

It decides nothing. Result codes: sqlite.org/rescode.html.
"""

import os
import sqlite3
from pathlib import Path

from truechimer.store.fabric import StoreBusy, StoreCorrupt, StoreFull, StoreIoFailed, StoreReadOnly, StoreRejected

FAILURES = (sqlite3.Error, UnicodeError)
"""What the library raises: damaged text that is not UTF-8 comes up as a `UnicodeError`, even from its own messages."""
_PRIMARY = 0xFF


def rejection(path: Path, error: Exception, doing: str) -> StoreRejected:
    """Return the typed rejection of a failure of SQLite while `doing` something ("written", "read", "opened")."""
    if isinstance(error, UnicodeError):
        return StoreCorrupt(str(path), "the file", "is damaged (text in it is not UTF-8)")
    code = getattr(error, "sqlite_errorcode", None)
    where, said = str(path), f"not {doing} ({_words(error)})"
    match None if code is None else code & _PRIMARY:
        case sqlite3.SQLITE_FULL:
            return StoreFull(where, f"{said}: free space on the volume; nothing that was acknowledged is lost")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return StoreReadOnly(where, f"{said}: make the volume and the file writable")
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN if _is_read_only(path):
            return StoreReadOnly(where, f"{said}: the volume is mounted read-only; repair it and mount it for writing")
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN:
            return StoreIoFailed(where, f"{said}: check the disk, the folder and their rights")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            return StoreBusy(where, f"{said}: another process writes this file; end it first")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_FORMAT | sqlite3.SQLITE_SCHEMA:
            return StoreCorrupt(where, "the file", f"is damaged ({_words(error)})")
        case _:
            return StoreRejected(where, f"{said}: check the disk and the file's rights")


def _words(error: Exception) -> str:
    """Return what SQLite said, with its name for it, which names the system call."""
    name = getattr(error, "sqlite_errorname", None)
    return f"{error}, {name}" if name else str(error)


def _is_read_only(path: Path) -> bool:
    """Return whether the volume is mounted read-only."""
    try:
        return bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    except OSError:
        return False
