"""A witness's key and memory: which logs it follows, the last tree it saw of each, and the cosignature over it.

It opens no socket. It stores the new tree, durably, before a cosignature leaves, and refuses every tree that does not
begin with the one it saw last: so two histories of one log never both carry its name. It believes nothing of a log but
its key. In the folder: `witness.key` and `witness-ml-dsa.key` (mode 0600), `logs` (one line `log KEY` each), `seen/`.
Source: C2SP tlog-witness; ADR 48.
"""

import fcntl
import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from truechimer.errors import Rejected
from truechimer.evidence.checkpoint import Checkpoint, CheckpointRejected, checkpoint
from truechimer.evidence.cosignature import has_ml_dsa, private_key, public_key, signer_of, verifier_of
from truechimer.evidence.succession import Head
from truechimer.evidence.witnessing import Advance, Reply, considered, cosigned, origin_path
from truechimer.quorum.keys import (
    COSIGNATURE_ED25519,
    COSIGNATURE_ML_DSA_44,
    KeyMisuse,
    KeyRejected,
    SigningKey,
    VerifierKey,
    verifier_key,
)
from truechimer.quorum.note import NoteRejected, opened
from truechimer.store.log_files import LogFiles

KEYS = {"witness.key": COSIGNATURE_ED25519, "witness-ml-dsa.key": COSIGNATURE_ML_DSA_44}
LOGS = "logs"
SEEN = "seen"
MOST_LOGS = 10_000
RETRY_LATER = Reply(503, b"this witness cannot cosign now: its disk or its clock refuses\n")


class WitnessKeeperRejected(Rejected):
    """A witness's folder cannot be used as it is."""


def make_witness(folder: Path, *, name: str, seeds: dict[int, bytes]) -> None:
    """Make a new witness's folder: a key for each kind in `seeds`. Raises `WitnessKeeperRejected`, `StoreRejected`."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = LogFiles(folder)
    for file, kind in KEYS.items():
        if kind not in seeds:
            continue
        if (folder / file).exists():
            raise WitnessKeeperRejected(f"{folder / file}: there is a key already; it is not replaced")
        try:
            key = SigningKey(name, kind, seeds[kind])
            text = key.private_text(public_key(key).public)
        except KeyMisuse as error:
            raise WitnessKeeperRejected(str(error)) from None
        before = os.umask(0o077)
        try:
            files.replace_durably(file, f"{text}\n".encode())
        finally:
            os.umask(before)


class WitnessKeeper:
    """One witness. Any thread may ask; one at a time is answered. Invariant: a lock on the folder keeps others out, and
    what is on the disk of a log is never smaller than what was cosigned.
    """

    def __init__(self, folder: Path, *, now_s: Callable[[], int | None]) -> None:
        """Read keys, logs and memory; raises `WitnessKeeperRejected`, `StoreRejected`.

        `now_s`: seconds since 1970, None where that is not known now.
        """
        self._files, self._folder, self._now_s = LogFiles(folder), folder, now_s
        self._held = _held(folder)
        self._lock = threading.Lock()
        self.counts: Counter[int] = Counter()
        """Answers by status."""
        self.last_asked: dict[str, float] = {}
        try:
            self._keys = [key for file in KEYS if (key := _key(folder / file)) is not None]
            if not self._keys:
                raise WitnessKeeperRejected(f"{folder}: this witness has no key; make it with --name")
            self._logs = self._followed()
            self._seen = {key.name: self._remembered(key) for key in self._logs.values()}
        except Rejected:
            self.close()
            raise

    def close(self) -> None:
        """Let the folder go."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    @property
    def public(self) -> list[VerifierKey]:
        """Return the keys that verify what this witness signs."""
        return [public_key(key) for key in self._keys]

    @property
    def logs(self) -> list[VerifierKey]:
        """Return the keys of the logs that it follows."""
        return list(self._logs.values())

    def seen(self, origin: str) -> Head:
        """Return the last tree that it saw of a log."""
        return self._seen.get(origin, Head())

    def follow(self, line: str) -> VerifierKey:
        """Follow one more log from now on, by its key; raises `WitnessKeeperRejected`, `StoreRejected`."""
        try:
            key = verifier_key(line.strip().removeprefix("log ").strip())
            verifier_of(key)
        except KeyRejected as error:
            raise WitnessKeeperRejected(f"not the key of a log: {error}") from None
        with self._lock:
            known = self._logs.get(key.name)
            if known == key:
                return key
            if known is not None:
                raise WitnessKeeperRejected(
                    f"the log {key.name!r} is followed under another key: a log with a new key is a new log, with a "
                    "new name"
                )
            logs = self._logs | {key.name: key}
            self._files.replace_durably(LOGS, "".join(f"log {one.text}\n" for one in logs.values()).encode())
            self._logs, self._seen = logs, self._seen | {key.name: Head()}
        return key

    def add(self, data: bytes) -> Reply:
        """Answer one add-checkpoint request; the new tree is on the disk when a cosignature leaves."""
        with self._lock:
            reply = self._answer(data)
            self.counts[reply.status] += 1
            return reply

    def _answer(self, data: bytes) -> Reply:
        if self._held < 0:
            return RETRY_LATER
        verifiers = {name: [verifier_of(key)] for name, key in self._logs.items()}
        found = considered(data, logs=verifiers, seen=self._seen)
        if isinstance(found, Reply):
            return found
        now_s = self._now_s()
        if now_s is None:
            return RETRY_LATER
        return self._store(found, now_s)

    def _store(self, found: Advance, now_s: int) -> Reply:
        """Store the tree, then cosign it. Both are one file: a note that carries the log's signature and ours, so that
        a cosignature that left is never without its memory.
        """
        signers = [signer_of(key, time_s=now_s) for key in self._keys]
        reply, note = cosigned(found, signers)
        try:
            self._files.replace_durably(f"{SEEN}/{origin_path(found.origin)}", note)
        except Rejected:
            return RETRY_LATER
        self._seen[found.origin] = found.head
        return reply

    def shown(self, path: str) -> bytes | None:
        """Return what monitors may see at a path: the last checkpoint of a followed log, cosigned; None for others."""
        if path not in {origin_path(name) for name in self._logs}:
            return None
        try:
            return self._files.read(f"{SEEN}/{path}")
        except Rejected:
            return None

    def _followed(self) -> dict[str, VerifierKey]:
        logs: dict[str, VerifierKey] = {}
        text = (self._files.read(LOGS) or b"").decode("utf-8", "replace")
        for number, row in enumerate(text.splitlines(), start=1):
            words = row.split()
            if not words or words[0].startswith("#"):
                continue
            try:
                key = verifier_key(words[1] if words[0] == "log" and len(words) in {2, 3} else "")
                verifier_of(key)
            except KeyRejected as error:
                raise WitnessKeeperRejected(
                    f"{self._folder / LOGS}, line {number}: {error}; each line is `log KEY`, as `truechimer evidence "
                    "head` prints it"
                ) from None
            if key.name in logs or len(logs) >= MOST_LOGS:
                raise WitnessKeeperRejected(
                    f"{self._folder / LOGS}, line {number}: {key.name!r} stands twice, or too many logs"
                )
            logs[key.name] = key
        return logs

    def _remembered(self, key: VerifierKey) -> Head:
        """Return the last tree that was seen of a log; raises `WitnessKeeperRejected` where that cannot be told: who
        forgot what he cosigned must not cosign again.
        """
        name = f"{SEEN}/{origin_path(key.name)}"
        data = self._files.read(name)
        if data is None:
            return Head()
        try:
            # ours stands beside the log's: a memory that was edited is one that we never wrote
            note = opened(data, [verifier_of(key), *map(verifier_of, self.public)])
            head: Checkpoint = checkpoint(note.text)
            ours = {one.key_id for one in self.public}
            if not ours & {one.key_id for one in note.by} or head.origin != key.name:
                raise WitnessKeeperRejected(f"{self._folder / name}: does not carry this witness's own signature")
        except (NoteRejected, CheckpointRejected) as error:
            raise WitnessKeeperRejected(
                f"{self._folder / name}: what was cosigned last of {key.name!r} is not known ({error}): put the file "
                "back, or begin a new witness with a new name"
            ) from None
        return Head(head.size, head.root)


def _held(folder: Path) -> int:
    """Hold the folder for this process alone; raises `WitnessKeeperRejected`."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise WitnessKeeperRejected(f"{folder}: not a witness's folder ({error.strerror})") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise WitnessKeeperRejected(f"{folder}: another process is this witness just now; let it end first") from None
    return descriptor


def _key(path: Path) -> SigningKey | None:
    try:
        if path.stat().st_mode & 0o077:
            raise WitnessKeeperRejected(f"{path}: others can read this key; run: chmod 600 {path}")
        key = private_key(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyRejected, KeyMisuse) as error:
        raise WitnessKeeperRejected(f"{path}: no usable key ({error})") from None
    if key.kind != KEYS[path.name]:
        raise WitnessKeeperRejected(f"{path}: a key of kind {key.kind:#04x}, not of kind {KEYS[path.name]:#04x}")
    return key


def can_ml_dsa() -> bool:
    """Return whether an ML-DSA-44 key can be made here."""
    return has_ml_dsa()
