"""The witnesses of one log, as its policy names them: who cosigned what, what is enough, and since when nobody did.

It asks nobody itself (`witness_client` does, a thread each) and signs nothing. What the policy calls enough is
published and kept (`witnessed`); what contradicts this log is kept as it came, signed by the log's own key: that is the
proof.
"""

import queue
import time
from collections.abc import Callable
from pathlib import Path

from truechimer.daemon import notify
from truechimer.daemon.log.log_state import CONTRADICTIONS, WITNESSED, Contradiction, LogState, WitnessRow, WitnessState
from truechimer.daemon.log.witness_client import Heard, Offer, Tree, WitnessCaller, cosigners_of
from truechimer.errors import Rejected
from truechimer.evidence.checkpoint import Checkpoint, CheckpointRejected, checkpoint
from truechimer.evidence.cosignature import time_of, verifier_of
from truechimer.evidence.log_policy import (
    LARGEST_POLICY,
    CheckpointDistrusted,
    Log,
    LogPolicy,
    LogPolicyRejected,
    Witness,
    judged,
    log_policy,
)
from truechimer.evidence.witnessing import AddCheckpoint
from truechimer.quorum.note import NoteRejected, joined, opened, parsed
from truechimer.store.log_files import LogFiles
from truechimer.store.tiles import TiledLog

PATIENCE_S = 60.0
"""A log that waits for its witnesses publishes without them after so long: its readers see that it lives, and that
nobody outside vouches for it.
"""
MOST_OFFERS = 64
"""Checkpoints that wait for a cosignature, at most; the oldest are given up."""
OFFLINE = "offline"
"""Folder, beside the log, of requests that are carried by hand to witnesses without an address, and of their answers.
"""
OFFLINE_EVERY_S = 10.0
MOST_CONTRADICTIONS = 16
"""Kept in the state; a witness that goes on contradicting is told once for each tree that it shows."""


def witness_policy(path: Path) -> LogPolicy:
    """Read a file that says whose cosignatures are enough; raises `LogPolicyRejected`."""
    try:
        with path.open("rb") as file:
            policy = log_policy(file.read(LARGEST_POLICY + 1))
    except OSError as error:
        raise LogPolicyRejected(0, f"cannot be read ({error.strerror})") from None
    if policy.witnesses and policy.quorum == "none":
        raise LogPolicyRejected(0, "names witnesses and `quorum none`: say which of them are enough (quorum NAME)")
    return policy


class LogWitnesses:
    """All witnesses of one log. Its methods are for the publisher's own thread."""

    def __init__(self, policy: LogPolicy, tree: Tree, folder: Path, *, raw_ns: Callable[[], int]) -> None:
        """`folder`: of the evidence. Lines `log` of the policy are not looked at: this log's own key is what counts."""
        own = LogPolicy((Log(tree.key, ""),), policy.witnesses, policy.groups, policy.quorum)
        self._policy, self._tree, self._raw_ns = own, tree, raw_ns
        self._files = LogFiles(folder)
        self._heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._callers: list[WitnessCaller] = []
        self._offers: dict[bytes, tuple[bytes, int]] = {}
        """Checkpoint text: its note with the lines so far, and when it was signed (raw)."""
        self._log: TiledLog | None = None
        self._next_offline_s = 0.0
        self._carried: dict[str, bytes] = {}

    def remember(self, state: LogState) -> None:
        """Fill the state from what was kept: who is named, and what was witnessed before this start."""
        state.quorum = self._policy.quorum
        state.witnesses = [WitnessRow(one.name, one.url) for one in self._policy.witnesses]
        try:
            kept = judged(self._files.read(WITNESSED) or b"", self._policy) if state.quorum != "none" else None
        except (CheckpointDistrusted, Rejected):
            kept = None
        if kept is not None:
            state.witnessed = kept.checkpoint.size
            state.witnessed_s = max(kept.witnessed.values(), default=0)
            for row in state.witnesses:
                if row.name in kept.witnessed:
                    row.size, row.at_s = kept.checkpoint.size, kept.witnessed[row.name]

    def start(self, *, every_s: float) -> None:
        """Begin to ask, one thread for each address."""
        by_url: dict[str, list[int]] = {}
        for index, one in enumerate(self._policy.witnesses):
            if one.url:
                by_url.setdefault(one.url, []).append(index)
        for indexes in by_url.values():
            witnesses = [self._policy.witnesses[index] for index in indexes]
            caller = WitnessCaller(witnesses, self._tree, every_s=every_s, seen=0, hear=self._heard.put)
            self._callers.append(caller)
            caller.start()

    def _offline(self, state: LogState) -> None:
        """Write requests for witnesses without an address, who are asked by hand, and take their answers in."""
        now_s = time.monotonic()
        if now_s < self._next_offline_s or self._log is None or not self._offers:
            return
        self._next_offline_s = now_s + OFFLINE_EVERY_S
        text, (note, _) = next(reversed(self._offers.items()))
        for row, one in zip(state.witnesses, self._policy.witnesses, strict=True):
            if one.url or "/" in one.name or one.name.startswith("."):
                continue
            head = checkpoint(text)
            old = min(row.size, head.size)
            request = AddCheckpoint(old, self._log.proof(old, head.size), note)
            self._files.write({f"{OFFLINE}/{one.name}.request": request.data})
            answer = self._files.read(f"{OFFLINE}/{one.name}.answer")
            if answer is not None and answer != self._carried.get(one.name):
                self._carried[one.name] = answer
                self._carry(row, one, answer, state)

    def _carry(self, row: WitnessRow, one: Witness, answer: bytes, state: LogState) -> None:
        """Take in what a witness's box wrote: a checkpoint of ours, with its line."""
        try:
            note = opened(answer, [verifier_of(self._tree.key), verifier_of(one.key)])
            head = checkpoint(note.text)
            line = next(line for line in note.by if line.key_id == one.key.key_id)
            self._look_whether_ours(head, state)
        except (NoteRejected, CheckpointRejected, StopIteration) as error:
            says = answer[:200].decode("utf-8", "replace").strip() if answer[:1].isdigit() else str(error)
            row.state, row.says, row.raw_ns = WitnessState.REFUSES, f"its answer does not count: {says}", self._raw_ns()
            return
        ours = [given for given in parsed(answer).signatures if given.key_id == self._tree.key.key_id]
        self._offers.setdefault(note.text, (joined(note.text, ours), self._raw_ns()))
        heard = Heard("", WitnessState.GOOD, Offer(answer, head), (line,))
        self._take(heard, state)

    def _look_whether_ours(self, head: Checkpoint, state: LogState) -> None:
        """Raise `CheckpointRejected` for a tree that is not this log's."""
        is_ours = head.origin == self._tree.key.name and head.size <= self._tree_size(state)
        if not is_ours or self._tree.root_at(head.size) != head.root:
            raise CheckpointRejected("origin", f"a tree of {head.size} entries that is not this log's")

    def _tree_size(self, state: LogState) -> int:
        return state.size if self._log is None else self._log.size

    def offered(self, log: TiledLog, offer: Offer, state: LogState) -> None:
        """Take a new checkpoint in, which from now on may be cosigned."""
        self._log = log
        if self._policy.quorum == "none" or offer.head.size <= state.witnessed:
            return
        now_ns = self._raw_ns()
        self._offers[parsed(offer.note).text] = offer.note, now_ns
        state.waits_since_raw_ns = state.waits_since_raw_ns or now_ns
        while len(self._offers) > MOST_OFFERS:  # one in the middle: the oldest may be cosigned yet, the newest too
            del self._offers[list(self._offers)[MOST_OFFERS // 2]]
        if now_ns - state.waits_since_raw_ns >= PATIENCE_S * 1e9:
            log.show(offer.note)

    def hear(self, state: LogState) -> None:
        """Take in what witnesses have answered since the last call."""
        while True:
            try:
                heard = self._heard.get_nowait()
            except queue.Empty:
                break
            self._take(heard, state)
        try:
            self._offline(state)
        except Rejected as error:
            notify.say_line(f"evidence: {OFFLINE}: {error}")

    def last_words(self, state: LogState, *, within_s: float) -> None:
        """Ask everybody once more, and wait a moment for the answers."""
        for caller in self._callers:
            caller.ask_now()
        until = time.monotonic() + within_s
        while self._policy.quorum != "none" and state.witnessed < state.size and time.monotonic() < until:
            time.sleep(0.05)
            self.hear(state)
            if all(row.state not in {WitnessState.GOOD, WitnessState.NEW} for row in state.witnesses):
                break
        for caller in self._callers:
            caller.stop()

    def _take(self, heard: Heard, state: LogState) -> None:
        by = dict(cosigners_of(heard.signatures, self._policy.witnesses))
        for row in state.witnesses:
            if row.url != heard.url or (heard.state is WitnessState.GOOD and row.name not in by):
                continue
            row.state, row.says, row.raw_ns = heard.state, heard.says, self._raw_ns()
            if row.name in by:
                row.size, row.at_s = heard.offer.head.size, time_of(by[row.name])
        if heard.seen is not None:
            self._contradicted(heard, state)
        text = heard.offer.head.text
        if by and text in self._offers:
            note, since_ns = self._offers[text]
            self._offers[text] = joined(text, [*parsed(note).signatures, *by.values()]), since_ns
            self._enough(text, state)

    def _enough(self, text: bytes, state: LogState) -> None:
        """Publish and keep a checkpoint that enough witnesses cosigned."""
        note, _ = self._offers[text]
        try:
            trusted = judged(note, self._policy)
        except CheckpointDistrusted:
            return  # not enough yet
        if trusted.checkpoint.size > state.witnessed:
            self._files.replace_durably(WITNESSED, note)
            state.witnessed = trusted.checkpoint.size
            state.witnessed_s = max(trusted.witnessed.values())
        if self._log is not None:
            self._log.show(note)
            state.published = self._log.shown
        # later lines for this very checkpoint may still come; what is smaller has had its time
        size = trusted.checkpoint.size
        self._offers = {one: kept for one, kept in self._offers.items() if checkpoint(one).size >= size}
        waiting = [kept[1] for one, kept in self._offers.items() if checkpoint(one).size > state.witnessed]
        state.waits_since_raw_ns = min(waiting, default=0)

    def _contradicted(self, heard: Heard, state: LogState) -> None:
        """Keep the proof that there is another log under this name and key."""
        assert heard.seen is not None
        names = ", ".join(row.name for row in state.witnesses if row.url == heard.url)
        what = "rollback" if heard.seen.size > heard.offer.head.size else "fork"
        root = heard.seen.root.hex()
        told = {(one.witness, one.what, one.size, one.root) for one in state.contradictions}
        if (names, what, heard.seen.size, root) in told:
            return
        name = f"{CONTRADICTIONS}/{heard.seen.size}-{root[:16]}"
        self._files.replace_durably(f"{name}.witness", heard.note)
        self._files.replace_durably(f"{name}.log", heard.offer.note)
        found = Contradiction(names, what, heard.seen.size, root, heard.says, self._raw_ns())
        state.contradictions = [*state.contradictions, found][-MOST_CONTRADICTIONS:]
