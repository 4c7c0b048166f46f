"""A journal on a disk that tests fill, and a publisher over it in this process; its signer is a process of its own."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from truechimer.daemon.log.log_publisher import Publisher, PublisherFiles
from truechimer.evidence.record import Chain, seal
from truechimer.store.sqlite_records import SqliteRecords

ORIGIN = "lab.example/log"


@dataclass
class Journal:
    """A chain of records in `folder/records.sqlite3`."""

    folder: Path
    chain: Chain = field(default_factory=Chain)
    store: SqliteRecords = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = SqliteRecords(self.folder / "records.sqlite3")

    def grow(self, count: int, *, says: str = "x") -> None:
        """Commit so many more records."""
        records = []
        for _ in range(count):
            one, self.chain = seal("heartbeat", {"says": says}, self.chain)
            records.append((one.seq, one.data))
        self.store.append(records)


def publisher(
    folder: Path, *, policy: Path | None = None, origin: str = ORIGIN, every_s: float = 1.0, by_order: bool = False
) -> Publisher:
    """A publisher of the journal in `folder`, its log beside it."""
    state = folder / "evidence.json"
    files = PublisherFiles(folder / "records.sqlite3", folder, state, policy, origin, "new/log", by_order)
    return Publisher(files, witness_every_s=every_s, raw_ns=time.monotonic_ns)
