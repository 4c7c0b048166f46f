"""The history: years of a laboratory's readings and decisions as Parquet, asked and written by DuckDB.

It decides nothing and is no evidence: it may be deleted and made again from the journal, which stays the truth. It lags
behind and says how far it reaches (`Manifest.through_seq`); it never holds half a record. What becomes of records:
`history_export`; columns: `history_tables`; which files count: `history_manifest`. Only this module imports duckdb
(extra `history`).

Law of the file: a segment is compared, row by row, with what it was written from before anybody names it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from truechimer.errors import Misuse
from truechimer.store import history_manifest as files
from truechimer.store.history_manifest import HistoryRejected
from truechimer.store.history_tables import INTEGER, NUMBER, TABLES, TEXT, Row, day_of

ROWS_OF_AN_ANSWER = 5_000_000
_FAR_NS = 2**62
"""Beyond all epochs (the year 2116)."""


class Engine:
    """Writes segments and compares them. It is one connection in memory, and fetches nothing from anywhere."""

    def __init__(self) -> None:
        """Begin."""
        self._db = _connection()

    def write(self, path: Path, table: str, rows: list[Row], *, before: Path | None, said: Mapping[str, str]) -> None:
        """Write a file of the rows in the file `before` and these, and read it again; raises `HistoryRejected` where it
        does not hold just them. `said`: what stands in it about itself.
        """
        with _one_sentence(path):
            self._load(table, rows)
            older = _stored(table, [] if before is None else [before])
            self._db.execute(
                f"CREATE OR REPLACE TEMP VIEW whole AS SELECT * FROM {older} UNION ALL BY NAME SELECT * FROM fresh"
            )
            about = ", ".join(f"{key}: {_quoted(value)}" for key, value in said.items())
            columns = ", ".join(TABLES[table])
            self._db.execute(
                f"COPY (SELECT {columns} FROM whole) TO {_quoted(str(path))} "
                f"(FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{about}}})"
            )
            differing = self._differing(table, "whole", _stored(table, [path]))
        if differing:
            raise HistoryRejected(f"{path}: {differing} rows differ from what was written: look at the disk")

    def differing(self, table: str, rows: list[Row], stored: Sequence[Path], *, seqs: tuple[int, int]) -> int:
        """Return how many rows stand either here or in those files (of records `seqs`, both ends included), not in
        both.
        """
        with _one_sentence(stored[0]):
            self._load(table, rows)
            first, last = seqs
            return self._differing(
                table, "fresh", f"(SELECT * FROM {_stored(table, stored)} WHERE seq BETWEEN {first} AND {last})"
            )

    def _load(self, table: str, rows: list[Row]) -> None:
        """Make the temporary table `fresh` of rows, with the types of their table."""
        kinds, columns = TABLES[table], zip(*rows, strict=True)
        given = {name: _array(values, kind) for (name, kind), values in zip(kinds.items(), columns, strict=True)}
        typed = ", ".join(f"{column} {kind}" for column, kind in kinds.items())
        self._db.execute(f"CREATE OR REPLACE TEMP TABLE fresh ({typed})")
        self._db.register("given", given)
        try:
            self._db.execute(f"INSERT INTO fresh SELECT {', '.join(kinds)} FROM given")
        finally:
            self._db.unregister("given")

    def _differing(self, table: str, one: str, other: str) -> int:
        """Return how many rows stand in one of two sources and not in the other, each as often as it stands there."""
        these, those = (f"SELECT {', '.join(TABLES[table])} FROM {source}" for source in (one, other))
        row = self._db.execute(
            f"SELECT count(*) FROM (({these} EXCEPT ALL {those}) UNION ALL ({those} EXCEPT ALL {these}))"
        ).fetchone()
        return 0 if row is None else int(row[0])

    def close(self) -> None:
        """End it."""
        self._db.close()


class History:
    """A history to ask. It shows what its manifest named when it was opened, or `refresh`ed."""

    def __init__(self, folder: Path) -> None:
        """Open it; raises `HistoryRejected` where there is none."""
        self.folder = folder
        self._db = _connection()
        self.refresh()

    def refresh(self) -> None:
        """Look again at how far it reaches; raises `HistoryRejected`."""
        found = files.read(self.folder)
        if found is None:
            raise HistoryRejected(f"{self.folder}: there is no history here: run `truechimer export parquet` first")
        self.manifest = found

    def read(
        self,
        table: str,
        *,
        columns: Sequence[str] | None = None,
        first_tai_ns: int | None = None,
        before_tai_ns: int | None = None,
        only: Mapping[str, Iterable[str]] | None = None,
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Return columns of a table as arrays of one length `(n_rows,)`, in the order of the records.

        Epochs: `first_tai_ns <= epoch_tai_ns < before_tai_ns`, each open where None. `only`: column and the texts that
        it may have, as `{"clock": ("H1", "H2")}`. A missing number is NaN, a missing text None, a missing integer
        masked. Raises `HistoryRejected` for more than `ROWS_OF_AN_ANSWER` rows, or a segment that is damaged.
        """
        chosen = tuple(TABLES[_known(table)]) if columns is None else tuple(_column(table, name) for name in columns)
        where, values = _where(table, first_tai_ns, before_tai_ns, only)
        query = f"SELECT {', '.join(chosen)} FROM {{}} WHERE {where} ORDER BY seq, file_row_number LIMIT ?"
        found = self._ask(table, query, (*values, ROWS_OF_AN_ANSWER + 1), first_tai_ns, before_tai_ns)
        if found is None:
            return {name: _empty(TABLES[table][name]) for name in chosen}
        if len(found[chosen[0]]) > ROWS_OF_AN_ANSWER:
            raise HistoryRejected(f"more than {ROWS_OF_AN_ANSWER} rows of {table}: ask for less time, or for means")
        return {name: _filled(found[name], TABLES[table][name]) for name in chosen}

    def means(
        self,
        table: str,
        column: str,
        *,
        step_s: float,
        by: str | None = None,
        first_tai_ns: int | None = None,
        before_tai_ns: int | None = None,
        only: Mapping[str, Iterable[str]] | None = None,
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Return `epoch_tai_ns` (start of the step), `mean`, `lowest`, `highest` and `number` of a column over steps of
        time, for each text of the column `by` where it is given; steps without a value are left out.
        """
        if TABLES[_known(table)][_column(table, column)] != NUMBER or not step_s * 1e9 >= 1.0:
            raise Misuse(
                f"means of {table}.{column} over {step_s} s: ask for a column of numbers, and a step above 1 ns"
            )
        group = "" if by is None else f", {_column(table, by)}"
        where, values = _where(table, first_tai_ns, before_tai_ns, only)
        step_ns = round(step_s * 1e9)
        query = (
            f"SELECT epoch_tai_ns // {step_ns} * {step_ns} AS step{group}, avg({column}) AS mean, "
            f"min({column}) AS lowest, max({column}) AS highest, count({column}) AS number FROM {{}} "
            f"WHERE {where} AND {column} IS NOT NULL GROUP BY ALL ORDER BY ALL LIMIT ?"
        )
        found = self._ask(table, query, (*values, ROWS_OF_AN_ANSWER), first_tai_ns, before_tai_ns)
        kinds = {"step": INTEGER} | ({} if by is None else {by: TEXT})
        kinds |= {"mean": NUMBER, "lowest": NUMBER, "highest": NUMBER, "number": INTEGER}
        out = {name: _empty(kind) if found is None else _filled(found[name], kind) for name, kind in kinds.items()}
        return {"epoch_tai_ns": out.pop("step"), **out}

    def _ask(
        self, table: str, query: str, values: Sequence[Any], first_tai_ns: int | None, before_tai_ns: int | None
    ) -> dict[str, Any] | None:
        """Ask the segments of the days in question; None where there are none. An export may replace one meanwhile."""
        for attempt in (1, 2):
            chosen = [
                self.folder / segment.file
                for segment in self.manifest.segments
                if segment.table == table and _meets(segment.day, first_tai_ns, before_tai_ns)
            ]
            if not chosen:
                return None
            try:
                return self._db.execute(query.format(_stored(table, chosen)), values).fetchnumpy()
            except duckdb.Error as error:
                if attempt == 2:
                    raise HistoryRejected(f"{self.folder}: cannot be read ({_one_line(error)}): export again") from None
                self.refresh()
        return None

    def close(self) -> None:
        """End it."""
        self._db.close()


# ---- DuckDB ----------------------------------------------------------------------------------------------------------


def _connection() -> duckdb.DuckDBPyConnection:
    """Return a connection in memory that fetches nothing from anywhere."""
    return duckdb.connect(
        ":memory:",
        config={
            "threads": "2",
            "memory_limit": "1GB",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "temp_directory": "",
        },
    )


def _array(values: tuple[Any, ...], kind: str) -> np.ndarray[Any, Any]:
    """Return a column as DuckDB takes it: NaN, None and masked values become NULL."""
    if kind == NUMBER:
        return np.array(values, dtype=np.float64)
    if kind == TEXT:
        return np.array(values, dtype=object)
    absent = [value is None for value in values]
    whole = np.array(
        [0 if value is None else value for value in values], dtype=np.int64 if kind == INTEGER else np.bool_
    )
    return np.ma.masked_array(whole, mask=absent) if any(absent) else whole


def _stored(table: str, paths: Sequence[Path]) -> str:
    """Return the source of some files of a table, `file_row_number` with it; columns that an older version did not
    have are NULL.
    """
    typed = ", ".join(f"NULL::{kind} AS {column}" for column, kind in TABLES[table].items())
    nothing = f"SELECT {typed} WHERE false"
    if not paths:
        return f"({nothing})"
    listed = ", ".join(_quoted(str(path)) for path in paths)
    options = "union_by_name = true, hive_partitioning = false, file_row_number = true"
    return f"({nothing} UNION ALL BY NAME SELECT * FROM read_parquet([{listed}], {options}))"


def _quoted(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


# ---- questions -------------------------------------------------------------------------------------------------------


def _known(table: str) -> str:
    if table not in TABLES:
        raise Misuse(f"there is no table {table!r}: {', '.join(TABLES)}")
    return table


def _column(table: str, name: str) -> str:
    if name not in TABLES[_known(table)]:
        raise Misuse(f"{table} has no column {name!r}: {', '.join(TABLES[table])}")
    return name


def _where(
    table: str, first_tai_ns: int | None, before_tai_ns: int | None, only: Mapping[str, Iterable[str]] | None
) -> tuple[str, list[Any]]:
    """Return a condition and its values."""
    parts = ["true"]
    values: list[Any] = []
    for bound_ns, condition in ((first_tai_ns, "epoch_tai_ns >= ?"), (before_tai_ns, "epoch_tai_ns < ?")):
        if bound_ns is not None:
            parts.append(condition)
            values.append(max(-_FAR_NS, min(_FAR_NS, bound_ns)))
    for name, texts in (only or {}).items():
        parts.append(f"list_contains(?, {_column(table, name)})")
        values.append(list(texts))
    return " AND ".join(parts), values


def _meets(day: str, first_tai_ns: int | None, before_tai_ns: int | None) -> bool:
    """Return whether a day has to do with an interval."""
    return not (
        (first_tai_ns is not None and day < _day_within(first_tai_ns))
        or (before_tai_ns is not None and day > _day_within(before_tai_ns))
    )


def _day_within(epoch_tai_ns: int) -> str:
    """Return the day of an epoch; before and after all days the first and the last."""
    try:
        return day_of(epoch_tai_ns)
    except (ValueError, OverflowError):
        return "0000-00-00" if epoch_tai_ns < 0 else "9999-99-99"


def _empty(kind: str) -> np.ndarray[Any, Any]:
    return _array((), kind)


def _filled(found: np.ndarray[Any, Any], kind: str) -> np.ndarray[Any, Any]:
    """Return a column with NaN and None where it has no value; integers stay masked there."""
    if not isinstance(found, np.ma.MaskedArray):
        return found
    if kind == NUMBER:
        return np.asarray(found.filled(np.nan))
    if kind == TEXT:
        return np.asarray(found.filled(None))
    return found if found.mask.any() else np.asarray(found.data)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


@contextmanager
def _one_sentence(path: Path) -> Iterator[None]:
    """Turn what DuckDB could not do into one sentence."""
    try:
        yield
    except duckdb.Error as error:
        raise HistoryRejected(f"{path}: not done ({_one_line(error)}); export again once that is mended") from None
