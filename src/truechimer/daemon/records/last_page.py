"""Last page: what the last laboratory of this folder left before its doors, held against its records.

It makes no page. Doors go on from the page in the file while nobody writes it, and a door that opens begins with it:
so a page that no record covers is taken away before anybody reads it (ADR 16).
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from truechimer.daemon.page_file import PageReader
from truechimer.evidence.record import RecordRejected, number_of
from truechimer.serve.clock_page import ClockPage, ServiceState
from truechimer.store.sqlite_records import SqliteRecords

BLOCK = 200
MOST_LOOKED_AT = 20_000
"""Records looked through for the last page's own: many epochs without a page may follow it."""


@dataclass(frozen=True, slots=True)
class LastPage:
    """`page`: the last page, where a record covers it, and it is of this boot; `false`: the page that takes its place
    where none does; both None where there is nothing to go on from.
    """

    page: ClockPage | None = None
    false: ClockPage | None = None


def look(path: Path, store: SqliteRecords, *, boot_id: bytes, raw_ns: int) -> LastPage:
    """Return what may be made of the page in the file."""
    reader = PageReader(path)
    try:
        found = reader.current()
    finally:
        reader.close()
    if not isinstance(found, ClockPage) or found.boot_id != boot_id or raw_ns > found.valid_until_raw_ns:
        return LastPage()
    if is_covered(found, store):
        return LastPage(page=found)
    return LastPage(false=replace(found, state=ServiceState.ALARM, valid_until_raw_ns=found.anchor_raw_ns))


def is_covered(page: ClockPage, store: SqliteRecords) -> bool:
    """Return True where a record `served-time` states this page's line, and no wider bound than it."""
    end = store.count()
    for first in range(end - BLOCK, end - MOST_LOOKED_AT - BLOCK, -BLOCK):
        records = [data for data, _ in zip(store.read(first=max(first, 0)), range(BLOCK + min(first, 0)), strict=False)]
        for data in reversed(records):
            body = json.loads(data)
            if body["kind"] == "served-time" and _states(body, page):
                return True
        if first <= 0:
            break
    return False


def _states(body: dict[str, Any], page: ClockPage) -> bool:
    """Return True where a record states this page, or one that is surer of the same line."""
    try:
        return (
            int(body["anchor_raw_ns"]) == page.anchor_raw_ns
            and int(body["anchor_tai_fs"]) == page.anchor_tai_fs
            and number_of(body["rate"], "1") == page.rate
            and number_of(body["bound_s"], "s") <= page.bound_s
            and number_of(body["bound_growth"], "1") <= page.bound_growth
        )
    except (KeyError, ValueError, TypeError, RecordRejected):
        return False
