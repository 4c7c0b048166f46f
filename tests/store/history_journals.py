"""Journals of a laboratory and the histories that are made of them, for tests of both. It tests nothing itself."""

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
from tests.laboratory.test_replay import recorded

from truechimer.store.history import History
from truechimer.store.history_tables import TABLES
from truechimer.store.sqlite_records import SqliteRecords


@cache
def log() -> tuple[bytes, ...]:
    """A recorded run of a day and a half: every kind of record."""
    return tuple(recorded(1.5, 3))


@cache
def short() -> tuple[bytes, ...]:
    """A recorded run over one midnight."""
    return tuple(recorded(0.6, 3))


def bodies(kind: str) -> list[dict]:
    return [body for body in map(json.loads, log()) if body["kind"] == kind]


def journal(folder: Path, records: tuple[bytes, ...]) -> Path:
    """Write or go on with a journal until it has these records."""
    folder.mkdir(exist_ok=True)
    store = SqliteRecords(folder / "records.sqlite3")
    store.append(list(enumerate(records))[store.count() :])
    store.close()
    return folder / "records.sqlite3"


def content(folder: Path) -> dict[str, list[tuple]]:
    """Return all rows of all tables, with a word for what has no value."""
    asked = History(folder)
    found = {}
    for table in TABLES:
        columns = asked.read(table)
        found[table] = list(
            zip(*(np.ma.filled(column.astype(object), None) for column in columns.values()), strict=True)
        )
    asked.close()
    return {table: [tuple(map(_word, row)) for row in rows] for table, rows in found.items()}


def _word(value: object) -> object:
    return "-" if value is None or (isinstance(value, float) and math.isnan(value)) else value


def number(text: str | None) -> float:
    return float("nan") if text is None else float(text.split()[0])
