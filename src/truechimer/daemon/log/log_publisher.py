"""The publisher's process: takes committed records into the signed log, and has witnesses cosign it.

`python -m truechimer.daemon.log.log_publisher --records FILE --evidence DIR --state FILE ...`. A byte on its standard
input says that records were committed; the end of that input says that the laboratory has ended: it does one last round
and ends too. It reads the journal, never writes it; holds no key (`signer`, a process of its own); makes no time; and
nothing that happens to it delays a record. Work and recovery are the same call, `TiledLog.advance` (ADR 44).
"""

import argparse
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from truechimer.daemon import notify
from truechimer.daemon.door.door_program import OneLineParser
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.journal_log import LogForm, Priority
from truechimer.daemon.log.log_state import STATE, WITNESSED, LogState, TroubleKind
from truechimer.daemon.log.log_witnesses import LogWitnesses, witness_policy
from truechimer.daemon.log.signer import SignerProcess
from truechimer.daemon.log.tree_keeper import KEY, NotSigned
from truechimer.daemon.log.witness_client import Offer, Tree
from truechimer.errors import Rejected
from truechimer.evidence.log_policy import LogPolicy
from truechimer.quorum.keys import VerifierKey
from truechimer.store.fabric import StoreCorrupt
from truechimer.store.log_files import LogFiles
from truechimer.store.sqlite_records import SqliteRecords
from truechimer.store.tiles import MOST_AT_ONCE, TiledLog

MODULE = "truechimer.daemon.log.log_publisher"
SIGNER, LOG = "signer", "log"
"""Folders beside the records."""

LOOK_EVERY_S = 1.0
"""Where nobody says that records were committed, the journal is looked at all the same."""
REST_S = 0.02
"""Between two rounds: what is committed meanwhile shares one."""
SETTLE_EVERY_S = 5.0
STATE_EVERY_S = 0.5
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 30.0
LAST_WORDS_S = 3.0
"""At the end, how long witnesses have to cosign the last checkpoint."""


@dataclass(frozen=True, slots=True)
class PublisherFiles:
    """Where everything is: the journal, the folder of the evidence, the state file, the policy of witnesses (None:
    nobody is named), the origin that the laboratory's file names ("": none), and the one for a new key. `by_order`: the
    policy is an order's, and its lines `log` say with which keys the log is signed.
    """

    records: Path
    evidence: Path
    state: Path
    policy: Path | None
    origin: str
    new_origin: str
    by_order: bool = False


class Publisher:
    """One log, kept up with one journal. `round` is to be called again and again, from one thread."""

    def __init__(self, files: PublisherFiles, *, witness_every_s: float, raw_ns: Callable[[], int]) -> None:
        """It opens nothing yet; raises `LogPolicyRejected` for a policy that cannot be followed."""
        self._files, self._raw_ns = files, raw_ns
        self.state = LogState(pid=os.getpid())
        self._policy = LogPolicy((), (), (), "none") if files.policy is None else witness_policy(files.policy)
        self._witness_every_s = witness_every_s
        self._log: TiledLog | None = None
        self._signer: SignerProcess | None = None
        self._records: SqliteRecords | None = None
        self._journal: tuple[int, int] | None = None
        self._witnesses: LogWitnesses | None = None
        self._offer: Offer | None = None
        self._next_s, self._wait_s = 0.0, FIRST_RETRY_S
        self._settled_s = time.monotonic()
        self._settling: threading.Thread | None = None
        self._written = (0.0, "")

    def round(self) -> bool:
        """Take in what was committed, sign, publish, and hear the witnesses; True where more waits at once.

        Never raises `Rejected`: what goes wrong stands in the state and is tried again.
        """
        more = False
        if time.monotonic() >= self._next_s:
            try:
                if _identity(self._files.records) != self._journal:
                    self._let_go()  # the journal was put in the place of the one that was open
                if self._log is None:
                    self._open()
                more = self._advance()
                self._well()
            except Rejected as error:
                self._failed(error)
        if self._witnesses is not None:
            self._witnesses.hear(self.state)
        self._tell()
        return more

    def close(self) -> None:
        """Do one last round, let the witnesses cosign it where they are quick, settle, and end the signer."""
        self._next_s = 0.0
        while self.round():
            pass
        if self._witnesses is not None:
            self._witnesses.last_words(self.state, within_s=LAST_WORDS_S)
        try:
            if self._log is not None:
                self._log.settle()
        except Rejected as error:
            self._failed(error)
        self._tell(at_once=True)
        self._let_go()

    # ---- one round --------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Take the key and open the log; raises `Rejected`."""
        try:
            self._signer, key = self._signing()
            self._journal = _identity(self._files.records)
            self._records = records = SqliteRecords(self._files.records, read_only=True)
            log = TiledLog(
                LogFiles(self._files.evidence / LOG),
                origin=key.name,
                records=lambda first: records.read(first=first),
                signer=self._signer,
                waits=self._policy.quorum != "none",
            )
        except Rejected:
            self._let_go()
            raise
        self._log = log
        self.state.origin, self.state.log_key = key.name, key.text
        if self._witnesses is None:
            tree = Tree(lambda: self._offer, self._proof, self._root_at, key)
            self._witnesses = LogWitnesses(self._policy, tree, self._files.evidence, raw_ns=self._raw_ns)
            self._witnesses.remember(self.state)
            self._witnesses.start(every_s=self._witness_every_s)

    def _signing(self) -> tuple[SignerProcess, VerifierKey]:
        """Start the signer, which makes a key where there is none; raises `Rejected`."""
        named, folder = self._files.origin, self._files.evidence / SIGNER
        signer = SignerProcess(folder, new_origin=named or self._files.new_origin)
        if self._files.by_order:
            try:
                signer.use_keys(log.key.text for log in self._policy.logs)
            except Rejected:
                signer.close()
                raise
        key = signer.public
        if named and named != key.name:
            signer.close()
            raise _KeyRejected(
                f"this log is called {key.name!r} for ever, not {named!r}: correct [evidence] origin, or move the "
                "folders log and signer aside to begin a new log"
            )
        if signer.made:
            notify.say_line(
                f"evidence: made the key of the log {key.name} ({folder / KEY}, readable by you alone); others believe "
                f"the log by this line: log {key.text}"
            )
        return signer, key

    def _advance(self) -> bool:
        """Take in, sign, publish; raises `Rejected`."""
        assert self._log is not None
        made = self._log.advance()
        now_s = time.monotonic()
        if now_s - self._settled_s >= SETTLE_EVERY_S and (self._settling is None or not self._settling.is_alive()):
            self._settled_s = now_s
            self._settling = threading.Thread(target=self._settle, args=(self._log,), daemon=True)
            self._settling.start()
        if made is None:
            return False
        state = self.state
        state.size, state.root = made.checkpoint.size, made.checkpoint.root.hex()
        state.signed_raw_ns, state.rounds = self._raw_ns(), state.rounds + 1
        state.published = self._log.shown
        self._offer = Offer(made.note, made.checkpoint)
        if self._witnesses is not None:
            self._witnesses.offered(self._log, self._offer, state)
        return made.taken >= MOST_AT_ONCE

    def _settle(self, log: TiledLog) -> None:
        """Bring the tiles to the disk, beside the rounds; what fails is tried again by the next."""
        try:
            log.settle()
        except Rejected as error:
            notify.say_line(f"evidence: {error}", priority=Priority.WARNING)

    def _proof(self, old: int, new: int) -> tuple[bytes, ...]:
        if self._log is None:
            raise _KeyRejected("the log is not open just now")
        return self._log.proof(old, new)

    def _root_at(self, size: int) -> bytes:
        if self._log is None:
            raise _KeyRejected("the log is not open just now")
        return self._log.root_at(size)

    # ---- what goes wrong --------------------------------------------------------------------------------------------

    def _well(self) -> None:
        if self.state.trouble:
            notify.say_line("evidence: records are published again")
        self.state.trouble = self.state.trouble_says = ""
        self.state.trouble_since_raw_ns = 0
        self._wait_s = FIRST_RETRY_S

    def _failed(self, error: Rejected) -> None:
        kind = TroubleKind.DISK
        if isinstance(error, NotSigned) or (isinstance(error, StoreCorrupt) and self._log is not None):
            kind = TroubleKind.CONTRADICTION
        elif self._log is None:
            kind = TroubleKind.SIGNER
        if not self.state.trouble:
            self.state.trouble_since_raw_ns = self._raw_ns()
        if self.state.trouble_says != str(error):
            notify.say_line(f"evidence: records are not published ({error})", priority=Priority.WARNING)
        self.state.trouble, self.state.trouble_says = kind.value, str(error)
        self._next_s = time.monotonic() + self._wait_s
        self._wait_s = min(2.0 * self._wait_s, LAST_RETRY_S)
        self._let_go()  # begins again from what is on the disk: recovery is the same path as normal work

    def _let_go(self) -> None:
        self._log = None
        if self._settling is not None:
            self._settling.join(timeout=10.0)
        if self._signer is not None:
            self._signer.close()
            self._signer = None
        if self._records is not None:
            self._records.close()
            self._records = None

    def _tell(self, *, at_once: bool = False) -> None:
        """Write the state where it changed; a round that only signed more waits for the next half second."""
        self.state.published = self.state.published if self._log is None else self._log.shown
        before_s, before = self._written
        now_s, urgent = time.monotonic(), f"{self.state.trouble_says}{self.state.witnessed}{self.state.contradictions}"
        if at_once or urgent != before or now_s - before_s >= STATE_EVERY_S:
            self._written = now_s, urgent
            self.state.write(self._files.state)


class _KeyRejected(Rejected):
    """The log's key cannot be used as it is."""


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another of the same name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def parser() -> argparse.ArgumentParser:
    """Return the command line of this process."""
    options = OneLineParser(prog="log_publisher", description="publish a laboratory's records as a signed log")
    options.add_argument("--records", type=Path, required=True, help="the journal")
    options.add_argument("--evidence", type=Path, required=True, help="folder of the log and its key")
    options.add_argument("--state", type=Path, required=True, help=f"file for the state ({STATE})")
    options.add_argument("--origin", default="", help="name that the log must have; of a new log the one it gets")
    options.add_argument("--new-origin", required=True, help="name for a new log where --origin is not given")
    options.add_argument("--policy", type=Path, help=f"whose cosignatures are enough (kept in {WITNESSED})")
    options.add_argument("--keys-by-order", action="store_true", help="its lines `log` say which keys sign")
    options.add_argument("--witness-every-s", type=float, default=10.0, help="between two questions to a witness")
    options.add_argument("--log", choices=[form.value for form in LogForm], default=LogForm.AUTO.value)
    return options


def main(argv: list[str] | None = None) -> int:
    """Publish until standard input ends."""
    options = parser().parse_args(argv)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the laboratory, which ends us in its order
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: ending.set())
    notify.configure(LogForm(options.log))
    files = PublisherFiles(
        options.records,
        options.evidence,
        options.state,
        options.policy,
        options.origin,
        options.new_origin,
        options.keys_by_order,
    )
    try:
        publisher = Publisher(files, witness_every_s=options.witness_every_s, raw_ns=HostClocks().raw_ns)
    except Rejected as error:
        notify.say_line(f"evidence: {error}", priority=Priority.ERROR)
        return 2
    follow(publisher, ending)
    publisher.close()
    return 0


def follow(publisher: Publisher, ending: threading.Event, descriptor: int = 0) -> None:
    """Do rounds until the descriptor's other end has gone, or somebody asks to end."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    while not ending.is_set():
        more = publisher.round()
        time.sleep(REST_S)
        if more:
            continue
        if poll.poll(LOOK_EVERY_S * 1000.0) and not os.read(descriptor, 65_536):
            return


if __name__ == "__main__":
    sys.exit(main())
