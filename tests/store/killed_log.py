"""A process that keeps a log until it is killed: `python -m tests.store.killed_log FOLDER SEED`, or `... check SIZE`.

Each line on standard output is the size of a signed, published checkpoint. The signer is a process of its own in the
same session. `check`: start once more; nothing up to SIZE may be lost, the chain and every tile must hold, and the
signer's last head must be the published one.
"""

import os
import sys
from hashlib import shake_128
from pathlib import Path
from random import Random

from tests.evidence.logs import LOG, ORIGIN, POLICY_OF_LOG

from truechimer.daemon.log.signer import SignerProcess
from truechimer.daemon.log.tree_keeper import make_keeper
from truechimer.evidence.audit import audit
from truechimer.evidence.log_policy import log_policy
from truechimer.evidence.record import Chain, read, seal
from truechimer.store.log_files import LogFiles
from truechimer.store.sqlite_records import SqliteRecords
from truechimer.store.tiles import TiledLog


def main(folder: Path, *words: str) -> None:
    """Go on for ever, or check."""
    if not (folder / "signer" / "log.key").exists():
        make_keeper(folder / "signer", origin=ORIGIN, seed=LOG.seed)
    records = SqliteRecords(folder / "records.sqlite3")
    signer = SignerProcess(folder / "signer")
    files = LogFiles(folder / "log")
    log = TiledLog(files, origin=ORIGIN, records=lambda first: records.read(first=first), signer=signer)
    if words[0] == "check":
        log.advance()
        found = audit(files.read, log_policy(POLICY_OF_LOG))
        assert found.holds, found.faults[:3]
        assert found.trusted.checkpoint.size == records.count() >= int(words[1])
        assert signer.last().root == found.trusted.checkpoint.root
        chain = Chain()
        for data in records.read():
            _, chain = read(data, chain)
        signer.close()
        return
    chain = Chain()
    for data in records.read():
        _, chain = read(data, chain)
    rng = Random(int(words[0]))
    while True:
        batch = []
        for _ in range(rng.choice((1, 2, 30, 300))):
            text = shake_128(str(chain.seq).encode()).hexdigest(rng.randrange(200))
            one, chain = seal("test", {"text": text}, chain)
            batch.append((one.seq, one.data))
        records.append(batch)
        made = log.advance()
        assert made is not None
        os.write(1, f"{made.checkpoint.size}\n".encode())
        if rng.random() < 0.1:
            log.settle()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
