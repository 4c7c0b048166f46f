"""Records of another version: whether this program goes on from them, told before anything of them is changed.

It reads and repairs nothing else. The law of the file: what this version cannot go on with stays as it was found, byte
for byte, so that the version that wrote it goes on with it.
"""

from contextlib import closing
from pathlib import Path

from truechimer.errors import Rejected
from truechimer.laboratory.replay import Replay, replay
from truechimer.store.sqlite_records import SqliteRecords


class OtherVersionRejected(Rejected):
    """Records that this version cannot go on from."""


def look_before_opening(path: Path) -> None:
    """Raise `OtherVersionRejected` where records in an older form of the file are not repeated here: opened for
    writing, the file would be brought to today's form, and the version that wrote it could not read it any more.
    """
    if not path.exists():
        return
    with closing(SqliteRecords(path, read_only=True)) as store:
        if store.is_of_older_form and store.count():
            refuse_unless_repeated(path, replay(store.read()), store.count())


def refuse_unless_repeated(path: Path, found: Replay, count: int) -> None:
    """Raise `OtherVersionRejected` where the records did not come out again, or end inside an epoch."""
    folder = path.parent.name
    instead = (
        f"nothing was changed. Start that version again, or set {folder} and run aside (they stay evidence) and start "
        "anew, as docs/guide/operations.md has it under Upgrade"
    )
    if found.difference is not None or found.state is None or found.start is None:
        why = found.difference.why if found.difference is not None else "there is none"
        wrote = f" that truechimer {found.start.version} wrote" if found.start is not None else ""
        raise OtherVersionRejected(f"{path}: cannot go on from the records{wrote}: {why}; {instead}")
    if found.state.chain.seq != count:
        raise OtherVersionRejected(
            f"{path}: the last epoch is not whole ({count} records, {found.state.chain.seq} expected); keep the file, "
            "and start in a new folder"
        )
